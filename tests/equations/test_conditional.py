"""Each statement of the page on conditional models, both sides, against something independent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import mutual_info_score
from torch import Tensor

from tests.common import F64, all_images, normals, seeded
from vaebook.conditional import (
    ConditionalVAE,
    SemiSupervisedVAE,
    conditional_mlp_vae,
    semi_supervised_mlp_vae,
    semi_supervised_objective,
)
from vaebook.disentanglement import mutual_information, mutual_information_gap
from vaebook.estimators import monte_carlo
from vaebook.vae import VAE

GRID = torch.linspace(-12, 12, 2401, dtype=F64)[:, None]  # of codes, one dimension
STEP = 0.01
IMAGES = all_images(4)
CLASSES = torch.eye(3, dtype=F64)


def with_large_weights(model: ConditionalVAE, seed: int) -> ConditionalVAE:
    """Give a small model weights that matter."""
    for weights in model.parameters():
        weights.data = 1.2 * normals(*weights.shape, seed=seed)
        seed += 1
    for weights in model.encoder.parameters():
        weights.data *= 0.25  # so that q is no narrower than some cells of the grid
    return model.double()


def tiny(seed: int = 0) -> ConditionalVAE:
    """Return a model of four pixels given one of three classes, with one latent dimension."""
    return with_large_weights(conditional_mlp_vae(3, 4, 1, hidden=(5,)), seed)


def tiny_with_classifier(seed: int = 0) -> SemiSupervisedVAE:
    """Return a model of four pixels and one of three classes, with one latent dimension."""
    model = semi_supervised_mlp_vae(3, 4, 1, hidden=(5,))
    return with_large_weights(model, seed)  # type: ignore[return-value]


def log_likelihoods(model: ConditionalVAE, y: Tensor) -> Tensor:
    """Return log p(x|z, y) of every code of the grid and every image, pixel by pixel."""
    rows = torch.cat([y.expand(len(GRID), -1), GRID], 1)
    logits = model.decoder(rows).detach().numpy()[:, None]
    x = IMAGES.numpy()
    log_p = -x * np.logaddexp(0, -logits) - (1 - x) * np.logaddexp(0, logits)
    return torch.from_numpy(log_p.sum(-1))


def log_evidence(model: ConditionalVAE, y: Tensor) -> Tensor:
    """Return log p(x|y) of every image, by a sum over the grid."""
    log_prior = torch.from_numpy(stats.norm.logpdf(GRID.numpy()))
    return (log_likelihoods(model, y) + log_prior).logsumexp(0) + math.log(STEP)


def terms_by_grid(model: ConditionalVAE, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bound, and KL(q(z|x, y) || p(z|x, y)), of every image by sums over the grid."""
    rows = torch.cat([y.expand(len(IMAGES), -1), IMAGES], 1)
    mean, log_var = (each.detach().numpy() for each in model.encoder(rows))
    log_q = torch.from_numpy(stats.norm.logpdf(GRID.numpy(), mean.T, np.exp(0.5 * log_var.T)))
    log_prior = torch.from_numpy(stats.norm.logpdf(GRID.numpy()))
    log_joint = log_likelihoods(model, y) + log_prior
    log_posterior = log_joint - log_evidence(model, y)
    weight = STEP * log_q.exp()
    return (weight * (log_joint - log_q)).sum(0), (weight * (log_q - log_posterior)).sum(0)


@pytest.mark.equation("def-conditional-vae", tolerance="1e-8; 4.5 standard errors")
@pytest.mark.parametrize("seed", range(2))
def test_samples_given_a_class_have_the_distribution_of_the_integral(seed: int) -> None:
    """Frequencies of all images of four pixels; the integral by a sum over a grid of codes."""
    model, n = tiny(seed), 20_000
    for y in CLASSES:
        p = log_evidence(model, y).exp()
        assert p.sum() == pytest.approx(1, abs=1e-9)
        drawn = model.given(y.expand(n, -1)).sample(n, seeded(seed))
        seen = (drawn[:, None] == IMAGES).all(-1).double()
        found, error = monte_carlo(seen)
        assert ((found - p).abs() <= 4.5 * error + 1e-3).all()


@pytest.mark.equation("eq-conditional-elbo", tolerance="1e-8; 4.5 standard errors")
@pytest.mark.parametrize("seed", range(2))
def test_evidence_given_a_class_is_bound_plus_divergence(seed: int) -> None:
    """Every image of four pixels, with all three terms by sums over a grid of codes."""
    model = tiny(seed)
    for y in CLASSES:
        bound, divergence = terms_by_grid(model, y)
        torch.testing.assert_close(log_evidence(model, y), bound + divergence, rtol=0, atol=1e-8)
        assert divergence.min() >= 0
        vae = model.given(y.expand(len(IMAGES), -1))
        draws = torch.stack([vae.elbo(IMAGES, seeded(i)).detach() for i in range(300)])
        found, error = monte_carlo(draws)
        assert ((found - bound).abs() <= 4.5 * error + 1e-6).all()


