"""Training by gradient: one loop for every model that is a `torch.nn.Module`.

Data stay in memory as one tensor and are indexed by batch. Training can be interrupted at any step
and resumed exactly: the checkpoint holds the weights, the optimizer, the schedule, the averaged
weights, the random generators and the position in the epoch.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from vaebook import __version__
from vaebook._checks import check_at_least, check_in, fail
from vaebook.data import cache_folder

Objective = Callable[[Any, Tensor, float, Generator], tuple[Tensor, dict[str, Tensor]]]
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
        Called as ``objective(model, batch, beta, generator)``; returns the bound to maximise, one
        value a datum, and its terms by name. See :func:`vaebook.vae.elbo_objective`.
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
        Fraction of training over which beta rises linearly from 0 to 1.
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
    check_in("amp", amp, (True, False, "auto"))
    _check_arguments(
        data,
        epochs,
        batch_size,
        lr,
        ema,
        seed,
        validation=validation,
        schedule=schedule,
        kl_warmup=kl_warmup,
    )
    target = pick_device(device)
    mixed = bfloat16_pays(target) if amp == "auto" else bool(amp)
    home = next(model.parameters()).device
    with _put_back(model, home), _flush_denormals(), _deferred_interrupt() as interrupt:
        model.to(target).train()
        data = data.to(target)
        steps_per_epoch = math.ceil(len(data) / batch_size)
        settings = {
            "package": __version__,
            "data": [len(data), _checksum(data)],
            "recipe": [epochs, batch_size, lr, schedule, kl_warmup, ema, seed, mixed],
        }
        run = _Run(model, settings, lr, schedule, ema, seed, epochs * steps_per_epoch, target)
        if checkpoint is not None and resume and Path(checkpoint).exists():
            run.load(Path(checkpoint))
        if validation is not None:
            validation = validation.to(target)
            if run.step == 0:  # a fault in validation shows now, not after an epoch
                run.validate(validation, objective, transform)

        # None: a bar only on a terminal or in a notebook; TQDM_DISABLE alone would not override it
        silent = True if not progress or os.environ.get("TQDM_DISABLE") == "1" else None
        while run.epoch < epochs:
            n_done = run.step - run.epoch * steps_per_epoch  # all, if interrupted at the last step
            batches = run.shuffle(len(data)).split(batch_size)[n_done:]
            bar = tqdm(
                batches,
                desc=f"epoch {run.epoch + 1}/{epochs}",
                disable=silent,
                leave=False,
            )
            for indices in bar:
                beta = min(1.0, run.step / (kl_warmup * run.n_steps)) if kl_warmup else 1.0
                batch = data[indices]
                x = batch if transform is None else transform(batch, run.noise)
                with torch.autocast(target.type, torch.bfloat16, enabled=mixed):
                    bound, terms = objective(model, x, beta, run.noise)
                if bound.shape != (len(batch),):
                    fail("objective", f"one bound a datum, ({len(batch)},)", tuple(bound.shape))
                loss = -bound.mean()
                if not torch.isfinite(loss):
                    raise FloatingPointError(_not_finite(run, loss, checkpoint))
                run.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                run.optimizer.step()
                run.scheduler.step()
                run.record(bound, terms)
                if not bar.disable:
                    bar.set_postfix({k: f"{v.detach().mean():.1f}" for k, v in terms.items()})
                if checkpoint is not None and (interrupt.is_set() or run.save_is_due()):
                    run.save(Path(checkpoint))
                if interrupt.is_set():
                    raise KeyboardInterrupt
            run.end_epoch()
            if validation is not None:
                run.validate(validation, objective, transform)
            run.start_epoch()
        if checkpoint is not None:
            run.save(Path(checkpoint))
        run.finish()
    if interrupt.is_set():  # came during the last validation; the finished run is saved
        raise KeyboardInterrupt
    return run.history


class _Run:
    """Everything that changes while training, and so everything that a checkpoint holds."""

    def __init__(
        self,
        model: nn.Module,
        settings: dict[str, Any],
        lr: float,
        schedule: str,
        ema: float | None,
        seed: int,
        n_steps: int,
        device: torch.device,
    ) -> None:
        self.model, self.settings, self.n_steps = model, settings, n_steps
        self.on_mps = device.type == "mps"  # has neither float64 nor a fused Adam
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=not self.on_mps)
        self.scheduler: torch.optim.lr_scheduler.LRScheduler
        if schedule == "one-cycle":
            self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, lr, n_steps)
        else:
            self.scheduler = torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0)
        self.averaged = (
            None
            if ema is None
            else AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True)
        )
        self.order = Generator().manual_seed(seed)  # shuffles; drawn from once an epoch
        self.noise = Generator(device).manual_seed(seed + 1)
        self.order_at_epoch_start = self.order.get_state()
        self.step = self.epoch = 0
        self.sums: dict[str, Tensor] = {}
        self.n_seen = 0
        self.history = History()
        self.last_saved = time.monotonic()
        self.start_epoch()

    def start_epoch(self) -> None:
        self.epoch_started = time.monotonic()

    def shuffle(self, n: int) -> Tensor:
        self.order_at_epoch_start = self.order.get_state()
        return torch.randperm(n, generator=self.order).to(self.noise.device)

    def record(self, bound: Tensor, terms: dict[str, Tensor]) -> None:
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        for name, values in {"bound": bound, **terms}.items():
            total = values.detach().sum(dtype=None if self.on_mps else torch.float64)
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

    def validate(self, data: Tensor, objective: Objective, transform: Transform | None) -> None:
        """Average the objective over held-out data, with the same noise every time."""
        model = self.model if self.averaged is None else self.averaged.module
        generator = Generator(self.noise.device).manual_seed(0)
        model.eval()
        sums: dict[str, float] = {}
        with torch.no_grad():
            for batch in data.split(1000):
                x = batch if transform is None else transform(batch, generator)
                bound, terms = objective(model, x, 1.0, generator)
                for name, values in {"bound": bound, **terms}.items():
                    sums[name] = sums.get(name, 0.0) + float(values.sum())
        model.train()
        for name, total in sums.items():
            self.history.validation.setdefault(name, []).append(total / len(data))

    def finish(self) -> None:
        if self.averaged is not None:
            self.model.load_state_dict(self.averaged.module.state_dict())
        self.model.eval()

    def save_is_due(self) -> bool:
        return time.monotonic() - self.last_saved > SECONDS_BETWEEN_SAVES

    def save(self, path: Path) -> None:
        """Write the state atomically: a crash leaves the previous checkpoint whole."""
        state = {
            "settings": self.settings,
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
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        torch.save(state, temporary)
        temporary.replace(path)
        self.last_saved = time.monotonic()

    def load(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location=self.noise.device, weights_only=True)
        except Exception as error:
            fail(
                "checkpoint", "a file written by fit (delete it to start anew)", f"{path}: {error}"
            )
        if not isinstance(state, dict) or "settings" not in state:
            fail("checkpoint", "a file written by fit (delete it to start anew)", path)
        if state["settings"] != self.settings:
            fail(
                "checkpoint",
                f"one of this very run, {self.settings} (or pass resume=False)",
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
def _put_back(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Move the model back to its own device, however training ends."""
    try:
        yield
    finally:
        model.to(device)


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


