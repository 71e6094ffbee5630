"""Each statement of the chapter of tools, both sides, against something independent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor

from tests.common import F64, normals, seeded, tensor
from vaebook.data import toy_density
from vaebook.estimators import (
    effective_sample_size,
    importance_average,
    log_mean_exp,
    monte_carlo,
)
from vaebook.gaussian import FullGaussian, kl_diagonal, kl_full, log_normal, log_normal_full

GRID = torch.linspace(-30, 30, 20_001, dtype=F64)


def random_covariance(d: int, seed: int = 0) -> Tensor:
    factor = normals(d, d, seed=seed)
    return factor @ factor.T + 0.3 * torch.eye(d, dtype=F64)


def probabilities(n: int, seed: int) -> Tensor:
    return torch.softmax(normals(n, seed=seed), 0)


def integral(values: Tensor) -> float:
    return float(torch.trapezoid(values, GRID))


def log_density(mean: float, std: float) -> Tensor:
    return log_normal(GRID[:, None], tensor([mean]), 2 * tensor([std]).log())


# a target with two peaks
PARTS = ((0.6, -2.0, 0.6), (0.4, 2.0, 0.8))
LOG_TARGET = torch.logsumexp(torch.stack([math.log(w) + log_density(m, s) for w, m, s in PARTS]), 0)
TARGET = LOG_TARGET.exp()


# --- expectation ------------------------------------------------------------------------------


@pytest.mark.equation("eq-unconscious", tolerance="1e-9")
def test_the_unconscious_statistician() -> None:
    """SciPy's log-normal density for the left-hand side; enumeration for a map that is not 1:1."""
    left = integrate.quad(lambda y: y * stats.lognorm(0.7).pdf(y), 0, np.inf, epsabs=1e-12)[0]
    right = integral(GRID.mul(0.7).exp() * log_density(0.0, 1.0).exp())
    assert left == pytest.approx(right, rel=1e-9)
    values, p = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), probabilities(5, 1).numpy()
    of_result: dict[float, float] = {}
    for x, weight in zip(values, p, strict=True):
        of_result[x**2] = of_result.get(x**2, 0.0) + weight
    assert sum(y * weight for y, weight in of_result.items()) == pytest.approx(
        (p * values**2).sum(), rel=1e-12
    )


@pytest.mark.equation("eq-variance", tolerance="1e-11")
def test_two_forms_of_the_variance() -> None:
    """SciPy's variance of random discrete distributions."""
    for seed in range(10):
        values, p = np.arange(7), probabilities(7, seed).numpy()
        exact = stats.rv_discrete(values=(values, p / p.sum())).var()
        mean = (p * values).sum()
        assert (p * (values - mean) ** 2).sum() == pytest.approx(exact, rel=1e-12)
        assert (p * values**2).sum() - mean**2 == pytest.approx(exact, rel=1e-11)


@pytest.mark.equation("eq-total-variance", tolerance="1e-12")
def test_law_of_total_variance() -> None:
    """Enumeration of random joint distributions of two discrete variables."""
    for seed in range(10):
        joint = probabilities(12, seed).reshape(3, 4).numpy()
        values = normals(4, seed=seed + 50).numpy()
        p_x = joint.sum(1)
        given = joint / p_x[:, None]
        means = given @ values
        variances = given @ values**2 - means**2
        within = (p_x * variances).sum()
        between = (p_x * means**2).sum() - (p_x * means).sum() ** 2
        p_y = joint.sum(0)
        total = (p_y * values**2).sum() - (p_y * values).sum() ** 2
        assert within + between == pytest.approx(total, rel=1e-12)


# --- entropy and divergences ------------------------------------------------------------------


@pytest.mark.equation("eq-entropy-bounds", tolerance="1e-12")
def test_bounds_of_the_entropy() -> None:
    """SciPy's entropy of random distributions, and both ends."""
    for seed in range(20):
        assert 0 < stats.entropy(probabilities(6, seed).numpy()) < math.log(6)
    assert stats.entropy(np.eye(6)[2]) == 0
    assert stats.entropy(np.full(6, 1 / 6)) == pytest.approx(math.log(6), abs=1e-12)


