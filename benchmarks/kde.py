"""Log-density of points under a kernel density estimate, beside SciPy's and scikit-learn's.

All with the same bandwidth on data with unit covariance, where the three define the same density.
scikit-learn runs at its exact setting, which is its default.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from _table import close, head, row
from scipy.stats import gaussian_kde
from sklearn import neighbors

from vaebook.kde import KernelDensity


def main() -> None:
    """Few data and many, in one, two and eight dimensions."""
    rng = np.random.default_rng(0)
    head()
    for n in (100, 1000, 10_000):
        for d in (1, 2, 8):
            data, points = rng.normal(size=(2, n, d))
            data -= data.mean(0)
            data = data @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(data.T)))).T
            scipy = gaussian_kde(data.T, bw_method="scott")
            sklearn = neighbors.KernelDensity(bandwidth="scott").fit(data)
            others = {
                "SciPy": partial(scipy.logpdf, points.T),
                "scikit-learn": partial(sklearn.score_samples, points),
            }
            ours = partial(KernelDensity("scott").fit(data).score_samples, points)
            row(f"{n:,} points, {n:,} data, d = {d}", ours, others, close(1e-9, 1e-9))


if __name__ == "__main__":
    main()
