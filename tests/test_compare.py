"""What counts as the same output: words exactly, numbers within the tolerance that is stated."""

import pytest
from nbformat.v4 import new_code_cell, new_output

from tools.compare import NUMBER, differences, names_nothing, read_tolerance, read_tolerances
from tools.spread import EXACT, verdict


def cell(text, within=None):
    """Return a stored cell that printed a text."""
    metadata = {} if within is None else {"vaebook": {"within": within}}
    outputs = [new_output("stream", name="stdout", text=text)]
    return new_code_cell("show()", metadata=metadata, outputs=outputs, execution_count=1)


def same(stored, new, within=None):
    return not differences(cell(stored, within), cell(new).outputs)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("84.7 nats ± 0.3, 19,095 of 60000", ["84.7", "0.3", "19,095", "60000"]),
        ("-4.04, +0.5, −6 and 10^-889", ["-4.04", "+0.5", "−6", "10", "-889"]),
        ("1.2e+05 or 3e-4, .5", ["1.2e+05", "3e-4", ".5"]),
        ("94% 94 % 12s (0.1)", ["94", "94", "12", "0.1"]),
        ("[0.   0.21 1.  ] [-inf nan]", ["0.", "0.21", "1.", "-inf", "nan"]),
        ("N-1, x2, 2-3, information, nano, v1.2.3", ["1", "2", "3"]),
    ],
)
def test_what_is_a_number(text, numbers):
    assert NUMBER.findall(text) == numbers


def test_a_number_is_exact_by_default():
    assert same("84.7 nats", "84.7 nats")
    assert not same("84.7 nats", "84.8 nats")
    assert not same("84.70 nats", "84.7 nats")


@pytest.mark.parametrize("within", [0.3, "0.3", {"nats": 0.3}, {"NLL": 0.3}, {"*": 0.3}])
def test_an_absolute_tolerance_is_kept_to_the_digit(within):
    assert same("NLL 84.7 nats", "NLL 85.0 nats", within)
    assert same("NLL 84.7 nats", "NLL 84.4 nats", within)
    assert not same("NLL 84.7 nats", "NLL 85.1 nats", within)


def test_a_relative_tolerance_is_a_share_of_the_stored_value():
    assert same("ratio -5,000", "ratio -5,100", "2 %")
    assert not same("ratio -5,000", "ratio -5,101", "2%")


@pytest.mark.parametrize("within", [0.001, "1 %"])
def test_a_tolerance_is_no_less_than_the_last_printed_digit(within):
    """0.125 and 0.124999 print as 0.13 and 0.12."""
    assert same("0.12", "0.13", within)
    assert not same("0.12", "0.14", within)
    assert same("1.2e+05", "1.3e+05", within)


def test_other_words_are_a_difference_whatever_the_tolerance():
    assert not same("84.7 nats", "84.7 bits", 5)
    assert not same("better: True", "better: False", 5)
    assert not same("84.7 nats", "84.7 and 3 nats", 5)
    assert not same("84.7 nats\n", "84.7 nats\n84.7 nats\n", 5)
    assert not same("2 0", "20", 50)


def test_spaces_that_align_numbers_of_other_widths_are_none():
    assert same("a    9.9   x\nb  100.0   x", "a   10.1   x\nb   99.8   x", 0.5)
    assert not same("a    9.9   x", "a    9.9  x", 0.5)
    assert not same("a 9.9 x y", "a 10.1 x  y", 0.5)


@pytest.mark.parametrize("other", ["nan", "inf", "-inf"])
def test_no_tolerance_reaches_what_is_not_finite(other):
    assert same(f"{other} nats", f"{other} nats", 5)
    assert not same("1.0 nats", f"{other} nats", 5)
    assert not same(f"{other} nats", "1.0 nats", 5)


TABLE = """\
          gap   seconds   ESS
plain    4.20      1.32    12
final    1.95     10.70   120
error of the mean 0.3 ± 0.1 nats
width  0.01: 24.4
bound 2.5 nats, entropy 7.1, or 9.1 nats a bounded point
"""


