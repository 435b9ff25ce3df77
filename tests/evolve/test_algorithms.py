"""Genetic-gated PPO and A2C: the plain algorithms where nothing is gated, and else who acts, is judged, bred, and saved."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from tenfold.core.errors import UsageError
from tenfold.evolve import G2A2C, G2PPO, GeneticSettings
from tenfold.evolve.algorithms import GeneticGated

from ..core.rl_worlds import World, monitored, worlds
from .worlds import Recorder, assert_same_state

MIXED = GeneticSettings(elite_share=0.4, phase_steps=0, start_open=0.6, mutation_rate=0.1)
SHORT = {"n_steps": 16, "batch_size": 48, "n_epochs": 1}


def little(env: Any, *, seed: int | None = 0, genetics: GeneticSettings = MIXED, **given: Any) -> G2PPO:
    given = SHORT | {"population": 4, "batch_size": 16 * env.num_envs} | given
    return G2PPO("MlpPolicy", env, seed=seed, genetics=genetics, device="cpu", **given)


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
    given |= {"n_steps": 16, "batch_size": 24, "n_epochs": 2} if algorithm == "ppo" else {}

    def trained(kind: Any, **more: Any) -> tuple[OnPolicyAlgorithm, np.ndarray]:
        several: Any = monitored(env.split()[0], 3)
        if env.endswith("normalized"):
            several = VecNormalize(several)
        model = kind("MlpPolicy", several, **given, **more).learn(96)
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
    environments: int,
    *,
    total: int | None = None,
    lives: bool = False,
    kind: type[GeneticGated] = G2PPO,
    n_steps: int = 16,
    **changes: Any,
) -> tuple[GeneticGated, Recorder]:
    genetics = GeneticSettings(
        **({"elite_share": 0.4, "phase_steps": 0, "start_open": 0.6, "mutation_rate": 0.1} | changes)
    )
    given: dict[str, Any] = {"population": 4, "genetics": genetics, "seed": 1, "device": "cpu", "n_steps": n_steps}
    given |= {"batch_size": n_steps * environments, "n_epochs": 1} if kind is G2PPO else {}
    model, watch = kind("MlpPolicy", worlds(environments, lives=lives), **given), Recorder()
    model.learn(total or 300 * environments, callback=watch, log_interval=None)
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


@pytest.mark.parametrize(
    ("environments", "episodes", "lives", "phase_steps"),
    [(3, 1, False, 0), (3, 3, True, 0), (6, 1, True, 0), (9, 1, False, 0), (3, 1, False, 150), (1, 1, False, 60)],
)
def test_fitness_is_the_mean_return_of_whole_episodes(
    environments: int, episodes: int, lives: bool, phase_steps: int
) -> None:
    """All members play equally many: as many as asked for, or until the phase is long enough."""
    model, watch = recorded(environments, episodes=episodes, lives=lives, phase_steps=phase_steps)
    assert len(watch.fitness) > 1
    counted, all_episodes = 0, watch.episodes()
    for generation, fitness in watch.fitness.items():
        genes, elite = watch.chromosomes[generation], watch.elites[generation]
        own = [e for e in all_episodes if e.born.generation == generation and e.born.populating]
        phase = [step for step in watch.steps if step.generation == generation and step.populating]
        assert len(phase) * environments >= phase_steps
        alone = [member for member in range(4) if sum((other == genes[member]).all() for other in genes) == 1]
        played = {member: [e for e in own if (e.genes == genes[member]).all()] for member in alone}
        each = min(map(len, played.values()), default=0)
        assert phase_steps or not alone or each == max(episodes, -(-environments // 4))
        for member, of_member in played.items():
            # environments left over are the elite's, and come last
            assert len(of_member) == each or (member == elite and len(of_member) > each)
            assert all(e.finished and e.within_a_phase for e in of_member[:each])
            assert fitness[member] == pytest.approx(np.mean([e.total for e in of_member[:each]]), rel=1e-12)
            counted += 1
    assert counted > 6
    assert [line["best fitness"] for line in model.history] == [found.max() for found in watch.fitness.values()]


def test_the_elite_acts_in_the_elite_phase_and_where_no_member_is_left() -> None:
    model, watch = recorded(3)
    begun_in_elite_phase, left_over = 0, 0
    for episode in watch.episodes():
        born = episode.born
        of_the_elite = bool((episode.genes == watch.chromosomes[born.generation][watch.elites[born.generation]]).all())
        assert of_the_elite or born.populating
        begun_in_elite_phase += not born.populating
        left_over += of_the_elite and born.populating
    assert begun_in_elite_phase > 10
    assert left_over > len(model.history)


def test_the_elite_is_never_lost() -> None:
    _, watch = recorded(4)
    for generation, fitness in watch.fitness.items():
        if generation + 1 in watch.chromosomes:
            best = watch.chromosomes[generation][fitness.argmax()]
            assert (watch.chromosomes[generation + 1][watch.elites[generation + 1]] == best).all()
    assert len(watch.fitness) > 4


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_the_elite_has_its_share_of_all_steps(share: float) -> None:
    _, watch = recorded(3, total=1200, kind=G2A2C, elite_share=share, episodes=4, n_steps=8)
    assert np.mean([not step.populating for step in watch.steps]) == pytest.approx(share, abs=0.09)


def test_with_a_share_of_nothing_the_elite_never_acts_alone() -> None:
    _, watch = recorded(3, kind=G2A2C, total=400, elite_share=0.0)
    assert all(step.populating for step in watch.steps)


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
        own = [e for e in watch.episodes() if e.born.generation == line["generation"] - 1 and e.finished]
        own = [e for e in own if e.within_a_phase and not e.born.populating]
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
    assert json.dumps(first.history) == json.dumps(second.history)
    assert first.roster is not None
    assert second.roster is not None
    assert first.roster.state() == second.roster.state()


@pytest.fixture(scope="module", params=[G2PPO, G2A2C])
def stopped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[GeneticGated, Path]:
    """A model stopped in a population phase with some episodes counted and others under way; and where it is saved."""
    given: dict[str, Any] = {
        "population": 5,
        "seed": 5,
        "device": "cpu",
        "genetics": GeneticSettings(episodes=8, phase_steps=0),
    }
    given |= SHORT if request.param is G2PPO else {"n_steps": 16}
    model = request.param("MlpPolicy", worlds(3), **given)
    path = tmp_path_factory.mktemp("stopped") / "model.zip"
    for _ in range(50):
        model.learn(48, reset_num_timesteps=False)
        if model.history and sum(map(len, model.roster.returns)) > 10 and model.roster.populating:
            assert (model.roster.member >= 0).any()
            model.save(path)
            return model, path
    raise AssertionError("there was no such moment")


def assert_goes_on_from(model: GeneticGated, counted: list[list[float]], lines: int) -> None:
    """Learn on: what was counted stays so until the generation is complete, and then the next ones follow."""
    assert model.roster is not None
    assert [list(returns) for returns in model.roster.returns] == counted or model.roster.environments != model.n_envs
    watch = Recorder()
    model.learn(480, callback=watch, reset_num_timesteps=False)
    assert watch.steps[0].populating
    assert len(model.history) > lines
    assert [line["generation"] for line in model.history] == list(range(1, len(model.history) + 1))
    genes, episodes = watch.chromosomes[lines], watch.episodes()
    each = max(8, -(-model.n_envs // 5))
    for member, before in enumerate(counted):
        own = [e for e in episodes if e.born.populating and e.born.generation == lines]
        own = [e for e in own if (e.genes == genes[member]).all()][: each - len(before)]
        assert watch.fitness[lines][member] == pytest.approx(np.mean([*before, *(e.total for e in own)]))


def counted_by(model: GeneticGated) -> list[list[float]]:
    assert model.roster is not None
    return [list(returns) for returns in model.roster.returns]


def test_save_and_load_go_on_with_the_same_generation(stopped: tuple[GeneticGated, Path]) -> None:
    model, path = stopped
    copies = [type(model).load(path, env=worlds(3), device="cpu") for _ in range(2)]
    for each in copies:
        same_generation(model, each)
        assert_same_state(model, each)
    obs = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    assert (copies[0].predict(obs, deterministic=True)[0] == model.predict(obs, deterministic=True)[0]).all()
    for each in copies:
        each.set_random_seed(2)
        assert_goes_on_from(each, counted_by(model), len(model.history))
    same_generation(*copies)


@pytest.mark.parametrize("environments", [1, 2, 6])
def test_a_saved_model_goes_on_with_other_environments(environments: int, stopped: tuple[GeneticGated, Path]) -> None:
    model, path = stopped
    other = type(model).load(path, env=worlds(environments), device="cpu")
    assert_goes_on_from(other, counted_by(model), len(model.history))
    assert other.roster is not None
    assert other.roster.genes.shape[0] == environments


@pytest.mark.parametrize("how", ["another env", "a restart"])
def test_episodes_begin_anew_in_the_same_generation(how: str, stopped: tuple[GeneticGated, Path]) -> None:
    """What was under way counts for nothing, and is played again."""
    model, path = stopped
    other = type(model).load(path, env=worlds(3), device="cpu")
    other.learn(1, reset_num_timesteps=False)
    counted = counted_by(other)
    if how == "a restart":
        other.restart_episodes()
    else:
        other.set_env(worlds(3))
    assert counted_by(other) == counted
    assert_goes_on_from(other, counted, len(model.history))


def test_resuming_by_hand_goes_on_with_the_same_generation(stopped: tuple[GeneticGated, Path]) -> None:
    model, _ = stopped
    assert model.roster is not None
    steps: dict[str, Any] = SHORT if isinstance(model, G2PPO) else {"n_steps": 16}
    other = type(model)("MlpPolicy", worlds(3), population=5, genetics=model.genetics, device="cpu", **steps)
    other.policy.load_state_dict(model.policy.state_dict())
    other.resume(json.loads(json.dumps(model.roster.state())), model.history)
    same_generation(model, other)
    other.num_timesteps = model.num_timesteps
    assert_goes_on_from(other, counted_by(model), len(other.history))
    assert len(model.history) < len(other.history)


def test_a_checkpoint_in_the_middle_of_a_rollout_goes_on(tmp_path: Path) -> None:
    model = little(worlds(3))
    model.learn(480, callback=CheckpointCallback(69, str(tmp_path)))
    for path in sorted(tmp_path.glob("*.zip")):
        loaded = G2PPO.load(path, env=worlds(3), device="cpu")
        lines = len(loaded.history)
        loaded.learn(480, reset_num_timesteps=False)
        assert len(loaded.history) > lines


def test_learning_twice_is_learning_once() -> None:
    once = little(worlds(3)).learn(480)
    twice = little(worlds(3)).learn(240)
    assert twice.roster is not None
    assert twice.roster.steps == 240
    twice.learn(240, reset_num_timesteps=False)
    same_generation(once, twice)
    assert_same_state(once, twice)
    assert twice.num_timesteps == 480
    assert len(twice.history) > 1


@pytest.mark.parametrize("restart", [False, True])
def test_learning_anew_plays_new_episodes_of_the_same_generation(restart: bool) -> None:
    """Whoever played an episode that the reset ended, guests too, is assigned anew, and counted."""
    model = little(worlds(3), genetics=GeneticSettings(phase_steps=1000)).learn(48)
    roster = model.roster
    assert roster is not None
    roster.enter(populating=True)  # the episodes under way are guests
    generation = int(model.gate.generation)
    watch = Recorder()
    if restart:
        model.restart_episodes()
    model.learn(48, callback=watch, reset_num_timesteps=not restart)
    assert (watch.steps[0].genes == watch.chromosomes[generation][:3]).all()
    assert watch.steps[0].generation == generation


# what is refused


def test_a_missing_monitor_is_refused() -> None:
    with pytest.raises(UsageError, match="Monitor"):
        little(DummyVecEnv([World] * 2)).learn(16)
    little(VecMonitor(DummyVecEnv([World] * 2))).learn(64)


def test_every_environment_needs_its_monitor() -> None:
    one_without = DummyVecEnv([World, lambda: worlds(1).envs[0]])
    with pytest.raises(UsageError, match="Monitor"):
        little(one_without).learn(16)


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
    model.learn(240)
    return chromosomes, model.policy.action_net.weight.detach(), [line["best fitness"] for line in model.history]


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, same, other = numbers_of(0), numbers_of(0), numbers_of(1)
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
    model.predict(np.zeros(3, np.float32), deterministic=True, vote="population")
    assert states() == expected


# learning


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns(seed: int) -> None:
    given: dict[str, Any] = {"n_steps": 64, "batch_size": 256, "n_epochs": 5, "learning_rate": 1e-3}
    model = little(
        monitored("CartPole-v1", 8), seed=seed, population=8, genetics=GeneticSettings(phase_steps=1024), **given
    )
    model.learn(9_000)
    mean, _ = evaluate_policy(model, monitored("CartPole-v1", 8), n_eval_episodes=8)
    assert mean > 80  # at random it is about 22
    assert len(model.history) > 1
