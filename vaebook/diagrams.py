"""Drawn schemes: an inequality, graphs of variables, networks, the tree of the models."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, Polygon, Rectangle
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
    above_the_chord = mean_of_logs + 0.75 * (math.log(middle) - mean_of_logs)
    axes.text(middle * 1.05, above_the_chord, "gap", va="center")
    axes.set(xlabel="y", ylim=(1.15 * math.log(low / 2), 1.5 * math.log(high * 1.15)))
    axes.legend(loc="lower right")
    return figure


Point = tuple[float, float]
RADIUS = 0.42  # of a variable's circle, in units of a graph's canvas
GRADIENT = (0, (3, 2))  # dashes of what runs against the model's arrows


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Make an empty picture whose units are equally long in both directions."""
    figure = Figure(figsize=(WIDTH, WIDTH * height / width))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def _variable(axes: Axes, at: Point, name: str, *, seen: bool = False, colour: str = "ink") -> None:
    """Draw a random variable as a circle, shaded if the data contain it."""
    look: dict[str, Any] = {"edgecolor": PALETTE[colour], "linewidth": 1.4, "zorder": 2}
    axes.add_patch(Circle(at, RADIUS, facecolor="none", **look))
    if seen:
        axes.add_patch(Circle(at, RADIUS, color=PALETTE["slate"], alpha=0.25, linewidth=0))
    _text(axes, at, name, colour)


def _text(axes: Axes, at: Point, text: str, colour: str = "ink", **look: Any) -> None:
    look = {"ha": "center", "va": "center"} | look
    axes.text(*at, text, color=PALETTE[colour], **look)


def _box(axes: Axes, at: Point, name: str, colour: str, *, narrowing: float = 0.0) -> None:
    """Draw a network as a box, narrower at its right side or, below zero, at its left."""
    (x, y), half, tall = at, 0.8, 0.62
    left, right = tall + min(0, narrowing), tall - max(0, narrowing)
    corners = [(x - half, y - left), (x - half, y + left), (x + half, y + right)]
    corners.append((x + half, y - right))
    axes.add_patch(Polygon(corners, facecolor="none", edgecolor=PALETTE[colour], linewidth=1.6))
    _text(axes, at, name, colour, fontsize=10)


def _arrow(axes: Axes, start: Point, end: Point, colour: str = "ink", **look: Any) -> None:
    """Draw an arrow that ends short of both points by the radius of a variable, or by `gap`."""
    gap = look.pop("gap", (RADIUS, RADIUS))
    step = np.subtract(end, start) / math.dist(start, end)
    ends = np.add(end, -gap[1] * step), np.add(start, gap[0] * step)
    style = {"arrowstyle": "-|>", "color": PALETTE[colour], "linewidth": 1.3, "mutation_scale": 11}
    axes.annotate("", *ends, arrowprops=style | {"shrinkA": 0, "shrinkB": 0} | look)


@in_style
def vae_overview() -> Figure:
    """Draw a VAE twice: what the model says of a datum, and the networks at work.

    Returns
    -------
    Figure
        Above, the graphical model of one of N data, with the approximate posterior as a dashed
        arrow. Below, from left to right: datum, encoder, code, decoder, distribution of the
        datum, with the two terms of the bound where they arise.
    """
    figure, axes = _canvas(12, 8.2)
    z, x = (1.4, 7.2), (1.4, 5.1)
    axes.add_patch(Rectangle((0.2, 3.9), 2.4, 4.1, fill=False, edgecolor=PALETTE["slate"]))
    axes.text(2.5, 4.05, "N data", ha="right", fontsize=9.5, color=PALETTE["slate"])
    _variable(axes, z, "z")
    _variable(axes, x, "x", seen=True)
    _arrow(axes, (1.58, z[1]), (1.58, x[1]), "blue")
    _arrow(axes, (1.22, x[1]), (1.22, z[1]), "vermilion", linestyle=GRADIENT)
    words = {
        "prior p(z): the code is drawn first": "ink",
        "decoder p(x | z): the datum is drawn from the code": "blue",
        "encoder q(z | x): guesses the code of a datum": "vermilion",
        "evidence p(x): the datum, whatever its code was": "slate",
    }
    for i, (line, colour) in enumerate(words.items()):
        axes.text(3.2, 7.2 - 0.85 * i, line, va="center", color=PALETTE[colour], fontsize=10)
    row = 2.1
    _variable(axes, (0.6, row), "x", seen=True)
    _box(axes, (2.5, row), "encoder", "vermilion", narrowing=0.28)
    _text(axes, (4.3, row), "\u03bc, \u03c3", "vermilion")
    _variable(axes, (5.9, row), "z")
    _variable(axes, (5.9, row + 1.5), "\u03b5", colour="slate")
    _box(axes, (8.0, row), "decoder", "blue", narrowing=-0.28)
    _text(axes, (10.6, row), "p(x | z)", "blue")
    for start, end, gap in (
        ((0.6, row), (1.7, row), (RADIUS, 0.05)),
        ((3.3, row), (3.85, row), (0.05, 0.0)),
        ((4.75, row), (5.9, row), (0.0, RADIUS)),
        ((5.9, row + 1.5), (5.9, row), (RADIUS, RADIUS)),
        ((5.9, row), (7.2, row), (RADIUS, 0.05)),
        ((8.8, row), (9.75, row), (0.05, 0.0)),
    ):
        _arrow(axes, start, end, gap=gap)
    for place, words_below in (
        (4.3, "near the prior?\n\u2212 KL(q || p(z))"),
        (10.1, "is x probable here?\n+ log p(x | z)"),
    ):
        _text(axes, (place, 0.5), words_below)
        _arrow(axes, (place, row - 0.35), (place, 1.05), "slate", gap=(0, 0), linestyle=":")
    return figure


