"""The command ``vaebook``: train, measure and sample a model of your own data.

::

    vaebook train photos --model conv --epochs 20 --out runs/photos
    vaebook evaluate runs/photos other_photos
    vaebook sample runs/photos --n 64 --out new.png
    torchrun --nproc-per-node 2 -m vaebook.cli train photos --out runs/photos

It is a thin face over :mod:`vaebook.own_data`, :mod:`vaebook.training` and
:mod:`vaebook.model_files`. A run is a folder: ``run.json`` (the settings), ``checkpoint.pt``,
``history.csv``, ``model.safetensors``, ``results.json`` and two sheets of pictures. The same
command again continues a run that was interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from vaebook import __version__, own_data
from vaebook._checks import fail
from vaebook._files import write_atomically
from vaebook.distributed import Team, join
from vaebook.estimators import Estimate, monte_carlo
from vaebook.likelihoods import Likelihood, bits_per_dimension
from vaebook.model_files import load_model, save_model
from vaebook.rows import as_rows
from vaebook.training import Callback, CsvLog, EarlyStopping, fit, pick_device, progress_bar
from vaebook.vae import VAE, conv_vae, elbo_objective, mlp_vae, residual_vae, set_output_bias

if TYPE_CHECKING:
    from PIL import Image

N_SAMPLES, N_RECONSTRUCTIONS = 64, 10
AT_ONCE = 100  # test rows between two steps of the progress bar


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 2 for what the user can mend, 1 for divergence."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        return _stop(f"error: {error}", 2)
    except FloatingPointError as error:
        return _stop(f"error: {error}", 1)
    except KeyboardInterrupt:
        return _stop("interrupted; the same command continues the run", 130)
    return 0


def _stop(message: str, status: int) -> int:
    print("vaebook: " + " ".join(message.split()), file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vaebook", description="Train, measure and sample variational autoencoders."
    )
    parser.add_argument("--version", action="version", version=f"vaebook {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    formats = "a folder of pictures of one size, an IDX file, .npy, or .npz with one array"

    command = commands.add_parser("train", help="train a model, or continue an interrupted run")
    command.set_defaults(run=train)
    command.add_argument("data", metavar="FOLDER_OR_FILE", help=formats)
    command.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    command.add_argument("--model", choices=tuple(MODELS), default="mlp")
    command.add_argument("--epochs", type=_positive, default=20)
    command.add_argument(
        "--likelihood",
        choices=("auto", "bernoulli", "logistic", "gaussian"),
        default="auto",
        help="auto: bernoulli for binary numbers, logistic for 8 bits, gaussian for real ones",
    )
    command.add_argument("--latents", type=_positive, default=20, help="dimension of z")
    command.add_argument("--batch-size", type=_positive, default=128)
    command.add_argument("--lr", type=float, default=1e-3, help="peak of the learning rate")
    command.add_argument("--schedule", choices=("one-cycle", "constant"), default="one-cycle")
    command.add_argument(
        "--patience", type=_positive, help="stop after so many epochs without a better validation"
    )
    command.add_argument("--seed", type=_seed, default=0)
    _add_measuring(command)

    command = commands.add_parser("evaluate", help="measure a trained model on other data")
    command.set_defaults(run=evaluate)
    command.add_argument("folder", metavar="RUN", help="folder that train wrote")
    command.add_argument("data", metavar="DATA", help=formats)
    _add_measuring(command)

    command = commands.add_parser("sample", help="draw new examples from a trained model")
    command.set_defaults(run=sample)
    command.add_argument("folder", metavar="RUN", help="folder that train wrote")
    command.add_argument("--n", type=_positive, default=N_SAMPLES)
    command.add_argument("--seed", type=_seed, default=0)
    command.add_argument(
        "--mean", action="store_true", help="the expected example of each code: no draw of x"
    )
    command.add_argument("--out", required=True, help="a sheet (.png) or an array (.npy)")
    return parser


def _add_measuring(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--k", type=_positive, default=100, help="importance samples for each log-likelihood"
    )
    command.add_argument("--device", type=_device, default="auto")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"wanted an integer of at least 1, got {text}")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**62:
        raise argparse.ArgumentTypeError(f"wanted an integer from 0 to 2**62 - 1, got {text}")
    return number


def _device(text: str) -> torch.device:
    try:
        device = pick_device(text)
        torch.empty(1, device=device)
    except (ValueError, RuntimeError, AssertionError) as error:
        wanted = "auto, or a device that PyTorch finds on this machine"
        raise argparse.ArgumentTypeError(f"wanted {wanted}, got {text}: {error}") from error
    return device


# --- train ------------------------------------------------------------------------------------


def train(options: argparse.Namespace) -> None:
    """Train a model of a folder's or file's data, and measure it on data held out.

    Of several processes, all train and measure, and the first one shows and writes.
    """
    team, _ = join(pick_device(options.device))
    folder = _open_folder(Path(options.out).expanduser())
    examples = own_data.read(options.data)
    parts = own_data.split(examples.rows)
    preparation = own_data.prepare(examples, parts[0], options.likelihood)
    torch.manual_seed(options.seed)
    model = MODELS[options.model](examples.shape, options.latents, preparation.new_likelihood())
    _start_output(model, preparation, parts[0])
    settings = _settings(options, examples, preparation)
    _claim(folder, settings)
    sizes = ", ".join(
        f"{len(part):,} for {use}"
        for part, use in zip(parts, ("training", "validation", "test"), strict=True)
    )
    if team.leads:
        print(f"data: {examples} ({sizes})")
        print(
            f"model: {options.model}, {options.latents} latent dimensions, {preparation.likelihood}"
        )

    # what a transform does, it does in every step; real numbers need it once
    once = preparation.scaling is not None
    data, validation = (preparation.beforehand(rows) if once else rows for rows in parts[:2])
    fit(
        model,
        data,
        elbo_objective,
        transform=None if once else preparation,
        validation=validation,
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        schedule=options.schedule,
        seed=options.seed,
        device=options.device,
        checkpoint=folder / "checkpoint.pt",
        callbacks=_callbacks(folder, options),
    )
    if team.leads:
        save_model(model, folder / "model.safetensors")
        _write_json(folder / "run.json", settings)
    results = _measure(model, preparation, parts[2], options, team)
    if not team.leads:
        return
    _write_json(folder / "results.json", results)
    if len(examples.shape) == 3:
        _draw_sheets(folder, model, preparation, parts[2], examples.shape)
    print(f"written: {folder}")


def _mlp(shape: tuple[int, ...], n_latents: int, likelihood: Likelihood) -> VAE:
    return mlp_vae(math.prod(shape), n_latents, likelihood=likelihood)


def _residual(shape: tuple[int, ...], n_latents: int, likelihood: Likelihood) -> VAE:
    return residual_vae(math.prod(shape), n_latents, likelihood=likelihood)


def _conv(shape: tuple[int, ...], n_latents: int, likelihood: Likelihood) -> VAE:
    if len(shape) != 3:
        fail("--model", "mlp or residual for rows of numbers, which are no images", "conv")
    channels, height, width = shape
    return conv_vae(n_latents, likelihood=likelihood, image=(channels, height, width))


MODELS = {"mlp": _mlp, "residual": _residual, "conv": _conv}


def _start_output(model: VAE, preparation: own_data.Preparation, rows: own_data.AnyRows) -> None:
    """Start a dense decoder of binary pixels at their means, which saves the first epochs."""
    is_dense = isinstance([*model.decoder.children()][-1], torch.nn.Linear)
    if preparation.likelihood == "bernoulli" and is_dense:
        means = own_data.mean_of(rows) / (255 if preparation.kind == "8-bit" else 1)
        set_output_bias(model, means.float())


def _settings(
    options: argparse.Namespace, examples: own_data.OwnData, preparation: own_data.Preparation
) -> dict[str, Any]:
    """Everything that a run is, for its folder."""
    chosen = ("model", "latents", "batch_size", "lr", "schedule", "seed", "epochs")
    return {
        "version": __version__,
        "examples": len(examples.rows),
        "shape": list(examples.shape),
        "kind": examples.kind,
        "likelihood": preparation.likelihood,
        **{name: getattr(options, name) for name in chosen},
        "scaling": None if preparation.scaling is None else preparation.scaling.tolist(),
    }


def _open_folder(folder: Path) -> Path:
    """Make the run's folder, and see before any work that it can be written and is free."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        fail("--out", "a folder that can be written", error)
    if any(folder.iterdir()) and not (folder / "run.json").is_file():
        fail(
            "--out", "a new folder, or that of a run to be continued", f"{folder} with other files"
        )
    return folder


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a new run; require the same ones of one to be continued.

    Another number of epochs, or other data of the same form, is for `fit` to judge.
    """
    if not (folder / "run.json").exists():
        _write_json(folder / "run.json", settings)
        return
    found = _read_run(folder)
    differing = [name for name in settings if name != "epochs" and found[name] != settings[name]]
    if differing:
        name = differing[0]
        wanted = f"a folder for a run whose {name} is {settings[name]}"
        fail("--out", wanted, f"{folder}, which holds one whose {name} is {found[name]}")


def _callbacks(folder: Path, options: argparse.Namespace) -> list[Callback]:
    log = CsvLog(folder / "history.csv")
    return [log, EarlyStopping(options.patience)] if options.patience else [log]


def _draw_sheets(
    folder: Path,
    model: VAE,
    preparation: own_data.Preparation,
    rows: Tensor,
    shape: tuple[int, ...],
) -> None:
    generator = Generator().manual_seed(0)
    drawn = model.sample(N_SAMPLES, generator)
    _sheet(preparation, drawn, shape).save(folder / "samples.png")
    originals = preparation(rows[:N_RECONSTRUCTIONS])
    pairs = torch.cat([originals, model.reconstruct(originals, generator)])
    _sheet(preparation, pairs, shape, len(originals)).save(folder / "reconstructions.png")


def _sheet(
    preparation: own_data.Preparation, x: Tensor, shape: tuple[int, ...], n_columns: int = 8
) -> Image.Image:
    """Draw what a model sees or draws; real numbers from the least to the greatest."""
    if preparation.scaling is not None:
        x = preparation.undo(x)
        x = (x - x.min()) / (x.max() - x.min())
    return own_data.sheet(x, shape, n_columns)


# --- evaluate and sample ----------------------------------------------------------------------


def evaluate(options: argparse.Namespace) -> None:
    """Measure a trained model on all examples of other data."""
    run, model, preparation = _load_run(Path(options.folder).expanduser())
    examples = own_data.read(options.data)
    if (list(examples.shape), examples.kind) != (run["shape"], run["kind"]):
        wanted = f"{run['kind']} data of shape {run['shape']}, as the run's"
        fail(options.data, wanted, f"{examples.kind} ones of shape {list(examples.shape)}")
    team, _ = join(pick_device(options.device))
    if team.leads:
        print(f"data: {examples}")
    _measure(model, preparation, examples.rows, options, team)


def sample(options: argparse.Namespace) -> None:
    """Write new examples to a sheet of pictures or an array."""
    path = Path(options.out).expanduser()
    if path.suffix not in (".png", ".npy"):
        fail("--out", "a file that ends in .png or .npy", path)
    if not path.parent.is_dir():
        fail("--out", "a file in a folder that exists", path)
    run, model, preparation = _load_run(Path(options.folder).expanduser())
    shape = tuple(run["shape"])
    if path.suffix == ".png" and len(shape) != 3:
        fail("--out", "a file that ends in .npy: the examples are no images", path)
    x = model.sample(options.n, Generator().manual_seed(options.seed), mean=options.mean)
    if path.suffix == ".png":
        _sheet(preparation, x, shape).save(path)
    else:
        np.save(path, _in_units(preparation, x, shape, options.mean))
    print(f"written: {path}")


def _in_units(
    preparation: own_data.Preparation, x: Tensor, shape: tuple[int, ...], is_mean: bool
) -> np.ndarray:
    """Return examples as the data had them; the channels of images come last."""
    x = preparation.undo(x)
    if preparation.scaling is None and not is_mean:
        x = x.round().byte()
    array = x.view(-1, *shape).numpy()
    if len(shape) == 3:
        array = array[:, 0] if shape[0] == 1 else array.transpose(0, 2, 3, 1)
    return array


def _measure(
    model: VAE,
    preparation: own_data.Preparation,
    rows: own_data.AnyRows,
    options: argparse.Namespace,
    team: Team,
) -> dict[str, Any]:
    """Print and return the bound and the log-likelihood, with their standard errors.

    Rows of a file are read as they are measured. Of several processes, each measures its share.
    """
    if len(rows) < 2:
        fail("data", "at least 2 examples, to tell the error of an average", len(rows))
    device = options.device
    pixels, generator = (Generator(d).manual_seed(team.rank) for d in ("cpu", device))
    model.to(device)

    def measured(positions: Tensor) -> Tensor:
        order, parts = positions.split(AT_ONCE), []
        batches = as_rows(rows, own_data.CPU).batches(order)
        shown = progress_bar(order, "measuring", team.leads)
        for batch, _ in zip(batches, shown, strict=True):
            x = preparation(batch, pixels).to(device)
            with torch.inference_mode():
                bound = model.elbo(x, generator)
                log_prob = model.log_prob_estimate(x, options.k, generator)
            parts.append(torch.stack([bound, log_prob], 1).cpu())
        return torch.cat(parts)

    bounds, log_probs = team.map_rows(measured, torch.arange(len(rows))).unbind(1)
    model.cpu()
    results: dict[str, Any] = {"examples": len(rows), "k": options.k}
    lines = [
        f"{len(rows):,} test examples:" if options.run is train else f"{len(rows):,} examples:"
    ]
    for name, values in (("bound", bounds), ("log-likelihood", log_probs)):
        nats = monte_carlo(values.double() - preparation.log_volume)
        bits = Estimate(*(bits_per_dimension(each, rows.shape[1]) for each in nats))
        results[name] = {"nats": float(nats.value), "error": float(nats.standard_error)}
        results[name]["bits_per_dimension"] = float(bits.value)
        results[name]["bits_error"] = abs(float(bits.standard_error))
        lines.append(
            f"  {name:<15} {nats.value:9.2f} ± {nats.standard_error:.2f} nats   "
            f"{bits.value:.4f} ± {bits.standard_error.abs():.4f} bits a dimension"
        )
    lines.append(
        f"  (log-likelihood: k = {options.k} importance samples, a lower bound on average)"
    )
    if preparation.scaling is not None:
        lines.append("  (of densities in the units of the data)")
    if (preparation.kind, preparation.likelihood) == ("8-bit", "bernoulli"):
        lines.append("  (of binary images, one drawn for each grey one)")
    if team.leads:
        print("\n".join(lines))
    return results


# --- the files of a run -----------------------------------------------------------------------


def _load_run(folder: Path) -> tuple[dict[str, Any], VAE, own_data.Preparation]:
    run = _read_run(folder)
    if not (folder / "model.safetensors").is_file():
        fail("RUN", "a finished run (the same train command continues it)", folder)
    model = load_model(folder / "model.safetensors")
    scaling = None if run["scaling"] is None else torch.tensor(run["scaling"], dtype=torch.float64)
    return run, model, own_data.Preparation(run["kind"], run["likelihood"], scaling)


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if not path.is_file():
        fail("RUN", "a folder that vaebook train wrote", folder)
    try:
        run = json.loads(path.read_bytes())
        for name in _RUN_KEYS:
            run[name]
    except (ValueError, KeyError, TypeError) as error:
        fail("RUN", "a folder that vaebook train wrote", f"{path}: {error!r}")
    return run


_RUN_KEYS = (
    *("version", "examples", "shape", "kind", "likelihood", "model", "latents"),
    *("batch_size", "lr", "schedule", "seed", "epochs", "scaling"),
)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
