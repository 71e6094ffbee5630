"""The networks: their shapes, what their layers compute, and which input they refuse."""

import math

import pytest
import torch
from torch import nn

from tests.common import seeded
from vaebook.networks import (
    ResidualBlock,
    check_input,
    conv_decoder,
    conv_encoder,
    interpolate,
    mlp,
    residual_mlp,
)


def test_networks_have_the_shapes_asked_for():
    z = torch.zeros(2, 3, 7)
    assert mlp(7, 4, ())(z).shape == (2, 3, 4)
    assert [type(layer) for layer in mlp(7, 4, ())] == [nn.Linear]
    assert [m.out_features for m in mlp(7, 4, (5, 6)) if isinstance(m, nn.Linear)] == [5, 6, 4]
    assert residual_mlp(7, 4, 8, 3)(z).shape == (2, 3, 4)
    assert conv_encoder(6, 2)(torch.zeros(5, 784)).shape == (5, 6)
    assert conv_decoder(7, 2, 2)(torch.zeros(5, 7)).shape == (5, 2 * 784)


def test_a_residual_block_adds_to_its_input():
    block = ResidualBlock(6)
    x = torch.randn(3, 6, generator=seeded(0))
    normal = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, False, keepdim=True) + 1e-5)
    expected = x + (normal * torch.sigmoid(normal)) @ block.linear.weight.T + block.linear.bias
    torch.testing.assert_close(block(x), expected)


def test_the_convolutional_networks_know_up_from_left():
    """Pixels are rows of the image: a shifted image gives shifted features."""
    first = conv_encoder(6, 2).double()[:2]
    image = torch.zeros(28, 28, dtype=torch.float64)
    image[8:12, 8:12] = 1.0
    features = first(image.view(1, 784))
    below = first(image.roll(4, 0).view(1, 784))
    torch.testing.assert_close(features.roll(2, -2), below)


IMAGES = [(1, 28, 28), (3, 32, 32), (3, 2, 2), (1, 2, 50), (3, 33, 17), (2, 9, 64), (1, 65, 31)]


@pytest.mark.parametrize("image", IMAGES)
def test_convolutions_take_images_of_any_size(image):
    n_pixels = math.prod(image)
    encoder, decoder = conv_encoder(5, 4, image), conv_decoder(3, 2, 4, image)
    x = torch.rand(2, n_pixels, generator=seeded(0)).requires_grad_()
    code = encoder(x)
    assert code.shape == (2, 5)
    (gradient,) = torch.autograd.grad(code.sum(), x)
    assert (gradient != 0).all()  # it looks at every pixel
    drawn = decoder(torch.randn(2, 3, generator=seeded(1)))
    assert drawn.shape == (2, 2 * n_pixels)
    by_code = torch.autograd.functional.jacobian(decoder, torch.zeros(1, 3)).abs().sum((0, 2, 3))
    assert (by_code > 0).all()  # and draws every one


@pytest.mark.parametrize(
    ("side", "n_halvings"), [(2, 1), (8, 1), (16, 1), (17, 2), (28, 2), (32, 2), (64, 3), (256, 5)]
)
def test_images_are_halved_until_they_are_small(side, n_halvings):
    layers = conv_encoder(2, 1, (1, side, 2 * side))
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == n_halvings


@pytest.mark.parametrize("network", [mlp(5, 2), residual_mlp(5, 2), nn.Sequential(mlp(5, 2))])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(3, 4), r"rows: wanted 5 columns, as the network takes, got shape \(3, 4\)"),
        (torch.zeros(3, 5).double(), "rows: wanted torch.float32, as the network's weights, got"),
    ],
)
def test_rows_that_a_network_cannot_take_are_refused(network, rows, message):
    with pytest.raises(ValueError, match=message):
        check_input("rows", network, rows)
    check_input("rows", network, torch.zeros(2, 3, 5))


def test_a_convolutional_network_wants_whole_images():
    with pytest.raises(ValueError, match="x: wanted 784 columns"):
        check_input("x", conv_encoder(2), torch.zeros(2, 783))


def test_a_module_that_does_not_say_what_it_takes_is_not_judged():
    class Odd(nn.Module):
        """Its first layer is not the first that is used."""

        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(7, 2), nn.Linear(5, 7)

    check_input("x", Odd(), torch.zeros(3, 5))
    check_input("x", nn.Sequential(), torch.zeros(3, 5))


code, image = mlp(2, 1), mlp(1, 2)


def test_interpolation_is_linear_in_the_codes_and_keeps_no_gradient():
    halve, double = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(halve.weight, 0.5)
    nn.init.constant_(double.weight, 2.0)
    path = interpolate(halve, double, torch.tensor([[0.0]]), torch.tensor([[4.0]]), 5)
    assert path.flatten().tolist() == [0, 1, 2, 3, 4]
    assert not path.requires_grad


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: mlp(0, 2), "n_in"),
        (lambda: mlp(2, 0), "n_out"),
        (lambda: mlp(2, 2, (0,)), "hidden"),
        (lambda: residual_mlp(2, 2, width=0), "width"),
        (lambda: residual_mlp(2, 2, n_blocks=-1), "n_blocks"),
        (lambda: residual_mlp(0, 2), "n_in"),
        (lambda: conv_encoder(0), "n_out"),
        (lambda: conv_encoder(2, 0), "n_channels"),
        (lambda: conv_encoder(2, image=(1, 1, 28)), "image"),
        (lambda: conv_encoder(2, image=(0, 28, 28)), "image"),
        (lambda: conv_decoder(2, image=(28, 28)), "image"),
        (lambda: conv_decoder(0), "n_in"),
        (lambda: conv_decoder(2, 0), "n_per_pixel"),
        (
            lambda: interpolate(mlp(2, 1), mlp(1, 2), torch.zeros(3, 2), torch.zeros(2, 2), 5),
            "x_to",
        ),
        (
            lambda: interpolate(mlp(2, 1), mlp(1, 2), torch.zeros(3, 2), torch.zeros(3, 2), 1),
            "n_steps",
        ),
    ],
)
def test_bad_input_is_named(call, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted (.|\n)*, got "):
        call()
