"""Image sets, binarizations and toy densities against checksums, counts and quadrature."""

import bz2
import functools
import gzip
import hashlib
import http.server
import lzma
import math
import re
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.datasets import load_wine

from vaebook import data
from vaebook.taxonomy import TractableDensity

many = settings(deadline=None, derandomize=True, max_examples=60)
COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def idx_bytes(array):
    """Write the IDX format down independently of the reader."""
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write_folder(folder, ending="", dotted=False, n_train=5, n_test=3):
    """Write four small IDX files; return the arrays by file name."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (n, 4, 6), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, n, dtype=np.uint8)
    for name, array in arrays.items():
        file = name.replace("-idx", ".idx") if dotted else name
        (folder / (file + ending)).write_bytes(COMPRESS[ending](idx_bytes(array)))
    return arrays


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VAEBOOK_CACHE", str(folder))
    return folder


@pytest.fixture
def no_package_files(tmp_path, monkeypatch):
    """Point the reader at an empty package folder; return where its MNIST files would be."""
    monkeypatch.setattr(data, "files", lambda package: tmp_path / package)
    folder = tmp_path / "vaebook" / "datasets" / "mnist"
    folder.mkdir(parents=True)
    return folder


# --------------------------------------------------------------------------- MNIST


def test_mnist_is_the_published_set(cache):
    digits = data.load()
    train, test = digits.train_and_validation, digits.test
    assert train.images.shape == (60000, 28, 28)
    assert test.images.shape == (10000, 28, 28)
    # Class sizes as published with the set; the files themselves are checked by SHA-256.
    assert np.bincount(train.labels).tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert np.bincount(test.labels).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)  # the usual constants
    assert train.images.std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_validation_is_every_sixth_digit_of_the_training_files(cache):
    digits = data.load()
    both = digits.train_and_validation
    assert [len(part) for part in digits] == [50000, 10000, 10000]
    assert np.array_equal(digits.validation.images, both.images[5::6])
    assert np.array_equal(digits.validation.labels, both.labels[5::6])
    rest = np.delete(np.arange(60000), np.s_[5::6])
    assert np.array_equal(digits.train.images, both.images[rest])
    assert np.array_equal(digits.train.labels, both.labels[rest])


@pytest.mark.parametrize("n", [0, 1, 5, 6, 7, 12])
def test_a_folder_of_any_size_is_split(tmp_path, n):
    arrays = write_folder(tmp_path, n_train=n)
    images = data.load(folder=tmp_path)
    assert len(images.validation) == n // 6
    assert len(images.train) == n - n // 6
    both = images.train_and_validation
    assert np.array_equal(both.images, arrays["train-images-idx3-ubyte"])
    assert np.array_equal(both.labels, arrays["train-labels-idx1-ubyte"])


def test_training_files_sorted_by_class_lose_no_class(tmp_path):
    write_folder(tmp_path, n_train=60)
    labels = np.repeat(np.arange(10, dtype=np.uint8), 6)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    train, validation, _ = data.load(folder=tmp_path)
    assert np.bincount(train.labels).tolist() == [5] * 10
    assert np.bincount(validation.labels).tolist() == [1] * 10


def test_mnist_second_load_reads_the_cache(cache, no_package_files, monkeypatch):
    with pytest.raises(FileNotFoundError, match="reinstall vaebook"):
        data.load()
    monkeypatch.undo()
    monkeypatch.setenv("VAEBOOK_CACHE", str(cache))
    first = data.load()
    monkeypatch.setattr(data, "files", lambda package: no_package_files / "absent")
    second = data.load()
    assert np.array_equal(first.train.images, second.train.images)
    assert np.array_equal(first.test.labels, second.test.labels)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damaged_cache_is_rebuilt(cache, damage):
    data.load()
    file = cache / "mnist" / "t10k-images-idx3-ubyte"
    intact = file.read_bytes()
    changed = {
        "flip": intact[:5000] + bytes([intact[5000] ^ 1]) + intact[5001:],
        "truncate": intact[:-1],
        "empty": b"",
    }[damage]
    file.write_bytes(changed)
    loaded = data.load().test.images
    assert np.array_equal(loaded.ravel(), np.frombuffer(intact, np.uint8, offset=16))
    assert file.read_bytes() == intact


def test_unusable_cache_folder_is_no_error(tmp_path, monkeypatch):
    obstacle = tmp_path / "file"
    obstacle.write_text("not a folder")
    monkeypatch.setenv("VAEBOOK_CACHE", str(obstacle / "cache"))
    assert len(data.load().train) == 50000


def test_cache_that_fails_while_writing_leaves_nothing(cache, monkeypatch):
    def full_disk(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full_disk)
    assert len(data.load().test) == 10000
    assert list((cache / "mnist").iterdir()) == []


def test_cache_folder_defaults_to_the_users(monkeypatch):
    monkeypatch.delenv("VAEBOOK_CACHE", raising=False)
    assert "vaebook" in str(data.cache_folder())


def test_two_processes_at_once(cache):
    script = (
        "import hashlib; from vaebook import data; d = data.load(); "
        "print(hashlib.sha256(d.train.images.tobytes() + d.test.images.tobytes()).hexdigest())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    train, _, test = data.load()
    expected = hashlib.sha256(train.images.tobytes() + test.images.tobytes()).hexdigest()
    assert answers == [expected, expected]
    # Nothing but the four whole files is left behind.
    left = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (cache / "mnist").iterdir()}
    assert left == data.MNIST_SHA256


def test_tampered_package_file(cache, no_package_files):
    arrays = write_folder(no_package_files, ending=".xz")
    assert arrays
    with pytest.raises(ValueError, match=r"SHA-256 differs.*reinstall vaebook"):
        data.load()


def test_truncated_package_file(cache, no_package_files):
    write_folder(no_package_files, ending=".xz")
    for file in no_package_files.iterdir():
        file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"truncated or damaged.*reinstall vaebook"):
        data.load()


# --------------------------------------------------------------------------- ImageSet


def test_image_set_tensors():
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) * 11
    images.flags.writeable = False
    image_set = data.ImageSet(images, np.array([1, 2], np.uint8))
    assert len(image_set) == 2
    assert repr(image_set) == "ImageSet(2 images of 3 x 4 pixels)"
    pixels = image_set.pixels()
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (2, 12)
    assert pixels[1, 5] == images[1, 1, 1]
    floats = image_set.floats()
    assert floats.dtype == torch.float32
    np.testing.assert_allclose(floats.numpy(), images.reshape(2, 12) / 255, rtol=1e-7)
    pixels.zero_()  # a copy: the set stays as it was
    assert image_set.images[0, 0, 1] == 11


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 3)), np.zeros(2, np.uint8), "images: wanted uint8"),
        (np.zeros((2, 9), np.uint8), np.zeros(2, np.uint8), "images: wanted uint8 with 3 axes"),
        (np.zeros((2, 3, 3), np.uint8), np.full(2, 300), "labels: wanted uint8 .* from 300 to 300"),
        (np.full((2, 3, 3), -1), np.zeros(2, np.uint8), "images: wanted uint8 .* from -1 to -1"),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(3, np.uint8), "labels: wanted one for each of 2"),
    ],
)
def test_image_set_refuses(images, labels, message):
    with pytest.raises(ValueError, match=message):
        data.ImageSet(images, labels)


@pytest.mark.parametrize("dtype", ["u1", "i8", ">i2", "u4"])
def test_image_sets_of_any_layout(dtype):
    """Grey levels are what they are, whatever type holds them and whichever way they run."""
    images = np.arange(24).reshape(2, 3, 4) * 11
    expected = data.ImageSet(images.astype(np.uint8), np.array([1, 2], np.uint8))
    held = images.astype(dtype)
    for same in (
        held,
        held[::-1].copy()[::-1],
        np.asfortranarray(held),
        held[:, ::-1].copy()[:, ::-1],
    ):
        image_set = data.ImageSet(same, np.array([1, 2], dtype))
        assert torch.equal(image_set.floats(), expected.floats())
        assert image_set.labels.dtype == np.uint8
    reverse = data.ImageSet(expected.images[::-1], expected.labels[::-1])
    assert torch.equal(reverse.pixels(), expected.pixels().flip(0))


def test_an_empty_image_set():
    empty = data.ImageSet(np.zeros((0, 3, 4), np.uint8), np.zeros(0, np.uint8))
    assert empty.pixels().shape == (0, 12)


# --------------------------------------------------------------------------- IDX files


@many
@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)),
    ending=st.sampled_from(sorted(COMPRESS)),
)
def test_idx_round_trip(tmp_path_factory, array, ending):
    path = tmp_path_factory.mktemp("idx") / f"array-ubyte{ending}"
    path.write_bytes(COMPRESS[ending](idx_bytes(array)))
    read = data.read_idx(path)
    assert read.dtype == np.uint8
    assert read.shape == array.shape
    assert np.array_equal(read, array)


@many
@given(kept=st.floats(0, 1, exclude_max=True), ending=st.sampled_from(sorted(COMPRESS)))
def test_truncated_idx(tmp_path_factory, kept, ending):
    path = tmp_path_factory.mktemp("idx") / f"array-ubyte{ending}"
    content = COMPRESS[ending](idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5)))
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"truncated or damaged|starts with"):
        data.read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x00\x0a\x01\x00\x00\x00\x01\x00\x00\x00\x00", "starts with 00 00 0a 01"),
        (b"\x00\x00\x08\xff" + bytes(4 * 255), "file: starts with 00 00 08 ff"),
        (b"\x00\x00\x08\x02\x00\x00\x00\x01", "file: ends within its header"),
        (b"GIF89a", "starts with 47 49 46 38"),
        (idx_bytes(np.zeros(3, np.uint8)) + b"\x00", "do not fit its header"),
        (b"\x00\x00\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "do not fit"),
    ],
)
def test_no_idx_file(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.read_idx(tmp_path / "file")


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
@pytest.mark.parametrize("ending", [*sorted(COMPRESS), ".bz2"])
def test_every_type_of_idx(tmp_path, code, dtype, ending):
    """The format's six types, in this machine's byte order once read."""
    array = (np.arange(-12, 12).reshape(2, 3, 4) * (1 if dtype == "u1" else 5)).astype(dtype)
    content = bytes([0, 0, code, 3]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    compress = {**COMPRESS, ".bz2": bz2.compress}[ending]
    (tmp_path / "file").write_bytes(compress(content))  # its content tells, not its name
    read = data.read_idx(tmp_path / "file")
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(read, array)


@pytest.mark.parametrize("name", ["a.gz", "a.xz", "a.bz2"])
def test_a_plain_file_with_the_name_of_a_compressed_one(tmp_path, name):
    """As browsers leave them, which unpack what they fetch and keep the name."""
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    (tmp_path / name).write_bytes(idx_bytes(array))
    assert np.array_equal(data.read_idx(tmp_path / name), array)


def test_no_more_is_unpacked_than_the_header_promises(tmp_path):
    """Fifty megabytes of zeros behind six numbers: refused, in a fraction of their memory."""
    (tmp_path / "file.gz").write_bytes(
        gzip.compress(idx_bytes(np.zeros((2, 3), np.uint8)) + bytes(50_000_000))
    )
    tracemalloc.start()
    with pytest.raises(ValueError, match="do not fit its header"):
        data.read_idx(tmp_path / "file.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x00\x0f\xff\xff"])
def test_a_header_that_promises_more_than_memory_holds(tmp_path, length):
    (tmp_path / "giant.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + 3 * length + b"abc"))
    with pytest.raises(ValueError, match=r"giant\.gz: its header promises axes \[.*fetch it again"):
        data.read_idx(tmp_path / "giant.gz")


def test_a_compressed_file_that_is_no_idx_file(tmp_path):
    (tmp_path / "page.gz").write_bytes(gzip.compress(b"<html>not found</html>"))
    with pytest.raises(ValueError, match=r"page\.gz: starts with 3c 68 74 6d"):
        data.read_idx(tmp_path / "page.gz")


SPELLINGS = {
    "EMNIST": "emnist-letters-{part}-{kind}-ubyte{ending}",
    "Kaggle": "{part}-{kind}-ubyte/{part}-{kind}-ubyte{ending}",
    "unzipped": "gzip/emnist-digits-{part}-{kind}-ubyte{ending}",
    "capitals": "Train-Images/{PART}-{KIND}-UBYTE{ending}",
    "dotted": "{part}-{dotted}-ubyte{ending}",
}


@pytest.mark.parametrize("spelling", sorted(SPELLINGS))
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("test", ["test", "t10k"])
def test_names_as_the_world_has_them(tmp_path, spelling, ending, test):
    arrays = write_folder(tmp_path / "original")
    for name, array in arrays.items():
        part, kind = name.removesuffix("-ubyte").split("-", 1)
        part = test if part == "t10k" else part
        words = {"part": part, "kind": kind, "dotted": kind.replace("-", "."), "ending": ending}
        words |= {"PART": part.upper(), "KIND": kind.upper()}
        path = tmp_path / "copy" / SPELLINGS[spelling].format(**words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(COMPRESS[ending](idx_bytes(array)))
    loaded = data.load(folder=tmp_path / "copy")
    assert np.array_equal(loaded.train.images, arrays["train-images-idx3-ubyte"])
    assert np.array_equal(loaded.test.labels, arrays["t10k-labels-idx1-ubyte"])


def test_two_data_sets_in_one_folder(tmp_path):
    for name in ("digits", "letters"):
        for file, array in write_folder(tmp_path / "original").items():
            (tmp_path / f"emnist-{name}-{file}").write_bytes(idx_bytes(array))
    with pytest.raises(ValueError, match=r"one data set, got emnist-digits-.*, emnist-letters-"):
        data.load(folder=tmp_path)


def test_a_folder_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_folder(tmp_path / "digits")
    assert len(data.load(folder="~/digits").train) == 5
    with pytest.raises(FileNotFoundError, match="folder: wanted an existing folder, got"):
        data.load(folder="~/letters")


def test_missing_idx_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: wanted an existing IDX file"):
        data.read_idx(tmp_path / "absent")


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("ending", sorted(COMPRESS))
def test_load_folder(tmp_path, ending, dotted):
    arrays = write_folder(tmp_path, ending, dotted)
    loaded = data.load(folder=str(tmp_path))
    train, test = loaded.train_and_validation, loaded.test
    assert np.array_equal(train.images, arrays["train-images-idx3-ubyte"])
    assert np.array_equal(train.labels, arrays["train-labels-idx1-ubyte"])
    assert np.array_equal(test.images, arrays["t10k-images-idx3-ubyte"])
    assert np.array_equal(test.labels, arrays["t10k-labels-idx1-ubyte"])


def test_load_folder_with_a_file_missing(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"folder: .* has no t10k-labels-idx1-ubyte"):
        data.load(folder=tmp_path)


def test_load_folder_with_too_few_labels(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match="labels: wanted one for each of 5 images, got 4"):
        data.load(folder=tmp_path)


def test_load_folder_with_images_and_labels_swapped(tmp_path):
    write_folder(tmp_path)
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes((tmp_path / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(ValueError, match="images: wanted uint8 with 3 axes"):
        data.load(folder=tmp_path)


def test_unknown_name():
    with pytest.raises(ValueError, match="name: wanted one of 'mnist', 'fashion-mnist', 'kmnist'"):
        data.load("cifar-10")


# --------------------------------------------------------------------------- downloads


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Publish a small "kmnist" on this machine; return its folder, arrays and request log."""
    folder = tmp_path / "published"
    arrays = write_folder(folder, ending=".gz")
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(args)

    serve = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        sums = {
            name: hashlib.sha256((folder / f"{name}.gz").read_bytes()).hexdigest()
            for name in arrays
        }
        url = f"http://127.0.0.1:{httpd.server_port}/"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setitem(data.DOWNLOADS, "kmnist", data.Download(url, sums))
        yield folder, arrays, requests
        httpd.shutdown()


