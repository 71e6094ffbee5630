"""Printed columns on a page: what is a table, what is not, and what its cells say."""

import json

import pytest
from bs4 import BeautifulSoup
from docutils import nodes

from tools.pages.tables import find
from tools.pages.tables import table as typeset_table

TABLE = """
model        nats       steps
a Gaussian   -1.5 ± 0.2     3
mixture      -0.25         10
"""
NO_HEAD = """
formula   0.276574
grid      0.276574
draws     0.277 ± 0.001
"""
ROW_NAMES = """
             mean width  correlation
all               3.406        0.761
the likely        3.403        0.758
"""


@pytest.mark.parametrize(
    ("printed", "head", "last"),
    [
        (TABLE, ["model", "nats", "steps"], ["mixture", "-0.25", "10"]),
        (NO_HEAD, [], ["draws", "0.277 ± 0.001"]),
        (ROW_NAMES, ["", "mean width", "correlation"], ["the likely", "3.403", "0.758"]),
        ("one  1 nats\nten  10 nats\ntwo  2 nats", [], ["two", "2 nats"]),
        ("by a  h = 1, at -2\nby b  h = 3, at 5\nby c  h = 0, at 1", [], ["by c", "h = 0, at 1"]),
    ],
)
def test_columns_two_spaces_apart_are_a_table(printed, head, last):
    table = find(printed.strip("\n"))
    assert (table.head, table.body[-1]) == (head, last)
    assert len({len(row) for row in table.body}) == 1


def test_a_number_and_its_error_stay_in_one_line():
    printed = find(TABLE.strip("\n"))
    cells = [cell.astext() for cell in typeset_table(printed).findall(nodes.entry)]
    assert "-1.5\xa0±\xa00.2" in cells
    assert "a Gaussian" in cells
    printed = find("model  kept\na  3 of 12\nb  12 of 12")
    cells = [cell.astext() for cell in typeset_table(printed).findall(nodes.entry)]
    assert "12\xa0of\xa012" in cells


def test_lines_around_a_table_stay():
    table = find(f"of two models{TABLE}the rest is silence\n")
    assert (table.before, table.after) == (["of two models"], ["the rest is silence"])


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "one line  of two parts",
        "no columns\nin three lines\nof text",
        "S =  10: bias 0.1\nS = 100: bias 0.2\nS = 500: bias 0.3",  # padded numbers in sentences
        "n =   1   0.3\nn = 100   0.2\nn =  20   0.1",
        f"{TABLE}another  line\n",  # a row that fits no column
        f"another  kind  of  line{TABLE}",
        "one  1\ntwo\nthree  3\n",
        "kind  a  b\none  1  2  (nats)\ntwo  3  4  (nats)",  # which of them has no head?
    ],
)
def test_what_is_no_table_stays_as_printed(printed):
    assert find(printed.strip("\n")) is None


def test_a_page_has_the_table(book):
    output = {"output_type": "stream", "name": "stdout", "text": f"of two{ROW_NAMES}and so on\n"}
    code = {"cell_type": "code", "source": "print()", "metadata": {}, "execution_count": 1}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    title = {
        "cell_type": "markdown",
        "source": "# Chapter\n\n$$1 + 1 = 2$$ (eq-sum)",
        "metadata": {},
    }
    book.write("chapter.ipynb", json.dumps({
        "cells": [title, {**code, "outputs": [output]}],
        "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4,
    }))  # fmt: skip
    (book.folder / "chapter.md").unlink()
    assert book.build() == ""
    page = BeautifulSoup(book.page("chapter.html"), "html.parser")
    table = page.select_one("table.printed")
    assert [cell.get_text(strip=True) for cell in table.select("th")] == [
        "row", "mean width", "correlation"
    ]  # fmt: skip
    assert [cell.get_text(strip=True) for cell in table.select("td.number")][:2] == [
        "3.406",
        "0.761",
    ]
    assert [block.get_text().strip() for block in page.select(".cell_output pre")] == [
        "of two", "and so on"
    ]  # fmt: skip
