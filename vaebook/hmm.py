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
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, check_random_state
from torch import Generator, Tensor

from vaebook._checks import check_at_least, check_in, check_table, fail, warn_of_units
from vaebook.mixture import CovarianceType, log_joint, precision_cholesky, scatter

Array = NDArray[Any]

# The parameters that the letters of `params` and `init_params` stand for.
LETTERS = {
    "s": "startprob_",
    "t": "transmat_",
    "e": "emissionprob_",
    "m": "means_",
    "c": "covars_",
}


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

    @abstractmethod
    def _n_emission_parameters(self) -> int: ...

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
        self._warn_of_loss()
        random_state = check_random_state(self.random_state)
        if "s" in self.init_params:
            self.startprob_ = random_state.dirichlet(np.ones(self.n_components))
        if "t" in self.init_params:
            self.transmat_ = random_state.dirichlet(np.ones(self.n_components), self.n_components)
        self._start_emissions(rows, random_state)
        self._check()
        if rows.size < (n_parameters := self._n_parameters()):
            message = f"{rows.size} numbers cannot determine {n_parameters} parameters"
            warnings.warn(message, stacklevel=2)

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

    def aic(self, X: ArrayLike, lengths: ArrayLike | None = None) -> float:
        """Akaike's criterion on `X`: the lower the better (equation ``def-aic-bic``).

        Parameters
        ----------
        X, lengths
            As in `fit`.
        """
        return 2 * self._n_parameters() - 2 * self.score(X, lengths=lengths)

    def bic(self, X: ArrayLike, lengths: ArrayLike | None = None) -> float:
        """Bayesian information criterion on `X`: the lower the better (``def-aic-bic``).

        Parameters
        ----------
        X, lengths
            As in `fit`.
        """
        n_samples = len(self._sequences(X, lengths)[0])
        penalty = self._n_parameters() * math.log(n_samples)
        return penalty - 2 * self.score(X, lengths=lengths)

    def decode(
        self, X: ArrayLike, lengths: ArrayLike | None = None, algorithm: str = "viterbi"
    ) -> tuple[float, Array]:
        r"""Find the most probable states: as one path, or each for itself.

        Equation ``eq-hmm-viterbi`` of the book.

        Parameters
        ----------
        X, lengths
            As in `fit`.
        algorithm : {"viterbi", "map"}
            The path of highest probability; or at each step the state of highest posterior, which
            makes the expected number of right states as large as it can be, and may be a path that
            the model rules out.

        Returns
        -------
        score : float
            For "viterbi" :math:`\log p(x_{1:T}, z_{1:T})` on that path, summed over the sequences,
            in nats; for "map" the expected number of right states, as in hmmlearn.
        states : ndarray
            Shape (n_samples,).
        """
        check_in("algorithm", algorithm, ("viterbi", "map"))
        if algorithm == "map":
            posterior = self.predict_proba(X, lengths)
            return float(posterior.max(1).sum()), posterior.argmax(1)
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

    def get_stationary_distribution(self) -> Array:
        """Distribution of the states that a step of the chain leaves as it is, shape (K,).

        Raises
        ------
        ValueError
            If there is more than one, because parts of the chain cannot reach one another.
        """
        self._check()
        k = self.n_components
        flow = np.asarray(self.transmat_, dtype=np.float64).T - np.eye(k)
        equations = np.vstack([flow, np.ones(k)])  # nothing flows, and all adds up to one
        solution, _, rank, _ = np.linalg.lstsq(equations, np.eye(k + 1)[k])
        if rank < k:
            fail("transmat_", "a chain with one stationary distribution", "one with several")
        return np.maximum(solution, 0) / np.maximum(solution, 0).sum()

    # --- inside

    def _warn_of_loss(self) -> None:
        """Say so where the first fit starts afresh what was set by hand."""
        if not hasattr(self, "n_iter_"):
            lost = [LETTERS[c] for c in self.init_params if hasattr(self, LETTERS[c])]
            if lost:
                message = f"{', '.join(lost)} set by hand and started afresh: see init_params"
                warnings.warn(message, stacklevel=3)

    def _n_parameters(self) -> int:
        """Count free parameters: rows that add up to one have one fewer than entries."""
        k = self.n_components
        return (k - 1) * (k + 1) + self._n_emission_parameters()

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
        if self.n_features is not None:
            check_at_least("n_features", self.n_features, 1)
        rows: Array = check_table(self, X, reset=reset, dtype=np.float64)
        if rows.shape[1] != 1:
            fail("X", "one column of symbols", f"{rows.shape[1]} columns")
        bad = (rows < 0) | (rows != np.floor(rows))  # whole numbers may come as floats
        if bad.any():
            got = f"{rows[bad][0]} in row {bad[:, 0].argmax()}"
            fail("X", "symbols as integers from 0", got)
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

    def _n_emission_parameters(self) -> int:
        return self.n_components * (np.shape(self.emissionprob_)[1] - 1)

    def _draw_emissions(self, states: Array, random_state: RandomState) -> Array:
        cumulative = np.cumsum(self.emissionprob_, axis=1)[:, :-1]
        uniform = random_state.uniform(size=len(states))
        return (uniform[:, None] >= cumulative[states]).sum(1, keepdims=True)


