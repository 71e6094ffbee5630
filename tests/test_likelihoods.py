"""Likelihoods against enumeration, quadrature, torch.distributions and their own samples."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from torch import distributions

from tests.common import normals, seeded, tensor
from vaebook.likelihoods import (
    Bernoulli,
    CausalBernoulli,
    CausalLogistic,
    CausalNetwork,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    bits_per_dimension,
)

nan = float("nan")
everyone = [
    *(Bernoulli(), Gaussian(0.3), Gaussian(None), ContinuousBernoulli()),
    *(DiscretizedLogistic(1), DiscretizedLogistic(3)),
]
name = {"ids": lambda likelihood: f"{type(likelihood).__name__}{list(vars(likelihood).values())}"}
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3)


def pixels_for(likelihood, params, seed):
    return likelihood.sample(params, seeded(seed))


# --- laws of all ------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", everyone, **name)
@settings(deadline=None, derandomize=True, max_examples=20)
@given(shape=shapes, seed=st.integers(0, 999))
def test_shapes(likelihood, shape, seed):
    params = normals(*shape[:-1], shape[-1] * likelihood.n_per_pixel, seed=seed)
    x = pixels_for(likelihood, params, seed)
    assert likelihood.mean(params).shape == x.shape == tuple(shape)
    assert likelihood.log_prob(x, params).shape == tuple(shape[:-1])


@pytest.mark.parametrize("likelihood", everyone, **name)
def test_the_log_density_of_an_image_is_the_sum_over_its_pixels(likelihood):
    params = normals(3, 6 * likelihood.n_per_pixel)
    x = pixels_for(likelihood, params, 1)
    chunks = params.reshape(3, likelihood.n_per_pixel, 6)
    one_by_one = sum(likelihood.log_prob(x[:, [i]], chunks[:, :, i]) for i in range(6))
    torch.testing.assert_close(likelihood.log_prob(x, params), one_by_one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("likelihood", everyone, **name)
def test_one_image_against_many_parameters(likelihood):
    params = normals(5, 3, 4 * likelihood.n_per_pixel)
    x = pixels_for(likelihood, params[0], 1)
    together = likelihood.log_prob(x, params)
    apart = torch.stack([likelihood.log_prob(x, p) for p in params])
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("likelihood", everyone, **name)
def test_samples_have_the_stated_mean_and_are_random(likelihood):
    # means of levels are no logits: a shift of 2 would leave one level alone
    width = 0.2 if isinstance(likelihood, DiscretizedLogistic) else 2.0
    params = width * normals(4 * likelihood.n_per_pixel)
    draws = likelihood.sample(params.expand(50_000, -1), seeded(2))
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - likelihood.mean(params)).abs() < 4.5 * error).all()
    assert (error > 0).all()


@pytest.mark.parametrize("likelihood", everyone, **name)
def test_samples_depend_on_the_generator_alone(likelihood):
    params = normals(30, 4 * likelihood.n_per_pixel)
    state = torch.get_rng_state()
    one, same, other = (likelihood.sample(params, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("likelihood", everyone, **name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_parameters_stay_finite_with_their_gradients(likelihood, dtype):
    extreme = [-500.0, -90.0, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 90.0, 500.0]
    params = torch.tensor(extreme * likelihood.n_per_pixel, dtype=dtype, requires_grad=True)
    for x in (torch.zeros(9, dtype=dtype), torch.ones(9, dtype=dtype)):
        log_prob = likelihood.log_prob(x, params)
        (gradient,) = torch.autograd.grad(log_prob, params)
        assert torch.isfinite(log_prob)
        assert torch.isfinite(gradient).all()
    mean = likelihood.mean(params)
    (gradient,) = torch.autograd.grad(mean.sum(), params)
    assert torch.isfinite(gradient).all()
    x = likelihood.sample(params.detach().expand(1000, -1), seeded(0))
    assert torch.isfinite(x).all()
    if not isinstance(likelihood, Gaussian):
        assert (mean >= 0).all()
        assert (mean <= 1).all()
        assert (x >= 0).all()
        assert (x <= 1).all()


@pytest.mark.parametrize("likelihood", everyone, **name)
def test_log_densities_are_differentiated_right(likelihood):
    params = 3 * normals(2, 3 * likelihood.n_per_pixel)
    x = pixels_for(likelihood, params, 3)
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(x, p), params.requires_grad_())
    assert torch.autograd.gradcheck(likelihood.mean, params)


@pytest.mark.parametrize("likelihood", everyone, **name)
def test_mixed_precision_costs_no_digits_of_a_density(likelihood):
    params = torch.randn(4, 784 * likelihood.n_per_pixel, generator=seeded(4))
    x = pixels_for(likelihood, params, 5)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = likelihood.log_prob(x, params)
    assert mixed.dtype == torch.float32
    # bfloat16 has 8 bits: one nat in 500 and more would be lost
    exact = likelihood.log_prob(x.double(), params.double())
    torch.testing.assert_close(mixed.double(), exact, rtol=1e-6, atol=1e-3)


# --- Bernoulli --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_pixels", [1, 3, 8])
def test_bernoulli_sums_to_one_over_all_images(n_pixels):
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=n_pixels)), dtype=torch.float64)
    params = 2 * normals(n_pixels, seed=n_pixels)
    log_probs = Bernoulli().log_prob(x, params.expand(len(x), -1))
    assert float(log_probs.logsumexp(0)) == pytest.approx(0, abs=1e-12)
    expected = distributions.Bernoulli(logits=params).log_prob(x).sum(-1)
    torch.testing.assert_close(log_probs, expected, rtol=1e-12, atol=1e-12)
    # the mean and the variance, by enumeration
    torch.testing.assert_close(log_probs.exp() @ x, Bernoulli().mean(params))


def test_bernoulli_far_out_where_a_sigmoid_rounds_to_one():
    params, x = torch.tensor([[100.0], [-100.0], [500.0]]), torch.tensor([[0.0], [1.0], [1.0]])
    torch.testing.assert_close(Bernoulli().log_prob(x, params), torch.tensor([-100.0, -100.0, 0]))


def test_bernoulli_draws_are_binary_with_the_variance_of_coins():
    params = normals(6)
    draws = Bernoulli().sample(params.expand(100_000, -1), seeded(6))
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    probability = torch.sigmoid(params)
    error = (probability * (1 - probability) / 100_000).sqrt()
    assert ((draws.mean(0) - probability) / error).abs().max() < 4.5


# --- Gaussian ---------------------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.1, 1.0, 2.5])
def test_gaussian_of_fixed_deviation(std):
    x, params = normals(2, 5, 4)
    expected = distributions.Normal(params, std).log_prob(x).sum(-1)
    torch.testing.assert_close(Gaussian(std).log_prob(x, params), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(Gaussian(std).mean(params), params)
    draws = Gaussian(std).sample(params[0].expand(100_000, -1), seeded(7))
    # the standard deviation of n draws has the relative error 1 / sqrt(2 n)
    assert ((draws.std(0) / std - 1) * math.sqrt(200_000)).abs().max() < 4.5


def test_gaussian_of_learned_deviation():
    x = normals(5, 4)
    params = normals(5, 8, seed=1)
    mean, raw = params[:, :4], params[:, 4:]
    log_var = 10 * torch.tanh(raw / 10)
    expected = distributions.Normal(mean, torch.exp(log_var / 2)).log_prob(x).sum(-1)
    torch.testing.assert_close(Gaussian(None).log_prob(x, params), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(Gaussian(None).mean(params), mean)
    draws = Gaussian(None).sample(params[0].expand(100_000, -1), seeded(8))
    ratio = draws.var(0) / log_var[0].exp()
    assert ((ratio - 1) * math.sqrt(50_000)).abs().max() < 4.5


@pytest.mark.parametrize("raw", [-30.0, -2.0, 0.0, 3.0])
def test_gaussian_of_learned_deviation_integrates_to_one(raw):
    params = torch.tensor([0.4, raw], dtype=torch.float64)
    width = 12 * math.exp(5 * math.tanh(raw / 10))

    def density(x):
        return float(Gaussian(None).log_prob(torch.tensor([x], dtype=torch.float64), params).exp())

    total, _ = integrate.quad(density, 0.4 - width, 0.4 + width)
    assert total == pytest.approx(1, abs=1e-8)


def test_the_learned_log_variance_is_bounded():
    params = torch.tensor([[0.0, 1e6], [0.0, -1e6]], dtype=torch.float64)
    draws = Gaussian(None).log_prob(torch.zeros(2, 1, dtype=torch.float64), params)
    expected = -0.5 * (math.log(2 * math.pi) + torch.tensor([10.0, -10.0], dtype=torch.float64))
    torch.testing.assert_close(draws, expected)


# --- continuous Bernoulli ---------------------------------------------------------------------

logits = [-500.0, -30.0, -2.0, -0.0101, -0.0099, -1e-4, 0.0, 1e-4, 0.0099, 0.0101, 1.0, 30.0, 500.0]


@pytest.mark.parametrize("logit", logits)
def test_continuous_bernoulli_integrates_to_one_with_the_stated_mean(logit):
    likelihood, params = ContinuousBernoulli(), torch.tensor([logit], dtype=torch.float64)

    def density(x):
        return float(likelihood.log_prob(torch.tensor([x], dtype=torch.float64), params).exp())

    knots = [0.01, 0.1, 0.9, 0.99]  # the mass of an extreme logit lies at an end
    total, _ = integrate.quad(density, 0, 1, points=knots)
    mean, _ = integrate.quad(lambda x: x * density(x), 0, 1, points=knots)
    assert total == pytest.approx(1, abs=1e-9)
    assert float(likelihood.mean(params)) == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_continuous_bernoulli_is_that_of_torch_distributions(dtype):
    params = torch.linspace(-8, 8, 33, dtype=dtype)[:, None]
    x = torch.rand(33, 1, generator=seeded(9), dtype=dtype)
    expected = distributions.ContinuousBernoulli(logits=params.double()).log_prob(x.double())
    log_prob = ContinuousBernoulli().log_prob(x, params)
    torch.testing.assert_close(log_prob.double(), expected.sum(-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("logit", [-40.0, -3.0, -1e-3, 0.0, 1e-3, 3.0, 40.0])
def test_continuous_bernoulli_draws_follow_its_distribution_function(logit):
    from scipy import stats

    params = torch.full((20_000,), logit, dtype=torch.float64)
    draws = ContinuousBernoulli().sample(params, seeded(10)).numpy()

    def distribution_function(x):
        return x if logit == 0 else (math.e ** (logit * x) - 1) / math.expm1(logit)

    assert stats.kstest(draws, distribution_function).pvalue > 1e-4


def test_its_mean_is_not_the_sigmoid():
    params = torch.tensor([2.0])
    assert abs(float(ContinuousBernoulli().mean(params) - torch.sigmoid(params))) > 0.1


# --- discretized logistic ---------------------------------------------------------------------


def levels(n_levels=256, dtype=torch.float64):
    return (torch.arange(n_levels, dtype=dtype) / (n_levels - 1))[:, None]


def log_probs_of_levels(likelihood, params):
    x = levels(likelihood.n_levels, params.dtype)
    return likelihood.log_prob(x, params.expand(len(x), -1))


def parameters(logits, means, scales):
    """Return the decoder's numbers that stand for a mixture over one pixel."""
    k = len(means)
    places = (torch.arange(k, dtype=torch.float64) + 0.5) / k
    logits, means, scales = (tensor(values) for values in (logits, means, scales))
    return torch.cat([logits, means - places, 5 * torch.atanh((scales / 0.1).log() / 5)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_levels", [2, 3, 256])
@pytest.mark.parametrize("n_components", [1, 3])
def test_levels_sum_to_one_with_the_stated_mean(n_components, n_levels, dtype):
    likelihood = DiscretizedLogistic(n_components, n_levels)
    for seed in range(20):
        params = (4 * normals(3 * n_components, seed=seed)).to(dtype)
        log_probs = log_probs_of_levels(likelihood, params).double()
        tolerance = 1e-12 if dtype == torch.float64 else 2e-6
        assert float(log_probs.logsumexp(0)) == pytest.approx(0, abs=tolerance)
        mean = float(log_probs.exp() @ levels(n_levels)[:, 0])
        assert float(likelihood.mean(params)) == pytest.approx(mean, abs=10 * tolerance)


def test_a_level_has_the_mass_between_the_midpoints_to_its_neighbours():
    """The formula as printed, with scipy's logistic distribution function."""
    from scipy.stats import logistic

    weights, means, scales = [0.2, 0.8], [0.3, 0.9], [0.05, 0.4]
    params = parameters([math.log(w) for w in weights], means, scales)
    log_probs = log_probs_of_levels(DiscretizedLogistic(2), params)
    edges = [-math.inf, *((j + 0.5) / 255 for j in range(255)), math.inf]
    for j, (low, high) in enumerate(itertools.pairwise(edges)):
        expected = sum(
            weight * (logistic.cdf(high, mean, scale) - logistic.cdf(low, mean, scale))
            for weight, mean, scale in zip(weights, means, scales, strict=True)
        )
        assert float(log_probs[j].exp()) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("scale", [0.0008, 0.01, 0.1, 10.0])
@pytest.mark.parametrize("mean", [-3.0, -0.2, 0.0, 0.5001, 1.0, 1.3, 4.0])
def test_no_level_is_too_far_or_a_component_too_narrow(mean, scale):
    """mpmath, with so many digits that nothing cancels, is met by float32 and its gradient, too."""
    import mpmath

    params = parameters([0.0], [mean], [scale])
    likelihood, x = DiscretizedLogistic(1), torch.tensor([[0.0], [1 / 255], [128 / 255], [1.0]])
    with mpmath.workdps(30 + int(4 / scale)):
        half = mpmath.mpf(1) / 510
        # what the numbers of float64 stand for, exactly
        m = mpmath.mpf(0.5 + float(params[1]))
        s = mpmath.mpf(0.1) * mpmath.exp(5 * mpmath.tanh(mpmath.mpf(float(params[2])) / 5))

        def sigma(edge):
            return 1 / (1 + mpmath.exp(-(edge - m) / s))

        exact = [sigma(half), sigma(3 * half) - sigma(half)]
        exact += [sigma(257 * half) - sigma(255 * half), 1 - sigma(509 * half)]
        exact = torch.tensor([float(mpmath.log(p)) for p in exact], dtype=torch.float64)
    found = likelihood.log_prob(x.double(), params.expand(4, -1))
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-9)
    single = params.float().requires_grad_()
    rough = likelihood.log_prob(x, single.expand(4, -1))
    torch.testing.assert_close(rough.double(), exact, rtol=1e-5, atol=2e-3)
    (gradient,) = torch.autograd.grad(rough.sum(), single)
    double = params.requires_grad_()
    (fine,) = torch.autograd.grad(
        likelihood.log_prob(x.double(), double.expand(4, -1)).sum(), double
    )
    torch.testing.assert_close(gradient.double(), fine, rtol=1e-3, atol=1e-2)


def test_levels_are_drawn_with_their_probabilities():
    likelihood = DiscretizedLogistic(2, n_levels=5)
    params = parameters([0.0, 1.0], [0.1, 0.8], [0.05, 0.3])
    draws = likelihood.sample(params.expand(50_000, -1), seeded(11))
    frequency = torch.stack([(draws == level).double().mean() for level in levels(5)])
    probability = log_probs_of_levels(likelihood, params).exp()
    assert float(frequency.sum()) == 1  # nothing between the levels, nothing beyond
    error = (probability * (1 - probability) / len(draws)).sqrt()
    assert ((frequency - probability).abs() < 4.5 * error).all()


def test_between_the_levels_there_is_no_probability():
    DiscretizedLogistic().check_levels(levels(dtype=torch.float32))
    with pytest.raises(ValueError, match=r"^x: wanted levels 0 to 255 over 255, got"):
        DiscretizedLogistic().check_levels(levels(dtype=torch.float32) + 0.3 / 255)


def test_bits_a_dimension_are_the_length_of_a_code():
    """Four equally likely levels take 2 bits each, whatever the number of pixels."""
    likelihood = DiscretizedLogistic(4, n_levels=4)
    # a narrow component on each level
    params = parameters([0.0] * 4, [0, 1 / 3, 2 / 3, 1], [0.0008] * 4)
    params = params.view(12, 1).expand(12, 3).reshape(-1)
    x = torch.cartesian_prod(*[levels(4)[:, 0]] * 3)
    nats = likelihood.log_prob(x, params.expand(len(x), -1))
    torch.testing.assert_close(bits_per_dimension(nats, 3), torch.full_like(nats, 2.0))


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.0, -1.0, nan, math.inf])
def test_a_standard_deviation_is_positive(std):
    with pytest.raises(ValueError, match=r"^std: wanted a positive number or None, got "):
        Gaussian(std)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: DiscretizedLogistic(0), "n_components"),
        (lambda: DiscretizedLogistic(n_levels=1), "n_levels"),
        (lambda: DiscretizedLogistic(2).mean(torch.zeros(3, 8)), "params"),
        (lambda: bits_per_dimension(torch.zeros(3), 0), "n_dimensions"),
    ],
)
def test_levels_and_components_are_counted(call, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted "):
        call()


@pytest.mark.parametrize("likelihood", everyone, **name)
@pytest.mark.parametrize("x", [torch.zeros(2, 1), torch.zeros(2, 5), torch.zeros(3, 4)])
def test_pixels_that_do_not_fit_the_parameters_are_refused(likelihood, x):
    params = torch.zeros(2, 4 * likelihood.n_per_pixel)
    with pytest.raises(ValueError, match=r"^(x|params): wanted .*, got "):
        likelihood.log_prob(x, params)


@pytest.mark.parametrize("likelihood", everyone, **name)
def test_integers_are_refused(likelihood):
    with pytest.raises(ValueError, match=r"^params: wanted a floating-point"):
        likelihood.log_prob(torch.zeros(4), torch.zeros(4 * likelihood.n_per_pixel).int())


def test_a_mean_without_its_variance_is_refused():
    for call in (Gaussian(None).mean, Gaussian(None).sample):
        with pytest.raises(ValueError, match=r"^params: wanted an even number of columns"):
            call(torch.zeros(2, 5))


# --- Bernoulli with neighbours ----------------------------------------------------------------


def causal(height, width, reach, seed=0):
    likelihood = CausalBernoulli(height, width, reach).double()
    n = height * width
    with torch.no_grad():
        likelihood.weight.copy_(1.5 * normals(n, n, seed=seed))
    return likelihood.requires_grad_(False)


def all_binary(n):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


@pytest.mark.parametrize(("height", "width", "reach"), [(2, 4, 1), (2, 4, 5), (1, 8, 2), (3, 2, 1)])
def test_causal_pixels_sum_to_one_and_follow_the_chain_rule(height, width, reach):
    likelihood, n = causal(height, width, reach), height * width
    x, params = all_binary(n), normals(n, seed=1)
    log_probs = likelihood.log_prob(x, params.expand(len(x), -1))
    assert float(log_probs.logsumexp(0)) == pytest.approx(0, abs=1e-12)
    expected = torch.zeros(len(x), dtype=torch.float64)
    for i in range(n):  # pixel after pixel, as the docstring says
        logit = params[i].expand(len(x)).clone()
        for j in range(i):
            rows, columns = abs(i // width - j // width), abs(i % width - j % width)
            if rows <= reach and columns <= reach:
                logit += likelihood.weight[i, j] * x[:, j]
        expected += distributions.Bernoulli(logits=logit).log_prob(x[:, i])
    torch.testing.assert_close(log_probs, expected, rtol=1e-12, atol=1e-12)


def test_causal_draws_have_the_stated_probabilities():
    likelihood, params = causal(2, 2, 1), normals(4, seed=2)
    draws = likelihood.sample(params.expand(50_000, -1), seeded(3))
    index = (draws @ (2 ** torch.arange(3, -1, -1, dtype=torch.float64))).long()
    frequency = torch.bincount(index, minlength=16) / len(draws)
    probability = likelihood.log_prob(all_binary(4), params.expand(16, -1)).exp()
    error = (probability * (1 - probability) / len(draws)).sqrt()
    assert ((frequency - probability).abs() < 4.5 * error).all()


def test_causal_pixels_start_independent():
    x, params = all_binary(6), normals(64, 6)
    log_prob = CausalBernoulli(2, 3).double().log_prob(x, params)
    torch.testing.assert_close(log_prob, Bernoulli().log_prob(x, params), rtol=1e-12, atol=1e-12)
    many = CausalBernoulli(2, 3).double().log_prob(x, params.expand(4, 64, 6))
    torch.testing.assert_close(many, log_prob.expand(4, 64), rtol=1e-12, atol=1e-12)


def test_causal_pixels_have_no_mean_in_closed_form():
    with pytest.raises(NotImplementedError, match="average"):
        CausalBernoulli(2, 2).mean(torch.zeros(4))


SIZES = [((0, 2), "height"), ((2, 0), "width"), ((2, 2, 0), "reach")]


@pytest.mark.parametrize(
    ("kind", "arguments", "argument"),
    [
        *((kind, *sizes) for kind in (CausalBernoulli, CausalNetwork) for sizes in SIZES),
        (CausalNetwork, (2, 2, 1, 0), "n_hidden"),
    ],
)
def test_a_causal_image_has_a_size(kind, arguments, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted an integer of at least 1, got 0"):
        kind(*arguments)


@pytest.mark.parametrize("kind", [CausalBernoulli, CausalNetwork])
@pytest.mark.parametrize("x", [torch.zeros(2, 3), torch.zeros(2, 5), torch.zeros(2, 4).int()])
def test_causal_pixels_that_do_not_fit_are_refused(kind, x):
    with pytest.raises(ValueError, match=r"^x: wanted .*, got "):
        kind(2, 2).log_prob(x, torch.zeros(2, 4))


# --- Bernoulli with a network of neighbours ---------------------------------------------------


def causal_network(height, width, reach, n_hidden=3):
    likelihood = CausalNetwork(height, width, reach, n_hidden).double()
    with torch.no_grad():
        for seed, weights in enumerate(likelihood.parameters()):
            weights.copy_(normals(*weights.shape, seed=seed))
    return likelihood.requires_grad_(False)


@pytest.mark.parametrize(("height", "width", "reach"), [(2, 4, 1), (1, 8, 2), (3, 2, 2), (1, 1, 1)])
def test_pixels_with_a_network_sum_to_one_and_look_no_further_than_their_reach(
    height, width, reach
):
    likelihood, n = causal_network(height, width, reach), height * width
    x, params = all_binary(n), normals(n, seed=9)
    log_probs = likelihood.log_prob(x, params.expand(len(x), -1))
    assert float(log_probs.logsumexp(0)) == pytest.approx(0, abs=1e-12)
    for i in range(n):
        for j in range(n):
            turned = x.clone()
            turned[:, j] = 1 - turned[:, j]
            moved = (likelihood.context(x) - likelihood.context(turned))[:, i].abs().max()
            rows, columns = abs(i // width - j // width), abs(i % width - j % width)
            assert (moved > 0) == (j < i and max(rows, columns) <= reach)


def test_draws_of_a_network_have_the_stated_probabilities():
    likelihood, params = causal_network(2, 2, 1), normals(4, seed=2)
    draws = likelihood.sample(params.expand(50_000, -1), seeded(3))
    index = (draws @ (2 ** torch.arange(3, -1, -1, dtype=torch.float64))).long()
    frequency = torch.bincount(index, minlength=16) / len(draws)
    probability = likelihood.log_prob(all_binary(4), params.expand(16, -1)).exp()
    error = (probability * (1 - probability) / len(draws)).sqrt()
    assert ((frequency - probability).abs() < 4.5 * error).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_of_neighbours_starts_independent_and_learns(dtype):
    likelihood = CausalNetwork(2, 3, 2, 4).to(dtype)
    x, params = all_binary(6).to(dtype), normals(64, 6).to(dtype)
    log_prob = likelihood.log_prob(x, params)
    assert log_prob.dtype == dtype
    torch.testing.assert_close(log_prob, Bernoulli().log_prob(x, params))
    many = likelihood.log_prob(x, params.expand(4, 64, 6))
    torch.testing.assert_close(many, log_prob.expand(4, 64))
    log_prob.sum().backward()
    assert likelihood.weight.grad.abs().max() > 0
    assert likelihood.out.grad.abs().max() > 0
    assert torch.autograd.gradcheck(
        causal_network(2, 2, 1).log_prob, (all_binary(4), normals(16, 4).requires_grad_())
    )


def test_networks_of_neighbours_are_seeded():
    first, second = [], []
    for each in (first, second):
        torch.manual_seed(0)
        each.append(CausalNetwork(2, 2, 1).into)
    assert torch.equal(first[0], second[0])


# --- levels that look at their neighbours -----------------------------------------------------


def causal_levels(image, reach, n_components=2, n_levels=4, width=1.0):
    likelihood = CausalLogistic(image, reach, n_components, n_levels).double()
    with torch.no_grad():
        likelihood.weight.normal_(0, width, generator=seeded(7))
    return likelihood


def levels_of_all_images(n_numbers, n_levels):
    return torch.cartesian_prod(*[torch.arange(n_levels, dtype=torch.float64)] * n_numbers) / (
        n_levels - 1
    )


@pytest.mark.parametrize(
    ("image", "reach"), [((3, 1, 1), 0), ((1, 2, 2), 1), ((2, 1, 2), 1), ((1, 2, 2), 0)]
)
def test_causal_levels_sum_to_one_and_follow_the_chain_rule(image, reach):
    likelihood, n = causal_levels(image, reach), math.prod(image)
    x, params = levels_of_all_images(n, 4), normals(6 * n, seed=1)
    log_probs = likelihood.log_prob(x, params.expand(len(x), -1)).detach()
    assert float(log_probs.logsumexp(0)) == pytest.approx(0, abs=1e-12)
    places = list(itertools.product(*map(range, image)))  # channel, row, column
    order = sorted(range(n), key=lambda i: (*places[i][1:], places[i][0]))
    expected = torch.zeros(len(x), dtype=torch.float64)
    for step, i in enumerate(order):  # number after number, as the docstring says
        own = params.view(3, 2, n)[:, :, i].expand(len(x), -1, -1).clone()
        for j in order[:step]:
            down, right = (places[i][axis] - places[j][axis] for axis in (1, 2))
            if down <= reach and abs(right) <= reach:
                kernel = likelihood.weight[places[i][0], places[j][0]]
                own[:, 1] += (kernel[reach - down, reach - right] * (x[:, j] - 0.5))[:, None]
        expected += DiscretizedLogistic(2, 4).log_prob(x[:, [i]], own.flatten(1)).detach()
    torch.testing.assert_close(log_probs, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("image", "reach"), [((2, 1, 2), 1), ((1, 2, 2), 1)])
def test_causal_draws_of_levels_have_the_stated_probabilities(image, reach):
    likelihood = causal_levels(image, reach, n_levels=2, width=0.3)  # no image is too rare
    n = math.prod(image)
    params = 0.3 * normals(6 * n, seed=2)
    params[2 * 2 * n :] += 1.0  # wide
    draws = likelihood.sample(params.expand(50_000, -1), seeded(3))
    index = (draws @ (2 ** torch.arange(n - 1, -1, -1, dtype=torch.float64))).long()
    frequency = torch.bincount(index, minlength=2**n) / len(draws)
    every = levels_of_all_images(n, 2)
    probability = likelihood.log_prob(every, params.expand(2**n, -1)).exp().detach()
    error = (probability * (1 - probability) / len(draws)).sqrt()
    assert ((frequency - probability).abs() < 4.5 * error).all()


def test_causal_levels_start_independent():
    image = (3, 2, 2)
    params = normals(5, 4, 3 * 2 * 12)
    x = DiscretizedLogistic(2).sample(params[0], seeded(1))
    likelihood = CausalLogistic(image, 1, 2).double()
    expected = DiscretizedLogistic(2).log_prob(x, params)
    torch.testing.assert_close(likelihood.log_prob(x, params), expected, rtol=1e-12, atol=1e-12)
    drawn = likelihood.sample(params, seeded(2))
    assert drawn.shape == (5, 4, 12)
    likelihood.check_levels(drawn)
    one = likelihood.sample(params[0, 0], seeded(2))
    assert one.shape == (12,)
    assert likelihood.sample(params[0, :0], seeded(2)).shape == (0, 12)
    assert likelihood.log_prob(x[:0], params[0, :0]).shape == (0,)


def test_causal_levels_are_differentiated_right_and_keep_their_precision():
    likelihood = causal_levels((2, 2, 2), 1)
    params = normals(3, 6 * 8).requires_grad_()
    x = likelihood.sample(params.detach(), seeded(4))
    weight = likelihood.weight.detach().clone().requires_grad_()

    def log_prob(params, weight):
        return torch.func.functional_call(_LogProb(likelihood), {"of.weight": weight}, (x, params))

    assert torch.autograd.gradcheck(log_prob, (params, weight))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = likelihood.float().log_prob(x.float(), params.detach().float())
    assert mixed.dtype == torch.float32
    exact = likelihood.double().log_prob(x, params)
    torch.testing.assert_close(mixed.double(), exact.detach(), rtol=1e-5, atol=1e-4)


class _LogProb(torch.nn.Module):
    """The log-probability as a forward pass, for functional_call."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x, params):
        return self.of.log_prob(x, params)


def test_causal_levels_have_no_mean_in_closed_form():
    with pytest.raises(NotImplementedError, match="average"):
        CausalLogistic((1, 2, 2)).mean(torch.zeros(4 * 15))


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [(((3, 0, 2),), "image"), (((3, 2),), "image"), (((1, 2, 2), -1), "reach")]
    + [(((1, 2, 2), 1, 0), "n_components"), (((1, 2, 2), 1, 5, 1), "n_levels")],
)
def test_causal_levels_need_an_image(arguments, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted .*, got "):
        CausalLogistic(*arguments)


@pytest.mark.parametrize("x", [torch.zeros(2, 3), torch.zeros(2, 4).int()])
def test_causal_levels_that_do_not_fit_are_refused(x):
    with pytest.raises(ValueError, match=r"^x: wanted .*, got "):
        CausalLogistic((1, 2, 2)).log_prob(x, torch.zeros(2, 60))
    with pytest.raises(ValueError, match=r"^params: wanted .*, got "):
        CausalLogistic((1, 2, 2)).sample(torch.zeros(2, 59))
