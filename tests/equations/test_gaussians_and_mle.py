"""Each statement of the chapter on Gaussians, both sides, against something independent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats
from sklearn.covariance import shrunk_covariance
from torch import Tensor

from tests.common import F64, normals, tensor
from vaebook.gaussian import (
    FullGaussian,
    LinearGaussian,
    fit_gaussian,
    kl_full,
    log_normal,
    log_normal_full,
)


def random_covariance(d: int, seed: int = 0) -> Tensor:
    factor = normals(d, d, seed=seed)
    return factor @ factor.T + 0.3 * torch.eye(d, dtype=F64)


MEAN, COVARIANCE = tensor([0.5, -0.5, 1.0]), random_covariance(3, seed=1)
GAUSSIAN = FullGaussian(MEAN, COVARIANCE)
DATA = normals(40, 3, seed=2) @ normals(3, 3, seed=3) + 1


# --- the density ------------------------------------------------------------------------------


@pytest.mark.equation("eq-normal-moments", tolerance="1e-8")
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (2.0, 2.25), (-3.0, 0.01)])
def test_moments_of_the_normal_density(mean: float, variance: float) -> None:
    """SciPy's adaptive quadrature of each of the three integrals."""
    std = math.sqrt(variance)

    def moment(power: int, centre: float) -> float:
        def integrand(x: float) -> float:
            density = log_normal(tensor([x]), tensor([mean]), tensor([variance]).log()).exp()
            return float((x - centre) ** power * density)

        return integrate.quad(integrand, mean - 12 * std, mean + 12 * std, epsabs=1e-12)[0]

    assert moment(0, 0.0) == pytest.approx(1, abs=1e-8)
    assert moment(1, 0.0) == pytest.approx(mean, abs=1e-8)
    assert moment(2, mean) == pytest.approx(variance, abs=1e-8)


@pytest.mark.equation("eq-quadratic-form", tolerance="1e-9")
def test_the_quadratic_form_of_transformed_noise() -> None:
    """The squared length of the noise itself, and -2 log of the density ratio to the mean."""
    transform, noise = normals(4, 4, seed=5), normals(10, 4, seed=6)
    covariance = transform @ transform.T
    deviation = noise @ transform.T
    precision = np.linalg.inv(covariance.numpy())
    form = np.einsum("ni,ij,nj->n", deviation.numpy(), precision, deviation.numpy())
    assert form == pytest.approx(noise.square().sum(1).numpy(), rel=1e-9)
    zero = torch.zeros(4, dtype=F64)
    ratio = log_normal_full(zero, zero, covariance) - log_normal_full(deviation, zero, covariance)
    assert (2 * ratio).numpy() == pytest.approx(form, rel=1e-9)


@pytest.mark.equation(
    "eq-mahalanobis-chi2", tolerance="p > 0.001; 4 standard errors for the moments"
)
def test_squared_distances_have_a_chi_squared_distribution() -> None:
    """SciPy's χ² distribution, by a Kolmogorov-Smirnov test on draws of a correlated Gaussian."""
    draws = GAUSSIAN.sample(20_000, torch.Generator().manual_seed(0))
    peak = GAUSSIAN.log_prob(MEAN[None])
    squared = 2 * (peak - GAUSSIAN.log_prob(draws)).numpy()
    assert stats.kstest(squared, stats.chi2(3).cdf).pvalue > 1e-3
    deviations = (squared - 3) ** 2
    assert abs(squared.mean() - 3) < 4 * math.sqrt(6 / len(draws))
    assert abs(deviations.mean() - 6) < 4 * deviations.std() / math.sqrt(len(draws))


