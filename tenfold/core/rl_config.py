"""Settings that methods of reinforcement learning share: the on-policy algorithm, how long it learns, how it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .config import ComputeConfig, require


@dataclass(frozen=True)
class LearnerSettings:
    """The on-policy algorithm, the same for all methods; names are those of stable-baselines3 where it has them."""

    algorithm: Literal["ppo", "a2c"] = "ppo"
    """which one; both are stable-baselines3's"""
    n_envs: int = 8
    """environments side by side, at least 1"""
    n_steps: int = 128
    """steps of each environment between updates, at least 1"""
    batch_size: int = 256
    """samples of each gradient step, at least 2; A2C takes the whole rollout"""
    n_epochs: int = 10
    """passes over each rollout, at least 1; A2C makes one"""
    learning_rate: float = 3e-4
    """of Adam for PPO, of RMSprop for A2C, at first"""
    schedule: Literal["constant", "linear"] = "constant"
    """linear: the rate falls to 0"""
    gamma: float = 0.99
    """discount, in (0, 1]"""
    gae_lambda: float = 0.95
    """of generalised advantage estimation, in [0, 1]"""
    clip_range: float = 0.2
    """how far PPO's ratio counts, above 0"""
    ent_coef: float = 0.0
    """weight of the entropy"""
    vf_coef: float = 0.5
    """weight of the critic's loss"""
    hidden: tuple[int, ...] = (64, 64)
    """widths of the layers of actor and critic; pictures have 512 units after the convolutions instead"""
    normalize: bool = False
    """centre and scale observations, and scale rewards, by running statistics; results are of the true rewards"""

    def __post_init__(self) -> None:
        for name, least in (("n_envs", 1), ("n_steps", 1), ("batch_size", 2), ("n_epochs", 1)):
            require(getattr(self, name) >= least, f"learner.{name}", getattr(self, name), f"at least {least}")
        require(self.learning_rate > 0, "learner.learning_rate", self.learning_rate, "above 0")
        require(0 < self.gamma <= 1, "learner.gamma", self.gamma, "above 0 and at most 1")
        require(0 <= self.gae_lambda <= 1, "learner.gae_lambda", self.gae_lambda, "between 0 and 1")
        require(self.clip_range > 0, "learner.clip_range", self.clip_range, "above 0")
        require(
            self.hidden != () and min(self.hidden) >= 1, "learner.hidden", self.hidden, "at least one width above 0"
        )
        require(
            self.n_envs * self.n_steps > 1, "learner.n_steps", self.n_steps, "at least 2 where there is one environment"
        )
        rollout = self.n_envs * self.n_steps
        fits = self.algorithm != "ppo" or rollout % self.batch_size == 0
        require(fits, "learner.batch_size", self.batch_size, f"a divisor of n_envs * n_steps, {rollout}")


@dataclass(frozen=True)
class TrainSettings:
    """How long every method learns, and how often."""

    timesteps: int = 100_000
    """environment steps of each training, at least 1; all that are made count"""
    replicas: int = 5
    """trainings of each method in each environment, each with a seed of its own, at least 1"""
    evaluations: int = 10
    """how often a training is evaluated, evenly over its steps, at least 1; all environments begin anew after each"""

    def __post_init__(self) -> None:
        require(self.timesteps >= 1, "train.timesteps", self.timesteps, "at least 1")
        require(self.replicas >= 1, "train.replicas", self.replicas, "at least 1")
        require(1 <= self.evaluations <= self.timesteps, "train.evaluations", self.evaluations, "1 to train.timesteps")


@dataclass(frozen=True)
class MetricSettings:
    """How a policy is judged."""

    episodes: int = 20
    """whole episodes of every evaluation, at least 1"""
    deterministic: bool = True
    """the most likely action, or one that is drawn; drawn is the habit with Atari"""
    resamples: int = 2000
    """bootstrap samples of the 95 % intervals, at least 100"""

    def __post_init__(self) -> None:
        require(self.episodes >= 1, "metrics.episodes", self.episodes, "at least 1")
        require(self.resamples >= 100, "metrics.resamples", self.resamples, "at least 100")


def check_run(envs: Sequence[str], learner: LearnerSettings, compute: ComputeConfig, seed: int) -> None:
    """Refuse, for a run in these environments, what pictures, or trainings that a crew spreads, cannot have; and seeds below 0."""
    pictures = [env for env in envs if env.startswith("ALE/")]
    scaled = learner.normalize and bool(pictures)
    require(not scaled, "learner.normalize", True, f"false for {pictures[:1]}: convolutions take pixels")
    require(compute.processes == 1, "compute.processes", compute.processes, "1; crew.workers spreads the work")
    require(compute.precision == "float32", "compute.precision", compute.precision, "float32")
    require(seed >= 0, "seed", seed, "at least 0")
