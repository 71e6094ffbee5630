"""Each statement of the chapter on training, both sides, against something independent."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor, nn

from tests.common import F64, all_images, seeded
from vaebook.data import dynamic_binarization
from vaebook.gaussian import LinearGaussian, log_normal, reparameterize
from vaebook.likelihoods import Bernoulli, Gaussian, bits_per_dimension
from vaebook.priors import StandardNormal
from vaebook.training import fit
from vaebook.vae import VAE, Encoder, elbo_objective, mlp_vae, set_output_bias


def image_frequencies(drawn: Tensor) -> Tensor:
    """Share of each image of :func:`all_images` among the rows of `drawn`."""
    n_pixels = drawn.shape[1]
    number = (drawn @ 2.0 ** torch.arange(n_pixels - 1, -1, -1, dtype=drawn.dtype)).long()
    return torch.bincount(number, minlength=2**n_pixels) / len(drawn)


def binary_entropy(p: float) -> float:
    return 0.0 if p in (0.0, 1.0) else -p * math.log(p) - (1 - p) * math.log(1 - p)


@pytest.mark.equation("eq-binarization-floor", tolerance="1e-12")
def test_no_distribution_is_below_the_entropy_of_the_binarization() -> None:
    """Enumeration of all 16 images of four pixels, under many distributions and the best one."""
    levels = torch.tensor([0, 51, 128, 255], dtype=torch.uint8)
    grey = levels.double() / 255
    images = all_images(4)
    draw = torch.where(images == 1, grey, 1 - grey).prod(1)  # p(x|g)
    floor = sum(binary_entropy(g) for g in grey.tolist())
    for seed in range(50):
        p = torch.rand(16, generator=seeded(seed), dtype=F64) + 1e-6
        assert -(draw * (p / p.sum()).log()).sum() > floor
    itself = -torch.special.xlogy(draw, draw).sum()
    assert math.isclose(itself, floor, abs_tol=1e-12)
    drawn = dynamic_binarization(levels.expand(200_000, 4), seeded()).double()
    error = (draw * (1 - draw) / len(drawn)).sqrt()
    assert ((image_frequencies(drawn) - draw).abs() <= 5 * error).all()


@pytest.mark.equation("eq-initial-bound", tolerance="1e-10")
@pytest.mark.parametrize("n_pixels", [1, 30, 784])
def test_zero_network_costs_a_fair_coin_for_each_pixel(n_pixels: int) -> None:
    """The number of binary images: each must have the probability 2 to the minus D."""
    vae = mlp_vae(n_pixels=n_pixels, n_latents=3, hidden=(5,)).double()
    with torch.no_grad():
        for network in (vae.encoder.network, vae.decoder):
            network[-1].weight.zero_()
            network[-1].bias.zero_()
    x = torch.bernoulli(torch.full((6, n_pixels), 0.3, dtype=F64), generator=seeded())
    with torch.no_grad():
        loss = -vae.elbo(x, seeded())
    expected = torch.full((6,), n_pixels * math.log(2), dtype=F64)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)


@pytest.mark.equation("eq-output-bias", tolerance="1e-6 for the logits, 1e-10 for the value")
def test_best_constant_logits_are_those_of_the_mean_image() -> None:
    """A numerical minimiser that knows nothing of the formula."""
    x = torch.bernoulli(torch.tensor([0.1, 0.4, 0.8], dtype=F64).expand(40, 3), generator=seeded())
    mean = x.mean(0)
    assert ((mean > 0) & (mean < 1)).all()

    def cost(b: np.ndarray) -> float:
        return float(-Bernoulli().log_prob(x, torch.from_numpy(b).expand_as(x)).mean())

    found = optimize.minimize(
        cost,
        np.zeros(3),
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-15, "maxiter": 5000},
    )
    logits = [math.log(m / (1 - m)) for m in mean.tolist()]
    np.testing.assert_allclose(found.x, logits, atol=1e-6)
    assert math.isclose(found.fun, sum(map(binary_entropy, mean.tolist())), abs_tol=1e-10)
    vae = mlp_vae(n_pixels=3, n_latents=2, hidden=(4,)).double()
    set_output_bias(vae, mean)
    np.testing.assert_allclose(vae.decoder[-1].bias.detach(), logits, atol=1e-12)


class Constant(nn.Module):
    """An encoder whose codes are a table: one row of mean and log-variance for each datum."""

    def __init__(self, mean: list[float], log_var: list[float]) -> None:
        super().__init__()
        self.table = torch.tensor([mean, log_var], dtype=F64).T

    def forward(self, x: Tensor) -> Tensor:
        return self.table[x[:, 0].round().long()]  # the first pixel names the datum


@pytest.mark.equation("eq-minibatch-unbiased", tolerance="1e-10")
@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_average_over_batches_and_noise_is_the_average_bound(batch_size: int) -> None:
    """All 120 orders of five data, quadrature over the noise, and the bound in closed form."""
    linear = LinearGaussian(
        torch.tensor([[1.0], [-0.5]], dtype=F64), torch.tensor([0.2, 0.1], dtype=F64), 0.6
    )
    x = torch.randn(5, 2, generator=seeded(), dtype=F64)
    mean = torch.linspace(-1, 1, 5, dtype=F64)[:, None]
    log_var = torch.linspace(-2, 0.5, 5, dtype=F64)[:, None]
    exact = torch.stack(
        [
            linear.elbo(x[n : n + 1], mean[n : n + 1], log_var[n].exp().diag()).squeeze()
            for n in range(5)
        ]
    ).mean()

    # quadrature over the noise of each datum: exact for the square in log p(x|z)
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    likelihood = Gaussian(math.sqrt(linear.noise_var))
    noise = torch.from_numpy(nodes)[:, None, None]
    z = mean + torch.exp(0.5 * log_var) * noise
    one_draw = likelihood.log_prob(x, z @ linear.weight.T + linear.mean)
    kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(-1)
    estimate = torch.from_numpy(weights / weights.sum()) @ one_draw - kl

    first, last = [], []  # batches of one order; the last one may be smaller
    for order in itertools.permutations(range(5)):
        batches = estimate[list(order)].split(batch_size)
        first.append(batches[0].mean())
        last.append(batches[-1].mean())
    assert math.isclose(torch.stack(first).mean(), exact, abs_tol=1e-10)
    assert math.isclose(torch.stack(last).mean(), exact, abs_tol=1e-10)


@pytest.mark.equation("eq-one-cycle", tolerance="1e-9")
@pytest.mark.parametrize("n_steps", [10, 50, 1000])
def test_schedule_is_that_of_pytorch(n_steps: int) -> None:
    """PyTorch's OneCycleLR with its defaults, step by step, and the rates that fit reports."""
    peak = 3e-3

    def rate(t: int) -> float:
        turn = 0.3 * n_steps - 1

        def c(u: float) -> float:
            return (1 - math.cos(math.pi * u)) / 2

        if t <= turn:
            return peak / 25 + (peak - peak / 25) * c(t / turn)
        return peak - (peak - peak / 250_000) * c((t - turn) / (0.7 * n_steps))

    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, n_steps)
    for t in range(n_steps):
        assert math.isclose(scheduler.get_last_lr()[0], rate(t), rel_tol=1e-9, abs_tol=1e-12)
        optimizer.step()
        if t < n_steps - 1:
            scheduler.step()

    if n_steps == 10:
        x = torch.bernoulli(torch.full((8, 6), 0.5), generator=seeded())
        vae = mlp_vae(n_pixels=6, n_latents=1, hidden=(3,))
        history = fit(vae, x, elbo_objective, epochs=5, batch_size=4, lr=peak)
        expected = [rate(2 * epoch) for epoch in range(1, 5)]
        np.testing.assert_allclose(history.learning_rate[:-1], expected, rtol=1e-9)


