"""Monte Carlo estimators: averages with their errors, importance weights, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    weights = torch.softmax(log_weights, dim)
    average = (weights * values).sum(dim)
    deviation = values - average.unsqueeze(dim)
    return Estimate(average, (weights * deviation).square().sum(dim).sqrt())


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


def _check_gaussian(mean: Tensor, log_var: Tensor, n_samples: int) -> None:
    check_float("mean", mean, n_dims=1)
    check_float("log_var", log_var, n_dims=1)
    if mean.shape != log_var.shape:
        fail("log_var", f"the shape of mean, {tuple(mean.shape)}", tuple(log_var.shape))
    check_at_least("n_samples", n_samples, 1)
