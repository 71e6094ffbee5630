"""A posterior of two layers, and what the best q of three kinds loses to it."""

from __future__ import annotations

import math

from vaebook._checks import check_at_least, check_in, fail
from vaebook.interactive.figure import LiveFigure


def two_layers(
    strength: float = 2.0, noise: float = 1.5, units: int = 2, q: str = "bottomUp"
) -> LiveFigure:
    """Show the posterior of a linear hierarchy, and the best q of three kinds.

    The model is that of `vaebook.hierarchy.linear_posterior` with all entries of `a` alike and a
    layer variance of 1; what is lost is `vaebook.hierarchy.mean_field_gap`.

    Parameters
    ----------
    strength
        How far z₂ moves each unit of z₁, at the start; from 0 to 3.
    noise
        Standard deviation of x given z₁, at the start; from 0.3 to 3.
    units
        Units of z₁ at the start; from 2 to 40.
    q : {"apart", "bottomUp", "topDown"}
        The kind of q that is shown first.

    Returns
    -------
    LiveFigure
        With a choice of q and three sliders.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    for name, value, low, high in (("strength", strength, 0, 3), ("noise", noise, 0.3, 3)):
        if not (math.isfinite(value) and low <= value <= high):
            fail(name, f"a number from {low} to {high}", value)
    check_at_least("units", units, 2)
    if units > 40:
        fail("units", "at most 40", units)
    check_in("q", q, ("apart", "bottomUp", "topDown"))
    return LiveFigure(
        "two_layers",
        "Posterior of two layers: turn its correlation, and see what three kinds of q lose",
        strength=strength,
        noise=noise,
        units=units,
        q=q,
    )
