"""Gaussian mixtures, fitted by expectation-maximization.

`GaussianMixture` has the parameters, attributes and methods of scikit-learn's class, so either can
stand in the other's place. What it computes are plain functions, one an equation, above it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numba
import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular
from scipy.special import entr
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from vaebook._checks import check_table, fail, warn_of_units
from vaebook.gaussian import LOG_2PI

Array = NDArray[Any]
CovarianceType = Literal["full", "tied", "diag", "spherical"]

FLOATS = [np.float64, np.float32]

# Rows taken at a time: their differences from a mean stay in the processor's cache.
BLOCK = 1024

DEGENERATE = (
    "Fitting the mixture model failed because some components have ill-defined empirical "
    "covariance (for instance caused by singleton or collapsed samples). Try to decrease the "
    "number of components, increase reg_covar, or scale the input data."
)
NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase "
    "max_iter, tol, or check for degenerate data."
)


class MixtureParameters(NamedTuple):
    """What a mixture is made of: K weights, K means, and covariances in the shape of their type.

    The covariances have shape (K, d, d) for "full", (d, d) for "tied", (K, d) for "diag" and
    (K,) for "spherical".
    """

    weights: Array
    means: Array
    covariances: Array


def precision_cholesky(covariances: Array, covariance_type: CovarianceType = "full") -> Array:
    r"""Factors that whiten: triangular :math:`P_k` with :math:`P_k P_k^\top = \Sigma_k^{-1}`.

    Equation ``eq-gaussian-by-cholesky`` of the book. No covariance is ever inverted.

    Parameters
    ----------
    covariances
        In the shape of their type, see `MixtureParameters`.
    covariance_type
        Which type that is.

    Returns
    -------
    ndarray
        Shape of `covariances`; for "diag" and "spherical" one over the standard deviations.

    Raises
    ------
    ValueError
        If a covariance is not positive definite, or singular to rounding.
    """
    covariances = _floats(covariances)
    if covariance_type == "tied":
        return precision_cholesky(covariances[None])[0]
    if covariance_type != "full":
        if not np.all(covariances > 0):
            raise ValueError(DEGENERATE)
        return 1 / np.sqrt(covariances)
    identity = np.eye(covariances.shape[-1], dtype=covariances.dtype)
    factors = np.empty_like(covariances)
    for k, covariance in enumerate(covariances):
        variances = np.diagonal(covariance)
        try:
            lower = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise ValueError(DEGENERATE) from None
        # what the other coordinates leave of a variance may be nothing but rounding
        if np.any(np.diagonal(lower) ** 2 <= np.finfo(lower.dtype).eps * variances):
            raise ValueError(DEGENERATE)
        factors[k] = solve_triangular(lower, identity, lower=True).T
    return factors


def log_joint(
    X: Array,
    weights: Array,
    means: Array,
    precisions_cholesky: Array,
    covariance_type: CovarianceType = "full",
) -> Array:
    r"""Log-density of each datum together with each component.

    Equation ``eq-mixture-joint`` of the book.

    Parameters
    ----------
    X
        Data, shape (n, d).
    weights, means
        Of the K components, shapes (K,) and (K, d).
    precisions_cholesky
        What :func:`precision_cholesky` returns.
    covariance_type
        Type of the covariances.

    Returns
    -------
    ndarray
        :math:`\log \pi_k + \log N(x_i; \mu_k, \Sigma_k)` in nats, shape (n, K).
    """
    X, means = _floats(X), _floats(means)
    factors = _one_each(_floats(precisions_cholesky), covariance_type, len(means))
    with np.errstate(over="ignore", invalid="ignore"):
        squares = _whitened_squares(X, means, factors, covariance_type)
    far = ~(squares.min(axis=0) < np.inf)
    if far.any():
        squares = squares.astype(np.float64)
        squares[:, far] = _far_squares(X[far], means, factors, covariance_type)
    if covariance_type in ("full", "tied"):
        scales = np.diagonal(factors, axis1=1, axis2=2)
    else:
        scales = np.ones_like(means) * factors.reshape(len(means), -1)
    joint = np.multiply(squares, -0.5, out=squares)
    joint += (np.log(scales).sum(axis=1) - 0.5 * LOG_2PI * X.shape[1])[:, None]
    with np.errstate(divide="ignore"):  # an empty component has log-weight minus infinity
        joint += np.log(weights)[:, None]
    return joint.T


def _whitened_squares(
    X: Array, means: Array, factors: Array, covariance_type: CovarianceType
) -> Array:
    """Squared distance of each row from each mean, (K, n), in units of the deviations."""
    squares = np.empty((len(means), len(X)), X.dtype)  # a component a row: sums over k run fast
    if covariance_type in ("full", "tied"):
        for rows in _blocks(X):
            columns = np.ascontiguousarray(X[rows].T)  # sums over features run fast, too
            for k, (mean, factor) in enumerate(zip(means, factors, strict=True)):
                white = factor.T @ (columns - mean[:, None])
                squares[k, rows] = np.square(white, out=white).sum(axis=0)
    else:
        scales = np.ones_like(means) * factors.reshape(len(means), -1)
        _scaled_squares(X, means, scales, squares)
    return squares


def _far_squares(X: Array, means: Array, factors: Array, covariance_type: CovarianceType) -> Array:
    """Squared distances of rows so far out that their squares overflow, (K, n).

    In double precision; what overflows there, too, is brought back to the largest float: seen from
    so far the means are one point, and the ratios of the distances are those of the whitened rows.
    """
    X, means, factors = (values.astype(np.float64) for values in (X, means, factors))
    with np.errstate(over="ignore", invalid="ignore"):
        squares = _whitened_squares(X, means, factors, covariance_type)
    lost = ~(squares.max(axis=0) < np.inf)
    rows = X[lost] / np.abs(X[lost]).max(axis=1, keepdims=True)
    ratios = _whitened_squares(rows, np.zeros_like(means), factors, covariance_type)
    squares[:, lost] = ratios / ratios.max(axis=0) * np.finfo(np.float64).max
    return squares


@numba.njit(cache=True, fastmath={"reassoc"})
def _scaled_squares(X: Array, means: Array, scales: Array, squares: Array) -> None:
    """Fill in each squared distance from each mean, (K, n), where the axes are independent."""
    for i in range(len(X)):
        for k in range(len(means)):
            total = 0.0
            for j in range(X.shape[1]):
                total += ((X[i, j] - means[k, j]) * scales[k, j]) ** 2
            squares[k, i] = total


@numba.njit(cache=True)
def _add_squares(X: Array, resp: Array, means: Array, scatter: Array) -> None:
    """Add the weighted squared differences from each mean to `scatter`, (K, d)."""
    for i in range(len(X)):
        for k in range(len(means)):
            for j in range(X.shape[1]):
                scatter[k, j] += resp[i, k] * (X[i, j] - means[k, j]) ** 2


def _blocks(X: Array) -> Iterator[slice]:
    return (slice(i, i + BLOCK) for i in range(0, len(X), BLOCK))


def _floats(values: ArrayLike) -> Array:
    """Floats of at least single precision, in this machine's byte order."""
    values = np.asarray(values)
    return values.astype(np.result_type(values, np.float32), copy=False)


