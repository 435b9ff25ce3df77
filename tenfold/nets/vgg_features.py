"""Features of VGG networks trained on ImageNet (Simonyan and Zisserman, arXiv:1409.1556), from weights that a person has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core.errors import UsageError

CONVOLUTIONS: dict[int, tuple[int, ...]] = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""of each stage; a max pooling halves the picture between stages"""
WIDTHS = (64, 128, 256, 512, 512)


class VGGFeatures(nn.Module):
    """The outputs of named layers: pictures (N, 3, H, W), normalised as ImageNet's, -> a list of tensors.

    Parameters are called as torchvision's: features.0.weight, features.2.weight, ... They are not trained.

    Args:
        layers: such as "relu3_1": the activation of the first convolution of the third stage.
        depth: 16 or 19.

    Raises:
        UsageError: there is no such layer.
    """

    def __init__(self, layers: Sequence[str], *, depth: Literal[16, 19] = 16) -> None:
        super().__init__()
        if depth not in CONVOLUTIONS:
            raise UsageError(f"depth is {depth}, but must be 16 or 19")
        places, parts = _stack(depth)
        wrong = next((layer for layer in layers if layer not in places), None)
        if wrong is not None or not layers:
            raise UsageError(f"layers are {tuple(layers)}, but must be some of {', '.join(places)}")
        self.depth = depth
        self._taken = [places[layer] for layer in layers]
        self.features = nn.Sequential(*parts[: max(self._taken) + 1])
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.first(images, len(self._taken))

    def first(self, images: Tensor, count: int) -> list[Tensor]:
        """The outputs of the first `count` of the named layers, without the work for the others."""
        taken = self._taken[:count]
        found: dict[int, Tensor] = {}
        for place, part in enumerate(self.features.children()):
            images = part(images)
            if place in taken:
                found[place] = images
            if place == max(taken):
                break
        return [found[place] for place in taken]

    @classmethod
    def load(cls, path: str | Path, layers: Sequence[str]) -> Self:
        """With the weights of a .safetensors file of VGG-16 or VGG-19, whole or cut off behind the layers asked for.

        Raises:
            UsageError: the file is missing, damaged, or of another network.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"{path} does not exist, but must be a .safetensors file of VGG's weights")
        try:
            weights = load_file(path)
        except SafetensorError as error:
            raise UsageError(f"{path} is not a whole safetensors file: {error}") from error
        # the two first differ at the fourth convolution of the third stage, where VGG-16 has none
        network = cls(layers, depth=19 if "features.16.weight" in weights else 16)
        known = {f"features.{place - 1}.weight" for place in _stack(network.depth)[0].values()}
        stranger = next(
            (
                name
                for name in weights
                if name.startswith("features.") and name.endswith(".weight") and name not in known
            ),
            None,
        )
        if stranger is not None:
            raise UsageError(f"{path} has {stranger}, which neither VGG-16 nor VGG-19 has: it is of a relative")
        for name, tensor in network.state_dict().items():
            if name not in weights or weights[name].shape != tensor.shape:
                found = tuple(weights[name].shape) if name in weights else "nothing"
                raise UsageError(f"{path} has {found} as {name}, but VGG's is {tuple(tensor.shape)}")
            tensor.copy_(weights[name])
        return network


def _stack(depth: int) -> tuple[dict[str, int], list[nn.Module]]:
    """The place of every activation, and all layers in their order."""
    places: dict[str, int] = {}
    parts: list[nn.Module] = []
    inputs = 3
    for stage, (count, width) in enumerate(zip(CONVOLUTIONS[depth], WIDTHS, strict=True), 1):
        for number in range(1, count + 1):
            parts += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            places[f"relu{stage}_{number}"] = len(parts) - 1
            inputs = width
        parts.append(nn.MaxPool2d(2))
    return places, parts
