"""Two layers: the page's covariances and losses are those of matrices in the package."""

import pytest
import torch

from vaebook.hierarchy import linear_posterior, mean_field_gap
from vaebook.interactive.two_layers import two_layers

from .conftest import settle

STATES = [
    {"strength": 1.3, "noise": 0.7, "units": 2},
    {"strength": 2.6, "noise": 2.0, "units": 17},
    {"strength": 0.0, "noise": 1.0, "units": 3},
]


def example():
    return two_layers()


def posterior(state):
    weight = torch.full((state["units"],), state["strength"], dtype=torch.float64)
    return linear_posterior(weight, 1.0, state["noise"] ** 2)


def packed(covariance):
    return [covariance[i, j].item() for i, j in ((0, 0), (0, 1), (1, 1), (1, 2))]


def best(posterior, q):
    """Covariance of the best q of a kind, by matrices: the diagonal of a precision is kept."""
    precision = torch.linalg.inv(posterior)
    if q == "apart":
        return (1 / precision.diagonal()).diag()
    slope = -precision[0, 1:] / precision[0, 0]  # of z2 given z1
    lower = (1 / torch.linalg.inv(posterior[1:, 1:]).diagonal()).diag()
    top = 1 / precision[0, 0] + slope @ lower @ slope
    across = (lower @ slope)[None]
    return torch.cat([torch.cat([top.view(1, 1), across], 1), torch.cat([across.T, lower], 1)])


@pytest.mark.parametrize("state", STATES)
def test_the_posterior_is_the_package_s(evaluate, state):
    found = evaluate("two_layers", "m.covariance(a[0], 'topDown')", state)
    assert found == pytest.approx(packed(posterior(state)), abs=1e-6)


@pytest.mark.parametrize("q", ["apart", "bottomUp"])
@pytest.mark.parametrize("state", STATES)
def test_each_q_is_the_best_of_its_kind(evaluate, state, q):
    found = evaluate("two_layers", "m.covariance(...a)", state, q)
    assert found == pytest.approx(packed(best(posterior(state), q)), abs=1e-6)


@pytest.mark.parametrize("state", STATES)
def test_the_losses_are_the_package_s(evaluate, state):
    covariance = posterior(state)
    found = evaluate("two_layers", "m.gaps(a[0])", state)
    assert found["apart"] == pytest.approx(mean_field_gap(covariance).item(), abs=1e-6)
    assert found["bottomUp"] == pytest.approx(mean_field_gap(covariance[1:, 1:]).item(), abs=1e-6)
    below = torch.linalg.inv(torch.linalg.inv(covariance)[1:, 1:])  # of z1, given z2
    assert found["topDown"] == pytest.approx(mean_field_gap(below).item(), abs=1e-6)


def losses(page):
    settle(page)
    cells = page.locator(".vaebook-numbers td").all_inner_texts()[-3:]
    return [float(cell.split()[0]) for cell in cells]


def test_without_an_influence_nothing_is_lost_and_with_more_units_more_is(show):
    page = show(example())
    before = losses(page)
    assert before[0] > before[1] > before[2] == 0
    page.get_by_role("slider", name="units of z₁").press("End")
    assert losses(page)[1] > before[1]
    page.get_by_role("slider", name="how far z₂ moves z₁").press("Home")
    assert losses(page) == [0, 0, 0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strength": 4.0}, "strength"),
        ({"noise": 0.0}, "noise"),
        ({"units": 1}, "units"),
        ({"units": 50}, "units"),
        ({"q": "sideways"}, "q"),
    ],
)
def test_refuses_what_is_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        two_layers(**wrong)
