"""Conditional VAEs: what is given reaches both networks, and what cannot be is refused."""

import math

import pytest
import torch

from tests.common import seeded
from vaebook.conditional import (
    ConditionalVAE,
    conditional_mlp_vae,
    conditional_objective,
    labelled_rows,
    semi_supervised_mlp_vae,
    semi_supervised_objective,
)
from vaebook.data import dynamic_binarization
from vaebook.likelihoods import Gaussian
from vaebook.networks import mlp
from vaebook.training import fit
from vaebook.vae import VAE, elbo_objective, mlp_vae


def conditional(n_condition=3, **options):
    torch.manual_seed(0)
    return conditional_mlp_vae(n_condition, 12, 2, (8,), **options)


def semi_supervised():
    torch.manual_seed(0)
    return semi_supervised_mlp_vae(3, 12, 2, (8,))


def some_rows(n=20, n_condition=3):
    return torch.bernoulli(torch.full((n, n_condition + 12), 0.4), generator=seeded(1))


def test_without_a_condition_it_is_the_plain_vae():
    model, x = conditional(0), some_rows(n_condition=0)
    plain = VAE(model.encoder, model.decoder, model.likelihood, model.prior)
    given = model.given(x[:, :0])
    torch.testing.assert_close(given.elbo(x, seeded()), plain.elbo(x, seeded()))
    found, _ = conditional_objective(model, x, seeded(), beta=0.5)
    torch.testing.assert_close(found, elbo_objective(plain, x, seeded(), 0.5)[0])
    estimate = model.log_prob_estimate(x, 7, seeded())
    torch.testing.assert_close(estimate, plain.log_prob_estimate(x, 7, seeded()))


@pytest.mark.parametrize("likelihood", [None, Gaussian(None)])
def test_each_row_has_its_own_condition(likelihood):
    model = conditional(likelihood=likelihood)
    y, x = model.split(some_rows())
    mean, log_var = model.given(y).encode(x)
    images = model.given(y).decode(mean.detach())
    for i in range(len(x)):
        one = model.given(y[i : i + 1])
        torch.testing.assert_close(one.encode(x[i : i + 1]), (mean[i : i + 1], log_var[i : i + 1]))
        torch.testing.assert_close(one.decode(mean[i : i + 1].detach()), images[i : i + 1])


def test_several_draws_keep_the_conditions_of_their_rows():
    model = conditional()
    y, x = model.split(some_rows(5))
    many = model.given(y).elbo_terms(x, seeded(), n_samples=4)
    noise = torch.randn(4, 5, 2, generator=seeded())
    mean, log_var = model.given(y).encode(x)
    each = [
        model.likelihood.log_prob(
            x, model.decoder(torch.cat([y, mean + (log_var / 2).exp() * e], 1))
        )
        for e in noise
    ]
    torch.testing.assert_close(many.reconstruction, torch.stack(each).mean(0))


def test_one_condition_serves_any_number_of_codes():
    model, y = conditional(), torch.eye(3)[:1]
    z = torch.randn(6, 2, generator=seeded())
    torch.testing.assert_close(model.given(y).decode(z), model.given(y.expand(6, -1)).decode(z))
    assert model.given(y).sample(6, seeded()).shape == (6, 12)


def test_estimates_do_not_depend_on_what_stands_beside_a_row():
    model, rows = conditional(), some_rows(1203)
    whole = model.log_prob_estimate(rows, 3, seeded())
    y, x = model.split(rows)
    bound = torch.stack([model.given(y).elbo(x, seeded(i)).detach() for i in range(20)]).mean(0)
    assert whole.shape == (1203,)
    assert (whole - bound).mean() > 0
    last = torch.stack([model.log_prob_estimate(rows[-1:], 2000, seeded(i)) for i in range(3)])
    assert last.std() < 0.1
    assert abs(last.mean() - whole[-1]) < 2


