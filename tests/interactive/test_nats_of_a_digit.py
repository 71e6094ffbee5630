"""What models say of a digit: counts and orders in the browser are the package's."""

import math

import pytest
import torch

from tests.common import seeded
from vaebook import data
from vaebook.interactive.nats_of_a_digit import nats_of_a_digit
from vaebook.two_sample import nearest_distances

from .conftest import settle

AVERAGES = {
    "independent pixels": 206.1,
    "hidden Markov": 180.1,
    "Gaussian mixture": 173.8,
    "naive Bayes": 172.0,
    "diffusion, bound": 105.2,
    "VAE, bound": 92.2,
    "diffusion in codes, bound": 92.0,
    "row model": 89.6,
    "VAE, estimate": 88.1,
}
EXACT = ["independent pixels", "hidden Markov", "Gaussian mixture", "naive Bayes", "row model"]


def example():
    digits = data.threshold_binarization(data.load().validation.pixels()[:600])
    images, known = digits[:12], digits[12:]
    nearest = known[torch.cdist(images, known).argmin(1)]
    costs = {
        name: average * (0.4 + 1.2 * torch.rand(12, generator=seeded(int(average))))
        for name, average in AVERAGES.items()
    }
    return nats_of_a_digit(images, nearest, costs, AVERAGES, EXACT)


def test_browser_counts_the_package_s_pixels(evaluate):
    x = torch.bernoulli(torch.full((2, 40), 0.4), generator=seeded())
    expected = nearest_distances(x[:1], x[1:]).square().item()
    first, second = x.tolist()
    assert evaluate("nats_of_a_digit", "m.pixelsOff(...a)", first, second) == round(expected)


def test_browser_orders_models_and_probabilities(evaluate):
    models = [{"name": "a", "costs": [3.0, 1.0]}, {"name": "b", "costs": [2.0, 5.0]}]
    assert evaluate("nats_of_a_digit", "m.ranking(a[0], 0)", models) == [["b", 2.0], ["a", 3.0]]
    assert evaluate("nats_of_a_digit", "m.ranking(a[0], 1)", models) == [["a", 1.0], ["b", 5.0]]
    orders = evaluate("nats_of_a_digit", "m.ordersBetween(...a)", 80.0, 172.0)
    assert orders == pytest.approx(math.log10(math.exp(172.0 - 80.0)), abs=1e-6)


def test_a_long_name_stands_in_two_lines(evaluate):
    names = "VAE, bound", "independent pixels", "diffusion in codes, bound", "x" * 25
    shown = [evaluate("nats_of_a_digit", "m.inLines(a[0])", name) for name in names]
    assert shown == [*names[:2], "diffusion\nin codes, bound", names[3]]


def test_another_digit_has_other_numbers(show):
    page = show(example())
    table = page.locator(".vaebook-numbers")
    first = table.inner_text()
    page.get_by_role("button", name="Test digit 5 of 12").click()
    settle(page)
    assert table.inner_text() != first
    off = table.locator("td").first.inner_text()
    assert page.get_by_role("img", name=f"The {off} pixels in which they differ").count() == 1


def test_refuses_what_does_not_fit():
    images = torch.zeros(2, 16)
    costs, averages = {"a": torch.ones(2)}, {"a": 1.0}
    with pytest.raises(ValueError, match=r"nearest: wanted shape \(2, 16\)"):
        nats_of_a_digit(images, images[:1], costs, averages, ["a"])
    with pytest.raises(ValueError, match=r"averages, exact: wanted the models \['a'\]"):
        nats_of_a_digit(images, images, costs, averages, ["b"])
    with pytest.raises(ValueError, match="costs: wanted 2 values for each model"):
        nats_of_a_digit(images, images, {"a": torch.ones(3)}, averages, ["a"])
