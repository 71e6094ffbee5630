"""The variational autoencoder: its encoder, its bounds and its estimates.

A `VAE` is an encoder, a decoder, a likelihood (:mod:`vaebook.likelihoods`) and a prior
(:mod:`vaebook.priors`), put together::

    vae = mlp_vae(n_latents=20)          # 784-400-20, as in PyTorch's example
    vae.elbo(x)                          # nats, one a datum
    vae.sample(16)                       # new images, by ancestral sampling
    vae.log_prob_estimate(x, k=500)      # importance sampling

Data are rows of pixels in [0, 1], shape (batch, n_pixels). Every bound and density is in nats and
per datum: sums over pixels and latent dimensions, never means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from vaebook._checks import (
    check_at_least,
    check_batch,
    check_float,
    check_in,
    check_rows,
    check_sizes,
    fail,
    is_binary,
    values_are_trusted,
)
from vaebook.estimators import Pieces, log_mean_exp, rows_at_once
from vaebook.gaussian import kl_to_standard_normal, log_normal, reparameterize
from vaebook.likelihoods import (
    Bernoulli,
    CausalBernoulli,
    CausalLogistic,
    DiscretizedLogistic,
    Gaussian,
    Likelihood,
    mean_or_draw,
)
from vaebook.networks import (
    check_input,
    conv_decoder,
    conv_encoder,
    interpolate,
    mlp,
    residual_mlp,
)
from vaebook.priors import MixturePrior, StandardNormal
from vaebook.training import Objective


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
        check_input("x", self.network, x)
        # in mixed precision the network answers in bfloat16; densities want the data's precision
        mean, raw = self.network(x).to(x.dtype).chunk(2, dim=-1)
        return mean, self.log_var_bound * torch.tanh(raw / self.log_var_bound)


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
        A :class:`~vaebook.likelihoods.Likelihood`, such as
        :class:`~vaebook.likelihoods.Bernoulli`.
    prior
        :class:`~vaebook.priors.StandardNormal` or :class:`~vaebook.priors.MixturePrior`.

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
        return self.encoder(x)

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
            return mean_or_draw(self.likelihood, params, generator, mean)

    def reconstruct(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> Float[Tensor, "batch pixels"]:
        """Encode, draw z from q(z|x), decode to the expected image."""
        self._check_data(x)
        with torch.no_grad():
            mean, log_var = self.encoder(x)
            return self.decode(reparameterize(mean, log_var, generator))

    def interpolate(
        self,
        x_from: Float[Tensor, "batch pixels"],
        x_to: Float[Tensor, "batch pixels"],
        n_steps: int = 8,
    ) -> Float[Tensor, "batch n_steps pixels"]:
        """Decode `n_steps` points on the straight lines between the codes of two batches."""
        self._check_data(x_from, "x_from")
        self._check_data(x_to, "x_to")
        return interpolate(lambda x: self.encoder(x)[0], self.decode, x_from, x_to, n_steps)

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
        mean, log_var = (p.expand(n_samples, *p.shape) for p in self.encoder(x))
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
        mean, log_var = self.encoder(x)
        z = reparameterize(mean.expand(k, *mean.shape), log_var.expand(k, *mean.shape), generator)
        return self._log_weights(x, mean, log_var, z)

    def _log_weights(self, x: Tensor, mean: Tensor, log_var: Tensor, z: Tensor) -> Tensor:
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

        Equation ``eq-iwae`` of the book, evaluated in pieces that suit the device: memory does not
        grow with `k` or the number of data, and the draws do not depend on the pieces
        (:class:`vaebook.estimators.Pieces`). The expectation is a lower bound that rises with `k`.

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
        if binary and not is_binary(x):
            fail("x", "binary pixels: a Bernoulli VAE gives grey ones no likelihood", "grey pixels")
        if isinstance(self.likelihood, DiscretizedLogistic | CausalLogistic):
            self.likelihood.check_levels(x)
        pieces = Pieces(k, rows_at_once(x, x.shape[1] * self.likelihood.n_per_pixel))
        with torch.inference_mode():
            return torch.cat(
                [
                    self._log_prob_estimate(rows, pieces, generator)
                    for rows in x.split(pieces.n_data)
                ]
            )

    def _log_prob_estimate(self, x: Tensor, pieces: Pieces, generator: Generator | None) -> Tensor:
        mean, log_var = self.encoder(x)

        def log_weights(noise: Tensor) -> Tensor:
            return self._log_weights(x, mean, log_var, mean + torch.exp(0.5 * log_var) * noise)

        return pieces.log_mean_weight(log_weights, mean, generator)

    def active_units(
        self, x: Float[Tensor, "n pixels"], threshold: float = 0.01
    ) -> Bool[Tensor, " latents"]:
        """Which latent dimensions carry information about the data (Burda et al., 2016).

        Equation ``def-active-units`` of the book: a unit is active if the posterior mean varies
        over the data, with a variance above `threshold`.
        """
        self._check_data(x)
        with torch.inference_mode():
            means = torch.cat([self.encoder(rows)[0] for rows in x.split(1000)])
        if len(means) < 2:
            fail("x", "at least 2 rows, to see a mean vary", tuple(x.shape))
        return means.var(0) > threshold

    def save_weights(self, path: str | Path) -> None:
        """Write all weights to a safetensors file, whatever their layout or sharing."""
        contiguous = {"memory_format": torch.contiguous_format}
        weights = {name: value.clone(**contiguous) for name, value in self.state_dict().items()}
        safetensors.torch.save_file(weights, path)

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
        if values_are_trusted():
            return
        low, high = x.aminmax()
        if not isinstance(self.likelihood, Gaussian) and (low < 0 or high > 1):
            fail(argument, "pixels between 0 and 1", f"values from {low:.4g} to {high:.4g}")


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
    check_sizes(n_pixels=n_pixels, n_latents=n_latents)
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
    """VAE of residual perceptrons; arguments as for :func:`mlp_vae`.

    See :func:`~vaebook.networks.residual_mlp`.
    """
    check_sizes(n_pixels=n_pixels, n_latents=n_latents)
    likelihood = likelihood or Bernoulli()
    return VAE(
        Encoder(residual_mlp(n_pixels, 2 * n_latents, width, n_blocks)),
        residual_mlp(n_latents, n_pixels * likelihood.n_per_pixel, width, n_blocks),
        likelihood,
        StandardNormal(n_latents),
    )


def conv_vae(
    n_latents: int = 20,
    n_channels: int = 32,
    likelihood: Likelihood | None = None,
    image: tuple[int, int, int] = (1, 28, 28),
) -> VAE:
    """VAE of convolutions, for images of any size; arguments as for :func:`mlp_vae`.

    `image` is (channels, height, width), and a row of data its ``flatten()``. See
    :func:`~vaebook.networks.conv_encoder`.
    """
    check_at_least("n_latents", n_latents, 1)
    likelihood = likelihood or Bernoulli()
    return VAE(
        Encoder(conv_encoder(2 * n_latents, n_channels, image)),
        conv_decoder(n_latents, likelihood.n_per_pixel, n_channels, image),
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


def elbo_objective(
    model: VAE, x: Tensor, generator: Generator | None = None, beta: float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Bound to maximise: reconstruction - beta KL, one a datum, and both terms by name.

    With beta = 1 it is the ELBO; other values give the beta-VAE of equation ``def-beta-vae``, and
    `fit` raises it from 0 when it is asked for a warm-up.
    """
    reconstruction, kl = model.elbo_terms(x, generator)
    return reconstruction - beta * kl, {"reconstruction": reconstruction, "kl": kl}


