"""Training by gradient: one loop for every model that is a `torch.nn.Module`.

What is learned is learned in ``take_step``. The rest is bookkeeping: it shuffles, averages,
records, saves and resumes.

Data stay in memory as one tensor and are indexed by batch. Training can be interrupted at any step
and resumed exactly: the checkpoint holds the weights, the optimizer, the schedule, the averaged
weights, the random generators and the position in the epoch.
"""

from __future__ import annotations

import inspect
import math
import os
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from vaebook import __version__
from vaebook._checks import check_at_least, check_in, check_sizes, fail
from vaebook.data import cache_folder

# (model, x, generator) -> (bound, terms), or with one argument more, beta, for a warm-up
Objective = Callable[..., tuple[Tensor, dict[str, Tensor]]]
Transform = Callable[[Tensor, Generator], Tensor]

SECONDS_BETWEEN_SAVES = 30.0


@dataclass
class History:
    """What happened in training, one entry an epoch.

    Attributes
    ----------
    train, validation
        Averages over the epoch of the bound and of its terms, by name, in nats a datum. The
        validation averages start with epoch 0, before the first step.
    learning_rate
        Learning rate at the end of each epoch.
    seconds
        Wall time of each epoch, without validation.
    """

    train: dict[str, list[float]] = field(default_factory=dict)
    validation: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def n_epochs(self) -> int:
        """Number of epochs trained."""
        return len(self.seconds)

    def array(self, split: str, name: str) -> np.ndarray:
        """Average of `name` over each epoch of ``"train"`` or ``"validation"``."""
        check_in("split", split, ("train", "validation"))
        values: dict[str, list[float]] = getattr(self, split)
        check_in("name", name, tuple(values))
        return np.array(values[name])


