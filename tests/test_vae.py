"""The VAE against models of known evidence: linear-Gaussian, and small enough to integrate."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from tests.common import linear_vae, normals, seeded
from vaebook.estimators import monte_carlo
from vaebook.gaussian import LinearGaussian, kl_full, reparameterize
from vaebook.likelihoods import (
    Bernoulli,
    CausalBernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    bits_per_dimension,
)
from vaebook.priors import MixturePrior, StandardNormal
from vaebook.vae import (
    VAE,
    Encoder,
    conv_vae,
    elbo_objective,
    free_bits_objective,
    iwae_objective,
    mlp_vae,
    residual_vae,
    set_output_bias,
)

nan = float("nan")


def build(make, *arguments, seed=0, scale=1.0, **options):
    """Make a model in double precision, the same on every run, its weights scaled."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make(*arguments, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


# --- a VAE that is probabilistic principal component analysis ------------------------------------


@pytest.fixture
def ppca():
    # fitted, so that the columns are orthogonal and the posterior is a diagonal Gaussian
    return LinearGaussian.fit(normals(60, 6) @ normals(6, 6, seed=1), 3)


@pytest.fixture
def x(ppca):
    return ppca.sample(45, seeded(2))


@pytest.mark.parametrize("k", [1, 2, 7, 49, 50, 51, 100, 120, 1001])
def test_with_the_exact_posterior_every_estimate_is_the_evidence(ppca, x, k):
    vae, evidence = linear_vae(ppca), ppca.log_prob(x)
    torch.testing.assert_close(vae.log_prob_estimate(x, k, seeded(k)), evidence, rtol=0, atol=1e-9)
    weights = vae.log_weights(x, k, seeded(k))
    torch.testing.assert_close(weights, evidence.expand(k, -1), rtol=0, atol=1e-9)
    torch.testing.assert_close(vae.iwae_bound(x, k, seeded(k)), evidence, rtol=0, atol=1e-9)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(n=st.integers(1, 70), k=st.integers(1, 130), n_latents=st.integers(1, 4))
def test_neither_the_batch_nor_k_changes_the_exact_estimate(n, k, n_latents):
    model = LinearGaussian.fit(normals(40, 5, seed=n), n_latents)
    x = model.sample(n, seeded(k))
    estimate = linear_vae(model).log_prob_estimate(x, k, seeded(0))
    torch.testing.assert_close(estimate, model.log_prob(x), rtol=0, atol=1e-9)


def test_with_the_exact_posterior_the_monte_carlo_bound_has_no_variance(ppca, x):
    reconstruction, kl = linear_vae(ppca).elbo_terms(x, seeded(3), kl="monte_carlo")
    torch.testing.assert_close(reconstruction - kl, ppca.log_prob(x), rtol=0, atol=1e-9)


def test_the_bound_of_a_wrong_posterior_is_the_closed_form(ppca, x):
    vae = linear_vae(ppca, shift=0.3, scale=math.exp(0.5))
    mean, log_var = vae.encode(x[:5])
    covariance = torch.diag(log_var[0].exp())
    expected = ppca.elbo(x[:5], mean, covariance)
    gap = kl_full(mean, covariance, *ppca.posterior(x[:5]))
    torch.testing.assert_close(ppca.log_prob(x[:5]), expected + gap)
    for kl in ("analytic", "monte_carlo", "auto"):
        with torch.no_grad():
            draws = [torch.stack(vae.elbo_terms(x[:5], seeded(s), 500, kl=kl)) for s in range(20)]
        reconstruction, divergence = torch.stack(draws, 1)
        value, error = monte_carlo(reconstruction - divergence)
        assert ((value - expected).abs() < 4.5 * error).all()
        assert (error < 0.1 * gap).all()  # or the bound and the evidence could not be told apart


def test_the_analytic_divergence_is_that_of_torch_distributions(ppca, x):
    vae = linear_vae(ppca, shift=0.3)
    mean, log_var = vae.encode(x)
    q = Independent(Normal(mean, torch.exp(log_var / 2)), 1)
    p = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    torch.testing.assert_close(vae.elbo_terms(x, seeded(0)).kl, kl_divergence(q, p))


