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
    assert cells(book.page("status.html")) == ["Chapter", "–", "–", *"11010"]


def test_the_table_follows_the_run(book):
    book.build()
    run = {"seconds": 12.3, "peak_rss_bytes": 5 * 2**20}
    book.write("_build/execution.json", json.dumps({"chapter": run}))
    assert book.build() == ""
    assert "The times are missing" not in book.page("status.html")
    times, row = ["All notebooks (s)", *["12"] * 4], ["Chapter", "12", "5", *"11010"]
    assert cells(book.page("status.html")) == times + row


def test_more_cores_shorten_the_run_down_to_the_longest_chain(book):
    """Eight notebooks of 10 s, two of which wait for one another, and one of 12 s."""
    names = [f"chapter_{i}" for i in range(8)]
    contents = "\n".join(["chapter", *names, "equations", "status"])
    book.write("index.md", f"# Book\n\n```{{toctree}}\n{contents}\n```\n")
    for name in names:
        after = {"after": ["chapter_0"]} if name == "chapter_1" else {}
        book.write_notebook(f"{name}.ipynb", f"# {name}", vaebook=after)
    run = {"seconds": 10.0, "peak_rss_bytes": 2**20}
    times = dict.fromkeys(names, run) | {"chapter": run | {"seconds": 12.0}}
    book.write("_build/execution.json", json.dumps(times))
    assert book.build() == ""
    page = book.page("status.html")
    assert "chapter_0 → chapter_1, 20 s" in page
    assert cells(page)[:5] == ["All notebooks (s)", "50", "30", "20", "20"]