@pytest.mark.equation("eq-gaussian-entropy", tolerance="1e-10; 4.5 standard errors for the draws")
def test_entropy_of_a_gaussian() -> None:
    """SciPy's entropy; the average surprise of draws of the package's Gaussian."""
    for d in (1, 3, 6):
        covariance = random_covariance(d, seed=d)
        exact = stats.multivariate_normal(np.zeros(d), covariance.numpy()).entropy()
        log_det = np.linalg.slogdet(covariance.numpy())[1]
        formula = d / 2 * math.log(2 * math.pi * math.e) + log_det / 2
        assert formula == pytest.approx(exact, abs=1e-10)
        model = FullGaussian(torch.zeros(d, dtype=F64), covariance)
        value, error = monte_carlo(-model.log_prob(model.sample(20_000, seeded(1))))
        assert abs(float(value) - exact) < 4.5 * float(error)


@pytest.mark.equation("eq-max-entropy", tolerance="1e-12")
def test_the_gaussian_has_the_largest_entropy() -> None:
    """SciPy's entropies of other distributions with variance one, and that of a mixture."""
    bound = 0.5 * math.log(2 * math.pi * math.e)
    others = [stats.logistic(), stats.laplace(), stats.uniform(), stats.expon(), stats.t(5)]
    for other in [*others, stats.gamma(3), stats.beta(2, 5)]:
        assert other.entropy() - math.log(other.std()) < bound - 1e-3
    assert float(stats.norm().entropy()) == pytest.approx(bound, abs=1e-12)
    mean = integral(TARGET * GRID)
    variance = integral(TARGET * (GRID - mean) ** 2)
    assert -integral(TARGET * LOG_TARGET) < bound + 0.5 * math.log(variance)


@pytest.mark.equation("eq-cross-entropy", tolerance="1e-10")
def test_cross_entropy_is_entropy_and_divergence() -> None:
    """Quadrature for two Gaussians, with SciPy's entropy and the package's divergence."""
    p, q = (0.4, 1.3), (-0.5, 0.8)
    cross = -integral(log_density(*p).exp() * log_density(*q))
    log_vars = [2 * tensor([std]).log() for _, std in (p, q)]
    divergence = kl_diagonal(tensor([p[0]]), log_vars[0], tensor([q[0]]), log_vars[1])
    assert cross == pytest.approx(float(stats.norm(*p).entropy()) + float(divergence), abs=1e-10)


@pytest.mark.equation("eq-kl-proof", tolerance="1e-12")
def test_the_divergence_is_never_negative_line_by_line() -> None:
    """Enumeration, with SciPy's relative entropy; also where p misses an outcome of q."""
    for seed in range(20):
        p, q = probabilities(6, seed).numpy(), probabilities(6, seed + 100).numpy()
        if seed % 2:
            p = np.where(np.arange(6) < 2, 0, p)
            p = p / p.sum()
        here = p > 0
        first = (p[here] * np.log(q[here] / p[here])).sum()
        assert first == pytest.approx(-stats.entropy(p, q), abs=1e-12)
        second = math.log((p[here] * (q[here] / p[here])).sum())
        assert second == pytest.approx(math.log(q[here].sum()), abs=1e-12)
        assert first < second <= 1e-15
    assert stats.entropy(p, p) == pytest.approx(0, abs=1e-15)
    mean, log_var = normals(2, 8, 3)
    assert (kl_diagonal(mean, log_var, mean + 0.3, log_var) > 0).all()
    assert kl_diagonal(mean, log_var, mean, log_var).abs().max() < 1e-12


@pytest.mark.equation("eq-kl-pythagoras", tolerance="1e-9")
def test_the_forward_fit_has_the_moments() -> None:
    """Quadrature of both divergences from a two-peaked target, the third in closed form."""
    mean = integral(TARGET * GRID)
    std = math.sqrt(integral(TARGET * (GRID - mean) ** 2))

    def divergence(log_q: Tensor) -> float:
        return integral(TARGET * (LOG_TARGET - log_q))

    nearest = divergence(log_density(mean, std))
    for m, s in ((0.0, 1.5), (-2.0, 0.9), (3.0, 2.5)):
        closed = kl_diagonal(
            tensor([mean]), 2 * tensor([std]).log(), tensor([m]), 2 * tensor([s]).log()
        )
        assert divergence(log_density(m, s)) == pytest.approx(nearest + float(closed), rel=1e-9)


