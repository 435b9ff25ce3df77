"""Parsers of spaCy, with a pipeline made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tenfold.answer.parsing import load_parser
from tenfold.answer.spacy_parser import SpacyParser
from tenfold.core.errors import UsageError

spacy = pytest.importorskip("spacy", reason="spaCy is not installed, or not wholly")


def with_heads(document: Any, heads: Sequence[int]) -> Any:
    """The same tokens, each dependent on the one of this number."""
    return spacy.tokens.Doc(
        document.vocab,
        words=[token.text for token in document],
        spaces=[bool(token.whitespace_) for token in document],
        heads=list(heads),
        deps=["dep"] * len(document),
    )


def to_the_next(document: Any) -> Any:
    """Makes each token depend on its next, and the last one the root."""
    return with_heads(document, [min(token.i + 1, len(document) - 1) for token in document])


def to_the_comma(document: Any) -> Any:
    """Of four tokens, the second a comma: the first and the third depend on it, and it on the last."""
    return with_heads(document, [1, 3, 1, 3])


def pipeline_of(component: Callable[[Any], Any], folder: Path) -> str:
    """The folder, with a pipeline of this component in it."""
    name = f"tenfold_{component.__name__}"
    spacy.Language.component(name, assigns=["token.head"], func=component)
    language = spacy.blank("en")
    language.add_pipe(name)
    language.to_disk(folder)
    return str(folder)


def test_marks_are_passed_through(tmp_path: Path) -> None:
    parser = load_parser(f"spacy:{pipeline_of(to_the_next, tmp_path)}")
    (parse,) = parser(["Ice, (then) water."])
    assert parse.words == ("ice", "then", "water")
    assert parse.links == ((0, 1), (1, 2))
    assert parser.name == f"spacy:{tmp_path}"


def test_what_depends_on_a_mark_depends_on_the_marks_head(tmp_path: Path) -> None:
    parser = SpacyParser(pipeline_of(to_the_comma, tmp_path))
    assert parser(["Ice, water fast"])[0].links == ((0, 2), (1, 2))


def test_tokens_that_are_not_words(tmp_path: Path) -> None:
    parser = SpacyParser(pipeline_of(to_the_next, tmp_path))
    parses = parser(["It isn't well-known.", "", " . ", "See www.example.com now"])
    assert parses[0] == (("it", "isn't", "well-known"), ((0, 1), (1, 2))), "words of several tokens"
    assert parses[1:3] == [((), ()), ((), ())]
    assert parses[3].words == ("see", "www", "example", "com", "now")
    assert parses[3].links == ((0, 1), (1, 2), (1, 4), (2, 3)), "a token of several words"


def test_a_trained_parser_is_loaded(tmp_path: Path) -> None:
    language = spacy.blank("en")
    parser = language.add_pipe("parser", config={"moves": None, "min_action_freq": 1})
    parser.add_label("dep")
    examples = [
        spacy.training.Example.from_dict(
            language.make_doc("hot water melts ice"), {"heads": [1, 2, 2, 2], "deps": ["dep", "dep", "ROOT", "dep"]}
        )
    ]
    optimizer = language.initialize(lambda: examples)
    for _ in range(15):
        language.update(examples, sgd=optimizer)
    language.to_disk(tmp_path / "trained")
    assert load_parser(f"spacy:{tmp_path / 'trained'}")(["hot water melts ice"])[0].links == ((0, 1), (1, 2), (2, 3))


def test_a_missing_pipeline_says_how_to_install_one() -> None:
    with pytest.raises(UsageError, match=r"cannot load the pipeline 'no_such_pipeline'.*spacy download"):
        SpacyParser("no_such_pipeline")


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.cfg").write_text("[nlp\n")
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(UsageError, match="cannot load the pipeline"):
        SpacyParser(str(tmp_path))


def test_a_pipeline_without_a_parser_is_refused(tmp_path: Path) -> None:
    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(UsageError, match="does not parse dependencies"):
        SpacyParser(str(tmp_path))
