"""Hidden Markov models against enumeration of all paths and against hmmlearn."""

import itertools
import warnings

import hmmlearn.hmm
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from vaebook import hmm as module
from vaebook.hmm import CategoricalHMM, GaussianHMM, sequence_density
from vaebook.taxonomy import TractableDensity, classify

UMBRELLA = np.array([[1], [1], [0], [1], [1]])


def umbrella():
    """The textbook's umbrella world: state 0 is rain, symbol 1 is an umbrella."""
    model = CategoricalHMM(2)
    model.startprob_ = np.array([0.5, 0.5])
    model.transmat_ = np.array([[0.7, 0.3], [0.3, 0.7]])
    model.emissionprob_ = np.array([[0.1, 0.9], [0.8, 0.2]])
    return model


def random_model(kind, n_states, seed=0, n_features=2):
    rng = np.random.default_rng(seed)
    model = CategoricalHMM(n_states) if kind == "categorical" else GaussianHMM(n_states, kind)
    model.startprob_ = rng.dirichlet(np.ones(n_states))
    model.transmat_ = rng.dirichlet(np.ones(n_states), n_states)
    if kind == "categorical":
        model.emissionprob_ = rng.dirichlet(np.ones(4), n_states)
    else:
        model.means_ = rng.normal(0, 2, (n_states, n_features))
        factors = rng.normal(0, 1, (n_states, n_features, 5))
        full = factors @ factors.transpose(0, 2, 1) / 5 + 0.1 * np.eye(n_features)
        model.covars_ = full if kind == "full" else np.diagonal(full, axis1=1, axis2=2).copy()
    return model


KINDS = ["categorical", "diag", "full"]


def log_emission(model, x, state):
    if isinstance(model, CategoricalHMM):
        return np.log(model.emissionprob_[state, x[0]])
    covariance = model.covars_[state]
    covariance = np.diag(covariance) if covariance.ndim == 1 else covariance
    return stats.multivariate_normal(model.means_[state], covariance).logpdf(x)


def all_paths(model, x):
    """Every path of states and its joint log-probability with the sequence `x`."""
    paths = np.array(list(itertools.product(range(model.n_components), repeat=len(x))))
    with np.errstate(divide="ignore"):
        joint = np.log(model.startprob_)[paths[:, 0]]
        joint += np.log(model.transmat_)[paths[:, :-1], paths[:, 1:]].sum(1)
        for t, row in enumerate(x):
            emission = np.array([log_emission(model, row, k) for k in range(model.n_components)])
            joint += emission[paths[:, t]]
    return paths, joint


def chain(n_samples, first, n_states, seed=0, spread=1.0):
    """Arguments of the inner functions: random, with emissions that differ by `spread`."""
    rng = np.random.default_rng(seed)
    start, transition = rng.dirichlet(np.ones(n_states)), rng.dirichlet([1] * n_states, n_states)
    scores = -spread * rng.gamma(2, 2, (n_samples, n_states))
    begins = np.zeros(n_samples, dtype=bool)
    begins[first] = True
    scores[begins] += np.log(start)
    return transition, scores, begins


def in_logs(transition, scores, begins):
    with np.errstate(divide="ignore"):
        return module._smooth_in_logs(np.log(transition), scores, begins)


def in_plain_numbers(transition, scores, begins):
    assert module._plain_numbers_suffice(transition, scores.max(1))
    return module._smooth(transition, scores.copy(), begins)


# --- inference -----------------------------------------------------------------------------------


