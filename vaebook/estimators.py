"""Monte Carlo estimators: averages with their errors, importance weights, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from vaebook._checks import check_at_least, check_float, check_rows, fail
from vaebook.gaussian import log_normal


class Estimate(NamedTuple):
    """A Monte Carlo average and its standard error, in the unit of what was averaged."""

    value: Tensor
    standard_error: Tensor


def monte_carlo(values: Float[Tensor, "..."], dim: int = 0) -> Estimate:
    """Average independent samples, with the standard error of that average.

    Equation ``eq-monte-carlo-error`` of the book.

    Parameters
    ----------
    values
        Independent samples along `dim`, at least two.
    dim
        The dimension to average over.

    Returns
    -------
    Estimate
        Mean, and sample standard deviation over the square root of the number of samples.

    Raises
    ------
    ValueError
        If there are fewer than two samples or a value is not finite.
    """
    check_float("values", values)
    _check_samples("values", values, dim, minimum=2)
    return Estimate(values.mean(dim), values.std(dim) / math.sqrt(values.shape[dim]))


def log_mean_exp(log_values: Float[Tensor, "..."], dim: int = 0) -> Float[Tensor, "..."]:
    r"""Logarithm of an average, from logarithms, without overflow.

    Equation ``def-log-mean-exp`` of the book.

    Parameters
    ----------
    log_values
        Logarithms of what is averaged; :math:`-\infty` stands for zero.
    dim
        The dimension to average over (the samples, never the data).

    Returns
    -------
    Tensor
        :math:`\log \frac1k \sum_i e^{v_i}`.
    """
    _check_samples("log_values", log_values, dim)
    return torch.logsumexp(log_values, dim) - math.log(log_values.shape[dim])


def effective_sample_size(log_weights: Float[Tensor, "..."], dim: int = 0) -> Float[Tensor, "..."]:
    r"""Effective number of samples behind an importance-weighted average (Kish).

    Equation ``def-effective-sample-size`` of the book.

    Parameters
    ----------
    log_weights
        Logarithms of the weights, up to a common constant.
    dim
        The dimension of the samples.

    Returns
    -------
    Tensor
        :math:`(\sum_i w_i)^2 / \sum_i w_i^2`, between 1 and the number of samples.
    """
    _check_samples("log_weights", log_weights, dim)
    _check_some_weight(log_weights, dim)
    return torch.exp(2 * torch.logsumexp(log_weights, dim) - torch.logsumexp(2 * log_weights, dim))


def importance_average(
    values: Float[Tensor, "*batch"], log_weights: Float[Tensor, "*batch"], dim: int = 0
) -> Estimate:
    r"""Self-normalised importance sampling: a weighted average, with its standard error.

    Equation ``def-self-normalized-estimate`` of the book. The weights may lack a common factor, so
    the target density need not be normalised [1]_.

    Parameters
    ----------
    values
        Values of the function at the draws.
    log_weights
        Logarithm of target density over proposal density at each draw, shape of `values`.
    dim
        The dimension of the draws, at least two.

    Returns
    -------
    Estimate
        Weighted average, and its standard error by the delta method. The error is itself an
        estimate, and far too small where the effective sample size is small.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, or there are fewer than two draws.

    References
    ----------
    .. [1] A. B. Owen (2013), Monte Carlo theory, methods and examples, chapter 9.
    """
    check_float("values", values)
    _check_samples("values", values, dim, minimum=2)
    _check_samples("log_weights", log_weights, dim)
    if log_weights.shape != values.shape:
        fail("log_weights", f"the shape of values, {tuple(values.shape)}", tuple(log_weights.shape))
    _check_some_weight(log_weights, dim)
    weights = torch.softmax(log_weights, dim)
    average = (weights * values).sum(dim)
    deviation = values - average.unsqueeze(dim)
    return Estimate(average, (weights * deviation).square().sum(dim).sqrt())


@dataclass(frozen=True)
class Pieces:
    """How an average over `k` samples of each datum is split: drawn in blocks, computed in pieces.

    A block is up to 50 samples of each of so many data that it has up to 1,000 rows. Noise is drawn
    block by block, all blocks of the first data before any of the next. A piece is a number of
    whole blocks, or a part of the samples of one. So its size moves no draw, and the average by
    rounding alone.

    Parameters
    ----------
    k
        Samples of each datum.
    n_rows
        Rows to compute at a time: see :func:`rows_at_once`.
    """

    k: int
    n_rows: int

    @property
    def n_data(self) -> int:
        """Data to encode at a time: those of one block, or of as many as a piece has room for."""
        return self._block_data * max(1, self.n_rows // (self._block_data * self.k))

    def noise(
        self, mean: Float[Tensor, "batch d"], generator: Generator | None
    ) -> Iterator[Float[Tensor, "samples batch d"]]:
        """Draw standard normal noise for up to `n_data` data, `k` samples in all.

        Parameters
        ----------
        mean
            Says how many data there are, of what dimension, where and in what precision.
        generator
            Source of randomness; torch's own if None.

        Yields
        ------
        Tensor
            Noise for one piece.
        """
        blocks = [min(_BLOCK_SAMPLES, self.k - n) for n in range(0, self.k, _BLOCK_SAMPLES)]
        samples = max(1, self.n_rows // self._block_data)  # in a piece
        n_blocks = max(1, samples // _BLOCK_SAMPLES)
        for start in range(0, len(blocks), n_blocks):
            columns = [
                torch.cat([_noise(rows, n, generator) for n in blocks[start : start + n_blocks]])
                for rows in mean.split(self._block_data)
            ]
            yield from torch.cat(columns, dim=1).split(samples)

    def log_mean_weight(
        self,
        log_weights: Callable[[Tensor], Tensor],
        mean: Float[Tensor, "batch d"],
        generator: Generator | None,
    ) -> Float[Tensor, " batch"]:
        """Log of the mean of `k` importance weights of each of up to `n_data` data, in nats.

        Equation ``eq-iwae`` of the book.

        Parameters
        ----------
        log_weights
            Called with the noise of a piece, (samples, batch, d): log-weights, (samples, batch).
        mean, generator
            As for :meth:`noise`.

        Returns
        -------
        Tensor
            Shape (batch,).
        """
        total = torch.full_like(mean[:, 0], -math.inf)
        for noise in self.noise(mean, generator):
            total = torch.logaddexp(total, log_weights(noise).logsumexp(0))
        return total - math.log(self.k)

    @property
    def _block_data(self) -> int:
        return max(1, _BLOCK_ROWS // min(self.k, _BLOCK_SAMPLES))


_BLOCK_SAMPLES, _BLOCK_ROWS = 50, 1000
_CPU_ROWS = 500  # of 784 numbers each stay in a processor's cache
_GPU_ROWS = 50_000  # more gain nothing more


def rows_at_once(x: Tensor, n_columns: int) -> int:
    """How many rows to compute at a time, by the device and its free memory.

    On a CPU they are 500, because more leave its cache. A GPU takes longer to be told of so few
    than to compute them, so there they are 50,000, or as many as take up a 64th of the memory that
    is free now: what is computed from a row takes several times the room of the row itself.

    Parameters
    ----------
    x
        A tensor of the device and the precision of the computation.
    n_columns
        Numbers in a row.

    Returns
    -------
    int
        At least 1.
    """
    if x.device.type == "cpu":
        return _CPU_ROWS
    if x.device.type != "cuda":
        return _GPU_ROWS
    free_bytes, _ = torch.cuda.mem_get_info(x.device)
    return max(1, min(_GPU_ROWS, free_bytes // (64 * n_columns * x.element_size())))


Integrand = Callable[[Tensor], Tensor]


def reparameterized_gradient(
    f: Integrand,
    mean: Float[Tensor, " d"],
    log_var: Float[Tensor, " d"],
    n_samples: int,
    generator: Generator | None = None,
) -> Float[Tensor, "n_samples 2 d"]:
    r"""Samples of the reparameterised gradient of :math:`E_{z \sim q}[f(z)]`.

    Equation ``eq-reparameterized-gradient`` of the book: differentiate
    :math:`f(\mu + \sigma\epsilon)` for fixed noise :math:`\epsilon`.

    Parameters
    ----------
    f
        Differentiable function from points, shape (n, d), to values, shape (n,).
    mean, log_var
        Mean and log-variance of the diagonal Gaussian :math:`q`, shape (d,).
    n_samples
        Number of noise samples.
    generator
        Source of randomness; torch's own if None.

    Returns
    -------
    Tensor
        One gradient a sample, shape (n_samples, 2, d): by the mean, then by the log-variance.
        Average them (:func:`monte_carlo`) for the estimate.
    """
    _check_gaussian(mean, log_var, n_samples)
    noise = _noise(mean, n_samples, generator)
    parameters = torch.stack([mean, log_var]).detach().expand(n_samples, -1, -1)
    parameters = parameters.clone().requires_grad_()
    z = parameters[:, 0] + torch.exp(0.5 * parameters[:, 1]) * noise
    (gradient,) = torch.autograd.grad(_values(f, z).sum(), parameters)
    return gradient


def score_function_gradient(
    f: Integrand,
    mean: Float[Tensor, " d"],
    log_var: Float[Tensor, " d"],
    n_samples: int,
    generator: Generator | None = None,
    baseline: float = 0.0,
) -> Float[Tensor, "n_samples 2 d"]:
    r"""Samples of the score-function gradient of :math:`E_{z \sim q}[f(z)]`.

    Equation ``eq-score-function-gradient`` of the book:
    :math:`(f(z) - b)\, \nabla \log q(z)`, which needs no derivative of :math:`f` [1]_.

    Parameters
    ----------
    f
        Function from points, shape (n, d), to values, shape (n,).
    mean, log_var
        Mean and log-variance of the diagonal Gaussian :math:`q`, shape (d,).
    n_samples
        Number of samples of z.
    generator
        Source of randomness; torch's own if None.
    baseline
        Constant :math:`b` subtracted from `f`: changes the variance, not the mean.

    Returns
    -------
    Tensor
        One gradient a sample, shape (n_samples, 2, d): by the mean, then by the log-variance.

    References
    ----------
    .. [1] R. J. Williams (1992), Simple statistical gradient-following algorithms for
       connectionist reinforcement learning, Machine Learning 8.
    """
    _check_gaussian(mean, log_var, n_samples)
    z = mean + torch.exp(0.5 * log_var) * _noise(mean, n_samples, generator)
    parameters = torch.stack([mean, log_var]).detach().expand(n_samples, -1, -1)
    parameters = parameters.clone().requires_grad_()
    log_q = log_normal(z.detach(), parameters[:, 0], parameters[:, 1])
    (score,) = torch.autograd.grad(log_q.sum(), parameters)
    with torch.no_grad():
        return (_values(f, z) - baseline)[:, None, None] * score


def _noise(mean: Tensor, n_samples: int, generator: Generator | None) -> Tensor:
    return mean.new_empty(n_samples, *mean.shape).normal_(generator=generator)


def _values(f: Integrand, z: Tensor) -> Tensor:
    values = f(z)
    if values.shape != z.shape[:1]:  # broadcasting would hide it
        fail("f", f"one value a row of z, shape {tuple(z.shape[:1])}", tuple(values.shape))
    return values


def _check_samples(argument: str, values: Tensor, dim: int, minimum: int = 1) -> None:
    check_rows(**{argument: values})
    if not -values.ndim <= dim < values.ndim:
        fail("dim", f"a dimension of {argument}, shape {tuple(values.shape)}", dim)
    if values.shape[dim] < minimum:
        fail(argument, f"at least {minimum} along dimension {dim}", tuple(values.shape))


def _check_some_weight(log_weights: Tensor, dim: int) -> None:
    if not (log_weights.amax(dim) > -math.inf).all():
        wanted = f"a weight above zero among those along dimension {dim}"
        fail("log_weights", wanted, "minus infinity or NaN in all of them")


def _check_gaussian(mean: Tensor, log_var: Tensor, n_samples: int) -> None:
    check_float("mean", mean, n_dims=1)
    check_float("log_var", log_var, n_dims=1)
    if mean.shape != log_var.shape:
        fail("log_var", f"the shape of mean, {tuple(mean.shape)}", tuple(log_var.shape))
    check_at_least("n_samples", n_samples, 1)
