"""Each statement of the chapter on latent variable models, against enumeration of all paths."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import optimize
from scipy.stats import multivariate_normal

from vaebook.diffusion import Diffusion, NoiseMLP
from vaebook.hmm import CategoricalHMM, GaussianHMM

Array = NDArray[Any]


def model_of(n_states: int = 3, n_symbols: int = 4, seed: int = 0) -> CategoricalHMM:
    rng = np.random.default_rng(seed)
    hmm = CategoricalHMM(n_states)
    hmm.startprob_ = rng.dirichlet(np.ones(n_states))
    hmm.transmat_ = rng.dirichlet(np.ones(n_states), n_states)
    hmm.emissionprob_ = rng.dirichlet(np.ones(n_symbols), n_states)
    return hmm


def enumerate_paths(hmm: CategoricalHMM, x: Array) -> tuple[Array, Array]:
    """All paths of states, and the joint probability of each with the symbols `x`."""
    paths = np.array(list(itertools.product(range(hmm.n_components), repeat=len(x))))
    joint = np.array(hmm.startprob_)[paths[:, 0]] * hmm.emissionprob_[paths, x].prod(1)
    return paths, joint * hmm.transmat_[paths[:, :-1], paths[:, 1:]].prod(1)


# an impossible transition: the package then computes with logarithms, step by step
LEFT_TO_RIGHT = model_of()
LEFT_TO_RIGHT.transmat_ = np.array([[0.6, 0.4, 0.0], [0.0, 0.5, 0.5], [0.2, 0.0, 0.8]])
MODELS = [model_of(), LEFT_TO_RIGHT]
X = np.array([0, 3, 1, 1, 2, 0, 3])


# --- one cause ----------------------------------------------------------------------------------


@pytest.mark.equation("eq-latent-sum", tolerance="1e-12")
def test_the_evidence_is_a_sum_over_causes() -> None:
    """The joint table added up by hand, and SciPy's normal density for a cause of numbers."""
    hmm = model_of()
    joint = hmm.startprob_[:, None] * hmm.emissionprob_
    evidence = [np.exp(hmm.score([[symbol]])) for symbol in range(4)]
    assert evidence == pytest.approx(joint.sum(0), rel=1e-12)
    assert sum(evidence) == pytest.approx(1, abs=1e-12)
    mixture = GaussianHMM(2, "full")  # of one step: a Gaussian mixture
    mixture.startprob_, mixture.transmat_ = np.array([0.3, 0.7]), np.eye(2)
    mixture.means_ = np.array([[0.0, 1.0], [2.0, -1.0]])
    mixture.covars_ = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.4, 0.0], [0.0, 2.0]]])
    point = np.array([0.7, 0.2])
    parts = zip(mixture.startprob_, mixture.means_, mixture.covars_, strict=True)
    density = sum(w * multivariate_normal.pdf(point, m, c) for w, m, c in parts)
    assert mixture.score([point]) == pytest.approx(np.log(density), abs=1e-12)


@pytest.mark.equation("eq-latent-posterior", tolerance="4.5 standard errors; 1e-12")
def test_the_posterior_of_a_cause() -> None:
    """Counting among draws of the prior and the generation; and the joint table, normalised."""
    hmm = model_of()
    rng = np.random.default_rng(1)
    causes = rng.choice(3, 200_000, p=hmm.startprob_)
    effects = (rng.random((200_000, 1)) > hmm.emissionprob_.cumsum(1)[causes]).sum(1)
    for symbol in range(4):
        posterior = hmm.predict_proba([[symbol]])[0]
        joint = hmm.startprob_ * hmm.emissionprob_[:, symbol]
        assert posterior == pytest.approx(joint / joint.sum(), abs=1e-12)
        chosen = causes[effects == symbol]
        counted = np.bincount(chosen, minlength=3) / len(chosen)
        error = np.sqrt(posterior * (1 - posterior) / len(chosen))
        assert (np.abs(counted - posterior) < 4.5 * error + 1e-9).all()


# --- chains -------------------------------------------------------------------------------------


@pytest.mark.equation("eq-hmm-forward", tolerance="1e-12")
@pytest.mark.parametrize("hmm", MODELS)
def test_forward(hmm: CategoricalHMM) -> None:
    """Enumeration of all paths: each forward probability, and the likelihood of each prefix."""
    alpha = hmm.startprob_ * hmm.emissionprob_[:, X[0]]
    for t in range(len(X)):
        if t > 0:
            alpha = hmm.emissionprob_[:, X[t]] * (alpha @ hmm.transmat_)
        paths, joint = enumerate_paths(hmm, X[: t + 1])
        summed = [joint[paths[:, t] == k].sum() for k in range(3)]
        assert alpha == pytest.approx(summed, rel=1e-12)
        assert hmm.score(X[: t + 1, None]) == pytest.approx(np.log(joint.sum()), abs=1e-12)


