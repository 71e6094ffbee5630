"""K-means in slow motion: groups and centres in turn."""

from __future__ import annotations

import warnings

from sklearn.cluster import KMeans
from torch import Tensor

from vaebook._checks import check_at_least, check_batch
from vaebook.interactive.figure import LiveFigure


def kmeans_steps(points: Tensor, n_groups: int = 5) -> LiveFigure:
    """Step k-means over points of the plane, and see its cost fall.

    Parameters
    ----------
    points : Tensor, shape (n, 2)
        The data; the first `n_groups` of them are the centres at the start.
    n_groups
        At least 2, and at most as many as there are points.

    Returns
    -------
    LiveFigure
        Its state has the ``centres``, the ``groups`` and the ``costs`` after each step. For
        comparison it has the ``best`` cost that scikit-learn finds in 50 starts.
    """
    check_batch("points", points, 2)
    check_at_least("n_groups", n_groups, 2)
    points = points.double().round(decimals=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer distinct points than groups
        best = KMeans(n_groups, n_init=50, random_state=0).fit(points.numpy()).inertia_
    return LiveFigure(
        "kmeans_steps",
        "K-means, step by step: drag the centres, play, and see the cost J fall",
        points=points.tolist(),
        centres=points[:n_groups].tolist(),
        groups=[],
        costs=[],
        moving=False,
        seed=0,
        best=float(best),
        extent=round(1.05 * points.abs().max().item(), 2),
    )
