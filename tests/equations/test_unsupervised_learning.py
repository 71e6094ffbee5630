"""Each statement of the chapter on unsupervised learning, against something independent."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree
from scipy.stats import expon
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from tests.common import F64, normals
from vaebook.autoencoder import Autoencoder, mlp_autoencoder, reconstruction_objective
from vaebook.gaussian import LinearGaussian
from vaebook.training import fit


def linear_autoencoder(encoder: Tensor, decoder: Tensor, centre: Tensor) -> Autoencoder:
    """Write g(x) = A (x - m) and f(z) = B z + m into an autoencoder without hidden layers."""
    model = mlp_autoencoder(len(centre), len(encoder), hidden=()).double()
    with torch.no_grad():
        model.encoder[0].weight.copy_(encoder)
        model.encoder[0].bias.copy_(-encoder @ centre)
        model.decoder[0].weight.copy_(decoder)
        model.decoder[0].bias.copy_(centre)
    return model


# Data with five clearly different variances, turned, away from the origin.
SPREAD = torch.tensor([3.0, 2.0, 1.2, 0.6, 0.3], dtype=F64)
X = normals(400, 5) * SPREAD @ torch.linalg.qr(normals(5, 5, seed=1)).Q + 2.0
CENTRE = X.mean(0)
COVARIANCE = (X - CENTRE).T @ (X - CENTRE) / len(X)
EIGENVALUES = torch.linalg.eigvalsh(COVARIANCE).flip(0)


# --- the supervised map -----------------------------------------------------------------------


@pytest.mark.equation("eq-logistic-gradient", tolerance="1e-7")
def test_gradient_of_logistic_regression() -> None:
    """Central differences of torch's cross-entropy, over each weight, bias and score."""
    x, weight, bias, right = normals(3), normals(4, 3, seed=1), normals(4, seed=2), 2

    def loss(weight: Tensor, bias: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(weight @ x + bias, torch.tensor(right))

    printed = (weight @ x + bias).softmax(0) - torch.eye(4, dtype=F64)[right]
    for i, j in itertools.product(range(4), range(3)):
        step = torch.zeros(4, 3, dtype=F64)
        step[i, j] = 1e-5
        slope = (loss(weight + step, bias) - loss(weight - step, bias)) / 2e-5
        assert float(printed[i] * x[j]) == pytest.approx(float(slope), abs=1e-7)
    for i in range(4):  # a bias is added to its score, so the two have the same gradient
        step = 1e-5 * torch.eye(4, dtype=F64)[i]
        slope = (loss(weight, bias + step) - loss(weight, bias - step)) / 2e-5
        assert float(printed[i]) == pytest.approx(float(slope), abs=1e-7)


@pytest.mark.equation("eq-correction-step", tolerance="1e-12")
@pytest.mark.parametrize("rate", [0.01, 5.0])
def test_one_step_of_correction(rate: float) -> None:
    """A step of torch's SGD on its own cross-entropy, and the scores after it."""
    linear = torch.nn.Linear(6, 4).double()
    x, right = normals(1, 6), torch.tensor([1])
    before = linear(x).detach()
    torch.nn.functional.cross_entropy(linear(x), right).backward()
    torch.optim.SGD(linear.parameters(), lr=rate).step()
    correction = torch.eye(4, dtype=F64)[right] - before.softmax(1)
    printed = before + rate * (x.square().sum() + 1) * correction
    assert linear(x).detach().numpy() == pytest.approx(printed.numpy(), abs=1e-12)
    risen = linear(x).detach() > before
    assert risen.tolist() == [[False, True, False, False]]


# --- clusters ---------------------------------------------------------------------------------


@pytest.mark.equation("eq-mean-is-best", tolerance="1e-12")
def test_the_mean_is_the_best_centre() -> None:
    """Both sides at random points, and the one centre that k-means finds for a single group."""
    for seed in range(5):
        m = normals(5, seed=seed)
        left = (X - m).square().sum()
        right = (X - CENTRE).square().sum() + len(X) * (m - CENTRE).square().sum()
        assert float(left) == pytest.approx(float(right), rel=1e-12)
    library = KMeans(1, n_init=1, random_state=0).fit(X.numpy())
    assert library.cluster_centers_[0] == pytest.approx(CENTRE.numpy(), abs=1e-12)


@pytest.mark.equation("eq-k-means-descent", tolerance="1e-12")
def test_neither_half_step_of_k_means_raises_the_sum() -> None:
    """Each half-step evaluated from its definition, and scikit-learn's result at the end."""
    points, centres = X.numpy(), X[:4].numpy().copy()

    def total(groups: np.ndarray, centres: np.ndarray) -> float:
        return float(((points - centres[groups]) ** 2).sum())

    groups = np.arange(len(points)) % 4
    start = total(groups, centres)
    for _ in range(100):
        nearer = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
        after_groups = total(nearer, centres)
        means = np.stack([points[nearer == k].mean(0) for k in range(4)])
        after_means = total(nearer, means)
        assert after_means <= after_groups + 1e-9
        assert after_groups <= total(groups, centres) + 1e-9
        if np.array_equal(nearer, groups):
            break
        groups, centres = nearer, means
    assert after_means < 0.8 * start
    library = KMeans(4, init=X[:4].numpy(), n_init=1, tol=0, algorithm="lloyd").fit(points)
    assert library.inertia_ == pytest.approx(after_means, rel=1e-12)


@pytest.mark.equation("eq-adjusted-rand-chance", tolerance="1e-12")
@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 0]])
def test_chance_scores_zero(labels: list[int]) -> None:
    """Enumeration of all 720 permutations, with scikit-learn's index and the printed one."""
    groups = [0, 0, 1, 1, 1, 1]

    def printed(other: tuple[int, ...]) -> float:
        table = np.zeros((2, 3))
        np.add.at(table, (groups, list(other)), 1)

        def pairs(counts: np.ndarray) -> float:
            return float((counts * (counts - 1) / 2).sum())

        t, r, s = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
        e = r * s / math.comb(6, 2)
        return (t - e) / ((r + s) / 2 - e)

    permuted = list(itertools.permutations(labels))
    scores = [adjusted_rand_score(groups, p) for p in permuted]
    assert [printed(p) for p in permuted[::37]] == pytest.approx(scores[::37], abs=1e-12)
    assert np.mean(scores) == pytest.approx(0, abs=1e-12)
    assert np.std(scores) > 0.1


