"""Two-sample test and nearest neighbours, against enumeration, SciPy and scikit-learn."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from tests.common import seeded
from vaebook.two_sample import energy_distance, nearest_distances, permutation_test


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def test_energy_distance_of_one_dimension_against_scipy():
    x, y = normal(40, 1), 0.3 + 2 * normal(25, 1, seed=1)
    expected = stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2  # its square root
    assert energy_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_energy_distance_term_by_term():
    x, y = normal(30, 3).numpy(), normal(20, 3, seed=1).numpy() + 0.5
    expected = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
    computed = energy_distance(torch.from_numpy(x), torch.from_numpy(y))
    assert computed == pytest.approx(expected, rel=1e-8)
    single = energy_distance(torch.from_numpy(x).float(), torch.from_numpy(y).float())
    assert single == pytest.approx(expected, rel=1e-6)


def test_energy_distance_of_a_sample_from_itself():
    x = normal(30, 3)
    assert energy_distance(x, x) == 0
    assert energy_distance(x, x.flip(0).repeat(2, 1)) == pytest.approx(0, abs=1e-14)


def test_p_value_against_all_permutations():
    x, y = normal(4, 2), normal(5, 2, seed=3) + 1
    pooled = torch.cat([x, y])
    chosen = list(combinations(range(9), 4))
    rest = [[i for i in range(9) if i not in c] for c in chosen]
    every = [energy_distance(pooled[list(c)], pooled[r]) for c, r in zip(chosen, rest, strict=True)]
    observed = energy_distance(x, y)
    exact = np.mean(np.array(every) >= observed - 1e-12)
    test = permutation_test(x, y, 20_000, seeded())
    assert test.statistic == pytest.approx(observed, rel=1e-12)
    assert test.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_p_values_at_both_ends():
    x = normal(50, 2)
    assert permutation_test(x, x + 5, 99, seeded()).p_value == 0.01
    assert permutation_test(x, x, 99, seeded()).p_value == 1
    # equal data: every shuffle gives the same distance
    assert permutation_test(torch.ones(5, 2), torch.ones(4, 2), 19, seeded()).p_value == 1


def test_p_value_is_a_function_of_the_generator():
    x, y, state = normal(20, 2), normal(20, 2, seed=1), torch.get_rng_state()
    values = [permutation_test(x, y, 50, seeded(s)).p_value for s in (1, 1, 2)]
    assert values[0] == values[1] != values[2]
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_nearest_distances_against_scikit_learn(batch_size):
    x, reference = normal(30, 3), normal(40, 3, seed=1)
    expected = NearestNeighbors(n_neighbors=1).fit(reference.numpy()).kneighbors(x.numpy())[0]
    computed = nearest_distances(x, reference, batch_size)
    np.testing.assert_allclose(computed.numpy(), expected[:, 0], rtol=1e-12)


def test_a_copy_is_at_distance_zero():
    x = torch.randn(500, 100, generator=seeded()) + 1000  # far out, where squares would cancel
    assert nearest_distances(x[:9], x).max() == 0


@pytest.mark.parametrize("columns", [2, 30])
@pytest.mark.parametrize("huge", [1e6, 1e10, 1e12])
def test_a_datum_that_both_share_far_out_changes_little(columns, huge):
    x, y = normal(300, columns), normal(300, columns, seed=1) + 0.5
    x[0] = y[0] = huge
    a, b = x.numpy(), y.numpy()
    exact = 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()
    assert energy_distance(x, y) == pytest.approx(exact, abs=1e-3)
    test = permutation_test(x[1:], y[1:], 99, seeded())
    assert test.p_value == 0.01


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_distance_has_the_units_of_the_data(unit):
    x, y = normal(60, 3), normal(50, 3, seed=1) + 0.3
    assert energy_distance(unit * x, unit * y) == pytest.approx(
        unit * energy_distance(x, y), rel=1e-9
    )
    plain, scaled = (permutation_test(u * x, u * y, 99, seeded()).p_value for u in (1, unit))
    assert plain == scaled


def test_clusters_far_apart_do_not_blur_what_is_near():
    """Two clusters 2e8 apart, in both samples alike; within them the samples differ by a half."""
    sides = torch.tensor([-1e8, 1e8], dtype=torch.float64).repeat(50)[:, None]
    x, y = sides + normal(100, 2), sides + normal(100, 2, seed=1) + 0.5
    a, b = x.numpy(), y.numpy()
    exact = 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()
    assert energy_distance(x, y) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_samples_of_any_precision(dtype):
    x, y = normal(40, 2).to(dtype), normal(40, 2, seed=1).to(dtype)
    expected = energy_distance(x.double(), y.double())
    assert energy_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert energy_distance(x, y.double()) == pytest.approx(expected, rel=1e-9)
    nearest = nearest_distances(x, y).double()
    assert nearest == pytest.approx(nearest_distances(x.double(), y.double()), rel=0.01, abs=0.01)


X = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energy_distance(X, X[:, :1]), "y: wanted 2 columns"),
        (lambda: energy_distance(X.long(), X), "x: wanted a floating-point tensor"),
        (lambda: energy_distance(X[:0], X), "x: wanted at least one row"),
        (lambda: permutation_test(X, X, 0), "n_permutations: wanted an integer of at least 1"),
        (lambda: permutation_test(X, X * float("nan")), "y: wanted finite numbers"),
        (lambda: nearest_distances(X, X[:, :1]), "reference: wanted 2 columns"),
        (lambda: nearest_distances(X, X, 0), "batch_size: wanted an integer of at least 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
