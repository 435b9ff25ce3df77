"""Settings of `generate`. What the paper (arXiv:1902.04294) leaves open has a default that was measured or is the field's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, DataConfig, require

AutoencoderName = Literal["incremental", "plain", "vae", "rae"]
DensityName = Literal["lde", "normal", "gaussian", "gmm", "flow"]
AUTOENCODERS: tuple[AutoencoderName, ...] = ("incremental", "plain", "vae", "rae")
DENSITIES: tuple[DensityName, ...] = ("lde", "normal", "gaussian", "gmm", "flow")


@dataclass(frozen=True)
class NetSettings:
    """The autoencoder, the same for all methods (the paper's, see `tenfold.generate.autoencoder`)."""

    latent: int = 16
    """dimensions of the latent vector, at least 1"""
    width: int = 64
    """channels of the first convolution; every further one doubles them (paper: 64)"""
    range: Literal["tanh", "sigmoid"] = "tanh"
    """the decoder's last step: tanh for pictures in [-1, 1], sigmoid for [0, 1] (paper: for MNIST)"""
    norm_start: Literal["standard", "paper"] = "standard"
    """batch norm's first scale: 1, or the released code's N(0, 0.02), which begins with latents that hardly vary"""

    def __post_init__(self) -> None:
        require(self.latent >= 1, "net.latent", self.latent, "at least 1")
        require(self.width >= 1, "net.width", self.width, "at least 1")


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation of the autoencoders, the same for all."""

    epochs: int = 20
    """passes over the training pictures, at least 1; the warm-up is among them"""
    warmup: float = 8.0
    """passes until the incremental autoencoder has all latents active; at most `epochs`, and 1 or less has them at once"""
    batch_size: int = 128
    """pictures per step over all processes, at least 2"""
    learning_rate: float = 1e-3
    """of Adam with betas 0.5 and 0.999, at its peak"""
    schedule: Literal["cosine", "steps"] = "cosine"
    """cosine: linear warm-up over the first tenth, then cosine to 0; steps: halved at each of `halve_at`"""
    halve_at: tuple[float, ...] = (0.1, 0.25, 0.5)
    """shares of the training at which `steps` halves the rate (paper: epochs 20, 50 and 100 of 200)"""
    perceptual: float = 0.0
    """weight of the perceptual loss beside the squared error (paper: 0.1 or 0); it needs `perceptual_weights`"""
    perceptual_weights: Path | None = None
    """safetensors file of VGG-16 or VGG-19 features in torchvision's names, up to the eighth layer at least"""
    flip: bool = False
    """mirror pictures at random; the paper does not augment"""
    save_every: int = 500
    """steps between checkpoints within an epoch; there is always one after each epoch"""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        require(0 <= self.warmup <= self.epochs, "train.warmup", self.warmup, "between 0 and train.epochs")
        require(self.batch_size >= 2, "train.batch_size", self.batch_size, "at least 2")
        require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "above 0")
        require(all(0 < at < 1 for at in self.halve_at), "train.halve_at", self.halve_at, "all between 0 and 1")
        require(self.perceptual >= 0, "train.perceptual", self.perceptual, "at least 0")
        require(
            self.perceptual == 0 or self.perceptual_weights is not None,
            "train.perceptual_weights",
            self.perceptual_weights,
            "given where train.perceptual is above 0",
        )
        require(self.save_every >= 1, "train.save_every", self.save_every, "at least 1")


@dataclass(frozen=True)
class DensitySettings:
    """The method: the latent density estimator's network. See `tenfold.generate.LatentDensity`."""

    components: int = 30
    """Gaussians in each mixture, at least 1 (paper: 30; CIFAR-10: 50)"""
    order: Literal["index", "variance", "pca"] = "index"
    """in which latents follow each other: as they come (paper), the most varying first, or as principal components"""
    norm: Literal["batch", "layer"] = "batch"
    """normalisation in the network (paper: batch)"""
    heads: Literal["shared", "own"] = "own"
    """the network's last layer: one for all latents (paper), or one for each (ours), which learns better"""
    base_width: int = 16
    """channels of the first layer; every further one doubles them (paper: 16)"""
    max_width: int | None = 512
    """up to this many; none never stops, as in the paper: 64 latents and fewer do not notice"""
    floor: float = 1e-3
    """least standard deviation of a component, in units of the latent's own, in [0, 1); 0 is the paper"""
    standardize: bool = True
    """learn latents centred and with a spread of one; the paper takes them as they are"""

    def __post_init__(self) -> None:
        require(self.components >= 1, "density.components", self.components, "at least 1")
        require(self.base_width >= 1, "density.base_width", self.base_width, "at least 1")
        require(
            self.max_width is None or self.max_width >= 1, "density.max_width", self.max_width, "none or at least 1"
        )
        require(0 <= self.floor < 1, "density.floor", self.floor, "at least 0 and below 1")


