"""Questions made into numbers: retrieval, parsing and word numbers once, so that a training only has to put batches together.

An `Example` is a question with its candidates, each with the context it is judged by; or, for the self-supervised stage, a question
and one candidate with the paragraphs to choose from. Both have the same form, and the same network reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from .config import ContextSettings, SsocSettings
from .diagram_graph import DiagramGraph, DiagramReader, completed, count_sentences, diagram_graph
from .parsing import DependencyParser, Parse
from .retrieval import Found, Retrieval, is_judgement, query
from .text_graph import TextGraph, text_graph
from .textbook import Diagram, Lesson, Paragraph, Question, Textbook
from .word_bank import WordBank, Words
from .words import STOP_WORDS, split_sentences, split_words, stem


class EncodedText(NamedTuple):
    """T words."""

    rows: Tensor
    """int64 (T,)"""
    words: Tensor
    """int64 (T,)"""
    flags: Tensor
    """float (T, F); see `Texts`"""


class EncodedContext(NamedTuple):
    """A text graph of N nodes."""

    nodes: EncodedText
    links: Tensor
    """int64 (E, 2)"""
    graph: TextGraph
    """what it was made from, to show it"""


class EncodedDrawing(NamedTuple):
    """A diagram graph of V nodes, each a label of some words."""

    rows: tuple[Tensor, ...]
    words: tuple[Tensor, ...]
    flags: Tensor
    """float (V, 3)"""
    links: Tensor
    """int64 (E, 2)"""


class Pair(NamedTuple):
    """A candidate, and all it is judged by."""

    question: EncodedText
    choice: EncodedText
    context: EncodedContext
    drawing: EncodedDrawing
    """of the lesson"""
    own: EncodedDrawing
    """of the question"""
    found: tuple[Found, ...]
    """the paragraphs of the context, the most similar first"""


class Example(NamedTuple):
    """Candidates to choose from."""

    name: str
    """of the question"""
    pairs: tuple[Pair, ...]
    answer: int
    """place of the right one, -1 where it is not known"""
    ordered: bool = False
    """whether the candidates keep their order in training, as true and false do: the network tells them apart by it"""


NOTHING = Diagram("")
ABSENT = "nothing"
"""read in place of a choice or question without any word, because a sequence needs one"""


class Encoder:
    """Makes examples of the questions of a book.

    Args:
        bank: numbers for words, with the vectors.
        parser: of the context's sentences; wrap it in a `ParseCache`, as the same sentences come many times.
        settings: of the context.
        diagrams: reads diagrams that are pictures alone; None leaves them without labels.
    """

    def __init__(
        self, bank: WordBank, parser: DependencyParser, settings: ContextSettings, diagrams: DiagramReader | None = None
    ) -> None:
        self.bank = bank
        self.parser = parser
        self.settings = settings
        self.diagrams = diagrams
        self._sentences: dict[str, list[str]] = {}
        self._contexts: dict[tuple[object, ...], EncodedContext] = {}
        self._texts: dict[tuple[Words, tuple[bool, ...], Retrieval], EncodedText] = {}
        self._drawings: dict[tuple[object, ...], EncodedDrawing] = {}
        self._diagrams: dict[Diagram, Diagram] = {}

    def questions(self, book: Textbook, retrieval: Retrieval | None = None) -> list[Example]:
        """Every question of the book with its candidates, each beside its best paragraphs.

        Args:
            retrieval: of the book; made where it is None.
        """
        asked = [
            (lesson, question, place) for lesson, question in book.pairs() for place in range(len(question.choices))
        ]
        retrieval = retrieval or Retrieval(book, self.settings.scope)
        found = retrieval.best([query(*each) for each in asked], self.settings.paragraphs)
        rows = [(*each, tuple(paragraphs)) for each, paragraphs in zip(asked, found, strict=True)]
        pairs = iter(self._pairs(rows, retrieval))
        examples = []
        for _, question in book.pairs():
            own = tuple(islice(pairs, len(question.choices)))
            answer = -1 if question.answer is None else question.answer
            examples.append(Example(question.name, own, answer, ordered=is_judgement(question)))
        return examples

    def comprehension(self, book: Textbook, settings: SsocSettings) -> list[list[Example]]:
        """For each question of the book one example a candidate: its nearest paragraphs, of which the very nearest is right.

        Answers are not read: the book may as well come from `Textbook.without_answers`. A question in whose scope there are fewer
        than two paragraphs, or none with a word of it, has no example.
        """
        retrieval = Retrieval(book, settings.scope)
        asked = [
            (lesson, question, place)
            for lesson, question in book.pairs()
            # all candidates of a judgement ask for the same paragraphs; so that both words are met, they take turns
            for place in (
                [len(question.text) % len(question.choices)] if is_judgement(question) else range(len(question.choices))
            )
        ]
        found = retrieval.best([query(*each) for each in asked], settings.paragraphs)
        rows = [(*each, (one,)) for each, paragraphs in zip(asked, found, strict=True) for one in paragraphs]
        pairs = iter(self._pairs(rows, retrieval))
        examples: dict[str, list[Example]] = {}
        for (_, question, _), paragraphs in zip(asked, found, strict=True):
            own = tuple(next(pairs) for _ in paragraphs)
            if len(own) >= 2 and paragraphs[0].similarity > 0:
                # `best` gives the nearest first: this is y = 1 for the paragraph of the highest TF-IDF. Batches shuffle the order
                examples.setdefault(question.name, []).append(Example(question.name, own, 0))
        return list(examples.values())

    def _pairs(
        self, rows: Sequence[tuple[Lesson, Question, int, tuple[Found, ...]]], retrieval: Retrieval
    ) -> list[Pair]:
        """All pairs; everything new is parsed and looked up together, which parsers and encoders are much faster with."""
        drawings = self._lesson_drawings([(lesson, question, place) for lesson, question, place, _ in rows])
        counted = {diagram: self._counted(diagram) for diagram in {question.diagram for _, question, _, _ in rows}}
        extras = [counted[question.diagram] for _, question, _, _ in rows]
        sentences = [[*self._split(found), *extra] for (_, _, _, found), extra in zip(rows, extras, strict=True)]
        parses = dict(_parsed(self.parser, (each for group in sentences for each in group)))
        texts = [_words(question.text) for _, question, _, _ in rows]
        choices = [_words(question.choices[place]) for _, question, place, _ in rows]
        self.bank.add([*texts, *choices, *(parse.words for parse in parses.values())])
        shown = dict.fromkeys([*drawings, *(self._completed(question.diagram) for _, question, _, _ in rows)])
        self.bank.add(_words(part.text) for diagram in shown for part in diagram.parts)
        pairs = []
        for row, group, text, choice, drawing in zip(rows, sentences, texts, choices, drawings, strict=True):
            _, question, _, found = row
            context_parses = [parses[sentence] for sentence in group]
            there = {stem(word) for parse in context_parses for word in parse.words}
            sought = () if is_judgement(question) else choice
            pairs.append(
                Pair(
                    self._text(text, there, retrieval),
                    self._text(choice, there, retrieval),
                    self._context(tuple(group), context_parses, text, sought, retrieval),
                    self._drawing(drawing, text, sought),
                    self._drawing(self._completed(question.diagram), text, sought),
                    found,
                )
            )
        return pairs

    def _split(self, found: Iterable[Found]) -> list[str]:
        sentences = []
        for paragraph, _ in found:
            if paragraph.text not in self._sentences:
                self._sentences[paragraph.text] = split_sentences(paragraph.text)
            sentences += self._sentences[paragraph.text]
        return sentences

    def _completed(self, diagram: Diagram | None) -> Diagram:
        """A diagram with the labels of its picture, which are read once."""
        if diagram is None:
            return NOTHING
        if diagram not in self._diagrams:
            self._diagrams[diagram] = completed(diagram, self.diagrams)
        return self._diagrams[diagram]

    def _counted(self, diagram: Diagram | None) -> list[str]:
        """What a question's own diagram says in words (our reconstruction of the paper's)."""
        return list(count_sentences(self._completed(diagram)))

    def _lesson_drawings(self, asked: Sequence[tuple[Lesson, Question, int]]) -> list[Diagram]:
        """The diagram of the lesson that is most like each candidate; none where there is no diagram with a word in common."""
        lessons = {lesson.name: lesson for lesson, _, _ in asked if lesson.diagrams}
        if not lessons:
            return [NOTHING] * len(asked)
        shown: dict[str, Diagram] = {}
        described = []
        for lesson in lessons.values():
            texts = []
            for place, diagram in enumerate(lesson.diagrams):
                whole = self._completed(diagram)
                name = f"{lesson.name}\n{place}"
                shown[name] = whole
                texts.append(Paragraph(name, " ".join([whole.caption, *(part.text for part in whole.parts)])))
            described.append(Lesson(lesson.name, lesson.title, tuple(texts)))
        nearest = Retrieval(Textbook("diagrams", tuple(described)))
        wanted = [query(*each) for each in asked if each[0].name in lessons]
        found = iter(nearest.best(wanted, 1))
        drawings = []
        for lesson, _, _ in asked:
            best = next(found) if lesson.name in lessons else []
            drawings.append(shown[best[0].paragraph.name] if best and best[0].similarity > 0 else NOTHING)
        return drawings

    def _text(self, text: Words, there: set[str], retrieval: Retrieval) -> EncodedText:
        flags = tuple(stem(word) in there for word in text)
        key = (text, flags, retrieval)  # itself, which keeps it alive: an id could come again, with other rarities
        if key not in self._texts:
            rare = [retrieval.rarity(stem(word)) * there for word, there in zip(text, flags, strict=True)]
            columns = torch.tensor([flags, rare], dtype=torch.float32).T
            self._texts[key] = EncodedText(self.bank.rows(text), self.bank.words(text), columns)
        return self._texts[key]

    def _context(
        self,
        sentences: tuple[str, ...],
        parses: Sequence[Parse],
        question: Words,
        choice: Words,
        retrieval: Retrieval,
    ) -> EncodedContext:
        in_question, in_choice = _stems(question), _stems(choice)
        key = (sentences, in_question, in_choice, retrieval)
        if key not in self._contexts:
            graph = text_graph(parses, {*question, *choice}, reach=self.settings.reach, most=self.settings.nodes)
            rows = [self.bank.rows(parse.words) for parse in parses]
            places = zip(graph.sentence, graph.position, strict=True)
            nodes = torch.tensor([int(rows[sentence][position]) for sentence, position in places], dtype=torch.int64)
            links = torch.tensor(graph.links, dtype=torch.int64).reshape(-1, 2)
            found = [stem(word) for word in graph.words]
            flags = [[each in in_question, each in in_choice, retrieval.rarity(each)] for each in found]
            self._contexts[key] = EncodedContext(
                EncodedText(
                    nodes, self.bank.words(graph.words), torch.tensor(flags, dtype=torch.float32).reshape(-1, 3)
                ),
                links,
                graph,
            )
        return self._contexts[key]

    def _drawing(self, diagram: Diagram, question: Words, choice: Words) -> EncodedDrawing:
        in_question, in_choice = _stems(question), _stems(choice)
        key = (diagram, in_question, in_choice) if diagram.parts else ()
        if key not in self._drawings:
            graph: DiagramGraph = diagram_graph(diagram)
            labels = [_words(" ".join(words)) for words in graph.texts]
            self.bank.add(labels)
            flags = torch.tensor(
                [[bool(_stems(label) & asked) for asked in (in_question, in_choice)] + [True] for label in labels],
                dtype=torch.float32,
            )
            self._drawings[key] = EncodedDrawing(
                tuple(self.bank.rows(label) for label in labels),
                tuple(self.bank.words(label) for label in labels),
                flags.reshape(-1, 3),
                torch.tensor(graph.links, dtype=torch.int64).reshape(-1, 2),
            )
        return self._drawings[key]


def _words(text: str) -> Words:
    """The words of a text; a stand-in where it has none, such as "???"."""
    return tuple(word.text for word in split_words(text)) or (ABSENT,)


def _stems(words: Words) -> frozenset[str]:
    """Stems of the words that carry meaning."""
    return frozenset(stem(word) for word in words if word not in STOP_WORDS)


def _parsed(parser: DependencyParser, sentences: Iterable[str]) -> Iterable[tuple[str, Parse]]:
    different = list(dict.fromkeys(sentences))
    return zip(different, parser(different), strict=True)
