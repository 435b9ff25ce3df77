r"""How settings of the genetic part compare with each other and with plain PPO: area under the learning curve, over several tasks.

    python benchmarks/evolve_settings.py [--seeds 100 101 102] [--rows ppo defaults mutation] [--envs CartPole-v1 Hopper-v5] \
        [--workers 2]

One setting is changed at a time. Each training is evaluated five times, by ten episodes of the elite's most likely actions. The seeds
are others than those that results are reported of: settings are chosen here, and judged elsewhere. Prints a line for each training,
and at the end the mean and its standard error over seeds for each row and task.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from tenfold.core.crew import crew
from tenfold.core.legs import one_thread
from tenfold.core.rl_environments import load_normalizer, make_environments, normalizer_state
from tenfold.evolve import G2PPO, GeneticSettings

TASKS = {
    "CartPole-v1": (30_000, False),
    "Acrobot-v1": (30_000, False),
    "InvertedDoublePendulum-v5": (60_000, True),
    "Hopper-v5": (80_000, True),
}
"""environment -> (steps, whether observations and rewards are scaled)"""
ROWS: dict[str, tuple[int, GeneticSettings] | None] = {
    "ppo": None,
    "defaults": (8, GeneticSettings()),
    "share": (8, GeneticSettings(elite_share=0.75)),
    "mutation": (8, GeneticSettings(mutation_rate=0.01)),
    "phase": (8, GeneticSettings(phase_steps=8192)),
    "population": (16, GeneticSettings()),
    "random": (8, GeneticSettings(selection="random")),
    "elite": (8, GeneticSettings(learn_from="elite")),
    "none": (8, GeneticSettings(learn_from="none")),
}
PARTS = 5
EPISODES = 10


def main() -> None:
    """Train all, print each, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS)[:7])
    parser.add_argument("--envs", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    jobs = [(row, env, seed) for seed in given.seeds for row in given.rows for env in given.envs]
    areas: dict[tuple[str, str], list[float]] = {}
    with crew(given.workers) as workers:
        for job in jobs:
            workers.submit(job, area, *job)
        for _ in jobs:
            (row, env, seed), value = workers.next()
            areas.setdefault((row, env), []).append(value)
            print(f"{row:12} {env:28} seed {seed}: {value:.1f}", flush=True)
    print("\n" + " " * 12 + "".join(f"{env:>28}" for env in given.envs))
    for row in given.rows:
        print(f"{row:12}" + "".join(f"{cell(areas[row, env]):>28}" for env in given.envs))


def area(row: str, env: str, seed: int) -> float:
    """Mean return over the evaluations of one training."""
    steps, normalize = TASKS[env]
    settings: dict[str, Any] = {"n_steps": 128, "batch_size": 256, "seed": seed, "device": "cpu"}
    found = ROWS[row]
    with one_thread():
        environments = make_environments(env, 8, seed=seed, training=True, normalize=normalize)
        judging = make_environments(env, 5, seed=seed + 10_000, training=False, normalize=normalize)
        if found is None:
            model: PPO = PPO("MlpPolicy", environments, **settings)
        else:
            model = G2PPO("MlpPolicy", environments, population=found[0], genetics=found[1], **settings)
        returns = []
        for _ in range(PARTS):
            model.learn(steps // PARTS, reset_num_timesteps=False)
            load_normalizer(judging, normalizer_state(environments))
            returns.append(float(evaluate_policy(model, judging, EPISODES, deterministic=True)[0]))  # type: ignore[arg-type]
    return statistics.mean(returns)


def cell(values: list[float]) -> str:
    """Mean and standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} +- {error:.1f} ({len(values)})"


if __name__ == "__main__":
    main()
