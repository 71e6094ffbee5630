"""Priors against torch.distributions, quadrature and their own samples."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from tests.common import seeded
from vaebook.priors import MixturePrior, StandardNormal

nan = float("nan")


def mixture(n_latents, n_components, seed=0):
    """Fill a mixture with weights, means and variances far from where it starts."""
    prior = MixturePrior(n_latents, n_components).double()
    with torch.no_grad():
        for parameter, scale in ((prior.logits, 1.0), (prior.means, 1.5), (prior.log_vars, 0.7)):
            noise = torch.randn(parameter.shape, generator=seeded(seed), dtype=torch.float64)
            parameter.copy_(scale * noise)
            seed += 1
    return prior


def reference(prior):
    components = Independent(Normal(prior.means, torch.exp(prior.log_vars / 2)), 1)
    return MixtureSameFamily(Categorical(logits=prior.logits), components)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    n_latents=st.integers(1, 4),
    n_components=st.integers(1, 5),
    batch=st.lists(st.integers(1, 3), max_size=2),
    seed=st.integers(0, 99),
)
def test_densities_are_those_of_torch_distributions(n_latents, n_components, batch, seed):
    z = 2 * torch.randn(*batch, n_latents, generator=seeded(seed), dtype=torch.float64)
    prior = mixture(n_latents, n_components, seed)
    expected = reference(prior).log_prob(z)
    torch.testing.assert_close(prior.log_prob(z), expected, rtol=1e-9, atol=1e-9)
    standard = Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(StandardNormal(n_latents).log_prob(z), standard)


def grid(limit=12.0, n=601):
    axis = torch.linspace(-limit, limit, n, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), 2 * math.log(2 * limit / (n - 1))


@pytest.mark.parametrize("prior", [StandardNormal(2), mixture(2, 4)], ids=["normal", "mixture"])
def test_densities_integrate_to_one_in_two_dimensions(prior):
    z, log_cell = grid()
    with torch.no_grad():
        total = prior.log_prob(z).logsumexp(0) + log_cell
    assert float(total) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("prior", [StandardNormal(2), mixture(2, 4)], ids=["normal", "mixture"])
def test_draws_have_the_moments_of_the_density(prior):
    z, log_cell = grid()
    with torch.no_grad():
        weights = torch.exp(prior.log_prob(z) + log_cell)
        draws = prior.double().sample(100_000, seeded(3))
    assert draws.shape == (100_000, 2)
    for moment in (lambda z: z, torch.square, lambda z: z.prod(-1, keepdim=True), torch.sin):
        values = moment(draws)
        error = values.std(0) / math.sqrt(len(values))
        assert ((values.mean(0) - weights @ moment(z)).abs() < 4.5 * error).all()


@pytest.mark.parametrize("prior", [StandardNormal(2), mixture(2, 4)], ids=["normal", "mixture"])
def test_draws_depend_on_the_generator_alone(prior):
    state = torch.get_rng_state()
    one, same, other = (prior.sample(9, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


def test_every_parameter_of_the_mixture_learns():
    prior = mixture(2, 3)
    z = torch.randn(50, 2, generator=seeded(4), dtype=torch.float64)
    parameters = tuple(prior.parameters())
    gradients = torch.autograd.grad(prior.log_prob(z).sum(), parameters)
    expected = torch.autograd.grad(reference(prior).log_prob(z).sum(), parameters)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-8, atol=1e-8)
        assert gradient.abs().max() > 0.01


def test_the_mixture_starts_equally_weighted():
    prior = MixturePrior(3, 5)
    torch.testing.assert_close(prior.logits.softmax(0), torch.full((5,), 0.2))
    assert len(prior.means.unique(dim=0)) == 5  # or the components would never part


def test_single_precision_keeps_the_density():
    prior = mixture(20, 50)
    z = 3 * torch.randn(200, 20, generator=seeded(5), dtype=torch.float64)
    with torch.no_grad():
        exact = prior.log_prob(z)
        single = prior.float().log_prob(z.float())
        with torch.autocast("cpu", torch.bfloat16):
            mixed = prior.log_prob(z.float())
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(mixed.double(), exact, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("spread", "log_var"), [(3.0, -8.0), (10.0, -8.0), (3.0, -12.0), (30.0, -8.0), (1e4, 3.0)]
)
def test_narrow_components_far_from_the_origin_in_single_precision(spread, log_var):
    """By differences in double precision: no nats are lost in z² - 2 z mu + mu²."""
    prior = MixturePrior(10, 3)
    with torch.no_grad():
        prior.means.copy_(spread * torch.randn(3, 10, generator=seeded(0)))
        prior.log_vars.fill_(log_var)
        noise = torch.randn(5, 10, generator=seeded(1))
        z = prior.means[:1] + torch.exp(prior.log_vars[:1] / 2) * noise
        computed = prior.log_prob(z)
    assert computed.dtype == torch.float32
    expected = reference(prior.double()).log_prob(z.double())
    torch.testing.assert_close(computed.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "prior", [StandardNormal(50), MixturePrior(50, 3)], ids=["normal", "mixture"]
)
def test_half_precision_codes_have_densities_with_all_their_digits(prior):
    z = torch.randn(20, 50, generator=seeded(0)).bfloat16()
    expected = prior.log_prob(z.float())
    half = prior.bfloat16().log_prob(z)
    assert half.dtype == torch.float32
    torch.testing.assert_close(
        half, expected, rtol=1e-2 if len(list(prior.parameters())) else 1e-6, atol=0
    )


def test_numpys_integers_are_sizes():
    assert MixturePrior(np.int64(2), np.int32(3)).sample(np.int64(4)).shape == (4, 2)
    assert StandardNormal(np.int64(2)).sample(np.int64(4)).shape == (4, 2)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: StandardNormal(0), "n_latents"),
        (lambda: StandardNormal(2.0), "n_latents"),
        (lambda: MixturePrior(0, 2), "n_latents"),
        (lambda: MixturePrior(2, 0), "n_components"),
        (lambda: StandardNormal(2).sample(0), "n"),
        (lambda: MixturePrior(2, 3).sample(-1), "n"),
        (lambda: StandardNormal(2).log_prob(torch.zeros(4, 3)), "z"),
        (lambda: MixturePrior(2, 3).log_prob(torch.zeros(4, 1)), "z"),
        (lambda: StandardNormal(2).log_prob(torch.zeros(4, 2).int()), "z"),
    ],
)
def test_bad_input_is_named(call, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted .*, got "):
        call()
