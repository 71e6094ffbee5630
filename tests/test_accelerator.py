"""The script for machines with a GPU: it runs without one, and its bare loops learn."""

import sys
import time

import pytest
import torch

from tests.pretend_cuda import PretendCuda
from tools.accelerator import BATCH, Bare, chapter_names, main, print_speeds, run_all, vae_loss
from vaebook import data
from vaebook.vae import mlp_vae


def test_it_says_what_it_would_do(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["accelerator"])
    main()
    said = capsys.readouterr().out
    assert "There is no GPU here" in said
    assert f"{len(chapter_names())} chapters" in said


def test_every_speed_is_measured(capsys):
    print_speeds(torch.device("cpu"), BATCH)
    lines = capsys.readouterr().out.splitlines()
    works = [line[:18] for line in lines if "bare loop" in line]
    assert len(works) == len(set(works)) == 6
    assert sum("example" in line for line in lines) == 1
    assert sum("pieces of" in line for line in lines) >= 1
    assert all(float(line.split()[-1]) > 0 for line in lines[1:])


def test_a_recorded_step_learns_what_the_bare_one_learns():
    def trained(is_recorded):
        torch.manual_seed(0)
        model = mlp_vae(hidden=(16,)).to("cuda")
        rows = data.load("mnist").test.pixels()[: 6 * BATCH].to("cuda")
        bare = Bare([(vae_loss(model), list(model.parameters()))], rows, data.dynamic_binarization)
        if is_recorded:
            step = bare.recorded()  # after three steps
        else:
            step = bare.step
            for _ in range(3):
                step()
        torch.manual_seed(1)  # the order
        bare.epoch(step)
        return torch.cat([p.detach().cpu().flatten() for p in model.parameters()])

    with PretendCuda():
        torch.testing.assert_close(trained(True), trained(False))


@pytest.mark.parametrize("ends", [0, 1])
def test_what_fails_is_named(capsys, ends, tmp_path):
    python, mark = [sys.executable, "-c"], tmp_path / "first"
    commands = {
        "first": ([*python, f"open({str(mark)!r}, 'w')"], []),
        "second": ([*python, f"open({str(mark)!r}); import sys; sys.exit({ends})"], ["first"]),
    }
    assert run_all(commands, time.monotonic() + 60) == ["second"] * ends
    assert capsys.readouterr().out.count("ok") == 2 - ends