@dataclass(frozen=True)
class FitSettings:
    """How a density is learned, the method's and the flow's alike."""

    epochs: int = 40
    """passes over the rows, at most; at least 1"""
    patience: int = 10
    """epochs without a rise of the held-out likelihood after which it stops, at least 1"""
    held_out: float = 0.1
    """share of the rows that are not learned but decide when to stop, above 0 and at most 0.5"""
    batch_size: int = 128
    """rows per step over all processes, at least 1"""
    learning_rate: float = 1e-2
    """of AdamW, at its peak (paper: 0.0002)"""
    schedule: Literal["cosine", "steps"] = "cosine"
    """cosine: linear warm-up over the first tenth, then cosine to 0; steps: halved at each of `steps_at`"""
    steps_at: tuple[float, ...] = (0.075, 0.175, 0.3, 0.5)
    """shares of the epochs at which `steps` halves the rate (paper: epochs 15, 35, 60 and 100 of 200)"""
    momentum: float = 0.9
    """the first beta of AdamW, in [0, 1) (paper: 0.5)"""
    weight_decay: float = 0.0
    """of AdamW"""
    noise: float = 0.0
    """standard deviation of noise on the rows while they are learned, in units of each column's own: smooths the density"""
    clip: float = 10.0
    """gradients are shortened to this length"""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.patience >= 1, "patience", self.patience, "at least 1")
        require(0 < self.held_out <= 0.5, "held_out", self.held_out, "above 0 and at most 0.5")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.schedule in ("cosine", "steps"), "schedule", self.schedule, "cosine or steps")
        require(all(0 < at < 1 for at in self.steps_at), "steps_at", self.steps_at, "all between 0 and 1")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "at least 0 and below 1")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        require(self.noise >= 0, "noise", self.noise, "at least 0")
        require(self.clip > 0, "clip", self.clip, "above 0")


@dataclass(frozen=True)
class RivalSettings:
    """What it is compared with."""

    vae_beta: float = 16.0
    """weight of the VAE's divergence; its decoder's variance is the best for each batch, so that 1 is the evidence bound"""
    rae_latent: float = 1e-4
    """weight of half the squared length of RAE's latents"""
    rae_decoder: float = 1e-5
    """L2 penalty on the weights of RAE's decoder"""
    gmm_components: int = 10
    """Gaussians of full covariance in the mixture model, at least 1; 10 is the RAE paper's"""
    flow_transforms: int = 3
    """autoregressive transforms of the flow, at least 1"""
    flow_hidden: int = 160
    """width of the two hidden layers of each transform, at least 1"""
    flow_rate: float = 5e-3
    """peak learning rate of the flow; all else of its fit is as the method's"""

    def __post_init__(self) -> None:
        require(self.vae_beta >= 0, "rivals.vae_beta", self.vae_beta, "at least 0")
        require(self.rae_latent >= 0, "rivals.rae_latent", self.rae_latent, "at least 0")
        require(self.rae_decoder >= 0, "rivals.rae_decoder", self.rae_decoder, "at least 0")
        require(self.flow_rate > 0, "rivals.flow_rate", self.flow_rate, "above 0")
        for name in ("gmm_components", "flow_transforms", "flow_hidden"):
            require(getattr(self, name) >= 1, f"rivals.{name}", getattr(self, name), "at least 1")


@dataclass(frozen=True)
class MetricSettings:
    """How samples are judged."""

    samples: int = 2000
    """pictures that are generated and compared with the held-out ones, at least 10"""
    features: Literal["classifier", "inception"] = "classifier"
    """network whose features the Frechet distance is of: a classifier trained on this run's data, or Inception-V3"""
    inception: Path | None = None
    """TorchScript file of Inception-V3's FID features, (N, 3, 299, 299) in [-1, 1] -> (N, 2048)"""
    classifier: str = "resnet-8"
    """network of the classifier (see tenfold.nets), 16 channels wide, with a stem that halves the pictures"""
    classifier_epochs: int = 4
    """passes over the training pictures that the classifier learns for, at least 1"""
    neighbours: int = 3
    """precision and recall: how far a picture's neighbourhood reaches, at least 1"""

    def __post_init__(self) -> None:
        require(self.samples >= 10, "metrics.samples", self.samples, "at least 10")
        require(self.classifier_epochs >= 1, "metrics.classifier_epochs", self.classifier_epochs, "at least 1")
        require(self.neighbours >= 1, "metrics.neighbours", self.neighbours, "at least 1")
        given = self.inception is not None or self.features == "classifier"
        require(given, "metrics.inception", self.inception, "given where metrics.features is inception")


