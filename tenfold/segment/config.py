"""Settings of `segment`. Defaults of the method are the authors' (arXiv:1812.04920); deviations are named options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, MaskedDataConfig, require


@dataclass(frozen=True)
class NetSettings:
    """The networks, those of ESPNet's frame first."""

    rates: tuple[int, ...] = (2, 4, 8, 16)
    """dilations of the parallel branches of c3net, c3netv2 and depthwise, each at least 1; the authors' best are 2 3 7 13"""
    depths: tuple[int, int] = (2, 8)
    """modules at a quarter and at an eighth of the resolution (p and q), for all networks of this frame"""
    width: int = 16
    """channels of the stem of drn-... and deeplab-...; 16 and 64 are the published networks"""

    def __post_init__(self) -> None:
        require(len(self.rates) > 0 and min(self.rates) >= 1, "net.rates", self.rates, "one or more, each at least 1")
        require(len(self.depths) == 2 and min(self.depths) >= 0, "net.depths", self.depths, "two, each at least 0")
        require(self.width >= 1, "net.width", self.width, "at least 1")


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation: first the encoder by labels of an eighth of the resolution, then the whole network."""

    encoder_epochs: int = 1500
    """passes over the training pictures for the encoder alone, at least 0; the authors' 300 epochs are of 5 passes"""
    epochs: int = 1500
    """passes over the training pictures for the whole network, at least 1"""
    encoder_batch_size: int = 24
    """pictures per step over all processes while the encoder alone is trained, at least 2"""
    batch_size: int = 16
    """pictures per step over all processes, at least 2"""
    learning_rate: float = 1e-3
    """peak learning rate of Adam, in each of both stages"""
    schedule: Literal["steps", "poly", "cosine"] = "steps"
    """steps: multiplied by step_factor at each of steps_at; poly: (1 - t)^0.9; cosine: warm-up over a tenth, then to 0"""
    steps_at: tuple[float, ...] = (0.5, 250 / 300)
    """shares of a stage at which the rate falls, each in (0, 1)"""
    step_factor: float = 0.5
    """what the rate is multiplied by, in (0, 1)"""
    weight_decay: float = 2e-4
    """L2 penalty of convolutions; depthwise ones have none"""
    norm_decay: float = 1e-5
    """L2 penalty of norms, slopes and biases"""
    class_weights: bool = True
    """rare classes weigh more: 1 / ln(1.10 + share)"""
    sizes: tuple[float, ...] = (1.5, 1.25, 0.5, 0.75, 1.0)
    """of the pictures, relative to data.height and data.width; each pass takes the next"""
    crop: float = 0.05
    """up to this share of the height or width is cut off at each side, at random, in [0, 0.4]"""
    flip: bool = True
    """random horizontal flips"""
    save_every: int = 200
    """steps between checkpoints within an epoch; there is always one after each epoch"""

    def __post_init__(self) -> None:
        require(self.encoder_epochs >= 0, "train.encoder_epochs", self.encoder_epochs, "at least 0")
        require(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        require(self.encoder_batch_size >= 2, "train.encoder_batch_size", self.encoder_batch_size, "at least 2")
        require(self.batch_size >= 2, "train.batch_size", self.batch_size, "at least 2")
        require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "above 0")
        require(all(0 < at < 1 for at in self.steps_at), "train.steps_at", self.steps_at, "shares above 0 and below 1")
        require(0 < self.step_factor < 1, "train.step_factor", self.step_factor, "above 0 and below 1")
        require(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "at least 0")
        require(self.norm_decay >= 0, "train.norm_decay", self.norm_decay, "at least 0")
        allowed = "one or more, each from 0.1 to 4"
        require(bool(self.sizes) and all(0.1 <= size <= 4 for size in self.sizes), "train.sizes", self.sizes, allowed)
        require(0 <= self.crop <= 0.4, "train.crop", self.crop, "between 0 and 0.4")
        require(self.save_every >= 1, "train.save_every", self.save_every, "at least 1")


@dataclass(frozen=True)
class Config:
    """Everything a `segment` training needs."""

    data: MaskedDataConfig = field(default_factory=MaskedDataConfig)
    """pictures and a class for each of their pixels"""
    net: NetSettings = field(default_factory=NetSettings)
    """the networks"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """the optimisation, the same for every network"""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """device, precision, processes"""
    networks: tuple[str, ...] = ("c3net", "espnet", "depthwise")
    """what is trained: c3net, c3netv2, espnet, depthwise, drn-d-22, drn-c-26, drn-a-50, deeplab-50; with +c3 behind it, such as drn-d-22+c3, dense dilated convolutions are concentrated ones"""
    validate: bool = False
    """results are of the validation split, to choose settings by, instead of the test split; always so with data.holdout above 0"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        require(len(self.networks) > 0, "networks", self.networks, "at least one")
        require(len(set(self.networks)) == len(self.networks), "networks", self.networks, "without repetition")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    network: tuple[str, ...] = ()
    """which networks of the run; none takes all it has"""
    per_class: bool = False
    """show the intersection over union of every class instead"""
    batch_size: int = 16
    """pictures per batch, at least 1"""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    images: tuple[Path, ...]
    """picture files, folders of them, or videos, of which every frame is segmented"""
    network: str | None = None
    """which network of the run; none takes the first"""
    opacity: float = 0.55
    """of the classes' colours over the picture, in [0, 1]"""

    def __post_init__(self) -> None:
        require(0 <= self.opacity <= 1, "opacity", self.opacity, "between 0 and 1")


_PAPER = Config(
    data=MaskedDataConfig(name="cityscapes", height=512, width=1024),
    net=NetSettings(rates=(2, 3, 7, 13)),
    networks=("c3net", "c3netv2", "espnet", "depthwise"),
    compute=ComputeConfig(channels_last=True),
)

PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": Config(
        data=MaskedDataConfig(height=48, width=64, limit=96),
        net=NetSettings(depths=(1, 1)),
        train=TrainSettings(
            encoder_epochs=1,
            epochs=4,
            encoder_batch_size=16,
            batch_size=16,
            learning_rate=1e-2,
            schedule="cosine",
            sizes=(1.0,),
        ),
        networks=("c3net", "espnet"),
        compute=ComputeConfig(channels_last=True),
    ),
    # a few minutes on two CPU cores: composed street scenes, seen at three quarters of their size
    "laptop": Config(
        data=MaskedDataConfig(height=72, width=96),
        net=NetSettings(rates=(2, 3, 7, 13)),
        train=TrainSettings(
            encoder_epochs=1,
            epochs=4,
            encoder_batch_size=8,
            batch_size=8,
            learning_rate=1e-2,
            schedule="cosine",
            sizes=(1.0,),
        ),
        compute=ComputeConfig(channels_last=True),
    ),
    # the authors' setting on Cityscapes, at half of its resolution
    "paper": _PAPER,
    # CamVid in SegNet's split, the same recipe: wants a GPU
    "camvid": replace(
        _PAPER,
        data=MaskedDataConfig(name="camvid", height=360, width=480),
        train=TrainSettings(encoder_batch_size=16, batch_size=16),
    ),
    # Pascal VOC; pictures are fitted into a square
    "voc": replace(_PAPER, data=MaskedDataConfig(name="voc", height=512, width=512)),
}
