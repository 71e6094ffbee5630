"""The pretend device does what a GPU does: its answers, its refusals, its waits, its graphs."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

from tests.pretend_cuda import PretendCuda


@pytest.fixture
def cuda():
    with PretendCuda() as device:
        yield device


def test_it_is_there_only_while_it_is_entered():
    before = torch.cuda.is_available(), torch.Generator, torch.load
    with PretendCuda():
        assert torch.cuda.is_available()
        assert torch.Generator("cuda").device.type == "cuda"
    assert (torch.cuda.is_available(), torch.Generator, torch.load) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(3).to("cuda"),
        lambda: torch.zeros(3).cuda(),
        lambda: torch.zeros(3).to(device="cuda", dtype=torch.float64),
        lambda: torch.zeros(3).to(torch.zeros(1, device="cuda")),
        lambda: torch.zeros(3, device="cuda"),
        lambda: torch.tensor([1.0, 2.0, 3.0], device=torch.device("cuda")),
        lambda: torch.as_tensor(torch.zeros(3), device="cuda:0"),
        lambda: torch.zeros(4, device="cuda")[1:],
        lambda: torch.zeros(3, device="cuda").new_ones(3),
        lambda: torch.randn(3, device="cuda", generator=torch.Generator("cuda")),
        lambda: torch.zeros(3, device="cuda") + torch.tensor(1.0),  # a CPU scalar
        lambda: nn.Parameter(torch.zeros(3, device="cuda")),
        lambda: nn.Parameter(torch.zeros(3, device="cuda")).data,
        lambda: copy.deepcopy(nn.Linear(1, 3).to("cuda")).bias,
        lambda: nn.Linear(1, 3, device="cuda").bias,
        lambda: torch.arange(6, device="cuda").chunk(2)[1],
        lambda: torch.arange(3, device="cuda")[torch.tensor([2, 1, 0])],
    ],
)
def test_what_is_made_there_is_there(cuda, make):
    tensor = make()
    assert tensor.device == torch.device("cuda", 0)
    assert tensor.is_cuda
    assert len(tensor) == 3
    assert tensor.cpu().device.type == "cpu"
    assert tensor.device.type == "cuda"  # what was copied stays


def test_what_moves_leaves_the_original(cuda):
    here = torch.zeros(3)
    there = here.to("cuda")
    there += 1
    assert here.device.type == "cpu"
    assert here.sum() == 0
    assert torch.as_tensor(here, device="cuda").device.type == "cuda"
    assert here.device.type == "cpu"


def test_a_module_its_gradients_and_its_optimizer(cuda):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).to("cuda")
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(4, 2, device="cuda")).square().sum().backward()
    optimizer.step()
    first = model[0].weight
    state = optimizer.state[first]
    assert {t.device.type for t in (first, first.grad, state["exp_avg"], state["step"])} == {"cuda"}
    assert {t.device.type for t in model.state_dict().values()} == {"cuda"}
    model.cpu()
    assert {t.device.type for t in (first, first.grad, *model.buffers())} == {"cpu"}


def mixed_sum():
    return torch.zeros(3, device="cuda") + torch.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (mixed_sum, RuntimeError, "all tensors to be on the same device"),
        (lambda: torch.zeros(3) + torch.zeros((), device="cuda"), RuntimeError, "same device"),
        (lambda: nn.Linear(2, 2).to("cuda")(torch.zeros(1, 2)), RuntimeError, "same device"),
        (lambda: torch.stack([torch.zeros(1), torch.zeros(1).cuda()]), RuntimeError, "same dev"),
        (lambda: torch.zeros(3).index_select(0, torch.arange(2).cuda()), RuntimeError, "same"),
        (lambda: torch.zeros(3)[torch.arange(2).cuda()], RuntimeError, "indices should be"),
        (lambda: torch.zeros(3).cuda().numpy(), TypeError, r"Use Tensor.cpu\(\) to copy"),
        (lambda: np.asarray(torch.zeros(3).cuda()), TypeError, "can't convert cuda:0"),
        (
            lambda: torch.zeros(3).cuda().normal_(generator=torch.Generator()),
            RuntimeError,
            "Expected a 'cuda' device type for generator but found 'cpu'",
        ),
        (
            lambda: torch.rand(3, generator=torch.Generator("cuda")),
            RuntimeError,
            "Expected a 'cpu' device type for generator but found 'cuda'",
        ),
        (
            lambda: torch.Generator("cuda").set_state(torch.Generator().get_state()),
            RuntimeError,
            "RNG state is wrong size",
        ),
    ],
)
def test_what_a_gpu_refuses_is_refused(cuda, call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_generators(cuda):
    def draw(seed):
        return torch.rand(3, generator=torch.Generator("cuda").manual_seed(seed), device="cuda")

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    here = torch.rand(3, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(draw(1).cpu(), here)
    generator = torch.Generator("cuda").manual_seed(3)
    state = generator.get_state()
    first = torch.rand(2, generator=generator, device="cuda")
    generator.set_state(state)
    assert torch.equal(first, torch.rand(2, generator=generator, device="cuda"))


@pytest.mark.parametrize(
    ("n", "call"),
    [
        (1, lambda x: x.sum().item()),
        (1, lambda x: float(x[0])),
        (1, lambda x: bool(x[0] > 0)),
        (1, lambda x: int(x[0])),
        (1, lambda x: x.tolist()),
        (1, lambda x: x.cpu()),
        (1, lambda x: x.numpy(force=True)),
        (1, lambda x: f"{x[0]:.1f}"),
        (1, lambda x: x[x > 0]),
        (1, lambda x: x.nonzero()),
        (1, lambda x: x[[0, 1]]),
        (1, lambda x: x[torch.arange(2)]),
        (1, lambda x: torch.equal(x, x)),
        (1, lambda x: torch.zeros(3).to("cuda")),
        (1, lambda x: torch.zeros(3).to("cuda", non_blocking=True)),  # memory is not pinned
        (1, lambda x: torch.tensor(1.0, device="cuda")),
        (1, lambda x: x.copy_(torch.zeros(3))),
        (0, lambda x: torch.zeros(3).pin_memory().to("cuda", non_blocking=True)),
        (0, lambda x: x.to("cpu", non_blocking=True)),
        (0, lambda x: x.double()),
        (0, lambda x: x[1:].sum().exp() * 2),
        (0, lambda x: x[torch.zeros(1, dtype=torch.int64, device="cuda")]),
        (0, lambda x: torch.where(x > 0, x, 0.0)),
        (0, lambda x: x.add_(1).shape[0]),
        (0, lambda x: torch.zeros(3, device="cuda")),
        (0, lambda x: torch.zeros(3).tolist()),  # not of the device
    ],
)
def test_waits(cuda, n, call):
    x = torch.ones(3, device="cuda")
    assert cuda.waits.total() == 0
    call(x)
    assert cuda.waits.total() == n


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_waits_are_refused_where_asked(cuda):
    x = torch.ones(3, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="synchronizing"):
        x.sum().item()
    torch.cuda.set_sync_debug_mode("default")
    assert x.sum().item() == 3


def test_other_threads_see_it(cuda):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.zeros(2, device="cuda").device.type))
    thread.start()
    thread.join()
    assert seen == ["cuda"]


def test_files(cuda, tmp_path):
    torch.save({"x": torch.ones(2, device="cuda"), "n": 1}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", map_location="cuda", weights_only=True)
    assert state["x"].device.type == "cuda"
    here = torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True)
    assert here["x"].device.type == "cpu"


def training_step(model, x, generator, optimizer):
    noise = torch.empty_like(x).normal_(generator=generator)
    loss = (model(x + noise) - x).square().mean()
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    return loss.detach()


def test_a_recorded_step_trains_as_the_same_step_does(cuda):
    def run(n_recorded):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 2)).to("cuda")
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True, capturable=True)
        generator, x = torch.Generator("cuda").manual_seed(0), torch.ones(5, 2, device="cuda")
        losses = [training_step(model, x, generator, optimizer) for _ in range(6 - n_recorded)]
        if n_recorded:
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(generator)
            weights = [p.clone() for p in model.parameters()]
            with torch.cuda.graph(graph):
                loss = training_step(model, x, generator, optimizer)
            assert all(map(torch.equal, weights, model.parameters()))  # recorded, not done
            for _ in range(n_recorded):
                graph.replay()
                losses.append(loss.clone())
        return torch.stack(losses)

    assert torch.equal(run(0), run(4))


def test_what_cannot_be_recorded(cuda):
    x, generator = torch.ones(3, device="cuda"), torch.Generator("cuda")
    with (
        pytest.raises(RuntimeError, match="not permitted when stream is capturing"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        x.sum().item()
    with (
        pytest.raises(RuntimeError, match="generator not in capture mode"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        torch.rand(3, device="cuda", generator=generator)
    assert x.sum().item() == 3  # and all is as before
