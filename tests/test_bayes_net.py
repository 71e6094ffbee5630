"""The network's inference agrees with the joint table, its samples with its probabilities."""

import doctest
import itertools
import math

import numpy as np
import pytest

from vaebook import bayes_net
from vaebook.bayes_net import BayesianNetwork

# Out of order on purpose: the grass is listed before its parents.
TABLES = {
    "grass": {
        (True, True): {"wet": 0.99, "dry": 0.01},
        (True, False): {"wet": 0.9, "dry": 0.1},
        (False, True): {"wet": 0.8, "dry": 0.2},
        (False, False): {"wet": 0.0, "dry": 1.0},
    },
    "sprinkler": {(True,): {True: 0.01, False: 0.99}, (False,): {True: 0.4, False: 0.6}},
    "rain": {(): {True: 0.2, False: 0.8}},
}
PARENTS = {"sprinkler": ["rain"], "grass": ["sprinkler", "rain"]}


def network():
    return BayesianNetwork(TABLES, PARENTS)


def joint():
    """Multiply the tables as arrays: axes rain, sprinkler, grass; True and wet first."""
    rain = np.array([0.2, 0.8])
    sprinkler = np.array([[0.01, 0.99], [0.4, 0.6]])  # a row for each value of rain
    wet = np.array([[0.99, 0.8], [0.9, 0.0]])  # by rain, then sprinkler
    grass = np.stack([wet, 1 - wet], -1)
    return rain[:, None, None] * sprinkler[:, :, None] * grass


def test_docstring():
    assert doctest.testmod(bayes_net).failed == 0


def test_parents_come_first():
    order = network().variables
    assert order.index("rain") < order.index("sprinkler") < order.index("grass")


def test_joint_probabilities():
    net, total = network(), 0.0
    for index in itertools.product(range(2), repeat=3):
        rain, sprinkler, grass = index
        names = {"rain": not rain, "sprinkler": not sprinkler, "grass": ("wet", "dry")[grass]}
        expected = joint()[index]
        log_prob = net.log_prob(names)
        assert math.exp(log_prob) == pytest.approx(expected, abs=1e-15)
        total += math.exp(log_prob)
    assert total == pytest.approx(1, abs=1e-12)
    assert net.log_prob({"rain": False, "sprinkler": False, "grass": "wet"}) == -math.inf


def test_queries_against_the_joint_table():
    net, table = network(), joint()
    assert net.query("rain")[True] == pytest.approx(0.2, abs=1e-15)
    assert net.query("grass")["wet"] == pytest.approx(table[..., 0].sum(), abs=1e-15)
    given_wet = table[..., 0] / table[..., 0].sum()
    assert net.query("rain", {"grass": "wet"})[True] == pytest.approx(given_wet[0].sum(), abs=1e-15)
    # explaining away: the sprinkler takes the blame from the rain
    both = net.query("rain", {"grass": "wet", "sprinkler": True})
    assert both[True] == pytest.approx(given_wet[0, 0] / given_wet[:, 0].sum(), abs=1e-15)
    assert both[True] < net.query("rain", {"grass": "wet"})[True]
    assert net.query("rain", {"rain": True}) == {True: 1.0, False: 0.0}


def test_samples_follow_the_joint_distribution():
    drawn = network().sample(20_000, random_state=0)
    counts = np.zeros((2, 2, 2))
    for one in drawn:
        counts[int(not one["rain"]), int(not one["sprinkler"]), int(one["grass"] == "dry")] += 1
    errors = np.sqrt(joint() * (1 - joint()) / 20_000)
    assert (np.abs(counts / 20_000 - joint()) <= 4.5 * errors).all()
    assert network().sample(3, random_state=1) == network().sample(3, random_state=1)


def test_many_variables_do_not_underflow():
    """400 coins of 0.1: 400 log 0.1, where the product itself is zero in a double."""
    names = [f"c{i}" for i in range(400)]
    net = BayesianNetwork({name: {(): {"h": 0.1, "t": 0.9}} for name in names})
    assert net.log_prob(dict.fromkeys(names, "h")) == pytest.approx(400 * math.log(0.1), rel=1e-14)


def test_a_question_with_much_evidence():
    """Naive Bayes of 784 pixels: the odds are a power of the ratio of one pixel."""
    pixels = [f"p{i}" for i in range(784)]
    tables = {"digit": {(): {0: 0.5, 1: 0.5}}}
    tables |= {p: {(0,): {0: 0.7, 1: 0.3}, (1,): {0: 0.71, 1: 0.29}} for p in pixels}
    net = BayesianNetwork(tables, parents={p: ["digit"] for p in pixels})
    odds = math.exp(784 * math.log(0.29 / 0.3))
    assert net.query("digit", dict.fromkeys(pixels, 1))[1] == pytest.approx(
        odds / (1 + odds), rel=1e-9
    )


