r"""Generative adversarial networks: a sampler trained against a critic, with no density at all.

A `GAN` answers one question, ``sample``, and is *implicit* in the book's taxonomy. It has no
``log_prob``, because nothing in it computes one::

    gan = mlp_gan(2, n_latents=2, hidden=(64, 64), output="real")
    history = fit_gan(gan, points, epochs=50)
    gan.sample(1000, generator)

Data are rows of numbers, shape (batch, n_pixels). Losses are cross-entropies in nats, one a datum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, check_in, fail
from vaebook.distributed import Team, join
from vaebook.networks import check_input, mlp
from vaebook.rows import Rows, as_rows
from vaebook.training import (
    Callback,
    History,
    Recipe,
    Run,
    Transform,
    Watch,
    average_of,
    check_recipe,
    checkpoint_file,
    deferred_stop,
    on_device,
    own_arithmetic,
    pick_device,
    run_epochs,
    unchanged,
)

# --- the losses -------------------------------------------------------------------------------


def discriminator_loss(
    real_logits: Float[Tensor, " n"], fake_logits: Float[Tensor, " m"]
) -> Float[Tensor, ""]:
    r"""Cross-entropy of telling data from samples; minus the value of the game.

    Equation ``def-gan-value`` of the book, with its sign turned:
    :math:`-\mathbb E[\log D(x)] - \mathbb E[\log(1 - D(G(z)))]`, where D is the logistic function
    of the logit.

    Parameters
    ----------
    real_logits, fake_logits
        The discriminator's answers to data and to samples, shapes (n,) and (m,).

    Returns
    -------
    Tensor
        The loss in nats: :math:`\log 4` for a discriminator that cannot tell.
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_loss(fake_logits: Float[Tensor, " m"], saturating: bool = False) -> Float[Tensor, ""]:
    r"""Loss of the generator, from the discriminator's answers to its samples.

    Equation ``def-generator-losses`` of the book.

    Parameters
    ----------
    fake_logits
        The discriminator's answers, shape (m,), differentiable in the generator's weights.
    saturating
        False: :math:`-\mathbb E[\log D(G(z))]`, the loss that is used. True:
        :math:`\mathbb E[\log(1 - D(G(z)))]`, the generator's part of the value, whose gradient
        vanishes when the discriminator is sure.

    Returns
    -------
    Tensor
        The loss in nats.
    """
    return -F.softplus(fake_logits).mean() if saturating else F.softplus(-fake_logits).mean()


# --- the model --------------------------------------------------------------------------------


