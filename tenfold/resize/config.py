"""Settings of `resize`. What the paper (arXiv:1901.04687) leaves open is a named setting here; see the fidelity table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, DataConfig, require


@dataclass(frozen=True)
class GateSettings:
    """The conditional gating modules and how their cost is counted."""

    form: Literal["concat", "monotone", "static", "random"] = "monotone"
    """concat: features and scale through one hidden layer; monotone: features, plus a scale term that only rises; static: scale only; random: a coin, the baseline"""
    hidden: int = 16
    """width of the gate's hidden layer, at least 1"""
    norm: Literal["batch", "layer", "none"] = "batch"
    """normalisation in the gate; batch needs more than one picture in training"""
    start: float = 2.0
    """the gate's first logit; sigmoid(2) = 0.88 starts with blocks nearly open"""
    estimator: Literal["mixed", "straight-through"] = "mixed"
    """how gates learn: mixed is the paper's draw of sigmoid or step; straight-through steps forward, sigmoid backward"""
    soft_probability: float = 0.5
    """the paper's p: how often a gate answers with its sigmoid in training, drawn per batch and gate, in [0, 1]"""
    cost: Literal["macs", "blocks"] = "macs"
    """what a scale measures: multiply-accumulates of the whole network, or the share of gated blocks"""

    def __post_init__(self) -> None:
        require(self.hidden >= 1, "gate.hidden", self.hidden, "at least 1")
        require(0 <= self.soft_probability <= 1, "gate.soft_probability", self.soft_probability, "between 0 and 1")
        require(-10 <= self.start <= 10, "gate.start", self.start, "between -10 and 10")


