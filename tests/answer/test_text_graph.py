"""The graph of a text around what is asked."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.answer.parsing import Parse, parse_of
from tenfold.answer.text_graph import TextGraph, text_graph
from tenfold.core.errors import UsageError

CHAIN = Parse(("the", "big", "layers", "of", "hot", "rock", "melt"), tuple((i, i + 1) for i in range(6)))
STAR = Parse(("ice", "is", "cold"), ((0, 1), (1, 2)))


def test_words_near_an_anchor_are_kept() -> None:
    assert text_graph([CHAIN, STAR], ["rock"], reach=2) == TextGraph(
        words=("of", "hot", "rock", "melt"),
        links=((0, 1), (1, 2), (2, 3)),
        anchors=(2,),
        sentence=(0, 0, 0, 0),
        position=(3, 4, 5, 6),
    )


def test_anchors_are_words_of_the_same_stem_and_no_stop_words() -> None:
    graph = text_graph([CHAIN, STAR], ["layer", "the", "is", "of", "ices"], reach=0)
    assert graph == TextGraph(("layers", "ice"), (), (0, 1), (0, 1), (2, 0))


@pytest.mark.parametrize(("asked", "word"), [("likes", "like"), ("like", "likes")])
def test_a_stop_word_is_never_an_anchor_nor_makes_one(asked: str, word: str) -> None:
    assert text_graph([Parse((word, "ice"), ((0, 1),))], [asked]).anchors == ()


def test_distances_are_to_the_nearest_anchor_and_within_a_sentence() -> None:
    graph = text_graph([STAR, CHAIN, STAR], ["big", "cold"], reach=1)
    assert graph.words == ("is", "cold", "the", "big", "layers", "is", "cold")
    assert graph.links == ((0, 1), (2, 3), (3, 4), (5, 6))
    assert graph.sentence == (0, 0, 1, 1, 1, 2, 2)
    assert graph.position == (1, 2, 0, 1, 2, 1, 2)
    assert graph.anchors == (1, 3, 6)


@pytest.mark.parametrize("asked", [[], ["the", "of"], ["volcano"]])
def test_without_an_anchor_the_whole_paragraph_is_kept(asked: list[str]) -> None:
    graph = text_graph([CHAIN, STAR], asked, reach=0)
    assert graph.words == CHAIN.words + STAR.words
    assert graph.links == (*CHAIN.links, (7, 8), (8, 9))
    assert graph.anchors == ()
    assert text_graph([CHAIN, STAR], asked, most=3).words == ("the", "big", "layers")


def test_of_too_many_words_the_nearest_and_first_are_kept() -> None:
    graph = text_graph([CHAIN, STAR], ["hot", "cold"], reach=9, most=4)
    assert graph.words == ("of", "hot", "rock", "cold"), "anchors, then the first of those one link away"
    assert graph.links == ((0, 1), (1, 2))
    assert text_graph([CHAIN, STAR], ["hot", "cold"], most=1) == TextGraph(("hot",), (), (0,), (0,), (4,))


def test_nothing_has_an_empty_graph() -> None:
    assert text_graph([], ["rock"]) == TextGraph((), (), (), (), ())
    assert text_graph([Parse((), ())], []) == TextGraph((), (), (), (), ())


@pytest.mark.parametrize("wrong", [{"reach": -1}, {"most": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is .* must be at least"):
        text_graph([STAR], ["ice"], **wrong)


def some_parses(seed: int) -> list[Parse]:
    chance = random.Random(seed)
    sizes = [chance.randint(0, 8) for _ in range(chance.randint(0, 5))]
    vocabulary = ["ice", "rock", "layers", "melt", "hot", "the", "of", "is", "water"]
    return [
        parse_of([chance.choice(vocabulary) for _ in range(size)], [(chance.randrange(i), i) for i in range(1, size)])
        for size in sizes
    ]


def places(graph: TextGraph) -> list[tuple[int, int]]:
    return list(zip(graph.sentence, graph.position, strict=True))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 4), st.integers(1, 12))
def test_a_longer_reach_and_a_larger_graph_keep_what_there_was(seed: int, reach: int, most: int) -> None:
    parses = some_parses(seed)
    graph = text_graph(parses, ["ice", "layer"], reach=reach)
    if graph.anchors:
        assert set(places(graph)) <= set(places(text_graph(parses, ["ice", "layer"], reach=reach + 1)))
    few = text_graph(parses, ["ice", "layer"], reach=reach, most=most)
    assert set(places(few)) <= set(places(text_graph(parses, ["ice", "layer"], reach=reach, most=most + 1)))
    assert len(few.words) == min(most, len(graph.words))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_the_order_of_the_sentences_only_renames_the_nodes(seed: int, reach: int) -> None:
    parses = some_parses(seed)
    order = list(range(len(parses)))
    random.Random(seed).shuffle(order)
    graph = text_graph(parses, ["ice", "layer"], reach=reach)
    moved = text_graph([parses[old] for old in order], ["ice", "layer"], reach=reach)
    back = [(order[sentence], at) for sentence, at in places(moved)]
    assert sorted(back) == places(graph) == sorted(places(graph))
    assert {back[i]: moved.words[i] for i in range(len(back))} == dict(zip(places(graph), graph.words, strict=True))
    assert {frozenset((back[i], back[j])) for i, j in moved.links} == {
        frozenset((places(graph)[i], places(graph)[j])) for i, j in graph.links
    }
    assert {back[i] for i in moved.anchors} == {places(graph)[i] for i in graph.anchors}
