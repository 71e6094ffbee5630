"""Every model that is trained by gradient, on the device: it answers there, as on the CPU."""

import copy

import pytest
import torch

from vaebook.autoencoder import mlp_autoencoder, reconstruction_objective
from vaebook.autoregressive import MADE, CategoricalMADE, PixelRNN, likelihood_objective
from vaebook.conditional import (
    conditional_mlp_vae,
    conditional_objective,
    semi_supervised_mlp_vae,
    semi_supervised_objective,
)
from vaebook.diffusion import (
    BinaryDiffusion,
    Diffusion,
    LogOddsMLP,
    NoiseMLP,
    bound_objective,
    linear_schedule,
    noise_objective,
)
from vaebook.flows import flow_vae
from vaebook.gan import fit_gan, mlp_gan
from vaebook.hierarchy import DrawnVAE, hierarchical_vae
from vaebook.latent_diffusion import LatentDiffusion, latent_objective
from vaebook.likelihoods import (
    CausalBernoulli,
    CausalLogistic,
    CausalNetwork,
    ContinuousBernoulli,
    Gaussian,
)
from vaebook.priors import MixturePrior
from vaebook.training import fit
from vaebook.vae import (
    conv_vae,
    elbo_objective,
    free_bits_objective,
    iwae_objective,
    mlp_vae,
    residual_vae,
)
from vaebook.vector_quantization import mlp_vqvae, vq_objective

X = torch.bernoulli(torch.full((12, 9), 0.4), generator=torch.Generator().manual_seed(0))
IMAGES = torch.bernoulli(torch.full((3, 784), 0.2), generator=torch.Generator().manual_seed(0))


def vae_with(part, value):
    vae = mlp_vae(9, 2, (8,))
    setattr(vae, part, value)
    return vae


def diffusion(kind, network):
    return kind(network(9, 8, 1), linear_schedule(5, last=4.0), 9)


def latent_diffusion():
    of_codes = Diffusion(NoiseMLP(2, 8, 1), linear_schedule(5, last=4.0), 2)
    return LatentDiffusion(mlp_vae(9, 2, (8,)), of_codes)


MODELS = {
    "VAE": (lambda: mlp_vae(9, 2, (8,)), X, elbo_objective),
    "VAE, importance-weighted": (lambda: mlp_vae(9, 2, (8,)), X, iwae_objective(3)),
    "VAE, two layers": (lambda: hierarchical_vae(9, (2, 2), (4, 4)), X, elbo_objective),
    "VAE, ladder": (lambda: hierarchical_vae(9, (2, 2), (4, 4), "ladder"), X, elbo_objective),
    "VAE, flow": (lambda: flow_vae(9, 2, 4), X, elbo_objective),
    "VAE, residual": (lambda: residual_vae(9, 2, 8, 1), X, elbo_objective),
    "VAE, convolutions": (lambda: conv_vae(2, 2), IMAGES, elbo_objective),
    "VAE, Gaussian": (lambda: mlp_vae(9, 2, (8,), Gaussian(None)), X, elbo_objective),
    "VAE, grey": (lambda: mlp_vae(9, 2, (8,), ContinuousBernoulli()), X, elbo_objective),
    "VAE, causal": (lambda: vae_with("likelihood", CausalBernoulli(3, 3, 1)), X, elbo_objective),
    "VAE, free bits": (
        lambda: vae_with("likelihood", CausalNetwork(3, 3, 2, 2)),
        X,
        free_bits_objective(0.1),
    ),
    "VAE, levels": (lambda: mlp_vae(9, 2, likelihood=CausalLogistic((1, 3, 3))), X, elbo_objective),
    "VAE, mixture": (lambda: vae_with("prior", MixturePrior(2, 3)), X, elbo_objective),
    "VAE, conditional": (lambda: conditional_mlp_vae(3, 6, 2, (8,)), X, conditional_objective),
    "VAE, semi-supervised": (
        lambda: semi_supervised_mlp_vae(3, 6, 2, (8,)),
        torch.cat([torch.eye(3).repeat(4, 1) * (torch.arange(12) < 6)[:, None], X[:, 3:]], 1),
        semi_supervised_objective(3.0),
    ),
    "autoencoder": (lambda: mlp_autoencoder(9, 2, (8,)), X, reconstruction_objective),
    "MADE": (lambda: MADE(9, (8,), torch.arange(8, -1, -1)), X, likelihood_objective),
    "MADE, whole numbers": (lambda: CategoricalMADE(9, 2, (8,)), X.long(), likelihood_objective),
    "VQ-VAE": (lambda: mlp_vqvae(9, 2, 3, 2, (8,)), X, vq_objective),
    "VQ-VAE, gradient": (lambda: mlp_vqvae(9, 2, 3, 2, (8,), decay=None), X, vq_objective),
    "latent diffusion": (latent_diffusion, X, latent_objective),
    "PixelRNN": (lambda: PixelRNN(3, 3, 4, (4,)), X, likelihood_objective),
    "diffusion": (lambda: diffusion(Diffusion, NoiseMLP), X, noise_objective),
    "diffusion, binary": (lambda: diffusion(BinaryDiffusion, LogOddsMLP), X, bound_objective),
}
QUESTIONS = {
    "encode": lambda m, x, g: m.encode(x),
    "decode": lambda m, x, g: m.decode(m.codes(x) if hasattr(m, "codes") else x[:, :2]),
    "reconstruct": lambda m, x, g: m.reconstruct(x, *[g] * (type(m).__name__ == "VAE")),
    "interpolate": lambda m, x, g: m.interpolate(x[:1], x[1:2], 3),
    "reconstruction_error": lambda m, x, g: m.reconstruction_error(x),
    "active_units": lambda m, x, g: m.active_units(x),
    "sample": lambda m, x, g: m.sample(3, g),
    "sample_ddim": lambda m, x, g: m.sample_ddim(3, 2, g, 0.5),
    "complete": lambda m, x, g: m.complete(x, 4, g),
    "log_prob": lambda m, x, g: m.log_prob(x),
    "elbo": lambda m, x, g: m.elbo(x, g),
    "elbo_terms": lambda m, x, g: m.elbo_terms(x, g),
    "layer_terms": lambda m, x, g: m.layer_terms(x, g),
    "activity": lambda m, x, g: m.activity(x, g),
    "log_weights": lambda m, x, g: m.log_weights(x, 3, g),
    "log_prob_estimate": lambda m, x, g: m.log_prob_estimate(x, 3, g),
    "predict_signal": lambda m, x, g: m.predict_signal(x, 2),
    "q_sample": lambda m, x, g: m.q_sample(x, 2, torch.ones_like(x)),
    "score": lambda m, x, g: m.score(x, torch.ones(len(x), dtype=torch.int64, device=x.device)),
}
DRAWING = {"reconstruct", "sample", "sample_ddim", "complete", "elbo", "elbo_terms", "log_weights"}
DRAWING |= {"log_prob_estimate", "layer_terms", "activity"}
NEED_A_MEAN = {"decode", "reconstruct", "interpolate"}  # which a causal likelihood has not
NEED_A_GAUSSIAN = {"encode", "active_units"}  # as q(z|x), which models of draws have not


