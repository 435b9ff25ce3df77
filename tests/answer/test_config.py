"""Settings: each is checked when made, and the message says what was given and what is allowed."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from tenfold.answer.config import (
    ENCODERS,
    METHODS,
    PRESETS,
    SOLVERS,
    BookSettings,
    Config,
    ContextSettings,
    DemoOptions,
    EncoderSettings,
    EvalOptions,
    FitSettings,
    NetSettings,
    ReaderSettings,
    SsocSettings,
    WordSettings,
)
from tenfold.core.config import ComputeConfig, explain, from_dict, to_dict
from tenfold.core.errors import UsageError

ALL = (
    BookSettings, Config, ContextSettings, DemoOptions, EncoderSettings, EvalOptions, FitSettings, NetSettings, ReaderSettings,
    SsocSettings, WordSettings,
)  # fmt: skip


@pytest.mark.parametrize(
    ("made", "values", "name", "allowed"),
    [
        (NetSettings, {"hidden": 0}, "net.hidden is 0", "at least 1"),
        (NetSettings, {"characters": 2}, "net.characters is 2", "0 or at least 3"),
        (NetSettings, {"characters": -1}, "net.characters is -1", "0 or at least 3"),
        (NetSettings, {"dropout": 1.0}, "net.dropout is 1.0", "at least 0 and below 1"),
        (NetSettings, {"dropout": -0.1}, "net.dropout is -0.1", "at least 0 and below 1"),
        (WordSettings, {"dim": 0}, "words.dim is 0", "at least 1"),
        (WordSettings, {"vectors": "glove"}, "words.path is None", "given for glove"),
        (WordSettings, {"vectors": "encoder"}, "words.path is None", "given for encoder"),
        (ContextSettings, {"paragraphs": 0}, "context.paragraphs is 0", "at least 1"),
        (ContextSettings, {"reach": -1}, "context.reach is -1", "at least 0"),
        (ContextSettings, {"nodes": 0}, "context.nodes is 0", "at least 1"),
        (ContextSettings, {"parser": "stanza"}, "context.parser is 'stanza'", "rules, window, link-grammar or spacy:NAME"),
        (SsocSettings, {"epochs": 0}, "ssoc.epochs is 0", "at least 1"),
        (SsocSettings, {"paragraphs": 1}, "ssoc.paragraphs is 1", "at least 2"),
        (SsocSettings, {"learning_rate": 0.0}, "ssoc.learning_rate is 0.0", "above 0"),
        (FitSettings, {"epochs": 0}, "fit.epochs is 0", "at least 1"),
        (FitSettings, {"batch_size": 0}, "fit.batch_size is 0", "at least 1"),
        (FitSettings, {"learning_rate": -1.0}, "fit.learning_rate is -1.0", "above 0"),
        (FitSettings, {"clip": 0.0}, "fit.clip is 0.0", "above 0"),
        (FitSettings, {"weight_decay": -0.1}, "fit.weight_decay is -0.1", "at least 0"),
        (EncoderSettings, {"epochs": 0}, "encoder.epochs is 0", "at least 1"),
        (EncoderSettings, {"batch_size": 0}, "encoder.batch_size is 0", "at least 1"),
        (EncoderSettings, {"learning_rate": 0.0}, "encoder.learning_rate is 0.0", "above 0"),
        (BookSettings, {"folds": 1}, "book.folds is 1", "at least 2"),
        (BookSettings, {"holdout": 0.6}, "book.holdout is 0.6", "between 0 and 0.5"),
        (BookSettings, {"holdout": -0.1}, "book.holdout is -0.1", "between 0 and 0.5"),
        (Config, {"methods": ()}, r"methods is \(\)", "at least one"),
        (Config, {"methods": ("full", "full")}, "methods is", "without repetition"),
        (Config, {"methods": ("encoder",)}, "encoder.path is None", "given where methods has encoder"),
        (Config, {"methods": ("full", "cross-encoder")}, "encoder.path is None", "given where methods has cross-encoder"),
        (Config, {"replicas": 0}, "replicas is 0", "at least 1"),
        (Config, {"legs": 0}, "legs is 0", "at least 1"),
        (Config, {"resamples": 99}, "resamples is 99", "at least 100"),
        (Config, {"seed": -1}, "seed is -1", "at least 0"),
        (Config, {"compute": ComputeConfig(processes=2)}, "compute.processes is 2", "crew.workers"),
        (Config, {"compute": ComputeConfig(precision="bf16")}, "compute.precision is 'bf16'", "float32"),
        (DemoOptions, {"ask": " "}, "ask is ' '", "a question"),
        (DemoOptions, {"choices": ()}, r"choices is \(\)", "1 to 12 candidates"),
        (DemoOptions, {"choices": ("x",) * 13}, "choices is", "1 to 12 candidates"),
        (DemoOptions, {"adapt": -1}, "adapt is -1", "at least 0"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(made: Any, values: dict[str, Any], name: str, allowed: str) -> None:
    with pytest.raises(UsageError, match=f"{name}.*, but must be .*{allowed}"):
        made(**values)


@pytest.mark.parametrize("name", ["learning_rate", "clip", "weight_decay"])
def test_a_number_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"fit.{name} is nan"):
        FitSettings(**{name: float("nan")})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "values"),
    [
        (NetSettings, {"hidden": 1, "characters": 0, "dropout": 0.0}),
        (NetSettings, {"characters": 3, "dropout": 0.99}),
        (WordSettings, {"vectors": "glove", "path": Path("x"), "dim": 1}),
        (ContextSettings, {"paragraphs": 1, "reach": 0, "nodes": 1, "parser": "spacy:any"}),
        (SsocSettings, {"epochs": 1, "paragraphs": 2}),
        (FitSettings, {"epochs": 1, "batch_size": 1, "weight_decay": 0.0}),
        (BookSettings, {"folds": 2, "holdout": 0.5}),
        (Config, {"methods": ENCODERS, "encoder": EncoderSettings(path=Path("x")), "resamples": 100}),
        (DemoOptions, {"choices": ("x",) * 12}),
    ],
)
def test_values_at_the_edge_are_taken(made: Any, values: dict[str, Any]) -> None:
    found = made(**values)
    assert all(getattr(found, name) == value for name, value in values.items())


def test_names_that_are_unknown_are_refused_when_read() -> None:
    for values, message in (
        ({"methods": ["fool"]}, "methods is 'fool', but must be one of"),
        ({"reader": {"net": {"graph": "gat"}}}, r"reader\.net\.graph is 'gat', but must be one of f-gcn1"),
        ({"reader": {"words": {"vectors": "elmo"}}}, r"reader\.words\.vectors is 'elmo', but must be one of"),
        ({"reader": {"context": {"scope": "shelf"}}}, r"reader\.context\.scope is 'shelf'"),
        ({"reader": {"sso": {}}}, "unknown setting reader.sso"),
        ({"book": {"train": 3}}, r"book\.train is 3, but must be a path"),
    ):
        with pytest.raises(UsageError, match=message):
            from_dict(Config, values)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_written_and_read_again(name: str) -> None:
    assert from_dict(Config, to_dict(PRESETS[name])) == PRESETS[name]
    assert hash(PRESETS[name])


def test_presets_are_those_that_every_method_has() -> None:
    assert {"smoke", "laptop", "paper"} <= set(PRESETS)
    assert PRESETS["laptop"] == Config()


def test_the_methods_are_all_named_once() -> None:
    assert set(SOLVERS) < set(METHODS)
    assert not set(ENCODERS) & set(METHODS)


@pytest.mark.parametrize("made", ALL, ids=lambda made: made.__name__)
def test_every_setting_is_explained(made: type) -> None:
    assert is_dataclass(made)
    assert set(explain(made)) == {field.name for field in fields(made)}
