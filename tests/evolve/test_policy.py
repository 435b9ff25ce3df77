"""What a gate does to a policy: gradients, predictions of the elite and of all, and plain copies of members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, MultiInputActorCriticPolicy
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.evolve import G2A2C, G2PPO, GeneticSettings, gated_policy
from tenfold.evolve.algorithms import GeneticGated
from tenfold.evolve.policy import (
    ALL_OPEN,
    Gated,
    GatedActorCriticCnnPolicy,
    GatedActorCriticPolicy,
    GatedMultiInputPolicy,
)

from ..core.rl_worlds import LEVER, NUMBERS, PICTURE, SEVERAL, observations, worlds

ARM = spaces.Box(np.array([-0.02, -1.0], np.float32), np.array([0.03, 2.0], np.float32))
DIALS, SWITCHES = spaces.MultiDiscrete([2, 4]), spaces.MultiBinary(3)
HALF = GeneticSettings(phase_steps=0, start_all_open=False, start_open=0.5)


def policy_of(
    action: spaces.Space[Any] = LEVER,
    observation: spaces.Space[Any] = NUMBERS,
    *,
    kind: type[ActorCriticPolicy] = ActorCriticPolicy,
    members: int = 5,
    seed: int = 0,
    **given: Any,
) -> Gated:
    """Its members differ visibly."""
    torch.manual_seed(seed)
    policy = gated_policy(kind)(
        observation, action, lambda _: 1e-3, population=members, genetics=HALF, gate_seed=seed, **given
    )
    with torch.no_grad():
        policy.action_net.weight *= 100
    return policy


def some_genes(rows: int, width: int = 64) -> Tensor:
    return (torch.rand(rows, width, generator=torch.Generator().manual_seed(1)) < 0.6).float()


def gradients(policy: Gated, loss: Tensor) -> dict[str, Tensor]:
    policy.zero_grad()
    loss.backward()
    return {name: value.grad.clone() for name, value in policy.named_parameters() if value.grad is not None}


# gates


@pytest.mark.parametrize("action", [LEVER, ARM, DIALS, SWITCHES])
def test_closed_units_get_no_policy_gradient_and_the_critic_its_own(action: spaces.Space[Any]) -> None:
    policy, obs = policy_of(action), torch.from_numpy(observations(NUMBERS, 12))
    genes = some_genes(12)
    genes[:, 7], genes[:, 8], genes[3] = 0, 1, 0
    actions = torch.from_numpy(observations(action, 12)).float()
    with policy.acting(genes):
        values, log_prob, entropy = policy.evaluate_actions(obs, actions)
    assert entropy is not None
    actor = gradients(policy, (log_prob * torch.arange(1, 13)).mean() + entropy.mean())
    for name, unit in (("action_net.weight", (slice(None), 7)), ("mlp_extractor.policy_net.2.weight", (7,))):
        assert not actor[name][unit].any()
        other = tuple(8 if index == 7 else index for index in unit)
        assert actor[name][other].any()
    assert not actor["mlp_extractor.policy_net.2.bias"][7]
    with policy.acting(genes):
        values, _, _ = policy.evaluate_actions(obs, actions)
    gated = gradients(policy, values.square().mean())
    with policy.acting(ALL_OPEN):
        values, _, _ = policy.evaluate_actions(obs, actions)
    ungated = gradients(policy, values.square().mean())
    assert gated.keys() == ungated.keys() != set()
    for name, value in gated.items():
        assert torch.equal(value, ungated[name]), name


def test_the_critic_of_pictures_reads_all_features() -> None:
    policy = policy_of(LEVER, PICTURE_FIRST, kind=ActorCriticCnnPolicy)
    obs = torch.from_numpy(observations(PICTURE_FIRST, 4))
    found = []
    for genes in (some_genes(4, 512), ALL_OPEN):
        with policy.acting(genes):
            values, log_prob, _ = policy.evaluate_actions(obs, torch.zeros(4))
        found.append((log_prob.detach(), gradients(policy, values.sum())))
    assert not torch.equal(found[0][0], found[1][0])
    assert "features_extractor.cnn.0.weight" in found[0][1]
    for name, value in found[0][1].items():
        assert torch.equal(value, found[1][1][name]), name


PICTURE_FIRST = spaces.Box(0, 255, (1, 36, 36), np.uint8)


@pytest.mark.parametrize("kind", [G2PPO, G2A2C])
def test_training_leaves_units_that_all_members_closed_alone(kind: type[GeneticGated]) -> None:
    genetics = GeneticSettings(phase_steps=0, start_all_open=False, mutation_rate=0, elite_share=0.3)
    given: dict[str, Any] = {"batch_size": 24} if kind is G2PPO else {}
    model = kind("MlpPolicy", worlds(3), n_steps=8, population=4, genetics=genetics, ent_coef=0.1, seed=0, **given)
    closed = torch.arange(64) % 4 == 0
    model.gate.chromosomes[:, closed] = 0
    inner, outer = model.policy.mlp_extractor.policy_net[2], model.policy.action_net
    before = inner.weight.detach().clone(), outer.weight.detach().clone()
    model.learn(480, log_interval=None)
    assert len(model.history) > 1
    assert torch.equal(inner.weight[closed], before[0][closed])
    assert not inner.bias[closed].any()
    assert torch.equal(outer.weight[:, closed], before[1][:, closed])
    assert (inner.weight[~closed] != before[0][~closed]).any(1).all()


def test_each_row_has_its_own_genes() -> None:
    policy, obs, genes = policy_of(), torch.from_numpy(observations(NUMBERS, 6)), some_genes(6)
    with torch.no_grad():
        latent = policy.mlp_extractor.forward_actor(obs)
        for acting, mask in (
            (genes, genes),
            (genes[:1], genes[:1]),
            (ALL_OPEN, torch.ones(1, 64)),
            (None, policy.gate.elite_genes.float()),
        ):
            expected = policy.action_net(latent * mask).argmax(1).numpy()
            with policy.acting(acting):
                assert (policy.act(obs, deterministic=True) == expected).all()
                assert (policy(obs, deterministic=True)[0].numpy() == expected).all()
                elites = policy.get_distribution(obs).get_actions(deterministic=True)
                assert (policy.act(obs, deterministic=True) == expected).all()
            assert torch.equal(elites, policy.get_distribution(obs).get_actions(deterministic=True))


def test_acting_ends_with_the_elite_even_after_an_error() -> None:
    policy, obs = policy_of(), torch.from_numpy(observations(NUMBERS, 6))
    elite = policy.act(obs, deterministic=True)
    with pytest.raises(KeyError), policy.acting(some_genes(6)):
        raise KeyError
    assert (policy.act(obs, deterministic=True) == elite).all()


def test_a_prediction_that_fails_does_not_change_who_acts() -> None:
    policy, obs, genes = policy_of(), torch.from_numpy(observations(NUMBERS, 30)), some_genes(30)
    with policy.acting(genes):
        before = policy.act(obs, deterministic=True)
        with pytest.raises(RuntimeError):
            policy.get_distribution(torch.zeros(2, 99))
        assert (policy.act(obs, deterministic=True) == before).all()
    assert (policy.act(obs, deterministic=True) != before).any()


@pytest.mark.parametrize("rows", [1, 5, 7])
def test_a_batch_of_another_size_is_refused(rows: int) -> None:
    policy = policy_of()
    obs = torch.from_numpy(observations(NUMBERS, rows))
    with policy.acting(some_genes(6)), pytest.raises(UsageError, match=f"{rows} rows.* 6 have"):
        policy.evaluate_actions(obs, torch.zeros(rows))


# predictions


class Asks(BaseCallback):
    """In every step: what the model answers, and what the elite should."""

    model: GeneticGated

    def _on_step(self) -> bool:
        obs = np.random.default_rng(self.n_calls).uniform(-1, 1, (6, 3)).astype(np.float32)
        with torch.no_grad():
            latent = self.model.policy.mlp_extractor.forward_actor(torch.from_numpy(obs))
            expected = self.model.policy.action_net(latent * self.model.gate.elite_genes).argmax(1).numpy()
        assert (self.model.predict(obs, deterministic=True)[0] == expected).all()
        assert self.model.predict(obs[0], deterministic=True)[0] == expected[0]
        assert self.model.predict(obs, vote="population")[0].shape == (6,)
        return True


def test_predict_is_the_elites_in_the_middle_of_training() -> None:
    genetics = GeneticSettings(elite_share=0.2, phase_steps=0, start_all_open=False, start_open=0.5)
    model = G2PPO("MlpPolicy", worlds(3), n_steps=16, batch_size=48, n_epochs=1, genetics=genetics, seed=0)
    model.policy.action_net.weight.data *= 100
    judge = EvalCallback(worlds(2), n_eval_episodes=3, eval_freq=50, verbose=0)
    model.learn(480, callback=[Asks(), judge])
    assert len(model.history) > 0
    assert np.isfinite(judge.last_mean_reward)


def by_members(policy: Gated, obs: Any) -> NDArray[Any]:
    """Each member's most likely action, unclipped, one observation and one member at a time, (N, B, ...)."""
    found = []
    for member in range(len(policy.gate)):
        with torch.no_grad(), policy.acting(policy.gate.chromosomes[member][None].float()):
            tensor, _ = policy.obs_to_tensor(obs)
            found.append(policy(tensor, deterministic=True)[0].numpy())
    return np.stack(found)


