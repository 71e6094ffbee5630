"""Each statement of the chapter on generative models, against something independent."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import special, stats
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from tests.common import F64, seeded, tensor
from vaebook.data import toy_density
from vaebook.gan import GAN, discriminator_loss, generator_loss, mlp_gan
from vaebook.gaussian import LinearGaussian
from vaebook.two_sample import energy_distance, nearest_distances, permutation_test

# --- samples ----------------------------------------------------------------------------------


@pytest.mark.equation("eq-energy-nonnegative", tolerance="1e-9")
def test_the_energy_distance_is_zero_only_for_equal_distributions() -> None:
    """All pairs of distributions on eight points: the least value, by the eigenvalues."""
    points = torch.randn(8, 3, generator=seeded(), dtype=F64)
    # for weights w = p - q that add up to zero the distance is -w' D w: a quadratic form
    contrasts = np.linalg.svd(np.ones((1, 8)))[2][1:]
    form = -contrasts @ cdist(points, points) @ contrasts.T
    smallest = np.linalg.eigvalsh(form)[0]
    assert smallest > 0.01
    counts = torch.randint(0, 4, (200, 2, 8), generator=seeded(1))
    counts[:, :, 0] += 1  # no empty sample
    for p_counts, q_counts in counts:
        p, q = (points.repeat_interleave(c, dim=0) for c in (p_counts, q_counts))
        weights = p_counts / p_counts.sum() - q_counts / q_counts.sum()
        distance = energy_distance(p, q)
        # equality for p = q alone, and a positive value in proportion to |p - q|² elsewhere
        assert distance >= smallest * float(weights.square().sum()) - 1e-9
    p = points.repeat_interleave(counts[0, 0], dim=0)
    assert energy_distance(p, p.repeat(3, 1)) == pytest.approx(0, abs=1e-9)


@pytest.mark.equation("eq-permutation-level", tolerance="4 standard errors")
def test_small_p_values_are_as_rare_as_they_say() -> None:
    """The share of 2,000 tests of equal distributions, at four levels."""
    g = seeded()
    p_values = np.array(
        [
            permutation_test(
                torch.randn(7, 2, generator=g), torch.randn(5, 2, generator=g), 39, g
            ).p_value
            for _ in range(2000)
        ]
    )
    assert p_values.min() > 0
    for level in (0.025, 0.05, 0.2, 0.5):
        error = math.sqrt(level * (1 - level) / 2000)
        assert (p_values <= level).mean() <= level + 4 * error
        # continuous data have no ties, so at multiples of 1/40 the bound is reached
        assert (p_values <= level).mean() >= level - 4 * error


@pytest.mark.equation("eq-permutation-level", tolerance="exact")
def test_the_bound_holds_with_ties_too() -> None:
    """Enumeration: every way to deal seven coins out, each equally probable."""
    coins = tensor([0, 0, 0, 1, 1, 1, 1])[:, None]
    dealt = list(combinations(range(7), 3))
    distances = []
    for chosen in dealt:
        rest = [i for i in range(7) if i not in chosen]
        distances.append(energy_distance(coins[list(chosen)], coins[rest]))
    exact = np.array([(np.array(distances) >= d - 1e-12).mean() for d in distances])
    for level in np.linspace(0, 1, 101):
        assert (exact <= level).mean() <= level + 1e-12
    # the test of the package estimates these very p-values
    chosen = dealt[0]
    test = permutation_test(coins[list(chosen)], coins[3:], 5000, seeded())
    assert test.p_value == pytest.approx(exact[0], abs=4 * math.sqrt(0.25 / 5000))


@pytest.mark.equation("eq-new-samples", tolerance="4 standard errors")
def test_a_new_sample_is_closer_to_the_training_data_half_the_time() -> None:
    """The share of 4,000 independent draws of training data, sample and held-out datum."""
    toy, g = toy_density("pinwheel"), seeded()
    closer = []
    for _ in range(4000):
        train, new, held_out = toy.sample(20, g), toy.sample(1, g), toy.sample(1, g)
        closer.append(nearest_distances(new, train) < nearest_distances(held_out, train))
    assert torch.cat(closer).float().mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(4000))
    # a sampler that remembers is always closer
    train, held_out = toy.sample(20, g), toy.sample(500, g)
    copies = nearest_distances(train, train)
    assert (copies[:, None] < nearest_distances(held_out, train)).all()


@pytest.mark.equation("eq-held-out-likelihood", tolerance="1e-6")
def test_held_out_nats_are_minus_entropy_minus_divergence() -> None:
    """Quadrature of both sides over the plane, with SciPy's entropy of the same histogram."""
    toy = toy_density("banana")
    axes = torch.linspace(-7, 7, 561, dtype=F64), torch.linspace(-7, 25, 1281, dtype=F64)
    x = torch.cartesian_prod(*axes)
    log_p = toy.log_prob(x)
    log_q = LinearGaussian(tensor([[1.0], [0.3]]), tensor([0.2, 0.1]), 0.8).log_prob(x)
    cell = float((axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0]))
    p, q = log_p.exp() * cell, log_q.exp() * cell
    lines = [
        float((p * log_q).sum()),
        float((p * log_p).sum() - (p * (log_p - log_q)).sum()),
        # the entropy of a histogram is that of the density, less the logarithm of the cell
        -float(stats.entropy(p) + math.log(cell)) - float(stats.entropy(p, q)),
    ]
    assert lines[1:] == pytest.approx([lines[0]] * 2, abs=1e-6)
    # and the entropy of the banana is that of the Gaussian it was bent from
    entropy = 1 + math.log(2 * math.pi) + math.log(1.2 * 0.4)
    assert lines[0] < -entropy
    assert float((p * log_p).sum()) == pytest.approx(-entropy, abs=1e-6)


