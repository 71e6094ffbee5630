"""A pretend CUDA device: to Python code it is a GPU, and it computes on the CPU.

Inside ``with PretendCuda() as cuda:`` PyTorch has a GPU. Tensors, modules and generators are made
there, move there and say that they are there. What a GPU refuses is refused: tensors of two devices
in one operation, a generator of the other device, a look at the memory as a NumPy array. A seed
gives other draws there than on the CPU. `cuda.waits` counts what makes Python wait for the device.

A device is a property of memory, so the mark lies on a tensor's storage: views, parameters and
``data`` share it with the tensor. CUDA graphs are in `tests.pretend_graph`.
"""

from __future__ import annotations

import re
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from tests.pretend_graph import Graph, capture

DEVICE = torch.device("cuda", 0)
FREE_BYTES, ALL_BYTES = 8 * 2**30, 16 * 2**30

ANSWERS = {  # of tensors that lie there
    Tensor.device.__get__: DEVICE,
    Tensor.is_cuda.__get__: True,
    Tensor.is_cpu.__get__: False,
    Tensor.get_device: 0,
}
# What ends in a number of Python, in a shape that depends on numbers, or in a check of numbers.
WAITING = re.compile(
    "item|tolist|numpy|__(bool|int|float|index|contains|repr|format)__|is_nonzero|equal|allclose|"
    "nonzero|argwhere|masked_select|unique|unique_consecutive|bincount|inverse|"
    "linalg_(cholesky|eigh|eigvalsh|inv|solve|slogdet|det|svd|lstsq)"
)
# What takes tensors of two devices: it copies, or looks at their shapes alone.
MIXING = re.compile(
    "__set__|_has_compatible_shallow_copy_type|swap_tensors|copy_|_foreach_copy_|backward|"
    "(expand|view|reshape)_as|broadcast_tensors"
)