@pytest.mark.equation("eq-cholesky-log-density", tolerance="1e-10")
@pytest.mark.parametrize("d", [1, 2, 5, 30])
def test_log_density_by_cholesky(d: int) -> None:
    """SciPy's multivariate normal density, and the printed sum with NumPy's factor."""
    covariance, mean, x = random_covariance(d, seed=d), normals(d, seed=1), normals(6, d, seed=2)
    oracle = stats.multivariate_normal(mean.numpy(), covariance.numpy()).logpdf(x.numpy())
    factor = np.linalg.cholesky(covariance.numpy())
    u = np.linalg.solve(factor, (x - mean).numpy().T)
    printed = -d / 2 * math.log(2 * math.pi) - np.log(np.diag(factor)).sum() - 0.5 * (u**2).sum(0)
    assert printed == pytest.approx(oracle, abs=1e-10)
    assert log_normal_full(x, mean, covariance).numpy() == pytest.approx(oracle, abs=1e-10)
    assert FullGaussian(mean, covariance).log_prob(x).numpy() == pytest.approx(oracle, abs=1e-10)


@pytest.mark.equation("eq-elementwise-division", tolerance="1e-10")
def test_elementwise_division_is_indefinite() -> None:
    """NumPy's determinant and eigenvectors of the matrix of reciprocals; the exponent grows."""
    for seed in range(20):
        covariance = random_covariance(2, seed).numpy()
        reciprocal = 1 / covariance
        (a, c), (_, b) = covariance
        predicted = -np.linalg.det(covariance) / (a * b * c**2)
        assert np.linalg.det(reciprocal) == pytest.approx(predicted, rel=1e-10)
        assert predicted < 0
        values, vectors = np.linalg.eigh(reciprocal)
        assert values[0] < 0 < values[1]
        along = 30 / math.sqrt(-values[0]) * vectors[:, 0]
        assert -0.5 * along @ reciprocal @ along == pytest.approx(450, rel=1e-10)


@pytest.mark.equation("eq-variances-only-mass", tolerance="1e-8")
def test_the_mass_without_correlations() -> None:
    """SciPy's quadrature in one dimension for each factor of the integral."""
    covariance = COVARIANCE.numpy()
    integral = math.prod(
        integrate.quad(lambda x, v=v: math.exp(-(x**2) / (2 * v)), -np.inf, np.inf)[0]
        for v in np.diag(covariance)
    )
    mass = integral / math.sqrt((2 * math.pi) ** 3 * np.linalg.det(covariance))
    predicted = math.sqrt(np.diag(covariance).prod() / np.linalg.det(covariance))
    assert mass == pytest.approx(predicted, rel=1e-8)
    for seed in range(50):  # Hadamard's inequality
        other = random_covariance(4, seed).numpy()
        assert np.diag(other).prod() > np.linalg.det(other)
        alone = np.diag(np.diag(other))
        assert np.diag(alone).prod() == pytest.approx(np.linalg.det(alone), rel=1e-12)
    # at the mean, the ratio to the product of the marginal densities is the same number
    one = torch.zeros(1, dtype=F64)
    marginals = [log_normal_full(one, one, v.reshape(1, 1)) for v in COVARIANCE.diagonal()]
    ratio = log_normal_full(MEAN, MEAN, COVARIANCE) - torch.stack(marginals).sum()
    assert math.exp(float(ratio)) == pytest.approx(predicted, rel=1e-10)


# --- maximum likelihood -----------------------------------------------------------------------


def mean_log_likelihood(mean: Tensor, covariance: Tensor) -> Tensor:
    return log_normal_full(DATA, mean, covariance).mean()


@pytest.mark.equation("eq-normal-score", tolerance="1e-7")
def test_derivatives_of_the_normal_log_likelihood() -> None:
    """Central differences of SciPy's mean log-density, and autograd."""
    x, mean, variance = DATA[:, 0], 0.7, 1.9

    def scipys(m: float, v: float) -> float:
        return float(stats.norm(m, math.sqrt(v)).logpdf(x.numpy()).mean())

    squares = float((x - mean).square().mean())
    value = -0.5 * math.log(2 * math.pi * variance) - squares / (2 * variance)
    by_mean = (float(x.mean()) - mean) / variance
    by_variance = (squares - variance) / (2 * variance**2)
    h = 1e-5
    assert value == pytest.approx(scipys(mean, variance), abs=1e-12)
    numeric = (scipys(mean + h, variance) - scipys(mean - h, variance)) / (2 * h)
    assert by_mean == pytest.approx(numeric, abs=1e-7)
    numeric = (scipys(mean, variance + h) - scipys(mean, variance - h)) / (2 * h)
    assert by_variance == pytest.approx(numeric, abs=1e-7)
    parameters = tensor([mean, variance]).requires_grad_()
    loss = log_normal(x[:, None], parameters[:1], parameters[1:].log()).mean()
    (gradient,) = torch.autograd.grad(loss, parameters)
    assert gradient.tolist() == pytest.approx([by_mean, by_variance], abs=1e-12)


