"""Each statement of the chapter on evaluation, both sides, against something independent."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from tests.common import F64, ScaledPosterior, all_images, linear_vae, seeded, tensor
from vaebook.estimators import effective_sample_size, log_mean_exp, monte_carlo
from vaebook.gaussian import LinearGaussian, kl_to_standard_normal, log_normal
from vaebook.likelihoods import Bernoulli, CausalBernoulli
from vaebook.priors import MixturePrior, StandardNormal

# One latent dimension, so that expectations over K draws are K-dimensional quadratures.
SMALL = LinearGaussian(tensor([[1.0], [0.5], [-0.8]]), tensor([0.3, -0.2, 0.1]), 0.5)
X = tensor([[1.2, 0.1, -0.9]])
NODES, WEIGHTS = (tensor(values) for values in np.polynomial.hermite_e.hermegauss(48))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def log_weights_at_nodes(errors: dict[str, float]) -> Tensor:
    """Logarithms of w(x, z) at the nodes of a quadrature under q, by the densities themselves."""
    mean, log_var = ScaledPosterior(SMALL, **errors)(X)
    z = mean + torch.exp(0.5 * log_var) * NODES[:, None]
    noise = Normal(z @ SMALL.weight.T + SMALL.mean, math.sqrt(SMALL.noise_var))
    log_joint = noise.log_prob(X).sum(-1) + Normal(0.0, 1.0).log_prob(z[:, 0])
    return log_joint - Normal(mean[0, 0], torch.exp(0.5 * log_var[0, 0])).log_prob(z[:, 0])


def expected(values: Tensor) -> float:
    """Expectation of a function of K draws of q, given on the grid of their nodes."""
    for _ in range(values.ndim):
        values = values @ WEIGHTS
    return float(values)


def on_grid(log_w: Tensor, k: int) -> Tensor:
    """log w of each of `k` draws on the k-dimensional grid: shape (k, n, ..., n)."""
    return torch.stack(torch.meshgrid(*[log_w] * k, indexing="ij"))


def exact_bound(errors: dict[str, float], k: int) -> float:
    grid = on_grid(log_weights_at_nodes(errors), k)
    return expected(torch.log(torch.exp(grid).mean(0)))


ERRORS = {"scale": 1.6, "shift": 0.4}


@pytest.mark.equation("eq-iwae", tolerance="4 standard errors; 1e-9 where it is exact")
@pytest.mark.parametrize("k", [1, 2, 3])
def test_expected_bound_is_that_of_quadrature_and_below_the_evidence(k: int) -> None:
    """Quadrature over all K draws of a model with one latent dimension, and its exact evidence."""
    vae, rows = linear_vae(SMALL, **ERRORS), X.expand(100_000, -1)
    bound = exact_bound(ERRORS, k)
    evidence = SMALL.log_prob(X).item()
    for estimate in (vae.iwae_bound, vae.log_prob_estimate):
        with torch.no_grad():
            value, error = monte_carlo(estimate(rows, k, generator=seeded(k)))
        assert abs(value - bound) < 4 * error
        assert error < 0.01
    assert bound < evidence - 0.01
    log_w = log_weights_at_nodes({"scale": 1.0})
    assert math.isclose(exact_bound({"scale": 1.0}, k), evidence, abs_tol=1e-12)
    assert torch.allclose(log_w, SMALL.log_prob(X), atol=1e-12)
    # the middle of the statement: without the logarithm there is no bias
    mean_weight = expected(torch.exp(on_grid(log_weights_at_nodes(ERRORS), k)).mean(0))
    assert math.isclose(math.log(mean_weight), evidence, abs_tol=1e-9)


@pytest.mark.equation("eq-iwae-monotone", tolerance="1e-12")
@pytest.mark.parametrize("k", [1, 2])
def test_each_line_of_the_proof_that_more_draws_never_hurt(k: int) -> None:
    """Quadrature over K + 1 draws, line by line, through `log_mean_exp`."""
    grid = on_grid(log_weights_at_nodes(ERRORS), k + 1)
    others = torch.stack([log_mean_exp(torch.cat([grid[:j], grid[j + 1 :]])) for j in range(k + 1)])
    first, second = expected(log_mean_exp(grid)), expected(log_mean_exp(others))
    third = sum(expected(log_m) for log_m in others) / (k + 1)
    assert math.isclose(first, second, abs_tol=1e-12)
    assert first > third + 1e-3
    assert math.isclose(third, exact_bound(ERRORS, k), abs_tol=1e-12)


@pytest.mark.equation("eq-iwae-bias", tolerance="2 %")
def test_bias_is_half_the_relative_variance_over_k() -> None:
    """The variance of the weights by quadrature, and the measured bias at K = 200."""
    k, scale = 200, 2.5
    log_evidence = SMALL.log_prob(X).item()
    relative = torch.exp(log_weights_at_nodes({"scale": scale}) - log_evidence)
    variance = expected(relative.square()) - 1
    vae = linear_vae(SMALL, scale=scale)
    log_w = vae.log_weights(X.expand(20_000, -1), k, seeded(1)).detach()
    log_ratio = log_mean_exp(log_w) - log_evidence
    # log(1 + delta) - delta has the same mean, because delta has none, and far less noise
    bias = monte_carlo(torch.exp(log_ratio) - 1 - log_ratio)
    predicted = variance / (2 * k)
    assert abs(bias.value - predicted) < 0.02 * predicted + 4 * bias.standard_error
    assert bias.standard_error < 0.02 * predicted


@pytest.mark.equation("eq-scaled-proposal", tolerance="1e-9; effective sample size 2 %")
@pytest.mark.parametrize("scale", [0.8, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("n_latents", [1, 2])
def test_squared_weights_of_a_scaled_posterior(scale: float, n_latents: int) -> None:
    """Quadrature of posterior squared over q, and the effective sample size of real weights."""
    formula = (scale / math.sqrt(2 * scale - 1)) ** n_latents
    z = torch.linspace(-60, 60, 200_001, dtype=F64)
    ratio = 2 * Normal(0.0, 1.0).log_prob(z) - Normal(tensor(0.0), math.sqrt(scale)).log_prob(z)
    integral = torch.trapezoid(ratio.exp(), z).item() ** n_latents
    assert math.isclose(integral, formula, rel_tol=1e-9)
    weight = tensor([[1.0, 0.0], [0.5, 1.0], [-0.8, 0.2]])[:, :n_latents]
    basis, _ = torch.linalg.qr(weight)  # orthogonal columns: a diagonal posterior
    linear = LinearGaussian(basis, torch.zeros(3, dtype=F64), 0.3)
    log_w = linear_vae(linear, scale=scale).log_weights(X, 200_000, seeded(3))
    assert math.isclose(200_000 / effective_sample_size(log_w).item(), formula, rel_tol=0.02)
    second_moment = log_mean_exp(2 * log_w) - 2 * linear.log_prob(X)
    assert math.isclose(second_moment.exp().item(), formula, rel_tol=0.02)


@pytest.mark.equation("eq-scaled-proposal", tolerance="divergence")
@pytest.mark.parametrize("scale", [0.5, 0.25])
def test_squared_weights_of_a_narrow_q_have_no_mean(scale: float) -> None:
    """Quadrature over wider and wider intervals, which does not converge."""
    integrals = []
    for limit in (5, 10, 20):
        z = torch.linspace(-limit, limit, 40_001, dtype=F64)[:, None]
        p, q = (log_normal(z, tensor([0.0]), tensor([v]).log()) for v in (1.0, scale))
        integrals.append(torch.trapezoid((2 * p - q).exp(), z[:, 0]).item())
    assert integrals[2] > 1.9 * integrals[1] > 1.9 * 1.9 * integrals[0]


@pytest.mark.equation("eq-control-variate", tolerance="1e-12")
@pytest.mark.parametrize("baseline", [0.0, 1.0])
def test_gap_on_a_subset_stands_for_the_gap_on_all(baseline: float) -> None:
    """Enumeration of all 35 subsets of three data out of seven, with a baseline and without."""
    noise = torch.randn(2, 7, generator=seeded(), dtype=F64)
    b = 5 * noise[0]
    a = baseline * (b + 0.3 * noise[1] - 2)
    subsets = torch.tensor(list(itertools.combinations(range(7), 3)))
    estimates = a.mean() + monte_carlo((b - a)[subsets], dim=1).value
    spread = (b - a).var()  # with divisor N - 1
    assert math.isclose(estimates.mean(), b.mean(), abs_tol=1e-12)
    assert math.isclose(estimates.var(correction=0), spread / 3 * (1 - 3 / 7), rel_tol=1e-12)


@pytest.mark.equation("eq-two-errors", tolerance="4 standard errors")
def test_variance_between_data_and_within_data_add_up() -> None:
    """Quadrature over the datum and over its code, for a model with one pixel."""
    linear = LinearGaussian(tensor([[1.5]]), tensor([0.2]), 0.7)
    vae = linear_vae(linear, **ERRORS)
    spread = math.sqrt(1.5**2 + 0.7)
    x = 0.2 + spread * NODES[:, None]
    mean, log_var = vae.encode(x)
    z = mean + torch.exp(0.5 * log_var) * NODES  # a row for each datum, a column for each code
    log_joint = Normal(1.5 * z + 0.2, math.sqrt(0.7)).log_prob(x) + Normal(0.0, 1.0).log_prob(z)
    log_w = log_joint - Normal(mean, torch.exp(0.5 * log_var)).log_prob(z)
    conditional_mean = log_w @ WEIGHTS
    between = (conditional_mean.square() @ WEIGHTS) - (conditional_mean @ WEIGHTS) ** 2
    within = (log_w.square() @ WEIGHTS - conditional_mean.square()) @ WEIGHTS
    estimates = vae.log_prob_estimate(linear.sample(200_000, seeded()), 1, seeded(1))
    squares = (estimates - estimates.mean()).square()
    total = monte_carlo(squares)
    assert abs(total.value - (between + within)) < 4 * total.standard_error
    assert total.standard_error < 0.02 * total.value
    assert min(between, within) > 10 * total.standard_error  # neither part could be left out
    error = monte_carlo(estimates).standard_error
    assert math.isclose(error.square() * 200_000, between + within, rel_tol=0.03)


@pytest.mark.equation("eq-elbo-surgery", tolerance="1e-9")
def test_average_divergence_is_information_plus_marginal_divergence() -> None:
    """Quadrature on a line, for four Gaussian codes and their mixture."""
    mean, log_var = tensor([[-2.0], [-1.0], [0.5], [3.0]]), tensor([[0.3], [-1.0], [0.0], [-2.0]])
    grid = torch.linspace(-25, 25, 40_001, dtype=F64)
    q_each = log_normal(grid[:, None, None], mean, log_var).T  # a row for each datum
    mixture = MixturePrior(1, 4).double()
    with torch.no_grad():
        mixture.means.copy_(mean)
        mixture.log_vars.copy_(log_var)
        q_all = mixture.log_prob(grid[:, None])
    log_prior = StandardNormal(1).double().log_prob(grid[:, None])

    def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
        return torch.trapezoid(log_q.exp() * (log_q - log_p), grid)

    left = kl_to_standard_normal(mean, log_var).mean()
    inserted = torch.trapezoid(q_each.exp() * ((q_each - q_all) + (q_all - log_prior)), grid)
    information, marginal = divergence(q_each, q_all).mean(), divergence(q_all, log_prior)
    assert math.isclose(left, inserted.mean(), abs_tol=1e-9)
    assert math.isclose(left, information + marginal, abs_tol=1e-9)
    assert 0 < information < math.log(4)
    assert marginal > 0.1


@pytest.mark.equation("eq-elbo-surgery", tolerance="1e-12")
def test_surgery_of_discrete_codes() -> None:
    """Enumeration of the joint distribution of datum and discrete code."""
    q = torch.rand(5, 7, generator=seeded(), dtype=F64)
    q, p = q / q.sum(1, keepdim=True), torch.full((7,), 1 / 7, dtype=F64)
    left = (q * (q / p).log()).sum(1).mean()
    joint, q_all = q / 5, q.mean(0)
    information = (joint * (joint / (q_all * 0.2)).log()).sum()  # from the definition of I
    assert math.isclose(left, information + (q_all * (q_all / p).log()).sum(), abs_tol=1e-12)


def causal(side: int, reach: int) -> tuple[CausalBernoulli, Tensor]:
    likelihood = CausalBernoulli(side, side, reach).double()
    with torch.no_grad():
        likelihood.weight.copy_(torch.randn(side**2, side**2, generator=seeded(), dtype=F64))
    return likelihood, torch.randn(side**2, generator=seeded(1), dtype=F64)


@pytest.mark.equation("eq-causal-bernoulli", tolerance="1e-12")
@pytest.mark.parametrize("reach", [1, 2, 3])
def test_probabilities_of_all_images_sum_to_one(reach: int) -> None:
    """Enumeration of all 512 images of nine pixels, pixel by pixel by the chain rule."""
    likelihood, logits = causal(3, reach)
    images = all_images(9)
    with torch.no_grad():
        log_prob = likelihood.log_prob(images, logits)
        weight = (likelihood.weight * likelihood.mask).tolist()
    assert math.isclose(log_prob.exp().sum(), 1, abs_tol=1e-12)
    for image, value in zip(images.tolist(), log_prob.tolist(), strict=True):
        total = 0.0
        for i in range(9):
            a = logits[i].item() + sum(weight[i][j] * image[j] for j in range(i))
            total += image[i] * a - math.log1p(math.exp(a))
        assert math.isclose(total, value, abs_tol=1e-12)
    assert not torch.allclose(log_prob, Bernoulli().log_prob(images, logits))


@pytest.mark.equation("eq-causal-bernoulli", tolerance="5 standard errors")
def test_images_drawn_pixel_by_pixel_have_these_probabilities() -> None:
    """Frequencies of all 16 images of four pixels among 200,000 drawn ones."""
    likelihood, logits = causal(2, 2)
    with torch.no_grad():
        probability = likelihood.log_prob(all_images(4), logits).exp()
        drawn = likelihood.sample(logits.expand(200_000, -1), seeded(2))
    number = (drawn @ tensor([8.0, 4.0, 2.0, 1.0])).long()
    frequency = torch.bincount(number, minlength=16) / 200_000
    error = (probability * (1 - probability) / 200_000).sqrt()
    assert ((frequency - probability).abs() < 5 * error).all()


@pytest.mark.equation("eq-noise-mixture", tolerance="1e-12")
def test_rare_good_samples_cost_at_most_log_100() -> None:
    """Enumeration of all 512 images of nine pixels, with noise that never draws half of them."""
    likelihood, logits = causal(3, 2)
    images = all_images(9)
    with torch.no_grad():
        log_p = likelihood.log_prob(images, logits)
    noise = (images[:, 0] == 1).double() / 256
    mixture = 0.01 * log_p.exp() + 0.99 * noise
    assert math.isclose(mixture.sum(), 1, abs_tol=1e-12)
    lost = log_p - mixture.log()
    assert (lost <= math.log(100) + 1e-12).all()
    assert torch.allclose(lost[noise == 0], tensor(math.log(100)), atol=1e-12)  # it is reached


@pytest.mark.equation("def-mixture-prior", tolerance="1e-10")
def test_the_density_of_a_mixture_prior() -> None:
    """PyTorch's mixture of independent normals, near the components and far from them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = MixturePrior(3, 4).double()
    with torch.no_grad():
        prior.logits.copy_(torch.randn(4, generator=seeded(1), dtype=F64))
        prior.log_vars.copy_(torch.randn(4, 3, generator=seeded(2), dtype=F64))
    components = Normal(prior.means, torch.exp(0.5 * prior.log_vars))
    peer = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=prior.logits),
        torch.distributions.Independent(components, 1),
    )
    z = 4 * torch.randn(200, 3, generator=seeded(3), dtype=F64)
    torch.testing.assert_close(prior.log_prob(z), peer.log_prob(z), rtol=0, atol=1e-10)


@pytest.mark.equation("def-causal-bernoulli", tolerance="1e-12")
def test_a_pixel_sees_those_drawn_before_it_and_near() -> None:
    """A loop over pixels that adds up the neighbours' weights by row and column."""
    height, width, reach = 4, 5, 2
    likelihood = CausalBernoulli(height, width, reach).double()
    with torch.no_grad():
        likelihood.weight.copy_(torch.randn(20, 20, generator=seeded(4), dtype=F64))
    logits = torch.randn(6, 20, generator=seeded(5), dtype=F64)
    x = torch.bernoulli(torch.full((6, 20), 0.5, dtype=F64), generator=seeded(6))
    weight = likelihood.weight.tolist()
    rows_found = likelihood.log_prob(x, logits).tolist()
    for row, own, found in zip(x.tolist(), logits.tolist(), rows_found, strict=True):
        total = 0.0
        for i in range(20):
            logit = own[i]
            for j in range(i):
                rows, columns = i // width - j // width, abs(i % width - j % width)
                if rows <= reach and columns <= reach:
                    logit += weight[i][j] * row[j]
            p = 1 / (1 + math.exp(-logit))
            total += math.log(p if row[i] else 1 - p)
        assert found == pytest.approx(total, abs=1e-12)
