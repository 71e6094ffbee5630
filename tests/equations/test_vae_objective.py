"""Each statement of the chapter on the objective, both sides, against something independent."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from tests.common import F64, linear_vae, seeded, tensor
from vaebook.estimators import (
    effective_sample_size,
    log_mean_exp,
    monte_carlo,
    reparameterized_gradient,
    score_function_gradient,
)
from vaebook.gaussian import (
    LinearGaussian,
    kl_diagonal,
    kl_full,
    kl_to_standard_normal,
    log_normal,
    reparameterize,
)
from vaebook.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian
from vaebook.networks import mlp
from vaebook.priors import StandardNormal
from vaebook.vae import VAE, Encoder

# A model with one latent dimension, a datum, a wrong q, and a grid that is exact to rounding.
SMALL = LinearGaussian(tensor([[1.0], [0.5], [-0.8]]), tensor([0.3, -0.2, 0.1]), 0.5)
X = tensor([[1.2, 0.1, -0.9]])
GRID = torch.linspace(-12, 12, 6001, dtype=F64)[:, None]
Q_MEAN, Q_LOG_VAR = tensor([[0.6]]), tensor([[0.5]]).log()


def integral(values: Tensor) -> float:
    return float(torch.trapezoid(values, GRID[:, 0]))


def log_likelihood(model: LinearGaussian, x: Tensor, z: Tensor) -> Tensor:
    return Gaussian(math.sqrt(model.noise_var)).log_prob(x, z @ model.weight.T + model.mean)


LOG_LIKELIHOOD = log_likelihood(SMALL, X, GRID)
LOG_PRIOR = StandardNormal(1).log_prob(GRID)
LOG_JOINT = LOG_LIKELIHOOD + LOG_PRIOR
LOG_Q = log_normal(GRID, Q_MEAN, Q_LOG_VAR)
Q = LOG_Q.exp()
EVIDENCE = float(SMALL.log_prob(X))


def log_posterior() -> Tensor:
    mean, covariance = SMALL.posterior(X)
    return log_normal(GRID, mean, covariance.log())


def model_of(n_features: int, n_latents: int, seed: int = 0) -> LinearGaussian:
    g = seeded(seed)
    weight = torch.randn(n_features, n_latents, generator=g, dtype=F64)
    return LinearGaussian(weight, torch.randn(n_features, generator=g, dtype=F64), 0.7)


def random_covariance(d: int, seed: int) -> Tensor:
    factor = torch.randn(d, d, generator=seeded(seed), dtype=F64)
    return factor @ factor.T + 0.3 * torch.eye(d, dtype=F64)


def within(estimate: tuple[Tensor, Tensor], exact: Tensor, n_errors: float = 4.5) -> bool:
    value, error = estimate
    return bool(((value - exact).abs() <= n_errors * error).all())


# --- the evidence -----------------------------------------------------------------------------


@pytest.mark.equation("eq-evidence", tolerance="1e-11")
def test_the_evidence_is_the_average_likelihood() -> None:
    """Quadrature of p(x|z) p(z) over z, against SciPy's multivariate normal density of x."""
    covariance = SMALL.weight @ SMALL.weight.T + 0.5 * torch.eye(3, dtype=F64)
    exact = stats.multivariate_normal(SMALL.mean.numpy(), covariance.numpy()).pdf(X[0].numpy())
    assert integral(LOG_LIKELIHOOD.exp() * LOG_PRIOR.exp()) == pytest.approx(exact, rel=1e-11)


@pytest.mark.equation("eq-linear-gaussian-evidence", tolerance="1e-10")
def test_linear_gaussian_evidence() -> None:
    """Quadrature over one and two latent dimensions of the joint density."""
    assert float(SMALL.log_prob(X)) == pytest.approx(math.log(integral(LOG_JOINT.exp())), abs=1e-11)
    model, x = model_of(3, 2), tensor([[0.4, -1.0, 0.8]])
    axis = torch.linspace(-9, 9, 401, dtype=F64)
    z = torch.cartesian_prod(axis, axis)
    joint = log_likelihood(model, x, z) + StandardNormal(2).log_prob(z)
    area = torch.trapezoid(torch.trapezoid(joint.exp().reshape(401, 401), axis), axis)
    assert float(model.log_prob(x)) == pytest.approx(float(area.log()), abs=1e-10)


@pytest.mark.equation("eq-linear-gaussian-posterior", tolerance="1e-9")
def test_linear_gaussian_posterior() -> None:
    """Bayes' rule: log p(x, z) - log p(x) at random z, with SciPy's normal density."""
    model = model_of(5, 3)
    x, z = model.sample(4, seeded(1)), torch.randn(4, 3, generator=seeded(2), dtype=F64)
    mean, covariance = model.posterior(x)
    bayes = log_likelihood(model, x, z) + StandardNormal(3).log_prob(z) - model.log_prob(x)
    for i in range(4):
        direct = stats.multivariate_normal(mean[i].numpy(), covariance.numpy()).logpdf(z[i].numpy())
        assert direct == pytest.approx(float(bayes[i]), abs=1e-9)


# --- Monte Carlo ------------------------------------------------------------------------------


@pytest.mark.equation("eq-naive-unbiased", tolerance="4.5 standard errors")
def test_the_naive_estimate_is_unbiased() -> None:
    """The closed-form evidence: 20,000 estimates from three draws each average to it."""
    z = torch.randn(3, 20_000, 1, generator=seeded(), dtype=F64)
    estimates = log_mean_exp(log_likelihood(SMALL, X, z)).exp()
    assert within(monte_carlo(estimates), tensor(EVIDENCE).exp())


@pytest.mark.equation("eq-monte-carlo-error", tolerance="2 %")
def test_the_variance_of_an_average_falls_with_the_number_of_draws() -> None:
    """The spread of 40,000 averages, with a variance of f(z) from quadrature."""
    prior = LOG_PRIOR.exp()
    mean = integral(prior * LOG_LIKELIHOOD.exp())
    variance = integral(prior * (LOG_LIKELIHOOD.exp() - mean) ** 2)
    for n_draws in (5, 25):
        z = torch.randn(n_draws, 40_000, 1, generator=seeded(n_draws), dtype=F64)
        estimate = monte_carlo(log_likelihood(SMALL, X, z).exp())
        assert float(estimate.value.var()) == pytest.approx(variance / n_draws, rel=0.02)
        # what monte_carlo reports is the same standard deviation, from one estimate's own draws
        reported = estimate.standard_error.square().mean()
        assert float(reported) == pytest.approx(variance / n_draws, rel=0.02)


