"""The rules that every chapter keeps, and for each rule a chapter that breaks it."""

import ast
import copy
import itertools
import re
import warnings
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.compare import names_nothing

BOOK = Path(__file__).resolve().parents[2] / "book"
NOTEBOOKS = [
    path for path in sorted(BOOK.rglob("*.ipynb")) if ".ipynb_checkpoints" not in str(path)
]
COMPARED = "nbval-check-output"
FIGURE = re.compile(r"<Figure size .*>")
LINES_TO_AVOID, LINES_AT_MOST, IMPORTS_AT_MOST = 10, 20, 6
LEAD_AT_MOST = 450  # characters; more of them push the picture off the first screen of a phone
RULES = []


def rule(check):
    """Register a generator of (cell number from 1, message for the author)."""
    RULES.append(check)
    return check


def code_cells(notebook):
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and cell.source.strip():
            yield number, cell


def texts(cell):
    """What a reader can read in the stored outputs."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        elif "data" in output:
            for kind in ("text/plain", "text/markdown", "text/latex", "text/html"):
                yield output.data.get(kind, "")


def kinds(cell):
    return {kind for output in cell.outputs for kind in output.get("data", {})}


def is_figure(cell):
    shown = any(kind.startswith("image/") for kind in kinds(cell))
    return shown or any(FIGURE.search(text) for text in texts(cell)) or "image" in options(cell)


def options(cell):
    return cell.metadata.get("mystnb", {})


def tags(cell):
    return cell.metadata.get("tags", [])


# --- stored outputs ---------------------------------------------------------------------------


@rule
def numbers_are_compared(notebook):
    for number, cell in code_cells(notebook):
        if COMPARED not in tags(cell):
            for text in texts(cell):
                if found := re.search(r".*\d.*", FIGURE.sub("", text)):
                    yield number, f"tag it {COMPARED}: its output has a number, '{found[0]}'"
                    break


@rule
def compared_cells_have_something_to_compare(notebook):
    for number, cell in code_cells(notebook):
        if COMPARED in tags(cell) and not any(map(str.strip, texts(cell))):
            yield number, f"tagged {COMPARED}, but no text output is stored: run `make notebooks`"


@rule
def every_cell_was_run_in_order(notebook):
    for expected, (number, cell) in enumerate(code_cells(notebook), 1):
        if cell.execution_count != expected:
            count = cell.execution_count
            yield number, f"execution_count is {count}, not {expected}: run `make notebooks`"


@rule
def nothing_is_stored_but_text(notebook):
    for number, cell in code_cells(notebook):
        for kind in sorted(kinds(cell)):
            if kind.startswith("image/") or "widget" in kind:
                yield number, f"an output of kind {kind} is stored: run `make notebooks`"
        if "execution" in cell.metadata:
            yield number, "times of execution are stored: run `make notebooks`"


@rule
def tolerances_name_what_they_are_for(notebook):
    for number, cell in code_cells(notebook):
        try:
            for key in names_nothing(cell):
                yield number, f"within states a tolerance for '{key}', and no number stands there"
        except ValueError as error:
            yield number, f"within: {error}"


# --- what a reader is shown -------------------------------------------------------------------

REMOVED = "remove-cell"
VERDICT = re.compile(r".*(\b(True|False)\b|[✓✔✗✘]).*")


@rule
def results_are_no_verdicts(notebook):
    for number, cell in code_cells(notebook):
        if {REMOVED, "remove-output"}.isdisjoint(tags(cell)):
            for text in texts(cell):
                if found := VERDICT.search(text):
                    yield number, f"show the number, and let a test judge it: '{found[0].strip()}'"
                    break


# --- recorded values --------------------------------------------------------------------------

RECORDS = re.compile(r"\brecord\(|\bvaebook\.results\b")


def loaded_and_stored(source):
    """Names that a cell reads, and names that it leaves behind."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    inner = [node.target for node in nodes if isinstance(node, ast.comprehension)]
    local = {node.id for target in inner for node in ast.walk(target) if hasattr(node, "id")}
    loaded = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    return loaded, {node.id for node in names if isinstance(node.ctx, ast.Store)} - local


@rule
def recording_is_no_part_of_a_page(notebook):
    for number, cell in code_cells(notebook):
        if RECORDS.search(cell.source) and REMOVED not in tags(cell):
            yield number, f"record in a cell of its own, tagged {REMOVED}"


