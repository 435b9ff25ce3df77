"""How fast `answer` reads, learns and answers, on one thread, and where the time goes.

    python benchmarks/answer_speed.py --parsers rules link-grammar --repeats 3

Prints seconds for each step of making examples of a book's questions, with the parser's sentences known and not; questions and lessons
a second; seconds for an epoch of each stage, with and without the graph; and the same for TF-IDF alone, which is the rival to beat.
Medians over the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from tenfold.answer import Textbook
from tenfold.answer.config import ContextSettings, FitSettings, NetSettings, ReaderSettings, SsocSettings
from tenfold.answer.examples import Encoder
from tenfold.answer.fitting import Stage, answer_all, answer_stage, learn, make_optimizer
from tenfold.answer.parsing import ParseCache, load_parser
from tenfold.answer.reader import make_solver
from tenfold.answer.retrieval import Retrieval, query
from tenfold.answer.vectors import load_vectors
from tenfold.answer.word_bank import WordBank
from tenfold.answer.words import split_sentences


def main() -> None:
    """Measure, and print one block for each parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--book", type=Path, help="file or folder; the embedded book where none is named")
    parser.add_argument("--split", help="train, val or test, where the book has several")
    parser.add_argument("--parsers", nargs="+", default=["rules"], help="rules, window, link-grammar, spacy:NAME")
    parser.add_argument("--paragraphs", type=int, default=1, help="paragraphs of a context")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    book = Textbook.embedded() if given.book is None else Textbook.load(given.book, given.split)
    questions = sum(book.counts.values())
    print(f"{book.name}: {len(book.lessons)} lessons, {questions} questions; one thread, medians of {given.repeats}")
    retrieval_alone = median(given.repeats, lambda: look_up(book))
    print(f"tf-idf alone: {retrieval_alone:.2f} s, {questions / retrieval_alone:,.0f} questions/s\n")
    for name in given.parsers:
        report(book, name, given.paragraphs, given.repeats)


def report(book: Textbook, name: str, paragraphs: int, repeats: int) -> None:
    """Print one parser's block."""
    settings = ReaderSettings(context=ContextSettings(parser=name, paragraphs=paragraphs), ssoc=SsocSettings())
    questions, lessons = sum(book.counts.values()), len(book.lessons)
    sentences = [one for lesson in book.lessons for each in lesson.paragraphs for one in split_sentences(each.text)]
    parse = median(repeats, lambda: load_parser(name)(sentences))
    cold = median(repeats, lambda: fresh(settings).questions(book))
    cache = ParseCache(load_parser(name))
    cache(sentences)
    warm = median(repeats, lambda: fresh(settings, cache).questions(book))
    print(
        f"parser {name}: {parse:.2f} s for all {len(sentences)} sentences, {1000 * parse / len(sentences):.2f} ms each"
    )
    print(f"  examples, nothing parsed yet: {cold:.2f} s, {1000 * cold / lessons:.0f} ms a lesson")
    print(f"  examples, parses known:       {warm:.2f} s, {1000 * warm / lessons:.0f} ms a lesson")
    for graph in ("f-gcn1", "none"):
        net = NetSettings(graph=graph)  # type: ignore[arg-type]
        own = replace(settings, net=net)
        encoder = fresh(own, cache)
        examples, groups = encoder.questions(book), encoder.comprehension(book, own.ssoc)
        solver = make_solver(own, encoder.bank.vectors.dim, 0)
        solver.features.read_from(encoder.bank)
        stages = {
            "answers": answer_stage(examples, own.fit),
            "comprehension": Stage("comprehension", groups, 1, own.ssoc.learning_rate),
        }
        for stage, what in stages.items():
            optimizer = make_optimizer(solver, FitSettings())
            seconds = median(repeats, lambda: learn(solver, optimizer, what, range(1), own.fit, seed=0))  # noqa: B023
            print(
                f"  graph {graph}: an epoch of {stage} {seconds:.2f} s, {1000 * seconds / len(what.groups):.1f} ms a question"
            )
        network = median(repeats, lambda: answer_all(solver, examples))  # noqa: B023
        print(f"  graph {graph}: network alone {questions / network:,.0f} questions/s", end="; ")
        print(
            f"all, parsed before {questions / (network + warm):,.0f}, not parsed before {questions / (network + cold):,.0f}"
        )
    print()


def fresh(settings: ReaderSettings, cache: ParseCache | None = None) -> Encoder:
    """An encoder that has read nothing yet."""
    vectors = load_vectors(settings.words.vectors, dim=settings.words.dim)
    return Encoder(WordBank(vectors), cache or load_parser(settings.context.parser), settings.context)


def look_up(book: Textbook) -> None:
    """Find the best paragraph of every candidate."""
    asked = [query(lesson, question, k) for lesson, question in book.pairs() for k in range(len(question.choices))]
    Retrieval(book).best(asked, 1)


def median(repeats: int, work: Callable[[], object]) -> float:
    """Seconds."""
    return statistics.median(list(timed(repeats, work)))


def timed(repeats: int, work: Callable[[], object]) -> Iterator[float]:
    """Seconds of each repetition."""
    for _ in range(repeats):
        with stopwatch() as seconds:
            work()
        yield seconds[0]


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """A list that has the seconds in it after the body."""
    seconds: list[float] = []
    start = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - start)


if __name__ == "__main__":
    main()