# --- linear codes -----------------------------------------------------------------------------


@pytest.mark.equation("eq-projection-error", tolerance="1e-12")
@pytest.mark.parametrize("d", [1, 3])
def test_error_of_a_projection(d: int) -> None:
    """The package's reconstruction error, through random planes, datum by datum."""
    for seed in range(5):
        axes = torch.linalg.qr(normals(5, d, seed=seed)).Q
        error = linear_autoencoder(axes.T, axes, CENTRE).reconstruction_error(X).mean()
        printed = COVARIANCE.trace() - (axes.T @ COVARIANCE @ axes).trace()
        assert float(error.detach()) == pytest.approx(float(printed), rel=1e-12)


@pytest.mark.equation("eq-captured-variance", tolerance="1e-12")
@pytest.mark.parametrize("d", [1, 3, 5])
def test_a_plane_shares_out_weights_among_the_eigenvalues(d: int) -> None:
    """The variance of the package's codes, in random planes and in that of scikit-learn's PCA."""
    vectors = torch.linalg.eigh(COVARIANCE).eigenvectors.flip(1)
    planes = [torch.linalg.qr(normals(5, d, seed=seed)).Q for seed in range(5)]
    for axes in (*planes, torch.from_numpy(PCA(d).fit(X.numpy()).components_.T)):
        codes = linear_autoencoder(axes.T, axes, CENTRE).encode(X).detach()
        weights = (axes.T @ vectors).square().sum(0)
        captured = float((EIGENVALUES * weights).sum())
        assert float(codes.var(0, correction=0).sum()) == pytest.approx(captured, rel=1e-12)
        trace = (axes.T @ COVARIANCE @ axes).trace()
        assert float(trace) == pytest.approx(captured, rel=1e-12)
        assert (weights > -1e-12).all()
        assert (weights < 1 + 1e-12).all()
        assert float(weights.sum()) == pytest.approx(d, rel=1e-12)
        assert captured <= float(EIGENVALUES[:d].sum()) + 1e-12
    # the last plane, that of PCA, gives its weights to the largest eigenvalues
    assert captured == pytest.approx(float(EIGENVALUES[:d].sum()), rel=1e-12)


@pytest.mark.equation("eq-eckart-young", tolerance="1e-9; 1e-6 by alternation")
@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_best_code_with_a_linear_decoder(d: int) -> None:
    """scikit-learn's PCA, and free codes and decoders that alternate to the least error."""
    bound = float(EIGENVALUES[d:].sum())
    library = PCA(d).fit(X.numpy())
    restored = library.inverse_transform(library.transform(X.numpy()))
    assert ((X.numpy() - restored) ** 2).sum(1).mean() == pytest.approx(bound, rel=1e-9)
    codes = normals(len(X), d, seed=3)  # any function g: one free code a datum
    for _ in range(400):
        design = torch.cat([codes, torch.ones(len(X), 1, dtype=F64)], 1)
        solution = torch.linalg.lstsq(design, X).solution
        decoder, centre = solution[:-1], solution[-1]
        codes = torch.linalg.lstsq(decoder.T, (X - centre).T).solution.T
        error = float((X - centre - codes @ decoder).square().sum(1).mean())
        assert error > bound - 1e-9
    assert error == pytest.approx(bound, rel=1e-6)


