"""Stand-ins for what `vaebook.training` is about to offer: delete this file then.

The line ``from vaebook._standin import`` of `vaebook.cli` then names `vaebook.training`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vaebook import training
from vaebook.training import History

Callback = Callable[[History], bool | None]


def fit(*arguments: Any, callbacks: Sequence[Callback] = (), **options: Any) -> History:
    """Train, and call the callbacks once, at the end."""
    history = training.fit(*arguments, **options)
    for callback in callbacks:
        callback(history)
    return history


class CsvLog:
    """Callback that writes the history to a table."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, history: History) -> None:
        """Write the whole history."""
        with self.path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *(f"train_{name}" for name in history.train)])
            writer.writerows(
                [i, *row] for i, row in enumerate(zip(*history.train.values(), strict=True), 1)
            )


class EarlyStopping:
    """Callback that never stops anything."""

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def __call__(self, history: History) -> bool:
        """Go on."""
        return False