@in_style
def reparameterised_graph() -> Figure:
    """Draw where the gradient stops when z is drawn, and how it passes when the noise is.

    Returns
    -------
    Figure
        Two graphs side by side, with dashed arrows for the gradient.
    """
    figure, axes = _canvas(12, 5.6)
    for middle, title in ((2.8, "z is drawn from q"), (9.2, "only the noise is drawn")):
        parameters, z, value = (middle, 0.4), (middle, 2.3), (middle, 4.2)
        _text(axes, (middle, 5.3), title)
        _text(axes, parameters, "\u03bc, \u03c3")
        _text(axes, value, "f(z)")
        _arrow(axes, parameters, z, gap=(0.35, RADIUS))
        _arrow(axes, z, value, gap=(RADIUS, 0.35))
        back: dict[str, Any] = {"gap": (0, 0), "linestyle": GRADIENT}
        side = middle + 0.6
        _arrow(axes, (side, 4.2), (side, 2.75), "vermilion", **back)
        _text(axes, (side + 0.2, 3.5), "gradient", "vermilion", ha="left")
        if middle < 6:
            _variable(axes, z, "z")
            _text(axes, (side + 0.05, 2.35), "\u00d7  stops", "vermilion", ha="left")
        else:
            corner, size = np.subtract(z, RADIUS), 2 * RADIUS
            axes.add_patch(Rectangle((corner[0], corner[1]), size, size, fill=False))
            _text(axes, z, "z")
            _variable(axes, (middle - 2, 2.3), "\u03b5", colour="slate")
            _arrow(axes, (middle - 2, 2.3), z)
            _arrow(axes, (side, 1.85), (side, 0.45), "vermilion", **back)
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


@in_style
def graphical_model(
    places: Mapping[str, tuple[float, float]],
    arrows: Collection[tuple[str, str]],
    *,
    seen: Collection[str] = (),
    node: tuple[float, float] = (1.5, 0.7),
) -> Figure:
    """Draw the variables of a model, and which of them each one depends on.

    Parameters
    ----------
    places : label -> (x, y)
        Where the centre of each variable stands, in units of the page that both axes share.
    arrows : (parent, child)
        Labels of two variables; the child is drawn given the parent.
    seen
        Variables that are observed. They are shaded, as is usual.
    node
        Width and height of a variable, in the same units.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If an arrow or `seen` names a variable without a place.
    """
    for label in [*seen, *(label for arrow in arrows for label in arrow)]:
        if label not in places:
            fail("arrows, seen", f"variables among {sorted(places)}", repr(label))
    x, y = np.array(list(places.values()), dtype=float).T
    width, height = np.ptp(x) + 1.1 * node[0], np.ptp(y) + 1.1 * node[1]
    figure = Figure(figsize=(WIDTH, WIDTH * height / width))
    axes = figure.subplots()
    axes.set(xlim=np.mean([x.min(), x.max()]) + np.array([-0.5, 0.5]) * width)
    axes.set(ylim=np.mean([y.min(), y.max()]) + np.array([-0.5, 0.5]) * height)
    axes.set_axis_off()
    nodes = {label: Ellipse(place, *node, linewidth=1.4) for label, place in places.items()}
    for label, ellipse in nodes.items():
        colour = PALETTE["blue" if label in seen else "ink"]
        ellipse.set(edgecolor=colour, facecolor=(*to_rgb(colour), 0.18 if label in seen else 0.0))
        axes.add_patch(ellipse)
        axes.text(*places[label], label, ha="center", va="center", fontsize=10.5)
    for parent, child in arrows:
        ends: dict[str, Any] = {"patchA": nodes[parent], "patchB": nodes[child]}
        look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 12, "color": PALETTE["ink"]}
        axes.add_patch(FancyArrowPatch(places[parent], places[child], **ends, **look))
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
