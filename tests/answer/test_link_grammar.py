"""link-grammar: its linkages read, its failures survived, and nothing but words given to it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tenfold.answer.link_grammar import LinkGrammarParser
from tenfold.answer.parsing import load_parser
from tenfold.answer.rules import RuleParser
from tenfold.answer.words import split_words
from tenfold.core.errors import UsageError

needs_program = pytest.mark.skipif(shutil.which("link-parser") is None, reason="link-parser is not installed")

# what the program prints, of the links that are not of walls: one of two words, and one of words that only a comma joins
ICE = """Ice melts .
[(LEFT-WALL)(ice.n-u)(melts.v)(.)(RIGHT-WALL)]
[[0 3 0 (Xp)][0 1 0 (Wd)][1 2 0 (Ss)][3 4 0 (RW)]]
[0]

"""
LIST = """It's an ice , of U.S rock ?
[(LEFT-WALL)(it)('s.v)(an)(ice[!].n-u)(,)(of)(U.S[!])([rock])
(?)(RIGHT-WALL)]
[[0 9 0 (Xp)][1 2 0 (Ss)][2 4 0 (Os)][3 4 0 (Ds)][3 6 0 (PHv)][2 5 0 (MX)][5 7 0 (Xd)]
[6 7 0 (J)][9 10 0 (RW)]]
[0]

"""


def program(folder: Path, *, prints: str = "", then: str = "") -> str:
    """A program that prints this and ends, or does something else then; to the trial sentence it answers as it should."""
    (folder / "ice").write_text(ICE)
    (folder / "prints").write_text(prints)
    path = folder / "parser"
    path.write_text(
        f"#!/bin/sh\ncat > '{folder}/given'\n"
        f"if [ \"$(cat '{folder}/given')\" = 'Ice melts .' ]; then exec cat '{folder}/ice'; fi\n"
        f"cat '{folder}/prints'\n{then}\n"
    )
    path.chmod(0o755)
    return str(path)


def test_linkages_are_read_as_links_between_words(tmp_path: Path) -> None:
    parser = LinkGrammarParser(program(tmp_path, prints="limit set to 100\n" + LIST + ICE))
    it, ice = parser.by_program(["“It's an ice (of U.S. rock)?", "Ice melts."])
    assert it is not None
    assert it.words == ("it's", "an", "ice", "of", "u.s", "rock")
    assert it.links == ((0, 2), (0, 4), (1, 2), (3, 4), (4, 5)), "rock, which has no link, is joined to the word before"
    assert ice == (("ice", "melts"), ((0, 1),))


def test_a_word_of_two_tokens_has_the_links_of_both(tmp_path: Path) -> None:
    printed = "it's ice .\n[(LEFT-WALL)(it)('s.v)(ice.n)(.)(RIGHT-WALL)]\n[[1 2 0 (Ss)][2 3 0 (Os)]]\n[0]\n"
    (parse,) = LinkGrammarParser(program(tmp_path, prints=printed)).by_program(["it's ice"])
    assert parse == (("it's", "ice"), ((0, 1),))


@pytest.mark.parametrize(
    "printed",
    [
        "The hot rock melts .\n\n",
        "",
        "\udcff",
        "The hot rock melts .\n[(LEFT-WALL)(the)(cold)(rock)(melts)(.)(RIGHT-WALL)]\n[[1 2 0 (D)]]\n[0]\n",
        "The hot rock melts .\n[(LEFT-WALL)(the)(hot)(rock)]\n[[1 2 0 (D)]]\n[0]\n",
        "The hot rock melts .\n[(LEFT-WALL)(the)(hot)(rock)(melts)(.)(too)(many)]\n[[1 2 0 (D)]]\n[0]\n",
        "The hot rock melts .\n[(LEFT-WALL)(the)(hot)(rock)(melts)(.)]\n[[1 99 0 (D)]]\n[0]\n",
        "The hot rock melts .\n[(LEFT-WALL)(the)(ho",
    ],
)
def test_what_is_no_linkage_of_the_words_is_left_to_the_rules(tmp_path: Path, printed: str) -> None:
    parser = LinkGrammarParser(program(tmp_path, prints=printed.encode(errors="replace").decode()))
    assert parser.by_program(["The hot rock melts."]) == [None]
    assert parser(["The hot rock melts."]) == RuleParser()(["The hot rock melts."])


@pytest.mark.parametrize("then", ["exec sleep 60", "kill -9 $$", "exit 3"])
def test_a_program_that_hangs_or_dies_loses_the_rest_of_its_chunk_alone(tmp_path: Path, then: str) -> None:
    parser = LinkGrammarParser(program(tmp_path, prints=ICE, then=then), chunk=3, patience=1.0)
    sentences = ["Ice melts.", "Rock melts.", "Rain falls on rock.", "Ice melts."]
    start = time.monotonic()
    assert [parse is not None for parse in parser.by_program(sentences)] == [True, False, False, True]
    assert time.monotonic() - start < 8
    assert parser(sentences)[1:3] == RuleParser()(sentences[1:3])


def test_only_words_and_plain_marks_are_given_to_it(tmp_path: Path) -> None:
    parser = LinkGrammarParser(program(tmp_path), longest=6)
    parser(
        [
            "!file /etc/passwd",
            "%comment\n!exit",
            "70% (of) it; \x00\x1b[2J\u2028!width=1",
            " !!\t!",
            "",
            "one two three four five six seven",
            "a" * 61,
            "“Why?”",
        ]
    )
    given = (tmp_path / "given").read_text().splitlines()
    assert given == [
        "file , etc , passwd .",
        "comment , exit .",
        "70 % of , it ; 2J , width , 1 .",
        "Why ?",
    ]


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(UsageError, match=r"no-such-parser is not installed.*Debian's package link-grammar"):
        LinkGrammarParser("no-such-parser")


def test_a_program_without_its_dictionary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "parser"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    with pytest.raises(UsageError, match="link-grammar-dictionaries-en"):
        LinkGrammarParser(str(path))
    path.write_bytes(b"\x7fELFbroken")
    with pytest.raises(UsageError, match="cannot be started"):
        LinkGrammarParser(str(path))


@pytest.mark.parametrize("wrong", [{"longest": 0}, {"chunk": 0}, {"patience": 0.0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is 0"):
        LinkGrammarParser(program(tmp_path), **wrong)


@needs_program
def test_the_program_parses() -> None:
    sentences = ["The hot water melts the ice.", "!help", "The layer, which is hot, isn't deep.", "", "of the the and"]
    parser = load_parser("link-grammar")
    assert isinstance(parser, LinkGrammarParser)
    parses = parser(sentences)
    assert [parse.words for parse in parses] == [tuple(w.text for w in split_words(each)) for each in sentences]
    assert parses[0].links == ((0, 2), (1, 2), (2, 3), (3, 5), (4, 5))
    own = parser.by_program(sentences)
    assert own[:1] == parses[:1]
    assert own[2] is not None
    assert own[3:] == [None, None]
    assert parser([]) == []
