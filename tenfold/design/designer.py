"""A policy that designs, from the first modelling step to the mesh: `Designer("Cup-v0").train().best(8)`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from ..core.batches import derive_seed
from ..core.checkpoint import load_state, save_state
from ..core.config import from_dict, require, to_dict
from ..core.errors import UsageError
from ..core.progress import Meter, meter
from ..core.rl_training import Falling, learner_state, resume_learner
from .archive import Archive
from .config import PolicySettings
from .imitation import ImitatingPPO
from .policy import DesignPolicy
from .recipe import Design, Portfolio, is_named, task_name
from .space import Steps
from .task import Task, Wish
from .tasks import find_task
from .vector import DesignVecEnv
from .workshop import Workshop, workshop

APART = 0.15
"""root mean square distance of the numbers of two designs in a portfolio"""
SPARE = 3
"""finalists of a portfolio for each design in it"""


class Designer:
    """Learns to design for a task: one policy for all weights of its goals. Keeps every design that it has had tested.

    Example:
        designer = Designer("Cup-v0").train(steps=100_000)
        designer.best(8, goals={"light": 2}).sheet("cups.png")    # of all that were tested
        designer.design({"light": 4})                            # what the policy makes of a wish, at once

    Args:
        task: Cup, Stool, Stand, Bridge (also as `Cup-v0`), or a `Task` of one's own.
        goals: weights of goals and values of wants that stay as they are; the policy learns to follow the other weights.
        vary: False trains for these weights, and the task's own, alone.
        seed: everything random follows from it, at least 0.
        workers: processes that test designs. A script that asks for several has its own work below `if __name__ == "__main__":`.
        policy: the policy and PPO; none takes what was measured.

    Raises:
        UsageError: there is no such task or goal, or a value is out of range.
    """

    def __init__(
        self,
        task: Task | str = "Cup",
        *,
        goals: Mapping[str, float] | None = None,
        vary: bool = True,
        seed: int = 0,
        workers: int = 1,
        policy: PolicySettings | None = None,
    ) -> None:
        require(seed >= 0, "seed", seed, "at least 0")
        require(workers >= 1, "workers", workers, "at least 1")
        self.task = find_task(task)
        self.goals = dict(goals or {})
        self.vary = vary
        self.seed = seed
        self.workers = workers
        self.settings = policy or PolicySettings()
        self.archive = Archive(self.task, self.task.wish(self.goals).wants)
        self.model: PPO | None = None
        """stable-baselines3's, once `train` was called"""

    def train(self, steps: int = 200_000) -> Designer:
        """Learn for so many modelling steps, rounded up to whole updates, with progress. Returns itself.

        A second call goes on: steps spread again as they did at that share of the whole.

        A design takes `task.space.steps` of them, and one simulator call.
        """
        require(steps >= 1, "steps", steps, "at least 1")
        length = self.task.space.steps
        with (
            workshop(self.task, self.workers) as shop,
            meter(f"{self.task.name} designs", -(-steps // length)) as shown,
        ):
            self._learn(shop, steps, shown)
        return self

    def design(self, goals: Mapping[str, float] | None = None, *, seed: int = 0) -> Design:
        """What the policy makes of a wish, without chance, tested once.

        Args:
            goals: weights of goals; what is not named is as the designer has it.
            seed: of the tests.

        Raises:
            UsageError: the designer is not trained, there is no such goal, or a want is not what it learned for.
        """
        require(0 <= seed < 2**31, "seed", seed, "at least 0 and below 2**31")
        wish = self._wish(goals)
        return Design.tested(self.task, self.steps_for(wish), wish, [seed])

    def steps_for(self, wish: Wish) -> Steps:
        """The most likely modelling steps for a wish.

        Raises:
            UsageError: the designer is not trained.
        """
        if self.model is None:
            raise UsageError("the designer is not trained yet: call train() first")
        return most_likely_steps(self.model, self.task, wish)

    def best(self, count: int = 8, *, goals: Mapping[str, float] | None = None, tests: int = 5) -> Portfolio:
        """The best of all designs that were tested, no two alike, best first.

        Each was tested once while the designer learned. The best of thousands are those that also were lucky: so more of them than
        asked for are tested again, and the new tests alone count.

        Args:
            count: how many, at least 1; fewer come where there are no more.
            goals: weights of goals; what is not named is as the designer has it.
            tests: new tests of each.

        Raises:
            UsageError: nothing was tested yet, there is no such goal, or a want is not what the designs were tested for.
        """
        require(count >= 1, "count", count, "at least 1")
        require(tests >= 1, "tests", tests, "at least 1")
        if not len(self.archive):
            raise UsageError("no design was tested yet: call train() first")
        wish = self._wish(goals)
        return finalists(self.archive, wish, count, seeds=seeds_of(self.seed, "finalists", count=tests))

    def front(self) -> Portfolio:
        """The designs that no other beats in one goal without losing in another, the best of the task's own wish first."""
        weights = self.task.wish(self.goals).weights
        chosen = sorted(self.archive.front(), key=lambda number: -self.archive.values(weights)[number])
        return Portfolio(self.archive.design(number, weights) for number in chosen)

    def save(self, folder: Path | str) -> Path:
        """Write policy, optimizer and all designs, as safetensors and JSON."""
        state: dict[str, Any] = {
            "task": task_name(self.task),
            "goals": self.goals,
            "vary": self.vary,
            "seed": self.seed,
            "settings": to_dict(self.settings),
            "archive": self.archive.state(),
            "model": None if self.model is None else learner_state(self.model),
        }
        save_state(Path(folder), state)
        return Path(folder)

    @classmethod
    def load(cls, folder: Path | str, task: Task | None = None, *, workers: int = 1) -> Designer:
        """What `save` has written, ready to design or to go on learning.

        Args:
            folder: that was given to `save`.
            task: for a task of one's own.
            workers: processes that test designs.

        Raises:
            UsageError: the folder holds no designer.
        """
        state = load_state(Path(folder))
        if not {"task", "goals", "archive", "model", "settings"} <= set(state):
            raise UsageError(f"{folder} holds no designer")
        if task is None and ":" in state["task"]:
            raise UsageError(f"{folder} is for the task {state['task']}: give it as `task`")
        if task is not None and not is_named(task, state["task"]):
            raise UsageError(f"{folder} is for the task {state['task']}, but task is {task_name(task)}")
        designer = cls(
            task or state["task"],
            goals=state["goals"],
            vary=state["vary"],
            seed=state["seed"],
            workers=workers,
            policy=from_dict(PolicySettings, state["settings"], "policy."),
        )
        designer.archive = Archive.from_state(designer.task, state["archive"])
        if state["model"] is not None:
            designer.model = untrained(designer.task, designer.settings, seed=designer.seed)
            resume_learner(designer.model, state["model"])
        return designer

    def _wish(self, goals: Mapping[str, float] | None) -> Wish:
        """The wish with these weights; the wants are what the designer was made for, as all it knows was tested with them."""
        wish = self.task.wish({**self.goals, **(goals or {})})
        other = next((name for name, value in wish.wants.items() if value != self.archive.wants[name]), None)
        if other is not None:
            raise UsageError(
                f"{other} is {wish.wants[other]:g}, but this designer learned for {self.archive.wants[other]:g}:"
                f" Designer({self.task.name!r}, goals={{{other!r}: {wish.wants[other]:g}}}) learns for another"
            )
        return wish

    def _learn(self, shop: Workshop, steps: int, shown: Meter) -> None:
        done = 0 if self.model is None else self.model.num_timesteps
        environments = DesignVecEnv(shop, self.settings.designs, self.archive, goals=self.goals, vary=self.vary)
        model = new_model(environments, self.settings, seed=derive_seed(self.seed, "policy", done) % 2**31)
        # making the model has seeded them otherwise
        environments.seed(derive_seed(self.seed, "designs", done) % 2**31)
        if self.model is not None:
            resume_learner(model, learner_state(self.model))
        model.learn(steps, _Shown(shown, self.archive), reset_num_timesteps=False)
        self.model = model


def new_model(
    environments: DesignVecEnv, settings: PolicySettings, *, seed: int, share: float = 1.0, device: str = "cpu"
) -> ImitatingPPO:
    """PPO for designs, new.

    Args:
        environments: that it will learn in; each rollout is one design of each.
        settings: of the policy and PPO.
        seed: of its weights and of what it draws.
        share: of the whole training that it will be told of as if it were all; for the falling rate.
        device: of the policy; a small one is fastest on the CPU.
    """
    length = environments.envs[0].task.space.steps
    rollout = length * environments.num_envs
    return ImitatingPPO(
        DesignPolicy,
        environments,
        archive=environments.archive,
        goals=environments.goals,
        vary=environments.vary,
        imitation=settings.imitation,
        elites=settings.elites,
        cooled=settings.cooled,
        share=share,
        n_steps=length,
        batch_size=_divisor(rollout, settings.batch_size),
        n_epochs=settings.n_epochs,
        learning_rate=Falling(settings.learning_rate, share),
        gamma=1.0,  # what counts is the finished design, however many steps it took
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip_range,
        ent_coef=settings.ent_coef,
        policy_kwargs={"steps": length, "spread": settings.spread, "net_arch": list(settings.hidden)},
        seed=seed,
        device=device,
    )


def untrained(task: Task, settings: PolicySettings, *, seed: int = 0) -> PPO:
    """A model that can act and be given what another has learned, but has no workshop to learn in."""
    with workshop(task) as shop:
        environments = DesignVecEnv(shop, 2, Archive(task, task.wish().wants))
    return new_model(environments, settings, seed=seed)


def most_likely_steps(model: PPO, task: Task, wish: Wish) -> Steps:
    """The steps of a policy for a wish, without chance, (T, width)."""
    taken: Steps = np.zeros((0, task.space.width))
    for _ in range(task.space.steps):
        seen = np.concatenate([task.space.observe(taken), task.describe(wish)])
        action, _ = model.predict(seen, deterministic=True)
        taken = np.concatenate([taken, np.clip(np.asarray(action, np.float64), -1, 1)[None]])
    return taken


def finalists(archive: Archive, wish: Wish, count: int, *, seeds: list[int], spare: int = SPARE) -> Portfolio:
    """The best designs of an archive for a wish after new tests, no two alike, best first."""
    chosen = archive.best(wish.weights, spare * count, apart=APART if count > 1 else 0.0)
    again = [archive.design(number, wish.weights).retested(seeds) for number in chosen]
    return Portfolio(sorted(again, key=lambda design: -design.score)[:count])


def seeds_of(seed: int, *parts: str | int, count: int) -> list[int]:
    """`count` seeds of tests that follow from a seed and what they are for."""
    return [derive_seed(seed, *parts, number) % 2**31 for number in range(count)]


def _divisor(total: int, wanted: int) -> int:
    """The largest divisor of `total` that is not above `wanted`, at least 2: batches of unequal size would weigh unequally."""
    return max((size for size in range(2, min(wanted, total) + 1) if total % size == 0), default=total)


class _Shown(BaseCallback):
    """Moves the progress on, with the best score of the lot."""

    def __init__(self, shown: Meter, archive: Archive) -> None:
        super().__init__()
        self._meter, self._archive, self._before = shown, archive, len(archive)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        rewards = [info["r"] for info in self.model.ep_info_buffer or ()]
        mean = f"mean score of the last {len(rewards)}: {np.mean(rewards):.3f}" if rewards else ""
        self._meter.advance(len(self._archive) - self._before, mean)
        self._before = len(self._archive)
