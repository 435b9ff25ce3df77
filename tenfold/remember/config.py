"""Settings of `remember`. What the paper (arXiv:1809.02441) leaves open has a default that was measured or is the field's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, require

Method = Literal["stack", "finetune", "lwf", "ewc", "packnet", "joint"]
METHODS: tuple[Method, ...] = ("stack", "finetune", "lwf", "ewc", "packnet", "joint")
IndexKind = Literal["density", "generator", "autoencoder", "entropy"]

_FIRST_WIDER = 1.2
"""the first slice, which reads no other, over the others (measured, see the README)"""


@dataclass(frozen=True)
class SequenceSettings:
    """The sets that are learned one after the other, and how their pictures are made alike."""

    tasks: tuple[str, ...] = ("digits", "garments:0-4", "garments:5-9")
    """in their order; each NAME, NAME:FIRST-LAST for some classes, or NAME@FOLDER with a root of its own; names as of data.name"""
    root: Path | None = None
    """folder that holds the files of sets that are not embedded and name no folder themselves"""
    size: int | None = None
    """pictures are resized to size x size pixels; none takes the largest that a set of the sequence has"""
    holdout: float = 0.0
    """share of each set's training pictures kept aside as its validation split, in [0, 0.5]"""
    limit: int | None = None
    """use at most this many pictures of each split of each set, chosen evenly over its classes; none uses all"""

    def __post_init__(self) -> None:
        require(len(self.tasks) >= 1, "sequence.tasks", self.tasks, "at least one set")
        require(len(set(self.tasks)) == len(self.tasks), "sequence.tasks", self.tasks, "without repetition")
        require(self.size is None or 8 <= self.size <= 1024, "sequence.size", self.size, "none or 8 to 1024 pixels")
        require(0.0 <= self.holdout <= 0.5, "sequence.holdout", self.holdout, "between 0 and 0.5")
        require(self.limit is None or self.limit >= 1, "sequence.limit", self.limit, "none or at least 1")


@dataclass(frozen=True)
class NetSettings:
    """The network that all methods train, at full width."""

    name: str = "resnet-14"
    """resnet-N, preresnet-N, wrn-N-K, vggN, mobilenet-small, resnet50, ... (see tenfold.nets)"""
    width: int = 16
    """channels of the first stage of the networks for small pictures, at least 1"""
    half_stem: bool = False
    """the stem of the networks for small pictures halves the resolution"""

    def __post_init__(self) -> None:
        require(self.width >= 1, "net.width", self.width, "at least 1")


@dataclass(frozen=True)
class StackSettings:
    """The method: slices of the network's channels."""

    shares: tuple[float, ...] = ()
    """of the network's width for each task, each above 0; none gives shares as `budget` says"""
    budget: Literal["width", "numbers"] = "width"
    """equal shares that sum to 1 (width), or as many weights as the network has, the first slice a fifth wider (numbers)"""

    def __post_init__(self) -> None:
        require(all(share > 0 for share in self.shares), "stack.shares", self.shares, "all above 0")


@dataclass(frozen=True)
class IndexSettings:
    """The module that infers the task of a picture."""

    kind: IndexKind = "density"
    """density over the first task's features (ours); generator and classifier of each task (the paper); autoencoder of each task (Expert Gate); entropy of the heads"""
    reject: float = 0.0
    """share of a task's own pictures that may be taken for unknown, in [0, 0.5]; 0 rejects nothing"""
    epochs: int = 20
    """passes over a task's pictures that its generator, or its autoencoder, learns for, at least 1"""
    classifier_steps: int = 200
    """batches of generated pictures that the binary classifiers learn from after each task, at least 1"""

    def __post_init__(self) -> None:
        require(0 <= self.reject <= 0.5, "index.reject", self.reject, "between 0 and 0.5")
        require(self.epochs >= 1, "index.epochs", self.epochs, "at least 1")
        require(self.classifier_steps >= 1, "index.classifier_steps", self.classifier_steps, "at least 1")


@dataclass(frozen=True)
class RivalSettings:
    """The methods it is compared with."""

    lwf_weight: float = 3.0
    """of the old heads' distillation in learning without forgetting"""
    lwf_temperature: float = 2.0
    """softening of the old heads' scores, above 0; the paper compares 1 and 2"""
    ewc_weight: float = 10_000.0
    """of elastic weight consolidation's penalty"""
    ewc_pictures: int = 1000
    """training pictures of each task that its Fisher information is measured on, at least 1"""
    packnet_shares: tuple[float, ...] = ()
    """share of the weights that PackNet keeps for each task, each above 0; none gives equal shares"""
    packnet_retrain: float = 0.33
    """share of a task's passes that PackNet trains for after pruning, in (0, 1)"""
    packnet_norms: Literal["own", "frozen"] = "own"
    """norm layers of PackNet: each task has its own, which is better here; or frozen after the first (its authors' code)"""

    def __post_init__(self) -> None:
        require(self.lwf_weight >= 0, "rivals.lwf_weight", self.lwf_weight, "at least 0")
        require(self.lwf_temperature > 0, "rivals.lwf_temperature", self.lwf_temperature, "above 0")
        require(self.ewc_weight >= 0, "rivals.ewc_weight", self.ewc_weight, "at least 0")
        require(self.ewc_pictures >= 1, "rivals.ewc_pictures", self.ewc_pictures, "at least 1")
        require(
            all(share > 0 for share in self.packnet_shares), "rivals.packnet_shares", self.packnet_shares, "all above 0"
        )
        require(0 < self.packnet_retrain < 1, "rivals.packnet_retrain", self.packnet_retrain, "above 0 and below 1")


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation, the same for every task and every method."""

    epochs: int = 10
    """passes over each task's training pictures, at least 1"""
    batch_size: int = 64
    """pictures per step over all processes, at least 2"""
    learning_rate: float = 0.1
    """peak learning rate of SGD with Nesterov momentum 0.9; linear warm-up, then cosine to 0, for each task"""
    weight_decay: float = 5e-4
    """L2 penalty"""
    pad: int = 2
    """random crops after padding by this many pixels"""
    flip: tuple[str, ...] = ("garments", "fashion-mnist", "cifar10", "cifar100", "folder")
    """names of the sets whose pictures are mirrored at random; mirrored digits would be other digits"""
    save_every: int = 500
    """steps between checkpoints within an epoch; there is always one after each epoch"""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        require(self.batch_size >= 2, "train.batch_size", self.batch_size, "at least 2")
        require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "above 0")
        require(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "at least 0")
        require(0 <= self.pad <= 32, "train.pad", self.pad, "0 to 32 pixels")
        require(self.save_every >= 1, "train.save_every", self.save_every, "at least 1")


