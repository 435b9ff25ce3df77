"""C3Net, C3NetV2 (arXiv:1812.04920) and what they are compared with: ESPNet (arXiv:1803.06815) and the naive depthwise net.

All share ESPNet's frame. Shape letters: N batch, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from .pyramid import (
    EPS,
    Branch,
    ConvNormAct,
    DilatedPyramid,
    NormAct,
    UpNormAct,
    concentrated,
    dense,
    depthwise,
    doubling,
)

ENCODER_STRIDE = 8
"""pixels of the picture along each side of one of the encoder's"""


class Features(NamedTuple):
    """What the decoders read of the encoder, at 1/2, 1/4, 1/4 and 1/8 of the picture's resolution."""

    stem: Tensor
    half: Tensor
    """the stem and the picture"""
    fine: Tensor
    """the last module's at this resolution"""
    quarter: Tensor
    """`fine`, what its stage began with, and the picture"""
    logits: Tensor


class Encoder(nn.Module):
    """Pictures (N, 3, H, W), H and W multiples of 8, to logits (N, K, H / 8, W / 8) by two stages of pyramids.

    Args:
        classes: K.
        rates: dilations of the pyramids' branches.
        branch: what a branch is.
        depths: modules of the stages at 1/4 and at 1/8, without the ones that lower the resolution (p and q).
        stem: channels at half resolution.
        hierarchical: as in `DilatedPyramid`.
        overlapping_pools: how the picture is made smaller for the deeper layers: ESPNet's average of 3x3, or of 2x2.
    """

    def __init__(
        self,
        classes: int,
        *,
        rates: Sequence[int],
        branch: Branch,
        depths: tuple[int, int],
        stem: int,
        hierarchical: bool,
        overlapping_pools: bool,
    ) -> None:
        super().__init__()

        def pyramid(inputs: int, outputs: int, stride: int = 1) -> DilatedPyramid:
            return DilatedPyramid(inputs, outputs, rates=rates, branch=branch, hierarchical=hierarchical, stride=stride)

        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if overlapping_pools else nn.AvgPool2d(2)
        self.stem = ConvNormAct(3, stem, stride=2)
        self.after_half = NormAct(stem + 3)
        self.down_quarter = pyramid(stem + 3, 64, 2)
        self.stage_quarter = nn.Sequential(*[pyramid(64, 64) for _ in range(depths[0])])
        self.after_quarter = NormAct(128 + 3)
        self.down_eighth = pyramid(128 + 3, 128, 2)
        self.stage_eighth = nn.Sequential(*[pyramid(128, 128) for _ in range(depths[1])])
        self.after_eighth = NormAct(256)
        self.classifier = nn.Conv2d(256, classes, 1, bias=False)

    def forward(self, pictures: Tensor) -> Features:
        at_half = self.pool(pictures)
        at_quarter = self.pool(at_half)
        stem = self.stem(pictures)
        half = self.after_half(torch.cat([stem, at_half], 1))
        coarse = self.down_quarter(half)
        fine = self.stage_quarter(coarse)
        quarter = self.after_quarter(torch.cat([fine, coarse, at_quarter], 1))
        low = self.down_eighth(quarter)
        eighth = self.after_eighth(torch.cat([low, self.stage_eighth(low)], 1))
        return Features(stem, half, fine, quarter, self.classifier(eighth))


class LightNet(nn.Module):
    """A light segmentation network: an `encoder` and a decoder of its own. Pictures of any size; see `forward`."""

    encoder: Encoder

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W), normalised, to logits (N, K, H, W).

        H and W may be any; up to the next multiple of 8, the last row and column of pixels are repeated and cut off again.

        Raises:
            UsageError: the pictures have another shape, or no pixels.
        """
        features, height, width = self._encoded(pictures)
        return self.decode(features)[..., :height, :width]

    def encode(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) to the encoder's own logits (N, K, ceil(H / 8), ceil(W / 8)), which it is trained by at first."""
        return self._encoded(pictures)[0].logits

    def decode(self, features: Features) -> Tensor:
        """The encoder's features as logits at the picture's resolution."""
        raise NotImplementedError

    def fuse(self) -> LightNet:
        """A copy for inference that computes the same faster: norms folded, layers merged; see `fold.fuse`."""
        from .fold import fuse

        return fuse(self)

    def _encoded(self, pictures: Tensor) -> tuple[Features, int, int]:
        if pictures.ndim != 4 or pictures.shape[1] != 3 or 0 in pictures.shape[2:]:
            raise UsageError(f"pictures are {tuple(pictures.shape)}, but must be (N, 3, H, W) with H and W at least 1")
        height, width = pictures.shape[2:]
        missing = (-width % ENCODER_STRIDE, -height % ENCODER_STRIDE)
        if any(missing):
            pictures = F.pad(pictures, (0, missing[0], 0, missing[1]), mode="replicate")
        return self.encoder(pictures), height, width


