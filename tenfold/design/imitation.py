"""PPO that also imitates the best of its own designs: every design that was tested has a score for every wish, whoever it was made for.

PPO learns from a design once, for the wish that it was made for. The archive knows which of all designs would have met another wish best, so that
the policy is also led to those: self-imitation (Oh et al. 2018, arXiv:1806.05635), with wishes exchanged afterwards; ours. It moves the means of
the steps alone. How widely they spread remains PPO's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import Tensor

from ..core.batches import derive_seed
from .archive import Archive
from .policy import DesignPolicy

WISHES = 16
"""that are drawn after each rollout"""
PASSES = 4
"""over the best designs for them"""


class ImitatingPPO(PPO):
    """stable-baselines3's PPO; after each of its own updates the policy is led to the best designs of an archive.

    Args:
        args: PPO's.
        archive: of the designs tested so far.
        goals: weights of goals that stay as they are, and wants.
        vary: whether other weights are drawn.
        imitation: weight of the squared distance from what is imitated, in standard deviations of the policy; 0 is plain PPO.
        elites: designs that are imitated for each wish, at least 1.
        cooled: factor that all spreads have fallen to, evenly by ratio, at the end of the training, above 0 and at most 1.
        share: of the whole training that the algorithm will be told of as if it were all.
        options: PPO's.
    """

    policy: DesignPolicy

    def __init__(
        self,
        *args: Any,
        archive: Archive,
        goals: Mapping[str, float],
        vary: bool,
        imitation: float,
        elites: int,
        cooled: float,
        share: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._archive, self._goals, self._vary = archive, dict(goals), vary
        self._imitation, self._elites = imitation, elites
        self._cooled, self._share = cooled, share

    def train(self) -> None:
        """PPO's own update, and then the imitation."""
        super().train()
        if self._imitation > 0:
            self._imitate()
        # after the update: PPO compares the designs with the policy that drew them, spreads and all
        done = min(1.0, (1 - self._current_progress_remaining) * self._share)
        self.policy.cooling.fill_(self._cooled**done)

    def _imitate(self) -> None:
        random = np.random.default_rng(derive_seed(self.seed or 0, "imitation", len(self._archive)))
        seen, actions = self._examples(random)
        losses = []
        for _ in range(PASSES):
            for rows in np.array_split(random.permutation(len(seen)), max(1, len(seen) // self.batch_size)):
                loss = self._imitation * distance(self.policy, seen[rows], actions[rows])
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.policy.optimizer.step()
                losses.append(loss.item())
        self.logger.record("train/imitation_loss", np.mean(losses))

    def _examples(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(observations, actions) of every step of the best designs for the wishes that are drawn."""
        task = self._archive.task
        wishes = (
            [task.draw_wish(random, self._goals) for _ in range(WISHES)] if self._vary else [task.wish(self._goals)]
        )
        seen, actions = [], []
        for wish in wishes:
            wanted = task.describe(wish)
            for number in self._archive.best(wish.weights, self._elites):
                steps = self._archive.steps[number]
                seen += [np.concatenate([task.space.observe(steps[:count]), wanted]) for count in range(len(steps))]
                actions.append(steps)
        made = np.concatenate(actions).astype(np.float32)
        return torch.as_tensor(np.stack(seen), device=self.device), torch.as_tensor(made, device=self.device)


def distance(policy: DesignPolicy, seen: Tensor, actions: Tensor) -> Tensor:
    """Half the mean squared distance of actions (N, width) from the policy's means, in its standard deviations, which get no gradient."""
    drawn: Any = policy.get_distribution(seen).distribution
    return 0.5 * ((actions - drawn.mean) / drawn.stddev.detach()).square().mean()
