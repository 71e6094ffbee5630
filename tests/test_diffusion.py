"""Diffusion models: the chain, its bound and its samplers against closed forms."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.common import seeded
from vaebook.data import toy_density
from vaebook.diffusion import (
    BinaryDiffusion,
    Diffusion,
    GaussianNoisePredictor,
    LogOddsMLP,
    MixtureNoisePredictor,
    NoiseMLP,
    bound_objective,
    chains_at_once,
    cosine_schedule,
    linear_schedule,
    noise_objective,
)
from vaebook.gaussian import FullGaussian
from vaebook.taxonomy import BoundedDensity, TractableDensity
from vaebook.training import fit

F64 = torch.float64
nan = float("nan")


MEAN = torch.tensor([0.5, -1.0], dtype=F64)
COVARIANCE = torch.tensor([[0.8, 0.3], [0.3, 0.5]], dtype=F64)


def gaussian_model(betas, mean=MEAN, covariance=COVARIANCE, **options):
    return Diffusion(GaussianNoisePredictor(mean, covariance), betas, len(mean), **options)


def network_model(kind=Diffusion, n_features=4, n_steps=20, seed=0, **options):
    """An untrained model whose last layer is not zero, so that it guesses something."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = {Diffusion: NoiseMLP, BinaryDiffusion: LogOddsMLP}[kind](n_features, 8, 1)
        nn.init.normal_(network.last.weight, std=0.3)
    betas = linear_schedule(n_steps, 0.5, min(8, 0.8 * n_steps))
    return kind(network, betas, n_features, **options)


def exact_marginal(model):
    """Mean and covariance of x_0 under the model, for a network that is linear in x_t."""
    n = model.n_features
    mean, covariance = torch.zeros(n, dtype=F64), torch.eye(n, dtype=F64)
    basis = torch.cat([torch.zeros(1, n, dtype=F64), torch.eye(n, dtype=F64)])
    for t in range(model.n_steps, 0, -1):
        images = model._posterior_mean(basis, model.predict_signal(basis, t), t)
        slope, offset = (images[1:] - images[0]).T, images[0]
        mean = slope @ mean + offset
        noise = model.reverse_vars[t - 1] * torch.eye(n, dtype=F64)
        covariance = slope @ covariance @ slope.T + noise
    return mean, covariance


# --- schedules


def test_published_linear_schedule():
    betas = linear_schedule(1000)
    assert betas[0].item() == pytest.approx(1e-4)
    assert betas[-1].item() == pytest.approx(0.02)
    # the value in the authors' own code and papers that quote it
    assert (1 - betas).prod().item() == pytest.approx(4.0358e-5, rel=1e-4)


@pytest.mark.parametrize("n_steps", [50, 100, 1000])
def test_schedules_end_in_noise(n_steps):
    for schedule in (linear_schedule, cosine_schedule):
        betas = schedule(n_steps)
        assert betas.shape == (n_steps,)
        assert ((betas > 0) & (betas < 1)).all()
        assert (1 - betas).prod() < 1e-4


def test_cosine_schedule_follows_the_cosine():
    kept = (1 - cosine_schedule(100)).cumprod(0)
    time = torch.arange(1, 101, dtype=F64) / 100
    share = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    share = share / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(kept[:-1], share[:-1], atol=1e-12, rtol=0)  # the last one is capped


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_schedule(0), "n_steps: wanted an integer of at least 1"),
        (lambda: linear_schedule(10), "last: wanted a positive rate below"),
        (lambda: linear_schedule(100, 0.0), "first: wanted a positive rate"),
        (lambda: linear_schedule(100, nan), "first: wanted a positive rate"),
        (lambda: cosine_schedule(True), "n_steps: wanted an integer"),
        (lambda: cosine_schedule(10, -1), "offset: wanted a finite number"),
        (lambda: cosine_schedule(10, largest=1.0), "largest: wanted a number between"),
    ],
)
def test_schedules_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- forward


