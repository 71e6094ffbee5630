"""A training step recorded once as a CUDA graph: one launch in place of some sixty."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

N_REHEARSALS = 2


class Recorded:
    """`work` on a batch of `size` rows, which leaves gradients in `parameters`, as one CUDA graph.

    The first calls run as ever: libraries choose their kernels then, and work that waits for a
    number on the GPU, as a branch on a tensor does, shows itself. It cannot be recorded; a line
    says so, and it goes on unrecorded. So do batches of another size. What Python decides without
    looking at a tensor is decided once, when the graph is recorded.

    Parameters
    ----------
    work
        Called as ``work(batch)``. It may set tensors that exist before, in place, but not return.
    parameters
        Those that get a gradient.
    generator
        From which `work` draws; each replay draws anew.
    size
        Rows of the batches to record for.
    """

    def __init__(
        self,
        work: Callable[[Tensor], None],
        parameters: list[nn.Parameter],
        generator: Generator,
        size: int,
    ) -> None:
        self.work, self.parameters, self.generator, self.size = work, parameters, generator, size
        self.graph: torch.cuda.CUDAGraph | None = None
        self.is_refused = False
        self.n_calls = 0

    def __call__(self, batch: Tensor) -> None:
        """Do the work, recorded if that is possible by now."""
        self.n_calls += 1
        if self.is_refused or len(batch) != self.size or self.n_calls == 1:
            self.work(batch)
        elif self.n_calls <= 1 + N_REHEARSALS:
            self._rehearse(batch)
        else:
            graph = self.graph or self._record(batch)
            self.batch.copy_(batch)
            graph.replay()
            for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
                parameter.grad = gradient

    def _rehearse(self, batch: Tensor) -> None:
        """Work beside the main stream, as a recording does, and refuse to wait for the GPU."""
        before = self.generator.get_state()
        stream = torch.cuda.Stream(batch.device)
        stream.wait_stream(torch.cuda.current_stream(batch.device))
        try:
            with torch.cuda.stream(stream), _waits_refused():
                self.work(batch)
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            self.is_refused = True
            print(
                "training: the objective looks at a tensor on the GPU in each step, so its steps "
                f"are not recorded as a CUDA graph and take longer ({error})",
                file=sys.stderr,
            )
        torch.cuda.current_stream(batch.device).wait_stream(stream)
        if self.is_refused:
            self.generator.set_state(before)
            self.work(batch)

    def _record(self, batch: Tensor) -> torch.cuda.CUDAGraph:
        self.batch = batch.clone()
        for parameter in self.parameters:
            parameter.grad = None  # the recorded backward pass makes its own, and fills them
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        gc.collect()  # the graph of a run that is over must not be taken down amid the recording
        try:
            # on a stream of this device: PyTorch keeps one of the first device that recorded; and
            # other threads, which read the next batch, may go on beside a recording
            stream = torch.cuda.Stream(batch.device)
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self.work(self.batch)
        except RuntimeError as error:
            raise RuntimeError(
                "training: this step cannot be recorded as a CUDA graph. Delete what you have "
                f"computed with gradients from the model, or pass record=False ({error})"
            ) from error
        self.gradients = [parameter.grad for parameter in self.parameters]
        self.graph = graph
        return graph


@contextmanager
def _waits_refused() -> Iterator[None]:
    """Make an operation that waits for the GPU an error."""
    before = torch.cuda.get_sync_debug_mode()
    _set_sync_debug_mode("error")
    try:
        yield
    finally:
        _set_sync_debug_mode(before)


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():  # the first time, PyTorch says that it is a prototype
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode(mode)
