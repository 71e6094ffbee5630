"""The posterior of a coin: its arithmetic against SciPy's, and what a toss does."""

import numpy as np
import pytest
from scipy import special, stats

from vaebook.interactive.coin_posterior import coin_posterior

MODULE = "coin_posterior"


def example():
    return coin_posterior(tosses=[1, 1, 0])


def test_log_gamma_is_scipy_s(evaluate):
    x = np.r_[0.1, 0.5, 1.0, 2.5, np.geomspace(3, 500, 20)]
    found = evaluate(MODULE, "a[0].map(m.logGamma)", x.tolist())
    np.testing.assert_allclose(found, special.gammaln(x), atol=1e-9)


@pytest.mark.parametrize("prior", [(1, 1), (2, 2), (2, 50)])
def test_the_posterior_is_prior_times_likelihood(evaluate, prior):
    tosses, theta = [1, 0, 1, 1, 0, 1], np.linspace(0.05, 0.95, 19)
    state = {"a": prior[0], "b": prior[1], "tosses": tosses}
    after = evaluate(MODULE, "m.posterior(a[0])", state)
    found = evaluate(MODULE, "a[0].map(theta => m.density(theta, a[1]))", theta.tolist(), after)
    fine = (np.arange(20_000) + 0.5) / 20_000
    joint = lambda t: stats.beta.pdf(t, *prior) * t**4 * (1 - t) ** 2  # noqa: E731
    np.testing.assert_allclose(found, joint(theta) / joint(fine).mean(), rtol=1e-6)
    exact = stats.beta(*after)
    assert evaluate(MODULE, "m.moments(a[0])", after) == {
        "mean": pytest.approx(exact.mean(), abs=1e-9),
        "std": pytest.approx(exact.std(), abs=1e-9),
    }


def test_a_toss_adds_one_and_tossing_ends(show):
    page = show(example())
    heads = page.locator(".vaebook-numbers td").first
    page.get_by_role("button", name="Add heads").click()
    page.wait_for_function("cell => cell.innerText === '3 of 4'", arg=heads.element_handle())
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("button", name="Toss the coin").click()
    page.wait_for_function("cell => cell.innerText.endsWith('of 200')", arg=heads.element_handle())
    tossed = int(heads.inner_text().split()[0]) - 3
    assert abs(tossed - 0.7 * 196) < 4.5 * (196 * 0.7 * 0.3) ** 0.5


@pytest.mark.parametrize(
    ("arguments", "message"), [({"truth": 1.0}, "from 0.05"), ({"tosses": [2]}, "zeros and ones")]
)
def test_refuses_what_is_no_coin(arguments, message):
    with pytest.raises(ValueError, match=message):
        coin_posterior(**arguments)
