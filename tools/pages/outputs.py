"""Sphinx extension: the outputs on a page are those of the notebook's run.

The notebooks in ``book/`` are stored without images, so a page is read from the notebook as it
was run. A chapter that was not run yet says so. A page is read again when its text or its run
differs from what it was read from; times of files do not matter.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbformat.v4 import new_markdown_cell, writes
from sphinx.util import logging

from tools.dependencies import checksum
from tools.execution import BOOK, Job, find_jobs, is_fresh, read_records, with_outputs

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)
NOT_RUN = """\
:::{warning}
This chapter is still running. Its figures are missing, and its numbers are those of an earlier run.
:::"""


class Runs:
    """The book's notebooks, by the names of their pages, and which of them were run."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.done: set[str] = set()

    def find(self, app: Sphinx) -> None:
        """Look once, before anything is read."""
        folder = BOOK.relative_to(app.srcdir)
        records = read_records()
        self.jobs = {(folder / name).as_posix(): job for name, job in find_jobs().items()}
        self.done = {page for page, job in self.jobs.items() if is_fresh(job, records)}

    def outdated(self, app: Sphinx, env: BuildEnvironment, *found: set[str]) -> list[str]:
        """Return the pages whose text or run is not what it was when they were read."""
        before = getattr(env, "vaebook_sources", {})
        now = {page: self._state(page, env) for page in env.found_docs}
        env.vaebook_sources = now  # type: ignore[attr-defined]
        return sorted(page for page, state in now.items() if state != before.get(page))

    def _state(self, page: str, env: BuildEnvironment) -> str:
        if page not in self.jobs:
            return checksum(Path(env.doc2path(page)).read_bytes())
        job = self.jobs[page]
        return checksum(job.text, job.executed.read_bytes() if page in self.done else b"")

    def put_outputs(self, app: Sphinx, page: str, content: list[str]) -> None:
        """Put the outputs into the notebook that is about to be read."""
        if page not in self.jobs:
            return
        job = self.jobs[page]
        if page in self.done:
            notebook = with_outputs(job)
        else:
            notebook = job.notebook
            notebook.cells.insert(1, new_markdown_cell(NOT_RUN))
            if not app.config.pages_of_running_notebooks:
                message = "this notebook was not run since it changed. Run `make html`"
                logger.warning(message, location=page)
        content[0] = writes(notebook)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the steps."""
    runs = Runs()
    app.add_config_value("pages_of_running_notebooks", False, "", bool)
    app.connect("builder-inited", runs.find)
    app.connect("env-get-outdated", runs.outdated)
    app.connect("source-read", runs.put_outputs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
