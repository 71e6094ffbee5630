"""Naive Bayes beside scikit-learn's classes of the same names, on MNIST."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from _table import close, head, row
from sklearn import naive_bayes as sklearn_naive_bayes

from vaebook import data, naive_bayes


def fit(model: Any, X: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    fitted = model.fit(X, y)
    names = ("theta_", "var_") if hasattr(fitted, "theta_") else ("feature_log_prob_",) * 2
    return [getattr(fitted, name) for name in names]


def main() -> None:
    """Fit and predict, few images and many."""
    digits = data.load("mnist").train
    X, y = np.asarray(digits.pixels(), dtype=np.float64), np.asarray(digits.labels)
    head()
    for n in (1000, 60_000):
        for name, options in (("GaussianNB", {}), ("BernoulliNB", {"binarize": 0.5})):
            ours = getattr(naive_bayes, name)(**options)
            other = getattr(sklearn_naive_bayes, name)(**options)
            tasks = {"fit": partial(fit, ours, X[:n], y[:n])}
            others = {"fit": partial(fit, other, X[:n], y[:n])}
            tasks["predict"], others["predict"] = (
                partial(model.predict, X[:n]) for model in (ours, other)
            )
            for task, call in tasks.items():
                work = f"{name} {task} {n:,} x 784"
                row(work, call, {"scikit-learn": others[task]}, close(1e-9, 1e-12))


if __name__ == "__main__":
    main()
