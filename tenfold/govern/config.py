"""Settings of `govern`. What the paper (arXiv:1811.04350) leaves open is a named setting; defaults were measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, CrewSettings, require
from ..core.rl_config import LearnerSettings, MetricSettings, TrainSettings, check_run

Kind = Literal["ac-beta-vae", "ac-vae", "ac-ae", "beta-vae", "vae"]
MethodName = Literal["ac-beta-vae", "ac-vae", "ac-ae", "beta-vae", "vae", "plain"]
KINDS: tuple[Kind, ...] = ("ac-beta-vae", "ac-vae", "ac-ae", "beta-vae", "vae")


@dataclass(frozen=True)
class AuxiliarySettings:
    """The model beside the policy. See `tenfold.govern.ActionConditionalVAE`."""

    kind: Kind = "ac-beta-vae"
    """ac-...: the action is added to the latents and the next state predicted; (beta-)vae rebuilds a state; ac-ae draws nothing"""
    beta: float = 1.5
    """weight of the KL, at least 0, for the kinds with beta in their name; for the others it is 1"""
    capacity: float | None = None
    """nats that the KL is led to in place of beta, growing from 0 over the training, at least 0; none: beta"""
    capacity_weight: float = 100.0
    """weight of the KL's distance from the capacity, above 0"""
    action_scale: float = 1.0
    """what actions are multiplied by before they are added, above 0; 1 is the paper's"""
    likelihood: Literal["auto", "gaussian", "bernoulli"] = "auto"
    """of the next state; auto: gaussian for vectors, bernoulli for pictures"""
    decoder: tuple[int, ...] = (64, 64)
    """widths of the decoder's layers for vectors; pictures have convolutions"""
    frame_channels: int = 0
    """channels of the newest picture of a stack, which is predicted; 0: three where that divides the channels, else one"""
    detach_policy: bool = False
    """whether the policy's gradient stops at the latents, so that the model alone shapes them"""

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "kind", self.kind, f"one of {', '.join(KINDS)}")
        require(self.beta >= 0, "beta", self.beta, "at least 0")
        require(self.capacity is None or self.capacity >= 0, "capacity", self.capacity, "none or at least 0")
        require(self.capacity_weight > 0, "capacity_weight", self.capacity_weight, "above 0")
        require(self.action_scale > 0, "action_scale", self.action_scale, "above 0")
        require(all(width >= 1 for width in self.decoder), "decoder", self.decoder, "widths of at least 1")
        require(self.frame_channels >= 0, "frame_channels", self.frame_channels, "at least 0")

    @property
    def conditional(self) -> bool:
        """Whether actions are added and next states predicted."""
        return self.kind.startswith("ac")

    @property
    def deterministic(self) -> bool:
        """Whether latents have no noise and no prior."""
        return self.kind == "ac-ae"

    def likelihood_of(self, *, pixels: bool) -> Literal["gaussian", "bernoulli"]:
        """The likelihood of states that are pixels, or are not."""
        if self.likelihood == "auto":
            return "bernoulli" if pixels else "gaussian"
        return self.likelihood

    @property
    def weight_of_kl(self) -> float:
        """beta, where the kind has one."""
        return self.beta if "beta" in self.kind else 1.0


