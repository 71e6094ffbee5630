"""Each statement of the chapter on latent variables, against something independent."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from tests.common import F64, normals, seeded
from vaebook.autoencoder import mlp_autoencoder
from vaebook.gaussian import LinearGaussian, kl_full, log_normal
from vaebook.judge import Judge, train_judge
from vaebook.likelihoods import Bernoulli, Gaussian
from vaebook.networks import interpolate
from vaebook.vae import VAE, mlp_vae

WORLD = LinearGaussian(normals(5, 2), normals(5, seed=1), 0.4)


def vae_of(n_pixels: int, n_latents: int, scale: float = 3.0) -> VAE:
    """Make a small VAE whose weights are large enough for its decoder to bend."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = mlp_vae(n_pixels, n_latents, hidden=(6,)).double()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(scale)
    return model


# --- hidden causes ----------------------------------------------------------------------------


@pytest.mark.equation("eq-common-cause", tolerance="4.5 standard errors")
def test_a_common_cause_correlates_what_it_acts_on() -> None:
    """The spread of 200,000 data of the package's model, and of data with one z for all."""
    x = WORLD.sample(200_000, seeded(2))
    centred = x - x.mean(0)
    for i, j in itertools.combinations(range(5), 2):
        products = centred[:, i] * centred[:, j]
        printed = (WORLD.weight[i] * WORLD.weight[j]).sum()
        error = products.std() / math.sqrt(len(x))
        assert (products.mean() - printed).abs() < 4.5 * error
    # one z for all data: a model without latent variation, its mean moved to W z + m
    mean = WORLD.weight @ torch.tensor([1.0, -0.5], dtype=F64) + WORLD.mean
    fixed = LinearGaussian(torch.zeros(5, 1, dtype=F64), mean, WORLD.noise_var)
    correlation = torch.corrcoef(fixed.sample(200_000, seeded(3)).T)
    assert (correlation - torch.eye(5)).abs().max() < 4.5 / math.sqrt(200_000)


@pytest.mark.equation("eq-posterior-coverage", tolerance="4.5 standard errors")
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_posterior_holds_what_it_promises(share: float) -> None:
    """The share of 100,000 known causes inside the package's posterior ellipses."""
    z, noise = normals(100_000, 2, seed=4), normals(100_000, 5, seed=5)
    x = z @ WORLD.weight.T + WORLD.mean + math.sqrt(WORLD.noise_var) * noise
    mean, covariance = WORLD.posterior(x)
    distance = ((z - mean) * torch.linalg.solve(covariance, (z - mean).T).T).sum(1)
    inside = (distance <= stats.chi2(2).ppf(share)).double().mean()
    assert abs(float(inside) - share) < 4.5 * math.sqrt(share * (1 - share) / 100_000)


@pytest.mark.equation("eq-rotation", tolerance="1e-10")
def test_rotated_causes_have_the_same_density() -> None:
    """SciPy's multivariate normal density of the unrotated model, for random rotations."""
    x = WORLD.sample(20, seeded(6))
    covariance = WORLD.weight @ WORLD.weight.T + WORLD.noise_var * torch.eye(5, dtype=F64)
    exact = stats.multivariate_normal(WORLD.mean.numpy(), covariance.numpy()).logpdf(x.numpy())
    for seed in range(3):
        rotation = torch.linalg.qr(normals(2, 2, seed=seed)).Q
        other = LinearGaussian(WORLD.weight @ rotation, WORLD.mean, WORLD.noise_var)
        assert other.log_prob(x).numpy() == pytest.approx(exact, abs=1e-10)
        # the same data, other causes
        assert (other.posterior(x)[0] - WORLD.posterior(x)[0]).abs().max() > 0.1


# --- projections ------------------------------------------------------------------------------


@pytest.mark.equation("eq-lost-turn", tolerance="1e-9")
def test_a_shadow_does_not_know_the_turn() -> None:
    """Quadrature over the angle of every turn, with the third coordinate and without it."""
    t = torch.linspace(0, 4, 16_001, dtype=F64)[:-1] + 1 / 8000
    centres = torch.stack([torch.cos(2 * math.pi * t), torch.sin(2 * math.pi * t), t], 1)
    point = torch.tensor([0.2, -0.9, 2.6], dtype=F64)

    def turns(n_coordinates: int) -> Tensor:
        seen, mean = point[:n_coordinates], centres[:, :n_coordinates]
        log_p = log_normal(seen, mean, torch.full_like(mean, 2 * math.log(0.1)))
        return log_p.softmax(0).reshape(4, -1).sum(1)

    shadow = turns(2)
    assert shadow.numpy() == pytest.approx(np.full(4, 0.25), abs=1e-9)
    assert float(-(shadow * shadow.log()).sum()) == pytest.approx(math.log(4), abs=1e-9)
    assert turns(3)[2] > 0.999


