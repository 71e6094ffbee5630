"""Each statement of the chapter on mixtures, both sides, against something independent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, optimize, special, stats

from vaebook.mixture import (
    CovarianceType,
    GaussianMixture,
    MixtureParameters,
    complete_log_likelihood,
    em_steps,
    log_joint,
    lower_bound,
    m_step,
    precision_cholesky,
    responsibilities,
)

Array = NDArray[Any]
KINDS: tuple[CovarianceType, ...] = ("full", "tied", "diag", "spherical")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_mixture(n_components: int, d: int, seed: int = 0) -> MixtureParameters:
    g = rng(seed)
    turn = g.normal(size=(n_components, d, d))
    covariances = turn @ turn.transpose(0, 2, 1) + 0.3 * np.eye(d)
    means = 2 * g.normal(size=(n_components, d))
    return MixtureParameters(g.dirichlet(np.full(n_components, 3.0)), means, covariances)


def joint_of(parameters: MixtureParameters, X: Array) -> Array:
    weights, means, covariances = parameters
    return log_joint(X, weights, means, precision_cholesky(covariances))


def scipy_joint(parameters: MixtureParameters, X: Array) -> Array:
    """Densities, not logarithms, by SciPy."""
    each = zip(*parameters, strict=True)
    return np.transpose([w * stats.multivariate_normal(m, c).pdf(X) for w, m, c in each])


def log_likelihood(parameters: MixtureParameters, X: Array) -> float:
    return float(responsibilities(joint_of(parameters, X))[0].sum())


MODEL = random_mixture(3, 2)
X = rng(1).normal(size=(50, 2)) * 2


# --- the story and the joint density ----------------------------------------------------------


@pytest.mark.equation("eq-mixture-density", tolerance="4 standard errors; 1e-12 for the density")
def test_the_story_has_the_density_of_the_mixture() -> None:
    """Shares of 200,000 samples in boxes, against the integral of SciPy's Gaussians over them."""
    model = GaussianMixture(3, weights_init=MODEL.weights, means_init=MODEL.means, max_iter=0)
    model.set_params(precisions_init=np.linalg.inv(MODEL.covariances), random_state=0).fit(X)
    drawn, _ = model.sample(200_000)
    edges = [-8.0, -1.5, 0.0, 1.5, 8.0]
    counts = np.histogram2d(*drawn.T, bins=[edges, edges])[0] / len(drawn)
    for i, j in np.ndindex(4, 4):
        low, high = [edges[i], edges[j]], [edges[i + 1], edges[j + 1]]
        exact = sum(
            w * stats.multivariate_normal(m, c).cdf(high, lower_limit=low)
            for w, m, c in zip(*MODEL, strict=True)
        )
        error = math.sqrt(exact * (1 - exact) / len(drawn))
        assert abs(counts[i, j] - exact) < 4 * error + 1e-5
    inside = responsibilities(joint_of(MODEL, X))[0]
    np.testing.assert_allclose(inside, np.log(scipy_joint(MODEL, X).sum(1)), rtol=1e-12)


@pytest.mark.equation("eq-one-hot-joint", tolerance="1e-12")
def test_one_hot_joint() -> None:
    """The product with exponents, for each one-hot z, against SciPy's density of the component."""
    each = scipy_joint(MODEL, X)
    for k, z in enumerate(np.eye(3)):
        np.testing.assert_allclose(np.prod(each**z, axis=1), each[:, k], rtol=1e-12)
        from_package = np.exp(complete_log_likelihood(joint_of(MODEL, X), np.tile(z, (50, 1))))
        np.testing.assert_allclose(from_package, np.prod(each**z, axis=1), rtol=1e-12)


@pytest.mark.equation("eq-complete-log-likelihood", tolerance="1e-12")
def test_complete_log_likelihood() -> None:
    """The logarithm of the product with exponents, at random one-hot z."""
    z = np.eye(3)[rng(2).integers(3, size=50)]
    product = np.prod(scipy_joint(MODEL, X) ** z, axis=1)
    ours = complete_log_likelihood(joint_of(MODEL, X), z)
    np.testing.assert_allclose(ours, np.log(product), rtol=1e-12)


