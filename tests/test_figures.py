"""Figures: what they show against the data given, and that everybody can read all of them."""

import io
import math
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from scipy import stats

from vaebook import data, diagrams, figures, latent_figures
from vaebook.gan import mlp_gan
from vaebook.gaussian import LinearGaussian
from vaebook.training import History
from vaebook.vae import mlp_vae

RNG = np.random.default_rng(0)
IMAGES = RNG.random((7, 16))
PHONE = 350  # pixels: the width of a figure on a phone


def history(n_epochs=5, validation=True):
    epochs = np.arange(n_epochs)
    train = {"reconstruction": list(-90.0 - 30 / (1 + epochs)), "kl": list(25.0 - 5 / (1 + epochs))}
    held_out = {name: [0.0, *(value - 1 for value in values)] for name, values in train.items()}
    ones = [1.0] * n_epochs
    return History(train, held_out if validation else {}, learning_rate=ones, seconds=ones)


DRAWINGS = {
    "image_grid": lambda: figures.image_grid(IMAGES, 4, titles=list("abcdefg")),
    "image_rows": lambda: figures.image_rows({"original": IMAGES, "reconstruction": IMAGES}),
    "interpolation_strip": lambda: latent_figures.interpolation_strip(IMAGES),
    "latent_manifold": lambda: latent_figures.latent_manifold(
        lambda z: z.sum(1, True).repeat(1, 16), 6
    ),
    "latent_scatter": lambda: latent_figures.latent_scatter(
        torch.tensor(IMAGES[:, :2]), [1, 2, 3] * 2 + [0]
    ),
    "learning_curves": lambda: figures.learning_curves(history()),
    "lines": lambda: figures.lines(
        [1, 10, 100],
        {"bound": [-3.0, -2.0, -1.0], "estimate": [-4.0, -2.5, -1.5]},
        errors={"bound": [0.1, 0.2, 0.3]},
        levels={"published": -0.5},
        x_label="samples",
        y_label="nats",
        x_scale="log",
    ),
    "histograms": lambda: figures.histograms(
        {"a": RNG.normal(size=500), "b": RNG.normal(2, 2, size=300)},
        density=stats.norm.pdf,
        x_label="log weight",
    ),
    "bars": lambda: figures.bars(
        {"VAE": 86.76, "IWAE": 84.78, "a somewhat longer name": 83.0},
        errors={"IWAE": 0.3},
        highlight=["IWAE"],
        x_min=80,
        x_label="nats",
    ),
    "density_map": lambda: figures.density_map(
        data.toy_density("banana"), 6, points=torch.tensor(IMAGES[:, :2]), n=60
    ),
    "density_maps": lambda: figures.density_maps(
        {name: (data.toy_density(name), torch.tensor(IMAGES[:, :2])) for name in ("banana", "ring")}
        | {"one more": (data.toy_density("banana"), torch.tensor(IMAGES[:, :2]))},
        6,
        n=60,
    ),
    "jensen_gap": lambda: diagrams.jensen_gap(1.0, 9.0),
    "vae_overview": diagrams.vae_overview,
    "reparameterised_graph": diagrams.reparameterised_graph,
    "graphical_model": lambda: diagrams.graphical_model(
        {"z": (0.0, 0.0), "x": (3.0, 0.0)}, [("z", "x")], seen=["x"]
    ),
    "masked_network": lambda: diagrams.masked_network(
        [torch.tensor([1, 2]), torch.tensor([1, 1]), torch.tensor([1, 2])], ["in", "unit", "out"]
    ),
    "noise_chain": lambda: diagrams.noise_chain({"0": IMAGES[:, :2]}, {"0": IMAGES[:, :2]}),
    "through_the_ranks": lambda: diagrams.through_the_ranks(
        {"noise": stats.norm.cdf, "target": stats.norm(2).cdf},
        {"noise": (-3, 3), "target": (-1, 5)},
        (0.5, stats.norm.cdf(0.5), 2.5),
    ),
    "bits_back": lambda: diagrams.bits_back(before=260, popped=150, pixels=90, prior=200),
    "cloud_and_codes": lambda: latent_figures.cloud_and_codes(
        torch.rand(9, 3), {"PCA": torch.rand(9, 2)}, np.arange(9.0)
    ),
    "nearest_code_cells": lambda: latent_figures.nearest_code_cells(
        torch.randn(5, 2), torch.randn(3, 2)
    ),
    "mixture_components": lambda: latent_figures.mixture_components(
        np.random.default_rng(0).normal(size=(9, 2)),
        np.eye(3)[[0, 1, 2] * 3],
        np.zeros((3, 2)),
        np.stack([np.eye(2)] * 3),
    ),
    "taxonomy_tree": lambda: diagrams.taxonomy_tree(
        {
            "toy": data.toy_density("ring"),
            "VAE": mlp_vae(2, 1, hidden=()),
            "GAN": mlp_gan(2, 1, hidden=()),
            "Gaussian": LinearGaussian(torch.ones(2, 1), torch.zeros(2), 1.0),
            "network": torch.nn.Linear(2, 2),
        }
    ),
    "subplots": lambda: figures.subplots(1, 2)[0],
    "mosaic": lambda: figures.mosaic(IMAGES.reshape(7, 4, 4), 3)[0],
}

