"""Rows come out the same wherever they lie, and bad ones are named."""

import signal
import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tests.common import seeded
from vaebook import rows as module
from vaebook.rows import Batches, MappedRows, as_rows, checksum

CPU = torch.device("cpu")
X = torch.rand(23, 3, 2, generator=seeded())


class Pairs(Dataset):
    """Rows with labels, as picture datasets yield them."""

    def __init__(self, x=X):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], i


class Plain:
    """Rows by position, and nothing of PyTorch."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i]


def memmap(tmp_path, array):
    path = tmp_path / "rows.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


SOURCES = {
    "tensor": lambda folder: X,
    "with gradient": lambda folder: X.clone().requires_grad_(),
    "array": lambda folder: X.numpy(),
    "array backwards": lambda folder: X.flip(0).numpy()[::-1],
    "array of the other byte order": lambda folder: X.numpy().astype(">f4"),
    "array of doubles": lambda folder: X.double().numpy(),
    "array in columns": lambda folder: np.asfortranarray(X.numpy()),
    "memmap": lambda folder: memmap(folder, X.numpy()),
    "rows of a file": lambda folder: MappedRows(X.numpy(), torch.tensor),
    "list of tensors": lambda folder: list(X),
    "tuple of arrays": lambda folder: tuple(X.numpy()),
    "something indexable": lambda folder: Plain(),
    "dataset": lambda folder: Pairs(),
    "dataset of tuples": lambda folder: TensorDataset(X),
    "loader": lambda folder: DataLoader(Pairs(), batch_size=2, shuffle=True),
    "loader with a worker": lambda folder: DataLoader(Pairs(), num_workers=1),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_batches_are_the_rows_in_the_order_asked_for(tmp_path, source):
    rows = as_rows(source(tmp_path), CPU, torch.float32)
    order = torch.randperm(23, generator=seeded(1))
    batches = list(Batches(rows, order, 5))
    assert rows.shape == (23, 3, 2)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat(batches), X[order])
    assert not any(batch.requires_grad for batch in batches)
    rest = Batches(rows, order, 5, n_done=3)
    assert len(rest) == 2
    assert torch.equal(torch.cat(list(rest)), X[order[15:]])


def test_what_does_not_fit_is_read_batch_by_batch(monkeypatch):
    monkeypatch.setattr(module, "_room", lambda data, device: 0)
    rows = as_rows(X, CPU)
    assert isinstance(rows, module._FromMemory)
    assert torch.equal(torch.cat(list(Batches(rows, torch.arange(23), 4))), X)


def test_reading_is_one_batch_ahead():
    fetched = []
    batches = module._ahead(lambda i: fetched.append(int(i)) or i, torch.arange(4))
    assert int(next(batches)) == 0
    batches.close()  # waits for what is under way
    assert fetched == [0, 1]


def test_whole_numbers_keep_their_type():
    pixels = torch.randint(0, 256, (4, 2), generator=seeded(), dtype=torch.uint8)
    assert next(iter(Batches(as_rows(pixels, CPU, torch.float32), torch.arange(4), 4))).equal(
        pixels
    )
    bfloat = X.bfloat16()
    assert next(iter(Batches(as_rows(bfloat, CPU), torch.arange(23), 23))).equal(bfloat)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [torch.Tensor, np.ndarray, np.memmap, Dataset])
def test_the_first_bad_row_is_named(tmp_path, bad, kind):
    x = X.clone()
    x[17, 2, 1] = x[20, 0, 0] = bad
    makers = {
        torch.Tensor: lambda: x,
        np.ndarray: lambda: x.numpy(),
        np.memmap: lambda: memmap(tmp_path, x.numpy()),
        Dataset: lambda: Pairs(x),
    }
    with pytest.raises(ValueError, match=r"^data: wanted finite numbers, got .* in row 17"):
        list(Batches(as_rows(makers[kind](), CPU), torch.arange(23), 6))


SIGNALS = [signal.Signals[n] for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


class Handlers(Dataset):
    """Whether each signal is left to others, where the rows are made."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return torch.tensor([signal.getsignal(number) == signal.SIG_IGN for number in SIGNALS])


def start(folder, worker):
    (folder / f"{worker}").touch()


