"""Settings of `design`. The paper (arXiv:1903.05271) leaves nearly all of this open; what is here is ours, and was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, CrewSettings, require

MethodName = Literal["ppo", "cma-es", "climbing", "random"]
METHODS: tuple[MethodName, ...] = ("ppo", "cma-es", "climbing", "random")


@dataclass(frozen=True)
class PolicySettings:
    """The policy that designs, and PPO; names are those of stable-baselines3 where it has them."""

    designs: int = 16
    """designs side by side, tested together, between two updates, at least 2"""
    batch_size: int = 64
    """modelling steps of each gradient step, at least 2"""
    n_epochs: int = 10
    """passes over the steps of each update, at least 1"""
    learning_rate: float = 2e-3
    """of Adam at first; it falls to 0"""
    gae_lambda: float = 0.95
    """of generalised advantage estimation, in [0, 1]"""
    clip_range: float = 0.2
    """how far PPO's ratio counts, above 0"""
    ent_coef: float = 0.0
    """weight of the entropy"""
    hidden: tuple[int, ...] = (64, 64)
    """widths of the layers of actor and critic"""
    imitation: float = 1.0
    """weight of imitating, for any wish, the best of all designs so far, at least 0; 0 is plain PPO"""
    elites: int = 4
    """designs that are imitated for each wish, at least 1"""
    spread: float = 0.4
    """standard deviation of the first designs' numbers, which lie in -1 .. 1; above 0"""
    cooled: float = 0.1
    """factor that all standard deviations fall to over the training, beside what is learned of them; above 0, 1 leaves them"""

    def __post_init__(self) -> None:
        for name, least in (("designs", 2), ("batch_size", 2), ("n_epochs", 1), ("elites", 1)):
            require(getattr(self, name) >= least, f"policy.{name}", getattr(self, name), f"at least {least}")
        for name in ("learning_rate", "clip_range", "spread"):
            require(getattr(self, name) > 0, f"policy.{name}", getattr(self, name), "above 0")
        require(0 < self.cooled <= 1, "policy.cooled", self.cooled, "above 0 and at most 1")
        require(self.imitation >= 0, "policy.imitation", self.imitation, "at least 0")
        require(0 <= self.gae_lambda <= 1, "policy.gae_lambda", self.gae_lambda, "between 0 and 1")
        require(self.hidden != () and min(self.hidden) >= 1, "policy.hidden", self.hidden, "at least one width above 0")


@dataclass(frozen=True)
class JudgeSettings:
    """How what a search has found is judged: by tests that it has not seen."""

    finalists: int = 5
    """best designs of each wish, by the search's own tests, that are tested again, at least 1"""
    tests: int = 3
    """tests that choose among the finalists, at least 1"""
    held_out: int = 8
    """further tests whose mean is the score that is reported, at least 1"""
    resamples: int = 2000
    """bootstrap samples of the 95 % intervals, at least 100"""

    def __post_init__(self) -> None:
        for name, least in (("finalists", 1), ("tests", 1), ("held_out", 1), ("resamples", 100)):
            require(getattr(self, name) >= least, f"judge.{name}", getattr(self, name), f"at least {least}")


@dataclass(frozen=True)
class Config:
    """Everything a `design` training needs."""

    tasks: tuple[str, ...] = ("Cup", "Stool", "Stand", "Bridge")
    """what is designed; package.module:Class is a task of one's own"""
    methods: tuple[MethodName, ...] = METHODS
    """who designs: a policy that PPO trains, and searches with as many simulator calls"""
    wishes: Literal["many", "one"] = "many"
    """many: each goal in turn counts four times as much, beside the task's own weights; one: the task's own weights alone"""
    wants: tuple[str, ...] = ()
    """values that are asked for, such as hold_ml=300, for the tasks that have them"""
    calls: int = 3200
    """designs that each training may have tested, at least 1"""
    replicas: int = 3
    """trainings of each method for each task, each with a seed of its own, at least 1"""
    evaluations: int = 10
    """points of a learning curve, evenly over the calls, at least 1; the policy's optimizer goes on, its designs begin anew"""
    policy: PolicySettings = field(default_factory=PolicySettings)
    """the policy, and PPO"""
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    """how designs are judged in the end"""
    crew: CrewSettings = field(default_factory=lambda: CrewSettings(workers=2))
    """where trainings run"""
    compute: ComputeConfig = field(default_factory=lambda: ComputeConfig(device="cpu"))
    """the policy's device; processes and precision stay as they are, as `crew` is what spreads the work"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        for name in ("tasks", "methods"):
            given = getattr(self, name)
            require(given != (), name, given, "at least one")
            require(len(set(given)) == len(given), name, given, "without repetition")
        require(self.calls >= 1, "calls", self.calls, "at least 1")
        require(self.replicas >= 1, "replicas", self.replicas, "at least 1")
        require(1 <= self.evaluations <= self.calls, "evaluations", self.evaluations, "1 to calls")
        require(
            self.compute.processes == 1, "compute.processes", self.compute.processes, "1; crew.workers spreads the work"
        )
        require(self.compute.precision == "float32", "compute.precision", self.compute.precision, "float32")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        numbers_of(self.wants, "wants")


def numbers_of(given: tuple[str, ...], setting: str) -> dict[str, float]:
    """`("hold_ml=300",)` as `{"hold_ml": 300.0}`.

    Raises:
        UsageError: one is not a name, an equals sign and a number, or a name comes twice.
    """
    found: dict[str, float] = {}
    for text in given:
        name, equals, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            equals = ""
        require(bool(name and equals), setting, text, "a name and a number, such as hold_ml=300")
        require(name not in found, setting, text, "each name once")
        found[name] = value
    return found


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    held_out: int | None = None
    """tests of each design; none takes the run's own number, and so finds its final scores again"""
    rows: tuple[str, ...] = ()
    """which rows, such as "Cup ppo"; none takes all the run has"""

    def __post_init__(self) -> None:
        require(self.held_out is None or self.held_out >= 1, "held_out", self.held_out, "none or at least 1")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    task: str = ""
    """which of the run's tasks; empty takes the first"""
    goals: tuple[str, ...] = ()
    """wishes, such as light=2: weights of goals; what is not named is as the task has it"""
    by: Literal["archive", "policy"] = "archive"
    """archive: the best of all designs that the run has tested; policy: what the trained policy makes of the wish, at once"""
    count: int = 4
    """designs, best first, 1 to 24; a policy makes one"""
    kind: Literal["stl", "obj", "glb"] = "stl"
    """of the mesh that is written of the best"""
    replica: int = 0
    """which of the trained policies, from 0"""
    recipe: Path | None = None
    """a design's JSON, which is built and tested again in place of all this"""

    def __post_init__(self) -> None:
        require(1 <= self.count <= 24, "count", self.count, "1 to 24")
        require(self.replica >= 0, "replica", self.replica, "at least 0")
        numbers_of(self.goals, "goals")


PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": Config(
        tasks=("Cup",),
        methods=("ppo", "random"),
        calls=384,
        replicas=1,
        evaluations=2,
        judge=JudgeSettings(finalists=2, tests=1, held_out=2),
        crew=CrewSettings(workers=1),
    ),
    # minutes on two CPU cores
    "laptop": Config(),
    # the paper's budget is not known; this one is as long as searches went on gaining
    "paper": Config(calls=20_480),
}
