from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.nets import BasicBlock
from tenfold.resize.residual import input_channels, residual_blocks, split_block

from .builders import NETWORKS, network_of, pictures, plain

CHANNELS = 8


class Block(nn.Module):
    """x and one convolution of it, combined by any function."""

    def __init__(self, combine: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.combine = combine

    def forward(self, x: Tensor) -> Any:
        return self.combine(x, self.conv(x))


def features(count: int = 4) -> Tensor:
    return pictures(count, 9, channels=CHANNELS)


def reassembled(block: nn.Module, x: Tensor) -> Tensor:
    split = split_block(block)
    assert split is not None
    shortcut, *carried = split.entry(x)
    result: Tensor = split.exit(shortcut + split.residual(*carried))
    return result


@pytest.mark.parametrize("kind", NETWORKS)
def test_finds_every_residual_block_of(kind: str) -> None:
    assert len(list(residual_blocks(network_of(kind)))) == NETWORKS[kind][1]


def test_blocks_are_named_in_the_order_of_the_network() -> None:
    names = [name for name, _ in residual_blocks(plain("resnet-14"))]
    assert names == [f"layer{stage}.{place}" for stage in (1, 2, 3) for place in (0, 1)]


@pytest.mark.parametrize(
    "combine",
    [
        lambda x, f: x + f,
        lambda x, f: f + x,
        lambda x, f: torch.add(x, f),
        lambda x, f: x.add(f),
        lambda x, f: F.relu(x + f),
        lambda x, f: (x + f) * 0.7,
        lambda x, f: x + 0.1 * f,
        lambda x, f: torch.sigmoid(f) + x,
        lambda x, f: F.relu(x) + f,
    ],
)
def test_any_way_of_writing_the_addition_is_cut_right(combine: Callable[[Tensor, Tensor], Tensor]) -> None:
    block, x = Block(combine), features()
    torch.testing.assert_close(reassembled(block, x), block(x))


def test_a_scaled_residual_keeps_its_scale_and_a_scaled_sum_keeps_the_shortcuts() -> None:
    x = features()
    for block, skipped in ((Block(lambda x, f: x + 0.1 * f), x), (Block(lambda x, f: (x + f) * 0.7), x * 0.7)):
        split = split_block(block)
        assert split is not None
        torch.testing.assert_close(split.exit(split.entry(x)[0]), skipped)


@pytest.mark.parametrize(
    "combine",
    [
        lambda x, f: torch.add(x, f, alpha=0.1),
        lambda x, f: x - f,
        lambda x, f: x * f,
        lambda x, f: torch.cat([x, f], 1),
        lambda x, f: f,
        lambda x, f: f + 1.0,
        lambda x, f: f + f,
        lambda x, f: (x + f) * f,
        lambda x, f: (x + f) * x,
        lambda x, f: (x + f, f),
        lambda x, f: [x + f, torch.relu(x)][0],
        lambda x, f: x + f if x.sum() > 0 else x,
        lambda x, f: [x + f][int(x.mean() > 0)],
    ],
)
def test_what_is_not_a_shortcut_plus_a_branch_is_refused(combine: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert split_block(Block(combine)) is None


def test_an_addition_of_two_equally_deep_branches_is_refused() -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Any:
            return self.left(x) + self.right(x)

    assert split_block(Twins()) is None


@pytest.mark.parametrize("wrap", [lambda first: first, lambda first: nn.Sequential(first, nn.Identity())])
def test_a_branch_that_overwrites_what_the_shortcut_reads_is_refused(wrap: Callable[[nn.Module], nn.Module]) -> None:
    # x + conv(relu_(x)) adds relu(x), not x, but only where the branch runs
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv = wrap(nn.ReLU(inplace=True)), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Any:
            return x + self.conv(self.first(x))

    assert split_block(Overwriting()) is None


@pytest.mark.parametrize(
    "overwrite", [lambda x: F.relu(x, inplace=True), lambda x: x.relu_(), lambda x: torch.relu_(x), lambda x: x.mul_(2)]
)
def test_overwriting_in_the_blocks_own_forward_is_refused_too(overwrite: Callable[[Tensor], Tensor]) -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Any:
            return x + self.conv(overwrite(x))

    assert split_block(Overwriting()) is None


def test_the_pieces_share_the_blocks_own_parameters() -> None:
    block = BasicBlock(8, 16, 2)
    split = split_block(block)
    assert split is not None
    pieces = {id(parameter) for piece in (split.entry, split.residual) for parameter in piece.parameters()}
    assert pieces == {id(parameter) for parameter in block.parameters()}


def test_a_blocks_own_parameter_is_shared_too() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gamma = nn.Conv2d(8, 8, 1), nn.Parameter(torch.ones(8, 1, 1))

        def forward(self, x: Tensor) -> Any:
            return x + self.gamma * self.conv(x)

    block, x = Scaled(), features()
    split = split_block(block)
    assert split is not None
    with torch.no_grad():
        block.gamma.fill_(3.0)
    torch.testing.assert_close(split.residual(x), 3.0 * block.conv(x))


def test_an_optional_input_nobody_uses_does_not_hinder() -> None:
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor, unused: Tensor | None = None) -> Any:
            return x + self.conv(x)

    assert split_block(Optional()) is not None


def test_only_the_innermost_of_nested_blocks_counts() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.conv = BasicBlock(8, 8), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Any:
            return x + self.conv(self.inner(x))

    assert [name for name, _ in residual_blocks(nn.Sequential(Outer()))] == ["0.inner"]


@pytest.mark.parametrize("network", [nn.Linear(3, 2), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())])
def test_a_network_without_shortcuts_has_no_blocks(network: nn.Module) -> None:
    assert list(residual_blocks(network)) == []


def test_input_channels_are_those_of_the_block() -> None:
    split = split_block(BasicBlock(8, 16, 2))
    assert split is not None
    assert input_channels(split) == 8
