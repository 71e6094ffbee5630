"""Importance sampling while the reader moves the proposal: weights, effective draws, estimate."""

from __future__ import annotations

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure

COUNTS = (10, 30, 100, 300, 1000, 3000)


def importance_weights(
    mean: float = 1.0, log_std: float = 0.0, n_draws: int = 300, seed: int = 29
) -> LiveFigure:
    """Show the weighted draws from a Gaussian q, and the estimate that they give.

    What is estimated is the mean of the square under a standard normal p, which is 1, by equation
    ``def-self-normalized-estimate`` of the book; the limit of the effective share is
    ``eq-ess-limit``.

    Parameters
    ----------
    mean, log_std
        The proposal q at the start.
    n_draws
        Number of draws at the start, one of 10, 30, 100, 300, 1000 and 3000.
    seed
        Of the draws.

    Returns
    -------
    LiveFigure
        With a handle on q, and a slider for the number of draws.

    Raises
    ------
    ValueError
        If the number of draws is none of those.
    """
    if n_draws not in COUNTS:
        fail("n_draws", f"one of {COUNTS}", n_draws)
    return LiveFigure(
        "importance_weights",
        "Move the proposal and see weights, effective draws and the estimate",
        mean=mean,
        log_std=log_std,
        n_draws=n_draws,
        noise={"seed": seed},
    )