WITHOUT = {"VAE, causal", "VAE, free bits", "VAE, levels"}


def can_answer(name, model, question):
    if isinstance(model, DrawnVAE) and question in NEED_A_GAUSSIAN:
        return False
    return hasattr(model, question) and not (name in WITHOUT and question in NEED_A_MEAN)


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Let no convolution of a GPU round to TF32: it is compared with a processor's."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def parts(answer):
    return answer if isinstance(answer, tuple) else (answer,)


@pytest.mark.parametrize(
    ("model", "question"),
    [
        pytest.param(name, question, id=f"{name}-{question}")
        for name, (make, *_) in MODELS.items()
        for question in QUESTIONS
        if can_answer(name, make(), question)
    ],
)
def test_it_answers_there(model, question):
    make, x, _ = MODELS[model]
    torch.manual_seed(0)
    here = make().eval()
    there = copy.deepcopy(here).to("cuda")
    ask = QUESTIONS[question]
    answers = parts(ask(there, x.to("cuda"), torch.Generator("cuda").manual_seed(0)))
    assert {part.device.type for part in answers} == {"cuda"}
    expected = parts(ask(here, x, torch.Generator().manual_seed(0)))
    for one, other in zip(answers, expected, strict=True):
        assert one.shape == other.shape
        if question not in DRAWING or model == "autoencoder":
            torch.testing.assert_close(one.cpu(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_it_is_trained_there_and_comes_back(model):
    make, x, objective = MODELS[model]
    trained, start = make(), None
    start = copy.deepcopy(trained.state_dict())
    history = fit(trained, x, objective, epochs=2, batch_size=5, progress=False)
    assert history.n_epochs == 2
    assert {value.device.type for value in trained.state_dict().values()} == {"cpu"}
    moved = [not torch.equal(start[n], p) for n, p in trained.named_parameters()]
    assert any(moved)
    trained.to("cuda")
    fit(trained, x.to("cuda"), objective, epochs=1, progress=False)  # as well from there
    assert next(trained.parameters()).device.type == "cuda"


def test_the_adversarial_network_is_trained_there_and_comes_back():
    gan = mlp_gan(9, 2, (8,))
    fit_gan(gan, X, epochs=2, batch_size=5, progress=False)
    assert gan.sample(2, torch.Generator()).device.type == "cpu"
    gan.to("cuda")
    assert gan.sample(2, torch.Generator("cuda")).device.type == "cuda"
    assert gan.logit(X.to("cuda")).device.type == "cuda"
