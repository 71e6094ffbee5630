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
import errno
import itertools
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from vaebook import __version__, _files, own_data
from vaebook._checks import fail
from vaebook.distributed import Team, join
from vaebook.estimators import Estimate, monte_carlo
from vaebook.likelihoods import Likelihood, bits_per_dimension
from vaebook.model_files import load_model, save_model
from vaebook.rows import Batches, as_rows, checksum
from vaebook.training import (
    Callback,
    CsvLog,
    EarlyStopping,
    History,
    check_recipe,
    fit,
    pick_device,
    progress_bar,
)
from vaebook.vae import VAE, conv_vae, elbo_objective, mlp_vae, residual_vae, set_output_bias

if TYPE_CHECKING:
    from PIL import Image

N_SAMPLES, N_RECONSTRUCTIONS = 64, 10
AT_ONCE = 100  # test rows between two steps of the progress bar, and samples drawn together
MOST = 10**9  # of anything that is counted
MOST_PIXELS = 2**26  # of a sheet: of many more, Pillow takes it for an attack
MEMORY_OF_CONTAINER = Path("/sys/fs/cgroup/memory.max")  # in bytes, where Linux limits it
BYTES_A_WEIGHT = 4 * 4  # float32: the weight, its gradient and Adam's two moments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 2 for what the user can mend, 1 for divergence."""
    options = _parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # where it cannot show "±", results still count
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        return _stop(f"error: {error}", 2)
    except FloatingPointError as error:
        return _stop(f"error: {error}", 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        remedy = " (a smaller --batch-size, --latents or --model takes less)"
        wanted = f"less than there is{remedy if options.run is train else ''}"
        got = str(error) or type(error).__name__
        return _stop(f"error: memory: wanted {wanted}, got {got}", 2)
    except KeyboardInterrupt:
        hint = "; the same command continues the run" if options.run is train else ""
        return _stop(f"interrupted{hint}", 130)
    return 0


def _is_of_memory(error: Exception) -> bool:
    """Tell a lack of memory, for which PyTorch has no class on every device."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "tried to allocate" in said or "out of memory" in said


def _stop(message: str, status: int) -> int:
    with suppress(OSError):  # nobody may listen any more
        print("vaebook: " + " ".join(message.split()), file=sys.stderr)
    return status


def _say(text: str) -> None:
    """Print, if anybody listens: a closed pipe must not end a training."""
    try:
        print(text, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):  # which Windows says of a closed pipe
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what comes later


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vaebook", description="Train, measure and sample variational autoencoders."
    )
    parser.add_argument("--version", action="version", version=f"vaebook {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("train", help="train a model, or continue an interrupted run")
    command.set_defaults(run=train)
    command.add_argument("data", type=_path, metavar="FOLDER_OR_FILE", help=own_data.FORMATS)
    command.add_argument(
        "--out", type=_path, required=True, metavar="RUN", help="folder of the run"
    )
    command.add_argument("--model", choices=tuple(MODELS), default="mlp")
    command.add_argument("--epochs", type=_integer(1, MOST), default=20)
    command.add_argument(
        "--likelihood",
        choices=("auto", "bernoulli", "logistic", "gaussian"),
        default="auto",
        help="auto: bernoulli for binary numbers, logistic for 8 bits, gaussian for real ones",
    )
    command.add_argument("--latents", type=_integer(1, MOST), default=20, help="dimension of z")
    command.add_argument("--batch-size", type=_integer(1, MOST), default=128)
    command.add_argument("--lr", type=float, default=1e-3, help="peak of the learning rate")
    command.add_argument("--schedule", choices=("one-cycle", "constant"), default="one-cycle")
    command.add_argument(
        "--patience",
        type=_integer(1, MOST),
        help="stop after so many epochs without a better validation",
    )
    command.add_argument("--seed", type=_integer(0, 2**31 - 1), default=0)
    _add_measuring(command)

    command = commands.add_parser("evaluate", help="measure a trained model on other data")
    command.set_defaults(run=evaluate)
    command.add_argument("folder", type=_path, metavar="RUN", help="folder that train wrote")
    command.add_argument("data", type=_path, metavar="DATA", help=own_data.FORMATS)
    _add_measuring(command)

    command = commands.add_parser("sample", help="draw new examples from a trained model")
    command.set_defaults(run=sample)
    command.add_argument("folder", type=_path, metavar="RUN", help="folder that train wrote")
    command.add_argument("--n", type=_integer(1, MOST), default=N_SAMPLES)
    command.add_argument("--seed", type=_integer(0, 2**62 - 1), default=0)
    command.add_argument(
        "--mean", action="store_true", help="the expected example of each code: no draw of x"
    )
    command.add_argument(
        "--out", type=_path, required=True, help="a sheet (.png) or an array (.npy)"
    )
    return parser


def _add_measuring(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--k",
        type=_integer(1, MOST),
        default=100,
        help="importance samples for each log-likelihood",
    )
    command.add_argument("--device", type=_device, default="auto")


def _path(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"wanted a path, got {text}: {error}") from error
    if not text:  # Path("") would be the working folder
        raise argparse.ArgumentTypeError("wanted a path, got no name")
    return path


def _integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        with suppress(ValueError):
            if least <= int(text) <= most:
                return int(text)
        raise argparse.ArgumentTypeError(
            f"wanted an integer from {least} to {most:,}, got {text[:40]}"
        )

    return parse


def _device(text: str) -> torch.device:
    try:
        device = pick_device(text)
        if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # under torchrun, each has its own
        float(torch.ones(1, device=device) + 1)  # "meta" has tensors, but no numbers
        Generator(device)
    except Exception as error:  # of what a device lacks, of nearly any class
        wanted = "auto, or a device that PyTorch computes on, on this machine"
        reason = str(error).partition("\n")[0]
        raise argparse.ArgumentTypeError(f"wanted {wanted}, got {text}: {reason}") from error
    return device


# --- train ------------------------------------------------------------------------------------


def train(options: argparse.Namespace) -> None:
    """Train a model of a folder's or file's data, and measure it on data held out.

    Of several processes, all train and measure, and the first one shows and writes.
    """
    check_recipe(options.epochs, options.batch_size, options.lr, None, options.seed)
    team, options.device = join(options.device)
    # what the first process refuses, all refuse
    team.from_first(lambda: _check_folder(options.out, options.data))
    examples = own_data.read(options.data)
    parts = own_data.split(examples.rows)
    preparation = own_data.prepare(examples, parts[0], options.likelihood)
    model = _new_model(options, examples.shape, preparation)
    _start_output(model, preparation, parts[0])
    settings = _settings(options, examples, parts[0], preparation)
    with ExitStack() as held:
        team.from_first(lambda: held.enter_context(_claimed(options.out, settings)))
        if team.leads:
            _introduce(options, examples, parts, preparation)
        _train(options, settings, model, preparation, parts, team)


def _introduce(
    options: argparse.Namespace,
    examples: own_data.OwnData,
    parts: Sequence[own_data.AnyRows],
    preparation: own_data.Preparation,
) -> None:
    sizes = ", ".join(
        f"{len(part):,} for {use}"
        for part, use in zip(parts, ("training", "validation", "test"), strict=True)
    )
    _say(f"data: {examples} ({sizes})")
    _say(f"model: {options.model}, {options.latents} latent dimensions, {preparation.likelihood}")


def _train(
    options: argparse.Namespace,
    settings: dict[str, Any],
    model: VAE,
    preparation: own_data.Preparation,
    parts: Sequence[own_data.AnyRows],
    team: Team,
) -> None:
    """Train, measure and write. What cannot be written is told when all the rest is done."""
    folder, faults = options.out, list[OSError]()
    callbacks = _callbacks(options) if team.leads else []
    history = _fit(options, model, preparation, parts, callbacks, faults)
    if team.leads:
        with _noted(faults, "the model"):
            (folder / "results.json").unlink(missing_ok=True)  # of a shorter run
            save_model(model, folder / "model.safetensors")
            _write_json(folder / "run.json", {**settings, "trained_epochs": history.n_epochs})
    results = _measure(model, preparation, parts[2], options, team)
    if not team.leads:
        return
    with _noted(faults, "the results or sheets"):
        _write_json(folder / "results.json", results)
        if len(settings["shape"]) == 3:
            _draw_sheets(folder, model, preparation, parts[2], settings["shape"])
    with _noted(faults, "what is printed"):
        _report(results, preparation, options)
    if faults:
        raise OSError("; ".join(map(str, faults)))
    _say(f"written: {folder}")


def _fit(
    options: argparse.Namespace,
    model: VAE,
    preparation: own_data.Preparation,
    parts: Sequence[own_data.AnyRows],
    callbacks: list[Callback],
    faults: list[OSError],
) -> History:
    # what a transform does, it does in every step; real numbers need it once
    once = preparation.scaling is not None
    data, validation = (preparation.beforehand(rows) if once else rows for rows in parts[:2])
    try:
        return fit(
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
            checkpoint=options.out / "checkpoint.pt",
            callbacks=callbacks,
        )
    except OSError as error:
        if not hasattr(error, "history"):  # the model is not trained to its end
            raise
        faults.append(error)
        return error.history


@contextmanager
def _noted(faults: list[OSError], what: str) -> Iterator[None]:
    """Note what could not be written, and go on: what was learned must not be lost."""
    try:
        yield
    except OSError as error:
        faults.append(OSError(f"{what} could not be written: {error}"))


def _callbacks(options: argparse.Namespace) -> list[Callback]:
    log = CsvLog(options.out / "history.csv")
    return [log, EarlyStopping(options.patience)] if options.patience else [log]


# --- the model --------------------------------------------------------------------------------


def _new_model(
    options: argparse.Namespace, shape: tuple[int, ...], preparation: own_data.Preparation
) -> VAE:
    def build() -> VAE:
        return MODELS[options.model](shape, options.latents, preparation.new_likelihood())

    with torch.device("meta"):
        n_weights = sum(weight.numel() for weight in build().parameters())
    needed, there = n_weights * BYTES_A_WEIGHT, _memory(options.device)
    if needed > there:
        wanted = f"one that trains in the {there / 2**30:.1f} GiB of {options.device}"
        hint = "for pictures, conv is smaller; so are all with fewer --latents"
        got = f"{options.model} with {n_weights:,} weights, which takes {needed / 2**30:.1f} GiB"
        fail("--model", f"{wanted} ({hint})", got)
    torch.manual_seed(options.seed)
    return build()


def _memory(device: torch.device) -> float:
    """Bytes of a device's memory, as far as the system tells them."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if sys.platform == "win32":
        return math.inf
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no such file, or "max"
        there = min(there, int(MEMORY_OF_CONTAINER.read_text(encoding="ascii")))
    return there


def _mlp(shape: tuple[int, ...], n_latents: int, likelihood: Likelihood) -> VAE:
    return mlp_vae(math.prod(shape), n_latents, likelihood=likelihood)


def _residual(shape: tuple[int, ...], n_latents: int, likelihood: Likelihood) -> VAE:
    return residual_vae(math.prod(shape), n_latents, likelihood=likelihood)


def _conv(shape: tuple[int, ...], n_latents: int, likelihood: Likelihood) -> VAE:
    if len(shape) != 3:
        fail("--model", "mlp or residual for rows of numbers, which are no images", "conv")
    channels, height, width = shape
    if min(height, width) < 2:
        fail("--model", "mlp or residual for pictures of one line or column", "conv")
    return conv_vae(n_latents, likelihood=likelihood, image=(channels, height, width))


MODELS: dict[str, Callable[[tuple[int, ...], int, Likelihood], VAE]]
MODELS = {"mlp": _mlp, "residual": _residual, "conv": _conv}


def _start_output(model: VAE, preparation: own_data.Preparation, rows: own_data.AnyRows) -> None:
    """Start a dense decoder of binary pixels at their means, which saves the first epochs."""
    is_dense = isinstance([*model.decoder.children()][-1], torch.nn.Linear)
    if preparation.likelihood == "bernoulli" and is_dense:
        means = own_data.mean_of(rows) / (255 if preparation.kind == "8-bit" else 1)
        set_output_bias(model, means.float())


# --- the folder of a run ----------------------------------------------------------------------


def _settings(
    options: argparse.Namespace,
    examples: own_data.OwnData,
    rows: own_data.AnyRows,
    preparation: own_data.Preparation,
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
        "data": checksum(as_rows(rows, own_data.CPU)),
        "scaling": None if preparation.scaling is None else preparation.scaling.tolist(),
    }


WRITABLE = "a folder that can be written"
LOCK = ".lock"  # stays in the folder: to delete it would let two processes in


def _check_folder(folder: Path, data: Path) -> None:
    """See before any work that a run's folder is free, or can be made, and make nothing."""
    if data.is_dir() and folder.resolve().is_relative_to(data.resolve()):
        fail("--out", "a folder outside of the data, of which its pictures are none", folder)
    lowest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=lowest):
            pass
    except OSError as error:
        fail("--out", WRITABLE, error)
    if lowest != folder:
        return
    with _held(folder):
        names = [path.name for path in folder.iterdir()]
    if "run.json" not in names and not all(name.startswith(".") for name in names):
        wanted = "a new folder, or that of a run to be continued"
        fail("--out", wanted, f"{folder} with other files")


