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
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode

from tools.compare import differences
from tools.dependencies import ROOT, code_cells
from tools.execution import (
    BOOK,
    Job,
    NotebookError,
    find_jobs,
    is_fresh,
    read_records,
    with_outputs,
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep nbval from running what is replayed."""
    config.option.nbval = config.option.nbval_lax = False


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the notebooks of the book."""
    if file_path.suffix == ".ipynb" and file_path.is_relative_to(BOOK):
        return StoredNotebook.from_parent(parent, path=file_path)
    return None


@cache
def jobs() -> dict[str, Job]:
    """Return the notebooks of the book, read once."""
    return find_jobs()


class StoredNotebook(pytest.File):
    """A notebook of the book, to be compared with its last run."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each code cell, or a single one that says why none can be compared."""
        try:
            fresh = is_fresh(self.job, read_records())
        except NotebookError as error:
            yield Refused.from_parent(self, name="run", reason=str(error))
            return
        if not fresh:
            reason = (
                f"{self.path.relative_to(ROOT)} was not run since it, the package or "
                "constraints.txt changed. Run `make html` first."
            )
            yield Refused.from_parent(self, name="run", reason=reason)
            return
        for number, stored in enumerate(code_cells(self.job.notebook)):
            yield StoredCell.from_parent(self, name=f"Cell {number}", stored=stored, number=number)

    @property
    def job(self) -> Job:
        """The notebook, and what its outputs depend on."""
        return jobs()[self.path.relative_to(BOOK).with_suffix("").as_posix()]

    @cached_property
    def run(self) -> list[NotebookNode]:
        """Its code cells with the outputs of the run, read when the first of them is compared."""
        return code_cells(with_outputs(self.job))


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

    parent: StoredNotebook

    def __init__(self, *, stored: NotebookNode, number: int, **others: Any) -> None:
        super().__init__(**others)
        self.stored, self.number = stored, number

    def runtest(self) -> None:
        """Compare."""
        place = f"{self.path.relative_to(ROOT)}, {self.name}"
        if self.stored.source.strip() and self.stored.execution_count is None:
            message = f"{place} is stored without having been run. Run `make notebooks`."
            pytest.fail(f"{message}\n\n{self.stored.source}", pytrace=False)
        if found := differences(self.stored, self.parent.run[self.number].outputs):
            message = "\n".join([f"{place} shows something else than is stored:", *found])
            pytest.fail(f"{message}\n\n{self.stored.source}", pytrace=False)