def _color(white: Array, factor: Array) -> Array:
    """Undo whitening: give standard normal rows the covariance that belongs to `factor`."""
    if factor.ndim < 2:
        return white / factor
    return solve_triangular(factor.T, white.T, lower=True).T


def _one_each(factors: Array, covariance_type: CovarianceType, n_components: int) -> Array:
    if covariance_type != "tied":
        return factors
    return np.broadcast_to(factors, (n_components, *factors.shape))


def responsibilities(log_joint: Array) -> tuple[Array, Array]:
    r"""E-step: evidence of each datum, and posterior of the component given the datum.

    Equations ``eq-mixture-density`` and ``eq-responsibilities`` of the book.

    Parameters
    ----------
    log_joint
        What :func:`log_joint` returns, shape (n, K).

    Returns
    -------
    log_evidence : ndarray
        :math:`\log p(x_i)` in nats, shape (n,).
    resp : ndarray
        :math:`p(z_k = 1 | x_i)`, shape (n, K).
    """
    largest = log_joint.max(axis=1, keepdims=True)  # taken out, so that no exponential overflows
    resp = np.exp(log_joint - largest)
    total = resp.sum(axis=1, keepdims=True)
    resp /= total
    return (largest + np.log(total))[:, 0], resp


def m_step(
    X: Array,
    resp: Array,
    covariance_type: CovarianceType = "full",
    reg_covar: float = 1e-6,
) -> MixtureParameters:
    r"""M-step: the parameters that maximise the expected complete-data log-likelihood.

    Equation ``eq-m-step`` of the book; `reg_covar` is then added to every variance.

    Parameters
    ----------
    X
        Data, shape (n, d).
    resp
        Responsibilities, shape (n, K).
    covariance_type
        Type of the covariances to return.
    reg_covar
        Non-negative number added to the variances, in squared units of the data.

    Returns
    -------
    MixtureParameters
        Weights, means and covariances. A component responsible for nothing gets weight zero and
        lies at the mean of the data.
    """
    X, resp = _floats(X), _floats(resp)
    tiny = 10 * np.finfo(resp.dtype).eps  # a count at the data's mean, lest sizes be zero
    sizes = resp.sum(axis=0) + tiny
    means = (resp.T @ X + tiny * X.mean(axis=0)) / sizes[:, None]
    full = covariance_type in ("full", "tied")
    covariances = scatter(X, resp, means, full=full)
    if covariance_type == "tied":
        covariances = covariances.sum(axis=0) / sizes.sum()
    else:
        covariances /= sizes.reshape(-1, *[1] * (covariances.ndim - 1))
    if covariance_type == "spherical":
        covariances = covariances.mean(axis=1)
    covariances += reg_covar * np.eye(X.shape[1], dtype=X.dtype) if full else reg_covar
    return MixtureParameters(sizes / sizes.sum(), means, covariances)


