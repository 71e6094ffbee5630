"""Training by gradient: one loop for every model that is a `torch.nn.Module`.

What is learned is learned in ``take_step``. The rest is bookkeeping: it shuffles, averages,
records, saves and resumes.

Training can be interrupted at any step and resumed exactly: the checkpoint holds the weights, the
optimizer, the schedule, the averaged weights, the random generators and the position in the epoch.
"""

from __future__ import annotations

import copy
import csv
import inspect
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm.auto import tqdm

from vaebook import __version__, _files
from vaebook import checkpoint as files
from vaebook._checks import check_at_least, check_in, check_sizes, fail, trusted_values
from vaebook.data import cache_folder
from vaebook.distributed import Team, join
from vaebook.recorded import Recorded
from vaebook.rows import Batches, Rows, as_rows, checksum

# (model, x, generator) -> (bound, terms), or with one argument more, beta, for a warm-up
Objective = Callable[..., tuple[Tensor, dict[str, Tensor]]]
Transform = Callable[[Tensor, Generator], Tensor]
Callback = Callable[["History"], bool | None]

SECONDS_BETWEEN_SAVES = 30.0
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_TALKS, STEPS_BETWEEN_TALKS = 1.0, 16  # of several processes, at most


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
    if Path(name).name != name:
        fail("name", "a name without a folder", repr(name))
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
    data: Any,
    objective: Objective,
    *,
    transform: Transform | None = None,
    validation: Any = None,
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
    callbacks: Sequence[Callback] = (),
    record: bool = True,
    progress: bool = True,
) -> History:
    r"""Maximise the average of `objective` over `data` by Adam.

    Started by ``torchrun``, each process takes its share of each batch, and the weights are those
    of one process with the whole batches, but for the noise, of which each draws its own.

    Parameters
    ----------
    model
        The model; trained in place on `device`, then put back where it was.
    data
        Training data, shape (n, ...), any dtype that `transform` or the model takes: a tensor, a
        NumPy array or memmap, a list of rows, a `torch.utils.data.Dataset` or `DataLoader`. What
        does not fit on `device` is read batch by batch, ahead of the step. Floating-point rows come
        in the dtype of the model's weights.
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
        Seeds the order of the data and all noise; the same seed gives the same run.
    device
        ``"auto"``, or any device of PyTorch.
    amp
        Mixed precision: matrix products in bfloat16, everything else in float32 (which PyTorch's
        convolutions and recurrent layers round to TF32 on a GPU). ``"auto"``: where the processor
        multiplies bfloat16 faster.
    checkpoint
        File to which the whole state is written every half minute, at the end, and when
        interrupted (Ctrl-C, the notebook's stop button, SIGTERM).
    resume
        Continue from `checkpoint` where it exists; otherwise start anew and overwrite it. A
        checkpoint of other data, another model or another recipe is refused; more epochs at a
        constant rate are no other recipe. Functions cannot be compared: after a change of
        `objective` or `transform`, pass False.
    callbacks
        Called in turn as ``callback(history)`` after every epoch (of several processes, in the
        first); training ends early if one returns True: :class:`EarlyStopping`, :class:`CsvLog`.
    record
        On a GPU, record a step as a CUDA graph once and replay it. What `objective` and
        `transform` decide in Python, without a look at a tensor, is then decided once. A step that
        looks at one is not recorded, and a line says so.
    progress
        Show a bar with the terms on a terminal or in a live notebook, elsewhere a line an epoch.

    Returns
    -------
    History
        Averages of the bound and its terms, epoch by epoch.

    Raises
    ------
    ValueError
        If an argument is unusable, or the checkpoint belongs to another run.
    FloatingPointError
        If the bound of a step is not finite: the step is named, the weights are those before it,
        and the last checkpoint is kept.
    OSError
        If the checkpoint cannot be written. Noticed before the first step where possible; later,
        training goes on and the error comes at its end, with the history as its ``history``.

    Warns
    -----
    UserWarning
        If nearly all data of a batch end with a lower bound than they began with, each with the
        same noise: most often, the learning rate is too high.
    """
    check_recipe(epochs, batch_size, lr, ema, seed)
    _check_options(model, schedule, kl_warmup, amp, objective)
    team, target = join(pick_device(device))
    dtype = next(model.parameters()).dtype
    rows = as_rows(data, target, dtype)
    held_out = None if validation is None else as_rows(validation, target, dtype, "validation")
    if held_out is not None and held_out.shape[1:] != rows.shape[1:]:
        fail("validation", f"rows of shape {rows.shape[1:]}, as in data", held_out.shape[1:])
    mixed = bfloat16_pays(target) if amp == "auto" else bool(amp)
    recipe = Recipe(epochs, batch_size, lr, schedule, kl_warmup, ema, seed, mixed)
    path = checkpoint_file(checkpoint, team)
    own_seed = team.seed(seed + 2)
    with on_device(model, target), own_arithmetic(target, own_seed), deferred_stop() as stop:
        run = _Ascent(
            model, rows, objective, transform, held_out, recipe, path, team, target, record
        )
        run.check_that_all_do_the_same(resume)
        if resume:
            run.load()
        if not run.history.validation:
            run.validate()  # before the first step: a fault shows now, not after an epoch
        before = run.bounds_of_first_rows() if run.step < run.n_steps else None
        run_epochs(run, take_step, stop, callbacks, progress)
        if before is not None and team.leads:
            warn_if_worse(before, run.bounds_of_first_rows(), lr)
    run.raise_what_waits(stop)
    return run.history


