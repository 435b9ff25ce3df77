"""Reading the texts of a picture: with a stand-in for the network, and with the real one where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tenfold.answer import ocr
from tenfold.answer.ocr import Line, OcrReader, grouped
from tenfold.answer.textbook import Box, Part
from tenfold.core.errors import UsageError
from tenfold.core.figures import caption_font

Found = tuple[str, Box, float]
HAS_OCR = all(importlib.util.find_spec(name) for name in ("rapidocr", "onnxruntime"))


def corners(box: Box) -> list[tuple[float, float]]:
    left, top, right, bottom = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


class Engine:
    """Finds what it was told to, and keeps what it was shown."""

    def __init__(self, lines: list[Found]) -> None:
        self.lines = lines
        self.shown: list[NDArray[np.uint8]] = []

    def __call__(self, image: NDArray[np.uint8], **options: Any) -> SimpleNamespace:
        self.shown.append(image)
        if not self.lines:
            return SimpleNamespace(boxes=None, txts=None, scores=None)
        texts, boxes, scores = zip(*self.lines, strict=True)
        return SimpleNamespace(boxes=np.array([corners(box) for box in boxes]), txts=texts, scores=scores)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine([])
    module = ModuleType("rapidocr")
    module.RapidOCR = lambda params: made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rapidocr", module)
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    return made


def saved(tmp_path: Path, size: tuple[int, int] = (300, 200), colour: str = "white") -> Path:
    path = tmp_path / "layers.png"
    Image.new("RGB", size, colour).save(path)
    return path


def test_lines_become_parts_with_their_boxes(engine: Engine, tmp_path: Path) -> None:
    engine.lines = [("inner  core", (10, 90, 80, 110), 0.9), ("crust", (10, 10, 60, 30), 0.9)]
    path = saved(tmp_path)
    diagram = OcrReader()(path)
    assert diagram.parts == (Part("crust", (10, 10, 60, 30)), Part("inner core", (10, 90, 80, 110)))
    assert (diagram.name, diagram.picture, diagram.links) == ("layers.png", path, None)


def test_a_slanted_line_has_the_box_around_it(engine: Engine, tmp_path: Path) -> None:
    engine.lines = [("crust", (10, 10, 60, 30), 0.9)]
    slanted = SimpleNamespace(boxes=[[(10, 20), (58, 12), (60, 30), (12, 38)]], txts=("crust",), scores=(0.9,))
    reader = OcrReader()
    reader._engine = lambda image, **options: slanted
    assert reader(saved(tmp_path)).parts == (Part("crust", (10, 12, 60, 38)),)


def test_a_picture_without_text_has_no_parts(engine: Engine, tmp_path: Path) -> None:
    assert OcrReader()(saved(tmp_path)).parts == ()
    engine.lines = [(" ", (10, 10, 60, 30), 0.9)]
    assert OcrReader()(saved(tmp_path)).parts == ()


def test_uncertain_lines_are_left_out(engine: Engine, tmp_path: Path) -> None:
    engine.lines = [("crust", (10, 10, 60, 30), 0.7), ("~", (10, 90, 80, 110), 0.3)]
    path = saved(tmp_path)
    assert [part.text for part in OcrReader()(path).parts] == ["crust"]
    assert len(OcrReader(confidence=0.2)(path).parts) == 2
    assert OcrReader(confidence=0.8)(path).parts == ()


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_a_confidence_is_within_0_to_1(engine: Engine, confidence: float) -> None:
    with pytest.raises(UsageError, match="confidence"):
        OcrReader(confidence=confidence)


def test_the_network_is_shown_blue_first(engine: Engine, tmp_path: Path) -> None:
    OcrReader()(saved(tmp_path, colour="#102030"))
    assert engine.shown[0].shape == (200, 300, 3)
    assert engine.shown[0][0, 0].tolist() == [0x30, 0x20, 0x10]


def test_a_large_picture_is_made_smaller_and_its_boxes_larger(engine: Engine, tmp_path: Path) -> None:
    engine.lines = [("crust", (100, 10, 200, 30), 0.9)]
    diagram = OcrReader()(saved(tmp_path, (2 * ocr.LONGEST, 100)))
    assert engine.shown[0].shape == (50, ocr.LONGEST, 3)
    assert diagram.parts[0].box == (200, 20, 400, 60)


def test_a_huge_picture_is_refused_before_it_is_decoded(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "MOST_PIXELS", 1000)
    monkeypatch.setattr(ocr, "open_picture", lambda path: pytest.fail("decoded"))
    with pytest.raises(UsageError, match=r"layers\.png has 60,000 pixels"):
        OcrReader()(saved(tmp_path))


def test_what_is_no_picture_is_named(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.png does not exist"):
        OcrReader()(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UsageError, match=r"text\.png is not a picture"):
        OcrReader()(tmp_path / "text.png")


@pytest.mark.parametrize("missing", ["rapidocr", "onnxruntime"])
def test_the_missing_package_is_named(engine: Engine, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        OcrReader()
    assert caught.value.name == missing


def test_lines_of_one_label_are_put_together() -> None:
    label = [Line("outer", (100, 50, 160, 70), 1.0), Line("edge of", (95, 72, 165, 92), 1.0)]
    label.append(Line("the core", (90, 93, 170, 113), 1.0))
    assert grouped(reversed(label)) == (Part("outer edge of the core", (90, 50, 170, 113)),)


@pytest.mark.parametrize(
    "second",
    [(100, 80, 160, 100), (180, 50, 240, 70), (140, 72, 220, 92), (80, 72, 180, 120), (100, 52, 160, 72)],
    ids=["too far below", "beside", "begins elsewhere", "much higher", "on it"],
)
def test_other_lines_are_labels_of_their_own(second: Box) -> None:
    lines = [Line("crust", (100, 50, 160, 70), 1.0), Line("mantle", second, 1.0)]
    assert [part.text for part in grouped(lines)] == ["crust", "mantle"]


@pytest.mark.skipif(not HAS_OCR, reason="rapidocr and onnxruntime are not installed")
@pytest.mark.filterwarnings("default")  # of other people's packages
def test_the_real_network_reads_labels(tmp_path: Path) -> None:
    picture = Image.new("RGB", (500, 300), "white")
    draw = ImageDraw.Draw(picture)
    wanted = {"continental crust": (60, 40), "mantle": (300, 120), "outer\ncore": (60, 180), "pupa": (330, 240)}
    for text, place in wanted.items():
        draw.text(place, text, fill="black", font=caption_font(22))
    picture.save(tmp_path / "drawn.png")
    found = {part.text: part.box for part in OcrReader()(tmp_path / "drawn.png").parts}
    assert set(found) == {text.replace("\n", " ") for text in wanted}
    for text, (left, top) in wanted.items():
        assert found[text.replace("\n", " ")][:2] == pytest.approx((left, top), abs=10)
