"""Cells of a codebook: the page's cells, losses and arrows are those of the package."""

import pytest
import torch

from vaebook.interactive.code_cells import VECTORS, code_cells
from vaebook.vector_quantization import nearest_codes, straight_through

from .conftest import settle

BOOK = torch.tensor(VECTORS, dtype=torch.float64)
POINTS = torch.rand(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 6 - 3
TARGET = torch.tensor([0.6, 1.0], dtype=torch.float64)


def example():
    return code_cells()


def test_the_arrow_is_the_gradient_of_the_package(evaluate):
    for z in POINTS:
        z = z.clone().requires_grad_()
        k = nearest_codes(z, BOOK)
        distance = (straight_through(z, BOOK[k]) - TARGET).square().sum()
        commitment = 0.4 * (z - BOOK[k]).square().sum()
        (wanted,) = torch.autograd.grad(distance + commitment, z)
        place = [z.tolist(), BOOK.tolist()]
        assert evaluate("code_cells", "m.nearest(...a)", *place) == k.item()
        loss = evaluate("code_cells", "m.loss(...a)", *place, TARGET.tolist())
        assert loss == pytest.approx(distance.item(), abs=1e-6)
        slope = evaluate("code_cells", "m.straightThrough(...a)", *place, TARGET.tolist(), 0.4)
        assert slope == pytest.approx(wanted.tolist(), abs=1e-6)


def test_cells_share_out_the_square(evaluate):
    areas = []
    for k in range(len(BOOK)):
        corners = evaluate("code_cells", "m.cell(...a)", k, BOOK.tolist())
        x, y = torch.tensor(corners, dtype=torch.float64).T
        areas.append(0.5 * (x * y.roll(-1) - x.roll(-1) * y).sum().item())
        middle = torch.stack([x, y], 1).mean(0)
        assert nearest_codes(middle, BOOK).item() == k
        for corner in corners:  # as near to its own vector as to any
            lengths = (torch.tensor(corner, dtype=torch.float64) - BOOK).square().sum(1)
            assert lengths[k] <= lengths.min() + 1e-9
    assert sum(areas) == pytest.approx(36, abs=1e-9)


def test_a_walk_ends_and_the_commitment_keeps_z_in(show, page):
    show(code_cells(target=(-2.9, -2.9), z=(-2.0, -1.0)))
    for _ in range(40):
        page.get_by_role("button", name="Step", exact=True).click()
    settle(page)
    assert "has left the picture" in page.locator("output").inner_text()
    show(code_cells(target=(-2.9, -2.9), z=(-2.0, -1.0), commitment=2.0))
    for _ in range(40):
        page.get_by_role("button", name="Step", exact=True).click()
    settle(page)
    assert "stands for z" in page.locator("output").inner_text()


def test_refuses():
    with pytest.raises(ValueError, match="vectors: wanted two to twelve different points"):
        code_cells([(0.0, 0.0), (0.0, 0.0)])
    with pytest.raises(ValueError, match="z: wanted points"):
        code_cells(z=(4.0, 0.0))
    with pytest.raises(ValueError, match="target: wanted points"):
        code_cells(target=(0.0, float("nan")))
    with pytest.raises(ValueError, match="commitment: wanted a number from 0 to 2"):
        code_cells(commitment=3.0)
