"""Each model of the book answers exactly the questions that its branch of the taxonomy promises."""

import pytest
import torch

from vaebook.gaussian import LinearGaussian
from vaebook.taxonomy import BoundedDensity, Sampler, TractableDensity, classify
from vaebook.vae import mlp_vae


class Gan:
    def sample(self, n, generator=None):
        return torch.rand(n, 3, generator=generator)


class Unnormalised:
    """Gives a density but no samples, which is not enough for any branch."""

    def log_prob(self, x):
        return x.sum(-1)


class HalfBounded(Gan):
    def elbo(self, x, generator=None):
        return x.sum(-1)


tractable = LinearGaussian(torch.ones(3, 1), torch.zeros(3), 1.0)
bounded = mlp_vae(3, 1, hidden=(2,))


@pytest.mark.parametrize(
    ("model", "branch", "protocols"),
    [
        (tractable, "explicit, tractable", {Sampler, TractableDensity}),
        (bounded, "explicit, intractable", {Sampler, BoundedDensity}),
        (Gan(), "implicit", {Sampler}),
        (HalfBounded(), "implicit", {Sampler}),
        (Unnormalised(), "not a generative model", set()),
        (3, "not a generative model", set()),
    ],
)
def test_classification(model, branch, protocols):
    # a linear-Gaussian model has a method `elbo`, too: the exact density outranks it
    assert classify(model) == branch
    claimed = {p for p in (Sampler, TractableDensity, BoundedDensity) if isinstance(model, p)}
    assert claimed == protocols


@pytest.mark.parametrize("model", [tractable, bounded, Gan()])
def test_laws_of_a_sampler(model):
    state = torch.get_rng_state()
    same, again, other = (
        model.sample(4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert same.shape == (4, 3)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("model", [tractable, bounded])
def test_laws_of_a_density(model):
    x = model.sample(5, torch.Generator().manual_seed(0))
    if isinstance(model, TractableDensity):
        densities = [model.log_prob(x)]
    else:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            densities = [model.elbo(x, generator), model.log_prob_estimate(x, 10, generator)]
    for density in densities:
        assert density.shape == (5,)
        assert torch.isfinite(density).all()
