"""Who may know whom, and what importing may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tenfold.catalog import METHODS

from .command import ROOT, environment

PACKAGE = ROOT / "tenfold"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LINES = 420
DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common"}
LIBRARY = ("core", "nets")
"""what methods call, and what never calls a method"""
VERBS = {"distill", "resize", "segment", "generate", "translate", "evolve", "govern", "design", "answer", "remember"}
"""of all ten methods, so that the library does not grow to know one before it is there"""


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def imports(file: Path) -> Iterator[str]:
    """The absolute names of the modules, and of what is taken from them, that a file imports, wherever in it."""
    package = list(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def rooms(file: Path) -> set[str]:
    """The parts of tenfold that a file imports: core, nets, resize, catalog, ..."""
    return {name.split(".")[1] for name in imports(file) if name.startswith("tenfold.")}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0]


def test_the_rooms_are_those_of_the_catalog() -> None:
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert folders == {*LIBRARY, *(method.verb for method in METHODS)}


@pytest.mark.parametrize("file", [file for file in MODULES if room_of(file) == "core"], ids=name_of)
def test_core_knows_nothing_but_itself(file: Path) -> None:
    assert rooms(file) <= {"core"}


@pytest.mark.parametrize("file", [file for file in MODULES if room_of(file) == "nets"], ids=name_of)
def test_nets_know_only_core(file: Path) -> None:
    assert rooms(file) <= {"core", "nets"}


@pytest.mark.parametrize("file", [file for file in MODULES if room_of(file) in LIBRARY], ids=name_of)
def test_the_library_names_no_method(file: Path) -> None:
    texts = {
        node.value
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = {text for text in texts if any(text == verb or f"tenfold.{verb}" in text for verb in VERBS)}
    assert not named


@pytest.mark.parametrize("file", [file for file in MODULES if room_of(file) in VERBS], ids=name_of)
def test_methods_know_the_library_and_themselves(file: Path) -> None:
    assert rooms(file) <= {*LIBRARY, room_of(file)}


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_files_are_short(file: Path) -> None:
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES


@pytest.mark.parametrize("file", [*MODULES, *TESTS], ids=name_of)
def test_no_file_is_a_drawer(file: Path) -> None:
    assert not DRAWERS & set(file.with_suffix("").relative_to(ROOT).parts)


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_what_is_public_is_explained(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    public = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert ast.get_docstring(tree), "the module"
    names = [node.name for node in public if not ast.get_docstring(node)]
    assert not names


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_nothing_is_unpickled(file: Path) -> None:
    names = set(imports(file))
    assert not {name for name in names if name.split(".")[0] in ("pickle", "dill", "joblib", "shelve", "marshal")}
    loads = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert "torch.load" not in loads


@pytest.mark.parametrize(
    "module",
    [
        "tenfold",
        "tenfold.catalog",
        "tenfold.commands",
        "tenfold.__main__",
        "tenfold.core.config",
        "tenfold.core.run",
        "tenfold.core.report",
        "tenfold.core.demo",
        *(f"tenfold.{method.verb}" for method in METHODS),
        *(f"tenfold.{method.verb}.config" for method in METHODS),
    ],
)
def test_importing_is_cheap(module: str, tmp_path: Path) -> None:
    script = f"""
import sys
import {module}
heavy = {{"torch", "torchvision", "lightning_fabric", "matplotlib", "PIL", "rich", "tyro", "sklearn"}}
print(*sorted(heavy & set(sys.modules)), end="")
"""
    command = [sys.executable, "-W", "error", "-c", script]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", [method.verb for method in METHODS])
def test_lazy_names_are_all_there(verb: str) -> None:
    package = import_module(f"tenfold.{verb}")
    assert sorted(package.__all__) == dir(package)
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
