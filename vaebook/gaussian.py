"""Gaussian densities and their fits, Kullback-Leibler divergences, the linear-Gaussian model."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from vaebook._checks import check_at_least, check_batch, check_float, check_rows, fail

LOG_2PI = math.log(2 * math.pi)


def log_normal(
    x: Float[Tensor, "*#batch d"],
    mean: Float[Tensor, "*#batch d"],
    log_var: Float[Tensor, "*#batch d"],
) -> Float[Tensor, "*batch"]:
    r"""Log-density of a Gaussian with a diagonal covariance.

    Equation ``def-diagonal-gaussian`` of the book, summed over the last dimension.

    Parameters
    ----------
    x
        Points, shape (..., d).
    mean, log_var
        Means and logarithms of the variances; broadcast against `x`.

    Returns
    -------
    Tensor
        :math:`\log \mathcal N(x; \mu, \operatorname{diag} e^{\text{log\_var}})`, shape (...), nats.
    """
    check_rows(x=x, mean=mean, log_var=log_var)
    x, mean, log_var = map(at_least_single, (x, mean, log_var))
    return -0.5 * (LOG_2PI + log_var + (x - mean).square() * torch.exp(-log_var)).sum(-1)


def log_normal_full(
    x: Float[Tensor, "*#batch d"],
    mean: Float[Tensor, "*#batch d"],
    covariance: Float[Tensor, "*#batch d d"],
) -> Float[Tensor, "*batch"]:
    r"""Log-density of a Gaussian with a full covariance, through its Cholesky factor.

    Equation ``eq-cholesky-log-density`` of the book. No matrix is inverted.

    Parameters
    ----------
    x
        Points, shape (..., d).
    mean
        Means, shape (..., d); broadcast against `x`.
    covariance
        Covariance matrices, shape (..., d, d), symmetric and positive definite.

    Returns
    -------
    Tensor
        :math:`\log \mathcal N(x; \mu, \Sigma)`, shape (...), nats.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a covariance is not symmetric and positive definite.
    """
    check_rows(x=x, mean=mean)
    return _log_normal_factor(x - mean, _cholesky("covariance", covariance, x.shape[-1]))


def _log_normal_factor(difference: Tensor, factor: Tensor) -> Tensor:
    if factor.ndim == 2:  # one matrix: all points are the columns of one right-hand side
        flat = torch.linalg.solve_triangular(
            factor, difference.reshape(-1, len(factor)).T, upper=False
        )
        whitened = flat.T.reshape(difference.shape)
    else:
        column = difference.unsqueeze(-1)
        whitened = torch.linalg.solve_triangular(factor, column, upper=False).squeeze(-1)
    n_features = factor.shape[-1]
    return -0.5 * (n_features * LOG_2PI + whitened.square().sum(-1)) - _log_diagonal(factor)


def reparameterize(
    mean: Float[Tensor, "*batch d"],
    log_var: Float[Tensor, "*batch d"],
    generator: Generator | None = None,
) -> Float[Tensor, "*batch d"]:
    r"""Draw from a diagonal Gaussian so that the draw is differentiable in its parameters.

    Equation ``def-reparameterization`` of the book:
    :math:`z = \mu + \sigma \epsilon`, :math:`\epsilon \sim \mathcal N(0, I)`.

    Parameters
    ----------
    mean, log_var
        Means and logarithms of the variances, shape (..., d).
    generator
        Source of the noise; torch's own if None.

    Returns
    -------
    Tensor
        One draw for each row, shape (..., d).
    """
    check_rows(mean=mean, log_var=log_var)
    if mean.shape != log_var.shape:  # noise shared by broadcasting would be no noise of its own
        fail("log_var", f"the shape of mean, {tuple(mean.shape)}", tuple(log_var.shape))
    noise = mean.new_empty(mean.shape).normal_(generator=generator)
    return mean + torch.exp(0.5 * log_var) * noise


def fit_gaussian(
    x: Float[Tensor, "*batch n d"],
) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch d d"]]:
    """Mean and covariance of highest likelihood, in closed form.

    Equation ``eq-gaussian-mle`` of the book.

    Parameters
    ----------
    x
        Data sets of n rows and d columns, shape (..., n, d).

    Returns
    -------
    mean : Tensor
        Averages of the rows, shape (..., d).
    covariance : Tensor
        Averages of the outer products of the deviations, shape (..., d, d): divided by n, not by
        n - 1. With n <= d rows it is singular and no covariance of a density.
    """
    check_float("x", x)
    if x.ndim < 2 or x.shape[-2] < 1:
        fail("x", "at least one row, shape (..., n, d)", tuple(x.shape))
    mean = x.mean(-2)
    deviation = x - mean.unsqueeze(-2)
    return mean, deviation.mT @ deviation / x.shape[-2]


def kl_to_standard_normal(
    mean: Float[Tensor, "*batch d"], log_var: Float[Tensor, "*batch d"]
) -> Float[Tensor, "*batch"]:
    r"""Divergence of a diagonal Gaussian from the standard normal.

    Equation ``eq-kl-standard-normal`` of the book.

    Parameters
    ----------
    mean, log_var
        Means and logarithms of the variances of :math:`q`, shape (..., d).

    Returns
    -------
    Tensor
        :math:`D_{KL}(q \,\|\, \mathcal N(0, I))`, shape (...), nats.
    """
    check_rows(mean=mean, log_var=log_var)
    mean, log_var = at_least_single(mean), at_least_single(log_var)
    return 0.5 * (mean.square() + above_tangent(log_var)).sum(-1)


def kl_diagonal(
    mean_q: Float[Tensor, "*batch d"],
    log_var_q: Float[Tensor, "*batch d"],
    mean_p: Float[Tensor, "*#batch d"],
    log_var_p: Float[Tensor, "*#batch d"],
) -> Float[Tensor, "*batch"]:
    r"""Divergence between two Gaussians with diagonal covariances.

    Equation ``eq-kl-diagonal`` of the book.

    Parameters
    ----------
    mean_q, log_var_q, mean_p, log_var_p
        Means and logarithms of the variances, shape (..., d); those of `p` broadcast.

    Returns
    -------
    Tensor
        :math:`D_{KL}(q \,\|\, p)`, shape (...), nats.
    """
    check_rows(mean_q=mean_q, log_var_q=log_var_q, mean_p=mean_p, log_var_p=log_var_p)
    mean_q, log_var_q, mean_p, log_var_p = map(
        at_least_single, (mean_q, log_var_q, mean_p, log_var_p)
    )
    scaled = (mean_q - mean_p).square() * torch.exp(-log_var_p)
    return 0.5 * (scaled + above_tangent(log_var_q - log_var_p)).sum(-1)


def at_least_single(values: Tensor) -> Tensor:
    """Widen half precision, in which a density of some hundred nats is known to a few of them."""
    return values.float() if values.dtype.itemsize < 4 else values


def above_tangent(v: Tensor) -> Tensor:
    """Return exp(v) - 1 - v, what every divergence of Gaussians is made of; never negative.

    Near zero the difference would lose its digits: there the terms of the series are added up.
    """
    near = v.clamp(-0.02, 0.02)
    one = v.new_ones(())
    series = one
    for n in range(8, 2, -1):
        series = torch.addcmul(one, near, series, value=1 / n)
    return torch.where(near == v, 0.5 * near.square() * series, torch.expm1(v) - v)


def kl_full(
    mean_q: Float[Tensor, "*batch d"],
    cov_q: Float[Tensor, "*#batch d d"],
    mean_p: Float[Tensor, "*#batch d"],
    cov_p: Float[Tensor, "*#batch d d"],
) -> Float[Tensor, "*batch"]:
    r"""Divergence between two Gaussians with full covariances, through Cholesky factors.

    Equation ``eq-kl-full`` of the book.

    Parameters
    ----------
    mean_q, mean_p
        Means, shape (..., d).
    cov_q, cov_p
        Covariance matrices, shape (..., d, d), symmetric and positive definite.

    Returns
    -------
    Tensor
        :math:`D_{KL}(q \,\|\, p)`, shape (...), nats.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a covariance is not symmetric and positive definite.
    """
    check_rows(mean_q=mean_q, mean_p=mean_p)
    n_features = mean_q.shape[-1]
    factor_q = _cholesky("cov_q", cov_q, n_features)
    factor_p = _cholesky("cov_p", cov_p, n_features)
    whitened = torch.linalg.solve_triangular(factor_p, factor_q, upper=False)
    difference = (mean_q - mean_p).unsqueeze(-1)
    shift = torch.linalg.solve_triangular(factor_p, difference, upper=False).squeeze(-1)
    log_ratios = 2 * whitened.diagonal(dim1=-2, dim2=-1).log()
    off_diagonal = whitened.tril(-1).square().sum((-2, -1))
    # the trace of the ratio, less the dimension, less the logarithm of its determinant
    spread = above_tangent(log_ratios).sum(-1) + off_diagonal
    return 0.5 * (spread + shift.square().sum(-1))


def _cholesky(argument: str, covariance: Tensor, n_features: int) -> Tensor:
    check_float(argument, covariance)
    if covariance.shape[-2:] != (n_features, n_features):
        fail(argument, f"{n_features} x {n_features} matrices", tuple(covariance.shape))
    factor, info = torch.linalg.cholesky_ex(covariance)
    deviations = covariance.diagonal(dim1=-2, dim2=-1).abs().sqrt()
    units = deviations.unsqueeze(-1) * deviations.unsqueeze(-2)
    asymmetry = (covariance - covariance.mT).abs()
    if (asymmetry > math.sqrt(torch.finfo(covariance.dtype).eps) * units).any():
        got = f"entries {asymmetry.max():.3g} off their mirror images"
        fail(argument, "symmetric matrices", got)
    if info.any():
        lowest = torch.linalg.eigvalsh(covariance).min()
        fail(argument, "positive definite matrices", f"an eigenvalue of {lowest:.3g}")
    return factor


def _log_diagonal(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class FullGaussian:
    r"""A Gaussian with a full covariance matrix: density, samples, marginals and conditionals.

    Equation ``def-full-gaussian`` of the book.

    Parameters
    ----------
    mean
        :math:`\mu`, shape (d,).
    covariance
        :math:`\Sigma`, shape (d, d), symmetric and positive definite.
    """

    def __init__(self, mean: Float[Tensor, " d"], covariance: Float[Tensor, "d d"]) -> None:
        check_float("mean", mean, n_dims=1)
        check_float("covariance", covariance, n_dims=2)
        if covariance.dtype != mean.dtype:
            fail("covariance", f"{mean.dtype}, as mean has", covariance.dtype)
        self._factor = _cholesky("covariance", covariance, len(mean))
        self.mean, self.covariance = mean, covariance

    @classmethod
    def fit(cls, x: Float[Tensor, "n d"], shrinkage: float = 0.0) -> FullGaussian:
        r"""Fit by maximum likelihood, or with a covariance shrunk towards a multiple of I.

        Equation ``def-shrinkage`` of the book; :func:`fit_gaussian` without shrinkage.

        Parameters
        ----------
        x
            Data, shape (n, d).
        shrinkage
            Weight :math:`\rho`, from 0 to 1, of the identity times the mean variance.

        Returns
        -------
        FullGaussian
            The fitted model.

        Raises
        ------
        ValueError
            If the covariance is singular: more rows or more shrinkage are needed.
        """
        check_batch("x", x)
        if not 0 <= shrinkage <= 1:
            fail("shrinkage", "a number from 0 to 1", shrinkage)
        mean, covariance = fit_gaussian(x)
        variance = covariance.diagonal().mean()
        covariance = (1 - shrinkage) * covariance
        covariance.diagonal().add_(shrinkage * variance)
        factor, info = torch.linalg.cholesky_ex(covariance)
        # what the other columns leave of a variance may be nothing but rounding, in any units
        rounding = len(mean) * torch.finfo(x.dtype).eps * covariance.diagonal()
        if info.any() or (factor.diagonal().square() <= rounding).any():
            wanted = "a covariance of full rank; take more rows or more shrinkage"
            fail("x", wanted, f"shape {tuple(x.shape)}, shrinkage {shrinkage}")
        return cls(mean, covariance)

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Exact log-density of each row (equation ``eq-cholesky-log-density``), in nats."""
        check_batch("x", x, len(self.mean), self.mean)
        return _log_normal_factor(x - self.mean, self._factor)

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n d"]:
        """Draw `n` points: standard normal noise, times the Cholesky factor, plus the mean."""
        check_at_least("n", n, 1)
        noise = self.mean.new_empty(n, len(self.mean)).normal_(generator=generator)
        return self.mean + noise @ self._factor.T

    def marginal(self, kept: Bool[Tensor, " d"]) -> FullGaussian:
        """Distribution of the components where `kept` is true (``eq-gaussian-marginal``)."""
        self._check_mask("kept", kept)
        return FullGaussian(self.mean[kept], self.covariance[kept][:, kept])

    def conditional(
        self, observed: Bool[Tensor, " d"], values: Float[Tensor, "n k"]
    ) -> tuple[Float[Tensor, "n d-k"], Float[Tensor, "d-k d-k"]]:
        """Distribution of the other components, given those that are observed.

        Equation ``eq-gaussian-conditional`` of the book.

        Parameters
        ----------
        observed
            Which k of the d components are known; neither none nor all.
        values
            Their values, one case a row, shape (n, k).

        Returns
        -------
        mean : Tensor
            Conditional means of the other components, shape (n, d - k).
        covariance : Tensor
            Their covariance, shape (d - k, d - k): the same for all values.
        """
        self._check_mask("observed", observed)
        if observed.all():
            fail("observed", "at least one component left to predict", "none")
        check_batch("values", values, int(observed.sum()), self.mean)
        blocks = self.covariance[observed]  # rows: the observed components
        factor = torch.linalg.cholesky(blocks[:, observed])
        weights = torch.cholesky_solve(blocks[:, ~observed], factor)
        mean = self.mean[~observed] + (values - self.mean[observed]) @ weights
        rest = self.covariance[~observed][:, ~observed]
        return mean, rest - blocks[:, ~observed].T @ weights

    def _check_mask(self, argument: str, mask: Tensor) -> None:
        shape = tuple(self.mean.shape)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != shape:
            fail(argument, f"a boolean tensor of shape {shape}", mask)
        if not mask.any():
            fail(argument, "at least one component", "none")


