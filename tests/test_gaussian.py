"""Densities, divergences and PPCA against torch.distributions, SciPy, scikit-learn, quadrature."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn import covariance as sklearn_covariance
from sklearn import datasets, decomposition
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from tests.common import normals, tensor
from vaebook.gaussian import (
    FullGaussian,
    LinearGaussian,
    fit_gaussian,
    kl_diagonal,
    kl_full,
    kl_to_standard_normal,
    log_normal,
    log_normal_full,
)

exact = {"rtol": 1e-11, "atol": 1e-11}
many_shapes = settings(deadline=None, derandomize=True, max_examples=40)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3)
seeds = st.integers(0, 10_000)


def covariances(*shape, seed=0):
    factors = normals(*shape, shape[-1], seed=seed)
    return factors @ factors.mT + 0.1 * torch.eye(shape[-1], dtype=torch.float64)


def diagonal(mean, log_var):
    return Independent(Normal(mean, torch.exp(log_var / 2)), 1)


# --- densities --------------------------------------------------------------------------------


@many_shapes
@given(shape=shapes, seed=seeds)
def test_log_normal_is_the_density_of_torch_distributions(shape, seed):
    x, mean, log_var = 2 * normals(3, *shape, seed=seed)
    density = log_normal(x, mean, log_var)
    assert density.shape == tuple(shape[:-1])
    torch.testing.assert_close(density, diagonal(mean, log_var).log_prob(x), **exact)


@many_shapes
@given(shape=shapes, seed=seeds)
def test_log_normal_broadcasts_one_gaussian_over_many_points(shape, seed):
    x, (mean, log_var) = normals(*shape, seed=seed), normals(2, shape[-1], seed=seed + 1)
    torch.testing.assert_close(
        log_normal(x, mean, log_var), diagonal(mean, log_var).log_prob(x), **exact
    )


@pytest.mark.parametrize("log_var", [-3.0, 0.0, 2.5])
def test_log_normal_integrates_to_one_with_the_stated_variance(log_var):
    std = math.exp(log_var / 2)

    def density(x):
        point = torch.tensor([x], dtype=torch.float64)
        return float(log_normal(point, torch.tensor([0.7]), torch.tensor([log_var])).exp())

    total, _ = integrate.quad(density, 0.7 - 12 * std, 0.7 + 12 * std)
    square, _ = integrate.quad(
        lambda x: (x - 0.7) ** 2 * density(x), 0.7 - 12 * std, 0.7 + 12 * std
    )
    assert total == pytest.approx(1, abs=1e-6)  # the parameters are float32 here
    assert square == pytest.approx(math.exp(log_var), rel=1e-6)


def test_log_normal_sums_over_dimensions():
    point = torch.zeros(50, dtype=torch.float64)
    assert float(log_normal(point, point, point)) == pytest.approx(-25 * math.log(2 * math.pi))


@many_shapes
@given(shape=shapes, seed=seeds)
def test_log_normal_full_is_the_density_of_torch_distributions(shape, seed):
    x, mean = 2 * normals(2, *shape, seed=seed)
    covariance = covariances(*shape, seed=seed + 1)
    density = log_normal_full(x, mean, covariance)
    assert density.shape == tuple(shape[:-1])
    exact_density = MultivariateNormal(mean, covariance).log_prob(x)
    torch.testing.assert_close(density, exact_density, rtol=1e-9, atol=1e-9)
    one = covariances(shape[-1], seed=seed + 2)  # one covariance for all points
    exact_density = MultivariateNormal(mean, one).log_prob(x)
    torch.testing.assert_close(log_normal_full(x, mean, one), exact_density, rtol=1e-9, atol=1e-9)


def test_log_normal_full_of_a_diagonal_covariance_is_log_normal():
    x, mean, log_var = normals(3, 6, 4)
    torch.testing.assert_close(
        log_normal_full(x, mean, torch.diag_embed(log_var.exp())),
        log_normal(x, mean, log_var),
        **exact,
    )


def test_fit_gaussian_is_scipys_fit():
    x = normals(50, 3) @ normals(3, 3, seed=1)
    mean, covariance = fit_gaussian(x)
    scipy_mean, scipy_covariance = stats.multivariate_normal.fit(x.numpy())
    torch.testing.assert_close(mean, torch.from_numpy(scipy_mean), **exact)
    torch.testing.assert_close(covariance, torch.from_numpy(scipy_covariance), **exact)
    many = normals(4, 2, 50, 3)
    for index in ((0, 0), (3, 1)):
        for batched, single in zip(fit_gaussian(many), fit_gaussian(many[index]), strict=True):
            torch.testing.assert_close(batched[index], single, **exact)


@pytest.fixture
def full():
    return FullGaussian(normals(4, seed=1), covariances(4, seed=2))


def test_full_gaussian_density_and_samples(full):
    x = normals(7, 4)
    oracle = MultivariateNormal(full.mean, full.covariance)
    torch.testing.assert_close(full.log_prob(x), oracle.log_prob(x), rtol=1e-10, atol=1e-10)
    draws = full.sample(100_000, torch.Generator().manual_seed(0))
    variances = full.covariance.diagonal()
    assert (((draws.mean(0) - full.mean) / (variances / len(draws)).sqrt()).abs() < 4.5).all()
    error = ((torch.outer(variances, variances) + full.covariance.square()) / len(draws)).sqrt()
    assert ((draws.T.cov() - full.covariance) / error).abs().max() < 4.5


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_shrinkage_is_scikit_learns(shrinkage):
    x = normals(30, 4) @ normals(4, 4, seed=1)
    fitted = FullGaussian.fit(x, shrinkage)
    reference = sklearn_covariance.ShrunkCovariance(shrinkage=shrinkage).fit(x.numpy())
    torch.testing.assert_close(fitted.covariance, torch.from_numpy(reference.covariance_), **exact)
    torch.testing.assert_close(fitted.mean, torch.from_numpy(reference.location_), **exact)


def test_few_rows_need_shrinkage():
    x = normals(4, 4)  # four deviations from their mean span three dimensions
    with pytest.raises(ValueError, match="x: wanted a covariance of full rank; take more rows"):
        FullGaussian.fit(x)
    assert torch.isfinite(FullGaussian.fit(x, 0.1).log_prob(x)).all()
    assert torch.isfinite(FullGaussian.fit(normals(5, 4)).log_prob(x)).all()


def test_joint_density_is_marginal_times_conditional(full):
    observed = torch.tensor([True, False, True, False])
    x = normals(6, 4, seed=3)
    mean, covariance = full.conditional(observed, x[:, observed])
    assert mean.shape == (6, 2)
    rest = log_normal_full(x[:, ~observed], mean, covariance)
    product = full.marginal(observed).log_prob(x[:, observed]) + rest
    torch.testing.assert_close(product, full.log_prob(x), rtol=1e-10, atol=1e-10)
    everything = torch.ones(4, dtype=torch.bool)
    torch.testing.assert_close(full.marginal(everything).log_prob(x), full.log_prob(x), **exact)


# --- divergences ------------------------------------------------------------------------------


@many_shapes
@given(shape=shapes, seed=seeds)
def test_kl_to_standard_normal_is_that_of_torch_distributions(shape, seed):
    mean, log_var = normals(2, *shape, seed=seed)
    zero = torch.zeros_like(mean)
    divergence = kl_to_standard_normal(mean, log_var)
    assert divergence.shape == tuple(shape[:-1])
    torch.testing.assert_close(
        divergence, kl_divergence(diagonal(mean, log_var), diagonal(zero, zero)), **exact
    )


@many_shapes
@given(shape=shapes, seed=seeds)
def test_kl_diagonal_is_that_of_torch_distributions(shape, seed):
    mean_q, log_var_q, mean_p, log_var_p = normals(4, *shape, seed=seed)
    divergence = kl_diagonal(mean_q, log_var_q, mean_p, log_var_p)
    assert divergence.shape == tuple(shape[:-1])
    expected = kl_divergence(diagonal(mean_q, log_var_q), diagonal(mean_p, log_var_p))
    torch.testing.assert_close(divergence, expected, **exact)
    swapped = kl_diagonal(mean_p, log_var_p, mean_q, log_var_q)
    assert (divergence > 0).all()
    assert not torch.allclose(divergence, swapped)


@many_shapes
@given(shape=shapes, seed=seeds)
def test_kl_full_is_that_of_torch_distributions(shape, seed):
    mean_q, mean_p = normals(2, *shape, seed=seed)
    cov_q, cov_p = covariances(2, *shape, seed=seed + 1)
    divergence = kl_full(mean_q, cov_q, mean_p, cov_p)
    assert divergence.shape == tuple(shape[:-1])
    expected = kl_divergence(MultivariateNormal(mean_q, cov_q), MultivariateNormal(mean_p, cov_p))
    torch.testing.assert_close(divergence, expected, rtol=1e-8, atol=1e-8)


def test_three_divergences_agree_where_they_overlap():
    mean, log_var = normals(2, 5, 3)
    zero = torch.zeros(3, dtype=torch.float64)
    special = kl_to_standard_normal(mean, log_var)
    torch.testing.assert_close(special, kl_diagonal(mean, log_var, zero, zero), **exact)
    full = kl_full(mean, torch.diag_embed(log_var.exp()), zero, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(special, full, **exact)


@pytest.mark.parametrize(("mean", "log_var"), [(0.0, 0.0), (1.5, 0.0), (0.0, -2.0), (-0.3, 1.0)])
def test_kl_to_standard_normal_by_quadrature(mean, log_var):
    q = stats.norm(mean, math.exp(log_var / 2))
    expected, _ = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), *q.interval(1 - 1e-15)
    )
    parameters = torch.tensor([[mean], [log_var]], dtype=torch.float64)
    assert float(kl_to_standard_normal(*parameters)) == pytest.approx(expected, abs=1e-10)


def test_kl_full_by_monte_carlo():
    mean_q, mean_p = normals(2, 3)
    cov_q, cov_p = covariances(2, 3, seed=1)
    q = stats.multivariate_normal(mean_q.numpy(), cov_q.numpy(), seed=2)
    p = stats.multivariate_normal(mean_p.numpy(), cov_p.numpy())
    z = q.rvs(100_000)
    log_ratio = q.logpdf(z) - p.logpdf(z)
    error = log_ratio.std() / math.sqrt(len(z))
    estimate = float(kl_full(mean_q, cov_q, mean_p, cov_p))
    assert abs(estimate - log_ratio.mean()) < 4 * error
    assert error < 0.02 * estimate  # or the line above could not fail


def test_a_gaussian_has_no_divergence_from_itself():
    mean, log_var = normals(2, 4, 3)
    covariance = covariances(4, 3)
    zeros = torch.zeros(4, dtype=torch.float64)
    torch.testing.assert_close(kl_diagonal(mean, log_var, mean, log_var), zeros, **exact)
    torch.testing.assert_close(kl_full(mean, covariance, mean, covariance), zeros, **exact)


def test_divergences_are_differentiable():
    mean, log_var = normals(2, 2, 3)
    target = mean + 1
    parameters = (mean.requires_grad_(), log_var.requires_grad_())
    assert torch.autograd.gradcheck(kl_to_standard_normal, parameters)
    assert torch.autograd.gradcheck(
        lambda m, v: kl_full(m, torch.diag_embed(v.exp()), target, covariances(3)),
        parameters,
    )


# --- the linear-Gaussian model ----------------------------------------------------------------


@pytest.fixture
def model():
    return LinearGaussian(normals(5, 2, seed=3), normals(5, seed=4), 0.3)


@pytest.fixture
def x(model):
    return model.sample(7, torch.Generator().manual_seed(5))


def test_evidence_against_scipy(model, x):
    covariance = model.weight @ model.weight.T + 0.3 * torch.eye(5, dtype=torch.float64)
    expected = stats.multivariate_normal(model.mean.numpy(), covariance.numpy()).logpdf(x.numpy())
    torch.testing.assert_close(model.log_prob(x), torch.tensor(expected), **exact)


def latent_grid(n=241, limit=8.0):
    axis = torch.linspace(-limit, limit, n, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), 2 * math.log(2 * limit / (n - 1))


def log_joint_on_grid(model, x, z):
    """Write log p(z) + log p(x|z) down from its definition."""
    noise = Normal(model.mean + z @ model.weight.T, math.sqrt(model.noise_var))
    log_likelihood = noise.log_prob(x[:, None]).sum(-1)
    return Normal(0.0, 1.0).log_prob(z).sum(-1) + log_likelihood


def test_evidence_and_posterior_by_quadrature(model, x):
    z, log_cell = latent_grid()
    log_joint = log_joint_on_grid(model, x, z)
    evidence = torch.logsumexp(log_joint, 1) + log_cell
    torch.testing.assert_close(model.log_prob(x), evidence, rtol=1e-9, atol=1e-9)
    weights = torch.softmax(log_joint, 1)
    mean, covariance = model.posterior(x)
    torch.testing.assert_close(mean, weights @ z, rtol=1e-8, atol=1e-8)
    deviation = z - mean[:, None]
    spread = torch.einsum("ng,ngi,ngj->nij", weights, deviation, deviation)
    torch.testing.assert_close(covariance.expand(7, 2, 2), spread, rtol=1e-8, atol=1e-8)


def test_elbo_by_monte_carlo_for_a_wrong_posterior(model, x):
    mean, covariance = normals(7, 2, seed=6), covariances(2, seed=7)
    q = MultivariateNormal(mean, covariance)
    factor = torch.linalg.cholesky(covariance)
    z = mean + normals(200_000, 7, 2, seed=8) @ factor.T
    noise = Normal(model.mean + z @ model.weight.T, math.sqrt(model.noise_var))
    values = noise.log_prob(x).sum(-1) + Normal(0.0, 1.0).log_prob(z).sum(-1) - q.log_prob(z)
    error = values.std(0) / math.sqrt(len(values))
    assert ((model.elbo(x, mean, covariance) - values.mean(0)).abs() < 4.5 * error).all()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(n_features=st.integers(2, 6), n_latents=st.integers(1, 4), seed=seeds)
def test_evidence_is_elbo_plus_divergence_for_any_q(n_features, n_latents, seed):
    model = LinearGaussian(
        normals(n_features, n_latents, seed=seed), normals(n_features, seed=seed + 1), 0.5
    )
    x = normals(4, n_features, seed=seed + 2)
    mean, covariance = normals(4, n_latents, seed=seed + 3), covariances(n_latents, seed=seed + 4)
    divergence = kl_full(mean, covariance, *model.posterior(x))
    bound = model.elbo(x, mean, covariance)
    torch.testing.assert_close(bound + divergence, model.log_prob(x), rtol=1e-8, atol=1e-8)
    assert (bound < model.log_prob(x)).all()


def test_elbo_at_the_exact_posterior_is_the_evidence(model, x):
    torch.testing.assert_close(model.elbo(x, *model.posterior(x)), model.log_prob(x), **exact)


def test_samples_have_the_moments_of_the_model(model):
    draws = model.sample(100_000, torch.Generator().manual_seed(0))
    covariance = model.weight @ model.weight.T + 0.3 * torch.eye(5, dtype=torch.float64)
    z = (draws.mean(0) - model.mean) / (covariance.diagonal() / len(draws)).sqrt()
    assert z.abs().max() < 4.5
    # the variance of a sample covariance of Gaussians is (c_ii c_jj + c_ij^2) / n
    variances = covariance.diagonal()
    error = ((torch.outer(variances, variances) + covariance.square()) / len(draws)).sqrt()
    assert ((draws.T.cov() - covariance) / error).abs().max() < 4.5


def test_samples_depend_on_the_generator_alone(model):
    state = torch.get_rng_state()
    draws = [model.sample(3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("load", "n_latents", "mean_log_likelihood"),
    [(datasets.load_iris, 2, -2.699797), (datasets.load_digits, 10, -159.99374)],
)
def test_ppca_reaches_the_published_likelihood(load, n_latents, mean_log_likelihood):
    x = torch.tensor(load().data)
    fitted = LinearGaussian.fit(x, n_latents)
    # scikit-learn divides the covariance by n - 1: the likelihoods then differ by O(1 / n^2)
    reference = decomposition.PCA(n_latents).fit(x.numpy())
    assert reference.score(x.numpy()) == pytest.approx(mean_log_likelihood, abs=6e-6)
    rescaled = fitted.weight @ fitted.weight.T
    rescaled += fitted.noise_var * torch.eye(x.shape[1], dtype=torch.float64)
    rescaled *= len(x) / (len(x) - 1)
    torch.testing.assert_close(
        rescaled, torch.tensor(reference.get_covariance()), rtol=1e-9, atol=1e-9
    )
    likelihood = float(fitted.log_prob(x).mean())
    assert 0 <= likelihood - reference.score(x.numpy()) < x.shape[1] / len(x) ** 2


def test_ppca_likelihood_of_each_row_is_scikit_learns():
    x = torch.tensor(datasets.load_iris().data)
    reference = decomposition.PCA(2).fit(x.numpy())
    noise_var = float(reference.noise_variance_)
    scale = torch.tensor(reference.explained_variance_ - noise_var).sqrt()
    weight = torch.tensor(reference.components_.T) * scale
    model = LinearGaussian(weight, torch.tensor(reference.mean_), noise_var)
    expected = torch.tensor(reference.score_samples(x.numpy()))
    torch.testing.assert_close(model.log_prob(x), expected, rtol=1e-9, atol=1e-9)


def test_ppca_is_a_maximum_of_the_likelihood():
    x = torch.tensor(datasets.load_iris().data)
    fitted = LinearGaussian.fit(x, 2)
    best = fitted.log_prob(x).mean()
    for seed in range(20):
        step = 0.02 * normals(4, 2, seed=seed)
        for other in (
            LinearGaussian(fitted.weight + step, fitted.mean, fitted.noise_var),
            LinearGaussian(fitted.weight, fitted.mean + step[:, 0], fitted.noise_var),
            LinearGaussian(fitted.weight, fitted.mean, fitted.noise_var * math.exp(step[0, 0])),
        ):
            assert other.log_prob(x).mean() < best
    products = fitted.weight.T @ fitted.weight
    torch.testing.assert_close(products, torch.diag(products.diagonal()), **exact)
    assert products[0, 0] > products[1, 1]


# --- bad input --------------------------------------------------------------------------------

nan = float("nan")
weight, offset = torch.ones(3, 2), torch.zeros(3)
three_by_two = LinearGaussian(weight, offset, 1.0)
plane = FullGaussian(torch.zeros(2), torch.eye(2))


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: LinearGaussian(torch.ones(3), offset, 1.0), "weight"),
        (lambda: LinearGaussian(weight * nan, offset, 1.0), "weight"),
        (lambda: LinearGaussian(weight.int(), offset, 1.0), "weight"),
        (lambda: LinearGaussian([[1.0]], offset, 1.0), "weight"),
        (lambda: LinearGaussian(weight, torch.zeros(2), 1.0), "mean"),
        (lambda: LinearGaussian(weight, weight, 1.0), "mean"),
        (lambda: LinearGaussian(weight, offset, 0.0), "noise_var"),
        (lambda: LinearGaussian(weight, offset, -1.0), "noise_var"),
        (lambda: LinearGaussian(weight, offset, nan), "noise_var"),
        (lambda: LinearGaussian(weight, offset, math.inf), "noise_var"),
        (lambda: LinearGaussian.fit(torch.ones(1, 3), 2), "x"),
        (lambda: LinearGaussian.fit(torch.ones(5, 3), 3), "x"),
        (lambda: LinearGaussian.fit(torch.ones(5, 3), 2), "x"),
        (lambda: LinearGaussian.fit(torch.randn(2, 5, dtype=torch.float64), 1), "x"),
        (lambda: LinearGaussian.fit(torch.ones(5), 1), "x"),
        (lambda: LinearGaussian.fit(torch.full((5, 3), nan), 1), "x"),
        (lambda: LinearGaussian.fit(torch.randn(5, 3), 0), "n_latents"),
        (lambda: LinearGaussian.fit(torch.randn(5, 3), 1.5), "n_latents"),
        (lambda: LinearGaussian.fit(torch.randn(5, 3), True), "n_latents"),
        (lambda: three_by_two.sample(0), "n"),
        (lambda: three_by_two.log_prob(torch.zeros(4, 2)), "x"),
        (lambda: three_by_two.log_prob(torch.zeros(3)), "x"),
        (lambda: three_by_two.log_prob(torch.full((1, 3), nan)), "x"),
        (lambda: three_by_two.posterior(torch.zeros(4, 2)), "x"),
        (lambda: three_by_two.elbo(torch.zeros(4, 2), torch.zeros(4, 2), torch.eye(2)), "x"),
        (lambda: three_by_two.elbo(torch.zeros(4, 3), torch.zeros(4, 3), torch.eye(2)), "mean"),
        (lambda: three_by_two.elbo(torch.zeros(4, 3), torch.zeros(3, 2), torch.eye(2)), "mean"),
        (
            lambda: three_by_two.elbo(torch.zeros(4, 3), torch.zeros(4, 2), torch.eye(3)),
            "covariance",
        ),
        (lambda: kl_full(torch.zeros(2), -torch.eye(2), torch.zeros(2), torch.eye(2)), "cov_q"),
        (lambda: kl_full(torch.zeros(2), torch.eye(2), torch.zeros(2), torch.ones(2, 2)), "cov_p"),
        (
            lambda: kl_full(
                torch.zeros(2), torch.tensor([[1.0, 0.9], [0, 1]]), torch.zeros(2), torch.eye(2)
            ),
            "cov_q",
        ),
        (
            lambda: kl_full(torch.zeros(2), nan * torch.eye(2), torch.zeros(2), torch.eye(2)),
            "cov_q",
        ),
        (lambda: kl_full(torch.zeros(2), torch.ones(2, 3), torch.zeros(2), torch.eye(2)), "cov_q"),
        (lambda: kl_full(torch.zeros(2), torch.eye(2), torch.zeros(2), torch.eye(3)), "cov_p"),
        (lambda: kl_full(torch.zeros(2), torch.eye(2), torch.zeros(3), torch.eye(2)), "mean_p"),
        (lambda: kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(3, 2)), "log_var"),
        (lambda: kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 1)), "log_var"),
        (lambda: kl_to_standard_normal(torch.zeros(2).int(), torch.zeros(2)), "mean"),
        (lambda: kl_to_standard_normal(torch.zeros(2), [0.0, 0.0]), "log_var"),
        (lambda: kl_diagonal(*[torch.zeros(2)] * 3, torch.zeros(3)), "log_var_p"),
        (lambda: kl_diagonal(*[torch.zeros(2)] * 2, torch.zeros(1), torch.zeros(2)), "mean_p"),
        (lambda: kl_diagonal(torch.zeros(2), torch.zeros(3), *[torch.zeros(2)] * 2), "log_var_q"),
        (lambda: log_normal_full(torch.zeros(2), torch.zeros(2), torch.ones(2, 2)), "covariance"),
        (lambda: log_normal_full(torch.zeros(2), torch.zeros(2), torch.eye(3)), "covariance"),
        (lambda: log_normal_full(torch.zeros(2), torch.zeros(3), torch.eye(2)), "mean"),
        (lambda: fit_gaussian(torch.zeros(3)), "x"),
        (lambda: fit_gaussian(torch.zeros(0, 3)), "x"),
        (lambda: fit_gaussian(torch.full((2, 3), nan)), "x"),
        (lambda: FullGaussian(torch.zeros(2, 2), torch.eye(2)), "mean"),
        (lambda: FullGaussian(torch.zeros(2), torch.eye(3)), "covariance"),
        (lambda: FullGaussian(torch.zeros(2), torch.eye(2).expand(3, 2, 2)), "covariance"),
        (lambda: FullGaussian.fit(torch.randn(9, 2), shrinkage=1.5), "shrinkage"),
        (lambda: FullGaussian.fit(torch.randn(9, 2), shrinkage=nan), "shrinkage"),
        (lambda: FullGaussian.fit(torch.randn(9)), "x"),
        (lambda: FullGaussian.fit(torch.ones(9, 2), shrinkage=0.5), "x"),
        (lambda: plane.log_prob(torch.zeros(3, 3)), "x"),
        (lambda: plane.sample(0), "n"),
        (lambda: plane.marginal(torch.tensor([True])), "kept"),
        (lambda: plane.marginal(torch.tensor([False, False])), "kept"),
        (lambda: plane.marginal([True, False]), "kept"),
        (lambda: plane.conditional(torch.tensor([0, 1]), torch.zeros(1, 1)), "observed"),
        (lambda: plane.conditional(torch.tensor([True, True]), torch.zeros(1, 2)), "observed"),
        (lambda: plane.conditional(torch.tensor([True, False]), torch.zeros(1, 2)), "values"),
        (lambda: log_normal(torch.zeros(4, 2), torch.zeros(3), torch.zeros(2)), "mean"),
        (lambda: log_normal(torch.zeros(4, 2), torch.zeros(2), torch.zeros(1)), "log_var"),
        (lambda: log_normal(torch.zeros(()), torch.zeros(2), torch.zeros(2)), "x"),
        (lambda: log_normal(torch.zeros(2).int(), torch.zeros(2), torch.zeros(2)), "x"),
        (lambda: log_normal(torch.zeros(3, 2), torch.zeros(2, 2), torch.zeros(2)), "mean"),
    ],
)
def test_bad_input_is_named(call, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted .*, got "):
        call()


def test_nothing_hides_a_nan():
    """Densities pass NaN on, so that training can name the step at which it came up."""
    bad = torch.tensor([nan, 0.0])
    zero = torch.zeros(2)
    assert torch.isnan(log_normal(bad, zero, zero))
    assert torch.isnan(kl_to_standard_normal(bad, zero))
    assert torch.isnan(kl_diagonal(zero, zero, bad, zero))


# --- what people really bring --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_divergences_near_zero_keep_their_digits(dtype):
    """Against mpmath, from 1e-12 to 1 on both sides; a plain difference is negative there."""
    mpmath.mp.dps = 50
    exponents = torch.linspace(-12, 0, 400, dtype=torch.float64)
    log_var = torch.cat([10**exponents, -(10**exponents)]).to(dtype)[:, None]
    values = log_var.flatten().tolist()
    exact = tensor([float(mpmath.expm1(v) - mpmath.mpf(v)) / 2 for v in values])
    zero = torch.zeros_like(log_var)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for kl in (kl_to_standard_normal(zero, log_var), kl_diagonal(zero, log_var, zero, zero)):
        assert (kl >= 0).all()
        assert kl.double() == pytest.approx(exact, rel=tolerance)


def test_the_divergence_that_was_negative():
    value = float(kl_to_standard_normal(torch.zeros(1), torch.tensor([1.019e-5])))
    assert value == pytest.approx(0.5 * 0.5 * 1.019e-5**2, rel=1e-5)


def test_the_gradient_of_a_divergence_is_right_on_both_sides_of_the_series():
    for v in (1e-9, -0.01, 0.019, 0.021, 3.0, 60.0):
        log_var = torch.tensor([v], dtype=torch.float64, requires_grad=True)
        kl_to_standard_normal(torch.zeros(1, dtype=torch.float64), log_var).backward()
        assert float(log_var.grad) == pytest.approx(0.5 * math.expm1(v), rel=1e-9)


def test_the_divergence_of_two_nearly_equal_full_gaussians():
    """A step of 1e-9 along a covariance: half of a quarter of the squared relative change."""
    a = normals(4, 6)
    covariance = a @ a.T
    mean = torch.zeros(4, dtype=torch.float64)
    for step in (0.0, 1e-9, 1e-6, 1e-3):
        kl = float(kl_full(mean, covariance * (1 + step), mean, covariance))
        assert 0 <= kl == pytest.approx(4 * step**2 / 4, rel=2e-3, abs=1e-28)


@pytest.mark.parametrize(
    ("dtype", "units"), [(torch.float32, (1e4, 1.0)), (torch.float64, (1e7, 1e-3))]
)
def test_columns_in_different_units_are_no_singular_covariance(dtype, units):
    x = (normals(1000, 2) * tensor(units)).to(dtype)
    fitted = FullGaussian.fit(x)
    expected = np.cov(x.double().numpy().T, bias=True)
    assert fitted.covariance.diagonal().double() == pytest.approx(expected.diagonal(), rel=1e-5)
    scaled = FullGaussian.fit((normals(1000, 2)).to(dtype))
    shift = math.log(units[0] * units[1])
    assert fitted.log_prob(x) == pytest.approx(
        scaled.log_prob(normals(1000, 2).to(dtype)) - shift, rel=1e-3
    )


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_a_singular_covariance_is_refused_in_any_unit(unit):
    x = unit * normals(50, 2)
    collinear = torch.cat([x, x.sum(1, keepdim=True)], 1)
    with pytest.raises(ValueError, match="a covariance of full rank"):
        FullGaussian.fit(collinear)
    assert FullGaussian.fit(x).covariance.shape == (2, 2)


@pytest.mark.parametrize(
    ("dtype", "large"), [(torch.float32, 1e4), (torch.float64, 1e7), (torch.float64, 1e10)]
)
def test_principal_components_beside_a_column_in_small_units(dtype, large):
    """One component takes the large column; what is left for the noise is the others' variance."""
    z = normals(1000, 3)
    x = (z * tensor([large, 1.0, 1.0])).to(dtype)
    fitted = LinearGaussian.fit(x, 1)
    centred = x.double() - x.double().mean(0)
    rest = (
        centred[:, 1:]
        - centred[:, :1] @ (centred[:, :1].T @ centred[:, 1:]) / centred[:, 0].square().sum()
    )
    assert fitted.noise_var == pytest.approx(float(rest.square().mean()), rel=1e-4)
    # Sherman and Morrison's formula for one component, in fifty digits
    mpmath.mp.dps = 50
    w = mpmath.matrix(fitted.weight[:, 0].tolist())
    s = mpmath.mpf(fitted.noise_var)
    total = s + (w.T * w)[0]
    for row in x[:5]:
        r = mpmath.matrix(row.tolist()) - mpmath.matrix(fitted.mean.tolist())
        squares = ((r.T * r)[0] - (w.T * r)[0] ** 2 / total) / s
        log_det = mpmath.log(total) + 2 * mpmath.log(s)
        exact = -(3 * mpmath.log(2 * mpmath.pi) + log_det + squares) / 2
        # in single precision the large column is known to 1e-7 of itself
        assert float(fitted.log_prob(row[None])) == pytest.approx(float(exact), rel=1e-5)


