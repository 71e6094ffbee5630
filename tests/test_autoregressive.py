"""Autoregressive models: exact densities by enumeration, exact samples, no look ahead."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from tests.common import seeded
from vaebook.autoregressive import (
    MADE,
    CategoricalMADE,
    MaskedNetwork,
    PixelRNN,
    likelihood_objective,
)
from vaebook.data import dynamic_binarization
from vaebook.taxonomy import classify
from vaebook.training import fit

D = 8
ALL = torch.tensor(list(product([0.0, 1.0], repeat=D)), dtype=torch.float64)
MODELS = {
    "no hidden layer": lambda order: MADE(D, (), order),
    "fewer units than pixels": lambda order: MADE(D, (5,), order),
    "two hidden layers": lambda order: MADE(D, (23, 11), order),
    "rows of four": lambda order: PixelRNN(2, 4, 6, (7,), order),
    "rows of two, linear": lambda order: PixelRNN(4, 2, 5, (), order),
    "single pixels": lambda order: PixelRNN(8, 1, 6, (3,), order),
    "one row": lambda order: PixelRNN(1, 8, 3, (9, 4), order),
}


def model_of(name, seed=0, *, shuffled=True):
    """Make a model with random, large weights in double precision, in a random ordering."""
    order = torch.randperm(D, generator=seeded(seed + 100)) if shuffled else None
    model = MODELS[name](order).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=seeded(seed))
    return model


@pytest.fixture(params=MODELS)
def model(request):
    return model_of(request.param)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_probabilities_sum_to_one_in_any_ordering(name, seed):
    for shuffled in (True, False):
        log_prob = model_of(name, seed, shuffled=shuffled).log_prob(ALL)
        assert log_prob.std() > 1  # not the uniform distribution
        assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_log_prob_is_the_sum_of_true_conditionals(model):
    """Each reported conditional is the ratio of two marginals of the enumerated joint."""
    joint = model.log_prob(ALL).exp()
    conditionals = model.log_conditionals(ALL)
    torch.testing.assert_close(conditionals.sum(-1), joint.log())
    known = []
    for pixel in model.ordering.tolist():
        # for each x: total probability of all images that agree with it in the known pixels
        same = (ALL[:, None, known] == ALL[:, known]).all(-1)
        with_pixel = same & (ALL[:, None, pixel] == ALL[:, pixel])
        ratio = (with_pixel * joint).sum(-1) / (same * joint).sum(-1)
        torch.testing.assert_close(conditionals[:, pixel].exp(), ratio)
        known.append(pixel)


def test_logits_are_those_of_the_conditionals(model):
    lit = torch.where(ALL == 1, model.log_conditionals(ALL).exp(), 0)
    expected = torch.where(ALL == 1, torch.sigmoid(model.logits(ALL)), 0)
    torch.testing.assert_close(lit, expected)


def test_no_pixel_looks_ahead_and_the_others_are_used(model):
    x = ALL[100:101].clone().requires_grad_()
    rank = model.ordering.argsort()
    logits = model.logits(x)
    for pixel in range(D):
        (gradient,) = torch.autograd.grad(logits[0, pixel], x, retain_graph=True)
        earlier = rank < rank[pixel]
        assert (gradient[0][~earlier] == 0).all()
        if not (isinstance(model, MADE) and len(model.network.layers) == 2):
            assert (gradient[0][earlier] != 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_samples_follow_the_density(name):
    model, n = model_of(name), 100_000
    powers = 2 ** torch.arange(D - 1, -1, -1)
    counts = torch.bincount((model.sample(n, seeded()).long() @ powers), minlength=2**D)
    expected = n * model.log_prob(ALL).exp().detach()
    rare = expected < 5  # chi-squared needs some counts in each cell
    observed = torch.cat([counts[~rare].double(), counts[rare].sum()[None].double()])
    wanted = torch.cat([expected[~rare], expected[rare].sum()[None]])
    assert stats.chisquare(observed.numpy(), wanted.numpy(), sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("n_known", [0, 3, 4, 7, 8])
def test_completions_follow_the_exact_conditional(model, n_known):
    known, drawn = model.ordering[:n_known], model.ordering[n_known:]
    x = ALL[173]
    completed = model.complete(x.expand(40_000, -1), n_known, seeded())
    assert torch.equal(completed[:, known], x[known].expand(40_000, -1))
    agreeing = (ALL[:, known] == x[known]).all(-1)
    weights = model.log_prob(ALL[agreeing]).softmax(0).detach()
    exact = weights @ ALL[agreeing]
    error = (exact * (1 - exact) / 40_000).sqrt()
    assert ((completed.mean(0) - exact).abs()[drawn] <= 4.5 * error[drawn]).all()


def naive_sample(network, uniform):
    """Draw as the definition says, with one full pass for each pixel."""
    x = torch.zeros_like(uniform)
    for t in range(x.shape[1]):
        x[:, t] = (uniform[:, t] < torch.sigmoid(network(x)[:, t])).double()
    return x


def test_units_computed_once_give_the_sample_of_full_passes(monkeypatch):
    """The same uniform numbers through both ways of sampling give the same images."""
    uniform = torch.rand(200, 31, generator=seeded(), dtype=torch.float64)
    for hidden in ((), (10,), (40, 17, 60)):
        network = MaskedNetwork(31, hidden).double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, generator=seeded(1))
        columns = iter(uniform.T)
        monkeypatch.setattr(
            torch, "bernoulli", lambda p, generator, c=columns: (next(c) < p).double()
        )
        with torch.no_grad():
            drawn = network.draw(torch.zeros_like(uniform), 0)
            assert torch.equal(drawn, naive_sample(network, uniform))


def test_samples_depend_on_the_generator_alone(model):
    state = torch.get_rng_state()
    first, again, other = (model.sample(50, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())
    assert not first.requires_grad


@pytest.mark.parametrize("name", MODELS)
def test_the_ordering_is_saved_with_the_weights(name):
    model, copy = model_of(name), MODELS[name](None).double()
    copy.load_state_dict(model.state_dict())
    torch.testing.assert_close(copy.log_prob(ALL), model.log_prob(ALL))


@pytest.mark.parametrize("make", [lambda: MADE(1, (3,)), lambda: PixelRNN(1, 1, 2, (3,))])
def test_a_single_pixel_is_a_coin(make):
    log_prob = make().log_prob(torch.tensor([[0.0], [1.0]]))
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_training_finds_a_known_distribution():
    """The NLL of the training data falls to their entropy, which no model can go below."""
    coins = torch.randint(0, 2, (1000, 3), generator=seeded()).float()
    x = torch.cat([coins, coins[:, :1] * coins[:, 1:2]], dim=1)
    frequencies = x.unique(dim=0, return_counts=True)[1] / 1000
    entropy = -float((frequencies * frequencies.log()).sum())
    for make in (lambda: MADE(4, (64,), [3, 1, 0, 2]), lambda: PixelRNN(2, 2, 32, (16,))):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = make()
        history = fit(model, x, likelihood_objective, epochs=20, batch_size=50, lr=0.02)
        assert -0.001 < -float(model.log_prob(x).detach().mean()) - entropy < 0.02
        assert history.train["bound"] == history.train["log_prob"]


def test_objective_is_the_likelihood_of_each_datum():
    model, x = model_of("rows of four"), ALL[:5]
    bound, terms = likelihood_objective(model, x)
    torch.testing.assert_close(bound, model.log_prob(x))
    assert terms["log_prob"] is bound
    torch.testing.assert_close(bound[2:3], model.log_prob(x[2:3]))


@pytest.mark.parametrize("name", MODELS)
def test_mixed_precision_gives_densities_in_the_precision_of_the_data(name):
    model, x = model_of(name).float(), ALL.float()
    with torch.autocast("cpu", torch.bfloat16):
        log_prob = model.log_prob(x)
    assert log_prob.dtype == torch.float32
    exact = model.log_prob(x)
    assert (log_prob - exact).abs().max() < 0.05 * exact.abs().max()
    # coarse logits still make conditionals, the same whatever comes after them
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_binarized_digits_train():
    """A few steps on digits bring the loss below that of fair coins, 784 log 2 = 543 nats."""
    from vaebook.data import load

    model = MADE(784, (16,))
    pixels = load().train.pixels()[:500]
    history = fit(model, pixels, likelihood_objective, transform=dynamic_binarization, epochs=2)
    assert history.train["bound"][1] > history.train["bound"][0] > -700


def test_taxonomy(model):
    assert classify(model) == "explicit, tractable"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MADE(0), "n_pixels: wanted an integer of at least 1"),
        (lambda: MADE(4, (3, 0)), "hidden: wanted an integer of at least 1"),
        (lambda: MADE(4, (3,), [0, 1, 2]), "ordering: wanted a permutation of 0 to 3"),
        (lambda: MADE(4, (3,), [0, 1, 2, 2]), "ordering: wanted a permutation of 0 to 3"),
        (lambda: PixelRNN(0), "n_rows: wanted an integer of at least 1"),
        (lambda: PixelRNN(2, 0), "n_columns: wanted an integer of at least 1"),
        (lambda: PixelRNN(2, 2, 0), "n_state: wanted an integer of at least 1"),
        (lambda: PixelRNN(2, 2, 3, (0,)), "hidden: wanted an integer of at least 1"),
        (lambda: MaskedNetwork(0, ()), "n_pixels: wanted an integer of at least 1"),
        (lambda: MaskedNetwork(3, (), -1), "n_context: wanted an integer of at least 0"),
        (lambda: MADE(4, (3,)).sample(0), "n: wanted an integer of at least 1"),
        (lambda: MADE(4, (3,)).log_prob(torch.zeros(2, 3)), "x: wanted 4 columns"),
        (lambda: MADE(4, (3,)).log_prob(torch.zeros(4)), "x: wanted a tensor of 2 dimensions"),
        (lambda: MADE(4, (3,)).log_prob(torch.full((1, 4), 0.5)), "x: wanted pixels of 0 and 1"),
        (lambda: MADE(4, (3,)).log_prob(torch.zeros(1, 4).double()), "x: wanted torch.float32"),
        (lambda: MADE(4, (3,)).complete(torch.zeros(1, 4), 5), "n_known: wanted at most 4 pixels"),
        (lambda: MADE(4, (3,)).complete(torch.zeros(1, 4), -1), "n_known: wanted an integer"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_log_probabilities_are_safe_for_extreme_logits():
    model = MADE(2, ()).double()
    with torch.no_grad():
        model.network.layers[0].bias.copy_(torch.tensor([800.0, -800.0]))
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(model.log_prob(x), torch.tensor([0.0, -1600.0], dtype=torch.float64))
    model.log_prob(x).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


# --- what people really bring --------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [np.arange(4)[::-1], np.arange(4).astype(">i8"), np.arange(4.0), np.arange(4, dtype="u1")],
)
def test_orderings_of_any_layout_and_type(order):
    model = MADE(4, (3,), ordering=order)
    assert model.ordering.tolist() == [int(i) for i in order]
    assert model.sample(2, seeded()).shape == (2, 4)
    with pytest.raises(ValueError, match="ordering: wanted a permutation of 0 to 3"):
        MADE(4, (3,), ordering=order + 0.25)


def test_numpys_integers_are_sizes():
    assert MADE(np.int64(4), (np.int32(3),)).sample(np.int64(2)).shape == (2, 4)
    rows = PixelRNN(np.int32(2), np.int64(2), np.int16(3), (np.int64(3),))
    assert rows.complete(rows.sample(2), np.int64(1)).shape == (2, 4)


def test_half_precision_loses_no_nats_in_the_sum():
    """Each conditional is rounded, their sum is not: within 1 % of single precision."""
    torch.manual_seed(0)
    single = MADE(100, (20,))
    x = (torch.rand(5, 100, generator=seeded()) < 0.5).float()
    expected = single.log_prob(x)
    log_prob = single.bfloat16().log_prob(x.bfloat16())
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, expected, rtol=0.01, atol=0)
    assert not torch.equal(log_prob, log_prob.bfloat16().float())


def test_one_pixel_and_one_row():
    model = MADE(1, (3,)).double()
    both = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    assert float(model.log_prob(both).detach().exp().sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(model.log_prob(both[:1]), model.log_prob(both)[:1])


CODES = torch.tensor(list(product(range(3), repeat=4)))


def categorical(hidden=(9, 7), seed=0):
    """Make a model of four numbers of three values, with large weights."""
    model = CategoricalMADE(4, 3, hidden).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=seeded(seed))
    return model


@pytest.mark.parametrize("hidden", [(), (2,), (9, 7)])
def test_probabilities_of_numbers_sum_to_one_and_samples_follow_them(hidden):
    model = categorical(hidden)
    p = model.log_prob(CODES).exp().detach()
    assert p.std() > 0.01
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    drawn = model.sample(50_000, seeded()) @ (3 ** torch.arange(3, -1, -1))
    shares = torch.bincount(drawn, minlength=81) / 50_000
    assert ((shares - p).abs() < 4.5 * (p / 50_000).sqrt() + 1e-4).all()


def test_no_number_looks_ahead():
    model = categorical()
    logits = model.logits(CODES)
    for position in range(4):
        same = (CODES[:, None, :position] == CODES[:, :position]).all(-1)
        alike = (logits[:, None, position] - logits[:, position]).abs().sum(-1) < 1e-9
        assert alike[same].all()
        assert position == 0 or not alike.all()


def test_two_values_are_pixels():
    """With one hidden layer or none, a model of two values is a MADE: the logits' difference."""
    model, pixels = CategoricalMADE(D, 2, ()).double(), MADE(D, ()).double()
    for parameter in model.parameters():
        parameter.data.normal_(generator=seeded(3))
    weight = model.network.layers[0].masked_weight().view(D, 2, D, 2)
    bias = model.network.layers[0].bias.view(D, 2)
    lit = weight[:, 1] - weight[:, 0]  # (outputs, inputs, values)
    pixels.network.layers[0].weight.data = lit[..., 1] - lit[..., 0]
    pixels.network.layers[0].bias.data = bias[:, 1] - bias[:, 0] + lit[..., 0].sum(1)
    torch.testing.assert_close(model.log_prob(ALL.long()), pixels.log_prob(ALL))


def test_untrained_all_numbers_are_equally_probable_and_training_finds_the_data():
    torch.manual_seed(0)
    model = CategoricalMADE(4, 3, (16,))
    torch.testing.assert_close(model.log_prob(CODES).exp(), torch.full((81,), 1 / 81))
    x = CODES[torch.randint(5, (300,), generator=seeded())]  # five rows of the 81
    fit(model, x, likelihood_objective, epochs=40, batch_size=20, lr=3e-2, progress=False)
    assert -model.log_prob(x).mean() < 1.05 * np.log(5)
    assert classify(model) == "explicit, tractable"


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(2, 4), "codes: wanted whole numbers, got torch.float32"),
        (CODES[:, :3], "codes: wanted at least one row of 4 numbers"),
        (CODES[:0], "codes: wanted at least one row"),
        (CODES + 1, "codes: wanted numbers from 0 to 2, got 1 to 3"),
    ],
)
def test_numbers_are_refused(codes, message):
    with pytest.raises(ValueError, match=message):
        categorical().log_prob(codes)
    with pytest.raises(ValueError, match="n_values"):
        CategoricalMADE(4, 0)