@pytest.mark.equation("eq-mixture-joint", tolerance="1e-12")
@pytest.mark.equation("eq-gaussian-by-cholesky", tolerance="1e-12")
@pytest.mark.parametrize("d", [1, 2, 5])
def test_log_joint(d: int) -> None:
    """The density with an inverse and a determinant, by NumPy, and SciPy's."""
    model, x = random_mixture(3, d), rng(3).normal(size=(20, d))
    joint = joint_of(model, x)
    np.testing.assert_allclose(joint, np.log(scipy_joint(model, x)).reshape(20, 3), rtol=1e-12)
    for k, (weight, mean, covariance) in enumerate(zip(*model, strict=True)):
        away = x - mean
        square = np.einsum("nd,de,ne->n", away, np.linalg.inv(covariance), away)
        log_det = np.linalg.slogdet(covariance)[1]
        by_inverse = -0.5 * (d * math.log(2 * math.pi) + log_det + square) + math.log(weight)
        np.testing.assert_allclose(joint[:, k], by_inverse, rtol=1e-12)
        factor = precision_cholesky(covariance[None])[0]
        np.testing.assert_allclose(factor @ factor.T @ covariance, np.eye(d), atol=1e-12)


@pytest.mark.equation("eq-incomplete-log-likelihood", tolerance="1e-12")
def test_incomplete_log_likelihood() -> None:
    """The logarithm of a product of densities, each a sum over all colourings of four data."""
    each = scipy_joint(MODEL, X[:4])
    total = sum(
        math.prod(each[n, k] for n, k in enumerate(colours))
        for colours in itertools.product(range(3), repeat=4)
    )
    assert log_likelihood(MODEL, X[:4]) == pytest.approx(math.log(total), rel=1e-12)


@pytest.mark.equation("eq-responsibilities", tolerance="1e-12")
def test_responsibilities() -> None:
    """Bayes' rule on SciPy's densities, and shares of components among samples near a point."""
    joint = scipy_joint(MODEL, X)
    resp = responsibilities(joint_of(MODEL, X))[1]
    np.testing.assert_allclose(resp, joint / joint.sum(1, keepdims=True), rtol=1e-12, atol=1e-15)
    line = MixtureParameters(np.array([0.6, 0.4]), np.array([[0.0], [1.5]]), np.ones((2, 1, 1)))
    g = rng(4)
    z = g.random(400_000) < 0.4
    near = abs(z * 1.5 + g.normal(size=len(z)) - 0.75) < 0.02
    at = responsibilities(joint_of(line, np.array([[0.75]])))[1][0, 1]
    assert abs(z[near].mean() - at) < 4 * math.sqrt(at * (1 - at) / near.sum())


# --- EM ---------------------------------------------------------------------------------------


@pytest.mark.equation("eq-mixture-elbo-decomposition", tolerance="1e-12")
def test_the_bound_and_its_gap() -> None:
    """SciPy's entropies and densities, for random q; and the gap at q = r is zero."""
    joint = joint_of(MODEL, X)
    log_evidence, resp = responsibilities(joint)
    q = rng(5).dirichlet([1.0, 1.0, 1.0], size=50)
    gap = stats.entropy(q, resp, axis=1)
    log_p = np.log(scipy_joint(MODEL, X))
    line_1 = (q * (log_p - np.log(q))).sum(1)
    line_2 = (q * (log_evidence[:, None] + np.log(resp) - np.log(q))).sum(1)
    np.testing.assert_allclose(lower_bound(joint, q), line_1, rtol=1e-12)
    np.testing.assert_allclose(line_1, line_2, rtol=1e-12)
    np.testing.assert_allclose(line_2, log_evidence - gap, rtol=1e-12)
    np.testing.assert_allclose(lower_bound(joint, resp), log_evidence, rtol=1e-12)