@pytest.mark.equation("eq-mode-price", tolerance="1e-10; 1e-9 where the bound is reached")
def test_the_price_of_one_mode() -> None:
    """Quadrature for components near and far; far apart the bound is reached."""
    for gap in (0.0, 1.0, 3.0, 12.0):
        parts = [log_density(-gap / 2, 0.6), log_density(gap / 2, 0.8)]
        weights = (0.6, 0.4)
        mixture = torch.logaddexp(
            *(math.log(w) + part for w, part in zip(weights, parts, strict=True))
        )
        for weight, part in zip(weights, parts, strict=True):
            price = integral(part.exp() * (part - mixture))
            assert 0 <= price <= -math.log(weight) + 1e-10
            if gap == 12.0:
                assert price == pytest.approx(-math.log(weight), abs=1e-9)


@pytest.mark.equation("eq-mutual-information", tolerance="1e-12")
def test_mutual_information() -> None:
    """Enumeration, with SciPy's entropies; zero for independent variables."""
    for seed in range(10):
        joint = probabilities(12, seed).reshape(3, 4).numpy()
        rows, columns = joint.sum(1), joint.sum(0)
        product = np.outer(rows, columns)
        information = stats.entropy(joint.ravel(), product.ravel())
        entropies = stats.entropy(rows) + stats.entropy(columns) - stats.entropy(joint.ravel())
        assert information == pytest.approx(entropies, abs=1e-12)
        assert information > 0
        assert stats.entropy(product.ravel(), product.ravel()) == pytest.approx(0, abs=1e-12)


@pytest.mark.equation("eq-gaussian-mutual-information", tolerance="1e-10")
@pytest.mark.parametrize("r", [-0.8, 0.0, 0.3, 0.95])
def test_mutual_information_of_two_gaussians(r: float) -> None:
    """SciPy's entropies of the joint and of the marginal distributions."""
    joint = tensor([[2.0, r * math.sqrt(6)], [r * math.sqrt(6), 3.0]])
    zero = torch.zeros(2, dtype=F64)
    entropies = stats.norm(0, math.sqrt(2)).entropy() + stats.norm(0, math.sqrt(3)).entropy()
    entropies -= stats.multivariate_normal(np.zeros(2), joint.numpy()).entropy()
    assert -0.5 * math.log(1 - r**2) == pytest.approx(float(entropies), abs=1e-10)
    information = kl_full(zero, joint, zero, joint.diagonal().diag())
    assert float(information) == pytest.approx(float(entropies), abs=1e-10)


# --- Jensen -----------------------------------------------------------------------------------


@pytest.mark.equation("eq-jensen-gap", tolerance="1e-12; 0.1 % for a small spread")
@pytest.mark.parametrize(
    ("f", "second"),
    [
        (torch.exp, torch.exp),
        (torch.square, lambda y: 0 * y + 2),
        (torch.log, lambda y: -1 / y**2),
        (torch.sqrt, lambda y: -0.25 * y**-1.5),
    ],
)
def test_bounds_of_jensens_gap(
    f: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]
) -> None:
    """Enumeration of random discrete distributions; the second derivative also by autograd."""
    for seed in range(20):
        y = 0.2 + 2 * torch.rand(6, generator=seeded(seed), dtype=F64)
        p = probabilities(6, seed)
        mean = (p * y).sum()
        gap = float((p * f(y)).sum() - f(mean))
        variance = float((p * (y - mean) ** 2).sum())
        ends = second(torch.linspace(float(y.min()), float(y.max()), 101, dtype=F64))
        assert float(ends.min()) / 2 * variance <= gap + 1e-12
        assert gap <= float(ends.max()) / 2 * variance + 1e-12
        twice = torch.func.grad(torch.func.grad(f))(mean)
        assert float(twice) == pytest.approx(float(second(mean)), rel=1e-12)
    spread = tensor([0.99, 1.01])  # nearly the curvature at the mean
    gap = float(f(spread).mean() - f(spread.mean()))
    assert gap == pytest.approx(0.5 * float(second(tensor(1.0))) * 1e-4, rel=1e-3)


def test_the_gap_of_an_average_of_weights() -> None:
    """The closed form for log-normal weights: log of the mean less mean of the log is v/2."""
    log_weights = 0.3 * normals(400_000)
    gap = float(log_mean_exp(log_weights) - log_weights.mean())
    assert gap == pytest.approx(0.09 / 2, rel=0.02)


