"""A pytest plugin: nbval compares stored outputs with the run of `make html`.

nbval runs a notebook again to compare it, and a notebook that trains a network for minutes would
train twice. With this plugin, nbval's kernel answers with the outputs of the run that already
took place, in the form in which outputs are stored. What is compared, and how, stays nbval's: the
tags, the sanitizer, the report. A notebook that was not run since it changed fails, and so does a
stored cell that was never run.

Use it as ``pytest -p tools.nbval_replay --nbval-lax book``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from types import SimpleNamespace
from typing import Any

import pytest
from nbformat import NotebookNode
from nbval import plugin as nbval

from tools.dependencies import ROOT, code_cells
from tools.execution import BOOK, NotebookError, find_jobs, is_fresh, read_records, with_outputs
from tools.normalise import normalise_outputs


def executed_cells(path: Path) -> list[NotebookNode]:
    """Return the code cells of a notebook with the outputs of its last run.

    Raises
    ------
    pytest.fail.Exception
        If it was not run, or changed since.
    """
    name = path.relative_to(BOOK).with_suffix("").as_posix()
    try:
        job = find_jobs()[name]
    except NotebookError as error:
        pytest.fail(str(error), pytrace=False)
    if not is_fresh(job, read_records()):
        pytest.fail(
            f"{path.relative_to(ROOT)} was not run since it, the package or constraints.txt "
            "changed. Run `make html` first.",
            pytrace=False,
        )
    return code_cells(with_outputs(job))


class ReplayedKernel:
    """Answers nbval as a kernel does, with the outputs of the run that took place."""

    language = "replayed"
    km = SimpleNamespace(kernel_spec=None)

    def __init__(self, cells: list[NotebookNode]) -> None:
        self._cells = iter(cells)
        self._messages: Iterator[dict[str, Any]] = iter(())

    def is_alive(self) -> bool:
        """Tell nbval that it can go on."""
        return True

    def stop(self) -> None:
        """There is no process to stop."""

    def execute_cell_input(self, source: str, allow_stdin: bool | None = None) -> str:
        """Go on to the next cell's outputs; nbval asks for all cells in their order."""
        cell = next(self._cells)
        while cell.source != source:  # nbval was told to run only some cells
            cell = next(self._cells)
        self._messages = self._answers(normalise_outputs(cell.outputs))
        return "cell"

    @staticmethod
    def _answers(outputs: list[NotebookNode]) -> Iterator[dict[str, Any]]:
        header = {"msg_id": "cell"}
        for output in outputs:
            yield {"msg_type": output.output_type, "parent_header": header, "content": output}
        yield {
            "msg_type": "status",
            "parent_header": header,
            "content": {"execution_state": "idle"},
        }

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """Return at once: the cell has run."""

    def await_idle(self, parent_id: str, timeout: float | None = None) -> None:
        """Skip the remaining messages of the cell."""
        self._messages = iter(())

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """Return the next output."""
        try:
            return next(self._messages)
        except StopIteration:
            raise Empty from None


def set_up_replay(self: nbval.IPyNbFile) -> None:
    """Take the place of nbval's set-up, which would start a kernel."""
    self.kernel = ReplayedKernel(executed_cells(self.path))
    self.setup_sanitize_files()


def pytest_configure(config: pytest.Config) -> None:
    """Let nbval replay instead of run."""
    nbval.IPyNbFile.setup = set_up_replay
    nbval.IPyNbFile.teardown = lambda self: None


def pytest_runtest_call(item: pytest.Item) -> None:
    """Fail a cell that holds code but was stored without being run."""
    if isinstance(item, nbval.IPyNbCell):
        cell = item.cell
        if cell.source.strip() and cell.execution_count is None and not item.options["skip"]:
            pytest.fail(
                f"{item.path.relative_to(ROOT)}: this cell is stored without having been run. "
                f"Run `make notebooks`.\n\n{cell.source}",
                pytrace=False,
            )