# --- the generator ----------------------------------------------------------------------------


class Square(nn.Module):
    """x = z², component by component; a weight only so that it has a dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=F64))

    def forward(self, z: Tensor) -> Tensor:
        return self.scale * z**2


def linear_gan(weight: Tensor, bias: Tensor) -> GAN:
    network = nn.Linear(*weight.T.shape, dtype=F64)
    network.load_state_dict({"weight": weight, "bias": bias})
    return GAN(network, nn.Linear(len(bias), 1), weight.shape[1])


@pytest.mark.equation("eq-pushforward", tolerance="4 standard errors; 1e-3 by quadrature")
def test_a_region_is_as_probable_as_the_noise_that_leads_there() -> None:
    """SciPy's normal probability of a box, for a linear generator; quadrature over z for it."""
    weight, bias = tensor([[1.0, 0.4], [-0.3, 0.8]]), tensor([0.2, -0.1])
    lower, upper = np.array([-1.0, -0.5]), np.array([0.8, 1.2])
    x = linear_gan(weight, bias).sample(100_000, seeded()).numpy()
    hits = ((x > lower) & (x < upper)).all(1)
    normal = stats.multivariate_normal(bias.numpy(), (weight @ weight.T).numpy())
    exact = normal.cdf(upper, lower_limit=lower)
    assert hits.mean() == pytest.approx(exact, abs=4 * hits.std() / math.sqrt(len(hits)))
    # the integral over the noise: the middle component of the equation
    axis = np.linspace(-7, 7, 2801)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    image = z @ weight.numpy().T + bias.numpy()
    inside = ((image > lower) & (image < upper)).all(-1)
    mass = (inside * stats.norm.pdf(z).prod(-1)).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(exact, abs=1e-3)


