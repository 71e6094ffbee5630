"""Put deliberate errors into the package, one at a time, and see the bound tests notice.

Each mutant is one wrong line and the statements of the book that it makes false. It is written into
a copy of the project, never into the project, and the tests bound to those statements are run
there: each statement must have at least one that fails. ``tests/mutants.json`` keeps the result for
the appendix. ``make mutants`` runs all; ``python -m tools.mutants eq-iwae`` those of one statement.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vaebook.docs.bindings import Binding, scan

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "tests" / "mutants.json"
COPIED = ("vaebook", "tests", "tools", "pyproject.toml")
SECONDS_AT_MOST = 300  # for one mutant: an endless loop counts as noticed


@dataclass(frozen=True)
class Mutant:
    """One error: `old` becomes `new` in `file`, and `equations` become false."""

    error: str
    file: str
    old: str
    new: str
    equations: tuple[str, ...]


GAUSSIAN, ESTIMATORS, VAE = "vaebook/gaussian.py", "vaebook/estimators.py", "vaebook/vae.py"
AUTOREGRESSIVE = "vaebook/autoregressive.py"
MIXTURE = "vaebook/mixture.py"
AUTOENCODER = "vaebook/autoencoder.py"
TRANSFORMS = "vaebook/transforms.py"
HMM = "vaebook/hmm.py"
DIFFUSION = "vaebook/diffusion.py"
NAIVE_BAYES, KDE = "vaebook/naive_bayes.py", "vaebook/kde.py"
LOG_NORMAL = "return -0.5 * (LOG_2PI + log_var + (x - mean).square() * torch.exp(-log_var)).sum(-1)"
KL_STANDARD = "return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(-1)"
KL_DIAGONAL = "(scaled + torch.exp(log_var_q - log_var_p) - 1 - log_var_q + log_var_p)"
WEIGHTED = (
    *("eq-importance-sampling", "eq-zero-variance", "eq-iwae", "eq-iwae-bias"),
    "eq-scaled-proposal",
)
REPARAMETERIZED = (
    *("eq-elbo", "eq-elbo-estimate-unbiased", "eq-importance-sampling", "eq-iwae", "eq-iwae-bias"),
    *("eq-scaled-proposal", "eq-two-errors", "eq-minibatch-variance", "eq-gaussian-log-likelihood"),
    "eq-reconstruction-marginal",
)

MUTANTS = [
    # --- densities and divergences
    Mutant(
        "the density without its factor ½",
        *(GAUSSIAN, LOG_NORMAL, LOG_NORMAL.replace("-0.5 * (", "-(")),
        (
            *("eq-evidence", "eq-gaussian-log-likelihood", "eq-unit-variance", "eq-elbo-entropy"),
            *("eq-grid-error", "eq-evidence-gradient", "eq-ratio-bias", "eq-rejection-acceptance"),
        ),
    ),
    Mutant(
        "the sign of the log-variance in the density",
        *(GAUSSIAN, LOG_NORMAL, LOG_NORMAL.replace("exp(-log_var)", "exp(log_var)")),
        (
            *("eq-gaussian-log-likelihood", "eq-score-function-gradient", "eq-score-mean-zero"),
            *("eq-aggregate-variance", "eq-scaled-proposal"),
        ),
    ),
    Mutant(
        "a mean over pixels in the density",
        *(GAUSSIAN, LOG_NORMAL, LOG_NORMAL.replace("sum(-1)", "mean(-1)")),
        ("eq-evidence", "eq-gaussian-log-likelihood", "eq-unit-variance"),
    ),
    Mutant(
        "the mean cut from the graph in the density",
        *(GAUSSIAN, LOG_NORMAL, LOG_NORMAL.replace("- mean)", "- mean.detach())")),
        ("eq-gradient-theta", "eq-reparameterized-gradient", "eq-score-function-gradient"),
    ),
    Mutant(
        "the divergence without its factor ½",
        *(GAUSSIAN, KL_STANDARD, KL_STANDARD.replace("0.5 * ", "")),
        (
            *("eq-kl-standard-normal", "eq-elbo", "eq-elbo-reparameterized"),
            *("eq-elbo-estimate-unbiased", "eq-elbo-surgery", "eq-beta-bound"),
        ),
    ),
    Mutant(
        "the sign of the log-variance in the divergence",
        *(GAUSSIAN, KL_STANDARD, KL_STANDARD.replace("- log_var)", "+ log_var)")),
        ("eq-kl-standard-normal", "eq-elbo", "eq-elbo-reparameterized", "eq-mean-over-pixels"),
    ),
    Mutant(
        "the log-variance for the variance in the divergence",
        *(GAUSSIAN, KL_STANDARD, KL_STANDARD.replace("log_var.exp()", "log_var")),
        ("eq-kl-standard-normal", "eq-elbo", "eq-elbo-surgery", "eq-beta-bound"),
    ),
    Mutant(
        "a mean over latent dimensions in the divergence",
        *(GAUSSIAN, KL_STANDARD, KL_STANDARD.replace("sum(-1)", "mean(-1)")),
        ("eq-kl-standard-normal", "eq-mean-over-pixels"),
    ),
    Mutant(
        "q and p exchanged in the ratio of variances",
        *(
            GAUSSIAN,
            KL_DIAGONAL,
            KL_DIAGONAL.replace("log_var_q - log_var_p", "log_var_p - log_var_q"),
        ),
        ("eq-kl-diagonal",),
    ),
    Mutant(
        "the -1 of the divergence lost",
        *(GAUSSIAN, KL_DIAGONAL, KL_DIAGONAL.replace(" - 1 ", " ")),
        ("eq-kl-diagonal", "eq-kl-nonnegative"),
    ),
    Mutant(
        "the shift divided by the wrong variance",
        *(GAUSSIAN, "torch.exp(-log_var_p)\n", "torch.exp(-log_var_q)\n"),
        ("eq-kl-diagonal",),
    ),
    Mutant(
        "the sign of the log-determinants",
        GAUSSIAN,
        "2 * (_log_diagonal(factor_p) - _log_diagonal(factor_q))",
        "2 * (_log_diagonal(factor_q) - _log_diagonal(factor_p))",
        ("eq-kl-full", "eq-kl-full-standard", "eq-elbo-decomposition"),
    ),
    Mutant(
        "the log-determinant of the factor for that of the matrix",
        *(GAUSSIAN, "= 2 * (_log_diagonal", "= (_log_diagonal"),
        ("eq-kl-full", "eq-kl-full-standard", "eq-elbo-decomposition"),
    ),
    Mutant(
        "a Cholesky factor transposed",
        *(
            GAUSSIAN,
            "solve_triangular(factor_p, factor_q,",
            "solve_triangular(factor_p, factor_q.mT,",
        ),
        ("eq-kl-full", "eq-kl-nonnegative", "eq-bound-gradient-theta"),
    ),
    # --- the linear-Gaussian model
    Mutant(
        "the noise's standard deviation for its variance in the evidence",
        *(GAUSSIAN, "+ self.noise_var * identity", "+ self.noise_var**0.5 * identity"),
        ("eq-linear-gaussian-evidence", "eq-zero-variance", "eq-elbo-bound", "eq-naive-unbiased"),
    ),
    Mutant(
        "the posterior's precision multiplied by the noise variance",
        GAUSSIAN,
        "identity + self.weight.T @ self.weight / self.noise_var",
        "identity + self.weight.T @ self.weight * self.noise_var",
        (
            *("eq-linear-gaussian-posterior", "eq-dropped-weight", "eq-elbo-decomposition"),
            *("eq-zero-variance", "eq-bound-gradient-phi", "eq-bound-gradient-theta"),
        ),
    ),
    Mutant(
        "the posterior mean not divided by the noise variance",
        *(GAUSSIAN, "@ covariance / self.noise_var", "@ covariance"),
        ("eq-linear-gaussian-posterior", "eq-dropped-weight", "eq-elbo-decomposition"),
    ),
    Mutant(
        "the bound at the posterior mean only",
        *(GAUSSIAN, "residual + ((self.weight @ covariance) * self.weight).sum()", "residual"),
        (
            *("eq-elbo-bound", "eq-elbo-decomposition", "eq-elbo", "eq-elbo-reparameterized"),
            *("eq-bound-gradient-phi", "eq-bound-gradient-theta", "eq-beta-bound"),
        ),
    ),
    Mutant(
        "the divergence added to the bound",
        *(GAUSSIAN, "return reconstruction - kl_full", "return reconstruction + kl_full"),
        (
            *("eq-elbo-bound", "eq-elbo-decomposition", "eq-elbo", "eq-bound-gradient-phi"),
            "eq-minibatch-unbiased",
        ),
    ),
    Mutant(
        "data drawn with the variance for the standard deviation",
        *(GAUSSIAN, "math.sqrt(self.noise_var) * noise", "self.noise_var * noise"),
        ("eq-two-errors",),
    ),
    # --- estimators
    Mutant(
        "the standard error without its square root",
        *(ESTIMATORS, "math.sqrt(values.shape[dim])", "values.shape[dim]"),
        ("eq-monte-carlo-error", "eq-two-errors"),
    ),
    Mutant(
        "a sum for the mean of the draws",
        *(ESTIMATORS, "Estimate(values.mean(dim),", "Estimate(values.sum(dim),"),
        ("eq-control-variate", "eq-naive-unbiased", "eq-elbo-estimate-unbiased"),
    ),
    Mutant(
        "a sum for the mean of the weights",
        *(ESTIMATORS, " - math.log(log_values.shape[dim])", ""),
        (
            "eq-naive-unbiased",
            "eq-log-estimate-bias",
            "eq-iwae",
            "eq-iwae-monotone",
            "eq-iwae-bias",
        ),
    ),
    Mutant(
        "the mean of the logarithms for the logarithm of the mean",
        ESTIMATORS,
        "torch.logsumexp(log_values, dim) - math.log(log_values.shape[dim])",
        "log_values.mean(dim)",
        ("eq-jensen-log", "eq-naive-unbiased", "eq-log-estimate-bias", "eq-iwae-monotone"),
    ),
    Mutant(
        "the mean of the weights over the data",
        *(ESTIMATORS, "torch.logsumexp(log_values, dim)", "torch.logsumexp(log_values, -1)"),
        ("eq-iwae", "eq-naive-unbiased", "eq-iwae-bias"),
    ),
    Mutant(
        "the square lost in the effective sample size",
        *(ESTIMATORS, "torch.exp(2 * torch.logsumexp", "torch.exp(torch.logsumexp"),
        ("eq-scaled-proposal",),
    ),
    Mutant(
        "the variance for the standard deviation in the reparameterised gradient",
        *(ESTIMATORS, "torch.exp(0.5 * parameters[:, 1])", "torch.exp(parameters[:, 1])"),
        ("eq-reparameterized-gradient",),
    ),
    Mutant(
        "no noise in the reparameterised gradient",
        *(ESTIMATORS, " + torch.exp(0.5 * parameters[:, 1]) * noise", ""),
        ("eq-reparameterized-gradient",),
    ),
    Mutant(
        "the variance for the standard deviation in the score's draws",
        *(ESTIMATORS, "z = mean + torch.exp(0.5 * log_var)", "z = mean + torch.exp(log_var)"),
        ("eq-score-function-gradient", "eq-score-mean-zero"),
    ),
    # --- likelihoods and priors
    Mutant(
        "half the standard deviation's exponent outside: 0.5 exp(log-variance)",
        VAE,
        "return mean + torch.exp(0.5 * log_var) * noise",
        "return mean + 0.5 * torch.exp(log_var) * noise",
        REPARAMETERIZED,
    ),
    Mutant(
        "a deterministic reparameterisation",
        *(VAE, "return mean + torch.exp(0.5 * log_var) * noise", "return mean"),
        REPARAMETERIZED,
    ),
    Mutant(
        "the sign of the logits",
        *(VAE, "F.softplus(params).sum(-1)", "F.softplus(-params).sum(-1)"),
        ("eq-bernoulli-log-likelihood", "eq-cross-entropy-mass", "eq-causal-bernoulli"),
    ),
    Mutant(
        "a mean over pixels in the Bernoulli likelihood",
        *(VAE, "F.softplus(params).sum(-1)", "F.softplus(params).mean(-1)"),
        (
            *("eq-bernoulli-log-likelihood", "eq-causal-bernoulli", "eq-mean-over-pixels"),
            *("eq-initial-bound", "eq-bound-one-way"),
        ),
    ),
    Mutant(
        "the standard deviation for the variance in the Gaussian likelihood",
        *(VAE, "2 * math.log(self.std)", "math.log(self.std)"),
        (
            "eq-evidence",
            "eq-linear-gaussian-evidence",
            "eq-zero-variance",
            "eq-importance-sampling",
        ),
    ),
    Mutant(
        "twice the log-variance of a pixel",
        VAE,
        "mean, raw = params.chunk(2, dim=-1)\n        return mean, self",
        "mean, raw = params.chunk(2, dim=-1)\n        return mean, 2 * self",
        ("eq-gaussian-log-likelihood",),
    ),
    Mutant(
        "grey pixels under the Bernoulli's constant",
        *(VAE, "(x * params - log_integral)", "(x * params - F.softplus(params))"),
        ("eq-continuous-bernoulli",),
    ),
    Mutant(
        "a pixel that looks at itself",
        *(VAE, "near.tril(-1)", "near.tril(0)"),
        ("eq-causal-bernoulli", "eq-noise-mixture"),
    ),
    Mutant(
        "the weights between pixels transposed",
        *(VAE, "F.linear(x, self.weight * self.mask)", "F.linear(x, (self.weight * self.mask).T)"),
        ("eq-causal-bernoulli",),
    ),
    Mutant(
        "neighbours ignored when drawing",
        *(VAE, "params[..., i] + x @ weight[i]", "params[..., i]"),
        ("eq-causal-bernoulli",),
    ),
    Mutant(
        "the prior's constant for one dimension only",
        *(VAE, "z.square().sum(-1) + self.n_latents * LOG_2PI", "z.square().sum(-1) + LOG_2PI"),
        ("eq-linear-gaussian-evidence", "eq-linear-gaussian-posterior"),
    ),
    Mutant(
        "the prior without its constant",
        *(VAE, "z.square().sum(-1) + self.n_latents * LOG_2PI", "z.square().sum(-1)"),
        ("eq-evidence", "eq-elbo", "eq-elbo-bound", "eq-elbo-surgery", *WEIGHTED),
    ),
    Mutant(
        "the components of the prior not weighted",
        *(VAE, "self.logits.log_softmax(0)", "self.logits"),
        ("eq-elbo-surgery",),
    ),
    Mutant(
        "codes drawn from a wider prior",
        *(VAE, "self.n_latents), generator\n", "self.n_latents) + 1, generator\n"),
        ("eq-ancestral-marginal",),
    ),
    Mutant(
        "the probability for its logit in the first bias",
        VAE,
        "last.bias.copy_(torch.logit(pixel_means.clamp(0.001, 0.999)))",
        "last.bias.copy_(pixel_means.clamp(0.001, 0.999))",
        ("eq-output-bias",),
    ),
    # --- data and training
    Mutant(
        "the darkest level always lit",
        *("vaebook/data.py", "return (pixels > level).to", "return (pixels >= level).to"),
        ("eq-binarization-floor",),
    ),
    Mutant(
        "a schedule one step too long",
        "vaebook/training.py",
        "OneCycleLR(self.optimizer, lr, n_steps)",
        "OneCycleLR(self.optimizer, lr, n_steps + 1)",
        ("eq-one-cycle",),
    ),
    # --- bounds
    Mutant(
        "the sign of the sampled divergence",
        VAE,
        "divergence = log_normal(z, mean, log_var) - self.prior.log_prob(z)",
        "divergence = self.prior.log_prob(z) - log_normal(z, mean, log_var)",
        ("eq-elbo",),
    ),
    Mutant(
        "a sum over draws in the reconstruction term",
        VAE,
        "self.likelihood.log_prob(x, self._decode(z)).mean(0)",
        "self.likelihood.log_prob(x, self._decode(z)).sum(0)",
        ("eq-elbo-estimate-unbiased",),
    ),
    Mutant(
        "weights without the prior",
        *(VAE, "self._decode(z)) + self.prior.log_prob(z)", "self._decode(z))"),
        (*WEIGHTED, "eq-two-errors"),
    ),
    Mutant(
        "the sign of q in the weights",
        *(VAE, "return log_joint - log_normal", "return log_joint + log_normal"),
        (*WEIGHTED, "eq-two-errors"),
    ),
    Mutant(
        "the mean of the log-weights for the importance-weighted bound",
        VAE,
        "log_mean_exp(self.log_weights(x, k, generator))",
        "self.log_weights(x, k, generator).mean(0)",
        ("eq-iwae",),
    ),
    Mutant(
        "the estimate not divided by the number of draws",
        *(VAE, "return total - math.log(k)", "return total"),
        ("eq-iwae",),
    ),
    Mutant(
        "the weight of the divergence ignored",
        *(VAE, "return reconstruction - beta * kl,", "return reconstruction - kl,"),
        ("eq-beta-bound", "eq-mean-over-pixels"),
    ),
    # --- Gaussians and maximum likelihood
    Mutant(
        "the normal density without its factor ½",
        *(GAUSSIAN, LOG_NORMAL, LOG_NORMAL.replace("-0.5 * (", "-(")),
        (
            *("eq-normal-moments", "eq-normal-score", "eq-own-parameters"),
            *("eq-heteroscedastic-gradient", "eq-likelihood-is-divergence"),
        ),
    ),
    Mutant(
        "half of the log-determinant in the full density",
        *(GAUSSIAN, "- _log_diagonal(factor)\n", "- 0.5 * _log_diagonal(factor)\n"),
        (
            *("eq-cholesky-log-density", "eq-gaussian-mean-log-likelihood", "eq-gaussian-mle"),
            *("eq-gaussian-mle-shortfall", "eq-unbounded-likelihood", "eq-variances-only-mass"),
            *("eq-gaussian-marginal", "eq-joint-linear-gaussian"),
        ),
    ),
    Mutant(
        "distances in place of their squares in the full density",
        *(GAUSSIAN, "LOG_2PI + whitened.square()", "LOG_2PI + whitened.abs()"),
        ("eq-quadratic-form", "eq-mahalanobis-chi2", "eq-cholesky-log-density"),
    ),
    Mutant(
        "the transposed factor in the draws",
        *(GAUSSIAN, "noise @ self._factor.T", "noise @ self._factor"),
        ("eq-mahalanobis-chi2",),
    ),
    Mutant(
        "the covariance divided by n - 1",
        *(GAUSSIAN, "deviation / x.shape[-2]", "deviation / (x.shape[-2] - 1)"),
        (
            *("eq-gaussian-mle", "eq-gaussian-mle-shortfall", "eq-variance-bias"),
            *("eq-gaussian-mean-log-likelihood", "eq-unbounded-likelihood"),
        ),
    ),
    Mutant(
        "the mean not subtracted before the outer products",
        *(GAUSSIAN, "deviation = x - mean.unsqueeze(-2)", "deviation = x"),
        (
            *("eq-gaussian-mle", "eq-variance-bias", "eq-covariance-rank"),
            *("eq-likelihood-is-divergence", "eq-unbounded-likelihood"),
        ),
    ),
    Mutant(
        "the distribution given the others for the marginal one",
        GAUSSIAN,
        "self.covariance[kept][:, kept])",
        "torch.linalg.inv(torch.linalg.inv(self.covariance)[kept][:, kept]))",
        ("eq-gaussian-marginal",),
    ),
    Mutant(
        "a conditional covariance that grows with what is known",
        *(GAUSSIAN, "rest - blocks", "rest + blocks"),
        ("eq-gaussian-conditional", "eq-joint-linear-gaussian"),
    ),
    Mutant(
        "the mean of what is observed forgotten in the conditional mean",
        *(GAUSSIAN, "(values - self.mean[observed])", "values"),
        ("eq-gaussian-conditional", "eq-joint-linear-gaussian"),
    ),
    # --- autoregressive models
    Mutant(
        "a mask that lets each output see its own pixel",
        *(AUTOREGRESSIVE, "[inputs + 1, *spread, inputs]", "[inputs, *spread, inputs]"),
        (
            *("eq-ar-no-leak", "eq-ar-normalized", "eq-ar-log-likelihood", "eq-ar-completion"),
            *("eq-ar-backward", "eq-linear-ar-size", "eq-chain-rule"),
        ),
    ),
    Mutant(
        "a mask one pixel too strict",
        *(AUTOREGRESSIVE, "(above[:, None] >= below)", "(above[:, None] > below)"),
        ("eq-linear-ar-size", "eq-ar-no-leak"),
    ),
    Mutant(
        "the recurrent state reads the row that it predicts",
        *(AUTOREGRESSIVE, "F.pad(rows, (0, 0, 1, 0))[:, :-1]", "rows"),
        ("eq-ar-no-leak", "eq-ar-normalized", "eq-ar-log-likelihood", "eq-chain-rule"),
    ),
    Mutant(
        "lit and dark exchanged in the likelihood",
        *(AUTOREGRESSIVE, "F.logsigmoid((2 * x - 1)", "F.logsigmoid((1 - 2 * x)"),
        ("eq-ar-log-likelihood", "eq-ar-completion", "eq-ar-backward"),
    ),
    Mutant(
        "log-odds without their sign",
        *(AUTOREGRESSIVE, "F.logsigmoid((2 * x - 1) * ", "F.logsigmoid("),
        ("eq-ar-log-likelihood", "eq-ar-normalized", "eq-ar-completion"),
    ),
    Mutant(
        "the ordering for its inverse",
        *(AUTOREGRESSIVE, "ordered[:, self.ordering.argsort()]", "ordered[:, self.ordering]"),
        ("eq-ar-no-leak", "eq-ar-log-likelihood", "eq-chain-rule", "eq-ar-completion"),
    ),
    Mutant(
        "every row drawn under the state of the first",
        *(AUTOREGRESSIVE, "above = rows[:, r : r + 1]", "above = torch.zeros_like(above)"),
        ("eq-ar-completion", "eq-ar-backward"),
    ),
    Mutant(
        "the last known pixel drawn anew",
        *(
            AUTOREGRESSIVE,
            "for t in range(n_known, n_pixels):",
            "for t in range(max(n_known - 1, 0), n_pixels):",
        ),
        ("eq-ar-completion",),
    ),
    # --- generative models
    Mutant(
        "the discriminator rewarded for calling data samples",
        *("vaebook/gan.py", "F.softplus(-real_logits).mean()", "F.softplus(real_logits).mean()"),
        (
            *("eq-optimal-discriminator", "eq-optimal-logit", "eq-gan-value-optimum"),
            *("eq-jsd-bounds", "eq-dropped-modes"),
        ),
    ),
    Mutant(
        "the generator's loss with the sign of the logit wrong",
        "vaebook/gan.py",
        "else F.softplus(-fake_logits).mean()",
        "else F.softplus(fake_logits).mean()",
        ("eq-saturating-gradients",),
    ),
    Mutant(
        "uniform noise for the generator",
        *("vaebook/gan.py", ".normal_(generator=generator)", ".uniform_(generator=generator)"),
        ("eq-pushforward", "eq-folded-density"),
    ),
    Mutant(
        "the energy distance with the second sample's sign wrong",
        "vaebook/two_sample.py",
        "contrast[len(x) :] = -1 / len(y)",
        "contrast[len(x) :] = 1 / len(y)",
        ("eq-energy-nonnegative",),
    ),
    Mutant(
        "a p-value that leaves the observed distance out",
        *("vaebook/two_sample.py", "(1 + as_large) / (1 + n_permutations)"),
        "as_large / n_permutations",
        ("eq-permutation-level",),
    ),
    Mutant(
        "the farthest neighbour in place of the nearest",
        *(
            "vaebook/two_sample.py",
            "part.amin(1) for part in parts",
            "part.amax(1) for part in parts",
        ),
        ("eq-new-samples",),
    ),
    Mutant(
        "the banana's width doubled in its density alone",
        "vaebook/data.py",
        "_log_normal(x2, self._shift(x1), self.width)",
        "_log_normal(x2, self._shift(x1), 2 * self.width)",
        ("eq-held-out-likelihood",),
    ),
    # --- unsupervised learning
    Mutant(
        "the reconstruction error as a mean over pixels",
        *(AUTOENCODER, "(x - reconstruction).square().sum(-1)"),
        "(x - reconstruction).square().mean(-1)",
        ("eq-projection-error", "eq-linear-autoencoder", "eq-reconstruction-mass"),
    ),
    Mutant(
        "the autoencoder trained to make its error large",
        *(AUTOENCODER, "return -error,", "return error,"),
        ("eq-linear-autoencoder",),
    ),
    Mutant(
        "a code squeezed into the interval from -1 to 1",
        *(AUTOENCODER, 'return _through(self.encoder, "x", x)'),
        'return _through(self.encoder, "x", x).tanh()',
        (
            "eq-code-ambiguity",
            "eq-projection-error",
            "eq-captured-variance",
            "eq-reconstruction-mass",
        ),
    ),
    Mutant(
        "principal variances with the noise counted twice",
        *(GAUSSIAN, "(eigenvalues[-n_latents:] - noise_var).clamp_min(0)"),
        "eigenvalues[-n_latents:].clamp_min(0)",
        ("eq-density-of-code",),
    ),
    # --- latent variables
    Mutant(
        "hidden causes with half their size",
        *(GAUSSIAN, "return z @ self.weight.T", "return 0.5 * z @ self.weight.T"),
        ("eq-common-cause",),
    ),
    Mutant(
        "a posterior with the covariance of the prior",
        *(GAUSSIAN, "@ self.weight @ covariance / self.noise_var, covariance"),
        "@ self.weight @ covariance / self.noise_var, identity",
        ("eq-posterior-coverage",),
    ),
    Mutant(
        "a covariance that knows its axes",
        *(GAUSSIAN, "covariance = self.weight @ self.weight.T + self.noise_var * identity"),
        "covariance = self.weight.abs() @ self.weight.T.abs() + self.noise_var * identity",
        ("eq-rotation",),
    ),
    Mutant(
        "binary probabilities that sum to more than one",
        *(VAE, "F.softplus(params).sum(-1)", "F.softplus(params - 1).sum(-1)"),
        ("eq-typical-set",),
    ),
    Mutant(
        "pixel noise with the variance for a standard deviation",
        *(VAE, "torch.full_like(params, 2 * math.log(self.std))"),
        "torch.full_like(params, 4 * math.log(self.std))",
        ("eq-pixel-noise",),
    ),
    Mutant(
        "the determinants swapped in the full divergence",
        *(GAUSSIAN, "2 * (_log_diagonal(factor_p) - _log_diagonal(factor_q))"),
        "2 * (_log_diagonal(factor_q) - _log_diagonal(factor_p))",
        ("eq-independence-cost",),
    ),
    Mutant(
        "the same latent variable for every image drawn",
        *(VAE, "params = self._decode(self.prior.sample(n, generator))"),
        "params = self._decode(self.prior.sample(1, generator).expand(n, -1))",
        ("eq-total-covariance",),
    ),
    Mutant(
        "interpolation by the VAE that stops half-way",
        *(VAE, "self.decode(torch.lerp(start[:, None], stop[:, None], position[:, None]))"),
        "self.decode(torch.lerp(start[:, None], stop[:, None], position[:, None] / 2))",
        ("eq-path-length",),
    ),
    Mutant(
        "interpolation by the autoencoder that stops half-way",
        *(AUTOENCODER, "self.decode(torch.lerp(start[:, None], stop[:, None], position[:, None]))"),
        "self.decode(torch.lerp(start[:, None], stop[:, None], position[:, None] / 2))",
        ("eq-path-length",),
    ),
    # --- the toolbox
    Mutant(
        "the normal density without its factor ½, in the tools",
        *(GAUSSIAN, LOG_NORMAL, LOG_NORMAL.replace("-0.5 * (", "-(")),
        (
            *("eq-unconscious", "eq-cross-entropy", "eq-shifted-proposal"),
            *("eq-change-of-variables-1d", "eq-change-of-variables"),
        ),
    ),
    Mutant(
        "the -1 of the divergence lost, in the tools",
        *(GAUSSIAN, KL_DIAGONAL, KL_DIAGONAL.replace(" - 1 ", " ")),
        ("eq-kl-proof", "eq-kl-pythagoras", "eq-cross-entropy", "eq-kl-invariance"),
    ),
    Mutant(
        "the log-determinant of the factor for that of the matrix, in the tools",
        *(GAUSSIAN, "= 2 * (_log_diagonal", "= (_log_diagonal"),
        ("eq-gaussian-mutual-information",),
    ),
    Mutant(
        "half of the log-determinant in the full density, in the tools",
        *(GAUSSIAN, "- _log_diagonal(factor)\n", "- 0.5 * _log_diagonal(factor)\n"),
        ("eq-gaussian-entropy", "eq-change-of-variables"),
    ),
    Mutant(
        "a banana of another width than its draws",
        "vaebook/data.py",
        "self._shift(x1), self.width)",
        "self._shift(x1), 1.0)",
        ("eq-change-of-variables",),
    ),
    Mutant(
        "the standard error not divided by the root of the draws",
        *(ESTIMATORS, "values.std(dim) / math.sqrt(values.shape[dim])", "values.std(dim)"),
        ("eq-monte-carlo-slope", "eq-importance-expectation"),
    ),
    Mutant(
        "weights in place of their squares in the error of a weighted average",
        *(ESTIMATORS, "(weights * deviation).square()", "(weights * deviation.square())"),
        ("eq-self-normalized-variance",),
    ),
    Mutant(
        "a plain average in place of the weighted one",
        *(ESTIMATORS, "average = (weights * values).sum(dim)", "average = values.mean(dim)"),
        ("eq-self-normalized-variance",),
    ),
    Mutant(
        "the weights not squared in the effective sample size",
        *(ESTIMATORS, "torch.logsumexp(2 * log_weights, dim)", "torch.logsumexp(log_weights, dim)"),
        ("eq-ess-limit", "eq-shifted-proposal"),
    ),
    Mutant(
        "exponentials added without taking out the largest",
        *(ESTIMATORS, "torch.logsumexp(log_values, dim)", "log_values.exp().sum(dim).log()"),
        ("eq-log-sum-exp", "eq-log-sum-exp-bounds"),
    ),
    Mutant(
        "the largest exponent alone in place of the sum",
        *(ESTIMATORS, "torch.logsumexp(log_values, dim)", "log_values.amax(dim)"),
        ("eq-log-sum-exp", "eq-log-sum-exp-gradient"),
    ),
    # --- transforms
    Mutant(
        "the rank counted from above",
        *(TRANSFORMS, 'return ndtr(_numbers("z", z))', 'return ndtr(-_numbers("z", z))'),
        ("eq-gaussian-to-uniform",),
    ),
    Mutant(
        "the upper tail computed from below",
        *(TRANSFORMS, "target.isf(tail[upper])", "target.ppf(1 - tail[upper])"),
        ("eq-two-tails",),
    ),
    Mutant(
        "one tail for both",
        *(TRANSFORMS, "z > 0\n", "z > 9\n"),
        (
            *("eq-gaussian-to-target", "eq-closed-quantiles", "eq-transform-slope"),
            "eq-discrete-quantile",
        ),
    ),
    Mutant(
        "noise from the farther end",
        *(TRANSFORMS, "np.where(below < above, ndtri", "np.where(below > above, ndtri"),
        ("eq-two-tails",),
    ),
    Mutant(
        "the survival function for the distribution function of a datum",
        *(TRANSFORMS, "return target.cdf(x)\n", "return target.sf(x) ** 2\n"),
        ("eq-pit",),
    ),
    Mutant(
        "counts spread upwards",
        *(TRANSFORMS, "target.cdf(x) - position *", "target.cdf(x) + position *"),
        ("eq-randomized-pit",),
    ),
    Mutant(
        "the quantile of another probability",
        *(TRANSFORMS, "return self._quantile(q)", "return self._quantile(q * q)"),
        ("eq-uniform-to-target", "eq-gaussian-to-target", "eq-quantile-inequality"),
    ),
    Mutant(
        "responsibilities without the determinant",
        *(TRANSFORMS, "self.noise[..., i] ** 2 + np.log(scales)", "self.noise[..., i] ** 2"),
        ("eq-mixture-conditional", "eq-rosenblatt-jacobian"),
    ),
    Mutant(
        "conditional means that forget the coordinates before",
        *(TRANSFORMS, "(x[:, None] - means) / scales", "0 * (x[:, None] - means) / scales"),
        ("eq-mixture-conditional", "eq-rosenblatt-jacobian"),
    ),
    # --- hidden causes and chains of them
    Mutant(
        "the prior left out",
        *(HMM, "scores[first] += _log(self.startprob_)", "scores[first] += 0"),
        ("eq-latent-sum", "eq-latent-posterior", "eq-hmm-forward"),
    ),
    Mutant(
        "the chain run backwards in time",
        *(HMM, "before[i] * transition[i, j]", "before[i] * transition[j, i]"),
        ("eq-hmm-forward", "eq-hmm-smoothing", "eq-hmm-pairs", "eq-baum-welch"),
    ),
    Mutant(
        "a step without its observation",
        *(HMM, "log_filter[t, j] = scores[t, j]", "log_filter[t, j] = 0.0"),
        ("eq-hmm-forward", "eq-hmm-smoothing", "eq-baum-welch"),
    ),
    Mutant(
        "messages from the future through the transposed matrix",
        *(HMM, "step = transition[i, j] * ahead", "step = transition[j, i] * ahead"),
        ("eq-hmm-backward", "eq-hmm-smoothing", "eq-hmm-pairs", "eq-baum-welch"),
    ),
    Mutant(
        "the best path into a state from where the chain goes",
        *(HMM, "best[i] + log_transition[i, j]", "best[i] + log_transition[j, i]"),
        ("eq-hmm-viterbi",),
    ),
    Mutant(
        "pairs of states the wrong way round",
        *(HMM, "pairs[i, j] += filtered[t - 1, i]", "pairs[j, i] += filtered[t - 1, i]"),
        ("eq-hmm-pairs", "eq-baum-welch"),
    ),
    Mutant(
        "the start learned from the first sequence alone",
        *(HMM, "posterior[first].sum(0)", "posterior[:1].sum(0)"),
        ("eq-baum-welch",),
    ),
    Mutant(
        "a sequence that goes on where the one before ended",
        *(
            HMM,
            "arrivals = 1.0 if begins[t] else 0.0\n            if not begins[t]:",
            "arrivals = 1.0 if t == 0 else 0.0\n            if t > 0:",
        ),
        ("eq-baum-welch",),
    ),
    Mutant(
        "noise that adds up without being shrunk",
        *(DIFFUSION, "noise_shares = -torch.expm1(log_signal)", "noise_shares = betas.cumsum(0)"),
        ("eq-noising-closed-form",),
    ),
    # --- Gaussian mixtures
    Mutant(
        "a component's log-determinant with the wrong sign",
        *(MIXTURE, "joint += (np.log(scales)", "joint += (-np.log(scales)"),
        (
            *("eq-mixture-density", "eq-one-hot-joint", "eq-complete-log-likelihood"),
            *("eq-mixture-joint", "eq-gaussian-by-cholesky", "eq-incomplete-log-likelihood"),
            *("eq-responsibilities", "eq-mixture-elbo-decomposition", "eq-one-hot-vae"),
            *("eq-softmax-encoder", "eq-singularity"),
        ),
    ),
    Mutant(
        "whitened by the transposed factor",
        *(MIXTURE, "solve_triangular(lower, identity, lower=True).T", "np.linalg.inv(lower)"),
        ("eq-gaussian-by-cholesky", "eq-mixture-joint", "eq-softmax-encoder"),
    ),
    Mutant(
        "components without their weights",
        *(MIXTURE, "joint += np.log(weights)[:, None]", "joint += 0"),
        ("eq-mixture-joint", "eq-mixture-density", "eq-one-hot-joint", "eq-responsibilities"),
    ),
    Mutant(
        "responsibilities that do not sum to one",
        *(MIXTURE, "    resp /= total\n", "    resp /= 2\n"),
        ("eq-responsibilities", "eq-softmax-encoder", "eq-mixture-elbo-decomposition"),
    ),
    Mutant(
        "scatter about the mean of the data",
        *(
            MIXTURE,
            "away = columns - mean[:, None]",
            "away = columns - X.mean(axis=0)[:, None]",
        ),
        ("eq-m-step", "eq-em-monotone"),
    ),
    Mutant(
        "equal weights for all components",
        *(
            MIXTURE,
            "MixtureParameters(sizes / sizes.sum(), means",
            "MixtureParameters(0 * sizes + 1 / len(sizes), means",
        ),
        ("eq-m-step",),
    ),
    Mutant(
        "an M-step on other responsibilities than the E-step's",
        *(MIXTURE, "parameters = m_step(X, resp, cov", "parameters = m_step(X, resp**4, cov"),
        ("eq-em-monotone",),
    ),
    Mutant(
        "the bound less its entropy",
        *(MIXTURE, "(log_joint, resp) + entr(resp)", "(log_joint, resp) - entr(resp)"),
        ("eq-mixture-elbo-decomposition", "eq-one-hot-vae"),
    ),
    Mutant(
        "weights counted as if they did not sum to one",
        *(MIXTURE, "+ n * d + n - 1", "+ n * d + n"),
        ("eq-mixture-parameter-count",),
    ),
    # --- diffusion
    Mutant(
        "a step that does not shrink the signal",
        *(DIFFUSION, "return torch.sqrt(1 - beta) * x +", "return x +"),
        ("eq-forward-marginal", "eq-diffusion-elbo"),
    ),
    Mutant(
        "the standard deviation of a step's noise taken for its variance",
        *(DIFFUSION, "* x + beta.sqrt() * _normal_like", "* x + beta * _normal_like"),
        ("eq-forward-marginal", "eq-diffusion-elbo"),
    ),
    Mutant(
        "the share of the signal without its square root",
        *(DIFFUSION, "return signal_share.sqrt() * signal +", "return signal_share * signal +"),
        ("eq-forward-marginal", "eq-step-kl"),
    ),
    Mutant(
        "the variance of the step in place of that of its posterior",
        *(DIFFUSION, "betas * earlier_noise_shares / noise_shares", "betas * noise_shares"),
        ("eq-forward-posterior", "eq-diffusion-elbo", "eq-posterior-variance-gap"),
    ),
    Mutant(
        "the posterior's weight of the datum without its root",
        *(DIFFUSION, "of_signal = torch.sqrt(1 - earlier) *", "of_signal = (1 - earlier) *"),
        ("eq-forward-posterior", "eq-diffusion-weights"),
    ),
    Mutant(
        "an error of the noise weighted with the variance of a step",
        *(DIFFUSION, "return beta.square() / ((1 - beta)", "return beta / ((1 - beta)"),
        ("eq-step-kl", "eq-optimal-reverse-variance", "eq-diffusion-elbo"),
    ),
    Mutant(
        "the divergence of a step without its logarithm",
        *(DIFFUSION, "0.5 * (ratio - 1 - ratio.log() + weight", "0.5 * (ratio - 1 + weight"),
        ("eq-step-kl", "eq-posterior-variance-gap"),
    ),
    Mutant(
        "the divergence at the end with the wrong sign of its logarithm",
        *(DIFFUSION, "(signal.square() - 1) - torch.log1p", "(signal.square() - 1) + torch.log1p"),
        ("eq-diffusion-prior-kl", "eq-diffusion-elbo"),
    ),
    Mutant(
        "one random step not multiplied by the number of steps",
        *(DIFFUSION, "return model.n_steps * term -", "return (model.n_steps - 1) * term -"),
        ("eq-random-step",),
    ),
    Mutant(
        "the chain's own density left out of the weight",
        *(DIFFUSION, "total = total - _log_normal(x, mean, variance)", "total = total + 0"),
        ("eq-diffusion-weights", "eq-diffusion-elbo"),
    ),
    Mutant(
        "noise guessed as if the data had no spread",
        *(DIFFUSION, "/ (signal_share * self.variances + noise_share)", "/ noise_share"),
        ("eq-gaussian-noise", "eq-score-from-noise"),
    ),
    Mutant(
        "the score with the wrong sign",
        *(DIFFUSION, "return -self.predict_noise(x_t, t) /", "return self.predict_noise(x_t, t) /"),
        ("eq-score-from-noise",),
    ),
    Mutant(
        "fitted variances without what the network does not know",
        *(DIFFUSION, "self.posterior_vars, t) + extra)", "self.posterior_vars, t))"),
        ("eq-optimal-reverse-variance",),
    ),
    Mutant(
        "a pixel's own evidence counted twice",
        *(DIFFUSION, "torch.tanh(signal_share.sqrt() / noise_share", "torch.tanh(2 / noise_share"),
        ("eq-binary-denoiser",),
    ),
    Mutant(
        "DDIM with the noise of the direction not reduced by the fresh noise",
        *(DIFFUSION, "torch.sqrt(share - fresh) * noise", "torch.sqrt(share) * noise"),
        ("eq-ddim-marginal",),
    ),
    # --- density estimation: tables, naive Bayes, kernels
    Mutant(
        "a query that is not divided by the evidence",
        *("vaebook/bayes_net.py", "total = sum(totals.values())", "total = 1.0"),
        ("eq-bayes-rule", "eq-bayesian-network-query"),
    ),
    Mutant(
        "Laplace smoothing with half of what it adds in the denominator",
        *(
            NAIVE_BAYES,
            "np.log(self.class_count_ + 2 * self.alpha)",
            "np.log(self.class_count_ + self.alpha)",
        ),
        (
            *("eq-laplace-smoothing", "eq-naive-bayes", "eq-beta-posterior"),
            *("eq-sequential-bayes", "eq-fair-coins"),
        ),
    ),
    Mutant(
        "naive Bayes that looks only at the ones",
        *(
            NAIVE_BAYES,
            "X @ difference.T + self._log_prob_of_zero.sum(1)",
            "X @ self.feature_log_prob_.T",
        ),
        ("eq-naive-bayes", "eq-naive-bayes-linear"),
    ),
    Mutant(
        "log-probabilities averaged over the features",
        *(NAIVE_BAYES, "np.where(X == 1, one, zero).sum(1)", "np.where(X == 1, one, zero).mean(1)"),
        ("eq-total-correlation",),
    ),
    Mutant(
        "the probabilities of the classes counted twice",
        *(NAIVE_BAYES, "(blocks) + self._log_prior()", "(blocks) + 2 * self._log_prior()"),
        ("eq-repeated-evidence", "eq-naive-bayes"),
    ),
    Mutant(
        "Silverman's rule with another dimension",
        *(KDE, "scott * (4 / (d + 2))", "scott * (4 / (d + 1))"),
        ("eq-kde-silverman",),
    ),
    Mutant(
        "each datum left in its own cross-validation",
        *(KDE, "tile.diagonal(i - j).fill_(-math.inf)", "pass"),
        ("eq-kde-leave-one-out",),
    ),
    # one data set, every model
    Mutant(
        "the bound without its KL term",
        *(VAE, "return reconstruction - kl\n", "return reconstruction\n"),
        ("eq-exact-bound-gap",),
    ),
    Mutant(
        "kernels whose density is not normalised",
        *(KDE, "(math.log(bandwidth) + 0.5 * LOG_2PI)", "math.log(bandwidth)"),
        ("eq-dequantisation-bound",),
    ),
]


def problems() -> list[str]:
    """Say what is stale: text that the package no longer has, statements that no test checks."""
    labels = {binding.label for binding in scan(ROOT).bindings}
    found = []
    for mutant in MUTANTS:
        count = (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old)
        if count != 1:
            found.append(f"'{mutant.error}': {mutant.file} has {count} times: {mutant.old}")
        for label in set(mutant.equations) - labels:
            found.append(f"'{mutant.error}': no test is bound to {label}")
    return found


def run(mutant: Mutant | None, equations: tuple[str, ...]) -> set[str]:
    """Return the bound tests that fail in a copy of the project with this error."""
    bindings = [binding for binding in scan(ROOT).bindings if binding.label in equations]
    tests = sorted({binding.node_id for binding in bindings})
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for part in COPIED:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pyca*"))
            else:
                shutil.copy(ROOT / part, copy / part)
        if mutant is not None:
            file = copy / mutant.file
            file.write_text(
                file.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8"
            )
        report = copy / "report.xml"
        options = ["-q", "--tb=no", "-p", "no:cacheprovider", f"--junitxml={report}"]
        try:
            subprocess.run(
                [sys.executable, "-m", "pytest", *options, *tests],
                cwd=copy,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(copy)},
                capture_output=True,
                timeout=SECONDS_AT_MOST,
            )
        except subprocess.TimeoutExpired:
            return set(map(dotted, bindings))
        return failures(report) if report.exists() else set(map(dotted, bindings))


def failures(report: Path) -> set[str]:
    """Return the tests that failed, without their parameters, from pytest's report."""
    return {
        f"{case.attrib['classname']}.{case.attrib['name'].partition('[')[0]}"
        for case in ET.parse(report).iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }


def dotted(binding: Binding) -> str:
    """Return a bound test's name as pytest's report has it."""
    return f"{binding.path.removesuffix('.py')}.{binding.name}".replace("/", ".").replace("::", ".")


def main() -> None:
    """Run every mutant, print what was noticed, and store it; fail if one was not."""
    wanted = set(sys.argv[1:])
    if stale := problems():
        sys.exit("The list in tools/mutants.py is stale:\n  " + "\n  ".join(stale))
    mutants = [m for m in MUTANTS if not wanted or wanted & set(m.equations)]
    started = time.perf_counter()
    if broken := run(None, tuple({label for m in mutants for label in m.equations})):
        sys.exit(f"These tests fail without any error put in: {sorted(broken)}")
    bound: dict[str, set[str]] = {}
    for binding in scan(ROOT).bindings:
        bound.setdefault(binding.label, set()).add(dotted(binding))
    scores: dict[str, list[int]] = {}
    noticed: set[str] = set()
    survivors = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(lambda mutant: run(mutant, mutant.equations), mutants)
        for mutant, failed in zip(mutants, runs, strict=True):
            noticed |= failed
            missed = [label for label in mutant.equations if not bound[label] & failed]
            survivors += [f"{mutant.error}: {label}" for label in missed]
            print("missed" if missed else "caught", mutant.error, *missed, sep="  ", flush=True)
            for label in mutant.equations:
                score = scores.setdefault(label, [0, 0])
                score[0] += label not in missed
                score[1] += 1
    print(f"{len(mutants)} errors in {time.perf_counter() - started:.0f} s")
    never = sorted(set().union(*(bound[label] for label in scores)) - noticed)
    print("Bound tests that no error turned red:", *never, sep="\n  ")
    covered = {label for mutant in MUTANTS for label in mutant.equations}
    print("Statements without an error:", *sorted(set(bound) - covered), sep="\n  ")
    if not wanted:
        result = {"errors": [m.error for m in MUTANTS], "equations": dict(sorted(scores.items()))}
        RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if survivors:
        sys.exit("Not noticed:\n  " + "\n  ".join(survivors))


if __name__ == "__main__":
    main()