def test_terms_belong_to_their_datum_whatever_the_batch(ppca, x):
    vae = linear_vae(ppca)
    whole = vae.elbo_terms(x, seeded(0), kl="monte_carlo")
    for size in (1, 7, 45):
        bounds = [
            r - kl
            for r, kl in (vae.elbo_terms(b, seeded(1), kl="monte_carlo") for b in x.split(size))
        ]
        torch.testing.assert_close(torch.cat(bounds), whole.reconstruction - whole.kl)
    # the same image twice as often: the same loss
    bound, terms = elbo_objective(vae, x[:1].expand(8, -1), generator=seeded(2))
    assert bound.shape == terms["reconstruction"].shape == terms["kl"].shape == (8,)
    torch.testing.assert_close(terms["kl"], whole_kl(vae, x[:1]).expand(8))


def whole_kl(vae, x):
    return vae.elbo_terms(x, seeded(0)).kl


# --- a Bernoulli VAE small enough to integrate --------------------------------------------------

all_images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)), dtype=torch.float64)


def grid(n_latents):
    axis = torch.linspace(-14, 14, 2801 if n_latents == 1 else 201, dtype=torch.float64)
    z = axis[:, None] if n_latents == 1 else torch.cartesian_prod(axis, axis)
    return z, n_latents * math.log(float(axis[1] - axis[0]))


def log_joint(vae, x, z):
    """Write log p(x, z) down from its definition: prior times independent coins."""
    coins = torch.distributions.Bernoulli(logits=vae.decoder(z))
    log_prior = (
        Normal(0.0, 1.0).log_prob(z).sum(-1)
        if isinstance(vae.prior, StandardNormal)
        else vae.prior.log_prob(z)
    )
    return coins.log_prob(x[:, None]).sum(-1) + log_prior


@pytest.fixture(params=["1", "2", "1 mixture"])
def small(request):
    vae = build(mlp_vae, 5, int(request.param[0]), hidden=(8,), seed=3, scale=1.5)
    if "mixture" in request.param:
        vae.prior = build(MixturePrior, 1, 3, seed=4)
    with torch.no_grad():  # q wider than the posterior: weights of moderate variance
        vae.encoder.network[-1].bias[vae.n_latents :] += 1.5
    return vae.requires_grad_(False)


def index_of(x):
    """Find the places of images in `all_images`: their pixels are its binary digits."""
    return (x @ (2 ** torch.arange(4, -1, -1, dtype=torch.float64))).long()


def evidence(vae, x):
    z, log_cell = grid(vae.n_latents)
    return torch.logsumexp(log_joint(vae, x, z), 1) + log_cell


def test_evidence_sums_to_one_over_all_images(small):
    assert float(evidence(small, all_images).logsumexp(0)) == pytest.approx(0, abs=1e-9)


def test_estimates_sum_to_one_over_all_images(small):
    repeated = [small.log_prob_estimate(all_images, 500, seeded(s)).exp().sum() for s in range(10)]
    value, error = monte_carlo(torch.stack(repeated))
    assert abs(float(value) - 1) < 6 * float(error)  # Student's t, 9 degrees
    assert float(error) < 0.01


def test_weights_average_to_the_evidence(small):
    value, error = monte_carlo(small.log_weights(all_images, 20_000, seeded(5)).exp())
    assert ((value - evidence(small, all_images).exp()).abs() < 4.5 * error).all()


def test_estimates_come_near_the_evidence(small):
    estimates = torch.stack(
        [small.log_prob_estimate(all_images, 130, seeded(s)) for s in range(40)]
    )
    value, error = monte_carlo(estimates.exp())  # unbiased for p(x), though not for its logarithm
    assert ((value - evidence(small, all_images).exp()).abs() < 4.5 * error).all()
    assert (error / value < 0.1).all()


def test_bits_a_dimension_of_grey_images_are_those_of_enumeration():
    """Three pixels of four levels: all 64 images, their probabilities by quadrature over z."""
    vae = build(mlp_vae, 3, 1, (8,), DiscretizedLogistic(2, n_levels=4), seed=3, scale=1.5)
    with torch.no_grad():  # q wider than the posterior: weights of moderate variance
        vae.encoder.network[-1].bias[1:] += 1.5
        images = torch.cartesian_prod(*[torch.arange(4, dtype=torch.float64) / 3] * 3)
        z, log_cell = grid(1)
        likelihoods = vae.likelihood.log_prob(images[:, None], vae.decoder(z)[None])
        exact = torch.logsumexp(likelihoods + Normal(0.0, 1.0).log_prob(z).sum(-1), 1) + log_cell
    assert float(exact.logsumexp(0)) == pytest.approx(0, abs=1e-9)
    value, error = monte_carlo(vae.log_weights(images, 20_000, seeded(1)).detach().exp())
    assert ((value - exact.exp()).abs() < 4.5 * error).all()
    # the average over new images is the entropy, within the error of an average
    drawn = vae.sample(2000, seeded(2))
    bits = bits_per_dimension(vae.log_prob_estimate(drawn, 2000, seeded(3)), 3)
    entropy = -(exact.exp() @ exact) / (3 * math.log(2))
    value, error = monte_carlo(bits)
    assert abs(float(value - entropy)) < 4.5 * float(error)
    assert float(error) < 0.02


