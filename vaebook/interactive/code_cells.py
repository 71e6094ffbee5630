"""The cells of a codebook in the plane, and where the straight-through estimator sends a point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure

Point = tuple[float, float]
VECTORS = ((-1.6, 1.5), (0.4, 1.9), (1.9, 0.7), (-0.3, 0.1), (-1.9, -1.1), (1.3, -1.6))


def code_cells(
    vectors: Sequence[Point] = VECTORS,
    z: Point = (-1.2, 0.1),
    target: Point = (0.6, 1.0),
    commitment: float = 0.0,
) -> LiveFigure:
    """Drag a point, a target and the vectors of a codebook, and follow the made-up gradient.

    The loss is the squared distance from the target to the vector that stands for the point.

    Parameters
    ----------
    vectors
        Two to twelve different points of the plane, within 3 of the origin in each direction.
    z, target
        Points within the same square.
    commitment
        Weight of the squared distance of `z` from its vector, 0 to 2.

    Returns
    -------
    LiveFigure
        Its state has the ``path`` of the point, too.
    """
    if not 2 <= len(set(map(tuple, vectors))) == len(vectors) <= 12:
        fail("vectors", "two to twelve different points", vectors)
    for name, points in (("vectors", vectors), ("z", (z,)), ("target", (target,))):
        if any(len(p) != 2 or not all(abs(value) <= 3 for value in p) for p in points):
            fail(name, "points (x, y) with coordinates from -3 to 3", points)
    if not (math.isfinite(commitment) and 0 <= commitment <= 2):
        fail("commitment", "a number from 0 to 2", commitment)
    return LiveFigure(
        "code_cells",
        "Cells of a codebook: drag z, the target and the vectors, and let z follow the arrow",
        vectors=[list(vector) for vector in vectors],
        z=list(z),
        target=list(target),
        commitment=commitment,
        path=[list(z)],
    )