@pytest.mark.equation("eq-log-estimate-bias", tolerance="10 % at S = 200")
def test_the_logarithm_of_an_estimate_is_biased_down() -> None:
    """The mean of 200,000 logarithms, with a variance of p(x|z) from quadrature."""
    squared = integral(LOG_PRIOR.exp() * (2 * LOG_LIKELIHOOD).exp())
    relative_variance = squared / math.exp(2 * EVIDENCE) - 1
    z = torch.randn(200, 200_000, generator=seeded(), dtype=torch.float32)
    # one observed direction carries all that x says about z: the likelihood as a function of z
    mean, covariance = SMALL.posterior(X)
    precision = float(1 / covariance - 1)
    peak = float(mean / covariance / precision)
    constant = float(log_likelihood(SMALL, X, tensor([[peak]])))
    logs = log_mean_exp(constant - 0.5 * precision * (z - peak).square())
    bias = float(logs.double().mean()) - EVIDENCE
    assert bias == pytest.approx(-relative_variance / (2 * 200), rel=0.1)


def test_effective_sample_size_of_the_naive_estimate() -> None:
    """Exercise: its large-sample limit is S p(x)² / E[p(x|z)²], here from the closed form."""
    model = model_of(6, 2)
    x = model.sample(1, seeded(3))
    z = torch.randn(400_000, 2, generator=seeded(4), dtype=F64)
    half = LinearGaussian(model.weight, model.mean, model.noise_var / 2)
    log_squared = -3 * math.log(4 * math.pi * model.noise_var) + half.log_prob(x)
    predicted = float(torch.exp(2 * model.log_prob(x) - log_squared))
    measured = float(effective_sample_size(log_likelihood(model, x, z))) / 400_000
    assert measured == pytest.approx(predicted, rel=0.03)


# --- importance sampling ----------------------------------------------------------------------


@pytest.mark.equation("eq-importance-sampling", tolerance="1e-11")
def test_importance_sampling() -> None:
    """The closed-form evidence; by quadrature, and by a VAE's own weights."""
    ratio = (LOG_LIKELIHOOD + LOG_PRIOR - LOG_Q).exp()
    assert math.log(integral(Q * ratio)) == pytest.approx(EVIDENCE, abs=1e-11)
    # the package's importance weights, with a q of half the posterior's precision
    vae = trainable_linear_vae(SMALL, log_var_offset=0.7)
    weights = vae.log_weights(X, 200_000, seeded())[:, 0].exp()
    assert within(monte_carlo(weights), tensor(EVIDENCE).exp())


@pytest.mark.equation("eq-zero-variance", tolerance="1e-9")
def test_weights_are_constant_at_the_exact_posterior() -> None:
    """The closed-form evidence: every weight of a VAE with the exact posterior equals it."""
    vae = trainable_linear_vae(SMALL)
    x = SMALL.sample(7, seeded(1))
    log_weights = vae.log_weights(x, 50, seeded())
    assert log_weights.detach().numpy() == pytest.approx(
        SMALL.log_prob(x).expand(50, 7).numpy(), abs=1e-9
    )


POSTERIOR = tensor([[1.0, 0.6], [0.6, 1.0]])


def squared_weights(proposal: Tensor) -> float:
    """The printed formula, line by line."""
    precision = torch.linalg.inv(POSTERIOR)
    rest = 2 * precision - torch.linalg.inv(proposal)
    if torch.linalg.eigvalsh(rest)[0] <= 0:
        return math.inf
    return float(torch.det(proposal).sqrt() / (torch.det(POSTERIOR) * torch.det(rest).sqrt()))


def squared_weights_on_square(proposal: Tensor, limit: float) -> float:
    """Posterior squared over q, summed over a square grid."""
    axis = torch.linspace(-limit, limit, 1201, dtype=F64)
    z = torch.cartesian_prod(axis, axis)
    zero = torch.zeros(2, dtype=F64)
    p, q = (
        torch.distributions.MultivariateNormal(zero, covariance).log_prob(z)
        for covariance in (POSTERIOR, proposal)
    )
    return float((2 * p - q).exp().sum() * (axis[1] - axis[0]) ** 2)


@pytest.mark.equation("eq-gaussian-weights", tolerance="1e-9; effective sample size 2 %")
@pytest.mark.parametrize("variances", [(1.3, 1.3), (1.6, 1.6), (3.0, 0.9)])
def test_squared_weights_of_a_gaussian_proposal(variances: tuple[float, float]) -> None:
    """A sum over a grid, and the effective sample size of real weights."""
    proposal = tensor(variances).diag()
    formula = squared_weights(proposal)
    assert math.isclose(squared_weights_on_square(proposal, 30.0), formula, rel_tol=1e-9)
    zero = torch.zeros(2, dtype=F64)
    p, q = (
        torch.distributions.MultivariateNormal(zero, covariance)
        for covariance in (POSTERIOR, proposal)
    )
    z = torch.randn(400_000, 2, generator=seeded(1), dtype=F64) * tensor(variances).sqrt()
    ess = effective_sample_size(p.log_prob(z) - q.log_prob(z))
    assert math.isclose(len(z) / ess.item(), formula, rel_tol=0.02)


@pytest.mark.equation("eq-gaussian-weights", tolerance="divergence")
@pytest.mark.parametrize("variance", [0.8, 0.7])
def test_squared_weights_of_a_proposal_that_is_narrow_somewhere(variance: float) -> None:
    """Sums over wider and wider squares, which do not converge, at the border and beyond it."""
    proposal = tensor([variance, variance]).diag()
    assert squared_weights(proposal) == math.inf
    sums = [squared_weights_on_square(proposal, limit) for limit in (6.0, 12.0, 24.0)]
    assert sums[2] > 1.8 * sums[1] > 1.8 * 1.8 * sums[0]