def iwae_objective(k: int) -> Objective:
    """Make the objective that maximises the importance-weighted bound with `k` samples."""
    check_at_least("k", k, 1)

    def objective(
        model: VAE, x: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        bound = model.iwae_bound(x, k, generator)
        return bound, {"iwae_bound": bound}

    return objective


def free_bits_objective(free_nats: float) -> Objective:
    r"""Make the objective whose code costs nothing below `free_nats` a unit ("free bits" [1]_).

    Equation ``def-free-bits`` of the book: from the reconstruction term of each datum it takes
    :math:`\sum_j \max(\lambda, \mathrm{KL}_j)`, where :math:`\mathrm{KL}_j` is the divergence of
    unit j, averaged over the batch. It lies at or below the ELBO, on average over the batch.

    Parameters
    ----------
    free_nats
        :math:`\lambda`, at least 0; with 0 it is the ELBO.

    References
    ----------
    .. [1] D. P. Kingma et al. (2016), Improved variational inference with inverse autoregressive
       flow, NeurIPS.
    """
    if not 0 <= free_nats < float("inf"):
        fail("free_nats", "a number of nats, at least 0", free_nats)

    def objective(
        model: VAE, x: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if not isinstance(model.prior, StandardNormal):
            fail("model", "a standard normal prior, under which units are independent", model.prior)
        mean, log_var = model.encode(x)
        z = reparameterize(mean, log_var, generator)
        reconstruction = model.likelihood.log_prob(x, model._decode(z))
        kl = kl_to_standard_normal(mean[..., None], log_var[..., None])  # of each unit
        price = kl.mean(0).clamp_min(free_nats).sum()
        return reconstruction - price, {"reconstruction": reconstruction, "kl": kl.sum(-1)}

    return objective
