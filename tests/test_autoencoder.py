"""The plain autoencoder: shapes, errors, and what it shares with a VAE."""

import numpy as np
import pytest
import torch
from torch import nn

from vaebook.autoencoder import Autoencoder, mlp_autoencoder, reconstruction_objective
from vaebook.taxonomy import classify
from vaebook.training import fit


def model_of(n_pixels=5, n_latents=2, hidden=(6,)):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return mlp_autoencoder(n_pixels, n_latents, hidden)


def rows(n=4, n_pixels=5, seed=0):
    return torch.rand(n, n_pixels, generator=torch.Generator().manual_seed(seed))


def test_codes_and_reconstructions():
    model, x = model_of(), rows()
    z = model.encode(x)
    assert z.shape == (4, 2)
    torch.testing.assert_close(model.decode(z), model.decoder(model.encoder(x)))
    torch.testing.assert_close(model.reconstruct(x), model.decode(z).detach())
    assert not model.reconstruct(x).requires_grad
    assert model.decode(z.expand(3, 4, 2)).shape == (3, 4, 5)


def test_the_default_is_the_mirror_image():
    model = mlp_autoencoder()
    widths = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert widths == [(784, 400), (400, 2), (2, 400), (400, 784)]


def test_error_is_a_sum_over_pixels_one_a_datum():
    model, x = model_of(), rows()
    by_hand = torch.stack([((row - model.decoder(model.encoder(row))) ** 2).sum() for row in x])
    torch.testing.assert_close(model.reconstruction_error(x), by_hand)
    bound, terms = reconstruction_objective(model, x)
    torch.testing.assert_close(bound, -by_hand)
    torch.testing.assert_close(terms["squared_error"], by_hand)
    torch.testing.assert_close(model.reconstruction_error(x[:1]), by_hand[:1])


def test_interpolation_is_straight_in_the_code():
    model, start, stop = model_of(), rows(seed=1), rows(seed=2)
    path = model.interpolate(start, stop, 5)
    assert path.shape == (4, 5, 5)
    torch.testing.assert_close(path[:, 0], model.reconstruct(start))
    torch.testing.assert_close(path[:, -1], model.reconstruct(stop))
    quarter = 0.75 * model.encode(start) + 0.25 * model.encode(stop)
    torch.testing.assert_close(path[:, 1], model.decode(quarter).detach())


def test_training_lowers_the_error():
    plane = rows(200, 2, seed=3) @ rows(2, 5, seed=4)
    model = model_of(hidden=())
    before = model.reconstruction_error(plane).mean()
    history = fit(model, plane, reconstruction_objective, epochs=30, batch_size=20, lr=0.03)
    after = model.reconstruction_error(plane).mean()
    assert after < 0.01 * before
    assert history.train["bound"] == [-e for e in history.train["squared_error"]]


def test_mixed_precision_answers_in_the_precision_of_the_data():
    model, x = model_of(), rows()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.encode(x).dtype == torch.float32
        assert model.reconstruction_error(x).dtype == torch.float32


def test_it_is_no_generative_model():
    assert classify(model_of()) == "not a generative model"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode(torch.rand(4, 3)), "x: wanted 5 columns, as the network takes"),
        (lambda m: m.encode(torch.full((2, 5), float("nan"))), "x: wanted finite numbers"),
        (lambda m: m.encode(torch.rand(5)), "x: wanted a tensor of 2 dimensions"),
        (lambda m: m.decode(torch.rand(4, 3)), "z: wanted 2 columns, as the network takes"),
        (lambda m: m.decode([0.0, 0.0]), "z: wanted a torch tensor"),
        (lambda m: m.interpolate(rows(2), rows(3)), "x_to: wanted the shape of x_from"),
        (lambda m: m.interpolate(rows(2), rows(2), 1), "n_steps: wanted an integer of at least 2"),
        (lambda m: mlp_autoencoder(0), "n_pixels: wanted an integer of at least 1"),
        (lambda m: mlp_autoencoder(5, 0), "n_latents: wanted an integer of at least 1"),
        (lambda m: mlp_autoencoder(5, 2, (0,)), "hidden: wanted an integer of at least 1"),
        (
            lambda m: Autoencoder(m.encoder, nn.Linear(2, 1)).reconstruction_error(rows()),
            "x: wanted 1 columns, as the decoder gives",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(model_of())


def test_numpys_integers_are_sizes():
    model = mlp_autoencoder(np.int64(4), np.int64(2), np.array([3]))
    x = torch.zeros(2, 4)
    assert model.interpolate(x, x, np.int64(3)).shape == (2, 3, 4)
    assert model.reconstruct(x[:1]).shape == (1, 4)


def test_what_is_wrong_is_named():
    model, x = mlp_autoencoder(4, 2, (3,)), torch.zeros(2, 4)
    x[1, 2] = torch.nan
    for bad, message in (
        (x, "x: wanted finite numbers, got nan in row 1"),
        (torch.zeros(2, 4).double(), "x: wanted torch.float32"),
        (torch.zeros(2, 4).numpy(), "x: wanted a torch tensor, got ndarray"),
        (torch.zeros(0, 4), "x: wanted at least one row"),
    ):
        with pytest.raises(ValueError, match=message):
            model.reconstruct(bad)
