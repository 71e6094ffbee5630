"""Two layers of latent variables, and three ways to infer them.

A `HierarchicalVAE` draws z₂ from a standard normal, z₁ given z₂, and x given z₁. So its prior of z₁
is learned. What differs between the three is the order of inference::

    vae = hierarchical_vae(inference="top-down")   # or "bottom-up", "ladder"
    vae.elbo(x)                                    # nats, one a datum
    vae.layer_terms(x)                             # with the rate of each layer
    vae.log_prob_estimate(x, k=500)                # importance sampling

Such a model is a :class:`~vaebook.vae.VAE` whose q(z|x) is no single Gaussian. It is a
:class:`DrawnVAE`, as is a VAE with a flow (:mod:`vaebook.flows`): its posterior is known by its
draws and their log-densities.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, check_float, check_in, check_sizes, fail
from vaebook.estimators import Pieces
from vaebook.gaussian import log_normal, reparameterize
from vaebook.likelihoods import Bernoulli, Likelihood
from vaebook.networks import interpolate, mlp
from vaebook.priors import StandardNormal
from vaebook.vae import VAE, ElboTerms, Encoder

Moments = tuple[Tensor, Tensor]  # mean and log-variance of a diagonal Gaussian


class Draw(NamedTuple):
    """Codes drawn from q, the layer next to the data first, and the rate of each layer in nats.

    The rate of a layer is what the code of this layer costs in one draw: its log-density under q
    less that under the prior, each given what is drawn before (equation ``def-layer-rate``).
    """

    codes: tuple[Tensor, ...]
    rates: tuple[Tensor, ...]


class LayerTerms(NamedTuple):
    """Terms of the bound in nats: one reconstruction a datum, one rate a layer and datum."""

    reconstruction: Tensor
    rates: Tensor


class DrawnVAE(VAE):
    """A VAE whose posterior is known by its draws and their log-densities alone.

    A subclass says in :meth:`draw` how noise becomes codes. Divergences are averages over draws.
    """

    n_noise: int

    @abstractmethod
    def draw(
        self, x: Float[Tensor, "batch pixels"], noise: Float[Tensor, "*k batch noise"]
    ) -> Draw:
        """Make codes for each datum of standard normal noise; differentiable."""

    def layer_terms(
        self,
        x: Float[Tensor, "batch pixels"],
        generator: Generator | None = None,
        n_samples: int = 1,
    ) -> LayerTerms:
        """Terms of the bound with the divergence split by layers (equation ``eq-layer-rates``).

        Parameters
        ----------
        x
            Data, shape (batch, n_pixels).
        generator
            Source of the noise; torch's own if None.
        n_samples
            Draws for each datum.

        Returns
        -------
        LayerTerms
            Reconstruction term, shape (batch,), and rates, shape (n_layers, batch), the layer next
            to the data first.
        """
        reconstruction, rates = self._terms(x, n_samples, generator)
        return LayerTerms(reconstruction.mean(0), rates.mean(1))

    def elbo_terms(
        self,
        x: Float[Tensor, "batch pixels"],
        generator: Generator | None = None,
        n_samples: int = 1,
        kl: str = "monte_carlo",
    ) -> ElboTerms:
        """Both terms of the bound, as for a VAE; there is no closed form of the divergence."""
        check_in("kl", kl, ("monte_carlo",))
        reconstruction, rates = self.layer_terms(x, generator, n_samples)
        return ElboTerms(reconstruction, rates.sum(0))

    def log_weights(
        self, x: Float[Tensor, "batch pixels"], k: int, generator: Generator | None = None
    ) -> Float[Tensor, "k batch"]:
        """Log importance weights of `k` draws a datum, over all layers; differentiable."""
        reconstruction, rates = self._terms(x, k, generator)
        return reconstruction - rates.sum(0)

    def activity(
        self,
        x: Float[Tensor, "n pixels"],
        generator: Generator | None = None,
        n_samples: int = 20,
    ) -> tuple[Float[Tensor, " latents"], ...]:
        """Variance over the data of each unit's posterior mean, layer by layer.

        Equation ``eq-activity`` of the book: the covariance of independent draws, here averages
        of `n_samples` draws each, which is right on average for any number of them.

        Parameters
        ----------
        x
            Data, at least two rows.
        generator
            Source of the noise; torch's own if None.
        n_samples
            Draws of each half, for each datum.

        Returns
        -------
        tuple of Tensor
            One number a unit, the layer next to the data first; below zero by chance only.
        """
        check_at_least("n_samples", n_samples, 1)
        self._check_data(x)
        if len(x) < 2:
            fail("x", "at least 2 rows, to see a mean vary", tuple(x.shape))
        with torch.inference_mode():
            halves = [self.draw(x, self._noise(x, n_samples, generator)).codes for _ in range(2)]
        pairs = [[codes.mean(0) for codes in layer] for layer in zip(*halves, strict=True)]
        return tuple(((a - a.mean(0)) * (b - b.mean(0))).sum(0) / (len(x) - 1) for a, b in pairs)

    def active_units(
        self,
        x: Float[Tensor, "n pixels"],
        threshold: float = 0.01,
        generator: Generator | None = None,
    ) -> Bool[Tensor, " latents"]:
        """Which units have an :meth:`activity` above `threshold`, the layers in a row."""
        return torch.cat(self.activity(x, generator)) > threshold

    def encode(self, x: Float[Tensor, "batch pixels"]) -> NoReturn:
        """Not available: q(z|x) is no single Gaussian; :meth:`draw` draws from it."""
        raise NotImplementedError(f"{type(self).__name__} has no Gaussian q(z|x): use its draws")

    def reconstruct(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> Float[Tensor, "batch pixels"]:
        """Draw codes from q(z|x), decode to the expected image."""
        self._check_data(x)
        with torch.no_grad():
            return self.decode(self.draw(x, self._noise(x, 1, generator)).codes[0][0])

    def interpolate(
        self,
        x_from: Float[Tensor, "batch pixels"],
        x_to: Float[Tensor, "batch pixels"],
        n_steps: int = 8,
    ) -> Float[Tensor, "batch n_steps pixels"]:
        """Decode points on the lines between two batches' codes, those that noise 0 gives."""
        self._check_data(x_from, "x_from")
        self._check_data(x_to, "x_to")

        def centre(x: Tensor) -> Tensor:
            return self.draw(x, x.new_zeros(len(x), self.n_noise)).codes[0]

        return interpolate(centre, self.decode, x_from, x_to, n_steps)

    def _noise(self, x: Tensor, k: int, generator: Generator | None) -> Tensor:
        return x.new_empty(k, len(x), self.n_noise).normal_(generator=generator)

    def _terms(self, x: Tensor, n_samples: int, generator: Generator | None) -> LayerTerms:
        """Reconstruction of each draw, (k, batch), and the rates, (layers, k, batch)."""
        check_at_least("n_samples", n_samples, 1)
        self._check_data(x)
        return self._terms_of(x, self._noise(x, n_samples, generator))

    def _terms_of(self, x: Tensor, noise: Tensor) -> LayerTerms:
        codes, rates = self.draw(x, noise)
        reconstruction = self.likelihood.log_prob(x, self._decode(codes[0]))
        return LayerTerms(reconstruction, torch.stack(rates))

    def _log_prob_estimate(self, x: Tensor, pieces: Pieces, generator: Generator | None) -> Tensor:
        def log_weights(noise: Tensor) -> Tensor:
            reconstruction, rates = self._terms_of(x, noise)
            return reconstruction - rates.sum(0)

        return pieces.log_mean_weight(log_weights, x.new_empty(len(x), self.n_noise), generator)


