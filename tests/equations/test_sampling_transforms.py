"""Each statement of the chapter on transforms, both sides, against something independent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from scipy import integrate, special, stats

from vaebook.gaussian import log_normal
from vaebook.transforms import (
    NumericalInverse,
    Rosenblatt,
    gaussian_to_target,
    gaussian_to_uniform,
    pit_values,
    target_to_gaussian,
)

# A fine grid over the noise, with the probability of each cell: sums over it are probabilities.
EDGES = np.linspace(-10, 10, 400_001)
Z = (EDGES[1:] + EDGES[:-1]) / 2
CELL = np.diff(special.ndtr(EDGES))
CELLS = 2e-5  # no cell has more probability, so a probability is right to this


def bumps_cdf(x: Any) -> Any:
    return 0.7 * stats.norm.cdf(x, -1.5, 1) + 0.3 * stats.norm.cdf(x, 2, 0.5)


def bumps_pdf(x: Any) -> Any:
    return 0.7 * stats.norm.pdf(x, -1.5, 1) + 0.3 * stats.norm.pdf(x, 2, 0.5)


TARGETS = {
    "exponential": (stats.expon(), stats.expon.cdf),
    "Cauchy": (stats.cauchy(), stats.cauchy.cdf),
    "uniform": (stats.uniform(), stats.uniform.cdf),
    "Poisson": (stats.poisson(3.5), stats.poisson(3.5).cdf),
    "bumps, from the density": (NumericalInverse(pdf=bumps_pdf, center=-1.5), bumps_cdf),
}
targets = pytest.mark.parametrize("name", TARGETS)


@pytest.mark.equation("eq-gaussian-to-uniform", tolerance="2e-5")
@pytest.mark.parametrize("u", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_gaussian_number_in_its_own_cdf_is_uniform(u: float) -> None:
    """Sums over 400,000 cells of the normal density, line by line."""
    first = CELL[gaussian_to_uniform(Z) <= u].sum()
    second = CELL[special.ndtri(u) >= Z].sum()
    third = integrate.quad(stats.norm.pdf, -np.inf, special.ndtri(u))[0]
    assert first == second
    assert second == pytest.approx(third, abs=CELLS)
    assert third == pytest.approx(u, abs=1e-9)


@pytest.mark.equation("eq-quantile-inequality", tolerance="exact")
@pytest.mark.parametrize(
    ("target", "points"),
    [
        (stats.poisson(3.5), np.arange(12)),
        (stats.binom(4, 0.3), np.arange(-1, 6)),
        (NumericalInverse(cdf=bumps_cdf), np.linspace(-4, 3, 50) + 0.001),
    ],
    ids=["Poisson", "binomial", "bumps"],
)
def test_quantile_and_distribution_function_order_alike(target: Any, points: np.ndarray) -> None:
    """All pairs of a grid of u with a grid of x, for staircases and a continuous function."""
    cdf = getattr(target, "cdf", bumps_cdf)
    u = np.linspace(0.013, 0.987, 80)[:, None]
    np.testing.assert_array_equal(target.ppf(u) <= points, u <= cdf(points))


@pytest.mark.equation("eq-uniform-to-target", tolerance="2e-6")
@targets
def test_uniform_number_in_the_quantile_function_follows_the_target(name: str) -> None:
    """A million evenly spaced u: the share of each side, and SciPy's distribution function."""
    target, cdf = TARGETS[name]
    u = (np.arange(1_000_000) + 0.5) / 1_000_000
    drawn = target.ppf(u)
    for x in (-1.0, 0.4, 1.7, 3.0):
        assert np.mean(drawn <= x) == pytest.approx(np.mean(u <= cdf(x)), abs=1e-6)
        assert np.mean(drawn <= x) == pytest.approx(float(cdf(x)), abs=2e-6)


