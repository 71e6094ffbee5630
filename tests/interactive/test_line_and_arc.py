"""Line and arc: the browser's distances are the package's, and the images are those given."""

import math

import pytest
import torch

from vaebook.interactive.line_and_arc import line_and_arc

from .conftest import settle

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(2, 2, 5, 16, generator=GENERATOR)
CONFIDENCE = torch.tensor([0.9, 0.6, 0.4, 0.6, 0.9]).expand(2, 2, 5).clone()
CONFIDENCE[:, 1] = 0.9
NAMES = torch.tensor([0, 0, 4, 7, 7]).expand(2, 2, 5)
ENDS = tuple(torch.randn(2, 6, generator=GENERATOR, dtype=torch.float64) for _ in range(2))


def example():
    return line_and_arc(IMAGES, CONFIDENCE, NAMES, ENDS, 0.8, ["0 to 7", "1 to 4"])


@pytest.mark.parametrize("s", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_distances_along_both_ways(evaluate, s):
    data = example().state["data"]
    angle = math.pi / 2 * s
    for pair, (a, b) in enumerate(zip(*ENDS, strict=True)):
        products = [float(a @ a), float(a @ b), float(b @ b)]
        assert data["products"][pair] == pytest.approx(products, abs=1e-4)
        now = evaluate("line_and_arc", "m.distances(a[0], a[1], a[2])", products, s, len(a))
        line, arc = (1 - s) * a + s * b, math.cos(angle) * a + math.sin(angle) * b
        expected = {"line": line.norm() / math.sqrt(6), "arc": arc.norm() / math.sqrt(6)}
        assert now == pytest.approx(
            {way: float(value) for way, value in expected.items()}, abs=1e-9
        )


def test_walks_and_says_what_the_judge_says(show):
    page = show(example())
    texts = page.locator(".vaebook-pictures span")
    assert texts.all_inner_texts() == ["line: not accepted; nearest a 4", "arc: accepted as a 4"]
    page.get_by_label("share of the way", exact=True).fill("0")
    settle(page)
    assert texts.all_inner_texts() == ["line: accepted as a 0", "arc: accepted as a 0"]
    shown = page.locator("canvas").first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 4, 4).data].filter((_, i) => i % 4 === 3)"
    )
    assert torch.tensor(shown) / 255 == pytest.approx(IMAGES[0, 0, 0], abs=0.5 / 15 + 1 / 255)
    page.get_by_label("1 to 4").check()
    settle(page)
    other = page.locator("canvas").first.evaluate("c => c.toDataURL()")
    page.get_by_role("button", name="Reset").click()
    settle(page)
    assert page.locator("canvas").first.evaluate("c => c.toDataURL()") != other


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((IMAGES[:, :1], CONFIDENCE, NAMES, ENDS, 0.8, ["a", "b"]), "images: wanted"),
        ((IMAGES, CONFIDENCE[:, :, :3], NAMES, ENDS, 0.8, ["a", "b"]), "confidence: wanted"),
        ((IMAGES, CONFIDENCE, NAMES, ENDS, 0.8, ["a"]), "labels: wanted 2"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        line_and_arc(*wrong)