VOTES: dict[str, tuple[spaces.Space[Any], spaces.Space[Any], dict[str, Any]]] = {
    "discrete": (LEVER, NUMBERS, {}),
    "several choices": (DIALS, NUMBERS, {}),
    "switches": (SWITCHES, NUMBERS, {}),
    "numbers": (ARM, NUMBERS, {}),
    "a table of numbers": (spaces.Box(-1, 1, (2, 3)), NUMBERS, {}),
    "gSDE": (ARM, NUMBERS, {"use_sde": True}),
    "squashed": (ARM, NUMBERS, {"use_sde": True, "squash_output": True}),
    "own features": (LEVER, NUMBERS, {"share_features_extractor": False}),
    "dictionary": (LEVER, SEVERAL, {"kind": MultiInputActorCriticPolicy}),
    "pictures": (LEVER, PICTURE_FIRST, {"kind": ActorCriticCnnPolicy}),
}


@pytest.mark.parametrize("case", VOTES)
def test_a_vote_is_the_members_choice_and_spread(case: str) -> None:
    action, observation, given = VOTES[case]
    policy, obs = policy_of(action, observation, **given), observations(observation, 20)
    chosen, spread = policy.vote(obs)
    shape = (20, *(action.shape or ()))
    assert chosen.shape == spread.shape == shape
    own = by_members(policy, obs)
    if isinstance(action, spaces.Box):
        if policy.squash_output:
            middle = policy.unscale_action(own.mean(0))
            own = policy.unscale_action(own)
        else:
            middle = own.mean(0)
            assert (middle.clip(action.low, action.high) != middle).any() or case == "a table of numbers"
        assert chosen == pytest.approx(middle.clip(action.low, action.high), rel=1e-5, abs=1e-6)
        assert spread == pytest.approx(own.std(0), rel=1e-4, abs=1e-6)
    else:
        for place in np.ndindex(shape):
            votes = np.bincount(own[(slice(None), *place)].astype(int))
            assert votes[int(chosen[place])] == votes.max()
            assert spread[place] == pytest.approx(1 - votes.max() / 5)
    assert (spread > 0).any()
    assert chosen.dtype == action.dtype
    one: Any = {name: value[4] for name, value in obs.items()} if isinstance(obs, dict) else obs[4]
    single, disagreement = policy.vote(one)
    assert np.shape(single) == np.shape(disagreement) == shape[1:]
    assert single == pytest.approx(chosen[4], rel=1e-5, abs=1e-6)
    assert disagreement == pytest.approx(spread[4], rel=1e-4, abs=1e-6)


