"""The diffusion chain: the browser's score and strides are the package's."""

import math

import numpy as np
import pytest
import torch

from vaebook.diffusion import Diffusion, MixtureNoisePredictor, linear_schedule
from vaebook.interactive.diffusion_chain import diffusion_chain

from .conftest import settle

F64 = torch.float64


def mixture():
    turns = torch.arange(5, dtype=F64) * (2 * math.pi / 5)
    spin = torch.stack([turns.cos(), turns.sin(), -turns.sin(), turns.cos()], -1).view(5, 2, 2)
    spread = torch.diag(torch.tensor([0.5, 0.03], dtype=F64))
    weights = torch.tensor([0.1, 0.3, 0.2, 0.25, 0.15], dtype=F64)
    return MixtureNoisePredictor(weights, 2 * spin[:, 0], spin.mT @ spread @ spin)


def example():
    return diffusion_chain(mixture(), linear_schedule(100))


@pytest.fixture
def model():
    return Diffusion(mixture(), linear_schedule(100), 2)


def points(n=6):
    return 2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=F64)


def test_browser_has_the_package_s_score(evaluate, model):
    x, state = points(), example().state
    for t in (1, 10, 60, 100):
        expression = "a[1].map((x) => m.score(a[0], m.signalShares(a[0].betas)[a[2]], x))"
        found = evaluate("diffusion_chain", expression, state, x.tolist(), t)
        np.testing.assert_allclose(found, model.score(x, t).numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("calls", [1, 2, 3, 5, 10, 20, 50, 100])
def test_browser_takes_the_package_s_strides(evaluate, model, calls):
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(6, 2, generator=torch.Generator().manual_seed(3), dtype=F64)
    state = {**example().state, "calls": calls}
    expression = """a[1].map((x) => m.path(a[0], m.signalShares(a[0].betas), a[0], x).at(-1))"""
    found = evaluate("diffusion_chain", expression, state, start.tolist())
    expected = model.sample_ddim(6, calls, generator)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-6)


def test_browser_adds_the_package_s_noise(evaluate, model):
    x, eta = points(), 0.7
    fresh = torch.randn(6, 2, generator=torch.Generator().manual_seed(4), dtype=F64)
    expression = """a[1].map((x, i) => {
        const kept = m.signalShares(a[0].betas);
        return m.stride(a[0], kept[40], kept[25], x, a[3], a[2][i]);
    })"""
    arguments = example().state, x.tolist(), fresh.tolist(), eta
    found = evaluate("diffusion_chain", expression, *arguments)
    expected = model.ddim_step(x, 40, 25, torch.Generator().manual_seed(4), eta)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-9)


def test_browser_counts_what_lies_inside_the_ellipses(evaluate):
    _, means, covariances = mixture().mixture()
    x = points(200)
    away = x[:, None] - means
    squares = torch.einsum("nki,kij,nkj->nk", away, torch.linalg.inv(covariances), away)
    found = evaluate("diffusion_chain", "m.shareInside(a[0], a[1])", example().state, x.tolist())
    assert found == pytest.approx((squares.amin(1) <= 4).double().mean().item(), abs=1e-12)


def test_without_noise_the_start_decides_the_end(show):
    page = show(example())
    plane = page.get_by_role("img").first
    before = plane.get_attribute("aria-label")
    page.get_by_role("button", name="Other draws").click()
    settle(page)
    assert plane.get_attribute("aria-label") == before
    page.get_by_role("slider", name="Start of the path").press("ArrowLeft")
    settle(page)
    assert plane.get_attribute("aria-label") != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t": 101}, "t: wanted a step from 0 to 100"),
        ({"calls": 7}, "calls: wanted 1, 2, 3"),
        ({"eta": 1.1}, "eta: wanted a number from 0 to 1"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        diffusion_chain(mixture(), linear_schedule(100), **options)


def test_refuses_data_of_three_dimensions():
    one = torch.ones(1)
    predictor = MixtureNoisePredictor(one, torch.zeros(1, 3), torch.eye(3)[None])
    with pytest.raises(ValueError, match="predictor: wanted a mixture in two dimensions"):
        diffusion_chain(predictor, linear_schedule(100))
