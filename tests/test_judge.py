"""The judge of digits: what it is taught to reject, and the threshold it is given."""

import pytest
import torch

from tests.common import seeded
from vaebook.judge import Judge, spoilt, train_judge

PATTERNS = torch.bernoulli(torch.full((10, 64), 0.5), generator=seeded(1))


def digits(n, seed=0):
    """Return noisy copies of ten patterns, and which."""
    labels = torch.arange(n) % 10
    flips = torch.bernoulli(torch.full((n, 64), 0.02), generator=seeded(seed))
    return (PATTERNS[labels] - flips).abs(), labels


def test_spoilt_images_are_of_three_kinds():
    x, labels = digits(300)
    bad = spoilt(x, labels, seeded())
    assert bad.shape == (300, 64)
    assert set(bad.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(bad[1], torch.maximum(x[1], x[0]))
    differ = (bad[100:200] - x[100:200]).abs().mean()
    assert 0.08 < differ < 0.18  # 3 to 23 percent
    for c in range(10):  # pixels of the third kind keep the shares of their class
        own = x[200:][labels[200:] == c]
        mixed = bad[200 + 10 * c : 210 + 10 * c]
        assert ((own.mean(0) == 0) <= (mixed.mean(0) == 0)).all()


def test_it_accepts_digits_and_rejects_what_is_none():
    x, labels = digits(3000)
    torch.manual_seed(0)
    judge = train_judge(x, labels, digits(1000, 1)[0], seeded())
    assert judge.accepted(digits(1000, 1)[0]) == pytest.approx(0.95, abs=0.005)
    assert judge.accepted(digits(1000, 2)[0]) > 0.9
    noise = torch.bernoulli(torch.full((500, 64), 0.5), generator=seeded(3))
    assert judge.accepted(noise) < 0.2


def test_confidence_leaves_none_out():
    judge = Judge(lambda x: torch.tensor([[0.0] * 10 + [3.0], [2.0] + [0.0] * 10]), 0.2)
    confidence = judge.confidence(torch.zeros(2, 4))
    wanted = torch.tensor([[0.0] * 10 + [3.0], [2.0] + [0.0] * 10]).softmax(1)[:, :10].amax(1)
    torch.testing.assert_close(confidence, wanted)
    assert judge.accepted(torch.zeros(2, 4)) == 0.5


def test_refuses():
    x, labels = digits(30)
    with pytest.raises(ValueError, match="labels: wanted one for each of 30 images"):
        spoilt(x, labels[:3])
    with pytest.raises(ValueError, match="x: wanted pixels of 0 and 1"):
        train_judge(0.5 * x, labels, x)
    with pytest.raises(ValueError, match="held_out: wanted 64 columns"):
        train_judge(x, labels, x[:, :5])
