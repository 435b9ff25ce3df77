"""Single trainings: who answers which lessons, what a method learns from, and that legs are pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tenfold.answer import trainings
from tenfold.answer.config import (
    METHODS,
    SOLVERS,
    BookSettings,
    Config,
    FitSettings,
    MethodName,
    NetSettings,
    ReaderSettings,
    SsocSettings,
    WordSettings,
)
from tenfold.answer.markdown import write_markdown
from tenfold.answer.textbook import Lesson, Paragraph, Textbook
from tenfold.answer.trainings import (
    Training,
    Workbench,
    answers_of,
    books_of,
    evidence_of,
    leg,
    reader_settings,
    trainings_of,
    without_text,
    workbench,
)
from tenfold.core.config import CrewSettings
from tenfold.core.errors import UsageError
from tenfold.core.legs import State

from .small_books import colour_book, diagram_book

TINY = Config(
    methods=METHODS,
    book=BookSettings(folds=2),
    reader=ReaderSettings(
        net=NetSettings(hidden=8, characters=6),
        words=WordSettings(dim=8),
        ssoc=SsocSettings(epochs=3, paragraphs=3),
        fit=FitSettings(epochs=2, batch_size=8, learning_rate=1e-2),
    ),
    replicas=2,
    legs=3,
    resamples=100,
    crew=CrewSettings(workers=1),
)


def mixed_book() -> Textbook:
    """Four lessons with questions of all three kinds."""
    return colour_book(count=2).and_also([diagram_book(), colour_book(2, 1, "more")])


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    forget()


def forget() -> None:
    """As in a new process: no book, parse or word is known yet."""
    for kept in (trainings.workbench, trainings._workbench, trainings._opened):
        kept.cache_clear()


@pytest.fixture(scope="module")
def chapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chapters")
    write_markdown(mixed_book(), folder)
    return folder


@pytest.fixture(scope="module")
def config(chapters: Path) -> Config:
    return replace(TINY, book=replace(TINY.book, train=chapters))


def test_with(config: Config, book: Textbook, folder: Path) -> Config:
    """The same config, which answers another book."""
    write_markdown(book, folder)
    return replace(config, book=replace(config.book, test=folder))


test_with.__test__ = False  # type: ignore[attr-defined]


def alike(one: object, other: object) -> bool:
    """Whether two states are the very same."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        if not isinstance(other, list | tuple) or len(one) != len(other):
            return False
        return all(alike(*pair) for pair in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


def states_of(config: Config, training: Training) -> Iterator[State]:
    """The state after each leg."""
    state: State | None = None
    for _ in range(config.legs):
        state = leg(config, training, state)
        yield state


def ended(config: Config, method: MethodName, replica: int = 0) -> State:
    return reduce(lambda _, state: state, states_of(config, Training(method, replica)))


def turned(book: Textbook) -> Textbook:
    """The same book with other answers."""
    return book._with_questions(
        lambda each: replace(each, answer=((each.answer or 0) + 1) % len(each.choices), evidence=())
    )


# lessons


def test_folds_answer_each_lesson_once_and_learn_from_the_others(chapters: Path) -> None:
    book = Textbook.load(chapters)
    for folds in (2, 3, 4):
        answered: list[str] = []
        for replica in range(folds):
            train, test = books_of(BookSettings(train=chapters, folds=folds), replica)
            names = [each.name for each in test.lessons]
            assert sorted(names + [each.name for each in train.lessons]) == sorted(each.name for each in book.lessons)
            answered += names
        assert sorted(answered) == sorted(each.name for each in book.lessons)
        again = books_of(BookSettings(train=chapters, folds=folds), folds)
        assert again == books_of(BookSettings(train=chapters, folds=folds), 0)


@pytest.mark.parametrize(("share", "count"), [(0.25, 1), (0.5, 2), (0.01, 1)])
def test_a_holdout_is_the_same_lessons_in_every_replica(chapters: Path, share: float, count: int) -> None:
    settings = BookSettings(train=chapters, test=chapters / "nothing", holdout=share)
    train, test = books_of(settings, 0)
    assert len(test.lessons) == count
    assert len(train.lessons) == 4 - count
    assert not {each.name for each in train.lessons} & {each.name for each in test.lessons}
    assert books_of(settings, 3) == (train, test)


def test_another_book_is_answered_whole(chapters: Path, tmp_path: Path) -> None:
    write_markdown(colour_book(10, 2), tmp_path)
    train, test = books_of(BookSettings(train=chapters, test=tmp_path), 1)
    assert len(train.lessons) == 4
    assert [each.name for each in test.lessons] == ["c10", "c11"]


def test_the_embedded_book_is_what_a_run_takes_by_default() -> None:
    train, test = books_of(BookSettings(), 1)
    assert len(train.lessons) + len(test.lessons) == len(Textbook.embedded().lessons)
    assert [each.name for each in test.lessons] == [each.name for each in Textbook.embedded().lessons][1::4]


def test_too_few_lessons_are_refused(tmp_path: Path) -> None:
    write_markdown(colour_book(count=1), tmp_path)
    with pytest.raises(UsageError, match=r"1 lessons, but must have book\.folds = 4 at least"):
        books_of(BookSettings(train=tmp_path), 0)


def test_a_book_of_one_lesson_has_none_to_hold_out(tmp_path: Path) -> None:
    write_markdown(colour_book(count=1), tmp_path)
    with pytest.raises(UsageError, match="lesson"):
        books_of(BookSettings(train=tmp_path, holdout=0.5), 0)


def test_trainings_go_method_by_method_and_have_plain_file_names() -> None:
    found = trainings_of(replace(TINY, methods=("tf-idf", "full open")))
    assert [(each.row, each.replica, each.file) for each in found] == [
        ("tf-idf", 0, "tf-idf-0"),
        ("tf-idf", 1, "tf-idf-1"),
        ("full open", 0, "full-open-0"),
        ("full open", 1, "full-open-1"),
    ]
    every = trainings_of(TINY)
    assert len({each.file for each in every}) == len(every) == 16


# what a method is


@pytest.mark.parametrize(
    ("method", "stages", "graph", "reads"),
    [
        ("no text", ["answers"], False, False),
        ("plain", ["answers"], False, True),
        ("no ssoc", ["answers"], True, True),
        ("no graph", ["comprehension", "answers"], False, True),
        ("full", ["comprehension", "answers"], True, True),
        ("full open", ["comprehension", "answers"], True, True),
    ],
)
def test_methods_differ_in_what_their_name_says(
    config: Config, method: MethodName, stages: list[str], graph: bool, reads: bool
) -> None:
    bench = workbench(config, 0)
    found = bench.stages(method)
    assert [stage.name for stage in found] == stages
    settings = reader_settings(config, method)
    assert settings.net.graph == (config.reader.net.graph if graph else "none")
    assert replace(settings, net=replace(settings.net, graph=config.reader.net.graph)) == config.reader
    nodes = [len(pair.context.nodes.rows) for example in bench.questions(method) for pair in example.pairs]
    assert any(nodes) is reads
    assert (found[-1].epochs, found[-1].rate) == (2, 1e-2)
    if stages[0] == "comprehension":
        known = {question.name for _, question in bench.train.pairs()}
        asked = {question.name for _, question in bench.test.pairs()}
        names = {group[0].name for group in found[0].groups}
        assert names == (known | asked if method == "full open" else known)
    assert {group[0].name for group in found[-1].groups} == {question.name for _, question in bench.train.pairs()}


def test_without_text_the_questions_alone_are_left() -> None:
    found = without_text(mixed_book())
    assert [question.text for _, question in found.pairs()] == [question.text for _, question in mixed_book().pairs()]
    assert not any(lesson.paragraphs or lesson.diagrams for lesson in found.lessons)
    assert not any(question.diagram for _, question in found.pairs())


def test_no_method_is_given_an_answer_of_what_it_is_asked(config: Config) -> None:
    bench = workbench(config, 0)
    assert all(example.answer == -1 for method in SOLVERS for example in bench.questions(method))
    assert all(example.answer >= 0 for example in bench.learned)


def test_learning_needs_an_answer_and_comprehension_two_paragraphs(config: Config, tmp_path: Path) -> None:
    write_markdown(colour_book(count=2).without_answers(), tmp_path / "blank")
    blank = Workbench(replace(config, book=BookSettings(train=tmp_path / "blank", folds=2)), 0)
    with pytest.raises(UsageError, match="no question has a known answer"):
        blank.stages("plain")
    lessons = tuple(replace(each, paragraphs=each.paragraphs[:1]) for each in colour_book(count=2).lessons)
    single = Textbook("single", lessons)._with_questions(lambda each: replace(each, evidence=()))
    write_markdown(single, tmp_path / "single")
    bench = Workbench(replace(config, book=BookSettings(train=tmp_path / "single", folds=2)), 0)
    with pytest.raises(UsageError, match="two paragraphs to choose from, which full needs"):
        bench.stages("full")
    assert bench.stages("no ssoc")


# answers are not read


def test_full_open_reads_the_lessons_it_answers_but_not_their_answers(config: Config, tmp_path: Path) -> None:
    book = colour_book(10, 2)
    one = test_with(config, book, tmp_path / "one")
    other = test_with(config, turned(book), tmp_path / "other")
    blank = test_with(config, book.without_answers(), tmp_path / "blank")
    first = ended(one, "full open")
    for each in (other, blank):
        second = ended(each, "full open")
        assert alike(first["solver"], second["solver"])
        assert alike(first["answers"], second["answers"])
    assert first["curve"] != ended(other, "full open")["curve"]
    assert not alike(first["solver"], ended(one, "full")["solver"])


@pytest.mark.parametrize("method", ["full", "no text"])
def test_others_learn_alike_whatever_they_will_be_asked(config: Config, method: MethodName, tmp_path: Path) -> None:
    one = ended(test_with(config, colour_book(10, 2), tmp_path / "one"), method)
    other = ended(test_with(config, colour_book(20, 3), tmp_path / "other"), method)
    assert alike(one["solver"], other["solver"])


# legs


@pytest.mark.parametrize("method", ["tf-idf", "no text", "full open"])
def test_a_training_stopped_after_any_leg_goes_on_to_the_same_states(config: Config, method: MethodName) -> None:
    training = Training(method, 1)
    straight = list(states_of(config, training))
    for stop in range(1, config.legs):
        forget()
        state = straight[stop - 1]
        before = repr(state)
        for expected in straight[stop:]:
            state = leg(config, training, state)
            assert alike(state, expected)
        assert repr(straight[stop - 1]) == before


@pytest.mark.parametrize("legs", [1, 2, 7])
def test_into_how_many_legs_a_training_is_cut_does_not_matter(config: Config, legs: int) -> None:
    """Of 5 epochs a leg may end within a stage, at its end, or hold none."""
    whole, cut = ended(config, "full"), ended(replace(config, legs=legs), "full")
    assert alike(whole["solver"], cut["solver"])
    assert alike(whole["answers"], cut["answers"])
    assert len(cut["curve"]) == legs
    assert cut["curve"][-1][1] == whole["curve"][-1][1]


@pytest.mark.parametrize("others", [("no text",), ("tf-idf", "full open")])
def test_a_training_is_the_same_whatever_the_process_did_before(config: Config, others: tuple[MethodName, ...]) -> None:
    """Workers share a workbench between methods, and no one knows which comes first."""
    alone = ended(config, "full")
    forget()
    for other in others:
        ended(config, other)
    assert alike(ended(config, "full"), alone)


def test_replicas_and_seeds_differ_and_repeat(chapters: Path, config: Config, tmp_path: Path) -> None:
    config = test_with(config, colour_book(10, 2), tmp_path)
    first = ended(config, "full", 0)["solver"]
    assert alike(first, ended(config, "full", 0)["solver"])
    assert not alike(first, ended(config, "full", 1)["solver"])
    assert not alike(first, ended(replace(config, seed=1), "full")["solver"])


def test_learning_changes_the_weights_in_every_leg(config: Config) -> None:
    states = list(states_of(config, Training("full", 0)))
    assert not any(alike(one["solver"], other["solver"]) for one, other in pairwise(states))
    assert [state["leg"] for state in states] == [1, 2, 3]
    assert [point[0] for point in states[-1]["curve"]] == [1, 2, 3]


# what comes of it


@pytest.mark.parametrize("method", METHODS)
def test_answers_are_probabilities_that_the_kept_weights_give_again(config: Config, method: MethodName) -> None:
    state = ended(config, method, 1)
    forget()
    bench = workbench(config, 1)
    again = answers_of(config, Training(method, 1), bench, {name: state.get(name) for name in ("solver",)})
    assert again == state["answers"]
    for _, question in bench.test.pairs():
        row = again[question.name]
        assert len(row) == len(question.choices)
        assert sum(row) == pytest.approx(1, abs=1e-5)
    if method == "chance":
        assert {len(set(row)) for row in again.values()} == {1}


def test_the_accuracy_of_a_leg_counts_the_right_answers(config: Config) -> None:
    state = ended(config, "plain", 0)
    pairs = list(workbench(config, 0).test.pairs())
    right = [state["answers"][each.name].index(max(state["answers"][each.name])) == each.answer for _, each in pairs]
    assert state["curve"][-1][1] == pytest.approx(sum(right) / len(right))


def test_evidence_is_found_where_the_chosen_candidate_is_judged_by_it(config: Config) -> None:
    bench = workbench(config, 0)
    named = [question for _, question in bench.test.pairs() if question.evidence]
    assert named
    for right in (True, False):
        answers = {}
        wanted = {}
        for question in named:
            example = next(each for each in bench.asked if each.name == question.name)
            nearest = [pair.found[0].paragraph.name in question.evidence for pair in example.pairs]
            place = nearest.index(right) if right in nearest else 0
            answers[question.name] = [float(k == place) for k in range(len(nearest))]
            wanted[question.name] = float(nearest[place])
        assert evidence_of(bench, answers) == wanted


def test_a_book_without_a_question_to_answer_has_accuracy_0(config: Config, tmp_path: Path) -> None:
    empty = Textbook("empty", (Lesson("e", "Empty", (Paragraph("e/1", "Nothing is asked here."),)),))
    state = ended(test_with(config, empty, tmp_path), "full")
    assert state["curve"][-1][1] == 0
    assert state["answers"] == {}
