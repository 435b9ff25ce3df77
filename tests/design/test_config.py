"""Settings: what is out of range is refused in a sentence, and presets are what they promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.core.config import ComputeConfig, explain, from_dict, to_dict
from tenfold.core.errors import UsageError
from tenfold.design.config import (
    METHODS,
    PRESETS,
    Config,
    DemoOptions,
    EvalOptions,
    JudgeSettings,
    PolicySettings,
    numbers_of,
)
from tenfold.design.tasks import find_task
from tenfold.design.trainings import trainings_of, wishes_of

NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PolicySettings(designs=1), r"policy\.designs is 1, but must be at least 2"),
        (lambda: PolicySettings(batch_size=1), r"policy\.batch_size is 1, but must be at least 2"),
        (lambda: PolicySettings(n_epochs=0), r"policy\.n_epochs is 0, but must be at least 1"),
        (lambda: PolicySettings(elites=0), r"policy\.elites is 0, but must be at least 1"),
        (lambda: PolicySettings(learning_rate=0), r"policy\.learning_rate is 0, but must be above 0"),
        (lambda: PolicySettings(learning_rate=NAN), r"policy\.learning_rate is nan, but must be above 0"),
        (lambda: PolicySettings(clip_range=-0.1), r"policy\.clip_range is -0\.1, but must be above 0"),
        (lambda: PolicySettings(spread=0), r"policy\.spread is 0, but must be above 0"),
        (lambda: PolicySettings(cooled=0), r"policy\.cooled is 0, but must be above 0 and at most 1"),
        (lambda: PolicySettings(cooled=1.01), r"policy\.cooled is 1\.01, but must be above 0 and at most 1"),
        (lambda: PolicySettings(cooled=NAN), r"policy\.cooled is nan"),
        (lambda: PolicySettings(imitation=-1), r"policy\.imitation is -1, but must be at least 0"),
        (lambda: PolicySettings(imitation=NAN), r"policy\.imitation is nan"),
        (lambda: PolicySettings(gae_lambda=1.5), r"policy\.gae_lambda is 1\.5, but must be between 0 and 1"),
        (lambda: PolicySettings(hidden=()), r"policy\.hidden is \(\), but must be at least one width above 0"),
        (lambda: PolicySettings(hidden=(8, 0)), r"policy\.hidden is \(8, 0\), but must be at least one width above 0"),
        (lambda: JudgeSettings(finalists=0), r"judge\.finalists is 0, but must be at least 1"),
        (lambda: JudgeSettings(tests=0), r"judge\.tests is 0, but must be at least 1"),
        (lambda: JudgeSettings(held_out=0), r"judge\.held_out is 0, but must be at least 1"),
        (lambda: JudgeSettings(resamples=99), r"judge\.resamples is 99, but must be at least 100"),
        (lambda: Config(tasks=()), r"tasks is \(\), but must be at least one"),
        (lambda: Config(tasks=("Cup", "Cup")), r"tasks is \('Cup', 'Cup'\), but must be without repetition"),
        (lambda: Config(methods=()), r"methods is \(\), but must be at least one"),
        (lambda: Config(methods=("ppo", "ppo")), r"methods is .* but must be without repetition"),
        (lambda: Config(calls=0, evaluations=1), r"calls is 0, but must be at least 1"),
        (lambda: Config(replicas=0), r"replicas is 0, but must be at least 1"),
        (lambda: Config(evaluations=0), r"evaluations is 0, but must be 1 to calls"),
        (lambda: Config(calls=9, evaluations=10), r"evaluations is 10, but must be 1 to calls"),
        (lambda: Config(compute=ComputeConfig(processes=2)), r"compute\.processes is 2, but must be 1; crew\.workers"),
        (lambda: Config(compute=ComputeConfig(precision="bf16")), r"compute\.precision is 'bf16', but must be float32"),
        (lambda: Config(seed=-1), r"seed is -1, but must be at least 0"),
        (lambda: Config(wants=("hold_ml",)), r"wants is 'hold_ml', but must be a name and a number, such as"),
        (lambda: EvalOptions(held_out=0), r"held_out is 0, but must be none or at least 1"),
        (lambda: DemoOptions(count=0), r"count is 0, but must be 1 to 24"),
        (lambda: DemoOptions(count=25), r"count is 25, but must be 1 to 24"),
        (lambda: DemoOptions(replica=-1), r"replica is -1, but must be at least 0"),
        (lambda: DemoOptions(goals=("light",)), r"goals is 'light', but must be a name and a number"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}"):
        make()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"methods": ["sgd"]}, "methods is 'sgd', but must be one of ppo, cma-es, climbing, random"),
        ({"wishes": "two"}, "wishes is 'two', but must be one of many, one"),
        ({"policy": {"width": 3}}, "unknown setting policy.width"),
        ({"policy": {"cooled": 0}}, "policy.cooled is 0.0, but must be above 0"),
        ({"judge": {"tests": "3"}}, "judge.tests is '3', but must be of type int"),
        ({"calls": True}, "calls is True, but must be of type int"),
    ],
)
def test_damaged_settings_of_a_folder_are_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        from_dict(Config, values)
    assert str(refused.value).startswith(sentence)


def test_bounds_themselves_are_allowed() -> None:
    PolicySettings(designs=2, batch_size=2, n_epochs=1, elites=1, cooled=1, imitation=0, gae_lambda=0, hidden=(1,))
    JudgeSettings(finalists=1, tests=1, held_out=1, resamples=100)
    Config(calls=1, evaluations=1, replicas=1, seed=0)
    DemoOptions(count=1)
    DemoOptions(count=24)


# numbers by name


def test_numbers_are_read_by_name() -> None:
    assert numbers_of(("hold_ml=300", "light=-2.5", "low=1e3"), "wants") == {"hold_ml": 300, "light": -2.5, "low": 1000}
    assert numbers_of((), "wants") == {}


@pytest.mark.parametrize("text", ["", "hold_ml", "=3", "hold_ml=", "hold_ml=much", "hold_ml=3=4", "hold_ml:3", "300"])
def test_what_is_no_name_and_number_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        numbers_of(("light=1", text), "goals")
    assert str(refused.value) == f"goals is {text!r}, but must be a name and a number, such as hold_ml=300"


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^wants is 'a=2', but must be each name once$"):
        numbers_of(("a=1", "b=1", "a=2"), "wants")


# presets


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back_from_its_plain_values(name: str) -> None:
    assert from_dict(Config, to_dict(PRESETS[name])) == PRESETS[name]


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_tasks_can_be_wished_for(name: str) -> None:
    pytest.importorskip("mujoco")
    for task in PRESETS[name].tasks:
        assert set(wishes_of(PRESETS[name], find_task(task))) == {"own"} | {g.name for g in find_task(task).goals}


def test_presets_have_what_they_promise() -> None:
    smoke, laptop, paper = (PRESETS[name] for name in ("smoke", "laptop", "paper"))
    assert laptop == Config()
    assert smoke.tasks == ("Cup",)
    assert (smoke.crew.workers, smoke.replicas) == (1, 1)
    for config in (laptop, paper):
        assert config.tasks == ("Cup", "Stool", "Stand", "Bridge")
        assert config.methods == METHODS
        assert config.replicas >= 3
    assert smoke.calls < laptop.calls < paper.calls
    assert len(trainings_of(laptop)) == 4 * 4 * laptop.replicas
    for config in PRESETS.values():
        assert config.calls // config.evaluations >= config.policy.designs
        assert config.policy.designs * 4 <= config.calls
        assert config.judge.held_out >= 2


@pytest.mark.parametrize("kind", [Config, PolicySettings, JudgeSettings, EvalOptions, DemoOptions])
def test_every_setting_is_explained(kind: type) -> None:
    assert set(explain(kind)) == set(kind.__dataclass_fields__)  # type: ignore[attr-defined]


def test_settings_with_paths_and_lists_come_back() -> None:
    config = replace(Config(), wants=("hold_ml=200",), policy=PolicySettings(hidden=(8,)))
    assert from_dict(Config, to_dict(config)) == config
    options = DemoOptions(recipe=Path("cup.json"), goals=("light=2",))
    assert from_dict(DemoOptions, to_dict(options)) == options
