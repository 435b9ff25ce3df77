"""The model without the policy's training: fitted to what somebody who was trained elsewhere, or acts at random, has done."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import UsageError
from ..core.rl_environments import make_environments
from .actions import ActionMap
from .config import AuxiliarySettings
from .networks import FlatDecoder, FlatEncoder, halves_at_zero
from .transitions import Transitions, collect_transitions
from .vae import ActionConditionalVAE, Losses, is_pixels


def fit_posthoc(
    agent: Any,
    transitions: Transitions | str,
    *,
    latent: int | None = None,
    auxiliary: AuxiliarySettings | None = None,
    hidden: tuple[int, ...] = (64, 64),
    steps: int = 20_000,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> ActionConditionalVAE:
    """A model of the states that an agent sees and of what its actions do there; the agent stays as it is.

    It can be read (`sensitivity`, `traverse`, `sample_next`), but not turn the agent, whose policy does not read the latents; see
    `Governor` for agents that do.

    Args:
        agent: of stable-baselines3, or anything with its `action_space` and `predict`; or an action space, for transitions alone.
        transitions: what it did; or the name of an environment, in which it acts now for `steps` steps.
        latent: n; None is 2m for m numbers of an action.
        auxiliary: the model; see `AuxiliarySettings`.
        hidden: widths of the layers of encoder and decoder.
        steps: to collect, where an environment is named.
        epochs: passes over the transitions.
        batch_size: at least 1.
        learning_rate: of Adam.
        seed: of the weights, the noise and the order.

    Raises:
        UsageError: there is nothing to learn from, or actions or observations are of another kind.
    """
    space = agent if isinstance(agent, spaces.Space) else getattr(agent, "action_space", None)
    if space is None:
        raise UsageError(f"the agent is {agent!r}, but must have an action_space, or be one")
    actions = ActionMap(space)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # also of the actions that an agent draws
        if isinstance(transitions, str):
            transitions = _acted(agent, transitions, steps, seed)
        if transitions.mask is not None and not transitions.mask.any():
            raise UsageError("of no transition it is known what followed, and there is nothing to learn from")
        vae = flat_model(
            transitions.observations.shape[1:],
            actions,
            latent=2 * actions.width if latent is None else latent,
            hidden=hidden,
            auxiliary=auxiliary,
            pixels=is_pixels(transitions.observations[:1]),
        )
        fit = Fit(vae, learning_rate=learning_rate, batch_size=batch_size)
        for epoch in range(epochs):
            vae.progress.fill_((epoch + 1) / epochs)
            fit.epoch(transitions)
    return vae.eval()


def flat_model(
    shape: tuple[int, ...],
    actions: ActionMap,
    *,
    latent: int,
    hidden: tuple[int, ...],
    auxiliary: AuxiliarySettings | None,
    pixels: bool,
) -> ActionConditionalVAE:
    """A model of layers, as the paper has it in its own world, whose next state has the shape of the state."""
    settings = auxiliary or AuxiliarySettings()
    encoder = FlatEncoder(shape, hidden, latent)
    halves_at_zero(encoder.last)
    return ActionConditionalVAE(
        encoder,
        FlatDecoder(latent, hidden[::-1], shape),
        latent=latent,
        actions=actions,
        target=shape,
        likelihood=settings.likelihood_of(pixels=pixels),
        settings=settings,
    )


class Fit:
    """A model in training by itself; the encoder learns from the same loss as the decoder, alpha being 1."""

    def __init__(self, vae: ActionConditionalVAE, *, learning_rate: float, batch_size: int) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}, but must be at least 1")
        self.vae, self.batch_size = vae, batch_size
        self.optimizer = torch.optim.Adam(vae.parameters(), learning_rate)

    def epoch(self, transitions: Transitions) -> tuple[float, float]:
        """One pass in random order, of torch's own generator; mean reconstruction and KL of its batches, nats a row."""
        self.vae.train()
        if self.vae.likelihood == "gaussian" and float(self.vae.seen) == 0:
            known = slice(None) if transitions.mask is None else transitions.mask
            self.vae.observe_targets(_states(transitions.next_observations[known]))
        noted = []
        for chosen in torch.randperm(len(transitions)).split(self.batch_size):
            losses = self.vae(*_lesson(self.vae, transitions, chosen.numpy()))
            self.optimizer.zero_grad()
            losses.total.backward()
            self.optimizer.step()
            noted.append((losses.reconstruction.item(), losses.kl.item()))
        reconstruction, kl = np.mean(noted, axis=0)
        return float(reconstruction), float(kl)


def prediction_losses(vae: ActionConditionalVAE, transitions: Transitions, batch_size: int = 500) -> Losses:
    """Mean losses of held-out transitions, as in training: with the noise of torch's generator."""
    sums, count = torch.zeros(3), 0
    with torch.no_grad():
        for start in range(0, len(transitions), batch_size):
            rows = np.arange(start, min(start + batch_size, len(transitions)))
            states, actions, targets, mask = _lesson(vae, transitions, rows)
            known = torch.ones(len(rows), dtype=torch.bool) if mask is None else mask
            losses = vae(states, actions, targets, known)
            sums += int(known.sum()) * torch.stack(losses)
            count += int(known.sum())
    return Losses(*(sums / max(1, count)))


def _lesson(
    vae: ActionConditionalVAE, transitions: Transitions, rows: NDArray[np.integer[Any]]
) -> tuple[Tensor, NDArray[Any], Tensor, Tensor | None]:
    """Of some rows own states, actions, states to give, and which count. A model that ignores actions rebuilds the later state."""
    targets = _states(transitions.next_observations[rows])
    states = _states(transitions.observations[rows]) if vae.settings.conditional else targets
    mask = None if transitions.mask is None else torch.from_numpy(transitions.mask[rows])
    return states, transitions.actions[rows], targets, mask


def _states(observations: NDArray[Any]) -> Tensor:
    given = torch.from_numpy(np.require(observations, requirements=["C", "W"]))
    return given.float() / 255 if is_pixels(observations) else given.float()


def _acted(agent: Any, name: str, steps: int, seed: int) -> Transitions:
    if not hasattr(agent, "predict"):
        raise UsageError(f"the agent is {agent!r}, which cannot act in {name}; give its transitions")
    environments = make_environments(name, 1, seed=seed, training=False)
    try:
        return collect_transitions(environments, steps, lambda seen: agent.predict(seen)[0])
    finally:
        environments.close()
