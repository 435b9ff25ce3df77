"""Settings of reinforcement learning: what is refused, and by which name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenfold.core.config import CrewSettings, explain, from_dict, to_dict
from tenfold.core.errors import UsageError
from tenfold.core.rl_config import LearnerSettings, MetricSettings, TrainSettings


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LearnerSettings(n_envs=0), r"learner\.n_envs is 0, but must be at least 1"),
        (lambda: LearnerSettings(n_steps=0), r"learner\.n_steps is 0, but must be at least 1"),
        (lambda: LearnerSettings(n_envs=1, n_steps=1), r"learner\.n_steps is 1, but must be at least 2 where there is"),
        (lambda: LearnerSettings(batch_size=1), r"learner\.batch_size is 1, but must be at least 2"),
        (lambda: LearnerSettings(n_epochs=0), r"learner\.n_epochs is 0, but must be at least 1"),
        (lambda: LearnerSettings(learning_rate=0.0), r"learner\.learning_rate is 0\.0, but must be above 0"),
        (lambda: LearnerSettings(gamma=0.0), r"learner\.gamma is 0\.0, but must be above 0 and at most 1"),
        (lambda: LearnerSettings(gamma=1.01), r"learner\.gamma is 1\.01"),
        (lambda: LearnerSettings(gae_lambda=-0.01), r"learner\.gae_lambda is -0\.01, but must be between 0 and 1"),
        (lambda: LearnerSettings(gae_lambda=1.01), r"learner\.gae_lambda is 1\.01"),
        (lambda: LearnerSettings(clip_range=0.0), r"learner\.clip_range is 0\.0, but must be above 0"),
        (lambda: LearnerSettings(hidden=()), r"learner\.hidden is \(\), but must be at least one width above 0"),
        (lambda: LearnerSettings(hidden=(8, 0)), r"learner\.hidden is \(8, 0\)"),
        (lambda: TrainSettings(timesteps=0), r"train\.timesteps is 0, but must be at least 1"),
        (lambda: TrainSettings(replicas=0), r"train\.replicas is 0, but must be at least 1"),
        (lambda: TrainSettings(evaluations=0), r"train\.evaluations is 0, but must be 1 to train\.timesteps"),
        (
            lambda: TrainSettings(timesteps=9, evaluations=10),
            r"train\.evaluations is 10, but must be 1 to train\.timesteps",
        ),
        (lambda: MetricSettings(episodes=0), r"metrics\.episodes is 0, but must be at least 1"),
        (lambda: MetricSettings(resamples=99), r"metrics\.resamples is 99, but must be at least 100"),
        (lambda: CrewSettings(workers=0), r"crew\.workers is 0, but must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}"):
        make()


@pytest.mark.parametrize("batch_size", [50, 96, 512])
def test_batches_that_do_not_divide_the_rollout_are_refused_for_ppo(batch_size: int) -> None:
    with pytest.raises(UsageError, match=rf"^learner\.batch_size is {batch_size}"):
        LearnerSettings(n_envs=8, n_steps=32, batch_size=batch_size)


def test_a2c_takes_the_whole_rollout_whatever_the_batch_size() -> None:
    assert LearnerSettings(algorithm="a2c", n_envs=16, n_steps=5, batch_size=256)


def test_settings_at_their_limits_are_taken() -> None:
    assert LearnerSettings(n_envs=1, n_steps=2, batch_size=2, n_epochs=1, gamma=1.0, gae_lambda=0.0, hidden=(1,))
    assert LearnerSettings(n_envs=2, n_steps=1, batch_size=2, gae_lambda=1.0)
    assert TrainSettings(timesteps=1, replicas=1, evaluations=1)
    assert MetricSettings(episodes=1, resamples=100)
    assert CrewSettings(workers=1)


@pytest.mark.parametrize("settings", [LearnerSettings, TrainSettings, MetricSettings, CrewSettings])
def test_every_setting_is_explained_and_can_be_kept(settings: type) -> None:
    assert set(explain(settings)) == set(to_dict(settings()))
    assert from_dict(settings, to_dict(settings())) == settings()
