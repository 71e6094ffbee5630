r"""From Gaussian noise to any distribution: the probability integral transform and its inverse.

A *target* is anything with the methods ``cdf``, ``sf``, ``ppf`` and ``isf`` of SciPy's
distributions: a frozen distribution, or a :class:`NumericalInverse` made from a density alone::

    gaussian_to_target(noise, stats.expon())
    gaussian_to_target(noise, NumericalInverse(pdf=two_bumps))

In more than one dimension, :class:`Rosenblatt` takes the coordinates one after the other.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise
from scipy.special import ndtr, ndtri, softmax
from scipy.stats.sampling import (
    NumericalInverseHermite,
    NumericalInversePolynomial,
    UNURANError,
)
from sklearn.utils import check_random_state

from vaebook._checks import check_at_least, fail

Array = NDArray[Any]
Function = Callable[[Any], Any]


class Target(Protocol):
    """A one-dimensional distribution that can be inverted, from below and from above."""

    def ppf(self, q: Any, /) -> Any:
        """Quantile function: the smallest x with ``cdf(x) >= q``."""
        ...

    def isf(self, q: Any, /) -> Any:
        """Quantile function counted from above: the x with ``sf(x) = q``."""
        ...


# --- Gaussian to uniform to target ----------------------------------------------------------------


def gaussian_to_uniform(z: ArrayLike) -> Array:
    r"""Map standard Gaussian numbers to uniform ones by their own cdf.

    Equation ``eq-gaussian-to-uniform`` of the book, :math:`u = \Phi(z)`.

    Parameters
    ----------
    z
        Numbers of any shape.

    Returns
    -------
    ndarray
        Numbers in [0, 1]. From about z = 8.3 on the result is 1, because no double lies closer
        to 1. :func:`gaussian_to_target` goes around that.
    """
    return ndtr(_numbers("z", z))


def gaussian_to_target(z: ArrayLike, target: Target) -> Array:
    r"""Map standard Gaussian numbers to numbers that follow `target`.

    Equation ``eq-gaussian-to-target`` of the book, :math:`x = F^{-1}(\Phi(z))`. Where z > 0 it is
    computed from above, as :math:`x = \bar F^{-1}(\Phi(-z))` with :math:`\bar F = 1 - F`, because
    doubles are dense near 0 and sparse near 1 (equation ``eq-two-tails``).

    Parameters
    ----------
    z
        Numbers of any shape.
    target
        Distribution with ``ppf`` and ``isf``, continuous or discrete.

    Returns
    -------
    ndarray
        One number for each of `z`, never falling as z grows.
    """
    z = _numbers("z", z)
    tail = ndtr(-np.abs(z))  # at most 1/2, at full relative precision
    x, upper = np.empty_like(z), z > 0
    x[upper], x[~upper] = target.isf(tail[upper]), target.ppf(tail[~upper])
    return x


def target_to_gaussian(x: ArrayLike, target: Any) -> Array:
    r"""Map numbers that follow a continuous `target` to standard Gaussian ones.

    The inverse of :func:`gaussian_to_target`, :math:`z = \Phi^{-1}(F(x))`, computed from the
    nearer end.

    Parameters
    ----------
    x
        Numbers of any shape.
    target
        Continuous distribution with ``cdf`` and ``sf``.

    Returns
    -------
    ndarray
        One number for each of `x`.
    """
    x = _numbers("x", x)
    below, above = target.cdf(x), target.sf(x)
    return np.where(below < above, ndtri(below), -ndtri(above))


def pit_values(x: ArrayLike, target: Any, random_state: int | RandomState | None = None) -> Array:
    r"""Probability integral transform: uniform on [0, 1] if, and only if, x follows `target`.

    Equation ``eq-pit`` of the book for a continuous target: F(x). Of a discrete one F(x) is not
    uniform; the value is then drawn between F(x - 1) and F(x), equation ``eq-randomized-pit``.

    Parameters
    ----------
    x
        Data, of any shape.
    target
        Distribution with ``cdf``; on the integers, if it has ``pmf``.
    random_state
        Seed or generator of the draws, for a discrete target.

    Returns
    -------
    ndarray
        One value for each datum.
    """
    x = _numbers("x", x)
    if not hasattr(target, "pmf"):
        return target.cdf(x)
    position = check_random_state(random_state).uniform(size=x.shape)
    return target.cdf(x) - position * target.pmf(x)


# --- a quantile function where there is none in closed form --------------------------------------


class NumericalInverse:
    r"""Quantile function of a distribution that is known by its density, or by its cdf.

    A density is integrated and inverted once, into polynomials that are fast to evaluate (SciPy's
    ``NumericalInversePolynomial``, an algorithm of [1]_). A cdf is solved anew for each number:
    by a few secants from a rough table, and where these do not arrive by a root finder that keeps
    the root in a bracket.

    Parameters
    ----------
    pdf, log_pdf, cdf
        Exactly one of them. A density need not be normalised: its integral is found on the way. It
        is called with one number at a time, the cdf with arrays. Only its values are looked at, so
        a spike ten thousand times narrower than the rest can be missed: give the cdf then.
    sf
        Beside a cdf, what it leaves to 1, called with arrays: it resolves the upper tail, where the
        cdf rounds to 1.
    support
        Interval outside of which the density is zero.
    center
        A point where the density is not small, such as a mode; 0 if None.
    u_error
        Largest error of the cdf at ``ppf(u)``, as an approximation of u, for a density. It is
        absolute: quantiles of less than it, or of more than one minus it, are not resolved. For a
        cdf the error is that of its arithmetic. A warning says so where a density cannot be
        integrated as well: at a pole, say, unless it lies at 0, where doubles are dense.

    Raises
    ------
    ValueError
        If not exactly one function is given, or it is no density or no cdf on `support`; if the
        density is nowhere positive near `center`, or has mass that cannot be reached from there.

    References
    ----------
    .. [1] G. Derflinger, W. Hörmann and J. Leydold (2010), Random variate generation by numerical
       inversion when only the density is known, ACM Transactions on Modeling and Computer
       Simulation 20.
    """

    def __init__(
        self,
        *,
        pdf: Function | None = None,
        log_pdf: Function | None = None,
        cdf: Function | None = None,
        sf: Function | None = None,
        support: tuple[float, float] = (-np.inf, np.inf),
        center: float | None = None,
        u_error: float = 1e-10,
    ) -> None:
        functions = {"pdf": pdf, "log_pdf": log_pdf, "cdf": cdf}
        given = [name for name, function in functions.items() if function is not None]
        if len(given) != 1:
            fail("pdf, log_pdf, cdf", "exactly one of them", " and ".join(given) or "none")
        if not support[0] < support[1]:
            fail("support", "the two ends of an interval", support)
        if not 1e-13 <= u_error <= 1e-5:
            fail("u_error", "a number between 1e-13 and 1e-05", u_error)
        if sf is not None and cdf is None:
            fail("sf", "a cdf beside it", "none")
        self._upper = None if sf is None else _invert_sf(sf, support)
        if cdf is None:
            density = _Density()
            if pdf is not None:
                density.pdf = pdf
            else:
                density.logpdf = log_pdf
            inverse = _invert_density(density, support, center, u_error)
            self._quantile, self._draw = inverse.ppf, inverse.rvs
            self._cdf = lambda x: np.where(x < support[1], inverse.cdf(x), 1.0)
            self._sf = lambda x: 1 - self._cdf(x)
        else:
            self._cdf, self._sf = cdf, sf or (lambda x: 1 - cdf(x))
            self._quantile = _invert_cdf(cdf, support)
            self._draw = lambda n, random_state: self._quantile(random_state.uniform(size=n))

    def ppf(self, q: ArrayLike) -> Array:
        """Quantile of each number of `q`, which must lie in [0, 1]."""
        q = _probabilities("q", q)
        return self._quantile(q)

    def isf(self, q: ArrayLike) -> Array:
        """Quantile counted from above, of ``1 - q``; without `sf` it resolves as much as `ppf`."""
        q = _probabilities("q", q)
        return self._quantile(1 - q) if self._upper is None else self._upper(q)

    def cdf(self, x: ArrayLike) -> Array:
        """Probability of at most each number of `x`: the inverse of `ppf`, to `u_error`."""
        return self._cdf(_numbers("x", x))

    def sf(self, x: ArrayLike) -> Array:
        """Probability of more than each number of `x`, ``1 - cdf`` where no `sf` was given."""
        return self._sf(_numbers("x", x))

    def sample(self, n_samples: int = 1, random_state: int | RandomState | None = None) -> Array:
        """Draw independent numbers, shape (n_samples,), from uniform ones."""
        check_at_least("n_samples", n_samples, 1)
        return self._draw(n_samples, check_random_state(random_state))


class _Density:
    """What SciPy asks for: an object with a method `pdf`, `logpdf` or `cdf`."""

    pdf: Any
    logpdf: Any
    cdf: Any


def _invert_density(
    density: _Density, support: tuple[float, float], center: float | None, u_error: float
) -> Any:
    heights = functools.partial(_heights, density)
    _check_center(heights, support, 0.0 if center is None else center, u_error)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            inverse = NumericalInversePolynomial(
                density, domain=support, center=center, u_resolution=u_error
            )
    except UNURANError as error:
        wanted = f"a density on {support}, positive at center={center}, with a finite integral"
        fail("pdf or log_pdf", wanted, f"one that SciPy refuses: {error}")
    if any("full accuracy" in str(warning.message) for warning in caught):
        message = f"u_error={u_error:g} is not kept: rounding spoils the integral of the density"
        warnings.warn(message, stacklevel=3)
    _check_nothing_lost(heights, support, inverse, u_error)
    return inverse


def _heights(density: _Density, points: Array) -> Array:
    """Return the density at each point; zero where it cannot be computed, as far out."""

    def one(x: float) -> float:
        try:
            return density.pdf(x) if hasattr(density, "pdf") else math.exp(density.logpdf(x))
        except (ValueError, ArithmeticError):
            return 0.0

    return np.array([one(float(x)) for x in points])


def _check_center(
    heights_at: Function, support: tuple[float, float], center: float, u_error: float
) -> None:
    """Refuse a center that nothing is near, or near which doubles are too far apart."""
    offsets = np.geomspace(1e-9, 1e9, 181)
    around = np.concatenate([center - offsets, [center], center + offsets])
    around = around[(around > support[0]) & (around < support[1])]
    heights = heights_at(around)
    if len(around) and (heights == 0).all():
        fail("center", "a point near which the density is positive", center)
    if not 0 < heights.max(initial=0) < np.inf:  # a pole, or no density: SciPy will say
        return
    highest, width = around[heights.argmax()], np.ptp(around[heights > heights.max() / 2])
    if width > 0 and np.spacing(abs(highest)) / width > 10 * u_error:
        wanted = "a density that doubles resolve to u_error: move it towards 0, or raise u_error"
        fail("pdf or log_pdf", wanted, f"a width of {width:.2g} around {highest:.8g}")


def _check_nothing_lost(
    heights_at: Function, support: tuple[float, float], inverse: Any, u_error: float
) -> None:
    """Refuse a density of which there is more beyond the ends that were found from the center."""
    low, high = inverse.ppf([u_error, 1 - u_error])
    median, width = float(inverse.ppf(0.5)), high - low
    slope = 2e-3 / (inverse.ppf(0.501) - inverse.ppf(0.499))  # of the cdf, at the median
    ratio = 1.01
    steps = width * np.geomspace(1e-2, 1e3, 1158)
    for beyond in (high + steps, low - steps):
        beyond = beyond[(beyond > support[0]) & (beyond < support[1])]
        heights = heights_at(beyond) * slope / heights_at([median])
        masses = heights * steps[: len(beyond)] * (ratio - 1)
        if (masses > 100 * u_error).any():
            lost = beyond[masses.argmax()]
            wanted = "a density in one piece: invert each piece on a support of its own"
            fail("pdf or log_pdf", wanted, f"one with more of it near {lost:.4g}")


def _invert_cdf(cdf: Function, support: tuple[float, float]) -> Function:
    low, high = support
    ends = np.asarray(cdf(np.array(support, dtype=float)), dtype=float)
    if ends.shape != (2,) or not np.allclose(ends, [0, 1], rtol=0, atol=1e-9):
        fail("cdf", f"0 and 1 at the ends of {support}", ends.tolist())
    table = _table(cdf, support)

    def quantile(q: Array) -> Array:
        x = np.where(q <= 0, low, high).astype(float)
        inside = (q > 0) & (q < 1)
        found, left = _by_secants(cdf, q[inside], table)
        found[left] = _by_brackets(cdf, q[inside][left], support)
        x[inside] = found
        return x

    return quantile


def _invert_sf(sf: Function, support: tuple[float, float]) -> Function:
    """Invert from above: the survival function, mirrored, is a cdf."""
    mirrored = _invert_cdf(lambda x: sf(-x), (-support[1], -support[0]))
    return lambda q: -mirrored(q)


def _table(cdf: Function, support: tuple[float, float]) -> Function:
    """Rough quantiles, by lines between the points of a table; NaN where SciPy cannot make one."""
    distribution = _Density()
    distribution.cdf = lambda x: cdf(np.array([x]))[0]
    try:
        rough = NumericalInverseHermite(distribution, domain=support, order=1, u_resolution=1e-5)
    except UNURANError:
        return lambda q: np.full_like(q, np.nan)
    return rough.ppf


def _by_secants(cdf: Function, q: Array, table: Function) -> tuple[Array, Array]:
    """Quantiles of `q`, and the indices of those that a few secants do not find to rounding."""
    x, left = table(q), np.arange(len(q))
    ahead = 1e-3 * q * (1 - q)
    slope = (table(q + ahead) - x) / ahead
    error, step = np.full_like(q, np.nan), np.zeros_like(q)
    for _ in range(8):
        before, error = error, cdf(x[left]) - q[left]
        with np.errstate(divide="ignore", invalid="ignore"):
            secant = step / (error - before)
        slope = np.where(np.isfinite(secant) & (secant > 0), secant, slope)
        wrong = ~(np.abs(error) <= 1e-14 * q[left])
        left, error, slope = left[wrong], error[wrong], slope[wrong]
        if len(left) == 0:
            break
        step = -slope * error
        x[left] += step
    return x, left


def _by_brackets(cdf: Function, q: Array, support: tuple[float, float]) -> Array:
    low, high = support
    start = low if np.isfinite(low) else min(-1.0, high - 1)
    stop = high if np.isfinite(high) else max(1.0, start + 1)

    def error(x: Array, q: Array) -> Array:
        return cdf(x) - q

    begin = np.full(q.shape, start), np.full(q.shape, stop)
    options = {"args": (q,), "maxiter": 2000}
    found = elementwise.bracket_root(error, *begin, xmin=low, xmax=high, **options)
    return elementwise.find_root(error, found.bracket, **options).x


# --- more than one dimension ----------------------------------------------------------------------


class Rosenblatt:
    r"""The transform in d dimensions, for a mixture of Gaussians: one coordinate after the other.

    Equation ``def-rosenblatt`` of the book [1]_: :math:`u_i = F(x_i \mid x_1, \dots, x_{i-1})`.
    Given the coordinates before it, each coordinate of a mixture follows a mixture of
    one-dimensional Gaussians, whose weights are the responsibilities so far.

    Parameters
    ----------
    weights
        Weights of the components, shape (k,), adding up to 1.
    means
        Their means, shape (k, d).
    covariances
        Their covariance matrices, shape (k, d, d).

    Raises
    ------
    ValueError
        If shapes disagree, weights are no distribution, or a covariance is not positive definite.

    References
    ----------
    .. [1] M. Rosenblatt (1952), Remarks on a multivariate transformation, Annals of Mathematical
       Statistics 23.
    """

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> None:
        self.weights, self.means = _numbers("weights", weights), _numbers("means", means)
        if self.weights.ndim != 1 or (self.weights < 0).any() or abs(self.weights.sum() - 1) > 1e-8:
            fail("weights", "non-negative numbers that add up to 1", self.weights.tolist())
        k = len(self.weights)
        if self.means.ndim != 2 or len(self.means) != k:
            fail("means", f"shape ({k}, d)", self.means.shape)
        covariances, d = _numbers("covariances", covariances), self.means.shape[1]
        if covariances.shape != (k, d, d):
            fail("covariances", f"shape {(k, d, d)}", covariances.shape)
        try:
            self.factors = np.linalg.cholesky(covariances)
        except np.linalg.LinAlgError as error:
            fail("covariances", "positive definite matrices", error)

    @classmethod
    def of(cls, mixture: Any) -> Self:
        """Take the parameters of a fitted mixture of full covariances, ours or scikit-learn's."""
        return cls(mixture.weights_, mixture.means_, mixture.covariances_)

    def to_uniform(self, x: ArrayLike) -> Array:
        """Map data of the mixture, shape (n, d), to independent uniform numbers, shape (n, d)."""
        x = self._rows("x", x)
        u, past = np.empty_like(x), _Past(self, len(x))
        for i in range(x.shape[1]):
            weights, means, scales = past.conditional(i)
            u[:, i] = (weights * ndtr((x[:, i, None] - means) / scales)).sum(1)
            past.observe(i, x[:, i])
        return u

    def from_uniform(self, u: ArrayLike) -> Array:
        """Map independent uniform numbers, shape (n, d), to data of the mixture, shape (n, d)."""
        u = self._rows("u", u)
        if ((u <= 0) | (u >= 1)).any():
            fail("u", "numbers between 0 and 1, both excluded", f"{u.min():.4g} to {u.max():.4g}")
        x, past = np.empty_like(u), _Past(self, len(u))
        for i in range(u.shape[1]):
            x[:, i] = _mixture_quantile(u[:, i], *past.conditional(i))
            past.observe(i, x[:, i])
        return x

    def _rows(self, argument: str, values: ArrayLike) -> Array:
        rows, d = _numbers(argument, values), self.means.shape[1]
        if rows.ndim != 2 or rows.shape[1] != d:
            fail(argument, f"shape (n, {d})", rows.shape)
        return rows


