"""Make the book as an EPUB, for readers of electronic books: one for each edition.

    python -m tools.epub

The chapters are those of the printed book (``tools/pdf.py``), as the browser has them: formulas in
MathML, live figures as their still pictures, solutions at the end of each chapter.
"""

from __future__ import annotations

import argparse
import datetime as dt
import html
import re
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Page

from tools import pdf

STYLE = pdf.PAPER / "epub.css"
PICTURE = re.compile(r'(?<=<img )([^>]*?)src="(file:[^"]+)"')
DECLARATION = re.compile(rb"<!DOCTYPE[^>]*>")  # which lets readers ask another host
IMAGE_ID = re.compile(rb'(?<=<image )([^>]*?)id="[^"]*" ?')  # the same for equal pictures
EMPTY_PATH = re.compile(rb"<path((?:(?! d=)[^>])*)/>")  # of a space
TYPES = {
    ".xhtml": "application/xhtml+xml",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles>
<rootfile full-path="book/book.opf" media-type="application/oebps-package+xml"/>
</rootfiles>
</container>
"""


@dataclass
class Chapter:
    """A chapter: its page, its titles with their places, and its text as XHTML."""

    page: str
    titles: list[tuple[str, str]]
    text: str

    @property
    def file(self) -> str:
        """Its name in the book."""
        return f"{self.page}.xhtml"


def chapters(page: Page, edition: pdf.Edition, parts: list[pdf.Part]) -> list[Chapter]:
    """Return the chapters of an edition, made in a browser's page."""
    source = pdf.PRINTED / f"epub-{edition.language}.html"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(pdf.document(edition, parts), encoding="utf-8")
    page.goto(source.as_uri())
    page.add_script_tag(path=pdf.PAPER / "epub.js")
    words = pdf.words(edition)
    words["solution"] = f"{words['solutions']}{{}}"  # there are no pages
    made = page.evaluate("makeChapters", pdf.places(edition, parts) | {"words": words})
    return [Chapter(**chapter) for chapter in made]


def xhtml(edition: pdf.Edition, title: str, body: str) -> str:
    """Return a file of the book."""
    language = f'lang="{edition.language}" xml:lang="{edition.language}"'
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
        f'<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" '
        f"{language}>\n<head><title>{html.escape(title)}</title>"
        f'<link rel="stylesheet" href="{STYLE.name}"/></head>\n{body}\n</html>\n'
    )


def navigation(edition: pdf.Edition, parts: list[pdf.Part], made: list[Chapter]) -> str:
    """Return the contents: parts, chapters, sections."""
    _, by_page = edition.say, {chapter.page: chapter for chapter in made}

    def entry(chapter: Chapter) -> str:
        (title, place), *sections = chapter.titles
        inner = "".join(item(chapter.file, *section) for section in sections)
        return item(chapter.file, title, place, f"<ol>{inner}</ol>" * bool(inner))

    def item(file: str, title: str, place: str, inner: str = "") -> str:
        return f'<li><a href="{file}#{place}">{html.escape(title)}</a>{inner}</li>'

    listed = [entry(made[0])]
    for part in parts:
        inner = "".join(entry(by_page[edition.page(place)]) for place in part.chapters)
        listed.append(f"<li><span>{html.escape(part.title)}</span><ol>{inner}</ol></li>")
    title = _("Contents")
    body = f'<nav epub:type="toc"><h1>{title}</h1><ol>{"".join(listed)}</ol></nav>'
    return xhtml(edition, title, f"<body>{body}</body>")


def package(edition: pdf.Edition, files: dict[str, Any], order: list[str]) -> str:
    """Return what a reading system must know of the book and of its files."""
    title = html.escape(edition.say(pdf.CONFIGURATION["title"]))
    address = f"{pdf.ADDRESS}{edition.index}"
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    items, names = [], {name: f"f{i}" for i, name in enumerate(files)}
    for name, content in files.items():
        kinds = ["nav"] * (name == "contents.xhtml") + ["cover-image"] * (name == "cover.svg")
        kinds += ["mathml"] * (isinstance(content, str) and "<math" in content)
        properties = f' properties="{" ".join(kinds)}"' if kinds else ""
        kind = TYPES[Path(name).suffix]
        items.append(f'<item id="{names[name]}" href="{name}" media-type="{kind}"{properties}/>')
    features = ("MathML", "alternativeText", "tableOfContents", "structuralNavigation")
    access = "".join(
        f'<meta property="schema:{name}">{value}</meta>\n'
        for name, values in {
            "accessMode": ("textual", "visual"),
            "accessibilityFeature": features,
            "accessibilityHazard": ("none",),
        }.items()
        for value in values
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<package xmlns="http://www.idpf.org/2007/opf" '
        f'version="3.0" unique-identifier="id" xml:lang="{edition.language}">\n'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        f'<dc:identifier id="id">{uuid.uuid5(uuid.NAMESPACE_URL, address).urn}</dc:identifier>\n'
        f"<dc:title>{title}</dc:title>\n<dc:language>{edition.language}</dc:language>\n"
        f"<dc:creator>{edition.say(pdf.CONFIGURATION['author'])}</dc:creator>\n"
        f"<dc:source>{address}</dc:source>\n<dc:rights>CC BY 4.0</dc:rights>\n"
        f'<meta property="dcterms:modified">{now}</meta>\n{access}</metadata>\n'
        f"<manifest>\n{chr(10).join(items)}\n</manifest>\n<spine>\n"
        + "".join(f'<itemref idref="{names[name]}"/>\n' for name in order)
        + "</spine>\n</package>\n"
    )


def write(page: Page, edition: pdf.Edition, parts: list[pdf.Part], file: Path) -> None:
    """Write one edition to a file."""
    title = edition.say(pdf.CONFIGURATION["title"])
    made = chapters(page, edition, parts)
    files: dict[str, str | Path] = {
        STYLE.name: STYLE,
        "cover.svg": pdf.HTML / "_images" / "cover.svg",
        "title.xhtml": xhtml(edition, title, title_page(edition)),
        "contents.xhtml": navigation(edition, parts, made),
    }

    def enclose(match: re.Match[str]) -> str:
        picture = Path(unquote(urlsplit(match[2]).path))
        files[picture.name] = picture
        return f'{match[1]}src="{picture.name}"'

    for chapter in made:
        files[chapter.file] = xhtml(
            edition, chapter.titles[0][0], PICTURE.sub(enclose, chapter.text)
        )
    order = ["title.xhtml", "contents.xhtml", *(chapter.file for chapter in made)]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("book/book.opf", package(edition, files, order))
        for name, content in files.items():
            book.writestr(f"book/{name}", read(content) if isinstance(content, Path) else content)


def read(file: Path) -> bytes:
    """Return a picture or style; a drawing as a book may have it, not as Matplotlib writes it."""
    content = file.read_bytes()
    if file.suffix == ".svg":
        content = DECLARATION.sub(b"", content, count=1)
        content = IMAGE_ID.sub(rb"\1", content)
        content = EMPTY_PATH.sub(rb"<path\1 d=''/>", content)
    return content


def title_page(edition: pdf.Edition) -> str:
    """Return the title, and what stands on its back."""
    said = pdf.imprint(edition, on_paper=False).replace("<br>", "<br/>")
    title, author = map(edition.say, (pdf.CONFIGURATION["title"], pdf.CONFIGURATION["author"]))
    return (
        f'<body class="title"><h1>{title}</h1><p><img src="cover.svg" alt=""/></p>'
        f"<p>{author}</p><div>{said}</div></body>"
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # takes no options, but --help
    pdf.make_each(".epub", write)
