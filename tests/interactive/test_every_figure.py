"""What every live figure keeps: it answers whoever moves it, by whatever means, and is quiet."""

import functools
import gzip
import importlib
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

import vaebook.interactive
from tools import catalogues, words
from tools.pages.live import STILLS, read_stills, short_checksum
from vaebook.interactive.figure import SHARED, source

from .conftest import settle

FOLDER = Path(vaebook.interactive.__file__).parent
NAMES = sorted(file.stem for file in FOLDER.glob("*.js") if file.name not in SHARED)
LIMIT = 120_000  # bytes, compressed: the shared script
OWN_LIMIT = 60_000  # and each figure beside it
LARGE = {"latent_explorer", "digit_drawer", "digit_completion"}  # bring a network
LARGE_LIMIT = 400_000

# All that a figure shows: shapes, pictures, numbers, words and the values of its controls.
SHOWN = """root => [
  root.querySelector(".vaebook-panels").innerHTML.replace(/plot-clip-\\d+/g, "clip"),
  ...[...root.querySelectorAll("canvas")].map(canvas => canvas.toDataURL()),
  ...[...root.querySelectorAll("table, output")].map(node => node.textContent),
  ...[...root.querySelectorAll("input")].map(input => `${input.value} ${input.checked}`),
].join("\\n")"""
# What it draws: places and shapes, but no words.
SHAPES = ".vaebook-panels svg :is(path, line, rect, circle)"
DRAWN = """nodes => nodes.map(
  node => node.outerHTML.replace(/plot-clip-\\d+/g, "clip").replace(/ aria-[a-z]+="[^"]*"/g, ""))"""


@pytest.fixture(params=NAMES)
def figure(request):
    """Return the example that the figure's own test file gives."""
    module = importlib.import_module(f"{__package__}.test_{request.param}")
    example = module.example()
    assert example.module == request.param
    return example


def shown(page):
    settle(page)
    return page.locator(".vaebook-live").evaluate(SHOWN)


def reset(page):
    page.get_by_role("button", name="Reset", exact=True).click()
    return shown(page)


def compressed(text):
    return len(gzip.compress(text.encode(), 9))


def test_on_a_desktop(show, page, figure):
    """Keyboard and mouse move everything, Reset takes it back, and nothing is hidden from axe."""
    page.set_viewport_size({"width": 1200, "height": 900})
    show(figure, "light")
    check_accessibility(page)
    first = shown(page)
    check_keyboard(page, first)
    check_buttons(page, first)
    check_handles(page, first, "mouse")
    assert page.messages == []


def test_on_a_phone(show, page, figure):
    """A finger moves the handles, and not the page; nothing is wider than the screen."""
    page.set_viewport_size({"width": 390, "height": 900})
    show(figure, "dark")
    check_accessibility(page, options={"runOnly": ["cat.color", "cat.aria"]})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    check_handles(page, shown(page), "touch")
    assert page.messages == []


def test_draws_the_same_in_chinese(show, page, figure):
    """No word that is translated is a name by which the script finds its numbers."""
    known = catalogues.translations(f"figures/{figure.module}")
    drawn = []
    for translate in (str, functools.partial(words.translate_script, known=known)):
        show(figure, translate=translate)
        settle(page)
        drawn.append(page.locator(SHAPES).evaluate_all(DRAWN))
    assert drawn[0] == drawn[1]
    assert page.messages == []


def check_accessibility(page, options=None):
    result = Axe().run(page, options=options)
    assert result.violations_count == 0, result.generate_report()
    for option in page.get_by_role("radio").all():
        group = option.locator("xpath=ancestor::fieldset")
        assert page.get_by_role("group", name=group.locator("legend").inner_text()).count()


def check_keyboard(page, first):
    """Every slider, handle and choice changes what is seen, and Reset takes it back."""
    for control in page.locator(".vaebook-live :is([role=slider], input[type=range])").all():
        control.focus()
        keys = ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp")
        answers = (page.keyboard.press(key) or shown(page) != first for key in keys)
        assert any(answers), control.get_attribute("aria-label")
        assert control.evaluate("node => getComputedStyle(node).outlineWidth") == "3px"
        assert reset(page) == first
    for control in page.locator(".vaebook-live :is(input[type=radio], input[type=checkbox])").all():
        if control.is_checked() and control.get_attribute("type") == "radio":
            continue
        control.focus()
        page.keyboard.press("Space")
        assert shown(page) != first
        assert reset(page) == first


def check_buttons(page, first):
    """One after the other, the buttons do something; what plays does not move here."""
    page.emulate_media(reduced_motion="reduce")
    buttons = page.locator(".vaebook-buttons button")
    changed = buttons.count() == 1  # Reset alone
    for button in buttons.all():
        button.focus()
        page.keyboard.press("Enter")
        changed |= shown(page) != first
    assert changed
    assert reset(page) == first


def check_handles(page, first, means):
    """Each handle follows the pointer, and Reset takes it back."""
    for handle in page.locator(".vaebook-handle").all():
        handle.scroll_into_view_if_needed()
        ways = ((-40, -30), (40, 30))  # at an end of its range a handle goes one way only
        answers = (drag(page, handle, way, means) or shown(page) != first for way in ways)
        assert any(answers), handle.get_attribute("aria-label")
        assert reset(page) == first


def drag(page, handle, way, means):
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if means == "mouse":
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + way[0], y + way[1], steps=3)
        page.mouse.up()
        return
    session = page.context.new_cdp_session(page)
    for kind, share in (
        ("touchStart", 0),
        ("touchMove", 0.5),
        ("touchMove", 1),
        ("touchEnd", None),
    ):
        points = [] if share is None else [{"x": x + share * way[0], "y": y + share * way[1]}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_weighs_little(figure):
    limit = LARGE_LIMIT if figure.module in LARGE else OWN_LIMIT
    assert compressed(source(f"{figure.module}.js") + figure._repr_html_()) <= limit


def test_the_shared_script_weighs_little():
    assert compressed("\n".join(map(source, SHARED))) <= LIMIT


def test_no_module_ends_its_script_early():
    for file in FOLDER.rglob("*.js"):
        assert "</script" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_the_still_picture_is_of_the_present_module(name):
    """Readers without JavaScript, and those on paper, see what the figure shows first."""
    still = read_stills().get(name, {})
    assert still.get("module") == short_checksum(source(f"{name}.js")), (
        "draw the stills again: make html, then python -m tools.draw_stills"
    )
    assert (STILLS / f"{name}.webp").stat().st_size < 80_000
    assert len(still["alt"]) > 40