def test_closed_form_against_single_steps():
    model = network_model(n_features=2, n_steps=10)
    x = torch.tensor([[1.5, -0.5]]).expand(40_000, 2)
    walked = x
    for t in range(1, 8):
        walked = model.q_step(walked, t, seeded(t))
    at_once = model.q_sample(x, 7, torch.randn(x.shape, generator=seeded(99)))
    torch.testing.assert_close(walked.mean(0), at_once.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(walked.T.cov(), at_once.T.cov(), atol=0.02, rtol=0)


def test_posterior_against_bayes_on_a_grid():
    model = gaussian_model(linear_schedule(10, 0.5, 8))
    x, x_t = torch.tensor([[0.7, 0.0]], dtype=F64), torch.tensor([[-0.4, 0.0]], dtype=F64)
    grid = torch.linspace(-8, 8, 4001, dtype=F64)
    for t in (2, 5, 10):
        beta, before = model.betas[t - 1], model.signal_shares[t - 2]
        log_joint = -((grid - before.sqrt() * x[0, 0]) ** 2) / (2 * (1 - before))
        log_joint -= (x_t[0, 0] - (1 - beta).sqrt() * grid) ** 2 / (2 * beta)
        density = torch.softmax(log_joint, 0)
        mean, variance = model.q_posterior(x_t, x, t)
        expected = (density * grid).sum()
        torch.testing.assert_close(mean[0, 0], expected, atol=1e-9, rtol=0)
        spread = (density * (grid - expected) ** 2).sum()
        torch.testing.assert_close(variance[0, 0], spread, atol=1e-9, rtol=0)


def test_steps_may_differ_by_row():
    model = network_model()
    x, noise = torch.randn(2, 3, 4, generator=seeded())
    together = model.q_sample(x, torch.tensor([1, 7, 20]), noise)
    one_by_one = [model.q_sample(x[i : i + 1], t, noise[i : i + 1]) for i, t in ((0, 1), (1, 7))]
    torch.testing.assert_close(together[:2], torch.cat(one_by_one))


# --- the exact noise of Gaussian data


def test_gaussian_noise_is_the_conditional_expectation():
    model = gaussian_model(linear_schedule(10, 0.5, 8))
    x = FullGaussian(MEAN, COVARIANCE).sample(200_000, seeded())
    noise = torch.randn(x.shape, generator=seeded(1), dtype=F64)
    x_t = model.q_sample(x, 4, noise)
    # of all linear functions, the regression of the noise on x_t is the best
    inputs = torch.cat([x_t, torch.ones(len(x), 1, dtype=F64)], 1)
    regression = inputs @ torch.linalg.lstsq(inputs, noise).solution
    torch.testing.assert_close(model.predict_noise(x_t, 4), regression, atol=0.02, rtol=0)


def test_score_of_gaussian_data():
    model = gaussian_model(linear_schedule(10, 0.5, 8))
    x_t = torch.randn(5, 2, generator=seeded(), dtype=F64).requires_grad_()
    share = model.signal_shares[3]
    covariance = share * COVARIANCE + (1 - share) * torch.eye(2, dtype=F64)
    density = FullGaussian(share.sqrt() * MEAN, covariance)
    (gradient,) = torch.autograd.grad(density.log_prob(x_t).sum(), x_t)
    torch.testing.assert_close(model.score(x_t, 4), gradient, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (torch.zeros(2), torch.eye(3), "covariance: wanted shape"),
        (torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]]), "covariance: wanted a symmetric"),
        (torch.zeros(2), -torch.eye(2), "covariance: wanted a symmetric"),
        (torch.zeros(2, 1), torch.eye(2), "mean: wanted a tensor of 1"),
    ],
)
def test_gaussian_predictor_refuses(mean, covariance, message):
    with pytest.raises(ValueError, match=message):
        GaussianNoisePredictor(mean, covariance)


def test_one_component_is_the_gaussian_predictor():
    x, level = torch.randn(5, 2, generator=seeded(), dtype=F64), torch.tensor([[-0.7]], dtype=F64)
    one = torch.ones(1, dtype=F64)
    mixture = MixtureNoisePredictor(one, MEAN[None], COVARIANCE[None])
    torch.testing.assert_close(
        mixture(x, level), GaussianNoisePredictor(MEAN, COVARIANCE)(x, level)
    )


