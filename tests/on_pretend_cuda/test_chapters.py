"""The code cells of every chapter, with ``device="auto"`` and little to train on."""

import pytest
import torch

import vaebook.data
import vaebook.gan
import vaebook.training
from tools.accelerator import chapter_names, run_chapter
from vaebook.data import Dataset, ImageSet
from vaebook.diffusion import Diffusion
from vaebook.kde import KernelDensity
from vaebook.mixture import GaussianMixture
from vaebook.vae import VAE

# Chapters that name no single digit, and learn from digits without a network, too.
ANY_DIGITS = {"introduction/autoregressive_models", "introduction/unsupervised_learning"}


def shortened(train):
    """Train on a few rows for not too many epochs, whatever is given."""

    def few(model, rows, *arguments, epochs=10, batch_size=100, **options):
        if options.get("validation") is not None:
            options["validation"] = options["validation"][:50]
        short = {"epochs": min(epochs, 40), "batch_size": min(batch_size, 50)}
        return train(model, rows[:100], *arguments, **short, **options)

    return few


def few_digits(load):
    """Load the first of each part of an image set."""

    def few(*arguments, **named):
        parts = zip(load(*arguments, **named), (2000, 400, 400), strict=True)
        return Dataset(*(ImageSet(part.images[:n], part.labels[:n]) for part, n in parts))

    return few


def soon_ended(fit_predict):
    """Fit a mixture, which computes on no device, from few starts in few steps."""

    def few(mixture, rows):
        starts, steps = min(mixture.n_init, 2), min(mixture.max_iter, 20)
        return fit_predict(mixture.set_params(n_init=starts, max_iter=steps), rows)

    return few


def of_few_points(fit):
    """Put kernels, which lie on no device, at few of the points."""

    def few(kernels, points):
        return fit(kernels, points[:200])

    return few


def at_most(most, call, position):
    """Call with the whole number at `position`, or named so, made smaller."""

    def smaller(*arguments, **named):
        values = list(arguments)
        if len(values) > position[0]:
            values[position[0]] = min(values[position[0]], most)
        elif position[1] in named:
            named[position[1]] = min(named[position[1]], most)
        return call(*values, **named)

    return smaller


def for_few_rows(most, call):
    """Compute for the first rows, and let what comes out stand for the others."""

    def few(model, x, *arguments):
        return call(model, x[:most], *arguments).repeat(-(-len(x) // most))[: len(x)]

    return few


@pytest.fixture
def own_dtype():
    """Take back the precision that some chapters choose."""
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.usefixtures("own_dtype")
@pytest.mark.parametrize("name", chapter_names())
def test_the_cells_run(name, monkeypatch, tmp_path):
    monkeypatch.setenv("VAEBOOK_CACHE", str(tmp_path))
    if name in ANY_DIGITS:
        monkeypatch.setattr(vaebook.data, "load", few_digits(vaebook.data.load))
    monkeypatch.setattr(GaussianMixture, "fit_predict", soon_ended(GaussianMixture.fit_predict))
    monkeypatch.setattr(KernelDensity, "fit", of_few_points(KernelDensity.fit))
    monkeypatch.setattr(vaebook.training, "fit", shortened(vaebook.training.fit))
    monkeypatch.setattr(vaebook.gan, "fit_gan", shortened(vaebook.gan.fit_gan))
    for model in (VAE, Diffusion):
        monkeypatch.setattr(
            model, "log_prob_estimate", at_most(3, model.log_prob_estimate, (2, "k"))
        )
    monkeypatch.setattr(Diffusion, "elbo", for_few_rows(10, Diffusion.elbo))
    draw = Diffusion.sample_ddim
    monkeypatch.setattr(Diffusion, "sample_ddim", at_most(200, draw, (1, "n")))
    sample = vaebook.data.ToyDensity.sample
    monkeypatch.setattr(vaebook.data.ToyDensity, "sample", at_most(2000, sample, (1, "n")))
    run_chapter(name)