@pytest.mark.equation("eq-m-step", tolerance="1e-5")
@pytest.mark.parametrize("seed", [0, 1])
def test_m_step_maximises(seed: int) -> None:
    """A general-purpose optimiser on the expected complete-data log-likelihood, by SciPy."""
    resp = rng(seed).dirichlet([1.0, 1.0], size=50)

    def parameters(v: Array) -> MixtureParameters:
        lower = np.zeros((2, 2, 2))
        lower[:, [0, 1, 1], [0, 1, 0]] = v[6:].reshape(2, 3)
        lower[:, [0, 1], [0, 1]] = np.exp(lower[:, [0, 1], [0, 1]])
        covariances = lower @ lower.transpose(0, 2, 1)
        return MixtureParameters(special.softmax(v[:2]), v[2:6].reshape(2, 2), covariances)

    def negative(v: Array) -> float:
        return -float((resp * np.log(scipy_joint(parameters(v), X))).sum())

    start = np.r_[np.zeros(6), np.log(2) * np.tile([1, 1, 0], 2)]
    best = parameters(optimize.minimize(negative, start, options={"gtol": 1e-6}).x)
    ours = m_step(X, resp, reg_covar=0)
    for name in MixtureParameters._fields:
        np.testing.assert_allclose(getattr(ours, name), getattr(best, name), atol=1e-5)
    value = complete_log_likelihood(joint_of(ours, X), resp).sum()
    for moved in (1e-3, -1e-3):
        for other in (
            ours._replace(means=ours.means + moved),
            ours._replace(covariances=ours.covariances * (1 + moved)),
            ours._replace(weights=ours.weights + [moved, -moved]),
        ):
            assert (resp * np.log(scipy_joint(other, X))).sum() < value


def test_a_regularised_m_step_maximises_a_penalised_sum() -> None:
    """A general-purpose optimiser, by SciPy, on Q less the penalty that the chapter names."""
    resp, reg = rng(2).dirichlet([1.0, 1.0], size=50), 0.5
    ours = m_step(X, resp, reg_covar=reg)

    def negative(v: Array) -> float:
        lower = np.array([[[math.exp(a), 0], [b, math.exp(c)]] for a, b, c in v.reshape(2, 3)])
        model = ours._replace(covariances=lower @ lower.transpose(0, 2, 1))
        traces = np.trace(np.linalg.inv(model.covariances), axis1=1, axis2=2)
        q = (resp * np.log(scipy_joint(model, X))).sum()
        return -float(q - reg / 2 * resp.sum(0) @ traces)

    best = optimize.minimize(negative, np.zeros(6), options={"gtol": 1e-6}).x
    lower = np.linalg.cholesky(ours.covariances)
    found = np.transpose([np.log(lower[:, 0, 0]), lower[:, 1, 0], np.log(lower[:, 1, 1])])
    np.testing.assert_allclose(found.ravel(), best, atol=1e-5)


@pytest.mark.equation("eq-em-monotone", tolerance="1e-9")
@pytest.mark.parametrize("seed", range(4))
def test_em_climbs_at_every_half_step(seed: int) -> None:
    """Each sign of the chain, over 40 steps from random responsibilities, by SciPy's densities."""
    parameters = m_step(X, rng(seed).dirichlet([1.0, 1.0, 1.0], size=50), reg_covar=0)
    steps = em_steps(X, parameters, reg_covar=0)
    for _ in range(40):
        before = np.log(scipy_joint(parameters, X))
        resp = special.softmax(before, axis=1)
        bound, new = next(steps)
        after = np.log(scipy_joint(new, X))
        touching = (resp * before + special.entr(resp)).sum()
        lifted = (resp * after + special.entr(resp)).sum()
        assert touching == pytest.approx(special.logsumexp(before, axis=1).sum(), rel=1e-12)
        assert 50 * bound == pytest.approx(touching, rel=1e-12)
        assert lifted >= touching - 1e-9
        assert special.logsumexp(after, axis=1).sum() >= lifted - 1e-9
        parameters = new
    assert 50 * bound > log_likelihood(m_step(X, np.full((50, 3), 1 / 3), reg_covar=0), X) + 0.1


# --- where it fails, and model choice ---------------------------------------------------------


