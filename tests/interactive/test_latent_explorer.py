"""The latent explorer: the page decodes, and shows, the code that the reader chose."""

import re

import numpy as np
import pytest
import torch

from vaebook.interactive.latent_explorer import latent_explorer
from vaebook.likelihoods import Gaussian
from vaebook.vae import conv_vae, mlp_vae

from .conftest import settle
from .test_weights import rounded


def make_vae():
    torch.manual_seed(0)  # layers are initialised from torch's own generator
    return mlp_vae(n_pixels=64, n_latents=2, hidden=(30, 20))


def example():
    codes = torch.tensor([[0.0, 0.0], [2.0, 2.0], [-2.0, 1.0]])
    return latent_explorer(make_vae(), codes, torch.tensor([3, 1, 7]))


def test_nearest_code(evaluate):
    codes = [[0, 0], [2, 2], [-1, 0.5]]
    expression = "a[1].map((z) => m.nearest(a[0], z))"
    points = [[0.2, -0.1], [5, 5], [-0.8, 0.4]]
    assert evaluate("latent_explorer", expression, codes, points) == [0, 1, 2]


def picture(page):
    settle(page)
    return page.locator("canvas").evaluate("c => c.toDataURL()")


def test_by_keyboard(show):
    page = show(example())
    output = page.locator("output")
    assert output.inner_text() == "z = (0.00, 0.00); the nearest encoded image shows the digit 3"
    before = picture(page)
    page.get_by_role("slider", name="Code z").focus()
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert picture(page) != before
    assert output.inner_text().startswith("z = (1.80, 0.06);")
    label = page.locator("canvas").get_attribute("aria-label")
    assert label.startswith("Decoded image at z = (1.80, 0.06)")
    values = [slider.input_value() for slider in page.locator("input[type=range]").all()]
    assert [float(value) for value in values] == pytest.approx([1.8, 0.06])


def test_by_pointer_and_slider(show):
    page = show(example())
    output = page.locator("output")
    page.get_by_label("z₁").fill("2")
    page.get_by_label("z₂").fill("2")
    settle(page)
    style = page.locator(".vaebook-handle").evaluate("e => [e.style.left, e.style.top]")
    across, down = (float(share.removesuffix("%")) / 100 for share in style)  # of (2, 2)
    page.get_by_role("button", name="Reset").click()
    settle(page)
    assert output.inner_text().startswith("z = (0.00, 0.00)")
    frame = page.locator(".vaebook-frame svg").bounding_box()
    page.mouse.click(frame["x"] + across * frame["width"], frame["y"] + down * frame["height"])
    settle(page)
    x, y = map(float, re.findall(r"-?\d\.\d+", output.inner_text()))
    assert (x, y) == pytest.approx((2, 2), abs=0.05)
    assert output.inner_text().endswith("the digit 1")
    page.mouse.move(frame["x"] + 5, frame["y"] + 5)  # no button: nothing moves
    settle(page)
    assert output.inner_text().endswith("the digit 1")
    page.get_by_label("z₁").fill("-2")
    page.get_by_label("z₂").fill("1")
    settle(page)
    assert output.inner_text() == "z = (−2.00, 1.00); the nearest encoded image shows the digit 7"


def test_draws_the_decoded_image(show):
    figure = example()
    page = show(figure)
    alpha = page.locator("canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 == 3)"
    )
    decoder = rounded(make_vae().decoder, figure.state["layers"])
    with torch.no_grad():
        expected = torch.sigmoid(decoder(torch.zeros(1, 2).double()))[0].numpy()
    np.testing.assert_allclose(np.array(alpha) / 255, expected, atol=0.51 / 255)


def test_without_codes(show):
    page = show(latent_explorer(make_vae()))
    assert page.locator("output").inner_text() == "z = (0.00, 0.00)"


def test_redraws_in_the_new_theme(show):
    page = show(example())
    colour = "c => c.getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    light = page.locator("canvas").evaluate(colour)
    page.evaluate("document.documentElement.style.setProperty('--vb-ink', '#e4e7ec')")
    page.evaluate("document.dispatchEvent(new CustomEvent('vaebook:theme'))")
    settle(page)
    assert page.locator("canvas").evaluate(colour) > light + 100


def test_the_chapter_s_decoder_fits_a_page():
    assert len(latent_explorer(mlp_vae(n_latents=2, hidden=(400,)))._repr_html_()) < 500_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp_vae(n_latents=3), "vae: wanted two latents and a Bernoulli likelihood, got 3"),
        (lambda: mlp_vae(n_latents=2, likelihood=Gaussian()), "got 2 and Gaussian"),
        (lambda: mlp_vae(n_pixels=60, n_latents=2), "vae: wanted square images, got 60 pixels"),
        (lambda: conv_vae(n_latents=2), "network: wanted linear layers and ReLU, SiLU or tanh"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        latent_explorer(make())


def test_codes_and_labels_have_to_fit():
    with pytest.raises(ValueError, match=r"codes: wanted shape \(n, 2\), got shape \(4, 3\)"):
        latent_explorer(make_vae(), torch.zeros(4, 3), np.zeros(4, int))
    with pytest.raises(ValueError, match=r"labels: wanted shape \(4,\)"):
        latent_explorer(make_vae(), torch.zeros(4, 2))
