"""Data of one's own: every form is read right, and every fault of it named."""

import gzip
import math
import shutil
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.common import seeded
from vaebook import own_data
from vaebook.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian
from vaebook.own_data import (
    OwnData,
    Preparation,
    from_array,
    prepare,
    read,
    sheet,
    split,
)
from vaebook.rows import MappedRows, as_rows

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (24, 5, 7), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (24, 5, 7, 3), dtype=np.uint8)


def save_pictures(folder, images, suffix=".png"):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:02}{suffix}")


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("form", ["folder", "idx", "gz", "npy", "npz"])
def test_images_come_alike_from_every_form(tmp_path, images, form):
    path = tmp_path / f"data.{form}"
    if form == "folder":
        save_pictures(path / "a", images[:20])
        save_pictures(path / "b", images[20:])
        (path / "readme.txt").write_text("not a picture")
    elif form == "idx":
        path.write_bytes(idx(images))
    elif form == "gz":
        path.write_bytes(gzip.compress(idx(images)))
    elif form == "npy":
        np.save(path, images)
    else:
        np.savez(path, images)
    data = read(path)
    channels_first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    assert data.kind == "8-bit"
    assert data.shape == channels_first.shape[1:]
    assert np.array_equal(data.rows.numpy(), channels_first.reshape(24, -1))
    assert str(data).startswith("24 ")


def test_photographs_are_read_nearly(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 32).astype(np.uint8)[:, None], (20, 32, 32))
    save_pictures(tmp_path / "jpeg", smooth, ".JPG")
    rows = read(tmp_path / "jpeg").rows.view(20, 32, 32).numpy()
    assert np.abs(rows.astype(int) - smooth).max() < 10


@pytest.mark.parametrize(
    ("array", "shape", "kind", "rows"),
    [
        (np.array([[True, False]]), (2,), "binary", [[1, 0]]),
        (np.array([[0, 1]]), (2,), "binary", [[0, 1]]),
        (np.array([[0.0, 1.0]]), (2,), "binary", [[0, 1]]),
        (np.array([[0, 255]], np.uint8), (2,), "binary", [[0, 1]]),
        (np.array([[0, 2]]), (2,), "8-bit", [[0, 2]]),
        (np.array([[0, 200]], ">u4"), (2,), "8-bit", [[0, 200]]),
        (np.array([[0.0, 255.0]]), (2,), "real", [[0.0, 255.0]]),
        (np.array([[0.5, 1e300]]), (2,), "real", [[0.5, 1e300]]),
        (np.array([[0.5, 2.0]], ">f4"), (2,), "real", [[0.5, 2.0]]),
        (np.zeros((2, 3, 4, 1)), (1, 3, 4), "binary", [[0] * 12] * 2),
        (np.zeros((2, 3, 4, 5)), (3, 4, 5), "binary", [[0] * 60] * 2),
        (np.arange(12.0)[::-1].reshape(2, 6), (6,), "real", np.arange(12.0)[::-1].reshape(2, 6)),
    ],
)
def test_the_numbers_say_what_they_are(array, shape, kind, rows):
    data = from_array(array)
    assert (data.shape, data.kind) == (shape, kind)
    assert data.rows.is_contiguous()
    assert data.rows.tolist() == np.asarray(rows).tolist()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([["a", "b"]]), "wanted numbers, got type <U1"),
        (np.zeros((3, 2), complex), "wanted numbers, got type complex128"),
        (np.zeros(3), r"wanted at least one example, as a row or an image \(array\[:, None\] has"),
        pytest.param(
            *(np.zeros((3, 2), np.longdouble), "wanted numbers of at most 64 bits, got type"),
            marks=pytest.mark.skipif(
                np.dtype(np.longdouble).itemsize <= 8, reason="no such numbers here"
            ),
        ),
        (np.zeros((0, 3)), "wanted at least one example"),
        (np.zeros((2, 4, 4, 4)), "wanted images of 1 or 3 channels"),
        (np.zeros((2, 3, 3, 3, 3)), "wanted at least one example"),
        (np.array([[1.0], [math.nan]]), "wanted finite numbers, got NaN or infinity in row 1"),
        (np.array([[1.0], [-math.inf]]), "wanted finite numbers, got NaN or infinity in row 1"),
        (np.array([[0, 256]]), "wanted whole numbers from 0 to 255, or floats, got int64"),
        (np.array([[-1, 2]]), "wanted whole numbers from 0 to 255"),
    ],
)
def test_an_array_that_holds_no_data_is_refused(array, message):
    with pytest.raises(ValueError, match=f"^array: {message}"):
        from_array(array)


