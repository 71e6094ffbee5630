"""Each statement of the chapter on density estimation, against something independent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats
from sklearn.datasets import load_digits
from torch import Tensor

from tests.common import F64, tensor
from vaebook.autoregressive import MADE, PixelRNN
from vaebook.bayes_net import BayesianNetwork
from vaebook.gaussian import FullGaussian, LinearGaussian, log_normal
from vaebook.kde import KernelDensity
from vaebook.mixture import GaussianMixture
from vaebook.naive_bayes import BernoulliNB, GaussianNB
from vaebook.taxonomy import from_estimator


def binary_data(n: int = 400, d: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features that depend on a class, and on each other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    chances = np.array([0.3, 0.6])[labels][:, None] + 0.2 * rng.normal(size=(n, 1))
    return (rng.random((n, d)) < chances + 0.1 * np.sin(np.arange(d))) * 1.0, labels


# --- joint and conditional --------------------------------------------------------------------


def random_network(seed: int = 0) -> tuple[BayesianNetwork, np.ndarray]:
    """A network of four variables, and its joint distribution as an array by einsum."""
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(2), 3)
    c, d = rng.dirichlet(np.ones(2), (3, 2)), rng.dirichlet(np.ones(3), 2)

    def rows(array: np.ndarray) -> dict[tuple[int, ...], dict[int, float]]:
        shape = array.shape[:-1]
        return {i: dict(enumerate(array[i].tolist())) for i in np.ndindex(*shape)}

    tables = {"d": rows(d), "c": rows(c), "b": rows(b), "a": rows(a)}
    net = BayesianNetwork(tables, {"b": ["a"], "c": ["a", "b"], "d": ["c"]})
    return net, np.einsum("a,ab,abc,cd->abcd", a, b, c, d)


@pytest.mark.equation("eq-bayes-rule", tolerance="1e-14")
def test_bayes_rule_turns_a_table_round() -> None:
    """The column of the joint table, divided by its sum, for a network of two variables."""
    net, joint = random_network()
    table = joint.sum((2, 3))  # a, b
    for b in range(2):
        expected = table[:, b] / table[:, b].sum()
        prior = net.query("a")
        likelihood = {a: net.query("b", {"a": a})[b] for a in range(3)}
        total = sum(likelihood[a] * prior[a] for a in range(3))
        by_rule = [likelihood[a] * prior[a] / total for a in range(3)]
        assert by_rule == pytest.approx(expected.tolist(), abs=1e-14)
        assert list(net.query("a", {"b": b}).values()) == pytest.approx(by_rule, abs=1e-14)


@pytest.mark.equation("eq-bayesian-network-query", tolerance="1e-14")
def test_queries_are_sums_over_the_joint_table() -> None:
    """The joint distribution as one array, summed over its axes by NumPy."""
    for seed in range(3):
        net, joint = random_network(seed)
        assert list(net.query("d").values()) == pytest.approx(joint.sum((0, 1, 2)), abs=1e-14)
        given = joint[:, 1, :, 2].sum(1)
        answer = net.query("a", {"b": 1, "d": 2})
        assert list(answer.values()) == pytest.approx(given / given.sum(), abs=1e-14)
        point = {"a": 2, "b": 0, "c": 1, "d": 0}
        assert math.exp(net.log_prob(point)) == pytest.approx(joint[2, 0, 1, 0], abs=1e-15)


# --- naive Bayes ------------------------------------------------------------------------------


@pytest.mark.equation("eq-naive-bayes", tolerance="1e-10")
def test_naive_bayes_is_bayes_rule_with_a_product() -> None:
    """SciPy's normal and Bernoulli densities, multiplied feature by feature."""
    X, y = load_digits(return_X_y=True)
    X = X[:, 18:26]
    binary, real = BernoulliNB(binarize=7.5).fit(X, y), GaussianNB(1e-3).fit(X, y)
    ones = X[:50] > 7.5
    share = np.bincount(y) / len(y)
    theta = np.stack([((X > 7.5)[y == c].sum(0) + 1) / ((y == c).sum() + 2) for c in range(10)])
    products = share * stats.bernoulli.pmf(ones[:, None], theta).prod(-1)
    expected = products / products.sum(1, keepdims=True)
    assert binary.predict_proba(X[:50]) == pytest.approx(expected, abs=1e-10)
    means = np.stack([X[y == c].mean(0) for c in range(10)])
    extra = 1e-3 * X.var(0).max()
    stds = np.sqrt(np.stack([X[y == c].var(0) for c in range(10)]) + extra)
    products = share * stats.norm.pdf(X[:50, None], means, stds).prod(-1)
    expected = products / products.sum(1, keepdims=True)
    assert real.predict_proba(X[:50]) == pytest.approx(expected, abs=1e-10)