# --- image space ------------------------------------------------------------------------------


@pytest.mark.equation("eq-typical-set", tolerance="1e-9")
def test_few_images_are_probable() -> None:
    """Counting, over all 1,024 binary images of ten pixels, with the package's probabilities."""
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=10)), dtype=F64)
    for seed, spread in itertools.product(range(5), (0.0, 1.0, 4.0)):
        log_p = Bernoulli().log_prob(images, spread * normals(10, seed=seed))
        assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
        for c in (0.5, 2.0, 4.0, 10 * math.log(2), 9.0):
            assert int((-log_p <= c + 1e-12).sum()) <= math.exp(c) + 1e-9


@pytest.mark.equation("eq-bean-hit-rate", tolerance="1e-9")
@pytest.mark.parametrize("d", [1, 2, 3, 6, 11])
def test_share_of_a_ball_in_a_cube(d: int) -> None:
    """SciPy's quadrature over slices of the ball, one dimension at a time; known areas."""
    radius, side = 0.7, 2.5
    printed = math.pi ** (d / 2) / math.gamma(d / 2 + 1) * (radius / side) ** d
    volume = 2 * radius
    unit = 2.0  # volume of the unit ball in one dimension, then slice by slice
    for n in range(2, d + 1):
        unit *= integrate.quad(lambda h, n=n: (1 - h * h) ** ((n - 1) / 2), -1, 1)[0]
        volume = unit * radius**n
    assert volume / side**d == pytest.approx(printed, rel=1e-9)
    known = {1: 2 * radius, 2: math.pi * radius**2, 3: 4 / 3 * math.pi * radius**3}
    if d in known:
        assert known[d] / side**d == pytest.approx(printed, rel=1e-12)


@pytest.mark.equation("eq-pixel-noise", tolerance="4.5 standard errors")
def test_noise_of_the_pixel_recipe() -> None:
    """The squared length and the correlations of 100,000 draws of the package's likelihood."""
    image, sigma = torch.rand(6, generator=seeded(), dtype=F64), 0.3
    made = Gaussian(sigma).sample(image.expand(100_000, 6), seeded(1))
    change = made - image
    squared = change.square().sum(1)
    error = squared.std() / math.sqrt(len(squared))
    assert (squared.mean() - sigma**2 * 6).abs() < 4.5 * error
    correlation = torch.corrcoef(change.T) - torch.eye(6)
    assert correlation.abs().max() < 4.5 / math.sqrt(100_000)


@pytest.mark.equation("eq-independence-cost", tolerance="1e-9")
def test_cost_of_independence() -> None:
    """The mean difference of SciPy's two densities over the data, and the package's divergence."""
    x = normals(300, 4) @ normals(4, 4, seed=1) + normals(4, seed=2)
    mean, covariance = x.mean(0), torch.cov(x.T, correction=0)
    diagonal = covariance.diagonal().diag()
    full, apart = (
        stats.multivariate_normal(mean.numpy(), c.numpy()).logpdf(x.numpy()).mean()
        for c in (covariance, diagonal)
    )
    printed = 0.5 * float(covariance.diagonal().log().sum() - torch.logdet(covariance))
    assert full - apart == pytest.approx(printed, abs=1e-9)
    divergence = kl_full(mean[None], covariance, mean[None], diagonal)
    assert float(divergence) == pytest.approx(printed, abs=1e-9)
    assert printed > 0.3


# --- latent spaces ----------------------------------------------------------------------------


@pytest.mark.equation("eq-total-covariance", tolerance="4.5 standard errors")
def test_covariance_of_a_latent_variable_model() -> None:
    """Quadrature over z of both terms, and 200,000 samples of a VAE."""
    model = vae_of(5, 1)
    z = torch.linspace(-9, 9, 4001, dtype=F64)[:, None]
    weight = (model.prior.log_prob(z).exp() * (z[1] - z[0]))[:, None]
    with torch.no_grad():
        lit = model.decode(z)
    mean = (weight * lit).sum(0)
    within = (weight * lit * (1 - lit)).sum(0).diag()
    between = (weight * (lit - mean)).T @ (lit - mean)
    total = within + between
    x = model.sample(200_000, seeded(4))
    products = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    error = products.std(0) / math.sqrt(len(x))
    assert ((products.mean(0) - total).abs() < 4.5 * error).all()
    off = ~torch.eye(5, dtype=torch.bool)
    assert between[off].abs().max() > 20 * error.max()  # there is something to see