def test_numpys_numbers():
    """Tables in single precision, values and sizes out of NumPy."""
    row = dict(zip(np.arange(3), np.array([0.7, 0.2, 0.1], np.float32), strict=True))
    net = BayesianNetwork({"a": {(): row}})
    assert net.query("a")[1] == pytest.approx(0.2, abs=1e-7)
    assert sum(net.query("a").values()) == pytest.approx(1, abs=1e-15)
    assert net.log_prob({"a": np.int64(2)}) == pytest.approx(math.log(0.1), abs=1e-6)
    assert len(net.sample(np.int64(3), random_state=np.int64(0))) == 3


COIN = {(): {"heads": 0.5, "tails": 0.5}}
COPY = {("heads",): {0: 1.0, 1: 0.0}, ("tails",): {0: 0.0, 1: 1.0}}


@pytest.mark.parametrize(
    ("tables", "parents", "message"),
    [
        ({"a": COIN}, {"a": ["b"]}, r"parents: wanted variables with a table, .*'b'"),
        ({"a": COIN}, {"b": ["a"]}, r"parents: wanted variables with a table, .*'b'"),
        ({"a": COIN, "b": COIN}, {"a": ["b"], "b": ["a"]}, "a graph without cycles, got . → . → ."),
        ({"a": COIN, "b": {("heads",): {0: 1.0}}}, {"b": ["a"]}, r"tables\['b'\]: wanted one row"),
        ({"a": {}}, {}, r"tables\['a'\]: wanted one row for each of \[\(\)\], got \[\]"),
        (
            {"a": {(): {0: 0.5, 1: 0.6}}},
            {},
            r"tables\['a'\]: wanted probabilities that add up to 1",
        ),
        ({"a": {(): {0: -0.5, 1: 1.5}}}, {}, "wanted probabilities that add up to 1"),
        ({"a": {(): {0: math.nan, 1: 0.5}}}, {}, "wanted probabilities that add up to 1"),
        ({"a": {(): {}}}, {}, "wanted at least one value"),
        (
            {"a": COIN, "b": COPY | {("tails",): {2: 1.0}}},
            {"b": ["a"]},
            r"wanted the values \(0, 1\) in each row, got \(2,\)",
        ),
    ],
)
def test_bad_networks(tables, parents, message):
    with pytest.raises(ValueError, match=message):
        BayesianNetwork(tables, parents)


def test_bad_questions():
    net = BayesianNetwork({"a": COIN, "b": COPY}, {"b": ["a"]})
    with pytest.raises(ValueError, match="variable: wanted one of"):
        net.query("c")
    with pytest.raises(ValueError, match="evidence: wanted names out of"):
        net.query("a", {"c": 1})
    with pytest.raises(ValueError, match=r"evidence: wanted one of \(0, 1\) for 'b', got 2"):
        net.query("a", {"b": 2})
    with pytest.raises(ValueError, match="evidence: wanted values that can occur together"):
        net.query("a", {"a": "heads", "b": 1})
    with pytest.raises(ValueError, match="assignment: wanted a value for each variable"):
        net.log_prob({"a": "heads"})
    with pytest.raises(ValueError, match="n_samples: wanted an integer of at least 1"):
        net.sample(0)


def test_fit_counts_within_each_combination_of_parents():
    data = network().sample(500, random_state=1)
    fitted = BayesianNetwork.fit(data, PARENTS, alpha=0.5)
    for rain, sprinkler in itertools.product((True, False), repeat=2):
        among = [d for d in data if (d["rain"], d["sprinkler"]) == (rain, sprinkler)]
        wet = sum(d["grass"] == "wet" for d in among)
        expected = (wet + 0.5) / (len(among) + 1)
        assert fitted.tables["grass"][sprinkler, rain]["wet"] == pytest.approx(expected, abs=1e-15)


def test_fit_finds_the_tables_that_made_the_data():
    fitted = BayesianNetwork.fit(network().sample(20_000, random_state=0), PARENTS, alpha=1.0)
    exact = network()
    for name in ("rain", "sprinkler"):
        share, error = fitted.query(name)[True], 4.5 * math.sqrt(0.25 / 20_000)
        assert share == pytest.approx(exact.query(name)[True], abs=error)


def test_without_smoothing_every_combination_of_parents_must_occur():
    data = [{"a": True, "b": True, "c": 1}, {"a": False, "b": False, "c": 2}]
    with pytest.raises(ValueError, match="alpha: wanted more than 0"):
        BayesianNetwork.fit(data, {"c": ["a", "b"]})
    smoothed = BayesianNetwork.fit(data, {"c": ["a", "b"]}, alpha=1.0)
    assert smoothed.tables["c"][True, False] == {1: 0.5, 2: 0.5}


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, r"len\(data\): wanted an integer of at least 1"),
        ([{"a": 1}, {"b": 1}], {}, "data: wanted values of"),
        ([{"a": 1}], {"parents": {"a": ["z"]}}, "parents: wanted variables with a table"),
        ([{"a": 1}], {"alpha": -1.0}, "alpha: wanted a finite number"),
        ([{"a": 1}], {"alpha": math.nan}, "alpha: wanted a finite number"),
    ],
)
def test_fit_refuses(data, options, message):
    with pytest.raises(ValueError, match=message):
        BayesianNetwork.fit(data, **options)
