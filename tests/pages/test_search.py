"""Search answers with the chapter that explains, whatever the reader calls it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

# What a reader types, the page that should answer, and how far down it may stand.
QUESTIONS = [
    ("ELBO", "latent_variables/vae_objective", 3),
    ("evidence lower bound", "latent_variables/vae_objective", 3),
    ("variational lower bound", "latent_variables/vae_objective", 3),
    ("VAE", "latent_variables/vae_objective", 5),
    ("variational auto-encoder", "latent_variables/vae_objective", 5),
    ("importance sampling", "foundations/probability_toolbox", 5),
    ("reparametrization trick", "latent_variables/vae_objective", 5),
    ("reparameterisation", "latent_variables/vae_objective", 5),
    ("Kullback-Leibler", "foundations/probability_toolbox", 5),
    ("KL", "foundations/probability_toolbox", 5),
    ("IWAE", "latent_variables/vae_variants", 3),
    ("GMM", "latent_variables/gaussian_mixtures", 3),
    ("EM algorithm", "latent_variables/gaussian_mixtures", 5),
    ("HMM", "introduction/latent_variable_models", 8),
    ("MLE", "introduction/gaussians_and_mle", 3),
    ("binarisation", "latent_variables/vae_training", 8),
    ("posterior collapse", "latent_variables/vae_variants", 5),
]

FOUND = "asked => Search._performSearch(...Search._parseQuery(asked)).reverse().map(r => r[0])"


@pytest.fixture(scope="module")
def searching(browser, bases):
    """The search page, open once: each question is put to the index that it has loaded."""
    page = browser.new_page()
    page.goto(bases["file"] + "search.html")
    yield page
    page.close()


@pytest.mark.parametrize(("asked", "wanted", "within"), QUESTIONS, ids=lambda value: str(value))
def test_the_chapter_that_explains_comes_early(
    searching: Page, asked: str, wanted: str, within: int
) -> None:
    """The page is among the first, and nothing of the package's reference is above it."""
    found = searching.evaluate(
        "asked => Search._performSearch(...Search._parseQuery(asked)).reverse().map(r => r[0])",
        asked,
    )
    assert f"book/{wanted}" in found[:within]
    reference = [page.startswith("book/appendices/api") for page in found]
    assert reference == sorted(reference)


def test_results_are_shown_in_that_order(reader: Page, bases: dict[str, str]) -> None:
    """The page lists what was found, with some lines of each text and each formula once."""
    reader.goto(bases["http"] + "search.html?q=ELBO")
    expect(reader.locator(".search-summary")).to_contain_text("Search finished")
    shown = reader.locator("#search-results li")
    assert any(
        "vae_objective" in (shown.nth(i).locator("a").get_attribute("href") or "") for i in range(3)
    )
    expect(shown.first.locator("p.context")).not_to_be_empty()
