"""Run the notebooks that need it and store their text outputs in ``book/``."""

from __future__ import annotations

import re
import sys

from tools.dependencies import ROOT
from tools.execution import NotebookError, execute, store_reference, with_outputs
from tools.normalise import normalise, to_text

MEASURED = re.compile(r"(measured_\w+).*")


def compared(text: str) -> list[str]:
    """Return a stored notebook without what a machine decides: values named ``measured_...``."""
    return [MEASURED.sub(r"\1", line) for line in text.splitlines()]


def main() -> None:
    """Rewrite each notebook whose committed form differs from the form of its run.

    If only seconds and other measured values differ, it stays as it is: running an unchanged book
    again changes no file.
    """
    try:
        jobs, ran = execute()
    except NotebookError as error:
        sys.exit(f"\n{error}")
    for job in jobs.values():
        text = to_text(normalise(with_outputs(job)))
        if compared(text) != compared(job.path.read_text(encoding="utf-8")):
            job.path.write_text(text, encoding="utf-8", newline="\n")
            print(f"changed: {job.path.relative_to(ROOT)}")
    store_reference(ran)
    print(f"{len(jobs)} notebooks hold the outputs of their last run")


if __name__ == "__main__":
    main()
