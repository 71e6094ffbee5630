"""Several processes that train one model, started by ``torchrun``; most often there is one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

STEPS_BETWEEN_TALKS = 16


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
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Collect one thing of each process, in all of them."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def any_of(self, step: int, *flags: bool) -> tuple[bool, ...]:
        """Agree: a flag is set for all if it is for one. They talk every few steps alone."""
        if self.size == 1:
            return flags
        if step % STEPS_BETWEEN_TALKS:
            return (False,) * len(flags)
        return tuple(map(any, zip(*self.gather(flags), strict=True)))

    def map_rows(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Apply a function of rows, each process to its share, and put the results together."""
        results = self.gather(function(rows[self.rank :: self.size]).cpu())
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
            static_graph=True,  # weights that the objective does not use are found once
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
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not _is_running():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return Team(dist.get_rank(), dist.get_world_size()), device


def _is_running() -> bool:
    return dist.is_available() and dist.is_initialized()


class _Evaluated(nn.Module):
    """An objective of a model as a module's ``forward``, which is what PyTorch parallelises."""

    def __init__(self, model: nn.Module, objective: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Tensor, generator: Generator, **weight: Any) -> Any:
        return self.objective(self.model, x, generator, **weight)
