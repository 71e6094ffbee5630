"""Likelihoods p(x|z): what a decoder's numbers say about pixels.

Each has the same three questions (:class:`Likelihood`)::

    likelihood = Bernoulli()
    likelihood.log_prob(x, params)       # nats, one a datum: a sum over pixels
    likelihood.mean(params)              # the expected image
    likelihood.sample(params)            # an image drawn pixel by pixel
"""

from __future__ import annotations

import itertools
import math
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, check_rows, fail
from vaebook.gaussian import log_normal, reparameterize


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


def mean_or_draw(
    likelihood: Likelihood, params: Tensor, generator: Generator | None, mean: bool
) -> Tensor:
    """Return what a model shows of decoded codes: the expected images if `mean`, else a draw."""
    return likelihood.mean(params) if mean else likelihood.sample(params, generator)


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


class DiscretizedLogistic:
    r"""Grey levels 0 to `n_levels` - 1, each with a probability of its own [1]_.

    Equation ``eq-discretized-logistic`` of the book. A pixel x in [0, 1] is a level j over
    `n_levels` - 1. Its probability is the mass that a mixture of K logistic distributions puts
    between the midpoints to the neighbouring levels,

    .. math::
       P(j) = \sum_{k=1}^K \pi_k \left[ \sigma\left(\frac{b_j - \mu_k}{s_k}\right)
              - \sigma\left(\frac{b_{j-1} - \mu_k}{s_k}\right) \right] ,

    where :math:`b_j` is the midpoint above level j, and the darkest and the brightest level take
    all that lies beyond them. So it is a likelihood of 8-bit images, grey or colour, whose
    colour channels count as pixels of their own: independent given z.

    The decoder gives, for each pixel, K logits of :math:`\pi`, K shifts of the means from places
    spread evenly over [0, 1], and K logarithms of the scales beside 0.1 (bounded smoothly to ±5).

    Parameters
    ----------
    n_components
        Number K of logistic distributions a pixel.
    n_levels
        Number of levels; 256 for 8 bits.

    References
    ----------
    .. [1] T. Salimans, A. Karpathy, X. Chen and D. P. Kingma (2017), PixelCNN++: improving the
       PixelCNN with discretized logistic mixture likelihood and other modifications, ICLR.
    """

    log_scale_bound = 5.0

    def __init__(self, n_components: int = 5, n_levels: int = 256) -> None:
        check_at_least("n_components", n_components, 1)
        check_at_least("n_levels", n_levels, 2)
        self.n_components, self.n_levels = n_components, n_levels
        self.n_per_pixel = 3 * n_components

    def log_prob(
        self, x: Float[Tensor, "*#batch D"], params: Float[Tensor, "*batch P"]
    ) -> Float[Tensor, "*batch"]:
        """Log-probability of `x`, summed over pixels, in nats.

        Pixels between the levels are taken to be the nearest one.
        """
        log_weight, mean, log_scale = self._mixture(params)
        check_rows(params=mean[..., 0, :], x=x)
        top = self.n_levels - 1
        level = (x * top).round().unsqueeze(-2)
        per_scale = torch.exp(-log_scale)
        below = ((level - 0.5) / top - mean) * per_scale
        above = ((level + 0.5) / top - mean) * per_scale
        # σ(b) - σ(a) = σ(b) σ(-a) (1 - exp(a - b)): a product, of which nothing cancels. Below the
        # darkest level a is -∞, above the brightest b is ∞, and their factors are 1.
        is_not_first, is_not_last = (level > 0).to(x.dtype), (level < top).to(x.dtype)
        log_mass = (
            is_not_last * F.logsigmoid(above)
            + is_not_first * F.logsigmoid(-below)
            + is_not_first * is_not_last * torch.log(-torch.expm1(-per_scale / top))
        )
        return torch.logsumexp(log_weight + log_mass, -2).sum(-1)

    def mean(self, params: Float[Tensor, "*batch P"]) -> Float[Tensor, "*batch D"]:
        """Mean of each pixel over its levels: the sum over j of P(level > j), over their number."""
        log_weight, mean, log_scale = self._mixture(params)
        weight, per_scale = log_weight.exp(), torch.exp(-log_scale)
        top = self.n_levels - 1
        total = torch.zeros_like(mean[..., 0, :])
        for level in range(top):  # one at a time: the levels side by side would take much memory
            beyond = torch.sigmoid((mean - (level + 0.5) / top) * per_scale)
            total = total + (weight * beyond).sum(-2)
        return total / top

    def sample(
        self, params: Float[Tensor, "*batch P"], generator: Generator | None = None
    ) -> Float[Tensor, "*batch D"]:
        """Levels over their number: a component, a draw from it, and the level nearest to it."""
        log_weight, mean, log_scale = self._mixture(params)
        weight = log_weight.exp().movedim(-2, -1)
        chosen = torch.multinomial(
            weight.reshape(-1, self.n_components), 1, generator=generator
        ).reshape(mean[..., :1, :].shape)
        uniform = torch.empty_like(mean[..., :1, :]).uniform_(generator=generator)
        noise = torch.logit(uniform, eps=torch.finfo(uniform.dtype).tiny)
        drawn = mean.gather(-2, chosen) + log_scale.gather(-2, chosen).exp() * noise
        top = self.n_levels - 1
        return ((drawn * top).round().clamp(0, top) / top).squeeze(-2)

    def check_levels(self, x: Tensor) -> None:
        """Require pixels that are levels: only they have a probability."""
        level = x * (self.n_levels - 1)
        if (level - level.round()).abs().max() > 0.01:
            fail("x", f"levels 0 to {self.n_levels - 1} over {self.n_levels - 1}", "others between")

    def _mixture(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, means and log-scales, each of shape (..., n_components, D)."""
        check_rows(params=params)
        n_columns, k = params.shape[-1], self.n_components
        if n_columns % self.n_per_pixel:
            fail("params", f"{self.n_per_pixel} columns a pixel", n_columns)
        logits, shift, raw = params.unflatten(-1, (3, k, -1)).unbind(-3)
        places = (torch.arange(k, dtype=params.dtype, device=params.device) + 0.5) / k
        log_scale = self.log_scale_bound * torch.tanh(raw / self.log_scale_bound) + math.log(0.1)
        return logits.log_softmax(-2), shift + places[:, None], log_scale


def bits_per_dimension(nats: Float[Tensor, "*batch"], n_dimensions: int) -> Float[Tensor, "*batch"]:
    r"""Length of an ideal code for each pixel, from log-probabilities of whole images.

    Equation ``def-bits-per-dimension`` of the book: :math:`-\log_2 p(x) / D`. Of a density, not a
    probability, it depends on the unit of x and may be negative.

    Parameters
    ----------
    nats
        Log-probabilities or bounds, in nats.
    n_dimensions
        Number D of pixels, counting each colour channel.
    """
    check_at_least("n_dimensions", n_dimensions, 1)
    return -nats / (n_dimensions * math.log(2))


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
        self.height, self.width, self.reach = height, width, reach
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
        return Bernoulli().log_prob(x, params + self.context(x).to(x.dtype))

    def context(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """What the neighbours add to each logit."""
        return F.linear(x, self.weight * self.mask)

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


class CausalNetwork(CausalBernoulli):
    r"""A :class:`CausalBernoulli` whose pixels have hidden units to look at their neighbours with.

    Equation ``def-causal-network`` of the book. Pixel i has `n_hidden` units of its own, and the
    logit

    .. math::
       \ell_i(z) + \sum_{j<i} W_{ij} x_j
       + \sum_k v_{ik} \operatorname{silu}\Big( b_{ik} + \sum_{j<i} U_{ikj} x_j \Big) .

    So it can learn any conditional of few pixels, which a linear function cannot. It has
    (n_hidden + 1) D² weights for D pixels, and is meant for small images. With W = 0 and v = 0, as
    it starts, it is :class:`Bernoulli`.

    Parameters
    ----------
    height, width
        Of the image.
    reach
        How many rows and columns away a pixel looks.
    n_hidden
        Hidden units a pixel.
    """

    def __init__(self, height: int = 7, width: int = 7, reach: int = 6, n_hidden: int = 16) -> None:
        super().__init__(height, width, reach)
        check_at_least("n_hidden", n_hidden, 1)
        self.n_hidden = n_hidden
        n_pixels = height * width
        self.into = nn.Parameter(torch.randn(n_hidden, n_pixels, n_pixels) / math.sqrt(n_pixels))
        self.bias = nn.Parameter(torch.zeros(n_hidden, n_pixels))
        self.out = nn.Parameter(torch.zeros(n_hidden, n_pixels))

    def context(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """What the neighbours add to each logit."""
        units = F.linear(x, (self.into * self.mask).flatten(0, 1))
        bent = F.silu(units.unflatten(-1, self.bias.shape) + self.bias)
        return super().context(x) + (bent * self.out).sum(-2)

    def sample(
        self, params: Float[Tensor, "*batch D"], generator: Generator | None = None
    ) -> Float[Tensor, "*batch D"]:
        """Pixels of 0 and 1, drawn one after the other."""
        x = torch.zeros_like(params)
        for i in range(params.shape[-1]):
            probability = torch.sigmoid(params[..., i] + self.context(x)[..., i])
            x[..., i] = torch.bernoulli(probability, generator=generator)
        return x


class CausalLogistic(nn.Module):
    r"""Levels 0 to `n_levels` - 1 of pixels that also look at what was drawn before them.

    Equation ``def-causal-logistic`` of the book. Pixels come in reading order, and the channels of
    a pixel one after the other. Number i has the distribution of :class:`DiscretizedLogistic` with
    all its means moved by :math:`\sum_{j<i} W_{ij} (x_j - \frac{1}{2})`: a causal convolution over
    the pixels above and to the left, at most `reach` rows and columns away, and the channels of the
    pixel itself that came before. Reach 0 leaves these channels alone, which are PixelCNN++'s way
    with colours [1]_. With W = 0, as it starts, it is :class:`DiscretizedLogistic`.

    Parameters
    ----------
    image
        Channels, height and width.
    reach
        How many rows and columns away a pixel looks.
    n_components, n_levels
        As for :class:`DiscretizedLogistic`.

    References
    ----------
    .. [1] T. Salimans, A. Karpathy, X. Chen and D. P. Kingma (2017), PixelCNN++: improving the
       PixelCNN with discretized logistic mixture likelihood and other modifications, ICLR.
    """

    mask: Tensor

    def __init__(
        self,
        image: tuple[int, int, int] = (3, 16, 16),
        reach: int = 1,
        n_components: int = 5,
        n_levels: int = 256,
    ) -> None:
        super().__init__()
        if len(image) != 3:
            fail("image", "channels, height and width", image)
        for side in image:
            check_at_least("image", side, 1)
        check_at_least("reach", reach, 0)
        self.image, self.reach = tuple(image), reach
        self.n_components, self.n_levels = n_components, n_levels
        self.levels = DiscretizedLogistic(n_components, n_levels)
        self.n_per_pixel = self.levels.n_per_pixel
        channels = image[0]
        self.weight = nn.Parameter(torch.zeros(channels, channels, reach + 1, 2 * reach + 1))
        mask = torch.ones_like(self.weight, dtype=torch.bool)
        mask[..., -1, reach:] = False  # of the last row what lies to the left
        mask[..., -1, reach] = mask.new_ones(channels, channels).tril(-1)
        self.register_buffer("mask", mask, persistent=False)

    def log_prob(
        self, x: Float[Tensor, "*#batch D"], params: Float[Tensor, "*batch P"]
    ) -> Float[Tensor, "*batch"]:
        """Log-probability of `x`, summed over pixels by the chain rule, in nats.

        Pixels between the levels are taken to be the nearest one.
        """
        check_rows(math.prod(self.image), x=x)
        check_rows(params=params)
        reach = self.reach
        # bfloat16 would lose whole nats, and so might TF32, to which a GPU rounds float32 here
        precise = torch.float64 if x.is_cuda else x.dtype
        grey = x.reshape(-1, *self.image) - 0.5
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(grey, (reach, reach, reach, 0)).to(precise)
            moved = F.conv2d(padded, (self.weight * self.mask).to(precise))
        moved = moved.reshape(x.shape).to(x.dtype)
        return self.levels.log_prob(x, self._move(params, moved))

    def mean(self, params: Float[Tensor, "*batch P"]) -> Float[Tensor, "*batch D"]:
        """Not available: the pixels depend on one another; average samples in its place."""
        raise NotImplementedError("CausalLogistic has no closed-form mean: average its samples")

    def sample(
        self, params: Float[Tensor, "*batch P"], generator: Generator | None = None
    ) -> Float[Tensor, "*batch D"]:
        """Levels over their number, drawn one after the other."""
        check_rows(self.n_per_pixel * math.prod(self.image), params=params)
        weight, reach = (self.weight * self.mask).detach(), self.reach  # levels have no gradient
        each = params.reshape(-1, self.n_per_pixel, *self.image)
        drawn = each.new_zeros(len(each), *self.image)
        padded = F.pad(drawn, (reach, reach, reach, 0))  # holds x - 1/2, and 0 outside
        channels, height, width = self.image
        for row, column, channel in itertools.product(*map(range, (height, width, channels))):
            near = padded[..., row : row + reach + 1, column : column + 2 * reach + 1]
            moved = (near * weight[channel]).sum((1, 2, 3))[:, None]
            own = self._move(each[:, :, channel, row, column], moved)
            level = self.levels.sample(own, generator)[:, 0]
            drawn[:, channel, row, column] = level
            padded[:, channel, row + reach, column + reach] = level - 0.5
        return drawn.reshape(*params.shape[:-1], math.prod(self.image))

    def check_levels(self, x: Tensor) -> None:
        """Require pixels that are levels: only they have a probability."""
        self.levels.check_levels(x)

    def _move(self, params: Tensor, moved: Tensor) -> Tensor:
        """Add to the means of all components, which are the second of three parts."""
        logits, shift, raw = params.unflatten(-1, (3, self.n_components, -1)).unbind(-3)
        shift = shift + moved.unsqueeze(-2)
        parts = torch.broadcast_tensors(logits, shift, raw)
        return torch.stack(parts, -3).flatten(-3)
