"""What a VAE's decoder makes of any code in a two-dimensional latent space."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.weights import quantize
from vaebook.likelihoods import Bernoulli
from vaebook.vae import VAE


def latent_explorer(
    vae: VAE,
    codes: Tensor | None = None,
    labels: ArrayLike | None = None,
    extent: float = 3.0,
) -> LiveFigure:
    """Show what a VAE's decoder makes of any code in a two-dimensional latent space.

    The decoder runs in the browser, with weights rounded to 8 bits by
    `~vaebook.interactive.weights.quantize`.

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
    check_plane(vae)
    layers = quantize(vae.decoder)
    n_pixels = [m for m in vae.decoder.modules() if isinstance(m, nn.Linear)][-1].out_features
    side = math.isqrt(n_pixels)
    if side * side != n_pixels:
        fail("vae", "square images", f"{n_pixels} pixels")
    points, classes = ([], []) if codes is None else labelled_codes(codes, labels)
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


def check_plane(vae: VAE) -> None:
    """Raise ValueError unless a VAE has binary pixels and a plane of codes."""
    if vae.n_latents != 2 or not isinstance(vae.likelihood, Bernoulli):
        likelihood = type(vae.likelihood).__name__
        fail("vae", "two latents and a Bernoulli likelihood", f"{vae.n_latents} and {likelihood}")


def labelled_codes(codes: Tensor, labels: ArrayLike | None) -> tuple[list[list[float]], list[int]]:
    """Return codes and their classes as lists; raise ValueError if they do not fit."""
    classes = np.asarray(labels)
    if codes.ndim != 2 or codes.shape[1] != 2:
        fail("codes", "shape (n, 2)", f"shape {tuple(codes.shape)}")
    if classes.shape != (len(codes),):
        fail("labels", f"shape ({len(codes)},), one for each code", f"shape {classes.shape}")
    return np.round(codes.detach().cpu().double().numpy(), 2).tolist(), classes.tolist()