def scatter(X: Array, resp: Array, means: Array, *, full: bool) -> Array:
    """Weighted sums of squared differences from each mean: matrices, or their diagonals.

    Parameters
    ----------
    X
        Data, shape (n, d).
    resp
        Weight of each datum for each of K means, shape (n, K).
    means
        Shape (K, d).
    full
        Whether to return matrices.

    Returns
    -------
    ndarray
        Shape (K, d, d), or (K, d) for the diagonals alone.
    """
    n_components, d = means.shape
    if not full:
        squares = np.zeros((n_components, d))  # in double precision: there are many terms
        _add_squares(X, resp, means, squares)
        return squares.astype(X.dtype)
    products = np.zeros((n_components, d, d), X.dtype)
    for rows in _blocks(X):
        columns = np.ascontiguousarray(X[rows].T)
        for k, mean in enumerate(means):
            away = columns - mean[:, None]
            products[k] += (resp[rows, k] * away) @ away.T
    return products


def _check_spread(largest: Array, covariances: Array, covariance_type: CovarianceType) -> None:
    """Refuse variances that are nothing but the rounding of the data, at most `largest`."""
    full = covariance_type in ("full", "tied")
    variances = np.diagonal(covariances.T) if full else covariances.reshape(len(covariances), -1)
    if np.any(variances <= (10 * np.finfo(largest.dtype).eps * largest) ** 2):
        raise ValueError(DEGENERATE)


