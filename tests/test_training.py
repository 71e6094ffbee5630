"""The training loop: what it reaches, what it records, and that it resumes bit for bit."""

import csv
import functools
import io
import itertools
import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.data import Dataset

from tests.common import seeded
from vaebook import training
from vaebook.checkpoint import write
from vaebook.data import dynamic_binarization
from vaebook.distributed import Team
from vaebook.gaussian import LinearGaussian
from vaebook.likelihoods import Gaussian
from vaebook.priors import StandardNormal
from vaebook.training import CsvLog, History, checkpoint_path, fit, pick_device
from vaebook.vae import VAE, Encoder, elbo_objective, iwae_objective, mlp_vae

nan = float("nan")
N, BATCH, EPOCHS = 23, 5, 3  # five steps an epoch, the last of three data
STEPS = 5 * EPOCHS


def make_pixels(n=N, seed=0):
    return torch.randint(0, 256, (n, 6), generator=seeded(seed), dtype=torch.uint8)


def make_model(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mlp_vae(6, 2, hidden=(8,))


everything = {  # every option whose state a checkpoint must hold
    "transform": dynamic_binarization,
    "validation": make_pixels(7, seed=1),
    "epochs": EPOCHS,
    "batch_size": BATCH,
    "lr": 0.01,
    "kl_warmup": 0.5,
    "ema": 0.9,
    "seed": 3,
    "device": "cpu",
    "amp": False,
}


def train(model, objective=elbo_objective, **changes):
    return fit(model, make_pixels(), objective, **{**everything, **changes})


class Probe:
    """An objective that notes every call, and calls `act` before the given training steps."""

    def __init__(self, act=None, at=(), objective=elbo_objective):
        self.act, self.at, self.objective = act, at, objective
        self.train, self.validation = [], []

    def __call__(self, model, x, generator, beta=1.0):
        record = {"x": x.clone(), "beta": beta, "grad": torch.is_grad_enabled(), "model": model}
        (self.train if model.training else self.validation).append(record)
        if model.training and len(self.train) in self.at:
            self.act()
        return self.objective(model, x, generator, beta)


def simple(values):
    """Make an objective of known values, that still depends on the weights."""

    def objective(model, x, generator, beta=1.0):
        bound = values(x, generator) + 0 * sum(p.sum() for p in model.parameters())
        return bound, {"double": 2 * bound}

    return objective


def assert_same_weights(one, other):
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def assert_same_history(one, other):
    for field in ("train", "validation", "learning_rate"):
        assert getattr(one, field) == getattr(other, field), field
    assert one.n_epochs == other.n_epochs


@pytest.fixture(scope="module")
def uninterrupted():
    model = make_model()
    return model, train(model)


# --- what it reaches --------------------------------------------------------------------------


def test_a_linear_vae_reaches_the_maximum_likelihood_of_ppca():
    truth = LinearGaussian(
        torch.randn(5, 2, generator=seeded(1), dtype=torch.float64), torch.zeros(5).double(), 0.2
    )
    x = truth.sample(400, seeded(2))
    best = LinearGaussian.fit(x, 2)
    likelihood = float(best.log_prob(x).mean())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VAE(
            Encoder(nn.Linear(5, 4)),
            nn.Linear(2, 5),
            Gaussian(math.sqrt(best.noise_var)),
            StandardNormal(2),
        ).double()
    untrained = float(model.elbo(x, seeded(0)).detach().mean())
    history = fit(
        model,
        x,
        elbo_objective,
        validation=x,
        epochs=150,
        batch_size=50,
        lr=0.03,
        device="cpu",
        amp=False,
    )
    learned = LinearGaussian(model.decoder.weight, model.decoder.bias, best.noise_var)
    assert likelihood - 0.02 < float(learned.log_prob(x).detach().mean()) <= likelihood
    with torch.no_grad():
        terms = model.elbo_terms(x, seeded(1), n_samples=200)
    bound = float((terms.reconstruction - terms.kl).mean())
    assert bound == pytest.approx(likelihood, abs=0.02)
    assert untrained < likelihood - 1  # there was something to learn
    assert history.validation["bound"][-1] == pytest.approx(likelihood, abs=0.1)
    assert history.validation["bound"][0] < likelihood - 1


class Point(nn.Module):
    """One parameter: the mean of a Gaussian of unit variance."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))


def log_likelihood(model, x, generator):
    bound = -0.5 * (x - model.mean).square().sum(-1)
    return bound, {"bound again": bound}


@pytest.mark.parametrize("ema", [None, 0.9])
def test_one_parameter_reaches_its_closed_form_optimum(ema):
    x = torch.randn(64, 2, generator=seeded(0)) + torch.tensor([2.0, -1.0])
    model = Point()
    fit(model, x, log_likelihood, epochs=60, batch_size=16, lr=0.1, ema=ema, device="cpu")
    torch.testing.assert_close(model.mean.detach(), x.mean(0), rtol=0, atol=0.02)


# --- exact resume -----------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[1], [4], [5], [6], [10], [14], [15], [2, 3, 9], [5, 10, 15]])
def test_an_interrupted_run_ends_in_the_same_weights_bit_for_bit(tmp_path, uninterrupted, steps):
    checkpoint = tmp_path / "deep" / "run.pt"
    n_seen = 0
    for step in steps:
        probe = Probe(lambda: signal.raise_signal(signal.SIGINT), at=[step - n_seen])
        with pytest.raises(KeyboardInterrupt):
            train(make_model(seed=n_seen), probe, checkpoint=checkpoint)
        n_seen += len(probe.train)
        assert n_seen == step  # it stopped after that very step, and repeated none
    model, probe = make_model(seed=77), Probe()
    history = train(model, probe, checkpoint=checkpoint)
    assert n_seen + len(probe.train) == STEPS
    assert_same_weights(model, uninterrupted[0])
    assert_same_history(history, uninterrupted[1])
    assert [file.name for file in checkpoint.parent.iterdir()] == ["run.pt"]


@pytest.mark.parametrize(
    "changes",
    [
        {"ema": None},
        {"schedule": "constant"},
        {"validation": None},
        {"kl_warmup": 0.0},
        {"transform": lambda x, generator: x / 255},
        {"amp": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_resume_is_exact_with_every_option(tmp_path, changes):
    whole = make_model()
    history = train(whole, **changes)
    probe = Probe(lambda: signal.raise_signal(signal.SIGINT), at=[8])
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), probe, checkpoint=tmp_path / "run.pt", **changes)
    resumed = make_model(seed=1)
    assert_same_history(train(resumed, checkpoint=tmp_path / "run.pt", **changes), history)
    assert_same_weights(resumed, whole)


ENDED = """
import os, sys
sys.path.insert(0, {folder!r})
import test_training as t
t.training.SECONDS_BETWEEN_SAVES = {seconds}
end = lambda: os.kill(os.getpid(), {number})
t.train(t.make_model(), t.Probe(end, at=[9]), checkpoint={checkpoint!r})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("name", "seconds", "n_saved"),
    [("SIGKILL", 0.0, 8), ("SIGTERM", 30.0, 9)],  # the one dies in its ninth step, the other after
)
def test_an_ended_run_resumes_bit_for_bit(tmp_path, uninterrupted, name, seconds, n_saved):
    checkpoint, number = tmp_path / "run.pt", int(signal.Signals[name])
    script = ENDED.format(
        folder=str(Path(__file__).parent),
        checkpoint=str(checkpoint),
        number=number,
        seconds=seconds,
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == -number, done.stderr
    model, probe = make_model(seed=5), Probe()
    history = train(model, probe, checkpoint=checkpoint)
    assert len(probe.train) == STEPS - n_saved
    assert_same_weights(model, uninterrupted[0])
    assert_same_history(history, uninterrupted[1])


class Dropout(nn.Module):
    """The usual model of these tests behind dropout, which draws from torch's own generator."""

    def __init__(self, seed=0):
        super().__init__()
        self.vae, self.dropout = make_model(seed), nn.Dropout(0.3)


class Augmented(Dataset):
    """Rows that are drawn anew each time they are asked for."""

    def __len__(self):
        return len(make_pixels())

    def __getitem__(self, i):
        return make_pixels()[i].roll(int(torch.randint(6, ())))


def dropped(model, x, generator):
    return elbo_objective(model.vae, model.dropout(x).clamp(max=1.0), generator)


@pytest.mark.parametrize(
    "data", [make_pixels(), [*make_pixels()], Augmented()], ids=["tensor", "list", "augmented"]
)
def test_a_resumed_run_draws_the_same_dropout_and_augmentation(tmp_path, data):
    options = {
        "transform": dynamic_binarization, "validation": make_pixels(), "epochs": 3,
        "batch_size": 5, "device": "cpu", "amp": False, "progress": False,
    }  # fmt: skip
    whole = Dropout()
    history = fit(whole, data, dropped, **options)
    for path, step in ((tmp_path / "a.pt", 2), (tmp_path / "b.pt", 7)):
        calls = itertools.count(1)

        def stop(x, generator, calls=calls, step=step):
            if torch.is_grad_enabled() and next(calls) == step:
                signal.raise_signal(signal.SIGINT)
            return dynamic_binarization(x, generator)

        with pytest.raises(KeyboardInterrupt):
            fit(Dropout(), data, dropped, checkpoint=path, **{**options, "transform": stop})
        resumed = Dropout(seed=1)
        assert_same_history(fit(resumed, data, dropped, checkpoint=path, **options), history)
        assert_same_weights(resumed, whole)


def test_convolutions_are_repeatable_while_training_alone():
    before, seen = torch.backends.cudnn.deterministic, []

    def objective(model, x, generator):
        seen.append(torch.backends.cudnn.deterministic)
        return log_likelihood(model, x, generator)

    fit(Point(), torch.zeros(4, 2), objective, epochs=1, device="cpu")
    assert all(seen)
    assert torch.backends.cudnn.deterministic == before


def test_processes_talk_every_second_or_few_steps(monkeypatch):
    assert training.Run.agree(SimpleNamespace(team=Team()), True, False) == (True, False)
    run = SimpleNamespace(team=Team(0, 2), step=0, next_talk=0, last_talk=(0, time.monotonic()))
    other = [(False, True), 0.0]
    monkeypatch.setattr(Team, "gather", lambda team, value: [value, other])
    assert training.Run.agree(run, False, False) == (False, True)
    assert run.next_talk == 16
    run.step = 15
    assert training.Run.agree(run, True, True) == (False, False)
    run.step, other[1] = 16, 0.3  # the other one takes longer to a step by now
    assert training.Run.agree(run, True, False) == (True, True)
    assert run.next_talk == 16 + 3
    run.step, other[1] = 19, 40.0
    assert training.Run.agree(run, False, False) == (False, True)
    assert run.next_talk == 20


def test_a_checkpoint_changes_nothing_and_a_finished_one_answers_at_once(tmp_path, uninterrupted):
    checkpoint = tmp_path / "run.pt"
    model = make_model()
    history = train(model, checkpoint=checkpoint)
    assert_same_weights(model, uninterrupted[0])
    again, probe = make_model(seed=9), Probe()
    assert vars(train(again, probe, checkpoint=checkpoint)) == vars(history)
    assert probe.train == probe.validation == []
    assert_same_weights(again, model)
    assert not again.training


def test_a_run_can_be_started_anew(tmp_path, uninterrupted):
    checkpoint = tmp_path / "run.pt"
    checkpoint.write_bytes(b"rubbish")
    model, probe = make_model(), Probe()
    train(model, probe, checkpoint=checkpoint, resume=False)
    assert len(probe.train) == STEPS
    assert_same_weights(model, uninterrupted[0])
    again = make_model(seed=1)
    train(again, checkpoint=checkpoint)
    assert_same_weights(again, model)


def test_the_state_is_saved_as_often_as_it_says(tmp_path, monkeypatch):
    saves = []
    save = training.Run.save
    monkeypatch.setattr(training.Run, "save", lambda run: saves.append(run.step) or save(run))
    train(make_model(), checkpoint=tmp_path / "run.pt")
    assert saves == [STEPS]  # it takes less than half a minute
    saves.clear()
    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", 0.0)
    train(make_model(), checkpoint=tmp_path / "run.pt", resume=False)
    assert saves == [*range(1, STEPS + 1), STEPS]


def test_ctrl_c_without_a_checkpoint_stops_after_the_step():
    probe = Probe(lambda: signal.raise_signal(signal.SIGINT), at=[3])
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), probe)
    assert len(probe.train) == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_the_last_validation_is_not_lost(tmp_path, uninterrupted):
    calls = itertools.count()

    def objective(model, x, generator, beta=1.0):
        if not model.training and next(calls) == EPOCHS + 1:  # behind the look at the first rows
            signal.raise_signal(signal.SIGINT)
        return elbo_objective(model, x, generator, beta)

    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        train(model, objective, checkpoint=tmp_path / "run.pt")
    assert_same_weights(model, uninterrupted[0])
    assert_same_history(train(make_model(), checkpoint=tmp_path / "run.pt"), uninterrupted[1])


