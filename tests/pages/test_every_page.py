"""Every page of the built book, opened in Chromium in each mode."""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

VOID_ALTS = {"", "image", "figure", "picture", "plot", "output"}


def test_asks_no_other_host(look: Any, path: str, mode: str) -> None:
    """A page needs nothing from the network, over http and as a file."""
    assert look(path, mode).external == []


def test_finds_all_its_files(look: Any, path: str, mode: str) -> None:
    """No script, style, font or picture of a page is missing."""
    assert look(path, mode).missing == []


def test_logs_no_error(look: Any, path: str, mode: str) -> None:
    """The console stays free of errors and warnings."""
    assert look(path, mode).errors == []


def test_is_accessible(look: Any, path: str, mode: str) -> None:
    """The axe rules find nothing to complain about."""
    assert look(path, mode).violations == []


def test_does_not_scroll_sideways(look: Any, path: str, mode: str) -> None:
    """Wide things scroll inside themselves, not the page."""
    assert look(path, mode).overflow == []


def test_scrolling_boxes_are_reached_by_keyboard(look: Any, path: str, mode: str) -> None:
    """What scrolls sideways can be focused, so that arrow keys move it."""
    assert look(path, mode).unreachable == []


def test_live_figures_answer_the_keyboard(
    look: Any, path: str, mode: str, built_book: Path
) -> None:
    """The first handle or slider of each live figure changes what the figure shows."""
    faults = look(path, mode).figures
    html = (built_book / path).read_text(encoding="utf-8")
    assert bool(faults) == ("vaebook-static" in html)
    assert [fault for fault in faults if fault] == []


class _Reader(HTMLParser):
    """Collect what the static checks need from the HTML of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.metas: dict[str, str] = {}
        self.title = ""
        self.language: str | None = None
        self._in_title = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids, links, images and meta data."""
        attributes = dict(attrs)
        self.ids |= {attributes[key] or "" for key in ("id", "name") if key in attributes}
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"] or "")
        elif tag == "img":
            self.images.append(attributes)
        elif tag == "meta":
            key = attributes.get("property") or attributes.get("name")
            if key:
                self.metas[key] = attributes.get("content") or ""
        elif tag == "html":
            self.language = attributes.get("lang")
        elif tag == "title":
            self._in_title = True

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the title."""
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        """Note the title."""
        if self._in_title:
            self.title += data


@pytest.fixture(scope="module")
def parse(built_book: Path) -> Any:
    """Return a function that reads a page, once."""
    read: dict[str, _Reader] = {}

    def parse_page(path: str) -> _Reader:
        if path not in read:
            read[path] = _Reader(built_book / path)
        return read[path]

    return parse_page


def test_links_inside_the_book_lead_somewhere(parse: Any, built_book: Path, path: str) -> None:
    """Each link to a page of the book finds the page, and its anchor."""
    dead = []
    for link in parse(path).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (built_book / path).parent / unquote(parts.path) if parts.path else None
        if target is not None and not target.exists():
            dead.append(link)
        elif parts.fragment and (target is None or target.suffix == ".html"):
            here = path if target is None else target.resolve().relative_to(built_book.resolve())
            if unquote(parts.fragment) not in parse(str(here)).ids:
                dead.append(link)
    assert dead == []


def test_images_say_what_they_show(parse: Any, path: str) -> None:
    """Every picture has a text that can stand for it; only the logo beside its name has none."""
    silent = [
        image
        for image in parse(path).images
        if (image.get("alt") or "").strip().lower() in VOID_ALTS
        and "logo__image" not in (image.get("class") or "")
    ]
    file_names = [i for i in parse(path).images if re.search(r"\.(png|svg)$", i.get("alt") or "")]
    assert silent + file_names == []


def test_pictures_state_their_own_proportions(parse: Any, built_book: Path, path: str) -> None:
    """The room that is kept for a picture is that which it takes, and nothing moves."""
    stated = [image for image in parse(path).images if image.get("height")]
    sources = [(built_book / path).parent / unquote(image["src"] or "") for image in stated]
    shares = [float(image["width"] or 0) / float(image["height"] or 0) for image in stated]
    own = [_proportions(source) for source in sources]
    assert shares == pytest.approx(own, rel=0.02)


@functools.cache
def _proportions(file: Path) -> float:
    """Return the width of a picture over its height."""
    if file.suffix != ".svg":
        with Image.open(file) as picture:
            return picture.width / picture.height
    box = re.search(
        r'<svg\b[^>]*?viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', file.read_text("utf-8")
    )
    assert box, f"{file} states no box"
    return float(box[1]) / float(box[2])


def test_says_what_it_is(parse: Any, built_book: Path, path: str) -> None:
    """Title, language and description are there for tabs, speech and previews."""
    page, chinese = parse(path), path.startswith("zh/")
    assert ("变分自编码器" if chinese else "Variational Autoencoders, Verified") in page.title
    assert page.language == ("zh-CN" if chinese else "en")
    if path.removeprefix("zh/").startswith("book/"):
        assert page.metas["og:title"]
        assert len(page.metas["description"]) > (10 if chinese else 20)
        assert (
            built_book / "_static" / page.metas["og:image"].rpartition("/_static/")[2]
        ).is_file()
