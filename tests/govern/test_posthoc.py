"""Transitions, collected or given; models fitted to them: a point that actions push, of which everything is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from tenfold.core.errors import UsageError
from tenfold.govern import (
    ActionConditionalVAE,
    AuxiliarySettings,
    Transitions,
    collect_transitions,
    fit_posthoc,
    heart,
    posthoc,
)
from tenfold.govern.posthoc import prediction_losses
from tenfold.govern.transitions import channels_first, random_actions

from ..core.rl_worlds import PICTURE, SEVERAL, worlds

PUSH = spaces.Box(-1, 1, (2,))
LIGHT = AuxiliarySettings(beta=0.02)


class Counter(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Its observation is (number of the episode, step); an episode has `length` steps, ended or cut."""

    def __init__(self, length: int, *, cut: bool = False, told: bool = False) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,))
        self.action_space = PUSH
        self.length, self.cut, self.told = length, cut, told
        self.episode, self.at = -1, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.at = self.episode + 1, 0
        return self._seen(), {"factors": np.array([-1.0, -1.0])}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.at += 1
        over = self.at == self.length
        info = {"factors": self._seen().astype(np.float64)} if self.told else {}
        return self._seen(), 0.0, over and not self.cut, over and self.cut, info

    def _seen(self) -> NDArray[np.float32]:
        return np.array([self.episode, self.at], dtype=np.float32)


