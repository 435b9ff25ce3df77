"""Parsers by name, whole parses, and the cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.answer.parsing import Parse, ParseCache, WindowParser, load_parser, parse_of
from tenfold.core.errors import UsageError


class Counting(WindowParser):
    """A window parser that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        self.asked += sentences
        return super().__call__(sentences)


def test_a_window_links_each_word_with_its_next() -> None:
    assert load_parser("window")(["Вода течёт вниз.", "", "One"]) == [
        Parse(("вода", "течёт", "вниз"), ((0, 1), (1, 2))),
        Parse((), ()),
        Parse(("one",), ()),
    ]


def test_parsers_have_the_names_they_are_loaded_by() -> None:
    assert [load_parser(name).name for name in ("rules", "window")] == ["rules", "window"]


@pytest.mark.parametrize("name", ["", "stanford", "spacy", "spacy:", "Rules"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="must be one of rules, link-grammar, window or spacy:PIPELINE"):
        load_parser(name)


def test_links_are_put_in_order_and_joined() -> None:
    parse = parse_of(["a", "b", "c", "d"], [(3, 2), (2, 3), (1, 1), (2, 0)])
    assert parse.links == ((0, 1), (0, 2), (2, 3))


@settings(deadline=None)
@given(
    st.integers(0, 9).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, max(n - 1, 0))] * 2)))
    )
)
def test_parses_are_connected(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, links = case
    parse = parse_of(["w"] * count, links if count else [])
    assert {(min(pair), max(pair)) for pair in links if pair[0] != pair[1]} <= set(parse.links)
    reached, waiting = {0}, [0]
    for place in waiting:
        near = {other for pair in parse.links if place in pair for other in pair} - reached
        reached |= near
        waiting += near
    assert len(reached) == max(count, 1)


def test_each_sentence_is_parsed_once() -> None:
    parser = Counting()
    cache = ParseCache(parser)
    assert cache(["Ice melts.", "It flows.", "Ice melts."]) == WindowParser()(["Ice melts.", "It flows.", "Ice melts."])
    cache(["It flows.", "New one."])
    assert parser.asked == ["Ice melts.", "It flows.", "New one."]
    assert (cache.hits, cache.misses, cache.name) == (2, 3, "window")


def test_parses_are_kept_in_a_file(tmp_path: Path) -> None:
    sentences = ["Ice melts.", "Лёд \ud800 тает.\n", ""]
    first = ParseCache(WindowParser(), tmp_path / "new")(sentences)
    parser = Counting()
    assert ParseCache(parser, tmp_path / "new")(sentences) == first
    assert parser.asked == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["window.jsonl"]


def test_names_of_files_stay_in_the_folder(tmp_path: Path) -> None:
    parser = Counting()
    parser.name = "spacy:../../some/where"
    ParseCache(parser, tmp_path / "cache")(["Ice melts."])
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(
    "line",
    [
        b'["Ice melts.", ["ice", "mel',
        b'["Ice melts.", ["ice", "melts"], [[0, 2]]]',
        b'["Ice melts.", ["ice", "melts"], [[-1, 1]]]',
        b'["Ice melts.", ["ice", "melts"], [[0, true]]]',
        b'["Ice melts.", ["ice", "melts"], [[1, 0]]]',
        b'["Ice melts.", ["ice"], []]',
        b'["Ice melts.", ["ice", 3], []]',
        b'{"Ice melts.": 1}',
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b"7",
    ],
)
def test_damaged_lines_are_passed_over(tmp_path: Path, line: bytes) -> None:
    good = json.dumps(["It flows.", ["it", "flows"], [[0, 1]]]).encode()
    (tmp_path / "window.jsonl").write_bytes(good + b"\n" + line)
    parser = Counting()
    expected = WindowParser()(["Ice melts.", "It flows."])
    assert ParseCache(parser, tmp_path)(["Ice melts.", "It flows."]) == expected
    assert parser.asked == ["Ice melts."]
    again = Counting()
    assert ParseCache(again, tmp_path)(["Ice melts.", "It flows."]) == expected
    assert again.asked == [], "a line after one that was cut off is lost"


def test_several_may_add_to_a_file_at_once(tmp_path: Path) -> None:
    def add(number: int) -> None:
        for part in range(20):
            ParseCache(WindowParser(), tmp_path)([f"Sentence {number} of {part}."])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    parser = Counting()
    ParseCache(parser, tmp_path)([f"Sentence {number} of {part}." for number in range(4) for part in range(20)])
    assert parser.asked == []


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"taken.*cannot be written to"):
        ParseCache(WindowParser(), tmp_path / "taken")(["Ice melts."])
