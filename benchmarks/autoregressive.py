"""Autoregressive models of digits: an epoch, and samples, against the obvious ways, side by side.

The obvious way to sample is one pass of the network over the whole image for every pixel. The
obvious recurrent model reads single pixels, one step for each of the 784, where `PixelRNN` reads
rows. Each ratio compares runs that take turns in one process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from vaebook import data
from vaebook.autoregressive import MADE, Autoregressive, PixelRNN, likelihood_objective
from vaebook.training import fit

ROUNDS = 3


def seconds(task: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


@torch.no_grad()
def by_full_passes(model: Autoregressive, n: int, n_steps: int) -> torch.Tensor:
    """Draw the first `n_steps` pixels of `n` images, with a full pass for each pixel."""
    x = torch.zeros(n, model.n_pixels)
    for pixel in model.ordering[:n_steps]:
        x[:, pixel] = torch.bernoulli(torch.sigmoid(model.logits(x)[:, pixel]))
    return x


def train(model: Autoregressive, pixels: torch.Tensor) -> float:
    """Train for one epoch, and return its seconds."""
    transform = data.dynamic_binarization
    history = fit(
        model, pixels, likelihood_objective, transform=transform, epochs=1, batch_size=100
    )
    return history.seconds[0]


def main() -> None:
    """Time epochs and samples, and print both ratios for each model."""
    torch.manual_seed(0)
    pixels = data.load().train.pixels()
    models: dict[str, Autoregressive] = {
        "MADE, 512 units": MADE(784, (512,)),
        "PixelRNN over rows": PixelRNN(28, 28, n_state=128, hidden=(128,)),
    }
    for name, model in models.items():
        train(model, pixels[:2000])  # warm up
        print(f"{name}: one epoch of 60,000 digits {train(model, pixels):.1f} s")
        for n, n_steps in ((1, 40), (100, 10)):
            ours, obvious = [], []
            for _ in range(ROUNDS):
                ours.append(seconds(lambda m=model, n=n: m.sample(n)) / 784)
                obvious.append(
                    seconds(lambda m=model, n=n, k=n_steps: by_full_passes(m, n, k)) / n_steps
                )
            ratio = statistics.median(obvious) / statistics.median(ours)
            print(
                f"  {n:3} images, microseconds a step: {1e6 * statistics.median(ours):8.0f}", end=""
            )
            print(f"   full passes {1e6 * statistics.median(obvious):8.0f}   ratio {ratio:.1f}")

    by_row = PixelRNN(28, 28, n_state=128, hidden=(128,))
    by_pixel = PixelRNN(784, 1, n_state=128, hidden=())
    some = pixels[:300]
    rows, single = [], []
    for _ in range(ROUNDS):
        rows.append(train(by_row, some))
        single.append(train(by_pixel, some))
    ratio = statistics.median(single) / statistics.median(rows)
    print(f"300 digits: rows {statistics.median(rows):.2f} s, ", end="")
    print(f"single pixels {statistics.median(single):.2f} s, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
