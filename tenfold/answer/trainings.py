"""The trainings of a run: who answers which lessons, and one leg of a training as a pure function of the state before it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import torch
from torch import Tensor

from ..core.batches import derive_seed
from ..core.config import ComputeConfig
from ..core.device import make_fabric
from ..core.errors import UsageError
from ..core.legs import State, on_cpu, one_thread
from .books import remarks_on
from .config import SOLVERS, BookSettings, Config, MethodName, ReaderSettings
from .examples import Encoder, Example
from .fitting import Stage, answer_all, answer_stage, learn, make_optimizer
from .parsing import ParseCache, load_parser
from .reader import load_weights, make_solver
from .rivals import chance, fine_tuned, frozen, nearest
from .scores import score
from .solver import Solver
from .textbook import Textbook
from .vectors import StaticVectors, WordVectors, kept_vectors, vectors_for
from .word_bank import WordBank

WITH_GRAPH: tuple[MethodName, ...] = ("no ssoc", "full", "full open")
WITH_SSOC: tuple[MethodName, ...] = ("no graph", "full", "full open")


@dataclass(frozen=True)
class Training:
    """A method, with the seed and the lessons of one replica; the same replica of two methods answers the same questions."""

    method: MethodName
    replica: int

    @property
    def row(self) -> str:
        """What the replicas together are called in tables."""
        return self.method

    @property
    def file(self) -> str:
        """A name that a file may have."""
        return f"{self.method}-{self.replica}".replace(" ", "-")


def trainings_of(config: Config) -> list[Training]:
    """All trainings of a run, in the order in which they are done."""
    return [Training(method, replica) for method in config.methods for replica in range(config.replicas)]


def books_of(settings: BookSettings, replica: int) -> tuple[Textbook, Textbook]:
    """What is learned from, and what is answered: another book, or lessons of the same one that are not learned from.

    Raises:
        UsageError: a book cannot be read, or has too few lessons to hold some out.
    """
    book = _opened(settings.train, settings.train_split)
    if settings.holdout > 0:
        return _parted(book, _held_out(book, settings.holdout))
    if settings.test is not None:
        return book, _opened(settings.test, settings.test_split)
    if len(book.lessons) < settings.folds:
        raise UsageError(
            f"{book.name} has {len(book.lessons)} lessons, but must have book.folds = {settings.folds} at least, or book.test be given"
        )
    held = {
        lesson.name for number, lesson in enumerate(book.lessons) if number % settings.folds == replica % settings.folds
    }
    return _parted(book, held)


def remarks(settings: BookSettings) -> list[str]:
    """What somebody should know of the books: what could not be taken from them, and whether a split of TQA is whole."""
    found = remarks_on(_opened(settings.train, settings.train_split), settings.train_split)
    if settings.test is not None:
        found += remarks_on(_opened(settings.test, settings.test_split), settings.test_split)
    return list(dict.fromkeys(found))


def reader_settings(config: Config, method: MethodName) -> ReaderSettings:
    """The run's settings of the method, or what is left of them where a part is taken away."""
    if method in WITH_GRAPH:
        return config.reader
    return replace(config.reader, net=replace(config.reader.net, graph="none"))


