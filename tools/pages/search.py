"""Sphinx extension: a search that finds Chinese words, without a dictionary.

Chinese is written without spaces. The index has every two characters that follow each other, and
a query is cut up in the same way, so that whatever stands in a text is found by itself, in every
browser alike. Words in Latin letters are found as in the English edition.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sphinx.search.en import SearchEnglish

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HAN = r"\u3400-\u4dbf\u4e00-\u9fff"
PIECE = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")
SPLITTER = rf"""
var splitQuery = (query) => {{
  const pieces = query.match(/[{HAN}]+|[\p{{L}}\p{{N}}_](?:(?![{HAN}])[\p{{L}}\p{{N}}_])*/gu) ?? [];
  return pieces.flatMap((piece) => /^[{HAN}]{{2,}}$/.test(piece)
    ? Array.from({{ length: piece.length - 1 }}, (_, i) => piece.slice(i, i + 2))
    : [piece]);
}};
"""


class SearchChinese(SearchEnglish):
    """Every two Chinese characters that follow each other, and English words by their stems."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = SPLITTER

    def split(self, input: str) -> list[str]:
        """Cut a text into what is found."""
        words = []
        for piece in PIECE.findall(input):
            is_han = re.match(f"[{HAN}]", piece) and len(piece) > 1
            pairs = [piece[i : i + 2] for i in range(len(piece) - 1)]
            words += pairs if is_han else [piece]
        return words


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the language."""
    app.add_search_language(SearchChinese)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