# --- checkpoints of others --------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.02},
        {"epochs": 4},
        {"batch_size": 6},
        {"seed": 4},
        {"ema": 0.8},
        {"ema": None},
        {"schedule": "constant"},
        {"kl_warmup": 0.4},
        {"amp": True},
    ],
    ids=str,
)
def test_a_checkpoint_of_another_recipe_is_refused(tmp_path, changes):
    train(make_model(), checkpoint=tmp_path / "run.pt")
    model = make_model(seed=1)
    with pytest.raises(ValueError, match=r"^checkpoint: wanted one of this very run.*resume=False"):
        train(model, checkpoint=tmp_path / "run.pt", **changes)
    assert_same_weights(model, make_model(seed=1))


def test_a_checkpoint_of_other_data_or_another_model_is_refused(tmp_path):
    checkpoint = tmp_path / "run.pt"
    train(make_model(), checkpoint=checkpoint)
    other = make_pixels()
    other[4, 2] ^= 1  # one bit
    with pytest.raises(ValueError, match=r"^checkpoint: wanted one of this very run"):
        fit(make_model(), other, elbo_objective, checkpoint=checkpoint, **everything)
    with pytest.raises(ValueError, match=r"^checkpoint: wanted weights of this model"):
        train(mlp_vae(6, 3, hidden=(8,)), checkpoint=checkpoint)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"not a checkpoint"),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(b""),
        lambda path: torch.save(torch.zeros(3), path),
        lambda path: torch.save({"model": {}}, path),
    ],
    ids=["rubbish", "truncated", "empty", "tensor", "dictionary"],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, spoil):
    checkpoint = tmp_path / "run.pt"
    train(make_model(), checkpoint=checkpoint)
    spoil(checkpoint)
    with pytest.raises(ValueError, match=r"^checkpoint: wanted a file that such a run.*, got "):
        train(make_model(), checkpoint=checkpoint)


