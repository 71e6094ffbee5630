"""The same digits, restored from codes of a chosen size by PCA and by an autoencoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vaebook._checks import check_batch, fail
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.weights import pack_pixels

GREY_LEVELS = 16


def code_size(
    originals: Tensor,
    restored: Mapping[str, Mapping[int, Tensor]],
    errors: Mapping[str, Sequence[float]],
) -> LiveFigure:
    """Slide the size of the code, and see what two methods restore from it.

    Parameters
    ----------
    originals : Tensor, shape (n, n_pixels)
        Square grey images, values in [0, 1].
    restored : name -> size -> Tensor, shape (n, n_pixels)
        What each of two methods makes of them with each size of the code, in rising order. The
        page shows it cut off to [0, 1], in 16 levels of grey.
    errors : name -> numbers
        Mean squared error of each method over many images, for each size.

    Returns
    -------
    LiveFigure
        Its state has the ``size`` of the code; the middle one at the start.

    Raises
    ------
    ValueError
        If the names, sizes or shapes do not agree.
    """
    check_batch("originals", originals)
    side = math.isqrt(originals.shape[1])
    if side * side != originals.shape[1]:
        fail("originals", "square images", f"{originals.shape[1]} pixels")
    if len(restored) != 2 or list(errors) != list(restored):
        fail("restored, errors", "the same two methods", f"{list(restored)} and {list(errors)}")
    sizes = sorted(next(iter(restored.values())))
    for name, images in restored.items():
        if list(images) != sizes or len(errors[name]) != len(sizes):
            fail(name, f"images and errors for the sizes {sizes}", list(images))
        for size in sizes:
            check_batch(f"{name}, {size}", images[size], originals.shape[1])
    return LiveFigure(
        "code_size",
        "The size of the code: slide it and compare what is restored",
        originals=pack_pixels(_few_greys(originals)),
        restored={
            name: pack_pixels(_few_greys(torch.cat([images[size] for size in sizes])))
            for name, images in restored.items()
        },
        errors={name: [round(float(error), 3) for error in errors[name]] for name in restored},
        sizes=sizes,
        size=sizes[len(sizes) // 2],
    )


def _few_greys(images: Tensor) -> Tensor:
    """Round to 16 levels of grey, which a compressed page holds in half the room."""
    levels = GREY_LEVELS - 1
    return (images.detach().cpu().double().clamp(0, 1) * levels).round() / levels
