"""A whole run: it repeats, goes on where it was stopped, and comes out the same however its legs are spread."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from tenfold import commands
from tenfold.core.errors import UsageError
from tenfold.core.run import Run
from tenfold.evolve.config import (
    Config,
    CrewSettings,
    EvalOptions,
    GeneticSettings,
    LearnerSettings,
    MethodName,
    MetricSettings,
    RivalSettings,
    TrainSettings,
)

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from tenfold.core import legs
from tenfold.core.legs import State
from tenfold.core.rl_training import Training
from tenfold.evolve import evaluate as evaluate_module
from tenfold.evolve import train as training_module
from tenfold.evolve.evaluate import evaluate, load_run
from tenfold.evolve.trainings import leg, trainings_of

TINY = Config(
    envs=("CartPole-v1",),
    methods=("genetic", "plain"),
    population=4,
    genetics=GeneticSettings(elite_share=0.5, phase_steps=0),
    learner=LearnerSettings(n_envs=4, n_steps=32, batch_size=64, n_epochs=1, hidden=(16, 16)),
    train=TrainSettings(timesteps=1500, replicas=2, evaluations=2),
    metrics=MetricSettings(episodes=2, resamples=100),
    rivals=RivalSettings(members=4, parents=2),
)
FINAL = ["final return", "final low", "final high", "area", "area low", "area high"]
GENERATIONS = ["generations", "elite changes", "gain in elite phase", "gain in population phase"]
BETTER = ["final return", "final low", "final high", "final better", "area", "area low", "area high", "area better"]


def trained(config: Config, folder: Path) -> Run:
    return Run.open(commands.train("evolve", config, root=folder))


def logged(run: Run) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in line.items() if name != "time"} for line in run.metrics()]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(TINY, tmp_path_factory.mktemp("straight"))


def test_the_same_seed_gives_the_same_metrics_and_another_does_not(
    straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_module, "draw_pictures", lambda *_: None)
    again = created(TINY, tmp_path)
    assert training_module.train(TINY, again) == straight.status["metrics"]
    assert logged(again) == logged(straight)
    config = replace(TINY, seed=1)
    other = training_module.train(config, created(config, tmp_path))
    for method in TINY.methods:
        name = f"CartPole-v1 {method}/area"
        assert other[name] != straight.status["metrics"][name]


@pytest.mark.slow
def test_workers_change_nothing(straight: Run, tmp_path: Path) -> None:
    config = replace(TINY, crew=CrewSettings(workers=2))
    spread = created(config, tmp_path)
    assert training_module.train(config, spread) == straight.status["metrics"]
    assert logged(spread) == logged(straight)


def test_metrics_are_named_by_row_and_column(straight: Run) -> None:
    metrics = straight.status["metrics"]
    assert list(metrics) == [
        *(f"CartPole-v1 genetic/{column}" for column in FINAL + GENERATIONS),
        *(f"CartPole-v1 plain/{column}" for column in FINAL),
        *(f"CartPole-v1 genetic - plain/{column}" for column in BETTER),
    ]
    for column in ("final return", "area"):
        ours, theirs = (metrics[f"CartPole-v1 {method}/{column}"] for method in TINY.methods)
        assert metrics[f"CartPole-v1 genetic - plain/{column}"] == pytest.approx(ours - theirs)
    assert metrics["CartPole-v1 genetic/final low"] <= metrics["CartPole-v1 genetic/final return"]
    assert {path.name for path in (straight.path / "samples").iterdir()} == {
        "learning curves.png",
        "probability of improvement.png",
        "population in CartPole-v1.png",
        "genes in CartPole-v1.png",
    }


def test_metrics_are_those_of_the_curves(straight: Run) -> None:
    """Of two replicas the interquartile mean is the mean."""
    metrics, lines = straight.status["metrics"], straight.metrics()
    assert [(line["stage"], line["step"]) for line in lines] == [
        (f"CartPole-v1 {method}", step) for method in TINY.methods for step in (768, 1536)
    ]
    _, learned = load_run(straight.path)
    finals: dict[str, list[float]] = {}
    for method, own in (("genetic", lines[:2]), ("plain", lines[2:])):
        curves = [learned[Training("CartPole-v1", method, replica)]["curve"] for replica in (0, 1)]  # type: ignore[arg-type]
        for number, line in enumerate(own):
            values = [curve[number][1] for curve in curves]
            assert line["return"] == pytest.approx(sum(values) / 2)
            assert min(values) <= line["return low"] <= line["return"] <= line["return high"] <= max(values)
        finals[method] = [curve[-1][1] for curve in curves]
        areas = [sum(value for _, value in curve) / 2 for curve in curves]
        assert metrics[f"CartPole-v1 {method}/final return"] == own[-1]["return"]
        assert metrics[f"CartPole-v1 {method}/area"] == pytest.approx(sum(areas) / 2)
    wins = [(a > b) + (a == b) / 2 for a in finals["genetic"] for b in finals["plain"]]
    assert metrics["CartPole-v1 genetic - plain/final better"] == sum(wins) / 4
    histories = [learned[Training("CartPole-v1", "genetic", replica)]["history"] for replica in (0, 1)]
    generations = [line for history in histories for line in history]
    assert all(histories)
    assert metrics["CartPole-v1 genetic/generations"] == len(generations) / 2
    assert metrics["CartPole-v1 genetic/elite changes"] == pytest.approx(
        sum(line["elite changed"] for line in generations) / len(generations)
    )
    phases = [
        (last - first, later - last if later is not None else math.nan)
        for history in histories
        for (first, last), later in gains_of(history)
    ]
    for column, gains in zip(GENERATIONS[2:], zip(*phases, strict=True), strict=True):
        known = [gain for gain in gains if math.isfinite(gain)]
        assert metrics[f"CartPole-v1 genetic/{column}"] == pytest.approx(sum(known) / len(known)), column
    for column in ("diversity", "mean fitness", "fitness spread", "open genes of elite", "elite changed"):
        assert lines[1][column] == pytest.approx(sum(history[-1][column] for history in histories) / 2)
        assert column not in lines[3]


def gains_of(history: list[dict[str, float]]) -> list[tuple[tuple[float, float], float | None]]:
    """Of each generation the elite's returns at the two ends of its phase, and at the beginning of the next."""
    ends = [(line["elite return at first"], line["elite return at last"]) for line in history]
    return list(zip(ends, [*(first for first, _ in ends[1:]), None], strict=True))


