"""A whole run: it repeats, goes on where it was stopped, and its evaluation finds the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mujoco")
pytest.importorskip("stable_baselines3")
pytest.importorskip("cma")

from tenfold.core.config import CrewSettings
from tenfold.core.errors import UsageError
from tenfold.core.rl_training import Training
from tenfold.core.run import Run
from tenfold.design import train as training_module
from tenfold.design.config import Config, EvalOptions, JudgeSettings, PolicySettings
from tenfold.design.evaluate import evaluate, load_run
from tenfold.design.trainings import trainings_of

LUCKY = "tests.design.test_trainings:Lucky"
TOY = "tests.design.toy:Toy"
TINY = Config(
    tasks=(LUCKY,),
    methods=("ppo", "cma-es", "random"),
    calls=32,
    replicas=2,
    evaluations=2,
    policy=PolicySettings(designs=8, batch_size=24, n_epochs=2, hidden=(8, 8), elites=2),
    judge=JudgeSettings(finalists=2, tests=2, held_out=3, resamples=100),
    crew=CrewSettings(workers=1),
)


def created(config: Config, folder: Path) -> Run:
    return Run.create(folder, verb="design", preset="custom", config=config)


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


# what comes of it


def test_metrics_are_named_by_row_and_column(straight: Run) -> None:
    columns: dict[str, list[str]] = {}
    for name in straight.status["metrics"]:
        row, _, column = name.partition("/")
        columns.setdefault(row, []).append(column)
    scores = ["score", "score low", "score high"]
    searched = [*scores, "own wish", "found", "large", "low", "spare"]
    assert columns == {
        f"{LUCKY} ppo": [*searched, "at once", "dial falls", "heaviest g", "lightest g"],
        f"{LUCKY} cma-es": searched,
        f"{LUCKY} random": searched,
        f"{LUCKY} ppo - cma-es": [*scores, "better"],
        f"{LUCKY} ppo - random": [*scores, "better"],
    }
    for name, value in straight.status["metrics"].items():
        if " - " not in name and not name.endswith(" g"):
            assert 0 <= value <= 1, name


def test_every_point_of_a_curve_is_logged_under_its_row(straight: Run) -> None:
    lines = straight.metrics()
    assert [(line["stage"], line["step"]) for line in lines] == [
        (f"{LUCKY} {method}", step) for method in TINY.methods for step in (16, 32)
    ]
    for line in lines:
        assert line["best low"] <= line["best"] <= line["best high"]


def test_the_same_seed_gives_the_same_metrics_and_another_does_not(straight: Run, tmp_path: Path) -> None:
    again = created(TINY, tmp_path)
    assert training_module.train(TINY, again) == straight.status["metrics"]
    assert logged(again) == logged(straight)
    other = replace(TINY, seed=1)
    changed = training_module.train(other, created(other, tmp_path))
    for method in TINY.methods:
        row = f"{LUCKY} {method}/score"
        assert changed[row] != straight.status["metrics"][row]


@pytest.mark.parametrize("stop", [1, 4, 9, 13])
def test_a_run_that_was_stopped_ends_as_the_straight_one(stop: int, straight: Run, tmp_path: Path) -> None:
    """Between two legs of a training, after its last, and between a leg and its line of the log."""
    run, calls = created(TINY, tmp_path), 0

    class StoppedError(Exception):
        pass

    save = run.save

    def counted(*args: Any, **given: Any) -> None:
        nonlocal calls
        save(*args, **given)
        calls += 1
        if calls == stop:
            raise StoppedError

    run.save = counted  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        training_module.train(TINY, run)
    again = Run.open(run.path)
    assert training_module.train(TINY, again) == straight.status["metrics"]
    assert logged(again) == logged(straight)


@pytest.mark.slow
def test_the_workers_change_nothing(straight: Run, tmp_path: Path) -> None:
    config = replace(TINY, crew=CrewSettings(workers=2))
    run = created(config, tmp_path)
    assert training_module.train(config, run) == straight.status["metrics"]
    assert logged(run) == logged(straight)


# evaluation


def test_evaluation_finds_the_final_metrics_again(straight: Run) -> None:
    wanted = {name: value for name, value in straight.status["metrics"].items() if " - " not in name}
    assert evaluate(straight.path, EvalOptions()) == wanted


def test_evaluation_of_some_rows_with_more_tests(straight: Run) -> None:
    row = f"{LUCKY} cma-es"
    own = {name: value for name, value in straight.status["metrics"].items() if name.startswith(f"{row}/")}
    assert evaluate(straight.path, EvalOptions(rows=(row,), held_out=3)) == own
    more = evaluate(straight.path, EvalOptions(rows=(row,), held_out=40))
    assert set(more) == set(own)
    assert more[f"{row}/score"] != own[f"{row}/score"]
    assert more[f"{row}/found"] == own[f"{row}/found"]  # the same designs


def test_an_unknown_row_is_named(straight: Run) -> None:
    with pytest.raises(UsageError) as refused:
        evaluate(straight.path, EvalOptions(rows=(f"{LUCKY} ppo", "Cup climbing")))
    rows = ", ".join(f"{LUCKY} {method}" for method in TINY.methods)
    assert str(refused.value) == f"rows has 'Cup climbing', but the run has {rows}"


def test_what_a_run_keeps_is_all_that_was_learned(straight: Run) -> None:
    config, learned = load_run(straight.path)
    assert config == TINY
    assert list(learned) == trainings_of(TINY)
    for training, state in learned.items():
        assert len(state["archive"]["seeds"]) == 32
        assert set(state["chosen"]) == {"own", "large", "low", "spare"}
        assert ("model" in state) == ("dial" in state) == (training.method == "ppo")
    assert learned[Training(LUCKY, "ppo", 0)]["model"]["steps"] == 96


def test_folders_that_are_no_finished_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        evaluate(tmp_path / "nothing", EvalOptions())
    unfinished = created(TINY, tmp_path)
    with pytest.raises(UsageError, match="has no trained network yet; its status is running"):
        evaluate(unfinished.path, EvalOptions())
    other = Run.create(tmp_path, verb="govern", preset="custom", config=TINY)
    with pytest.raises(UsageError, match="is a run of govern, but must be one of design"):
        evaluate(other.path, EvalOptions())


# what is refused before anything is trained


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (replace(TINY, tasks=(LUCKY, "Chair")), "there is no task 'Chair'; the tasks are Cup, "),
        (replace(TINY, tasks=(LUCKY, "tests.design.toy:Nothing")), "the task 'tests.design.toy:Nothing' cannot be"),
        (replace(TINY, tasks=(LUCKY, "nowhere.at.all:Task")), "the task 'nowhere.at.all:Task' cannot be imported"),
        (replace(TINY, tasks=(LUCKY, "tests.design.toy:ShortProfile")), "tests.design.toy:ShortProfile is <"),
        (replace(TINY, wants=("size_ml=101",)), "size_ml is 101, but must be between 20 and 100"),
        (replace(TINY, wants=("size_ml=nan",)), "size_ml is nan, but must be a number"),
        (replace(TINY, tasks=(LUCKY, "Cup"), wants=("hold_ml=-3",)), "hold_ml is -3, but must be between"),
    ],
)
def test_a_wrong_task_or_want_is_refused_before_anything_is_trained(
    config: Config, sentence: str, tmp_path: Path
) -> None:
    run = created(config, tmp_path)
    with pytest.raises(UsageError) as refused:
        training_module.train(config, run)
    assert str(refused.value).startswith(sentence)
    assert not (run.path / "checkpoints").exists()
    assert run.metrics() == []


def test_a_want_that_no_task_has_is_refused(tmp_path: Path) -> None:
    config = replace(TINY, methods=("random",), replicas=1, calls=2, wants=("size_mm=70",))
    with pytest.raises(UsageError, match="size_mm"):
        training_module.train(config, created(config, tmp_path))


def test_a_want_that_one_of_the_tasks_has_will_do(tmp_path: Path) -> None:
    config = replace(
        TINY, tasks=(TOY, "Cup"), methods=("random",), replicas=1, calls=1, evaluations=1, wants=("size_ml=70",)
    )
    run = created(config, tmp_path)
    training_module.train(config, run)
    _, learned = load_run(run.path)
    assert learned[Training(TOY, "random", 0)]["archive"]["wants"] == {"size_ml": 70.0}
    assert learned[Training("Cup", "random", 0)]["archive"]["wants"] == {"hold_ml": 300.0}


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = created(TINY, tmp_path)
    monkeypatch.setattr(type(run.fabric), "world_size", property(lambda _: 2))
    with pytest.raises(UsageError, match=r"2 processes share the run, but must be 1: crew\.workers spreads trainings"):
        training_module.train(TINY, run)
