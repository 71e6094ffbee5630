"""log p(x) = ELBO + KL(q || p(z|x)), while the reader moves q."""

from __future__ import annotations

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def elbo_explorer(
    weight: float = 1.0,
    offset: float = 0.0,
    noise_std: float = 0.6,
    x: float = 1.5,
    mean: float = 0.3,
    log_std: float = -0.3,
) -> LiveFigure:
    """Show log p(x) = ELBO + KL(q || p(z|x)) while q moves, on a model with one latent.

    The model is that of `vaebook.gaussian.LinearGaussian` in one dimension: z is standard
    normal, and x given z is normal with mean ``weight * z + offset``.

    Parameters
    ----------
    weight, offset, noise_std
        Of the model; `noise_std` is positive.
    x
        The observation at the start.
    mean, log_std
        The approximate posterior q at the start.

    Returns
    -------
    LiveFigure
        With a slider for each of `mean`, `log_std` and `x`.

    Raises
    ------
    ValueError
        If `noise_std` is not positive.
    """
    if not noise_std > 0:
        fail("noise_std", "a positive number", repr(noise_std))
    return LiveFigure(
        "elbo_explorer",
        "ELBO explorer: move q and see log p(x) split into ELBO and KL divergence",
        weight=weight,
        offset=offset,
        noise_std=noise_std,
        x=x,
        mean=mean,
        log_std=log_std,
    )
