"""Questions as numbers: which paragraph and which flags a candidate gets, and books that are not as one expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tenfold.answer.config import ContextSettings, NetSettings, ReaderSettings
from tenfold.answer.examples import Encoder, Example, Pair
from tenfold.answer.fitting import answer_all
from tenfold.answer.parsing import DependencyParser, Parse, load_parser
from tenfold.answer.reader import make_solver
from tenfold.answer.retrieval import Retrieval, query
from tenfold.answer.textbook import Diagram, Lesson, Paragraph, Part, Question, Textbook
from tenfold.answer.vectors import HashedVectors, WordVectors
from tenfold.answer.word_bank import WordBank
from tenfold.answer.word_features import spell
from tenfold.answer.words import split_words, stem

from .small_books import colour_book, diagram_book, ring

DIM = 12


class PlaceVectors(WordVectors):
    """A word's vector says how long its text is, and where the word stands in it."""

    name, dim, contextual = "places", 2, True

    def of(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        return [torch.tensor([[len(text), k] for k in range(len(text))]).float().reshape(-1, 2) for text in texts]


class CountingParser:
    """Links each word with its next, and counts what it is asked."""

    name = "counting"

    def __init__(self) -> None:
        self.calls: list[Sequence[str]] = []

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        self.calls.append(sentences)
        return load_parser("window")(sentences)


def encoder(vectors: WordVectors | None = None, parser: DependencyParser | None = None, **settings: object) -> Encoder:
    bank = WordBank(vectors or HashedVectors(DIM))
    return Encoder(bank, parser or load_parser("rules"), ContextSettings(**settings))  # type: ignore[arg-type]


def asking(*questions: Question, paragraphs: Sequence[str] = (), diagrams: tuple[Diagram, ...] = ()) -> Textbook:
    texts = tuple(Paragraph(f"p{k}", text) for k, text in enumerate(paragraphs))
    return Textbook("small", (Lesson("l", "Lesson", texts, diagrams, questions),))


def one(*questions: Question, **parts: object) -> Example:
    return encoder().questions(asking(*questions, **parts))[0]  # type: ignore[arg-type]


def answered(made: Encoder, examples: Sequence[Example]) -> list[Tensor]:
    solver = make_solver(ReaderSettings(net=NetSettings(hidden=8, characters=6)), made.bank.vectors.dim, 0)
    solver.features.read_from(made.bank)
    return answer_all(solver, examples)


def is_fine(book: Textbook, made: Encoder | None = None) -> list[Example]:
    """The examples of a book, of which each gets probabilities."""
    made = made or encoder()
    examples = made.questions(book)
    for example, row, (_, question) in zip(examples, answered(made, examples), book.pairs(), strict=True):
        assert len(example.pairs) == len(row) == len(question.choices)
        assert float(row.sum()) == pytest.approx(1, abs=1e-5)
        assert bool((row >= 0).all())
    return examples


def words_of(made: Encoder, pair: Pair) -> list[tuple[str, Tensor]]:
    graph = pair.context.graph
    return list(zip(graph.words, made.bank.tables()[0][pair.context.nodes.rows].float(), strict=True))


# contexts


def test_each_candidate_is_judged_by_its_best_paragraph() -> None:
    book = colour_book(count=2).and_also([diagram_book()])
    found = Retrieval(book)
    for (lesson, question), example in zip(book.pairs(), encoder().questions(book), strict=True):
        assert (example.name, example.answer) == (question.name, question.answer)
        for place, pair in enumerate(example.pairs):
            assert list(pair.found) == found.best([query(lesson, question, place)], 1)[0]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_context_is_of_as_many_paragraphs_as_asked(count: int) -> None:
    made = encoder(paragraphs=count, reach=9)
    (example, *_) = made.questions(colour_book(count=1))
    for pair in example.pairs:
        assert len(pair.found) == min(count, 4)
        text = {word.text for each in pair.found for word in split_words(each.paragraph.text)}
        assert set(pair.context.graph.words) <= text


def test_the_scope_may_be_the_whole_book() -> None:
    asked = Question("q", "Which colour is the lamp?", ("red", "blue"), 0)
    houses = colour_book(count=6).without_answers()
    book = houses.and_also([asking(asked, paragraphs=["Nothing about it here."])])
    for scope, lesson in (("lesson", {"p0"}), ("book", {"c"})):
        example = encoder(scope=scope).questions(book)[-1]
        assert {pair.found[0].paragraph.name[: len(min(lesson))] for pair in example.pairs} == lesson


def test_nodes_belong_to_the_right_words() -> None:
    """In context, where every place of a word has a vector of its own."""
    made = encoder(PlaceVectors(), paragraphs=2, reach=1)
    book = colour_book(count=2)
    for example in made.questions(book):
        for pair in example.pairs:
            sentences = [
                [word.text for word in split_words(sentence)]
                for found in pair.found
                for sentence in made._split([found])
            ]
            graph = pair.context.graph
            for (word, vector), sentence, position in zip(
                words_of(made, pair), graph.sentence, graph.position, strict=True
            ):
                assert sentences[sentence][position] == word
                assert vector.tolist() == [len(sentences[sentence]), position]
            assert torch.equal(made.bank.tables()[1][pair.context.nodes.words], spell(graph.words))


def test_static_vectors_of_nodes_are_their_words() -> None:
    made = encoder()
    for example in made.questions(diagram_book()):
        for pair in example.pairs:
            for word, vector in words_of(made, pair):
                assert torch.equal(vector, HashedVectors(DIM).of([[word]])[0][0])


def test_question_and_choice_have_their_own_words() -> None:
    made = encoder()
    book = diagram_book()
    for (_, question), example in zip(book.pairs(), made.questions(book), strict=True):
        for choice, pair in zip(question.choices, example.pairs, strict=True):
            for text, encoded in ((question.text, pair.question), (choice, pair.choice)):
                words = [word.text for word in split_words(text)]
                assert torch.equal(made.bank.tables()[0][encoded.rows], HashedVectors(DIM).of([words])[0])
                assert torch.equal(made.bank.tables()[1][encoded.words], spell(words))


def test_sentences_are_parsed_together_and_once_a_call() -> None:
    parser = CountingParser()
    encoder(parser=parser).questions(colour_book(count=3))
    (asked,) = parser.calls
    assert len(set(asked)) == len(asked)


# flags


def test_words_are_flagged_that_the_context_has_and_how_rare_they_are() -> None:
    asked = Question("q", "What warmed the zebra?", ("the suns", "a moon"), 0)
    book = asking(asked, paragraphs=["The sun warms the sea.", "The sea is cold.", "The sea has fish."])
    first, second = encoder().questions(book)[0].pairs
    rarity = Retrieval(book).rarity
    assert first.question.flags[:, 0].tolist() == [0, 1, 1, 0]
    expected = [0, rarity("warm"), rarity("the"), 0]
    assert first.question.flags[:, 1].tolist() == pytest.approx(expected)
    assert first.choice.flags[:, 0].tolist() == [1, 1]
    assert first.choice.flags[:, 1].tolist() == pytest.approx([rarity("the"), rarity(stem("sun"))])
    assert rarity("the") < rarity("sun") == pytest.approx(1)
    assert not second.choice.flags.any()


def test_nodes_are_flagged_that_are_words_of_question_or_choice() -> None:
    asked = Question("q", "What warms the sea?", ("the sun", "the sea"), 0)
    book = asking(asked, paragraphs=["The sun warms the cold sea.", "Ice."])
    first, second = encoder().questions(book)[0].pairs
    rarity = Retrieval(book).rarity
    for pair, choice in ((first, "sun"), (second, "sea")):
        flags = dict(zip(pair.context.graph.words, pair.context.nodes.flags.tolist(), strict=True))
        for word, row in flags.items():
            assert row == pytest.approx([float(word in ("warms", "sea")), float(word == choice), rarity(stem(word))])
        assert {"sun", "warms", "cold", "sea"} <= set(flags)


def test_rarity_is_that_of_the_book_that_is_read() -> None:
    """One encoder reads several books, in which the same sentence stands beside others."""
    asked = Question("q", "What warms the sea?", ("the sun", "the moon"), 0)
    short = asking(asked, paragraphs=["The sun warms the sea."])
    long = asking(asked, paragraphs=["The sun warms the sea.", *["The sun shines on the land."] * 20])
    expected = {
        book.lessons[0].paragraphs: [Retrieval(book).rarity(word) for word in ("the", "sun")] for book in (short, long)
    }
    made = encoder()
    for _ in range(20):
        for book in (short, long):
            flags = made.questions(book)[0].pairs[0].choice.flags
            assert flags[:, 1].tolist() == pytest.approx(expected[book.lessons[0].paragraphs])


# judgements


def test_the_candidates_of_a_judgement_share_their_context() -> None:
    _, statement, choice = encoder().questions(diagram_book())
    first, second = statement.pairs
    assert first.context is second.context
    assert first.question is second.question
    assert first.choice is not second.choice
    assert statement.ordered
    assert not choice.ordered
    assert not first.context.nodes.flags[:, 1].any()
    assert len({id(pair.context) for pair in choice.pairs}) > 1


def test_a_judgement_is_not_looked_for_in_the_text() -> None:
    asked = Question("q", "The sea is salty.", ("true", "false"), 0)
    found = one(asked, paragraphs=["True and false are words. It is false, it is true.", "The sea is salty."])
    assert [pair.found[0].paragraph.name for pair in found.pairs] == ["p1", "p1"]


# diagrams


def test_count_sentences_of_the_own_diagram_join_the_context() -> None:
    made = encoder(reach=9)
    asked = Question("q", "How many stages are there?", ("four", "five"), 0, "diagram", ring())
    (example,) = made.questions(asking(asked, paragraphs=["Water moves in stages."]))
    words = example.pairs[0].context.graph.words
    assert "four" in words
    assert "4" in words
    flags = dict(zip(words, example.pairs[0].context.nodes.flags.tolist(), strict=True))
    assert flags["four"][1] == 1
    assert example.pairs[0].choice.flags[0].tolist() == [1, 1]
    assert not example.pairs[1].choice.flags.any()
    assert [found.paragraph.name for found in example.pairs[0].found] == ["p0"]
    plain = replace(asked, diagram=None, kind="multiple choice")
    assert (
        "four"
        not in encoder().questions(asking(plain, paragraphs=["Water moves in stages."]))[0].pairs[0].context.graph.words
    )


def test_the_own_diagram_is_the_questions_and_the_other_the_lessons() -> None:
    with_one, without, other = encoder().questions(diagram_book())
    assert len(with_one.pairs[0].own.rows) == 4
    assert not without.pairs[0].own.rows
    assert len(without.pairs[0].drawing.rows) == 4
    assert not other.pairs[0].own.rows


def test_labels_are_flagged_that_have_a_word_of_question_or_choice() -> None:
    own = encoder().questions(diagram_book())[0].pairs[0].own
    assert own.flags.tolist() == [[0, 0, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]]
    assert own.links.tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]