@pytest.mark.equation("eq-gaussian-mean-log-likelihood", tolerance="1e-10")
def test_the_data_enter_through_two_moments() -> None:
    """The average of SciPy's log-densities of the rows."""
    mean, covariance = (part.numpy() for part in fit_gaussian(DATA))
    precision, shift = np.linalg.inv(COVARIANCE.numpy()), mean - MEAN.numpy()
    printed = -0.5 * (
        3 * math.log(2 * math.pi)
        + np.linalg.slogdet(COVARIANCE.numpy())[1]
        + np.trace(precision @ covariance)
        + shift @ precision @ shift
    )
    oracle = stats.multivariate_normal(MEAN.numpy(), COVARIANCE.numpy()).logpdf(DATA.numpy())
    assert printed == pytest.approx(oracle.mean(), abs=1e-10)
    assert float(mean_log_likelihood(MEAN, COVARIANCE)) == pytest.approx(printed, abs=1e-10)


@pytest.mark.equation("eq-gaussian-mle-shortfall", tolerance="1e-10")
def test_what_another_gaussian_lacks_is_a_divergence() -> None:
    """torch.distributions' divergence, for random Gaussians; the printed first line in NumPy."""
    mean, covariance = fit_gaussian(DATA)
    best = mean_log_likelihood(mean, covariance)
    fitted = torch.distributions.MultivariateNormal(mean, covariance)
    for seed in range(10):
        other_mean, other = normals(3, seed=seed), random_covariance(3, seed + 100)
        shortfall = float(best - mean_log_likelihood(other_mean, other))
        precision, shift = np.linalg.inv(other.numpy()), (mean - other_mean).numpy()
        ratio = np.linalg.slogdet(other.numpy())[1] - np.linalg.slogdet(covariance.numpy())[1]
        line = 0.5 * (
            np.trace(precision @ covariance.numpy()) + shift @ precision @ shift - 3 + ratio
        )
        oracle = torch.distributions.MultivariateNormal(other_mean, other)
        divergence = float(torch.distributions.kl_divergence(fitted, oracle))
        assert shortfall == pytest.approx(divergence, rel=1e-10)
        assert line == pytest.approx(divergence, rel=1e-10)
        assert float(kl_full(mean, covariance, other_mean, other)) == pytest.approx(
            divergence, rel=1e-10
        )


@pytest.mark.equation("eq-gaussian-mle", tolerance="1e-5")
def test_maximum_likelihood_in_closed_form() -> None:
    """SciPy's optimiser on free parameters, SciPy's fit, and random other Gaussians."""
    mean, covariance = fit_gaussian(DATA)
    rows, columns = np.tril_indices(3, -1)

    def unpack(free: Tensor) -> tuple[Tensor, Tensor]:
        factor = torch.diag(free[3:6].exp())
        factor = factor.index_put((torch.tensor(rows), torch.tensor(columns)), free[6:])
        return free[:3], factor @ factor.T

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.from_numpy(flat).requires_grad_()
        value = -mean_log_likelihood(*unpack(free))
        (gradient,) = torch.autograd.grad(value, free)
        return float(value.detach()), gradient.numpy()

    found = optimize.minimize(loss, np.zeros(9), jac=True, method="BFGS", options={"gtol": 1e-9})
    climbed = unpack(torch.from_numpy(found.x))
    assert climbed[0].numpy() == pytest.approx(mean.numpy(), abs=1e-5)
    assert climbed[1].numpy() == pytest.approx(covariance.numpy(), abs=1e-5)
    library_mean, library_covariance = stats.multivariate_normal.fit(DATA.numpy())
    assert mean.numpy() == pytest.approx(library_mean, abs=1e-12)
    assert covariance.numpy() == pytest.approx(library_covariance, abs=1e-12)
    best = mean_log_likelihood(mean, covariance)
    for seed in range(30):
        step = 0.02 * random_covariance(3, seed)
        assert mean_log_likelihood(mean, covariance + step) < best
        assert mean_log_likelihood(mean, 0.98 * covariance) < best
        assert mean_log_likelihood(mean + 0.02 * normals(3, seed=seed), covariance) < best


