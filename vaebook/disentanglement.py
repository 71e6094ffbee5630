"""Does each coordinate of a code stand for one factor of the data? A score, for factors we know.

It compares codes with factors by their mutual information::

    information = mutual_information(codes, factors)     # nats, one for each pair
    mutual_information_gap(codes, factors)               # between 0 and 1
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vaebook._checks import check_at_least, check_batch, fail


def mutual_information(
    codes: Float[Tensor, "n latents"], factors: Int[Tensor, "n factors"], n_bins: int = 20
) -> Float[Tensor, "latents factors"]:
    """Mutual information of each coordinate of a code with each factor, from their joint counts.

    Equation ``def-mutual-information`` of the book.

    Parameters
    ----------
    codes
        One row a datum, such as the means of q(z|x). Each column is cut into `n_bins` bins of
        equal width, from its smallest to its largest value.
    factors
        Classes of each factor, whole numbers from 0, one row a datum.
    n_bins
        Number of bins.

    Returns
    -------
    Tensor
        Shape (n_latents, n_factors), in nats. Counts of few data overestimate it, by about
        (n_bins - 1)(n_classes - 1) / 2n.

    Raises
    ------
    ValueError
        If the two differ in length, or hold other numbers.
    """
    check_batch("codes", codes)
    check_at_least("n_bins", n_bins, 2)
    _check_factors(factors, len(codes))
    return torch.tensor(
        [
            [_information(_counts(code, factor, n_bins)) for factor in factors.T]
            for code in codes.detach().double().T
        ],
        dtype=torch.float64,
    )


def mutual_information_gap(
    codes: Float[Tensor, "n latents"], factors: Int[Tensor, "n factors"], n_bins: int = 20
) -> float:
    r"""Score of how much each factor is told by one coordinate alone, the MIG of [1]_.

    Equation ``def-mutual-information-gap`` of the book: for each factor, the mutual information of
    the coordinate that knows most of it, less that of the next, over the factor's entropy; averaged
    over factors. It is at most 1, and 0 if for every factor two coordinates know equally much.

    Parameters
    ----------
    codes, factors, n_bins
        As for :func:`mutual_information`, with at least two coordinates. Each factor takes at
        least two values.

    References
    ----------
    .. [1] R. T. Q. Chen, X. Li, R. Grosse and D. Duvenaud (2018), Isolating sources of
       disentanglement in variational autoencoders, NeurIPS.
    """
    information = mutual_information(codes, factors, n_bins)
    if len(information) < 2:
        fail("codes", "at least 2 columns", f"shape {tuple(codes.shape)}")
    # what a factor tells of itself is its entropy
    entropy = torch.tensor(
        [_information(np.diag(torch.bincount(factor).numpy(force=True))) for factor in factors.T],
        dtype=torch.float64,
    )
    if (entropy == 0).any():
        fail("factors", "at least two values of each", f"one in column {int(entropy.argmin())}")
    first, second = information.topk(2, dim=0).values
    return float(((first - second) / entropy).mean())


def _counts(code: Tensor, factor: Tensor, n_bins: int) -> np.ndarray:
    """Count the data in each bin of the code and class of the factor."""
    low, high = code.aminmax()
    share = (code - low) / (high - low).clamp_min(torch.finfo(code.dtype).tiny)
    place = (share * n_bins).long().clamp(max=n_bins - 1)
    n_classes = int(factor.max()) + 1
    joint = torch.bincount(place * n_classes + factor, minlength=n_bins * n_classes)
    return joint.view(n_bins, n_classes).numpy(force=True)


def _information(counts: np.ndarray) -> float:
    """Mutual information of rows and columns of a table of counts, in nats."""
    joint = counts / counts.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


def _check_factors(factors: Tensor, n: int) -> None:
    whole = isinstance(factors, Tensor) and factors.dtype == torch.int64
    if not whole or factors.ndim != 2 or len(factors) != n:
        got = f"{factors.dtype} {tuple(factors.shape)}" if isinstance(factors, Tensor) else factors
        fail("factors", f"int64 of shape ({n}, n_factors), one row a code", got)
    if factors.numel() == 0 or factors.min() < 0:
        fail("factors", "whole numbers from 0", f"shape {tuple(factors.shape)}, or below 0")
