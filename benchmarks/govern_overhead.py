r"""Environment steps per second of GovernedPPO and GovernedA2C beside stable-baselines3's own PPO and A2C.

    python benchmarks/govern_overhead.py [--envs HalfCheetah-v5 Swimmer-v5] [--n-envs 8] [--steps 16384] [--repeats 5] [--threads 1]

Three learn in turns, with the same settings, from the same seed: the plain algorithm with its own policy; the governed policy without a
model (`aux_weight=0`), which has one layer and the latents more; and the governed algorithm. Which goes first changes each time,
because a shared machine is now faster and now slower; the ratio is the median of the turns' ratios. With one thread seconds are
those of the processor, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from tenfold.core.rl_environments import make_environments
from tenfold.govern import GovernedA2C, GovernedPPO

PAIRS: tuple[tuple[type[OnPolicyAlgorithm], type[OnPolicyAlgorithm]], ...] = ((PPO, GovernedPPO), (A2C, GovernedA2C))


def main() -> None:
    """Print a line for each algorithm and environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", default=["HalfCheetah-v5", "Swimmer-v5"])
    parser.add_argument("--n-envs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=16_384)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(
        f"{given.threads} thread(s), {given.n_envs} environments; steps a second, and ratios to the plain algorithm\n"
    )
    print(f"{'':34}{'plain':>8}{'no model':>10}{'governed':>10}{'no model':>10}{'governed':>10}   of the turns")
    for env in given.envs:
        for plain, governed in PAIRS:
            kinds = [(plain, {}), (governed, {"aux_weight": 0.0}), (governed, {})]
            speeds: list[list[float]] = [[], [], []]
            for turn in range(given.repeats):
                for place in (0, 1, 2) if turn % 2 else (2, 1, 0):
                    speeds[place].append(speed(*kinds[place], env, given.n_envs, given.steps))
            ratios = [[ours / base for ours, base in zip(each, speeds[0], strict=True)] for each in speeds[1:]]
            middle = "".join(
                f"{statistics.median(each):{width}.0f}" for each, width in zip(speeds, (8, 10, 10), strict=True)
            )
            relative = "".join(f"{statistics.median(each):10.3f}" for each in ratios)
            spread = " ".join(f"{ratio:.2f}" for ratio in ratios[1])
            print(f"{governed.__name__ + ' in ' + env:34}{middle}{relative}   {spread}", flush=True)


def speed(kind: type[OnPolicyAlgorithm], options: dict[str, float], env: str, count: int, steps: int) -> float:
    """Environment steps a second of a training from its first rollout to its last."""
    environments = make_environments(env, count, seed=0, training=True, normalize=True)
    if issubclass(kind, PPO):
        options = options | {"n_steps": 256, "batch_size": 256}
    model = kind("MlpPolicy", environments, seed=0, device="cpu", **options)  # type: ignore[arg-type]
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    model.learn(steps)
    seconds = clock() - began
    environments.close()
    return model.num_timesteps / seconds


if __name__ == "__main__":
    main()
