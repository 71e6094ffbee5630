"""Two processes that train one model, started as a user starts them, agree with one process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from vaebook.distributed import Team, join

SCRIPT = """
import json, os, sys, time
import torch
from torch import nn
from vaebook.training import CsvLog, fit

rank = int(os.environ.get("RANK", 0))
what, name = sys.argv[1:]

drawn = []

class Noisy(nn.Module):  # draws from both generators, and uses its parts by turns
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.n_calls = 0

    def forward(self, x, generator):
        drawn.append([torch.randn(1, generator=generator).item(), torch.rand(1).item()])
        self.n_calls += 1
        return self.parts[self.n_calls // 10 % 2](x), self.parts[2](x)

def by_turns(model, x, generator):
    out, unused = model(x, generator)
    return -(out - x).square().sum(1), {"unused": unused.square().sum(1)}

def squared_error(model, x, generator):  # draws nothing: the gradient is the batch's alone
    if what == "slow":
        time.sleep(0.2)
    if what == "fails" and rank == 1 and (x == 7).any():
        return torch.full((len(x),), torch.nan) + 0 * model(x).sum(), {}
    error = (model(x) - x).square().sum(1)
    return -error, {"error": error}

torch.manual_seed(rank)  # the first process's weights are everybody's
x = torch.rand(103, 6, generator=torch.Generator().manual_seed(1))
if what == "fails":
    x[50] = 7
options = dict(epochs=4, batch_size=10, lr=0.02, ema=0.9, seed=3, device="cpu", amp=False)
if what == "elsewhere" and rank == 1:  # on another machine there is no checkpoint
    os.makedirs("elsewhere")
    os.chdir("elsewhere")
if what == "noisy":
    model = Noisy()
    history = fit(model, x, by_turns, validation=x[:1], **options)  # one of them has no row
    torch.save(drawn, f"drawn.{rank}")
elif what == "one validates":  # which would wait for the other
    held_out = x if rank == 0 else None
    history = fit(nn.Linear(6, 6), x, squared_error, validation=held_out, **options)
elif what == "differ":
    history = fit(nn.Linear(6, 6), x, squared_error, **options | {"lr": 0.01 * (rank + 1)})
elif what == "batch norm":
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    history = fit(model, x, squared_error, **options)
else:
    model = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 6))
    try:
        history = fit(model, x, squared_error, validation=x[:33], **options,
                      checkpoint=None if what == "fails" else name + ".pt",
                      callbacks=[CsvLog(name + ".csv")])
    except FloatingPointError as error:
        finite = all(weight.isfinite().all() for weight in model.parameters())
        torch.save([str(error), finite], f"{name}.{rank}")
        sys.exit()
torch.save([history.train, history.validation, model.state_dict()], f"{name}.{rank}")
"""


def command(n_processes, *arguments):
    if n_processes == 1:
        return [sys.executable, "train.py", *arguments]
    launcher = "torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes)
    return [sys.executable, "-m", *launcher, "train.py", *arguments]


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the script in a folder of its own."""
    (tmp_path / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}

    def start_it(*arguments):
        return subprocess.Popen(
            command(*arguments), cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE
        )

    return start_it


def finish(process):
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors


def assert_same_run(folder, one, other):
    first, second = (torch.load(folder / name) for name in (one, other))
    for mine, yours in zip(first[:2], second[:2], strict=True):
        assert mine.keys() == yours.keys()
        for name, values in mine.items():
            assert values == pytest.approx(yours[name], rel=1e-5), name
    for name, weight in first[2].items():
        torch.testing.assert_close(weight, second[2][name], rtol=1e-4, atol=1e-6)


def test_two_processes_agree_with_one_and_one_continues_what_two_began(tmp_path, start):
    finish(start(1, "exact", "alone"))
    finish(start(2, "exact", "two"))
    assert_same_run(tmp_path, "alone.0", "two.0")
    assert_same_run(tmp_path, "two.0", "two.1")
    assert len((tmp_path / "two.csv").read_text().splitlines()) == 1 + 1 + 4  # by one of them

    process = start(2, "slow", "run")
    started = time.monotonic()
    while not (tmp_path / "run.csv").exists() and time.monotonic() - started < 120:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode != 0
    step, epoch, n_seen = torch.load(tmp_path / "run.pt")["position"]
    assert 11 <= step < 44
    assert step == 11 * epoch + n_seen // 10
    assert not list(tmp_path.glob("*.tmp"))
    shutil.copy(tmp_path / "run.pt", tmp_path / "apart.pt")
    for n_processes, what, name in ((1, "exact", "run"), (2, "elsewhere", "apart")):
        finish(start(n_processes, what, name))
        assert_same_run(tmp_path, f"{name}.0", "alone.0")


def test_a_loss_that_is_no_number_in_one_process_stops_all_before_the_step(tmp_path, start):
    finish(start(2, "fails", "run"))
    for rank in (0, 1):
        message, is_finite = torch.load(tmp_path / f"run.{rank}")
        assert "the loss became nan at step" in message
        assert is_finite


def test_each_process_draws_noise_of_its_own_and_any_part_of_the_model_may_rest(tmp_path, start):
    finish(start(2, "noisy", "noisy"))
    one, other = (torch.tensor(torch.load(tmp_path / f"drawn.{rank}")) for rank in (0, 1))
    n = 5 + 4 * 11  # looks at held-out rows, and steps
    assert (one[:n] != other[:n]).all()
    states = [torch.load(tmp_path / f"noisy.{rank}") for rank in (0, 1)]
    assert states[0][:2] == states[1][:2]
    bound = states[0][1]["bound"]
    assert bound[-1] > bound[0]
    for name, weight in states[0][2].items():
        assert torch.equal(weight, states[1][2][name])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("differ", "fit: wanted the same recipe in every process, got"),
        ("one validates", "fit: wanted the same validation in every process, got"),
        ("batch norm", "model: wanted no layer that sees the whole batch.* got BatchNorm1d"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(start, what, message):
    process = start(2, what, "run")
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    assert re.search(message, errors)


def test_one_process_is_a_team_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    team, device = join(torch.device("cpu"))
    assert team == Team(0, 1)
    assert device == torch.device("cpu")
    assert team.from_first(lambda: 3) == 3
    assert team.seed(5) == 5
    assert team.gather(json) == [json]


def test_processes_share_an_estimate(monkeypatch):
    rows = torch.arange(7.0)[:, None]
    shares = [rows[rank::3].square() for rank in range(3)]
    monkeypatch.setattr(Team, "gather", lambda self, value: shares)
    assert torch.equal(Team(1, 3).map_rows(torch.square, rows), rows.square())


def test_an_estimate_of_fewer_rows_than_processes(monkeypatch):
    rows = torch.arange(2.0)[:, None]
    shares = [rows[:1].square(), rows[1:].square(), rows[:0]]
    monkeypatch.setattr(Team, "gather", lambda self, value: shares)

    def square(x):
        assert len(x) == 1  # what a model refuses is no rows at all
        return x.square()

    assert torch.equal(Team(2, 3).map_rows(square, rows), rows.square())


def test_seeds_of_processes_are_their_own_in_the_32_bits_that_a_cpu_takes():
    seeds = [Team(rank, 4).seed(seed) for rank in range(4) for seed in (1, 2, 3)]
    assert seeds[:3] == [1, 2, 3]
    assert len(set(seeds)) == 12
    assert max(seeds) < 2**32
