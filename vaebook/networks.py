"""Networks that several models of the book are built from: perceptrons and convolutions.

They map rows of numbers to rows of numbers and know nothing of probability::

    mlp(784, 10, hidden=(400,))          # a plain perceptron
    residual_mlp(784, 10)                # one that trains well when it is deep
    conv_encoder(40), conv_decoder(20)   # for images of 28 x 28 pixels, as rows
    conv_encoder(40, image=(3, 32, 48))  # for colour images of any other size

An image is a row too: channel after channel, each line by line, as ``images.flatten(1)`` makes it
of a tensor of shape (batch, channels, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vaebook._checks import check_at_least, check_sizes, fail


def mlp(n_in: int, n_out: int, hidden: Sequence[int] = (400,)) -> nn.Sequential:
    """Multilayer perceptron with SiLU units between linear layers.

    Parameters
    ----------
    n_in, n_out
        Numbers of inputs and outputs.
    hidden
        Widths of the hidden layers, first to last; empty for a linear map.

    Returns
    -------
    torch.nn.Sequential
        The network.
    """
    check_sizes(n_in=n_in, n_out=n_out)
    for width in hidden:
        check_at_least("hidden", width, 1)
    widths = [n_in, *hidden, n_out]
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class ResidualBlock(nn.Module):
    """A layer that adds to its input: x + Linear(SiLU(LayerNorm(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Apply the block."""
        return x + self.linear(F.silu(self.norm(x)))


def residual_mlp(n_in: int, n_out: int, width: int = 512, n_blocks: int = 2) -> nn.Sequential:
    """Perceptron of residual blocks, which trains faster than a plain one as it grows deeper.

    Parameters
    ----------
    n_in, n_out
        Numbers of inputs and outputs.
    width
        Units in every hidden layer.
    n_blocks
        Number of :class:`ResidualBlock`.

    Returns
    -------
    torch.nn.Sequential
        The network.
    """
    check_sizes(n_in=n_in, n_out=n_out, width=width)
    check_at_least("n_blocks", n_blocks, 0)
    blocks = [ResidualBlock(width) for _ in range(n_blocks)]
    return nn.Sequential(nn.Linear(n_in, width), *blocks, nn.SiLU(), nn.Linear(width, n_out))


Image = tuple[int, int, int]  # channels, height, width


def conv_encoder(n_out: int, n_channels: int = 32, image: Image = (1, 28, 28)) -> nn.Sequential:
    """Convolutional network from images, as rows of pixels, to `n_out` numbers.

    Parameters
    ----------
    n_out
        Number of outputs.
    n_channels
        Features of the first convolution; each further one has twice as many.
    image
        Channels, height and width, at least 2 x 2. Each convolution halves the sides (an odd one
        loses its half), until the shorter one is at most 8: twice for 28 x 28.

    Returns
    -------
    torch.nn.Sequential
        The network.
    """
    check_sizes(n_out=n_out, n_channels=n_channels)
    sizes, features = _pyramid(image, n_channels)
    layers: list[nn.Module] = [nn.Unflatten(-1, tuple(image))]
    for wide, narrow in pairwise((image[0], *features)):
        layers += [nn.Conv2d(wide, narrow, 4, stride=2, padding=1), nn.SiLU()]
    n_features = features[-1] * math.prod(sizes[-1])
    return nn.Sequential(*layers, nn.Flatten(-3), nn.Linear(n_features, n_out))


def conv_decoder(
    n_in: int, n_per_pixel: int = 1, n_channels: int = 32, image: Image = (1, 28, 28)
) -> nn.Sequential:
    """Convolutional network from `n_in` numbers to `n_per_pixel` parameters for each pixel.

    The mirror image of :func:`conv_encoder`, with the same arguments. In its rows the first
    parameter of all pixels, of all channels, comes first, then the second of all.
    """
    check_sizes(n_in=n_in, n_per_pixel=n_per_pixel, n_channels=n_channels)
    sizes, features = _pyramid(image, n_channels)
    layers: list[nn.Module] = [
        nn.Linear(n_in, features[-1] * math.prod(sizes[-1])),
        nn.SiLU(),
        nn.Unflatten(-1, (features[-1], *sizes[-1])),
    ]
    outputs = (*features[-2::-1], n_per_pixel * image[0])
    for wide, narrow, size in zip(features[::-1], outputs, sizes[-2::-1], strict=True):
        odd = (size[0] % 2, size[1] % 2)  # what halving lost
        up = nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, output_padding=odd)
        layers += [up, nn.SiLU()]
    return nn.Sequential(*layers[:-1], nn.Flatten(-3))


def _pyramid(image: Image, n_channels: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Sizes of an image halved again and again, the first its own, and features after each."""
    if len(image) != 3:
        fail("image", "channels, height and width", image)
    channels, height, width = image
    check_at_least("image", channels, 1)
    for side in (height, width):
        check_at_least("image", side, 2)
    n_halvings = max(1, math.ceil(math.log2(min(height, width) / 8)))
    sizes = [(height >> i, width >> i) for i in range(n_halvings + 1)]
    return sizes, [n_channels << i for i in range(n_halvings)]


def check_input(argument: str, network: nn.Module, rows: Tensor) -> None:
    """Require rows that `network` takes, where its first layer says how many columns it wants.

    Other modules do not say so before they are called. What they raise then comes through as it is.
    """
    first = network
    while isinstance(first, nn.Sequential) and len(first) > 0:
        first = first[0]
    n_columns = rows.shape[-1]
    if isinstance(first, nn.Linear):
        n_columns = first.in_features
        if rows.dtype != first.weight.dtype:
            fail(argument, f"{first.weight.dtype}, as the network's weights", rows.dtype)
    elif isinstance(first, nn.Unflatten):
        n_columns = math.prod(first.unflattened_size)
    if rows.shape[-1] != n_columns:
        fail(argument, f"{n_columns} columns, as the network takes", f"shape {tuple(rows.shape)}")


def interpolate(
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    x_from: Float[Tensor, "batch pixels"],
    x_to: Float[Tensor, "batch pixels"],
    n_steps: int,
) -> Float[Tensor, "batch n_steps pixels"]:
    """Decode points on the straight lines between the codes of two batches.

    Parameters
    ----------
    encode, decode
        From data to codes, and back.
    x_from, x_to
        Data, shape (batch, n_pixels), where the lines start and end.
    n_steps
        Points on each line, both ends among them; at least 2.

    Returns
    -------
    Tensor
        Decoded points, shape (batch, n_steps, n_pixels), without a gradient.

    Raises
    ------
    ValueError
        If the batches differ in shape, or a line has fewer than two points.
    """
    if x_to.shape != x_from.shape:
        fail("x_to", f"the shape of x_from, {tuple(x_from.shape)}", tuple(x_to.shape))
    check_at_least("n_steps", n_steps, 2)
    with torch.no_grad():
        start, stop = encode(x_from), encode(x_to)
        position = torch.linspace(0, 1, n_steps, dtype=start.dtype, device=start.device)
        return decode(torch.lerp(start[:, None], stop[:, None], position[:, None]))
