"""Run the notebooks as readers get them, where there is nothing but the package.

    make downloads
    python -m tools.downloads [--seconds N] [--python PATH] [NOTEBOOK ...]

Takes the notebooks that the pages offer for download (`make html` has made them), and runs each in
an empty folder with an empty cache. Python there has the built wheel, what the wheel declares to
need, and a Jupyter kernel; neither the repository nor the other packages of the book. `--python`
names another interpreter that has `vaebook` and `ipykernel`, such as one of conda. `--seconds`
stops each notebook N seconds after its first cells, without an error.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.dependencies import ROOT
from tools.execution import cores

SOURCES = ROOT / "_build" / "html" / "_sources" / "book"
FIRST_CELLS = 2  # of code: the one that installs the package, and the imports of the chapter
KERNEL = "vaebook"


def notebooks(folder: Path = SOURCES) -> dict[str, Path]:
    """Return the notebooks to download, by name."""
    found = sorted(folder.rglob("*.ipynb"))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in found}


# ---- an environment of the wheel and what it declares ----


def reachable(name: str, extras: Iterable[str] = ()) -> Iterator[str]:
    """Yield the names of all installed distributions that `name` needs here, and its own."""
    waiting, seen = [(canonicalize_name(name), frozenset(extras))], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        yield name
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if not requirement.marker or any(
                requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}
            ):
                child = canonicalize_name(requirement.name)
                waiting.append((child, frozenset(requirement.extras)))


def build_wheel(folder: Path) -> Path:
    """Build the package's wheel into a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def make_environment(folder: Path) -> Path:
    """Make an environment that holds the wheel, what it needs and a kernel; return its Python.

    What it needs is linked, not installed: the same files as in this environment, in a second.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = next(folder.glob("[bS]*/python*"))
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", ask], text=True).strip())
    with zipfile.ZipFile(build_wheel(folder)) as wheel:
        wheel.extractall(site)
    for name in {*reachable("vaebook"), *reachable("ipykernel")} - {"vaebook"}:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            with suppress(FileExistsError):  # two distributions may share a folder
                (site / top).symlink_to(str(distribution.locate_file(top)))
    return python


# ---- running ----


async def run(file: Path, python: Path, folder: Path, seconds: float | None = None) -> str:
    """Run a notebook in a folder, and store it there as it was run.

    Parameters
    ----------
    file
        The notebook.
    python
        An interpreter that has the package and a kernel.
    folder
        Made if it is missing; the caches lie below it, too.
    seconds
        When to stop, counted from the end of the first cells; if not given, never.

    Returns
    -------
    str
        How far it came: "41 of 63 code cells".

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        A cell has raised.
    """
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    kernels = folder / "kernels"
    (kernels / KERNEL).mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": KERNEL, "language": "python"}
    (kernels / KERNEL / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    specs = KernelSpecManager(kernel_dirs=[str(kernels)])
    manager = AsyncKernelManager(kernel_name=KERNEL, kernel_spec_manager=specs)
    notebook = nbformat.read(file, as_version=4)
    n_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    begun, done = asyncio.Event(), 0

    def executed(**_: object) -> None:
        nonlocal done
        done += 1
        if done >= FIRST_CELLS:
            begun.set()

    async def stop() -> None:
        await begun.wait()
        await asyncio.sleep(seconds if seconds is not None else 10**9)

    client = NotebookClient(
        notebook,
        km=manager,
        timeout=None,
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],
        on_cell_executed=executed,
        resources={"metadata": {"path": str(folder)}},
    )
    own = {"VAEBOOK_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    execution = asyncio.ensure_future(client.async_execute(env={**kept, **own}))
    tasks = {execution, asyncio.ensure_future(stop())}
    finished, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    if manager.has_kernel:  # nbclient stops only a kernel whose manager it has made itself
        await manager.shutdown_kernel(now=True)
    if execution in finished:
        execution.result()
    nbformat.write(notebook, folder / file.name)
    return f"{done} of {n_cells} code cells"


async def run_all(
    chosen: dict[str, Path], python: Path, folder: Path, seconds: float | None
) -> list[str]:
    """Run notebooks, one on each core, and return the names of those that failed."""
    free, failed = asyncio.Semaphore(cores()), []

    async def run_one(name: str, file: Path) -> None:
        async with free:
            start = time.perf_counter()
            try:
                result = await run(file, python, folder / name, seconds)
            except Exception as error:
                failed.append(name)
                result = f"failed\n{error}"
            print(f"{time.perf_counter() - start:7.1f} s  {name}: {result}", flush=True)

    await asyncio.gather(*(run_one(name, file) for name, file in chosen.items()))
    return failed


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NOTEBOOK", help="as in _toc.yml; else all")
    parser.add_argument("--seconds", type=float, help="stop each after its first cells and these")
    parser.add_argument("--python", type=Path, help="an interpreter with vaebook and ipykernel")
    options = parser.parse_args()
    known = notebooks()
    names = [name.removeprefix("book/").removesuffix(".ipynb") for name in options.names]
    if missing := set(names) - set(known) or (not known and {"notebooks"}):
        sys.exit(f"The built pages have no {', '.join(sorted(missing))}: run `make html` first.")
    chosen = {name: known[name] for name in names or known}
    with tempfile.TemporaryDirectory(prefix="vaebook-") as temporary:
        folder = Path(temporary)
        python = options.python or make_environment(folder / "environment")
        failed = asyncio.run(run_all(chosen, python.absolute(), folder, options.seconds))
    if failed:
        sys.exit(f"{len(failed)} of {len(chosen)} notebooks failed: {', '.join(sorted(failed))}")
    print(f"{len(chosen)} notebooks ran outside the repository, without an error")


if __name__ == "__main__":
    main()