def take_step(run: _Ascent, batch: Tensor) -> None:
    """One step of Adam up the bound. All else in this module is bookkeeping around it."""
    run.find_gradient(batch)
    run.optimizer.step()
    run.scheduler.step()
    run.end_step()


def find_gradient(run: _Ascent, batch: Tensor) -> None:
    """Leave the gradient of the loss in each weight; on a GPU, recorded once and replayed."""
    x = run.transform(batch, run.noise)  # grey pixels, say, become random binary ones

    # forward: the bound of each datum, from one draw of the noise
    with run.precision():
        bound, terms = run.objective(run.model, x, run.noise, **run.warmup())
    loss = -run.mean(bound)

    # backward: the derivative of the loss in every weight
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    run.note(loss, bound, terms)


def warn_if_worse(before: Tensor, after: Tensor, lr: float) -> None:
    """Say so if training has lowered the bounds of nearly all data: no number of nats decides."""
    n_worse = int((after < before).sum())
    if n_worse > 0.9 * len(before):
        warnings.warn(
            f"training has lowered the objective of {n_worse} of {len(before)} data, on average "
            f"from {float(before.mean()):.5g} to {float(after.mean()):.5g} nats. Lower lr, which "
            f"is {lr:g}, or look for extreme values in the data",
            stacklevel=3,
        )


def run_epochs(
    run: Run,
    take_step: Callable[[Any, Tensor], None],
    stop: threading.Event,
    callbacks: Sequence[Callback],
    progress: bool,
) -> None:
    """Take all steps that are left of a run; save, show and stop it between them."""
    while not run.is_over(callbacks):
        title = f"epoch {run.epoch + 1}/{run.recipe.epochs}"
        shows = progress and run.team.leads
        with progress_bar(run.batches(), title, shows) as bar:
            shows_line = shows and bar.disable
            for batch in bar:
                take_step(run, batch)
                if run.look_is_due():
                    run.look()
                    if not bar.disable:
                        show_terms(bar, run.averages())
                stopped, due = run.agree(stop.is_set(), run.save_is_due())
                if stopped or due:
                    run.save()
                if stopped:
                    raise KeyboardInterrupt
        run.end_epoch()
        run.validate()
        if shows_line:
            log_line(title, run.history)
        run.start_epoch()
    run.save()
    run.finish()


@dataclass(frozen=True)
class Recipe:
    """How a run is trained: all that decides its result beside the data, model and functions."""

    epochs: int
    batch_size: int
    lr: float
    schedule: str
    kl_warmup: float
    ema: float | None
    seed: int
    mixed: bool

    def lasting(self) -> dict[str, Any]:
        """Return what a continued run must share: at a constant rate, all but the end."""
        recipe = asdict(self)
        if self.schedule == "constant" and self.kl_warmup == 0:
            del recipe["epochs"]
        return recipe


