"""The built book: its pages, a server for them, and a look at each page in each mode."""

from __future__ import annotations

import functools
import http.server
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request

from tools import pdf

HTML = Path(os.environ.get("VAEBOOK_HTML", Path(__file__).parents[2] / "_build" / "html"))
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")

# In a printed book and in an EPUB: the shortest with and without a live figure.
TWO_CHAPTERS = ("vae_variants", "own_data")
# Each page is opened over http in light mode and as a file in dark mode, at both widths. Rules
# that look at colours run in each mode; the others see the same document in dark mode again.
# Chinese pages differ in their words: but for two, they are opened over http only.
PROTOCOLS = {"http": "light", "file": "dark"}
WIDTHS = {"desktop": 1280, "phone": 390}
MODES = [f"{protocol}-{s}-{w}" for protocol, s in PROTOCOLS.items() for w in WIDTHS]
CHINESE_AS_FILES = ["zh/book/index.html", "zh/book/latent_variables/vae_training.html"]
ABOUT_COLOURS = ("color-contrast", "link-in-text-block")
OTHER_RULES = {"rules": {rule: {"enabled": False} for rule in ABOUT_COLOURS}}
COLOUR_RULES = {"light": {"runOnly": list(ABOUT_COLOURS)}, "dark": {"runOnly": ["cat.color"]}}
# A page is settled when the live figures have started, each of which waits for the reader to come.
SETTLED = """async () => {
  for (const figure of document.querySelectorAll(".vaebook-static")) {
    figure.scrollIntoView({ behavior: "instant" });
    for (let i = 0; i < 100 && !figure.dataset.state; i++)
      await new Promise((resume) => setTimeout(resume, 50));
    scrollTo({ top: 0, behavior: "instant" });
  }
  await document.fonts.ready;
  await new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume)));
}"""
DRAWN = """() => new Promise((resume) =>
  requestAnimationFrame(() => requestAnimationFrame(resume)))"""
# Text that looks alike is measured once: contrast follows from the colours, sizes and weights of
# an element and of all that it stands in, and a chapter has 2,000 texts of 200 looks. Text that
# axe would pass over (hidden, or without a letter) must not stand for text that is read.
MARK_EACH_LOOK_ONCE = """() => {
  const numbers = new Map(), looks = new Map();
  const lookOf = (element) => {
    if (!element) return 0;
    if (!looks.has(element)) {
      const style = getComputedStyle(element);
      const look = [lookOf(element.parentElement), style.color, style.backgroundColor,
        style.backgroundImage, style.opacity, style.fontSize, style.fontWeight, style.position,
        style.textShadow, style.mixBlendMode, style.filter].join();
      if (!numbers.has(look)) numbers.set(look, numbers.size + 1);
      looks.set(element, numbers.get(look));
    }
    return looks.get(element);
  };
  const known = new Set(), texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const isRead = /[\\p{L}\\p{N}]/u.test(texts.currentNode.data) &&
      element.checkVisibility({ visibilityProperty: true }) &&
      !element.closest("[aria-hidden=true]");
    if (!isRead || known.has(lookOf(element))) continue;
    known.add(lookOf(element));
    element.dataset.newLook = "";
  }
}"""
# Before axe compares colours it computes what lies above what, for each element of a page. The
# marked texts are left, each with all that it stands in, and the links of the text: a tenth.
KEEP_WHAT_IS_MEASURED = """() => {
  const measured = "[data-new-look], input, select, textarea", kept = new Set();
  for (let element of document.querySelectorAll(`${measured}, article a[href], style, link`))
    for (; element && !kept.has(element); element = element.parentElement) kept.add(element);
  for (const element of document.querySelectorAll("body *"))
    if (!kept.has(element)) element.remove();
  const contrasts = ["color-contrast", "color-contrast-enhanced"];
  axe.configure({ rules: contrasts.map((id) => ({ id, selector: measured })) });
}"""
# The shapes of formulas, half of a chapter's elements, are hidden from screen readers: the rules
# pass over them, if nothing in them can be focused. Without them axe is a third faster.
WITHOUT_SHAPES = """() => {
  for (const shapes of document.querySelectorAll(".katex-html[aria-hidden=true]"))
    if (!shapes.querySelector("a, button, input, [tabindex]")) shapes.replaceChildren();
}"""
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.getBoundingClientRect().right > width + 1)
    .map((e) => e.tagName + "." + e.className).slice(0, 8);
}"""
# Boxes that scroll sideways but that the keyboard cannot reach. A page makes them reachable soon
# after its width changes; what stays unreachable for two seconds is none of those.
UNREACHABLE = """async () => {
  const find = () => [...document.querySelectorAll("article *")]
    .filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 &&
      ["auto", "scroll"].includes(getComputedStyle(e).overflowX) &&
      e.tabIndex < 0 && !e.querySelector("a, button, input, [tabindex='0']") &&
      !e.closest("[tabindex='0']"));
  for (let i = 0; i < 40 && find().length; i++)
    await new Promise((resume) => setTimeout(resume, 50));
  return find().map((e) => e.outerHTML.slice(0, 120));
}"""


def pages() -> list[str]:
    """Return every page of the built book, as paths from its top."""
    found = (path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html"))
    # The page at the top only leads on to the first page of the book.
    others = ("_static/", "_sources/", "_modules/", "reports/")
    tops = {"index.html", "zh/index.html"}
    return sorted(p for p in found if not p.startswith(others) and p not in tops)


def chinese_pages() -> list[str]:
    """Return the pages of the Chinese edition."""
    return [path for path in pages() if path.startswith("zh/")]


def chapters() -> list[str]:
    """Return the pages of the chapters, in both editions."""
    return [p for p in pages() if re.fullmatch(r"(zh/)?book/(?!appendices/)\w+/\w+\.html", p)]


def source_pages() -> list[str]:
    """Return the pages that show the source of a module."""
    found = (path.relative_to(HTML).as_posix() for path in HTML.glob("_modules/**/*.html"))
    return sorted(found)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that ask for a page once for each page, and for each mode."""
    if "path" not in metafunc.fixturenames:
        return
    # At least one item, so that a missing book is a failure and not an empty run.
    found = [*pages(), *source_pages()[:1]] or ["book/index.html"]
    if "mode" not in metafunc.fixturenames:
        metafunc.parametrize("path", found)
        return
    visits = [(path, mode) for path in found for mode in MODES]
    shortened = set(chinese_pages()) - set(CHINESE_AS_FILES)
    metafunc.parametrize(
        ("path", "mode"),
        [(path, mode) for path, mode in visits if path not in shortened or "http" in mode],
    )


