"""A first visit to each chapter: nothing moves, mathematics has its size, little is loaded."""

from __future__ import annotations

import functools
import gzip
import time
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Response, Route

from .conftest import PATIENCE, pages

FOLDERS = ("introduction", "foundations", "latent_variables", "beyond", "practice")
FOLDERS += ("appendices/equations",)
CHAPTERS = [path for path in pages() if path.startswith(tuple(f"book/{f}/" for f in FOLDERS))]
# Size of the letters of mathematics, as a multiple of the size of the text around them.
RATIOS = {"p > .katex": 1.01, ".katex-display > .katex": 1.01 * 1.03}
# What moves, and how large the first formulas are in the first frame that has them, and now.
WATCH = """
  window.moved = 0;
  new PerformanceObserver((list) => {
    for (const shift of list.getEntries()) if (!shift.hadRecentInput) window.moved += shift.value;
  }).observe({ type: "layout-shift", buffered: true });
  const size = (e) => parseFloat(getComputedStyle(e).fontSize);
  window.sizeOf = (selector) => {
    const formula = document.querySelector("article " + selector);
    const text = formula?.parentElement.closest(":not(.katex-display, .math, .vb-tied)");
    return formula && [size(formula), size(text)];
  };
  window.first = {};
  requestAnimationFrame(function look() {
    for (const kind of ["p > .katex", ".katex-display > .katex"])
      if (!(kind in first) && sizeOf(kind)) first[kind] = sizeOf(kind);
    if (document.readyState !== "complete") requestAnimationFrame(look);
  });
"""


# A first paragraph that would have a line more, and a title that would have one, in Times.
IN_OTHER_FONTS = ("practice/discrete_codes", "appendices/equations/sampling_transforms")


@dataclass
class FirstVisit:
    """What a browser without a cache saw and loaded."""

    moved: float
    first: dict[str, list[float]]
    last: dict[str, list[float]]
    kilobytes: float


@pytest.fixture(scope="module")
def first_visit(browser: Browser, server: str) -> Any:
    """Return a function that opens a page in a new context, once, and remembers what happened."""
    seen: dict[str, FirstVisit] = {}

    def visit(chapter: str) -> FirstVisit:
        if chapter not in seen:
            seen[chapter] = _visit(browser, server + chapter)
        return seen[chapter]

    return visit


def _visit(browser: Browser, url: str) -> FirstVisit:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    context.add_init_script(WATCH)
    page = context.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(url, wait_until="networkidle")
    page.evaluate("document.fonts.ready")
    moved, first, last = page.evaluate(
        "[moved, first, Object.fromEntries(Object.keys(first).map((kind) => [kind, sizeOf(kind)]))]"
    )
    kilobytes = sum(_compressed(answer.body()) for answer in answers) / 1000
    context.close()
    return FirstVisit(moved, first, last, kilobytes)


@functools.cache
def _compressed(body: bytes) -> int:
    """Return a file's size on its way; most files are of all chapters, and compressed once."""
    return len(gzip.compress(body))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_nothing_moves(first_visit: Any, chapter: str) -> None:
    """The cumulative layout shift is a tenth of what counts as a little."""
    assert first_visit(chapter).moved <= 0.05


@pytest.mark.parametrize("chapter", IN_OTHER_FONTS)
def test_nothing_moves_when_the_fonts_come_late(
    browser: Browser, server: str, chapter: str
) -> None:
    """Until then a page has the system's Times, Arial or DejaVu, in lines as long."""

    def hold_back(route: Route) -> None:
        time.sleep(1)
        route.continue_()

    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        context.set_default_timeout(PATIENCE)
        context.add_init_script(WATCH)
        context.route("**/*.woff2", hold_back)
        page = context.new_page()
        page.goto(f"{server}book/{chapter}.html", wait_until="networkidle")
        page.evaluate("document.fonts.ready")
        assert page.evaluate("moved") <= 0.05


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_mathematics_has_its_final_size_at_once(first_visit: Any, chapter: str) -> None:
    """Letters of mathematics are as large at the first paint as at the end, and fit the text."""
    visit = first_visit(chapter)
    assert visit.first == visit.last
    assert visit.last
    for kind, (letters, text) in visit.last.items():
        assert letters / text == pytest.approx(RATIOS[kind], abs=0.005)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_weighs_little(first_visit: Any, chapter: str) -> None:
    """All that a first visit loads, each file compressed, is 900 kB at most."""
    assert first_visit(chapter).kilobytes <= 900