class Workbench:
    """What the trainings of one replica share: books, and their questions as numbers.

    Args:
        config: of the run.
        replica: which lessons are answered.
        vectors: None makes them.
    """

    def __init__(self, config: Config, replica: int, vectors: WordVectors | None = None) -> None:
        self.config = config
        self.train, self.test = books_of(config.book, replica)
        context = config.reader.context
        self.vectors = vectors or vectors_for(config.reader.words, [self.train])
        parser = ParseCache(load_parser(context.parser), context.cache)
        self.encoder = Encoder(WordBank(self.vectors), parser, context)

    @cached_property
    def learned(self) -> list[Example]:
        """The questions that are learned from."""
        return self.encoder.questions(self.train)

    @cached_property
    def asked(self) -> list[Example]:
        """The questions that are answered; without their answers, so that no method can read them."""
        return self.encoder.questions(self.test.without_answers())

    @cached_property
    def blind(self) -> tuple[list[Example], list[Example]]:
        """Both without any text or diagram to read."""
        return self.encoder.questions(without_text(self.train)), self.encoder.questions(
            without_text(self.test.without_answers())
        )

    @cached_property
    def own_paragraphs(self) -> list[list[Example]]:
        """For the self-supervised stage, of the book that is learned from."""
        return self.encoder.comprehension(self.train.without_answers(), self.config.reader.ssoc)

    @cached_property
    def open_paragraphs(self) -> list[list[Example]]:
        """The same of the lessons that are answered."""
        return self.encoder.comprehension(self.test.without_answers(), self.config.reader.ssoc)

    def stages(self, method: MethodName) -> list[Stage]:
        """What a method learns, in order."""
        settings = self.config.reader
        stages = []
        if method in WITH_SSOC:
            groups = [*self.own_paragraphs, *(self.open_paragraphs if method == "full open" else ())]
            if not groups:
                raise UsageError(
                    f"{self.train.name}: no question has two paragraphs to choose from, which {method} needs"
                )
            stages.append(Stage("comprehension", groups, settings.ssoc.epochs, settings.ssoc.learning_rate))
        stages.append(answer_stage(self.blind[0] if method == "no text" else self.learned, settings.fit))
        if not stages[-1].groups:
            raise UsageError(f"{self.train.name}: no question has a known answer, which learning needs")
        return stages

    def questions(self, method: MethodName) -> list[Example]:
        """What a method is asked."""
        return self.blind[1] if method == "no text" else self.asked

    def show(self, solver: Solver) -> Solver:
        """The network, with all words that were read so far."""
        solver.features.read_from(self.encoder.bank)
        return solver


def workbench_of(config: Config, training: Training, state: State) -> Workbench:
    """Of a training that is done, with the word vectors that it has learned with."""
    kept = state.get("vectors")
    if kept is None:
        return workbench(config, training.replica)
    return Workbench(config, training.replica, StaticVectors.of_state(kept))


@lru_cache(maxsize=4)
def workbench(config: Config, replica: int) -> Workbench:
    """Of a run's replica; made once in a process, as parsing takes longer than many a leg."""
    folds = config.book.folds if config.book.test is None and config.book.holdout == 0 else 1
    return _workbench(replace(config, methods=config.methods[:1], seed=0), replica % folds)


@lru_cache(maxsize=4)
def _workbench(config: Config, replica: int) -> Workbench:
    return Workbench(config, replica)


def leg(config: Config, training: Training, state: State | None) -> State:
    """The state of a training after its next leg: `core.legs` says what that is.

    Of methods without a network the first leg does all.
    """
    with one_thread():
        bench = workbench(config, training.replica)
        if training.method in SOLVERS:
            return _solver_leg(config, training, bench, state)
        if state is None:
            state = {"curve": [], "answers": _rival_answers(config, training, bench), "leg": 0}
        return _measured(bench, state, state["answers"])


def answers_of(config: Config, training: Training, bench: Workbench, state: State) -> dict[str, list[float]]:
    """For each question that is asked, by name, the probability of each choice, as a training's last weights have it."""
    if training.method not in SOLVERS:
        return _rival_answers(config, training, bench)
    examples = bench.questions(training.method)
    return _named(examples, answer_all(trained_solver(config, training, bench, state), examples))


def trained_solver(config: Config, training: Training, bench: Workbench, state: State) -> Solver:
    """The network of a training as it has become."""
    solver = _solver(config, training, bench)
    load_weights(solver, state["solver"])
    return bench.show(solver)


def evidence_of(bench: Workbench, answers: Mapping[str, list[float]]) -> dict[str, float]:
    """1 where the chosen candidate's nearest paragraph is one that a person named as the evidence, for questions that have one named."""
    found: dict[str, float] = {}
    examples = {example.name: example for example in bench.asked}
    for _, question in bench.test.pairs():
        if question.evidence:
            row = answers[question.name]
            pair = examples[question.name].pairs[row.index(max(row))]
            found[question.name] = float(bool(pair.found) and pair.found[0].paragraph.name in question.evidence)
    return found


def without_text(book: Textbook) -> Textbook:
    """The questions alone: no paragraph and no diagram is left."""
    lessons = []
    for lesson in book.lessons:
        questions = tuple(replace(question, diagram=None) for question in lesson.questions)
        lessons.append(replace(lesson, paragraphs=(), diagrams=(), questions=questions))
    return replace(book, lessons=tuple(lessons))


