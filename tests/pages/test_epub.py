"""The book as an EPUB: two chapters of each edition, as `make epub` makes all of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tools import epub, pdf

from .conftest import two_chapters

XHTML, MATHML = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/1998/Math/MathML}"
JAR = Path("/usr/share/java/epubcheck.jar")  # of Debian, where the command itself may not start


@pytest.fixture(scope="module", params=["en", "zh-CN"])
def made(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pdf.Edition, Path]:
    """Make a book of two chapters."""
    edition = next(e for e in pdf.editions() if e.language == request.param)
    file = tmp_path_factory.mktemp("epub") / "book.epub"
    page = pdf.open_page(browser)
    page.goto((pdf.HTML / edition.index).as_uri())
    epub.write(page, edition, two_chapters(edition), file)
    page.close()
    return edition, file


@pytest.fixture
def files(made: tuple[pdf.Edition, Path]) -> dict[str, bytes]:
    with zipfile.ZipFile(made[1]) as book:
        return {name: book.read(name) for name in book.namelist()}


@pytest.fixture
def pages(files: dict[str, bytes]) -> dict[str, ET.Element]:
    """All files of text, which must be XML."""
    return {name: ET.fromstring(files[name]) for name in files if name.endswith(".xhtml")}


def test_the_checker_of_the_format_finds_nothing(made):
    command = ["java", "-jar", str(JAR)] if JAR.exists() else ["epubcheck"]
    if not shutil.which(command[0]):
        pytest.skip("epubcheck is not installed")
    said = subprocess.run([*command, made[1]], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "0 errors / 0 warnings" in said.stdout


def test_it_begins_as_a_reading_system_looks(files):
    assert next(iter(files)) == "mimetype"
    assert files["mimetype"] == b"application/epub+zip"


def test_pictures_and_places_that_are_named_are_there(files, pages):
    places = {f"{name}#{one.get('id')}" for name, page in pages.items() for one in page.iter()}
    pictures, links = set(), set()
    for page in pages.values():
        pictures |= {f"book/{one.get('src')}" for one in page.iter(f"{XHTML}img")}
        links |= {one.get("href", "") for one in page.iter(f"{XHTML}a")}
    assert len(pictures) > 5
    assert pictures <= set(files)
    inside = {f"book/{link}" for link in links if not link.startswith("https://")}
    assert len(inside) > 30
    assert inside <= places | set(files)


def test_no_drawing_of_the_whole_book_has_an_id_twice(built_book):
    """Matplotlib names equal pictures of one drawing alike."""
    drawings = [epub.read(file) for file in (built_book / "_images").glob("*.svg")]
    ids = [re.findall(rb' id="([^"]*)"', drawing) for drawing in drawings]
    assert len(drawings) > 100
    assert [each for each in ids if len(each) > len(set(each))] == []


def test_each_formula_is_mathml_with_its_source(made, pages):
    edition, _ = made
    chapter = "book/latent_variables-vae_variants.xhtml"
    formulas = list(pages[chapter].iter(f"{MATHML}math"))
    place = pdf.HTML / f"{edition.folder}book/latent_variables/vae_variants.html"
    sources = re.findall(r"<annotation[^>]*>", place.read_text(encoding="utf-8"))
    assert len(formulas) == len(sources) > 50
    assert all(formula.get("alttext") and len(formula) for formula in formulas)
    assert "katex-html" not in ET.tostring(pages[chapter], encoding="unicode")


def test_a_live_figure_is_its_still_picture_with_a_link(made, pages):
    edition, _ = made
    figures = pages["book/latent_variables-vae_variants.xhtml"].iter(f"{XHTML}figure")
    (still,) = [figure for figure in figures if figure.get("class") == "still"]
    assert still.find(f".//{XHTML}img").get("alt")
    said = "".join(still.find(f"{XHTML}figcaption").itertext())
    assert (". " in said) == (edition.language == "en")
    assert still.find(f".//{XHTML}a").get("href").startswith(pdf.ADDRESS + edition.folder)


def test_the_contents_name_parts_chapters_and_sections(made, pages):
    edition, _ = made
    entries = pages["book/contents.xhtml"].findall(f".//{XHTML}li")
    titles = ["".join(entry[0].itertext()) for entry in entries]
    assert titles[0] == edition.say("About this book")
    assert len(titles) > 15
    assert any(re.match(r"\d+\.\d+\. ", title) for title in titles)


def test_nothing_is_said_of_what_only_a_screen_has(made, pages):
    said = " ".join("".join(page.itertext()) for page in pages.values())
    assert made[0].say("About this book") in said
    assert re.findall(r"On the screen|buttons at the top|↪|在屏幕上|顶部的按钮", said) == []


def test_code_keeps_its_lines(pages):
    blocks = pages["book/practice-own_data.xhtml"].iter(f"{XHTML}pre")
    assert max(len("".join(block.itertext()).splitlines()) for block in blocks) > 5
