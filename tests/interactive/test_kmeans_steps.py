"""K-means in slow motion: the page's two steps are those of the chapter, and J never rises."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from vaebook.data import GaussianBlobs
from vaebook.interactive.kmeans_steps import kmeans_steps

from .conftest import settle

BLOBS = GaussianBlobs(torch.tensor([[-2.0, -2.0], [2.0, -1.0], [0.0, 2.0], [2.5, 2.5]]), 0.5)


def some_points(n=80):
    return BLOBS.sample(n, torch.Generator().manual_seed(0))


def example():
    return kmeans_steps(some_points(), 6)


def test_the_steps_are_those_of_scikit_learn(evaluate):
    x = some_points().double()
    centres = x[:4].clone()
    for _ in range(3):
        squared = torch.cdist(x, centres).square()
        groups = squared.argmin(1)
        computed = evaluate("kmeans_steps", "m.assign(...a)", x.tolist(), centres.tolist())
        assert computed == groups.tolist()
        cost = evaluate(
            "kmeans_steps", "m.cost(...a)", x.tolist(), groups.tolist(), centres.tolist()
        )
        assert cost == pytest.approx(squared.amin(1).sum().item(), abs=1e-6)
        moved = evaluate(
            "kmeans_steps", "m.means(...a)", x.tolist(), groups.tolist(), centres.tolist()
        )
        centres = torch.stack([x[groups == k].mean(0) for k in range(4)])
        np.testing.assert_allclose(moved, centres, rtol=0, atol=1e-6)
    fit = KMeans(4, init=x[:4].numpy(), n_init=1, max_iter=3, tol=0).fit(x.numpy())
    assert np.abs(fit.cluster_centers_ - centres.numpy()).max() < 1e-6


def test_an_empty_group_keeps_its_centre(evaluate):
    moved = evaluate("kmeans_steps", "m.means(...a)", [[0, 0], [2, 0]], [0, 0], [[5, 5], [9, 9]])
    assert moved == [[1, 0], [9, 9]]


def test_j_falls_to_an_end(show, page):
    show(example())
    seen = []
    for _ in range(40):
        page.get_by_role("button", name="Step", exact=True).click()
        settle(page)
        said = page.locator("output").inner_text()
        if said.startswith("Stopped"):
            break
        seen.append(float(said.removeprefix("J is ").partition(". ")[0]))
    assert said.startswith("Stopped")
    assert len(seen) > 2
    assert seen == sorted(seen, reverse=True)
    page.get_by_role("button", name="New centres").click()
    settle(page)
    assert page.locator("output").inner_text().startswith("No groups yet")


def test_refuses():
    with pytest.raises(ValueError, match="points"):
        kmeans_steps(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="n_groups"):
        kmeans_steps(some_points(), 1)