# --- a loss that is not finite ------------------------------------------------------------------


@pytest.mark.parametrize("bad", [nan, math.inf, -math.inf])
def test_the_first_step_whose_loss_is_not_finite_is_named(tmp_path, bad, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", 0.0)
    calls = itertools.count()

    def objective(model, x, generator, beta=1.0):
        bound, terms = elbo_objective(model, x, generator, beta)
        return bound + (bad if model.training and next(calls) == 6 else 0), terms

    model, checkpoint = make_model(), tmp_path / "run.pt"
    with pytest.raises(FloatingPointError, match=r"at step 6 \(epoch 2\).*run\.pt"):
        train(model, objective, checkpoint=checkpoint)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    resumed, probe = make_model(seed=1), Probe()
    train(resumed, probe, checkpoint=checkpoint)
    assert len(probe.train) == STEPS - 6


def test_a_checkpoint_that_was_never_written_is_not_promised(tmp_path):
    objective = simple(lambda x, generator: torch.full((len(x),), nan))
    with pytest.raises(FloatingPointError, match="at step 0") as error:
        train(make_model(), objective, checkpoint=tmp_path / "run.pt", validation=None)
    assert "run.pt" not in str(error.value)


def test_weights_that_blow_up_are_named_by_their_step():
    with pytest.raises(FloatingPointError, match=r"the loss became (nan|inf) at step \d+ "):
        train(make_model(), lr=1e30, schedule="constant", kl_warmup=0.0, epochs=20)


# --- what it does -----------------------------------------------------------------------------


def test_every_datum_is_seen_once_an_epoch_in_a_new_order():
    data = torch.arange(N).repeat(2, 1).T.contiguous()  # sorted, as classes are in some files
    runs = []
    for seed in (0, 0, 1):
        probe = Probe(objective=simple(lambda x, generator: x[:, 0].float()))
        fit(Point(), data, probe, epochs=3, batch_size=BATCH, seed=seed, device="cpu")
        sizes = [len(call["x"]) for call in probe.train]
        assert sizes == [5, 5, 5, 5, 3] * 3
        seen = torch.cat([call["x"][:, 0] for call in probe.train]).view(3, N)
        assert (seen.sort().values == torch.arange(N)).all()
        orders = [tuple(order.tolist()) for order in seen]
        assert len({*orders, tuple(range(N))}) == 4
        runs.append(orders)
    assert runs[0] == runs[1] != runs[2]


def test_history_weighs_the_last_batch_by_its_size():
    probe = Probe(objective=simple(lambda x, generator: x.sum(-1)))
    data = torch.rand(N, 2, generator=seeded(0)) * torch.arange(N)[:, None]
    validation = torch.rand(1003, 2, generator=seeded(1)) * torch.arange(1003)[:, None]
    history = fit(
        Point(), data, probe, validation=validation, epochs=2, batch_size=BATCH, device="cpu"
    )
    truth, held_out = float(data.sum(-1).mean()), float(validation.sum(-1).mean())
    assert history.train["bound"] == pytest.approx([truth] * 2, rel=1e-5)
    assert history.train["double"] == pytest.approx([2 * truth] * 2, rel=1e-5)
    assert history.validation["bound"] == pytest.approx([held_out] * 3, rel=1e-5)
    assert history.validation["double"] == pytest.approx([2 * held_out] * 3, rel=1e-5)
    assert history.n_epochs == 2


def test_history_gives_arrays(uninterrupted):
    history = uninterrupted[1]
    kl = history.array("train", "kl")
    assert isinstance(kl, np.ndarray)
    assert kl.shape == (EPOCHS,)
    assert history.array("validation", "reconstruction").shape == (EPOCHS + 1,)
    assert set(history.train) == set(history.validation) == {"bound", "reconstruction", "kl"}
    difference = history.array("validation", "reconstruction") - history.array("validation", "kl")
    np.testing.assert_allclose(history.array("validation", "bound"), difference, rtol=1e-5)
    assert len(history.seconds) == EPOCHS
    assert min(history.seconds) > 0


def test_validation_uses_the_same_noise_every_time_and_training_does_not():
    noise = simple(lambda x, generator: torch.randn(len(x), generator=generator))
    history = train(make_model(), noise, transform=None)
    assert len(set(history.validation["bound"])) == 1
    assert len(set(history.train["bound"])) == EPOCHS


def test_validation_neither_learns_nor_sees_a_reduced_beta(uninterrupted):
    probe = Probe()
    train(make_model(), probe)
    assert len(probe.validation) == EPOCHS + 3  # two are looks at the first rows of the data
    assert {call["beta"] for call in probe.validation} == {1.0}
    assert not any(call["grad"] for call in probe.validation)
    assert all(call["grad"] for call in probe.train)
    model = make_model()
    train(model, validation=None)
    assert_same_weights(uninterrupted[0], model)


@pytest.mark.parametrize(("kl_warmup", "n_rising"), [(0.0, 0), (0.4, 6), (1.0, 15), (0.1, 1.5)])
def test_beta_rises_linearly_over_the_fraction_asked_for(kl_warmup, n_rising):
    probe = Probe()
    train(make_model(), probe, kl_warmup=kl_warmup)
    expected = [min(1.0, step / n_rising) if n_rising else 1.0 for step in range(STEPS)]
    assert [call["beta"] for call in probe.train] == pytest.approx(expected)


def test_a_warmup_ends_at_the_objectives_own_weight():
    probe = Probe()
    weighted = functools.partial(probe, beta=3.0)
    train(make_model(), weighted, kl_warmup=0.4)
    assert [call["beta"] for call in probe.train] == pytest.approx(
        [3 * min(1.0, step / 6) for step in range(STEPS)]
    )
    assert {call["beta"] for call in probe.validation} == {3.0}


@pytest.mark.parametrize(
    "objective", [iwae_objective(2), lambda model, x, generator, beta: elbo_objective(model, x)]
)
def test_an_objective_without_a_weight_cannot_be_warmed_up(objective):
    model = make_model()
    with pytest.raises(ValueError, match=r"^objective: wanted one with a weight beta=1\.0 among"):
        train(model, objective, kl_warmup=0.5)
    assert_same_weights(model, make_model())


def rates_of(**changes):
    rates = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    try:
        history = train(make_model(), **changes)
    finally:
        hook.remove()
    return rates, history


def test_learning_rates_follow_one_cycle():
    rates, history = rates_of(lr=0.04)
    peak, start, end = 0.3 * STEPS - 1, 0.04 / 25, 0.04 / 25 / 1e4

    def cosine(left, right, share):
        return right + (left - right) / 2 * (1 + math.cos(math.pi * share))

    expected = [
        cosine(start, 0.04, t / peak)
        if t <= peak
        else cosine(0.04, end, (t - peak) / (STEPS - 1 - peak))
        for t in range(STEPS)
    ]
    assert rates == pytest.approx(expected)
    assert history.learning_rate[:-1] == pytest.approx([expected[5], expected[10]])
    assert history.learning_rate[-1] < 0.04 / 25


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_step_follows_the_mean_over_the_batch(batch_size):
    """Adam hides the scale of the loss, so the gradient itself is looked at."""
    gradients = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: gradients.append(optimizer.param_groups[0]["params"][0].grad.clone())
    )
    data = torch.tensor([[2.0, -1.0]]).repeat(8, 1)  # the same datum: no batch may matter
    try:
        fit(Point(), data, log_likelihood, epochs=1, batch_size=batch_size, device="cpu")
    finally:
        hook.remove()
    torch.testing.assert_close(gradients[0], torch.tensor([-2.0, 1.0]))


