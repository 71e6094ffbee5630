"""Draw the still pictures of the live figures, for readers without JavaScript and for paper.

Opens each page of the built book that has a live figure, and keeps what the figure shows first.
Run it from the top of the project when a figure has changed, after `make html`:

    python -m tools.draw_stills
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Locator, sync_playwright

from tools.browser import start_browser
from tools.pages.live import STILLS
from tools.words import short_checksum
from vaebook.interactive.figure import source

HTML = Path("_build/html")
LABELS = "nodes => nodes.map(node => node.getAttribute('aria-label')).join(' ')"


def draw(figure: Locator) -> dict[str, Any]:
    """Store the picture of one figure, and return what the page says of it."""
    name = figure.get_attribute("data-figure") or ""
    panels = figure.locator(".vaebook-panels")
    with Image.open(io.BytesIO(panels.screenshot())) as picture:
        picture.convert("RGB").save(STILLS / f"{name}.webp", quality=55, method=6)
        width, height = (size // 2 for size in picture.size)
    alt = panels.locator("[role=img]").evaluate_all(LABELS)
    module = short_checksum(source(f"{name}.js"))
    return {name: {"alt": alt, "width": width, "height": height, "module": module}}


def main() -> None:
    """Draw all of them, and remove those of figures that are gone."""
    STILLS.mkdir(exist_ok=True)
    stills: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = start_browser(playwright)
        page = browser.new_page(
            viewport={"width": 1280, "height": 900}, device_scale_factor=2, color_scheme="light"
        )
        for file in sorted(HTML.glob("book/*/*.html")):
            if "vaebook-static" not in file.read_text(encoding="utf-8"):
                continue
            page.goto(file.resolve().as_uri())
            for figure in page.locator(".vaebook-static").all():
                figure.scroll_into_view_if_needed()
                figure.locator(".vaebook-live").wait_for()
                stills |= draw(figure)
        browser.close()
    for picture in STILLS.glob("*.webp"):
        if picture.stem not in stills:
            picture.unlink()
    text = json.dumps(stills, indent=1, ensure_ascii=False, sort_keys=True)
    (STILLS / "stills.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # takes no options, but --help
    main()