@pytest.mark.equation("eq-singularity", tolerance="1e-9")
def test_a_spike_has_no_limit() -> None:
    """The right-hand side by SciPy, for deviations down to 1e-150, and its growth."""
    x = rng(6).normal(size=(30, 1))
    rest = math.log(0.1 / math.sqrt(2 * math.pi))
    rest += float(np.log(0.9 * stats.norm.pdf(x[1:, 0], 0.2, 1.1)).sum())
    found = []
    for deviation in (1e-1, 1e-5, 1e-50, 1e-150):
        variances = np.array([deviation**2, 1.1**2])[:, None, None]
        spike = MixtureParameters(np.array([0.1, 0.9]), np.array([x[0], [0.2]]), variances)
        found.append(log_likelihood(spike, x))
        assert found[-1] >= rest - math.log(deviation) - 1e-9
    assert found[-1] - found[-2] == pytest.approx(100 * math.log(10), rel=1e-9)


@pytest.mark.equation("eq-mixture-parameter-count", tolerance="1e-9")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_components", "d"), [(1, 1), (2, 3), (3, 2)])
def test_parameter_count(kind: CovarianceType, n_components: int, d: int) -> None:
    """The free entries of fitted weights, means and covariances, counted one by one."""
    data = rng(7).normal(size=(60, d)) + 4 * rng(8).integers(n_components, size=(60, 1))
    fitted = GaussianMixture(n_components, covariance_type=kind, random_state=0).fit(data)
    covariances = fitted.covariances_
    if kind in ("full", "tied"):
        covariances = covariances[..., *np.tril_indices(d)]
    free = fitted.weights_[1:].size + fitted.means_.size + covariances.size
    log_p = fitted.score_samples(data).sum()
    assert (fitted.aic(data) + 2 * log_p) / 2 == pytest.approx(free, abs=1e-9)
    assert (fitted.bic(data) + 2 * log_p) / math.log(60) == pytest.approx(free, abs=1e-9)


# --- the mixture as a VAE, and the VAE as a mixture -------------------------------------------


@pytest.mark.equation("eq-softmax-encoder", tolerance="1e-12")
def test_the_exact_encoder_is_a_softmax() -> None:
    """The responsibilities that the package computes from whitened data."""
    precisions = np.linalg.inv(MODEL.covariances)
    b = np.einsum("kij,kj->ki", precisions, MODEL.means)
    c = np.log(MODEL.weights) - 0.5 * np.einsum("ki,ki->k", b, MODEL.means)
    c += 0.5 * np.linalg.slogdet(precisions)[1]
    square = np.einsum("ni,kij,nj->nk", X, precisions, X)
    encoder = special.softmax(c + X @ b.T - 0.5 * square, axis=1)
    resp = responsibilities(joint_of(MODEL, X))[1]
    np.testing.assert_allclose(encoder, resp, rtol=0, atol=1e-12)


@pytest.mark.equation("eq-one-hot-vae", tolerance="1e-12")
def test_two_terms_of_the_bound() -> None:
    """SciPy's densities of x given z, and its divergence of q from the weights."""
    q = rng(9).dirichlet([1.0, 1.0, 1.0], size=50)
    log_x = np.log(scipy_joint(MODEL, X) / MODEL.weights)
    two_terms = (q * log_x).sum(1) - stats.entropy(q, MODEL.weights[None], axis=1)
    np.testing.assert_allclose(lower_bound(joint_of(MODEL, X), q), two_terms, rtol=1e-12)


def decode(z: Any) -> Any:
    return z + 2 * np.tanh(3 * z)


Z = np.linspace(-7, 7, 2801)
PRIOR = stats.norm.pdf(Z) * (Z[1] - Z[0])  # exact to rounding: smooth, and zero at both ends


def exact_density(x: Array) -> Array:
    return np.asarray(stats.norm.pdf(x[:, None], decode(Z), 0.25) @ PRIOR)


