"""The code, the reconstructions and the samples of VAEs that were trained with different β."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.weights import pack_pixels
from vaebook.vae import VAE


def beta_slider(
    models: Mapping[float, VAE],
    images: Tensor,
    costs: Mapping[float, tuple[float, float]],
    seed: int = 0,
) -> LiveFigure:
    """Show what a weight on the KL term does to codes, reconstructions and samples.

    Parameters
    ----------
    models : β -> VAE
        Of square images, with equally many latents.
    images : Tensor, shape (n_images, n_pixels)
        A few, to encode.
    costs : β -> (rate, distortion)
        Averages over a data set, in nats.
    seed
        Of the new images, which start from the same codes in all models.

    Returns
    -------
    LiveFigure
        Its state is ``beta`` and the index ``image``.

    Raises
    ------
    ValueError
        If `models` and `costs` have not the same β.
    """
    if list(models) != list(costs):
        fail("costs", f"the β of the models, {list(models)}", list(costs))
    n, shown, codes = len(images), [], []
    with torch.no_grad():
        for model in models.values():
            mean, log_var = model.encode(images)
            codes.append(torch.cat([mean, log_var], 1))
            new = model.sample(n, torch.Generator().manual_seed(seed), mean=True)
            shown.append(torch.stack([model.decode(mean), new]))
    betas = list(models)
    # sixteen grey levels are enough to look at, and pack well
    levels = torch.round(15 * torch.stack(shown).cpu()) / 15
    return LiveFigure(
        "beta_slider",
        "Slide β, and see the code, the reconstructions and the new images",
        beta=1.0 if 1.0 in models else betas[0],
        image=0,
        betas=betas,
        costs=[[round(float(value), 2) for value in costs[beta]] for beta in betas],
        codes=[[[round(v, 4) for v in row] for row in each.tolist()] for each in codes],
        digits=pack_pixels(images.cpu()),
        pictures=pack_pixels(levels),
    )
