"""The checks that every public function shares."""

import math

import pytest
import torch

from vaebook._checks import check_float, is_binary


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_one_number_that_is_not_finite_is_found_wherever_it_stands(bad, place):
    value = torch.tensor([0.0, -1.0, 1.0, 2.0, -3.0, 0.5])
    value[place] = bad
    with pytest.raises(ValueError, match="finite numbers"):
        check_float("x", value.view(2, 3))


def test_the_largest_numbers_and_no_numbers_are_finite():
    largest = torch.finfo(torch.float32).max
    check_float("x", torch.tensor([largest, -largest]))
    check_float("x", torch.empty(0, 3))


def test_only_zeros_and_ones_are_binary():
    assert is_binary(torch.tensor([0.0, 1.0, -0.0]))
    for other in (0.5, -1.0, 2.0, 1e-30, 1 - 1e-7, math.nan):
        assert not is_binary(torch.tensor([0.0, other, 1.0])), other
