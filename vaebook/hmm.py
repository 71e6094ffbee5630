"""Hidden Markov models: exact likelihood and posterior of sequences, and their fit by EM.

The estimators follow scikit-learn's conventions and take hmmlearn's names. Many sequences, of
different lengths, come as hmmlearn wants them: one below the other in `X`, with their `lengths`.
"""

from __future__ import annotations

import math
import warnings
from abc import ABCMeta, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numba
import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Generator, Tensor

from vaebook._checks import check_at_least, check_in, fail
from vaebook.gaussian import LOG_2PI

Array = NDArray[Any]


class _HiddenMarkovModel(BaseEstimator, metaclass=ABCMeta):
    """What all emissions share: the Markov chain, its inference and Baum-Welch."""

    n_components: int
    n_iter: int
    tol: float
    params: str
    init_params: str
    random_state: int | RandomState | None
    _letters: str

    # --- what a kind of emission supplies

    @abstractmethod
    def _validate(self, X: ArrayLike, reset: bool) -> Array: ...

    @abstractmethod
    def _check_emissions(self) -> None: ...

    @abstractmethod
    def _start_emissions(self, X: Array, random_state: RandomState) -> None: ...

    @abstractmethod
    def _log_emissions(self, X: Array) -> Array: ...

    @abstractmethod
    def _update_emissions(self, X: Array, posterior: Array) -> None: ...

    @abstractmethod
    def _draw_emissions(self, states: Array, random_state: RandomState) -> Array: ...

    # --- the public estimator

    def fit(self, X: ArrayLike, y: object = None, lengths: ArrayLike | None = None) -> Self:
        r"""Fit by maximum likelihood: Baum-Welch, which is EM for this model.

        Equation ``eq-baum-welch`` of the book. No step lowers the likelihood.

        Parameters
        ----------
        X
            Sequences, one below the other, shape (n_samples, n_features).
        y
            Ignored; there for scikit-learn. Lengths go by name: ``fit(X, lengths=lengths)``.
        lengths
            Length of each sequence, adding up to n_samples; one sequence if None.

        Returns
        -------
        self
            With ``startprob_``, ``transmat_``, the parameters of the emissions, ``n_iter_``,
            ``converged_`` and ``log_likelihoods_``: the log-likelihood of the data in nats, at the
            start and after each step.

        Raises
        ------
        ValueError
            If an argument is out of range, or the starting values rule the data out.
        """
        check_at_least("n_components", self.n_components, 1)
        check_at_least("n_iter", self.n_iter, 1)
        for name in ("params", "init_params"):
            if not set(getattr(self, name)) <= set(self._letters):
                fail(name, f"letters out of {self._letters!r}", repr(getattr(self, name)))
        rows = self._validate(X, reset=True)
        first = _first_rows(len(rows), lengths, y)
        random_state = check_random_state(self.random_state)
        if "s" in self.init_params:
            self.startprob_ = random_state.dirichlet(np.ones(self.n_components))
        if "t" in self.init_params:
            self.transmat_ = random_state.dirichlet(np.ones(self.n_components), self.n_components)
        self._start_emissions(rows, random_state)
        self._check()

        self.log_likelihoods_: list[float] = []
        self.converged_ = False
        for step in range(self.n_iter + 1):
            log_likelihoods, posterior, pairs = self._posterior(rows, first)
            self.log_likelihoods_.append(float(log_likelihoods.sum()))
            if step > 0 and self.log_likelihoods_[-1] - self.log_likelihoods_[-2] < self.tol:
                self.converged_ = True
                break
            if step < self.n_iter:
                self._maximize(rows, first, posterior, pairs)
        self.n_iter_ = len(self.log_likelihoods_) - 1
        if not self.converged_:
            message = f"not converged after n_iter={self.n_iter} steps: raise n_iter or tol"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        return self

    def _maximize(self, X: Array, first: Array, posterior: Array, pairs: Array) -> None:
        if "s" in self.params:
            self.startprob_ = _to_distributions(posterior[first].sum(0), self.startprob_)
        if "t" in self.params:
            self.transmat_ = _to_distributions(pairs, self.transmat_)
        self._update_emissions(X, posterior)

    def score(self, X: ArrayLike, y: object = None, lengths: ArrayLike | None = None) -> float:
        r"""Log-likelihood of all sequences together, exact, in nats (equation ``eq-hmm-forward``).

        Parameters
        ----------
        X, y, lengths
            As in `fit`. As in hmmlearn, and unlike scikit-learn's mixtures, the result is a sum.

        Returns
        -------
        float
            :math:`\sum_s \log p(x_{1:T_s})`; minus infinity for data that the model rules out.
        """
        return float(self._log_likelihoods(X, lengths, y).sum())

    def predict_proba(self, X: ArrayLike, lengths: ArrayLike | None = None) -> Array:
        r"""Posterior of each state at each step, given the whole sequence.

        Equation ``eq-hmm-smoothing`` of the book.

        Parameters
        ----------
        X, lengths
            As in `fit`.

        Returns
        -------
        ndarray
            :math:`p(z_t = k \mid x_{1:T})`, shape (n_samples, n_components).
        """
        return self._posterior(*self._sequences(X, lengths))[1]

    def decode(self, X: ArrayLike, lengths: ArrayLike | None = None) -> tuple[float, Array]:
        r"""Find the single most probable path of states (Viterbi).

        Equation ``eq-hmm-viterbi`` of the book.

        Parameters
        ----------
        X, lengths
            As in `fit`.

        Returns
        -------
        log_prob : float
            :math:`\log p(x_{1:T}, z_{1:T})` on that path, summed over the sequences, in nats.
        states : ndarray
            The path, shape (n_samples,).
        """
        rows, first = self._sequences(X, lengths)
        transition, scores, begins = self._scores(rows, first)
        log_prob, states = _viterbi(_log(transition), scores, begins)
        if log_prob == -math.inf:
            fail("X", "sequences that the model can produce", "one of probability zero")
        return log_prob, states

    def predict(self, X: ArrayLike, lengths: ArrayLike | None = None) -> Array:
        """Find the single most probable path of states, shape (n_samples,): see `decode`."""
        return self.decode(X, lengths)[1]

    def sample(
        self, n_samples: int = 1, random_state: int | RandomState | None = None
    ) -> tuple[Array, Array]:
        """Draw one sequence by ancestral sampling: the path of states first.

        Parameters
        ----------
        n_samples
            Length of the sequence.
        random_state
            Seed or generator; the estimator's own if None.

        Returns
        -------
        X : ndarray
            The sequence, shape (n_samples, n_features).
        states : ndarray
            The path behind it, shape (n_samples,).
        """
        check_at_least("n_samples", n_samples, 1)
        self._check()
        chosen = self.random_state if random_state is None else random_state
        generator = check_random_state(chosen)
        states = self._draw_paths(1, n_samples, generator)[0]
        return self._draw_emissions(states, generator), states

    # --- inside

    def _check(self) -> None:
        check_is_fitted(self, "startprob_")
        k = self.n_components
        _check_distributions("startprob_", self.startprob_, (k,))
        _check_distributions("transmat_", self.transmat_, (k, k))
        self._check_emissions()

    def _sequences(
        self, X: ArrayLike, lengths: ArrayLike | None, y: object = None
    ) -> tuple[Array, Array]:
        self._check()
        rows = self._validate(X, reset=False)
        return rows, _first_rows(len(rows), lengths, y)

    def _scores(self, X: Array, first: Array) -> tuple[Array, Array, Array]:
        """Return what inference works on: transitions, scores (T, K), and where one begins."""
        scores = self._log_emissions(X)
        scores[first] += _log(self.startprob_)
        begins = np.zeros(len(X), dtype=bool)
        begins[first] = True
        return np.asarray(self.transmat_, dtype=np.float64), scores, begins

    def _log_likelihoods(self, X: ArrayLike, lengths: ArrayLike | None, y: object = None) -> Array:
        """Log-likelihood of each sequence, shape (n_sequences,)."""
        rows, first = self._sequences(X, lengths, y)
        return np.add.reduceat(_log_evidence(*self._scores(rows, first)), first)

    def _posterior(self, X: Array, first: Array) -> tuple[Array, Array, Array]:
        """Log-likelihoods, posteriors of the states, and summed posteriors of the transitions."""
        log_evidence, posterior, pairs = _smooth(*self._scores(X, first))
        log_likelihoods = np.add.reduceat(log_evidence, first)
        if not np.isfinite(log_likelihoods).all():
            fail("X", "sequences that the model can produce", "one of probability zero")
        return log_likelihoods, posterior, pairs

    def _draw_paths(self, n: int, length: int, random_state: RandomState) -> Array:
        """Paths of states, shape (n, length)."""
        cumulative = np.cumsum(self.transmat_, axis=1)[:, :-1]
        uniform = random_state.uniform(size=(length, n))
        states = np.empty((length, n), dtype=np.intp)
        states[0] = np.searchsorted(np.cumsum(self.startprob_)[:-1], uniform[0], side="right")
        for t in range(1, length):
            states[t] = (uniform[t, :, None] >= cumulative[states[t - 1]]).sum(1)
        return states.T