class GaussianHMM(_HiddenMarkovModel):
    r"""Hidden Markov model whose observations are Gaussian, given the state.

    Equation ``def-hmm`` of the book. It stands in for hmmlearn's class of the same name, with four
    differences: it fits by maximum likelihood, without priors on the parameters; ``fit`` and
    ``score`` take `lengths` by name; ``covars_`` has the shape that `GaussianMixture` gives it;
    the smallest variance follows the units of the data. What its ``score_samples`` returns
    together are `score` and `predict_proba`: for scikit-learn the name means a number a row.

    Parameters
    ----------
    n_components
        Number of states K.
    covariance_type : {"diag", "full", "tied", "spherical"}
        Variances along the axes, one covariance matrix each, one for all, or one variance each.
    min_covar
        Smallest variance in any direction: without it, a state that holds a single point has
        infinite likelihood. The fit maximises the likelihood under this constraint. If None, the
        smallest variance of each column is a millionth of its variance in the data of `fit`.
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
        Shape (K, d), and (K, d) for "diag", (K, d, d) for "full", (d, d) for "tied", (K,) for
        "spherical".
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
        covariance_type: CovarianceType = "diag",
        *,
        min_covar: float | None = None,
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
        rows: Array = check_table(self, X, reset=reset, dtype=np.float64)
        check_in("covariance_type", self.covariance_type, ("diag", "full", "tied", "spherical"))
        if reset:
            floor = self.min_covar
            if floor is not None and not 0 < floor < math.inf:
                fail("min_covar", "a positive number or None", floor)
            if len(rows) < self.n_components:
                fail(
                    "X", f"at least n_components={self.n_components} rows", f"n_samples={len(rows)}"
                )
        return rows

    def _check_emissions(self) -> None:
        check_is_fitted(self, ["means_", "covars_"])
        k, d = self.n_components, np.shape(np.atleast_1d(self.means_))[-1]
        if np.shape(self.means_) != (k, d):
            fail("means_", f"shape ({k}, n_features)", np.shape(self.means_))
        shapes = {"diag": (k, d), "full": (k, d, d), "tied": (d, d), "spherical": (k,)}
        if np.shape(self.covars_) != (wanted := shapes[self.covariance_type]):
            fail("covars_", f"shape {wanted}", np.shape(self.covars_))
        smallest = np.linalg.eigvalsh(self.covars_) if self._is_full() else np.asarray(self.covars_)
        if not (smallest > 0).all():
            fail("covars_", "positive variances in every direction", smallest.min())

    def _is_full(self) -> bool:
        return self.covariance_type in ("full", "tied")

    def _n_emission_parameters(self) -> int:
        k, d = np.shape(self.means_)
        matrix = d * (d + 1) // 2
        shared = {"diag": k * d, "full": k * matrix, "tied": matrix, "spherical": k}
        return k * d + shared[self.covariance_type]

    def _start_emissions(self, X: Array, random_state: RandomState) -> None:
        self._floor = self._smallest_variances(X)
        if "m" in self.init_params:
            clusters = KMeans(self.n_components, n_init=1, random_state=random_state).fit(X)
            self.means_ = clusters.cluster_centers_
        if "c" in self.init_params:
            everything = np.ones((len(X), 1))
            covariance = self._covariances(X, everything, X.mean(0, keepdims=True))
            one_for_all = self.covariance_type == "tied"
            self.covars_ = (
                covariance if one_for_all else np.repeat(covariance, self.n_components, 0)
            )

    def _smallest_variances(self, X: Array) -> Array:
        """Return the least variance that each column may have in a state."""
        variances = X.var(axis=0)
        constant = variances <= (10 * np.finfo(np.float64).eps * np.abs(X).max(axis=0)) ** 2
        if self.min_covar is None:
            return np.where(constant, 1e-6, 1e-6 * variances)
        says = f"min_covar={self.min_covar:g} is larger than"
        warn_of_units(says, self.min_covar, np.where(constant, 0.0, variances), stacklevel=4)
        return np.full(X.shape[1], float(self.min_covar))

    def _log_emissions(self, X: Array) -> Array:
        k, n_features = np.shape(self.means_)
        if X.shape[1] != n_features:
            fail("X", f"{n_features} columns, as means_ has", f"{X.shape[1]} columns")
        try:
            factors = precision_cholesky(np.asarray(self.covars_), self.covariance_type)
        except ValueError:
            fail("covars_", "positive variances in every direction", "a singular matrix")
        return log_joint(X, np.ones(k), self.means_, factors, self.covariance_type)

    def _update_emissions(self, X: Array, posterior: Array) -> None:
        weight = posterior.sum(0)
        visited = weight > 10 * np.finfo(np.float64).tiny
        posterior, weight = posterior[:, visited], weight[visited]
        means = np.array(self.means_, dtype=np.float64)
        if "m" in self.params:
            means[visited] = posterior.T @ X / weight[:, None]
        if "c" in self.params:
            covars = np.array(self.covars_, dtype=np.float64)
            whose = ... if self.covariance_type == "tied" else visited
            covars[whose] = self._covariances(X, posterior, means[visited])
            self.covars_ = covars
        self.means_ = means

    def _covariances(self, X: Array, posterior: Array, means: Array) -> Array:
        """Weighted covariances in the shape of their type, none below the smallest variances.

        Lifting what lies below is the exact maximum under that constraint, so EM stays monotone.
        """
        weight = posterior.sum(0)
        squares = scatter(X, posterior, means, full=self._is_full())
        if self.covariance_type == "spherical":
            return np.maximum(squares.mean(1) / weight, self._floor.mean())
        if self.covariance_type == "diag":
            return np.maximum(squares / weight[:, None], self._floor)
        if self.covariance_type == "tied":
            squares, weight = squares.sum(0), weight.sum(keepdims=True)
        unit = np.sqrt(self._floor)  # in these units the smallest variance is one
        values, vectors = np.linalg.eigh(squares / weight[:, None, None] / np.outer(unit, unit))
        vectors *= unit[:, None]
        lifted = (vectors * np.maximum(values, 1)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
        return lifted.reshape(squares.shape)

    def _draw_emissions(self, states: Array, random_state: RandomState) -> Array:
        means = np.asarray(self.means_)
        noise = random_state.standard_normal((len(states), means.shape[1]))
        covars = np.asarray(self.covars_)
        if self.covariance_type == "tied":
            return means[states] + noise @ np.linalg.cholesky(covars).T
        if self.covariance_type == "full":
            factors = np.linalg.cholesky(covars)[states]
            return means[states] + np.einsum("tij,tj->ti", factors, noise)
        return means[states] + noise * np.sqrt(covars.reshape(len(means), -1))[states]


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
        if x.ndim != 2 or len(x) == 0 or x.shape[1] == 0 or x.shape[1] % self.length:
            fail("x", f"rows of {self.length} steps", f"shape {tuple(x.shape)}")
        numbers = x.double() if x.is_floating_point() else x
        rows = numbers.numpy(force=True).reshape(len(x) * self.length, -1)
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
    lengths = lengths.astype(np.intp)  # small types would wrap around in the sum
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
