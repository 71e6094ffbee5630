"""Several processes that train one model, started by ``torchrun``; most often there is one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes that work on one run, as seen by one of them."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    def share(self, n: int) -> int:
        """How many of `n` rows are this process's own."""
        return len(range(self.rank, n, self.size))

    def add_up(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def gather(self, value: Any) -> list[Any]:
        """Collect one thing of each process, in all of them."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_first(self, find: Callable[[], T]) -> T:
        """Return in all processes what the first one finds, or raise what it raises."""
        if self.size == 1:
            return find()
        found: list[Any] = [None, None]
        if self.leads:
            try:
                found[0] = find()
            except Exception as error:  # whatever it is, the others wait for it
                found[1] = error
        dist.broadcast_object_list(found)
        value, fault = found
        if fault is not None:
            raise fault
        return value

    def seed(self, seed: int) -> int:
        """Return this process's own seed: the first one's is `seed`."""
        if self.leads:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def map_rows(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Apply a function of rows, each process to its share, and put the results together."""
        own = rows[self.rank :: self.size]
        results = self.gather(function(own if len(own) else rows[:1])[: len(own)].cpu())
        whole = results[0].new_empty(len(rows), *results[0].shape[1:])
        for rank, result in enumerate(results):
            whole[rank :: self.size] = result
        return whole

    def parallel(self, model: nn.Module, objective: Callable[..., Any]) -> Callable[..., Any]:
        """Give `objective` the gradients of all processes' rows, averaged as it is derived."""
        if self.size == 1:
            return objective
        device = next(model.parameters()).device
        together = DistributedDataParallel(
            _Evaluated(model, objective),
            device_ids=[device] if device.type == "cuda" else None,
            find_unused_parameters=True,  # an objective may use other weights in other steps
        )

        def evaluate(_: nn.Module, x: Tensor, generator: Generator, **weight: Any) -> Any:
            return together(x, generator, **weight)

        return evaluate


def join(device: torch.device) -> tuple[Team, torch.device]:
    """Find the other processes that ``torchrun`` started, and this one's own device.

    Parameters
    ----------
    device
        The kind of device that is wanted; of several GPUs each process takes its own.

    Returns
    -------
    Team
        A team of one, unless ``torchrun`` started more.
    torch.device
        Where this process computes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and not _is_running():
        return Team(), device
    if device.type not in ("cpu", "cuda"):
        device = torch.device("cpu")  # PyTorch's processes exchange nothing on other devices
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not _is_running():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)
    return Team(dist.get_rank(), dist.get_world_size()), device


def _leave() -> None:
    if _is_running():
        dist.destroy_process_group()


def _is_running() -> bool:
    return dist.is_available() and dist.is_initialized()


class _Evaluated(nn.Module):
    """An objective of a model as a module's ``forward``, which is what PyTorch parallelises."""

    def __init__(self, model: nn.Module, objective: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        # without a weight that rests, PyTorch warns that none does
        self.rests = nn.Parameter(next(model.parameters()).new_zeros(()))

    def forward(self, x: Tensor, generator: Generator, **weight: Any) -> Any:
        bound, terms = self.objective(self.model, x, generator, **weight)
        # no gradient comes through the terms, and weights of theirs alone must not be waited for
        return bound, {name: values.detach() for name, values in terms.items()}
