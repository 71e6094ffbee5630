"""Autoregressive models of binary images and of codes: exact densities by the chain rule.

A joint distribution is a product of conditionals, one for each pixel given those before it in some
ordering. Two networks that give all conditionals at once, whatever the ordering::

    model = MADE(784, hidden=(512,))                # masked autoencoder
    model = PixelRNN(28, 28)                        # recurrent over rows
    fit(model, pixels, likelihood_objective, transform=dynamic_binarization)
    model.log_prob(x)                               # exact, in nats, one a datum
    model.sample(16, generator)                     # pixel by pixel
    model.complete(x, 392, generator)               # keep the first half, draw the rest

Data are rows of zeros and ones, shape (batch, n_pixels). A `CategoricalMADE` is the same for rows
of whole numbers, such as the codes of :mod:`vaebook.vector_quantization`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from vaebook._checks import (
    check_at_least,
    check_batch,
    check_sizes,
    fail,
    is_binary,
    values_are_trusted,
)
from vaebook.gaussian import at_least_single


class Autoregressive(nn.Module, ABC):
    r"""Binary pixels, each given those before it in an ordering.

    Equation ``def-autoregressive-model`` of the book. Networks see the pixels in the order in which
    they are drawn; this class permutes them to and fro.

    Parameters
    ----------
    n_pixels
        Dimension of a datum.
    ordering
        Which pixel is drawn first, second, ...: a permutation of 0 to n_pixels - 1. None: in the
        order of the columns, for an image row by row.
    """

    ordering: Tensor

    def __init__(self, n_pixels: int, ordering: Sequence[int] | Tensor | None = None) -> None:
        super().__init__()
        check_at_least("n_pixels", n_pixels, 1)
        natural = torch.arange(n_pixels)
        order = natural if ordering is None else _as_tensor(ordering)
        if order.shape != natural.shape or not torch.equal(order.sort().values, natural):
            wanted = f"a permutation of 0 to {n_pixels - 1}"
            fail("ordering", wanted, f"{order.numel()} entries, {order.tolist()[:5]} ...")
        self.register_buffer("ordering", order.long().clone())

    @property
    def n_pixels(self) -> int:
        """Dimension of a datum."""
        return len(self.ordering)

    @abstractmethod
    def _logits(self, x: Tensor) -> Tensor:
        """Logits of all conditionals; `x` and the answer in the order of drawing."""

    @abstractmethod
    def _draw(self, x: Tensor, n_known: int, generator: Generator | None) -> Tensor:
        """Keep `n_known` columns of `x`, draw the others; in the order of drawing."""

    def logits(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch pixels"]:
        r"""Log-odds that each pixel is lit, given the pixels of `x` that come before it.

        All conditionals in one pass, each with the *true* earlier pixels of `x` ("teacher
        forcing").

        Parameters
        ----------
        x
            Zeros and ones, shape (batch, n_pixels).

        Returns
        -------
        Tensor
            :math:`\log p(x_i = 1 | \cdot) - \log p(x_i = 0 | \cdot)`, shape (batch, n_pixels), in
            the order of the columns of `x`; differentiable.

        Raises
        ------
        ValueError
            If `x` has another shape, is not floating, or holds anything but zeros and ones.
        """
        self._check_pixels("x", x)
        return self._from_order(self._logits(x[:, self.ordering]).to(x.dtype))

    def log_conditionals(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch pixels"]:
        r"""Log-probability of each pixel of `x` given those before it, in nats.

        Arguments and errors as for :meth:`logits`. The sum over a row is :meth:`log_prob`.
        """
        # p(1) = sigmoid(l) and p(0) = sigmoid(-l)
        return F.logsigmoid((2 * x - 1) * self.logits(x))

    def log_prob(self, x: Float[Tensor, "batch pixels"]) -> Float[Tensor, " batch"]:
        """Exact log-probability of each row of `x`, in nats; equation ``eq-ar-log-likelihood``.

        Arguments and errors as for :meth:`logits`.
        """
        return at_least_single(self.log_conditionals(x)).sum(-1)

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n pixels"]:
        """Draw `n` images, pixel by pixel, all images at a time.

        Parameters
        ----------
        n
            How many, at least 1.
        generator
            Source of the randomness, on the model's device; torch's own if None.

        Returns
        -------
        Tensor
            Zeros and ones, shape (n, n_pixels).
        """
        check_at_least("n", n, 1)
        return self.complete(next(self.parameters()).new_zeros(n, self.n_pixels), 0, generator)

    def complete(
        self, x: Float[Tensor, "batch pixels"], n_known: int, generator: Generator | None = None
    ) -> Float[Tensor, "batch pixels"]:
        """Keep the first pixels of each image, in the model's ordering, and draw the others.

        The drawn pixels follow the model's exact conditional distribution given the kept ones. For
        other sets of kept pixels the model has no such conditional at hand.

        Parameters
        ----------
        x
            Zeros and ones, shape (batch, n_pixels). The pixels to be drawn are ignored.
        n_known
            How many pixels to keep, from 0 to n_pixels.
        generator
            Source of the randomness, on the model's device; torch's own if None.

        Returns
        -------
        Tensor
            Zeros and ones, shape of `x`.

        Raises
        ------
        ValueError
            If `x` is unusable (see :meth:`logits`) or `n_known` lies out of range.
        """
        self._check_pixels("x", x)
        check_at_least("n_known", n_known, 0)
        if n_known > self.n_pixels:
            fail("n_known", f"at most {self.n_pixels} pixels", n_known)
        with torch.no_grad():
            return self._from_order(self._draw(x[:, self.ordering], n_known, generator))

    def _from_order(self, ordered: Tensor) -> Tensor:
        return ordered[:, self.ordering.argsort()]

    def _check_pixels(self, argument: str, x: Tensor) -> None:
        check_batch(argument, x, self.n_pixels)
        wanted = next(self.parameters()).dtype
        if x.dtype != wanted:
            fail(argument, f"{wanted}, as the model's weights", x.dtype)
        if not is_binary(x):  # on grey pixels the formula is no likelihood
            fail(argument, "pixels of 0 and 1 (binarize grey ones)", f"values up to {x.max():.4g}")


def _as_tensor(numbers: Sequence[int] | Tensor) -> Tensor:
    """Return the numbers as a tensor, however an array of them lies in memory."""
    if isinstance(numbers, Tensor):
        return numbers
    array = np.asarray(numbers)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


class MADE(Autoregressive):
    """Masked autoencoder [1]_: one network gives every conditional, any ordering.

    Equation ``def-made-masks`` of the book.

    Parameters
    ----------
    n_pixels
        Dimension of a datum.
    hidden
        Widths of the hidden layers. Empty: each logit is a linear function of the pixels before it,
        a fully visible sigmoid belief network.
    ordering
        Which pixel is drawn first, second, ...; see :class:`Autoregressive`.

    References
    ----------
    .. [1] M. Germain et al. (2015), MADE: masked autoencoder for distribution estimation, ICML.
    """

    def __init__(
        self,
        n_pixels: int = 784,
        hidden: Sequence[int] = (512,),
        ordering: Sequence[int] | Tensor | None = None,
    ) -> None:
        super().__init__(n_pixels, ordering)
        self.network = MaskedNetwork(n_pixels, hidden)

    def _logits(self, x: Tensor) -> Tensor:
        return self.network(x)

    def _draw(self, x: Tensor, n_known: int, generator: Generator | None) -> Tensor:
        return self.network.draw(x, n_known, generator=generator)


class CategoricalMADE(nn.Module):
    r"""Whole numbers in a row, each given those before it: a :class:`MADE` with more values.

    Equation ``def-code-prior`` of the book. The network sees each number as a one-hot vector and
    answers with one logit a value. Untrained, it finds all rows equally probable.

    Parameters
    ----------
    n_positions
        Length of a row.
    n_values
        Each number is one of 0 to n_values - 1.
    hidden
        Widths of the hidden layers.
    """

    def __init__(self, n_positions: int, n_values: int, hidden: Sequence[int] = (512,)) -> None:
        super().__init__()
        check_sizes(n_positions=n_positions, n_values=n_values)
        self.n_positions, self.n_values, self.hidden = n_positions, n_values, tuple(hidden)
        self.network = MaskedNetwork(n_positions, hidden, n_values=n_values)
        for layer in (self.network.layers[-1], self.network.direct):
            for weights in () if layer is None else layer.parameters():
                nn.init.zeros_(weights)

    def logits(
        self, codes: Int[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch positions values"]:
        """Log-probability of each value at each position, given the numbers of `codes` before it.

        Parameters
        ----------
        codes
            Whole numbers from 0 to n_values - 1, shape (batch, n_positions).

        Returns
        -------
        Tensor
            Shape (batch, n_positions, n_values), nats; the exponentials of a position sum to 1.

        Raises
        ------
        ValueError
            If `codes` has another shape, is not of whole numbers, or holds one out of range.
        """
        self._check_codes(codes)
        values = torch.arange(self.n_values, device=codes.device)
        one_hot = (codes[..., None] == values).to(next(self.parameters()).dtype)
        answers = self.network(one_hot.flatten(1)).to(one_hot.dtype)
        return answers.view(one_hot.shape).log_softmax(-1)

    def log_conditionals(
        self, codes: Int[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch positions"]:
        """Log-probability of each number given those before it, in nats; see :meth:`logits`."""
        return self.logits(codes).gather(-1, codes.long()[..., None])[..., 0]

    def log_prob(self, codes: Int[Tensor, "batch positions"]) -> Float[Tensor, " batch"]:
        """Exact log-probability of each row, in nats; see :meth:`logits`."""
        return self.log_conditionals(codes).sum(-1)

    def sample(self, n: int, generator: Generator | None = None) -> Int[Tensor, "n positions"]:
        """Draw `n` rows, position by position, with one pass of the network for each.

        Parameters
        ----------
        n
            How many, at least 1.
        generator
            Source of the randomness, on the model's device; torch's own if None.
        """
        check_at_least("n", n, 1)
        device = next(self.parameters()).device
        codes = torch.zeros(n, self.n_positions, dtype=torch.int64, device=device)
        with torch.no_grad():
            for position in range(self.n_positions):
                chances = self.logits(codes)[:, position].exp()
                codes[:, position] = torch.multinomial(chances, 1, generator=generator)[:, 0]
        return codes

    def _check_codes(self, codes: Tensor) -> None:
        if codes.is_floating_point() or codes.dtype == torch.bool:
            fail("codes", "whole numbers", codes.dtype)
        if codes.ndim != 2 or codes.shape[1] != self.n_positions or len(codes) == 0:
            wanted = f"at least one row of {self.n_positions} numbers"
            fail("codes", wanted, f"shape {tuple(codes.shape)}")
        if values_are_trusted():
            return
        low, high = codes.aminmax()
        if low < 0 or high >= self.n_values:
            fail("codes", f"numbers from 0 to {self.n_values - 1}", f"{low} to {high}")


class PixelRNN(Autoregressive):
    """Recurrent network over rows, with a masked network within each row.

    The state of a gated recurrent unit [1]_ summarises the rows above; given the state, a
    :class:`MaskedNetwork` that all rows share gives the conditionals of the pixels of one row
    (equation ``def-row-model`` of the book). The likelihood is exact. ``PixelRNN(784, 1)`` is
    recurrent over single pixels. For pixel-recurrent networks with two-dimensional state see [2]_.

    Parameters
    ----------
    n_rows, n_columns
        Of the image.
    n_state
        Size of the recurrent state.
    hidden
        Widths of the hidden layers of the network within a row.
    ordering
        Which pixel is drawn first, second, ...; see :class:`Autoregressive`. A "row" is what the
        ordering puts into `n_columns` consecutive places.

    References
    ----------
    .. [1] K. Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for
       statistical machine translation, EMNLP.
    .. [2] A. van den Oord, N. Kalchbrenner and K. Kavukcuoglu (2016), Pixel recurrent neural
       networks, ICML.
    """

    def __init__(
        self,
        n_rows: int = 28,
        n_columns: int = 28,
        n_state: int = 256,
        hidden: Sequence[int] = (256,),
        ordering: Sequence[int] | Tensor | None = None,
    ) -> None:
        check_at_least("n_rows", n_rows, 1)
        check_at_least("n_columns", n_columns, 1)
        check_at_least("n_state", n_state, 1)
        super().__init__(n_rows * n_columns, ordering)
        self.n_rows, self.n_columns = n_rows, n_columns
        self.recurrent = nn.GRU(int(n_columns), int(n_state), batch_first=True)  # no NumPy's
        # added to what the recurrent unit reads before each row, to tell it which row comes
        self.position = nn.Parameter(torch.zeros(n_rows, n_columns))
        self.within_row = MaskedNetwork(n_columns, hidden, n_context=n_state)

    def _logits(self, x: Tensor) -> Tensor:
        rows = x.view(-1, self.n_rows, self.n_columns)
        above = F.pad(rows, (0, 0, 1, 0))[:, :-1]  # the row above each row; zeros above the first
        state, _ = self.recurrent(above + self.position)
        return self.within_row(rows, state).flatten(1)

    def _draw(self, x: Tensor, n_known: int, generator: Generator | None) -> Tensor:
        rows = x.view(-1, self.n_rows, self.n_columns).clone()
        above, state = torch.zeros_like(rows[:, :1]), None
        for r in range(self.n_rows):
            context, state = self.recurrent(above + self.position[r], state)
            known = min(max(n_known - r * self.n_columns, 0), self.n_columns)
            rows[:, r] = self.within_row.draw(rows[:, r], known, context[:, 0], generator)
            above = rows[:, r : r + 1]
        return rows.flatten(1)


class MaskedNetwork(nn.Module):
    r"""Perceptron whose output i depends on inputs 0 to i - 1 only, and on a context.

    Each hidden unit sees a fixed number of leading inputs, its degree, and of each layer before it
    the units of no larger degree. The degrees are spread evenly and sorted, so that the masks are
    (nearly) triangular. Inputs also reach the outputs directly.

    Parameters
    ----------
    n_pixels
        Number of inputs and of outputs.
    hidden
        Widths of the hidden layers.
    n_context
        Length of the context, on which every output may depend; 0 for none.
    n_values
        Units that stand for one input, and for one output: 1 for a pixel, K for a number that is
        one of K. What is said of input i holds for all of its units.
    """

    def __init__(
        self, n_pixels: int, hidden: Sequence[int], n_context: int = 0, n_values: int = 1
    ) -> None:
        super().__init__()
        check_at_least("n_pixels", n_pixels, 1)
        check_at_least("n_context", n_context, 0)
        for width in hidden:
            check_at_least("hidden", width, 1)
        # a unit of degree 0 would be a constant, unless there is a context to look at
        lowest = 0 if n_context else min(1, n_pixels - 1)
        spread = [torch.linspace(lowest, n_pixels - 1, width).round().long() for width in hidden]
        inputs = torch.arange(n_pixels).repeat_interleave(n_values)
        self.degrees = [inputs + 1, *spread, inputs]  # input i is known to whoever sees i + 1
        pairs = zip(self.degrees[:-1], self.degrees[1:], strict=True)
        self.layers = cast(
            "Sequence[MaskedLinear]",
            nn.ModuleList(MaskedLinear(below, above) for below, above in pairs),
        )
        self.direct = MaskedLinear(inputs + 1, inputs, bias=False) if hidden else None
        sizes = [len(above) for above in self.degrees[1:]] if n_context else []
        self.contexts = cast(
            "Sequence[nn.Linear]",
            nn.ModuleList(nn.Linear(n_context, size, bias=False) for size in sizes),
        )

    def forward(
        self, x: Float[Tensor, "*batch pixels"], context: Float[Tensor, "*batch c"] | None = None
    ) -> Float[Tensor, "*batch pixels"]:
        """Logits of all outputs, in one pass."""
        values = x
        for i, layer in enumerate(self.layers):
            values = layer(values if i == 0 else F.silu(values))
            if self.contexts:
                values = values + self.contexts[i](context)
        return values if self.direct is None else values + self.direct(x)

    def draw(
        self,
        x: Float[Tensor, "batch pixels"],
        n_known: int,
        context: Float[Tensor, "batch c"] | None = None,
        generator: Generator | None = None,
    ) -> Float[Tensor, "batch pixels"]:
        """Keep the first `n_known` columns, draw the others one after the other.

        A unit is computed once, as soon as all the inputs that it sees are known. So drawing all
        pixels takes the arithmetic of one pass, where calling :meth:`forward` for each pixel would
        take that of `n_pixels` passes.
        """
        n_pixels, n_hidden = x.shape[1], len(self.layers) - 1
        weights = [layer.masked_weight() for layer in self.layers]
        offsets = [layer.bias.expand(len(x), -1) for layer in self.layers]
        if self.contexts:
            offsets = [b + layer(context) for b, layer in zip(offsets, self.contexts, strict=True)]
        # the pixels, then the hidden layers; in each, the first `ready` units see no pixel beyond t
        values = [x.clone(), *(x.new_empty(b.shape) for b in offsets[:-1])]
        lengths = torch.arange(n_pixels)
        ready = [torch.searchsorted(d, lengths, right=True).tolist() for d in self.degrees[:-1]]
        done = [0] * n_hidden
        for t in range(n_known, n_pixels):
            for i in range(n_hidden):
                below, new = ready[i][t], slice(done[i], ready[i + 1][t])
                if new.start < new.stop:
                    inputs = F.linear(values[i][:, :below], weights[i][new, :below])
                    values[i + 1][:, new] = F.silu(inputs + offsets[i][:, new])
                    done[i] = new.stop
            below = ready[-1][t]
            logits = offsets[-1][:, t] + values[-1][:, :below] @ weights[-1][t, :below]
            if self.direct is not None:
                logits = logits + values[0][:, :t] @ self.direct.weight[t, :t]
            values[0][:, t] = torch.bernoulli(torch.sigmoid(logits), generator=generator)
        return values[0]


class MaskedLinear(nn.Linear):
    """Linear layer from units of some degrees to units of others, the larger weights cut.

    Parameters
    ----------
    below, above
        Degrees of the inputs and of the outputs: an output sees the inputs of no larger degree.
    bias
        Whether to add a learned constant.
    """

    mask: Tensor

    def __init__(self, below: Tensor, above: Tensor, bias: bool = True) -> None:
        super().__init__(len(below), len(above), bias)
        self.register_buffer("mask", (above[:, None] >= below).float(), persistent=False)

    def masked_weight(self) -> Tensor:
        """Weights, zero where the output may not see the input."""
        return self.weight * self.mask

    def forward(self, x: Float[Tensor, "*batch below"]) -> Float[Tensor, "*batch above"]:
        """Apply the layer."""
        return F.linear(x, self.masked_weight(), self.bias)


def likelihood_objective(
    model: Autoregressive, x: Tensor, generator: Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Objective for :func:`vaebook.training.fit`: the exact log-likelihood, one a datum, in nats.

    `generator` is there for `fit`; an exact likelihood has no noise.
    """
    log_prob = model.log_prob(x)
    return log_prob, {"log_prob": log_prob}
