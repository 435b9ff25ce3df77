"""The files of a sentence encoder, checked: weights in the order of torch's transformer, sizes, tokenizer, way of pooling."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..core.errors import UsageError

Pooling = Literal["mean", "first"]
_HEADS = 12
_MOST_BYTES = 1 << 28
"""of a file of JSON"""
_PARTS = ("Transformer", "Pooling", "Normalize")
"""of a sentence encoder; another one, such as a last linear layer, would change the vectors"""
_EMBEDDINGS = {"piece": "word_embeddings", "place": "position_embeddings", "side": "token_type_embeddings"}
_LAYER = {
    "self_attn.out_proj": "attention.output.dense",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm1": "attention.output.LayerNorm",
    "norm2": "output.LayerNorm",
}
_UNUSED = re.compile(r"pooler\.|cls\.|classifier\.|embeddings\.position_ids$")
"""weights that serve other tasks than vectors of texts"""


class Sizes(NamedTuple):
    """Of a network of BERT's architecture."""

    pieces: int
    """different pieces of words"""
    positions: int
    types: int
    dim: int
    layers: int
    heads: int
    hidden: int
    """width inside a block's perceptron"""


class EncoderFiles(NamedTuple):
    """What a folder says."""

    sizes: Sizes
    weights: dict[str, Tensor]
    """float32, under the names of `SentenceEncoder`"""
    tokenizer: Any
    pooling: Pooling
    epsilon: float
    """of the layer norms"""
    dropout: float
    """in training, in [0, 1)"""
    notes: tuple[str, ...]
    """what the folder does not say, and what was taken instead"""


def read_encoder_files(folder: Path) -> EncoderFiles:
    """All that a sentence encoder is made of.

    Raises:
        UsageError: a file is missing or damaged, or the network is of another architecture than BERT's.
        ModuleNotFoundError: the library tokenizers is not installed.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder, but must be one that holds model.safetensors and tokenizer.json")
    settings = _json(folder / "config.json")
    _check_architecture(folder, settings)
    pooling, pooling_note = _pooling(folder, settings)
    given = _weights(folder / "model.safetensors")
    heads = _number(settings, "num_attention_heads", _HEADS, folder)
    sizes = _sizes(given, heads, folder)
    tokenizer = _tokenizer(folder / "tokenizer.json", sizes)
    notes = (
        []
        if "num_attention_heads" in settings
        else [f"{folder} does not say how many heads there are; {heads} are taken"]
    )
    return EncoderFiles(
        sizes,
        _renamed(given, sizes, folder),
        tokenizer,
        pooling,
        _number(settings, "layer_norm_eps", 1e-12, folder),
        _number(settings, "hidden_dropout_prob", 0.1, folder),
        (*notes, *pooling_note),
    )


def _json(file: Path) -> dict[str, Any]:
    """The mapping in a file; an empty one where there is no file."""
    found = _json_value(file) if file.is_file() else {}
    if not isinstance(found, dict):
        raise UsageError(f"{file} must hold a mapping, but it holds a {type(found).__name__}")
    return found


def _json_value(file: Path) -> Any:
    if file.stat().st_size > _MOST_BYTES:
        raise UsageError(f"{file} has {file.stat().st_size} bytes, but must have at most {_MOST_BYTES}")
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read as JSON: {error}") from error


def _number(settings: Mapping[str, Any], name: str, usual: Any, folder: Path) -> Any:
    """A setting of the type and range of its usual value: a whole number from 1, or a number in [0, 1)."""
    value = settings.get(name, usual)
    fits = (
        type(value) is int and value >= 1
        if isinstance(usual, int)
        else isinstance(value, int | float) and 0 <= value < 1
    )
    if not fits:
        allowed = "a whole number of at least 1" if isinstance(usual, int) else "a number from 0, below 1"
        raise UsageError(f"{folder / 'config.json'} has {name} {value!r}, but it must be {allowed}")
    return value


def _check_architecture(folder: Path, settings: Mapping[str, Any]) -> None:
    for name, allowed in (("model_type", "bert"), ("position_embedding_type", "absolute"), ("hidden_act", "gelu")):
        value = settings.get(name, allowed)
        if value != allowed:
            raise UsageError(f"the encoder in {folder} has {name} {value!r}, but only {allowed!r} is known")
    modules = folder / "modules.json"
    parts = _json_value(modules) if modules.is_file() else []
    try:
        kinds = [part["type"].rsplit(".", 1)[-1] for part in parts]
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"{modules} must hold a list of parts, each with its type") from error
    strange = next((kind for kind in kinds if kind not in _PARTS), None)
    if strange is not None:
        raise UsageError(f"the encoder in {folder} has a part {strange}, but only {', '.join(_PARTS)} are known")


def _pooling(folder: Path, settings: Mapping[str, Any]) -> tuple[Pooling, list[str]]:
    """How a text's vector is made of its rows, and what was taken for granted."""
    said = {**settings, **_json(folder / "1_Pooling" / "config.json")}
    modes = sorted(
        name.removeprefix("pooling_mode_") for name in said if name.startswith("pooling_mode_") and said[name] is True
    )
    known: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "first"}
    if not modes:
        return "mean", [f"{folder} does not say how a text's vector is formed; the mean of its pieces is taken"]
    if len(modes) > 1 or modes[0] not in known:
        raise UsageError(
            f"the encoder in {folder} pools by {', '.join(modes)}, but only one of {', '.join(known)} is known"
        )
    return known[modes[0]], []


