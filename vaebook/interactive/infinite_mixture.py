"""A mixture with one component for each code that is drawn, and its limit."""

from __future__ import annotations

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure

COUNTS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def infinite_mixture(
    n: int = 5, sigma: float = 0.25, stretch: float = 2.0, seed: int = 7
) -> LiveFigure:
    """Show a model with a continuous code as the limit of finite mixtures.

    Equations ``eq-infinite-mixture`` and ``def-sampled-mixture`` of the book, with the decoder
    f(z) = z + stretch · tanh(3 z).

    Parameters
    ----------
    n
        Codes at the start: 1, 2 or 5 times a power of ten up to 2,000, or 3.
    sigma
        Standard deviation of each component, from 0.1 to 1.
    stretch
        Of the decoder, from 0 to 3.
    seed
        Of the codes.

    Returns
    -------
    LiveFigure
        With a slider for each of `n`, `sigma` and `stretch`.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """
    if n not in COUNTS:
        fail("n", f"one of {COUNTS}", n)
    if not 0.1 <= sigma <= 1:
        fail("sigma", "a number from 0.1 to 1", sigma)
    if not 0 <= stretch <= 3:
        fail("stretch", "a number from 0 to 3", stretch)
    return LiveFigure(
        "infinite_mixture",
        "Infinite mixture: slide the number of codes and see the density appear",
        n=n,
        sigma=sigma,
        stretch=stretch,
        seed=seed,
    )