PATIENCE = 120_000  # milliseconds: a page of many equations on a machine that does other work


@pytest.fixture(scope="session", autouse=True)
def built_book() -> Path:
    """Return the folder of the built book; without one, say how to build it."""
    if not (HTML / "index.html").is_file():
        pytest.fail(f"there is no book in {HTML}: run `make html` first", pytrace=False)
    return HTML


class _Server(http.server.ThreadingHTTPServer):
    """Takes the many connections that a browser opens at once."""

    request_queue_size = 128


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Answers as servers do: it keeps a connection for the next file, and writes no line of log."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""


@pytest.fixture(scope="session")
def server(built_book: Path) -> Iterator[str]:
    """Serve the book on this machine."""
    handler = functools.partial(_QuietHandler, directory=str(built_book))
    with _Server(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture(scope="session")
def bases(server: str, built_book: Path) -> dict[str, str]:
    """Return where the book is, over each protocol."""
    return {"http": server, "file": built_book.resolve().as_uri() + "/"}


@dataclass
class Visit:
    """What a browser saw on one page in one mode; what is wrong with each live figure."""

    external: list[str]
    missing: list[str]
    errors: list[str]
    overflow: list[str]
    unreachable: list[str]
    violations: list[str]
    figures: list[str]


def _describe(violation: dict[str, Any]) -> str:
    nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
    detail = violation["nodes"][0]["failureSummary"].replace("\n", " ")[:240]
    return f"{violation['id']} ({len(violation['nodes'])}x): {nodes} -- {detail}"


class Tab:
    """A tab in which a page is opened once, and what goes wrong there."""

    def __init__(self, page: Page, base: str, scheme: str) -> None:
        self.page, self.base, self.scheme = page, base, scheme
        self.external: list[str] = []
        self.missing: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._note_request)
        page.on("requestfailed", lambda sent: self.missing.append(f"{sent.url}: {sent.failure}"))
        page.on("response", lambda answer: self._note_status(answer.status, answer.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda m: m.type in ("error", "warning") and self.errors.append(f"{m.type}: {m.text}"),
        )

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.external.append(request.url)

    def _note_status(self, status: int, url: str) -> None:
        # a file that has not changed is answered by 304, and is there
        if not 200 <= status < 300 and status != 304:
            self.missing.append(f"{url}: {status}")

    def look(self, path: str) -> dict[str, Visit]:
        """Open a page once, look at it at each width, and move its live figures."""
        page = self.page
        page.goto(self.base + path, wait_until="load")
        page.evaluate(AXE)
        boxes = {}
        for name in reversed(WIDTHS):
            self._settle(name)
            boxes[name] = page.evaluate(OVERFLOW), page.evaluate(UNREACHABLE)
        faults = [_fault_of(figure) for figure in page.locator(".vaebook-static").all()]
        page.evaluate(WITHOUT_SHAPES)
        violations: dict[str, list[str]] = {name: [] for name in WIDTHS}
        for name in WIDTHS:
            self._settle(name)
            page.evaluate(UNREACHABLE)  # waits until what scrolls at this width can be focused
            page.evaluate(MARK_EACH_LOOK_ONCE)
            if self.scheme == "light":
                violations[name] += self._ask(OTHER_RULES)
        noted = list(self.external), list(self.missing), list(self.errors)
        page.evaluate(KEEP_WHAT_IS_MEASURED)  # from here on, figures miss their elements
        for name in reversed(WIDTHS):  # the page has the last one's width already
            self._widen(name)
            violations[name] += self._ask(COLOUR_RULES[self.scheme])
        return {name: Visit(*noted, *boxes[name], violations[name], faults) for name in WIDTHS}

    def _widen(self, width: str) -> None:
        self.page.set_viewport_size({"width": WIDTHS[width], "height": 900})

    def _settle(self, width: str) -> None:
        self._widen(width)
        self.page.evaluate(SETTLED)

    def _ask(self, rules: dict[str, Any]) -> list[str]:
        options = {"preload": False, "resultTypes": ["violations"], **rules}
        result = self.page.evaluate("options => axe.run(document, options)", options)
        return [_describe(violation) for violation in result["violations"]]


def _fault_of(figure: Locator) -> str:
    """Press a key on the first handle or slider of a live figure, and say what is wrong, if so."""
    markup = figure.evaluate("node => node.outerHTML.slice(0, 120)")
    if (state := figure.get_attribute("data-state")) != "live":
        return f"its state is {state}: {markup}"
    if not figure.get_attribute("aria-label"):
        return f"it has no name: {markup}"
    control = figure.locator(":is([role=slider], input[type=range])").first
    if not control.count():
        return ""
    panels = figure.locator(".vaebook-panels")
    before = panels.evaluate("node => node.innerHTML")
    control.focus()
    figure.page.keyboard.press("ArrowRight")
    figure.page.evaluate(DRAWN)
    moved = panels.evaluate("node => node.innerHTML") != before
    return "" if moved else f"a key on its first control changes nothing: {markup}"


@pytest.fixture(scope="session")
def contexts(browser: Browser) -> Iterator[dict[str, BrowserContext]]:
    """Open one browsing context for each protocol."""
    opened = {
        protocol: browser.new_context(color_scheme=scheme, reduced_motion="reduce")
        for protocol, scheme in PROTOCOLS.items()
    }
    for context in opened.values():
        context.set_default_timeout(PATIENCE)
    yield opened
    for context in opened.values():
        context.close()


@pytest.fixture(scope="session")
def look(contexts: dict[str, BrowserContext], bases: dict[str, str]) -> Any:
    """Return a function that opens a page in a mode, once, and remembers what was there."""

    @functools.cache
    def visit(path: str, protocol: str) -> dict[str, Visit]:
        page = contexts[protocol].new_page()
        try:
            return Tab(page, bases[protocol], PROTOCOLS[protocol]).look(path)
        finally:
            page.close()

    def look_at(path: str, mode: str) -> Visit:
        protocol, _, width = mode.split("-")
        return visit(path, protocol)[width]

    return look_at


@pytest.fixture
def reader(browser: Browser) -> Iterator[Page]:
    """A page of its own, at desktop width, for tests that click and type."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        color_scheme="light",
        reduced_motion="reduce",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def two_chapters(edition: pdf.Edition) -> list[pdf.Part]:
    """Return the parts of a book of two chapters."""
    parts = pdf.contents(edition)
    for part in parts:
        chosen = {k: v for k, v in part.chapters.items() if Path(k).stem in TWO_CHAPTERS}
        part.chapters = chosen
    return [part for part in parts if part.chapters]
