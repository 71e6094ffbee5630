"""A Gaussian that the reader fits to data by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def gaussian_fit(data: ArrayLike, mean: float, std: float, unit: str = "x") -> LiveFigure:
    """Show the likelihood of a Gaussian, and that what it lacks of the best is a KL divergence.

    The identity is that of equation ``eq-gaussian-mle-shortfall``.

    Parameters
    ----------
    data : shape (n,)
        At least two different numbers.
    mean, std
        Of the Gaussian at the start; `std` is positive.
    unit
        Text of the axis: what the numbers are, with their unit.

    Returns
    -------
    LiveFigure
        With a handle on the summit of the density and one on the plane of mean and standard
        deviation.

    Raises
    ------
    ValueError
        If the data are no such numbers, or `std` is not positive.
    """
    numbers = np.asarray(data, dtype=float)
    if numbers.ndim != 1 or not np.isfinite(numbers).all() or len(np.unique(numbers)) < 2:
        fail("data", "at least two different numbers in one row", f"shape {numbers.shape}")
    if not std > 0:
        fail("std", "a positive number", repr(std))
    return LiveFigure(
        "gaussian_fit",
        "Gaussian over data: move its mean and standard deviation, and see what it lacks",
        data=numbers.round(6).tolist(),
        mean=mean,
        std=std,
        unit=unit,
        trail=[],
    )
