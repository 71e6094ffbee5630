"""Each statement of the page on hierarchies and flows, against something independent."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tests.common import F64, normals, seeded, tensor
from vaebook.flows import AutoregressiveFlow, AutoregressiveStep
from vaebook.gaussian import FullGaussian, kl_diagonal, kl_full, log_normal, log_normal_full
from vaebook.hierarchy import (
    BottomUp,
    HierarchicalVAE,
    LayeredPrior,
    TopDown,
    linear_posterior,
    mean_field_gap,
    precision_weighted,
)
from vaebook.likelihoods import Gaussian

A, LAYER_VAR, NOISE_VAR = tensor([0.9, -1.4]), 0.6, 0.5


class Affine(nn.Module):
    """A Gaussian whose mean is affine in its input, with a fixed diagonal covariance."""

    def __init__(self, weight: Tensor, variances: Tensor, shift: float = 0.0) -> None:
        super().__init__()
        self.weight, self.variances, self.shift = weight, variances, shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x @ self.weight.T + self.shift
        return mean, self.variances.log().expand_as(mean)


def joint_covariance() -> Tensor:
    """Covariance of (z2, z1, x) in the linear hierarchy, from the noise that each adds."""
    zeros, eye = torch.zeros(2, 2, dtype=F64), torch.eye(2, dtype=F64)
    s, n = math.sqrt(LAYER_VAR), math.sqrt(NOISE_VAR)
    z2 = torch.cat([torch.ones(1, 1, dtype=F64), torch.zeros(1, 4, dtype=F64)], 1)
    z1 = A[:, None] @ z2 + torch.cat([torch.zeros(2, 1, dtype=F64), s * eye, zeros], 1)
    x = z1 + torch.cat([torch.zeros(2, 1, dtype=F64), zeros, n * eye], 1)
    roots = torch.cat([z2, z1, x])
    return roots @ roots.T


def linear_prior() -> LayeredPrior:
    return LayeredPrior((2, 1), Affine(A[:, None], tensor([LAYER_VAR] * 2))).double()


def linear_model(encoder: nn.Module) -> HierarchicalVAE:
    return HierarchicalVAE(encoder, nn.Identity(), Gaussian(math.sqrt(NOISE_VAR)), linear_prior())


def exact_top_down() -> TopDown:
    """p(z2|x) and p(z1|z2, x), by conditioning the joint Gaussian of all variables."""
    joint = joint_covariance()
    upper = joint[0:1, 3:] @ torch.linalg.inv(joint[3:, 3:])
    top = joint[0, 0] - upper @ joint[3:, 0]
    seen = [3, 4, 0]  # x, then z2: the order in which TopDown joins them
    across, known = joint[1:3][:, seen], joint[seen][:, seen]
    lower = across @ torch.linalg.inv(known)
    left = joint[1:3, 1:3] - lower @ across.T
    return TopDown(nn.Identity(), Affine(upper, top), Affine(lower, left.diagonal()))


def wrong_top_down() -> TopDown:
    upper = Affine(tensor([[0.3, -0.2]]), tensor([0.5]), 0.1)
    lower = Affine(tensor([[0.6, 0.1, 0.4], [0.0, 0.5, -0.7]]), tensor([0.2, 0.4]), -0.2)
    return TopDown(nn.Identity(), upper, lower)


def wrong_bottom_up() -> BottomUp:
    lower = Affine(tensor([[0.6, 0.1], [0.0, 0.5]]), tensor([0.2, 0.4]), -0.2)
    return BottomUp(lower, Affine(tensor([[0.3, -0.4]]), tensor([0.5]), 0.1))


def joint_of_q(encoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of (z2, z1) under q for one x, by pushing moments through the maps."""
    if isinstance(encoder, BottomUp):
        first, second = encoder.lower, encoder.upper
        mean1, upper = first(x)[0], second.weight
        cov1 = first.variances.diag()
        mean2 = mean1 @ upper.T + second.shift
        across, cov2 = upper @ cov1, upper @ cov1 @ upper.T + second.variances.diag()
    else:
        on_x, on_z2 = encoder.lower.weight[:, :2], encoder.lower.weight[:, 2:]
        mean2 = encoder.upper(x)[0]
        cov2 = encoder.upper.variances.diag()
        mean1 = x @ on_x.T + mean2 @ on_z2.T + encoder.lower.shift
        across, cov1 = cov2 @ on_z2.T, on_z2 @ cov2 @ on_z2.T + encoder.lower.variances.diag()
    covariance = torch.cat([torch.cat([cov2, across], 1), torch.cat([across.T, cov1], 1)])
    return torch.cat([mean2, mean1], -1), covariance