def complete_log_likelihood(log_joint: Array, one_hot: Array) -> Array:
    r"""Log-likelihood of data whose components are known.

    Equation ``eq-complete-log-likelihood`` of the book. With responsibilities in place of one-hot
    rows it is the expected value, the function that the M-step maximises.

    Parameters
    ----------
    log_joint
        What :func:`log_joint` returns, shape (n, K).
    one_hot
        Rows with a single one, or with non-negative weights, shape (n, K).

    Returns
    -------
    ndarray
        :math:`\sum_k z_{ik} (\log \pi_k + \log N(x_i; \mu_k, \Sigma_k))`, shape (n,).
    """
    return (one_hot * np.where(one_hot == 0, 0, log_joint)).sum(axis=1)  # 0 times -inf is 0


def lower_bound(log_joint: Array, resp: Array) -> Array:
    r"""ELBO of each datum for a categorical posterior `resp`.

    Equation ``def-mixture-elbo`` of the book; equal to :math:`\log p(x_i)` where `resp` are the
    responsibilities of the same parameters.

    Parameters
    ----------
    log_joint
        What :func:`log_joint` returns, shape (n, K).
    resp
        Any distribution over the components for each datum, shape (n, K).

    Returns
    -------
    ndarray
        :math:`\sum_k q_{ik} (\log p(x_i, z_k) - \log q_{ik})` in nats, shape (n,).
    """
    return complete_log_likelihood(log_joint, resp) + entr(resp).sum(axis=1)


def em_steps(
    X: Array,
    parameters: MixtureParameters,
    covariance_type: CovarianceType = "full",
    reg_covar: float = 1e-6,
) -> Iterator[tuple[float, MixtureParameters]]:
    r"""Endless EM: an E-step and an M-step at a time.

    Equation ``eq-em-monotone`` of the book.

    Parameters
    ----------
    X
        Data, shape (n, d).
    parameters
        Where to start.
    covariance_type
        Type of the covariances.
    reg_covar
        Non-negative number added to every variance.

    Yields
    ------
    bound : float
        Mean log-likelihood of the data before the step, in nats a datum.
    parameters : MixtureParameters
        After the step.

    Raises
    ------
    ValueError
        If a component has shrunk onto a datum, or onto a plane.
    """
    largest = np.abs(X).max(axis=0)
    while True:
        _check_spread(largest, parameters.covariances, covariance_type)
        factors = precision_cholesky(parameters.covariances, covariance_type)
        joint = log_joint(X, parameters.weights, parameters.means, factors, covariance_type)
        log_evidence, resp = responsibilities(joint)
        parameters = m_step(X, resp, covariance_type, reg_covar)
        yield float(log_evidence.mean()), parameters


class _Run(NamedTuple):
    """One start's parameters, its history of bounds, and whether it converged."""

    parameters: MixtureParameters
    bounds: list[float]
    converged: bool


