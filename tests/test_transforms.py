"""The transforms against SciPy's distributions, quadrature and a mixture's own samples."""

import math

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import ndtr, ndtri
from sklearn.mixture import GaussianMixture

from vaebook.transforms import (
    NumericalInverse,
    Rosenblatt,
    gaussian_to_target,
    gaussian_to_uniform,
    pit_values,
    target_to_gaussian,
)

Z = np.concatenate([np.linspace(-37, 37, 75), [-0.01, 0.01]])
TWO_BUMPS = ((0.6, -1.0, 0.8), (0.4, 2.0, 0.5))


def bumps_pdf(x):
    return sum(w * stats.norm.pdf(x, m, s) for w, m, s in TWO_BUMPS)


def bumps_cdf(x):
    return sum(w * stats.norm.cdf(x, m, s) for w, m, s in TWO_BUMPS)


# --- Gaussian to uniform to target ----------------------------------------------------------------


def test_uniform_numbers_are_the_cdf():
    np.testing.assert_allclose(gaussian_to_uniform(Z), stats.norm.cdf(Z), rtol=1e-13)
    assert gaussian_to_uniform([[0.0]]).shape == (1, 1)


@pytest.mark.parametrize(
    ("target", "exact"),
    [
        (stats.norm(1, 2), lambda z: 1 + 2 * z),
        (stats.lognorm(1), np.exp),
        (stats.expon(), lambda z: -stats.norm.logsf(z)),
        (stats.uniform(), ndtr),
    ],
    ids=["norm", "lognorm", "expon", "uniform"],
)
def test_targets_are_right_far_in_both_tails(target, exact):
    np.testing.assert_allclose(gaussian_to_target(Z, target), exact(Z), rtol=1e-9)


@pytest.mark.parametrize("target", [stats.expon(), stats.cauchy(), stats.gamma(3)])
def test_back_and_forth_is_the_identity(target):
    z = np.linspace(-8, 30, 39)
    np.testing.assert_allclose(
        target_to_gaussian(gaussian_to_target(z, target), target), z, rtol=1e-9
    )


def test_the_naive_way_ends_at_infinity_and_ours_does_not():
    assert np.isinf(stats.expon().ppf(ndtr(9.0)))
    assert gaussian_to_target(9.0, stats.expon()) == pytest.approx(
        -stats.norm.logsf(9.0), rel=1e-12
    )


def test_a_discrete_target():
    z = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    drawn = gaussian_to_target(z, stats.poisson(3.5)).astype(int)
    share = np.bincount(drawn, minlength=15)[:15] / len(z)
    np.testing.assert_allclose(share, stats.poisson(3.5).pmf(np.arange(15)), atol=1e-4)


def test_pit_of_continuous_and_discrete_data():
    rng = np.random.default_rng(0)
    x = rng.exponential(size=5000)
    assert stats.kstest(pit_values(x, stats.expon()), "uniform").pvalue > 0.01
    assert stats.kstest(pit_values(x, stats.expon(scale=1.2)), "uniform").pvalue < 1e-6
    n = rng.poisson(2.0, size=5000)
    assert stats.kstest(stats.poisson(2.0).cdf(n), "uniform").pvalue < 1e-6
    assert stats.kstest(pit_values(n, stats.poisson(2.0), 0), "uniform").pvalue > 0.01
    np.testing.assert_array_equal(
        pit_values(n, stats.poisson(2.0), 5), pit_values(n, stats.poisson(2.0), 5)
    )


# --- the numerical inverse ------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 7.0], ids=["normalised", "not normalised"])
@pytest.mark.parametrize("given", ["pdf", "log_pdf"])
def test_error_in_u_is_what_is_promised(given, scale):
    density = {
        "pdf": lambda x: scale * bumps_pdf(x),
        "log_pdf": lambda x: math.log(scale) + math.log(max(bumps_pdf(x), 1e-320)),
    }
    inverse = NumericalInverse(**{given: density[given]}, center=-1.0)
    u = np.random.default_rng(0).uniform(size=100_000)
    assert np.abs(bumps_cdf(inverse.ppf(u)) - u).max() < 1.01e-10
    assert np.abs(bumps_cdf(inverse.isf(u)) - (1 - u)).max() < 1.01e-10