every_figure = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())


def svg(figure):
    stream = io.BytesIO()
    with mpl.rc_context(figures.STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


# --- every figure ---------------------------------------------------------------------------------


def test_every_drawing_function_is_covered():
    names = vars(figures) | vars(latent_figures) | vars(diagrams)
    assert {name for name, value in names.items() if hasattr(value, "__wrapped__")} == set(DRAWINGS)


@every_figure
def test_figure_changes_no_setting(draw):
    before = mpl.rcParams.copy()
    draw()
    assert mpl.rcParams.copy() == before


@every_figure
def test_figure_is_in_style_whatever_the_session_s_style(draw):
    with mpl.rc_context({"font.size": 3, "figure.facecolor": "red", "axes.facecolor": "red"}):
        figure = draw()
    assert figure.get_facecolor()[3] == 0
    assert all(axes.get_facecolor()[3] == 0 for axes in figure.axes)


@every_figure
def test_text_is_legible_on_a_phone_and_inside_the_figure(draw):
    figure = draw()
    width, height = figure.get_size_inches()
    assert width <= figures.WIDTH
    assert height <= 1.2 * figures.WIDTH
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text():
            assert text.get_fontsize() / 72 * PHONE / max(width, PHONE / 96) > 8.5, text
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()  # in inches, of everything that is drawn
    assert drawn.x0 > -0.02
    assert drawn.y0 > -0.02
    assert drawn.x1 < width + 0.02
    assert drawn.y1 < height + 0.02


@pytest.mark.parametrize("name", ["image_grid", "latent_scatter", "learning_curves", "jensen_gap"])
def test_figure_has_the_same_bytes_at_every_run(name):
    first = svg(DRAWINGS[name]())
    assert first == svg(DRAWINGS[name]())
    assert b"dc:date" not in first


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_colours_stand_out_from_the_page():
    paper = luminance("#fcfbf8")
    for colour in figures.CYCLE:
        assert (paper + 0.05) / (luminance(colour) + 0.05) >= 3
    assert (paper + 0.05) / (luminance(figures.PALETTE["ink"]) + 0.05) >= 7
    assert len(set(figures.CYCLE)) == len(figures.DASHES) == len(figures.MARKERS) == 6


# --- style ----------------------------------------------------------------------------------------


def run(code):
    script = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return script.stdout


def test_import_changes_nothing():
    code = (
        "import matplotlib as mpl; before = mpl.rcParams.copy(); import vaebook.figures, sys; "
        "print(mpl.rcParams.copy() == before, 'matplotlib.pyplot' in sys.modules)"
    )
    assert run(code) == "True False\n"


def test_style_outside_a_notebook():
    code = (
        "import matplotlib as mpl; from vaebook import figures; figures.style(); "
        "print(mpl.rcParams['svg.hashsalt'], mpl.rcParams['axes.spines.top'])"
    )
    assert run(code) == "vaebook False\n"


def test_style_without_ipython(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    with mpl.rc_context():
        figures.style()
        assert mpl.rcParams["svg.hashsalt"] == "vaebook"


def test_notebook_shows_a_figure_once_as_svg_without_a_date():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell; "
        "shell = InteractiveShell.instance(); from vaebook import figures; figures.style(); "
        "shown, _ = shell.display_formatter.format(figures.lines([0, 1], {'a': [0, 1]})); "
        "again, _ = shell.display_formatter.format(figures.lines([0, 1], {'a': [0, 1]})); "
        "print(sorted(shown), shown == again, 'dc:date' in shown['image/svg+xml'])"
    )
    assert run(code) == "['image/svg+xml', 'text/plain'] True False\n"


# --- images ---------------------------------------------------------------------------------------


def picture(figure):
    return figure.axes[0].images[0].get_array()


def tile(figure, row, column, room=0, gap=2, side=4):
    top, left = row * (side + gap + room) + room, column * (side + gap)
    return picture(figure)[top : top + side, left : left + side]


def test_image_grid_shows_each_image_in_its_place():
    figure = figures.image_grid(IMAGES, n_columns=4)
    for i, image in enumerate(IMAGES):
        np.testing.assert_array_equal(tile(figure, *divmod(i, 4)), image.reshape(4, 4))
    assert tile(figure, 1, 3).mask.all()  # the eighth place is empty
    assert picture(figure).mask[:, 4:6].all()
    shown = figure.axes[0].images[0]
    assert (shown.norm.vmin, shown.norm.vmax) == (0, 1)
    assert to_hex(shown.cmap(0.0)) == "#ffffff"  # light paper
    assert luminance(shown.cmap(1.0)) < 0.001  # dark ink


def test_image_grid_titles_stand_above_their_images():
    figure = figures.image_grid(IMAGES[:4], 2, titles=["a", "b", "c", "d"])
    places = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert places["a"][0] == places["c"][0] < places["b"][0]
    assert places["a"][1] == places["b"][1] < places["c"][1]  # rows count downwards
    np.testing.assert_array_equal(tile(figure, 1, 1, room=2), IMAGES[3].reshape(4, 4))


def test_image_grid_takes_uint8_and_tensors_and_clips():
    grey = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4) * 17
    np.testing.assert_allclose(tile(figures.image_grid(grey), 0, 0), grey[0] / 255)
    outside = torch.tensor([[-1.0, 0.25, 0.5, 2.0]], requires_grad=True)
    shown = tile(figures.image_grid(outside), 0, 0, side=2)
    assert shown.ravel().tolist() == [0, 0.25, 0.5, 1]


