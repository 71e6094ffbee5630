"""Sphinx extension: pictures that hold their place in the page, and weigh less.

A picture's size stands in the page, so that nothing moves when the picture comes. The figures are
drawings (SVG) in which dense parts are pixels; those are stored again without loss as WebP, in
about half the bytes. A photograph is stored with a loss that nobody sees, in a fifth of them.
"""

from __future__ import annotations

import base64
import io
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from PIL import Image
from sphinx.util.images import get_image_size

if TYPE_CHECKING:
    from sphinx.application import Sphinx

IMAGE = re.compile(r'<img\b(?![^>]* width=)[^>]*? src="([^"]+)"')
PIXELS = re.compile(r'data:image/png;base64,([^"]+)')
COLOURS = 10_000  # at most, in a drawing; a photograph has more


def state_sizes(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Write the size of each picture into its page."""
    sources = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}

    def with_size(match: re.Match[str]) -> str:
        source = sources.get(unquote(posixpath.basename(match[1])))
        size = get_image_size(str(source)) if source else None
        if size is None:
            return match[0]
        return f'<img width="{size[0]}" height="{size[1]}"{match[0].removeprefix("<img")}'

    if "body" in context:
        context["body"] = IMAGE.sub(with_size, context["body"])


def compress_images(app: Sphinx, exception: Exception | None) -> None:
    """Store the pixels inside the drawings again, where that makes them smaller."""
    if exception is not None or app.builder.format != "html":
        return
    for drawing in Path(app.outdir, "_images").glob("*.svg"):
        text = drawing.read_text(encoding="utf-8")
        if (smaller := compress(text)) != text:
            drawing.write_text(smaller, encoding="utf-8")


def compress(drawing: str) -> str:
    """Return a drawing with its pixels in the smaller form."""
    return PIXELS.sub(_as_webp, drawing)


def _as_webp(match: re.Match[str]) -> str:
    stored = base64.b64decode(match[1])
    webp = io.BytesIO()
    image = Image.open(io.BytesIO(stored))
    is_drawn = image.convert("RGB").getcolors(COLOURS) is not None
    image.save(webp, "webp", lossless=is_drawn, quality=80 if is_drawn else 92)
    if webp.tell() >= len(stored):
        return match[0]
    return "data:image/webp;base64," + base64.b64encode(webp.getvalue()).decode("ascii")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both steps."""
    app.connect("html-page-context", state_sizes, priority=400)  # before the previews
    app.connect("build-finished", compress_images)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
