"""Sphinx extension: what a cell prints in columns is a table on the page.

Columns stand two or more spaces apart. The first line heads them, unless it has values itself; over
the names of the rows it may say nothing. What else the cell prints stays as it was printed.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NUMBER = r"[-+±]?(\d[\d,]*(\.\d+)?(e[-+]?\d+)?|inf|nan)"
BEGINS_WITH_ONE = re.compile(NUMBER + r"\b.*|[-–]")
IS_ONE = re.compile(rf"{NUMBER}( ± {NUMBER})?( ?%| [^\d,]+)?|[-–]")
SENTENCE = re.compile(r"[:;] |[:=±]$")
# spaces at which no line ends: 0.1 ± 0.2, h = 1, 11 of 12
TIED = re.compile(r" (?=[-+±=\d])|(?<=[=±]) |(?<=\d) (?=of \d)")


class Table(NamedTuple):
    """What a cell printed: a table, its first line a head or not, and the lines around it."""

    before: list[str]
    head: list[str]
    body: list[list[str]]
    after: list[str]


def fields(line: str) -> list[str]:
    """Split a line where two or more spaces stand."""
    return re.split(r" {2,}", line.strip())


def find(text: str) -> Table | None:
    """Find the table in what a cell printed, if it printed one.

    Its lines follow each other and have equally many fields; the head may be blank over the names
    of the rows. There is none if a line beside it looks as if it should belong to it, or if a field
    is a sentence.
    """
    lines = text.rstrip().split("\n")
    rows = list(map(fields, lines))
    for first, head in enumerate(rows[:-2]):
        width = len(rows[first + 1])
        over_names = len(head) == width - 1 > 1 and lines[first].startswith("  ")
        if width > 1 and (len(head) == width or over_names):
            body = list(takewhile(partial(is_wide, width), rows[first + 1 :]))
            end = first + 1 + len(body)
            beside = [row for row in rows[:first] + rows[end:] if len(row) > 1]
            sentences = filter(SENTENCE.search, chain(head, *body))
            if len(body) == 1 or beside or any(sentences):
                return None
            if is_body(head, body[0]):
                return Table(lines[:first], [], [head, *body], lines[end:])
            return Table(lines[:first], [""] * (width - len(head)) + head, body, lines[end:])
    return None


def is_wide(width: int, row: list[str]) -> bool:
    """Tell whether a line has so many fields."""
    return len(row) == width


def is_body(row: list[str], following: list[str]) -> bool:
    """Tell whether the first line has values, too: numbers, or what only numbers distinguish."""
    names = [[re.sub(NUMBER, "", field) for field in line[1:]] for line in (row, following)]
    values = len(row) == len(following) and all(map(BEGINS_WITH_ONE.fullmatch, row[1:]))
    return values or names[0] == names[1]


def entry(text: str, number: bool) -> nodes.entry:
    """Make a cell of a table; an empty one, over the names of rows, is named for who hears it."""
    words: nodes.Node = nodes.Text(TIED.sub("\N{NO-BREAK SPACE}", text))
    if not text:
        words = nodes.inline("", "row", classes=["visually-hidden"])
    return nodes.entry("", nodes.paragraph("", "", words), classes=["number"] if number else [])


def table(printed: Table) -> nodes.table:
    """Typeset a table; numbers are aligned at their ends."""
    columns = list(zip(*printed.body, strict=True))
    numbers = [all(map(IS_ONE.fullmatch, column)) for column in columns]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in columns), cols=len(columns))
    if printed.head:
        group += nodes.thead("", nodes.row("", *map(entry, printed.head, numbers)))
    group += nodes.tbody("", *(nodes.row("", *map(entry, row, numbers)) for row in printed.body))
    return nodes.table("", group, classes=["printed"])


def like(block: nodes.literal_block, lines: list[str]) -> list[nodes.Node]:
    """Return a printed block of some of its lines, if they say anything."""
    text = "\n".join(lines)
    return [nodes.literal_block(text, text, **block.attributes)] if text.strip() else []


def typeset(app: Sphinx, document: nodes.document) -> None:
    """Put tables in the place of the outputs of a page that have columns."""
    for block in list(document.findall(nodes.literal_block)):
        if "stream" in block.get("classes", []) and (printed := find(block.astext())):
            parts = [*like(block, printed.before), table(printed), *like(block, printed.after)]
            block.parent.replace(block, parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step."""
    app.connect("doctree-read", typeset)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
