"""The cache of executed notebooks, and the form in which notebooks are stored."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import dependencies, execution, notebooks
from tools.dependencies import ROOT
from tools.normalise import normalise, to_text


def notebook(*sources, **metadata):
    """Return a notebook of code cells."""
    return new_notebook(cells=[new_code_cell(source) for source in sources], metadata=metadata)


def key(book):
    """Return the checksum of all that the outputs of a notebook depend on."""
    return dependencies.notebook_key(book, [])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two modules, one of which imports the other."""
    package = tmp_path / "vaebook"
    package.mkdir()
    (tmp_path / "constraints.txt").write_text("torch==2\n")
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("ONE = 1\n")
    (package / "model.py").write_text("def f():\n    from . import base\n    return base.ONE\n")
    (package / "other.py").write_text("")
    (package / "data.xz").write_bytes(b"data")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "page.css").write_text("")
    monkeypatch.setattr(dependencies, "ROOT", tmp_path)
    monkeypatch.setattr(dependencies, "PACKAGE", package)
    return tmp_path


@pytest.mark.parametrize(
    "file", ["base.py", "model.py", "__init__.py", "data.xz", "../constraints.txt"]
)
def test_a_change_that_matters_makes_outputs_stale(project, file):
    """An imported module, one that it imports in turn, the data and the locked versions count."""
    book = notebook("from vaebook import model", "%matplotlib inline\nmodel.f()")
    before = key(book)
    path = project / "vaebook" / file
    path.write_bytes(path.read_bytes() + b"# changed\n")
    assert key(book) != before


@pytest.mark.parametrize("file", ["other.py", "../tools/page.css"])
def test_a_change_elsewhere_keeps_outputs(project, file):
    """A module that the notebook does not import, and the look of the pages, do not count."""
    book = notebook("import vaebook.model as m")
    before = key(book)
    (project / "vaebook" / file).write_text("changed = True\n")
    assert key(book) == before


def test_prose_keeps_outputs_and_code_does_not(project):
    """Markdown, captions, tags and stored outputs do not count; code and what ran before do."""
    book = notebook("1 + 1")
    before = key(book)
    book.cells.insert(0, new_markdown_cell("Some prose."))
    book.cells[1].metadata = {"tags": ["nbval-check-output"], "mystnb": {"figure": {}}}
    book.cells[1].outputs = [new_output("stream", name="stdout", text="2")]
    assert key(book) == before
    assert dependencies.notebook_key(book, ["another key"]) != before
    book.cells[1].source = "1 + 2"
    assert key(book) != before


def test_order_and_missing_predecessors(tmp_path, monkeypatch):
    """A notebook comes behind those that it must run after; a missing or circular one is named."""
    monkeypatch.setattr(execution, "BOOK", tmp_path)
    nbformat.write(notebook("1", vaebook={"after": ["z"]}), tmp_path / "a.ipynb")
    with pytest.raises(execution.NotebookError, match="after z, which is missing"):
        execution.find_jobs()
    nbformat.write(notebook("2"), tmp_path / "z.ipynb")
    assert list(execution.find_jobs()) == ["z", "a"]
    nbformat.write(notebook("2", vaebook={"after": ["a"]}), tmp_path / "z.ipynb")
    with pytest.raises(execution.NotebookError, match="after itself"):
        execution.find_jobs()


@pytest.fixture
def book(tmp_path, monkeypatch):
    """An empty book whose runs are kept apart from the real one's."""
    monkeypatch.setattr(execution, "BOOK", tmp_path / "book")
    monkeypatch.setattr(execution, "EXECUTED", tmp_path / "executed")
    monkeypatch.setattr(execution, "RECORDS", tmp_path / "execution.json")
    (tmp_path / "book").mkdir()
    return tmp_path / "book"


def execute():
    """Run the notebooks in a thread: the browser tests leave an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(execution.execute).result()


def test_execution_runs_once_and_keeps_outputs(book):
    """A second run runs nothing; the record has time and memory; a notebook has one thread."""
    nbformat.write(notebook("import os\nprint(os.environ['OMP_NUM_THREADS'])"), book / "a.ipynb")
    jobs, ran = execute()
    assert ran == {"a"}
    assert execution.with_outputs(jobs["a"]).cells[0].outputs[0].text == "1\n"
    record = execution.read_records()["a"]
    assert record["seconds"] > 0
    assert record["peak_rss_bytes"] > 10 * 2**20
    assert execute()[1] == set()


def test_a_failing_notebook_shows_cell_and_traceback(book):
    """The message has the source of the failing cell and the error; nothing is recorded."""
    nbformat.write(notebook("ok = 1", "ok / 0"), book / "a.ipynb")
    with pytest.raises(execution.NotebookError, match=r"cell 2 of 2(.|\n)*ok / 0(.|\n)*ZeroDiv"):
        execute()
    assert execution.read_records() == {}


@pytest.fixture
def copied(tmp_path):
    """A copy of the tools beside a book, and a way to run Python in it."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    (tmp_path / "vaebook").mkdir()
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "book" / "conftest.py", tmp_path / "book")

    def python(*arguments):
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout

    return tmp_path / "book" / "a.ipynb", python


