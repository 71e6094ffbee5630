"""Words that are not prose: in formulas, in drawn figures, in live figures and their states."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

NEEDS_SCRIPT = (
    ". It needs JavaScript; in a running notebook, add <code>.widget()</code> to this cell."
)

# ---- formulas: words in a line of LaTeX, but not those that are an index ----

IN_MATHS = re.compile(r"(?<![_^]\{)\\text\{([^{}]*[^\W\d_]{2}[^{}]*)\}")


def in_maths(latex: str) -> list[str]:
    """Return the words in a displayed formula, without the space around them."""
    return [text.strip() for text in IN_MATHS.findall(latex)]


def replace_in_maths(latex: str, of: str, to: str) -> str:
    """Replace words in a displayed formula; the space around them stays."""
    pattern = re.compile(rf"(?<![_^]\{{)(\\text\{{\s*){re.escape(of)}(\s*\}})")
    return pattern.sub(lambda match: match[1] + to + match[2], latex)


# ---- drawings: Matplotlib writes a label as outlines, and the label itself as a comment ----

LABEL = re.compile(
    r"<!-- (?P<text>[^\n]*?) -->\s*"
    r'<g style="(?P<style>[^"]*)" transform="(?P<place>[^"]*?) ?'
    r'scale\((?P<scale>[\d.]+) -[\d.]+\)">(?P<glyphs>.*?)\n\s*</g>',
    re.DOTALL,
)
DEFINITIONS = re.compile(r"<defs>.*?</defs>", re.DOTALL)
GLYPH = re.compile(r'<use xlink:href="#[^"]*"(?: transform="translate\(([-\d.]+) [-\d.]+\)")?/>')
UNITS = 100.0  # of a glyph's place, to one size of the font
FONTS = "'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', sans-serif"


def in_drawing(drawing: str) -> list[str]:
    """Return the labels in a drawing that have a word.

    Formulas are none, nor is what a fixed-width font says to be data: words that a model drew.
    """
    labels = (match for match in LABEL.finditer(drawing) if "Mono-" not in match["glyphs"])
    texts = dict.fromkeys(html.unescape(match["text"]) for match in labels)
    return [text for text in texts if is_label(text)]


def is_label(text: str) -> bool:
    """Tell whether a label has a word that is no formula."""
    return "$" not in text and re.search(r"[^\W\d_]{3}", text) is not None


def translate_drawing(drawing: str, known: dict[str, str]) -> str:
    """Return a drawing with the labels that are known in another language.

    A label keeps its middle; in a legend, or where others begin below or above it, its beginning;
    at a tick of the vertical axis, its end.
    """
    legends = [match.start() for match in re.finditer(r'<g id="legend_', drawing)]
    columns = Counter(match["place"].partition(" ")[0] for match in LABEL.finditer(drawing))

    def replace(match: re.Match[str]) -> str:
        text = known.get(html.unescape(match["text"]))
        if text is None or text == html.unescape(match["text"]):
            return match[0]
        places = [float(place or 0) for place in GLYPH.findall(match["glyphs"])]
        width = max(places, default=0) + 0.6 * UNITS
        size = float(match["scale"]) * UNITS
        in_column = columns[match["place"].partition(" ")[0]] > 1
        if _is_at_a_tick(drawing, match):
            anchor, share = "end", 1.0
        elif in_column or any(start < match.start() for start in legends):
            anchor, share = "start", 0.0
        else:
            anchor, share = "middle", 0.5
        at = share * width * size / UNITS
        kept = "".join(DEFINITIONS.findall(match["glyphs"]))
        style = f"{match['style']}; font: {size:.4g}px {FONTS}; text-anchor: {anchor}"
        label = f'<text x="{at:.4g}" style="{style}">{html.escape(text)}</text>'
        return f'<g transform="{match["place"]}">{kept}{label}</g>'

    return LABEL.sub(replace, drawing)


def _is_at_a_tick(drawing: str, label: re.Match[str]) -> bool:
    """Tell whether a label is the text of a tick of the vertical axis."""
    tick = drawing.rfind('<g id="ytick_', 0, label.start())
    is_first = tick >= 0 and drawing.count('<g id="text_', tick, label.start()) == 1
    return is_first and "rotate" not in label["place"]


# ---- scripts of live figures: the strings that a reader sees or hears ----

PIECE = r'"(?:[^"\\\n]|\\.)*"|`(?:[^`\\$]|\\.|\$\{(?:[^{}`]|\{[^{}]*\})*\}|\$)*`'
TOKEN = re.compile(
    rf"//[^\n]*|/\*.*?\*/|(?P<string>(?:{PIECE})(?:\s*\+\s*(?:{PIECE}))*)", re.DOTALL
)
ONE_PIECE = re.compile(PIECE)
EXPRESSION = re.compile(r"\$\{((?:[^{}`]|\{[^{}]*\})*)\}")
# A single small word is shown where one of these stands before it, or behind it.
BEFORE = re.compile(
    r"\b(?:label|title|text|button|play|step)\s*:\s*\[?\s*$"
    r'|\[\s*(?:[\d.-]+|"[^"]* [^"]*")\s*,\s*$|"[^"\n]* [^"\n]*",\s*$'
)
BEHIND = re.compile(r"\s*,\s*(?:colour\.|format\(|nats\(|`)")
TECHNICAL = re.compile(
    r"(?:[a-z]+(?:-[a-z]+)+|[a-z-]+:.*(?:;|var\(|\$\{).*|[a-z]+:\S.*|var\(.*|\(prefers.*|https?:.*"
    r"|\[.*\]|[A-Z]\w*[A-Z]\w*|use strict|.*\dpx.*)"
)


def in_script(script: str) -> list[str]:
    """Return the messages of a live figure's script; an expression in one is ``${0}``, ``${1}``."""
    return list(dict.fromkeys(message for _, message, _ in _strings(script)))


