"""Data of your own: from a folder of pictures or a file of numbers to rows that a model takes.

::

    examples = own_data.read("photos")             # a folder, an IDX file, .npy or .npz
    train, validation, test = own_data.split(examples.rows)
    preparation = own_data.prepare(examples, train)
    preparation.likelihood                         # what the model's decoder should say
    x = preparation(train)                         # rows as this likelihood takes them

What the numbers are decides what may be said of them. Binary pixels have a Bernoulli distribution,
grey levels of 8 bits a discrete one over 256 levels, and real numbers a density.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from vaebook._checks import check_at_least, check_in, fail
from vaebook.data import dynamic_binarization, fixed_binarization, read_idx
from vaebook.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian, Likelihood
from vaebook.rows import BYTES_AT_ONCE, MappedRows, as_rows

if TYPE_CHECKING:
    from PIL import Image

FORMATS = "a folder of pictures of one size, an IDX file, .npy, or .npz with one array"
PICTURES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
PICTURE = "a picture of 8 bits, grey or colour, without transparency"
GREY_MODES, PALETTE_MODES = frozenset(("1", "L", "LA")), frozenset(("P", "PA"))
ALL_MODES = GREY_MODES | PALETTE_MODES | {"RGB", "RGBA", "CMYK", "YCbCr"}
LEAST_EXAMPLES = 20  # fewer leave no test set whose error can be told
BYTES_IN_MEMORY = 2**32  # larger data stay in a file and are read piece by piece
ROWS_AT_ONCE = 1000
CPU = torch.device("cpu")

# The likelihoods of each kind of numbers, the usual one first.
LIKELIHOODS = {
    "binary": ("bernoulli",),
    "8-bit": ("logistic", "bernoulli"),
    "real": ("gaussian",),
}
NUMBERS = {
    "binary": "two levels, 0 and 1 or 0 and 255",
    "8-bit": "whole numbers from 0 to 255",
    "real": "numbers",
}

AnyRows = Shaped[Tensor, "n dimensions"] | MappedRows


@dataclass(frozen=True)
class OwnData:
    """Data as rows, and what a row was.

    Attributes
    ----------
    rows
        Shape (n, n_dimensions): uint8 if binary or of 8 bits, float32 or float64 if real. A tensor;
        of more than 4 GiB, the :class:`~vaebook.rows.MappedRows` of a file.
    shape
        Of one example: (channels, height, width), or (n_dimensions,) if it is no image.
    kind
        ``"binary"``, ``"8-bit"`` or ``"real"``.
    """

    rows: AnyRows
    shape: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        if len(self.shape) == 1:
            what = f"rows of {self.shape[0]}"
        else:
            channels, height, width = self.shape
            colour = {1: "", 3: "colour "}[channels]
            what = f"{colour}images of {height} x {width}"
        return f"{len(self.rows):,} {what} {self.kind} numbers"


# --- reading ----------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], kind: str | None = None) -> OwnData:
    """Read a folder of pictures or a file of numbers.

    Pictures are turned upright as their camera noted. A picture of a palette is grey if all that it
    shows is, unless the first picture is a colour one. An alpha channel is dropped where it is
    opaque, and refused elsewhere, as are films and colours of 16 bits.

    Parameters
    ----------
    path
        A folder of pictures (with its subfolders, in the order of their names) of one size, all
        grey or all colour; or an IDX file, plain or compressed; or a NumPy file, ``.npy``, or
        ``.npz`` with one array. What is more than 4 GiB stays in its file; pictures and an ``.npz``
        go through a temporary one, and a compressed IDX file is unpacked in memory. Hidden files
        and folders, whose names begin with a dot, are left out; a folder to which several links
        lead is read once.
    kind
        As for :func:`from_array`.

    Returns
    -------
    OwnData
        The data.

    Raises
    ------
    ValueError
        If a picture or file cannot be read, or its numbers are not as :func:`from_array` wants.
    FileNotFoundError
        If there is nothing at `path`.
    """
    name, path = os.fspath(path), Path(path).expanduser()
    if not name or not path.exists():  # Path("") would be the working folder
        raise FileNotFoundError(f"path: wanted an existing folder or file, got {name or 'no name'}")
    if path.is_dir():
        array = _read_pictures(path)
    elif path.suffix.lower() in (".npy", ".npz"):
        array = _read_numpy(path)
    else:
        array = _read_idx(path)
    return from_array(array, str(path), kind)


def from_array(array: np.ndarray, argument: str = "array", kind: str | None = None) -> OwnData:
    """Take an array's rows, and see what kind of numbers they hold.

    Parameters
    ----------
    array
        Shape (n, n_dimensions), (n, height, width), (n, height, width, channels) or (n, channels,
        height, width) with 1 or 3 channels. Whole numbers lie between 0 and 255.
    argument
        What an error calls it.
    kind
        The kind to take them as, for a model of this kind: a few pictures of 8 bits may hold but
        black and white. None for the narrowest.

    Returns
    -------
    OwnData
        Binary if all numbers are 0 or 1 (or, of whole ones, 0 or 255), of 8 bits if all are whole
        by type, otherwise real.

    Raises
    ------
    ValueError
        If the shape or type is another one, or a number is not finite or lies out of range.
    """
    check_in("kind", kind, (None, *LIKELIHOODS))
    if array.dtype.kind not in "buif":
        fail(argument, "numbers", f"type {array.dtype}")
    if array.dtype.itemsize > 8:
        fail(argument, "numbers of at most 64 bits", f"type {array.dtype}")
    if not 2 <= array.ndim <= 4 or array.size == 0:
        hint = " (array[:, None] has one number a row)" if array.ndim == 1 else ""
        wanted = f"at least one example, as a row or an image{hint}"
        fail(argument, wanted, f"shape {array.shape}")
    if array.ndim == 4:
        array = _channels_first(array, argument)
    shape = (1, *array.shape[1:]) if array.ndim == 3 else array.shape[1:]
    kind = _kind_of(array, argument, kind)

    def convert(piece: np.ndarray) -> Tensor:
        piece = piece.reshape(len(piece), -1)
        if kind == "binary":
            piece = piece > 0
        dtype = np.promote_types(piece.dtype, np.float32) if kind == "real" else np.uint8
        return torch.from_numpy(np.array(piece, dtype, order="C"))

    is_large = isinstance(array, np.memmap) and array.nbytes > BYTES_IN_MEMORY
    return OwnData(MappedRows(array, convert) if is_large else convert(array), shape, kind)


def _kind_of(array: np.ndarray, argument: str, wanted: str | None) -> str:
    """Return the kind that is wanted, or the narrowest, if the numbers allow it."""
    low, high = np.transpose([(piece.min(), piece.max()) for _, piece in _pieces(array)])
    low, high = low.min(), high.max()
    if not np.isfinite([low, high]).all():
        _name_row_that_is_not_finite(array, argument)
    is_whole = array.dtype.kind in "ui"
    top = 255 if is_whole and high > 1 else 1
    allowed = {
        "binary": all(((piece == 0) | (piece == top)).all() for _, piece in _pieces(array)),
        "8-bit": is_whole and low >= 0 and high <= 255,
        "real": not is_whole or wanted == "real",
    }
    kind = wanted or next((kind for kind in allowed if allowed[kind]), None)
    if kind is None or not allowed[kind]:
        whole = f"{NUMBERS['8-bit']}, or floats"
        numbers = f"{wanted} data, {NUMBERS[wanted]}" if wanted else whole
        fail(argument, numbers, f"{array.dtype} from {low} to {high}")
    return kind


def _name_row_that_is_not_finite(array: np.ndarray, argument: str) -> NoReturn:
    row = next(
        start + int(np.flatnonzero(rows)[0])
        for start, piece in _pieces(array)
        if (rows := ~np.isfinite(piece.reshape(len(piece), -1)).all(1)).any()
    )
    fail(argument, "finite numbers", f"NaN or infinity in row {row}")


def _pieces(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield an array piece by piece, which may be a file larger than memory: (first row, rows)."""
    n_rows = max(1, BYTES_AT_ONCE // max(1, array[0].nbytes))
    for start in range(0, len(array), n_rows):
        yield start, array[start : start + n_rows]


def _channels_first(array: np.ndarray, argument: str) -> np.ndarray:
    if array.shape[3] in (1, 3):
        return array.transpose(0, 3, 1, 2)
    if array.shape[1] in (1, 3):
        return array
    return fail(argument, "images of 1 or 3 channels, first or last", f"shape {array.shape}")


def _read_idx(path: Path) -> np.ndarray:
    try:
        return read_idx(path, mapped=path.stat().st_size > BYTES_IN_MEMORY)
    except ValueError as error:  # a table or a single picture, say
        raise ValueError(f"{error} (what is read: {FORMATS})") from error


def _read_numpy(path: Path) -> np.ndarray:
    is_large = path.suffix.lower() == ".npy" and path.stat().st_size > BYTES_IN_MEMORY
    with _numpy_faults_named(path):
        content = np.load(path, mmap_mode="r" if is_large else None, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return content
    with content:
        if len(content.files) != 1:
            fail(str(path), "one array in it", f"{len(content.files)}: {content.files}")
        (packed,) = content.zip.infolist()
        is_large = packed.file_size > BYTES_IN_MEMORY
        if is_large:
            _check_room(str(path), "an array that finds", packed.file_size)
        with _numpy_faults_named(path):
            if is_large:
                return _unpacked(content.zip, packed)
            return np.asarray(content[content.files[0]])  # of a file that is no array, bytes


def _unpacked(archive: zipfile.ZipFile, packed: zipfile.ZipInfo) -> np.ndarray:
    """Map an array of an archive: for that, it must have a file of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return np.load(archive.extract(packed, folder), mmap_mode="r", allow_pickle=False)


@contextmanager
def _numpy_faults_named(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of a damaged file, of nearly any class
        fail(str(path), "a NumPy file of numbers", error)


def _read_pictures(folder: Path) -> np.ndarray:
    paths = [*_pictures_in(folder, set())]
    if not paths:
        fail(str(folder), f"pictures ({', '.join(sorted(PICTURES))}) in this folder", "none")
    first = _read_picture(paths[0])
    pictures = _room_for(str(folder), (len(paths), *first.shape))
    for i, path in enumerate(paths):
        picture = _read_picture(path, first)
        if picture.shape != first.shape:
            wanted = f"pictures of one size, all grey or all colour: {_form(first)}, as {paths[0]}"
            fail(str(path), wanted, _form(picture))
        pictures[i] = picture
    return pictures


def _pictures_in(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Find the pictures in a folder and in those below it: once, though links may form a loop."""
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        fail(str(folder), "a folder that can be read", error)
    for path in paths:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _pictures_in(path, seen)
        elif path.suffix.lower() in PICTURES:
            yield path


def _room_for(argument: str, shape: tuple[int, ...]) -> np.ndarray:
    """Make an array of bytes: if it is larger than memory should hold, in a temporary file."""
    n_bytes = math.prod(shape)
    if n_bytes <= BYTES_IN_MEMORY:
        return np.empty(shape, np.uint8)
    _check_room(argument, "pictures whose pixels find", n_bytes)
    with tempfile.TemporaryFile() as file:  # its room is free again when the array is gone
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _check_room(argument: str, what_finds: str, n_bytes: int) -> None:
    place = tempfile.gettempdir()
    if (free := shutil.disk_usage(place).free) < n_bytes:
        wanted = f"{what_finds} room in {place} (TMPDIR), {n_bytes / 2**30:.1f} GiB"
        fail(argument, wanted, f"{free / 2**30:.1f} GiB free")


def _form(picture: np.ndarray) -> str:
    height, width = picture.shape[:2]
    return f"{'grey' if picture.ndim == 2 else 'colour'} {height} x {width}"


def _read_picture(path: Path, like: np.ndarray | None = None) -> np.ndarray:
    """Read a picture, shape (height, width) if it is grey, otherwise (height, width, 3)."""
    mode, pixels = _read_pixels(path)
    if pixels[..., 3:].min(initial=255) < 255:
        fail(str(path), PICTURE, f"mode {mode} with transparent pixels")
    is_grey = mode in GREY_MODES
    if mode in PALETTE_MODES and (like is None or like.ndim == 2):  # among colours, grey is one
        is_grey = bool((pixels[..., :1] == pixels[..., 1:3]).all())
    return pixels[..., 0] if is_grey else pixels[..., :3]


def _read_pixels(path: Path) -> tuple[str, np.ndarray]:
    """Return a picture's mode, and red, green, blue and, if it has any, alpha of each pixel."""
    from PIL import Image, ImageOps  # takes longer to import than many a use of this module

    try:
        with Image.open(path) as picture:
            # the second view that a phone may add to a photograph is no frame
            n_frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            mode = picture.mode
            # Pillow cuts colours of 16 bits to 8, and says so in its name of the format alone
            is_deep = any(";16" in str(tile[3]) for tile in picture.tile)
            if n_frames == 1 and not is_deep and mode in ALL_MODES:
                ImageOps.exif_transpose(picture, in_place=True)
                has_alpha = "A" in picture.getbands() or "transparency" in picture.info
                return mode, np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))
            depth = " of 16 bits" if is_deep else ""
            fault = f"mode {mode}{depth}" if n_frames == 1 else f"{n_frames} frames"
    except Exception as error:  # of a damaged file, of nearly any class
        fault = str(error)
    return fail(str(path), PICTURE, fault)