@pytest.mark.equation("eq-hmm-forward", tolerance="1e-11")
@pytest.mark.parametrize("hmm", MODELS)
def test_forward_on_a_long_sequence(hmm: CategoricalHMM) -> None:
    """The recursion in exact fractions of Python, over 300 steps: no rounding, no underflow."""
    x = hmm.sample(300, random_state=0)[0][:, 0]
    exact = np.vectorize(Fraction)
    start, transition = exact(hmm.startprob_), exact(hmm.transmat_)
    emission = exact(hmm.emissionprob_)
    alpha = start * emission[:, x[0]]
    for symbol in x[1:]:
        alpha = emission[:, symbol] * (alpha @ transition)
    total = alpha.sum()
    bits = total.denominator.bit_length() - total.numerator.bit_length()
    log_exact = np.log(float(total * 2**bits)) - bits * np.log(2)
    assert hmm.score(x[:, None]) == pytest.approx(log_exact, rel=1e-11)


def long_sequence(hmm: CategoricalHMM) -> Array:
    """Two hundred steps, which the package computes in blocks; still no underflow here."""
    return hmm.sample(200, random_state=0)[0][:, 0]


def backward(hmm: CategoricalHMM, x: Array) -> Array:
    beta = np.ones((len(x), hmm.n_components))
    for t in range(len(x) - 2, -1, -1):
        beta[t] = hmm.transmat_ @ (hmm.emissionprob_[:, x[t + 1]] * beta[t + 1])
    return beta


def forward(hmm: CategoricalHMM, x: Array) -> Array:
    alpha = np.empty((len(x), hmm.n_components))
    alpha[0] = hmm.startprob_ * hmm.emissionprob_[:, x[0]]
    for t in range(1, len(x)):
        alpha[t] = hmm.emissionprob_[:, x[t]] * (alpha[t - 1] @ hmm.transmat_)
    return alpha


@pytest.mark.equation("eq-hmm-backward", tolerance="1e-12; 1e-10 over blocks")
@pytest.mark.parametrize("hmm", MODELS)
def test_backward(hmm: CategoricalHMM) -> None:
    """Enumeration of all continuations from each state; the package's posteriors rest on it."""
    beta = backward(hmm, X)
    for t, state in itertools.product(range(len(X) - 1), range(3)):
        rest = model_of()
        rest.startprob_ = hmm.transmat_[state]
        rest.transmat_, rest.emissionprob_ = hmm.transmat_, hmm.emissionprob_
        _, joint = enumerate_paths(rest, X[t + 1 :])
        assert beta[t, state] == pytest.approx(joint.sum(), rel=1e-12)
    # what the package's posterior holds beyond the past is beta, also in blocks of several steps
    for x in (X, long_sequence(hmm)):
        following = hmm.predict_proba(x[:, None]) / forward(hmm, x)
        ratio = following / backward(hmm, x)
        assert ratio == pytest.approx(np.full_like(ratio, ratio[0, 0]), rel=1e-10)


@pytest.mark.equation("eq-hmm-smoothing", tolerance="1e-12")
@pytest.mark.parametrize("hmm", MODELS)
def test_smoothing(hmm: CategoricalHMM) -> None:
    """Enumeration: the share of the paths through each state at each step."""
    paths, joint = enumerate_paths(hmm, X)
    share = joint / joint.sum()
    enumerated = np.array([np.bincount(step, share, 3) for step in paths.T])
    printed = forward(hmm, X) * backward(hmm, X) / joint.sum()
    assert printed == pytest.approx(enumerated, abs=1e-12)
    assert hmm.predict_proba(X[:, None]) == pytest.approx(enumerated, abs=1e-12)
    x = long_sequence(hmm)
    joint = forward(hmm, x) * backward(hmm, x)
    share = joint / joint.sum(1, keepdims=True)
    assert hmm.predict_proba(x[:, None]) == pytest.approx(share, abs=1e-12)


@pytest.mark.equation("eq-hmm-viterbi", tolerance="1e-12")
@pytest.mark.parametrize("hmm", MODELS)
def test_viterbi(hmm: CategoricalHMM) -> None:
    """Enumeration: the best of all paths, for every prefix of several sequences."""
    for seed in range(5):
        x = np.random.default_rng(seed).integers(0, 4, 7)
        for length in range(1, 8):
            paths, joint = enumerate_paths(hmm, x[:length])
            log_prob, states = hmm.decode(x[:length, None])
            assert log_prob == pytest.approx(np.log(joint.max()), abs=1e-12)
            assert states.tolist() == paths[joint.argmax()].tolist()


