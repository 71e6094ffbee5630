"""CUDA graphs of the pretend device: operations recorded once, and done again at each replay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only


class Graph(TorchDispatchMode):
    """A recording; as on a GPU, recording leaves all memory that was there before as it was."""

    def __init__(self, keep_graph: bool = False) -> None:
        super().__init__()
        self.steps: list[tuple[Any, tuple, dict, Any]] = []
        self.generators: list[torch.Generator] = []

    def register_generator_state(self, generator: torch.Generator) -> None:
        """Let `generator` be drawn from, anew at each replay."""
        self.generators.append(generator)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None):
        """Do one operation and note it down."""
        kwargs = kwargs or {}
        given = {memory(tensor): tensor.untyped_storage() for tensor in tensors_of((args, kwargs))}
        if operation._schema.is_mutable:
            for address in given.keys() - self.own - self.before.keys():
                self.before[address] = given[address], given[address].clone()
        noted = aliases((args, kwargs))
        result = operation(*args, **kwargs)
        self.own |= {memory(tensor) for tensor in tensors_of(result)} - given.keys()
        self.steps.append((operation, *noted, aliases(result)))
        return result

    def __enter__(self) -> Graph:
        self.before: dict[int, tuple[Any, Any]] = {}  # memory that the recording writes to
        self.own: set[int] = set()  # memory that is made in it
        self.states = [generator.get_state() for generator in self.generators]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for storage, content in self.before.values():
            storage.copy_(content)
        for generator, state in zip(self.generators, self.states, strict=True):
            generator.set_state(state)

    def replay(self) -> None:
        """Do all operations again, on the same memory."""
        with torch.no_grad(), torch._C.DisableTorchFunction():
            for operation, args, kwargs, result in self.steps:
                again = operation(*args, **kwargs)
                for old, new in zip(tensors_of(result), tensors_of(again), strict=True):
                    if memory(old) != memory(new):
                        old.copy_(new)


def aliases(values: Any) -> Any:
    """Return tensors of the same memory, whose shape nobody changes afterwards."""
    return tree_map_only(Tensor, Tensor.detach, values)


def memory(tensor: Tensor) -> int:
    """Tell one piece of memory from another."""
    return tensor.untyped_storage()._cdata


def tensors_of(values: Any) -> list[Tensor]:
    """Return the tensors in a structure."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


@contextmanager
def capture(device: Any, graph: Graph) -> Iterator[None]:
    """Record what is done inside, in which nobody may wait for the device."""
    device.recording = graph
    try:
        with graph:
            yield
    finally:
        device.recording = None
