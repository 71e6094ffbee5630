"""Sphinx extension: what the last run of each notebook took, and what is checked in it.

From the same times it works out how long all notebooks take on machines with more cores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from tools.pages.equations import reading_order
from tools.schedule import Task, chains, seconds, simulate

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

COLUMNS = (
    "Chapter",
    "Run time (s)",
    "Peak memory (MiB)",
    "Statements bound to a test",
    "Definitions",
    "Outputs compared",
    "Numbers recorded for the text",
    "Figures with alt text",
)
CORES = (2, 4, 8, 16)


class status_table(nodes.General, nodes.Element):
    """Stands for the table until every page is read."""


class StatusTable(SphinxDirective):
    """``{notebook-status}``: one row a notebook, from its last run."""

    def run(self) -> list[nodes.Node]:
        """Mark the place, and the page on which it is."""
        self.env.metadata[self.env.docname]["status-table"] = True
        return [status_table()]


def _record_file(app: Sphinx) -> Path:
    return Path(app.srcdir) / "_build" / "execution.json"


def rewrite(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Return the page with the table: it depends on all the others."""
    return [page for page in env.found_docs if env.metadata[page].get("status-table")]


def counts(notebook: dict[str, Any]) -> tuple[int, int]:
    """Count the outputs that tests compare, and the figures with a text alternative."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    tags = [cell["metadata"].get("tags", []) for cell in cells]
    images = [cell["metadata"].get("mystnb", {}).get("image", {}) for cell in cells]
    compared = sum("nbval-check-output" in names for names in tags)
    return compared, sum("alt" in image for image in images)


class FillStatus(SphinxPostTransform):
    """Replace the mark by the table."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Change one page, just before it is written."""
        for node in list(self.document.findall(status_table)):
            file = _record_file(self.app)
            times = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            missing = "The times are missing: these pages were built without running the notebooks."
            table = _table(COLUMNS, list(self._rows(times)))
            before = self._schedule(times) if times else [nodes.paragraph("", missing)]
            node.replace_self([*before, table])

    def _schedule(self, times: dict[str, dict[str, Any]]) -> list[nodes.Node]:
        """Return a table of what all notebooks take together, and what bounds it from below."""
        tasks, titles = {}, {}
        for docname, notebook, run in self._notebooks(times):
            if run:
                after = tuple(notebook["metadata"].get("vaebook", {}).get("after", ()))
                name = _name(docname)
                tasks[name] = Task(run["seconds"], run["peak_rss_bytes"], after)
                titles[name] = self.env.titles[docname].astext()
        longest = max(chains(tasks).values(), key=lambda names: seconds(tasks, names))
        text = (
            "Each notebook runs on one core. On more cores, all of them together take, by these "
            "times, at least as long as the longest chain of notebooks that wait for one another: "
            f"{' → '.join(titles[name] for name in longest)}, {seconds(tasks, longest):.0f} s."
        )
        walls = [f"{simulate(tasks, cores):.0f}" for cores in CORES]
        head = ("Cores", *map(str, CORES))
        return [nodes.paragraph("", text), _table(head, [["All notebooks (s)", *walls]])]

    def _notebooks(
        self, times: dict[str, dict[str, Any]]
    ) -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None]]:
        """Yield each page that is a notebook, what its file holds, and its last run."""
        for docname in reading_order(self.env):
            source = Path(self.env.doc2path(docname))
            if source.suffix == ".ipynb":
                notebook = json.loads(source.read_text(encoding="utf-8"))
                yield docname, notebook, times.get(_name(docname))

    def _rows(self, times: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
        for docname, notebook, run in self._notebooks(times):
            taken = (
                [f"{run['seconds']:.0f}", f"{run['peak_rss_bytes'] / 2**20:.0f}"]
                if run
                else ["–"] * 2
            )
            metadata = self.env.metadata[docname]
            statements = [equation.is_statement for equation in metadata["equations"]]
            compared, figures = counts(notebook)
            checks = [sum(statements), len(statements) - sum(statements), compared]
            row = [*taken, *checks, len(metadata["results"]), figures]
            yield [self.env.titles[docname].astext(), *map(str, row)]


def _name(docname: str) -> str:
    """Return a notebook's name in the record of the run."""
    return docname.removeprefix("book/")


def _table(head: tuple[str, ...], rows: list[list[str]]) -> nodes.table:
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *map(_row, rows))
    return nodes.table("", group, classes=["notebook-status"])


def _row(cells: tuple[str, ...] | list[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_node(status_table)
    app.add_directive("notebook-status", StatusTable)
    app.add_post_transform(FillStatus)
    app.connect("env-updated", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
