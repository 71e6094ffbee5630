"""What all tests share: a browser."""

import os
import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Let pytest-playwright use the system's Chromium where there is one.

    Without one it uses its own (``python -m playwright install chromium``).
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    # Chromium's sandbox does not start as root.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    options = {**browser_type_launch_args, "args": arguments}
    return {**options, "executable_path": found} if found else options
