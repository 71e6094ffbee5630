"""Run the notebooks whose outputs are missing or stale, two at a time where there are two cores.

A notebook's outputs stay valid as long as what they depend on (``tools/dependencies.py``) stays
the same. Executed copies lie under ``_build/executed``, times and peak memory in
``_build/execution.json``.

In a notebook's metadata, ``"vaebook": {"threads": "all"}`` asks to run alone, with all cores, and
``"vaebook": {"after": ["latent_variables/vae_training"]}`` to run after another notebook.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools.dependencies import ROOT, code_cells, notebook_key

BOOK = ROOT / "book"
EXECUTED = ROOT / "_build" / "executed"
RECORDS = ROOT / "_build" / "execution.json"
CELL_TIMEOUT = 1800  # seconds
PROGRESS_EVERY = 15.0  # seconds
COLOUR = re.compile(r"\x1b\[[\d;]*m")


class NotebookError(Exception):
    """A notebook that cannot be run, with the message for its author."""


@dataclass(frozen=True)
class Job:
    """A notebook of the book and what its outputs depend on."""

    name: str
    path: Path
    notebook: NotebookNode
    after: tuple[str, ...]
    all_cores: bool
    key: str

    @property
    def executed(self) -> Path:
        """The file that holds the notebook as it was run."""
        return (EXECUTED / self.name).with_suffix(".ipynb")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_jobs() -> dict[str, Job]:
    """Return the book's notebooks by name, each behind those that it must run after."""
    notebooks = {
        path.relative_to(BOOK).with_suffix("").as_posix(): (path, nbformat.read(path, as_version=4))
        for path in sorted(BOOK.rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts
    }
    jobs: dict[str, Job] = {}

    def add(name: str, asking: tuple[str, ...]) -> None:
        if name in jobs:
            return
        if name in asking:
            raise NotebookError(f"book/{name}.ipynb must run after itself: {asking}")
        if name not in notebooks:
            raise NotebookError(f"book/{asking[-1]}.ipynb must run after {name}, which is missing")
        path, notebook = notebooks[name]
        wishes = notebook.metadata.get("vaebook", {})
        after = tuple(wishes.get("after", ()))
        for other in after:
            add(other, (*asking, name))
        try:
            key = notebook_key(notebook, [jobs[other].key for other in after])
        except SyntaxError as error:
            raise NotebookError(
                f"book/{name}.ipynb, or a module that it imports, is not valid Python: {error}"
            ) from error
        jobs[name] = Job(name, path, notebook, after, wishes.get("threads") == "all", key)

    for name in notebooks:
        add(name, ())
    return jobs


def read_records() -> dict[str, dict[str, Any]]:
    """Return what is known of each notebook's last run."""
    if not RECORDS.exists():
        return {}
    return json.loads(RECORDS.read_text(encoding="utf-8"))


def is_fresh(job: Job, records: dict[str, dict[str, Any]]) -> bool:
    """Tell whether the notebook was run and nothing that it depends on changed since."""
    return records.get(job.name, {}).get("key") == job.key and job.executed.exists()


def with_outputs(job: Job) -> NotebookNode:
    """Return the notebook as it now stands, with the outputs of its run."""
    notebook = nbformat.from_dict(job.notebook)
    executed = nbformat.read(job.executed, as_version=4)
    for cell, run in zip(code_cells(notebook), code_cells(executed), strict=True):
        cell.outputs, cell.execution_count = run.outputs, run.execution_count
    return notebook


class Cores:
    """Cores to lend: one to a light notebook, all of them to one that asks for all."""

    def __init__(self, total: int) -> None:
        self.total = self.free = total
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def lend(self, number: int) -> AsyncIterator[None]:
        """Wait until ``number`` cores are free and hold them."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.free >= number)
            self.free -= number
        try:
            yield
        finally:
            async with self._changed:
                self.free += number
                self._changed.notify_all()


def resident_bytes(pid: int) -> int:
    """Return the memory that a process and its children hold now."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total


async def run(job: Job, threads: int) -> dict[str, Any]:
    """Run one notebook in a kernel of its own, store it and return its record."""
    notebook = nbformat.from_dict(job.notebook)
    peak = 0
    at_cell = 0

    def starts(cell: NotebookNode, cell_index: int) -> None:
        nonlocal at_cell
        at_cell = cell_index

    def where() -> str:
        return f"{job.name}: cell {at_cell + 1} of {len(notebook.cells)}"

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=starts,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(job.path.parent)}},
    )

    async def watch() -> None:
        nonlocal peak
        said = started = time.perf_counter()
        while True:
            if client.km is not None and (pid := getattr(client.km.provisioner, "pid", None)):
                peak = max(peak, await asyncio.to_thread(resident_bytes, pid))
            now = time.perf_counter()
            if now - said >= PROGRESS_EVERY:
                said = now
                print(f"  {where()}, {now - started:.0f} s", flush=True)
            await asyncio.sleep(0.2)

    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "TQDM_DISABLE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    print(f"  {job.name}: starts, {threads} thread{'s' * (threads > 1)}", flush=True)
    start = time.perf_counter()
    watcher = asyncio.create_task(watch())
    try:
        await client.async_execute(env=environment)
    except CellExecutionError as error:
        raise NotebookError(f"{where()} failed.\n{COLOUR.sub('', error.traceback)}") from error
    except (CellTimeoutError, DeadKernelError) as error:
        source = notebook.cells[at_cell].source
        raise NotebookError(f"{where()} failed.\n\n{source}\n\n{error}") from error
    finally:
        watcher.cancel()
    seconds = time.perf_counter() - start
    job.executed.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, job.executed)
    print(f"  {job.name}: done in {seconds:.1f} s, {peak / 2**20:.0f} MiB", flush=True)
    return {
        "seconds": round(seconds, 1),
        "peak_rss_bytes": peak,
        "threads": threads,
        "key": job.key,
    }


async def run_all(jobs: dict[str, Job], stale: set[str], records: dict[str, Any]) -> None:
    """Run the stale notebooks; the first that fails stops the others."""
    lender = Cores(min(2, cores()))
    done = {name: asyncio.Event() for name in stale}

    async def one(job: Job) -> None:
        for other in job.after:
            if other in done:
                await done[other].wait()
        async with lender.lend(lender.total if job.all_cores else 1):
            records[job.name] = await run(job, cores() if job.all_cores else 1)
        write_records(records, jobs)
        done[job.name].set()

    try:
        async with asyncio.TaskGroup() as group:
            # Light ones first: they share the cores, and the heavy ones then have all of them.
            for name in sorted(stale, key=lambda name: (jobs[name].all_cores, name)):
                group.create_task(one(jobs[name]))
    except* NotebookError as errors:
        raise errors.exceptions[0] from None


def write_records(records: dict[str, Any], jobs: dict[str, Job]) -> None:
    """Store the records of the notebooks that exist."""
    RECORDS.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: records[name] for name in sorted(jobs) if name in records}
    RECORDS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def execute() -> tuple[dict[str, Job], set[str]]:
    """Run what is stale.

    Returns
    -------
    jobs
        All notebooks of the book, now with valid outputs.
    ran
        The names of those that had to be run.

    Raises
    ------
    NotebookError
        If a cell raises; the message has the cell and the traceback.
    """
    jobs = find_jobs()
    records = read_records()
    stale = {name for name, job in jobs.items() if not is_fresh(job, records)}
    if stale:
        print(f"Running {len(stale)} of {len(jobs)} notebooks", flush=True)
        asyncio.run(run_all(jobs, stale, records))
    write_records(records, jobs)
    return jobs, stale
