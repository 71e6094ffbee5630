"""A straight line and an arc between two codes, walked step by step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.weights import pack_pixels

LEVELS = 15  # of grey that a page gets: a quarter of the weight, and no difference to the eye


def line_and_arc(
    images: Tensor,
    confidence: Tensor,
    names: Tensor,
    ends: tuple[Tensor, Tensor],
    threshold: float,
    labels: Sequence[str],
) -> LiveFigure:
    """Show the images on a line and on an arc between two codes, and a judge's verdict.

    Equation ``eq-line-and-arc`` of the book says what is usual on either.

    Parameters
    ----------
    images : shape (n_pairs, 2, n_steps, side * side)
        In [0, 1]; the first of the two ways is the line.
    confidence, names : shape (n_pairs, 2, n_steps)
        The judge's confidence in some digit, and that digit.
    ends : two of shape (n_pairs, d)
        Codes at the start and the end, in units in which codes are standard normal.
    threshold
        Confidence from which on an image is accepted.
    labels
        Of the pairs, such as ``"0 to 7"``.

    Returns
    -------
    LiveFigure
        With a slider along the way and a choice of the pair.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    n_pairs, n_ways, n_steps, n_pixels = images.shape
    side = round(n_pixels**0.5)
    if n_ways != 2 or side * side != n_pixels:
        fail("images", "shape (n_pairs, 2, n_steps, side * side)", tuple(images.shape))
    for name, value in {"confidence": confidence, "names": names}.items():
        if value.shape != images.shape[:3]:
            fail(name, f"shape {tuple(images.shape[:3])}", tuple(value.shape))
    if len(labels) != n_pairs:
        fail("labels", f"{n_pairs}, one for each pair", len(labels))
    start, stop = (end.double() for end in ends)
    products = [(start * start).sum(1), (start * stop).sum(1), (stop * stop).sum(1)]
    data = {
        "images": pack_pixels((LEVELS * images).round() / LEVELS),
        "side": side,
        "n_steps": n_steps,
        "confidence": [
            [[round(v, 3) for v in way] for way in pair] for pair in confidence.tolist()
        ],
        "names": names.tolist(),
        "products": [[round(float(p[i]), 4) for p in products] for i in range(n_pairs)],
        "dimension": start.shape[1],
        "threshold": round(float(threshold), 3),
        "labels": list(labels),
    }
    return LiveFigure(
        "line_and_arc",
        "Walk from one digit to another on a line and on an arc",
        data=data,
        pair=0,
        step=n_steps // 2,
    )
