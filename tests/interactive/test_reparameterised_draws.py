"""Two estimates of a gradient: the browser's are the package's, draw by draw."""

import math

import pytest
import torch

from vaebook.estimators import monte_carlo, reparameterized_gradient, score_function_gradient
from vaebook.gaussian import LinearGaussian, kl_to_standard_normal, log_normal
from vaebook.interactive.reparameterised_draws import reparameterised_draws

from .conftest import settle

example = reparameterised_draws
STATE = {**example().state, "weight": 1.3, "offset": -0.4, "mean": 0.4, "log_std": -0.3}
N = 40


def integrand(z):
    mean = STATE["weight"] * z + STATE["offset"]
    log_var = torch.full_like(z, 2 * math.log(STATE["noise_std"]))
    return log_normal(torch.full_like(z, STATE["x"]), mean, log_var)


def arguments():
    mean, log_std = (
        torch.tensor([STATE[name]], dtype=torch.float64) for name in ("mean", "log_std")
    )
    return integrand, mean, 2 * log_std, N, torch.Generator().manual_seed(3)


def noise():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(N, 1, dtype=torch.float64, generator=generator)[:, 0].tolist()


@pytest.mark.parametrize(
    ("way", "estimator"),
    [("through", reparameterized_gradient), ("score", score_function_gradient)],
)
def test_each_draw_has_the_package_s_gradient(evaluate, way, estimator):
    rows = evaluate("reparameterised_draws", "m.gradients(a[0], a[1])", STATE, noise())
    ours = estimator(*arguments())[:, :, 0]
    ours[:, 1] *= 2  # the package differentiates by the log-variance
    torch.testing.assert_close(
        torch.tensor([row[way] for row in rows], dtype=torch.float64), ours, atol=1e-9, rtol=1e-9
    )


def test_the_exact_gradient(evaluate):
    now = evaluate("reparameterised_draws", "m.exactGradient(a[0])", STATE)
    place = torch.tensor([STATE["mean"], STATE["log_std"]], dtype=torch.float64, requires_grad=True)
    weight, offset = (torch.tensor([STATE[n]], dtype=torch.float64) for n in ("weight", "offset"))
    model = LinearGaussian(weight[:, None], offset, STATE["noise_std"] ** 2)
    mean, variance = place[:1, None], (2 * place[1:, None]).exp()
    bound = model.elbo(torch.tensor([[STATE["x"]]]).double(), mean, variance)
    (bound + kl_to_standard_normal(mean, variance.log())).sum().backward()
    assert now == pytest.approx(place.grad.tolist(), abs=1e-9)


def test_the_baseline_moves_no_mean(evaluate):
    """Of 400 sets of noise the mean is that of the exact gradient, with a smaller spread."""
    expression = (
        "Array.from({length: 400}, (_, s) => m.summary("
        "m.gradients(a[0], m.noiseOf(s)).map((draw) => draw.score[0])))"
    )
    (exact, _) = evaluate("reparameterised_draws", "m.exactGradient(a[0])", STATE)
    spreads = []
    for baseline in (False, True):
        sets = evaluate("reparameterised_draws", expression, {**STATE, "baseline": baseline})
        value, error = monte_carlo(torch.tensor([now["mean"] for now in sets], dtype=torch.float64))
        assert abs(value - exact) < 4.5 * error
        spreads.append(sum(now["std"] for now in sets))
    assert spreads[1] < 0.7 * spreads[0]


def test_the_draws_move_with_q_and_the_noise_stays(show):
    page = show(example())
    rows = page.locator(".vaebook-numbers tr")
    before = rows.nth(3).inner_text()
    page.get_by_label("mean of q", exact=True).fill("1.5")
    settle(page)
    moved = rows.nth(3).inner_text()
    assert moved != before
    page.get_by_role("button", name="New noise").click()
    settle(page)
    assert rows.nth(3).inner_text() != moved
    page.get_by_role("button", name="Reset").click()
    settle(page)
    assert rows.nth(3).inner_text() == before


@pytest.mark.parametrize("wrong", [{"noise_std": 0.0}, {"weight": 0.0}])
def test_refuses(wrong):
    with pytest.raises(ValueError, match="wanted"):
        reparameterised_draws(**wrong)
