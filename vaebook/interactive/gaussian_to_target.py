"""The way of a number from the noise to a target, through its rank."""

from __future__ import annotations

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def gaussian_to_target(
    weights: tuple[float, float] = (0.6, 0.4),
    stds: tuple[float, float] = (1.0, 0.6),
    distance: float = 4.0,
    z: float = 0.2,
) -> LiveFigure:
    """Show how a normal number becomes one of a target with two bumps.

    Equation ``eq-gaussian-to-target`` of the book. The target is a mixture of two normal
    densities with means at minus and plus half of the distance.

    Parameters
    ----------
    weights
        Of the two bumps, positive, adding up to 1.
    stds
        Their standard deviations, positive.
    distance
        Between their means at the start, from 0 to 8.
    z
        The noise at the start, from -3 to 3.

    Returns
    -------
    LiveFigure
        With a slider for `distance`, and both `z` and its image to drag.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """
    if min(weights) <= 0 or abs(sum(weights) - 1) > 1e-9:
        fail("weights", "two positive numbers that add up to 1", weights)
    if min(stds) <= 0:
        fail("stds", "two positive numbers", stds)
    if not 0 <= distance <= 8:
        fail("distance", "a number from 0 to 8", distance)
    if not -3 <= z <= 3:
        fail("z", "a number from -3 to 3", z)
    return LiveFigure(
        "gaussian_to_target",
        "From noise to a target: drag z, or x, and move the bumps apart",
        weights=list(weights),
        stds=list(stds),
        distance=distance,
        z=z,
    )