def translate_script(script: str, known: dict[str, str]) -> str:
    """Return a script with its messages in another language."""
    done, pieces = 0, []
    for match, message, expressions in _strings(script):
        if text := known.get(message):
            quoted = text.replace("\\", "\\\\").replace("`", "\\`")
            quoted = _fill(quoted, [f"${{{expression}}}" for expression in expressions])
            pieces += [script[done : match.start()], f"`{quoted}`"]
            done = match.end()
    return "".join([*pieces, script[done:]])


def translate_text(text: str, known: dict[str, str]) -> str:
    """Return a text made of a script's messages in another language."""
    for message in sorted(known, key=len, reverse=True):
        if is_sentence(message):
            pattern = re.sub(r"\\\$\\\{\d+\\\}", "(.+?)", re.escape(message))
            fill = partial(_fill_match, known[message])
            text = re.sub(rf"{pattern}(?=$|[\s.])", fill, text)
    return text


def is_sentence(message: str) -> bool:
    """Tell whether a message is long enough to be found in a text by its words."""
    return len(re.sub(r"\$\{\d+\}", "", message)) > 6


def _fill_match(message: str, match: re.Match[str]) -> str:
    return _fill(message, match.groups())


def _fill(message: str, values: Sequence[str]) -> str:
    return re.sub(r"\$\{(\d+)\}", lambda match: values[int(match[1])], message)


def _strings(script: str) -> Iterator[tuple[re.Match[str], str, list[str]]]:
    for match in TOKEN.finditer(script):
        if match["string"]:
            message, expressions = _message(match["string"])
            if _is_shown(message, script[: match.start()][-60:], script[match.end() :][:20]):
                yield match, message, expressions


def _message(string: str) -> tuple[str, list[str]]:
    expressions: list[str] = []

    def number(match: re.Match[str]) -> str:
        expressions.append(match[1])
        return f"${{{len(expressions) - 1}}}"

    text = "".join(piece[1:-1] for piece in ONE_PIECE.findall(string))
    text = re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), text)
    return EXPRESSION.sub(number, text), expressions


def _is_shown(message: str, before: str, behind: str) -> bool:
    bare = re.sub(r"\$\{\d+\}", "", message)
    if before.endswith("word(") or re.match(r"\s*,\s*colour\.", behind):  # marked; a legend
        return True
    if not re.search(r"[^\W\d_]{2}", bare) or TECHNICAL.fullmatch(message):
        return False
    is_text = re.search(r"[^\W\d_]\s|\s[^\W\d_]", bare) and re.search(r"[^\W\d_]{3}", bare)
    placed = BEFORE.search(before) or BEHIND.match(behind)
    return bool(is_text or bare[:1].isupper() or placed)


# ---- states of live figures: what entries of these names hold is shown, and compared with nothing

NAMING = {"label", "labels", "name", "names", "states", "symbols", "unit"}
STATE = re.compile(r'(?<=<script type="application/json">)[^<]+(?=</script>)')


def in_state(markup: str) -> list[str]:
    """Return the names in the state of a live figure, given the HTML that its cell has left."""
    states = map(json.loads, STATE.findall(markup))
    return list(dict.fromkeys(part[at] for state in states for part, at in _names(state)))


def replace_in_state(markup: str, of: str, to: str) -> str:
    """Replace a name in the state of a live figure; what the state calls its entries stays."""

    def replace(match: re.Match[str]) -> str:
        state = json.loads(match[0])
        for part, at in _names(state):
            part[at] = to if part[at] == of else part[at]
        return json.dumps(state, sort_keys=True).replace("<", "\\u003c")

    return STATE.sub(replace, markup)


def _names(part: Any, named: bool = False) -> Iterator[tuple[Any, Any]]:
    entries = part.items() if isinstance(part, dict) else enumerate(part)
    for at, entry in entries:
        is_name = named or at in NAMING
        if isinstance(entry, dict | list):
            yield from _names(entry, is_name)
        elif is_name and isinstance(entry, str) and re.search(r"[^\W\d_]{2}", entry):
            yield part, at


def short_checksum(text: str) -> str:
    """Return a name for a text that changes with it."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
