"""The variational autoencoder: networks, likelihoods, priors, bounds and estimates.

A `VAE` is an encoder, a decoder, a likelihood and a prior, put together::

    vae = mlp_vae(n_latents=20)          # 784-400-20, as in PyTorch's example
    vae.elbo(x)                          # nats, one a datum
    vae.sample(16)                       # new images, by ancestral sampling
    vae.log_prob_estimate(x, k=500)      # importance sampling

Data are rows of pixels in [0, 1], shape (batch, n_pixels). Every bound and density is in nats and
per datum: sums over pixels and latent dimensions, never means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import safetensors.torch
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, check_batch, check_float, check_in, check_rows, fail
from vaebook.estimators import log_mean_exp
from vaebook.gaussian import LOG_2PI, kl_to_standard_normal, log_normal

# --- networks ---------------------------------------------------------------------------------


def mlp(n_in: int, n_out: int, hidden: Sequence[int] = (400,)) -> nn.Sequential:
    """Multilayer perceptron with SiLU units between linear layers.

    Parameters
    ----------
    n_in, n_out
        Numbers of inputs and outputs.
    hidden
        Widths of the hidden layers, first to last; empty for a linear map.

    Returns
    -------
    torch.nn.Sequential
        The network.
    """
    _check_sizes(n_in=n_in, n_out=n_out)
    for width in hidden:
        check_at_least("hidden", width, 1)
    widths = [n_in, *hidden, n_out]
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class ResidualBlock(nn.Module):
    """A layer that adds to its input: x + Linear(SiLU(LayerNorm(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Apply the block."""
        return x + self.linear(F.silu(self.norm(x)))


def residual_mlp(n_in: int, n_out: int, width: int = 512, n_blocks: int = 2) -> nn.Sequential:
    """Perceptron of residual blocks, which trains faster than a plain one as it grows deeper.

    Parameters
    ----------
    n_in, n_out
        Numbers of inputs and outputs.
    width
        Units in every hidden layer.
    n_blocks
        Number of :class:`ResidualBlock`.

    Returns
    -------
    torch.nn.Sequential
        The network.
    """
    _check_sizes(n_in=n_in, n_out=n_out, width=width)
    check_at_least("n_blocks", n_blocks, 0)
    blocks = [ResidualBlock(width) for _ in range(n_blocks)]
    return nn.Sequential(nn.Linear(n_in, width), *blocks, nn.SiLU(), nn.Linear(width, n_out))


def conv_encoder(n_out: int, n_channels: int = 32) -> nn.Sequential:
    """Convolutional network from 28 x 28 images (as rows of 784 pixels) to `n_out` numbers."""
    _check_sizes(n_out=n_out, n_channels=n_channels)
    return nn.Sequential(
        nn.Unflatten(-1, (1, 28, 28)),
        nn.Conv2d(1, n_channels, 4, stride=2, padding=1),  # 14 x 14
        nn.SiLU(),
        nn.Conv2d(n_channels, 2 * n_channels, 4, stride=2, padding=1),  # 7 x 7
        nn.SiLU(),
        nn.Flatten(-3),
        nn.Linear(2 * n_channels * 49, n_out),
    )


def conv_decoder(n_in: int, n_per_pixel: int = 1, n_channels: int = 32) -> nn.Sequential:
    """Convolutional network from `n_in` numbers to `n_per_pixel` parameters a pixel of 28 x 28."""
    _check_sizes(n_in=n_in, n_per_pixel=n_per_pixel, n_channels=n_channels)
    return nn.Sequential(
        nn.Linear(n_in, 2 * n_channels * 49),
        nn.SiLU(),
        nn.Unflatten(-1, (2 * n_channels, 7, 7)),
        nn.ConvTranspose2d(2 * n_channels, n_channels, 4, stride=2, padding=1),  # 14 x 14
        nn.SiLU(),
        nn.ConvTranspose2d(n_channels, n_per_pixel, 4, stride=2, padding=1),  # 28 x 28
        nn.Flatten(-3),
    )


def _check_sizes(**sizes: int) -> None:
    for argument, size in sizes.items():
        check_at_least(argument, size, 1)


class Encoder(nn.Module):
    r"""The approximate posterior :math:`q_\phi(z|x)`: a network read as a diagonal Gaussian.

    Equation ``def-encoder`` of the book. The log-variance is bounded smoothly, to ±10, so that a
    wild first step cannot overflow.

    Parameters
    ----------
    network
        Module from data, shape (batch, n_pixels), to 2 n_latents numbers.
    """

    log_var_bound = 10.0

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, x: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch latents"], Float[Tensor, "batch latents"]]:
        """Mean and log-variance of q(z|x) for each row."""
        # in mixed precision the network answers in bfloat16; densities want the data's precision
        mean, raw = self.network(x).to(x.dtype).chunk(2, dim=-1)
        return mean, self.log_var_bound * torch.tanh(raw / self.log_var_bound)


def reparameterize(
    mean: Float[Tensor, "*batch d"],
    log_var: Float[Tensor, "*batch d"],
    generator: Generator | None = None,
) -> Float[Tensor, "*batch d"]:
    r"""Draw from a diagonal Gaussian so that the draw is differentiable in its parameters.

    Equation ``def-reparameterization`` of the book:
    :math:`z = \mu + \sigma \epsilon`, :math:`\epsilon \sim \mathcal N(0, I)`.

    Parameters
    ----------
    mean, log_var
        Means and logarithms of the variances, shape (..., d).
    generator
        Source of the noise; torch's own if None.

    Returns
    -------
    Tensor
        One draw for each row, shape (..., d).
    """
    check_rows(mean=mean, log_var=log_var)
    if mean.shape != log_var.shape:  # noise shared by broadcasting would be no noise of its own
        fail("log_var", f"the shape of mean, {tuple(mean.shape)}", tuple(log_var.shape))
    noise = mean.new_empty(mean.shape).normal_(generator=generator)
    return mean + torch.exp(0.5 * log_var) * noise


# --- likelihoods ------------------------------------------------------------------------------


@runtime_checkable
class Likelihood(Protocol):
    """p(x|z) for independent pixels, given the parameters that the decoder computes."""

    n_per_pixel: int

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Log-density of `x`, summed over pixels."""
        ...

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected pixels."""
        ...

    def sample(self, params: Tensor, generator: Generator | None = None) -> Tensor:
        """Drawn pixels."""
        ...


class Bernoulli:
    """Binary pixels; the decoder gives logits (equation ``eq-bernoulli-log-likelihood``)."""

    n_per_pixel = 1

    def log_prob(
        self, x: Float[Tensor, "*#batch D"], params: Float[Tensor, "*batch D"]
    ) -> Float[Tensor, "*batch"]:
        """Log-probability of binary `x`, summed over pixels, in nats.

        On grey pixels the same formula is a cross-entropy and *no* likelihood.
        """
        check_rows(params=params, x=x)
        # x log p + (1 - x) log(1 - p) with p = sigmoid(l) is x l - softplus(l): safe for any l
        with torch.autocast(x.device.type, enabled=False):  # in bfloat16 it would lose whole nats
            return torch.linalg.vecdot(x, params) - F.softplus(params).sum(-1)

    def mean(self, params: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Probability that each pixel is lit."""
        return torch.sigmoid(params)

    def sample(
        self, params: Float[Tensor, "*batch D"], generator: Generator | None = None
    ) -> Float[Tensor, "*batch D"]:
        """Pixels of 0 and 1."""
        return torch.bernoulli(self.mean(params), generator=generator)


class Gaussian:
    """Real pixels with Gaussian noise (equation ``eq-gaussian-log-likelihood``).

    Parameters
    ----------
    std
        Standard deviation of every pixel. None: the decoder gives, beside the means, the
        log-variance of each pixel (bounded smoothly to ±10).
    """

    log_var_bound = 10.0

    def __init__(self, std: float | None = 1.0) -> None:
        if std is not None and not (math.isfinite(std) and std > 0):
            fail("std", "a positive number or None", std)
        self.std = std
        self.n_per_pixel = 1 if std is not None else 2

    def log_prob(
        self, x: Float[Tensor, "*#batch D"], params: Float[Tensor, "*batch P"]
    ) -> Float[Tensor, "*batch"]:
        """Log-density of `x`, summed over pixels, in nats."""
        mean, log_var = self._mean_and_log_var(params)
        check_rows(params=mean, x=x)
        return log_normal(x, mean, log_var)

    def mean(self, params: Float[Tensor, "*batch P"]) -> Float[Tensor, "*batch D"]:
        """Mean of each pixel."""
        return self._mean_and_log_var(params)[0]

    def sample(
        self, params: Float[Tensor, "*batch P"], generator: Generator | None = None
    ) -> Float[Tensor, "*batch D"]:
        """Pixels with their noise."""
        return reparameterize(*self._mean_and_log_var(params), generator)

    def _mean_and_log_var(self, params: Tensor) -> tuple[Tensor, Tensor]:
        if self.std is not None:
            return params, torch.full_like(params, 2 * math.log(self.std))
        if params.shape[-1] % 2:
            fail("params", "an even number of columns: means, then log-variances", params.shape[-1])
        mean, raw = params.chunk(2, dim=-1)
        return mean, self.log_var_bound * torch.tanh(raw / self.log_var_bound)


class ContinuousBernoulli:
    r"""Grey pixels in [0, 1] (equation ``eq-continuous-bernoulli``): Bernoulli, normalised [1]_.

    The density is :math:`e^{\ell x}\, \ell / (e^\ell - 1)` with logit :math:`\ell`.

    References
    ----------
    .. [1] G. Loaiza-Ganem and J. P. Cunningham (2019), The continuous Bernoulli: fixing a
       pervasive error in variational autoencoders, NeurIPS.
    """

    n_per_pixel = 1
    _small = 1e-2  # below it, series in the logit replace quotients of the kind 0/0

    def log_prob(
        self, x: Float[Tensor, "*#batch D"], params: Float[Tensor, "*batch D"]
    ) -> Float[Tensor, "*batch"]:
        """Log-density of `x`, summed over pixels, in nats."""
        check_rows(params=params, x=x)
        safe = torch.where(params.abs() < self._small, self._small, params)
        # log of the integral of e^(l x) over [0, 1], which is (e^l - 1) / l
        exact = safe.clamp_min(0) + torch.log(-torch.expm1(-safe.abs()) / safe.abs())
        series = params / 2 + params.square() / 24
        log_integral = torch.where(params.abs() < self._small, series, exact)
        return (x * params - log_integral).sum(-1)

    def mean(self, params: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Mean of each pixel; not the sigmoid of the logit."""
        size = params.abs().clamp_min(self._small)
        exact = -1 / torch.expm1(-size) - 1 / size  # for the logit |l|; for -|l|, one minus it
        series = 0.5 + params / 12 - params**3 / 720
        mirrored = torch.where(params > 0, exact, 1 - exact)
        return torch.where(params.abs() < self._small, series, mirrored)

    def sample(
        self, params: Float[Tensor, "*batch D"], generator: Generator | None = None
    ) -> Float[Tensor, "*batch D"]:
        """Pixels drawn by inverting the distribution function."""
        uniform = torch.empty_like(params).uniform_(generator=generator)
        size = params.abs().clamp_min(1e-6)
        downward = torch.log1p(uniform * torch.expm1(-size)) / -size  # drawn for the logit -size
        return torch.where(params > 0, 1 - downward, downward)


class CausalBernoulli(nn.Module):
    r"""Binary pixels that also look at their neighbours drawn before them.

    Equation ``eq-causal-bernoulli`` of the book. In reading order, pixel i has the logit
    :math:`\ell_i(z) + \sum_{j<i} W_{ij} x_j`: the decoder's, plus a linear function of the pixels
    above and to the left, at most `reach` rows and columns away. The reach is short so that texture
    is left to the neighbours and shape to z [1]_. With W = 0, as it starts, it is
    :class:`Bernoulli`.

    Parameters
    ----------
    height, width
        Of the image.
    reach
        How many rows and columns away a pixel looks.

    References
    ----------
    .. [1] X. Chen et al. (2017), Variational lossy autoencoder, ICLR.
    """

    n_per_pixel = 1
    mask: Tensor

    def __init__(self, height: int = 28, width: int = 28, reach: int = 5) -> None:
        super().__init__()
        for name, value in (("height", height), ("width", width), ("reach", reach)):
            check_at_least(name, value, 1)
        position = torch.arange(height * width)
        row, column = position // width, position % width
        near = (row[:, None] - row).abs().le(reach) & (column[:, None] - column).abs().le(reach)
        self.register_buffer("mask", near.tril(-1), persistent=False)
        self.weight = nn.Parameter(torch.zeros(height * width, height * width))

    def log_prob(
        self, x: Float[Tensor, "*#batch D"], params: Float[Tensor, "*batch D"]
    ) -> Float[Tensor, "*batch"]:
        """Log-probability of binary `x`, summed over pixels by the chain rule, in nats."""
        check_rows(len(self.weight), x=x)
        context = F.linear(x, self.weight * self.mask).to(x.dtype)
        return Bernoulli().log_prob(x, params + context)

    def mean(self, params: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Not available: the pixels depend on one another; average samples in its place."""
        raise NotImplementedError("CausalBernoulli has no closed-form mean: average its samples")

    def sample(
        self, params: Float[Tensor, "*batch D"], generator: Generator | None = None
    ) -> Float[Tensor, "*batch D"]:
        """Pixels of 0 and 1, drawn one after the other."""
        weight = self.weight * self.mask
        x = torch.zeros_like(params)
        for i in range(params.shape[-1]):
            probability = torch.sigmoid(params[..., i] + x @ weight[i])
            x[..., i] = torch.bernoulli(probability, generator=generator)
        return x


# --- priors -----------------------------------------------------------------------------------


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
        self.n_latents = n_latents
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.randn(n_components, n_latents))
        self.log_vars = nn.Parameter(torch.zeros(n_components, n_latents))

    def log_prob(self, z: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Log-density of each row, in nats."""
        check_rows(self.n_latents, z=z)
        precisions = torch.exp(-self.log_vars)
        # The log-density of a Gaussian is linear in z and z²: one matrix product gives them all.
        slopes = torch.cat([self.means * precisions, -0.5 * precisions], dim=1)
        squares = self.means.square() * precisions + self.log_vars + LOG_2PI
        constants = self.logits.log_softmax(0) - 0.5 * squares.sum(-1)
        with torch.autocast(z.device.type, enabled=False):  # a density needs all its digits
            log_joint = F.linear(torch.cat([z, z.square()], dim=-1), slopes, constants)
        return torch.logsumexp(log_joint, -1)

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n d"]:
        """Draw `n` latent vectors: first the component, then the point."""
        check_at_least("n", n, 1)
        chosen = torch.multinomial(self.logits.softmax(0), n, replacement=True, generator=generator)
        return reparameterize(self.means[chosen], self.log_vars[chosen], generator)


# --- the model --------------------------------------------------------------------------------


class ElboTerms(NamedTuple):
    """The two terms of the bound, one a datum, in nats; the bound is their difference."""

    reconstruction: Tensor
    kl: Tensor


class VAE(nn.Module):
    r"""Variational autoencoder [1]_ [2]_.

    Parameters
    ----------
    encoder
        Module from data, shape (batch, n_pixels), to mean and log-variance of
        :math:`q_\phi(z|x)`: an :class:`Encoder`.
    decoder
        Module from latent vectors, shape (batch, n_latents), to the parameters of
        :math:`p_\theta(x|z)`, shape (batch, n_pixels * likelihood.n_per_pixel).
    likelihood
        :class:`Bernoulli`, :class:`Gaussian` or :class:`ContinuousBernoulli`.
    prior
        :class:`StandardNormal` or :class:`MixturePrior`.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling (2014), Auto-encoding variational Bayes, ICLR.
    .. [2] D. J. Rezende, S. Mohamed and D. Wierstra (2014), Stochastic backpropagation and
       approximate inference in deep generative models, ICML.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: StandardNormal | MixturePrior,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        self.likelihood = likelihood

    @property
    def n_latents(self) -> int:
        """Dimension of the latent variable."""
        return self.prior.n_latents

    def encode(
        self, x: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch latents"], Float[Tensor, "batch latents"]]:
        """Mean and log-variance of q(z|x) for each row (equation ``def-encoder``)."""
        self._check_data(x)
        return self._encode(x)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return self.encoder(x)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # a module does not say what it takes before it is called
            got = f"shape {tuple(x.shape)} of {x.dtype}: {error}"
            raise ValueError(f"x: wanted data that the encoder takes, got {got}") from error

    def decode(self, z: Float[Tensor, "*batch latents"]) -> Float[Tensor, "*batch pixels"]:
        """Return the expected image E[x|z] of each latent vector: a mean, not a sample."""
        check_rows(self.n_latents, z=z)
        return self.likelihood.mean(self._decode(z))

    def _decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x|z), in the precision of `z` even under mixed precision."""
        params = self.decoder(z.reshape(-1, z.shape[-1]))  # convolutions know one batch dimension
        return params.to(z.dtype).view(*z.shape[:-1], -1)

    def sample(
        self, n: int, generator: Generator | None = None, mean: bool = False
    ) -> Float[Tensor, "n pixels"]:
        """Draw new images by ancestral sampling: z from the prior, then x from p(x|z).

        Parameters
        ----------
        n
            Number of images.
        generator
            Source of randomness; torch's own if None.
        mean
            Return E[x|z] in place of the last draw: smoother to look at, but no sample of x.

        Returns
        -------
        Tensor
            Images as rows of pixels, shape (n, n_pixels).
        """
        check_at_least("n", n, 1)
        with torch.no_grad():
            params = self._decode(self.prior.sample(n, generator))
            return (
                self.likelihood.mean(params) if mean else self.likelihood.sample(params, generator)
            )

    def reconstruct(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> Float[Tensor, "batch pixels"]:
        """Encode, draw z from q(z|x), decode to the expected image."""
        self._check_data(x)
        with torch.no_grad():
            return self.decode(reparameterize(*self._encode(x), generator))

    def interpolate(
        self,
        x_from: Float[Tensor, "batch pixels"],
        x_to: Float[Tensor, "batch pixels"],
        n_steps: int = 8,
    ) -> Float[Tensor, "batch n_steps pixels"]:
        """Decode `n_steps` points on the straight lines between the codes of two batches."""
        self._check_data(x_from, "x_from")
        self._check_data(x_to, "x_to")
        if x_to.shape != x_from.shape:
            fail("x_to", f"the shape of x_from, {tuple(x_from.shape)}", tuple(x_to.shape))
        check_at_least("n_steps", n_steps, 2)
        with torch.no_grad():
            start, stop = self._encode(x_from)[0], self._encode(x_to)[0]
            position = torch.linspace(0, 1, n_steps, dtype=start.dtype, device=start.device)
            return self.decode(torch.lerp(start[:, None], stop[:, None], position[:, None]))

    def elbo_terms(
        self,
        x: Float[Tensor, "batch pixels"],
        generator: Generator | None = None,
        n_samples: int = 1,
        kl: str = "auto",
    ) -> ElboTerms:
        """Both terms of the evidence lower bound (equation ``eq-elbo``), differentiable.

        Parameters
        ----------
        x
            Data, shape (batch, n_pixels).
        generator
            Source of the noise; torch's own if None.
        n_samples
            Draws of z for each datum.
        kl
            ``"analytic"``: closed form, for the standard normal prior;
            ``"monte_carlo"``: from the same draws, for any prior;
            ``"auto"``: the closed form where there is one.

        Returns
        -------
        ElboTerms
            Reconstruction term E_q[log p(x|z)] and KL(q(z|x) || p(z)), shape (batch,), nats.

        Raises
        ------
        ValueError
            If `x` has the wrong shape or dtype, holds NaN, or does not suit the likelihood.
        """
        check_at_least("n_samples", n_samples, 1)
        check_in("kl", kl, ("auto", "analytic", "monte_carlo"))
        standard = isinstance(self.prior, StandardNormal)
        if kl == "analytic" and not standard:
            fail("kl", "'monte_carlo': this prior has no closed form", repr(kl))
        self._check_data(x)
        mean, log_var = (p.expand(n_samples, *p.shape) for p in self._encode(x))
        z = reparameterize(mean, log_var, generator)
        reconstruction = self.likelihood.log_prob(x, self._decode(z)).mean(0)
        if standard and kl != "monte_carlo":
            return ElboTerms(reconstruction, kl_to_standard_normal(mean[0], log_var[0]))
        divergence = log_normal(z, mean, log_var) - self.prior.log_prob(z)
        return ElboTerms(reconstruction, divergence.mean(0))

    def elbo(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Evidence lower bound from one draw of z a datum (equation ``eq-elbo``), in nats."""
        reconstruction, kl = self.elbo_terms(x, generator)
        return reconstruction - kl

    def log_weights(
        self, x: Float[Tensor, "batch pixels"], k: int, generator: Generator | None = None
    ) -> Float[Tensor, "k batch"]:
        """Log importance weights log p(x, z) - log q(z|x) of `k` draws a datum.

        Equation ``def-importance-weight`` of the book; differentiable.
        """
        check_at_least("k", k, 1)
        self._check_data(x)
        return self._log_weights(x, *self._encode(x), k, generator)

    def _log_weights(
        self, x: Tensor, mean: Tensor, log_var: Tensor, k: int, generator: Generator | None
    ) -> Tensor:
        z = reparameterize(mean.expand(k, *mean.shape), log_var.expand(k, *mean.shape), generator)
        log_joint = self.likelihood.log_prob(x, self._decode(z)) + self.prior.log_prob(z)
        return log_joint - log_normal(z, mean, log_var)

    def iwae_bound(
        self, x: Float[Tensor, "batch pixels"], k: int, generator: Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Importance-weighted bound of Burda et al. (equation ``eq-iwae``), differentiable."""
        return log_mean_exp(self.log_weights(x, k, generator))

    def log_prob_estimate(
        self, x: Float[Tensor, "batch pixels"], k: int = 500, generator: Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Estimate log p(x) by importance sampling with q(z|x) as the proposal.

        Equation ``eq-iwae`` of the book, evaluated in pieces: memory does not grow with `k` or
        the number of data. The expectation is a lower bound that rises with `k`.

        Parameters
        ----------
        x
            Data, shape (batch, n_pixels).
        k
            Importance samples for each datum.
        generator
            Source of randomness; torch's own if None.

        Returns
        -------
        Tensor
            One estimate for each datum, shape (batch,), nats.
        """
        check_at_least("k", k, 1)
        self._check_data(x)
        binary = isinstance(self.likelihood, Bernoulli | CausalBernoulli)
        if binary and not torch.all((x == 0) | (x == 1)):
            fail("x", "binary pixels: a Bernoulli VAE gives grey ones no likelihood", "grey pixels")
        samples_at_once = min(k, 50)
        data_at_once = max(1, _ROWS_AT_ONCE // samples_at_once)
        with torch.inference_mode():
            return torch.cat(
                [
                    self._log_prob_estimate(rows, k, samples_at_once, generator)
                    for rows in x.split(data_at_once)
                ]
            )

    def _log_prob_estimate(
        self, x: Tensor, k: int, samples_at_once: int, generator: Generator | None
    ) -> Tensor:
        mean, log_var = self._encode(x)
        total = torch.full_like(mean[:, 0], -math.inf)
        for start in range(0, k, samples_at_once):
            size = min(samples_at_once, k - start)
            weights = self._log_weights(x, mean, log_var, size, generator)
            total = torch.logaddexp(total, weights.logsumexp(0))
        return total - math.log(k)

    def active_units(
        self, x: Float[Tensor, "n pixels"], threshold: float = 0.01
    ) -> Bool[Tensor, " latents"]:
        """Which latent dimensions carry information about the data (Burda et al., 2016).

        Equation ``def-active-units`` of the book: a unit is active if the posterior mean varies
        over the data, with a variance above `threshold`.
        """
        self._check_data(x)
        with torch.inference_mode():
            means = torch.cat([self._encode(rows)[0] for rows in x.split(1000)])
        if len(means) < 2:
            fail("x", "at least 2 rows, to see a mean vary", tuple(x.shape))
        return means.var(0) > threshold

    def save_weights(self, path: str | Path) -> None:
        """Write all weights to a safetensors file."""
        safetensors.torch.save_file(self.state_dict(), path)

    def load_weights(self, path: str | Path) -> VAE:
        """Read weights that :meth:`save_weights` wrote into this model; returns the model."""
        wanted = "weights of this architecture"
        try:
            weights = safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            fail("path", wanted, f"{path}: {error}")
        shapes, own = (
            {k: tuple(v.shape) for k, v in w.items()} for w in (weights, self.state_dict())
        )
        if shapes != own:  # load_state_dict would notice only after it had copied what fits
            differing = sorted(f"{k} {v}" for k, v in shapes.items() ^ own.items())
            fail("path", wanted, f"{path}, in which differ: {', '.join(differing)}")
        self.load_state_dict(weights)
        return self

    def _check_data(self, x: Tensor, argument: str = "x") -> None:
        check_batch(argument, x)
        if not isinstance(self.likelihood, Gaussian) and (x.min() < 0 or x.max() > 1):
            fail(argument, "pixels between 0 and 1", f"values from {x.min():.4g} to {x.max():.4g}")


# Decoded rows held at a time by the estimator: 1,000 x 784 floats stay in the processor's cache.
_ROWS_AT_ONCE = 1000


# --- ready-made models ------------------------------------------------------------------------


def mlp_vae(
    n_pixels: int = 784,
    n_latents: int = 20,
    hidden: Sequence[int] = (400,),
    likelihood: Likelihood | None = None,
) -> VAE:
    """VAE of perceptrons, the decoder the encoder's mirror image; by default 784-400-20.

    Parameters
    ----------
    n_pixels, n_latents
        Dimensions of x and z.
    hidden
        Widths of the encoder's hidden layers.
    likelihood
        Bernoulli if None.

    Returns
    -------
    VAE
        The model, untrained, with a standard normal prior.
    """
    _check_sizes(n_pixels=n_pixels, n_latents=n_latents)
    likelihood = likelihood or Bernoulli()
    return VAE(
        Encoder(mlp(n_pixels, 2 * n_latents, hidden)),
        mlp(n_latents, n_pixels * likelihood.n_per_pixel, hidden[::-1]),
        likelihood,
        StandardNormal(n_latents),
    )


def residual_vae(
    n_pixels: int = 784,
    n_latents: int = 40,
    width: int = 512,
    n_blocks: int = 2,
    likelihood: Likelihood | None = None,
) -> VAE:
    """VAE of residual perceptrons (:func:`residual_mlp`); arguments as for :func:`mlp_vae`."""
    _check_sizes(n_pixels=n_pixels, n_latents=n_latents)
    likelihood = likelihood or Bernoulli()
    return VAE(
        Encoder(residual_mlp(n_pixels, 2 * n_latents, width, n_blocks)),
        residual_mlp(n_latents, n_pixels * likelihood.n_per_pixel, width, n_blocks),
        likelihood,
        StandardNormal(n_latents),
    )


def conv_vae(
    n_latents: int = 20, n_channels: int = 32, likelihood: Likelihood | None = None
) -> VAE:
    """VAE of two convolutions each way, for 28 x 28 images; arguments as for :func:`mlp_vae`."""
    check_at_least("n_latents", n_latents, 1)
    likelihood = likelihood or Bernoulli()
    return VAE(
        Encoder(conv_encoder(2 * n_latents, n_channels)),
        conv_decoder(n_latents, likelihood.n_per_pixel, n_channels),
        likelihood,
        StandardNormal(n_latents),
    )


def set_output_bias(vae: VAE, pixel_means: Float[Tensor, " pixels"]) -> None:
    """Start the decoder of a Bernoulli VAE at the mean image, which saves its first epochs.

    Parameters
    ----------
    vae
        A VAE whose decoder ends in a linear layer.
    pixel_means
        Mean of each pixel over the training data, in [0, 1].
    """
    check_float("pixel_means", pixel_means, n_dims=1)
    if pixel_means.min() < 0 or pixel_means.max() > 1:
        fail("pixel_means", "numbers between 0 and 1", f"up to {pixel_means.abs().max():.4g}")
    if not isinstance(vae.likelihood, Bernoulli | CausalBernoulli):
        fail("vae", "a Bernoulli likelihood, whose decoder gives logits", vae.likelihood)
    last = vae.decoder[-1] if isinstance(vae.decoder, nn.Sequential) else None
    if not isinstance(last, nn.Linear) or last.out_features != len(pixel_means):
        fail("vae", f"a decoder ending in a linear layer to {len(pixel_means)} logits", last)
    with torch.no_grad():
        last.bias.copy_(torch.logit(pixel_means.clamp(0.001, 0.999)))


# --- objectives for vaebook.training.fit ------------------------------------------------------

Objective = Callable[[VAE, Tensor, float, Generator | None], tuple[Tensor, dict[str, Tensor]]]


def elbo_objective(
    model: VAE, x: Tensor, beta: float = 1.0, generator: Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Bound to maximise: reconstruction - beta KL, one a datum, and both terms by name.

    With beta = 1 it is the ELBO; other values give the beta-VAE of equation ``def-beta-vae``.
    """
    reconstruction, kl = model.elbo_terms(x, generator)
    return reconstruction - beta * kl, {"reconstruction": reconstruction, "kl": kl}


def iwae_objective(k: int) -> Objective:
    """Make the objective that maximises the importance-weighted bound with `k` samples."""
    check_at_least("k", k, 1)

    def objective(
        model: VAE, x: Tensor, beta: float = 1.0, generator: Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        bound = model.iwae_bound(x, k, generator)
        return bound, {"iwae_bound": bound}

    return objective
