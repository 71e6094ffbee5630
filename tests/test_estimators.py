"""Monte Carlo averages, importance weights and gradients against closed forms and repetition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from tests.common import seeded
from tests.pretend_cuda import PretendCuda
from vaebook.estimators import (
    Estimate,
    Pieces,
    effective_sample_size,
    importance_average,
    log_mean_exp,
    monte_carlo,
    reparameterized_gradient,
    score_function_gradient,
)
from vaebook.vae import mlp_vae

nan = float("nan")
quick = settings(deadline=None, derandomize=True, max_examples=50)
arrays = hnp.arrays(
    "float64",
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=5),
    elements=st.floats(-30, 30, allow_nan=False),
)


# --- averages ---------------------------------------------------------------------------------


def test_monte_carlo_of_numbers_worked_out_by_hand():
    value, error = monte_carlo(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert float(value) == 3.0
    # squared deviations 4 + 1 + 0 + 9 = 14; sqrt(14 / 3) / sqrt(4)
    assert float(error) == pytest.approx(math.sqrt(14 / 3) / 2)


def test_monte_carlo_covers_the_truth_as_often_as_it_says():
    values = torch.rand(200, 5000, generator=seeded(0), dtype=torch.float64)
    estimate = monte_carlo(values)
    assert isinstance(estimate, Estimate)
    assert estimate.value.shape == (5000,)
    covered = ((estimate.value - 0.5).abs() < estimate.standard_error).double().mean()
    # of 5000 averages, 68.27 % within one error; the binomial error of that is 0.66 %
    assert abs(float(covered) - 0.6827) < 4 * 0.0066
    assert float(estimate.standard_error.mean()) == pytest.approx(math.sqrt(1 / 12 / 200), rel=0.01)


def test_monte_carlo_averages_over_the_dimension_asked_for():
    values = torch.randn(4, 6, generator=seeded(1), dtype=torch.float64)
    along_rows = monte_carlo(values, dim=1)
    assert along_rows.value.shape == along_rows.standard_error.shape == (4,)
    torch.testing.assert_close(along_rows, monte_carlo(values.T))
    torch.testing.assert_close(along_rows, monte_carlo(values, dim=-1))


@quick
@given(values=arrays)
def test_log_mean_exp_is_scipys(values):
    for dim in range(values.ndim):
        expected = special.logsumexp(values, dim) - math.log(values.shape[dim])
        result = log_mean_exp(torch.tensor(values), dim)
        torch.testing.assert_close(result, torch.tensor(expected), rtol=1e-12, atol=1e-12)


def test_log_mean_exp_neither_overflows_nor_underflows():
    values = torch.tensor([[-90_000.0, 90_000.0], [-90_000.0, 90_000.0]])
    assert log_mean_exp(values).tolist() == [-90_000.0, 90_000.0]
    with_zero = torch.tensor([-math.inf, math.log(4.0)])
    assert float(log_mean_exp(with_zero)) == pytest.approx(math.log(2.0))


def test_log_mean_exp_averages_samples_and_not_data():
    values = torch.tensor([[0.0, 10.0], [0.0, 10.0], [0.0, 10.0]])  # three samples of two data
    torch.testing.assert_close(log_mean_exp(values), torch.tensor([0.0, 10.0]))


@quick
@given(values=arrays, shift=st.floats(-1000, 1000))
def test_effective_sample_size_is_kishs(values, shift):
    weights = np.exp(values)
    expected = weights.sum(0) ** 2 / (weights**2).sum(0)
    sizes = effective_sample_size(torch.tensor(values) + shift)
    torch.testing.assert_close(sizes, torch.tensor(expected), rtol=1e-9, atol=0)
    assert (sizes > 1 - 1e-9).all()
    assert (sizes < len(values) * (1 + 1e-9)).all()


def test_effective_sample_size_at_its_ends():
    assert float(effective_sample_size(torch.full((7,), -800.0))) == pytest.approx(7, rel=1e-4)
    assert float(effective_sample_size(torch.tensor([0.0, -500.0, -500.0]))) == pytest.approx(1)
    assert effective_sample_size(torch.zeros(3, 5), dim=1).tolist() == pytest.approx([5.0] * 3)


@pytest.mark.parametrize("weights", [[-math.inf] * 3, [math.nan, 0.0, 0.0]])
def test_weights_that_are_all_zero_are_refused(weights):
    logs = torch.tensor(weights)
    for answer in (effective_sample_size, lambda w: importance_average(torch.ones(3), w)):
        with pytest.raises(ValueError, match="log_weights: wanted a weight above zero"):
            answer(logs)


def test_importance_average_of_numbers_worked_out_by_hand():
    values, weights = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 2.0, 1.0])
    value, error = importance_average(values, weights.log() + 300)  # any common factor
    assert float(value) == pytest.approx(11 / 4)
    assert float(error) == pytest.approx(math.sqrt(1.75**2 + (2 * 0.75) ** 2 + 3.25**2) / 4)
    plain = monte_carlo(values)
    value, error = importance_average(values, torch.zeros(3))
    assert float(value) == pytest.approx(float(plain.value))
    assert float(error) == pytest.approx(float(plain.standard_error) * math.sqrt(2 / 3))


def test_importance_average_reports_the_spread_of_its_repetitions():
    z = 1.5 * torch.randn(2_000, 4_000, generator=seeded(1), dtype=torch.float64)
    log_weights = -0.5 * z.square() + 0.5 * (z / 1.5).square()  # N(0, 1) over N(0, 1.5²)
    value, error = importance_average(z.square(), log_weights)
    assert float(value.mean()) == pytest.approx(1, abs=4.5 * float(value.std()) / 4_000**0.5 + 1e-3)
    assert float(error.mean()) == pytest.approx(float(value.std()), rel=0.05)
    columns = importance_average(z.T.square(), log_weights.T, dim=1)
    torch.testing.assert_close(columns.value, value)


# --- gradients --------------------------------------------------------------------------------

mean = torch.tensor([0.5, -1.0], dtype=torch.float64)
log_var = torch.tensor([-0.4, 0.6], dtype=torch.float64)


def square(z):
    return (z * z).sum(-1)


def wave(z):
    return torch.sin(z[:, 0]) * z[:, 1]


def expected_square(mean, log_var):
    return (mean**2 + log_var.exp()).sum()


def expected_wave(mean, log_var):
    return torch.exp(-log_var[0].exp() / 2) * torch.sin(mean[0]) * mean[1]


def true_gradient(expectation):
    parameters = (mean.clone().requires_grad_(), log_var.clone().requires_grad_())
    return torch.stack(torch.autograd.grad(expectation(*parameters), parameters))


@pytest.mark.parametrize(("f", "expectation"), [(square, expected_square), (wave, expected_wave)])
@pytest.mark.parametrize("estimator", [reparameterized_gradient, score_function_gradient])
def test_gradients_against_the_closed_form(estimator, f, expectation):
    gradients = estimator(f, mean, log_var, 100_000, seeded(2))
    assert gradients.shape == (100_000, 2, 2)
    value, error = monte_carlo(gradients)
    assert ((value - true_gradient(expectation)).abs() < 4 * error + 1e-12).all()
    assert (error < 0.05).all()


def test_closed_forms_of_this_test_against_quadrature():
    nodes, weights = special.roots_hermitenorm(60)
    nodes, weights = torch.tensor(nodes), torch.tensor(weights / weights.sum())
    z = mean + torch.exp(log_var / 2) * torch.cartesian_prod(nodes, nodes)
    weight = torch.outer(weights, weights).ravel()
    for f, expectation in ((square, expected_square), (wave, expected_wave)):
        torch.testing.assert_close(weight @ f(z), expectation(mean, log_var), rtol=1e-10, atol=0)


def test_reparameterized_gradient_is_that_of_finite_differences_for_the_same_noise():
    gradients = reparameterized_gradient(wave, mean, log_var, 50, seeded(3)).mean(0)
    noise = torch.randn(50, 2, generator=seeded(3), dtype=torch.float64)

    def average(parameters):
        return wave(parameters[0] + torch.exp(parameters[1] / 2) * noise).mean()

    here, step = torch.stack([mean, log_var]), 1e-5
    for index in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[index] = step
        shift = shift.view(2, 2)
        slope = (average(here + shift) - average(here - shift)) / (2 * step)
        assert float(gradients.view(-1)[index]) == pytest.approx(float(slope), abs=1e-8)


def test_the_reparameterized_gradient_varies_less():
    path = reparameterized_gradient(square, mean, log_var, 20_000, seeded(4)).var(0)
    score = score_function_gradient(square, mean, log_var, 20_000, seeded(4)).var(0)
    # by the mean, d/dmu is 2 z: its variance is 4 sigma^2 exactly
    torch.testing.assert_close(path[0], 4 * log_var.exp(), rtol=0.05, atol=0)
    assert (score > 2 * path).all()


def test_a_baseline_changes_the_variance_and_not_the_mean():
    draws = {
        b: score_function_gradient(square, mean, log_var, 100_000, seeded(5), baseline=b)
        for b in (0.0, float(expected_square(mean, log_var)), -20.0)
    }
    for gradients in draws.values():
        value, error = monte_carlo(gradients)
        assert ((value - true_gradient(expected_square)).abs() < 4.5 * error).all()
    plain, good, bad = (gradients[:, 0].var(0) for gradients in draws.values())
    assert (good < plain).all()
    assert (plain < bad).all()


def test_gradients_leave_the_caller_alone():
    own_mean, own_log_var = mean.clone().requires_grad_(), log_var.clone().requires_grad_()
    state = torch.get_rng_state()
    for estimator in (reparameterized_gradient, score_function_gradient):
        one, same, other = (
            estimator(square, own_mean, own_log_var, 3, seeded(seed)) for seed in (1, 1, 2)
        )
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert not one.requires_grad
    assert torch.equal(state, torch.get_rng_state())
    assert own_mean.grad is None
    assert own_log_var.grad is None


def test_the_score_function_needs_no_derivative_of_f():
    gradients = score_function_gradient(
        lambda z: (z[:, 0] > 0).double(), mean, log_var, 100_000, seeded(6)
    )
    value, error = monte_carlo(gradients[:, 0, 0])
    # d/dmu P(z > 0) is the density of z at 0
    truth = math.exp(-0.5 * 0.25 / math.exp(-0.4)) / math.sqrt(2 * math.pi * math.exp(-0.4))
    assert abs(float(value) - truth) < 4 * float(error)


# --- pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 40, 500, 2500, 7000, 10**6])
@pytest.mark.parametrize(("n", "k"), [(137, 130), (1001, 1), (3, 700), (41, 60)])
def test_the_size_of_a_piece_moves_no_draw(n, k, n_rows):
    def noise(n_rows):
        pieces, generator = Pieces(k, n_rows), seeded()
        parts = torch.zeros(n, 3).split(pieces.n_data)
        return torch.cat([torch.cat(list(pieces.noise(rows, generator))) for rows in parts], dim=1)

    one = noise(1000)
    assert one.shape == (k, n, 3)
    assert len(one.unique()) > 0.99 * one.numel()  # each its own draw, in single precision
    assert torch.equal(noise(n_rows), one)


def decoded_rows(vae, x, k):
    """Estimate log p(x), and the rows of each call of the decoder."""
    rows = []
    with vae.decoder.register_forward_hook(lambda _, inputs, out: rows.append(len(inputs[0]))):
        estimate = vae.log_prob_estimate(x, k, torch.Generator(x.device).manual_seed(0))
    return estimate.cpu(), rows


@pytest.mark.parametrize(("n", "k"), [(137, 130), (1001, 1), (3, 700)])
def test_the_size_of_a_piece_moves_no_estimate(n, k, monkeypatch):
    vae = mlp_vae(5, 2, (8,)).double()
    x = torch.bernoulli(torch.full((n, 5), 0.4, dtype=torch.float64), generator=seeded())
    one, _ = decoded_rows(vae, x, k)
    for n_rows in (40, 1000, 3500, 10**6):
        monkeypatch.setattr("vaebook.vae.rows_at_once", lambda *_, n=n_rows: n)
        other, rows = decoded_rows(vae, x, k)
        assert sum(rows) == n * k
        torch.testing.assert_close(other, one, rtol=1e-12, atol=0)


def test_pieces_suit_the_device_and_its_memory(monkeypatch):
    vae, x = mlp_vae(784, 2, (8,)), torch.zeros(400, 784)
    assert max(decoded_rows(vae, x, 300)[1]) == 500
    with PretendCuda():
        vae.to("cuda")
        _, rows = decoded_rows(vae, x.to("cuda"), 300)
        assert 40_000 < max(rows) <= 50_000  # 8 GiB are free
        assert sum(rows) == 400 * 300
        little = 2**30
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (little, 2 * little))
        _, rows = decoded_rows(vae, x.to("cuda"), 300)
        assert max(rows) * 784 * 4 <= little / 64
        assert max(rows) > 3000


# --- bad input --------------------------------------------------------------------------------

two = torch.zeros(2)


@pytest.mark.parametrize("estimator", [reparameterized_gradient, score_function_gradient])
@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ((square, torch.zeros(1, 2), two, 3), "mean"),
        ((square, torch.zeros(2).int(), two, 3), "mean"),
        ((square, two * nan, two, 3), "mean"),
        ((square, two, torch.zeros(3), 3), "log_var"),
        ((square, two, two + math.inf, 3), "log_var"),
        ((square, two, two, 0), "n_samples"),
        ((square, two, two, 2.0), "n_samples"),
        ((lambda z: z, two, two, 3), "f"),
        ((lambda z: z.sum(), two, two, 3), "f"),
    ],
)
def test_bad_gradient_input_is_named(estimator, arguments, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted .*, got "):
        estimator(*arguments)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: monte_carlo(torch.tensor(3.0)), "values"),
        (lambda: monte_carlo(torch.tensor([3.0])), "values"),
        (lambda: monte_carlo(torch.zeros(5, 1), dim=1), "values"),
        (lambda: monte_carlo(torch.arange(5)), "values"),
        (lambda: monte_carlo([1.0, 2.0]), "values"),
        (lambda: monte_carlo(torch.tensor([1.0, nan])), "values"),
        (lambda: monte_carlo(torch.zeros(5), dim=1), "dim"),
        (lambda: log_mean_exp(torch.arange(5)), "log_values"),
        (lambda: log_mean_exp(torch.tensor(1.0)), "log_values"),
        (lambda: log_mean_exp(torch.zeros(0, 3)), "log_values"),
        (lambda: log_mean_exp(torch.zeros(3), dim=2), "dim"),
        (lambda: effective_sample_size([0.0, 0.0]), "log_weights"),
        (lambda: effective_sample_size(torch.zeros(0)), "log_weights"),
        (lambda: effective_sample_size(torch.zeros(3), dim=-2), "dim"),
        (lambda: importance_average(torch.zeros(1), torch.zeros(1)), "values"),
        (lambda: importance_average(torch.tensor([1.0, nan]), torch.zeros(2)), "values"),
        (lambda: importance_average(torch.zeros(2), torch.zeros(3)), "log_weights"),
        (lambda: importance_average(torch.zeros(2), [0.0, 0.0]), "log_weights"),
        (lambda: importance_average(torch.zeros(2), torch.zeros(2), dim=1), "dim"),
    ],
)
def test_bad_input_is_named(call, argument):
    with pytest.raises(ValueError, match=rf"^{argument}: wanted .*, got "):
        call()