@dataclass(frozen=True)
class Config:
    """Everything a `generate` training needs."""

    data: DataConfig = field(default_factory=DataConfig)
    """pictures; with data.holdout above 0 results are of the validation split, to tune by, else of the test split"""
    latents: Path | None = None
    """a .csv, .npy, .npz or .safetensors file of numbers (N, D): densities of its rows are learned, and no autoencoder"""
    net: NetSettings = field(default_factory=NetSettings)
    """the autoencoder"""
    train: TrainSettings = field(default_factory=TrainSettings)
    """the autoencoder's optimisation"""
    density: DensitySettings = field(default_factory=DensitySettings)
    """the method's density"""
    fit: FitSettings = field(default_factory=FitSettings)
    """how the densities are learned"""
    rivals: RivalSettings = field(default_factory=RivalSettings)
    """what it is compared with"""
    metrics: MetricSettings = field(default_factory=MetricSettings)
    """how samples are judged"""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """device, precision, processes"""
    autoencoders: tuple[AutoencoderName, ...] = AUTOENCODERS
    """incremental (the paper's), plain, vae, rae (regularised, with L2)"""
    densities: tuple[DensityName, ...] = DENSITIES
    """of the latents: lde (this method), normal (each by itself), gaussian (full covariance), gmm, flow (masked autoregressive)"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        for name in ("autoencoders", "densities"):
            given = getattr(self, name)
            require(len(given) > 0, name, given, "at least one")
            require(len(set(given)) == len(given), name, given, "without repetition")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    rows: tuple[str, ...] = ()
    """which rows, such as "incremental lde"; none takes all the run has"""
    samples: int | None = None
    """pictures generated for each; none takes the run's own number"""
    temperature: float = 1.0
    """of the method's sampling, above 0; below 1 samples are nearer to the modes"""

    def __post_init__(self) -> None:
        require(self.samples is None or self.samples >= 10, "samples", self.samples, "none or at least 10")
        require(self.temperature > 0, "temperature", self.temperature, "above 0")


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` takes: the inputs of one prediction."""

    images: tuple[Path, ...] = ()
    """pictures to rebuild, score and pass between, or folders of them; none takes generated ones"""
    count: int = 64
    """pictures to generate, 1 to 1,024"""
    temperature: float = 1.0
    """of sampling, above 0; below 1 samples are nearer to the modes"""
    steps: int = 9
    """pictures on the way from the first image to the last, 2 to 64"""
    bend: float = 1.0
    """how much the way bends to where pictures are likely, at least 0; 0 is straight"""
    seed: int = 0
    """of what is generated, at least 0"""

    def __post_init__(self) -> None:
        require(1 <= self.count <= 1024, "count", self.count, "1 to 1,024")
        require(self.temperature > 0, "temperature", self.temperature, "above 0")
        require(2 <= self.steps <= 64, "steps", self.steps, "2 to 64")
        require(self.bend >= 0, "bend", self.bend, "at least 0")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


PRESETS: dict[str, Config] = {
    # seconds on a CPU, offline: learns visibly, no more
    "smoke": Config(
        data=DataConfig(name="digits"),
        net=NetSettings(latent=6, width=16),
        train=TrainSettings(epochs=20, warmup=8, batch_size=64),
        density=DensitySettings(components=10),
        fit=FitSettings(epochs=20),
        rivals=RivalSettings(gmm_components=5, flow_transforms=2, flow_hidden=32),
        metrics=MetricSettings(samples=400, classifier_epochs=8),
    ),
    # two CPU cores, real photographs of garments
    "laptop": Config(
        net=NetSettings(width=16),
        train=TrainSettings(epochs=16),
        density=DensitySettings(components=10),
        fit=FitSettings(epochs=30, noise=0.1),
        compute=ComputeConfig(channels_last=True),
    ),
}


def _paper(
    data: DataConfig,
    *,
    latent: int,
    epochs: int,
    warmup: float,
    components: int = 30,
    perceptual: float = 0.0,
    output: Literal["tanh", "sigmoid"] = "tanh",
) -> Config:
    """The published setting; `epochs` is the snapshot of the warmed-up autoencoder that the paper's densities are of."""
    halved = tuple(at / epochs for at in (20, 50, 100, 200) if at < epochs)
    weights = Path("vgg.safetensors") if perceptual else None
    return Config(
        data=data,
        net=NetSettings(latent=latent, range=output),
        train=TrainSettings(
            epochs=epochs,
            warmup=warmup,
            schedule="steps",
            halve_at=halved,
            perceptual=perceptual,
            perceptual_weights=weights,
        ),
        density=DensitySettings(components=components, heads="shared", max_width=None, floor=0.0, standardize=False),
        fit=FitSettings(epochs=200, patience=200, learning_rate=2e-4, schedule="steps", momentum=0.5),
        metrics=MetricSettings(samples=10_000, classifier="resnet-20", classifier_epochs=10),
    )


# data, sizes, warm-ups and snapshots are those of the released code's scripts and run names
PRESETS["paper"] = _paper(DataConfig(name="mnist"), latent=8, epochs=390, warmup=96, output="sigmoid")
PRESETS["paper-mnist-32"] = _paper(DataConfig(name="mnist"), latent=32, epochs=250, warmup=96, output="sigmoid")
PRESETS["paper-cifar10"] = _paper(DataConfig(name="cifar10"), latent=256, epochs=250, warmup=128, components=50)
# root holds folders of faces: aligned CelebA with the perceptual loss, or whatever is at hand without
PRESETS["paper-faces"] = _paper(DataConfig(name="folder", size=64), latent=100, epochs=150, warmup=100)
PRESETS["paper-celeba"] = _paper(DataConfig(name="folder", size=64), latent=100, epochs=150, warmup=100, perceptual=0.1)
PRESETS["paper-celeba-128"] = _paper(DataConfig(name="folder", size=128), latent=200, epochs=190, warmup=100)
