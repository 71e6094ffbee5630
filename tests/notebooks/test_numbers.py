"""No result is typed: a number in the prose is recorded, or a setting, or has a citation."""

import re
from pathlib import Path

import nbformat
import pytest

BOOK = Path(__file__).resolve().parents[2] / "book"
PAGES = [
    path
    for path in sorted([*BOOK.rglob("*.ipynb"), *BOOK.rglob("*.md")])
    if ".ipynb_checkpoints" not in str(path)
]
# Numbers that no run made, and why they may be typed.
ALLOWED = {
    ("appendices/glossary.md", "0.01"): "the conventional threshold of an active unit",
    ("appendices/glossary.md", "2 bits"): "part of the definition of the nat",
    ("practice/discrete_codes.ipynb", "48 times"): "a quotient of published sizes",
    ("practice/discrete_codes.ipynb", "0.8"): "the value of an integral in the exercise",
    ("practice/images.ipynb", "4s"): "four times a scale, in a formula",
}

UNITS = r"(?:\s|\\,|-)*(?:%|\\%|percent|ms|s|seconds?|minutes?|nats?|bits?|[KMG]i?B|times)(?!\w)"
RESULT = re.compile(rf"(?<![\w.§])(?:\d+\.\d+(?!\.?\d)(?:{UNITS})?|\d+(?:,\d{{3}})*{UNITS})")
MEASURED = re.compile(r"(?<![a-z])(?:ms|s|seconds?|minutes?|[KMG]i?B)$")  # never a setting
NUMBER = re.compile(r"(?<![\w.])\d[\d_]*(?:\.\d+)?(?:e-?\d+)?")
FENCE = re.compile(r"^([`:~]{3,})(\{[^}\n]+\})?([^\n]*)\n(.*?)^\1[`:~]*$", re.MULTILINE | re.DOTALL)
SILENT = re.compile(  # roles, code, addresses and HTML
    r"\{(?!cite)[\w:-]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)|https?://\S+|<[^>\s][^>]*>"
)
BLOCKS = re.compile(r"\n\s*\n|(?<=[.!?])\s+(?=[A-Z*_({$\[])|\n(?=\s*(?:[-*#]|\d+\.)\s)")


def readable(text):
    """Return Markdown without what no reader takes for a statement in words."""

    def open_fence(fence):
        directive, title, body = fence.groups()[1:]
        if directive is None or directive.startswith(("{code", "{math", "{figure", "{image")):
            return "\n\n"
        body = re.sub(r"^:\S+:[^\n]*$", "", body, flags=re.MULTILINE)
        if "table" in directive:  # a citation in its title stands for every row
            return "\n\n" + " ".join(f"{title} {body}".split()) + "\n\n"
        return f"\n\n{title}\n\n{FENCE.sub(open_fence, body)}\n\n"

    text = FENCE.sub(open_fence, text)
    text = re.sub(r"\$\$.*?\$\$(?:\s*\([\w-]+\))?", "\n\n", text, flags=re.DOTALL)
    text = re.sub(r"\{cite[:\w]*\}`[^`]*`", "{cite}", text)
    text = re.sub(
        r"\{(?!cite)[\w:-]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)|<[^>\s][^>]*>|https?://\S+", " ", text
    )
    return text.replace("$", "")


def settings(code):
    """Numbers that stand in the code."""
    return {float(number.replace("_", "")) for number in NUMBER.findall(code)}


def typed_results(text, code=""):
    """Yield (number, sentence) for each number in prose that looks like a result."""
    known = settings(code)
    for sentence in BLOCKS.split(readable(text)):
        if "{cite}" not in sentence:
            for found in RESULT.finditer(sentence):
                value = float(NUMBER.match(found[0].replace(",", ""))[0])
                if MEASURED.search(found[0]) or not known & {value, value / 100}:
                    yield found[0].strip(), " ".join(sentence.split())


def cells(path):
    """Prose of a page, cell by cell, and all its code."""
    if path.suffix == ".md":
        return [(1, path.read_text(encoding="utf-8"))], ""
    notebook = nbformat.read(path, as_version=4)
    numbered = list(enumerate(notebook.cells, 1))
    code = "\n".join(cell.source for _, cell in numbered if cell.cell_type == "code")
    return [(n, cell.source) for n, cell in numbered if cell.cell_type == "markdown"], code


def name(path):
    return path.relative_to(BOOK).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=map(name, PAGES))
def test_no_result_is_typed(path):
    prose, code = cells(path)
    found = [
        f"{name(path)}, cell {number}: '{typed}' in: {sentence}"
        for number, text in prose
        for typed, sentence in typed_results(text, code)
        if (name(path), typed) not in ALLOWED
    ]
    advice = "record(name=…) it and show it with {result}`name`, or cite where it was published"
    assert not found, "\n".join([f"\nNumbers that look like results; {advice}.", *found])


def test_every_exception_is_needed():
    """A number that left the book leaves the list."""
    unused = set(ALLOWED)
    for path in PAGES:
        prose, code = cells(path)
        for _, text in prose:
            unused -= {(name(path), typed) for typed, _ in typed_results(text, code)}
    assert not unused


@pytest.mark.parametrize(
    "text",
    [
        "The bound is 84.7 nats.",
        "The bound is $-84.7$.",
        "Training takes 12 seconds.",
        "About 3 % of the digits, or",
        "It is $3\\,\\%$ of them.",
        "1,000 times faster than that.",
        "As {cite}`a` says. The bound is 84.7 nats.",
        "```{exercise} Title\n:label: ex-a\nIt was 84.7 before.\n```",
        ":::{note}\nIt was 84.7 before.\n:::",
        "````{note}\n```{tip}\nIt was 84.7 before.\n```\n````",
        "| model | nats |\n|---|---|\n| VAE | 84.7 |",
    ],
)
def test_a_typed_result_is_seen(text):
    assert len(list(typed_results(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "In 2014, images of 784 pixels and 10 classes.",
        "Burda et al. reach 84.78 nats {cite}`burda2016importance`.",
        "{cite:t}`a` reach 84.78 nats.",
        "It is {result}`nats` nats.",
        "Call `f(0.5)`, see [the page](https://example.org/1.5).",
        "$$\nx = 0.5\n$$ (def-a)\n",
        "```python\nx = 0.5\n```",
        "| model | nats |\n|---|---|\n| VAE {cite}`a` | 84.7 |",
        "```{table} As published {cite}`a`.\n| VAE | 84.7 |\n\n| IWAE | 82.9 |\n```",
        "Section 3.2.1 of it, and version2.5.",
    ],
)
def test_what_is_no_result_passes(text):
    assert list(typed_results(text)) == []


def test_a_setting_of_the_code_may_be_named():
    assert list(typed_results("A rate of 0.001, 5 % of it.", "fit(lr=1e-3, part=0.05)")) == []
    assert len(list(typed_results("A rate of 0.002.", "fit(lr=1e-3)"))) == 1
    assert len(list(typed_results("It takes 12 seconds.", "fit(epochs=12)"))) == 1