@pytest.mark.equation("eq-likelihood-is-divergence", tolerance="1e-9; 0.002 for the fit")
def test_expected_log_likelihood_is_entropy_and_divergence() -> None:
    """Quadrature of each term for two-peaked data; the nearest has their moments, as a fit has."""
    grid = torch.linspace(-12, 14, 6001, dtype=F64)
    first = log_normal(grid[:, None], tensor([-1.0]), tensor([0.36]).log())
    second = log_normal(grid[:, None], tensor([3.0]), tensor([1.0]).log())
    log_data = torch.logaddexp(math.log(0.7) + first, math.log(0.3) + second)
    data = log_data.exp()

    def integral(values: Tensor) -> float:
        return float(torch.trapezoid(values, grid))

    def divergence(mean: float, variance: float) -> float:
        log_p = log_normal(grid[:, None], tensor([mean]), tensor([variance]).log())
        left = integral(data * log_p)
        gap = integral(data * (log_data - log_p))
        assert left == pytest.approx(integral(data * log_data) - gap, abs=1e-9)
        return gap

    found = optimize.minimize(
        lambda p: divergence(p[0], math.exp(p[1])), [0.0, 0.0], method="Nelder-Mead"
    )
    # draws by inverting the distribution function at equally spaced levels
    levels = torch.cumulative_trapezoid(data, grid).numpy()
    draws = np.interp((np.arange(20_000) + 0.5) / 20_000, levels, grid[1:].numpy())
    mean, covariance = fit_gaussian(torch.from_numpy(draws)[:, None])
    average = integral(data * grid)
    for m, v in ((float(mean), float(covariance)), (found.x[0], math.exp(found.x[1]))):
        assert m == pytest.approx(average, abs=2e-3)
        assert v == pytest.approx(integral(data * (grid - average) ** 2), rel=2e-3)


@pytest.mark.equation("eq-variance-bias", tolerance="1e-12")
@pytest.mark.parametrize("n_points", [2, 3, 5])
def test_bias_of_the_covariance(n_points: int) -> None:
    """Enumeration of all samples, with replacement, of four points in the plane."""
    points = tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5], [-1.0, 3.0]])
    centred = points - points.mean(0)
    covariance = centred.T @ centred / 4
    samples = torch.stack([points[list(i)] for i in itertools.product(range(4), repeat=n_points)])
    _, covariances = fit_gaussian(samples)
    expected = (n_points - 1) / n_points * covariance
    assert covariances.mean(0).numpy() == pytest.approx(expected.numpy(), abs=1e-12)


@pytest.mark.equation("eq-covariance-rank", tolerance="exact")
@pytest.mark.parametrize(("n_points", "d"), [(2, 5), (5, 5), (6, 5), (20, 5), (1, 2)])
def test_rank_of_the_fitted_covariance(n_points: int, d: int) -> None:
    """NumPy's singular values: the bound, reached by points in general position."""
    _, covariance = fit_gaussian(normals(n_points, d))
    assert np.linalg.matrix_rank(covariance.numpy(), tol=1e-10) == min(n_points - 1, d)
    _, repeated = fit_gaussian(normals(2, d).repeat(5, 1))
    assert np.linalg.matrix_rank(repeated.numpy(), tol=1e-10) == 1


