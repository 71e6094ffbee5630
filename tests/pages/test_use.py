"""What a reader does with the pages: search, switch, copy, preview, open, download, print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import AXE, SETTLED, chapters, pages

CHAPTERS = [path for path in pages() if path.startswith("book/latent_variables/")]
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS or ["book/index.html"])


def _open(page: Page, url: str) -> None:
    page.goto(url, wait_until="load")
    page.evaluate(SETTLED)


def _tab_until(page: Page, condition: str, limit: int = 400) -> None:
    """Press Tab until the focused element fulfils a condition on ``e``."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate(f"(() => {{ const e = document.activeElement; return {condition}; }})()"):
            return
    pytest.fail(f"Tab never reaches an element with {condition}")


def _contents(built_book: Path, selector: str) -> list[str]:
    return [p for p in pages() if selector in (built_book / p).read_text(encoding="utf-8")]


@pytest.mark.parametrize("protocol", ["http", "file"])
def test_search_finds_a_term(reader: Page, bases: dict[str, str], protocol: str) -> None:
    """The search page works without a network, and when opened as a file."""
    errors: list[str] = []
    reader.on("pageerror", lambda error: errors.append(str(error)))
    reader.on("console", lambda m: m.type == "error" and errors.append(m.text))
    reader.goto(bases[protocol] + "search.html?q=reparameterization")
    found = reader.locator("#search-results li a").first
    expect(found).to_be_visible()
    found.click()
    expect(reader.locator("article")).to_contain_text("eparameterization")
    assert errors == []


def test_search_opens_by_keyboard(reader: Page, bases: dict[str, str]) -> None:
    """Ctrl+K opens the search field, which has the focus and a name."""
    _open(reader, bases["file"] + "book/index.html")
    reader.keyboard.press("Control+k")
    field = reader.locator("#pst-search-dialog input[type=search]")
    expect(field).to_be_focused()
    field.fill("evidence")
    reader.keyboard.press("Enter")
    expect(reader.locator("#search-results li a").first).to_be_visible()


def test_colour_mode_switches_and_stays(reader: Page, bases: dict[str, str]) -> None:
    """The button changes the page's colours, and the next page has them too."""
    _open(reader, bases["http"] + "book/index.html")
    body = reader.locator("body")
    expect(body).to_have_css("background-color", "rgb(252, 251, 248)")
    for _ in range(3):  # the button goes through light, dark and the system's setting
        if reader.evaluate("document.documentElement.dataset.mode") == "dark":
            break
        reader.locator("button.theme-switch-button").first.click()
    expect(body).to_have_css("background-color", "rgb(18, 22, 28)")
    _open(reader, bases["http"] + "book/appendices/notation.html")
    expect(body).to_have_css("background-color", "rgb(18, 22, 28)")


def test_skip_link_leads_past_the_navigation(reader: Page, bases: dict[str, str]) -> None:
    """The first Tab stop jumps to the text."""
    _open(reader, bases["http"] + "book/index.html")
    reader.keyboard.press("Tab")
    assert reader.evaluate("document.activeElement.textContent") == "Skip to main content"
    reader.keyboard.press("Enter")
    assert reader.url.endswith("#main-content")


def test_copy_button_copies_the_code(reader: Page, bases: dict[str, str], built_book: Path) -> None:
    """The button beside a cell puts exactly its source on the clipboard."""
    path = next(iter(_contents(built_book, "highlight-ipython3") + ["book/appendices/api.html"]))
    _open(reader, bases["http"] + path)
    block = reader.locator("div.highlight:has(button.copybtn):visible").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = reader.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("pre").inner_text().strip() != ""


@pytest.mark.parametrize("kind", ["equation", "citation", "term", "figure"])
def test_preview_opens_on_focus_and_closes(
    reader: Page, bases: dict[str, str], kind: str, built_book: Path
) -> None:
    """A reference shows what it refers to, by keyboard, and Escape takes it away."""
    selector = {
        "equation": 'article a.reference[href*="#equation-"]',
        "citation": 'article a[href*="bibliography.html#"]',
        "term": 'article a[href*="glossary.html#term-"]',
        "figure": 'article a.reference[href^="#fig-"]',
    }[kind]
    shortest_first = sorted(CHAPTERS, key=lambda path: (built_book / path).stat().st_size)
    for path in [*shortest_first, "book/index.html", "book/appendices/glossary.html"]:
        _open(reader, bases["file"] + path)
        link = reader.locator(selector).first
        if link.count():
            break
    else:
        pytest.skip(f"the book has no reference to a {kind} yet")
    link.focus()
    preview = reader.locator(".tippy-box")
    expect(preview).to_be_visible()
    assert len(preview.inner_text().strip()) > 10 or preview.locator(".katex").count()
    reader.keyboard.press("Escape")
    expect(preview).to_have_count(0)


CUT_OFF = """() => {
  for (const fold of document.querySelectorAll("article details")) fold.open = true;
  for (const button of document.querySelectorAll("button.toggle-button-hidden")) button.click();
  return [...document.querySelectorAll("article pre")]
    .filter((block) => block.scrollWidth > block.clientWidth)
    .map((block) => block.textContent.split("\\n").sort((a, b) => b.length - a.length)[0]);
}"""


@pytest.mark.parametrize("chapter", [path for path in chapters() if path.startswith("book/")])
def test_code_is_not_cut_off(reader: Page, bases: dict[str, str], chapter: str) -> None:
    """On a window of 1280 pixels a line of a hundred characters fits, also in a solution."""
    reader.goto(bases["file"] + chapter, wait_until="load")
    reader.evaluate("document.fonts.ready")
    assert reader.evaluate(CUT_OFF) == []


