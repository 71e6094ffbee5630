"""What a reader of a chapter sees first, without moving the page: its question and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from .conftest import PATIENCE, chapters

SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
PICTURE = """() => {
  const { top, bottom } = document.querySelector("article figure > img").getBoundingClientRect();
  return { top, bottom };
}"""


@pytest.fixture(scope="module", params=SCREENS)
def screen(browser: Browser, request: Any) -> Any:
    """A page on each of the screens."""
    context: BrowserContext = browser.new_context(**SCREENS[request.param], reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("chapter", chapters())
def test_the_picture_is_on_the_first_screen(screen: Page, built_book: Path, chapter: str) -> None:
    """All of it, in both editions; the code that draws it stands below."""
    screen.goto((built_book / chapter).as_uri(), wait_until="load")
    screen.evaluate("document.fonts.ready")
    place = screen.evaluate(PICTURE)
    assert place["top"] > 0
    assert place["bottom"] <= screen.viewport_size["height"] + 1
