"""A recorded step: a graph of CPU operations stands for one of CUDA's, and Python runs only once.

As in a CUDA graph, each operation is repeated on the very tensors that it had when it was recorded,
draws from the generator anew, and leaves its result where the recorded result lies.
"""

from contextlib import contextmanager, nullcontext
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from tests.common import seeded
from vaebook import recorded, training
from vaebook.data import dynamic_binarization
from vaebook.training import fit
from vaebook.vae import elbo_objective, mlp_vae

READS_A_NUMBER = torch.ops.aten._local_scalar_dense.default


class Graph(TorchDispatchMode):
    """What stands for `torch.cuda.CUDAGraph`."""

    made: ClassVar = []

    def __init__(self):
        super().__init__()
        self.steps, self.n_replays = [], 0
        Graph.made.append(self)

    def register_generator_state(self, generator):
        self.generator = generator

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.steps.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        self.n_replays += 1
        for function, args, kwargs, result in self.steps:
            again = function(*args, **kwargs)
            for old, new in zip(_tensors(result), _tensors(again), strict=True):
                if old is not new and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _tensors(result):
    parts = result if isinstance(result, tuple | list) else (result,)
    return [part for part in parts if isinstance(part, torch.Tensor)]


@contextmanager
def recording(graph, capture_error_mode):
    """As `torch.cuda.graph`: what is recorded is not carried out on the state outside."""
    assert capture_error_mode == "thread_local"
    state = graph.generator.get_state()
    kept = [(tensor, tensor.clone()) for tensor in graph.outside]
    with graph:
        yield
    for tensor, value in kept:
        tensor.copy_(value)
    graph.generator.set_state(state)


class Refusing(TorchDispatchMode):
    """As CUDA's debug mode: waiting for a number is an error."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is READS_A_NUMBER:
            raise RuntimeError("called a synchronizing CUDA operation")
        return function(*args, **(kwargs or {}))


class Stream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


@pytest.fixture
def cuda(monkeypatch):
    """Record on the CPU what would be recorded on a GPU."""
    Graph.made.clear()
    monkeypatch.setattr(Graph, "outside", [], raising=False)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(recorded, "_waits_refused", Refusing)
    monkeypatch.setattr(training, "on_gpu", lambda device: True)
    add_up = training._Run.note

    def note(run, loss, bound, terms):
        Graph.outside[:] = [*vars(run.watch).values(), *run.sums.values()]
        add_up(run, loss, bound, terms)

    monkeypatch.setattr(training._Run, "note", note)


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
        "lr": 0.01, "kl_warmup": 0.5, "ema": 0.9, "device": "cpu", "amp": False,
    }  # fmt: skip
    history = fit(trained, pixels(), objective, **{**options, **changes})
    return trained, history


@pytest.mark.parametrize(
    "changes",
    [{}, {"kl_warmup": 0.0}, {"ema": None}, {"schedule": "constant"}, {"amp": True}],
    ids=str,
)
def test_a_recorded_run_is_the_run(cuda, changes):
    one, history = run(**changes)
    (graph,) = Graph.made
    assert graph.n_replays == 3 * 10 - 1 - recorded.N_REHEARSALS  # the odd batches are not
    other, plain = run(record=False, **changes)
    assert len(Graph.made) == 1
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    for name, values in plain.train.items():
        assert history.train[name] == pytest.approx(values, rel=1e-5), name
    assert history.validation["bound"] == pytest.approx(plain.validation["bound"], rel=1e-5)


def test_python_runs_a_few_times_only(cuda):
    calls = []

    def objective(model, x, generator, beta=1.0):
        calls.append(model.training)
        return elbo_objective(model, x, generator, beta)

    run(objective, validation=None)
    assert sum(calls) == 1 + recorded.N_REHEARSALS + 1 + 3  # and the odd batch of each epoch


def test_a_step_that_looks_at_a_tensor_is_not_recorded_and_a_line_says_so(cuda, capsys):
    def looks(model, x, generator, beta=1.0):
        bound, terms = elbo_objective(model, x, generator, beta)
        if float(bound.detach().mean()) > 0:
            raise AssertionError("a probability above 1")
        return bound, terms

    one, history = run(looks)
    assert Graph.made == []
    lines = [line for line in capsys.readouterr().err.splitlines() if "CUDA graph" in line]
    assert len(lines) == 1
    assert "synchronizing" in lines[0]
    other, plain = run(looks, record=False)
    assert history.train == plain.train  # nothing was drawn or added up twice
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_error_of_the_objective_comes_through(cuda):
    calls = []

    def objective(model, x, generator, beta=1.0):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("a fault of the user's own")
        return elbo_objective(model, x, generator, beta)

    with pytest.raises(RuntimeError, match=r"a fault of the user's own"):
        run(objective, validation=None)


def test_a_loss_that_is_no_number_is_named_later_and_moves_nothing(cuda):
    kept = []

    def objective(model, x, generator, beta=1.0):
        bound, terms = elbo_objective(model, x, generator, beta)
        at_most = (x.mean(1) < 0.9).float()  # a datum of ones alone makes the bound no number
        return bound / at_most * at_most, terms

    spoilt, data = model(), pixels() // 2
    data[77] = 255
    hook = register_optimizer_step_pre_hook(
        lambda *_: kept.append([p.detach().clone() for p in spoilt.parameters()])
    )
    order = torch.randperm(len(data), generator=seeded(0)).tolist()
    step = order.index(77) // 20
    try:
        with pytest.raises(FloatingPointError, match=rf"the loss became nan at step {step} "):
            fit(spoilt, data, objective, transform=dynamic_binarization, batch_size=20,
                epochs=2, lr=0.01, device="cpu")  # fmt: skip
    finally:
        hook.remove()
    assert len(kept) == 11 > step  # it was found at the end of the epoch
    for weight, before in zip(spoilt.parameters(), kept[step], strict=True):
        assert torch.equal(weight, before)
    assert not torch.equal(kept[step][0], kept[step - 1][0])


def test_gradients_of_frozen_weights_stay_none(cuda):
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.free, self.unused = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def objective(model, x, generator):
        return -(x - model.free).square().sum(-1), {}

    half = Half()
    fit(half, torch.ones(200, 2), objective, epochs=20, batch_size=20, lr=0.1, device="cpu")
    assert Graph.made
    torch.testing.assert_close(half.free.detach(), torch.ones(2), rtol=0, atol=0.05)
    assert half.unused.grad is None
