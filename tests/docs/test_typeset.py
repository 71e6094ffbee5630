"""Mathematics set while the pages are built: in the page, in previews, and not when it is wrong."""

import re

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document

from tools.pages.typeset import TieErrors, typeset, typeset_all


def waiting(latex):
    """A formula as it stands in a page before the last step."""
    return rf'<span class="math">\({latex}\)</span>'


def test_pages_come_with_mathematics_set(book):
    book.write(
        "chapter.md", "# $z$\n\nOf $a < b$.\n\n$$1 + 1 = 2$$ (eq-sum)\n\nSee {eq}`eq-sum`.\n"
    )
    assert book.build() == ""
    page = book.page("chapter.html")
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML">') >= 2
    assert 'display="block"' in page
    assert '<annotation encoding="application/x-tex">a &lt; b</annotation>' in page
    assert 'id="equation-eq-sum"' in page
    assert '<span class="eqno">(1)<a class="headerlink" href="#equation-eq-sum"' in page
    assert 'href="#equation-eq-sum">(1)</a>' in page
    assert r"\(" not in page.split("</title>")[1]
    assert "tex-mml" not in page  # the name of MathJax's script


@pytest.mark.parametrize("latex", [r"\KL{q}{p}", r"\frac{1", r"a_b_c"])
def test_what_is_no_latex_warns_its_author(book, latex):
    book.write("chapter.md", f"# Chapter\n\n$$1 + 1 = 2$$ (eq-sum)\n\nOf ${latex}$.\n")
    warnings = book.build()
    assert "chapter.md:5: WARNING: this is no LaTeX" in warnings
    assert latex in warnings


def test_previews_hold_mathematics(book):
    book.more_configuration = (
        'extensions.append("sphinx_tippy")\ntippy_enable_wikitips = False\ntippy_js = []\n'
    )
    book.write("chapter.md", "# C\n\n$$a < \\theta$$ (def-a)\n\n$$1$$ (eq-sum)\n\n{eq}`def-a`\n")
    assert book.build() == ""
    (script,) = (book.folder / "_build" / "html" / "_static" / "tippy").glob("chapter.*.js")
    text = script.read_text(encoding="utf-8")
    assert r"<annotation encoding=\"application/x-tex\">a &lt; \\theta</annotation>" in text
    assert r"<span class=\"math\">" not in text


@pytest.mark.parametrize(
    ("page", "tied"),
    [
        (f"{waiting('z')}, and", ["z,"]),
        (f"({waiting('z')})", ["(z)"]),
        (f"Of {waiting('x = y')}.", ["y."]),
        (f"“{waiting('x = y')}” is", ["“x=", "y”"]),
        (f"{waiting('z')} is", []),
        (f"{waiting('z')}-axis", []),
    ],
    ids=["comma", "brackets", "last part", "both ends", "space", "hyphen"],
)
def test_no_line_starts_with_the_comma_behind_a_formula(page, tied):
    found = BeautifulSoup(typeset_all(page), "html.parser")
    for unseen in found.select(".katex-mathml"):
        unseen.decompose()
    assert [group.get_text() for group in found.select(".vb-tied")] == tied
    written = BeautifulSoup(page, "html.parser").get_text()
    assert found.get_text() == re.sub(r"\\[()]", "", written).replace("x = y", "x=y")


def test_every_hyphen_of_a_name_is_a_hyphen():
    assert "\u2212" not in typeset(r"\operatorname{log-mean-exp}(a)", False)


def test_a_number_stands_in_a_line_with_its_error():
    document = new_document("page")
    document += nodes.paragraph("", "gains ", nodes.inline("", "1.2"), nodes.Text(" ± 0.1 nats"))
    document += nodes.literal_block("", "1.2 ± 0.1")
    TieErrors(document).run()
    assert [node.astext() for node in document] == ["gains 1.2\xa0±\xa00.1 nats", "1.2 ± 0.1"]
