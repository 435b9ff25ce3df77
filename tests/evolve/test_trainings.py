"""A leg is a pure function: the same state in gives the same state out, wherever and whenever it is computed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.errors import UsageError
from tenfold.evolve.config import (
    Config,
    GeneticSettings,
    LearnerSettings,
    MethodName,
    MetricSettings,
    RivalSettings,
    TrainSettings,
)

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from stable_baselines3 import A2C, PPO
from stable_baselines3.common.utils import LinearSchedule

from tenfold.core.legs import State
from tenfold.core.rl_environments import make_environments
from tenfold.core.rl_training import Training, seed_of
from tenfold.evolve.algorithms import G2A2C, G2PPO
from tenfold.evolve.trainings import build, evaluate, leg, load_model, trainings_of

TINY = Config(
    envs=("CartPole-v1",),
    methods=("genetic", "plain"),
    population=4,
    genetics=GeneticSettings(elite_share=0.2, phase_steps=0),
    learner=LearnerSettings(n_envs=4, n_steps=16, batch_size=32, n_epochs=2, learning_rate=3e-4, hidden=(16, 16)),
    train=TrainSettings(timesteps=768, replicas=2, evaluations=3),
    metrics=MetricSettings(episodes=2, resamples=100),
    rivals=RivalSettings(members=4, parents=2),
)
NORMALIZED = replace(TINY, envs=("Pendulum-v1",), learner=replace(TINY.learner, normalize=True))
KINDS: dict[str, tuple[Config, Training]] = {
    **{method: (TINY, Training("CartPole-v1", method, 0)) for method in get_args(MethodName)},
    "genetic A2C": (
        replace(TINY, learner=replace(TINY.learner, algorithm="a2c", schedule="linear")),
        Training("CartPole-v1", "genetic", 1),
    ),
    "normalized": (NORMALIZED, Training("Pendulum-v1", "genetic", 0)),
}


def same(ours: Any, theirs: Any) -> bool:
    """Equal to the last bit, apart from the time that it took; NaN is equal to itself."""
    if isinstance(ours, dict):
        names = set(ours) - {"seconds"}
        return names == set(theirs) - {"seconds"} and all(same(ours[name], theirs[name]) for name in names)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and same(ours.numpy(), theirs.numpy())
    if ours is None or isinstance(ours, str):
        return bool(ours == theirs)
    return np.array_equal(ours, theirs, equal_nan=np.asarray(ours).dtype.kind == "f")


@cache
def _chain(kind: str) -> tuple[State, ...]:
    config, training = KINDS[kind]
    states: list[State] = []
    for _ in range(config.train.evaluations):
        states.append(leg(config, training, copy.deepcopy(states[-1]) if states else None))
    return tuple(states)


def chain(kind: str) -> list[State]:
    """The states after each leg, computed once; whoever gets them may change them."""
    return copy.deepcopy(list(_chain(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_state_leads_to_the_same_state(kind: str) -> None:
    config, training = KINDS[kind]
    states = chain(kind)
    torch.manual_seed(99)  # whatever was drawn before
    np.random.seed(99)  # noqa: NPY002
    assert same(leg(config, training, None), states[0])
    changed = "members" if kind == "weights" else "policy"  # the best of evolved members may stay the best
    assert not same(states[0][changed], states[1][changed])


@pytest.mark.parametrize("kind", KINDS)
def test_a_leg_leaves_the_state_that_it_is_given(kind: str) -> None:
    config, training = KINDS[kind]
    given = chain(kind)[0]
    kept = copy.deepcopy(given)
    leg(config, training, given)
    assert same(given, kept)


@pytest.mark.parametrize("kind", KINDS)
def test_legs_with_a_checkpoint_between_them_are_those_without(kind: str, tmp_path: Path) -> None:
    config, training = KINDS[kind]
    states = chain(kind)
    save_state(tmp_path, states[0])
    assert same(load_state(tmp_path), states[0])
    second = leg(config, training, load_state(tmp_path))
    assert same(second, states[1])
    save_state(tmp_path, second)
    assert same(leg(config, training, load_state(tmp_path)), states[2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_says_how_far_it_is(kind: str) -> None:
    config, _ = KINDS[kind]
    states = chain(kind)
    for number, state in enumerate(states, 1):
        assert state["leg"] == len(state["curve"]) == number
        assert state["curve"][:-1] == (states[number - 2]["curve"] if number > 1 else [])
        assert state["curve"][-1][0] == state["steps"]
        assert state["steps"] >= config.train.timesteps * number / config.train.evaluations
        if kind != "weights":
            assert state["steps"] == config.train.timesteps * number / config.train.evaluations
    assert 0 < states[0]["seconds"] < states[1]["seconds"] < states[2]["seconds"]


@pytest.mark.parametrize("kind", ["plain", "normalized"])
def test_what_the_optimizer_and_the_statistics_have_seen_adds_up_over_legs(kind: str) -> None:
    for number, state in enumerate(chain(kind), 1):
        updates = state["updates"] * 2  # batches of a rollout
        assert {float(each["step"]) for each in state["optimizer"]["state"].values()} == {updates}
        assert updates == number * 4 * 2 * 2
        if kind == "normalized":
            assert state["normalizer"]["observations"]["count"] == pytest.approx(state["steps"] + 4 * number, abs=0.01)


def test_every_leg_has_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is drawn, whatever building and loading have drawn, and of its environments."""
    found: list[tuple[int, list[int]]] = []
    collect = PPO.collect_rollouts

    def watched(model: PPO, env: Any, *arguments: Any, **options: Any) -> bool:
        found.append((torch.initial_seed(), [each.unwrapped.np_random_seed for each in env.envs]))
        return collect(model, env, *arguments, **options)

    monkeypatch.setattr(PPO, "collect_rollouts", watched)
    config, training = KINDS["plain"]
    states = chain("plain")
    for number, before in enumerate([None, *states[:-1]]):
        leg(config, training, before)
        seed = seed_of(config.seed, training, "leg", number)
        assert found[4 * number] == (seed, [seed, seed + 1, seed + 2, seed + 3])
    assert len({seed for seed, _ in found}) == 3
    evaluate(config, training, states[0])
    assert torch.initial_seed() == seed_of(config.seed, training, "evaluation")


