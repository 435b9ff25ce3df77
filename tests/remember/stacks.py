"""Networks and small trainings that several tests of stacks use."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.nets import Bottleneck, ResNet, build_net
from tenfold.remember.index import EntropyIndex, IndexModule
from tenfold.remember.stacknet import StackNet


class Plain(nn.Module):
    """Two convolutions, an optional norm after each, a hidden Linear: written as tutorials write it."""

    def __init__(self, norm: str = "none", *, dropout: float = 0.0) -> None:
        super().__init__()
        norms: dict[str, Callable[[int], nn.Module]] = {
            "none": lambda channels: nn.Identity(),
            "batch": nn.BatchNorm2d,
            "group": lambda channels: nn.GroupNorm(4, channels),
            "one group": lambda channels: nn.GroupNorm(1, channels),
            "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
        }
        self.dropout = dropout
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.norm1 = norms[norm](12)
        self.conv2 = nn.Conv2d(12, 16, 3, padding=1)
        self.norm2 = norms[norm](16)
        self.act = nn.PReLU(16)
        self.fc1 = nn.Linear(16 * 4 * 4, 20)
        self.fc2 = nn.Linear(20, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(self.act(self.norm2(self.conv2(x))), 2)
        x = x.view(-1, 16 * 4 * 4)
        x = F.dropout(F.relu(self.fc1(x)), self.dropout, training=self.training)
        return self.fc2(x)


class Joined(nn.Module):
    """Two branches, of a grouped and a depthwise convolution, joined by `cat`; a squeeze-and-excitation gate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(12, 24, 3, padding=1, groups=12)
        self.norm = nn.BatchNorm2d(36)
        self.gate1 = nn.Linear(12, 8)
        self.gate2 = nn.Linear(8, 12)
        self.mix = nn.Conv2d(36, 10, 1)
        self.last = nn.Conv2d(10, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.stem(x))
        gate = torch.sigmoid(self.gate2(F.relu(self.gate1(x.mean((2, 3))))))
        x = x * gate.view(-1, 12, 1, 1)
        x = self.norm(torch.cat([self.grouped(x), self.depthwise(x)], dim=1))
        x = self.last(F.gelu(self.mix(x)))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Perceptron(nn.Sequential):
    """(N, 30) -> (N, 4), with a norm over all features."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__(
            nn.Linear(30, 16),
            nn.LayerNorm(16) if norm else nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(16, 12),
            nn.Tanh(),
            nn.Linear(12, 4),
        )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: build_net("resnet-8", classes=6, width=8),
    "pre-activation": lambda: build_net("preresnet-8", classes=6, width=8),
    "bottleneck": lambda: ResNet(Bottleneck, (1, 1), classes=6, width=6),
    "vgg": lambda: build_net("vgg8", classes=6, width=4),
    "inverted residual": lambda: build_net("mobilenetv2-small", classes=6, width=2),
    **{
        f"plain, {norm} norm": lambda norm=norm: Plain(norm)
        for norm in ("none", "batch", "group", "one group", "instance")
    },
    "dropout": lambda: Plain("batch", dropout=0.3),
    "joined": Joined,
    "perceptron": Perceptron,
    "perceptron, batch norm": lambda: Perceptron(norm=False),
}
SMALL = [name for name in NETWORKS if name != "inverted residual"]

OPTIMISERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 1e-2, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.5),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.9, weight_decay=0.1),
}


def inputs_for(model: nn.Module, count: int = 5, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (30,) if isinstance(model, Perceptron) else (3, 16, 16)
    return torch.randn(count, *shape, generator=generator)


def stack_of(model: nn.Module, *, index: IndexModule | None = None, **options: object) -> StackNet:
    return StackNet(model, index=index or EntropyIndex(), **options)  # type: ignore[arg-type]


def a_few_steps(net: StackNet, task: str, images: Tensor, *, optimiser: str = "sgd", steps: int = 2) -> None:
    """Train the task's slice, in training mode."""
    stepping = OPTIMISERS[optimiser](net.task_parameters(task))
    labels = torch.arange(len(images)) % net.classes[net.tasks.index(task)]
    net.train()
    for _ in range(steps):
        stepping.zero_grad()
        F.cross_entropy(net(images, task=task), labels).backward()
        stepping.step()


@torch.no_grad()
def outputs(net: StackNet, images: Tensor) -> dict[str, Tensor]:
    """Of every task, whatever mode the stack is in."""
    return {task: net(images, task=task) for task in net.tasks}


def learned(model: nn.Module, images: Tensor, *, tasks: int = 3, **options: object) -> StackNet:
    """A stack that has learned some tasks, all finished, in evaluation mode."""
    net = stack_of(model, **options)
    for number in range(tasks):
        net.add_task(f"task {number}", num_classes=3 + number)
        a_few_steps(net, f"task {number}", images)
    net.finish_task(net.tasks[-1])
    return net.eval()
