"""The policy that designs: a mean and a spread of its own for every step, and stable-baselines3's own rules."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("mujoco")
pytest.importorskip("stable_baselines3")

from gymnasium import spaces
from stable_baselines3 import PPO

from tenfold.core.rl_training import learner_state, resume_learner
from tenfold.design.archive import Archive
from tenfold.design.config import PolicySettings
from tenfold.design.designer import most_likely_steps, new_model, untrained
from tenfold.design.policy import DesignPolicy
from tenfold.design.vector import DesignVecEnv
from tenfold.design.workshop import workshop

from .toy import Toy

TOY = Toy()
SMALL = PolicySettings(designs=8, batch_size=12, n_epochs=2, hidden=(16,))
SEEN = spaces.Box(-1.0, 1.0, (15,), np.float32)


def made(spread: float = 0.5, steps: int = 3) -> DesignPolicy:
    torch.manual_seed(0)
    return DesignPolicy(SEEN, spaces.Box(-1.0, 1.0, (2,), np.float32), lambda _: 1e-3, steps=steps, spread=spread)


def at(*steps: int) -> Tensor:
    """Random observations whose next steps are these."""
    seen = torch.rand(len(steps), 15, generator=torch.Generator().manual_seed(1)) * 2 - 1
    seen[:, :3] = torch.eye(3)[list(steps)]
    return seen


def spreads(policy: DesignPolicy, seen: Tensor) -> Tensor:
    return policy.get_distribution(seen).distribution.stddev


def trained_model(seed: int = 0, updates: int = 2) -> PPO:
    with workshop(TOY) as shop:
        envs = DesignVecEnv(shop, 8, Archive(TOY, TOY.wish().wants))
        envs.seed(seed)
        return new_model(envs, SMALL, seed=seed).learn(updates * 8 * 3)


@pytest.mark.parametrize("spread", [0.1, 0.5, 2.0])
def test_every_step_begins_with_the_spread_that_was_asked_for(spread: float) -> None:
    policy = made(spread)
    assert policy.log_std.shape == (3, 2)
    torch.testing.assert_close(spreads(policy, at(0, 1, 2)), torch.full((3, 2), spread))


def test_every_step_has_a_spread_of_its_own_whatever_else_is_seen() -> None:
    policy = made()
    wanted = torch.tensor([[0.1, 0.2], [0.4, 0.8], [1.6, 3.2]])
    with torch.no_grad():
        policy.log_std.copy_(wanted.log())
    torch.testing.assert_close(spreads(policy, at(2, 0, 1, 1, 0)), wanted[[2, 0, 1, 1, 0]])


def test_actions_are_spread_as_it_says() -> None:
    policy = made()
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([[0.05, 0.05], [0.5, 0.5], [1.0, 2.0]]).log())
    for step, wanted in ((0, [0.05, 0.05]), (2, [1.0, 2.0])):
        seen = at(step).expand(4000, -1)
        actions = policy(seen)[0]
        assert actions.std(0).tolist() == pytest.approx(wanted, rel=0.06)
        mean = policy(seen[:1], deterministic=True)[0][0]
        assert actions.mean(0).tolist() == pytest.approx(mean.tolist(), abs=0.12)


def test_steps_can_have_means_of_their_own_that_nothing_else_explains() -> None:
    """Of observations that differ in the next step alone, the step's own weights move the mean of that step alone."""
    policy = made()
    seen = at(0, 0, 0)
    seen[:, :3] = torch.eye(3)
    before = policy(seen, deterministic=True)[0].detach()
    with torch.no_grad():
        policy.action_net.weight[:, 1] += 0.3
    moved = policy(seen, deterministic=True)[0].detach() - before
    torch.testing.assert_close(moved, torch.tensor([[0.0, 0.0], [0.3, 0.3], [0.0, 0.0]]), atol=1e-6, rtol=0)