class Run:
    """Everything that changes while training, and so everything that a checkpoint holds.

    What is trained, and by which optimizers, a subclass knows: it has a `scheduler` of the learning
    rate, a `watch` over the losses, and `parts`, whose states a checkpoint holds by name.
    """

    scheduler: torch.optim.lr_scheduler.LRScheduler
    watch: Watch
    parts: dict[str, Any]
    losses_a_step = 1

    def __init__(
        self,
        model: nn.Module,
        rows: Rows,
        recipe: Recipe,
        path: Path | None,
        team: Team,
        device: torch.device,
        record: bool,
    ) -> None:
        self.model, self.rows, self.recipe, self.path = model, rows, recipe, path
        self.team, self.device = team, device
        self.n_data = rows.shape[0]
        self.steps_per_epoch = math.ceil(self.n_data / recipe.batch_size)
        self.n_steps = recipe.epochs * self.steps_per_epoch
        self.sum_dtype = torch.float32 if device.type == "mps" else torch.float64
        self.averaged: Average | None = None
        self.order = Generator().manual_seed(recipe.seed)  # shuffles; drawn from once an epoch
        self.noise = Generator(device).manual_seed(team.seed(recipe.seed + 1))
        self.order_at_epoch_start = self.order.get_state()
        self.step = self.epoch = self.n_seen = 0
        self.first_step = 0  # of this process: a resumed run starts later
        self.sums: dict[str, Tensor] = {}
        self.history = History()
        self.last_saved, self.last_look = time.monotonic(), -math.inf
        self.next_talk, self.last_talk = 0, (0, time.monotonic())
        self.stamp = files.stamp(path)
        self.unsaved: OSError | None = None
        self.records = record and on_gpu(device) and team.size == 1
        self.start_epoch()

    def recorded(
        self, find: Callable[[Tensor], None], parameters: Iterable[nn.Parameter]
    ) -> Callable[[Tensor], None]:
        """Return what leaves gradients in `parameters`, on a GPU as a recorded step."""

        def find_gradient(batch: Tensor) -> None:
            # a look at values waits for a GPU: there only the first batch is looked at
            with trusted_values(on_gpu(self.device) and self.step > self.first_step):
                find(batch)

        if not self.records:
            return find_gradient
        return Recorded(find_gradient, list(parameters), self.noise, self.recipe.batch_size)

    # --- through the data ---

    def start_epoch(self) -> None:
        """Take the time."""
        self.epoch_started = time.monotonic()

    def batches(self) -> Batches:
        """What is left of this epoch's batches, in an order of its own."""
        self.order_at_epoch_start = self.order.get_state()
        order = torch.randperm(self.n_data, generator=self.order)
        n_done = self.step - self.epoch * self.steps_per_epoch  # all, if interrupted at the end
        team = self.team
        return Batches(self.rows, order, self.recipe.batch_size, n_done, team.rank, team.size)

    def batch_rows(self) -> int:
        """Rows of this step's batch, of all processes together."""
        first = (self.step - self.epoch * self.steps_per_epoch) * self.recipe.batch_size
        return min(self.recipe.batch_size, self.n_data - first)

    def add_up(self, loss: Tensor, totals: dict[str, Tensor]) -> None:
        """Add up on the device what the history needs, and remember the first bad loss."""
        for name, total in totals.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros_like(total)
            self.sums[name] += total
        self.watch.see(self.team.add_up(loss.detach()))  # a bad one stops all processes
        if not on_gpu(self.device):  # nothing waits there: stop before the weights move
            self._stop_if_failed()

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Tell which flags are set in any process. They talk every second or few steps."""
        if self.team.size == 1:
            return flags
        if self.step < self.next_talk:
            return (False,) * len(flags)
        (step, then), now = self.last_talk, time.monotonic()
        said = self.team.gather((flags, (now - then) / max(1, self.step - step)))
        slowest = max(pace for _, pace in said)  # all must count to the same step
        self.last_talk = self.step, now
        n_steps = SECONDS_BETWEEN_TALKS / max(slowest, 1e-9)
        self.next_talk = self.step + max(1, min(STEPS_BETWEEN_TALKS, int(n_steps)))
        return tuple(map(any, zip(*(theirs for theirs, _ in said), strict=True)))

    def look_is_due(self) -> bool:
        """Tell whether the last look is long enough ago: each waits for the device."""
        return time.monotonic() - self.last_look > SECONDS_BETWEEN_LOOKS

    def look(self) -> None:
        """See on the device whether all is well; it waits for the steps so far."""
        self.last_look = time.monotonic()
        self._stop_if_failed()

    def _stop_if_failed(self) -> None:
        if self.watch.failed:
            is_kept = self.path is not None and self.path.exists()
            kept = f" The last checkpoint is kept: {self.path}." if is_kept else ""
            step = self.first_step + int(self.watch.n_finite) // self.losses_a_step
            where = f"step {step} (epoch {step // self.steps_per_epoch + 1})"
            self.watch.stop(where, kept)

    def averages(self) -> dict[str, float]:
        """Return the averages of this epoch so far."""
        share = self.team.size / self.n_seen
        return {name: float(total) * share for name, total in self.sums.items()}

    def end_step(self) -> None:
        """Move the averaged weights, and count."""
        if self.averaged is not None:
            self.averaged.update()
        self.n_seen += self.batch_rows()
        self.step += 1

    def end_epoch(self) -> None:
        """Write the epoch's averages into the history."""
        self.look()
        for name, total in self.sums.items():
            average = float(self.team.add_up(total)) / self.n_seen
            self.history.train.setdefault(name, []).append(average)
            total.zero_()
        self.history.seconds.append(time.monotonic() - self.epoch_started)
        self.history.learning_rate.append(float(self.scheduler.get_last_lr()[0]))
        self.n_seen = 0
        self.order_at_epoch_start = self.order.get_state()
        self.epoch += 1

    def validate(self) -> None:
        """Measure what is held out, if anything is."""

    def is_over(self, callbacks: Sequence[Callback]) -> bool:
        """Tell whether all epochs are done, or a callback wants to stop."""

        def call_all() -> bool:
            return any([callback(self.history) is True for callback in callbacks])  # noqa: C419

        wants_stop = self.history.n_epochs > 0 and self.team.from_first(call_all)
        return wants_stop or self.epoch >= self.recipe.epochs

    def finish(self) -> None:
        """Leave the averaged weights in the model, if there are any."""
        if self.averaged is not None:
            self.averaged.put_back()

    def raise_what_waits(self, stop: threading.Event) -> None:
        """Raise what came while the run could not end: a stop, or a file that cannot be written."""
        if stop.is_set():  # came during the last validation; the finished run is saved
            raise KeyboardInterrupt
        if self.unsaved is not None:
            self.unsaved.history = self.history  # type: ignore[attr-defined]
            raise self.unsaved

    # --- to a file and back ---

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What must be the same for a run to be continued."""
        return {
            "package": __version__,
            "data": [self.n_data, checksum(self.rows)],
            "model": files.structure(self.model),
            "recipe": self.recipe.lasting(),
        }

    def save_is_due(self) -> bool:
        """Tell whether the last save is long enough ago."""
        return time.monotonic() - self.last_saved > SECONDS_BETWEEN_SAVES

    def save(self) -> None:
        """Write the state, if anywhere; where that fails, the run is worth more than its file."""
        if self.path is None:
            return
        self.look()
        noise = self.team.gather(self._noise_states())
        sums = {name: self.team.add_up(total) for name, total in self.sums.items()}
        self.last_saved = time.monotonic()
        if not self.team.leads:
            return
        try:
            if files.stamp(self.path) != self.stamp:
                raise FileExistsError(f"checkpoint: another run has written {self.path} meanwhile")
            files.write(self.path, self._state(noise, sums))
            self.stamp, self.unsaved = files.stamp(self.path), None
        except OSError as error:
            self.unsaved = error
            warnings.warn(f"{error}; training goes on", stacklevel=4)

    def _state(self, noise: list[Any], sums: dict[str, Tensor]) -> dict[str, Any]:
        return {
            "settings": self.settings,
            **{name: part.state_dict() for name, part in self.parts.items()},
            "averaged": None if self.averaged is None else self.averaged.module.state_dict(),
            "order": self.order_at_epoch_start,
            "noise": noise,
            "position": [self.step, self.epoch, self.n_seen],
            "sums": sums,
            "history": vars(self.history),
            "seconds": time.monotonic() - self.epoch_started,
        }

    def load(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state = self.team.from_first(self._read)
        if state is None:
            return
        path, theirs = self.path, state["settings"]
        if theirs["model"] != self.settings["model"]:
            fail("checkpoint", "weights of this model (or pass resume=False)", path)
        if theirs != self.settings:
            ours = {name: self.settings[name] for name in ("package", "data", "recipe")}
            got = f"{path} of { ({name: theirs.get(name) for name in ours}) }"
            fail("checkpoint", f"one of this very run, {ours} (or pass resume=False)", got)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.step, self.epoch, self.n_seen = state["position"]
        if self.averaged is not None:
            self.averaged.module.load_state_dict(state["averaged"])
            self.averaged.n_updates = self.step
        self.order.set_state(state["order"].cpu())
        self._restore_noise(state["noise"])
        for name, total in state["sums"].items():  # of all processes together
            self.sums[name] = total.to(self.device, self.sum_dtype) / self.team.size
        self.history = History(**state["history"])
        self.first_step = self.step
        self.last_talk = self.step, time.monotonic()
        self.epoch_started = time.monotonic() - state["seconds"]

    def _read(self) -> dict[str, Any] | None:
        if self.path is None or not self.path.exists():
            return None
        return files.read(self.path, _STATE | self.parts.keys())

    def _noise_states(self) -> list[Tensor]:
        """Return the states of all generators that a step may draw from."""
        states = [self.noise.get_state(), torch.get_rng_state()]
        if on_gpu(self.device):
            states.append(torch.cuda.get_rng_state(self.device))
        return states

    def _restore_noise(self, states: Any) -> None:
        """Go on with the same noise; on another device or by more processes, with new noise."""
        try:
            own, *torchs = [state.cpu() for state in states[self.team.rank]]
            self.noise.set_state(own)
            torch.set_rng_state(torchs[0])
            if on_gpu(self.device):
                torch.cuda.set_rng_state(torchs[1], self.device)
        except (IndexError, TypeError, RuntimeError):
            own_seed = self.team.seed(self.recipe.seed + 1 + self.step)
            self.noise.manual_seed(own_seed)
            _seed_own_draws(self.device, own_seed + 1)


_STATE = frozenset(
    ("settings", "averaged", "order", "noise", "position", "sums", "history", "seconds")
)


class _Ascent(Run):
    """A run that raises one objective."""

    def __init__(
        self,
        model: nn.Module,
        rows: Rows,
        objective: Objective,
        transform: Transform | None,
        held_out: Rows | None,
        recipe: Recipe,
        path: Path | None,
        team: Team,
        device: torch.device,
        record: bool,
    ) -> None:
        super().__init__(model, rows, recipe, path, team, device, record)
        self.transform, self.own_objective = transform or unchanged, objective
        self.held_out = held_out
        self.own_beta = _own_beta(objective) if recipe.kl_warmup else 1.0
        self.optimizer = torch.optim.Adam(model.parameters(), recipe.lr, fused=True)
        self.scheduler = _schedule(self.optimizer, recipe, self.n_steps)
        self.parts = {"model": model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        self.objective = team.parallel(model, objective)  # all start from the first one's weights
        self.averaged = average_of(model, recipe.ema)
        self.watch = Watch([self.optimizer], device)
        # read by a recorded step, for which a number of Python would stand still
        self.beta = torch.full((), self.weight_of_divergence(), device=device)
        self.find_gradient = self.recorded(
            lambda batch: find_gradient(self, batch), model.parameters()
        )

    def precision(self) -> torch.autocast:
        """Matrix products in bfloat16 where the recipe is mixed; all else stays in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.mixed)

    def warmup(self) -> dict[str, float | Tensor]:
        """Return the weight of the divergence at this step, while it rises to its own value."""
        if self.recipe.kl_warmup == 0:
            return {}
        return {"beta": self.beta if self.records else self.weight_of_divergence()}

    def weight_of_divergence(self) -> float:
        n_rising = self.recipe.kl_warmup * self.n_steps
        return min(1.0, self.step / n_rising) * self.own_beta if n_rising else self.own_beta

    def mean(self, bound: Tensor) -> Tensor:
        """Average the bound over the batch, of which this process may have a share."""
        n_own = self.team.share(self.batch_rows())
        _check_bound(bound, max(1, n_own))
        if self.team.size == 1:
            return bound.mean()
        return bound[:n_own].sum() * (self.team.size / self.batch_rows())

    def note(self, loss: Tensor, bound: Tensor, terms: dict[str, Tensor]) -> None:
        """Add up on the device what the history needs, and remember the first bad loss."""
        n_own = self.team.share(self.batch_rows())
        named = _by_name(bound, terms).items()
        self.add_up(loss, {n: each.detach()[:n_own].sum(dtype=self.sum_dtype) for n, each in named})

    def check_that_all_do_the_same(self, resume: bool) -> None:
        """Require that all processes do the same: otherwise they would wait for one another."""
        if self.team.size == 1:
            return
        _check_sees_single_data(self.model)
        rows = self.held_out
        mine = {
            **self.settings,
            "validation": None if rows is None else [rows.shape[0], checksum(rows)],
            "checkpoint": self.path is not None,
            "resume": resume,
        }
        for theirs in self.team.gather(mine):
            for name in mine:
                if theirs[name] != mine[name]:
                    wanted = f"the same {name} in every process"
                    fail("fit", wanted, f"{mine[name]} and {theirs[name]}")

    def end_step(self) -> None:
        """Count, and let the weight of the divergence rise."""
        super().end_step()
        if self.records and self.recipe.kl_warmup > 0:
            self.beta.fill_(self.weight_of_divergence())

    def load(self) -> None:
        """Go on from the checkpoint, with the weight of the divergence that belongs there."""
        super().load()
        self.beta.fill_(self.weight_of_divergence())

    def validate(self) -> None:
        """Average the objective over held-out rows, with the same noise every time."""
        rows = self.held_out
        if rows is None:
            return
        own = torch.arange(self.team.rank, rows.shape[0], self.team.size)
        n_own = len(own)
        sums: dict[str, float] = {}
        for bound, terms in self.evaluate(rows, own if n_own else own.new_zeros(1)):
            for name, each in _by_name(bound, terms).items():
                sums[name] = sums.get(name, 0.0) + float(each[:n_own].sum())
        numbers = torch.tensor(list(sums.values()), dtype=self.sum_dtype, device=self.device)
        totals = self.team.add_up(numbers)
        for name, total in zip(sums, totals.tolist(), strict=True):
            self.history.validation.setdefault(name, []).append(total / rows.shape[0])

    def bounds_of_first_rows(self) -> Tensor:
        """Bounds of as many rows as are in a batch, with the same noise every time."""
        n = min(self.n_data, self.recipe.batch_size)
        own = torch.arange(self.team.rank, max(n, self.team.size), self.team.size) % n
        return torch.cat([bound for bound, _ in self.evaluate(self.rows, own)])

    def evaluate(self, rows: Rows, positions: Tensor) -> list[tuple[Tensor, dict[str, Tensor]]]:
        """Return the objective's values on rows, batch by batch; nothing is learned."""
        model = self.model if self.averaged is None else self.averaged.module
        generator = Generator(self.device).manual_seed(self.team.rank)
        model.eval()
        values = []
        gpus = [self.device] if on_gpu(self.device) else []
        # rows that a Dataset draws anew take nothing from what training draws
        with torch.no_grad(), self.precision(), torch.random.fork_rng(gpus):
            for batch in Batches(rows, positions, 1000):
                bound, terms = self.own_objective(
                    model, self.transform(batch, generator), generator
                )
                _check_bound(bound, len(batch))
                values.append((bound, terms))
        model.train()
        return values


