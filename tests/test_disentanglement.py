"""The score of a code: known codes have known scores, and what is none is refused."""

import math

import pytest
import torch

from tests.common import seeded
from vaebook.disentanglement import mutual_information, mutual_information_gap

FACTORS = torch.cartesian_prod(torch.arange(3), torch.arange(5))


def test_a_copy_knows_the_entropy_and_a_constant_nothing():
    codes = torch.stack([FACTORS[:, 0].double(), torch.ones(15).double()], 1)
    found = mutual_information(codes, FACTORS)
    wanted = torch.tensor([[math.log(3), 0], [0, 0]], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_scale_place_sign_and_order_of_the_axes_do_not_matter():
    codes = FACTORS.double() + 0.1 * torch.randn(15, 2, generator=seeded()).double()
    score = mutual_information_gap(codes, FACTORS, 5)
    assert mutual_information_gap(-3 * codes.flip(1) + 7, FACTORS, 5) == pytest.approx(score)


def test_single_precision_and_gradients_are_taken():
    codes = FACTORS.float().requires_grad_()
    assert mutual_information_gap(codes, FACTORS) == pytest.approx(1)


def test_one_datum_knows_nothing():
    assert mutual_information(torch.zeros(1, 2), torch.zeros(1, 1).long()).tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (torch.zeros(4, 2), torch.zeros(3, 1).long(), r"factors: wanted int64 of shape \(4,"),
        (torch.zeros(4, 2), torch.zeros(4, 1), "factors: wanted int64"),
        (torch.zeros(4, 2), torch.zeros(4).long(), "factors: wanted int64"),
        (torch.zeros(4, 2), -torch.ones(4, 1).long(), "factors: wanted whole numbers from 0"),
        (torch.zeros(4, 2), torch.zeros(4, 1).long(), "factors: wanted at least two values"),
        (torch.rand(15, 1), FACTORS, "codes: wanted at least 2 columns"),
        (torch.full((15, 2), math.nan), FACTORS, "codes: wanted finite numbers"),
        (torch.zeros(0, 2), FACTORS[:0], "codes: wanted at least one row"),
    ],
)
def test_refuses(codes, factors, message):
    with pytest.raises(ValueError, match=message):
        mutual_information_gap(codes, factors)


def test_refuses_a_single_bin():
    with pytest.raises(ValueError, match="n_bins: wanted an integer of at least 2"):
        mutual_information(torch.zeros(15, 2), FACTORS, 1)
