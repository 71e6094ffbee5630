"""The map of the source: complete, and each correction shown by a checked statement."""

import re
from pathlib import Path

import pytest

from tools.pages.bindings import scan

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "appendices" / "source_map.md").read_text(encoding="utf-8")
SECTIONS = [
    "1.1",
    "1.1.1",
    "1.1.2",
    "1.2.1",
    "1.2.2",
    "1.3.1",
    "1.3.2",
    "1.3.3",
    "1.4.1",
    "1.4.2",
    "1.4.3",
    "1.5.1–1.5.2",
    "1.5.3",
    "1.5.4",
    "1.5.5",
    "2",
    "3.1.1",
    "3.1.2",
    "3.1.3",
    "3.1.4",
    "3.2.1",
    "3.2.2",
    "3.2.3",
    "3.2.4",
    "3.2.5",
    "3.2.6",
    "3.3.1",
    "3.3.2",
    "3.3.3",
    "3.4",
]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its first two lines."""
    part = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_section_is_mapped_in_order():
    assert [row[0].removeprefix("§") for row in rows("Sections") if row[0]] == SECTIONS


@pytest.mark.parametrize("heading", ["Sections", "Formulas", "Corrections", "Claims"])
def test_every_row_leads_into_the_book(heading):
    for row in rows(heading):
        assert "{eq}`" in row[-1] or "{chapter}`" in row[-1] or row[-1].startswith("There"), row


def test_every_correction_is_shown_by_a_statement_with_a_test():
    bound = {binding.label for binding in scan(ROOT).bindings}
    shown = {row[1]: re.findall(r"\{eq\}`(eq-[^`]+)`", row[-1]) for row in rows("Corrections")}
    without = [said for said, labels in shown.items() if not set(labels) & bound]
    # a count of colour channels, and a definition that only a measurement can answer
    assert without == ["$1920 \\times 1080$ makes 2,073,600 steps."], without