@pytest.mark.equation("eq-gaussian-to-target", tolerance="2e-5")
@targets
def test_transformed_noise_follows_the_target(name: str) -> None:
    """Probability under the normal density of all noise that is sent below x."""
    target, cdf = TARGETS[name]
    sent = gaussian_to_target(Z, target)
    for x in (-1.0, 0.4, 1.7, 3.0):
        assert CELL[sent <= x].sum() == pytest.approx(float(cdf(x)), abs=CELLS)


@pytest.mark.equation("eq-closed-quantiles", tolerance="1e-10, relative")
def test_quantiles_in_closed_form() -> None:
    """SciPy's distribution functions at the claimed quantiles, and the package's transform."""
    u = np.linspace(0.001, 0.999, 999)
    z = special.ndtri(u)
    exponential, cauchy = -np.log(1 - u) / 2.5, np.tan(np.pi * (u - 0.5))
    np.testing.assert_allclose(stats.expon(scale=1 / 2.5).cdf(exponential), u, rtol=1e-12)
    np.testing.assert_allclose(stats.cauchy.cdf(cauchy), u, rtol=1e-12)
    for target, printed in ((stats.expon(scale=1 / 2.5), exponential), (stats.cauchy(), cauchy)):
        np.testing.assert_allclose(gaussian_to_target(z, target), printed, rtol=1e-10, atol=1e-12)


@pytest.mark.equation("eq-discrete-quantile", tolerance="2e-5")
@pytest.mark.parametrize("target", [stats.poisson(3.5), stats.binom(4, 0.3)])
def test_probability_of_a_count_is_the_length_of_its_interval(target: Any) -> None:
    """Probability of the noise that is sent to each count, and SciPy's mass function."""
    sent = gaussian_to_target(Z, target)
    for k in range(5):
        share = CELL[sent == k].sum()
        assert share == pytest.approx(target.cdf(k) - target.cdf(k - 1), abs=CELLS)
        assert share == pytest.approx(target.pmf(k), abs=CELLS)


@pytest.mark.equation("eq-transform-slope", tolerance="3e-5, relative")
@pytest.mark.parametrize("name", ["exponential", "Cauchy", "bumps, from the density"])
def test_slope_is_the_ratio_of_the_densities(name: str) -> None:
    """Central differences of the transform."""
    target = TARGETS[name][0]
    density = bumps_pdf if name.startswith("bumps") else target.pdf
    z, h = np.linspace(-2, 2, 41), 2e-4
    slope = (gaussian_to_target(z + h, target) - gaussian_to_target(z - h, target)) / (2 * h)
    printed = stats.norm.pdf(z) / density(gaussian_to_target(z, target))
    np.testing.assert_allclose(slope, printed, rtol=3e-5)


@pytest.mark.equation("eq-pit", tolerance="2e-5")
@pytest.mark.parametrize("name", ["exponential", "Cauchy"])
def test_data_in_their_own_distribution_function_are_uniform(name: str) -> None:
    """Probability of all noise whose datum has a value of at most u."""
    target = TARGETS[name][0]
    values = pit_values(gaussian_to_target(Z, target), target)
    for u in (0.02, 0.4, 0.97):
        assert CELL[values <= u].sum() == pytest.approx(u, abs=CELLS)


@pytest.mark.equation("eq-pit", tolerance="2e-5")
def test_a_gap_in_the_support_leaves_the_values_uniform() -> None:
    """Evenly spaced data on two intervals: continuous, but F has no inverse in the gap."""
    middles = (np.arange(100_000) + 0.5) / 100_000
    x = np.concatenate([middles, middles + 2])
    values = pit_values(x, stats.rv_histogram((np.array([1.0, 0.0, 1.0]), np.arange(4.0))))
    for u in (0.02, 0.4, 0.5, 0.97):
        assert np.mean(values <= u) == pytest.approx(u, abs=2e-5)


