"""Public names are imported when first used, from wherever they live."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

FILES = {
    "lazy_house/__init__.py": "",
    "lazy_house/room/__init__.py": """
from tenfold.core.lazily import lazy_names

__getattr__, __dir__ = lazy_names(__name__, {"own": "shelf", "dotted": ".shelf", "borrowed": "..cellar.box"})
""",
    "lazy_house/room/shelf.py": "own, dotted = 1, 2",
    "lazy_house/cellar/__init__.py": "",
    "lazy_house/cellar/box.py": "borrowed = 3",
}


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield "lazy_house.room"
    for name in [name for name in sys.modules if name.split(".")[0] == "lazy_house"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "value", "home"),
    [("own", 1, "room.shelf"), ("dotted", 2, "room.shelf"), ("borrowed", 3, "cellar.box")],
)
def test_a_module_is_imported_when_its_name_is_used(name: str, value: int, home: str, room: str) -> None:
    package = import_module(room)
    assert dir(package) == ["borrowed", "dotted", "own"]
    loaded = {"lazy_house.room.shelf", "lazy_house.cellar.box"}
    assert not loaded & set(sys.modules)
    assert getattr(package, name) == value
    assert loaded & set(sys.modules) == {f"lazy_house.{home}"}


def test_an_unknown_name_is_refused(room: str) -> None:
    with pytest.raises(AttributeError, match=r"^module 'lazy_house\.room' has no attribute 'box'$"):
        _ = import_module(room).box
