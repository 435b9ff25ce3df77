"""The pictures of the embedded book: drawn from their descriptions, up to date, small, and with nothing on anything else."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "draw_textbook_diagrams.py"
    spec = importlib.util.spec_from_file_location("draw_textbook_diagrams", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def call(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["draw_textbook_diagrams.py", *arguments])
        return cast(int, script.main())

    return call


def layout(**changes: Any) -> str:
    parts = [
        {"text": "crust", "rectangle": [[10, 10], [110, 40]]},
        {"text": "mantle", "rectangle": [[10, 90], [110, 120]]},
    ]
    return json.dumps({"size": [120, 130], "parts": parts, "links": [[0, 1]]} | changes)


def test_the_script_draws_what_is_out_of_date(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "layers.json").write_text(layout())
    assert run("--folder", str(tmp_path), "--check") == 1
    assert "layers.json: its picture is missing" in capsys.readouterr().err
    assert not (tmp_path / "layers.png").exists()
    assert run("--folder", str(tmp_path)) == 0
    assert run("--folder", str(tmp_path), "--check") == 0
    with Image.open(tmp_path / "layers.png") as picture:
        assert (picture.mode, picture.size) == ("P", (120, 130))
        assert cast(int, picture.convert("L").getpixel((60, 65))) < 80  # the link, in the middle
    (tmp_path / "layers.json").write_text(layout(links=[]))
    assert run("--folder", str(tmp_path), "--check") == 1


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([["crust", [[0, 10], [130, 40]]]], "outside"),
        ([["crust", [[40, 10], [10, 40]]]], "inside out"),
        ([["a very long text indeed", [[0, 10], [30, 20]]]], "does not fit"),
        ([["crust", [[0, 0], [80, 30]]], ["core", [[60, 20], [110, 60]]]], "overlap"),
    ],
)
def test_the_script_names_bad_layouts(script: ModuleType, parts: list[Any], message: str) -> None:
    described = [{"text": text, "rectangle": rectangle} for text, rectangle in parts]
    assert message in " ".join(script.problems(json.loads(layout(parts=described, links=[]))))
    assert script.problems(json.loads(layout())) == []
    assert script.problems(json.loads(layout(links=[[0, 2]]))) == ["link (0, 2) is not of two parts"]


def test_the_embedded_books_pictures_are_up_to_date(run: Callable[..., int], script: ModuleType) -> None:
    assert run("--check") == 0
    sizes = [picture.stat().st_size for picture in script.FOLDER.glob("*.png")]
    assert sizes
    assert max(sizes) <= script.MOST_BYTES
