"""Genetic-gated PPO and A2C: the plain algorithms where nothing is gated, and else who acts, is judged, bred, and saved."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

import gymnasium as gym
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from tenfold.core.errors import UsageError
from tenfold.evolve import G2A2C, G2PPO, GeneticSettings
from tenfold.evolve.algorithms import GeneticGated

from .worlds import Recorder, World, monitored, worlds

MIXED = GeneticSettings(elite_share=0.4, start_open=0.6, mutation_rate=0.1)
SHORT = {"n_steps": 16, "batch_size": 32, "n_epochs": 2}


def little(env: Any, *, seed: int | None = 0, genetics: GeneticSettings = MIXED, **given: Any) -> G2PPO:
    return G2PPO("MlpPolicy", env, seed=seed, genetics=genetics, device="cpu", **(SHORT | {"population": 4} | given))


def state_of(model: OnPolicyAlgorithm) -> dict[str, Any]:
    """Weights and the optimizer's state, and nothing of the gate."""
    state: dict[str, Any] = {
        name: value for name, value in model.policy.state_dict().items() if not name.startswith("gate.")
    }
    for number, moments in model.policy.optimizer.state_dict()["state"].items():
        state |= {f"optimizer {number} {name}": torch.as_tensor(value) for name, value in moments.items()}
    return state


def assert_same_state(first: OnPolicyAlgorithm, second: OnPolicyAlgorithm) -> None:
    one, other = state_of(first), state_of(second)
    assert one.keys() == other.keys()
    assert any(name.startswith("optimizer") for name in one)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


# the plain algorithm

PLAIN = {
    "one member": {"population": 1},
    "only the elite": {"population": 8, "genetics": GeneticSettings(elite_share=1.0, start_all_open=True)},
}


@pytest.mark.parametrize("settings", PLAIN)
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "Pendulum-v1 sde", "Pendulum-v1 normalized"])
@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_without_generations_it_is_the_plain_algorithm(algorithm: str, env: str, settings: str) -> None:
    plain, genetic = {"ppo": (PPO, G2PPO), "a2c": (A2C, G2A2C)}[algorithm]
    given: dict[str, Any] = {"seed": 3, "device": "cpu", "use_sde": env.endswith("sde")}
    given |= {"n_steps": 32, "batch_size": 48, "n_epochs": 2} if algorithm == "ppo" else {}

    def trained(kind: Any, **more: Any) -> tuple[OnPolicyAlgorithm, np.ndarray]:
        several: Any = monitored(env.split()[0], 3)
        if env.endswith("normalized"):
            several = VecNormalize(several)
        model = kind("MlpPolicy", several, **given, **more).learn(288)
        return model, torch.randn(3).numpy()

    (expected, drawn), (found, drawn_too) = trained(plain), trained(genetic, **PLAIN[settings])
    assert_same_state(found, expected)
    assert (drawn == drawn_too).all()
    assert found.history == []


def test_without_generations_no_monitor_is_needed() -> None:
    little(DummyVecEnv([World]), population=1).learn(16)
    little(DummyVecEnv([World]), genetics=GeneticSettings(elite_share=1.0)).learn(16)


# who acts, and what it is worth


def recorded(
    environments: int, *, total: int = 2000, lives: bool = False, kind: type[GeneticGated] = G2PPO, **changes: Any
) -> tuple[GeneticGated, Recorder]:
    genetics = GeneticSettings(**({"elite_share": 0.4, "start_open": 0.6, "mutation_rate": 0.1} | changes))
    size = {"n_steps": 16} | ({"batch_size": 256, "n_epochs": 1} if kind is G2PPO else {})
    given: dict[str, Any] = {"population": 4, "genetics": genetics, "seed": 1, "device": "cpu"}
    model = kind("MlpPolicy", worlds(environments, lives=lives), **given, **size)
    watch = Recorder()
    model.learn(total, callback=watch)
    return model, watch


@pytest.mark.parametrize("kind", [G2PPO, G2A2C])
@pytest.mark.parametrize("lives", [False, True])
def test_genes_change_hands_only_where_a_monitor_sees_an_end(lives: bool, kind: type[GeneticGated]) -> None:
    _, watch = recorded(5, lives=lives, kind=kind)
    episodes = list(watch.episodes())
    for episode in episodes:
        assert all((step.genes[episode.place] == episode.genes).all() for step in episode.steps)
    assert len({tuple(episode.genes) for episode in episodes}) > 6
    between = [step.dones[e.place] for e in episodes for step in e.steps[: -1 if e.finished else None]]
    assert any(between) == lives