def is_there(tensor: Tensor) -> bool:
    """Tell whether a tensor lies on the pretend device; what `vmap` and `grad` wrap never does."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return False
    return getattr(tensor.untyped_storage(), "is_pretend_cuda", False)


class PretendCuda(TorchFunctionMode):
    """The device, while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.sync_debug_mode = 0
        self.recording: Graph | None = None

    def __enter__(self) -> PretendCuda:
        self.patches = ExitStack()
        for target, name, value in self._replacements():
            self.patches.enter_context(patch.object(target, name, value))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.patches.close()

    def wait(self, name: str) -> None:
        """Count what waits for the device, or refuse it where PyTorch does."""
        if self.recording is not None:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        if self.sync_debug_mode == 2:
            raise RuntimeError("called a synchronizing CUDA operation")
        self.waits[name] += 1

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Call a function of PyTorch, as a GPU would."""
        kwargs, name = dict(kwargs or {}), function.__name__
        if name in ("to", "cuda", "cpu", "type_as"):
            return self._moved(name, *args, **kwargs)
        leaves = list(leaves_of((args, kwargs)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        is_ours = any(map(is_there, tensors))
        if is_ours:
            if function in ANSWERS:
                return ANSWERS[function]
            refuse(name, args, kwargs, tensors)
            if waits(name, args, kwargs, tensors):
                self.wait(name)
        if (named := kwargs.get("device")) is not None:
            is_ours = is_cuda(named)
            if is_ours:
                kwargs["device"] = "cpu"
                if name in ("tensor", "as_tensor", "asarray") and not any(map(is_there, tensors)):
                    self.wait(name)
        for leaf in leaves:
            if isinstance(leaf, torch._C.Generator):
                self._refuse_generator(leaf, is_ours)
        result = function(*args, **kwargs)
        return marked(result, tensors, named is not None) if is_ours else result

    def _moved(self, name: str, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Move a tensor, or leave it where it is in another precision."""
        if name in ("cuda", "cpu"):
            target: Any = name
        elif args and isinstance(args[0], Tensor):
            target, args = args[0].device if not is_there(args[0]) else DEVICE, (args[0].dtype,)
        elif args and not isinstance(args[0], torch.dtype):
            target, args = args[0], args[1:]
        else:
            target = kwargs.pop("device", None)
        was_ours = is_there(tensor)
        is_ours = was_ours if target is None else is_cuda(target)
        is_unwaited = in_background(args, kwargs) and (was_ours or is_pinned(tensor))
        if was_ours != is_ours and not is_unwaited:
            self.wait("to")
        result = tensor.to("cpu", *args, **kwargs)
        if was_ours != is_ours and is_same_memory(result, tensor):
            result = result.clone()
        return marked(result, [], False) if is_ours else result

    def _refuse_generator(self, generator: torch._C.Generator, is_ours: bool) -> None:
        if is_cuda(generator.device) != is_ours:
            wanted, got = ("cuda", "cpu") if is_ours else ("cpu", "cuda")
            raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{got}'")
        if is_ours and self.recording is not None and generator not in self.recording.generators:
            raise RuntimeError("Attempt to increase offset for a generator not in capture mode")

    # --- what else of PyTorch knows of devices ---

    def _replacements(self) -> Iterator[tuple[Any, str, Any]]:
        """Name every attribute that is replaced while the device is entered, and by what."""
        cuda = {
            "is_available": lambda: True,
            "is_bf16_supported": lambda including_emulation=True: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "set_device": lambda device: None,
            "device": lambda device: nullcontext(),
            "mem_get_info": lambda device=None: (FREE_BYTES, ALL_BYTES),
            "synchronize": lambda device=None: self.wait("synchronize"),
            "manual_seed": lambda seed: None,
            "get_rng_state": lambda device="cuda": DRAWS.get_state(),
            "set_rng_state": lambda state, device="cuda": DRAWS.set_state(state),
            "get_sync_debug_mode": lambda: self.sync_debug_mode,
            "set_sync_debug_mode": self._set_sync_debug_mode,
            "Stream": lambda device=None: STREAM,
            "current_stream": lambda device=None: STREAM,
            "stream": lambda stream: nullcontext(),
            "CUDAGraph": Graph,
            "graph": lambda graph, **options: capture(self, graph),
        }
        for name, value in cuda.items():
            yield torch.cuda, name, value
        yield torch, "load", load
        yield torch, "autocast", PretendAutocast
        yield Tensor, "pin_memory", pin_memory
        yield Tensor, "is_pinned", is_pinned
        yield threading.Thread, "run", self._in_thread(threading.Thread.run)
        for module in list(sys.modules.values()):  # "from torch import Generator" made a copy
            if vars(module).get("Generator") is torch._C.Generator and module is not torch._C:
                yield module, "Generator", PretendGenerator

    def _set_sync_debug_mode(self, mode: int | str) -> None:
        warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=2)
        names = ("default", "warn", "error")
        self.sync_debug_mode = names.index(mode) if isinstance(mode, str) else mode

    def _in_thread(self, run: Any) -> Any:
        def in_mode(thread: threading.Thread) -> None:
            TorchFunctionMode.__enter__(self)  # modes belong to a thread each
            try:
                run(thread)
            finally:
                TorchFunctionMode.__exit__(self, None, None, None)

        return in_mode


# --- what the device does ---------------------------------------------------------------------


def is_cuda(device: Any) -> bool:
    """Tell whether a device, a name or a number means the pretend device."""
    return torch.device(device).type == "cuda"


def leaves_of(values: Any) -> Iterator[Any]:
    """Yield what stands in arguments, at any depth."""
    if isinstance(values, dict):
        values = tuple(values.values())
    if isinstance(values, (tuple, list)):
        for value in values:
            yield from leaves_of(value)
    else:
        yield values


def in_background(args: tuple, kwargs: dict) -> bool:
    """Tell whether a copy is asked for that nobody waits for."""
    return kwargs.get("non_blocking", any(value is True for value in args))


def is_same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage()._cdata == other.untyped_storage()._cdata


def marked(result: Any, inputs: list[Tensor], is_moved: bool) -> Any:
    """Say of all tensors in `result` that they are there, but for views of memory elsewhere."""
    elsewhere = [tensor for tensor in inputs if not is_there(tensor)]

    def mark(tensor: Tensor) -> Tensor:
        if any(is_same_memory(tensor, other) for other in elsewhere):
            if not is_moved:
                return tensor
            tensor = tensor.clone()
        tensor.untyped_storage().is_pretend_cuda = True
        return tensor

    return tree_map_only(Tensor, mark, result)