@pytest.mark.parametrize(
    ("array", "kind", "rows"),
    [
        (np.zeros((2, 2), np.uint8), "8-bit", [[0, 0], [0, 0]]),
        (np.array([[0, 255]], np.uint8), "8-bit", [[0, 255]]),
        (np.array([[0.0, 1.0]]), "real", [[0.0, 1.0]]),
        (np.array([[-3, 1000]]), "real", [[-3.0, 1000.0]]),
        (np.array([[255, 255]], np.uint8), "binary", [[1, 1]]),
    ],
)
def test_numbers_are_taken_as_the_kind_that_a_model_wants(array, kind, rows):
    data = from_array(array, kind=kind)
    assert data.kind == kind
    assert data.rows.is_floating_point() == (kind == "real")
    assert data.rows.tolist() == rows


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (
            np.array([[0, 7]]),
            "binary",
            "array: wanted binary data, two levels, 0 and 1 or 0 and 255, got int64",
        ),
        (
            np.array([[0.0, 1.0]]),
            "8-bit",
            "array: wanted 8-bit data, whole numbers from 0 to 255, got float64",
        ),
        (
            np.array([[0, 256]]),
            "8-bit",
            "array: wanted 8-bit data, whole numbers from 0 to 255, got int64",
        ),
        (
            np.array([[True]]),
            "8-bit",
            "array: wanted 8-bit data, whole numbers from 0 to 255, got bool",
        ),
        (np.array([[math.inf]]), "real", "array: wanted finite numbers"),
        (np.array([[0]]), "grey", "kind: wanted one of None, 'binary', '8-bit', 'real'"),
    ],
)
def test_numbers_that_are_not_of_the_wanted_kind_are_refused(array, kind, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        from_array(array, kind=kind)


def mixed_sizes(path):
    save_pictures(path, [*GREY[:3], GREY[0].T])
    return rf"{path}/03.png: wanted .*grey 5 x 7, as {path}/00.png, got grey 7 x 5"


def mixed_colours(path):
    save_pictures(path, [*GREY[:3], COLOUR[0]])
    return rf"{path}/03.png: wanted .*got colour 5 x 7"


def corrupt(path):
    save_pictures(path, GREY)
    content = (path / "07.png").read_bytes()
    (path / "07.png").write_bytes(content[: len(content) // 2])
    return rf"{path}/07.png: wanted a picture"


def no_picture(path):
    save_pictures(path, GREY)
    (path / "07.png").write_text("hello")
    return rf"{path}/07.png: wanted a picture"


def transparent(path):
    save_pictures(path, [np.zeros((5, 7, 4), np.uint8)])
    return rf"{path}/00.png: wanted a picture of 8 bits, .*, got mode RGBA"


def empty(path):
    path.mkdir()
    return rf"{path}: wanted pictures .* in this folder, got none"


def bad_npy(path):
    path = path.with_suffix(".npy")
    path.write_bytes(b"\x93NUMPY")
    return rf"{path}: wanted a NumPy file of numbers"


def objects(path):
    path = path.with_suffix(".npy")
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    return rf"{path}: wanted a NumPy file of numbers"


def bad_npz(path):
    path = path.with_suffix(".npz")
    path.write_bytes(b"PK\x03\x04 and no more")
    return rf"{path}: wanted a NumPy file of numbers"


def damaged_npz(path):
    path = path.with_suffix(".npz")
    np.savez(path, x=GREY)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return rf"{path}: wanted a NumPy file of numbers, got Bad CRC-32"


def two_arrays(path):
    path = path.with_suffix(".npz")
    np.savez(path, x=GREY, y=GREY)
    return rf"{path}: wanted one array in it, got 2: \['x', 'y'\]"


def no_array(path):
    path = path.with_suffix(".npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes", "hello")
    return rf"{path}: wanted numbers, got type |S5"


def claims_terabytes(path):
    path = path.with_suffix(".npy")
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**15, 3)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    return rf"{path}: wanted a NumPy file of numbers"


def text(path):
    path.write_text("a,b\n1,2\n")
    return rf"{path}: starts with .* wanted an IDX file.*what is read: a folder of pictures"


def one_picture(path):
    path = path.with_suffix(".png")
    Image.fromarray(GREY[0]).save(path)
    return rf"{path}: starts with .*what is read: a folder of pictures"


def film(path):
    save_pictures(path, GREY)
    Image.fromarray(GREY[0]).save(
        path / "07.tif", save_all=True, append_images=[Image.fromarray(GREY[1])]
    )
    return rf"{path}/07.tif: wanted a picture of .*, got 2 frames"


def transparent_level(path):
    save_pictures(path, GREY)
    Image.fromarray(GREY[0]).save(path / "07.png", transparency=int(GREY[0, 0, 0]))
    return rf"{path}/07.png: wanted .* without transparency, got mode L with"


def transparent_palette(path):
    save_pictures(path, COLOUR)
    picture = Image.fromarray(COLOUR[0]).quantize(4)
    picture.save(path / "07.png", transparency=picture.getpixel((0, 0)))
    return rf"{path}/07.png: wanted .* without transparency, got mode P with"


def deep_colours(path):
    """Write a colour picture of 16 bits, which Pillow reads and does not write."""
    path.mkdir()

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + bytes(range(12)))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    (path / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return rf"{path}/00.png: wanted a picture of 8 bits, .*, got mode RGB of 16 bits"


FAULTS = [
    deep_colours,
    *(mixed_sizes, mixed_colours, corrupt, no_picture, transparent, empty),
    *(film, transparent_level, transparent_palette),
    *(bad_npy, objects, bad_npz, damaged_npz, two_arrays, no_array, claims_terabytes, text),
    one_picture,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_a_file_is_named(tmp_path, fault):
    message = fault(tmp_path / "data")
    (path,) = tmp_path.iterdir()
    with pytest.raises(ValueError, match=f"^{message}"):
        read(path)


@pytest.mark.parametrize("name", ["missing", ""])
def test_a_missing_path_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path / "pictures", GREY)  # which no name would read
    with pytest.raises(FileNotFoundError, match=r"^path: wanted an existing folder or file, got"):
        read(name)


def test_a_suffix_may_be_of_capitals(tmp_path):
    np.save(tmp_path / "data.npy", GREY)
    (tmp_path / "data.npy").rename(tmp_path / "DATA.NPY")
    assert torch.equal(read(tmp_path / "DATA.NPY").rows, from_array(GREY).rows)


# --- folders of pictures ----------------------------------------------------------------------


def rows_of(*parts):
    return from_array(np.concatenate(parts)).rows


@pytest.mark.skipif(sys.platform == "win32", reason="where links need a privilege")
def test_linked_folders_are_read_once_and_hidden_things_not_at_all(tmp_path):
    save_pictures(tmp_path / "data" / "a", GREY[:8])
    save_pictures(tmp_path / "elsewhere", GREY[8:])
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "a" / "._00.png").write_bytes(b"left by macOS")
    save_pictures(tmp_path / "data" / ".thumbnails", GREY[:, :2])
    assert torch.equal(read(tmp_path / "data").rows, rows_of(GREY))


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    save_pictures(tmp_path / "open", GREY)
    save_pictures(tmp_path / "shut", GREY)
    list_folder = Path.iterdir

    def refuse(path):  # root, who may run the tests, reads everything
        if path.name == "shut":
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ValueError, match=r"shut: wanted a folder that can be read, got .*denied"):
        read(tmp_path)


