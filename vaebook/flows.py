"""Normalising flows: invertible networks that bend a Gaussian, as posteriors of a VAE.

::

    flow = AutoregressiveFlow(n_latents=2, n_steps=4)
    z, log_det = flow(noise)             # density of z: that of the noise, divided by exp(log_det)
    vae = flow_vae(n_latents=40)         # a VAE whose q(z|x) is a Gaussian and such a flow
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaebook._checks import check_at_least, check_rows, check_sizes
from vaebook.autoregressive import MaskedNetwork
from vaebook.gaussian import LOG_2PI, log_normal
from vaebook.hierarchy import Draw, DrawnVAE
from vaebook.likelihoods import Bernoulli, Likelihood
from vaebook.networks import mlp
from vaebook.priors import MixturePrior, StandardNormal
from vaebook.vae import Encoder


class AutoregressiveStep(nn.Module):
    r"""One step of a flow: each number is scaled and shifted by what stands before it.

    Equation ``def-flow-step`` of the book:
    :math:`z_i' = e^{s_i} z_i + m_i`, where :math:`s_i` and :math:`m_i` see :math:`z_1` to
    :math:`z_{i-1}` and the context. The log-scale is bounded smoothly, to ±3. The step begins as
    the identity.

    Parameters
    ----------
    n_latents, hidden, n_context
        As for :class:`~vaebook.autoregressive.MaskedNetwork`.
    """

    log_scale_bound = 3.0

    def __init__(self, n_latents: int, hidden: Sequence[int], n_context: int) -> None:
        super().__init__()
        self.shift, self.log_scale = (
            _starting_at_zero(MaskedNetwork(n_latents, hidden, n_context)) for _ in range(2)
        )

    def moves(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Shift and log-scale of each number, from those before it."""
        bound, raw = self.log_scale_bound, self.log_scale(z, context).to(z.dtype)
        return self.shift(z, context).to(z.dtype), bound * torch.tanh(raw / bound)

    def forward(
        self, z: Float[Tensor, "*batch d"], context: Float[Tensor, "*batch c"] | None = None
    ) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch"]]:
        """Take the step; returns the points and the log-determinant, which is a sum."""
        shift, log_scale = self.moves(z, context)
        return torch.exp(log_scale) * z + shift, log_scale.sum(-1)

    def inverse(
        self, z: Float[Tensor, "*batch d"], context: Float[Tensor, "*batch c"] | None = None
    ) -> Float[Tensor, "*batch d"]:
        """Undo the step, one number after the other: pass i makes the first i right."""
        before = torch.zeros_like(z)
        for _ in range(z.shape[-1]):
            shift, log_scale = self.moves(before, context)
            before = (z - shift) * torch.exp(-log_scale)
        return before


class AutoregressiveFlow(nn.Module):
    r"""Inverse autoregressive flow [1]_: steps in alternating directions.

    Drawing a point and the density at this point takes one pass. The density at a point that was
    not drawn takes `n_latents` passes.

    Parameters
    ----------
    n_latents
        Dimension of z.
    n_steps
        Number of :class:`AutoregressiveStep`; 0 for the identity.
    hidden
        Widths of the hidden layers in each step.
    n_context
        Length of what every step may look at besides z; 0 for nothing.

    References
    ----------
    .. [1] D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever and M. Welling (2016),
       Improved variational inference with inverse autoregressive flow, NeurIPS.
    """

    def __init__(
        self, n_latents: int, n_steps: int = 2, hidden: Sequence[int] = (64,), n_context: int = 0
    ) -> None:
        super().__init__()
        check_sizes(n_latents=n_latents)
        check_at_least("n_steps", n_steps, 0)
        self.n_latents, self.n_steps, self.n_context = n_latents, n_steps, n_context
        self.hidden = tuple(hidden)
        self.steps = cast(
            "Sequence[AutoregressiveStep]",
            nn.ModuleList(AutoregressiveStep(n_latents, hidden, n_context) for _ in range(n_steps)),
        )

    def forward(
        self, z: Float[Tensor, "*batch d"], context: Float[Tensor, "*batch c"] | None = None
    ) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch"]]:
        """Send points through all steps (equation ``eq-flow-density``).

        Parameters
        ----------
        z
            Points, shape (..., n_latents).
        context
            Shape (..., n_context), or None without one.

        Returns
        -------
        z, log_det : Tensor
            Where the points arrive, and the logarithm of the factor by which volume grows there.
        """
        check_rows(self.n_latents, z=z)
        total = z.new_zeros(z.shape[:-1])
        for step in self.steps:
            z, log_det = step(z.flip(-1), context)
            total = total + log_det
        return z, total

    def inverse(
        self, z: Float[Tensor, "*batch d"], context: Float[Tensor, "*batch c"] | None = None
    ) -> Float[Tensor, "*batch d"]:
        """Find the points that :meth:`forward` sends to `z`."""
        check_rows(self.n_latents, z=z)
        for step in reversed(list(self.steps)):
            z = step.inverse(z, context).flip(-1)
        return z

    def log_prob(
        self, z: Float[Tensor, "*batch d"], context: Float[Tensor, "*batch c"] | None = None
    ) -> Float[Tensor, "*batch"]:
        """Log-density at `z` of standard normal noise sent through the flow, in nats."""
        noise = self.inverse(z, context)
        return -0.5 * (noise.square() + LOG_2PI).sum(-1) - self(noise, context)[1]


