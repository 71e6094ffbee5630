"""Dropped modes: the page's integrals are those of an independent quadrature."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from vaebook.interactive.dropped_modes import dropped_modes

from .conftest import settle


def example():
    return dropped_modes(4)


def mixture(centres, std):
    return lambda x: np.mean([stats.norm.pdf(x, c, std) for c in centres], axis=0)


@pytest.mark.parametrize(("kept", "width"), [([0, 1, 2], 1.5), ([1], 3.0), ([0, 1, 2, 3], 0.7)])
def test_the_page_s_divergences_are_integrals(evaluate, kept, width):
    centres, std = [-3.0, -1.0, 1.0, 3.0], 0.4
    own = [centres[i] for i in kept]
    p, q = mixture(centres, std), mixture(own, std * width)

    def log(density, scale, at):
        def value(x):
            parts = [stats.norm.logpdf(x, c, scale) for c in at]
            return np.logaddexp.reduce(parts) - math.log(len(at))

        return value

    log_p, log_q = log(p, std, centres), log(q, std * width, own)

    def integral(f):
        return integrate.quad(f, -15, 15, points=centres, limit=500, epsabs=1e-10)[0]

    expected = {
        "forward": integral(lambda x: p(x) * (log_p(x) - log_q(x))),
        "backward": integral(lambda x: q(x) * (log_q(x) - log_p(x))),
        "jensenShannon": integral(
            lambda x: (
                p(x) * (log_p(x) - np.logaddexp(log_p(x), log_q(x)) + math.log(2)) / 2
                + q(x) * (log_q(x) - np.logaddexp(log_p(x), log_q(x)) + math.log(2)) / 2
            )
        ),
    }
    now = evaluate("dropped_modes", "m.divergences(...a)", centres, own, std, width)
    assert now == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kept", [1, 3, 4, 8])
def test_the_limits_are_reached_by_peaks_far_apart(evaluate, kept):
    centres = [20.0 * i - 70 for i in range(8)]
    now = evaluate("dropped_modes", "m.divergences(...a)", centres, centres[:kept], 0.5, 1)
    limit = evaluate("dropped_modes", "{...m.withoutOverlap(...a), forward: null}", kept, 8)
    for name in ("backward", "jensenShannon"):
        assert now[name] == pytest.approx(limit[name], abs=1e-6)
    assert (now["forward"] > 100) == (kept < 8)


def numbers(page):
    settle(page)
    return page.locator(".vaebook-numbers td").all_inner_texts()[2:]  # below the heading


def test_dropping_a_mode_by_key_and_by_click(show):
    page = show(example())
    assert numbers(page)[0] == "0.000 nats"
    page.get_by_label("q has peak 1").press("Space")
    assert numbers(page)[1] == "∞"
    assert "q keeps 3 of 4 modes." in page.locator("output").inner_text()
    plot = page.locator(".vaebook-frame svg").first.bounding_box()
    page.mouse.click(plot["x"] + 0.12 * plot["width"], plot["y"] + plot["height"] / 2)
    assert numbers(page)[0] == "0.000 nats"
    for i in range(4):
        page.get_by_label(f"q has peak {i + 1}").uncheck()
    assert set(numbers(page)) == {"–"}


@pytest.mark.parametrize("bad", [{"n_modes": 1}, {"std": 0.0}, {"width": -1.0}])
def test_refuses(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        dropped_modes(**bad)