@pytest.mark.parametrize(
    ("cdf", "support"),
    [
        (bumps_cdf, (-np.inf, np.inf)),
        (stats.expon.cdf, (0, np.inf)),
        (lambda x: stats.expon.sf(-x), (-np.inf, 0)),
        (stats.beta(2, 3).cdf, (0, 1)),
        (stats.cauchy(50, 0.1).cdf, (-np.inf, np.inf)),
    ],
    ids=["bumps", "expon", "minus expon", "beta", "far away"],
)
def test_inverse_of_a_cdf(cdf, support):
    inverse = NumericalInverse(cdf=cdf, support=support)
    u = np.random.default_rng(1).uniform(size=(500, 2))
    np.testing.assert_allclose(cdf(inverse.ppf(u)), u, atol=1e-12)
    np.testing.assert_array_equal(inverse.ppf([0, 1]), support)


def test_a_density_with_heavy_tails_and_one_on_an_interval():
    u = np.linspace(0.001, 0.999, 999)
    heavy = NumericalInverse(pdf=lambda x: 1 / (1 + x * x))
    np.testing.assert_allclose(stats.cauchy.cdf(heavy.ppf(u)), u, atol=1.01e-10)
    triangle = NumericalInverse(pdf=lambda x: 2 * x, support=(0, 1), center=0.5, u_error=1e-12)
    np.testing.assert_allclose(triangle.ppf(u), np.sqrt(u), atol=1e-9)


def test_samples_are_reproducible_and_follow_the_density():
    inverse = NumericalInverse(pdf=bumps_pdf)
    x = inverse.sample(20_000, random_state=0)
    np.testing.assert_array_equal(x, inverse.sample(20_000, random_state=0))
    assert stats.kstest(x, bumps_cdf).pvalue > 0.01
    z = np.random.default_rng(0).normal(size=20_000)
    assert stats.kstest(gaussian_to_target(z, inverse), bumps_cdf).pvalue > 0.01


# --- more than one dimension ----------------------------------------------------------------------


MIXTURE = Rosenblatt(
    [0.5, 0.3, 0.2],
    [[0.0, 0.0, 1.0], [3.0, 1.0, 0.0], [-2.0, 4.0, -1.0]],
    [
        np.eye(3),
        [[1.0, 0.6, 0.2], [0.6, 0.8, -0.1], [0.2, -0.1, 0.5]],
        [[0.5, -0.3, 0.1], [-0.3, 1.5, 0.4], [0.1, 0.4, 2.0]],
    ],
)


def draw(n, seed=0):
    rng = np.random.default_rng(seed)
    chosen = rng.choice(3, p=MIXTURE.weights, size=n)
    noise = rng.normal(size=(n, 3))
    return MIXTURE.means[chosen] + np.einsum("nij,nj->ni", MIXTURE.factors[chosen], noise)


def test_rosenblatt_makes_independent_uniform_numbers():
    u = MIXTURE.to_uniform(draw(20_000))
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 0.01
    correlation = np.corrcoef(ndtri(u), rowvar=False)
    assert np.abs(correlation - np.eye(3)).max() < 4 / math.sqrt(20_000)


def test_rosenblatt_is_the_conditional_cdf():
    x = draw(3, seed=1)
    u = MIXTURE.to_uniform(x)

    def density(point):
        parts = zip(MIXTURE.weights, MIXTURE.means, MIXTURE.factors, strict=True)
        return sum(
            w
            * stats.multivariate_normal(m[: len(point)], (f @ f.T)[: len(point), : len(point)]).pdf(
                point
            )
            for w, m, f in parts
        )

    for point, uniform in zip(x, u, strict=True):
        for i in range(3):
            below = integrate.quad(lambda t: density([*point[:i], t]), -15, point[i], limit=200)[0]  # noqa: B023
            whole = density(point[:i]) if i else 1.0
            assert below / whole == pytest.approx(uniform[i], abs=1e-8)


def test_rosenblatt_there_and_back():
    u = np.random.default_rng(2).uniform(0.001, 0.999, size=(500, 3))
    np.testing.assert_allclose(MIXTURE.to_uniform(MIXTURE.from_uniform(u)), u, atol=1e-12)
    x = draw(500)
    np.testing.assert_allclose(MIXTURE.from_uniform(MIXTURE.to_uniform(x)), x, atol=1e-6)


