"""A Gaussian in the plane whose axes the reader drags, and a cut through it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def covariance_ellipse(
    mean: Sequence[float] = (0.0, 0.0),
    first: float = 1.6,
    second: float = 0.6,
    angle: float = 35.0,
    cut: float = 1.5,
) -> LiveFigure:
    """Show a Gaussian's ellipses, and what a cut at a value of x₂ says about x₁.

    The conditional is that of `vaebook.gaussian.FullGaussian` (equation
    ``eq-gaussian-conditional``).

    Parameters
    ----------
    mean
        Two numbers.
    first, second
        Standard deviations along the two axes of the ellipse, positive, at the start.
    angle
        Of the first axis, in degrees from the horizontal, at the start.
    cut
        The observed value of x₂ at the start.

    Returns
    -------
    LiveFigure
        With a handle at the end of each axis and one on the cut, and a slider for each of them.

    Raises
    ------
    ValueError
        If `mean` has not two numbers, or a standard deviation is not positive.
    """
    if len(mean) != 2:
        fail("mean", "two numbers", f"{len(mean)}")
    for name, std in (("first", first), ("second", second)):
        if not 0 < std < math.inf:
            fail(name, "a positive number", repr(std))
    return LiveFigure(
        "covariance_ellipse",
        "Gaussian in the plane: drag its axes and the cut, and see the conditional density",
        mean=list(mean),
        first=first,
        second=second,
        angle=angle,
        cut=cut,
    )