def checkpoint_path(name: str) -> Path:
    """Path of a named checkpoint in the book's cache folder, shared between its chapters."""
    return cache_folder() / "checkpoints" / f"{name}.pt"


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Turn ``"auto"`` into the fastest device there is: CUDA, MPS, then the CPU."""
    if str(device) != "auto":
        try:
            return torch.device(device)
        except RuntimeError as error:
            fail("device", "'auto' or a device of PyTorch", f"{device!r}: {error}")
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def fit(
    model: nn.Module,
    data: Tensor,
    objective: Objective,
    *,
    transform: Transform | None = None,
    validation: Tensor | None = None,
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 1e-3,
    schedule: str = "one-cycle",
    kl_warmup: float = 0.0,
    ema: float | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    amp: bool | str = "auto",
    checkpoint: str | Path | None = None,
    resume: bool = True,
    progress: bool = True,
) -> History:
    r"""Maximise the average of `objective` over `data` by Adam.

    Parameters
    ----------
    model
        The model; trained in place on `device`, then put back where it was.
    data
        Training data, shape (n, ...), any dtype that `transform` or the model takes.
    objective
        Called as ``objective(model, batch, generator)``; returns the bound to maximise, one value
        a datum, and its terms by name. See :func:`vaebook.vae.elbo_objective`.
    transform
        Called as ``transform(batch, generator)`` on every batch, training and validation alike;
        for example :func:`vaebook.data.dynamic_binarization`.
    validation
        Held-out data, evaluated before the first step and after every epoch.
    epochs, batch_size
        Passes over the data, and data in a step.
    lr
        Learning rate: the constant one, or the peak of the cycle.
    schedule
        ``"one-cycle"`` (rise, then decay to zero) or ``"constant"``.
    kl_warmup
        Fraction of training over which the weight of the divergence rises linearly from 0 to its
        own value: the default of the objective's argument ``beta``, which it must have.
    ema
        Decay of an exponential moving average of the weights, which then replaces the last weights
        in validation and at the end. None for none.
    seed
        Seeds the order of the data and the noise; the same seed gives the same run.
    device
        ``"auto"``, or any device of PyTorch.
    amp
        Mixed precision: matrix products in bfloat16, everything else in float32. ``"auto"``: where
        the processor multiplies bfloat16 faster.
    checkpoint
        File to which the whole state is written every half minute, at the end, and when
        interrupted (Ctrl-C, or the notebook's stop button).
    resume
        Continue from `checkpoint` where it exists; otherwise start anew and overwrite it. A
        checkpoint of other data or another recipe is refused. Functions cannot be compared:
        after a change of `objective` or `transform`, pass False.
    progress
        Show a bar with the terms on a terminal or in a live notebook.

    Returns
    -------
    History
        Averages of the bound and its terms, epoch by epoch.

    Raises
    ------
    ValueError
        If an argument is unusable, or the checkpoint belongs to another run.
    FloatingPointError
        At the first step whose bound is not finite; the last checkpoint is kept.
    """
    check_recipe(data, epochs, batch_size, lr, ema, seed)
    _check_options(data, validation, schedule, kl_warmup, amp, objective)
    target = pick_device(device)
    mixed = bfloat16_pays(target) if amp == "auto" else bool(amp)
    recipe = _Recipe(epochs, batch_size, lr, schedule, kl_warmup, ema, seed, mixed)
    path = None if checkpoint is None else Path(checkpoint)
    with on_device(model, target), _flush_denormals(), _deferred_interrupt() as interrupt:
        run = _Run(model, data.to(target), objective, transform, recipe, path)
        if path is not None and resume and path.exists():
            run.load(path)
        if validation is not None:
            validation = validation.to(target)
            if run.step == 0:  # a fault in validation shows now, not after an epoch
                run.validate(validation)

        while run.epoch < epochs:
            title = f"epoch {run.epoch + 1}/{epochs}"
            with progress_bar(run.batches(), title, progress) as bar:
                for batch in bar:
                    bound, terms = take_step(run, batch)
                    run.record(bound, terms)
                    show_terms(bar, terms)
                    if interrupt.is_set() or run.save_is_due():
                        run.save()
                    if interrupt.is_set():
                        raise KeyboardInterrupt
            run.end_epoch()
            if validation is not None:
                run.validate(validation)
            run.start_epoch()
        run.save()
        run.finish()
    if interrupt.is_set():  # came during the last validation; the finished run is saved
        raise KeyboardInterrupt
    return run.history


def take_step(run: _Run, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of Adam up the bound. All else in this module is bookkeeping around it."""
    x = run.transform(batch, run.noise)  # grey pixels, say, become a fresh draw of binary ones

    # forward: the bound of each datum, from one draw of the noise
    with run.precision():
        bound, terms = run.objective(run.model, x, run.noise, **run.warmup())
    loss = -bound.mean()
    run.check(batch, bound, loss)

    # backward: the gradient of the loss in every weight, and a step against it
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    run.optimizer.step()
    run.scheduler.step()
    return bound.detach(), {name: values.detach() for name, values in terms.items()}


@dataclass(frozen=True)
class _Recipe:
    """How a run is trained: all that decides its result beside the data, model and functions."""

    epochs: int
    batch_size: int
    lr: float
    schedule: str
    kl_warmup: float
    ema: float | None
    seed: int
    mixed: bool


class _Run:
    """Everything that changes while training, and so everything that a checkpoint holds."""

    def __init__(
        self,
        model: nn.Module,
        data: Tensor,
        objective: Objective,
        transform: Transform | None,
        recipe: _Recipe,
        path: Path | None,
    ) -> None:
        self.model, self.data, self.recipe, self.path = model, data, recipe, path
        self.objective, self.transform = objective, transform or _unchanged
        self.own_beta = _own_beta(objective) if recipe.kl_warmup else 1.0
        self.steps_per_epoch = math.ceil(len(data) / recipe.batch_size)
        self.n_steps = recipe.epochs * self.steps_per_epoch
        self.on_mps = data.device.type == "mps"  # has neither float64 nor a fused Adam
        lr = recipe.lr
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=not self.on_mps)
        self.scheduler: torch.optim.lr_scheduler.LRScheduler
        if recipe.schedule == "one-cycle":
            self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, lr, self.n_steps)
        else:
            self.scheduler = torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0)
        self.averaged = average_of(model, recipe.ema)
        self.order = Generator().manual_seed(recipe.seed)  # shuffles; drawn from once an epoch
        self.noise = Generator(data.device).manual_seed(recipe.seed + 1)
        self.order_at_epoch_start = self.order.get_state()
        self.step = self.epoch = 0
        self.sums: dict[str, Tensor] = {}
        self.n_seen = 0
        self.history = History()
        self.last_saved = time.monotonic()
        self.start_epoch()

    # --- through the data ---

    def start_epoch(self) -> None:
        self.epoch_started = time.monotonic()

    def batches(self) -> Batches:
        """What is left of this epoch's batches, in an order of its own."""
        self.order_at_epoch_start = self.order.get_state()
        order = torch.randperm(len(self.data), generator=self.order).to(self.data.device)
        n_done = self.step - self.epoch * self.steps_per_epoch  # all, if interrupted at the end
        return Batches(self.data, order.split(self.recipe.batch_size)[n_done:])

    def precision(self) -> torch.autocast:
        """Matrix products in bfloat16 where the recipe is mixed; all else stays in float32."""
        device = self.data.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.recipe.mixed)

    def warmup(self) -> dict[str, float]:
        """Return the weight of the divergence at this step, while it rises to its own value."""
        n_rising = self.recipe.kl_warmup * self.n_steps
        if n_rising == 0:
            return {}
        return {"beta": min(1.0, self.step / n_rising) * self.own_beta}

    def check(self, batch: Tensor, bound: Tensor, loss: Tensor) -> None:
        """Refuse a bound that is not one number a datum, before it moves the weights."""
        if bound.shape != (len(batch),):
            fail("objective", f"one bound a datum, ({len(batch)},)", tuple(bound.shape))
        is_kept = self.path is not None and self.path.exists()
        kept = f" The last checkpoint is kept: {self.path}." if is_kept else ""
        check_finite(loss, f"step {self.step} (epoch {self.epoch + 1})", kept)

    def record(self, bound: Tensor, terms: dict[str, Tensor]) -> None:
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        for name, values in {"bound": bound, **terms}.items():
            total = values.sum(dtype=None if self.on_mps else torch.float64)
            self.sums[name] = self.sums.get(name, 0.0) + total
        self.n_seen += len(bound)
        self.step += 1

    def end_epoch(self) -> None:
        for name, total in self.sums.items():
            self.history.train.setdefault(name, []).append(float(total) / self.n_seen)
        self.history.seconds.append(time.monotonic() - self.epoch_started)
        self.history.learning_rate.append(float(self.scheduler.get_last_lr()[0]))
        self.sums, self.n_seen = {}, 0
        self.order_at_epoch_start = self.order.get_state()
        self.epoch += 1

    def validate(self, data: Tensor) -> None:
        """Average the objective over held-out data, with the same noise every time."""
        model = self.model if self.averaged is None else self.averaged.module
        generator = Generator(data.device).manual_seed(0)
        model.eval()
        sums: dict[str, float] = {}
        with torch.no_grad(), self.precision():
            for batch in data.split(1000):
                x = self.transform(batch, generator)
                bound, terms = self.objective(model, x, generator)
                for name, values in {"bound": bound, **terms}.items():
                    sums[name] = sums.get(name, 0.0) + float(values.sum())
        model.train()
        for name, total in sums.items():
            self.history.validation.setdefault(name, []).append(total / len(data))

    def finish(self) -> None:
        if self.averaged is not None:
            self.model.load_state_dict(self.averaged.module.state_dict())

    # --- to a file and back ---

    def settings(self) -> dict[str, Any]:
        """Return what must be the same for a run to be continued."""
        return {
            "package": __version__,
            "data": [len(self.data), self.checksum],
            "recipe": list(astuple(self.recipe)),
        }

    @cached_property
    def checksum(self) -> int:
        """Of the data."""
        return zlib.crc32(self.data.detach().cpu().contiguous().numpy().data)

    def save_is_due(self) -> bool:
        return time.monotonic() - self.last_saved > SECONDS_BETWEEN_SAVES

    def save(self) -> None:
        """Write the state atomically, if anywhere: a crash leaves the previous checkpoint whole."""
        if self.path is None:
            return
        state = {
            "settings": self.settings(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "order": self.order_at_epoch_start,
            "noise": self.noise.get_state(),
            "position": [self.step, self.epoch, self.n_seen],
            "sums": self.sums,
            "history": vars(self.history),
            "seconds": time.monotonic() - self.epoch_started,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        torch.save(state, temporary)
        temporary.replace(self.path)
        self.last_saved = time.monotonic()

    def load(self, path: Path) -> None:
        settings = self.settings()
        try:
            state = torch.load(path, map_location=self.data.device, weights_only=True)
        except Exception as error:
            fail(
                "checkpoint", "a file written by fit (delete it to start anew)", f"{path}: {error}"
            )
        if not isinstance(state, dict) or "settings" not in state:
            fail("checkpoint", "a file written by fit (delete it to start anew)", path)
        if state["settings"] != settings:
            fail(
                "checkpoint",
                f"one of this very run, {settings} (or pass resume=False)",
                f"{path} of {state['settings']}",
            )
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            fail("checkpoint", "weights of this model (or pass resume=False)", f"{path}: {error}")
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.order.set_state(state["order"].cpu())
        self.noise.set_state(state["noise"].cpu())
        self.step, self.epoch, self.n_seen = state["position"]
        self.sums = state["sums"]
        self.history = History(**state["history"])
        self.epoch_started = time.monotonic() - state["seconds"]


@dataclass(frozen=True)
class Batches:
    """Rows of a tensor, a few at a time: indexing what is in memory is faster than any loader."""

    data: Tensor
    indices: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Tensor]:
        return (self.data.index_select(0, chosen) for chosen in self.indices)


def average_of(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Start an exponential moving average of the weights, where one is asked for."""
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def progress_bar(items: Iterable[Any], title: str, wanted: bool) -> tqdm:
    """Show progress through `items` on a terminal or in a live notebook, if it is wanted."""
    # None: a bar only on a terminal or in a notebook; TQDM_DISABLE alone would not override it
    silent = True if not wanted or os.environ.get("TQDM_DISABLE") == "1" else None
    return tqdm(items, desc=title, disable=silent, leave=False)


def show_terms(bar: tqdm, terms: dict[str, Tensor]) -> None:
    """Put the average of each term behind the bar; a hidden bar computes nothing."""
    if not bar.disable:
        bar.set_postfix({name: f"{values.mean():.1f}" for name, values in terms.items()})


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Hold Ctrl-C back until a step is complete, so that what is saved then is exact."""
    interrupt = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt  # only the main thread receives signals
        return
    previous = signal.signal(signal.SIGINT, lambda *_: interrupt.set())
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Train the model on `device`; it comes back ready to be used, however training ends."""
    home = next(model.parameters()).device
    try:
        model.to(device).train()
        yield
    finally:
        model.to(home).eval()


@contextmanager
def _flush_denormals() -> Iterator[None]:
    """Treat denormal floats as zero: Adam's moments of never-lit pixels decay into them.

    Arithmetic with denormals is many times slower on most processors.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def bfloat16_pays(device: torch.device) -> bool:
    """Tell whether `device` multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def check_finite(loss: Tensor, where: str, kept: str = "") -> None:
    """Stop training at the first loss that is no number, and say what is kept."""
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"the loss became {loss.item()} at {where}. "
            f"Lower lr, or look for extreme values in the data.{kept}"
        )


def check_recipe(
    data: Tensor, epochs: int, batch_size: int, lr: float, ema: float | None, seed: int
) -> None:
    """Require what every training loop of the book takes."""
    if not isinstance(data, Tensor) or data.ndim < 2 or len(data) == 0:
        fail("data", "a tensor of at least one row", getattr(data, "shape", type(data).__name__))
    check_sizes(epochs=epochs, batch_size=batch_size)
    check_at_least("seed", seed, 0)
    if not (math.isfinite(lr) and lr > 0):
        fail("lr", "a positive number", lr)
    if ema is not None and not 0 < ema < 1:
        fail("ema", "a decay between 0 and 1, or None", ema)


def _check_options(
    data: Tensor,
    validation: Tensor | None,
    schedule: str,
    kl_warmup: float,
    amp: bool | str,
    objective: Objective,
) -> None:
    if validation is not None and (
        not isinstance(validation, Tensor)
        or validation.shape[1:] != data.shape[1:]
        or len(validation) == 0
    ):
        got = getattr(validation, "shape", type(validation).__name__)
        fail("validation", f"a tensor of at least one row like {tuple(data.shape)}", got)
    check_in("schedule", schedule, ("one-cycle", "constant"))
    check_in("amp", amp, (True, False, "auto"))
    if not 0 <= kl_warmup <= 1:
        fail("kl_warmup", "a fraction between 0 and 1", kl_warmup)
    if kl_warmup > 0:
        _own_beta(objective)


def _own_beta(objective: Objective) -> float:
    """Return the weight that `objective` gives its divergence by itself."""
    beta = inspect.signature(objective).parameters.get("beta")
    if beta is None or beta.default is beta.empty:
        wanted = "one with a weight beta=1.0 among its arguments, to be raised (or kl_warmup=0)"
        fail("objective", wanted, getattr(objective, "__name__", objective))
    return float(beta.default)


def _unchanged(batch: Tensor, generator: Generator) -> Tensor:
    return batch
