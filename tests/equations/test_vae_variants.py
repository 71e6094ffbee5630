"""Each statement of the chapter on other objectives, both sides, against something independent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from tests.common import F64, linear_vae, seeded, tensor
from vaebook.estimators import monte_carlo
from vaebook.gaussian import LinearGaussian, reparameterize
from vaebook.likelihoods import Gaussian
from vaebook.vae import VAE, elbo_objective, mlp_vae

LINEAR = LinearGaussian(tensor([[1.0], [0.5], [-0.8]]), tensor([0.3, -0.2, 0.1]), 0.5)
X = tensor([[1.2, 0.1, -0.9]])


def small_vae() -> tuple[VAE, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = mlp_vae(n_pixels=12, n_latents=3, hidden=(8,)).double()
    return vae, torch.bernoulli(torch.full((6, 12), 0.4, dtype=F64), generator=seeded())


@pytest.mark.equation("eq-mean-over-pixels", tolerance="1e-12")
def test_mean_over_pixels_is_beta_equal_to_the_number_of_pixels() -> None:
    """The mean binary cross-entropy and the divergence of PyTorch, with the same draw of z."""
    vae, x = small_vae()
    with torch.no_grad():
        mean, log_var = vae.encode(x)
        logits = vae.decoder(reparameterize(mean, log_var, seeded(7)))
        cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
        q = Normal(mean, torch.exp(0.5 * log_var))
        left = -cross_entropy.mean(1) - kl_divergence(q, Normal(0.0, 1.0)).sum(1)
        right, _ = elbo_objective(vae, x, seeded(7), 12.0)
    torch.testing.assert_close(left, right / 12, rtol=0, atol=1e-12)


@pytest.mark.equation("eq-beta-bound", tolerance="4 standard errors")
@pytest.mark.parametrize("beta", [1.0, 1.5, 4.0])
def test_beta_lowers_the_bound_by_its_share_of_the_divergence(beta: float) -> None:
    """The closed-form ELBO and evidence of the linear-Gaussian model."""
    vae = linear_vae(LINEAR, scale=1.6, shift=0.4)
    mean, log_var = vae.encode(X)
    elbo = LINEAR.elbo(X, mean, log_var.exp().diag_embed()[0]).item()
    q = Normal(mean, torch.exp(0.5 * log_var))
    divergence = kl_divergence(q, Normal(0.0, 1.0)).sum().item()
    with torch.no_grad():
        bound, _ = elbo_objective(vae, X.expand(100_000, -1), seeded(), beta)
    value, error = monte_carlo(bound)
    exact = elbo - (beta - 1) * divergence
    assert abs(value - exact) < 4 * error
    assert error < 0.05 * divergence
    assert exact <= elbo < LINEAR.log_prob(X).item()


@pytest.mark.equation("eq-beta-is-noise", tolerance="1e-9")
@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
def test_beta_is_a_noise_of_gaussian_pixels(beta: float) -> None:
    """The densities and divergences of PyTorch, and the objectives of the package."""
    vae, x = small_vae()
    std, n_pixels = 0.7, 12
    with torch.no_grad():
        mean, log_var = vae.encode(x)
        q = Normal(mean, torch.exp(0.5 * log_var))
        centre = vae.decoder(reparameterize(mean, log_var, seeded(7)))
        divergence = kl_divergence(q, Normal(0.0, 1.0)).sum(1)
        left = Normal(centre, std).log_prob(x).sum(1) - beta * divergence
        vae.likelihood = Gaussian(std)
        objective, _ = elbo_objective(vae, x, seeded(7), beta)
        vae.likelihood = Gaussian(math.sqrt(beta) * std)
        noisier = vae.elbo(x, seeded(7))
    two_pi = 2 * math.pi
    constants = beta * math.log(two_pi * beta * std**2) - math.log(two_pi * std**2)
    right = beta * noisier + n_pixels / 2 * constants
    torch.testing.assert_close(left, objective, rtol=0, atol=1e-9)
    torch.testing.assert_close(left, right, rtol=0, atol=1e-9)


@pytest.mark.equation("def-beta-vae", tolerance="1e-10 nats")
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
def test_the_weighted_bound(beta: float) -> None:
    """The densities and divergences of PyTorch, at the same draws."""
    vae, x = small_vae()
    with torch.no_grad():
        mean, log_var = vae.encode(x)
        logits = vae.decoder(reparameterize(mean, log_var, seeded(7)))
        log_p = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(1)
        q = Normal(mean, torch.exp(0.5 * log_var))
        printed = log_p - beta * kl_divergence(q, Normal(0.0, 1.0)).sum(1)
        found, _ = elbo_objective(vae, x, seeded(7), beta)
    torch.testing.assert_close(found, printed, rtol=0, atol=1e-10)


@pytest.mark.equation("def-active-units", tolerance="exact")
def test_active_units() -> None:
    """NumPy's variance of the posterior means, on both sides of the threshold."""
    vae, x = small_vae()
    means = vae.encode(x)[0].detach().numpy()
    spread = means.var(0, ddof=1)
    between = float(np.sort(spread)[:2].mean())  # one unit below, two above
    assert vae.active_units(x, between).tolist() == (spread > between).tolist()
    assert vae.active_units(x).tolist() == (spread > 0.01).tolist()