@pytest.mark.equation("eq-hmm-pairs", tolerance="1e-12")
@pytest.mark.parametrize("hmm", MODELS)
def test_pairs(hmm: CategoricalHMM) -> None:
    """Enumeration: the share of the paths with each transition; its sum is the package's step."""
    paths, joint = enumerate_paths(hmm, X)
    share = joint / joint.sum()
    alpha, beta = forward(hmm, X), backward(hmm, X)
    total = np.zeros((3, 3))
    for t in range(len(X) - 1):
        after = hmm.emissionprob_[:, X[t + 1]] * beta[t + 1]
        printed = alpha[t][:, None] * hmm.transmat_ * after / joint.sum()
        counted = np.zeros((3, 3))
        np.add.at(counted, (paths[:, t], paths[:, t + 1]), share)
        assert printed == pytest.approx(counted, abs=1e-12)
        total += counted
    stepped = one_step(hmm, X[:, None], [len(X)])
    assert stepped.transmat_ == pytest.approx(total / total.sum(1, keepdims=True), abs=1e-12)
    x = long_sequence(hmm)
    after = hmm.emissionprob_[:, x[1:]].T * backward(hmm, x)[1:]
    total = hmm.transmat_ * (forward(hmm, x)[:-1].T @ after)
    stepped = one_step(hmm, x[:, None], [len(x)])
    assert stepped.transmat_ == pytest.approx(total / total.sum(1, keepdims=True), abs=1e-12)


def one_step(hmm: CategoricalHMM, x: Array, lengths: list[int]) -> CategoricalHMM:
    stepped = CategoricalHMM(hmm.n_components, n_iter=1, tol=np.inf, init_params="")
    stepped.startprob_, stepped.transmat_ = hmm.startprob_, hmm.transmat_
    stepped.emissionprob_ = hmm.emissionprob_
    return stepped.fit(x, lengths=lengths)


LENGTHS = [4, 1, 6, 3]
SEQUENCES = [np.random.default_rng(9 + n).integers(0, 4, n) for n in LENGTHS]


@pytest.mark.equation("eq-baum-welch", tolerance="1e-10")
@pytest.mark.parametrize("hmm", MODELS)
def test_baum_welch(hmm: CategoricalHMM) -> None:
    """Counts over all paths of all sequences, each weighted with its posterior probability."""
    start, transitions, emissions = np.zeros(3), np.zeros((3, 3)), np.zeros((3, 4))
    for x in SEQUENCES:
        paths, joint = enumerate_paths(hmm, x)
        for path, share in zip(paths, joint / joint.sum(), strict=True):
            start[path[0]] += share
            np.add.at(transitions, (path[:-1], path[1:]), share)
            np.add.at(emissions, (path, x), share)
    stepped = one_step(hmm, np.concatenate(SEQUENCES)[:, None], LENGTHS)
    assert stepped.startprob_ == pytest.approx(start / start.sum(), abs=1e-10)
    assert stepped.transmat_ == pytest.approx(
        transitions / transitions.sum(1, keepdims=True), abs=1e-10
    )
    assert stepped.emissionprob_ == pytest.approx(
        emissions / emissions.sum(1, keepdims=True), abs=1e-10
    )


@pytest.mark.equation("eq-baum-welch", tolerance="1e-4")
def test_the_step_maximises_the_expected_log_likelihood() -> None:
    """SciPy's numerical maximum, over all parameters, of the expectation over all paths."""
    hmm = model_of(2, 3, seed=4)
    sequences = [np.array([0, 2, 1, 1]), np.array([2, 2]), np.array([1, 0, 0])]
    weighted = []
    for x in sequences:
        paths, joint = enumerate_paths(hmm, x)
        weighted.append((x, paths, joint / joint.sum()))

    def unpack(flat: Array) -> tuple[Array, Array, Array]:
        parts = flat[:2], flat[2:6].reshape(2, 2), flat[6:].reshape(2, 3)
        start, transition, emission = (p - np.logaddexp.reduce(p, -1, keepdims=True) for p in parts)
        return start, transition, emission

    def expectation(flat: Array) -> float:
        start, transition, emission = unpack(flat)
        total = 0.0
        for x, paths, share in weighted:
            log_joint = start[paths[:, 0]] + emission[paths, x].sum(1)
            log_joint = log_joint + transition[paths[:, :-1], paths[:, 1:]].sum(1)
            total -= float(share @ log_joint)
        return total

    best = optimize.minimize(expectation, np.zeros(12), tol=1e-12).x
    stepped = one_step(hmm, np.concatenate(sequences)[:, None], [4, 2, 3])
    names = ("startprob_", "transmat_", "emissionprob_")
    for name, log_values in zip(names, unpack(best), strict=True):
        assert getattr(stepped, name) == pytest.approx(np.exp(log_values), abs=1e-4)


