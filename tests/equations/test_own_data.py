"""Each statement of the page on data of one's own, both sides, against something independent."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from tests.common import normals, seeded, tensor
from vaebook.likelihoods import DiscretizedLogistic, Gaussian, bits_per_dimension
from vaebook.own_data import OwnData, prepare
from vaebook.vae import mlp_vae

LEVELS = torch.arange(256, dtype=torch.float64)[:, None] / 255


def masses(params: Tensor) -> Tensor:
    """Probability of each of 256 levels of one pixel."""
    n_components = len(params) // 3
    log_probs = DiscretizedLogistic(n_components).log_prob(LEVELS, params.expand(256, -1))
    return log_probs.exp()


@pytest.mark.equation("eq-discretized-logistic", tolerance="1e-12")
@pytest.mark.parametrize("seed", range(5))
def test_levels_have_the_mass_between_midpoints_and_sum_to_one(seed: int) -> None:
    """SciPy's logistic distribution function, and the sum over all 256 levels."""
    params = normals(9, seed=seed)
    weights = params[:3].softmax(0)
    means = params[3:6] + tensor([1 / 6, 3 / 6, 5 / 6])
    scales = 0.1 * torch.exp(5 * torch.tanh(params[6:] / 5))
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    below = stats.logistic.cdf(edges[:, None], means.numpy(), scales.numpy()) @ weights.numpy()
    found = masses(params)
    torch.testing.assert_close(found, tensor(np.diff(below)), rtol=0, atol=1e-12)
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.equation("eq-logistic-difference", tolerance="1e-12, relative")
@pytest.mark.parametrize("mean", [-3.0, 0.2, 0.9, 4.0])
def test_a_difference_of_logistics_is_a_product(mean: float) -> None:
    """mpmath with 2,000 digits, for the mass of a level in the middle, however far the mean is."""
    scale, level = 0.002, 100
    raw = 5 * math.atanh(math.log(scale / 0.1) / 5)
    params = tensor([0.0, mean - 0.5, raw])
    found = DiscretizedLogistic(1).log_prob(LEVELS[level], params)
    with mpmath.workdps(2000):
        s = mpmath.mpf(0.1) * mpmath.exp(5 * mpmath.tanh(mpmath.mpf(raw) / 5))
        m = mpmath.mpf(0.5) + mpmath.mpf(float(params[1]))
        a, b = ((mpmath.mpf(level) + side / mpmath.mpf(2)) / 255 for side in (-1, 1))
        low, high = (1 / (1 + mpmath.exp(-(edge - m) / s)) for edge in (a, b))
        product = high * (1 - low) * (1 - mpmath.exp((a - b) / s))
        assert abs(product / (high - low) - 1) < mpmath.mpf(10) ** -1000
        exact = float(mpmath.log(high - low))
    assert float(found) == pytest.approx(exact, rel=1e-12)


@pytest.mark.equation("eq-standardised-density", tolerance="1e-6")
def test_the_density_of_the_data_integrates_to_one_in_their_unit() -> None:
    """Quadrature over an income, and the closed form of a Gaussian whose density is known."""
    rows = 4e4 + 9e3 * torch.randn(200, 1, generator=seeded(0), dtype=torch.float64)
    preparation = prepare(OwnData(rows, (1,), "real"), rows)
    model = mlp_vae(1, 1, (), Gaussian(1.0)).double()
    with torch.no_grad():  # a decoder that ignores z: p(u) is N(0.3, 1)
        model.decoder[0].weight.zero_()
        model.decoder[0].bias.fill_(0.3)
        model.encoder.network[0].weight.zero_()
        model.encoder.network[0].bias.zero_()

    def log_density(income: float) -> float:
        x = torch.tensor([[income]], dtype=torch.float64)
        (value,) = model.log_prob_estimate(preparation(x).double(), 1) - preparation.log_volume
        return float(value)

    mean, std = float(rows.mean()), float(rows.std())
    total, _ = integrate.quad(lambda x: math.exp(log_density(x)), mean - 9 * std, mean + 9 * std)
    assert total == pytest.approx(1, abs=1e-6)
    exact = stats.norm.logpdf(5e4, mean + 0.3 * std, std)
    assert log_density(5e4) == pytest.approx(exact, abs=1e-6)


@pytest.mark.equation("def-bits-per-dimension", tolerance="1e-12")
def test_bits_per_dimension() -> None:
    """NumPy's logarithm to the base 2, and 784 fair coins, which take one bit each."""
    log_p = -300 * torch.rand(20, generator=seeded(3), dtype=torch.float64)
    printed = -np.log2(np.exp(log_p.numpy())) / 784
    np.testing.assert_allclose(bits_per_dimension(log_p, 784), printed, rtol=0, atol=1e-12)
    coins = tensor([784 * math.log(0.5)])
    assert float(bits_per_dimension(coins, 784)) == pytest.approx(1, abs=1e-12)
