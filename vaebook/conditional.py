"""Conditional VAEs: models of images given something known, and of labels that are mostly missing.

A :class:`ConditionalVAE` given a condition y *is* a VAE of x, with all that a VAE can do::

    model = conditional_mlp_vae(n_condition=10)      # y: a class, as ten zeros and ones
    model.given(y).elbo(x)                           # nats, one a datum
    model.given(y).sample(len(y))                    # an image for each condition

Data are *rows*, shape (batch, n_condition + n_pixels): the condition, then the image. So any part
of a datum can be the condition, and :func:`vaebook.training.fit` shuffles both together. A class
that is not known is a condition of zeros; `labelled_rows` makes such rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, check_batch, check_rows, check_sizes, fail
from vaebook.estimators import Pieces, rows_at_once
from vaebook.likelihoods import Bernoulli, Likelihood
from vaebook.networks import check_input, mlp
from vaebook.priors import MixturePrior, StandardNormal
from vaebook.training import Objective
from vaebook.vae import VAE, Encoder, elbo_objective


class ConditionalVAE(nn.Module):
    r"""VAE of x given a condition y (equation ``def-conditional-vae`` of the book) [1]_ [2]_.

    The prior of z does not depend on y: what y says, z need not say again.

    Parameters
    ----------
    encoder
        Module from rows, shape (batch, n_condition + n_pixels), to mean and log-variance of
        :math:`q_\phi(z|x, y)`: a :class:`vaebook.vae.Encoder`.
    decoder
        Module from condition and code, shape (batch, n_condition + n_latents), to the parameters
        of :math:`p_\theta(x|z, y)`.
    likelihood, prior
        As of a :class:`vaebook.vae.VAE`.
    n_condition
        Number of columns of y, the first of each row.

    References
    ----------
    .. [1] K. Sohn, H. Lee and X. Yan (2015), Learning structured output representation using deep
       conditional generative models, NeurIPS.
    .. [2] D. P. Kingma, D. J. Rezende, S. Mohamed and M. Welling (2014), Semi-supervised learning
       with deep generative models, NeurIPS.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: StandardNormal | MixturePrior,
        n_condition: int,
    ) -> None:
        super().__init__()
        check_at_least("n_condition", n_condition, 0)
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        self.likelihood, self.n_condition = likelihood, n_condition

    @property
    def n_latents(self) -> int:
        """Dimension of the latent variable."""
        return self.prior.n_latents

    def given(self, y: Float[Tensor, "batch condition"]) -> VAE:
        """Return the VAE of x given y, with this model's weights.

        Parameters
        ----------
        y
            One condition for each datum, shape (batch, n_condition), or one for all, (1,
            n_condition).

        Returns
        -------
        VAE
            Its data and codes come in batches as long as y, row by row those of y.
        """
        check_rows(self.n_condition, y=y)
        encoder, decoder = _After(self.encoder, y), _After(self.decoder, y)
        return VAE(encoder, decoder, self.likelihood, self.prior).train(self.training)

    def split(
        self, rows: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch condition"], Float[Tensor, "batch pixels"]]:
        """Split rows into their conditions y and their data x."""
        check_batch("rows", rows)
        if rows.shape[1] <= self.n_condition:
            fail("rows", f"more than {self.n_condition} columns", f"shape {tuple(rows.shape)}")
        return rows[:, : self.n_condition], rows[:, self.n_condition :]

    def log_prob_estimate(
        self,
        rows: Float[Tensor, "batch columns"],
        k: int = 500,
        generator: Generator | None = None,
    ) -> Float[Tensor, " batch"]:
        """Estimate log p(x|y) of each row from `k` importance weights, in nats.

        As :meth:`vaebook.vae.VAE.log_prob_estimate`: its expectation is a lower bound.
        """
        check_at_least("k", k, 1)
        y, x = self.split(rows)
        # as many data at once as the VAE takes, so that it does not cut them off their conditions
        n = Pieces(k, rows_at_once(x, x.shape[1] * self.likelihood.n_per_pixel)).n_data
        estimates = [
            self.given(condition).log_prob_estimate(data, k, generator)
            for condition, data in zip(y.split(n), x.split(n), strict=True)
        ]
        return torch.cat(estimates)


class SemiSupervisedVAE(ConditionalVAE):
    r"""Conditional VAE of images and classes, most of which are not known: the model M2 of [1]_.

    All classes are equally probable a priori.

    Parameters
    ----------
    classifier
        Module from images, shape (batch, n_pixels), to the logits of :math:`q_\phi(y|x)`, shape
        (batch, n_classes).
    encoder, decoder, likelihood, prior
        As of a :class:`ConditionalVAE` whose condition is the class, as zeros and a one.

    References
    ----------
    .. [1] D. P. Kingma, D. J. Rezende, S. Mohamed and M. Welling (2014), Semi-supervised learning
       with deep generative models, NeurIPS.
    """

    def __init__(
        self,
        classifier: nn.Module,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: StandardNormal | MixturePrior,
        n_condition: int,
    ) -> None:
        check_at_least("n_condition", n_condition, 2)
        super().__init__(encoder, decoder, likelihood, prior, n_condition)
        self.classifier = classifier

    def classify(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch classes"]:
        """Log-probabilities log q(y|x) of the classes of each image, in nats."""
        check_batch("x", x)
        check_input("x", self.classifier, x)
        return self.classifier(x).to(x.dtype).log_softmax(-1)

    def labelled_bounds(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Bound on log p(x, y) of each image with each class, from one draw of z each, in nats.

        Equation ``eq-labelled-bound`` of the book.
        """
        k = self.n_condition
        classes = torch.eye(k, dtype=x.dtype, device=x.device)
        # (k * batch): all images with the first class, then all with the second, and so on
        vae = self.given(classes.repeat_interleave(len(x), 0))
        return vae.elbo(x.repeat(k, 1), generator).view(k, -1).T - math.log(k)

    def bound(
        self,
        y: Float[Tensor, "batch classes"],
        x: Float[Tensor, "batch pixels"],
        generator: Generator | None = None,
    ) -> Float[Tensor, " batch"]:
        """Bound on log p(x, y), or on log p(x) where y is zeros, one a datum, in nats.

        Equations ``eq-labelled-bound`` and ``eq-unlabelled-bound`` of the book.
        """
        log_q, each = self.classify(x), self.labelled_bounds(x, generator)
        labelled = (y * each).sum(-1)
        unlabelled = (log_q.exp() * (each - log_q)).sum(-1)
        return torch.where(y.sum(-1) > 0.5, labelled, unlabelled)


class _After(nn.Module):
    """A network that takes the condition before what it is given, in one row.

    One condition serves any number of rows; several serve as many rows, or that many several times
    over, as draws of z come.
    """

    def __init__(self, network: nn.Module, y: Tensor) -> None:
        super().__init__()
        self.network, self.y = network, y

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        times, rest = divmod(len(values), len(self.y))
        if rest:
            fail("x or z", f"{len(self.y)} rows, one for each condition", len(values))
        return self.network(torch.cat([self.y.repeat(times, 1), values], -1))


def labelled_rows(
    pixels: UInt8[Tensor, "n pixels"], labels: Int[Tensor, " n"], n_classes: int = 10
) -> UInt8[Tensor, "n columns"]:
    """Put each image behind its class, for :func:`vaebook.training.fit`.

    Parameters
    ----------
    pixels
        Grey levels, 0 to 255.
    labels
        The classes, from 0; -1 where a class is not known.
    n_classes
        Number of classes.

    Returns
    -------
    Tensor
        Shape (n, n_classes + n_pixels). The column of the class holds 255 and the other classes 0,
        so that any binarization makes zeros and a one of them, or zeros for an unknown class.
    """
    check_at_least("n_classes", n_classes, 2)
    if pixels.dtype != torch.uint8 or pixels.ndim != 2:
        fail("pixels", "uint8 of shape (n, n_pixels)", f"{pixels.dtype} {tuple(pixels.shape)}")
    labels = torch.as_tensor(labels).to(torch.int64)
    if labels.shape != pixels.shape[:1]:
        fail(
            "labels", f"shape ({len(pixels)},), one for each image", f"shape {tuple(labels.shape)}"
        )
    if len(labels) and not -1 <= labels.min() <= labels.max() < n_classes:
        fail("labels", f"-1 to {n_classes - 1}", f"{labels.min()} to {labels.max()}")
    classes = torch.arange(n_classes, device=labels.device)
    return torch.cat([255 * (labels[:, None] == classes).to(torch.uint8), pixels], 1)


# --- ready-made models ------------------------------------------------------------------------


def conditional_mlp_vae(
    n_condition: int,
    n_pixels: int = 784,
    n_latents: int = 20,
    hidden: Sequence[int] = (400,),
    likelihood: Likelihood | None = None,
) -> ConditionalVAE:
    """Conditional VAE of perceptrons; arguments as for :func:`vaebook.vae.mlp_vae`."""
    return ConditionalVAE(*_parts(n_condition, n_pixels, n_latents, hidden, likelihood))


def semi_supervised_mlp_vae(
    n_classes: int = 10,
    n_pixels: int = 784,
    n_latents: int = 20,
    hidden: Sequence[int] = (400,),
    likelihood: Likelihood | None = None,
) -> SemiSupervisedVAE:
    """Semi-supervised VAE of perceptrons, its classifier as wide as its encoder."""
    parts = _parts(n_classes, n_pixels, n_latents, hidden, likelihood)
    return SemiSupervisedVAE(mlp(n_pixels, n_classes, hidden), *parts)


def _parts(
    n_condition: int,
    n_pixels: int,
    n_latents: int,
    hidden: Sequence[int],
    likelihood: Likelihood | None,
) -> tuple[Encoder, nn.Module, Likelihood, StandardNormal, int]:
    check_at_least("n_condition", n_condition, 0)
    check_sizes(n_pixels=n_pixels, n_latents=n_latents)
    likelihood = likelihood or Bernoulli()
    return (
        Encoder(mlp(n_condition + n_pixels, 2 * n_latents, hidden)),
        mlp(n_condition + n_latents, n_pixels * likelihood.n_per_pixel, hidden[::-1]),
        likelihood,
        StandardNormal(n_latents),
        n_condition,
    )


# --- objectives for vaebook.training.fit ------------------------------------------------------


def conditional_objective(
    model: ConditionalVAE, rows: Tensor, generator: Generator | None = None, beta: float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Bound on log p(x|y) to maximise (equation ``eq-conditional-elbo``), and both its terms."""
    y, x = model.split(rows)
    return elbo_objective(model.given(y), x, generator, beta)


def semi_supervised_objective(alpha: float) -> Objective:
    """Make the objective of rows of which some have a class (``def-semi-supervised-objective``).

    Parameters
    ----------
    alpha
        Weight of the classifier's log-probability of a known class, beside the bound.
    """
    if not (math.isfinite(alpha) and alpha >= 0):
        fail("alpha", "a number of at least 0", alpha)

    def objective(
        model: SemiSupervisedVAE, rows: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        y, x = model.split(rows)
        bound = model.bound(y, x, generator)
        right = (y * model.classify(x)).sum(-1)  # 0 where no class is known
        return bound + alpha * right, {"bound_alone": bound, "log_q": right}

    return objective
