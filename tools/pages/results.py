"""Sphinx extension: ``{result}`` shows in a sentence what a notebook recorded.

:func:`vaebook.results.record` records it. ``{result}`name``` is a value of the same page,
``{result}`page/name``` one of another page, by a path relative to the page it stands on. Values
are looked up after all pages are read, and so also inside a translated paragraph.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)


class result_reference(nodes.inline):
    """Stands for a recorded value until every page is read."""


class ResultRole(SphinxRole):
    """``{result}`key```: a recorded value."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Mark the place."""
        node = result_reference(self.rawtext, self.text, key=self.text, classes=["result"])
        self.set_source_info(node)
        return [node], []


def recorded(env: BuildEnvironment) -> Iterator[tuple[str, str]]:
    """Names and values that the notebook just read has recorded, through MyST-NB's `glue`."""
    folder = Path(env.mystnb_config.output_folder)  # type: ignore[attr-defined]
    if marks := NbMetadataCollector.get_doc_data(env).get(env.docname, {}).get("glue"):
        outputs = json.loads((folder / f"{env.docname}.glue.json").read_text(encoding="utf-8"))
        for mark in marks:
            yield from outputs[mark]["metadata"]["scrapbook"].get("results", {}).items()


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Note what one page has recorded, and whether it quotes."""
    metadata: dict[str, Any] = app.env.metadata[app.env.docname]
    metadata["quotes"] = any(True for _ in doctree.findall(result_reference))
    results: dict[str, str] = {}
    for name, value in recorded(app.env):
        if name in results:
            logger.warning(f"'{name}' is recorded twice: rename one", location=app.env.docname)
        results[name] = value
    metadata["results"] = results


def rewrite(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Return the pages that quote values, if any value changed."""
    state = {page: env.metadata[page].get("results") for page in sorted(env.found_docs)}
    if state == getattr(env, "vaebook_results", None):
        return []
    env.vaebook_results = state  # type: ignore[attr-defined]
    return sorted(page for page in env.found_docs if env.metadata[page].get("quotes"))


def look_up(env: BuildEnvironment, docname: str, key: str) -> str | None:
    """Value of `key` as the page `docname` names it."""
    page, _, name = key.rpartition("/")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(docname), page))
    results = env.metadata[target if page else docname].get("results") or {}
    value = results.get(name)
    return value.replace("-", "\N{MINUS SIGN}", 1) if value and value[0] == "-" else value


def show(node: result_reference, text: str) -> None:
    """Put a text in the place of a reference."""
    node.replace_self(nodes.inline("", text, classes=["result"]))


class ShowResults(SphinxPostTransform):
    """Replace every reference by its value."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Change one page, just before it is written."""
        for node in list(self.document.findall(result_reference)):
            value = look_up(self.env, self.env.docname, node["key"])
            if value is None:
                page = node["key"].rpartition("/")[0] or self.env.docname
                message = (
                    f"no result '{node['key']}': record it in a code cell of {page} with "
                    f"record({node['key'].rpartition('/')[2]}=…), or correct the name"
                )
                logger.warning(message, location=node)
            show(node, node["key"] if value is None else value)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the role."""
    app.setup_extension("myst_nb")
    app.add_node(result_reference)
    app.add_role("result", ResultRole())
    app.add_post_transform(ShowResults)
    app.connect("doctree-read", collect)
    app.connect("env-updated", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
