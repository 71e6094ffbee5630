"""Sphinx extension: what a live figure needs comes when the reader comes to it.

The state of a live figure may be the weights of a network. A large one leaves the page for a script
of its own, which ``vaebook-widgets.js`` loads when the figure is near the screen. It is a script
and not JSON, because a page that was opened as a file may not read other files.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

STATE = re.compile(r'<script type="application/json">([^<]{10000,})</script>')


def move_states(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Give each large state of a page a script of its own."""

    def move(match: re.Match[str]) -> str:
        key = hashlib.sha256(match[1].encode()).hexdigest()[:12]
        script = Path(app.outdir, "_static", "live", f"{key}.js")
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'(window.vaebookStates ??= {{}})["{key}"] = {match[1]};\n')
        source = context["pathto"](f"_static/live/{key}.js", 1)
        return f'<script type="application/json" data-key="{key}" data-source="{source}"></script>'

    if "body" in context:
        context["body"] = STATE.sub(move, context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step."""
    app.connect("html-page-context", move_states)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
