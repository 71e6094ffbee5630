"""In which order the notebooks run: the longest chain first, as many at once as there are cores.

`next_tasks` decides when the book is run, and also in `simulate`, which tells how long is left and
what the status page says of machines with more cores.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What is known, or expected, of a notebook's run.

    Attributes
    ----------
    seconds
        On one core.
    memory
        At its peak, in bytes.
    after
        The tasks that must be done before.
    """

    seconds: float
    memory: float = 0.0
    after: tuple[str, ...] = ()


def chains(tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """Return for each task the longest chain that starts with it: what waits for what."""
    followers: dict[str, list[str]] = {name: [] for name in tasks}
    for name, task in tasks.items():
        for other in task.after:
            followers.get(other, []).append(name)
    found: dict[str, list[str]] = {}

    def longest(name: str) -> list[str]:
        if name not in found:
            ways = [longest(follower) for follower in followers[name]]
            found[name] = [name, *max(ways, key=lambda way: seconds(tasks, way), default=[])]
        return found[name]

    return {name: longest(name) for name in tasks}


def seconds(tasks: Mapping[str, Task], names: Iterable[str]) -> float:
    """Return how long the tasks take one after the other."""
    return sum(tasks[name].seconds for name in names)


def next_tasks(
    tasks: Mapping[str, Task],
    waiting: Collection[str],
    running: Collection[str],
    cores: int,
    memory: float = math.inf,
) -> list[str]:
    """Return the tasks to start now, the one with the longest chain first.

    Nothing overtakes a task for which there is not enough memory yet: it would wait for ever.
    """
    ways = chains(tasks)
    chosen: list[str] = []
    for name in sorted(waiting, key=lambda name: (-seconds(tasks, ways[name]), name)):
        if any(other in waiting or other in running for other in tasks[name].after):
            continue
        active = [*running, *chosen]
        needed = tasks[name].memory + sum(tasks[other].memory for other in active)
        if len(active) >= cores or (active and needed > memory):
            break
        chosen.append(name)
    return chosen


def simulate(
    tasks: Mapping[str, Task],
    cores: int,
    memory: float = math.inf,
    elapsed: Mapping[str, float] | None = None,
) -> float:
    """Return how long it takes until all tasks are done.

    Parameters
    ----------
    tasks
        The tasks that are not done.
    cores, memory
        Of the machine.
    elapsed
        The seconds since each running task started.
    """
    ends = {name: max(0.0, tasks[name].seconds - t) for name, t in (elapsed or {}).items()}
    waiting = set(tasks) - set(ends)
    now = 0.0
    while waiting or ends:
        for name in next_tasks(tasks, waiting, ends, cores, memory):
            waiting.remove(name)
            ends[name] = now + tasks[name].seconds
        now, done = min((end, name) for name, end in ends.items())
        del ends[done]
    return now