@rule
def a_page_does_without_its_removed_cells(notebook):
    hidden = set()
    for number, cell in code_cells(notebook):
        if REMOVED in tags(cell):
            hidden |= loaded_and_stored(cell.source)[1]
        elif not cell.source.startswith("%"):
            loaded, stored = loaded_and_stored(cell.source)
            for name in sorted(hidden & loaded - stored):
                yield number, f"uses '{name}', which a cell tagged {REMOVED} defines"
            hidden -= stored


# --- figures ----------------------------------------------------------------------------------

GENERIC = re.compile(
    r"(an? |the )?(image|picture|figure|plot|graph|chart|screenshot|output)\b", re.I
)
FILE_NAME = re.compile(r"\.(png|svg|jpe?g|ipynb)\b|^\S+$")


@rule
def figures_have_alternative_texts(notebook):
    for number, cell in code_cells(notebook):
        alt = options(cell).get("image", {}).get("alt", "")
        if not is_figure(cell):
            continue
        if not alt:
            yield number, 'a figure without text alternative: add mystnb: {"image": {"alt": …}}'
        elif GENERIC.match(alt) or FILE_NAME.search(alt):
            yield number, f"alt says nothing of what is shown; begin with the thing: '{alt}'"
        elif len(alt) < 40 or len(alt.split()) < 7:
            yield number, f"alt is too short to say what is shown (40 characters): '{alt}'"
        elif alt == options(cell).get("figure", {}).get("caption"):
            yield number, "alt repeats the caption; say what there is to see"


@rule
def figures_have_captions_and_names(notebook):
    for number, cell in code_cells(notebook):
        figure = options(cell).get("figure", {})
        if is_figure(cell) and not figure.get("caption"):
            yield number, 'a figure without caption: add mystnb: {"figure": {"caption": …}}'
        if is_figure(cell) and not str(figure.get("name", "")).startswith("fig-"):
            yield number, 'a figure without name: add mystnb: {"figure": {"name": "fig-…"}}'


# --- the shape of a chapter -------------------------------------------------------------------


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@rule
def a_chapter_opens_with_a_picture_then_says_aims_and_needs(notebook):
    first, *others = notebook.cells
    lead = re.fullmatch(r"(\([\w-]+\)=\n)?# .+\n+(?P<text>[^\n]+)\n*", first.source)
    if not lead:
        yield 1, "begin with the title, '# …', and one paragraph that asks the question"
    elif len(lead["text"]) > LEAD_AT_MOST:
        length = len(lead["text"])
        yield 1, f"{length} characters before the picture; a phone shows it after {LEAD_AT_MOST}"
    code = list(itertools.takewhile(lambda cell: cell.cell_type == "code", others))
    if not any("figure" in options(cell) for cell in code):
        yield 2, "show a picture before more text: cells of code, the last of which draws it"
    opening = re.split(r"^## ", prose(notebook), maxsplit=1, flags=re.M)[0]
    if not re.search(r"\bable to\b", opening):
        yield 1, "say before the first section what the reader 'will be able to' do"
    if not re.search(r"\bneeds?\b", opening, re.IGNORECASE):
        yield 1, "say before the first section what the reader needs ('You need …')"


@rule
def a_chapter_ends_with_summary_exercises_and_reading(notebook):
    last = len(notebook.cells)
    headings = re.findall(r"^## (.+)$", prose(notebook), re.MULTILINE)
    ending = ["Summary", "Exercises", "Further reading"]
    if headings[-3:] != ending:
        yield last, f"end with the sections {ending}; the last ones are {headings[-3:]}"
    reading = prose(notebook).rpartition("## Further reading")[2]
    if "{cite" not in reading:
        yield last, "further reading cites nothing"


EXERCISE_LABEL = re.compile(r"^[`:]{3,}\{exercise\}.*\n(?::\w+:.*\n)*?:label: (\S+)", re.M)
SOLUTION_LABEL = re.compile(r"^[`:]{3,}\{solution-start\} (\S+)", re.M)


@rule
def exercises_have_solutions_that_run(notebook):
    last = len(notebook.cells)
    text = prose(notebook)
    exercises = re.findall(
        r"^[`:]{3,}\{exercise\}[^\n]*\n(?::\w+:[^\n]*\n)*?:label: (\S+)", text, re.M
    )
    solutions = re.findall(r"^[`:]{3,}\{solution-start\} (\S+)", text, re.M)
    if not 3 <= len(exercises) <= 6:
        yield last, f"{len(exercises)} labelled exercises; a chapter has 3 to 6"
    if sorted(exercises) != sorted(solutions):
        yield last, f"exercises {exercises}, but solutions to {solutions}"
    inside = None
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            inside = inside and "has code"
            continue
        for label in re.findall(r"\{solution-start\} (\S+)\n(?!:class: dropdown)", cell.source):
            yield number, f"the solution of {label} stands open: give it `:class: dropdown`"
        for start, end in re.findall(r"(\{solution-start\})|(\{solution-end\})", cell.source):
            if end and inside == "begun":
                yield number, "a solution without a code cell: nothing in it is run"
            inside = "begun" if start else None


