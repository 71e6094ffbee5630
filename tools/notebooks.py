"""Run the notebooks that need it and store their text outputs in ``book/``."""

from __future__ import annotations

import argparse
import sys

from nbformat import NotebookNode

from tools.compare import differences
from tools.dependencies import ROOT, code_cells
from tools.execution import Job, NotebookError, execute, store_reference, with_outputs
from tools.normalise import normalise, to_text


def to_store(job: Job) -> NotebookNode:
    """Return the notebook with the outputs of its run, or with the stored ones if all agree."""
    run = normalise(with_outputs(job))
    agree = all(
        stored.execution_count == new.execution_count and not differences(stored, new.outputs)
        for stored, new in zip(code_cells(job.notebook), code_cells(run), strict=True)
    )
    return normalise(job.notebook) if agree else run


def main() -> None:
    """Rewrite each notebook whose committed form differs from the form of its run.

    If all numbers lie within their tolerances, it stays as it is: running an unchanged book again
    changes no file.
    """
    try:
        jobs, ran = execute()
    except NotebookError as error:
        sys.exit(f"\n{error}")
    for job in jobs.values():
        text = to_text(to_store(job))
        if text != job.path.read_text(encoding="utf-8"):
            job.path.write_text(text, encoding="utf-8", newline="\n")
            print(f"changed: {job.path.relative_to(ROOT)}")
    store_reference(ran)
    print(f"{len(jobs)} notebooks hold the outputs of their last run")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # takes no options, but --help
    main()