@pytest.mark.equation("eq-unbounded-likelihood", tolerance="1e-6 relative; 1 % for the slope")
def test_the_likelihood_is_unbounded() -> None:
    """SciPy's density of five points in eight dimensions, for a smaller and smaller variance."""
    few = normals(5, 8)
    mean, covariance = fit_gaussian(few)
    eigenvalues = np.linalg.eigvalsh(covariance.numpy())[4:]
    values = []
    for epsilon in (1.0, 1e-1, 1e-3, 1e-5):
        terms = np.log(eigenvalues + epsilon) + eigenvalues / (eigenvalues + epsilon)
        printed = -0.5 * (8 * math.log(2 * math.pi) + terms.sum() + 4 * math.log(epsilon))
        loaded = covariance + epsilon * torch.eye(8, dtype=F64)
        oracle = stats.multivariate_normal(mean.numpy(), loaded.numpy()).logpdf(few.numpy()).mean()
        assert printed == pytest.approx(oracle, rel=1e-6)
        assert float(log_normal_full(few, mean, loaded).mean()) == pytest.approx(oracle, rel=1e-6)
        values.append(printed)
    assert values == sorted(values)
    assert values[-1] - values[-2] == pytest.approx(4 * math.log(10), rel=0.01)


# --- parts of a Gaussian ----------------------------------------------------------------------


@pytest.mark.equation("eq-gaussian-marginal", tolerance="1e-8")
def test_marginal_of_a_gaussian() -> None:
    """Quadrature of the joint density over the component that is dropped."""
    axis = torch.linspace(-30, 30, 6001, dtype=F64)
    kept = torch.tensor([True, False, True])
    for point in ([0.0, 0.0], [1.5, -2.0]):
        x = torch.zeros(6001, 3, dtype=F64)
        x[:, kept], x[:, 1] = tensor(point), axis
        integral = torch.trapezoid(GAUSSIAN.log_prob(x).exp(), axis)
        marginal = GAUSSIAN.marginal(kept).log_prob(tensor([point])).exp()
        assert float(marginal) == pytest.approx(float(integral), rel=1e-8)


@pytest.mark.equation("eq-gaussian-conditional", tolerance="1e-9")
def test_conditional_of_a_gaussian() -> None:
    """Joint over marginal density, both from SciPy; the printed formulas with NumPy's inverse."""
    observed = torch.tensor([True, False, True, False, True])
    mean, covariance, x = normals(5, seed=1), random_covariance(5, seed=2), normals(4, 5, seed=3)
    model = FullGaussian(mean, covariance)
    c_mean, c_covariance = model.conditional(observed, x[:, observed])
    b, a = observed.numpy(), ~observed.numpy()
    c = covariance.numpy()
    joint = stats.multivariate_normal(mean.numpy(), c).logpdf(x.numpy())
    marginal = stats.multivariate_normal(mean.numpy()[b], c[np.ix_(b, b)]).logpdf(x.numpy()[:, b])
    density = log_normal_full(x[:, ~observed], c_mean, c_covariance)
    assert density.numpy() == pytest.approx(joint - marginal, abs=1e-9)
    gain = c[np.ix_(a, b)] @ np.linalg.inv(c[np.ix_(b, b)])
    printed_mean = mean.numpy()[a] + (x.numpy()[:, b] - mean.numpy()[b]) @ gain.T
    printed_covariance = c[np.ix_(a, a)] - gain @ c[np.ix_(b, a)]
    assert c_mean.numpy() == pytest.approx(printed_mean, abs=1e-9)
    assert c_covariance.numpy() == pytest.approx(printed_covariance, abs=1e-9)


@pytest.mark.equation("eq-own-parameters", tolerance="1e-8")
@pytest.mark.parametrize("a", [0.0, 0.5, -1.0, 3.0])
def test_a_mean_that_depends_on_its_own_argument(a: float) -> None:
    """SciPy's quadrature of the would-be density."""

    def density(x: float) -> float:
        return float(log_normal(tensor([x]), tensor([a * x]), tensor([0.0])).exp())

    mass = integrate.quad(density, -40, 40, points=[0.0], epsabs=1e-11, limit=200)[0]
    assert mass == pytest.approx(1 / abs(1 - a), rel=1e-8)