@pytest.mark.equation("eq-worth-of-code", tolerance="1e-8 nats")
@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
def test_the_exact_posterior_costs_no_more_than_the_condition_leaves_open(scale: float) -> None:
    """Every image of four pixels; entropies of the likelihood by SciPy in place of posteriors."""
    model = tiny(3)
    model.decoder[-1].weight.data *= scale
    log_prior = torch.from_numpy(stats.norm.logpdf(GRID.numpy()))
    for y in CLASSES:
        log_p_x = log_evidence(model, y)
        likelihoods = log_likelihoods(model, y)
        log_posterior = likelihoods + log_prior - log_p_x
        rate = (STEP * log_posterior.exp() * (log_posterior - log_prior)).sum(0)
        cost = (log_p_x.exp() * rate).sum()
        left_open = stats.entropy(log_p_x.exp().numpy())
        noise = (
            STEP * log_prior.exp()[:, 0].numpy() * stats.entropy(likelihoods.exp().numpy(), axis=1)
        ).sum()
        assert cost == pytest.approx(left_open - noise, abs=1e-8)
        assert cost <= left_open


@pytest.mark.equation("eq-labelled-bound", tolerance="1e-8; 4.5 standard errors")
@pytest.mark.parametrize("seed", range(2))
def test_the_bound_of_a_labelled_image_lies_below_its_evidence(seed: int) -> None:
    """Every image of four pixels with every class: the joint probability over a grid of codes."""
    model = tiny_with_classifier(seed)
    exact = torch.stack([terms_by_grid(model, y)[0] for y in CLASSES], 1) - math.log(3)
    evidence = torch.stack([log_evidence(model, y) for y in CLASSES], 1) - math.log(3)
    assert evidence.exp().sum() == pytest.approx(1, abs=1e-9)
    assert (exact <= evidence).all()
    draws = torch.stack([model.labelled_bounds(IMAGES, seeded(i)).detach() for i in range(300)])
    found, error = monte_carlo(draws)
    assert ((found - exact).abs() <= 4.5 * error + 1e-6).all()
    for k, y in enumerate(CLASSES):
        known = model.bound(y.expand(len(IMAGES), -1), IMAGES, seeded(0))
        torch.testing.assert_close(known.detach(), draws[0][:, k])


@pytest.mark.equation("eq-unlabelled-bound", tolerance="1e-8; 4.5 standard errors")
@pytest.mark.parametrize("seed", range(2))
def test_the_gap_of_an_unlabelled_image_is_that_of_its_class_and_its_code(seed: int) -> None:
    """Every image of four pixels: evidence, bound and both divergences over classes and a grid."""
    model = tiny_with_classifier(seed)
    bounds, gaps = (
        torch.stack(each, 1)
        for each in zip(*(terms_by_grid(model, y) for y in CLASSES), strict=True)
    )
    log_joint = torch.stack([log_evidence(model, y) for y in CLASSES], 1) - math.log(3)
    log_p_x = log_joint.logsumexp(1)
    log_q = model.classify(IMAGES).detach()
    q = log_q.exp()
    bound = (q * (bounds - math.log(3) - log_q)).sum(1)
    of_class = (q * (log_q - log_joint + log_p_x[:, None])).sum(1)
    torch.testing.assert_close(log_p_x, bound + of_class + (q * gaps).sum(1), rtol=0, atol=1e-8)
    unknown = torch.zeros(len(IMAGES), 3, dtype=F64)
    draws = torch.stack([model.bound(unknown, IMAGES, seeded(i)).detach() for i in range(300)])
    found, error = monte_carlo(draws)
    assert ((found - bound).abs() <= 4.5 * error + 1e-6).all()


@pytest.mark.equation("eq-best-guess", tolerance="1e-12 nats")
def test_no_guess_of_the_class_has_a_higher_bound_than_the_softmax_of_the_bounds() -> None:
    """Ten thousand random distributions over the classes, and the one of the statement."""
    model = tiny_with_classifier(1)
    each = model.labelled_bounds(IMAGES, seeded(0)).detach()
    best = each.logsumexp(1)
    random = np.random.default_rng(0).dirichlet(np.full(3, 0.5), 10_000)
    for q in random[:, None]:
        value = torch.from_numpy((q * (each.numpy() - np.log(q + 1e-300))).sum(1))
        assert (value <= best + 1e-12).all()
    model.classify = lambda x: each.log_softmax(1)  # type: ignore[method-assign]
    unknown = torch.zeros(len(IMAGES), 3, dtype=F64)
    found = model.bound(unknown, IMAGES, seeded(0)).detach()
    torch.testing.assert_close(found, best, rtol=0, atol=1e-12)


