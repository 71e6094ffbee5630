"""The list of deliberate errors fits the package, and each is put in as listed."""

import dataclasses
import subprocess
import sys

import pytest

from tools import mutants

MUTANTS = mutants.read(mutants.ROOT)
TESTS = mutants.bound_tests()
ROOT = mutants.ROOT
BLOCK = mutants.Mutant("a sum", "a.py", "if x:\n    return mean", "if x:\n    return total", [])


def test_every_error_can_still_be_put_in():
    assert mutants.problems(MUTANTS, TESTS) == []


def test_every_error_changes_something_and_stands_once():
    assert all(mutant.old != mutant.new for mutant in MUTANTS)
    changes = {(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}
    assert len(changes) == len(MUTANTS) == len({mutant.error for mutant in MUTANTS})


def test_a_stale_error_is_named():
    good = MUTANTS[0]
    stale = [
        dataclasses.replace(good, old="a line that the package does not have"),
        dataclasses.replace(good, file="vaebook/nothing.py"),
        dataclasses.replace(good, equations=["eq-that-is-not"]),
    ]
    assert mutants.problems([good, *stale], TESTS) == [
        f"'{good.error}': {good.file} has 0 times: a line that the package does not have",
        f"'{good.error}': vaebook/nothing.py has 0 times: {good.old}",
        f"'{good.error}': no test is bound to eq-that-is-not",
    ]


def test_an_error_is_put_in_at_the_indentation_of_its_lines():
    text = "def f(x):\n    if x:\n        return mean\n    return mean\n"
    assert BLOCK.count(text) == 1
    assert BLOCK.apply(text) == "def f(x):\n    if x:\n        return total\n    return mean\n"


@pytest.mark.parametrize("text", ["return means", "the_return mean", "return mean  # twice"])
def test_a_part_of_a_line_is_not_the_line(text):
    assert dataclasses.replace(BLOCK, old="return mean").count(text) == 0


def test_failures_are_read_from_the_report(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuite><testcase classname="tests.equations.test_a" name="test_x[1]"><failure/>'
        '</testcase><testcase classname="tests.equations.test_a" name="test_y"/></testsuite>'
    )
    assert mutants.failures(report) == {"tests.equations.test_a.test_x"}


def test_its_options_are_told_and_nothing_is_tried():
    """`--help` was once taken for the label of a statement."""
    command = [sys.executable, "-m", "tools.mutants", "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0
    assert said.stdout.startswith("usage: ")


def test_every_command_of_the_project_reads_its_options():
    """Else `--help` would start its work. `test` hands them to pytest; `environment` has none."""
    files = (ROOT / "tools").glob("*.py")
    scripts = {file.stem: text for file in files if '"__main__"' in (text := file.read_text())}
    assert len(scripts) >= 15
    silent = {name for name, text in scripts.items() if "parse_args(" not in text}
    assert silent == {"environment", "test"}