@pytest.mark.equation("eq-naive-bayes-linear", tolerance="1e-12")
def test_log_odds_of_naive_bayes_are_linear() -> None:
    """The log-odds of every pattern, against the formula's weights and those at zero."""
    X, y = binary_data()
    model = BernoulliNB().fit(X, y)
    every = np.array(np.unravel_index(np.arange(128), (2,) * 7)).T * 1.0
    log_p = model.predict_log_proba(every)
    log_odds = log_p[:, 1] - log_p[:, 0]
    counts = np.stack([X[y == c].sum(0) for c in range(2)])
    theta = (counts + 1) / (np.bincount(y)[:, None] + 2)
    weights = np.log(theta[1] * (1 - theta[0]) / (theta[0] * (1 - theta[1])))
    assert log_odds == pytest.approx(log_odds[0] + every @ weights, abs=1e-12)


@pytest.mark.equation("eq-laplace-smoothing", tolerance="1e-12; 1e-9 by quadrature")
@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_laplace_smoothing_is_the_mean_of_a_posterior(alpha: float) -> None:
    """Quadrature of the posterior mean under the prior Beta(α, α)."""
    X, y = binary_data(n=30, d=3)
    model = BernoulliNB(alpha).fit(X, y)
    for c in range(2):
        n = int((y == c).sum())
        for i in range(3):
            k = int(X[y == c, i].sum())

            def posterior(t: float, k: int = k, n: int = n) -> float:
                return stats.beta.pdf(t, alpha, alpha) * t**k * (1 - t) ** (n - k)

            mass, mean = (
                integrate.quad(lambda t, r=r: t**r * posterior(t), 0, 1, epsabs=0, epsrel=1e-12)[0]
                for r in (0, 1)
            )
            smoothed = math.exp(model.feature_log_prob_[c, i])
            assert smoothed == pytest.approx(mean / mass, rel=1e-9)
            assert smoothed == pytest.approx((k + alpha) / (n + 2 * alpha), rel=1e-12)


@pytest.mark.equation("eq-total-correlation", tolerance="1e-10; 1e-8 by minimisation")
def test_the_cost_of_independence() -> None:
    """Entropies by enumeration; the fitted model with one class; a numerical minimisation."""
    X, _ = binary_data(d=3)
    shares = np.bincount((X @ [4, 2, 1]).astype(int), minlength=8) / len(X)
    every = np.array(np.unravel_index(np.arange(8), (2,) * 3)).T * 1.0

    def divergence(log_odds: np.ndarray) -> float:
        log_q = (every * log_odds - np.logaddexp(0, log_odds)).sum(1)
        return float((special.xlogy(shares, shares) - shares * log_q).sum())

    model = BernoulliNB(alpha=0).fit(X, np.zeros(len(X)))
    at_marginals = float(
        (special.xlogy(shares, shares) - shares * model.score_samples(every)).sum()
    )
    entropies = stats.entropy([X.mean(0), 1 - X.mean(0)]).sum() - stats.entropy(shares)
    smallest = optimize.minimize(divergence, np.zeros(3), tol=1e-12).fun
    assert at_marginals == pytest.approx(entropies, abs=1e-10)
    assert smallest == pytest.approx(entropies, abs=1e-8)
    assert entropies > 0.01


@pytest.mark.equation("eq-repeated-evidence", tolerance="1e-9")
def test_repeated_features_multiply_the_evidence() -> None:
    """Log-likelihood ratios of a model of the features once, times the number of copies."""
    X, y = binary_data()
    for n_copies in (2, 5):
        once, copied = BernoulliNB().fit(X, y), BernoulliNB().fit(np.tile(X, n_copies), y)
        ratios = []
        for model, data in ((once, X), (copied, np.tile(X, n_copies))):
            joint = model.predict_joint_log_proba(data) - model.class_log_prior_
            ratios.append(joint[:, 1] - joint[:, 0])
        assert ratios[1] == pytest.approx(n_copies * ratios[0], abs=1e-9)


