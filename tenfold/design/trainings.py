"""One training: a method that designs for one task, with so many simulator calls, from one seed.

It is cut into legs that are pure functions from the state after one to that after the next (see `core.rl_training`). A policy goes on with
its weights and optimizer. A search goes on by being asked again from the start and told what the archive knows: exact, and no test is
made twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from stable_baselines3 import PPO

from ..core.errors import UsageError
from ..core.legs import State, one_thread
from ..core.rl_training import Training, learner_state, resume_learner, seed_of
from ..core.rl_training import trainings_of as all_trainings
from .archive import Archive
from .config import Config, numbers_of
from .designer import most_likely_steps, new_model, seeds_of, untrained
from .recipe import Design
from .search import SEARCHES
from .task import Task, Verdict, Wish
from .tasks import find_task
from .vector import DesignVecEnv
from .workshop import Order, Workshop, workshop

EMPHASIS = 4.0
"""how much more a goal counts in the wish that is named after it"""
DIAL = (0.25, 0.5, 1.0, 2.0, 4.0)
"""factors of a weight that a trained policy is turned through, least first"""
OWN = "own"
"""the wish with the task's own weights"""


def trainings_of(config: Config) -> list[Training]:
    """All trainings of a run, in the order in which they are done."""
    return all_trainings(config.tasks, config.methods, config.replicas)


