r"""Lossless compression by a model: asymmetric numeral systems, and bits-back coding with a VAE.

A `Stack` holds a message. A symbol of probability p is pushed onto it at a price of
:math:`-\log_2 p` bits, and popped again. `BitsBack` pushes whole images with a VAE, for the
negative ELBO each::

    coder = BitsBack(vae)
    message = coder.compress(images)                # bytes
    images = coder.decompress(message, len(images)) # the same images, pixel by pixel

Decoding repeats the arithmetic of encoding exactly: in double precision, one image at a time.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri
from torch import Tensor

from vaebook._checks import check_at_least, check_batch, fail, is_binary
from vaebook.likelihoods import Bernoulli
from vaebook.priors import StandardNormal
from vaebook.vae import VAE

__all__ = ["PRECISION", "BitsBack", "Stack", "edge_code_bits", "edge_prediction", "quantise"]

PRECISION = 24  # a probability is a number of 2**24ths
TOTAL = 1 << PRECISION
WORD = 32  # bits of a word of the message
LOW = 1 << WORD  # where words wait, the head is not below this


class Stack:
    """Message on which symbols are pushed, and from which they are popped: a coder of ANS.

    Asymmetric numeral systems [1]_, equation ``def-ans``, in the variant of ranges. The message is
    one long number. Its upper end, the head, has at most 64 bits and does all the arithmetic. Where
    it grows too long, its lower 32 bits are put away as a word; where it grows too short, the last
    such word comes back.

    Parameters
    ----------
    message
        A message as :meth:`to_bytes` writes it, or other bytes, a multiple of four; empty if not
        given. Symbols can be popped from any bytes: from random ones come random symbols.

    Attributes
    ----------
    head
        The upper end of the message.
    words
        The words put away, the last one on top.

    References
    ----------
    .. [1] J. Duda (2009), Asymmetric numeral systems, arXiv:0902.0271.
    """

    def __init__(self, message: bytes = b"") -> None:
        if len(message) % 4:
            fail("message", "a multiple of 4 bytes", f"{len(message)} bytes")
        if message and not any(message[-4:]):
            fail("message", "a last word other than 0, which no message ends in", "0")
        self.head = 0
        self.words = np.frombuffer(message, "<u4").tolist()
        self._refill()
        self._refill()

    def push(self, symbol: int, cdf: Sequence[int]) -> None:
        """Put a symbol on top: the message grows by the symbol's bits (``eq-ans-length``).

        Parameters
        ----------
        symbol
            An integer from 0.
        cdf
            Cumulative distribution in 2**24ths: from ``cdf[s]`` to ``cdf[s + 1]`` it is symbol s.
        """
        start, mass = int(cdf[symbol]), int(cdf[symbol + 1] - cdf[symbol])
        if self.head >= mass << (2 * WORD - PRECISION):
            self.words.append(self.head % LOW)
            self.head >>= WORD
        times, rest = divmod(self.head, mass)
        self.head = times * TOTAL + start + rest

    def pop(self, cdf: Sequence[int]) -> int:
        """Take the top symbol off: undoes :meth:`push` with the same `cdf`."""
        times, place = divmod(self.head, TOTAL)
        symbol = bisect_right(cdf, place) - 1
        start, mass = int(cdf[symbol]), int(cdf[symbol + 1] - cdf[symbol])
        self.head = times * mass + place - start
        self._refill()
        return symbol

    def _refill(self) -> None:
        if self.head < LOW and self.words:
            self.head = self.head * LOW + self.words.pop()

    @property
    def bits(self) -> float:
        """Length of the message with fractions of a bit: logarithm of the head, and the words."""
        return WORD * len(self.words) + float(np.log2(max(self.head, 1)))

    def to_bytes(self) -> bytes:
        """Write the message as bytes."""
        halves = [half for half in (self.head % LOW, self.head >> WORD) if self.head]
        while halves and not halves[-1]:
            halves.pop()
        return np.array([*self.words, *halves], "<u4").tobytes()


def quantise(cdf: ArrayLike) -> Integer[np.ndarray, "*batch n_edges"]:
    r"""Round distributions to 2**24ths, so that every symbol keeps a probability above 0.

    Equation ``def-quantised`` of the book: edge j of B symbols becomes
    :math:`j + \lfloor (2^{24} - B) F_j \rfloor`.

    Parameters
    ----------
    cdf : array, shape (..., B + 1)
        Cumulative distributions in the last axis: from 0 to 1, never falling.

    Returns
    -------
    ndarray of int64
        The same in 2**24ths: from 0 to 2**24, always rising.
    """
    cdf = np.asarray(cdf, dtype=np.float64)
    n_symbols = cdf.shape[-1] - 1
    steps = np.diff(cdf)
    if n_symbols < 1 or not (np.all(steps >= 0) and np.all(cdf[..., 0] == 0)):
        fail("cdf", "distributions that start at 0 and never fall", f"shape {cdf.shape}")
    if not np.all(cdf[..., -1] == 1):
        fail("cdf", "distributions that end at 1", f"{cdf[..., -1].min()}")
    return np.arange(n_symbols + 1) + np.floor((TOTAL - n_symbols) * cdf).astype(np.int64)


class BitsBack:
    r"""Lossless coder of binary images, from a VAE and a stack [1]_ [2]_.

    Equation ``eq-bits-back`` of the book. Each latent dimension is cut into buckets that the prior
    finds equally probable, and z is the middle of its buckets.

    Parameters
    ----------
    vae
        A VAE with a Bernoulli likelihood and a standard normal prior; the coder keeps a copy.
    bits_per_latent
        Logarithm of the number of buckets, from 1 to 16.
    dtype
        Precision of the networks. In single precision, two machines that add in another order
        disagree about the rounded probabilities, and cannot read each other's messages.

    References
    ----------
    .. [1] B. J. Frey and G. E. Hinton (1997), Efficient stochastic source coding and an
       application to a Bayesian network source model, The Computer Journal 40.
    .. [2] J. Townsend, T. Bird and D. Barber (2019), Practical lossless compression with latent
       variables using bits back coding, ICLR.
    """

    def __init__(
        self, vae: VAE, bits_per_latent: int = 10, dtype: torch.dtype = torch.float64
    ) -> None:
        check_at_least("bits_per_latent", bits_per_latent, 1)
        if bits_per_latent > 16:
            fail("bits_per_latent", "at most 16, or rounding would cost bits", bits_per_latent)
        if not isinstance(vae.likelihood, Bernoulli):
            fail("vae", "a Bernoulli likelihood", type(vae.likelihood).__name__)
        if not isinstance(vae.prior, StandardNormal):
            fail("vae", "a standard normal prior", type(vae.prior).__name__)
        self.vae, self.dtype = copy.deepcopy(vae).to(dtype).eval(), dtype
        n = 1 << bits_per_latent
        self.edges = ndtri(np.arange(n + 1) / n)
        self.middles = ndtri((np.arange(n) + 0.5) / n)
        self.prior = range(0, TOTAL + 1, TOTAL // n)  # equal buckets

    def push(self, stack: Stack, x: Sequence[int]) -> None:
        """Put an image on the stack; what z costs is partly paid by the bits that choose it.

        Parameters
        ----------
        stack
            The message so far.
        x
            Pixels, each 0 or 1.
        """
        code = [stack.pop(cdf) for cdf in self.posterior(x)]
        for pixel, cdf in zip(x, self.pixels(code), strict=True):
            stack.push(pixel, cdf)
        for bucket in code:
            stack.push(bucket, self.prior)

    def pop(self, stack: Stack) -> list[int]:
        """Take the top image off: every step of :meth:`push` undone, the last one first."""
        code = [stack.pop(self.prior) for _ in range(self.vae.n_latents)][::-1]
        x = [stack.pop(cdf) for cdf in self.pixels(code)[::-1]][::-1]
        for bucket, cdf in zip(code[::-1], self.posterior(x)[::-1], strict=True):
            stack.push(bucket, cdf)
        return x

    def posterior(self, x: Sequence[int]) -> Integer[np.ndarray, "latents edges"]:
        """Cumulative q(z|x) of the buckets of each latent dimension, in 2**24ths."""
        with torch.inference_mode():
            mean, log_var = self.vae.encode(torch.tensor([x], dtype=self.dtype))
        centre, spread = (part.double().numpy()[0, :, None] for part in (mean, 0.5 * log_var))
        return quantise(ndtr((self.edges - centre) / np.exp(spread)))

    def pixels(self, code: Sequence[int]) -> list[list[int]]:
        """Cumulative p(x|z) of each pixel, in 2**24ths, given the buckets of z."""
        z = torch.from_numpy(self.middles[list(code)]).to(self.dtype)
        with torch.inference_mode():
            dark = torch.sigmoid(-self.vae.decoder(z[None])[0].double()).numpy()
        ends = np.zeros_like(dark), dark, np.ones_like(dark)
        return quantise(np.stack(ends, -1)).tolist()

    def compress(self, images: Float[Tensor, "n pixels"], stack: Stack | None = None) -> bytes:
        """Write images as bytes.

        Parameters
        ----------
        images
            Binary pixels, shape (n, n_pixels).
        stack
            Where the first image borrows its bits from: random words, unless given. They are part
            of the message, and come back with the last image that is popped.
        """
        check_batch("images", images)
        if not is_binary(images):
            fail("images", "binary pixels", "others")
        stack = self.borrowed() if stack is None else stack
        for x in images.int().tolist():
            self.push(stack, x)
        return stack.to_bytes()

    def decompress(self, message: bytes, n: int) -> Float[Tensor, "n pixels"]:
        """Read `n` images back from what :meth:`compress` wrote."""
        check_at_least("n", n, 1)
        stack = Stack(message)
        return torch.tensor([self.pop(stack) for _ in range(n)][::-1], dtype=torch.float32)

    def borrowed(self, seed: int = 0) -> Stack:
        """Return a stack with as many random bits as the choice of one z may need."""
        n_bits = self.vae.n_latents * (len(self.prior) - 1).bit_length()
        words = np.random.PCG64(seed).random_raw(n_bits // 64 + 1).astype("<u8")
        return Stack(words.tobytes())


# --- images without a model -------------------------------------------------------------------


def edge_prediction(images: UInt8[np.ndarray, "*batch h w"]) -> Integer[np.ndarray, "*batch h w"]:
    """Predict each pixel by the median edge detector of LOCO-I, which is part of JPEG-LS [1]_.

    Equation ``def-edge-prediction`` of the book: of the pixel to the left, the one above, and their
    sum without the pixel between them, the middle value. At the left edge it is the pixel above,
    in the first row the one to the left, and for the first pixel 128.

    Parameters
    ----------
    images : uint8, shape (..., height, width)
        Single channels.

    Returns
    -------
    ndarray of int64, shape of `images`
        From 0 to 255.

    References
    ----------
    .. [1] M. J. Weinberger, G. Seroussi and G. Sapiro (2000), The LOCO-I lossless image compression
       algorithm: principles and standardization into JPEG-LS, IEEE Transactions on Image
       Processing 9(8).
    """
    left, above, corner = _neighbours(images)
    return np.clip(left + above - corner, np.minimum(left, above), np.maximum(left, above))


def _neighbours(images: np.ndarray) -> list[np.ndarray]:
    """Pixels to the left, above, and above to the left, with what stands for them at the edges."""
    padded = np.pad(images.astype(np.int64), [(0, 0)] * (images.ndim - 2) + [(1, 0), (1, 0)])
    padded[..., 0, :] = np.roll(
        padded[..., 1, :], 1, -1
    )  # above the first row: what is to the left
    padded[..., 0, :2] = 128
    padded[..., 1:, 0] = padded[..., :-1, 1]  # to the left of the first column: what is above
    return [padded[..., 1:, :-1], padded[..., :-1, 1:], padded[..., :-1, :-1]]


def edge_code_bits(images: UInt8[np.ndarray, "n channels h w"]) -> Integer[np.ndarray, " n"]:
    """Length of each image in a code after JPEG-LS, which knows nothing and learns as it goes.

    The residuals of :func:`edge_prediction`, modulo 256, get an adaptive Golomb-Rice code
    (equation ``def-golomb-rice``). Its parameter follows the sizes of the last residuals of the
    same channel and the same activity, which is the magnitude of the differences between the
    neighbours. Unlike JPEG-LS it has no run mode and corrects no bias.

    Parameters
    ----------
    images : uint8, shape (n, channels, height, width)
        Coded one after the other.

    Returns
    -------
    ndarray of int64, shape (n,)
        Bits of each image.
    """
    if images.dtype != np.uint8 or images.ndim != 4:
        fail("images", "uint8 of four dimensions", f"{images.dtype} of shape {images.shape}")
    residual = (images - edge_prediction(images) + 128) % 256 - 128
    left, above, corner = _neighbours(images)
    activity = np.frexp(np.abs(left - corner) + np.abs(above - corner))[1]
    context = activity + 10 * np.arange(images.shape[1])[:, None, None]
    counters = [(1, 4)] * (10 * images.shape[1])
    lengths = np.zeros(residual.shape, np.int64)
    for place, size, which in zip(
        np.ndindex(residual.shape), residual.ravel().tolist(), context.ravel().tolist(), strict=True
    ):
        n, total = counters[which]
        lengths[place] = golomb_rice_bits(size, rice_parameter(n, total))
        halve = n == 64  # forget slowly
        counters[which] = ((n + 1) >> halve, (total + abs(size)) >> halve)
    return lengths.sum((1, 2, 3))


def rice_parameter(n: int, total: int) -> int:
    """Smallest k with n 2^k >= total, for residuals of the mean size total / n."""
    return (max(total - 1, 0) // n).bit_length()


def golomb_rice_bits(residual: int, k: int) -> int:
    """Bits of a residual in the Golomb-Rice code with the parameter `k` (``def-golomb-rice``)."""
    folded = 2 * residual if residual >= 0 else -2 * residual - 1
    return (folded >> k) + 1 + k