@pytest.mark.parametrize("method", ["fork", "spawn"] if sys.platform == "linux" else ["spawn"])
def test_workers_leave_signals_to_the_process_that_saves(tmp_path, method):
    loader = DataLoader(
        Handlers(),
        num_workers=1,
        worker_init_fn=partial(start, tmp_path),
        multiprocessing_context=method,
    )
    (batch,) = as_rows(loader, CPU).batches([torch.arange(3)])
    assert batch.all()
    assert (tmp_path / "0").exists()  # what was to be done there is done as well


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ([], "a Dataset of at least one row"),
        ([0.0], "a Dataset that yields rows"),
        ([np.array(["a"])], "a Dataset that yields rows of numbers"),
        (MappedRows(X.numpy(), torch.tensor).part(torch.arange(0)), "a tensor of at least one row"),
        ("rows", "a tensor of at least one row"),
        ({0: X[0]}, "a tensor of at least one row"),
        (X[:0], "a tensor of at least one row"),
        (X[:, 0, 0], "rows: two dimensions or more"),
        (np.zeros((0, 2)), "a tensor of at least one row"),
        (np.array([["a", "b"]]), "an array of numbers"),
        (Stream(), "a Dataset of at least one row that has __getitem__ and __len__"),
        (Pairs(X[:0]), "a Dataset of at least one row"),
        (TensorDataset(X[:, 0, 0]), "a Dataset that yields rows"),
    ],
)
def test_what_is_no_rows_is_refused(data, wanted):
    with pytest.raises(ValueError, match=rf"^validation: wanted {wanted}.*, got "):
        as_rows(data, CPU, argument="validation")


@pytest.mark.parametrize("name", ["to_numpy", "toarray"])
def test_a_table_or_sparse_matrix_is_told_how_to_become_an_array(name):
    table = type("Table", (list,), {name: None})()
    with pytest.raises(ValueError, match=rf"; a Table has \.{name}\(\), got Table"):
        as_rows(table, CPU)


def test_a_checksum_sees_one_bit_wherever_the_rows_lie(tmp_path):
    value = checksum(as_rows(X, CPU))
    assert checksum(as_rows(memmap(tmp_path, X.numpy()), CPU)) == value
    assert checksum(as_rows(Pairs(), CPU)) == value
    other = X.clone()
    other.view(torch.int32)[11, 1, 1] ^= 1
    assert checksum(as_rows(other, CPU)) != value
    assert checksum(as_rows(X.bfloat16(), CPU)) != value


def test_a_checksum_of_much_looks_at_some_rows(monkeypatch):
    monkeypatch.setattr(module, "BYTES_IN_CHECKSUM", 6 * 4 * 5)  # five rows of 23
    read = []
    rows = as_rows(X, CPU)
    batches = rows.batches
    monkeypatch.setattr(
        rows, "batches", lambda positions: batches(read.extend(positions) or positions)
    )
    checksum(rows)
    assert torch.cat(read[1:]).tolist() == [0, 6, 11, 16, 22]


@pytest.mark.parametrize("n", [1, 2, 7, 23])
@pytest.mark.parametrize("n_processes", [2, 3])
def test_processes_share_each_batch(n, n_processes):
    rows, order = as_rows(X, CPU), torch.randperm(n, generator=seeded())
    whole = list(Batches(rows, order, 4))
    shares = [list(Batches(rows, order, 4, 0, rank, n_processes)) for rank in range(n_processes)]
    for batch, *parts in zip(whole, *shares, strict=True):
        own = [part[: len(range(rank, len(batch), n_processes))] for rank, part in enumerate(parts)]
        assert sum(map(len, own)) == len(batch)
        assert all(torch.equal(part, batch[rank::n_processes]) for rank, part in enumerate(own))
        assert all(len(part) >= 1 for part in parts)  # no process stands idle in a step


MUCH = """
import os, signal, sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from vaebook.rows import MappedRows
from vaebook.training import fit

def anonymous():  # without pages of the file, which the system takes back when it likes
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 2**20

with open("rows", "wb") as file:
    file.truncate(60 * 2**30)
data = np.memmap("rows", np.uint8, "r").reshape(-1, 64, 64)
data = {source}
model, steps, most = nn.Linear(64, 1), 0, 0.0
before = anonymous()

def objective(model, x, generator):
    global steps, most
    steps, most = steps + 1, max(most, anonymous())
    if steps == 10:
        signal.raise_signal(signal.SIGINT)
    return model(x.view(-1, 64, 64).float().mean(2))[:, 0], {{}}

try:
    fit(model, data, objective, batch_size=32, device="cpu", checkpoint="run.pt")
except KeyboardInterrupt:
    print(steps, os.path.exists("run.pt"), most - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
@pytest.mark.parametrize(
    "source",
    [
        "data",
        "torch.from_file('rows', True, data.size, dtype=torch.uint8).view(data.shape)",
        "MappedRows(data.reshape(-1, 4096), torch.tensor)",
        "DataLoader(MappedRows(data.reshape(-1, 4096), torch.tensor))",
    ],
    ids=["memmap", "from_file", "rows of a file", "dataset"],
)
def test_sixty_gigabytes_train_in_little_memory(tmp_path, source):
    script = textwrap.dedent(MUCH).format(source=source)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps, is_saved, grown = done.stdout.split()
    assert (steps, is_saved) == ("10", "True")
    assert float(grown) < 0.5  # GiB: the order of 16 million rows, and a few batches