def test_rosenblatt_of_a_fitted_mixture_and_of_one_component():
    fitted = GaussianMixture(2, random_state=0).fit(draw(2000))
    parameters = fitted.weights_, fitted.means_, fitted.covariances_
    x = draw(10)
    np.testing.assert_array_equal(
        Rosenblatt.of(fitted).to_uniform(x), Rosenblatt(*parameters).to_uniform(x)
    )
    one = Rosenblatt([1.0], [[1.0, -1.0]], [[[4.0, 1.0], [1.0, 1.0]]])
    z = np.random.default_rng(0).normal(size=(100, 2))
    np.testing.assert_allclose(one.from_uniform(ndtr(z)), [1, -1] + z @ one.factors[0].T, atol=1e-7)
    # a component of weight zero changes nothing
    two = Rosenblatt([1.0, 0.0], [[1.0, -1.0], [9.0, 9.0]], [one.factors[0] @ one.factors[0].T] * 2)
    np.testing.assert_allclose(two.from_uniform(ndtr(z)), one.from_uniform(ndtr(z)), atol=1e-7)


# --- what people really bring --------------------------------------------------------------------


def bump(mean, scale):
    return lambda x: math.exp(-0.5 * ((x - mean) / scale) ** 2)


@pytest.mark.parametrize(
    ("modes", "center", "near"),
    [
        (((1, 0, 1), (1, 20, 1)), None, 20),
        (((0.3, -40, 1), (0.7, 40, 1)), -40.0, 40),
        (((1, 0, 1), (10, -100, 0.1)), None, -100),
        (((1, 0, 1e-8), (1, 2e-7, 1e-8)), None, 2e-7),
    ],
)
def test_a_mode_that_the_search_would_lose(modes, center, near):
    """Mass beyond a gap of zeros: refused, with the place; each piece for itself is inverted."""

    def pdf(x):
        return sum(w * bump(m, s)(x) for w, m, s in modes)

    with pytest.raises(ValueError, match=r"a density in one piece.*more of it near") as caught:
        NumericalInverse(pdf=pdf, center=center)
    found = float(str(caught.value).rsplit(" ", 1)[1])
    assert found == pytest.approx(near, abs=10 * modes[1][2])
    middle = (modes[0][1] + near) / 2
    side = (middle, np.inf) if near > middle else (-np.inf, middle)
    piece = NumericalInverse(pdf=pdf, center=float(near), support=side)
    assert piece.ppf(0.5) == pytest.approx(near, abs=1e-8 * modes[1][2] + 1e-9 * abs(near))


def test_a_center_where_there_is_nothing():
    for center in (None, 5e3):
        with pytest.raises(
            ValueError, match=r"center: wanted a point near which|positive at center"
        ):
            NumericalInverse(pdf=bump(1e6, 1e-3), center=center, support=(-1e7, 1e7))


def test_a_density_between_two_doubles():
    """At 1e6 doubles are 1e-10 apart, 5e-8 of the cdf: no quantile there is known to 1e-10."""
    with pytest.raises(ValueError, match="a density that doubles resolve to u_error"):
        NumericalInverse(pdf=bump(1e6, 1e-3), center=1e6)
    inverse = NumericalInverse(pdf=bump(1e6, 1e-3), center=1e6, u_error=1e-6)
    u = np.linspace(0.001, 0.999, 999)
    assert np.abs(stats.norm.cdf(inverse.ppf(u), 1e6, 1e-3) - u).max() < 1e-6


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_densities_in_any_unit(unit):
    inverse = NumericalInverse(pdf=bump(0, unit))
    u = np.random.default_rng(0).uniform(size=1000)
    assert np.abs(stats.norm.cdf(inverse.ppf(u), 0, unit) - u).max() < 1.01e-10


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_a_pole_is_said_where_it_costs_digits():
    """At 1 the doubles are too far apart to hold the mass of the pole: 1e-8 of it is lost."""
    target = stats.beta(0.5, 0.5)
    with pytest.warns(UserWarning, match="u_error=1e-10 is not kept"):
        inverse = NumericalInverse(pdf=target.pdf, support=(0, 1), center=0.5)
    u = np.random.default_rng(0).uniform(size=2000)
    assert 1e-10 < np.abs(target.cdf(inverse.ppf(u)) - u).max() < 2e-8
    solved = NumericalInverse(cdf=target.cdf, sf=target.sf, support=(0, 1))
    x = solved.ppf(u)
    step = target.cdf(np.nextafter(x, 1)) - target.cdf(np.nextafter(x, 0))
    assert (np.abs(target.cdf(x) - u) <= np.maximum(1e-13, 2 * step)).all()


