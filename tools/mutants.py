"""Put deliberate errors into the package, one at a time, and see the bound tests notice.

    python -m tools.mutants [LABEL ...]

``tests/mutants.toml`` lists the errors: which lines become which, and the statements of the book
that are false then. Each error is written into a copy of the project, never into the project, and
the tests bound to its statements are run there: every statement must have one that fails.
``make mutants`` tries all errors; ``python -m tools.mutants eq-iwae`` those of one statement.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.pages.bindings import Binding, scan

ROOT = Path(__file__).resolve().parent.parent
LIST = Path("tests", "mutants.toml")
COPIED = ("vaebook", "tests", "tools", "pyproject.toml")
SECONDS_AT_MOST = 300  # for one error: an endless loop counts as noticed


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One error: the lines `old` of `file` become `new`, and `equations` become false."""

    error: str
    file: str
    old: str
    new: str
    equations: list[str]

    def count(self, text: str) -> int:
        """How often the lines stand in `text`, at whatever indentation."""
        return len(self._pattern().findall(text))

    def apply(self, text: str) -> str:
        """Return `text` with the error in it."""
        return self._pattern().sub(lambda found: textwrap.indent(self.new, found[1]), text)

    def _pattern(self) -> re.Pattern[str]:
        lines = map(re.escape, self.old.splitlines())
        return re.compile("^( *)" + r"\n\1".join(lines) + "$", re.MULTILINE)


def read(root: Path) -> list[Mutant]:
    """Return the errors that the project at `root` lists."""
    entries = tomllib.loads((root / LIST).read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**entry) for entry in entries]


def problems(mutants: list[Mutant], tests: dict[str, list[Binding]]) -> list[str]:
    """Say what is stale: lines that the package no longer has, statements that no test checks."""
    found = []
    for mutant in mutants:
        file = ROOT / mutant.file
        count = mutant.count(file.read_text(encoding="utf-8")) if file.exists() else 0
        if count != 1:
            found.append(f"'{mutant.error}': {mutant.file} has {count} times: {mutant.old}")
        unbound = [label for label in mutant.equations if label not in tests]
        found += [f"'{mutant.error}': no test is bound to {label}" for label in unbound]
    return found


def bound_tests() -> dict[str, list[Binding]]:
    """Return the tests of each statement."""
    tests: dict[str, list[Binding]] = {}
    for binding in scan(ROOT).bindings:
        tests.setdefault(binding.label, []).append(binding)
    return tests


def run(mutant: Mutant | None, bindings: list[Binding]) -> set[str]:
    """Return which of the bound tests fail in a copy of the project with this error, or none."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for part in COPIED:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pyca*"))
            else:
                shutil.copy(ROOT / part, copy / part)
        if mutant is not None:
            file = copy / mutant.file
            file.write_text(mutant.apply(file.read_text(encoding="utf-8")), encoding="utf-8")
        report = copy / "report.xml"
        options = ["-q", "--tb=no", "-p", "no:cacheprovider", f"--junitxml={report}"]
        try:
            subprocess.run(
                [sys.executable, "-m", "pytest", *options, *{test.node_id for test in bindings}],
                cwd=copy,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(copy)},
                capture_output=True,
                timeout=SECONDS_AT_MOST,
            )
            return failures(report)
        except (subprocess.TimeoutExpired, FileNotFoundError):  # FileNotFoundError: pytest crashed
            return set(map(dotted, bindings))


def failures(report: Path) -> set[str]:
    """Return the tests that failed, without their parameters, from pytest's report."""
    return {
        f"{case.attrib['classname']}.{case.attrib['name'].partition('[')[0]}"
        for case in ET.parse(report).iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }


def dotted(binding: Binding) -> str:
    """Return a bound test's name as pytest's report has it."""
    return f"{binding.path.removesuffix('.py')}.{binding.name}".replace("/", ".").replace("::", ".")


def main(labels: list[str]) -> None:
    """Try the errors of these statements, or all, and print what is noticed; fail if one is not."""
    tests, mutants = bound_tests(), read(ROOT)
    if stale := problems(mutants, tests):
        sys.exit(f"{LIST} is stale:\n  " + "\n  ".join(stale))
    listed = {label for mutant in mutants for label in mutant.equations}
    if unknown := set(labels) - listed:
        sys.exit(f"{LIST} has no error for " + ", ".join(sorted(unknown)))
    wanted = set(labels) or listed
    kept = ((m, [label for label in m.equations if label in wanted]) for m in mutants)
    tried = [dataclasses.replace(m, equations=equations) for m, equations in kept if equations]
    bound = [[test for label in m.equations for test in tests[label]] for m in tried]

    if broken := run(None, [test for label in wanted for test in tests[label]]):
        sys.exit(f"These tests fail without any error put in: {sorted(broken)}")
    missed, idle = 0, {dotted(test) for label in wanted for test in tests[label]}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, failed in zip(tried, pool.map(run, tried, bound), strict=True):
            blind = [e for e in mutant.equations if failed.isdisjoint(map(dotted, tests[e]))]
            print("missed" if blind else "caught", mutant.error, *blind, sep="  ", flush=True)
            missed += bool(blind)
            idle -= failed
    print("Bound tests that no error turned red:", *sorted(idle) or ["none"], sep="\n  ")
    if not labels:
        print("Statements without an error:", *sorted(tests.keys() - listed), sep="\n  ")
    sys.exit(f"{missed} of {len(tried)} errors were missed" if missed else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", nargs="*", metavar="LABEL", help="of a statement; else all")
    main(parser.parse_args().labels)
