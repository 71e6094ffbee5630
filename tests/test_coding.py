"""Compression: what is written is read, and what cannot be is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.common import seeded
from vaebook.coding import PRECISION, BitsBack, Stack, edge_code_bits, edge_prediction, quantise
from vaebook.estimators import monte_carlo
from vaebook.likelihoods import Gaussian
from vaebook.priors import MixturePrior
from vaebook.vae import mlp_vae

TOTAL = 2**PRECISION
CDF = [0, TOTAL // 2, TOTAL // 2 + 1, TOTAL]


def coder(n_latents=3, **options):
    torch.manual_seed(0)
    return BitsBack(mlp_vae(36, n_latents, hidden=(8,)), **options)


def images(n=20):
    return torch.bernoulli(torch.full((n, 36), 0.3), generator=seeded(1))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=80), st.lists(st.integers(0, 2), max_size=200))
def test_pops_undo_pushes_whatever_lies_below(below, symbols):
    message = below[: len(below) // 4 * 4]
    message += b"\x01\0\0\0" if message and not any(message[-4:]) else b""
    stack = Stack(message)
    for symbol in symbols:
        stack.push(symbol, CDF)
    again = Stack(stack.to_bytes())
    assert [again.pop(CDF) for _ in symbols] == symbols[::-1]
    assert again.to_bytes() == message


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300))
def test_pushes_undo_pops(seed, n):
    stack = coder(60).borrowed(seed)
    before = stack.to_bytes()
    for symbol in [stack.pop(CDF) for _ in range(n)][::-1]:
        stack.push(symbol, CDF)
    assert stack.to_bytes() == before


def test_the_head_has_at_most_64_bits_and_its_words_32():
    stack = Stack()
    for i in range(5000):
        stack.push(i % 3, CDF)
        assert stack.head < 2**64
        assert stack.head >= 2**32 or not stack.words
    assert max(stack.words) < 2**32
    assert 0 <= 8 * len(stack.to_bytes()) - stack.bits < 32
    assert stack.bits == pytest.approx(1667 * 1 + 1667 * 24 + 1666 * 1, abs=5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_images_come_back(dtype):
    bits_back, x = coder(dtype=dtype), images()
    stack = bits_back.borrowed(7)
    first = stack.to_bytes()
    message = bits_back.compress(x, stack)
    assert torch.equal(bits_back.decompress(message, len(x)), x)
    stack = Stack(message)
    assert [bits_back.pop(stack) for _ in x][::-1] == x.int().tolist()
    assert stack.to_bytes() == first
    assert bits_back.compress(x) == bits_back.compress(x)


def test_the_price_is_the_bound():
    bits_back, x = coder(), images(1000)
    growth = []
    for i, row in enumerate(x.int().tolist()):
        stack = bits_back.borrowed(i)  # random bits each time: those of the last z are not quite
        before = stack.bits
        bits_back.push(stack, row)
        growth.append(stack.bits - before)
    reconstruction, kl = bits_back.vae.elbo_terms(x.double(), seeded(), n_samples=200)
    difference = torch.tensor(growth) - (kl - reconstruction).detach() / math.log(2)
    mean, error = monte_carlo(difference.double())
    assert abs(mean) < 4.5 * error + 0.01
    assert error < 0.1


def test_the_coder_keeps_a_copy_of_the_model():
    torch.manual_seed(0)
    vae = mlp_vae(36, 2, hidden=(8,))
    bits_back = BitsBack(vae)
    message = bits_back.compress(images())
    for weights in vae.parameters():
        assert weights.dtype == torch.float32
        weights.data.zero_()
    assert torch.equal(bits_back.decompress(message, 20), images())


def test_any_impossible_pixel_can_be_written():
    vae = mlp_vae(4, 1, hidden=())
    vae.decoder[0].bias.data.fill_(-1e4)
    bits_back, x = BitsBack(vae), torch.ones(1, 4)
    stack = bits_back.borrowed()
    start = stack.bits
    message = bits_back.compress(x, stack)
    assert torch.equal(bits_back.decompress(message, 1), x)
    assert stack.bits - start == pytest.approx(4 * PRECISION, abs=12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Stack(b"abc"), "message: wanted a multiple of 4 bytes, got 3 bytes"),
        (lambda: Stack(b"abcd\0\0\0\0"), "message: wanted a last word other than 0"),
        (lambda: quantise([0.1, 1.0]), "cdf: wanted distributions that start at 0"),
        (lambda: quantise([0.0, 0.7, 0.6, 1.0]), "cdf: wanted distributions that start at 0"),
        (lambda: quantise([0.0, 0.7, math.nan, 1.0]), "cdf: wanted distributions that start at 0"),
        (lambda: quantise([0.0]), "cdf: wanted distributions that start at 0"),
        (lambda: quantise([0.0, 0.9]), "cdf: wanted distributions that end at 1, got 0.9"),
        (lambda: coder(bits_per_latent=0), "bits_per_latent: wanted an integer of at least 1"),
        (lambda: coder(bits_per_latent=17), "bits_per_latent: wanted at most 16"),
        (lambda: coder().compress(images() / 2), "images: wanted binary pixels"),
        (lambda: coder().compress(images()[0]), "images: wanted a tensor of 2 dimensions"),
        (lambda: coder().decompress(b"abcd", 0), "n: wanted an integer of at least 1"),
        (lambda: BitsBack(mlp_vae(4, 1, (), Gaussian())), "vae: wanted a Bernoulli likelihood"),
    ],
)
def test_what_cannot_be_coded_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_learned_prior_is_refused():
    vae = mlp_vae(4, 1, hidden=())
    vae.prior = MixturePrior(1, 2)
    with pytest.raises(ValueError, match="vae: wanted a standard normal prior, got MixturePrior"):
        BitsBack(vae)


def test_rows_of_distributions_are_rounded_row_by_row():
    rows = np.array([[0, 0.2, 1], [0, 1, 1]])
    np.testing.assert_array_equal(quantise(rows), [quantise(row) for row in rows])


# --- images without a model -------------------------------------------------------------------


def levels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_edges_of_an_image_are_predicted_from_what_there_is():
    image = levels(4, 5).astype(int)
    predicted = edge_prediction(image.astype(np.uint8))
    assert predicted[0].tolist() == [128, *image[0, :-1]]
    assert predicted[1:, 0].tolist() == image[:-1, 0].tolist()


def test_a_step_is_predicted_along_its_edge():
    image = np.full((6, 6), 30, np.uint8)
    image[:, 3:] = 200
    assert (edge_prediction(image) == image)[1:].all()  # along the edge that the row above shows
    assert (edge_prediction(image.T) == image.T)[1:, 1:].all()


def test_a_flat_image_costs_a_bit_a_number_in_the_end():
    """A Golomb-Rice code has no shorter word, and there is no run mode."""
    bits = edge_code_bits(np.full((30, 2, 4, 4), 128, np.uint8))
    assert bits[-1] == 2 * 4 * 4
    assert bits[0] > bits[-1]


def test_noise_costs_more_than_eight_bits_and_smooth_pictures_cost_less():
    ramp = 20 + np.subtract.outer(np.arange(16), np.arange(16)).astype(np.uint8)
    assert edge_code_bits(levels(4, 3, 16, 16)).mean() / 768 == pytest.approx(9, abs=1)
    assert edge_code_bits(np.broadcast_to(ramp, (40, 1, 16, 16)))[-1] / 256 < 1.3


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 1, 1, 1), (1, 3, 1, 5), (1, 1, 5, 1)])
def test_images_of_every_size_have_a_length(shape):
    bits = edge_code_bits(levels(*shape))
    assert bits.shape == shape[:1]
    assert (bits >= np.prod(shape[1:])).all()


@pytest.mark.parametrize("images", [np.zeros((2, 4, 4), np.uint8), np.zeros((2, 1, 4, 4))])
def test_only_8_bit_images_have_an_edge_code(images):
    with pytest.raises(ValueError, match=r"^images: wanted uint8 of four dimensions, got "):
        edge_code_bits(images)
