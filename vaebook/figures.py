"""The book's figures: one palette, one style, functions that return matplotlib Figures.

Nothing changes on import. `style` makes the look the session's default and shows figures as SVG
in a notebook; without it every function here still draws in the book's colours.

Figures are made without pyplot: a cell shows one by ending in it, and none is shown twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

import matplotlib as mpl
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch import Tensor

from vaebook._checks import check_at_least, fail
from vaebook.taxonomy import TractableDensity

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
        Row by row. Floats are clipped to [0, 1].
    n_columns
        Images in a row.
    titles : n strings, optional
        One above each image.

    Returns
    -------
    Figure
    """
    images = as_images(images)
    check_at_least("n_columns", n_columns, 1)
    n_columns = min(n_columns, len(images))
    if titles is not None and len(titles) != len(images):
        fail("titles", f"{len(images)} strings, one for each image", f"{len(titles)}")
    room = 0 if titles is None else images.shape[1] // 2
    figure, axes, corners = mosaic(images, n_columns, room=room)
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
    stacks = {label: as_images(images) for label, images in rows.items()}
    shapes = {stack.shape for stack in stacks.values()}
    if len(shapes) > 1:
        fail("rows", "rows of equally many images of one size", f"shapes {sorted(shapes)}")
    n_images, height, _ = shapes.pop()
    images = np.concatenate(list(stacks.values()))
    figure, axes, corners = mosaic(images, n_images, room=height // 2)
    for (row, column), label in zip(corners[::n_images], stacks, strict=True):
        axes.text(column, row - 2, label, ha="left", va="bottom")
    return figure


def as_images(images: Images) -> np.ndarray:
    """Bring images to one form.

    Parameters
    ----------
    images : integers 0 to 255, or float in [0, 1]; shape (n, height, width) or (n, side * side)
        At least one. Floats are clipped to [0, 1]; integers that are all 0 or 1, and not of type
        uint8, are black and white.

    Returns
    -------
    ndarray of float64 in [0, 1], shape (n, height, width)

    Raises
    ------
    ValueError
        If the shape is another one, a number is not finite, or an integer no grey level.
    """
    if not isinstance(images, Tensor):  # torch takes no steps backwards and no foreign byte order
        array = np.asarray(images)
        images = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    tensor = torch.as_tensor(images).detach().cpu()
    grey, whole = tensor.double(), not tensor.is_floating_point()
    if whole and grey.numel() and not 0 <= grey.min() <= grey.max() <= 255:
        fail("images", "integers from 0 to 255", f"{tensor.min()} to {tensor.max()}")
    if tensor.dtype == torch.uint8 or (whole and grey.numel() and grey.max() > 1):
        grey = grey / 255
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


@in_style
def mosaic(
    images: np.ndarray, n_columns: int, *, room: int = 0, gap: int = 2, margin: float = 0
) -> tuple[Figure, Axes, list[tuple[int, int]]]:
    """Draw images side by side as one picture, for functions that write beside them.

    Parameters
    ----------
    images : shape (n, height, width)
        As `as_images` returns them.
    n_columns
        Images in a row.
    room, gap
        Empty pixel rows above each row of images, and empty pixels between images.
    margin
        Inches of the figure's height that tick labels will take.

    Returns
    -------
    Figure, Axes, list of (row, column)
        The last are the upper left corners of the images, in pixels.
    """
    n, height, width = images.shape
    n_rows = -(-n // n_columns)
    step = height + gap + room
    pixels = np.full((n_rows * step - gap, n_columns * (width + gap) - gap), np.nan)
    corners = []
    for i, image in enumerate(images):
        row, column = i // n_columns * step + room, i % n_columns * (width + gap)
        pixels[row : row + height, column : column + width] = image
        corners.append((row, column))
    n_down, n_across = pixels.shape
    # Few images stay small: one is at most 0.7 inch wide, about 70 pixels on the page.
    inches = min(WIDTH, 0.7 * n_across / width)
    figure = Figure(figsize=(inches, inches * n_down / n_across + margin))
    axes = figure.subplots()
    axes.imshow(np.ma.masked_invalid(pixels), vmin=0, vmax=1)
    axes.set_axis_off()
    axes.grid(False)
    return figure, axes, corners


# --- curves and distributions -----------------------------------------------------------------


class TrainingHistory(Protocol):
    """What `learning_curves` reads from a training history."""

    @property
    def validation(self) -> Mapping[str, Sequence[float]]:
        """Validation averages by name, or nothing."""

    def array(self, split: str, name: str) -> np.ndarray:
        """Average of `name` over each epoch of ``"train"`` or ``"validation"``."""


@in_style
def learning_curves(
    history: TrainingHistory, terms: Mapping[str, str] | Sequence[str] = ("reconstruction", "kl")
) -> Figure:
    """Draw the training and validation average of each term against the epoch.

    Parameters
    ----------
    history
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
            # Validation starts before the first step, at epoch 0, which is off the scale.
            valid = valid[len(valid) - len(epochs) :]
            axes.plot(epochs, valid, "o--", color=CYCLE[1], label="validation", markersize=3)
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

    All numbers have as many decimals as the smallest one needs for three digits, if any of them
    has so many.

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
        Where the axis starts. Without it bars start at zero; with it the values are dots,
        because the length of a bar that is cut off says nothing.

    Returns
    -------
    Figure
    """
    smallest = min((abs(value) for value in values.values() if value), default=1.0)
    given = max((_decimals(value) for value in values.values()), default=0)
    digits = min(given, max(0, 2 - math.floor(math.log10(smallest))))
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


def _decimals(value: float) -> int:
    """How many decimals a number has, as it is written in full."""
    exponent = Decimal(repr(float(value))).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


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
    figure = Figure(figsize=(0.7 * WIDTH, 0.7 * WIDTH))
    axes = figure.subplots()
    _shade(axes, model, extent, points, n)
    axes.set(xlabel="$x_1$", ylabel="$x_2$")
    return figure


@in_style
def density_maps(
    panels: Mapping[str, tuple[TractableDensity, Tensor]],
    extent: float,
    *,
    n_columns: int = 2,
    n: int = 200,
) -> Figure:
    """Draw densities of codes as :func:`density_map` does, side by side, each with its points.

    Parameters
    ----------
    panels : title -> (density, points)
        A density of rows (z₁, z₂), and points of shape (m, 2).
    extent
        Half the side of each square.
    n_columns
        Panels in a row.
    n
        Cells on each axis.

    Returns
    -------
    Figure
    """
    n_rows = -(-len(panels) // n_columns)
    side = 0.9 * WIDTH / n_columns
    figure = Figure(figsize=(0.9 * WIDTH, side * n_rows))
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, (density, points)) in zip(grid.flat, panels.items(), strict=False):
        _shade(axes, density, extent, points, n, dot=4 / n_columns)
        axes.set_title(title, fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("$z_1$")
    for axes in grid[:, 0]:
        axes.set_ylabel("$z_2$")
    return figure


def _shade(
    axes: Axes,
    model: TractableDensity,
    extent: float,
    points: Tensor | None,
    n: int,
    dot: float = 3.0,
) -> None:
    ticks = (torch.arange(n) + 0.5) * (2 * extent / n) - extent
    x2, x1 = torch.meshgrid(ticks, ticks, indexing="ij")
    with torch.no_grad():
        log_p = model.log_prob(torch.stack([x1.ravel(), x2.ravel()], 1)).reshape(n, n)
    blue = to_rgb(PALETTE["blue"])
    blues = LinearSegmentedColormap.from_list("clear-blue", [(*blue, 0.0), (*blue, 1.0)])
    square = (-extent, extent, -extent, extent)
    axes.imshow(log_p.exp().numpy(), origin="lower", extent=square, cmap=blues, vmin=0)
    if points is not None:
        look: dict[str, Any] = {"s": dot, "color": PALETTE["vermilion"], "linewidths": 0}
        axes.scatter(*points.detach().cpu().numpy().T, rasterized=True, **look)
    axes.set(xlim=square[:2], ylim=square[:2])
    axes.grid(False)
