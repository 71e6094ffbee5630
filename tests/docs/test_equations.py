"""Pages and tests that belong together, and every way in which they do not."""

import pytest

BAD_PAGES = {
    "no label": ("$$x = 1$$", "without a label: 'x = 1'"),
    "no label, inside a paragraph": ("So $$x = 1$$ holds.", "without a label: 'x = 1'"),
    "align": ("\\begin{align}x &= 1\\end{align}", "one \\begin{aligned} inside $$"),
    "align without number": ("\\begin{align*}x &= 1\\end{align*}", "without a label"),
    "other prefix": ("$$x = 1$$ (the-x)", "'the-x': start it with eq- (a statement) or def-"),
    "no test": ("$$x = 1$$ (eq-x)", 'Mark one under tests/ with @pytest.mark.equation("eq-x"'),
    "twice": ("$$1 + 1 = 2$$ (eq-sum)", "'eq-sum' is also in chapter"),
}
BAD_TESTS = {
    "unknown": (
        '@pytest.mark.equation("eq-none", tolerance="1")\ndef test_x():\n    """A. B."""',
        "test_x is bound to eq-none, which no page has",
    ),
    "unknown definition": (
        '@pytest.mark.equation("def-none", tolerance="1")\ndef test_x():\n    """A. B."""',
        "test_x is bound to def-none, which no page has",
    ),
    "no docstring": (
        '@pytest.mark.equation("eq-sum", tolerance="1")\ndef test_x():\n    pass',
        "first sentence of its docstring what the equation is checked against",
    ),
    "no tolerance": (
        '@pytest.mark.equation("eq-sum")\ndef test_x():\n    """A."""',
        "write the marker with literals",
    ),
    "no literal": (
        '@pytest.mark.equation(LABEL, tolerance="1")\ndef test_x():\n    """A."""',
        "write the marker with literals",
    ),
    "not called": (
        '@pytest.mark.equation\ndef test_x():\n    """A."""',
        "write the marker with literals",
    ),
    "no test": (
        '@pytest.mark.equation("eq-sum", tolerance="1")\ndef check():\n    """A."""',
        "check is marked but pytest will not collect it",
    ),
    "looser than it says": (
        '@pytest.mark.equation("eq-sum", tolerance="1e-9; 3 %; 4.5 standard errors")\n'
        'def test_x():\n    """A."""\n    assert 1 == pytest.approx(1, rel=0.1)',
        "but a comparison in the test allows 0.1",
    ),
    "skipped": (
        '@pytest.mark.skip\n@pytest.mark.equation("eq-sum", tolerance="1")\n'
        'def test_x():\n    """A."""',
        "a skipped or expected failure checks nothing",
    ),
}
MUTANTS = """
[[mutant]]
error = "a lost term"
file = "sum.py"
old = "return sum(x)"
new = "return sum(x[1:])"
equations = ["eq-sum"]

[[mutant]]
error = "a doubled term"
file = "sum.py"
old = "return sum(x)"
new = "return sum(x) + x[0]"
equations = ["eq-sum"]
"""


def test_a_complete_book_builds_without_a_warning(book):
    assert book.build() == ""


def test_the_page_shows_a_mark_beside_the_statement_only(book):
    book.build()
    page = book.page("chapter.html")
    assert page.count("✓ checked") == 1
    assert 'href="equations.html#check-eq-sum"' in page


def test_a_definition_that_the_code_implements_has_a_mark_too(book):
    book.write(
        "tests/test_definition.py",
        'import pytest\n\n@pytest.mark.equation("def-a", tolerance="1e-9")\n'
        'def test_a():\n    """Another library."""\n',
    )
    assert book.build() == ""
    assert book.page("chapter.html").count("✓ checked") == 2
    entry = book.page("equations.html").partition("check-def-a")[2]
    assert "definition" in entry
    assert "Another library." in entry


def test_the_index_shows_what_checks_each_equation_in_reading_order(book):
    book.write("tests/mutants.toml", MUTANTS)
    book.build()
    page = book.page("equations.html")
    assert page.index("check-eq-sum") < page.index("check-def-a")
    assert "Enumeration of <code" in page
    assert "A second sentence" not in page.split("<details>")[0]
    assert "Tolerance: 1e-12." in page
    assert "Deliberate errors: </em>a lost term; a doubled term.</p>" in page
    assert 'href="https://example.org/project/tests/test_sum.py#L5"' in page
    assert "<details><summary>Test: test_sum</summary>" in page
    assert 'href="chapter.html#equation-eq-sum"' in page
    assert '<annotation encoding="application/x-tex">1 + 1 = 2</annotation>' in page


