"""Settings of `translate`. Defaults of the method are the authors' (arXiv:1811.12362 and their code); deviations are named."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, require

MethodName = Literal["sgn", "film", "concat", "singles", "middle"]
METHODS: tuple[MethodName, ...] = ("sgn", "film", "concat", "singles", "middle")


@dataclass(frozen=True)
class PictureSettings:
    """Which pictures are translated, and to what; each name is a corner of the dial."""

    source: str = "photos"
    """what is translated: an embedded set (photos, ink, paintings), a folder, or NAME=FOLDER; its corner rebuilds it"""
    domains: tuple[str, ...] = ("ink",)
    """sets that pictures shall look like, each by a discriminator: embedded sets, folders, or NAME=FOLDER"""
    styles: tuple[str, ...] = ("cypresses",)
    """pictures whose style is given: embedded ones (cypresses, circus, primavesi), files, or NAME=FILE"""
    size: int = 286
    """pictures are resized to cover size x size pixels (paper: 286), and tested so"""
    crop: int = 256
    """side of the random windows that are trained on, in pixels; at most size (paper: 256)"""
    style_size: int = 256
    """side of the square that style pictures are cropped to, in pixels (paper: 256)"""
    flip: bool = True
    """random horizontal flips"""
    holdout: float = 0.0
    """share of the training pictures kept aside as the validation split, which results are then of, in [0, 0.5]"""
    limit: int | None = None
    """use at most this many pictures of each set and split; none uses all"""

    def __post_init__(self) -> None:
        require(32 <= self.size <= 1024, "data.size", self.size, "32 to 1024 pixels")
        allowed = "a multiple of 4, from 32 to data.size"
        require(32 <= self.crop <= self.size and self.crop % 4 == 0, "data.crop", self.crop, allowed)
        require(32 <= self.style_size <= 1024, "data.style_size", self.style_size, "32 to 1024 pixels")
        require(0.0 <= self.holdout <= 0.5, "data.holdout", self.holdout, "between 0 and 0.5")
        require(self.limit is None or self.limit >= 2, "data.limit", self.limit, "none or at least 2")
        corners = len(self.domains) + len(self.styles)
        require(corners >= 1, "data.domains", self.domains, "at least one, or else data.styles")
        require(corners <= 7, "data.domains", self.domains, "at most seven together with data.styles")


@dataclass(frozen=True)
class NetSettings:
    """The networks, the same for all methods but for the conditioning."""

    width: int = 64
    """channels of the generator's stem, at least 1 (paper: 64)"""
    blocks: int = 9
    """residual blocks of the generator, at least 1 (paper: 9)"""
    skip: bool = False
    """the generator gives a share of the picture plus what it finds, clipped, instead of its tanh (ours): for short trainings"""
    doubling: Literal["transposed", "nearest"] = "transposed"
    """how the generator doubles its features: transposed convolutions (paper), or repeated pixels and a convolution (ours)"""
    norm: Literal["instance", "layer"] = "instance"
    """the generator's: instance (paper), or layer (ours), over all channels together, which keeps colours and contrast"""
    last: bool = False
    """also condition behind the doublings (ours; the authors' code makes that place too, but never calls it)"""
    reduction: int = 4
    """by which attention's hidden layer is narrower than its features, at least 1 (paper: 4)"""
    critic_width: int = 64
    """channels of the discriminator's first layer, at least 1 (paper: 64)"""
    critic_layers: int = 3
    """halvings of the discriminator, at least 1 (paper: 3, patches of 70 x 70 pixels); 2 are 34 x 34"""
    critic_norm: Literal["instance", "none"] = "instance"
    """the discriminator's: instance (paper), which hardly sees colours and contrast, or none (ours), which does"""

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "reduction", "critic_width", "critic_layers"):
            require(getattr(self, name) >= 1, f"net.{name}", getattr(self, name), "at least 1")


