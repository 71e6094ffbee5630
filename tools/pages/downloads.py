"""Sphinx extension: the notebook of a page, as readers get it, runs anywhere.

A page offers its notebook for download, on Colab and on Binder. In place of the source, with its
directives and roles, that is the page itself (``tools/pages/markdown.py``): plain Markdown with all
numbers, links to the published book, solutions folded. Its first code cell installs the package
where it is missing. Cells that are no part of the page are left out, and a live figure becomes a
widget. What was printed stays; a picture is shown by its address, until the cell is run.

``python -m tools.downloads`` runs these notebooks where there is nothing but the package.
"""

from __future__ import annotations

import ast
import html
import json
import platform
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from docutils import nodes
from sphinx.locale import get_translation

from tools import catalogues
from tools.pages import editions
from tools.pages.live import FIGURE, alt_text, read_stills
from tools.pages.markdown import Block, Page, cells
from vaebook._files import write_atomically

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_ = get_translation(catalogues.FRAME)
SHARED = ("_images/", "_static/stills/")  # lie beside the English pages, for both editions
NUMERICAL = ("torch", "numpy", "scipy", "scikit-learn", "numba", "matplotlib")
INSTALL = """\
# Installs the package of this book where it is missing, as on Colab.
from importlib.util import find_spec

if find_spec("vaebook") is None:
    %pip install --quiet git+{repository}"""


class Downloads:
    """The notebooks of the pages that are written, until Sphinx has copied their sources."""

    def __init__(self) -> None:
        self.notebooks: dict[str, str] = {}

    def export(
        self, app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
    ) -> None:
        """Note the notebook of a page that is written."""
        if doctree is not None and Path(app.env.doc2path(page)).suffix == ".ipynb":
            notebook = make_notebook(app, page, doctree)
            self.notebooks[page] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"

    def write(self, app: Sphinx, exception: Exception | None) -> None:
        """Put the notebooks in the place of the sources that the pages offer for download."""
        for page, text in self.notebooks.items():
            if exception is None:
                place = Path(app.outdir, "_sources", f"{page}.ipynb")
                place.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(place, text.encode())


def make_notebook(app: Sphinx, page: str, doctree: nodes.document) -> dict[str, Any]:
    """Return the notebook of a page that is about to be written."""
    run = Path(app.env.mystnb_config.output_folder, f"{page}.ipynb")  # type: ignore[attr-defined]
    executed = json.loads(run.read_text(encoding="utf-8"))
    writer = Page(
        doctree,
        app.env.toc_fignumbers.get(page, {}),
        partial(address_of, app, page),
        app.config.numfig_format["figure"],
        is_chinese=editions.is_chinese(app),
    )
    made = []
    for group in cells(writer.blocks()):
        if (node := group[0].cell) is not None:
            cell = executed["cells"][node["cell_index"]]
            made.append(code_cell(cell, group[0], pictures(app, page, node)))
        else:
            made.append(text_cell(group))
    made[0]["source"] += "\n\n" + origin(app, page)
    made[1:1] = install_cells(app)
    known, kept = executed["metadata"], ("kernelspec", "language_info")
    return {
        "cells": [{"id": f"cell-{i}", **cell} for i, cell in enumerate(made)],
        "metadata": {name: known[name] for name in kept if name in known},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def text_cell(group: list[Block]) -> dict[str, Any]:
    """Return a cell of prose, folded if it is part of a solution."""
    text = "\n\n".join(block.text for block in group)
    if title := group[0].solution:
        text = f"<details>\n<summary>{html.escape(title)}</summary>\n\n{text}\n\n</details>"
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code_cell(cell: dict[str, Any], block: Block, shown: str) -> dict[str, Any]:
    """Return a cell of code with what it printed; one of a solution shows its title alone.

    Jupyter hides the source of such a cell by its metadata, Colab by the form that its first line
    begins.
    """
    source, metadata = "".join(cell["source"]), {}
    outputs = [output_without_pictures(output, shown) for output in cell["outputs"]]
    if any(FIGURE.search("".join(o.get("data", {}).get("text/html", ""))) for o in cell["outputs"]):
        source = as_widget(source)
    if block.solution:
        source = f"#@title {block.solution}\n{source}"
        metadata = {"cellView": "form", "jupyter": {"source_hidden": True, "outputs_hidden": True}}
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": metadata,
        "outputs": outputs,
        "source": source,
    }


def output_without_pictures(output: dict[str, Any], shown: str) -> dict[str, Any]:
    """Return an output of which the picture, if it had one, is elsewhere.

    Jupyter shows no drawing of a notebook that it has not run itself; a picture by its address it
    does, and a reader who cannot see it has its text.
    """
    if "data" not in output:
        return output
    data = {"text/plain": output["data"].get("text/plain", "")}
    if shown and len(output["data"]) > 1:
        data = {"text/markdown": shown, **data}
    return {**output, "data": data, "metadata": {}} | (
        {"execution_count": None} if output["output_type"] == "execute_result" else {}
    )


def address_of(app: Sphinx, page: str, uri: str) -> str | None:
    """Return the address, in the published book, of what a page refers to; None without a book."""
    if "://" in uri or uri.startswith("mailto:"):
        return uri
    if not app.config.html_baseurl:
        return None
    here = urljoin(app.config.html_baseurl, app.builder.get_target_uri(page))
    is_shared = editions.is_chinese(app) and uri.lstrip("./").startswith(SHARED)
    return urljoin(here, f"../{uri}" if is_shared else uri)


def pictures(app: Sphinx, page: str, node: nodes.container) -> str:
    """Return the pictures that a page shows below a cell, or the stills of its live figures."""
    found = [(image.get("alt", ""), image["uri"]) for image in node.findall(nodes.image)]
    top = "../" * page.count("/")
    stills = read_stills()
    for raw in node.findall(nodes.raw):
        found += [
            (alt_text(app, name, stills[name]), f"{top}_static/stills/{name}.webp")
            for name in FIGURE.findall(raw.astext())
            if name in stills
        ]
    places = [(text, address_of(app, page, uri)) for text, uri in found]
    return "\n".join(f"![{text}]({place})" for text, place in places if place)


def as_widget(source: str) -> str:
    """Let the live figure at the end of a cell be shown as a widget."""
    last = ast.parse(source).body[-1]
    lines = source.splitlines()
    end, at = (last.end_lineno or 0) - 1, last.end_col_offset or 0
    line = lines[end].encode()
    lines[end] = (line[:at] + b".widget()" + line[at:]).decode()
    return "\n".join(lines)


def origin(app: Sphinx, page: str) -> str:
    """Say which book a notebook is from, and with which versions it was run there."""
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name).partition('+')[0]}" for name in ("vaebook", *NUMERICAL)]
    place = address_of(app, page, app.builder.get_relative_uri(page, page))
    text = _(
        "This notebook is a chapter of {book}. What is printed here was computed with {versions}; "
        "other versions may change the last digits."
    )
    return "> " + text.format(
        book=f"[{app.config.html_title}]({place})" if place else app.config.html_title,
        versions=("、" if editions.is_chinese(app) else ", ").join(versions),
    )


def install_cells(app: Sphinx) -> Iterator[dict[str, Any]]:
    """Yield the cell that installs the package, if it is known where that is to be had."""
    if repository := app.config.html_theme_options.get("repository_url"):
        yield {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": INSTALL.format(repository=repository),
        }


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the steps; pages must not be written in processes of their own."""
    downloads = Downloads()
    app.connect("html-page-context", downloads.export)
    app.connect("build-finished", downloads.write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
