"""The kernel density estimate agrees with direct sums, SciPy and scikit-learn."""

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn import neighbors
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.utils._python_dispatch import TorchDispatchMode

from vaebook import kde
from vaebook.kde import KernelDensity


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def direct(points, data, bandwidth, weights=None):
    """Log-density by differences, point by point."""
    squares = np.square(points[:, None] - data).sum(-1) / bandwidth**2
    weights = np.full(len(data), 1 / len(data)) if weights is None else weights
    top = (-0.5 * squares).max(1)
    sums = (weights * np.exp(-0.5 * squares - top[:, None])).sum(1)
    return top + np.log(sums) - data.shape[1] * math.log(bandwidth * math.sqrt(2 * math.pi))


# not with cross-validation: some checks fit data of which each occurs twice
@parametrize_with_checks([KernelDensity(), KernelDensity(0.7)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# --- the density


@pytest.mark.parametrize("d", [1, 2, 7, 30])
def test_log_density_by_differences_and_by_scikit_learn(d):
    # more rows and columns than a tile has
    data, points = 3 + 5 * normal(kde.COLUMNS + 50, d), 3 + 6 * normal(kde.ROWS + 20, d, 1)
    ours = KernelDensity(1.3).fit(data).score_samples(points)
    assert ours == pytest.approx(direct(points, data, 1.3), abs=1e-9)
    # scikit-learn's trees lose their digits where the density is tiny
    near = data[:30] + 0.5
    theirs = neighbors.KernelDensity(bandwidth=1.3).fit(data).score_samples(near)
    assert KernelDensity(1.3).fit(data).score_samples(near) == pytest.approx(theirs, abs=1e-9)


def test_log_density_as_in_scipy():
    data = normal(300, 3)
    data = (data - data.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(data.T))).T
    points, weights = normal(40, 3, 1), np.random.default_rng(2).random(300)
    theirs = stats.gaussian_kde(data.T, bw_method="scott")
    ours = KernelDensity("scott").fit(data)
    assert ours.bandwidth_ == pytest.approx(theirs.factor, rel=1e-12)
    assert ours.score_samples(points) == pytest.approx(theirs.logpdf(points.T), abs=1e-9)
    weighted = KernelDensity(0.4).fit(data, sample_weight=weights).score_samples(points)
    expected = direct(points, data, 0.4, weights / weights.sum())
    assert weighted == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("shift", "spread", "bandwidth"),
    # far from the origin; on a tiny scale; and a bandwidth whose squares would lose the digits
    [(1e6, 1.0, 0.3), (0.0, 1e-8, 3e-9), (5.0, 1.0, 1e-4)],
)
def test_no_cancellation(shift, spread, bandwidth):
    data = shift + spread * normal(200, 4)
    points = data + bandwidth * normal(200, 4, 1)
    ours = KernelDensity(bandwidth).fit(data).score_samples(points)
    assert ours == pytest.approx(direct(points, data, bandwidth), abs=1e-9)


def test_far_points_have_a_finite_log_density():
    estimate = KernelDensity(1.0).fit(normal(50, 2))
    far = estimate.score_samples([[1e6, 0.0]])
    assert far == pytest.approx(direct(np.array([[1e6, 0.0]]), estimate.X_, 1.0), rel=1e-12)
    assert np.exp(far) == 0


@pytest.mark.parametrize("far", [0.0, 1e3])  # without and with underflow
def test_memory_does_not_grow_with_the_number_of_pairs(far):
    tiles = []

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            tiles.append(result.numel() if isinstance(result, torch.Tensor) else 0)
            return result

    estimate, points = KernelDensity(1.0).fit(normal(5_000, 2)), far + normal(1_000, 2, 1)
    with Watched():
        estimate.score_samples(points)
    assert max(tiles) == kde.ROWS * kde.COLUMNS


def test_integrates_to_one():
    estimate = KernelDensity("silverman").fit(normal(30, 1))
    mass, _ = integrate.quad(lambda x: math.exp(estimate.score_samples([[x]])[0]), -9, 9, limit=200)
    assert mass == pytest.approx(1, abs=1e-8)


def test_score_is_the_sum_as_in_scikit_learn():
    data, points = normal(60, 2), normal(9, 2, 1)
    theirs = neighbors.KernelDensity(bandwidth=0.5).fit(data)
    assert KernelDensity(0.5).fit(data).score(points) == pytest.approx(theirs.score(points))


