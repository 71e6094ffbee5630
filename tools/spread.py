"""How far the stored numbers move on other machines, beside the tolerances that are stated.

``python -m tools.spread [chapter ...]`` runs chapters (all of them by default) as other machines
would: again, with two threads, and without wide vectors and bfloat16. For each number that moves
or has a tolerance it prints what was seen, the tolerance and a verdict:

- ``missing``: it moves, and no tolerance is stated;
- ``too tight``: it moves beyond its tolerance;
- ``loose``: the tolerance is more than three times what it moves;
- ``words``: the text around it differs, so that no tolerance helps.

Runs are kept under ``_build/spread`` until the chapter's code changes, so that a tolerance can be
adjusted and looked at again in seconds. Training chapters take minutes for each setting.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools.compare import (
    EXACT,
    NUMBER,
    Number,
    Tolerance,
    differences,
    read_tolerances,
    texts,
    unit_of_last_digit,
    value,
)
from tools.dependencies import ROOT, code_cells
from tools.execution import Job, find_jobs

RUNS = ROOT / "_build" / "spread"
QUIET = {"TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
OLDER_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
# Environment, and code to run first.
SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "again": ({"OMP_NUM_THREADS": "1"}, ""),
    "two threads": ({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}, ""),
    "AVX2, float32": (
        {"OMP_NUM_THREADS": "1", **OLDER_PROCESSOR},
        "import torch; torch.cpu.get_capabilities = dict  # none: no bfloat16",
    ),
}
LOOSE = 3


def run(job: Job, setting: str) -> NotebookNode:
    """Return a notebook with the outputs of a run under a setting, and keep it."""
    file = RUNS / setting / f"{job.name}-{job.key[:12]}.ipynb"
    if file.exists():
        return nbformat.read(file, as_version=4)
    print(f"  {job.name}: {setting}", file=sys.stderr, flush=True)
    environment, prelude = SETTINGS[setting]
    notebook = nbformat.from_dict(job.notebook)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(prelude))
    # A chapter reads what another one trained under the same setting.
    environment = {**os.environ, **QUIET, **environment, "VAEBOOK_CACHE": str(RUNS / setting)}
    folder = {"metadata": {"path": str(job.path.parent)}}
    client = NotebookClient(notebook, kernel_name="python3", timeout=None, resources=folder)
    client.execute(env=environment)
    del notebook.cells[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, file)
    return notebook


def moves(cell: NotebookNode, runs: list[NotebookNode]) -> Iterator[tuple[Number, list[str]]]:
    """Yield each stored number of a cell with what the runs show in its place."""
    for i, text in enumerate(texts(cell.outputs)):
        others = [NUMBER.findall(list(texts(run.outputs))[i].text) for run in runs]
        numbers = [number for line in text.numbers(read_tolerances(cell)) for number in line]
        for number, *found in zip(numbers, *others, strict=True):
            yield number, found


def verdict(number: str, found: list[str], tolerance: Tolerance) -> tuple[Decimal, str]:
    """Return how far a number moves, and what that says of its tolerance."""
    others = [other for other in found if other != number]
    farthest = max((abs(value(other) - value(number)) for other in others), default=Decimal(0))
    if tolerance == EXACT:
        return farthest, "missing" if farthest else ""
    allowed = tolerance.allowed(number, number)
    if allowed is None:
        return farthest, "exempt"
    if farthest > allowed:
        return farthest, "too tight"
    needed = max(farthest, unit_of_last_digit(number))
    return farthest, "loose" if allowed > LOOSE * needed else "good"


def report(job: Job) -> Iterator[str]:
    """Yield a line for each number of a chapter that moves or has a tolerance."""
    runs = [code_cells(run(job, setting)) for setting in SETTINGS]
    for cell, *others in zip(code_cells(job.notebook), *runs, strict=True):
        cell_tolerances = read_tolerances(cell)
        try:
            for number, found in moves(cell, others):
                tolerance = EXACT if number.key is None else cell_tolerances[number.key]
                if len({number.text, *found}) > 1 or number.key is not None:
                    farthest, says = verdict(number.text, found, tolerance)
                    yield (
                        f"{says:10} {cell.id:18} {number.place:34} {number.text:>10} "
                        f"{' '.join(found):44} moves {farthest}, {tolerance.stated}"
                    )
        except (ValueError, IndexError):
            yield f"{'words':10} {cell.id:18} the runs show other texts"
        for setting, other in zip(SETTINGS, others, strict=True):
            for message in differences(cell, other.outputs):
                if "other words" in message or "lines stored" in message:
                    yield f"{'words':10} {cell.id:18} {setting}: {message}"


def main() -> None:
    """Run the chapters that are asked for and print their numbers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("chapters", nargs="*", help="such as latent_variables/vae_objective")
    jobs = find_jobs()
    chapters = [Path(name).with_suffix("").as_posix() for name in parser.parse_args().chapters]
    for name in [name for name in jobs if not chapters or name in chapters]:
        print(f"\n{name}", *report(jobs[name]), sep="\n", flush=True)


if __name__ == "__main__":
    main()