def _checksum(data: Tensor) -> int:
    return zlib.crc32(data.detach().cpu().contiguous().numpy().data)


def _not_finite(run: _Run, loss: Tensor, checkpoint: str | Path | None) -> str:
    kept = (
        ""
        if checkpoint is None or not Path(checkpoint).exists()
        else f" The last checkpoint is kept: {checkpoint}."
    )
    return (
        f"the loss became {loss.item()} at step {run.step} (epoch {run.epoch + 1}). "
        f"Lower lr, add kl_warmup, or look for extreme values in the data.{kept}"
    )


def _check_arguments(
    data: Tensor,
    epochs: int,
    batch_size: int,
    lr: float,
    ema: float | None,
    seed: int,
    *,
    validation: Tensor | None = None,
    schedule: str = "constant",
    kl_warmup: float = 0.0,
) -> None:
    if not isinstance(data, Tensor) or data.ndim < 2 or len(data) == 0:
        fail("data", "a tensor of at least one row", getattr(data, "shape", type(data).__name__))
    if validation is not None and (
        not isinstance(validation, Tensor)
        or validation.shape[1:] != data.shape[1:]
        or len(validation) == 0
    ):
        got = getattr(validation, "shape", type(validation).__name__)
        fail("validation", f"a tensor of at least one row like {tuple(data.shape)}", got)
    check_at_least("epochs", epochs, 1)
    check_at_least("seed", seed, 0)
    check_at_least("batch_size", batch_size, 1)
    check_in("schedule", schedule, ("one-cycle", "constant"))
    if not (math.isfinite(lr) and lr > 0):
        fail("lr", "a positive number", lr)
    if not 0 <= kl_warmup <= 1:
        fail("kl_warmup", "a fraction between 0 and 1", kl_warmup)
    if ema is not None and not 0 < ema < 1:
        fail("ema", "a decay between 0 and 1, or None", ema)
