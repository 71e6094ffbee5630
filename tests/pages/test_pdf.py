"""The printed book: two chapters of each edition, as `make pdf` prints all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from playwright.sync_api import Browser

from tools import pdf

from .conftest import two_chapters

# Where the text of each line of code ends, beyond the box that it stands in, in pixels.
BEYOND = """() => Math.max(...[...document.querySelectorAll("pre")].map((box) => {
  const text = document.createRange();
  text.selectNodeContents(box);
  const ends = [...text.getClientRects()].map((line) => line.right);
  return Math.max(...ends) - box.getBoundingClientRect().right;
}))"""
WIDE = "() => document.documentElement.scrollWidth - innerWidth"
PICTURES = """() => [...document.querySelectorAll(".still")].map((figure) =>
  [figure.querySelector("img").naturalWidth, figure.querySelector("a").href])"""


@dataclass
class Printed:
    """A PDF, and what its pages were before they were printed."""

    edition: pdf.Edition
    file: Path
    book: pypdfium2.PdfDocument
    structure: pikepdf.Pdf
    beyond: float
    wide: float
    pictures: list[tuple[int, str]]

    def text(self, number: int) -> str:
        """Return the text of a page."""
        return self.book[number - 1].get_textpage().get_text_range()

    def outline(self) -> dict[str, int]:
        """Return the page of each heading in the outline."""
        entries = self.book.get_toc()
        return {e.get_title(): e.get_dest().get_index() + 1 for e in entries}


def squeeze(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.fixture(scope="module", params=["en", "zh-CN"])
def printed(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Printed:
    """Print the two chapters."""
    edition = next(e for e in pdf.editions() if e.language == request.param)
    parts = two_chapters(edition)
    page = pdf.open_page(browser)
    page.goto((pdf.HTML / edition.index).as_uri())
    file = tmp_path_factory.mktemp("pdf") / "book.pdf"
    try:
        pdf.write(page, edition, parts, file)
    except SystemExit as error:
        pytest.skip(str(error))
    measured = (page.evaluate(BEYOND), page.evaluate(WIDE), page.evaluate(PICTURES))
    page.close()
    return Printed(edition, file, pypdfium2.PdfDocument(file), pikepdf.open(file), *measured)


def test_the_title(printed):
    title = printed.edition.say(pdf.CONFIGURATION["title"])
    assert printed.book.get_metadata_value("Title") == title
    assert squeeze(title) in squeeze(printed.text(1))
    assert printed.outline()[title] == 1


def test_the_contents_name_the_pages_of_the_headings(printed):
    lines = [line.strip() for line in printed.text(3).splitlines()]
    assert printed.edition.say("Contents") in lines
    found = (re.fullmatch(r"(\d+\.\d+\. .*?) *(\d+)", line) for line in lines)
    entries = {match[1]: int(match[2]) for match in found if match}
    assert len(entries) > 10
    outline = printed.outline()
    for title, number in entries.items():
        assert squeeze(title) in squeeze(printed.text(number))
        assert outline[title] == number


def test_each_page_of_text_has_its_number(printed):
    last_lines = [printed.text(i + 1).split() for i in range(len(printed.book))]
    bare = [i + 1 for i, said in enumerate(last_lines) if str(i + 1) not in said]
    assert len(bare) == 4, bare  # the title and its back, and two parts


def test_the_file_is_tagged(printed):
    root = printed.structure.Root
    assert root.MarkInfo.Marked
    assert str(root.Lang) == printed.edition.language
    kinds: dict[str, list[str]] = {}
    for element in printed.structure.objects:
        if isinstance(element, pikepdf.Dictionary) and "/S" in element and "/P" in element:
            kinds.setdefault(str(element.S), []).append(str(element.get("/Alt", "")))
    assert {"/H1", "/H2", "/H3", "/P", "/Table", "/TH", "/Link", "/Figure"} <= set(kinds)
    assert len(kinds["/Formula"]) > 50
    assert all(kinds["/Formula"])


def test_links_inside_lead_somewhere(printed):
    places = pdf.destinations(printed.file)
    inside, outside = [], []
    for page in printed.structure.pages:
        for link in page.get("/Annots", []):
            if "/Dest" in link:
                inside.append(str(link.Dest).lstrip("/"))
            else:
                outside.append(str(link.A.URI))
    assert len(inside) > 30
    assert set(inside) <= set(places)
    assert [uri for uri in outside if not uri.startswith("https://")] == []


def test_code_and_all_else_fits_the_page(printed):
    assert printed.beyond <= 0
    assert printed.wide <= 0  # else Chromium prints all pages smaller


def test_solutions_are_open_at_the_end(printed):
    places = pdf.destinations(printed.file)
    for chapter in ("latent_variables-vae_variants", "practice-own_data"):
        mine = {k: page for k, page in places.items() if k.startswith(f"{chapter}--")}
        solutions = [page for name, page in mine.items() if "-solution-" in name]
        assert len(solutions) >= 3
        assert min(solutions) >= mine[f"{chapter}--solutions"]
        assert mine[f"{chapter}--solutions"] >= max(
            page for name, page in mine.items() if "solution" not in name
        )


def test_folded_code_is_printed(printed):
    pages = map(printed.text, range(1, len(printed.book) + 1))
    assert squeeze("row, column = np.mgrid[:10, :12]") in squeeze("".join(pages))


def test_live_figures_are_still_with_a_link(printed):
    addresses = [address for _, address in printed.pictures]
    assert len(addresses) == 2  # of the first page and of a chapter
    assert all(width > 0 for width, _ in printed.pictures)
    folder = pdf.ADDRESS + printed.edition.folder
    assert addresses[0].startswith(f"{folder}book/index.html")
    assert addresses[1].startswith(f"{folder}book/latent_variables/vae_variants.html")


def test_the_pages_about_the_book_speak_of_nothing_that_paper_lacks(printed):
    """No buttons, no pointer, no switch."""
    first = printed.outline()[printed.edition.say("About this book")]
    said = " ".join(printed.text(number) for number in range(first, first + 4))
    assert printed.edition.say("About this book") in said
    lacking = "button|pointer|onthescreen|drawadigit:|按钮|指针|屏幕上|拖动|请画"
    assert re.findall(lacking, squeeze(said).lower()) == []


def test_without_a_chinese_font_one_message_says_what_to_do(browser, tmp_path, monkeypatch):
    page = pdf.open_page(browser)
    page.add_init_script("Object.defineProperty(window, 'lacksChinese', {value: () => true})")
    edition = pdf.editions()[0]
    with pytest.raises(SystemExit, match="fonts-noto-cjk"):
        pdf.write(page, edition, pdf.contents(edition)[:0], tmp_path / "book.pdf")
