"""The notebooks as readers get them: complete in both editions, and they run without the book.

`make downloads` runs them to their ends. Here each has half a second after its first cells; one of
them has a kernel.
"""

import ast
import asyncio
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from tools.dependencies import PACKAGE, ROOT
from tools.downloads import FIRST_CELLS, SOURCES, make_environment, notebooks, run

ENGLISH = notebooks()
CHINESE = notebooks(SOURCES.parents[1] / "zh" / "_sources" / "book")
BASE = yaml.safe_load((ROOT / "_config.yml").read_text())["html"]["baseurl"]
SECONDS = 0.5
# A role, a directive, a relative link, a place of the old kind.
LEFT_OVER = re.compile(r"\{[a-z:_-]+\}`|```\{|^:::|\]\((?!https?:|#)|\]\(\)|^\(.*\)=$", re.M)

# Each notebook has a process of its own, which need not load what all of them import. An alarm ends
# it after its first cells; an error ends it otherwise.
BEGIN_EACH = f"""\
import json, os, signal, sys
import matplotlib.pyplot, numpy, scipy.stats, torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

def begin(file):
    cells = [cell for cell in json.load(open(file))["cells"] if cell["cell_type"] == "code"]
    install, *others = ["".join(cell["source"]) for cell in cells]
    shell = InteractiveShell.instance()
    with capture_output() as said:
        shell.run_cell(install).raise_error()
    assert (said.stdout, said.stderr, said.outputs) == ("", "", [])
    with capture_output():
        for done, source in enumerate(others, 1):
            if done == {FIRST_CELLS}:
                signal.setitimer(signal.ITIMER_REAL, {SECONDS})
            shell.run_cell(source).raise_error()

for file in sys.argv[1:]:
    if (child := os.fork()) == 0:
        begin(file)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) in (0, -signal.SIGALRM):
        print("begun", flush=True)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links packages into an environment")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter that has the wheel, what it needs, and a kernel."""
    return make_environment(tmp_path_factory.mktemp("environment"))


def read(file):
    return nbformat.read(file, as_version=4)


def of_kind(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def test_each_chapter_has_its_notebook():
    assert ENGLISH, "run `make html` first"
    assert set(ENGLISH) == set(notebooks(ROOT / "book"))
    assert set(CHINESE) <= set(ENGLISH)


def test_the_environment_has_the_package_and_nothing_of_the_book(python, tmp_path):
    code = "import sys, vaebook, importlib.util as u; print(vaebook.__file__, "
    code += "*[name for name in ('tools', 'sphinx', 'pytest', 'nbval') if u.find_spec(name)])"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    said = subprocess.check_output([python, "-c", code], text=True, cwd=tmp_path, env=clean)
    place, *others = said.split()
    assert place.startswith(str(python.parents[1]))
    assert others == []


def imported(source):
    """Yield the modules that some code imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_the_environment_has_what_any_cell_imports(python, tmp_path):
    """Also what is imported late: by a last cell, or inside of a function of the package."""
    transform = TransformerManager().transform_cell
    cells = [cell for file in ENGLISH.values() for cell in of_kind(read(file), "code")]
    sources = [transform(cell.source) for cell in cells]
    sources += [file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")]
    modules = {module for source in sources for module in imported(source)}
    own = sys.stdlib_module_names  # Python's own, of which each system has others
    modules = sorted(module for module in modules if module.partition(".")[0] not in own)
    code = "import sys, importlib\nfor module in sys.argv[1:]: importlib.import_module(module)"
    subprocess.run([python, "-c", code, *modules], check=True, cwd=tmp_path)


def wait_for(coroutine):
    """Run it in a thread of its own: in this one, the browser of other tests has its loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def test_it_runs_outside_the_repository(python, tmp_path):
    file = next(iter(ENGLISH.values()))
    wait_for(run(file, python, tmp_path, SECONDS))
    begun = of_kind(read(tmp_path / file.name), "code")
    assert begun[0].execution_count == 1
    assert begun[0].outputs == []  # the package is there, and the cell that installs it is silent


def test_all_begin_outside_the_repository(python, tmp_path):
    (tmp_path / "begin.py").write_text(BEGIN_EACH, encoding="utf-8")
    files = [str(file.resolve()) for file in ENGLISH.values()]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    own = {"VAEBOOK_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [python, "begin.py", *files]
    said = subprocess.check_output(command, text=True, cwd=tmp_path, env=kept | own)
    assert said.split() == ["begun"] * len(files)


@pytest.mark.parametrize("failing", range(3))
def test_an_error_is_seen(failing, python, tmp_path):
    cells = [new_code_cell("1 + 1") for _ in range(failing)] + [new_code_cell("import sphinx")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "a.ipynb")
    with pytest.raises(CellExecutionError, match="No module named 'sphinx'"):
        wait_for(run(tmp_path / "a.ipynb", python, tmp_path / "folder", 60.0))


@pytest.mark.parametrize("name", ENGLISH)
def test_nothing_of_the_source_is_left(name):
    """No role, no directive, no relative link, and no cell or metadata that only a build needs."""
    for file in {ENGLISH[name], CHINESE.get(name, ENGLISH[name])}:
        notebook = read(file)
        nbformat.validate(notebook)
        for cell in of_kind(notebook, "markdown"):
            prose = re.sub(r"```.*?```|`[^`]+`(?!\w)", "", cell.source, flags=re.DOTALL)
            assert not LEFT_OVER.findall(prose)
            assert cell.source.count("<details>") == cell.source.count("</details>")
        for cell in of_kind(notebook, "code"):
            assert not {"tags", "mystnb", "vaebook"} & set(cell.metadata)
            assert "vaebook.results" not in cell.source


@pytest.mark.parametrize("name", CHINESE)
def test_the_chinese_notebook_has_the_same_code(name):
    """But for the titles of solutions."""
    sources = [
        [cell.source.partition("\n")[2] if cell.source.startswith("#@title") else cell.source
         for cell in of_kind(read(edition[name]), "code")]
        for edition in (ENGLISH, CHINESE)
    ]  # fmt: skip
    assert sources[0] == sources[1]


def test_pictures_lie_where_they_are_said_to():
    """Below the address of the book: those of both editions, and the stills of live figures."""
    places = {
        place
        for file in (*ENGLISH.values(), *CHINESE.values())
        for cell in of_kind(read(file), "code")
        for output in cell.outputs
        for place in re.findall(r"\]\((\S+)\)$", output.get("data", {}).get("text/markdown", ""))
    }
    assert places
    html = SOURCES.parents[1]
    assert [place for place in places if not (html / place.removeprefix(BASE)).is_file()] == []


@pytest.mark.parametrize("is_missing", [False, True])
def test_the_first_cell_installs_what_is_missing(is_missing, monkeypatch):
    called = []
    shell = SimpleNamespace(run_line_magic=lambda *words: called.append(" ".join(words)))
    source = of_kind(read(next(iter(ENGLISH.values()))), "code")[0].source
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if is_missing else name)
    exec(TransformerManager().transform_cell(source), {"get_ipython": lambda: shell})
    install = "pip install --quiet git+https://github.com/vaebook/vaebook"
    assert called == [install] * is_missing