class Silent(VecEnvWrapper):
    """Does not tell what an episode ended with."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            info.pop("terminal_observation", None)
        return observations, rewards, dones, infos


class Agent:
    """Acts at random from its own generator."""

    def __init__(self, space: spaces.Space[Any], seed: int = 0) -> None:
        self.action_space = space
        self.asked = 0
        self.random = np.random.default_rng(seed)

    def predict(self, observations: NDArray[Any]) -> tuple[NDArray[Any], None]:
        self.asked += len(observations)
        if isinstance(self.action_space, spaces.MultiDiscrete):
            return self.random.integers(self.action_space.nvec, size=(len(observations), 4)), None
        return self.random.integers(2, size=len(observations)), None


def counters(lengths: Sequence[int], **given: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda length=length: Counter(length, **given) for length in lengths])


def still(observations: NDArray[Any]) -> NDArray[Any]:
    """An action that tells whom it was for."""
    return np.asarray(observations / 100, dtype=np.float32)


def pushed(count: int = 1500, seed: int = 0) -> Transitions:
    """A point in the plane, which goes half as far as it is pushed; the second number in other units."""
    random = np.random.default_rng(seed)
    places, pushes = random.uniform(-1, 1, (count, 2)), random.uniform(-1, 1, (count, 2))
    units = np.array([1.0, 20.0])
    seen, following = places * units, (places + 0.5 * pushes) * units
    return Transitions(seen.astype(np.float32), pushes.astype(np.float32), following.astype(np.float32))


@pytest.fixture(scope="module")
def learnt() -> ActionConditionalVAE:
    return fit_posthoc(PUSH, pushed(), auxiliary=LIGHT, hidden=(32,), epochs=20, batch_size=100, learning_rate=5e-3)


def weights(vae: ActionConditionalVAE) -> list[torch.Tensor]:
    return list(vae.state_dict().values())


# transitions


def test_transitions_have_a_length() -> None:
    assert len(pushed(7)) == 7


@pytest.mark.parametrize(
    ("name", "shape"), [("actions", (4, 2)), ("next_observations", (6, 2)), ("mask", (4,)), ("factors", (1, 3))]
)
def test_columns_of_another_length_are_refused(name: str, shape: tuple[int, ...]) -> None:
    columns: dict[str, Any] = {each: np.zeros((5, 2)) for each in ("observations", "actions", "next_observations")}
    columns[name] = np.zeros(shape, dtype=bool if name == "mask" else float)
    with pytest.raises(UsageError, match=f"there are 5 observations and {shape[0]} {name}, but must be as many"):
        Transitions(**columns)


def test_states_of_another_shape_and_none_at_all_are_refused() -> None:
    with pytest.raises(UsageError, match=r"observations have shape \(5, 2\) and next_observations \(5, 3\)"):
        Transitions(np.zeros((5, 2)), np.zeros(5), np.zeros((5, 3)))
    with pytest.raises(UsageError, match="there are no transitions, but must be at least one"):
        Transitions(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 2)))


# collecting


@pytest.mark.parametrize("cut", [False, True])
def test_an_episode_ends_with_its_own_last_state(cut: bool) -> None:
    found = collect_transitions(counters([3], cut=cut), 7, still)
    assert found.observations.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0]]
    assert found.next_observations.tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3], [2, 1]]
    assert found.actions == pytest.approx(found.observations / 100)
    assert found.mask is not None
    assert found.mask.all()
    assert found.factors is None


def test_an_end_that_is_not_told_is_masked() -> None:
    found = collect_transitions(Silent(counters([3])), 7, still)
    assert found.mask is not None
    assert found.mask.tolist() == [True, True, False, True, True, False, True]
    assert found.next_observations[found.mask].tolist() == [[0, 1], [0, 2], [1, 1], [1, 2], [2, 1]]


def test_environments_side_by_side_keep_their_own() -> None:
    found = collect_transitions(Silent(counters([2, 3])), 7, still)
    assert len(found) == 8  # rounded up
    assert found.mask is not None
    assert found.observations[0::2].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert found.mask[0::2].tolist() == [True, False, True, False]
    assert found.observations[1::2].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0]]
    assert found.mask[1::2].tolist() == [True, True, False, True]


def test_factors_are_of_the_next_state_at_the_ends_too() -> None:
    found = collect_transitions(counters([2, 3], told=True), 12, still)
    assert found.factors is not None
    assert np.array_equal(found.factors, found.next_observations)


def test_pictures_stay_bytes() -> None:
    environments = worlds(2, PICTURE, PUSH)
    found = collect_transitions(environments, 4, random_actions(PUSH, 2, seed=0))
    assert (found.observations.dtype, found.observations.shape) == (np.uint8, (4, 36, 36, 1))
    assert (found.next_observations.dtype, found.next_observations.max() > 1) == (np.uint8, True)
    first = channels_first(environments)
    assert first.observation_space.shape == (1, 36, 36)
    assert channels_first(first) is first
    assert channels_first(plain := counters([2])) is plain


def test_random_actions_repeat_by_seed() -> None:
    one, same, other = (random_actions(spaces.Box(-1, 1, (2,)), 3, seed)(np.zeros(3)) for seed in (1, 1, 2))
    assert one.shape == (3, 2)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_observations_of_another_kind_and_no_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="but must be a Box: vectors or pictures"):
        collect_transitions(worlds(1, SEVERAL), 4, still)
    with pytest.raises(UsageError, match="steps is 0, but must be at least 1"):
        collect_transitions(counters([2]), 0, still)


# fitting


def test_a_model_foresees_where_a_push_leads(learnt: ActionConditionalVAE) -> None:
    held_out = pushed(300, seed=1)
    wanted = held_out.next_observations
    left = np.square(learnt.predict(held_out.observations, held_out.actions).numpy() - wanted).mean(0)
    still_left = np.square(learnt.predict(held_out.observations).numpy() - wanted).mean(0)
    assert (left < 0.1 * wanted.var(0)).all()
    assert (left < 0.5 * still_left).all()  # and what it foresees depends on the push
    assert not learnt.training
    assert (learnt.latent, learnt.mapped) == (4, 2)


def test_a_mapped_latent_moves_its_own_number_and_only_upwards(learnt: ActionConditionalVAE) -> None:
    seen = pushed(50, seed=2).observations
    for dim in range(2):
        moved = learnt.traverse(seen * 0.5, dim, torch.linspace(-2, 2, 9)).mean(1) / learnt.spread
        assert (moved[:, dim].diff() > 0).all()
        assert moved[:, dim].std() > 3 * moved[:, 1 - dim].std()
    assert learnt.mapped_share(seen) > 0.8


def test_an_action_shifts_what_is_drawn(learnt: ActionConditionalVAE) -> None:
    one, other = (learnt.sample_next(np.array([side, 0.0]), 200, seed=0) for side in (-1.0, 1.0))
    assert (other[:, 0] > one[:, 0]).float().mean() > 0.95


@pytest.mark.parametrize("kind", ["ac-beta-vae", "beta-vae"])
def test_the_same_seed_finds_the_same_weights_and_leaves_torch_as_it_was(kind: Any) -> None:
    given = {"auxiliary": AuxiliarySettings(kind=kind), "hidden": (8,), "epochs": 2, "latent": 5}
    before = torch.get_rng_state()
    one, same, other = (fit_posthoc(PUSH, pushed(200), seed=seed, **given) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(same), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    torch.manual_seed(5)
    assert all(
        torch.equal(a, b) for a, b in zip(weights(one), weights(fit_posthoc(PUSH, pushed(200), **given)), strict=True)
    )


def test_a_beta_vae_rebuilds_states_without_the_actions() -> None:
    auxiliary = AuxiliarySettings(kind="beta-vae", beta=0.02)
    given: dict[str, Any] = {"hidden": (32,), "epochs": 8, "batch_size": 100, "learning_rate": 5e-3}
    seen = pushed()
    vae = fit_posthoc(PUSH, seen, auxiliary=auxiliary, **given)
    again = fit_posthoc(
        PUSH, Transitions(seen.observations, -seen.actions, seen.next_observations), auxiliary=auxiliary, **given
    )
    assert all(torch.equal(a, b) for a, b in zip(weights(vae), weights(again), strict=True))
    held_out = pushed(200, seed=1).next_observations
    assert (np.square(vae.predict(held_out).numpy() - held_out).mean(0) < 0.1 * held_out.var(0)).all()


def test_units_are_those_of_the_next_states_that_count() -> None:
    seen = pushed(100)
    mask = np.arange(100) % 3 > 0
    following = np.where(mask[:, None], seen.next_observations, np.nan)
    vae = fit_posthoc(PUSH, Transitions(seen.observations, seen.actions, following, mask), hidden=(8,), epochs=2)
    assert vae.center.numpy() == pytest.approx(seen.next_observations[mask].mean(0), rel=1e-4, abs=1e-5)
    assert vae.spread.numpy() == pytest.approx(seen.next_observations[mask].std(0), rel=1e-4)
    assert all(each.isfinite().all() for each in weights(vae))


def test_what_is_not_known_does_not_spoil_a_model_that_rebuilds() -> None:
    seen = pushed(100)
    mask = np.arange(100) % 3 > 0
    following = np.where(mask[:, None], seen.next_observations, np.nan)
    unknown = Transitions(seen.observations, seen.actions, following, mask)
    vae = fit_posthoc(PUSH, unknown, auxiliary=AuxiliarySettings(kind="beta-vae"), hidden=(8,), epochs=1)
    assert all(each.isfinite().all() for each in weights(vae))


def test_pictures_in_bytes_are_pixels() -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (40, 5, 5, 3), dtype=np.uint8)
    moves = random.integers(3, size=40)
    vae = fit_posthoc(spaces.Discrete(3), Transitions(pictures, moves, pictures[::-1]), hidden=(8,), epochs=2)
    assert vae.likelihood == "bernoulli"
    assert (vae.latent, vae.mapped) == (6, 3)
    found = vae.predict(pictures[:4], moves[:4])
    assert found.shape == (4, 5, 5, 3)
    assert found.min() > 0
    assert found.max() < 1


def test_pictures_become_floats_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, sizes, original = np.zeros((40, 2, 2, 3), np.uint8), [], posthoc._states

    def noted(observations: NDArray[Any]) -> torch.Tensor:
        sizes.append(len(observations))
        return original(observations)

    monkeypatch.setattr(posthoc, "_states", noted)
    seen = Transitions(pictures, np.zeros(40, dtype=np.int64), pictures)
    fit_posthoc(spaces.Discrete(3), seen, hidden=(4,), epochs=2, batch_size=8)
    assert max(sizes) == 8


def test_the_progress_of_a_training_ends_at_one() -> None:
    auxiliary = AuxiliarySettings(capacity=2.0)
    assert fit_posthoc(PUSH, pushed(20), auxiliary=auxiliary, hidden=(4,), epochs=3).progress == 1


def test_a_step_longer_than_the_transitions_takes_all() -> None:
    vae = fit_posthoc(PUSH, pushed(1), hidden=(4,), epochs=1, batch_size=1000)
    assert all(each.isfinite().all() for each in weights(vae))


def test_an_agent_acts_in_an_environment_that_is_named() -> None:
    agent = Agent(spaces.Discrete(2))
    vae = fit_posthoc(agent, "CartPole-v1", hidden=(8,), steps=60, epochs=1)
    assert agent.asked == 60
    assert vae.target == (4,)
    again = fit_posthoc(Agent(spaces.Discrete(2)), "CartPole-v1", hidden=(8,), steps=60, epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(weights(vae), weights(again), strict=True))
    pictures = fit_posthoc(Agent(spaces.MultiDiscrete([3] * 4)), heart.SMALL, hidden=(4,), steps=8, epochs=1)
    assert (pictures.target, pictures.latent, pictures.likelihood) == ((32, 32, 3), 8, "bernoulli")


def test_agents_and_settings_of_another_kind_are_refused() -> None:
    with pytest.raises(UsageError, match="must have an action_space, or be one"):
        fit_posthoc(object(), pushed(5))
    with pytest.raises(UsageError, match="cannot act in CartPole-v1; give its transitions"):
        fit_posthoc(spaces.Discrete(2), "CartPole-v1")
    with pytest.raises(UsageError, match="batch_size is 0, but must be at least 1"):
        fit_posthoc(PUSH, pushed(5), batch_size=0)
    with pytest.raises(UsageError, match="latent is 2, but must be above 2"):
        fit_posthoc(PUSH, pushed(5), latent=2)
    with pytest.raises(UsageError, match="'Nowhere-v0' cannot be made"):
        fit_posthoc(Agent(spaces.Discrete(2)), "Nowhere-v0")


# held-out losses


def test_held_out_losses_are_means_over_rows_whatever_the_batch(learnt: ActionConditionalVAE) -> None:
    held_out = pushed(70, seed=3)
    vae = fit_posthoc(PUSH, pushed(50), auxiliary=AuxiliarySettings(kind="ac-ae"), hidden=(8,), epochs=1)
    whole, parts = prediction_losses(vae, held_out), prediction_losses(vae, held_out, 30)
    assert whole.total.item() == pytest.approx(parts.total.item(), rel=1e-5)
    left = (
        vae.predict(held_out.observations, held_out.actions) - torch.from_numpy(held_out.next_observations)
    ) / vae.spread
    assert whole.reconstruction.item() == pytest.approx(0.5 * left.square().sum(1).mean().item(), rel=1e-4)
    assert prediction_losses(learnt, held_out).reconstruction < whole.reconstruction


def test_held_out_losses_leave_masked_rows_out() -> None:
    vae = fit_posthoc(PUSH, pushed(50), auxiliary=AuxiliarySettings(kind="ac-ae"), hidden=(8,), epochs=1)
    seen, mask = pushed(20), np.arange(20) > 4
    following = np.where(mask[:, None], seen.next_observations, np.nan)
    found = prediction_losses(vae, Transitions(seen.observations, seen.actions, following, mask))
    kept = Transitions(seen.observations[mask], seen.actions[mask], following[mask])
    assert math.isclose(found.total.item(), prediction_losses(vae, kept).total.item(), rel_tol=1e-5)
