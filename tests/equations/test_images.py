"""Each statement of the page on images, both sides, against something independent."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from tests.common import normals, seeded, tensor
from vaebook.coding import edge_prediction, golomb_rice_bits
from vaebook.likelihoods import CausalLogistic, DiscretizedLogistic
from vaebook.networks import conv_encoder


@pytest.mark.equation("def-convolution", tolerance="1e-12")
def test_the_first_layer_is_the_printed_sum() -> None:
    """The sum over channels and places, written out, for a picture of 6 x 4 pixels."""
    layer = conv_encoder(2, n_channels=3, image=(2, 6, 4)).double()[1]
    x = normals(2, 6, 4)
    found = layer(x)
    assert found.shape == (3, 3, 2)
    for o, r, c in np.ndindex(*found.shape):
        total = float(layer.bias[o])
        for i, a, b in itertools.product(range(2), range(4), range(4)):
            row, column = 2 * r + a - 1, 2 * c + b - 1
            if 0 <= row < 6 and 0 <= column < 4:
                total += float(layer.weight[o, i, a, b] * x[i, row, column])
        assert float(found[o, r, c]) == pytest.approx(total, abs=1e-12)


@pytest.mark.equation("eq-convolution-shift", tolerance="1e-12")
def test_features_move_with_the_image() -> None:
    """The first layer of an encoder, on a picture and on the same picture two columns further."""
    layer = conv_encoder(2, n_channels=3, image=(2, 8, 16)).double()[1]
    x = normals(2, 8, 16)
    features, moved = layer(x), layer(torch.roll(x, 2, -1))
    torch.testing.assert_close(moved[..., 2:-1], features[..., 1:-2], rtol=0, atol=1e-12)
    assert (moved[..., 2:-1] - features[..., 2:-1]).abs().max() > 0.1


@pytest.mark.equation("eq-runaway-density", tolerance="1e-9")
@pytest.mark.parametrize("width", [2.0, 0.3, 0.01, 1e-4])
def test_peaks_on_levels_have_no_highest_density(width: float) -> None:
    """SciPy's logistic density: the bound holds, is met by narrow peaks, and grows without end."""
    levels = np.arange(9)
    shares = np.random.default_rng(0).dirichlet(np.ones(9))
    density = stats.logistic.pdf(levels[:, None], levels, width) @ shares
    found = shares @ np.log(density)
    bound = -stats.entropy(shares) - math.log(4 * width)
    assert found >= bound - 1e-9
    if width <= 0.01:
        assert found == pytest.approx(bound, abs=1e-9)


@pytest.mark.equation("def-causal-logistic", tolerance="1e-10")
@pytest.mark.parametrize(("image", "reach"), [((3, 1, 1), 0), ((1, 2, 2), 1)])
def test_causal_levels_move_the_means_of_scipy_s_logistics(
    image: tuple[int, int, int], reach: int
) -> None:
    """SciPy's distribution function, number after number, and the sum over all images."""
    n, top = math.prod(image), 4
    likelihood = CausalLogistic(image, reach, n_components=2, n_levels=5).double()
    likelihood.weight.data.normal_(generator=seeded(1))
    params = normals(6 * n, seed=2)
    logits, shifts, raw = params.view(3, 2, n).numpy()
    weights = np.exp(logits) / np.exp(logits).sum(0)
    scales = 0.1 * np.exp(5 * np.tanh(raw / 5))
    images = np.array(list(itertools.product(range(5), repeat=n)))
    log_p = np.zeros(len(images))
    kernel = (likelihood.weight * likelihood.mask).detach().numpy()
    places = list(np.ndindex(*image))
    for i, (channel, row, column) in enumerate(places):
        means = np.tile(shifts[:, i] + [0.25, 0.75], (len(images), 1))
        for j, (other, r, c) in enumerate(places):
            if row - reach <= r <= row and abs(column - c) <= reach:
                weight = kernel[channel, other, reach - (row - r), reach - (column - c)]
                means += weight * (images[:, [j]] / top - 0.5)
        edges = np.where(images[:, i] == top, np.inf, (images[:, i] + 0.5) / top)
        lower = np.where(images[:, i] == 0, -np.inf, (images[:, i] - 0.5) / top)
        high, low = (stats.logistic.cdf(e[:, None], means, scales[:, i]) for e in (edges, lower))
        log_p += np.log(((high - low) * weights[:, i]).sum(1))
    found = likelihood.log_prob(tensor(images / top), params.expand(len(images), -1)).detach()
    torch.testing.assert_close(found, tensor(log_p), rtol=0, atol=1e-10)
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.equation("def-edge-prediction", tolerance="exact")
def test_the_prediction_is_the_median_of_three() -> None:
    """NumPy's median of left, above and the plane through the three, pixel by pixel."""
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 6), np.uint8)
    found, x = edge_prediction(images), images.astype(int)
    for n, row, column in itertools.product(range(5), range(1, 7), range(1, 6)):
        a, b, c = x[n, row, column - 1], x[n, row - 1, column], x[n, row - 1, column - 1]
        assert found[n, row, column] == np.median([a, b, a + b - c])


