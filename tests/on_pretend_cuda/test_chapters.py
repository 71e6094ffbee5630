"""The code cells of every chapter, with ``device="auto"`` and little to train on."""

import pytest
import torch

import vaebook.data
import vaebook.gan
import vaebook.training
from tools.accelerator import chapter_names, run_chapter
from vaebook.diffusion import Diffusion
from vaebook.vae import VAE


def shortened(train):
    """Train on a few rows, whatever is given."""

    def few(model, rows, *arguments, batch_size=100, **options):
        if options.get("validation") is not None:
            options["validation"] = options["validation"][:50]
        return train(model, rows[:100], *arguments, batch_size=min(batch_size, 50), **options)

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


def for_few_rows(call, most=100):
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


@pytest.mark.usefixtures("own_dtype")
@pytest.mark.parametrize("name", chapter_names())
def test_the_cells_run(name, monkeypatch, tmp_path):
    monkeypatch.setenv("VAEBOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(vaebook.training, "fit", shortened(vaebook.training.fit))
    monkeypatch.setattr(vaebook.gan, "fit_gan", shortened(vaebook.gan.fit_gan))
    for model in (VAE, Diffusion):
        monkeypatch.setattr(
            model, "log_prob_estimate", at_most(3, model.log_prob_estimate, (2, "k"))
        )
    monkeypatch.setattr(Diffusion, "elbo", for_few_rows(Diffusion.elbo))
    draw = Diffusion.sample_ddim
    monkeypatch.setattr(Diffusion, "sample_ddim", at_most(200, draw, (1, "n")))
    sample = vaebook.data.ToyDensity.sample
    monkeypatch.setattr(vaebook.data.ToyDensity, "sample", at_most(2000, sample, (1, "n")))
    run_chapter(name)