def test_photographs_are_turned_upright(tmp_path):
    tmp_path.joinpath("data").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its right side
    for i, image in enumerate(COLOUR):
        Image.fromarray(np.rot90(image)).save(tmp_path / "data" / f"{i:02}.png", exif=exif)
    assert torch.equal(read(tmp_path / "data").rows, rows_of(COLOUR))


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_a_picture_of_a_grey_palette_is_grey(tmp_path, suffix):
    folder = tmp_path / "data"
    save_pictures(folder, GREY[:12])
    for i, image in enumerate(GREY[12:], 12):
        palette = Image.fromarray(image).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
        palette.save(folder / f"{i}{suffix}")
        assert Image.open(folder / f"{i}{suffix}").mode == "P"
    assert read(folder).shape == (1, 5, 7)
    assert torch.equal(read(folder).rows, rows_of(GREY))


def test_a_grey_palette_among_colours_is_a_colour(tmp_path):
    save_pictures(tmp_path / "data", COLOUR)
    Image.fromarray(GREY[0]).convert("P").save(tmp_path / "data" / "24.gif")
    grey = np.repeat(GREY[:1, ..., None], 3, 3)
    assert torch.equal(read(tmp_path / "data").rows, rows_of(COLOUR, grey))


@pytest.mark.parametrize(("images", "mode"), [(GREY, "LA"), (COLOUR, "RGBA")])
def test_an_opaque_alpha_is_dropped(tmp_path, images, mode):
    (tmp_path / "data").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).convert(mode).save(tmp_path / "data" / f"{i:02}.png")
    assert torch.equal(read(tmp_path / "data").rows, rows_of(images))


