"""Each statement of the page on compression, both sides, against something independent."""

from __future__ import annotations

import math
from fractions import Fraction

import constriction
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from tests.common import F64, all_images, seeded, tensor
from vaebook.coding import PRECISION, BitsBack, Stack, quantise
from vaebook.estimators import monte_carlo
from vaebook.gaussian import kl_to_standard_normal
from vaebook.likelihoods import CausalBernoulli, CausalNetwork
from vaebook.vae import VAE, free_bits_objective, mlp_vae

TOTAL = 2**PRECISION
STREAM = constriction.stream


def random_cdf(n_symbols: int, seed: int) -> list[int]:
    """Ranges of whole 2**24ths, some of them very short."""
    random = np.random.default_rng(seed)
    masses = 1 + random.multinomial(TOTAL - n_symbols, random.dirichlet(np.full(n_symbols, 0.3)))
    return [0, *np.cumsum(masses).tolist()]


def stack_of(head: int) -> Stack:
    """Return a stack of one number below 2**64."""
    stack = Stack()
    stack.head = head
    return stack


def tiny_vae(seed: int = 0, size: float = 1.5) -> VAE:
    """Return a VAE of four pixels and one latent dimension, with weights that matter."""
    vae = mlp_vae(4, 1, hidden=())
    for weights in vae.parameters():
        weights.data.normal_(0, size, generator=seeded(seed))
    return vae


