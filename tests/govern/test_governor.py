"""An agent whose latents are held: what the head then reads, what is left as it was, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("stable_baselines3")

from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from tenfold.core.errors import UsageError
from tenfold.govern import AuxiliarySettings, GovernedA2C, GovernedPPO, Governor, latents_of

from ..core.rl_worlds import LEVER, PICTURE, monitored, worlds

ARM = spaces.Box(-1, 1, (2,))
WIDE = spaces.Box(-100, 100, (2,))
OBS = np.random.default_rng(0).uniform(-1, 1, (9, 3)).astype(np.float32)


def trained(action: spaces.Space[Any] = WIDE, kind: Any = GovernedA2C, **given: Any) -> Any:
    """Weights anywhere, so that every latent matters."""
    model = kind("MlpPolicy", worlds(2, action=action), **{"latent": 5, "seed": 0, "device": "cpu"} | given)
    with torch.no_grad():
        for each in model.policy.parameters():
            each.add_(0.3 * torch.randn_like(each))
    return model


def by_hand(model: Any, mu: Tensor, sigma: Tensor) -> np.ndarray:
    policy = model.policy
    with torch.no_grad():
        last = policy.action_net(policy.mlp_extractor.policy_net(torch.cat((mu, sigma), 1)))
    return (last.argmax(1) if isinstance(model.action_space, spaces.Discrete) else last).numpy()


def encoded(model: Any, obs: np.ndarray = OBS) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        raw = model.policy.latents.encoder(torch.as_tensor(obs))
    return raw[:, :5].clone(), (raw[:, 5:] / 2).exp()


@pytest.mark.parametrize("others", ["zero", "keep"])
@pytest.mark.parametrize("held", [{}, {0: 2.0}, {1: -5.0}, {0: 0.5, 1: 4.0}, {4: 3.0}, {1: 1.0, 2: -1.0}])
@pytest.mark.parametrize("action", [WIDE, LEVER])
def test_a_held_latent_is_what_the_head_reads(action: spaces.Space[Any], held: dict[int, float], others: Any) -> None:
    """The other mapped ones are zero, or kept; the unmapped ones stay, and so does sigma."""
    model = trained(action)
    mu, sigma = encoded(model)
    expected = mu.clone()
    if others == "zero":
        expected[:, : 2 if action is WIDE else 3] = 0
    for dim, value in held.items():
        expected[:, dim] = value
    governor = Governor(model, set=held, others=others)
    actions, state = governor.predict(OBS, deterministic=True)
    np.testing.assert_allclose(actions, by_hand(model, expected, sigma), rtol=1e-4, atol=1e-5)
    assert state is None
    for found, wanted in zip(governor.edit(mu, sigma), (expected, sigma), strict=True):
        assert torch.equal(found, wanted)
    if action is WIDE and (held or others == "zero"):
        assert not np.allclose(actions, model.predict(OBS, deterministic=True)[0])


def test_zero_is_the_default_for_the_others() -> None:
    model = trained()
    default, zero, keep = (
        Governor(model, set={0: 1.0}, **more).predict(OBS, deterministic=True)[0]
        for more in ({}, {"others": "zero"}, {"others": "keep"})  # type: ignore[arg-type]
    )
    assert (default == zero).all()
    assert not np.allclose(zero, keep)


def test_nothing_held_and_all_kept_is_the_agent_itself() -> None:
    model = trained()
    governor = Governor(model, set={}, others="keep")
    assert (governor.predict(OBS, deterministic=True)[0] == model.predict(OBS, deterministic=True)[0]).all()
    torch.manual_seed(3)
    drawn = governor.predict(OBS)[0]
    torch.manual_seed(3)
    assert (drawn == model.predict(OBS)[0]).all()
    assert not (drawn == governor.predict(OBS, deterministic=True)[0]).all()


def test_the_given_mapping_and_mu_are_not_written_into() -> None:
    model, held = trained(), {0: 1.0}
    governor = Governor(model, set=held)
    held[0] = 3.0
    assert governor.held == {0: 1.0}
    mu, sigma = encoded(model)
    before = mu.clone()
    governor.edit(mu, sigma)
    assert torch.equal(mu, before)


def test_a_policy_can_be_governed_by_itself() -> None:
    model = trained()
    one, other = (Governor(each, set={1: 2.0}).predict(OBS, deterministic=True)[0] for each in (model, model.policy))
    assert (one == other).all()


def test_a_detached_policy_can_be_governed() -> None:
    model = trained(auxiliary=AuxiliarySettings(detach_policy=True))
    mu, sigma = encoded(model)
    mu[:, 0], mu[:, 1] = 2.0, 0.0
    actions, _ = Governor(model, set={0: 2.0}).predict(OBS, deterministic=True)
    np.testing.assert_allclose(actions, by_hand(model, mu, sigma), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_where_the_head_says_so_the_action_follows_the_held_latent(sign: float) -> None:
    model = trained(ARM, policy_kwargs={"net_arch": {"pi": [], "vf": [4]}})
    with torch.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.zero_()
        model.policy.action_net.weight[0, 1] = 0.1 * sign
    values = [-5.0, -2.0, 0.0, 1.0, 3.0, 5.0]
    found = np.array([Governor(model, set={1: value}).predict(OBS[0], deterministic=True)[0] for value in values])
    np.testing.assert_allclose(found[:, 0], 0.1 * sign * np.array(values), rtol=1e-5)
    assert (found[:, 1] == 0).all()


# the model stays as it was


def test_the_agent_is_free_afterwards() -> None:
    model = trained()
    before, _ = model.predict(OBS, deterministic=True)
    governor = Governor(model, set={0: 5.0})
    assert (model.predict(OBS, deterministic=True)[0] == before).all()
    governor.predict(OBS)
    assert (model.predict(OBS, deterministic=True)[0] == before).all()
    with pytest.raises(ValueError, match="shape"):
        governor.predict(np.zeros((2, 7), np.float32))
    assert (model.predict(OBS, deterministic=True)[0] == before).all()
    weights = [each.clone() for each in model.policy.parameters()]
    governor.predict(OBS)
    assert all(torch.equal(old, new) for old, new in zip(weights, model.policy.parameters(), strict=True))


def test_a_governed_agent_learns_on_as_a_free_one() -> None:
    one, other = trained(), trained()
    governor = Governor(one, set={0: 5.0})
    governor.predict(OBS, deterministic=True)
    for model in (one, other):
        model.set_random_seed(1)
        model.learn(40)
    assert all(torch.equal(a, b) for a, b in zip(one.policy.parameters(), other.policy.parameters(), strict=True))


def test_two_governors_of_one_agent_do_not_meet() -> None:
    model = trained()
    low, high = Governor(model, set={0: -5.0}), Governor(model, set={0: 5.0})
    first, _ = low.predict(OBS, deterministic=True)
    second, _ = high.predict(OBS, deterministic=True)
    assert (low.predict(OBS, deterministic=True)[0] == first).all()
    assert not np.allclose(first, second)


# as any agent


def test_it_is_evaluated_like_any_agent() -> None:
    model = GovernedPPO("MlpPolicy", monitored("CartPole-v1", 2), n_steps=32, batch_size=32, seed=0, device="cpu")
    mean, spread = evaluate_policy(Governor(model, set={0: 2.0}), monitored("CartPole-v1", 2), n_eval_episodes=3)  # type: ignore[arg-type]
    assert mean >= 8
    assert spread >= 0


def test_one_observation_has_one_action() -> None:
    governor = Governor(trained(ARM), set={0: 2.0})
    action, _ = governor.predict(OBS[0], deterministic=True)
    assert action.shape == (2,)
    np.testing.assert_allclose(action, governor.predict(OBS, None, np.zeros(9, bool), True)[0][0], rtol=1e-5)
    assert ARM.contains(Governor(trained(ARM), set={0: 5.0}).predict(100 * OBS[0])[0])


def test_pictures_are_governed_too() -> None:
    model = GovernedPPO("CnnPolicy", worlds(1, PICTURE), n_steps=8, batch_size=8, device="cpu")
    picture = PICTURE.sample()
    with torch.no_grad():
        model.policy.action_net.weight.normal_()
    chosen = {
        int(Governor(model, set={dim: value}).predict(picture, deterministic=True)[0])
        for dim in range(3)
        for value in (-5.0, 5.0)
    }
    assert len(chosen) > 1


def test_it_says_what_it_holds() -> None:
    assert repr(Governor(trained(), set={1: 2.0}, others="keep")) == "Governor(set={1: 2.0}, others='keep')"


# reading


def test_latents_are_those_that_the_policy_reads() -> None:
    model = trained()
    for given in (model, model.policy):
        for found, expected in zip(latents_of(given, OBS), encoded(model), strict=True):
            torch.testing.assert_close(found, expected)
            assert not found.requires_grad
    mu, sigma = latents_of(model, OBS[3])
    assert mu.shape == sigma.shape == (1, 5)
    torch.testing.assert_close(mu[0], encoded(model)[0][3])
    for found, expected in zip(model.vae.encode(OBS), encoded(model), strict=True):
        torch.testing.assert_close(found, expected)


def test_latents_of_pictures_are_read_as_the_environment_gives_them() -> None:
    model = GovernedPPO("CnnPolicy", worlds(1, PICTURE), n_steps=8, batch_size=8, device="cpu")
    pictures = np.stack([PICTURE.sample() for _ in range(3)])
    for found, expected in zip(latents_of(model, pictures), model.vae.encode(pictures), strict=True):
        torch.testing.assert_close(found, expected)
        assert found.shape == (3, 6)


def test_latents_of_bytes_that_are_no_picture_are_the_same_for_model_and_policy() -> None:
    memory = spaces.Box(0, 255, (16,), np.uint8)
    model = GovernedPPO("MlpPolicy", worlds(1, memory), n_steps=8, batch_size=8, device="cpu")
    given = np.stack([memory.sample() for _ in range(3)])
    for found, expected in zip(latents_of(model, given), model.vae.encode(given), strict=True):
        torch.testing.assert_close(found, expected)


# what is refused


@pytest.mark.parametrize("value", [5.01, -6.0, float("nan"), float("inf")])
def test_values_beyond_the_limit_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"between -5\.0 and 5\.0"):
        Governor(trained(), set={0: value})


def test_the_limit_can_be_another() -> None:
    Governor(trained(), set={0: 5.0, 1: -5.0})
    Governor(trained(), set={0: 20.0}, limit=20.0)
    with pytest.raises(UsageError, match="between"):
        Governor(trained(), set={0: 2.0}, limit=1.0)


def test_wrong_arguments_are_refused() -> None:
    model = trained()
    for dim in (-1, 5):
        with pytest.raises(UsageError, match="0 to 4"):
            Governor(model, set={dim: 1.0})
    with pytest.raises(UsageError, match="zero or keep"):
        Governor(model, set={0: 1.0}, others="drop")  # type: ignore[arg-type]


def test_an_agent_that_reads_no_latents_is_refused() -> None:
    plain = PPO("MlpPolicy", worlds(1), n_steps=8, batch_size=8, device="cpu")
    for given in (plain, plain.policy, None):
        with pytest.raises(UsageError, match="latents"):
            Governor(given, set={0: 1.0})
        with pytest.raises(UsageError, match="latents"):
            latents_of(given, OBS)