class Watch:
    """Keeps the first loss that is no number, on the device: to look at each would wait for a GPU.

    On a GPU, Adam moves nothing any more from that loss on.
    """

    def __init__(self, optimizers: list[torch.optim.Adam], device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)  # the last one, or the first that is not finite
        self.failed = torch.zeros((), dtype=torch.float32, device=device)  # 1 from that loss on
        self.n_finite = torch.zeros((), dtype=torch.int64, device=device)
        if on_gpu(device):
            for optimizer in optimizers:
                optimizer.found_inf = self.failed  # type: ignore[attr-defined]

    def see(self, loss: Tensor) -> None:
        """Take the next loss."""
        self.loss.copy_(torch.where(self.loss.isfinite(), loss, self.loss))
        self.failed.copy_(~self.loss.isfinite())
        self.n_finite += self.loss.isfinite()

    def stop(self, where: str, kept: str = "") -> NoReturn:
        """Say where the loss became no number, and what is kept."""
        raise FloatingPointError(
            f"the loss became {float(self.loss)} at {where}. "
            f"Lower lr, or look for extreme values in the data.{kept}"
        )


class EarlyStopping:
    """Callback that ends training when validation has not improved for some epochs.

    Parameters
    ----------
    patience
        How many epochs without a new best are waited for.
    name
        What must grow: ``"bound"`` or one of the terms.
    """

    def __init__(self, patience: int = 5, name: str = "bound") -> None:
        check_at_least("patience", patience, 1)
        self.patience, self.name = patience, name

    def __call__(self, history: History) -> bool:
        """Tell whether the best epoch lies more than `patience` epochs back."""
        if not history.validation:
            fail("validation", "held-out data, which early stopping looks at", None)
        values = history.array("validation", self.name)
        return len(values) - 1 - int(values.argmax()) >= self.patience