@dataclass(frozen=True)
class ExploreSettings:
    """Models of worlds in which nobody learns to act: a random policy does, as in the paper's own world."""

    envs: tuple[str, ...] = ("tenfold/SmallHeart-v0",)
    """names of Gymnasium environments; where they tell their factors, as the hearts do, latents are scored against them"""
    models: tuple[Kind, ...] = ("ac-beta-vae", "ac-vae", "beta-vae", "vae", "ac-ae")
    """which models"""
    latent: int = 10
    """latents of each, above the numbers of an action"""
    beta: float = 6.0
    """weight of the KL for the kinds with beta in their name, at least 0"""
    steps: int = 40_000
    """random steps that each learns from, at least 1"""
    epochs: int = 4
    """passes over the steps, at least 1"""
    batch_size: int = 128
    """steps of each gradient step, at least 1"""
    learning_rate: float = 1e-3
    """of Adam"""
    hidden: tuple[int, ...] = (256, 256)
    """widths of the layers of encoder and decoder"""
    scored: int = 4_000
    """held-out steps that models are scored on, at least 20"""

    def __post_init__(self) -> None:
        for name, least in (("latent", 2), ("steps", 1), ("epochs", 1), ("batch_size", 1), ("scored", 20)):
            require(getattr(self, name) >= least, f"explore.{name}", getattr(self, name), f"at least {least}")
        require(self.beta >= 0, "explore.beta", self.beta, "at least 0")
        require(self.learning_rate > 0, "explore.learning_rate", self.learning_rate, "above 0")
        for name in ("envs", "models"):
            given = getattr(self, name)
            require(len(set(given)) == len(given), f"explore.{name}", given, "without repetition")
        require(not self.envs or self.models != (), "explore.models", self.models, "at least one, where there are envs")


@dataclass(frozen=True)
class GoverningSettings:
    """How trained agents are governed, one mapped latent at a time."""

    values: tuple[float, ...] = (-5.0, -2.5, 0.0, 2.5, 5.0)
    """that a latent is held at; at least 2, from the least to the greatest"""
    steps: int = 200
    """environment steps at each value, at least 1"""
    others: Literal["zero", "keep"] = "zero"
    """what becomes of the other mapped latents: zero is the paper's"""
    frames: int = 60
    """of the animation, 0 to 400; 0 makes none"""

    def __post_init__(self) -> None:
        rising = list(self.values) == sorted(set(self.values)) and len(self.values) >= 2
        require(rising, "governing.values", self.values, "at least two rising numbers")
        require(self.steps >= 1, "governing.steps", self.steps, "at least 1")
        require(0 <= self.frames <= 400, "governing.frames", self.frames, "0 to 400")


@dataclass(frozen=True)
class Config:
    """Everything a `govern` training needs."""

    envs: tuple[str, ...] = ("Swimmer-v5",)
    """names of Gymnasium environments that agents learn in; MODULE:Name-v0 imports the module first, ALE/... are Atari games"""
    methods: tuple[MethodName, ...] = ("ac-beta-vae", "beta-vae", "plain")
    """models that agents learn with, and plain: the algorithm as it is"""
    latent: int = 0
    """latents of every agent, above the numbers of an action; 0: twice as many"""
    aux_weight: float = 3e-2
    """alpha, of the model's loss for the encoder, above 0"""
    auxiliary: AuxiliarySettings = field(default_factory=AuxiliarySettings)
    """the model; its kind is what `methods` say"""
    explore: ExploreSettings = field(default_factory=ExploreSettings)
    """models of worlds in which a random policy acts"""
    governing: GoverningSettings = field(default_factory=GoverningSettings)
    """how trained agents are governed"""
    learner: LearnerSettings = field(default_factory=lambda: LearnerSettings(n_steps=256, normalize=True))
    """the on-policy algorithm"""
    train: TrainSettings = field(default_factory=lambda: TrainSettings(timesteps=100_000, replicas=3, evaluations=5))
    """how long and how often"""
    metrics: MetricSettings = field(default_factory=lambda: MetricSettings(episodes=10))
    """how a policy is judged"""
    crew: CrewSettings = field(default_factory=CrewSettings)
    """where trainings run"""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """device; processes and precision stay as they are, as `crew` is what spreads the work"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        worlds = (*self.envs, *self.explore.envs)
        require(worlds != (), "envs", self.envs, "at least one, here or in explore.envs")
        require(len(set(worlds)) == len(worlds), "envs", worlds, "without repetition, here and in explore.envs")
        require(len(set(self.methods)) == len(self.methods), "methods", self.methods, "without repetition")
        require(not self.envs or self.methods != (), "methods", self.methods, "at least one, where there are envs")
        require(self.aux_weight > 0, "aux_weight", self.aux_weight, "above 0; plain is without a model")
        require(self.latent >= 0, "latent", self.latent, "at least 0")
        check_run(self.envs, self.learner, self.compute, self.seed)


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    episodes: int | None = None
    """whole episodes of each policy; none takes the run's own number, and so finds its final returns again"""
    rows: tuple[str, ...] = ()
    """which rows, such as "Swimmer-v5 ac-beta-vae"; none takes all the run has"""

    def __post_init__(self) -> None:
        require(self.episodes is None or self.episodes >= 1, "episodes", self.episodes, "none or at least 1")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    observations: tuple[Path, ...] = ()
    """.npy or .csv files, one observation a row, whose latents are shown; none takes some of the free agent's episode"""
    env: str = ""
    """which of the run's environments; empty takes the first"""
    method: str = ""
    """which of the run's models; empty takes the first"""
    replica: int = 0
    """which of the trainings, from 0"""
    latents: tuple[int, ...] = (0,)
    """which latents are held, from 0"""
    values: tuple[float, ...] = (3.0,)
    """what they are held at, one each, in -5 .. 5"""
    keep: bool = False
    """whether the other mapped latents stay as they were encoded; else they are 0, as in the paper's experiment"""
    steps: int = 200
    """of the episode, at most; at least 1"""
    frames: int = 12
    """pictures of the episode, evenly over it, 1 to 64"""
    seed: int = 0
    """of the episode, at least 0"""

    def __post_init__(self) -> None:
        require(len(self.values) == len(self.latents), "values", self.values, f"one for each of {self.latents}")
        require(len(set(self.latents)) == len(self.latents), "latents", self.latents, "without repetition")
        require(self.replica >= 0, "replica", self.replica, "at least 0")
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(1 <= self.frames <= 64, "frames", self.frames, "1 to 64")
        require(0 <= self.seed < 2**31, "seed", self.seed, "at least 0 and below 2**31")


