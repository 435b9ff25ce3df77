from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tenfold.core.cost import executed_macs
from tenfold.nets import BasicBlock, Bottleneck, PreActivationBlock, ResNet
from tenfold.nets.resnet import PadShortcut

from ..resize.builders import assert_near
from ..zoo import load_zoo


def net(block: Any, blocks: tuple[int, ...] = (2, 1), **options: Any) -> ResNet:
    torch.manual_seed(0)
    return ResNet(block, blocks, classes=5, width=4, **options).eval()


def test_padded_shortcuts_subsample_and_add_zero_channels() -> None:
    x = torch.randn(2, 4, 6, 6)
    out = PadShortcut(4, 9, 2)(x)
    assert out.shape == (2, 9, 3, 3)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


def by_hand(block: Any, x: Tensor) -> Any:
    """Each kind of block from its formula."""
    down = block.downsample or (lambda value: value)
    if isinstance(block, PreActivationBlock):
        active = F.relu(block.bn1(x))
        residual = block.conv2(F.relu(block.bn2(block.conv1(active))))
        return residual + (x if block.downsample is None else down(active))
    hidden = F.relu(block.bn1(block.conv1(x)))
    if isinstance(block, Bottleneck):
        hidden = F.relu(block.bn2(block.conv2(hidden)))
        return F.relu(block.bn3(block.conv3(hidden)) + down(x))
    return F.relu(block.bn2(block.conv2(hidden)) + down(x))


@pytest.mark.parametrize("shortcut", ["projection", "pad"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck, PreActivationBlock])
def test_blocks_follow_their_formula_and_leave_their_input_alone(kind: Any, stride: int, shortcut: Any) -> None:
    block = kind(8, 8 if kind is not Bottleneck else 4, stride, shortcut=shortcut).eval()
    x = torch.randn(2, 8, 7, 9)
    before = x.clone()
    out = block(x)
    assert torch.equal(x, before)
    side = (7, 9) if stride == 1 else (4, 5)
    assert out.shape == (2, 16 if kind is Bottleneck else 8, *side)
    torch.testing.assert_close(out, by_hand(block, x))


@pytest.mark.parametrize("kind", [BasicBlock, PreActivationBlock])
def test_a_block_that_keeps_its_shape_needs_no_shortcut_parameters(kind: Any) -> None:
    assert kind(8, 8).downsample is None
    assert kind(8, 8, 2).downsample is not None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.integers(8, 33), st.integers(8, 33), st.sampled_from(["small", "half", "imagenet"]))
def test_pictures_of_any_size_give_one_row_of_logits_each(count: int, height: int, width: int, stem: Any) -> None:
    for kind in (BasicBlock, Bottleneck, PreActivationBlock):
        images = torch.randn(count, 2, height, width)
        assert net(kind, stem=stem, channels=2)(images).shape == (count, 5)


@pytest.mark.parametrize(("stem", "side"), [("small", 32), ("half", 16), ("imagenet", 8)])
def test_stems_set_the_resolution_of_the_first_stage(stem: Any, side: int) -> None:
    seen: list[Tensor] = []
    network = net(BasicBlock, stem=stem)
    network.get_submodule("layer1").register_forward_hook(lambda module, args, out: seen.append(out))
    network(torch.randn(1, 3, 32, 32))
    assert seen[0].shape == (1, 4, side, side)


@pytest.mark.parametrize(
    ("name", "block", "counts"), [("resnet18", BasicBlock, (2, 2, 2, 2)), ("resnet50", Bottleneck, (3, 4, 6, 3))]
)
def test_torchvisions_weights_load_and_give_torchvisions_logits(name: str, block: Any, counts: tuple[int, ...]) -> None:
    theirs = getattr(load_zoo("torchvision.models"), name)(num_classes=5).eval()
    ours = ResNet(block, counts, classes=5, width=64, stem="imagenet").eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert_near(ours(x), theirs(x))
    assert executed_macs(ours, x) == executed_macs(theirs, x)


def test_gradients_reach_every_parameter() -> None:
    for kind in (BasicBlock, Bottleneck, PreActivationBlock):
        network = net(kind).train()
        torch.autograd.backward(network(torch.randn(4, 3, 16, 16)).square().sum())
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
