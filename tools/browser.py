"""The browser for pages, to draw, print and test: $CHROMIUM, or the system's Chromium or Chrome."""

from __future__ import annotations

import os
import shutil

from playwright.sync_api import Browser, Playwright

# Debian's shell comes first: it starts nothing of its own beside a page, a fifth less work.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
)


def find_browser() -> str | None:
    """Return the path of a browser of this machine; None leaves it to Playwright's own."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def start_browser(playwright: Playwright) -> Browser:
    """Start it without its sandbox, which does not start as root: it opens our own pages alone."""
    return playwright.chromium.launch(executable_path=find_browser(), chromium_sandbox=False)
