"""Style, format, docstrings and types, by the tools that check them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "command",
    ["ruff check .", "ruff format --check --diff .", "mypy"],
    ids=["style and docstrings", "format", "types"],
)
def test_the_code_passes(command):
    """What `make lint` runs; `make format` repairs most of what it finds."""
    result = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