# --- kernels ----------------------------------------------------------------------------------


@pytest.mark.equation("eq-kde-silverman", tolerance="1e-6")
@pytest.mark.parametrize("d", [1, 2, 5])
def test_silvermans_bandwidth_is_best_for_gaussian_data(d: int) -> None:
    """Numerical minimisation of the approximate error, its curvature term by quadrature."""
    n, sigma = 500, 1.7
    data = np.random.default_rng(0).normal(size=(n, d))
    data = sigma * (data - data.mean(0)) / data.std(0, ddof=1)

    # ∇²p = p (r²/σ⁴ - d/σ²); in polar coordinates, with the area of the sphere
    def ring(r: float) -> float:
        area = 2 * math.pi ** (d / 2) / math.gamma(d / 2) * r ** (d - 1)
        p = (2 * math.pi * sigma**2) ** (-d / 2) * math.exp(-0.5 * (r / sigma) ** 2)
        return area * (p * (r**2 / sigma**4 - d / sigma**2)) ** 2

    curvature, _ = integrate.quad(ring, 0, 15 * sigma)

    def error(log_h: float) -> float:
        h = math.exp(log_h)
        return 1e6 * (1 / (n * h**d * (4 * math.pi) ** (d / 2)) + h**4 / 4 * curvature)

    best = optimize.minimize_scalar(
        error, bounds=(-3, 2), method="bounded", options={"xatol": 1e-10}
    )
    fitted = KernelDensity("silverman").fit(data).bandwidth_
    assert fitted == pytest.approx(math.exp(best.x), rel=1e-6)
    assert fitted == pytest.approx(sigma * (4 / ((d + 2) * n)) ** (1 / (d + 4)), rel=1e-12)


@pytest.mark.equation("eq-kde-leave-one-out", tolerance="1e-13")
def test_leaving_one_out_needs_no_second_fit() -> None:
    """An estimate fitted anew without each datum; and the chosen bandwidth against a fine grid."""
    data = np.random.default_rng(1).normal(size=(40, 2))
    n, d = data.shape

    def mean_left_out(h: float) -> float:
        fitted = [KernelDensity(h).fit(np.delete(data, i, 0)) for i in range(n)]
        scores = [one.score_samples(data[i : i + 1])[0] for i, one in enumerate(fitted)]
        whole = np.exp(KernelDensity(h).fit(data).score_samples(data))
        formula = n / (n - 1) * (whole - 1 / (n * (2 * math.pi * h**2) ** (d / 2)))
        assert formula == pytest.approx(np.exp(scores), abs=1e-13)
        return float(np.mean(scores))

    chosen = KernelDensity("cross-validation").fit(data).bandwidth_
    best = mean_left_out(chosen)
    for h in np.geomspace(0.3 * chosen, 4 * chosen, 30):
        assert mean_left_out(h) <= best + 1e-8


# --- Bayesian inference -----------------------------------------------------------------------


@pytest.mark.equation("eq-sequential-bayes", tolerance="1e-10; 1e-6 on the grid")
@pytest.mark.equation("eq-beta-posterior", tolerance="1e-10; 1e-6 on the grid")
def test_one_datum_after_another_is_all_at_once() -> None:
    """A grid on which prior and likelihood are multiplied one datum at a time."""
    data = np.random.default_rng(0).random(30) < 0.3
    a, b = 2.5, 4.0
    theta = (np.arange(4_000) + 0.5) / 4_000
    density = stats.beta.pdf(theta, a, b)
    for n, x in enumerate(data, start=1):
        density = density * (theta if x else 1 - theta)
        density = density / density.mean()
        k = int(data[:n].sum())
        all_at_once = stats.beta.pdf(theta, a, b) * theta**k * (1 - theta) ** (n - k)
        np.testing.assert_allclose(density, all_at_once / all_at_once.mean(), rtol=1e-10)
        np.testing.assert_allclose(density, stats.beta.pdf(theta, a + k, b + n - k), atol=1e-6)
        mean = float((theta * density).mean())
        assert mean == pytest.approx((a + k) / (a + b + n), abs=1e-6)
    # and the share that the package smooths to, with the prior Beta(1, 1)
    model = BernoulliNB(alpha=1.0).fit(data[:, None], np.zeros(30))
    assert math.exp(model.feature_log_prob_[0, 0]) == pytest.approx(
        (1 + data.sum()) / 32, rel=1e-12
    )


