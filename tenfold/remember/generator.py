"""The paper's index module: a generator of each task's pictures and a binary classifier of each task (arXiv:1809.02441).

The generators are the memory. When a task is learned, the classifiers of all tasks are taught anew, from what the generators give.
The paper's architectures and losses are not known; these are those of DCGAN (arXiv:1511.06434) with its published settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.batches import derive_seed
from ..core.errors import UsageError
from .index import IndexModule, Inputs

if TYPE_CHECKING:
    from .stacknet import StackNet

NOISE = 64
"""numbers that a picture is generated from"""
BATCH = 64
"""generated pictures of each task in a batch that the classifiers learn from"""
NOISINESS = 0.7
"""standard deviation of the noise that they learn under, in that of the pictures"""
CLASSIFIER_RATE = 1e-3
"""of their Adam"""


class GeneratorIndex(IndexModule):
    """The task whose binary classifier is surest: argmax over tasks of B_j(x), as logits."""

    def __init__(
        self,
        *,
        reject: float = 0.0,
        epochs: int = 25,
        classifier_steps: int = 200,
        width: int = 32,
        learning_rate: float = 5e-4,
        seed: int = 0,
    ) -> None:
        """An index module that knows no task yet.

        Args:
            reject: see `IndexModule`.
            epochs: passes over a task's pictures that its generator learns for.
            classifier_steps: batches of generated pictures that all classifiers learn from after each task.
            width: channels of the first layers.
            learning_rate: of the generators' Adam, with beta 0.5 and 0.999; DCGAN's 2e-4 wants more passes.
            seed: everything random follows from it.
        """
        super().__init__(reject=reject)
        self.epochs = epochs
        self.classifier_steps = classifier_steps
        self.width = width
        self.learning_rate = learning_rate
        self.seed = seed
        self.generators = nn.ModuleList()
        self.classifiers = nn.ModuleList()

    def scores(self, inputs: Tensor, net: StackNet) -> Tensor:
        return torch.stack([classifier(inputs)[:, 0] for classifier in self.classifiers], 1)

    @torch.no_grad()
    def generate(self, task: int, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Pictures of a task that it has learned, (count, C, H, W), in the values of the task's own inputs."""
        network = cast(Generator, self.generators[task])
        noise = torch.randn(count, NOISE, generator=generator).to(network.low.device)
        return network(noise)

    def _learn(self, inputs: Inputs, net: StackNet) -> Tensor | None:
        example = next(iter(inputs()))
        if example.ndim != 4:
            raise UsageError(
                f"a GeneratorIndex needs pictures (N, C, H, W), but was given inputs of shape {tuple(example.shape)}"
            )
        random = torch.Generator().manual_seed(derive_seed(self.seed, "noise", self.tasks))
        shape = tuple(example.shape[1:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "generator", self.tasks))
            maker = Generator(shape, self.width).to(example.device)
            self.generators.append(maker)
            self.classifiers.append(Critic(shape, self.width).to(example.device))
            critic = Critic(shape, self.width).to(example.device)
        self._teach_generator(inputs, maker, critic, random)
        if len(self.classifiers) > 1:
            self._teach_classifiers(random)
        return None

    def _teach_generator(self, inputs: Inputs, generator: Generator, critic: Critic, random: torch.Generator) -> None:
        """The non-saturating game: the critic tells real from generated, the generator makes it fail."""
        generator.fit_range(inputs())
        makers = torch.optim.Adam(generator.parameters(), self.learning_rate, betas=(0.5, 0.999))
        critics = torch.optim.Adam(critic.parameters(), self.learning_rate, betas=(0.5, 0.999))
        generator.train()
        critic.train()
        for _ in range(self.epochs):
            for real in inputs():
                made = generator(torch.randn(len(real), NOISE, generator=random).to(real.device))
                loss = F.softplus(-critic(real)).mean() + F.softplus(critic(made.detach())).mean()
                critics.zero_grad(set_to_none=True)
                loss.backward()
                critics.step()
                loss = F.softplus(-critic(made)).mean()
                makers.zero_grad(set_to_none=True)
                loss.backward()
                makers.step()
        generator.requires_grad_(False).eval()

    def _teach_classifiers(self, random: torch.Generator) -> None:
        """Each classifier's own task against all others, all of them generated, under noise.

        With real pictures of the newest task, which is the only one that has any, real would come to mean newest; and without
        noise a classifier goes by what generators leave in their pictures, which real ones do not have.
        """
        newest = len(self.classifiers) - 1
        self.classifiers.requires_grad_(True).train()
        optimizer = torch.optim.Adam(self.classifiers.parameters(), CLASSIFIER_RATE, betas=(0.5, 0.999))
        for _ in range(self.classifier_steps):
            pictures = torch.cat([self.generate(task, BATCH, generator=random) for task in range(newest + 1)])
            owner = torch.arange(newest + 1, device=pictures.device).repeat_interleave(BATCH)
            spread = NOISINESS * pictures.std()
            pictures = pictures + spread * torch.randn(pictures.shape, generator=random).to(pictures.device)
            loss = torch.zeros((), device=pictures.device)
            for task, classifier in enumerate(self.classifiers):
                own = (owner == task).float()
                # an own picture counts as much as all others together
                weights = torch.where(owner == task, 1.0, 1.0 / newest)
                logits = classifier(pictures)[:, 0]
                loss = loss + F.binary_cross_entropy_with_logits(logits, own, weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        self.classifiers.requires_grad_(False).eval()

    def _state(self, tasks: int) -> Any:
        return {
            "width": self.width,
            "shapes": [list(network.shape) for network in list(self.generators)[:tasks]],  # type: ignore[arg-type]
            "generators": [network.state_dict() for network in list(self.generators)[:tasks]],
            "classifiers": [network.state_dict() for network in list(self.classifiers)[:tasks]],
        }

    def _load(self, learned: Any) -> None:
        self.width = int(learned["width"])
        self.generators, self.classifiers = nn.ModuleList(), nn.ModuleList()
        parts = zip(learned["shapes"], learned["generators"], learned["classifiers"], strict=True)
        for shape, generator, classifier in parts:
            self.generators.append(Generator(tuple(shape), self.width))
            self.classifiers.append(Critic(tuple(shape), self.width))
            self.generators[-1].load_state_dict(generator)
            self.classifiers[-1].load_state_dict(classifier)
        self.generators.requires_grad_(False).eval()
        self.classifiers.requires_grad_(False).eval()


class Generator(nn.Module):
    """Noise (N, `NOISE`) -> pictures (N, C, H, W), within the range of the task's own values."""

    low: Tensor
    high: Tensor

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        """`shape`: (C, H, W) of a picture; `width`: channels before the last layer."""
        super().__init__()
        self.shape = shape
        channels, height, width_ = shape
        self.start = (4 * width, -(-height // 4), -(-width_ // 4))
        size = self.start[0] * self.start[1] * self.start[2]
        self.first = nn.Sequential(nn.Linear(NOISE, size, bias=False), nn.BatchNorm1d(size), nn.ReLU())
        self.second = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()
        )
        self.third = nn.ConvTranspose2d(2 * width, channels, 4, 2, 1)
        self.register_buffer("low", torch.tensor(-1.0))
        self.register_buffer("high", torch.tensor(1.0))

    def fit_range(self, batches: Any) -> None:
        """Let pictures have the least and the largest value of the task's inputs as their limits."""
        extremes = torch.stack([torch.stack([batch.min(), batch.max()]) for batch in batches])
        self.low.copy_(extremes[:, 0].min())
        self.high.copy_(extremes[:, 1].max())

    def forward(self, noise: Tensor) -> Tensor:
        hidden = self.second(self.first(noise).view(len(noise), *self.start))
        unit = self.third(hidden)[:, :, : self.shape[1], : self.shape[2]].tanh()
        return self.low + (unit + 1) / 2 * (self.high - self.low)


class Critic(nn.Module):
    """Pictures (N, C, H, W) -> one logit each, (N, 1)."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        """`shape`: (C, H, W) of a picture; `width`: channels of the first layer."""
        super().__init__()
        channels, height, width_ = shape
        # no norm: one over a batch of real and generated pictures would tell them apart by the batch
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, 1, 1), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(4 * width * (height // 4) * (width_ // 4), 1),
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)
