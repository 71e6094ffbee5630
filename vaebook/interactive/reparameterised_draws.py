"""The same noise, moved by the parameters of q, and the gradients that two estimators read off."""

from __future__ import annotations

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def reparameterised_draws(
    weight: float = 1.0,
    offset: float = 0.0,
    noise_std: float = 0.6,
    x: float = 1.5,
    mean: float = 0.3,
    log_std: float = -0.5,
    seed: int = 1,
) -> LiveFigure:
    """Show two estimates of the gradient of an expectation, while q moves under fixed noise.

    The expectation is that of f(z) = log p(x|z), with x given z normal about
    ``weight * z + offset``; equations ``eq-reparameterized-gradient`` and
    ``eq-score-function-gradient`` of the book.

    Parameters
    ----------
    weight, offset, noise_std, x
        Of f; `noise_std` is positive and `weight` is not zero.
    mean, log_std
        The Gaussian q at the start.
    seed
        Of the noise.

    Returns
    -------
    LiveFigure
        With a slider for `mean` and `log_std`, and a choice of the parameter of the gradient.

    Raises
    ------
    ValueError
        If `noise_std` is not positive or `weight` is zero.
    """
    if not noise_std > 0:
        fail("noise_std", "a positive number", repr(noise_std))
    if weight == 0:
        fail("weight", "another number than zero", repr(weight))
    return LiveFigure(
        "reparameterised_draws",
        "Move q under fixed noise and compare two estimates of a gradient",
        weight=weight,
        offset=offset,
        noise_std=noise_std,
        x=x,
        mean=mean,
        log_std=log_std,
        seed=seed,
        by=0,
        baseline=False,
    )