class CsvLog:
    """Callback that writes the history to a table, a row an epoch, after every epoch.

    Parameters
    ----------
    path
        The file; what it held before is replaced.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        _files.prepare(self.path, "path", ".tmp")

    def __call__(self, history: History) -> None:
        """Write the whole history, so that a resumed run leaves no gap."""
        n, before = history.n_epochs, [""]
        columns: dict[str, list[Any]] = {"epoch": list(range(n + 1))}
        columns["seconds"] = before + history.seconds
        columns["learning_rate"] = before + history.learning_rate
        columns |= {f"train_{name}": before + values for name, values in history.train.items()}
        for name, values in history.validation.items():
            columns[f"validation_{name}"] = [""] * (n + 1 - len(values)) + values
        try:
            with _files.whole_file(self.path) as path, path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
        except OSError as error:  # a full disk, say: the next epoch writes all of it
            warnings.warn(f"{self.path} was not written: {error}; training goes on", stacklevel=2)


class Average:
    """Exponential moving average of a model's weights: of the first step's, then towards each.

    Parameters
    ----------
    model
        Whose weights are followed.
    decay
        Share of the average that stays at each update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.followed, self.module = model, copy.deepcopy(model)
        self.n_updates = 0
        self._towards = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the model's weights, in one launch for all."""
        averages, weights = (
            [v for v in m.state_dict().values() if v.is_floating_point()]
            for m in (self.module, self.followed)
        )
        if self.n_updates == 0:
            torch._foreach_copy_(averages, weights)
        else:
            self._towards(averages, weights, self.n_updates)
        self.n_updates += 1

    def put_back(self) -> None:
        """Make the averages the model's weights."""
        self.followed.load_state_dict(self.module.state_dict())


