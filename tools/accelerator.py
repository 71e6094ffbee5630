"""What the book does on a GPU: its speed, its tests and all its chapters, in some minutes.

``python -m tools.accelerator`` needs the package's own dependencies, and pytest and hypothesis for
the tests. Nothing of Jupyter or Sphinx is needed. It prints

- how long training and estimation take, beside bare loops that do the same work and nothing else;
- whether the tests of the models hold with ``device="auto"``, file by file;
- whether the cells of every chapter run, and how long they take.

``--device cpu`` does the same without a GPU; ``--tiny`` with few rows, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vaebook import data
from vaebook.autoregressive import PixelRNN, likelihood_objective
from vaebook.diffusion import Diffusion, NoiseMLP, linear_schedule, noise_objective
from vaebook.estimators import rows_at_once
from vaebook.gan import GAN, discriminator_loss, fit_gan, generator_loss, mlp_gan
from vaebook.gaussian import kl_to_standard_normal
from vaebook.training import fit, pick_device
from vaebook.vae import VAE, conv_vae, elbo_objective, mlp_vae, residual_vae

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
TESTED = tuple(
    f"tests/test_{name}.py"
    for name in ("vae", "autoencoder", "gan", "diffusion", "autoregressive", "training")
) + ("tests/test_estimators.py",)
TESTED_ON_CUDA = "tests/on_pretend_cuda/test_recorded.py", "tests/on_pretend_cuda/test_models.py"
SECONDS = 230  # for all of it
BATCH = 128

# --- chapters ---------------------------------------------------------------------------------


def chapter_names() -> list[str]:
    """Return the names of all chapters, each behind those whose checkpoints it reads.

    Those that others wait for come first.
    """
    paths = sorted(BOOK.rglob("*.ipynb"))
    names = [path.relative_to(BOOK).with_suffix("").as_posix() for path in paths]
    waited_for = {other for name in names for other in runs_after(name)}
    return sorted(names, key=lambda name: (len(runs_after(name)), name not in waited_for))


def runs_after(name: str) -> list[str]:
    """Return the chapters that must have run before this one."""
    notebook = json.loads((BOOK / f"{name}.ipynb").read_text(encoding="utf-8"))
    return list(notebook["metadata"].get("vaebook", {}).get("after", ()))


def run_chapter(name: str) -> None:
    """Run all code cells of a chapter in this process, as a kernel would, and show nothing."""
    os.environ.setdefault("MPLBACKEND", "agg")
    if find_spec("IPython") is None:
        display = types.ModuleType("IPython.display")
        display.display = lambda *things, **options: None  # type: ignore[attr-defined]
        sys.modules |= {"IPython": types.ModuleType("IPython"), "IPython.display": display}
    cells = json.loads((BOOK / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for position, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), f"<{name}, cell {position}>", "exec")
            exec(code, namespace)


# --- speeds -----------------------------------------------------------------------------------

Loss = Callable[[Tensor, Generator], Tensor]


def vae_loss(vae: VAE) -> Loss:
    """Minus the evidence lower bound, by the same kernels as `elbo_objective` and no checks."""

    def loss(x: Tensor, generator: Generator) -> Tensor:
        mean, log_var = vae.encoder(x)
        z = mean + torch.exp(0.5 * log_var) * torch.empty_like(mean).normal_(generator=generator)
        bound = vae.likelihood.log_prob(x, vae._decode(z)) - kl_to_standard_normal(mean, log_var)
        return -bound.mean()

    return loss


def row_model_loss(model: PixelRNN) -> Loss:
    """Minus the log-likelihood of a model whose ordering is that of the columns."""

    def loss(x: Tensor, generator: Generator) -> Tensor:
        return -F.logsigmoid((2 * x - 1) * model._logits(x)).sum(-1).mean()

    return loss


def noise_loss(model: Diffusion) -> Loss:
    """Squared error of the guessed noise at one random step a datum."""

    def loss(x: Tensor, generator: Generator) -> Tensor:
        uniform = torch.empty_like(x[:, 0]).uniform_(generator=generator)
        step = (uniform * model.n_steps).long().clamp_max(model.n_steps - 1)
        noise = torch.empty_like(x).normal_(generator=generator)
        signal, share = model.signal_shares[step, None], model.noise_shares[step, None]
        noisy = signal.sqrt() * x + share.sqrt() * noise
        return (noise - model.network(noisy, model.log_snr[step, None])).square().sum(-1).mean()

    return loss


@dataclass
class Bare:
    """A training loop without anything but its kernels: no checks, no history, no resume.

    `losses` has a loss for each network that is trained, and its parameters.
    """

    losses: Sequence[tuple[Loss, list[nn.Parameter]]]
    rows: Tensor
    transform: Callable[[Tensor, Generator], Tensor]

    def __post_init__(self) -> None:
        device = self.rows.device
        on_gpu = device.type == "cuda"
        self.batch = self.rows[:BATCH].clone()
        self.generator = Generator(device).manual_seed(0)
        self.optimizers = [
            torch.optim.Adam(parameters, fused=device.type != "mps", capturable=on_gpu)
            for _, parameters in self.losses
        ]

    def step(self) -> None:
        """One step of each network on the rows in `batch`."""
        x = self.transform(self.batch, self.generator)
        for (loss, _), optimizer in zip(self.losses, self.optimizers, strict=True):
            optimizer.zero_grad(set_to_none=False)
            loss(x, self.generator).backward()
            optimizer.step()

    def epoch(self, step: Callable[[], None]) -> None:
        """Take `step` with each full batch of a new order."""
        order = torch.randperm(len(self.rows), device=self.rows.device)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            torch.index_select(self.rows, 0, order[start : start + BATCH], out=self.batch)
            step()

    def recorded(self) -> Callable[[], None]:
        """Record a step as a CUDA graph, and return what replays it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay


