"""A recorded step trains as an unrecorded one, and its Python runs once."""

import gc
import math
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.common import seeded
from vaebook import recorded, training
from vaebook.data import dynamic_binarization
from vaebook.gan import fit_gan, mlp_gan
from vaebook.training import fit
from vaebook.vae import elbo_objective, mlp_vae


@pytest.fixture
def replays(monkeypatch):
    """Note each replay."""
    graphs = torch.cuda.CUDAGraph  # the pretended ones, or on a GPU those of PyTorch
    replayed, replay = [], graphs.replay
    monkeypatch.setattr(graphs, "replay", lambda graph: replayed.append(graph) or replay(graph))
    return replayed


def pixels(n=203):
    return torch.randint(0, 256, (n, 6), generator=seeded(), dtype=torch.uint8)


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return mlp_vae(6, 2, hidden=(8,))


def run(objective=elbo_objective, **changes):
    trained = model()
    options = {
        "transform": dynamic_binarization, "validation": pixels(9), "epochs": 3, "batch_size": 20,
        "lr": 0.01, "kl_warmup": 0.5, "ema": 0.9, "device": "cuda", "amp": False,
    }  # fmt: skip
    history = fit(trained, pixels(), objective, **{**options, **changes})
    return trained, history


@pytest.mark.parametrize(
    "changes",
    [{}, {"kl_warmup": 0.0}, {"ema": None}, {"schedule": "constant"}, {"amp": True}],
    ids=str,
)
def test_a_recorded_run_is_the_run(replays, changes):
    one, history = run(**changes)
    assert len(replays) == 3 * 10 - 1 - recorded.N_REHEARSALS  # the odd batches are not
    assert len(set(map(id, replays))) == 1
    replays.clear()
    other, plain = run(record=False, **changes)
    assert replays == []
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    for name, values in plain.train.items():
        assert history.train[name] == pytest.approx(values, rel=1e-5), name
    assert history.validation["bound"] == pytest.approx(plain.validation["bound"], rel=1e-5)


def test_python_runs_a_few_times_only(replays):
    calls = []

    def objective(model, x, generator, beta=1.0):
        calls.append(model.training)
        return elbo_objective(model, x, generator, beta)

    run(objective, validation=None)
    assert sum(calls) == 1 + recorded.N_REHEARSALS + 1 + 3  # and the odd batch of each epoch


def test_a_step_that_looks_at_a_tensor_is_not_recorded_and_a_line_says_so(replays, capsys):
    def looks(model, x, generator, beta=1.0):
        bound, terms = elbo_objective(model, x, generator, beta)
        if float(bound.detach().mean()) > 0:
            raise AssertionError("a probability above 1")
        return bound, terms

    one, history = run(looks)
    assert replays == []
    lines = [line for line in capsys.readouterr().err.splitlines() if "CUDA graph" in line]
    assert len(lines) == 1
    assert "synchronizing" in lines[0]
    other, plain = run(looks, record=False)
    assert history.train == plain.train  # nothing was drawn or added up twice
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_that_cannot_be_recorded_says_what_to_do(replays):
    calls = []

    def objective(model, x, generator, beta=1.0):
        calls.append(model.training)
        if sum(calls) == 2 + recorded.N_REHEARSALS:
            raise RuntimeError("operation not permitted when stream is capturing")
        return elbo_objective(model, x, generator, beta)

    with pytest.raises(RuntimeError, match=r"cannot be recorded.* record=False \(operation not"):
        run(objective, validation=None)
    assert replays == []


def test_recording_warns_of_nothing_and_leaves_no_mode_behind(replays):
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run()
    assert torch.cuda.get_sync_debug_mode() == before
    assert replays


def test_the_graph_of_an_old_run_is_gone_before_the_next_recording(monkeypatch):
    graphs, register = [], torch.cuda.CUDAGraph.register_generator_state

    def note(graph, generator):
        graphs.append(weakref.ref(graph))
        register(graph, generator)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "register_generator_state", note)
    gc.disable()  # an automatic collection would come at any time: in a recording, too
    try:
        run()
        run()
        assert [graph() is None for graph in graphs] == [True, False]
    finally:
        gc.enable()


def test_an_error_of_the_objective_comes_through(replays):
    calls = []

    def objective(model, x, generator, beta=1.0):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("a fault of the user's own")
        return elbo_objective(model, x, generator, beta)

    with pytest.raises(RuntimeError, match=r"a fault of the user's own"):
        run(objective, validation=None)


def test_a_loss_that_is_no_number_is_named_later_and_moves_nothing(replays, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_LOOKS", math.inf)  # however slow the machine
    kept = []

    def objective(model, x, generator, beta=1.0):
        bound, terms = elbo_objective(model, x, generator, beta)
        at_most = (x.mean(1) < 0.9).float()  # a datum of ones alone makes the bound no number
        return bound / at_most * at_most, terms

    spoilt, data = model(), pixels() // 2
    data[77] = 255
    hook = register_optimizer_step_pre_hook(
        lambda *_: kept.append([p.detach().cpu().clone() for p in spoilt.parameters()])
    )
    order = torch.randperm(len(data), generator=seeded(0)).tolist()
    step = order.index(77) // 20
    try:
        with pytest.raises(FloatingPointError, match=rf"the loss became nan at step {step} "):
            fit(spoilt, data, objective, transform=dynamic_binarization, batch_size=20,
                epochs=2, lr=0.01, device="cuda")  # fmt: skip
    finally:
        hook.remove()
    assert len(kept) == 11 > step  # it was found at the end of the epoch
    for weight, before in zip(spoilt.parameters(), kept[step], strict=True):
        assert torch.equal(weight, before)
    assert not torch.equal(kept[step][0], kept[step - 1][0])


def test_gradients_of_frozen_weights_stay_none(replays):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.free, self.unused = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def objective(model, x, generator):
        return -(x - model.free).square().sum(-1), {}

    half = Half()
    fit(half, torch.ones(200, 2), objective, epochs=20, batch_size=20, lr=0.1, device="cuda")
    assert replays
    torch.testing.assert_close(half.free.detach(), torch.ones(2), rtol=0, atol=0.05)
    assert half.unused.grad is None


def test_a_recorded_game_is_the_game(replays):
    def play(record):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            gan = mlp_gan(6, 2, hidden=(8,))
        history = fit_gan(
            gan, pixels(), transform=dynamic_binarization, epochs=3, batch_size=20, ema=0.9,
            lr=0.01, seed=3, device="cuda", record=record,
        )  # fmt: skip
        return gan, history

    one, history = play(record=True)
    assert len(replays) == 2 * (3 * 10 - 1 - recorded.N_REHEARSALS)  # each player's part
    assert len(set(map(id, replays))) == 2
    replays.clear()
    other, plain = play(record=False)
    assert replays == []
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    for name, values in plain.train.items():
        assert history.train[name] == pytest.approx(values, rel=1e-5), name
