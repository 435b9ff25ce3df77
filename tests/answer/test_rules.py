"""The parser of rules: hand-made trees of textbook sentences, and a tree of any text."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenfold.answer.lexicon import candidates
from tenfold.answer.rules import RuleParser
from tenfold.answer.tagging import tag_words
from tenfold.answer.words import split_words

WORDS = """the a ice rocks it of in to is has can be not melt melts formed melted melting slowly and when that hot 5 , ; ? such
    which been because as does very"""
TREES = {
    "The hot water melts ice.": "the-water hot-water water-melts melts-ice",
    "Plants make food in their green leaves.": "plants-make make-food make-in in-leaves their-leaves green-leaves",
    "The color of a mineral is not a good clue.":
        "the-color color-is color-of of-mineral a-mineral is-not is-clue a-clue good-clue",
    "Rocks formed by heat are very hard.": "rocks-are rocks-formed formed-by by-heat are-hard very-hard",
    "Rain does not quickly erode hard rock.": "rain-erode does-erode not-erode quickly-erode erode-rock hard-rock",
    "Cells have been found in ice.": "cells-found have-found been-found found-in in-ice",
    "Animals that eat plants are herbivores.": "animals-are animals-eat that-eat eat-plants are-herbivores",
    "The layer in which rocks melt is hot.": "the-layer layer-is layer-in in-which layer-melt rocks-melt is-hot",
    "When water freezes, it expands and breaks rocks.":
        "when-freezes water-freezes freezes-expands it-expands expands-and expands-breaks breaks-rocks",
    "Scientists think that the moon formed slowly.":
        "scientists-think think-formed that-formed the-moon moon-formed formed-slowly",
    "Ice melts and water flows.": "ice-melts melts-and melts-flows water-flows",
    "Rivers carry sand and mud to the sea.": "rivers-carry carry-sand sand-and sand-mud carry-to to-sea the-sea",
    "In winter, water freezes.": "in-freezes in-winter water-freezes",
    "Plants use sunlight to make sugar.": "plants-use use-sunlight use-make to-make make-sugar",
    "What causes earthquakes?": "what-causes causes-earthquakes",
    "The hot and dry desert is large.": "the-desert hot-desert hot-and hot-dry desert-is is-large",
    "Oxygen is a gas that we need.": "oxygen-is is-gas a-gas gas-need that-need we-need",
    "Ice is a layer on water.": "ice-is is-layer a-layer layer-on on-water",
    "Ice covers the land in winter.": "ice-covers covers-land the-land covers-in in-winter",
    "Only about 5 percent of species are extinct.":
        "only-percent about-5 5-percent percent-of of-species percent-are are-extinct",
}  # fmt: skip


@pytest.mark.parametrize("sentence", list(TREES))
def test_trees_of_simple_sentences(sentence: str) -> None:
    (parse,) = RuleParser()([sentence])
    found = {frozenset((parse.words[one], parse.words[other])) for one, other in parse.links}
    assert found == {frozenset(pair.split("-")) for pair in TREES[sentence].split()}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(WORDS.split()),
        max_size=25,
    ).map(" ".join)
    | st.text(max_size=60)
)
@example("and and and")
@example("to")
@example("that that that that is is is")
def test_any_text_gets_a_tree(text: str) -> None:
    (parse,) = RuleParser()([text])
    assert parse.words == tuple(word.text for word in split_words(text))
    assert len(parse.links) == max(0, len(parse.words) - 1)
    part = list(range(len(parse.words)))
    for one, other in parse.links:
        assert one < other
        assert part[one] != part[other], "a ring"
        part = [part[one] if each == part[other] else each for each in part]


def test_long_sentences_are_parsed_too() -> None:
    (parse,) = RuleParser()(["the ice that melts and " * 400])
    assert len(parse.links) == len(parse.words) - 1 == 1999


@pytest.mark.parametrize(
    ("sentence", "tags"),
    [
        ("the rock forms", "DNB"),
        ("rocks form slowly", "MVR"),
        ("it can form rocks", "PUVM"),
        ("plants need to form a seed", "MVTVDN"),
        ("the forms of rock", "DMIN"),
        ("melted rock is called magma", "ANXEN"),
        ("water freezes to ice", "NBIN"),
        ("the planet that we study", "DNWPV"),
    ],
)
def test_neighbours_decide_what_a_word_is(sentence: str, tags: str) -> None:
    words = sentence.split()
    assert "".join(tag_words(words, [False] * len(words))) == tags


def test_every_word_can_be_something() -> None:
    for word in ("xyzzy", "7", "вода", "a", "'s", "s", "ed", "ing", "ly", "3rd", "qqqs"):
        assert candidates(word)
        assert all(cost >= 0 for _, cost in candidates(word))