@pytest.mark.equation("eq-heteroscedastic-gradient", tolerance="1e-6")
def test_gradients_of_a_gaussian_with_learned_variance() -> None:
    """Central differences of SciPy's log-density, and autograd through the package's."""
    h = 1e-5
    for y, f, s in ((0.3, -0.4, 0.2), (2.0, 0.5, -1.5), (-1.0, -1.1, 1.0)):

        def value(f: float, s: float, y: float = y) -> float:
            return float(stats.norm(f, math.exp(s / 2)).logpdf(y))

        printed = [math.exp(-s) * (y - f), 0.5 * (math.exp(-s) * (y - f) ** 2 - 1)]
        differences = [
            (value(f + h, s) - value(f - h, s)) / (2 * h),
            (value(f, s + h) - value(f, s - h)) / (2 * h),
        ]
        assert printed == pytest.approx(differences, abs=1e-6)
        parameters = tensor([f, s]).requires_grad_()
        log_p = log_normal(tensor([y]), parameters[:1], parameters[1:])
        (gradient,) = torch.autograd.grad(log_p, parameters)
        assert gradient.tolist() == pytest.approx(printed, abs=1e-12)


@pytest.mark.equation("eq-joint-linear-gaussian", tolerance="1e-9; 1e-12 for the posterior")
def test_the_posterior_from_the_joint_gaussian() -> None:
    """p(z) p(x|z) from SciPy at random pairs; the conditional against the model's posterior."""
    weight, offset = normals(5, 2, seed=1), normals(5, seed=2)
    model = LinearGaussian(weight, offset, 0.5)
    upper = torch.cat([torch.eye(2, dtype=F64), weight.T], dim=1)
    lower = torch.cat([weight, weight @ weight.T + 0.5 * torch.eye(5, dtype=F64)], dim=1)
    mean = torch.cat([torch.zeros(2, dtype=F64), offset])
    joint = FullGaussian(mean, torch.cat([upper, lower]))
    z, x = normals(6, 2, seed=3), normals(6, 5, seed=4)
    product = stats.norm(0, 1).logpdf(z.numpy()).sum(1) + stats.norm(
        (z @ weight.T + offset).numpy(), math.sqrt(0.5)
    ).logpdf(x.numpy()).sum(1)
    assert joint.log_prob(torch.cat([z, x], dim=1)).numpy() == pytest.approx(product, abs=1e-9)
    found = joint.conditional(torch.arange(7) >= 2, x)
    for ours, exact in zip(found, model.posterior(x), strict=True):
        assert ours.numpy() == pytest.approx(exact.numpy(), abs=1e-12)


@pytest.mark.parametrize("n", [1, 4, 16])
def test_a_mean_that_is_drawn_towards_the_prior(n: int) -> None:
    """The formula of the exercise, from the conditional of the joint Gaussian."""
    joint = 0.5 * torch.ones(n + 1, n + 1, dtype=F64)
    joint[1:, 1:] += torch.eye(n, dtype=F64)
    x = normals(1, n) + 1
    gaussian = FullGaussian(torch.zeros(n + 1, dtype=F64), joint)
    mean, variance = gaussian.conditional(torch.arange(n + 1) > 0, x)
    factor = 0.5 / (0.5 + 1 / n)
    assert mean.item() == pytest.approx(factor * x.mean().item(), abs=1e-12)
    assert variance.item() == pytest.approx(factor / n, abs=1e-12)


# --- other forms ------------------------------------------------------------------------------


