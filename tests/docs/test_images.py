"""Pictures that state their size and lose no pixel, icons of the pages, states of live figures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tools.pages.icons import find_icon, icons_of
from tools.pages.images import PIXELS, compress


@pytest.fixture
def pixels():
    """A picture as a figure holds it: grey, opaque, larger than it need be."""
    generator = np.random.default_rng(0)
    grey = np.repeat(np.repeat(generator.integers(0, 256, (20, 30)), 4, 0), 4, 1)
    return np.dstack([grey, grey, grey, np.full_like(grey, 255)]).astype("uint8")


def drawing(pixels):
    png = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(png, "png", compress_level=1)
    data = base64.b64encode(png.getvalue()).decode()
    image = f'<image width="120" height="80" href="data:image/png;base64,{data}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="60pt" height="40pt">{image}</svg>'


def test_pictures_state_their_size(book):
    book.write("picture.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"/>')
    book.write("chapter.md", "# C\n\n$$1 + 1 = 2$$ (eq-sum)\n\n![A square](picture.svg)\n")
    book.write("equations.md", "# E\n\n```{equation-index} chapter\n```\n")
    book.write("tests/test_sum.py", "")
    book.build()
    assert '<img width="60" height="40" alt="A square"' in book.page("chapter.html")


def test_pixels_are_stored_in_fewer_bytes_and_stay(pixels):
    before = drawing(pixels)
    after = compress(before)
    assert len(after) < 0.9 * len(before)
    stored = base64.b64decode(after.split("data:image/webp;base64,")[1].split('"')[0])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored)).convert("RGBA")), pixels)
    assert not PIXELS.search(after)
    assert compress(after) == after


def test_a_photograph_loses_what_nobody_sees():
    rows, columns = np.mgrid[:336, :503]
    grain = np.random.default_rng(0).normal(0, 2, (336, 503, 3))
    colours = np.dstack([rows / 2, columns / 2.2, (rows + columns) / 4]) + 20 + grain
    photograph = np.dstack([colours, np.full_like(rows, 255)]).astype("uint8")
    before = drawing(photograph)
    after = compress(before)
    assert len(after) < 0.3 * len(before)
    stored = base64.b64decode(after.split("data:image/webp;base64,")[1].split('"')[0])
    seen = np.asarray(Image.open(io.BytesIO(stored)).convert("RGBA")).astype(float)
    assert np.abs(seen - photograph).mean() < 3  # of 255 levels


def test_icons_are_those_of_the_pages(tmp_path):
    (tmp_path / "a.html").write_text('<i class="fa-solid fa-sun fa-lg"></i><p class="fa-moon">')
    (tmp_path / "b.html").write_text('<span class="fab fa-github"></span>')
    assert icons_of(tmp_path) == {"sun", "github"}
    library = 'x={sun:[512,256,[9728],"f185","M1 2z"],"circle-dot":[8,8,[],"f192","M3 4z"]}'
    assert 'viewBox="0 0 512 256"><path d="M1 2z"/>' in find_icon(library, "sun")
    assert 'd="M3 4z"' in find_icon(library, "circle-dot")
    assert find_icon(library, "dot") is None
