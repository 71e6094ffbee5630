"""Recorded values in sentences, across pages, in translations and in downloaded notebooks."""

import json

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from vaebook.results import record

INDEX = "# Book\n\nFirst: {result}`parts/one/nats`.\n\n```{toctree}\nparts/one\nparts/two\n```\n"


@pytest.fixture
def book(book):
    """Two notebooks: one records, both quote."""
    book.write("index.md", INDEX)
    for name in ("chapter.md", "equations.md", "tests/test_sum.py"):
        (book.folder / name).unlink()
    book.write_notebook(
        "parts/one.ipynb", "# One", {"nats": "-84.7", "units": "12"}, "It is {result}`nats` nats."
    )
    book.write_notebook("parts/two.ipynb", "# Two\n\nOf {result}`one/units` units.")
    return book


def test_values_stand_in_the_sentence_of_every_page(book):
    assert book.build() == ""
    assert 'It is <span class="result">−84.7</span> nats.' in book.page("parts/one.html")
    assert 'Of <span class="result">12</span> units.' in book.page("parts/two.html")
    assert 'First: <span class="result">−84.7</span>.' in book.page("index.html")


def test_values_of_a_run_and_of_its_cached_outputs_are_the_same(book):
    book.more_configuration = 'nb_execution_mode = "cache"\n'
    for _ in range(2):
        assert book.build(fresh=True) == ""
        assert 'It is <span class="result">−84.7</span> nats.' in book.page("parts/one.html")


def test_a_changed_value_changes_the_pages_that_quote_it(book):
    book.build()
    book.write_notebook("parts/one.ipynb", "# One", {"nats": "84.6", "units": "13"})
    assert book.build() == ""
    assert ">13</span> units" in book.page("parts/two.html")


@pytest.mark.parametrize("key", ["bits", "one/bits", "nowhere/nats", "units"])
def test_an_unknown_key_warns_its_author(book, key):
    book.write_notebook("parts/two.ipynb", f"# Two\n\nOf {{result}}`{key}` units.")
    warnings = book.build()
    assert f"no result '{key}': record it in a code cell of" in warnings
    assert "two.ipynb" in warnings


def test_a_value_recorded_twice_warns_its_author(book):
    book.write_notebook("parts/one.ipynb", "# One", {"nats": "1"}, {"units": "1", "nats": "2"})
    assert "'nats' is recorded twice: rename one" in book.build()


def test_a_translated_sentence_keeps_its_value(book):
    book.build("gettext")
    template = (book.folder / "_build/gettext/parts/one.pot").read_text(encoding="utf-8")
    assert 'msgid "It is {result}`nats` nats."' in template
    book.write(
        "locale/zh_CN/LC_MESSAGES/parts/one.po",
        'msgid "It is {result}`nats` nats."\nmsgstr "结果为 {result}`nats` 纳特。"\n',
    )
    book.language = "zh_CN"
    assert book.build(fresh=True) == ""
    assert '结果为 <span class="result">−84.7</span> 纳特。' in book.page("parts/one.html")


def test_a_downloaded_notebook_reads_without_roles(book):
    book.write("works.bib", "@misc{a, author={Ant, A. and Bee, B.}, title={T}, year={2001}}")
    book.more_configuration = (
        'extensions.append("sphinxcontrib.bibtex")\nbibtex_bibfiles = ["works.bib"]\n'
        'bibtex_reference_style = "author_year"\n'
    )
    book.write("works.md", "---\norphan: true\n---\n# Works\n\n```{bibliography}\n```\n")
    book.write_notebook(
        "parts/two.ipynb",
        "(here)=\n# Two\n\n{result}`one/nats` nats in {doc}`one`, {doc}`there <one>`, "
        "{ref}`that <here>`, {cite}`a`, {cite:t}`a`.\n\n"
        "$$a$$ (def-a)\n\nSee {eq}`def-a` and `code`.",
    )
    assert book.build() == ""
    lines = json.loads(book.page("_sources/parts/two.ipynb"))["cells"][0]["source"].splitlines()
    cited = "[Ant and Bee, 2001], Ant and Bee [2001]."
    assert lines[2] == f"−84.7 nats in One, there, [that](#here), {cited}"
    assert lines[10] == "See [(1)](#equation-def-a) and `code`."


def test_recording_is_no_part_of_a_page_nor_of_its_download(book):
    assert book.build() == ""
    for shown in ("parts/one.html", "_sources/parts/one.ipynb"):
        assert "−84.7" in book.page(shown)
        assert "record" not in book.page(shown)


def test_record_shows_what_it_stores():
    InteractiveShell.instance()
    with capture_output() as captured:
        record(nats="84.7", units=12)
    (output,) = captured.outputs
    assert output.data["text/plain"] == "nats  = 84.7\nunits = 12"
    assert output.metadata["scrapbook"]["results"] == {"nats": "84.7", "units": "12"}


@pytest.mark.parametrize("value", [84.7123, "", None, True])
def test_record_wants_rounded_values(value):
    with pytest.raises(ValueError, match=r'nats: wanted an integer, or rounded text such as f"'):
        record(nats=value)


def test_record_wants_something_to_record():
    with pytest.raises(ValueError, match="at least one name=value"):
        record()
