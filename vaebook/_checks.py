"""Input checks shared by the public functions: one template for every error message."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
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
    if not values_are_trusted():
        check_finite(argument, value)


def check_finite(argument: str, value: Tensor, rows: Tensor | None = None) -> None:
    """Require finite numbers, or name the first other one by its row, or by its place in `rows`."""
    if value.numel() == 0:
        return
    low, high = value.detach().aminmax()  # one pass, where isfinite takes several; NaN wins
    if low > -math.inf and high < math.inf:
        return
    first = (~value.detach().isfinite()).nonzero()[0].tolist()
    row = f" in row {first[0] if rows is None else int(rows[first[0]])}" if first else ""
    fail(argument, "finite numbers", f"{float(value[tuple(first)])}{row}")


def warn_of_units(says: str, added: float, variances: np.ndarray, stacklevel: int) -> None:
    """Warn where what is added to variances is larger than one of them, other than 0."""
    drowned = (variances > 0) & (variances < added)
    if drowned.any():
        column = drowned.argmax()
        warnings.warn(
            f"{says} the variance of column {column}: scale the columns (the variance of this one "
            f"is {variances[column]:.3g}), or lower it",
            stacklevel=stacklevel + 1,
        )


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


def check_batch(
    argument: str, value: Tensor, n_features: int | None = None, like: Tensor | None = None
) -> None:
    """Require a finite float matrix (batch, features), with `n_features` columns where given.

    And of the precision of `like`, a number of the model, where that is given.
    """
    check_float(argument, value, n_dims=2)
    if len(value) == 0:
        fail(argument, "at least one row", f"shape {tuple(value.shape)}")
    if n_features is not None and value.shape[1] != n_features:
        fail(argument, f"{n_features} columns", f"shape {tuple(value.shape)}")
    if like is not None and value.dtype != like.dtype:
        fail(argument, f"{like.dtype}, as the model has", value.dtype)


def check_table(estimator: Any, X: Any, *y: Any, **options: Any) -> Any:
    """Return what scikit-learn's `validate_data` makes of the arguments, finite throughout.

    Its own message about NaN tells neither row nor column. Tensors may be of any precision.
    """
    from sklearn.utils.validation import validate_data  # takes long, and few modules need it

    if isinstance(X, Tensor):
        X = (X.double() if X.is_floating_point() else X).numpy(force=True)
    checked = validate_data(estimator, X, *y, ensure_all_finite=False, **options)
    rows = checked[0] if y else checked
    with np.errstate(over="ignore", invalid="ignore"):
        clean = np.isfinite(rows.sum())  # one pass, where the places take several
    if not clean and not (finite := np.isfinite(rows)).all():
        row, column = np.argwhere(~finite)[0]
        bad = "NaN" if np.isnan(rows[row, column]) else f"{rows[row, column]}"
        fail("X", "finite numbers", f"{bad} in row {row}, column {column}")
    return checked


def is_binary(value: Tensor) -> bool:
    """Tell whether finite numbers are all 0 or 1: no others are their own squares."""
    return values_are_trusted() or torch.equal(value.square(), value)


def check_at_least(argument: str, value: int, minimum: int) -> None:
    """Require an integer of at least `minimum`, Python's or NumPy's."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        fail(argument, f"an integer of at least {minimum}", repr(value))


def check_sizes(**sizes: int) -> None:
    """Require positive integers."""
    for argument, size in sizes.items():
        check_at_least(argument, size, 1)


def check_in(argument: str, value: object, choices: tuple[object, ...]) -> None:
    """Require one of `choices`."""
    if value not in choices:
        fail(argument, "one of " + ", ".join(map(repr, choices)), repr(value))
