"""Each statement of the chapter on autoregressive models, against enumeration."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.common import F64, seeded
from vaebook.autoregressive import MADE, Autoregressive, PixelRNN

D = 6
ALL = torch.tensor(list(product([0.0, 1.0], repeat=D)), dtype=F64)


def models(seed: int = 0) -> list[Autoregressive]:
    """Masked and recurrent networks with large random weights, in random orderings."""
    order = torch.randperm(D, generator=seeded(seed))
    made: list[Autoregressive] = [
        MADE(D, (), order),
        MADE(D, (9, 14), order),
        PixelRNN(2, 3, 5, (7,), order),
        PixelRNN(6, 1, 5, (4,), order),
    ]
    for model in made:
        for parameter in model.double().parameters():
            torch.nn.init.normal_(parameter, generator=seeded(seed + 1))
    return made


def marginal(joint: Tensor, x: Tensor, kept: list[int]) -> Tensor:
    """Probability, by summing the joint, of the values that each row of `x` has in `kept`."""
    agree = (ALL[None, :, kept] == x[:, None, kept]).all(-1)
    return (agree * joint).sum(-1)


@pytest.mark.equation("eq-chain-rule", tolerance="1e-14")
def test_chain_rule_in_every_order() -> None:
    """A random table of four variables with 2 to 4 values: sums over its axes, in all 24 orders."""
    joint = np.random.default_rng(1).random((3, 2, 4, 2))
    joint /= joint.sum()
    for order in permutations(range(4)):
        value = np.ones(())
        for i in range(4):
            upto = joint.sum(axis=order[i + 1 :], keepdims=True)
            before = joint.sum(axis=order[i:], keepdims=True)
            value = value * (upto / before)
        assert np.abs(value - joint).max() < 1e-14


@pytest.mark.equation("eq-chain-rule", tolerance="1e-10")
def test_reported_conditionals_are_ratios_of_marginals() -> None:
    """Marginals of a model's joint, by enumeration, in the model's order."""
    for model in models():
        joint = model.log_prob(ALL).exp()
        conditionals = model.log_conditionals(ALL).exp()
        known: list[int] = []
        for pixel in model.ordering.tolist():
            ratio = marginal(joint, ALL, [*known, pixel]) / marginal(joint, ALL, known)
            torch.testing.assert_close(conditionals[:, pixel], ratio, rtol=1e-10, atol=0)
            known.append(pixel)


@pytest.mark.equation("eq-table-size", tolerance="exact")
def test_the_product_needs_as_many_numbers_as_the_table() -> None:
    """Counting: the distinct beginnings of all images, one free number for each."""
    for n_pixels in range(1, 9):
        beginnings = {
            image[:i] for image in product((0, 1), repeat=n_pixels) for i in range(n_pixels)
        }
        assert len(beginnings) == sum(2 ** (i - 1) for i in range(1, n_pixels + 1))
        assert len(beginnings) == 2**n_pixels - 1


@pytest.mark.equation("eq-linear-ar-size", tolerance="exact")
@pytest.mark.parametrize("n_pixels", [1, 2, 7, 30])
def test_size_of_the_linear_model(n_pixels: int) -> None:
    """Counting the parameters on which the likelihood depends, by their gradients."""
    model = MADE(n_pixels, ()).double()
    x = torch.bernoulli(torch.full((200, n_pixels), 0.5, dtype=F64), generator=seeded())
    model.log_prob(x).square().sum().backward()
    used = sum(int((p.grad != 0).sum()) for p in model.parameters() if p.grad is not None)
    assert used == sum(range(1, n_pixels + 1)) == n_pixels * (n_pixels + 1) // 2


@pytest.mark.equation("eq-ar-log-likelihood", tolerance="1e-12")
def test_log_likelihood_pixel_by_pixel() -> None:
    """PyTorch's Bernoulli density, one pixel at a time, all later pixels replaced by noise."""
    for model in models():
        total = torch.zeros(len(ALL), dtype=F64)
        for i, pixel in enumerate(model.ordering.tolist()):
            x = ALL.clone()
            later = model.ordering[i:]
            x[:, later] = torch.randint(0, 2, (len(ALL), D - i), generator=seeded(i)).double()
            logits = model.logits(x)[:, pixel]
            total += torch.distributions.Bernoulli(logits=logits).log_prob(ALL[:, pixel])
        torch.testing.assert_close(model.log_prob(ALL), total, rtol=1e-12, atol=1e-12)


