"""A callback that writes down who acted, and what a model has learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from tenfold.evolve.algorithms import GeneticGated


def state_of(model: OnPolicyAlgorithm) -> dict[str, Any]:
    """Weights and the optimizer's state, and nothing of the gate."""
    state: dict[str, Any] = {
        name: value for name, value in model.policy.state_dict().items() if not name.startswith("gate.")
    }
    for number, moments in model.policy.optimizer.state_dict()["state"].items():
        state |= {f"optimizer {number} {name}": torch.as_tensor(value) for name, value in moments.items()}
    return state


def assert_same_state(first: OnPolicyAlgorithm, second: OnPolicyAlgorithm) -> None:
    one, other = state_of(first), state_of(second)
    assert one.keys() == other.keys()
    assert any(name.startswith("optimizer") for name in one)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@dataclass(eq=False)
class Step:
    """One step of all environments."""

    rollout: int
    populating: bool
    generation: int
    genes: NDArray[np.uint8]
    dones: NDArray[np.bool_]
    rewards: NDArray[np.float64]
    ended: NDArray[np.bool_]


@dataclass(eq=False)
class Episode:
    """One environment's steps from a reset to the end that its Monitor saw; the last may be unfinished."""

    place: int
    steps: list[Step] = field(default_factory=list)
    finished: bool = False

    @property
    def born(self) -> Step:
        return self.steps[0]

    @property
    def genes(self) -> NDArray[np.uint8]:
        return self.born.genes[self.place]

    @property
    def total(self) -> float:
        return float(sum(step.rewards[self.place] for step in self.steps))

    @property
    def within_a_phase(self) -> bool:
        """Whether it began and ended in the same phase of the same generation."""
        last = self.steps[-1]
        return (self.born.populating, self.born.generation) == (last.populating, last.generation)


class Recorder(BaseCallback):
    """Writes down every step with the genes that acted in it, and every generation before and after it was bred."""

    model: GeneticGated

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.chromosomes: dict[int, NDArray[np.uint8]] = {}
        self.elites: dict[int, int] = {}
        self.fitness: dict[int, NDArray[np.float64]] = {}
        self.rollout = -1

    def _init_callback(self) -> None:
        evolve = type(self.model.gate).evolve

        def watched(fitness: torch.Tensor) -> int:
            self.fitness[int(self.model.gate.generation)] = fitness.numpy().copy()
            return evolve(self.model.gate, fitness)

        self.model.gate.evolve = watched  # type: ignore[method-assign]

    def _on_rollout_start(self) -> None:
        self.rollout += 1

    def _on_step(self) -> bool:
        roster = self.model.roster
        assert roster is not None
        generation = int(self.model.gate.generation)
        if generation not in self.chromosomes:
            self.chromosomes[generation] = self.model.gate.chromosomes.numpy().copy()
            self.elites[generation] = int(self.model.gate.elite)
        self.steps.append(
            Step(
                self.rollout,
                roster.populating,
                generation,
                roster.genes.copy(),
                self.locals["dones"].copy(),
                self.locals["rewards"].copy(),
                np.array(["episode" in info for info in self.locals["infos"]]),
            )
        )
        return True

    def episodes(self) -> list[Episode]:
        """In the order in which they began."""
        under_way = [Episode(place) for place in range(len(self.steps[0].dones))]
        found = list(under_way)
        for step in self.steps:
            for episode in under_way:
                episode.steps.append(step)
            for place in np.flatnonzero(step.ended):
                under_way[place].finished = True
                under_way[place] = Episode(int(place))
                found.append(under_way[place])
        return [episode for episode in found if episode.steps]
