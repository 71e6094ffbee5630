"""Sphinx extension: when what pages show of one another changes, all are written again.

Sphinx writes a page again when its own text changes. A title, label, number or term that moved
also changes the pages that refer to it. Prose that nobody else shows does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes

from tools.dependencies import checksum

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

SHARED = ("titles", "longtitles", "toctree_includes", "toc_secnumbers", "toc_fignumbers")


def plain(value: Any) -> Any:
    """Return a form of a value whose `repr` is the same whenever the value is."""
    match value:
        case dict():
            return sorted((repr(plain(key)), plain(item)) for key, item in value.items())
        case set() | frozenset():
            return sorted(repr(plain(item)) for item in value)
        case list() | tuple():
            return [plain(item) for item in value]
        case nodes.Node():
            return value.pformat()
    return value


def state(env: BuildEnvironment) -> str:
    """Return the checksum of all that pages show of one another."""
    domains: dict[str, Any] = dict(env.domaindata)
    if "cite" in domains:  # the rest of it comes from the bibliography's file and does not compare
        references = domains["cite"]["citation_refs"]
        domains["cite"] = {(ref.docname, to.key) for ref in references for to in ref.targets}
    parts = [plain(getattr(env, name)) for name in SHARED]
    return checksum(repr(parts), repr(plain(domains)))


def rewrite(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Return all pages, if that changed."""
    now = state(env)
    if now == getattr(env, "vaebook_shared", None):
        return []
    env.vaebook_shared = now  # type: ignore[attr-defined]
    return sorted(env.found_docs)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step, behind the ones that give numbers."""
    app.connect("env-get-updated", rewrite, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
