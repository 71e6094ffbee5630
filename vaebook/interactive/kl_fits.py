"""Both directions of the KL divergence, while the reader moves a Gaussian over two peaks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def kl_fits(
    weights: Sequence[float] = (0.6, 0.4),
    means: Sequence[float] = (-2.0, 2.0),
    stds: Sequence[float] = (0.6, 0.8),
    mean: float = 0.0,
    std: float = 1.0,
) -> LiveFigure:
    """Show KL(p || q) and KL(q || p) for a mixture p, and where each is paid, while q moves.

    Equation ``eq-kl-pythagoras`` of the book gives the best fit of the one direction; for the other
    the figure walks downhill from where q stands.

    Parameters
    ----------
    weights, means, stds
        Of the two normal components of p; the weights add up to one.
    mean, std
        Of the Gaussian q at the start.

    Returns
    -------
    LiveFigure
        Its state is the target, and ``mean`` and ``log_std`` of q.

    Raises
    ------
    ValueError
        If there are not two components, or a number is out of its range.
    """
    if not len(weights) == len(means) == len(stds) == 2:
        fail("weights, means, stds", "two numbers each", (weights, means, stds))
    if not (min(weights) > 0 and math.isclose(sum(weights), 1)):
        fail("weights", "positive numbers that add up to one", weights)
    if not min(*stds, std) > 0:
        fail("stds, std", "positive numbers", (*stds, std))
    target = {"weights": list(weights), "means": list(means), "stds": list(stds)}
    return LiveFigure(
        "kl_fits",
        "Move q over two peaks and see both KL divergences",
        target=target,
        mean=mean,
        log_std=math.log(std),
    )
