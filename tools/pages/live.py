"""Sphinx extension: what a live figure needs comes when the reader comes to it.

A figure's cell leaves its name and its state. The page gets the figure's module, its still picture
for readers without JavaScript, and the place of the script that all figures share. The state may
be the weights of a network: a large one leaves the page for a script of its own, which
``vaebook-widgets.js`` loads with the shared one when the figure is near the screen. Both are
scripts and not JSON or modules, because a page opened as a file may not read other files.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from tools import catalogues, words
from tools.execution import find_jobs
from tools.pages import editions
from tools.words import short_checksum
from vaebook._files import write_atomically
from vaebook.interactive.figure import SHARED, STYLE, source

if TYPE_CHECKING:
    from sphinx.application import Sphinx

logger = logging.getLogger(__name__)
FIGURE = re.compile(r'<div class="vaebook-static" data-figure="(\w+)"')
SLOT_END = re.compile(r'(<div class="vaebook-slot">.*?)(</div>)', re.S)
STATE = re.compile(r'<script type="application/json">([^<]{10000,})</script>')
STILLS = Path(__file__).parents[2] / "book" / "_static" / "stills"


class LiveFigureOf(SphinxDirective):
    """Show a live figure of a chapter on another page: ``{live-figure-of} chapter name``."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Take the figure from the chapter's run."""
        chapter, name = self.arguments
        executed = find_jobs()[chapter].executed
        self.env.note_dependency(str(executed))
        for markup in outputs(executed):
            if FIGURE.findall(markup) == [name]:
                return [nodes.raw("", markup, format="html")]
        message = f"no run of {chapter} has left a live figure {name}. Run `make html`"
        logger.warning(message, location=self.get_location())
        return []


def outputs(executed: Path) -> Iterator[str]:
    """Yield the HTML that the cells of a notebook's run have shown, if it was run."""
    if executed.exists():
        for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                yield "".join(output.get("data", {}).get("text/html", []))


def script(app: Sphinx, name: str) -> str:
    """Return a script of the live figures, in the language of the edition."""
    text = source(name)
    if not editions.is_chinese(app) or name.startswith("vendor/"):
        return text
    catalogue = f"figures/{name.removesuffix('.js')}"
    for problem in catalogues.problems(catalogue, words.in_script(text)):
        logger.warning(f"{problem}. Run `make messages`", location=catalogue)
    return words.translate_script(text, catalogues.translations(catalogue))


def read_stills() -> dict[str, dict[str, Any]]:
    """Return what is known of the still pictures, by the names of their figures."""
    file = STILLS / "stills.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def complete_figures(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Give a page what its live figures need."""
    body = context.get("body", "")
    names = sorted(set(FIGURE.findall(body)))
    if not names:
        return

    def write(kind: str, text: str) -> str:
        """Write a script beside the pages, once, and return its address as seen from this one."""
        address = f"_static/live/{kind}-{short_checksum(text)}.js"
        file = editions.shared_folder(app) / address
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, text.encode())
        return str(context["pathto"](address, 1))

    shared = write("shared", "\n".join(script(app, name) for name in SHARED))
    modules = "".join(
        f'<script type="text/plain" id="esm-{name}">{script(app, f"{name}.js")}</script>'
        for name in names
    )
    stills = read_stills()
    body = STATE.sub(lambda match: _own_script(match[1], write), body)
    pieces = FIGURE.split(body)  # what stands before the first, a name, what follows, a name, ...
    for at in range(1, len(pieces), 2):
        start = f'<div class="vaebook-static" data-figure="{pieces[at]}" data-shared="{shared}"'
        still = _still(app, pieces[at], stills.get(pieces[at]), context["pathto"])
        pieces[at + 1] = SLOT_END.sub(rf"\1{still}\2", pieces[at + 1], count=1)
        pieces[at] = start
    context["body"] = f"<style>{source(STYLE)}</style>{''.join(pieces)}{modules}"


def _own_script(state: str, write: Callable[[str, str], str]) -> str:
    key = short_checksum(state)
    place = write("state", f'(window.vaebookStates ??= {{}})["{key}"] = {state};\n')
    return f'<script type="application/json" data-key="{key}" data-source="{place}"></script>'


def _still(app: Sphinx, name: str, still: dict[str, Any] | None, pathto: Callable[..., str]) -> str:
    if still is None:
        return ""
    alt, address = html.escape(alt_text(app, name, still)), pathto(f"_static/stills/{name}.webp", 1)
    size = f'width="{still["width"]}" height="{still["height"]}"'
    return f'<noscript><img src="{address}" {size} alt="{alt}"></noscript>'


def alt_text(app: Sphinx, name: str, still: dict[str, Any]) -> str:
    """Return what the still picture of a live figure shows, in the language of the edition."""
    if not editions.is_chinese(app):
        return str(still["alt"])
    return words.translate_text(still["alt"], catalogues.translations(f"figures/{name}"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and the step."""
    app.add_directive("live-figure-of", LiveFigureOf)
    app.connect("html-page-context", complete_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