def test_the_constant_rate_is_constant():
    rates, history = rates_of(lr=0.04, schedule="constant")
    assert rates == [0.04] * STEPS
    assert history.learning_rate == [0.04] * EPOCHS


def test_a_single_step_is_a_whole_run():
    history = train(make_model(), epochs=1, batch_size=100, checkpoint=None)
    assert history.n_epochs == 1


def test_averaged_weights_are_those_worked_out_by_hand():
    model, averages, validated = make_model(), [], []

    def average(*_):
        weights = [p.detach().clone() for p in model.parameters()]
        if averages:
            weights = [0.9 * a + 0.1 * w for a, w in zip(averages[-1], weights, strict=True)]
        averages.append(weights)

    def objective(at, x, generator, beta=1.0):
        if not at.training:
            validated.append([p.detach().clone() for p in at.parameters()])
        return elbo_objective(at, x, generator, beta)

    start = [p.detach().clone() for p in model.parameters()]
    hook = register_optimizer_step_post_hook(average)
    try:
        train(model, objective)
    finally:
        hook.remove()
    assert len(averages) == STEPS
    for weight, expected in zip(model.parameters(), averages[-1], strict=True):
        torch.testing.assert_close(weight.detach(), expected)
    ends = [averages[4], averages[9], averages[14]]
    torch.testing.assert_close(validated, [start, start, *ends, averages[14]])
    last = make_model()
    train(last, ema=None)
    assert not torch.equal(last.decoder[0].weight, model.decoder[0].weight)


