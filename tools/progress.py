"""Tell a reader who waits for the book what runs and how long is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import replace

from tqdm import tqdm

from tools.schedule import Task, simulate

SECONDS_BETWEEN_LINES = 30.0  # where the output is not a terminal


def about(seconds: float) -> str:
    """Return a length of time in words, as roughly as it is known."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    return f"{seconds / 60:.0f} min"


class Progress:
    """What runs now, and how long the rest will take.

    On a terminal it is one line that changes, elsewhere a line now and then.

    Parameters
    ----------
    tasks
        The notebooks to run, and what is expected of each.
    cores, memory
        Of the machine.
    afterwards
        The seconds that the pages take when all notebooks are done.
    """

    def __init__(
        self, tasks: Mapping[str, Task], cores: int, memory: float, afterwards: float = 0.0
    ) -> None:
        self.tasks, self.cores, self.memory, self.afterwards = tasks, cores, memory, afterwards
        self.started: dict[str, float] = {}
        self.taken: dict[str, float] = {}
        self._cells: dict[str, str] = {}
        self._said = time.perf_counter()
        terminal = sys.stdout.isatty()
        self._bar = tqdm(
            total=len(tasks),
            disable=not terminal,
            file=sys.stdout,
            leave=False,
            dynamic_ncols=True,
            bar_format="{n_fmt}/{total_fmt} |{bar:12}| {desc}",
        )

    def starts(self, name: str) -> None:
        """Note that a notebook starts."""
        self.started[name] = time.perf_counter()

    def at_cell(self, name: str, number: int, total: int) -> None:
        """Note which cell of a notebook runs."""
        self._cells[name] = f"{name.split('/')[-1]} (cell {number} of {total})"

    def ends(self, name: str, seconds: float) -> None:
        """Note that a notebook is done, and say so."""
        del self.started[name]
        self._cells.pop(name, None)
        self.taken[name] = seconds
        self._bar.update()
        self.say(f"  {name}: {seconds:.0f} s")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def left(self) -> float:
        """Return the seconds until all notebooks are done, at the pace that the run has shown."""
        expected = sum(self.tasks[name].seconds for name in self.taken)
        pace = sum(self.taken.values()) / expected if expected else 1.0
        now = time.perf_counter()
        remaining = {
            name: replace(task, seconds=pace * task.seconds)
            for name, task in self.tasks.items()
            if name not in self.taken
        }
        elapsed = {name: now - start for name, start in self.started.items()}
        return simulate(remaining, self.cores, self.memory, elapsed)

    def show(self) -> None:
        """Refresh the line, or print one if the last was some time ago."""
        now = time.perf_counter()
        if now - self._said < (SECONDS_BETWEEN_LINES if self._bar.disable else 1.0):
            return
        self._said = now
        left, running = about(self.left() + self.afterwards), ", ".join(self._cells.values())
        line = f"about {left} left; running {running}"
        if self._bar.disable:
            self.say(f"  {len(self.taken)} of {len(self.tasks)} done, {line}")
        else:
            self._bar.set_description_str(line)

    def close(self) -> None:
        """Remove the line."""
        self._bar.close()