def test_a_numerical_inverse_can_be_asked_both_ways():
    inverse = NumericalInverse(pdf=bumps_pdf, center=-1.0)
    x = np.linspace(-30, 30, 201)
    assert np.abs(inverse.cdf(x) - bumps_cdf(x)).max() < 1.01e-10
    assert inverse.sf(x) == pytest.approx(1 - inverse.cdf(x))
    assert inverse.cdf([-np.inf, np.inf]).tolist() == [0, 1]
    z = np.linspace(-5, 5, 41)
    assert target_to_gaussian(gaussian_to_target(z, inverse), inverse) == pytest.approx(z, abs=1e-3)
    known = NumericalInverse(cdf=bumps_cdf)
    assert known.cdf(x) == pytest.approx(bumps_cdf(x))
    assert known.sf(x) == pytest.approx(1 - bumps_cdf(x))


@pytest.mark.parametrize(
    ("target", "support"),
    [
        (stats.norm, (-np.inf, np.inf)),
        (stats.expon, (0, np.inf)),
        (stats.gumbel_r, (-np.inf, np.inf)),
    ],
)
def test_the_upper_tail_of_a_cdf_with_its_complement(target, support):
    """As far out as SciPy's own inverse, where the cdf alone has rounded to 1."""
    inverse = NumericalInverse(cdf=target.cdf, sf=target.sf, support=support)
    z = np.array([-30.0, -8.0, 0.0, 5.0, 8.2, 8.5, 30.0])
    assert gaussian_to_target(z, inverse) == pytest.approx(
        gaussian_to_target(z, target), rel=1e-8, abs=1e-12
    )
    assert target_to_gaussian(gaussian_to_target(z, inverse), inverse) == pytest.approx(z, abs=1e-8)
    assert inverse.isf([0.0, 1.0]).tolist() == [support[1], support[0]]


def test_numpys_numbers_and_layouts():
    inverse = NumericalInverse(pdf=bumps_pdf, center=np.float32(-1), u_error=np.float64(1e-9))
    assert inverse.sample(np.int64(3)).shape == (3,)
    q = np.linspace(0.1, 0.9, 9)
    for same in (q[::-1].copy()[::-1], q.astype(">f8"), np.asfortranarray(q)):
        assert np.array_equal(inverse.ppf(same), inverse.ppf(q))
    assert inverse.ppf([]).shape == (0,)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_to_uniform(["a"]), r"^z: wanted numbers"),
        (lambda: gaussian_to_target([np.nan], stats.expon()), r"^z: wanted numbers, got NaN"),
        (lambda: target_to_gaussian(np.nan, stats.expon()), r"^x: wanted numbers, got NaN"),
        (lambda: NumericalInverse(), r"^pdf, log_pdf, cdf: wanted exactly one of them, got none"),
        (lambda: NumericalInverse(pdf=np.exp, cdf=np.exp), r"exactly one.*pdf and cdf"),
        (lambda: NumericalInverse(pdf=np.exp, support=(1, 1)), r"^support: wanted the two ends"),
        (lambda: NumericalInverse(pdf=np.exp, u_error=0.1), r"^u_error: wanted a number between"),
        (lambda: NumericalInverse(pdf=lambda x: -1.0, support=(0, 1)), r"^pdf or log_pdf: wanted"),
        (lambda: NumericalInverse(pdf=lambda x: math.nan), r"^pdf or log_pdf: wanted a density"),
        (lambda: NumericalInverse(cdf=np.tanh), r"^cdf: wanted 0 and 1 at the ends"),
        (lambda: NumericalInverse(pdf=bumps_pdf).ppf([0.5, 1.5]), r"^q: wanted probabilities"),
        (lambda: NumericalInverse(pdf=bumps_pdf).isf([-0.5]), r"^q: wanted probabilities"),
        (lambda: NumericalInverse(pdf=bumps_pdf).sample(0), r"^n_samples: wanted an integer"),
        (lambda: NumericalInverse(pdf=bumps_pdf, sf=np.exp), r"^sf: wanted a cdf beside it"),
        (lambda: Rosenblatt([0.5, 0.4], np.zeros((2, 1)), np.ones((2, 1, 1))), r"^weights:"),
        (lambda: Rosenblatt([1.0], np.zeros((2, 1)), np.ones((1, 1, 1))), r"^means: .*\(1, d\)"),
        (lambda: Rosenblatt([1.0], np.zeros((1, 2)), np.ones((1, 1, 1))), r"^covariances: .*shape"),
        (lambda: Rosenblatt([1.0], [[0.0]], [[[-1.0]]]), r"^covariances: wanted positive definite"),
        (lambda: MIXTURE.to_uniform(np.zeros((4, 2))), r"^x: wanted shape \(n, 3\)"),
        (lambda: MIXTURE.from_uniform(np.ones((4, 3))), r"^u: wanted numbers between 0 and 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
