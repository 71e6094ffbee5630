"""The table of the last run: times from its record, counts from the notebooks."""

import json

import pytest


@pytest.fixture
def book(book):
    """One notebook and the status page."""
    (book.folder / "chapter.md").unlink()
    book.write("index.md", "# Book\n\n```{toctree}\nchapter\nequations\nstatus\n```\n")
    book.write("status.md", "# Status\n\n```{notebook-status}\n```\n")
    statements = "# Chapter\n\n$$1 + 1 = 2$$ (eq-sum)\n\n$$a := 1$$ (def-a)\n"
    book.write_notebook("chapter.ipynb", statements, {"nats": "84.7"})
    return book


def cells(page):
    return [part.split("</p>")[0] for part in page.split("<td><p>")[1:]]


def test_without_a_run_the_page_says_so(book):
    assert book.build() == ""
    assert "The times are missing" in book.page("status.html")
    assert cells(book.page("status.html")) == ["Chapter", *["–"] * 3, *"11010"]


def test_the_table_follows_the_run(book):
    book.build()
    run = {"seconds": 12.3, "peak_rss_bytes": 5 * 2**20, "threads": 2}
    book.write("_build/execution.json", json.dumps({"chapter": run}))
    assert book.build() == ""
    assert "The times are missing" not in book.page("status.html")
    assert cells(book.page("status.html")) == ["Chapter", "12", "5", "2", *"11010"]
