"""The command's device, which is tried before anything else happens."""

import pytest
import torch

from vaebook import cli


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_process_of_torchrun_tries_its_own_gpu(monkeypatch, device):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert cli._device(device) == torch.device("cuda")
    assert current == [3]


def test_a_gpu_that_is_named_is_the_one_that_is_tried(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert cli._device("cuda:0") == torch.device("cuda", 0)
    assert current == []
