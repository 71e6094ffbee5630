"""The bandwidth of a kernel estimate: log-densities against the package's, and what a move does."""

import numpy as np
import pytest

from vaebook.interactive.kernel_bandwidth import kernel_bandwidth
from vaebook.kde import KernelDensity

DATA = np.r_[np.linspace(1.6, 2.3, 9) ** 1.1, np.linspace(3.8, 4.9, 14)].round(3)
HELD_OUT = np.array([1.9, 2.0, 3.1, 4.2, 4.4, 4.6, 5.0])


def example():
    return kernel_bandwidth(DATA, HELD_OUT, 0.4, "minutes")


@pytest.mark.parametrize("h", [0.05, 0.3, 1.5])
def test_log_densities_are_the_package_s(evaluate, h):
    found = evaluate("kernel_bandwidth", "m.scores(a[0], a[1])", example().state, h)
    kernels = KernelDensity(h).fit(DATA[:, None])
    others = [
        KernelDensity(h).fit(np.delete(DATA, n)[:, None]).score(DATA[n : n + 1, None])
        for n in range(len(DATA))
    ]
    assert found == {
        "training": pytest.approx(kernels.score_samples(DATA[:, None]).mean(), abs=1e-6),
        "heldOut": pytest.approx(kernels.score_samples(HELD_OUT[:, None]).mean(), abs=1e-6),
        "others": pytest.approx(np.mean(others), abs=1e-6),
    }


def test_far_from_all_data_the_log_density_is_finite(evaluate):
    found = evaluate("kernel_bandwidth", "m.logDensity(90, a[0], 0.05)", DATA.tolist())
    expected = KernelDensity(0.05).fit(DATA[:, None]).score([[90.0]])
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_best_bandwidth_is_best_among_those_around_it(show):
    page = show(example())
    cell = page.locator(".vaebook-numbers td").last
    value = lambda: float(cell.inner_text().split()[0].replace("−", "-"))  # noqa: E731
    before = cell.inner_text()
    page.get_by_role("button", name="Best for data held out").click()
    page.wait_for_function(
        "([cell, old]) => cell.innerText !== old", arg=[cell.element_handle(), before]
    )
    best = value()
    for key in ("Shift+ArrowLeft", "Shift+ArrowRight", "Shift+ArrowRight"):
        page.get_by_role("slider", name="Bandwidth", exact=True).press(key)
        assert value() <= best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0], 0.3), "at least 2"),
        (([1.0, 2.0], [], 0.3), "at least 1"),
        (([1.0, 2.0], [1.0], 5.0), "from 0.02 to 2"),
    ],
)
def test_refuses_what_has_no_estimate(arguments, message):
    with pytest.raises(ValueError, match=message):
        kernel_bandwidth(*arguments)
