"""Bring the catalogues of the Chinese edition up to date, and list what is left to translate.

    make messages
    python -m tools.messages [PAGE ...]

Reads the pages that changed, and takes over what they say now. With the name of a page, such as
``foundations/probability_toolbox``, a catalogue is begun for it, and for its live figures. Lists,
page by page, the messages that are new or outdated; none of those may be left in a build.
"""

from __future__ import annotations

import argparse
import ast
import pickle
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools import catalogues, words
from tools.dependencies import ROOT
from tools.execution import find_jobs, is_fresh, read_records
from tools.make_pages import DOCTREES, configuration, make

GETTEXT = re.compile(r"""_\(\s*(?P<quote>["'])(?P<text>.+?)(?P=quote)\s*\)""")
# What the themes' own Chinese catalogues lack.
OF_THEMES = (
    "Skip to main content",
    "Search",
    "Site navigation",
    "Back to top",
    "Toggle primary sidebar",
    "Toggle secondary sidebar",
    "Toggle Light / Dark / Auto color theme",
    "Color mode",
    "System Settings",
    "Light",
    "Dark",
    "By",
    "Main",
    "Page",
    "Launch interactive content",
    "Launch on Binder",
    "Launch on Colab",
    "Link to this heading",
    "Link to this image",
)


def of_pages() -> dict[str, list[str]]:
    """Return what each page says, by the English edition as it was last read.

    The labels of pictures are known from a run: a chapter that was not run since it changed is
    left out.
    """
    environment = pickle.loads((DOCTREES / "environment.pickle").read_bytes())
    jobs, records = find_jobs(), read_records()
    waiting = {f"book/{name}" for name, job in jobs.items() if not is_fresh(job, records)}
    for page in sorted(waiting & catalogues.pages()):
        print(f"{page} was not run since it changed: run `make html` first.")
    return {
        page: environment.metadata[page].get("messages", [])
        for page in environment.found_docs - waiting
    }


def of_figure(name: str) -> list[str]:
    """Return what a live figure says."""
    folder = ROOT / "vaebook" / "interactive"
    return words.in_script((folder / f"{name}.js").read_text(encoding="utf-8"))


def of_frame() -> list[str]:
    """Return what stands on every page: from the configuration, our extensions and templates."""
    config = configuration(draft=True, chinese=False)
    said = [str(holder[name]) for holder, name in catalogues.said_by(config)]
    for file in [*sorted((ROOT / "tools" / "pages").glob("*.py")), ROOT / "tools" / "pdf.py"]:
        said += in_python(file.read_text(encoding="utf-8"))
    for file in sorted((ROOT / "book" / "_templates").glob("*.html")):
        said += [match["text"] for match in GETTEXT.finditer(file.read_text(encoding="utf-8"))]
    return [*said, words.NEEDS_SCRIPT, *OF_THEMES]


def in_python(source: str) -> Iterator[str]:
    """Yield the texts that a module hands to `_`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="_"), args=[ast.Constant(value=str(text))]):
                yield text


def figures_on(pages: Iterable[str]) -> set[str]:
    """Return the live figures that the given pages show."""
    jobs, names = find_jobs(), set()
    for page in pages:
        source = next(
            (f for f in (ROOT / f"{page}.ipynb", ROOT / f"{page}.md") if f.exists()), None
        )
        text = source.read_text(encoding="utf-8") if source else ""
        names |= set(re.findall(r"\{live-figure-of\} \S+ (\w+)", text))
        job = jobs.get(page.removeprefix("book/"))
        if job and job.executed.exists():
            executed = job.executed.read_text(encoding="utf-8")
            names |= set(re.findall(r'data-figure=\\"(\w+)\\"', executed))
    return names


def said() -> dict[str, list[str]]:
    """Return the messages of each catalogue that there is, or has to be."""
    pages = {page: messages for page, messages in of_pages().items() if page in catalogues.pages()}
    figures = {"live", *figures_on(pages)} if pages else set()
    figures |= {name.removeprefix("figures/") for name in catalogues.names("figures")}
    return {
        catalogues.FRAME: of_frame(),
        **{f"figures/{name}": of_figure(name) for name in sorted(figures)},
        **pages,
    }


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="begin a catalogue for this page")
    options = parser.parse_args()
    make(read=True)
    known = of_pages()
    for name in options.pages:
        page = f"book/{Path(name.removeprefix('book/')).with_suffix('').as_posix()}"
        if page not in known:
            sys.exit(f"There is no page {name}. A page is named as in _toc.yml.")
        if not catalogues.path_of(page).exists():
            catalogues.update(page, known[page])
    left = {name: catalogues.update(name, messages) for name, messages in said().items()}
    for name, problems in left.items():
        if problems:
            print(f"{catalogues.path_of(name).relative_to(ROOT)}")
            print("".join(f"  {problem}\n" for problem in problems))
    count = sum(map(len, left.values()))
    waiting = len(known.keys() - catalogues.pages())
    print(f"{count} messages to translate in {len(left)} catalogues; {waiting} pages are English.")


if __name__ == "__main__":
    main()
