"""A ball in a cube, and random throws at it, in more and more dimensions."""

from __future__ import annotations

from vaebook._checks import check_at_least, fail
from vaebook.interactive.figure import LiveFigure

LARGEST = 50


def bean_hits(d: int = 2, radius: float = 0.5, seed: int = 1) -> LiveFigure:
    """Show the chance to hit a ball in the middle of a cube by a random throw.

    Equation ``eq-bean-hit-rate`` of the book.

    Parameters
    ----------
    d
        Dimensions at the start, from 1 to 50.
    radius
        Of the ball, in sides of the cube, at most one half.
    seed
        Of the throws.

    Returns
    -------
    LiveFigure
        With a slider for the dimension and for the radius.

    Raises
    ------
    ValueError
        If the dimension or the radius is out of its range.
    """
    check_at_least("d", d, 1)
    if d > LARGEST:
        fail("d", f"at most {LARGEST}", d)
    if not 0 < radius <= 0.5:
        fail("radius", "a positive number up to 0.5", radius)
    return LiveFigure(
        "bean_hits", "Add dimensions and see the bean missed", d=d, radius=radius, seed=seed
    )