@rule
def imports_are_where_they_are_used(notebook):
    for number, cell in code_cells(notebook):
        imports = re.findall(r"^(?:from|import) ", cell.source, re.M)
        if len(imports) > IMPORTS_AT_MOST:
            yield number, f"{len(imports)} imports: import where a thing is first used"


@rule
def cells_are_short(notebook):
    for number, cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if len(lines) > LINES_AT_MOST:
            yield number, f"{len(lines)} lines of code: split it, or move it into vaebook"
        elif len(lines) > LINES_TO_AVOID:
            warnings.warn(f"cell {number} has {len(lines)} lines of code", stacklevel=2)


# --- the test set -----------------------------------------------------------------------------


class TestSet(ast.NodeVisitor):
    """Follows what comes from the test part of a data set, to where something is chosen by it."""

    __test__ = False

    def __init__(self):
        self.names = set()  # names whose values depend on test data
        self.misuses = []

    def touches(self, node):
        """Tell whether an expression, or the body of a function, depends on test data."""
        return any(
            (isinstance(part, ast.Name) and part.id in self.names)
            or (isinstance(part, ast.Attribute) and part.attr == "test")
            for part in ast.walk(node)
        )

    def bind(self, target, value):
        """Note what an assignment makes of its names; of a mixed value the name tells the part."""
        mixed = any("train" in str(getattr(part, "id", "")) for part in ast.walk(value))
        for part in ast.walk(target):
            name = getattr(getattr(part, "value", part), "id", "")  # of scores, too, in scores[0]
            if self.touches(value) and (not mixed or "test" in name):
                self.names.add(name)
            elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                self.names.discard(name)

    def visit_Assign(self, node):
        self.visit(node.value)
        targets, values = node.targets[0], node.value
        parts = values.generators[0].iter if isinstance(values, ast.GeneratorExp) else values
        if isinstance(targets, ast.Tuple) and isinstance(parts, ast.Tuple):
            for target, value in zip(targets.elts, parts.elts, strict=True):
                self.bind(target, value)
        elif isinstance(targets, ast.Tuple) and called(values) == "load":
            self.names |= {
                target.id for target in targets.elts[2:]
            }  # train, validation, test = load()
        else:
            self.bind(targets, values)

    def visit_For(self, node):
        self.bind(node.target, node.iter)
        self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        if self.touches(node):
            self.names.add(node.name)

    def visit_Call(self, node):
        name = called(node)
        options = {keyword.arg: keyword.value for keyword in node.keywords}
        given = [*node.args, *options.values()]
        if name in ("fit", "fit_predict", "fit_transform") and any(map(self.touches, given)):
            self.misuses.append("trains on test data, or validates by them")
        picks = name in ("min", "max", "sorted") and "key" in options
        picks |= name == "index" and any(called(value) in ("min", "max") for value in given)
        if picks and any(map(self.touches, given)):
            self.misuses.append("picks the best by test data")
        self.generic_visit(node)


def called(node):
    """Name of the function or method that an expression calls, if it is a call."""
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", None))


SAYS_SO = "test-digits"  # a cell so tagged only looks; its text says so


@rule
def the_test_set_chooses_nothing(notebook):
    followed = TestSet()
    for number, cell in code_cells(notebook):
        if not cell.source.startswith("%"):
            followed.visit(ast.parse(cell.source))
        for misuse in followed.misuses:
            if SAYS_SO not in tags(cell):
                yield number, f"{misuse}: use the validation part of the data"
        followed.misuses.clear()


CHOOSES = re.compile(r"\bvalidation(=|, test\b)")
LOOKS = re.compile(r"\b(x_)?test\b")


@rule
def a_chapter_that_chooses_says_where_it_looks_at_the_test_set(notebook):
    if not any(CHOOSES.search(cell.source) for _, cell in code_cells(notebook)):
        return
    for number, cell in code_cells(notebook):
        code = re.sub(r"[\"'].*?[\"']|#.*", "", cell.source)
        looks = LOOKS.search(re.sub(r"^train, validation, test = .*", "", code, flags=re.M))
        if looks and SAYS_SO not in tags(cell):
            yield number, f"tag it {SAYS_SO}: it looks at the test part, '{looks[0]}'"


