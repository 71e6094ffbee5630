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

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, softmax
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Generator, Tensor

from vaebook._checks import check_at_least, check_in, fail
from vaebook.gaussian import LOG_2PI

Array = NDArray[Any]

# Up to this many states, products of transition matrices pay for the loop that they save.
MOST_STATES_IN_BLOCKS = 32


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
        log_prob, states = _viterbi(*self._log_chain(), self._log_emissions(rows), first)
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

    def _log_chain(self) -> tuple[Array, Array]:
        with np.errstate(divide="ignore"):  # log 0 = -inf is meant
            return np.log(self.startprob_), np.log(self.transmat_)

    def _log_likelihoods(self, X: ArrayLike, lengths: ArrayLike | None, y: object = None) -> Array:
        """Log-likelihood of each sequence, shape (n_sequences,)."""
        rows, first = self._sequences(X, lengths, y)
        chain = (*self._log_chain(), self._log_emissions(rows), first)
        if _blocks_are_exact(*chain):
            log_evidence = _Blocks(*chain).forward()[1]
        else:
            log_evidence = _log_forward(*chain)[1]
        return np.add.reduceat(log_evidence, first)

    def _posterior(self, X: Array, first: Array) -> tuple[Array, Array, Array]:
        """Log-likelihoods, posteriors of the states, and summed posteriors of the transitions."""
        chain = (*self._log_chain(), self._log_emissions(X), first)
        smooth = _smooth_in_blocks if _blocks_are_exact(*chain) else _smooth_in_logs
        log_likelihoods, posterior, pairs = smooth(*chain)
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
        with np.errstate(divide="ignore"):
            return np.take(np.log(self.emissionprob_), X[:, 0], axis=1).T

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


def _last_rows(first: Array, n_samples: int) -> Array:
    return np.append(first[1:], n_samples) - 1


def _check_distributions(argument: str, value: Any, shape: tuple[int, ...]) -> None:
    value = np.asarray(value, dtype=np.float64)
    if value.shape != shape:
        fail(argument, f"shape {shape}", value.shape)
    if not ((value >= 0).all() and np.allclose(value.sum(-1), 1, rtol=0, atol=1e-6)):
        fail(argument, "non-negative rows that add up to 1", value.tolist())


def _to_distributions(counts: Array, before: Array) -> Array:
    """Rows of expected counts, normalised; a row without any keeps what it had."""
    total = counts.sum(-1, keepdims=True)
    some = total > 10 * np.finfo(np.float64).tiny
    return np.where(some, counts / np.where(some, total, 1), before)


# --- inference, with logarithms, one step at a time ---------------------------------------------
#
# Several sequences are one chain that forgets its state wherever a new sequence begins.


def _log_forward(
    log_start: Array, log_transition: Array, log_emissions: Array, first: Array
) -> tuple[Array, Array]:
    """Logarithms of the filter p(z_t | x_1:t), (T, K), and of p(x_t | x_1:t-1), (T,).

    The first divides equation ``eq-hmm-forward`` by its sum, the second is the ratio of two sums.
    """
    begins = np.zeros(len(log_emissions), dtype=bool)
    begins[first] = True
    log_filter, log_evidence = np.empty(log_emissions.shape), np.empty(len(log_emissions))
    for t, log_emission in enumerate(log_emissions):
        if begins[t]:
            log_joint = log_start + log_emission
        else:
            log_joint = _log_arrivals(log_filter[t - 1], log_transition) + log_emission
        log_evidence[t] = np.logaddexp.reduce(log_joint)
        # where nothing is possible, minus infinity stays what it is
        log_filter[t] = log_joint - max(log_evidence[t], np.finfo(np.float64).min)
    return log_filter, log_evidence


def _log_arrivals(log_weights: Array, log_transition: Array) -> Array:
    return np.logaddexp.reduce(log_weights[:, None] + log_transition, axis=0)


def _log_backward(log_transition: Array, log_emissions: Array, first: Array) -> Array:
    """Logarithms of p(x_t+1:T | z_t), equation ``eq-hmm-backward``, less their maximum, (T, K)."""
    ends = np.zeros(len(log_emissions), dtype=bool)
    ends[_last_rows(first, len(log_emissions))] = True
    log_backward = np.zeros(log_emissions.shape)
    for t in range(len(log_emissions) - 2, -1, -1):
        if not ends[t]:
            following = log_emissions[t + 1] + log_backward[t + 1]
            log_backward[t] = _log_arrivals(following, log_transition.T)
            log_backward[t] -= max(log_backward[t].max(), np.finfo(np.float64).min)
    return log_backward


