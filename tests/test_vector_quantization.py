"""Discrete codes: the nearest vector, the codebook's ways to learn, bounds by enumeration."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from tests.common import all_images, seeded
from vaebook.autoregressive import CategoricalMADE, likelihood_objective
from vaebook.likelihoods import Bernoulli, Gaussian
from vaebook.taxonomy import classify
from vaebook.training import fit
from vaebook.vector_quantization import (
    VQVAE,
    Codebook,
    mlp_vqvae,
    nearest_codes,
    perplexity,
    squared_distances,
    straight_through,
    vq_objective,
)

D = 5
ALL = all_images(D)


def tiny(seed=0, **options):
    """Return a model of five pixels and 3 ** 2 codes, with weights that matter."""
    model = mlp_vqvae(D, 2, 3, 2, (6,), **options).double()
    for weights in model.parameters():
        weights.data.normal_(0, 1.2, generator=seeded(seed))
    if model.codebook.decay is not None:
        model.codebook.vectors.normal_(0, 1.5, generator=seeded(seed + 1))
    return model


def every_code(model):
    """Return all codes of a model, one a row."""
    values = range(model.codebook.n_codes)
    return torch.tensor(list(product(values, repeat=model.n_positions)))


def exact_log_joint(model, x):
    """Return log p(x, z) of each row and of each of all codes."""
    codes = every_code(model)
    params = model.decoder(model.codebook.vectors[codes].flatten(1))
    log_likelihood = Bernoulli().log_prob(x[:, None], params)
    return log_likelihood + model.prior.log_prob(codes)


def test_nearest_codes_are_those_of_plain_differences():
    z, vectors = torch.randn(4, 7, 3), torch.randn(11, 3)
    plain = (z[..., None, :] - vectors).square().sum(-1)
    torch.testing.assert_close(squared_distances(z, vectors), plain, rtol=1e-5, atol=1e-5)
    assert torch.equal(nearest_codes(z, vectors), plain.argmin(-1))
    assert nearest_codes(torch.empty(0, 3), vectors).shape == (0,)
    far = nearest_codes(z + 1000, vectors + 1000)  # in single precision, whose squares are rough
    assert (far == plain.argmin(-1)).float().mean() > 0.99


def test_straight_through_has_the_value_of_one_and_the_slope_of_the_other():
    z = torch.randn(4, 3, requires_grad=True)
    quantised = torch.randn(4, 3, requires_grad=True)
    out = straight_through(z, quantised)
    torch.testing.assert_close(out, quantised)
    out.sin().sum().backward()
    torch.testing.assert_close(z.grad, quantised.detach().cos())
    assert quantised.grad is None


def test_perplexity():
    assert perplexity(torch.arange(6).repeat(3), 6) == pytest.approx(6)
    assert perplexity(torch.full((4, 2), 3), 6) == pytest.approx(1)
    shares = np.array([0.5, 0.25, 0.25])
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert perplexity(torch.tensor([0, 0, 2, 5]), 9) == pytest.approx(expected)


@pytest.mark.parametrize("decay", [0.0, 0.7, 0.99])
def test_a_codebook_follows_the_moving_averages_of_counts_and_sums(decay):
    """The two averages of van den Oord et al., written out, and their quotient."""
    book = Codebook(4, 2, decay).double()
    counts, sums = torch.ones(4).double(), book.vectors.clone()
    for step in range(20):
        z = torch.randn(9, 2, generator=seeded(step), dtype=torch.float64)
        codes = torch.randint(4, (9,), generator=seeded(step))
        for k in range(4):
            counts[k] = decay * counts[k] + (1 - decay) * (codes == k).sum()
            sums[k] = decay * sums[k] + (1 - decay) * z[codes == k].sum(0)
        book.follow(z, codes)
        if decay > 0:
            torch.testing.assert_close(book.vectors, sums / counts[:, None])
    torch.testing.assert_close(book.counts, counts)


def test_a_code_without_data_stays_for_ever():
    book = Codebook(2, 1, 0.5)
    start = book.vectors[1].clone()
    for _ in range(500):  # the count fades to 0
        book.follow(torch.ones(3, 1), torch.zeros(3, dtype=torch.int64))
    assert torch.equal(book.vectors[1], start)
    assert book.vectors[0].item() == pytest.approx(1)


def test_codes_are_of_the_nearest_and_all_positions_share_the_codebook():
    model = tiny()
    z = model.encode(ALL)
    assert z.shape == (32, 2, 2)
    assert torch.equal(model.codes(ALL), torch.cdist(z, model.codebook.vectors).argmin(-1))
    torch.testing.assert_close(model.reconstruct(ALL), model.decode(model.codes(ALL)))


def test_an_untrained_prior_finds_all_codes_equally_probable():
    model = mlp_vqvae(D, 3, 4, 2, (6,))
    log_prior = model.elbo_terms(ALL.float()).log_prior
    torch.testing.assert_close(log_prior, torch.full_like(log_prior, -3 * math.log(4)))


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_lies_below_the_enumerated_evidence(seed):
    model = tiny(seed)
    log_p = exact_log_joint(model, ALL).logsumexp(1)
    assert log_p.exp().sum().item() == pytest.approx(1)
    assert (model.elbo(ALL) <= log_p).all()


@pytest.mark.parametrize("temperature", [15.0, 60.0])
def test_weights_average_to_the_evidence(temperature):
    model = tiny()
    with torch.no_grad():
        weights = model.log_weights(ALL[:6], 40_000, seeded(), temperature).exp()
    exact = exact_log_joint(model, ALL[:6]).logsumexp(1).exp()
    error = weights.std(0) / 200
    assert ((weights.mean(0) - exact).abs() < 4.5 * error + 1e-12).all()
    estimate = model.log_prob_estimate(ALL[:6], 20_000, seeded(), temperature)
    torch.testing.assert_close(estimate, exact.log(), rtol=0, atol=0.2)


def test_the_size_of_the_pieces_moves_no_draw(monkeypatch):
    model, x = tiny(), ALL.repeat(3, 1)
    estimates = []
    for n_rows in (1, 70, 5000):
        monkeypatch.setattr("vaebook.estimators._CPU_ROWS", n_rows)
        estimates.append(model.log_prob_estimate(x, 60, seeded(), 20.0))
    torch.testing.assert_close(estimates[1], estimates[0])
    torch.testing.assert_close(estimates[2], estimates[0])


def test_a_cold_draw_is_the_nearest_code():
    model = tiny()
    weights = model.log_weights(ALL, 2, seeded(), 1e-6)
    torch.testing.assert_close(weights, model.elbo(ALL).expand(2, -1), rtol=1e-5, atol=1e-4)


def test_samples_have_the_probabilities_of_the_model():
    model = tiny()
    number = (2 ** torch.arange(D - 1, -1, -1)).double()
    drawn = (model.sample(40_000, seeded()) @ number).long()
    exact = exact_log_joint(model, ALL).logsumexp(1).exp()
    shares = torch.bincount(drawn, minlength=32) / 40_000
    assert ((shares - exact).abs() < 4.5 * (exact / 40_000).sqrt() + 1e-4).all()
    mean = model.sample(20_000, seeded(), mean=True).mean(0)
    torch.testing.assert_close(mean, exact @ ALL, rtol=0, atol=0.02)
    assert torch.equal(model.sample(3, seeded()), model.sample(3, seeded()))


@pytest.mark.parametrize("decay", [None, 0.9])
def test_the_objective_and_its_gradients(decay):
    """Written out for one datum, with the codes fixed: encoder, codebook and decoder in turn."""
    model = tiny(decay=decay).eval()
    x = ALL[9:10]
    objective, terms = vq_objective(model, x)
    z, vectors = model.encode(x).detach(), model.codebook.vectors
    chosen = vectors[model.codes(x)]
    reconstruction = Bernoulli().log_prob(x, model.decoder(chosen.flatten(1)))
    distance = (z - chosen).square().sum()
    n_distances = 0.25 + (decay is None)
    torch.testing.assert_close(objective, reconstruction - n_distances * distance)
    torch.testing.assert_close(terms["reconstruction"], reconstruction)
    objective.sum().backward()
    q = chosen.detach().requires_grad_()
    Bernoulli().log_prob(x, model.decoder(q.flatten(1))).sum().backward()
    wanted = q.grad - 0.25 * 2 * (z - chosen.detach())  # what reaches the encoder's answer
    torch.testing.assert_close(model.encoder[-1].bias.grad, wanted.flatten())
    if decay is None:
        pull = torch.zeros_like(vectors)
        pull.index_add_(0, model.codes(x)[0], 2 * (z - chosen)[0].detach())
        torch.testing.assert_close(model.codebook.vectors.grad, pull)


def test_restarts_move_only_dead_codes_and_to_data():
    model = tiny()
    model.codebook.vectors[2] = 1e3
    before = model.codebook.vectors.clone()
    used = model.codes(ALL).unique().tolist()
    assert model.restart_dead_codes(ALL, seeded()) == 3 - len(used)
    for k in range(3):
        moved = not torch.equal(before[k], model.codebook.vectors[k])
        assert moved == (k not in used)
    distance = torch.cdist(model.encode(ALL).flatten(0, 1), model.codebook.vectors[2:])
    assert distance.min().item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_training_improves_and_repeats(decay):
    x = (torch.arange(D) < torch.randint(1, D, (200, 1), generator=seeded())).float()

    def trained():
        torch.manual_seed(0)
        model = mlp_vqvae(D, 2, 4, 2, (16,), decay=decay)
        fit(model, x, vq_objective, epochs=25, batch_size=10, lr=2e-2, progress=False)
        fit(
            model.prior,
            model.codes(x),
            likelihood_objective,
            epochs=25,
            batch_size=10,
            lr=2e-2,
            progress=False,
        )
        return model

    model = trained()
    torch.testing.assert_close(model.elbo(x), trained().elbo(x))
    assert model.elbo(x).mean() > -2.2  # evenly coloured pixels would cost 5 log 2 = 3.5
    assert classify(model) == "explicit, intractable"


def test_validation_leaves_the_codebook_alone():
    torch.manual_seed(0)
    model = mlp_vqvae(D, 2, 4, 2, (4,)).eval()
    before = model.codebook.vectors.clone()
    vq_objective(model, ALL.float())
    assert torch.equal(before, model.codebook.vectors)
    vq_objective(model.train(), ALL.float())
    assert not torch.equal(before, model.codebook.vectors)


def test_real_data():
    model = mlp_vqvae(3, 2, 4, 2, (4,), Gaussian(0.5))
    x = torch.randn(6, 3)
    assert model.elbo(x).shape == (6,)
    assert model.log_prob_estimate(x, 3).shape == (6,)


def test_weights_are_saved_and_loaded(tmp_path):
    model, other = tiny(0), tiny(1)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    torch.testing.assert_close(other.elbo(ALL), model.elbo(ALL))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Codebook(0, 2), "n_codes: wanted an integer of at least 1"),
        (lambda: Codebook(3, 2, 1.0), "decay: wanted a number of at least 0 and below 1"),
        (lambda: mlp_vqvae(D, 0), "n_positions: wanted"),
        (lambda: perplexity(torch.tensor([0.5]), 3), "codes: wanted whole numbers"),
        (lambda: perplexity(torch.tensor([], dtype=torch.int64), 3), "codes: wanted"),
        (lambda: perplexity(torch.tensor([3]), 3), "codes: wanted numbers below n_codes"),
        (lambda: nearest_codes(torch.zeros(2, 3), torch.zeros(4, 2)), "z: wanted 2 columns"),
        (lambda: tiny().elbo(ALL[:, :4]), "x: wanted 5 columns"),
        (lambda: tiny().elbo(2 * ALL), "x: wanted pixels between 0 and 1"),
        (lambda: tiny().log_weights(ALL, 0), "k: wanted"),
        (lambda: tiny().log_weights(ALL, 2, temperature=0.0), "temperature: wanted"),
        (lambda: tiny().log_prob_estimate(0.5 * ALL, 2), "x: wanted binary pixels"),
        (
            lambda: VQVAE(
                torch.nn.Linear(5, 4),
                torch.nn.Linear(4, 5),
                Bernoulli(),
                Codebook(3, 2),
                CategoricalMADE(2, 4),
            ),
            "prior: wanted 3 values, as the codebook has, got 4",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
