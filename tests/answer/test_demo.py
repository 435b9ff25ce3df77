"""The demo: a run's reader on the embedded book or a person's own chapters, pictures, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tenfold import commands
from tenfold.answer.config import BookSettings, Config, DemoOptions, MethodName, WordSettings
from tenfold.answer.demo import AnswerDemo, load
from tenfold.answer.markdown import write_markdown
from tenfold.answer.trainings import Training, workbench
from tenfold.core.demo import Rows
from tenfold.core.errors import UsageError
from tenfold.core.run import Run

from .small_books import colour_book
from .test_trainings import TINY, forget

ASK = {"ask": "Which colour is the lamp?", "choices": ("red", "blue", "green")}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("learned")
    write_markdown(colour_book(count=4), folder)
    return replace(
        TINY, methods=("tf-idf", "plain", "full"), replicas=1, legs=1, book=BookSettings(train=folder, folds=2)
    )


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    forget()
    return commands.train("answer", config, root=tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def demo(run: Path) -> AnswerDemo:
    return load(run)


@pytest.fixture
def chapters(tmp_path: Path) -> Path:
    write_markdown(colour_book(10, 2), tmp_path / "own")
    return tmp_path / "own"


def told(demo: AnswerDemo, **options: Any) -> dict[str, Any]:
    found = demo(DemoOptions(**options))
    assert set(found) == {output.name for output in demo.outputs}
    return found


def shares(found: dict[str, Any]) -> list[float]:
    assert isinstance(found["choices"], Rows)
    return [float(share) for _, share in found["choices"].rows]


def test_the_embedded_book_is_asked_by_default(demo: AnswerDemo) -> None:
    found = told(demo)
    assert found["answer"] in DemoOptions().choices
    assert [choice for choice, _ in found["choices"].rows] == list(DemoOptions().choices)
    assert sum(shares(found)) == pytest.approx(1, abs=2e-3)
    assert max(zip(shares(found), DemoOptions().choices, strict=True))[1] == found["answer"]
    assert isinstance(found["page"], Image.Image)
    assert "layer" in " ".join(row[2] for row in found["evidence"].rows).lower()


def test_attended_words_are_the_strongest_first(demo: AnswerDemo, chapters: Path) -> None:
    found = told(demo, **ASK, book=chapters)
    weights = [float(weight) for _, weight in found["attended"].rows]
    assert weights == sorted(weights, reverse=True)
    assert 1 <= len(weights) <= 12
    text = " ".join(row[2] for row in found["evidence"].rows).lower()
    assert all(word in text for word, _ in found["attended"].rows)


def test_own_chapters_are_answered_as_the_reader_does(demo: AnswerDemo, chapters: Path) -> None:
    book = colour_book(10, 2)
    for lesson in (None, "c10", "House 11"):
        found = told(demo, **ASK, book=chapters, lesson=lesson)
        expected = demo.reader().answer(ASK["ask"], ASK["choices"], book=book, lesson=lesson)  # type: ignore[arg-type]
        assert shares(found) == pytest.approx(list(expected.probabilities), abs=1e-3)
    single = told(demo, **ASK, book=chapters / "c10.md")
    assert all(row[0].startswith("c10/") for row in single["evidence"].rows)


def test_the_reader_is_that_of_the_run(demo: AnswerDemo, run: Path, config: Config) -> None:
    state = Run.open(run).load(name=Training("full", 0).file)
    assert state is not None
    reader = demo.reader()
    assert all(torch.equal(value, state["solver"][name]) for name, value in reader.solver.state_dict().items())
    rows = reader.probabilities(workbench(config, 0).test)
    for name, row in state["answers"].items():
        assert rows[name].tolist() == pytest.approx(row, abs=1e-5)


def test_vectors_of_the_book_come_with_the_run(config: Config, tmp_path: Path) -> None:
    words = WordSettings("book", dim=8)
    config = replace(config, methods=("full",), reader=replace(config.reader, words=words))
    folder = commands.train("answer", config, root=tmp_path)
    state = Run.open(folder).load(name="full-0")
    assert state is not None
    rows = load(folder).reader().probabilities(workbench(config, 0).test)
    for name, row in state["answers"].items():
        assert rows[name].tolist() == pytest.approx(row, abs=1e-5)


def test_adapting_changes_what_is_answered_and_repeats(demo: AnswerDemo, chapters: Path) -> None:
    plain = told(demo, **ASK, book=chapters)
    adapted = told(demo, **ASK, book=chapters, adapt=3)
    assert shares(adapted) != shares(plain)
    assert shares(told(demo, **ASK, book=chapters, adapt=3)) == shares(adapted)
    assert shares(told(demo, **ASK, book=chapters)) == shares(plain)


def test_adapting_reads_no_answer(demo: AnswerDemo, chapters: Path, tmp_path: Path) -> None:
    write_markdown(colour_book(10, 2).without_answers(), tmp_path / "blank")
    one = told(demo, **ASK, book=chapters, adapt=3)
    assert shares(told(demo, **ASK, book=tmp_path / "blank", adapt=3)) == shares(one)


def test_chapters_without_a_quiz_are_answered_and_adapted_to(demo: AnswerDemo, tmp_path: Path) -> None:
    (tmp_path / "rain.md").write_text("# Rain\n\nRain falls from heavy clouds.\n\nSnow falls in a cold winter.\n")
    asked: dict[str, Any] = {"ask": "What falls?", "choices": ("rain", "stones"), "book": tmp_path}
    plain, adapted = told(demo, **asked), told(demo, **asked, adapt=3)
    assert plain["evidence"].rows == adapted["evidence"].rows
    assert shares(plain) != shares(adapted)


def test_chapters_of_nothing_to_ask_cannot_be_adapted_to(demo: AnswerDemo, tmp_path: Path) -> None:
    (tmp_path / "rain.md").write_text("# Rain\n\nRain falls.\n\nSnow falls too.\n")
    with pytest.raises(UsageError, match="no question has two paragraphs"):
        told(demo, ask="What falls?", choices=("rain", "stones"), book=tmp_path, adapt=1)


# pictures


def picture(folder: Path, labels: list[str] | None) -> Path:
    Image.new("RGB", (300, 200), "white").save(folder / "drawn.png")
    if labels is not None:
        parts = [{"text": text, "rectangle": [[20, 40 * k], [80, 40 * k + 20]]} for k, text in enumerate(labels)]
        (folder / "drawn.json").write_text(json.dumps(parts))
    return folder / "drawn.png"


def test_a_picture_is_read_with_the_labels_beside_it(demo: AnswerDemo, chapters: Path, tmp_path: Path) -> None:
    asked = {"ask": "How many objects are there?", "choices": ("three", "nine"), "book": chapters}
    without = told(demo, **asked)
    found = told(demo, **asked, diagram=picture(tmp_path, ["red lamp", "blue boat", "old door"]))
    assert "three" in [word for word, _ in found["attended"].rows]
    assert shares(found) != shares(without)
    assert found["page"].height > without["page"].height + 150


def test_a_picture_alone_is_shown(
    demo: AnswerDemo, chapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenfold.answer.demo._reads_pictures", lambda: None)
    found = told(demo, **ASK, book=chapters, diagram=picture(tmp_path, None))
    assert shares(found) == shares(told(demo, **ASK, book=chapters))
    assert found["page"].height > told(demo, **ASK, book=chapters)["page"].height


def test_pictures_that_will_not_do(demo: AnswerDemo, chapters: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"diagram is .*gone\.png, but there is no such file"):
        told(demo, **ASK, book=chapters, diagram=tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UsageError, match=r"text\.png"):
        told(demo, **ASK, book=chapters, diagram=tmp_path / "text.png")
    drawn = picture(tmp_path, ["lamp"])
    (tmp_path / "drawn.json").write_text("{")
    with pytest.raises(UsageError, match=r"drawn\.json"):
        told(demo, **ASK, book=chapters, diagram=drawn)


# what will not do


def test_books_and_lessons_that_are_not_there(demo: AnswerDemo, chapters: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        told(demo, book=tmp_path / "gone")
    with pytest.raises(UsageError, match="there is no lesson 'c77' in own, which has c10, c11"):
        told(demo, **ASK, book=chapters, lesson="c77")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match="bare holds nothing, but must be a TQA file"):
        told(demo, book=tmp_path / "bare")


def test_an_empty_choice_is_refused(demo: AnswerDemo, chapters: Path) -> None:
    with pytest.raises(UsageError, match="must be 1 to 12 texts"):
        told(demo, ask="Which?", choices=("red", ""), book=chapters)


@pytest.mark.parametrize(
    ("methods", "chosen"),
    [(("plain", "no graph"), "no graph"), (("no ssoc", "plain"), "no ssoc"), (("full open", "full"), "full")],
)
def test_the_best_method_of_a_run_answers(
    config: Config, methods: tuple[MethodName, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {Training(method, 0): {"solver": {"is": method}, "vectors": None} for method in methods}
    opened = replace(config, methods=methods), states
    monkeypatch.setattr("tenfold.answer.demo.load_run", lambda _: opened)
    found = load(Path("run"))
    assert found._method == chosen
    assert found._state["solver"] == {"is": chosen}


def test_a_run_without_a_network_has_no_demo(config: Config, tmp_path: Path) -> None:
    folder = commands.train("answer", replace(config, methods=("tf-idf", "chance")), root=tmp_path)
    with pytest.raises(UsageError, match="has tf-idf, chance, but a demo needs one of plain, no ssoc"):
        load(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        load(tmp_path)
