"""A million Gaussian numbers into a density without a closed-form quantile; seconds and error in u.

Ours builds on SciPy's `NumericalInversePolynomial`, so the first two differ only by what we add
around it: checks, and both tails. Beside them, a root finder for each number, which needs the cdf.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.special import ndtr
from scipy.stats.sampling import NumericalInversePolynomial

from vaebook.transforms import NumericalInverse, gaussian_to_target

BUMPS = ((0.6, -1.0, 0.8), (0.4, 2.0, 0.5))


def pdf(x: float) -> float:
    """Two bumps."""
    return sum(w / s * np.exp(-0.5 * ((x - m) / s) ** 2) for w, m, s in BUMPS)


def cdf(x: np.ndarray) -> np.ndarray:
    """Integral of the two bumps, normalised."""
    return sum(w * stats.norm.cdf(x, m, s) for w, m, s in BUMPS)


class TwoBumps:
    """The density as SciPy wants it."""

    pdf = staticmethod(pdf)


def seconds(call: Callable[[], object]) -> float:
    """Best of five, since other work disturbs."""
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Set up, transform, compare."""
    z = np.random.default_rng(0).normal(size=1_000_000)
    u = ndtr(z)
    ours = NumericalInverse(pdf=pdf, u_error=1e-10)
    theirs = NumericalInversePolynomial(TwoBumps(), u_resolution=1e-10)
    by_root = NumericalInverse(cdf=cdf)
    print(f"setup of the inverse: {seconds(lambda: NumericalInverse(pdf=pdf)) * 1e3:.0f} ms")
    print(f"largest error in u:   {np.abs(cdf(ours.ppf(u)) - u).max():.1e}")
    times = {
        "SciPy, from uniform numbers": seconds(lambda: theirs.ppf(u)),
        "ours, from uniform numbers": seconds(lambda: ours.ppf(u)),
        "SciPy, from Gaussian ones": seconds(lambda: theirs.ppf(ndtr(z))),
        "ours, from Gaussian ones": seconds(lambda: gaussian_to_target(z, ours)),
        "root finder (a tenth, times 10)": 10 * seconds(lambda: by_root.ppf(u[:100_000])),
    }
    for name, time_taken in times.items():
        ratio = time_taken / times["SciPy, from uniform numbers"]
        print(f"{name:<32} {time_taken:6.3f} s  {ratio:5.1f} x")


if __name__ == "__main__":
    main()
