"""The cache of executed notebooks, and the form in which notebooks are stored."""

import asyncio
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import build, dependencies, execution, notebooks, progress, schedule
from tools.dependencies import ROOT
from tools.normalise import normalise, to_text
from tools.schedule import Task

NOTEBOOKS = sorted(
    path for path in execution.BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)


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
    book = notebook("from vaebook import model", "model.f()")
    before = key(book)
    path = project / "vaebook" / file
    path.write_bytes(path.read_bytes() + b"\nprint()\n")
    assert key(book) != before


@pytest.mark.parametrize("file", ["other.py", "../tools/page.css"])
def test_a_change_elsewhere_keeps_outputs(project, file):
    """A module that the notebook does not import, and the look of the pages, do not count."""
    book = notebook("import vaebook.model as m")
    before = key(book)
    (project / "vaebook" / file).write_text("changed = True\n")
    assert key(book) == before


PACKAGE_FILES = {
    "_checks.py": "def fail(name):\n    raise ValueError(name)\n",
    "gaussian.py": '"""Gaussians."""\nLOG_2PI = 1.8\ndef log_normal(x):\n    return x + LOG_2PI\n',
    "figures.py": '''
"""Figures."""
import functools
from vaebook._checks import fail

WIDTH = 5.2

def in_style(draw):
    """Decorate."""
    @functools.wraps(draw)
    def styled(*args):
        return draw(*args)
    return styled

@in_style
def curve(x, scale=1):
    """Draw a curve."""
    return x * scale * WIDTH

@in_style
def box(x):
    return fail("x") if x < 0 else x
''',
    "vae.py": """
from dataclasses import dataclass
from vaebook.gaussian import log_normal

@dataclass
class VAE:
    width: int = 2

    def elbo(self):
        return log_normal(1)

    def sample(self):
        return 1
""",
    "live.py": """
from importlib.resources import files
from vaebook import figures

def explorer():
    return (files("vaebook") / "words.txt").read_text()

def picture(name):
    return getattr(figures, name)
""",
    "words.txt": "one\n",
    "explorer.js": "show()\n",
    "own.py": """
from importlib.resources import files

def read(folder):
    return [file.read_text() for file in folder.iterdir()]

def words():
    return sorted(files("sklearn.datasets.descr").iterdir())

def place():
    return files("vaebook")
""",
}
CHAPTERS = {
    "curve": "from vaebook import figures\nfigures.curve(1)",
    "box": "from vaebook.figures import box\nbox(1)",
    "vae": "from vaebook.vae import VAE\nVAE().elbo()",
    "live": "from vaebook import live\nlive.explorer()",
    "picture": "from vaebook import live\nlive.picture('box')",
    "own": "from vaebook import own\nown.read(folder), own.words()",
    "source": "from vaebook import figures\nhelp(figures.box)",
    "magic": "from vaebook import figures\n%timeit figures.box(1)",
    "listing": "from pathlib import Path\nsorted(Path().rglob('*'))",
    "folder": "from vaebook import own\nown.read(Path('../vaebook'))",
    "parent": "from vaebook import own\nown.read(Path('..'))",
    "place": "from vaebook import own\nown.read(own.place())",
    "file": "import vaebook\nfrom vaebook import own\nown.read(Path(vaebook.__file__).parent)",
}
# These show code, run it in a way of their own, or can read the package's folder.
EVERYTHING = {"source", "magic", "listing", "folder", "parent", "place", "file"}


@pytest.fixture
def chapters(project):
    """Notebooks that use a package in different ways; returns the keys of all."""
    for name, source in PACKAGE_FILES.items():
        (project / "vaebook" / name).write_text(source)
    return lambda: {name: key(notebook(source)) for name, source in CHAPTERS.items()}


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("figures.py", "Draw a curve", "Draw, a curve", set()),
        ("figures.py", "WIDTH = 5.2", "WIDTH = (\n    5.2  # inches\n)", set()),
        ("figures.py", "x * scale", "x + scale", {"curve", "picture"}),
        ("figures.py", "scale=1", "scale=2", {"curve", "picture"}),
        ("figures.py", "WIDTH = 5.2", "WIDTH = 6", {"curve", "picture"}),
        ("figures.py", "@in_style\ndef box", "def box", {"box", "picture"}),
        ("figures.py", "draw(*args)", "draw(args)", {"curve", "box", "picture"}),
        ("figures.py", "WIDTH = 5.2", "WIDTH = fail('x')", {"curve", "box", "live", "picture"}),
        ("figures.py", "WIDTH = 5.2", "WIDTH = 5.2\nprint()", {"curve", "box", "live", "picture"}),
        ("_checks.py", "ValueError", "TypeError", {"box", "picture"}),
        ("gaussian.py", "1.8", "1.9", {"vae"}),
        ("gaussian.py", "def log", "UNUSED = 1\ndef log", set()),
        ("vae.py", "return 1", "return 2", {"vae"}),
        ("vae.py", "@dataclass", "@dataclass(frozen=True)", {"vae"}),
        ("own.py", "sorted", "list", {"own"}),
        ("words.txt", "one", "two", {"live", "picture"}),
    ],
)
def test_an_edit_reruns_those_who_reach_it(project, chapters, file, old, new, stale):
    """Docstrings, comments and line breaks do not count; what a module does on import does."""
    before = chapters()
    path = project / "vaebook" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = chapters()
    assert {name for name in before if before[name] != after[name]} == stale | EVERYTHING