@pytest.mark.equation("eq-bernoulli-score", tolerance="1e-6")
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_slope_of_the_bernoulli_log_likelihood(share: float) -> None:
    """Central differences of torch's Bernoulli, and the sign on both sides of the share."""
    ones = round(200 * share)
    x = torch.cat([torch.ones(ones, dtype=F64), torch.zeros(200 - ones, dtype=F64)])

    def mean_log_likelihood(theta: float) -> float:
        return float(torch.distributions.Bernoulli(tensor(theta)).log_prob(x).mean())

    for theta in (0.05, 0.3, 0.7, 0.95):
        upper, lower = mean_log_likelihood(theta + 1e-5), mean_log_likelihood(theta - 1e-5)
        printed = (share - theta) / (theta * (1 - theta))
        assert printed == pytest.approx((upper - lower) / 2e-5, abs=1e-6, rel=1e-6)
        assert share / theta - (1 - share) / (1 - theta) == pytest.approx(printed, rel=1e-12)
        assert mean_log_likelihood(theta) < mean_log_likelihood(share)


@pytest.mark.equation("eq-categorical-mle", tolerance="1e-12; 1e-6 for the numerical maximum")
def test_the_shares_are_the_best_categorical() -> None:
    """SciPy's relative entropy at random probabilities, and a numerical maximum."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 300)
    shares = np.bincount(x, minlength=5) / 300

    def mean_log_likelihood(p: np.ndarray) -> float:
        return float(np.log(p[x]).mean())

    for p in rng.dirichlet(np.ones(5), 50):
        lacking = mean_log_likelihood(shares) - mean_log_likelihood(p)
        assert lacking == pytest.approx(stats.entropy(shares, p), abs=1e-12)
        assert lacking > 0
    best = optimize.minimize(
        lambda free: -mean_log_likelihood(special.softmax(free)), np.zeros(5), tol=1e-12
    )
    assert special.softmax(best.x) == pytest.approx(shares, abs=1e-6)


# natural parameters -> A(η), T(x), SciPy's distribution and where it lies
FAMILIES = {
    "Bernoulli": (
        [-0.4],
        lambda eta: np.log1p(np.exp(eta[0])),
        lambda x: x[None],
        lambda eta: stats.bernoulli(special.expit(eta[0])),
    ),
    "Poisson": (
        [1.1],
        lambda eta: np.exp(eta[0]),
        lambda x: x[None],
        lambda eta: stats.poisson(np.exp(eta[0])),
    ),
    "exponential": (
        [-2.0],
        lambda eta: -np.log(-eta[0]),
        lambda x: x[None],
        lambda eta: stats.expon(scale=-1 / eta[0]),
    ),
    "Gaussian": (
        [0.6, -0.25],
        lambda eta: -(eta[0] ** 2) / (4 * eta[1]) - 0.5 * np.log(-2 * eta[1]),
        lambda x: np.stack([x, x**2]),
        lambda eta: stats.norm(-eta[0] / (2 * eta[1]), np.sqrt(-1 / (2 * eta[1]))),
    ),
}


def differences(function: Callable[[np.ndarray], float], eta: np.ndarray) -> np.ndarray:
    """Central differences of a function of the natural parameters."""
    steps = 1e-5 * np.eye(len(eta))
    return np.array([(function(eta + step) - function(eta - step)) / 2e-5 for step in steps])


@pytest.mark.equation("def-exponential-family", tolerance="1e-12")
@pytest.mark.parametrize("name", FAMILIES)
def test_members_of_the_exponential_family(name: str) -> None:
    """SciPy's density: what is left beside the exponential does not depend on the parameters."""
    start, log_partition, statistics, distribution = FAMILIES[name]
    x = np.arange(2.0) if name == "Bernoulli" else np.arange(1.0, 6.0)
    rests = []
    for factor in (1.0, 0.7, 1.6):
        eta = factor * np.array(start)
        frozen = distribution(eta)
        log_p = frozen.logpmf(x) if hasattr(frozen, "pmf") else frozen.logpdf(x)
        rests.append(log_p - (eta @ statistics(x) - log_partition(eta)))
    assert rests[1] == pytest.approx(rests[0], abs=1e-12)
    assert rests[2] == pytest.approx(rests[0], abs=1e-12)