def test_the_second_view_of_a_phone_is_no_frame(tmp_path):
    (tmp_path / "data").mkdir()
    first, second = (Image.fromarray(image) for image in COLOUR[:2])
    first.save(
        tmp_path / "data" / "0.jpg", format="MPO", save_all=True, append_images=[second], quality=95
    )
    assert Image.open(tmp_path / "data" / "0.jpg").n_frames == 2
    assert read(tmp_path / "data").rows.shape == (1, 105)


# --- larger than memory -----------------------------------------------------------------------


@pytest.fixture
def little_memory(monkeypatch):
    """Leave every array in its file, and read it three examples at a time."""
    monkeypatch.setattr(own_data, "BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(own_data, "BYTES_AT_ONCE", 100)
    monkeypatch.setattr(own_data, "ROWS_AT_ONCE", 3)


ARRAYS = {
    "grey": GREY,
    "colour, channels last": COLOUR,
    "colour, channels first": COLOUR.transpose(0, 3, 1, 2),
    "binary": (GREY > 100).astype(np.uint8) * 255,
    "truth values": GREY[:, 0] > 100,
    "real": 1e6 + RANDOM.normal(size=(24, 3)),
    "real, other byte order": RANDOM.normal(size=(24, 3)).astype(">f4"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_rows_that_stay_in_their_file_are_those_that_are_read(tmp_path, little_memory, array):
    np.save(tmp_path / "data.npy", array)
    mapped, whole = read(tmp_path / "data.npy"), from_array(array)
    assert isinstance(mapped.rows, MappedRows)
    assert (mapped.shape, mapped.kind, str(mapped)) == (whole.shape, whole.kind, str(whole))
    assert torch.equal(mapped.rows[:], whole.rows)
    assert mapped.rows[:].dtype == whole.rows.dtype
    parts, expected = split(mapped.rows), split(whole.rows)
    assert isinstance(parts[0], MappedRows)
    assert all(torch.equal(own[:], same) for own, same in zip(parts, expected, strict=True))
    preparation, same = prepare(mapped, parts[0]), prepare(whole, expected[0])
    prepared = preparation.beforehand(parts[0])
    assert torch.equal(prepared[:], same(expected[0]))
    (batch,) = as_rows(prepared, torch.device("cpu")).batches([torch.tensor([4, 2])])
    assert torch.equal(batch, same(expected[0])[[4, 2]])


SAVERS = {
    "npz": np.savez,
    "compressed npz": np.savez_compressed,
    "idx": lambda path, array: path.write_bytes(idx(array)),
    "gz": lambda path, array: path.write_bytes(gzip.compress(idx(array))),
}


def test_a_large_idx_file_of_real_numbers_stays_in_its_file(tmp_path, little_memory):
    array = RANDOM.normal(size=(24, 3)).astype(">f4")
    header = bytes([0, 0, 13, 2]) + np.array(array.shape, ">u4").tobytes()
    (tmp_path / "data.idx").write_bytes(header + array.tobytes())
    rows = read(tmp_path / "data.idx").rows
    assert rows.array._mmap is not None  # no copy that only looks like one
    assert rows[:].tolist() == array.tolist()


@pytest.mark.parametrize("form", SAVERS)
@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
def test_other_large_files_stay_in_one_too(tmp_path, little_memory, monkeypatch, form, images):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / f"data.{form[-3:]}"
    SAVERS[form](path, images)
    data, whole = read(path), from_array(images)
    assert isinstance(data.rows, MappedRows) == (form != "gz")
    assert (data.shape, data.kind) == (whole.shape, whole.kind)
    assert torch.equal(data.rows[:], whole.rows)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
def test_pictures_that_are_too_many_for_memory_lie_in_a_file(tmp_path, little_memory, images):
    save_pictures(tmp_path / "pictures", images)
    pictures, whole = read(tmp_path / "pictures"), from_array(images)
    assert isinstance(pictures.rows, MappedRows)
    assert (pictures.shape, pictures.kind) == (whole.shape, whole.kind)
    assert torch.equal(pictures.rows[:], whole.rows)


def test_what_finds_no_room_is_refused(tmp_path, little_memory, monkeypatch):
    save_pictures(tmp_path / "pictures", GREY)
    np.savez(tmp_path / "data.npz", GREY)
    full = shutil.disk_usage(tmp_path)._replace(free=3)
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.raises(ValueError, match=r"wanted pictures whose pixels find room in .*TMPDIR"):
        read(tmp_path / "pictures")
    with pytest.raises(ValueError, match=r"wanted an array that finds room in .*, got 0\.0 GiB"):
        read(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0]] * 15 + [[math.nan]]), "wanted finite numbers, got .* in row 15"),
        (np.array([[0]] * 15 + [[-1]] + [[2]] * 15), "wanted whole numbers from 0 to 255"),
    ],
)
def test_a_fault_deep_in_a_file_is_found(tmp_path, little_memory, array, message):
    np.save(tmp_path / "data.npy", array)
    with pytest.raises(ValueError, match=f"data.npy: {message}"):
        read(tmp_path / "data.npy")


