"""What the README and CONTRIBUTING say to type works."""

import re
import tomllib
from pathlib import Path

import nbformat
import pytest

from tools import mutants

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md")


def test_the_example_trains_a_model(capsys):
    """The README's example runs as printed; its model is as good as two epochs make it."""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    (nats,) = re.findall(r"log p\(x\): (-[\d.]+) nats", capsys.readouterr().out)
    assert -130 < float(nats) < -110
    assert names["new_digits"].shape == (16, 784)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_targets_exist(document):
    """Every make target that a document names is in the Makefile."""
    named = set(re.findall(r"`make ([a-z]+)", (ROOT / document).read_text()))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_exist(document):
    """Every file of the project that a document names is there."""
    pattern = r"(?<![\w/.])((?:book|vaebook|tests|tools|latent_variables)/[\w/.*-]*[\w/*])"
    for name in re.findall(pattern, (ROOT / document).read_text()):
        if name == "vaebook/vaebook":  # the repository
            continue
        name = f"book/{name}.ipynb" if name.startswith("latent_variables/") else name
        name = name.replace("vae_training.md", "vae_training.ipynb")  # its text form, for a while
        assert list(ROOT.glob(name.rstrip("/"))), f"{document} names {name}"


def test_the_example_of_an_equation_is_one_of_the_book():
    """The statement, its test and its deliberate error stand in CONTRIBUTING as in the project."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    label = "eq-naive-unbiased"
    (statement,) = re.findall(rf"```markdown\n(.*\({label}\))\n```", text, re.DOTALL)
    chapter = nbformat.read(ROOT / "book/latent_variables/vae_objective.ipynb", as_version=4)
    assert any(statement in cell.source for cell in chapter.cells)
    (test,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert test in (ROOT / "tests/equations/test_vae_objective.py").read_text()
    (error,) = tomllib.loads(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])["mutant"]
    listed = {mutant.error: mutant for mutant in mutants.read(ROOT)}[error["error"]]
    assert (listed.file, listed.old, listed.new) == (error["file"], error["old"], error["new"])
    assert label in set(error["equations"]) & set(listed.equations)
