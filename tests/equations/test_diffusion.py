"""Each statement of the chapter on diffusion, both sides, against something independent."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.common import F64, seeded
from vaebook.data import toy_density
from vaebook.diffusion import (
    BinaryDiffusion,
    Diffusion,
    GaussianNoisePredictor,
    MixtureNoisePredictor,
    NoiseMLP,
    bound_objective,
    cosine_schedule,
    linear_schedule,
    noise_objective,
)
from vaebook.estimators import monte_carlo
from vaebook.gaussian import FullGaussian, kl_full, log_normal

MEAN = torch.tensor([0.5, -1.0], dtype=F64)
COVARIANCE = torch.tensor([[0.8, 0.3], [0.3, 0.5]], dtype=F64)
EYE = torch.eye(2, dtype=F64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=F64)


def constant(value: float, n_steps: int) -> Tensor:
    return torch.full((n_steps,), value, dtype=F64)


def exact_model(betas: Tensor, variance: str = "beta") -> Diffusion:
    return Diffusion(GaussianNoisePredictor(MEAN, COVARIANCE), betas, 2, variance=variance)


def network_model(betas: Tensor, n_features: int = 2) -> Diffusion:
    """A network that guesses something, and nothing right."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = NoiseMLP(n_features, 8, 1).double()
        nn.init.normal_(network.last.weight, std=0.3)
    return Diffusion(network, betas, n_features)


def log_density(x: Tensor, mean: Tensor, variance: Tensor | float) -> Tensor:
    """NumPy's arithmetic, one variance for all features."""
    spread = torch.as_tensor(variance, dtype=F64).numpy()
    square = ((x - mean) ** 2).detach().numpy().sum(-1) / spread
    return torch.from_numpy(-0.5 * (square + x.shape[-1] * np.log(2 * np.pi * spread)))


CLOSE = {"atol": 1e-9, "rtol": 0}

# A short chain with uneven steps, walked step by step, and its products of alphas by NumPy.
BETAS = torch.tensor([0.1, 0.3, 0.2, 0.5], dtype=F64)
KEPT = torch.from_numpy(np.cumprod(1 - BETAS.numpy()))
START = torch.tensor([[1.2, -0.7]], dtype=F64)


def walk(x: Tensor, seed: int = 0) -> list[Tensor]:
    model, g, states = exact_model(BETAS), seeded(seed), [x]
    for t in range(1, 5):
        states.append(model.q_step(states[-1], t, g))
    return states


# --- forward ----------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-forward-marginal", tolerance="4.5 standard errors; 0.01 for the covariance"
)
def test_the_jump_has_the_law_of_the_walk() -> None:
    """Mean and covariance of 200,000 chains simulated step by step; the jump itself, exactly."""
    model, states = exact_model(BETAS), walk(START.expand(200_000, 2))
    noise = normal(5, 2, seed=3)
    for t in range(1, 5):
        jump = model.q_sample(START.expand(5, 2), t, noise)
        by_hand = KEPT[t - 1].sqrt() * START + (1 - KEPT[t - 1]).sqrt() * noise
        torch.testing.assert_close(jump, by_hand, atol=1e-14, rtol=0)
        mean, error = monte_carlo(states[t])
        assert ((mean - KEPT[t - 1].sqrt() * START[0]).abs() < 4.5 * error).all()
        torch.testing.assert_close(states[t].T.cov(), (1 - KEPT[t - 1]) * EYE, atol=0.01, rtol=0)


