"""Live figures on a page: what each needs is there, once, and what is large waits in a file."""

import json
import re

import pytest

from vaebook.interactive.figure import SHARED, LiveFigure, source


def write_page(book, *figures):
    cells = "".join(f"\n```{{raw}} html\n{figure._repr_html_()}\n```\n" for figure in figures)
    book.write("more.md", f"# More\n{cells}")
    book.write("index.md", "# Book\n\n```{toctree}\nchapter\nmore\nequations\n```\n")
    assert book.build() == ""
    return book.page("more.html")


@pytest.mark.parametrize("size", [10, 20_000])
def test_a_large_state_leaves_the_page(book, size):
    page = write_page(book, LiveFigure("elbo_explorer", "A figure", weights="7" * size))
    state = json.dumps({"entries": ["weights"], "weights": "7" * size})
    moved = list((book.folder / "_build/html/_static/live").glob("state-*.js"))
    assert (state in page) == (size == 10) == (not moved)
    for file in moved:
        (key,) = re.findall(rf'data-key="(\w+)" data-source="_static/live/{file.name}"', page)
        assert file.read_text() == f'(window.vaebookStates ??= {{}})["{key}"] = {state};\n'


def test_figures_share_their_scripts(book):
    page = write_page(book, LiveFigure("elbo_explorer", "One"), LiveFigure("elbo_explorer", "Two"))
    (shared,) = (book.folder / "_build/html/_static/live").glob("shared-*.js")
    assert shared.read_text() == "\n".join(map(source, SHARED))
    assert page.count(f'data-shared="_static/live/{shared.name}"') == 2
    assert page.count(source("elbo_explorer.js")) == 1


def test_without_javascript_there_is_a_picture_that_says_what_it_shows(book):
    page = write_page(book, LiveFigure("elbo_explorer", "One"))
    assert '<noscript><img src="_static/stills/elbo_explorer.webp" width=' in page
    assert 'alt="Densities over z. q is centred' in page


def test_a_page_without_figures_needs_nothing(book):
    page = write_page(book)
    assert "vaebook-live" not in page
    assert not (book.folder / "_build/html/_static/live").exists()


def test_a_figure_that_no_chapter_has_is_an_error(book):
    book.write("index.md", "# Book\n\n```{live-figure-of} practice/own_data no_such\n```\n")
    assert "practice/own_data has left a live figure no_such" in book.build()