MUJOCO = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Swimmer-v5")
ATARI = ("ALE/Breakout-v5", "ALE/Seaquest-v5", "ALE/SpaceInvaders-v5")
NOWHERE = ExploreSettings(envs=())

PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": Config(
        envs=("CartPole-v1",),
        methods=("ac-beta-vae", "plain"),
        explore=ExploreSettings(
            models=("ac-beta-vae", "beta-vae"), steps=3_000, epochs=2, batch_size=32, hidden=(64,), scored=400
        ),
        governing=GoverningSettings(values=(-3.0, 3.0), steps=40, frames=10),
        learner=LearnerSettings(n_steps=64, learning_rate=1e-3),
        train=TrainSettings(timesteps=6_000, replicas=2, evaluations=2),
        metrics=MetricSettings(episodes=4),
    ),
    # minutes on two CPU cores
    "laptop": Config(crew=CrewSettings(workers=2)),
    # the paper's own world in its size and length, with its rivals
    "paper": Config(
        envs=(),
        explore=ExploreSettings(envs=("tenfold/Heart-v0",), steps=1_100_000, epochs=1, scored=10_000),
        train=TrainSettings(timesteps=1, replicas=3, evaluations=1),
    ),
    "mujoco": Config(
        envs=MUJOCO,
        explore=NOWHERE,
        methods=("ac-beta-vae", "plain"),
        train=TrainSettings(timesteps=1_000_000, replicas=3, evaluations=10),
    ),
    # the paper's three games; alpha and beta are its own
    "atari": Config(
        envs=ATARI,
        explore=NOWHERE,
        methods=("ac-beta-vae", "plain"),
        latent=20,
        aux_weight=1e-3,
        auxiliary=AuxiliarySettings(beta=10.0),
        learner=LearnerSettings(
            algorithm="a2c",
            n_envs=16,
            n_steps=5,
            learning_rate=7e-4,
            schedule="linear",
            gae_lambda=1.0,
            ent_coef=0.01,
            vf_coef=0.25,
        ),
        train=TrainSettings(timesteps=10_000_000, replicas=3, evaluations=20),
        metrics=MetricSettings(episodes=10, deterministic=False),
    ),
}
