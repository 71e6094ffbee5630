"""Make the pages from the notebooks that were run: all of them, or those that changed.

    python -m tools.make_pages [--read | --draft] [--fresh] [--all] [--chinese]

Warnings are errors, except in the two passes that run while notebooks do: `--read` only reads
what is there already, `--draft` also shows it. These two fail if a page that will not be read
again has a warning, so that the last pass then starts afresh.

The Chinese edition (``tools/pages/editions.py``) starts from what was read for the English one, as
soon as that is there, and is made beside it. `--chinese` makes it alone.
"""

from __future__ import annotations

import argparse
import io
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from jupyter_book.config import get_final_config
from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.environment import CONFIG_OK, BuildEnvironment
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tools import catalogues
from tools.dependencies import ROOT
from tools.pages.editions import FOLDER

BUILD = ROOT / "_build"
DOCTREES = BUILD / "doctrees"  # not those of `jupyter-book build`, which does not know what is left
CHINESE_DOCTREES = BUILD / "doctrees-zh"
# Sphinx stores what it knows before it writes. What it learns while it writes, a later pass needs
# of the pages that it does not write: the previews of links, and the index of the search.
WRITTEN = "written.pickle"
WRITTEN_NAMES = ("tippy_data", "_search_index_")


def configuration(*, draft: bool, chinese: bool) -> dict[str, Any]:
    """Return Jupyter Book's configuration for Sphinx."""
    overrides = {
        "external_toc_path": str(ROOT / "_toc.yml"),
        "latex_individualpages": False,
        "nitpicky": True,
        "pages_of_running_notebooks": draft,
        "locale_dirs": [str(catalogues.COMPILED)],
        "gettext_compact": False,
    }
    config = get_final_config(
        user_yaml=ROOT / "_config.yml", cli_config=overrides, sourcedir=ROOT, validate=False
    )[0]
    return catalogues.translate_configuration(config, FOLDER) if chinese else config


def store(value: Any, file: Path) -> None:
    """Write a pickle."""
    file.write_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def forget_what_was_written(env: BuildEnvironment) -> None:
    """Drop what the English edition has learnt while its pages were written."""
    vars(env).pop("tippy_data", None)
    for name in vars(env):
        if name.startswith("_search_index_"):
            setattr(env, name, {})


def make(
    *,
    draft: bool = False,
    read: bool = False,
    fresh: bool = False,
    all: bool = False,
    chinese: bool = False,
) -> int:
    """Run Sphinx and return its exit status."""
    early = draft or read
    doctrees = CHINESE_DOCTREES if chinese else DOCTREES
    seeded = chinese and (fresh or not (doctrees / ENV_PICKLE_FILENAME).exists())
    if seeded:
        shutil.rmtree(doctrees, ignore_errors=True)
        shutil.copytree(DOCTREES, doctrees, ignore=shutil.ignore_patterns(WRITTEN))
    beside: list[subprocess.Popen[bytes]] = []

    def start_chinese(*_: object) -> None:
        if not (beside or chinese or early) and catalogues.pages():
            options = ["--fresh"] * (fresh or all)
            command = [sys.executable, "-m", "tools.make_pages", "--chinese", *options]
            beside.append(subprocess.Popen(command, cwd=ROOT))

    catalogues.compile_all()
    with patch_docutils(None), docutils_namespace():
        app = Sphinx(
            srcdir=ROOT,
            confdir=None,
            outdir=BUILD / "html" / (FOLDER if chinese else ""),
            doctreedir=doctrees,
            buildername="html",
            confoverrides=configuration(draft=early, chinese=chinese),
            status=None,
            warning=io.StringIO() if early else sys.stderr,
            freshenv=fresh and not chinese,
            warningiserror=not early,
            keep_going=True,
        )
        written = doctrees / WRITTEN
        if seeded:  # only what has a catalogue is read again, though the language changed
            app.env.config_status = CONFIG_OK
            forget_what_was_written(app.env)
        elif written.exists() and not fresh:
            vars(app.env).update(pickle.loads(written.read_bytes()))
        warnings = 0

        def count(app: Sphinx, env: object) -> None:
            nonlocal warnings
            warnings = app._warncount

        app.connect("env-updated", count, priority=0)
        app.connect("env-check-consistency", start_chinese)  # what was read is stored by now
        if read:
            app.builder.read()
            store(app.env, doctrees / ENV_PICKLE_FILENAME)
        else:
            app.build(force_all=all or fresh)
            known = vars(app.env).items()
            store({k: value for k, value in known if k.startswith(WRITTEN_NAMES)}, written)
            start_chinese()
        failed = bool(warnings) if early else bool(app.statuscode)
    return int(any(process.wait() for process in beside) or failed)


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("read", "draft", "fresh", "all", "chinese"):
        parser.add_argument(f"--{name}", action="store_true")
    sys.exit(make(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
