"""Importance sampling in the browser: weights, effective draws and estimates of the package."""

import math

import pytest
import torch

from vaebook.estimators import effective_sample_size, importance_average
from vaebook.gaussian import log_normal
from vaebook.interactive.importance_weights import importance_weights

from .conftest import settle

example = importance_weights
NOISE = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
PLACES = [(0.0, 0.0), (1.0, 0.3), (-0.5, -0.6)]


def weighted(mean, log_std):
    x = (mean + math.exp(log_std) * NOISE)[:, None]
    at = torch.tensor([mean], dtype=torch.float64), torch.tensor([2 * log_std], dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    return x[:, 0], log_normal(x, zero, zero) - log_normal(x, *at)


@pytest.mark.parametrize(("mean", "log_std"), PLACES)
def test_weights_and_estimate(evaluate, mean, log_std):
    state = {"mean": mean, "log_std": log_std}
    draws = evaluate("importance_weights", "m.weighted(a[0], a[1])", state, NOISE.tolist())
    x, log_weights = weighted(mean, log_std)
    assert [draw["x"] for draw in draws] == pytest.approx(x.tolist(), abs=1e-12)
    assert [draw["logWeight"] for draw in draws] == pytest.approx(log_weights.tolist(), abs=1e-9)
    ess = evaluate("importance_weights", "m.effective(a[0])", log_weights.tolist())
    assert ess == pytest.approx(float(effective_sample_size(log_weights)), rel=1e-9)
    value, error = importance_average(x.square(), log_weights)
    now = evaluate("importance_weights", "m.estimate(a[0])", draws)
    assert (now["value"], now["error"]) == pytest.approx((float(value), float(error)), abs=1e-9)


def test_the_way_of_the_estimate_passes_through_estimates(evaluate):
    x, log_weights = weighted(0.5, 0.2)
    draws = [
        {"x": a, "logWeight": b} for a, b in zip(x.tolist(), log_weights.tolist(), strict=True)
    ]
    path = evaluate("importance_weights", "m.path(a[0])", draws)
    for n in (5, 50, 200):
        value, error = importance_average(x[:n].square(), log_weights[:n])
        at = path[n - 1]
        assert (at["n"], at["value"], at["error"]) == pytest.approx(
            (n, float(value), float(error)), abs=1e-7
        )


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (1.0, 0.3), (-0.5, -0.3)])
def test_the_limit_of_the_effective_share(evaluate, mean, log_std):
    """Quadrature of the expected squared weight."""
    x = torch.linspace(-40, 40, 200_001, dtype=torch.float64)[:, None]
    zero = torch.zeros(1, dtype=torch.float64)
    q = log_normal(x, zero + mean, zero + 2 * log_std)
    square = torch.trapezoid((2 * log_normal(x, zero, zero) - q).exp(), x[:, 0])
    now = evaluate(
        "importance_weights", "m.limitingShare(a[0])", {"mean": mean, "log_std": log_std}
    )
    assert now == pytest.approx(1 / float(square), rel=1e-6)


def test_a_narrow_proposal_has_no_limit_and_misses(show):
    page = show(example())
    page.get_by_role("button", name="Too narrow").click()
    settle(page)
    measured, limit, estimate, _ = page.locator(".vaebook-numbers td").all_inner_texts()
    assert limit == "0 of 300"
    assert int(measured.split()[0]) > 50
    assert float(estimate.split()[0]) < 1


def test_refuses():
    with pytest.raises(ValueError, match="n_draws: wanted one of"):
        importance_weights(n_draws=7)
