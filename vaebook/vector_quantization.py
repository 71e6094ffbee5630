r"""Autoencoders with discrete codes: each part of a code is the nearest vector of a codebook.

A `VQVAE` is an encoder, a codebook, a decoder, a likelihood and a distribution of codes::

    model = mlp_vqvae(n_codes=128)
    fit(model, pixels, vq_objective)
    codes = model.codes(x)
    perplexity(codes, 128)  # how many are in use
    fit(model.prior, codes, likelihood_objective)
    model.elbo(x)  # nats, one a datum
    model.sample(16, generator)

A code is a row of whole numbers from 0 to n_codes - 1, shape (batch, n_positions). Every bound is
in nats and per datum: sums over pixels and positions, never means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from vaebook._checks import (
    check_at_least,
    check_batch,
    check_rows,
    check_sizes,
    fail,
    is_binary,
    values_are_trusted,
)
from vaebook.autoregressive import CategoricalMADE
from vaebook.estimators import Pieces, rows_at_once
from vaebook.likelihoods import Bernoulli, Likelihood, mean_or_draw
from vaebook.networks import check_input, mlp

# --- the nearest vector -----------------------------------------------------------------------


def squared_distances(
    z: Float[Tensor, "*batch d"], vectors: Float[Tensor, "codes d"]
) -> Float[Tensor, "*batch codes"]:
    """Squared distance of each row of `z` from each of `vectors`, by one matrix product."""
    check_rows(vectors.shape[-1], z=z)
    centre = vectors.detach().mean(0)  # far from zero the squares would lose the distances
    z, vectors = z - centre, vectors - centre
    with torch.autocast(z.device.type, enabled=False):  # bfloat16 would take other codes
        products = z @ vectors.T
    lengths = z.square().sum(-1, keepdim=True) + vectors.square().sum(-1)
    return (lengths - 2 * products).clamp_min(0)


def nearest_codes(
    z: Float[Tensor, "*batch d"], vectors: Float[Tensor, "codes d"]
) -> Int[Tensor, "*batch"]:
    """Index of the vector nearest to each row of `z` (equation ``def-nearest-code``).

    Parameters
    ----------
    z
        Rows of numbers.
    vectors
        The codebook, one vector a row.

    Returns
    -------
    Tensor
        Whole numbers; of equally near vectors, one of them.
    """
    return squared_distances(z, vectors).argmin(-1)


def straight_through(
    z: Float[Tensor, "*batch d"], quantised: Float[Tensor, "*batch d"]
) -> Float[Tensor, "*batch d"]:
    """Return `quantised`, with the derivative of `z` (equation ``def-straight-through``) [1]_.

    References
    ----------
    .. [1] Y. Bengio, N. Léonard and A. Courville (2013), Estimating or propagating gradients
       through stochastic neurons for conditional computation.
    """
    check_rows(z=z, quantised=quantised)
    return z + (quantised - z).detach()


def perplexity(codes: Int[Tensor, "..."], n_codes: int) -> float:
    """Effective number of codes in use: the exponential of the entropy of their shares.

    Equation ``def-perplexity`` of the book: 1 if all data have the same code, `n_codes` if all
    codes are equally frequent.

    Parameters
    ----------
    codes
        Whole numbers from 0 to n_codes - 1, at least one.
    n_codes
        Size of the codebook.
    """
    check_at_least("n_codes", n_codes, 1)
    if codes.is_floating_point() or codes.numel() == 0 or not 0 <= codes.min() <= codes.max():
        fail("codes", "whole numbers of at least 0", f"{codes.numel()} of {codes.dtype}")
    counts = torch.bincount(codes.flatten(), minlength=n_codes)
    if len(counts) > n_codes:
        fail("codes", f"numbers below n_codes, {n_codes}", len(counts) - 1)
    shares = counts.double().cpu() / codes.numel()
    return math.exp(-torch.xlogy(shares, shares).sum())


class Codebook(nn.Module):
    r"""The vectors that may stand in a code, and how they learn.

    Parameters
    ----------
    n_codes, n_dims
        Number of vectors, and numbers in each. They start as standard normal draws.
    decay
        Each vector follows the average of what is mapped to it, an exponential moving average with
        this decay (equation ``eq-moving-codes``). None: the vectors are weights, which follow the
        gradient of a squared distance. (So they must be where several processes train.)
    """

    vectors: Tensor
    counts: Tensor

    def __init__(self, n_codes: int, n_dims: int, decay: float | None = 0.99) -> None:
        super().__init__()
        check_sizes(n_codes=n_codes, n_dims=n_dims)
        if decay is not None and not 0 <= decay < 1:
            fail("decay", "a number of at least 0 and below 1, or None", decay)
        self.n_codes, self.n_dims, self.decay = n_codes, n_dims, decay
        vectors = torch.randn(n_codes, n_dims)
        if decay is None:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
            self.register_buffer("counts", torch.ones(n_codes))  # recent data of each code

    def follow(self, z: Float[Tensor, "n d"], codes: Int[Tensor, " n"]) -> None:
        """Move each vector towards the mean of the rows of `z` that have its code."""
        if self.decay is None:
            return
        check_rows(self.n_dims, z=z)
        with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
            chosen = (codes[:, None] == torch.arange(self.n_codes, device=z.device)).to(z.dtype)
            new = chosen.sum(0)
            self.counts.lerp_(new, 1 - self.decay)
            # where nothing is new, nothing moves: 0 over a count that may have faded to 0
            pull = chosen.T @ z - new[:, None] * self.vectors
            self.vectors += (1 - self.decay) * pull / self.counts.clamp_min(1e-9)[:, None]


# --- the model --------------------------------------------------------------------------------


class CodeTerms(NamedTuple):
    """The two terms of the bound, one a datum, in nats; the bound is their sum."""

    reconstruction: Tensor
    log_prior: Tensor


class VQVAE(nn.Module):
    r"""Autoencoder with vectors of a codebook as its code, and a distribution of codes [1]_.

    Parameters
    ----------
    encoder
        Network from data, shape (batch, n_pixels), to n_positions * n_dims numbers.
    decoder
        Network from n_positions * n_dims numbers to the parameters of p(x|z).
    likelihood
        A :class:`~vaebook.likelihoods.Likelihood`.
    codebook
        A :class:`Codebook`, the same for all positions.
    prior
        Distribution of the codes, a :class:`~vaebook.autoregressive.CategoricalMADE`. As long as it
        is untrained, all codes are equally probable. :func:`vq_objective` leaves it alone.

    References
    ----------
    .. [1] A. van den Oord, O. Vinyals and K. Kavukcuoglu (2017), Neural discrete representation
       learning, NeurIPS.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        codebook: Codebook,
        prior: CategoricalMADE,
    ) -> None:
        super().__init__()
        if prior.n_values != codebook.n_codes:
            fail("prior", f"{codebook.n_codes} values, as the codebook has", prior.n_values)
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.codebook, self.prior = codebook, prior

    @property
    def n_positions(self) -> int:
        """Length of a code."""
        return self.prior.n_positions

    def encode(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch positions d"]:
        """Return what the encoder says of each row, before it is quantised; differentiable."""
        self._check_data(x)
        return self.encoder(x).to(x.dtype).view(len(x), self.n_positions, self.codebook.n_dims)

    def codes(self, x: Float[Tensor, "batch pixels"]) -> Int[Tensor, "batch positions"]:
        """Return the code of each row (equation ``def-nearest-code``)."""
        with torch.no_grad():
            return nearest_codes(self.encode(x), self.codebook.vectors)

    def decode(self, codes: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch pixels"]:
        """Return the expected image of each code: a mean, not a sample."""
        return self.likelihood.mean(self._decode(self._look_up(codes)))

    def reconstruct(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch pixels"]:
        """Encode, quantise, decode to the expected image."""
        with torch.no_grad():
            return self.decode(self.codes(x))

    def sample(
        self, n: int, generator: Generator | None = None, mean: bool = False
    ) -> Float[Tensor, "n pixels"]:
        """Draw new images: a code from the prior, then x from p(x|z).

        Parameters
        ----------
        n
            Number of images.
        generator
            Source of randomness; torch's own if None.
        mean
            Return E[x|z] in place of the last draw.
        """
        with torch.no_grad():
            params = self._decode(self._look_up(self.prior.sample(n, generator)))
            return mean_or_draw(self.likelihood, params, generator, mean)

    def elbo_terms(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> CodeTerms:
        """Both terms of the bound (equation ``eq-code-bound``), in nats.

        Parameters
        ----------
        x
            Data, shape (batch, n_pixels).
        generator
            There for whoever asks any model: this bound has no noise.

        Returns
        -------
        CodeTerms
            log p(x|z) and log p(z) of the one code z of each datum, shape (batch,).

        Raises
        ------
        ValueError
            If `x` has the wrong shape or dtype, or does not suit the likelihood.
        """
        codes = self.codes(x)
        reconstruction = self.likelihood.log_prob(x, self._decode(self._look_up(codes)))
        return CodeTerms(reconstruction, self.prior.log_prob(codes))

    def elbo(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Lower bound of log p(x) by the one code of each datum; see :meth:`elbo_terms`."""
        reconstruction, log_prior = self.elbo_terms(x, generator)
        return reconstruction + log_prior

    def log_weights(
        self,
        x: Float[Tensor, "batch pixels"],
        k: int,
        generator: Generator | None = None,
        temperature: float = 1.0,
    ) -> Float[Tensor, "k batch"]:
        r"""Log importance weights of `k` codes a datum, drawn near the encoder's answer.

        Equation ``def-soft-codes`` of the book: at each position a code is drawn with a probability
        proportional to :math:`\exp(-\|z - e_j\|^2 / \tau)`. The mean over `k` is a bound of its
        own, and :meth:`log_prob_estimate` a tighter one.

        Parameters
        ----------
        x
            Data, shape (batch, n_pixels).
        k
            Draws for each datum.
        generator
            Source of randomness; torch's own if None.
        temperature
            The :math:`\tau` above, positive; near 0 it is the nearest code that is drawn.

        Returns
        -------
        Tensor
            log p(x, z) - log q(z|x), shape (k, batch), nats.
        """
        check_at_least("k", k, 1)
        log_q = self._log_q(x, temperature)
        noise = log_q.new_empty(k, *log_q.shape[:2]).normal_(generator=generator)
        return self._log_weights(x, log_q, noise)

    def _log_q(self, x: Tensor, temperature: float) -> Tensor:
        """Log-probability of each code at each position, (batch, positions, codes)."""
        if not 0 < temperature < math.inf:
            fail("temperature", "a positive number", temperature)
        distances = squared_distances(self.encode(x), self.codebook.vectors)
        return (-distances / temperature).log_softmax(-1)

    def _log_weights(self, x: Tensor, log_q: Tensor, noise: Tensor) -> Tensor:
        """Log-weights of the codes that standard normal `noise`, (k, batch, positions), picks."""
        codes = _codes_at(log_q, torch.special.ndtr(noise))
        log_q_codes = log_q.expand(*codes.shape, -1).gather(-1, codes[..., None]).sum((-2, -1))
        flat = codes.flatten(0, 1)
        params = self._decode(self._look_up(flat)).view(*codes.shape[:2], -1)
        log_prior = self.prior.log_prob(flat).view(codes.shape[:2])
        return self.likelihood.log_prob(x, params) + log_prior - log_q_codes

    def log_prob_estimate(
        self,
        x: Float[Tensor, "batch pixels"],
        k: int = 500,
        generator: Generator | None = None,
        temperature: float = 1.0,
    ) -> Float[Tensor, " batch"]:
        """Estimate log p(x) by importance sampling; arguments as for :meth:`log_weights`.

        The expectation is a lower bound that rises with `k`. It is evaluated in pieces, as that of
        a VAE is (:meth:`vaebook.vae.VAE.log_prob_estimate`).
        """
        check_at_least("k", k, 1)
        self._check_data(x)
        if isinstance(self.likelihood, Bernoulli) and not is_binary(x):
            fail("x", "binary pixels: a Bernoulli model gives grey ones no likelihood", "others")
        pieces = Pieces(k, rows_at_once(x, x.shape[1] * self.likelihood.n_per_pixel))
        with torch.no_grad():
            return torch.cat(
                [
                    self._log_prob_estimate(rows, pieces, generator, temperature)
                    for rows in x.split(pieces.n_data)
                ]
            )

    def _log_prob_estimate(
        self, x: Tensor, pieces: Pieces, generator: Generator | None, temperature: float
    ) -> Tensor:
        log_weights = partial(self._log_weights, x, self._log_q(x, temperature))
        return pieces.log_mean_weight(log_weights, x.new_empty(len(x), self.n_positions), generator)

    def restart_dead_codes(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> int:
        """Move each vector that is the code of no row of `x` to where a row of `x` lies.

        Parameters
        ----------
        x
            Data, shape (batch, n_pixels), at least as many as there should be codes in use.
        generator
            Source of the choice among the encoder's answers, on the CPU; torch's own if None.

        Returns
        -------
        int
            How many vectors were moved.
        """
        vectors = self.codebook.vectors
        with torch.no_grad():
            z = self.encode(x.to(vectors.device)).flatten(0, 1)
            used = torch.bincount(nearest_codes(z, vectors), minlength=len(vectors))
            dead = (used == 0).nonzero()[:, 0]
            chosen = torch.randint(len(z), (len(dead),), generator=generator)
            vectors[dead] = z[chosen.to(z.device)]
            if self.codebook.decay is not None:
                self.codebook.counts[dead] = 1
        return len(dead)

    def _look_up(self, codes: Tensor) -> Tensor:
        return self.codebook.vectors[codes]

    def _decode(self, z: Tensor) -> Tensor:
        """Parameters of p(x|z), from vectors of shape (batch, n_positions, n_dims)."""
        return self.decoder(z.flatten(1)).to(z.dtype)

    def _check_data(self, x: Tensor) -> None:
        check_batch("x", x)
        check_input("x", self.encoder, x)
        if isinstance(self.likelihood, Bernoulli) and not values_are_trusted():
            low, high = x.aminmax()
            if low < 0 or high > 1:
                fail("x", "pixels between 0 and 1", f"values from {low:.4g} to {high:.4g}")


def _codes_at(log_q: Tensor, u: Tensor) -> Tensor:
    """Codes where the cumulated probabilities of `log_q` reach `u`, shape (k, batch, positions)."""
    reached = log_q.exp().cumsum(-1)
    u = u.movedim(0, -1) * reached[..., -1:]  # the sum is 1 but for rounding
    return torch.searchsorted(reached, u.contiguous()).movedim(-1, 0)


def mlp_vqvae(
    n_pixels: int = 784,
    n_positions: int = 8,
    n_codes: int = 128,
    n_dims: int = 8,
    hidden: Sequence[int] = (400,),
    likelihood: Likelihood | None = None,
    decay: float | None = 0.99,
) -> VQVAE:
    """VQ-VAE of perceptrons, the decoder the encoder's mirror image.

    Parameters
    ----------
    n_pixels
        Dimension of a datum.
    n_positions, n_codes, n_dims
        Length of a code; vectors in the codebook; numbers in a vector.
    hidden
        Widths of the encoder's hidden layers, and of the prior's.
    likelihood
        Bernoulli if None.
    decay
        How the codebook learns; see :class:`Codebook`.

    Returns
    -------
    VQVAE
        The model, untrained.
    """
    check_sizes(n_pixels=n_pixels, n_positions=n_positions, n_codes=n_codes, n_dims=n_dims)
    likelihood = likelihood or Bernoulli()
    return VQVAE(
        mlp(n_pixels, n_positions * n_dims, hidden),
        mlp(n_positions * n_dims, n_pixels * likelihood.n_per_pixel, hidden[::-1]),
        likelihood,
        Codebook(n_codes, n_dims, decay),
        CategoricalMADE(n_positions, n_codes, hidden),
    )


# --- objective for vaebook.training.fit -------------------------------------------------------


def vq_objective(
    model: VQVAE, x: Tensor, generator: Generator | None = None, commitment: float = 0.25
) -> tuple[Tensor, dict[str, Tensor]]:
    """Objective of van den Oord et al. (equation ``def-vq-objective``), one a datum, in nats.

    No bound: the distances that keep encoder and codebook together are no log-probabilities, and
    the prior has no part in it. While `fit` trains, a codebook with a `decay` follows the data.
    `generator` is there for `fit`: nothing is drawn.
    """
    z = model.encode(x)
    codes = nearest_codes(z.detach(), model.codebook.vectors)
    quantised = model._look_up(codes)
    params = model._decode(straight_through(z, quantised))
    reconstruction = model.likelihood.log_prob(x, params)
    distance = (z - quantised.detach()).square().sum((-2, -1))
    objective = reconstruction - commitment * distance
    if model.codebook.decay is None:
        objective = objective - (z.detach() - quantised).square().sum((-2, -1))
    elif model.training:
        model.codebook.follow(z.detach().flatten(0, 1), codes.flatten())
    return objective, {"reconstruction": reconstruction, "distance": distance}
