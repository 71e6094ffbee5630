"""Chapters to come, words in Chinese, and the roles that a screen reader meets."""

import pytest


@pytest.fixture
def book(book):
    """One page that names a chapter that exists, one to come, and a Chinese word."""
    book.write(
        "index.md",
        """\
        # Book

        {chapter}`Here <part/one>` and {chapter}`Later <part/two>`, in Chinese {zh}`散度`.

        ```{toctree}
        chapter
        part/one
        equations
        ```
        """,
    )
    book.write("part/one.md", "# One\n\nSee {chapter}`the first <../chapter>`.\n")
    return book


def test_a_chapter_is_a_link_once_it_exists(book):
    assert book.build() == ""
    page = book.page("index.html")
    assert '<a class="reference internal" href="part/one.html"><span' in page
    assert 'Later</span> <span class="vb-in-preparation">in preparation</span>' in page
    assert 'href="../chapter.html"' in book.page("part/one.html")
    book.write("part/two.md", "# Two\n")
    book.write("index.md", "# Book\n\n{chapter}`Later <part/two>`\n\n```{toctree}\npart/two\n```\n")
    book.build()
    assert 'href="part/two.html"' in book.page("index.html")
    assert "in preparation" not in book.page("index.html")


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