def in_units(unit):
    """The bound in other units: a factor is no reason to say something else."""

    def objective(model, x, generator, beta=1.0):
        bound, terms = elbo_objective(model, x, generator, beta)
        return unit * bound, {name: unit * term for name, term in terms.items()}

    return objective


@pytest.mark.parametrize("changes", [{}, {"ema": None, "kl_warmup": 0.0, "validation": None}])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_rate_that_ends_in_nonsense_is_told(unit, changes, recwarn):
    """Finite nonsense: before, such a run ended without a word."""
    history = train(make_model(), in_units(unit), lr=1e3, **changes)
    assert math.isfinite(history.train["bound"][-1])
    (warning,) = recwarn.list
    said = str(warning.message)
    assert said.startswith("training has lowered the objective of 5 of 5 data, on average from ")
    assert "Lower lr, which is 1000," in said
    assert warning.filename == __file__


@pytest.mark.parametrize("changes", [{}, {"lr": 1e-9}, {"lr": 0.3}, {"schedule": "constant"}])
def test_a_run_that_learns_or_stands_still_says_nothing(changes, recwarn):
    train(make_model(), **changes)
    assert recwarn.list == []


def test_a_trained_model_that_is_trained_on_is_not_called_worse(recwarn):
    """A few more steps move its bounds up and down; during a warm-up a bound is another one."""
    model = make_model()
    train(model, epochs=200, kl_warmup=0.0)
    for seed in range(5):
        train(model, epochs=2, kl_warmup=1.0, lr=1e-3, seed=seed)
    assert recwarn.list == []


def test_the_seed_alone_decides_the_run(uninterrupted):
    state = torch.get_rng_state()
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        again, other = make_model(), make_model()
        assert_same_history(train(again), uninterrupted[1])
        train(other, seed=4)
    assert_same_weights(again, uninterrupted[0])
    assert not torch.equal(other.decoder[0].weight, again.decoder[0].weight)
    before = torch.get_rng_state()
    train(make_model())
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(state, torch.get_rng_state())


def test_the_model_is_left_ready_to_be_used(uninterrupted):
    assert not uninterrupted[0].training
    tiny = torch.full((3,), 1e-310, dtype=torch.float64)
    assert (tiny * 0.5 > 0).all()  # denormals are flushed while training and not after


def test_it_runs_in_a_thread_that_receives_no_signals(uninterrupted, tmp_path):
    model, result = make_model(), []
    thread = threading.Thread(
        target=lambda: result.append(train(model, checkpoint=tmp_path / "run.pt"))
    )
    thread.start()
    thread.join(60)
    assert_same_history(result[0], uninterrupted[1])
    assert_same_weights(model, uninterrupted[0])


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("file", "disabled", "progress", "shown"),
    [
        (Terminal, None, True, True),
        (Terminal, "1", True, False),
        (Terminal, None, False, False),
    ],
    ids=["terminal", "TQDM_DISABLE", "progress=False"],
)
def test_a_bar_is_shown_on_a_terminal_only(monkeypatch, file, disabled, progress, shown):
    stream = file()
    monkeypatch.setattr(sys, "stderr", stream)
    if disabled:
        monkeypatch.setenv("TQDM_DISABLE", disabled)
    else:
        monkeypatch.delenv("TQDM_DISABLE", raising=False)
    train(make_model(), progress=progress)
    text = stream.getvalue()
    assert bool(text) == shown
    if shown:
        assert "epoch 3/3" in text
        assert "reconstruction=-" in text
        assert "kl=" in text


