"""The alternation: closed forms of the browser against the package's model, and its monotony."""

import pytest
import torch

from vaebook.gaussian import LinearGaussian
from vaebook.interactive.alternate_bound import alternate_bound

from .test_elbo_explorer import numbers, settle

example = alternate_bound
STATE = example().state
DATA = torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DATA *= (STATE["square"] / DATA.square().mean()).sqrt()


def model(weight):
    one = {"dtype": torch.float64}
    return LinearGaussian(
        torch.tensor([[weight]], **one), torch.zeros(1, **one), STATE["noise_std"] ** 2
    )


@pytest.mark.parametrize(
    "place", [{}, {"weight": 1.4, "slope": 0.3, "variance": 0.2}, {"slope": 0.0, "variance": 1.0}]
)
def test_evidence_and_bound(evaluate, place):
    state = {**STATE, **place}
    ours = model(state["weight"])
    assert evaluate("alternate_bound", "m.evidence(a[0])", state) == pytest.approx(
        float(ours.log_prob(DATA).mean()), abs=1e-9
    )
    variance = torch.tensor([[state["variance"]]], dtype=torch.float64)
    elbo = ours.elbo(DATA, state["slope"] * DATA, variance).mean()
    assert evaluate("alternate_bound", "m.bound(a[0])", state) == pytest.approx(
        float(elbo), abs=1e-9
    )


def test_the_step_over_phi_leads_to_the_posterior(evaluate):
    q = evaluate("alternate_bound", "m.stepQ(a[0])", STATE)
    mean, covariance = model(STATE["weight"]).posterior(DATA)
    torch.testing.assert_close(q["slope"] * DATA, mean, atol=1e-12, rtol=1e-12)
    assert q["variance"] == pytest.approx(covariance.item(), abs=1e-12)


def test_the_step_over_theta_leads_to_the_highest_bound(evaluate):
    best = evaluate("alternate_bound", "m.stepModel(a[0])", STATE)["weight"]
    weight = torch.tensor([[best]], dtype=torch.float64, requires_grad=True)
    ours = LinearGaussian(weight, torch.zeros(1, dtype=torch.float64), STATE["noise_std"] ** 2)
    variance = torch.tensor([[STATE["variance"]]], dtype=torch.float64)
    ours.elbo(DATA, STATE["slope"] * DATA, variance).mean().backward()
    assert abs(weight.grad.item()) < 1e-9


@pytest.mark.parametrize("noise_std", [0.3, 0.8, 1.2])
def test_no_weight_has_a_higher_evidence_than_the_best(evaluate, noise_std):
    state = {**STATE, "noise_std": noise_std}
    best = evaluate("alternate_bound", "m.bestWeight(a[0])", state)
    weight = torch.tensor([[best]], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    LinearGaussian(weight, zero, noise_std**2).log_prob(DATA).mean().backward()
    assert abs(weight.grad.item()) < 1e-9


def test_the_alternation_lifts_and_touches(show):
    page = show(example())
    evidences, bounds = [], []
    for _ in range(4):
        page.get_by_role("button", name="Step over φ").click()
        settle(page)
        log_p, elbo, gap, _ = numbers(page)
        assert gap == 0
        assert elbo == log_p
        page.get_by_role("button", name="Step over θ").click()
        settle(page)
        log_p, elbo, _, highest = numbers(page)
        evidences.append(log_p)
        bounds.append(elbo)
        assert elbo <= log_p <= highest
    assert evidences == sorted(evidences)
    assert bounds == sorted(bounds)


def test_a_step_over_theta_with_a_poor_q_can_lower_the_evidence(show):
    page = show(example())
    before, bound_before, *_ = numbers(page)
    page.get_by_role("button", name="Step over θ").click()
    settle(page)
    after, bound_after, *_ = numbers(page)
    assert after < before
    assert bound_after > bound_before


@pytest.mark.parametrize("wrong", [{"noise_std": 0.0}, {"variance": 0.0}, {"square": 0.5}])
def test_refuses(wrong):
    with pytest.raises(ValueError, match="wanted"):
        alternate_bound(**wrong)
