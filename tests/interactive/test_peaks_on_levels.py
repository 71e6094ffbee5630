"""Peaks on levels: densities, masses and bits are SciPy's and the package's."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from vaebook.interactive.peaks_on_levels import peaks_on_levels
from vaebook.likelihoods import DiscretizedLogistic

from .conftest import settle

COUNTS = [3, 0, 5, 9, 20, 31, 22, 14, 6, 0, 2, 1]
SHARES = np.array(COUNTS) / sum(COUNTS)
LEVELS = np.arange(len(COUNTS))


def example():
    return peaks_on_levels(COUNTS, width=0.4)


def density(x, width):
    return stats.logistic.pdf(np.asarray(x)[..., None], LEVELS, width) @ SHARES


def test_a_narrow_width_is_not_shown_as_zero(evaluate):
    shown = [evaluate("peaks_on_levels", "m.sayWidth(a[0])", w) for w in (0.001, 0.0123, 0.4, 2)]
    assert shown == ["0.0010", "0.012", "0.40", "2.00"]


@pytest.mark.parametrize("width", [0.02, 0.3, 2.0])
def test_browser_has_the_density(evaluate, width):
    for x in (-0.3, 4.0, 5.5, 8.9):
        found = evaluate("peaks_on_levels", "m.density(a[0], a[1], a[2])", COUNTS, width, x)
        assert found == pytest.approx(density(x, width), rel=1e-6)


@pytest.mark.parametrize("width", [0.05, 0.3, 2.0])
def test_browser_has_the_package_s_probabilities(evaluate, width):
    """A component on each level; its scale beside 0.1 has a bounded logarithm."""
    likelihood, top = DiscretizedLogistic(12, 12), 11
    places = (np.arange(12) + 0.5) / 12
    raw = 5 * np.arctanh(np.log(width / top / 0.1) / 5)
    logits = np.log(np.maximum(SHARES, 1e-300))
    params = np.concatenate([logits, LEVELS / top - places, np.full(12, raw)])
    x = torch.from_numpy(LEVELS / top)[:, None]
    expected = likelihood.log_prob(x, torch.from_numpy(params).expand(12, -1)).exp().tolist()
    found = [
        evaluate("peaks_on_levels", "m.mass(a[0], a[1], a[2])", COUNTS, width, level)
        for level in range(12)
    ]
    assert found == pytest.approx(expected, abs=1e-6)
    assert sum(found) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("width", [0.05, 0.3, 1.5])
def test_browser_has_the_bits(evaluate, width):
    found = evaluate("peaks_on_levels", "m.bits(a[0], a[1])", COUNTS, width)
    occurs = SHARES > 0
    bare = -SHARES[occurs] @ np.log2(density(LEVELS[occurs], width))
    assert found["bare"] == pytest.approx(bare, abs=1e-9)

    def bits_with(noise):
        return -SHARES[occurs] @ np.log2(density(LEVELS[occurs] + noise, width))

    noisy, _ = integrate.quad(bits_with, -0.5, 0.5, points=[0])
    assert found["noisy"] == pytest.approx(noisy, abs=0.01)  # 16 noises stand for all of them
    entropy = evaluate("peaks_on_levels", "m.entropy(a[0])", COUNTS)
    assert entropy == pytest.approx(stats.entropy(SHARES, base=2), abs=1e-12)
    assert found["noisy"] > found["levels"] > entropy


def test_narrow_peaks_leave_the_levels_alone_and_let_the_density_run_away(show):
    page = show(example())
    for _ in range(2):
        page.get_by_label("width of a peak").press("Home")
    settle(page)
    rows = page.locator(".vaebook-numbers td").all_inner_texts()
    bare, noisy, levels, entropy = (float(r.replace("−", "-").removesuffix(" bits")) for r in rows)
    assert levels == entropy
    assert bare == pytest.approx(entropy + np.log2(4 * 0.001), abs=0.011)
    assert noisy > 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"counts": [1, 2, 3]}, "counts: wanted 8 to 256"),
        ({"counts": [0] * 9 + [4]}, "counts: wanted 8 to 256"),
        ({"counts": [0.5] * 9}, "counts: wanted 8 to 256"),
        ({"counts": [-1, *COUNTS]}, "counts: wanted 8 to 256"),
        ({"width": 5}, "width: wanted a scale"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        peaks_on_levels(**{"counts": COUNTS, **wrong})
