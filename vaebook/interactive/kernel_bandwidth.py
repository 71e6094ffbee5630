"""A kernel density estimate whose bandwidth the reader moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def kernel_bandwidth(data: ArrayLike, held_out: ArrayLike, h: float, unit: str = "x") -> LiveFigure:
    """Show the kernels of a density estimate, their sum, and the log-density of data held out.

    Log-densities are those of `vaebook.kde.KernelDensity` (equations ``def-kde`` and
    ``eq-kde-leave-one-out``).

    Parameters
    ----------
    data : shape (n,)
        At least two numbers, of which each gets a kernel.
    held_out : shape (m,)
        At least one number.
    h
        Bandwidth at the start, from 0.02 to 2.
    unit
        Text of the axis: what the numbers are, with their unit.

    Returns
    -------
    LiveFigure

    Raises
    ------
    ValueError
        If the data are no such numbers, or `h` is out of range.
    """
    state = {}
    for name, values, fewest in (("data", data, 2), ("held_out", held_out, 1)):
        numbers = np.asarray(values, dtype=float)
        if numbers.ndim != 1 or len(numbers) < fewest or not np.isfinite(numbers).all():
            fail(name, f"a row of at least {fewest} finite numbers", f"shape {numbers.shape}")
        state[name] = numbers.round(6).tolist()
    if not 0.02 <= h <= 2:
        fail("h", "a bandwidth from 0.02 to 2", repr(h))
    return LiveFigure(
        "kernel_bandwidth",
        "Kernel density estimate: move the bandwidth, and see bumps, sum and held-out nats",
        h=h,
        unit=unit,
        **state,
    )
