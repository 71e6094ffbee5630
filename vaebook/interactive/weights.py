"""Arrays and networks in a form that fits into a page."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from torch import nn

from vaebook._checks import fail

ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Tanh: "tanh"}
TYPES = {"int8": "<i1", "uint8": "<u1", "float32": "<f4"}


def pack(array: np.ndarray) -> dict[str, Any]:
    """Pack an array for a page, which unpacks it with ``array`` or, row by row, ``rows``.

    Parameters
    ----------
    array
        Of int8, uint8 or float32; its rows follow each other.

    Returns
    -------
    dict
        Its ``type``, its ``data`` in base64, and the ``width`` of its rows, the last dimension.

    Raises
    ------
    ValueError
        If the array has any other type.
    """
    kind = array.dtype.name
    if kind not in TYPES:
        fail("array", "int8, uint8 or float32", kind)
    data = array.astype(TYPES[kind]).tobytes()
    text = base64.b64encode(data).decode("ascii")
    return {"type": kind, "data": text, "width": array.shape[-1]}


def pack_pixels(images: Any) -> dict[str, Any]:
    """Pack images as bytes, each pixel rounded to a multiple of 1/255.

    Parameters
    ----------
    images
        A tensor or array with values in [0, 1].

    Returns
    -------
    dict
        As of `pack`.

    Raises
    ------
    ValueError
        If a value is outside [0, 1].
    """
    values = np.asarray(images, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        fail("images", "values in [0, 1]", f"values in [{values.min()}, {values.max()}]")
    return pack(np.round(255 * values).astype(np.uint8))


def quantize(network: nn.Module, last: str = "sigmoid", n_bits: int = 8) -> list[dict[str, Any]]:
    """Round a network's weights to few bits, in a form that fits into a page.

    Each output unit has a scale of its own, the largest absolute weight over
    :math:`2^{n-1} - 1` for `n_bits` n, so that a weight is off by at most half a scale. Biases stay
    in float32.

    Parameters
    ----------
    network
        A linear layer, or a `torch.nn.Sequential` of linear layers with ReLU, SiLU or tanh units
        between them.
    last
        What the page applies to the last layer's outputs: ``"sigmoid"`` or ``"identity"``.
    n_bits
        Of each weight, 2 to 8. Fewer make the compressed page smaller.

    Returns
    -------
    list of dict
        For each linear layer ``weight`` (int8, row by row), ``scale`` and ``bias`` (float32), all
        packed, and the ``activation`` that follows.

    Raises
    ------
    ValueError
        If the network has any other layer, or `n_bits` is out of range.
    """
    if not 2 <= n_bits <= 8:
        fail("n_bits", "2 to 8", str(n_bits))
    modules = list(network) if isinstance(network, nn.Sequential) else [network]
    linear, units = modules[::2], modules[1::2]
    for module in modules:
        if type(module) not in (nn.Linear, *ACTIVATIONS):
            fail("network", "linear layers and ReLU, SiLU or tanh units", type(module).__name__)
    if not all(type(module) is nn.Linear for module in linear) or len(linear) != len(units) + 1:
        fail("network", "linear layers with one activation between two", str(modules))
    activations = [*(ACTIVATIONS[type(unit)] for unit in units), last]
    return [
        _pack_layer(layer, name, 2 ** (n_bits - 1) - 1)
        for layer, name in zip(linear, activations, strict=True)
    ]


def _pack_layer(layer: nn.Module, activation: str, largest: int) -> dict[str, Any]:
    weight = layer.get_parameter("weight").detach().cpu().double()
    bias = layer.get_parameter("bias").detach().cpu().float()
    scale = (weight.abs().amax(1) / largest).clamp_min(torch.finfo(torch.float32).tiny).float()
    rounded = (weight / scale.double()[:, None]).round().clamp(-largest, largest).to(torch.int8)
    return {
        "weight": pack(rounded.numpy()),
        "scale": pack(scale.numpy()),
        "bias": pack(bias.numpy()),
        "activation": activation,
    }
