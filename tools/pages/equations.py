"""Sphinx extension: every displayed equation is labelled, and every statement has a test.

A label starts with ``def-`` (a definition or a notation) or ``eq-`` (a statement, true or false).
A test is bound to either by ``@pytest.mark.equation("eq-…", tolerance="1e-12")``. A statement must
have one. A definition has one where the package computes what it defines: the printed formula can
then differ from the code. The build warns, and so fails under ``-W``, where a label is missing or
a statement has no test.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.environment.collectors.toctree import TocTreeCollector
from sphinx.locale import get_translation
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import docname_join, logging
from sphinx.util.docutils import SphinxDirective

from tools import catalogues, mutants
from tools.pages.bindings import Binding, scan

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)
_ = get_translation(catalogues.FRAME)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # MyST's label for a bare align


@dataclass(frozen=True)
class Equation:
    """A displayed equation: its label (empty if it has none), LaTeX and place.

    The section is the id and the title of the part of the chapter in which the equation stands.
    """

    label: str
    latex: str
    nowrap: bool
    docname: str
    line: int | None = field(repr=False)  # prose above an equation moves it and changes nothing
    section: tuple[str, str]

    @property
    def is_statement(self) -> bool:
        """Whether it can be true or false."""
        return self.label.startswith("eq-")


class equation_index(nodes.General, nodes.Element):
    """Stands for the list of a chapter's equations until every page is read."""


class EquationIndex(SphinxDirective):
    """``{equation-index} ../folder/chapter``: a chapter's equations, and what checks each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Mark the place, and the page on which it is."""
        chapter = docname_join(self.env.docname, self.arguments[0])
        self.env.metadata[self.env.docname]["equation-index"] = chapter
        return [equation_index(chapter=chapter)]


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Note the displayed equations of one page, except those of the package's docstrings."""
    docname = app.env.docname
    app.env.metadata[docname]["equations"] = [
        Equation(
            _label(node),
            node.astext(),
            node.get("nowrap", False),
            docname,
            node.line,
            _section(node),
        )
        for node in doctree.findall(nodes.math_block)
        if "docstring of" not in (node.source or "")
    ]


def _section(node: nodes.Node) -> tuple[str, str]:
    """Return id and title of the section just below the page's title, or of the page itself."""
    sections = []
    while node.parent is not None:
        node = node.parent
        if isinstance(node, nodes.section):
            sections.append(node)
    section = sections[-2:][0] if sections else None
    return (section["ids"][0], section[0].astext()) if section else ("", "")


def _label(node: nodes.math_block) -> str:
    label = node.get("label") or ""
    return "" if UUID.fullmatch(label) else label


def reading_order(env: BuildEnvironment) -> Iterator[str]:
    """All pages as the table of contents lists them."""
    pages, seen = [env.config.root_doc], set()
    while pages:
        page = pages.pop()
        if page not in seen:
            seen.add(page)
            yield page
            pages.extend(reversed(env.toctree_includes.get(page, [])))


def all_equations(env: BuildEnvironment) -> list[Equation]:
    """Every displayed equation, in reading order."""
    pages = reading_order(env)
    return [equation for page in pages for equation in env.metadata[page].get("equations", [])]


