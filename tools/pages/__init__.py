"""The book's own Sphinx extensions: set mathematics, equations bound to tests, results, status.

Nothing here is needed, or imported, when a notebook runs. The editable install puts the project's
folder on Python's path, so that a plain ``sphinx-build`` finds them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


EXTENSIONS = (
    *("editions", "page", "typeset", "icons", "images", "tables"),  # how a page looks
    *("live", "opening"),
    *("equations", "results", "downloads", "status", "search"),  # what it says
)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all of them."""
    for name in EXTENSIONS:
        app.setup_extension(f"{__name__}.{name}")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