RUN = "-c", "from tools.execution import execute; execute()"
REPLAY = "-m", "pytest", "-p", "tools.nbval_replay", "book/a.ipynb"


def test_stored_outputs_are_compared_within_their_tolerances(copied):
    """With the run that took place, and with a live one of nbval."""
    path, python = copied
    metadata = {"tags": ["nbval-check-output"], "vaebook": {"within": {"nats": 0.1}}}
    book = notebook()
    for number, stored in enumerate(("2.0 nats", "2.1 nats", "2.2 nats", "2.0 bits"), 1):
        outputs = [new_output("stream", name="stdout", text=f"{stored}\n")]
        cell = new_code_cell("print('2.0 nats')", metadata=metadata, outputs=outputs)
        book.cells.append(cell)
        cell.execution_count = number
    nbformat.write(book, path)
    python(*RUN)
    live = [("-m", "pytest", option, "book/a.ipynb") for option in ("--nbval-lax", "--nbval")]
    for command in (REPLAY, (*REPLAY, "--nbval-lax"), *live):
        output = python(*command)
        assert "2 failed, 2 passed" in output
        assert "output 1, line 1, number 1: 2.2 is stored, 2.0 is new, within 0.1" in output
        assert "output 1, line 1: other words" in output


def test_a_notebook_that_was_not_run_fails_once(copied):
    path, python = copied
    book = notebook("1 + 1", "x = 1")
    nbformat.write(book, path)
    python(*RUN)
    assert python(*REPLAY).count("without having been run. Run `make notebooks`") == 2
    book.cells[1].source = "x = 2"
    nbformat.write(book, path)
    output = python(*REPLAY)
    assert "was not run since" in output
    assert "1 failed in" in output


def test_the_stored_form():
    """Images, widgets, addresses, timing and standard error go; text stays, in one piece."""
    book = notebook("x")
    cell = book.cells[0]
    cell.execution_count = 1
    cell.metadata = {"execution": {"iopub.status.busy": "now"}, "tags": ["hide-input"]}
    figure = {
        "image/png": "iVBO",
        "text/plain": "<Axes at 0x7f0123456789>",
        "text/html": "<div></div><script>live()</script>",
        "application/vnd.jupyter.widget-view+json": {"model_id": "random"},
    }
    cell.outputs = [
        new_output("stream", name="stdout", text="a\n"),
        new_output("stream", name="stderr", text="warning"),
        new_output("stream", name="stdout", text="b\n"),
        new_output("display_data", data=figure, metadata={"scrapbook": {}, "image/png": {}}),
    ]
    stored = normalise(book)
    text, shown = stored.cells[0].outputs
    assert text.text == "a\nb\n"
    assert shown.data == {"text/plain": "<Axes at 0x0>"}
    assert shown.metadata == {"scrapbook": {}}
    assert stored.cells[0].metadata == {"tags": ["hide-input"]}
    assert to_text(normalise(stored)) == to_text(stored)


@pytest.mark.parametrize("name", sorted(execution.find_jobs()))
def test_notebooks_are_stored_in_that_form(name):
    """`make notebooks` would change no byte of the file but its outputs."""
    path = execution.BOOK / f"{name}.ipynb"
    read = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    assert path.read_text(encoding="utf-8") == to_text(normalise(read)), "run `make notebooks`"


@pytest.mark.parametrize(
    ("printed", "within", "stored"),
    [
        ("2.1 nats", {"nats": 0.1}, "2.1 nats"),
        ("2.2 nats", {"nats": 0.1}, "2.0 nats"),
        ("2.0 bits", 0.1, "2.0 nats"),
        ("9.9 seconds", {"seconds": "seconds"}, "2.0 nats"),
    ],
    ids=["within", "beyond", "other words", "other unit"],
)
def test_a_run_within_the_tolerances_rewrites_no_notebook(book, printed, within, stored):
    """Beyond them, it is stored."""
    notebook_file = book / "a.ipynb"
    before = notebook("print('2.0 nats')")
    before.cells[0].execution_count = 1
    before.cells[0].metadata.vaebook = {"within": within}
    before.cells[0].outputs = [new_output("stream", name="stdout", text=f"{printed}\n")]
    nbformat.write(before, notebook_file)
    jobs, _ = execute()
    (output,) = notebooks.to_store(jobs["a"]).cells[0].outputs
    assert output.text == f"{stored}\n"
