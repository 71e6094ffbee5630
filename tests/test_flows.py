"""Flows: start, inverse, shapes, dtypes, seeds, and the plain VAE that a flow of no steps is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.common import F64, all_images, normals, seeded
from vaebook.flows import AutoregressiveFlow, flow_vae
from vaebook.gaussian import log_normal
from vaebook.likelihoods import Gaussian
from vaebook.priors import MixturePrior, StandardNormal
from vaebook.vae import VAE


def bent(*arguments, seed=0, **options):
    flow = AutoregressiveFlow(*arguments, **options).double()
    for weights in flow.parameters():
        weights.data.normal_(0, 0.4, generator=seeded(seed))
    return flow


@pytest.mark.parametrize("hidden", [(), (7,), (7, 6)])
@pytest.mark.parametrize("n_context", [0, 3])
def test_a_flow_starts_as_the_identity(hidden, n_context):
    flow = AutoregressiveFlow(4, 2, hidden, n_context).double()
    z, context = normals(5, 4), normals(5, 3) if n_context else None
    moved, log_det = flow(z, context)
    assert torch.equal(moved, z)
    assert torch.equal(log_det, torch.zeros(5, dtype=F64))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (0, 4), (2, 3, 4)])
@pytest.mark.parametrize("n_steps", [0, 1, 3])
def test_there_and_back(shape, n_steps):
    flow, z = bent(4, n_steps, (9,)), normals(*shape)
    moved, log_det = flow(z)
    assert log_det.shape == shape[:-1]
    torch.testing.assert_close(flow.inverse(moved), z, atol=1e-8, rtol=0)


def test_one_dimension_is_scaled_and_shifted():
    flow = bent(1, 1, (), 2)
    context = normals(1, 2)
    z = flow(torch.tensor([[0.0], [1.0], [3.0]], dtype=F64), context.expand(3, 2))[0][:, 0]
    assert ((z[2] - z[0]) / (z[1] - z[0])).item() == pytest.approx(3, abs=1e-10)


def test_the_context_matters_and_gradients_flow_to_it():
    flow, context = bent(3, 2, (8,), 2), normals(5, 2).requires_grad_()
    moved, log_det = flow(normals(5, 3, seed=1), context)
    (moved.sum() + log_det.sum()).backward()
    assert (context.grad.abs() > 0).all()
    assert torch.autograd.gradcheck(lambda z: flow(z, context), normals(5, 3).requires_grad_())


def test_single_precision_stays_single():
    flow = AutoregressiveFlow(3, 1)
    assert flow(torch.zeros(2, 3))[0].dtype == torch.float32
    assert flow.log_prob(torch.zeros(2, 3)).dtype == torch.float32


def test_without_steps_it_is_the_plain_vae():
    model = flow_vae(6, 2, 5, 0).double()
    plain = VAE(nn.Sequential(model.trunk, model.encoder), model.decoder, model.likelihood,
                StandardNormal(2).double())  # fmt: skip
    x = all_images(6)[::7]
    weights = [each.log_weights(x, 4, seeded()) for each in (model, plain)]
    torch.testing.assert_close(*weights, atol=1e-12, rtol=0)
    wanted = plain.elbo_terms(x, seeded(1), 4, kl="monte_carlo")
    for one, other in zip(model.elbo_terms(x, seeded(1), 4), wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_its_density_is_that_of_the_pieces():
    model = flow_vae(3, 2, 4, 2, (6,), Gaussian(0.7)).double()
    for weights in model.parameters():
        weights.data.normal_(0, 0.5, generator=seeded(1))
    model.prior = MixturePrior(2, 3).double()
    x, noise = normals(4, 3), normals(5, 4, 2, seed=2)
    codes, rates = model.draw(x, noise)
    features = model.trunk(x).expand(5, 4, -1)
    start = model.flow.inverse(codes[0], features)
    log_q = log_normal(start, *model.encoder(model.trunk(x))) - model.flow(start, features)[1]
    wanted = log_q - model.prior.log_prob(codes[0])
    torch.testing.assert_close(rates[0], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"n_latents": 0}, "n_latents"), ({"n_latents": 2, "n_steps": -1}, "n_steps"),
     ({"n_latents": 2, "hidden": (0,)}, "hidden"), ({"n_latents": 2, "n_context": -1}, "context")],
)  # fmt: skip
def test_wrong_flows_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        AutoregressiveFlow(**wrong)


def test_points_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match="z: wanted 3 columns"):
        AutoregressiveFlow(3)(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="width"):
        flow_vae(width=0)
