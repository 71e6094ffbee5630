"""Compare the stored outputs of a cell with new ones: words exactly, numbers within tolerances.

A number is compared exactly, unless the metadata of its cell states a tolerance for it::

    "vaebook": {"within": 0.3}                              every number of the cell
    "vaebook": {"within": {"nats": 0.3, "share": "2 %"}}    numbers by what stands at them

An absolute tolerance is a number, a relative one a percentage of the stored value. A tolerance
never means less than one unit of the last printed digit: a value at a rounding border prints either
way. Seconds and memory are what the machine makes them, so that ``{"seconds": "seconds"}`` or
``{"memory": "memory"}`` exempts them; no other number can be exempt.

Words that a trained model drew come out otherwise on another machine. A cell that shows them is
tagged nbval-ignore-output, and nothing else: it is not compared, and may hold no number.

What stands at a printed number is looked for from near to far: the words before it; the unit
behind it; the heading of its column; the beginning of its line, if no other words stand between.
What stands at a recorded value (:func:`vaebook.results.record`) is its name, or a pattern such as
``nats_*``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import NamedTuple

from nbformat import NotebookNode

from tools.normalise import normalise_outputs

NUMBER = re.compile(
    r"""
    (?: (?<![\w.)\]]) [-+−] )?                      # a sign, but neither a hyphen nor a difference
    (?<![\w.])
    (?:
        (?: \d{1,3} (?:,\d{3})+ (?!\d) | \d+ )      # 19,095 or 19095
        (?: \.\d* )?
      | \.\d+
    )
    (?: [eE][-+]?\d+ )?
  | (?: (?<![\w.)\]]) [-+−] )? (?<![\w.]) (?:nan|inf) (?!\w)
    """,
    re.VERBOSE,
)
TOLERANCE = re.compile(r"(\d+\.?\d*(?:e-?\d+)?)( ?%)?")
SEPARATOR = re.compile(r"[^\w\s%'-]|\s\s")
EXEMPT = {
    "seconds": re.compile(r"seconds|minutes|hours|days|years"),
    "memory": re.compile(r"memory|bytes|[KMG]i?B"),
}
ALL = "*"
IGNORED = "nbval-ignore-output"


@dataclass(frozen=True)
class Tolerance:
    """How far a new number may lie from the stored one."""

    stated: str = "exact"
    absolute: Decimal = Decimal(0)
    relative: Decimal = Decimal(0)

    def allowed(self, stored: str, new: str) -> Decimal | None:
        """Return the largest difference of two printed numbers; None for any."""
        if self.stated in EXEMPT:
            return None
        if self == EXACT:
            return Decimal(0)
        last_digit = max(unit_of_last_digit(stored), unit_of_last_digit(new))
        return max(self.absolute, self.relative * abs(value(stored)), last_digit)

    def accepts(self, stored: str, new: str) -> bool:
        """Tell whether a printed number is near enough to the stored one."""
        if self == EXACT or not (value(stored).is_finite() and value(new).is_finite()):
            return stored == new
        allowed = self.allowed(stored, new)
        return allowed is None or abs(value(stored) - value(new)) <= allowed


EXACT = Tolerance()


def value(number: str) -> Decimal:
    """Return what a printed number says."""
    return Decimal(number.replace(",", "").replace("−", "-"))


def unit_of_last_digit(number: str) -> Decimal:
    """Return 0.1 for 84.7, 1 for 19,095 and 10,000 for 1.2e+05."""
    exponent = value(number).as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)


def read_tolerance(stated: object, key: str = ALL) -> Tolerance:
    """Read one tolerance.

    Raises
    ------
    ValueError
        If it is none, or exempts something that is neither seconds nor memory.
    """
    if isinstance(stated, str) and stated in EXEMPT:
        if not EXEMPT[stated].search(key):
            raise ValueError(
                f"only {stated} may be exempt, and '{key}' does not say that it is {stated}: "
                "state a tolerance, or name the unit"
            )
        return Tolerance(stated)
    found = TOLERANCE.fullmatch(str(stated))
    if isinstance(stated, bool) or not found or float(found[1]) == 0:
        raise ValueError(
            f'a tolerance is a number such as 0.3, a percentage such as "2 %", "seconds" or '
            f'"memory", not {stated!r}'
        )
    size = Decimal(found[1])
    if found[2]:
        return Tolerance(str(stated), relative=size / 100)
    return Tolerance(str(stated), absolute=size)


def read_tolerances(cell: NotebookNode) -> dict[str, Tolerance]:
    """Return what the metadata of a cell states, by what stands at the numbers."""
    stated = cell.metadata.get("vaebook", {}).get("within", {})
    if not isinstance(stated, Mapping):
        stated = {ALL: stated}
    return {key: read_tolerance(tolerance, key) for key, tolerance in stated.items()}


# --- the numbers of an output -----------------------------------------------------------------


class Number(NamedTuple):
    """A printed number, where it stands, and the key of its tolerance."""

    text: str
    place: str
    key: str | None


class Text(NamedTuple):
    """A text that a cell shows, or a value that it records under a name."""

    place: str
    text: str
    name: str = ""

    def numbers(self, keys: Iterable[str]) -> list[list[Number]]:
        """Return its numbers, line by line, each with the key that names it."""
        headings: list[str] = []
        lines: list[list[Number]] = []
        for row, line in enumerate(self.text.splitlines(), 1):
            place = self.place if self.name else f"{self.place}, line {row}"
            found = list(NUMBER.finditer(line))
            lines.append([])
            for i, number in enumerate(found):
                before, behind = neighbours(line, found, i)
                if self.name:
                    key = next((key for key in keys if fnmatchcase(self.name, key)), None)
                else:
                    key = nearest(keys, before, behind, number, headings)
                lines[-1].append(Number(number[0], f"{place}, number {i + 1}", key))
            if not found:
                headings.append(line)
        return lines


def neighbours(line: str, found: list[re.Match[str]], i: int) -> tuple[str, str]:
    """Return the words before number ``i`` of a line, and its unit.

    What stands between two numbers is divided at the first sign or wide space.
    """
    before = line[found[i - 1].end() if i else 0 : found[i].start()]
    behind = line[found[i].end() : found[i + 1].start() if found[i + 1 :] else None]
    if i and (separator := SEPARATOR.search(before)):
        before = before[separator.start() :]
    return before, SEPARATOR.split(behind, 1)[0]


def nearest(
    keys: Iterable[str], before: str, behind: str, number: re.Match[str], headings: list[str]
) -> str | None:
    """Return the key that stands nearest to a printed number."""

    def heads(key: str) -> bool:
        columns = (found.span() for text in headings for found in as_words(key).finditer(text))
        return any(left < number.end() and number.start() < right for left, right in columns)

    line_before = number.string[: number.start()].lstrip()
    has_own_words = number.start() > len(before) and re.search(r"[^\W\d]", before)
    rules: list[Callable[[str], object]] = [
        lambda key: as_words(key).search(before),
        lambda key: as_words(key).search(behind),
        heads,
        lambda key: not has_own_words and as_words(key).match(line_before),
        lambda key: key == ALL,
    ]
    return next((key for rule in rules for key in keys if rule(key)), None)


def as_words(key: str) -> re.Pattern[str]:
    """Return a pattern that finds a key, however it is spaced, but not within a longer word."""
    words = " +".join(map(re.escape, key.split()))
    return re.compile(rf"(?<!\w){words}(?!\w)")


def texts(outputs: list[NotebookNode]) -> Iterator[Text]:
    """Yield what a cell shows, in the form in which it is stored, and what it records."""
    for number, output in enumerate(normalise_outputs(outputs), 1):
        place = f"output {number}"
        if output.output_type == "stream":
            yield Text(place, output.text)
        elif output.output_type == "error":
            yield Text(place, f"{output.ename}: {output.evalue}")
        elif results := output.metadata.get("scrapbook", {}).get("results"):
            for name, shown in sorted(results.items()):
                yield Text(f"recorded {name}", shown, name)
        else:
            for kind, shown in sorted(output.data.items()):
                yield Text(f"{place}, {kind}", str(shown))


def names_nothing(cell: NotebookNode) -> list[str]:
    """Return the tolerances of a cell at which no stored number stands."""
    keys = read_tolerances(cell)
    lines = [line for text in texts(cell.outputs) for line in text.numbers(keys)]
    return sorted(set(keys) - {number.key for line in lines for number in line})


# --- the comparison ---------------------------------------------------------------------------


def differences(cell: NotebookNode, outputs: list[NotebookNode]) -> list[str]:
    """Compare the stored outputs of a cell with new ones.

    Parameters
    ----------
    cell
        The cell as it is stored: its outputs, and its tolerances in its metadata.
    outputs
        The outputs of a run of the same cell.

    Returns
    -------
    list of str
        A message for each difference beyond its tolerance.
    """
    if cell.metadata.get("tags") == [IGNORED]:
        return []
    tolerances = read_tolerances(cell)
    stored, new = list(texts(cell.outputs)), list(texts(outputs))
    if [text.place for text in stored] != [text.place for text in new]:
        return [
            "other outputs than stored\n"
            f"    stored: {', '.join(text.place for text in stored) or 'none'}\n"
            f"    new:    {', '.join(text.place for text in new) or 'none'}"
        ]
    return [
        message
        for before, after in zip(stored, new, strict=True)
        for message in compare_texts(before, after, tolerances)
    ]


def compare_texts(stored: Text, new: Text, tolerances: Mapping[str, Tolerance]) -> Iterator[str]:
    """Yield a message for each difference between two texts."""
    lines, new_lines = stored.text.splitlines(), new.text.splitlines()
    if len(lines) != len(new_lines):
        both = (textwrap.indent(text.text.rstrip("\n"), " " * 8) for text in (stored, new))
        yield "{}: {} lines stored, {} new\n    stored:\n{}\n    new:\n{}".format(
            stored.place, len(lines), len(new_lines), *both
        )
        return
    widths = [[len(found) for found in NUMBER.findall(text.text)] for text in (stored, new)]
    aligned = widths[0] == widths[1]
    everything = zip(lines, new_lines, stored.numbers(tolerances), strict=True)
    for row, (line, new_line, numbers) in enumerate(everything, 1):
        shown = f"\n    stored: {line}\n    new:    {new_line}"
        if without_numbers(line, aligned) != without_numbers(new_line, aligned):
            yield f"{stored.place}, line {row}: other words{shown}"
            continue
        for number, found in zip(numbers, NUMBER.findall(new_line), strict=True):
            tolerance = EXACT if number.key is None else tolerances[number.key]
            if not tolerance.accepts(number.text, found):
                stated = "exact" if number.key is None else f"within {tolerance.stated}"
                yield f"{number.place}: {number.text} is stored, {found} is new, {stated}{shown}"


def without_numbers(line: str, aligned: bool) -> str:
    """Return a line without its numbers and, if their widths changed, what aligned them."""
    spaces = "" if aligned else " *"
    return re.sub(rf"{spaces}\0{spaces}", "\0", NUMBER.sub("\0", line))
