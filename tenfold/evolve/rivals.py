"""A plain genetic algorithm on weights, without gradients, as a rival (Such et al. 2017, arXiv:1712.06567).

Each generation plays one episode per member; the best are kept as parents, the children are copies of parents with Gaussian noise
on every weight, and the best member stays as it is. The network is the actor of the same policy.

Shapes: M members, W weights of the actor, E environments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from torch import Tensor, nn
from torch.func import functional_call, vmap

from .config import Config

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv


class WeightEvolution:
    """M actors that evolve; all environments are played at once, each by its own member, in one batched forward pass.

    Actions are the members' most likely ones.

    Args:
        config: of the run.
        environments: E of them, at their beginning.
        seed: of what is drawn, and of the episodes.
        first: seed of the network that the first members are copies of.
        members: every member's weights by name, (M, ...), or None for new ones.
        steps: environment steps made so far.
    """

    def __init__(
        self, config: Config, environments: VecEnv, seed: int, first: int, members: dict[str, Tensor] | None, steps: int
    ) -> None:
        self._settings = config.rivals
        self._environments = environments
        self._random = torch.Generator().manual_seed(seed)
        self._model = PPO(
            "MlpPolicy", environments, seed=first, device="cpu", policy_kwargs={"net_arch": list(config.learner.hidden)}
        )
        environments.seed(seed)  # which the line above has set, too
        self._names = [name for name, _ in self._model.policy.named_parameters() if _is_actor(name)]
        self.members = members or self._first_members()
        self.steps = steps

    @classmethod
    def resumed(
        cls, config: Config, environments: VecEnv, seed: int, state: dict[str, Any] | None, *, first: int = 0
    ) -> WeightEvolution:
        """Of a training's state, or new."""
        if state is None:
            return cls(config, environments, seed, first, None, 0)
        return cls(config, environments, seed, first, dict(state["members"]), state["steps"])

    def run(self, target: int) -> dict[str, Any]:
        """Whole generations until `target` environment steps are made; the state of a training."""
        best = 0
        while self.steps < target:
            fitness = self._fitness()
            best = int(fitness.argmax())
            self._breed(fitness)
            best = 0  # the best member is the first of the new generation
        policy = {name: value.clone() for name, value in self._model.policy.state_dict().items()}
        policy |= {name: self.members[name][best].clone() for name in self._names}
        return {
            "steps": self.steps,
            "policy": policy,
            "members": self.members,
            "normalizer": None,
            "roster": None,
            "history": [],
        }

    def _first_members(self) -> dict[str, Tensor]:
        """Copies of one network, each with noise, and it itself."""
        own = dict(self._model.policy.named_parameters())
        members = {
            name: own[name].detach().expand(self._settings.members, *own[name].shape).clone() for name in self._names
        }
        for value in members.values():
            value[1:] += self._noise(value[1:])
        return members

    @torch.no_grad()
    def _fitness(self) -> Tensor:
        """The return of one whole episode of each member, (M,)."""
        count, size = self._environments.num_envs, self._settings.members
        fitness = torch.full((size,), torch.nan, dtype=torch.float64)
        playing = list(range(min(count, size))) + [None] * max(0, count - size)
        waiting = list(range(len(playing), size))
        observations = self._environments.reset()
        while any(member is not None for member in playing):
            chosen = torch.tensor([0 if member is None else member for member in playing])
            actions = self._actions(observations, chosen)
            observations, _, _, infos = self._environments.step(actions)
            self.steps += sum(member is not None for member in playing)
            for place, info in enumerate(infos):
                if "episode" in info and playing[place] is not None:
                    fitness[playing[place]] = info["episode"]["r"]
                    playing[place] = waiting.pop(0) if waiting else None
        return fitness

    def _actions(self, observations: Any, members: Tensor) -> Any:
        """Every environment's action by the weights of its member."""
        policy = self._model.policy
        tensor = policy.obs_to_tensor(observations)[0]
        features: Tensor = policy.extract_features(tensor)  # type: ignore[assignment]
        weights = {name: value[members] for name, value in self.members.items()}
        outputs = vmap(lambda own, row: functional_call(_Actor(policy), _renamed(own), row), randomness="error")(
            weights, features
        )
        space = self._environments.action_space
        if isinstance(space, spaces.Box):  # the outputs are the mean
            return np.clip(outputs.numpy(), space.low, space.high)
        return policy.action_dist.proba_distribution(outputs).mode().numpy()

    def _breed(self, fitness: Tensor) -> None:
        """The next generation: the best member first, and children of the best ones."""
        settings = self._settings
        ranked = torch.sort(fitness, descending=True, stable=True).indices
        parents = ranked[torch.randint(settings.parents, (settings.members - 1,), generator=self._random)]
        for name, value in self.members.items():
            children = value[parents]
            self.members[name] = torch.cat([value[ranked[:1]], children + self._noise(children)])

    def _noise(self, like: Tensor) -> Tensor:
        return self._settings.noise * torch.randn(like.shape, generator=self._random)


class _Actor(nn.Module):
    """The actor alone: features (F,) -> what the distribution of actions is made of."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.hidden, self.action_net = policy.mlp_extractor.policy_net, policy.action_net

    def forward(self, features: Tensor) -> Tensor:
        return self.action_net(self.hidden(features))


def _is_actor(name: str) -> bool:
    return name.startswith(("mlp_extractor.policy_net.", "action_net."))


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("mlp_extractor.policy_net.", "hidden."): value for name, value in weights.items()}