def test_one_member_votes_as_it_predicts() -> None:
    for action in (LEVER, ARM, DIALS, SWITCHES):
        policy, obs = policy_of(action, members=1), observations(NUMBERS, 9)
        chosen, spread = policy.vote(obs)
        assert (chosen == policy.predict(obs, deterministic=True)[0]).all()
        assert not spread.any()


def test_drawn_votes_come_from_the_mixture_of_all_members() -> None:
    policy = policy_of(LEVER, members=3)
    obs = observations(NUMBERS, 1)
    shares = []
    for member in range(3):
        with torch.no_grad(), policy.acting(policy.gate.chromosomes[member][None].float()):
            every = torch.arange(3)
            _, log_prob, _ = policy.evaluate_actions(torch.from_numpy(obs).expand(3, -1), every)
            shares.append(log_prob.exp())
    expected = torch.stack(shares).mean(0).numpy()
    torch.manual_seed(0)
    drawn, spread = policy.vote(obs.repeat(20_000, 0), deterministic=False)
    assert np.bincount(drawn, minlength=3) / 20_000 == pytest.approx(expected, abs=0.015)
    assert spread[0] == policy.vote(obs)[1][0]


def test_drawn_numbers_come_from_the_mixture_of_all_members() -> None:
    policy = policy_of(spaces.Box(-99, 99, (2,)), members=4)
    obs = observations(NUMBERS, 1)
    means, deviations = by_members(policy, obs)[:, 0], policy.log_std.exp().detach().numpy()
    torch.manual_seed(0)
    drawn, _ = policy.vote(obs.repeat(20_000, 0), deterministic=False)
    assert drawn.mean(0) == pytest.approx(means.mean(0), abs=0.04)
    assert drawn.var(0) == pytest.approx(means.var(0) + deviations**2, rel=0.05)


