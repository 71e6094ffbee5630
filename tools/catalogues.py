"""The catalogues of the Chinese edition: what each page says, and how that is said in Chinese.

A catalogue is a gettext file, ``locale/zh_CN/LC_MESSAGES/NAME.po``. There is one a page, named by
the page's place (``book/index``), one a live figure (``figures/elbo_explorer``), and ``frame`` for
what stands on every page. A page that has one is part of the Chinese edition.
"""

from __future__ import annotations

import copy
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from tools.dependencies import ROOT
from vaebook._files import write_atomically

LANGUAGE = "zh_CN"
FOLDER = ROOT / "locale" / LANGUAGE / "LC_MESSAGES"
COMPILED = ROOT / "_build" / "locale"  # what gettext reads
FRAME = "frame"
WIDTH = 100
EXCERPT = 70
OF_THEMES = ("sphinx", "booktheme")  # catalogues of the themes; ours stands behind them
CONFIGURED = (  # what readers see of the configuration
    *(
        "html_title",
        "ogp_site_name",
        "ogp_image_alt",
        "togglebutton_hint",
        "togglebutton_hint_hide",
    ),
)

# What a translation must have as its original has it. Words between the marks are free.
MARKUP = re.compile(
    r"\{(?P<role>[a-z:_-]+)\}`(?:[^`<]*<(?P<titled>[^`>]+)>|(?P<plain>[^`]+))`"
    r"|(?P<placeholder>\$\{\d+\})"
    r"|(?P<math>(?<![\\$])\$(?!\$)(?:[^$\\]|\\.)+\$)"
    r"|(?P<code>(?<!`)`[^`]+`)"
    r"|\]\((?P<link>[^)]+)\)"
)
FREE_ROLES = {"zh"}  # the Chinese word beside an English one
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
WORDS_IN_MATHS = re.compile(r"(?<![_^]\{)\\text\{[^{}]*\}")


def path_of(name: str) -> Path:
    """Return the file of a catalogue."""
    return FOLDER / f"{name}.po"


def names(folder: str = "") -> list[str]:
    """Return the names of the catalogues that exist, or of those in a folder."""
    files = sorted((FOLDER / folder).rglob("*.po"))
    return [file.relative_to(FOLDER).with_suffix("").as_posix() for file in files]


def pages() -> set[str]:
    """Return the pages of the Chinese edition."""
    return set(names("book"))


def read(name: str) -> Catalog:
    """Return a catalogue, empty if there is none."""
    if not path_of(name).exists():
        return Catalog(locale=LANGUAGE, header_comment="", fuzzy=False)
    catalogue = read_po(io.BytesIO(path_of(name).read_bytes()), locale=LANGUAGE)
    for message in catalogue:  # the sentence before the last change has been seen
        comments = [text for text in message.user_comments if not text.startswith("|")]
        message.user_comments = comments
    return catalogue


def translations(name: str) -> dict[str, str]:
    """Return the messages of a catalogue that are translated, and not only by guess."""
    known = (message for message in entries(read(name)) if message.string and not message.fuzzy)
    return {str(message.id): str(message.string) for message in known}


def entries(catalogue: Catalog) -> Iterator[Message]:
    """Yield the messages, without the header."""
    return (message for message in catalogue if message.id)


def update(name: str, messages: Iterable[str]) -> list[str]:
    """Bring a catalogue up to what its page says now, and return what is left to do.

    A message that changed a little keeps its translation, as a guess ("fuzzy") that a person
    looks at. One that the page has no more is dropped.
    """
    template = Catalog(locale=LANGUAGE, fuzzy=False)
    for message in messages:
        template.add(message)
    catalogue = read(name)
    catalogue.update(template, update_creation_date=False)
    catalogue.obsolete.clear()
    store(name, catalogue)
    return problems(name, [str(message.id) for message in entries(template)])


def store(name: str, catalogue: Catalog) -> None:
    """Write a catalogue, in the same form whatever wrote it before, without dates and places."""
    file = io.BytesIO()
    write_po(
        file, catalogue, width=WIDTH, no_location=True, omit_header=True, include_previous=True
    )
    header = f'msgid ""\nmsgstr ""\n"Language: {LANGUAGE}\\n"\n'
    header += '"Content-Type: text/plain; charset=utf-8\\n"\n\n'
    text = file.getvalue().decode("utf-8")
    path_of(name).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path_of(name), (header + text.strip() + "\n").encode())


def problems(name: str, messages: Iterable[str]) -> list[str]:
    """Say of each message what its translation lacks."""
    known = {message.id: message for message in entries(read(name))}
    found = []
    for text in messages:
        message = known.get(text)
        if message is None or not message.string:
            found.append(f"new: “{excerpt(text)}”")
        elif message.fuzzy:
            found.append(f"outdated: “{excerpt(text)}”")
        else:
            found.extend(
                f"{fault}: “{excerpt(text)}”" for fault in faults(text, str(message.string))
            )
    return found


def excerpt(text: str) -> str:
    """Return the beginning of a message."""
    return text if len(text) <= EXCERPT else text[:EXCERPT].rsplit(" ", 1)[0] + " …"


def faults(original: str, translation: str) -> Iterator[str]:
    """Yield what a translation has, and its original has not, or the other way round."""
    before, after = parts(original), parts(translation)
    for missing in (before - after).elements():
        yield f"“{missing}” is missing in the translation"
    for surplus in (after - before).elements():
        yield f"“{surplus}” is not in the original"


def parts(text: str) -> Counter[str]:
    """Count what must be equal: roles with their targets, maths, placeholders, code, numbers."""
    counted: Counter[str] = Counter()

    def take(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        if kind in ("titled", "plain") and (role := match["role"]) not in FREE_ROLES:
            target = " ".join((match["titled"] or match["plain"]).split())
            counted[f"{{{role}}}`{target.lower() if role == 'term' else target}`"] += 1
        elif kind in ("math", "placeholder", "code", "link"):
            counted[WORDS_IN_MATHS.sub(r"\\text{}", match[kind])] = 1  # may be named again
        return " "

    counted.update(NUMBER.findall(MARKUP.sub(take, text)))
    return counted


def said_by(config: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Return where a configuration has words that readers see."""
    theme = config.get("html_theme_options", {})
    return [
        *((config, name) for name in CONFIGURED if name in config),
        *((theme, name) for name in ("search_bar_text", "toc_title") if name in theme),
        *([(theme["logo"], "text")] if "text" in theme.get("logo", {}) else []),
    ]


def translate_configuration(config: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return the configuration of the Chinese edition, which is made in `folder`."""
    known = translations(FRAME)
    chinese = copy.deepcopy(config) | {"language": LANGUAGE, "chinese_edition": True}
    chinese |= {"html_use_index": False, "html_domain_indices": False}  # of the package
    for holder, name in said_by(chinese):
        holder[name] = known.get(holder[name], holder[name])
    for name in ("html_baseurl", "ogp_site_url"):
        if chinese.get(name):
            chinese[name] += f"{folder}/"
    if "path_to_docs" in (theme := chinese.get("html_theme_options", {})):
        theme["path_to_docs"] = folder  # of the notebooks to launch
    return chinese


def compile_all() -> None:
    """Write all catalogues in the form that gettext reads."""
    for name in names():
        catalogue = read(name)
        for domain in (name, *OF_THEMES) if name == FRAME else (name,):
            file = COMPILED / LANGUAGE / "LC_MESSAGES" / f"{domain}.mo"
            file.parent.mkdir(parents=True, exist_ok=True)
            compiled = io.BytesIO()
            write_mo(compiled, catalogue)
            write_atomically(file, compiled.getvalue())