@pytest.mark.equation("eq-randomized-pit", tolerance="1e-12; 4 standard errors for the draws")
@pytest.mark.parametrize("target", [stats.poisson(3.5), stats.binom(4, 0.3)])
def test_spread_values_of_counts_are_uniform(target: Any) -> None:
    """Sum over all counts, and the values that the package draws."""
    k = np.arange(60)
    p, cdf = target.pmf(k), target.cdf(k)
    possible = p > 0
    for u in (0.02, 0.4, 0.97):
        # F(k) - V p(k) <= u, where V is at least (F(k) - u) / p(k)
        within = np.clip(1 - (cdf - u)[possible] / p[possible], 0, 1)
        assert (p[possible] * within).sum() == pytest.approx(u, abs=1e-12)
    x = target.rvs(size=40_000, random_state=0)
    values = pit_values(x, target, random_state=1)
    v = RandomState(1).uniform(size=x.shape)
    np.testing.assert_allclose(values, target.cdf(x) - v * target.pmf(x), atol=1e-12)
    for u in (0.02, 0.4, 0.97):
        error = math.sqrt(u * (1 - u) / len(x))
        assert np.mean(values <= u) == pytest.approx(u, abs=4 * error)


@pytest.mark.equation("eq-two-tails", tolerance="1e-12, relative; 1e-10 in the middle")
def test_both_ends_give_the_same_quantile() -> None:
    """The logarithm of the normal tail, which SciPy has to full precision, and both ends."""
    z = np.linspace(-30, 30, 61)
    exact = -special.log_ndtr(-z)  # the exponential target
    np.testing.assert_allclose(gaussian_to_target(z, stats.expon()), exact, rtol=1e-12)
    np.testing.assert_allclose(target_to_gaussian(exact, stats.expon()), z, rtol=1e-12, atol=1e-12)
    middle = np.linspace(-2, 2, 41)
    for target in (stats.expon(), stats.cauchy(), stats.poisson(3.5)):
        below = target.ppf(special.ndtr(middle))
        above = target.isf(special.ndtr(-middle))
        np.testing.assert_allclose(below, above, rtol=1e-10, atol=1e-12)


MIXTURE = Rosenblatt(
    [0.5, 0.3, 0.2],
    [[0.0, 0.0, 1.0], [2.0, 1.0, 0.0], [-1.0, 2.0, -1.0]],
    [
        np.eye(3),
        [[1.0, 0.6, 0.2], [0.6, 0.8, -0.1], [0.2, -0.1, 0.5]],
        [[0.5, -0.3, 0.1], [-0.3, 1.5, 0.4], [0.1, 0.4, 2.0]],
    ],
)
POINTS = np.array([[0.2, -0.4, 0.8], [1.5, 1.2, 0.1], [-0.7, 1.4, -0.9]])


def mixture_pdf(point: np.ndarray) -> float:
    """Density of the leading coordinates, by SciPy."""
    n = len(point)
    parts = zip(MIXTURE.weights, MIXTURE.means, MIXTURE.factors, strict=True)
    return sum(
        float(w * stats.multivariate_normal(m[:n], (f @ f.T)[:n, :n]).pdf(point))
        for w, m, f in parts
    )


@pytest.mark.equation("eq-rosenblatt-jacobian", tolerance="1e-6, relative")
def test_determinant_of_the_jacobian_is_the_density() -> None:
    """Central differences of the transform, and SciPy's multivariate normal density."""
    h = 1e-4
    for x in POINTS:
        shifted = np.concatenate([x + h * np.eye(3), x - h * np.eye(3)])
        u = MIXTURE.to_uniform(shifted)
        jacobian = (u[:3] - u[3:]).T / (2 * h)
        assert np.abs(np.triu(jacobian, 1)).max() < 1e-9
        assert np.linalg.det(jacobian) == pytest.approx(mixture_pdf(x), rel=1e-6)