def test_an_evaluation_sees_observations_by_the_statistics_of_the_training() -> None:
    config, training = KINDS["normalized"]
    state = chain("normalized")[-1]
    returns = evaluate(config, training, state)
    state["normalizer"]["observations"]["mean"] = state["normalizer"]["observations"]["mean"] + 3
    assert evaluate(config, training, state) != returns


def test_a_generation_goes_on_over_legs() -> None:
    states = chain("genetic")
    assert [state["roster"]["steps"] for state in states] == [state["steps"] for state in states]
    last = states[-1]["history"]
    assert len(last) >= 2
    assert last[-1]["generation"] == len(last) == int(states[-1]["policy"]["gate.generation"])
    assert same(last[: len(states[1]["history"])], states[1]["history"])
    assert all(state["roster"] is None and state["history"] == [] for state in chain("plain") + chain("weights"))


def test_random_gates_are_not_bred() -> None:
    bred, drawn = chain("genetic")[-1], chain("random")[-1]
    assert same(bred["history"][0], drawn["history"][0])  # up to the first generation they are the same
    assert bred["history"][1]["diversity"] != drawn["history"][1]["diversity"]


@pytest.mark.parametrize(("steps", "evaluations"), [(256, 2), (400, 3)])
def test_the_schedule_over_legs_is_that_over_one_training(
    steps: int, evaluations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    train = PPO.train

    def watched(model: PPO) -> None:
        train(model)
        rates.append(model.policy.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(PPO, "train", watched)
    linear = replace(TINY.learner, schedule="linear", n_epochs=1)
    config = replace(TINY, learner=linear, train=TrainSettings(timesteps=steps, evaluations=evaluations))
    state: State | None = None
    for _ in range(evaluations):
        state = leg(config, Training("CartPole-v1", "plain", 0), state)
    ours, rates = rates, []
    environments = make_environments("CartPole-v1", 4, seed=0, training=True)
    PPO("MlpPolicy", environments, learning_rate=LinearSchedule(3e-4, 0, 1), n_steps=16, batch_size=32).learn(steps)
    assert len(ours) == -(-steps // 64)
    assert ours == pytest.approx(rates, abs=1e-12)
    assert ours[-1] >= 0


@pytest.mark.parametrize("method", ["genetic", "random", "weights"])
def test_the_same_replica_of_two_methods_begins_with_equal_weights(method: MethodName) -> None:
    """What changes nothing shows where a training began."""
    still = replace(
        TINY,
        learner=replace(TINY.learner, learning_rate=1e-30),
        train=TrainSettings(timesteps=64, evaluations=1),
        rivals=replace(TINY.rivals, noise=1e-30),
    )

    def actor(method: MethodName, replica: int) -> dict[str, torch.Tensor]:
        policy = leg(still, Training("CartPole-v1", method, replica), None)["policy"]
        return {name: value for name, value in policy.items() if "policy_net" in name or "action_net" in name}

    plain = actor("plain", 0)
    assert len(plain) == 6
    for name, value in actor(method, 0).items():
        torch.testing.assert_close(value, plain[name], rtol=0, atol=1e-20)
    assert not same(actor(method, 1)["action_net.weight"], plain["action_net.weight"])


@pytest.mark.parametrize("kind", ["genetic", "plain", "weights", "normalized"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_an_evaluation_repeats(kind: str, deterministic: bool) -> None:
    config, training = KINDS[kind]
    config = replace(config, metrics=replace(config.metrics, deterministic=deterministic))
    state = chain(kind)[-1]
    kept = copy.deepcopy(state)
    returns = evaluate(config, training, state)
    torch.manual_seed(5)
    assert evaluate(config, training, state) == returns
    assert same(state, kept)
    assert len(returns) == 2
    assert (float(np.mean(returns)) == state["curve"][-1][1]) == deterministic
    assert len(evaluate(config, training, state, episodes=12)) == 12


def test_every_training_is_evaluated_on_its_own_episodes() -> None:
    config, training = KINDS["plain"]
    state = chain("plain")[-1]
    assert evaluate(config, training, state) != evaluate(config, replace(training, replica=1), state)
    assert evaluate(config, training, state) == evaluate(config, replace(training, method="weights"), state)
    assert evaluate(config, training, state) != evaluate(replace(config, seed=1), training, state)


def test_an_evaluation_plays_the_elite_or_the_vote() -> None:
    """Against episodes played here, with a population whose elite is not of the majority."""
    import gymnasium

    config, training = KINDS["genetic"]
    state = chain("genetic")[-1]
    genes = state["policy"]["gate.chromosomes"]
    genes[:] = 0
    genes[:, :8] = 1
    genes[int(state["policy"]["gate.elite"])] = 1 - genes[int(state["policy"]["gate.elite"])]
    environments = make_environments("CartPole-v1", 1, seed=0, training=False)
    model = load_model(config, training, state, environments)
    assert isinstance(model, G2PPO)
    found = []
    for vote in (False, True):
        game = gymnasium.make("CartPole-v1")
        observation, _ = game.reset(seed=seed_of(config.seed, training, "evaluation"))
        worth, over = 0.0, False
        while not over:
            action, _ = model.predict(observation, deterministic=True, vote="population" if vote else "elite")
            observation, reward, ended, stopped, _ = game.step(int(action))
            worth, over = worth + float(reward), ended or stopped
        assert evaluate(config, training, state, episodes=1, vote=vote) == [worth]
        found.append(worth)
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("method", "ppo", "a2c"), [("plain", PPO, A2C), ("genetic", G2PPO, G2A2C), ("random", G2PPO, G2A2C)]
)
def test_the_algorithm_is_as_the_settings_say(method: MethodName, ppo: type, a2c: type) -> None:
    environments = make_environments("CartPole-v1", 2, seed=0, training=True)
    learner = LearnerSettings(
        n_envs=2, n_steps=6, batch_size=4, n_epochs=3, gamma=0.9, gae_lambda=0.8, ent_coef=0.1, vf_coef=0.7, hidden=(5,)
    )
    learner = replace(learner, clip_range=0.3, learning_rate=2e-3)
    training = Training("CartPole-v1", method, 0)
    for algorithm, kind in (("ppo", ppo), ("a2c", a2c)):
        config = replace(TINY, learner=replace(learner, algorithm=algorithm))
        model: Any = build(config, training, environments, seed=3, share=1.0)
        assert type(model) is kind
        for name in ("n_steps", "gamma", "gae_lambda", "ent_coef", "vf_coef", "learning_rate"):
            assert getattr(model, name) == getattr(learner, name), name
        assert model.policy.action_net.in_features == 5
        if algorithm == "ppo":
            assert (model.batch_size, model.n_epochs, model.clip_range(0)) == (4, 3, 0.3)
        if method != "plain":
            assert len(model.gate) == 4
            wanted = replace(TINY.genetics, selection="random") if method == "random" else TINY.genetics
            assert model.genetics == wanted


def test_trainings_are_in_the_order_of_the_settings() -> None:
    config = replace(TINY, envs=("b:B-v0", "ALE/A-v5"))
    assert [(each.row, each.replica) for each in trainings_of(config)] == [
        (f"{env} {method}", replica)  # a slash would part the row from its column
        for env in ("b:B-v0", "ALE-A-v5")
        for method in ("genetic", "plain")
        for replica in (0, 1)
    ]


@pytest.mark.parametrize("method", ["plain", "weights"])
@pytest.mark.parametrize("env", ["Blackjack-v1", "FrozenLake-v1"])
def test_environments_that_do_not_suit_the_method_are_refused(env: str, method: MethodName) -> None:
    """Pairs of numbers are no rows for a network, and a place on a map has no mean to be centred by."""
    config = replace(TINY, envs=(env,), learner=replace(TINY.learner, normalize=env == "FrozenLake-v1"))
    play: Callable[[], State] = lambda: leg(config, Training(env, method, 0), None)  # noqa: E731
    if env == "FrozenLake-v1" and method == "weights":  # whose observations are not normalized
        assert play()["leg"] == 1
        return
    with pytest.raises(UsageError, match=env):
        play()
