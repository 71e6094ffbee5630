"""β and the code: the nats of each dimension in the browser are the package's."""

import pytest
import torch

from tests.common import normals
from vaebook import data
from vaebook.gaussian import kl_to_standard_normal
from vaebook.interactive.beta_slider import beta_slider
from vaebook.vae import mlp_vae

from .conftest import settle

BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)


def example():
    images = data.threshold_binarization(data.load().validation.pixels()[:6])
    models = {}
    with torch.random.fork_rng():
        for seed, beta in enumerate(BETAS):
            torch.manual_seed(seed)
            models[beta] = mlp_vae(hidden=(16,))
    costs = {beta: (40.0 - 3 * beta, 60.0 + 9 * beta) for beta in BETAS}
    return beta_slider(models, images, costs)


def test_browser_has_the_package_s_divergence(evaluate):
    mean, log_var = normals(8), normals(8, seed=1)
    each = evaluate("beta_slider", "m.klOfEach(...a)", mean.tolist(), log_var.tolist())
    for j in range(8):
        expected = kl_to_standard_normal(mean[j : j + 1], log_var[j : j + 1])
        assert each[j] == pytest.approx(expected.item(), abs=1e-6)


def test_another_beta_has_other_pictures_and_numbers(show):
    page = show(example())
    slider, table = page.get_by_label("β in training"), page.locator(".vaebook-numbers")
    seen = set()
    for place in range(5):
        slider.fill(str(place))
        settle(page)
        pictures = page.locator("canvas").all()
        drawn = [canvas.evaluate("node => node.toDataURL()") for canvas in pictures]
        seen.add((table.inner_text(), *drawn[6:]))
        assert len(drawn) == 18
    assert len(seen) == 5
    rate, distortion, total, _ = (
        float(text.removesuffix(" nats")) for text in table.locator("td").all_inner_texts()
    )
    assert (rate, distortion, total) == (10.0, 150.0, 160.0)


def test_refuses_other_betas():
    model, images = mlp_vae(16, 2, (4,)), torch.zeros(2, 16)
    with pytest.raises(ValueError, match="costs: wanted the β of the models"):
        beta_slider({1.0: model}, images, {2.0: (1.0, 2.0)})
