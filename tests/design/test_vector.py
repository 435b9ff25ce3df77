"""Designs side by side against designs one by one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("stable_baselines3")

from tenfold.design.archive import Archive
from tenfold.design.environment import DesignEnv
from tenfold.design.task import Task
from tenfold.design.tasks import find_task
from tenfold.design.vector import DesignVecEnv
from tenfold.design.workshop import Workshop, workshop

from .toy import Toy

TOY = Toy()


@pytest.fixture
def shop() -> Iterator[Workshop]:
    with workshop(TOY) as found:
        yield found


def archive_of(task: Task = TOY) -> Archive:
    return Archive(task, task.wish().wants)


@pytest.mark.parametrize("vary", [True, False])
@pytest.mark.parametrize("name", ["Toy", "Cup"])
def test_designs_side_by_side_are_those_one_by_one(name: str, vary: bool) -> None:
    task = TOY if name == "Toy" else find_task(name)
    random = np.random.default_rng(0)
    length, archive = task.space.steps, archive_of(task)
    goals = {task.goals[0].name: 0.7}
    singles = [DesignEnv(task, goals=goals, vary=vary) for _ in range(3)]
    recipes = []
    with workshop(task) as shop:
        together = DesignVecEnv(shop, 3, archive, goals=goals, vary=vary)
        together.seed(11)
        seen = together.reset()
        assert np.array_equal(seen, [env.reset(seed=11 + place)[0] for place, env in enumerate(singles)])
        for count in range(1, 2 * length + 1):
            actions = random.uniform(-1.5, 1.5, (3, task.space.width)).astype(np.float32)
            # as stable-baselines3 has it, the new design begins in the same step
            seen, rewards, dones, infos = together.step(actions)
            alone = [env.step(action) for env, action in zip(singles, actions, strict=True)]
            assert rewards.tolist() == [np.float32(each[1]) for each in alone]
            assert dones.tolist() == [each[2] for each in alone] == [count % length == 0] * 3
            if count % length:
                assert np.array_equal(seen, [each[0] for each in alone])
                assert not any("episode" in info for info in infos)
                continue
            recipes += [each[4]["design"] for each in alone]
            assert np.array_equal(seen, [env.reset()[0] for env in singles])
            for info, (last, reward, _, _, told) in zip(infos, alone, strict=True):
                assert np.array_equal(info["terminal_observation"], last)
                assert (info["scores"], info["facts"]) == (told["scores"], told["facts"])
                assert info["episode"]["r"] == pytest.approx(reward, abs=1e-6)
                assert info["episode"]["l"] == length
                assert info["TimeLimit.truncated"] is False
        assert len(archive) == 6
    for number, recipe in enumerate(recipes):
        assert archive.steps[number].tolist() == recipe["steps"]
        weights = {goal.name: recipe["goals"][goal.name] for goal in task.goals}
        assert archive.design(number, weights).recipe() == recipe


def test_an_observation_begins_with_the_step_that_is_next(shop: Workshop) -> None:
    envs = DesignVecEnv(shop, 4, archive_of())
    seen = envs.reset()
    for count in range(7):
        assert np.array_equal(seen[:, :3], np.tile(np.eye(3)[count % 3], (4, 1)))
        seen, *_ = envs.step(np.zeros((4, 3)))


def test_what_was_told_is_not_changed_by_later_steps(shop: Workshop) -> None:
    envs = DesignVecEnv(shop, 2, archive_of())
    first = envs.reset()
    kept = first.copy()
    _, rewards, _, infos = envs.step(np.ones((2, 3)))
    for _ in range(3):
        envs.step(np.ones((2, 3)))
    assert np.array_equal(first, kept)
    assert rewards.tolist() == [0, 0]
    assert [set(info) for info in infos] == [{"TimeLimit.truncated"}] * 2


def test_designs_have_different_wishes_and_seeds_and_the_fixed_weights(shop: Workshop) -> None:
    archive = archive_of()
    envs = DesignVecEnv(shop, 6, archive, goals={"large": 3.0})
    envs.seed(0)
    envs.reset()
    wishes = [env.wish for env in envs.envs]
    assert len({wish.weights["low"] for wish in wishes}) == 6
    assert {wish.weights["large"] for wish in wishes} == {3.0}
    for _ in range(3):
        envs.step(np.zeros((6, 3)))
    assert len(set(archive.fact("luck").tolist())) == 6


def test_the_same_seed_gives_the_same_designs_and_tests(shop: Workshop) -> None:
    found = []
    for seed in (0, 0, 1):
        archive = archive_of()
        envs = DesignVecEnv(shop, 3, archive)
        envs.seed(seed)
        envs.reset()
        for _ in range(9):
            envs.step(np.full((3, 3), 0.2))
        found.append(archive.fact("luck"))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
