"""The catalogues of the Chinese edition, and what finds and compares their messages."""

from __future__ import annotations

import json
import re

import pytest

from tools import catalogues, words
from tools.pages.search import SearchChinese

HAN = "[\u3400-\u4dbf\u4e00-\u9fff]"
CATALOGUES = catalogues.names()
# What a reader does not see as text: roles with their targets, code, formulas.
UNSEEN = re.compile(r"`[^`]*`|(?<!\$)\$[^{$][^$]*\$|\$\{\d+\}")


@pytest.fixture(params=CATALOGUES or ["frame"])
def translated(request):
    """A catalogue as pairs of a message and its translation."""
    return {m.id: m for m in catalogues.entries(catalogues.read(request.param))}


def test_every_message_is_translated_and_none_is_a_guess(translated):
    assert [id for id, message in translated.items() if not message.string or message.fuzzy] == []


def test_roles_formulas_placeholders_and_numbers_are_those_of_the_original(translated):
    found = {id: list(catalogues.faults(id, m.string)) for id, m in translated.items()}
    assert {id: faults for id, faults in found.items() if faults} == {}


def test_chinese_punctuation_is_full_width_and_latin_words_stand_apart(translated):
    """No half-width mark behind a Chinese character, and a space on each side of Latin words."""
    wrong = []
    for message in translated.values():
        text = UNSEEN.sub("§", message.string)
        wrong += re.findall(rf".{{0,8}}{HAN}[,;:?!].{{0,8}}", text)
        wrong += re.findall(rf".{{0,8}}(?:{HAN}[A-Za-z0-9]|[A-Za-z0-9%]{HAN}).{{0,8}}", text)
        wrong += re.findall(r".{0,8}[，。；：！？、] .{0,8}", text.replace("** ", "**"))
    assert wrong == []


def test_a_catalogue_is_stored_as_the_command_stores_it():
    for name in CATALOGUES:
        before = catalogues.path_of(name).read_bytes()
        catalogues.store(name, catalogues.read(name))
        assert catalogues.path_of(name).read_bytes() == before, f"run `make messages`: {name}"


@pytest.mark.parametrize(
    ("original", "translation", "fault"),
    [
        ("See {term}`ELBO`.", "参见 {term}`证据下界 <ELBO>`。", None),
        ("See {term}`ELBO`.", "参见证据下界。", "{term}`elbo`"),
        ("About {result}`a` nats", "约 {result}`b` 奈特", "{result}`a`"),
        ("The mean $\\mu$", "均值 $\\nu$", "$\\mu$"),
        ("$a$ and $a$", "两个 $a$", None),
        ("$p_{\\text{data}} = \\text{one}$", "$p_{\\text{data}} = \\text{一}$", None),
        ("20,000 draws", "抽样 2,000 次", "20,000"),
        ("${0} of ${1}", "共 ${1} 个中的 ${0} 个", None),
        ("${0} of ${1}", "${0}", "${1}"),
        ("Call `fit`", "调用 `fit()`", "`fit`"),
    ],
)
def test_what_a_translation_may_not_change(original, translation, fault):
    found = list(catalogues.faults(original, translation))
    assert (found == []) if fault is None else any(fault in text for text in found)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogues, "FOLDER", tmp_path)


def test_an_edited_sentence_is_outdated_and_a_new_one_new(folder):
    old = "A long sentence about the bound."
    catalogues.update("book/page", [old, "One more."])
    catalogue = catalogues.read("book/page")
    catalogue[old].string, catalogue["One more."].string = "关于下界的长句。", "还有一句。"
    catalogues.store("book/page", catalogue)
    new = ["A long sentence about this bound.", "Quite another.", "One more."]
    left = catalogues.update("book/page", new)
    assert left == [f"outdated: “{new[0]}”", f"new: “{new[1]}”"]
    text = catalogues.path_of("book/page").read_text(encoding="utf-8")
    assert f'#, fuzzy\n#| msgid "{old}"\nmsgid "{new[0]}"' in text
    assert catalogues.translations("book/page") == {"One more.": "还有一句。"}
    assert catalogues.update("book/page", ["One more."]) == []


def test_a_table_of_pages_needs_no_list(folder):
    catalogues.update("book/part/page", ["Words"])
    catalogues.update("figures/one", ["Words"])
    assert catalogues.pages() == {"book/part/page"}


# ---- words that are not prose ----

