"""`TextbookReader`: adapts to a book without answers, learns from one with answers, and answers with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..core.batches import derive_seed
from ..core.checkpoint import load_state, save_state
from ..core.config import from_dict, require, to_dict
from ..core.errors import UsageError
from .cloze import with_cloze_questions
from .config import ReaderSettings, Scope
from .diagram_graph import DiagramReader, completed
from .examples import Encoder, Example, Pair
from .fitting import Stage, answer_all, answer_stage, attend, attend_diagram, learn, make_optimizer
from .parsing import DependencyParser, ParseCache, load_parser
from .retrieval import Retrieval, is_judgement
from .scores import Scores, score
from .solver import Solver
from .textbook import Diagram, Kind, Lesson, Paragraph, Question, Textbook
from .vectors import StaticVectors, WordVectors, kept_vectors, vectors_for
from .word_bank import WordBank
from .word_features import WordFeatures

if TYPE_CHECKING:
    from PIL.Image import Image

ASKED = "asked"
"""name of a question that somebody asks, and of the page it stands on"""


class Look(NamedTuple):
    """A word of the evidence or a label of the diagram, and how much it was looked at."""

    word: str
    weight: float
    """mean of the question's and the choice's attention; those of a context, or of a diagram, sum to 1"""


class Answer(NamedTuple):
    """What `TextbookReader.answer` gives."""

    choice: str
    """the most probable candidate"""
    place: int
    """its place among the choices, from 0"""
    probabilities: tuple[float, ...]
    """of all candidates, which sum to 1"""
    evidence: tuple[Paragraph, ...]
    """paragraphs that the choice was judged by, the most similar first"""
    attended: tuple[Look, ...]
    """words of the evidence in their order, each with the attention it was given; empty unless explained"""
    labels: tuple[Look, ...]
    """the same for the labels of the question's own diagram"""
    picture: Image | None
    """the question, its evidence and the graph, drawn; None unless explained"""