def _solver_leg(config: Config, training: Training, bench: Workbench, state: State | None) -> State:
    settings = reader_settings(config, training.method)
    stages = bench.stages(training.method)
    questions = bench.questions(training.method)
    before = state or {"leg": 0, "curve": [], "stage": 0, "optimizer": None}
    if state is None:
        solver = bench.show(_solver(config, training, bench))
    else:
        solver = trained_solver(config, training, bench, state)
    after = dict(before)
    for number, epochs in _epochs_of(stages, before["leg"], config.legs):
        optimizer = make_optimizer(solver, settings.fit)
        if number == before["stage"] and before["optimizer"] is not None:
            optimizer.load_state_dict(copy.deepcopy(before["optimizer"]))  # which keeps and changes its tensors
        learn(solver, optimizer, stages[number], epochs, settings.fit, seed=derive_seed(config.seed, training.replica))
        after |= {"stage": number, "optimizer": on_cpu(optimizer.state_dict())}
    answers = _named(questions, answer_all(solver, questions))
    after |= {"solver": on_cpu(solver.state_dict()), "vectors": kept_vectors(bench.vectors)}
    return _measured(bench, after, answers)


def _measured(bench: Workbench, state: State, answers: dict[str, list[float]]) -> State:
    """The state with a leg more, and the accuracy after it."""
    done = state["leg"] + 1
    bits = score(bench.test, answers).bits()
    accuracy = float(bits.mean()) if len(bits) else 0.0
    return {**state, "leg": done, "curve": [*state["curve"], [done, accuracy]], "answers": answers}


def _epochs_of(stages: Sequence[Stage], leg: int, legs: int) -> list[tuple[int, range]]:
    """(stage, its epochs) of a leg: all epochs of all stages in a row, cut as evenly as it goes."""
    every = [(number, epoch) for number, stage in enumerate(stages) for epoch in range(stage.epochs)]
    chosen = every[leg * len(every) // legs : (leg + 1) * len(every) // legs]
    parts = []
    for number in dict.fromkeys(number for number, _ in chosen):
        own = [epoch for which, epoch in chosen if which == number]
        parts.append((number, range(own[0], own[-1] + 1)))
    return parts


def _solver(config: Config, training: Training, bench: Workbench) -> Solver:
    seed = derive_seed(config.seed, training.replica)
    solver = make_solver(reader_settings(config, training.method), bench.vectors.dim, seed)
    return solver.to(_device(config.compute))


def _device(compute: ComputeConfig) -> torch.device:
    return make_fabric(compute).device


def _rival_answers(config: Config, training: Training, bench: Workbench) -> dict[str, list[float]]:
    seed = derive_seed(config.seed, training.replica)
    methods: dict[str, Callable[[Textbook, Sequence[Example]], list[Tensor]]] = {
        "chance": chance,
        "tf-idf": nearest,
        "encoder": partial(frozen, config.encoder, bench.train, bench.learned, seed=seed),
        "cross-encoder": partial(fine_tuned, config.encoder, bench.train, bench.learned, seed=seed),
    }
    return _named(bench.asked, methods[training.method](bench.test, bench.asked))


def _named(examples: Sequence[Example], rows: Sequence[Tensor]) -> dict[str, list[float]]:
    return {example.name: row.tolist() for example, row in zip(examples, rows, strict=True)}


@lru_cache(maxsize=4)
def _opened(path: object, split: str | None) -> Textbook:
    return Textbook.embedded() if path is None else Textbook.load(str(path), split)


def _held_out(book: Textbook, share: float) -> set[str]:
    """A fixed random share of the lessons, at least one and never all."""
    if len(book.lessons) < 2:
        raise UsageError(f"{book.name} has {len(book.lessons)} lessons, but must have at least 2 to hold some out")
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(book.lessons), generator=random).tolist()
    count = min(max(1, round(share * len(order))), len(order) - 1)
    return {book.lessons[place].name for place in order[:count]}


def _parted(book: Textbook, held: set[str]) -> tuple[Textbook, Textbook]:
    return book.only([each.name for each in book.lessons if each.name not in held]), book.only(sorted(held))
