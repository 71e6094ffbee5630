"""What a reader is told of a right, a wrong, a misshapen and a missing answer."""

import pytest
import torch

from vaebook.exercises import compare


@pytest.mark.parametrize(
    ("mine", "wanted", "said"),
    [
        (None, torch.zeros(3), "a: nothing yet; wanted shape (3,)"),
        (torch.zeros(3, 1), torch.zeros(3), "a: wanted shape (3,), got shape (3, 1)"),
        (torch.zeros(2), 1.0, "a: wanted one number, got shape (2,)"),
        (1.5, 1.0, "a: largest deviation 0.500000"),
        (torch.ones(3, requires_grad=True), torch.tensor([1, 1, 1.25]), "deviation 0.250000"),
        (torch.tensor([1.0, float("nan")]), torch.ones(2), "deviation nan"),
    ],
)
def test_what_is_said_of_an_answer(mine, wanted, said, capsys):
    compare("a", mine, wanted)
    assert said in capsys.readouterr().out
