"""Draws and quantiles by numerical inversion, beside SciPy's two tables; set-up included.

From a density, ours is SciPy's `NumericalInversePolynomial` with checks and both tails around it.
From a distribution function alone, ours solves for each number, to rounding. SciPy's table,
`NumericalInverseHermite`, is also told the density, and its error is 1e-12.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from _table import head, row
from scipy import stats
from scipy.special import ndtr
from scipy.stats.sampling import NumericalInverseHermite, NumericalInversePolynomial

from vaebook.transforms import NumericalInverse

BUMPS = ((0.6, -1.0, 0.8), (0.4, 2.0, 0.5))


def pdf(x: float) -> float:
    """Two bumps, as a density."""
    return sum(w / s * np.exp(-0.5 * ((x - m) / s) ** 2) for w, m, s in BUMPS) / np.sqrt(2 * np.pi)


def cdf(x: np.ndarray) -> np.ndarray:
    """Return the integral of the two bumps."""
    return sum(w * ndtr((x - m) / s) for w, m, s in BUMPS)


class TwoBumps:
    """The distribution as SciPy wants it."""

    pdf, cdf = staticmethod(pdf), staticmethod(cdf)


def solves(u: np.ndarray) -> Callable[[np.ndarray, np.ndarray], None]:
    """Return a check that two arrays of quantiles of `u` are right."""

    def same(ours: np.ndarray, other: np.ndarray) -> None:
        for x in (ours, other):
            np.testing.assert_allclose(cdf(x), u, rtol=0, atol=1.01e-10)

    return same


def follow(ours: np.ndarray, other: np.ndarray) -> None:
    """Check that draws follow the distribution."""
    assert min(stats.kstest(x[:10_000], cdf).pvalue for x in (ours, other)) > 0.001


def main() -> None:
    """Draws and quantiles from a density; quantiles from a distribution function."""
    head()
    ours = NumericalInverse(pdf=pdf)
    other = NumericalInversePolynomial(TwoBumps(), u_resolution=1e-10)
    n = 1_000_000

    def draw() -> np.ndarray:
        return other.rvs(n, random_state=np.random.RandomState(0))

    others = {"SciPy, polynomials": draw}
    row("10⁶ draws from a density", lambda: ours.sample(n, random_state=0), others, follow)
    u = np.random.default_rng(0).uniform(size=n)
    others = {"SciPy, polynomials": lambda: other.ppf(u)}
    row("10⁶ quantiles from a density", lambda: ours.ppf(u), others, solves(u))
    for n in (1000, 100_000):
        u = np.random.default_rng(0).uniform(size=n)
        others = {"SciPy, Hermite": lambda u=u: NumericalInverseHermite(TwoBumps()).ppf(u)}
        work = f"{n:,} quantiles from a distribution function"
        row(work, lambda u=u: NumericalInverse(cdf=cdf).ppf(u), others, solves(u))


if __name__ == "__main__":
    main()