# --- three difficulties -----------------------------------------------------------------------


@pytest.mark.equation("eq-grid-error", tolerance="1e-10")
def test_the_error_of_a_grid_compounds() -> None:
    """The closed-form evidence of a model with independent dimensions; the full grid is summed."""
    axis = torch.linspace(-6, 6, 21, dtype=F64)
    errors = []
    for d in (1, 2, 3):
        z = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
        mean, zero = torch.full((1, d), 0.7, dtype=F64), torch.zeros(d, dtype=F64)
        log_joint = log_normal(z, mean, tensor([math.log(0.1)] * d)) + log_normal(z, zero, zero)
        evidence = LinearGaussian(torch.eye(d, dtype=F64), zero, 0.1).log_prob(mean)
        step = float(axis[1] - axis[0])
        errors.append(float(log_joint.exp().sum() * step**d / evidence.exp()) - 1)
    one = errors[0]
    assert 1e-3 < abs(one) < 0.2  # coarse, but a grid of the right density
    for d, error in enumerate(errors, start=1):
        assert error == pytest.approx((1 + one) ** d - 1, abs=1e-10)
        assert (1 + abs(one)) ** d - 1 >= d * abs(one) - 1e-15


def small_model() -> tuple[LinearGaussian, Tensor]:
    return LinearGaussian(tensor([[1.0], [0.5]]), tensor([0.2, -0.1]), 0.6), tensor([1.3, 0.4])


def exact_gradient(model: LinearGaussian, x: Tensor) -> Tensor:
    """Central differences of the closed-form evidence with respect to the mean."""
    columns = []
    for step in 1e-5 * torch.eye(len(x), dtype=F64):
        up, down = (
            LinearGaussian(model.weight, model.mean + sign * step, model.noise_var).log_prob(
                x[None]
            )
            for sign in (1, -1)
        )
        columns.append((up - down) / 2e-5)
    return torch.cat(columns)


@pytest.mark.equation("eq-evidence-gradient", tolerance="1e-8")
def test_the_gradient_of_the_evidence_is_a_posterior_average() -> None:
    """Central differences of the closed-form evidence; each line by quadrature."""
    model, x = small_model()
    z = torch.linspace(-10, 10, 4001, dtype=F64)[:, None]
    mean = (z @ model.weight.T + model.mean).requires_grad_()
    log_likelihood = log_normal(x, mean, torch.full_like(mean, math.log(model.noise_var)))
    (score,) = torch.autograd.grad(log_likelihood.sum(), mean)
    zero = torch.zeros(1, dtype=F64)
    joint = (log_likelihood + log_normal(z, zero, zero)).exp().detach()
    ratio = torch.trapezoid(joint[:, None] * score, z, dim=0) / torch.trapezoid(joint, z[:, 0])
    posterior_mean, covariance = model.posterior(x[None])
    posterior = log_normal(z, posterior_mean, covariance.log()).exp()
    average = torch.trapezoid(posterior[:, None] * score, z, dim=0)
    exact = exact_gradient(model, x)
    torch.testing.assert_close(ratio, exact, atol=1e-8, rtol=0)
    torch.testing.assert_close(average, exact, atol=1e-8, rtol=0)


