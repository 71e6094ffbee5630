"""Steps of EM: the browser's steps, bound and likelihood are the package's."""

import numpy as np
import pytest

from vaebook import data, mixture
from vaebook.interactive.em_steps import em_steps

from .conftest import numbers, settle

POINTS = data.old_faithful()
MEANS = [[3.6, 86.0], [3.0, 60.0]]


def example():
    return em_steps(POINTS, MEANS)


@pytest.fixture
def fit():
    """Return a mixture on its way, and responsibilities that are not its own."""
    resp = np.random.default_rng(0).dirichlet([1, 1], size=len(POINTS))
    return mixture.m_step(POINTS, resp**3 / (resp**3).sum(1, keepdims=True), reg_covar=0), resp


def named(parameters):
    return {name: value.tolist() for name, value in parameters._asdict().items()}


def joint(parameters):
    factors = mixture.precision_cholesky(parameters.covariances)
    return mixture.log_joint(POINTS, parameters.weights, parameters.means, factors)


def test_browser_has_the_package_s_e_step_and_bound(evaluate, fit):
    parameters, resp = fit
    arguments = POINTS.tolist(), named(parameters), resp.tolist()
    found = evaluate(
        "em_steps",
        "[m.eStep(a[0], a[1]), m.logLikelihood(a[0], a[1]), m.bound(a[0], a[1], a[2])]",
        *arguments,
    )
    log_evidence, expected = mixture.responsibilities(joint(parameters))
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-12)
    assert found[1] == pytest.approx(log_evidence.sum(), abs=1e-8)
    assert found[2] == pytest.approx(mixture.lower_bound(joint(parameters), resp).sum(), abs=1e-8)


def test_browser_has_the_package_s_m_step(evaluate, fit):
    _, resp = fit
    found = evaluate("em_steps", "m.mStep(a[0], a[1])", POINTS.tolist(), resp.tolist())
    for name, value in mixture.m_step(POINTS, resp, reg_covar=0)._asdict().items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12)


def test_a_spike_sits_on_a_datum_and_then_shrinks(evaluate):
    state = example().state
    first = evaluate("em_steps", "m.spike(a[0], 1)", state)
    assert first["means"][0] == MEANS[0]
    assert first["means"][1] in POINTS.tolist()
    second = evaluate("em_steps", "m.spike(a[0], 1)", {**state, **first})
    widths = [np.linalg.eigvalsh(step["covariances"][1]) for step in (first, second)]
    np.testing.assert_allclose(widths[1], widths[0] / 4)


def press(page, name):
    page.get_by_role("button", name=name).click()
    settle(page)


def test_the_bound_touches_and_lifts(show):
    page = show(example())
    before, _, gap = numbers(page)
    assert gap > 1
    for _ in range(3):
        press(page, "E-step")
        likelihood, bound, gap = numbers(page)
        assert gap == 0
        assert likelihood == before
        press(page, "M-step")
        before, lifted, _ = numbers(page)
        assert before >= lifted > bound


def test_em_reaches_the_maximum_that_the_book_names(show):
    page = show(example())
    page.emulate_media(reduced_motion="reduce")
    press(page, "Run EM")
    page.wait_for_timeout(500)
    likelihood, _, gap = numbers(page)
    assert likelihood == pytest.approx(-1130.26, abs=0.006)
    assert gap == 0


def test_a_spike_has_no_best_width(show):
    page = show(example())
    seen = []
    for _ in range(8):
        press(page, "Shrink red onto a datum")
        seen.append(numbers(page)[0])
    rises = np.diff(seen)[-3:]
    np.testing.assert_allclose(rises, 2 * np.log(2), atol=0.05)  # half as wide along both axes
    press(page, "E-step")
    press(page, "M-step")
    assert "The M-step has no answer" in page.locator("output").inner_text()


@pytest.mark.parametrize(
    ("points", "means", "message"),
    [
        (np.zeros((5, 3)), MEANS, "points: wanted shape"),
        (np.zeros((2, 2)), MEANS, "points: wanted shape"),
        (POINTS, [[1.0, 2.0]], "means: wanted shape"),
    ],
)
def test_refuses(points, means, message):
    with pytest.raises(ValueError, match=message):
        em_steps(points, means)