# --- flows ------------------------------------------------------------------------------------


def bent(n_latents: int, n_steps: int, n_context: int = 0, seed: int = 0) -> AutoregressiveFlow:
    """Return a flow with weights that matter."""
    flow = AutoregressiveFlow(n_latents, n_steps, (16,), n_context).double()
    for weights in flow.parameters():
        weights.data.normal_(0, 0.4, generator=seeded(seed))
    return flow


@pytest.mark.equation("def-flow-step", tolerance="1e-12")
def test_a_step_scales_and_shifts_by_what_stands_before() -> None:
    """The Jacobian by autograd: triangular, with the exponentials of the log-scales within."""
    flow = bent(5, 1)
    step: AutoregressiveStep = flow.steps[0]
    z = normals(5)
    jacobian = torch.autograd.functional.jacobian(lambda u: step(u)[0], z)
    assert jacobian.triu(1).abs().max() == 0
    shift, log_scale = step.moves(z, None)
    torch.testing.assert_close(jacobian.diagonal(), log_scale.exp(), atol=1e-12, rtol=0)
    torch.testing.assert_close(step(z)[0], log_scale.exp() * z + shift, atol=1e-12, rtol=0)
    assert log_scale.abs().max() > 0.1


@pytest.mark.equation("eq-flow-density", tolerance="1e-8; integral 1e-6")
def test_the_density_of_a_flow_is_that_of_the_noise_over_the_volume() -> None:
    """The determinant of autograd's Jacobian in six dimensions, and quadrature in two."""
    flow, context = bent(6, 3, n_context=2), normals(2, seed=1)
    for noise in normals(4, 6, seed=2):
        jacobian = torch.autograd.functional.jacobian(lambda u: flow(u, context)[0], noise)
        z, log_det = flow(noise, context)
        torch.testing.assert_close(
            log_det, torch.linalg.slogdet(jacobian).logabsdet, atol=1e-10, rtol=0
        )
        expected = log_normal(noise, noise * 0, noise * 0) - log_det
        torch.testing.assert_close(flow.log_prob(z, context), expected, atol=1e-8, rtol=0)
    flow = bent(2, 2, seed=3)
    at = torch.linspace(-16, 16, 801, dtype=F64)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(at, at)).exp()
    total = density.sum() * (at[1] - at[0]) ** 2
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


# --- two layers -------------------------------------------------------------------------------


@pytest.mark.equation("def-hierarchy", tolerance="4.5 standard errors")
def test_the_model_draws_what_its_density_says() -> None:
    """The covariance of x, from 200,000 draws and from the noise that each layer adds."""
    model = linear_model(exact_top_down())
    x = model.sample(200_000, seeded())
    wanted = joint_covariance()[3:, 3:]
    error = 4.5 * torch.sqrt((wanted**2 + wanted.diagonal().outer(wanted.diagonal())) / len(x))
    assert ((x.T.cov() - wanted).abs() < error).all()


