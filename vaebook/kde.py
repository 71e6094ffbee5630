"""Kernel density estimation: a small Gaussian around every datum, and how wide it should be.

The estimator follows scikit-learn's conventions, and takes the place of its class of this name. The
densities come from matrix products, a tile of pairs at a time: fast, and in bounded memory.
"""

from __future__ import annotations

import math
import os
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    check_random_state,
)
from torch import Tensor

from vaebook._checks import check_at_least, check_table, fail
from vaebook.gaussian import LOG_2PI

Array = NDArray[Any]

# A forked process inherits the threads' locks without the threads: torch would wait for them for
# ever. With one thread it asks for no other.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

RULES = ("scott", "silverman", "cross-validation")

# A tile of pairs is one megabyte: it stays in a core's cache, and matrix products are still large.
ROWS, COLUMNS = 64, 2048

# Squared distances by ‖x‖² - 2x·y + ‖y‖² lose the digits that the squares have above them. Up to
# this square, in bandwidths, an exponent is right to 1e-10; beyond, differences are taken first.
LARGEST_SQUARE = 1e5

# Below this a sum of kernels could have lost terms to underflow.
SMALLEST_SUM = 1e-250


class KernelDensity(BaseEstimator):
    r"""Kernel density estimate with a Gaussian kernel.

    Equation ``def-kde`` of the book: the average of :math:`\mathcal N(x_i, h^2 I)` over the data.

    Parameters
    ----------
    bandwidth
        The width :math:`h` of the kernel: a positive number, or a way to choose one.

        - ``"scott"``: :math:`\sigma\, n^{-1/(d+4)}` in `d` dimensions [1]_.
        - ``"silverman"``: :math:`\sigma\, (4 / (d+2))^{1/(d+4)}\, n^{-1/(d+4)}`, the best choice
          for Gaussian data (equation ``eq-kde-silverman``) [2]_.
        - ``"cross-validation"``: the greatest likelihood of each datum under the others (equation
          ``eq-kde-leave-one-out``).

        :math:`\sigma^2` is the average variance of the features, and `n` the effective number of
        data, :math:`(\sum w)^2 / \sum w^2`, if they have weights. scikit-learn's rules of the same
        names leave :math:`\sigma` out; on data with unit variance both agree.

    Attributes
    ----------
    bandwidth_ : float
        The bandwidth in use.
    X_ : ndarray of shape (n_samples, n_features)
        The data of positive weight.
    weights_ : ndarray of shape (n_samples,)
        Their weights; they add up to one.
    n_features_in_ : int
        Number of features.

    References
    ----------
    .. [1] D. W. Scott (1992), Multivariate density estimation, Wiley.
    .. [2] B. W. Silverman (1986), Density estimation for statistics and data analysis, Chapman and
       Hall, section 4.3.2.
    """

    def __init__(self, bandwidth: float | str = "scott") -> None:
        self.bandwidth = bandwidth

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Keep the data, and choose the bandwidth.

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).
        y
            Ignored; there for scikit-learn.
        sample_weight
            Non-negative weights, shape (n_samples,); all equal if None.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` or `sample_weight` is not as described, or `bandwidth` is neither a positive
            number nor the name of a rule; if a rule meets fewer than two different data; if the
            cross-validated likelihood has no maximum, because too many data occur twice.
        """
        data: Array = check_table(self, X, dtype=np.float64)
        weights: Array = _check_sample_weight(
            sample_weight, data, dtype=np.float64, ensure_non_negative=True
        )
        self.X_ = data[weights > 0]
        self.weights_ = weights[weights > 0] / weights.sum()
        self.bandwidth_ = self._choose_bandwidth()
        return self

    def score_samples(self, X: ArrayLike) -> Array:
        """Log-density of each row, exact, in nats.

        Parameters
        ----------
        X
            Points, shape (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples,)
            Finite also where the density itself is too small for a float.
        """
        check_is_fitted(self)
        points: Array = check_table(self, X, dtype=np.float64, reset=False)
        return self._log_density(points, self.bandwidth_)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Log-likelihood of all rows together, in nats: a sum, as in scikit-learn.

        Parameters
        ----------
        X
            Points, shape (n_samples, n_features).
        y
            Ignored; there for scikit-learn.
        """
        return float(self.score_samples(X).sum())

    def sample(self, n_samples: int = 1, random_state: int | RandomState | None = None) -> Array:
        """Draw new points: a datum at random, and Gaussian noise of the bandwidth.

        Parameters
        ----------
        n_samples
            How many, at least one.
        random_state
            Seed or generator.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        check_at_least("n_samples", n_samples, 1)
        rng = check_random_state(random_state)
        rows = rng.choice(len(self.X_), n_samples, p=self.weights_)
        return rng.normal(self.X_[rows], self.bandwidth_)

    def _choose_bandwidth(self) -> float:
        if self.bandwidth not in RULES:
            h = self.bandwidth
            if not isinstance(h, Real) or isinstance(h, bool) or not 0 < h < math.inf:
                wanted = "a positive number or one of " + ", ".join(map(repr, RULES))
                fail("bandwidth", wanted, repr(h))
            return float(h)
        n, d = 1 / float(np.square(self.weights_).sum()), self.X_.shape[1]
        deviations = self.X_ - self.weights_ @ self.X_
        variance = float((self.weights_ @ np.square(deviations)).mean())
        if len(self.X_) < 2 or variance == 0:
            wanted = f"at least two different rows, to choose a bandwidth by {self.bandwidth!r}"
            fail("X", wanted, f"n_samples = {len(self.X_)} with variance {variance:g}")
        scott = math.sqrt(variance * n / (n - 1)) * n ** (-1 / (d + 4))
        if self.bandwidth == "scott":
            return scott
        if self.bandwidth == "silverman":
            return scott * (4 / (d + 2)) ** (1 / (d + 4))
        return self._cross_validate(scott)

    def _cross_validate(self, start: float) -> float:
        """Maximise the leave-one-out likelihood: on a coarse grid first, then between its points.

        `start` only says where to look: ten powers of two below it, and three above.
        """

        def loss(log_h: float) -> float:
            return -float(self.weights_ @ self._log_density(None, math.exp(log_h)))

        grid = math.log(start) + math.log(2) * np.arange(-10, 4)
        losses = [loss(log_h) for log_h in grid]
        best = int(np.argmin(losses))
        if best == 0:
            got = "data of which most occur more than once: give a number as bandwidth"
            fail("X", "different rows for bandwidth='cross-validation'", got)
        bounds = grid[best - 1], grid[min(best + 1, len(grid) - 1)]
        found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
        return math.exp(found.x)

    def _log_density(self, X: Array | None, bandwidth: float) -> Array:
        """Log-density of each row of `X`; if None, of each datum under all the others."""
        # Centred, the squares are small; in bandwidths, the exponent is half a squared distance.
        centre = self.weights_ @ self.X_
        data = torch.from_numpy((self.X_ - centre) / bandwidth)
        points = data if X is None else torch.from_numpy((X - centre) / bandwidth)
        log_weights = torch.from_numpy(np.log(self.weights_))
        sums = _log_kernel_sums(points, data, log_weights, skip_self=X is None).numpy()
        if X is None:
            sums = sums - np.log1p(-self.weights_)
        return sums - self.X_.shape[1] * (math.log(bandwidth) + 0.5 * LOG_2PI)


def _log_kernel_sums(points: Tensor, data: Tensor, log_weights: Tensor, skip_self: bool) -> Tensor:
    """Return log Σ_j exp(w_j - ½‖x_i - y_j‖²) for each point x_i; without j = i if asked."""
    squares, data_squares = points.square().sum(1), data.square().sum(1)
    by_product = max(float(squares.max()), float(data_squares.max())) <= LARGEST_SQUARE
    # One product of extended rows gives the whole exponent, w + x·y - ½‖x‖² - ½‖y‖².
    one, constant = torch.ones_like(squares), log_weights - 0.5 * data_squares
    left = torch.column_stack([points, -0.5 * squares, one])
    right = torch.column_stack([data, torch.ones_like(constant), constant])

    def exponents(i: int, j: int) -> Tensor:
        rows, columns = slice(i, i + ROWS), slice(j, j + COLUMNS)
        if by_product:
            tile = left[rows] @ right[columns].T
        else:
            by_difference = "donot_use_mm_for_euclid_dist"
            distances = torch.cdist(points[rows], data[columns], compute_mode=by_difference)
            tile = log_weights[columns] - 0.5 * distances.square()
        if skip_self:
            tile.diagonal(i - j).fill_(-math.inf)
        return tile

    result, columns = torch.empty_like(squares), range(0, len(data), COLUMNS)
    for i in range(0, len(points), ROWS):
        sums = torch.stack([exponents(i, j).exp_().sum(1) for j in columns]).sum(0)
        if sums.min() > SMALLEST_SUM:
            result[i : i + ROWS] = sums.log()
        else:  # slower: the greatest exponent comes out first
            logs = torch.stack([exponents(i, j).logsumexp(1) for j in columns])
            result[i : i + ROWS] = logs.logsumexp(0)
    return result
