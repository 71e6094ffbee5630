"""Make the pages from the notebooks that were run: all of them, or those that changed.

    python -m tools.make_pages [--read | --draft] [--fresh] [--all]

Warnings are errors, except in the two passes that run while notebooks do: `--read` only reads
what is there already, `--draft` also shows it. These two fail if a page that will not be read
again has a warning, so that the last pass then starts afresh.
"""

from __future__ import annotations

import argparse
import io
import pickle
import sys
from pathlib import Path
from typing import Any

from jupyter_book.config import get_final_config
from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tools.dependencies import ROOT

BUILD = ROOT / "_build"
DOCTREES = BUILD / "doctrees"  # not those of `jupyter-book build`, which does not know what is left
# Sphinx stores what it knows before it writes. What it learns while it writes, a later pass needs
# of the pages that it does not write: the previews of links, and the index of the search.
WRITTEN = DOCTREES / "written.pickle"
WRITTEN_NAMES = ("tippy_data", "_search_index_")


def configuration(*, draft: bool) -> dict[str, Any]:
    """Return Jupyter Book's configuration for Sphinx."""
    overrides = {
        "external_toc_path": str(ROOT / "_toc.yml"),
        "latex_individualpages": False,
        "nitpicky": True,
        "pages_of_running_notebooks": draft,
    }
    return get_final_config(
        user_yaml=ROOT / "_config.yml", cli_config=overrides, sourcedir=ROOT, validate=False
    )[0]


def store(value: Any, file: Path) -> None:
    """Write a pickle."""
    file.write_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def make(*, draft: bool = False, read: bool = False, fresh: bool = False, all: bool = False) -> int:
    """Run Sphinx and return its exit status."""
    early = draft or read
    with patch_docutils(None), docutils_namespace():
        app = Sphinx(
            srcdir=ROOT,
            confdir=None,
            outdir=BUILD / "html",
            doctreedir=DOCTREES,
            buildername="html",
            confoverrides=configuration(draft=early),
            status=None,
            warning=io.StringIO() if early else sys.stderr,
            freshenv=fresh,
            warningiserror=not early,
            keep_going=True,
        )
        if WRITTEN.exists() and not fresh:
            vars(app.env).update(pickle.loads(WRITTEN.read_bytes()))
        warnings = 0

        def count(app: Sphinx, env: object) -> None:
            nonlocal warnings
            warnings = app._warncount

        app.connect("env-updated", count, priority=0)
        if read:
            app.builder.read()
            store(app.env, DOCTREES / ENV_PICKLE_FILENAME)
        else:
            app.build(force_all=all or fresh)
            written = vars(app.env).items()
            store({k: value for k, value in written if k.startswith(WRITTEN_NAMES)}, WRITTEN)
        return bool(warnings) if early else app.statuscode


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("read", "draft", "fresh", "all"):
        parser.add_argument(f"--{name}", action="store_true")
    sys.exit(make(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
