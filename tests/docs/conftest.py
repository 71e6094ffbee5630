"""A tiny book in a temporary folder, built with the extensions under test."""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from sphinx import locale
from sphinx.testing.util import SphinxTestApp

from tools import catalogues

CONFIGURATION = """
extensions = ["myst_nb", "tools.pages"]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_dmath_double_inline = True
html_math_renderer = "katex"
nb_execution_mode = "off"
numfig = True
html_sourcelink_suffix = ""
exclude_patterns = ["_build", "tests"]
language = "{language}"
locale_dirs = ["locale"]
gettext_compact = False
equation_source_url = "https://example.org/project"
"""
INDEX = "# Book\n\n```{toctree}\nchapter\nequations\n```\n"
GOOD_TEST = '''
import pytest

@pytest.mark.equation("eq-sum", tolerance="1e-12")
def test_sum():
    """Enumeration of `all` cases. A second sentence."""
    assert sum([1, 1]) == 2
'''


@dataclass
class Book:
    """A folder with a book; `build` returns the warnings."""

    folder: Path
    language: str = "en"
    more_configuration: str = ""

    def write(self, name, text):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")

    def write_notebook(self, name, *cells, **more):
        """Write cells: text is prose, a dictionary is what a removed code cell records."""
        written = []
        for cell in cells:
            if isinstance(cell, str):
                written.append({"cell_type": "markdown", "source": cell, "metadata": {}})
                continue
            output = {
                "output_type": "display_data",
                "data": {"text/plain": str(cell)},
                "metadata": {"scrapbook": {"name": ", ".join(cell), "results": cell}},
            }
            source = f"from vaebook.results import record\nrecord(**{cell})"
            code = {"cell_type": "code", "source": source, "metadata": {"tags": ["remove-cell"]}}
            written.append({**code, "execution_count": 1, "outputs": [output]})
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, **more}
        notebook = {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
        self.write(name, json.dumps(notebook))

    def build(self, builder="html", fresh=False):
        configuration = CONFIGURATION.format(language=self.language)
        self.write("conf.py", configuration + self.more_configuration)
        app = SphinxTestApp(builder, srcdir=self.folder, freshenv=fresh)
        try:
            app.build()
            return app.warning.getvalue()
        finally:
            app.cleanup()

    def page(self, name):
        return (self.folder / "_build" / "html" / name).read_text(encoding="utf-8")


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of one statement with a test and one definition: nothing to complain about."""
    # neither the translations of the real book nor those of the test before
    monkeypatch.setattr(catalogues, "COMPILED", tmp_path / "compiled")
    locale.translators.clear()
    book = Book(tmp_path / "book")
    book.write("index.md", INDEX)
    book.write("chapter.md", "# Chapter\n\n$$1 + 1 = 2$$ (eq-sum)\n\n$$a := 1$$ (def-a)\n")
    book.write("equations.md", "# Equations\n\n```{equation-index} chapter\n```\n")
    book.write("tests/test_sum.py", GOOD_TEST)
    return book
