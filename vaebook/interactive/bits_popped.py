"""Bits-back coding of a few small images, one pop or push at a time."""

from __future__ import annotations

from collections.abc import Sequence

from vaebook._checks import check_at_least, check_in, fail
from vaebook.interactive.figure import LiveFigure

# 64ths of p(x|z): four codes, six images.
LIKELIHOOD = (
    (30, 20, 8, 3, 2, 1),
    (8, 24, 18, 8, 4, 2),
    (2, 4, 8, 18, 24, 8),
    (1, 2, 3, 8, 20, 30),
)


def bits_popped(
    images: Sequence[int] = (1, 3, 2, 4),
    likelihood: Sequence[Sequence[int]] = LIKELIHOOD,
    message: int = 81_985_529_216,
    done: int = 4,
    q: str = "posterior",
) -> LiveFigure:
    """Show the message grow and shrink while images are stored by bits-back coding.

    Parameters
    ----------
    images
        The images to store, each a column of `likelihood`.
    likelihood
        Whole positive weights of p(x|z), one row for each z. The prior is uniform.
    message
        The number that is there before, from 2**32 to 2**40.
    done
        Steps done at the start; each image takes three.
    q : {"posterior", "prior", "best"}
        Which q(z|x) chooses the code.

    Returns
    -------
    LiveFigure
        With a slider for the steps and a choice of q.
    """
    widths = {len(row) for row in likelihood}
    if len(widths) != 1 or any(weight < 1 for row in likelihood for weight in row):
        fail("likelihood", "rows of one length, of positive whole numbers", likelihood)
    if not 1 <= len(images) <= 5 or any(not 0 <= x < max(widths) for x in images):
        fail("images", f"one to five columns of the likelihood, below {max(widths)}", images)
    if not 2**32 <= message <= 2**40:
        fail("message", "a number from 2**32 to 2**40", message)
    check_at_least("done", done, 0)
    if done > 3 * len(images):
        fail("done", f"at most {3 * len(images)} steps", done)
    check_in("q", q, ("posterior", "prior", "best"))
    return LiveFigure(
        "bits_popped",
        "Bits popped and pushed: step through bits-back coding and see the message change",
        images=list(images),
        likelihood=[list(row) for row in likelihood],
        message=str(message),
        done=done,
        q=q,
    )
