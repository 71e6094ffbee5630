"""Notebooks to download: their prose as plain Markdown, each role replaced by what it shows.

Cells that are no part of a page, such as those that record values for its text, are left out.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pybtex.database import parse_file

from tools.pages import results

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ROLE = re.compile(r"\{([a-z:_-]+)\}`([^`]+)`")
TITLED = re.compile(r"(.+?)\s*<([^<>]+)>", re.DOTALL)


def write_downloads(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the notebooks among the sources that the pages offer for download."""
    if exception is not None or app.builder.format != "html":
        return
    entries: dict[str, Any] = {}
    for name in getattr(app.config, "bibtex_bibfiles", ()):
        entries |= dict(parse_file(Path(app.srcdir) / name).entries)
    for docname in sorted(app.env.found_docs):
        copy = Path(app.outdir) / "_sources" / f"{docname}.ipynb"
        if copy.exists():
            notebook = json.loads(Path(app.env.doc2path(docname)).read_text(encoding="utf-8"))
            notebook["cells"] = [cell for cell in notebook["cells"] if on_page(cell)]
            for cell in notebook["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = plain("".join(cell["source"]), app.env, docname, entries)
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            copy.write_text(text, encoding="utf-8")


def on_page(cell: dict[str, Any]) -> bool:
    """Tell whether a cell is shown on its page."""
    return "remove-cell" not in cell["metadata"].get("tags", [])


def plain(text: str, env: BuildEnvironment, docname: str, entries: dict[str, Any]) -> str:
    """Replace every role in Markdown text by readable text."""

    def replace(match: re.Match[str]) -> str:
        role, content = match[1], " ".join(match[2].split())
        titled = TITLED.fullmatch(content)
        title, target = (titled[1], titled[2]) if titled else (None, content)
        if title is None and role in SHOWN:
            return SHOWN[role](env, docname, target)
        if role.startswith("cite"):
            return _cite(role, target, entries)
        if role.startswith("py:"):
            return f"`{title or target.lstrip('~')}`"
        return title or target

    return ROLE.sub(replace, text)


def _result(env: BuildEnvironment, docname: str, key: str) -> str:
    return results.look_up(env, docname, key) or key


def _title(env: BuildEnvironment, docname: str, target: str) -> str:
    page = posixpath.normpath(posixpath.join(posixpath.dirname(docname), target))
    return env.titles[page].astext() if page in env.titles else target


def _label(env: BuildEnvironment, docname: str, target: str) -> str:
    labels = env.get_domain("std").data["labels"]
    return f"“{labels[target][2]}”" if target in labels else target


def _cite(role: str, keys: str, entries: dict[str, Any]) -> str:
    works = []
    for key in map(str.strip, keys.split(",")):
        names = [" ".join(person.last_names) for person in entries[key].persons["author"]]
        authors = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        year = entries[key].fields["year"]
        works.append(f"{authors} ({year})" if role == "cite:t" else f"{authors}, {year}")
    return ", ".join(works) if role == "cite:t" else f"({'; '.join(works)})"


SHOWN: dict[str, Callable[[BuildEnvironment, str, str], str]] = {
    "result": _result,
    "eq": lambda env, docname, target: f"({target})",  # as it stands behind the equation
    "math": lambda env, docname, target: f"${target}$",
    "doc": _title,
    "ref": _label,
    "numref": _label,
    "prf:ref": _label,
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step that writes the notebooks."""
    app.connect("build-finished", write_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
