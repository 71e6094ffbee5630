"""The checks that every public function shares."""

import math

import numpy as np
import pytest
import torch

from vaebook._checks import check_at_least, check_batch, check_float, is_binary


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


def test_the_first_bad_row_is_named():
    value = torch.zeros(5, 3)
    value[2, 1], value[4, 0] = -math.inf, math.nan
    with pytest.raises(ValueError, match="x: wanted finite numbers, got -inf in row 2"):
        check_float("x", value)
    with pytest.raises(ValueError, match=r"x: wanted finite numbers, got nan$"):
        check_float("x", torch.tensor(math.nan))


@pytest.mark.parametrize("kind", [int, np.int8, np.uint8, np.int64, np.uint64])
def test_integers_are_pythons_or_numpys(kind):
    check_at_least("n", kind(3), 3)
    with pytest.raises(ValueError, match="n: wanted an integer of at least 4"):
        check_at_least("n", kind(3), 4)


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float64(3), "3", None])
def test_what_is_no_integer(value):
    with pytest.raises(ValueError, match="n: wanted an integer of at least 1"):
        check_at_least("n", value, 1)


def test_the_precision_of_the_model():
    check_batch("x", torch.zeros(1, 2), 2, like=torch.zeros(1))
    with pytest.raises(ValueError, match=r"x: wanted torch.float64, as the model has"):
        check_batch("x", torch.zeros(1, 2), 2, like=torch.zeros(1).double())