class StopError(Exception):
    pass


@contextmanager
def stopping_at_save(wanted: int) -> Iterator[None]:
    """The run ends just after it has saved something for the `wanted`-th time."""
    save, count = Run.save, 0

    def stopping(run: Run, *arguments: Any, **options: Any) -> None:
        nonlocal count
        save(run, *arguments, **options)
        count += 1
        if count == wanted:
            raise StopError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopError):
        patch.setattr(Run, "save", stopping)
        yield


def test_a_stopped_run_ends_as_the_straight_one(straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "draw_pictures", lambda *_: None)
    with stopping_at_save(3):
        trained(TINY, tmp_path)
    (folder,) = (tmp_path / "evolve").iterdir()
    assert Run.open(folder).status["state"] == "failed"
    resumed = Run.open(commands.resume(folder))
    assert resumed.status["metrics"] == straight.status["metrics"]
    assert logged(resumed) == logged(straight)


Leg = Callable[[Config, Training, State | None], State]


@pytest.fixture(scope="module")
def remembered() -> Leg:
    """`leg`, computed once for each training and number, because it is the same each time; without pictures."""
    known: dict[tuple[Training, int], State] = {}

    def recall(config: Config, training: Training, state: State | None) -> State:
        done = 0 if state is None else state["leg"]
        if state is not None:
            assert [list(each) for each in state["curve"]] == known[training, done]["curve"]
        if (training, done + 1) not in known:
            known[training, done + 1] = leg(config, training, copy.deepcopy(state))
        return copy.deepcopy(known[training, done + 1])

    return recall


@pytest.fixture
def quick(remembered: Leg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "leg", remembered)
    monkeypatch.setattr(training_module, "draw_pictures", lambda *_: None)


def created(config: Config, folder: Path) -> Run:
    return Run.create(folder, verb="evolve", preset="custom", config=config)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("wanted", range(1, 14))
def test_it_may_be_stopped_after_anything_it_saves(wanted: int, straight: Run, tmp_path: Path) -> None:
    """After each of eight legs, four lines and the result."""
    run = created(TINY, tmp_path)
    with stopping_at_save(wanted):
        training_module.train(TINY, run)
    resumed = Run.open(run.path)
    assert training_module.train(TINY, resumed) == straight.status["metrics"]
    assert logged(resumed) == logged(straight)


@pytest.mark.usefixtures("quick")
def test_it_may_be_stopped_between_a_leg_and_its_save(straight: Run, tmp_path: Path) -> None:
    """Again and again: before each save, so that a leg is computed anew."""
    run = created(TINY, tmp_path)
    save = Run.save
    for _ in range(12):
        before = True

        def stopping(run: Run, *arguments: Any, **options: Any) -> None:
            nonlocal before
            if not before:
                raise StopError
            before = False
            save(run, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Run, "save", stopping)
            with pytest.raises(StopError):
                training_module.train(TINY, run)
                raise StopError  # it was done
    assert training_module.train(TINY, run) == straight.status["metrics"]
    assert logged(run) == logged(straight)


