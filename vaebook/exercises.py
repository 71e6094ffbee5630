"""What an exercise says of a reader's answer."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor


def compare(
    name: str, mine: Tensor | ArrayLike | None, wanted: Tensor | ArrayLike, unit: str = ""
) -> None:
    """Print how far a reader's result lies from the wanted one, or what its shape should be.

    Parameters
    ----------
    name
        Of what is compared, as the exercise calls it.
    mine
        The reader's result; None as long as there is none.
    wanted
        The right one, a number or an array.
    unit
        Of both.
    """
    right = torch.as_tensor(wanted).detach().double()
    if mine is None:
        print(f"{name}: nothing yet; wanted {_shape(right)}")
        return
    result = torch.as_tensor(mine).detach().double()
    if result.shape != right.shape:
        print(f"{name}: wanted {_shape(right)}, got {_shape(result)}")
    else:
        deviation = (result - right).abs().max().item()
        print(f"{name}: largest deviation {deviation:.6f} {unit}".rstrip())


def _shape(values: Tensor) -> str:
    return f"shape {tuple(values.shape)}" if values.ndim else "one number"