@pytest.mark.parametrize(("disabled", "n_lines"), [(None, EPOCHS), ("1", 0)])
def test_a_line_an_epoch_is_written_where_there_is_no_terminal(monkeypatch, disabled, n_lines):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    if disabled:
        monkeypatch.setenv("TQDM_DISABLE", disabled)
    history = train(make_model())
    lines = stream.getvalue().splitlines()
    assert len(lines) == n_lines
    for i, line in enumerate(lines):
        assert line.startswith(f"epoch {i + 1}/3: bound {history.train['bound'][i]:.2f}, ")
        assert f"validation bound {history.validation['bound'][i + 1]:.2f}; " in line


# --- devices and paths ------------------------------------------------------------------------


def test_the_fastest_device_is_picked(monkeypatch):
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert pick_device().type == expected
        assert pick_device("cpu").type == "cpu"
    assert pick_device(torch.device("cuda", 1)) == torch.device("cuda:1")


def test_mixed_precision_is_used_where_it_pays(monkeypatch):
    dtypes = []

    def objective(model, x, generator, beta=1.0):
        if model.training:
            dtypes.append(model.decoder[0](torch.zeros(1, 2)).dtype)
        bound, terms = elbo_objective(model, x, generator, beta)
        assert bound.dtype == torch.float32
        return bound, terms

    for pays, amp in itertools.product((True, False), ("auto", True, False)):
        found = {"avx512_bf16": pays}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        train(make_model(), objective, amp=amp, epochs=1)
        expected = pays if amp == "auto" else amp
        assert set(dtypes) == {torch.bfloat16 if expected else torch.float32}
        dtypes.clear()


def test_a_model_is_put_back_even_if_the_first_validation_fails():
    model, moves = make_model(), []
    model.to = lambda device: moves.append(device) or model

    def objective(model, x, generator, beta=1.0):
        raise RuntimeError("a fault in validation")

    with pytest.raises(RuntimeError, match="a fault in validation"):
        train(model, objective)
    assert len(moves) == 2  # there, and back


def test_bfloat16_is_left_to_processors_with_instructions_for_it():
    assert not training.bfloat16_pays(torch.device("cuda"))
    assert not training.bfloat16_pays(torch.device("mps"))


def test_checkpoints_lie_in_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEBOOK_CACHE", str(tmp_path))
    assert checkpoint_path("name") == tmp_path / "checkpoints" / "name.pt"
    with pytest.raises(ValueError, match="name: wanted a name without a folder"):
        checkpoint_path("../name")


def test_a_fit_without_gradients_says_so():
    with torch.no_grad(), pytest.raises(ValueError, match="fit: wanted gradients switched on"):
        fit(mlp_vae(4, 2, hidden=(3,)), torch.zeros(5, 4), elbo_objective, progress=False)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"data": torch.zeros(0, 6)}, "data"),
        ({"data": torch.zeros(6)}, "data"),
        ({"data": [[0.0] * 6]}, "data"),
        ({"data": np.zeros((0, 6))}, "data"),
        ({"data": np.array([["a", "b"]])}, "data"),
        ({"validation": torch.zeros(0, 6)}, "validation"),
        ({"validation": torch.zeros(4, 5)}, "validation"),
        ({"validation": torch.zeros(6)}, "validation"),
        ({"validation": [[0.0] * 6]}, "validation"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": 0.0}, "lr"),
        ({"lr": nan}, "lr"),
        ({"lr": math.inf}, "lr"),
        ({"schedule": "cosine"}, "schedule"),
        ({"kl_warmup": -0.1}, "kl_warmup"),
        ({"kl_warmup": 1.1}, "kl_warmup"),
        ({"kl_warmup": nan}, "kl_warmup"),
        ({"ema": 1.0}, "ema"),
        ({"ema": 0.0}, "ema"),
        ({"ema": nan}, "ema"),
        ({"seed": 0.5}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"lr": "1e-3"}, "lr"),
        ({"device": "abacus"}, "device"),
        ({"amp": "yes"}, "amp"),
        ({"objective": lambda m, x, g, beta=1.0: (m.elbo(x, g).mean(), {})}, "objective"),
        ({"objective": lambda m, x, g, beta=1.0: (m.elbo(x, g)[:, None], {})}, "objective"),
        ({"data": torch.full((5, 6), nan), "transform": None, "validation": None}, "data"),
        ({"data": torch.full((5, 6), 255.0), "transform": None, "validation": None}, "x"),
    ],
)
def test_bad_input_is_named(changes, argument):
    arguments = {"data": make_pixels(), "objective": elbo_objective, **everything, **changes}
    with pytest.raises(ValueError, match=rf"^{argument}: wanted .*, got "):
        fit(make_model(), **arguments)


def test_history_names_what_it_does_not_have():
    history = History(train={"kl": [1.0]})
    with pytest.raises(ValueError, match=r"^split: wanted one of 'train', 'validation'"):
        history.array("test", "kl")
    with pytest.raises(ValueError, match=r"^name: wanted one of 'kl', got 'bound'"):
        history.array("train", "bound")


# --- what may go wrong on the way ---------------------------------------------------------------


