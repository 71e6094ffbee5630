"""The adversarial network: its losses, its sampler, and its training loop."""

import itertools
import math
import signal

import numpy as np
import pytest
import torch
from torch import nn

from tests.common import seeded
from vaebook.data import dynamic_binarization, toy_density
from vaebook.distributed import Team
from vaebook.gan import GAN, discriminator_loss, fit_gan, generator_loss, mlp_gan
from vaebook.networks import mlp
from vaebook.taxonomy import BoundedDensity, Sampler, TractableDensity
from vaebook.training import CsvLog

nan = float("nan")


def make(seed=0, hidden=(16,), **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mlp_gan(2, 2, hidden, **{"output": "real", **options})


POINTS = toy_density("eight_gaussians").sample(500, seeded())


# --- the losses


def test_losses_against_torch():
    real, fake = torch.randn(2, 50, generator=seeded())
    bce = nn.BCEWithLogitsLoss()
    expected = bce(real, torch.ones(50)) + bce(fake, torch.zeros(50))
    torch.testing.assert_close(discriminator_loss(real, fake), expected)
    torch.testing.assert_close(generator_loss(fake), bce(fake, torch.ones(50)))
    torch.testing.assert_close(generator_loss(fake, saturating=True), -bce(fake, torch.zeros(50)))


def test_losses_of_a_discriminator_that_cannot_tell():
    nothing = torch.zeros(7)
    assert discriminator_loss(nothing, nothing[:3]).item() == pytest.approx(math.log(4))
    assert generator_loss(nothing).item() == pytest.approx(math.log(2))


def test_losses_of_a_discriminator_beyond_doubt_are_finite():
    sure = torch.tensor([1e4])
    assert discriminator_loss(sure, -sure) == 0
    assert generator_loss(-sure) == 1e4


# --- the model


def test_only_samples():
    gan = make()
    claimed = [p for p in (Sampler, TractableDensity, BoundedDensity) if isinstance(gan, p)]
    assert claimed == [Sampler]


def test_sample_is_the_transformed_noise():
    gan = make()
    noise = torch.randn(5, 2, generator=seeded(3))
    x = gan.sample(5, seeded(3))
    torch.testing.assert_close(x, gan.generator_network(noise).detach())
    assert not x.requires_grad
    assert gan(5, seeded(3)).requires_grad
    assert gan.double().sample(2).dtype == torch.float64


def test_pixels_lie_between_zero_and_one():
    gan = mlp_gan(9, 3, (8,))
    with torch.no_grad():
        gan.generator_network[-2].bias.copy_(torch.linspace(-40, 40, 9))
    x = gan.sample(10, seeded())
    assert x.shape == (10, 9)
    assert x.min() >= 0
    assert x.max() <= 1
    assert x.std(1).min() > 0.4  # the sigmoid is the last layer


@pytest.mark.parametrize("x", [torch.zeros(3, 784, dtype=torch.float64), torch.zeros(3, 64)])
def test_the_logit_refuses_what_its_network_does_not_take(x):
    with pytest.raises(ValueError, match="x: wanted"):
        mlp_gan().logit(x)


def test_the_logit_is_one_number_a_row():
    gan = make()
    torch.testing.assert_close(gan.logit(POINTS)[:, None], gan.discriminator_network(POINTS))
    with pytest.raises(ValueError, match=r"discriminator_network: wanted one logit a row, \(500"):
        GAN(mlp(2, 2), mlp(2, 2), 2).logit(POINTS)


def test_the_mirror_image():
    gan = mlp_gan(9, 3, (8, 5))

    def shapes(network):
        return [tuple(m.weight.shape) for m in network if isinstance(m, nn.Linear)]

    assert shapes(gan.generator_network) == [(8, 3), (5, 8), (9, 5)]
    assert shapes(gan.discriminator_network) == [(5, 9), (8, 5), (1, 8)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make().sample(0), "n: wanted an integer of at least 1, got 0"),
        (lambda: GAN(mlp(2, 2), mlp(2, 1), 0), "n_latents: wanted an integer of at least 1"),
        (lambda: mlp_gan(2, 2, output="grey"), "output: wanted one of 'pixels', 'real'"),
        (lambda: mlp_gan(0), "n_out: wanted an integer of at least 1"),
    ],
)
def test_bad_models(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- training


def test_training_brings_the_samples_to_the_data():
    toy, gan = toy_density("eight_gaussians"), make(hidden=(64, 64))
    history = fit_gan(gan, toy.sample(10_000, seeded()), epochs=3, batch_size=128, lr=0.01, ema=0.9)
    x = gan.sample(4000, seeded(1))
    distance, mode = torch.cdist(x, toy.centres).min(1)
    assert (distance < 1).float().mean() > 0.85
    shares = mode.bincount(minlength=8) / len(x)
    assert shares.min() > 0.03
    # close to the losses of a discriminator that cannot tell
    assert history.train["discriminator"][-1] == pytest.approx(math.log(4), abs=0.15)
    assert history.train["generator"][-1] == pytest.approx(math.log(2), abs=0.15)


def test_history_and_the_order_of_things():
    gan = make()
    gan.train()
    history = fit_gan(gan, POINTS[:10], epochs=2, batch_size=4, lr=0.3)
    assert history.n_epochs == len(history.array("train", "generator")) == 2
    assert history.learning_rate == [pytest.approx(0.15), pytest.approx(0.0)]
    assert not gan.training


def one_step(generator, discriminator, **options):
    """Losses of one step on eight data, of one linear layer each, with the CPU's draws."""
    gan = GAN(generator, discriminator, 1)
    history = fit_gan(gan, POINTS[:8, :1], epochs=1, batch_size=8, device="cpu", **options)
    return history.train["discriminator"][0], history.train["generator"][0]


def test_first_losses_by_hand():
    networks = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        for network, weight, bias in zip(networks, (2.0, -0.5), (1.0, 0.3), strict=True):
            network.weight.fill_(weight)
            network.bias.fill_(bias)
    g = seeded(6)
    first, second = (torch.randn(8, 1, generator=g) for _ in range(2))  # fresh noise for each turn
    loss_d, loss_g = one_step(*networks, seed=5, ema=None, lr=1e-9)  # too small a step to matter
    real, fake = (0.3 - 0.5 * x for x in (POINTS[:8, 0], 2 * first[:, 0] + 1))
    assert loss_d == pytest.approx(discriminator_loss(real, fake).item(), rel=1e-5)
    fake = 0.3 - 0.5 * (2 * second[:, 0] + 1)
    assert loss_g == pytest.approx(generator_loss(fake).item(), rel=1e-5)


def test_each_network_lowers_its_own_loss():
    gan, probe = make(), POINTS[:100]
    before = gan.logit(gan.sample(4000, seeded(1))).mean(), gan.logit(probe).mean()
    discriminator = {k: v.clone() for k, v in gan.discriminator_network.state_dict().items()}
    fit_gan(gan, POINTS, epochs=1, batch_size=50, lr=1e-3, ema=None)
    trained = gan.discriminator_network
    fixed = make().discriminator_network
    fixed.load_state_dict(discriminator)
    with torch.no_grad():
        # the discriminator tells better than before ...
        gap = trained(probe).mean() - trained(make().sample(4000, seeded(1))).mean()
        assert gap > before[1] - before[0]


def test_the_generator_turns_towards_the_discriminator():
    gan = GAN(nn.Linear(1, 1), nn.Linear(1, 1), 1)
    with torch.no_grad():
        gan.discriminator_network.weight.fill_(1.0)  # to the right there are data
    mean = gan.generator_network.bias.item()
    fit_gan(gan, POINTS[:8, :1] + 5, epochs=1, batch_size=8, lr=0.01, ema=None)
    assert gan.generator_network.bias.item() == pytest.approx(mean + 0.01, abs=1e-4)


def test_the_same_seed_gives_the_same_run_and_leaves_torch_alone():
    runs, state = [], torch.get_rng_state()
    for seed in (0, 0, 1):
        gan = make()
        history = fit_gan(gan, POINTS, epochs=2, seed=seed, transform=lambda x, g: x)
        runs.append((gan.sample(3, seeded()), history.train))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not torch.equal(runs[0][0], runs[2][0])


def test_the_averaged_weights_lag_behind():
    plain, averaged, start = make(), make(), make().generator_network[0].weight
    fit_gan(plain, POINTS, epochs=2, batch_size=50, ema=None)
    fit_gan(averaged, POINTS, epochs=2, batch_size=50, ema=0.9)
    moved = [(m.generator_network[0].weight - start).norm().item() for m in (averaged, plain)]
    assert 0 < moved[0] < moved[1]
    # the average is no part of the game: the discriminator has seen the same samples
    for a, b in zip(
        *(m.discriminator_network.parameters() for m in (plain, averaged)), strict=True
    ):
        assert torch.equal(a, b)


def test_transform_draws_anew():
    pixels = torch.full((64, 9), 128, dtype=torch.uint8)
    seen = []

    def transform(x, generator):
        seen.append(dynamic_binarization(x, generator))
        return seen[-1]

    fit_gan(mlp_gan(9, 3, (8,)), pixels, transform=transform, epochs=2, batch_size=64)
    assert len(seen) == 2
    assert not torch.equal(*seen)


def test_no_bar_where_none_is_wanted(capsys, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    fit_gan(make(), POINTS, epochs=1)
    monkeypatch.delenv("TQDM_DISABLE")
    fit_gan(make(), POINTS, epochs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_a_loss_that_is_not_finite_names_its_step():
    data = POINTS.clone()
    data[torch.randperm(len(data), generator=seeded(0))[-1]] = 1e6  # in the last batch of five

    def spoil(x, generator):
        return x.where(x < 1e5, nan)

    gan = make()
    with pytest.raises(FloatingPointError, match=r"the loss became nan at step 4 "):
        fit_gan(gan, data, transform=spoil, epochs=1, batch_size=100)
    assert not gan.training  # handed back as after a run that ends well
    assert torch.isfinite(gan.sample(9)).all()  # with the weights from before that step


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": 1.0}, "data: wanted a tensor of at least one row, or .*, got float"),
        ({"data": POINTS * nan}, "data: wanted finite numbers, got nan in row 0"),
        ({"data": POINTS[:0]}, "data: wanted a tensor of at least one row"),
        ({"data": POINTS[0]}, "data: wanted rows: two dimensions or more"),
        ({"epochs": 0}, "epochs: wanted an integer of at least 1"),
        ({"batch_size": 0}, "batch_size: wanted an integer of at least 1"),
        ({"seed": -1}, "seed: wanted an integer of at least 0"),
        ({"lr": nan}, "lr: wanted a positive number, got nan"),
        ({"lr": 0.0}, "lr: wanted a positive number"),
        ({"ema": 1.0}, "ema: wanted a decay between 0 and 1, or None, got 1.0"),
        ({"device": "abacus"}, "device: wanted 'auto' or a device"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"data": POINTS, "epochs": 1, **change}
    with pytest.raises(ValueError, match=message):
        fit_gan(make(), **arguments)


# --- saved and continued


def stopping_at(step, transform=lambda x, generator: x):
    """Return a transform that sends Ctrl-C in its `step`-th call."""
    calls = itertools.count(1)

    def call(x, generator):
        if next(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return transform(x, generator)

    return call


def play(gan, **changes):
    options = {"epochs": 3, "batch_size": 100, "ema": 0.9, "lr": 0.01, "progress": False}
    history = fit_gan(gan, POINTS, device="cpu", **{**options, **changes})
    return torch.cat([p.detach().flatten() for p in gan.parameters()]), history


@pytest.mark.parametrize("step", [1, 5, 8, 15])
def test_an_interrupted_game_goes_on_bit_for_bit(tmp_path, step):
    weights, history = play(make())
    path = tmp_path / "game.pt"
    with pytest.raises(KeyboardInterrupt):
        play(make(), transform=stopping_at(step), checkpoint=path)
    resumed, went_on = play(make(seed=1), checkpoint=path)
    assert torch.equal(resumed, weights)
    assert went_on.train == history.train
    assert went_on.learning_rate == history.learning_rate


def test_a_game_goes_on_with_its_own_checkpoint_alone(tmp_path):
    path = tmp_path / "game.pt"
    weights, _ = play(make(), checkpoint=path)
    for changes in ({"lr": 0.02}, {"ema": 0.8}, {"epochs": 4}):
        with pytest.raises(ValueError, match=r"^checkpoint: wanted one of this very run"):
            play(make(), checkpoint=path, **changes)
    with pytest.raises(ValueError, match=r"^checkpoint: wanted weights of this model"):
        play(make(hidden=(8,)), checkpoint=path)
    again, _ = play(make(seed=1), checkpoint=path, resume=False)
    assert not torch.equal(again, weights)
    assert torch.equal(play(make(), checkpoint=path)[0], again)


def test_callbacks_see_both_losses_and_can_end_the_game(tmp_path):
    seen = []
    log = CsvLog(tmp_path / "history.csv")
    _, history = play(
        make(), callbacks=[log, lambda h: seen.append(dict(h.train)) or len(seen) == 2]
    )
    assert history.n_epochs == len(seen) == 2
    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    assert header == "epoch,seconds,learning_rate,train_discriminator,train_generator"
    assert len(rows) == 3


def test_a_game_is_not_shared_out(monkeypatch):
    monkeypatch.setattr("vaebook.gan.join", lambda device: (Team(0, 2), device))
    with pytest.raises(ValueError, match=r"^fit_gan: wanted one process.*got 2 processes"):
        play(make())


def test_a_file_trains_as_a_tensor_does(tmp_path):
    np.save(tmp_path / "points.npy", POINTS.numpy())
    gan = make()
    fit_gan(gan, np.load(tmp_path / "points.npy", mmap_mode="r"), epochs=1, device="cpu")
    same = make()
    fit_gan(same, POINTS, epochs=1, device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(gan.parameters(), same.parameters(), strict=True))