@dataclass(frozen=True)
class LossSettings:
    """What the losses are made of, and how they count beside each other."""

    reconstruction: float = 2.0
    """factor of the mean absolute difference to the picture, above 0 (paper: 2)"""
    identity: float = 5.0
    """factor of the mean change of what is of a domain already, at least 0 (paper: 5)"""
    perceptual: float = 1e-3
    """factor of the squared difference of features to the picture's, in the style losses, at least 0 (paper: 0.001)"""
    style: tuple[float, ...] = (10.0, 100.0, 1000.0, 500.0)
    """factors of the squared difference of each layer's Gram matrices, at least 0 (paper: 10, 100, 1000, 500)"""
    relative: bool = False
    """measure features and Gram matrices in units of what is wanted (ours), so that factors are near 1 for any network"""
    vgg: Path | None = None
    """safetensors file of VGG-16 features to conv4_3 in torchvision's names; none takes a fixed bank of filters (ours)"""
    scales: Literal["fixed", "running"] = "fixed"
    """fixed: the factors above are all (paper); running: losses are also balanced by running statistics (ours)"""

    def __post_init__(self) -> None:
        require(self.reconstruction > 0, "loss.reconstruction", self.reconstruction, "above 0")
        require(self.identity >= 0, "loss.identity", self.identity, "at least 0")
        require(self.perceptual >= 0, "loss.perceptual", self.perceptual, "at least 0")
        allowed = "four numbers of at least 0, not all 0"
        good = len(self.style) == 4 and min(self.style) >= 0 and max(self.style) > 0
        require(good, "loss.style", self.style, allowed)


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation, the same for every network."""

    epochs: int = 20
    """passes over the largest of the sets, at least 1 (paper: 20)"""
    batch_size: int = 4
    """pictures of each set per step over all processes, at least 1 (paper: 4)"""
    learning_rate: float = 2e-4
    """of Adam with betas 0.5 and 0.999 (paper: 0.0002), constant for the first half, then falling to 0"""
    critic_rate: float = 2e-4
    """the same of the discriminators (paper: 0.0002)"""
    critic_jitter: float = 0.0
    """strength of random colour shifts of all that the discriminators see, in [0, 1] (ours; paper: 0); against few pictures"""
    critic_penalty: float = 0.0
    """factor of a gradient penalty on the discriminators, at least 0 (ours; paper: 0); against few pictures learned by heart"""
    critic_clip: float | None = None
    """longest step's gradient of the discriminators, as a norm, above 0 (ours); none clips nothing (paper)"""
    alpha: float = 0.5
    """concentration of the Dirichlet distribution that mixtures are drawn from, above 0 (paper: 0.5)"""
    vertices: float = 0.0
    """share of the samples that get a single loss (ours; paper: 0), in [0, 1]"""
    replay: int = 50
    """made pictures kept for the discriminators, with their mixtures, at least 0 (paper: 50)"""
    save_every: int = 500
    """steps between checkpoints"""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        require(self.batch_size >= 1, "train.batch_size", self.batch_size, "at least 1")
        require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "above 0")
        require(self.critic_rate > 0, "train.critic_rate", self.critic_rate, "above 0")
        require(0 <= self.critic_jitter <= 1, "train.critic_jitter", self.critic_jitter, "between 0 and 1")
        require(self.critic_penalty >= 0, "train.critic_penalty", self.critic_penalty, "at least 0")
        allowed = "none or above 0"
        require(self.critic_clip is None or self.critic_clip > 0, "train.critic_clip", self.critic_clip, allowed)
        require(self.alpha > 0, "train.alpha", self.alpha, "above 0")
        require(0 <= self.vertices <= 1, "train.vertices", self.vertices, "between 0 and 1")
        require(self.replay >= 0, "train.replay", self.replay, "at least 0")
        require(self.save_every >= 1, "train.save_every", self.save_every, "at least 1")


