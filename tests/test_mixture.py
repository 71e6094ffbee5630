"""Gaussian mixtures agree with SciPy's densities and with scikit-learn, its own tests included."""

import copy
import inspect
import re
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import mixture as theirs
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture.tests import test_gaussian_mixture as their_tests
from sklearn.mixture.tests import test_mixture as their_base_tests
from sklearn.utils.estimator_checks import parametrize_with_checks

from vaebook import data
from vaebook.mixture import (
    DEGENERATE,
    GaussianMixture,
    MixtureParameters,
    complete_log_likelihood,
    em_steps,
    log_joint,
    lower_bound,
    m_step,
    precision_cholesky,
    responsibilities,
)

KINDS = ("full", "tied", "diag", "spherical")
STARTS = ("kmeans", "k-means++", "random", "random_from_data")


def blobs(n=400, d=3, seed=0):
    rng = np.random.default_rng(seed)
    turn = rng.normal(size=(3, d, d))
    centre = 4 * rng.normal(size=(3, d))
    component = rng.integers(3, size=n)
    return centre[component] + np.einsum("nd,nde->ne", rng.normal(size=(n, d)), turn[component])


def matrices(covariances, kind, n_components, d):
    """Write the covariances of any type as matrices."""
    if kind == "tied":
        return np.broadcast_to(covariances, (n_components, d, d))
    if kind == "diag":
        return np.array([np.diag(c) for c in covariances])
    return covariances if kind == "full" else covariances[:, None, None] * np.eye(d)


# --- scikit-learn's interface


@parametrize_with_checks([GaussianMixture(), GaussianMixture(2, init_params="random")])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# Their tests of what is public. Not their test_check_weights: the message that it wants has the
# smallest weight where it says "max value". Theirs of private functions are not about us.
PUBLIC = [
    "test_gaussian_mixture_attributes",
    "test_check_means",
    "test_check_precisions",
    "test_gaussian_mixture_estimate_log_prob_resp",
    "test_gaussian_mixture_predict_predict_proba",
    "test_gaussian_mixture_fit_predict",
    "test_gaussian_mixture_fit_predict_n_init",
    "test_gaussian_mixture_fit",
    "test_gaussian_mixture_fit_best_params",
    "test_gaussian_mixture_fit_convergence_warning",
    "test_multiple_init",
    "test_gaussian_mixture_n_parameters",
    "test_bic_1d_1component",
    "test_gaussian_mixture_aic_bic",
    "test_gaussian_mixture_verbose",
    "test_warm_start",
    "test_convergence_detected_with_warm_start",
    "test_score",
    "test_score_samples",
    "test_monotonic_likelihood",
    "test_regularisation",
    "test_fitted_precision_covariance_concistency",
    "test_sample",
    "test_init",
    "test_gaussian_mixture_setting_best_params",
    "test_init_means_not_duplicated",
    "test_means_for_all_inits",
    "test_max_iter_zero",
    "test_gaussian_mixture_precisions_init_diag",
    "test_gaussian_mixture_single_component_stable",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PUBLIC)
def test_scikit_learn_tests_pass(name, monkeypatch):
    monkeypatch.setattr(their_tests, "GaussianMixture", GaussianMixture)
    test = getattr(their_tests, name)
    possible = {
        "seed": 3,
        "max_iter": 300,
        "tol": 1e-7,
        "covar_type": "full",
        "init_params": "k-means++",
        "global_random_seed": 0,
        "global_dtype": np.float32,
    }
    test(**{each: possible[each] for each in inspect.signature(test).parameters})


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_base_tests_pass():
    their_base_tests.test_gaussian_mixture_n_iter(GaussianMixture())
    their_base_tests.test_mixture_n_components_greater_than_n_samples_error(GaussianMixture())


def test_same_parameters_and_defaults():
    assert inspect.signature(GaussianMixture).replace(return_annotation=None).parameters.keys() == (
        inspect.signature(theirs.GaussianMixture).parameters.keys()
    )
    assert GaussianMixture().get_params() == theirs.GaussianMixture().get_params()


