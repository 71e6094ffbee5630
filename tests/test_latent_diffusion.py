"""Latent diffusion: a bound below the evidence, samples of the right distribution, training."""

import pytest
import torch

from tests.common import F64, linear_vae, normals, seeded
from vaebook.diffusion import Diffusion, GaussianNoisePredictor, NoiseMLP, linear_schedule
from vaebook.estimators import monte_carlo
from vaebook.gaussian import LinearGaussian
from vaebook.latent_diffusion import LatentDiffusion, latent_objective
from vaebook.taxonomy import classify
from vaebook.training import fit
from vaebook.vae import mlp_vae

LINEAR = LinearGaussian(
    torch.tensor([[1.0, 0.0], [0.0, 0.8], [0.5, 0.0]], dtype=F64), torch.zeros(3, dtype=F64), 0.3
)


def exact(n_steps, variance="beta", scale=1.0):
    """Return a linear VAE with its exact posterior, and diffusion that knows its codes.

    Its reverse steps, of variance beta, are then exact: a normal distribution stays as it is.
    """
    best = GaussianNoisePredictor(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64))
    diffusion = Diffusion(best, linear_schedule(n_steps, last=4.0), 2, variance=variance).double()
    return LatentDiffusion(linear_vae(LINEAR, scale=scale), diffusion)


def test_the_bound_is_the_evidence_where_all_is_known_and_below_it_elsewhere():
    x = normals(2000, 3)
    gap, error = monte_carlo(LINEAR.log_prob(x) - exact(50).elbo(x, seeded()))
    assert abs(gap) < 4.5 * error
    wrong, error = monte_carlo(LINEAR.log_prob(x) - exact(50, "posterior").elbo(x, seeded()))
    assert wrong > 4.5 * error


def test_the_estimate_is_the_evidence_where_the_bound_is_not():
    x = normals(20, 3)
    model = exact(5, scale=1.6)
    bound = model.elbo(x.repeat(300, 1), seeded()).view(300, 20).mean(0)
    assert (LINEAR.log_prob(x) - bound).mean() > 0.03
    estimate = model.log_prob_estimate(x, 4000, seeded())
    torch.testing.assert_close(estimate, LINEAR.log_prob(x), rtol=0, atol=0.05)
    weights = exact(5).log_weights(x, 3, seeded())
    torch.testing.assert_close(weights, LINEAR.log_prob(x).expand(3, -1))


def test_estimates_come_in_pieces_of_any_size(monkeypatch):
    x = normals(90, 3)  # every chain knows the evidence, so that the draws do not matter
    for n_rows in (1, 70, 5000):
        monkeypatch.setattr("vaebook.diffusion._CPU_CHAINS", n_rows)
        torch.testing.assert_close(exact(5).log_prob_estimate(x, 60), LINEAR.log_prob(x))


def test_samples_have_the_moments_of_the_linear_model():
    model = exact(100)
    x = model.sample(20_000, seeded())
    torch.testing.assert_close(x.mean(0), torch.zeros(3, dtype=F64), rtol=0, atol=0.04)
    wanted = LINEAR.weight @ LINEAR.weight.T + 0.3 * torch.eye(3, dtype=F64)
    torch.testing.assert_close(x.T.cov(), wanted, rtol=0, atol=0.06)
    means = model.sample(20_000, seeded(), mean=True)
    torch.testing.assert_close(means.T.cov(), LINEAR.weight @ LINEAR.weight.T, rtol=0, atol=0.05)
    assert torch.equal(model.sample(2, seeded()), model.sample(2, seeded()))


def test_training_moves_the_diffusion_model_alone_and_helps():
    torch.manual_seed(0)
    vae = mlp_vae(6, 2, (8,))
    model = LatentDiffusion(vae, Diffusion(NoiseMLP(2, 16, 1), linear_schedule(20, last=8.0), 2))
    vae.encoder.network[-1].bias.data[:2] = 2.0  # codes far from the prior's
    before = {name: weights.clone() for name, weights in vae.state_dict().items()}
    x = torch.bernoulli(torch.full((400, 6), 0.5), generator=seeded())
    start = model.elbo(x, seeded()).mean()
    fit(model, x, latent_objective, epochs=20, batch_size=50, lr=1e-2, progress=False)
    assert model.elbo(x, seeded()).mean() > start + 0.5
    assert all(torch.equal(before[name], w) for name, w in vae.state_dict().items())
    assert classify(model) == "explicit, intractable"


def test_refuses():
    diffusion = Diffusion(NoiseMLP(3, 4, 1), linear_schedule(20, last=8.0), 3)
    with pytest.raises(ValueError, match="diffusion: wanted 2 features, as a code has, got 3"):
        LatentDiffusion(mlp_vae(6, 2, (8,)), diffusion)
    model = LatentDiffusion(mlp_vae(6, 3, (8,)), diffusion)
    with pytest.raises(ValueError, match="x: wanted"):
        model.elbo(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="n: wanted"):
        model.sample(0)
