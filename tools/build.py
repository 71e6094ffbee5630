"""Build the book: run the notebooks that need it, and make the pages that changed.

For a complete build, the pages of what is done are read, and shown if there is time, while the
last notebooks run. Warnings are errors; after a failed build, all pages are made again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tools.dependencies import ROOT, tree_checksum
from tools.execution import EXECUTED, RECORDS, NotebookError, execute, read_records

PAGE = ROOT / "_build" / "html" / "index.html"
STAMP = ROOT / "_build" / "html.json"
SOURCES = ["_config.yml", "_toc.yml", "book", "locale", "vaebook", "tests", "tools"]
SOURCES += ["constraints.txt"]
COMPLETE_SECONDS = 60.0  # of a complete build of the pages, until one was measured
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def is_followed(file: Path) -> bool:
    """Tell whether Sphinx notices a change itself: in a page, a catalogue, a test that it names."""
    return file.suffix in {".ipynb", ".md", ".po"} or file.is_relative_to(ROOT / "tests")


class Pages:
    """The pages of the book, and what has to be made of them.

    Attributes
    ----------
    pass_options
        For the next pass. A pass goes on from the last one, unless that failed or something
        changed that Sphinx does not follow, such as its configuration.
    seconds
        What a complete build takes.
    """

    def __init__(self) -> None:
        self._sources = [ROOT / name for name in SOURCES if (ROOT / name).exists()]
        self._frame = tree_checksum(*self._sources, skip=is_followed)
        stamp: dict[str, Any] = {}
        if PAGE.exists() and STAMP.exists():
            stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        self._built_from = stamp.get("sources")
        self.pass_options = [] if stamp.get("frame") == self._frame else ["--fresh"]
        self.seconds = stamp.get("seconds", COMPLETE_SECONDS)

    def sources(self) -> str:
        """Return the checksum of all that the pages are made from."""
        return tree_checksum(*self._sources, *([RECORDS] if RECORDS.exists() else []))

    def are_current(self) -> bool:
        """Tell whether nothing changed since the last build."""
        runs = [(EXECUTED / name).with_suffix(".ipynb") for name in read_records()]
        return self._built_from == self.sources() and all(run.exists() for run in runs)

    async def start(self, seconds_left: float) -> None:
        """Read the pages of what is done; make them, too, if the notebooks leave time for it."""
        if not self.pass_options:
            return
        STAMP.unlink(missing_ok=True)
        kind = "--draft" if seconds_left > 2 * self.seconds else "--read"
        process = await asyncio.create_subprocess_exec(
            *self._command(kind), cwd=ROOT, env={**os.environ, **ENVIRONMENT}
        )
        try:
            succeeded = await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
        self.pass_options = ["--all" if succeeded else "--fresh"]

    def finish(self) -> None:
        """Make the pages that are left, and note what they were made from."""
        sources, start = self.sources(), time.perf_counter()
        STAMP.unlink(missing_ok=True)
        command, environment = self._command(), {**os.environ, **ENVIRONMENT}
        if subprocess.run(command, cwd=ROOT, env=environment).returncode:
            sys.exit("The pages were not built: the warnings above are errors.")
        if self.pass_options == ["--fresh"]:
            self.seconds = time.perf_counter() - start
        stamp = {"sources": sources, "frame": self._frame, "seconds": self.seconds}
        STAMP.write_text(json.dumps(stamp) + "\n", encoding="utf-8")

    def _command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "tools.make_pages", *options, *self.pass_options]


def main() -> None:
    """Build what changed and say where the book is and how long each part took."""
    start = time.perf_counter()
    pages = Pages()
    if pages.are_current():
        print("Nothing changed since the last build.")
        print(f"\nThe book: {PAGE.as_uri()}")
        return
    print(f"The book will be at {PAGE.as_uri()}", flush=True)
    try:
        _, ran = execute(pages.start, pages.seconds if pages.pass_options else 0.0)
    except NotebookError as error:
        sys.exit(f"\n{error}")
    executed = time.perf_counter()
    print("Building the pages", flush=True)
    pages.finish()
    report(ran, executed - start, time.perf_counter() - executed)


def report(ran: set[str], notebooks: float, pages: float) -> None:
    """Print how long each part took, and the address of the book."""
    print("\nTime")
    for name, record in read_records().items():
        note = "" if name in ran else "  (kept from an earlier run)"
        print(f"  {record['seconds']:7.1f} s  {name}{note}")
    print(f"  {notebooks:7.1f} s  notebooks, this run")
    print(f"  {pages:7.1f} s  pages, after the notebooks")
    print(f"  {notebooks + pages:7.1f} s  total")
    print(f"\nThe book: {PAGE.as_uri()}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # takes no options, but --help
    main()