@pytest.mark.equation("eq-linear-autoencoder", tolerance="1e-9")
def test_a_linear_autoencoder_cannot_do_better_than_pca() -> None:
    """Eigenvalues of the covariance: reached at PCA's weights, never undercut by random ones."""
    bound = float(EIGENVALUES[2:].sum())
    axes = torch.from_numpy(PCA(2).fit(X.numpy()).components_)
    best = linear_autoencoder(axes, axes.T, CENTRE)
    value, _ = reconstruction_objective(best, X)
    assert float(-value.mean().detach()) == pytest.approx(bound, rel=1e-9)
    for seed in range(50):
        noise = 0.1 * normals(2, 5, seed=seed)
        other = linear_autoencoder(axes + noise, axes.T + noise.T, CENTRE)
        assert float(other.reconstruction_error(X).mean().detach()) > bound


@pytest.mark.equation("eq-linear-autoencoder", tolerance="1 % of the error, 0.99 of the cosines")
def test_training_a_linear_autoencoder_finds_the_plane() -> None:
    """Eigenvalues and eigenvectors of the covariance, from first weights that know nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = mlp_autoencoder(5, 2, hidden=())
    fit(model, X.float(), reconstruction_objective, epochs=60, batch_size=20, lr=3e-2)
    with torch.no_grad():
        error = float(model.reconstruction_error(X.float()).mean())
    assert error == pytest.approx(float(EIGENVALUES[2:].sum()), rel=0.01)
    assert error > (1 - 1e-4) * float(EIGENVALUES[2:].sum())  # nothing linear is better
    plane = torch.linalg.qr(model.decoder[0].weight.detach().double()).Q
    axes = torch.linalg.eigh(COVARIANCE).eigenvectors[:, -2:]
    assert (torch.linalg.svdvals(axes.T @ plane) > 0.99).all()


@pytest.mark.equation("eq-code-ambiguity", tolerance="1e-12")
def test_the_axes_of_a_code_are_arbitrary() -> None:
    """The reconstructions of a second model, whose code is another one."""
    encoder, decoder, mix = normals(2, 5), normals(5, 2, seed=1), normals(2, 2, seed=2)
    one = linear_autoencoder(encoder, decoder, CENTRE)
    other = linear_autoencoder(mix @ encoder, decoder @ torch.linalg.inv(mix), CENTRE)
    same = one.reconstruct(X), other.reconstruct(X)
    assert same[0].numpy() == pytest.approx(same[1].numpy(), abs=1e-12)
    assert (one.encode(X) - other.encode(X)).abs().max() > 1


# --- no density -------------------------------------------------------------------------------


@pytest.mark.equation("eq-reconstruction-mass", tolerance="1e-6")
@pytest.mark.parametrize("half_width", [1.5, 3.0, 6.0])
def test_the_mass_of_a_reconstruction_error(half_width: float) -> None:
    """A grid over the plane, with the package's error of a line and of a point."""
    variance, direction = 0.3, torch.tensor([[0.6], [0.8]], dtype=F64)
    line = linear_autoencoder(direction.T, direction, torch.tensor([0.5, -1.0], dtype=F64))
    along = torch.linspace(-half_width, half_width, 201, dtype=F64)
    across = torch.linspace(-6, 6, 801, dtype=F64)
    turned = torch.cartesian_prod(along, across) @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]]).double()
    error = line.reconstruction_error(turned + torch.tensor([0.5, -1.0])).detach()
    weighted = torch.exp(-error / (2 * variance)).reshape(201, 801)
    mass = torch.trapezoid(torch.trapezoid(weighted, across), along)
    printed = 2 * half_width * math.sqrt(2 * math.pi * variance)
    assert float(mass) == pytest.approx(printed, rel=1e-6)


