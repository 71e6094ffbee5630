"""The importance-sampling estimate of log p(x): 10,000 digits, k = 500; seconds and memory.

Beside it, the same estimate written the obvious way (all samples of a batch of data at once, every
weight kept), whose memory grows with k.
"""

from __future__ import annotations

import math
import resource
import sys
import time

import torch

from vaebook import data
from vaebook.vae import VAE, mlp_vae


def obvious_estimate(vae: VAE, x: torch.Tensor, k: int) -> torch.Tensor:
    """All k samples of 20 data at once, by torch.distributions."""
    parts = []
    with torch.no_grad():
        for rows in x.split(20):
            mean, log_var = vae.encode(rows)
            q = torch.distributions.Normal(mean, torch.exp(0.5 * log_var))
            z = q.sample((k,))
            prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(log_var))
            pixels = torch.distributions.Bernoulli(logits=vae.decoder(z))
            weights = pixels.log_prob(rows).sum(-1) + (prior.log_prob(z) - q.log_prob(z)).sum(-1)
            parts.append(weights.logsumexp(0) - math.log(k))
    return torch.cat(parts)


def main() -> None:
    """Estimate for the whole test set, and for a tenth of it both ways."""
    torch.manual_seed(0)
    vae = mlp_vae().eval()
    x = data.fixed_binarization(data.load().test.pixels(), seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    vae.log_prob_estimate(x, k=500, generator=torch.Generator().manual_seed(0))
    elapsed = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    print(f"10,000 digits, k = 500: {elapsed:.1f} s")
    print(f"peak memory of the process: {peak * unit / 2**30:.2f} GiB, ", end="")
    print(f"of which the estimate {(peak - before) * unit / 2**20:.0f} MiB")

    ours, obvious = [], []
    for rows in x[:900].split(300):
        start = time.perf_counter()
        vae.log_prob_estimate(rows, k=500)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        obvious_estimate(vae, rows, 500)
        obvious.append(time.perf_counter() - start)
    ratios = [round(b / a, 2) for a, b in zip(ours, obvious, strict=True)]
    print(f"obvious / ours: {sorted(ratios)[1]}  (all: {ratios})")


if __name__ == "__main__":
    main()