# --- Monte Carlo ------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-monte-carlo-slope", tolerance="4.5 standard errors; 3 % for the reported one"
)
def test_the_error_falls_with_the_root_of_the_draws() -> None:
    """Least squares on errors from the known mean of a χ variable; slope and intercept."""
    exact, variance = float(stats.chi(3).mean()), float(stats.chi(3).var())
    sizes = np.array([10, 40, 160, 640, 2560])
    rmse, reported = [], []
    for n_draws in sizes:
        draws = torch.randn(n_draws, 1000, 3, generator=seeded(int(n_draws)), dtype=F64).norm(dim=2)
        value, error = monte_carlo(draws)
        rmse.append(float((value - exact).square().mean().sqrt()))
        reported.append(float(error.square().mean().sqrt()))
    fit = stats.linregress(np.log(sizes), np.log(rmse))
    # each logarithm has the standard error 1 / sqrt(2 * 1000)
    slope_error = 1 / math.sqrt(2000) / np.log(sizes).std() / math.sqrt(len(sizes))
    assert abs(fit.slope + 0.5) < 4.5 * slope_error
    assert np.log(rmse) == pytest.approx(0.5 * np.log(variance / sizes), abs=4.5 / math.sqrt(2000))
    assert reported == pytest.approx(np.sqrt(variance / sizes), rel=0.03)


@pytest.mark.equation(
    "eq-importance-expectation", tolerance="1e-9; 4.5 standard errors for the draws"
)
def test_importance_sampling_moves_the_weight() -> None:
    """Quadrature of both sides; SciPy's tail probability from draws around 4."""
    p, q = log_density(0.3, 1.0), log_density(-0.5, 1.7)
    left = integral(p.exp() * GRID.sin())
    assert integral(q.exp() * (p - q).exp() * GRID.sin()) == pytest.approx(left, abs=1e-9)
    z = 4 + normals(100_000, 1)
    zero, four = torch.zeros(1, dtype=F64), tensor([4.0])
    weights = (log_normal(z, zero, zero) - log_normal(z, four, zero)).exp()
    value, error = monte_carlo(weights * (z[:, 0] > 4))
    assert abs(float(value) - stats.norm.sf(4)) < 4.5 * float(error)
    assert float(error) < 0.02 * stats.norm.sf(4)


@pytest.mark.equation("eq-self-normalized-variance", tolerance="10 %")
def test_variance_of_the_self_normalised_estimate() -> None:
    """The spread of 4,000 estimates; the right-hand side by quadrature."""
    p, q = log_density(0.0, 1.0), log_density(0.5, 1.5)
    weights, f = 3 * (p - q).exp(), GRID + GRID**2  # p is known up to a factor
    mean = integral(p.exp() * f)
    square = integral(q.exp() * weights) ** 2
    predicted = integral(q.exp() * weights**2 * (f - mean) ** 2) / square / 2_000
    z = 0.5 + 1.5 * normals(2_000, 4_000)
    log_weights = -z.square() / 2 + ((z - 0.5) / 1.5).square() / 2
    value, error = importance_average(z + z.square(), log_weights)
    assert float(value.var()) == pytest.approx(predicted, rel=0.1)
    assert float(error.square().mean()) == pytest.approx(predicted, rel=0.1)
    assert abs(float(value.mean()) - mean) < 4.5 * math.sqrt(predicted / 4_000) + 2e-3


@pytest.mark.equation("eq-ess-limit", tolerance="1 %")
def test_limit_of_the_effective_sample_size() -> None:
    """Quadrature of both expectations for a shifted, wide proposal; draws from it."""
    p, q = log_density(0.0, 1.0), log_density(0.5, 1.5)
    weights = 3 * (p - q).exp()  # p is known up to a factor
    first, second = integral(q.exp() * weights), integral(q.exp() * weights**2)
    z = 0.5 + 1.5 * normals(400_000)
    log_weights = -z.square() / 2 + ((z - 0.5) / 1.5).square() / 2
    share = float(effective_sample_size(log_weights)) / len(z)
    assert share == pytest.approx(first**2 / second, rel=0.01)