def test_download_once(cache, server):
    _, arrays, requests = server
    _, _, test = loaded = data.load("kmnist")
    train_images = loaded.train_and_validation.images
    assert np.array_equal(train_images, arrays["train-images-idx3-ubyte"])
    assert np.array_equal(test.labels, arrays["t10k-labels-idx1-ubyte"])
    assert len(requests) == 4
    data.load("kmnist")
    assert len(requests) == 4


def test_damaged_download_is_fetched_again(cache, server):
    _, arrays, requests = server
    data.load("kmnist")
    (cache / "kmnist" / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    train_images = data.load("kmnist").train_and_validation.images
    assert np.array_equal(train_images, arrays["train-images-idx3-ubyte"])
    assert len(requests) == 5


def test_download_with_another_checksum(cache, server):
    folder, _, _ = server
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ValueError, match=r"another SHA-256.*load\('kmnist', folder=\.\.\.\)"):
        data.load("kmnist")
    assert not (cache / "kmnist" / "t10k-labels-idx1-ubyte.gz").exists()


def test_download_of_a_file_that_is_gone(cache, server):
    folder, _, _ = server
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ConnectionError, match=r"fetch the four \.gz files"):
        data.load("kmnist")


def test_no_network(cache, server, monkeypatch):
    _, sums = data.DOWNLOADS["kmnist"]
    closed = data.Download("http://127.0.0.1:9/", sums)  # the discard port: nobody listens
    monkeypatch.setitem(data.DOWNLOADS, "kmnist", closed)
    with pytest.raises(ConnectionError, match=r"no connection to .*load\('kmnist', folder="):
        data.load("kmnist")