def _smooth_in_logs(
    log_start: Array, log_transition: Array, log_emissions: Array, first: Array
) -> tuple[Array, Array, Array]:
    log_filter, log_evidence = _log_forward(log_start, log_transition, log_emissions, first)
    log_backward = _log_backward(log_transition, log_emissions, first)
    arrivals = np.setdiff1d(np.arange(1, len(log_emissions)), first)
    following = (log_emissions + log_backward)[arrivals]
    with np.errstate(invalid="ignore"):  # -inf - -inf, for what is impossible: the caller reports
        posterior = softmax(log_filter + log_backward, axis=1)
        # log p(z_t-1 = i, z_t = j | x) up to a constant for each t, one i after another
        log_pairs = [
            log_filter[arrivals - 1, i, None] + log_row + following
            for i, log_row in enumerate(log_transition)
        ]
        log_total = logsumexp(np.array([logsumexp(part, axis=1) for part in log_pairs]), axis=0)
        pairs = np.array([np.exp(part - log_total[:, None]).sum(0) for part in log_pairs])
    return np.add.reduceat(log_evidence, first), posterior, pairs


def _viterbi(
    log_start: Array, log_transition: Array, log_emissions: Array, first: Array
) -> tuple[float, Array]:
    """Most probable path, equation ``eq-hmm-viterbi``, and its joint log-probability."""
    n_samples, n_states = log_emissions.shape
    begins = np.zeros(n_samples, dtype=bool)
    begins[first] = True
    best_before = np.zeros((n_samples, n_states), dtype=np.intp)
    best = np.zeros(n_states)
    states = np.arange(n_states)
    for t, log_emission in enumerate(log_emissions):
        if begins[t]:  # the best end of the sequence before, whatever comes now
            best_before[t] = best.argmax()
            best = best.max() + log_start + log_emission
        else:
            scores = best[:, None] + log_transition
            best_before[t] = scores.argmax(0)
            best = scores[best_before[t], states] + log_emission
    path = np.empty(n_samples, dtype=np.intp)
    path[-1] = best.argmax()
    for t in range(n_samples - 1, 0, -1):
        path[t - 1] = best_before[t, path[t]]
    return float(best.max()), path


# --- the same inference, without logarithms, in blocks ------------------------------------------


def _steps_between_scalings(log_transition: Array) -> int:
    """Return how many steps may pass until the numbers must be brought back to scale, at most 8."""
    smallest = float(log_transition.min())
    if smallest == -math.inf:
        return 0
    return 8 if smallest > -1 else min(8, int(-290 * math.log(10) / smallest) - 1)


def _blocks_are_exact(
    log_start: Array, log_transition: Array, log_emissions: Array, first: Array
) -> bool:
    """Whether plain numbers, brought back to scale now and then, lose nothing to underflow.

    The emissions of each step are divided by their largest. Let every transition have at least
    the probability :math:`a > 0`. Then a sum over states falls by at most the factor :math:`a` a
    step, to :math:`a^m` after m steps, and each state's share of it before the next emission is
    at least :math:`a`. A number that is lost to underflow is below 1e-307, so the relative error
    that it leaves in any state is below :math:`10^{-307} K / a^{m + 1}`. With
    :math:`a^{m + 1} > 10^{-290}` that is below the rounding of a double. If a transition is
    impossible there is no such guarantee, and logarithms are taken.
    """
    possible = np.isfinite(log_emissions.max(1))
    possible[first] = np.isfinite((log_start + log_emissions[first]).max(1))
    return _steps_between_scalings(log_transition) >= 1 and bool(possible.all())