@pytest.mark.parametrize("image", [(1, 5, 7), (3, 4, 6)])
def test_colour_images_of_any_size_under_convolutions(image):
    n_pixels = math.prod(image)
    vae = conv_vae(3, 2, DiscretizedLogistic(2), image)
    x = vae.sample(4, seeded(0))
    assert x.shape == (4, n_pixels)
    assert torch.equal(x, (255 * x).round() / 255)
    assert vae.reconstruct(x, seeded(1)).shape == (4, n_pixels)
    vae.elbo(x, seeded(1)).mean().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_numbers_between_the_levels_have_no_likelihood():
    vae = mlp_vae(4, 2, likelihood=DiscretizedLogistic())
    with pytest.raises(ValueError, match=r"^x: wanted levels 0 to 255 over 255"):
        vae.log_prob_estimate(torch.full((2, 4), 0.3001), 5)


def test_the_estimate_in_pieces_has_the_law_of_the_estimate_at_once(small):
    x = all_images[[3, 17]]
    pieces = torch.stack([small.log_prob_estimate(x, 60, seeded(s)) for s in range(300)])
    at_once = torch.stack([small.iwae_bound(x, 60, seeded(1000 + s)) for s in range(300)])
    one, other = monte_carlo(pieces), monte_carlo(at_once)
    error = torch.hypot(one.standard_error, other.standard_error)
    assert ((one.value - other.value).abs() < 4.5 * error).all()
    ratio = pieces.std(0) / at_once.std(0)  # 60 samples in all, not 50 and not 10
    assert ((ratio - 1).abs() < 4.5 / math.sqrt(300)).all()


def test_evidence_is_bound_plus_divergence_from_the_posterior(small):
    z, log_cell = grid(small.n_latents)
    mean, log_var = small.encode(all_images)
    log_q = Normal(mean[:, None], torch.exp(log_var / 2)[:, None]).log_prob(z).sum(-1)
    q = torch.exp(log_q + log_cell)
    joint, log_p = log_joint(small, all_images, z), evidence(small, all_images)
    bound = (q * (joint - log_q)).sum(1)
    divergence = (q * (log_q - (joint - log_p[:, None]))).sum(1)
    torch.testing.assert_close(bound + divergence, log_p, rtol=0, atol=1e-8)
    assert (bound < log_p).all()
    log_prior = small.prior.log_prob(z)
    expected = torch.stack([(q * (joint - log_prior)).sum(1), (q * (log_q - log_prior)).sum(1)])
    for kl in ("auto", "monte_carlo"):
        draws = torch.stack(
            [torch.stack(small.elbo_terms(all_images, seeded(s), 1000, kl)) for s in range(15)]
        )
        value, error = monte_carlo(draws)
        # few repetitions: Student's t with 14 degrees of freedom, 64 numbers
        assert ((value - expected).abs() < 6 * error + 1e-6).all()


def test_elbo_is_one_draw_of_the_terms(small):
    if isinstance(small.prior, StandardNormal):
        reconstruction, kl = small.elbo_terms(all_images, seeded(1))
        torch.testing.assert_close(small.elbo(all_images, seeded(1)), reconstruction - kl)
        for beta in (0.0, 0.5, 4.0):
            bound, terms = elbo_objective(small, all_images, seeded(1), beta)
            torch.testing.assert_close(bound, reconstruction - beta * kl)
            torch.testing.assert_close(terms, {"reconstruction": reconstruction, "kl": kl})