@pytest.mark.equation("eq-baum-welch", tolerance="1e-10 of the likelihood")
def test_baum_welch_never_lowers_the_likelihood() -> None:
    """The likelihood before and after each step, by the forward algorithm and from enumeration."""
    x = np.concatenate(SEQUENCES)[:, None]
    for seed in range(5):
        hmm = model_of(seed=seed)
        likelihoods = []
        for _ in range(15):
            likelihoods.append(sum(np.log(enumerate_paths(hmm, x_s)[1].sum()) for x_s in SEQUENCES))
            assert hmm.score(x, lengths=LENGTHS) == pytest.approx(likelihoods[-1], rel=1e-10)
            hmm = one_step(hmm, x, LENGTHS)
        assert (np.diff(likelihoods) >= -1e-10).all()
        assert likelihoods[-1] > likelihoods[0] + 0.1


# --- noise --------------------------------------------------------------------------------------


@pytest.mark.equation("eq-noising-closed-form", tolerance="1e-12; 4.5 standard errors")
def test_many_noising_steps_at_once() -> None:
    """The recursion of mean and variance, step by step, and 100,000 chains of single steps."""
    betas = torch.tensor([0.02, 0.3, 0.1, 0.25], dtype=torch.float64)
    model = Diffusion(NoiseMLP(2, 4, 1).double(), betas, 2)
    x_0 = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    chains = x_0.expand(100_000, 2)
    scale, variance = 1.0, 0.0  # of the datum in x_t, and of the noise in it
    for t, beta in enumerate(betas.tolist(), start=1):
        scale, variance = math.sqrt(1 - beta) * scale, (1 - beta) * variance + beta
        noise = torch.randn(1, 2, generator=generator, dtype=torch.float64)
        printed = model.q_sample(x_0, t, noise)
        expected = scale * x_0 + math.sqrt(variance) * noise
        assert printed.numpy() == pytest.approx(expected.numpy(), abs=1e-12)
        chains = model.q_step(chains, t, generator)
        error = math.sqrt(variance / 100_000)
        mean = chains.mean(0).numpy()
        assert mean == pytest.approx(scale * x_0[0].numpy(), abs=4.5 * error)
        spread = chains.var(0).numpy()
        assert spread == pytest.approx([variance] * 2, rel=4.5 * math.sqrt(2 / 100_000))


# --- what the definitions define ------------------------------------------------------------------


@pytest.mark.equation("def-hmm", tolerance="1e-12")
@pytest.mark.parametrize("hmm", MODELS)
def test_the_joint_probability_of_a_path(hmm: CategoricalHMM) -> None:
    """The product, factor by factor, for the path that the package decodes and its probability."""
    log_prob, z = hmm.decode(X[:, None])
    joint = hmm.startprob_[z[0]] * hmm.emissionprob_[z[0], X[0]]
    for t in range(1, len(X)):
        joint *= hmm.transmat_[z[t - 1], z[t]] * hmm.emissionprob_[z[t], X[t]]
    assert math.exp(log_prob) == pytest.approx(joint, rel=1e-12)


@pytest.mark.equation("def-noising-step", tolerance="4.5 standard errors")
def test_one_noising_step() -> None:
    """Mean, variance and independence of 100,000 steps of the package, from numbers not its own."""
    betas = torch.tensor([0.1, 0.4])
    diffusion = Diffusion(NoiseMLP(2, width=8), betas, n_features=2)
    generator = torch.Generator().manual_seed(0)
    start = torch.tensor([1.5, -2.0])
    drawn = diffusion.q_step(start.expand(100_000, 2), 2, generator)
    noise = (drawn - math.sqrt(0.6) * start) / math.sqrt(0.4)
    error = 4.5 / math.sqrt(100_000)
    assert noise.mean(0).tolist() == pytest.approx([0, 0], abs=error)
    assert noise.var(0).tolist() == pytest.approx([1, 1], abs=math.sqrt(2) * error)
    assert abs(float(noise.prod(1).mean())) < error
