"""A permutation test whose null distribution fills up while the reader looks on."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vaebook._checks import check_batch, fail
from vaebook.interactive.figure import LiveFigure

SIZES = (20, 40, 80, 160)


def permutation_null(data: Tensor, others: Mapping[str, Tensor]) -> LiveFigure:
    """Deal two samples out again and again, and see where their energy distance lies.

    Parameters
    ----------
    data : Tensor, shape (160, 2)
        The first sample; the reader takes 20 to 160 of it. The square from -5.5 to 5.5 is drawn.
    others : label -> Tensor, shape (160, 2)
        Samples to compare with it; the first one at the start.

    Returns
    -------
    LiveFigure
        Its state has the ``other`` sample, the size ``n`` and the distances of the ``shuffled``.

    Raises
    ------
    ValueError
        If there is no other sample, or one has not 160 points of the plane.
    """
    if not others:
        fail("others", "at least one sample", "none")
    samples = {"data": data} | {f"other_{i}": x for i, x in enumerate(others.values())}
    for name, x in samples.items():
        check_batch(name, x, 2)
        if len(x) != SIZES[-1]:
            fail(name, f"{SIZES[-1]} points", len(x))
    return LiveFigure(
        "permutation_null",
        "Permutation test: deal two samples out again and see whether they differ by chance",
        samples={
            name: (x.double() * 1000).round().div(1000).tolist() for name, x in samples.items()
        },
        names={f"other_{i}": label for i, label in enumerate(others)},
        other="other_0",
        sizes=list(SIZES),
        n=SIZES[1],
        shuffled=[],
    )