@pytest.mark.equation("eq-path-length", tolerance="1e-5")
@pytest.mark.parametrize("kind", ["VAE", "autoencoder"])
def test_length_of_a_path(kind: str) -> None:
    """Simpson's rule for the speed along the path, which comes from central differences."""
    if kind == "VAE":
        model = vae_of(5, 2)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = mlp_autoencoder(5, 2, hidden=(6,)).double()
    x_from, x_to = torch.rand(2, 1, 5, generator=seeded(3), dtype=F64)
    code = model.encode if kind == "autoencoder" else lambda x: model.encode(x)[0]
    start, stop = code(x_from).detach()[0], code(x_to).detach()[0]

    def speed(s: float) -> float:
        ahead, behind = (model.decode(start + (s + h) * (stop - start)) for h in (1e-5, -1e-5))
        return float(((ahead - behind) / 2e-5).norm().detach())

    places = np.linspace(0, 1, 201)
    length = float(integrate.simpson([speed(s) for s in places], x=places))
    lengths = []
    for n_steps in (3, 9, 2001):
        path = model.interpolate(x_from, x_to, n_steps)[0]
        assert path[0].numpy() == pytest.approx(model.decode(start).detach().numpy(), abs=1e-12)
        assert path[-1].numpy() == pytest.approx(model.decode(stop).detach().numpy(), abs=1e-12)
        lengths.append(float((path[1:] - path[:-1]).norm(dim=-1).sum()))
        assert lengths[-1] >= float((path[-1] - path[0]).norm()) - 1e-12
    assert lengths == sorted(lengths)
    assert lengths[-1] == pytest.approx(length, rel=1e-5)


@pytest.mark.equation("eq-line-and-arc", tolerance="4.5 standard errors")
def test_an_arc_keeps_the_distribution_and_a_line_does_not() -> None:
    """Second moments of 100,000 pairs, on the package's line and on the arc, and a KS test."""
    start, stop = normals(100_000, 3, seed=11), normals(100_000, 3, seed=12)
    lines = interpolate(lambda z: z, lambda z: z, start, stop, 5)
    for s, on_line in zip((0.0, 0.25, 0.5, 0.75, 1.0), lines.unbind(1), strict=True):
        angle = math.pi / 2 * s
        on_arc = math.cos(angle) * start + math.sin(angle) * stop
        for points, variance in ((on_line, (1 - s) ** 2 + s**2), (on_arc, 1.0)):
            products = points[:, :, None] * points[:, None, :]
            error = products.std(0) / math.sqrt(len(points))
            off = products.mean(0) - variance * torch.eye(3, dtype=F64)
            assert (off.abs() < 4.5 * error).all()
            scaled = (points / math.sqrt(variance)).flatten().numpy()
            assert stats.kstest(scaled, "norm").pvalue > 1e-5


@pytest.mark.equation("def-accepted", tolerance="exact")
def test_an_image_is_accepted_if_some_digit_is_likely_enough() -> None:
    """Python's count over the ten digits, without the answer none; 95 of 100 by the threshold."""
    network = nn.Linear(6, 11, dtype=F64)
    with torch.no_grad():
        network.weight.copy_(2 * normals(11, 6, seed=2))
    digits, others = normals(1001, 6, seed=3), normals(400, 6, seed=4) - 0.5
    scores = network(digits).softmax(1).tolist()
    confidence = sorted(max(row[:10]) for row in scores)
    judge = Judge(network, confidence[50])  # the 5 % quantile of 1,001 values
    assert judge.accepted(digits) == 951 / 1001
    passed = [max(row[:10]) >= judge.threshold for row in network(others).softmax(1).tolist()]
    assert judge.accepted(others) == sum(passed) / 400


@pytest.mark.equation("def-accepted", tolerance="1 in 500")
def test_the_threshold_lets_95_of_100_kept_digits_pass() -> None:
    """The share that a judge accepts of the digits that set its threshold."""
    rows = torch.bernoulli(torch.rand(10, 80, generator=seeded(5)))  # ten patterns of 80 pixels
    labels = torch.arange(2000) % 10
    noise = (torch.rand(2000, 80, generator=seeded(6)) < 0.1).float()  # no two alike
    x = (rows[labels] - noise).abs()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = train_judge(x[:1500], labels[:1500], x[1500:], seeded(7), epochs=1)
    assert abs(judge.accepted(x[1500:]) - 0.95) <= 1 / 500
