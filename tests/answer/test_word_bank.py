"""Words by number: tables that grow, vectors of both kinds, and the characters of words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tenfold.answer.vectors import HashedVectors, StaticVectors, WordVectors
from tenfold.answer.word_bank import WordBank
from tenfold.answer.word_features import ALPHABET, LONGEST, UNKNOWN, CharacterConvolution, WordFeatures, spell

SUN, MOON = ("the", "sun"), ("the", "cold", "moon", "the")


class PlaceVectors(WordVectors):
    """A word's vector says where it stands in its text, and how long that is."""

    name, dim, contextual = "places", 2, True

    def __init__(self) -> None:
        self.asked: list[Sequence[Sequence[str]]] = []

    def of(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        self.asked.append(texts)
        return [torch.tensor([[k, len(text)] for k in range(len(text))]).float().reshape(-1, 2) for text in texts]


def vectors_in(bank: WordBank, text: tuple[str, ...]) -> Tensor:
    return bank.tables()[0][bank.rows(text)].float()


def test_each_word_has_its_vector_and_row_0_is_padding() -> None:
    vectors, bank = HashedVectors(6), WordBank(HashedVectors(6))
    bank.add([SUN, MOON])
    for text in (SUN, MOON):
        assert torch.equal(vectors_in(bank, text), vectors.of([text])[0])
    table, spelling = bank.tables()
    assert not table[0].any()
    assert not spelling[0].any()
    assert len(table) == len(spelling) == 1 + 4
    assert 0 not in bank.rows(SUN)
    assert 0 not in bank.words(SUN)


def test_words_that_were_read_keep_their_numbers_when_others_come() -> None:
    bank = WordBank(HashedVectors(6))
    bank.add([SUN])
    rows, words, before = bank.rows(SUN).clone(), bank.words(SUN).clone(), vectors_in(bank, SUN)
    for k in range(5):
        bank.add([MOON, (f"new{k}", "sun"), SUN])
        assert torch.equal(bank.rows(SUN), rows)
        assert torch.equal(bank.words(SUN), words)
        assert torch.equal(vectors_in(bank, SUN), before)
    assert bank.size == 7
    assert len(bank.tables()[0]) == 1 + 4 + 5
    assert torch.equal(bank.tables()[1][bank.words(MOON)], spell(MOON))


def test_a_word_has_one_row_and_each_of_its_places_that() -> None:
    bank = WordBank(HashedVectors(6))
    bank.add([MOON, SUN])
    rows = bank.rows(MOON)
    assert rows[0] == rows[3] == bank.rows(SUN)[0]
    assert len(set(rows.tolist())) == 3


def test_vectors_in_context_have_a_row_for_every_place() -> None:
    vectors = PlaceVectors()
    bank = WordBank(vectors)
    bank.add([SUN, MOON, SUN])
    bank.add([MOON, ("sun",)])
    assert vectors.asked == [[SUN, MOON], [("sun",)]]
    for text in (SUN, MOON, ("sun",)):
        assert torch.equal(vectors_in(bank, text), vectors.of([text])[0])
    assert len(bank.tables()[0]) == 1 + 2 + 4 + 1
    assert not bank.tables()[0][0].any()
    assert bank.words(SUN)[1] == bank.words(("sun",))[0]
    assert torch.equal(bank.tables()[1][bank.words(MOON)], spell(MOON))


@pytest.mark.parametrize("vectors", [HashedVectors(2), PlaceVectors()])
def test_a_text_without_a_word_has_no_row(vectors: WordVectors) -> None:
    bank = WordBank(vectors)
    bank.add([(), SUN])
    assert bank.rows(()).shape == bank.words(()).shape == (0,)
    assert bank.rows(()).dtype == bank.words(()).dtype == torch.int64
    bank.add([])
    assert bank.size == 2


def test_unknown_words_of_a_table_are_zeros_but_not_padding() -> None:
    bank = WordBank(StaticVectors("two", ["sun", "moon"], torch.eye(2)))
    bank.add([("the", "sun")])
    assert torch.equal(vectors_in(bank, ("the", "sun")), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert bank.rows(("the", "sun"))[0] != 0


def test_a_text_that_was_not_added_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        WordBank(HashedVectors(2)).rows(SUN)


# features


@pytest.mark.parametrize("vectors", [HashedVectors(2), PlaceVectors()])
def test_features_see_words_that_are_added_later(vectors: WordVectors) -> None:
    bank, features = WordBank(vectors), WordFeatures(2, 6)
    features.read_from(bank)
    for text in (SUN, MOON, ("sun", "rise"), ("moon", "the", "sun")):
        bank.add([text])
        found = features(bank.rows(text), bank.words(text))
        assert found.shape == (len(text), features.width)
        assert torch.equal(found[:, :2], vectors.of([text])[0])
        assert features.characters is not None
        assert torch.allclose(found[:, 2:], features.characters(spell(text)), atol=1e-6)


def test_features_of_another_bank_are_its_own() -> None:
    features = WordFeatures(2, 0)
    for word in ("sun", "moon"):
        bank = WordBank(HashedVectors(2))
        bank.add([(word,)])
        features.read_from(bank)
        assert torch.equal(features(bank.rows((word,)), bank.words((word,))), HashedVectors(2).of([[word]])[0])


def test_tables_are_no_part_of_the_state() -> None:
    bank, features = WordBank(HashedVectors(2)), WordFeatures(2, 3)
    bank.add([SUN])
    features.read_from(bank)
    features(bank.rows(SUN), bank.words(SUN))
    assert not {"table", "spelling"} & set(features.state_dict())
    WordFeatures(2, 3).load_state_dict(features.state_dict())


def test_without_characters_the_vectors_are_all() -> None:
    bank, features = WordBank(HashedVectors(5)), WordFeatures(5, 0)
    bank.add([SUN])
    features.read_from(bank)
    assert features.width == 5
    assert not list(features.parameters())
    assert torch.equal(features(bank.rows(SUN), bank.words(SUN)), HashedVectors(5).of([SUN])[0])


def test_padding_has_no_vector() -> None:
    bank, features = WordBank(HashedVectors(5)), WordFeatures(5, 3)
    bank.add([SUN])
    features.read_from(bank)
    nothing = torch.zeros(2, 3, dtype=torch.int64)
    assert features(nothing, nothing).shape == (2, 3, 8)
    assert not features(nothing, nothing)[..., :5].any()


# characters


def test_characters_are_numbered_and_others_share_one() -> None:
    assert spell(["ab9/"])[0].tolist() == [1, 2, ALPHABET.index("9") + 1, len(ALPHABET)] + [0] * 12
    assert spell(["é太A"])[0].tolist() == [UNKNOWN] * 3 + [0] * 13
    assert spell([]).shape == (0, LONGEST)
    assert spell([""]).tolist() == [[0] * LONGEST]


def test_a_long_word_is_read_to_its_16th_character() -> None:
    long = "abcdefghijklmnop"
    assert torch.equal(spell([long]), spell([long + "xyz"]))
    assert not torch.equal(spell([long]), spell([long[:-1] + "z"]))
    assert spell([long]).all()


@pytest.mark.parametrize("width", [3, 4, 8, 32])
def test_the_convolution_has_its_width_whatever_the_word(width: int) -> None:
    model = CharacterConvolution(width)
    found = model(spell(["", "a", "ab", "太阳", "abcdefghijklmnopqrst"]))
    assert found.shape == (5, width)
    assert found.isfinite().all()
    assert found.abs().max() <= 1


def test_the_convolution_is_the_largest_value_over_all_places() -> None:
    """Windows may begin before the word and end after it, and those in the padding are of the bias alone."""
    model = CharacterConvolution(60, embedding=4)
    letters = model.embedding(spell(["sun"]))[0, :3].detach()
    padded = torch.cat([torch.zeros(3, 4), letters, torch.zeros(3, 4)])
    expected = []
    for convolution, kernel in zip(model.convolutions, (2, 3, 4), strict=True):
        weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
        windows = padded.unfold(0, kernel, 1)
        expected.append((torch.einsum("wck,ock->wo", windows, weight) + bias).amax(0).maximum(bias))
    assert torch.allclose(model(spell(["sun"]))[0], torch.cat(expected).tanh(), atol=1e-6)


def test_words_of_other_letters_differ_and_order_counts() -> None:
    model = CharacterConvolution(12)
    found = model(spell(["sun", "nus", "suns", "fun"]))
    assert len({tuple(row) for row in found.tolist()}) == 4