@pytest.mark.equation("def-golomb-rice", tolerance="exact")
@pytest.mark.parametrize("k", [0, 1, 3, 7])
def test_a_golomb_rice_word_has_the_stated_length_and_can_be_read(k: int) -> None:
    """The words themselves, written bit by bit, and read from one stream without gaps."""

    def word(m: int) -> str:
        return "1" * (m >> k) + "0" + (format(m % 2**k, f"0{k}b") if k else "")

    residuals = list(range(-128, 128))
    folded = [2 * e if e >= 0 else -2 * e - 1 for e in residuals]
    assert sorted(folded) == list(range(256))
    assert [golomb_rice_bits(e, k) for e in residuals] == [len(word(m)) for m in folded]
    stream, read = "".join(map(word, folded)), []
    while stream:
        ones = stream.index("0")
        read.append(ones * 2**k + int(stream[ones + 1 : ones + 1 + k] or "0", 2))
        stream = stream[ones + 1 + k :]
    assert read == folded


def tiny_decoder() -> tuple[DiscretizedLogistic, torch.Tensor, np.ndarray]:
    """Three codes, their shares, and 4 x 1 pixels of three levels: all can be enumerated."""
    likelihood = DiscretizedLogistic(n_components=2, n_levels=3)
    params = 0.5 * normals(3, 6 * 4, seed=5)
    return likelihood, params, np.array([0.5, 0.3, 0.2])


def spectra() -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Power of pictures, of means, of what is left, and the variance, by enumeration."""
    likelihood, params, shares = tiny_decoder()
    images = np.array(list(itertools.product((0.0, 0.5, 1.0), repeat=4)))
    means = likelihood.mean(params).numpy()
    pictures, rest, variance = np.zeros(4), np.zeros(4), 0.0
    for z in range(3):
        p = likelihood.log_prob(tensor(images), params[z].expand(len(images), -1)).exp().numpy()
        pictures += shares[z] * p @ np.abs(np.fft.fft(images)) ** 2
        rest += shares[z] * p @ np.abs(np.fft.fft(images - means[z])) ** 2
        variance += shares[z] * float((p @ images**2 - (p @ images) ** 2).sum())
    return pictures, shares @ np.abs(np.fft.fft(means)) ** 2, rest, variance


@pytest.mark.equation("eq-blur-spectrum", tolerance="1e-12")
def test_power_splits_at_every_frequency() -> None:
    """All 81 pictures of a decoder with three codes, and NumPy's Fourier transform."""
    pictures, means, rest, _ = spectra()
    np.testing.assert_allclose(pictures, means + rest, rtol=0, atol=1e-12)
    assert (rest > 0).all()


@pytest.mark.equation("eq-white-noise", tolerance="1e-12")
def test_independent_pixels_put_the_rest_everywhere() -> None:
    """The variances of the pixels, by enumeration, beside the Fourier transform of the rest."""
    *_, rest, variance = spectra()
    np.testing.assert_allclose(rest, variance, rtol=0, atol=1e-12)


@pytest.mark.equation("eq-blur-spectrum", tolerance="1e-6")
def test_the_mean_has_the_least_squared_error() -> None:
    """SciPy's minimiser over all answers to one code, from which m(z) in the statement follows."""
    likelihood, params, _ = tiny_decoder()
    images = np.array(list(itertools.product((0.0, 0.5, 1.0), repeat=4)))
    p = likelihood.log_prob(tensor(images), params[0].expand(len(images), -1)).exp().numpy()
    best = optimize.minimize(lambda m: p @ np.square(images - m).sum(1), np.zeros(4), tol=1e-12)
    np.testing.assert_allclose(best.x, likelihood.mean(params[0]).numpy(), rtol=0, atol=1e-6)
