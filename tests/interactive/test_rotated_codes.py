"""Turned drivers: densities and inferences of the browser are the package's."""

import pytest
import torch

from vaebook.gaussian import LinearGaussian
from vaebook.interactive.rotated_codes import rotated_codes

from .conftest import settle

GENERATOR = torch.Generator().manual_seed(0)
WEIGHT = torch.tensor([[1.0, 0.7], [-0.3, 0.9], [0.9, -0.6], [0.2, 0.5]], dtype=torch.float64)
WORLD = LinearGaussian(WEIGHT, torch.zeros(4, dtype=torch.float64), 0.5)
READINGS = WORLD.sample(30, GENERATOR).round(decimals=3)


def example():
    return rotated_codes(WORLD, READINGS, (0, 2), ("temperature", "wind"))


def rotation(angle):
    c, s = (
        torch.tensor(angle, dtype=torch.float64).cos(),
        torch.tensor(angle, dtype=torch.float64).sin(),
    )
    return torch.stack([torch.stack([c, -s]), torch.stack([s, c])])


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
def test_the_turned_model(evaluate, angle):
    weight = WEIGHT @ rotation(angle)
    turned = evaluate("rotated_codes", "m.turned(a[0], a[1])", WEIGHT.tolist(), angle)
    torch.testing.assert_close(torch.tensor(turned, dtype=torch.float64), weight)
    other = LinearGaussian(weight, WORLD.mean, WORLD.noise_var)
    for name, wanted in (
        ("inferred", other.posterior(READINGS)[0]),
        ("logDensity", WORLD.log_prob(READINGS)),
    ):
        expression = f"a[2].map((x) => m.{name}(a[0], a[1], x))"
        now = evaluate("rotated_codes", expression, turned, WORLD.noise_var, READINGS.tolist())
        torch.testing.assert_close(
            torch.tensor(now, dtype=torch.float64), wanted, atol=1e-9, rtol=1e-9
        )


def test_the_density_stays_and_the_effect_turns(show):
    page = show(example())
    cells = page.locator(".vaebook-numbers td")
    before = cells.all_inner_texts()
    page.get_by_label("turn of the matrix").fill("2.5")
    settle(page)
    after = cells.all_inner_texts()
    assert after[0] == before[0]
    assert after[1:] != before[1:]
    page.get_by_label("turn of the matrix").fill("0")
    page.get_by_role("slider", name="What driver 1 does").press("ArrowUp")
    settle(page)
    assert page.get_by_label("turn of the matrix").input_value() != "0"


@pytest.mark.parametrize(
    ("model", "readings"),
    [
        (WORLD, READINGS[:, :3]),
        (LinearGaussian(WEIGHT, torch.ones(4, dtype=torch.float64), 0.5), READINGS),
        (LinearGaussian(WEIGHT[:, :1], WORLD.mean, 0.5), READINGS),
    ],
)
def test_refuses(model, readings):
    with pytest.raises(ValueError, match="wanted"):
        rotated_codes(model, readings, (0, 2), ("a", "b"))