def test_damaged_weights_are_not_resumed_from(tmp_path):
    checkpoint = tmp_path / "run.pt"
    model = make_model()
    train(model, checkpoint=checkpoint)
    written = bytearray(checkpoint.read_bytes())
    weights = model.decoder[0].weight.detach().numpy().tobytes()
    written[written.index(weights) + 3] ^= 0x40  # an exponent bit
    checkpoint.write_bytes(written)
    with pytest.raises(ValueError, match=r"^checkpoint: wanted a file that such.*damaged in"):
        train(make_model(), checkpoint=checkpoint)


@pytest.mark.parametrize("missing", ["noise", "history", "optimizer"])
def test_an_incomplete_checkpoint_is_refused(tmp_path, missing):
    checkpoint = tmp_path / "run.pt"
    train(make_model(), checkpoint=checkpoint)
    state = torch.load(checkpoint)
    del state[missing]
    torch.save(state, checkpoint)
    with pytest.raises(ValueError, match=r"^checkpoint: wanted a file that such a run has written"):
        train(make_model(), checkpoint=checkpoint)


def test_a_checkpoint_of_another_likelihood_is_refused(tmp_path):
    def gaussian(std):
        return VAE(Encoder(nn.Linear(6, 4)), nn.Linear(2, 6), Gaussian(std), StandardNormal(2))

    options = {"transform": lambda x, generator: x / 255, "checkpoint": tmp_path / "run.pt"}
    train(gaussian(1.0), **options)
    before = (other := gaussian(0.5)).decoder.weight.clone()
    with pytest.raises(ValueError, match=r"^checkpoint: wanted weights of this model"):
        train(other, **options)
    assert torch.equal(other.decoder.weight, before)  # nothing was overwritten


def test_an_unwritable_path_is_noticed_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    probe = Probe()
    for path in (tmp_path / "file" / "run.pt", tmp_path):
        with pytest.raises(OSError, match=r"^checkpoint: .* cannot be written"):
            train(make_model(), probe, checkpoint=path)
    assert probe.train == probe.validation == []


def test_a_full_disk_costs_the_file_and_not_the_run(tmp_path, monkeypatch, uninterrupted):
    def full(state, file):
        file.write(b"half")
        raise RuntimeError("file write failed: no space left on device")

    monkeypatch.setattr(torch, "save", full)
    model = make_model()
    with (
        pytest.warns(UserWarning, match="training goes on"),
        pytest.raises(OSError, match=r"^checkpoint: .*run\.pt could not be written.*no space") as e,
    ):
        train(model, checkpoint=tmp_path / "run.pt")
    assert_same_weights(model, uninterrupted[0])
    assert_same_history(e.value.history, uninterrupted[1])
    assert list(tmp_path.iterdir()) == []
    assert not model.training


@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's list of open files")
def test_what_did_not_fit_leaves_no_open_file_that_keeps_the_disk_full(tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match=r"^checkpoint: .* could not be written") as kept:
            write(tmp_path / "run.pt", {"weights": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept.value.__traceback__  # as the run keeps it, to raise it at its end
    open_files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert not [name for name in open_files if str(tmp_path) in name]
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_written_costs_no_epoch(tmp_path, uninterrupted):
    log = CsvLog(tmp_path / "logs" / "history.csv")
    (tmp_path / "logs").rmdir()
    model = make_model()
    with pytest.warns(UserWarning, match=r"history\.csv was not written: .*training goes on"):
        train(model, callbacks=[log])
    assert_same_weights(model, uninterrupted[0])


def test_two_runs_do_not_write_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", 0.0)
    path = tmp_path / "run.pt"
    probe = Probe(lambda: path.write_bytes(b"of another run"), at=[7])
    with (
        pytest.warns(UserWarning, match="training goes on"),
        pytest.raises(OSError, match=r"another run has written .*run\.pt meanwhile"),
    ):
        train(make_model(), probe, checkpoint=path)
    assert path.read_bytes() == b"of another run"


def test_a_second_ctrl_c_acts_at_once():
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), probe := Probe(twice, at=[2]))
    assert len(probe.train) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_the_callers_data_stay_as_they_are():
    x = (torch.rand(N, 6, generator=seeded()) < 0.5).float().requires_grad_()
    fit(make_model(), x, elbo_objective, epochs=1, device="cpu")
    fit(make_model(), x * 1.0, elbo_objective, epochs=1, device="cpu")
    assert x.grad is None


def test_terms_are_one_value_a_datum_or_one_for_all():
    def objective(model, x, generator):
        return model.elbo(x, generator), {"one": torch.tensor(1.0), "bound": torch.zeros(len(x))}

    history = train(make_model(), objective, kl_warmup=0.0)
    assert history.train["one"] == history.validation["one"][1:] == [1.0] * EPOCHS
    assert history.train["bound"][0] < -1  # the bound is the bound
    wrong = lambda model, x, generator: (model.elbo(x, generator), {"two": torch.zeros(2)})  # noqa: E731
    with pytest.raises(ValueError, match=r"^objective: wanted a term 'two' of one value a datum"):
        train(make_model(), wrong, kl_warmup=0.0, validation=None)


def test_validation_can_be_asked_for_after_the_run(tmp_path, uninterrupted):
    train(make_model(), validation=None, checkpoint=tmp_path / "run.pt")
    history = train(make_model(), checkpoint=tmp_path / "run.pt")
    assert history.validation["bound"] == uninterrupted[1].validation["bound"][-1:]