class Pictures(Dataset[Tensor]):
    """Pictures as a loader serves them: converted one by one."""

    def __init__(self, images: Any) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Tensor:
        return torch.tensor(self.images[position]).float().div(255).flatten()


def example_epoch(images: Any, device: torch.device) -> Callable[[], None]:
    """Return an epoch of the loop of PyTorch's own VAE example, with the book's model."""
    model = mlp_vae().to(device)
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=1e-3), vae_loss(model)
    generator, on_gpu = Generator(device).manual_seed(0), device.type == "cuda"
    loader = DataLoader(
        Pictures(images), BATCH, shuffle=True, num_workers=int(on_gpu), pin_memory=on_gpu
    )

    def epoch() -> None:
        for batch in loader:
            optimizer.zero_grad()
            value = loss(batch.to(device), generator)
            value.backward()
            value.item()  # as the example does
            optimizer.step()

    return epoch


def seconds(work: Callable[[], Any], device: torch.device, n: int = 1) -> float:
    """Median time of `n` calls, after one that is not counted if there are several."""
    times = []
    for _ in range(n + (n > 1)):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[-n:])


def speeds(device: torch.device, n_rows: int) -> Iterator[tuple[str, float, str, float]]:
    """Time each work beside others: its name and seconds, the other's name and seconds."""
    digits = data.load("mnist").train_and_validation
    pixels = digits.pixels()[:n_rows]
    rows = pixels.to(device)
    options: dict[str, Any] = {
        "epochs": 3,
        "batch_size": BATCH,
        "device": device,
        "progress": False,
    }

    def beside(work: str, fitted: Any, bare: Bare) -> Iterator[tuple[str, float, str, float]]:
        took = statistics.median(fitted.seconds[1:])
        yield work, took, "bare loop", seconds(lambda: bare.epoch(bare.step), device)
        if device.type == "cuda":
            replay = bare.recorded()
            yield work, took, "bare recorded step", seconds(lambda: bare.epoch(replay), device, 3)

    draw = data.dynamic_binarization
    for name, make in (("784-400-20", mlp_vae), ("residual", residual_vae), ("conv.", conv_vae)):
        fitted = fit(make(), pixels, elbo_objective, transform=draw, **options)
        model = make().to(device)
        bare = Bare([(vae_loss(model), list(model.parameters()))], rows, draw)
        yield from beside(f"{name} VAE, an epoch", fitted, bare)
        if make is mlp_vae:
            example = seconds(example_epoch(digits.images[:n_rows], device), device)
            yield f"{name} VAE, an epoch", statistics.median(fitted.seconds[1:]), "example", example

    def grey(batch: Tensor, generator: Generator) -> Tensor:
        return batch.float().div(255)

    gan = mlp_gan().to(device)
    yield from beside(
        "GAN, an epoch",
        fit_gan(mlp_gan(), pixels, transform=grey, **options),
        Bare(gan_losses(gan), rows, grey),
    )
    row_model = PixelRNN(28, 28, 128, (128,))
    fitted = fit(row_model, pixels, likelihood_objective, transform=draw, **options)
    row_model.to(device)
    bare = Bare([(row_model_loss(row_model), list(row_model.parameters()))], rows, draw)
    yield from beside("row model, an epoch", fitted, bare)
    diffusion = Diffusion(NoiseMLP(784), linear_schedule(1000), 784)
    fitted = fit(diffusion, pixels, noise_objective, transform=grey, **options)
    diffusion.to(device)
    bare = Bare([(noise_loss(diffusion), list(diffusion.parameters()))], rows, grey)
    yield from beside("diffusion, an epoch", fitted, bare)
    yield from estimate_speeds(device, max(20, n_rows // 60), max(10, n_rows // 120))


def gan_losses(gan: GAN) -> list[tuple[Loss, list[nn.Parameter]]]:
    """Both players' losses, with their parameters."""

    def of_discriminator(x: Tensor, generator: Generator) -> Tensor:
        return discriminator_loss(gan.logit(x), gan.logit(gan.sample(len(x), generator)))

    def of_generator(x: Tensor, generator: Generator) -> Tensor:
        return generator_loss(gan.logit(gan(len(x), generator)))

    return [
        (of_discriminator, list(gan.discriminator_network.parameters())),
        (of_generator, list(gan.generator_network.parameters())),
    ]


def estimate_speeds(
    device: torch.device, n: int, k: int
) -> Iterator[tuple[str, float, str, float]]:
    """Time the importance estimate of `n` digits beside itself in pieces of other sizes."""
    vae = mlp_vae().to(device).eval()
    x = data.fixed_binarization(data.load("mnist").test.pixels()[:n], seed=0).to(device)

    def took(rows: Callable[..., int]) -> float:
        with patch("vaebook.vae.rows_at_once", rows):
            return seconds(lambda: vae.log_prob_estimate(x, k), device, 2)

    ours = took(rows_at_once)
    sizes = (250, 1000, 5000, 20_000, 50_000, 100_000)
    times = {size: took(lambda *_, size=size: size) for size in sizes}
    for size in sorted({1000, min(times, key=times.__getitem__)}):
        yield f"estimate {n:,} x {k}", ours, f"pieces of {size:,} rows", times[size]


def print_speeds(device: torch.device, n_rows: int) -> None:
    """Print the table of speeds, line by line as they are measured."""
    print(f"{'work':24} {'seconds':>8}   {'beside it':24} {'seconds':>8}   ratio", flush=True)
    for work, ours, other, beside in speeds(device, n_rows):
        print(f"{work:24} {ours:8.3f}   {other:24} {beside:8.3f} {ours / beside:7.2f}", flush=True)


# --- tests and chapters, side by side ---------------------------------------------------------


def run_all(commands: dict[str, tuple[list[str], list[str]]], deadline: float) -> list[str]:
    """Run commands in processes of their own, print how each ended, and return what failed.

    `commands` has a command by name, and the names that must have ended before.
    """
    environment = {**os.environ, "TQDM_DISABLE": "1", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1)) as pool:
        ends: dict[str, Any] = {}

        def run(name: str) -> str:
            command, after = commands[name]
            for other in after:
                if other in ends:
                    ends[other].result()
            start = time.monotonic()
            try:
                ended = subprocess.run(
                    command,
                    cwd=ROOT,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=max(1.0, deadline - start),
                    check=False,
                )
                code, said = ended.returncode, (ended.stdout + ended.stderr).strip()
            except subprocess.TimeoutExpired:
                code, said = -1, "stopped: no time left"
            last = said.splitlines()[-1][:100] if code and said else ""
            word = "ok" if code == 0 else "FAILED"
            print(f"{name:44} {time.monotonic() - start:6.1f} s  {word}  {last}", flush=True)
            return "" if code == 0 else name

        for name in commands:
            ends[name] = pool.submit(run, name)
        return [failed for end in ends.values() if (failed := end.result())]


def commands_of(device: torch.device, tiny: bool) -> dict[str, tuple[list[str], list[str]]]:
    """Return the chapters and the test files, as commands."""
    me = [sys.executable, "-m", "tools.accelerator", "--device", device.type, "--chapter"]
    names = ["latent_variables/sampling_transforms"] if tiny else chapter_names()
    commands = {
        f"book/{name}": ([*me, name], [f"book/{other}" for other in runs_after(name)])
        for name in names
    }
    # without the configuration, which pretends that there is a GPU and needs the book's tools
    pytest = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider"]
    tested = TESTED[1:2] if tiny else TESTED
    if device.type == "cuda":
        tested += TESTED_ON_CUDA
    return commands | {path: ([*pytest, path], []) for path in tested}


def main() -> None:
    """Measure, test and run all chapters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--tiny", action="store_true", help="few rows, one test file, one chapter")
    parser.add_argument("--chapter", help="run one chapter in this process, and nothing else")
    options = parser.parse_args()
    device = pick_device(options.device)
    if device.type == "cpu":  # the automatic device is then the CPU, too
        for backend in (torch.cuda, torch.backends.mps):
            patch.object(backend, "is_available", lambda: False).start()
    if options.chapter:
        run_chapter(options.chapter)
        return
    if options.device == "auto" and device.type == "cpu":
        print(
            "There is no GPU here. On one, this measures the speed of training and estimation, and "
            f"runs {len(chapter_names())} chapters and {len(TESTED + TESTED_ON_CUDA)} test files.\n"
            "To see all that on the CPU: python -m tools.accelerator --device cpu"
        )
        return
    if missing := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]:
        sys.exit(f"The tests need {' and '.join(missing)}: pip install {' '.join(missing)}")
    deadline = time.monotonic() + SECONDS
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"PyTorch {torch.__version__} on {name}\n")
    print_speeds(device, 2 * BATCH if options.tiny else 60_000)
    print()
    failed = run_all(commands_of(device, options.tiny), deadline)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
