"""A live figure's markup, and the same figure as a widget."""

import json
import re

import pytest

from vaebook.interactive.figure import SHARED, STYLE, LiveFigure, source

from .test_latent_explorer import example


def test_html_is_the_same_at_every_run_and_safe():
    label, note = 'a "label" & <b>', "<!--<script></script>"
    markup = LiveFigure("elbo_explorer", label, note=note)._repr_html_()
    assert markup == LiveFigure("elbo_explorer", label, note=note)._repr_html_()
    assert 'aria-label="a &quot;label&quot; &amp; &lt;b&gt;"' in markup
    state = re.search(r'<script type="application/json">(.*?)</script>', markup, re.S)[1]
    assert json.loads(state) == {"note": note, "entries": ["note"]}
    assert "<" not in state
    with pytest.raises(ValueError, match="JSON"):
        LiveFigure("elbo_explorer", label, note=float("nan"))._repr_html_()
    assert repr(LiveFigure("elbo_explorer", label)) == "LiveFigure('a \"label\" & <b>')"


def test_widget_has_the_same_module_and_state():
    figure = example()
    widget = figure.widget()
    assert widget.z == [0.0, 0.0]
    assert widget._esm.startswith(source(SHARED[0]))
    assert widget._esm.endswith(source("latent_explorer.js"))
    assert widget._css == source(STYLE)
    widget.z = [1.0, 2.0]
    assert widget.get_state()["z"] == [1.0, 2.0]
    assert figure.state["z"] == [0.0, 0.0]


def test_the_widget_s_script_is_a_module_of_its_own(page):
    """A notebook imports it as it is, with nothing loaded before."""
    figure = example()
    page.goto("about:blank")
    page.set_content("<main></main>")
    page.evaluate(
        """async ([script, state]) => {
            const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
            const { default: widget } = await import(url);
            const model = { get: (name) => state[name], set() {}, on() {}, off() {} };
            await widget.render({ model, el: document.querySelector("main") });
        }""",
        [figure.widget()._esm, figure._entries()],
    )
    assert page.locator("output").inner_text().startswith("z = (0.00, 0.00)")
