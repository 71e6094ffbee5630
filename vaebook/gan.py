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
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, check_in, fail
from vaebook.networks import check_input, mlp
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
        n_steps = epochs * math.ceil(len(data) / batch_size)
        players = gan.discriminator_network, gan.generator_network
        fused = target.type != "mps"  # which has no fused Adam
        optimizers = [
            torch.optim.Adam(p.parameters(), lr=lr, betas=(0.5, 0.999), fused=fused)
            for p in players
        ]
        watch = Watch(optimizers, target)
        averaged = average_of(gan.generator_network, ema)
        history, step = History(train={"discriminator": [], "generator": []}), 0
        for _ in progress_bar(range(epochs), "epochs", progress):
            started, totals = time.monotonic(), torch.zeros(2, device=target)
            shuffled = torch.randperm(len(data), generator=order).to(target)
            for batch in Batches(rows, shuffled, batch_size):
                x = batch if transform is None else transform(batch, noise)
                for optimizer in optimizers:
                    optimizer.param_groups[0]["lr"] = lr * (1 - step / n_steps)
                fake = gan.sample(len(x), noise)  # no gradient to the generator in this turn
                loss_d = discriminator_loss(gan.logit(x), gan.logit(fake))
                _take_step(optimizers[0], loss_d, watch)
                loss_g = generator_loss(gan.logit(gan(len(x), noise)))
                _take_step(optimizers[1], loss_g, watch)
                if averaged is not None:
                    averaged.update(gan.generator_network)
                totals += torch.stack([loss_d.detach(), loss_g.detach()]) * len(x)
                step += 1
            _stop_if_failed(watch)
            for name, total in zip(history.train, totals.tolist(), strict=True):
                history.train[name].append(total / len(data))
            history.learning_rate.append(lr * (1 - step / n_steps))
            history.seconds.append(time.monotonic() - started)
        if averaged is not None:
            gan.generator_network.load_state_dict(averaged.module.state_dict())
    return history


def _take_step(optimizer: torch.optim.Adam, loss: Tensor, watch: Watch) -> None:
    watch.see(loss.detach())
    if not on_gpu(loss.device):  # nothing waits there: stop before the weights move
        _stop_if_failed(watch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _stop_if_failed(watch: Watch) -> None:
    if watch.failed:
        watch.stop(f"step {int(watch.n_finite) // 2}")  # each step has two losses