class TextbookReader:
    """Answers questions about a textbook from its text and diagrams (f-GCN with SSOC, arXiv:1811.00232).

    Args:
        settings: all sizes and schedules; None takes the defaults.
        vectors: word vectors of your own; None makes those that `settings.words` names.
        parser: a dependency parser of your own; None makes the one that `settings.context.parser` names.
        diagrams: reads diagrams that are pictures alone, such as `OcrReader`; None leaves those without labels.
        device: to compute on.
        seed: of weights and of all that training draws.

    Raises:
        UsageError: vectors or parser are named that are not there.

    Example:
        reader = TextbookReader().adapt(train_book, book).fit(train_book)
        answer = reader.answer("Which layer is hottest?", ["crust", "mantle", "core"], lesson="L_0002", explain=True)
    """

    def __init__(
        self,
        settings: ReaderSettings | None = None,
        *,
        vectors: WordVectors | None = None,
        parser: DependencyParser | None = None,
        diagrams: DiagramReader | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        self.settings = settings or ReaderSettings()
        self.seed = seed
        self.device = torch.device(device)
        self.library: tuple[Textbook, ...] = ()
        self._parser = ParseCache(parser or load_parser(self.settings.context.parser), self.settings.context.cache)
        self._diagrams = diagrams
        self._vectors = vectors
        self._encoder: Encoder | None = None
        self._solver: Solver | None = None
        self._trained: list[str] = []
        self._retrievals: dict[tuple[int, Scope], tuple[Textbook, Retrieval]] = {}

    # learning

    def adapt(self, *books: Textbook, epochs: int | None = None) -> TextbookReader:
        """Learn to find the paragraph that belongs to a question and a candidate, without reading an answer (SSOC).

        Args:
            books: at least one. Whether a question is answered makes no difference; a lesson that has none gets some from its own
                sentences (see `cloze`).
            epochs: passes over the questions; None takes the settings'.

        Raises:
            UsageError: no question has two paragraphs to choose from.
        """
        settings = self.settings.ssoc
        epochs = settings.epochs if epochs is None else epochs
        require(epochs >= 0, "epochs", epochs, "at least 0")
        self.read(*books)
        encoder = self._ready()
        asked = [with_cloze_questions(book.without_answers()) for book in books]
        groups = [group for book in asked for group in encoder.comprehension(book, settings)]
        if not groups:
            names = ", ".join(book.name for book in books) or "no book"
            raise UsageError(
                f"{names}: no question has two paragraphs to choose from, but adapting needs at least one that has"
            )
        return self._learn(Stage("comprehension", groups, epochs, settings.learning_rate))

    def fit(self, *books: Textbook, epochs: int | None = None) -> TextbookReader:
        """Learn from the questions whose answers are known.

        Args:
            books: at least one; questions without an answer are passed over.
            epochs: passes over the questions; None takes the settings'.

        Raises:
            UsageError: no question has an answer.
        """
        require(epochs is None or epochs >= 0, "epochs", epochs, "at least 0")
        settings = self.settings.fit if epochs is None else replace(self.settings.fit, epochs=max(1, epochs))
        self.read(*books)
        encoder = self._ready()
        stage = answer_stage([example for book in books for example in encoder.questions(book)], settings)
        if not stage.groups:
            raise UsageError(f"{', '.join(book.name for book in books) or 'no book'}: no question has a known answer")
        return self._learn(stage if epochs is None else stage._replace(epochs=epochs))

    def read(self, *books: Textbook) -> TextbookReader:
        """Put books on the shelf, so that questions about their lessons can be asked. Nothing is learned."""
        self.library += tuple(book for book in books if all(book is not other for other in self.library))
        return self

    # answering

    def probabilities(self, book: Textbook) -> dict[str, Tensor]:
        """For each question of a book, by name, the probability of each choice, float (K,). Answers are not read."""
        examples = self._ready(book).questions(book.without_answers())
        found = answer_all(self._tables(), examples)
        return {example.name: row for example, row in zip(examples, found, strict=True)}

    def score(self, book: Textbook) -> Scores:
        """How many questions of a book it answers rightly, in the columns of the published tables."""
        return score(book, self.probabilities(book))

    def answer(
        self,
        question: str,
        choices: Sequence[str],
        *,
        lesson: str | None = None,
        book: Textbook | None = None,
        diagram: Diagram | None = None,
        explain: bool = False,
    ) -> Answer:
        """Answer one question.

        Args:
            question: its text.
            choices: 1 to 12 candidates; ("true", "false") for a statement.
            lesson: name or title of the lesson it is about; None looks through the whole book.
            book: where that lesson is; None is the last book that was read, or with a lesson the last that has it.
            diagram: the question's own, if it has one.
            explain: give the words attended and a picture too, which takes a moment.

        Raises:
            UsageError: there is no book or no such lesson, nothing to read in it, or the question or its choices will not do.
        """
        source, retrieval = self._source(lesson, book)
        if not source.paragraphs:
            raise UsageError(f"{source.title or source.name} has no paragraph, so that there is nothing to answer from")
        if (
            isinstance(choices, str)
            or not choices
            or not all(isinstance(choice, str) and choice.strip() for choice in choices)
        ):
            raise UsageError(f"choices are {choices!r}, but must be 1 to 12 texts")
        asked = Question(ASKED, question, tuple(choices), diagram=diagram)
        asked = replace(asked, kind=_kind(asked))
        page = Textbook(ASKED, (replace(source, questions=(asked,)),))
        example = self._ready(page).questions(page, retrieval)[0]
        probabilities, by_question, by_choice = attend(self._tables(), example)
        place = int(probabilities.argmax())
        pair = example.pairs[place]
        weights = (by_question[place] + by_choice[place]) / 2
        found = tuple(each.paragraph for each in pair.found)
        if not explain:
            return Answer(choices[place], place, tuple(probabilities.tolist()), found, (), (), None)
        looks = tuple(Look(*each) for each in zip(pair.context.graph.words, weights.tolist(), strict=True))
        labels = self._labels(asked, example, place)
        picture = self._picture(asked, probabilities, pair, looks, labels)
        return Answer(choices[place], place, tuple(probabilities.tolist()), found, looks, labels, picture)

    # keeping

    def save(self, folder: str | Path) -> None:
        """Write settings and weights to a folder, as safetensors and JSON; word vectors from files stay where they are.

        Raises:
            UsageError: nothing has been learned yet, or the folder cannot be written.
        """
        if self._solver is None:
            raise UsageError("the reader has not learned anything yet, so that there is nothing to save")
        used = {"vectors": self._ready().bank.vectors.name, "parser": self._parser.name}
        save_state(Path(folder), {"settings": to_dict(self.settings), "seed": self.seed, "used": used} | self.state())

    @classmethod
    def load(cls, folder: str | Path, **own: Any) -> TextbookReader:
        """The reader that a folder holds. Its shelf is empty: `read` a book, or name one when asking.

        Args:
            folder: that `save` wrote.
            own: vectors, parser, diagrams or device, as for a new reader.

        Raises:
            UsageError: the folder holds no reader, word vectors that it needs are not there, or `own` has other vectors or another
                parser than it was saved with.
        """
        saved = load_state(Path(folder))
        if not isinstance(saved.get("settings"), dict) or not {"solver", "vectors"} <= set(saved):
            raise UsageError(f"{folder} does not hold a reader")
        reader = cls(from_dict(ReaderSettings, saved["settings"]), seed=int(saved.get("seed", 0)), **own)
        reader.restore(saved)
        used = {"vectors": reader._ready().bank.vectors.name, "parser": reader._parser.name}
        for part, name in used.items():
            if name != saved.get("used", used)[part]:
                raise UsageError(f"{folder} was saved with the {part} {saved['used'][part]}, but is given {name}")
        return reader

    def state(self) -> dict[str, Any]:
        """Weights, and the word vectors that are of no file."""
        assert self._solver is not None
        assert self._vectors is not None
        kept = kept_vectors(self._vectors) if self.settings.words.vectors == "book" else None
        return {"solver": self._solver.state_dict(), "vectors": kept, "trained": list(self._trained)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave.

        Raises:
            UsageError: the weights are of another network.
        """
        if state["vectors"] is not None:
            self._vectors = StaticVectors.of_state(state["vectors"])
        self._ready()
        assert self._solver is not None
        load_weights(self._solver, state["solver"])
        self._trained = [str(name) for name in state.get("trained", ())]

    # parts

    @property
    def solver(self) -> Solver:
        """The network; made when it is first needed."""
        self._ready()
        assert self._solver is not None
        return self._solver

    def _ready(self, *books: Textbook) -> Encoder:
        """The encoder; it and the network are made when they are first needed, as some word vectors come from the books."""
        if self._encoder is None:
            if self._vectors is None:
                self._vectors = vectors_for(self.settings.words, (*self.library, *books))
            self._encoder = Encoder(WordBank(self._vectors), self._parser, self.settings.context, self._diagrams)
        if self._solver is None:
            assert self._vectors is not None
            self._solver = make_solver(self.settings, self._vectors.dim, self.seed).to(self.device)
        return self._encoder

    def _tables(self) -> Solver:
        """The network, with all words that were read."""
        assert self._encoder is not None
        assert self._solver is not None
        self._solver.features.read_from(self._encoder.bank)
        return self._solver

    def _learn(self, stage: Stage) -> TextbookReader:
        solver = self._tables()
        optimizer = make_optimizer(solver, self.settings.fit)
        # a stage that is done twice draws anew
        seed = derive_seed(self.seed, len(self._trained))
        learn(solver, optimizer, stage, range(stage.epochs), self.settings.fit, seed=seed)
        solver.eval()
        self._trained.append(stage.name)
        return self

    def _source(self, lesson: str | None, book: Textbook | None) -> tuple[Lesson, Retrieval]:
        """Where to look, as one lesson, and what finds its paragraphs."""
        books = self.library[::-1] if book is None else (book,)
        if not books:
            raise UsageError("no book has been read yet: name one, or let the reader read, adapt or fit one first")
        if lesson is None:
            diagrams = tuple(diagram for each in books[0].lessons for diagram in each.diagrams)
            return Lesson(ASKED, books[0].name, books[0].paragraphs, diagrams), self._retrieval(books[0], "book")
        holding = [each for each in books if any(lesson in (one.name, one.title) for one in each.lessons)]
        chosen = holding[0] if holding else books[0]
        return chosen.lesson(lesson), self._retrieval(chosen, "lesson")

    def _retrieval(self, book: Textbook, scope: Scope) -> Retrieval:
        """Made once for a book: a word's rarity is counted over all of it, whichever lesson is asked about."""
        key = (id(book), scope)
        if key not in self._retrievals:
            self._retrievals[key] = book, Retrieval(book, scope)  # the book too, or its id could come again
        return self._retrievals[key][1]

    def _labels(self, question: Question, example: Example, place: int) -> tuple[Look, ...]:
        if question.diagram is None:
            return ()
        parts = completed(question.diagram, self._diagrams).parts
        weights = attend_diagram(self._tables(), example)[place].tolist()
        return tuple(Look(part.text, weight) for part, weight in zip(parts, weights, strict=False))  # of many the first

    def _picture(
        self, question: Question, probabilities: Tensor, pair: Pair, looks: Sequence[Look], labels: Sequence[Look]
    ) -> Image:
        from .drawing import PARAGRAPHS_APART, explanation_sheet

        return explanation_sheet(
            question.text,
            question.choices,
            probabilities.tolist(),
            None,
            PARAGRAPHS_APART.join(found.paragraph.text for found in pair.found),
            pair.context.graph,
            [look.weight for look in looks],
            None if question.diagram is None else self._drawn(question.diagram, labels),
        )

    def _drawn(self, diagram: Diagram, labels: Sequence[Look]) -> Image:
        from .drawing import draw_diagram

        whole = completed(diagram, self._diagrams)
        weights = [look.weight for look in labels] + [0.0] * (len(whole.parts) - len(labels))
        return draw_diagram(whole, weights if labels else None)


def make_solver(settings: ReaderSettings, dim: int, seed: int) -> Solver:
    """A network with fresh weights that follow from the seed; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        return Solver(settings.net, WordFeatures(dim, settings.net.characters))


def load_weights(solver: Solver, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a network.

    Raises:
        UsageError: they are of another network.
    """
    try:
        solver.load_state_dict(weights)
    except RuntimeError as error:
        raise UsageError(f"the weights are of a network of other settings: {error}") from error


def _kind(question: Question) -> Kind:
    if question.diagram is not None:
        return "diagram"
    return "true or false" if is_judgement(question) else "multiple choice"
