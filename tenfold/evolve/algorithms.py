"""Genetic-gated A2C and PPO as stable-baselines3 algorithms: the same arguments, callbacks, vectorised environments, files.

Nothing of stable-baselines3 is replaced: its own loops collect and learn, and this class says who acts, remembers it with
every sample, and breeds a generation where the last episode that it waits for ends.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, is_vecenv_wrapped

from ..core.errors import UsageError
from .buffer import Remembering, gated_buffer
from .config import GeneticSettings
from .policy import (
    ALL_OPEN,
    Gated,
    GatedActorCriticCnnPolicy,
    GatedActorCriticPolicy,
    GatedMultiInputPolicy,
    gated_policy,
)
from .roster import Roster

if TYPE_CHECKING:
    from .gate import GeneticGate

_WITHOUT_MONITOR = (
    "the environment has no Monitor, from which the fitness of members is read: wrap every environment in"
    " stable_baselines3.common.monitor.Monitor, below wrappers that change rewards or end episodes early, or all in a VecMonitor"
)


class GeneticGated(OnPolicyAlgorithm):
    """What turns an on-policy algorithm into its genetic-gated form; mixed into it by `G2PPO` and `G2A2C`.

    Args:
        policy: name or class, as for the algorithm itself.
        env: environment, name of one, or vectorised environments; each with a `Monitor`, which fitness is read from.
        population: N, members, at least 1. With 1 there are no generations, and it is the plain algorithm.
        genetics: phases and operators; see `GeneticSettings`.
        args: those of the algorithm itself, with the same defaults; by name, too. `seed` decides about genes as well; without one
            they are drawn anew each time.

    Raises:
        UsageError: the policy has no hidden layer, or a setting is out of range; when learning begins: an environment has no
            Monitor.
    """

    policy: Gated
    rollout_buffer: Remembering

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *args: Any,
        population: int = 8,
        genetics: GeneticSettings | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        if population < 1:
            raise UsageError(f"population is {population}, but must be at least 1")
        self.genetics = genetics or GeneticSettings()
        self.history: list[dict[str, float]] = []
        self.roster: Roster | None = None  # where there are no generations, nobody needs to be told who acts
        self._acting: tuple[NDArray[np.uint8], torch.Tensor] | None = None
        super().__init__(policy, env, *args, **kwargs | {"_init_setup_model": False})
        self.policy_class = gated_policy(cast(type[ActorCriticPolicy], self.policy_class))
        gate_seed = secrets.randbits(62) if self.seed is None else self.seed
        self.policy_kwargs = {"gate_seed": gate_seed} | self.policy_kwargs
        self.policy_kwargs |= {"population": population, "genetics": self.genetics}
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        default = DictRolloutBuffer if isinstance(self.observation_space, spaces.Dict) else RolloutBuffer
        self.rollout_buffer_class = gated_buffer(self.rollout_buffer_class or default)
        super()._setup_model()
        self.rollout_buffer.follow(self.policy)

    @property
    def gate(self) -> GeneticGate:
        """The population: chromosomes, elite, fitness, generation."""
        return self.policy.gate

    @property
    def evolving(self) -> bool:
        """Whether there are generations: more than one member, and steps left for their phase."""
        return len(self.gate) > 1 and self.genetics.elite_share < 1

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        *,
        vote: Literal["elite", "population"] = "elite",
    ) -> tuple[NDArray[Any], Any]:
        """The elite's action and `state`, as any algorithm's; or the whole population's choice.

        With `vote="population"` the second value is the spread of the members' choices, of the action's shape: the standard
        deviation where an action is numbers, the share of members that would choose otherwise where it is a choice.
        """
        if vote == "elite":
            return super().predict(observation, state, episode_start, deterministic)
        if vote != "population":
            raise UsageError(f"vote is {vote!r}, but must be elite or population")
        return self.policy.vote(observation, deterministic=deterministic)

    def restart_episodes(self) -> None:
        """Reset all environments and assign members anew; an evaluation under way keeps what it has found."""
        assert self.env is not None
        self._last_obs = self.env.reset()  # type: ignore[assignment]
        self._last_episode_starts = np.ones(self.n_envs, dtype=bool)
        if self.roster is not None:
            self.roster.release()

    def resume(self, roster: dict[str, Any] | None, history: list[dict[str, float]]) -> None:
        """Go on with a generation whose genes were loaded into the policy: what its episodes were worth so far, and the past.

        Args:
            roster: `model.roster.state()`, or None.
            history: `model.history`.
        """
        self.history = [dict(line) for line in history]
        self.roster = None if roster is None else self._new_roster(roster)

    # what stable-baselines3's own loop calls

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        before = self._last_obs
        result = super()._setup_learn(*args, **kwargs)
        if self.evolving:
            _check_monitor(cast(VecEnv, self.env))
            if self.roster is None or self.roster.environments != self.n_envs:
                # of another number: a saved model that goes on with other environments
                self.roster = self._new_roster(None if self.roster is None else self.roster.state())
            elif self._stale(self.roster):
                self.roster.renew(self._chromosomes(), int(self.gate.elite))
                self.roster.release()
            elif self._last_obs is not before:
                self.roster.release()
        return result

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> bool:
        """One rollout, in which every environment has its own genes."""
        with self.policy.acting(self._acting_genes()):
            return super().collect_rollouts(env, *args, **kwargs)

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: NDArray[np.bool_] | None = None) -> None:
        """Called once a step, before the step is stored: with the genes that acted, and then with those that act next."""
        super()._update_info_buffer(infos, dones)
        roster = self.roster
        if roster is None:
            return
        self.rollout_buffer.note(roster.genes, roster.learned)
        roster.advance()
        if dones is not None and not dones.any():
            return
        # `episode` is there where a Monitor saw the end: a life lost above it ends nothing
        ended = [(place, info["episode"]["r"]) for place, info in enumerate(infos) if "episode" in info]
        if ended:
            roster.note(ended)
            if roster.phase_is_over():
                if roster.populating:
                    self._breed(roster)
                roster.enter(populating=not roster.populating or self.genetics.elite_share == 0)
            roster.assign([place for place, _ in ended])
            self.policy.act_as(self._acting_genes())

    def train(self) -> None:
        """Learn from the rollout, each sample by its own genes."""
        with self.policy.acting(self._acting_genes()):
            if self.rollout_buffer.has_lessons:
                super().train()

    def _breed(self, roster: Roster) -> None:
        """One generation, and a line of `history` about it."""
        fitness = roster.fitness
        elite, diversity = int(self.gate.elite), self.gate.diversity
        parent = self.gate.evolve(torch.from_numpy(fitness))
        line = {
            "steps": self.num_timesteps,
            "generation": int(self.gate.generation),
            "best fitness": fitness.max(),
            "mean fitness": fitness.mean(),
            "worst fitness": fitness.min(),
            "fitness spread": fitness.std(),
            "old elite fitness": fitness[elite],
            "elite changed": parent != elite,
            "diversity": diversity,
            "open genes of elite": float(self.gate.elite_genes.double().mean()),
            **_halves(roster.elite_returns),
        }
        self.history.append({name: float(value) for name, value in line.items()})
        for name, value in self.history[-1].items():
            if name != "steps" and np.isfinite(value):
                self.logger.record(f"evolve/{name.replace(' ', '_')}", value)
        roster.renew(self._chromosomes(), int(self.gate.elite))

    def _stale(self, roster: Roster) -> bool:
        """Whether other genes were loaded into the policy since."""
        return roster.elite != int(self.gate.elite) or not np.array_equal(roster.chromosomes, self._chromosomes())

    def _new_roster(self, state: dict[str, Any] | None) -> Roster:
        roster = Roster(self.n_envs, self.genetics, self._chromosomes(), int(self.gate.elite))
        if state is not None:
            roster.load_state(state)
        return roster

    def _chromosomes(self) -> NDArray[np.uint8]:
        return self.gate.chromosomes.cpu().numpy().copy()

    def _acting_genes(self) -> torch.Tensor:
        """What the policy is to gate the environments' rows by."""
        if self.roster is None:
            return self._as_rows(self.gate.elite_genes.cpu().numpy()[None])
        if self._acting is None or self._acting[0] is not self.roster.genes:
            self._acting = (self.roster.genes, self._as_rows(self.roster.genes))
        return self._acting[1]

    def _as_rows(self, genes: NDArray[np.uint8]) -> torch.Tensor:
        if genes.all():
            return ALL_OPEN
        same = len(genes) == 1 or (genes == genes[0]).all()
        return torch.from_numpy(genes[:1] if same else genes).to(self.device, torch.float32)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_acting"]


class G2PPO(GeneticGated, PPO):
    """PPO with a population of gate patterns on one set of weights; see `GeneticGated` for the arguments that PPO has not."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": GatedActorCriticPolicy,
        "CnnPolicy": GatedActorCriticCnnPolicy,
        "MultiInputPolicy": GatedMultiInputPolicy,
    }


class G2A2C(GeneticGated, A2C):
    """A2C with a population of gate patterns on one set of weights; see `GeneticGated` for the arguments that A2C has not."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = G2PPO.policy_aliases


def _check_monitor(env: VecEnv) -> None:
    if not (is_vecenv_wrapped(env, VecMonitor) or all(env.env_is_wrapped(Monitor))):
        raise UsageError(_WITHOUT_MONITOR)


def _halves(returns: list[float]) -> Mapping[str, float]:
    """Mean return of the elite in the first and in the last half of its phase: what the gradient added."""
    half = len(returns) // 2
    first, last = (returns[:half], returns[-half:]) if half else ([np.nan], [np.nan])
    return {"elite return at first": float(np.mean(first)), "elite return at last": float(np.mean(last))}
