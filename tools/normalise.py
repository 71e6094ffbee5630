"""The form in which notebooks are committed: text outputs, no images, nothing that varies.

``normalise`` is the only place that decides this form. ``make notebooks`` writes it, and the
tests compare with it.
"""

from __future__ import annotations

import copy
import re

import nbformat
from nbformat import NotebookNode

KEPT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "application/json")
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")
VARYING_CELL_METADATA = ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted")


def normalise_data(data: dict[str, object]) -> dict[str, object]:
    """Return the text forms of one output: no image, no widget, no live figure."""
    kept = {kind: value for kind, value in data.items() if kind in KEPT_TYPES}
    if "<script" in str(kept.get("text/html", "")):
        del kept["text/html"]
    if isinstance(kept.get("text/plain"), str):
        kept["text/plain"] = ADDRESS.sub(" at 0x0", str(kept["text/plain"]))
    return kept


def normalise_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return the outputs of one cell as they are stored.

    Neighbouring pieces of standard output become one. Standard error (progress bars, warnings
    with paths of one machine) is not stored.
    """
    stored: list[NotebookNode] = []
    for output in outputs:
        output = copy.deepcopy(output)
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if stored and stored[-1].output_type == "stream":
                stored[-1].text += output.text
                continue
        elif "data" in output:
            output.data = nbformat.from_dict(normalise_data(output.data))
            # "scrapbook" marks the numbers that vaebook.results records.
            kept = {"scrapbook", *output.data}
            output.metadata = nbformat.from_dict(
                {key: value for key, value in output.metadata.items() if key in kept}
            )
        stored.append(output)
    return stored


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of the notebook in the form in which it is committed."""
    notebook = copy.deepcopy(notebook)
    kept = {"vaebook": notebook.metadata["vaebook"]} if "vaebook" in notebook.metadata else {}
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            **kept,
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        for key in VARYING_CELL_METADATA:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = normalise_outputs(cell.outputs)
    return notebook


def to_text(notebook: NotebookNode) -> str:
    """Return the file's content for a notebook, the same bytes for the same notebook."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"
