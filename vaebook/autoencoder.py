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

from vaebook._checks import check_at_least, check_batch, check_rows, fail
from vaebook.vae import mlp


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
        return _through(self.encoder, "x", x)

    def decode(self, z: Float[Tensor, "*batch latents"]) -> Float[Tensor, "*batch pixels"]:
        """Return the datum that belongs to each code."""
        check_rows(z=z)
        decoded = _through(self.decoder, "z", z.reshape(-1, z.shape[-1]))
        return decoded.view(*z.shape[:-1], -1)

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
        if x_to.shape != x_from.shape:
            fail("x_to", f"the shape of x_from, {tuple(x_from.shape)}", tuple(x_to.shape))
        check_at_least("n_steps", n_steps, 2)
        with torch.no_grad():
            start, stop = self.encode(x_from), self.encode(x_to)
            position = torch.linspace(0, 1, n_steps, dtype=start.dtype, device=start.device)
            return self.decode(torch.lerp(start[:, None], stop[:, None], position[:, None]))


def _through(network: nn.Module, argument: str, rows: Tensor) -> Tensor:
    """Apply a network to rows, in their precision even under mixed precision."""
    try:
        return network(rows).to(rows.dtype)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # a module does not say what it takes before it is called
        got = f"shape {tuple(rows.shape)} of {rows.dtype}: {error}"
        raise ValueError(f"{argument}: wanted rows that the network takes, got {got}") from error


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
    check_at_least("n_pixels", n_pixels, 1)
    check_at_least("n_latents", n_latents, 1)
    return Autoencoder(mlp(n_pixels, n_latents, hidden), mlp(n_latents, n_pixels, hidden[::-1]))


def reconstruction_objective(
    model: Autoencoder, x: Tensor, beta: float = 1.0, generator: Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Objective for :func:`vaebook.training.fit`: the negative squared error, one a datum.

    `beta` and `generator` are there for `fit`; a plain autoencoder has neither a second term nor
    noise. The values are squared distances, not nats.
    """
    error = model.reconstruction_error(x)
    return -error, {"squared_error": error}