def test_data_in_a_plane_leave_no_noise_in_any_unit():
    for unit in (1e-8, 1.0, 1e8):
        for dtype in (torch.float32, torch.float64):
            plane = (unit * normals(200, 2).to(dtype)) @ normals(2, 5, seed=1).to(dtype)
            with pytest.raises(ValueError, match="variance outside the first n_latents"):
                LinearGaussian.fit(plane, 2)


def test_another_precision_is_named():
    x = normals(10, 2)
    gaussian, linear = FullGaussian.fit(x), LinearGaussian.fit(x, 1)
    for call in (gaussian.log_prob, linear.log_prob, linear.posterior):
        with pytest.raises(ValueError, match=r"x: wanted torch.float64, as the model has, got"):
            call(x.float())
    with pytest.raises(ValueError, match=r"covariance: wanted torch.float32, as mean has"):
        FullGaussian(torch.zeros(2), torch.eye(2, dtype=torch.float64))


def test_an_asymmetry_in_small_units_is_noticed():
    covariance = torch.diag(tensor([1e12, 1e-6, 1e-6]))
    covariance[1, 2] = 5e-7
    with pytest.raises(ValueError, match="covariance: wanted symmetric matrices"):
        FullGaussian(torch.zeros(3, dtype=torch.float64), covariance)


def test_the_first_bad_row_is_named():
    x = normals(9, 2)
    x[5, 1], x[7, 0] = math.inf, math.nan
    with pytest.raises(ValueError, match="x: wanted finite numbers, got inf in row 5"):
        FullGaussian.fit(x)
