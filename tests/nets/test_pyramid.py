from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tenfold.nets import PyramidBlock, PyramidBottleneck, PyramidNet, build_net
from tenfold.nets.pyramid import PoolPadShortcut

from .builders import lived_in, parameters

KINDS = [PyramidBlock, PyramidBottleneck]


def test_shortcuts_average_and_append_zero_channels() -> None:
    x = torch.randn(2, 4, 6, 6)
    out = PoolPadShortcut(4, 9, 2)(x)
    assert out.shape == (2, 9, 3, 3)
    torch.testing.assert_close(
        out[:, :4], (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    )
    assert not out[:, 4:].any()
    widened = PoolPadShortcut(4, 5, 1)(x)
    assert torch.equal(widened[:, :4], x)
    assert not widened[:, 4:].any()


def test_a_border_that_a_stride_cuts_is_averaged_over_the_pixels_there_are() -> None:
    x = torch.randn(1, 2, 3, 5)
    out = PoolPadShortcut(2, 2, 2)(x)
    assert out.shape == (1, 2, 2, 3)
    torch.testing.assert_close(out[..., 1, 0], (x[..., 2, 0] + x[..., 2, 1]) / 2)
    assert torch.equal(out[..., 1, 2], x[..., 2, 4])


def by_hand(block: Any, x: Tensor) -> Any:
    """Each kind of block from its formula."""
    out = F.relu(block.bn2(block.conv1(block.bn1(x))))
    if isinstance(block, PyramidBottleneck):
        out = block.bn4(block.conv3(F.relu(block.bn3(block.conv2(out)))))
    else:
        out = block.bn3(block.conv2(out))
    rest = F.avg_pool2d(x, 2) if x.shape[-1] != out.shape[-1] else x
    return torch.cat([out[:, : x.shape[1]] + rest, out[:, x.shape[1] :]], dim=1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_follow_their_formula_and_leave_their_input_alone(kind: Any, stride: int) -> None:
    x = torch.randn(2, 12, 8, 6)
    block = lived_in(kind(12, 15, stride), x)
    before = x.clone()
    out = block(x)
    assert torch.equal(x, before)
    assert out.shape == (2, 15 * kind.expansion, 8 // stride, 6 // stride)
    torch.testing.assert_close(out, by_hand(block, x))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_stem_stages_norm_relu_average_and_classifier(kind: Any) -> None:
    images = torch.randn(3, 2, 8, 8)
    network: Any = lived_in(PyramidNet(kind, (1, 2), alpha=7, classes=5, channels=2, width=4), images)
    x = network.bn1(network.conv1(images))
    for block in [*network.layer1, *network.layer2]:
        x = block(x)
    expected = network.fc(F.relu(network.bn_final(x)).mean(dim=(2, 3)))
    torch.testing.assert_close(network(images), expected)


def test_widths_grow_by_equal_shares_rounded_to_the_nearest() -> None:
    network: Any = PyramidNet(PyramidBlock, (2, 2, 2), alpha=10, classes=2, width=16)
    blocks = [*network.layer1, *network.layer2, *network.layer3]
    assert [block.conv1.out_channels for block in blocks] == [18, 19, 21, 23, 24, 26]
    assert [block.conv1.in_channels for block in blocks] == [16, 18, 19, 21, 23, 24]
    assert [block.conv1.stride[0] for block in blocks] == [1, 1, 2, 1, 2, 1]


def formula(depth: int, alpha: int, classes: int, *, bottleneck: bool) -> int:
    count = 3 * ((depth - 2) // (9 if bottleneck else 6))
    total, inputs = 3 * 16 * 9 + 2 * 16, 16
    for position in range(count):
        width = int(16 + alpha * (position + 1) / count + 0.5)
        if bottleneck:
            total += 2 * inputs + inputs * width + 2 * width + 9 * width**2 + 2 * width + 4 * width**2 + 8 * width
        else:
            total += 2 * inputs + 9 * inputs * width + 2 * width + 9 * width**2 + 2 * width
        inputs = width * (4 if bottleneck else 1)
    return total + 2 * inputs + inputs * classes + classes


@pytest.mark.parametrize(
    ("name", "depth", "alpha", "millions"),
    [
        ("pyramidnet-110-84", 110, 84, 3.91),
        ("pyramidnetB-200-240", 200, 240, 26.84),
        ("pyramidnet-20-48", 20, 48, None),
        ("pyramidnetB-29-60", 29, 60, None),
    ],
)
def test_networks_have_the_parameters_of_their_formula_and_of_the_published_tables(
    name: str, depth: int, alpha: int, millions: float | None
) -> None:
    with torch.device("meta"):
        found = parameters(build_net(name, classes=100))
    assert found == formula(depth, alpha, 100, bottleneck=name.startswith("pyramidnetB"))
    assert millions is None or round(found / 1e6, 2) == millions
