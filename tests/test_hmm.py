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
        model.covars_ = in_shape_of(kind, full)
    return model


def in_shape_of(kind, full):
    """Covariances of a kind, made of full ones."""
    variances = np.diagonal(full, axis1=1, axis2=2).copy()
    return {"full": full, "diag": variances, "tied": full[0], "spherical": variances[:, 0]}[kind]


def full_covariances(model):
    """Covariance matrix of each state, shape (K, d, d)."""
    k, d = model.means_.shape
    covars = np.asarray(model.covars_)
    if model.covariance_type in ("full", "tied"):
        return np.broadcast_to(covars, (k, d, d))
    return np.array([np.diag(np.broadcast_to(v, d)) for v in covars])


GAUSSIAN = ["diag", "full", "tied", "spherical"]
KINDS = ["categorical", *GAUSSIAN]


def log_emission(model, x, state):
    if isinstance(model, CategoricalHMM):
        return np.log(model.emissionprob_[state, x[0]])
    covariance = full_covariances(model)[state]
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
        if kind in ("full", "tied"):  # its matrices have another default than its variances
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
        spherical = kind == "spherical"  # after a step its own property stumbles over the shape
        covars = [np.diag(v) for v in theirs._covars_] if spherical else theirs.covars_
        # for "tied" it divides by the number of steps, for "diag" it adds a hundredth to the sums
        assert full_covariances(model) == pytest.approx(np.array(covars), abs=1e-2)


@pytest.mark.parametrize("kind", GAUSSIAN)
def test_finds_the_parameters_again(kind):
    truth = GaussianHMM(2, kind)
    truth.startprob_ = np.array([1.0, 0.0])
    truth.transmat_ = np.array([[0.9, 0.1], [0.3, 0.7]])
    truth.means_ = np.array([[0.0, 0.0], [3.0, -1.0]])
    full = np.array([[[1.0, 0.5], [0.5, 0.8]], [[0.3, 0.0], [0.0, 2.0]]])
    truth.covars_ = in_shape_of(kind, full)
    x, states = truth.sample(20_000, random_state=0)
    model = GaussianHMM(2, kind, random_state=0).fit(x)
    assert model.converged_
    order = np.argsort(model.means_[:, 0])
    assert model.means_[order] == pytest.approx(truth.means_, abs=0.05)
    assert full_covariances(model)[order] == pytest.approx(full_covariances(truth), abs=0.07)
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
    with pytest.warns(UserWarning, match="4 numbers cannot determine 9 parameters"):
        symbols.set_params(init_params="").fit([[0], [0], [1], [3]])
    assert symbols.emissionprob_[0] == pytest.approx([0.5, 0.25, 0, 0.25])
    assert symbols.emissionprob_[1] == pytest.approx(before)


@pytest.mark.parametrize("kind", ["diag", "full"])
@pytest.mark.filterwarnings("ignore:.*cannot determine")
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
            assert chosen.mean(0) == pytest.approx(model.means_[k], abs=0.06)
            assert np.cov(chosen.T) == pytest.approx(full_covariances(model)[k], abs=0.1)
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
        ({"covariance_type": "round"}, "covariance_type: wanted one of"),
        ({"min_covar": 0.0}, "min_covar: wanted a positive number"),
        ({"min_covar": np.nan}, "min_covar: wanted a positive number"),
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
    wide = CategoricalHMM(n_features=np.int8(5), random_state=0).fit([[0], [2]] * 5)
    assert wide.emissionprob_.shape == (1, 5)
    with pytest.raises(ValueError, match="could not convert string"):
        CategoricalHMM().fit([["a"], ["b"]])
    for missing in (None, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"X: wanted finite numbers, got (NaN|inf) in row 1"):
            CategoricalHMM().fit([[0], [missing]])


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


# --- what people really bring --------------------------------------------------------------------


