"""Pictures of latent variables: what they show against the codes given."""

import numpy as np
import pytest
import torch
from scipy import stats

from vaebook import latent_figures

IMAGES = np.random.default_rng(0).random((7, 16))


def picture(figure):
    return figure.axes[0].images[0].get_array()


def test_latent_scatter_marks_are_the_labels():
    codes = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    labels = np.arange(30) % 3
    figure = latent_figures.latent_scatter(codes, labels)
    parts = figure.axes[0].collections
    assert len(parts) == 3
    for label, part in enumerate(parts):
        np.testing.assert_array_equal(part.get_offsets(), codes[labels == label])
    shapes = {part.get_paths()[0].vertices.tobytes() for part in parts}
    assert len(shapes) == 3  # told apart without colour


def test_latent_manifold_decodes_the_prior_s_quantiles():
    n = 5
    seen = []

    def decode(z):
        seen.append(z)
        return (z[:, 1:] + 3).div(6).repeat(1, 4)  # brightness tells z2

    figure = latent_figures.latent_manifold(decode, n)
    quantiles = stats.norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(seen[0][:n, 0], quantiles, atol=1e-6)  # along the first row
    np.testing.assert_allclose(seen[0][::n, 1], quantiles[::-1], atol=1e-6)  # from the top down
    column = picture(figure)[::2, 0]
    np.testing.assert_allclose(column, (quantiles[::-1] + 3) / 6, atol=1e-6)
    # A tick stands where the prior has that share to its left (or below).
    axes = figure.axes[0]
    assert axes.get_xticks() == pytest.approx(10 * stats.norm.cdf([-1, 0, 1]) - 0.5)
    assert axes.get_yticks() == pytest.approx(9 - axes.get_xticks())


def test_interpolation_strip_runs_from_left_to_right():
    paths = np.random.default_rng(0).random((2, 3, 16))
    figure = latent_figures.interpolation_strip(torch.tensor(paths))
    for path in range(2):
        for step in range(3):
            tile = picture(figure)[6 * path :][:4, 6 * step :][:, :4]  # of 4 pixels, 2 apart
            np.testing.assert_array_equal(tile, paths[path, step].reshape(4, 4))
    ticks = zip(figure.axes[0].get_xticks(), figure.axes[0].get_xticklabels(), strict=True)
    assert [(at, label.get_text()) for at, label in ticks] == [(1.5, "0"), (13.5, "1")]


def test_cloud_and_codes_share_their_shade():
    cloud, codes = torch.rand(9, 3), {"PCA": torch.rand(9, 2), "autoencoder": torch.rand(9, 2)}
    shade = np.arange(9.0)
    figure = latent_figures.cloud_and_codes(cloud, codes, shade)
    space, *flat = figure.axes
    assert space.name == "3d"
    assert [axes.get_xlabel() for axes in flat] == ["PCA", "autoencoder"]
    for axes, points in zip(flat, codes.values(), strict=True):
        np.testing.assert_array_equal(axes.collections[0].get_offsets(), points.numpy())
    for axes in figure.axes:
        np.testing.assert_array_equal(axes.collections[0].get_array(), shade)
    with pytest.raises(ValueError, match=r"PCA: wanted shape \(9, 2\), got \(8, 2\)"):
        latent_figures.cloud_and_codes(cloud, {"PCA": torch.rand(8, 2)}, shade)


def test_mixture_components_put_ellipses_where_the_covariance_says():
    points, resp = np.array([[0.0, 0.0], [5.0, 5.0], [1.0, 0.0]]), np.eye(2)[[0, 1, 0]]
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    means = np.array([[0.0, 0.0], [5.0, 5.0]])
    figure = latent_figures.mixture_components(points, resp, means, [covariance, np.eye(2)])
    first, one, two, second, *_ = figure.axes[0].lines
    np.testing.assert_array_equal(first.get_xydata(), points[[0, 2]])
    np.testing.assert_array_equal(second.get_xydata(), points[[1]])
    for line, width in ((one, 1), (two, 2)):
        white = np.linalg.solve(np.linalg.cholesky(covariance), line.get_xydata().T)
        np.testing.assert_allclose(np.linalg.norm(white, axis=0), width)


def test_nearest_code_cells_joins_each_point_to_its_vector():
    points, vectors = torch.randn(9, 2), torch.randn(4, 2)
    figure = latent_figures.nearest_code_cells(points, vectors)
    (axes,) = figure.axes
    for line, point in zip(axes.lines, points, strict=True):
        start, end = line.get_xydata()
        np.testing.assert_allclose(start, point)
        nearest = vectors[(vectors - point).square().sum(1).argmin()]
        np.testing.assert_allclose(end, nearest)
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match=r"vectors: wanted shape \(n, 2\), got \(4, 1\)"):
        latent_figures.nearest_code_cells(points, vectors[:, :1])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: latent_figures.interpolation_strip(IMAGES[:1]), "paths: wanted shape"),
        (lambda: latent_figures.interpolation_strip(IMAGES[0]), "paths: wanted shape"),
        (
            lambda: latent_figures.latent_manifold(lambda z: z, 1),
            "n: wanted an integer of at least 2",
        ),
        (lambda: latent_figures.latent_scatter(torch.zeros(3, 3), [0] * 3), "codes: wanted shape"),
        (
            lambda: latent_figures.latent_scatter(torch.zeros(3, 2), [0] * 2),
            r"labels: wanted shape \(3,\)",
        ),
    ],
)
def test_pictures_refuse(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
