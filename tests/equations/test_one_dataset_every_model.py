"""Each statement of the chapter on one data set for every model, against something independent."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.common import seeded
from vaebook.autoregressive import MADE
from vaebook.kde import KernelDensity
from vaebook.mixture import GaussianMixture
from vaebook.naive_bayes import BernoulliNB
from vaebook.taxonomy import from_estimator
from vaebook.vae import VAE, mlp_vae

F64 = torch.float64
IMAGES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=F64)


def small_vae(seed: int) -> VAE:
    """Make a VAE of three pixels and one latent, its weights large enough to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = mlp_vae(3, 1, hidden=(8,)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model


def evidence(model: VAE) -> Tensor:
    """Log-probability of all images: the integral over the one latent, on a grid."""
    z = torch.linspace(-9, 9, 4001, dtype=F64)[:, None]
    with torch.no_grad():
        lit = model.decode(z)
    log_likelihood = torch.xlogy(IMAGES[:, None], lit) + torch.xlogy(1 - IMAGES[:, None], 1 - lit)
    log_prior = torch.from_numpy(stats.norm.logpdf(z[:, 0].numpy()))
    return torch.logsumexp(log_likelihood.sum(-1) + log_prior + math.log(18 / 4000), 1)


@pytest.mark.equation("eq-exact-bound-gap", tolerance="4.5 standard errors; 1e-9 on the grid")
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_cost_is_the_bound_less_the_gap(seed: int) -> None:
    """The VAE's bound, its evidence on a grid, and the gap as a divergence on the same grid."""
    model = small_vae(seed)
    exact = evidence(model)
    assert torch.allclose(exact.exp().sum(), torch.ones((), dtype=F64), atol=1e-9)
    # the gap is the divergence from q(z|x) to the posterior p(x|z)p(z)/p(x), here on the grid
    z = torch.linspace(-9, 9, 4001, dtype=F64)[:, None]
    with torch.no_grad():
        mean, log_var = model.encode(IMAGES)
        lit = model.decode(z)
        draws = torch.stack([model.elbo(IMAGES, seeded(s)) for s in range(2000)])
    log_q = torch.distributions.Normal(mean, (log_var / 2).exp()).log_prob(z.T)
    likelihood = torch.xlogy(IMAGES[:, None], lit) + torch.xlogy(1 - IMAGES[:, None], 1 - lit)
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z.T)
    log_posterior = likelihood.sum(-1) + log_prior - exact[:, None]
    gap = (log_q.exp() * (log_q - log_posterior)).sum(1) * 18 / 4000
    assert (gap > 0).all()
    cost, bound = -exact.mean(), -draws.mean(1)
    error = bound.std() / math.sqrt(len(bound))
    assert (bound.mean() - gap.mean() - cost).abs() < 4.5 * error
    assert cost < bound.mean()


@pytest.mark.equation("eq-bound-one-way", tolerance="exact")
def test_a_bound_can_win_and_never_lose() -> None:
    """Enumerated probabilities of many small models; both verdicts of a larger bound occur."""
    won = lost_but_better = lost_and_worse = 0
    for seed in range(6):
        vae = small_vae(seed)
        data = vae.sample(100, seeded(seed))
        index = (data @ torch.tensor([4.0, 2.0, 1.0], dtype=F64)).long()
        cost_a = -evidence(vae)[index].mean()
        with torch.no_grad():
            draws = [vae.elbo(data, seeded(s)) for s in range(100)]
        bound_a = -torch.stack(draws).mean()
        rivals = []
        for other in range(6):
            with torch.random.fork_rng():
                torch.manual_seed(other)
                network = MADE(3, (8,)).double()
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(1 + other / 2)  # from nearly uniform to far from the data
                rivals.append(-network.log_prob(data).mean())
        # and some that are only a little better than the VAE: a share of them knows the data
        seen = torch.bincount(index, minlength=8) / len(index)
        for share in (0.01, 0.1, 0.5):
            mixed = (1 - share) * evidence(vae).exp() + share * seen
            rivals.append(-mixed.log()[index].mean())
        for cost_b in rivals:
            if bound_a < cost_b:
                won += 1
                assert cost_a < cost_b
            elif cost_a < cost_b:
                lost_but_better += 1
            else:
                lost_and_worse += 1
    assert min(won, lost_but_better, lost_and_worse) > 0