class _Blocks:
    """The forward and backward recursions on all blocks of a chain at the same time.

    The chain is cut into blocks. A first pass multiplies the matrices of the steps of each block:
    what enters the block in state i leaves it in state j. Then the blocks are linked
    (`_entering`), and a second pass runs the recursion inside of all blocks at once. The work
    grows by a factor of the number of states, and the Python loop shrinks from T steps to about
    the square root of T. Arrays end with the number of blocks, so that each step is one product
    of matrices and a few sums over long rows.
    """

    def __init__(
        self, log_start: Array, log_transition: Array, log_emissions: Array, first: Array
    ) -> None:
        n_samples, n_states = log_emissions.shape
        in_blocks = n_states <= MOST_STATES_IN_BLOCKS
        length = 1 + math.isqrt(n_samples) // 3 if in_blocks else n_samples
        n_blocks = -(-n_samples // length)
        self.n_samples = n_samples
        self.transition = np.exp(log_transition)
        self.scaling = _steps_between_scalings(log_transition)
        # what is missing in the last block: sequences of one certain step
        scores = np.zeros((n_states, n_blocks * length))
        scores[:, :n_samples] = log_emissions.T
        scores[:, first] += log_start[:, None]
        begins = np.ones(n_blocks * length, dtype=bool)
        begins[:n_samples] = False
        begins[first] = True
        scores = np.ascontiguousarray(scores.reshape(-1, n_blocks, length).transpose(2, 0, 1))
        self.largest = scores.max(1)  # (length, blocks)
        self.emissions = np.exp(scores - self.largest[:, None])  # (length, states, blocks)
        self.begins = [np.flatnonzero(row) for row in begins.reshape(n_blocks, length).T]
        self.matrices = self._multiply() if n_blocks > 1 else np.ones((1, n_states, n_states))

    def _multiply(self) -> Array:
        """Product of the matrices of each block, up to a factor, shape (blocks, states, states)."""
        backwards = np.ascontiguousarray(self.transition.T)
        n_states, n_blocks = self.emissions.shape[1:]
        product = np.repeat(np.eye(n_states)[:, :, None], n_blocks, axis=2)  # [from, to, block]
        log_scale = np.zeros((n_states, n_blocks))
        following = np.empty_like(product)
        for step, (emission, new) in enumerate(zip(self.emissions, self.begins, strict=True)):
            np.matmul(backwards, product, out=following)
            if len(new):
                following[:, :, new] = product[:, :, new].sum(1, keepdims=True)
            following *= emission
            product, following = following, product
            if step % self.scaling == self.scaling - 1 or step == len(self.emissions) - 1:
                total = product.sum(1)
                product /= total[:, None]
                log_scale += np.log(total)
        product *= np.exp(log_scale - log_scale.max(0))[:, None]
        return np.ascontiguousarray(product.transpose(2, 0, 1))

    def forward(self) -> tuple[Array, Array]:
        """Compute the filter p(z_t | x_1:t), and log p(x_t | x_1:t-1) of shape (T,)."""
        backwards = np.ascontiguousarray(self.transition.T)
        filtered = np.empty_like(self.emissions)
        totals = np.empty_like(self.largest)
        state = np.ascontiguousarray(_entering(self.matrices).T)
        for step, (emission, new) in enumerate(zip(self.emissions, self.begins, strict=True)):
            after = filtered[step]
            np.matmul(backwards, state, out=after)
            if len(new):
                after[:, new] = 1
            after *= emission
            after.sum(0, out=totals[step])
            after /= totals[step]
            state = after
        log_evidence = (np.log(totals) + self.largest).T.reshape(-1)[: self.n_samples]
        return filtered, log_evidence

    def backward(self) -> tuple[Array, Array]:
        """Compute p(x_t+1:T | z_t) and p(x_t:T | z_t), up to a factor for each t."""
        following = np.empty_like(self.emissions)
        including = np.empty_like(self.emissions)
        leaving = _entering(self.matrices[::-1].transpose(0, 2, 1))[::-1]
        state = np.ascontiguousarray(leaving.T)
        for step in range(len(self.emissions) - 1, -1, -1):
            following[step] = state
            np.multiply(state, self.emissions[step], out=including[step])
            including[step] /= including[step].sum(0)
            state = self.transition @ including[step]
            if len(self.begins[step]):
                state[:, self.begins[step]] = 1
        return following, including

    def in_order(self, values: Array) -> Array:
        """Put (length, states, blocks) into the order of the chain, (T, K)."""
        return values.transpose(2, 0, 1).reshape(-1, values.shape[1])[: self.n_samples]


def _entering(matrices: Array) -> Array:
    """Distribution over states that enters each of a row of matrices, shape (blocks, states).

    Neighbours are multiplied, the shorter row is solved, and the places between are filled in.
    """
    n_blocks, n_states, _ = matrices.shape
    if n_blocks == 1:
        return np.full((1, n_states), 1 / n_states)  # the first step of all forgets it
    half = n_blocks // 2
    left, right = matrices[0 : 2 * half : 2], matrices[1 : 2 * half : 2]
    products = left @ right
    products /= products.max((1, 2), keepdims=True)
    rest = matrices[2 * half :]
    entering = np.empty((n_blocks, n_states))
    entering[0::2] = _entering(np.concatenate([products, rest]))
    between = np.einsum("bi,bij->bj", entering[0 : 2 * half : 2], left)
    entering[1::2] = between / between.sum(1, keepdims=True)
    return entering


def _smooth_in_blocks(
    log_start: Array, log_transition: Array, log_emissions: Array, first: Array
) -> tuple[Array, Array, Array]:
    blocks = _Blocks(log_start, log_transition, log_emissions, first)
    by_block, log_evidence = blocks.forward()
    filtered, following, including = map(blocks.in_order, (by_block, *blocks.backward()))
    posterior = filtered * following
    posterior /= posterior.sum(1, keepdims=True)
    arrivals = np.setdiff1d(np.arange(1, len(log_emissions)), first)
    before, after = filtered[arrivals - 1], including[arrivals]
    after = after / ((before @ blocks.transition) * after).sum(1, keepdims=True)
    pairs = blocks.transition * (before.T @ after)
    return np.add.reduceat(log_evidence, first), posterior, pairs
