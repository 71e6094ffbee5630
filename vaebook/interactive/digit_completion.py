"""A digit completed pixel by pixel, by a trained autoregressive model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaebook._checks import check_batch, fail, is_binary
from vaebook.autoregressive import PixelRNN
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.weights import pack, quantize


def digit_completion(model: PixelRNN, images: Tensor, n_rows_kept: int | None = None) -> LiveFigure:
    """Keep the first rows of an image, and draw the others pixel by pixel in the page.

    The network runs in the browser, with weights rounded to 8 bits.

    Parameters
    ----------
    model
        Of images that it draws row by row, as they are numbered, with at least one hidden layer
        within the row.
    images : Tensor, shape (n, n_pixels)
        Zeros and ones: what the reader may complete.
    n_rows_kept
        At the start; half of them if None.

    Returns
    -------
    LiveFigure
        Its state has the pixels that were ``drawn``, the number of rows that are kept (``cut``),
        the weights, and which ``pixel`` or hidden ``unit`` shows its mask; -1 is none.

    Raises
    ------
    ValueError
        If the model draws in another order or has no hidden layer, or `images` do not fit it.
    """
    if not torch.equal(model.ordering.cpu(), torch.arange(model.n_pixels)):
        fail(
            "model", "a model that draws row by row", f"ordering {model.ordering.tolist()[:5]} ..."
        )
    hidden_layers = model.within_row.degrees[1:-1]
    if not hidden_layers:
        fail("model", "a hidden layer within the row", "none")
    check_batch("images", images, model.n_pixels)
    if not is_binary(images):
        fail("images", "pixels of 0 and 1", f"values up to {images.max():.4g}")
    n_rows_kept = model.n_rows // 2 if n_rows_kept is None else n_rows_kept
    if not 0 <= n_rows_kept < model.n_rows:
        fail("n_rows_kept", f"0 to {model.n_rows - 1}", n_rows_kept)
    return LiveFigure(
        "digit_completion",
        "Completing a digit: keep some rows and let the network draw the rest, pixel by pixel",
        network=_packed(model),
        degrees=hidden_layers[0].tolist(),
        width=model.n_columns,
        height=model.n_rows,
        images=images.long().tolist(),
        digit=0,
        cut=n_rows_kept,
        drawn=[],
        seed=1,
        pixel=-1,
        unit=-1,
    )


def _packed(model: PixelRNN) -> dict[str, Any]:
    within, unit = model.within_row, dict(model.recurrent.named_parameters())
    position = model.position.detach().cpu().numpy()
    return {
        "layers": [_layer(layer.masked_weight(), layer.bias) for layer in within.layers],
        "contexts": [_layer(layer.weight) for layer in within.contexts],
        "direct": _layer(within.direct.masked_weight()) if within.direct is not None else None,
        "input": _layer(unit["weight_ih_l0"], unit["bias_ih_l0"]),
        "hidden": _layer(unit["weight_hh_l0"], unit["bias_hh_l0"]),
        "position": pack(position.astype(np.float32)),
    }


def _layer(weight: Tensor, bias: Tensor | None = None) -> dict[str, Any]:
    """Quantise a matrix, with the constants that are added to its product."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data = weight.detach()
    layer.bias.data = torch.zeros(len(weight)) if bias is None else bias.detach()
    return quantize(layer, last="identity")[0]