# --- splitting and preparing ------------------------------------------------------------------


def split(
    rows: AnyRows,
) -> tuple[AnyRows, Shaped[Tensor, "held_out dimensions"], Shaped[Tensor, "held_out dimensions"]]:
    """Split into training, validation and test rows, always in the same way.

    Parameters
    ----------
    rows
        At least 20 examples.

    Returns
    -------
    tuple of three
        Training, validation and test rows. The last two are a tenth each, and at most 1,000:
        tensors. The first are of the kind of `rows`.

    Raises
    ------
    ValueError
        If there are too few examples.
    """
    if len(rows) < LEAST_EXAMPLES:
        fail("data", f"at least {LEAST_EXAMPLES} examples", len(rows))
    n_held_out = min(len(rows) // 10, 1000)
    order = torch.randperm(len(rows), generator=Generator().manual_seed(0))
    test, validation, train = order.tensor_split([n_held_out, 2 * n_held_out])
    most = rows.part(train) if isinstance(rows, MappedRows) else rows[train]
    return most, rows[validation], rows[test]


@dataclass(frozen=True)
class Preparation:
    """The way from rows of :class:`OwnData` to what a likelihood takes, and back.

    Called with rows alone, it does the same each time. As the argument ``transform`` of
    :func:`vaebook.training.fit` it draws grey pixels for a Bernoulli likelihood anew each time.
    Real numbers are better prepared once, before training.

    Attributes
    ----------
    kind, likelihood
        A kind of numbers, and the name of one of its `LIKELIHOODS`.
    scaling
        Mean and standard deviation of each dimension of real numbers, over the training rows.
    """

    kind: str
    likelihood: str
    scaling: Float[Tensor, "2 dimensions"] | None = None

    def __call__(
        self, rows: Shaped[Tensor, "n dimensions"], generator: Generator | None = None
    ) -> Float[Tensor, "n dimensions"]:
        """Prepare rows for the model."""
        if self.scaling is not None:
            mean, std = self.scaling  # in float64: a mean may be large beside its deviation
            return ((rows - mean) / std).float()
        if self.kind == "binary":
            return rows.float()
        if self.likelihood == "logistic":
            return rows.float() / 255
        if generator is None:
            return fixed_binarization(rows, seed=0)
        return dynamic_binarization(rows, generator)

    def beforehand(self, rows: AnyRows) -> AnyRows:
        """Prepare rows before training; those of a file, when they are read."""
        return rows.then(self) if isinstance(rows, MappedRows) else self(rows)

    def undo(self, x: Float[Tensor, "n dimensions"]) -> Float[Tensor, "n dimensions"]:
        """Bring what a model drew to the units of the data."""
        if self.scaling is not None:
            mean, std = self.scaling
            return x * std + mean
        return x if self.kind == "binary" else x * 255

    @property
    def draws_pixels(self) -> bool:
        """Whether binary pixels are drawn, of which grey levels are the probabilities."""
        return (self.kind, self.likelihood) == ("8-bit", "bernoulli")

    @property
    def log_volume(self) -> float:
        """What a log-density of prepared rows is greater by than that of the data, in nats."""
        return 0.0 if self.scaling is None else float(self.scaling[1].log().sum())

    def new_likelihood(self) -> Likelihood:
        """Make the likelihood for a model of prepared rows."""
        if self.likelihood == "gaussian":
            return Gaussian(std=None)
        return DiscretizedLogistic() if self.likelihood == "logistic" else Bernoulli()


def prepare(examples: OwnData, train: AnyRows, likelihood: str = "auto") -> Preparation:
    """Choose a likelihood by the kind of the numbers, and the scale by the training rows.

    Parameters
    ----------
    examples
        The data.
    train
        Its training rows.
    likelihood
        One of the `LIKELIHOODS` of this kind; ``"auto"`` for the first.

    Returns
    -------
    Preparation
        Real numbers are standardised, dimension by dimension.

    Raises
    ------
    ValueError
        If the likelihood does not suit the numbers, or a real dimension is constant, or so large
        or small that its variance over- or underflows.
    """
    usual = LIKELIHOODS[examples.kind]
    check_in(f"likelihood (of {examples.kind} data)", likelihood, ("auto", *usual))
    chosen = usual[0] if likelihood == "auto" else likelihood
    if chosen != "gaussian":
        return Preparation(examples.kind, chosen)
    mean, varies = mean_of(train), mean_of(train, lambda rows: rows != train[0]) > 0
    if not varies.all():
        is_image = len(examples.shape) == 3
        remedy = "give levels of 8 bits as whole numbers" if is_image else "leave it out"
        wanted = f"numbers that vary: a constant has no density, so {remedy}"
        fail("data", wanted, f"constant dimension {int(varies.int().argmin())} of {len(varies)}")
    variance = mean_of(train, lambda rows: (rows - mean).square()) * len(train) / (len(train) - 1)
    fits = variance.isfinite() & (variance >= torch.finfo(variance.dtype).tiny)
    if not fits.all():
        d = int(fits.int().argmin())
        wanted = "numbers whose variance float64 can hold: rescale them"
        fail("data", wanted, f"{variance[d]:.3g} in dimension {d} of {len(fits)}")
    return Preparation(examples.kind, chosen, torch.stack([mean, variance.sqrt()]))


def mean_of(
    rows: AnyRows, function: Callable[[Tensor], Tensor] = Tensor.double
) -> Float[Tensor, " dimensions"]:
    """Average a function of the rows, in memory or not: the mean of each dimension, in float64."""
    order = torch.arange(len(rows)).split(ROWS_AT_ONCE)
    sums = [function(batch).double().sum(0) for batch in as_rows(rows, CPU).batches(order)]
    return torch.stack(sums).sum(0) / len(rows)


# --- showing ----------------------------------------------------------------------------------


def sheet(
    rows: Float[Tensor, "n dimensions"], shape: tuple[int, ...], n_columns: int = 8
) -> Image.Image:
    """Lay images out side by side on one sheet.

    Parameters
    ----------
    rows
        Images as rows, 0 (black) to 1 (white); clipped.
    shape
        Of one: (channels, height, width) with 1 or 3 channels.
    n_columns
        Images in a line.

    Returns
    -------
    PIL.Image.Image
        With a line of two grey pixels between images.
    """
    from PIL import Image

    check_at_least("n_columns", n_columns, 1)
    channels, height, width = shape
    n_columns = min(n_columns, len(rows))
    n_lines = -(-len(rows) // n_columns)
    cell = (height + 2, width + 2)
    page = np.full((n_lines * cell[0] - 2, n_columns * cell[1] - 2, channels), 128, np.uint8)
    images = (rows.clamp(0, 1) * 255).round().byte().view(-1, *shape).permute(0, 2, 3, 1).cpu()
    for i, image in enumerate(images.numpy()):
        top, left = i // n_columns * cell[0], i % n_columns * cell[1]
        page[top : top + height, left : left + width] = image
    return Image.fromarray(page[..., 0] if channels == 1 else page)