def test_the_lesson_diagram_is_the_one_most_like_the_candidate() -> None:
    stars = Diagram("stars", (Part("giant star", (0, 0, 9, 9)), Part("dwarf", (20, 0, 29, 9))))
    captioned = Diagram("deep", (Part("fish", (0, 0, 9, 9)),), caption="life in the ocean")
    asked = Question("q", "What is it?", ("the giant", "rain falls", "an ocean", "zebra"), 0)
    found = one(asked, paragraphs=["Anything."], diagrams=(ring(), stars, captioned))
    assert [len(pair.drawing.rows) for pair in found.pairs] == [2, 4, 1, 0]


def test_a_label_without_a_word_has_a_stand_in() -> None:
    own = Diagram("signs", (Part("???", (0, 0, 9, 9)), Part("a cell", (20, 0, 29, 9))))
    asked = Question("q", "Which?", ("a", "b"), 0, "diagram", own)
    (example,) = is_fine(asking(asked, paragraphs=["A cell."], diagrams=(own,)))
    assert [len(rows) for rows in example.pairs[0].own.rows] == [1, 2]


@pytest.mark.parametrize("picture", [None, Path("nowhere") / "gone.png"])
def test_a_diagram_of_which_nothing_is_known_is_like_none(picture: Path | None) -> None:
    asked = Question("q", "What falls?", ("rain", "snow"), 0, "diagram", Diagram("gone", picture=picture))
    plain = replace(asked, diagram=None)
    made = encoder()
    (example,) = is_fine(asking(asked, paragraphs=["Rain falls."]), made)
    (other,) = made.questions(asking(plain, paragraphs=["Rain falls."]))
    assert torch.equal(answered(made, [example])[0], answered(made, [other])[0])


