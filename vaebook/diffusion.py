r"""Diffusion models: noise is added step by step, and a network learns to take it away.

A `Diffusion` is a network that guesses the noise, and a schedule that says how much is added::

    model = Diffusion(NoiseMLP(2), linear_schedule(100))
    fit(model, points, noise_objective)
    model.elbo(x)                           # nats, one a datum; T network calls
    model.sample(16, generator)             # ancestral: T network calls
    model.sample_ddim(16, 10, generator)    # 10 network calls

Data are rows, shape (batch, features): real numbers for a `Diffusion`, pixels of 0 and 1 for a
`BinaryDiffusion`, whose chain sees them as -1 and 1. Steps are counted from 1 to T; x_0 is the
datum. Every bound and density is in nats and per datum: sums over features and steps, never means.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vaebook._checks import (
    check_at_least,
    check_batch,
    check_float,
    check_in,
    check_rows,
    fail,
    is_binary,
    values_are_trusted,
)
from vaebook.gaussian import above_tangent, at_least_single, log_normal
from vaebook.likelihoods import Bernoulli

# --- schedules --------------------------------------------------------------------------------


def linear_schedule(
    n_steps: int = 1000, first: float = 0.1, last: float = 20.0
) -> Float[Tensor, " steps"]:
    r"""Variances :math:`\beta_t` of the noise that rise linearly with the step [1]_.

    Equation ``def-linear-schedule`` of the book. `first` and `last` are rates per unit of time, of
    which a step takes 1/T: so the total noise hardly depends on the number of steps. The defaults
    are the published ones: 0.0001 to 0.02 for 1,000 steps.

    Parameters
    ----------
    n_steps
        Number of steps T.
    first, last
        Rates at the first and at the last step, positive and below T.

    Returns
    -------
    Tensor
        :math:`\beta_1, \dots, \beta_T` in double precision, shape (n_steps,).

    References
    ----------
    .. [1] J. Ho, A. Jain and P. Abbeel (2020), Denoising diffusion probabilistic models, NeurIPS.
    """
    check_at_least("n_steps", n_steps, 1)
    for argument, rate in (("first", first), ("last", last)):
        if not 0 < rate < n_steps:
            fail(argument, f"a positive rate below the number of steps, {n_steps}", rate)
    return torch.linspace(first, last, n_steps, dtype=torch.float64) / n_steps


def cosine_schedule(
    n_steps: int = 1000, offset: float = 0.008, largest: float = 0.999
) -> Float[Tensor, " steps"]:
    r"""Variances that let the signal's share fall like a squared cosine [1]_.

    Equation ``def-cosine-schedule`` of the book.

    Parameters
    ----------
    n_steps
        Number of steps T.
    offset
        Keeps the first steps from being too small, at least 0.
    largest
        Cap on every variance, below 1: without it the last step would erase all that is left.

    Returns
    -------
    Tensor
        :math:`\beta_1, \dots, \beta_T` in double precision, shape (n_steps,).

    References
    ----------
    .. [1] A. Nichol and P. Dhariwal (2021), Improved denoising diffusion probabilistic models,
       ICML.
    """
    check_at_least("n_steps", n_steps, 1)
    if not 0 <= offset < math.inf:
        fail("offset", "a finite number of at least 0", offset)
    if not 0 < largest < 1:
        fail("largest", "a number between 0 and 1", largest)
    time = torch.linspace(0, 1, n_steps + 1, dtype=torch.float64)
    share = torch.cos((time + offset) / (1 + offset) * math.pi / 2).square()
    return (1 - share[1:] / share[:-1]).clamp_max(largest)


# --- networks ---------------------------------------------------------------------------------


class LogOddsMLP(nn.Module):
    r"""Residual perceptron that is told how noisy its input is, for binary data.

    The noise level enters as the logarithm of the signal-to-noise ratio,
    :math:`\log \bar\alpha_t / (1 - \bar\alpha_t)`, and scales and shifts the units of every block.
    So the network knows nothing of the schedule, and serves any.

    Parameters
    ----------
    n_features
        Dimension of the data.
    width
        Units in every hidden layer.
    n_blocks
        Number of residual blocks.
    """

    frequencies: Tensor

    def __init__(self, n_features: int, width: int = 128, n_blocks: int = 2) -> None:
        super().__init__()
        check_at_least("n_features", n_features, 1)
        check_at_least("width", width, 1)
        check_at_least("n_blocks", n_blocks, 0)
        # from one wave over the whole range of levels, about -10 to 10, to one over a tenth of it
        frequencies = torch.linspace(0.3, 3.0, 16)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.level = nn.Sequential(nn.Linear(2 * len(frequencies), 64), nn.SiLU())
        self.first = nn.Linear(n_features, width)
        self.blocks = nn.ModuleList(_ModulatedBlock(width, 64) for _ in range(n_blocks))
        self.last = nn.Linear(width, n_features)
        nn.init.zeros_(self.last.weight)  # an untrained network guesses nothing, not at random
        nn.init.zeros_(self.last.bias)

    def forward(
        self, x: Float[Tensor, "batch features"], log_snr: Float[Tensor, "#batch 1"]
    ) -> Float[Tensor, "batch features"]:
        """Apply the network to noisy data of the given levels, one for all or one a row."""
        angles = log_snr * self.frequencies
        level = self.level(torch.cat([angles.sin(), angles.cos()], -1))
        values = self.first(x)
        for block in self.blocks:
            values = block(values, level)
        return self.last(F.silu(values))


class NoiseMLP(LogOddsMLP):
    r"""The same network for real data, added to a first guess of the noise.

    Where all is noise, :math:`x_t` *is* the noise, and an error of the guess is multiplied by
    :math:`1 / \sqrt{\bar\alpha_t}` in the guess of the datum. So the network guesses
    :math:`\sqrt{1 - \bar\alpha_t}\, x_t + \sqrt{\bar\alpha_t}\, f(x_t)`: errors fade
    with the signal [1]_. Untrained, it is right for standard normal data. Parameters as for
    :class:`LogOddsMLP`.

    References
    ----------
    .. [1] T. Salimans and J. Ho (2022), Progressive distillation for fast sampling of diffusion
       models, ICLR.
    """

    def forward(
        self, x: Float[Tensor, "batch features"], log_snr: Float[Tensor, "#batch 1"]
    ) -> Float[Tensor, "batch features"]:
        """Guess the noise in noisy data of the given levels, one for all or one a row."""
        residual = super().forward(x, log_snr)
        return torch.sigmoid(-log_snr).sqrt() * x + torch.sigmoid(log_snr).sqrt() * residual


class _ModulatedBlock(nn.Module):
    """A residual layer whose units are scaled and shifted by the noise level."""

    def __init__(self, width: int, n_level: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(n_level, 2 * width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.modulation(level).chunk(2, -1)
        return x + self.linear(F.silu(self.norm(x) * (1 + scale) + shift))


class GaussianNoisePredictor(nn.Module):
    r"""The best possible guess of the noise when the data are Gaussian, in closed form.

    Equation ``eq-gaussian-noise`` of the book. It has nothing to learn: with it, everything that is
    computed for a diffusion model can be compared with an exact answer.

    Parameters
    ----------
    mean
        Mean of the data, shape (features,).
    covariance
        Covariance matrix of the data, shape (features, features).
    """

    mean: Tensor
    variances: Tensor
    axes: Tensor

    def __init__(
        self, mean: Float[Tensor, " features"], covariance: Float[Tensor, "features features"]
    ) -> None:
        super().__init__()
        check_float("mean", mean, n_dims=1)
        check_float("covariance", covariance, n_dims=2)
        if covariance.shape != (len(mean), len(mean)):
            fail("covariance", f"shape {(len(mean), len(mean))}", tuple(covariance.shape))
        variances, axes = torch.linalg.eigh(covariance)
        if not torch.allclose(covariance, covariance.mT) or variances[0] <= 0:
            fail("covariance", "a symmetric positive definite matrix", f"eigenvalues {variances}")
        self.register_buffer("mean", mean)
        self.register_buffer("variances", variances)
        self.register_buffer("axes", axes)

    def forward(
        self, x: Float[Tensor, "batch features"], log_snr: Float[Tensor, "#batch 1"]
    ) -> Float[Tensor, "batch features"]:
        """Return the expected noise in noisy data of the given levels."""
        signal_share, noise_share = torch.sigmoid(log_snr), torch.sigmoid(-log_snr)
        # along each principal axis, x_t has the variance alpha-bar s^2 + 1 - alpha-bar
        deviation = (x - signal_share.sqrt() * self.mean) @ self.axes
        scaled = noise_share.sqrt() * deviation / (signal_share * self.variances + noise_share)
        return scaled @ self.axes.T

    def log_prob(
        self, x: Float[Tensor, "batch features"], log_snr: Float[Tensor, "#batch 1"]
    ) -> Float[Tensor, " batch"]:
        """Log-density of noisy data of the given levels, in nats."""
        signal_share, noise_share = torch.sigmoid(log_snr), torch.sigmoid(-log_snr)
        deviation = (x - signal_share.sqrt() * self.mean) @ self.axes
        spread = (signal_share * self.variances + noise_share).expand_as(deviation)
        return log_normal(deviation, torch.zeros_like(deviation), spread.log())


class MixtureNoisePredictor(nn.Module):
    r"""The best possible guess of the noise when the data are a mixture of Gaussians.

    Equation ``eq-mixture-noise`` of the book: the guesses of the components, weighted by their
    responsibilities for the *noisy* datum. With it the reverse chain can be watched, and its score
    drawn, before anything is learned.

    Parameters
    ----------
    weights
        Weights of the K components, positive, adding up to 1, shape (K,).
    means
        Their means, shape (K, features).
    covariances
        Their covariance matrices, shape (K, features, features).
    """

    log_weights: Tensor

    def __init__(
        self,
        weights: Float[Tensor, " K"],
        means: Float[Tensor, "K features"],
        covariances: Float[Tensor, "K features features"],
    ) -> None:
        super().__init__()
        check_float("weights", weights, n_dims=1)
        if weights.min() <= 0 or (weights.sum() - 1).abs() > 1e-6:
            fail("weights", "positive numbers that add up to 1", weights)
        if not len(weights) == len(means) == len(covariances):
            lengths = f"{len(means)} means and {len(covariances)} covariances"
            fail("means, covariances", f"{len(weights)} of each, as weights", lengths)
        self.gaussians = [*map(GaussianNoisePredictor, means, covariances)]
        self.components = nn.ModuleList(self.gaussians)  # so that they follow to a device
        self.register_buffer("log_weights", weights.log())

    def forward(
        self, x: Float[Tensor, "batch features"], log_snr: Float[Tensor, "#batch 1"]
    ) -> Float[Tensor, "batch features"]:
        """Return the expected noise in noisy data of the given levels."""
        guesses = torch.stack([component(x, log_snr) for component in self.gaussians], 1)
        resp = self._log_joint(x, log_snr).softmax(1)
        return (resp.unsqueeze(-1) * guesses).sum(1)

    def log_prob(
        self, x: Float[Tensor, "batch features"], log_snr: Float[Tensor, "#batch 1"]
    ) -> Float[Tensor, " batch"]:
        """Log-density of noisy data of the given levels, in nats."""
        return self._log_joint(x, log_snr).logsumexp(1)

    def mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (K,), means (K, features), covariances (K, features, features)."""
        means = torch.stack([component.mean for component in self.gaussians])
        axes = torch.stack([component.axes for component in self.gaussians])
        spread = torch.stack([component.variances for component in self.gaussians])
        return self.log_weights.exp(), means, axes @ torch.diag_embed(spread) @ axes.mT

    def _log_joint(self, x: Tensor, log_snr: Tensor) -> Tensor:
        """Log-density of the noisy data together with each component, shape (batch, K)."""
        each = [component.log_prob(x, log_snr) for component in self.gaussians]
        return self.log_weights + torch.stack(each, 1)


