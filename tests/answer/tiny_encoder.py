"""A folder of a tiny sentence encoder with random weights, written as published ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "sun",
    "moon",
    "is",
    "hot",
    "cold",
    "true",
    "false",
    "lava",
    "rock",
    "##s",
    "##y",
    "melt",
    "##ed",
    "what",
    "where",
    "a",
    "of",
    "earth",
    "'",
    "-",
    "s",
    "x",
    "ray",
    ".",
    "?",
    "water",
    "ice",
]
DIM, HIDDEN, LAYERS = 24, 40, 2


def weights(*, positions: int = 20, seed: int = 0, old_names: bool = False) -> dict[str, Tensor]:
    """Random weights under BERT's names; large enough that every part of the formula counts."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(PIECES), DIM),
        "embeddings.position_embeddings.weight": (positions, DIM),
        "embeddings.token_type_embeddings.weight": (2, DIM),
        "embeddings.LayerNorm.weight": (DIM,),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            shapes[f"{name}.attention.self.{part}.weight"] = (DIM, DIM)
        shapes[f"{name}.attention.output.dense.weight"] = (DIM, DIM)
        shapes[f"{name}.attention.output.LayerNorm.weight"] = (DIM,)
        shapes[f"{name}.intermediate.dense.weight"] = (HIDDEN, DIM)
        shapes[f"{name}.output.dense.weight"] = (DIM, HIDDEN)
        shapes[f"{name}.output.LayerNorm.weight"] = (DIM,)
    made = {}
    for name, shape in shapes.items():
        made[name] = torch.randn(shape, generator=generator) * (0.3 if len(shape) > 1 else 0.2)
        if "LayerNorm" in name:
            made[name] += 1
        if "embeddings" not in name or "LayerNorm" in name:
            made[name.replace("weight", "bias")] = torch.randn(shape[:1], generator=generator) * 0.3
    if not old_names:
        return made
    return {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
        for name, tensor in made.items()
    }


def write_tokenizer(folder: Path, pieces: list[str] = PIECES) -> None:
    ends = [
        {"SpecialToken": {"id": name, "type_id": kind}} for name, kind in (("[CLS]", 0), ("[SEP]", 0), ("[SEP]", 1))
    ]
    first, second = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1)))
    special = {name: {"id": name, "ids": [pieces.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    made: dict[str, Any] = {
        "version": "1.0",
        # some published files cut and pad every text to one length
        "truncation": {"max_length": 6, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {
            "strategy": {"Fixed": 12},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [ends[0], first, ends[1]],
            "pair": [ends[0], first, ends[1], second, ends[2]],
            "special_tokens": special,
        },
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: number for number, piece in enumerate(pieces)},
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(made))


def write_encoder(folder: Path, *, config: dict[str, Any] | None = None, **of_weights: Any) -> Path:
    """A whole folder; `config` None writes no config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(**of_weights), folder / "model.safetensors")
    write_tokenizer(folder)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder
