"""Imitation leads the means alone to the best designs; without it there is plain PPO; spreads cool on schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco")
pytest.importorskip("stable_baselines3")

from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure

from tenfold.core.legs import State
from tenfold.core.rl_training import Falling, Training
from tenfold.design.archive import Archive
from tenfold.design.config import Config, JudgeSettings, PolicySettings
from tenfold.design.designer import most_likely_steps, new_model
from tenfold.design.imitation import ImitatingPPO, distance
from tenfold.design.policy import DesignPolicy
from tenfold.design.task import Wish
from tenfold.design.trainings import leg
from tenfold.design.vector import DesignVecEnv
from tenfold.design.workshop import Order, workshop

from .toy import Toy

TASK = Toy()
NAME = "tests.design.toy:Toy"
SETTINGS = PolicySettings(designs=4, batch_size=6, n_epochs=3, hidden=(16, 16), elites=1, spread=0.3)
CONFIG = Config(
    tasks=(NAME,),
    methods=("ppo",),
    calls=48,
    evaluations=1,
    replicas=1,
    policy=replace(SETTINGS, cooled=0.25),
    judge=JudgeSettings(finalists=1, tests=1, held_out=1, resamples=100),
)
LARGE, LOW = {"large": 4.0, "low": 0.5}, {"large": 0.25, "low": 8.0}


def environments_of(
    archive: Archive, *, vary: bool = True, goals: dict[str, float] | None = None, designs: int = 4
) -> DesignVecEnv:
    with workshop(TASK) as shop:
        return DesignVecEnv(shop, designs, archive, goals=goals, vary=vary)


def random_archive(count: int = 200) -> Archive:
    random = np.random.default_rng(0)
    orders = [Order(random.uniform(-0.6, 0.6, (3, 3)), TASK.wish().values, number) for number in range(count)]
    archive = Archive(TASK, TASK.wish().wants)
    with workshop(TASK) as shop:
        archive.add(orders, shop.test(orders))
    return archive


def model_of(archive: Archive, settings: PolicySettings = SETTINGS, **options: Any) -> ImitatingPPO:
    model = new_model(environments_of(archive, **options), settings, seed=3)
    model.set_logger(configure(format_strings=[]))
    return model


def inputs(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Observations of first steps and of later ones, and actions."""
    random = np.random.default_rng(1)
    seen = [
        np.concatenate([TASK.space.observe(random.uniform(-1, 1, (number % 3, 3))), TASK.describe(TASK.wish())])
        for number in range(count)
    ]
    return torch.as_tensor(np.stack(seen)), torch.as_tensor(random.uniform(-1, 1, (count, 3)), dtype=torch.float32)


# the distance


def test_the_distance_is_half_the_mean_square_in_standard_deviations() -> None:
    policy = model_of(random_archive(1)).policy
    seen, actions = inputs()
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([0.1, 0.2, 0.4]).log()[:, None].expand(3, 3))
        policy.cooling.fill_(0.5)
        last: Any = policy.action_net
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.3, -0.2, 0.0]))
    step = np.arange(6) % 3
    spread = 0.5 * np.array([0.1, 0.2, 0.4])[step][:, None]
    wanted = (((actions.numpy() - [0.3, -0.2, 0.0]) / spread) ** 2).mean() / 2
    assert float(distance(policy, seen, actions).detach()) == pytest.approx(wanted, rel=1e-5)
    at_means = torch.tensor([[0.3, -0.2, 0.0]]).expand(6, 3)
    assert float(distance(policy, seen, at_means).detach()) == pytest.approx(0, abs=1e-10)