@pytest.mark.equation("eq-dropped-weight", tolerance="1e-10")
def test_without_the_weight_the_average_is_too_high() -> None:
    """Quadrature of each of the three expressions."""
    evidence, prior, likelihood = math.exp(EVIDENCE), LOG_PRIOR.exp(), LOG_LIKELIHOOD.exp()
    left = integral(log_posterior().exp() * likelihood)
    middle = integral(likelihood**2 * prior) / evidence
    variance = integral(prior * (likelihood - integral(prior * likelihood)) ** 2)
    assert left == pytest.approx(middle, rel=1e-10)
    assert left == pytest.approx(evidence + variance / evidence, rel=1e-10)
    assert left > evidence


def trainable_linear_vae(model: LinearGaussian, log_var_offset: float = 0.0) -> VAE:
    """Write a linear-Gaussian model and its posterior (d = 1) into the weights of a VAE."""
    n_features = len(model.mean)
    network, decoder = mlp(n_features, 2, ()), mlp(1, n_features, ())
    vae = VAE(Encoder(network), decoder, Gaussian(math.sqrt(model.noise_var)), StandardNormal(1))
    vae = vae.double()
    intercept, covariance = model.posterior(torch.zeros(1, n_features, dtype=F64))
    slopes = model.posterior(torch.eye(n_features, dtype=F64))[0] - intercept
    log_var = math.log(float(covariance)) + log_var_offset
    with torch.no_grad():
        network[0].weight.copy_(torch.stack([slopes[:, 0], torch.zeros(n_features, dtype=F64)]))
        # the encoder bounds log-variances by 10 tanh(raw / 10); this is its inverse
        network[0].bias.copy_(tensor([float(intercept), 10 * math.atanh(log_var / 10)]))
        decoder[0].weight.copy_(model.weight)
        decoder[0].bias.copy_(model.mean)
    return vae


# --- Jensen, the bound, the decomposition -----------------------------------------------------


@pytest.mark.equation("eq-jensen-convex", tolerance="strict; 1e-15 for a constant")
@pytest.mark.parametrize("f", [torch.exp, torch.square, lambda y: -torch.log(y)])
def test_jensen_for_convex_functions(f: Callable[[Tensor], Tensor]) -> None:
    """Enumeration: random discrete distributions, and equality for a constant."""
    g = seeded()
    for _ in range(50):
        y = 0.1 + 3 * torch.rand(6, generator=g, dtype=F64)
        p = torch.rand(6, generator=g, dtype=F64).log_softmax(0).exp()
        assert f((p * y).sum()) < (p * f(y)).sum()
    constant = tensor([1.7, 1.7])
    assert float(f(constant.mean())) == pytest.approx(float(f(constant).mean()), rel=1e-15)


@pytest.mark.equation("eq-jensen-log", tolerance="1e-12")
def test_jensen_for_the_logarithm() -> None:
    """Two equally likely values, and the exact gap v/2 of a log-normal variable by quadrature."""
    y = tensor([0.3, 2.7])
    assert log_mean_exp(y.log()) > y.log().mean()
    for variance in (0.01, 1.0):
        density = stats.norm(0, math.sqrt(variance)).pdf(GRID[:, 0].numpy())
        mean = integral(torch.from_numpy(density) * GRID[:, 0].exp())
        mean_of_log = integral(torch.from_numpy(density) * GRID[:, 0])
        assert math.log(mean) - mean_of_log == pytest.approx(variance / 2, abs=1e-12)


@pytest.mark.equation("eq-elbo-bound", tolerance="1e-11")
def test_the_bound_line_by_line() -> None:
    """The closed-form evidence and bound; each line by quadrature."""
    lines = [
        EVIDENCE,
        math.log(integral(LOG_JOINT.exp())),
        math.log(integral(Q * (LOG_JOINT.exp() / Q))),
        math.log(integral((LOG_Q + (LOG_JOINT - LOG_Q)).exp())),
    ]
    assert lines == pytest.approx([EVIDENCE] * 4, abs=1e-11)
    bound = integral(Q * (LOG_JOINT - LOG_Q))
    assert bound < EVIDENCE
    assert float(SMALL.elbo(X, Q_MEAN, Q_LOG_VAR.exp())) == pytest.approx(bound, abs=1e-11)


@pytest.mark.equation("eq-elbo-decomposition", tolerance="1e-11")
def test_the_decomposition_line_by_line() -> None:
    """The closed-form evidence; each line by quadrature, the last also in closed form."""
    posterior = log_posterior()
    elbo, divergence = integral(Q * (LOG_JOINT - LOG_Q)), integral(Q * (LOG_Q - posterior))
    lines = [
        integral(Q * EVIDENCE),
        integral(Q * (LOG_JOINT - posterior)),
        integral(Q * (LOG_JOINT - LOG_Q + LOG_Q - posterior)),
        elbo + divergence,
    ]
    assert lines == pytest.approx([EVIDENCE] * 4, abs=1e-11)
    mean, covariance = SMALL.posterior(X)
    assert float(SMALL.elbo(X, Q_MEAN, Q_LOG_VAR.exp())) == pytest.approx(elbo, abs=1e-11)
    closed = float(kl_full(Q_MEAN, Q_LOG_VAR.exp(), mean, covariance))
    assert closed == pytest.approx(divergence, abs=1e-11)


@pytest.mark.equation("eq-elbo-decomposition", tolerance="1e-10")
def test_the_decomposition_in_many_dimensions() -> None:
    """The evidence as SciPy's multivariate normal density, for a random q with correlations."""
    model = model_of(9, 4)
    x = model.sample(6, seeded(5))
    q_mean = torch.randn(6, 4, generator=seeded(6), dtype=F64)
    q_cov = random_covariance(4, 7)
    mean, covariance = model.posterior(x)
    total = model.elbo(x, q_mean, q_cov) + kl_full(q_mean, q_cov, mean, covariance)
    data_cov = (model.weight @ model.weight.T).numpy() + model.noise_var * np.eye(9)
    exact = stats.multivariate_normal(model.mean.numpy(), data_cov).logpdf(x.numpy())
    assert total.numpy() == pytest.approx(exact, abs=1e-10)