def test_an_edit_of_what_only_pages_read_reruns_nobody(project, chapters):
    """A live figure's script is no part of a notebook's output: the page has it."""
    before = chapters()
    (project / "vaebook" / "explorer.js").write_text("hide()\n")
    assert chapters() == before


@pytest.mark.parametrize(
    "registering",
    [
        "KNOWN = []\ndef known(f):\n    KNOWN.append(f)\n    return f\n"
        "@known\ndef f():\n    return 1",
        "KNOWN = []\nclass B:\n    def __init_subclass__(cls):\n        KNOWN.append(cls)\n"
        "class C(B):\n    x = 1",
        "KNOWN = {}\ndef f():\n    return 1\nKNOWN['f'] = f",
        "KNOWN = [y := 1]\ndef f():\n    return y",
        "try:\n    KNOWN = [1]\nexcept ImportError:\n    KNOWN = [2]",
        "from vaebook.hidden import *",
        "def __getattr__(name):\n    return 1",
        "def __getattr__(name):\n    return globals()[name + '1']\nKNOWN1 = 1",
    ],
)
def test_what_is_registered_counts_for_who_reads_the_register(project, registering):
    """A definition that fills a register, or comes by a detour, is not only reached by name."""
    module = project / "vaebook" / "register.py"
    hidden = project / "vaebook" / "hidden.py"
    module.write_text(registering)
    hidden.write_text("KNOWN = 1")
    book = notebook("from vaebook import register", "print(register.KNOWN)")
    before = key(book)
    module.write_text(registering.replace("1", "2"))
    hidden.write_text("KNOWN = 2")
    assert key(book) != before


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


def test_the_longest_chain_starts_first():
    """Behind it comes the longest single task; one that must wait does not start."""
    tasks = {
        "train": Task(5),
        "evaluate": Task(6, after=("train",)),
        "long": Task(9),
        "short": Task(1),
    }
    assert schedule.next_tasks(tasks, set(tasks), [], cores=2) == ["train", "long"]
    assert schedule.next_tasks(tasks, {"evaluate", "short"}, ["train", "long"], cores=3) == [
        "short"
    ]
    assert schedule.chains(tasks)["train"] == ["train", "evaluate"]
    assert [schedule.simulate(tasks, cores) for cores in (1, 2, 4)] == [21, 11, 11]
    assert schedule.simulate(tasks, 2, elapsed={"train": 4}) == 9


def test_memory_limits_how_many_run():
    """What does not fit waits until it does, alone if need be, and nothing overtakes it."""
    tasks = {"big": Task(4, memory=9), "middle": Task(3, memory=6), "small": Task(2, memory=1)}
    assert schedule.next_tasks(tasks, set(tasks), [], cores=9, memory=12) == ["big"]
    assert schedule.next_tasks(tasks, {"middle", "small"}, ["big"], cores=9, memory=12) == []
    assert schedule.next_tasks(tasks, {"middle", "small"}, [], 9, 8) == ["middle", "small"]
    assert schedule.next_tasks(tasks, {"big"}, [], cores=9, memory=5) == ["big"]
    assert schedule.simulate(tasks, cores=9, memory=12) == 7


