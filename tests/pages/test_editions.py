"""Both editions: the switch between them, Chinese pages without English words, Chinese search."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import HTML, SETTLED, chinese_pages

every_page = pytest.mark.parametrize("chinese_page", chinese_pages() or ["zh/book/index.html"])
# Names and notation that stay as they are; printed output and code are English in both editions.
KEPT = {
    *("elbo", "kl", "vae", "mnist", "log", "nats", "python", "reparameterised", "theta", "logit"),
}
WORDS = """() => [...document.querySelectorAll(".vaebook-live")].flatMap((figure) => {
  const texts = document.createTreeWalker(figure, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode())
    if (texts.currentNode.parentElement.localName !== "style") found.push(texts.currentNode.data);
  for (const one of figure.querySelectorAll("[aria-label], [aria-valuetext]"))
    found.push(one.getAttribute("aria-label") ?? "", one.getAttribute("aria-valuetext") ?? "");
  return found;
})"""


@every_page
def test_live_figures_speak_chinese(reader: Page, bases: dict[str, str], chinese_page: str) -> None:
    """No English word is left in a figure: in its labels, controls, numbers and descriptions."""
    reader.goto(bases["http"] + chinese_page)
    reader.evaluate(SETTLED)
    said = " ".join(reader.evaluate(WORDS))
    assert set(re.findall(r"[a-z]{4,}", said)) - KEPT == set()


def test_citations_are_as_light_as_the_text_beside_them(
    reader: Page, bases: dict[str, str]
) -> None:
    """What stands for emphasis in Chinese is bold; "et al." is none."""
    reader.goto(f"{bases['http']}zh/book/latent_variables/vae_evaluation.html")
    cited = reader.locator("p > span > a:has(em)")
    weight = "found => found.map(one => getComputedStyle(one).fontWeight)"
    assert cited.count() > 3
    assert cited.locator("em").evaluate_all(weight) == cited.evaluate_all(weight)


@every_page
def test_pictures_are_those_of_the_english_page(built_book: Path, chinese_page: str) -> None:
    """The Chinese pages bring no script, style or picture that the English ones have."""
    own = {file.suffix for file in (built_book / "zh").rglob("*") if file.is_file()}
    assert own <= {".html", ".js", ".inv", ".json", ".ipynb", ".md", ".buildinfo", ""}
    text = (built_book / chinese_page).read_text(encoding="utf-8")
    assert 'hreflang="en"' in text


@pytest.mark.parametrize("start", ["book/latent_variables/vae_objective.html"])
def test_the_switch_leads_to_the_same_section(
    reader: Page, bases: dict[str, str], start: str
) -> None:
    """From the section in view to the same one in Chinese, and back."""
    reader.goto(f"{bases['http']}{start}#jensens-inequality")
    reader.evaluate(SETTLED)
    _look_at(reader, "jensens-inequality")
    _press(reader, "中文")
    expect(reader).to_have_url(f"{bases['http']}zh/{start}#jensens-inequality")
    expect(reader.locator("#jensens-inequality h2")).to_contain_text("不等式")
    _look_at(reader, "summary")
    _press(reader, "English")
    expect(reader).to_have_url(f"{bases['http']}{start}#summary")


def _look_at(page: Page, section: str) -> None:
    page.wait_for_load_state()  # a link may just have been followed
    page.evaluate(SETTLED)
    page.evaluate(
        """section => new Promise((resume) => {
          addEventListener("scrollend", () => setTimeout(resume), { once: true });
          document.getElementById(section).scrollIntoView({ behavior: "instant" });
        })""",
        section,
    )


def _press(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).focus()
    page.keyboard.press("Enter")


@every_page
def test_each_page_names_its_other_edition(built_book: Path, chinese_page: str) -> None:
    """Both say where the other is, to readers and to search engines; sections have equal names."""
    chinese = (HTML / chinese_page).read_text(encoding="utf-8")
    english = (HTML / chinese_page.removeprefix("zh/")).read_text(encoding="utf-8")
    for page in (chinese, english):
        for language in ("en", "zh-CN", "x-default"):
            assert f'<link rel="alternate" hreflang="{language}" href="https://' in page
        assert 'class="btn btn-sm vb-language"' in page
    sections = re.compile(r'<section [^>]*id="([^"]+)"')
    assert sections.findall(chinese) == sections.findall(english)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("证据下界", "latent_variables/vae_objective"),
        ("重参数化", "latent_variables/vae_objective"),
        ("詹森不等式", "latent_variables/vae_objective"),
        ("得分函数", "latent_variables/vae_objective"),
        ("ELBO", "latent_variables/vae_objective"),
        ("后验坍缩", "latent_variables/vae_variants"),
        ("潜在变量", "latent_variables/latent_variables"),
    ],
)
def test_chinese_words_are_found(
    reader: Page, bases: dict[str, str], asked: str, wanted: str
) -> None:
    """A word is found in the middle of a sentence, also when the page is opened as a file."""
    reader.goto(bases["file"] + "zh/search.html")
    found = reader.evaluate(
        "asked => Search._performSearch(...Search._parseQuery(asked)).reverse().map(r => r[0])",
        asked,
    )
    assert f"book/{wanted}" in found[:4]
