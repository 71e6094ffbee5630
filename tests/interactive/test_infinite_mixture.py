"""Infinite mixture: the browser's densities and errors against quadrature and draws."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from vaebook.interactive.infinite_mixture import infinite_mixture
from vaebook.kde import KernelDensity

example = infinite_mixture
GRID = np.linspace(-7, 7, 281)
MODEL = {"stretch": 2.0}


def decode(z):
    return z + 2 * np.tanh(3 * z)


def exact():
    z = np.linspace(-6, 6, 4001)
    return norm.pdf(GRID[:, None], decode(z), 0.25) @ norm.pdf(z) * (z[1] - z[0])


def test_browser_averages_as_the_package_s_kernel_density(evaluate):
    z = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    found = evaluate(
        "infinite_mixture",
        "m.mixture(a[1].map((z) => m.decode(a[0], z)), 0.25, a[2])",
        MODEL,
        z.tolist(),
        GRID.tolist(),
    )
    kernels = KernelDensity(bandwidth=0.25).fit(decode(z)[:, None])
    np.testing.assert_allclose(found, np.exp(kernels.score_samples(GRID[:, None])), atol=1e-9)


def test_browser_integrates_over_all_codes(evaluate):
    found = evaluate("infinite_mixture", "m.exact(a[0], 0.25, a[1])", MODEL, GRID.tolist())
    np.testing.assert_allclose(found, exact(), rtol=0, atol=1e-6)


def test_the_expected_error_is_the_average_error(evaluate):
    whole, rng = exact(), np.random.default_rng(0)
    drawn = [norm.pdf(GRID[:, None], decode(rng.normal(size=10)), 0.25).mean(1) for _ in range(400)]
    expression = """[m.expectedError(a[0], 0.25, a[2], 10),
        a[1].map((p) => m.squaredError(p, a[0], a[2]))]"""
    arguments = whole.tolist(), [p.tolist() for p in drawn], GRID.tolist()
    expected, errors = evaluate("infinite_mixture", expression, *arguments)
    trapezoids = [np.trapezoid((p - whole) ** 2, GRID) for p in drawn]
    np.testing.assert_allclose(errors, trapezoids, rtol=1e-9)
    assert abs(np.mean(errors) - expected) < 4.5 * np.std(errors) / 20


def test_more_codes_come_closer(show):
    page = show(example())
    page.emulate_media(reduced_motion="reduce")
    first, _ = page.locator(".vaebook-numbers td").all_inner_texts()
    page.get_by_role("button", name="Let n grow").click()
    page.wait_for_timeout(300)
    last, expected = page.locator(".vaebook-numbers td").all_inner_texts()
    assert float(last) < 0.1 * float(first)
    assert float(expected) < 0.001


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 4}, "n: wanted one of"),
        ({"sigma": 0.0}, "sigma: wanted a number from 0.1 to 1"),
        ({"stretch": 4.0}, "stretch: wanted a number from 0 to 3"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        infinite_mixture(**options)