@pytest.mark.equation("eq-kl-nonnegative", tolerance="1e-12")
def test_divergence_is_never_negative() -> None:
    """The distance of random Gaussians: positive when they differ, zero when they are the same."""
    g = seeded()
    mean, log_var, other, other_log_var = torch.randn(4, 500, 3, generator=g, dtype=F64)
    zero = torch.zeros(500, dtype=F64).numpy()
    assert (kl_diagonal(mean, log_var, other, other_log_var) > 0).all()
    assert kl_diagonal(mean, log_var, mean, log_var).numpy() == pytest.approx(zero, abs=1e-12)
    covariance = random_covariance(3, 1)
    assert (kl_full(mean, covariance, other, random_covariance(3, 2)) > 0).all()
    assert kl_full(mean, covariance, mean, covariance).numpy() == pytest.approx(zero, abs=1e-12)


@pytest.mark.equation("eq-bound-gradient-phi", tolerance="1e-7")
def test_gradient_of_the_bound_over_phi() -> None:
    """Central differences of the closed-form divergence from the posterior."""
    model = model_of(7, 3)
    x = model.sample(1, seeded(1))
    mean, covariance = model.posterior(x)
    phi = torch.randn(2, 3, generator=seeded(2), dtype=F64).requires_grad_()
    bound = model.elbo(x, phi[:1], phi[1].exp().diag())
    (gradient,) = torch.autograd.grad(bound.sum(), phi)

    def divergence(flat: np.ndarray) -> float:
        moved = torch.from_numpy(flat).reshape(2, 3)
        return float(kl_full(moved[:1], moved[1].exp().diag(), mean, covariance))

    numeric = central_differences(divergence, phi.detach().numpy().ravel())
    assert gradient.numpy().ravel() == pytest.approx(-numeric, rel=1e-7, abs=1e-8)


@pytest.mark.equation("eq-bound-gradient-theta", tolerance="1e-6")
def test_gradient_of_the_bound_over_theta() -> None:
    """Central differences of the closed-form evidence and divergence over the weight matrix."""
    model = model_of(4, 2)
    x = model.sample(1, seeded(1))
    q_mean, q_cov = tensor([[0.3, -0.5]]), random_covariance(2, 3)
    weight = model.weight.clone().requires_grad_()
    bound = LinearGaussian(weight, model.mean, model.noise_var).elbo(x, q_mean, q_cov)
    (gradient,) = torch.autograd.grad(bound.sum(), weight)

    def moved(flat: np.ndarray) -> LinearGaussian:
        return LinearGaussian(torch.from_numpy(flat).reshape(4, 2), model.mean, model.noise_var)

    def evidence(flat: np.ndarray) -> float:
        return float(moved(flat).log_prob(x))

    def divergence(flat: np.ndarray) -> float:
        return float(kl_full(q_mean, q_cov, *moved(flat).posterior(x)))

    at = model.weight.numpy().ravel()
    right = central_differences(evidence, at) - central_differences(divergence, at)
    assert gradient.numpy().ravel() == pytest.approx(right, rel=1e-6, abs=1e-7)


def central_differences(
    f: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    shifts = step * np.eye(len(at))
    return np.array([(f(at + shift) - f(at - shift)) / (2 * step) for shift in shifts])


@pytest.mark.equation("eq-elbo", tolerance="1e-11")
def test_the_two_terms_of_the_bound() -> None:
    """Quadrature of the definition and of each term; the closed forms; a VAE's own terms."""
    definition = integral(Q * (LOG_JOINT - LOG_Q))
    first = integral(Q * (LOG_LIKELIHOOD + LOG_PRIOR - LOG_Q))
    reconstruction = integral(Q * LOG_LIKELIHOOD)
    divergence = integral(Q * (LOG_Q - LOG_PRIOR))
    assert first == pytest.approx(definition, abs=1e-11)
    assert reconstruction - divergence == pytest.approx(definition, abs=1e-11)
    assert float(kl_to_standard_normal(Q_MEAN, Q_LOG_VAR)) == pytest.approx(divergence, abs=1e-11)
    closed = float(SMALL.elbo(X, Q_MEAN, Q_LOG_VAR.exp()))
    assert closed == pytest.approx(definition, abs=1e-11)


@pytest.mark.equation("eq-elbo", tolerance="4.5 standard errors; 1e-9 for the divergence")
def test_the_terms_of_a_vae() -> None:
    """The closed-form terms of the linear-Gaussian model, for a q wider than the posterior."""
    vae = trainable_linear_vae(SMALL, log_var_offset=0.7)
    x = X.expand(100_000, 3)
    mean, covariance = SMALL.posterior(X)
    wider = covariance * math.exp(0.7)
    divergence = kl_full(mean, wider, torch.zeros(1, 1, dtype=F64), torch.eye(1, dtype=F64))
    terms = vae.elbo_terms(x, seeded())
    assert terms.kl.detach().numpy() == pytest.approx(float(divergence), abs=1e-9)
    exact = SMALL.elbo(X, mean, wider) + divergence
    assert within(monte_carlo(terms.reconstruction.detach()), exact)
    sampled = vae.elbo_terms(x, seeded(1), kl="monte_carlo").kl.detach()
    assert within(monte_carlo(sampled), divergence)


@pytest.mark.equation("eq-elbo-entropy", tolerance="1e-11")
def test_the_bound_with_the_entropy() -> None:
    """Quadrature of the definition, and SciPy's entropy of a normal distribution."""
    definition = integral(Q * (LOG_JOINT - LOG_Q))
    entropy = float(stats.norm(0.6, math.sqrt(0.5)).entropy())
    assert -integral(Q * LOG_Q) == pytest.approx(entropy, abs=1e-11)
    assert integral(Q * LOG_JOINT) + entropy == pytest.approx(definition, abs=1e-11)


# --- Gaussian divergences ---------------------------------------------------------------------


@pytest.mark.equation("eq-kl-standard-normal", tolerance="1e-10; 1e-8 for the second form")
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (0.6, 0.5), (-2.0, 0.03), (1.5, 2.5)])
def test_kl_to_the_standard_normal(mean: float, variance: float) -> None:
    """SciPy's adaptive quadrature of q log(q/p), in one dimension, summed for several."""
    q, p = stats.norm(mean, math.sqrt(variance)), stats.norm()
    half_width = 12 * math.sqrt(variance)
    exact = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)),
        *(mean - half_width, mean + half_width),
        epsabs=1e-13,
        limit=200,
    )[0]
    middle = 0.5 * q.expect(
        lambda z: z**2 - (z - mean) ** 2 / variance - math.log(variance),
        lb=mean - half_width,
        ub=mean + half_width,
    )
    formula = kl_to_standard_normal(tensor([mean, 0.6]), tensor([variance, 0.5]).log())
    other = kl_to_standard_normal(tensor([0.6]), tensor([0.5]).log())
    assert float(formula - other) == pytest.approx(exact, abs=1e-10)
    assert middle == pytest.approx(exact, abs=1e-8)