class LinearGaussian:
    r"""The latent-variable model whose evidence and posterior are known in closed form.

    :math:`z \sim \mathcal N(0, I_d)`, :math:`x \mid z \sim \mathcal N(W z + b, \sigma^2 I_D)`
    (equation ``def-linear-gaussian`` of the book). It is a VAE whose decoder is linear, and, fitted
    by maximum likelihood, probabilistic principal component analysis [1]_. The book checks every
    claim about bounds and estimators against it.

    Parameters
    ----------
    weight
        :math:`W`, shape (D, d).
    mean
        :math:`b`, shape (D,).
    noise_var
        :math:`\sigma^2`, positive.

    References
    ----------
    .. [1] M. E. Tipping and C. M. Bishop (1999), Probabilistic principal component analysis,
       Journal of the Royal Statistical Society B 61(3).
    """

    def __init__(
        self, weight: Float[Tensor, "D d"], mean: Float[Tensor, " D"], noise_var: float
    ) -> None:
        check_float("weight", weight, n_dims=2)
        check_float("mean", mean, n_dims=1)
        if mean.dtype != weight.dtype:
            fail("mean", f"{weight.dtype}, as weight has", mean.dtype)
        if mean.shape[0] != weight.shape[0]:
            fail("mean", f"{weight.shape[0]} entries, as weight has rows", tuple(mean.shape))
        if not (math.isfinite(noise_var) and noise_var > 0):
            fail("noise_var", "a positive number", noise_var)
        self.weight, self.mean, self.noise_var = weight, mean, noise_var

    @classmethod
    def fit(cls, x: Float[Tensor, "n D"], n_latents: int) -> LinearGaussian:
        """Fit by maximum likelihood: principal components, scaled (Tipping and Bishop, 1999).

        Parameters
        ----------
        x
            Data, shape (n, D); at least two rows.
        n_latents
            Dimension d of the latent variable, smaller than D.

        Returns
        -------
        LinearGaussian
            The model of highest likelihood, its columns orthogonal.

        Raises
        ------
        ValueError
            If there are too few points or dimensions, or no variance is left for the noise.
        """
        check_batch("x", x)
        check_at_least("n_latents", n_latents, 1)
        n_points, n_features = x.shape
        if n_points < 2 or n_latents >= n_features:
            fail("x", f"at least 2 rows and more than {n_latents} columns", tuple(x.shape))
        rows = x.detach().to("cpu", torch.float64)
        mean = rows.mean(0)
        # singular values, not eigenvalues of the covariance: small ones keep their digits
        triangle = torch.linalg.qr((rows - mean) / math.sqrt(n_points), mode="r").R
        _, deviations, axes = torch.linalg.svd(triangle, full_matrices=False)
        noise_var = float(deviations[n_latents:].square().sum()) / (n_features - n_latents)
        rounding = (10 * torch.finfo(x.dtype).eps * rows.abs().amax(0)).square()
        if noise_var <= float(rounding.sort().values[: n_features - n_latents].mean()):
            fail("x", "variance outside the first n_latents directions", "none: lower n_latents")
        scale = (deviations[:n_latents].square() - noise_var).clamp_min(0).sqrt()
        return cls((axes[:n_latents].T * scale).to(x), mean.to(x), noise_var)

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n D"]:
        """Draw `n` data by ancestral sampling: first the latent variable, then the datum."""
        check_at_least("n", n, 1)
        n_features, n_latents = self.weight.shape
        z = self.weight.new_empty(n, n_latents).normal_(generator=generator)
        noise = self.weight.new_empty(n, n_features).normal_(generator=generator)
        return z @ self.weight.T + self.mean + math.sqrt(self.noise_var) * noise

    def log_prob(self, x: Float[Tensor, "n D"]) -> Float[Tensor, " n"]:
        """Exact evidence of each row (equation ``eq-linear-gaussian-evidence``), in nats."""
        check_batch("x", x, self.weight.shape[0], self.weight)
        z, covariance = self.posterior(x)
        residual = x - self.mean - z @ self.weight.T
        # x' (W W' + s I)^-1 x, where s is the variance of the noise, without that matrix
        squares = residual.square().sum(-1) / self.noise_var + z.square().sum(-1)
        log_det = len(self.mean) * math.log(self.noise_var) - torch.logdet(covariance)
        return -0.5 * (len(self.mean) * LOG_2PI + log_det + squares)

    def posterior(
        self, x: Float[Tensor, "n D"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "d d"]]:
        """Exact posterior p(z|x), equation ``eq-linear-gaussian-posterior``.

        Parameters
        ----------
        x
            Data, shape (n, D).

        Returns
        -------
        mean : Tensor
            Posterior means, shape (n, d).
        covariance : Tensor
            The posterior covariance, shape (d, d): the same for every datum.
        """
        check_batch("x", x, self.weight.shape[0], self.weight)
        n_latents = self.weight.shape[1]
        identity = torch.eye(n_latents, dtype=x.dtype, device=x.device)
        covariance = torch.linalg.inv(identity + self.weight.T @ self.weight / self.noise_var)
        return (x - self.mean) @ self.weight @ covariance / self.noise_var, covariance

    def elbo(
        self,
        x: Float[Tensor, "n D"],
        mean: Float[Tensor, "n d"],
        covariance: Float[Tensor, "d d"],
    ) -> Float[Tensor, " n"]:
        r"""Evidence lower bound for any Gaussian q(z|x), in closed form.

        Parameters
        ----------
        x
            Data, shape (n, D).
        mean, covariance
            Means, shape (n, d), and common covariance, shape (d, d), of :math:`q`.

        Returns
        -------
        Tensor
            :math:`E_q[\log p(x|z)] - D_{KL}(q \,\|\, p(z))`, shape (n,), nats.
        """
        check_batch("x", x, self.weight.shape[0], self.weight)
        n_features, n_latents = self.weight.shape
        check_batch("mean", mean, n_latents, self.weight)
        if len(mean) != len(x):
            fail("mean", f"{len(x)} rows, as x has", tuple(mean.shape))
        _cholesky("covariance", covariance, n_latents)
        residual = (x - self.mean - mean @ self.weight.T).square().sum(-1)
        # E_q ||x - b - Wz||^2 = squared residual at the mean + trace(W cov W^T)
        expected = residual + ((self.weight @ covariance) * self.weight).sum()
        log_noise = LOG_2PI + math.log(self.noise_var)
        reconstruction = -0.5 * (n_features * log_noise + expected / self.noise_var)
        identity = torch.eye(n_latents, dtype=x.dtype, device=x.device)
        return reconstruction - kl_full(mean, covariance, torch.zeros_like(mean), identity)