@pytest.mark.equation("def-semi-supervised-objective", tolerance="1e-12 nats")
def test_the_objective_adds_what_the_classifier_says_of_known_classes() -> None:
    """The sum written out, row by row, for rows with a class and without."""
    model = tiny_with_classifier(2)
    y = torch.cat([CLASSES, torch.zeros(2, 3, dtype=F64)])
    rows = torch.cat([y, IMAGES[:5]], 1)
    found, terms = semi_supervised_objective(7.0)(model, rows, seeded(0))
    each = model.labelled_bounds(IMAGES[:5], seeded(0)).detach().numpy()
    logits = model.classifier(IMAGES[:5]).detach().numpy()
    log_q = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = [each[i, i] + 7 * log_q[i, i] for i in range(3)]
    wanted += [
        sum(math.exp(p) * (b - p) for p, b in zip(log_q[i], each[i], strict=True)) for i in (3, 4)
    ]
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=0, atol=1e-12)
    assert terms["log_q"].tolist()[3:] == [0, 0]


def random_codes() -> tuple[Tensor, Tensor]:
    """Return codes of which each knows something of each factor."""
    factors = torch.stack([torch.randint(n, (500,), generator=seeded(n)) for n in (3, 4, 8)], 1)
    mixing = normals(3, 5, seed=1)
    return factors.double() @ mixing + 0.3 * normals(500, 5, seed=2), factors


@pytest.mark.equation("def-mutual-information", tolerance="1e-12 nats")
@pytest.mark.parametrize("n_bins", [2, 20])
def test_the_information_of_codes_on_factors_is_that_of_another_library(n_bins: int) -> None:
    """scikit-learn's mutual_info_score, with NumPy's bins."""
    codes, factors = random_codes()
    found = mutual_information(codes, factors, n_bins)
    for j, code in enumerate(codes.T.numpy()):
        edges = np.histogram_bin_edges(code, n_bins)
        places = np.digitize(code, edges[1:-1])
        for k, factor in enumerate(factors.T.numpy()):
            assert found[j, k] == pytest.approx(mutual_info_score(places, factor), abs=1e-12)


@pytest.mark.equation("def-mutual-information-gap", tolerance="1e-12")
def test_the_gap_is_one_for_a_copy_of_the_factors_and_none_for_two() -> None:
    """Codes with known scores, and the sorted information by another library."""
    codes, factors = random_codes()
    information = mutual_information(codes, factors).numpy()
    ordered = np.sort(information, 0)[::-1]
    entropy = [stats.entropy(np.bincount(factor)) for factor in factors.T.numpy()]
    wanted = ((ordered[0] - ordered[1]) / entropy).mean()
    assert mutual_information_gap(codes, factors) == pytest.approx(wanted, abs=1e-12)
    every = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    assert mutual_information_gap(every.double(), every) == pytest.approx(1, abs=1e-12)
    twice = torch.cat([every, every], 1).double()
    assert mutual_information_gap(twice, every) == pytest.approx(0, abs=1e-12)


@pytest.mark.equation("eq-turned-codes", tolerance="1e-10 nats; 4.5 standard errors")
def test_turned_codes_have_the_same_bound_for_every_image() -> None:
    """Exact bounds of linear-Gaussian pixels, where the turned q has its full covariance."""
    weight, turn = normals(6, 3, seed=0), torch.linalg.qr(normals(3, 3, seed=1))[0]
    x, mean, std = normals(5, 6, seed=2), normals(5, 3, seed=3), 0.7
    spread = torch.diag(torch.tensor([0.2, 0.5, 1.1], dtype=F64))

    def bound(weight: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
        error = (x - mean @ weight.T).square().sum(1) + torch.trace(weight @ covariance @ weight.T)
        reconstruction = -0.5 * error / std**2 - 3 * math.log(2 * math.pi * std**2)
        kl = 0.5 * (torch.trace(covariance) - 3 - torch.logdet(covariance))
        return reconstruction - kl - 0.5 * mean.square().sum(1)

    same = bound(weight @ turn.T, mean @ turn.T, turn @ spread @ turn.T)
    torch.testing.assert_close(bound(weight, mean, spread), same, rtol=0, atol=1e-10)
    vae = turned_vae(weight, mean, spread.diagonal(), std)
    found = monte_carlo(torch.stack([vae.elbo(x, seeded(i)) for i in range(500)]))
    gap = (found.value - bound(weight, mean, spread)).abs()
    assert (gap <= 4.5 * found.standard_error).all()


def turned_vae(weight: Tensor, mean: Tensor, variance: Tensor, std: float) -> VAE:
    """Return the package's VAE of the same pixels and the same q."""
    from vaebook.likelihoods import Gaussian
    from vaebook.priors import StandardNormal

    class Fixed(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return mean, variance.log().expand_as(mean)

    decoder = torch.nn.Linear(*weight.T.shape, bias=False, dtype=F64)
    decoder.weight.data = weight
    decoder.requires_grad_(False)
    return VAE(Fixed(), decoder, Gaussian(std), StandardNormal(3).double())