SCRIPT = """
// a comment "with words"
make("div", parent, { class: "vaebook-title" }, "draw a digit");
const label = `At ${format(x)} there are ` +
  `${n} draws.`;
legend: [["prior", colour.blue], ["q(z), yours", colour.ink]], slider: "mean", label: "mean of q"
on("pointerdown", () => `translate(${x}px)`)
style: "width: 100%; cursor: pointer; " + "outline: 1px solid", numbers: ["gap: what is left", 1]
fill: "none", name: word("p-value")
"""


def test_messages_of_a_script_are_what_readers_see():
    found = ["draw a digit", "At ${0} there are ${1} draws.", "prior", "q(z), yours", "mean of q"]
    found += ["gap: what is left", "p-value"]
    assert words.in_script(SCRIPT) == found


def test_a_translated_script_keeps_its_expressions():
    known = {"At ${0} there are ${1} draws.": "${1} 个样本，位于 ${0}。", "prior": "先验"}
    script = words.translate_script(SCRIPT, known)
    assert "const label = `${n} 个样本，位于 ${format(x)}。`;" in script
    assert "[[`先验`, colour.blue]" in script
    assert 'slider: "mean"' in script


def test_a_text_made_of_messages_is_translated():
    known = {"At ${0} there are ${1} draws.": "${1} 个样本，位于 ${0}。"}
    text = words.translate_text("At 0.5 there are 10 draws.", known)
    assert text == "10 个样本，位于 0.5。"


DRAWING = """<g id="text_1">
 <!-- a chord -->
 <g style="fill: #000" transform="translate(10 20) scale(0.1 -0.1)">
  <defs><path id="A-1" d=""/></defs>
  <use xlink:href="#A-1"/>
  <use xlink:href="#A-1" transform="translate(60 0)"/>
 </g>
</g>
<!-- $x^2$ -->
<!-- 0.25 -->"""


def test_labels_of_a_drawing_are_replaced_and_its_outlines_kept():
    assert words.in_drawing(DRAWING) == ["a chord"]
    assert words.in_drawing(DRAWING.replace("A-1", "DejaVuSansMono-61")) == []
    drawing = words.translate_drawing(DRAWING, {"a chord": "弦"})
    for part in (">弦</text>", '<path id="A-1" d=""/>', "font: 10px", 'x="6"'):
        assert part in drawing
    assert "<use" not in drawing


def test_a_label_keeps_its_end_at_a_tick_and_its_beginning_in_a_legend():
    """The name of an axis stands behind the last tick, turned."""
    turned = DRAWING.replace("(10 20) ", "(5 20) rotate(-90) ")
    tick = f'<g id="ytick_1">{DRAWING}</g>'
    for drawing, anchor in (
        (tick, "end"),
        (f'<g id="ytick_1"></g>{turned}', "middle"),
        (f'<g id="ytick_1"><g id="text_1"></g></g>{DRAWING}', "middle"),
        (f'<g id="legend_1"/>{DRAWING}', "start"),
    ):
        said = words.translate_drawing(drawing, {"a chord": "弦"})
        assert f"text-anchor: {anchor}" in said
    assert 'x="12"' in words.translate_drawing(tick, {"a chord": "弦"})


def test_words_in_a_formula_but_not_its_indices():
    latex = r"p_{\text{data}} = 0 \text{ for every } x"
    assert words.in_maths(latex) == ["for every"]
    assert words.replace_in_maths(latex, "for every", "对每个") == (
        r"p_{\text{data}} = 0 \text{ 对每个 } x"
    )


def test_chinese_is_found_by_two_characters_at_a_time():
    split = SearchChinese({}).split
    assert split("证据下界 ELBO，即界") == ["证据", "据下", "下界", "ELBO", "即界"]
    assert split("在 x 处") == ["在", "x", "处"]


STATE = (
    '<div data-figure="tree">'
    '<script type="application/json">{"models": [{"name": "oak", "shown": "oak"}], '
    '"names": {"other": "a \\u003c b"}, "sizes": [0.1, 1e-07], "unit": "m"}</script></div>'
)


def test_names_in_the_state_of_a_live_figure_are_replaced_and_its_entries_kept():
    """What the script looks up or compares is the same; what it shows is not."""
    assert words.in_state(STATE) == ["oak"]
    translated = words.replace_in_state(STATE, "oak", "栎树 </b>")
    entries = json.loads(translated.partition('json">')[2].partition("</script>")[0])
    assert entries["models"] == [{"name": "栎树 </b>", "shown": "oak"}]
    assert entries["names"] == {"other": "a < b"}
    assert words.replace_in_state(translated, "栎树 </b>", "oak") == STATE