# --- weights


def test_integer_weights_are_repetitions_and_zero_removes():
    data, points = normal(20, 2), normal(15, 2, 1)
    counts = np.arange(20) % 4
    weighted = KernelDensity(0.5).fit(data, sample_weight=counts)
    repeated = KernelDensity(0.5).fit(np.repeat(data, counts, axis=0))
    assert weighted.score_samples(points) == pytest.approx(repeated.score_samples(points))
    assert len(weighted.X_) == (counts > 0).sum()
    # a common factor changes nothing, not even the bandwidth of a rule
    one, two = (KernelDensity().fit(data, sample_weight=f * counts) for f in (1, 2))
    assert one.bandwidth_ == pytest.approx(two.bandwidth_, rel=1e-14)


def test_weights_of_a_rule_as_in_scipy():
    data, weights = normal(80, 1), np.random.default_rng(1).random(80)
    theirs = stats.gaussian_kde(data[:, 0], weights=weights)
    expected = theirs.factor * math.sqrt(theirs.covariance[0, 0]) / theirs.factor
    ours = KernelDensity().fit(data, sample_weight=weights)
    assert ours.bandwidth_ == pytest.approx(expected, rel=1e-12)
    points = normal(30, 1, 2)
    assert ours.score_samples(points) == pytest.approx(theirs.logpdf(points.T), abs=1e-9)


# --- bandwidths


@pytest.mark.parametrize("rule", ["scott", "silverman"])
@pytest.mark.parametrize("d", [1, 3])
def test_rules_as_in_scikit_learn_on_standardised_data(rule, d):
    data = normal(200, d)
    standardised = (data - data.mean(0)) / data.std(0, ddof=1)
    theirs = neighbors.KernelDensity(bandwidth=rule).fit(standardised)
    assert KernelDensity(rule).fit(standardised).bandwidth_ == pytest.approx(theirs.bandwidth_)


@pytest.mark.parametrize("rule", kde.RULES)
def test_bandwidths_follow_the_scale(rule):
    data = normal(100, 2)
    small, large = (KernelDensity(rule).fit(scale * data).bandwidth_ for scale in (1, 1000))
    assert large == pytest.approx(1000 * small, rel=1e-4)


def test_cross_validation_leaves_each_datum_out():
    data, weights = normal(25, 2), np.random.default_rng(3).random(25)

    def left_out(h):
        total = 0.0
        for i in range(25):
            others = np.delete(weights, i)
            density = direct(data[i : i + 1], np.delete(data, i, 0), h, others / others.sum())
            total += weights[i] / weights.sum() * density[0]
        return total

    fitted = KernelDensity("cross-validation").fit(data, sample_weight=weights)
    here = left_out(fitted.bandwidth_)
    assert fitted.weights_ @ fitted._log_density(None, fitted.bandwidth_) == pytest.approx(here)
    for h in np.geomspace(0.02, 20, 60):
        assert left_out(h) <= here + 1e-7


def test_cross_validation_in_several_tiles():
    data = normal(kde.COLUMNS + 100, 1)
    fitted = KernelDensity(0.3).fit(data)
    everything = np.exp(fitted.score_samples(data)) * len(data)
    own = 1 / (0.3 * math.sqrt(2 * math.pi))
    expected = np.log((everything - own) / (len(data) - 1))
    assert fitted._log_density(None, 0.3) == pytest.approx(expected, abs=1e-6)


def test_cross_validation_at_the_upper_end():
    fitted = KernelDensity("cross-validation").fit([[0.0], [1.0]])
    assert fitted.bandwidth_ == pytest.approx(1.0, rel=1e-3)  # maximum of N(1; 0, h²) is at h = 1


# --- samples


def test_samples_follow_the_density():
    fitted = KernelDensity(0.5).fit([[-2.0], [1.0]], sample_weight=[3.0, 1.0])
    drawn = fitted.sample(20_000, random_state=0)[:, 0]

    def cdf(x):
        return 0.75 * stats.norm.cdf(x, -2, 0.5) + 0.25 * stats.norm.cdf(x, 1, 0.5)

    assert stats.kstest(drawn, cdf).pvalue > 0.01
    assert fitted.sample().shape == (1, 1)
    assert (fitted.sample(3, random_state=1) == fitted.sample(3, random_state=1)).all()


