"""Drawn schemes: an inequality, the tree of the models, a chain of noise, a way through F."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
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


@in_style
def noise_chain(forward: Mapping[str, ArrayLike], reverse: Mapping[str, ArrayLike]) -> Figure:
    """Draw the two chains of a diffusion model, one above the other, as clouds with arrows.

    Parameters
    ----------
    forward, reverse : label of the step -> points of shape (n, 2)
        From the datum to the noise in both; the reverse chain is drawn from right to left.

    Returns
    -------
    Figure
        The arrows of the upper row point to the noise, those of the lower row away from it.
    """
    if list(forward) != list(reverse):
        fail("reverse", f"the steps of forward, {list(forward)}", list(reverse))
    figure, rows = subplots(2, len(forward), height=2.5, squeeze=False)
    looks = (
        ("q", "add noise", "-|>", CYCLE[0]),
        ("p", "remove noise", "<|-", CYCLE[1]),
    )
    for axes, clouds, (name, words, arrow, colour) in zip(
        rows, (forward, reverse), looks, strict=True
    ):
        for panel, (label, points) in zip(axes, clouds.items(), strict=True):
            x, y = np.asarray(points).T
            panel.scatter(x, y, s=1.2, color=colour, linewidths=0, rasterized=True)
            panel.set(xlim=(-4.5, 4.5), ylim=(-4.5, 4.5), xticks=[], yticks=[], aspect="equal")
            panel.grid(False)
            panel.spines[:].set_visible(False)
            if name == "q":
                panel.set_title(label, fontsize=9.5)
        for left, right in pairwise(axes):
            ends = {"xytext": (1.0, 0.5), "textcoords": left.transAxes}
            look = {"arrowstyle": arrow, "color": colour, "linewidth": 1.4, "shrinkA": 0}
            right.annotate("", (0, 0.5), xycoords=right.transAxes, arrowprops=look, **ends)
        axes[0].set_ylabel(f"{name}: {words}", color=colour, fontsize=9.5)
    return figure


@in_style
def through_the_ranks(
    cdfs: Mapping[str, Callable[[np.ndarray], ArrayLike]],
    windows: Mapping[str, tuple[float, float]],
    path: tuple[float, float, float],
) -> Figure:
    """Draw how a number goes up to its rank, and from the rank down to another number.

    Parameters
    ----------
    cdfs : name of the axis -> distribution function
        Of the noise, and of the target.
    windows : name of the axis -> (left end, right end)
        What is drawn of each.
    path
        The noise, its rank, and the number of that rank.

    Returns
    -------
    Figure
        Both functions on one vertical axis, with the way of the number as an arrow.
    """
    figure, panels = subplots(1, 2, height=2.7, sharey=True)
    start, rank, end = path
    for i, (axes, (name, cdf)) in enumerate(zip(panels, cdfs.items(), strict=True)):
        left, right = windows[name]
        grid = np.linspace(left, right, 600)
        axes.plot(grid, np.asarray(cdf(grid)), color=CYCLE[i])
        axes.set(xlabel=name, xlim=(left, right), ylim=(0, 1.02))
    arrow = {"arrowstyle": "-|>", "color": PALETTE["ink"], "shrinkA": 0, "shrinkB": 0}
    of_noise, of_target = panels
    right_end = of_noise.get_xlim()[1]
    of_noise.annotate("", (start, rank), (start, 0), arrowprops=arrow)
    of_noise.plot([start, right_end], [rank, rank], color=PALETTE["ink"], linewidth=1)
    of_target.plot([of_target.get_xlim()[0], end], [rank, rank], color=PALETTE["ink"], linewidth=1)
    of_target.annotate("", (end, 0), (end, rank), arrowprops=arrow)
    of_noise.set_ylabel("share of numbers below")
    return figure
