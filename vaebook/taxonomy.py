"""The taxonomy of generative models, as types: what can be asked of a model.

Figures, tests and comparisons are written against these three protocols, once, for every model.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from vaebook._checks import fail


@runtime_checkable
class Sampler(Protocol):
    """A model that answers one question: give me new data. Alone, it is *implicit* (a GAN)."""

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw `n` data, one a row."""
        ...


@runtime_checkable
class TractableDensity(Sampler, Protocol):
    """A model that also gives its exact log-density: *explicit and tractable* (a mixture)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density of each row of `x`, in nats."""
        ...


@runtime_checkable
class BoundedDensity(Sampler, Protocol):
    """A model whose log-density is bounded and estimated: *explicit and intractable* (a VAE)."""

    def elbo(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Lower bound on the log-density of each row of `x`, in nats."""
        ...

    def log_prob_estimate(
        self, x: Tensor, k: int = 500, generator: Generator | None = None
    ) -> Tensor:
        """Estimate of the log-density of each row of `x` from `k` samples, in nats."""
        ...


def classify(model: object) -> str:
    """Name the branch of the taxonomy that `model` belongs to.

    Parameters
    ----------
    model
        Any object.

    Returns
    -------
    str
        ``"explicit, tractable"``, ``"explicit, intractable"``, ``"implicit"``, or
        ``"not a generative model"`` for an object that cannot be sampled from.
    """
    if isinstance(model, TractableDensity):
        return "explicit, tractable"
    if isinstance(model, BoundedDensity):
        return "explicit, intractable"
    if isinstance(model, Sampler):
        return "implicit"
    return "not a generative model"


def from_estimator(estimator: Any) -> TractableDensity:
    """View a fitted density estimator with scikit-learn's methods as a `TractableDensity`.

    The classical models of the book, and scikit-learn's own, speak NumPy: `score_samples` and
    `sample`. This is the one door between them and everything that is written for tensors.

    Parameters
    ----------
    estimator
        A fitted estimator with the methods ``score_samples(X)`` and ``sample(n_samples)``, such as
        `vaebook.kde.KernelDensity` or `sklearn.mixture.GaussianMixture`.

    Returns
    -------
    TractableDensity
        `log_prob` is `score_samples`, in nats. `sample` draws a seed from its generator for the
        estimator's ``random_state``, and leaves the estimator as it was.

    Raises
    ------
    ValueError
        If `estimator` lacks one of the two methods.
    """
    if not (hasattr(estimator, "score_samples") and hasattr(estimator, "sample")):
        wanted = "a fitted estimator with the methods score_samples and sample"
        fail("estimator", wanted, type(estimator).__name__)
    return _EstimatorDensity(estimator)


@dataclass(frozen=True)
class _EstimatorDensity:
    estimator: Any

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.estimator.score_samples(x.numpy(force=True))).to(x.device)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        # scikit-learn's kernel density takes the seed as an argument, its mixture as a parameter
        if "random_state" in inspect.signature(self.estimator.sample).parameters:
            drawn = self.estimator.sample(n, random_state=seed)
        else:
            drawn = copy.copy(self.estimator).set_params(random_state=seed).sample(n)
        return torch.from_numpy(drawn[0] if isinstance(drawn, tuple) else drawn)
