"""Links to chapters, words in Chinese, and the roles that a screen reader meets."""

import pytest


@pytest.fixture
def book(book):
    """A page that names two chapters, in a folder and from it, and a Chinese word."""
    book.write(
        "index.md",
        """\
        # Book

        {chapter}`Here <part/one>`, in Chinese {zh}`散度`.

        ```{toctree}
        chapter
        part/one
        equations
        ```
        """,
    )
    book.write("part/one.md", "# One\n\nSee {chapter}`the first <../chapter>`.\n")
    return book


def test_a_chapter_is_a_link(book):
    assert book.build() == ""
    assert '<a class="reference internal" href="part/one.html"><span' in book.page("index.html")
    assert 'href="../chapter.html"' in book.page("part/one.html")


def test_a_chapter_that_is_not_there_warns_its_author(book):
    book.write("part/one.md", "# One\n\nSee {chapter}`the first <chapter>`.\n")
    warnings = book.build()
    assert "part/one.md:3: WARNING: unknown document: 'chapter'" in warnings


def test_chinese_words_name_their_language(book):
    book.build()
    assert '<span lang="zh-Hans">散度</span>' in book.page("index.html")
    book.build("text")
    assert "Chinese 散度." in (book.folder / "_build" / "text" / "index.txt").read_text("utf-8")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (
            '<div class="citation" id="a" role="doc-biblioentry">',
            '<div class="citation" id="a">',
        ),
        ('<div role="list" class="citation-list">', '<div class="citation-list">'),
        ('<ul role="list">', '<ul role="list">'),
        ('<p role="doc-biblioentry">', '<p role="doc-biblioentry">'),
    ],
)
def test_withdrawn_roles_go_and_others_stay(book, written, kept):
    book.write(
        "chapter.md", f"# Chapter\n\n$$1 + 1 = 2$$ (eq-sum)\n\n```{{raw}} html\n{written}\n```\n"
    )
    book.build()
    assert kept in book.page("chapter.html")


def test_the_reference_leaves_inherited_methods_to_their_own(book):
    book.more_configuration = 'extensions.append("sphinx.ext.autodoc")\n'
    book.more_configuration += 'extensions.sort(key="tools.pages".__eq__)\n'
    book.write(
        "reference.rst",
        """\
        Reference
        =========

        .. autoclass:: vaebook.naive_bayes.BernoulliNB
           :members:
           :inherited-members: BaseEstimator
        """,
    )
    book.write("index.md", "# Book\n\n```{toctree}\nreference\nchapter\nequations\n```\n")
    book.build()
    page = book.page("reference.html")
    assert "predict_joint_log_proba" in page
    assert "_request" not in page
    assert "get_metadata_routing" not in page
