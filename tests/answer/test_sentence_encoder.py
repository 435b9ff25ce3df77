"""Sentence encoders from a folder: the network against BERT's equations written here, vectors of texts and of words, files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tenfold.answer.sentence_encoder import EncoderVectors, SentenceEncoder, batches_by_length
from tenfold.answer.vectors import load_vectors
from tenfold.core.errors import UsageError

from .tiny_encoder import DIM, LAYERS, PIECES, weights, write_encoder, write_tokenizer

pytest.importorskip("tokenizers", reason="sentence encoders need the library tokenizers")

POOLING = "1_Pooling/config.json"
BERT = {"model_type": "bert", "num_attention_heads": 4, "pooling_mode_mean_tokens": True}


def loaded(folder: Path, *, config: dict[str, Any] | None = BERT, **of_weights: Any) -> SentenceEncoder:
    return SentenceEncoder.load(write_encoder(folder, config=config, **of_weights))


def numbers(*pieces: str) -> list[int]:
    return [PIECES.index(piece) for piece in pieces]


def norm(rows: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    centred = rows - rows.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(rows: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    return rows @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def bert(w: dict[str, Tensor], ids: list[int], heads: int, types: list[int] | None = None) -> Tensor:
    """One text, (L,) -> (L, D), by the equations of BERT."""
    rows = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    rows = norm(rows + w["embeddings.token_type_embeddings.weight"][types or [0] * len(ids)], w, "embeddings.LayerNorm")
    size = rows.shape[1] // heads
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        q, k, v = (linear(rows, w, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        mixed = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = (q[:, part] @ k[:, part].T / math.sqrt(size)).exp()
            mixed.append(scores / scores.sum(1, keepdim=True) @ v[:, part])
        attended = linear(torch.cat(mixed, 1), w, f"{name}.attention.output.dense")
        rows = norm(rows + attended, w, f"{name}.attention.output.LayerNorm")
        inner = linear(rows, w, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        rows = norm(rows + linear(inner, w, f"{name}.output.dense"), w, f"{name}.output.LayerNorm")
    return rows


@pytest.mark.parametrize(("config", "heads"), [(BERT, 4), (None, 12), ({"pooling_mode_mean_tokens": True}, 12)])
@pytest.mark.parametrize("training", [False, True])
def test_the_network_computes_berts_equations(
    config: dict[str, Any] | None, heads: int, training: bool, tmp_path: Path
) -> None:
    encoder = loaded(tmp_path, config=None if config is None else config | {"hidden_dropout_prob": 0.0})
    ids, types = numbers("[CLS]", "the", "sun", "[SEP]", "hot", "[SEP]"), [0, 0, 0, 0, 1, 1]
    if training and config:  # takes another way through torch's transformer
        encoder.train()
    found = encoder.forward_ids(torch.tensor([ids]), torch.ones(1, 6), torch.tensor([types]))
    assert torch.allclose(found[0], bert(weights(), ids, heads, types), atol=1e-5)
    without = encoder.forward_ids(torch.tensor([ids]), torch.ones(1, 6))
    assert torch.allclose(without[0], bert(weights(), ids, heads), atol=1e-5)


def test_a_texts_vector_is_the_mean_of_its_rows_of_length_one(tmp_path: Path) -> None:
    found = loaded(tmp_path).embed(["The sun melts rocks."])
    ids = numbers("[CLS]", "the", "sun", "melt", "##s", "rock", "##s", ".", "[SEP]")
    expected = bert(weights(), ids, 4).mean(0)
    assert torch.allclose(found, (expected / expected.norm())[None], atol=1e-5)
    assert found.dtype == torch.float32


def test_a_texts_vector_is_the_row_of_its_first_piece_where_the_folder_says_so(tmp_path: Path) -> None:
    write_encoder(tmp_path, config=BERT)
    (tmp_path / POOLING).parent.mkdir()
    (tmp_path / POOLING).write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    encoder = SentenceEncoder.load(tmp_path)
    expected = bert(weights(), numbers("[CLS]", "hot", "[SEP]"), 4)[0]
    assert torch.allclose(encoder.embed(["hot"]), (expected / expected.norm())[None], atol=1e-5)
    ids, mask, types = encoder.padded([windows[0] for windows in encoder.cut(["hot", "the hot sun"], 20)])
    rows = encoder.forward_ids(ids, mask, types)
    assert torch.equal(encoder.pooled(rows, mask), rows[:, 0])


def test_neither_padding_nor_the_order_nor_the_batch_changes_a_vector(tmp_path: Path) -> None:
    encoder = loaded(tmp_path)
    texts = ["hot", "The moon is cold.", "lava", "what is the moon of the earth?", "hot", ""]
    together = encoder.embed(texts)
    for batch_size in (1, 2):
        assert torch.allclose(encoder.embed(texts, batch_size), together, atol=1e-5)
    alone = torch.cat([encoder.embed([text]) for text in texts])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.equal(together[0], together[4])
    assert encoder.embed([]).shape == (0, DIM)


def test_each_different_text_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = loaded(tmp_path)
    seen: list[int] = []
    forward = SentenceEncoder.forward_ids

    def counted(self: SentenceEncoder, ids: Tensor, *others: Tensor) -> Tensor:
        seen.append(len(ids))
        return forward(self, ids, *others)

    monkeypatch.setattr(SentenceEncoder, "forward_ids", counted)
    encoder.embed(["hot"] * 9 + ["cold"])
    encoder.embed_words([["hot"], ["hot"], ("hot",)])
    assert sum(seen) == 3


def test_a_words_vector_is_the_mean_over_its_pieces(tmp_path: Path) -> None:
    vectors = EncoderVectors(loaded(tmp_path))
    first, none, second = vectors.of([["the", "rocks", "x-ray", "earth's", "\u0007", "qqq"], [], ["hot"]])
    pieces = ["[CLS]", "the", "rock", "##s", "x", "-", "ray", "earth", "'", "s", "[UNK]", "[SEP]"]
    rows = bert(weights(), numbers(*pieces), 4)
    groups = ([1], [2, 3], [4, 5, 6], [7, 8, 9], [], [10])
    expected = [rows[group].mean(0) if group else torch.zeros(DIM) for group in groups]
    assert torch.allclose(first, torch.stack(expected), atol=1e-5)
    assert none.shape == (0, DIM)
    assert torch.allclose(second[0], bert(weights(), numbers("[CLS]", "hot", "[SEP]"), 4)[1], atol=1e-5)
    assert (vectors.contextual, vectors.dim, vectors.name) == (True, DIM, tmp_path.name)


def test_a_long_text_is_read_in_windows_and_nothing_is_left_out(tmp_path: Path) -> None:
    encoder = loaded(tmp_path, positions=8)
    words = ["the", "sun", "is", "hot", "the", "rocks", "moon", "is", "cold"]  # the pieces of "rocks" fall apart
    first = bert(weights(positions=8), numbers("[CLS]", "the", "sun", "is", "hot", "the", "rock", "[SEP]"), 4)
    second = bert(weights(positions=8), numbers("[CLS]", "##s", "moon", "is", "cold", "[SEP]"), 4)
    rocks = (first[6] + second[1]) / 2
    expected = torch.cat([first[1:6], rocks[None], second[2:5]])
    assert torch.allclose(encoder.embed_words([words])[0], expected, atol=1e-5)
    whole = torch.cat([first, second]).mean(0)
    assert torch.allclose(encoder.embed([" ".join(words)])[0], whole / whole.norm(), atol=1e-5)


def test_gradients_reach_every_weight(tmp_path: Path) -> None:
    encoder = loaded(tmp_path)
    ids, mask, types = encoder.padded(
        [windows[0] for windows in encoder.cut([("hot", "cold"), ("the sun", "lava")], 20)]
    )
    assert types.tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]]
    encoder.pooled(encoder.forward_ids(ids, mask, types), mask).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in encoder.parameters())


def test_reading_leaves_the_mode_and_the_random_numbers_as_they_were(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path, config=BERT)
    state = torch.get_rng_state()
    encoder = SentenceEncoder.load(folder)
    assert not encoder.training
    expected = encoder.embed(["the sun"])
    encoder.train()
    assert torch.equal(encoder.embed(["the sun"]), expected)
    assert encoder.encoder.layers[0].training
    assert torch.equal(torch.get_rng_state(), state)


def test_more_pieces_than_positions_are_refused(tmp_path: Path) -> None:
    encoder = loaded(tmp_path, positions=8)
    with pytest.raises(UsageError, match="9 pieces at once, but takes at most 8"):
        encoder.forward_ids(torch.zeros(1, 9, dtype=torch.int64), torch.ones(1, 9))


def test_what_the_folder_does_not_say_is_noted(tmp_path: Path) -> None:
    assert loaded(tmp_path / "a").notes == ()
    heads, pooling = loaded(tmp_path / "b", config=None).notes
    assert "12 are taken" in heads
    assert "the mean of its pieces is taken" in pooling


@pytest.mark.parametrize("change", ["prefix", "gamma", "half", "other tasks"])
def test_weights_of_other_spellings_are_understood(change: str, tmp_path: Path) -> None:
    expected = loaded(tmp_path).embed(["the sun"])
    given = weights(old_names=change == "gamma")
    if change == "prefix":
        given = {f"bert.{name}": tensor for name, tensor in given.items()}
    if change == "half":
        given = {name: tensor.half() for name, tensor in given.items()}
    if change == "other tasks":
        given |= {"pooler.dense.weight": torch.ones(2, 2), "cls.predictions.bias": torch.ones(2)}
        given["embeddings.position_ids"] = torch.arange(20)
    save_file(given, tmp_path / "model.safetensors")
    found = SentenceEncoder.load(tmp_path).embed(["the sun"])
    assert torch.allclose(found, expected, atol=1e-2 if change == "half" else 1e-6)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("embeddings.word_embeddings.weight", None, "not of BERT's architecture: 'embeddings.word_embeddings.weight'"),
        ("encoder.layer.1.output.dense.bias", None, "encoder.layer.1.output.dense.bias is missing"),
        ("encoder.layer.0.attention.self.key.weight", torch.ones(DIM, 3), r"is \(24, 3\), but must be \(24, 24\)"),
        (
            "encoder.relative_attention_bias.weight",
            torch.ones(2),
            "which has no encoder.relative_attention_bias.weight",
        ),
        ("embeddings.token_type_embeddings.weight", torch.ones(1, DIM), "does not tell two texts apart"),
        ("embeddings.LayerNorm.bias", torch.full((DIM,), torch.nan), "LayerNorm.bias that are not finite"),
        (
            "embeddings.word_embeddings.weight",
            torch.ones(7, DIM),
            r"knows \d+ pieces, but the encoder has vectors for 7",
        ),
    ],
)
def test_weights_of_other_architectures_are_refused(
    name: str, tensor: Tensor | None, message: str, tmp_path: Path
) -> None:
    given = load_file(write_encoder(tmp_path, config=BERT) / "model.safetensors")
    given.pop(name, None)
    save_file(given if tensor is None else given | {name: tensor}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=message):
        SentenceEncoder.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", '{"model_type": "xlm-roberta"}', "model_type 'xlm-roberta', but only 'bert' is known"),
        ("config.json", '{"hidden_act": "silu"}', "hidden_act 'silu'"),
        ("config.json", '{"num_attention_heads": 5}', "24 numbers, which 5 heads cannot share"),
        ("config.json", '{"num_attention_heads": "4"}', "num_attention_heads '4', but it must be a whole number"),
        ("config.json", '{"hidden_dropout_prob": 1}', "hidden_dropout_prob 1, but it must be a number from 0"),
        ("config.json", "[]", "must hold a mapping, but it holds a list"),
        ("config.json", "{", "config.json cannot be read as JSON"),
        ("config.json", '{"pooling_mode_max_tokens": true}', "pools by max_tokens, but only one of"),
        ("tokenizer.json", "{}", "tokenizer.json is not a tokenizer"),
        ("tokenizer.json", None, "tokenizer.json does not exist"),
        ("model.safetensors", "pickle", "model.safetensors is not a whole safetensors file"),
        ("model.safetensors", None, "model.safetensors does not exist"),
    ],
)
def test_damaged_and_missing_files_are_named(file: str, content: str | None, message: str, tmp_path: Path) -> None:
    write_encoder(tmp_path, config=BERT)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(UsageError, match=message):
        SentenceEncoder.load(tmp_path)


def test_an_encoder_with_layers_after_its_pooling_is_refused(tmp_path: Path) -> None:
    write_encoder(tmp_path, config=BERT)
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    SentenceEncoder.load(tmp_path)
    (tmp_path / "modules.json").write_text(json.dumps([*modules, {"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(UsageError, match="has a part Dense"):
        SentenceEncoder.load(tmp_path)


def test_the_loader_of_word_vectors_takes_a_folder(tmp_path: Path) -> None:
    write_encoder(tmp_path, config=BERT)
    found = load_vectors("encoder", path=tmp_path)
    assert torch.equal(found.of([["hot"]])[0], EncoderVectors(SentenceEncoder.load(tmp_path)).of([["hot"]])[0])


def test_a_tokenizer_with_fewer_pieces_than_the_network_is_taken(tmp_path: Path) -> None:
    write_encoder(tmp_path, config=BERT)
    write_tokenizer(tmp_path, PIECES[:10])
    assert SentenceEncoder.load(tmp_path).embed(["the sun"]).shape == (1, DIM)


def test_batches_hold_like_lengths_within_their_room() -> None:
    lengths = [3, 50, 5, 9, 4, 120]
    assert batches_by_length(lengths, batch_size=2, room=100) == [[5], [1, 3], [2, 4], [0]]
    assert batches_by_length(lengths, batch_size=9, room=100) == [[5], [1, 3], [2, 4, 0]]
    assert batches_by_length([10, 10, 10], batch_size=9, room=100, counts=[7, 4, 3]) == [[0], [1, 2]]
    assert batches_by_length([], batch_size=9, room=100) == []
