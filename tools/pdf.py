"""Print the book: one PDF for each edition, from the pages that were built.

    python -m tools.pdf

Chromium prints the pages one behind the other as one document (``tools/paper``). It does so twice:
where the first print has put each heading, the second one says.
"""

from __future__ import annotations

import argparse
import html
import importlib.metadata
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pikepdf
import yaml
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tools import catalogues
from tools.browser import start_browser
from tools.dependencies import ROOT
from tools.pages.editions import FOLDER

PAPER = ROOT / "tools" / "paper"
HTML = ROOT / "_build" / "html"
PRINTED = ROOT / "_build" / "pdf"
INDEX = "book/index"
LEFT_OUT = re.compile(r"book/appendices/(api|equations|status)\b")  # of the screen, not of the book
# The room for text, in pixels of CSS: A4 without the margins of print.css.
WIDTH, HEIGHT = int((210 - 2 * 23) / 25.4 * 96), 948
PART = re.compile(r'<span class="caption-text">(?P<part>[^<]*)</span>')
LINK = re.compile(r'<li class="toctree-l1[^"]*"><a[^>]* href="(?P<href>[^"#]*)">(?P<title>.*?)</a>')
ARTICLE = re.compile(r"<article\b[^>]*>(?P<text>.*)</article>", re.DOTALL)
PICTURE = re.compile(r'(?<=")(?:\.\./)+(_static/stills/\w+\.webp|_images/\w+\.png)')
FORMULA = re.compile(r"\\\((.*)\\\)", re.DOTALL)  # in the marks that print.js gives it
FILES = re.compile(r'(?<=")(?:\.\./)+(?=(?:_images|_static)/)')
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
PATIENCE = 600_000  # milliseconds, for the print of the whole book
NO_FONT = (
    "No font of this machine has Chinese characters, which both editions of the book need. "
    "On Debian and Ubuntu: sudo apt install fonts-noto-cjk"
)
CONFIGURATION = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
ADDRESS = CONFIGURATION["html"]["baseurl"]
LEAD = re.compile(r'<div class="vb-lead[^>]*>\s*<p>(.*?)</p>', re.DOTALL)
STYLES = re.compile(r'<link [^>]*rel="stylesheet"[^>]*>')


@dataclass
class Part:
    """A part of the book: its title and the places of its chapters, with their titles."""

    title: str
    chapters: dict[str, str] = field(default_factory=dict)

    @property
    def is_numbered(self) -> bool:
        """Tell whether its chapters have numbers."""
        return any(title[:1].isdigit() for title in self.chapters.values())


@dataclass
class Edition:
    """What differs between the printed editions.

    Attributes
    ----------
    folder
        Of its pages, under the top of the built book.
    translations
        Of what only the printed pages say.
    """

    language: str
    folder: str
    translations: dict[str, str]

    @property
    def file(self) -> Path:
        """Where the PDF goes."""
        return PRINTED / f"vaebook-{self.language}.pdf"

    @property
    def index(self) -> str:
        """The place of the first page."""
        return f"{self.folder}{INDEX}.html"

    def say(self, text: str) -> str:
        """Return a text in the language of the edition."""
        return self.translations.get(text, text)

    def page(self, place: str) -> str:
        """Return the name of a page, which its anchors begin with."""
        return re.sub(r"\W+", "-", place.removeprefix(self.folder)[len("book/") : -len(".html")])


def editions() -> list[Edition]:
    """Return the editions that were built."""
    both = [
        Edition("en", "", {}),
        Edition("zh-CN", f"{FOLDER}/", catalogues.translations(catalogues.FRAME)),
    ]
    return [edition for edition in both if (HTML / edition.index).exists()]


def read(place: str) -> str:
    """Return a built page; the files that it shows are named by their address."""
    text = (HTML / place).read_text(encoding="utf-8")
    text = PICTURE.sub(lambda picture: photograph(HTML / picture[1]).as_uri(), text)
    return FILES.sub(f"{HTML.as_uri()}/", text)


def photograph(source: Path) -> Path:
    """Return a large picture as JPEG, which a PDF keeps as small as it is."""
    if source.stat().st_size < 100_000 and source.suffix == ".png":
        return source
    file = PRINTED / "pictures" / f"{source.stem}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as picture:
        picture.convert("RGB").save(file, quality=85)
    return file


