"""Run one notebook in a kernel of its own."""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import suppress
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools.execution import Job, NotebookError
from tools.progress import Progress

CELL_TIMEOUT = 1800  # seconds
COLOUR = re.compile(r"\x1b\[[\d;]*m")
# One thread: as many notebooks as there are cores do more together than threads that share them.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    # glibc keeps what one training step frees for the next, in place of page faults by the thousand
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}


def resident_bytes(pid: int) -> int:
    """Return the memory that a process and its children hold now."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total


async def run(job: Job, progress: Progress) -> dict[str, Any]:
    """Run one notebook, store it and return its record."""
    notebook = job.notebook
    n_cells = len(notebook.cells)
    peak = 0
    at_cell = 0

    def starts(cell: NotebookNode, cell_index: int) -> None:
        nonlocal at_cell
        at_cell = cell_index
        progress.at_cell(job.name, cell_index + 1, n_cells)

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
        while True:
            if client.km is not None and (pid := getattr(client.km.provisioner, "pid", None)):
                peak = max(peak, await asyncio.to_thread(resident_bytes, pid))
            progress.show()
            await asyncio.sleep(0.2)

    progress.starts(job.name)
    start = time.perf_counter()
    watcher = asyncio.create_task(watch())
    where = f"{job.name}: cell {{}} of {n_cells} failed."
    try:
        await client.async_execute(env={**os.environ, **ENVIRONMENT})
    except CellExecutionError as error:
        traceback = COLOUR.sub("", error.traceback)
        raise NotebookError(f"{where.format(at_cell + 1)}\n{traceback}") from error
    except (CellTimeoutError, DeadKernelError) as error:
        source = notebook.cells[at_cell].source
        raise NotebookError(f"{where.format(at_cell + 1)}\n\n{source}\n\n{error}") from error
    finally:
        watcher.cancel()
    seconds = time.perf_counter() - start
    job.executed.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, job.executed)
    progress.ends(job.name, seconds)
    return {"seconds": round(seconds, 1), "peak_rss_bytes": peak, "key": job.key}