GRID = torch.linspace(-12, 12, 4001, dtype=F64)[:, None]


def small_vae() -> VAE:
    """One latent dimension, three pixels; data are told apart by the first pixel."""
    decoder = nn.Linear(1, 3).double()
    with torch.no_grad():
        decoder.weight.copy_(torch.tensor([[2.0], [-1.5], [0.7]]))
        decoder.bias.copy_(torch.tensor([0.3, -0.4, 0.9]))
    encoder = Encoder(Constant([-1.5, 0.8], [-1.0, -2.0]))
    return VAE(encoder, decoder, Bernoulli(), StandardNormal(1).double())


def marginal(vae: VAE, log_density: Tensor) -> Tensor:
    """Integral of p(x|z) times a density over z, for every image, by the trapezoidal rule."""
    with torch.no_grad():
        probability = torch.sigmoid(vae.decoder(GRID))
    images = all_images(3)[:, None]
    likelihood = torch.where(images == 1, probability, 1 - probability).prod(-1)
    return torch.trapezoid(likelihood * log_density.exp(), GRID[:, 0])


def assert_frequencies(drawn: Tensor, expected: Tensor) -> None:
    error = (expected * (1 - expected) / len(drawn)).sqrt()
    assert ((image_frequencies(drawn) - expected).abs() < 5 * error).all()


