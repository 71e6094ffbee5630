"""Sphinx extension: the Chinese edition, made from the same sources and runs as the English one.

Each page notes what it says (its *messages*) as it is read. In the Chinese edition the pages that
have a catalogue (``tools/catalogues.py``) are read again, and a message without a translation is a
warning that names page and sentence, and so an error. The other pages are not part of it: links
to them lead to the English page and say so.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.locale import get_translation
from sphinx.transforms import SphinxTransform
from sphinx.transforms.i18n import publish_msgstr
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.nodes import extract_messages
from sphinx_exercise.nodes import is_exercise_node

from tools import catalogues, words
from tools.pages import results
from vaebook._files import write_atomically

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)
_ = get_translation(catalogues.FRAME)
HOME = "en"
FOLDER = "zh"  # of the Chinese pages, beside the English ones
# What the Chinese edition has of its own under _static; the rest it shares, as the pictures.
OWN = ("documentation_options.js", "language_data.js", "translations.js", "tippy/")
SHARED = re.compile(
    rf'(?<=["\'])((?:\.\./)*)(?=_images/|_static/(?!{"|".join(map(re.escape, OWN))}))'
)
LINK = re.compile(r'<a\b([^>]*? )?href="((?:\.\./)+)(?=[^"]*\.html)')
WORDED = {"term", "zh"}  # roles that show their target
# What the themes write into their pages in English.
TITLE = re.compile(r'(?<= )(title|aria-label)="([^"]+)"')
FIGURE_LABEL = re.compile(r'(?<=role="group" aria-label=")[^"]*')


def is_chinese(app: Sphinx) -> bool:
    """Tell whether it is the Chinese edition that is built."""
    return bool(app.config.chinese_edition)


def has_page(app: Sphinx, page: str) -> bool:
    """Tell whether a page is part of the edition that is built."""
    return not is_chinese(app) or page not in app.env.found_docs or page in chinese_pages(app)


def chinese_pages(app: Sphinx) -> set[str]:
    """Return the pages of the Chinese edition, looked up once a build."""
    if not hasattr(app, "vaebook_chinese_pages"):
        app.vaebook_chinese_pages = catalogues.pages()  # type: ignore[attr-defined]
    return app.vaebook_chinese_pages  # type: ignore[attr-defined]


def shared_folder(app: Sphinx) -> Path:
    """Return the top of the English pages, under which lies what both editions use."""
    return Path(app.outdir).parent if is_chinese(app) else Path(app.outdir)


class CollectMessages(SphinxTransform):
    """Note what a page says, just before Sphinx translates it, and translate what Sphinx leaves."""

    default_priority = 19

    def apply(self, **kwargs: Any) -> None:
        """Change one page, as it is read."""
        page = self.env.docname
        metadata = filter(lambda node: isinstance(node, nodes.field_list), self.document.children)
        hidden = {id(node) for part in metadata for node in part.findall(nodes.TextElement)}
        for node in self.document.findall(nodes.TextElement):
            if id(node) in hidden:  # what a notebook says of itself
                node["translatable"] = False
            elif isinstance(node, nodes.math_block | nodes.title) and type(node) is not nodes.title:
                node["translatable"] = False  # formulas, and titles of exercises
            elif not node.source and isinstance(node.parent, nodes.entry):
                node.source = self.document["source"]  # a table inside of a directive
        said = [message for _, message in extract_messages(self.document) if message]
        others = [*self._others()]
        said += [message for message, translate in others if translate is not leave]
        if page == self.config.root_doc:
            contents = getattr(self.app.config, "external_site_map", {})
            parts = (part for item in contents.values() for part in item.subtrees)
            said += [part.caption for part in parts if part.caption]
        found = [*said, *(message for message, _ in others)]
        self.env.metadata[page]["messages"] = [*filter(says_something, dict.fromkeys(found))]
        if is_chinese(self.app) and page in chinese_pages(self.app):
            # Labels of drawings and results fail no build: some are words of a run, such as those
            # that a model drew, and not the same on every machine.
            for problem in catalogues.problems(page, filter(says_something, dict.fromkeys(said))):
                logger.warning(f"{problem}. Run `make messages`", location=page)
            known = catalogues.translations(page)
            for message, translate in others:
                if text := known.get(message):
                    translate(text)

    def _others(self) -> Iterator[tuple[str, Callable[[str], None]]]:
        """Yield messages that Sphinx does not see, each with what puts a translation there."""
        for node in list(self.document.findall()):
            if isinstance(node, nodes.subtitle):
                yield node.astext(), partial(self._put_text, node)
            elif isinstance(node, nodes.math_block):
                for text in words.in_maths(node.astext()):
                    yield text, partial(put_maths, node, text)
            elif isinstance(node, nodes.raw):
                for label in FIGURE_LABEL.findall(node.astext()):
                    yield html.unescape(label), partial(put_label, node, label)
                for name in words.in_state(node.astext()):
                    yield name, partial(put_name, node, name)
            elif isinstance(node, nodes.image):
                for text in words.in_drawing(read_drawing(self.env, node)):
                    yield text, leave
        for _name, value in results.recorded(self.env):
            if not re.search(r"\d", value):
                yield value, leave

    def _put_text(self, node: nodes.Element, text: str) -> None:
        source, line = self.document["source"], node.line or 0
        settings = self.document.settings
        patch = publish_msgstr(self.app, text, source, line, self.config, settings)
        node.children = []
        node.extend(patch.children)


def says_something(message: str) -> bool:
    """Tell whether a message has a word outside of mathematics and code."""
    return bool(re.search(r"[^\W\d_]{2}", catalogues.MARKUP.sub(words_of_role, message)))


def words_of_role(markup: re.Match[str]) -> str:
    """Return the words of a role, if it has its own: not a number, a value or a citation."""
    is_wordless = not markup["role"] or (markup["plain"] and markup["role"] not in WORDED)
    return "" if is_wordless else "words"


def put_maths(node: nodes.math_block, of: str, to: str) -> None:
    """Replace words in a displayed formula."""
    put_text(node, words.replace_in_maths(node.astext(), of, to))


def put_label(node: nodes.raw, of: str, to: str) -> None:
    """Replace the label of a live figure in the HTML that its cell has left."""
    text = node.astext().replace(of, html.escape(to))
    put_text(node, text.replace(words.NEEDS_SCRIPT, _(words.NEEDS_SCRIPT)))


def put_name(node: nodes.raw, of: str, to: str) -> None:
    """Replace a name in the state of a live figure."""
    put_text(node, words.replace_in_state(node.astext(), of, to))


def put_text(node: nodes.Element, text: str) -> None:
    """Replace all that a node holds."""
    node.children = []
    node += nodes.Text(text)
    node.rawsource = text


def leave(to: str) -> None:
    """Leave the label of a drawing to `TranslateDrawings`, and a result to `TranslateResults`."""


def place_of(env: BuildEnvironment, image: nodes.image) -> Path:
    """Return the file of a picture on the page that is read."""
    return Path(env.relfn2path(image["uri"], env.docname)[1])


def read_drawing(env: BuildEnvironment, image: nodes.image) -> str:
    """Return the text of a drawing; of another picture, or of one that is not there, nothing."""
    file = place_of(env, image)
    is_drawing = file.suffix == ".svg" and file.exists()
    return file.read_text(encoding="utf-8") if is_drawing else ""


class TranslateDrawings(SphinxTransform):
    """Take the pictures with the words of the edition: the same drawings, with other labels."""

    default_priority = 30

    def apply(self, **kwargs: Any) -> None:
        """Change one page, as it is read."""
        page = self.env.docname
        if not is_chinese(self.app) or page not in chinese_pages(self.app):
            return
        known = catalogues.translations(page)
        for node in self.document.findall(nodes.image):
            before = read_drawing(self.env, node)
            if (after := words.translate_drawing(before, known)) != before:
                place = place_of(self.env, node)
                file = place.with_name(f"{place.stem}-{words.short_checksum(after)}.svg")
                if not file.exists():
                    write_atomically(file, after.encode())
                node["uri"] = str(Path(node["uri"]).with_name(file.name))


class TranslateResults(SphinxPostTransform):
    """Show a word that a run has chosen, and a list, in the language of the edition."""

    default_priority = 4  # before `results.ShowResults`

    def run(self, **kwargs: Any) -> None:
        """Change one page, just before it is written."""
        if not is_chinese(self.app):
            return
        known = catalogues.translations(self.env.docname)
        for node in list(self.document.findall(results.result_reference)):
            if value := results.look_up(self.env, self.env.docname, node["key"]):
                results.show(node, known.get(value, value.replace(", ", _(", "))))


def leave_translator(app: Sphinx, doctree: nodes.document) -> None:
    """Let translated sentences belong to their page alone.

    They keep the document that they were translated in, and with it all that Sphinx knows: each
    page would be stored with a copy, of thirty times its size, and read with it again and again.
    """
    for node in doctree.findall():
        node.document = doctree


class TitlesOfExercises(SphinxPostTransform):
    """Let solutions name their exercise as the page does: the registry has the English name."""

    default_priority = 19  # before sphinx-exercise

    def run(self, **kwargs: Any) -> None:
        """Note the exercises of one page, as they were translated."""
        known = getattr(self.env, "sphinx_exercise_registry", {})
        for node in self.document.findall(is_exercise_node):
            known[node["label"]]["node"] = node.deepcopy()


def translate_captions(app: Sphinx, doctree: nodes.document) -> None:
    """Give the parts of the book their Chinese names."""
    if is_chinese(app) and app.env.docname == app.config.root_doc:
        known = catalogues.translations(app.env.docname)
        for tree in doctree.findall(addnodes.toctree):
            if caption := tree.get("caption"):
                tree["caption"] = tree["rawcaption"] = known.get(caption, caption)


class EditionBuilder(StandaloneHTMLBuilder):
    """Writes the pages of an edition. Those that it lacks are the English ones."""

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """Return the address of a page, as seen from the top of the edition."""
        uri = super().get_target_uri(docname, typ)
        return uri if has_page(self.app, docname) else f"../{uri}"

    def _write_serial(self, docnames: Any) -> None:
        super()._write_serial([name for name in docnames if has_page(self.app, name)])

    def copy_image_files(self) -> None:
        """Copy the pictures; the Chinese pages show the English ones where they are equal."""
        if not is_chinese(self.app):
            super().copy_image_files()
            return
        for source, name in self.images.items():
            file = shared_folder(self.app) / self.imagedir / name
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, Path(self.srcdir, source).read_bytes())


def prepare(app: Sphinx) -> None:
    """Let the Chinese edition use the runs and pictures of the English one."""
    if is_chinese(app):
        outputs = Path(app.outdir).parent.parent / "jupyter_execute"
        app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=str(outputs))  # type: ignore[attr-defined]
        app.env._viewcode_modules = {}  # type: ignore[attr-defined]


def show_other_edition(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Tell the template where the same page is in the other language."""
    pages = chinese_pages(app)
    if not (pagename in pages if doctree else pagename == "search" and pages):
        return
    to_top = "../" * pagename.count("/")
    chinese = is_chinese(app)
    place = f"{to_top}../{pagename}.html" if chinese else f"{to_top}{FOLDER}/{pagename}.html"
    context["other_edition"] = {
        "uri": place,
        "language": "en" if chinese else "zh-CN",
        "name": "English" if chinese else "中文",
    }
    top = str(app.config.html_baseurl).removesuffix(f"{FOLDER}/")
    addresses = {"en": f"{top}{pagename}.html", "zh-CN": f"{top}{FOLDER}/{pagename}.html"}
    context["metatags"] = context.get("metatags", "") + "".join(
        f'\n<link rel="alternate" hreflang="{language}" href="{address}">'
        for language, address in {**addresses, "x-default": addresses["en"]}.items()
    )


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Let the Chinese pages share the scripts and styles, and mark what leads to English ones."""
    if exception is not None or app.builder.format != "html" or not is_chinese(app):
        return
    top = Path(app.outdir)
    static = top / "_static"
    for file in top.rglob("*.html"):
        if not has_page(app, file.relative_to(top).with_suffix("").as_posix()):
            file.unlink()  # its catalogue was taken away
            continue
        share(file, file.relative_to(top), is_page=True)
    for file in (static / "tippy").rglob("*.js"):
        share(file, file.relative_to(static / "tippy"))
    for file in sorted(static.rglob("*"), reverse=True):
        if file.is_dir() and not any(file.iterdir()):
            file.rmdir()
        elif file.is_file() and not file.relative_to(static).as_posix().startswith(OWN):
            file.unlink()


def share(file: Path, page: Path, *, is_page: bool = False) -> None:
    """Change a file that belongs to a page, if it was not done before."""
    depth = len(page.parts) - 1

    def up(place: re.Match[str]) -> str:
        return place[0] + "../" * (place[0].count("../") == depth)

    text = file.read_text(encoding="utf-8")
    changed = SHARED.sub(up, text)
    if is_page:
        changed = LINK.sub(lambda link: mark(link, depth), changed)
        changed = TITLE.sub(lambda title: f'{title[1]}="{_(title[2])}"', changed)
    if changed != text:
        write_atomically(file, changed.encode())


def mark(link: re.Match[str], depth: int) -> str:
    """Say of a link that leaves the edition which language its page has."""
    leaves = link[2].count("../") > depth and "hreflang" not in link[0]
    return link[0].replace("<a", f'<a hreflang="{HOME}"', 1) if leaves else link[0]


def outdated(app: Sphinx, env: BuildEnvironment, *found: set[str]) -> list[str]:
    """Return the Chinese pages whose catalogue is not what it was when they were read."""
    if not is_chinese(app):
        return []
    before = getattr(env, "vaebook_catalogues", {})
    now = {name: catalogues.path_of(name).read_bytes() for name in catalogues.names()}
    env.vaebook_catalogues = now  # type: ignore[attr-defined]
    changed = {name for name in {*before, *now} if before.get(name) != now.get(name)}
    return sorted(changed if changed <= env.found_docs else env.found_docs & {*before, *now})


def rewrite(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Return the pages that have been, or are no more, part of the Chinese edition."""
    before: set[str] = getattr(env, "vaebook_editions", set())
    now = chinese_pages(app)
    env.vaebook_editions = now  # type: ignore[attr-defined]
    return sorted((before ^ now) & env.found_docs)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the steps, the builder, and the words of the frame."""
    app.add_config_value("chinese_edition", False, "env", bool)
    for name in (catalogues.FRAME, *catalogues.OF_THEMES):
        app.add_message_catalog(name, str(catalogues.COMPILED))
    app.add_builder(EditionBuilder, override=True)
    app.add_transform(CollectMessages)
    app.add_transform(TranslateDrawings)
    app.add_post_transform(TitlesOfExercises)
    app.add_post_transform(TranslateResults)
    app.connect("builder-inited", prepare, priority=900)
    app.connect("env-get-outdated", outdated)
    app.connect("env-updated", rewrite)
    app.connect("doctree-read", translate_captions, priority=400)
    app.connect("doctree-read", leave_translator, priority=900)
    app.connect("html-page-context", show_other_edition)
    app.connect("build-finished", finish, priority=950)  # after the formulas are set
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 2}