# --- the tests --------------------------------------------------------------------------------


def name(path):
    return path.relative_to(BOOK).as_posix()


def test_the_book_has_chapters():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=map(name, NOTEBOOKS))
@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
def test_every_chapter_keeps_the_rules(path, check):
    problems = list(check(nbformat.read(path, as_version=4)))
    assert not problems, "\n" + "\n".join(f"{name(path)}, cell {n}: {text}" for n, text in problems)


def test_no_two_figures_share_their_text_or_name():
    seen = {}
    for path in NOTEBOOKS:
        for number, cell in code_cells(nbformat.read(path, as_version=4)):
            if is_figure(cell):
                alt, figure = (
                    options(cell).get("image", {}).get("alt"),
                    options(cell).get("figure", {}),
                )
                for key in (("alt", alt), ("name", figure.get("name"))):
                    seen.setdefault(key, []).append(f"{name(path)}, cell {number}")
    shared = {key: places for key, places in seen.items() if len(places) > 1}
    assert not shared


# --- the rules themselves ---------------------------------------------------------------------

ALT = "Two falling curves; the upper one, the divergence, levels off after three epochs."
END = "\n## Summary\n\nS.\n\n## Exercises\n\n"
SOLUTION = "```{{solution-start}} ex-{0}\n:class: dropdown\n```"
EXERCISE = f"```{{{{exercise}}}} Title\n:label: ex-{{0}}\nTask.\n```\n\n{SOLUTION}"


def good_chapter():
    """Return a chapter that keeps all rules."""
    figure = new_code_cell("figures.lines()", execution_count=2)
    figure.outputs = [
        new_output("display_data", {"text/plain": "<Figure size 640x480 with 1 Axes>"})
    ]
    figure.metadata.mystnb = {"image": {"alt": ALT}, "figure": {"name": "fig-a", "caption": "C."}}
    value = new_code_cell("print(1)", execution_count=1, metadata={"tags": [COMPARED]})
    value.outputs = [new_output("stream", name="stdout", text="1\n")]
    aims = "You will be able to see. You need eyes."
    cells = [new_markdown_cell("# T\n\nWhat is it?"), value, figure]
    cells.append(new_markdown_cell(aims + END))
    for i in range(3):
        solution = new_code_cell("pass", execution_count=3 + i)
        end = new_markdown_cell("```{solution-end}\n```")
        cells += [new_markdown_cell(EXERCISE.format(i)), solution, end]
    cells.append(new_markdown_cell("## Further reading\n\n{cite}`a`"))
    return new_notebook(cells=cells)


def change(cell, **attributes):
    def apply(notebook):
        for key, value in attributes.items():
            setattr(notebook.cells[cell], key, value)

    return apply


def figure_metadata(alt=ALT, **figure):
    return {
        "mystnb": {"image": {"alt": alt}, "figure": figure or {"name": "fig-a", "caption": "C."}}
    }


def remove(cell):
    return lambda notebook: notebook.cells.pop(cell)