# --- two layers -------------------------------------------------------------------------------


class LayeredPrior(nn.Module):
    r"""The prior of two layers: z₂ standard normal, z₁ Gaussian given z₂ (``def-hierarchy``).

    Parameters
    ----------
    layers
        Units of z₁, next to the data, and of z₂.
    below
        Module from z₂ to mean and log-variance of z₁: an :class:`~vaebook.vae.Encoder`.
    """

    def __init__(self, layers: Sequence[int], below: nn.Module) -> None:
        super().__init__()
        _check_two("layers", layers)
        self.top = StandardNormal(layers[1])
        self.layers, self.below = tuple(layers), below

    @property
    def n_latents(self) -> int:
        """Dimension of z₁, the code that is decoded."""
        return self.layers[0]

    def given(self, z2: Float[Tensor, "*batch d2"]) -> Moments:
        """Mean and log-variance of p(z₁|z₂)."""
        return _gaussian(self.below, z2)

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n d1"]:
        """Draw `n` codes z₁, each from a z₂ of its own."""
        return reparameterize(*self.given(self.top.sample(n, generator)), generator)


class BottomUp(nn.Module):
    """Inference from the data upwards: q(z₁|x) q(z₂|z₁), equation ``def-bottom-up`` [1]_.

    Parameters
    ----------
    lower, upper
        Modules from x to mean and log-variance of z₁, and from z₁ to those of z₂.

    References
    ----------
    .. [1] Y. Burda, R. Grosse and R. Salakhutdinov (2016), Importance weighted autoencoders, ICLR.
    """

    def __init__(self, lower: nn.Module, upper: nn.Module) -> None:
        super().__init__()
        self.lower, self.upper = lower, upper

    def forward(self, x: Tensor, noise: Sequence[Tensor], prior: LayeredPrior) -> Draw:
        """Draw z₁, then z₂."""
        q1 = self.lower(x)
        z1 = _move(q1, noise[0])
        q2 = _gaussian(self.upper, z1)
        z2 = _move(q2, noise[1])
        return _draw(z1, z2, q1, q2, prior)


