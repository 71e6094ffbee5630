"""A judge of binary digits: a classifier with an eleventh answer, "none".

A classifier of digits alone must give noise a name, too. This one is shown images that are no
digits, and says how sure it is of *some* digit::

    judge = train_judge(x, labels, x_held_out)
    judge.accepted(model.sample(1000))      # share of images that pass for digits

It is a yardstick as long as one small network. What it was taught to reject, it knows best.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from vaebook._checks import check_batch, fail, is_binary
from vaebook.networks import mlp
from vaebook.training import fit

NONE = 10


class Judge:
    r"""A classifier, and the confidence from which it accepts an image.

    Equation ``def-accepted`` of the book.

    Parameters
    ----------
    network
        Module from images, shape (batch, n_pixels), to eleven scores, the last one for "none".
    threshold
        Least probability of some digit of an image that is accepted.
    """

    def __init__(self, network: nn.Module, threshold: float) -> None:
        self.network, self.threshold = network, threshold

    def confidence(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, " batch"]:
        """Probability of the digit that the judge finds the most probable."""
        check_batch("x", x)
        with torch.no_grad():
            return self.network(x).softmax(-1)[:, :NONE].max(-1).values

    def accepted(self, x: Float[Tensor, "batch pixels"]) -> float:
        """Share of the images that are accepted."""
        return (self.confidence(x) >= self.threshold).double().mean().item()


def spoilt(
    x: Float[Tensor, "n pixels"], labels: Int[Tensor, " n"], generator: Generator | None = None
) -> Float[Tensor, "m pixels"]:
    """Images that are no digits: double exposures, wrong pixels, pixels of different digits.

    Parameters
    ----------
    x
        Binary digits; a third of them goes into each kind.
    labels
        Their classes: the third kind mixes pixels of one class only.
    generator
        Source of randomness; torch's own if None.
    """
    check_batch("x", x)
    if labels.shape != (len(x),):
        fail("labels", f"one for each of {len(x)} images", tuple(labels.shape))
    first, second, third = x.tensor_split(3)
    double = torch.maximum(first, first.roll(1, dims=0))
    share = 0.03 + 0.2 * torch.rand(len(second), 1, generator=generator)
    wrong = (torch.rand(second.shape, generator=generator) < share).to(x.dtype)
    classes = [third[labels.tensor_split(3)[2] == c] for c in labels.unique()]
    rows = [torch.randint(max(1, len(c)), c.shape, generator=generator) for c in classes]
    shuffled = [c.gather(0, which) for c, which in zip(classes, rows, strict=True)]
    return torch.cat([double, (second - wrong).abs(), *shuffled])


def train_judge(
    x: Float[Tensor, "n pixels"],
    labels: Int[Tensor, " n"],
    held_out: Float[Tensor, "m pixels"],
    generator: Generator | None = None,
    epochs: int = 3,
) -> Judge:
    """Train a judge; of the held-out digits it accepts 95 of 100.

    Parameters
    ----------
    x, labels
        Binary digits and their classes. A third of them is spoilt, too.
    held_out
        Binary digits that the judge has not seen, to set its threshold.
    generator
        Source of randomness; torch's own if None.
    epochs
        Passes over the data.
    """
    check_batch("held_out", held_out, x.shape[1])
    if not is_binary(x):
        fail("x", "pixels of 0 and 1 (binarize grey ones)", f"values up to {x.max():.4g}")
    few = len(x) // 3
    bad = spoilt(x[:few], labels[:few], generator)
    answers = torch.cat([labels.to(x), x.new_full((len(bad),), NONE)])
    rows = torch.cat([torch.cat([x, bad]), answers[:, None]], 1)
    network = mlp(x.shape[1], NONE + 1, (256,))
    fit(network, rows, _log_answer, epochs=epochs, batch_size=250, lr=5e-3, progress=False)
    threshold = Judge(network, 0.0).confidence(held_out).quantile(0.05).item()
    return Judge(network, threshold)


def _log_answer(
    model: nn.Module, rows: Tensor, generator: Generator | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probability of the right answer, which is the last column."""
    value = -F.cross_entropy(model(rows[:, :-1]), rows[:, -1].long(), reduction="none")
    return value, {"log_p": value}
