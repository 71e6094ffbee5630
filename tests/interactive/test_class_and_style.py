"""Class and style: the page decodes one code with every class."""

import numpy as np
import pytest
import torch

from vaebook.conditional import conditional_mlp_vae
from vaebook.interactive.class_and_style import class_and_style
from vaebook.likelihoods import Gaussian

from .conftest import settle
from .test_weights import rounded


def make_model(n_pixels=64, n_latents=2, **options):
    torch.manual_seed(0)  # layers are initialised from torch's own generator
    return conditional_mlp_vae(4, n_pixels, n_latents, hidden=(30, 20), **options)


CODES, LABELS = torch.tensor([[0.0, 0.0], [2.0, 2.0], [-2.0, 1.0]]), [3, 1, 3]


def example():
    return class_and_style(make_model(), CODES, LABELS)


def test_each_class_is_decoded_as_by_the_package(evaluate):
    model, figure = make_model(), example()
    z = [[0.0, 0.0], [1.5, -2.0]]
    found = evaluate(
        "class_and_style",
        "a[1].map((z) => m.images(a[0], 4, z).map((x) => [...x]))",
        figure.state["layers"],
        z,
    )
    decoder = rounded(model.decoder, figure.state["layers"])
    for code, images in zip(z, found, strict=True):
        rows = torch.cat([torch.eye(4), torch.tensor(code).expand(4, -1)], 1).double()
        with torch.no_grad():
            expected = torch.sigmoid(decoder(rows)).numpy()
        np.testing.assert_allclose(images, expected, rtol=0, atol=1e-6)


def test_a_pressed_image_shows_the_codes_of_its_class(show):
    page = show(example())
    output = page.locator("output")
    assert output.inner_text() == (
        "z = (0.00, 0.00) with each class. In bold: the codes of 0 digits of class 0."
    )
    page.locator("button[aria-pressed]").nth(3).click()
    settle(page)
    assert output.inner_text().endswith("the codes of 2 digits of class 3.")


def test_by_keyboard_and_slider(show):
    page = show(example())
    picture = "c => c.toDataURL()"
    before = page.locator("canvas").first.evaluate(picture)
    page.get_by_role("slider", name="Code z").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_label("z₂").fill("-1")
    settle(page)
    assert page.locator("output").inner_text().startswith("z = (0.60, −1.00)")
    assert page.locator("canvas").first.evaluate(picture) != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_latents": 3}, "model: wanted two latents and a Bernoulli likelihood, got 3"),
        ({"likelihood": Gaussian()}, "got 2, Gaussian"),
        ({"n_pixels": 60}, "model: wanted square images, got 60 pixels"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        class_and_style(make_model(**options), CODES, LABELS)


def test_codes_and_labels_have_to_fit():
    with pytest.raises(ValueError, match=r"labels: wanted shape \(3,\)"):
        class_and_style(make_model(), CODES, [1, 2])