def test_the_bound_rises_with_k_to_the_evidence(small):
    x = all_images[::5]
    averages = []
    for k in (1, 2, 5, 25):
        repeated = x.repeat_interleave(4000, 0)
        bounds = small.iwae_bound(repeated, k, seeded(k)).view(len(x), 4000)
        averages.append(monte_carlo(bounds.mT))
    for lower, upper in itertools.pairwise(averages):
        error = torch.hypot(lower.standard_error, upper.standard_error)
        assert (upper.value > lower.value - 4 * error).all()
        total = error.square().sum().sqrt()
        assert float((upper.value - lower.value).sum()) > 4 * float(total)
    for value, error in averages:
        assert (value < evidence(small, x) + 4 * error).all()


def test_the_estimate_lies_above_the_bound_on_the_same_images(small):
    x = small.sample(400, seeded(6))
    estimate = monte_carlo(small.log_prob_estimate(x, 50, seeded(7)))
    bound = monte_carlo(small.elbo(x, seeded(8)))
    assert float(-estimate.value) < float(-bound.value) - 0.01
    # and the entropy of the model's own images is the expectation of both sides' truth
    truth = monte_carlo(evidence(small, all_images)[index_of(x)])
    assert abs(float(estimate.value - truth.value)) < 0.1


def test_ancestral_samples_have_the_models_probabilities(small):
    draws = small.sample(40_000, seeded(9))
    frequency = torch.bincount(index_of(draws), minlength=32) / len(draws)
    probability = evidence(small, all_images).exp()
    error = (probability * (1 - probability) / len(draws)).sqrt()
    assert ((frequency - probability).abs() < 4.5 * error).all()
    means = small.sample(40_000, seeded(10), mean=True)
    assert len(means.unique()) > 1000  # probabilities, not pixels
    error = monte_carlo(means).standard_error
    assert ((means.mean(0) - probability @ all_images).abs() < 4.5 * error).all()


