"""Live figures that run without a kernel.

A figure is an ES module beside this file and the state it starts from. In the rendered book a
small script runs the module; in a live notebook ``figure.widget()`` runs the same module as an
anywidget, and its state can be read and set from Python.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from vaebook._checks import fail
from vaebook.likelihoods import Bernoulli
from vaebook.vae import VAE

ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Tanh: "tanh"}


class LiveFigure:
    """An interactive figure: an ES module and the state it starts from.

    Parameters
    ----------
    module
        Name of the module beside this file, without its ending.
    label
        What the figure lets the reader do; read out by screen readers.
    **state
        JSON values that the module reads with ``model.get(name)``.
    """

    def __init__(self, module: str, label: str, **state: Any) -> None:
        self.module = module
        self.label = label
        self.state = state

    def __repr__(self) -> str:
        return f"LiveFigure({self.label!r})"

    def _repr_html_(self) -> str:
        esm, css = _text(f"{self.module}.js"), _text("interactive.css")
        key = "esm-" + hashlib.sha256(esm.encode()).hexdigest()[:12]
        # "</" would end the script element early.
        state = json.dumps(self.state, sort_keys=True).replace("</", "<\\/")
        label = html.escape(self.label)
        return (
            f'<div class="vaebook-static" data-esm="{key}" role="group" aria-label="{label}">'
            f'<div class="vaebook-slot">{label}. It needs JavaScript; in a running notebook, '
            "add <code>.widget()</code> to this cell.</div>"
            f'<script type="application/json">{state}</script></div>'
            f'<script type="text/plain" id="{key}">{esm}</script><style>{css}</style>'
        )

    def widget(self) -> Any:
        """Return the figure as an anywidget, for a live kernel.

        Returns
        -------
        anywidget.AnyWidget
            With one synchronised trait for each entry of the state.
        """
        import anywidget
        import traitlets

        traits = {name: traitlets.Any().tag(sync=True) for name in self.state}
        source = {"_esm": _text(f"{self.module}.js"), "_css": _text("interactive.css")}
        return type("LiveWidget", (anywidget.AnyWidget,), {**source, **traits})(**self.state)


def latent_explorer(
    vae: VAE,
    codes: Tensor | None = None,
    labels: ArrayLike | None = None,
    extent: float = 3.0,
) -> LiveFigure:
    """Show what a VAE's decoder makes of any code in a two-dimensional latent space.

    The decoder runs in the browser, with weights rounded to 8 bits (`quantize`).

    Parameters
    ----------
    vae
        With two latents, square images, a Bernoulli likelihood and a decoder that is a
        `torch.nn.Sequential` of linear layers and ReLU, SiLU or tanh units.
    codes : Tensor, shape (n, 2), optional
        Posterior means of some images, drawn behind.
    labels : integers, shape (n,)
        Their classes; wanted with `codes`.
    extent
        Both coordinates run from -extent to extent.

    Returns
    -------
    LiveFigure
        Its state is the code ``z`` and the decoder's weights.

    Raises
    ------
    ValueError
        If the VAE is none of that kind, or `codes` and `labels` do not fit.
    """
    if vae.n_latents != 2 or not isinstance(vae.likelihood, Bernoulli):
        likelihood = type(vae.likelihood).__name__
        fail("vae", "two latents and a Bernoulli likelihood", f"{vae.n_latents} and {likelihood}")
    layers = quantize(vae.decoder)
    n_pixels = layers[-1]["n_units"]
    side = math.isqrt(n_pixels)
    if side * side != n_pixels:
        fail("vae", "square images", f"{n_pixels} pixels")
    points, classes = _labelled_codes(codes, labels)
    return LiveFigure(
        "latent_explorer",
        "Latent space explorer: move the code z and see the decoded image",
        layers=layers,
        side=side,
        codes=points,
        labels=classes,
        extent=extent,
        z=[0.0, 0.0],
    )


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


def quantize(decoder: nn.Module) -> list[dict[str, Any]]:
    """Round a decoder's weights to 8 bits, in a form that fits into a page.

    Each output unit has a scale of its own, the largest absolute weight over 127, so that a
    weight is off by at most half a scale. Biases stay in float32.

    Parameters
    ----------
    decoder
        A `torch.nn.Sequential` of linear layers with ReLU, SiLU or tanh units between them.

    Returns
    -------
    list of dict
        For each linear layer ``weight`` (int8, row by row), ``scale`` and ``bias`` (float32),
        all in base64, ``n_units``, and the ``activation`` that follows; the last is the sigmoid.

    Raises
    ------
    ValueError
        If the decoder has any other layer.
    """
    modules = list(decoder) if isinstance(decoder, nn.Sequential) else [decoder]
    linear, units = modules[::2], modules[1::2]
    for module in modules:
        if type(module) not in (nn.Linear, *ACTIVATIONS):
            fail("decoder", "linear layers and ReLU, SiLU or tanh units", type(module).__name__)
    if not all(type(module) is nn.Linear for module in linear) or len(linear) != len(units) + 1:
        fail("decoder", "linear layers with one activation between two", str(modules))
    activations = [*(ACTIVATIONS[type(unit)] for unit in units), "sigmoid"]
    return [_pack(layer, name) for layer, name in zip(linear, activations, strict=True)]


def _pack(layer: nn.Module, activation: str) -> dict[str, Any]:
    weight = layer.get_parameter("weight").detach().cpu().double()
    bias = layer.get_parameter("bias").detach().cpu()
    scale = (weight.abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).tiny).float()
    rounded = (weight / scale.double()[:, None]).round().clamp(-127, 127).to(torch.int8)
    return {
        "weight": _base64(rounded.numpy()),
        "scale": _base64(scale.numpy().astype("<f4")),
        "bias": _base64(bias.numpy().astype("<f4")),
        "n_units": len(bias),
        "activation": activation,
    }


def _labelled_codes(
    codes: Tensor | None, labels: ArrayLike | None
) -> tuple[list[list[float]], Sequence[int]]:
    if codes is None:
        return [], []
    classes = np.asarray(labels)
    if codes.ndim != 2 or codes.shape[1] != 2:
        fail("codes", "shape (n, 2)", f"shape {tuple(codes.shape)}")
    if classes.shape != (len(codes),):
        fail("labels", f"shape ({len(codes)},), one for each code", f"shape {classes.shape}")
    return np.round(codes.detach().cpu().double().numpy(), 3).tolist(), classes.tolist()


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _text(file: str) -> str:
    return (files("vaebook") / file).read_text(encoding="utf-8")