def average_of(model: nn.Module, decay: float | None) -> Average | None:
    """Start an exponential moving average of the weights, where one is asked for."""
    return None if decay is None else Average(model, decay)


def checkpoint_file(checkpoint: str | Path | None, team: Team) -> Path | None:
    """Return where checkpoints go, which can be written."""
    path = None if checkpoint is None else Path(checkpoint).expanduser()
    if path is not None:
        team.from_first(lambda: files.prepare(path))
    return path


def log_line(title: str, history: History) -> None:
    """Write how an epoch went where no bar can be shown, unless TQDM_DISABLE is set."""
    if os.environ.get("TQDM_DISABLE") == "1":
        return
    train = ", ".join(f"{name} {values[-1]:.2f}" for name, values in history.train.items())
    held_out = history.validation.get("bound")
    validation = f"; validation bound {held_out[-1]:.2f}" if held_out else ""
    with suppress(OSError):  # nobody may listen any more
        print(f"{title}: {train}{validation}; {history.seconds[-1]:.1f} s", file=sys.stderr)


def progress_bar(items: Iterable[Any], title: str, wanted: bool) -> tqdm:
    """Show progress through `items` on a terminal or in a live notebook, if it is wanted."""
    # None: a bar only on a terminal or in a notebook; TQDM_DISABLE alone would not override it
    silent = True if not wanted or os.environ.get("TQDM_DISABLE") == "1" else None
    return tqdm(items, desc=title, disable=silent, leave=False)