def test_a_reader_of_pictures_is_asked_for_what_is_missing(tmp_path: Path) -> None:
    seen: list[Path] = []

    def reads(picture: Path) -> Diagram:
        seen.append(picture)
        return replace(ring(), name=picture.name)

    made = Encoder(WordBank(HashedVectors(DIM)), load_parser("rules"), ContextSettings(), reads)
    blank = Diagram("blank", picture=tmp_path / "blank.png")
    asked = [
        Question(f"q{k}", "What comes after clouds form?", ("rain falls", "snow"), 0, "diagram", blank) for k in "ab"
    ]
    known = Question("known", "What comes after clouds form?", ("rain falls", "snow"), 0, "diagram", ring())
    first, second, third = is_fine(asking(*asked, known, paragraphs=["Water."]), made)
    assert seen == [tmp_path / "blank.png"]
    for one_of, other in ((first, second), (first, third)):
        for pair, same in zip(one_of.pairs, other.pairs, strict=True):
            assert torch.equal(pair.own.flags, same.own.flags)
            assert pair.context.graph == same.context.graph


# odd books


def test_a_chapter_without_text_has_empty_contexts() -> None:
    (example,) = is_fine(asking(Question("q", "Which is it?", ("this", "that"), 0)))
    assert all(pair.found == () and not len(pair.context.nodes.rows) for pair in example.pairs)