# members as plain policies


EXTRACTS: dict[str, tuple[str, Any, Any]] = {
    "discrete": ("MlpPolicy", NUMBERS, LEVER),
    "numbers": ("MlpPolicy", NUMBERS, ARM),
    "dictionary": ("MultiInputPolicy", SEVERAL, SWITCHES),
    "pictures": ("CnnPolicy", PICTURE, LEVER),
}


@pytest.mark.parametrize("case", EXTRACTS)
def test_a_plain_policy_acts_as_a_member(case: str) -> None:
    name, observation, action = EXTRACTS[case]
    env = worlds(2, observation, action)
    plain = A2C(name, env, device="cpu", seed=1)
    model = G2A2C(name, env, device="cpu", population=3, genetics=HALF, seed=0)
    with torch.no_grad():
        model.policy.action_net.weight *= 100
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    obs = observations(env.observation_space, 16)
    answers = []
    for member in (0, 1, 2, None):
        plain.policy.load_state_dict(model.policy.extract(member))
        tensor, _ = plain.policy.obs_to_tensor(obs)
        genes = None if member is None else model.gate.chromosomes[member][None].float()
        with torch.no_grad(), model.policy.acting(genes):
            torch.manual_seed(3)
            expected = model.policy(tensor)
            torch.manual_seed(3)
            found = plain.policy(tensor)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        answers.append(torch.cat([found[0].flatten(), found[2]]))
    assert not torch.equal(answers[1], answers[2])
    assert all(torch.equal(value, before[key]) for key, value in model.policy.state_dict().items() if "fit" not in key)
    with pytest.raises(UsageError, match="0 to 2"):
        model.policy.extract(3)


def test_with_gsde_no_plain_policy_acts_as_a_member() -> None:
    with pytest.raises(UsageError, match="gSDE"):
        policy_of(ARM, use_sde=True).extract()


# classes of others