class TopDown(nn.Module):
    """Inference in the order of the model: q(z₂|x) q(z₁|z₂, x), equation ``def-top-down``.

    Parameters
    ----------
    trunk
        Module from x to features.
    upper, lower
        Modules from features to mean and log-variance of z₂, and from features and z₂, side by
        side, to those of z₁.
    """

    def __init__(self, trunk: nn.Module, upper: nn.Module, lower: nn.Module) -> None:
        super().__init__()
        self.trunk, self.upper, self.lower = trunk, upper, lower

    def forward(self, x: Tensor, noise: Sequence[Tensor], prior: LayeredPrior) -> Draw:
        """Draw z₂, then z₁."""
        features = self.trunk(x).to(x.dtype)
        q2 = self.upper(features)
        z2 = _move(q2, noise[1])
        q1 = self._lower(features, z2, prior)
        return _draw(_move(q1, noise[0]), z2, q1, q2, prior)

    def _lower(self, features: Tensor, z2: Tensor, prior: LayeredPrior) -> Moments:
        features = features.expand(*z2.shape[:-1], -1)
        return _gaussian(self.lower, torch.cat([features, z2], -1))


class Ladder(TopDown):
    """Top-down inference in which the prior of z₁ is one of two witnesses [1]_.

    What the data say of z₁ is a Gaussian, and what z₂ says is p(z₁|z₂). They are multiplied:
    precisions add up, means are averaged by precision (equation ``eq-ladder``).

    Parameters
    ----------
    trunk
        Module from x to features.
    upper, lower
        Modules from features to mean and log-variance of z₂, and of what x says of z₁.

    References
    ----------
    .. [1] C. K. Sønderby, T. Raiko, L. Maaløe, S. K. Sønderby and O. Winther (2016), Ladder
       variational autoencoders, NeurIPS.
    """

    def _lower(self, features: Tensor, z2: Tensor, prior: LayeredPrior) -> Moments:
        said: Moments = self.lower(features)
        return precision_weighted(*said, *prior.given(z2))


def precision_weighted(
    mean_a: Float[Tensor, "*#batch d"],
    log_var_a: Float[Tensor, "*#batch d"],
    mean_b: Float[Tensor, "*batch d"],
    log_var_b: Float[Tensor, "*batch d"],
) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch d"]]:
    """Multiply two diagonal Gaussians: mean and log-variance of the product, normalised.

    Equation ``eq-ladder`` of the book.

    Parameters
    ----------
    mean_a, log_var_a, mean_b, log_var_b
        Means and logarithms of the variances, shapes (..., d) that broadcast.
    """
    share_a = torch.sigmoid(log_var_b - log_var_a)  # precision of a over the sum of both
    return torch.lerp(mean_b, mean_a, share_a), log_var_a + torch.log(share_a)


class HierarchicalVAE(DrawnVAE):
    """VAE with two layers of latent variables (equation ``def-hierarchy``).

    Parameters
    ----------
    encoder
        A :class:`BottomUp`, :class:`TopDown` or :class:`Ladder`.
    decoder
        Module from z₁ to the parameters of p(x|z₁).
    likelihood
        A :class:`~vaebook.likelihoods.Likelihood`.
    prior
        A :class:`LayeredPrior`.
    """

    prior: LayeredPrior  # type: ignore[assignment]

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: LayeredPrior,
    ) -> None:
        nn.Module.__init__(self)  # a VAE's own wants a prior whose density is known
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        self.likelihood = likelihood
        self.n_noise = sum(prior.layers)

    def draw(
        self, x: Float[Tensor, "batch pixels"], noise: Float[Tensor, "*k batch noise"]
    ) -> Draw:
        """Make codes of noise: the first columns are those of z₁, the others those of z₂."""
        return self.encoder(x, noise.split(self.prior.layers, dim=-1), self.prior)


