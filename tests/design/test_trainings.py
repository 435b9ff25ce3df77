"""Trainings: legs are pure functions, calls are counted exactly, and what was found is judged by tests that no search has seen."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco")
pytest.importorskip("stable_baselines3")
pytest.importorskip("cma")

from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.errors import UsageError
from tenfold.core.legs import State
from tenfold.core.rl_training import Training, learner_state
from tenfold.design import search as search_module
from tenfold.design import trainings as module
from tenfold.design.archive import Archive
from tenfold.design.config import METHODS, Config, JudgeSettings, MethodName, PolicySettings
from tenfold.design.designer import untrained
from tenfold.design.recipe import Design
from tenfold.design.search import LOT, Numbers, Search
from tenfold.design.solid import Solid
from tenfold.design.task import Goal, Task, Verdict
from tenfold.design.tasks import find_task
from tenfold.design.trainings import (
    DIAL,
    chosen_design,
    dial_masses,
    dial_steps,
    judged,
    leg,
    trainings_of,
    wants_of,
    wishes_of,
)
from tenfold.design.workshop import Order, Workshop

from .toy import Toy


class Lucky(Toy):
    """Half of a score is the luck of the test; little material is wanted."""

    name = "Lucky"
    goals: ClassVar[Any] = (
        Goal("large", "as of the toy"),
        Goal("low", "as of the toy", 2.0),
        Goal("spare", "little material", 0.0),
    )
    light = "spare"

    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        found = super().judge(solid, wants, random)
        luck, size = found.facts["luck"], found.facts["size_ml"]
        scores = {name: 0.5 * min(1.0, max(0.0, value)) + 0.5 * luck for name, value in found.scores.items()}
        return Verdict(scores | {"spare": 0.5 ** (size / 50)}, found.facts)


TOY, LUCKY = "tests.design.toy:Toy", "tests.design.test_trainings:Lucky"
TINY = Config(
    tasks=(TOY,),
    calls=72,
    replicas=2,
    evaluations=3,
    policy=PolicySettings(designs=8, batch_size=24, n_epochs=2, hidden=(8, 8), elites=2),
    judge=JudgeSettings(finalists=3, tests=2, held_out=3, resamples=100),
)
SEARCHES: tuple[MethodName, ...] = ("cma-es", "climbing", "random")
every_method = pytest.mark.parametrize("method", METHODS)
every_search = pytest.mark.parametrize("method", SEARCHES)


def trained(config: Config, training: Training, *, through: Path | None = None, disturbed: int = 0) -> list[State]:
    """The states after each leg; kept on disk in between, if a folder is given, and whatever else was drawn meanwhile."""
    states: list[State] = []
    state: State | None = None
    for _ in range(config.evaluations):
        if through is not None and state is not None:
            save_state(through, state)
            state = load_state(through)
        torch.manual_seed(disturbed)
        np.random.seed(disturbed)  # noqa: NPY002 - the generator that stable-baselines3 draws from
        random.seed(disturbed)
        state = leg(config, training, state)
        states.append(state)
    return states


def archive_of(state: State, task: str = TOY) -> Archive:
    return Archive.from_state(find_task(task), state["archive"])


def same(one: Any, other: Any) -> bool:
    """Whether nested states are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def without_time(state: State) -> State:
    return {name: value for name, value in state.items() if name != "seconds"}


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """All that workshops were asked to test."""
    asked: list[Order] = []
    test = Workshop.test

    def kept(self: Workshop, given: list[Order]) -> list[Verdict]:
        asked.extend(given)
        return test(self, given)

    monkeypatch.setattr(Workshop, "test", kept)
    return asked


# legs


@every_method
def test_legs_from_saved_states_are_the_uninterrupted_training(method: str, tmp_path: Path) -> None:
    config = replace(TINY, tasks=(LUCKY,))
    training = Training(LUCKY, method, 1)
    straight, saved = trained(config, training), trained(config, training, through=tmp_path, disturbed=7)
    for ours, theirs in zip(straight, saved, strict=True):
        assert same(without_time(ours), without_time(theirs))
    assert [state["leg"] for state in straight] == [1, 2, 3]
    assert [state["steps"] for state in straight] == [24, 48, 72]
    assert {"archive", "curve", "chosen"} <= set(straight[-1])
    assert ("dial" in straight[-1]) == ("model" in straight[-1]) == (method == "ppo")
    assert "chosen" not in straight[0]
    assert straight[0]["seconds"] <= straight[1]["seconds"] <= straight[2]["seconds"]