@pytest.mark.equation("eq-mixture-conditional", tolerance="1e-6, relative")
@pytest.mark.parametrize("i", [0, 1, 2])
def test_a_coordinate_given_those_before_it(i: int) -> None:
    """Ratio of SciPy's marginal densities; slope of the transform in that coordinate."""
    h = 1e-4
    for x in POINTS:
        ratio = mixture_pdf(x[: i + 1]) / (mixture_pdf(x[:i]) if i else 1.0)
        step = h * np.eye(3)[i]
        above, below = MIXTURE.to_uniform(np.stack([x + step, x - step]))
        assert (above[i] - below[i]) / (2 * h) == pytest.approx(ratio, rel=1e-6)
        # as printed, with Schur complements for the conditional Gaussians
        weights, means, factors = MIXTURE.weights, MIXTURE.means, MIXTURE.factors
        density = responsibilities = 0.0
        for w, m, f in zip(weights, means, factors, strict=True):
            c = f @ f.T
            earlier = stats.multivariate_normal(m[:i], c[:i, :i]).pdf(x[:i]) if i else 1.0
            gain = np.linalg.solve(c[:i, :i], c[:i, i]) if i else np.zeros(0)
            mean, variance = m[i] + gain @ (x[:i] - m[:i]), c[i, i] - gain @ c[:i, i]
            density += w * earlier * stats.norm(mean, math.sqrt(variance)).pdf(x[i])
            responsibilities += w * earlier
        assert density / responsibilities == pytest.approx(ratio, rel=1e-9)


@pytest.mark.equation("eq-shell", tolerance="1e-9")
@pytest.mark.parametrize("d", [1, 2, 3, 10, 40, 784])
def test_length_of_a_gaussian_vector(d: int) -> None:
    """Quadrature of the density of the length, which a sphere's surface gives."""
    middle = math.sqrt(d)

    def density(r: float) -> float:
        log_surface = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
        log_normal_density = -0.5 * d * math.log(2 * math.pi) - 0.5 * r * r
        return math.exp(log_surface + (d - 1) * math.log(r) + log_normal_density)

    low, high = max(1e-300, middle - 12), middle + 12
    moments = [
        integrate.quad(lambda r, n=n: r**n * density(r), low, high, points=[middle], epsabs=1e-12)[
            0
        ]
        for n in (0, 1, 2)
    ]
    mean = math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
    assert moments[0] == pytest.approx(1, abs=1e-9)
    assert moments[1] == pytest.approx(mean, rel=1e-9)
    assert moments[2] - moments[1] ** 2 == pytest.approx(d - mean**2, abs=1e-9)
    assert math.sqrt(d - 0.5) <= mean <= math.sqrt(d)
    assert d - mean**2 <= 0.5


@pytest.mark.equation("eq-mode-and-shell", tolerance="1e-9")
@pytest.mark.parametrize("d", [1, 2, 40])
def test_density_at_the_origin_and_in_the_shell(d: int) -> None:
    """The package's log-density at random points of the length sqrt(d)."""
    z = torch.randn(5, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = z / z.norm(dim=1, keepdim=True) * math.sqrt(d)
    zero = torch.zeros(d, dtype=torch.float64)
    difference = log_normal(zero, zero, zero) - log_normal(z, zero, zero)
    torch.testing.assert_close(difference, torch.full_like(difference, d / 2), rtol=0, atol=1e-9)


@pytest.mark.equation("def-rosenblatt", tolerance="1e-8")
@pytest.mark.parametrize("i", [0, 1, 2])
def test_a_rank_given_the_coordinates_before(i: int) -> None:
    """Quadrature of SciPy's joint density over the coordinate, divided by that of the earlier."""
    for x in POINTS:
        (u,) = MIXTURE.to_uniform(x[None])

        def joint(value: float, x: Any = x) -> float:
            return float(mixture_pdf(np.append(x[:i], value)))

        knots = {"points": [-3, -1, 1, 3], "epsabs": 1e-13, "limit": 400}
        below, _ = integrate.quad(joint, -15, x[i], **(knots | {"points": None}))
        all_of_it, _ = integrate.quad(joint, -15, 15, **knots)
        assert u[i] == pytest.approx(below / all_of_it, abs=1e-8)
