"""Sphinx extension: the icons that the pages show, as a small style sheet.

The theme brings all icons of Font Awesome as one script of 1.5 MB, which draws them after the page
has been shown, and names them in a fifth of its style sheet. ``_static/icons.css`` has the same
drawings of those that stand in the pages, and takes the place of both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

logger = logging.getLogger(__name__)
STYLE = """\
/*! Icons: Font Awesome Free 6 by @fontawesome, https://fontawesome.com, CC BY 4.0
    (https://fontawesome.com/license/free). Copyright Fonticons, Inc. */
html :is(.fa-solid, .fas, .fa-brands, .fab) { font-family: inherit; }
html :is(.fa-solid, .fas, .fa-brands, .fab)::before { content: ""; display: inline-block;
  width: 1em; height: 1em; vertical-align: -0.125em; background: currentColor;
  forced-color-adjust: none; mask: var(--icon) center / contain no-repeat; }
"""
SHOWN = re.compile(r'<(?:i|span) class="([^"]*\b(?:fas|fab|fa-solid|fa-brands)\b[^"]*)"')
RULE = re.compile(r"(?:\.fa-[a-z0-9-]+::?before,?)+\{content:[^}]*\}")  # of the theme's style sheet
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
NOT_NAMES = {"solid", "brands", "lg"}


def write_icons(app: Sphinx, exception: Exception | None) -> None:
    """Write the style sheet for the pages in the output folder."""
    static = Path(app.outdir) / "_static"
    script = static / "scripts" / "fontawesome.js"
    if exception is not None or not script.exists():
        return
    library = script.read_text(encoding="utf-8")
    rules = []
    for name in sorted(icons_of(Path(app.outdir))):
        if drawing := find_icon(library, name):
            rules.append(f'.fa-{name} {{ --icon: url("data:image/svg+xml,{quote(drawing)}"); }}\n')
        else:
            logger.warning(f"the theme's Font Awesome has no icon '{name}'")
    (static / "icons.css").write_text(STYLE + "".join(rules), encoding="utf-8")
    style = static / "styles" / "pydata-sphinx-theme.css"
    style.write_text(RULE.sub("", style.read_text(encoding="utf-8")), encoding="utf-8")


def icons_of(folder: Path) -> set[str]:
    """Return the names of all icons that stand in the pages of a folder."""
    names: set[str] = set()
    for page in folder.rglob("*.html"):
        for classes in SHOWN.findall(page.read_text(encoding="utf-8")):
            names.update(NAME.findall(classes))
    return names - NOT_NAMES


def find_icon(library: str, name: str) -> str | None:
    """Return an icon of Font Awesome's script as SVG."""
    entry = rf'[{{,]"?{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"'
    icon = re.search(entry, library)
    if icon is None:
        return None
    width, height, path = icon.groups()
    size = f'viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><path d="{path}"/></svg>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the style sheet and the step that writes it."""
    app.connect("build-finished", write_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