@pytest.mark.equation("eq-ratio-bias", tolerance="10 % at S = 100")
def test_the_naive_gradient_is_biased() -> None:
    """The mean of 60,000 estimates; exact gradient, variance and covariance from quadrature."""
    model, x = small_model()
    n_draws, n_repeats = 100, 60_000

    def summands(z: Tensor) -> tuple[Tensor, Tensor]:
        mean = z[..., None] * model.weight[:, 0] + model.mean
        b = log_normal(x, mean, torch.full_like(mean, math.log(model.noise_var))).exp()
        return b * (x[0] - mean[..., 0]) / model.noise_var, b

    grid = torch.linspace(-10, 10, 4001, dtype=F64)
    zero = torch.zeros(1, dtype=F64)
    prior = log_normal(grid[:, None], zero, zero).exp()
    a, b = summands(grid)

    def average(values: Tensor) -> float:
        return float(torch.trapezoid(prior * values, grid))

    mean_a, mean_b = average(a), average(b)
    variance, covariance = average(b * b) - mean_b**2, average(a * b) - mean_a * mean_b
    predicted = (mean_a * variance / mean_b**3 - covariance / mean_b**2) / n_draws
    exact = float(exact_gradient(model, x)[0])
    assert mean_a / mean_b == pytest.approx(exact, abs=1e-8)
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for _ in range(20):
        z = torch.randn(n_draws, n_repeats // 20, generator=generator, dtype=F64)
        tops, bottoms = summands(z)
        # the linear part of the error has mean zero: without it the noise is much smaller
        top, bottom = tops.mean(0), bottoms.mean(0)
        linear = (top - mean_a) / mean_b - exact * (bottom - mean_b) / mean_b
        total += float((top / bottom - exact - linear).mean()) / 20
    assert total == pytest.approx(predicted, rel=0.1)


@pytest.mark.equation(
    "eq-rejection-acceptance", tolerance="4.5 standard errors; 1e-12 for the supremum"
)
def test_rejection_keeps_one_draw_in_m() -> None:
    """The share that is kept in 200,000 proposals, and a numerical supremum of the ratio."""
    generator = torch.Generator().manual_seed(0)
    for d, scale in ((1, 1.5), (4, 1.3), (10, 1.1)):
        zero, log_var = torch.zeros(d, dtype=F64), torch.full((d,), 2 * math.log(scale), dtype=F64)

        def log_ratio(x: Tensor, zero: Tensor = zero, log_var: Tensor = log_var) -> Tensor:
            return log_normal(x, zero, zero) - log_normal(x, zero, log_var)

        x = scale * torch.randn(200_000, d, generator=generator, dtype=F64)
        bound = float(log_ratio(zero[None]))
        assert bound == pytest.approx(d * math.log(scale), abs=1e-12)
        assert float(log_ratio(x).max()) <= bound
        kept = torch.rand(200_000, generator=generator, dtype=F64).log() < log_ratio(x) - bound
        share = scale**-d
        error = math.sqrt(share * (1 - share) / 200_000)
        assert abs(float(kept.double().mean()) - share) <= 4.5 * error
        # what is kept follows p
        assert stats.kstest(x[kept][:, 0].numpy(), "norm").pvalue > 0.001


# --- tables from data -------------------------------------------------------------------------


@pytest.mark.equation("eq-bayesian-network-mle", tolerance="1e-6; 1e-12 for the smoothed tables")
def test_tables_from_data() -> None:
    """A numerical maximum of the log-likelihood, and SciPy's mean of a Dirichlet posterior."""
    rng = np.random.default_rng(0)
    u = rng.integers(0, 2, 60)
    v = (u + rng.integers(0, 2, 60)) % 3
    data = [{"u": int(a), "v": int(b)} for a, b in zip(u, v, strict=True)]
    parents = {"v": ["u"]}
    counts = np.array([[np.sum((u == a) & (v == b)) for b in range(3)] for a in range(2)])

    def cost(free: np.ndarray) -> float:
        return -float((counts * special.log_softmax(free.reshape(2, 3), axis=1)).sum())

    best = optimize.minimize(cost, np.zeros(6), method="BFGS", options={"gtol": 1e-9})
    highest = BayesianNetwork.fit(data, parents)
    smoothed = BayesianNetwork.fit(data, parents, alpha=0.7)
    rows = special.softmax(best.x.reshape(2, 3), axis=1)
    for a in range(2):
        after = stats.dirichlet(counts[a] + 0.7).mean()
        for b in range(3):
            assert highest.tables["v"][a,][b] == pytest.approx(rows[a, b], abs=1e-6)
            assert smoothed.tables["v"][a,][b] == pytest.approx(after[b], abs=1e-12)


# --- what the definitions define --------------------------------------------------------------


@pytest.mark.equation("def-bayesian-network", tolerance="1e-14")
def test_the_joint_distribution_of_a_network() -> None:
    """The tables multiplied as arrays by NumPy's einsum, at every combination of values."""
    net, joint = random_network(seed=3)
    for index in np.ndindex(*joint.shape):
        log_prob = net.log_prob(dict(zip("abcd", index, strict=True)))
        assert math.exp(log_prob) == pytest.approx(joint[index], abs=1e-14)


@pytest.mark.equation("def-kde", tolerance="1e-12")
@pytest.mark.parametrize("d", [1, 3])
def test_the_kernel_density_is_an_average_of_gaussians(d: int) -> None:
    """SciPy's Gaussian density around each datum, averaged."""
    rng = np.random.default_rng(d)
    data, x = rng.normal(size=(20, d)), rng.normal(size=(6, d))
    kernels = [stats.multivariate_normal(datum, 0.4**2 * np.eye(d)).pdf(x) for datum in data]
    printed = np.log(np.mean(kernels, axis=0))
    assert KernelDensity(0.4).fit(data).score_samples(x) == pytest.approx(printed, abs=1e-12)


def gaussian_amise(n: int, h: float, d: int) -> float:
    """The printed error for a standard normal density, whose curvature has a closed form."""
    curvature = d * (d + 2) / (4 * (4 * math.pi) ** (d / 2))
    return 1 / (n * h**d * (4 * math.pi) ** (d / 2)) + h**4 / 4 * curvature


@pytest.mark.equation("eq-amise", tolerance="2 %, for many data and a small width")
@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_approximate_error_of_a_kernel_density(d: int) -> None:
    """The exact expected error for Gaussian data, from integrals of products of Gaussians."""

    def product(variance: float) -> float:
        return (2 * math.pi * variance) ** (-d / 2)

    for h in (0.015, 0.01):
        n = round(4 / ((d + 2) * h ** (d + 4)))  # both terms count
        spread = product(2 * h**2) / n + (1 - 1 / n) * product(2 + 2 * h**2)
        exact = spread - 2 * product(2 + h**2) + product(2)
        assert gaussian_amise(n, h, d) == pytest.approx(exact, rel=0.02)


@pytest.mark.equation("eq-amise", tolerance="5 % and 4.5 standard errors")
def test_the_error_of_the_packages_kernel_density() -> None:
    """The integrated squared error of 200 estimates by `KernelDensity`, by quadrature."""
    n, h = 1000, 0.15
    grid = np.linspace(-5, 5, 401)
    truth = stats.norm.pdf(grid)
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        fitted = KernelDensity(h).fit(rng.normal(size=(n, 1)))
        density = np.exp(fitted.score_samples(grid[:, None]))
        errors.append(integrate.trapezoid((density - truth) ** 2, grid))
    allowed = 4.5 * np.std(errors) / math.sqrt(200)
    expected = gaussian_amise(n, h, 1)
    assert abs(np.mean(errors) - expected) < 0.05 * expected + allowed


@pytest.mark.equation("def-density", tolerance="1e-3")
@pytest.mark.parametrize("seed", range(5))
def test_the_two_conditions_for_many_parameters(seed: int) -> None:
    """Sums over a grid on the plane, or over all binary vectors, at random parameters."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    side = (torch.arange(400, dtype=F64) + 0.5) / 20 - 10
    plane = torch.cartesian_prod(side, side)
    factor = torch.randn(2, 2, dtype=F64).tril()
    factor.diagonal().abs_().clamp_(min=0.3)
    data = rng.normal(size=(200, 2)) * rng.uniform(0.4, 1.5, 2)
    continuous = [
        FullGaussian(torch.randn(2, dtype=F64), factor @ factor.T),
        LinearGaussian(torch.randn(2, 1, dtype=F64), torch.randn(2, dtype=F64), 0.3),
        from_estimator(KernelDensity(rng.uniform(0.3, 1)).fit(data)),
        from_estimator(GaussianMixture(2, random_state=seed).fit(data)),
    ]
    bits = torch.cartesian_prod(*[torch.arange(2.0)] * 6)
    discrete = [MADE(6, (8,)), PixelRNN(3, 2, 5)]
    for model, x, weight in [(m, plane, 0.05**2) for m in continuous] + [
        (m, bits, 1.0) for m in discrete
    ]:
        p = model.log_prob(x).exp()
        assert bool((p >= 0).all())
        assert float(p.detach().sum()) * weight == pytest.approx(1, abs=1e-3)
