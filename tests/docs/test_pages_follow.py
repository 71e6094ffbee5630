"""What a change makes the build do again: the outputs on a page, and what pages show of others."""

import json
import os

import nbformat
import pytest
from nbformat.v4 import new_output

from tools import execution
from tools.pages import outputs

RUNNING = "This chapter is still running"


@pytest.fixture
def book(book, monkeypatch):
    """Two pages, one of which links to the other, and the extensions of the real book."""
    book.write("other.md", "# Other\n\nSee {doc}`chapter` for more.\n")
    contents = "# Book\n\n```{toctree}\nchapter\nother\nequations\n```\n"
    book.write("index.md", contents)
    book.more_configuration = 'extensions += ["tools.pages.outputs", "tools.pages.shared"]\n'
    monkeypatch.setattr(execution, "BOOK", book.folder)
    monkeypatch.setattr(outputs, "BOOK", book.folder)
    monkeypatch.setattr(execution, "EXECUTED", book.folder / "_build" / "executed")
    monkeypatch.setattr(execution, "RECORDS", book.folder / "_build" / "execution.json")
    return book


def edit(book, old, new):
    """Edit the chapter; its time stays, as when an older file is put back."""
    path = book.folder / "chapter.md"
    times = path.stat()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def mark(book, *names):
    """Write something else into built pages, to see which are written again."""
    for name in names:
        (book.folder / "_build" / "html" / name).write_text("as it was")


def test_prose_rewrites_its_page_alone(book):
    assert book.build() == ""
    mark(book, "other.html", "equations.html")
    edit(book, "$$1 + 1", "New words.\n\n$$1 + 1")
    assert book.build() == ""
    assert "New words." in book.page("chapter.html")
    assert [book.page(name) for name in ("other.html", "equations.html")] == ["as it was"] * 2


def test_what_others_show_rewrites_them(book):
    """A new title stands in the link of another page."""
    assert book.build() == ""
    mark(book, "other.html")
    edit(book, "# Chapter", "# Renamed")
    assert book.build() == ""
    assert "Renamed" in book.page("other.html")


def test_a_label_that_goes_fails_who_refers_to_it(book):
    """A page whose own text stays is checked again."""
    book.write("other.md", "# Other\n\nBy {eq}`def-a`, and {doc}`chapter`.\n")
    assert book.build() == ""
    edit(book, "\n\n$$a := 1$$ (def-a)", "")
    assert "def-a" in book.build()


def run(book, text):
    """Store a run of the notebook `note`, as the runner does."""
    job = execution.find_jobs()["note"]
    notebook = job.notebook
    notebook.cells[1].outputs = [new_output("stream", name="stdout", text=text)]
    notebook.cells[1].execution_count = 1
    job.executed.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, job.executed)
    execution.RECORDS.write_text(json.dumps({"note": {"key": job.key}}))


def test_a_page_follows_its_run(book):
    """Before the run it says so, and that is an error in the last pass; then it shows the run."""
    book.write_notebook("note.ipynb", "# Note", {"a": "1"})
    note = book.folder / "note.ipynb"
    note.write_text(note.read_text().replace('"remove-cell"', ""))  # its output is on the page
    book.write("index.md", "# Book\n\n```{toctree}\nchapter\nnote\nother\nequations\n```\n")
    assert "this notebook was not run since it changed" in book.build()
    assert RUNNING in book.page("note.html")
    book.more_configuration += "pages_of_running_notebooks = True\n"
    assert book.build(fresh=True) == ""
    assert RUNNING in book.page("note.html")
    for text in ("first run", "second run"):
        run(book, text)
        assert book.build() == ""
        assert RUNNING not in book.page("note.html")
        assert text in book.page("note.html")