@pytest.mark.equation("eq-ancestral-marginal", tolerance="5 standard errors")
def test_ancestral_samples_follow_the_evidence() -> None:
    """Quadrature for each of the 8 images of three pixels, against 400,000 samples."""
    vae = small_vae()
    expected = marginal(vae, -0.5 * (GRID[:, 0].square() + math.log(2 * math.pi)))
    assert math.isclose(expected.sum(), 1, abs_tol=1e-9)
    assert_frequencies(vae.sample(400_000, seeded()), expected)


@pytest.mark.equation("eq-reconstruction-marginal", tolerance="5 standard errors")
def test_encoding_and_decoding_follows_the_aggregate_posterior() -> None:
    """Quadrature for each of the 8 images, against 400,000 data encoded, decoded and drawn."""
    vae = small_vae()
    data = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], dtype=F64)
    with torch.no_grad():
        mean, log_var = vae.encode(data)
        each = [log_normal(GRID, m, v) for m, v in zip(mean, log_var, strict=True)]
        expected = marginal(vae, torch.logaddexp(*each) - math.log(2))
        chosen = torch.randint(2, (400_000,), generator=seeded())
        z = reparameterize(*vae.encode(data[chosen]), seeded(1))
        drawn = vae.likelihood.sample(vae.decoder(z), seeded(2))
    assert_frequencies(drawn, expected)
    # and this is not how new data are generated
    from_prior = marginal(vae, -0.5 * (GRID[:, 0].square() + math.log(2 * math.pi)))
    assert (expected - from_prior).abs().max() > 0.05


@pytest.mark.equation("eq-half-given-half", tolerance="1e-9")
def test_what_is_hidden_given_what_is_seen() -> None:
    """Enumeration of all 8 images of three pixels, the first two of which are seen."""
    vae = small_vae()
    log_prior = log_normal(GRID, torch.zeros(1, dtype=F64), torch.zeros(1, dtype=F64))
    whole = marginal(vae, log_prior)
    expected = whole / whole.view(4, 2).sum(1).repeat_interleave(2)
    images, weights = all_images(3), log_prior.exp() / log_prior.exp().sum()
    with torch.no_grad():
        logits = vae.decoder(GRID)
        seen, hidden = (
            Bernoulli().log_prob(images[:, None, part], logits[:, part]).exp()
            for part in (slice(2), slice(2, 3))
        )
    right = (seen * hidden) @ weights / (seen @ weights)
    torch.testing.assert_close(right, expected, rtol=0, atol=1e-9)


@pytest.mark.equation("eq-aggregate-variance", tolerance="1e-9")
def test_variance_of_a_mixture_of_codes() -> None:
    """Quadrature of the first two moments of the mixture itself."""
    mean = torch.tensor([-2.0, 0.1, 0.5, 1.9], dtype=F64)[:, None]
    log_var = torch.tensor([-3.0, 0.0, -1.0, -0.5], dtype=F64)[:, None]
    each = torch.stack([log_normal(GRID, m, v) for m, v in zip(mean, log_var, strict=True)])
    density = each.exp().mean(0)
    first = torch.trapezoid(density * GRID[:, 0], GRID[:, 0])
    second = torch.trapezoid(density * GRID[:, 0].square(), GRID[:, 0])
    claimed = mean.var(0, correction=0) + log_var.exp().mean(0)
    assert math.isclose(second - first.square(), claimed.item(), abs_tol=1e-9)