class Shuffled:
    """A crew whose calls end in any order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._running: list[tuple[Any, Callable[..., Any], tuple[Any, ...]]] = []
        self.most = 0

    def submit(self, tag: Any, function: Callable[..., Any], *args: Any) -> None:
        self._running.append((tag, function, args))
        self.most = max(self.most, len(self._running))

    def next(self) -> tuple[Any, Any]:
        tag, function, args = self._running.pop(self._random.randrange(len(self._running)))
        return tag, function(*args)


@pytest.mark.parametrize("seed", range(2))
def test_the_order_in_which_policies_are_evaluated_changes_nothing(
    seed: int, straight: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def shuffled(count: int, engine: str) -> Iterator[Shuffled]:
        yield Shuffled(seed)

    monkeypatch.setattr(legs, "crew", shuffled)
    found = evaluate(straight.path, EvalOptions())
    assert found.items() <= straight.status["metrics"].items()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", range(4))
def test_the_order_in_which_legs_are_ready_changes_nothing(
    seed: int, straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = Shuffled(seed)

    @contextmanager
    def shuffled(count: int, engine: str) -> Iterator[Shuffled]:
        assert (count, engine) == (3, "processes")
        yield workers

    monkeypatch.setattr(legs, "crew", shuffled)
    config = replace(TINY, crew=CrewSettings(workers=3))
    run = created(config, tmp_path)
    assert training_module.train(config, run) == straight.status["metrics"]
    assert workers.most == 3
    assert logged(run) == logged(straight)


def test_several_processes_for_one_run_are_refused(tmp_path: Path) -> None:
    path = created(TINY, tmp_path).path
    fabric: Any = SimpleNamespace(world_size=2, is_global_zero=True, barrier=lambda: None)
    with pytest.raises(
        UsageError, match=r"^2 processes share the run, but must be 1: crew\.workers spreads trainings$"
    ):
        training_module.train(TINY, Run.open(path, fabric=fabric))


@pytest.mark.parametrize("method", get_args(MethodName))
def test_every_method_works_alone(method: MethodName, tmp_path: Path) -> None:
    small = TrainSettings(timesteps=300, replicas=1, evaluations=1)
    config = replace(TINY, methods=(method,), train=small, metrics=replace(TINY.metrics, episodes=1))
    run = trained(config, tmp_path)
    metrics = run.status["metrics"]
    row = f"CartPole-v1 {method}"
    assert list(metrics)[:6] == [f"{row}/{column}" for column in FINAL]
    assert {name.split("/")[0] for name in metrics} == {row}
    assert metrics[f"{row}/final low"] == metrics[f"{row}/final return"] == metrics[f"{row}/area"]
    assert [(line["stage"], line["return"]) for line in run.metrics()] == [(row, metrics[f"{row}/final return"])]
    assert (run.path / "report.html").is_file()


def test_a_wrong_environment_fails_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the environment 'Nowhere-v0' cannot be made"):
        trained(replace(TINY, envs=("Nowhere-v0",)), tmp_path)


def test_the_evaluation_finds_the_final_returns_again(straight: Run) -> None:
    metrics = straight.status["metrics"]
    found = commands.evaluate(straight.path)
    names = [f"CartPole-v1 {method}/{column}" for method in TINY.methods for column in FINAL[:3]]
    assert found == {name: metrics[name] for name in names}
    assert list(found) == names
    some = commands.evaluate(straight.path, EvalOptions(rows=("CartPole-v1 plain",)))
    assert some == {name: metrics[name] for name in names[3:]}
    more = commands.evaluate(straight.path, EvalOptions(rows=("CartPole-v1 plain",), episodes=5))
    assert list(more) == names[3:]
    assert more != some


def test_the_evaluation_lets_the_population_vote(straight: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    play = evaluate_module.play

    def watched(*arguments: Any, vote: bool, **options: Any) -> list[float]:
        asked.append(vote)
        return play(*arguments, vote=vote, **options)

    monkeypatch.setattr(evaluate_module, "play", watched)
    voted = commands.evaluate(straight.path, EvalOptions(vote=True))
    assert list(voted) == [f"CartPole-v1 genetic/{column}" for column in FINAL[:3]]
    assert voted == commands.evaluate(straight.path, EvalOptions(vote=True, rows=("CartPole-v1 genetic",)))
    assert asked == [True] * 4
    commands.evaluate(straight.path, EvalOptions(rows=("CartPole-v1 genetic",)))
    assert asked[4:] == [False] * 2


@pytest.mark.usefixtures("quick")
def test_a_vote_is_refused_where_no_method_has_a_population(tmp_path: Path) -> None:
    config = replace(TINY, methods=("plain",))
    run = created(config, tmp_path)
    run.finish(training_module.train(config, run))
    with pytest.raises(UsageError, match="no method of the run has a population"):
        evaluate(run.path, EvalOptions(vote=True))


def test_the_evaluation_refuses_what_the_run_has_not(straight: Run) -> None:
    with pytest.raises(
        UsageError,
        match=r"^rows has 'CartPole-v1 random', but the run has CartPole-v1 genetic, CartPole-v1 plain$",
    ):
        commands.evaluate(straight.path, EvalOptions(rows=("CartPole-v1 plain", "CartPole-v1 random")))
    with pytest.raises(UsageError, match=r"^rows has 'CartPole-v1 plain', which has no population to vote$"):
        commands.evaluate(straight.path, EvalOptions(rows=("CartPole-v1 genetic", "CartPole-v1 plain"), vote=True))


def test_all_trainings_are_in_the_result(straight: Run) -> None:
    config, learned = load_run(straight.path)
    assert config == TINY
    assert list(learned) == trainings_of(TINY)
    assert all(state["steps"] == 1536 for state in learned.values())
