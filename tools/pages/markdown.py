"""A page as plain Markdown: what each of its parts says, without roles and directives.

What is written is what Jupyter, Colab, VS Code and GitHub all show alike: links, tables, formulas
between dollar signs with their numbers as tags, and a little HTML where Markdown has no word, for
what is folded and for the places that links lead to.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from docutils import nodes
from sphinx.util import logging

from tools.pages.opening import is_code_cell

logger = logging.getLogger(__name__)
SPECIAL = re.compile(r"[\\`*$~]|(?<!\w)_|_(?!\w)|\](?=[(\[])|[<>]|&(?=#?\w+;)")
AT_START = re.compile(r"^(?:(\d+)(?=[.)]\s)|(?=(?:#+|[-+])\s))")  # of a heading, of a list
ENVIRONMENT = re.compile(
    r"\\begin\{(?:align|gather|equation|multline|alignat|flalign|eqnarray)\*?\}"
)
SKIPPED = (nodes.target, nodes.comment, nodes.colspec)
NO_TEXT = {"visually-hidden"}


@dataclass(frozen=True)
class Block:
    """A piece of a page, in its order: some Markdown, or a code cell.

    Attributes
    ----------
    text
        Markdown; of a code cell, none.
    cell
        The node of a code cell.
    solution
        The title of the solution that it is part of, if any.
    is_heading
        Whether a new cell begins with it.
    """

    text: str = ""
    cell: nodes.container | None = None
    solution: str = ""
    is_heading: bool = False


class Page:
    """Writes one page.

    Parameters
    ----------
    doctree
        The page, with all references resolved.
    numbers
        Of what is counted: for ``displaymath``, ``figure`` and so on, numbers by id.
    absolute
        Makes an address that is relative to this page absolute; None if that is not known.
    is_chinese
        Whether emphasis stands between characters without spaces, where asterisks fail.
    """

    def __init__(
        self,
        doctree: nodes.document,
        numbers: dict[str, dict[str, tuple[int, ...]]],
        absolute: Callable[[str], str | None],
        figure_name: str = "Fig. %s",
        *,
        is_chinese: bool = False,
    ) -> None:
        self.doctree, self.numbers, self.absolute = doctree, numbers, absolute
        self.figure_name, self.is_chinese = figure_name, is_chinese
        places = map(place_on_page, doctree.findall(nodes.reference))
        self.wanted = set(filter(None, places))  # of which links lead there
        self.in_table = False

    # ---- blocks ----

    def blocks(self) -> Iterator[Block]:
        """Yield the page, piece by piece."""
        yield from self._blocks(self.doctree, 0, "")

    def _blocks(self, parent: nodes.Element, level: int, solution: str) -> Iterator[Block]:
        for node in parent.children:
            kind = type(node).__name__
            if kind == "section":
                below = level + (not isinstance(node.parent, nodes.Admonition))
                yield from self._blocks(node, below, solution)
            elif kind == "title" and isinstance(parent, nodes.section):
                text = f"{'#' * level} {self.inline(node)}{self._places(parent)}"
                yield Block(text, None, solution, is_heading=True)
            elif kind == "exercise_enumerable_node":
                text = f"{'#' * (level + 1)} {self._exercise_title(node)}{self._places(node)}"
                yield Block(text, None, solution, is_heading=True)
                yield from self._blocks(node[1], level + 1, solution)
            elif kind == "solution_node":
                title = " ".join(node[0].astext().split())
                yield from self._blocks(node[1], level + 1, title)
            elif is_code_cell(node):
                for cell in (*filter(is_code_cell, node.children), node):  # what opening.py folded
                    yield Block(cell=cell, solution=solution)
                for figure in node.findall(nodes.figure):
                    yield Block(self._figure_text(figure), None, solution)
            elif text := self.block(node):
                yield Block(text, None, solution)

    def block(self, node: nodes.Node) -> str:
        """Return a block of text; what has no Markdown is a warning, and so an error."""
        write = getattr(self, f"_{type(node).__name__}", None)
        if isinstance(node, nodes.Admonition):
            return self._quoted(node)
        if write is not None:
            return str(write(node))
        if not isinstance(node, SKIPPED):
            message = f"tools/pages/markdown.py has no Markdown for <{type(node).__name__}>"
            logger.warning(message, location=node)
        return ""

    def _all(self, parent: nodes.Element) -> str:
        return "\n\n".join(filter(None, map(self.block, parent.children)))

    def _places(self, node: nodes.Element) -> str:
        """Return the places of a block that links on this page lead to."""
        wanted = (html.escape(name) for name in node["ids"] if name in self.wanted)
        return "".join(f'<a id="{name}"></a>' for name in wanted)

    def _number(self, kind: str, node: nodes.Element) -> str:
        counted = self.numbers.get(kind, {})
        return next(
            (".".join(map(str, counted[name])) for name in node["ids"] if name in counted), ""
        )

    def _exercise_title(self, node: nodes.Element) -> str:
        number, name = self._number("exercise", node), self.inline(node[0]).strip()
        return f"{str(node[0].get('title', '%s')).replace('%s', number)} {name}".strip()

    def _figure_text(self, figure: nodes.figure) -> str:
        name = self.figure_name.replace("%s", self._number("figure", figure))
        captions = [self.inline(node) for node in figure.findall(nodes.caption)]
        return f"{self._places(figure)}{self._marked('**', name)} {' '.join(captions)}"

    def _paragraph(self, node: nodes.paragraph) -> str:
        return AT_START.sub(r"\1\\", self.inline(node).strip())

    def _title(self, node: nodes.title) -> str:
        return self._marked("**", self.inline(node))

    def _math_block(self, node: nodes.math_block) -> str:
        latex = _safe(node.astext().strip())
        number = self._number("displaymath", node)
        if number and not ENVIRONMENT.match(latex):
            latex += rf" \tag{{{number}}}"
        if not isinstance(node.parent, nodes.section):  # inside of a list, lines may get lost
            latex = " ".join(latex.split())
        return f"{self._places(node)}\n\n$$\n{latex}\n$$".strip()

    def _literal_block(self, node: nodes.literal_block) -> str:
        fence = "````" if "```" in node.astext() else "```"
        language = {"default": "", "none": ""}.get(
            node.get("language", ""), node.get("language", "")
        )
        return f"{fence}{language}\n{node.astext().rstrip()}\n{fence}"

    def _bullet_list(self, node: nodes.bullet_list) -> str:
        return "\n".join(self._item("- ", item) for item in node.children)

    def _enumerated_list(self, node: nodes.enumerated_list) -> str:
        start = node.get("start", 1)
        return "\n".join(self._item(f"{i}. ", item) for i, item in enumerate(node.children, start))

    def _item(self, mark: str, item: nodes.Element) -> str:
        return mark + indent(self._all(item), " " * len(mark)).lstrip()

    def _quoted(self, node: nodes.Element) -> str:
        return "\n".join(f"> {line}".rstrip() for line in self._all(node).splitlines())

    _block_quote = _quoted

    def _image(self, node: nodes.image) -> str:
        address = self.absolute(node["uri"])
        return f"![{_escape(node.get('alt', ''))}]({address})" if address else ""

    def _table(self, node: nodes.table) -> str:
        self.in_table = True
        head = [row for part in node.findall(nodes.thead) for row in part.children]
        body = [row for part in node.findall(nodes.tbody) for row in part.children]
        columns = len((head + body)[0].children)
        numbers = ["number" in entry["classes"] for entry in body[0].children]
        lines = [self._row(row) for row in head] or ["|" + "  |" * columns]
        lines.append(
            "|" + "|".join(" ---: " if is_number else " --- " for is_number in numbers) + "|"
        )
        lines += [self._row(row) for row in body]
        self.in_table = False
        return "\n".join(lines)

    def _row(self, row: nodes.row) -> str:
        cells = (
            self._all(entry).replace("\n\n", "<br>").replace("\n", " ") for entry in row.children
        )
        return f"| {' | '.join(cells)} |"

    # ---- text ----

    def inline(self, parent: nodes.Element) -> str:
        """Return what stands in a line."""
        return "".join(map(self._inline, parent.children))

    def _inline(self, node: nodes.Node) -> str:
        match node:
            case nodes.Text():
                return _escape(re.sub(r"\s*\n\s*", " ", node.astext()), in_table=self.in_table)
            case nodes.math():
                latex = _safe(" ".join(node.astext().split()))
                return f"${_without_bars(latex) if self.in_table else latex}$"
            case nodes.literal():
                text = " ".join(node.astext().split())
                text = text.replace("|", r"\|") if self.in_table else text
                return f"`` {text} ``" if "`" in text else f"`{text}`"
            case nodes.emphasis() | nodes.strong():
                is_strong = isinstance(node, nodes.strong) or self.is_chinese
                return self._marked("**" if is_strong else "*", self.inline(node))
            case nodes.image():
                return self._image(node)
            case nodes.Element() if NO_TEXT & set(node.get("classes", ())):
                return ""
        address = self._address(node)
        text = self.inline(node)
        return f"[{text}]({address})" if address and text else text

    def _address(self, node: nodes.Element) -> str | None:
        if place := place_on_page(node):
            return f"#{place}"
        return self.absolute(node["refuri"]) if node.get("refuri") else None

    def _marked(self, mark: str, text: str) -> str:
        if not self.is_chinese:
            return f"{mark}{text}{mark}"
        return f"<strong>{text}</strong>"  # asterisks beside Chinese punctuation stay asterisks


def place_on_page(link: Any) -> str:
    """Return the place on the same page that a link leads to."""
    uri = link.get("refuri", "")
    return str(link.get("refid") or (uri[1:] if uri.startswith("#") else ""))


def _escape(text: str, *, in_table: bool = False) -> str:
    """Return text that Markdown shows as it is."""
    escapes = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "]": "&#93;"}
    text = SPECIAL.sub(lambda match: escapes.get(match[0], "\\" + match[0]), text)
    return text.replace("|", r"\|") if in_table else text


def _safe(latex: str) -> str:
    """Return a formula in which nothing looks like the beginning of HTML."""
    return re.sub(r"<(?!\w*\})", r"\\lt ", latex)


def _without_bars(latex: str) -> str:
    """Return a formula that does not end a cell of a table."""
    return re.sub(r"\\?\|", lambda bar: r"\Vert " if bar[0] == r"\|" else r"\vert ", latex)


def cells(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    """Join what belongs into one cell: code alone; text up to a heading, to code or a solution."""
    group: list[Block] = []
    for block in blocks:
        is_code = any(part.cell is not None for part in (block, *group[-1:]))
        if group and (is_code or block.is_heading or block.solution != group[-1].solution):
            yield group
            group = []
        group.append(block)
    if group:
        yield group