class GAN(nn.Module):
    r"""Generative adversarial network [1]_: samples are :math:`G(z)` with :math:`z \sim N(0, I)`.

    Equation ``def-generator`` of the book. The discriminator serves training alone.

    Parameters
    ----------
    generator_network
        Module from noise, shape (n, n_latents), to samples, shape (n, n_pixels).
    discriminator_network
        Module from data or samples to one logit each, shape (n, 1): positive for data.
    n_latents
        Dimension of the noise.

    References
    ----------
    .. [1] I. Goodfellow et al. (2014), Generative adversarial nets, NeurIPS.
    """

    def __init__(
        self, generator_network: nn.Module, discriminator_network: nn.Module, n_latents: int
    ) -> None:
        super().__init__()
        check_at_least("n_latents", n_latents, 1)
        self.generator_network = generator_network
        self.discriminator_network = discriminator_network
        self.n_latents = n_latents

    def forward(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n pixels"]:
        """Draw `n` samples, differentiable in the weights of the generator network."""
        weight = next(self.generator_network.parameters())
        return self.generator_network(
            weight.new_empty(n, self.n_latents).normal_(generator=generator)
        )

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n pixels"]:
        """Draw new data.

        Parameters
        ----------
        n
            How many, at least 1.
        generator
            Source of the noise, on the model's device; torch's own if None.

        Returns
        -------
        Tensor
            Samples as rows, shape (n, n_pixels).

        Raises
        ------
        ValueError
            If `n` is no positive integer.
        """
        check_at_least("n", n, 1)
        with torch.no_grad():
            return self(n, generator)

    def logit(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, " batch"]:
        r"""Discriminator's log-odds that each row of `x` is a datum and no sample.

        At the optimum it is :math:`\log p_{\text{data}}(x) - \log p_{\text{model}}(x)` (equation
        ``eq-optimal-logit`` of the book).
        """
        check_input("x", self.discriminator_network, x)
        logits: Tensor = self.discriminator_network(x)
        if logits.shape != (len(x), 1):
            fail("discriminator_network", f"one logit a row, ({len(x)}, 1)", tuple(logits.shape))
        return logits.squeeze(1)


def mlp_gan(
    n_pixels: int = 784,
    n_latents: int = 20,
    hidden: Sequence[int] = (400,),
    output: str = "pixels",
) -> GAN:
    """GAN of perceptrons, the discriminator the generator's mirror image.

    Parameters
    ----------
    n_pixels, n_latents
        Dimensions of the data and of the noise.
    hidden
        Widths of the generator's hidden layers.
    output
        ``"pixels"``: samples in (0, 1); ``"real"``: any numbers.

    Returns
    -------
    GAN
        The model, untrained.
    """
    check_in("output", output, ("pixels", "real"))
    network = mlp(n_latents, n_pixels, hidden)
    if output == "pixels":
        network.append(nn.Sigmoid())
    return GAN(network, mlp(n_pixels, 1, hidden[::-1]), n_latents)


# --- training ---------------------------------------------------------------------------------


def fit_gan(
    gan: GAN,
    data: Any,
    *,
    transform: Transform | None = None,
    epochs: int = 10,
    batch_size: int = 256,
    lr: float = 1e-3,
    ema: float | None = 0.999,
    seed: int = 0,
    device: str | torch.device = "auto",
    checkpoint: str | Path | None = None,
    resume: bool = True,
    callbacks: Sequence[Callback] = (),
    record: bool = True,
    progress: bool = True,
) -> History:
    """Train both networks in turn by Adam: one step of the discriminator, one of the generator.

    :func:`vaebook.training.fit` raises one objective. Here are two, and neither network's gain is
    progress by itself, so there is no validation and no best epoch.

    Parameters
    ----------
    gan
        The model; trained in place on `device`, then put back where it was.
    data
        Training data, shape (n, n_pixels), of any kind that :func:`~vaebook.training.fit` takes.
    transform
        Called as ``transform(batch, generator)`` on every batch of data.
    epochs, batch_size
        Passes over the data, and data (and samples) in a step.
    lr
        Learning rate at the start; it falls to zero linearly.
    ema
        Decay of an exponential moving average of the generator's weights, which replaces the last
        ones at the end. The two networks circle around each other; the average lies closer to the
        centre. None for none.
    seed
        Seeds the order of the data and the noise; the same seed gives the same run.
    device
        ``"auto"``, or any device of PyTorch.
    checkpoint, resume, callbacks
        As for :func:`~vaebook.training.fit`: a file to which the whole game is written, and from
        which it goes on where it was; what is called after every epoch.
    record
        On a GPU, record each network's part of a step as a CUDA graph once and replay it; what
        `transform` decides in Python is then decided once.
    progress
        Show a bar with both losses on a terminal or in a live notebook, elsewhere a line an epoch.

    Returns
    -------
    History
        Averages over each epoch of both losses, ``train["discriminator"]`` and
        ``train["generator"]``, in nats a datum.

    Raises
    ------
    ValueError
        If an argument is unusable, the checkpoint belongs to another run, or ``torchrun`` started
        several processes, which cannot share a game.
    FloatingPointError
        At the first step with a loss that is not finite: the step is named, and the last checkpoint
        is kept. On a GPU, where looking at a loss would wait for it, training stands still from
        that step on, and says so at the next look.
    OSError
        If the checkpoint cannot be written.
    """
    check_recipe(epochs, batch_size, lr, ema, seed)
    team, target = join(pick_device(device))
    if team.size > 1:
        fail("fit_gan", "one process: the two players are not shared out", f"{team.size} processes")
    rows = as_rows(data, target, next(gan.parameters()).dtype)
    recipe = Recipe(epochs, batch_size, lr, "linear", 0.0, ema, seed, mixed=False)
    path = checkpoint_file(checkpoint, team)
    with on_device(gan, target), own_arithmetic(target, seed + 2), deferred_stop() as stop:
        game = _Game(gan, rows, transform or unchanged, recipe, path, team, target, record)
        if resume:
            game.load()
        run_epochs(game, take_turns, stop, callbacks, progress)
    game.raise_what_waits(stop)
    return game.history


def take_turns(game: _Game, batch: Tensor) -> None:
    """One step of Adam for the discriminator, then one for the generator."""
    for player in game.players:
        player.find_gradient(batch)
        player.optimizer.step()
        player.scheduler.step()
    game.end_step()


class _Game(Run):
    """A run of two players, each with a loss of its own."""

    losses_a_step = 2

    def __init__(
        self,
        gan: GAN,
        rows: Rows,
        transform: Transform,
        recipe: Recipe,
        path: Path | None,
        team: Team,
        device: torch.device,
        record: bool,
    ) -> None:
        super().__init__(gan, rows, recipe, path, team, device, record)
        self.averaged = average_of(gan.generator_network, recipe.ema)

        def loss_of_discriminator(batch: Tensor) -> Tensor:
            x = transform(batch, self.noise)
            fake = gan.sample(len(x), self.noise)  # no gradient to the generator in this turn
            return discriminator_loss(gan.logit(x), gan.logit(fake))

        def loss_of_generator(batch: Tensor) -> Tensor:
            return generator_loss(gan.logit(gan(len(batch), self.noise)))

        discriminator, generator = self.players = (
            _Player("discriminator", gan.discriminator_network, loss_of_discriminator, self),
            _Player("generator", gan.generator_network, loss_of_generator, self),
        )
        self.watch = Watch([player.optimizer for player in self.players], device)
        self.scheduler = generator.scheduler  # which is the discriminator's, too
        self.parts = {
            "model": gan,
            "discriminator": discriminator.optimizer,
            "generator": generator.optimizer,
            "discriminator_scheduler": discriminator.scheduler,
            "generator_scheduler": generator.scheduler,
        }


class _Player:
    """One of the two networks, its loss, and the optimizer that lowers it."""

    def __init__(
        self, name: str, network: nn.Module, loss_of: Callable[[Tensor], Tensor], game: _Game
    ) -> None:
        parameters = list(network.parameters())
        self.optimizer = torch.optim.Adam(
            parameters, game.recipe.lr, betas=(0.5, 0.999), fused=True
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: 1 - step / game.n_steps
        )

        def find_gradient(batch: Tensor) -> None:
            loss = loss_of(batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward(inputs=parameters)  # of this network alone
            game.add_up(loss, {name: loss.detach().to(game.sum_dtype) * len(batch)})

        self.find_gradient = game.recorded(find_gradient, parameters)
