"""Sentences, words and stems, in English and other languages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.answer.words import STOP_WORDS, split_sentences, split_words, stem


def texts(sentence: str) -> list[str]:
    return [word.text for word in split_words(sentence)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Ice melts. Water flows!  Is it wet?", ["Ice melts.", "Water flows!", "Is it wet?"]),
        ("Mr. Smith saw 3.5 km of ice, e.g. a glacier.", ["Mr. Smith saw 3.5 km of ice, e.g. a glacier."]),
        ("See Fig. 3 and J. J. Thomson. It is old.", ["See Fig. 3 and J. J. Thomson.", "It is old."]),
        ("Water freezes at 0 C. Then it floats.", ["Water freezes at 0 C.", "Then it floats."]),
        ('"Is it?" he asked. (It was.) Yes', ['"Is it?" he asked.', "(It was.)", "Yes"]),
        ("Rain falls on land.The land dries.", ["Rain falls on land.", "The land dries."]),
        (
            "all small letters. they end too (figure 1.2). so.",
            ["all small letters.", "they end too (figure 1.2).", "so."],
        ),
        ("A title\n\nThe first\nsentence.", ["A title", "The first sentence."]),
        ("Это слово. Вот второе!", ["Это слово.", "Вот второе!"]),
        ("水は氷になる。火は熱い！", ["水は氷になる。", "火は熱い！"]),  # noqa: RUF001
        (" \n ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("The well-known U.S. lake, don't forget, is 1,000.5 m deep (50%).",
         ["the", "well-known", "u.s", "lake", "don't", "forget", "is", "1,000.5", "m", "deep", "50"]),
        ("snake_case -minus- 'quoted' CO2", ["snake", "case", "minus", "quoted", "co2"]),
        ("l\u2019eau d\u2019un état\u2011major", ["l'eau", "d'un", "état-major"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("水は h2o", ["水", "は", "h2o"]),
        ("… — !", []),
    ],
)  # fmt: skip
def test_words(sentence: str, words: list[str]) -> None:
    assert texts(sentence) == words


def test_words_know_where_they_stand() -> None:
    sentence = "Ice — the İce — isn\u2019t Água."
    assert [sentence[start:end] for _, start, end in split_words(sentence)] == [
        "Ice",
        "the",
        "İce",
        "isn\u2019t",
        "Água",
    ]


@pytest.mark.parametrize(
    "forms",
    [
        "layer layers layer's", "move moves moved moving", "use uses used using", "stop stopped stopping", "city cities",
        "class classes", "virus viruses", "study studied studies studying", "gas gases", "melt melted melting", "die died dying",
        "produce produces produced producing", "create created creating", "alga algae", "leaf leaves", "add added adding",
        "calorie calories", "species", "tie ties tied",
    ],
)  # fmt: skip
def test_forms_of_a_word_share_a_stem(forms: str) -> None:
    assert len({stem(form) for form in forms.split()}) == 1


def test_stems_keep_other_words_apart() -> None:
    apart = [
        "plane",
        "plan",
        "hottest",
        "hot",
        "thing",
        "this",
        "bus",
        "ring",
        "red",
        "feed",
        "organ",
        "organism",
        "one",
        "on",
    ]
    assert len({stem(word) for word in apart}) == len(apart)
    assert [stem(word) for word in ("layers", "hottest", "moving", "вода", "")] == [
        "layer",
        "hottest",
        "move",
        "вода",
        "",
    ]


def test_stop_words_are_words_of_this_module() -> None:
    assert all(texts(word) == [word] for word in STOP_WORDS)
    assert not STOP_WORDS & {"water", "layer", "hot", "not-so"}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_taken_apart(text: str) -> None:
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    words = split_words(text)
    assert all(word.text and 0 <= word.start < word.end <= len(text) for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))
    for word in words:
        stem(word.text)
