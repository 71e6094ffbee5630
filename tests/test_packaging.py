"""pyproject.toml, constraints.txt, environment.yml and what is installed agree."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import vaebook
from tools.downloads import build_wheel, reachable

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    Requirement(line)
    for group in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for line in group
]
LOCKED = {
    canonicalize_name(name): Version(version)
    for name, version in (
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_each_range_contains_the_locked_version(requirement):
    """A range of pyproject.toml has both ends, and the version of constraints.txt lies in it."""
    operators = {part.operator for part in requirement.specifier}
    assert operators == {">=", "<"}, f"{requirement} needs a lower and an upper end"
    name = canonicalize_name(requirement.name)
    assert name in LOCKED, f"{name} is missing in constraints.txt"
    assert LOCKED[name] in requirement.specifier


def test_locked_versions_are_public():
    """No version is a local build such as 2.13.0+cpu, which other machines could not find."""
    assert [name for name, version in LOCKED.items() if version.local] == []


def test_everything_installed_is_locked():
    """Each package that the book pulls in has its tested version in constraints.txt, and has it."""
    needed = set(reachable("vaebook", ("book", "test"))) - {"vaebook"}
    # PyTorch's CUDA libraries come only with its GPU build for Linux.
    needed = {name for name in needed if not re.match(r"nvidia-|cuda-|triton$", name)}
    assert needed - set(LOCKED) == set(), "add them to constraints.txt"
    installed = {name: Version(importlib.metadata.version(name)) for name in needed}
    different = {
        name: f"installed {version}, locked {LOCKED[name]}"
        for name, version in installed.items()
        if version.public != LOCKED[name].public
    }
    assert different == {}


def test_nothing_locked_is_unused():
    """constraints.txt has no package that neither the book nor its tests need."""
    needed = set(reachable("vaebook", ("book", "test")))
    assert set(LOCKED) - needed == set(), "remove them from constraints.txt"


def test_conda_installs_the_same():
    """environment.yml takes Python from conda and all else from pyproject and constraints."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, from_pip = environment["dependencies"]
    assert pip == "pip"
    assert from_pip == {"pip": ["-c constraints.txt", "-e .[book,test]"]}
    assert Requirement(python.replace("=", "==")).specifier.contains("3.11")
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_version_stands_in_one_place():
    """The package, its metadata, the citation and the changelog name one version."""
    assert importlib.metadata.version("vaebook") == vaebook.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == vaebook.__version__
    assert f"## {vaebook.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_one_repository_address():
    """The address stands in pyproject.toml; the book's settings and the README follow it."""
    address = PROJECT["urls"]["Repository"]
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert settings["repository"]["url"] == address
    named = set(re.findall(r"github\.com/([\w-]+/[\w-]+)", (ROOT / "README.md").read_text()))
    assert named <= {address.removeprefix("https://github.com/")}


def test_the_wheel_holds_the_package_and_its_data(tmp_path):
    """An installed package has models, data and figures, and nothing that only a build needs."""
    with zipfile.ZipFile(build_wheel(tmp_path)) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        code = {name: archive.read(name).decode() for name in names if name.endswith(".py")}
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "vaebook").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == on_disk
    assert {Path(name).parent.as_posix() for name in names} == {
        "vaebook",
        "vaebook/datasets/mnist",
        "vaebook/datasets/old_faithful",
        "vaebook/interactive",
        "vaebook/interactive/vendor",
    }
    assert sum(name.endswith(".xz") for name in names) == 4
    assert any(name.endswith(".js") for name in names)
    only_for_pages = re.compile(r"^\s*(import|from) (sphinx|docutils|tools)\b", re.M)
    assert [name for name, text in code.items() if only_for_pages.search(text)] == []


def test_importing_the_package_does_nothing_else():
    """``import vaebook`` loads no library, so that a script starts at once."""
    code = "import sys, vaebook; print({'torch', 'numpy', 'matplotlib'} & set(sys.modules))"
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.strip() == "set()"
