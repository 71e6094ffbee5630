"""The shapes in the signatures hold: the public functions run under beartype and jaxtyping."""

import subprocess
import sys

SCRIPT = """
from jaxtyping import install_import_hook

with install_import_hook("vaebook", "beartype.beartype"):
    import vaebook.autoregressive, vaebook.data, vaebook.estimators, vaebook.gaussian
    import vaebook.flows, vaebook.hierarchy, vaebook.training, vaebook.vae

import tempfile

import torch
from vaebook import autoregressive, estimators, flows, gaussian, hierarchy, likelihoods, priors
from vaebook import training, vae

def run(name, call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except Exception as error:
        if "jaxtyping" not in type(error).__module__:
            raise
        raise AssertionError(f"{name}: an annotation does not hold") from error

g = torch.Generator().manual_seed(0)
z, x = torch.randn(4, 2, generator=g), torch.rand(4, 784, generator=g)
binary = torch.bernoulli(x, generator=g)
eye = torch.eye(2)

# densities, also of one Gaussian against many points and the other way round
run("log_normal", gaussian.log_normal, z, z, z)
run("log_normal", gaussian.log_normal, z, z[0], z[0])
run("log_normal", gaussian.log_normal, z, z.expand(3, 4, 2), z.expand(3, 4, 2))
run("kl_to_standard_normal", gaussian.kl_to_standard_normal, z, z)
run("kl_diagonal", gaussian.kl_diagonal, z, z, z[0], z[0])
run("kl_full", gaussian.kl_full, z, eye, z[0], eye)
run("kl_full", gaussian.kl_full, z, eye.expand(4, 2, 2), z, eye)
linear = run("fit", gaussian.LinearGaussian.fit, x[:, :6], 2)
draws = run("sample", linear.sample, 5, g)
run("log_prob", linear.log_prob, draws)
run("elbo", linear.elbo, draws, *run("posterior", linear.posterior, draws))

run("monte_carlo", estimators.monte_carlo, z)
run("log_mean_exp", estimators.log_mean_exp, z)
run("effective_sample_size", estimators.effective_sample_size, z[:, 0])
for gradient in (estimators.reparameterized_gradient, estimators.score_function_gradient):
    run("gradient", gradient, lambda z: z.sum(-1), z[0], z[1], 5, g)

gaussian_2 = likelihoods.Gaussian(None)
bernoulli, continuous = likelihoods.Bernoulli(), likelihoods.ContinuousBernoulli()
plain = [bernoulli, likelihoods.Gaussian(0.5), gaussian_2, continuous]
causal = [
    likelihoods.CausalBernoulli(2, 2),
    likelihoods.CausalNetwork(2, 2, 1, 3),
    likelihoods.CausalLogistic((1, 2, 2)),
]
for likelihood in [*plain, *causal]:
    params = torch.randn(3, 4, 4 * likelihood.n_per_pixel, generator=g)
    pixels = run("sample", likelihood.sample, params, g)
    run("log_prob", likelihood.log_prob, pixels, params)
    run("log_prob", likelihood.log_prob, pixels[0], params)
    if likelihood not in causal:
        run("mean", likelihood.mean, params)

for model in (autoregressive.MADE(6, (5,)), autoregressive.PixelRNN(2, 3, 4, (5,))):
    for ask in (model.logits, model.log_conditionals, model.log_prob):
        run("autoregressive", ask, binary[:, :6])
    run("complete", model.complete, run("sample", model.sample, 3, g), 2, g)
    run("objective", autoregressive.likelihood_objective, model, binary[:, :6])

for prior in (priors.StandardNormal(2), priors.MixturePrior(2, 3)):
    run("log_prob", prior.log_prob, run("sample", prior.sample, 5, g).expand(3, 5, 2))

models = [vae.mlp_vae(784, 2, (8,), likelihood) for likelihood in plain]
models += [vae.residual_vae(784, 2, 8, 1), vae.conv_vae(2, 2), vae.conv_vae(2, 2, gaussian_2)]
parts = models[0].encoder, models[0].decoder, bernoulli
models.append(vae.VAE(*parts, priors.MixturePrior(2, 3)))
for model in models:
    run("encode", model.encode, x)
    run("decode", model.decode, z.expand(3, 4, 2))
    run("sample", model.sample, 3, g)
    run("sample", model.sample, 3, g, mean=True)
    run("reconstruct", model.reconstruct, x, g)
    run("interpolate", model.interpolate, x, x, 3)
    run("elbo_terms", model.elbo_terms, x, g, 3)
    run("elbo_terms", model.elbo_terms, x, g, 3, kl="monte_carlo")
    run("elbo", model.elbo, x, g)
    run("log_weights", model.log_weights, binary, 3, g)
    run("iwae_bound", model.iwae_bound, binary, 3, g)
    run("log_prob_estimate", model.log_prob_estimate, binary, 60, g)
    run("active_units", model.active_units, x)
    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(folder + "/weights")
        run("load_weights", model.load_weights, folder + "/weights")
kinds = ("bottom-up", "top-down", "ladder")
layered = [hierarchy.hierarchical_vae(784, (2, 3), (5, 4), kind) for kind in kinds]
for model in [*layered, flows.flow_vae(784, 2, 5, 2, (4,))]:
    noise = torch.randn(3, 4, model.n_noise, generator=g)
    run("draw", model.draw, x, noise)
    run("draw", model.draw, x, noise[0])
    run("layer_terms", model.layer_terms, x, g, 3)
    run("elbo_terms", model.elbo_terms, x, g, 3)
    run("log_weights", model.log_weights, binary, 3, g)
    run("log_prob_estimate", model.log_prob_estimate, binary, 60, g)
    run("activity", model.activity, x, g)
    run("active_units", model.active_units, x)
    run("reconstruct", model.reconstruct, x, g)
    run("interpolate", model.interpolate, x, x, 3)
    run("sample", model.sample, 3, g)
flow = flows.AutoregressiveFlow(2, 2)
run("inverse", flow.inverse, run("forward", flow.forward, z)[0])
run("log_prob", flow.log_prob, z.expand(3, 4, 2))
run("linear_posterior", hierarchy.linear_posterior, z[:, 0], 1.0, 1.0)
run("mean_field_gap", hierarchy.mean_field_gap, eye)
run("precision_weighted", hierarchy.precision_weighted, z, z, z.expand(3, 4, 2), z.expand(3, 4, 2))
run("set_output_bias", vae.set_output_bias, models[0], x.mean(0))
run("iwae_objective", vae.iwae_objective(2), models[0], binary, g)
run("free_bits_objective", vae.free_bits_objective(0.1), models[0], binary, g)
run("reparameterize", gaussian.reparameterize, z, z, g)
history = run(
    "fit", training.fit, models[0], binary, vae.elbo_objective, validation=binary, epochs=2,
    kl_warmup=0.5, ema=0.9, device="cpu",
)
run("array", history.array, "train", "kl")

# the hook is at work: a wrong shape is an error of jaxtyping's, before the function is entered
try:
    models[0].encode(torch.zeros(3))
except Exception as error:
    assert "jaxtyping" in type(error).__module__, type(error)
else:
    raise AssertionError("a wrong shape passed")
print("checked")
"""


def test_the_shapes_in_the_signatures_hold():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "checked\n", done.stderr
