"""A density with a peak on every level of a pixel, whose width the reader moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def peaks_on_levels(counts: ArrayLike, width: float = 1.0) -> LiveFigure:
    """Show what narrow peaks do to a density of whole numbers, and to a probability of levels.

    The density is a mixture of logistics, one on each level, as often as the level occurs. Its bits
    at the levels (equation ``eq-runaway-density``), its bits at the levels with uniform noise, and
    the bits of its probabilities of the levels (``eq-discretized-logistic``) stand side by side.

    Parameters
    ----------
    counts : shape (n,)
        How often each of the levels 0 to n - 1 occurs; n from 8 to 256, and at least two occur.
    width
        Scale of a peak at the start, from 0.001 to 2 levels.

    Returns
    -------
    LiveFigure

    Raises
    ------
    ValueError
        If the counts are no such numbers, or `width` is out of range.
    """
    numbers = np.asarray(counts)
    is_count = numbers.dtype.kind in "iu" and numbers.ndim == 1 and 8 <= numbers.size <= 256
    if not is_count or numbers.min() < 0 or np.count_nonzero(numbers) < 2:
        fail("counts", "8 to 256 whole numbers, two or more of them above 0", numbers)
    if not 0.001 <= width <= 2:
        fail("width", "a scale from 0.001 to 2 levels", repr(width))
    return LiveFigure(
        "peaks_on_levels",
        "Peaks on the levels of a pixel: make them narrow, and see three counts of bits",
        counts=numbers.tolist(),
        width=width,
    )