@pytest.mark.parametrize(
    ("weights", "means", "message"),
    [
        (torch.tensor([0.5, 0.6]), torch.zeros(2, 2), "weights: wanted positive numbers"),
        (torch.tensor([1.5, -0.5]), torch.zeros(2, 2), "weights: wanted positive numbers"),
        (torch.tensor([0.5, 0.5]), torch.zeros(3, 2), "means, covariances: wanted 2 of each"),
    ],
)
def test_mixture_predictor_refuses(weights, means, message):
    with pytest.raises(ValueError, match=message):
        MixtureNoisePredictor(weights, means, torch.eye(2).expand(2, 2, 2))


# --- the bound


def test_standard_normal_data_leave_no_gap():
    """With the variances beta and the exact noise, the reverse chain is the true one."""
    model = gaussian_model(
        linear_schedule(30), torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64), variance="beta"
    )
    x = torch.randn(6, 2, generator=seeded(), dtype=F64)
    exact = FullGaussian(torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64)).log_prob(x)
    # every importance weight is p(x): no error at all, from one chain
    torch.testing.assert_close(model.log_prob_estimate(x, 1, seeded()), exact, atol=1e-10, rtol=0)
    bound = torch.stack([model.elbo(x, seeded(i)) for i in range(400)])
    error = bound.std(0) / 20
    assert ((bound.mean(0) - exact).abs() < 4.5 * error).all()


def test_the_bound_of_many_steps_reaches_the_density():
    density = FullGaussian(MEAN, COVARIANCE)
    x = density.sample(20_000, seeded())
    gaps, errors = [], []
    for betas in (torch.full((8,), 0.6, dtype=F64), linear_schedule(30), linear_schedule(300)):
        model = gaussian_model(betas)
        gap = density.log_prob(x) - model.elbo(x, seeded(1))
        gaps.append(float(gap.mean()))
        errors.append(float(gap.std()) / len(x) ** 0.5)
    assert gaps[0] > gaps[1] + 10 * errors[0]
    assert abs(gaps[2]) < 4.5 * errors[2] < 0.06


def test_the_posterior_variance_leaves_a_gap_that_no_number_of_steps_closes():
    """Sum over t of ½ (1/t - log(1 + 1/t)) for each feature: ½ of Euler's constant."""
    x = FullGaussian(MEAN, COVARIANCE).sample(20_000, seeded())
    bounds = []
    for variance in ("posterior", "beta"):
        model = gaussian_model(torch.full((400,), 0.0005, dtype=F64), variance=variance)
        bounds.append(model.elbo(x, seeded(1)).mean())
    assert float(bounds[1] - bounds[0]) == pytest.approx(0.5772, abs=0.03)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_bound_and_estimate_against_the_exact_marginal(variance):
    model = gaussian_model(linear_schedule(25), variance=variance)
    x = FullGaussian(MEAN, COVARIANCE).sample(20, seeded())
    exact = FullGaussian(*exact_marginal(model)).log_prob(x)
    bound = torch.stack([model.elbo(x, seeded(i)) for i in range(300)])
    assert (bound.mean(0) - 4.5 * bound.std(0) / 300**0.5 < exact).all()
    estimate = model.log_prob_estimate(x, 4000, seeded())
    torch.testing.assert_close(estimate, exact, atol=0.2, rtol=0)
    assert bound.mean() < estimate.mean()
    drawn = model.sample(40_000, seeded(5))
    mean, covariance = exact_marginal(model)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), covariance, atol=0.02, rtol=0)


