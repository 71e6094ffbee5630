"""The labels that docstrings name are those of equations in the book."""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]


def test_equations_named_in_docstrings_stand_in_the_book():
    notebooks = [nbformat.read(path, as_version=4) for path in ROOT.glob("book/*/*.ipynb")]
    text = "\n".join(cell.source for notebook in notebooks for cell in notebook.cells)
    labels = set(re.findall(r"\$\$ \(((?:eq|def)-[^)]+)\)", text))
    named = {
        (path.name, label)
        for path in (ROOT / "vaebook").glob("*.py")
        for label in re.findall(r"``((?:eq|def)-[\w-]+)``", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 50
    assert {pair for pair in named if pair[1] not in labels} == set()
