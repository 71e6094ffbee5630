"""Priors p(z) over the latent variable: the standard normal, and a mixture that is learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, check_rows
from vaebook.gaussian import LOG_2PI, at_least_single, reparameterize


def _widest(like: Tensor) -> torch.dtype:
    """Most precise type of the device: Apple's GPUs have no double precision."""
    return torch.float32 if like.device.type == "mps" else torch.float64


class StandardNormal(nn.Module):
    """The usual prior p(z) = N(0, I).

    Parameters
    ----------
    n_latents
        Dimension of z.
    """

    zero: Tensor

    def __init__(self, n_latents: int) -> None:
        super().__init__()
        check_at_least("n_latents", n_latents, 1)
        self.n_latents = n_latents
        self.register_buffer("zero", torch.zeros(()), persistent=False)  # knows dtype and device

    def log_prob(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Log-density of each row, in nats."""
        check_rows(self.n_latents, z=z)
        z = at_least_single(z)
        return -0.5 * (z.square().sum(-1) + self.n_latents * LOG_2PI)

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n d"]:
        """Draw `n` latent vectors."""
        check_at_least("n", n, 1)
        return reparameterize(
            self.zero.expand(n, self.n_latents), self.zero.expand(n, self.n_latents), generator
        )


class MixturePrior(nn.Module):
    r"""A learned prior: a mixture of diagonal Gaussians (equation ``def-mixture-prior``).

    Parameters
    ----------
    n_latents
        Dimension of z.
    n_components
        Number of Gaussians. They start near the origin, equally weighted.
    """

    def __init__(self, n_latents: int, n_components: int) -> None:
        super().__init__()
        check_at_least("n_latents", n_latents, 1)
        check_at_least("n_components", n_components, 1)
        self.n_latents, self.n_components = n_latents, n_components
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.randn(n_components, n_latents))
        self.log_vars = nn.Parameter(torch.zeros(n_components, n_latents))

    def log_prob(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Log-density of each row, in nats."""
        check_rows(self.n_latents, z=z)
        # The log-density of a Gaussian is linear in z and z²: one matrix product gives them all.
        # Where components are narrow its terms are far larger than their sum: double precision.
        with torch.autocast(z.device.type, enabled=False):
            z, means, log_vars = (t.to(_widest(z)) for t in (z, self.means, self.log_vars))
            precisions = torch.exp(-log_vars)
            slopes = torch.cat([means * precisions, -0.5 * precisions], dim=1)
            squares = means.square() * precisions + log_vars + LOG_2PI
            constants = self.logits.log_softmax(0) - 0.5 * squares.sum(-1)
            log_joint = F.linear(torch.cat([z, z.square()], dim=-1), slopes, constants)
        return torch.logsumexp(log_joint, -1).to(at_least_single(self.means).dtype)

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n d"]:
        """Draw `n` latent vectors: first the component, then the point."""
        check_at_least("n", n, 1)
        chosen = torch.multinomial(self.logits.softmax(0), n, replacement=True, generator=generator)
        return reparameterize(self.means[chosen], self.log_vars[chosen], generator)