# --- errors


@pytest.mark.parametrize("bandwidth", [0, -1.0, math.nan, math.inf, True, "gauss", None])
def test_bad_bandwidth(bandwidth):
    with pytest.raises(ValueError, match="bandwidth: wanted a positive number or one of 'scott'"):
        KernelDensity(bandwidth).fit(normal(5, 1))


def test_a_rule_needs_different_data():
    with pytest.raises(ValueError, match=r"X: wanted at least two different rows.*n_samples = 1"):
        KernelDensity().fit([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"X: wanted at least two different rows.*variance 0"):
        KernelDensity("silverman").fit([[1.0, 2.0]] * 3)
    assert KernelDensity(0.1).fit([[1.0, 2.0]]).bandwidth_ == 0.1


def test_duplicates_have_no_cross_validated_bandwidth():
    with pytest.raises(ValueError, match="X: wanted different rows for bandwidth='cross-val"):
        KernelDensity("cross-validation").fit(np.repeat(normal(10, 1), 2, axis=0))


def test_bad_arguments():
    with pytest.raises(ValueError, match="n_samples: wanted an integer of at least 1"):
        KernelDensity(1.0).fit([[1.0]]).sample(0)


# --- what people really bring --------------------------------------------------------------------

FORKED = """
import os
os.environ["OMP_NUM_THREADS"] = "2"
import multiprocessing
import numpy as np
from vaebook.kde import KernelDensity
X = np.random.default_rng(0).normal(size=(3000, 30))
model = KernelDensity(1.0).fit(X)
whole = model.score_samples(X[:500])
model.score(X)
def job(_):
    return model.score_samples(X[:500])
with multiprocessing.get_context("fork").Pool(2) as pool:
    answers = pool.map_async(job, range(2)).get(timeout=60)
assert all(np.allclose(a, whole, rtol=1e-12) for a in answers)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_scores_in_forked_processes():
    """After the parent has scored with two threads, its children must not wait for those."""
    result = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=180
    )
    assert result.returncode == 0, result.stderr


def test_scores_from_several_threads():
    X = np.random.default_rng(0).normal(size=(300, 2))
    model = KernelDensity("silverman").fit(X)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: model.score_samples(X), range(8)))
    assert all(np.array_equal(a, answers[0]) for a in answers)


@pytest.mark.parametrize("rule", ["scott", "silverman", "cross-validation"])
@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_units_do_not_matter(rule, unit):
    X = np.random.default_rng(0).normal(size=(80, 2))
    plain, scaled = KernelDensity(rule).fit(X), KernelDensity(rule).fit(unit * X)
    assert scaled.bandwidth_ == pytest.approx(unit * plain.bandwidth_, rel=1e-3)
    shift = 2 * np.log(unit)
    expected = KernelDensity(scaled.bandwidth_ / unit).fit(X).score_samples(X) - shift
    assert scaled.score_samples(unit * X) == pytest.approx(expected, rel=1e-9)


def test_a_point_far_out_has_a_finite_density():
    model = KernelDensity(1.0).fit([[0.0], [1.0]])
    for far in (1e8, 1e100, -1e150):
        away = far - (1.0 if far > 0 else 0.0)
        expected = -0.5 * away**2 - np.log(2) - 0.5 * np.log(2 * np.pi)
        assert model.score_samples([[far]]) == pytest.approx(expected, rel=1e-9)


def test_numbers_of_any_type_and_layout():
    X = np.round(np.random.default_rng(0).normal(size=(40, 2)) * 10)
    expected = KernelDensity(np.float32(2)).fit(X).score_samples(X)
    for same in (X.astype(">f4"), X.astype("i2"), np.asfortranarray(X), X[::-1].copy()[::-1]):
        assert KernelDensity(2).fit(same).score_samples(same) == pytest.approx(expected, rel=1e-12)
    half = torch.from_numpy(X).bfloat16()
    assert KernelDensity(2).fit(half).score_samples(half) == pytest.approx(expected, rel=1e-12)
    assert KernelDensity(2).fit(X).sample(np.int64(3)).shape == (3, 2)