def test_download_into_an_unusable_cache(tmp_path, server, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("VAEBOOK_CACHE", str(tmp_path / "file"))
    with pytest.raises(PermissionError, match="set VAEBOOK_CACHE"):
        data.load("kmnist")


def test_every_download_has_four_sums():
    for source in data.DOWNLOADS.values():
        assert set(source.sha256) == set(data.TRAIN_FILES + data.TEST_FILES)
        assert all(len(bytes.fromhex(digest)) == 32 for digest in source.sha256.values())


# --------------------------------------------------------------------------- binarization

ALL_LEVELS = torch.arange(256, dtype=torch.uint8)


def dynamic(pixels, seed):
    return data.dynamic_binarization(pixels, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("binarize", [dynamic, data.fixed_binarization])
def test_binarization_has_the_pixels_probability(binarize):
    n = 40_000
    drawn = binarize(ALL_LEVELS.repeat(n, 1), 0)
    assert drawn.dtype == torch.float32
    assert drawn.shape == (n, 256)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    share = drawn.double().mean(0).numpy()
    p = np.arange(256) / 255
    assert share[0] == 0
    assert share[255] == 1
    z = (share[1:-1] - p[1:-1]) / np.sqrt(p[1:-1] * (1 - p[1:-1]) / n)
    assert np.abs(z).max() < 4.5
    # Independent draws: the squared z-scores add up to a chi-square of 254 degrees of freedom.
    assert 1e-4 < stats.chi2.sf((z**2).sum(), 254) < 1 - 1e-4
    # ... and so do those of neighbouring pixels together.
    both = (drawn[:, 100] * drawn[:, 101]).double().mean().item()
    assert both == pytest.approx(p[100] * p[101], abs=5 * math.sqrt(0.15 * 0.85 / n))


@pytest.mark.parametrize("binarize", [dynamic, data.fixed_binarization])
def test_binarization_repeats_by_seed_and_leaves_the_global_state(binarize):
    pixels = torch.full((50, 40), 128, dtype=torch.uint8)
    before = torch.random.get_rng_state()
    assert torch.equal(binarize(pixels, 3), binarize(pixels, 3))
    assert not torch.equal(binarize(pixels, 3), binarize(pixels, 4))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dynamic_binarization_draws_anew():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.full((50, 40), 128, dtype=torch.uint8)
    first = data.dynamic_binarization(pixels, generator)
    assert not torch.equal(first, data.dynamic_binarization(pixels, generator))


def test_fixed_binarization_is_the_documented_stream():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(9000)  # more than one chunk, 2.3 million
    raw = np.random.PCG64(7).random_raw(9000 * 128)
    words = [w for draw in raw[-600:].tolist() for w in (draw & 0xFFFFFFFF, draw >> 32)]
    levels = [word * 255 // 2**32 for word in words]
    expected = [float(p > level) for p, level in zip(pixels[-1200:].tolist(), levels, strict=True)]
    assert data.fixed_binarization(pixels, 7)[-1200:].tolist() == expected


@many
@given(rows=st.integers(0, 30), columns=st.integers(1, 9))
def test_fixed_binarization_of_the_first_rows(rows, columns):
    pixels = torch.full((30, columns), 100, dtype=torch.uint8)
    whole = data.fixed_binarization(pixels, 1)
    assert torch.equal(data.fixed_binarization(pixels[:rows], 1), whole[:rows])


@many
@given(level=st.integers(0, 254))
def test_threshold_binarization(level):
    binary = data.threshold_binarization(ALL_LEVELS, level / 255)
    assert binary.dtype == torch.float32
    assert binary.tolist() == [float(pixel > level) for pixel in range(256)]


def test_threshold_defaults_to_one_half():
    assert data.threshold_binarization(ALL_LEVELS).tolist() == [0.0] * 128 + [1.0] * 128


@pytest.mark.parametrize("threshold", [-0.1, 1.0, math.nan])
def test_threshold_outside_the_range(threshold):
    with pytest.raises(ValueError, match=r"threshold: wanted a number in \[0, 1\)"):
        data.threshold_binarization(ALL_LEVELS, threshold)


@pytest.mark.parametrize(
    "pixels",
    [ALL_LEVELS.float(), ALL_LEVELS.long() + 1, -ALL_LEVELS.long(), ALL_LEVELS > 0, [1, 2], None],
)
def test_binarizations_want_uint8(pixels):
    for binarize in (dynamic, data.fixed_binarization, data.threshold_binarization):
        with pytest.raises(ValueError, match=r"pixels: wanted a torch\.uint8 tensor"):
            binarize(pixels, 0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_grey_levels_may_be_other_integers(dtype):
    for binarize in (dynamic, data.fixed_binarization):
        assert torch.equal(binarize(ALL_LEVELS.to(dtype), 0), binarize(ALL_LEVELS, 0))
    levels = ALL_LEVELS.to(dtype)
    assert torch.equal(data.threshold_binarization(levels), data.threshold_binarization(ALL_LEVELS))
    assert torch.equal(
        data.fixed_binarization(ALL_LEVELS, np.int64(3)), data.fixed_binarization(ALL_LEVELS, 3)
    )


def test_binarizations_want_their_randomness():
    with pytest.raises(ValueError, match=r"generator: wanted a torch\.Generator, got None"):
        data.dynamic_binarization(ALL_LEVELS, None)
    for seed in (-1, 0.5, True, None):
        with pytest.raises(ValueError, match="seed: wanted an integer of at least 0"):
            data.fixed_binarization(ALL_LEVELS, seed)


# --------------------------------------------------------------------------- toy densities

TOYS = sorted(data.TOY_DENSITIES)


def midpoints(half_width, n):
    """Return the n² midpoints of a square grid, float64, and the area of one cell."""
    ticks = (torch.arange(n, dtype=torch.float64) + 0.5) * (2 * half_width / n) - half_width
    return torch.cartesian_prod(ticks, ticks), (2 * half_width / n) ** 2


def density(toy, points):
    return torch.cat([toy.log_prob(part) for part in points.split(50_000)]).exp()


@pytest.mark.parametrize("name", TOYS)
def test_toy_density_integrates_to_one(name):
    toy = data.toy_density(name)
    points, area = midpoints(4 * toy.extent, 1200)
    p = density(toy, points) * area
    assert (p >= 0).all()
    assert p.sum().item() == pytest.approx(1, abs=1e-6)
    inside = (points.abs() <= toy.extent).all(1)
    assert p[inside].sum() > 0.995


@pytest.mark.parametrize("name", TOYS)
def test_toy_samples_follow_the_density(name):
    toy = data.toy_density(name)
    n, cells, fine = 100_000, 24, 40
    x = toy.sample(n, torch.Generator().manual_seed(1))
    assert x.shape == (n, 2)
    assert x.dtype == torch.get_default_dtype()
    points, area = midpoints(toy.extent, cells * fine)
    p = density(toy, points).numpy() * area
    p = p.reshape(cells, fine, cells, fine).sum((1, 3)).ravel()
    edges = np.linspace(-toy.extent, toy.extent, cells + 1)
    counts = np.histogram2d(*x.numpy().T, bins=[edges, edges])[0].ravel()
    common = n * p > 10
    observed = np.append(counts[common], n - counts[common].sum())
    expected = n * np.append(p[common], 1 - p[common].sum())
    if expected[-1] < 10:  # the rest of the plane: too rare for the chi-square approximation
        assert observed[-1] < 30
        observed = observed[:-1]
        expected = expected[:-1] * observed.sum() / expected[:-1].sum()
    assert stats.chisquare(observed, expected).pvalue > 1e-4


@pytest.mark.parametrize("name", TOYS)
def test_toy_samples_have_the_density_s_moments(name):
    toy = data.toy_density(name)
    x = toy.sample(100_000, torch.Generator().manual_seed(2)).double()
    points, area = midpoints(4 * toy.extent, 1200)
    p = density(toy, points) * area
    for moment in (
        lambda v: v[:, 0],
        lambda v: v[:, 1],
        lambda v: v[:, 0] ** 2,
        lambda v: v[:, 1] ** 2,
        lambda v: v[:, 0] * v[:, 1],
    ):
        drawn = moment(x)
        error = drawn.std().item() / math.sqrt(len(x))
        assert drawn.mean().item() == pytest.approx(
            (p * moment(points)).sum().item(), abs=5 * error
        )


@pytest.mark.parametrize("name", TOYS)
def test_toy_samples_repeat_by_seed(name):
    toy = data.toy_density(name)
    before = torch.random.get_rng_state()
    first = toy.sample(10, torch.Generator().manual_seed(5))
    assert torch.equal(first, toy.sample(10, torch.Generator().manual_seed(5)))
    assert not torch.equal(first, toy.sample(10, torch.Generator().manual_seed(6)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert toy.log_prob(first).isfinite().all()  # float32 samples: none at density zero


def test_eight_gaussians_against_torch_distributions():
    toy = data.toy_density("eight_gaussians")
    d = torch.distributions
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    centres = 2.5 * torch.stack([angle.cos(), angle.sin()], 1)
    mixture = d.MixtureSameFamily(
        d.Categorical(torch.full((8,), 0.125, dtype=torch.float64)),
        d.Independent(d.Normal(centres, torch.tensor(0.25, dtype=torch.float64)), 1),
    )
    x = 3 * torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(toy.log_prob(x), mixture.log_prob(x), rtol=1e-5, atol=1e-4)


def test_banana_is_a_bent_gaussian():
    x = data.Banana(0.5, 1.2, 0.4).sample(50_000, torch.Generator().manual_seed(3)).numpy()
    straight = x[:, 1] - 0.5 * (x[:, 0] ** 2 - 1.44)
    assert stats.kstest(x[:, 0], stats.norm(0, 1.2).cdf).pvalue > 1e-4
    assert stats.kstest(straight, stats.norm(0, 0.4).cdf).pvalue > 1e-4


@pytest.mark.parametrize("width", [0.25, 3.0])  # 3.0: one radius in five is folded
def test_ring_has_a_folded_normal_radius_and_a_uniform_angle(width):
    ring = data.Ring(2.5, width)
    x = ring.sample(50_000, torch.Generator().manual_seed(4)).double()
    radius = stats.foldnorm(2.5 / width, scale=width)
    assert stats.kstest(x.norm(dim=1), radius.cdf).pvalue > 1e-4
    angle = torch.atan2(x[:, 1], x[:, 0]).numpy()
    assert stats.kstest(angle, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-4
    r = x[:100].norm(dim=1)
    expected = radius.logpdf(r) - np.log(2 * math.pi * r.numpy())
    np.testing.assert_allclose(ring.log_prob(x[:100]), expected, rtol=1e-6)


def test_pinwheel_has_equal_arms():
    toy = data.Pinwheel(n_arms=5)
    x = toy.sample(200, torch.Generator().manual_seed(5)).double()
    angle = 2 * math.pi / 5
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = x @ turn.double().T
    torch.testing.assert_close(toy.log_prob(turned), toy.log_prob(x), rtol=1e-5, atol=1e-5)


def test_checkerboard_by_hand():
    x = torch.tensor([[0.5, 0.5], [0.5, -0.5], [-1.5, -0.5], [1.5, 1.5], [2.5, 0.5], [-2.5, -0.5]])
    log_p = data.toy_density("checkerboard").log_prob(x)
    inside, outside = -math.log(8), -math.inf
    assert log_p.tolist() == pytest.approx([inside, outside, outside, inside, outside, outside])


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2),
        torch.zeros(3, 3),
        torch.zeros(3, 2, dtype=torch.int64),
        torch.tensor([[0.0, math.nan]]),
    ],
)
@pytest.mark.parametrize("name", TOYS)
def test_toy_density_refuses(name, x):
    with pytest.raises(ValueError, match="x: wanted"):
        data.toy_density(name).log_prob(x)


@pytest.mark.parametrize("n", [0, -1, 2.0])
def test_toy_density_wants_a_positive_number_of_samples(n):
    with pytest.raises(ValueError, match="n: wanted an integer of at least 1"):
        data.toy_density("ring").sample(n)


@pytest.mark.parametrize("name", sorted(data.TOY_DENSITIES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_toy_densities_far_out(name, dtype):
    """The farther the less, never NaN: finite, or minus infinity where no number is as small."""
    far = torch.tensor([[1e4, -1e4], [1e30, 1e30], [-1e38, 1e38]], dtype=dtype)
    log_prob = data.toy_density(name).log_prob(far)
    assert not log_prob.isnan().any()
    assert (log_prob < -1e3).all()


def test_toy_densities_are_tractable():
    assert all(isinstance(data.toy_density(name), TractableDensity) for name in TOYS)


def test_unknown_toy_density():
    with pytest.raises(ValueError, match="name: wanted one of 'eight_gaussians'"):
        data.toy_density("spiral")


# --- Old Faithful


def test_documentation_words_are_those_of_the_pages():
    """The description of one data set, split in another way, stands in the text word by word."""
    parts = re.split(r"\W+", load_wine().DESCR.lower())
    described = " ".join(part for part in parts if part.isalpha() and 1 < len(part) <= 30)
    assert described in " ".join(data.documentation_words(30))
    assert {len(word) for word in data.documentation_words(4)} == {2, 3, 4}
    with pytest.raises(ValueError, match="longest: wanted an integer of at least 2"):
        data.documentation_words(1)


def test_old_faithful_is_the_published_set():
    eruptions = data.old_faithful()
    assert eruptions.shape == (272, 2)
    # as R prints them: summary(faithful)
    assert eruptions.mean(0) == pytest.approx([3.488, 70.9], abs=4e-3)
    assert np.median(eruptions, 0) == pytest.approx([4.0, 76.0])
    assert eruptions.min(0) == pytest.approx([1.6, 43.0])
    assert eruptions.max(0) == pytest.approx([5.1, 96.0])


def test_old_faithful_altered(tmp_path, monkeypatch):
    folder = tmp_path / "datasets" / "old_faithful"
    folder.mkdir(parents=True)
    (folder / "old_faithful.csv").write_text("eruptions,waiting\n3.6,80\n1.8,54\n")
    monkeypatch.setattr(data, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="not the original"):
        data.old_faithful()


def test_sprites_are_every_combination_of_their_factors():
    images, factors, names = data.sprites()
    assert images.shape == (4608, 256)
    assert images.dtype == torch.float32
    assert set(images.unique().tolist()) == {0, 1}
    assert len(factors.unique(dim=0)) == 4608
    assert (factors.amax(0) + 1).tolist() == [3, 3, 8, 8, 8]
    assert names == ("shape", "size", "rotation", "across", "down")


def test_a_sprite_moves_grows_and_turns_as_its_factors_say():
    images, _, _ = data.sprites()
    images = images.view(3, 3, 8, 8, 8, 16, 16)
    place = torch.arange(16.0)
    ink = images.sum((-1, -2))
    assert (ink > 4).all()
    assert (images.sum(-1) @ place / ink).diff(dim=-1).mean() == pytest.approx(1, abs=0.02)
    assert (images.sum(-2) @ place / ink).diff(dim=-2).mean() == pytest.approx(1, abs=0.02)
    assert (ink.diff(dim=1) > 0).double().mean() > 0.99
    inside = images[..., 3, 3, :, :]  # a quarter of a turn: rows become columns
    assert (inside[:2, :, 0].mT - inside[:2, :, 4]).abs().mean() < 0.01
    assert torch.equal(data.sprites().images, images.view(-1, 256))


# --- photographs


def test_photographs_are_the_two_that_scikit_learn_ships():
    photos = data.photographs()
    assert (photos.shape, photos.dtype) == ((2, 427, 640, 3), np.uint8)
    # bright sky above the temple, a red flower; another JPEG decoder may move a level or two
    assert photos[0, :60].mean((0, 1)) == pytest.approx([211.5, 228.2, 246.6], abs=2)
    assert photos[1, 150:250, 280:380, 0].mean() > photos[1, 150:250, 280:380, 2].mean() + 50


def test_regions_of_the_photographs():
    regions = data.photo_regions()
    assert np.bincount(regions.ravel()).tolist() == [36, 12, 12]
    for part in (1, 2):
        own = regions == part
        for axis in (0, 1):
            assert not (own & np.roll(own, 1, axis))[1:, 1:].any()


@pytest.mark.parametrize(("side", "step"), [(16, 16), (24, 7), (64, 1), (1, 30)])
def test_patches_are_cut_from_their_regions(side, step):
    """Position for position, from photographs whose pixels say where they are."""
    photos, regions = data.photographs(), data.photo_regions()
    patches = data.photo_patches(side, step)
    for part, stride in ((0, step), (1, side), (2, side)):
        expected = [
            photo[row : row + side, column : column + side].transpose(2, 0, 1).ravel()
            for photo in photos
            for block in np.argwhere(regions == part)
            for row in range(64 * block[0], 64 * block[0] + 65 - side, stride)
            for column in range(64 * block[1], 64 * block[1] + 65 - side, stride)
        ]
        assert patches[part].dtype == torch.uint8
        assert np.array_equal(patches[part].numpy(), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 1), "side: wanted an integer of at least 1"), ((65, 1), "side: wanted at most 64")]
    + [((16, 0), "step: wanted an integer of at least 1")],
)
def test_patches_of_no_use(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.photo_patches(*arguments)