@pytest.mark.equation("eq-kl-diagonal", tolerance="1e-12; 1e-11 by quadrature")
def test_kl_of_diagonal_gaussians() -> None:
    """torch.distributions, for random parameters, and quadrature in one dimension."""
    mean_q, log_var_q, mean_p, log_var_p = torch.randn(4, 20, 5, generator=seeded(), dtype=F64)
    q = torch.distributions.Normal(mean_q, torch.exp(0.5 * log_var_q))
    p = torch.distributions.Normal(mean_p, torch.exp(0.5 * log_var_p))
    exact = torch.distributions.kl_divergence(q, p).sum(-1)
    formula = kl_diagonal(mean_q, log_var_q, mean_p, log_var_p)
    assert formula.numpy() == pytest.approx(exact.numpy(), rel=1e-12)
    log_p = log_normal(GRID, tensor([[-0.4]]), tensor([[1.7]]).log())
    one = kl_diagonal(Q_MEAN, Q_LOG_VAR, tensor([[-0.4]]), tensor([[1.7]]).log())
    assert float(one) == pytest.approx(integral(Q * (LOG_Q - log_p)), abs=1e-11)


@pytest.mark.equation("eq-kl-full", tolerance="1e-10")
@pytest.mark.equation("eq-kl-full-standard", tolerance="1e-10")
def test_kl_of_full_gaussians() -> None:
    """The printed formulas in NumPy with explicit inverses, and torch.distributions."""
    d = 4
    mean_q, mean_p = torch.randn(2, d, generator=seeded(), dtype=F64)
    cov_q, cov_p = random_covariance(d, 1), random_covariance(d, 2)
    identity, zero = torch.eye(d, dtype=F64), torch.zeros(d, dtype=F64)

    def oracle(mean: Tensor, cov: Tensor) -> float:
        q = torch.distributions.MultivariateNormal(mean_q, cov_q)
        p = torch.distributions.MultivariateNormal(mean, cov)
        return float(torch.distributions.kl_divergence(q, p))

    shift, precision = (mean_q - mean_p).numpy(), np.linalg.inv(cov_p.numpy())
    log_ratio = np.linalg.slogdet(cov_p.numpy())[1] - np.linalg.slogdet(cov_q.numpy())[1]
    printed = 0.5 * (
        np.trace(precision @ cov_q.numpy()) + shift @ precision @ shift - d + log_ratio
    )
    assert printed == pytest.approx(oracle(mean_p, cov_p), abs=1e-10)
    assert float(kl_full(mean_q, cov_q, mean_p, cov_p)) == pytest.approx(printed, abs=1e-10)
    m = mean_q.numpy()
    source = 0.5 * (np.trace(cov_q) + m @ m - d - np.linalg.slogdet(cov_q.numpy())[1])
    assert source == pytest.approx(oracle(zero, identity), abs=1e-10)
    assert float(kl_full(mean_q, cov_q, zero, identity)) == pytest.approx(source, abs=1e-10)


# --- likelihoods ------------------------------------------------------------------------------


