"""Tests bound to equations, found by reading the test files, never by importing them."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Test = ast.FunctionDef | ast.AsyncFunctionDef
DECORATORS_THAT_DISARM = {"skip", "xfail"}
TOLERANCES = {"abs", "rel", "atol", "rtol"}  # of pytest.approx and NumPy
NUMBER = re.compile(r"(\d[\d.]*(?:e-?\d+)?)( %)?")
COUNT_OF_ERRORS = re.compile(r"[\d.]+ standard errors?")


@dataclass(frozen=True)
class Binding:
    """One test, one equation that it checks.

    Attributes
    ----------
    label
        The equation's label, ``eq-…`` or ``def-…``.
    tolerance
        How closely the two sides are compared, as the marker says.
    against
        What the statement is checked against: the first sentence of the docstring.
    path, line, name
        Where the test is: file relative to the project, line, and name for pytest.
    source
        Its text.
    """

    label: str
    tolerance: str
    against: str
    path: str
    line: int
    name: str
    source: str

    @property
    def node_id(self) -> str:
        """The name by which pytest runs it."""
        return f"{self.path}::{self.name}"


@dataclass
class Scan:
    """All bindings of a project, and what is wrong with its marked tests: (place, message)."""

    bindings: list[Binding] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def scan(root: Path, folder: str = "tests") -> Scan:
    """Read every Python file under `folder` of the project at `root`."""
    found = Scan()
    for file in sorted((root / folder).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "mark.equation" not in text:
            continue
        path = file.relative_to(root).as_posix()
        for test, owner in _tests(ast.parse(text, path)):
            _bind(test, owner, path, text.splitlines(), found)
    return found


def _tests(module: ast.Module) -> Iterator[tuple[Test, ast.ClassDef | None]]:
    for statement in module.body:
        if isinstance(statement, Test):
            yield statement, None
        elif isinstance(statement, ast.ClassDef):
            tests = (method for method in statement.body if isinstance(method, Test))
            yield from ((test, statement) for test in tests)


def _bind(test: Test, owner: ast.ClassDef | None, path: str, lines: list[str], found: Scan) -> None:
    decorators = test.decorator_list + (owner.decorator_list if owner else [])
    marks = [mark for mark in decorators if _mark_name(mark) == "equation"]
    is_test = test.name.startswith("test") and (owner is None or owner.name.startswith("Test"))
    if not marks or (not is_test and owner is not None and owner.decorator_list == marks):
        return  # a helper in a marked class
    place = f"{path}:{test.lineno}"
    against = _first_sentence(ast.get_docstring(test) or "")
    if not is_test:
        found.problems.append((place, f"{test.name} is marked but pytest will not collect it"))
    if not against:
        message = "say in the first sentence of its docstring what the equation is checked against"
        found.problems.append((place, f"{test.name} is bound to an equation: {message}"))
    if any(_mark_name(mark) in DECORATORS_THAT_DISARM for mark in decorators):
        message = "a skipped or expected failure checks nothing: remove the mark"
        found.problems.append((place, f"{test.name} is bound to an equation: {message}"))
    first = min([test.lineno, *(mark.lineno for mark in test.decorator_list)])
    source = textwrap.dedent("\n".join(lines[first - 1 : test.end_lineno]))
    name = test.name if owner is None else f"{owner.name}::{test.name}"
    for mark in marks:
        label, tolerance = _arguments(mark)
        if label is None or tolerance is None:
            usage = '@pytest.mark.equation("eq-…", tolerance="1e-12")'
            found.problems.append((place, f"{test.name}: write the marker with literals, {usage}"))
        elif _loosest_used(test) > _loosest_stated(tolerance):
            used = f"a comparison in the test allows {_loosest_used(test):g}"
            found.problems.append((place, f"{test.name} states '{tolerance}', but {used}"))
        else:
            found.bindings.append(
                Binding(label, tolerance, against, path, test.lineno, name, source)
            )


def _mark_name(decorator: ast.expr) -> str | None:
    """Name of a ``pytest.mark.…`` decorator, called or not."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Attribute):
        return function.attr if function.value.attr == "mark" else None
    return None


def _arguments(mark: ast.expr) -> tuple[str | None, str | None]:
    if not isinstance(mark, ast.Call):
        return None, None
    label = _text(mark.args[0]) if len(mark.args) == 1 else None
    keywords = {keyword.arg: _text(keyword.value) for keyword in mark.keywords}
    return label, keywords.get("tolerance")


def _loosest_used(test: Test) -> float:
    """Largest tolerance that is written as a number in the test; 0 without one."""
    calls = (node for node in ast.walk(test) if isinstance(node, ast.Call))
    values = (k.value for call in calls for k in call.keywords if k.arg in TOLERANCES)
    numbers = (value.value for value in values if isinstance(value, ast.Constant))
    return max((number for number in numbers if isinstance(number, float)), default=0.0)


def _loosest_stated(tolerance: str) -> float:
    """Largest number in ``"1e-12; 3 % for the draws"``, other than a count of standard errors."""
    numbers = NUMBER.findall(COUNT_OF_ERRORS.sub("", tolerance))
    largest = max((float(n) / (100 if percent else 1) for n, percent in numbers), default=0.0)
    return largest * (1 + 1e-9)  # 3 / 100 may be below 0.03 in the last digit


def _text(expression: ast.expr) -> str | None:
    value = expression.value if isinstance(expression, ast.Constant) else None
    return value if isinstance(value, str) and value else None


def _first_sentence(docstring: str) -> str:
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    match = re.match(r"(.+?[.!?])(?=\s|$)", paragraph)
    return match.group(1) if match else paragraph