def test_more_epochs_at_a_constant_rate_continue_a_run(tmp_path):
    options = {"schedule": "constant", "kl_warmup": 0.0}
    whole = make_model()
    history = train(whole, **options)
    train(make_model(), **options, epochs=1, checkpoint=tmp_path / "run.pt")
    longer, probe = make_model(seed=1), Probe()
    assert_same_history(train(longer, probe, **options, checkpoint=tmp_path / "run.pt"), history)
    assert len(probe.train) == STEPS - 5
    assert_same_weights(longer, whole)


def test_dropout_is_seeded_and_resumed(tmp_path):
    def make():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 4))
            return VAE(Encoder(network), nn.Linear(2, 6), Gaussian(), StandardNormal(2))

    options = {"transform": lambda x, generator: x / 255}
    histories = []
    for elsewhere in (1, 2):
        torch.manual_seed(elsewhere)
        histories.append(train(make(), **options))
    assert_same_history(*histories)
    probe = Probe(lambda: signal.raise_signal(signal.SIGINT), at=[8])
    with pytest.raises(KeyboardInterrupt):
        train(make(), probe, checkpoint=tmp_path / "run.pt", **options)
    torch.manual_seed(3)
    resumed = train(make(), checkpoint=tmp_path / "run.pt", **options)
    assert_same_history(resumed, histories[0])


def test_a_checkpoint_of_another_device_is_continued_with_new_noise(tmp_path):
    checkpoint = tmp_path / "run.pt"
    probe = Probe(lambda: signal.raise_signal(signal.SIGINT), at=[8])
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), probe, checkpoint=checkpoint)
    state = torch.load(checkpoint)
    gpu = [torch.zeros(16, dtype=torch.uint8), torch.get_rng_state(), torch.zeros(16)]
    torch.save({**state, "noise": [gpu]}, checkpoint)
    assert train(make_model(), checkpoint=checkpoint).n_epochs == EPOCHS


def test_denormals_are_flushed_afterwards_if_they_were_before():
    torch.set_flush_denormal(True)
    try:
        train(make_model())
        assert float(torch.full((1,), 5e-324, dtype=torch.float64) * 1) == 0
    finally:
        torch.set_flush_denormal(False)


def test_one_step_takes_the_learning_rate_that_was_asked_for():
    model, before = make_model(), make_model()
    history = train(model, epochs=1, batch_size=N, lr=0.01, ema=None, kl_warmup=0.0)
    moved = max(
        float((a - b).detach().abs().max())
        for a, b in zip(model.parameters(), before.parameters(), strict=True)
    )
    assert moved == pytest.approx(0.01, rel=1e-3)  # Adam's first step
    assert history.learning_rate == [0.01]


@pytest.mark.parametrize("of_what", [np.asarray, lambda x: x.numpy().astype(np.float64)])
def test_arrays_train_as_tensors_do(of_what):
    x = (torch.rand(N, 6, generator=seeded()) < 0.5).float()
    models = make_model(), make_model()
    for model, data in zip(models, (x, of_what(x)), strict=True):
        fit(model, data, elbo_objective, validation=data, epochs=2, device="cpu", amp=False)
    assert_same_weights(*models)


def test_bfloat16_trains():
    model = mlp_vae(6, 2, (8,), Gaussian()).bfloat16()
    fit(model, torch.randn(N, 6).bfloat16(), elbo_objective, epochs=1, device="cpu", amp=False)
    assert model.decoder[0].weight.dtype == torch.bfloat16


def test_a_model_without_anything_to_train_is_refused():
    frozen = make_model().requires_grad_(False)
    for model in (frozen, nn.Identity()):
        with pytest.raises(ValueError, match=r"^model: wanted a module with parameters to train"):
            train(model, kl_warmup=0.0)


# --- callbacks ----------------------------------------------------------------------------------


def test_training_ends_when_validation_no_longer_improves(tmp_path):
    def worse(model, x, generator):
        bound = model.elbo(x, generator)
        return bound - (0 if model.training else next(calls)), {}

    calls = itertools.count()
    options = {
        "epochs": 50, "kl_warmup": 0.0, "callbacks": [training.EarlyStopping(3)],
        "checkpoint": tmp_path / "run.pt",
    }  # fmt: skip
    assert train(make_model(), worse, **options).n_epochs == 3
    probe = Probe()
    assert train(make_model(), probe, **options).n_epochs == 3  # it has ended, and stays so
    assert probe.train == []
    with pytest.raises(ValueError, match=r"^validation: wanted held-out data"):
        train(make_model(), callbacks=[training.EarlyStopping()], validation=None)


def test_every_callback_sees_every_epoch():
    seen = []
    callbacks = [lambda h: seen.append(h.n_epochs) or h.n_epochs == 2, lambda h: seen.append("b")]
    train(make_model(), callbacks=callbacks)
    assert seen == [1, "b", 2, "b"]


def test_the_history_is_written_as_a_table(tmp_path, uninterrupted):
    path = tmp_path / "logs" / "history.csv"
    train(make_model(), callbacks=[training.CsvLog(path)])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    for split in ("train", "validation"):
        for name, values in getattr(uninterrupted[1], split).items():
            written = [row[f"{split}_{name}"] for row in rows]
            assert [float(v) for v in written if v] == values
    assert rows[0]["train_bound"] == rows[0]["seconds"] == ""
    with pytest.raises(OSError, match=r"^path: .* cannot be written"):
        training.CsvLog(path / "below.csv")
