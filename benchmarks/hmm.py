"""The forward algorithm: 100,000 steps of one sequence, beside hmmlearn's compiled loop.

hmmlearn has two: with logarithms (its default, and safe against underflow) and with scaled numbers
(faster, and not safe). Both libraries compute `score` of the same data under the same parameters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import hmmlearn.hmm
import numpy as np
from sklearn.base import BaseEstimator

from vaebook.hmm import CategoricalHMM, GaussianHMM

N_STEPS = 100_000


def with_parameters(model: BaseEstimator, n_states: int, rng: np.random.Generator) -> BaseEstimator:
    """Give the model some parameters; the same for the same seed."""
    model.startprob_ = np.full(n_states, 1 / n_states)
    model.transmat_ = rng.dirichlet(np.full(n_states, 2.0), n_states)
    if "Gaussian" in type(model).__name__:
        model.means_, model.covars_ = rng.normal(0, 2, (n_states, 2)), np.ones((n_states, 2))
        model.n_features = 2
    else:
        model.emissionprob_ = rng.dirichlet(np.ones(6), n_states)
        model.n_features = 6
    return model


def seconds(score: Callable[[], float]) -> float:
    start = time.perf_counter()
    score()
    return time.perf_counter() - start


def main() -> None:
    """Score with each library in turn, seven times, and print the middle ratio."""
    for ours, theirs in (
        (CategoricalHMM, hmmlearn.hmm.CategoricalHMM),
        (GaussianHMM, hmmlearn.hmm.GaussianHMM),
    ):
        for n_states in (2, 4, 8, 16):
            models = [ours(n_states)]
            models += [theirs(n_states, implementation=how) for how in ("log", "scaling")]
            for model in models:
                with_parameters(model, n_states, np.random.default_rng(0))
            x = models[0].sample(N_STEPS, random_state=0)[0]
            values = [model.score(x) for model in models]
            assert np.allclose(values, values[0], rtol=1e-11, atol=0)
            times = np.array([[seconds(partial(m.score, x)) for m in models] for _ in range(7)])
            log, scaling = np.median(times[:, 1:] / times[:, :1], axis=0)
            print(
                f"{ours.__name__:14} {n_states:2} states: {1e3 * np.median(times[:, 0]):4.0f} ms;"
                f" hmmlearn / ours: {log:.2f} with logarithms, {scaling:.2f} with scaling"
            )


if __name__ == "__main__":
    main()
