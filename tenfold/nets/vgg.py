"""Plain networks of 3x3 convolutions (Simonyan and Zisserman, arXiv:1409.1556) with batch norm, for small pictures.

The paper's three fully connected layers, most of its parameters, are a global average and one linear classifier here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .resnet import conv3x3, initialise_convolutions


class VGG(nn.Module):
    """A plain network: (N, channels, H, W) -> logits (N, classes), for any H and W of at least 1.

    Args:
        convolutions: number of convolutions of each stage; a max pooling between stages halves the resolution.
        classes: number of classes.
        channels: channels of the input pictures.
        width: channels of the first stage; each stage doubles it, up to eight times.
        stem: the first convolution's stride, 1 (`small`) or 2 (`half`).
    """

    def __init__(
        self,
        convolutions: Sequence[int],
        *,
        classes: int,
        channels: int = 3,
        width: int = 64,
        stem: Literal["small", "half"] = "small",
    ) -> None:
        super().__init__()
        self.stages = len(convolutions)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)  # rounded up, so that a last pixel can still be pooled
        inputs, stride = channels, 2 if stem == "half" else 1
        for stage, count in enumerate(convolutions):
            outputs = width << min(stage, 3)
            layers: list[nn.Module] = []
            for _ in range(count):
                layers += [conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
                inputs, stride = outputs, 1
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, classes)
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.get_submodule("layer1")(images)
        for stage in range(1, self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(self.pool(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
