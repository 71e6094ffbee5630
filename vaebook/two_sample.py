r"""Whether two samples come from the same distribution, and whether one of them is new.

Two questions that can be asked of *any* sampler, whatever it knows about its own density::

    energy_distance(x, y)                       # 0 where the two samples are the same
    permutation_test(x, y, generator=generator) # is it larger than chance explains?
    nearest_distances(x, training_data)         # 0 for a copy of a training datum
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from vaebook._checks import check_at_least, check_batch
from vaebook.gaussian import at_least_single


class TwoSampleTest(NamedTuple):
    """Outcome of a test that two samples have the same distribution.

    Attributes
    ----------
    statistic
        The energy distance of the two samples, in the units of the data.
    p_value
        Probability of a distance at least as large when the distributions are the same.
    """

    statistic: float
    p_value: float


def energy_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    r"""Energy distance of two samples [1]_, their two empirical distributions' exact one.

    Equation ``def-energy-distance`` of the book:
    :math:`2\,\mathbb E|X - Y| - \mathbb E|X - X'| - \mathbb E|Y - Y'|`.

    Parameters
    ----------
    x, y
        Data as rows, shapes (n, d) and (m, d).

    Returns
    -------
    float
        At least 0, in the units of the data.

    References
    ----------
    .. [1] G. J. Székely and M. L. Rizzo (2013), Energy statistics: a class of statistics based on
       distances, Journal of Statistical Planning and Inference 143.
    """
    distances, contrast = _distances_and_contrast(x, y)
    return float(_energy(contrast[None], distances))


def permutation_test(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    n_permutations: int = 999,
    generator: Generator | None = None,
) -> TwoSampleTest:
    """Test whether two samples have the same distribution, by shuffling which is which.

    Equation ``def-permutation-p-value`` of the book. If both have the same distribution, every way
    to deal the n + m data out to two samples is equally probable. The time and the memory grow as
    (n + m)², so take some thousand data.

    Parameters
    ----------
    x, y
        Data as rows, shapes (n, d) and (m, d).
    n_permutations
        Number of shuffles; the smallest possible p-value is 1 / (n_permutations + 1).
    generator
        Source of the shuffles, on the data's device; torch's own if None.

    Returns
    -------
    TwoSampleTest
        The energy distance and its p-value.
    """
    check_at_least("n_permutations", n_permutations, 1)
    distances, contrast = _distances_and_contrast(x, y)
    keys = torch.rand(n_permutations, len(contrast), generator=generator, device=x.device)
    observed = float(_energy(contrast[None], distances))
    shuffled = _energy(contrast[keys.argsort(dim=1)], distances)
    # ties count: with many equal data a shuffle may give the very same distance, up to rounding
    as_large = int((shuffled >= observed * (1 - 1e-6)).sum())
    return TwoSampleTest(observed, (1 + as_large) / (1 + n_permutations))


def nearest_distances(
    x: Float[Tensor, "n d"], reference: Float[Tensor, "m d"], batch_size: int = 1000
) -> Float[Tensor, " n"]:
    """Euclidean distance from each row of `x` to the nearest row of `reference`.

    Parameters
    ----------
    x, reference
        Data as rows, shapes (n, d) and (m, d).
    batch_size
        Rows of `x` at a time, which bounds the memory.

    Returns
    -------
    Tensor
        Distances, shape (n,), in the units of the data.
    """
    check_batch("x", x)
    check_batch("reference", reference, n_features=x.shape[1])
    check_at_least("batch_size", batch_size, 1)
    # differences, no expanded squares: those cancel, and a copy's distance would not be 0
    mode = "donot_use_mm_for_euclid_dist"
    x, reference = at_least_single(x), at_least_single(reference).to(x.device)
    dtype = torch.promote_types(x.dtype, reference.dtype)
    x, reference = x.to(dtype), reference.to(dtype)
    parts = [torch.cdist(rows, reference, compute_mode=mode) for rows in x.split(batch_size)]
    return torch.cat([part.amin(1) for part in parts])


def _distances_and_contrast(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """All distances in the pooled sample; weights of 1/n for data of x, -1/m for those of y."""
    check_batch("x", x)
    check_batch("y", y, n_features=x.shape[1])
    pooled = torch.cat([x.double(), y.to(x.device).double()])
    contrast = pooled.new_full((len(pooled),), 1 / len(x))
    contrast[len(x) :] = -1 / len(y)
    return _distances(pooled), contrast


def _distances(rows: Tensor) -> Tensor:
    """Distance of each row from each: by differences, or many columns by a matrix product.

    The product is exact to 1e-8 of the largest distance only: no row may lie far from the others.
    """
    rows = rows - rows.median(0).values  # distances stay, and their squares lose fewer digits
    norms = rows.square().sum(1)
    by_product = rows.shape[1] > 25 and norms.max() <= 1e4 * norms.median()
    mode = "use_mm_for_euclid_dist" if by_product else "donot_use_mm_for_euclid_dist"
    return torch.cdist(rows, rows, compute_mode=mode)


def _energy(contrasts: Tensor, distances: Tensor) -> Tensor:
    """Energy distance for each row w of `contrasts`: minus the quadratic form w' D w."""
    return -(contrasts @ distances).mul_(contrasts).sum(1).clamp_max(0)  # 0 may round to 1e-17
