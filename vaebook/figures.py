"""The book's figures: one palette, one style, functions that return matplotlib Figures.

Nothing changes on import.  `style` makes the look the session's default and shows figures as SVG
in a notebook; without it every function here still draws in the book's colours.

Figures are made without pyplot: a cell shows one by ending in it, and none is shown twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch import Tensor

from vaebook._checks import check_at_least, fail
from vaebook.taxonomy import TractableDensity, classify
from vaebook.training import History

PALETTE = {
    "ink": "#1b2430",
    "blue": "#1d5fa8",
    "vermilion": "#b3300f",
    "teal": "#067c70",
    "gold": "#b98900",
    "plum": "#8a2f7b",
    "slate": "#4b5564",
}
CYCLE = tuple(PALETTE[name] for name in ("blue", "vermilion", "teal", "gold", "plum", "slate"))
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")

# At this width the text is still legible where a phone shows the figure 350 pixels wide.
WIDTH = 5.2  # inches

STYLE: Any = {
    "figure.figsize": (WIDTH, 3.2),
    "figure.dpi": 200,  # of the images inside an SVG
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "none",
    "savefig.dpi": 200,
    "svg.hashsalt": "vaebook",  # the same bytes at every run
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "text.color": PALETTE["ink"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.edgecolor": PALETTE["slate"],
    "xtick.color": PALETTE["ink"],
    "ytick.color": PALETTE["ink"],
    "axes.facecolor": "none",
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALETTE["slate"],
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "image.cmap": "Greys",
    "image.interpolation": "nearest",
}

Images = Tensor | np.ndarray
P = ParamSpec("P")
R = TypeVar("R")


def style() -> None:
    """Make the book's style the default of this session.

    Sets matplotlib's rcParams and, in a notebook, shows figures as SVG without a date.
    """
    mpl.rcParams.update(STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # no notebook installed
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None})


def in_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a drawing function: it draws in the book's style whatever the session's is."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@in_style
def subplots(
    n_rows: int = 1, n_columns: int = 1, *, height: float = 3.2, **options: Any
) -> tuple[Figure, Any]:
    """Make an empty figure in the book's style and width.

    Parameters
    ----------
    n_rows, n_columns
        Panels.
    height
        Of the whole figure, in inches.
    **options
        Passed on to `matplotlib.figure.Figure.subplots` (``sharex`` and so on).

    Returns
    -------
    Figure, Axes or array of Axes
        As from ``pyplot.subplots``, but not known to pyplot.
    """
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(n_rows, n_columns, **options)


# --- images -----------------------------------------------------------------------------------


@in_style
def image_grid(
    images: Images, n_columns: int = 10, *, titles: Sequence[str] | None = None
) -> Figure:
    """Draw grey images in a grid, dark ink on light paper.

    Parameters
    ----------
    images : uint8, or float in [0, 1]; shape (n, height, width) or (n, side * side)
        Row by row.  Floats are clipped to [0, 1].
    n_columns
        Images in a row.
    titles : n strings, optional
        One above each image.

    Returns
    -------
    Figure
    """
    images = _as_images(images)
    check_at_least("n_columns", n_columns, 1)
    n_columns = min(n_columns, len(images))
    if titles is not None and len(titles) != len(images):
        fail("titles", f"{len(images)} strings, one for each image", f"{len(titles)}")
    room = 0 if titles is None else images.shape[1] // 2
    mosaic, corners = _mosaic(images, n_columns, room)
    figure, axes = _picture(mosaic, images.shape[2])
    for (row, column), title in zip(corners, titles or (), strict=False):
        middle = column + images.shape[2] / 2 - 0.5
        axes.text(middle, row - 2, title, ha="center", va="bottom", fontsize=9.5)
    return figure


@in_style
def image_rows(rows: Mapping[str, Images]) -> Figure:
    """Draw labelled rows of images under each other, such as originals and reconstructions.

    Parameters
    ----------
    rows : label -> images
        Each as in `image_grid`, all of one size; every row has the same number of images.

    Returns
    -------
    Figure
    """
    if not rows:
        fail("rows", "at least one label with its images", "none")
    stacks = {label: _as_images(images) for label, images in rows.items()}
    shapes = {stack.shape for stack in stacks.values()}
    if len(shapes) > 1:
        fail("rows", "rows of equally many images of one size", f"shapes {sorted(shapes)}")
    n_images, height, width = shapes.pop()
    mosaic, corners = _mosaic(np.concatenate(list(stacks.values())), n_images, room=height // 2)
    figure, axes = _picture(mosaic, width)
    for (row, column), label in zip(corners[::n_images], stacks, strict=True):
        axes.text(column, row - 2, label, ha="left", va="bottom")
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
    images = _as_images(paths.reshape(-1, paths.shape[-1]))
    mosaic, corners = _mosaic(images, n_steps, room=0)
    figure, axes = _picture(mosaic, images.shape[2], margin=0.55)
    centres = np.array([column for _, column in corners[:n_steps]]) + images.shape[2] / 2 - 0.5
    axes.set_xticks(centres[[0, -1]], ["0", "1"])
    axes.tick_params(length=0)
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    axes.set_xlabel("share of the way")
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
        images = _as_images(decode(torch.stack([z1.ravel(), z2.ravel()], 1)))
    mosaic, _ = _mosaic(images, n, room=0, gap=0)
    figure, axes = _picture(mosaic, images.shape[2], margin=0.3)
    side = images.shape[1]
    marks = torch.tensor([-1.0, 0.0, 1.0])
    where = n * side * torch.special.ndtr(marks).numpy() - 0.5
    axes.set_axis_on()
    axes.set_xticks(where, ["-1", "0", "1"])
    axes.set_yticks(n * side - 1 - where, ["-1", "0", "1"])
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$")
    return figure


def _as_images(images: Images) -> np.ndarray:
    """Bring images to float64 in [0, 1] of shape (n, height, width)."""
    tensor = torch.as_tensor(images).detach().cpu()
    grey = tensor.double() / (255 if tensor.dtype == torch.uint8 else 1)
    side = math.isqrt(grey.shape[-1]) if grey.ndim else 0
    if grey.ndim == 2 and side * side == grey.shape[1]:
        grey = grey.reshape(-1, side, side)
    if grey.ndim != 3 or grey.numel() == 0:
        fail(
            "images",
            "shape (n, height, width) or (n, side * side), at least one image",
            f"shape {tuple(tensor.shape)}",
        )
    if not grey.isfinite().all():
        fail("images", "finite numbers", "NaN or infinity")
    return grey.clamp(0, 1).numpy()


def _mosaic(
    images: np.ndarray, n_columns: int, room: int, gap: int = 2
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Lay images out in one array, NaN between them; also return their upper left corners.

    `room` is the number of empty pixel rows above each row of images.
    """
    n, height, width = images.shape
    n_rows = -(-n // n_columns)
    step = height + gap + room
    mosaic = np.full((n_rows * step - gap, n_columns * (width + gap) - gap), np.nan)
    corners = []
    for i, image in enumerate(images):
        row, column = i // n_columns * step + room, i % n_columns * (width + gap)
        mosaic[row : row + height, column : column + width] = image
        corners.append((row, column))
    return mosaic, corners


def _picture(mosaic: np.ndarray, tile: int, margin: float = 0) -> tuple[Figure, Axes]:
    """Draw a mosaic of tiles `tile` pixels wide; `margin` inches of height go to tick labels."""
    n_rows, n_columns = mosaic.shape
    # Few images stay small: one is at most 0.7 inch wide, about 70 pixels on the page.
    width = min(WIDTH, 0.7 * n_columns / tile)
    figure = Figure(figsize=(width, width * n_rows / n_columns + margin))
    axes = figure.subplots()
    axes.imshow(np.ma.masked_invalid(mosaic), vmin=0, vmax=1)
    axes.set_axis_off()
    axes.grid(False)
    return figure, axes


# --- latent codes -----------------------------------------------------------------------------


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


# --- curves and distributions -----------------------------------------------------------------


@in_style
def learning_curves(
    history: History, terms: Mapping[str, str] | Sequence[str] = ("reconstruction", "kl")
) -> Figure:
    """Draw the training and validation average of each term against the epoch.

    Parameters
    ----------
    history : vaebook.training.History
        From `vaebook.training.fit`.
    terms
        Names in ``history.train``, or name -> label of its axis; one panel each.

    Returns
    -------
    Figure
        Training is a solid line, validation a dashed one with dots.
    """
    labels = dict(terms) if isinstance(terms, Mapping) else {term: term for term in terms}
    figure = Figure(figsize=(WIDTH, 2.9))
    panels = figure.subplots(1, len(labels), squeeze=False)[0]
    for axes, (term, label) in zip(panels, labels.items(), strict=True):
        train = history.array("train", term)
        epochs = np.arange(1, len(train) + 1)
        axes.plot(epochs, train, color=CYCLE[0], label="training")
        if history.validation:
            valid = history.array("validation", term)
            axes.plot(
                # Validation starts before the first step, at epoch 0, which is off the scale.
                *(epochs, valid[len(valid) - len(epochs) :]),
                *("o--",),
                color=CYCLE[1],
                label="validation",
                markersize=3,
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{label} (nats)")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0].legend()
    return figure


@in_style
def lines(
    x: ArrayLike,
    series: Mapping[str, ArrayLike],
    *,
    errors: Mapping[str, ArrayLike] | None = None,
    levels: Mapping[str, float] | None = None,
    x_label: str = "",
    y_label: str = "",
    x_scale: Literal["linear", "log"] = "linear",
    y_scale: Literal["linear", "log"] = "linear",
    height: float = 3.2,
) -> Figure:
    """Draw named curves over one axis, each with its own line style.

    Up to 40 points also get a marker each; more would be a band of markers.

    Parameters
    ----------
    x : shape (n,)
        Common abscissa.
    series : label -> shape (n,)
        The curves.
    errors : label -> shape (n,), optional
        Half-widths of a shaded band around the curve of that label.
    levels : label -> value, optional
        Horizontal reference lines, labelled where the curves leave room: left, right or middle.
    x_label, y_label, x_scale, y_scale
        Of the axes.
    height
        Of the figure, in inches.

    Returns
    -------
    Figure
    """
    figure, axes = subplots(height=height)
    x = np.asarray(x)
    for i, (label, values) in enumerate(series.items()):
        y = np.asarray(values)
        if y.shape != x.shape:
            fail("series", f"{label!r} of shape {x.shape}, as x", f"shape {y.shape}")
        look: dict[str, Any] = {"color": CYCLE[i % 6], "linestyle": DASHES[i % 6]}
        marker = MARKERS[i % 6] if len(x) <= 40 else ""
        axes.plot(x, y, marker=marker, markersize=4, label=label, **look)
        if errors is not None and label in errors:
            band = np.asarray(errors[label])
            axes.fill_between(x, y - band, y + band, color=look["color"], alpha=0.2, linewidth=0)
    curves = np.array([np.asarray(values) for values in series.values()])
    for label, level in (levels or {}).items():
        axes.axhline(level, color=PALETTE["ink"], linewidth=1, linestyle=(0, (2, 2)))
        gaps = np.abs(curves[:, [-1, 0, len(x) // 2]] - level).min(axis=0)
        place, side = ((0.99, "right"), (0.01, "left"), (0.5, "center"))[int(gaps.argmax())]
        across = axes.get_yaxis_transform()
        axes.text(place, level, label, transform=across, ha=side, va="bottom", fontsize=9.5)
    axes.set(xlabel=x_label, ylabel=y_label, xscale=x_scale, yscale=y_scale)
    if len(series) > 1:
        axes.legend()
    return figure


@in_style
def histograms(
    values: Mapping[str, ArrayLike],
    *,
    bins: int = 50,
    density: Callable[[np.ndarray], ArrayLike] | None = None,
    x_label: str = "",
    height: float = 3.0,
) -> Figure:
    """Draw the distribution of one or several samples over common bins.

    Parameters
    ----------
    values : label -> shape (n,)
        The samples; outlines of different line styles, the first one filled.
    bins
        Number of common bins.
    density : callable, optional
        A density to lay over them.
    x_label
        Of the axis.
    height
        Of the figure, in inches.

    Returns
    -------
    Figure
    """
    figure, axes = subplots(height=height)
    samples = {label: np.asarray(sample) for label, sample in values.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(samples.values())), bins)
    for i, (label, sample) in enumerate(samples.items()):
        heights, _ = np.histogram(sample, edges, density=True)
        look: dict[str, Any] = {"color": CYCLE[i % 6], "linestyle": DASHES[i % 6]}
        axes.stairs(heights, edges, label=label, linewidth=1.6, **look)
        if i == 0:
            axes.stairs(heights, edges, fill=True, alpha=0.15, color=look["color"])
    if density is not None:
        x = np.linspace(edges[0], edges[-1], 400)
        axes.plot(x, np.asarray(density(x)), color=PALETTE["ink"], linewidth=1.2, label="density")
    axes.set(xlabel=x_label, ylabel="density", ylim=(0, None))
    if len(samples) > 1 or density is not None:
        axes.legend()
    return figure


@in_style
def bars(
    values: Mapping[str, float],
    *,
    errors: Mapping[str, float] | None = None,
    x_label: str = "",
    highlight: Sequence[str] = (),
    x_min: float | None = None,
) -> Figure:
    """Draw named values under each other, each with its number.

    All numbers have as many decimals as the smallest one needs for three digits.

    Parameters
    ----------
    values : label -> value
        From top to bottom.
    errors : label -> half-width, optional
        Error bars.
    x_label
        Of the axis.
    highlight
        Labels of bars (or dots) to fill; the others are outlined.
    x_min
        Where the axis starts.  Without it bars start at zero; with it the values are dots,
        because the length of a bar that is cut off says nothing.

    Returns
    -------
    Figure
    """
    smallest = min((abs(value) for value in values.values() if value), default=1.0)
    digits = max(0, 2 - math.floor(math.log10(smallest)))
    figure, axes = subplots(height=0.7 + 0.38 * len(values))
    for place, (label, value) in enumerate(values.items()):
        fill = CYCLE[0] if label in highlight else "none"
        if x_min is None:
            axes.barh(place, value, height=0.62, color=fill, edgecolor=CYCLE[0], linewidth=1.2)
        else:
            axes.plot(value, place, "o", markersize=7, mfc=fill, mec=CYCLE[0], mew=1.4)
        error = (errors or {}).get(label, 0.0)
        if error:
            axes.errorbar(value, place, xerr=error, color=PALETTE["ink"], capsize=3)
        end, look = (value + error, place), {"va": "center", "fontsize": 9.5}
        axes.annotate(f"{value:,.{digits}f}", end, (8, 0), textcoords="offset points", **look)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    start, longest = x_min or 0.0, max(values.values())
    axes.set_xlim(start, longest + 0.2 * (longest - start))  # room for the numbers
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(x_label)
    return figure


@in_style
def density_map(
    model: TractableDensity, extent: float, *, points: Tensor | None = None, n: int = 240
) -> Figure:
    """Draw a density over the square [-extent, extent]², with points on it.

    Parameters
    ----------
    model
        Anything with ``log_prob(x)`` of rows (x₁, x₂).
    extent
        Half the side of the square.
    points : Tensor, shape (m, 2), optional
        Drawn as small dots.
    n
        Cells on each axis.

    Returns
    -------
    Figure
        Clear is density zero, full blue the highest value in the square.
    """
    ticks = (torch.arange(n) + 0.5) * (2 * extent / n) - extent
    x2, x1 = torch.meshgrid(ticks, ticks, indexing="ij")
    with torch.no_grad():
        log_p = model.log_prob(torch.stack([x1.ravel(), x2.ravel()], 1)).reshape(n, n)
    figure = Figure(figsize=(0.7 * WIDTH, 0.7 * WIDTH))
    axes = figure.subplots()
    blue = to_rgb(PALETTE["blue"])
    blues = LinearSegmentedColormap.from_list("clear-blue", [(*blue, 0.0), (*blue, 1.0)])
    square = (-extent, extent, -extent, extent)
    axes.imshow(log_p.exp().numpy(), origin="lower", extent=square, cmap=blues, vmin=0)
    if points is not None:
        look: dict[str, Any] = {"s": 3, "color": PALETTE["vermilion"], "linewidths": 0}
        axes.scatter(*points.detach().cpu().numpy().T, rasterized=True, **look)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", xlim=square[:2], ylim=square[:2])
    axes.grid(False)
    return figure


# --- diagrams ---------------------------------------------------------------------------------


@in_style
def vae_diagram() -> Figure:
    """Draw the VAE: image, encoder, q(z|x), code, decoder, p(x|z), and the prior p(z).

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 2.5))
    axes = figure.subplots()
    axes.set(xlim=(0, 10.4), ylim=(0, 5), aspect="equal")
    axes.set_axis_off()
    blue, vermilion, teal = (PALETTE[name] for name in ("blue", "vermilion", "teal"))
    _box(axes, (0.6, 3.4), "$x$", PALETTE["ink"])
    _box(axes, (2.75, 3.4), "encoder\n$\\phi$", blue, width=1.9)
    _box(axes, (5.2, 3.4), "$z$", PALETTE["ink"])
    _box(axes, (7.65, 3.4), "decoder\n$\\theta$", vermilion, width=1.9)
    _box(axes, (9.8, 3.4), "$x$", PALETTE["ink"])
    for start, end in ((1.1, 1.8), (3.7, 4.7), (5.7, 6.7), (8.6, 9.3)):
        _arrow(axes, (start, 3.4), (end, 3.4))
    axes.text(
        3.3, 1.9, "$q_\\phi(z\\,|\\,x)$\nmean, variance", color=blue, ha="center", va="center"
    )
    axes.text(
        8.1, 1.9, "$p_\\theta(x\\,|\\,z)$\nlikelihood", color=vermilion, ha="center", va="center"
    )
    _box(axes, (5.2, 0.8), "prior $p(z)$", teal, width=2.6)
    _arrow(axes, (5.2, 1.35), (5.2, 2.85), dashed=True)
    return figure


def _box(
    axes: Axes, centre: tuple[float, float], text: str, colour: str, width: float = 1.0
) -> None:
    x, y = centre
    corner = (x - width / 2, y - 0.5)
    shape = FancyBboxPatch(
        *(corner, width, 1.0),
        boxstyle="round,pad=0,rounding_size=0.18",
        fc="none",
        ec=colour,
        lw=1.6,
    )
    axes.add_patch(shape)
    axes.text(x, y, text, ha="center", va="center", color=colour)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], dashed: bool = False
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            *(start, end),
            arrowstyle="-|>",
            mutation_scale=12,
            lw=1.3,
            color=PALETTE["ink"],
            linestyle="--" if dashed else "-",
            shrinkA=0,
            shrinkB=0,
        )
    )


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
    colours = LinearSegmentedColormap.from_list("gold-blue", [PALETTE["gold"], PALETTE["blue"]])
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
