"""Designing as an environment: Gymnasium's rules, rewards at the end alone, and designs that replay to the same reward."""

from __future__ import annotations

import json
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from tenfold.core.errors import UsageError

from .toy import Toy

pytest.importorskip("mujoco")

from tenfold.design import Design
from tenfold.design.environment import DesignEnv

TASKS = ("Cup", "Stool", "Stand", "Bridge")
every_task = pytest.mark.parametrize("name", TASKS)


def actions_of(env: DesignEnv, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-1, 1, (env.task.space.steps, env.task.space.width))


def episode(
    env: DesignEnv, actions: Any, *, seed: int | None = None, options: dict[str, Any] | None = None
) -> list[Any]:
    """What `reset` and every step have returned."""
    return [env.reset(seed=seed, options=options), *(env.step(action) for action in actions)]


def same(one: Any, other: Any) -> bool:
    """Whether nested values are equal, arrays among them."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other) and one.dtype == other.dtype
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


# the rules


@every_task
def test_gymnasium_finds_nothing_wrong(name: str) -> None:
    check_env(gym.make(f"tenfold/{name}-v0").unwrapped, skip_render_check=True)


@every_task
def test_stable_baselines3_finds_nothing_wrong(name: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(gym.make(f"tenfold/{name}-v0").unwrapped, skip_render_check=True)


@every_task
def test_observations_and_actions_have_the_sizes_of_the_task(name: str) -> None:
    env = gym.make(f"tenfold/{name}-v0").unwrapped
    assert isinstance(env, DesignEnv)
    task = env.task
    assert (task.name, env.action_space.shape) == (name, (task.space.width,))
    size = task.space.steps * (1 + task.space.width) + len(task.goals) + len(task.wants)
    assert env.observation_space.shape == (size,)
    for observation, *_ in episode(env, actions_of(env, 0), seed=0):
        assert env.observation_space.contains(observation)


def test_an_observation_is_the_step_that_is_next_the_steps_taken_and_the_wish() -> None:
    env = DesignEnv(Toy())
    actions = actions_of(env, 0)
    seen = [returned[0] for returned in episode(env, actions, seed=0)]
    for taken, observation in enumerate(seen):
        assert observation[:3].tolist() == [float(place == taken) for place in range(3)]
        assert observation[3 : 3 + 3 * taken] == pytest.approx(actions[:taken].ravel())
        assert (observation[3 + 3 * taken : 12] == 0).all()
        assert observation[12:] == pytest.approx([2 / 3 - 1, 4 / 3 - 1, 0.0])  # weights 1 and 2; 60 of 20 .. 100


# rewards


@every_task
def test_the_reward_comes_at_the_end_alone_and_is_the_weighted_mean_of_its_vector(name: str) -> None:
    env = DesignEnv(name, vary=True)
    for seed in range(2):
        _, *steps = episode(env, actions_of(env, seed), seed=seed)
        assert [step[1:] for step in steps[:-1]] == [(0.0, False, False, {})] * (env.task.space.steps - 1)
        _, reward, terminated, truncated, info = steps[-1]
        assert (terminated, truncated, type(reward)) == (True, False, float)
        weights = np.array([env.wish.weights[goal.name] for goal in env.task.goals])
        vector = info["reward_vector"]
        assert reward == pytest.approx(float(vector @ weights / weights.sum()), abs=1e-12)
        assert 0 <= vector.min() <= vector.max() <= 1
        assert info["scores"] == {goal.name: vector[place] for place, goal in enumerate(env.task.goals)}
        assert all(math.isfinite(fact) for fact in info["facts"].values())


@every_task
def test_the_recipe_in_the_last_info_replays_to_the_very_same_reward(name: str) -> None:
    env = DesignEnv(name, vary=True)
    for seed in range(3):
        *_, (_, reward, _, _, info) = episode(env, actions_of(env, seed), seed=seed)
        again = Design.from_recipe(json.loads(json.dumps(info["design"], allow_nan=False)))
        assert again.score == reward
        assert again.verdict.scores == info["scores"]
        assert again.verdict.facts == info["facts"]
        assert again.replay().score == reward


@pytest.mark.parametrize("vary", [False, True])
@pytest.mark.parametrize("task", ["Cup", "Stool"])
def test_the_same_seed_and_actions_give_the_same_and_another_seed_another_test(task: str, vary: bool) -> None:
    one, other = DesignEnv(task, vary=vary), DesignEnv(task, vary=vary)
    actions = actions_of(one, 3)
    assert same(episode(one, actions, seed=5), episode(other, actions, seed=5))
    ours, theirs = episode(one, actions), episode(other, actions)  # and on from there
    assert same(ours, theirs)
    assert ours[-1][4]["design"]["seeds"] != episode(one, actions, seed=5)[-1][4]["design"]["seeds"]
    assert (
        episode(one, actions, seed=6)[-1][4]["design"]["seeds"]
        == episode(other, actions, seed=6)[-1][4]["design"]["seeds"]
    )


# wishes


def test_the_line_that_the_method_was_asked_for() -> None:
    env = gym.make("tenfold/Cup-v0", goals={"hold_ml": 300, "stand": 1.0, "light": 0.5})
    _, info = env.reset(seed=0)
    assert info["wish"] == {"hold": 2.0, "stand": 1.0, "light": 0.5, "handy": 1.0, "firm": 1.0, "hold_ml": 300.0}
    done = False
    while not done:
        _, reward, done, _, info = env.step(env.action_space.sample() * 0)
    assert info["design"]["goals"] == {
        "hold": 2.0,
        "stand": 1.0,
        "light": 0.5,
        "handy": 1.0,
        "firm": 1.0,
        "hold_ml": 300.0,
    }
    hold, stand, light, handy, firm = info["reward_vector"]
    assert reward == pytest.approx((2 * hold + stand + 0.5 * light + handy + firm) / 5.5)
    env.close()


def test_goals_of_one_episode_take_the_place_of_the_others_and_are_gone_after_it() -> None:
    env = DesignEnv(Toy(), goals={"large": 5})
    assert env.reset(seed=0)[1]["wish"] == {"large": 5, "low": 2, "size_ml": 60}
    observation, info = env.reset(options={"goals": {"low": 6, "size_ml": 100}})
    assert info["wish"] == {"large": 1, "low": 6, "size_ml": 100}
    assert observation[12:] == pytest.approx([2 / 7 - 1, 12 / 7 - 1, 1.0])
    assert env.reset()[1]["wish"] == {"large": 5, "low": 2, "size_ml": 60}


def test_a_varied_wish_keeps_what_is_fixed_and_stays_within_four_times_the_rest() -> None:
    env = DesignEnv(Toy(), goals={"large": 5, "size_ml": 70}, vary=True)
    wishes = [env.reset(seed=seed)[1]["wish"] for seed in range(60)]
    assert {(wish["large"], wish["size_ml"]) for wish in wishes} == {(5.0, 70.0)}
    drawn = [wish["low"] for wish in wishes]
    assert len(set(drawn)) == 60
    assert 0.5 <= min(drawn) < 0.8
    assert 5 < max(drawn) <= 8
    assert env.reset(options={"goals": {"low": 1}})[1]["wish"] == {"large": 1, "low": 1, "size_ml": 60}


@pytest.mark.parametrize(
    ("goals", "message"),
    [
        ({"big": 1}, "goals has 'big', but Toy has large, low, size_ml"),
        ({"large": -1}, "the weight of large is -1, but must be at least 0"),
        ({"large": 0, "low": 0}, "all goals of Toy have the weight 0, but one must have more"),
        ({"size_ml": 101}, "size_ml is 101, but must be between 20 and 100"),
        ({"low": math.nan}, "low is nan, but must be a number"),
        ({"low": True}, "low is True, but must be a number"),
        ({"low": "2"}, "low is '2', but must be a number"),
    ],
)
def test_wrong_goals_are_refused_in_a_sentence(goals: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        DesignEnv(Toy(), goals=goals)
    assert str(refused.value) == message
    env = DesignEnv(Toy())
    with pytest.raises(UsageError) as refused:
        env.reset(options={"goals": goals})
    assert str(refused.value) == message
    assert env.reset()[1]["wish"] == {"large": 1, "low": 2, "size_ml": 60}


def test_weights_whose_sum_is_no_number_are_refused_or_give_numbers() -> None:
    try:
        env = DesignEnv(Toy(), goals={"large": 1e308, "low": 1e308})
    except UsageError:
        return
    seen = episode(env, actions_of(env, 0), seed=0)
    assert np.isfinite(seen[0][0]).all()
    scores = seen[-1][4]["scores"]
    assert seen[-1][1] == pytest.approx((scores["large"] + scores["low"]) / 2)


def test_a_task_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no task 'Chair'; the tasks are Cup, Stool, Stand, Bridge"):
        DesignEnv("Chair")


@pytest.mark.parametrize("name", ["Cup", "Stand"])
def test_a_goal_without_weight_does_not_count(name: str) -> None:
    env = DesignEnv(name)
    for goal in env.task.goals:
        alone = {each.name: float(each is goal) for each in env.task.goals}
        *_, last = episode(env, actions_of(env, 1), seed=1, options={"goals": alone})
        assert last[1] == last[4]["scores"][goal.name]


# odd actions


@every_task
@pytest.mark.parametrize(
    ("given", "clean"),
    [(math.nan, 0.0), (math.inf, 1.0), (-math.inf, -1.0), (7.5, 1.0), (-1e30, -1.0)],
    ids=["nan", "inf", "minus inf", "above", "below"],
)
def test_actions_that_are_no_numbers_or_too_large_count_as_the_cleaned_ones(
    name: str, given: float, clean: float
) -> None:
    env = DesignEnv(name)
    actions = actions_of(env, 2)
    odd, plain = actions.copy(), actions.copy()
    odd[::2, 0], plain[::2, 0] = given, clean
    odd[1], plain[1] = given, clean
    assert same(episode(env, odd, seed=0), episode(env, plain, seed=0))


@every_task
@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_the_corners_of_the_space_and_its_middle_are_tested_as_all_else(name: str, value: float) -> None:
    env = DesignEnv(name)
    actions = np.full((env.task.space.steps, env.task.space.width), value)
    assert 0 <= episode(env, actions, seed=0)[-1][1] <= 1


def test_a_step_after_the_end_asks_for_a_reset() -> None:
    env = DesignEnv(Toy())
    first = episode(env, actions_of(env, 0), seed=0)
    for _ in range(2):
        with pytest.raises(gym.error.ResetNeeded, match="finished after 3 steps: reset the environment"):
            env.step(np.zeros(3))
    assert same(episode(env, actions_of(env, 0), seed=0), first)


@pytest.mark.parametrize("size", [0, 2, 4])
def test_an_action_of_another_size_is_refused_and_takes_no_step(size: int) -> None:
    env = DesignEnv(Toy())
    before, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match=f"a step has {size} numbers, but must have 3"):
        env.step(np.zeros(size))
    assert env.step(np.zeros(3))[0][:3].tolist() == [0, 1, 0]
    assert before[:3].tolist() == [1, 0, 0]


def test_what_was_told_is_not_changed_by_later_steps_nor_by_changing_the_action() -> None:
    env = DesignEnv(Toy())
    first, _ = env.reset(seed=0)
    action = np.full(3, 0.5, np.float32)
    second = env.step(action)[0]
    kept = second.copy()
    action[:] = -1
    *_, info = env.step(action)
    assert first[0] == 1
    assert np.array_equal(second, kept)
    *_, info = env.step(action)
    assert info["design"]["steps"] == [[0.5] * 3, [-1.0] * 3, [-1.0] * 3]
    env.reset()
    env.step(np.zeros(3))
    assert info["design"]["steps"] == [[0.5] * 3, [-1.0] * 3, [-1.0] * 3]


def test_it_is_drawn_where_that_is_asked_for() -> None:
    assert DesignEnv(Toy()).render() is None
    env = DesignEnv(Toy(), render_mode="rgb_array")
    env.reset(seed=0)
    pictures = [env.render()]
    for action in ([1.0, 0, 0], [1.0, 1.0, 0]):
        env.step(np.array(action))
        pictures.append(env.render())
    for picture in pictures:
        assert picture is not None
        assert (picture.shape, picture.dtype) == ((320, 320, 3), np.uint8)
    assert not np.array_equal(pictures[1], pictures[2])
