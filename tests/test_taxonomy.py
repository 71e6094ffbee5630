"""Each model of the book answers exactly the questions that its branch of the taxonomy promises."""

import numpy as np
import pytest
import torch
from sklearn import mixture as sklearn_mixture
from sklearn.neighbors import KernelDensity

from vaebook import kde
from vaebook.autoregressive import MADE, PixelRNN
from vaebook.conditional import conditional_mlp_vae
from vaebook.diffusion import Diffusion, NoiseMLP, linear_schedule
from vaebook.flows import flow_vae
from vaebook.gan import mlp_gan
from vaebook.gaussian import FullGaussian, LinearGaussian
from vaebook.hierarchy import hierarchical_vae
from vaebook.hmm import GaussianHMM, sequence_density
from vaebook.latent_diffusion import LatentDiffusion
from vaebook.mixture import GaussianMixture
from vaebook.naive_bayes import BernoulliNB, GaussianNB
from vaebook.taxonomy import (
    BoundedDensity,
    Sampler,
    TractableDensity,
    classify,
    from_estimator,
)
from vaebook.vae import mlp_vae
from vaebook.vector_quantization import mlp_vqvae


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
gaussian = FullGaussian(torch.zeros(3), torch.eye(3) + 0.5)
masked, recurrent = MADE(3, (4,)), PixelRNN(3, 1, 2, ())
adversarial = mlp_gan(3, 2, hidden=(4,))
bounded = mlp_vae(3, 1, hidden=(2,))
layered, flowing = hierarchical_vae(3, (2, 1), (2, 2)), flow_vae(3, 2, 2)
conditional = conditional_mlp_vae(2, 3, 1, hidden=(2,)).given(torch.eye(2)[:1])
denoiser = Diffusion(NoiseMLP(3, 4, 1), linear_schedule(25), 3)
of_codes = Diffusion(NoiseMLP(1, 4, 1), linear_schedule(25), 1)
latent, words = LatentDiffusion(bounded, of_codes), mlp_vqvae(3, 2, 3, 2, (4,))
points = np.random.default_rng(0).normal(size=(50, 3))
kernels = from_estimator(KernelDensity(bandwidth=0.5).fit(points))
our_kernels = from_estimator(kde.KernelDensity().fit(points))
naive = from_estimator(GaussianNB().fit(points, points[:, 0] > 0))
naive_coins = from_estimator(BernoulliNB().fit(points, points[:, 0] > 1))
their_mixture = from_estimator(sklearn_mixture.GaussianMixture(2).fit(points))
mixture = from_estimator(GaussianMixture(2, random_state=0).fit(points))
classical = [kernels, our_kernels, mixture, their_mixture, naive, naive_coins]
sequences = sequence_density(GaussianHMM(2, random_state=0).fit(points[:, :1]), 3)
by_gradient = [masked, recurrent, bounded, layered, flowing, conditional, denoiser]
with_density = [tractable, gaussian, *by_gradient, *classical, sequences]


@pytest.mark.parametrize(
    ("model", "branch", "protocols"),
    [
        (tractable, "explicit, tractable", {Sampler, TractableDensity}),
        (gaussian, "explicit, tractable", {Sampler, TractableDensity}),
        (kernels, "explicit, tractable", {Sampler, TractableDensity}),
        (our_kernels, "explicit, tractable", {Sampler, TractableDensity}),
        (naive, "explicit, tractable", {Sampler, TractableDensity}),
        (naive_coins, "explicit, tractable", {Sampler, TractableDensity}),
        (sequences, "explicit, tractable", {Sampler, TractableDensity}),
        (masked, "explicit, tractable", {Sampler, TractableDensity}),
        (recurrent, "explicit, tractable", {Sampler, TractableDensity}),
        (bounded, "explicit, intractable", {Sampler, BoundedDensity}),
        (layered, "explicit, intractable", {Sampler, BoundedDensity}),
        (flowing, "explicit, intractable", {Sampler, BoundedDensity}),
        (conditional, "explicit, intractable", {Sampler, BoundedDensity}),
        (denoiser, "explicit, intractable", {Sampler, BoundedDensity}),
        (latent, "explicit, intractable", {Sampler, BoundedDensity}),
        (words, "explicit, intractable", {Sampler, BoundedDensity}),
        (words.prior, "explicit, tractable", {Sampler, TractableDensity}),
        (adversarial, "implicit", {Sampler}),
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


@pytest.mark.parametrize("model", [*with_density, adversarial])
def test_laws_of_a_sampler(model):
    state = torch.get_rng_state()
    same, again, other = (
        model.sample(4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert same.shape == (4, 3)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("model", with_density)
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


def test_estimators_through_the_door():
    x = torch.from_numpy(points[:5])
    torch.testing.assert_close(
        mixture.log_prob(x), torch.from_numpy(mixture.estimator.score_samples(points[:5]))
    )
    assert mixture.estimator.random_state == 0
    with pytest.raises(ValueError, match="estimator: wanted a fitted estimator"):
        from_estimator(object())
