"""Naive Bayes gives scikit-learn's results, and its samples follow its densities."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import naive_bayes
from sklearn.datasets import load_digits, load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from vaebook.naive_bayes import BernoulliNB, GaussianNB


@parametrize_with_checks([GaussianNB(), BernoulliNB()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


METHODS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba")


def compare(ours, theirs, X, attributes):
    for method in METHODS:
        left, right = getattr(ours, method)(X), getattr(theirs, method)(X)
        if method == "predict":
            assert (left == right).all()
        else:
            assert left == pytest.approx(right, rel=1e-10, abs=1e-10)
    for name in attributes:
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-10, abs=1e-12)
    assert ours.score(X, theirs.predict(X)) == 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("var_smoothing", [1e-9, 0.1])
def test_gaussian_as_in_scikit_learn(weighted, var_smoothing):
    X, y = load_digits(return_X_y=True)  # with features that are constant
    X[:, 5] += 1e4  # and one far from zero
    weights = np.random.default_rng(0).random(len(X)) if weighted else None
    ours = GaussianNB(var_smoothing).fit(X, y, weights)
    theirs = naive_bayes.GaussianNB(var_smoothing=var_smoothing).fit(X, y, weights)
    attributes = ("theta_", "var_", "class_prior_", "class_count_", "epsilon_")
    compare(ours, theirs, X[:300], attributes)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("alpha", "binarize"), [(1.0, 7.5), (0.01, 7.5), (2.5, None)])
def test_bernoulli_as_in_scikit_learn(weighted, alpha, binarize):
    X, y = load_digits(return_X_y=True)
    X, y = (X > 7.5 if binarize is None else X), np.array(list("abcdefghij"))[y]
    weights = np.random.default_rng(0).random(len(X)) if weighted else None
    ours = BernoulliNB(alpha, binarize).fit(X, y, weights)
    theirs = naive_bayes.BernoulliNB(alpha=alpha, binarize=binarize).fit(X, y, weights)
    attributes = ("feature_log_prob_", "feature_count_", "class_log_prior_", "class_count_")
    compare(ours, theirs, X[:300], attributes)


def test_without_smoothing_the_unseen_is_impossible():
    X, y = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]), np.array([0, 0, 1, 1])
    plain = BernoulliNB(alpha=0).fit(X, y)
    assert plain.predict_proba(X).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert plain.predict_joint_log_proba([[0, 0]]).tolist() == [[math.log(0.25), -math.inf]]
    assert (plain.sample(50, label=1, random_state=0)[0][:, 0] == 1).all()


def test_the_marginal_density():
    X, y = load_iris(return_X_y=True)
    model = GaussianNB().fit(X, y)
    densities = [
        share * stats.norm.pdf(X, mean, np.sqrt(var)).prod(1)
        for share, mean, var in zip(model.class_prior_, model.theta_, model.var_, strict=True)
    ]
    assert model.score_samples(X) == pytest.approx(np.log(sum(densities)), abs=1e-10)


def test_binary_probabilities_add_up_to_one():
    X, y = load_digits(return_X_y=True)
    model = BernoulliNB(binarize=7.5).fit(X[:, 18:26], y)
    every = np.array(np.unravel_index(np.arange(256), (2,) * 8)).T * 8.0
    assert np.exp(model.score_samples(every)).sum() == pytest.approx(1, abs=1e-12)


def test_samples_follow_the_model():
    X, y = load_iris(return_X_y=True)
    model = GaussianNB().fit(X[:120], y[:120])  # unequal classes
    drawn, labels = model.sample(20_000, random_state=0)
    assert np.bincount(labels) / 20_000 == pytest.approx(model.class_prior_, abs=0.015)
    for label in range(3):
        mine = drawn[labels == label]
        assert mine.mean(0) == pytest.approx(model.theta_[label], abs=0.05)
        assert mine.var(0) == pytest.approx(model.var_[label], rel=0.12)
    only, labels = model.sample(30, label=1, random_state=0)
    assert only.shape == (30, 4)
    assert (labels == 1).all()
    binary = BernoulliNB(binarize=3.0).fit(X, y)
    drawn, _ = binary.sample(20_000, label=2, random_state=1)
    assert drawn.mean(0) == pytest.approx(np.exp(binary.feature_log_prob_[2]), abs=0.015)
    assert set(np.unique(drawn)) == {0, 1}
    first, again = (model.sample(4, random_state=3)[0] for _ in range(2))
    assert (first == again).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (GaussianNB(-1), "var_smoothing: wanted a number that is not negative, got -1"),
        (GaussianNB(math.nan), "var_smoothing: wanted a number"),
        (BernoulliNB("a"), "alpha: wanted a number that is not negative, got 'a'"),
        (BernoulliNB(binarize=-1), "binarize: wanted a number"),
        (BernoulliNB(binarize=None), "X: wanted zeros and ones, as binarize is None"),
        (GaussianNB(priors=[1.0]), "priors: wanted 2 non-negative numbers that add up to 1"),
        (GaussianNB(priors=[1.5, -0.5]), "priors: wanted 2 non-negative numbers"),
        (BernoulliNB(class_prior=[0.3, 0.3]), "class_prior: wanted 2 non-negative numbers"),
        (GaussianNB(0), "var_smoothing: wanted a positive number, as a column is constant"),
    ],
)
def test_bad_parameters(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit([[0.5], [2.0]], [0, 1])


def test_bad_arguments():
    model = GaussianNB().fit([[0.5], [2.0]], [3, 4])
    with pytest.raises(ValueError, match=r"label: wanted one of \[3, 4\], got 5"):
        model.sample(1, label=5)
    with pytest.raises(ValueError, match="n_samples: wanted an integer of at least 1, got 0"):
        model.sample(0)
    with pytest.raises(ValueError, match="sample_weight: wanted a positive weight in each class"):
        GaussianNB().fit([[0.5], [2.0]], [0, 1], sample_weight=[0.0, 1.0])


# --- what people really bring --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GaussianNB, BernoulliNB])
def test_in_parts_as_at_once(kind):
    """Whatever the parts, a last one of one row among them; scikit-learn agrees on the counts."""
    X, y = load_digits(return_X_y=True)
    weights = np.random.default_rng(0).random(len(X))
    whole, parts = kind().fit(X, y, weights), kind()
    for rows in np.split(np.arange(len(X)), [1, 2, 700, len(X) - 1]):
        parts.partial_fit(X[rows], y[rows], np.arange(10), weights[rows])
    assert parts.predict_joint_log_proba(X) == pytest.approx(
        whole.predict_joint_log_proba(X), rel=1e-7
    )
    theirs = getattr(naive_bayes, kind.__name__)()
    for rows in np.split(np.arange(len(X)), 3):
        theirs.partial_fit(X[rows], y[rows], np.arange(10), weights[rows])
    assert parts.class_count_ == pytest.approx(theirs.class_count_)
    if kind is BernoulliNB:
        assert parts.feature_log_prob_ == pytest.approx(theirs.feature_log_prob_, rel=1e-12)
    else:
        assert parts.theta_ == pytest.approx(theirs.theta_, rel=1e-12)


def test_a_class_that_has_not_come_yet():
    model = GaussianNB().partial_fit([[0.0], [1.0]], [0, 0], classes=[0, 1])
    assert model.predict_proba([[0.5]]).tolist() == [[1, 0]]
    model.partial_fit([[10.0], [12.0]], [1, 1])
    assert model.predict([[11.0]]).tolist() == [1]
    for wrong, message in (
        (lambda: GaussianNB().partial_fit([[0.0]], [0]), "classes: wanted all classes"),
        (lambda: model.partial_fit([[0.0]], [2]), r"y: wanted classes out of \[0, 1\], got also"),
        (lambda: model.partial_fit([[0.0]], [1], classes=[0, 2]), "classes: wanted those of the"),
        (lambda: model.partial_fit([[0.0, 1.0]], [1]), "2 features"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


@pytest.mark.parametrize("kind", [GaussianNB, BernoulliNB])
def test_probabilities_of_the_classes_that_are_given(kind):
    X, y = load_digits(return_X_y=True)
    given = np.arange(1, 11) / 55
    name = "priors" if kind is GaussianNB else "class_prior"
    ours = kind(**{name: given}).fit(X, y)
    theirs = getattr(naive_bayes, kind.__name__)(**{name: given}).fit(X, y)
    compare(ours, theirs, X[:300], ())
    if kind is BernoulliNB:
        equal = BernoulliNB(fit_prior=False).fit(X, y)
        compare(equal, naive_bayes.BernoulliNB(fit_prior=False).fit(X, y), X[:300], ())
        assert np.exp(equal.class_log_prior_) == pytest.approx(np.full(10, 0.1))


def test_a_row_that_no_class_can_have_produced():
    """The limit of ever less smoothing, as in scikit-learn with as little: not NaN."""
    X, y = [[0, 0], [0, 1], [1, 0], [1, 0]], ["a", "a", "b", "b"]
    model = BernoulliNB(alpha=0).fit(X, y)
    theirs = naive_bayes.BernoulliNB(alpha=1e-10, force_alpha=True).fit(X, y)
    assert model.predict_proba([[1, 1]]) == pytest.approx(np.array([[1 / 3, 2 / 3]]), rel=1e-12)
    assert model.predict_proba([[1, 1]]) == pytest.approx(theirs.predict_proba([[1, 1]]), rel=1e-6)
    assert model.predict([[1, 1]]).tolist() == ["b"]
    assert model.score_samples([[1, 1]]) == -math.inf
    assert model.predict_joint_log_proba([[1, 1]]).tolist() == [[-math.inf, -math.inf]]


def test_far_out():
    """A fill value: the wider class is the more probable, and nothing is NaN."""
    X = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 5.0], [9.0, 0.0]])
    model = GaussianNB().fit(X, [0, 0, 1, 1])
    for far in (1e100, 1e200, -1e308):
        assert model.predict_proba([[far, 0.0]]).tolist() == [[0, 1]]
        assert np.isfinite(model.score_samples([[far, 0.0]])).all()
        assert model.predict([[0.0, far]]).tolist() == [1]


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_units_do_not_matter(unit):
    X, y = load_iris(return_X_y=True)
    plain, scaled = GaussianNB().fit(X, y), GaussianNB().fit(unit * X, y)
    assert scaled.predict_proba(unit * X) == pytest.approx(plain.predict_proba(X), abs=1e-9)


def test_one_column_in_far_smaller_units_is_said():
    X, y = load_iris(return_X_y=True)
    X = X * [1e8, 1, 1, 1]
    with pytest.warns(UserWarning, match="more than the variance of column 1: scale the columns"):
        GaussianNB().fit(X, y)


def test_data_that_do_not_vary():
    for X, y in (([[1.0]], [0]), ([[2.0], [2.0]], [0, 1])):
        with pytest.raises(ValueError, match="X: wanted columns of which one varies, got n_sampl"):
            GaussianNB().fit(X, y)


def test_parameters_changed_after_the_fit():
    """What was counted with one smoothing and threshold is not read with another."""
    X, y = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]), np.array([0, 0, 1, 1])
    for before, after in ((0, 1), (1, 0)):
        model = BernoulliNB(alpha=before).fit(X, y)
        expected = model.predict_proba(X)
        model.set_params(alpha=after, binarize=0.5)
        assert np.array_equal(model.predict_proba(X), expected)


def test_the_first_bad_row_is_named():
    X = np.zeros((5, 2))
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="X: wanted finite numbers, got NaN in row 3, column 1"):
        GaussianNB().fit(X, [0, 0, 1, 1, 1])