def test_the_probability_of_an_action_is_the_same_before_and_after_and_that_of_a_normal_distribution() -> None:
    policy = made()
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([[0.1, 0.3], [0.4, 0.8], [1.6, 0.2]]).log())
    seen = at(0, 1, 2, 2, 1)
    actions, values, before = policy(seen)
    again, after, entropy = policy.evaluate_actions(seen, actions)
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(again, values)
    mean = policy(seen, deterministic=True)[0]
    spread = policy.log_std.exp()[[0, 1, 2, 2, 1]]
    each = -((actions - mean) ** 2) / (2 * spread**2) - spread.log() - math.log(2 * math.pi) / 2
    torch.testing.assert_close(before, each.sum(1))
    torch.testing.assert_close(entropy, (spread.log() + 0.5 * math.log(2 * math.pi * math.e)).sum(1))


@pytest.mark.parametrize("step", range(3))
def test_what_a_step_learns_leaves_the_spread_of_the_others(step: int) -> None:
    policy = made()
    seen = at(step, step)
    _, likely, _ = policy.evaluate_actions(seen, torch.full((2, 2), 0.9))
    likely.sum().backward()
    gradient = policy.log_std.grad
    assert (gradient[step] != 0).all()
    others = [each for each in range(3) if each != step]
    assert (gradient[others] == 0).all()


def test_the_spread_is_learned_with_the_rest() -> None:
    policy = made()
    known = [parameter for group in policy.optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, known)) == sorted(map(id, policy.parameters()))
    assert any(parameter is policy.log_std for parameter in known)
    before = policy.log_std.detach().clone()
    policy.evaluate_actions(at(0, 1, 2), torch.ones(3, 2))[1].sum().backward()
    policy.optimizer.step()
    assert (policy.log_std != before).all()


def test_a_policy_is_saved_and_loaded_as_stable_baselines3_does(tmp_path: Path) -> None:
    policy = made(0.3)
    with torch.no_grad():
        policy.log_std[1] = -2.0
    policy.save(str(tmp_path / "policy"))
    again = DesignPolicy.load(str(tmp_path / "policy"), device="cpu")
    seen = at(0, 1, 2)
    torch.testing.assert_close(spreads(again, seen), spreads(policy, seen))
    torch.testing.assert_close(again(seen, deterministic=True)[0], policy(seen, deterministic=True)[0])


def test_a_model_is_saved_and_loaded_as_stable_baselines3_does(tmp_path: Path) -> None:
    model = trained_model()
    model.save(tmp_path / "model.zip")
    again = PPO.load(tmp_path / "model.zip", device="cpu")
    assert type(again.policy) is DesignPolicy
    wish = TOY.wish({"low": 5})
    assert np.array_equal(most_likely_steps(again, TOY, wish), most_likely_steps(model, TOY, wish))
    assert torch.equal(again.policy.log_std, model.policy.log_std)


def test_a_model_takes_up_what_another_has_learned_and_leaves_it_alone() -> None:
    model, fresh = trained_model(), untrained(TOY, SMALL, seed=4)
    state = learner_state(model)
    kept = {name: value.clone() for name, value in state["policy"].items()}
    wish = TOY.wish()
    assert not np.array_equal(most_likely_steps(fresh, TOY, wish), most_likely_steps(model, TOY, wish))
    resume_learner(fresh, state)
    assert np.array_equal(most_likely_steps(fresh, TOY, wish), most_likely_steps(model, TOY, wish))
    assert fresh.num_timesteps == model.num_timesteps == 48
    moments = [each["exp_avg_sq"] for each in model.policy.optimizer.state_dict()["state"].values()]
    taken = [each["exp_avg_sq"] for each in fresh.policy.optimizer.state_dict()["state"].values()]
    assert len(moments) == len(list(model.policy.parameters()))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(moments, taken, strict=True))
    for parameter in fresh.policy.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, kept[name]) for name, value in state["policy"].items())
    assert not torch.equal(model.policy.log_std, fresh.policy.log_std)


def test_the_most_likely_steps_are_in_range_and_the_same_every_time() -> None:
    model = trained_model()
    with torch.no_grad():
        model.policy.action_net.bias += 5
    steps = most_likely_steps(model, TOY, TOY.wish())
    assert (steps.shape, steps.dtype) == ((3, 3), np.float64)
    assert (steps == 1).all()


def test_the_value_of_a_design_follows_nothing_of_the_actors() -> None:
    policy = made()
    seen = at(0, 1, 2)
    policy.predict_values(seen).sum().backward()
    assert policy.log_std.grad is None
    assert policy.action_net.weight.grad is None
