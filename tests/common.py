"""What many tests share: double precision, seeds, all binary images, a VAE with known answers."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from vaebook.gaussian import LinearGaussian
from vaebook.likelihoods import Gaussian
from vaebook.priors import StandardNormal
from vaebook.vae import VAE

F64 = torch.float64


def tensor(values: object) -> Tensor:
    """Return the values in double precision."""
    return torch.tensor(values, dtype=F64)


def seeded(seed: int = 0) -> torch.Generator:
    """Return a source of randomness of its own."""
    return torch.Generator().manual_seed(seed)


def normals(*shape: int, seed: int = 0) -> Tensor:
    """Return standard normal numbers in double precision."""
    return torch.randn(*shape, generator=seeded(seed), dtype=F64)


def all_images(n_pixels: int) -> Tensor:
    """Return every binary image of so many pixels, one a row."""
    return tensor(list(itertools.product((0.0, 1.0), repeat=n_pixels)))


class ScaledPosterior(nn.Module):
    """The exact posterior of a linear-Gaussian model, moved and with its variances scaled."""

    def __init__(self, linear: LinearGaussian, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.linear, self.scale, self.shift = linear, scale, shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, covariance = self.linear.posterior(x)
        return mean + self.shift, (self.scale * covariance.diagonal()).log().expand_as(mean)


def linear_vae(linear: LinearGaussian, **errors: float) -> VAE:
    """Make a VAE of a linear-Gaussian model, its encoder exact but for the errors asked for."""
    decoder = nn.Linear(linear.weight.shape[1], linear.weight.shape[0], dtype=F64)
    decoder.load_state_dict({"weight": linear.weight, "bias": linear.mean})
    likelihood = Gaussian(math.sqrt(linear.noise_var))
    prior = StandardNormal(linear.weight.shape[1]).double()
    return VAE(ScaledPosterior(linear, **errors), decoder, likelihood, prior)
