"""What a notebook's outputs depend on, as one checksum.

A notebook depends on its code, on the modules of ``vaebook`` that it imports (directly or through
other modules), on the package's files that are not Python (data, JavaScript), on the locked
versions, and on the notebooks that it must run after. Its prose is not among them.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vaebook"


def checksum(*parts: str | bytes) -> str:
    """Return one checksum of all parts, in this order."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def imported_names(source: str, package: str = "") -> Iterator[str]:
    """Yield every dotted name that ``source`` imports, anywhere in it.

    Parameters
    ----------
    source
        Python code.
    package
        The package that relative imports start from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -node.level + 1 or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def module_files(name: str) -> Iterator[Path]:
    """Yield the files of ``vaebook`` that importing ``name`` runs: the module and its parents."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        stem = ROOT.joinpath(*parts[:depth])
        for file in (stem / "__init__.py", stem.with_suffix(".py")):
            if file.is_relative_to(PACKAGE) and file.is_file():
                yield file


def package_files(source: str) -> set[Path]:
    """Return the modules of ``vaebook`` that ``source`` imports, and all that these import."""
    found: set[Path] = set()
    waiting = {file for name in imported_names(source) for file in module_files(name)}
    while waiting:
        file = waiting.pop()
        found.add(file)
        package = ".".join(file.parent.relative_to(ROOT).parts)
        names = imported_names(file.read_text(encoding="utf-8"), package)
        waiting |= {other for name in names for other in module_files(name)} - found
    return found


def other_files() -> set[Path]:
    """Return the files of the package that are not Python."""
    return {
        file for file in PACKAGE.rglob("*") if file.is_file() and file.suffix not in {".py", ".pyc"}
    }


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the notebook's code cells, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def notebook_key(notebook: NotebookNode, before: list[str]) -> str:
    """Return the checksum of everything that the outputs of ``notebook`` depend on.

    Parameters
    ----------
    notebook
        The notebook. Markdown cells, captions, tags and stored outputs do not count.
    before
        The keys of the notebooks that it must run after.
    """
    cells = code_cells(notebook)
    to_python = TransformerManager().transform_cell
    files = package_files("\n".join(to_python(cell.source) for cell in cells)) | other_files()
    parts = [part for file in sorted(files) for part in (file.name, file.read_bytes())]
    return checksum(
        json.dumps([[cell.source, raises(cell)] for cell in cells]),
        json.dumps([notebook.metadata.get("vaebook", {}), sys.version_info[:2], before]),
        (ROOT / "constraints.txt").read_bytes(),
        *parts,
    )


def raises(cell: NotebookNode) -> bool:
    """Tell whether a cell is meant to raise an exception."""
    return "raises-exception" in cell.metadata.get("tags", [])


def tree_checksum(*roots: Path) -> str:
    """Return the checksum of all files under ``roots``, without caches."""
    skipped = {"__pycache__", ".ipynb_checkpoints"}
    files = [
        file
        for root in roots
        for file in ([root] if root.is_file() else sorted(root.rglob("*")))
        if file.is_file() and not skipped.intersection(file.parts)
    ]
    return checksum(
        *(part for f in files for part in (f.relative_to(ROOT).as_posix(), f.read_bytes()))
    )