@pytest.mark.equation("eq-infinite-mixture", tolerance="4.5 standard errors; 1e-6 for the whole")
def test_infinite_mixture() -> None:
    """The distribution function of the integral, against shares of ancestral samples below x."""
    g = rng(10)
    drawn = decode(g.normal(size=200_000)) + 0.25 * g.normal(size=200_000)
    grid = np.linspace(-8, 8, 801)
    below = integrate.cumulative_simpson(exact_density(grid), x=grid, initial=0)
    assert below[-1] == pytest.approx(1, abs=1e-6)
    for x in (-3.0, -2.0, 0.0, 1.0, 2.6):
        exact = float(np.interp(x, grid, below))
        assert abs((drawn < x).mean() - exact) < 4.5 * math.sqrt(exact * (1 - exact) / 200_000)


@pytest.mark.equation("eq-sampled-mixture-error", tolerance="4 standard errors")
@pytest.mark.parametrize("n", [1, 20])
def test_error_of_the_sampled_mixture(n: int) -> None:
    """400 repetitions of the squared error; the right-hand side by quadrature over the codes."""
    grid = np.linspace(-8, 8, 801)
    density = exact_density(grid)
    codes = rng(11).normal(size=(400, n))
    kernels = stats.norm.pdf(grid, decode(codes)[..., None], 0.25).mean(1)
    errors = np.trapezoid((kernels - density) ** 2, grid, axis=1)
    wide = math.sqrt(2) * 0.25
    apart = decode(Z[::2])[:, None] - decode(Z[::2])
    pairs = 4 * PRIOR[::2] @ stats.norm.pdf(apart, 0, wide) @ PRIOR[::2]
    exact = (stats.norm.pdf(0, 0, wide) - pairs) / n
    standard_error = errors.std(ddof=1) / math.sqrt(len(errors))
    assert abs(errors.mean() - exact) < 4 * standard_error + 1e-6


# --- any density ------------------------------------------------------------------------------

# Densities on the line, and what SciPy says of a draw of each plus Gaussian noise of size sigma.
BLURRED: dict[str, tuple[Any, Callable[[Array, float], Array]]] = {
    "uniform": (
        stats.uniform(),
        lambda x, sigma: stats.norm.cdf(x / sigma) - stats.norm.cdf((x - 1) / sigma),
    ),
    "exponential": (
        stats.expon(),
        lambda x, sigma: stats.exponnorm(1 / sigma, scale=sigma).pdf(x),
    ),
    "normal": (stats.norm(), lambda x, sigma: stats.norm(scale=math.hypot(1, sigma)).pdf(x)),
}
LINE = np.linspace(-6, 14, 20_001)


def l1(p: Array, q: Array) -> float:
    """Integral of the absolute difference of two densities on the line."""
    return float(np.trapezoid(abs(p - q), LINE))


@pytest.mark.equation("eq-mixtures-dense", tolerance="5e-3")
@pytest.mark.parametrize("name", BLURRED)
def test_mixtures_come_close_to_a_density(name: str) -> None:
    """SciPy's density of a draw plus noise, for many components; then its distance, down to 0."""
    target, blur = BLURRED[name]
    for sigma in (0.3, 0.1):
        limit, distances = l1(blur(LINE, sigma), target.pdf(LINE)), []
        for n in (5, 50, 1000):
            centres = target.ppf((np.arange(n) + 0.5) / n)[:, None]
            factors = precision_cholesky(np.full((n, 1, 1), sigma**2))
            parts = (
                np.exp(log_joint(x, np.full(n, 1 / n), centres, factors)).sum(1)
                for x in np.array_split(LINE[:, None], 20)
            )
            distances.append(l1(np.concatenate(list(parts)), target.pdf(LINE)))
        off = [abs(distance - limit) for distance in distances]
        assert off == sorted(off, reverse=True)
        assert distances[-1] == pytest.approx(limit, abs=5e-3)
    falling = [l1(blur(LINE, sigma), target.pdf(LINE)) for sigma in (0.3, 0.1, 0.03, 0.01)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] < 0.02


