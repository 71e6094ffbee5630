"""What the README and CONTRIBUTING say to type works."""

import re
from pathlib import Path

import pytest

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
