"""A digit that the reader draws, its posterior, its reconstruction and its bound."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.latent_explorer import check_plane, labelled_codes
from vaebook.interactive.weights import pack_pixels, quantize
from vaebook.vae import VAE

N_PIXELS = 28 * 28


def digit_drawer(
    vae: VAE, codes: Tensor, labels: ArrayLike, examples: Tensor, extent: float = 3.5
) -> LiveFigure:
    """Let the reader draw a digit, and show what a VAE makes of it.

    The page centres the drawing as the MNIST digits are, makes it binary and runs encoder and
    decoder on it, with weights rounded to 8 bits by `~vaebook.interactive.weights.quantize`. It
    shows the posterior (equation ``def-encoder``), both terms of the bound and the importance
    weighted estimate of log p(x), in nats.

    Parameters
    ----------
    vae
        Of binary images of 28 x 28 pixels, with two latents under a standard normal prior. Its
        networks are of linear layers and ReLU, SiLU or tanh units.
    codes : Tensor, shape (n, 2)
        Posterior means of some images, drawn behind.
    labels : integers, shape (n,)
        Their classes.
    examples : Tensor, shape (m, 784)
        Binary digits that the reader may choose instead of drawing one; the first is shown first.
    extent
        Both coordinates of the plane run from -extent to extent.

    Returns
    -------
    LiveFigure
        Its state holds the ``strokes`` that were drawn.

    Raises
    ------
    ValueError
        If the VAE is none of that kind, or the other arguments do not fit it.
    """
    check_plane(vae)
    if examples.ndim != 2 or examples.shape[1] != N_PIXELS:
        fail("examples", f"shape (m, {N_PIXELS})", f"shape {tuple(examples.shape)}")
    points, classes = labelled_codes(codes, labels)
    encoder = quantize(vae.encoder.get_submodule("network"), "identity")
    decoder = quantize(vae.decoder, "identity")
    return LiveFigure(
        "digit_drawer",
        "Digit drawer: draw a digit and see how the model encodes and rates it",
        networks={"encoder": encoder, "decoder": decoder},
        codes=points,
        labels=classes,
        examples=pack_pixels(torch.as_tensor(examples).detach().cpu()),
        extent=extent,
        example=0,
        strokes=[],
        z=[1.5, -1.5],
    )
