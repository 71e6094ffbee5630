"""The taxonomy of generative models, as types: what can be asked of a model.

Figures, tests and comparisons are written against these three protocols, once, for every model.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Generator, Tensor


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