def check(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Compare equations with tests; return the pages to write again if either changed."""
    found = scan(Path(app.srcdir))
    equations = all_equations(env)
    places: dict[str, Equation] = {}
    bound = {binding.label for binding in found.bindings}
    for place, message in found.problems:
        logger.warning(message, location=place)
    for equation in equations:
        if problem := _problem(equation, places, bound):
            logger.warning(problem, location=(equation.docname, equation.line))
        places.setdefault(equation.label, equation)
    for binding in found.bindings:
        if binding.label not in places:
            message = (
                f"{binding.name} is bound to {binding.label}, which no page has: correct the label"
            )
            logger.warning(message, location=f"{binding.path}:{binding.line}")
    index = {
        chapter: page
        for page in env.found_docs
        if (chapter := env.metadata[page].get("equation-index"))
    }
    for chapter in sorted({equation.docname for equation in equations} - set(index)):
        if index:
            message = f"no page lists its equations: add one with {{equation-index}} {chapter}"
            logger.warning(message, location=chapter)
    for chapter, page in index.items():
        _list_contents(app, page, env.metadata[chapter].get("equations", []))
    env.vaebook_bindings = found.bindings  # type: ignore[attr-defined]
    env.vaebook_index = index  # type: ignore[attr-defined]
    state = hashlib.sha256(repr((equations, found, index, _errors(app))).encode()).hexdigest()
    if state == getattr(env, "vaebook_state", None):
        return []
    env.vaebook_state = state  # type: ignore[attr-defined]
    return sorted({equation.docname for equation in equations} | set(index.values()))


def _list_contents(app: Sphinx, page: str, equations: list[Equation]) -> None:
    """Enter the sections that an index will have into its page's table of contents."""
    doctree = app.env.get_doctree(page)
    for node in list(doctree.findall(equation_index)):
        node.replace_self([_headed(section) for section in _sections(equations)])
    app.env.temp_data["docname"] = page
    TocTreeCollector().process_doc(app, doctree)
    del app.env.temp_data["docname"]


def _sections(equations: list[Equation]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(equation.section for equation in equations if equation.label))


def _headed(section: tuple[str, str], *title: nodes.Node) -> nodes.section:
    anchor, text = section
    heading = nodes.title(text, "", *(title or [nodes.Text(text)]))
    return nodes.section("", heading, ids=[f"in-{anchor}"])


def _problem(equation: Equation, places: dict[str, Equation], bound: set[str]) -> str | None:
    start = " ".join(equation.latex.split())[:60]
    if not equation.label:
        return (
            f"displayed equation without a label: '{start}'. Write $$ … $$ (eq-name) for a "
            "statement that a test checks, (def-name) for a definition; put several lines into "
            "one \\begin{aligned} inside $$"
        )
    if not equation.label.startswith(("eq-", "def-")):
        return f"equation label '{equation.label}': start it with eq- (a statement) or def-"
    if equation.label in places:
        return f"equation label '{equation.label}' is also in {places[equation.label].docname}"
    if equation.is_statement and equation.label not in bound:
        return (
            f"no test checks '{equation.label}'. Mark one under tests/ with "
            f'@pytest.mark.equation("{equation.label}", tolerance="…"), or label it def-… if it '
            "states nothing that can be false"
        )
    return None


class ShowChecks(SphinxPostTransform):
    """Put a mark beside each equation that a test checks, and fill the index of equations."""

    default_priority = 5  # before Sphinx resolves references: the index has some

    def run(self, **kwargs: Any) -> None:
        """Change one page, just before it is written."""
        index = getattr(self.env, "vaebook_index", {}).get(self.env.docname)
        if self.app.builder.format == "html" and index is not None:
            bound = {binding.label for binding in self.env.vaebook_bindings}  # type: ignore[attr-defined]
            for node in list(self.document.findall(nodes.math_block)):
                label = node.get("label") or ""
                if label in bound:
                    node.parent.insert(node.parent.index(node) + 1, self._mark(label, index))
        for node in list(self.document.findall(equation_index)):
            node.replace_self(self._index(node["chapter"]))

    def _mark(self, label: str, index: str) -> nodes.Element:
        uri = self.app.builder.get_relative_uri(self.env.docname, index) + f"#check-{label}"
        link = nodes.reference("", _("✓ checked"), refuri=uri, internal=True)
        link += nodes.inline("", _(" by a test: ") + label, classes=["visually-hidden"])
        return nodes.paragraph("", "", link, classes=["equation-check"])

    def _index(self, chapter: str) -> list[nodes.Node]:
        bindings: dict[str, list[Binding]] = {}
        for binding in self.env.vaebook_bindings:  # type: ignore[attr-defined]
            bindings.setdefault(binding.label, []).append(binding)
        equations = self.env.metadata[chapter].get("equations", [])
        uri = self.app.builder.get_relative_uri(self.env.docname, chapter)
        errors = _errors(self.app)
        sections = {}
        for section in _sections(equations):
            anchor, text = section
            link = nodes.reference("", text, refuri=f"{uri}#{anchor}", internal=True)
            sections[section] = _headed(section, link)
        for equation in equations:
            if equation.label:
                checks = bindings.get(equation.label, [])
                entry = self._entry(equation, checks, errors.get(equation.label, []))
                sections[equation.section] += entry
        return list(sections.values())

    def _entry(
        self, equation: Equation, bindings: list[Binding], errors: list[str]
    ) -> nodes.Element:
        link = addnodes.pending_xref(
            "",
            nodes.literal("", equation.label),  # replaced by the number
            refdomain="math",
            reftype="eq",
            reftarget=equation.label,
            refdoc=self.env.docname,
            refwarn=True,
        )
        heading = nodes.paragraph("", "", nodes.Text("Equation "), link)
        formula = nodes.math_block(
            equation.latex, equation.latex, nowrap=equation.nowrap, number=None, label=None
        )
        entry = nodes.container("", heading, formula, ids=[f"check-{equation.label}"])
        entry["classes"] = ["equation-entry"]
        if not equation.is_statement:
            heading += nodes.Text(" · definition")
        for binding in bindings:
            entry.extend(self._check(binding))
        if errors:
            lead = nodes.emphasis("", "Deliberate errors: ")
            entry += nodes.paragraph("", "", lead, nodes.Text("; ".join(errors) + "."))
        return entry

    def _check(self, binding: Binding) -> list[nodes.Node]:
        sentence = nodes.paragraph("", "", nodes.emphasis("", "Checked against: "))
        for i, piece in enumerate(re.split(r"`+", binding.against)):
            sentence += nodes.literal("", piece) if i % 2 else nodes.Text(piece)
        sentence += nodes.Text(f" Tolerance: {binding.tolerance}.")
        place = f"{binding.path}, line {binding.line}"
        code = nodes.literal_block(binding.source, binding.source, language="python")
        parts: list[nodes.Node] = [sentence, code]
        if self.app.builder.format == "html":
            opening = f"<details><summary>Test: {binding.name}</summary>"
            parts.insert(1, nodes.raw("", opening, format="html"))
            parts.append(nodes.raw("", "</details>", format="html"))
        if self.config.equation_source_url:
            base = self.config.equation_source_url
            uri = f"{posixpath.join(base, binding.path)}#L{binding.line}"
            link = nodes.reference("", place, refuri=uri, internal=False)
            parts.insert(len(parts) - 1, nodes.paragraph("", "", link))
        return parts


def _errors(app: Sphinx) -> dict[str, list[str]]:
    """Return the deliberate errors that each statement's tests must notice, in words."""
    root = Path(app.srcdir)
    errors: dict[str, list[str]] = {}
    for mutant in mutants.read(root) if (root / mutants.LIST).exists() else ():
        for label in mutant.equations:
            errors.setdefault(label, []).append(mutant.error)
    return errors


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, the checks and the marks."""
    app.add_config_value("equation_source_url", "", "html", str)
    app.add_node(equation_index)
    app.add_directive("equation-index", EquationIndex)
    app.add_post_transform(ShowChecks)
    app.connect("doctree-read", collect)
    app.connect("env-updated", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