def leg(config: Config, training: Training, state: State | None) -> State:
    """The state after the next leg.

    Returns:
        leg (how many are done), steps (simulator calls), seconds, curve (for each leg: calls, and the best scores so far, averaged over
        the wishes), archive, and of a policy model; after the last leg what `judged` adds.
    """
    began = time.monotonic()
    task = find_task(training.env)
    done = 0 if state is None else state["leg"]
    target = -(-config.calls * (done + 1) // config.evaluations)
    wants = wants_of(config, task)
    archive = Archive(task, task.wish(wants).wants) if state is None else Archive.from_state(task, state["archive"])
    found: State = {}
    with one_thread(), workshop(task) as shop:
        if training.method == "ppo":
            found["model"] = _learned(
                config, training, shop, archive, target, None if state is None else state["model"]
            )
        else:
            _searched(config, training, shop, archive, target)
        wishes = wishes_of(config, task)
        reached = [archive.values(wish.weights)[: min(target, len(archive))].max() for wish in wishes.values()]
        if done + 1 == config.evaluations:
            found |= judged(config, training, archive, found.get("model"))
    return found | {
        "leg": done + 1,
        "steps": target,
        "seconds": (0.0 if state is None else state["seconds"]) + time.monotonic() - began,
        "curve": [*([] if state is None else state["curve"]), [target, float(np.mean(reached))]],
        "archive": archive.state(),
    }


def wants_of(config: Config, task: Task) -> dict[str, float]:
    """The wants of the run that the task has."""
    return {
        name: value
        for name, value in numbers_of(config.wants, "wants").items()
        if name in {want.name for want in task.wants}
    }


def check_wants(config: Config) -> None:
    """Refuse wants that no task of the run has, or that are beyond a task's range.

    Raises:
        UsageError: names them.
    """
    tasks = [find_task(name) for name in config.tasks]
    known = [want.name for task in tasks for want in task.wants]
    unknown = next((name for name in numbers_of(config.wants, "wants") if name not in known), None)
    if unknown is not None:
        raise UsageError(f"wants has {unknown!r}, but the tasks have {', '.join(known) or 'none'}")
    for task in tasks:
        wishes_of(config, task)


def wishes_of(config: Config, task: Task) -> dict[str, Wish]:
    """The wishes that a run's designs are judged by: the task's own, and, where there are many, one for each goal."""
    wants = wants_of(config, task)
    wishes = {OWN: task.wish(wants)}
    if config.wishes == "many":
        wishes |= {goal.name: task.wish(wants | {goal.name: EMPHASIS * max(goal.weight, 0.25)}) for goal in task.goals}
    return wishes


def judged(
    config: Config, training: Training, archive: Archive, learned: State | None, *, held_out: int | None = None
) -> State:
    """What a training that is done is worth.

    Returns:
        chosen: for each wish number (in the archive), seeds (of its last tests), found (its score by the search's own test), score, scores and facts (means over
        tests that the search has not seen). at once, of a policy: for each wish the score of its most likely design in the same tests. dial, of a
        policy for many wishes: see `dial_masses`.
    """
    task, settings = archive.task, config.judge
    within = archive.first(config.calls)  # the last update of a policy may have gone beyond
    wishes = wishes_of(config, task)
    chosen: dict[str, dict[str, Any]] = {}
    for name, wish in wishes.items():
        again = seeds_of(seed_of(config.seed, training, "finalists"), name, count=settings.tests)
        unseen = seeds_of(seed_of(config.seed, training, "held out"), name, count=held_out or settings.held_out)
        numbers = within.best(wish.weights, settings.finalists)
        scores = [within.design(each, wish.weights).retested(again).score for each in numbers]
        number = numbers[int(np.argmax(scores))]
        last = within.design(number, wish.weights).retested(unseen)
        chosen[name] = {
            "number": number,
            "seeds": unseen,
            "found": float(archive.values(wish.weights)[number]),
            "score": last.score,
            "scores": last.verdict.scores,
            "facts": last.verdict.facts,
        }
    found: State = {"chosen": chosen}
    if learned is not None:
        model = policy_of(config, task, learned)
        found["at once"] = {
            name: Design.tested(task, most_likely_steps(model, task, wish), wish, chosen[name]["seeds"]).score
            for name, wish in wishes.items()
        }
        if config.wishes == "many" and task.light:
            found["dial"] = dial_masses(config, task, model)
    return found


def policy_of(config: Config, task: Task, learned: State) -> PPO:
    """The policy that a training has learned, to act and not to learn on."""
    model = untrained(task, config.policy)
    resume_learner(model, learned)
    return model


def dial_masses(config: Config, task: Task, model: PPO) -> list[float]:
    """Mass (g) of what a policy makes, without chance, while the weight of the goal that wants little material grows; see `DIAL`."""
    designs = [task.space.build(steps) for steps in dial_steps(config, task, model)]
    return [1000 * solid.bulk().volume * task.material.density for solid in designs]


def dial_steps(config: Config, task: Task, model: PPO) -> list[Any]:
    """The steps of those designs, least weight first."""
    own = next(goal.weight for goal in task.goals if goal.name == task.light)
    wants = wants_of(config, task)
    return [most_likely_steps(model, task, task.wish(wants | {task.light: factor * own})) for factor in DIAL]


def chosen_design(task: Task, state: State, wish: Wish, name: str) -> Design:
    """The design that a training is judged by for a wish, with the verdict of its last tests."""
    found = state["chosen"][name]
    design = Archive.from_state(task, state["archive"]).design(found["number"], wish.weights)
    return replace(design, wish=wish, seeds=tuple(found["seeds"]), verdict=Verdict(found["scores"], found["facts"]))


def _learned(
    config: Config, training: Training, shop: Workshop, archive: Archive, target: int, learned: State | None
) -> State:
    """Let the policy learn until `target` designs, rounded up to whole updates, were tested; what it knows then."""
    seed = seed_of(config.seed, training, "leg", len(archive))
    environments = DesignVecEnv(
        shop, config.policy.designs, archive, goals=wants_of(config, shop.task), vary=config.wishes == "many"
    )
    first = seed_of(config.seed, training, "weights")
    model = new_model(
        environments, config.policy, seed=first, share=target / config.calls, device=config.compute.device
    )
    if learned is not None:
        resume_learner(model, learned)
    model.set_random_seed(seed)
    environments.seed(seed)
    if target > len(archive):
        length = shop.task.space.steps
        model.learn((target - len(archive)) * length, reset_num_timesteps=False)
    return learner_state(model)


def _searched(config: Config, training: Training, shop: Workshop, archive: Archive, target: int) -> None:
    """Let searches, one for each wish and taking turns, go on until `target` designs were tested.

    Random search needs no wish: it is one, and all wishes choose from what it has drawn.
    """
    task = shop.task
    space = task.space
    wishes: Sequence[Wish] = list(wishes_of(config, task).values())[: 1 if training.method == "random" else None]
    seeds = [seed_of(config.seed, training, training.method, number) for number in range(len(wishes))]
    searches = [SEARCHES[training.method](space.steps * space.width, seed) for seed in seeds]
    asked = [next(search) for search in searches]
    at = turn = 0
    while at < target:
        end = at + len(asked[turn])
        missing = asked[turn][max(len(archive) - at, 0) : target - at]
        orders = [
            Order(
                row.reshape(space.steps, space.width),
                wishes[turn].values,
                seed_of(config.seed, training, "test", number),
            )
            for number, row in enumerate(missing, max(len(archive), at))
        ]
        archive.add(orders, shop.test(orders))
        if end <= target:
            asked[turn] = searches[turn].send(archive.values(wishes[turn].weights)[at:end])
        at, turn = end, (turn + 1) % len(wishes)
