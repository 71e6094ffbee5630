"""Build the book: run the notebooks that need it, then make the pages, warnings as errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from tools.dependencies import ROOT, tree_checksum
from tools.execution import RECORDS, Job, NotebookError, execute, read_records, with_outputs

HTML = ROOT / "_build" / "html"
STAMP = ROOT / "_build" / "html.sha256"
SOURCES = ["_config.yml", "_toc.yml", "book", "vaebook", "tests", "tools", "constraints.txt"]


def fill_cache(jobs: dict[str, Job]) -> None:
    """Hand the outputs to Jupyter Book, through the cache that it reads."""
    # Slow to import, and not needed when nothing changed.
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    folder = ROOT / "_build" / ".jupyter_cache"
    shutil.rmtree(folder, ignore_errors=True)
    cache = get_cache(folder)
    records = read_records()
    for job in jobs.values():
        bundle = CacheBundleIn(
            with_outputs(job),
            str(job.path),
            data={"execution_seconds": records[job.name]["seconds"]},
        )
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def make_pages() -> None:
    """Run Jupyter Book on everything, warnings as errors."""
    # The program has no `python -m` form, so take the one that was installed with this Python.
    program = shutil.which("jupyter-book", path=sysconfig.get_path("scripts"))
    if program is None:
        sys.exit("jupyter-book is not installed. Remove .venv and run `make html` again.")
    process = subprocess.run(
        [program, "build", ".", "-W", "-n", "--keep-going", "--all", "--quiet"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
    )
    if process.returncode:
        sys.exit("The pages were not built: the warnings above are errors.")


def main() -> None:
    """Build what changed and say where the book is and how long each part took."""
    start = time.perf_counter()
    try:
        jobs, ran = execute()
    except NotebookError as error:
        sys.exit(f"\n{error}")
    executed = time.perf_counter()

    sources = [ROOT / name for name in SOURCES if (ROOT / name).exists()]
    checksum = tree_checksum(*sources, RECORDS)
    page = HTML / "index.html"
    built = not (page.exists() and STAMP.exists() and STAMP.read_text() == checksum)
    if built:
        print("Building the pages", flush=True)
        STAMP.unlink(missing_ok=True)
        fill_cache(jobs)
        make_pages()
        STAMP.write_text(checksum)
    report(ran, executed - start, time.perf_counter() - executed if built else None, page)


def report(ran: set[str], notebooks: float, pages: float | None, page: Path) -> None:
    """Print how long each part took, and the address of the book."""
    records = read_records()
    print("\nTime")
    for name, record in records.items():
        note = "" if name in ran else "  (kept from an earlier run)"
        print(f"  {record['seconds']:7.1f} s  {name}{note}")
    print(f"  {notebooks:7.1f} s  notebooks, this run")
    print(f"  {pages or 0:7.1f} s  pages{'' if pages else ' (nothing changed)'}")
    print(f"  {notebooks + (pages or 0):7.1f} s  total")
    print(f"\nThe book: {page.as_uri()}")


if __name__ == "__main__":
    main()