def contents(edition: Edition) -> list[Part]:
    """Return the parts of the book, as its sidebar has them."""
    sidebar = read(edition.index).partition('<nav class="bd-links')[2].partition("</nav>")[0]
    parts: list[Part] = []
    for match in re.finditer(f"{PART.pattern}|{LINK.pattern}", sidebar):
        if match["part"]:
            parts.append(Part(html.unescape(match["part"])))
        elif not LEFT_OUT.search(place := urljoin(edition.index, match["href"])):
            title = html.unescape(re.sub("<[^>]+>", "", match["title"]))
            without_number = parts[1:] and not (title[:1].isdigit() or parts[-2].is_numbered)
            parts[-2 if without_number else -1].chapters[place] = title
    return [part for part in parts if part.chapters]


def article(edition: Edition, place: str, *, numbered: bool) -> str:
    """Return a page as a chapter of the printed book."""
    match = ARTICLE.search(read(place))
    if match is None:
        raise ValueError(f"{place} has no article. Run `make html` first.")
    language = "en" if not place.startswith(edition.folder) else edition.language
    number = ' data-numbered="yes"' if numbered else ""
    page = edition.page(place)
    return (
        f'<article class="bd-article" lang="{language}" data-page="{page}" data-place="{place}"'
        f'{number} style="page: {page}">{match["text"]}</article>\n'
    )


def running_head(page: str, part: str, chapter: str) -> str:
    """Return the style of the pages of a chapter: its title on the right, its part on the left."""
    left, right = (json.dumps(text, ensure_ascii=False) for text in (part, chapter))
    return (
        f"@page {page}:left {{ @top-left {{ content: {left}; }} }}\n"
        f"@page {page}:right {{ @top-right {{ content: {right}; }} }}\n"
    )


def document(edition: Edition, parts: list[Part]) -> str:
    """Return all pages as one, before ``tools/paper/print.js`` has worked on it."""
    _ = edition.say
    title, index = _(CONFIGURATION["title"]), read(edition.index)
    lead = " ".join(LEAD.findall(index))
    heads = [running_head("contents", title, _("Contents"))]
    heads += [running_head(edition.page(edition.index), title, _("About this book"))]
    body = [
        f'<section class="title-page"><h1>{title}</h1><p class="subtitle">{lead}</p>'
        f'<img alt="" src="{HTML.as_uri()}/_images/cover.svg">'
        f'<p class="author">{_("The vaebook authors")}</p></section>\n'
        f'<section class="imprint">{imprint(edition, on_paper=True)}</section>\n'
        f'<nav class="book-contents"><h2 id="contents">{_("Contents")}</h2><ol></ol></nav>\n'
        f'<section class="part">{article(edition, edition.index, numbered=False)}</section>\n'
    ]
    for part, numeral in zip(parts, NUMERALS, strict=False):
        number = _("Part {}").format(numeral) if part.is_numbered else ""
        body += [
            f'<section class="part"><div class="part-page" id="part-{numeral}">'
            f"<p>{number}</p><h1>{html.escape(part.title)}</h1><ol></ol></div>\n",
            *(article(edition, place, numbered=part.is_numbered) for place in part.chapters),
            "</section>\n",
        ]
        heads += [
            running_head(edition.page(place), part.title, chapter)
            for place, chapter in part.chapters.items()
        ]
    return (
        f'<!doctype html>\n<html lang="{edition.language}" data-theme="light" data-mode="light">\n'
        f'<head><meta charset="utf-8"><title>{title}</title>\n{"".join(STYLES.findall(index))}\n'
        f'<link rel="stylesheet" href="{(PAPER / "print.css").as_uri()}">\n'
        f"<style>\n{''.join(heads)}</style>\n"
        f'<script src="{(PAPER / "print.js").as_uri()}"></script></head>\n'
        f"<body>\n{''.join(body)}</body></html>\n"
    )