def test_the_time_left_follows_the_pace(capsys, monkeypatch):
    """A machine half as fast as expected needs twice as long for the rest."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    shown = progress.Progress({"a": Task(10), "b": Task(300)}, 1, 1e9, afterwards=60)
    assert shown.left() == 310
    shown.starts("a")
    shown.ends("a", seconds=20)
    assert shown.left() == 600
    shown.starts("folder/b")
    shown.started = {}
    shown.at_cell("folder/b", 2, 5)
    shown.show()
    shown.close()
    assert "1 of 2 done, about 11 min left; running b (cell 2 of 5)" in capsys.readouterr().out


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


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A project of one page, whose builds do nothing but succeed or fail as told."""
    calls = []
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "page.md").write_text("prose")
    (tmp_path / "book" / "page.css").write_text("look")
    (tmp_path / "_build" / "html").mkdir(parents=True)
    (tmp_path / "_build" / "html" / "index.html").write_text("")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(dependencies, "ROOT", tmp_path)
    monkeypatch.setattr(build, "PAGE", tmp_path / "_build" / "html" / "index.html")
    monkeypatch.setattr(build, "STAMP", tmp_path / "_build" / "html.json")
    monkeypatch.setattr(build, "RECORDS", tmp_path / "_build" / "execution.json")
    monkeypatch.setattr(execution, "RECORDS", tmp_path / "_build" / "execution.json")

    def make(status=0):
        """Build, and return the options of the pass, or None where nothing had to be done."""
        pages = build.Pages()
        if pages.are_current():
            return None
        monkeypatch.setattr(
            build.subprocess,
            "run",
            lambda command, **_: calls.append(command[3:]) or SimpleNamespace(returncode=status),
        )
        pages.finish()
        return calls[-1]

    return SimpleNamespace(folder=tmp_path / "book", make=make)


def test_pages_are_made_anew_where_sphinx_cannot_tell(site):
    """Prose goes on from the last pass; the look of the pages and a failure start afresh."""
    assert site.make() == ["--fresh"]
    assert site.make() is None
    (site.folder / "page.md").write_text("other prose")
    assert site.make() == []
    (site.folder / "page.css").write_text("other look")
    assert site.make() == ["--fresh"]
    (site.folder / "page.md").write_text("a mistake")
    with pytest.raises(SystemExit):
        site.make(status=1)
    assert site.make() == ["--fresh"]
    assert site.make() is None


@pytest.mark.parametrize(("status", "options"), [(0, ["--all"]), (1, ["--fresh"])])
@pytest.mark.parametrize(("left", "kind"), [(30, "--read"), (900, "--draft")])
def test_pages_start_while_notebooks_run(site, monkeypatch, left, kind, status, options):
    """The last pass goes on from a first one that found nothing wrong, and from no other."""
    program = f"import sys; sys.exit({status} if '{kind}' in sys.argv else 7)"
    monkeypatch.setattr(
        build.Pages, "_command", lambda self, kind: [sys.executable, "-c", program, kind]
    )
    pages = build.Pages()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, pages.start(left)).result()
    assert pages.pass_options == options


def test_an_idle_core_starts_the_pages(book, monkeypatch):
    """Once, while a notebook still runs, with the seconds that are left."""
    monkeypatch.setattr(execution, "cores", lambda: 2)
    nbformat.write(notebook("1"), book / "a.ipynb")
    called = []

    async def idle(left):
        called.append((left, execution.read_records()))

    with ThreadPoolExecutor(1) as thread:
        thread.submit(execution.execute, idle).result()
    assert called == [(execution.UNKNOWN["seconds"], {})]


def test_reference_times_stay_while_they_are_about_right(tmp_path, monkeypatch):
    """Running again on another machine changes no file."""
    monkeypatch.setattr(execution, "REFERENCE", tmp_path / "times.json")
    monkeypatch.setattr(execution, "RECORDS", tmp_path / "execution.json")
    for seconds, stored in [(10.0, 10.0), (17.0, 10.0), (21.0, 21.0), (9.0, 9.0)]:
        run = {"seconds": seconds, "peak_rss_bytes": 5, "key": "k"}
        execution.RECORDS.write_text(json.dumps({"a": run}))
        execution.store_reference(["a"])
        assert json.loads(execution.REFERENCE.read_text())["a"]["seconds"] == stored


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
    # without the summary, which on a server says it all again
    assert python(*REPLAY, "-rN").count("without having been run. Run `make notebooks`") == 2
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


@pytest.mark.parametrize(
    "path",
    NOTEBOOKS,
    ids=[path.relative_to(execution.BOOK).with_suffix("").as_posix() for path in NOTEBOOKS],
)
def test_notebooks_are_stored_in_that_form(path):
    """`make notebooks` would change no byte of the file but its outputs."""
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
