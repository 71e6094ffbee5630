"""Steps of the EM algorithm on points of the plane, with means to drag."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def em_steps(points: ArrayLike, means: ArrayLike) -> LiveFigure:
    """Show what an E-step and an M-step do, for a mixture of two Gaussians.

    Both Gaussians start with equal weights and the variances of all points, along the axes, and
    both colours are equally probable for each point: so the first E-step makes the bound touch.

    Parameters
    ----------
    points
        Data in the units of Old Faithful, minutes; shape (n, 2).
    means
        Of the two Gaussians at the start, shape (2, 2).

    Returns
    -------
    LiveFigure
        Its state has the mixture and the responsibilities `q`.

    Raises
    ------
    ValueError
        If the shapes are other ones.
    """
    points, means = np.asarray(points, dtype=float), np.asarray(means, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        fail("points", "shape (n, 2), at least three rows", f"shape {points.shape}")
    if means.shape != (2, 2):
        fail("means", "shape (2, 2), one row for each Gaussian", f"shape {means.shape}")
    spread = np.diag(points.var(axis=0))
    return LiveFigure(
        "em_steps",
        "Steps of EM: drag the means, take E-steps and M-steps",
        points=points.tolist(),
        weights=[0.5, 0.5],
        means=means.tolist(),
        covariances=[spread.tolist(), spread.tolist()],
        q=[[0.5, 0.5]] * len(points),
        history=[],
        next="E",
        refused=False,
    )
