"""The trellis: its recursions against the package's and against enumeration, and its clicks."""

import itertools

import numpy as np
import pytest

from vaebook.hmm import CategoricalHMM
from vaebook.interactive.trellis import trellis

NAMES = {"states": ["sun", "cloud", "rain"], "symbols": ["nothing", "sunglasses", "umbrella"]}
DIARY = [0, 0, 0, 0, 0, 1, 2]


def weather():
    hmm = CategoricalHMM(3)
    hmm.startprob_ = np.array([0.5, 0.3, 0.2])
    hmm.transmat_ = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5]])
    hmm.emissionprob_ = np.array([[0.45, 0.50, 0.05], [0.80, 0.05, 0.15], [0.30, 0.00, 0.70]])
    return hmm


def example():
    return trellis(weather(), DIARY, **NAMES)


@pytest.fixture
def found(evaluate):
    names = ("forward", "backward", "posterior", "pairs", "viterbi")
    each = ", ".join(f"{name}: m.{name}(a[0])" for name in names)

    def compute(observations):
        return evaluate(
            "trellis", f"({{ {each} }})", trellis(weather(), observations, **NAMES).state
        )

    return compute


def test_the_recursions_are_the_package_s(found):
    result, hmm = found(DIARY), weather()
    diary = np.array(DIARY)[:, None]
    so_far = [hmm.predict_proba(diary[:t])[-1] for t in range(1, len(diary) + 1)]
    np.testing.assert_allclose(result["forward"]["days"], so_far, atol=1e-6)
    assert result["forward"]["logP"] == pytest.approx(hmm.score(diary), abs=1e-6)
    np.testing.assert_allclose(result["posterior"], hmm.predict_proba(diary), atol=1e-6)
    log_p, path = hmm.decode(diary)
    assert result["viterbi"] == {"path": path.tolist(), "logP": pytest.approx(log_p, abs=1e-6)}


def test_with_a_day_unseen_they_are_sums_over_all_paths(found):
    diary, hmm = [0, 2, -1, 1], weather()
    result = found(diary)
    paths = np.array(list(itertools.product(range(3), repeat=4)))
    joint = hmm.startprob_[paths[:, 0]] * hmm.transmat_[paths[:, :-1], paths[:, 1:]].prod(1)
    seen = [hmm.emissionprob_[paths[:, t], x] for t, x in enumerate(diary) if x >= 0]
    share = joint * np.prod(seen, axis=0)
    assert result["forward"]["logP"] == pytest.approx(np.log(share.sum()), abs=1e-6)
    assert result["viterbi"]["path"] == paths[share.argmax()].tolist()
    for t in range(3):
        expected = np.zeros((3, 3))
        np.add.at(expected, (paths[:, t], paths[:, t + 1]), share / share.sum())
        np.testing.assert_allclose(result["pairs"][t], expected, atol=1e-6)
    future = [  # p(x₃, x₄ | z₂ = j), the third day unseen
        sum(
            hmm.transmat_[j, k] * hmm.transmat_[k, m] * hmm.emissionprob_[m, 1]
            for k in range(3)
            for m in range(3)
        )
        for j in range(3)
    ]
    np.testing.assert_allclose(result["backward"][1], future / np.sum(future), atol=1e-6)


def test_a_click_chooses_a_day_and_then_changes_what_was_seen(show):
    page = show(example())
    log_p = page.locator(".vaebook-numbers td").first
    before = log_p.inner_text()
    picture = page.locator(".vaebook-press svg").bounding_box()
    third = picture["x"] + 46 + (picture["width"] - 52) * (3 - 0.6) / 6.8
    for text in ("Day 3, nothing", "Day 3, sunglasses"):
        page.mouse.click(third, picture["y"] + picture["height"] / 2)
        page.wait_for_function(
            "text => document.querySelector('output').innerText.startsWith(text)", arg=text
        )
    assert log_p.inner_text() != before
    assert page.get_by_role("radio", name="sunglasses").is_checked()


@pytest.mark.parametrize(
    ("observations", "names", "message"),
    [
        ([0], NAMES, "at least two"),
        ([0, 3], NAMES, "from -1 to 2"),
        (DIARY, NAMES | {"states": ["sun"]}, "3 names"),
    ],
)
def test_refuses_what_the_model_does_not_have(observations, names, message):
    with pytest.raises(ValueError, match=message):
        trellis(weather(), observations, **names)
