"""A live figure that runs without a kernel.

In the rendered book a small script runs the figure's ES module; in a live notebook
``figure.widget()`` runs the same module as an anywidget, and its state can be read and set from
Python.
"""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import Any

# What every figure needs, in this order: the plotting library, and the figures' own layer over it.
SHARED = ("vendor/plot.min.js", "live.js")
STYLE = "live.css"


class LiveFigure:
    """An interactive figure: an ES module and the state it starts from.

    Parameters
    ----------
    module
        Name of the module beside this file, without its ending.
    label
        What the figure lets the reader do; read out by screen readers.
    **state
        JSON values, which the module gets as its state.
    """

    def __init__(self, module: str, label: str, **state: Any) -> None:
        self.module = module
        self.label = label
        self.state = state

    def __repr__(self) -> str:
        return f"LiveFigure({self.label!r})"

    def _repr_html_(self) -> str:
        # "</" would end the script element early, "<!--<script>" never; NaN is no JSON.
        state = json.dumps(self._entries(), sort_keys=True, allow_nan=False).replace("<", "\\u003c")
        label = html.escape(self.label)
        return (
            f'<div class="vaebook-static" data-figure="{self.module}" role="group" '
            f'aria-label="{label}"><div class="vaebook-slot">{label}. It needs JavaScript; in a '
            "running notebook, add <code>.widget()</code> to this cell.</div>"
            f'<script type="application/json">{state}</script></div>'
        )

    def widget(self) -> Any:
        """Return the figure as an anywidget, for a live kernel.

        Returns
        -------
        anywidget.AnyWidget
            With one synchronised trait for each entry of the state.
        """
        import anywidget
        import traitlets

        traits = {name: traitlets.Any().tag(sync=True) for name in self._entries()}
        script = "\n".join(source(file) for file in (*SHARED, f"{self.module}.js"))
        members = {"_esm": script, "_css": source(STYLE), **traits}
        return type("LiveWidget", (anywidget.AnyWidget,), members)(**self._entries())

    def _entries(self) -> dict[str, Any]:
        return {**self.state, "entries": sorted(self.state)}


def source(file: str) -> str:
    """Return the text of a script or style sheet of the live figures.

    Parameters
    ----------
    file
        Its path in this folder.

    Returns
    -------
    str
        The whole text.
    """
    return (files("vaebook.interactive") / file).read_text(encoding="utf-8")
