"""What all tests share: a browser."""

import os
import shutil

import pytest
from playwright.sync_api import Error

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
)
NO_BROWSER = """\
The tests of the pages need Chromium, and none starts on this machine. Do one of these:
  - install it:                  sudo apt-get install chromium     (or Google Chrome)
  - let Playwright download it:  python -m playwright install --with-deps chromium
  - name it:                     export CHROMIUM=/path/to/chromium
"""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Let pytest-playwright use $CHROMIUM, or the system's Chromium where there is one.

    Without either it uses the one that Playwright downloads.
    """
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    # Chromium's sandbox does not start as root.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    options = {**browser_type_launch_args, "args": arguments}
    return {**options, "executable_path": found} if found else options


@pytest.fixture(scope="session")
def browser(launch_browser):
    """Start the browser once; without one, fail under CI and say how to get one anywhere."""
    try:
        started = launch_browser()
    except Error as error:
        message = f"{NO_BROWSER}\n{error}"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    yield started
    started.close()
