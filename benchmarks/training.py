"""Train the 784-400-20 VAE on MNIST by `fit`, by the usual loop and by a bare loop, side by side.

The usual loop is that of PyTorch's own VAE example: a DataLoader over PIL images converted one by
one, and Adam with its defaults. The bare loop runs the same kernels as `fit` and nothing else.
Each trains for several epochs: the usual loop slows down as Adam's moments decay into denormals.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from vaebook import data
from vaebook.likelihoods import Bernoulli
from vaebook.priors import StandardNormal
from vaebook.training import bfloat16_pays, fit
from vaebook.vae import VAE, Encoder, elbo_objective

EPOCHS = 4
BATCH = 128


def example_vae() -> VAE:
    """Build the network of PyTorch's example: 784-400-20 with rectified linear units."""
    torch.manual_seed(0)
    return VAE(
        Encoder(nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 40))),
        nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784)),
        Bernoulli(),
        StandardNormal(20),
    )


class PilImages(Dataset):
    """MNIST as image libraries serve it: a PIL image a datum, converted to a tensor."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        picture = Image.fromarray(self.images[i])
        pixels = torch.from_numpy(np.array(picture, np.uint8, copy=True))
        return pixels.view(28, 28, 1).permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def seconds_of_epochs(epoch: Callable[[], None]) -> list[float]:
    """Time `EPOCHS` calls."""
    seconds = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - start)
    return seconds


def usual(images: np.ndarray) -> list[float]:
    """Train as PyTorch's example does."""
    vae = example_vae()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    loader = DataLoader(PilImages(images), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for x in loader:
            optimizer.zero_grad()
            loss = -vae.elbo(x.view(-1, 784)).mean()
            loss.backward()
            optimizer.step()

    return seconds_of_epochs(epoch)


def bare(pixels: torch.Tensor) -> list[float]:
    """Train by the same kernels as `fit`, without its checks, history, seeds or resume."""
    vae = example_vae()
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    mixed = bfloat16_pays(torch.device("cpu"))

    def epoch() -> None:
        for indices in torch.randperm(len(pixels)).split(BATCH):
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = -vae.elbo(pixels[indices].float().div(255)).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    torch.set_flush_denormal(True)
    try:
        return seconds_of_epochs(epoch)
    finally:
        torch.set_flush_denormal(False)


def grey(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return grey levels in [0, 1], as the example trains on; no likelihood comes of them."""
    return batch.float().div(255)


def by_fit(pixels: torch.Tensor, epochs: int, validation: torch.Tensor | None = None):
    """Train by the package's loop."""
    return fit(
        example_vae(),
        pixels,
        elbo_objective,
        transform=grey,
        validation=validation,
        epochs=epochs,
        batch_size=BATCH,
        schedule="constant",
        device="cpu",
    )


def main() -> None:
    """Time the three loops, then train for ten epochs and print the bound."""
    mnist = data.load()
    pixels = mnist.train.pixels()
    by_fit(pixels[:12_800], epochs=1)  # warm up
    times = {
        "fit": by_fit(pixels, EPOCHS).seconds,
        "bare": bare(pixels),
        "usual": usual(mnist.train.images),
        "fit again": by_fit(pixels, EPOCHS).seconds,
    }
    for name, values in times.items():
        rounded = ", ".join(f"{value:.2f}" for value in values)
        print(f"{name:9s} {statistics.median(values):6.2f} s an epoch  ({rounded})")
    ours = statistics.median(times["fit"] + times["fit again"])
    for other in ("usual", "bare"):
        print(f"{other} / fit: {statistics.median(times[other]) / ours:.2f}")

    history = by_fit(pixels, 10, mnist.test.pixels())
    bound = -history.array("validation", "bound")[-1]
    print(f"test -ELBO on grey pixels after 10 epochs: {bound:.2f} (PyTorch's example: 105.6)")


if __name__ == "__main__":
    main()
