"""One code, decoded with each class as the condition."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike
from torch import Tensor, nn

from vaebook._checks import check_at_least, fail
from vaebook.conditional import ConditionalVAE
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.latent_explorer import labelled_codes
from vaebook.interactive.weights import quantize
from vaebook.likelihoods import Bernoulli


def class_and_style(
    model: ConditionalVAE, codes: Tensor, labels: ArrayLike, extent: float = 3.0, n_bits: int = 5
) -> LiveFigure:
    """Show what a conditional VAE makes of any code in the plane, once for each class.

    The decoder runs in the browser, with weights rounded by
    `~vaebook.interactive.weights.quantize`.

    Parameters
    ----------
    model
        Given a class, as zeros and a one; with two latents, square images, a Bernoulli likelihood
        and a decoder that is a `torch.nn.Sequential` of linear layers and ReLU, SiLU or tanh units.
    codes : Tensor, shape (n, 2)
        Posterior means of some images, drawn in the plane.
    labels : integers, shape (n,)
        Their classes.
    extent
        Both coordinates run from -extent to extent.
    n_bits
        Of each weight.

    Returns
    -------
    LiveFigure
        Its state has the code ``z``, the class ``chosen``, whose codes stand out, and the
        decoder's weights.

    Raises
    ------
    ValueError
        If the model is none of that kind, or `codes` and `labels` do not fit.
    """
    if model.n_latents != 2 or not isinstance(model.likelihood, Bernoulli):
        likelihood = type(model.likelihood).__name__
        fail("model", "two latents and a Bernoulli likelihood", f"{model.n_latents}, {likelihood}")
    check_at_least("n_condition", model.n_condition, 2)
    layers = quantize(model.decoder, n_bits=n_bits)
    n_pixels = [m for m in model.decoder.modules() if isinstance(m, nn.Linear)][-1].out_features
    side = math.isqrt(n_pixels)
    if side * side != n_pixels:
        fail("model", "square images", f"{n_pixels} pixels")
    points, classes = labelled_codes(codes, labels)
    return LiveFigure(
        "class_and_style",
        "Class and style: move the code z and see it decoded with each class",
        layers=layers,
        n_classes=model.n_condition,
        side=side,
        codes=points,
        labels=classes,
        extent=extent,
        z=[0.0, 0.0],
        chosen=0,
    )
