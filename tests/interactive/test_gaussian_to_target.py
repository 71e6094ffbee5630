"""From noise to a target: the browser's ranks, quantiles and slopes are the package's."""

import numpy as np
import pytest
from scipy import stats

from vaebook import transforms
from vaebook.interactive.gaussian_to_target import gaussian_to_target

from .conftest import settle

example = gaussian_to_target
TARGET = {"weights": [0.6, 0.4], "means": [-2.0, 2.0], "stds": [1.0, 0.6]}
Z = np.linspace(-3, 3, 13)


def average(function, x):
    parts = zip(*map(TARGET.get, ("weights", "means", "stds")), strict=True)
    return sum(weight * function(x, mean, std) for weight, mean, std in parts)


def cdf(x):
    return average(stats.norm.cdf, x)


def test_browser_has_the_normal_distribution_function(evaluate):
    z = np.linspace(-9, 9, 181)
    found = evaluate("gaussian_to_target", "a[0].map((z) => m.normalCdf(z))", z.tolist())
    np.testing.assert_allclose(found, stats.norm.cdf(z), rtol=1e-9)


def test_browser_goes_the_package_s_way(evaluate):
    def run(function, values):
        expression = f"a[1].map((value) => m.{function}(a[0], value))"
        return evaluate("gaussian_to_target", expression, TARGET, values)

    expected = transforms.gaussian_to_target(Z, transforms.NumericalInverse(cdf=cdf))
    found = run("fromNoise", Z.tolist())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(run("toNoise", found), Z, rtol=0, atol=1e-6)
    slopes = stats.norm.pdf(Z) / average(stats.norm.pdf, expected)
    np.testing.assert_allclose(run("slope", Z.tolist()), slopes, rtol=1e-6)


def test_x_is_moved_and_z_follows(show):
    page = show(example())
    z = page.get_by_role("slider", name="noise z", exact=True)
    before = float(z.input_value())
    page.get_by_role("slider", name="Number x of the target").focus()
    for _ in range(5):
        page.keyboard.press("Shift+ArrowRight")
        settle(page)
    assert float(z.input_value()) > before


def test_a_wider_gap_is_steeper(show):
    page = show(example(z=0.25))
    slopes = []
    for distance in ("0", "3", "6", "8"):
        page.get_by_label("distance of the two bumps").fill(distance)
        settle(page)
        text = page.locator(".vaebook-numbers td").nth(2).inner_text()
        slopes.append(float(text.split("=")[1]))
    assert slopes == sorted(slopes)
    assert slopes[-1] > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": (0.5, 0.6)}, "weights: wanted two positive numbers"),
        ({"stds": (0.0, 1.0)}, "stds: wanted two positive numbers"),
        ({"distance": 9.0}, "distance: wanted a number from 0 to 8"),
        ({"z": 3.5}, "z: wanted a number from -3 to 3"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        gaussian_to_target(**options)