@pytest.mark.parametrize("text", ["", "...", "?! -- !"])
def test_a_paragraph_without_a_word_is_read_as_nothing(text: str) -> None:
    for vectors in (HashedVectors(DIM), PlaceVectors()):
        (example,) = is_fine(asking(Question("q", "Is it?", ("this", "that")), paragraphs=[text]), encoder(vectors))
        assert all(not len(pair.context.nodes.rows) for pair in example.pairs)
        assert example.answer == -1


def test_one_paragraph_serves_all_candidates() -> None:
    (example,) = is_fine(asking(Question("q", "Which falls?", ("rain", "snow", "hail"), 0), paragraphs=["Rain falls."]))
    assert {pair.found[0].paragraph.name for pair in example.pairs} == {"p0"}


@pytest.mark.parametrize("count", [1, 12])
def test_there_may_be_1_to_12_choices(count: int) -> None:
    choices = tuple(f"choice {k}" for k in range(count))
    (example,) = is_fine(asking(Question("q", "Which?", choices, count - 1), paragraphs=["Choice 3 it is."]))
    assert len(example.pairs) == count
    assert example.answer == count - 1


@pytest.mark.parametrize(
    ("text", "question", "choice"),
    [
        ("太阳使海水变暖。雨从云中落下。", "什么使海水变暖？", "太阳"),  # noqa: RUF001
        ("الشمس تدفئ البحر. المطر يسقط من الغيوم.", "ما الذي يدفئ البحر؟", "الشمس"),
        ("Ο ήλιος ζεσταίνει τη θάλασσα. Η βροχή πέφτει.", "Τι ζεσταίνει τη θάλασσα;", "Ο ήλιος"),  # noqa: RUF001
        ("Zażółć gęślą jaźń. Café naïve.", "Où est le café?", "Zażółć"),
    ],
    ids=["Chinese", "Arabic", "Greek", "accents"],
)
@pytest.mark.parametrize("parser", ["rules", "window"])
def test_other_languages_are_read(text: str, question: str, choice: str, parser: str) -> None:
    book = asking(Question("q", question, (choice, "x"), 0), paragraphs=["Nothing.", text])
    made = encoder(parser=load_parser(parser))
    (example,) = is_fine(book, made)
    pair = example.pairs[0]
    assert pair.found[0].paragraph.name == "p1"
    assert pair.choice.flags[:, 0].all()
    assert pair.context.nodes.flags[:, 1].any()


@pytest.mark.parametrize("text", ["???", "—", "🌋"])
def test_a_question_or_choice_without_a_word_has_a_stand_in(text: str) -> None:
    book = asking(Question("q", text, (text, "rain"), 0), paragraphs=["Rain falls.", "Snow too."])
    (example,) = is_fine(book)
    assert len(example.pairs[0].question.rows) == len(example.pairs[0].choice.rows) == 1
    assert not example.pairs[0].question.flags.any()


def test_a_very_long_paragraph_is_cut_to_the_nodes_that_are_allowed() -> None:
    text = " ".join(f"The sun warms stone number {k}." for k in range(200))
    made = encoder(nodes=7)
    (example,) = is_fine(asking(Question("q", "What warms stone?", ("sun", "moon")), paragraphs=[text]), made)
    assert all(len(pair.context.nodes.rows) == 7 for pair in example.pairs)


def test_a_book_without_a_lesson_has_no_example() -> None:
    assert encoder().questions(Textbook("none", ())) == []


def test_a_book_without_a_question_has_no_example() -> None:
    assert encoder().questions(asking(paragraphs=["Rain falls."])) == []


def test_the_same_choice_twice_is_read_alike() -> None:
    made = encoder()
    (example,) = is_fine(asking(Question("q", "Which?", ("rain", "rain"), 0), paragraphs=["Rain falls."]), made)
    assert example.pairs[0].choice is example.pairs[1].choice