@pytest.mark.equation("eq-log-partition-gradient", tolerance="1e-7")
@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_of_the_log_partition(name: str) -> None:
    """SciPy's expectations of the statistics, by its sums and quadrature."""
    start, log_partition, statistics, distribution = FAMILIES[name]
    eta = np.array(start)
    expected = [
        distribution(eta).expect(lambda x, i=i: statistics(np.asarray(x))[i])
        for i in range(len(eta))
    ]
    assert differences(log_partition, eta) == pytest.approx(expected, abs=1e-7)


@pytest.mark.equation("eq-moment-matching", tolerance="1e-6")
@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_is_a_difference_of_averages(name: str) -> None:
    """Central differences of SciPy's log-likelihood; where it is zero nothing near is better."""
    start, _, statistics, distribution = FAMILIES[name]
    eta = np.array(start)
    x = distribution(0.8 * eta).rvs(300, random_state=0)

    def mean_log_likelihood(eta: np.ndarray) -> float:
        frozen = distribution(eta)
        return float((frozen.logpmf(x) if hasattr(frozen, "pmf") else frozen.logpdf(x)).mean())

    expected = [
        distribution(eta).expect(lambda v, i=i: statistics(np.asarray(v))[i])
        for i in range(len(eta))
    ]
    printed = statistics(x).mean(axis=1) - expected
    assert printed == pytest.approx(differences(mean_log_likelihood, eta), abs=1e-6)


# --- what the definitions define --------------------------------------------------------------


@pytest.mark.equation("def-normal", tolerance="1e-12")
def test_the_density_of_one_variable() -> None:
    """The printed formula, and SciPy's density."""
    for variance in (0.2, 3.0):
        log_var = tensor([math.log(variance)])
        value = float(log_normal(tensor([1.3]), tensor([-0.4]), log_var).exp())
        printed = math.exp(-(1.7**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        assert value == pytest.approx(printed, rel=1e-12)
        assert value == pytest.approx(stats.norm(-0.4, math.sqrt(variance)).pdf(1.3), rel=1e-12)


@pytest.mark.equation("def-full-gaussian", tolerance="1e-10")
def test_the_density_of_several_variables() -> None:
    """The printed formula with NumPy's inverse and determinant, and SciPy's density."""
    rng = np.random.default_rng(0)
    for d in (1, 3):
        factor = rng.normal(size=(d, d)) + 2 * np.eye(d)
        mean, covariance, x = rng.normal(size=d), factor @ factor.T, rng.normal(size=d)
        value = float(log_normal_full(*map(torch.from_numpy, (x, mean, covariance))).exp())
        form = (x - mean) @ np.linalg.inv(covariance) @ (x - mean)
        printed = math.exp(-form / 2) / math.sqrt(
            (2 * math.pi) ** d * float(np.linalg.det(covariance))
        )
        assert value == pytest.approx(printed, rel=1e-10)
        library = stats.multivariate_normal(mean, covariance).pdf(x)
        assert value == pytest.approx(library, rel=1e-10)


@pytest.mark.equation("def-sample-moments", tolerance="1e-12")
@pytest.mark.equation("def-shrinkage", tolerance="1e-12")
def test_the_moments_and_the_shrunk_covariance() -> None:
    """NumPy's covariance with divisor N, and scikit-learn's shrunk covariance."""
    x = np.random.default_rng(1).normal(size=(30, 4)) @ np.diag([1, 2, 3, 0.5]) + 2
    mean, covariance = fit_gaussian(torch.from_numpy(x))
    assert mean.numpy() == pytest.approx(x.mean(axis=0), abs=1e-12)
    assert covariance.numpy() == pytest.approx(np.cov(x.T, bias=True), abs=1e-12)
    for rho in (0.1, 0.6):
        shrunk = FullGaussian.fit(torch.from_numpy(x), rho).covariance.numpy()
        assert shrunk == pytest.approx(shrunk_covariance(np.cov(x.T, bias=True), rho), abs=1e-12)
