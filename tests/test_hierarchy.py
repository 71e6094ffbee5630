"""Models of two layers: values, shapes, gradients, seeds, training, wrong input."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from tests.common import F64, all_images, normals, seeded
from vaebook.flows import flow_vae
from vaebook.hierarchy import (
    LayeredPrior,
    hierarchical_vae,
    linear_posterior,
    mean_field_gap,
    precision_weighted,
)
from vaebook.training import fit
from vaebook.vae import Encoder, elbo_objective

KINDS = ("bottom-up", "top-down", "ladder")
SMALL = {kind: partial(hierarchical_vae, 4, (2, 1), (5, 3), kind) for kind in KINDS}
SMALL["flow"] = partial(flow_vae, 4, 2, 5, 2, (6,))
small = pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)


def wide(make, seed=0):
    """Return a model in double precision, with weights that matter."""
    model = make().double()
    for weights in model.parameters():
        weights.data.normal_(0, 0.3, generator=seeded(seed))
    return model


@small
def test_the_estimate_of_every_image_adds_up_to_one(make):
    model, x = wide(make), all_images(4)
    total = model.log_prob_estimate(x, 2000, seeded()).exp().sum()
    assert total.item() == pytest.approx(1, abs=0.02)


@small
def test_samples_have_the_estimated_frequencies(make):
    model, x = wide(make, 1), all_images(4)
    drawn = model.sample(20_000, seeded())
    places = (drawn @ (2.0 ** torch.arange(3, -1, -1, dtype=F64))).long()
    shares = torch.bincount(places, minlength=16).double() / len(drawn)
    wanted = model.log_prob_estimate(x, 2000, seeded(1)).exp()
    assert (shares - wanted).abs().max() < 0.02


@small
def test_bounds_and_estimates_are_in_order(make):
    model, x = wide(make, 2), all_images(4)[:5]
    reconstruction, kl = model.elbo_terms(x, seeded(), 4000)
    bound = reconstruction - kl
    assert (model.log_prob_estimate(x, 4000, seeded(1)) > bound - 0.05).all()
    weights = model.log_weights(x, 4000, seeded())
    torch.testing.assert_close(weights.mean(0), bound, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        model.layer_terms(x, seeded(), 4000).rates.sum(0), kl, atol=1e-9, rtol=0
    )


@small
def test_shapes_seeds_and_dtypes(make):
    model, x = make(), all_images(4)[:3].float()
    assert model.elbo(x, seeded()).shape == (3,)
    assert model.elbo(x, seeded()).dtype == torch.float32
    assert torch.equal(model.elbo(x, seeded(3)), model.elbo(x, seeded(3)))
    assert not torch.equal(model.elbo(x, seeded(3)), model.elbo(x, seeded(4)))
    assert model.iwae_bound(x, 5, seeded()).shape == (3,)
    assert model.log_prob_estimate(x[:1], 1, seeded()).shape == (1,)
    assert model.reconstruct(x, seeded()).shape == x.shape
    assert model.interpolate(x[:1], x[1:2], 3).shape == (1, 3, 4)
    assert model.sample(1, seeded()).shape == (1, 4)
    units = sum(len(layer) for layer in model.activity(x, seeded(), 2))
    assert model.active_units(x, generator=seeded()).shape == (units,)


@small
def test_every_weight_gets_a_gradient(make):
    model = wide(make)
    model.elbo(all_images(4), seeded()).mean().backward()
    for name, weights in model.named_parameters():
        assert weights.grad.abs().sum() > 0, name


@small
def test_it_learns_and_comes_back_from_its_weights(make, tmp_path):
    torch.manual_seed(0)
    model, again = make(), make()
    x = torch.tensor([[1.0, 1, 0, 0]]).repeat(128, 1)  # one image: its probability goes to one
    before = model.log_prob_estimate(x[:1], 100, seeded())
    options = {"epochs": 30, "batch_size": 32, "lr": 2e-2, "kl_warmup": 0.3, "progress": False}
    fit(model, x, elbo_objective, device="cpu", **options)
    after = model.log_prob_estimate(x[:1], 100, seeded())
    assert after > before + 1
    assert -0.5 < after < 0
    model.save_weights(tmp_path / "w.safetensors")
    again.load_weights(tmp_path / "w.safetensors")
    assert torch.equal(model.elbo(x, seeded()), again.elbo(x, seeded()))


@small
def test_wrong_input_is_refused(make):
    model = make()
    with pytest.raises(NotImplementedError, match="draws"):
        model.encode(torch.ones(1, 4))
    with pytest.raises(ValueError, match="x: wanted pixels"):
        model.elbo(torch.full((1, 4), 2.0))
    with pytest.raises(ValueError, match="x: wanted at least one row"):
        model.elbo(torch.zeros(0, 4))
    with pytest.raises(ValueError, match="kl: wanted"):
        model.elbo_terms(torch.ones(1, 4), kl="analytic")
    with pytest.raises(ValueError, match="n_samples"):
        model.layer_terms(torch.ones(1, 4), n_samples=0)
    with pytest.raises(ValueError, match="at least 2 rows"):
        model.activity(torch.ones(1, 4))
    with pytest.raises(ValueError, match="n_samples"):
        model.activity(torch.ones(2, 4), n_samples=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_latents": (2,)}, "n_latents: wanted one number for each"),
        ({"n_latents": (2, 0)}, "n_latents: wanted an integer"),
        ({"hidden": (2, 3, 4)}, "hidden"),
        ({"inference": "sideways"}, "inference"),
        ({"n_pixels": 0}, "n_pixels"),
    ],
)
def test_wrong_models_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        hierarchical_vae(**wrong)


def test_a_prior_of_three_layers_is_refused():
    with pytest.raises(ValueError, match="layers"):
        LayeredPrior((3, 2, 1), Encoder(torch.nn.Linear(2, 6)))


def test_a_ladder_that_is_told_nothing_repeats_the_prior():
    said = (torch.zeros(1, 3, dtype=F64), torch.full((1, 3), 60.0, dtype=F64))
    prior = (normals(5, 3), normals(5, 3, seed=1))
    for merged, alone in zip(precision_weighted(*said, *prior), prior, strict=True):
        torch.testing.assert_close(merged, alone, atol=1e-12, rtol=0)


def test_in_single_precision_far_scales_stay_finite():
    merged = precision_weighted(
        torch.ones(1), torch.tensor([-100.0]), -torch.ones(1), torch.tensor([100.0])
    )
    assert merged[0].item() == pytest.approx(1)
    assert merged[1].item() == pytest.approx(-100)


def test_a_gap_needs_a_covariance():
    with pytest.raises(ValueError, match="covariance: wanted a positive definite"):
        mean_field_gap(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    batch = torch.stack([torch.eye(3), torch.eye(3) + 0.5])
    gaps = mean_field_gap(batch)
    assert gaps[0].item() == pytest.approx(0, abs=1e-6)
    assert gaps[1].item() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(2, 2), 1.0, 1.0), "weight"),
        ((torch.ones(2), 0.0, 1.0), "layer_var"),
        ((torch.ones(2), 1.0, math.inf), "noise_var"),
    ],
)
def test_a_linear_hierarchy_has_positive_variances(arguments, message):
    with pytest.raises(ValueError, match=message):
        linear_posterior(*arguments)
