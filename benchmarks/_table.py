"""One table for each benchmark: ours beside what a reader would use instead."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Call = Callable[[], Any]


def head() -> None:
    """Print the first two lines of a table of the columns of `row`."""
    print("| work | ours | other | other / ours, median (least to most) |")
    print("|---|---|---|---|")


def row(
    work: str, ours: Call, others: Mapping[str, Call], same: Callable[[Any, Any], None]
) -> None:
    """Check that all give the same; then time them in turn for some seconds, and print a line each.

    `same` compares our result with another's, and raises an error where they differ. Times are of
    the processor, so that other work on the machine disturbs less.
    """
    result, calls = ours(), [ours, *others.values()]
    for other in others.values():
        same(result, other())
    once = sum(map(seconds, calls))
    rounds = int(np.clip(3 / once, 3, 300))
    times = np.array([[seconds(call) for call in calls] for _ in range(rounds)])
    for name, ratio in zip(others, (times[:, 1:] / times[:, :1]).T, strict=True):
        least, middle, most = np.quantile(ratio, [0, 0.5, 1])
        took = 1e3 * np.median(times[:, 0])
        print(f"| {work} | {took:.3g} ms | {name} | {middle:.2f} ({least:.2f} to {most:.2f}) |")


def seconds(call: Call) -> float:
    """Processor time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def close(relative: float, absolute: float = 0.0) -> Callable[[Any, Any], None]:
    """Return a check that two arrays agree within a tolerance."""

    def same(ours: Any, other: Any) -> None:
        np.testing.assert_allclose(ours, other, rtol=relative, atol=absolute)

    return same
