"""Steps over the encoder and over the decoder: the bound touches log p(x), and both are lifted."""

from __future__ import annotations

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def alternate_bound(
    square: float = 2.5,
    noise_std: float = 0.8,
    weight: float = 0.45,
    slope: float = 0.15,
    variance: float = 1.4,
) -> LiveFigure:
    """Show the bound and log p(x) over the decoder's weight, and steps that raise the bound.

    The model is that of `vaebook.gaussian.LinearGaussian` with one weight and mean zero, the
    approximate posterior N(slope x, variance); both steps are exact maximisations, equations
    ``eq-bound-gradient-phi`` and ``eq-bound-gradient-theta`` of the book.

    Parameters
    ----------
    square
        Mean square of the data, of which all averages are functions; larger than the noise.
    noise_std
        Of the model.
    weight
        Of the decoder at the start.
    slope, variance
        Of the approximate posterior at the start.

    Returns
    -------
    LiveFigure
        Its state is what the arguments are, the path of the steps, and whose turn is next.

    Raises
    ------
    ValueError
        If a variance is not positive, or the data vary no more than the noise.
    """
    if not (noise_std > 0 and variance > 0):
        fail("noise_std, variance", "positive numbers", (noise_std, variance))
    if not square > noise_std**2:
        fail("square", "more than the variance of the noise", square)
    return LiveFigure(
        "alternate_bound",
        "Step over the encoder and the decoder in turn and see the bound touch and lift",
        square=square,
        noise_std=noise_std,
        weight=weight,
        slope=slope,
        variance=variance,
        next="q",
        path=[],
    )