def refuse(name: str, args: tuple, kwargs: dict, tensors: list[Tensor]) -> None:
    """Raise what a GPU raises, in the words of PyTorch."""
    if name == "__array__" or (name == "numpy" and not kwargs.get("force")):
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
            "to host memory first."
        )
    if name in ("__getitem__", "__setitem__"):
        if is_there(args[0]):
            tensors = tensors[:1] + tensors[-1:] * (name == "__setitem__")  # indices may be copied
        elif any(is_there(i) and i.ndim for i in leaves_of(args[1]) if isinstance(i, Tensor)):
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
            )
        else:
            return
    here = [tensor for tensor in tensors if not is_there(tensor)]
    is_scalar = all(tensor.ndim == 0 for tensor in here)  # which a GPU takes as a number
    if not is_scalar and not MIXING.fullmatch(name):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"cuda:0 and cpu! (in {name})"
        )


def waits(name: str, args: tuple, kwargs: dict, tensors: list[Tensor]) -> bool:
    """Tell whether a call with tensors there makes Python wait for them."""
    if name in ("__getitem__", "__setitem__"):
        indices = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(map(is_waited_for, indices))
    if name in ("copy_", "_foreach_copy_"):
        return not all(map(is_there, tensors)) and not in_background(args, kwargs)
    if name in ("full", "full_like", "masked_fill", "masked_fill_"):
        return any(tensor.ndim == 0 for tensor in tensors[1:] if is_there(tensor))
    return bool(WAITING.fullmatch(name)) or (name == "where" and len(args) + len(kwargs) == 1)


def is_waited_for(index: Any) -> bool:
    """Tell whether indexing by `index` copies it, or needs to know its numbers."""
    if isinstance(index, Tensor):
        return index.dtype == torch.bool or is_there(index) == (index.ndim == 0)
    return isinstance(index, list)


class AnyGenerator(type(torch._C.Generator)):
    """A class of which all generators are instances."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, torch._C.Generator)


class PretendGenerator(torch._C.Generator, metaclass=AnyGenerator):
    """A source of randomness there; of the CPU, an ordinary one."""

    def __new__(cls, device: Any = "cpu") -> Any:
        if not is_cuda(device):
            return torch._C.Generator(device)
        return super().__new__(cls)

    def __init__(self, device: Any = "cpu") -> None:
        self.manual_seed(super().initial_seed())

    device = DEVICE  # type: ignore[assignment]

    def manual_seed(self, seed: int) -> PretendGenerator:
        super().manual_seed(seed ^ 0x5EED)  # other draws than the CPU's
        return self

    def get_state(self) -> Tensor:
        return torch.nn.functional.pad(super().get_state(), (0, 1))  # of another size, too

    def set_state(self, state: Tensor) -> PretendGenerator:
        if len(state) != len(self.get_state()):
            raise RuntimeError("RNG state is wrong size")
        super().set_state(state[:-1].contiguous())
        return self


DRAWS = PretendGenerator("cuda")
STREAM = SimpleNamespace(wait_stream=lambda stream: None, synchronize=lambda: None)


class PretendAutocast(torch.autocast):
    """Mixed precision there is mixed precision on the CPU."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


def load(path: Any, map_location: Any = None, *, read: Any = torch.load, **kwargs: Any) -> Any:
    """Read tensors and put them where they are asked for, without a wait that is counted."""
    state = read(path, map_location="cpu", **kwargs)
    is_ours = map_location is not None and is_cuda(map_location)
    return marked(state, [], False) if is_ours else state


def pin_memory(tensor: Tensor) -> Tensor:
    """Copy to memory from which the device copies in the background."""
    pinned = tensor.clone()
    pinned.untyped_storage().is_pretend_pinned = True
    return pinned


def is_pinned(tensor: Tensor) -> bool:
    """Tell whether the memory is pinned."""
    return getattr(tensor.untyped_storage(), "is_pretend_pinned", False)
