"""The digit drawer: the page prepares a drawing as MNIST did, and rates it as the package does."""

import gzip
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass

from vaebook.gaussian import log_normal
from vaebook.interactive.digit_drawer import digit_drawer
from vaebook.vae import mlp_vae

from .conftest import settle
from .test_weights import rounded


def make_vae():
    torch.manual_seed(0)  # layers are initialised from torch's own generator
    return mlp_vae(n_latents=2, hidden=(30,))


def example():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(40, 2, generator=generator)
    examples = torch.zeros(3, 28, 28)
    examples[0, 6:22, 13:15] = 1
    examples[1, 4:12, 10:18] = 1
    examples[2, 10:16, 4:24] = 1
    return digit_drawer(make_vae(), codes, np.arange(40) % 10, examples.flatten(1))


@pytest.mark.parametrize("seed", [0, 1])
def test_browser_has_the_package_s_bound(evaluate, seed):
    vae, generator = make_vae().double(), torch.Generator().manual_seed(seed)
    state = example().state["networks"]
    vae.encoder.network = rounded(vae.encoder.network, state["encoder"])
    vae.decoder = rounded(vae.decoder, state["decoder"])
    x = (torch.rand(1, 784, generator=generator) < 0.3).double()
    noise = torch.randn(16, 2, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        mean, log_var = vae.encode(x)
        z = mean + (log_var / 2).exp() * noise
        log_likelihood = vae.likelihood.log_prob(x, vae.decoder(z))
        log_ratio = vae.prior.log_prob(z) - log_normal(z, mean, log_var)
    expression = """(() => {
        const [encode, decode] = [a[0].encoder, a[0].decoder].map(vaebookLive.network);
        const q = m.posterior(encode(a[1]));
        return { ...q, ...m.bound(a[1], q, decode, a[2]) };
    })()"""
    now = evaluate("digit_drawer", expression, state, x[0].tolist(), noise.tolist())
    np.testing.assert_allclose(now["mean"], mean[0], atol=1e-10)
    np.testing.assert_allclose(now["std"], (log_var[0] / 2).exp(), atol=1e-10)
    assert now["reconstruction"] == pytest.approx(log_likelihood.mean().item(), abs=1e-8)
    error = log_likelihood.std().item() / 4
    assert now["error"] == pytest.approx(error, abs=1e-8)
    estimate = (log_likelihood + log_ratio).logsumexp(0) - math.log(16)
    assert now["estimate"] == pytest.approx(estimate.item(), abs=1e-8)
    closed = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum()
    assert now["kl"] == pytest.approx(closed.item(), abs=1e-10)
    assert now["elbo"] == pytest.approx(now["reconstruction"] - now["kl"], abs=1e-10)


@pytest.mark.parametrize(
    "stroke",
    [[[0.1, 0.1], [0.3, 0.4]], [[0.2, 0.9], [0.9, 0.85], [0.5, 0.2]], [[0.4, 0.2], [0.4, 0.8]]],
)
def test_drawings_are_centred_and_sized_as_the_digits_are(evaluate, stroke):
    pixels = evaluate("digit_drawer", "[...m.centre(m.rasterise([a[0]]))]", stroke)
    image = np.reshape(pixels, (28, 28))
    np.testing.assert_allclose(center_of_mass(image), [13.5, 13.5], atol=0.3)
    rows, columns = (np.flatnonzero(image.max(axis) > 0) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(20, abs=1)


def test_an_empty_pad_is_an_empty_image(evaluate):
    assert evaluate("digit_drawer", "Math.max(...m.centre(m.rasterise([])))") == 0


def test_neighbours(evaluate):
    codes = [[0, 0], [0.1, 0], [0, 0.1], [3, 3], [3.1, 3]]
    expression = "m.neighbours(a[0], a[1], a[2], 3)"
    assert evaluate("digit_drawer", expression, codes, [7, 2, 7, 1, 1], [0, 0]) == [7, 2]


def test_drawing_by_pointer_changes_all_that_follows_from_it(show):
    page = show(example())
    before = page.locator("output").inner_text()
    pad = page.get_by_role("application")
    box = pad.bounding_box()
    for x, y in ((0.2, 0.2), (0.7, 0.6)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        page.mouse.down()
    page.mouse.up()
    settle(page)
    assert page.locator("output").inner_text() != before
    numbers = page.locator(".vaebook-numbers td").all_inner_texts()
    reconstruction, kl, elbo, estimate = (
        float(text.split()[0].replace("−", "-")) for text in numbers
    )
    assert elbo == pytest.approx(reconstruction + kl, abs=0.11)
    assert estimate >= elbo - 0.1
    page.get_by_role("button", name="Clear the pad").click()
    settle(page)
    assert page.locator("output").inner_text() == "An empty pad: draw a digit."
    page.get_by_role("button", name="Digit 2").click()
    settle(page)
    assert page.get_by_role("button", name="Digit 2").get_attribute("aria-pressed") == "true"


def test_drawing_by_keyboard(show):
    page = show(example())
    page.get_by_role("button", name="Clear the pad").click()
    page.get_by_role("application").focus()
    for key in ("Space", "ArrowRight", "ArrowRight", "ArrowDown", "Space"):
        page.keyboard.press(key)
    settle(page)
    assert page.locator("output").inner_text().startswith("The encoder puts it at")


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"examples: wanted shape \(m, 784\)"):
        digit_drawer(make_vae(), torch.zeros(1, 2), [0], torch.zeros(1, 64))


def test_the_chapter_s_networks_are_no_more_than_a_page_may_weigh():
    vae = mlp_vae(n_latents=2, hidden=(200, 100))
    codes = torch.randn(1500, 2)
    figure = digit_drawer(vae, codes, np.arange(1500) % 10, torch.rand(10, 784).round())
    assert len(gzip.compress(figure._repr_html_().encode(), 9)) < 400_000
