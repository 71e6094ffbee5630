"""The chain of a diffusion model on a mixture in the plane: its cloud, its score, its samplers."""

from __future__ import annotations

from torch import Tensor

from vaebook._checks import fail
from vaebook.diffusion import MixtureNoisePredictor
from vaebook.interactive.figure import LiveFigure


def diffusion_chain(
    predictor: MixtureNoisePredictor,
    betas: Tensor,
    t: int = 12,
    calls: int = 20,
    eta: float = 0.0,
) -> LiveFigure:
    """Show every step of a diffusion chain, and where a start leads on the way back.

    The data are a mixture of Gaussians in the plane. So the score is exact at every step, in
    closed form (equation ``eq-mixture-noise`` of the book), and no network is at work.

    Parameters
    ----------
    predictor
        The mixture, in two dimensions.
    betas
        Variances of the noise of each step, shape (T,).
    t
        The step that is shown at the start, from 0 to T.
    calls
        Strides of the sampler at the start: 1, 2, 3, 5, 10, 20, 50 or 100, at most T.
    eta
        Share of the ancestral noise that is added in each stride, from 0 to 1.

    Returns
    -------
    LiveFigure
        With a slider for each of `t`, `calls` and `eta`, and a start to drag.

    Raises
    ------
    ValueError
        If the mixture is not one of the plane, or a setting is out of range.
    """
    weights, means, covariances = predictor.mixture()
    if means.shape[1] != 2:
        fail("predictor", "a mixture in two dimensions", means.shape[1])
    if not 0 <= t <= len(betas):
        fail("t", f"a step from 0 to {len(betas)}", t)
    if calls not in (1, 2, 3, 5, 10, 20, 50, 100) or calls > len(betas):
        fail("calls", f"1, 2, 3, 5, 10, 20, 50 or 100, at most {len(betas)}", calls)
    if not 0 <= eta <= 1:
        fail("eta", "a number from 0 to 1", eta)
    return LiveFigure(
        "diffusion_chain",
        "Diffusion chain: slide the step, drag the start, choose the sampler",
        weights=weights.tolist(),
        means=means.tolist(),
        covariances=covariances.tolist(),
        betas=betas.tolist(),
        t=t,
        calls=calls,
        eta=eta,
        start=[1.4, 0.6],
        seed=1,
    )
