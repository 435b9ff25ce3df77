"""Who acts in which environment, and what each member's episodes were worth: the two phases of a generation.

In the elite phase every environment is the elite's. In the population phase each member plays its episodes, all of them equally
many; an environment that has no member left to try is the elite's again. A chromosome changes hands only where an episode really ends, so
that an episode is one member's from its first step to its last; one that began before its phase is played to its end, uncounted.

A population phase lasts a number of steps at least, and the elite's as much as its share is to that, so that something is learned between
two selections; where episodes are short, members play more of them for that, and their fitness is the surer.

Shapes: N members, E environments, G genes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import GeneticSettings

ELITE = -1
"""in place of a member's number: acts as the elite, and the episode is nobody's fitness"""


class Roster:
    """See the module. Chromosomes are given to it; it changes none.

    Args:
        environments: E, at least 1.
        settings: shares and lengths of the phases.
        chromosomes: uint8 (N, G).
        elite: row of the elite in it.
    """

    def __init__(
        self, environments: int, settings: GeneticSettings, chromosomes: NDArray[np.uint8], elite: int
    ) -> None:
        self.settings = settings
        self.populating = settings.elite_share == 0
        self.steps = 0
        self.elite_steps = 0
        self.phase_steps = 0
        self.returns: list[list[float]] = []
        self.elite_returns: list[float] = []
        self.environments = environments
        self._everyone = np.ones(environments, dtype=np.bool_)
        self.renew(chromosomes, elite)
        self.genes: NDArray[np.uint8] = np.zeros((environments, chromosomes.shape[1]), np.uint8)
        self.release()

    @property
    def fitness(self) -> NDArray[np.float64]:
        """Mean return of each member's episodes so far, (N,); NaN where there is none."""
        return np.array([np.mean(returns) if returns else np.nan for returns in self.returns])

    def renew(self, chromosomes: NDArray[np.uint8], elite: int) -> None:
        """Take a new generation. Environments keep the genes that they have until their episode ends."""
        self.chromosomes, self.elite = chromosomes, elite
        self.returns = [[] for _ in chromosomes]
        self._begun = np.zeros(len(chromosomes), dtype=np.int64)
        self.quota = max(self.settings.episodes, self._least_quota)

    @property
    def _least_quota(self) -> int:
        """Episodes of each member with which no environment is left without one."""
        return -(-self.environments // len(self.chromosomes))

    def release(self) -> None:
        """All environments were reset: whatever was being played counts for nothing, and everyone is assigned anew."""
        self._begun = np.array([len(returns) for returns in self.returns])
        self.member = np.full(self.environments, ELITE)
        self._in_phase = np.zeros(self.environments, dtype=np.bool_)
        self.assign(range(self.environments))

    def enter(self, *, populating: bool) -> None:
        """Begin a phase; episodes under way are played to their end, and count for nothing."""
        self.populating, self.phase_steps = populating, 0
        self._in_phase[:] = False
        self.member[:] = ELITE
        if not populating:
            self.elite_returns = []

    def advance(self) -> None:
        """Count one step of all environments."""
        self.steps += self.environments
        self.phase_steps += self.environments
        if not self.populating:
            self.elite_steps += self.environments

    def note(self, ended: Iterable[tuple[int, float]]) -> None:
        """Episodes really ended: note what they were worth, each for who played it.

        Args:
            ended: (environment, return of its episode).
        """
        for place, worth in ended:
            if self._in_phase[place] and self.member[place] != ELITE:
                self.returns[self.member[place]].append(float(worth))
            elif self._in_phase[place] and not self.populating:
                self.elite_returns.append(float(worth))

    def phase_is_over(self) -> bool:
        """Whether the other phase's turn has come: the elite has its share of all steps, or every member has played its quota."""
        share, least = self.settings.elite_share, self.settings.phase_steps
        if self.populating:
            return self.phase_steps >= least and all(len(returns) >= self.quota for returns in self.returns)
        return self.phase_steps * (1 - share) >= least * share and self.elite_steps >= share * self.steps

    def assign(self, places: Iterable[int]) -> None:
        """Give free environments to members that have episodes left, those with the fewest first, or else to the elite."""
        genes = self.genes.copy()  # the buffer keeps the array of every step, so that none is ever changed
        for place in places:
            chosen = self._next_member() if self.populating else ELITE
            self.member[place], self._in_phase[place] = chosen, True
            genes[place] = self.chromosomes[self.elite if chosen == ELITE else chosen]
        self.genes = genes
        self.learned = self._who_learns()

    def _next_member(self) -> int:
        """Whose episode is next. One more for everybody, once all have begun theirs before the phase is long enough."""
        if self._begun.min() >= self.quota and self.phase_steps < self.settings.phase_steps:
            self.quota += 1
        least = int(self._begun.argmin())
        if self._begun[least] >= self.quota:
            return ELITE
        self._begun[least] += 1
        return least

    def state(self) -> dict[str, Any]:
        """What an evaluation under way has found so far, as plain numbers; not who acts where, which a reset decides anew."""
        return {
            "populating": self.populating,
            "steps": self.steps,
            "elite_steps": self.elite_steps,
            "phase_steps": self.phase_steps,
            "quota": self.quota,
            "returns": [list(returns) for returns in self.returns],
            "elite_returns": list(self.elite_returns),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; all environments begin new episodes."""
        for name in ("populating", "steps", "elite_steps", "phase_steps", "quota"):
            setattr(self, name, state[name])
        self.quota = max(self.quota, self._least_quota)  # there may be more environments now
        self.returns = [list(returns) for returns in state["returns"]]
        self.elite_returns = list(state["elite_returns"])
        self.release()

    def _who_learns(self) -> NDArray[np.bool_]:
        """Whether the weights learn from each environment's samples."""
        if self.settings.learn_from == "all":
            return self._everyone
        if self.settings.learn_from == "elite":
            same: NDArray[np.bool_] = (self.genes == self.chromosomes[self.elite]).all(1)
            return same
        return np.full(self.environments, not self.populating)
