"""Rows of data, a batch at a time, wherever they lie: on the device, in memory, or on a disk."""

from __future__ import annotations

import itertools
import signal
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from vaebook._checks import check_finite, fail

WANTED = "a tensor of at least one row, or an array, Dataset or DataLoader of them"
CONVERTERS = ("to_numpy", "toarray")  # of a DataFrame, and of a sparse matrix
BYTES_IN_CHECKSUM = 2**28  # of rows in memory
ROWS_IN_CHECKSUM = 256  # of others, which take longer to come
BYTES_AT_ONCE = 2**24


@runtime_checkable
class Rows(Protocol):
    """Rows of one shape, taken by their positions."""

    shape: tuple[int, ...]
    home: torch.device  # where positions are wanted

    def batches(self, positions: Iterable[Tensor]) -> Iterator[Tensor]:
        """Take batch after batch, on the device that the rows are wanted on."""
        ...


def as_rows(
    data: Any, device: torch.device, dtype: torch.dtype | None = None, argument: str = "data"
) -> Rows:
    """Turn what a user has into rows for `device`, without a copy of what does not fit there.

    Parameters
    ----------
    data
        A tensor, a NumPy array or memmap, :class:`MappedRows`, a `torch.utils.data.Dataset` that
        yields rows (or pairs that start with one), as may anything else with ``__getitem__`` and
        ``__len__``, or a `DataLoader`, whose workers and collation are then used.
    device
        Where the batches are wanted.
    dtype
        Of the batches, if the rows are floating-point numbers; None leaves them as they are.
    argument
        Name of `data` in messages.

    Returns
    -------
    Rows
        Of shape ``shape``; their ``batches`` come in turn.

    Raises
    ------
    ValueError
        If there is no row, or a floating-point one holds NaN or infinity: found at once where the
        rows are in memory, otherwise when a batch is read.
    """
    is_mapped = isinstance(data, MappedRows)
    if not is_mapped and (isinstance(data, DataLoader | Dataset) or _is_sequence(data)):
        return _FromDataset(data, device, dtype, argument)
    if isinstance(data, np.ndarray) and not isinstance(data, np.memmap):
        data = _tensor_of(data, argument)
    if not isinstance(data, Tensor | np.memmap | MappedRows):
        hints = [f"; a {type(data).__name__} has .{n}()" for n in CONVERTERS if hasattr(data, n)]
        fail(argument, WANTED + "".join(hints[:1]), type(data).__name__)
    if len(data.shape) < 2:
        wanted = "rows: two dimensions or more (numbers, one a row, are data[:, None])"
        fail(argument, wanted, f"shape {tuple(data.shape)}")
    if len(data) == 0:
        fail(argument, "a tensor of at least one row", f"shape {tuple(data.shape)}")
    if not isinstance(data, Tensor):
        return _FromMemory(data, device, dtype, argument)
    if data.nbytes > _room(data, device):
        return _FromMemory(data.detach(), device, dtype, argument)
    return _OnDevice(data.detach().to(device), dtype, argument)