@pytest.mark.equation("eq-hierarchy-bound", tolerance="1e-10; 4.5 standard errors")
def test_the_bound_is_exact_for_the_posterior_and_low_by_a_divergence_for_others() -> None:
    """The closed-form evidence and divergence of the joint Gaussian."""
    joint, x = joint_covariance(), normals(5, 2, seed=1)
    evidence = FullGaussian(torch.zeros(2, dtype=F64), joint[3:, 3:]).log_prob(x)
    weights = linear_model(exact_top_down()).log_weights(x, 7, seeded())
    torch.testing.assert_close(weights, evidence.expand(7, 5), atol=1e-10, rtol=0)
    slope = joint[:3, 3:] @ torch.linalg.inv(joint[3:, 3:])
    covariance = joint[:3, :3] - slope @ joint[3:, :3]
    for encoder in (wrong_top_down(), wrong_bottom_up()):
        for each, log_p in zip(x, evidence, strict=True):
            mean, spread = joint_of_q(encoder, each[None])
            gap = kl_full(mean, spread, each[None] @ slope.T, covariance)
            drawn = linear_model(encoder).log_weights(each[None], 20_000, seeded(3))[:, 0]
            error = 4.5 * drawn.std() / math.sqrt(len(drawn))
            assert abs(drawn.mean() - (log_p - gap[0])) < error


@pytest.mark.equation("def-layer-rate", tolerance="1e-10")
@pytest.mark.equation("def-bottom-up", tolerance="1e-10")
@pytest.mark.equation("def-top-down", tolerance="1e-10")
@pytest.mark.parametrize("encoder", [wrong_top_down(), wrong_bottom_up()])
def test_the_rates_of_a_draw_add_up_to_the_density_ratio(encoder: nn.Module) -> None:
    """The joint Gaussians of q and of the prior, at the codes that were drawn."""
    model, x = linear_model(encoder), normals(4, 2, seed=1)
    codes, rates = model.draw(x, normals(6, 4, 3, seed=2))
    joint = joint_covariance()
    z = torch.cat([codes[1], codes[0]], -1)
    mean, covariance = joint_of_q(encoder, x)
    log_p = log_normal_full(z, torch.zeros(3, dtype=F64), joint[:3, :3])
    expected = log_normal_full(z, mean.expand_as(z), covariance) - log_p
    torch.testing.assert_close(rates[0] + rates[1], expected, atol=1e-10, rtol=0)
    below = log_normal(codes[0], *model.prior.given(codes[1]))
    top = log_normal(codes[1], codes[1] * 0, codes[1] * 0)
    if isinstance(encoder, BottomUp):
        q1, q2 = encoder.lower(x), encoder.upper(codes[0])
    else:
        q2 = encoder.upper(x)
        q1 = encoder.lower(torch.cat([x.expand(6, 4, 2), codes[1]], -1))
    torch.testing.assert_close(rates[0], log_normal(codes[0], *q1) - below, atol=1e-10, rtol=0)
    torch.testing.assert_close(rates[1], log_normal(codes[1], *q2) - top, atol=1e-10, rtol=0)


@pytest.mark.equation("eq-layer-rates", tolerance="4.5 standard errors")
@pytest.mark.parametrize("encoder", [wrong_top_down(), wrong_bottom_up()])
def test_the_divergence_is_the_sum_of_the_layers_rates(encoder: nn.Module) -> None:
    """The closed-form divergence of the joint Gaussians of q and of the prior."""
    model, x, n = linear_model(encoder), normals(1, 2, seed=1), 40_000
    mean, covariance = joint_of_q(encoder, x)
    wanted = kl_full(mean, covariance, torch.zeros_like(mean), joint_covariance()[:3, :3])
    codes, rates = model.draw(x, normals(n, 1, 3, seed=2))
    total = (rates[0] + rates[1])[:, 0]
    assert abs(total.mean() - wanted[0]) < 4.5 * total.std() / math.sqrt(n)
    found = model.layer_terms(x, seeded(), n).rates.sum(0)
    assert abs(found[0] - wanted[0]) < 4.5 * total.std() / math.sqrt(n)
    if isinstance(encoder, TopDown):  # each layer's rate is a divergence, or an average of some
        q1 = encoder.lower(torch.cat([x.expand(n, 1, 2), codes[1]], -1))
        each = kl_diagonal(*q1, *model.prior.given(codes[1]))
        spread = (rates[0] - each)[:, 0]
        assert abs(spread.mean()) < 4.5 * spread.std() / math.sqrt(n)