@pytest.mark.equation("eq-folded-density", tolerance="1e-12")
def test_the_density_of_a_fold_sums_over_all_noise() -> None:
    """SciPy's chi-squared density, in one and in two dimensions; a KS test of the samples."""
    for d in (1, 2):
        x = torch.rand(20, d, generator=seeded(), dtype=F64) * 4 + 0.01
        total = torch.zeros(20, dtype=F64)
        for signs in torch.cartesian_prod(*[tensor([-1, 1])] * d).reshape(-1, d):
            z = signs * x.sqrt()
            jacobian = torch.stack([torch.diag(2 * row) for row in z])
            total += torch.from_numpy(stats.norm.pdf(z)).prod(1) / torch.linalg.det(jacobian).abs()
        exact = stats.chi2(1).pdf(x.numpy()).prod(1)
        np.testing.assert_allclose(total.numpy(), exact, rtol=1e-12)
    samples = GAN(Square(), nn.Linear(1, 1), 1).sample(5000, seeded())
    assert stats.kstest(samples[:, 0].numpy(), stats.chi2(1).cdf).pvalue > 0.01


# --- the game ---------------------------------------------------------------------------------

# Two distributions on six points, given by how often each point occurs in a sample.
P_COUNTS, Q_COUNTS = torch.tensor([5, 1, 3, 2, 4, 1]), torch.tensor([1, 6, 2, 2, 1, 4])
P, Q = (counts.double() / 16 for counts in (P_COUNTS, Q_COUNTS))


def value(logits: Tensor) -> Tensor:
    """Value of the game for a discriminator with these logits at the six points."""
    return -discriminator_loss(
        logits.repeat_interleave(P_COUNTS), logits.repeat_interleave(Q_COUNTS)
    )


