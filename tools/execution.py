"""Run the notebooks whose outputs are missing or stale, as many at a time as there are cores.

A notebook's outputs stay valid as long as what they depend on (``tools/dependencies.py``) stays
the same. Executed copies lie under ``_build/executed``, times and peak memory in
``_build/execution.json``. ``tools/schedule.py`` decides the order.

In a notebook's metadata, ``"vaebook": {"after": ["latent_variables/vae_training"]}`` asks to run
after another notebook.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.dependencies import PACKAGE, ROOT, code_cells, notebook_key
from tools.reach import Package
from tools.schedule import Task, next_tasks

# What runs notebooks is slow to import and waits until one has to run.
if TYPE_CHECKING:
    from nbformat import NotebookNode

    from tools.progress import Progress

BOOK = ROOT / "book"
EXECUTED = ROOT / "_build" / "executed"
RECORDS = ROOT / "_build" / "execution.json"
REFERENCE = ROOT / "tools" / "times.json"
UNKNOWN = {"seconds": 60.0, "peak_rss_bytes": 2**30}


class NotebookError(Exception):
    """A notebook that cannot be run, with the message for its author."""


@dataclass(frozen=True)
class Job:
    """A notebook of the book and what its outputs depend on."""

    name: str
    path: Path
    text: str
    after: tuple[str, ...]
    key: str

    @property
    def executed(self) -> Path:
        """The file that holds the notebook as it was run."""
        return (EXECUTED / self.name).with_suffix(".ipynb")

    @property
    def notebook(self) -> NotebookNode:
        """The notebook as it was when its key was computed."""
        import nbformat

        return nbformat.reads(self.text, as_version=4)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_jobs() -> dict[str, Job]:
    """Return the book's notebooks by name, each behind those that it must run after."""
    texts = {
        path.relative_to(BOOK).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(BOOK.rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts
    }
    try:
        package = Package(PACKAGE)
    except SyntaxError as error:
        raise NotebookError(f"{error.filename} is not valid Python: {error}") from error
    jobs: dict[str, Job] = {}

    def add(name: str, asking: tuple[str, ...]) -> None:
        if name in jobs:
            return
        if name in asking:
            raise NotebookError(f"book/{name}.ipynb must run after itself: {asking}")
        if name not in texts:
            raise NotebookError(f"book/{asking[-1]}.ipynb must run after {name}, which is missing")
        notebook = json.loads(texts[name])
        after = tuple(notebook["metadata"].get("vaebook", {}).get("after", ()))
        for other in after:
            add(other, (*asking, name))
        key = notebook_key(notebook, [jobs[other].key for other in after], package)
        jobs[name] = Job(name, (BOOK / name).with_suffix(".ipynb"), texts[name], after, key)

    for name in texts:
        add(name, ())
    return jobs


def read_records(file: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return what is known of each notebook's last run, or of the runs stored in a file."""
    file = file or RECORDS
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def is_fresh(job: Job, records: dict[str, dict[str, Any]]) -> bool:
    """Tell whether the notebook was run and nothing that it depends on changed since."""
    return records.get(job.name, {}).get("key") == job.key and job.executed.exists()


def with_outputs(job: Job) -> NotebookNode:
    """Return the notebook as it now stands, with the outputs of its run."""
    import nbformat

    notebook = job.notebook
    executed = nbformat.read(job.executed, as_version=4)
    for cell, run in zip(code_cells(notebook), code_cells(executed), strict=True):
        cell.outputs, cell.execution_count = run.outputs, run.execution_count
    return notebook


def expected(jobs: dict[str, Job], records: dict[str, dict[str, Any]]) -> dict[str, Task]:
    """Return what each notebook should take: what it last took, here or on the authors' machine."""
    known = read_records(REFERENCE) | records
    return {
        name: Task(run["seconds"], run["peak_rss_bytes"], job.after)
        for name, job in jobs.items()
        for run in [known.get(name, UNKNOWN)]
    }


def store_reference(names: Iterable[str]) -> None:
    """Store what the notebooks took, for a first build elsewhere.

    What is still right within a factor of two stays as it is.
    """
    stored, records = read_records(REFERENCE), read_records()
    for name in names:
        run = {key: records[name][key] for key in UNKNOWN}
        before = stored.get(name, UNKNOWN)
        if name not in stored or any(not 0.5 < run[key] / before[key] < 2 for key in UNKNOWN):
            stored[name] = run
    kept = {name: stored[name] for name in sorted(records) if name in stored}
    REFERENCE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


async def run_all(
    jobs: dict[str, Job],
    tasks: dict[str, Task],
    records: dict[str, dict[str, Any]],
    progress: Progress,
    idle: Callable[[float], Coroutine[Any, Any, None]] | None,
) -> None:
    """Run the notebooks of `tasks`; the first that fails stops the others."""
    from tools.kernel import run

    waiting = set(tasks)
    running: dict[asyncio.Task[dict[str, Any]], str] = {}
    try:
        async with asyncio.TaskGroup() as group:
            while waiting or running:
                active = running.values()
                for name in next_tasks(tasks, waiting, active, progress.cores, progress.memory):
                    waiting.remove(name)
                    running[group.create_task(run(jobs[name], progress))] = name
                if idle and len(running) < progress.cores:
                    group.create_task(idle(progress.left()))
                    idle = None
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    records[running.pop(task)] = task.result()
                    write_records(records, jobs)
    except* NotebookError as errors:
        raise errors.exceptions[0] from None
    finally:
        progress.close()


def write_records(records: dict[str, dict[str, Any]], jobs: dict[str, Job]) -> None:
    """Store the records of the notebooks that exist."""
    RECORDS.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: records[name] for name in sorted(jobs) if name in records}
    RECORDS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def execute(
    idle: Callable[[float], Coroutine[Any, Any, None]] | None = None, afterwards: float = 0.0
) -> tuple[dict[str, Job], set[str]]:
    """Run what is stale.

    Parameters
    ----------
    idle
        Called once, with the seconds that are left, when a core has nothing to do while
        notebooks still run.
    afterwards
        The seconds of work that follows, for the time that is left.

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
    stale = {name: job for name, job in jobs.items() if not is_fresh(job, records)}
    if stale:
        import psutil

        from tools.progress import Progress, about

        tasks = expected(stale, records)
        memory = psutil.virtual_memory().available
        progress = Progress(tasks, cores(), memory, afterwards)
        progress.say(
            f"Running {len(stale)} of {len(jobs)} notebooks, {min(cores(), len(stale))} at a time:"
            f" about {about(progress.left() + afterwards)}"
        )
        asyncio.run(run_all(jobs, tasks, records, progress, idle))
    write_records(records, jobs)
    return jobs, set(stale)