@pytest.mark.equation("eq-ladder", tolerance="1e-12")
def test_two_witnesses_are_multiplied() -> None:
    """The product of the densities: its ratio to the merged one is the same everywhere."""
    a, b = (normals(2, 3, seed=1), normals(2, 3, seed=2)), (normals(2, 3, seed=3), normals(2, 3))
    z = normals(50, 2, 3, seed=4)
    ratio = log_normal(z, *a) + log_normal(z, *b) - log_normal(z, *precision_weighted(*a, *b))
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), atol=1e-12, rtol=0)


# --- what the order costs ---------------------------------------------------------------------


@pytest.mark.equation("def-linear-hierarchy", tolerance="1e-12")
def test_the_posterior_of_the_linear_hierarchy() -> None:
    """Conditioning the joint Gaussian of all variables on x."""
    joint = joint_covariance()
    wanted = joint[:3, :3] - joint[:3, 3:] @ torch.linalg.inv(joint[3:, 3:]) @ joint[3:, :3]
    found = linear_posterior(A, LAYER_VAR, NOISE_VAR)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


@pytest.mark.equation("eq-mean-field-gap", tolerance="1e-8; variances 1e-5")
def test_the_best_diagonal_gaussian_by_descent() -> None:
    """The divergence, minimised over means and variances by L-BFGS."""
    root = normals(4, 4, seed=1)
    mean, covariance = normals(4, seed=2), root @ root.T + 0.3 * torch.eye(4, dtype=F64)
    parameters = torch.zeros(2, 4, dtype=F64, requires_grad=True)
    descent = torch.optim.LBFGS(
        [parameters], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def divergence() -> Tensor:
        descent.zero_grad()
        gap = kl_full(parameters[0], parameters[1].exp().diag(), mean, covariance)
        gap.backward()
        return gap

    descent.step(divergence)
    torch.testing.assert_close(divergence().detach(), mean_field_gap(covariance), atol=1e-8, rtol=0)
    precisions = torch.linalg.inv(covariance).diagonal()
    torch.testing.assert_close(parameters[1].detach().exp(), 1 / precisions, atol=1e-5, rtol=0)


@pytest.mark.equation("eq-order-gaps", tolerance="1e-12")
@pytest.mark.parametrize(("strength", "units"), [(0.4, 1), (1.5, 2), (2.5, 12)])
def test_what_each_order_loses_depends_on_one_correlation(strength: float, units: int) -> None:
    """Determinants of the posterior's matrices, for three kinds of q."""
    covariance = linear_posterior(torch.full((units,), strength, dtype=F64), 0.7, 0.4)
    across = covariance[0, 1:]
    squared = across @ torch.linalg.inv(covariance[1:, 1:]) @ across / covariance[0, 0]
    apart = -0.5 * torch.log(1 - squared)
    bottom_up = apart + units / 2 * torch.log(1 - squared / units)
    below = torch.linalg.inv(torch.linalg.inv(covariance)[1:, 1:])
    for found, wanted in (
        (mean_field_gap(covariance), apart),
        (mean_field_gap(covariance[1:, 1:]), bottom_up),
        (mean_field_gap(below), torch.zeros_like(apart)),
    ):
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


@pytest.mark.equation("eq-activity", tolerance="4.5 standard errors")
@pytest.mark.parametrize("n_samples", [1, 3])
def test_two_draws_share_what_the_data_say(n_samples: int) -> None:
    """The closed-form variance of the posterior means of a linear q, over 20,000 data."""
    encoder = wrong_bottom_up()
    x = normals(20_000, 2, seed=5)
    means = joint_of_q(encoder, x)[0]
    wanted = means.var(0)[[1, 2, 0]]  # z1, then z2
    found = torch.cat(linear_model(encoder).activity(x, seeded(), n_samples))
    spread = joint_of_q(encoder, x[:1])[1].diagonal()[[1, 2, 0]] / n_samples
    error = torch.sqrt((2 * wanted * spread + spread**2) / len(x))
    assert ((found - wanted).abs() < 4.5 * error).all()
