"""The list of deliberate errors fits the package, and the stored result fits the list."""

import dataclasses
import json

from tools import mutants


def test_every_error_can_still_be_put_in():
    assert mutants.problems() == []


def test_the_stored_result_is_that_of_this_list_and_every_error_was_noticed():
    """Run `make mutants` after a change of the list, and commit tests/mutants.json."""
    stored = json.loads(mutants.RESULT.read_text(encoding="utf-8"))
    assert stored["errors"] == [mutant.error for mutant in mutants.MUTANTS]
    counted = {}
    for mutant in mutants.MUTANTS:
        for label in mutant.equations:
            counted[label] = counted.get(label, 0) + 1
    assert stored["equations"] == {label: [n, n] for label, n in counted.items()}


def test_a_stale_error_is_named(monkeypatch):
    good = mutants.MUTANTS[0]
    moved = dataclasses.replace(good, old="text that the package does not have")
    unbound = dataclasses.replace(good, equations=("eq-that-is-not",))
    monkeypatch.setattr(mutants, "MUTANTS", [good, moved, unbound])
    assert mutants.problems() == [
        f"'{good.error}': {good.file} has 0 times: text that the package does not have",
        f"'{good.error}': no test is bound to eq-that-is-not",
    ]


def test_failures_are_read_from_the_report(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuite><testcase classname="tests.equations.test_a" name="test_x[1]"><failure/>'
        '</testcase><testcase classname="tests.equations.test_a" name="test_y"/></testsuite>'
    )
    assert mutants.failures(report) == {"tests.equations.test_a.test_x"}