class Bare(nn.Module):
    """Someone's own actor and critic, with no more than what stable-baselines3 asks for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = 10, 6
        self.actor, self.critic = nn.Sequential(nn.Linear(width, 10), nn.ReLU()), nn.Linear(width, 6)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return self.actor(features)

    def forward_critic(self, features: Tensor) -> Tensor:
        return self.critic(features)


class OwnNetworks(ActorCriticPolicy):
    """A policy with networks of its own."""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = Bare(self.features_dim)  # type: ignore[assignment]


class Bounded(ActorCriticPolicy):
    """A policy with an argument and a layer of its own."""

    def __init__(self, *args: Any, bound: float, **kwargs: Any) -> None:
        self.bound = bound
        super().__init__(*args, **kwargs)

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Any:
        return super()._get_action_dist_from_latent(latent_pi.clamp(-self.bound, self.bound))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"bound": self.bound}


@pytest.mark.parametrize(("own", "given"), [(OwnNetworks, {}), (Bounded, {"bound": 0.3})])
@pytest.mark.parametrize("kind", [G2PPO, G2A2C])
def test_an_own_policy_class_works_and_is_saved(
    kind: type[GeneticGated], own: type[ActorCriticPolicy], given: dict[str, Any], tmp_path: Path
) -> None:
    more: dict[str, Any] = {"batch_size": 24} if kind is G2PPO else {}
    model = kind(own, worlds(3), n_steps=8, population=4, genetics=HALF, seed=0, policy_kwargs=given, **more)
    model.learn(240)
    assert isinstance(model.policy, own)
    assert len(model.history) > 0
    model.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model", env=worlds(3))
    assert isinstance(loaded.policy, own)
    assert isinstance(loaded.policy, Gated)
    obs = observations(NUMBERS, 30)
    for vote in ("elite", "population"):
        expected = model.predict(obs, deterministic=True, vote=vote)[0]  # type: ignore[arg-type]
        assert (loaded.predict(obs, deterministic=True, vote=vote)[0] == expected).all()  # type: ignore[arg-type]
    loaded.learn(48, reset_num_timesteps=False)
    plain = PPO(own, worlds(1), n_steps=8, batch_size=8, policy_kwargs=given)
    plain.policy.load_state_dict(model.policy.extract())
    assert (plain.predict(obs, deterministic=True)[0] == model.predict(obs, deterministic=True)[0]).all()


def test_classes_of_policies() -> None:
    assert gated_policy(ActorCriticPolicy) is GatedActorCriticPolicy
    assert gated_policy(ActorCriticCnnPolicy) is GatedActorCriticCnnPolicy
    assert gated_policy(MultiInputActorCriticPolicy) is GatedMultiInputPolicy
    assert gated_policy(GatedActorCriticPolicy) is GatedActorCriticPolicy
    assert gated_policy(Bounded) is gated_policy(Bounded) is gated_policy(gated_policy(Bounded))
    for wrong in (nn.Linear, "MlpPolicy", None):
        with pytest.raises(UsageError, match="ActorCriticPolicy"):
            gated_policy(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [ActorCriticPolicy, Bounded])
def test_a_policy_file_has_the_population(kind: type[ActorCriticPolicy], tmp_path: Path) -> None:
    policy = policy_of(kind=kind, members=6, seed=4, **({"bound": 0.5} if kind is Bounded else {}))
    policy.gate.evolve(torch.arange(6.0))
    policy.save(str(tmp_path / "policy"))
    loaded = type(policy).load(str(tmp_path / "policy"))
    assert torch.equal(loaded.gate.chromosomes, policy.gate.chromosomes)
    assert loaded.gate.genetics == policy.gate.genetics
    obs = observations(NUMBERS, 20)
    assert (loaded.predict(obs, deterministic=True)[0] == policy.predict(obs, deterministic=True)[0]).all()
    loaded.gate.evolve(torch.arange(6.0))
    policy.gate.evolve(torch.arange(6.0))
    assert torch.equal(loaded.gate.chromosomes, policy.gate.chromosomes)


@pytest.mark.parametrize("observation", [NUMBERS, SEVERAL])
@pytest.mark.parametrize("layers", [[], {"pi": [], "vf": [8]}])
def test_a_policy_without_a_hidden_layer_is_refused(observation: spaces.Space[Any], layers: Any) -> None:
    kind = MultiInputActorCriticPolicy if observation is SEVERAL else ActorCriticPolicy
    with pytest.raises(UsageError, match="no hidden layer"):
        policy_of(observation=observation, kind=kind, net_arch=layers)
