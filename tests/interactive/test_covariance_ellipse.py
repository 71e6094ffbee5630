"""The ellipse of a covariance: its arithmetic against the package's, and what a drag does."""

import pytest
import torch

from vaebook.gaussian import FullGaussian
from vaebook.interactive.covariance_ellipse import covariance_ellipse

STATE = {"mean": [0.4, -0.7], "first": 1.3, "second": 0.5, "angle": -28.0, "cut": 0.9}


def example():
    return covariance_ellipse()


@pytest.fixture
def gaussian():
    """Return the Gaussian of `STATE`, by a rotation matrix."""
    angle = torch.deg2rad(torch.tensor(STATE["angle"], dtype=torch.float64))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
    stds = torch.tensor([STATE["first"], STATE["second"]], dtype=torch.float64)
    covariance = turn @ stds.square().diag() @ turn.T
    return FullGaussian(torch.tensor(STATE["mean"], dtype=torch.float64), covariance)


def packed(gaussian):
    (s11, s12), (_, s22) = gaussian.covariance.tolist()
    return [s11, s12, s22]


def test_the_covariance_has_these_axes(evaluate, gaussian):
    found = evaluate("covariance_ellipse", "m.covariance(a[0])", STATE)
    assert found == pytest.approx(packed(gaussian), abs=1e-6)


def test_the_conditional_is_the_package_s(evaluate, gaussian):
    known = torch.tensor([False, True])
    cut = torch.tensor([[STATE["cut"]]], dtype=torch.float64)
    mean, covariance = gaussian.conditional(known, cut)
    arguments = STATE["cut"], STATE["mean"], packed(gaussian)
    found = evaluate("covariance_ellipse", "m.conditional(...a)", *arguments)
    assert found["mean"] == pytest.approx(mean.item(), abs=1e-6)
    assert found["std"] == pytest.approx(covariance.item() ** 0.5, abs=1e-6)


def test_on_an_ellipse_the_density_is_everywhere_the_same(evaluate, gaussian):
    arguments = 2.0, STATE["mean"], packed(gaussian)
    points = torch.tensor(evaluate("covariance_ellipse", "m.ellipse(...a)", *arguments))
    found = gaussian.log_prob(points.double())
    highest = gaussian.log_prob(gaussian.mean[None])
    torch.testing.assert_close(found, (highest - 2).expand_as(found), atol=1e-6, rtol=0)


def test_dragging_an_axis_turns_it_and_the_cut_moves_the_mean_alone(show):
    page = show(example())
    page.get_by_role("slider", name="End of the first axis").press("Shift+ArrowDown")
    turned = page.get_by_role("slider", name="angle of the first axis")
    page.wait_for_function("input => Number(input.value) < 30", arg=turned.element_handle())
    last = page.locator("tr:last-child td")
    mean, std = last.inner_text().split(" ± ")
    page.get_by_role("slider", name="The cut: the observed value").press("Shift+ArrowUp")
    page.wait_for_function(
        "([cell, old]) => cell.innerText.split(' ± ')[0] !== old", arg=[last.element_handle(), mean]
    )
    assert last.inner_text().split(" ± ")[1] == std


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"mean": [0.0]}, "two numbers"), ({"first": 0.0}, "first"), ({"second": -1.0}, "second")],
)
def test_refuses_what_is_no_gaussian(wrong, message):
    with pytest.raises(ValueError, match=message):
        covariance_ellipse(**wrong)
