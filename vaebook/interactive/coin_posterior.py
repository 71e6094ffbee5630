"""The posterior of a coin's probability of heads, toss by toss."""

from __future__ import annotations

from collections.abc import Sequence

from vaebook._checks import fail
from vaebook.interactive.figure import LiveFigure


def coin_posterior(truth: float = 0.7, tosses: Sequence[int] = ()) -> LiveFigure:
    """Show how the Beta posterior of a probability moves as observations come in.

    Equation ``eq-beta-posterior``; the prior is Beta(2, 2) at the start, and the reader may take
    another.

    Parameters
    ----------
    truth
        Probability of heads of the coin that is tossed, from 0.05 to 0.95.
    tosses
        Those before the start: 1 for heads, 0 for tails.

    Returns
    -------
    LiveFigure

    Raises
    ------
    ValueError
        If `truth` is out of range, or a toss is neither 0 nor 1.
    """
    if not 0.05 <= truth <= 0.95:
        fail("truth", "a probability from 0.05 to 0.95", repr(truth))
    if not set(tosses) <= {0, 1}:
        fail("tosses", "zeros and ones", str(list(tosses)))
    return LiveFigure(
        "coin_posterior",
        "Tosses of a coin: add them one by one, and see the posterior of its probability move",
        truth=truth,
        prior="2 2",
        a=2,
        b=2,
        tosses=[int(toss) for toss in tosses],
    )
