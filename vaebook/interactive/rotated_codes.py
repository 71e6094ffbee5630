"""Hidden drivers that can be turned without any effect on the data."""

from __future__ import annotations

from torch import Tensor

from vaebook._checks import fail
from vaebook.gaussian import LinearGaussian
from vaebook.interactive.figure import LiveFigure


def rotated_codes(
    model: LinearGaussian, readings: Tensor, shown: tuple[int, int], names: tuple[str, str]
) -> LiveFigure:
    """Show a linear-Gaussian model while its matrix is turned.

    By equation ``eq-rotation`` of the book no density changes; the inferred drivers turn, and so
    does what happens when a driver is set.

    Parameters
    ----------
    model
        With two latents and mean zero.
    readings : shape (n, n_features)
        Some data.
    shown
        The two columns that are drawn; the model tells their effects apart.
    names
        Of these columns.

    Returns
    -------
    LiveFigure
        Its state is the model, the data, and the ``angle``.

    Raises
    ------
    ValueError
        If the model has other than two latents or another mean, or the shapes do not fit.
    """
    weight = model.weight.double()
    if weight.shape[1] != 2 or model.mean.any():
        fail("model", "two latents and mean zero", tuple(weight.shape))
    if readings.ndim != 2 or readings.shape[1] != len(weight):
        fail("readings", f"shape (n, {len(weight)})", tuple(readings.shape))
    data = {
        "weight": weight.tolist(),
        "noise_var": float(model.noise_var),
        "readings": [[round(value, 3) for value in row] for row in readings.tolist()],
        "shown": list(shown),
        "names": list(names),
    }
    return LiveFigure(
        "rotated_codes",
        "Turn the matrix and see the density stay and the drivers swing",
        data=data,
        angle=0.0,
    )