class CategoricalHMM(_HiddenMarkovModel):
    r"""Hidden Markov model whose observations are symbols 0, 1, ..., n_features - 1.

    Equation ``def-hmm`` of the book. It stands in for hmmlearn's class of the same name, with two
    differences: it fits by maximum likelihood, without priors on the parameters, and ``fit`` and
    ``score`` take `lengths` by name.

    Parameters
    ----------
    n_components
        Number of states K.
    n_features
        Number of symbols; if None, `fit` takes one more than the largest in the data.
    n_iter, tol
        Baum-Welch stops after `n_iter` steps, or when a step gains less than `tol` nats.
    params, init_params
        Which parameters `fit` changes and starts afresh: ``"s"`` for ``startprob_``, ``"t"`` for
        ``transmat_``, ``"e"`` for ``emissionprob_``. What is not started afresh must be set before.
    random_state
        Seed of the starting values and of `sample`.

    Attributes
    ----------
    startprob_, transmat_, emissionprob_ : ndarray
        Shapes (K,), (K, K) and (K, n_features); each row a distribution. Set them by hand to use
        the model without a fit.
    log_likelihoods_, n_iter_, converged_
        See `fit`.
    """

    _letters = "ste"

    def __init__(
        self,
        n_components: int = 1,
        *,
        n_features: int | None = None,
        n_iter: int = 100,
        tol: float = 1e-2,
        params: str = "ste",
        init_params: str = "ste",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_features = n_features
        self.n_iter = n_iter
        self.tol = tol
        self.params = params
        self.init_params = init_params
        self.random_state = random_state

    def _validate(self, X: ArrayLike, reset: bool) -> Array:
        rows: Array = validate_data(self, X, reset=reset, dtype=None)
        if rows.shape[1] != 1:
            fail("X", "one column of symbols", f"{rows.shape[1]} columns")
        if rows.dtype.kind not in "iu" or rows.min() < 0:
            fail("X", "symbols as integers from 0", f"{rows.dtype} from {rows.min()}")
        return rows.astype(np.intp, copy=False)

    def _check_emissions(self) -> None:
        check_is_fitted(self, "emissionprob_")
        shape = (self.n_components, np.shape(np.atleast_1d(self.emissionprob_))[-1])
        _check_distributions("emissionprob_", self.emissionprob_, shape)

    def _start_emissions(self, X: Array, random_state: RandomState) -> None:
        if "e" in self.init_params:
            n_symbols = int(X.max()) + 1 if self.n_features is None else self.n_features
            self.emissionprob_ = random_state.dirichlet(np.ones(n_symbols), self.n_components)

    def _log_emissions(self, X: Array) -> Array:
        n_symbols = np.shape(self.emissionprob_)[1]
        if X.max() >= n_symbols:
            fail("X", f"symbols below {n_symbols}", X.max())
        return np.take(_log(self.emissionprob_), X[:, 0], axis=1).T

    def _update_emissions(self, X: Array, posterior: Array) -> None:
        if "e" in self.params:
            n_symbols = np.shape(self.emissionprob_)[1]
            counts = [np.bincount(X[:, 0], weight, n_symbols) for weight in posterior.T]
            self.emissionprob_ = _to_distributions(np.array(counts), self.emissionprob_)

    def _draw_emissions(self, states: Array, random_state: RandomState) -> Array:
        cumulative = np.cumsum(self.emissionprob_, axis=1)[:, :-1]
        uniform = random_state.uniform(size=len(states))
        return (uniform[:, None] >= cumulative[states]).sum(1, keepdims=True)


class GaussianHMM(_HiddenMarkovModel):
    r"""Hidden Markov model whose observations are Gaussian, given the state.

    Equation ``def-hmm`` of the book. It stands in for hmmlearn's class of the same name, with three
    differences: it fits by maximum likelihood, without priors on the parameters; ``fit`` and
    ``score`` take `lengths` by name; ``covars_`` of ``"diag"`` holds variances, shape (K, d).

    Parameters
    ----------
    n_components
        Number of states K.
    covariance_type
        ``"diag"`` or ``"full"``.
    min_covar
        Smallest variance in any direction: without it, a state that holds a single point has
        infinite likelihood. The fit maximises the likelihood under this constraint.
    n_iter, tol
        Baum-Welch stops after `n_iter` steps, or when a step gains less than `tol` nats.
    params, init_params
        Which parameters `fit` changes and starts afresh: ``"s"`` for ``startprob_``, ``"t"`` for
        ``transmat_``, ``"m"`` for ``means_``, ``"c"`` for ``covars_``. What is not started afresh
        must be set before.
    random_state
        Seed of the starting values and of `sample`.

    Attributes
    ----------
    startprob_, transmat_ : ndarray
        Shapes (K,) and (K, K); each row a distribution.
    means_, covars_ : ndarray
        Shapes (K, d), and (K, d) or (K, d, d).
    log_likelihoods_, n_iter_, converged_
        See `fit`.

    Notes
    -----
    scikit-learn's ``check_estimator`` passes: it takes the rows of its arrays as one sequence. It
    cannot be asked of `CategoricalHMM`, whose one column holds symbols: most of its checks fit
    several columns of real numbers.
    """

    _letters = "stmc"

    def __init__(
        self,
        n_components: int = 1,
        covariance_type: str = "diag",
        *,
        min_covar: float = 1e-3,
        n_iter: int = 100,
        tol: float = 1e-2,
        params: str = "stmc",
        init_params: str = "stmc",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.min_covar = min_covar
        self.n_iter = n_iter
        self.tol = tol
        self.params = params
        self.init_params = init_params
        self.random_state = random_state

    def _validate(self, X: ArrayLike, reset: bool) -> Array:
        rows: Array = validate_data(self, X, reset=reset, dtype=np.float64)
        check_in("covariance_type", self.covariance_type, ("diag", "full"))
        if reset:
            if not (math.isfinite(self.min_covar) and self.min_covar > 0):
                fail("min_covar", "a positive number", self.min_covar)
            if len(rows) < self.n_components:
                fail(
                    "X", f"at least n_components={self.n_components} rows", f"n_samples={len(rows)}"
                )
        return rows

    def _check_emissions(self) -> None:
        check_is_fitted(self, ["means_", "covars_"])
        n_features = np.shape(np.atleast_1d(self.means_))[-1]
        if np.shape(self.means_) != (self.n_components, n_features):
            fail("means_", f"shape ({self.n_components}, n_features)", np.shape(self.means_))
        wanted = (self.n_components, n_features, n_features)[: 3 if self._is_full() else 2]
        if np.shape(self.covars_) != wanted:
            fail("covars_", f"shape {wanted}", np.shape(self.covars_))
        smallest = np.linalg.eigvalsh(self.covars_) if self._is_full() else np.asarray(self.covars_)
        if not (smallest > 0).all():
            fail("covars_", "positive variances in every direction", smallest.min())

    def _is_full(self) -> bool:
        return self.covariance_type == "full"

    def _start_emissions(self, X: Array, random_state: RandomState) -> None:
        if "m" in self.init_params:
            clusters = KMeans(self.n_components, n_init=1, random_state=random_state).fit(X)
            self.means_ = clusters.cluster_centers_
        if "c" in self.init_params:
            everything = np.ones((len(X), 1))
            covariance = self._covariances(X, everything, X.mean(0, keepdims=True))
            self.covars_ = np.repeat(covariance, self.n_components, axis=0)

    def _log_emissions(self, X: Array) -> Array:
        n_features = np.shape(self.means_)[1]
        if X.shape[1] != n_features:
            fail("X", f"{n_features} columns, as means_ has", f"{X.shape[1]} columns")
        log_density = np.empty((self.n_components, len(X)))
        for k, (mean, covariance) in enumerate(zip(self.means_, self.covars_, strict=True)):
            if self._is_full():
                factor = np.linalg.cholesky(covariance)
                whitened = solve_triangular(factor, (X - mean).T, lower=True)
                distance = np.einsum("dt,dt->t", whitened, whitened)
                log_det = 2 * np.log(np.diagonal(factor)).sum()
            else:
                distance = np.square(X - mean) @ (1 / np.asarray(covariance))
                log_det = np.log(covariance).sum()
            log_density[k] = -0.5 * (n_features * LOG_2PI + log_det + distance)
        return log_density.T

    def _update_emissions(self, X: Array, posterior: Array) -> None:
        weight = posterior.sum(0)
        visited = weight > 10 * np.finfo(np.float64).tiny
        posterior, weight = posterior[:, visited], weight[visited]
        means = np.array(self.means_, dtype=np.float64)
        if "m" in self.params:
            means[visited] = posterior.T @ X / weight[:, None]
        if "c" in self.params:
            covars = np.array(self.covars_, dtype=np.float64)
            covars[visited] = self._covariances(X, posterior, means[visited])
            self.covars_ = covars
        self.means_ = means

    def _covariances(self, X: Array, posterior: Array, means: Array) -> Array:
        """Weighted covariances, each variance or eigenvalue at least `min_covar`.

        Lifting what lies below is the exact maximum under that constraint, so EM stays monotone.
        """
        weight = posterior.sum(0)
        covariances = []
        for k, mean in enumerate(means):
            difference = X - mean
            if self._is_full():
                covariance = (posterior[:, k, None] * difference).T @ difference / weight[k]
                values, vectors = np.linalg.eigh(covariance)
                covariance = (vectors * np.maximum(values, self.min_covar)) @ vectors.T
            else:
                covariance = posterior[:, k] @ np.square(difference) / weight[k]
                covariance = np.maximum(covariance, self.min_covar)
            covariances.append(covariance)
        return np.array(covariances)

    def _draw_emissions(self, states: Array, random_state: RandomState) -> Array:
        noise = random_state.standard_normal((len(states), np.shape(self.means_)[1]))
        if self._is_full():
            factors = np.linalg.cholesky(self.covars_)[states]
            noise = np.einsum("tij,tj->ti", factors, noise)
        else:
            noise = noise * np.sqrt(self.covars_)[states]
        return np.asarray(self.means_)[states] + noise


def sequence_density(hmm: CategoricalHMM | GaussianHMM, length: int) -> SequenceDensity:
    """View a hidden Markov model as a density over sequences of one fixed length.

    Over sequences of *any* length a hidden Markov model is no density: for each length the
    probabilities add up to one. With the length fixed it is a
    `vaebook.taxonomy.TractableDensity`, and can be compared with the other models of the book.

    Parameters
    ----------
    hmm
        A model that is fitted, or whose parameters are set.
    length
        Number of steps.

    Returns
    -------
    SequenceDensity
        Its rows are sequences, the features of one step after those of another.
    """
    check_at_least("length", length, 1)
    hmm._check()
    return SequenceDensity(hmm, length)


@dataclass(frozen=True)
class SequenceDensity:
    """A hidden Markov model over sequences of `length` steps: see `sequence_density`."""

    hmm: Any
    length: int

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density of each row, shape (n, length * n_features), in nats."""
        if x.ndim != 2 or len(x) == 0 or x.shape[1] % self.length:
            fail("x", f"rows of {self.length} steps", f"shape {tuple(x.shape)}")
        rows = x.numpy(force=True).reshape(len(x) * self.length, -1)
        log_likelihoods = self.hmm._log_likelihoods(rows, np.full(len(x), self.length))
        return torch.from_numpy(log_likelihoods).to(x.device)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` sequences, one a row; integers for symbols, double precision for numbers."""
        check_at_least("n", n, 1)
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        random_state = RandomState(seed)
        states = self.hmm._draw_paths(n, self.length, random_state).reshape(-1)
        return torch.from_numpy(self.hmm._draw_emissions(states, random_state).reshape(n, -1))


# --- arguments -----------------------------------------------------------------------------------


def _first_rows(n_samples: int, lengths: ArrayLike | None, y: object = None) -> Array:
    """Row numbers where a sequence begins."""
    if y is not None and np.size(np.asarray(y)) != n_samples:  # fit(X, lengths), as in hmmlearn
        fail("y", "None (lengths go by name: lengths=...)", f"{np.size(np.asarray(y))} values")
    if lengths is None:
        return np.zeros(1, dtype=np.intp)
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any():
        fail("lengths", "a list of positive integers", lengths.tolist())
    if lengths.sum() != n_samples:
        fail("lengths", f"a sum of {n_samples}, the rows of X", int(lengths.sum()))
    return np.concatenate([[0], np.cumsum(lengths)[:-1]])


def _check_distributions(argument: str, value: Any, shape: tuple[int, ...]) -> None:
    value = np.asarray(value, dtype=np.float64)
    if value.shape != shape:
        fail(argument, f"shape {shape}", value.shape)
    if not (value.min() >= 0 and np.abs(value.sum(-1) - 1).max() <= 1e-6):
        fail(argument, "non-negative rows that add up to 1", value.tolist())


def _to_distributions(counts: Array, before: Array) -> Array:
    """Rows of expected counts, normalised; a row without any keeps what it had."""
    total = counts.sum(-1, keepdims=True)
    some = total > 10 * np.finfo(np.float64).tiny
    return np.where(some, counts / np.where(some, total, 1), before)


# --- inference ------------------------------------------------------------------------------------
#
# Several sequences are one chain that forgets its state wherever a new sequence begins. `scores`
# are log p(x_t | z_t), (T, K), and at the first step of a sequence log p(x_1, z_1): the
# distribution of the first state is in them.


def _log_evidence(transition: Array, scores: Array, begins: Array) -> Array:
    """Log p(x_t | x_1:t-1), (T,)."""
    largest = scores.max(1)
    if _plain_numbers_suffice(transition, largest):
        evidence = _forward(transition, _emissions(scores, largest), begins)[1]
        return np.log(evidence) + largest
    return _log_forward(_log(transition), scores, begins)[1]


def _smooth(transition: Array, scores: Array, begins: Array) -> tuple[Array, Array, Array]:
    """Log p(x_t | x_1:t-1), (T,), and what `_backward` computes."""
    largest = scores.max(1)
    if _plain_numbers_suffice(transition, largest):
        emissions = _emissions(scores, largest)
        filtered, evidence = _forward(transition, emissions, begins)
        smoothed = _backward(transition, emissions, begins, filtered, evidence)
        return np.log(evidence) + largest, *smoothed
    return _smooth_in_logs(_log(transition), scores, begins)


def _smooth_in_logs(
    log_transition: Array, scores: Array, begins: Array
) -> tuple[Array, Array, Array]:
    log_filter, log_evidence = _log_forward(log_transition, scores, begins)
    smoothed = _log_backward(log_transition, scores, begins, log_filter, log_evidence)
    return log_evidence, *smoothed


def _plain_numbers_suffice(transition: Array, largest: Array) -> bool:
    """Whether plain numbers, brought back to scale at each step, lose nothing to underflow.

    The emissions of each step are divided by the largest of them. Let every transition have at
    least the probability :math:`a > 0`. Then each state's share before the next emission is at
    least :math:`a`, and so is the evidence; `backward` is at most :math:`1 / a`, and `ahead` at
    most :math:`1 / a^2`. A number that is lost is below :math:`10^{-307}`, so with
    :math:`a > 10^{-140}` it could have added at most :math:`10^{-27}` to any result. If a
    transition is impossible there is no such guarantee.
    """
    return bool(transition.min() > 1e-140 and largest.min() > -math.inf)


def _emissions(scores: Array, largest: Array) -> Array:
    """Exponentials of the scores, those of each step over their largest; in place of the scores."""
    scores -= largest[:, None]
    return np.exp(scores, out=scores)


def _log(probabilities: ArrayLike) -> Array:
    with np.errstate(divide="ignore"):  # log 0 = -inf is meant
        return np.log(probabilities)


# --- the textbook's recursions, compiled by numba ------------------------------------------------

compiled = numba.njit(cache=True, error_model="numpy")


@compiled
def _forward(transition: Array, emissions: Array, begins: Array) -> tuple[Array, Array]:
    """Filter p(z_t | x_1:t), (T, K), and evidence p(x_t | x_1:t-1), (T,).

    The first divides equation ``eq-hmm-forward`` by its sum, the second is the ratio of two sums.
    The emissions are the exponentials of the scores; a factor in a step's is one in its evidence.
    """
    n_samples, n_states = emissions.shape
    filtered, evidence = np.empty((n_samples, n_states)), np.empty(n_samples)
    for t in range(n_samples):
        before, now = filtered[t - 1], filtered[t]
        for j in range(n_states):
            arrivals = 1.0 if begins[t] else 0.0
            if not begins[t]:
                for i in range(n_states):
                    arrivals += before[i] * transition[i, j]
            now[j] = arrivals * emissions[t, j]
        total = 0.0
        for j in range(n_states):
            total += now[j]
        for j in range(n_states):
            now[j] /= total
        evidence[t] = total
    return filtered, evidence


@compiled
def _backward(
    transition: Array, emissions: Array, begins: Array, filtered: Array, evidence: Array
) -> tuple[Array, Array]:
    """Posterior p(z_t | x_1:T), (T, K), and the expected number of each transition, (K, K).

    `backward` is equation ``eq-hmm-backward`` over p(x_t+1:T | x_1:t): the posterior over the
    filter. `ahead` includes the emission at t. Equations ``eq-hmm-smoothing``, ``eq-hmm-pairs``.
    """
    n_samples, n_states = emissions.shape
    posterior, pairs = np.empty((n_samples, n_states)), np.zeros((n_states, n_states))
    backward, ahead = np.ones(n_states), np.empty(n_states)
    for t in range(n_samples - 1, -1, -1):
        total = 0.0  # one, but for rounding
        for k in range(n_states):
            posterior[t, k] = filtered[t, k] * backward[k]
            total += posterior[t, k]
        for k in range(n_states):
            posterior[t, k] /= total
            ahead[k] = emissions[t, k] * backward[k] / (total * evidence[t])
        for i in range(n_states):
            backward[i] = 1.0 if begins[t] else 0.0
            if not begins[t]:
                for j in range(n_states):
                    step = transition[i, j] * ahead[j]
                    pairs[i, j] += filtered[t - 1, i] * step
                    backward[i] += step
    return posterior, pairs


@compiled
def _viterbi(log_transition: Array, scores: Array, begins: Array) -> tuple[float, Array]:
    """Joint log-probability of the most probable path, and the path: ``eq-hmm-viterbi``."""
    n_samples, n_states = scores.shape
    best, following = np.zeros(n_states), np.empty(n_states)
    best_before = np.zeros((n_samples, n_states), dtype=np.int32)
    for t in range(n_samples):
        last = int(best.argmax())  # the end of the sequence before, whatever begins at t
        for j in range(n_states):
            top, state = best[last], last
            if not begins[t]:
                top, state = best[0] + log_transition[0, j], 0
                for i in range(1, n_states):
                    score = best[i] + log_transition[i, j]
                    if score > top:
                        top, state = score, i
            following[j] = top + scores[t, j]
            best_before[t, j] = state
        best, following = following, best
    path = np.empty(n_samples, dtype=np.intp)
    path[-1] = best.argmax()
    for t in range(n_samples - 1, 0, -1):
        path[t - 1] = best_before[t, path[t]]
    return best.max(), path


# --- the same with logarithms ---------------------------------------------------------------------


@compiled
def _log_sum_exp(a: Array, b: Array) -> float:
    """Logarithm of the sum of the exponentials of a + b."""
    largest = -np.inf
    for i in range(len(a)):
        largest = max(largest, a[i] + b[i])
    if largest == -np.inf:
        return largest
    total = 0.0
    for i in range(len(a)):
        total += math.exp(a[i] + b[i] - largest)
    return largest + math.log(total)


@compiled
def _log_forward(log_transition: Array, scores: Array, begins: Array) -> tuple[Array, Array]:
    """Logarithms of what `_forward` computes."""
    n_samples, n_states = scores.shape
    log_filter, log_evidence = np.empty((n_samples, n_states)), np.empty(n_samples)
    nothing = np.zeros(n_states)
    for t in range(n_samples):
        for j in range(n_states):
            log_filter[t, j] = scores[t, j]
            if not begins[t]:
                log_filter[t, j] += _log_sum_exp(log_filter[t - 1], log_transition[:, j])
        log_evidence[t] = _log_sum_exp(log_filter[t], nothing)
        if log_evidence[t] > -np.inf:  # where nothing is possible, minus infinity stays what it is
            for j in range(n_states):
                log_filter[t, j] -= log_evidence[t]
    return log_filter, log_evidence


@compiled
def _log_backward(
    log_transition: Array, scores: Array, begins: Array, log_filter: Array, log_evidence: Array
) -> tuple[Array, Array]:
    """What `_backward` computes, by way of logarithms."""
    n_samples, n_states = scores.shape
    posterior, pairs = np.empty((n_samples, n_states)), np.zeros((n_states, n_states))
    log_backward, log_ahead = np.zeros(n_states), np.empty(n_states)
    for t in range(n_samples - 1, -1, -1):
        log_total = _log_sum_exp(log_filter[t], log_backward)
        for k in range(n_states):
            posterior[t, k] = math.exp(log_filter[t, k] + log_backward[k] - log_total)
            log_ahead[k] = scores[t, k] + log_backward[k] - log_total - log_evidence[t]
        for i in range(n_states):
            log_backward[i] = 0.0
            if not begins[t]:
                log_backward[i] = _log_sum_exp(log_transition[i], log_ahead)
                for j in range(n_states):
                    log_step = log_transition[i, j] + log_ahead[j]
                    pairs[i, j] += math.exp(log_filter[t - 1, i] + log_step)
    return posterior, pairs