def test_iwae_objective_is_the_bound_and_its_gradient_flows_to_both_networks():
    vae = build(mlp_vae, 5, 2, hidden=(8,))
    bound, terms = iwae_objective(4)(vae, all_images, seeded(1))
    torch.testing.assert_close(bound, vae.iwae_bound(all_images, 4, seeded(1)))
    assert list(terms) == ["iwae_bound"]
    (-bound.mean()).backward()
    for parameter in vae.parameters():
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_free_bits_are_the_elbo_and_its_gradient(dtype):
    vae, x = build(mlp_vae, 5, 2, hidden=(8,)).to(dtype), all_images.to(dtype)
    bound, terms = free_bits_objective(0)(vae, x, seeded(1))
    elbo, _ = elbo_objective(vae, x, seeded(1))
    assert bound.shape == elbo.shape
    assert bound.dtype == dtype
    torch.testing.assert_close(bound.mean(), elbo.mean())
    torch.testing.assert_close(terms["kl"], vae.elbo_terms(x).kl)
    slopes = [torch.autograd.grad(each.mean(), list(vae.parameters())) for each in (bound, elbo)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_below_the_free_bits_the_code_has_no_price():
    """Of two units, one beyond the free nats and one below: only the first one's rate pulls."""
    vae = build(mlp_vae, 5, 2, hidden=())
    with torch.no_grad():
        vae.decoder[0].weight.zero_()  # z changes no pixel: what is left is the price
        vae.encoder.network[0].weight.zero_()
        vae.encoder.network[0].bias.copy_(torch.tensor([2.0, 0.5, 0.0, 0.0]))  # rates 2 and 0.125
    bound, _ = free_bits_objective(0.3)(vae, all_images, seeded(1))
    reconstruction = vae.elbo_terms(all_images).reconstruction
    torch.testing.assert_close(bound, reconstruction - 2.3)
    bound.mean().backward()
    slope = vae.encoder.network[0].bias.grad
    assert slope.tolist() == [-2.0, 0.0, 0.0, 0.0]


def test_one_datum_has_free_bits():
    vae = build(mlp_vae, 5, 2, hidden=(8,))
    bound, _ = free_bits_objective(5.0)(vae, all_images[:1], seeded(1))
    reconstruction = vae.elbo_terms(all_images[:1], seeded(1)).reconstruction
    torch.testing.assert_close(bound, reconstruction - 10)


def test_the_objectives_gradient_is_the_slope_of_the_true_bound():
    """The average reparameterised gradient, against differences of the bound by quadrature."""
    vae = build(mlp_vae, 5, 1, hidden=(4,), seed=3)
    z, log_cell = grid(1)
    x = all_images[[5]]

    def true_bound():
        mean, log_var = vae.encode(x)
        log_q = Normal(mean, torch.exp(log_var / 2)).log_prob(z).sum(-1)
        return (torch.exp(log_q + log_cell) * (log_joint(vae, x, z)[0] - log_q)).sum()

    parameters = list(vae.parameters())
    truth = torch.autograd.grad(true_bound(), parameters)
    gradients = []
    for seed in range(60):
        bound, _ = elbo_objective(vae, x.expand(300, -1), generator=seeded(seed))
        gradients.append(torch.autograd.grad(bound.mean(), parameters))
    for expected, draws in zip(truth, zip(*gradients, strict=True), strict=True):
        value, error = monte_carlo(torch.stack(draws))
        assert ((value - expected).abs() < 5 * error + 1e-8).all()


# --- the pieces -------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_reparameterized_draws_have_the_moments_also_when_not_training(training):
    vae = build(mlp_vae, 5, 2, hidden=(8,)).train(training)
    mean, log_var = (p.detach() for p in vae.encode(all_images[[9]]))
    draws = reparameterize(mean.expand(100_000, 2), log_var.expand(100_000, 2), seeded(0))
    std = torch.exp(log_var / 2)
    assert ((draws.mean(0) - mean) / std).abs().max() < 4.5 / math.sqrt(100_000)
    assert (draws.std(0) / std - 1).abs().max() < 4.5 / math.sqrt(200_000)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x, g: m.sample(6, g),
        lambda m, x, g: m.sample(6, g, mean=True),
        lambda m, x, g: m.reconstruct(x, g),
        lambda m, x, g: m.elbo_terms(x, g).reconstruction,
        lambda m, x, g: m.elbo_terms(x, g, kl="monte_carlo").kl,
        lambda m, x, g: m.elbo(x, g),
        lambda m, x, g: m.log_weights(x, 3, g),
        lambda m, x, g: m.iwae_bound(x, 3, g),
        lambda m, x, g: m.log_prob_estimate(x, 3, g),
        lambda m, x, g: elbo_objective(m, x, g)[0],
        lambda m, x, g: iwae_objective(3)(m, x, g)[0],
        lambda m, x, g: free_bits_objective(0.1)(m, x, g)[0],
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_every_draw_is_random_and_the_generator_alone_decides_it(call, training):
    vae = build(mlp_vae, 5, 2, hidden=(8,)).train(training)
    state = torch.get_rng_state()
    one, same, other = (call(vae, all_images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    generator = seeded(1)
    assert not torch.equal(call(vae, all_images, generator), call(vae, all_images, generator))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert not torch.equal(call(vae, all_images, None), call(vae, all_images, None))


def test_reconstructions_average_to_the_expected_image(small):
    z, log_cell = grid(small.n_latents)
    mean, log_var = small.encode(all_images)
    log_q = Normal(mean[:, None], torch.exp(log_var / 2)[:, None]).log_prob(z).sum(-1)
    expected = torch.exp(log_q + log_cell) @ torch.sigmoid(small.decoder(z))
    draws = small.reconstruct(all_images.repeat(400, 1), seeded(0)).view(400, 32, 5)
    value, error = monte_carlo(draws)
    assert ((value - expected).abs() < 5 * error).all()


def test_interpolation_starts_and_stops_at_the_codes(small):
    start, stop = all_images[:3], all_images[10:13]
    path = small.interpolate(start, stop, 5)
    assert path.shape == (3, 5, 5)
    codes = [small.encode(x)[0] for x in (start, stop)]
    for step, share in enumerate((0, 0.25, 0.5, 0.75, 1)):
        code = (1 - share) * codes[0] + share * codes[1]
        torch.testing.assert_close(path[:, step], small.decode(code))
    assert small.interpolate(start, stop).shape == (3, 8, 5)


def test_decoding_gives_the_mean_of_the_likelihood(small):
    z = normals(4, 3, small.n_latents)
    torch.testing.assert_close(small.decode(z), torch.sigmoid(small.decoder(z)))


@pytest.mark.parametrize("scale", [1e3, 1e8])
def test_the_log_variance_is_bounded_however_wild_the_weights(scale):
    vae = build(mlp_vae, 5, 3, hidden=(8,), scale=scale)
    _, log_var = vae.encode(all_images)
    assert log_var.abs().max() <= 10
    assert log_var.abs().max() > 9.9
    for term in vae.elbo_terms(all_images, seeded(0)):
        assert torch.isfinite(term).all()


def test_the_bound_on_the_log_variance_hardly_bends_small_ones():
    raw = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    encoder = Encoder(nn.Identity())
    mean, log_var = encoder(torch.cat([raw, raw], 1))
    assert torch.equal(mean, raw)
    torch.testing.assert_close(log_var, raw, rtol=0.02, atol=0)
    assert torch.equal(log_var.sign(), raw.sign())


class MeanEncoder(nn.Module):
    """The mean is the first pixels; the variance is constant."""

    def forward(self, x):
        return x[:, :3], torch.zeros(len(x), 3, dtype=x.dtype)


def test_active_units_are_those_whose_mean_varies():
    vae = VAE(MeanEncoder(), nn.Linear(3, 4), Gaussian(), StandardNormal(3))
    x = torch.zeros(2500, 4, dtype=torch.float64)
    x[:, 0] = math.sqrt(0.012) * normals(2500)
    x[:, 1] = math.sqrt(0.008) * normals(2500, seed=1)
    x[:, 2] = 7.0  # far from the prior's mean, and yet it says nothing about the datum
    assert vae.active_units(x).tolist() == [True, False, False]
    assert vae.active_units(x, threshold=0.005).tolist() == [True, True, False]


@pytest.mark.parametrize("n", [3, 1500])
def test_memory_is_flat_in_k_and_in_the_number_of_data(n, monkeypatch):
    vae = build(mlp_vae, 5, 2, hidden=(8,))
    rows = []
    vae.decoder.register_forward_hook(lambda _, inputs, out: rows.append(out.numel() // 5))
    x = torch.zeros(n, 5, dtype=torch.float64)
    vae.log_prob_estimate(x, 3000 if n == 3 else 20, seeded(0))
    assert sum(rows) == (9000 if n == 3 else 30_000)  # every sample decoded, and once
    assert max(rows) <= 1000 + 50


# --- ready-made models, weights -------------------------------------------------------


def test_the_default_is_the_network_of_the_paper():
    widths = [m.in_features for m in mlp_vae().modules() if isinstance(m, nn.Linear)]
    assert widths == [784, 400, 20, 400]
    n_parameters = sum(p.numel() for p in mlp_vae().parameters())
    assert n_parameters == 784 * 400 + 400 + 400 * 40 + 40 + 20 * 400 + 400 + 400 * 784 + 784


def test_the_decoder_mirrors_the_encoder():
    decoder = mlp_vae(9, 2, hidden=(8, 5)).decoder
    assert [m.out_features for m in decoder if isinstance(m, nn.Linear)] == [5, 8, 9]


@pytest.mark.parametrize("likelihood", [None, Gaussian(0.5), Gaussian(None), ContinuousBernoulli()])
@pytest.mark.parametrize(
    "make",
    [
        lambda likelihood: mlp_vae(784, 3, hidden=(8,), likelihood=likelihood),
        lambda likelihood: residual_vae(784, 3, 8, 1, likelihood=likelihood),
        lambda likelihood: conv_vae(3, 2, likelihood=likelihood),
    ],
    ids=["mlp", "residual", "conv"],
)
def test_ready_made_models_answer_every_question(make, likelihood):
    vae = make(likelihood)
    assert isinstance(vae.likelihood, Bernoulli if likelihood is None else type(likelihood))
    assert vae.n_latents == 3
    x = torch.bernoulli(torch.full((4, 784), 0.3), generator=seeded(0))
    assert vae.sample(2, seeded(0)).shape == (2, 784)
    assert vae.reconstruct(x, seeded(0)).shape == (4, 784)
    assert vae.interpolate(x, x, 3).shape == (4, 3, 784)
    assert vae.decode(torch.zeros(2, 5, 3)).shape == (2, 5, 784)
    for term in vae.elbo_terms(x, seeded(0), n_samples=3):
        assert term.shape == (4,)
    assert vae.log_weights(x, 6, seeded(0)).shape == (6, 4)
    estimate = vae.log_prob_estimate(x, 60, seeded(0))
    assert estimate.shape == (4,)
    assert torch.isfinite(estimate).all()
    assert vae.active_units(x).shape == (3,)
    vae.elbo(x, seeded(0)).mean().backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("kind", "sizes"), [(StandardNormal, [3]), (MixturePrior, [3, 4])])
def test_weights_survive_the_way_through_a_file(tmp_path, kind, sizes):
    def fresh(seed):
        vae = build(mlp_vae, 6, 3, hidden=(8,), seed=seed)
        vae.prior = build(kind, *sizes, seed=seed)
        vae.likelihood = CausalBernoulli(2, 3, 2).double()
        nn.init.normal_(vae.likelihood.weight, generator=seeded(seed))
        return vae

    one, other, third = fresh(1), fresh(2), fresh(3)
    x = torch.bernoulli(torch.full((9, 6), 0.5, dtype=torch.float64), generator=seeded(0))
    before = other.log_prob_estimate(x, 5, seeded(1))
    one.save_weights(tmp_path / "weights.safetensors")
    assert other.load_weights(tmp_path / "weights.safetensors") is other
    third.load_state_dict(one.state_dict())
    expected = one.log_prob_estimate(x, 5, seeded(1))
    assert not torch.equal(expected, before)
    assert torch.equal(expected, other.log_prob_estimate(x, 5, seeded(1)))
    assert torch.equal(expected, third.log_prob_estimate(x, 5, seeded(1)))


@pytest.mark.parametrize("layout", ["channels last", "tied"])
def test_weights_of_any_layout_are_saved(tmp_path, layout):
    one, other = (build(conv_vae, 2, 4, seed=seed) for seed in (1, 2))
    if layout == "channels last":
        one = one.to(memory_format=torch.channels_last)
    else:
        one, other = (build(mlp_vae, 6, 3, hidden=(6,), seed=seed) for seed in (1, 2))
        for model in (one, other):
            model.decoder[2].weight = model.encoder.network[0].weight
    one.save_weights(tmp_path / "weights.safetensors")
    other.load_weights(tmp_path / "weights.safetensors")
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_weights_of_another_architecture_are_refused_and_change_nothing(tmp_path):
    path = tmp_path / "weights.safetensors"
    build(mlp_vae, 5, 2, hidden=(8,), seed=1).save_weights(path)
    for model in (mlp_vae(5, 2, hidden=(9,)), mlp_vae(5, 3, hidden=(8,)), residual_vae(5, 2, 8, 1)):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(ValueError, match=r"^path: wanted weights of this architecture, got "):
            model.load_weights(path)
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name


def test_files_that_are_no_weights_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"^path: wanted weights"):
        mlp_vae(5, 2).load_weights(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        mlp_vae(5, 2).load_weights(tmp_path / "missing.safetensors")


def test_the_output_bias_starts_at_the_mean_image():
    vae = mlp_vae(4, 2, hidden=(8,))
    pixel_means = torch.tensor([0.0, 0.2, 0.9, 1.0])
    set_output_bias(vae, pixel_means)
    with torch.no_grad():
        vae.decoder[-1].weight.zero_()
    expected = torch.tensor([[0.001, 0.2, 0.9, 0.999]])
    torch.testing.assert_close(vae.decode(torch.zeros(1, 2)), expected)


def test_grey_pixels_have_a_bound_but_no_likelihood_under_bernoulli():
    grey = torch.full((2, 5), 0.5)
    for likelihood in (Bernoulli(), CausalBernoulli(1, 5, 2)):
        vae = mlp_vae(5, 2, hidden=(8,), likelihood=likelihood)
        assert vae.elbo(grey).shape == (2,)
        with pytest.raises(ValueError, match=r"^x: wanted binary pixels"):
            vae.log_prob_estimate(grey)
    for likelihood in (Gaussian(), ContinuousBernoulli()):
        mlp_vae(5, 2, hidden=(8,), likelihood=likelihood).log_prob_estimate(grey, 2)


# --- bad input --------------------------------------------------------------------------------

model = mlp_vae(5, 2, hidden=(8,))
fine = torch.zeros(3, 5)

of_x = {
    "encode": lambda x: model.encode(x),
    "reconstruct": lambda x: model.reconstruct(x),
    "elbo_terms": lambda x: model.elbo_terms(x),
    "elbo": lambda x: model.elbo(x),
    "log_weights": lambda x: model.log_weights(x, 2),
    "iwae_bound": lambda x: model.iwae_bound(x, 2),
    "log_prob_estimate": lambda x: model.log_prob_estimate(x, 2),
    "active_units": lambda x: model.active_units(x),
    "elbo_objective": lambda x: elbo_objective(model, x),
    "iwae_objective": lambda x: iwae_objective(2)(model, x),
    "free_bits_objective": lambda x: free_bits_objective(0.1)(model, x),
}
bad_x = {
    "one row without a batch": torch.zeros(5),
    "three dimensions": torch.zeros(2, 1, 5),
    "too narrow": torch.zeros(3, 4),
    "too wide": torch.zeros(3, 6),
    "no rows": torch.zeros(0, 5),
    "integers": torch.zeros(3, 5, dtype=torch.uint8),
    "double precision": torch.zeros(3, 5, dtype=torch.float64),
    "NaN": torch.full((3, 5), nan),
    "infinity": torch.full((3, 5), math.inf),
    "beyond 1": torch.full((3, 5), 1.01),
    "below 0": torch.full((3, 5), -0.01),
    "a list": [[0.0] * 5],
}


@pytest.mark.parametrize("function", of_x)
@pytest.mark.parametrize("x", bad_x)
def test_bad_data_are_named(function, x):
    with pytest.raises(ValueError, match=r"^x: wanted .*, got "):
        of_x[function](bad_x[x])


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("full"), RuntimeError("a bug"), TypeError("a bug")]
)
def test_a_fault_of_the_encoder_is_no_fault_of_the_data(error):
    class Faulty(nn.Module):
        def forward(self, x):
            raise error

    vae = VAE(Encoder(Faulty()), *parts()[1:], StandardNormal(2))
    with pytest.raises(type(error)) as raised:
        vae.elbo(fine)
    assert raised.value is error


def test_a_gaussian_takes_pixels_of_any_size():
    gaussian = mlp_vae(5, 2, hidden=(8,), likelihood=Gaussian())
    assert torch.isfinite(gaussian.elbo(torch.full((2, 5), -40.0))).all()


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: model.decode(torch.zeros(3, 4)), "z"),
        (lambda: model.decode(torch.zeros(3, 2).int()), "z"),
        (lambda: model.sample(0), "n"),
        (lambda: model.sample(2.5), "n"),
        (lambda: model.interpolate(fine, fine, 1), "n_steps"),
        (lambda: model.interpolate(fine - 1, fine), "x_from"),
        (lambda: model.interpolate(fine, fine * nan), "x_to"),
        (lambda: model.interpolate(fine[:1], fine), "x_to"),
        (lambda: model.elbo_terms(fine, n_samples=0), "n_samples"),
        (lambda: model.elbo_terms(fine, kl="exact"), "kl"),
        (lambda: VAE(*parts(), MixturePrior(2, 2)).elbo_terms(fine, kl="analytic"), "kl"),
        (lambda: model.log_weights(fine, 0), "k"),
        (lambda: model.iwae_bound(fine, -1), "k"),
        (lambda: model.log_prob_estimate(fine, 0), "k"),
        (lambda: model.log_prob_estimate(fine, 1.5), "k"),
        (lambda: iwae_objective(0), "k"),
        (lambda: free_bits_objective(-0.1), "free_nats"),
        (lambda: free_bits_objective(nan), "free_nats"),
        (lambda: free_bits_objective(math.inf), "free_nats"),
        (lambda: free_bits_objective(0.1)(VAE(*parts(), MixturePrior(2, 2)), fine), "model"),
        (lambda: model.active_units(fine[:1]), "x"),
        (lambda: set_output_bias(model, torch.zeros(4)), "vae"),
        (lambda: set_output_bias(conv_vae(2, 2), torch.zeros(784)), "vae"),
        (lambda: set_output_bias(mlp_vae(5, 2, likelihood=Gaussian()), torch.zeros(5)), "vae"),
        (lambda: set_output_bias(model, torch.full((5,), nan)), "pixel_means"),
        (lambda: set_output_bias(model, torch.full((5,), 255.0)), "pixel_means"),
        (lambda: reparameterize(torch.zeros(3, 2), torch.zeros(2)), "log_var"),
        (lambda: reparameterize(torch.zeros(2), torch.zeros(3, 2)), "log_var"),
        (lambda: reparameterize(torch.zeros(2).int(), torch.zeros(2)), "mean"),
        (lambda: mlp_vae(0, 2), "n_pixels"),
        (lambda: mlp_vae(2, 0), "n_latents"),
        (lambda: residual_vae(2, 0), "n_latents"),
        (lambda: conv_vae(0), "n_latents"),
    ],
)
def test_bad_input_is_named(call, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted (.|\n)*, got "):
        call()


def parts():
    return model.encoder, model.decoder, Bernoulli()
