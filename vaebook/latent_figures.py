"""Pictures of latent variables: codes in the plane, paths between them, a mixture's components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from vaebook._checks import check_at_least, fail
from vaebook.figures import (
    CYCLE,
    MARKERS,
    PALETTE,
    WIDTH,
    Images,
    as_images,
    gold_to_blue,
    in_style,
    mosaic,
    subplots,
)


@in_style
def latent_scatter(codes: Tensor, labels: ArrayLike) -> Figure:
    """Draw two-dimensional codes, each as the digit it encodes.

    Parameters
    ----------
    codes : Tensor, shape (n, 2)
        Posterior means.
    labels : integers, shape (n,)
        The class of each code; drawn as the mark itself, so that colour is only a help.

    Returns
    -------
    Figure
    """
    points = codes.detach().cpu().numpy()
    classes = np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2:
        fail("codes", "shape (n, 2)", f"shape {points.shape}")
    if classes.shape != (len(points),):
        fail("labels", f"shape ({len(points)},)", f"shape {classes.shape}")
    figure = Figure(figsize=(WIDTH, WIDTH))
    axes = figure.subplots()
    for i, label in enumerate(np.unique(classes)):
        x, y = points[classes == label].T
        colour = CYCLE[i % len(CYCLE)]
        # Rasterized: thousands of glyphs as vectors would weigh megabytes.
        axes.scatter(x, y, marker=f"${label}$", s=22, color=colour, linewidths=0.2, rasterized=True)
    axes.set_aspect("equal")
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$")
    return figure


@in_style
def latent_manifold(decode: Callable[[Tensor], Tensor], n: int = 20) -> Figure:
    """Draw what a decoder makes of a grid over a two-dimensional latent space.

    Parameters
    ----------
    decode : (n * n, 2) -> (n * n, side * side)
        Mean images in [0, 1].
    n
        Codes on each axis, at the quantiles (i + ½) / n of the standard normal prior: every
        image stands for the same share of the prior.

    Returns
    -------
    Figure
        The second latent coordinate grows upwards.
    """
    check_at_least("n", n, 2)
    quantiles = torch.special.ndtri((torch.arange(n) + 0.5) / n)
    z2, z1 = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    with torch.no_grad():
        images = as_images(decode(torch.stack([z1.ravel(), z2.ravel()], 1)))
    figure, axes, _ = mosaic(images, n, gap=0, margin=0.3)
    side = images.shape[1]
    marks = torch.tensor([-1.0, 0.0, 1.0])
    where = n * side * torch.special.ndtr(marks).numpy() - 0.5
    axes.set_axis_on()
    axes.set_xticks(where, ["-1", "0", "1"])
    axes.set_yticks(n * side - 1 - where, ["-1", "0", "1"])
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$")
    return figure


@in_style
def interpolation_strip(paths: Images) -> Figure:
    """Draw decoded paths through the latent space, one in a row, from left to right.

    Parameters
    ----------
    paths : float in [0, 1], shape (n_paths, n_steps, side * side), or (n_steps, side * side)
        The decoded image at equal steps along each path.

    Returns
    -------
    Figure
        Below the images stands the share of the way covered, 0 to 1.
    """
    paths = torch.as_tensor(paths)
    if paths.ndim not in (2, 3) or paths.shape[-2] < 2:
        fail(
            "paths",
            "shape (n_paths, n_steps, pixels) or (n_steps, pixels) with two steps or more",
            f"shape {tuple(paths.shape)}",
        )
    n_steps = paths.shape[-2]
    images = as_images(paths.reshape(-1, paths.shape[-1]))
    figure, axes, corners = mosaic(images, n_steps, margin=0.55)
    centres = np.array([column for _, column in corners[:n_steps]]) + images.shape[2] / 2 - 0.5
    axes.set_xticks(centres[[0, -1]], ["0", "1"])
    axes.tick_params(length=0)
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    axes.set_xlabel("share of the way")
    return figure


@in_style
def cloud_and_codes(cloud: Tensor, codes: Mapping[str, Tensor], shade: ArrayLike) -> Figure:
    """Draw points in space, and beside them their two-dimensional codes.

    Parameters
    ----------
    cloud : Tensor, shape (n, 3)
        The points.
    codes : label -> Tensor of shape (n, 2)
        One panel each.
    shade : shape (n,)
        A number for each point, drawn as its shade in every panel.

    Returns
    -------
    Figure
    """
    n_points = len(cloud)
    for name, points, width in (("cloud", cloud, 3), *((k, v, 2) for k, v in codes.items())):
        if points.shape != (n_points, width):
            fail(name, f"shape ({n_points}, {width})", tuple(points.shape))
    colours = gold_to_blue()
    look: dict[str, Any] = {"c": np.asarray(shade), "s": 3, "linewidths": 0, "rasterized": True}
    figure = Figure(figsize=(WIDTH, 2.2))
    space = figure.add_subplot(1, 1 + len(codes), 1, projection="3d")
    space.scatter(*cloud.numpy(force=True).T, cmap=colours, **look)
    space.set(xticks=[], yticks=[], zticks=[])
    for i, (label, points) in enumerate(codes.items()):
        axes = figure.add_subplot(1, 1 + len(codes), 2 + i)
        axes.scatter(*points.numpy(force=True).T, cmap=colours, **look)
        axes.set(xticks=[], yticks=[], xlabel=label)
    return figure


@in_style
def mixture_components(
    points: ArrayLike,
    resp: ArrayLike,
    means: ArrayLike,
    covariances: ArrayLike,
    *,
    x_label: str = "",
    y_label: str = "",
) -> Figure:
    """Draw points in the plane by their likeliest component, with the components' ellipses.

    Parameters
    ----------
    points : shape (n, 2)
        The data.
    resp : shape (n, K)
        Their responsibilities.
    means : shape (K, 2)
        Of the components.
    covariances : shape (K, 2, 2)
        Of the components; ellipses stand at one and two standard deviations.
    x_label, y_label
        Of the axes.

    Returns
    -------
    Figure
    """
    figure, axes = subplots(height=3.4)
    points, means, covariances = map(np.asarray, (points, means, covariances))
    component = np.asarray(resp).argmax(axis=1)
    angle = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        color = CYCLE[k % 6]
        own = points[component == k]
        axes.plot(*own.T, MARKERS[k % 6], markersize=2.5, alpha=0.6, color=color)
        ellipse = np.linalg.cholesky(covariance) @ circle
        for width in (1, 2):
            axes.plot(*(mean[:, None] + width * ellipse), color=color, linewidth=1.4)
    axes.set(xlabel=x_label, ylabel=y_label)
    return figure


@in_style
def nearest_code_cells(points: Tensor, vectors: Tensor) -> Figure:
    """Draw points of the plane, the vectors of a codebook, and which points each one stands for.

    Parameters
    ----------
    points : Tensor, shape (n, 2)
        What an encoder says; small dots, each with a line to the vector that takes its place.
    vectors : Tensor, shape (k, 2)
        The codebook; numbered. Shades tell the cells apart: all that is nearest to one vector.

    Returns
    -------
    Figure
    """
    for name, value in (("points", points), ("vectors", vectors)):
        if value.ndim != 2 or value.shape[1] != 2:
            fail(name, "shape (n, 2)", tuple(value.shape))
    edge = 1.08 * float(torch.cat([points, vectors]).abs().max())
    grid = torch.cartesian_prod(*[torch.linspace(-edge, edge, 400, dtype=vectors.dtype)] * 2)
    cells = torch.cdist(grid, vectors).argmin(1).view(400, 400).T.numpy(force=True)
    chosen = vectors[torch.cdist(points, vectors).argmin(1)]
    figure = Figure(figsize=(0.72 * WIDTH, 0.72 * WIDTH))
    axes = figure.subplots()
    shades = LinearSegmentedColormap.from_list("cells", ["white", PALETTE["slate"]])
    look: dict[str, Any] = {"cmap": shades, "alpha": 0.35, "interpolation": "nearest"}
    axes.imshow(cells * 7 % len(vectors), extent=(-edge, edge) * 2, origin="lower", **look)
    for start, end in zip(points.numpy(force=True), chosen.numpy(force=True), strict=True):
        axes.plot(*zip(start, end, strict=True), color=PALETTE["blue"], linewidth=0.6)
    for places, size, colour, order in ((points, 9, "blue", 2), (vectors, 150, "vermilion", 3)):
        x, y = places.numpy(force=True).T
        axes.scatter(x, y, s=size, color=PALETTE[colour], linewidths=0, zorder=order)
    for number, at in enumerate(vectors.tolist()):
        axes.text(
            at[0], at[1], str(number), color="white", ha="center", va="center", fontsize=9, zorder=4
        )
    axes.set(xticks=[], yticks=[], aspect="equal")
    return figure