@pytest.mark.parametrize("kind", GAUSSIAN)
@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_units_do_not_matter(kind, unit):
    """In other units the same states, variances that scale, and a likelihood that shifts."""
    x, _ = random_model(kind, 2, seed=3).sample(400, random_state=0)
    plain = GaussianHMM(2, kind, random_state=0).fit(x)
    scaled = GaussianHMM(2, kind, random_state=0).fit(unit * x)
    assert np.array_equal(scaled.predict(unit * x), plain.predict(x))
    assert scaled.covars_ / unit**2 == pytest.approx(plain.covars_, rel=1e-6)
    shift = x.size * np.log(unit)
    assert scaled.score(unit * x) == pytest.approx(plain.score(x) - shift, rel=1e-9)


def test_columns_in_different_units():
    """A floor for each column: 1e-6 of its variance, so neither column drowns."""
    x, _ = random_model("full", 2, seed=3).sample(400, random_state=0)
    units = np.array([1e-6, 1e6])
    plain, scaled = (GaussianHMM(2, "full", random_state=0, init_params="st") for _ in range(2))
    start, covars = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([np.eye(2)] * 2)
    plain.means_, plain.covars_ = start, covars
    scaled.means_, scaled.covars_ = start * units, covars * np.outer(units, units)
    plain.fit(x)
    scaled.fit(x * units)
    assert scaled.means_ / units == pytest.approx(plain.means_, rel=1e-6, abs=1e-6)
    assert scaled.covars_ / np.outer(units, units) == pytest.approx(plain.covars_, abs=1e-6)


def test_calm_and_wild_days_are_told_apart():
    """Returns as fractions, at 0.5 and 2 per cent: a fixed floor of 0.001 would hide both."""
    truth = np.arange(2000) // 250 % 2
    deviations = np.where(truth == 0, 0.005, 0.02)
    returns = np.random.default_rng(0).normal(0, deviations)[:, None]
    model = GaussianHMM(2, random_state=0, n_iter=200).fit(returns)
    assert np.sort(np.sqrt(model.covars_[:, 0])) == pytest.approx([0.005, 0.02], rel=0.05)
    hits = (model.predict(returns) == truth).mean()
    assert max(hits, 1 - hits) > 0.98
    with pytest.warns(UserWarning, match="min_covar=0.001 is larger than the variance of column 0"):
        GaussianHMM(2, min_covar=1e-3, random_state=0).fit(returns)


def test_a_constant_column():
    x = np.column_stack([np.random.default_rng(0).normal(size=200), np.full(200, 1e8)])
    for kind in GAUSSIAN:
        model = GaussianHMM(2, kind, random_state=0).fit(x)
        assert np.isfinite(model.score(x)), kind


@pytest.mark.parametrize("kind", GAUSSIAN)
@pytest.mark.parametrize("far", [1e100, 1e200, -1e300])
def test_one_step_far_out(kind, far):
    """A fill value among the data: no NaN, and the posterior of all other steps stays sensible."""
    model = random_model(kind, 2)
    x, _ = model.sample(20, random_state=0)
    x[7] = far
    posterior = model.predict_proba(x)
    assert posterior.sum(1) == pytest.approx(np.ones(20))
    assert np.isfinite(model.score(x))
    assert np.isfinite(model.decode(x)[0])


def test_numpys_numbers():
    x = np.random.default_rng(0).normal(size=(60, 1))
    options = {"n_components": np.int64(2), "n_iter": np.int32(5), "tol": np.float32(0.1)}
    model = GaussianHMM(**options, random_state=np.int64(0)).fit(
        x, lengths=np.array([30, 30], "u1")
    )
    plain = GaussianHMM(2, n_iter=5, tol=np.float32(0.1), random_state=0).fit(x, lengths=[30, 30])
    assert np.array_equal(model.transmat_, plain.transmat_)
    assert model.sample(np.int64(3), random_state=1)[0].shape == (3, 1)
    assert sequence_density(model, np.int8(5)).sample(np.int16(2)).shape == (2, 5)


def test_lengths_of_a_small_type_do_not_wrap_around():
    x = np.random.default_rng(0).normal(size=(400, 1))
    lengths = np.array([200, 200], dtype=np.uint8)
    model = random_model("diag", 2, n_features=1)
    assert model.score(x, lengths=lengths) == model.score(x, lengths=[200, 200])


