"""Looking words up, random vectors, and the loader of all kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tenfold.answer.vectors import HashedVectors, StaticVectors, load_vectors, spellings
from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.errors import UsageError

TABLE = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0], [8.0, 0.0]])


def vectors() -> StaticVectors:
    return StaticVectors("small", ["sun", "Sun", "moon", "x-ray"], TABLE)


def test_each_text_has_a_row_for_each_word_in_its_order() -> None:
    first, none, second = vectors().of([["moon", "sun", "moon"], [], ["Sun"]])
    assert first.tolist() == [[4, 4], [1, 0], [4, 4]]
    assert none.shape == (0, 2)
    assert second.tolist() == [[0, 2]]
    assert first.dtype == none.dtype == torch.float32


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("MOON", [4, 4]),
        ("x-ray", [8, 0]),
        ("sun-moon", [2.5, 2]),
        ("Sun\u2019s", [1, 0]),
        ("sun-dial", [1, 0]),
        ("dial", [0, 0]),
        ("-", [0, 0]),
        ("", [0, 0]),
    ],
)
def test_a_word_is_looked_up_as_it_is_then_in_lower_case_then_in_parts(word: str, expected: list[float]) -> None:
    assert vectors().of([[word]])[0].tolist() == [expected]


def test_all_that_is_looked_up_is_among_the_spellings() -> None:
    assert spellings("Earth's") == ("Earth's", "earth's", "earth")
    assert spellings("sun") == ("sun",)
    found = vectors()
    for word in ("MOON", "sun-moon", "Sun's"):
        small = {"sun", "Sun", "moon", "x-ray"} & set(spellings(word))
        kept = StaticVectors("kept", sorted(small), torch.stack([found.of([[one]])[0][0] for one in sorted(small)]))
        assert torch.equal(kept.of([[word]])[0], found.of([[word]])[0])


def test_coverage_counts_words_as_often_as_they_occur() -> None:
    assert vectors().coverage([["sun", "sun", "dial"], ["moon-light"]]) == 0.75
    assert vectors().coverage([[]]) == 0


def test_static_vectors_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    save_state(tmp_path, vectors().state())
    back = StaticVectors.of_state(load_state(tmp_path))
    assert (back.name, back.words) == ("small", vectors().words)
    assert torch.equal(back.table, TABLE)
    with pytest.raises(UsageError, match="must have name, words and table"):
        StaticVectors.of_state({"name": "small"})


@pytest.mark.parametrize(
    ("words", "table", "message"),
    [
        (["sun"], TABLE, "a row for each word"),
        (["a", "b", "a", "c"], TABLE, "'a' more than once"),
        (["a", "b", "c", "d"], TABLE / 0, "finite"),
        ([], torch.zeros(0, 2), "a row for each word"),
    ],
)
def test_tables_that_do_not_fit_are_refused(words: list[str], table: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        StaticVectors("small", words, table)


def test_hashed_vectors_follow_from_the_seed_and_the_word() -> None:
    state = torch.get_rng_state()
    (text,) = HashedVectors(200, seed=1).of([["sun", "moon", "sun"]])
    assert torch.equal(text[0], text[2])
    assert torch.equal(text[1], HashedVectors(200, seed=1).of([["moon"]])[0][0])
    assert not torch.equal(text[1], HashedVectors(200, seed=2).of([["moon"]])[0][0])
    assert abs(float(torch.cosine_similarity(text[0], text[1], 0))) < 0.3
    assert 0.8 < float(text[0].square().mean()) < 1.2
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(UsageError, match="dim is 0"):
        HashedVectors(0)


def test_the_loader_fits_vectors_on_the_texts() -> None:
    found = load_vectors("book", texts=["The Sun is hot. The Moon is cold.", "The sun shines."], dim=3)
    assert isinstance(found, StaticVectors)
    assert found.words[:2] == ("the", "is")
    assert set(found.words) == {"the", "sun", "is", "hot", "moon", "cold", "shines"}
    assert (found.name, found.dim, found.contextual) == ("book", 3, False)
    assert load_vectors("hashed", dim=5).dim == 5


def test_the_loader_reads_only_the_words_of_the_texts_where_some_are_given(tmp_path: Path) -> None:
    file = tmp_path / "small.txt"
    file.write_text("sun 1 2\nmoon 3 4\nearth 5 6\nstar 7 8\n")
    found = load_vectors("glove", path=file, texts=["The Sun. Earth's moon-less"])
    assert isinstance(found, StaticVectors)
    assert found.words == ("sun", "moon", "earth")
    everything = load_vectors("glove", path=file)
    assert isinstance(everything, StaticVectors)
    assert len(everything.words) == 4


def test_the_loader_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'word2vec', but must be one of hashed, book, glove, encoder"):
        load_vectors("word2vec")
    for name in ("glove", "encoder"):
        with pytest.raises(UsageError, match=f"of the kind {name} need the path"):
            load_vectors(name)
    with pytest.raises(UsageError, match="is no folder"):
        load_vectors("encoder", path=tmp_path / "missing")
