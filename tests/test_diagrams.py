"""Drawn schemes: what they show against the numbers and models given."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from matplotlib.patches import Ellipse, FancyArrowPatch

from vaebook import data, diagrams
from vaebook.autoregressive import MADE
from vaebook.gan import mlp_gan
from vaebook.gaussian import LinearGaussian
from vaebook.vae import mlp_vae

ONE_OF_EACH = {
    "toy": data.toy_density("ring"),
    "VAE": mlp_vae(2, 1, hidden=()),
    "GAN": mlp_gan(2, 1, hidden=()),
    "Gaussian": LinearGaussian(torch.ones(2, 1), torch.zeros(2), 1.0),
    "network": torch.nn.Linear(2, 2),
}


def test_jensen_gap_is_the_difference_of_the_two_averages():
    figure = diagrams.jensen_gap(1.0, 9.0)
    logarithm, chord, tangent = figure.axes[0].lines
    np.testing.assert_array_equal(chord.get_ydata(), np.log([1.0, 9.0]))
    np.testing.assert_allclose(logarithm.get_ydata(), np.log(logarithm.get_xdata()))
    assert (tangent.get_ydata() >= logarithm.get_ydata()).all()
    gap = figure.axes[0].texts[0]
    assert gap.xy == pytest.approx((5, np.log([1.0, 9.0]).mean()))
    assert gap.get_position() == pytest.approx((5, math.log(5)))


def test_jensen_gap_refuses_values_out_of_order():
    with pytest.raises(ValueError, match="low, high: wanted two positive numbers"):
        diagrams.jensen_gap(2.0, 1.0)


def arrows(figure):
    """Start and end of each arrow."""
    found = figure.findobj(lambda artist: getattr(artist, "arrow_patch", None) is not None)
    return {(tuple(arrow.xyann), tuple(arrow.xy)) for arrow in found}


def test_every_cause_acts_on_every_effect():
    causes = {"rain": (2, 1), "wind": (8, 1)}
    effects = {"wet": (1, 0), "cold": (5, 0), "loud": (9, 0)}
    (axes,) = diagrams.graphical_model(causes | effects, list(product(causes, effects))).axes
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 6
    assert all(start[1] > end[1] for start, end in (arrow._posA_posB for arrow in arrows))
    assert causes.keys() | effects.keys() <= {text.get_text() for text in axes.texts}


def test_the_gradient_passes_only_where_the_noise_is_drawn():
    """Downward arrows: one beside z as a draw, two beside z as a function of the noise."""
    figure = diagrams.reparameterised_graph()
    middle = figure.axes[0].get_xlim()[1] / 2
    down = [start[0] > middle for start, end in arrows(figure) if end[1] < start[1]]
    assert sorted(down) == [False, True, True]


def test_the_overview_names_what_the_bound_is_made_of():
    (axes,) = diagrams.vae_overview().axes
    text = " ".join(text.get_text() for text in axes.texts)
    for part in ("prior", "encoder", "decoder", "evidence", "KL(q || p(z))", "log p(x | z)"):
        assert part in text


def test_the_masked_network_has_a_line_for_each_weight_that_is_kept():
    network = MADE(4, hidden=(6, 5)).network
    names = ["pixels", "units", "more units", "log-odds"]
    (axes,) = diagrams.masked_network(network.degrees, names).axes
    assert len(axes.lines) == sum(int(layer.mask.sum()) for layer in network.layers)
    numbers = [text.get_text() for text in axes.texts if text.get_text() not in names]
    assert numbers == [str(degree) for layer in network.degrees for degree in layer.tolist()]
    with pytest.raises(ValueError, match="labels: wanted 4"):
        diagrams.masked_network(network.degrees, names[:2])


def test_the_taxonomy_puts_each_model_on_its_branch():
    (axes,) = diagrams.taxonomy_tree(ONE_OF_EACH).axes
    places = {text.get_text(): text.get_position()[1] for text in axes.texts}
    branches = {
        "tractable\nlog_prob": ("toy", "Gaussian"),
        "intractable\nelbo\nlog_prob_estimate": ("VAE",),
        "implicit\nsample only": ("GAN",),
        "no generative model\nno sample": ("network",),
    }
    for branch, labels in branches.items():
        assert np.mean([places.pop(label) for label in labels]) == pytest.approx(places[branch])
    assert sorted(places, key=places.get, reverse=True)[-2:] == list(branches)[-2:]
    # a branch without a model stays on the tree
    (bare,) = diagrams.taxonomy_tree({}).axes
    assert {text.get_text() for text in bare.texts} == {"sample", "explicit", *branches}


def test_a_graph_shades_what_is_seen_and_points_from_parents_to_children():
    places = {"z": (0.0, 1.0), "x": (0.0, 0.0), "y": (2.0, 0.0)}
    (axes,) = diagrams.graphical_model(places, [("z", "x"), ("z", "y")], seen=["x"]).axes
    ellipses = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    assert {tuple(e.center): e.get_facecolor()[3] for e in ellipses} == {
        (0.0, 1.0): 0.0,
        (0.0, 0.0): pytest.approx(0.18),
        (2.0, 0.0): 0.0,
    }
    assert {text.get_text(): text.get_position() for text in axes.texts} == places
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert [arrow._posA_posB for arrow in arrows] == [[places["z"], places[end]] for end in "xy"]


@pytest.mark.parametrize("wrong", [{"arrows": [("z", "x")]}, {"arrows": [], "seen": ["x"]}])
def test_a_graph_refuses_a_variable_without_a_place(wrong):
    with pytest.raises(ValueError, match=r"wanted variables among \['z'\], got 'x'"):
        diagrams.graphical_model({"z": (0.0, 0.0)}, **wrong)


def test_the_noise_chain_draws_every_cloud_in_its_row():
    clouds = [{f"step {t}": np.full((3, 2), row + t) for t in (0, 1, 2)} for row in (0, 10)]
    panels = diagrams.noise_chain(*clouds).axes
    drawn = [axes.collections[0].get_offsets()[0, 0] for axes in panels]
    assert drawn == [0, 1, 2, 10, 11, 12]
    assert [axes.get_title() for axes in panels] == ["step 0", "step 1", "step 2", "", "", ""]


def test_the_noise_chain_refuses_rows_of_other_steps():
    cloud = np.zeros((3, 2))
    with pytest.raises(ValueError, match="reverse: wanted the steps of forward"):
        diagrams.noise_chain({"step 0": cloud}, {"step 1": cloud})


def test_the_way_through_the_ranks_is_one_way():
    cdfs = {"z": lambda x: x / 2, "x": lambda x: x / 4}
    figure = diagrams.through_the_ranks(cdfs, {"z": (0, 2), "x": (0, 4)}, (1.0, 0.5, 2.0))
    noise, target = figure.axes
    for axes, scale in ((noise, 2), (target, 4)):
        curve, across = axes.lines
        np.testing.assert_allclose(curve.get_ydata(), curve.get_xdata() / scale)
        np.testing.assert_array_equal(across.get_ydata(), [0.5, 0.5])
    assert noise.texts[0].xy == (1.0, 0.5)
    assert target.texts[0].xy == (2.0, 0)


def test_bits_back_marks_the_price_above_the_message_so_far():
    (axes,) = diagrams.bits_back(before=260, popped=150, pixels=90, prior=200).axes
    arrow = next(text for text in axes.texts if getattr(text, "arrow_patch", None))
    assert {arrow.xy[1], arrow.get_position()[1]} == {260, 260 - 150 + 90 + 200}
    tops = {}
    for bar in axes.patches:
        place = round(bar.get_x() + bar.get_width() / 2)
        tops[place] = max(tops.get(place, 0), bar.get_y() + bar.get_height())
    assert tops == {0: 260, 1: 260, 2: 200, 3: 400}


def test_bits_back_refuses_to_take_more_than_there_is():
    with pytest.raises(ValueError, match="popped: wanted a positive number of bits, at most 100"):
        diagrams.bits_back(before=100, popped=150, pixels=90, prior=200)