PNG = [new_output("display_data", {"image/png": "", "text/plain": "<Figure size 1x1>"})]
BREAKS = {
    "no tag": (change(1, metadata={}), "tag it nbval-check-output: its output has a number, '1'"),
    "no output": (change(1, outputs=[]), "no text output is stored"),
    "not run": (change(1, execution_count=None), "execution_count is None, not 1"),
    "out of order": (change(1, execution_count=7), "execution_count is 7, not 1"),
    "image": (change(2, outputs=PNG), "an output of kind image/png is stored"),
    "timing": (change(1, metadata={"tags": [COMPARED], "execution": {}}), "times of execution"),
    "idle tolerance": (
        change(1, metadata={"tags": [COMPARED], "vaebook": {"within": {"nats": 0.1}}}),
        "within states a tolerance for 'nats', and no number stands there",
    ),
    "no tolerance": (
        change(1, metadata={"tags": [COMPARED], "vaebook": {"within": "a little"}}),
        "a tolerance is a number such as 0.3",
    ),
    "exempt": (
        change(1, metadata={"tags": [COMPARED], "vaebook": {"within": "seconds"}}),
        "only seconds may be exempt",
    ),
    "verdict": (
        change(1, outputs=[new_output("stream", name="stdout", text="no 1\nbelow 2: [True]\n")]),
        "show the number, and let a test judge it: 'below 2: [True]'",
    ),
    "visible record": (change(1, source="record(a=1)"), "record in a cell of its own"),
    "visible import": (
        change(1, source="from vaebook.results import record"),
        "record in a cell of its own",
    ),
    "removed name": (
        lambda notebook: notebook.cells.insert(
            1, new_code_cell("figures = 1", metadata={"tags": [REMOVED]}, execution_count=0)
        ),
        "uses 'figures', which a cell tagged remove-cell defines",
    ),
    "no alt": (change(2, metadata=figure_metadata("")), "a figure without text alternative"),
    "generic": (change(2, metadata=figure_metadata("Plot of " + ALT)), "alt says nothing"),
    "file name": (change(2, metadata=figure_metadata("loss_curves.png")), "alt says nothing"),
    "short": (change(2, metadata=figure_metadata("Two falling curves.")), "alt is too short"),
    "repeats": (
        change(2, metadata=figure_metadata(ALT, name="fig-a", caption=ALT)),
        "alt repeats the caption",
    ),
    "no caption": (change(2, metadata=figure_metadata(ALT, name="fig-a")), "without caption"),
    "no name": (change(2, metadata=figure_metadata(ALT, caption="C.")), "without name"),
    "no title": (
        change(0, source="What is it?"),
        "begin with the title",
    ),
    "aims first": (change(0, source="# T\n\nWhat?\n\nYou will be able."), "one paragraph"),
    "long lead": (change(0, source="# T\n\n" + 500 * "a"), "500 characters before the picture"),
    "no picture": (change(2, metadata={}), "show a picture before more text"),
    "late picture": (
        lambda notebook: notebook.cells.insert(2, new_markdown_cell("Text.")),
        "show a picture before more text",
    ),
    "no aims": (change(3, source="You need eyes." + END), "'will be able to'"),
    "no needs": (change(3, source="You will be able to see." + END), "'You need …'"),
    "no summary": (change(3, source="\n## Exercises\n"), "end with the sections"),
    "no reading": (change(-1, source="## Further reading\n\nNone."), "cites nothing"),
    "few exercises": (change(4, source="Nothing."), "2 labelled exercises"),
    "no solution": (
        change(4, source=EXERCISE.format(0).partition("```{sol")[0]),
        "but solutions to ['ex-1', 'ex-2']",
    ),
    "open solution": (
        change(4, source=EXERCISE.format(0).replace(":class: dropdown\n", "")),
        "the solution of ex-0 stands open",
    ),
    "idle solution": (remove(5), "a solution without a code cell"),
    "import wall": (change(1, source="import a\n" * 7), "7 imports"),
    "long": (change(1, source="a = 1\n" * 21), "21 lines of code"),
    "validated by test": (
        change(1, source="x = digits.test.pixels()\nfit(m, y, validation=x[:9])"),
        "trains on test data, or validates by them",
    ),
    "validated by the third part": (
        change(1, source="train, validation, test = load()\nfit(m, y, validation=test.pixels())"),
        "trains on test data, or validates by them",
    ),
    "fitted to test": (
        change(1, source="x = load().test.floats()\nKMeans(3).fit(x)"),
        "trains on test data, or validates by them",
    ),
    "chosen by test": (
        change(
            1,
            source="def score(m):\n    return m.elbo(d.test.floats())\n\n"
            "costs = {m: score(m) for m in models}\nbest = min(costs, key=costs.get)",
        ),
        "picks the best by test data",
    ),
    "chosen by index": (
        change(
            1,
            source="costs = []\nfor m in ms:\n    costs.append(1)\n"
            "costs = [m(d.test) for m in ms]\nms[costs.index(min(costs))]",
        ),
        "picks the best by test data",
    ),
    "a look unsaid": (
        change(1, source="fit(m, x, validation=x)\nm.elbo(x_test)"),
        "tag it test-digits: it looks at the test part, 'x_test'",
    ),
}


def test_what_test_data_may_do():
    """To be measured, and to lose the name to something else, is no misuse."""
    notebook = good_chapter()
    notebook.cells[1].source = (
        "digits = load()\n"
        "train, x_test = digits.train.floats(), digits.test.floats()\n"
        "KMeans(3).fit(train)\n"
        "cost = min(model.elbo(x_test).mean(), 0)\n"
        "x_test = train[:10]\n"
        "fit(model, x_test)"
    )
    assert problems_of(notebook) == []


def problems_of(notebook):
    return [message for check in RULES for _, message in check(notebook)]


def test_a_good_chapter_has_no_problems():
    assert problems_of(good_chapter()) == []


@pytest.mark.parametrize(("break_it", "message"), BREAKS.values(), ids=BREAKS)
def test_a_broken_rule_is_seen(break_it, message):
    notebook = copy.deepcopy(good_chapter())
    break_it(notebook)
    assert any(message in problem for problem in problems_of(notebook))