@pytest.mark.parametrize("dtype", ["f8", ">f8", "f4", ">i4", "u1", "i8"])
def test_layouts_and_types_of_symbols(dtype):
    """Whole numbers are symbols whatever holds them, and however they lie in memory."""
    x, _ = random_model("categorical", 2).sample(50, random_state=0)
    expected = random_model("categorical", 2).score(x)
    assert random_model("categorical", 2).score(x.astype(dtype)) == expected
    backwards = x.astype(dtype)[::-1].copy()[::-1]
    assert random_model("categorical", 2).score(backwards) == expected


def test_tensors_of_other_precision():
    density = sequence_density(random_model("diag", 2), 2)
    x = torch.tensor([[0.5, 1.0, -2.0, 0.25]], dtype=torch.bfloat16)
    assert density.log_prob(x) == density.log_prob(x.double())


@pytest.mark.parametrize("kind", GAUSSIAN)
def test_criteria_of_information(kind):
    """As hmmlearn counts: for each state a mean and its covariance, and the chain."""
    model = random_model(kind, 3)
    x, _ = model.sample(50, random_state=0)
    theirs = hmmlearn.hmm.GaussianHMM(3, kind)
    theirs.n_features, theirs.means_, theirs.covars_ = 2, model.means_, model.covars_
    theirs.startprob_, theirs.transmat_ = model.startprob_, model.transmat_
    assert model.aic(x, lengths=[20, 30]) == pytest.approx(theirs.aic(x, [20, 30]), rel=1e-12)
    assert model.bic(x, lengths=[20, 30]) == pytest.approx(theirs.bic(x, [20, 30]), rel=1e-12)
    symbols = random_model("categorical", 3)
    assert symbols._n_parameters() == 2 + 6 + 9


def test_each_state_for_itself():
    """Against hmmlearn's; and a case where the two answers differ, by enumeration."""
    model = random_model("diag", 3)
    x, _ = model.sample(40, random_state=0)
    theirs = hmmlearn.hmm.GaussianHMM(3, "diag")
    theirs.n_features, theirs.means_, theirs.covars_ = 2, model.means_, model.covars_
    theirs.startprob_, theirs.transmat_ = model.startprob_, model.transmat_
    score, states = model.decode(x, algorithm="map")
    their_score, their_states = theirs.decode(x, algorithm="map")
    assert score == pytest.approx(their_score, rel=1e-12)
    assert np.array_equal(states, their_states)
    assert score == pytest.approx(model.predict_proba(x).max(1).sum(), rel=1e-12)
    with pytest.raises(ValueError, match="algorithm: wanted one of 'viterbi', 'map'"):
        model.decode(x, algorithm="best")


def test_the_stationary_distribution():
    model = random_model("categorical", 4)
    stationary = model.get_stationary_distribution()
    assert stationary @ model.transmat_ == pytest.approx(stationary, abs=1e-14)
    long_run = np.linalg.matrix_power(model.transmat_, 1000)[0]
    assert stationary == pytest.approx(long_run, abs=1e-12)
    model.transmat_ = np.eye(4)
    with pytest.raises(ValueError, match="transmat_: wanted a chain with one stationary"):
        model.get_stationary_distribution()


def test_parameters_that_would_be_lost():
    """Set by hand and then started afresh: said once, and not when a fit is repeated."""
    x, _ = random_model("diag", 2).sample(100, random_state=0)
    with pytest.warns(UserWarning, match="startprob_, transmat_, means_, covars_ set by hand"):
        model = random_model("diag", 2).fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x)
        random_model("diag", 2).set_params(init_params="").fit(x)


def test_a_changed_number_of_states_is_noticed():
    model = random_model("diag", 2).set_params(n_components=3)
    with pytest.raises(ValueError, match=r"startprob_: wanted shape \(3,\)"):
        model.score(X)
    model = random_model("diag", 2).set_params(covariance_type="full")
    with pytest.raises(ValueError, match=r"covars_: wanted shape \(2, 2, 2\)"):
        model.score(X)
