"""A hidden Markov model on its trellis: the reader changes the observations."""

from __future__ import annotations

from collections.abc import Sequence

from vaebook._checks import fail
from vaebook.hmm import CategoricalHMM
from vaebook.interactive.figure import LiveFigure


def trellis(
    hmm: CategoricalHMM,
    observations: Sequence[int],
    *,
    states: Sequence[str],
    symbols: Sequence[str],
) -> LiveFigure:
    """Show what each day's observation says about the hidden state of every day.

    Parameters
    ----------
    hmm
        With its start, transition and emission probabilities set.
    observations
        Numbers of symbols, one for each day, at the start; -1 for a day without one.
    states, symbols
        Their names.

    Returns
    -------
    LiveFigure
        The forward, backward and posterior probabilities and the most probable path, as
        `CategoricalHMM` computes them.

    Raises
    ------
    ValueError
        If there are not as many names as the model has states and symbols, fewer than two
        observations, or one that is no symbol.
    """
    shape = hmm.emissionprob_.shape
    if (len(states), len(symbols)) != shape:
        wanted = f"{shape[0]} names and {shape[1]} names"
        fail("states, symbols", wanted, f"{len(states)} and {len(symbols)}")
    diary = [int(x) for x in observations]
    if len(diary) < 2 or not all(-1 <= x < len(symbols) for x in diary):
        fail("observations", f"at least two numbers from -1 to {len(symbols) - 1}", str(diary))
    return LiveFigure(
        "trellis",
        "Trellis of a hidden Markov model: change what was observed, and see every day respond",
        start=hmm.startprob_.tolist(),
        transition=hmm.transmat_.tolist(),
        emission=hmm.emissionprob_.tolist(),
        states=list(states),
        symbols=list(symbols),
        observations=diary,
        day=len(diary),
        carried=diary[-1],
        shown="posterior",
        path=True,
    )