@dataclass(frozen=True)
class Config:
    """Everything a `remember` training needs."""

    sequence: SequenceSettings = field(default_factory=SequenceSettings)
    """the tasks; with sequence.holdout above 0 results are of the validation splits, to tune by, else of the test splits"""
    net: NetSettings = field(default_factory=NetSettings)
    """the network"""
    stack: StackSettings = field(default_factory=StackSettings)
    """the method"""
    index: IndexSettings = field(default_factory=IndexSettings)
    """how the task of a picture is inferred, for every method alike"""
    rivals: RivalSettings = field(default_factory=RivalSettings)
    """what it is compared with"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """the optimisation"""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """device, precision, processes"""
    methods: tuple[Method, ...] = METHODS
    """stack (this method), finetune, lwf (learning without forgetting), ewc (elastic weight consolidation), packnet, joint (all tasks at once: an upper bound)"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        require(len(self.methods) > 0, "methods", self.methods, "at least one")
        require(len(set(self.methods)) == len(self.methods), "methods", self.methods, "without repetition")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        count = len(self.sequence.tasks)
        for name, shares in (
            ("stack.shares", self.stack.shares),
            ("rivals.packnet_shares", self.rivals.packnet_shares),
        ):
            require(len(shares) in (0, count), name, shares, f"none, or {count}: one a task")

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of the network's width that each task's slice takes."""
        if self.stack.shares:
            return self.stack.shares
        if self.stack.budget == "width":
            return self._equal
        # task j > 0 of the share r reads itself, j - 1 more and the first: its weights are r x r (j + wider) of the network's
        wider, later = _FIRST_WIDER, range(1, len(self.sequence.tasks))
        share = (wider**2 + sum(wider + task for task in later)) ** -0.5
        return (wider * share, *(share for _ in later))

    @property
    def packnet_shares(self) -> tuple[float, ...]:
        """The share of the weights that PackNet keeps for each task."""
        return self.rivals.packnet_shares or self._equal

    @property
    def _equal(self) -> tuple[float, ...]:
        count = len(self.sequence.tasks)
        return (1 / count,) * count


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    method: tuple[Method, ...] = ()
    """which methods of the run; none takes all it has"""
    batch_size: int = 256
    """pictures per batch, at least 1"""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    images: tuple[Path, ...]
    """picture files, or folders of them"""
    task: str | None = None
    """the task that all pictures are of, as it is called in the run; none lets the index module tell"""


# the paper's sequence of three; its network for small pictures is ResNet-32, its optimiser and split of the width are not known
_PAPER = Config(
    sequence=SequenceSettings(tasks=("mnist", "svhn", "cifar10")),
    net=NetSettings(name="resnet-32"),
    index=IndexSettings(kind="generator", epochs=25, classifier_steps=2000),
    train=TrainSettings(epochs=100, batch_size=128, pad=4),
)


def _sequence(*tasks: str, size: int | None = None) -> Config:
    return replace(_PAPER, sequence=SequenceSettings(tasks=tasks, size=size))


PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": Config(
        sequence=SequenceSettings(tasks=("digits:0-4", "digits:5-9"), size=8),
        net=NetSettings(name="resnet-8", width=8),
        train=TrainSettings(epochs=3, batch_size=32, pad=1),
    ),
    # two CPU cores, real pictures of digits and garments
    "laptop": Config(
        net=NetSettings(name="resnet-14", half_stem=True),
        rivals=RivalSettings(ewc_pictures=300),
        train=TrainSettings(epochs=6),
        compute=ComputeConfig(channels_last=True),
    ),
    "paper": _PAPER,
    "paper-mnist-svhn": _sequence("mnist", "svhn"),
    "paper-svhn-cifar10": _sequence("svhn", "cifar10"),
    "paper-five": _sequence("cifar10", "svhn", "kmnist", "fashion-mnist", "mnist"),
    # two halves of ImageNet's classes of 50 each, root/train/CLASS and root/val/CLASS
    "paper-imagenet": Config(
        sequence=SequenceSettings(tasks=("folder:0-49", "folder:50-99"), size=224),
        net=NetSettings(name="resnet50", width=64),
        index=IndexSettings(kind="generator", epochs=25, classifier_steps=2000),
        train=TrainSettings(epochs=90, batch_size=256, weight_decay=1e-4, pad=28),
        compute=ComputeConfig(precision="bf16", channels_last=True),
    ),
    # what can be had everywhere in the place of the paper's three
    "objects": replace(_sequence("mnist", "fashion-mnist", "cifar10"), index=IndexSettings()),
    "split-cifar100": replace(
        _sequence(*(f"cifar100:{first}-{first + 9}" for first in range(0, 100, 10))),
        index=IndexSettings(),
    ),
}