@every_method
def test_a_leg_leaves_the_state_before_as_it_was(method: str, tmp_path: Path) -> None:
    before = leg(TINY, Training(TOY, method, 0), None)
    save_state(tmp_path, before)
    leg(TINY, Training(TOY, method, 0), before)
    assert same(before, load_state(tmp_path))


@every_method
def test_replicas_and_seeds_differ(method: str) -> None:
    config = replace(TINY, evaluations=1, calls=16)
    first, *others = (
        archive_of(trained(replace(config, seed=seed), Training(TOY, method, replica))[-1])
        for seed, replica in ((0, 0), (0, 1), (1, 0))
    )
    for other in others:
        assert not np.array_equal(first.fact("luck"), other.fact("luck"))
        assert method == "cma-es" or not np.array_equal(first.steps, other.steps)


@every_search
def test_how_a_search_is_cut_into_legs_changes_nothing_of_what_it_finds(method: str) -> None:
    """Ends of legs in the middle of a lot, and several lots within a leg."""
    ends = [
        trained(replace(TINY, evaluations=count, calls=70), Training(TOY, method, 0))[-1] for count in (1, 3, 7, 35)
    ]
    for state in ends[1:]:
        assert same(state["archive"], ends[0]["archive"])
        assert same(state["chosen"], ends[0]["chosen"])
        assert state["curve"][-1] == ends[0]["curve"][-1]


def test_a_leg_does_not_repeat_the_chance_of_the_leg_before() -> None:
    """A policy that hardly learns draws other designs all the same."""
    still = replace(TINY.policy, learning_rate=1e-12, imitation=0, cooled=1)
    config = replace(TINY, wishes="one", policy=still, calls=16, evaluations=2)
    steps = archive_of(trained(config, Training(TOY, "ppo", 0))[-1]).steps
    assert np.abs(steps[:8] - steps[8:]).mean() > 0.1


# calls


