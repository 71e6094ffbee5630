"""Naive Bayes: a classifier, and a generative model, with features independent given the class.

The estimators follow scikit-learn's conventions and give the results of its classes of these names.
They can also draw new data.
"""

from __future__ import annotations

import math
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, gen_batches
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    check_random_state,
    validate_data,
)

from vaebook._checks import check_at_least, fail
from vaebook.gaussian import LOG_2PI

Array = NDArray[Any]

# Numbers taken at a time: a block of rows stays in the processor's cache.
BLOCK = 2**15


class _NaiveBayes(ClassifierMixin, BaseEstimator, metaclass=ABCMeta):
    """What both kinds share: the classes' probabilities, and Bayes' rule."""

    classes_: Array
    class_count_: Array

    # --- what a kind of feature supplies

    @abstractmethod
    def _check_parameters(self) -> None: ...

    @abstractmethod
    def _prepare(self, X: Array) -> Array: ...

    @abstractmethod
    def _fit_features(self, X: Array, members: Array) -> None: ...

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
        self._check_parameters()
        data, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        weights = _check_sample_weight(
            sample_weight, data, dtype=np.float64, ensure_non_negative=True
        )
        self.classes_, codes = np.unique(labels, return_inverse=True)
        members = weights * (codes == np.arange(len(self.classes_))[:, None])  # (classes, samples)
        self.class_count_ = members.sum(1)
        if not self.class_count_.all():
            empty = self.classes_[self.class_count_ == 0]
            fail("sample_weight", "a positive weight in each class", f"none in {empty}")
        self._fit_features(self._prepare(data), members)
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
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        blocks = [self._log_likelihoods(self._prepare(data[rows])) for rows in _blocks(data)]
        return np.concatenate(blocks) + self._log_prior()

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Posterior log-probability log p(y | x) of each class (equation ``eq-naive-bayes``).

        Parameters and result as in `predict_joint_log_proba`.
        """
        joint = self.predict_joint_log_proba(X)
        return joint - logsumexp(joint, axis=1, keepdims=True)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Posterior probability p(y | x) of each class; each row adds up to one."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable class of each row, shape (n_samples,)."""
        most_probable = self.predict_joint_log_proba(X).argmax(1)
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

    def _log_prior(self) -> Array:
        return np.log(self.class_count_ / self.class_count_.sum())


class GaussianNB(_NaiveBayes):
    r"""Naive Bayes for real features: in each class, each is Gaussian.

    Parameters
    ----------
    var_smoothing
        This share of the greatest variance of a feature is added to every variance, so that a
        feature that is constant in a class does not rule the class out.

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

    def __init__(self, var_smoothing: float = 1e-9) -> None:
        self.var_smoothing = var_smoothing

    @property
    def class_prior_(self) -> Array:
        """Probability of each class."""
        return np.exp(self._log_prior())

    def _check_parameters(self) -> None:
        _check_not_negative("var_smoothing", self.var_smoothing)

    def _prepare(self, X: Array) -> Array:
        return X

    def _fit_features(self, X: Array, members: Array) -> None:
        self.epsilon_ = self.var_smoothing * float(_moments(X, np.ones(len(X)))[1].max())
        moments = [_moments(X[weights > 0], weights[weights > 0]) for weights in members]
        self.theta_ = np.array([mean for mean, _ in moments])
        self.var_ = np.array([variance for _, variance in moments]) + self.epsilon_

    def _log_likelihoods(self, X: Array) -> Array:
        constants = np.log(self.var_).sum(1) + X.shape[1] * LOG_2PI
        squares = np.empty((len(self.theta_), len(X)))
        for k, (mean, var) in enumerate(zip(self.theta_, self.var_, strict=True)):
            white = X - mean
            white /= np.sqrt(var)
            squares[k] = np.einsum("nd,nd->n", white, white)
        return -0.5 * (squares.T + constants)

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

    def __init__(self, alpha: float = 1.0, binarize: float | None = 0.0) -> None:
        self.alpha = alpha
        self.binarize = binarize

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

    def _prepare(self, X: Array) -> Array:
        if self.binarize is not None:
            return np.greater(X, self.binarize).astype(np.float64)
        if not np.isin(X, (0, 1)).all():
            fail("X", "zeros and ones, as binarize is None", f"values {np.unique(X)[:5]}")
        return X

    def _fit_features(self, X: Array, members: Array) -> None:
        self.feature_count_ = members @ X
        totals = np.log(self.class_count_ + 2 * self.alpha)[:, None]
        with np.errstate(divide="ignore"):  # without smoothing a probability may be zero
            self.feature_log_prob_ = np.log(self.feature_count_ + self.alpha) - totals
            zeros = self.class_count_[:, None] - self.feature_count_
            self._log_prob_of_zero = np.log(zeros + self.alpha) - totals

    def _log_likelihoods(self, X: Array) -> Array:
        if self.alpha > 0:
            # every feature taken for a zero, and then the difference that the ones make
            difference = self.feature_log_prob_ - self._log_prob_of_zero
            return X @ difference.T + self._log_prob_of_zero.sum(1)
        # Only the value that occurred counts: 0 · log 0 must not spoil the sum.
        pairs = zip(self.feature_log_prob_, self._log_prob_of_zero, strict=True)
        return np.array([np.where(X == 1, one, zero).sum(1) for one, zero in pairs]).T

    def _draw_features(self, classes: Array, rng: RandomState) -> Array:
        probability = np.exp(self.feature_log_prob_[classes])
        return (rng.random_sample(probability.shape) < probability).astype(np.float64)


def _blocks(X: Array) -> Iterator[slice]:
    """Slices of some rows of `X` each."""
    blocks: Iterator[slice] = gen_batches(len(X), max(1, BLOCK // X.shape[1]))
    return blocks


def _moments(X: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean and variance of each feature.

    By differences: the mean of squares less the square of the mean would cancel.
    """
    mean = weights @ X / weights.sum()
    squares = np.zeros_like(mean)
    for rows in _blocks(X):
        away = X[rows] - mean
        away *= away
        squares += weights[rows] @ away
    return mean, squares / weights.sum()


def _check_not_negative(argument: str, value: float) -> None:
    if not isinstance(value, Real) or not 0 <= value < math.inf:
        fail(argument, "a number that is not negative", repr(value))