@pytest.mark.equation("eq-fair-coins", tolerance="1e-12")
@pytest.mark.parametrize("n_pixels", [1, 3, 784])
def test_fair_coins_cost_the_same_for_every_image(n_pixels: int) -> None:
    """Naive Bayes that saw each value of each pixel equally often, and the count of images."""
    ones, zeros = np.ones((1, n_pixels)), np.zeros((1, n_pixels))
    coins = from_estimator(BernoulliNB().fit(np.concatenate([ones, zeros]), [0, 0]))
    x = torch.bernoulli(torch.full((20, n_pixels), 0.3, dtype=F64), generator=seeded())
    cost = -coins.log_prob(x)
    assert torch.allclose(cost, torch.full_like(cost, n_pixels * math.log(2)), rtol=1e-12)
    if n_pixels == 3:  # equally probable, and eight of them
        assert torch.allclose(-coins.log_prob(IMAGES), torch.tensor(8.0, dtype=F64).log())


def cell_mass(
    weights: np.ndarray, means: np.ndarray, stds: np.ndarray, whole_line: bool
) -> np.ndarray:
    """Probability of each image: of its unit cell, or of all that is rounded to it."""
    ends = np.array([-np.inf, 1.0, np.inf]) if whole_line else np.array([0.0, 1.0, 2.0])
    cdf = stats.norm.cdf(ends, means[..., None], stds[..., None])
    pixel = np.diff(cdf)  # (component, pixel, value)
    return np.array(
        [
            (weights * pixel[:, range(3), image.astype(int)].prod(1)).sum()
            for image in IMAGES.numpy()
        ]
    )


@pytest.mark.equation("eq-dequantisation-bound", tolerance="4.5 standard errors; 1e-9")
@pytest.mark.parametrize("kind", ["mixture", "kernels"])
def test_noisy_data_bound_the_log_probability_of_discrete_ones(kind: str) -> None:
    """Normal distribution functions of each cell; the density itself by a grid of the cube."""
    x = IMAGES[torch.randint(8, (60,), generator=seeded(1))]
    y = (x + torch.rand(x.shape, generator=seeded(2), dtype=F64)).numpy()
    if kind == "mixture":
        mixture = GaussianMixture(2, covariance_type="diag", random_state=0).fit(y)
        parts = mixture.weights_, mixture.means_, np.sqrt(mixture.covariances_)
        density = from_estimator(mixture)
    else:
        kernels = KernelDensity(bandwidth=0.3).fit(y)
        parts = kernels.weights_, kernels.X_, np.full(kernels.X_.shape, kernels.bandwidth_)
        density = from_estimator(kernels)
    whole, cell = (torch.from_numpy(cell_mass(*parts, flag)) for flag in (True, False))
    assert torch.allclose(whole.sum(), torch.ones((), dtype=F64), atol=1e-12)
    assert (whole > cell).all()  # the first inequality
    # Gauss-Legendre on the unit cube: the integral and the average of the logarithm
    nodes, node_weights = np.polynomial.legendre.leggauss(20)
    cube = torch.tensor(list(itertools.product((nodes + 1) / 2, repeat=3)), dtype=F64)
    cube_weights = np.array([math.prod(w) for w in itertools.product(node_weights / 2, repeat=3)])
    log_p = torch.stack([density.log_prob(image + cube) for image in IMAGES])
    share = torch.from_numpy(cube_weights)
    assert torch.allclose(log_p.exp() @ share, cell, rtol=1e-9)  # the middle line is an equality
    average = log_p @ share
    assert (average < cell.log()).all()  # Jensen's inequality
    # and what is computed in practice, one uniform draw at a time, estimates the average
    u = torch.rand(4000, 3, generator=seeded(3), dtype=F64)
    for image, expected in zip(IMAGES, average, strict=True):
        drawn = density.log_prob(image + u)
        assert (drawn.mean() - expected).abs() < 4.5 * drawn.std() / math.sqrt(len(drawn))