def _weights(file: Path) -> dict[str, Tensor]:
    """All weights that are of use, float32, without the prefix that some folders have."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise UsageError(f"{file} does not exist, but must hold the weights of the encoder")
    try:
        weights = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{file} is not a whole safetensors file: {error}") from error
    plain = {name.removeprefix("bert."): tensor for name, tensor in weights.items()}
    used = {_modern(name): tensor.float() for name, tensor in plain.items() if not _UNUSED.match(name)}
    bad = next((name for name, tensor in used.items() if not tensor.isfinite().all()), None)
    if bad is not None:
        raise UsageError(f"{file} has numbers in {bad} that are not finite")
    return used


def _modern(name: str) -> str:
    """Old files call the weight and bias of a norm gamma and beta."""
    return re.sub(
        r"LayerNorm\.(gamma|beta)$", lambda match: "LayerNorm." + {"gamma": "weight", "beta": "bias"}[match[1]], name
    )


def _sizes(weights: Mapping[str, Tensor], heads: int, folder: Path) -> Sizes:
    try:
        pieces, positions, types = (weights[f"embeddings.{name}.weight"].shape[0] for name in _EMBEDDINGS.values())
        dim = weights["embeddings.word_embeddings.weight"].shape[1]
        hidden = weights["encoder.layer.0.intermediate.dense.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise UsageError(
            f"the encoder in {folder} is not of BERT's architecture: {error} is missing or no matrix"
        ) from error
    if types < 2:  # RoBERTa's weights have BERT's names, but count positions from 2
        raise UsageError(f"the encoder in {folder} is not of BERT's architecture: it does not tell two texts apart")
    if dim % heads:
        raise UsageError(f"the encoder in {folder} has vectors of {dim} numbers, which {heads} heads cannot share")
    numbers = {int(match[1]) for name in weights if (match := re.match(r"encoder\.layer\.(\d+)\.", name))}
    return Sizes(pieces, positions, types, dim, max(numbers) + 1, heads, hidden)


def _renamed(given: Mapping[str, Tensor], sizes: Sizes, folder: Path) -> dict[str, Tensor]:
    """The weights under the names of `SentenceEncoder`; each of the right shape, and none left over."""
    left = dict(given)
    dim, hidden = sizes.dim, sizes.hidden

    def take(name: str, *shape: int) -> Tensor:
        if name not in left or left[name].shape != shape:
            found = tuple(left[name].shape) if name in left else "missing"
            raise UsageError(
                f"the encoder in {folder} is not of BERT's architecture: {name} is {found}, but must be {shape}"
            )
        return left.pop(name)

    renamed = {
        f"{ours}.weight": take(f"embeddings.{name}.weight", count, dim)
        for (ours, name), count in zip(_EMBEDDINGS.items(), sizes[:3], strict=True)
    }
    renamed |= {f"norm.{kind}": take(f"embeddings.LayerNorm.{kind}", dim) for kind in ("weight", "bias")}
    shapes = {
        "self_attn.out_proj": (dim, dim),
        "linear1": (hidden, dim),
        "linear2": (dim, hidden),
        "norm1": (dim,),
        "norm2": (dim,),
    }
    for number in range(sizes.layers):
        source, target = f"encoder.layer.{number}", f"encoder.layers.{number}"
        for ours, name in _LAYER.items():
            renamed[f"{target}.{ours}.weight"] = take(f"{source}.{name}.weight", *shapes[ours])
            renamed[f"{target}.{ours}.bias"] = take(f"{source}.{name}.bias", shapes[ours][0])
        attention = [f"{source}.attention.self.{name}" for name in ("query", "key", "value")]
        renamed[f"{target}.self_attn.in_proj_weight"] = torch.cat(
            [take(f"{name}.weight", dim, dim) for name in attention]
        )
        renamed[f"{target}.self_attn.in_proj_bias"] = torch.cat([take(f"{name}.bias", dim) for name in attention])
    if left:
        raise UsageError(f"the encoder in {folder} is not of BERT's architecture, which has no {min(left)}")
    return renamed


def _tokenizer(file: Path, sizes: Sizes) -> Any:
    tokenizers = import_module("tokenizers")
    if not file.is_file():
        raise UsageError(f"{file} does not exist, but must say how texts are cut into pieces")
    _json(file)
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises the plain class
        raise UsageError(f"{file} is not a tokenizer: {error}") from error
    if tokenizer.get_vocab_size() > sizes.pieces:
        raise UsageError(
            f"{file} knows {tokenizer.get_vocab_size()} pieces, but the encoder has vectors for {sizes.pieces}"
        )
    tokenizer.no_padding()  # some files pad every text to one length
    return tokenizer
