"""Two KL divergences: the browser's numbers, and its fits, are those of the chapter."""

import math

import pytest
import torch

from vaebook.gaussian import log_normal
from vaebook.interactive.kl_fits import kl_fits

from .test_elbo_explorer import numbers, settle

example = kl_fits
TARGET = example().state["target"]
X = torch.linspace(-15, 15, 6001, dtype=torch.float64)


def log_density(mean, log_std):
    at = torch.tensor([mean], dtype=torch.float64), torch.tensor([2.0 * log_std]).double()
    return log_normal(X[:, None], *at)


def log_target():
    parts = zip(TARGET["weights"], TARGET["means"], TARGET["stds"], strict=True)
    return torch.logsumexp(
        torch.stack([math.log(w) + log_density(m, math.log(s)) for w, m, s in parts]), 0
    )


def divergences(mean, log_std):
    p, q = log_target(), log_density(mean, log_std)
    forward = torch.trapezoid(p.exp() * (p - q), X)
    return float(forward), float(torch.trapezoid(q.exp() * (q - p), X))


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (-2.0, -0.5), (3.5, 0.8), (1.0, -1.5)])
def test_both_divergences(evaluate, mean, log_std):
    now = evaluate(
        "kl_fits", "m.divergences(a[0])", {**example().state, "mean": mean, "log_std": log_std}
    )
    assert (now["forward"], now["reverse"]) == pytest.approx(divergences(mean, log_std), abs=1e-6)


def test_the_forward_fit_has_the_moments(evaluate):
    now = evaluate("kl_fits", "m.moments(a[0])", TARGET)
    p = log_target().exp()
    mean = torch.trapezoid(p * X, X)
    assert now["mean"] == pytest.approx(float(mean), abs=1e-9)
    variance = torch.trapezoid(p * (X - mean) ** 2, X)
    assert now["std"] == pytest.approx(float(variance.sqrt()), abs=1e-9)


def test_the_slope_of_the_reverse_divergence(evaluate):
    state = {**example().state, "mean": 0.7, "log_std": -0.4}
    now = evaluate("kl_fits", "m.reverseSlope(a[0])", state)
    place = torch.tensor([0.7, -0.4], dtype=torch.float64, requires_grad=True)
    q = log_normal(X[:, None], place[:1], 2 * place[1:])
    torch.trapezoid(q.exp() * (q - log_target()), X).backward()
    assert [now["byMean"], now["byLogStd"]] == pytest.approx(place.grad.tolist(), abs=1e-6)


@pytest.mark.parametrize(("start", "reverse"), [(-3.0, 0.506), (3.0, 0.905)])
def test_the_descent_ends_in_the_fits_of_the_chapter(evaluate, start, reverse):
    state = {**example().state, "mean": start}
    fit = evaluate("kl_fits", "m.reverseFit(a[0])", state)
    assert divergences(**fit)[1] == pytest.approx(reverse, abs=6e-4)


def test_the_buttons_jump_to_the_fits(show):
    page = show(example())
    page.get_by_role("button", name="Forward fit").click()
    settle(page)
    forward, least, _ = numbers(page)
    assert forward == least == pytest.approx(0.459, abs=6e-4)
    page.get_by_role("button", name="Reverse fit, left").click()
    settle(page)
    assert numbers(page)[2] == pytest.approx(0.506, abs=6e-4)
    assert numbers(page)[0] > 7


@pytest.mark.parametrize(
    "wrong", [{"weights": [0.5, 0.6]}, {"stds": [1.0, 0.0]}, {"means": [0.0]}, {"std": -1.0}]
)
def test_refuses(wrong):
    with pytest.raises(ValueError, match="wanted"):
        kl_fits(**wrong)