@pytest.mark.equation("eq-density-of-code", tolerance="1e-9")
@pytest.mark.parametrize("d", [1, 3])
def test_the_density_that_completes_the_error(d: int) -> None:
    """The package's probabilistic PCA, fitted by maximum likelihood to the same data."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    axes, scales = vectors[:, -d:], values[-d:]
    variance = float(values[:-d].mean())
    code = (X - CENTRE) @ axes
    error = linear_autoencoder(axes.T, axes, CENTRE).reconstruction_error(X).detach()
    printed = (
        -error / (2 * variance)
        - (5 - d) / 2 * math.log(2 * math.pi * variance)
        - 0.5 * (code.square() / scales + torch.log(2 * math.pi * scales)).sum(1)
    )
    exact = LinearGaussian.fit(X, d).log_prob(X)
    assert printed.numpy() == pytest.approx(exact.numpy(), abs=1e-9)


# --- what the definitions define --------------------------------------------------------------


@pytest.mark.equation("def-k-means", tolerance="1e-12")
def test_the_sum_that_k_means_reports() -> None:
    """The double sum over data and pixels, for the groups and centres of scikit-learn."""
    fitted = KMeans(3, n_init=1, random_state=0).fit(X.numpy())
    printed = sum(
        math.dist(x, fitted.cluster_centers_[group]) ** 2
        for x, group in zip(X.tolist(), fitted.labels_, strict=True)
    )
    assert fitted.inertia_ == pytest.approx(printed, rel=1e-12)


@pytest.mark.equation("def-adjusted-rand", tolerance="1e-12")
def test_the_index_counts_pairs() -> None:
    """Every pair of data, looked at one by one, through scikit-learn's function."""
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randint(3, (40,), generator=generator).tolist() for _ in range(2))
    pairs = list(itertools.combinations(range(40), 2))
    together = sum(one[i] == one[j] and other[i] == other[j] for i, j in pairs)
    rows = sum(one[i] == one[j] for i, j in pairs)
    columns = sum(other[i] == other[j] for i, j in pairs)
    by_chance = rows * columns / len(pairs)
    printed = (together - by_chance) / ((rows + columns) / 2 - by_chance)
    assert adjusted_rand_score(one, other) == pytest.approx(printed, abs=1e-12)


@pytest.mark.equation("def-autoencoder", tolerance="1e-12")
@pytest.mark.equation("def-reconstruction-error", tolerance="1e-12")
def test_the_error_of_an_autoencoder() -> None:
    """Matrix products and a sum over pixels, written out for a linear encoder and decoder."""
    encoder, decoder = normals(2, 5, seed=3), normals(5, 2, seed=4)
    model = linear_autoencoder(encoder, decoder, CENTRE)
    for x in X[:5]:
        z = [float(encoder[i] @ (x - CENTRE)) for i in range(2)]
        moved = (sum(float(decoder[j, i]) * z[i] for i in (0, 1)) for j in range(5))
        restored = [float(m) + step for m, step in zip(CENTRE, moved, strict=True)]
        assert model.encode(x[None])[0].tolist() == pytest.approx(z, abs=1e-12)
        assert model.reconstruct(x[None])[0].tolist() == pytest.approx(restored, abs=1e-12)
        error = model.reconstruction_error(x[None]).item()
        assert error == pytest.approx(math.dist(x.tolist(), restored) ** 2, abs=1e-12)


# --- the intrinsic dimension ------------------------------------------------------------------


def log_ratios(dimension: int, k: int, n_points: int = 20_000) -> np.ndarray:
    """log(T_k / T_j), j < k, for points that are scattered evenly on a torus: no border."""
    points = np.random.default_rng(dimension).random((n_points, dimension))
    distances, _ = cKDTree(points, boxsize=1).query(points, k=k + 1)  # the first is the point
    return np.log(distances[:, -1:] / distances[:, 1:-1])


@pytest.mark.equation("eq-neighbour-distances", tolerance="4.5 standard errors")
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_how_far_the_neighbours_move_away(dimension: int) -> None:
    """20,000 points that are even on a torus of known dimension, with SciPy's search tree."""
    means = log_ratios(dimension, k=6).mean(axis=1)
    # Neighbours share neighbours: groups of points far apart give an honest error.
    groups = means.reshape(200, 100).mean(axis=1)
    error = groups.std(ddof=1) / math.sqrt(len(groups))
    assert abs(means.mean() - 1 / dimension) < 4.5 * error


@pytest.mark.equation("eq-intrinsic-dimension", tolerance="1e-6")
def test_the_pooled_estimate_has_the_highest_likelihood() -> None:
    """A numerical maximum of SciPy's exponential log-likelihood of all the logarithms."""
    ratios = log_ratios(2, k=10, n_points=500).ravel()
    found = minimize_scalar(
        lambda log_d: -expon.logpdf(ratios, scale=math.exp(-log_d)).sum(),
        bounds=(-3, 3),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert 1 / ratios.mean() == pytest.approx(math.exp(found.x), rel=1e-6)
