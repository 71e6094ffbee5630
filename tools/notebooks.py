"""Run the notebooks that need it and store their text outputs in ``book/``."""

from __future__ import annotations

import sys

from tools.dependencies import ROOT
from tools.execution import NotebookError, execute, with_outputs
from tools.normalise import normalise, to_text


def main() -> None:
    """Rewrite each notebook whose committed form differs from the form of its run."""
    try:
        jobs, _ = execute()
    except NotebookError as error:
        sys.exit(f"\n{error}")
    for job in jobs.values():
        text = to_text(normalise(with_outputs(job)))
        if text != job.path.read_text(encoding="utf-8"):
            job.path.write_text(text, encoding="utf-8", newline="\n")
            print(f"changed: {job.path.relative_to(ROOT)}")
    print(f"{len(jobs)} notebooks hold the outputs of their last run")


if __name__ == "__main__":
    main()
