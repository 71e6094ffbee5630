"""Drawn schemes: what they show against the numbers and models given."""

import math

import numpy as np
import pytest
import torch

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
