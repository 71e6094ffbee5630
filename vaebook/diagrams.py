"""Drawn schemes: an inequality, the tree of the models, a message as it grows and shrinks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

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
def bits_back(before: float, popped: float, pixels: float, prior: float) -> Figure:
    """Draw what bits-back coding of one image does to the length of the message.

    Parameters
    ----------
    before
        Length of the message before, in bits.
    popped
        Bits that are popped to choose z, at most `before`.
    pixels, prior
        Bits that are pushed to say x given z, and to say z.

    Returns
    -------
    Figure
        The message before and after each of the three steps, and what the image costs in all.
    """
    if not 0 < popped <= before:
        fail("popped", f"a positive number of bits, at most {before:g}", popped)
    figure, axes = subplots(height=3.3)
    axes.grid(False)
    rest = before - popped
    bars: list[tuple[float, float, float, str, str]] = [  # place, bottom, height, colour, text
        (0, 0, before, "slate", "message\nso far"),
        (1, 0, rest, "slate", ""),
        (2, 0, rest, "slate", ""),
        (2, rest, pixels, "blue", "x given z"),
        (3, 0, rest, "slate", ""),
        (3, rest, pixels, "blue", ""),
        (3, rest + pixels, prior, "teal", "z"),
    ]
    for place, bottom, height, colour, text in bars:
        axes.bar(place, height, 0.86, bottom, color=PALETTE[colour], edgecolor="white")
        axes.text(place, bottom + height / 2, text, color="white", ha="center", va="center")
    gone: dict[str, Any] = {"facecolor": "none", "edgecolor": PALETTE["vermilion"]}
    axes.bar(1, popped, 0.86, rest, linestyle="--", linewidth=1.4, **gone)
    look: dict[str, Any] = {"ha": "center", "va": "center"}
    axes.text(1, rest + popped / 2, "taken to\nchoose z", color=PALETTE["vermilion"], **look)
    after = rest + pixels + prior
    arrow = {"arrowstyle": "<->", "color": PALETTE["ink"], "shrinkA": 0, "shrinkB": 0}
    axes.plot([0.43, 3.72], [before, before], ":", color=PALETTE["ink"], linewidth=1.0, zorder=0)
    axes.annotate("", (3.6, before), (3.6, after), arrowprops=arrow)
    axes.text(3.67, (before + after) / 2, "price\nof x", va="center")
    axes.set(xlim=(-0.5, 4.25), ylabel="length of the message, bits")
    axes.set_xlabel("sender: left to right; receiver: right to left")
    axes.set_xticks(range(4), ["before", "pop z", "push x", "push z"])
    return figure