def test_image_rows_are_labelled():
    figure = figures.image_rows({"original": IMAGES, "reconstruction": 1 - IMAGES})
    np.testing.assert_array_equal(tile(figure, 1, 2, room=2), 1 - IMAGES[2].reshape(4, 4))
    texts = figure.axes[0].texts
    assert [text.get_text() for text in texts] == ["original", "reconstruction"]
    assert texts[0].get_position()[1] < texts[1].get_position()[1]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.image_grid(torch.zeros(2, 15)), "images: wanted shape"),
        (lambda: figures.image_grid(torch.zeros(0, 16)), "images: wanted shape"),
        (lambda: figures.image_grid(torch.tensor(0.5)), "images: wanted shape"),
        (lambda: figures.image_grid(torch.full((1, 4), math.nan)), "images: wanted finite"),
        (lambda: figures.image_grid(IMAGES, 0), "n_columns: wanted an integer of at least 1"),
        (lambda: figures.image_grid(IMAGES, titles=["a"]), "titles: wanted 7 strings"),
        (lambda: figures.image_rows({}), "rows: wanted at least one label"),
        (
            lambda: figures.image_rows({"a": IMAGES, "b": IMAGES[:2]}),
            "rows: wanted rows of equally",
        ),
        (lambda: figures.lines([1, 2], {"a": [1, 2, 3]}), r"series: wanted 'a' of shape \(2,\)"),
    ],
)
def test_figures_refuse(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


# --- curves and distributions ---------------------------------------------------------------------


def test_learning_curves_show_both_terms():
    record = history()
    figure = figures.learning_curves(record, {"reconstruction": "E log p", "kl": "KL"})
    for axes, name in zip(figure.axes, ("reconstruction", "kl"), strict=True):
        train, validation = axes.lines
        np.testing.assert_array_equal(train.get_xdata(), [1, 2, 3, 4, 5])
        np.testing.assert_array_equal(train.get_ydata(), record.train[name])
        np.testing.assert_array_equal(validation.get_xdata(), [1, 2, 3, 4, 5])
        np.testing.assert_array_equal(validation.get_ydata(), record.validation[name][1:])
        assert train.get_linestyle() != validation.get_linestyle()
    assert [axes.get_ylabel() for axes in figure.axes] == ["E log p (nats)", "KL (nats)"]


def test_learning_curves_without_validation():
    figure = figures.learning_curves(history(validation=False), ["kl"])
    assert len(figure.axes[0].lines) == 1


def test_lines_differ_in_more_than_colour():
    x = np.arange(3)
    figure = figures.lines(x, {str(i): x + i for i in range(6)}, errors={"0": [1, 1, 2]})
    curves = figure.axes[0].lines
    np.testing.assert_array_equal(curves[2].get_ydata(), [2, 3, 4])
    assert len({curve.get_marker() for curve in curves}) == 6
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == -1
    assert band[:, 1].max() == 4


def test_many_points_have_no_markers():
    assert figures.lines(range(41), {"a": range(41)}).axes[0].lines[0].get_marker() == ""


@pytest.mark.parametrize(
    ("curve", "side"), [([1, 1, 0], "right"), ([0, 1, 1], "left"), ([1, 0, 1], "center")]
)
def test_a_level_is_labelled_where_there_is_room(curve, side):
    label = figures.lines([0, 1, 2], {"a": curve}, levels={"limit": 1}).axes[0].texts[0]
    assert label.get_ha() == side


def test_one_line_needs_no_legend():
    figure = figures.lines([0, 1], {"a": [0, 1]}, levels={"limit": 0.75})
    assert figure.axes[0].get_legend() is None
    assert figure.axes[0].lines[1].get_ydata() == [0.75, 0.75]
    assert figure.axes[0].texts[0].get_text() == "limit"


def test_histograms_are_densities():
    samples = RNG.normal(size=400)
    figure = figures.histograms({"sample": samples}, bins=20)
    outline = figure.axes[0].patches[0].get_data()
    assert (outline.values * np.diff(outline.edges)).sum() == pytest.approx(1)
    expected, _ = np.histogram(samples, outline.edges)
    np.testing.assert_allclose(outline.values * np.diff(outline.edges) * 400, expected)
    assert figure.axes[0].get_legend() is None


def test_bars_show_their_numbers():
    figure = figures.bars({"first": 86.76, "second": 84.78}, highlight=["second"])
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [86.76, 84.78]
    assert [text.get_text().strip() for text in axes.texts] == ["86.8", "84.8"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top
    assert [bar.get_facecolor()[3] for bar in axes.patches] == [0, 1]
    assert axes.get_xlim()[0] == 0


def test_bars_have_numbers_of_equal_precision():
    figure = figures.bars({"first": 103.44, "second": 0.5, "third": 0.0})
    assert [text.get_text() for text in figure.axes[0].texts] == ["103.44", "0.50", "0.00"]


def test_bars_have_no_more_decimals_than_was_given():
    """Values that were rounded: the smallest, 0.01, asks for four decimals that none has."""
    figure = figures.bars({"first": 0.21, "second": 0.01, "third": 0.0})
    assert [t.get_text() for t in figure.axes[0].texts] == ["0.21", "0.01", "0.00"]


def test_bars_on_an_axis_that_is_cut_off_are_dots():
    figure = figures.bars({"first": 86.76, "second": 84.78}, errors={"second": 0.5}, x_min=80)
    axes = figure.axes[0]
    assert axes.get_xlim()[0] == 80
    assert len(axes.patches) == 0
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [(86.76, 0), (84.78, 1)]
    np.testing.assert_allclose(axes.collections[0].get_segments(), [[[84.28, 1], [85.28, 1]]])


def test_density_maps_show_each_density_with_its_points():
    toys = {name: data.toy_density(name) for name in ("banana", "ring")}
    points = {"banana": torch.zeros(3, 2), "ring": torch.ones(4, 2)}
    figure = figures.density_maps({k: (toys[k], points[k]) for k in toys}, 6.0, n=60)
    for axes, name in zip(figure.axes, toys, strict=True):
        assert axes.get_title() == name
        place = torch.tensor([[-6 + 12 * 12.5 / 60, -6 + 12 * 40.5 / 60]])
        expected = toys[name].log_prob(place).exp().item()
        assert axes.images[0].get_array()[40, 12] == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(axes.collections[0].get_offsets(), points[name].numpy())


def test_density_map_is_the_density():
    toy = data.toy_density("banana")
    figure = figures.density_map(toy, 6.0, n=60)
    shown = figure.axes[0].images[0]
    assert shown.origin == "lower"
    assert shown.get_extent() == [-6, 6, -6, 6]
    row, column = 40, 12
    point = torch.tensor([[-6 + 12 * (column + 0.5) / 60, -6 + 12 * (row + 0.5) / 60]])
    expected = toy.log_prob(point).exp().item()
    assert expected > 0
    assert shown.get_array()[row, column] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", ["u1", "i8", "u2", ">i4"])
def test_grey_levels_of_any_integer_type(dtype):
    levels = np.arange(0, 256, 16).reshape(1, 4, 4)
    expected = levels / 255
    assert figures.as_images(levels.astype(dtype)) == pytest.approx(expected)
    assert figures.as_images(levels.astype(dtype)[:, ::-1])[:, ::-1] == pytest.approx(expected)
    with pytest.raises(ValueError, match="images: wanted integers from 0 to 255, got 256 to 496"):
        figures.as_images((levels + 256).astype("i8"))


def test_integers_of_zero_and_one_are_black_and_white():
    binary = np.eye(4, dtype=np.int64)[None]
    assert figures.as_images(binary).tolist() == binary.tolist()
    assert figures.as_images(binary.astype(bool)).tolist() == binary.tolist()