@dataclass(frozen=True)
class Batches:
    """The rows in a given order, `size` at a time, without the first `n_done` batches.

    Of each batch, process `rank` of `n_processes` takes its share; of a batch with fewer rows than
    processes, those that would have none take the first row, which their sums then leave out.
    """

    rows: Rows
    order: Tensor
    size: int
    n_done: int = 0
    rank: int = 0
    n_processes: int = 1

    def __len__(self) -> int:
        return -(-len(self.order) // self.size) - self.n_done

    def __iter__(self) -> Iterator[Tensor]:
        return self.rows.batches(self._positions())

    def _positions(self) -> Iterator[Tensor]:
        order = self.order.to(self.rows.home)  # once: a GPU would be waited for each time
        for start in range(self.n_done * self.size, len(order), self.size):
            chosen = order[start : start + self.size]
            mine = chosen[self.rank :: self.n_processes]
            yield mine if len(mine) else chosen[:1]


def checksum(rows: Rows) -> int:
    """Checksum of the rows; of evenly spaced ones, if they are many or not in memory."""
    first = next(rows.batches([torch.zeros(1, dtype=torch.int64)]))
    n, row_bytes = rows.shape[0], max(1, first.nbytes)
    in_memory = isinstance(rows, _OnDevice)
    n_taken = min(n, max(1, BYTES_IN_CHECKSUM // row_bytes) if in_memory else ROWS_IN_CHECKSUM)
    chosen = torch.linspace(0, n - 1, n_taken, dtype=torch.float64).round().to(torch.int64)
    value = 0
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)  # a Dataset may draw its rows anew each time
        for batch in rows.batches(chosen.split(max(1, BYTES_AT_ONCE // row_bytes))):
            value = zlib.crc32(batch.cpu().contiguous().view(torch.uint8).numpy().data, value)
    return value


class MappedRows(Dataset[Tensor]):
    """Rows of a file that is larger than memory, read when they are asked for.

    :func:`vaebook.training.fit` trains on them, and reads ahead.

    Parameters
    ----------
    array
        The file's array, shape (n, ...).
    convert
        Makes rows, shape (batch, ...), of a piece of the array.
    positions
        Of those examples of the array that are meant; all if None.
    """

    def __init__(
        self,
        array: np.ndarray,
        convert: Callable[[np.ndarray], Tensor],
        positions: Tensor | None = None,
    ) -> None:
        self.array, self.convert = array, convert
        self.positions = torch.arange(len(array)) if positions is None else positions
        self.shape = torch.Size((len(self.positions), *convert(array[:1]).shape[1:]))

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: int | slice | Tensor) -> Tensor:
        if isinstance(chosen, int):
            return self[torch.tensor([chosen])][0]
        return self.convert(self.array[self.positions[chosen].numpy()])

    def __getitems__(self, chosen: list[int]) -> list[Tensor]:
        """Read the rows of a batch together: a `DataLoader` asks for this."""
        return list(self[torch.tensor(chosen)])

    def part(self, positions: Tensor) -> MappedRows:
        """Return some of the rows, unread."""
        return MappedRows(self.array, self.convert, self.positions[positions])

    def then(self, function: Callable[[Tensor], Tensor]) -> MappedRows:
        """Return what a function makes of the rows when they are read."""
        return MappedRows(self.array, lambda array: function(self.convert(array)), self.positions)


# --- where rows lie ---------------------------------------------------------------------------


class _OnDevice:
    """Rows where they are wanted: indexing them is faster than any loader."""

    def __init__(self, data: Tensor, dtype: torch.dtype | None, argument: str) -> None:
        self.data, self.dtype = data, _dtype_of_batches(data, dtype)
        self.shape, self.home = tuple(data.shape), data.device
        n_at_once = max(1, BYTES_AT_ONCE // max(1, data[0].nbytes))
        for start in range(0, len(data), n_at_once):
            piece = data[start : start + n_at_once]
            _check_finite(piece, torch.arange(start, start + len(piece)), argument)

    def batches(self, positions: Iterable[Tensor]) -> Iterator[Tensor]:
        for chosen in positions:
            yield self.data.index_select(0, chosen.to(self.home)).to(self.dtype)


class _FromMemory:
    """Rows of the computer's memory or disk, read ahead of the step that needs them."""

    def __init__(
        self,
        data: Tensor | np.memmap[Any, Any] | MappedRows,
        device: torch.device,
        dtype: torch.dtype | None,
        argument: str,
    ) -> None:
        self.data, self.device, self.argument = data, device, argument
        self.shape, self.home = tuple(data.shape), torch.device("cpu")
        self.dtype = _dtype_of_batches(self._read(torch.zeros(1, dtype=torch.int64)), dtype)

    def batches(self, positions: Iterable[Tensor]) -> Iterator[Tensor]:
        return _ahead(self._fetch, positions)

    def _fetch(self, chosen: Tensor) -> Tensor:
        rows = self._read(chosen.cpu())
        _check_finite(rows, chosen, self.argument)
        return _send(rows.to(self.dtype), self.device)

    def _read(self, chosen: Tensor) -> Tensor:
        if isinstance(self.data, Tensor):
            return self.data.index_select(0, chosen)  # 15 times as fast as self.data[chosen]
        if isinstance(self.data, MappedRows):
            return self.data[chosen]
        return _tensor_of(self.data[chosen.numpy()], self.argument)


class _FromDataset:
    """Rows that code of the user's makes, by PyTorch's own loader and its workers."""

    def __init__(
        self,
        data: Any,
        device: torch.device,
        dtype: torch.dtype | None,
        argument: str,
    ) -> None:
        self.options: dict[str, Any] = {"collate_fn": default_collate}
        if isinstance(data, DataLoader):
            names = ("num_workers", "collate_fn", "prefetch_factor", "timeout")
            self.options = {name: getattr(data, name) for name in names}
            self.options["multiprocessing_context"] = data.multiprocessing_context
            self.options["worker_init_fn"] = partial(_start_worker, data.worker_init_fn)
            data = data.dataset
        if not hasattr(data, "__getitem__") or not hasattr(data, "__len__") or len(data) == 0:
            wanted = "a Dataset of at least one row that has __getitem__ and __len__"
            fail(argument, wanted, type(data).__name__)
        self.dataset, self.device, self.argument = data, device, argument
        try:
            first = self._rows(self.options["collate_fn"]([data[0]]))
        except TypeError as error:
            fail(argument, "a Dataset that yields rows of numbers", error)
        self.shape, self.home = (len(data), *first.shape[1:]), torch.device("cpu")
        self.dtype = _dtype_of_batches(first, dtype)

    def batches(self, positions: Iterable[Tensor]) -> Iterator[Tensor]:
        # the loader asks ahead of what it yields; a list of all would take more than many a row
        asked, yielded = itertools.tee(batch.tolist() for batch in positions)
        first = [*itertools.islice(asked, 1)]
        # workers draw otherwise in each epoch, and the loader nothing from what a model draws from
        workers = Generator().manual_seed(zlib.crc32(repr(first).encode()))
        asked = itertools.chain(first, asked)
        loader = DataLoader(self.dataset, batch_sampler=asked, generator=workers, **self.options)
        for batch, where in zip(loader, yielded, strict=True):
            rows = self._rows(batch)
            _check_finite(rows, torch.tensor(where), self.argument)
            yield _send(rows.to(self.dtype), self.device)

    def _rows(self, batch: Any) -> Tensor:
        rows = batch[0] if isinstance(batch, list | tuple) else batch
        if not isinstance(rows, Tensor) or rows.ndim < 2:
            got = getattr(rows, "shape", type(rows).__name__)
            fail(self.argument, "a Dataset that yields rows, or pairs that start with one", got)
        return rows


def _is_sequence(data: Any) -> bool:
    """Tell whether `data` yields its elements by position, and is nothing that has another use."""
    is_other = isinstance(data, Tensor | np.ndarray | str | bytes | dict)
    is_other = is_other or any(hasattr(data, name) for name in CONVERTERS)
    return not is_other and hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _start_worker(then: Callable[[int], None] | None, worker: int) -> None:
    """Leave signals to the main process, which stops the workers when it has saved."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(signal.Signals[name], signal.SIG_IGN)
    if then is not None:
        then(worker)


# --- on the way -------------------------------------------------------------------------------


def _ahead(fetch: Callable[[Tensor], Tensor], positions: Iterable[Tensor]) -> Iterator[Tensor]:
    """Fetch each batch while the one before it is in use."""
    with ThreadPoolExecutor(1) as pool:
        fetched = None
        for chosen in positions:
            following = pool.submit(fetch, chosen)
            if fetched is not None:
                yield fetched.result()
            fetched = following
        if fetched is not None:
            yield fetched.result()


def _send(rows: Tensor, device: torch.device) -> Tensor:
    """Copy to `device`; to a GPU through pinned memory, so that nobody waits for the copy."""
    if device.type == "cuda":
        return rows.pin_memory().to(device, non_blocking=True)
    return rows.to(device)


def _room(data: Tensor, device: torch.device) -> int:
    """How many bytes of data may lie on `device`."""
    if data.device == device and device.type != "cpu":
        return data.nbytes
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2  # the rest is for the model
    return 2**32  # more is most often a file that only looks like memory: it is read ahead


def _tensor_of(array: np.ndarray, argument: str) -> Tensor:
    native = array.dtype.newbyteorder("=")
    try:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=native))
    except TypeError:
        fail(argument, "an array of numbers", f"dtype {array.dtype}")


def _dtype_of_batches(rows: Tensor, wanted: torch.dtype | None) -> torch.dtype:
    return wanted if wanted is not None and rows.is_floating_point() else rows.dtype


def _check_finite(rows: Tensor, positions: Tensor, argument: str) -> None:
    """Name the first row that is no number: found at step 10,000 it would cost the training."""
    if rows.is_floating_point():
        check_finite(argument, rows, positions)
