"""Small teachers and students that the tests of `distill` share, and their features, read by plain hooks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.nets import build_net

CLASSES = 5


def batch(count: int = 8, size: int = 16, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, H, W) and labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, size, size, generator=generator), torch.arange(count) % CLASSES


def small_teacher(name: str = "resnet-8", *, width: int = 8, seed: int = 1) -> nn.Module:
    """A network whose norms are not as they were made: neither their weights nor their statistics."""
    torch.manual_seed(seed)
    network = build_net(name, classes=CLASSES, width=width)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
            module.bias.data[0] = 4 * module.weight.data[0].abs()  # hardly ever negative
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return network


def small_student(name: str = "resnet-8", *, width: int = 4, seed: int = 2, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return build_net(name, classes=CLASSES, width=width, **options)


def stage_features(network: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """What the last ReLU of each stage of a post-activation network reads, and the network's output."""
    found: dict[int, Tensor] = {}
    hooks = []
    stages = [stage for name, stage in network.named_children() if name.startswith("layer")]
    for index, stage in enumerate(stages):

        def keep(_module: nn.Module, args: tuple[Tensor], index: int = index) -> None:
            found[index] = args[0].clone()

        hooks.append(stage[-1].relu.register_forward_pre_hook(keep))  # type: ignore[index]
    output = network(images)
    for hook in hooks:
        hook.remove()
    return [found[index] for index in range(len(stages))], output


def stage_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The last batch normalisation of each stage's residual branches."""
    return [stage[-1].bn2 for name, stage in network.named_children() if name.startswith("layer")]  # type: ignore[index]


def mean_of_negatives(norm: nn.BatchNorm2d, *, exact: bool = False) -> Tensor:
    """The margin by its formula; where a negative value is rare, the paper's constant, unless `exact`."""
    mean, spread = norm.bias.detach().double(), norm.weight.detach().double().abs()
    ratio = mean / spread
    density = (-ratio.square() / 2).exp() / math.sqrt(2 * math.pi)
    chance = torch.erfc(ratio / math.sqrt(2)) / 2
    return torch.where((chance > 0.001) | exact, mean - spread * density / chance, -3 * spread).float()


def three_terms(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    """The distance as the first version of the authors' code has it: a term for each way of not being left alone."""
    target = teacher.maximum(margin.view(1, -1, 1, 1))
    square = (student - target) ** 2
    both_above = square * ((student > target) & (target > 0))
    student_above = square * ((student > target) & (target <= 0))
    teacher_above = square * ((student <= target) & (target > 0))
    return both_above.sum() + student_above.sum() + teacher_above.sum()


def contents(network: nn.Module) -> dict[str, Any]:
    """All that a teacher has to come out with."""
    return {
        "state": {name: value.clone() for name, value in network.state_dict().items()},
        "training": [module.training for module in network.modules()],
        "tracking": [getattr(module, "track_running_stats", None) for module in network.modules()],
        "trained": [parameter.requires_grad for parameter in network.parameters()],
        "gradients": [parameter.grad for parameter in network.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()],
    }


def assert_unchanged(network: nn.Module, before: dict[str, Any]) -> None:
    after = contents(network)
    state, expected = after.pop("state"), dict(before)
    for name, value in expected.pop("state").items():
        assert torch.equal(state[name], value), name
    assert after == expected