# --- definitions ------------------------------------------------------------------------------


@pytest.mark.equation("def-dynamic-binarization", tolerance="4.5 standard errors")
def test_pixels_are_drawn_independently_with_the_grey_level() -> None:
    """Shares of all 16 images of four grey pixels, in 100,000 draws."""
    levels = torch.tensor([51, 128, 230, 12], dtype=torch.uint8)
    drawn = dynamic_binarization(levels.expand(100_000, 4), seeded(1))
    grey = levels.double() / 255
    printed = torch.where(all_images(4) == 1, grey, 1 - grey).prod(1)
    error = (printed * (1 - printed) / 100_000).sqrt()
    assert ((image_frequencies(drawn) - printed).abs() < 4.5 * error).all()


@pytest.mark.equation("def-minibatch-estimate", tolerance="1e-5 nats")
def test_the_loss_of_a_batch_is_the_mean_over_it() -> None:
    """What `fit` records of one step without a rate, beside PyTorch's bounds at the same draws."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = mlp_vae(n_pixels=6, n_latents=2, hidden=(5,))
    x = torch.bernoulli(torch.full((8, 6), 0.4), generator=seeded(2))
    seen: list[Tensor] = []

    def objective(
        model: VAE, batch: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        state = generator.get_state()
        bound, terms = elbo_objective(model, batch, generator)
        again = torch.Generator().manual_seed(0)
        again.set_state(state)
        with torch.no_grad():
            mean, log_var = model.encode(batch)
            logits = model.decoder(reparameterize(mean, log_var, again))
            log_p = torch.distributions.Bernoulli(logits=logits).log_prob(batch).sum(1)
            q = torch.distributions.Normal(mean, torch.exp(0.5 * log_var))
            prior = torch.distributions.Normal(0.0, 1.0)
            if model.training:  # and not in a look at the rows before or after the step
                seen.append(log_p - torch.distributions.kl_divergence(q, prior).sum(1))
        return bound, terms

    quiet = {"progress": False, "device": "cpu", "amp": False}
    history = fit(vae, x, objective, epochs=1, batch_size=8, lr=1e-9, **quiet)
    (of_the_step,) = seen
    printed = sum(of_the_step.tolist()) / 8
    assert history.train["bound"][0] == pytest.approx(printed, abs=1e-5)


@pytest.mark.equation("def-bits", tolerance="1e-12")
def test_nats_as_bits() -> None:
    """NumPy's logarithm to the base 2 of a probability, from that to the base e."""
    log_p = -50 * torch.rand(20, generator=seeded(3), dtype=F64)
    printed = -np.log2(np.exp(log_p.numpy()))
    np.testing.assert_allclose(bits_per_dimension(log_p, 1), printed, rtol=0, atol=1e-12)


@pytest.mark.equation("def-kl-warmup", tolerance="1e-12")
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_weight_of_a_warm_up(share: float) -> None:
    """The weights that an objective is given in twelve steps, and one for the rest."""
    weights: list[float] = []

    def objective(
        model: VAE, x: Tensor, generator: torch.Generator, beta: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if model.training:  # and not in a look at the rows before or after the steps
            weights.append(float(beta))
        return elbo_objective(model, x, generator, beta)

    x = torch.bernoulli(torch.full((20, 6), 0.4), generator=seeded(4))
    quiet = {"progress": False, "device": "cpu", "amp": False}
    model = mlp_vae(n_pixels=6, n_latents=2, hidden=(5,))
    fit(model, x, objective, epochs=3, batch_size=5, kl_warmup=share, **quiet)
    printed = [min(1.0, t / (share * 12)) for t in range(12)]
    assert weights == pytest.approx(printed, abs=1e-12)
