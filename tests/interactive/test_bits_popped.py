"""Bits popped and pushed: every number of the message is the package's stack."""

import math

import numpy as np
import pytest

from vaebook.coding import PRECISION, Stack, quantise
from vaebook.interactive.bits_popped import LIKELIHOOD, bits_popped

from .conftest import settle

example = bits_popped
IMAGES = [1, 3, 2, 4]


def rounded(weights):
    return quantise(np.concatenate([[0], np.cumsum(weights) / np.sum(weights)])).tolist()


def codes(x, q):
    joint = [row[x] for row in LIKELIHOOD]
    best = [1e6 if weight == max(joint) else 1 for weight in joint]
    return rounded({"posterior": joint, "prior": [1] * 4, "best": best}[q])


def state(q):
    return {"images": IMAGES, "likelihood": LIKELIHOOD, "message": str(2**36 + 12345), "q": q}


@pytest.mark.parametrize("q", ["posterior", "prior", "best"])
def test_browser_has_the_package_s_stack(evaluate, q):
    steps = evaluate("bits_popped", "m.trace(a[0])", state(q))
    stack = Stack()
    stack.head = 2**36 + 12345
    expected = [stack.head]
    for x in IMAGES:
        z = stack.pop(codes(x, q))
        expected.append(stack.head)
        for symbol, cdf in ((x, rounded(LIKELIHOOD[z])), (z, rounded([1] * 4))):
            stack.push(symbol, cdf)
            expected.append(stack.head)
    assert [int(step["n"]) for step in steps] == expected
    assert not stack.words


@pytest.mark.parametrize("q", ["posterior", "prior", "best"])
@pytest.mark.parametrize("x", range(6))
def test_browser_has_the_bound(evaluate, q, x):
    found = evaluate("bits_popped", "m.bound(a[0], a[1])", state(q), x)
    shares = np.diff(codes(x, q)) / 2**PRECISION
    given = np.array([np.diff(rounded(row))[x] for row in LIKELIHOOD]) / 2**PRECISION
    expected = (shares * (np.log2(shares) - np.log2(given) + 2)).sum()
    assert found == pytest.approx(expected, abs=1e-10)


def test_a_pop_undoes_a_push(evaluate):
    cdf = rounded(LIKELIHOOD[1])
    n = str(2**41 + 987)
    for symbol in range(6):
        pushed = evaluate("bits_popped", "m.push(a[0], a[1], a[2])", n, symbol, cdf)
        assert evaluate("bits_popped", "m.pop(a[0], a[1])", pushed, cdf) == [symbol, n]


def test_the_last_step_leaves_the_price_of_all_images(show):
    page = show(bits_popped())
    page.get_by_label("steps done").fill("12")
    settle(page)
    rows = page.locator(".vaebook-numbers td").all_inner_texts()
    length, price = (float(text.split()[0].replace("−", "-")) for text in rows[1:3])
    assert length - math.log2(81_985_529_216) == pytest.approx(price, abs=0.011)
    assert math.log2(int(rows[0])) == pytest.approx(length, abs=0.0051)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"likelihood": [[1, 2], [3]]}, "likelihood: wanted rows of one length"),
        ({"images": [6]}, "images: wanted one to five columns"),
        ({"message": 5}, "message: wanted a number from"),
        ({"done": 13}, "done: wanted at most 12 steps"),
        ({"q": "p"}, "q: wanted one of"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        bits_popped(**wrong)
