"""What governing shows: a free and a held agent from the same start, and the latents of a person's own observations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenfold.core.errors import UsageError
from tenfold.core.rl_config import LearnerSettings, MetricSettings, TrainSettings
from tenfold.core.run import Run
from tenfold.govern.config import Config, DemoOptions, ExploreSettings, GoverningSettings

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from tenfold.govern import train as training_module
from tenfold.govern.demo import GovernDemo, load

SMALL = Config(
    envs=("CartPole-v1",),
    methods=("ac-beta-vae", "plain"),
    explore=ExploreSettings(envs=()),
    governing=GoverningSettings(values=(-2.0, 2.0), steps=4, frames=0),
    learner=LearnerSettings(
        n_envs=4, n_steps=32, batch_size=64, n_epochs=4, hidden=(8, 8), normalize=True, learning_rate=1e-2
    ),
    train=TrainSettings(timesteps=1024, replicas=2, evaluations=1),
    metrics=MetricSettings(episodes=1, resamples=100),
)
ROWS = np.array([[0.0, 0.5, 0.01, -0.3], [0.1, -2.0, 0.2, 3.0], [-1.0, 1.0, -0.1, -1.0]], np.float32)


def learned(config: Config, folder: Path) -> Path:
    run = Run.create(folder, verb="govern", preset="custom", config=config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "draw_pictures", lambda *_: None)
        run.finish(training_module.train(config, run))
    return run.path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> GovernDemo:
    return load(learned(SMALL, tmp_path_factory.mktemp("small")))


def test_both_agents_play_and_their_latents_are_shown(demo: GovernDemo) -> None:
    shown = demo(DemoOptions(latents=(1,), values=(4.0,), steps=20, frames=3))
    assert shown["behaviour"].columns == ("what", "free", "z1 = 4")
    assert [row[0] for row in shown["behaviour"].rows][:2] == ["reward of a step", "mean cart place"]
    assert len(shown["latents"].columns) == 1 + 4
    assert len(shown["latents"].rows) == 8
    assert isinstance(shown["episode"], Image.Image)
    assert isinstance(shown["sensitivity"], Image.Image)
    assert demo(DemoOptions(latents=(1,), values=(4.0,), steps=20, frames=3))["behaviour"] == shown["behaviour"]


def test_a_held_latent_changes_what_the_agent_does(demo: GovernDemo) -> None:
    rows = demo(DemoOptions(latents=(0,), values=(5.0,), steps=30, frames=1))["behaviour"].rows
    assert any(free != held for _, free, held in rows[1:])


def test_a_persons_own_observations_are_read(demo: GovernDemo, tmp_path: Path) -> None:
    np.save(tmp_path / "seen.npy", ROWS)
    shown = demo(DemoOptions(observations=(tmp_path / "seen.npy",), steps=2, frames=1))
    assert len(shown["latents"].rows) == 3
    np.save(tmp_path / "first.npy", ROWS[:1])
    first = demo(DemoOptions(observations=(tmp_path / "first.npy",), steps=2, frames=1))
    assert first["latents"].rows[0] == shown["latents"].rows[0]


def test_observations_of_another_width_are_refused(demo: GovernDemo, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 5), np.float32))
    with pytest.raises(UsageError, match="observations have 5 numbers, but must have 4"):
        demo(DemoOptions(observations=(tmp_path / "wide.npy",)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (DemoOptions(env="Pong"), r"env is 'Pong', method 'ac-beta-vae' and replica 0, but the run has agents with"),
        (DemoOptions(method="vae"), r"method 'vae'"),
        (DemoOptions(method="plain"), r"method 'plain'"),
        (DemoOptions(replica=2), r"replica 2, but .* replicas 0 to 1"),
        (DemoOptions(latents=(4,)), r"set has latent 4, but must have 0 to 3"),
        (DemoOptions(values=(7.0,)), r"set has 7\.0 for latent 0, but must be between -5\.0 and 5\.0"),
    ],
)
def test_what_the_run_has_not_is_named(demo: GovernDemo, options: DemoOptions, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        demo(options)


def test_a_run_without_latents_has_no_demo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no agents with latents, which the demo needs; it has plain"):
        load(learned(replace(SMALL, methods=("plain",)), tmp_path))