@contextmanager
def _claimed(folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Make the folder of a run, and keep it from others while this one lasts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail("--out", WRITABLE, error)
    with _held(folder):
        if (folder / "run.json").exists():
            _check_settings(folder, settings)
        else:
            _write_json(folder / "run.json", settings)
        yield


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other processes from writing a folder."""
    with (folder / LOCK).open("a") as file:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            fail("--out", "a folder that no other process is writing", folder)
        except OSError:  # there are file systems without locks
            pass
        yield


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Require the settings of the run that is to be continued.

    At a constant rate, another number of epochs is for `fit` to judge.
    """
    found = _read_run(folder)
    differing = [name for name in settings if found.get(name) != settings[name]]
    if differing == ["epochs"] and settings["schedule"] == "constant":
        return
    if differing == ["epochs"]:
        wanted = (
            f"{found['epochs']}, over which the rate of the run in {folder} rises and falls (only "
            "a run of --schedule constant can be continued to another number)"
        )
        fail("--epochs", wanted, settings["epochs"])
    for name in (name for name in differing if name != "epochs"):
        if name in ("data", "scaling"):
            wanted, got = "a folder for a run of these data", "one of other data"
        else:
            wanted = f"a folder for a run whose {name} is {settings[name]}"
            got = f"one whose {name} is {found.get(name)}"
        fail("--out", wanted, f"{folder}, which holds {got}")


def _draw_sheets(
    folder: Path,
    model: VAE,
    preparation: own_data.Preparation,
    rows: own_data.AnyRows,
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
    run, model, preparation = _load_run(options.folder)
    # a model of pixels that were drawn for grey ones measures binary ones as well
    examples = own_data.read(options.data, None if preparation.draws_pixels else run["kind"])
    if preparation.draws_pixels and examples.kind == "binary":
        preparation = own_data.Preparation("binary", preparation.likelihood)
    if (list(examples.shape), examples.kind) != (run["shape"], preparation.kind):
        wanted = f"{run['kind']} data of shape {run['shape']}, as the run's"
        fail(str(options.data), wanted, f"{examples.kind} ones of shape {list(examples.shape)}")
    team, options.device = join(options.device)
    if team.leads:
        _say(f"data: {examples}")
    results = _measure(model, preparation, examples.rows, options, team)
    if team.leads:
        _report(results, preparation, options)


def sample(options: argparse.Namespace) -> None:
    """Write new examples to a sheet of pictures or an array."""
    path, suffix = options.out, options.out.suffix.lower()
    if suffix not in (".png", ".npy"):
        fail("--out", "a file that ends in .png or .npy", path)
    if not path.parent.is_dir():
        fail("--out", "a file in a folder that exists", path)
    _files.prepare(path, "--out", ".tmp")
    run, model, preparation = _load_run(options.folder)
    shape = tuple(run["shape"])
    pieces = _draw(model, options)
    if suffix == ".npy":
        arrays = (_in_units(preparation, x, shape, options.mean) for x in pieces)
        _write_array(path, arrays, options.n)
    else:
        _check_sheet(path, shape, options.n)
        with _files.whole_file(path) as unfinished:
            _sheet(preparation, torch.cat([*pieces]), shape).save(unfinished, "PNG")
    _say(f"written: {path}")


def _draw(model: VAE, options: argparse.Namespace) -> Iterator[Tensor]:
    """Draw examples, a few at a time: all may be more than memory holds."""
    generator = Generator().manual_seed(options.seed)
    for start in range(0, options.n, AT_ONCE):
        yield model.sample(min(AT_ONCE, options.n - start), generator, mean=options.mean)


def _write_array(path: Path, pieces: Iterator[np.ndarray], n: int) -> None:
    """Write an array of `n` examples as they are drawn."""
    first = next(pieces)
    if (needed := n * first[0].nbytes) > (free := shutil.disk_usage(path.parent).free):
        wanted = f"fewer examples, for the {free / 2**30:.1f} GiB free in {path.parent}"
        fail("--n", wanted, f"{n}, which take {needed / 2**30:.1f} GiB")
    descr = np.lib.format.dtype_to_descr(first.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": (n, *first.shape[1:])}
    with _files.whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in itertools.chain([first], pieces):
            file.write(piece.tobytes())


def _check_sheet(path: Path, shape: tuple[int, ...], n: int) -> None:
    if len(shape) != 3:
        fail("--out", "a file that ends in .npy: the examples are no images", path)
    height, width = (side + 2 for side in shape[1:])  # with the gap to the next picture
    most = max(1, MOST_PIXELS // (height * width))
    if n > most:
        fail("--n", f"at most {most:,} examples for one sheet (a file .npy holds more)", n)


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
    """Return the bound and the log-likelihood, with their standard errors.

    Rows of a file are read as they are measured. Of several processes, each measures its share.
    """
    if len(rows) < 2:
        fail("data", "at least 2 examples, to tell the error of an average", len(rows))
    device = options.device
    pixels, generator = (Generator(d).manual_seed(team.rank) for d in ("cpu", device))
    model.to(device)

    def measured(positions: Tensor) -> Tensor:
        batches, parts = Batches(as_rows(rows, own_data.CPU), positions, AT_ONCE), []
        for batch in progress_bar(batches, "measuring", team.leads):
            x = preparation(batch, pixels).to(device)
            with torch.inference_mode():
                bound = model.elbo(x, generator)
                log_prob = model.log_prob_estimate(x, options.k, generator)
            parts.append(torch.stack([bound, log_prob], 1).cpu())
        return torch.cat(parts)

    bounds, log_probs = team.map_rows(measured, torch.arange(len(rows))).unbind(1)
    model.cpu()
    results: dict[str, Any] = {"examples": len(rows), "k": options.k}
    for name, values in zip(MEASURES, (bounds, log_probs), strict=True):
        nats = monte_carlo(values.double() - preparation.log_volume)
        bits = Estimate(*(bits_per_dimension(each, rows.shape[1]) for each in nats))
        results[name] = {
            "nats": float(nats.value),
            "error": float(nats.standard_error),
            "bits_per_dimension": float(bits.value),
            "bits_error": abs(float(bits.standard_error)),
        }
    return results


MEASURES = ("bound", "log-likelihood")


def _report(
    results: dict[str, Any], preparation: own_data.Preparation, options: argparse.Namespace
) -> None:
    """Print what :func:`_measure` found."""
    what = "test examples" if options.run is train else "examples"
    lines = [f"{results['examples']:,} {what}:"]
    for name in MEASURES:
        nats, error, bits, bits_error = results[name].values()
        lines.append(
            f"  {name:<15} {nats:9.2f} ± {error:.2f} nats   "
            f"{bits:.4f} ± {bits_error:.4f} bits a dimension"
        )
    lines.append(
        f"  (log-likelihood: k = {results['k']} importance samples, a lower bound on average)"
    )
    if preparation.scaling is not None:
        lines.append("  (of densities in the units of the data)")
    if preparation.draws_pixels:
        lines.append("  (of binary images, one drawn for each grey one)")
    _say("\n".join(lines))


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
        for name in ("shape", "kind", "likelihood", "scaling"):
            run[name]
    except (ValueError, KeyError, TypeError) as error:
        fail("RUN", "a folder that vaebook train wrote", f"{path}: {error!r}")
    return run


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _files.write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
