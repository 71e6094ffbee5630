"""Run every test: the package, the stored outputs, the pages, the style and the types."""

from __future__ import annotations

import os
import subprocess
import sys

from tools.dependencies import ROOT

COMMAND = [
    *(sys.executable, "-m", "pytest", "tests", "book"),
    *("-p", "tools.nbval_replay"),
    *("--cov", "--cov-report=term-missing:skip-covered", "--cov-fail-under=95"),
    # In the order of collection, the long files come before the short ones that even things out.
    *("-n", "auto", "--maxprocesses=4", "--dist", "loadfile", "--no-loadscope-reorder"),
    *("--durations=10", "--durations-min=1", "--no-header", "-q"),
]


def main() -> None:
    """Run pytest with one thread for each of its processes, and pass its exit status on."""
    environment = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", **os.environ}
    # Without stored bytecode each of a hundred processes would compile torch anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.exit(subprocess.run([*COMMAND, *sys.argv[1:]], cwd=ROOT, env=environment).returncode)


if __name__ == "__main__":
    main()