@pytest.mark.equation("eq-shifted-proposal", tolerance="1e-9; 3 % for the draws")
@pytest.mark.parametrize(("d", "delta"), [(1, 0.5), (2, 0.5), (6, 0.25)])
def test_a_shifted_proposal(d: int, delta: float) -> None:
    """Quadrature of one dimension to the power d; draws in d dimensions to 3 %."""
    one = integral((2 * log_density(0.0, 1.0) - log_density(delta, 1.0)).exp())
    predicted = math.exp(-d * delta**2)
    assert one**-d == pytest.approx(predicted, rel=1e-9)
    z = delta + normals(400_000, d, seed=d)
    zero = torch.zeros(d, dtype=F64)
    log_weights = log_normal(z, zero, zero) - log_normal(z, zero + delta, zero)
    share = float(effective_sample_size(log_weights)) / len(z)
    assert share == pytest.approx(predicted, rel=0.03)


# --- change of variables ----------------------------------------------------------------------


@pytest.mark.equation("eq-change-of-variables-1d", tolerance="1e-12")
def test_change_of_variables_in_one_dimension() -> None:
    """SciPy's log-normal, logistic and Weibull densities, from a normal and a uniform one."""
    y = np.linspace(0.05, 6, 40)
    standard = log_normal(tensor(np.log(y))[:, None], tensor([0.0]), tensor([0.0])).exp().numpy()
    assert standard / y == pytest.approx(stats.lognorm(1).pdf(y), rel=1e-12)
    sigmoid = special.expit(y)  # y = log(u / (1 - u)), u uniform: |du/dy| = u (1 - u)
    assert sigmoid * (1 - sigmoid) == pytest.approx(stats.logistic.pdf(y), rel=1e-12)
    # y = sqrt(e), e exponential: e = y², |de/dy| = 2 y
    assert np.exp(-(y**2)) * 2 * y == pytest.approx(stats.weibull_min(2).pdf(y), rel=1e-12)


@pytest.mark.equation("eq-change-of-variables", tolerance="1e-9")
def test_change_of_variables_in_the_plane() -> None:
    """The package's banana, bent from noise by a map with an automatic Jacobian; a linear map."""
    banana = toy_density("banana")
    noise = normals(50, 2)

    def bend(point: Tensor) -> Tensor:
        x1 = 1.2 * point[0]
        return torch.stack([x1, 0.4 * point[1] + 0.5 * (x1**2 - 1.2**2)])

    jacobians = torch.func.vmap(torch.func.jacrev(bend))(noise)
    log_det = torch.linalg.slogdet(jacobians).logabsdet
    zero = torch.zeros(2, dtype=F64)
    moved = log_normal(noise, zero, zero) - log_det
    points = torch.func.vmap(bend)(noise)
    assert banana.log_prob(points).numpy() == pytest.approx(moved.numpy(), abs=1e-9)
    matrix = normals(3, 3, seed=1)
    x, origin = normals(20, 3, seed=2), torch.zeros(3, dtype=F64)
    moved = log_normal(x, origin, origin) - torch.linalg.slogdet(matrix).logabsdet
    density = log_normal_full(x @ matrix.T, origin, matrix @ matrix.T)
    assert density.numpy() == pytest.approx(moved.numpy(), abs=1e-9)


@pytest.mark.equation("eq-coupling-determinant", tolerance="1e-12; 1e-6 by differences")
def test_determinant_of_a_coupling() -> None:
    """The determinant of the Jacobian by central differences, and by autograd."""

    def coupling(point: Tensor) -> Tensor:
        scale, shift = torch.sin(3 * point[0]), point[0] ** 3
        return torch.stack([point[0], point[1] * torch.exp(scale) + shift])

    for point in normals(20, 2):
        predicted = math.sin(3 * float(point[0]))
        jacobian = torch.func.jacrev(coupling)(point)
        assert float(torch.linalg.slogdet(jacobian).logabsdet) == pytest.approx(
            predicted, abs=1e-12
        )
        steps = 1e-6 * torch.eye(2, dtype=F64)
        columns = [(coupling(point + h) - coupling(point - h)) / 2e-6 for h in steps]
        determinant = float(torch.linalg.det(torch.stack(columns, dim=1)).abs())
        assert math.log(determinant) == pytest.approx(predicted, abs=1e-6)


