"""The size of the code: the page shows what was restored, and measures it rightly."""

import base64

import numpy as np
import pytest
import torch

from vaebook.interactive.code_size import code_size

from .conftest import settle


def unpacked(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(-1, 64) / 255


def stand_in(n=3, sizes=(1, 2, 8)):
    """Images, and the same less and less blurred by two methods."""
    generator = torch.Generator().manual_seed(0)
    originals = torch.rand(n, 64, generator=generator)
    grey = originals.mean(1, keepdim=True)
    restored = {
        name: {d: grey + (originals - grey) * (1 - 1 / (d + k)) for d in sizes}
        for k, name in ((1, "PCA"), (2, "autoencoder"))
    }
    errors = {
        name: [float((x - originals).square().sum(1).mean()) for x in images.values()]
        for name, images in restored.items()
    }
    return originals, restored, errors


def example():
    return code_size(*stand_in())


def test_the_page_measures_the_error_of_what_it_shows(evaluate):
    state = example().state
    given, shown = (unpacked(packed) for packed in (state["originals"], state["restored"]["PCA"]))
    expression = """(() => {
      const [one, other] = a.map(vaebookLive.array);
      return [0, 1, 2].map((i) => m.squaredError(
        one.subarray(64 * i, 64 * i + 64), other.subarray(64 * i + 192, 64 * i + 256)));
    })()"""
    computed = evaluate("code_size", expression, state["originals"], state["restored"]["PCA"])
    expected = ((given - shown[3:6]) ** 2).sum(1)
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-6)


def test_what_is_shown_is_within_half_a_level_of_grey():
    _, restored, _ = stand_in()
    state = example().state
    shown = unpacked(state["restored"]["autoencoder"]).reshape(3, 3, 64)
    for images, wanted in zip(shown, restored["autoencoder"].values(), strict=True):
        assert np.abs(images - wanted.clamp(0, 1).numpy()).max() <= 0.5 / 15 + 1e-6


def test_a_longer_code_restores_more(show):
    page = show(example())
    said = []
    for at in range(3):
        page.get_by_label("numbers in the code").fill(str(at))
        settle(page)
        texts = page.locator(".vaebook-pictures span").all_inner_texts()
        said.append([float(text) for text in texts if text])
    assert len(said[0]) == 6
    assert np.all(np.diff(said, axis=0) <= 0)
    assert "From 8 numbers" in page.locator("output").inner_text()


def test_refuses():
    originals, restored, errors = stand_in()
    with pytest.raises(ValueError, match="square images"):
        code_size(originals[:, :63], restored, errors)
    with pytest.raises(ValueError, match="the same two methods"):
        code_size(originals, {"PCA": restored["PCA"]}, errors)
    with pytest.raises(ValueError, match="images and errors"):
        code_size(originals, restored, errors | {"PCA": [1.0]})
