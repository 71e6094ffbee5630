"""The page itself: chapters to come, words in another language, citations that can be read out."""

from __future__ import annotations

import html
import posixpath
import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import ReferenceRole, SphinxRole

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class ChapterRole(ReferenceRole):
    """Link to a chapter of the book, or say that it is in preparation.

    ``{chapter}`Title <folder/name>``` names a chapter relative to the page it stands on. The
    role becomes a link in the build that first contains the chapter, and nobody edits the
    table of contents for that.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link, or the title followed by a note."""
        folder = posixpath.dirname(self.env.docname)
        target = posixpath.normpath(posixpath.join(folder, self.target))
        if target in self.env.found_docs:
            link = addnodes.pending_xref(
                "",
                nodes.inline("", self.title),
                refdomain="std",
                reftype="doc",
                reftarget="/" + target,
                refdoc=self.env.docname,
                refexplicit=True,
                refwarn=True,
            )
            self.set_source_info(link)
            return [link], []
        note = nodes.inline("", "in preparation", classes=["vb-in-preparation"])
        return [nodes.inline("", self.title), nodes.Text(" "), note], []


class language_span(nodes.inline):
    """Words in a language other than the page's."""


class ChineseRole(SphinxRole):
    """Mark Chinese words, so that a screen reader speaks and a browser sets them as such."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the words inside a span that names their language."""
        return [language_span("", self.text, language="zh-Hans")], []


def _visit_language_span(translator: Any, node: language_span) -> None:
    translator.body.append(f'<span lang="{html.escape(node["language"])}">')


def _depart_language_span(translator: Any, node: language_span) -> None:
    translator.body.append("</span>")


def _pass(translator: Any, node: language_span) -> None:
    """Write the words alone, in formats that cannot say a language."""


# Roles that docutils writes, and that ARIA has since withdrawn or allows only in other places.
_WITHDRAWN_ROLES = re.compile(
    r'(<div class="citation"[^>]*?) role="doc-biblioentry"'
    r'|(<div) role="list"(?= class="citation-list")'
)


def _drop_withdrawn_roles(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave bibliography entries as plain blocks, which screen readers announce as text."""
    if "body" in context:
        context["body"] = _WITHDRAWN_ROLES.sub(
            lambda match: match.group(1) or match.group(2), context["body"]
        )


def _skip_foreign_members(
    app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any
) -> bool | None:
    """Leave what a class inherits from scikit-learn to scikit-learn's own reference."""
    return True if str(getattr(member, "__module__", "")).startswith("sklearn.") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the roles, and the corrections of the reference and of the HTML."""
    app.add_role("chapter", ChapterRole())
    app.add_role("zh", ChineseRole())
    app.add_node(
        language_span,
        html=(_visit_language_span, _depart_language_span),
        latex=(_pass, _pass),
        text=(_pass, _pass),
    )
    if "sphinx.ext.autodoc" in app.extensions:
        app.connect("autodoc-skip-member", _skip_foreign_members)
    app.connect("html-page-context", _drop_withdrawn_roles, priority=400)  # before previews
    return {"parallel_read_safe": True, "parallel_write_safe": True}
