"""Settings of `distill`. Defaults of the method are the paper's (arXiv:1904.01866); deviations are named options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, DataConfig, require

Method = Literal["alone", "logits", "hints", "attention", "features"]
METHODS: tuple[Method, ...] = ("alone", "logits", "hints", "attention", "features")


@dataclass(frozen=True)
class TeacherSettings:
    """The network that teaches."""

    name: str = "wrn-28-4"
    """resnet-N, wrn-N-K, pyramidnet-N-A, vggN, mobilenet, resnet50, ... (see tenfold.nets)"""
    width: int = 16
    """channels of the first stage of the networks for small pictures, at least 1"""
    half_stem: bool = False
    """the stem of the networks for small pictures halves the resolution"""
    weights: Path | None = None
    """safetensors file of a trained teacher; none trains it in the run, by the settings of `train`"""
    epochs: int | None = None
    """passes over the training images when it is trained here; none takes the students' number"""

    def __post_init__(self) -> None:
        require(self.width >= 1, "teacher.width", self.width, "at least 1")
        require(self.epochs is None or self.epochs >= 1, "teacher.epochs", self.epochs, "none or at least 1")


@dataclass(frozen=True)
class StudentSettings:
    """The network that is trained, once with each method, always from the same weights."""

    name: str = "wrn-16-2"
    """resnet-N, wrn-N-K, pyramidnet-N-A, vggN, mobilenet, resnet50, ... (see tenfold.nets)"""
    width: int = 16
    """channels of the first stage of the networks for small pictures, at least 1"""
    half_stem: bool = False
    """the stem of the networks for small pictures halves the resolution"""
    images: int | None = None
    """students learn from at most this many of the training images, chosen evenly over the classes; none takes all, as the teacher does"""

    def __post_init__(self) -> None:
        require(self.width >= 1, "student.width", self.width, "at least 1")
        require(self.images is None or self.images >= 2, "student.images", self.images, "none or at least 2")


@dataclass(frozen=True)
class FeatureSettings:
    """The method: feature distillation before the ReLU."""

    alpha: float = 1e-3
    """weight of the feature loss, above 0: the authors' rule is 1e-3 for 32-pixel pictures, 1e-4 for 224"""
    auto_alpha: bool = False
    """choose alpha while training, so that the feature loss's gradient keeps its proportion to the task's"""
    margin: Literal["bn", "data"] = "bn"
    """where the teacher's margins come from: its batch normalisation (the paper), or what it computes"""
    margin_form: Literal["paper", "exact"] = "paper"
    """for channels that are hardly ever negative: the paper's -3 sigma, or what the formula gives"""
    teacher_norm: Literal["batch", "running"] = "batch"
    """the teacher normalises by each batch (the paper), or by its running statistics"""

    def __post_init__(self) -> None:
        require(self.alpha > 0, "features.alpha", self.alpha, "above 0")


@dataclass(frozen=True)
class RivalSettings:
    """The methods it is compared with, at the weights that are the field's custom."""

    temperature: float = 4.0
    """softening of the logits, above 0"""
    logit_weight: float = 0.9
    """share of the softened teacher in the loss, in [0, 1]; the rest is the task's"""
    hint_weight: float = 100.0
    """of the mean squared distance of the middle position's features (FitNets)"""
    attention_weight: float = 1000.0
    """of the mean squared distance of attention maps"""

    def __post_init__(self) -> None:
        require(self.temperature > 0, "rivals.temperature", self.temperature, "above 0")
        require(0 <= self.logit_weight <= 1, "rivals.logit_weight", self.logit_weight, "between 0 and 1")
        require(self.hint_weight >= 0, "rivals.hint_weight", self.hint_weight, "at least 0")
        require(self.attention_weight >= 0, "rivals.attention_weight", self.attention_weight, "at least 0")


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation, the same for the teacher and for every student."""

    epochs: int = 200
    """passes over the training images, at least 1"""
    batch_size: int = 128
    """images per step over all processes, at least 1"""
    learning_rate: float = 0.1
    """peak learning rate of SGD with Nesterov momentum 0.9"""
    schedule: Literal["cosine", "steps"] = "steps"
    """cosine: linear warm-up over the first tenth, then cosine to 0; steps: divided by 10 at each of steps_at"""
    steps_at: tuple[float, ...] = (0.5, 0.75)
    """shares of the training at which the rate is divided by 10, each in (0, 1)"""
    reset_momentum: bool = False
    """forget the momentum at each such step, as the authors' code does by making a new optimiser"""
    weight_decay: float = 5e-4
    """L2 penalty"""
    pad: int = 4
    """random crops after padding by this many pixels"""
    reflect: bool = False
    """pad by reflection, as the paper does, instead of by zeros"""
    flip: bool = True
    """random horizontal flips"""
    save_every: int = 500
    """steps between checkpoints within an epoch; there is always one after each epoch"""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        require(self.batch_size >= 2, "train.batch_size", self.batch_size, "at least 2")
        require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "above 0")
        require(all(0 < at < 1 for at in self.steps_at), "train.steps_at", self.steps_at, "shares above 0 and below 1")
        require(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "at least 0")
        require(0 <= self.pad <= 32, "train.pad", self.pad, "0 to 32 pixels")
        require(self.save_every >= 1, "train.save_every", self.save_every, "at least 1")