def best_logits() -> Tensor:
    """Ascend the value until it stops."""
    logits = torch.zeros(6, dtype=F64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=100, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -value(logits)
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.detach()


@pytest.mark.equation("eq-optimal-discriminator", tolerance="1e-6")
def test_the_best_discriminator() -> None:
    """Gradient ascent on the value over all discriminators on six points."""
    assert torch.sigmoid(best_logits()).numpy() == pytest.approx((P / (P + Q)).numpy(), abs=1e-6)


@pytest.mark.equation("eq-optimal-logit", tolerance="1e-5")
def test_the_best_logit_is_a_difference_of_log_densities() -> None:
    """Gradient ascent on the value over all discriminators on six points."""
    assert best_logits().numpy() == pytest.approx((P.log() - Q.log()).numpy(), abs=1e-5)


@pytest.mark.equation("eq-optimal-logit", tolerance="0.15 nats")
def test_a_trained_discriminator_knows_the_difference() -> None:
    """The exact log-densities of two Gaussians, between which a network is trained."""
    g = seeded()
    wide, narrow = (LinearGaussian(torch.eye(2)[:, :1] * s, torch.zeros(2), s**2) for s in (1, 0.7))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gan = mlp_gan(2, 2, (32,), output="real")
    optimizer = torch.optim.Adam(gan.discriminator_network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=1000)
    for _ in range(1000):
        loss = discriminator_loss(gan.logit(wide.sample(256, g)), gan.logit(narrow.sample(256, g)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x = wide.sample(2000, g)
    x = x[x.norm(dim=1) < 2]
    with torch.no_grad():
        error = gan.logit(x) - (wide.log_prob(x) - narrow.log_prob(x))
    assert error.square().mean().sqrt() < 0.15


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    middle = (p + q).numpy() / 2
    return float(stats.entropy(p, middle) + stats.entropy(q, middle)) / 2


@pytest.mark.equation("eq-gan-value-optimum", tolerance="1e-9")
def test_the_value_at_the_optimum() -> None:
    """The maximum found by ascent, and SciPy's relative entropies, on six points."""
    middle = (P + Q) / 2
    lines = [
        float(value(best_logits())),
        float((P * (P / (2 * middle)).log()).sum() + (Q * (Q / (2 * middle)).log()).sum()),
        stats.entropy(P, middle) + stats.entropy(Q, middle) - math.log(4),
        2 * jensen_shannon(P, Q) - math.log(4),
    ]
    assert lines[1:] == pytest.approx([lines[0]] * 3, abs=1e-9)
    # no other discriminator does better
    for seed in range(20):
        elsewhere = (P / Q).log() + 0.1 * torch.randn(6, generator=seeded(seed), dtype=F64)
        assert value(elsewhere) < lines[0]
    # and equal distributions reach -log 4, with a discriminator that says one half
    even = discriminator_loss(torch.zeros(4), torch.zeros(9))
    assert float(even) == pytest.approx(math.log(4))


@pytest.mark.equation("eq-jsd-bounds", tolerance="1e-12")
def test_the_jensen_shannon_divergence_is_bounded() -> None:
    """SciPy's squared Jensen–Shannon distance, at random pairs and at both extremes."""
    from scipy.spatial.distance import jensenshannon

    g = seeded()
    for _ in range(100):
        counts = torch.randint(0, 5, (2, 6), generator=g)
        counts[:, 0] += 1
        p, q = (row.double() / row.sum() for row in counts)
        divergence = jensenshannon(p, q) ** 2
        assert -1e-12 <= divergence <= math.log(2) + 1e-12
        logits = p.log() - q.log()  # of the best discriminator; the value of the game is bounded so
        real, fake = (
            logits.nan_to_num(0.0, math.inf, -math.inf).repeat_interleave(row) for row in counts
        )
        game = (math.log(4) - float(discriminator_loss(real, fake))) / 2
        assert game == pytest.approx(divergence, abs=1e-12)
    apart = torch.tensor([math.inf], dtype=F64)
    assert float(discriminator_loss(apart, -apart)) == 0  # so that the divergence is log 2
    assert jensen_shannon(tensor([1, 0]), tensor([0, 1])) == pytest.approx(math.log(2))
    assert jensen_shannon(P, P) == pytest.approx(0, abs=1e-15)


@pytest.mark.equation("eq-saturating-gradients", tolerance="1e-9")
def test_the_gradients_of_both_losses() -> None:
    """Finite differences of log(1 - D) and -log D in 50-digit arithmetic, and autograd."""
    import mpmath

    mpmath.mp.dps = 50
    for logit in (-30.0, -3.0, 0.0, 2.5):
        d = 1 / (1 + mpmath.exp(-logit))
        saturating = mpmath.diff(lambda v: mpmath.log(1 - 1 / (1 + mpmath.exp(-v))), logit)
        other = mpmath.diff(lambda v: -mpmath.log(1 / (1 + mpmath.exp(-v))), logit)
        assert float(saturating) == pytest.approx(float(-d), rel=1e-9)
        assert float(other) == pytest.approx(float(-(1 - d)), rel=1e-9)
        for exact, choice in ((saturating, True), (other, False)):
            answer = torch.tensor([logit], dtype=F64, requires_grad=True)
            (gradient,) = torch.autograd.grad(generator_loss(answer, saturating=choice), answer)
            assert float(gradient) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.equation("eq-dropped-modes", tolerance="1e-12")
def test_what_a_dropped_mode_costs() -> None:
    """SciPy's relative entropies of the two lists of modes, and the value of the game."""
    for n, kept in ((8, 7), (8, 1), (5, 3), (4, 4)):
        p, q = np.full(n, 1 / n), np.where(np.arange(n) < kept, 1 / kept, 0)
        assert stats.entropy(q, p) == pytest.approx(math.log(n / kept), abs=1e-12)
        if kept < n:
            assert stats.entropy(p, q) == math.inf
        share = kept / n
        formula = share * math.log(2 * kept / (n + kept)) + (1 - share) * math.log(2)
        formula = 0.5 * (formula + math.log(2 * n / (n + kept)))
        assert formula == pytest.approx(jensen_shannon(tensor(p), tensor(q)), abs=1e-12)
        logits = torch.full((n,), math.inf, dtype=F64)
        logits[:kept] = math.log(share)
        game = math.log(4) - float(discriminator_loss(logits, logits[:kept]))
        assert game / 2 == pytest.approx(formula, abs=1e-12)


@pytest.mark.equation("eq-dropped-modes", tolerance="1e-3")
def test_a_dropped_mode_in_the_plane() -> None:
    """Quadrature of the Jensen–Shannon divergence of eight Gaussians and seven of them."""
    toy = toy_density("eight_gaussians")
    axis = torch.linspace(-4, 4, 401, dtype=F64)
    x = torch.cartesian_prod(axis, axis)
    toy.std = 0.15  # far apart
    p = toy.log_prob(x).exp()
    toy.centres = toy.centres[1:]
    q = toy.log_prob(x).exp()
    middle = (p + q) / 2
    parts = [torch.special.xlogy(r, r / middle).sum() * 0.02**2 for r in (p, q)]
    kept, n = 7, 8
    formula = 0.5 * (
        kept / n * math.log(2 * kept / (n + kept))
        + (1 - kept / n) * math.log(2)
        + math.log(2 * n / (n + kept))
    )
    assert float(sum(parts)) / 2 == pytest.approx(formula, abs=1e-3)


# --- what the definitions define --------------------------------------------------------------


@pytest.mark.equation("def-energy-distance", tolerance="1e-12")
def test_the_energy_distance_of_two_samples() -> None:
    """The three averages over all pairs, one after the other, with SciPy's distances."""
    x, y = (torch.randn(n, 3, generator=seeded(n), dtype=F64) for n in (7, 11))
    across, within_x, within_y = (cdist(a, b).mean() for a, b in ((x, y), (x, x), (y, y)))
    assert energy_distance(x, y) == pytest.approx(2 * across - within_x - within_y, abs=1e-12)


@pytest.mark.equation("def-permutation-p-value", tolerance="exact")
def test_the_p_value_counts_what_is_at_least_as_large() -> None:
    """The same shuffles, dealt out one by one, and the energy distance of each."""
    x = torch.randn(6, 2, generator=seeded(), dtype=F64)
    y = torch.randn(9, 2, generator=seeded(1), dtype=F64) + 0.4
    pooled, observed = torch.cat([x, y]), energy_distance(x, y)
    keys = torch.rand(199, 15, generator=seeded(2))
    found = permutation_test(x, y, 199, seeded(2)).p_value
    values = []
    for order in keys.argsort(dim=1):  # place i gets the weight of datum order[i]
        in_x = order < 6
        values.append(energy_distance(pooled[in_x], pooled[~in_x]))
    assert found == (1 + sum(value >= observed for value in values)) / 200


@pytest.mark.equation("def-nearest-distance", tolerance="1e-12")
def test_the_distance_to_the_nearest_datum() -> None:
    """The smallest of SciPy's distances to all data; zero for a copy."""
    x, data = (torch.randn(n, 4, generator=seeded(n), dtype=F64) for n in (5, 30))
    x[0] = data[17]
    found = nearest_distances(x, data)
    assert found.numpy() == pytest.approx(cdist(x, data).min(axis=1), abs=1e-12)
    assert found[0] == 0


@pytest.mark.equation("def-generator", tolerance="1e-12")
def test_a_sample_of_a_gan_is_transformed_noise() -> None:
    """The network applied to the normal numbers that the same generator draws."""
    gan = mlp_gan(3, 2, hidden=(8,), output="real").double()
    noise = torch.empty(5, 2, dtype=F64).normal_(generator=seeded(4))
    with torch.no_grad():
        printed = gan.generator_network(noise)
        assert gan.sample(5, seeded(4)).numpy() == pytest.approx(printed.numpy(), abs=1e-12)


@pytest.mark.equation("def-gan-value", tolerance="1e-12")
@pytest.mark.equation("def-generator-losses", tolerance="1e-12")
def test_the_value_of_the_game_and_both_losses() -> None:
    """The printed averages of logarithms of SciPy's logistic function."""
    real, fake = (3 * torch.randn(n, generator=seeded(n), dtype=F64) for n in (8, 13))
    d_real, d_fake = (special.expit(logits.numpy()) for logits in (real, fake))
    value = np.log(d_real).mean() + np.log(1 - d_fake).mean()
    assert float(-discriminator_loss(real, fake)) == pytest.approx(value, abs=1e-12)
    saturating = np.log(1 - d_fake).mean()
    assert float(generator_loss(fake, saturating=True)) == pytest.approx(saturating, abs=1e-12)
    assert float(generator_loss(fake)) == pytest.approx(-np.log(d_fake).mean(), abs=1e-12)