@pytest.mark.equation("eq-ar-normalized", tolerance="1e-12")
@pytest.mark.parametrize("seed", range(5))
def test_probabilities_sum_to_one(seed: int) -> None:
    """Enumeration of all images, for random weights and orderings."""
    for model in models(seed):
        log_prob = model.log_prob(ALL)
        assert log_prob.std() > 0.1  # not the uniform distribution
        assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.equation("eq-ar-no-leak", tolerance="exact")
def test_no_output_looks_ahead() -> None:
    """Automatic differentiation at every image, and flipping each pixel in turn."""
    for model in models():
        rank = model.ordering.argsort()
        ahead = rank[None, :] >= rank[:, None]  # [i, j]: pixel j is not drawn before pixel i
        jacobian = torch.autograd.functional.jacobian(lambda x, m=model: m.logits(x).sum(0), ALL)
        assert (jacobian.transpose(0, 1)[:, ahead] == 0).all()
        assert (jacobian.abs().amax(1)[~ahead] > 0).all()
        for j in range(D):
            flipped = ALL.clone()
            flipped[:, j] = 1 - flipped[:, j]
            moved = (model.logits(flipped) - model.logits(ALL)).abs().amax(0) > 1e-12
            assert not moved[ahead[:, j]].any()


@pytest.mark.equation("eq-ar-completion", tolerance="1e-10, and 4.5 standard errors")
@pytest.mark.parametrize("k", [0, 2, 5])
def test_completion(k: int) -> None:
    """Ratio of enumerated sums, for the factors; and the frequencies of 40,000 completions."""
    for model in models():
        joint = model.log_prob(ALL).exp().detach()
        known, rest = model.ordering[:k].tolist(), model.ordering[k:].tolist()
        conditional = joint / marginal(joint, ALL, known)
        factors = model.log_conditionals(ALL)[:, rest].sum(-1).exp().detach()
        torch.testing.assert_close(factors, conditional, rtol=1e-10, atol=0)
        start = ALL[37]
        drawn = model.complete(start.expand(40_000, -1), k, seeded(k))
        possible = (ALL[:, known] == start[known]).all(-1)
        powers = 2.0 ** torch.arange(D - 1, -1, -1, dtype=F64)
        counts = torch.bincount((drawn @ powers).long(), minlength=2**D)
        assert counts[~possible].sum() == 0
        p = conditional[possible]
        error = (p * (1 - p) / 40_000).sqrt()
        assert ((counts[possible] / 40_000 - p).abs() <= 4.5 * error + 1e-4).all()


@pytest.mark.equation("eq-ar-backward", tolerance="4.5 standard errors")
@pytest.mark.parametrize("k", [1, 3])
def test_conditionals_against_the_order(k: int) -> None:
    """Rejection: of 200,000 draws, those whose last pixels have the given values."""
    for model in models():
        joint = model.log_prob(ALL).exp().detach()
        last = model.ordering[k:].tolist()
        drawn = model.sample(200_000, seeded(k))
        given = drawn.mode(0).values  # an ending that is not too rare
        agree = (ALL[:, last] == given[last]).all(-1)
        assert agree.sum() == 2**k
        exact = joint[agree] / joint[agree].sum()
        kept = drawn[(drawn[:, last] == given[last]).all(-1)]
        assert len(kept) > 100
        frequency = (kept[None] == ALL[agree][:, None]).all(-1).double().mean(-1)
        error = (exact * (1 - exact) / len(kept)).sqrt()
        assert ((frequency - exact).abs() <= 4.5 * error + 1 / len(kept)).all()


def test_averaged_log_odds_are_no_distribution() -> None:
    """Exercise: two orders averaged in probability sum to one, averaged in log-odds do not."""
    forward, backward = MADE(D, (8,)).double(), MADE(D, (8,), torch.arange(D).flip(0)).double()
    for i, model in enumerate((forward, backward)):
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, generator=seeded(i))
    mixture = (forward.log_prob(ALL).exp() + backward.log_prob(ALL).exp()) / 2
    logits = (forward.logits(ALL) + backward.logits(ALL)) / 2
    averaged = torch.distributions.Bernoulli(logits=logits).log_prob(ALL).sum(-1).exp()
    assert mixture.sum().item() == pytest.approx(1, abs=1e-12)
    assert abs(averaged.sum().item() - 1) > 0.01


