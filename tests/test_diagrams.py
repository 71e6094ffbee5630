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
