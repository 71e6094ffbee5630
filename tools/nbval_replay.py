"""A pytest plugin: compare the stored outputs with the run of `make html`.

nbval runs a notebook again to compare it, and a notebook that trains a network for minutes would
train twice. This plugin takes nbval's place and compares with the run that already took place; the
comparison (``tools/compare.py``) is that of a live ``pytest --nbval-lax book``. It compares every
cell. A notebook that was not run since it changed fails once, and so does each stored cell that
was never run.

Use it as ``pytest -p tools.nbval_replay book``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode

from tools.compare import differences
from tools.dependencies import ROOT, code_cells
from tools.execution import BOOK, NotebookError, find_jobs, is_fresh, read_records, with_outputs


def pytest_configure(config: pytest.Config) -> None:
    """Keep nbval from running what is replayed."""
    config.option.nbval = config.option.nbval_lax = False


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the notebooks of the book."""
    if file_path.suffix == ".ipynb" and file_path.is_relative_to(BOOK):
        return StoredNotebook.from_parent(parent, path=file_path)
    return None


class StoredNotebook(pytest.File):
    """A notebook of the book, to be compared with its last run."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each code cell, or a single one that says why none can be compared."""
        name = self.path.relative_to(BOOK).with_suffix("").as_posix()
        try:
            job = find_jobs()[name]
        except NotebookError as error:
            yield Refused.from_parent(self, name="run", reason=str(error))
            return
        if not is_fresh(job, read_records()):
            reason = (
                f"{self.path.relative_to(ROOT)} was not run since it, the package or "
                "constraints.txt changed. Run `make html` first."
            )
            yield Refused.from_parent(self, name="run", reason=reason)
            return
        cells = zip(code_cells(job.notebook), code_cells(with_outputs(job)), strict=True)
        for number, (stored, run) in enumerate(cells):
            yield StoredCell.from_parent(self, name=f"Cell {number}", stored=stored, run=run)


class Refused(pytest.Item):
    """Stands for the cells of a notebook that cannot be compared."""

    def __init__(self, *, reason: str, **others: Any) -> None:
        super().__init__(**others)
        self.reason = reason

    def runtest(self) -> None:
        """Say why."""
        pytest.fail(self.reason, pytrace=False)


class StoredCell(pytest.Item):
    """A stored cell, to be compared with the outputs of its run."""

    def __init__(self, *, stored: NotebookNode, run: NotebookNode, **others: Any) -> None:
        super().__init__(**others)
        self.stored, self.run = stored, run

    def runtest(self) -> None:
        """Compare."""
        place = f"{self.path.relative_to(ROOT)}, {self.name}"
        if self.stored.source.strip() and self.stored.execution_count is None:
            message = f"{place} is stored without having been run. Run `make notebooks`."
            pytest.fail(f"{message}\n\n{self.stored.source}", pytrace=False)
        if found := differences(self.stored, self.run.outputs):
            message = "\n".join([f"{place} shows something else than is stored:", *found])
            pytest.fail(f"{message}\n\n{self.stored.source}", pytrace=False)