def test_the_gradient_reaches_all_weights_and_that_of_a_known_class_no_other_guess():
    model, rows = semi_supervised(), some_rows(6)
    rows[:, :3] = torch.eye(3).repeat(2, 1)
    rows[3:, :3] = 0
    bound, _ = semi_supervised_objective(2.0)(model, rows, seeded())
    bound.sum().backward()
    assert all(w.grad.abs().sum() > 0 for w in model.parameters())
    model.zero_grad()
    semi_supervised_objective(0.0)(model, rows[:3], seeded())[0].sum().backward()
    assert all(w.grad.abs().sum() == 0 for w in model.classifier.parameters())
    assert all(w.grad.isfinite().all() for w in model.parameters())


def test_a_certain_guess_has_a_finite_gradient():
    model, rows = semi_supervised(), some_rows(4)
    rows[:, :3] = 0
    model.classifier[-1].bias.data = torch.tensor([0.0, 400.0, 0.0])
    semi_supervised_objective(1.0)(model, rows, seeded())[0].sum().backward()
    assert all(w.grad.isfinite().all() for w in model.parameters())


@pytest.mark.parametrize("make", [conditional, semi_supervised])
def test_it_trains_and_the_same_seed_gives_the_same_model(make):
    labels = torch.arange(90) % 4 - 1
    pixels = (60 + 60 * labels[:, None].clamp(0)).expand(-1, 12).to(torch.uint8)
    rows = labelled_rows(pixels, labels, 3)
    objective = conditional_objective if make is conditional else semi_supervised_objective(5.0)
    runs = []
    for _ in range(2):
        model = make()
        history = fit(
            model,
            rows,
            objective,
            transform=dynamic_binarization,
            epochs=4,
            lr=1e-2,
            batch_size=30,
            seed=3,
            progress=False,
        )
        runs.append(model.state_dict())
        assert history.array("train", "bound")[-1] > history.array("train", "bound")[0]
    for name, weights in runs[0].items():
        assert torch.equal(weights, runs[1][name])


def test_double_precision_stays_double():
    model, rows = semi_supervised().double(), some_rows().double()
    y, x = model.split(rows)
    assert model.bound(y, x, seeded()).dtype == torch.float64
    assert model.labelled_bounds(x, seeded()).dtype == torch.float64
    assert model.classify(x).exp().sum(1).allclose(torch.ones(20).double())


def test_labelled_rows_become_zeros_and_a_one():
    rows = labelled_rows(torch.full((3, 4), 9, dtype=torch.uint8), torch.tensor([2, -1, 0]), 3)
    assert rows.dtype == torch.uint8
    classes = dynamic_binarization(rows, seeded())[:, :3]
    assert classes.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert labelled_rows(rows[:0], torch.zeros(0)).shape == (0, 17)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conditional().given(torch.zeros(2, 4)), "y"),
        (lambda: conditional().split(torch.zeros(2, 3)), "rows: wanted more than 3 columns"),
        (
            lambda: conditional().given(torch.zeros(2, 3)).encode(torch.zeros(3, 12)),
            "x or z: wanted 2 rows, one for each condition, got 3",
        ),
        (lambda: conditional().given(torch.zeros(2, 3)).encode(torch.zeros(2, 11)), "x: wanted"),
        (lambda: conditional_mlp_vae(-1), "n_condition: wanted an integer of at least 0"),
        (lambda: semi_supervised_mlp_vae(1), "n_condition: wanted an integer of at least 2"),
        (lambda: semi_supervised_objective(math.inf), "alpha: wanted a number of at least 0"),
        (lambda: semi_supervised().classify(torch.zeros(2, 5)), "x: wanted 12 columns"),
        (lambda: conditional().log_prob_estimate(some_rows(), 0), "k: wanted"),
        (lambda: labelled_rows(torch.zeros(2, 4), torch.zeros(2)), "pixels: wanted uint8"),
        (
            lambda: labelled_rows(torch.zeros(2, 4).byte(), torch.zeros(3)),
            r"labels: wanted shape \(2,",
        ),
        (
            lambda: labelled_rows(torch.zeros(2, 4).byte(), torch.tensor([0, 10])),
            "labels: wanted -1 to 9",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_other_networks_than_perceptrons_do():
    plain = mlp_vae(15, 2, (8,))
    model = ConditionalVAE(plain.encoder, mlp(5, 12, ()), plain.likelihood, plain.prior, 3)
    y, x = model.split(some_rows(4))
    assert model.given(y).elbo(x).shape == (4,)
