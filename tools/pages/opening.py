"""Sphinx extension: a chapter opens with its picture, and with the code of the picture below it.

What stands before the first section is the title, the question, and then cells of which the last
draws a picture. The page shows the picture, and under it, folded, all the code that it took.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.locale import get_translation

from tools import catalogues

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_ = get_translation(catalogues.FRAME)


def is_code_cell(node: nodes.Node) -> bool:
    """Tell whether a node is a code cell of a notebook."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def opening_cells(document: nodes.document) -> list[nodes.container]:
    """Return the cells up to the first picture, if it stands before the first section."""
    found: list[nodes.container] = []
    for node in next(document.findall(nodes.section), nodes.section()).children:
        if is_code_cell(node):
            found.append(node)
            if next(node.findall(nodes.figure), None):
                return found
    return []


def fold(app: Sphinx, document: nodes.document) -> None:
    """Put the code of the opening picture below it."""
    if not (cells := opening_cells(document)):
        return
    *before, last = cells
    code = [*before, last[0]]
    for node in code:
        node.parent.remove(node)
    summary = html.escape(_("The code of this picture"))
    last += [
        nodes.raw("", f'<details class="hide"><summary>{summary}</summary>', format="html"),
        *code,
        nodes.raw("", "</details>", format="html"),
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step."""
    app.connect("doctree-read", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
