"""Files written whole or not at all: checkpoints, models, tables, the cache."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path, suffix: str | None = None) -> Iterator[Path]:
    """Give a file to write beside `path`, which takes its place once it is whole.

    An error leaves what was there, and nothing of the attempt. Without `suffix`, threads and
    processes that write the same file each have one of their own.
    """
    suffix = suffix or f".{os.getpid()}-{threading.get_ident()}.tmp"
    unfinished = path.with_name(f".{path.name}{suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


def prepare(path: Path, argument: str, suffix: str) -> None:
    """Make sure that `path` can be written, before there is anything to lose.

    Also takes away what a killed process may have left under `suffix`.

    Raises
    ------
    OSError
        If the folder cannot be made or written, with the name of the argument.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        unfinished = path.with_name(f".{path.name}{suffix}")
        unfinished.touch()
        unfinished.unlink(missing_ok=True)  # another process may prepare the same file
    except OSError as error:
        raise OSError(f"{argument}: {path} cannot be written: {error}") from error