@every_search
@pytest.mark.parametrize(("calls", "evaluations"), [(1, 1), (15, 2), (50, 4), (71, 3)])
def test_a_searchs_calls_are_exact_and_no_test_is_made_twice(
    method: str, calls: int, evaluations: int, orders: list[Order]
) -> None:
    state = trained(replace(TINY, calls=calls, evaluations=evaluations), Training(TOY, method, 0))[-1]
    assert len(orders) == len(archive_of(state)) == calls
    assert len({order.seed for order in orders}) == calls
    if method != "climbing":  # a change of some numbers is now and then one of none
        assert len({order.steps.tobytes() for order in orders}) == calls
    assert [steps for steps, _ in state["curve"]] == [-(-calls * n // evaluations) for n in range(1, evaluations + 1)]


@pytest.mark.parametrize(("calls", "evaluations", "tested"), [(16, 1, 16), (20, 1, 24), (20, 3, 24), (20, 5, 24)])
def test_a_policy_tests_whole_updates_and_no_more(
    calls: int, evaluations: int, tested: int, orders: list[Order]
) -> None:
    state = trained(replace(TINY, calls=calls, evaluations=evaluations), Training(TOY, "ppo", 0))[-1]
    assert len(orders) == len(archive_of(state)) == tested
    assert state["model"]["steps"] == 3 * tested
    assert state["steps"] == state["curve"][-1][0] == calls


def best_last() -> Archive:
    """Of 11 designs each is larger than the one before."""
    task = find_task(TOY)
    archive = Archive(task, task.wish().wants)
    numbers = [np.full((3, 3), -0.9 + 0.1 * number) for number in range(11)]
    made = [Order(steps, task.wish().values, number) for number, steps in enumerate(numbers)]
    archive.add(made, [Verdict({"large": n / 20, "low": n / 20}, {"size_ml": 1.0 * n}) for n in range(11)])
    return archive


def test_designs_beyond_the_calls_are_not_judged() -> None:
    settings = JudgeSettings(finalists=1, tests=1, held_out=1)
    for calls in (3, 7, 11, 99):
        config = replace(TINY, calls=calls, evaluations=1, judge=settings)
        chosen = judged(config, Training(TOY, "ppo", 0), best_last(), None)["chosen"]
        assert {each["number"] for each in chosen.values()} == {min(calls, 11) - 1}


@every_method
def test_a_curve_is_the_best_so_far_within_the_calls_averaged_over_the_wishes(method: str) -> None:
    config = replace(TINY, calls=20, evaluations=4)
    state = trained(config, Training(TOY, method, 0))[-1]
    archive = archive_of(state)
    large, low = archive.scores.T
    values = np.stack([(large + 2 * low) / 3, (4 * large + 2 * low) / 6, (large + 8 * low) / 9])
    for calls, value in state["curve"]:
        assert value == pytest.approx(values[:, :calls].max(1).mean(), abs=1e-12)
    heights = [value for _, value in state["curve"]]
    assert heights == sorted(heights)


# wishes and wants


def test_a_wish_for_each_goal_beside_the_tasks_own() -> None:
    wishes = wishes_of(TINY, Toy())
    assert {name: wish.weights for name, wish in wishes.items()} == {
        "own": {"large": 1, "low": 2},
        "large": {"large": 4, "low": 2},
        "low": {"large": 1, "low": 8},
    }
    assert wishes_of(replace(TINY, tasks=(LUCKY,)), Lucky())["spare"].weights == {"large": 1, "low": 2, "spare": 1}
    assert list(wishes_of(replace(TINY, wishes="one"), Toy())) == ["own"]


@pytest.mark.parametrize("method", ["climbing", "cma-es"])
def test_searches_take_turns_over_the_wishes(method: str, orders: list[Order]) -> None:
    trained(replace(TINY, calls=120, evaluations=2), Training(TOY, method, 0))
    turns = [next(name for name, wish in wishes_of(TINY, Toy()).items() if wish.values == o.goals) for o in orders]
    changes = [name for number, name in enumerate(turns) if number == 0 or turns[number - 1] != name]
    assert len(changes) > 4
    assert changes == (["own", "large", "low"] * 99)[: len(changes)]
    lot = LOT if method == "climbing" else 10  # 4 + 3 ln 9
    assert turns[: 2 * lot] == ["own"] * lot + ["large"] * lot


def test_a_search_is_told_how_well_its_own_wish_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, Numbers]] = []
    seeds: list[int] = []

    def search(size: int, seed: int) -> Search:
        """Five designs at a time, whatever comes of them."""
        seeds.append(seed)
        number, random = len(seeds) - 1, np.random.default_rng(seed)
        while True:
            told.append((number, (yield random.uniform(-1, 1, (5, size)))))

    monkeypatch.setitem(search_module.SEARCHES, "climbing", search)
    archive = archive_of(leg(replace(TINY, calls=35, evaluations=1), Training(TOY, "climbing", 0), None))
    assert len(set(seeds)) == 3
    assert [number for number, _ in told] == [0, 1, 2, 0, 1, 2, 0]
    wishes = list(wishes_of(TINY, Toy()).values())
    for lot, (number, values) in enumerate(told):
        assert np.array_equal(values, archive.values(wishes[number].weights)[5 * lot : 5 * lot + 5])


@pytest.mark.parametrize("method", SEARCHES)
def test_for_one_wish_there_is_one_search(method: str, orders: list[Order]) -> None:
    state = trained(replace(TINY, wishes="one"), Training(TOY, method, 0))[-1]
    assert all(order.goals == Toy().wish().values for order in orders)
    assert list(state["chosen"]) == ["own"]


def test_random_search_is_one_search_for_all_wishes(orders: list[Order]) -> None:
    many = trained(TINY, Training(TOY, "random", 0))[-1]
    assert all(order.goals == Toy().wish().values for order in orders)
    one = trained(replace(TINY, wishes="one"), Training(TOY, "random", 0))[-1]
    assert same(many["archive"], one["archive"])
    assert set(many["chosen"]) == {"own", "large", "low"}
    assert many["chosen"]["own"] == one["chosen"]["own"]


