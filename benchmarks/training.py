"""One epoch of the 784-400-20 VAE on MNIST: `fit`, the usual loop, and a bare loop, side by side.

The usual loop is what PyTorch's own VAE example does: a DataLoader over PIL images converted one
by one, and Adam with its defaults. The bare loop runs the same kernels as `fit` and nothing else.
The three take turns, so that a change of the machine's speed touches all of them.
"""

from __future__ import annotations

import statistics
import time

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from vaebook import data
from vaebook.training import bfloat16_pays, fit
from vaebook.vae import VAE, elbo_objective, mlp_vae

ROUNDS = 3
BATCH = 128


class PilImages(Dataset):
    """Images as PIL files give them, converted to a tensor item by item."""

    def __init__(self, images: data.ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        picture = Image.fromarray(self.images.images[i])
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        return pixels.view(28, 28).float().div(255).view(-1)


def usual_epoch(vae: VAE, images: data.ImageSet) -> None:
    """PyTorch's example: one item at a time, default optimizer."""
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    for x in DataLoader(PilImages(images), batch_size=BATCH, shuffle=True):
        optimizer.zero_grad()
        loss = -vae.elbo(x).mean()
        loss.backward()
        optimizer.step()


def bare_epoch(vae: VAE, pixels: torch.Tensor) -> None:
    """Run the same kernels as `fit`, without its checks, history, seeds or resume."""
    torch.set_flush_denormal(True)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
    mixed = bfloat16_pays(torch.device("cpu"))
    for indices in torch.randperm(len(pixels)).split(BATCH):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = -vae.elbo(pixels[indices].float().div(255)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    torch.set_flush_denormal(False)


def grey(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Grey levels in [0, 1], as the example trains on; no likelihood comes of them."""
    return batch.float().div(255)


def fit_epoch(vae: VAE, pixels: torch.Tensor) -> None:
    """One epoch by the package's loop."""
    fit(vae, pixels, elbo_objective, transform=grey, epochs=1, batch_size=BATCH, device="cpu")


def seconds(function, *arguments) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Time the three loops in turn, then train for ten epochs and print the bound."""
    mnist = data.load()
    pixels = mnist.train.pixels()
    fit_epoch(mlp_vae(), pixels[:12_800])  # warm up
    times: dict[str, list[float]] = {"fit": [], "usual": [], "bare": []}
    for _ in range(ROUNDS):
        times["fit"].append(seconds(fit_epoch, mlp_vae(), pixels))
        times["bare"].append(seconds(bare_epoch, mlp_vae(), pixels))
        times["usual"].append(seconds(usual_epoch, mlp_vae(), mnist.train))
    for name, values in times.items():
        print(f"{name:6s} {statistics.median(values):6.2f} s an epoch")
    for other in ("usual", "bare"):
        ratios = [a / b for a, b in zip(times[other], times["fit"], strict=True)]
        rounded = [round(ratio, 2) for ratio in ratios]
        print(f"{other} / fit: {statistics.median(ratios):.2f}  (all: {rounded})")

    torch.manual_seed(0)
    history = fit(
        mlp_vae(),
        pixels,
        elbo_objective,
        transform=grey,
        validation=mnist.test.pixels(),
        epochs=10,
        batch_size=BATCH,
        schedule="constant",
        device="cpu",
    )
    bound = -history.array("validation", "bound")[-1]
    print(f"test -ELBO on grey pixels after 10 epochs: {bound:.2f} (PyTorch's example: 105.6)")


if __name__ == "__main__":
    main()
