"""The estimate of log p(x) from K draws: its distribution climbs as K grows."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.weights import pack, pack_pixels


def estimate_climb(log_weights: Tensor, images: Tensor, k: int = 1) -> LiveFigure:
    """Show the estimates of log p(x) that K draws give, over and over, while K grows.

    The page draws K of the given weights, with replacement, and does so again and again.

    Parameters
    ----------
    log_weights : Tensor, shape (2, n_images, n_draws)
        Logarithms of importance weights, in nats: by the encoder as it is, and by one that is too
        narrow.
    images : Tensor, shape (n_images, n_pixels)
        What the weights are of; square, with pixels in [0, 1].
    k
        Draws at the start: 1, 2, 5, 10, and so on up to 500.

    Returns
    -------
    LiveFigure
        Its state is ``k``, the index ``image`` and whether the encoder is ``narrow``.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    if log_weights.ndim != 3 or log_weights.shape[:2] != (2, len(images)):
        fail(
            "log_weights",
            f"shape (2, {len(images)}, n_draws), as there are {len(images)} images",
            tuple(log_weights.shape),
        )
    return LiveFigure(
        "estimate_climb",
        "Take more draws, and see the estimates of log p(x) climb and gather",
        k=k,
        image=len(images) // 2,
        narrow=False,
        n_images=len(images),
        log_weights=pack(np.asarray(log_weights.detach().cpu().float())),
        pixels=pack_pixels(images.cpu()),
    )
