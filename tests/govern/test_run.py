"""A whole run: it repeats, goes on where it was stopped, and comes out the same however its legs are spread."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tenfold import commands
from tenfold.core.errors import UsageError
from tenfold.core.rl_config import LearnerSettings, MetricSettings, TrainSettings
from tenfold.core.run import Run
from tenfold.govern.config import Config, EvalOptions, ExploreSettings, GoverningSettings

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from tenfold.core.rl_training import Training
from tenfold.govern import train as training_module
from tenfold.govern.evaluate import evaluate, load_run
from tenfold.govern.tables import governing_columns
from tenfold.govern.trainings import decoder_inputs, explore, leg, sweep_of, sweep_state, trainings_of, world_model

HEART = "tenfold/SmallHeart-v0"
WORLD = "tenfold-SmallHeart-v0"
TINY = Config(
    envs=("CartPole-v1",),
    methods=("ac-beta-vae", "beta-vae", "plain"),
    explore=ExploreSettings(models=("ac-beta-vae", "vae"), steps=128, epochs=1, batch_size=32, hidden=(8,), scored=64),
    governing=GoverningSettings(values=(-2.0, 2.0), steps=8, frames=2),
    learner=LearnerSettings(n_envs=4, n_steps=32, batch_size=64, n_epochs=1, hidden=(16, 16), normalize=True),
    train=TrainSettings(timesteps=256, replicas=2, evaluations=2),
    metrics=MetricSettings(episodes=2, resamples=100),
)


def created(config: Config, folder: Path) -> Run:
    return Run.create(folder, verb="govern", preset="custom", config=config)


def logged(run: Run) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in line.items() if name != "time"} for line in run.metrics()]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "draw_pictures", lambda *_: None)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "draw_pictures", lambda *_: None)
        run = created(TINY, tmp_path_factory.mktemp("straight"))
        run.finish(training_module.train(TINY, run))
    return Run.open(run.path)


def test_worlds_come_before_agents() -> None:
    assert [training.row for training in trainings_of(TINY)][::2] == [
        f"{WORLD} ac-beta-vae",
        f"{WORLD} vae",
        "CartPole-v1 ac-beta-vae",
        "CartPole-v1 beta-vae",
        "CartPole-v1 plain",
    ]


def test_metrics_are_named_by_row_and_column(straight: Run) -> None:
    columns: dict[str, list[str]] = {}
    for name in straight.status["metrics"]:
        row, _, column = name.partition("/")
        columns.setdefault(row, []).append(column)
    returns = ["final return", "final low", "final high", "area", "area low", "area high"]
    share = ["mapped share", "mapped share low", "mapped share high"]
    governed = ["strongest shift", "mean shift", "free reward", "least governed reward", "most governed reward"]
    assert columns["CartPole-v1 plain"] == returns
    assert columns["CartPole-v1 beta-vae"] == returns + share
    assert columns["CartPole-v1 ac-beta-vae"] == returns + share + governed
    assert {"disentanglement", "completeness", "informativeness", "reconstruction", "kl"} <= set(
        columns[f"{WORLD} ac-beta-vae"]
    )
    assert columns["CartPole-v1 ac-beta-vae - plain"][0] == "final return"
    assert list(columns) == [
        f"{WORLD} ac-beta-vae",
        f"{WORLD} vae",
        "CartPole-v1 ac-beta-vae",
        "CartPole-v1 beta-vae",
        "CartPole-v1 plain",
        "CartPole-v1 ac-beta-vae - plain",
    ]


def test_every_evaluation_is_logged_under_its_own_name(straight: Run) -> None:
    lines = straight.metrics()
    assert len(lines) == 5 * 2
    for line in lines:
        value = "reconstruction" if line["stage"].startswith(WORLD) else "return"
        assert line[f"{value} low"] <= line[value] <= line[f"{value} high"]
    assert [line["step"] for line in lines if line["stage"] == f"{WORLD} vae"] == [64, 128]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_metrics_and_another_does_not(straight: Run, tmp_path: Path) -> None:
    again = created(TINY, tmp_path)
    assert training_module.train(TINY, again) == straight.status["metrics"]
    assert logged(again) == logged(straight)
    other = replace(TINY, seed=1)
    changed = training_module.train(other, created(other, tmp_path))
    for row in (f"{WORLD} vae/reconstruction", "CartPole-v1 ac-beta-vae/mapped share"):
        assert changed[row] != straight.status["metrics"][row]


def test_a_leg_depends_on_nothing_but_the_state_before() -> None:
    """Whatever was drawn elsewhere, and whichever process computes it."""
    for training in (Training(HEART, "ac-beta-vae", 0), Training("CartPole-v1", "ac-beta-vae", 1)):
        ends = []
        for disturbance in (3, 4):
            state: dict[str, Any] | None = None
            for _ in range(2):
                torch.manual_seed(disturbance)
                np.random.seed(disturbance)  # noqa: NPY002 - the generator that stable-baselines3 draws from
                random.seed(disturbance)
                state = leg(TINY, training, state)
            assert state is not None
            ends.append(state)
        first, second = ends
        key = "model" if training.env == HEART else "policy"
        assert all(torch.equal(value, second[key][name]) for name, value in first[key].items())
        assert (first["curve"], first["scores"]) == (second["curve"], second["scores"])


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_the_straight_one(straight: Run, tmp_path: Path) -> None:
    run, calls = created(TINY, tmp_path), 0

    class StoppedError(Exception):
        pass

    save = run.save

    def counted(*args: Any, **given: Any) -> None:
        nonlocal calls
        save(*args, **given)
        calls += 1
        if calls == 7:
            raise StoppedError

    run.save = counted  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        training_module.train(TINY, run)
    again = Run.open(run.path)
    assert training_module.train(TINY, again) == straight.status["metrics"]
    assert logged(again) == logged(straight)


def test_evaluation_finds_the_final_metrics_again(straight: Run) -> None:
    found = evaluate(straight.path, EvalOptions(rows=("CartPole-v1 beta-vae", f"{WORLD} vae")))
    assert {name.partition("/")[0] for name in found} == {"CartPole-v1 beta-vae", f"{WORLD} vae"}
    for name, value in found.items():
        assert value == pytest.approx(straight.status["metrics"][name], abs=1e-6), name


def test_an_unknown_row_is_named(straight: Run) -> None:
    with pytest.raises(UsageError, match=r"rows has 'Pong vae', but the run has tenfold-SmallHeart-v0 ac-beta-vae, "):
        evaluate(straight.path, EvalOptions(rows=("Pong vae",)))


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = created(TINY, tmp_path)
    monkeypatch.setattr(type(run.fabric), "world_size", property(lambda _: 2))
    with pytest.raises(UsageError, match="2 processes share the run, but must be 1"):
        training_module.train(TINY, run)


def test_an_environment_that_will_not_do_is_named(tmp_path: Path) -> None:
    config = replace(TINY, envs=("Nowhere-v7",), explore=ExploreSettings(envs=()))
    with pytest.raises(UsageError, match="the environment 'Nowhere-v7' cannot be made"):
        training_module.train(config, created(config, tmp_path))
    config = replace(TINY, latent=2, explore=ExploreSettings(envs=()))
    with pytest.raises(UsageError, match="latent is 2, but must be above 2"):
        training_module.train(config, created(config, tmp_path))


def test_a_sweep_survives_its_checkpoint(straight: Run) -> None:
    _, learned = load_run(straight.path)
    kept = learned[Training("CartPole-v1", "ac-beta-vae", 0)]["sweep"]
    sweep = sweep_of(kept)
    assert sweep.values == (-2.0, 2.0)
    assert sweep.shifts().shape == (2, 4)
    again = sweep_of(sweep_state(sweep))
    assert np.array_equal(again.shifts(), sweep.shifts())
    assert np.array_equal(again.rewards(), sweep.rewards())
    columns = governing_columns([sweep, sweep])
    assert columns["strongest shift"] == pytest.approx(np.abs(sweep.shifts()).max())
    assert columns["mean shift"] == pytest.approx(np.abs(sweep.shifts()).max(1).mean())


def test_the_decoders_input_is_mu_and_the_action_or_mu_of_the_state_itself() -> None:
    held_out = explore(HEART, 32, 5)
    conditional = world_model(TINY, Training(HEART, "ac-beta-vae", 0))
    expected = conditional.encode(held_out.observations)[0].numpy().copy()
    expected[:, :4] += held_out.actions - 1.0
    assert decoder_inputs(conditional, held_out) == pytest.approx(expected)
    plain = world_model(TINY, Training(HEART, "vae", 0))
    assert decoder_inputs(plain, held_out) == pytest.approx(plain.encode(held_out.next_observations)[0].numpy())


def test_models_of_one_replica_begin_with_equal_weights() -> None:
    first, second = (world_model(TINY, Training(HEART, kind, 0)) for kind in ("ac-beta-vae", "vae"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.slow
def test_workers_and_pictures_change_nothing(straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    config = replace(TINY, crew=replace(TINY.crew, workers=2))
    run = Run.open(commands.train("govern", config, root=tmp_path))
    assert run.status["metrics"] == straight.status["metrics"]
    assert {path.name for path in (run.path / "samples").iterdir()} >= {
        "learning curves.png",
        "probability of improvement.png",
        "sensitivity in CartPole-v1.png",
        "governing in CartPole-v1.png",
        "scores in tenfold SmallHeart-v0.png",
        "traversals in tenfold SmallHeart-v0, vae.png",
    }
