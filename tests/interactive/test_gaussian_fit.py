"""A Gaussian fitted by hand: likelihood, divergence and gradient against the package's."""

import math

import numpy as np
import pytest
import torch

from vaebook.gaussian import fit_gaussian, kl_diagonal, log_normal
from vaebook.interactive.gaussian_fit import gaussian_fit

DATA = np.random.default_rng(0).normal(5, 0.35, 50).round(1)
X = torch.tensor(DATA)[:, None]


def example():
    return gaussian_fit(DATA, 5.6, 0.6)


def log_likelihood(mean, std):
    log_var = 2 * torch.as_tensor(std, dtype=torch.float64).log().reshape(1)
    return log_normal(X, torch.as_tensor(mean, dtype=torch.float64).reshape(1), log_var).mean()


def test_the_best_fit_is_the_package_s(evaluate):
    mean, variance = fit_gaussian(X)
    found = evaluate("gaussian_fit", "m.best(a[0])", DATA.tolist())
    assert found["mean"] == pytest.approx(mean.item(), abs=1e-6)
    assert found["std"] == pytest.approx(variance.sqrt().item(), abs=1e-6)


def test_what_a_gaussian_lacks_is_its_divergence(evaluate):
    yours = {"mean": 5.4, "std": 0.7}
    fit = evaluate("gaussian_fit", "m.best(a[0])", DATA.tolist())
    now, most = (
        evaluate("gaussian_fit", "m.logLikelihood(a[0], a[1])", DATA.tolist(), each)
        for each in (yours, fit)
    )
    assert now == pytest.approx(log_likelihood(**yours).item(), abs=1e-6)
    gap = evaluate("gaussian_fit", "m.kl(a[0], a[1])", fit, yours)
    mean, std = ([torch.tensor([each[name]]) for each in (fit, yours)] for name in ("mean", "std"))
    expected = kl_diagonal(mean[0], 2 * std[0].log(), mean[1], 2 * std[1].log()).item()
    assert gap == pytest.approx(expected, abs=1e-6)
    assert gap == pytest.approx(most - now, abs=1e-6)


def test_the_gradient_is_that_of_automatic_differentiation(evaluate):
    mean, log_std = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (5.4, -0.4))
    expected = torch.autograd.grad(log_likelihood(mean, log_std.exp()), (mean, log_std))
    yours = {"mean": 5.4, "std": math.exp(-0.4)}
    found = evaluate("gaussian_fit", "m.gradient(a[0], a[1])", DATA.tolist(), yours)
    assert [found["mean"], found["logStd"]] == pytest.approx([g.item() for g in expected], abs=1e-6)


def test_climbing_ends_at_the_best_fit_and_no_step_loses(evaluate):
    climb = """(() => {
        const states = [a[0]];
        for (let next = a[0]; (next = m.climb(states.at(-1))); )
            states.push({ ...states.at(-1), ...next });
        return states.map((state) => m.logLikelihood(state.data, state));
    })()"""
    values = evaluate("gaussian_fit", climb, example().state)
    assert np.all(np.diff(values) > 0)
    fit = evaluate("gaussian_fit", "m.best(a[0])", DATA.tolist())
    assert values[-1] == pytest.approx(log_likelihood(**fit).item(), abs=2e-5)


def test_dragging_the_summit_moves_both_handles(show):
    page = show(example())
    summit = page.get_by_role("slider", name="Summit of the bell")
    summit.press("Shift+ArrowLeft")
    other = page.get_by_role("slider", name="Mean and standard deviation of your Gaussian")
    page.wait_for_function(
        "node => !node.getAttribute('aria-valuetext').startsWith('μ 5.60')",
        arg=other.element_handle(),
    )
    assert other.get_attribute("aria-valuetext") == summit.get_attribute("aria-valuetext")


@pytest.mark.parametrize(
    ("data", "std", "message"), [([1.0, 1.0], 1.0, "two different"), ([1.0, 2.0], 0.0, "positive")]
)
def test_refuses_what_has_no_fit(data, std, message):
    with pytest.raises(ValueError, match=message):
        gaussian_fit(data, 1.0, std)
