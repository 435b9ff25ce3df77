"""Whole runs, small ones: they repeat, resume and spread, and are evaluated as they say."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tenfold import commands
from tenfold.answer.config import BookSettings, Config, EncoderSettings, EvalOptions, MethodName, WordSettings
from tenfold.answer.evaluate import evaluate, load_run
from tenfold.answer.markdown import write_markdown
from tenfold.answer.scores import COLUMNS
from tenfold.answer.textbook import Textbook
from tenfold.answer.trainings import Training, trainings_of, workbench
from tenfold.core.config import CrewSettings
from tenfold.core.errors import UsageError
from tenfold.core.legs import State
from tenfold.core.run import Run

from ..killed import KilledError, killed_after, logged
from .small_books import colour_book
from .test_trainings import TINY, alike, forget, mixed_book

METHODS: tuple[MethodName, ...] = ("chance", "tf-idf", "no text", "plain", "full")


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    forget()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("chapters")
    write_markdown(mixed_book(), folder)
    return replace(TINY, methods=METHODS, legs=2, book=BookSettings(train=folder, folds=2))


@pytest.fixture(scope="module")
def straight(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    forget()
    return trained(config, tmp_path_factory.mktemp("straight"))


def trained(config: Config, folder: Path) -> Run:
    return Run.open(commands.train("answer", config, root=folder))


def same(one: Run, other: Run, config: Config) -> None:
    """Metrics, learning curves and every checkpoint are the very same."""
    assert one.status["metrics"] == other.status["metrics"]
    assert logged(one) == logged(other)
    for name in ("best", "last", *(training.file for training in trainings_of(config))):
        assert alike(one.load(name=name), other.load(name=name)), name


def test_a_run_ends_with_every_metric_of_its_rows(straight: Run) -> None:
    found = straight.status["metrics"]
    plain = {*COLUMNS, "low", "high", "spread"}
    expected = {f"{row}/{column}" for row in METHODS for column in plain}
    expected |= {f"{row}/evidence" for row in METHODS if row not in ("chance", "no text")}
    compared = ("no text", "plain", "tf-idf")
    expected |= {f"full - {other}/{column}" for other in compared for column in ("all", "low", "high")}
    assert set(found) == expected
    for name, value in found.items():
        if " - " not in name:
            assert 0 <= value <= 1, name
    for row in (*METHODS, *(f"full - {other}" for other in compared)):
        assert found[f"{row}/low"] <= found[f"{row}/all"] <= found[f"{row}/high"]
    for other in compared:
        gain = found["full/all"] - found[f"{other}/all"]
        assert found[f"full - {other}/all"] == pytest.approx(gain)


def test_metrics_are_counted_from_the_kept_answers(straight: Run, config: Config) -> None:
    """By hand: each lesson is answered by one of the two replicas."""
    best = straight.load(name="best")
    assert best is not None
    book = Textbook.load(config.book.train or "")
    for row in ("plain", "full"):
        answers: dict[str, list[float]] = {}
        for replica in range(2):
            answers |= best["trainings"][f"{row}-{replica}"]["answers"]
        right = [
            answers[each.name].index(max(answers[each.name])) == each.answer
            for _, each in book.pairs()
            if each.kind == "multiple choice"
        ]
        assert straight.status["metrics"][f"{row}/text choice"] == pytest.approx(sum(right) / len(right))
    chance = [1 / len(each.choices) for _, each in book.pairs()]
    assert straight.status["metrics"]["chance/all"] == pytest.approx(sum(chance) / len(chance))


def test_learning_curves_are_logged_row_by_row(straight: Run) -> None:
    lines = [(line["stage"], line["step"]) for line in logged(straight)]
    assert lines == [(row, leg) for row in METHODS for leg in (1, 2)]
    assert all(0 <= line["accuracy"] <= 1 for line in straight.metrics())


def test_pictures_are_written(straight: Run) -> None:
    names = {path.name for path in (straight.path / "samples").iterdir()}
    assert names >= {"accuracy.png", "multiple-choice.png"}
    for name in names:
        with Image.open(straight.path / "samples" / name) as picture:
            assert min(picture.size) > 100


def test_the_same_seed_gives_the_same_run_and_another_does_not(straight: Run, config: Config, tmp_path: Path) -> None:
    config = replace(config, methods=("full",))
    again = trained(config, tmp_path)
    assert alike(again.load(name="full-1"), straight.load(name="full-1"))
    other = trained(replace(config, seed=1), tmp_path / "other")
    assert not alike(other.load(name="full-1"), straight.load(name="full-1"))


@pytest.mark.parametrize(
    "saves",
    [
        9,
        24,
    ],
)
def test_a_killed_run_goes_on_to_the_same_end(
    saves: int, straight: Run, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_after(saves, monkeypatch), pytest.raises(KilledError):
        commands.train("answer", config, root=tmp_path)
    forget()
    (folder,) = (tmp_path / "answer").iterdir()
    commands.resume(folder)
    same(Run.open(folder), straight, config)


@pytest.mark.slow
def test_two_workers_come_to_the_same_end(straight: Run, config: Config, tmp_path: Path) -> None:
    two = trained(replace(config, crew=CrewSettings(workers=2)), tmp_path)
    same(two, straight, config)


def test_a_book_that_is_missing_is_said_at_once(config: Config, tmp_path: Path) -> None:
    for book in (BookSettings(train=tmp_path / "no"), replace(config.book, test=tmp_path / "no")):
        with pytest.raises(UsageError, match="no does not exist"):
            commands.train("answer", replace(config, book=book), root=tmp_path)


def test_a_run_of_rivals_alone_has_metrics_and_no_sheet(config: Config, tmp_path: Path) -> None:
    run = trained(replace(config, methods=("tf-idf", "chance"), replicas=1), tmp_path)
    assert "tf-idf/all" in run.status["metrics"]
    assert [path.name for path in (run.path / "samples").iterdir()] == ["accuracy.png"]


def test_a_book_whose_test_has_no_answers_is_answered_without_metrics(config: Config, tmp_path: Path) -> None:
    write_markdown(colour_book(10, 1).without_answers(), tmp_path / "blank")
    book = replace(config.book, test=tmp_path / "blank")
    run = trained(replace(config, book=book, methods=("full",), replicas=1), tmp_path)
    assert run.status["metrics"] == {}
    best = run.load(name="best")
    assert best is not None
    assert len(best["trainings"]["full-0"]["answers"]) == 4


# evaluation


def test_an_evaluation_finds_the_final_metrics_again(straight: Run) -> None:
    assert evaluate(straight.path, EvalOptions()) == straight.status["metrics"]


def test_an_evaluation_of_some_rows_gives_those_alone(straight: Run) -> None:
    found = evaluate(straight.path, EvalOptions(rows=("full", "tf-idf")))
    kept = {name for name in straight.status["metrics"] if name.split("/")[0] in ("full", "tf-idf", "full - tf-idf")}
    assert set(found) == kept
    assert all(found[name] == straight.status["metrics"][name] for name in kept)
    with pytest.raises(UsageError, match=r"rows has 'fool', but the run has chance, tf-idf"):
        evaluate(straight.path, EvalOptions(rows=("fool",)))


def test_an_evaluation_of_another_book_is_of_all_its_questions(straight: Run, tmp_path: Path) -> None:
    write_markdown(colour_book(10, 2), tmp_path)
    found = evaluate(straight.path, EvalOptions(book=tmp_path, rows=("full", "chance")))
    assert found["chance/all"] == pytest.approx(1 / 3)
    assert 0 <= found["full/all"] <= 1
    assert "full/diagram" not in found


@pytest.mark.parametrize(
    "vectors",
    [
        "hashed",
        "book",
    ],
)
def test_the_held_out_lessons_as_a_book_of_their_own_are_answered_alike(
    config: Config, vectors: Any, tmp_path: Path
) -> None:
    words = WordSettings(vectors=vectors, dim=8)
    config = replace(config, methods=("full",), replicas=1, reader=replace(config.reader, words=words))
    run = trained(config, tmp_path)
    write_markdown(workbench(config, 0).test, tmp_path / "held")
    asked: list[Any] = []

    def recording(_config: Config, answers: Any) -> dict[str, float]:
        asked.append(answers)
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenfold.answer.evaluate.metrics_of", recording)
        evaluate(run.path, EvalOptions(book=tmp_path / "held"))
    best = run.load(name="best")
    assert best is not None
    (rows,) = asked[0].values()
    wanted = list(best["trainings"]["full-0"]["answers"].values())
    for row, expected in zip(rows.values(), wanted, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


def test_a_split_without_a_book_is_refused(straight: Run) -> None:
    with pytest.raises(UsageError, match="split is given, but the run holds lessons of its own book out"):
        evaluate(straight.path, EvalOptions(split="val"))


def test_a_book_that_is_no_book_is_refused(straight: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        evaluate(straight.path, EvalOptions(book=tmp_path / "no"))
    (tmp_path / "a.txt").write_text("no book")
    with pytest.raises(UsageError, match=r"ends in '\.txt'"):
        evaluate(straight.path, EvalOptions(book=tmp_path / "a.txt"))


def test_a_loaded_run_has_a_state_for_each_training(straight: Run, config: Config) -> None:
    found, states = load_run(straight.path)
    assert found == config
    assert list(states) == trainings_of(config)
    assert all({"curve", "answers"} <= set(state) for state in states.values())


# folders that will not do


@pytest.fixture
def copied(straight: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(straight.path, tmp_path / "copy"))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        evaluate(tmp_path, EvalOptions())


def test_a_run_of_another_method_is_refused(copied: Path) -> None:
    text = (copied / "config.json").read_text()
    (copied / "config.json").write_text(text.replace('"verb": "answer"', '"verb": "remember"'))
    with pytest.raises(UsageError, match="is a run of remember, but must be one of answer"):
        evaluate(copied, EvalOptions())


def test_a_run_that_has_learned_nothing_is_refused(copied: Path) -> None:
    shutil.rmtree(copied / "checkpoints" / "best")
    with pytest.raises(UsageError, match="has no trained network yet"):
        evaluate(copied, EvalOptions())


def test_a_damaged_checkpoint_is_named(copied: Path) -> None:
    (weights,) = (copied / "checkpoints" / "best").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UsageError, match="safetensors"):
        evaluate(copied, EvalOptions())


@pytest.mark.parametrize(
    ("before", "after"),
    [('"hidden": 8', '"hidden": 9'), ('"plain"', '"no ssoc"')],
    ids=["other widths", "other methods"],
)
def test_settings_that_do_not_fit_what_was_learned_are_refused(copied: Path, before: str, after: str) -> None:
    text = (copied / "config.json").read_text()
    assert before in text
    (copied / "config.json").write_text(text.replace(before, after))
    with pytest.raises(UsageError):
        evaluate(copied, EvalOptions())


def test_encoders_cannot_be_asked_again(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_encoders = replace(config, methods=("encoder",), encoder=EncoderSettings(path=tmp_path))
    states: dict[Training, State] = {training: {} for training in trainings_of(of_encoders)}
    monkeypatch.setattr("tenfold.answer.evaluate.load_run", lambda folder: (of_encoders, states))
    with pytest.raises(UsageError, match="has the rows encoder alone, whose weights are not kept"):
        evaluate(tmp_path, EvalOptions())