@pytest.mark.equation("def-ans", tolerance="exact")
@pytest.mark.parametrize("seed", range(5))
def test_the_stack_writes_the_words_of_another_library(seed: int) -> None:
    """constriction's ANS coder, word by word, and its pops from random words."""
    probabilities = np.random.default_rng(seed).multinomial(2**10 - 6, np.full(6, 1 / 6)) + 1
    model = STREAM.model.Categorical(probabilities / 2**10, perfect=True)
    cdf = [0, *np.cumsum(probabilities * (TOTAL // 2**10)).tolist()]
    symbols = np.random.default_rng(seed).choice(6, 1000).astype(np.int32)
    theirs, ours = STREAM.stack.AnsCoder(), Stack()
    theirs.encode_reverse(symbols, model)
    for symbol in symbols[::-1]:
        ours.push(symbol, cdf)
    assert ours.to_bytes() == theirs.get_compressed().astype("<u4").tobytes()
    words = np.random.default_rng(seed).integers(1, 2**32, 60, dtype=np.uint32)
    theirs, ours = STREAM.stack.AnsCoder(words), Stack(words.astype("<u4").tobytes())
    assert [ours.pop(cdf) for _ in range(500)] == theirs.decode(model, 500).tolist()
    assert ours.to_bytes() == theirs.get_compressed().astype("<u4").tobytes()


@pytest.mark.equation("eq-ans-length", tolerance="1e-13 bits")
@pytest.mark.parametrize("n_symbols", [2, 5, 300])
def test_a_push_lengthens_the_message_by_the_bits_of_its_symbol(n_symbols: int) -> None:
    """Logarithms of whole numbers from a few bits above the range to the head's 64."""
    random = np.random.default_rng(n_symbols)
    cdf = random_cdf(n_symbols, n_symbols)
    for _ in range(2000):
        symbol = int(random.integers(n_symbols))
        mass = cdf[symbol + 1] - cdf[symbol]
        before = mass + 1 + int(2 ** random.uniform(0, math.log2(mass) + 39.5))
        if before >= mass << 40:
            continue
        stack = stack_of(before)
        stack.push(symbol, cdf)
        growth = math.log2(stack.head) - math.log2(before)
        bound = -math.log2(1 - mass / before)
        assert abs(growth - math.log2(TOTAL / mass)) <= bound + 1e-13


@pytest.mark.equation("eq-ans-error", tolerance="exact")
def test_the_relative_error_of_a_push_is_that_of_its_remainder() -> None:
    """Exact fractions."""
    random = np.random.default_rng(0)
    cdf = random_cdf(7, 0)
    for _ in range(500):
        symbol = int(random.integers(7))
        start, mass = cdf[symbol], cdf[symbol + 1] - cdf[symbol]
        before = int(random.integers(1, mass << 39, dtype=np.uint64)) if mass < 2**24 else 1
        stack = stack_of(before)
        stack.push(symbol, cdf)
        p, rest = Fraction(mass, TOTAL), before % mass
        assert p * stack.head / before - 1 == (p * start - (1 - p) * rest) / before


@pytest.mark.equation("def-quantised", tolerance="exact")
def test_rounded_ranges_are_those_of_exact_arithmetic() -> None:
    """Fractions in place of floating point, and that no range is empty."""
    cumulative = np.array([0, 2.0**-40, 0.25, 0.25, 1 - 2.0**-30, 1])
    exact = [s + math.floor((TOTAL - 5) * Fraction(f)) for s, f in enumerate(cumulative)]
    found = quantise(cumulative)
    assert found.tolist() == exact
    assert found[0] == 0
    assert found[-1] == TOTAL
    assert np.diff(found).min() >= 1


@pytest.mark.equation("eq-rounding-cost", tolerance="1e-9 bits")
@pytest.mark.parametrize("n_symbols", [2, 1024, 65536])
def test_rounding_costs_little_for_every_symbol(n_symbols: int) -> None:
    """The logarithm of each probability before and after, down to 1e-12."""
    random = np.random.default_rng(n_symbols)
    p = np.exp(random.uniform(math.log(1e-12), 0, n_symbols))
    cumulative = np.concatenate([[0], np.cumsum(p) / p.sum()])
    cumulative[-1] = 1
    rounded = -np.log2(np.diff(quantise(cumulative)) / TOTAL)
    with np.errstate(divide="ignore"):
        ideal = -np.log2(np.diff(cumulative))
    assert (rounded <= ideal - math.log2(1 - n_symbols / TOTAL) + 1e-9).all()


@pytest.mark.equation("eq-bits-back", tolerance="0.01 bits")
@pytest.mark.parametrize("seed", range(3))
def test_an_image_costs_its_negative_elbo(seed: int) -> None:
    """All images of four pixels: the bound as a sum over the buckets, by SciPy's distributions."""
    vae = tiny_vae(seed)
    coder = BitsBack(vae, bits_per_latent=3)
    weight, bias = (each.detach().double().numpy() for each in vae.decoder.parameters())
    edges, middles = stats.norm.ppf(np.arange(9) / 8), stats.norm.ppf((np.arange(8) + 0.5) / 8)
    n_slots = 2**10
    for image in all_images(4)[::7]:
        x = image.int().tolist()
        mean, log_var = (each.item() for each in vae.encode(image[None].float()))
        q = np.diff(stats.norm.cdf(edges, mean, math.exp(0.5 * log_var)))
        logits = middles[:, None] * weight[:, 0] + bias
        log_p_x = stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-logits))).sum(1)
        elbo = q @ (log_p_x + math.log(1 / 8)) + stats.entropy(q)
        growth = []
        for slot in range(n_slots):  # evenly spread, as the low bits of a message are
            stack = stack_of((1 << 55) + (2 * slot + 1) * TOTAL // (2 * n_slots))
            coder.push(stack, x)
            growth.append(stack.bits - 55)
        assert np.mean(growth) == pytest.approx(-elbo / math.log(2), abs=0.01)


@pytest.mark.equation("eq-bucket-rate", tolerance="0.01 bits")
def test_buckets_cost_at_most_the_divergence_and_tend_to_it() -> None:
    """The closed form of the divergence, for ever narrower buckets."""
    vae = tiny_vae(1, size=0.5)
    for image in all_images(4)[::5]:
        mean, log_var = vae.encode(image[None].float())
        divergence = kl_to_standard_normal(mean, log_var).item() / math.log(2)
        rates = []
        for bits in (1, 2, 4, 8, 14):
            cdf = BitsBack(vae, bits).posterior(image.int().tolist())
            q = np.diff(cdf[0]) / TOTAL
            rates.append(float((q * np.log2(q * 2**bits)).sum()))
        assert max(rates) <= divergence + 0.01
        assert all(np.diff(rates) > -0.01)
        assert rates[-1] == pytest.approx(divergence, abs=0.01)


def data_law(n_pixels: int, seed: int) -> Tensor:
    """Return some distribution over all images, in the order of `all_images`."""
    weights = np.random.default_rng(seed).dirichlet(np.full(2**n_pixels, 0.5))
    return tensor(weights.tolist())


@pytest.mark.equation("eq-price-in-three", tolerance="4.5 standard errors")
@pytest.mark.parametrize("seed", range(3))
def test_the_price_is_entropy_misfit_and_inference_gap(seed: int) -> None:
    """Entropies and divergences on a grid of codes, for all images of four pixels."""
    vae, images, p_data = tiny_vae(seed, 0.8).double(), all_images(4), data_law(4, seed)
    vae.likelihood = CausalBernoulli(2, 2, 1).double()
    torch.nn.init.normal_(vae.likelihood.weight, generator=seeded(seed))
    z = torch.linspace(-40, 40, 8001, dtype=F64)[:, None]
    cell = 80 / 8000
    with torch.no_grad():
        prior = Normal(0.0, 1.0).log_prob(z[:, 0])
        joint = vae.likelihood.log_prob(images, vae.decoder(z)[:, None]) + prior[:, None]
        log_p = joint.logsumexp(0) + math.log(cell)
        mean, log_var = (each[:, 0] for each in vae.encode(images))
        q = Normal(mean, torch.exp(0.5 * log_var)).log_prob(z)
        gap = (q.exp() * (q - (joint - log_p))).sum(0) * cell
        reconstruction, kl = vae.elbo_terms(images.repeat(20_000, 1), seeded(seed))
    entropy, misfit = -(p_data * p_data.log()).sum(), (p_data * (p_data.log() - log_p)).sum()
    prices = (kl - reconstruction).view(20_000, 16) @ p_data  # one draw of z for each image
    price, error = monte_carlo(prices)
    assert abs(price - (entropy + misfit + (p_data * gap).sum())) < 4.5 * error
    assert error < 0.02 * (misfit + (p_data * gap).sum())


@pytest.mark.equation("eq-empty-code", tolerance="1e-12")
def test_a_decoder_that_knows_the_pictures_has_the_lowest_price_without_a_code() -> None:
    """Entropy by enumeration, of pictures whose probabilities a loop over pixels gives."""
    vae, images = (
        mlp_vae(4, 2, hidden=(), likelihood=CausalNetwork(2, 2, 1, 2)).double(),
        all_images(4),
    )
    with torch.no_grad():
        for each in vae.parameters():
            each.zero_()  # q(z|x) is the prior, and z changes no pixel
        for i, each in enumerate(vae.likelihood.parameters()):
            each.normal_(generator=seeded(i))
    p_data = chain_rule(vae.likelihood, images, torch.zeros(4, dtype=F64)).exp()
    with torch.no_grad():
        terms = vae.elbo_terms(images, seeded())
    entropy = -(p_data * p_data.log()).sum()
    assert p_data.sum() == pytest.approx(1, abs=1e-12)
    assert (p_data * terms.kl).sum() == pytest.approx(0, abs=1e-12)
    assert (p_data * (terms.kl - terms.reconstruction)).sum() == pytest.approx(
        float(entropy), abs=1e-12
    )


def chain_rule(likelihood: CausalNetwork, images: Tensor, logits: Tensor) -> Tensor:
    """Log-probability of each image, with a loop over pixels, their units and their neighbours."""
    w, u, b, v = (
        each.detach().tolist()
        for each in (likelihood.weight, likelihood.into, likelihood.bias, likelihood.out)
    )
    width, reach = likelihood.width, likelihood.reach
    totals = []
    for row in images.tolist():
        total = 0.0
        for i, value in enumerate(row):
            near = [
                j
                for j in range(i)
                if i // width - j // width <= reach and abs(i % width - j % width) <= reach
            ]
            logit = logits[i].item() + sum(w[i][j] * row[j] for j in near)
            for k in range(likelihood.n_hidden):
                a = b[k][i] + sum(u[k][i][j] * row[j] for j in near)
                logit += v[k][i] * a / (1 + math.exp(-a))
            p = 1 / (1 + math.exp(-logit))
            total += math.log(p if value else 1 - p)
        totals.append(total)
    return tensor(totals)


@pytest.mark.equation("def-causal-network", tolerance="1e-12")
@pytest.mark.parametrize("reach", [1, 2, 3])
def test_each_pixel_asks_its_neighbours_through_units_of_its_own(reach: int) -> None:
    """Loops over pixels, units and neighbours, and that all images together have probability 1."""
    likelihood, images = CausalNetwork(3, 3, reach, 2).double(), all_images(9)
    with torch.no_grad():
        for i, each in enumerate(likelihood.parameters()):
            each.normal_(generator=seeded(i))
        logits = torch.randn(9, generator=seeded(7), dtype=F64)
        found = likelihood.log_prob(images, logits)
    torch.testing.assert_close(found, chain_rule(likelihood, images, logits), rtol=0, atol=1e-12)
    assert found.exp().sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.equation("def-free-bits", tolerance="1e-12 nats")
@pytest.mark.equation("eq-free-bits-bound", tolerance="1e-12 nats")
@pytest.mark.parametrize("free_nats", [0.0, 0.2, 1.0, 5.0])
def test_free_bits_are_a_price_that_begins_later(free_nats: float) -> None:
    """The densities and divergences of PyTorch, at the same draws."""
    vae = mlp_vae(6, 3, hidden=(5,)).double()
    for weights in vae.parameters():
        weights.data.normal_(generator=seeded(2))
    x = all_images(6)[::5]
    with torch.no_grad():
        mean, log_var = vae.encode(x)
        std = torch.exp(0.5 * log_var)
        z = mean + std * torch.randn(mean.shape, generator=seeded(7), dtype=F64)
        log_p = Bernoulli(logits=vae.decoder(z)).log_prob(x).sum(1).mean()
        rates = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).mean(0)
        price = sum(max(free_nats, rate) for rate in rates.tolist())
        found = free_bits_objective(free_nats)(vae, x, seeded(7))[0].mean()
        elbo = vae.elbo(x, seeded(7)).mean()
    assert float(found) == pytest.approx(float(log_p) - price, abs=1e-12)
    assert elbo - 3 * free_nats - 1e-12 <= found <= elbo + 1e-12