@pytest.mark.equation("eq-kl-invariance", tolerance="1e-7")
def test_divergences_survive_a_transformation() -> None:
    """SciPy's quadrature between two log-normal densities, against the Gaussian closed form."""
    first, second = stats.lognorm(0.8, scale=math.exp(0.3)), stats.lognorm(1.1, scale=1.0)

    def integrand(y: float) -> float:
        return float(first.pdf(y) * (first.logpdf(y) - second.logpdf(y)))

    moved = integrate.quad(integrand, 0, 500, points=[1.0, 10.0], epsabs=1e-10, limit=400)[0]
    log_vars = 2 * tensor([[0.8], [1.1]]).log()
    closed = float(kl_diagonal(tensor([0.3]), log_vars[0], tensor([0.0]), log_vars[1]))
    assert moved == pytest.approx(closed, abs=1e-7)
    # a common linear map of two Gaussians
    matrix, means = normals(3, 3, seed=1), normals(2, 3, seed=2)
    covariances = [random_covariance(3, seed) for seed in (3, 4)]
    before = kl_full(means[0], covariances[0], means[1], covariances[1])
    images = [matrix @ covariance @ matrix.T for covariance in covariances]
    after = kl_full(means[0] @ matrix.T, images[0], means[1] @ matrix.T, images[1])
    assert float(after) == pytest.approx(float(before), rel=1e-9)


# --- exponentials -----------------------------------------------------------------------------


@pytest.mark.equation("eq-log-sum-exp", tolerance="1e-12")
@pytest.mark.parametrize("offset", [-5000.0, 0.0, 5000.0])
def test_log_of_a_sum_of_exponentials(offset: float) -> None:
    """Python's decimal arithmetic with fifty digits and any exponent."""
    values = offset + 10 * normals(8)
    with localcontext(prec=50):
        exact = float(sum((Decimal(float(v)).exp() for v in values), Decimal(0)).ln())
    largest = values.max()
    printed = float(largest + (values - largest).exp().sum().log())
    assert printed == pytest.approx(exact, rel=1e-12)
    assert float(log_mean_exp(values)) + math.log(8) == pytest.approx(exact, rel=1e-12)


@pytest.mark.equation("eq-log-sum-exp-bounds", tolerance="1e-12")
def test_bounds_of_the_log_sum() -> None:
    """Random and extreme exponents: one term dominates, or all are equal."""
    for seed in range(20):
        values = 100 * normals(6, seed=seed)
        total = float(log_mean_exp(values)) + math.log(6)
        assert float(values.max()) - 1e-12 <= total <= float(values.max()) + math.log(6)
    equal = torch.full((6,), -800.0, dtype=F64)
    assert float(log_mean_exp(equal)) == pytest.approx(-800, abs=1e-12)
    alone = tensor([0.0, -1e4, -1e4])
    assert float(log_mean_exp(alone)) + math.log(3) == pytest.approx(0, abs=1e-12)


@pytest.mark.equation("eq-log-sum-exp-gradient", tolerance="1e-8")
def test_gradient_of_the_log_sum() -> None:
    """SciPy's softmax, and central differences of SciPy's log-sum-exp."""
    values = normals(5).requires_grad_()
    (gradient,) = torch.autograd.grad(log_mean_exp(values), values)
    at = values.detach().numpy()
    assert gradient.numpy() == pytest.approx(special.softmax(at), abs=1e-12)
    for j, h in itertools.product(range(5), (1e-5,)):
        step = h * np.eye(5)[j]
        slope = (special.logsumexp(at + step) - special.logsumexp(at - step)) / (2 * h)
        assert float(gradient[j]) == pytest.approx(slope, abs=1e-8)


def test_the_second_form_of_the_variance_loses_its_digits() -> None:
    """Numbers about 10,000 with variance 1, in single precision, against double precision."""
    numbers = torch.randn(1_000, generator=torch.Generator().manual_seed(0)) + 10_000
    exact = numbers.double().var(correction=0).item()
    first = (numbers - numbers.mean()).square().mean().item()
    second = (numbers.square().mean() - numbers.mean().square()).item()
    assert first == pytest.approx(exact, abs=0.01)
    assert abs(second - exact) > 0.5


@pytest.mark.equation("def-self-normalized-estimate", tolerance="1e-12")
def test_a_self_normalised_average() -> None:
    """The quotient of two sums in NumPy, whatever factor the weights have lost."""
    values, log_weights = normals(400, seed=5), normals(400, seed=6)
    weights = np.exp(log_weights.numpy())
    printed = (weights * values.numpy()).sum() / weights.sum()
    for lost in (0.0, 3.0, -800.0):
        found = importance_average(values, log_weights + lost).value
        assert float(found) == pytest.approx(printed, abs=1e-12)
