"""The ELBO explorer: the identity in the browser is the package's, wherever q is."""

import pytest
import torch

from vaebook.gaussian import LinearGaussian, kl_diagonal, kl_to_standard_normal
from vaebook.interactive.elbo_explorer import elbo_explorer

from .conftest import numbers, settle

example = elbo_explorer


@pytest.mark.parametrize(
    "q", [{"mean": -0.5, "log_std": 0.0}, {"mean": 2.0, "log_std": -1.4}, {"mean": 0, "log_std": 1}]
)
def test_browser_has_the_package_s_elbo(evaluate, q):
    model = {"weight": 1.3, "offset": -0.4, "noise_std": 0.6, "x": 1.5}
    now = evaluate("elbo_explorer", "m.terms(a[0])", {**model, **q})
    one = {"dtype": torch.float64}
    linear = LinearGaussian(torch.tensor([[1.3]], **one), torch.tensor([-0.4], **one), 0.6**2)
    x = torch.tensor([[1.5]], **one)
    mean = torch.tensor([[float(q["mean"])]], **one)
    log_var = torch.tensor([[2.0 * q["log_std"]]], **one)
    posterior_mean, posterior_cov = linear.posterior(x)
    expected = {
        "logP": linear.log_prob(x),
        "elbo": linear.elbo(x, mean, log_var.exp()),
        "klPrior": kl_to_standard_normal(mean, log_var),
        "klPosterior": kl_diagonal(mean, log_var, posterior_mean, posterior_cov.log()),
        "posteriorMean": posterior_mean,
        "posteriorStd": posterior_cov.sqrt(),
    }
    for name, value in expected.items():
        assert now[name] == pytest.approx(value.item(), abs=1e-10), name
    assert now["elbo"] + now["klPosterior"] == pytest.approx(now["logP"], abs=1e-10)
    assert now["elbo"] == pytest.approx(now["reconstruction"] - now["klPrior"], abs=1e-10)


def test_numbers_add_up_wherever_q_is(show):
    page = show(elbo_explorer())
    first = numbers(page)
    for mean, log_std in (("1.5", "-1"), ("-3", "1"), ("0.25", "0")):
        page.get_by_label("mean of q", exact=True).fill(mean)
        page.get_by_label("log of q's standard deviation").fill(log_std)
        settle(page)
        reconstruction, minus_kl, elbo, gap, total, log_p = numbers(page)
        assert elbo == pytest.approx(reconstruction + minus_kl, abs=1.1e-3)  # printed: 3 digits
        assert total == pytest.approx(elbo + gap, abs=1.1e-3)
        assert total == log_p == first[-1]
        label = page.get_by_role("img").nth(1).get_attribute("aria-label")
        assert f"{elbo:.3f}".replace("-", "−") in label
    page.get_by_label("observed x").fill("-2")
    settle(page)
    assert numbers(page)[-1] != first[-1]


def test_reaches_the_posterior(show):
    page = show(elbo_explorer())
    gap = page.locator("g[data-mark=rect] rect")
    assert numbers(page)[3] > 0.01
    assert float(gap.get_attribute("width")) > 10
    page.get_by_role("button", name="Set q to the posterior").press("Enter")
    settle(page)
    _, _, elbo, kl_posterior, _, log_p = numbers(page)
    assert kl_posterior == 0
    assert elbo == log_p
    assert float(gap.get_attribute("width")) == pytest.approx(0, abs=1e-9)
    elbo_mark, log_p_mark = page.locator("g[data-mark=rule][stroke] line").all()[-2:]
    assert float(elbo_mark.get_attribute("x1")) == pytest.approx(
        float(log_p_mark.get_attribute("x1"))
    )
    curves = page.locator(".vaebook-frame svg").first.locator("g[data-mark=line] path")
    _, posterior, q = (curve.get_attribute("d") for curve in curves.all())
    assert q == posterior


def test_the_summit_of_q_is_dragged_to_where_it_is_wanted(show):
    page = show(elbo_explorer())
    handle = page.get_by_role("slider", name="Summit of q")
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    frame = page.locator(".vaebook-frame").first.bounding_box()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + frame["width"] / 4, y - 40)
    page.mouse.up()
    settle(page)
    now = handle.bounding_box()
    assert now["x"] + now["width"] / 2 == pytest.approx(x + frame["width"] / 4, abs=1.5)
    assert now["y"] + now["height"] / 2 == pytest.approx(y - 40, abs=1.5)


@pytest.mark.parametrize("noise_std", [0.0, -1.0, float("nan")])
def test_refuses(noise_std):
    with pytest.raises(ValueError, match="noise_std: wanted a positive number"):
        elbo_explorer(noise_std=noise_std)
