r"""Latent diffusion: a diffusion model of the codes of a VAE.

The VAE turns images into short codes and back; the diffusion model learns where codes lie::

    model = LatentDiffusion(vae, Diffusion(NoiseMLP(20), cosine_schedule(100), 20))
    fit(model, pixels, latent_objective, transform=dynamic_binarization)   # the VAE stays
    model.elbo(x)                                                          # nats, one a datum
    model.sample(16, generator)

It is a VAE again, whose prior is a diffusion model, and so it has a bound in nats.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_at_least, fail
from vaebook.diffusion import Diffusion, bound_objective, chains_at_once
from vaebook.estimators import Pieces
from vaebook.gaussian import log_normal, reparameterize
from vaebook.likelihoods import mean_or_draw
from vaebook.vae import VAE


class LatentDiffusion(nn.Module):
    r"""A trained VAE, and a diffusion model in place of its prior [1]_.

    Parameters
    ----------
    vae
        The model that makes codes and decodes them. Its own prior plays no part, and
        :func:`latent_objective` does not train it.
    diffusion
        A :class:`~vaebook.diffusion.Diffusion` of as many features as a code has.

    References
    ----------
    .. [1] R. Rombach, A. Blattmann, D. Lorenz, P. Esser and B. Ommer (2022), High-resolution image
       synthesis with latent diffusion models, CVPR.
    """

    def __init__(self, vae: VAE, diffusion: Diffusion) -> None:
        super().__init__()
        if diffusion.n_features != vae.n_latents:
            fail("diffusion", f"{vae.n_latents} features, as a code has", diffusion.n_features)
        self.vae, self.diffusion = vae, diffusion

    def draw_codes(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> Float[Tensor, "batch latents"]:
        """Draw a code of each row from q(z|x), without a gradient."""
        with torch.no_grad():
            return reparameterize(*self.vae.encode(x), generator)

    def elbo(
        self, x: Float[Tensor, "batch pixels"], generator: Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Lower bound of log p(x) (equation ``eq-latent-diffusion-bound``), from one draw each.

        Parameters
        ----------
        x
            Data, shape (batch, n_pixels).
        generator
            Source of the noise; torch's own if None.

        Returns
        -------
        Tensor
            Nats, shape (batch,). It costs as many calls of the denoiser as there are steps.
        """
        mean, log_var = self.vae.encode(x)
        z = reparameterize(mean, log_var, generator)
        log_likelihood = self.vae.likelihood.log_prob(x, self.vae._decode(z))
        return log_likelihood - log_normal(z, mean, log_var) + self.diffusion.elbo(z, generator)

    def log_weights(
        self, x: Float[Tensor, "batch pixels"], k: int, generator: Generator | None = None
    ) -> Float[Tensor, "k batch"]:
        """Log importance weights of `k` codes a datum, each with a chain of noisy codes of its own.

        log p(x, z_0, ..., z_T) - log q(z_0|x) q(z_1, ..., z_T|z_0), in nats.
        """
        check_at_least("k", k, 1)
        mean, log_var = (p.expand(k, *p.shape) for p in self.vae.encode(x))
        z = reparameterize(mean, log_var, generator)
        return self._log_weights(x, mean, log_var, z, generator)

    def _log_weights(
        self, x: Tensor, mean: Tensor, log_var: Tensor, z: Tensor, generator: Generator | None
    ) -> Tensor:
        chains = self.diffusion.log_weights(z.flatten(0, 1), 1, generator).view(z.shape[:2])
        log_likelihood = self.vae.likelihood.log_prob(x, self.vae._decode(z))
        return log_likelihood + chains - log_normal(z, mean, log_var)

    def log_prob_estimate(
        self, x: Float[Tensor, "batch pixels"], k: int = 500, generator: Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Estimate log p(x) by importance sampling; the expectation is a bound that rises with `k`.

        Equation ``eq-iwae`` of the book, with :meth:`log_weights`. As many calls of the denoiser
        as there are steps, for each piece (:class:`vaebook.estimators.Pieces`).
        """
        check_at_least("k", k, 1)
        self.vae._check_data(x)
        pieces = Pieces(k, chains_at_once(x))
        with torch.no_grad():
            return torch.cat(
                [
                    self._log_prob_estimate(rows, pieces, generator)
                    for rows in x.split(pieces.n_data)
                ]
            )

    def _log_prob_estimate(self, x: Tensor, pieces: Pieces, generator: Generator | None) -> Tensor:
        mean, log_var = self.vae.encode(x)

        def log_weights(noise: Tensor) -> Tensor:
            z = mean + torch.exp(0.5 * log_var) * noise
            return self._log_weights(x, mean, log_var, z, generator)

        return pieces.log_mean_weight(log_weights, mean, generator)

    def sample(
        self, n: int, generator: Generator | None = None, mean: bool = False
    ) -> Float[Tensor, "n pixels"]:
        """Draw new images: a code out of noise, step by step, then x from p(x|z).

        Parameters
        ----------
        n
            Number of images.
        generator
            Source of randomness; torch's own if None.
        mean
            Return E[x|z] in place of the last draw.
        """
        with torch.no_grad():
            params = self.vae._decode(self.diffusion.sample(n, generator))
            return mean_or_draw(self.vae.likelihood, params, generator, mean)


def latent_objective(
    model: LatentDiffusion, x: Tensor, generator: Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Bound of the diffusion model on a drawn code of each datum, from one random step, in nats.

    The part of ``eq-latent-diffusion-bound`` that the diffusion model can change; an objective for
    :func:`vaebook.training.fit`.
    """
    return bound_objective(model.diffusion, model.draw_codes(x, generator), generator)
