"""Live figures: their mathematics in a browser, and each of them on a bare page."""

import json
from pathlib import Path

import pytest

from vaebook.interactive.figure import SHARED, STYLE, source

RUNNER = Path(__file__).parents[2] / "book" / "_static" / "vaebook-widgets.js"
LAYER = "\n".join(map(source, SHARED))

# As book/_static/vaebook.css has them.
COLOURS = {
    "light": {"ink": "#1b2430", "paper": "#fcfbf8", "card": "#f3f1eb", "blue": "#1d5fa8"}
    | {"vermilion": "#b3300f", "teal": "#067c70", "gold": "#856400", "plum": "#8a2f7b"}
    | {"slate": "#4b5564", "rule": "#d9d5cb"},
    "dark": {"ink": "#e4e7ec", "paper": "#12161c", "card": "#1a2029", "blue": "#82b6f2"}
    | {"vermilion": "#f58f66", "teal": "#55cfb8", "gold": "#e8c766", "plum": "#e39bd9"}
    | {"slate": "#b4bcc8", "rule": "#333c4a"},
}


def settle(page):
    """Wait until what has changed is drawn, which is with the next frame."""
    page.evaluate("() => new Promise((go) => requestAnimationFrame(() => setTimeout(go)))")


def numbers(page):
    """Return what a figure's table says, in nats."""
    rows = page.locator(".vaebook-numbers td").all_inner_texts()
    return [float(row.replace("−", "-").removesuffix(" nats")) for row in rows]


@pytest.fixture(scope="session")
def context(browser):
    """One browsing context: to make one takes longer than most tests."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def page(context):
    """A page of its own for each test that looks at a figure."""
    page = context.new_page()
    yield page
    page.close()


@pytest.fixture(scope="session")
def blank(context):
    """A page for mathematics alone, emptied before each use."""
    return context.new_page()


@pytest.fixture
def evaluate(blank):
    """Return a function that evaluates an expression with a module's exports as `m`, `a` given."""

    def run(module, expression, *arguments):
        blank.goto("about:blank")
        blank.add_script_tag(content=LAYER)
        script = """async ([source, expression, values]) => {
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            return new Function("m", "...a", `return ${expression}`)(await import(url), ...values);
        }"""
        values = json.loads(json.dumps(arguments))
        return blank.evaluate(script, [source(f"{module}.js"), expression, values])

    return run


@pytest.fixture
def show(page, tmp_path):
    """Put a figure on a bare page with the book's runner; collect what the console says."""

    def open_page(figure, theme="light", translate=str):
        variables = "".join(f"--vb-{name}: {colour};" for name, colour in COLOURS[theme].items())
        page.messages = []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        (tmp_path / "shared.js").write_text(LAYER, encoding="utf-8")
        markup = figure._repr_html_().replace(
            'class="vaebook-static"', 'class="vaebook-static" data-shared="shared.js"'
        )
        module = translate(source(f"{figure.module}.js"))
        content = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>figure</title>'
            '<meta name="viewport" content="width=device-width">'
            f"<style>:root {{ {variables} }} {source(STYLE)}"
            "body { color: var(--vb-ink); background: var(--vb-paper) }</style>"
            f"</head><body><main><h1>Figure</h1>{markup}</main>"
            f'<script type="text/plain" id="esm-{figure.module}">{module}</script>'
            f"<script>{RUNNER.read_text()}</script></body></html>"
        )
        file = tmp_path / "page.html"
        file.write_text(content, encoding="utf-8")
        page.goto(file.as_uri())
        page.wait_for_selector(".vaebook-static[data-state]")
        assert page.messages == []
        return page

    return open_page
