from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenfold.core.config import explain, from_dict, to_dict
from tenfold.core.errors import UsageError
from tenfold.resize.config import (
    PRESETS,
    Config,
    DemoOptions,
    EvalOptions,
    GateSettings,
    NetSettings,
    TrainSettings,
)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_their_json(preset: str) -> None:
    assert from_dict(Config, to_dict(PRESETS[preset])) == PRESETS[preset]


@pytest.mark.parametrize("cls", [Config, GateSettings, NetSettings, TrainSettings, EvalOptions, DemoOptions])
def test_every_setting_is_explained(cls: type) -> None:
    assert list(explain(cls)) == list(cls.__dataclass_fields__)  # type: ignore[attr-defined]


def test_the_paper_preset_is_the_method_without_what_is_ours() -> None:
    paper = PRESETS["paper"]
    assert paper.train.distill_weight == 0
    assert paper.calibration == 0
    assert paper.gate.cost == "blocks"
    assert paper.gate.estimator == "mixed"
    assert paper.train.gate_learning_rate == 1.0


def test_reading_settings_loads_no_torch() -> None:
    code = (
        "import sys, tenfold.resize.config, tenfold.resize; tenfold.resize.PRESETS; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("cls", "settings", "sentence"),
    [
        (GateSettings, {"hidden": 0}, "gate.hidden is 0, but must be at least 1"),
        (GateSettings, {"soft_probability": 1.5}, "gate.soft_probability is 1.5, but must be between 0 and 1"),
        (GateSettings, {"soft_probability": float("nan")}, "gate.soft_probability is nan, but must be between 0 and 1"),
        (GateSettings, {"start": 11.0}, "gate.start is 11.0, but must be between -10 and 10"),
        (NetSettings, {"width": 0}, "net.width is 0, but must be at least 1"),
        (TrainSettings, {"epochs": 0}, "train.epochs is 0, but must be at least 1"),
        (TrainSettings, {"batch_size": 0}, "train.batch_size is 0, but must be at least 1"),
        (TrainSettings, {"learning_rate": 0.0}, "train.learning_rate is 0.0, but must be above 0"),
        (TrainSettings, {"open_share": 1.0}, "train.open_share is 1.0, but must be at least 0 and below 1"),
        (TrainSettings, {"scale_min": 0.9, "scale_max": 0.5}, "scale_max is (0.9, 0.5), but must be ordered"),
        (TrainSettings, {"scale_min": 0.0}, "scale_min and scale_max is (0.0, 1.0), but must be ordered, above 0"),
        (TrainSettings, {"scale_max": 1.1}, "scale_min and scale_max is (0.3, 1.1), but must be ordered, above 0"),
        (TrainSettings, {"scale_weight": -1.0}, "train.scale_weight is -1.0, but must be at least 0"),
        (TrainSettings, {"distill_weight": -1.0}, "train.distill_weight is -1.0, but must be at least 0"),
        (TrainSettings, {"temperature": 0.0}, "train.temperature is 0.0, but must be above 0"),
        (TrainSettings, {"pad": 33}, "train.pad is 33, but must be 0 to 32 pixels"),
        (TrainSettings, {"save_every": 0}, "train.save_every is 0, but must be at least 1"),
        (Config, {"compare_at": (0.5, 1.0)}, "compare_at is 1.0, but must be above 0 and below 1"),
        (Config, {"calibration": -1}, "calibration is -1, but must be at least 0"),
        (Config, {"seed": -1}, "seed is -1, but must be at least 0"),
        (EvalOptions, {"scale": (0.5, 0.0)}, "scale is 0.0, but must be above 0 and at most 1"),
        (EvalOptions, {"batch_size": 0}, "batch_size is 0, but must be at least 1"),
        (DemoOptions, {"images": (Path("a"),), "scale": 1.5}, "scale is 1.5, but must be above 0 and at most 1"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(cls: type, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        cls(**settings)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"gate": {"form": "magic"}}, "gate.form is 'magic', but must be one of concat, monotone, static, random"),
        ({"gate": {"colour": 1}}, "unknown setting gate.colour"),
        ({"train": {"epochs": 2.5}}, "train.epochs is 2.5, but must be of type int"),
        ({"baselines": ["none"]}, "baselines is 'none', but must be one of ungated, random, shallow"),
    ],
)
def test_a_wrong_setting_in_a_file_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as error:
        from_dict(Config, values)
    assert named in str(error.value)