@pytest.mark.equation("eq-blurred-edge", tolerance="1e-4")
@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5, 2.0])
def test_a_blurred_edge(sigma: float) -> None:
    """Quadrature of the absolute difference from SciPy's density of a draw plus noise."""
    x = np.linspace(-12, 13, 500_001)
    blurred = BLURRED["uniform"][1](x, sigma)
    exact = np.trapezoid(abs(blurred - stats.uniform().pdf(x)), x)
    normal = stats.norm
    printed = 4 * sigma * (normal.pdf(0) - normal.pdf(1 / sigma) + normal.cdf(-1 / sigma) / sigma)
    assert printed == pytest.approx(exact, abs=1e-4)


# --- definitions ------------------------------------------------------------------------------


@pytest.mark.equation("def-mixture-story", tolerance="4.5 standard errors")
@pytest.mark.parametrize("kind", KINDS)
def test_the_story_of_a_mixture(kind: CovarianceType) -> None:
    """Shares of the components in 100,000 draws, and the mean and covariance of each one's data."""
    fitted = GaussianMixture(3, covariance_type=kind, random_state=0)
    fitted.fit(np.concatenate([rng(k).normal(4 * k, 1 + k, size=(60, 2)) for k in range(3)]))
    x, component = fitted.sample(100_000)
    for k in range(3):
        own, weight = x[component == k], fitted.weights_[k]
        assert abs(len(own) / 1e5 - weight) < 4.5 * math.sqrt(weight * (1 - weight) / 1e5)
        one = fitted.covariances_ if kind == "tied" else fitted.covariances_[k]
        whole = one if kind in ("full", "tied") else one * np.eye(2)
        off = own - fitted.means_[k]
        products = off[:, :, None] * off[:, None, :]
        for found, printed in ((off, 0.0), (products, whole)):
            error = found.std(0) / math.sqrt(len(own))
            assert (abs(found.mean(0) - printed) < 4.5 * error).all()


@pytest.mark.equation("def-mixture-elbo", tolerance="1e-10 nats")
@pytest.mark.equation("def-expected-complete", tolerance="1e-10 nats")
def test_the_bound_of_a_mixture_and_its_part_with_parameters() -> None:
    """Python's sums over data and components, with SciPy's Gaussians."""
    mixture, x = random_mixture(3, 2), 2 * rng(1).normal(size=(20, 2))
    q = rng(2).dirichlet([1.0, 1.0, 1.0], size=20)
    expected, bounds = 0.0, []
    for datum, guess in zip(x, q, strict=True):
        joint = [
            math.log(w) + stats.multivariate_normal(m, c).logpdf(datum)
            for w, m, c in zip(*mixture, strict=True)
        ]
        expected += sum(g * j for g, j in zip(guess, joint, strict=True))
        bounds.append(sum(g * (j - math.log(g)) for g, j in zip(guess, joint, strict=True)))
    log_joints = joint_of(mixture, x)
    assert complete_log_likelihood(log_joints, q).sum() == pytest.approx(expected, abs=1e-10)
    np.testing.assert_allclose(lower_bound(log_joints, q), bounds, rtol=0, atol=1e-10)


@pytest.mark.equation("def-aic-bic", tolerance="1e-9")
@pytest.mark.parametrize("kind", KINDS)
def test_the_two_criteria(kind: CovarianceType) -> None:
    """scikit-learn's criteria of the same fit; the parameters counted one by one."""
    from sklearn import mixture as peer

    x = rng(3).normal(size=(80, 3)) * [1.0, 2.0, 0.5]
    ours, theirs = (
        maker(2, covariance_type=kind, tol=1e-10, max_iter=500, random_state=0).fit(x)
        for maker in (GaussianMixture, peer.GaussianMixture)
    )
    assert ours.aic(x) == pytest.approx(theirs.aic(x), abs=1e-9)
    assert ours.bic(x) == pytest.approx(theirs.bic(x), abs=1e-9)
    free = {"full": 2 * 6, "tied": 6, "diag": 2 * 3, "spherical": 2}[kind] + 2 * 3 + 1
    log_likelihood = sum(ours.score_samples(x))
    assert ours.aic(x) == pytest.approx(2 * free - 2 * log_likelihood, abs=1e-9)
    assert ours.bic(x) == pytest.approx(free * math.log(80) - 2 * log_likelihood, abs=1e-9)