@dataclass(frozen=True)
class NetSettings:
    """The residual network that gets the dial."""

    name: str = "resnet-26"
    """resnet-N, resnetA-N, preresnet-N (N = 6n+2), wrn-N-K (N = 6n+4), resnet18, resnet34, resnet50, resnet101, resnet152"""
    width: int = 8
    """channels of the first stage of the networks for small pictures, at least 1"""
    half_stem: bool = True
    """the stem of the networks for small pictures halves the resolution"""
    weights: Path | None = None
    """safetensors file to start from, every network of the run; none starts from random weights"""

    def __post_init__(self) -> None:
        require(self.width >= 1, "net.width", self.width, "at least 1")


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation, the same for the resizable network and its baselines."""

    epochs: int = 6
    """passes over the training images, at least 1"""
    batch_size: int = 128
    """images per step over all processes, at least 1"""
    learning_rate: float = 0.1
    """peak learning rate of SGD with Nesterov momentum 0.9"""
    schedule: Literal["cosine", "steps"] = "cosine"
    """cosine: linear warm-up over the first tenth, then cosine to 0; steps: divided by 10 at 1/2 and 3/4 of the training"""
    weight_decay: float = 5e-4
    """L2 penalty on everything but the gates"""
    gate_learning_rate: float = 1.0
    """the gates' learning rate relative to the network's"""
    open_share: float = 0.0
    """share of the training, at its start, with all gates open; in [0, 1)"""
    scale_min: float = 0.3
    """requested scales are drawn uniformly from [scale_min, scale_max], one for each picture; equal ends fix the scale"""
    scale_max: float = 1.0
    """upper end of the drawn scales, at most 1"""
    scale_weight: float = 10.0
    """weight of the scale loss beside the classification loss"""
    soft_schedule: Literal["constant", "linear"] = "constant"
    """gate.soft_probability over the gated part of the training: as it is, or falling linearly to 0"""
    distill_weight: float = 0.0
    """weight of self-distillation from the full-scale path of the same pictures; 0 is off, as in the paper"""
    temperature: float = 1.0
    """softening of both sides of the self-distillation, above 0"""
    pad: int = 2
    """random crops after padding by this many pixels"""
    flip: bool = True
    """random horizontal flips"""
    save_every: int = 500
    """steps between checkpoints within an epoch; there is always one after each epoch"""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        require(self.batch_size >= 1, "train.batch_size", self.batch_size, "at least 1")
        require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "above 0")
        require(0 <= self.open_share < 1, "train.open_share", self.open_share, "at least 0 and below 1")
        ordered = 0 < self.scale_min <= self.scale_max <= 1
        require(
            ordered, "train.scale_min and scale_max", (self.scale_min, self.scale_max), "ordered, above 0 and at most 1"
        )
        require(self.scale_weight >= 0, "train.scale_weight", self.scale_weight, "at least 0")
        require(self.distill_weight >= 0, "train.distill_weight", self.distill_weight, "at least 0")
        require(self.temperature > 0, "train.temperature", self.temperature, "above 0")
        require(0 <= self.pad <= 32, "train.pad", self.pad, "0 to 32 pixels")
        require(self.save_every >= 1, "train.save_every", self.save_every, "at least 1")


@dataclass(frozen=True)
class Config:
    """Everything a `resize` training needs."""

    data: DataConfig = field(default_factory=DataConfig)
    """images; with data.holdout above 0 results are of the validation split, to tune by, else of the test split"""
    net: NetSettings = field(default_factory=NetSettings)
    """the network"""
    gate: GateSettings = field(default_factory=GateSettings)
    """the gates"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """the optimisation"""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """device, precision, processes"""
    baselines: tuple[Literal["ungated", "random", "shallow"], ...] = ("ungated", "random", "shallow")
    """what is trained beside it: the ungated network, blocks dropped at random, shallower networks of equal cost"""
    compare_at: tuple[float, ...] = (0.65, 0.8)
    """the costs at which baselines are compared, each above 0 and below 1"""
    calibration: int = 512
    """training images that set the dial after training; 0 leaves the gates' own step, as in the paper"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        for cost in self.compare_at:
            require(0 < cost < 1, "compare_at", cost, "above 0 and below 1")
        require(self.calibration >= 0, "calibration", self.calibration, "at least 0")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    scale: tuple[float, ...] = (0.4, 0.5, 0.65, 0.8, 0.9, 1.0)
    """requested costs, each above 0 and at most 1"""
    mode: Literal["sample", "batch", "frozen"] = "sample"
    """who decides: each picture, the batch together, or nobody any more (blocks frozen on training images)"""
    batch_size: int = 64
    """pictures per batch, at least 1"""

    def __post_init__(self) -> None:
        for scale in self.scale:
            require(0 < scale <= 1, "scale", scale, "above 0 and at most 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    images: tuple[Path, ...]
    """picture files, or folders of them"""
    scale: float = 0.65
    """requested cost, above 0 and at most 1"""

    def __post_init__(self) -> None:
        require(0 < self.scale <= 1, "scale", self.scale, "above 0 and at most 1")


PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": Config(
        data=DataConfig(name="digits"),
        net=NetSettings(name="resnet-20", width=8, half_stem=False),
        train=TrainSettings(epochs=6, batch_size=64, open_share=0.3, pad=1, flip=False),
        baselines=("ungated",),
        calibration=128,
    ),
    # one to two minutes on two CPU cores, real photographs of garments
    "laptop": Config(
        net=NetSettings(name="resnet-20", width=16, half_stem=True),
        gate=GateSettings(norm="none"),
        train=TrainSettings(epochs=6, open_share=0.3, distill_weight=1.0),
        compute=ComputeConfig(channels_last=True),
    ),
    # the paper's CIFAR experiments are not confirmed: depth, schedule and augmentation are the field's custom (He et al.)
    "paper": Config(
        data=DataConfig(name="cifar100"),
        net=NetSettings(name="resnet-110", width=16, half_stem=False),
        gate=GateSettings(form="concat", cost="blocks"),
        train=TrainSettings(epochs=200, batch_size=128, schedule="steps", weight_decay=1e-4, pad=4),
        calibration=0,
    ),
}
PRESETS["paper-cifar10"] = replace(PRESETS["paper"], data=DataConfig(name="cifar10"))
PRESETS["paper-resnet56"] = replace(PRESETS["paper"], net=NetSettings(name="resnet-56", width=16, half_stem=False))
PRESETS["paper-wrn"] = replace(
    PRESETS["paper"],
    net=NetSettings(name="wrn-28-4", width=16, half_stem=False),
    train=replace(PRESETS["paper"].train, weight_decay=5e-4),
)
PRESETS["paper-imagenet"] = replace(
    PRESETS["paper"],
    data=DataConfig(name="folder", size=224, normalize="imagenet"),
    net=NetSettings(name="resnet101", width=64, half_stem=False),
    train=replace(PRESETS["paper"].train, epochs=90, batch_size=256, pad=28),
    compute=ComputeConfig(precision="bf16", channels_last=True),
)