def test_its_gradient_goes_to_the_means_alone() -> None:
    policy = model_of(random_archive(1)).policy
    distance(policy, *inputs()).backward()
    got = {name for name, value in policy.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    assert policy.log_std.grad is None or not policy.log_std.grad.any()
    assert {"action_net.weight", "action_net.bias"} <= got
    assert any(name.startswith("mlp_extractor.policy_net") for name in got)
    assert not any("value" in name for name in got)


def test_imitating_changes_neither_spreads_nor_values() -> None:
    """After PPO's own updates too, whose momentum the optimizer still has."""
    archive = random_archive(4)
    model = model_of(archive)
    model.learn(24)
    for group in model.policy.optimizer.param_groups:  # whose rate has fallen to 0
        group["lr"] = 1e-3
    kept = {name: value.clone() for name, value in model.policy.state_dict().items()}
    for _ in range(3):
        model._imitate()
    changed = {name for name, value in model.policy.state_dict().items() if not torch.equal(value, kept[name])}
    assert "log_std" not in changed
    assert "cooling" not in changed
    assert not any("value" in name for name in changed)
    assert "action_net.weight" in changed


# what is imitated


def away(model: PPO, wish: Wish, aim: Any) -> float:
    return float(np.abs(most_likely_steps(model, TASK, wish) - aim).mean())


def test_the_most_likely_design_moves_to_the_best_for_the_one_wish() -> None:
    archive = random_archive()
    model = model_of(archive, vary=False, goals=LARGE)
    aim, wish = archive.steps[archive.best(LARGE)[0]], TASK.wish(LARGE)
    ends = [away(model, wish, aim)]
    for _ in range(3):
        for _ in range(40):
            model._imitate()
        ends.append(away(model, wish, aim))
    assert ends[1] < ends[0] / 2
    assert ends[-1] < 0.1


def test_of_many_wishes_each_is_led_to_its_own_best() -> None:
    archive = random_archive()
    model = model_of(archive, replace(SETTINGS, batch_size=24, learning_rate=6e-3), designs=8)
    for _ in range(50):
        model._imitate()
    goals = (LARGE, LOW)
    aims = [archive.steps[archive.best(each)[0]] for each in goals]
    assert np.abs(aims[0] - aims[1]).mean() > 0.2
    for number, each in enumerate(goals):
        wish = TASK.wish(each)
        assert away(model, wish, aims[number]) < away(model, wish, aims[1 - number]) / 2


def test_examples_are_all_steps_of_the_best_with_what_was_seen_before_them() -> None:
    archive = random_archive()
    model = model_of(archive, replace(SETTINGS, elites=3), vary=False, goals=LOW)
    seen, actions = model._examples(np.random.default_rng(0))
    assert (tuple(seen.shape), tuple(actions.shape)) == ((9, 12 + 3), (9, 3))
    steps = archive.steps[archive.best(LOW, 3)]
    assert np.array_equal(actions.numpy().reshape(3, 3, 3), steps.astype(np.float32))
    wanted = TASK.describe(TASK.wish(LOW))
    for design in range(3):
        for count in range(3):
            row = seen[3 * design + count].numpy()
            assert np.array_equal(row[:12], TASK.space.observe(steps[design][:count]))
            assert np.array_equal(row[12:], wanted)


def test_fixed_weights_stay_when_wishes_are_drawn() -> None:
    model = model_of(random_archive(4), goals={"large": 0.0, "size_ml": 60.0})
    seen, _ = model._examples(np.random.default_rng(0))
    assert torch.equal(seen[:, 12], torch.full((len(seen),), -1.0))  # the share of no weight
    free = model_of(random_archive(4))._examples(np.random.default_rng(0))[0]
    assert len(free[:, 12].unique()) == 16


# without it


def test_without_imitation_and_cooling_it_is_plain_ppo_bit_for_bit() -> None:
    settings = replace(SETTINGS, imitation=0, cooled=1.0)
    archives = [Archive(TASK, TASK.wish().wants) for _ in range(2)]
    ours = new_model(environments_of(archives[0]), settings, seed=5)
    ours.learn(5 * 12)
    plain = PPO(
        DesignPolicy,
        environments_of(archives[1]),
        n_steps=3,
        batch_size=6,
        n_epochs=3,
        learning_rate=Falling(settings.learning_rate, 1.0),
        gamma=1.0,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip_range,
        ent_coef=settings.ent_coef,
        policy_kwargs={"steps": 3, "spread": 0.3, "net_arch": [16, 16]},
        seed=5,
        device="cpu",
    )
    plain.learn(5 * 12)
    assert np.array_equal(archives[0].steps, archives[1].steps)
    for name, value in plain.policy.state_dict().items():
        assert torch.equal(value, ours.policy.state_dict()[name]), name
    imitating = new_model(environments_of(Archive(TASK, TASK.wish().wants)), replace(settings, imitation=1), seed=5)
    imitating.learn(5 * 12)
    weights = [model.policy.state_dict()["action_net.weight"] for model in (imitating, plain)]
    assert not torch.equal(*weights)


# spreads


def legs(config: Config) -> list[State]:
    state, states = None, []
    for _ in range(config.evaluations):
        state = leg(config, Training(NAME, "ppo", 0), state)
        states.append(state)
    return states


@pytest.mark.parametrize(("calls", "evaluations"), [(48, 1), (48, 3), (48, 5), (46, 4), (7, 7), (1, 1)])
def test_spreads_have_cooled_by_what_was_asked_for_however_it_is_cut(calls: int, evaluations: int) -> None:
    states = legs(replace(CONFIG, calls=calls, evaluations=evaluations))
    for state in states:
        tested = len(state["archive"]["seeds"])
        wanted = 0.25 ** min(1.0, tested / calls)
        assert float(state["model"]["policy"]["cooling"]) == pytest.approx(wanted, rel=1e-5)
    assert float(states[-1]["model"]["policy"]["cooling"]) == pytest.approx(0.25, rel=1e-6)


def test_spreads_cool_evenly_by_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """From update to update, and no gradient changes the factor."""
    cooling: list[float] = []
    train = ImitatingPPO.train

    def kept(self: ImitatingPPO) -> None:
        train(self)
        cooling.append(float(self.policy.cooling))

    monkeypatch.setattr(ImitatingPPO, "train", kept)
    legs(replace(CONFIG, evaluations=2))
    assert cooling == pytest.approx([0.25 ** (update / 12) for update in range(1, 13)], rel=1e-5)


def test_a_policy_draws_with_its_spreads_cooled() -> None:
    policy = model_of(random_archive(1)).policy
    seen, _ = inputs()
    before: Any = policy.get_distribution(seen).distribution
    policy.cooling.fill_(0.25)
    after: Any = policy.get_distribution(seen).distribution
    assert torch.allclose(after.stddev, before.stddev / 4)
    assert torch.equal(after.mean, before.mean)


@pytest.mark.parametrize("evaluations", [1, 3])
def test_every_update_begins_with_the_policy_that_drew_the_designs(
    evaluations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PPO's ratios are 1 at first: cooling and imitating come after the update, and a new leg begins with what it drew itself."""
    worst: list[float] = []
    update = PPO.train

    def checked(self: PPO) -> None:
        buffer: Any = self.rollout_buffer
        seen, actions = (
            torch.as_tensor(rows.reshape(-1, rows.shape[-1])) for rows in (buffer.observations, buffer.actions)
        )
        _, log_prob, _ = self.policy.evaluate_actions(seen, actions)
        worst.append(float((log_prob.detach() - torch.as_tensor(buffer.log_probs.reshape(-1))).abs().max()))
        update(self)

    monkeypatch.setattr(PPO, "train", checked)
    legs(replace(CONFIG, evaluations=evaluations))
    assert len(worst) == 12
    assert max(worst) < 1e-4