class _Past:
    """What the coordinates seen so far say about the next one, for n data and k components."""

    def __init__(self, mixture: Rosenblatt, n: int) -> None:
        self.means, self.factors = mixture.means, mixture.factors
        self.noise = np.zeros((n, *self.means.shape))  # x in each component's whitened coordinates
        with np.errstate(divide="ignore"):  # a component of weight zero stays at zero
            self.log_weights = np.tile(np.log(mixture.weights), (n, 1))

    def conditional(self, i: int) -> tuple[Array, Array, Array]:
        """Weights and means (n, k), and standard deviations (k,), of coordinate i given those."""
        means = self.means[:, i] + np.einsum(
            "kj,nkj->nk", self.factors[:, i, :i], self.noise[..., :i]
        )
        return softmax(self.log_weights, axis=1), means, self.factors[:, i, i]

    def observe(self, i: int, x: Array) -> None:
        """Take note of coordinate i."""
        _, means, scales = self.conditional(i)
        self.noise[..., i] = (x[:, None] - means) / scales
        self.log_weights -= 0.5 * self.noise[..., i] ** 2 + np.log(scales)


def _mixture_quantile(u: Array, weights: Array, means: Array, scales: Array) -> Array:
    """Solve for the quantile, which lies between those of the single components."""
    quantiles = means + scales * ndtri(u)[:, None]
    k = len(scales)

    def error(x: Array, u: Array, *parameters: Array) -> Array:
        pairs = zip(parameters[:k], parameters[k:], scales, strict=True)
        return sum(w * ndtr((x - m) / s) for w, m, s in pairs) - u

    # a little wider: with a single component the two ends are the same, up to rounding
    bracket = quantiles.min(1) - 1e-8 * scales.max(), quantiles.max(1) + 1e-8 * scales.max()
    return elementwise.find_root(error, bracket, args=(u, *weights.T, *means.T)).x


def _probabilities(argument: str, values: ArrayLike) -> Array:
    numbers = _numbers(argument, values)
    if ((numbers < 0) | (numbers > 1)).any():
        got = f"{numbers.min():.4g} to {numbers.max():.4g}"
        fail(argument, "probabilities between 0 and 1", got)
    return numbers


def _numbers(argument: str, values: ArrayLike) -> Array:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        fail(argument, "numbers", error)
    if np.isnan(numbers).any():
        fail(argument, "numbers", "NaN")
    return numbers
