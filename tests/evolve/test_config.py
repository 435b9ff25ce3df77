from __future__ import annotations

from collections.abc import Callable

import pytest

from tenfold.core.config import ComputeConfig, from_dict, to_dict
from tenfold.core.errors import UsageError
from tenfold.evolve.config import (
    PRESETS,
    Config,
    DemoOptions,
    EvalOptions,
    GeneticSettings,
    LearnerSettings,
    RivalSettings,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: GeneticSettings(elite_share=-0.01), r"elite_share is -0\.01, but must be between 0 and 1"),
        (lambda: GeneticSettings(elite_share=1.01), r"elite_share is 1\.01"),
        (lambda: GeneticSettings(elite_share=NAN), r"elite_share is nan"),
        (lambda: GeneticSettings(phase_steps=-1), r"phase_steps is -1, but must be at least 0"),
        (lambda: GeneticSettings(episodes=0), r"episodes is 0, but must be at least 1"),
        (lambda: GeneticSettings(tournament_size=0), r"tournament_size is 0, but must be at least 1"),
        (lambda: GeneticSettings(crossover_rate=-0.1), r"crossover_rate is -0\.1, but must be between 0 and 1"),
        (lambda: GeneticSettings(crossover_rate=1.1), r"crossover_rate is 1\.1"),
        (lambda: GeneticSettings(mutation_rate=-0.1), r"mutation_rate is -0\.1, but must be between 0 and 1"),
        (lambda: GeneticSettings(mutation_rate=1.1), r"mutation_rate is 1\.1"),
        (lambda: GeneticSettings(elites=0), r"elites is 0, but must be at least 1"),
        (lambda: GeneticSettings(start_open=0.0), r"start_open is 0\.0, but must be above 0 and at most 1"),
        (lambda: GeneticSettings(start_open=1.1), r"start_open is 1\.1"),
        (lambda: RivalSettings(members=3, parents=1), r"rivals\.members is 3, but must be at least 4"),
        (lambda: RivalSettings(parents=0), r"rivals\.parents is 0, but must be at least 1 and below rivals\.members"),
        (lambda: RivalSettings(members=8, parents=8), r"rivals\.parents is 8"),
        (lambda: RivalSettings(noise=0.0), r"rivals\.noise is 0\.0, but must be above 0"),
        (lambda: Config(envs=()), r"envs is \(\), but must be at least one"),
        (lambda: Config(envs=("a-v0", "b-v0", "a-v0")), r"envs is .* but must be without repetition"),
        (lambda: Config(methods=()), r"methods is \(\), but must be at least one"),
        (lambda: Config(methods=("plain", "plain")), r"methods is .* but must be without repetition"),
        (lambda: Config(population=1), r"population is 1, but must be at least 2"),
        (lambda: Config(compute=ComputeConfig(processes=2)), r"compute\.processes is 2, but must be 1; crew\.workers"),
        (lambda: Config(compute=ComputeConfig(precision="bf16")), r"compute\.precision is 'bf16', but must be float32"),
        (lambda: Config(seed=-1), r"seed is -1, but must be at least 0"),
        (lambda: EvalOptions(episodes=0), r"episodes is 0, but must be none or at least 1"),
        (lambda: DemoOptions(replica=-1), r"replica is -1, but must be at least 0"),
        (lambda: DemoOptions(frames=0), r"frames is 0, but must be 1 to 64"),
        (lambda: DemoOptions(frames=65), r"frames is 65"),
        (lambda: DemoOptions(seed=-1), r"seed is -1, but must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}"):
        make()


def test_a_seed_that_nothing_can_be_seeded_with_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^seed is 2147483648"):
        DemoOptions(seed=2**31)


def test_evolved_weights_are_refused_for_pictures() -> None:
    sentence = r"^methods is \('genetic', 'weights'\), but must be without weights for \['ALE/Pong-v5'\]"
    with pytest.raises(UsageError, match=sentence):
        Config(envs=("CartPole-v1", "ALE/Pong-v5"), methods=("genetic", "weights"))
    assert Config(envs=("CartPole-v1",), methods=("genetic", "weights"))
    assert Config(envs=("ALE/Pong-v5",), methods=("genetic", "plain", "random"))


def test_pictures_are_not_normalized() -> None:
    """Running statistics would make them numbers of any sign, which the convolutions do not take."""
    with pytest.raises(UsageError, match=r"^learner\.normalize is True"):
        Config(envs=("ALE/Pong-v5",), learner=LearnerSettings(normalize=True))


def test_settings_at_their_limits_are_taken() -> None:
    for share in (0.0, 1.0):
        assert GeneticSettings(elite_share=share, crossover_rate=share, mutation_rate=share)
    assert GeneticSettings(phase_steps=0, episodes=1, tournament_size=1, elites=1, start_open=1.0)
    assert RivalSettings(members=4, parents=1)
    assert RivalSettings(members=4, parents=3)
    assert Config(population=2, seed=0)
    assert EvalOptions(episodes=1)
    assert [DemoOptions(frames=frames).frames for frames in (1, 64)] == [1, 64]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_trainable_by_name(preset: str) -> None:
    config = PRESETS[preset]
    assert from_dict(Config, to_dict(config)) == config
    assert "genetic" in config.methods
    assert "plain" in config.methods
    learner = config.learner
    assert learner.algorithm == "a2c" or (learner.n_envs * learner.n_steps) % learner.batch_size == 0
    with pytest.raises(UsageError, match=r"^learner\.gamma is 2"):
        from_dict(Config, to_dict(config) | {"learner": {"gamma": 2.0}})


def test_presets_are_what_they_say() -> None:
    assert set(PRESETS) == {"smoke", "laptop", "paper", "atari-ppo", "mujoco"}
    for name in ("paper", "atari-ppo"):
        preset = PRESETS[name]
        assert all(env.startswith("ALE/") for env in preset.envs)
        assert (preset.train.timesteps, preset.learner.schedule) == (10_000_000, "linear")
        assert not preset.metrics.deterministic
    assert PRESETS["paper"].learner.algorithm == "a2c"
    assert PRESETS["atari-ppo"].learner.algorithm == "ppo"
    assert PRESETS["mujoco"].learner.normalize
    assert PRESETS["laptop"].crew.workers == 2