@pytest.mark.equation("eq-forward-posterior", tolerance="1e-12")
def test_the_posterior_of_a_step_is_bayes_rule() -> None:
    """Bayes' rule at random points, each of its three densities written out; and both forms."""
    model, x_t, before = exact_model(BETAS), normal(6, 2), normal(6, 2, seed=1)
    x = START.expand(6, 2)
    for t in (2, 3, 4):
        beta, alpha, kept, earlier = BETAS[t - 1], 1 - BETAS[t - 1], KEPT[t - 1], KEPT[t - 2]
        bayes = log_density(x_t, alpha.sqrt() * before, beta)
        bayes = bayes + log_density(before, earlier.sqrt() * x, 1 - earlier)
        bayes = bayes - log_density(x_t, kept.sqrt() * x, 1 - kept)
        mean, variance = model.q_posterior(x_t, x, t)
        torch.testing.assert_close(
            log_density(before, mean, variance[0, 0]), bayes, atol=1e-12, rtol=0
        )
        inverse = alpha / beta + 1 / (1 - earlier)
        torch.testing.assert_close(1 / variance[0, 0], inverse, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(inverse, (1 - kept) / (beta * (1 - earlier)), atol=0, rtol=1e-12)
        weighted = alpha.sqrt() / beta * x_t + earlier.sqrt() / (1 - earlier) * x
        torch.testing.assert_close(mean, weighted / inverse, atol=1e-12, rtol=0)
        last = (alpha.sqrt() * (1 - earlier) * x_t + earlier.sqrt() * beta * x) / (1 - kept)
        torch.testing.assert_close(mean, last, atol=1e-12, rtol=0)


# --- the bound --------------------------------------------------------------------------------


@pytest.mark.equation(
    "eq-diffusion-elbo", tolerance="1e-11; 4.5 standard errors; 2 % for a counted share"
)
def test_every_line_of_the_bound() -> None:
    """Densities along 40,000 walked chains, line by line; and the model's density by simulation."""
    model = network_model(BETAS)
    states = walk(START.expand(40_000, 2))
    with torch.no_grad():
        log_p = [log_density(states[4], torch.zeros_like(states[4]), 1.0)]
        for t in range(1, 5):
            guess = model.predict_signal(states[t], t)
            mean = model.q_posterior(states[t], guess, t)[0]
            log_p.append(log_density(states[t - 1], mean, BETAS[t - 1]))
        steps = [
            log_density(states[t], (1 - BETAS[t - 1]).sqrt() * states[t - 1], BETAS[t - 1])
            for t in range(1, 5)
        ]
        second = sum(log_p) - sum(steps)
        end = log_density(states[4], KEPT[3].sqrt() * START, 1 - KEPT[3])
        third = log_p[0] - end + log_p[1]
        for t in (2, 3, 4):
            mean, variance = model.q_posterior(states[t], START.expand_as(states[t]), t)
            third = third + log_p[t] - log_density(states[t - 1], mean, variance[0, 0])
        terms = model.elbo_terms(START.expand(40_000, 2), seeded(1))
        weights = model.log_weights(START, 40_000, seeded(2))[:, 0]
    torch.testing.assert_close(second, third, atol=1e-11, rtol=0)
    fourth = terms.reconstruction - terms.kl.sum(0) - terms.prior
    (a, a_error), (b, b_error) = monte_carlo(third), monte_carlo(fourth)
    assert abs(a - b) < 4.5 * math.hypot(a_error, b_error)
    c, c_error = monte_carlo(weights)  # the same expectation, chains drawn backwards from x_T
    assert abs(a - c) < 4.5 * math.hypot(a_error, c_error)
    # the bound lies below the density: samples of the model near the datum, counted
    drawn = torch.cat([model.sample(200_000, seeded(i)) for i in range(3, 6)])
    inside = ((drawn - START).abs() < 0.1).all(1).double()
    share, share_error = monte_carlo(inside)
    assert a - 4.5 * a_error < ((share + 4.5 * share_error) / 0.04).log()
    estimate, error = monte_carlo(weights.exp())
    assert (
        abs(estimate - share / 0.04) < 4.5 * math.hypot(error, share_error / 0.04) + 0.02 * estimate
    )


@pytest.mark.equation("eq-diffusion-weights", tolerance="1e-9")
def test_weights_of_the_exact_reverse_chain() -> None:
    """Standard normal data: the reverse chain is exact, so each weight is the density itself."""
    predictor = GaussianNoisePredictor(torch.zeros(2, dtype=F64), EYE)
    model = Diffusion(predictor, linear_schedule(30), 2, variance="beta")
    x = normal(4, 2)
    weights = model.log_weights(x, 5, seeded(1))
    exact = log_density(x, torch.zeros_like(x), 1.0).expand(5, 4)
    torch.testing.assert_close(weights, exact, atol=1e-9, rtol=0)


@pytest.mark.equation("eq-diffusion-weights", tolerance="4.5 standard errors")
def test_weights_average_to_the_density() -> None:
    """The density of x_0 under a linear reverse chain, by propagating its mean and covariance."""
    model = exact_model(linear_schedule(25), "posterior")
    mean, covariance = torch.zeros(2, dtype=F64), EYE
    basis = torch.cat([torch.zeros(1, 2, dtype=F64), EYE])
    for t in range(25, 0, -1):
        images = model.q_posterior(basis, model.predict_signal(basis, t), t)[0]
        slope = (images[1:] - images[0]).T
        mean = slope @ mean + images[0]
        covariance = slope @ covariance @ slope.T + model.reverse_vars[t - 1] * EYE
    x = FullGaussian(MEAN, COVARIANCE).sample(3, seeded())
    exact = FullGaussian(mean, covariance).log_prob(x).exp()
    estimate, error = monte_carlo(model.log_weights(x, 20_000, seeded(1)).exp())
    assert ((estimate - exact).abs() < 4.5 * error).all()
    assert (error < 0.1 * exact).all()


@pytest.mark.equation("eq-diffusion-prior-kl", tolerance="1e-12")
def test_the_divergence_at_the_end() -> None:
    """The divergence of two full Gaussians, at three data."""
    model, x = exact_model(BETAS), normal(3, 2)
    prior = model.elbo_terms(x, seeded()).prior
    for i in range(3):
        exact = kl_full(KEPT[3].sqrt() * x[i], (1 - KEPT[3]) * EYE, torch.zeros(2, dtype=F64), EYE)
        torch.testing.assert_close(prior[i], exact.squeeze(), atol=1e-12, rtol=0)


@pytest.mark.equation("eq-step-kl", tolerance="1e-11")
@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_the_divergence_of_a_step(variance: str) -> None:
    """The divergence of two full Gaussians with the posterior's means, for a wrong network."""
    network = network_model(BETAS).network
    model = Diffusion(network, BETAS, 2, variance=variance)
    x, noise = START.expand(3, 2), normal(3, 2)
    with torch.no_grad():
        for t in (2, 3, 4):
            x_t = model.q_sample(x, t, noise)
            guess = model.predict_noise(x_t, t)
            cost = model._step_kl(noise, guess, t)
            mean, spread = model.q_posterior(x_t, x, t)
            ours = model.q_posterior(x_t, model.predict_signal(x_t, t), t)[0]
            chosen = BETAS[t - 1] if variance == "beta" else spread[0, 0]
            for i in range(3):
                exact = kl_full(mean[i], spread[0, 0] * EYE, ours[i], chosen * EYE).squeeze()
                torch.testing.assert_close(cost[i], exact, atol=1e-11, rtol=0)


@pytest.mark.equation("eq-random-step", tolerance="4.5 standard errors")
def test_one_random_step_stands_for_all() -> None:
    """The sum of all terms, each with its own draws, against 40,000 random steps."""
    model, x = network_model(BETAS), START.expand(40_000, 2)
    with torch.no_grad():
        one, one_error = monte_carlo(bound_objective(model, x, generator=seeded(1))[0])
        terms = model.elbo_terms(x, seeded(2))
    every, error = monte_carlo(terms.reconstruction - terms.kl.sum(0) - terms.prior)
    assert abs(one - every) < 4.5 * math.hypot(one_error, error)


# --- the best guess ---------------------------------------------------------------------------


@pytest.mark.equation("eq-gaussian-noise", tolerance="1e-12")
def test_the_best_guess_for_gaussian_data() -> None:
    """Conditioning the joint Gaussian of x_t and the noise, a linear image of x_0 and noise."""
    model, x_t = exact_model(BETAS), normal(5, 2)
    for t in range(1, 5):
        signal, noise = KEPT[t - 1].sqrt() * EYE, (1 - KEPT[t - 1]).sqrt() * EYE
        mixing = torch.cat([torch.cat([signal, noise], 1), torch.cat([0 * EYE, EYE], 1)])
        joint = FullGaussian(
            mixing @ torch.cat([MEAN, 0 * MEAN]),
            mixing @ torch.block_diag(COVARIANCE, EYE) @ mixing.T,
        )
        exact, _ = joint.conditional(torch.arange(4) < 2, x_t)
        torch.testing.assert_close(model.predict_noise(x_t, t), exact, atol=1e-12, rtol=0)


@pytest.mark.equation("eq-mixture-noise", tolerance="1e-9")
def test_the_best_guess_for_a_mixture() -> None:
    """Quadrature over all data of the plane: the blurred density, and the noise behind x_t."""
    weights = torch.tensor([0.3, 0.7], dtype=F64)
    means, covariances = torch.stack([MEAN, -MEAN]), torch.stack([COVARIANCE, 0.4 * EYE])
    model = Diffusion(MixtureNoisePredictor(weights, means, covariances), BETAS, 2)
    ticks = torch.linspace(-8, 8, 401, dtype=F64)
    data = torch.cartesian_prod(ticks, ticks)
    density = sum(
        w * FullGaussian(m, c).log_prob(data).exp()
        for w, m, c in zip(weights, means, covariances, strict=True)
    )
    for t in (2, 4):
        for x_t in normal(3, 2):
            noise = (x_t - KEPT[t - 1].sqrt() * data) / (1 - KEPT[t - 1]).sqrt()
            joint = density * log_density(x_t, KEPT[t - 1].sqrt() * data, 1 - KEPT[t - 1]).exp()
            guess = (joint[:, None] * noise).sum(0) / joint.sum()
            torch.testing.assert_close(model.predict_noise(x_t[None], t)[0], guess, **CLOSE)
            evidence = (joint.sum() * (ticks[1] - ticks[0]) ** 2).log()[None]
            level = model.log_snr[t - 1].view(1, 1)
            found = model.network.log_prob(x_t[None], level)
            torch.testing.assert_close(found, evidence, **CLOSE)


@pytest.mark.equation("eq-gaussian-noise-error", tolerance="4.5 standard errors")
@pytest.mark.parametrize("t", [1, 10, 25])
def test_the_error_of_the_best_guess(t: int) -> None:
    """The squared error of the package's predictor on 200,000 noisy data."""
    model, noise = exact_model(linear_schedule(25)), normal(200_000, 2, seed=7)
    x = FullGaussian(MEAN, COVARIANCE).sample(200_000, seeded(8))
    squared = (model.predict_noise(model.q_sample(x, t, noise), t) - noise).square().sum(1)
    kept, spread = model.signal_shares[t - 1], torch.linalg.eigvalsh(COVARIANCE)
    mean, error = monte_carlo(squared)
    assert (mean - (kept * spread / (kept * spread + 1 - kept)).sum()).abs() < 4.5 * error


@pytest.mark.equation(
    "eq-posterior-variance-gap", tolerance="1e-5; 1 % for small steps; 0.03 nats for the gap"
)
def test_the_posterior_variance_costs_half_of_eulers_constant() -> None:
    """NumPy's constant; and the bounds of two models that differ in the variance alone."""
    t = np.arange(1, 200_001)
    assert 0.5 * (1 / t - np.log1p(1 / t)).sum() == pytest.approx(np.euler_gamma / 2, abs=1e-5)
    assert 0.5 * ((1 / t).sum() - np.log(200_000)) == pytest.approx(np.euler_gamma / 2, abs=1e-5)
    # small equal steps: the true variance is β, which is t / (t - 1) times that of who knows x_0
    model, steps = exact_model(constant(0.0005, 400)), torch.arange(2, 11, dtype=F64)
    ratio = model.betas[1:10] / model.posterior_vars[1:10]
    torch.testing.assert_close(ratio, steps / (steps - 1), rtol=0.01, atol=0)
    x = FullGaussian(MEAN, COVARIANCE).sample(20_000, seeded())
    bounds = [
        exact_model(constant(0.0005, 400), variance).elbo(x, seeded(1)).mean()
        for variance in ("beta", "posterior")
    ]
    assert float(bounds[0] - bounds[1]) == pytest.approx(np.euler_gamma, abs=0.03)  # two features


@pytest.mark.equation("eq-optimal-reverse-variance", tolerance="2 %, and never beaten")
def test_fitted_variances() -> None:
    """The variance of x_{t-1} given x_t by Bayes' rule; and the bound at other variances."""
    spread = 0.3
    model = Diffusion(GaussianNoisePredictor(MEAN, spread * EYE), linear_schedule(30), 2)
    x = FullGaussian(MEAN, spread * EYE).sample(60_000, seeded())
    fitted = model.fit_variances(x, seeded(1)).reverse_vars.clone()
    before = torch.cat([torch.ones(1, dtype=F64), model.signal_shares[:-1]])
    prior = before * spread + 1 - before
    exact = 1 / (1 / prior + (1 - model.betas) / model.betas)
    torch.testing.assert_close(fitted, exact, rtol=0.02, atol=0)
    best = model.elbo(x, seeded(1)).mean()
    for factor in (0.8, 1.25):
        model.reverse_vars.copy_(factor * fitted)
        assert model.elbo(x, seeded(1)).mean() < best - 0.1
    wrong = network_model(BETAS).fit_variances(x, seeded(1))
    fitted = wrong.reverse_vars.clone()
    with torch.no_grad():
        best = wrong.elbo(x, seeded(1)).mean()
        for t, factor in itertools.product(range(4), (0.8, 1.25)):
            wrong.reverse_vars.copy_(fitted)
            wrong.reverse_vars[t] *= factor
            assert wrong.elbo(x, seeded(1)).mean() < best


@pytest.mark.equation("eq-score-from-noise", tolerance="1e-9")
def test_the_score_is_minus_the_expected_noise() -> None:
    """Gaussian data: derivatives by autograd; a mixture: quadrature over all data, line by line."""
    model, x_t = exact_model(BETAS), normal(5, 2).requires_grad_()
    covariance = KEPT[2] * COVARIANCE + (1 - KEPT[2]) * EYE
    blurred = FullGaussian(KEPT[2].sqrt() * MEAN, covariance)
    (gradient,) = torch.autograd.grad(blurred.log_prob(x_t).sum(), x_t)
    torch.testing.assert_close(model.score(x_t, 3), gradient, atol=1e-9, rtol=0)
    grid = torch.linspace(-12, 12, 8001, dtype=F64)
    zero = torch.zeros_like(grid[:, None])
    density = 0.3 * log_normal(grid[:, None] - 2, zero, zero).exp()
    density += 0.7 * log_normal(grid[:, None] + 1, zero, zero - 1).exp()
    kept, at = KEPT[2], torch.tensor(0.4, dtype=F64, requires_grad=True)
    spread = torch.exp(-((at - kept.sqrt() * grid) ** 2) / (2 * (1 - kept)))
    evidence = torch.trapezoid(spread * density, grid)
    (left,) = torch.autograd.grad(evidence.log(), at)
    posterior = (spread * density / evidence).detach()
    noise = (at.detach() - kept.sqrt() * grid) / (1 - kept).sqrt()
    second = torch.trapezoid(posterior * -(at.detach() - kept.sqrt() * grid) / (1 - kept), grid)
    third = -torch.trapezoid(posterior * noise, grid) / (1 - kept).sqrt()
    torch.testing.assert_close(second, left, atol=1e-9, rtol=0)
    torch.testing.assert_close(third, left, atol=1e-9, rtol=0)


@pytest.mark.equation("eq-binary-denoiser", tolerance="1e-12")
def test_the_expected_pixel() -> None:
    """Bayes' rule for one pixel of two values, its densities written out."""
    lit = torch.tensor([0.2, 0.7], dtype=F64)

    class Prior(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("log_odds", torch.log(lit / (1 - lit)))

        def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
            return (self.log_odds / 2).expand_as(x)

    model, x_t = BinaryDiffusion(Prior(), BETAS, 2), normal(6, 2)
    for t in (1, 3):
        one, other = (
            p * torch.exp(-((x_t - sign * KEPT[t - 1].sqrt()) ** 2) / (2 * (1 - KEPT[t - 1])))
            for p, sign in ((lit, 1), (1 - lit, -1))
        )
        expected = (one - other) / (one + other)
        torch.testing.assert_close(model.predict_signal(x_t, t), expected, atol=1e-12, rtol=0)


# --- sampling ---------------------------------------------------------------------------------


class Knows(nn.Module):
    """Guesses the noise without error, for one datum that it was told."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.register_buffer("x", x)

    def forward(self, x_t: Tensor, log_snr: Tensor) -> Tensor:
        share = torch.sigmoid(log_snr)
        return (x_t - share.sqrt() * self.x) / (1 - share).sqrt()


@pytest.mark.equation("eq-ddim-marginal", tolerance="0.01")
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("n_calls", [4, 3, 2])
def test_every_ddim_chain_has_the_forward_marginals(n_calls: int, eta: float) -> None:
    """The closed form of the marginal, for chains of a network that knows the datum."""
    model, seen = Diffusion(Knows(START), BETAS, 2), {}
    predict = model.predict_noise

    def watched(x_t: Tensor, t: int | Tensor) -> Tensor:
        seen[t] = x_t
        return predict(x_t, t)

    model.predict_noise = watched  # type: ignore[method-assign]
    # started where the forward chain ends: its mean is small beside the spread of x_T
    end = model.signal_shares[3].sqrt() * START
    draw = model._draw_prior
    model._draw_prior = lambda n, g: end + (1 - KEPT[3]).sqrt() * draw(n, g)  # type: ignore[method-assign]
    model.sample_ddim(200_000, n_calls, seeded(), eta)
    assert len(seen) == n_calls
    for t in set(seen) - {4}:
        torch.testing.assert_close(
            seen[t].mean(0), KEPT[t - 1].sqrt() * START[0], atol=0.01, rtol=0
        )
        torch.testing.assert_close(seen[t].T.cov(), (1 - KEPT[t - 1]) * EYE, atol=0.01, rtol=0)


def test_with_all_steps_and_all_noise_it_is_ancestral_sampling() -> None:
    model, x_t = network_model(BETAS), normal(5, 2)
    for t in (2, 3, 4):
        variance = model.ddim_var(t, t - 1).squeeze()
        torch.testing.assert_close(variance, model.posterior_vars[t - 1], atol=1e-12, rtol=0)
        with torch.no_grad():
            signal, noise = model.predict_signal(x_t, t), model.predict_noise(x_t, t)
        kept = KEPT[t - 2]
        mean = kept.sqrt() * signal + (1 - kept - variance).sqrt() * noise
        exact, _ = model.q_posterior(x_t, signal, t)
        torch.testing.assert_close(mean, exact, atol=1e-12, rtol=0)


def test_the_variance_of_a_long_jump_is_that_of_bayes_rule() -> None:
    """Precisions add: that of x_s given x_0, and that of x_t as a measurement of x_s."""
    model = network_model(BETAS)
    for s, t in itertools.combinations(range(1, 5), 2):
        left = KEPT[t - 1] / KEPT[s - 1]
        exact = 1 / (1 / (1 - KEPT[s - 1]) + left / (1 - left))
        torch.testing.assert_close(model.ddim_var(t, s).squeeze(), exact, atol=1e-12, rtol=0)


def test_the_toy_density_of_the_chapter_is_normalised() -> None:
    toy = toy_density("pinwheel")
    axis = torch.linspace(-8, 8, 801, dtype=F64)
    area = toy.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.02**2
    assert float(area) == pytest.approx(1, abs=1e-3)


# --- definitions ------------------------------------------------------------------------------


class Told(nn.Module):
    """A network that was told the noise."""

    def __init__(self, noise: Tensor) -> None:
        super().__init__()
        self.register_buffer("noise", noise)

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        return self.noise


def moments_agree(draws: Tensor, mean: Tensor, variance: Tensor | float) -> bool:
    """Whether means and squared deviations from `mean` lie within 4.5 standard errors."""
    value, error = monte_carlo(draws)
    squares, squares_error = monte_carlo((draws - mean).square())
    off = ((value - mean).abs() / error, (squares - variance).abs() / squares_error)
    return bool(max(part.max() for part in off) < 4.5)


@pytest.mark.equation("def-forward-step", tolerance="4.5 standard errors")
@pytest.mark.parametrize("beta", [0.01, 0.4])
def test_a_step_shrinks_and_adds_noise(beta: float) -> None:
    """Means and variances of 100,000 steps from one point, against those printed."""
    x = torch.tensor([1.5, -2.0], dtype=F64)
    model = exact_model(constant(beta, 3))
    drawn = model.q_step(x.expand(100_000, 2), 2, seeded(3))
    assert moments_agree(drawn, math.sqrt(1 - beta) * x, beta)


@pytest.mark.equation("def-linear-schedule", tolerance="1e-15")
def test_the_linear_schedule() -> None:
    """The formula in Python's floats, and the two ends that were published for 1,000 steps."""
    for n_steps, first, last in ((1000, 0.1, 20.0), (7, 0.5, 3.0)):
        printed = [
            (first + (t - 1) / (n_steps - 1) * (last - first)) / n_steps
            for t in range(1, n_steps + 1)
        ]
        assert linear_schedule(n_steps, first, last).tolist() == pytest.approx(printed, abs=1e-15)
    assert linear_schedule(1000)[[0, -1]].tolist() == pytest.approx([1e-4, 0.02], abs=1e-15)


@pytest.mark.equation("def-cosine-schedule", tolerance="1e-12")
@pytest.mark.parametrize("offset", [0.0, 0.008, 0.3])
def test_the_cosine_schedule(offset: float) -> None:
    """The shares of the signal as printed, in Python's floats, up to the cut at the end."""

    def f(t: int) -> float:
        return math.cos((t / 40 + offset) / (1 + offset) * math.pi / 2) ** 2

    betas = cosine_schedule(40, offset, 0.9).tolist()
    printed = [1 - f(t) / f(t - 1) for t in range(1, 41)]
    assert betas == pytest.approx([min(beta, 0.9) for beta in printed], abs=1e-12)
    kept = math.prod(1 - beta for beta in betas[:30])
    assert kept == pytest.approx(f(30) / f(0), abs=1e-12)


@pytest.mark.equation("def-signal-guess", tolerance="1e-10")
@pytest.mark.parametrize("t", [1, 12, 25])
def test_who_knows_the_noise_knows_the_datum(t: int) -> None:
    """The datum itself, from a network that was told its noise."""
    x, noise = normal(50, 2, seed=1), normal(50, 2, seed=2)
    model = Diffusion(Told(noise), linear_schedule(25), 2)
    kept = math.prod(1 - beta for beta in linear_schedule(25)[:t].tolist())
    x_t = math.sqrt(kept) * x + math.sqrt(1 - kept) * noise
    torch.testing.assert_close(model.predict_signal(x_t, t), x, rtol=0, atol=1e-10)


@pytest.mark.equation("def-reverse-model", tolerance="4.5 standard errors")
@pytest.mark.parametrize("t", [1, 2, 20])
def test_a_reverse_step_takes_the_guess_for_the_datum(t: int) -> None:
    """Means and variances of 100,000 steps; precisions and means added as Bayes' rule does."""
    betas = linear_schedule(25)
    model, x_t = network_model(betas), torch.tensor([[0.7, -1.1]], dtype=F64)
    with torch.no_grad():
        guess = model.predict_noise(x_t, t)[0]
        drawn = model.reverse_step(x_t.expand(100_000, 2), t, seeded(4))
    beta, kept = float(betas[t - 1]), math.prod(1 - b for b in betas[:t].tolist())
    signal = (x_t[0] - math.sqrt(1 - kept) * guess) / math.sqrt(kept)
    mean = signal
    if t > 1:  # p(x_{t-1} | x_t, x_0) from two Gaussians in x_{t-1}
        earlier = kept / (1 - beta)
        precisions = (1 - beta) / beta, 1 / (1 - earlier)
        centres = x_t[0] / math.sqrt(1 - beta), math.sqrt(earlier) * signal
        weighted = sum(p * c for p, c in zip(precisions, centres, strict=True))
        mean = weighted / sum(precisions)
    assert moments_agree(drawn, mean, beta)


@pytest.mark.equation("def-simple-loss", tolerance="4.5 standard errors")
def test_the_simple_loss_of_the_best_guess() -> None:
    """The closed form of its error, averaged over all steps, and 200,000 data."""
    model = exact_model(linear_schedule(25))
    x = FullGaussian(MEAN, COVARIANCE).sample(200_000, seeded(5))
    bound, _ = noise_objective(model, x, seeded(6))
    betas, spread = linear_schedule(25).tolist(), np.linalg.eigvalsh(COVARIANCE.numpy())
    errors = []
    for t in range(1, 26):
        kept = math.prod(1 - beta for beta in betas[:t])
        errors.append((kept * spread / (kept * spread + 1 - kept)).sum())
    value, error = monte_carlo(bound)
    assert abs(value + np.mean(errors)) < 4.5 * error


@pytest.mark.equation("def-ddim-step", tolerance="1e-10; 4.5 standard errors with fresh noise")
@pytest.mark.parametrize("steps", [(25, 24), (25, 9), (8, 1)])
def test_a_ddim_step_from_the_true_noise(steps: tuple[int, int]) -> None:
    """The printed mixture of a datum and its noise; 100,000 draws of the fresh noise."""
    t, s = steps
    kept = np.cumprod(1 - linear_schedule(25).numpy())[[t - 1, s - 1]]
    v = (1 - kept[1]) / (1 - kept[0]) * (1 - kept[0] / kept[1])
    x, noise = normal(1, 2, seed=1), normal(1, 2, seed=2)
    x_t = math.sqrt(kept[0]) * x + math.sqrt(1 - kept[0]) * noise
    for eta in (0.0, 0.7, 1.0):
        mean = math.sqrt(kept[1]) * x + math.sqrt(1 - kept[1] - eta**2 * v) * noise
        model = Diffusion(Told(noise.expand(100_000, 2)), linear_schedule(25), 2)
        drawn = model.ddim_step(x_t.expand(100_000, 2), t, s, seeded(3), eta)
        if eta == 0:
            torch.testing.assert_close(drawn[:1], mean, rtol=0, atol=1e-10)
        else:
            assert moments_agree(drawn, mean, eta**2 * v)