@pytest.mark.equation("eq-bernoulli-log-likelihood", tolerance="1e-12")
def test_bernoulli_log_likelihood() -> None:
    """SciPy's Bernoulli mass function, and enumeration: all 2^5 images add up to one."""
    logits = tensor([-3.0, -0.4, 0.0, 1.1, 6.0])
    images = torch.cartesian_prod(*[tensor([0.0, 1.0])] * 5)
    probability = Bernoulli().mean(logits)
    exact = stats.bernoulli(probability.numpy()).logpmf(images.numpy()).sum(-1)
    printed = (images * logits - torch.log(1 + logits.exp())).sum(-1)
    value = Bernoulli().log_prob(images, logits.expand(32, 5))
    assert value.numpy() == pytest.approx(exact, abs=1e-12)
    assert printed.numpy() == pytest.approx(exact, abs=1e-12)
    assert float(value.exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.equation("eq-gaussian-log-likelihood", tolerance="1e-12; 6 % for the draws")
def test_gaussian_log_likelihood() -> None:
    """SciPy's normal density, pixel by pixel, with the variance that the model samples with."""
    x, mean = torch.randn(2, 6, 4, generator=seeded(), dtype=F64)
    raw = torch.randn(6, 4, generator=seeded(1), dtype=F64)
    likelihood = Gaussian(std=None)
    params = torch.cat([mean, raw], -1)
    std = torch.exp(5 * torch.tanh(raw / 10))  # log-variances bounded to ±10
    exact = stats.norm(mean.numpy(), std.numpy()).logpdf(x.numpy()).sum(-1)
    assert likelihood.log_prob(x, params).numpy() == pytest.approx(exact, abs=1e-12)
    draws = likelihood.sample(params.expand(20_000, 6, 8), seeded(2))
    assert draws.var(0).numpy() == pytest.approx(std.square().numpy(), rel=0.06)


@pytest.mark.equation("eq-unit-variance", tolerance="1e-12")
def test_unit_variance_is_a_squared_error_and_a_constant() -> None:
    """SciPy's multivariate normal density with the identity as covariance."""
    x, mean = torch.randn(2, 6, 4, generator=seeded(), dtype=F64)
    printed = -0.5 * (x - mean).square().sum(-1) - 2 * math.log(2 * math.pi)
    exact = [
        stats.multivariate_normal(m, np.eye(4)).logpdf(row)
        for m, row in zip(mean.numpy(), x.numpy(), strict=True)
    ]
    assert printed.numpy() == pytest.approx(np.array(exact), abs=1e-12)
    assert Gaussian().log_prob(x, mean).numpy() == pytest.approx(np.array(exact), abs=1e-12)


@pytest.mark.equation("eq-cross-entropy-mass", tolerance="1e-10")
@pytest.mark.parametrize("probability", [0.02, 0.3, 0.6, 0.9])
def test_the_mass_of_binary_cross_entropy(probability: float) -> None:
    """SciPy's adaptive quadrature over [0, 1] of exp(-cross-entropy)."""
    logit = tensor([[math.log(probability / (1 - probability))]])
    mass = integrate.quad(
        lambda x: float(Bernoulli().log_prob(tensor([[x]]), logit).exp()), 0, 1, epsabs=1e-12
    )[0]
    assert (2 * probability - 1) / float(logit) == pytest.approx(mass, abs=1e-10)
    assert 0 < mass < 0.5


@pytest.mark.equation("eq-continuous-bernoulli", tolerance="1e-9")
@pytest.mark.parametrize("logit", [-12.0, -1.0, 0.3, 4.0])
def test_continuous_bernoulli(logit: float) -> None:
    """torch.distributions, quadrature to one, and the printed formula."""
    x, logits = torch.linspace(0, 1, 11, dtype=F64)[:, None], torch.full((11, 1), logit, dtype=F64)
    value = ContinuousBernoulli().log_prob(x, logits)
    library = torch.distributions.ContinuousBernoulli(logits=logits).log_prob(x).sum(-1)
    printed = (x * logits - torch.log((logits.exp() - 1) / logits)).sum(-1)
    assert value.numpy() == pytest.approx(library.numpy(), abs=1e-9)
    assert value.numpy() == pytest.approx(printed.numpy(), abs=1e-9)
    mass = integrate.quad(
        lambda p: float(ContinuousBernoulli().log_prob(tensor([[p]]), logits[:1]).exp()), 0, 1
    )[0]
    assert mass == pytest.approx(1, abs=1e-9)


# --- gradients --------------------------------------------------------------------------------

GRADIENT_MODEL = model_of(8, 3)
GRADIENT_X = GRADIENT_MODEL.sample(1, seeded(9))
GRADIENT_MEAN, GRADIENT_LOG_VAR = tensor([0.2, -0.4, 0.1]), tensor([-1.0, -0.5, -2.0])


def integrand(z: Tensor) -> Tensor:
    return log_likelihood(GRADIENT_MODEL, GRADIENT_X, z)


def exact_gradient() -> Tensor:
    """Central differences of the closed form of E_q[log p(x|z)], shape (2, d)."""

    def expectation(flat: np.ndarray) -> float:
        mean, log_var = torch.from_numpy(flat).reshape(2, 1, 3)
        bound = GRADIENT_MODEL.elbo(GRADIENT_X, mean, log_var[0].exp().diag())
        return float(bound + kl_to_standard_normal(mean, log_var))

    at = torch.cat([GRADIENT_MEAN, GRADIENT_LOG_VAR]).numpy()
    return torch.from_numpy(central_differences(expectation, at)).reshape(2, 3)


@pytest.mark.equation("eq-gradient-theta", tolerance="1e-6")
def test_gradient_over_theta_moves_inside() -> None:
    """Central differences of the expectation by quadrature, over the weights of the decoder."""

    def expectation(flat: np.ndarray) -> float:
        model = LinearGaussian(torch.from_numpy(flat)[:, None], SMALL.mean, 0.5)
        return integral(Q * log_likelihood(model, X, GRID))

    weight = SMALL.weight.clone().requires_grad_()
    params = GRID @ weight.T + SMALL.mean
    log_p = Gaussian(math.sqrt(0.5)).log_prob(X, params)
    # gradient of each log p(x|z), then the average over z
    steps = torch.full_like(GRID[:, 0], float(GRID[1] - GRID[0]))
    (inside,) = torch.autograd.grad((Q * steps * log_p).sum(), weight)
    outside = central_differences(expectation, SMALL.weight.numpy().ravel())
    assert inside.numpy().ravel() == pytest.approx(outside, rel=1e-6)


@pytest.mark.equation("eq-score-function-gradient", tolerance="4.5 standard errors")
def test_score_function_gradient() -> None:
    """Central differences of the closed-form expectation; the middle line by quadrature."""
    exact = exact_gradient()
    for baseline in (0.0, float(integrand(GRADIENT_MEAN[None]))):
        samples = score_function_gradient(
            *(integrand, GRADIENT_MEAN, GRADIENT_LOG_VAR, 400_000, seeded(1)),
            baseline=baseline,
        )
        assert within(monte_carlo(samples), exact)


@pytest.mark.equation("eq-score-function-gradient", tolerance="1e-6; 1e-5 by differences")
def test_score_function_lines() -> None:
    """Quadrature of each of the three lines, the first by central differences."""

    def expectation(flat: np.ndarray) -> float:
        mean, log_var = torch.from_numpy(flat)
        return integral(log_normal(GRID, mean[None], log_var[None]).exp() * LOG_LIKELIHOOD)

    at = np.array([float(Q_MEAN), float(Q_LOG_VAR)])
    outside = central_differences(expectation, at)
    variance = float(Q_LOG_VAR.exp())
    standard = (GRID[:, 0] - float(Q_MEAN)) / math.sqrt(variance)
    score = torch.stack([standard / math.sqrt(variance), 0.5 * (standard**2 - 1)])

    def density(z: float) -> Callable[[np.ndarray], float]:
        return lambda p: float(stats.norm(p[0], math.exp(p[1] / 2)).pdf(z))

    for z in (-1.0, 0.2, 2.0):
        slope = central_differences(density(z), at)
        here = int((GRID[:, 0] - z).abs().argmin())
        assert (Q[here] * score[:, here]).numpy() == pytest.approx(slope, rel=1e-5)
    inside = [integral(LOG_LIKELIHOOD * Q * part) for part in score]
    assert inside == pytest.approx(outside, rel=1e-6)


@pytest.mark.equation("eq-score-mean-zero", tolerance="4.5 standard errors")
def test_the_score_has_mean_zero() -> None:
    """The number zero: the score is the estimator for a constant integrand of one."""
    samples = score_function_gradient(
        *(lambda z: torch.ones_like(z[:, 0]), GRADIENT_MEAN, GRADIENT_LOG_VAR, 200_000),
        seeded(2),
    )
    assert within(monte_carlo(samples), torch.zeros(2, 3, dtype=F64))
    assert (samples.var(0) > 0.1).all()


@pytest.mark.equation("eq-reparameterized-gradient", tolerance="4.5 standard errors")
def test_reparameterized_gradient() -> None:
    """Central differences of the closed-form expectation, and less variance than the score's."""
    arguments = (integrand, GRADIENT_MEAN, GRADIENT_LOG_VAR, 400_000, seeded(3))
    samples = reparameterized_gradient(*arguments)
    assert within(monte_carlo(samples), exact_gradient())
    assert (samples.var(0) < score_function_gradient(*arguments).var(0)).all()


@pytest.mark.equation("eq-elbo-reparameterized", tolerance="1e-9")
def test_the_bound_as_an_expectation_over_noise() -> None:
    """Gauss-Hermite quadrature over the noise, and the closed-form bound."""
    nodes, quadrature_weights = np.polynomial.hermite_e.hermegauss(40)
    noise = torch.from_numpy(nodes)[:, None]
    z = Q_MEAN + torch.exp(0.5 * Q_LOG_VAR) * noise
    weights = torch.from_numpy(quadrature_weights / math.sqrt(2 * math.pi))
    expectation = (weights * log_likelihood(SMALL, X, z)).sum()
    printed = float(expectation - kl_to_standard_normal(Q_MEAN, Q_LOG_VAR))
    closed = float(SMALL.elbo(X, Q_MEAN, Q_LOG_VAR.exp()))
    assert printed == pytest.approx(closed, abs=1e-9)


@pytest.mark.equation("eq-elbo-estimate-unbiased", tolerance="4.5 standard errors")
@pytest.mark.parametrize("n_samples", [1, 4])
def test_the_estimated_bound_is_unbiased(n_samples: int) -> None:
    """The closed-form bound of the linear-Gaussian model: 50,000 estimates average to it."""
    vae = trainable_linear_vae(SMALL, log_var_offset=0.7)
    mean, covariance = SMALL.posterior(X)
    closed = SMALL.elbo(X, mean, covariance * math.exp(0.7))
    terms = vae.elbo_terms(X.expand(50_000, 3), seeded(n_samples), n_samples=n_samples)
    assert within(monte_carlo((terms.reconstruction - terms.kl).detach()), closed)


@pytest.mark.equation("eq-minibatch-variance", tolerance="4 %")
@pytest.mark.parametrize(("n_data", "n_draws"), [(6, 1), (3, 4)])
def test_variance_of_a_batch(n_data: int, n_draws: int) -> None:
    """The spread of 30,000 batches; the right-hand side from closed forms and quadrature."""
    data = SMALL.sample(40, seeded(1))
    mean = torch.full((40, 1), 0.6, dtype=F64)
    bounds = SMALL.elbo(data, mean, Q_LOG_VAR.exp())
    log_p = torch.stack([log_likelihood(SMALL, row, GRID) for row in data])
    expected = [integral(Q * row) for row in log_p]
    noise = np.mean(
        [integral(Q * (row - mean) ** 2) for row, mean in zip(log_p, expected, strict=True)]
    )
    right = (float(bounds.var(correction=0)) + noise / n_draws) / n_data

    g = seeded(2)
    chosen = torch.randint(40, (30_000, n_data), generator=g)
    shape = (n_draws, 30_000, n_data, 1)
    z = reparameterize(Q_MEAN.expand(shape), Q_LOG_VAR.expand(shape), g)
    batches = log_likelihood(SMALL, data[chosen], z).mean(0)
    batches = (batches - kl_to_standard_normal(Q_MEAN, Q_LOG_VAR)).mean(-1)
    assert float(batches.var()) == pytest.approx(right, rel=0.04)


# --- definitions ------------------------------------------------------------------------------


def network_vae() -> tuple[VAE, Tensor]:
    """A VAE with random weights, large enough for its codes to differ, and some binary data."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VAE(Encoder(mlp(7, 6, (9,))), mlp(3, 7, (9,)), Bernoulli(), StandardNormal(3))
        vae = vae.double()
        for parameter in vae.parameters():
            torch.nn.init.normal_(parameter, std=0.8)
    return vae, torch.bernoulli(torch.full((5, 7), 0.5, dtype=F64), generator=seeded(1))


@pytest.mark.equation("def-linear-gaussian", tolerance="4.5 standard errors")
def test_a_linear_gaussian_datum() -> None:
    """Means and products of 200,000 draws, against the noise and the matrix in NumPy."""
    x = SMALL.sample(200_000, seeded(2))
    off = x - SMALL.mean
    products = off[:, :, None] * off[:, None, :]
    weight = SMALL.weight.numpy()
    spread = tensor(weight @ weight.T + SMALL.noise_var * np.eye(3))
    for values, printed in ((off, torch.zeros(3, dtype=F64)), (products, spread)):
        mean, error = monte_carlo(values)
        assert ((mean - printed).abs() < 4.5 * error).all()


@pytest.mark.equation("def-log-mean-exp", tolerance="1e-12, relative")
@pytest.mark.parametrize("shift", [0.0, -2000.0, 900.0])
def test_log_mean_exp(shift: float) -> None:
    """Sums of 60 decimal digits, for logarithms whose exponentials no float can hold."""
    values = [0.3, -1.2, 2.5, -40.0]
    with localcontext(prec=60):
        total = sum((Decimal(v) + Decimal(shift)).exp() for v in values)
        printed = float((total / len(values)).ln())
    found = log_mean_exp(tensor(values) + shift)
    assert float(found) == pytest.approx(printed, rel=1e-12)


@pytest.mark.equation("def-effective-sample-size", tolerance="1e-12")
def test_effective_sample_size_as_printed() -> None:
    """Exact fractions; equal weights, and one that dominates."""
    weights = [Fraction(n, 16) for n in (1, 3, 8, 0, 4)]
    printed = sum(weights) ** 2 / sum(w**2 for w in weights)
    logs = tensor([float(w) for w in weights]).log()
    assert float(effective_sample_size(logs + 900)) == pytest.approx(float(printed), abs=1e-12)
    assert float(effective_sample_size(tensor([7.0] * 20))) == pytest.approx(20, abs=1e-12)
    assert float(effective_sample_size(tensor([0.0, -800.0]))) == pytest.approx(1, abs=1e-12)


@pytest.mark.equation("def-kl", tolerance="1e-9")
def test_the_divergence_as_an_expectation() -> None:
    """SciPy's quadrature of q times the logarithm of a quotient of SciPy's densities."""
    for (m, s), (n, t) in (((0.6, 0.5), (0.0, 1.0)), ((-1.0, 1.3), (0.4, 2.0))):
        q, p = stats.norm(m, s), stats.norm(n, t)

        def integrand(z: float, q: Any = q, p: Any = p) -> float:
            return float(q.pdf(z) * (q.logpdf(z) - p.logpdf(z)))

        printed, _ = integrate.quad(integrand, m - 12 * s, m + 12 * s, epsabs=1e-12)
        mean, log_var = tensor([m]), 2 * tensor([s]).log()
        other = tensor([n]), 2 * tensor([t]).log()
        assert float(kl_diagonal(mean, log_var, *other)) == pytest.approx(printed, abs=1e-9)
        if (n, t) == (0.0, 1.0):
            assert float(kl_to_standard_normal(mean, log_var)) == pytest.approx(printed, abs=1e-9)


@pytest.mark.equation("def-diagonal-gaussian", tolerance="1e-12")
def test_the_density_of_a_diagonal_gaussian() -> None:
    """SciPy's normal log-densities, added up over the dimensions."""
    z, mean, log_var = (torch.randn(30, 4, generator=seeded(n), dtype=F64) for n in range(3))
    peer = stats.norm(mean.numpy(), np.exp(0.5 * log_var.numpy())).logpdf(z.numpy()).sum(1)
    np.testing.assert_allclose(log_normal(z, mean, log_var).numpy(), peer, rtol=0, atol=1e-12)


@pytest.mark.equation("def-encoder", tolerance="4.5 standard errors; 1e-12 for the parameters")
def test_the_encoder_is_a_diagonal_gaussian() -> None:
    """The two halves of its network's answer, and moments of 100,000 codes of one datum."""
    vae, x = network_vae()
    with torch.no_grad():
        mean, log_var = vae.encode(x)
        answer = vae.encoder.network(x)
        codes = reparameterize(*(p[:1].expand(100_000, 3) for p in (mean, log_var)), seeded(3))
    torch.testing.assert_close(mean, answer[:, :3], rtol=0, atol=1e-12)
    bounded = 10 * torch.tanh(answer[:, 3:] / 10)
    torch.testing.assert_close(log_var, bounded, rtol=0, atol=1e-12)
    off = codes - mean[0]
    spread = log_var[0].exp().diag()  # no covariance between the components
    value, error = monte_carlo(off[:, :, None] * off[:, None, :])
    assert ((value - spread).abs() < 4.5 * error).all()


@pytest.mark.equation("def-decoder", tolerance="1e-10")
@pytest.mark.equation("def-importance-weight", tolerance="1e-10")
def test_the_weight_of_a_draw() -> None:
    """Python's product over pixels, and PyTorch's densities of prior and proposal."""
    vae, x = network_vae()
    with torch.no_grad():
        mean, log_var = vae.encode(x)
        z = reparameterize(*(p.expand(4, 5, 3) for p in (mean, log_var)), seeded(4))
        lit = torch.sigmoid(vae.decoder(z))
        found = vae.likelihood.log_prob(x, vae.decoder(z))
        product = torch.where(x == 1, lit, 1 - lit).prod(-1)
        torch.testing.assert_close(found.exp(), product, rtol=0, atol=1e-12)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        proposal = torch.distributions.Normal(mean, torch.exp(0.5 * log_var)).log_prob(z).sum(-1)
        printed = product * torch.exp(prior - proposal)
        weights = vae.log_weights(x, 4, seeded(4)).exp()
    torch.testing.assert_close(weights, printed, rtol=0, atol=1e-10)


@pytest.mark.equation("def-elbo", tolerance="4.5 standard errors")
def test_the_bound_is_the_expected_logarithm_of_a_weight() -> None:
    """Quadrature over the grid of the joint density and of q; 100,000 one-draw estimates."""
    model = linear_vae(SMALL, scale=1.7, shift=0.4)
    mean, log_var = model.encode(X)
    log_q = log_normal(GRID, mean, log_var)
    printed = integral(log_q.exp() * (LOG_JOINT - log_q))
    with torch.no_grad():
        value, error = monte_carlo(model.elbo(X.expand(100_000, -1), seeded(5)))
    assert abs(float(value) - printed) < 4.5 * float(error)


@pytest.mark.equation("def-reparameterization", tolerance="1e-12; 4.5 standard errors")
def test_a_draw_is_a_function_of_its_parameters() -> None:
    """Derivatives by automatic differentiation: 1, and the noise; moments of 100,000 draws."""
    mean, std = tensor([0.3, -2.0]).requires_grad_(), tensor([0.5, 1.6]).requires_grad_()
    many = [p.expand(100_000, 2) for p in (mean, 2 * std.log())]
    z = reparameterize(*many, seeded(6))
    noise = ((z - mean) / std).detach()
    for values, printed in ((noise, 0.0), (noise.square(), 1.0), (noise.prod(1), 0.0)):
        value, error = monte_carlo(values)
        assert ((value - printed).abs() < 4.5 * error).all()
    by_mean, by_std = torch.autograd.grad(z[7].sum(), (mean, std))
    torch.testing.assert_close(by_mean, torch.ones(2, dtype=F64), rtol=0, atol=1e-12)
    torch.testing.assert_close(by_std, noise[7], rtol=0, atol=1e-12)


@pytest.mark.equation("def-elbo-estimate", tolerance="1e-8 nats")
@pytest.mark.parametrize("n_draws", [1, 6])
def test_the_estimated_bound_as_printed(n_draws: int) -> None:
    """An average over draws, written out, less PyTorch's divergence of the two Gaussians."""
    vae, x = network_vae()
    with torch.no_grad():
        mean, log_var = vae.encode(x)
        z = reparameterize(*(p.expand(n_draws, 5, 3) for p in (mean, log_var)), seeded(8))
        parts = [torch.distributions.Bernoulli(logits=vae.decoder(draw)) for draw in z]
        average = sum(part.log_prob(x).sum(1) for part in parts) / n_draws
        q = torch.distributions.Normal(mean, torch.exp(0.5 * log_var))
        prior = torch.distributions.Normal(0.0, 1.0)
        printed = average - torch.distributions.kl_divergence(q, prior).sum(1)
        reconstruction, kl = vae.elbo_terms(x, seeded(8), n_samples=n_draws)
    torch.testing.assert_close(reconstruction - kl, printed, rtol=0, atol=1e-8)