@pytest.mark.parametrize(
    ("within", "accepted", "refused"),
    [
        ({"gap": 0.1}, [("4.20", "4.30"), ("1.95", "2.05")], [("1.32", "1.33"), ("120", "121")]),
        ({"plain": 0.1}, [("4.20", "4.30"), ("1.32", "1.42")], [("1.95", "2.05")]),
        ({"seconds": "seconds"}, [("1.32", "99.00"), ("10.70", "0.01")], [("4.20", "4.21")]),
        ({"±": 0.1}, [("± 0.1", "± 0.2")], [("0.3 ±", "0.4 ±")]),
        ({"nats": 0.1}, [("± 0.1", "± 0.2")], [("0.3 ±", "0.4 ±")]),
        ({"lain": 0.1, "ga": 0.1, "na": 0.1}, [], [("4.20", "4.30"), ("1.95", "2.05")]),
        ({"width 0.01": 1}, [("24.4", "25.4")], [("0.01:", "0.02:")]),
        ({"bound": 0.1}, [("2.5", "2.6")], [("7.1", "7.2"), ("9.1", "9.2")]),
        ({"mean": 0.1}, [("0.3 ±", "0.4 ±")], [("± 0.1", "± 0.2")]),
        ({"ESS": 5, "plain": 0.1}, [(" 12\n", " 17\n")], [("4.20", "4.31"), ("  120", "  126")]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_tolerance_belongs_to_what_stands_nearest(within, accepted, refused):
    """The words before a number or its unit, its column, its line."""
    for old, new in accepted:
        assert same(TABLE, TABLE.replace(old, new), within)
    for old, new in refused:
        assert TABLE.replace(old, new) != TABLE
        assert not same(TABLE, TABLE.replace(old, new), within)


@pytest.mark.parametrize(
    ("tags", "n_messages"),
    [
        (["nbval-ignore-output"], 0),
        ([], 1),
        (["nbval-check-output"], 1),
        (["nbval-check-output", "nbval-ignore-output"], 1),
    ],
)
def test_words_that_a_model_drew_are_not_compared_if_their_cell_says_no_more(tags, n_messages):
    stored = cell("fishswimfood")
    stored.metadata.tags = tags
    assert len(differences(stored, cell("fislswimfood").outputs)) == n_messages


def recorded(within=None, **values):
    output = new_output("display_data", {"text/plain": "shown"})
    output.metadata.scrapbook = {"name": ", ".join(values), "results": values}
    metadata = {} if within is None else {"vaebook": {"within": within}}
    return new_code_cell("record()", metadata=metadata, outputs=[output], execution_count=1)


def test_recorded_values_are_compared_by_name():
    stored = recorded({"nats_*": 0.3, "fit_seconds": "seconds"}, nats_a="84.7", fit_seconds="9")
    assert not differences(stored, recorded(nats_a="85.0", fit_seconds="120").outputs)
    (message,) = differences(stored, recorded(nats_a="85.1", fit_seconds="9").outputs)
    assert "recorded nats_a, number 1: 84.7 is stored, 85.1 is new, within 0.3" in message
    assert not differences(stored, recorded(fit_seconds="9", nats_a="84.7").outputs)
    (message,) = differences(stored, recorded(nats_a="84.7").outputs)
    assert "other outputs than stored" in message
    assert "recorded fit_seconds" in message


def test_a_message_shows_place_values_tolerance_and_lines():
    (message,) = differences(
        cell("a\nNLL 84.7 nats", {"NLL": 0.3}), cell("a\nNLL 85.1 nats").outputs
    )
    assert message == (
        "output 1, line 2, number 1: 84.7 is stored, 85.1 is new, within 0.3\n"
        "    stored: NLL 84.7 nats\n"
        "    new:    NLL 85.1 nats"
    )
    (message,) = differences(cell("84.7 nats"), cell("84.7 bits").outputs)
    assert message.startswith("output 1, line 1: other words\n    stored: 84.7 nats\n")
    (message,) = differences(cell("a\n"), cell("a\nb\n").outputs)
    assert message.startswith("output 1: 1 lines stored, 2 new\n")


def test_what_is_not_stored_is_not_compared():
    """Images, HTML that runs scripts, standard error and addresses."""
    stored = cell("x\n")
    shown = {"image/svg+xml": "<svg/>", "text/html": "<script>", "text/plain": "<A at 0x7f0123ab>"}
    stored.outputs.append(new_output("display_data", {"text/plain": "<A at 0x0>"}))
    new = [
        new_output("stream", name="stderr", text="warning"),
        new_output("stream", name="stdout", text="x\n"),
        new_output("display_data", shown),
    ]
    assert differences(stored, new) == []
    new.append(new_output("error", ename="ValueError", evalue="x", traceback=[]))
    assert len(differences(stored, new)) == 1


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ("about 3", "a tolerance is a number such as 0.3"),
        (0, "a tolerance is a number"),
        (True, "a tolerance is a number"),
        (-0.1, "a tolerance is a number"),
        ({"nats": "hours"}, "a tolerance is a number"),
        ("seconds", "only seconds may be exempt"),
        ({"nats": "seconds"}, "'nats' does not say that it is seconds"),
        ({"seconds": "memory"}, "only memory may be exempt"),
    ],
)
def test_a_tolerance_that_is_none(within, message):
    with pytest.raises(ValueError, match=message):
        read_tolerances(cell("1 second", within))


def test_a_tolerance_for_nothing():
    assert names_nothing(cell("84.7 nats", {"nats": 0.3, "bits": 0.1})) == ["bits"]
    assert names_nothing(cell("none", 0.3)) == ["*"]
    assert names_nothing(recorded({"a_*": 0.3, "b": 0.1}, a_1="1")) == ["b"]


@pytest.mark.parametrize(
    ("found", "stated", "says"),
    [
        (["84.7", "84.7"], None, ""),
        (["84.7", "84.8"], None, "missing"),
        (["84.5", "85.1"], 0.3, "too tight"),
        (["84.5", "85.0"], 0.3, "good"),
        (["84.7", "84.8"], 0.3, "good"),
        (["84.7", "84.8"], 0.4, "loose"),
        (["84.7", "84.8"], "0.1 %", "good"),
        (["1.0", "900"], "seconds", "exempt"),
    ],
)
def test_the_verdict_on_a_tolerance(found, stated, says):
    tolerance = EXACT if stated is None else read_tolerance(stated, "seconds")
    assert verdict("84.7", found, tolerance)[1] == says