@dataclass(frozen=True)
class Config:
    """Everything a `translate` training needs."""

    data: PictureSettings = field(default_factory=PictureSettings)
    """which pictures, and what they become"""
    net: NetSettings = field(default_factory=NetSettings)
    """the networks"""
    loss: LossSettings = field(default_factory=LossSettings)
    """the losses"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """the optimisation"""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """device, precision, processes"""
    methods: tuple[MethodName, ...] = METHODS
    """sgn; film and concat in place of its attention; singles: a network for each loss; middle: one for their even mixture"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        require(len(self.methods) > 0, "methods", self.methods, "at least one")
        require(len(set(self.methods)) == len(self.methods), "methods", self.methods, "without repetition")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    rows: tuple[str, ...] = ()
    """which rows, such as sgn; none takes all the run has"""
    edges: bool = False
    """show the losses along every edge of the dial instead"""
    points: int = 6
    """mixtures along each edge, 2 to 101"""

    def __post_init__(self) -> None:
        require(2 <= self.points <= 101, "points", self.points, "2 to 101")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    images: tuple[Path, ...]
    """picture files, folders of them, or videos, of which every frame is translated"""
    mix: tuple[str, ...] = ()
    """the mixture, as NAME=SHARE ...; what is not named has 0; none writes every corner and the middle"""
    grid: bool = False
    """write the whole triangle of mixtures instead, on one sheet for each picture"""
    network: str | None = None
    """which network of the run; none takes the first that has a dial"""
    largest: int = 2048
    """pixels along the longer side of what is written; larger pictures are made smaller"""
    tile: int = 512
    """pixels along the sides of the parts that large pictures are translated in, without seams; at least 128"""

    def __post_init__(self) -> None:
        require(self.largest >= 32, "largest", self.largest, "at least 32")
        require(self.tile >= 128, "tile", self.tile, "at least 128")


_LAPTOP = Config(
    data=PictureSettings(size=96, crop=64, style_size=128),
    net=NetSettings(
        width=16,
        blocks=3,
        skip=True,
        doubling="nearest",
        norm="layer",
        last=True,
        reduction=1,
        critic_width=16,
        critic_layers=2,
        critic_norm="none",
    ),
    # with `skip` the generator keeps what is of a domain by itself, which the identity loss would only hold it to
    loss=LossSettings(reconstruction=4.0, identity=0.0, perceptual=0.5, style=(0.5, 0.5, 0.5, 0.5), relative=True),
    # few paintings are soon learned by heart: the discriminators see them in shifting colours, and are kept flat around them
    train=TrainSettings(
        epochs=64,
        batch_size=4,
        learning_rate=4e-3,
        critic_rate=1e-3,
        critic_jitter=1.0,
        critic_penalty=100.0,
        vertices=0.5,
    ),
    compute=ComputeConfig(channels_last=True),
    methods=("sgn", "film", "singles"),
)

PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": replace(
        _LAPTOP,
        data=PictureSettings(size=48, crop=32, style_size=64, limit=32),
        net=replace(_LAPTOP.net, width=8, blocks=1, critic_width=8),
        train=replace(_LAPTOP.train, epochs=16),
        methods=("sgn", "singles"),
    ),
    # two CPU cores: embedded photographs, ink paintings, and a painting's style
    "laptop": _LAPTOP,
    # the authors' first model: vangogh2photo of CycleGAN's data and a style picture; wants a GPU and VGG-16's weights
    "paper": Config(
        data=PictureSettings(
            source="photo=vangogh2photo/trainB", domains=("vangogh=vangogh2photo/trainA",), styles=("style=style.jpg",)
        ),
        loss=LossSettings(vgg=Path("vgg16.safetensors")),
        methods=("sgn", "singles"),
    ),
    # the second: ukiyoe2photo
    "ukiyoe": Config(
        data=PictureSettings(
            source="photo=ukiyoe2photo/trainB", domains=("ukiyoe=ukiyoe2photo/trainA",), styles=("style=style.jpg",)
        ),
        loss=LossSettings(vgg=Path("vgg16.safetensors")),
        methods=("sgn", "singles"),
    ),
    # the third: two domains and no style, summer photographs to winter and to Monet
    "season": Config(
        data=PictureSettings(
            source="summer=summer2winter_yosemite/trainA",
            domains=("winter=summer2winter_yosemite/trainB", "monet=monet2photo/trainA"),
            styles=(),
        ),
        methods=("sgn", "singles"),
    ),
}
