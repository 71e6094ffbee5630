r"""Sphinx extension: mathematics is set while the pages are built, by KaTeX.

The pages come with every formula at its final size, as HTML for the eye and MathML for a screen
reader, and load no script for it. LaTeX that KaTeX does not know is a warning, with page and
formula, and so an error under ``-W``.

While Sphinx works on a page, a formula stands in it as ``<span class="math">\(x\)</span>``: what
reads the page on the way, as the hover previews do, meets one element and not a hundred. When all
pages are written, each such span is replaced, in the pages and in the previews.
"""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import quickjs
from docutils import nodes
from sphinx.locale import get_translation
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

from tools import catalogues

if TYPE_CHECKING:
    from sphinx.application import Sphinx

logger = logging.getLogger(__name__)
_ = get_translation(catalogues.FRAME)
SCRIPT = Path(__file__).parent / "katex" / "katex.min.js"
SET = """
function set(latex, displayMode) {
  try {
    return JSON.stringify({html: katex.renderToString(latex, {displayMode, strict: "error"})});
  } catch (error) {
    return JSON.stringify({error: error.message});
  }
}"""
# A formula that waits to be set, with what must not be parted from it by the end of a line.
FORMULA = re.compile(
    r'([(\[“‘（《]?)<span class="math">\\([(\[])(.*?)\\[)\]]</span>'
    r"([,.;:!?)\]’”，。；：！？、）》]*)",
    re.DOTALL,
)
# KaTeX sets only the first hyphen of an operator's name as one, the others as minus signs.
OPERATOR = re.compile(r"(?<=\\operatorname\{)[^{}]*(?=\})")
PREVIEWS = re.compile(r"(?<=^selector_to_html = )\{.*\}$", re.MULTILINE)
# KaTeX's elements: the parts between which a formula may be broken, and what holds them.
PART, HOLDER, END = (
    '<span class="katex-base">',
    '<span class="katex"><span class="katex-html" aria-hidden="true">',
    "</span></span>",
)


@functools.cache
def _katex() -> Callable[[str, bool], str]:
    context = quickjs.Context()
    context.eval(SCRIPT.read_text(encoding="utf-8") + SET)
    return context.get("set")


@functools.cache
def typeset(latex: str, display: bool) -> str:
    """Return a formula as HTML; LaTeX that KaTeX does not know raises a `ValueError`."""
    latex = OPERATOR.sub(lambda name: name[0].replace("-", r"\text{-}"), latex)
    result = json.loads(_katex()(latex, display))
    if "error" in result:
        # KaTeX underlines the place with combining characters.
        raise ValueError(result["error"].replace("\u0332", ""))
    return str(result["html"])


def typeset_all(page: str) -> str:
    """Set every formula of a page that waits for it."""

    def replace(match: re.Match[str]) -> str:
        before, bracket, latex, after = match.groups()
        try:
            formula = typeset(html.unescape(latex), bracket == "[")
        except ValueError:  # a warning has told its author
            return match.group()
        return _tie(before, formula, after) if before or after else formula

    return FORMULA.sub(replace, page)


def _tie(before: str, formula: str, after: str) -> str:
    """Keep a bracket on the line of a formula's first part, a comma on that of its last."""
    start, *parts = formula.removesuffix(END).split(PART)
    parts = [PART + part for part in parts]
    if len(parts) == 1:
        return f'<span class="vb-tied">{before}{formula}{after}</span>'
    first = parts[:1] if before else []
    last = parts[-1:] if after else []
    middle = parts[len(first) : len(parts) - len(last)]
    tied = ""
    for left, held, right in ((before, first, ""), ("", middle, ""), ("", last, after)):
        if held:
            piece = left + (HOLDER if tied else start) + "".join(held) + END + right
            tied += f'<span class="vb-tied">{piece}</span>' if left or right else piece
    return tied


def visit_math(translator: Any, node: nodes.math) -> None:
    """Write a formula in a sentence."""
    translator.body.append(_waiting(translator, node, *"()"))
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.math_block) -> None:
    """Write a displayed formula, its number and the link to it."""
    body = translator.body
    body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, _("Link to this equation"))
        body.append("</span>")
    body.append(_waiting(translator, node, *"[]") + "</div>\n")
    raise nodes.SkipNode


def _waiting(translator: Any, node: nodes.Element, left: str, right: str) -> str:
    try:
        typeset(node.astext(), left == "[")
    except ValueError as error:
        logger.warning(f"this is no LaTeX: '{node.astext()}'. {error}", location=node)
    return rf'<span class="math">\{left}{translator.encode(node.astext())}\{right}</span>'


class TieErrors(SphinxPostTransform):
    """Keep a number and its error in one line."""

    default_priority = 900

    def run(self, **kwargs: Any) -> None:
        """Change one page."""
        for text in list(self.document.findall(nodes.Text)):
            if " ± " in text and not isinstance(text.parent, nodes.FixedTextElement | nodes.math):
                text.parent.replace(text, nodes.Text(text.replace(" ± ", "\u00a0±\u00a0")))


def typeset_pages(app: Sphinx, exception: Exception | None) -> None:
    """Set the formulas of all pages and previews that were written."""
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    for page in folder.rglob("*.html"):
        _rewrite(page, typeset_all)
    for script in (folder / "_static" / "tippy").rglob("*.js"):
        _rewrite(script, lambda text: PREVIEWS.sub(_typeset_previews, text))


def _typeset_previews(match: re.Match[str]) -> str:
    previews = json.loads(match.group())
    return json.dumps({selector: typeset_all(text) for selector, text in previews.items()})


def _rewrite(file: Path, change: Callable[[str], str]) -> None:
    text = file.read_text(encoding="utf-8")
    if (changed := change(text)) != text:
        file.write_text(changed, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register KaTeX as the renderer of mathematics."""
    app.add_post_transform(TieErrors)
    app.add_html_math_renderer("katex", (visit_math, None), (visit_math_block, None))
    app.connect("build-finished", typeset_pages, priority=900)  # after the previews are written
    return {"parallel_read_safe": True, "parallel_write_safe": True}