def test_the_index_follows_the_sections_and_its_page_lists_them(book):
    book.write(
        "chapter.md", "# C\n\n$$a$$ (def-a)\n\n## The sum\n\n### Of two\n\n$$1 + 1 = 2$$ (eq-sum)\n"
    )
    assert book.build() == ""
    page = book.page("equations.html")
    assert 'href="equations.html#in-the-sum">The sum</a>' in book.page("index.html")
    assert '<section id="in-the-sum">' in page
    assert 'href="chapter.html#the-sum">The sum</a>' in page
    assert page.index('id="check-def-a"') < page.index('id="in-the-sum"')
    assert page.index('id="in-the-sum"') < page.index('id="check-eq-sum"')
    assert ">eq-sum<" not in page  # a name for authors: readers see the number


def test_equations_on_no_index_warn_their_author(book):
    book.write("more.md", "# More\n\n$$b := 1$$ (def-b)\n")
    book.write("index.md", "# Book\n\n```{toctree}\nchapter\nmore\nequations\n```\n")
    assert "more.md: WARNING: no page lists its equations" in book.build()


def test_classes_and_parametrised_tests_are_bound(book):
    book.write("chapter.md", "# C\n\n$$a$$ (eq-a)\n\n$$b$$ (eq-b)\n\n$$c$$ (eq-c)\n")
    book.write(
        "tests/test_sum.py",
        '''
        import pytest

        @pytest.mark.equation("eq-a", tolerance="1")
        class TestBoth:
            def helper(self):
                return 1

            @pytest.mark.parametrize("n", [1, 2])
            @pytest.mark.equation("eq-b", tolerance="2")
            @pytest.mark.equation("eq-c", tolerance="3")
            def test_all(self, n):
                """Enumeration."""
        ''',
    )
    assert book.build() == ""
    assert book.page("equations.html").count("TestBoth::test_all") == 3


@pytest.mark.parametrize(("text", "message"), BAD_PAGES.values(), ids=BAD_PAGES)
def test_a_page_that_breaks_a_rule_warns_its_author(book, text, message):
    book.write("more.md", f"# More\n\n{text}\n")
    book.write("index.md", "# Book\n\n```{toctree}\nchapter\nmore\nequations\n```\n")
    warnings = book.build()
    assert message in warnings
    assert "more.md" in warnings


@pytest.mark.parametrize(("text", "message"), BAD_TESTS.values(), ids=BAD_TESTS)
def test_a_test_that_breaks_a_rule_warns_its_author(book, text, message):
    book.write("tests/test_more.py", f"import pytest\n\n{text}\n")
    warnings = book.build()
    assert message in warnings
    assert "tests/test_more.py:" in warnings


def test_equations_in_docstrings_are_exempt(book):
    book.write("module.py", '"""Module.\n\n.. math:: x = 1\n"""')
    book.write("api.rst", "API\n===\n\n.. automodule:: module\n")
    book.write("index.md", "# Book\n\n```{toctree}\nchapter\nequations\napi\n```\n")
    book.more_configuration = (
        'extensions.append("sphinx.ext.autodoc")\n'
        f'import sys\nsys.path.insert(0, "{book.folder}")\n'
    )
    assert book.build() == ""


def test_a_second_build_warns_again_and_follows_the_tests(book):
    book.build()
    book.write("tests/test_sum.py", "")
    assert "no test checks 'eq-sum'" in book.build()
    assert "no test checks 'eq-sum'" in book.build()  # though no page has changed
    book.write(
        "tests/test_sum.py",
        'import pytest\n@pytest.mark.equation("eq-sum", tolerance="0.5")\n'
        'def test_new():\n    """Quadrature."""\n',
    )
    assert book.build() == ""
    assert "Tolerance: 0.5." in book.page("equations.html")


def test_removing_a_page_removes_its_equations(book):
    book.build()
    book.write("chapter.md", "# Chapter\n\n$$a := 1$$ (def-a)\n")
    assert "test_sum is bound to eq-sum, which no page has" in book.build()


def test_a_translated_book_keeps_its_marks(book):
    book.build("gettext")
    template = (book.folder / "_build" / "gettext" / "chapter.pot").read_text(encoding="utf-8")
    assert "checked" not in template
    book.write("locale/zh_CN/LC_MESSAGES/chapter.po", 'msgid "Chapter"\nmsgstr "章"\n')
    book.language = "zh_CN"
    assert book.build(fresh=True) == ""
    page = book.page("chapter.html")
    assert "<h1>章" in page
    assert page.count("✓ checked") == 1


@pytest.mark.parametrize("builder", ["text", "linkcheck"])
def test_other_builders_take_the_index(book, builder):
    book.more_configuration = "linkcheck_ignore = ['.*']\n"
    assert book.build(builder) == ""
