"""Drawn schemes: an inequality, a masked network, and the tree of the models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vaebook._checks import fail
from vaebook.figures import CYCLE, PALETTE, WIDTH, in_style, subplots
from vaebook.taxonomy import classify


@in_style
def jensen_gap(low: float, high: float) -> Figure:
    """Draw Jensen's inequality for the logarithm of a variable with two equally likely values.

    Parameters
    ----------
    low, high
        The two values, positive, in increasing order.

    Returns
    -------
    Figure
        The logarithm, its chord, its tangent at the mean, and the gap between them.
    """
    if not 0 < low < high:
        fail("low, high", "two positive numbers in increasing order", (low, high))
    middle, mean_of_logs = (low + high) / 2, math.log(low * high) / 2
    y = np.linspace(low / 2, high * 1.15, 300)
    figure, axes = subplots(height=3.0)
    axes.plot(y, np.log(y), color=CYCLE[0], label="log y")
    chord = (low, high), (math.log(low), math.log(high))
    axes.plot(*chord, "o--", color=CYCLE[1], label="chord", markersize=4)
    tangent = math.log(middle) + (y - middle) / middle
    axes.plot(y, tangent, "-.", color=CYCLE[2], linewidth=1.3, label="tangent at the mean")
    arrow = {"arrowstyle": "<->", "color": PALETTE["ink"], "shrinkA": 0, "shrinkB": 0}
    gap = (middle, mean_of_logs), (middle, math.log(middle))
    axes.annotate("", *gap, arrowprops=arrow)
    axes.text(middle * 1.05, sum(height for _, height in gap) / 2, "gap", va="center")
    axes.set(xlabel="y", ylim=(1.15 * math.log(low / 2), 1.5 * math.log(high * 1.15)))
    axes.legend(loc="lower right")
    return figure


@in_style
def masked_network(degrees: Sequence[ArrayLike], labels: Sequence[str]) -> Figure:
    """Draw the units of a masked network with their degrees, and the weights that are kept.

    Parameters
    ----------
    degrees
        Of the units of each layer, from the inputs up. A weight is kept where the degree does not
        fall; equation ``def-made-masks`` of the book.
    labels
        One for each layer.

    Returns
    -------
    Figure
        A row of numbered circles for each layer, the inputs at the bottom.
    """
    layers = [np.asarray(layer) for layer in degrees]
    if len(labels) != len(layers):
        fail("labels", f"{len(layers)}, one for each layer", len(labels))
    figure, axes = subplots(height=0.3 + 0.85 * len(layers))
    places = [(np.arange(len(layer)) + 0.5) / len(layer) for layer in layers]
    for height, (layer, label) in enumerate(zip(layers, labels, strict=True)):
        axes.text(-0.04, height, label, ha="right", va="center")
        for x, degree in zip(places[height], layer, strict=True):
            circle: dict[str, Any] = {"boxstyle": "circle,pad=0.3", "fc": "white"}
            number = axes.text(x, height, str(degree), ha="center", va="center", zorder=3)
            number.set(color="black", bbox={**circle, "ec": PALETTE["ink"]})
            for x_below, below in zip(places[height - 1], layers[height - 1], strict=True):
                if height and below <= degree:
                    axes.plot([x_below, x], [height - 1, height], color=CYCLE[0], linewidth=0.8)
    axes.set(xlim=(-0.35, 1), ylim=(-0.4, len(layers) - 0.6))
    axes.set_axis_off()
    return figure


@in_style
def taxonomy_tree(models: Mapping[str, object]) -> Figure:
    """Draw the taxonomy of generative models, each model where its own methods put it.

    Parameters
    ----------
    models : label -> model
        Any objects; `vaebook.taxonomy.classify` finds the branch of each.

    Returns
    -------
    Figure
        From left to right: what every model can do, the branches with the methods that define
        them, the models. Objects that are no generative model stand below the tree.
    """
    leaves: dict[str, list[str]] = {
        "explicit, tractable": [],
        "explicit, intractable": [],
        "implicit": [],
        "not a generative model": [],
    }
    for label, model in models.items():
        leaves[classify(model)].append(label)
    heights = {branch: max(2, len(labels)) for branch, labels in leaves.items()}
    n_rows = sum(heights.values()) + len(leaves) - 1
    figure = Figure(figsize=(WIDTH, 0.3 + 0.27 * n_rows))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(-n_rows, 0))
    axes.set_axis_off()
    methods = {
        "explicit, tractable": "tractable\nlog_prob",
        "explicit, intractable": "intractable\nelbo\nlog_prob_estimate",
        "implicit": "implicit\nsample only",
        "not a generative model": "no generative model\nno sample",
    }
    places, top = {}, 0.0
    for (branch, labels), colour in zip(leaves.items(), (*CYCLE[:3], CYCLE[5]), strict=True):
        places[branch] = middle = top - heights[branch] / 2
        look: dict[str, Any] = {"va": "center", "fontsize": 9.5}
        axes.text(4.1, middle, methods[branch], color=colour, **look)
        first = middle + len(labels) / 2
        axes.plot([7.1, 7.1], [first, first - len(labels)], color=colour, linewidth=1.6)
        for i, label in enumerate(labels):
            axes.plot([7.1, 7.3], [first - 0.5 - i] * 2, color=colour, linewidth=1.6)
            axes.text(7.4, first - 0.5 - i, label, **look)
        top -= heights[branch] + 1
    explicit = (places["explicit, tractable"] + places["explicit, intractable"]) / 2
    root = (explicit + places["implicit"]) / 2
    axes.text(0, root, "sample", va="center")
    axes.text(2.0, explicit, "explicit", va="center")
    ink: dict[str, Any] = {"color": PALETTE["ink"], "linewidth": 1.2}
    branches = [places["explicit, tractable"], places["explicit, intractable"]]
    for start, stem, height, ends in (
        (1.3, 1.6, root, {explicit: 1.9, places["implicit"]: 4.0}),
        (3.3, 3.6, explicit, dict.fromkeys(branches, 4.0)),
    ):
        axes.plot([start, stem], [height, height], **ink)
        axes.plot([stem, stem], [max(ends), min(ends)], **ink)
        for end, tip in ends.items():
            axes.plot([stem, tip], [end, end], **ink)
    return figure
