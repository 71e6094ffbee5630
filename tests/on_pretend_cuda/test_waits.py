"""A training step never waits for the GPU; runs go from one device to another."""

import itertools
import math
import signal

import pytest
import torch

from tests.on_pretend_cuda.test_models import MODELS
from vaebook import training
from vaebook.data import dynamic_binarization
from vaebook.gan import fit_gan, mlp_gan
from vaebook.training import fit
from vaebook.vae import elbo_objective, mlp_vae

PIXELS = torch.full((160, 9), 100, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def no_look(monkeypatch):
    """A look at the losses waits, once in a while by the clock; so does a warning at the end."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_LOOKS", math.inf)
    monkeypatch.setattr(training, "warn_if_worse", lambda before, after, lr: None)


def waits_of(cuda, train):
    """Count the waits of one call."""
    before = cuda.waits.total()
    train()
    return cuda.waits.total() - before


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ema": 0.9},
        {"kl_warmup": 0.5},
        {"amp": True},
        {"amp": False},
        {"schedule": "constant"},
        {"validation": PIXELS[:7]},
    ],
    ids=str,
)
def test_a_step_never_waits(cuda, options):
    def train(batch_size):
        fit(
            mlp_vae(9, 2, (8,)), PIXELS, elbo_objective, transform=dynamic_binarization,
            epochs=1, batch_size=batch_size, progress=False, **options,
        )  # fmt: skip

    assert waits_of(cuda, lambda: train(4)) == waits_of(cuda, lambda: train(40))


@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_any_model_never_waits(cuda, model):
    make, x, objective = MODELS[model]
    x = x.repeat(40 // len(x) + 1, 1)[:40]

    def train(batch_size):
        fit(make(), x, objective, epochs=1, batch_size=batch_size, progress=False)

    assert waits_of(cuda, lambda: train(2)) == waits_of(cuda, lambda: train(10))


@pytest.mark.parametrize("ema", [None, 0.9])
def test_an_adversarial_step_never_waits(cuda, ema):
    def train(batch_size):
        fit_gan(
            mlp_gan(9, 2, (8,)), PIXELS, transform=dynamic_binarization, epochs=1, ema=ema,
            batch_size=batch_size, progress=False,
        )  # fmt: skip

    assert waits_of(cuda, lambda: train(4)) == waits_of(cuda, lambda: train(40))


def interrupted(step, n):
    """Send Ctrl-C in the n-th call."""
    calls = itertools.count(1)

    def call(*arguments):
        if next(calls) == n:
            signal.raise_signal(signal.SIGINT)
        return step(*arguments)

    return call


@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_goes_on_on_another_device(first, then, tmp_path, monkeypatch):
    def train(device):
        return fit(
            mlp_vae(9, 2, (8,)), PIXELS, elbo_objective, transform=dynamic_binarization, epochs=2,
            batch_size=10, device=device, checkpoint=tmp_path / "run.pt", progress=False, amp=False,
            schedule="constant",
        )  # fmt: skip

    with monkeypatch.context() as patched:
        patched.setattr(training.Run, "end_step", interrupted(training.Run.end_step, 20))
        with pytest.raises(KeyboardInterrupt):
            train(first)
    history = train(then)
    assert history.n_epochs == 2
    assert all(math.isfinite(bound) for bound in history.train["bound"])
