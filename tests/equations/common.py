"""What the tests of several chapters share: double precision, seeds, and all binary images."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

F64 = torch.float64


def tensor(values: object) -> Tensor:
    """Return the values in double precision."""
    return torch.tensor(values, dtype=F64)


def generator(seed: int = 0) -> torch.Generator:
    """Return a source of randomness of its own."""
    return torch.Generator().manual_seed(seed)


def normals(*shape: int, seed: int = 0) -> Tensor:
    """Return standard normal numbers in double precision."""
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


def all_images(n_pixels: int) -> Tensor:
    """Return every binary image of so many pixels, one a row."""
    return tensor(list(itertools.product((0.0, 1.0), repeat=n_pixels)))
