r"""Generative adversarial networks: a sampler trained against a critic, with no density at all.

A `GAN` answers one question, ``sample``, and is *implicit* in the book's taxonomy. It has no
``log_prob``, because nothing in it computes one::

    gan = mlp_gan(2, n_latents=2, hidden=(64, 64), output="real")
    history = fit_gan(gan, points, epochs=50)
    gan.sample(1000, generator)

Data are rows of numbers, shape (batch, n_pixels). Losses are cross-entropies in nats, one a datum.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, check_in, fail
from vaebook.networks import check_input, mlp
from vaebook.recorded import Recorded
from vaebook.rows import Batches, as_rows
from vaebook.training import (
    History,
    Transform,
    Watch,
    average_of,
    check_recipe,
    on_device,
    on_gpu,
    pick_device,
    progress_bar,
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
    data: Tensor,
    *,
    transform: Transform | None = None,
    epochs: int = 10,
    batch_size: int = 256,
    lr: float = 1e-3,
    ema: float | None = 0.999,
    seed: int = 0,
    device: str | torch.device = "auto",
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
        Training data, shape (n, n_pixels), any dtype that `transform` or the discriminator takes.
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
    record
        On a GPU, record each network's part of a step as a CUDA graph once and replay it; what
        `transform` decides in Python is then decided once.
    progress
        Show a bar with both losses on a terminal or in a live notebook.

    Returns
    -------
    History
        Averages over each epoch of both losses, ``train["discriminator"]`` and
        ``train["generator"]``, in nats a datum.

    Raises
    ------
    ValueError
        If an argument is unusable.
    FloatingPointError
        At the first step with a loss that is not finite. On a GPU, where looking at a loss would
        wait for it, training stands still from that step on, and says so at the end of the epoch.
    """
    check_recipe(epochs, batch_size, lr, ema, seed)
    target = pick_device(device)
    rows = as_rows(data, target)
    with on_device(gan, target):
        order, noise = Generator().manual_seed(seed), Generator(target).manual_seed(seed + 1)

        def loss_of_discriminator(batch: Tensor) -> Tensor:
            x = batch if transform is None else transform(batch, noise)
            fake = gan.sample(len(x), noise)  # no gradient to the generator in this turn
            return discriminator_loss(gan.logit(x), gan.logit(fake))

        def loss_of_generator(batch: Tensor) -> Tensor:
            return generator_loss(gan.logit(gan(len(batch), noise)))

        networks = gan.discriminator_network, gan.generator_network
        losses = loss_of_discriminator, loss_of_generator
        players = [_Player(*pair, lr, target) for pair in zip(networks, losses, strict=True)]
        watch = Watch([player.optimizer for player in players], target)
        turns = [player.turn(watch, noise, batch_size, record) for player in players]
        averaged = average_of(gan.generator_network, ema)
        history, step = History(train={"discriminator": [], "generator": []}), 0
        n_steps = epochs * math.ceil(len(data) / batch_size)
        for _ in progress_bar(range(epochs), "epochs", progress):
            started = time.monotonic()
            shuffled = torch.randperm(len(data), generator=order).to(target)
            for batch in Batches(rows, shuffled, batch_size):
                for player, find_gradient in zip(players, turns, strict=True):
                    find_gradient(batch)
                    if not on_gpu(target):  # nothing waits there: stop before the weights move
                        _stop_if_failed(watch)
                    player.move(lr * (1 - step / n_steps))
                if averaged is not None:
                    averaged.update(gan.generator_network)
                step += 1
            _stop_if_failed(watch)
            for name, player in zip(history.train, players, strict=True):
                history.train[name].append(player.take_total() / len(data))
            history.learning_rate.append(lr * (1 - step / n_steps))
            history.seconds.append(time.monotonic() - started)
        if averaged is not None:
            gan.generator_network.load_state_dict(averaged.module.state_dict())
    return history


class _Player:
    """One of the two networks, its loss, and the optimizer that lowers it."""

    def __init__(
        self,
        network: nn.Module,
        loss_of: Callable[[Tensor], Tensor],
        lr: float,
        device: torch.device,
    ) -> None:
        self.loss_of, self.parameters = loss_of, list(network.parameters())
        fused = device.type != "mps"  # which has no fused Adam
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr, betas=(0.5, 0.999), fused=fused)
        self.total = torch.zeros((), device=device)  # of the losses since it was last taken

    def turn(
        self, watch: Watch, noise: Generator, size: int, record: bool
    ) -> Callable[[Tensor], None]:
        """Return what leaves the gradient of the loss in each weight of this network alone."""

        def find_gradient(batch: Tensor) -> None:
            loss = self.loss_of(batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward(inputs=self.parameters)
            watch.see(loss.detach())
            self.total += loss.detach() * len(batch)

        if not (record and on_gpu(self.total.device)):
            return find_gradient
        return Recorded(find_gradient, self.parameters, noise, size)

    def move(self, lr: float) -> None:
        """Take the step of Adam."""
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()

    def take_total(self) -> float:
        """Return the sum of the losses, and begin a new one."""
        total = self.total.item()
        self.total.zero_()
        return total


def _stop_if_failed(watch: Watch) -> None:
    if watch.failed:
        watch.stop(f"step {int(watch.n_finite) // 2}")  # each step has two losses
