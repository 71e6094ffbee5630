"""Checkpoint files: written whole or not at all, and read back only if they are whole."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaebook import _files
from vaebook._checks import fail

SUFFIX = ".tmp"  # one for all runs: what a killed one leaves is found again
WANTED = "a file that such a run has written (delete it to start anew)"


def prepare(path: Path) -> None:
    """Make sure that `path` can be written, before there is anything to lose.

    Raises
    ------
    OSError
        If the folder cannot be made or written.
    """
    _files.prepare(path, "checkpoint", SUFFIX)


def write(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that a crash leaves the previous file whole.

    Raises
    ------
    OSError
        If there is no room, say; nothing is then left of the attempt.
    """
    try:
        with _files.whole_file(path, SUFFIX) as unfinished, unfinished.open("wb") as file:
            torch.save(state, file)  # given a path, it keeps a full disk's file open
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise OSError(f"checkpoint: {path} could not be written: {error}") from error


def read(path: Path, wanted: frozenset[str]) -> dict[str, Any]:
    """Read a state that has the keys `wanted`, after a look at the file's own checksums.

    Its tensors come to the CPU.

    Raises
    ------
    ValueError
        If the file is damaged, or is no checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not compare the checksums
            damaged = archive.testzip()
        if damaged is not None:
            fail("checkpoint", WANTED, f"{path}, damaged in {damaged}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except ValueError:
        raise
    except Exception as error:
        fail("checkpoint", WANTED, f"{path}: {error}")
    if not isinstance(state, dict) or not wanted <= state.keys():
        fail("checkpoint", WANTED, path)
    return state


def stamp(path: Path | None) -> tuple[int, int] | None:
    """Tell one version of a file from the next."""
    if path is None or not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def structure(model: nn.Module) -> list[str]:
    """Say all that a model is beside its weights: modules, sizes, likelihood, prior."""
    return [
        f"{name}: {type(module).__name__}{_plain_attributes(module)}"
        for name, module in model.named_modules()
    ]


def _plain_attributes(thing: object, depth: int = 2) -> dict[str, object]:
    """Numbers, words and tuples of them by value; other objects by their class and attributes."""
    plain: dict[str, object] = {}
    for key, value in sorted(getattr(thing, "__dict__", {}).items()):
        if key.startswith("_") or key == "training" or callable(value):
            continue
        if isinstance(value, int | float | str | tuple | type(None)):
            plain[key] = value
        elif depth > 0 and hasattr(value, "__dict__") and not isinstance(value, torch.Tensor):
            plain[key] = [type(value).__name__, _plain_attributes(value, depth - 1)]
    return plain
