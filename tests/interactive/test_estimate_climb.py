"""The climbing estimate: the page averages weights as the package does, and the mean rises."""

import numpy as np
import pytest
import torch

from tests.common import normals
from vaebook import data
from vaebook.estimators import log_mean_exp
from vaebook.interactive.estimate_climb import estimate_climb

from .conftest import settle

LOG_WEIGHTS = -90 + 4 * normals(3, 50)


def example():
    images = data.threshold_binarization(data.load().validation.pixels()[:4])
    spreads, levels = torch.tensor([3.0, 5.0]), torch.tensor([-50.0, -80.0, -95.0, -140.0])
    noise = normals(2, 4, 1000).float()
    log_weights = levels[:, None] + spreads[:, None, None] * noise
    return estimate_climb(log_weights - torch.tensor([0.0, 12.0])[:, None, None], images)


def test_browser_has_the_package_s_averages(evaluate):
    for row in LOG_WEIGHTS:
        value = evaluate("estimate_climb", "m.logMeanExp(a[0])", row.tolist())
        assert value == pytest.approx(log_mean_exp(row).item(), abs=1e-6)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_estimates_are_those_of_the_places(evaluate, k):
    pool, places = LOG_WEIGHTS[0], torch.randint(50, (20, 7))
    found = evaluate("estimate_climb", "m.estimates(...a)", pool.tolist(), places.tolist(), k)
    expected = log_mean_exp(pool[places[:, :k]], 1)
    np.testing.assert_allclose(found, expected.tolist(), rtol=0, atol=1e-6)


def test_bars_are_the_shares_of_a_histogram(evaluate):
    values, edges = LOG_WEIGHTS[0].numpy(), np.linspace(-100, -80, 11)
    found = evaluate("estimate_climb", "m.shares(...a)", values.tolist(), edges.tolist())
    expected, _ = np.histogram(values.clip(-100, -80), edges)
    np.testing.assert_allclose(found, expected / len(values), atol=1e-12)


def means(page):
    rows = page.locator(".vaebook-numbers td").all_inner_texts()
    return [float(row.replace("−", "-").removesuffix(" nats")) for row in rows]


def test_more_draws_lift_the_mean_towards_all_of_them(show):
    page = show(example())
    slider, seen = page.get_by_label("draws K"), []
    for place in range(9):
        slider.fill(str(place))
        settle(page)
        seen.append(means(page)[0])
    assert seen == sorted(seen)
    best = means(page)[3]
    assert best - 0.3 < seen[-1] <= best
    page.get_by_label("an encoder with").check()
    settle(page)
    assert means(page)[0] < best - 2  # it looks settled, and is not
    assert means(page)[3] == best


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"log_weights: wanted shape \(2, 3, n_draws\)"):
        estimate_climb(torch.zeros(2, 4, 10), torch.zeros(3, 16))
