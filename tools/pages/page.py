"""The page itself: links to chapters, words in another language, what HTML leaves unsaid."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.roles import XRefRole
from sphinx.util.docutils import SphinxRole

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class ChapterRole(XRefRole):
    """Link to a page of the book: ``{chapter}`Title <../folder/name>```.

    It is ``{doc}`` under the name that the text uses: the path is relative to the page on which
    the link stands, and one that leads nowhere is a warning.
    """

    def process_link(
        self, env: Any, refnode: Any, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        """Make it a reference to a document."""
        refnode["refdomain"], refnode["reftype"] = "std", "doc"
        return title, target


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
    app.add_role("chapter", ChapterRole(innernodeclass=nodes.inline, warn_dangling=True))
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
