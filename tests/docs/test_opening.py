"""A chapter opens with its picture; the code that it took is folded below, and is still code."""

import json

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
FIGURE = {"figure": {"name": "fig-a", "caption": "C."}, "image": {"alt": "A dot."}}


def chapter(*between):
    """Return the cells of a chapter with some between its imports and its picture."""
    drawing = new_output("execute_result", {"image/svg+xml": SVG, "text/plain": "<Figure>"})
    drawn = new_code_cell("draw()", metadata={"mystnb": FIGURE}, outputs=[drawing])
    more = new_markdown_cell("## Section\n\nSee {numref}`fig-a`.")
    lead = new_markdown_cell("# Chapter\n\nWhat is it?")
    return [lead, new_code_cell("import a"), *between, drawn, new_code_cell("b()"), more]


def article(book, *cells):
    """Build the chapter and return what its page shows, and its download."""
    for name in ("chapter.md", "equations.md", "tests/test_sum.py"):
        (book.folder / name).unlink()
    notebook = new_notebook(cells=cells)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    book.write("chapter.ipynb", json.dumps(notebook))
    book.write("index.md", "# Book\n\n```{toctree}\nchapter\n```\n")
    assert book.build() == ""
    made = nbformat.reads(book.page("_sources/chapter.ipynb"), as_version=4)
    return BeautifulSoup(book.page("chapter.html"), "html.parser"), made.cells


def test_the_code_of_the_first_picture_is_folded_below_it(book):
    page, _ = article(book, *chapter(new_code_cell("a.f()")))
    figure, fold = page.select_one("figure"), page.select_one("details.hide")
    assert figure in fold.find_all_previous("figure")
    assert fold.summary.text == "The code of this picture"
    inside = [block.text.strip() for block in fold.select("pre")]
    assert inside == ["import a", "a.f()", "draw()"]
    assert not figure.find_all_previous("pre")
    assert len(page.select("div.cell_input")) == 4  # the one after the picture stays open


def test_the_download_has_the_cells_in_order(book):
    _, cells = article(book, *chapter(new_code_cell("a.f()")))
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert code == ["import a", "a.f()", "draw()", "b()"]


@pytest.mark.parametrize("text", ["## First\n\nText."])
def test_a_picture_of_a_section_is_left_as_it_is(book, text):
    page, _ = article(book, *chapter(new_markdown_cell(text)))
    assert not page.select("details.hide")
