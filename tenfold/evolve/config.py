"""Settings of `evolve`. What the paper (arXiv:1903.01886) leaves open is a named setting; defaults were measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, CrewSettings, require
from ..core.rl_config import LearnerSettings, MetricSettings, TrainSettings, check_run

MethodName = Literal["genetic", "plain", "random", "weights"]


@dataclass(frozen=True)
class GeneticSettings:
    """Phases and operators of the genetic part. See `tenfold.evolve.G2PPO`."""

    elite_share: float = 0.5
    """share of all steps in which the elite alone acts, in [0, 1]; with 1 there are no generations"""
    phase_steps: int = 2048
    """environment steps that a population phase lasts at least, at least 0; where episodes are short, members play more of them"""
    episodes: int = 1
    """whole episodes whose mean return is a member's fitness, at least 1; more where the phase or the environments have room"""
    learn_from: Literal["all", "elite", "none"] = "all"
    """whose samples of the population phase the weights learn from: everyone's, those acted by the elite's genes, or nobody's"""
    selection: Literal["tournament", "roulette", "truncation", "random"] = "tournament"
    """how parents are chosen; random chooses none, and draws all members but the elite anew"""
    tournament_size: int = 3
    """members of which the best becomes a parent, at least 1"""
    crossover: Literal["uniform", "one-point"] = "uniform"
    """how two parents' genes are mixed"""
    crossover_rate: float = 0.8
    """share of children that are mixed at all, in [0, 1]; the others are their mother's copy"""
    mutation_rate: float = 0.03
    """share of a child's genes that flip, in [0, 1]"""
    elites: int = 1
    """best members that stay unchanged, at least 1"""
    start_open: float = 0.9
    """chance that a gene of the first generation is open, above 0 and at most 1"""
    start_all_open: bool = True
    """whether the first elite is the whole network"""

    def __post_init__(self) -> None:
        require(0 <= self.elite_share <= 1, "elite_share", self.elite_share, "between 0 and 1")
        require(self.phase_steps >= 0, "phase_steps", self.phase_steps, "at least 0")
        require(self.episodes >= 1, "episodes", self.episodes, "at least 1")
        require(self.tournament_size >= 1, "tournament_size", self.tournament_size, "at least 1")
        for name in ("crossover_rate", "mutation_rate"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        require(self.elites >= 1, "elites", self.elites, "at least 1")
        require(0 < self.start_open <= 1, "start_open", self.start_open, "above 0 and at most 1")


@dataclass(frozen=True)
class RivalSettings:
    """The plain genetic algorithm on weights (Such et al. 2017): no gradients at all."""

    members: int = 32
    """networks of a generation, at least 4"""
    parents: int = 8
    """best networks that the children are copies of, at least 1 and below `members`"""
    noise: float = 0.1
    """standard deviation of what a child's every weight is changed by, above 0"""

    def __post_init__(self) -> None:
        require(self.members >= 4, "rivals.members", self.members, "at least 4")
        require(1 <= self.parents < self.members, "rivals.parents", self.parents, "at least 1 and below rivals.members")
        require(self.noise > 0, "rivals.noise", self.noise, "above 0")


@dataclass(frozen=True)
class Config:
    """Everything an `evolve` training needs."""

    envs: tuple[str, ...] = ("CartPole-v1", "Acrobot-v1")
    """names of Gymnasium environments; MODULE:Name-v0 imports the module first, ALE/... are Atari games"""
    methods: tuple[MethodName, ...] = ("genetic", "plain", "random")
    """genetic (this method), plain (the algorithm as it is), random (gates drawn anew, not bred), weights (no gradients)"""
    population: int = 8
    """members, at least 2"""
    genetics: GeneticSettings = field(default_factory=GeneticSettings)
    """phases and operators"""
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    """the on-policy algorithm"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """how long and how often"""
    metrics: MetricSettings = field(default_factory=MetricSettings)
    """how a policy is judged"""
    rivals: RivalSettings = field(default_factory=RivalSettings)
    """what it is compared with"""
    crew: CrewSettings = field(default_factory=CrewSettings)
    """where trainings run"""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """device; processes and precision stay as they are, as `crew` is what spreads the work"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        for name in ("envs", "methods"):
            given = getattr(self, name)
            require(len(given) > 0, name, given, "at least one")
            require(len(set(given)) == len(given), name, given, "without repetition")
        pictures = [env for env in self.envs if env.startswith("ALE/")]
        gradients = "weights" not in self.methods or not pictures
        require(
            gradients,
            "methods",
            self.methods,
            f"without weights for {pictures[:1]}: it evolves networks without convolutions",
        )
        require(self.population >= 2, "population", self.population, "at least 2")
        check_run(self.envs, self.learner, self.compute, self.seed)


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    episodes: int | None = None
    """whole episodes of each policy; none takes the run's own number, and so finds its final returns again"""
    rows: tuple[str, ...] = ()
    """which rows, such as "CartPole-v1 genetic"; none takes all the run has"""
    vote: bool = False
    """let the whole population choose, and not the elite alone"""

    def __post_init__(self) -> None:
        require(self.episodes is None or self.episodes >= 1, "episodes", self.episodes, "none or at least 1")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    observations: tuple[Path, ...] = ()
    """.npy or .csv files, one observation a row, to be answered with actions; none plays an episode instead"""
    env: str = ""
    """which of the run's environments; empty takes the first"""
    replica: int = 0
    """which of the trainings, from 0"""
    frames: int = 12
    """pictures of the episode, evenly over it, 1 to 64"""
    seed: int = 0
    """of the episode, at least 0"""

    def __post_init__(self) -> None:
        require(self.replica >= 0, "replica", self.replica, "at least 0")
        require(1 <= self.frames <= 64, "frames", self.frames, "1 to 64")
        require(0 <= self.seed < 2**31, "seed", self.seed, "at least 0 and below 2**31")


MUJOCO = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Swimmer-v5")
ATARI = ("ALE/Breakout-v5", "ALE/Pong-v5", "ALE/SpaceInvaders-v5", "ALE/Qbert-v5")

PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": Config(
        envs=("CartPole-v1",),
        methods=("genetic", "plain", "random", "weights"),
        genetics=GeneticSettings(phase_steps=256),
        learner=LearnerSettings(n_steps=64, learning_rate=1e-3),
        train=TrainSettings(timesteps=6_000, replicas=2, evaluations=2),
        metrics=MetricSettings(episodes=4),
    ),
    # minutes on two CPU cores
    "laptop": Config(train=TrainSettings(timesteps=40_000, evaluations=8), crew=CrewSettings(workers=2)),
    # the method's own field, in the settings of the A2C paper's successors: 10 million steps are 40 million frames
    "paper": Config(
        envs=ATARI,
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
        metrics=MetricSettings(deterministic=False),
    ),
    "atari-ppo": Config(
        envs=ATARI,
        learner=LearnerSettings(
            n_envs=8, n_epochs=4, learning_rate=2.5e-4, schedule="linear", clip_range=0.1, ent_coef=0.01
        ),
        train=TrainSettings(timesteps=10_000_000, replicas=3, evaluations=20),
        metrics=MetricSettings(deterministic=False),
    ),
    "mujoco": Config(
        envs=MUJOCO,
        learner=LearnerSettings(n_steps=256, normalize=True),
        train=TrainSettings(timesteps=1_000_000, replicas=3, evaluations=20),
    ),
}