def test_fitted_variances_are_the_true_ones():
    """Isotropic Gaussian data: the reverse step is Gaussian, with a variance known by Bayes."""
    spread = 0.3
    model = gaussian_model(linear_schedule(30), MEAN, spread * torch.eye(2, dtype=F64))
    x = FullGaussian(MEAN, spread * torch.eye(2, dtype=F64)).sample(200_000, seeded())
    assert model.fit_variances(x, seeded(1)) is model
    before = torch.cat([torch.ones(1, dtype=F64), model.signal_shares[:-1]])
    prior = before * spread + 1 - before  # variance of x_{t-1}
    exact = 1 / (1 / prior + (1 - model.betas) / model.betas)
    torch.testing.assert_close(model.reverse_vars, exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("n_steps", [1, 2])
def test_short_chains(n_steps):
    model = gaussian_model(torch.full((n_steps,), 0.5, dtype=F64))
    terms = model.elbo_terms(MEAN.expand(3, 2), seeded())
    assert terms.kl.shape == (n_steps - 1, 3)
    assert model.elbo(MEAN.expand(3, 2), seeded()).shape == (3,)
    assert model.log_prob_estimate(MEAN.expand(3, 2), 10, seeded()).shape == (3,)
    assert model.sample(3, seeded()).shape == (3, 2)


def test_binary_probabilities_sum_to_one():
    model = network_model(BinaryDiffusion, n_features=3, n_steps=5)
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    estimate = model.log_prob_estimate(x, 20_000, seeded())
    assert estimate.exp().sum().item() == pytest.approx(1, abs=0.01)
    frequency = model.sample(40_000, seeded(1)) @ torch.tensor([4.0, 2.0, 1.0])
    counts = torch.bincount(frequency.int(), minlength=8) / 40_000
    torch.testing.assert_close(counts, estimate.exp(), atol=0.01, rtol=0)
    with torch.no_grad():
        bound = torch.stack([model.elbo(x, seeded(i)) for i in range(300)])
    assert (bound.mean(0) < estimate + 4.5 * bound.std(0) / 300**0.5).all()


def test_the_expected_binary_datum_is_exact_for_independent_pixels():
    """A network that says nothing but the prior log-odds is then the best one."""
    prior = torch.tensor([0.2, 0.7], dtype=F64)

    class Prior(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("log_odds", torch.logit(prior) / 2)

        def forward(self, x, log_snr):
            return self.log_odds.expand_as(x)

    model = BinaryDiffusion(Prior(), linear_schedule(10, 0.5, 8), 2)
    x_t = torch.randn(6, 2, generator=seeded(), dtype=F64)
    share = model.signal_shares[4]
    lit, dark = (
        p * torch.exp(-((x_t - sign * share.sqrt()) ** 2) / (2 * (1 - share)))
        for p, sign in ((prior, 1), (1 - prior, -1))
    )
    torch.testing.assert_close(model.predict_signal(x_t, 5), (lit - dark) / (lit + dark))


def test_estimate_does_not_depend_on_pieces(monkeypatch):
    model = gaussian_model(linear_schedule(25))
    x = FullGaussian(MEAN, COVARIANCE).sample(3, seeded())
    whole = model.log_prob_estimate(x, 7, seeded())
    weights = model.log_weights(x, 7, seeded())
    torch.testing.assert_close(whole, weights.logsumexp(0) - math.log(7))
    exact = FullGaussian(*exact_marginal(model)).log_prob(x)
    for n_chains in (6, 2):  # 200 pairs of each datum and a single one; two data and the third
        monkeypatch.setattr("vaebook.diffusion._CPU_CHAINS", n_chains)
        sizes = note_sizes(model, monkeypatch)
        in_pieces = model.log_prob_estimate(x, 401, seeded())
        torch.testing.assert_close(in_pieces, exact, atol=0.15, rtol=0)
        assert max(sizes) == n_chains


def note_sizes(model, monkeypatch):
    """Return a list that receives how many chains run together."""
    sizes, log_weights = [], model._log_weights

    def note(signal, k, generator):
        sizes.append(len(signal) * k)
        return log_weights(signal, k, generator)

    monkeypatch.setattr(model, "_log_weights", note)
    return sizes


def test_a_gpu_runs_more_chains_together_by_the_size_of_a_datum():
    on_gpu = [torch.empty(3, n, device="meta") for n in (2, 784, 2**25)]
    assert [chains_at_once(x) for x in on_gpu] == [50_000, 2**26 // (4 * 784), 1]
    assert chains_at_once(torch.empty(3, 2)) == 2000


# --- objectives


@pytest.mark.parametrize("kind", [Diffusion, BinaryDiffusion])
def test_one_random_step_estimates_the_bound(kind):
    model = network_model(kind, n_steps=10)
    x = (torch.rand(1, 4, generator=seeded()) < 0.5).float().expand(20_000, 4)
    with torch.no_grad():
        one, _ = bound_objective(model, x, generator=seeded(1))
        every = model.elbo(x, seeded(2))
    error = math.hypot(one.std() / len(x) ** 0.5, every.std() / len(x) ** 0.5)
    assert abs(one.mean() - every.mean()) < 4.5 * error


def test_the_simple_loss_is_the_error_of_the_noise():
    model = network_model(n_steps=10)
    x = torch.randn(20_000, 4, generator=seeded())
    with torch.no_grad():
        loss, terms = noise_objective(model, x, generator=seeded(1))
        by_step = []
        for t in range(1, 11):
            noise = torch.randn(x.shape, generator=seeded(t + 1))
            error = noise - model.predict_noise(model.q_sample(x, t, noise), t)
            by_step.append(error.square().sum(-1).mean())
    torch.testing.assert_close(terms["squared_error"], -loss)
    assert -loss.mean() == pytest.approx(float(torch.stack(by_step).mean()), rel=0.02)


def test_random_steps_are_spread_evenly():
    from vaebook.diffusion import _random_steps

    model = network_model(n_steps=20)
    steps = _random_steps(model, torch.zeros(100, 4), seeded())
    assert torch.bincount(steps, minlength=21)[1:].min() >= 4
    assert not torch.equal(steps, steps.sort().values)


def test_training_lowers_both_losses():
    points = toy_density("ring").sample(2000, seeded())
    for objective in (noise_objective, bound_objective):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Diffusion(NoiseMLP(2, 32, 1), linear_schedule(50), 2)
        history = fit(model, points, objective, epochs=10, lr=1e-2, amp=False, progress=False)
        bounds = history.train["bound"]
        assert bounds[-1] > bounds[0] + 0.1


# --- samplers


def test_ddim_with_all_the_noise_is_ancestral_sampling():
    """In law: up to the last step, which takes the mean where ancestral sampling adds beta_1."""
    model = gaussian_model(linear_schedule(25), variance="posterior")
    mean, covariance = exact_marginal(model)
    without_last_noise = covariance - model.betas[0] * torch.eye(2, dtype=F64)
    drawn = model.sample_ddim(60_000, 25, seeded(), eta=1.0)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), without_last_noise, atol=0.02, rtol=0)


def test_ddim_variance_of_neighbours_is_the_posterior_variance():
    model = gaussian_model(linear_schedule(25))
    for t in (2, 10, 25):
        torch.testing.assert_close(model.ddim_var(t, t - 1)[0, 0], model.posterior_vars[t - 1])


def test_deterministic_ddim_uses_no_noise_after_the_first():
    model = network_model()
    generator = seeded()
    model.sample_ddim(5, 7, generator)
    reference = seeded()
    torch.randn(5, 4, generator=reference)
    assert torch.equal(generator.get_state(), reference.get_state())


def test_few_deterministic_steps_keep_gaussian_data():
    """The exact noise, 100 steps of 1000: the covariance comes back almost exactly."""
    model = gaussian_model(linear_schedule(1000))
    drawn = model.sample_ddim(50_000, 100, seeded())
    torch.testing.assert_close(drawn.T.cov(), COVARIANCE, atol=0.03, rtol=0)


def test_binary_samples_are_binary():
    model = network_model(BinaryDiffusion)
    for drawn in (model.sample(5, seeded()), model.sample_ddim(5, 3, seeded())):
        assert drawn.shape == (5, 4)
        assert ((drawn == 0) | (drawn == 1)).all()


# --- the door


def test_branch_of_the_taxonomy():
    model = network_model()
    assert isinstance(model, BoundedDensity)
    assert not isinstance(model, TractableDensity)


def test_buffers_follow_the_network():
    assert network_model().betas.dtype == torch.float32
    assert gaussian_model(linear_schedule(25)).betas.dtype == F64

    class Nothing(nn.Module):
        def forward(self, x, log_snr):
            return torch.zeros_like(x)

    assert Diffusion(Nothing(), linear_schedule(25), 2).betas.dtype == F64


X = torch.zeros(3, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NoiseMLP(0), "n_features: wanted an integer of at least 1"),
        (lambda: NoiseMLP(2, 0), "width: wanted"),
        (lambda: NoiseMLP(2, n_blocks=-1), "n_blocks: wanted"),
        (lambda: Diffusion(NoiseMLP(2), torch.tensor([0.1, 1.0]), 2), "betas: wanted at least one"),
        (lambda: Diffusion(NoiseMLP(2), torch.tensor([0.0]), 2), "betas: wanted at least one"),
        (lambda: Diffusion(NoiseMLP(2), torch.zeros(0), 2), "betas: wanted at least one"),
        (lambda: Diffusion(NoiseMLP(2), torch.ones(1, 1), 2), "betas: wanted a tensor of 1"),
        (lambda: Diffusion(NoiseMLP(2), linear_schedule(), 0), "n_features: wanted"),
        (lambda: network_model(variance="mine"), "variance: wanted one of"),
        (lambda: network_model().elbo(X[:, :3]), "x: wanted 4 columns"),
        (lambda: network_model().elbo(X * nan), "x: wanted finite"),
        (lambda: network_model(BinaryDiffusion).elbo(X + 0.5), "x: wanted pixels of 0 and 1"),
        (lambda: network_model().q_sample(X, 0, X), "t: wanted an integer of at least 1"),
        (lambda: network_model().q_sample(X, 21, X), "t: wanted a step from 1 to 20"),
        (lambda: network_model().q_sample(X, torch.tensor([1, 2, 21]), X), "t: wanted steps from"),
        (lambda: network_model().q_sample(X, 1, X[:, :2]), "noise: wanted 4 columns"),
        (lambda: network_model().log_prob_estimate(X, 0), "k: wanted an integer"),
        (lambda: network_model().log_weights(X, 0), "k: wanted an integer"),
        (lambda: network_model().sample(0), "n: wanted an integer"),
        (lambda: network_model().sample_ddim(1, 0), "n_steps: wanted an integer"),
        (lambda: network_model().sample_ddim(1, 21), "n_steps: wanted at most the model's 20"),
        (lambda: network_model().sample_ddim(1, 3, eta=1.5), "eta: wanted a number from 0 to 1"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- what people really bring --------------------------------------------------------------------


def test_another_precision_is_named():
    model = Diffusion(NoiseMLP(2, width=8), linear_schedule(30), 2)
    x = torch.zeros(3, 2, dtype=torch.float64)
    calls = {
        "x": (model.elbo, lambda x: noise_objective(model, x), model.log_prob_estimate),
        "x_t": (lambda x: model.predict_noise(x, 3), lambda x: model.reverse_step(x, 3)),
    }
    for argument, those in calls.items():
        for call in those:
            with pytest.raises(
                ValueError, match=rf"^{argument}: wanted torch.float32, as the model"
            ):
                call(x)


def test_a_network_in_half_precision_keeps_the_schedule():
    """The schedule, and so the bound, stays in single precision: within the network's rounding."""
    torch.manual_seed(0)
    single, half = (Diffusion(n, linear_schedule(30), 2) for n in two_networks())
    x = torch.tensor([[0.5, -1.0], [2.0, 0.25]])
    assert half.betas.dtype == torch.float32
    bounds = half.elbo(x.bfloat16(), seeded())
    assert bounds.dtype == torch.float32
    torch.testing.assert_close(bounds, single.elbo(x, seeded()), rtol=0.02, atol=0.02)
    assert half.sample(3, seeded()).isfinite().all()


def two_networks():
    network = NoiseMLP(2, width=8)
    return network, copy.deepcopy(network).bfloat16()


@pytest.mark.parametrize("kind", [Diffusion, BinaryDiffusion])
def test_a_chain_of_one_step(kind):
    network = NoiseMLP(2, width=8) if kind is Diffusion else LogOddsMLP(2, width=8)
    model = kind(network, linear_schedule(1, 0.1, 0.5), 2)
    x = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    bound, _ = bound_objective(model, x, seeded())
    assert bound.isfinite().all()
    torch.testing.assert_close(bound.shape, model.elbo(x).shape)
    bound.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert model.fit_variances(x).reverse_vars.isfinite().all()
    assert model.sample(np.int64(2)).shape == model.sample_ddim(2, np.int64(1)).shape == (2, 2)


def test_no_divergence_of_a_step_is_negative():
    """Where the posterior's variance is the model's: the divergence is the squared error alone."""
    for n_steps in (30, 1000):
        model = Diffusion(NoiseMLP(1, width=4), linear_schedule(n_steps), 1, variance="posterior")
        noise = torch.randn(50, 1, generator=seeded())
        for t in (2, 3, n_steps):
            assert (model._step_kl(noise, noise, t) >= 0).all()
        assert (model._prior_kl(torch.zeros(5, 1)) >= 0).all()
