"""Each statement of the page on discrete codes, both sides, against something independent."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from tests.common import F64, all_images, linear_vae, normals, seeded, tensor
from vaebook.autoregressive import CategoricalMADE
from vaebook.diffusion import Diffusion, GaussianNoisePredictor, linear_schedule
from vaebook.estimators import monte_carlo, reparameterized_gradient, score_function_gradient
from vaebook.gaussian import LinearGaussian
from vaebook.latent_diffusion import LatentDiffusion
from vaebook.vector_quantization import (
    VQVAE,
    Codebook,
    mlp_vqvae,
    nearest_codes,
    perplexity,
    straight_through,
    vq_objective,
)

CODES = tensor([-1.5, -0.2, 0.4, 2.0])
SIGMA, N_DRAWS = 0.6, 200_000


def bent(c: Tensor) -> Tensor:
    """Return a function that is no straight line."""
    return torch.sin(2 * c) + 0.5 * c.square()


def quantised(x: Tensor) -> Tensor:
    """Return the value of `bent` at the nearest code, with the straight-through derivative."""
    codes = CODES[:, None]
    return bent(straight_through(x, codes[nearest_codes(x, codes)]))[:, 0]


def chances(mu: Tensor) -> Tensor:
    """Probabilities of the cells, from the normal distribution function."""
    walls = (CODES[1:] + CODES[:-1]) / 2
    below = torch.special.ndtr((walls - mu) / SIGMA)
    return torch.cat([below, tensor([1.0])]) - torch.cat([tensor([0.0]), below])


def small_model(seed: int = 0) -> VQVAE:
    """Return a model of four pixels and nine codes, with weights that matter."""
    model = mlp_vqvae(4, 2, 3, 2, (5,)).double()
    for weights in [*model.parameters(), model.codebook.vectors]:
        weights.data.normal_(0, 1.2, generator=seeded(seed))
    return model


def log_joint(model: VQVAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """All codes, and log p(x, z) of each row with each of them, pixel by pixel."""
    codes = torch.tensor(list(product(range(3), repeat=2)))
    logits = model.decoder(model.codebook.vectors[codes].flatten(1))
    p = torch.sigmoid(logits)
    each = torch.where(x[:, None] == 1, p, 1 - p).log().sum(-1)
    return codes, each + model.prior.log_prob(codes)


@pytest.mark.equation("def-nearest-code", tolerance="exact")
def test_the_nearest_code_is_the_nearest() -> None:
    """Every distance, one by one."""
    z, vectors = normals(50, 3), normals(7, 3, seed=1)
    found = nearest_codes(z, vectors).tolist()
    for row, k in zip(z, found, strict=True):
        lengths = [math.dist(row.tolist(), vector) for vector in vectors.tolist()]
        assert lengths.index(min(lengths)) == k


@pytest.mark.equation("def-straight-through", tolerance="1e-12 nats")
def test_the_derivative_of_z_is_that_of_the_quantised_vector() -> None:
    """The derivative of a function with respect to a vector that was never quantised."""
    z, vectors = normals(20, 3).requires_grad_(), normals(7, 3, seed=1)
    z_q = vectors[nearest_codes(z, vectors)].clone().requires_grad_()
    torch.testing.assert_close(straight_through(z, z_q.detach()), z_q)
    straight_through(z, z_q.detach()).cos().sum().backward()
    z_q.cos().sum().backward()
    assert z.grad is not None
    assert z_q.grad is not None
    torch.testing.assert_close(z.grad, z_q.grad, rtol=0, atol=1e-12)


@pytest.mark.equation("eq-quantised-gradient", tolerance="4.5 standard errors")
@pytest.mark.parametrize("mu", [-0.8, 0.1, 1.3])
def test_the_true_gradient_is_jumps_times_densities(mu: float) -> None:
    """Differentiation of the enumerated mean, and 200,000 draws of the score function."""
    at = tensor([mu]).requires_grad_()
    (by_enumeration,) = torch.autograd.grad((chances(at) * bent(CODES)).sum(), at)
    walls = (CODES[1:] + CODES[:-1]) / 2
    density = torch.exp(-(((walls - mu) / SIGMA) ** 2) / 2) / math.sqrt(2 * math.pi)
    stated = (bent(CODES).diff() * density).sum() / SIGMA
    assert abs(stated - by_enumeration) < 1e-12
    log_var = tensor([2 * math.log(SIGMA)])
    draws = score_function_gradient(quantised, at.detach(), log_var, N_DRAWS, seeded())
    value, error = monte_carlo(draws[:, 0, 0])
    assert abs(value - stated) < 4.5 * error


@pytest.mark.equation("eq-straight-through-mean", tolerance="4.5 standard errors")
@pytest.mark.parametrize("mu", [-0.8, 0.1, 1.3])
def test_straight_through_averages_the_slopes_at_the_codes(mu: float) -> None:
    """The slopes in closed form, the chances of the cells, and 200,000 draws."""
    slopes = 2 * torch.cos(2 * CODES) + CODES
    stated = (chances(tensor([mu])) * slopes).sum()
    log_var = tensor([2 * math.log(SIGMA)])
    draws = reparameterized_gradient(quantised, tensor([mu]), log_var, N_DRAWS, seeded())
    value, error = monte_carlo(draws[:, 0, 0])
    assert abs(value - stated) < 4.5 * error


@pytest.mark.equation("def-vq-objective", tolerance="1e-10 nats")
def test_the_objective_has_three_parts_and_each_trains_its_own() -> None:
    """The three parts one by one, with their derivatives by finite differences."""
    torch.manual_seed(0)
    model = mlp_vqvae(4, 2, 3, 2, (5,), decay=None).double()
    x = all_images(4)
    objective, _ = vq_objective(model, x, commitment=0.4)
    z, codes = model.encode(x).detach(), model.codes(x)
    vectors = model.codebook.vectors
    distance = (z - vectors[codes]).square().sum((1, 2))
    log_p = model.likelihood.log_prob(x, model.decoder(vectors[codes].flatten(1)))
    torch.testing.assert_close(objective, log_p - 1.4 * distance, rtol=0, atol=1e-10)
    objective.sum().backward()
    for k, i in product(range(3), range(2)):  # the codebook: minus the second part alone
        moved = vectors.detach().clone()
        moved[k, i] += 1e-6
        rise = ((z - moved[codes]).square() - (z - vectors[codes]).square()).sum()
        assert vectors.grad is not None
        assert abs(vectors.grad[k, i] + rise / 1e-6) < 1e-4


@pytest.mark.equation("eq-moving-codes", tolerance="1e-10")
def test_codes_are_means_whose_weights_fade() -> None:
    """The start and all data so far, weighted by powers of the decay, in one sum at the end."""
    book = Codebook(3, 2, 0.9).double()
    start, batches = book.vectors.clone(), []
    for step in range(12):
        z = normals(8, 2, seed=step)
        codes = torch.randint(3, (8,), generator=seeded(step))
        batches.append((z, codes))
        book.follow(z, codes)
    for k in range(3):
        weight, total = 0.9**12, 0.9**12 * start[k]
        for age, (z, codes) in enumerate(reversed(batches)):
            fade = 0.1 * 0.9**age
            weight += fade * int((codes == k).sum())
            total = total + fade * z[codes == k].sum(0)
        torch.testing.assert_close(book.vectors[k], total / weight, rtol=0, atol=1e-10)


@pytest.mark.equation("def-perplexity", tolerance="1e-9 codes")
def test_perplexity_is_the_number_of_equally_frequent_codes() -> None:
    """Equal shares, whose perplexity is their number, and the entropy bit by bit."""
    for n in (1, 4, 9):
        assert perplexity(torch.arange(n).repeat(5), 9) == pytest.approx(n, abs=1e-9)
    shares = [3 / 6, 2 / 6, 1 / 6]
    expected = math.prod(share**-share for share in shares)
    codes = torch.tensor([0, 0, 0, 4, 4, 7])
    assert perplexity(codes, 9) == pytest.approx(expected, abs=1e-9)


@pytest.mark.equation("def-code-prior", tolerance="1e-12")
def test_the_prior_is_a_product_of_conditionals_of_its_own_joint() -> None:
    """Ratios of sums over the enumerated joint distribution of three numbers."""
    prior = CategoricalMADE(3, 4, (8,)).double()
    for weights in prior.parameters():
        weights.data.normal_(generator=seeded(2))
    codes = torch.tensor(list(product(range(4), repeat=3)))
    joint = prior.log_prob(codes).exp()
    assert joint.sum().item() == pytest.approx(1, abs=1e-12)
    conditionals = prior.log_conditionals(codes).exp()
    for m in range(3):
        before = (codes[:, None, :m] == codes[:, :m]).all(-1)
        upto = (codes[:, None, : m + 1] == codes[:, : m + 1]).all(-1)
        ratio = (upto * joint).sum(-1) / (before * joint).sum(-1)
        torch.testing.assert_close(conditionals[:, m], ratio, rtol=0, atol=1e-12)


@pytest.mark.equation("eq-code-bound", tolerance="1e-10 nats")
@pytest.mark.parametrize("seed", range(4))
def test_one_code_bounds_the_evidence_and_the_gap_is_its_surprise(seed: int) -> None:
    """All nine codes enumerated, and the posterior by division."""
    model, x = small_model(seed), all_images(4)
    codes, joint = log_joint(model, x)
    log_p = joint.logsumexp(1)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-10)
    nearest = torch.cdist(model.encode(x), model.codebook.vectors).argmin(-1)
    chosen = nearest @ torch.tensor([3, 1])
    assert torch.equal(codes[chosen], nearest)
    assert torch.equal(model.codes(x), nearest)
    surprise = -(joint - log_p[:, None]).gather(1, chosen[:, None])[:, 0]
    torch.testing.assert_close(model.elbo(x) + surprise, log_p, rtol=0, atol=1e-10)
    assert (model.elbo(x) <= log_p).all()


@pytest.mark.equation("def-soft-codes", tolerance="4.5 standard errors")
def test_soft_codes_have_the_stated_probabilities() -> None:
    """The softmax written out gives the bound in closed form; 50,000 draws average to it."""
    model, x, tau = small_model(), all_images(4)[5:8], 6.0
    codes, joint = log_joint(model, x)
    squared = (model.encode(x)[:, :, None] - model.codebook.vectors).square().sum(-1)
    each = torch.exp(-squared / tau)
    each = each / each.sum(-1, keepdim=True)
    q = each[:, 0][:, codes[:, 0]] * each[:, 1][:, codes[:, 1]]
    bound = (q * (joint - q.log())).sum(1)
    with torch.no_grad():
        value, error = monte_carlo(model.log_weights(x, 50_000, seeded(), tau))
    assert ((value - bound).abs() < 4.5 * error).all()


@pytest.mark.equation("eq-latent-diffusion-bound", tolerance="4.5 standard errors")
def test_latent_diffusion_bounds_the_evidence_from_below() -> None:
    """A linear model whose evidence is known: no gap where both parts are exact, else one above 0.

    The inner inequality alone: the log-density of the codes is known, too.
    """
    weight = torch.linalg.qr(normals(3, 2)).Q * tensor([1.2, 0.7])  # so that q can be exact
    linear = LinearGaussian(weight, normals(3, seed=1), 0.4)
    x = normals(2000, 3, seed=2)
    best = GaussianNoisePredictor(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    gaps = {}
    for variance, scale in product(("beta", "posterior"), (1.0, 2.0)):
        diffusion = Diffusion(best, linear_schedule(40), 2, variance=variance).double()
        model = LatentDiffusion(linear_vae(linear, scale=scale), diffusion)
        gaps[variance, scale] = monte_carlo(linear.log_prob(x) - model.elbo(x, seeded()))
        z = model.draw_codes(x, seeded(3))
        log_p = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        inner, error = monte_carlo(log_p - diffusion.elbo(z, seeded(4)))
        assert (inner > 4.5 * error) == (variance == "posterior")
    for (variance, scale), (gap, error) in gaps.items():
        if (variance, scale) == ("beta", 1.0):
            assert abs(gap) < 4.5 * error
        else:
            assert gap > 4.5 * error