def show_terms(bar: tqdm, averages: dict[str, float]) -> None:
    """Put averages behind the bar, by name."""
    bar.set_postfix({name: f"{average:.1f}" for name, average in averages.items()})


@contextmanager
def deferred_stop() -> Iterator[threading.Event]:
    """Hold Ctrl-C and SIGTERM back until a step is complete, so that what is saved then is exact.

    A second one acts at once. A signal that ends a process still does, once the state is saved.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread receives signals
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [signal.Signals[name] for name in names]
    previous = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
    previous = {n: handler for n, handler in previous.items() if handler != signal.SIG_IGN}
    received = []

    def note(number: int, _: Any) -> None:
        stop.set()
        received.append(number)
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for ended in received:
            if ended != signal.SIGINT:
                signal.raise_signal(ended)


@contextmanager
def own_arithmetic(device: torch.device, seed: int) -> Iterator[None]:
    """Flush denormals, and seed torch's own generators, from which dropout draws; then undo both.

    Adam's moments of never-lit pixels decay into denormals, and arithmetic with those is many
    times slower on most processors. On a GPU, convolutions that give the same sums every time.
    """
    was_flushed = bool(torch.full((1,), 5e-324, dtype=torch.float64) * 1 == 0)
    was_deterministic = torch.backends.cudnn.deterministic
    gpus = [device] if on_gpu(device) else []
    torch.set_flush_denormal(True)
    torch.backends.cudnn.deterministic = True
    try:
        with torch.random.fork_rng(gpus), torch.cuda.device(device) if gpus else nullcontext():
            _seed_own_draws(device, seed)
            yield
    finally:
        torch.set_flush_denormal(was_flushed)
        torch.backends.cudnn.deterministic = was_deterministic


def _seed_own_draws(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if on_gpu(device):
        torch.cuda.manual_seed(seed)  # of the current one


@contextmanager
def on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Train the model on `device`; it comes back ready to be used, however training ends."""
    home = next(model.parameters()).device
    try:
        model.to(device).train()
        yield
    finally:
        model.to(home).eval()


