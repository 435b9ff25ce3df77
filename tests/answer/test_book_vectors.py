"""Vectors fitted on a book against the formula written out, and what they are good for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from tenfold.answer.book_vectors import fit_book_vectors
from tenfold.answer.vectors import StaticVectors
from tenfold.core.errors import UsageError

SENTENCES = [
    ["the", "Sun", "warms", "the", "earth"],
    ["the", "moon", "circles", "the", "earth"],
    ["plants", "need", "sun"],
    ["earth", "circles", "the", "sun"],
]


def information(sentences: list[list[str]], words: tuple[str, ...], window: int) -> np.ndarray:
    """Positive pointwise mutual information by its definition, one pair of words after another."""
    pairs: Counter[tuple[str, str]] = Counter()
    for sentence in sentences:
        text = [word.lower() for word in sentence]
        for i, word in enumerate(text):
            for j in range(max(0, i - window), min(len(text), i + window + 1)):
                if i != j:
                    pairs[word, text[j]] += 1
    total = sum(pairs.values())
    of_word = {word: sum(pairs[word, other] for other in words) / total for word in words}
    smoothed = {word: (of_word[word] * total) ** 0.75 for word in words}
    of_neighbour = {word: smoothed[word] / sum(smoothed.values()) for word in words}
    found = np.zeros((len(words), len(words)))
    for (word, other), count in pairs.items():
        row, column = words.index(word), words.index(other)
        found[row, column] = max(0, np.log(count / total / (of_word[word] * of_neighbour[other])))
    return found


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("window", [1, 2, 9])
def test_vectors_are_the_factors_of_the_positive_mutual_information(window: int) -> None:
    found = fit_book_vectors(SENTENCES, dim=4, window=window)
    assert found.words[:3] == ("the", "earth", "sun")
    left, values, _ = np.linalg.svd(information(SENTENCES, found.words, window))
    expected = left[:, :4] * np.sqrt(values[:4])
    assert np.allclose(cosines(found.table.double().numpy()), cosines(expected), atol=1e-5)
    assert torch.allclose(found.table.square().mean(1), torch.ones(len(found.words)))


def many_sentences(words: int = 700) -> list[list[str]]:
    random = np.random.default_rng(0)
    topics = [[f"w{topic}x{place}" for place in range(words // 10)] for topic in range(10)]
    return [list(random.choice(topics[place % 10], 12)) for place in range(1500)]


def nearest_is_of_the_topic(found: StaticVectors) -> float:
    alike = found.table @ found.table.T
    alike.fill_diagonal_(-torch.inf)
    topics = [word.split("x")[0] for word in found.words]
    return sum(topics[row] == topics[int(best)] for row, best in enumerate(alike.argmax(1))) / len(topics)


def test_a_large_vocabulary_is_factored_alike_each_time_and_words_of_a_topic_are_near() -> None:
    sentences = many_sentences()
    first, again = fit_book_vectors(sentences, dim=10), fit_book_vectors(sentences, dim=10)
    assert len(first.words) > 600
    assert torch.equal(first.table, again.table)
    assert nearest_is_of_the_topic(first) > 0.95
    other = fit_book_vectors(sentences, dim=10, seed=1)
    assert torch.allclose(first.table, other.table, atol=1e-3)  # signs and order do not depend on the start


def test_both_ways_of_factoring_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = many_sentences()
    few = fit_book_vectors(sentences, dim=10)
    monkeypatch.setattr("tenfold.answer.book_vectors._DENSE", 10_000)
    assert torch.allclose(few.table, fit_book_vectors(sentences, dim=10).table, atol=1e-3)


def test_a_small_book_has_zeros_in_the_columns_that_say_nothing() -> None:
    found = fit_book_vectors([["hot", "lava"]], dim=8)
    assert found.dim == 8
    assert int((found.table != 0).any(0).sum()) == 2
    assert torch.allclose(found.table.square().mean(1), torch.ones(2))


@pytest.mark.parametrize("words", [1, 700])
def test_words_without_company_get_zeros(words: int) -> None:
    found = fit_book_vectors([[f"word{place}"] for place in range(words)], dim=3)
    assert found.table.shape == (words, 3)
    assert not found.table.any()


def test_no_window_reaches_beyond_its_sentence() -> None:
    apart = fit_book_vectors([["a", "b"], ["c", "d"]], dim=4, window=9)
    a, b, c, d = apart.of([["a", "b", "c", "d"]])[0]
    assert abs(float(a @ c)) < 1e-5
    assert abs(float(b @ d)) < 1e-5


def test_rare_words_are_left_out_and_keep_their_places() -> None:
    sentences = [["a", "rare", "b"], ["a", "b"], ["c", "a"], ["c", "b"]]
    found = fit_book_vectors(sentences, least=2, window=1)
    assert found.words == ("a", "b", "c")
    joined = fit_book_vectors([["a", "b"], *sentences[1:]], window=1)
    assert not torch.allclose(found.table, joined.table, atol=1e-3)


@pytest.mark.parametrize("setting", ["dim", "window", "least"])
def test_settings_out_of_range_are_refused(setting: str) -> None:
    with pytest.raises(UsageError, match=f"{setting} is 0, but must be at least 1"):
        fit_book_vectors(SENTENCES, **{setting: 0})


def test_a_book_without_words_is_refused() -> None:
    with pytest.raises(UsageError, match="no word that occurs 9 times"):
        fit_book_vectors(SENTENCES, least=9)
    with pytest.raises(UsageError, match="no word that occurs 1 times"):
        fit_book_vectors([[], []])
