"""The notebook that a page offers: the page in plain Markdown, which runs anywhere."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from vaebook.interactive.figure import LiveFigure

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
AT = 'html_baseurl = "https://example.org/book/"\n'
EXERCISES = 'extensions.append("sphinx_exercise")\n'
FROM = 'html_theme_options = {"repository_url": "https://github.com/vaebook/vaebook"}\n'


def downloaded(book, *cells, warnings=""):
    """Build a book with one notebook, and return the sources of the cells of its download."""
    for name in ("chapter.md", "equations.md", "tests/test_sum.py"):
        (book.folder / name).unlink()
    notebook = new_notebook(cells=[new_markdown_cell("(in-the-first)=\n# Two"), *cells])
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    book.write("parts/two.ipynb", json.dumps(notebook))
    book.write("parts/one.md", "# One\n\n$$a$$ (def-one)\n")
    book.write("index.md", "# Book\n\n```{toctree}\nparts/one\nparts/two\n```\n")
    found = book.build()
    assert warnings in found if warnings else found == ""
    made = nbformat.reads(book.page("_sources/parts/two.ipynb"), as_version=4)
    nbformat.validate(made)
    return made.cells


def text_of(book, markdown, **more):
    """Return what becomes of a cell of Markdown."""
    return downloaded(book, new_markdown_cell(f"## Section\n\n{markdown}"), **more)[1].source[12:]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("*a* **b** `c` $d_1$", "*a* **b** `c` $d_1$"),
        ("2 \\* 3 \\< 4, snake_case, \\_x\\_", "2 \\* 3 &lt; 4, snake_case, \\_x\\_"),
        ("It costs \\$5, and $x<y$.", "It costs \\$5, and $x\\lt y$."),
        ("- one\n- two\n  - three", "- one\n- two\n\n  - three"),
        ("3. one\n4. two", "3. one\n4. two"),
        ("> said", "> said"),
        ("```python\nx = 1\n```", "```python\nx = 1\n```"),
        ("```{admonition} Note *this*\nText.\n```", "> **Note *this***\n>\n> Text."),
        ("```{warning}\nText.\n```", "> **Warning**\n>\n> Text."),
        ("| a | $b$ |\n|---|---|\n| $p(x \\mid y) = \\|z\\|$ | `c` |",
         "| a | $b$ |\n| --- | --- |\n| $p(x \\mid y) = \\vert z\\vert $ | `c` |"),
        ("1986\\. It began.", "1986\\. It began."),
    ],
)  # fmt: skip
def test_what_stands_in_a_text(book, source, expected):
    assert text_of(book, source) == expected


def test_a_formula_has_its_number_and_its_place(book):
    text = text_of(book, "$$\nb\n$$ (def-b)\n\nSee {eq}`def-b` and {eq}`def-one`.")
    lines = text.splitlines()
    assert lines[0] == '<a id="equation-def-b"></a>'
    assert lines[2:5] == ["$$", "b \\tag{2}", "$$"]
    assert lines[-1].startswith("See [(2)](#equation-def-b) and (1)")


@pytest.mark.parametrize(("config", "link"), [("", "One"), (AT, "[One]({}one.html)")])
def test_links_are_absolute_or_none(book, config, link):
    """They lead to the published book; one that says no address has links to other sites only."""
    book.more_configuration = config
    text = text_of(book, "To {doc}`one`, {ref}`here <in-the-first>`, <https://example.com/x>.")
    there = "[https://example.com/x](https://example.com/x)."
    assert (
        text
        == f"To {link.format('https://example.org/book/parts/')}, [here](#in-the-first), {there}"
    )


def test_what_has_no_markdown_is_a_warning(book):
    message = "tools/pages/markdown.py has no Markdown for <topic>"
    text_of(book, "```{topic} T\nText.\n```", warnings=message)


SOLVED = """\
```{exercise} Sum
:label: ex-sum

Add 1 and 1.
```

```{solution-start} ex-sum
:class: dropdown
```

It is $2$.
"""


def test_solutions_are_folded(book):
    book.more_configuration = EXERCISES
    code = new_code_cell("1 + 1", metadata={"tags": ["nbval-check-output"], "vaebook": {}})
    end = new_markdown_cell("Done.\n\n```{solution-end}\n```\n\nAfter.")
    cells = downloaded(book, new_markdown_cell(SOLVED), code, end)
    exercise, text, solution, rest, after = cells[1:]
    title = "Solution to Exercise 1 (Sum)"
    assert exercise.source == '## Exercise 1 (Sum)<a id="ex-sum"></a>\n\nAdd 1 and 1.'
    assert text.source == f"<details>\n<summary>{title}</summary>\n\nIt is $2$.\n\n</details>"
    assert solution.source == f"#@title {title}\n1 + 1"
    assert solution.metadata["cellView"] == "form"
    assert solution.metadata["jupyter"]["source_hidden"] is True
    assert set(solution.metadata) == {"cellView", "jupyter"}
    assert rest.source.startswith("<details>")
    assert after.source == "After."


def test_the_first_cells(book):
    """The title, from which book the notebook is, with which versions, and the installation."""
    book.more_configuration = AT + FROM + 'html_title = "The Book"\n'
    cells = downloaded(book, new_code_cell("1 + 1"), warnings="unsupported theme option")
    first, install, code = cells
    assert first.source.startswith("# Two")
    assert "[The Book](https://example.org/book/parts/two.html)" in first.source
    for name in ("Python 3.", "vaebook 0.", "torch 2.", "numpy 2."):
        assert name in first.source
    assert "%pip install --quiet git+https://github.com/vaebook/vaebook" in install.source
    assert code.source == "1 + 1"


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'


@pytest.mark.parametrize(("config", "has_picture"), [("", False), (AT, True)])
def test_a_picture_is_shown_by_its_address(book, config, has_picture):
    """Its text is there, too. What was printed stays as it was."""
    book.more_configuration = config
    drawing = new_output("execute_result", {"image/svg+xml": SVG, "text/plain": "<Figure>"})
    options = {"figure": {"name": "fig-a", "caption": "A *caption*."}, "image": {"alt": "A dot."}}
    drawn = new_code_cell("draw()", metadata={"mystnb": options}, outputs=[drawing])
    printed = new_code_cell("print(1)", outputs=[new_output("stream", name="stdout", text="1\n")])
    cells = downloaded(book, drawn, printed, new_markdown_cell("{numref}`fig-a`"))
    assert cells[2].source == '<a id="fig-a"></a>**Fig. 1** A *caption*.'
    assert cells[-1].source == "[Fig. 1](#fig-a)"
    (output,) = cells[1].outputs
    shown = output.data.get("text/markdown", "")
    assert shown.startswith("![A dot.](https://example.org/book/_images/") == has_picture
    assert output.data["text/plain"] == "<Figure>"
    assert cells[3].outputs[0].text == "1\n"


@pytest.mark.parametrize("source", ["show()", "x = 'ü'; show(\n    1,\n)  # more"])
def test_a_live_figure_is_a_widget(book, source):
    book.more_configuration = AT
    figure = LiveFigure("elbo_explorer", "One")
    shown = new_output("execute_result", {"text/html": figure._repr_html_(), "text/plain": "One"})
    _, cell = downloaded(book, new_code_cell(source, outputs=[shown]))
    assert cell.source == source.replace(")", ").widget()", 1)
    (output,) = cell.outputs
    still = "](https://example.org/book/_static/stills/elbo_explorer.webp)"
    assert output.data["text/markdown"].endswith(still)
    assert "text/html" not in output.data