def on_gpu(device: torch.device) -> bool:
    """Tell whether `device` is one of CUDA's: steps are recorded, and nobody waits for them."""
    return device.type == "cuda"


def bfloat16_pays(device: torch.device) -> bool:
    """Tell whether models of the book's sizes train faster with products in bfloat16.

    They do on processors with instructions for it. On a GPU a step of theirs takes the time of its
    launches and memory, to which casts add: measured, 2.0 s an epoch with and 1.6 s without (one
    H100, 784-400-20, batches of 128).
    """
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def check_recipe(epochs: int, batch_size: int, lr: float, ema: float | None, seed: int) -> None:
    """Require what every training loop of the book takes."""
    check_sizes(epochs=epochs, batch_size=batch_size)
    check_at_least("seed", seed, 0)
    if seed >= 2**31:
        fail("seed", "an integer below 2**31", seed)
    if not (isinstance(lr, Real) and math.isfinite(lr) and lr > 0):
        fail("lr", "a positive number", repr(lr))
    if ema is not None and not 0 < ema < 1:
        fail("ema", "a decay between 0 and 1, or None", ema)


def _check_options(
    model: nn.Module, schedule: str, kl_warmup: float, amp: bool | str, objective: Objective
) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        fail("model", "a module with parameters to train", "none that requires a gradient")
    if not torch.is_grad_enabled():
        fail("fit", "gradients switched on", "a call inside of torch.no_grad()")
    check_in("schedule", schedule, ("one-cycle", "constant"))
    check_in("amp", amp, (True, False, "auto"))
    if not 0 <= kl_warmup <= 1:
        fail("kl_warmup", "a fraction between 0 and 1", kl_warmup)
    if kl_warmup > 0:
        _own_beta(objective)


def _schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, n_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the learning rate's way; a single step has none, and takes the peak."""
    if recipe.schedule == "constant" or n_steps == 1:
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, n_steps)


def _own_beta(objective: Objective) -> float:
    """Return the weight that `objective` gives its divergence by itself."""
    beta = inspect.signature(objective).parameters.get("beta")
    if beta is None or beta.default is beta.empty:
        wanted = "one with a weight beta=1.0 among its arguments, to be raised (or kl_warmup=0)"
        fail("objective", wanted, getattr(objective, "__name__", objective))
    return float(beta.default)


def _check_sees_single_data(model: nn.Module) -> None:
    """Refuse layers that would see another batch in each process."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(
            module, nn.SyncBatchNorm
        ):
            wanted = "no layer that sees the whole batch, but SyncBatchNorm, for several processes"
            fail("model", wanted, type(module).__name__)


def _check_bound(bound: Tensor, n_data: int) -> None:
    if bound.shape != (n_data,):
        fail("objective", f"one bound a datum, ({n_data},)", tuple(bound.shape))


def _by_name(bound: Tensor, terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the bound and its terms, one value a datum; a term may be one number for all."""
    for name, values in terms.items():
        if values.shape not in ((), bound.shape):
            wanted = f"a term {name!r} of one value a datum, {tuple(bound.shape)}"
            fail("objective", wanted, tuple(values.shape))
    named = {"bound": bound, **terms} | {"bound": bound}
    return {name: values.expand(bound.shape) for name, values in named.items()}


def unchanged(batch: Tensor, generator: Generator) -> Tensor:
    """Return the batch as it is: a transform for data that need none."""
    return batch
