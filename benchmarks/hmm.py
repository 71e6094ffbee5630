"""Hidden Markov models beside hmmlearn: likelihood, posterior, best path and a step of Baum-Welch.

hmmlearn has two recursions: with logarithms (its default, and safe against underflow) and with
scaled numbers (faster, and not safe). All have the same parameters and data.
"""

from __future__ import annotations

import logging
import warnings
from functools import partial
from typing import Any

import hmmlearn.hmm
import numpy as np
from _table import close, head, row
from sklearn.exceptions import ConvergenceWarning

from vaebook.hmm import CategoricalHMM, GaussianHMM

LENGTHS = {"T = 100": [100], "T = 1,000": [1000], "1,000 x 100": [100] * 1000, "T = 10⁵": [100_000]}
N_STATES = 4


def with_parameters(model: Any) -> Any:
    """Give the model some parameters, always the same."""
    rng, k = np.random.default_rng(0), model.n_components
    model.startprob_, model.transmat_ = np.full(k, 1 / k), rng.dirichlet(np.full(k, 2.0), k)
    if "Gaussian" in type(model).__name__:
        model.means_, model.covars_ = rng.normal(0, 2, (k, 2)), np.ones((k, 2))
        model.n_features = 2
    else:
        model.emissionprob_, model.n_features = rng.dirichlet(np.ones(6), k), 6
    return model


def score(model: Any, x: np.ndarray, lengths: list[int]) -> float:
    return model.score(x, lengths=lengths)


def posterior(model: Any, x: np.ndarray, lengths: list[int]) -> np.ndarray:
    return model.predict_proba(x, lengths)


def best_path(model: Any, x: np.ndarray, lengths: list[int]) -> float:
    return model.decode(x, lengths)[0]


def two_steps(model: Any, x: np.ndarray, lengths: list[int]) -> np.ndarray:
    """Two steps of Baum-Welch from the parameters."""
    return with_parameters(model).fit(x, lengths=lengths).transmat_


def main() -> None:
    """Each task, each kind of emission, each length."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    head()
    for kind in ("CategoricalHMM", "GaussianHMM"):
        ours = {"CategoricalHMM": CategoricalHMM, "GaussianHMM": GaussianHMM}[kind]
        model = with_parameters(ours(N_STATES, n_iter=2, tol=-1e9, init_params=""))
        options: dict[str, Any] = {"n_iter": 2, "tol": -np.inf, "init_params": ""}
        others = {}
        for how in ("log", "scaling"):
            other = getattr(hmmlearn.hmm, kind)(N_STATES, implementation=how, **options)
            others[f"hmmlearn {how}"] = with_parameters(other)
        for size, lengths in LENGTHS.items():
            x = with_parameters(model).sample(sum(lengths), random_state=0)[0]
            tasks = [(score, close(1e-10)), (posterior, close(0, 1e-8)), (best_path, close(1e-10))]
            # hmmlearn's priors of the variances, which ours has not, move its second step a little
            tasks.append((two_steps, close(0, 1e-8 if kind == "CategoricalHMM" else 2e-2)))
            for task, same in tasks:
                for each in (model, *others.values()):
                    with_parameters(each)
                calls = {name: partial(task, other, x, lengths) for name, other in others.items()}
                work = f"{kind} {task.__name__} {size}"
                row(work, partial(task, model, x, lengths), calls, same)


if __name__ == "__main__":
    main()
