"""Input checks shared by the public functions: one template for every error message."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn

import torch
from torch import Tensor


def fail(argument: str, wanted: str, got: object) -> NoReturn:
    """Raise the book's one kind of input error: the argument, what was wanted, what came."""
    raise ValueError(f"{argument}: wanted {wanted}, got {got}")


_trusted = ContextVar("trusted", default=False)


@contextmanager
def trusted_values(trusted: bool = True) -> Iterator[None]:
    """Take values on trust, and look at types and shapes alone: a look would wait for a GPU."""
    token = _trusted.set(trusted)
    try:
        yield
    finally:
        _trusted.reset(token)


def values_are_trusted() -> bool:
    """Tell whether checks leave the values alone."""
    return _trusted.get()


def check_float(argument: str, value: Tensor, n_dims: int | None = None) -> None:
    """Require a finite floating-point tensor, of `n_dims` dimensions where given."""
    if not isinstance(value, Tensor):
        fail(argument, "a torch tensor", type(value).__name__)
    if not value.is_floating_point():
        fail(argument, "a floating-point tensor", f"dtype {value.dtype}")
    if n_dims is not None and value.ndim != n_dims:
        fail(argument, f"a tensor of {n_dims} dimensions", f"shape {tuple(value.shape)}")
    if value.numel() and not values_are_trusted():
        low, high = value.detach().aminmax()  # one pass, where isfinite takes several; NaN wins
        if not (low > -math.inf and high < math.inf):
            fail(argument, "finite numbers", "NaN or infinity")


def check_rows(n_features: int | None = None, /, **tensors: Tensor) -> None:
    """Require float tensors (..., features) that broadcast, all with as many features.

    Looks at types and shapes alone. NaN passes, so that training can name the step it came up at.
    """
    shapes = [] if n_features is None else [torch.Size([n_features])]
    for argument, value in tensors.items():
        if not isinstance(value, Tensor):
            fail(argument, "a torch tensor", type(value).__name__)
        if not value.is_floating_point() or value.ndim == 0:
            got = f"shape {tuple(value.shape)} of {value.dtype}"
            fail(argument, "a floating-point tensor of at least one dimension", got)
        shape = value.shape
        for other in shapes:
            if shape[-1] != other[-1]:
                fail(argument, f"{other[-1]} columns", f"shape {tuple(shape)}")
            # written out: torch.broadcast_shapes takes longer than the sums that are checked here
            pairs = zip(reversed(shape), reversed(other), strict=False)
            if shape != other and any(m != n and m != 1 and n != 1 for m, n in pairs):
                fail(argument, f"a shape to go with {tuple(other)}", f"shape {tuple(shape)}")
        shapes.append(shape)


def check_batch(argument: str, value: Tensor, n_features: int | None = None) -> None:
    """Require a finite float matrix (batch, features), with `n_features` columns where given."""
    check_float(argument, value, n_dims=2)
    if len(value) == 0:
        fail(argument, "at least one row", f"shape {tuple(value.shape)}")
    if n_features is not None and value.shape[1] != n_features:
        fail(argument, f"{n_features} columns", f"shape {tuple(value.shape)}")


def is_binary(value: Tensor) -> bool:
    """Tell whether finite numbers are all 0 or 1: no others are their own squares."""
    return values_are_trusted() or torch.equal(value.square(), value)


def check_at_least(argument: str, value: int, minimum: int) -> None:
    """Require an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        fail(argument, f"an integer of at least {minimum}", repr(value))


def check_sizes(**sizes: int) -> None:
    """Require positive integers."""
    for argument, size in sizes.items():
        check_at_least(argument, size, 1)


def check_in(argument: str, value: object, choices: tuple[object, ...]) -> None:
    """Require one of `choices`."""
    if value not in choices:
        fail(argument, "one of " + ", ".join(map(repr, choices)), repr(value))