def test_umbrella():
    """The published answers: likelihood, best path, and the smoothed posterior of the first day."""
    model = umbrella()
    assert model.score(UMBRELLA) == pytest.approx(-3.3725, abs=5e-5)
    log_prob, path = model.decode(UMBRELLA)
    assert log_prob == pytest.approx(-4.4590, abs=5e-5)
    assert path.tolist() == [0, 0, 1, 0, 0] == model.predict(UMBRELLA).tolist()
    assert model.predict_proba(UMBRELLA[:2])[0, 0] == pytest.approx(0.883, abs=5e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_all_paths(kind):
    model = random_model(kind, 3)
    lengths = [1, 5, 3]
    x = np.concatenate([model.sample(length, random_state=length)[0] for length in lengths])
    parts = np.split(x, np.cumsum(lengths)[:-1])
    likelihood, best, posteriors, states = 0.0, 0.0, [], []
    for part in parts:
        paths, joint = all_paths(model, part)
        likelihood += logsumexp(joint)
        best += joint.max()
        states += paths[joint.argmax()].tolist()
        weights = np.exp(joint - logsumexp(joint))
        posteriors += [np.bincount(step, weights, 3) for step in paths.T]
    assert model.score(x, lengths=lengths) == pytest.approx(likelihood, rel=1e-12)
    assert model.decode(x, lengths)[0] == pytest.approx(best, rel=1e-12)
    assert model.predict(x, lengths).tolist() == states
    assert model.predict_proba(x, lengths) == pytest.approx(np.array(posteriors), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_states", [2, 5])
def test_hmmlearn_agrees(kind, n_states):
    model = random_model(kind, n_states)
    x, _ = model.sample(1000, random_state=1)
    lengths = [400, 1, 599]
    if kind == "categorical":
        theirs = hmmlearn.hmm.CategoricalHMM(n_states)
        theirs.n_features, theirs.emissionprob_ = 4, model.emissionprob_
    else:
        theirs = hmmlearn.hmm.GaussianHMM(n_states, kind)
        theirs.n_features, theirs.means_, theirs.covars_ = 2, model.means_, model.covars_
    theirs.startprob_, theirs.transmat_ = model.startprob_, model.transmat_
    assert model.score(x, lengths=lengths) == pytest.approx(theirs.score(x, lengths), rel=1e-11)
    assert model.predict_proba(x, lengths) == pytest.approx(
        theirs.predict_proba(x, lengths), abs=1e-9
    )
    log_prob, states = theirs.decode(x, lengths)
    assert model.decode(x, lengths)[0] == pytest.approx(log_prob, rel=1e-11)
    # two paths may tie, up to rounding: among a thousand steps, a few
    assert np.mean(model.predict(x, lengths) == states) > 0.97


@pytest.mark.parametrize("n_states", [1, 2, 3, 40])
@pytest.mark.parametrize(
    ("n_samples", "first"),
    [(1, [0]), (7, [0]), (50, [0, 1, 2, 30, 49]), (997, [0, 500, 501])],
)
@pytest.mark.parametrize("spread", [1, 300])
def test_plain_numbers_and_logarithms_agree(n_states, n_samples, first, spread):
    """Two implementations of the same recursions, with sequences that begin anywhere."""
    arguments = chain(n_samples, first, n_states, spread=spread)
    plain, logs = in_plain_numbers(*arguments), in_logs(*arguments)
    for ours, reference in zip(plain, logs, strict=True):
        assert ours == pytest.approx(reference, rel=1e-12, abs=1e-11)
    assert plain[1].sum(1) == pytest.approx(np.ones(n_samples), abs=1e-12)
    assert plain[2].sum() == pytest.approx(n_samples - len(first), abs=1e-9)


@pytest.mark.parametrize(("rare", "plain"), [(1e-100, True), (1e-139, True), (1e-160, False)])
@pytest.mark.parametrize("spread", [200, 1e4])
def test_rare_transitions(rare, plain, spread):
    """Plain numbers lose nothing down to transitions of 1e-140, whatever the emissions."""
    _, scores, begins = chain(300, [0, 7], 2, spread=spread)
    transition = np.array([[1 - rare, rare], [rare, 1 - rare]])
    assert module._plain_numbers_suffice(transition, scores.max(1)) == plain
    result = module._smooth(transition, scores.copy(), begins)
    for ours, reference in zip(result, in_logs(transition, scores, begins), strict=True):
        assert ours == pytest.approx(reference, rel=1e-11, abs=1e-10)


@pytest.mark.parametrize("first", [[0], [0, 3, 4]])
def test_emissions_of_no_weight(first):
    """Log-emissions down to -10,000, against enumeration of the paths in logarithms."""
    transition, scores, begins = chain(6, first, 3, spread=1500)
    assert scores.min() < -1e4
    paths = np.array(list(itertools.product(range(3), repeat=6)))
    joint = scores[np.arange(6), paths].sum(1)
    arrivals = np.flatnonzero(~begins)
    joint += np.log(transition)[paths[:, arrivals - 1], paths[:, arrivals]].sum(1)
    weights = np.exp(joint - logsumexp(joint))
    expected = np.array([np.bincount(step, weights, 3) for step in paths.T])
    for log_evidence, posterior, _ in (
        in_plain_numbers(transition, scores, begins),
        in_logs(transition, scores, begins),
    ):
        assert log_evidence.sum() == pytest.approx(logsumexp(joint), rel=1e-13)
        assert posterior == pytest.approx(expected, abs=1e-10)
    best, path = module._viterbi(np.log(transition), scores, begins)
    assert best == pytest.approx(joint.max(), rel=1e-13)
    assert path.tolist() == paths[joint.argmax()].tolist()


def test_impossible_transitions_take_logarithms():
    """One state cannot be left, and nine emissions in a row speak for the other by e^100 each.

    Scaled numbers lose the path that stays in the second state after the first step, which is less
    probable than what they can hold, but is the one that explains the rest.
    """
    scores = np.array([[0.0, -800.0]] + [[-100.0, 0.0]] * 9)
    scores[0] += np.log(0.5)
    arguments = np.eye(2), scores, np.arange(10) == 0
    assert not module._plain_numbers_suffice(np.eye(2), scores.max(1))
    log_evidence, posterior, pairs = module._smooth(*arguments)
    assert log_evidence.sum() == pytest.approx(np.log(0.5) - 800)
    assert posterior[:, 1] == pytest.approx(np.ones(10))
    assert pairs == pytest.approx(np.array([[0, 0], [0, 9]]))


@pytest.mark.parametrize("method", ["score", "predict_proba", "decode"])
def test_left_to_right_model(method):
    """A model whose states can only be left, not entered again, against enumeration."""
    model = random_model("categorical", 3)
    model.startprob_ = np.array([1.0, 0, 0])
    model.transmat_ = np.array([[0.6, 0.4, 0], [0, 0.5, 0.5], [0, 0, 1]])
    x = model.sample(6, random_state=0)[0]
    paths, joint = all_paths(model, x)
    weights = np.exp(joint - logsumexp(joint))
    expected = {
        "score": logsumexp(joint),
        "predict_proba": np.array([np.bincount(step, weights, 3) for step in paths.T]),
        "decode": joint.max(),
    }[method]
    result = getattr(model, method)(x)
    assert (result[0] if method == "decode" else result) == pytest.approx(expected, abs=1e-12)


def test_what_the_model_rules_out():
    model = umbrella()
    model.emissionprob_ = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert model.score(UMBRELLA) == -np.inf
    assert model.score(UMBRELLA[2:], lengths=[1, 2]) == -np.inf
    assert model.score(UMBRELLA[2:3]) == pytest.approx(0, abs=1e-15)
    for method in (model.predict_proba, model.decode):
        with pytest.raises(ValueError, match="X: wanted sequences that the model can produce"):
            method(UMBRELLA)
    with pytest.raises(ValueError, match="X: wanted sequences that the model can produce"):
        model.set_params(init_params="").fit(UMBRELLA)


# --- Baum-Welch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_likelihood_never_falls(kind):
    truth = random_model(kind, 3, seed=5)
    lengths = [40, 3, 100, 1, 70]
    x = np.concatenate([truth.sample(n, random_state=n)[0] for n in lengths])
    for seed in range(4):
        model = clone(truth).set_params(n_iter=60, tol=-1.0, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, lengths=lengths)
        history = np.array(model.log_likelihoods_)
        assert len(history) == 61 == model.n_iter_ + 1
        assert (np.diff(history) >= -1e-9 * np.abs(history[1:])).all()
        assert history[-1] - history[0] > 1
        assert history[-1] == pytest.approx(model.score(x, lengths=lengths), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_hmmlearns(kind):
    """hmmlearn without its priors makes the same step from the same start."""
    truth, model = random_model(kind, 3, seed=1), random_model(kind, 3, seed=2)
    lengths = [50, 120, 30]
    x = np.concatenate([truth.sample(n, random_state=n)[0] for n in lengths])
    options = {"n_iter": 1, "init_params": "", "tol": -np.inf}
    if kind == "categorical":
        theirs = hmmlearn.hmm.CategoricalHMM(3, **options)
        theirs.n_features, theirs.emissionprob_ = 4, model.emissionprob_
        names = ["startprob_", "transmat_", "emissionprob_"]
    else:
        theirs = hmmlearn.hmm.GaussianHMM(3, kind, covars_prior=0, covars_weight=1, **options)
        if kind == "full":  # its full covariance has another default than its diagonal one
            theirs.covars_weight = 0
        theirs.n_features, theirs.means_, theirs.covars_ = 2, model.means_, model.covars_
        names = ["startprob_", "transmat_", "means_"]
    theirs.startprob_, theirs.transmat_ = model.startprob_, model.transmat_
    with pytest.warns(ConvergenceWarning):
        model.set_params(n_iter=1, init_params="", tol=-1e9).fit(x, lengths=lengths)
    theirs.fit(x, lengths)
    for name in names:
        assert getattr(model, name) == pytest.approx(getattr(theirs, name), abs=1e-9)
    if kind != "categorical":
        ours = model.covars_ if kind == "full" else np.array([np.diag(v) for v in model.covars_])
        assert ours == pytest.approx(theirs.covars_, abs=1e-2)


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_finds_the_parameters_again(kind):
    truth = GaussianHMM(2, kind)
    truth.startprob_ = np.array([1.0, 0.0])
    truth.transmat_ = np.array([[0.9, 0.1], [0.3, 0.7]])
    truth.means_ = np.array([[0.0, 0.0], [3.0, -1.0]])
    full = np.array([[[1.0, 0.5], [0.5, 0.8]], [[0.3, 0.0], [0.0, 2.0]]])
    truth.covars_ = full if kind == "full" else np.diagonal(full, axis1=1, axis2=2).copy()
    x, states = truth.sample(20_000, random_state=0)
    model = GaussianHMM(2, kind, random_state=0).fit(x)
    assert model.converged_
    order = np.argsort(model.means_[:, 0])
    assert model.means_[order] == pytest.approx(truth.means_, abs=0.05)
    assert model.covars_[order] == pytest.approx(truth.covars_, abs=0.07)
    assert model.transmat_[np.ix_(order, order)] == pytest.approx(truth.transmat_, abs=0.02)
    assert np.mean(order[states] == model.predict(x)) > 0.95
    assert model.score(x) >= truth.score(x)


def test_a_state_that_is_never_visited_keeps_its_parameters():
    model = random_model("diag", 2)
    model.startprob_, model.transmat_ = np.array([1.0, 0.0]), np.array([[1.0, 0.0], [0.5, 0.5]])
    means, x = model.means_[1].copy(), np.random.default_rng(0).normal(size=(30, 2))
    model.set_params(init_params="").fit(x)
    assert model.means_[1] == pytest.approx(means)
    assert model.means_[0] == pytest.approx(x.mean(0))
    assert model.covars_[0] == pytest.approx(x.var(0))
    assert model.transmat_ == pytest.approx(np.array([[1.0, 0.0], [0.5, 0.5]]))
    symbols = random_model("categorical", 2)
    symbols.startprob_, symbols.transmat_ = model.startprob_, model.transmat_
    before = symbols.emissionprob_[1].copy()
    symbols.set_params(init_params="").fit([[0], [0], [1], [3]])
    assert symbols.emissionprob_[0] == pytest.approx([0.5, 0.25, 0, 0.25])
    assert symbols.emissionprob_[1] == pytest.approx(before)


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_the_floor_of_the_variances(kind):
    """Equal points have variance zero; the floor holds, and EM stays monotone under it."""
    x = np.repeat([[0.0, 0.0], [5.0, 5.0], [5.0, 6.0]], [30, 30, 1], axis=0)
    model = GaussianHMM(2, kind, min_covar=0.01, random_state=0, tol=1e-6).fit(x)
    smallest = np.linalg.eigvalsh(model.covars_) if kind == "full" else model.covars_
    assert smallest.min() == pytest.approx(0.01)
    assert (np.diff(model.log_likelihoods_) > -1e-9).all()


def test_what_is_not_named_is_not_changed():
    truth, model = random_model("categorical", 2, seed=3), random_model("categorical", 2, seed=4)
    x, _ = truth.sample(200, random_state=0)
    kept = model.emissionprob_.copy()
    model.set_params(params="t", init_params="").fit(x)
    assert np.array_equal(model.emissionprob_, kept)
    start = model.transmat_
    model.set_params(params="e").fit(x)
    assert np.array_equal(model.transmat_, start)
    assert not np.array_equal(model.emissionprob_, kept)
    numbers = random_model("diag", 2)
    means, covars = numbers.means_.copy(), numbers.covars_.copy()
    y = numbers.sample(100, random_state=0)[0]
    numbers.set_params(params="m", init_params="", min_covar=1e-6).fit(y)
    assert np.array_equal(numbers.covars_, covars)
    numbers.means_ = means
    numbers.set_params(params="c").fit(y)
    assert np.array_equal(numbers.means_, means)
    assert not np.array_equal(numbers.covars_, covars)


def test_no_convergence_is_said():
    x, _ = random_model("categorical", 2).sample(200, random_state=0)
    with pytest.warns(ConvergenceWarning, match="raise n_iter or tol"):
        model = CategoricalHMM(3, n_iter=1, tol=0, random_state=0).fit(x)
    assert not model.converged_
    assert model.n_iter_ == 1


def test_the_seed_decides():
    x, _ = random_model("categorical", 2).sample(200, random_state=0)
    first, second, third = (CategoricalHMM(2, random_state=s).fit(x) for s in (0, 0, 1))
    assert np.array_equal(first.transmat_, second.transmat_)
    assert not np.array_equal(first.transmat_, third.transmat_)


# --- samples and the door to the taxonomy --------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_the_model(kind):
    model = random_model(kind, 3)
    x, states = model.sample(60_000, random_state=0)
    counts = np.zeros((3, 3))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    assert counts / counts.sum(1, keepdims=True) == pytest.approx(model.transmat_, abs=0.02)
    for k in range(3):
        chosen = x[states == k]
        if kind == "categorical":
            frequencies = np.bincount(chosen[:, 0], minlength=4) / len(chosen)
            assert frequencies == pytest.approx(model.emissionprob_[k], abs=0.02)
        else:
            covariance = model.covars_[k] if kind == "full" else np.diag(model.covars_[k])
            assert chosen.mean(0) == pytest.approx(model.means_[k], abs=0.06)
            assert np.cov(chosen.T) == pytest.approx(covariance, abs=0.1)
    starts = [model.sample(random_state=seed)[1][0] for seed in range(1500)]
    assert np.bincount(starts, minlength=3) / 1500 == pytest.approx(model.startprob_, abs=0.04)
    model.set_params(random_state=3)
    assert np.array_equal(model.sample(5)[0], model.sample(5, random_state=3)[0])


def test_sequences_of_one_length_are_a_density():
    """The probabilities of all sequences of four symbols add up to one; samples follow them."""
    density = sequence_density(random_model("categorical", 3), 4)
    assert isinstance(density, TractableDensity)
    assert classify(density) == "explicit, tractable"
    everything = torch.tensor(list(itertools.product(range(4), repeat=4)))
    probability = density.log_prob(everything).exp()
    assert float(probability.sum()) == pytest.approx(1, abs=1e-12)
    drawn = density.sample(40_000, torch.Generator().manual_seed(0))
    assert drawn.shape == (40_000, 4)
    index = (drawn * torch.tensor([64, 16, 4, 1])).sum(1)
    frequency = torch.bincount(index, minlength=256) / 40_000
    assert float((frequency - probability).abs().max()) < 0.008


def test_sequences_of_numbers_are_a_density():
    model = random_model("full", 2)
    density = sequence_density(model, 3)
    x = density.sample(6, torch.Generator().manual_seed(1))
    assert x.shape == (6, 6)
    assert x.dtype == torch.float64
    expected = [model.score(row.reshape(3, 2)) for row in x.numpy()]
    assert density.log_prob(x).numpy() == pytest.approx(np.array(expected), rel=1e-12)
    with pytest.raises(ValueError, match="x: wanted rows of 3 steps"):
        density.log_prob(x[:, :5])
    with pytest.raises(ValueError, match="length: wanted an integer"):
        sequence_density(model, 0)
    with pytest.raises(ValueError, match="n: wanted an integer"):
        density.sample(0)


# --- conventions and errors ----------------------------------------------------------------------


@parametrize_with_checks(
    [GaussianHMM(), GaussianHMM(2, random_state=0), GaussianHMM(covariance_type="full")]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


X = np.random.default_rng(0).normal(size=(6, 2))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([2, 3], "lengths: wanted a sum of 6"),
        ([6, 0], "lengths: wanted a list of positive integers"),
        ([2.0, 4.0], "lengths: wanted a list of positive integers"),
        (6, "lengths: wanted a list of positive integers"),
    ],
)
def test_bad_lengths(lengths, message):
    with pytest.raises(ValueError, match=message):
        GaussianHMM().fit(X, lengths=lengths)


def test_lengths_in_the_place_of_y():
    with pytest.raises(ValueError, match=r"y: wanted None \(lengths go by name"):
        GaussianHMM().fit(X, [2, 4])
    with pytest.raises(ValueError, match=r"y: wanted None \(lengths go by name"):
        GaussianHMM().fit(X).score(X, [2, 4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components: wanted an integer of at least 1"),
        ({"n_components": 7}, "X: wanted at least n_components=7 rows, got n_samples=6"),
        ({"covariance_type": "tied"}, "covariance_type: wanted one of"),
        ({"min_covar": 0.0}, "min_covar: wanted a positive number"),
        ({"n_iter": 0}, "n_iter: wanted an integer of at least 1"),
        ({"params": "e"}, "params: wanted letters out of 'stmc'"),
        ({"init_params": "x"}, "init_params: wanted letters out of 'stmc'"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        GaussianHMM(**options).fit(X)


def test_bad_symbols():
    for x in ([[0.5], [1.0]], [[-1], [0]]):
        with pytest.raises(ValueError, match="X: wanted symbols as integers from 0"):
            CategoricalHMM().fit(x)
    with pytest.raises(ValueError, match="X: wanted one column of symbols, got 2 columns"):
        CategoricalHMM().fit([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="X: wanted symbols below 2, got 2"):
        CategoricalHMM(n_features=2).fit([[0], [2]])
    with pytest.raises(ValueError, match="X: wanted symbols below 2, got 3"):
        umbrella().score([[3]])
    assert CategoricalHMM(n_features=5, random_state=0).fit([[0], [2]]).emissionprob_.shape == (
        1,
        5,
    )


def test_before_a_fit():
    for model in (CategoricalHMM(), GaussianHMM()):
        with pytest.raises(NotFittedError):
            model.sample()
    model = umbrella()
    del model.emissionprob_
    with pytest.raises(NotFittedError):
        model.score(UMBRELLA)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("startprob_", [1.0], r"startprob_: wanted shape \(2,\)"),
        ("startprob_", [0.7, 0.7], "startprob_: wanted non-negative rows that add up to 1"),
        ("transmat_", [[1.5, -0.5], [0, 1]], "transmat_: wanted non-negative rows"),
        ("means_", [[0.0, 0.0]], r"means_: wanted shape \(2, n_features\)"),
        ("covars_", [[1.0], [1.0]], r"covars_: wanted shape \(2, 2\)"),
        ("covars_", [[1.0, 0.0], [1.0, 1.0]], "covars_: wanted positive variances"),
    ],
)
def test_bad_values_set_by_hand(name, value, message):
    model = random_model("diag", 2)
    setattr(model, name, value)
    with pytest.raises(ValueError, match=message):
        model.score(X)


def test_wrong_number_of_columns():
    model = random_model("full", 2)
    with pytest.raises(ValueError, match="X: wanted 2 columns, as means_ has, got 3 columns"):
        model.score(np.zeros((4, 3)))
    model.covars_ = -model.covars_
    with pytest.raises(ValueError, match="covars_: wanted positive variances"):
        model.score(X)