@dataclass(frozen=True)
class Config:
    """Everything a `distill` training needs."""

    data: DataConfig = field(default_factory=DataConfig)
    """images; with data.holdout above 0 results are of the validation split, to tune by, else of the test split"""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    """the network that teaches"""
    student: StudentSettings = field(default_factory=StudentSettings)
    """the network that learns"""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    """the method"""
    rivals: RivalSettings = field(default_factory=RivalSettings)
    """what it is compared with"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """the optimisation"""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """device, precision, processes"""
    methods: tuple[Method, ...] = METHODS
    """how students are trained: alone, logits (knowledge distillation), hints (FitNets), attention (transfer), features (this method)"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        require(len(self.methods) > 0, "methods", self.methods, "at least one")
        require(len(set(self.methods)) == len(self.methods), "methods", self.methods, "without repetition")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    network: tuple[str, ...] = ()
    """which networks of the run: teacher, alone, logits, hints, attention, features; none takes all it has"""
    batch_size: int = 256
    """pictures per batch, at least 1"""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    images: tuple[Path, ...]
    """picture files, or folders of them"""


_CIFAR = Config(
    data=DataConfig(name="cifar100"),
    train=TrainSettings(reset_momentum=True, reflect=True),
)
_IMAGENET = Config(
    data=DataConfig(name="folder", size=224, normalize="imagenet"),
    features=FeatureSettings(alpha=1e-4),
    train=TrainSettings(
        epochs=100, batch_size=256, steps_at=(0.3, 0.6, 0.9), reset_momentum=True, weight_decay=1e-4, pad=28
    ),
    compute=ComputeConfig(precision="bf16", channels_last=True),
)


def _cifar(teacher: str, student: str, *, batch_size: int = 128) -> Config:
    return replace(
        _CIFAR,
        teacher=TeacherSettings(name=teacher),
        student=StudentSettings(name=student),
        train=replace(_CIFAR.train, batch_size=batch_size),
    )


def _imagenet(teacher: str, student: str) -> Config:
    return replace(_IMAGENET, teacher=TeacherSettings(name=teacher), student=StudentSettings(name=student))


PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": Config(
        data=DataConfig(name="digits"),
        teacher=TeacherSettings(name="resnet-14", width=8),
        student=StudentSettings(name="resnet-8", width=4),
        train=TrainSettings(epochs=4, batch_size=64, schedule="cosine", pad=1, flip=False),
    ),
    # a few minutes on two CPU cores, real photographs of garments: a teacher that has seen ten times as many as its students
    "laptop": Config(
        teacher=TeacherSettings(name="resnet-14", width=16, half_stem=True, epochs=6),
        student=StudentSettings(name="resnet-8", width=16, half_stem=True, images=1000),
        features=FeatureSettings(auto_alpha=True),
        train=TrainSettings(epochs=30, batch_size=64, schedule="cosine", pad=2),
        compute=ComputeConfig(channels_last=True),
    ),
    # the paper's setting (c), CIFAR-100: WRN-28-4 into WRN-16-2
    "paper": _cifar("wrn-28-4", "wrn-16-2"),
    "paper-a": _cifar("wrn-28-4", "wrn-16-4"),
    "paper-b": _cifar("wrn-28-4", "wrn-28-2"),
    "paper-d": _cifar("wrn-28-4", "resnet-56"),
    "paper-e": _cifar("pyramidnetB-200-240", "wrn-28-4", batch_size=64),
    "paper-f": _cifar("pyramidnetB-200-240", "pyramidnet-110-84", batch_size=64),
    "paper-imagenet": _imagenet("resnet152", "resnet50"),
    "paper-imagenet-mobilenet": _imagenet("resnet50", "mobilenet"),
}