class _Espnet(LightNet):
    """ESPNet's frame: upsampling by transposed convolutions, merged with the encoder at 1/4 and at 1/2."""

    def __init__(
        self,
        classes: int,
        *,
        rates: Sequence[int],
        branch: Branch,
        depths: tuple[int, int],
        hierarchical: bool = False,
        overlapping_pools: bool = False,
    ) -> None:
        super().__init__()
        _check(classes, rates, depths)
        self.encoder = Encoder(
            classes,
            rates=rates,
            branch=branch,
            depths=depths,
            stem=16,
            hierarchical=hierarchical,
            overlapping_pools=overlapping_pools,
        )
        self.after_encoder = nn.BatchNorm2d(classes, eps=EPS)
        self.up_quarter = doubling(classes)
        self.project_quarter = nn.Conv2d(128 + 3, classes, 1, bias=False)
        self.before_merge = NormAct(2 * classes)
        width = max(classes, len(rates))  # each branch needs a channel, however few the classes
        self.merge_quarter = DilatedPyramid(
            2 * classes, width, rates=rates, branch=branch, hierarchical=hierarchical, residual=False
        )
        self.up_half = UpNormAct(width)
        self.merge_half = ConvNormAct(16 + 3 + width, classes)
        self.up_full = doubling(classes)

    def decode(self, features: Features) -> Tensor:
        above = self.up_quarter(self.after_encoder(features.logits))
        merged = self.before_merge(torch.cat([self.project_quarter(features.quarter), above], 1))
        above = self.up_half(self.merge_quarter(merged))
        return self.up_full(self.merge_half(torch.cat([above, features.half], 1)))


class C3Net(_Espnet):
    """C3Net: ESPNet's frame with concentrated-comprehensive convolutions. (N, 3, H, W) -> logits (N, K, H, W), any H, W.

    191,614 parameters for 20 classes and rates (2, 3, 7, 13), 198,434 with rates (2, 4, 8, 16).

    Args:
        num_classes: K, at least 1.
        rates: dilations of the parallel branches, 1 to 64 of them.
        depths: modules at 1/4 and at 1/8 of the resolution (the paper's p and q).

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self, num_classes: int, *, rates: Sequence[int] = (2, 4, 8, 16), depths: tuple[int, int] = (2, 8)
    ) -> None:
        super().__init__(num_classes, rates=rates, branch=concentrated, depths=depths)


class DepthwiseNet(_Espnet):
    """C3Net without concentration: the naive depthwise dilated network that the paper warns of. See `C3Net`."""

    def __init__(
        self, num_classes: int, *, rates: Sequence[int] = (2, 4, 8, 16), depths: tuple[int, int] = (2, 8)
    ) -> None:
        super().__init__(num_classes, rates=rates, branch=depthwise, depths=depths)


class ESPNet(_Espnet):
    """ESPNet (arXiv:1803.06815), the rival: dense dilated branches, added up hierarchically. See `C3Net`.

    365,109 parameters for 20 classes.
    """

    def __init__(
        self, num_classes: int, *, rates: Sequence[int] = (1, 2, 4, 8, 16), depths: tuple[int, int] = (2, 8)
    ) -> None:
        super().__init__(
            num_classes, rates=rates, branch=dense, depths=depths, hierarchical=True, overlapping_pools=True
        )


class C3NetV2(LightNet):
    """C3NetV2: a narrower stem, and a decoder of bilinear upsampling and separable convolutions. See `C3Net`.

    187,378 parameters for 20 classes.
    """

    def __init__(
        self, num_classes: int, *, rates: Sequence[int] = (2, 4, 8, 16), depths: tuple[int, int] = (2, 8)
    ) -> None:
        super().__init__()
        _check(num_classes, rates, depths)
        self.encoder = Encoder(
            num_classes,
            rates=rates,
            branch=concentrated,
            depths=depths,
            stem=num_classes,
            hierarchical=False,
            overlapping_pools=False,
        )
        self.after_encoder = nn.BatchNorm2d(num_classes, eps=EPS)
        self.merge_quarter = ConvNormAct(num_classes + 64, num_classes, separable=True)
        self.merge_half = ConvNormAct(2 * num_classes, num_classes, separable=True)
        self.classifier = nn.Conv2d(num_classes, num_classes, 1, bias=False)
        self.classifies_first = False

    def decode(self, features: Features) -> Tensor:
        above = _bilinear(self.after_encoder(features.logits))
        above = _bilinear(self.merge_quarter(torch.cat([above, features.fine], 1)))
        above = self.merge_half(torch.cat([above, features.stem], 1))
        # a 1x1 convolution and an interpolation change places freely; at half the resolution it is a quarter of the work
        return _bilinear(self.classifier(above)) if self.classifies_first else self.classifier(_bilinear(above))


def _bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


def _check(classes: int, rates: Sequence[int], depths: tuple[int, int]) -> None:
    if not 1 <= len(rates) <= 64 or min(rates) < 1:
        raise UsageError(f"rates are {tuple(rates)}, but must be 1 to 64, each at least 1")
    if classes < 1:
        raise UsageError(f"num_classes is {classes}, but must be at least 1")
    if len(depths) != 2 or min(depths) < 0:
        raise UsageError(f"depths are {depths}, but must be two numbers of modules, each at least 0")
