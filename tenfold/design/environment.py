"""Designing as a Gymnasium environment: an action is a modelling step, the reward comes when the design is finished and tested.

Importing this module makes `tenfold/Cup-v0`, `tenfold/Stool-v0`, `tenfold/Stand-v0` and `tenfold/Bridge-v0` known to Gymnasium.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.config import require
from .recipe import Design
from .space import Steps, readable
from .task import Task, Verdict
from .tasks import find_task

SEEDS = 2**31


class DesignEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """One design an episode: `task.space.steps` modelling steps, then the test.

    Observations: `space.observe`, then the wish (`Task.describe`), float32 in [-1, 1]. Actions: the numbers of a step, in [-1, 1];
    those beyond are cut, and what is not a number counts as 0. Rewards: 0, and at the last step the design's score, in [0, 1].

    The last `info` has `reward_vector` (the score of each goal, in the task's order), `scores`, `facts`, and `design`, the recipe
    that `Design.from_recipe` replays to the same reward.

    Args:
        task: one of Cup, Stool, Stand, Bridge, or a `Task` of one's own.
        goals: weights of goals and values of wants; what is not named is as the task has it.
        vary: draw the weights that `goals` does not name anew at every reset, so that one policy learns many wishes.
        render_mode: None or rgb_array.

    Raises:
        UsageError: there is no such task or goal, or a value is out of range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium has it

    def __init__(
        self,
        task: Task | str = "Cup",
        *,
        goals: Mapping[str, float] | None = None,
        vary: bool = False,
        render_mode: str | None = None,
    ) -> None:
        modes = (None, *self.metadata["render_modes"])
        require(render_mode in modes, "render_mode", render_mode, "None or 'rgb_array'")
        self.task = find_task(task)
        self.goals = dict(goals or {})
        self.vary = vary
        self.render_mode = render_mode
        self.wish = self.task.wish(self.goals)
        space = self.task.space
        self._taken: Steps = np.zeros((0, space.width))
        self._seed = 0
        size = len(space.observe(self._taken)) + len(self.task.describe(self.wish))
        self.observation_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (space.width,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin a new design.

        Args:
            seed: of the wish, where it is drawn, and of the tests.
            options: `goals`, for this episode, in place of those that the environment was made with.
        """
        super().reset(seed=seed)
        goals = (options or {}).get("goals")
        if goals is None and self.vary:
            self.wish = self.task.draw_wish(self.np_random, self.goals)
        else:
            self.wish = self.task.wish(self.goals if goals is None else goals)
        self._seed = int(self.np_random.integers(SEEDS))
        self._taken = np.zeros((0, self.task.space.width))
        return self._observe(), {"wish": self.wish.values}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take a modelling step; the last one has the design tested."""
        if not self.take(action):
            return self._observe(), 0.0, False, False, {}
        return self.tested(self.task.test(self.task.space.build(self._taken), self.wish, self._seed))

    def take(self, action: NDArray[np.float32]) -> bool:
        """Take a modelling step without testing; whether the design is finished, and waits to be tested."""
        space = self.task.space
        if len(self._taken) >= space.steps:
            raise gym.error.ResetNeeded(f"the design is finished after {space.steps} steps: reset the environment")
        self._taken = np.concatenate([self._taken, readable(action, space.width)[None]])
        return len(self._taken) == space.steps

    def tested(self, verdict: Verdict) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """What the last `step` returns, where somebody else has tested the finished design."""
        design = Design(self.task, self._taken, self.wish, (self._seed,), verdict)
        info = {
            "reward_vector": np.array([verdict.scores[goal.name] for goal in self.task.goals], dtype=np.float64),
            "scores": verdict.scores,
            "facts": verdict.facts,
            "design": design.recipe(),
        }
        return self._observe(), design.score, True, False, info

    @property
    def waiting(self) -> tuple[Steps, dict[str, float], int]:
        """What testing the design elsewhere takes: its steps, its wish, and the seed of its tests."""
        return self._taken, self.wish.values, self._seed

    def render(self) -> NDArray[np.uint8] | None:
        """The unfinished design, (320, 320, 3); None without a render mode."""
        if self.render_mode is None:
            return None
        from .drawing import draw

        steps = self._taken if len(self._taken) else np.zeros((1, self.task.space.width))
        return np.array(draw(self.task.space.build(steps).surface()))

    def _observe(self) -> NDArray[np.float32]:
        return np.concatenate([self.task.space.observe(self._taken), self.task.describe(self.wish)])
