from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.config import ComputeConfig, DataConfig, explain, from_dict, require, to_dict
from tenfold.core.errors import UsageError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    """a number"""
    deep: tuple[int, ...] = (1, 2)
    """several"""


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    """a group"""
    name: str = "a"
    """text over
    two lines"""
    kind: Literal["x", "y"] = "x"
    """one of two"""
    kinds: tuple[Literal["x", "y"], ...] = ("x",)
    """some of two"""
    where: Path | None = None
    """a path"""
    count: int | None = 3
    """perhaps a number"""
    flag: bool = False
    """a switch"""
    unexplained: int = 0


OUTERS = st.builds(
    Outer,
    inner=st.builds(
        Inner,
        rate=st.floats(allow_nan=False, allow_infinity=False),
        deep=st.lists(st.integers(), max_size=3).map(tuple),
    ),
    name=st.text(),
    kind=st.sampled_from(["x", "y"]),
    kinds=st.lists(st.sampled_from(["x", "y"]), max_size=3).map(tuple),
    where=st.none() | st.text("ab/.", min_size=1).map(Path),
    count=st.none() | st.integers(),
    flag=st.booleans(),
)


@given(OUTERS)
def test_settings_survive_json(config: Outer) -> None:
    assert from_dict(Outer, json.loads(json.dumps(to_dict(config)))) == config


@given(OUTERS)
def test_plain_values_are_plain(config: Outer) -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(plain(item) for item in value.values())
        if isinstance(value, list):
            return all(plain(item) for item in value)
        return value is None or type(value) in (str, int, float, bool)

    assert plain(to_dict(config))


def test_missing_settings_take_their_default_and_whole_numbers_do_for_real_ones() -> None:
    config = from_dict(Outer, {"inner": {"rate": 2}})
    assert config == Outer(inner=Inner(rate=2.0))
    assert type(config.inner.rate) is float


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": 1}, "unknown setting size; Outer has count, flag, inner, kind, kinds, name, unexplained, where"),
        ({"inner": {"size": 1}}, "unknown setting inner.size; Inner has deep, rate"),
        ({"inner": 3}, "inner is 3, but must be a group of settings"),
        ({"inner": {"rate": "fast"}}, "inner.rate is 'fast', but must be of type float"),
        ({"inner": {"rate": True}}, "inner.rate is True, but must be of type float"),
        ({"inner": {"deep": 3}}, "inner.deep is 3, but must be a list"),
        ({"inner": {"deep": [1, "2"]}}, "inner.deep is '2', but must be of type int"),
        ({"kind": "z"}, "kind is 'z', but must be one of x, y"),
        ({"kinds": ["z"]}, "kinds is 'z', but must be one of x, y"),
        ({"where": 3}, "where is 3, but must be a path"),
        ({"count": 1.5}, "count is 1.5, but must be of type int"),
        ({"count": True}, "count is True, but must be of type int"),
        ({"name": None}, "name is None, but must be of type str"),
        ({"flag": 1}, "flag is 1, but must be of type bool"),
    ],
)
def test_a_value_that_does_not_fit_is_named(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        from_dict(Outer, values)
    assert str(error.value) == sentence


def test_explanations_are_the_lines_under_the_fields() -> None:
    assert explain(Inner) == {"rate": "a number", "deep": "several"}
    explained = explain(Outer)
    assert explained["name"] == "text over two lines"
    assert "unexplained" not in explained


@pytest.mark.parametrize("cls", [DataConfig, ComputeConfig])
def test_our_own_settings_are_explained_and_frozen(cls: Any) -> None:
    assert list(explain(cls)) == list(cls.__dataclass_fields__)
    with pytest.raises(FrozenInstanceError):
        setattr(cls(), next(iter(cls.__dataclass_fields__)), None)


@pytest.mark.parametrize(
    ("cls", "settings", "sentence"),
    [
        (DataConfig, {"size": 7}, "data.size is 7, but must be none or 8 to 1024 pixels"),
        (DataConfig, {"size": 1025}, "data.size is 1025, but must be none or 8 to 1024 pixels"),
        (DataConfig, {"holdout": 0.6}, "data.holdout is 0.6, but must be between 0 and 0.5"),
        (DataConfig, {"holdout": -0.1}, "data.holdout is -0.1, but must be between 0 and 0.5"),
        (DataConfig, {"limit": 0}, "data.limit is 0, but must be none or at least 1"),
        (ComputeConfig, {"processes": 0}, "compute.processes is 0, but must be at least 1"),
        (
            ComputeConfig,
            {"precision": "fp16", "device": "cpu"},
            "compute.precision is 'fp16', but must be float32 or bf16 on a CPU",
        ),
    ],
)
def test_a_value_out_of_range_is_named(cls: Any, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        cls(**settings)
    assert str(error.value) == sentence


def test_require_lets_pass_what_holds() -> None:
    require(True, "a", 1, "anything")
    with pytest.raises(UsageError, match=r"^a is 'b', but must be c$"):
        require(False, "a", "b", "c")


def test_settings_load_no_torch() -> None:
    code = "import sys, tenfold.core.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
