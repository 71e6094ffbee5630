"""The permutation test in the page: its distance, its dealing and its p-value are the package's."""

import numpy as np
import pytest
import torch

from vaebook.data import toy_density
from vaebook.gaussian import FullGaussian
from vaebook.interactive.permutation_null import permutation_null
from vaebook.two_sample import energy_distance, permutation_test

from .conftest import settle


def samples():
    world, generator = toy_density("eight_gaussians"), torch.Generator().manual_seed(0)
    gaussian = FullGaussian.fit(world.sample(1000, generator))
    return [model.sample(160, generator) for model in (world, world, gaussian)]


def example():
    data, same, other = samples()
    return permutation_null(data, {"data of the same kind": same, "a Gaussian": other})


@pytest.mark.parametrize("n", [3, 40])
def test_the_distance_is_the_package_s(evaluate, n):
    x, _, y = samples()
    x, y = x[:n].double(), y.double()
    pooled, first = torch.cat([x, y]).tolist(), [1] * n + [0] * 160
    own = evaluate("permutation_null", "m.energy(m.distances(a[0]), a[1])", pooled, first)
    assert own == pytest.approx(energy_distance(x, y), abs=1e-6)


def test_the_p_value_is_the_package_s(evaluate):
    """Up to chance: 999 shuffles each, so a p-value near 0.3 has an error of 0.015."""
    data, same, _ = samples()
    x, y = data[:20].double(), same[40:60].double()
    expression = """(() => {
      const D = m.distances(a[0]), first = a[1];
      const others = Array.from({length: 999}, (_, i) => m.energy(D, m.deal(first, i + 1)));
      return m.pValue(m.energy(D, first), others);
    })()"""
    first = [1] * 20 + [0] * 20
    own = evaluate("permutation_null", expression, torch.cat([x, y]).tolist(), first)
    expected = permutation_test(x, y, 4999, torch.Generator().manual_seed(0)).p_value
    error = np.sqrt(expected * (1 - expected) * (1 / 999 + 1 / 4999))
    assert abs(own - expected) < 4.5 * error


def test_dealing_is_fair(evaluate):
    """Each of four cards comes to the first place equally often, and none is lost."""
    dealt = evaluate(
        "permutation_null", "Array.from({length: 4000}, (_, i) => m.deal([0, 1, 2, 3], i))"
    )
    assert all(sorted(cards) == [0, 1, 2, 3] for cards in dealt)
    counts = np.array([np.bincount(place, minlength=4) for place in np.transpose(dealt)])
    assert abs(counts - 1000).max() < 4.5 * np.sqrt(4000 * 0.25 * 0.75)


def test_the_null_distribution_fills_up(show, page):
    show(example())
    page.emulate_media(reduced_motion="reduce")
    page.get_by_label("a Gaussian").check()
    page.get_by_label("points in each sample").press("End")
    page.get_by_role("button", name="Play").click()
    settle(page)
    observed, times, larger, p = page.locator(".vaebook-numbers td").all_inner_texts()
    assert times == "999"
    assert float(p) == pytest.approx((1 + int(larger)) / 1000, abs=5e-4)
    assert float(p) < 0.05
    data, _, other = samples()
    assert float(observed) == pytest.approx(energy_distance(data, other), abs=2e-3)
    page.get_by_label("data of the same kind").check()
    settle(page)
    assert page.locator(".vaebook-numbers td").nth(1).inner_text() == "0"


def test_refuses():
    data, same, _ = samples()
    with pytest.raises(ValueError, match="others"):
        permutation_null(data, {})
    with pytest.raises(ValueError, match="160 points"):
        permutation_null(data, {"few": same[:10]})