def test_a_policy_learns_for_the_drawn_wishes_or_for_the_one(orders: list[Order]) -> None:
    trained(TINY, Training(TOY, "ppo", 0))
    assert len({order.goals["low"] for order in orders}) == len(orders)
    orders.clear()
    state = trained(replace(TINY, wishes="one", tasks=(LUCKY,)), Training(LUCKY, "ppo", 0))[-1]
    assert all(order.goals == Lucky().wish().values for order in orders)
    assert "dial" not in state


@every_method
def test_wants_of_the_run_reach_the_tests(method: str, orders: list[Order]) -> None:
    config = replace(TINY, wants=("size_ml=90",), calls=24, evaluations=2)
    state = trained(config, Training(TOY, method, 0))[-1]
    assert {order.goals["size_ml"] for order in orders} == {90.0}
    assert archive_of(state).wants == {"size_ml": 90.0}
    task = Toy()
    for name, wish in wishes_of(config, task).items():
        assert wish.wants == {"size_ml": 90.0}
        design = chosen_design(task, state, wish, name)
        size, luck = design.verdict.facts["size_ml"], design.verdict.facts["luck"]
        if size < 85:  # else some of the tests' scores were cut off
            assert design.verdict.scores["large"] == pytest.approx((size / 90) ** 0.5 + 0.01 * (luck - 0.5))


def test_a_task_takes_of_the_runs_wants_those_that_it_has() -> None:
    config = replace(TINY, wants=("size_ml=90", "hold_ml=200"))
    assert wants_of(config, Toy()) == {"size_ml": 90}
    assert wants_of(config, find_task("Cup")) == {"hold_ml": 200}


def test_a_want_out_of_range_is_refused() -> None:
    for text, sentence in (
        ("size_ml=101", "size_ml is 101, but must be between 20 and 100"),
        ("size_ml=nan", "size_ml is nan, but must be a number"),
        ("size_ml=inf", "size_ml is inf, but must be a number"),
    ):
        with pytest.raises(UsageError, match=f"^{sentence}$"):
            wishes_of(replace(TINY, wants=(text,)), Toy())


# judging


@every_method
def test_what_is_chosen_was_among_the_best_and_is_scored_by_unseen_tests(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TINY, tasks=(LUCKY,), evaluations=1)
    training, task = Training(LUCKY, method, 0), Lucky()
    made: list[tuple[float, int]] = []
    test = Task.test

    def kept(self: Task, solid: Solid, wish: Any, seed: int) -> Verdict:
        found = test(self, solid, wish, seed)
        made.append((wish.score(found.scores), seed))
        return found

    monkeypatch.setattr(Lucky, "test", kept)
    state = leg(config, training, None)
    archive = archive_of(state, LUCKY)
    seeds = set(archive.state()["seeds"].tolist())
    later = made[len(archive) :]
    assert not seeds & {seed for _, seed in later}
    each = 3 * 2 + 3  # finalists, twice, and the one that is left, three times
    at_once = 3 * 4 if method == "ppo" else 0  # what the policy itself makes, last of all
    assert len(later) == each * 4 + at_once
    for number, (name, wish) in enumerate(wishes_of(config, task).items()):
        own = later[number * each : (number + 1) * each]
        choosing, last = own[:6], own[6:]
        assert not {seed for _, seed in choosing} & {seed for _, seed in last}
        assert len({seed for _, seed in choosing}) == 2
        assert len({seed for _, seed in last}) == 3
        means = [np.mean([score for score, _ in choosing[2 * at : 2 * at + 2]]) for at in range(3)]
        found = state["chosen"][name]
        finalists = np.argsort(-archive.values(wish.weights), kind="stable")[:3]
        assert found["number"] == finalists[int(np.argmax(means))]
        assert found["score"] == pytest.approx(np.mean([score for score, _ in last]), abs=1e-12)
        assert found["found"] == archive.values(wish.weights)[found["number"]]
        assert wish.score(found["scores"]) == pytest.approx(found["score"], abs=1e-12)
        # the design itself, with these verdicts
        design = chosen_design(task, state, wish, name)
        assert design.score == pytest.approx(found["score"], abs=1e-12)
        assert design.wish == wish
        assert np.array_equal(design.steps, archive.steps[found["number"]])
        again = design.retested([seed for _, seed in last])
        assert again.verdict == design.verdict