# --- the model --------------------------------------------------------------------------------


class DiffusionTerms(NamedTuple):
    """The terms of the bound, in nats; the bound is the first less all the others.

    Attributes
    ----------
    reconstruction
        Estimate of E_q[log p(x_0|x_1)], shape (batch,).
    kl
        Of each step t = 2 to T, in this order, the divergence from q(x_{t-1}|x_t, x_0) to
        p(x_{t-1}|x_t), shape (T - 1, batch).
    prior
        Divergence from q(x_T|x_0) to p(x_T), shape (batch,).
    """

    reconstruction: Tensor
    kl: Tensor
    prior: Tensor


class Diffusion(nn.Module):
    r"""Denoising diffusion model of real data [1]_ [2]_: p(x_0|x_1) is a Gaussian.

    Equations ``def-forward-step``, ``def-reverse-model`` of the book.

    Parameters
    ----------
    network
        Module from noisy data, shape (batch, features), and the logarithm of their signal-to-noise
        ratio, shape (batch, 1) or (1, 1), to the guessed noise, shape (batch, features): for
        example a :class:`NoiseMLP`.
    betas
        Variances of the noise of each step, between 0 and 1, shape (T,): see
        :func:`linear_schedule` and :func:`cosine_schedule`.
    n_features
        Dimension of the data.
    variance
        Variance of the reverse steps: ``"beta"``, best where the network can know little of the
        datum, as in the early steps of real data; ``"posterior"``, that of q(x_{t-1}|x_t, x_0),
        best where it knows the datum, as in those of binary data. Of the step to x_0 it is
        :math:`\beta_1` in both cases. See :meth:`fit_variances`.

    References
    ----------
    .. [1] J. Sohl-Dickstein et al. (2015), Deep unsupervised learning using nonequilibrium
       thermodynamics, ICML.
    .. [2] J. Ho, A. Jain and P. Abbeel (2020), Denoising diffusion probabilistic models, NeurIPS.
    """

    betas: Tensor
    signal_shares: Tensor
    noise_shares: Tensor
    earlier_noise_shares: Tensor
    posterior_vars: Tensor
    reverse_vars: Tensor
    log_snr: Tensor
    first_fitted_step = 1  # of fit_variances

    def __init__(
        self,
        network: nn.Module,
        betas: Float[Tensor, " steps"],
        n_features: int,
        *,
        variance: str = "beta",
    ) -> None:
        super().__init__()
        check_float("betas", betas, n_dims=1)
        if len(betas) == 0 or betas.min() <= 0 or betas.max() >= 1:
            fail("betas", "at least one number, all between 0 and 1", betas)
        check_at_least("n_features", n_features, 1)
        check_in("variance", variance, ("posterior", "beta"))
        self.network, self.n_features = network, n_features
        # in double precision first: 1 - alpha-bar is a small difference in the early steps
        betas = betas.double()
        log_signal = torch.log1p(-betas).cumsum(0)
        noise_shares = -torch.expm1(log_signal)
        earlier_noise_shares = F.pad(noise_shares, (1, 0))[:-1]  # a datum has no noise
        posterior_vars = betas * earlier_noise_shares / noise_shares
        reverse_vars = betas.clone()
        if variance == "posterior":
            reverse_vars[1:] = posterior_vars[1:]
        like = next(iter(network.parameters()), next(iter(network.buffers()), betas))
        for name, values in {
            "betas": betas,
            "signal_shares": log_signal.exp(),
            "noise_shares": noise_shares,
            "earlier_noise_shares": earlier_noise_shares,
            "posterior_vars": posterior_vars,
            "reverse_vars": reverse_vars,
            "log_snr": log_signal - noise_shares.log(),
        }.items():
            self.register_buffer(name, values.to(at_least_single(like)))

    @property
    def n_steps(self) -> int:
        """Number of steps T."""
        return len(self.betas)

    # --- forward: nothing is learned ---

    def q_step(
        self,
        x: Float[Tensor, "batch features"],
        t: int | Tensor,
        generator: Generator | None = None,
    ) -> Float[Tensor, "batch features"]:
        """Draw x_t given x_{t-1}: shrink, and add noise (equation ``def-forward-step``)."""
        beta = self._at(self.betas, t)
        return torch.sqrt(1 - beta) * x + beta.sqrt() * _normal_like(x, generator)

    def q_sample(
        self,
        x: Float[Tensor, "batch features"],
        t: int | Tensor,
        noise: Float[Tensor, "batch features"],
    ) -> Float[Tensor, "batch features"]:
        r"""x_t from the datum x_0 and standard normal noise, in one step.

        Equation ``eq-forward-marginal`` of the book:
        :math:`x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon`.

        Parameters
        ----------
        x
            Data, shape (batch, features).
        t
            Step, from 1 to T: one for all, or shape (batch,).
        noise
            Standard normal draws, shape of `x`.

        Returns
        -------
        Tensor
            Noisy data, shape of `x`.

        Raises
        ------
        ValueError
            If the data do not suit the model, the shapes differ, or a step is out of range.
        """
        self._check_data(x)
        check_rows(self.n_features, noise=noise)
        return self._noisy(self._signal(x), t, noise)

    def q_posterior(
        self,
        x_t: Float[Tensor, "batch features"],
        x: Float[Tensor, "batch features"],
        t: int | Tensor,
    ) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "#batch 1"]]:
        """Mean and variance of q(x_{t-1}|x_t, x_0); equation ``eq-forward-posterior``.

        Parameters
        ----------
        x_t
            Noisy data of step t, shape (batch, features).
        x
            The data x_0, shape (batch, features).
        t
            Step, from 2 to T (at t = 1 the variance is 0): one for all, or shape (batch,).

        Returns
        -------
        mean : Tensor
            Shape (batch, features).
        variance : Tensor
            One for all features, shape (1, 1) or (batch, 1).
        """
        self._check_data(x)
        check_rows(self.n_features, x_t=x_t)
        return self._posterior_mean(x_t, self._signal(x), t), self._at(self.posterior_vars, t)

    # --- reverse: what is learned ---

    def predict_noise(
        self, x_t: Float[Tensor, "batch features"], t: int | Tensor
    ) -> Float[Tensor, "batch features"]:
        """Guess the noise in x_t: what the network says.

        Parameters
        ----------
        x_t
            Noisy data, shape (batch, features).
        t
            Step, from 1 to T: one for all, or shape (batch,).

        Returns
        -------
        Tensor
            Shape of `x_t`.
        """
        check_rows(self.n_features, x_t=x_t)
        dtype = self._network_dtype()
        if dtype.itemsize > 2 and x_t.dtype != dtype:
            fail("x_t", f"{dtype}, as the model's weights", x_t.dtype)
        log_snr = self._at(self.log_snr, t)
        # a network in half precision answers in it; densities want the data's precision
        return self.network(x_t.to(dtype), log_snr.to(dtype)).to(x_t.dtype)

    def predict_signal(
        self, x_t: Float[Tensor, "batch features"], t: int | Tensor
    ) -> Float[Tensor, "batch features"]:
        """Guess x_0 from x_t: the noise guessed, then removed (equation ``def-signal-guess``)."""
        return self._signal_from(x_t, self.predict_noise(x_t, t), t)

    def score(
        self, x_t: Float[Tensor, "batch features"], t: int | Tensor
    ) -> Float[Tensor, "batch features"]:
        r"""Guess the score :math:`\nabla \log q(x_t)`; equation ``eq-score-from-noise``."""
        return -self.predict_noise(x_t, t) / self._at(self.noise_shares, t).sqrt()

    def reverse_step(
        self,
        x_t: Float[Tensor, "batch features"],
        t: int,
        generator: Generator | None = None,
    ) -> Float[Tensor, "batch features"]:
        """Draw x_{t-1} given x_t from the model (equation ``def-reverse-model``).

        At t = 1 it draws the datum, from p(x_0|x_1), so that what comes out has the density that
        the bound is about.
        """
        signal = self.predict_signal(x_t, t)
        if t == 1:
            return self._draw_datum(signal, generator)
        mean = self._posterior_mean(x_t, signal, t)
        return mean + self._at(self.reverse_vars, t).sqrt() * _normal_like(x_t, generator)

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n features"]:
        """Draw `n` data by ancestral sampling: T reverse steps from noise.

        Parameters
        ----------
        n
            How many, at least 1.
        generator
            Source of the randomness, on the model's device; torch's own if None.

        Returns
        -------
        Tensor
            Data, shape (n, features).
        """
        x = self._draw_prior(n, generator)
        with torch.no_grad():
            for t in range(self.n_steps, 0, -1):
                x = self.reverse_step(x, t, generator)
        return x

    def sample_ddim(
        self,
        n: int,
        n_steps: int,
        generator: Generator | None = None,
        eta: float = 0.0,
    ) -> Float[Tensor, "n features"]:
        r"""Draw `n` data in few steps [1]_.

        Equation ``def-ddim-step`` of the book. The steps are spread evenly over 1 to T. With
        `eta` = 0 all randomness lies in :math:`x_T`; with `eta` = 1 and all T steps the chain is
        that of ancestral sampling with the posterior's variances, but for the last step, which
        takes the expected datum.

        Parameters
        ----------
        n
            How many, at least 1.
        n_steps
            How many steps, and so network calls: from 1 to T.
        generator
            Source of the randomness, on the model's device; torch's own if None.
        eta
            Share of the ancestral noise that is added at each step, from 0 to 1.

        Returns
        -------
        Tensor
            Data, shape (n, features).

        References
        ----------
        .. [1] J. Song, C. Meng and S. Ermon (2021), Denoising diffusion implicit models, ICLR.
        """
        check_at_least("n_steps", n_steps, 1)
        if n_steps > self.n_steps:
            fail("n_steps", f"at most the model's {self.n_steps}", n_steps)
        if not 0 <= eta <= 1:
            fail("eta", "a number from 0 to 1", eta)
        steps = torch.linspace(self.n_steps, 1, n_steps).round().int().tolist()
        x = self._draw_prior(n, generator)
        with torch.no_grad():
            for t, earlier in pairwise(steps):
                x = self.ddim_step(x, t, earlier, generator, eta)
            return self._last_of_ddim(self.predict_signal(x, steps[-1]), generator)

    def ddim_step(
        self,
        x_t: Float[Tensor, "batch features"],
        t: int,
        earlier: int,
        generator: Generator | None = None,
        eta: float = 0.0,
    ) -> Float[Tensor, "batch features"]:
        """Go from step t to any earlier one; equation ``def-ddim-step``, with the guessed noise."""
        noise = self.predict_noise(x_t, t)
        signal = self._signal_from(x_t, noise, t)
        share, fresh = self._at(self.noise_shares, earlier), eta**2 * self.ddim_var(t, earlier)
        direction = torch.sqrt(share - fresh) * noise
        x = self._at(self.signal_shares, earlier).sqrt() * signal + direction
        return x + fresh.sqrt() * _normal_like(x_t, generator) if eta > 0 else x

    def ddim_var(self, t: int, earlier: int) -> Tensor:
        """Variance of x_earlier given x_t and x_0, for any two steps of the forward chain."""
        kept = self._at(self.signal_shares, t) / self._at(self.signal_shares, earlier)
        return (1 - kept) * self._at(self.noise_shares, earlier) / self._at(self.noise_shares, t)

    # --- bounds and estimates ---

    def elbo_terms(
        self, x: Float[Tensor, "batch features"], generator: Generator | None = None
    ) -> DiffusionTerms:
        """All terms of the bound (equation ``eq-diffusion-elbo``), differentiable.

        Each step is estimated with its own draw of noise, and costs one network call.

        Parameters
        ----------
        x
            Data, shape (batch, features).
        generator
            Source of the noise; torch's own if None.

        Returns
        -------
        DiffusionTerms
            Reconstruction term, divergence of each step, divergence at the end, in nats.

        Raises
        ------
        ValueError
            If `x` has the wrong shape or dtype, holds NaN, or is not binary where it must be.
        """
        self._check_data(x)
        signal = self._signal(x)
        reconstruction = self._term(signal, 1, generator)
        steps = [-self._term(signal, t, generator) for t in range(2, self.n_steps + 1)]
        kl = torch.stack(steps) if steps else signal.new_zeros(0, len(x))
        return DiffusionTerms(reconstruction, kl, self._prior_kl(signal))

    def elbo(
        self, x: Float[Tensor, "batch features"], generator: Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Evidence lower bound, one draw of noise a step (``eq-diffusion-elbo``), in nats."""
        reconstruction, kl, prior = self.elbo_terms(x, generator)
        return reconstruction - kl.sum(0) - prior

    def log_prob_estimate(
        self, x: Float[Tensor, "batch features"], k: int = 500, generator: Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Estimate log p(x) by importance sampling, with the forward chain as the proposal.

        Equation ``eq-diffusion-weights`` of the book. T network calls for each of the `k` chains,
        many at a time: memory does not grow with `k` or the number of data. The expectation is a
        lower bound that rises with `k`; where the logarithms of the weights spread over many nats
        it stays far below log p(x), and close to the ELBO.

        Parameters
        ----------
        x
            Data, shape (batch, features).
        k
            Chains for each datum.
        generator
            Source of randomness; torch's own if None.

        Returns
        -------
        Tensor
            One estimate for each datum, shape (batch,), nats.
        """
        check_at_least("k", k, 1)
        self._check_data(x)
        n_chains = chains_at_once(x)
        with torch.inference_mode():
            parts = [
                self._log_prob_estimate(rows, k, n_chains, generator) for rows in x.split(n_chains)
            ]
        return torch.cat(parts)

    def _log_prob_estimate(
        self, x: Tensor, k: int, n_chains: int, generator: Generator | None
    ) -> Tensor:
        total = torch.full_like(x[:, 0], -math.inf)
        at_once = n_chains // len(x)
        for start in range(0, k, at_once):
            size = min(at_once, k - start)
            log_weights = self._log_weights(self._signal(x), size, generator)
            total = torch.logaddexp(total, log_weights.logsumexp(0))
        return total - math.log(k)

    def log_weights(
        self, x: Float[Tensor, "batch features"], k: int, generator: Generator | None = None
    ) -> Float[Tensor, "k batch"]:
        """Log importance weights log p(x_0, ..., x_T) - log q(x_1, ..., x_T|x_0) of `k` chains."""
        check_at_least("k", k, 1)
        self._check_data(x)
        return self._log_weights(self._signal(x), k, generator)

    def fit_variances(
        self,
        x: Float[Tensor, "batch features"],
        generator: Generator | None = None,
    ) -> Diffusion:
        """Set the variance of each reverse step to the one of highest bound on `x` [1]_.

        Equation ``eq-optimal-reverse-variance`` of the book. One network call a step.

        Parameters
        ----------
        x
            Data, shape (batch, features): many rows, for the variances are averages over them.
        generator
            Source of the noise; torch's own if None.

        Returns
        -------
        Diffusion
            The model itself.

        References
        ----------
        .. [1] F. Bao et al. (2022), Analytic-DPM: an analytic estimate of the optimal reverse
           variance in diffusion probabilistic models, ICLR.
        """
        self._check_data(x)
        signal = self._signal(x)
        with torch.no_grad():
            for t in range(self.first_fitted_step, self.n_steps + 1):
                noise = _normal_like(signal, generator)
                error = noise - self.predict_noise(self._noisy(signal, t, noise), t)
                extra = self._noise_weight(t) * error.square().mean()
                self.reverse_vars[t - 1] = (self._at(self.posterior_vars, t) + extra).squeeze()
        return self

    # --- inside ---

    def _term(self, signal: Tensor, t: int | Tensor, generator: Generator | None) -> Tensor:
        """Log p(x_0|x_1) for t = 1; minus the divergence of step t for all others."""
        noise = _normal_like(signal, generator)
        x_t = self._noisy(signal, t, noise)
        guess = self.predict_noise(x_t, t)
        if not isinstance(t, int):
            return self._mixed_term(signal, x_t, guess, noise, t)
        if t == 1:
            return self._log_likelihood(signal, self._signal_from(x_t, guess, 1))
        return -self._step_kl(noise, guess, t)

    def _mixed_term(
        self, signal: Tensor, x_t: Tensor, guess: Tensor, noise: Tensor, t: Tensor
    ) -> Tensor:
        first = self._log_likelihood(signal, self._signal_from(x_t, guess, t))
        if self.n_steps == 1:
            return first
        return torch.where(t == 1, first, -self._step_kl(noise, guess, t.clamp_min(2)))

    def _step_kl(self, noise: Tensor, guess: Tensor, t: int | Tensor) -> Tensor:
        """Divergence from q(x_{t-1}|x_t, x_0) to p(x_{t-1}|x_t): equation ``eq-step-kl``."""
        variance = self._at(self.reverse_vars, t)
        ratio = self._at(self.posterior_vars, t) / variance
        weight = self._noise_weight(t) / variance
        return 0.5 * (above_tangent(ratio.log()) + weight * (noise - guess).square()).sum(-1)

    def _noise_weight(self, t: int | Tensor) -> Tensor:
        """What an error in the noise costs the mean of x_{t-1}, squared."""
        beta = self._at(self.betas, t)
        return beta.square() / ((1 - beta) * self._at(self.noise_shares, t))

    def _prior_kl(self, signal: Tensor) -> Tensor:
        share = self.signal_shares[-1]
        return 0.5 * (share * signal.square() + above_tangent(torch.log1p(-share))).sum(-1)

    def _log_weights(self, signal: Tensor, k: int, generator: Generator | None) -> Tensor:
        n = len(signal)
        signal = signal.repeat(k, 1)
        x = self._noisy(signal, self.n_steps, _normal_like(signal, generator))
        mean = self.signal_shares[-1].sqrt() * signal
        total = _log_normal(x, torch.zeros_like(x), torch.ones_like(self.betas[0]))
        total = total - _log_normal(x, mean, self.noise_shares[-1])
        for t in range(self.n_steps, 1, -1):
            ours = self._posterior_mean(x, self.predict_signal(x, t), t)
            mean, variance = self._posterior_mean(x, signal, t), self._at(self.posterior_vars, t)
            x = mean + variance.sqrt() * _normal_like(x, generator)
            total = total + _log_normal(x, ours, self._at(self.reverse_vars, t))
            total = total - _log_normal(x, mean, variance)
        return (total + self._log_likelihood(signal, self.predict_signal(x, 1))).view(k, n)

    def _noisy(self, signal: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        signal_share, noise_share = self._at(self.signal_shares, t), self._at(self.noise_shares, t)
        return signal_share.sqrt() * signal + noise_share.sqrt() * noise

    def _signal_from(self, x_t: Tensor, noise: Tensor, t: int | Tensor) -> Tensor:
        signal_share, noise_share = self._at(self.signal_shares, t), self._at(self.noise_shares, t)
        return (x_t - noise_share.sqrt() * noise) / signal_share.sqrt()

    def _posterior_mean(self, x_t: Tensor, signal: Tensor, t: int | Tensor) -> Tensor:
        beta, noise_share = self._at(self.betas, t), self._at(self.noise_shares, t)
        earlier = self._at(self.earlier_noise_shares, t)
        of_signal = torch.sqrt(1 - earlier) * beta * signal
        return (of_signal + torch.sqrt(1 - beta) * earlier * x_t) / noise_share

    def _at(self, values: Tensor, t: int | Tensor) -> Tensor:
        """Entry of step t (steps count from 1), as a column that broadcasts against the data."""
        if isinstance(t, Tensor):
            is_usable = not t.is_floating_point() and t.numel() > 0
            if is_usable and not values_are_trusted():
                is_usable = bool(t.min() >= 1 and t.max() <= self.n_steps)
            if not is_usable:
                fail("t", f"steps from 1 to {self.n_steps}, as integers", t)
            return values[t - 1].unsqueeze(-1)
        check_at_least("t", t, 1)
        if t > self.n_steps:
            fail("t", f"a step from 1 to {self.n_steps}", t)
        return values[t - 1].view(1, 1)

    def _draw_prior(self, n: int, generator: Generator | None) -> Tensor:
        check_at_least("n", n, 1)
        return self.betas.new_empty(n, self.n_features).normal_(generator=generator)

    def _network_dtype(self) -> torch.dtype:
        return next(self.network.parameters(), self.betas).dtype

    def _check_data(self, x: Tensor) -> None:
        check_batch("x", x, self.n_features)
        wanted = self._network_dtype()
        if x.dtype != wanted:
            fail("x", f"{wanted}, as the model's weights", x.dtype)

    # --- what the chain makes of a datum: another kind of data overrides these ---

    def _signal(self, x: Tensor) -> Tensor:
        """Return the start of the forward chain."""
        return x

    def _log_likelihood(self, signal: Tensor, guess: Tensor) -> Tensor:
        """Log p(x_0|x_1), from the guess of the signal that x_1 allows."""
        return _log_normal(signal, guess, self.reverse_vars[0])

    def _draw_datum(self, guess: Tensor, generator: Generator | None) -> Tensor:
        """Draw x_0 from p(x_0|x_1)."""
        return guess + self.reverse_vars[0].sqrt() * _normal_like(guess, generator)

    def _last_of_ddim(self, guess: Tensor, generator: Generator | None) -> Tensor:
        """Return the datum in which the short chain ends."""
        return guess


class BinaryDiffusion(Diffusion):
    r"""Denoising diffusion model of pixels of 0 and 1, which the chain sees as -1 and 1.

    p(x_0|x_1) gives the pixels probabilities, and the network adds to what each pixel says about
    itself (equation ``eq-binary-denoiser`` of the book).

    Parameters
    ----------
    network
        As for :class:`Diffusion`, to half the log-odds of each pixel given the others: for example
        a :class:`LogOddsMLP`.
    betas, n_features
        As for :class:`Diffusion`.
    variance
        As for :class:`Diffusion`. A network knows binary data well in the early steps, and so the
        posterior's variance is the better one.
    """

    first_fitted_step = 2  # the variance of the step to x_0 is the scale of its log-odds

    def __init__(
        self,
        network: nn.Module,
        betas: Float[Tensor, " steps"],
        n_features: int,
        *,
        variance: str = "posterior",
    ) -> None:
        super().__init__(network, betas, n_features, variance=variance)

    def predict_noise(
        self, x_t: Float[Tensor, "batch features"], t: int | Tensor
    ) -> Float[Tensor, "batch features"]:
        r"""Guess the noise in x_t: what remains when the expected datum is taken out.

        The expected datum is
        :math:`\tanh(\sqrt{\bar\alpha_t}\, x_t / (1 - \bar\alpha_t) + f(x_t))`
        with the network f (equation ``eq-binary-denoiser`` of the book). So little noise is found
        without error, whatever the network. Parameters as for :meth:`Diffusion.predict_noise`.
        """
        log_odds = super().predict_noise(x_t, t)
        signal_share, noise_share = self._at(self.signal_shares, t), self._at(self.noise_shares, t)
        signal = torch.tanh(signal_share.sqrt() / noise_share * x_t + log_odds)
        return (x_t - signal_share.sqrt() * signal) / noise_share.sqrt()

    def _check_data(self, x: Tensor) -> None:
        super()._check_data(x)
        if not is_binary(x):
            fail("x", "pixels of 0 and 1 (binarize grey ones)", f"values up to {x.max():.4g}")

    def _signal(self, x: Tensor) -> Tensor:
        return 2 * x - 1

    def _log_likelihood(self, signal: Tensor, guess: Tensor) -> Tensor:
        return Bernoulli().log_prob((signal + 1) / 2, self._logits(guess))

    def _draw_datum(self, guess: Tensor, generator: Generator | None) -> Tensor:
        return Bernoulli().sample(self._logits(guess), generator)

    _last_of_ddim = _draw_datum

    def _logits(self, guess: Tensor) -> Tensor:
        """Log-odds of a Gaussian around the guessed signal, restricted to -1 and 1."""
        return 2 * guess / self.reverse_vars[0]


def chains_at_once(x: Float[Tensor, "batch features"]) -> int:
    """How many forward chains to run together, by the device and the size of a datum alone.

    Chains draw at every step, so their number says which draws each of them gets: it must not
    depend on what else is in memory. A GPU takes longer to be told of few chains than to run them.

    Parameters
    ----------
    x
        Data, shape (batch, features), on the device of the computation.

    Returns
    -------
    int
        At least 1.
    """
    if x.device.type == "cpu":
        return _CPU_CHAINS
    return max(1, min(_GPU_CHAINS, _GPU_BYTES // x[0].nbytes))


_CPU_CHAINS = 2000
_GPU_CHAINS, _GPU_BYTES = 50_000, 2**26  # of one step of the chains


def _log_normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return log_normal(x, mean, variance.log().expand_as(mean))


def _normal_like(x: Tensor, generator: Generator | None) -> Tensor:
    return torch.empty_like(x).normal_(generator=generator)


# --- objectives for vaebook.training.fit ------------------------------------------------------


def noise_objective(
    model: Diffusion, x: Tensor, generator: Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Minus the squared error of the guessed noise at one random step a datum.

    Equation ``def-simple-loss`` of the book: the terms of the bound with their weights left out. No
    bound, and not in nats.
    """
    model._check_data(x)
    t, noise = _random_steps(model, x, generator), _normal_like(x, generator)
    x_t = model._noisy(model._signal(x), t, noise)
    error = (noise - model.predict_noise(x_t, t)).square().sum(-1)
    return -error, {"squared_error": error}


def bound_objective(
    model: Diffusion, x: Tensor, generator: Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Unbiased estimate of the bound from one random step a datum, in nats.

    Equation ``eq-random-step`` of the book: T times the term of that step, and the divergence at
    the end.
    """
    model._check_data(x)
    signal = model._signal(x)
    term = model._term(signal, _random_steps(model, x, generator), generator)
    return model.n_steps * term - model._prior_kl(signal), {}


def _random_steps(model: Diffusion, x: Tensor, generator: Generator | None) -> Tensor:
    """One uniform step a datum, spread evenly over the batch: less noise than independent ones."""
    n = len(x)
    first = torch.empty(1, device=x.device).uniform_(generator=generator)
    places = (first + torch.randperm(n, device=x.device, generator=generator)) / n
    return (places % 1 * model.n_steps).long().clamp_max(model.n_steps - 1) + 1