# Not "tied" from single data: there scikit-learn's start takes the covariance of all the data for
# that of K of them.
SAME = [(k, s) for k in KINDS for s in STARTS if k != "tied" or s in ("kmeans", "random")]


@pytest.mark.parametrize(("kind", "start"), SAME)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_same_fit_as_scikit_learn(kind, start):
    X = blobs()
    options = {"covariance_type": kind, "init_params": start, "n_init": 2, "tol": 1e-6}
    ours = GaussianMixture(3, random_state=0, **options).fit(X)
    other = theirs.GaussianMixture(3, random_state=0, **options).fit(X)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(ours, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-9)
    assert (ours.n_iter_, ours.converged_) == (other.n_iter_, other.converged_)
    # their first bound after a start from single data is of weights that do not sum to one
    assert ours.lower_bounds_[1:] == pytest.approx(other.lower_bounds_[1:], abs=1e-9)
    assert ours.lower_bound_ == pytest.approx(other.lower_bound_, abs=1e-9)
    assert np.array_equal(ours.predict(X), other.predict(X))
    assert ours.predict_proba(X) == pytest.approx(other.predict_proba(X), abs=1e-9)
    assert ours.score_samples(X) == pytest.approx(other.score_samples(X), abs=1e-9)
    assert (ours.aic(X), ours.bic(X)) == pytest.approx((other.aic(X), other.bic(X)), abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_same_fit_from_given_start(kind):
    X = blobs()
    start = m_step(X, np.random.default_rng(1).dirichlet(np.ones(3), len(X)), kind)
    precisions = 1 / start.covariances if kind in KINDS[2:] else np.linalg.inv(start.covariances)
    given = {"weights_init": start.weights, "means_init": start.means}
    options = {"covariance_type": kind, "precisions_init": precisions, "max_iter": 3, "tol": 0}
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        ours = GaussianMixture(3, **given, **options).fit(X)
    with pytest.warns(ConvergenceWarning):
        other = theirs.GaussianMixture(3, **given, **options).fit(X)
    assert ours.means_ == pytest.approx(other.means_, abs=1e-9)
    assert ours.covariances_ == pytest.approx(other.covariances_, abs=1e-9)
    assert ours.lower_bounds_ == pytest.approx(other.lower_bounds_, abs=1e-9)


def test_old_faithful():
    fitted = GaussianMixture(2, n_init=5, tol=1e-9, random_state=0).fit(data.old_faithful())
    order = fitted.means_[:, 0].argsort()
    assert fitted.score_samples(data.old_faithful()).sum() == pytest.approx(-1130.264, abs=1e-3)
    assert fitted.means_[order] == pytest.approx(np.array([[2.04, 54.5], [4.29, 80.0]]), abs=0.05)
    assert np.bincount(fitted.predict(data.old_faithful()))[order].tolist() == [97, 175]
    assert fitted._n_parameters() == 11


# --- the functions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 4])
def test_log_joint_by_scipy(kind, d):
    X = blobs(2500, d)  # three blocks
    weights, means, covariances = m_step(
        X, np.random.default_rng(2).dirichlet([1, 2, 3], 2500), kind
    )
    joint = log_joint(X, weights, means, precision_cholesky(covariances, kind), kind)
    each = zip(weights, means, matrices(covariances, kind, 3, d), strict=True)
    expected = [np.log(w) + stats.multivariate_normal(m, c).logpdf(X) for w, m, c in each]
    assert joint == pytest.approx(np.transpose(expected), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_m_step_by_numpy(kind):
    X, resp = blobs(2500), np.random.default_rng(3).dirichlet([1, 2, 3], 2500)
    weights, means, covariances = m_step(X, resp, kind, reg_covar=0.25)
    full = np.array([np.cov(X.T, bias=True, aweights=r) for r in resp.T])
    each = full.diagonal(axis1=1, axis2=2)
    expected = {
        "full": full + 0.25 * np.eye(3),
        "tied": np.einsum("k,kde->de", weights, full) + 0.25 * np.eye(3),
        "diag": each + 0.25,
        "spherical": each.mean(1) + 0.25,
    }[kind]
    assert weights == pytest.approx(resp.mean(0), rel=1e-12)
    assert means == pytest.approx(np.array([np.average(X, 0, r) for r in resp.T]), rel=1e-12)
    assert covariances == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_data_far_from_zero(kind):
    X = np.round(blobs() * 2**10) / 2**10  # exact after the shift
    near = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    far = GaussianMixture(3, covariance_type=kind, means_init=near.means_ + 2**20, random_state=0)
    near.set_params(means_init=near.means_).fit(X)
    far.fit(X + 2**20)
    assert far.lower_bounds_ == pytest.approx(near.lower_bounds_, abs=1e-7)
    assert far.covariances_ == pytest.approx(near.covariances_, abs=1e-6)


def test_responsibilities_of_a_far_datum():
    log_evidence, resp = responsibilities(np.array([[-5000.0, -5001.0], [0.0, -np.inf]]))
    assert log_evidence == pytest.approx([-5000 + np.log1p(np.exp(-1)), 0])
    assert resp == pytest.approx(np.array([[1 / (1 + np.exp(-1)), 1 / (1 + np.e)], [1, 0]]))


def test_zeros_do_no_harm():
    joint, one_hot = np.array([[-1.0, -np.inf]]), np.array([[1.0, 0.0]])
    assert complete_log_likelihood(joint, one_hot) == pytest.approx([-1])
    assert lower_bound(joint, one_hot) == pytest.approx([-1])


@pytest.mark.parametrize("kind", KINDS)
def test_bound_never_falls_and_touches(kind):
    X = blobs()
    parameters = m_step(X, np.random.default_rng(0).dirichlet(np.ones(3), len(X)), kind, 0)
    steps = em_steps(X, parameters, kind, reg_covar=0)
    bounds = [next(steps)[0] for _ in range(60)]
    assert np.diff(bounds).min() > -1e-12
    assert bounds[-1] > bounds[0] + 1e-3


def test_single_precision_stays_single():
    X = blobs().astype(np.float32)
    fitted = GaussianMixture(3, weights_init=[0.2, 0.3, 0.5], random_state=0).fit(X)
    assert {a.dtype for a in (*fitted._parameters(), fitted.score_samples(X))} == {np.dtype("f4")}


# --- starts


def test_best_of_several_starts():
    X = blobs(seed=3)
    best = GaussianMixture(6, n_init=8, init_params="random_from_data", random_state=0).fit(X)
    random_state = np.random.RandomState(0)
    single = GaussianMixture(6, init_params="random_from_data", random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        bounds = [copy.deepcopy(single.fit(X)).lower_bound_ for _ in range(8)]
    assert best.lower_bound_ == max(bounds) > min(bounds) + 1e-3
    assert best.lower_bounds_[-1] == best.lower_bound_
    assert len(best.lower_bounds_) == best.n_iter_


def test_warm_start_goes_on():
    X = blobs()
    once = GaussianMixture(3, max_iter=6, tol=0, init_params="random", random_state=0)
    twice = GaussianMixture(
        3, max_iter=3, tol=0, init_params="random", random_state=0, warm_start=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        once.fit(X)
        first = twice.fit(X).lower_bounds_
        second = twice.fit(X).lower_bounds_
    assert first + second == once.lower_bounds_
    assert np.array_equal(twice.means_, once.means_)


def test_progress(capsys):
    GaussianMixture(1, verbose=1, verbose_interval=1, random_state=0).fit(blobs())
    assert "start 0, step 1: " in capsys.readouterr().out


# --- what cannot be fitted, and what can


@pytest.mark.parametrize("kind", KINDS)
def test_duplicates(kind):
    X = np.repeat([[0.1, 1.0], [5.3, 5.0]], 10, axis=0)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(2, covariance_type=kind, reg_covar=0, random_state=0).fit(X)
    fitted = GaussianMixture(2, covariance_type=kind, random_state=0).fit(X)
    assert sorted(fitted.means_[:, 0]) == pytest.approx([0.1, 5.3])
    assert matrices(fitted.covariances_, kind, 2, 2) == pytest.approx(
        np.array([1e-6 * np.eye(2)] * 2)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_covariance_not_positive(kind):
    with pytest.raises(ValueError, match=re.escape(DEGENERATE)):
        precision_cholesky(-m_step(blobs(), np.ones((400, 1)), kind).covariances, kind)


def test_singular_to_rounding():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2))
    X = np.column_stack([x, x @ [0.3, 0.7]])  # a plane, up to rounding
    with pytest.raises(ValueError, match=re.escape(DEGENERATE)):
        GaussianMixture(reg_covar=0).fit(X)


def test_constant_column():
    X = np.column_stack([blobs(d=1), np.full(400, 7.0)])
    with pytest.raises(ValueError, match="ill-defined"):
        GaussianMixture(2, reg_covar=0).fit(X)
    fitted = GaussianMixture(2, random_state=0).fit(X)
    assert fitted.means_[:, 1] == pytest.approx(7)
    assert fitted.covariances_[:, 1, 1] == pytest.approx(1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_component(kind):
    X = blobs()
    resp = np.column_stack([np.ones(len(X)), np.zeros(len(X))])
    weights, means, _ = m_step(X, resp, kind)
    assert weights == pytest.approx([1, 0], abs=1e-15)
    assert means[1] == pytest.approx(X.mean(0))
    fitted = GaussianMixture(2, covariance_type=kind, weights_init=[1, 0], means_init=means)
    fitted.fit(X)
    alone = GaussianMixture(1, covariance_type=kind).fit(X)
    assert fitted.score(X) == pytest.approx(alone.score(X), abs=1e-9)


@pytest.mark.parametrize(
    ("options", "X", "message"),
    [
        ({"n_components": 3}, [[0.0], [1.0]], "n_samples >= n_components"),
        ({}, [[0.0]], "minimum of 2"),
        ({"n_components": 0}, [[0.0], [1.0]], "n_components.*Got 0"),
        ({"covariance_type": "round"}, [[0.0], [1.0]], "covariance_type.*'round'"),
        ({"weights_init": [0.7]}, [[0.0], [1.0]], r"normalized.*0\.7"),
        ({"weights_init": [[1.0]]}, [[0.0], [1.0]], r"shape of \(1,\), but got \(1, 1\)"),
        ({"weights_init": [1.5]}, [[0.0], [1.0]], r"range \[0, 1\].*max value 1\.5"),
        ({"weights_init": [-0.5]}, [[0.0], [1.0]], r"range \[0, 1\].*min value -0\.5"),
    ],
)
def test_refused(options, X, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**options).fit(X)


# --- samples


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments_of_their_component(kind):
    fitted = GaussianMixture(3, covariance_type=kind, random_state=0).fit(blobs())
    X, y = fitted.sample(60_000)
    assert np.bincount(y) / len(y) == pytest.approx(fitted.weights_, abs=0.01)
    covariances = matrices(fitted.covariances_, kind, 3, 3)
    for k in range(3):
        assert X[y == k].mean(0) == pytest.approx(fitted.means_[k], abs=0.1)
        white = np.linalg.solve(
            np.linalg.cholesky(covariances[k]), (X[y == k] - fitted.means_[k]).T
        )
        assert np.cov(white) == pytest.approx(np.eye(3), abs=0.05)


def test_parameters_have_names():
    assert MixtureParameters._fields == ("weights", "means", "covariances")


# --- what people really bring --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_fill_value_has_a_density_and_a_component(kind):
    """In single precision its square overflows; double precision says what is right."""
    X = blobs()
    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X.astype(np.float32))
    point = np.zeros((1, X.shape[1]), np.float32)
    point[0, 0] = 9.96921e36
    each = [
        stats.multivariate_normal(mean, covariance).logpdf(point[0].astype(np.float64)) + np.log(w)
        for w, mean, covariance in zip(
            model.weights_.astype(np.float64),
            model.means_.astype(np.float64),
            full_covariances(model),
            strict=True,
        )
    ]
    assert model.score_samples(point)[0] == pytest.approx(max(each), rel=1e-5)
    assert model.predict(point)[0] == np.argmax(each)
    assert model.predict_proba(point).sum() == pytest.approx(1)
    wide = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    for far in (1e155, 1e200, -1e300):
        point = np.array([[far] + [0.0] * (X.shape[1] - 1)])
        assert np.isfinite(wide.score_samples(point)).all()
        assert wide.predict_proba(point).sum() == pytest.approx(1)
        assert wide.predict(point) == wide.predict(point / far * 1e150 * np.sign(far))


def full_covariances(model):
    k, d = model.means_.shape
    covariances = model.covariances_.astype(np.float64)
    if model.covariance_type in ("full", "tied"):
        return np.broadcast_to(covariances, (k, d, d))
    return np.array([np.diag(np.broadcast_to(v, d)) for v in covariances])


def test_data_in_small_units_are_said_to_drown():
    X = 1e-8 * blobs()
    with pytest.warns(UserWarning, match="reg_covar=1e-06 is larger than the variance of column 0"):
        GaussianMixture(3, random_state=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = GaussianMixture(3, reg_covar=0, random_state=0).fit(X)
        plain = GaussianMixture(3, reg_covar=0, random_state=0).fit(blobs())
    assert small.means_ * 1e8 == pytest.approx(plain.means_, rel=1e-6)
    assert small.score(X) == pytest.approx(plain.score(blobs()) - X.shape[1] * np.log(1e-8))


def test_a_parameter_changed_after_the_fit():
    """The fitted covariances keep their type; a warm start of another shape is refused."""
    X = blobs()
    model = GaussianMixture(2, covariance_type="diag", random_state=0).fit(X)
    expected, size = model.score_samples(X), model.aic(X)
    model.set_params(covariance_type="tied")
    assert np.array_equal(model.score_samples(X), expected)
    assert model.aic(X) == size
    assert model.sample(3)[0].shape == (3, X.shape[1])
    for change in ({"covariance_type": "full"}, {"covariance_type": "diag", "n_components": 3}):
        with pytest.raises(ValueError, match="warm_start: wanted components, features and covar"):
            model.set_params(warm_start=True, **change).fit(X)


@pytest.mark.parametrize("dtype", ["i8", ">f8", ">f4", "f2", "u1"])
def test_the_plain_functions_take_any_numbers(dtype):
    """Integers are not cut, and foreign byte orders are read: as the same numbers in doubles."""
    X = np.array([[0, 0], [1, 3], [4, 1], [5, 5]])
    resp = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    for kind in KINDS:
        expected = m_step(X.astype(float), resp.astype(float), kind)
        found = m_step(X.astype(dtype), resp.astype(dtype), kind)
        assert found.covariances == pytest.approx(expected.covariances, rel=1e-5)
        factors = precision_cholesky(expected.covariances, kind)
        joint = log_joint(X.astype(dtype), *expected[:2], factors, kind)
        assert joint == pytest.approx(
            log_joint(X.astype(float), *expected[:2], factors, kind), rel=1e-5
        )
    assert precision_cholesky(np.array([4, 9]), "spherical").tolist() == [0.5, 1 / 3]
    assert log_joint(X[:0].astype(float), *expected[:2], factors, kind).shape == (0, 2)


def test_a_bad_row_is_named():
    X = blobs()
    X[11, 1] = np.inf
    with pytest.raises(ValueError, match="X: wanted finite numbers, got inf in row 11, column 1"):
        GaussianMixture(2).fit(X)
