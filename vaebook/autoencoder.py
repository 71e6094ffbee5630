"""The plain autoencoder: a code of chosen size, and back, by two networks.

An `Autoencoder` learns to copy its data through a narrow code::

    model = mlp_autoencoder(n_latents=2)
    fit(model, x, reconstruction_objective)
    z = model.encode(x)                  # one point a datum, where a VAE has a distribution
    model.decode(z)                      # the image that belongs to a code, as in a VAE

It has no `sample` and no `log_prob`: it defines no distribution, neither of codes nor of data.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from vaebook._checks import check_batch, check_rows, check_sizes, fail
from vaebook.networks import check_input, interpolate, mlp


class Autoencoder(nn.Module):
    """Two networks that meet in a code (equation ``def-autoencoder`` of the book).

    Parameters
    ----------
    encoder
        Module from data, shape (batch, n_pixels), to codes, shape (batch, n_latents).
    decoder
        Module from codes back to data.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch latents"]:
        """Return the code of each row: a point, not a distribution."""
        check_batch("x", x)
        check_input("x", self.encoder, x)
        return self.encoder(x).to(x.dtype)  # in mixed precision a network answers in bfloat16

    def decode(self, z: Float[Tensor, "*batch latents"]) -> Float[Tensor, "*batch pixels"]:
        """Return the datum that belongs to each code."""
        check_rows(z=z)
        check_input("z", self.decoder, z)
        decoded = self.decoder(z.reshape(-1, z.shape[-1]))
        return decoded.to(z.dtype).view(*z.shape[:-1], -1)

    def reconstruct(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch pixels"]:
        """Encode and decode, without a gradient."""
        with torch.no_grad():
            return self.decode(self.encode(x))

    def reconstruction_error(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, " batch"]:
        """Squared distance of each row from its reconstruction, differentiable.

        Equation ``def-reconstruction-error`` of the book: a sum over pixels, not a mean.
        """
        reconstruction = self.decode(self.encode(x))
        if reconstruction.shape != x.shape:  # broadcasting would hide it
            fail("x", f"{reconstruction.shape[1]} columns, as the decoder gives", tuple(x.shape))
        return (x - reconstruction).square().sum(-1)

    def interpolate(
        self,
        x_from: Float[Tensor, "batch pixels"],
        x_to: Float[Tensor, "batch pixels"],
        n_steps: int = 8,
    ) -> Float[Tensor, "batch n_steps pixels"]:
        """Decode `n_steps` points on the straight lines between the codes of two batches."""
        check_batch("x_from", x_from)
        check_batch("x_to", x_to)
        return interpolate(self.encode, self.decode, x_from, x_to, n_steps)


def mlp_autoencoder(
    n_pixels: int = 784, n_latents: int = 2, hidden: Sequence[int] = (400,)
) -> Autoencoder:
    """Autoencoder of perceptrons, the decoder the encoder's mirror image; by default 784-400-2.

    Parameters
    ----------
    n_pixels, n_latents
        Dimensions of the data and of the code.
    hidden
        Widths of the encoder's hidden layers. Empty: both maps are linear, and the best code spans
        the principal components (equation ``eq-linear-autoencoder`` of the book).

    Returns
    -------
    Autoencoder
        The model, untrained. Its output is linear: nothing keeps a decoded pixel within [0, 1].
    """
    check_sizes(n_pixels=n_pixels, n_latents=n_latents)
    return Autoencoder(mlp(n_pixels, n_latents, hidden), mlp(n_latents, n_pixels, hidden[::-1]))


def reconstruction_objective(
    model: Autoencoder, x: Tensor, generator: Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Objective for :func:`vaebook.training.fit`: the negative squared error, one a datum.

    `generator` is there for `fit`; a plain autoencoder has no noise. The values are squared
    distances, not nats.
    """
    error = model.reconstruction_error(x)
    return -error, {"squared_error": error}
