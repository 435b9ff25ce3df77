"""How fast the parsers of `answer` are, and how far those without a model agree with link-grammar, on a book's sentences.

    python benchmarks/answer_parsers.py
    python benchmarks/answer_parsers.py --book tqa_v1_val.json --limit 2000 --parsers rules link-grammar spacy:en_core_web_sm

Precision is the share of a parser's links that link-grammar has too, and recall that of link-grammar's links that the parser has,
on the sentences that link-grammar parses itself. Links between content words are those with no stop word at either end. The two
follow different customs (a subject's link is to the main verb here, to the auxiliary there), so that neither can be 1.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tenfold.answer.link_grammar import LinkGrammarParser
from tenfold.answer.parsing import PARSERS, DependencyParser, Parse, ParseCache, load_parser
from tenfold.answer.textbook import Textbook
from tenfold.answer.words import STOP_WORDS, split_sentences
from tenfold.core.errors import UsageError


def sentences_of(book: Textbook, limit: int | None, seed: int) -> list[str]:
    """The different sentences of a book's paragraphs; with a limit, that many of them, drawn at random."""
    paragraphs = [paragraph.text for lesson in book.lessons for paragraph in lesson.paragraphs]
    found = list(dict.fromkeys(sentence for text in paragraphs for sentence in split_sentences(text)))
    return found if limit is None or limit >= len(found) else random.Random(seed).sample(found, limit)


def speeds(parser: DependencyParser, sentences: Sequence[str]) -> tuple[float, float, float]:
    """Sentences per second: parsed, from the cache's memory, and from its file (the first call of a new process)."""
    with tempfile.TemporaryDirectory() as folder:
        cache = ParseCache(parser, Path(folder))
        first, again = _seconds(cache, sentences), _seconds(cache, sentences)
        read = _seconds(ParseCache(parser, Path(folder)), sentences)
    return len(sentences) / first, len(sentences) / again, len(sentences) / read


def _seconds(parser: DependencyParser, sentences: Sequence[str]) -> float:
    start = time.perf_counter()
    parser(sentences)
    return time.perf_counter() - start


def agreement(parses: Sequence[Parse], others: Sequence[Parse], *, content: bool = False) -> tuple[float, float]:
    """(precision, recall) of the links of `parses` against those of `others`, of all words or of content words alone."""
    common = ours = theirs = 0
    for parse, other in zip(parses, others, strict=True):
        mine, its = _links(parse, content), _links(other, content)
        common += len(mine & its)
        ours += len(mine)
        theirs += len(its)
    return common / max(ours, 1), common / max(theirs, 1)


def _links(parse: Parse, content: bool) -> set[tuple[int, int]]:
    return {
        (one, other)
        for one, other in parse.links
        if not content or not STOP_WORDS & {parse.words[one], parse.words[other]}
    }


def main() -> None:
    """Print a table of the parsers that there are."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--book", type=Path, help="anything that Textbook.load takes; without it, the embedded book")
    arguments.add_argument("--limit", type=int, help="sentences, at most")
    arguments.add_argument("--parsers", nargs="+", default=list(PARSERS), help="names that load_parser takes")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    book = Textbook.embedded() if given.book is None else Textbook.load(given.book)
    sentences = sentences_of(book, given.limit, given.seed)
    parsers = []
    for name in given.parsers:
        try:
            parsers.append(load_parser(name))
        except (UsageError, ModuleNotFoundError) as error:
            print(f"{name} is left out: {error}")
    print(
        f"{len(sentences)} sentences of {book.name}\n\n{'sentences per second':20} {'parsed':>9} {'memory':>9} {'file':>9}"
    )
    for parser in parsers:
        print(f"{parser.name:20}", *(f"{speed:9,.0f}" for speed in speeds(parser, sentences)))
    for judge in parsers:
        if isinstance(judge, LinkGrammarParser):
            print_agreement(judge, [parser for parser in parsers if parser is not judge], sentences)


def print_agreement(judge: LinkGrammarParser, parsers: Sequence[DependencyParser], sentences: Sequence[str]) -> None:
    """Print precision and recall of each parser against the judge."""
    judged = [
        (sentence, parse) for sentence, parse in zip(sentences, judge.by_program(sentences), strict=True) if parse
    ]
    print(f"\nlink-grammar parses {len(judged)} of them itself; of the links there, in per cent")
    print(f"{'':20} {'precision':>9} {'recall':>9} {'content words: precision':>26} {'recall':>9}")
    others = [parse for _, parse in judged]
    for parser in parsers:
        parses = parser([sentence for sentence, _ in judged])
        (precision, recall), (content_precision, content_recall) = (
            agreement(parses, others, content=content) for content in (False, True)
        )
        print(
            f"{parser.name:20} {100 * precision:9.1f} {100 * recall:9.1f} {100 * content_precision:26.1f} {100 * content_recall:9.1f}"
        )


if __name__ == "__main__":
    main()
