"""What each model of a table says of one digit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure
from vaebook.interactive.weights import pack_pixels


def nats_of_a_digit(
    images: Tensor,
    nearest: Tensor,
    costs: Mapping[str, Tensor],
    averages: Mapping[str, float],
    exact: Collection[str],
) -> LiveFigure:
    """Show what each model says of a digit that the reader picks, and what it was shown.

    Parameters
    ----------
    images, nearest : Tensor, shape (n_images, n_pixels)
        Binary images to pick from, and for each the nearest of those that the models saw; square.
    costs
        For each model, by its name, -log P of each image in nats, or a bound on it.
    averages
        For each model its average over a test set, for comparison.
    exact
        Names of the models whose costs are no bounds.

    Returns
    -------
    LiveFigure
        Its state is the index ``image``.

    Raises
    ------
    ValueError
        If the shapes or the names do not fit each other.
    """
    if images.shape != nearest.shape:
        fail("nearest", f"shape {tuple(images.shape)}, as the images", tuple(nearest.shape))
    if set(averages) != set(costs) or not set(exact) <= set(costs):
        fail("averages, exact", f"the models {sorted(costs)}", sorted({*averages, *exact}))
    if any(len(values) != len(images) for values in costs.values()):
        fail("costs", f"{len(images)} values for each model", {k: len(v) for k, v in costs.items()})
    models = [
        {
            "name": name,
            "costs": [round(cost, 2) for cost in costs[name].tolist()],
            "average": round(float(averages[name]), 2),
            "exact": name in exact,
        }
        for name in sorted(costs, key=lambda name: averages[name])
    ]
    return LiveFigure(
        "nats_of_a_digit",
        "Pick a digit, and see what each model says of it",
        image=0,
        models=models,
        pixels=pack_pixels(images.cpu()),
        nearest=pack_pixels(nearest.cpu()),
    )