class FlowVAE(DrawnVAE):
    """VAE whose q(z|x) is a diagonal Gaussian, bent by a flow.

    Parameters
    ----------
    trunk
        Module from x to features, which are the context of the flow.
    encoder
        Module from features to mean and log-variance of the Gaussian: an
        :class:`~vaebook.vae.Encoder`.
    flow
        An :class:`AutoregressiveFlow` with the features as its context.
    decoder, likelihood, prior
        As for :class:`~vaebook.vae.VAE`.
    """

    def __init__(
        self,
        trunk: nn.Module,
        encoder: nn.Module,
        flow: AutoregressiveFlow,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: StandardNormal | MixturePrior,
    ) -> None:
        super().__init__(encoder, decoder, likelihood, prior)
        self.trunk, self.flow = trunk, flow
        self.n_noise = prior.n_latents

    def draw(
        self, x: Float[Tensor, "batch pixels"], noise: Float[Tensor, "*k batch noise"]
    ) -> Draw:
        """Draw from the Gaussian, then bend."""
        features = self.trunk(x).to(x.dtype)
        mean, log_var = self.encoder(features)
        start = mean + torch.exp(0.5 * log_var) * noise
        z, log_det = self.flow(start, features.expand(*start.shape[:-1], -1))
        log_q = log_normal(start, mean, log_var) - log_det
        return Draw((z,), (log_q - self.prior.log_prob(z),))


def flow_vae(
    n_pixels: int = 784,
    n_latents: int = 40,
    width: int = 200,
    n_steps: int = 2,
    flow_hidden: Sequence[int] = (64,),
    likelihood: Likelihood | None = None,
) -> FlowVAE:
    """One-layer VAE of perceptrons with a flow as its posterior.

    Parameters
    ----------
    n_pixels, n_latents
        Dimensions of x and z.
    width
        Hidden units of encoder and decoder.
    n_steps, flow_hidden
        Of the :class:`AutoregressiveFlow`; without a step the model is a plain VAE.
    likelihood
        Bernoulli if None.

    Returns
    -------
    FlowVAE
        The model, untrained, with a standard normal prior. It starts as the plain VAE.
    """
    check_sizes(n_pixels=n_pixels, n_latents=n_latents, width=width)
    likelihood = likelihood or Bernoulli()
    return FlowVAE(
        nn.Sequential(nn.Linear(n_pixels, width), nn.SiLU()),
        Encoder(mlp(width, 2 * n_latents, [])),
        AutoregressiveFlow(n_latents, n_steps, flow_hidden, width),
        mlp(n_latents, n_pixels * likelihood.n_per_pixel, [width]),
        likelihood,
        StandardNormal(n_latents),
    )


def _starting_at_zero(network: MaskedNetwork) -> MaskedNetwork:
    """Clear the weights into the outputs, so that all of them are 0."""
    last = [network.layers[-1], *([network.direct] if network.direct is not None else [])]
    for layer in (*last, *network.contexts[-1:]):
        nn.init.zeros_(layer.weight)
    nn.init.zeros_(network.layers[-1].bias)
    return network
