"""Naive Bayes: a classifier, and a generative model, with features independent given the class.

The estimators follow scikit-learn's conventions and give the results of its classes of these names.
They can also draw new data.
"""

from __future__ import annotations

import math
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from numbers import Real
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    check_random_state,
)

from vaebook._checks import check_at_least, check_table, fail, warn_of_units
from vaebook.mixture import log_joint

Array = NDArray[Any]

# The smallest smoothing that a double can add to a count of zero, nearly.
LEAST_ALPHA = 1e-300

# Numbers taken at a time: a block of rows stays in the processor's cache.
BLOCK = 2**15


class _NaiveBayes(ClassifierMixin, BaseEstimator, metaclass=ABCMeta):
    """What both kinds share: the classes' probabilities, and Bayes' rule."""

    classes_: Array
    class_count_: Array
    _prior: str  # the name of the parameter with the probabilities of the classes

    # --- what a kind of feature supplies

    @abstractmethod
    def _check_parameters(self) -> None: ...

    @abstractmethod
    def _given_prior(self) -> ArrayLike | None: ...

    @abstractmethod
    def _start(self, n_features: int) -> None: ...

    @abstractmethod
    def _add(self, X: Array, members: Array) -> None: ...

    @abstractmethod
    def _log_likelihoods(self, X: Array) -> Array: ...

    @abstractmethod
    def _draw_features(self, classes: Array, rng: RandomState) -> Array: ...

    # --- the public estimator

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit every feature of every class on its own, and the probabilities of the classes.

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).
        y
            The class of each, shape (n_samples,).
        sample_weight
            Non-negative weights, shape (n_samples,); all equal if None.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is not as described, a parameter is out of range, or a class has no
            weight.
        """
        self._learn(X, y, None, sample_weight, first=True)
        if not self.class_count_.all():
            empty = self.classes_[self.class_count_ == 0]
            fail("sample_weight", "a positive weight in each class", f"none in {empty}")
        self._check_fitted()
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from more data, for sets too large for the memory.

        After any number of calls the model is the one that a single `fit` would give.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes
            All classes that will ever come; needed in the first call, may be left out later.

        Returns
        -------
        self
        """
        first = not hasattr(self, "classes_")
        if first and classes is None:
            fail("classes", "all classes, in the first call of partial_fit", "None")
        return self._learn(X, y, classes, sample_weight, first=first)

    def _learn(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None,
        sample_weight: ArrayLike | None,
        *,
        first: bool,
    ) -> Self:
        self._check_parameters()
        data, labels = check_table(self, X, y, dtype=np.float64, reset=first)
        check_classification_targets(labels)
        weights = _check_sample_weight(
            sample_weight, data, dtype=np.float64, ensure_non_negative=True
        )
        known = np.unique(labels if classes is None else np.asarray(classes))
        if first:
            self.classes_ = known
        elif classes is not None and not np.array_equal(known, self.classes_):
            fail("classes", f"those of the first call, {self.classes_.tolist()}", known.tolist())
        if not np.isin(labels, self.classes_).all():
            new = np.setdiff1d(labels, self.classes_).tolist()
            fail("y", f"classes out of {self.classes_.tolist()}", f"also {new}")
        members = weights * (labels == self.classes_[:, None])  # (classes, samples)
        if first:
            self.class_count_ = np.zeros(len(self.classes_))
            self._start(data.shape[1])
        self._check_prior()
        self.class_count_ += members.sum(1)
        self._add(data, members)
        return self

    def predict_joint_log_proba(self, X: ArrayLike) -> Array:
        """Joint log-probability log p(x, y) of each row with each class, in nats.

        Parameters
        ----------
        X
            Data, shape (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return self._joint(self._rows(X))

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Posterior log-probability log p(y | x) of each class (equation ``eq-naive-bayes``).

        Parameters and result as in `predict_joint_log_proba`.
        """
        joint = self._comparable(self._rows(X))
        return joint - logsumexp(joint, axis=1, keepdims=True)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Posterior probability p(y | x) of each class; each row adds up to one."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable class of each row, shape (n_samples,)."""
        most_probable = self._comparable(self._rows(X)).argmax(1)
        return self.classes_[most_probable]

    def score_samples(self, X: ArrayLike) -> Array:
        """Log-density of each row without its class, log p(x), shape (n_samples,), in nats.

        The class is summed out: a naive Bayes model is a mixture with one component a class.
        """
        return logsumexp(self.predict_joint_log_proba(X), axis=1)

    def sample(
        self,
        n_samples: int = 1,
        label: object = None,
        random_state: int | RandomState | None = None,
    ) -> tuple[Array, Array]:
        """Draw new data: first the class, then each feature on its own.

        Parameters
        ----------
        n_samples
            How many, at least one.
        label
            The class of all; drawn from the classes' probabilities if None.
        random_state
            Seed or generator.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
            Data, and the class of each.
        """
        check_is_fitted(self)
        check_at_least("n_samples", n_samples, 1)
        rng = check_random_state(random_state)
        if label is None:
            codes = rng.choice(len(self.classes_), n_samples, p=np.exp(self._log_prior()))
        else:
            found = np.flatnonzero(self.classes_ == label)
            if len(found) == 0:
                fail("label", f"one of {self.classes_.tolist()}", repr(label))
            codes = np.repeat(found, n_samples)
        return self._draw_features(codes, rng), self.classes_[codes]

    def _rows(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        self._check_fitted()
        rows: Array = check_table(self, X, dtype=np.float64, reset=False)
        return rows

    def _joint(self, X: Array) -> Array:
        blocks = [self._log_likelihoods(X[rows]) for rows in _blocks(X)]
        return np.concatenate(blocks) + self._log_prior()

    def _comparable(self, X: Array) -> Array:
        """Joint log-probabilities, up to a constant where no class can have produced the row."""
        joint = self._joint(X)
        impossible = np.isneginf(joint.max(1))
        if impossible.any():
            joint[impossible] = self._least_impossible(X[impossible])
        return joint

    def _check_fitted(self) -> None:
        """Refuse to answer from parameters that define no distribution."""

    def _least_impossible(self, X: Array) -> Array:
        """Joint log-probabilities of rows that no class can have produced, up to a constant."""
        return np.broadcast_to(self._log_prior(), (len(X), len(self.classes_)))

    def _check_prior(self) -> None:
        if (given := self._given_prior()) is None:
            return
        prior = np.asarray(given, dtype=np.float64)
        k = len(self.classes_)
        if prior.shape != (k,) or not (prior.min() >= 0 and abs(prior.sum() - 1) <= 1e-8):
            fail(self._prior, f"{k} non-negative numbers that add up to 1", prior.tolist())

    def _log_prior(self) -> Array:
        """Log-probability of each class; minus infinity for those never seen."""
        given = self._given_prior()
        prior = self.class_count_ / self.class_count_.sum() if given is None else np.asarray(given)
        with np.errstate(divide="ignore"):
            return np.log(np.where(self.class_count_ > 0, prior, 0))


class GaussianNB(_NaiveBayes):
    r"""Naive Bayes for real features: in each class, each is Gaussian.

    Parameters
    ----------
    var_smoothing
        This share of the greatest variance of a feature is added to every variance, so that a
        feature that is constant in a class does not rule the class out.
    priors
        Probabilities of the classes, in sorted order; their shares in the data if None.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    class_count_, class_prior_ : ndarray of shape (n_classes,)
        Weight of the data in each class, and its share.
    theta_, var_ : ndarray of shape (n_classes, n_features)
        Mean and variance (the maximum likelihood estimate, plus ``epsilon_``) of each feature.
    epsilon_ : float
        What is added to the variances.
    n_features_in_ : int
        Number of features.
    """

    _prior = "priors"

    def __init__(self, var_smoothing: float = 1e-9, *, priors: ArrayLike | None = None) -> None:
        self.var_smoothing = var_smoothing
        self.priors = priors

    @property
    def class_prior_(self) -> Array:
        """Probability of each class."""
        return np.exp(self._log_prior())

    def _check_parameters(self) -> None:
        _check_not_negative("var_smoothing", self.var_smoothing)

    def _given_prior(self) -> ArrayLike | None:
        return self.priors

    def _start(self, n_features: int) -> None:
        nothing = _Moments(0.0, np.zeros(n_features), np.zeros(n_features))
        self._of_all, self._of_classes = nothing, [nothing] * len(self.classes_)

    def _add(self, X: Array, members: Array) -> None:
        self._of_all = _merge(self._of_all, _moments(X, np.ones(len(X))))
        self._of_classes = [
            _merge(before, _moments(X[weights > 0], weights[weights > 0]))
            for before, weights in zip(self._of_classes, members, strict=True)
        ]
        variances = self._of_all.variances()
        self.epsilon_ = self.var_smoothing * float(variances.max())
        self.theta_ = np.array([moments.means for moments in self._of_classes])
        self.var_ = np.array([each.variances() for each in self._of_classes]) + self.epsilon_
        says = f"var_smoothing={self.var_smoothing:g} of the largest variance is more than"
        warn_of_units(says, self.epsilon_, variances, stacklevel=4)

    def _check_fitted(self) -> None:
        flat = ~(self.var_[self.class_count_ > 0] > 0)
        if flat.any():
            wanted = "a positive number, as a column is constant in a class"
            got = f"{self.var_smoothing} for column {np.argwhere(flat)[0][1]}"
            if not self._of_all.squares.any():
                fail("X", "columns of which one varies", f"n_samples = {self._of_all.weight:g}")
            fail("var_smoothing", wanted, got)

    def _log_likelihoods(self, X: Array) -> Array:
        scales = 1 / np.sqrt(np.where(self.var_ > 0, self.var_, 1))  # one where nothing was seen
        return log_joint(X, np.ones(len(scales)), self.theta_, scales, "diag")

    def _draw_features(self, classes: Array, rng: RandomState) -> Array:
        return rng.normal(self.theta_[classes], np.sqrt(self.var_[classes]))


class BernoulliNB(_NaiveBayes):
    r"""Naive Bayes for binary features: in each class, each is a coin.

    Parameters
    ----------
    alpha
        Laplace smoothing (equation ``eq-laplace-smoothing`` of the book): the number of times that
        each of the two values is taken as seen in each class before the data. Zero for none.
    binarize
        Features above it are one, the others zero; None for features that are zero or one already.
    fit_prior
        Whether the classes have their shares in the data as probabilities, or equal ones.
    class_prior
        Probabilities of the classes, in sorted order, in place of both.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    class_count_, class_log_prior_ : ndarray of shape (n_classes,)
        Weight of the data in each class, and the logarithm of its share.
    feature_count_, feature_log_prob_ : ndarray of shape (n_classes, n_features)
        Weight of the ones in each feature of each class, and the smoothed log-probability of a one.
    n_features_in_ : int
        Number of features.
    """

    _prior = "class_prior"

    def __init__(
        self,
        alpha: float = 1.0,
        binarize: float | None = 0.0,
        *,
        fit_prior: bool = True,
        class_prior: ArrayLike | None = None,
    ) -> None:
        self.alpha = alpha
        self.binarize = binarize
        self.fit_prior = fit_prior
        self.class_prior = class_prior

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on real features, of which it keeps one bit
        return tags

    @property
    def class_log_prior_(self) -> Array:
        """Log-probability of each class."""
        return self._log_prior()

    def _check_parameters(self) -> None:
        _check_not_negative("alpha", self.alpha)
        if self.binarize is not None:
            _check_not_negative("binarize", self.binarize)

    def _given_prior(self) -> ArrayLike | None:
        if self.class_prior is not None or self.fit_prior:
            return self.class_prior
        return np.full(len(self.classes_), 1 / len(self.classes_))

    def _prepare(self, X: Array) -> Array:
        if self._threshold is not None:
            return np.greater(X, self._threshold).astype(np.float64)
        if not np.isin(X, (0, 1)).all():
            fail("X", "zeros and ones, as binarize is None", f"values {np.unique(X)[:5]}")
        return X

    def _start(self, n_features: int) -> None:
        self._threshold = self.binarize  # of the data that were counted, whatever is set later
        self.feature_count_ = np.zeros((len(self.classes_), n_features))

    def _add(self, X: Array, members: Array) -> None:
        self.feature_count_ += members @ self._prepare(X)
        self.feature_log_prob_, self._log_prob_of_zero = self._log_probabilities(self.alpha)

    def _log_probabilities(self, alpha: float) -> tuple[Array, Array]:
        """Log-probability of a one, and of a zero, for each class and feature."""
        counts = self.class_count_ + (self.class_count_ == 0)  # any, where nothing was seen
        totals = np.log(counts + 2 * alpha)[:, None]
        zeros = np.maximum(self.class_count_[:, None] - self.feature_count_, 0)
        with np.errstate(divide="ignore"):  # without smoothing a probability may be zero
            return np.log(self.feature_count_ + alpha) - totals, np.log(zeros + alpha) - totals

    def _log_likelihoods(self, X: Array) -> Array:
        return _coins(self._prepare(X), self.feature_log_prob_, self._log_prob_of_zero)

    def _least_impossible(self, X: Array) -> Array:
        """Without smoothing a row may be impossible in all classes: then with the very least."""
        least = self._log_probabilities(LEAST_ALPHA)
        return _coins(self._prepare(X), *least) + self._log_prior()

    def _draw_features(self, classes: Array, rng: RandomState) -> Array:
        probability = np.exp(self.feature_log_prob_[classes])
        return (rng.random_sample(probability.shape) < probability).astype(np.float64)


def _blocks(X: Array) -> Iterator[slice]:
    """Slices of some rows of `X` each."""
    size = max(1, BLOCK // X.shape[1])
    return (slice(i, i + size) for i in range(0, len(X), size))


def _coins(X: Array, log_one: Array, log_zero: Array) -> Array:
    """Log-probability of rows of zeros and ones, (n, K)."""
    if np.isfinite(log_one).all() and np.isfinite(log_zero).all():
        # every feature taken for a zero, and then the difference that the ones make
        difference = log_one - log_zero
        return X @ difference.T + log_zero.sum(1)
    # Only the value that occurred counts: 0 · log 0 must not spoil the sum.
    pairs = zip(log_one, log_zero, strict=True)
    return np.array([np.where(X == 1, one, zero).sum(1) for one, zero in pairs]).T


class _Moments(NamedTuple):
    """Of weighted data: total weight, mean of each feature, sums of squared differences from it."""

    weight: float
    means: Array
    squares: Array

    def variances(self) -> Array:
        """Variance of each feature; zero where there are no data."""
        return self.squares / (self.weight or 1)


def _moments(X: Array, weights: Array) -> _Moments:
    """Moments of the rows.

    By differences: the mean of squares less the square of the mean would cancel.
    """
    total = float(weights.sum())
    means = weights @ X / (total or 1)
    squares = np.zeros_like(means)
    for rows in _blocks(X):
        away = X[rows] - means
        away *= away
        squares += weights[rows] @ away
    return _Moments(total, means, squares)


def _merge(one: _Moments, two: _Moments) -> _Moments:
    """Moments of two sets of data together."""
    weight = one.weight + two.weight
    share = two.weight / (weight or 1)
    apart = two.means - one.means
    squares = one.squares + two.squares + one.weight * share * apart**2
    return _Moments(weight, one.means + share * apart, squares)


def _check_not_negative(argument: str, value: float) -> None:
    if not isinstance(value, Real) or not 0 <= value < math.inf:
        fail(argument, "a number that is not negative", repr(value))
