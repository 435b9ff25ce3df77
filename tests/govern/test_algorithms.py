"""Governed PPO and A2C: the plain algorithms where the model has no weight, and else exactly one loss more; files, seeds, spaces."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("stable_baselines3")

from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from tenfold.core.errors import UsageError
from tenfold.govern import ActionMap, AuxiliarySettings, GovernedA2C, GovernedPPO

from ..core.rl_worlds import LEVER, NUMBERS, PICTURE, SEVERAL, monitored, worlds

ARM = spaces.Box(-1, 1, (2,))
SHORT = {"n_steps": 16, "batch_size": 16, "n_epochs": 2}
NETWORK = {"net_arch": {"pi": [12, 10], "vf": [9, 8]}}


def little(env: Any, kind: Any = GovernedPPO, *, policy: Any = "MlpPolicy", **given: Any) -> Any:
    given = (SHORT if issubclass(kind, PPO) else {"n_steps": 16}) | {"seed": 0, "device": "cpu"} | given
    if "policy_kwargs" in given:
        given["policy_kwargs"] = dict(given["policy_kwargs"])  # A2C writes into it
    return kind(policy, env, **given)


# the plain algorithm


class ByHand(nn.Module):
    """Encoder, latents and head beside a critic, as stable-baselines3's documentation has networks of one's own."""

    def __init__(self, numbers: int, latent: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = 10, 8
        self.encoder = nn.Sequential(
            nn.Linear(numbers, 12), nn.Tanh(), nn.Linear(12, 10), nn.Tanh(), nn.Linear(10, 2 * latent)
        )
        self.head = nn.Sequential(nn.Linear(2 * latent, 10), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(numbers, 9), nn.Tanh(), nn.Linear(9, 8), nn.Tanh())
        self.latent = latent

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        raw = self.encoder(features)
        sigma = torch.exp(0.5 * raw[:, self.latent :].clamp(-14, 6))
        return self.head(torch.cat((raw[:, : self.latent], sigma), 1))

    def forward_critic(self, features: Tensor) -> Tensor:
        return self.critic(features)


class PlainPolicy(ActorCriticPolicy):
    """An ordinary policy with those layers."""

    def __init__(self, *args: Any, latent: int, **kwargs: Any) -> None:
        self.latent = latent
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = ByHand(self.features_dim, self.latent)  # type: ignore[assignment]


class Draws(BaseCallback):
    """Keeps what every rollout consisted of."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[np.ndarray] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.locals["rollout_buffer"]
        self.kept += [buffer.actions.copy(), buffer.values.copy(), buffer.log_probs.copy(), buffer.rewards.copy()]


def without_decoder(model: OnPolicyAlgorithm) -> list[nn.Parameter]:
    return [weight for name, weight in model.policy.named_parameters() if "decoder" not in name]


@pytest.mark.parametrize("world", ["discrete", "box", "sde", "normalized"])
@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_without_weight_it_is_the_plain_algorithm(algorithm: str, world: str) -> None:
    plain_kind, kind = {"ppo": (PPO, GovernedPPO), "a2c": (A2C, GovernedA2C)}[algorithm]

    def env() -> Any:
        several = worlds(3, action=LEVER if world == "discrete" else ARM)
        return VecNormalize(several) if world == "normalized" else several

    given: dict[str, Any] = {"use_sde": world == "sde", "ent_coef": 0.01}
    given |= {"batch_size": 24} if algorithm == "ppo" else {}
    governed = little(env(), kind, latent=5, aux_weight=0, policy_kwargs=NETWORK, **given)
    plain = little(env(), plain_kind, policy=PlainPolicy, policy_kwargs={"latent": 5}, **given)
    for weight, own in zip(plain.policy.parameters(), without_decoder(governed), strict=True):
        assert weight.shape == own.shape
        weight.data.copy_(own.data)
    start = [each.detach().clone() for each in without_decoder(governed)]
    found, expected = Draws(), Draws()
    drawn = []
    for model, callback in ((governed, found), (plain, expected)):
        model.set_random_seed(3)
        model.learn(3 * 48, callback=callback)
        drawn.append((torch.randn(3), np.random.rand(3)))  # noqa: NPY002
    assert len(found.kept) == 12
    for one, other in zip(found.kept, expected.kept, strict=True):
        assert (one == other).all()
    for weight, own, old in zip(plain.policy.parameters(), without_decoder(governed), start, strict=True):
        assert torch.equal(weight, own)
        assert not torch.equal(weight, old)
    moments = [list(model.policy.optimizer.state.values()) for model in (governed, plain)]
    for one, other in zip(*moments, strict=True):
        assert all(torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name])) for name in other)
    obs = np.random.default_rng(0).uniform(-1, 1, (9, 3)).astype(np.float32)
    assert (governed.predict(obs, deterministic=True)[0] == plain.predict(obs, deterministic=True)[0]).all()
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert (drawn[0][1] == drawn[1][1]).all()