def hierarchical_vae(
    n_pixels: int = 784,
    n_latents: Sequence[int] = (40, 20),
    hidden: Sequence[int] = (200, 100),
    inference: str = "top-down",
    likelihood: Likelihood | None = None,
) -> HierarchicalVAE:
    """Two-layer VAE of perceptrons.

    Parameters
    ----------
    n_pixels
        Dimension of x.
    n_latents
        Units of z₁, next to the data, and of z₂.
    hidden
        Width of the networks between x and z₁, and of those between z₁ and z₂.
    inference : {"top-down", "ladder", "bottom-up"}
        The order of inference: :class:`TopDown`, :class:`Ladder` or :class:`BottomUp`.
    likelihood
        Bernoulli if None.

    Returns
    -------
    HierarchicalVAE
        The model, untrained.
    """
    check_sizes(n_pixels=n_pixels)
    check_in("inference", inference, ("top-down", "ladder", "bottom-up"))
    _check_two("n_latents", n_latents)
    _check_two("hidden", hidden)
    (d1, d2), (wide, narrow), likelihood = n_latents, hidden, likelihood or Bernoulli()
    prior = LayeredPrior(n_latents, Encoder(mlp(d2, 2 * d1, [narrow])))
    if inference == "bottom-up":
        encoder: nn.Module = BottomUp(
            Encoder(mlp(n_pixels, 2 * d1, [wide])), Encoder(mlp(d1, 2 * d2, [narrow]))
        )
    else:
        trunk = nn.Sequential(nn.Linear(n_pixels, wide), nn.SiLU())
        upper = Encoder(mlp(wide, 2 * d2, [narrow]))
        if inference == "ladder":
            encoder = Ladder(trunk, upper, Encoder(mlp(wide, 2 * d1, [])))
        else:
            encoder = TopDown(trunk, upper, Encoder(mlp(wide + d2, 2 * d1, [wide])))
    decoder = mlp(d1, n_pixels * likelihood.n_per_pixel, [wide])
    return HierarchicalVAE(encoder, decoder, likelihood, prior)


# --- the linear hierarchy, of which all is known ----------------------------------------------


def linear_posterior(
    weight: Float[Tensor, " d"], layer_var: float, noise_var: float
) -> Float[Tensor, "d+1 d+1"]:
    r"""Covariance of (z₂, z₁) given x in a linear hierarchy (equation ``def-linear-hierarchy``).

    :math:`z_2 \sim \mathcal N(0, 1)`, :math:`z_1 \mid z_2 \sim \mathcal N(a z_2, s^2 I)`,
    :math:`x \mid z_1 \sim \mathcal N(z_1, \sigma^2 I)`.

    Parameters
    ----------
    weight
        :math:`a`, shape (d,).
    layer_var, noise_var
        :math:`s^2` and :math:`\sigma^2`, positive.

    Returns
    -------
    Tensor
        The covariance, the same for every x, z₂ in its first row.
    """
    check_float("weight", weight, n_dims=1)
    for name, variance in (("layer_var", layer_var), ("noise_var", noise_var)):
        if not 0 < variance < math.inf:
            fail(name, "a positive number", variance)
    precision = torch.eye(len(weight) + 1, dtype=weight.dtype, device=weight.device)
    precision[0, 0] = 1 + weight.square().sum() / layer_var
    precision[1:, 1:] *= 1 / layer_var + 1 / noise_var
    precision[0, 1:] = precision[1:, 0] = -weight / layer_var
    return torch.linalg.inv(precision)


def mean_field_gap(covariance: Float[Tensor, "*batch d d"]) -> Float[Tensor, "*batch"]:
    r"""Nats that the best diagonal Gaussian loses to a Gaussian posterior.

    Equation ``eq-mean-field-gap`` of the book: the smallest :math:`D_{KL}(q \,\|\, p)` of all
    :math:`q` with a diagonal covariance.

    Parameters
    ----------
    covariance
        Covariance of the posterior, symmetric and positive definite.

    Returns
    -------
    Tensor
        Half the logarithm of the product of the precisions' diagonal and the determinant.
    """
    check_float("covariance", covariance)
    factor, info = torch.linalg.cholesky_ex(covariance)
    if info.any():
        fail("covariance", "a positive definite matrix", "another")
    diagonal = torch.cholesky_inverse(factor).diagonal(dim1=-2, dim2=-1)
    return 0.5 * diagonal.log().sum(-1) + factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _check_two(argument: str, sizes: Sequence[int]) -> None:
    if len(sizes) != 2:
        fail(argument, "one number for each of two layers", sizes)
    for size in sizes:
        check_at_least(argument, size, 1)


# --- parts ------------------------------------------------------------------------------------


def _gaussian(module: nn.Module, rows: Tensor) -> Moments:
    """Mean and log-variance for rows in any number of batch dimensions."""
    mean, log_var = module(rows.reshape(-1, rows.shape[-1]))
    shape = (*rows.shape[:-1], -1)
    return mean.view(shape), log_var.view(shape)


def _move(gaussian: Moments, noise: Tensor) -> Tensor:
    mean, log_var = gaussian
    return mean + torch.exp(0.5 * log_var) * noise


def _draw(
    z1: Tensor,
    z2: Tensor,
    q1: Moments,
    q2: Moments,
    prior: LayeredPrior,
) -> Draw:
    """Codes with their rates under the prior of two layers."""
    rate1 = log_normal(z1, *q1) - log_normal(z1, *prior.given(z2))
    return Draw((z1, z2), (rate1, log_normal(z2, *q2) - prior.top.log_prob(z2)))
