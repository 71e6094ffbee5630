"""Create ``.venv``, or bring it up to date with ``pyproject.toml`` and ``constraints.txt``.

Runs under the machine's own Python, before anything is installed: standard library only.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = FOLDER / "vaebook.sha256"


def wanted() -> str:
    """Return the checksum of all that decides what ``.venv`` holds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [
        json.dumps([project["build-system"], project["project"]], sort_keys=True),
        (ROOT / "constraints.txt").read_text(encoding="utf-8"),
        sys.version,
        str(ROOT),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def same_python() -> bool:
    """Tell whether ``.venv`` runs the Python that runs this script."""
    try:
        version = subprocess.run(
            [PYTHON, "-c", "import sys; print(sys.version)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return version.rstrip("\n") == sys.version


def create() -> None:
    """Make an empty ``.venv`` with pip in it."""
    try:
        venv.create(FOLDER, clear=True, with_pip=True)
    except (ImportError, subprocess.CalledProcessError):
        sys.exit(
            "This Python cannot create virtual environments. On Debian and Ubuntu: "
            f"sudo apt install python{sys.version_info.major}.{sys.version_info.minor}-venv"
        )


def install() -> None:
    """Install the package, editable, with everything that the book and its tests need."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-compile"]  # Python compiles what is used, when it is used
    command += ["--constraint", "constraints.txt", "--editable", ".[book,test]"]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit(
            "Installing the packages failed; pip's message is above. The first run downloads "
            "them, so it needs the internet. Run the same command again to go on."
        )


def has_nvidia_gpu() -> bool:
    """Tell whether an NVIDIA driver is loaded."""
    return Path("/proc/driver/nvidia").exists()


def main() -> None:
    """Do nothing when ``.venv`` is as wanted; otherwise create it and install."""
    checksum = wanted()
    if STAMP.exists() and STAMP.read_text() == checksum and PYTHON.exists():
        return
    start = time.perf_counter()
    if not same_python():
        print("Creating .venv", flush=True)
        create()
    print("Installing the packages into .venv (some minutes the first time)", flush=True)
    if sys.platform == "linux" and not has_nvidia_gpu() and not os.getenv("PIP_EXTRA_INDEX_URL"):
        print(
            "No NVIDIA GPU was found. The README, under 'Without a GPU', says how to install "
            "PyTorch without several GB of CUDA libraries.",
            flush=True,
        )
    STAMP.unlink(missing_ok=True)
    install()
    STAMP.write_text(checksum)
    print(f"Environment ready in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