@pytest.mark.parametrize(("environments", "each"), [(3, 1), (3, 3), (6, 1), (9, 1)])
@pytest.mark.parametrize("lives", [False, True])
def test_fitness_is_the_mean_return_of_whole_episodes(environments: int, each: int, lives: bool) -> None:
    model, watch = recorded(environments, total=3000, episodes=each, lives=lives)
    each = max(each, -(-environments // 4))
    assert len(watch.fitness) > 3
    counted = 0
    for generation, fitness in watch.fitness.items():
        genes, elite = watch.chromosomes[generation], watch.elites[generation]
        own = [e for e in watch.episodes() if e.steps[0].generation == generation and e.steps[0].populating]
        if generation == 0:
            assert len({tuple(row) for row in genes}) == 4
        for member in range(4):
            alike = [other for other in range(4) if (genes[other] == genes[member]).all()]
            if len(alike) > 1:
                continue
            played = [e for e in own if (e.genes == genes[member]).all()]
            # environments left over are the elite's, and come last
            assert len(played) >= each if member == elite else len(played) == each
            assert all(e.finished and e.within_a_phase for e in played[:each])
            assert fitness[member] == pytest.approx(np.mean([e.total for e in played[:each]]), rel=1e-12)
            counted += 1
    assert counted > 8
    assert [line["best fitness"] for line in model.history] == [found.max() for found in watch.fitness.values()]


def test_the_elite_acts_in_the_elite_phase_and_where_no_member_is_left() -> None:
    model, watch = recorded(3)
    begun_in_elite_phase, left_over = 0, 0
    for episode in watch.episodes():
        first = episode.steps[0]
        genes, elite = watch.chromosomes[first.generation], watch.elites[first.generation]
        if not first.populating:
            assert (episode.genes == genes[elite]).all()
            begun_in_elite_phase += 1
        left_over += first.populating and bool((episode.genes == genes[elite]).all())
    assert begun_in_elite_phase > 10
    assert left_over > len(model.history)


def test_the_elite_is_never_lost() -> None:
    _, watch = recorded(4, total=3000)
    for generation, fitness in watch.fitness.items():
        if generation + 1 in watch.chromosomes:
            best = watch.chromosomes[generation][fitness.argmax()]
            assert (watch.chromosomes[generation + 1][watch.elites[generation + 1]] == best).all()
    assert len(watch.fitness) > 4


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_the_elite_has_its_share_of_all_steps(share: float) -> None:
    _, watch = recorded(4, total=6000, elite_share=share)
    assert np.mean([not step.populating for step in watch.steps]) == pytest.approx(share, abs=0.04)


# the record

PROMISED = ["best fitness", "mean fitness", "worst fitness", "fitness spread", "old elite fitness", "diversity"]


def test_history_has_a_line_per_generation_and_the_logger_too() -> None:
    model, watch = recorded(4)
    assert [line["generation"] for line in model.history] == list(range(1, len(model.history) + 1))
    assert len(model.history) == int(model.gate.generation) == len(watch.fitness) > 3
    steps = [line["steps"] for line in model.history]
    assert steps == sorted(set(steps))
    for line, (generation, fitness) in zip(model.history, watch.fitness.items(), strict=True):
        assert all(isinstance(value, float) for value in line.values())
        assert np.isfinite([line[name] for name in (*PROMISED, "elite changed", "open genes of elite")]).all()
        assert line["worst fitness"] == fitness.min()
        assert line["mean fitness"] == pytest.approx(fitness.mean())
        assert line["fitness spread"] == pytest.approx(fitness.std())
        elite, genes = watch.elites[generation], watch.chromosomes[generation]
        assert line["old elite fitness"] == fitness[elite]
        assert line["elite changed"] == (fitness.max() > fitness[elite])
        pairs = [(genes[one] != genes[two]).mean() for one in range(4) for two in range(one)]
        assert line["diversity"] == pytest.approx(np.mean(pairs))
        assert line["open genes of elite"] == pytest.approx(genes[fitness.argmax()].mean())
    logged = model.logger.name_to_value
    assert {f"evolve/{name.replace(' ', '_')}" for name in PROMISED} <= set(logged)
    assert logged["evolve/best_fitness"] == model.history[-1]["best fitness"]


def test_history_compares_the_elites_first_and_last_episodes() -> None:
    model, watch = recorded(4)
    compared = 0
    for line in model.history:
        own = [e for e in watch.episodes() if e.steps[0].generation == line["generation"] - 1 and e.finished]
        own = [e for e in own if e.within_a_phase and not e.steps[0].populating]
        own.sort(key=lambda e: (watch.steps.index(e.steps[-1]), e.place))
        half = len(own) // 2
        if half:
            returns = [e.total for e in own]
            assert line["elite return at first"] == pytest.approx(np.mean(returns[:half]))
            assert line["elite return at last"] == pytest.approx(np.mean(returns[-half:]))
            compared += 1
    assert compared > 3


# files


def same_generation(first: GeneticGated, second: GeneticGated) -> None:
    for name, value in first.policy.state_dict().items():
        assert torch.equal(value.nan_to_num(), second.policy.state_dict()[name].nan_to_num()), name
    assert np.array_equal([*first.history], [*second.history])
    assert first.roster is not None
    assert second.roster is not None
    assert first.roster.state() == second.roster.state()


def in_the_middle(kind: type[GeneticGated] = G2PPO, **given: Any) -> GeneticGated:
    """A model stopped in a population phase in which some episodes are counted and some are not."""
    size = SHORT if kind is G2PPO else {"n_steps": 16}
    given = {"population": 6, "seed": 5, "device": "cpu", "genetics": GeneticSettings(episodes=12)} | given
    model = kind("MlpPolicy", worlds(3), **size, **given)
    for _ in range(100):
        model.learn(48, reset_num_timesteps=False)
        assert model.roster is not None
        if len(model.history) > 1 and sum(map(len, model.roster.returns)) > 20:
            return model
    raise AssertionError("there was no such moment")


@pytest.mark.parametrize("kind", [G2PPO, G2A2C])
def test_save_and_load_go_on_with_the_same_generation(kind: type[GeneticGated], tmp_path: Path) -> None:
    model = in_the_middle(kind)
    model.save(tmp_path / "model")
    copies = [kind.load(tmp_path / "model", env=worlds(3), device="cpu") for _ in range(2)]
    for each in copies:
        same_generation(model, each)
        assert_same_state(model, each)
    assert model.roster is not None
    before = [list(returns) for returns in model.roster.returns]
    lines = len(model.history)
    for each in copies:
        each.set_random_seed(2)
        each.learn(48, reset_num_timesteps=False)
        assert each.roster is not None
        if len(each.history) == lines:
            assert all(new[: len(old)] == old for new, old in zip(each.roster.returns, before, strict=True))
        each.learn(960, reset_num_timesteps=False)
        assert len(each.history) > lines
        assert [line["generation"] for line in each.history] == list(range(1, len(each.history) + 1))
    same_generation(*copies)
    obs = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    again = kind.load(tmp_path / "model", device="cpu")
    assert (again.predict(obs, deterministic=True)[0] == model.predict(obs, deterministic=True)[0]).all()


@pytest.mark.parametrize("environments", [1, 2, 9])
def test_a_saved_model_goes_on_with_other_environments(environments: int, tmp_path: Path) -> None:
    model = in_the_middle()
    model.save(tmp_path / "model")
    other = G2PPO.load(tmp_path / "model", env=worlds(environments), device="cpu")
    counted = [list(returns) for returns in model.roster.returns] if model.roster else []
    generation = len(model.history)
    watch = Recorder()
    other.learn(16 * environments, callback=watch, reset_num_timesteps=False)
    assert other.roster is not None
    assert watch.steps[0].populating
    if len(other.history) == generation:
        assert all(new[: len(old)] == old for new, old in zip(other.roster.returns, counted, strict=True))
    other.learn(2000, reset_num_timesteps=False)
    assert len(other.history) > generation + 1


def test_a_checkpoint_in_the_middle_of_a_rollout_is_the_elite(tmp_path: Path) -> None:
    model = little(worlds(3))
    model.policy.action_net.weight.data *= 300
    model.learn(480, callback=CheckpointCallback(69, str(tmp_path), verbose=0))
    for path in tmp_path.glob("*.zip"):
        loaded = G2PPO.load(path, env=worlds(3), device="cpu")
        obs = np.random.default_rng(0).uniform(-1, 1, (20, 3)).astype(np.float32)
        expected = loaded.predict(obs, deterministic=True)[0]
        plain = PPO("MlpPolicy", worlds(3), device="cpu")
        plain.policy.load_state_dict(loaded.policy.extract())
        assert (plain.predict(obs, deterministic=True)[0] == expected).all()
        loaded.learn(96, reset_num_timesteps=False)


def test_set_env_begins_new_episodes_of_the_same_generation() -> None:
    model = in_the_middle()
    roster = model.roster
    assert roster is not None
    returns = [list(each) for each in roster.returns]
    model.set_env(worlds(3))
    watch = Recorder()
    model.learn(48, callback=watch, reset_num_timesteps=False)
    assert model.roster is roster
    assert roster.steps % 48 == 0
    begun = [e for e in watch.episodes() if e.finished]
    assert begun[0].steps[0] is watch.steps[0]
    if roster.populating:
        assert all(new[: len(old)] == old for new, old in zip(roster.returns, returns, strict=True))


def test_learning_twice_is_learning_once() -> None:
    """Phases go on where they were: two calls without a reset are one call."""
    once, twice = little(worlds(3)), little(worlds(3))
    once.learn(960)
    twice.learn(480)
    assert twice.roster is not None
    assert twice.roster.steps == 480
    twice.learn(480, reset_num_timesteps=False)
    same_generation(once, twice)
    assert_same_state(once, twice)
    assert twice.num_timesteps == 960


def test_restarted_episodes_count_for_nothing_and_are_played_again() -> None:
    model = in_the_middle()
    roster = model.roster
    assert roster is not None
    held, returns = roster.member.copy(), [list(each) for each in roster.returns]
    assert (held >= 0).any()
    model.restart_episodes()
    assert [list(each) for each in roster.returns] == returns
    watch = Recorder()
    model.learn(960, callback=watch, reset_num_timesteps=False)
    assert all(np.isfinite(found).all() for found in watch.fitness.values())
    assert len(watch.fitness) > 0


# predictions in the middle of training


class Asks(BaseCallback):
    """In every step: what the model answers, and what the elite should."""

    def _on_step(self) -> bool:
        model = self.model
        assert isinstance(model, GeneticGated)
        obs = np.random.default_rng(self.n_calls).uniform(-1, 1, (6, 3)).astype(np.float32)
        with torch.no_grad():
            latent = model.policy.mlp_extractor.forward_actor(torch.from_numpy(obs))
            expected = model.policy.action_net(latent * model.gate.elite_genes).argmax(1).numpy()
        assert (model.predict(obs, deterministic=True)[0] == expected).all()
        assert model.predict(obs[0], deterministic=True)[0] == expected[0]
        assert model.predict(obs, vote="population")[0].shape == (6,)
        return True


def test_predict_is_the_elites_in_the_middle_of_training() -> None:
    model = little(worlds(3), genetics=GeneticSettings(elite_share=0.2, start_all_open=False, start_open=0.5))
    model.policy.action_net.weight.data *= 300
    judge = EvalCallback(worlds(2), n_eval_episodes=3, eval_freq=50, verbose=0)
    model.learn(700, callback=[Asks(), judge])
    assert len(model.history) > 0
    assert np.isfinite(judge.last_mean_reward)


# what is refused


def test_a_missing_monitor_is_refused() -> None:
    with pytest.raises(UsageError, match="Monitor"):
        little(DummyVecEnv([World] * 2)).learn(16)
    little(VecMonitor(DummyVecEnv([World] * 2))).learn(64)


def test_every_environment_needs_its_monitor() -> None:
    one_without = DummyVecEnv([World, *worlds(1).env_fns] if hasattr(DummyVecEnv, "env_fns") else [World, with_monitor])
    with pytest.raises(UsageError, match="Monitor"):
        little(one_without).learn(16)


def with_monitor() -> gym.Env[Any, Any]:
    return worlds(1).envs[0]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="population"):
        little(worlds(1), population=0)
    with pytest.raises(UsageError, match="hidden layer"):
        little(worlds(1), policy_kwargs={"net_arch": {"pi": [], "vf": [8]}})
    with pytest.raises(UsageError, match="vote"):
        little(worlds(1)).predict(np.zeros(3, np.float32), vote="majority")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown"):
        G2PPO("NoPolicy", worlds(1))


# seeds


def numbers_of(seed: int | None) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    model = little(worlds(3), seed=seed)
    chromosomes = model.gate.chromosomes.clone()
    model.learn(480)
    return chromosomes, model.policy.action_net.weight.detach(), [line["best fitness"] for line in model.history]


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_gives_the_same_numbers(seed: int) -> None:
    one, same, other = numbers_of(seed), numbers_of(seed), numbers_of(seed + 1)
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1], same[1])
    assert one[2] == same[2] != []
    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


def test_without_a_seed_every_population_is_another() -> None:
    one, other = numbers_of(None), numbers_of(None)
    assert not torch.equal(one[0], other[0])


def test_the_genetic_part_draws_nothing_from_global_generators() -> None:
    def states() -> tuple[Any, ...]:
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    PPO("MlpPolicy", worlds(2), seed=0, device="cpu")
    expected = states()
    model = little(worlds(2))
    assert states() == expected
    model.gate.evolve([1.0, 2.0, 3.0, 4.0])
    model.predict(np.zeros(3, np.float32), deterministic=True)
    model.predict(np.zeros(3, np.float32), vote="population")
    assert states() == expected


# learning


@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns(seed: int) -> None:
    given: dict[str, Any] = {"n_steps": 64, "batch_size": 256, "n_epochs": 10, "learning_rate": 1e-3}
    model = little(monitored("CartPole-v1", 8), seed=seed, population=8, genetics=GeneticSettings(), **given)
    model.learn(10_000)
    mean, _ = evaluate_policy(model, monitored("CartPole-v1", 8), n_eval_episodes=8)
    assert mean > 80  # at random it is about 22
    assert len(model.history) > 1
