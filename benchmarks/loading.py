"""Loading MNIST: the first time (decompress and check), and again (from the user's cache)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

CODE = """
import time
from vaebook import data
start = time.perf_counter()
data.load()
print(time.perf_counter() - start)
"""


def main() -> None:
    """Load twice in fresh processes that share an empty cache folder."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "VAEBOOK_CACHE": folder}
        for name in ("first time", "again"):
            run = [sys.executable, "-c", CODE]
            out = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
            print(f"{name}: {float(out.stdout):.2f} s")


if __name__ == "__main__":
    main()