def test_more_held_out_tests_change_the_score_and_not_the_choice() -> None:
    config = replace(TINY, tasks=(LUCKY,), evaluations=1)
    training = Training(LUCKY, "random", 0)
    state = leg(config, training, None)
    archive = archive_of(state, LUCKY)
    assert judged(config, training, archive, None)["chosen"] == state["chosen"]
    more = judged(config, training, archive, None, held_out=5)["chosen"]
    for name, found in state["chosen"].items():
        assert more[name]["number"] == found["number"]
        assert more[name]["score"] != found["score"]


def test_the_search_is_flattered_by_its_own_luck() -> None:
    """Half of a score is luck: of many, the best by one test is worth less in others."""
    config = replace(TINY, tasks=(LUCKY,), evaluations=1, judge=replace(TINY.judge, held_out=30))
    chosen = leg(config, Training(LUCKY, "random", 0), None)["chosen"]
    assert all(found["found"] > found["score"] + 0.1 for found in chosen.values())


def test_fewer_designs_than_finalists_will_do() -> None:
    config = replace(TINY, calls=2, evaluations=1, judge=replace(TINY.judge, finalists=9))
    chosen = leg(config, Training(TOY, "climbing", 0), None)["chosen"]
    assert {found["number"] for found in chosen.values()} <= {0, 1}


def test_a_policy_is_judged_by_what_it_makes_at_once_in_the_same_tests() -> None:
    """With weights of zero a policy makes the same of any wish: the middle of all."""
    config, task = replace(TINY, tasks=(LUCKY,), evaluations=1), Lucky()
    training = Training(LUCKY, "ppo", 0)
    state = leg(config, training, None)
    model = untrained(task, config.policy)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.zero_()
    found = judged(config, training, archive_of(state, LUCKY), learner_state(model))
    assert found["chosen"] == state["chosen"]
    for name, wish in wishes_of(config, task).items():
        middle = Design.tested(task, np.zeros((3, 3)), wish, state["chosen"][name]["seeds"])
        assert found["at once"][name] == middle.score
    assert set(state["at once"]) == set(found["at once"])
    assert "at once" not in leg(config, Training(LUCKY, "random", 0), None)


# the dial


def test_a_dial_has_the_mass_of_what_the_policy_makes() -> None:
    """With weights of zero a policy makes the same of any wish: the middle of all, however the dial is turned."""
    config, task = replace(TINY, tasks=(LUCKY,)), Lucky()
    model = untrained(task, config.policy)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.zero_()
    masses = dial_masses(config, task, model)
    middle = task.space.build(np.zeros((3, 3))).bulk().volume * task.material.density * 1000
    assert masses == pytest.approx([middle] * len(DIAL))
    assert all(np.array_equal(steps, np.zeros((3, 3))) for steps in dial_steps(config, task, model))


def test_a_dial_turns_the_weight_of_little_material_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Weighted(Lucky):
        goals = (*Lucky.goals[:2], Goal("spare", "little material", 3.0))

    asked: list[dict[str, float]] = []

    def steps(_model: Any, _task: Task, wish: Any) -> Any:
        asked.append(wish.values)
        return np.zeros((3, 3))

    monkeypatch.setattr(module, "most_likely_steps", steps)
    task = Weighted()
    config = replace(TINY, wants=("size_ml=70",))
    dial_masses(config, task, untrained(task, config.policy))
    assert [wish.pop("spare") for wish in asked] == [0.75, 1.5, 3, 6, 12]
    assert all(wish == {"large": 1, "low": 2, "size_ml": 70} for wish in asked)


# all of them


def test_trainings_come_task_by_task_and_method_by_method() -> None:
    config = replace(TINY, tasks=("Cup", TOY), methods=("random", "ppo"))
    assert [(each.env, each.method, each.replica) for each in trainings_of(config)] == [
        (task, method, replica) for task in ("Cup", TOY) for method in ("random", "ppo") for replica in (0, 1)
    ]
    assert len({each.file for each in trainings_of(config)}) == 8
