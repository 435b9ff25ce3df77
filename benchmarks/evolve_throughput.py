r"""Environment steps per second of G2PPO and G2A2C beside stable-baselines3's own PPO and A2C, in the same environments.

    python benchmarks/evolve_throughput.py [--envs CartPole-v1 HalfCheetah-v5] [--population 8] [--n-envs 8] [--steps 16384] \
        [--repeats 5] [--threads 1] [--games ALE/Breakout-v5]

Both learn, with the same settings, from the same seed. They take turns, and which of the two goes first changes each time, because
a shared machine is now faster and now slower; the ratio is the median of the pairs' ratios. With one thread seconds are those of the
processor, which a busy machine disturbs less. A population that learns otherwise also plays other episodes, so that an environment
whose steps take as long whatever happens tells most.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from tenfold.core.rl_environments import make_environments
from tenfold.evolve import G2A2C, G2PPO

PAIRS: tuple[tuple[type[OnPolicyAlgorithm], type[OnPolicyAlgorithm]], ...] = ((PPO, G2PPO), (A2C, G2A2C))


def main() -> None:
    """Print a line for each algorithm and environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", default=["CartPole-v1", "HalfCheetah-v5"])
    parser.add_argument("--games", nargs="*", default=[], help="Atari games, for which a tenth of the steps is taken")
    parser.add_argument("--population", type=int, default=8)
    parser.add_argument("--n-envs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{given.threads} thread(s), {given.n_envs} environments, population {given.population}; steps a second\n")
    print(f"{'':34}{'plain':>10}{'gated':>10}{'ratio':>8}   of the pairs")
    for env in [*given.envs, *given.games]:
        steps = given.steps // 10 if env in given.games else given.steps
        for plain, gated in PAIRS:
            speeds: dict[type[OnPolicyAlgorithm], list[float]] = {plain: [], gated: []}
            for turn in range(given.repeats):
                for kind in (plain, gated) if turn % 2 else (gated, plain):
                    options = {"population": given.population} if kind is gated else {}
                    speeds[kind].append(speed(kind, env, given.n_envs, steps, options))
            ratios = [ours / theirs for ours, theirs in zip(speeds[gated], speeds[plain], strict=True)]
            middle = [statistics.median(speeds[kind]) for kind in (plain, gated)]
            spread = " ".join(f"{ratio:.2f}" for ratio in ratios)
            print(
                f"{gated.__name__ + ' in ' + env:34}{middle[0]:10.0f}{middle[1]:10.0f}{statistics.median(ratios):8.3f}   {spread}",
                flush=True,
            )


def speed(kind: type[OnPolicyAlgorithm], env: str, count: int, steps: int, options: dict[str, int]) -> float:
    """Environment steps a second of a training from its first rollout to its last."""
    environments = make_environments(env, count, seed=0, training=True)
    pictures = env.startswith("ALE/")
    settings = {"n_steps": 128, "batch_size": 256} if issubclass(kind, PPO) else {}
    model = kind("CnnPolicy" if pictures else "MlpPolicy", environments, seed=0, device="cpu", **settings, **options)  # type: ignore[arg-type]
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    model.learn(steps)
    taken = clock() - began
    environments.close()
    return model.num_timesteps / taken


if __name__ == "__main__":
    main()
