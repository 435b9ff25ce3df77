"""What a trained population does: an episode to look at, every member's return, or answers to a person's own observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from ..core.demo import Output, Rows
from ..core.errors import UsageError
from ..core.figures import picture_grid
from ..core.legs import State, one_thread
from ..core.number_files import read_rows
from ..core.rl_environments import as_observations, load_normalizer, make_environments, picture_of
from ..core.rl_training import Training
from .algorithms import GeneticGated
from .config import Config, DemoOptions
from .evaluate import load_run
from .trainings import load_model, normalizes

COLUMNS = 4
SHOWN = 8
"""observations of the episode that are answered where none are given"""
SIDE = 320
"""pixels that pictures of the episode fit into"""


class EvolveDemo:
    """Plays and answers; made by `load`."""

    outputs = (
        Output(
            "returns", "table", "of one episode each, from the same start: the elite, the vote of all, every member"
        ),
        Output("episode", "picture", "the elite's episode"),
        Output(
            "actions",
            "table",
            "for each observation given, or of the episode: the elite's action, the vote, its spread",
        ),
    )

    def __init__(self, config: Config, learned: dict[Training, State]) -> None:
        self._config, self._learned = config, learned

    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Play and answer; see `outputs`.

        Raises:
            UsageError: the run has no such environment or replica, or a file does not hold observations of it.
        """
        training = self._training(options)
        state = self._learned[training]
        given = [row for path in options.observations for row in read_rows(path, array="observations").numpy()]
        with one_thread():
            environments = make_environments(
                training.env,
                1,
                seed=options.seed,
                training=False,
                normalize=normalizes(self._config, training),
                drawn=True,
            )
            try:
                model = cast(GeneticGated, load_model(self._config, training, state, environments))
                load_normalizer(environments, state["normalizer"])
                player = Player(model, environments, options.seed, self._config.metrics.deterministic)
                rows, seen, pictures = player.play_all(options.frames)
                answered = as_observations(given, environments) if given else seen[:SHOWN]
                actions = _answers(model, answered)
            finally:
                environments.close()
        return {"returns": rows, "episode": pictures, "actions": actions}

    def _training(self, options: DemoOptions) -> Training:
        env = options.env or self._config.envs[0]
        training = Training(env, "genetic", options.replica)
        if training not in self._learned:
            raise UsageError(
                f"env is {env!r} and replica {options.replica}, but the run has genetic gates in"
                f" {', '.join(self._config.envs)}, replicas 0 to {self._config.train.replicas - 1}"
            )
        return training


class Player:
    """Lets members of a population play one episode each, always the same one."""

    def __init__(self, model: GeneticGated, environments: VecEnv, seed: int, deterministic: bool) -> None:
        self._model, self._environments = model, environments
        self._seed, self._deterministic = seed, deterministic

    def play_all(self, frames: int) -> tuple[Rows, list[NDArray[Any]], Image.Image]:
        """A table of the returns of all, what the elite has observed, and pictures of its episode."""
        rows = []
        elite, seen, pictures = self.play("the elite")
        rows.append(("the elite", f"{elite:.2f}", str(len(seen))))
        for name in ("vote of all", *(f"member {number}" for number in range(len(self._model.gate)))):
            worth, steps, _ = self.play(name)
            rows.append((name, f"{worth:.2f}", str(len(steps))))
        return Rows(("who", "return", "steps"), tuple(rows)), seen, _sheet(pictures, frames)

    def play(self, name: str) -> tuple[float, list[NDArray[Any]], list[NDArray[np.uint8]]]:
        """The return of an episode, its observations, and, of the elite's, its pictures."""
        set_random_seed(self._seed)
        self._environments.seed(self._seed)
        observation: Any = self._environments.reset()
        seen, pictures = [], []
        while True:
            seen.append(np.array(observation[0]))
            if name == "the elite":
                picture = picture_of(self._environments)
                pictures += [] if picture is None else [picture]
            observation, _, _, infos = self._environments.step(self._action(name, observation))
            if "episode" in infos[0]:
                return float(infos[0]["episode"]["r"]), seen, pictures

    def _action(self, name: str, observation: Any) -> NDArray[Any]:
        if name.startswith("member"):
            genes = self._model.gate.genes_of(int(name.split()[1])).float()
            policy = self._model.policy
            tensor, _ = policy.obs_to_tensor(observation)
            with policy.acting(genes.to(policy.device)):
                return policy.act(tensor, deterministic=self._deterministic)
        vote: Any = "population" if name == "vote of all" else "elite"
        return self._model.predict(observation, deterministic=self._deterministic, vote=vote)[0]


def load(folder: Path) -> EvolveDemo:
    """What a run folder has learned with genetic gates.

    Raises:
        UsageError: the folder is not a run of this method, has no trained network yet, or was trained without this method.
    """
    config, learned = load_run(folder)
    if "genetic" not in config.methods:
        raise UsageError(
            f"{folder} was trained without genetic gates, which the demo needs; it has {', '.join(config.methods)}"
        )
    return EvolveDemo(config, learned)


def _answers(model: GeneticGated, observations: list[NDArray[Any]]) -> Rows:
    """The elite's most likely action, the population's, and the spread, for each observation."""
    table = np.stack(observations)
    elite, _ = model.predict(table, deterministic=True)
    vote, spread = model.predict(table, deterministic=True, vote="population")
    rows = [
        (str(number), *(_text(each) for each in answers))
        for number, answers in enumerate(zip(elite, vote, spread, strict=True))
    ]
    return Rows(("observation", "elite", "vote", "spread"), tuple(rows))


def _text(numbers: Any) -> str:
    return " ".join(f"{number:.3g}" for number in np.atleast_1d(numbers).ravel())


def _sheet(pictures: list[NDArray[np.uint8]], frames: int) -> Image.Image:
    """Pictures evenly over the episode; a grey one where the environment cannot be drawn here."""
    if not pictures:
        return picture_grid([Image.new("RGB", (SIDE, SIDE // 2), "#8a93a0")], ["cannot be drawn here"], columns=1)
    chosen = np.unique(np.linspace(0, len(pictures) - 1, frames).round().astype(int))
    images = [Image.fromarray(pictures[step]) for step in chosen]
    for image in images:
        image.thumbnail((SIDE, SIDE))
    return picture_grid(images, [f"step {step}" for step in chosen], columns=min(COLUMNS, len(images)))
