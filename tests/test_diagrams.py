"""Drawn schemes: what they show against the numbers and models given."""

import math

import numpy as np
import pytest
import torch

from vaebook import data, diagrams
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