FIGURES = {
    "book/introduction/autoregressive_models.html": "Enlarge Fig. 5.",
    "zh/book/introduction/autoregressive_models.html": "放大 图 5.",
}


@pytest.mark.parametrize("protocol", ["http", "file"])
@pytest.mark.parametrize(("page", "name"), FIGURES.items(), ids=["en", "zh"])
def test_a_picture_opens_and_closes_by_keyboard(
    reader: Page, bases: dict[str, str], protocol: str, page: str, name: str
) -> None:
    """Enter opens it as large as the window, Escape closes it, and the focus is where it was."""
    _open(reader, bases[protocol] + page)
    button = reader.locator("figure > button.vb-enlarge").nth(8)
    assert (button.get_attribute("aria-label") or "").startswith(name)
    size = "e => [e.getBoundingClientRect().width, e.getBoundingClientRect().height]"
    small = reader.locator("article figure > img").nth(8).evaluate(size)
    button.press("Enter")
    dialog = reader.get_by_role("dialog")
    width, height = dialog.locator("img").evaluate(size)
    assert 1.5 * small[0] < width <= 1280
    assert height <= 900
    reader.evaluate(AXE)
    assert reader.evaluate("axe.run('dialog').then(({ violations }) => violations)") == []
    reader.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()


def test_a_picture_opens_by_touch(browser: Browser, bases: dict[str, str]) -> None:
    """On a phone its labels are larger than they were drawn, and a touch closes it."""
    with browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as phone:
        page = phone.new_page()
        _open(page, bases["http"] + "book/introduction/autoregressive_models.html")
        picture = page.locator("article figure > img").nth(8)
        drawn = float(picture.get_attribute("width") or 0)
        picture.tap()
        large = page.get_by_role("dialog").locator("img")
        expect(large).to_be_visible()
        assert large.evaluate("e => e.getBoundingClientRect().width") == pytest.approx(
            1.3 * drawn, abs=1
        )
        large.tap()
        expect(large).to_have_count(0)


@every_chapter
def test_notebook_can_be_taken(built_book: Path, chapter: str) -> None:
    """The download button of a chapter gives its notebook, complete."""
    if not CHAPTERS:
        pytest.skip("the book has no chapter yet")
    html = (built_book / chapter).read_text(encoding="utf-8")
    name = Path(chapter).with_suffix(".ipynb")
    source = built_book / "_sources" / name
    assert f"_sources/{name.as_posix()}" in html
    notebook = json.loads(source.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    assert any(cell["cell_type"] == "code" for cell in notebook["cells"])
    for host in ("mybinder.org", "colab.research.google.com"):
        assert host in html


def test_solution_opens_by_keyboard(reader: Page, bases: dict[str, str], built_book: Path) -> None:
    """A solution is closed at first; Tab and Enter open it."""
    path = next(iter(_contents(built_book, '<div class="solution')), None)
    if path is None:
        pytest.skip("the book has no exercise yet")
    _open(reader, bases["http"] + path)
    solution = reader.locator("div.solution").first
    body = solution.locator(":scope > :not(.admonition-title):not(button)").last
    expect(body).not_to_be_visible()
    solution.scroll_into_view_if_needed()
    solution.locator("a").first.focus()
    _tab_until(reader, "e.classList.contains('toggle-button')", limit=3)
    reader.keyboard.press("Enter")
    expect(body).to_be_visible()


def test_paper_shows_solutions_and_no_navigation(
    reader: Page, bases: dict[str, str], built_book: Path
) -> None:
    """Printed, a page is its text: no sidebars, every solution open, code wrapped."""
    path = next(iter(_contents(built_book, '<div class="solution')), "book/index.html")
    _open(reader, bases["http"] + path)
    reader.emulate_media(media="print")
    reader.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    for hidden in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article"):
        expect(reader.locator(hidden).first).not_to_be_visible()
    for solution in reader.locator("div.solution").all():
        expect(solution.locator(":scope > :not(.admonition-title)").last).to_be_visible()
    for block in reader.locator("article pre").all():
        assert block.evaluate("e => getComputedStyle(e).whiteSpace") == "pre-wrap"


def test_motion_is_reduced_on_request(reader: Page, bases: dict[str, str]) -> None:
    """A reader who asked for less motion gets no smooth scrolling."""
    _open(reader, bases["http"] + "book/index.html")
    style = "getComputedStyle(document.documentElement).scrollBehavior"
    assert reader.evaluate(style) == "auto"
    reader.emulate_media(reduced_motion="no-preference")
    assert reader.evaluate(style) == "smooth"


def test_top_leads_to_the_first_page(reader: Page, bases: dict[str, str]) -> None:
    """The file that people open first shows the book."""
    reader.goto(bases["file"] + "index.html")
    expect(reader).to_have_url(bases["file"] + "book/index.html")


def test_book_holds_no_address_of_a_foreign_script(built_book: Path) -> None:
    """No page names a script, style or font of another host, not even for later."""
    foreign = [
        path
        for path in pages()
        for line in (built_book / path).read_text(encoding="utf-8").splitlines()
        if ("<script" in line and 'src="http' in line)
        or ("<link" in line and 'rel="stylesheet"' in line and 'href="http' in line)
    ]
    assert foreign == []
