"""Log-density of 10,000 points under a kernel density estimate from 10,000 others.

Side by side in one run: ours, scipy.stats.gaussian_kde and sklearn.neighbors.KernelDensity with the
same bandwidth, on data with unit covariance, where the three define the same density. scikit-learn
runs at its exact setting, which is its default. SciPy is also timed without its logarithms: the
density itself, which is zero in floating point where a point is far from the data.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy.stats import gaussian_kde
from sklearn import neighbors

from vaebook.kde import KernelDensity


def timed(run: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the best of three times, and the result."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        result = run(x)
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main() -> None:
    """Measure in one, two and five dimensions; the faster of the others counts."""
    rng = np.random.default_rng(0)
    for d in (1, 2, 5):
        data, points = rng.normal(size=(2, 10_000, d))
        data -= data.mean(0)
        data = data @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(data.T)))).T
        scipy = gaussian_kde(data.T, bw_method="scott")
        sklearn = neighbors.KernelDensity(bandwidth="scott").fit(data)
        measured = {
            "ours": timed(KernelDensity("scott").fit(data).score_samples, points),
            "scipy logpdf": timed(scipy.logpdf, points.T),
            "scipy pdf": timed(scipy.pdf, points.T),
            "scikit-learn": timed(sklearn.score_samples, points),
        }
        best = {name: seconds for name, (seconds, _) in measured.items()}
        print(f"d = {d}:", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in best.items()))
        faster = min(best["scipy logpdf"], best["scikit-learn"])
        print(f"  faster of the others / ours: {faster / best['ours']:.1f}", end="")
        print(f"  (density without logarithm: {best['scipy pdf'] / best['ours']:.1f})")
        for name in ("scipy logpdf", "scikit-learn"):
            # relative, because that is what 1e-9 means for a logarithm far below zero
            gap = np.abs(measured[name][1] / measured["ours"][1] - 1).max()
            print(f"  largest relative difference from {name}: {gap:.1e}")


if __name__ == "__main__":
    main()