# --- a sequence of letters ----------------------------------------------------------------------


@pytest.mark.equation("eq-letter-bits", tolerance="1e-12")
def test_a_letter_is_a_product_of_bits() -> None:
    """Whole letters by enumeration: ratios of marginals, which add up to one over the alphabet."""
    model = PixelRNN(3, 2, 5, (7,)).double()  # words of three letters of two bits
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=seeded(5))
    with torch.no_grad():
        joint = model.log_prob(ALL).exp()
        of_letters = model.log_conditionals(ALL).view(-1, 3, 2).sum(-1).exp()
    for t in range(3):
        before, upto = list(range(2 * t)), list(range(2 * t + 2))
        printed = marginal(joint, ALL, upto) / marginal(joint, ALL, before)
        assert of_letters[:, t].numpy() == pytest.approx(printed.numpy(), rel=1e-12)
    first = {tuple(x[:2].tolist()): p for x, p in zip(ALL, of_letters[:, 0], strict=True)}
    assert float(sum(first.values())) == pytest.approx(1, abs=1e-12)


# --- what the definitions define ----------------------------------------------------------------


@pytest.mark.equation("def-autoregressive-model", tolerance="1e-12")
def test_log_odds_are_read_as_probabilities() -> None:
    """The printed logistic function at the logits, and the share of ratios of marginals."""
    for model in models():
        with torch.no_grad():
            joint, logits = model.log_prob(ALL).exp(), model.logits(ALL)
        for i, pixel in enumerate(model.ordering.tolist()):
            before = model.ordering[:i].tolist()
            lit = ALL.clone()
            lit[:, pixel] = 1
            exact = marginal(joint, lit, [*before, pixel]) / marginal(joint, ALL, before)
            printed = 1 / (1 + (-logits[:, pixel]).exp())
            assert printed.numpy() == pytest.approx(exact.numpy(), abs=1e-12)


@pytest.mark.equation("def-made-masks", tolerance="exact")
def test_weights_are_kept_where_the_degree_does_not_fall() -> None:
    """The degrees as printed, counted from one, and each weight of each layer."""
    network = MADE(D, (9, 14)).network
    inputs, outputs = list(range(1, D + 1)), list(range(D))
    assert network.degrees[0].tolist() == inputs
    assert network.degrees[-1].tolist() == outputs
    for hidden in network.degrees[1:-1]:
        assert set(hidden.tolist()) == set(range(1, D))
    for layer, below, above in zip(
        network.layers, network.degrees[:-1], network.degrees[1:], strict=True
    ):
        weight = layer.masked_weight()
        for (u, m_u), (v, m_v) in product(enumerate(above.tolist()), enumerate(below.tolist())):
            assert bool(weight[u, v] != 0) == (m_v <= m_u)


@pytest.mark.equation("def-row-model", tolerance="1e-12")
def test_the_row_model_row_by_row() -> None:
    """The gates of the recurrent unit written out, one row after the other."""
    model = PixelRNN(3, 2, 4, (5,)).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=seeded(6))
    gru, x = model.recurrent, ALL[37].view(3, 2)
    h, above = torch.zeros(4, dtype=F64), torch.zeros(2, dtype=F64)
    with torch.no_grad():
        logits = model.logits(ALL[37:38]).view(3, 2)
        for r in range(3):
            read = gru.weight_ih_l0 @ (above + model.position[r]) + gru.bias_ih_l0
            kept = gru.weight_hh_l0 @ h + gru.bias_hh_l0
            reset = torch.sigmoid(read[:4] + kept[:4])
            keep = torch.sigmoid(read[4:8] + kept[4:8])
            h = (1 - keep) * torch.tanh(read[8:] + reset * kept[8:]) + keep * h
            printed = model.within_row(x[r : r + 1], h[None])[0]
            assert logits[r].numpy() == pytest.approx(printed.numpy(), abs=1e-12)
            above = x[r]
