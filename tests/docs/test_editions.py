"""The Chinese edition of a tiny book: what is said, what is missing, where links lead."""

import pytest

from tools import catalogues

CHAPTER = """\
---
kernelspec: {name: python3}
---
# A chapter

Words with {eq}`eq-sum`, $x^2$ and a {doc}`link <other>`.

$$1 + 1 = 2 \\text{ for every } x$$ (eq-sum)

| Left | $y$ |
|---|---|
| Cell | `code` |
"""
CHINESE = {
    "A chapter": "一章",
    "Words with {eq}`eq-sum`, $x^2$ and a {doc}`link <other>`.": (
        "有 {eq}`eq-sum`、$x^2$ 和{doc}`链接 <other>`的句子。"
    ),
    "Left": "左",
    "Cell": "格",
    "for every": "对每个",
}


@pytest.fixture
def book(book, monkeypatch, tmp_path):
    """Two pages, one of which will be translated, in a folder of the pages that may be."""
    monkeypatch.setattr(catalogues, "FOLDER", tmp_path / "locale")
    book.write("book/chapter.md", CHAPTER)
    book.write("book/other.md", "# Other\n\nSee {doc}`chapter`.\n")
    (book.folder / "chapter.md").unlink()
    contents = "# Book\n\n```{toctree}\nbook/chapter\nbook/other\nequations\n```\n"
    book.write("index.md", contents)
    book.write("equations.md", "# Equations\n\n```{equation-index} book/chapter\n```\n")
    book.more_configuration = f"locale_dirs = [{str(catalogues.COMPILED)!r}]\n"
    return book


def translate(**changes):
    """Write the catalogue of the chapter, with some translations changed."""
    catalogue = catalogues.read("book/chapter")
    for message, translation in (CHINESE | changes).items():
        catalogue.add(message, translation)
    catalogues.store("book/chapter", catalogue)
    catalogues.compile_all()


def build_chinese(book):
    book.language = "zh_CN"
    book.more_configuration += "chinese_edition = True\n"
    return book.build(fresh=True)


def test_all_that_is_said_is_translated(book):
    translate()
    assert build_chinese(book) == ""
    page = book.page("book/chapter.html")
    for text in ("一章", "的句子。", "左", "格", "对每个"):
        assert text in page
    assert 'id="a-chapter"' in page  # the address of a section is the same in both editions


def test_words_of_a_run_are_translated(book):
    """Those that its cells have recorded. A number stays, as does a word without translation."""
    said = "{result}`best`, {result}`worst`, {result}`nats`."
    (book.folder / "book/chapter.md").unlink()
    recorded = {"best": "random", "worst": "rows", "nats": "-84.7"}
    text = f"# A chapter\n\n{said}\n\n$$1 + 1 = 2$$ (eq-sum)"
    book.write_notebook("book/chapter.ipynb", text, recorded)
    translate(**{said: said, "random": "随机"})
    assert build_chinese(book) == ""
    shown = ("随机", "rows", "−84.7")
    spans = ", ".join(f'<span class="result">{text}</span>' for text in shown)
    assert f"{spans}." in book.page("book/chapter.html")


def test_other_pages_are_the_english_ones(book):
    translate()
    assert build_chinese(book) == ""
    assert not (book.folder / "_build/html/book/other.html").exists()
    link = 'hreflang="en" class="reference internal" href="../../book/other.html"'
    assert link in book.page("book/chapter.html")


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"Cell": ""}, "new: “Cell”"),
        ({"Left": "左 $y$"}, "“$y$” is not in the original: “Left”"),
        ({"for every": ""}, "new: “for every”"),
    ],
)
def test_what_is_missing_fails_with_page_and_sentence(book, change, warning):
    translate(**change)
    warnings = build_chinese(book)
    assert warning in warnings
    assert "book/chapter" in warnings


def test_an_english_page_names_the_chinese_one_once_it_is_there(book):
    assert book.build() == ""
    assert 'hreflang="zh-CN"' not in book.page("book/chapter.html")
    translate()
    assert book.build() == ""
    assert 'hreflang="zh-CN"' in book.page("book/chapter.html")
    assert 'hreflang="zh-CN"' not in book.page("book/other.html")


def test_a_label_of_a_drawing_may_be_missing(book):
    """It can be a word of the run; its alternative text may not."""
    book.write("book/drawing.svg", "<svg>\n<!-- chord -->\n</svg>")
    book.write("book/chapter.md", f"{CHAPTER}\n![Two notes](drawing.svg)\n")
    translate()
    warnings = build_chinese(book)
    assert "new: “![Two notes]" in warnings
    assert "new: “Two notes”" in warnings
    markup = {"![Two notes](drawing.svg)": "![两个音](drawing.svg)", "Two notes": "两个音"}
    translate(**markup)
    assert build_chinese(book) == ""
