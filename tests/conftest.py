"""What all tests share: a browser, and how they are spread over processes."""

import os
import re
import signal

import pytest
from playwright.sync_api import Error, expect
from xdist.scheduler import LoadFileScheduling

from tools.browser import find_browser

NO_BROWSER = """\
The tests of the pages need Chromium, and none starts on this machine. Do one of these:
  - install it:                  sudo apt-get install chromium     (or Chrome, or Debian's
                                 chromium-headless-shell, which is the fastest)
  - let Playwright download it:  python -m playwright install --with-deps chromium
  - name it:                     export CHROMIUM=/path/to/chromium
"""

expect.set_options(timeout=60_000)  # milliseconds: a machine may be slow, and do other work


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """Let Ctrl-C interrupt, also where a shell has started the tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Let pytest-playwright use $CHROMIUM, or the system's Chromium where there is one.

    Without either it uses the one that Playwright downloads.
    """
    found = find_browser()
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


class ByFileAndPage(LoadFileScheduling):
    """Like ``--dist loadfile``, but each page and each live figure is a unit of its own.

    One process opens a page and runs all that is asked of it; pages make up half of the work,
    and the processes share them evenly.
    """

    def _split_scope(self, nodeid):
        """Return what is run in one process: the tests of a page, or else those of a file."""
        page = re.search(r"test_every_(?:page|figure)\.py::\w+\[(.+?\.html|\w+)", nodeid)
        return page[1] if page else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Spread the tests; a choice other than ``--dist loadfile`` stands as it is."""
    return ByFileAndPage(config, log) if config.option.dist == "loadfile" else None