# one loss more


class Witness(BaseCallback):
    """Writes down the first rollout, the policy that it was made with, and the generators before learning."""

    def __init__(self) -> None:
        super().__init__()
        self.after: list[Any] = []
        self.known: list[Any] = []

    def _on_step(self) -> bool:
        after = self.locals["new_obs"].copy()
        known = np.ones(len(after), bool)
        for place, (done, info) in enumerate(zip(self.locals["dones"], self.locals["infos"], strict=True)):
            if done:
                known[place] = place > 0
                after[place] = info["terminal_observation"]
                if place == 0:  # this environment's last states are not told
                    del info["terminal_observation"]
        self.after.append(after)
        self.known.append(known)
        return True

    def _on_rollout_end(self) -> None:
        self.buffer = copy.deepcopy(self.locals["rollout_buffer"])
        self.policy = copy.deepcopy(self.model.policy)
        self.generators = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002


def expected_gradients(model: Any, seen: Witness, beta: float) -> dict[str, Tensor]:
    """By the equations: of policy loss + alpha * model's loss; of the decoder, which nothing else teaches, without alpha."""
    flat = lambda rows: torch.as_tensor(np.swapaxes(np.asarray(rows), 0, 1).reshape(len(rows) * 3, -1))  # noqa: E731
    obs, actions, after = flat(seen.buffer.observations), flat(seen.buffer.actions), flat(seen.after)
    known, advantages, returns = (flat(x)[:, 0] for x in (seen.known, seen.buffer.advantages, seen.buffer.returns))
    assert known.sum() < len(known) - 1
    torch.set_rng_state(seen.generators[0])
    np.random.set_state(seen.generators[1])  # noqa: NPY002
    order = torch.from_numpy(np.random.permutation(len(obs)))  # noqa: NPY002
    noise = torch.empty(len(obs), 5)
    noise[order] = torch.randn(len(obs), 5)
    policy = seen.policy
    values, log_prob, entropy = policy.evaluate_actions(obs, actions)
    loss = -(advantages * log_prob).mean() - model.ent_coef * entropy.mean()
    loss = loss + model.vf_coef * (returns - values.flatten()).square().mean()
    raw = policy.latents.encoder(obs)
    mu, sigma = raw[:, :5], (raw[:, 5:] / 2).exp()
    moves = torch.zeros(len(obs), 5)
    moves[:, :2] = actions.clamp(-1, 1)
    targets = (after - after[known].mean(0)) / after[known].std(0, correction=0)
    off = policy.vae.decoder(mu + sigma * noise + moves) - targets
    kl = 0.5 * (mu**2 + sigma**2 - 2 * sigma.log() - 1).sum(1)
    aux = (0.5 * (off**2).sum(1) + beta * kl)[known].mean()
    both = loss + model.aux_weight * aux
    return {
        name: torch.autograd.grad(aux if "decoder" in name else both, weight, retain_graph=True)[0]
        for name, weight in policy.named_parameters()
    }