class GaussianMixture(DensityMixin, BaseEstimator):
    r"""Mixture of Gaussians, fitted by expectation-maximization.

    Equations ``eq-mixture-density`` and ``eq-em-monotone`` of the book. Parameters, attributes and
    methods are those of `sklearn.mixture.GaussianMixture` [1]_.

    Parameters
    ----------
    n_components
        Number of components K.
    covariance_type : {"full", "tied", "diag", "spherical"}
        One covariance matrix each, one for all, variances along the axes, or one variance each.
    tol
        Fitting stops when a step raises the mean log-likelihood by less, in nats.
    reg_covar
        Non-negative number added to every variance, in squared units of the data. Without it a
        component can shrink onto one datum and its density grow without limit.
    max_iter
        Largest number of steps.
    n_init
        Number of starts, of which the best is kept.
    init_params : {"kmeans", "k-means++", "random", "random_from_data"}
        How to start: clusters of k-means, centres of k-means++, random responsibilities, or data
        drawn at random as means.
    weights_init, means_init, precisions_init
        Starting values; those not given come from `init_params`. Precisions are inverse
        covariances, in the shape of `covariance_type`.
    random_state
        Source of randomness of the starts and of `sample`.
    warm_start
        Whether a further `fit` goes on from where the last one stopped.
    verbose, verbose_interval
        Whether to print progress, and every how many steps.

    Attributes
    ----------
    weights_, means_, covariances_ : ndarray
        Of the best start, see `MixtureParameters`.
    precisions_, precisions_cholesky_ : ndarray
        Inverse covariances and their triangular factors, in the shape of `covariances_`.
    converged_ : bool
        Whether the best start converged within `max_iter` steps.
    n_iter_ : int
        Number of steps of the best start.
    lower_bounds_ : list of float
        Mean log-likelihood of the data before each of these steps, in nats a datum: the bound
        that each E-step makes touch.
    lower_bound_ : float
        Last of them.

    References
    ----------
    .. [1] F. Pedregosa et al. (2011), Scikit-learn: Machine learning in Python, JMLR 12.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical"})],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({"kmeans", "k-means++", "random", "random_from_data"})],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceType = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: Literal["kmeans", "k-means++", "random", "random_from_data"] = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: int | RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    # --- fitting

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Fit by EM from each start and keep the best.

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features), at least two rows.
        y
            Ignored; there for scikit-learn.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is out of range, there are fewer data than components, or a covariance
            becomes singular.
        """
        self.fit_predict(X)
        return self

    def fit_predict(self, X: ArrayLike, y: object = None) -> Array:
        """Fit, and name the most probable component of each datum.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        ndarray
            Component numbers, shape (n_samples,); what `predict` returns for `X`.
        """
        self._validate_params()
        rows: Array = check_table(self, X, dtype=FLOATS, ensure_min_samples=2)
        if len(rows) < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = "
                f"{self.n_components}, n_samples = {len(rows)}"
            )
        given = self._given(rows)
        random_state = check_random_state(self.random_state)
        goes_on = self.warm_start and hasattr(self, "converged_")
        if goes_on:
            self._check_same_kind(rows)
        self._warn_of_units(rows)
        best: _Run | None = None
        for attempt in range(1 if goes_on else self.n_init):
            if goes_on:
                start, bound = self._parameters(), self.lower_bound_
            else:
                start, bound = self._start(rows, given, random_state), -np.inf
            run = self._run(rows, start, bound, attempt)
            if best is None or run.bounds[-1:] > best.bounds[-1:]:
                best = run
        assert best is not None  # n_init is at least one
        if not best.converged and self.max_iter > 0:
            warnings.warn(NOT_CONVERGED, ConvergenceWarning, stacklevel=2)
        self._set(best)
        return self._log_joint(rows).argmax(axis=1)

    def _check_same_kind(self, X: Array) -> None:
        """Refuse to go on from parameters of another shape."""
        before = (*self.means_.shape, self._kind)
        now = (self.n_components, X.shape[1], self.covariance_type)
        if before != now:
            wanted = f"components, features and covariances as before, {before}, to go on from"
            fail("warm_start", wanted, now)

    def _warn_of_units(self, X: Array) -> None:
        """Say so where `reg_covar`, in squared units of the data, is larger than they spread."""
        says = f"reg_covar={self.reg_covar:g} is larger than"
        warn_of_units(says, self.reg_covar, X.var(axis=0, dtype=np.float64), stacklevel=3)

    def _run(self, X: Array, start: MixtureParameters, bound: float, attempt: int) -> _Run:
        """EM from one start: until the bound rises by less than `tol`, or `max_iter` steps."""
        run = _Run(start, [], False)
        steps = em_steps(X, start, self.covariance_type, self.reg_covar)
        for _, (new_bound, parameters) in zip(range(self.max_iter), steps, strict=False):
            run = _Run(parameters, [*run.bounds, new_bound], abs(new_bound - bound) < self.tol)
            bound = new_bound
            if self.verbose and len(run.bounds) % self.verbose_interval == 0:
                print(f"start {attempt}, step {len(run.bounds)}: {bound:.6f} nats a datum")
            if run.converged:
                break
        return run

    def _given(self, X: Array) -> tuple[Array | None, Array | None, Array | None]:
        """Check and convert the starting weights, means and covariances, or None."""
        n, d, kind = self.n_components, X.shape[1], self.covariance_type
        precisions = _checked(
            f"{kind} precision",
            self.precisions_init,
            {"full": (n, d, d), "tied": (d, d), "diag": (n, d), "spherical": (n,)}[kind],
            X.dtype,
        )
        weights = _checked("weights", self.weights_init, (n,), X.dtype)
        if weights is not None:
            _check_weights(weights)
        means = _checked("means", self.means_init, (n, d), X.dtype)
        covariances = None if precisions is None else _inverse(precisions, kind)
        return weights, means, covariances

    def _start(
        self, X: Array, given: tuple[Array | None, ...], random_state: RandomState
    ) -> MixtureParameters:
        known = [value for value in given if value is not None]
        if len(known) == len(given):
            return MixtureParameters(*known)
        resp = self._start_responsibilities(X, random_state)
        computed = m_step(X, resp, self.covariance_type, self.reg_covar)
        pairs = zip(given, computed, strict=True)
        return MixtureParameters(*(new if value is None else value for value, new in pairs))

    def _start_responsibilities(self, X: Array, random_state: RandomState) -> Array:
        n, n_components = len(X), self.n_components
        resp = np.zeros((n, n_components), X.dtype)
        if self.init_params == "random":
            resp = random_state.uniform(size=resp.shape).astype(X.dtype)
            return resp / resp.sum(axis=1, keepdims=True)
        if self.init_params == "kmeans":
            clusters = KMeans(n_components, n_init=1, random_state=random_state).fit_predict(X)
            resp[np.arange(n), clusters] = 1
            return resp
        if self.init_params == "k-means++":
            _, chosen = kmeans_plusplus(X, n_components, random_state=random_state)
        else:
            chosen = random_state.choice(n, n_components, replace=False)
        resp[chosen, np.arange(n_components)] = 1
        return resp

    def _parameters(self) -> MixtureParameters:
        return MixtureParameters(self.weights_, self.means_, self.covariances_)

    def _set(self, run: _Run) -> None:
        self.weights_, self.means_, self.covariances_ = run.parameters
        self._fitted_kind = self.covariance_type
        factors = precision_cholesky(self.covariances_, self.covariance_type)
        self.precisions_cholesky_ = factors
        if self.covariance_type in ("full", "tied"):
            self.precisions_ = factors @ np.swapaxes(factors, -1, -2)
        else:
            self.precisions_ = factors**2
        self.converged_ = run.converged
        self.n_iter_ = len(run.bounds)
        self.lower_bounds_ = run.bounds
        self.lower_bound_ = run.bounds[-1] if run.bounds else -np.inf

    # --- the fitted model

    @property
    def _kind(self) -> CovarianceType:
        """Type of the covariances as they are, whatever the parameter has become since."""
        return getattr(self, "_fitted_kind", self.covariance_type)

    def _rows(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        rows: Array = check_table(self, X, dtype=FLOATS, reset=False)
        return rows

    def _log_joint(self, X: Array) -> Array:
        return log_joint(X, self.weights_, self.means_, self.precisions_cholesky_, self._kind)

    def score_samples(self, X: ArrayLike) -> Array:
        r"""Exact log-density of each datum (equation ``eq-mixture-density``).

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).

        Returns
        -------
        ndarray
            :math:`\log p(x_i)` in nats, shape (n_samples,).
        """
        return responsibilities(self._log_joint(self._rows(X)))[0]

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Mean of `score_samples`, in nats a datum.

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).
        y
            Ignored; there for scikit-learn.

        Returns
        -------
        float
            Mean log-density.
        """
        return float(self.score_samples(X).mean())

    def predict_proba(self, X: ArrayLike) -> Array:
        """Responsibilities of the components for each datum (equation ``eq-responsibilities``).

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).

        Returns
        -------
        ndarray
            Posterior probabilities, shape (n_samples, n_components); rows sum to one.
        """
        return responsibilities(self._log_joint(self._rows(X)))[1]

    def predict(self, X: ArrayLike) -> Array:
        """Most probable component of each datum.

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).

        Returns
        -------
        ndarray
            Component numbers, shape (n_samples,).
        """
        return self._log_joint(self._rows(X)).argmax(axis=1)

    def sample(self, n_samples: int = 1) -> tuple[Array, Array]:
        """Draw data as the story tells it: a component by its weight, then a Gaussian point.

        Equation ``def-mixture-story`` of the book.

        Parameters
        ----------
        n_samples
            How many, at least one.

        Returns
        -------
        X : ndarray
            Data, shape (n_samples, n_features), ordered by component.
        y : ndarray
            Component of each, shape (n_samples,).

        Raises
        ------
        ValueError
            If `n_samples` is less than one.
        """
        check_is_fitted(self)
        if n_samples < 1:
            wanted = "The sampling requires at least one sample."
            raise ValueError(f"Invalid value for 'n_samples': {n_samples} . {wanted}")
        random_state = check_random_state(self.random_state)
        weights = self.weights_.astype(np.float64)  # single precision may sum to more than one
        counts = random_state.multinomial(n_samples, weights / weights.sum())
        y = np.repeat(np.arange(len(counts)), counts)
        white = random_state.standard_normal((n_samples, self.means_.shape[1]))
        factors = _one_each(self.precisions_cholesky_, self._kind, len(counts))
        parts = np.split(white, np.cumsum(counts)[:-1])
        colored = [_color(z, factor) for z, factor in zip(parts, factors, strict=True)]
        return self.means_[y] + np.concatenate(colored), y

    # --- model choice

    def _n_parameters(self) -> int:
        """Count free parameters: weights that sum to one, means, covariances."""
        n, d = self.means_.shape
        matrix = d * (d + 1) // 2
        covariance = {"full": n * matrix, "tied": matrix, "diag": n * d, "spherical": n}
        return covariance[self._kind] + n * d + n - 1

    def aic(self, X: ArrayLike) -> float:
        """Akaike's criterion on `X`: the lower the better (equation ``def-aic-bic``).

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).

        Returns
        -------
        float
            Twice the number of parameters less twice the log-likelihood, in nats.
        """
        return float(2 * self._n_parameters() - 2 * self.score_samples(X).sum())

    def bic(self, X: ArrayLike) -> float:
        """Bayesian information criterion on `X`: the lower the better (``def-aic-bic``).

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).

        Returns
        -------
        float
            Number of parameters times log n, less twice the log-likelihood, in nats.
        """
        log_prob = self.score_samples(X)
        return float(self._n_parameters() * np.log(len(log_prob)) - 2 * log_prob.sum())


def _checked(
    name: str, value: ArrayLike | None, shape: tuple[int, ...], dtype: Any
) -> Array | None:
    if value is None:
        return None
    array = check_array(value, dtype=dtype, ensure_2d=False, allow_nd=True)
    if array.shape != shape:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}"
        )
    return array


def _check_weights(weights: Array) -> None:
    if weights.min() < 0 or weights.max() > 1:
        raise ValueError(
            f"The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{weights.max():.5f}, min value {weights.min():.5f}"
        )
    if abs(weights.sum() - 1) > (1e-6 if weights.dtype == np.float32 else 1e-8):
        raise ValueError(
            f"The parameter 'weights' should be normalized, but got sum(weights) = "
            f"{weights.sum():.5f}"
        )


def _inverse(precisions: Array, covariance_type: CovarianceType) -> Array:
    if covariance_type in ("diag", "spherical"):
        if np.any(precisions <= 0):
            raise ValueError(f"'{covariance_type} precision' should be positive")
        return 1 / precisions
    symmetric = np.allclose(precisions, np.swapaxes(precisions, -1, -2))
    if not (symmetric and np.all(np.linalg.eigvalsh(precisions) > 0)):
        raise ValueError(f"'{covariance_type} precision' should be symmetric, positive-definite")
    return np.linalg.inv(precisions)