def test_only_the_rows_that_are_asked_for_are_read(tmp_path, little_memory):
    np.save(tmp_path / "data.npy", GREY)
    read_rows = []
    rows = read(tmp_path / "data.npy").rows
    seen = rows.then(lambda batch: read_rows.append(len(batch)) or batch).part(torch.arange(9))
    read_rows.clear()
    assert len(seen) == 9
    assert read_rows == []
    assert torch.equal(seen[2], rows[2])
    assert [len(batch) for batch in seen.__getitems__([0, 1])] == [35, 35]
    assert read_rows == [1, 2]


# --- splitting and preparing ------------------------------------------------------------------


def test_the_mean_and_variance_are_those_of_all_rows():
    """Against NumPy, at a mean that is large beside its deviation."""
    x = 1e6 + torch.randn(2500, 3, generator=seeded(3), dtype=torch.float64)
    mean, std = prepare(OwnData(x, (3,), "real"), x).scaling.numpy()
    np.testing.assert_allclose(mean, x.numpy().mean(0), rtol=1e-14)
    np.testing.assert_allclose(std, x.numpy().std(0, ddof=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("n", "sizes"), [(20, [16, 2, 2]), (99, [81, 9, 9]), (30_000, [28_000, 1000, 1000])]
)
def test_a_split_is_a_partition_and_always_the_same(n, sizes):
    rows = torch.arange(n)[:, None]
    parts, again = split(rows), split(rows)
    assert [len(part) for part in parts] == sizes
    assert torch.equal(torch.cat(parts).sort(0).values, rows)
    assert not torch.equal(torch.cat(parts), rows)
    assert all(torch.equal(one, same) for one, same in zip(parts, again, strict=True))


def test_too_few_examples_are_refused():
    with pytest.raises(ValueError, match=r"^data: wanted at least 20 examples, got 1"):
        split(torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("kind", "asked", "chosen", "law"),
    [
        ("binary", "auto", "bernoulli", Bernoulli),
        ("8-bit", "auto", "logistic", DiscretizedLogistic),
        ("8-bit", "bernoulli", "bernoulli", Bernoulli),
        ("real", "auto", "gaussian", Gaussian),
        ("real", "gaussian", "gaussian", Gaussian),
    ],
)
def test_the_numbers_choose_their_likelihood(kind, asked, chosen, law):
    rows = torch.arange(40).remainder(2 if kind == "binary" else 7).view(20, 2)
    rows = rows.double() if kind == "real" else rows.byte()
    preparation = prepare(OwnData(rows, (2,), kind), rows, asked)
    assert preparation.likelihood == chosen
    assert type(preparation.new_likelihood()) is law
    x = preparation(rows)
    assert x.dtype == torch.float32
    if (kind, chosen) != ("8-bit", "bernoulli"):  # there the grey levels are lost
        torch.testing.assert_close(preparation.undo(x), rows.to(x), check_dtype=False)


@pytest.mark.parametrize(
    ("kind", "asked"), [("binary", "logistic"), ("8-bit", "gaussian"), ("real", "bernoulli")]
)
def test_a_likelihood_that_does_not_suit_is_refused(kind, asked):
    rows = torch.zeros(20, 2)
    with pytest.raises(ValueError, match=rf"^likelihood \(of {kind} data\): wanted one of"):
        prepare(OwnData(rows, (2,), kind), rows, asked)


def test_grey_pixels_of_a_bernoulli_are_drawn_anew_in_training_alone():
    rows = torch.full((50, 40), 100, dtype=torch.uint8)
    preparation = Preparation("8-bit", "bernoulli")
    generator = seeded(0)
    one, other = preparation(rows, generator), preparation(rows, generator)
    assert not torch.equal(one, other)
    assert torch.equal(preparation(rows), preparation(rows))
    assert set(one.unique().tolist()) == {0.0, 1.0}


def test_real_numbers_are_standardised_and_their_densities_are_of_the_data():
    """Against the closed form of a Gaussian, at a mean that float32 could not hold."""
    x = 1e6 + 3e-3 * torch.randn(500, 1, generator=seeded(1), dtype=torch.float64)
    x = torch.cat([x, 40.0 * torch.randn(500, 1, generator=seeded(2), dtype=torch.float64)], 1)
    preparation = prepare(OwnData(x, (2,), "real"), x)
    z = preparation(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(z.std(0), torch.ones(2), rtol=1e-4, atol=0)
    torch.testing.assert_close(preparation.undo(z.double()), x, rtol=1e-12, atol=1e-5)
    log_prob = Gaussian(1.0).log_prob(z.double(), torch.zeros(500, 2)) - preparation.log_volume
    exact = torch.distributions.Normal(x.mean(0), x.std(0)).log_prob(x).sum(1)
    torch.testing.assert_close(log_prob, exact, rtol=0, atol=1e-4)


def test_a_constant_dimension_has_no_density():
    rows = torch.randn(20, 3, generator=seeded(0))
    rows[:, 1] = 7.0
    with pytest.raises(ValueError, match=r"^data: wanted numbers that vary.* dimension 1 of 3"):
        prepare(OwnData(rows, (3,), "real"), rows)
    with pytest.raises(ValueError, match=r"^data: wanted .*8 bits as whole numbers.* 1 of 3"):
        prepare(OwnData(rows, (1, 1, 3), "real"), rows)


@pytest.mark.parametrize("scale", [1e308, 1e160, 1e-160, 1e-200])
def test_a_variance_that_float64_cannot_hold_is_refused(scale):
    rows = torch.randn(20, 3, generator=seeded(0), dtype=torch.float64)
    rows[:, 2] = rows[:, 2].clamp(-1, 1) * scale
    with pytest.raises(ValueError, match=r"^data: wanted .*rescale them, got .*dimension 2 of 3"):
        prepare(OwnData(rows, (3,), "real"), rows)


# --- showing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_sheet_shows_each_image_in_its_place(images):
    data = from_array(images[:5])
    page = np.asarray(sheet(data.rows / 255, data.shape, 3))
    assert page.shape[:2] == (2 * 5 + 2, 3 * 7 + 4)
    for i in range(5):
        top, left = i // 3 * 7, i % 3 * 9
        assert np.array_equal(page[top : top + 5, left : left + 7], images[i])
    assert (page[5:7] == 128).all()


def test_a_sheet_is_no_wider_than_its_images():
    assert sheet(torch.zeros(2, 35), (1, 5, 7), 8).size == (2 * 7 + 2, 5)
    with pytest.raises(ValueError, match=r"^n_columns: wanted"):
        sheet(torch.zeros(2, 35), (1, 5, 7), 0)


def test_every_kind_has_a_likelihood():
    assert set(own_data.LIKELIHOODS) == {"binary", "8-bit", "real"}
