"""What three divergences charge a model that leaves out modes of the data."""

from __future__ import annotations

from vaebook._checks import check_at_least, fail
from vaebook.interactive.figure import LiveFigure


def dropped_modes(n_modes: int = 4, std: float = 0.3, width: float = 1.0) -> LiveFigure:
    """Drop modes of q and see both KL divergences and the Jensen-Shannon divergence to p.

    Both are even mixtures of normal peaks on a line, two apart. The integrals are computed in the
    page; beside them stand the limits of ``eq-dropped-modes``.

    Parameters
    ----------
    n_modes
        Peaks of p, at least 2.
    std
        Standard deviation of each of p's peaks, positive.
    width
        That of q's at the start, in units of `std`, positive.

    Returns
    -------
    LiveFigure
        Its state has an entry ``mode_1``, ... for each peak: whether q has it.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_at_least("n_modes", n_modes, 2)
    for name, value in (("std", std), ("width", width)):
        if not value > 0:
            fail(name, "a positive number", repr(value))
    return LiveFigure(
        "dropped_modes",
        "Dropped modes: take peaks from the model and see what each divergence charges",
        centres=[2.0 * i - n_modes + 1 for i in range(n_modes)],
        std=std,
        width=width,
        **{f"mode_{i + 1}": True for i in range(n_modes)},
    )