def imprint(edition: Edition, *, on_paper: bool) -> str:
    """Return what stands on the back of the title."""
    _ = edition.say
    address = f"{ADDRESS}{edition.index}"
    said = [
        f"{_('The book on the network, with figures that move and notebooks to run:')}<br>"
        f'<a class="external" href="{address}">{address}</a>',
        _(
            "This file leaves out the reference of the package, the list of all equations with "
            "their tests, and the status of the notebooks. Links to them lead to the network."
        ),
        _(
            "A mark ✓ beside the number of an equation says that a test checks it, and leads to "
            "that test."
        ),
        _("In code, the mark ↪ says that a line goes on.") if on_paper else "",
        _(
            "Solutions stand at the end of each chapter. Text and figures are under the licence "
            "CC BY 4.0, code under MIT, the MNIST digits under CC BY-SA 3.0."
        ),
        f"{_('Version')} {importlib.metadata.version('vaebook')}",
    ]
    return "".join(f"<p>{text}</p>" for text in said if text)


def words(edition: Edition) -> dict[str, str]:
    """Return what the script says on the pages."""
    _ = edition.say
    return {
        "about": _("About this book"),
        "live": _("On its page, this figure moves."),
        "stop": "。" if edition.language == "zh-CN" else ". ",
        "solutions": _("Solutions"),
        "solution": _("Solution on page {}"),
    }


def places(edition: Edition, parts: list[Part]) -> dict[str, Any]:
    """Return where links lead: within the book by the names of its pages, else to the network."""
    inside = [edition.index, *(place for part in parts for place in part.chapters)]
    return {"pages": {place: edition.page(place) for place in inside}, "address": ADDRESS}


def destinations(file: Path) -> dict[str, int]:
    """Return the number of the page on which each place of the document that is linked stands."""
    with pikepdf.open(file) as printed:
        numbers = {page.obj.objgen: i + 1 for i, page in enumerate(printed.pages)}
        found = printed.Root.Dests.items()
        return {name[1:]: numbers[place[0].objgen] for name, place in found}


def finish(file: Path, author: str, headings: list[str]) -> None:
    """Call formulas formulas, name the author and the bookmarks, and make the file smaller."""
    titles = {heading.replace(" ", ""): heading for heading in headings}
    with pikepdf.open(file, allow_overwriting_input=True) as printed:
        for element in printed.objects:
            if not isinstance(element, pikepdf.Dictionary):
                continue
            if formula := FORMULA.fullmatch(str(element.get("/Alt", ""))):
                element.S, element.Alt = pikepdf.Name.Formula, formula[1]
            elif title := titles.get(str(element.get("/Title", "")).replace(" ", "")):
                element.Title = title
        printed.docinfo["/Author"] = author
        printed.save(file, object_stream_mode=pikepdf.ObjectStreamMode.generate)


def open_page(browser: Browser) -> Page:
    """Return a page as wide as the text on paper."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    page.emulate_media(media="print")
    page.set_default_timeout(PATIENCE)
    return page


def write(page: Page, edition: Edition, parts: list[Part], file: Path) -> dict[str, int]:
    """Print one edition, and return the page of each place that is linked."""
    file.parent.mkdir(parents=True, exist_ok=True)
    source = file.with_suffix(".html")
    source.write_text(document(edition, parts), encoding="utf-8")
    page.goto(source.as_uri())
    if page.evaluate("lacksChinese()"):
        sys.exit(NO_FONT)
    page.evaluate("makeBook", places(edition, parts) | {"words": words(edition)})
    options: dict[str, Any] = {"prefer_css_page_size": True, "print_background": True}
    page.pdf(path=file, **options)
    found = destinations(file)
    page.evaluate("numberPages", found)
    page.pdf(path=file, **options, tagged=True, outline=True)
    if destinations(file) != found:
        raise RuntimeError(f"the page numbers have moved headings of {file}")
    finish(file, edition.say(CONFIGURATION["author"]), page.evaluate("headings()"))
    return found


def make_each(suffix: str, make: Callable[[Page, Edition, list[Part], Path], object]) -> None:
    """Make a file of each edition in a browser's page, and say where it is."""
    built = editions()
    if not built:
        sys.exit("There is no book to take: run `make html` first.")
    with sync_playwright() as playwright:
        browser = start_browser(playwright)
        for edition in built:
            start = time.perf_counter()
            page = open_page(browser)
            file = edition.file.with_suffix(suffix)
            make(page, edition, contents(edition), file)
            page.close()
            megabytes, seconds = file.stat().st_size / 1e6, time.perf_counter() - start
            print(f"{file.as_uri()}  {megabytes:.1f} MB, {seconds:.0f} s", flush=True)
        browser.close()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # takes no options, but --help
    make_each(".pdf", write)
