"""What a notebook's outputs depend on, as one checksum.

A notebook depends on its code, on the definitions of ``vaebook`` that this reaches
(``tools/reach.py``), on the package's files that are not Python (data), on the locked versions, and
on the notebooks that it must run after. Its prose is not among them, and neither are the scripts of
the live figures: a cell writes a figure's name and state, and the page has the scripts.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools.reach import Package, Unreadable

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vaebook"
PAGE_ONLY = {".js", ".css"}  # what the pages read, and no notebook


def checksum(*parts: str | bytes) -> str:
    """Return one checksum of all parts, in this order."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def package_files(*, python: bool = False) -> list[Path]:
    """Return the files of the package that a run may read: those that are not Python, or all."""
    skipped = PAGE_ONLY if python else {*PAGE_ONLY, ".py"}
    return sorted(
        file
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix not in skipped
    )


def code_cells(notebook: dict[str, Any]) -> list[Any]:
    """Return the notebook's code cells, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def package_parts(cells: list[Any], package: Package) -> Iterator[str | bytes]:
    """Yield what the cells depend on in the package."""
    try:
        if any(map(raises, cells)):
            raise Unreadable("a traceback shows lines of the modules")
        modules, statements = package.reached("".join(cell["source"]) for cell in cells)
    except Unreadable:
        files = package_files(python=True)
    else:
        yield from statements
        files = [file for file in package_files() if package.may_read(modules, file)]
    for file in files:
        yield file.relative_to(PACKAGE).as_posix()
        yield file.read_bytes()


def notebook_key(
    notebook: dict[str, Any], before: list[str], package: Package | None = None
) -> str:
    """Return the checksum of everything that the outputs of ``notebook`` depend on.

    Parameters
    ----------
    notebook
        The notebook. Markdown cells, captions, tags and stored outputs do not count.
    before
        The keys of the notebooks that it must run after.
    package
        The package as it is now; read, unless given.
    """
    cells = code_cells(notebook)
    return checksum(
        json.dumps([["".join(cell["source"]), raises(cell)] for cell in cells]),
        json.dumps([sys.version_info[:2], before]),
        (ROOT / "constraints.txt").read_bytes(),
        *package_parts(cells, package or Package(PACKAGE)),
    )


def raises(cell: dict[str, Any]) -> bool:
    """Tell whether a cell is meant to raise an exception."""
    return "raises-exception" in cell["metadata"].get("tags", [])


def tree_checksum(*roots: Path, skip: Callable[[Path], bool] = lambda file: False) -> str:
    """Return the checksum of all files under ``roots``, without caches and those to skip."""
    skipped = {"__pycache__", ".ipynb_checkpoints"}
    files = [
        file
        for root in roots
        for file in ([root] if root.is_file() else sorted(root.rglob("*")))
        if file.is_file() and not skipped.intersection(file.parts) and not skip(file)
    ]
    return checksum(
        *(part for f in files for part in (f.relative_to(ROOT).as_posix(), f.read_bytes()))
    )
