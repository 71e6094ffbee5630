"""What an exercise says of a reader's answer."""

from __future__ import annotations

import torch
from torch import Tensor


def compare(name: str, mine: Tensor | float | None, wanted: Tensor | float) -> None:
    """Print how far a reader's result lies from the wanted one, or what its shape should be.

    Parameters
    ----------
    name
        Of what is compared, as the exercise calls it.
    mine
        The reader's result; None as long as there is none.
    wanted
        The right one, a number or an array.
    """
    right = torch.as_tensor(wanted).detach().double()
    if mine is None:
        print(f"{name}: nothing yet; wanted {_shape(right)}")
        return
    result = torch.as_tensor(mine).detach().double()
    if result.shape != right.shape:
        print(f"{name}: wanted {_shape(right)}, got {_shape(result)}")
    else:
        print(f"{name}: largest deviation {(result - right).abs().max().item():.6f}")


def _shape(values: Tensor) -> str:
    return f"shape {tuple(values.shape)}" if values.ndim else "one number"
