"""What a trained population shows: every member's return, an episode, answers to a person's own observations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold import commands
from tenfold.core.demo import Rows
from tenfold.core.errors import UsageError
from tenfold.core.run import Run
from tenfold.evolve.config import (
    Config,
    DemoOptions,
    GeneticSettings,
    LearnerSettings,
    MetricSettings,
    TrainSettings,
)

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from tenfold.core.rl_environments import load_normalizer, make_environments
from tenfold.core.rl_training import Training
from tenfold.evolve import train as training_module
from tenfold.evolve.demo import EvolveDemo, load
from tenfold.evolve.evaluate import load_run
from tenfold.evolve.trainings import load_model

SMALL = Config(
    envs=("CartPole-v1", "Pendulum-v1"),
    methods=("genetic",),
    population=3,
    genetics=GeneticSettings(elite_share=0.2, phase_steps=0),
    learner=LearnerSettings(n_envs=4, n_steps=32, batch_size=64, n_epochs=2, hidden=(8, 8), normalize=True),
    train=TrainSettings(timesteps=256, replicas=2, evaluations=1),
    metrics=MetricSettings(episodes=1, resamples=100),
)
ROWS = np.array([[0.0, 0.5, 0.01, -0.3], [0.1, -2.0, 0.2, 3.0], [-1.0, 1.0, -0.1, -1.0]], np.float32)


def learned(config: Config, folder: Path) -> Run:
    run = Run.create(folder, verb="evolve", preset="custom", config=config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "draw_pictures", lambda *_: None)
        run.finish(training_module.train(config, run))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return learned(SMALL, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def demo(run: Run) -> EvolveDemo:
    return load(run.path)


@pytest.fixture(scope="module")
def shown(demo: EvolveDemo) -> dict[str, Any]:
    return demo(DemoOptions(frames=5))


def test_it_gives_what_it_declares(demo: EvolveDemo, shown: dict[str, Any], run: Run) -> None:
    assert [(output.name, output.kind) for output in demo.outputs] == [
        ("returns", "table"),
        ("episode", "picture"),
        ("actions", "table"),
    ]
    assert list(shown) == [output.name for output in demo.outputs]
    assert isinstance(shown["returns"], Rows)
    assert isinstance(shown["episode"], Image.Image)
    assert isinstance(shown["actions"], Rows)
    assert isinstance(commands.load_demo(run.path), EvolveDemo)


def test_everyone_plays_the_same_episode(shown: dict[str, Any]) -> None:
    table = shown["returns"]
    assert table.columns == ("who", "return", "steps")
    assert [row[0] for row in table.rows] == ["the elite", "vote of all", "member 0", "member 1", "member 2"]
    assert all(float(row[1]) == int(row[2]) for row in table.rows)  # of CartPole every step is worth 1
    elite = [row[1:] for row in table.rows if row[0] == "member 0"]  # the elite is the first
    assert table.rows[0][1:] == elite[0]


def test_returns_are_those_of_the_members(run: Run) -> None:
    """Against an episode of each, played here with the plain policy that acts as the member."""
    import gymnasium

    config, states = load_run(run.path)
    training = Training("CartPole-v1", "genetic", 0)
    policy = states[training]["policy"]
    policy["action_net.weight"].copy_(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    for member in range(3):
        policy["gate.chromosomes"][member] = 0
        policy["gate.chromosomes"][member, member * 2 : member * 2 + 4] = 1
    rows = EvolveDemo(config, states)(DemoOptions())["returns"].rows
    environments = make_environments("CartPole-v1", 1, seed=0, training=False, normalize=True)
    model: Any = load_model(config, training, states[training], environments)
    plain: Any = load_model(config, replace(training, method="plain"), {"policy": model.policy.extract()}, environments)
    load_normalizer(environments, states[training]["normalizer"])
    for member in range(3):
        plain.policy.load_state_dict(model.policy.extract(member))
        game = gymnasium.make("CartPole-v1")
        observation, _ = game.reset(seed=0)
        steps, over = 0, False
        while not over:
            action, _ = plain.predict(environments.normalize_obs(observation), deterministic=True)  # type: ignore[attr-defined]
            observation, _, ended, stopped, _ = game.step(int(action))
            steps, over = steps + 1, ended or stopped
        assert rows[2 + member] == (f"member {member}", f"{steps:.2f}", str(steps))
    assert len({row[1] for row in rows[2:]}) == 3


def test_the_episode_has_as_many_pictures_as_asked_for(demo: EvolveDemo, shown: dict[str, Any]) -> None:
    one = demo(DemoOptions(frames=1))["episode"]
    many = demo(DemoOptions(frames=64))["episode"]
    assert one.width < shown["episode"].width == many.width  # rows of four
    assert one.height < shown["episode"].height <= many.height
    assert len(np.unique(np.asarray(one))) > 10


def test_a_demo_repeats_by_its_seed(demo: EvolveDemo, shown: dict[str, Any]) -> None:
    again = demo(DemoOptions(frames=5))
    assert again["returns"] == shown["returns"]
    assert again["actions"] == shown["actions"]
    assert again["episode"].tobytes() == shown["episode"].tobytes()
    other = demo(DemoOptions(frames=5, seed=1))
    assert other["returns"] != shown["returns"]
    assert other["episode"].tobytes() != shown["episode"].tobytes()


def test_without_observations_the_beginning_of_the_episode_is_answered(shown: dict[str, Any]) -> None:
    table = shown["actions"]
    assert table.columns == ("observation", "elite", "vote", "spread")
    assert [row[0] for row in table.rows] == [str(number) for number in range(8)]
    for _, elite, vote, spread in table.rows:
        assert {elite, vote} <= {"0", "1"}
        assert 0 <= float(spread) <= 0.5


def test_observations_of_files_are_answered(demo: EvolveDemo, run: Run, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.csv", ROWS[:2], delimiter=",", header="x,speed,angle,turn", comments="")
    np.save(tmp_path / "b.npy", ROWS[2:].astype(np.float64))
    np.savez(tmp_path / "c.npz", observations=ROWS[:1], others=ROWS)
    files = tuple(tmp_path / name for name in ("a.csv", "b.npy", "c.npz"))
    table = demo(DemoOptions(observations=files, replica=1))["actions"]
    assert [row[0] for row in table.rows] == ["0", "1", "2", "3"]
    assert table.rows[3][1:] == table.rows[0][1:]
    config, states = load_run(run.path)
    training = Training("CartPole-v1", "genetic", 1)
    environments = make_environments("CartPole-v1", 1, seed=0, training=False, normalize=True)
    model: Any = load_model(config, training, states[training], environments)
    load_normalizer(environments, states[training]["normalizer"])
    scaled = environments.normalize_obs(ROWS)  # type: ignore[attr-defined]
    elite, _ = model.predict(scaled, deterministic=True)
    vote, spread = model.predict(scaled, deterministic=True, vote="population")
    for row, *wanted in zip(table.rows, elite, vote, spread, strict=False):
        assert row[1:] == tuple(f"{float(value):.3g}" for value in wanted)


def test_actions_of_numbers_are_answered_by_numbers(demo: EvolveDemo, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.0, 0.0, 0.5], [-1.0, 0.1, -4.0]]))
    found = demo(DemoOptions(observations=(tmp_path / "a.npy",), env="Pendulum-v1"))
    assert len(found["actions"].rows) == 2
    assert all(-2 <= float(row[1]) <= 2 and float(row[3]) >= 0 for row in found["actions"].rows)
    assert all(row[2] == "200" and float(row[1]) < 0 for row in found["returns"].rows)


def test_observations_of_another_width_are_refused(demo: EvolveDemo, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.save(tmp_path / "b.npy", ROWS[:, :3])
    with pytest.raises(UsageError, match=r"^observations have 3 numbers, but must have 4$"):
        demo(DemoOptions(observations=(tmp_path / "a.npy", tmp_path / "b.npy")))
    with pytest.raises(UsageError, match=r"none\.npy does not exist, but must be a file of observations"):
        demo(DemoOptions(observations=(tmp_path / "none.npy",)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (DemoOptions(env="Acrobot-v1"), "^env is 'Acrobot-v1' and replica 0, but the run has genetic gates in"),
        (
            DemoOptions(replica=2),
            "replica 2, but the run has genetic gates in CartPole-v1, Pendulum-v1, replicas 0 to 1$",
        ),
    ],
)
def test_what_the_run_has_not_is_refused(demo: EvolveDemo, options: DemoOptions, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        demo(options)


def test_observations_that_are_no_rows_are_refused(tmp_path: Path) -> None:
    small = replace(SMALL.train, timesteps=128, replicas=1)
    plain = replace(SMALL.learner, normalize=False)
    run = learned(replace(SMALL, envs=("FrozenLake-v1",), train=small, learner=plain), tmp_path)
    found = load(run.path)(DemoOptions())
    assert found["episode"].width > 100
    np.save(tmp_path / "a.npy", ROWS)
    with pytest.raises(
        UsageError, match=r"observations are rows of numbers, but those of this environment are Discrete"
    ):
        load(run.path)(DemoOptions(observations=(tmp_path / "a.npy",)))


def test_a_run_without_the_method_has_no_demo(tmp_path: Path) -> None:
    small = replace(SMALL.train, timesteps=128, replicas=1)
    run = learned(replace(SMALL, envs=("CartPole-v1",), methods=("random", "plain"), train=small), tmp_path)
    with pytest.raises(
        UsageError, match=r"was trained without genetic gates, which the demo needs; it has random, plain$"
    ):
        load(run.path)