def stepped(clip: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What one step of plain descent moved each weight by, and the gradients it should have had."""
    sgd = NETWORK | {"optimizer_class": torch.optim.SGD}
    settings = AuxiliarySettings(beta=1.7, decoder=(8,))
    given: dict[str, Any] = {"latent": 5, "aux_weight": 0.3, "auxiliary": settings, "learning_rate": 0.5}
    env = VecNormalize(worlds(3, action=ARM, going_on=0.6), norm_obs=False, clip_reward=0.1)  # little rewards
    model = little(env, GovernedA2C, policy_kwargs=sgd, max_grad_norm=clip, ent_coef=0.01, **given)
    with torch.no_grad():
        model.policy.latents.encoder.layers[-1].bias[5:].uniform_(-1, 1)  # sigma is not 1
    witness = Witness()
    model.learn(48, callback=witness)
    before = dict(witness.policy.named_parameters())
    moved = {name: (before[name] - weight) / 0.5 for name, weight in model.policy.named_parameters()}
    return moved, expected_gradients(model, witness, 1.7)


def test_a_step_follows_the_policys_loss_and_alpha_times_the_models() -> None:
    moved, expected = stepped(clip=1e9)
    for name, gradient in expected.items():
        assert gradient.abs().max() > 1e-4
        torch.testing.assert_close(moved[name].detach(), gradient, atol=2e-5, rtol=2e-3, msg=name)


def test_the_decoder_does_not_take_part_in_clipping() -> None:
    moved, expected = stepped(clip=0.2)
    own = {name: gradient for name, gradient in expected.items() if "decoder" not in name}
    norm = torch.stack([each.norm() for each in own.values()]).norm()
    for name, gradient in own.items():
        torch.testing.assert_close(
            moved[name].detach(), gradient * (0.2 / norm).clamp(max=1), atol=2e-5, rtol=2e-3, msg=name
        )


def test_the_model_learns_to_predict() -> None:
    given: dict[str, Any] = {"n_steps": 64, "batch_size": 64, "n_epochs": 4, "learning_rate": 5e-3}
    model = little(monitored("Pendulum-v1", 4), aux_weight=1.0, auxiliary=AuxiliarySettings(beta=0.1), **given)
    model.learn(256)
    first = model.logger.name_to_value["govern/reconstruction"]
    model.learn(1536, reset_num_timesteps=False)
    assert first > 1  # three numbers, of which nothing is known, are worth 1.5
    assert model.logger.name_to_value["govern/reconstruction"] < 0.8 * first


@pytest.mark.parametrize("kind", [GovernedPPO, GovernedA2C])
def test_the_models_losses_are_logged(kind: Any) -> None:
    logged = little(worlds(2), kind).learn(32).logger.name_to_value
    assert np.isfinite([logged["govern/reconstruction"], logged["govern/kl"]]).all()
    assert logged["govern/kl"] > 0
    assert not [
        each for each in little(worlds(2), kind, aux_weight=0).learn(32).logger.name_to_value if "govern" in each
    ]


@pytest.mark.parametrize("model", ["ac-vae", "ac-ae", "beta-vae", "vae", "capacity", "detached", "bernoulli-free"])
def test_every_kind_of_model_learns_beside(model: str) -> None:
    given = {
        "capacity": {"capacity": 3.0},
        "detached": {"detach_policy": True},
        "bernoulli-free": {"likelihood": "gaussian"},
    }
    settings = AuxiliarySettings(**given.get(model, {"kind": model}))  # type: ignore[arg-type]
    learned = little(worlds(2), auxiliary=settings)
    before = [each.detach().clone() for each in learned.policy.parameters()]
    learned.learn(32)
    for old, new in zip(before, learned.policy.parameters(), strict=True):
        assert new.isfinite().all()
        assert not torch.equal(old, new)


# spaces


@pytest.mark.parametrize("kind", [GovernedPPO, GovernedA2C])
@pytest.mark.parametrize(
    ("action", "width"),
    [
        (LEVER, 3),
        (ARM, 2),
        (spaces.Box(-3, 3, (2, 2)), 4),
        (spaces.MultiDiscrete([3, 2, 4]), 3),
        (spaces.MultiBinary(3), 3),
    ],
)
def test_latents_are_twice_the_numbers_of_an_action(action: spaces.Space[Any], width: int, kind: Any) -> None:
    model = little(worlds(2, action=action), kind).learn(64)
    assert (model.vae.mapped, model.vae.latent) == (width, 2 * width)
    assert ActionMap(action).width == width
    assert action.contains(model.predict(np.zeros(3, np.float32))[0])


@pytest.mark.parametrize("kind", [GovernedPPO, GovernedA2C])
def test_pictures_are_read_and_predicted(kind: Any) -> None:
    model = little(worlds(2, PICTURE), kind, policy="CnnPolicy", n_steps=8).learn(32)
    assert model.vae.likelihood == "bernoulli"
    assert model.vae.target == (1, 36, 36)
    assert 0 < model.logger.name_to_value["govern/reconstruction"] < 36 * 36
    assert model.predict(PICTURE.sample()[None])[0].shape == (1,)


def test_wrapped_environments_learn_too() -> None:
    normalized = VecNormalize(worlds(2, action=ARM), gamma=0.9)
    little(normalized).learn(64)
    stacked = VecFrameStack(worlds(2, PICTURE), 4)
    model = little(stacked, policy="CnnPolicy", n_steps=8).learn(32)
    assert model.vae.target == (1, 36, 36)
    little(VecFrameStack(worlds(2), 3), GovernedA2C).learn(64)
    GovernedPPO("MlpPolicy", "CartPole-v1", 1e-3, 16, 16, device="cpu").learn(32)


@pytest.mark.parametrize("kind", [GovernedPPO, GovernedA2C])
def test_state_dependent_noise_works(kind: Any) -> None:
    model = little(worlds(2, action=ARM), kind, use_sde=True, sde_sample_freq=4).learn(64)
    assert all(each.isfinite().all() for each in model.policy.parameters())


def test_squashed_actions_are_mapped_as_the_environment_takes_them() -> None:
    class Taken(BaseCallback):
        taken: Any = ()

        def _on_step(self) -> bool:
            self.taken = (*self.taken, self.locals["clipped_actions"].copy())
            return True

    callback, squashed = Taken(), {"squash_output": True}
    model = little(worlds(1, action=spaces.Box(-5, 5, (2,))), use_sde=True, policy_kwargs=squashed)
    model.learn(16, callback=callback)
    taken = torch.as_tensor(np.concatenate(callback.taken))
    torch.testing.assert_close(model.rollout_buffer._moves, model.vae.map_action(taken))


# what is refused


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="latent"):
        little(worlds(1), latent=3)
    little(worlds(1), latent=4)
    with pytest.raises(UsageError, match="aux_weight"):
        little(worlds(1), aux_weight=-1e-9)
    with pytest.raises(UsageError, match="Box"):
        little(worlds(1, spaces.Discrete(4)))
    with pytest.raises(UsageError, match="36"):
        little(worlds(1, spaces.Box(0, 255, (35, 36, 1), np.uint8)))
    with pytest.raises(ValueError, match="unknown"):
        little(worlds(1), policy="NoPolicy")


@pytest.mark.parametrize("policy", ["MlpPolicy", "MultiInputPolicy", MultiInputActorCriticPolicy])
def test_several_observations_at_once_are_refused(policy: Any) -> None:
    with pytest.raises((UsageError, ValueError), match=r"MultiInputPolicy|unknown|Box"):
        little(worlds(1, SEVERAL), policy=policy)


# files, seeds, the algorithms' own ways


def state_of(model: Any) -> dict[str, Tensor]:
    state = {name: value.clone() for name, value in model.policy.state_dict().items()}
    for number, moments in model.policy.optimizer.state_dict()["state"].items():
        state |= {f"optimizer {number} {name}": torch.as_tensor(value).clone() for name, value in moments.items()}
    return state


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("kind", [GovernedPPO, GovernedA2C])
def test_a_saved_model_predicts_the_same_and_learns_on(kind: Any, tmp_path: Path) -> None:
    settings = AuxiliarySettings(beta=2.5, decoder=(8,))
    model = little(worlds(2), kind, latent=7, aux_weight=0.2, auxiliary=settings).learn(64)
    model.save(tmp_path / "model.zip")
    alone = kind.load(tmp_path / "model.zip", device="cpu")
    loaded = [kind.load(tmp_path / "model.zip", env=worlds(2), device="cpu") for _ in range(2)]
    obs = NUMBERS.sample()[None].repeat(5, 0)
    for each in (alone, *loaded):
        assert_same(state_of(model), state_of(each))
        assert (each.aux_weight, each.auxiliary, each.vae.latent, each.vae.settings) == (0.2, settings, 7, settings)
        assert (each.predict(obs, deterministic=True)[0] == model.predict(obs, deterministic=True)[0]).all()
    for each in loaded:
        each.set_random_seed(1)
        each.learn(64, reset_num_timesteps=False)
        assert each.num_timesteps == 128
        assert each.logger.name_to_value["govern/kl"] > 0
    assert_same(*map(state_of, loaded))
    for name, value in state_of(model).items():
        if "decoder" in name:
            assert not torch.equal(value, state_of(loaded[0])[name])


def test_a_weight_given_when_loading_is_the_policys_too(tmp_path: Path) -> None:
    little(worlds(1), aux_weight=0.2).save(tmp_path / "model.zip")
    model = GovernedPPO.load(tmp_path / "model.zip", env=worlds(1), device="cpu", aux_weight=0.5)
    assert model.aux_weight == model.policy._aux_weight == 0.5


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, same, other = (state_of(little(worlds(2), seed=seed).learn(64)) for seed in (0, 0, 1))
    assert_same(one, same)
    assert not torch.equal(one["action_net.weight"], other["action_net.weight"])
    assert not torch.equal(one["vae.decoder.layers.0.weight"], other["vae.decoder.layers.0.weight"])


def test_learning_may_stop_early() -> None:
    model = little(worlds(2), n_epochs=10, target_kl=1e-8).learn(32)
    assert model._n_updates < 10
    assert model.policy._lesson == [None]
    assert model.logger.name_to_value["govern/kl"] >= 0
    model.learn(32)


def test_callbacks_work(tmp_path: Path) -> None:
    folder = str(tmp_path)
    callbacks = [
        CheckpointCallback(16, folder),
        EvalCallback(worlds(1), eval_freq=16, best_model_save_path=folder, verbose=0),
    ]
    little(worlds(2)).learn(64, callback=callbacks)
    for path in tmp_path.glob("*.zip"):
        GovernedPPO.load(path, env=worlds(2), device="cpu").learn(32)
    assert len(list(tmp_path.glob("*.zip"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns(seed: int) -> None:
    given: dict[str, Any] = {"n_steps": 64, "batch_size": 128, "n_epochs": 6, "learning_rate": 1e-3}
    model = little(monitored("CartPole-v1", 8), seed=seed, **given).learn(8_192)
    mean, _ = evaluate_policy(model, monitored("CartPole-v1", 8), n_eval_episodes=8)
    assert mean > 100  # at random it is about 22
