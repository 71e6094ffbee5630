"""EM for mixtures of Gaussians beside scikit-learn's: twenty steps from the same start."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from _table import close, head, row
from sklearn import mixture as sklearn_mixture
from sklearn.exceptions import ConvergenceWarning

from vaebook.mixture import GaussianMixture

SIZES = ((1000, 2, 3), (50_000, 16, 8))
STEPS = 20


def blobs(n: int, d: int, k: int) -> np.ndarray:
    """Draw from k Gaussians that overlap."""
    rng = np.random.default_rng(0)
    component, turn = rng.integers(k, size=n), 0.4 * rng.normal(size=(k, d, d))
    noise = np.einsum("nd,nde->ne", rng.normal(size=(n, d)), turn[component])
    return rng.normal(size=(k, d))[component] + noise


def fit(mixture: Any, X: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: np.asarray(mixture.fit(X).lower_bounds_)


def main() -> None:
    """Each type of covariance, few data and many."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    head()
    for n, d, k in SIZES:
        X = blobs(n, d, k)
        one = np.eye(d)
        precisions = {
            "full": np.stack([one] * k),
            "tied": one,
            "diag": np.ones((k, d)),
            "spherical": np.ones(k),
        }
        for kind, start in precisions.items():
            options: dict[str, Any] = {
                "n_components": k,
                "covariance_type": kind,
                "max_iter": STEPS,
                "tol": 0,
                "weights_init": np.full(k, 1 / k),
                "means_init": X[:k],
                "precisions_init": start,
            }
            others = {"scikit-learn": fit(sklearn_mixture.GaussianMixture(**options), X)}
            work = f"{kind} {n:,} x {d}, K = {k}"
            row(work, fit(GaussianMixture(**options), X), others, close(0, 1e-9))


if __name__ == "__main__":
    main()
