"""Pictures of any size without seams: translated in tiles that share the statistics of the whole. N pictures, H x W pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from .attention import GlobalAverage
from .generator import STRIDE, ResidualGenerator
from .mixture import Mix, as_mix

Statistics = dict[nn.Module, tuple[Tensor, ...]]


def translate_tiled(
    model: nn.Module, pictures: Tensor, *, mix: Mix, tile: int = 512, margin: int | None = None
) -> Tensor:
    """What `model(pictures, mix=mix)` gives, for pictures too large for that.

    Instance norms and attention look at whole pictures, so that tiles by themselves would differ in contrast and colour.
    Here both take their statistics from a small version of the whole (as Chen et al., arXiv:2103.11784, do for norms); with
    these fixed, a pixel depends on its neighbourhood alone, and tiles that overlap by it are, joined, exactly what
    one pass would give. A picture that fits into a tile is passed whole.

    Args:
        model: takes (N, 3, H, W) and `mix`, and gives the same shape; its norms are group norms, or instance norms
            without running statistics. Not to be used by other threads meanwhile.
        pictures: (N, 3, H, W).
        mix: as the model takes it; a map is of the pictures' size.
        tile: pixels of each side of a tile, its margins among them; a multiple of 4.
        margin: pixels around a tile's core that its core depends on; None is 24 + 8 for each residual block inside.

    Raises:
        UsageError: the tile is no multiple of 4 or has no core, or the map is of another size.
    """
    margin = _reach(model) if margin is None else margin
    if tile % STRIDE or margin % STRIDE or margin < 0 or tile <= 2 * margin:
        raise UsageError(
            f"tile is {tile} and margin {margin} pixels, but both must be multiples of {STRIDE} of at least 0, and the tile "
            "more than two margins"
        )
    height, width = pictures.shape[2:]
    if max(height, width) <= tile:
        found: Tensor = model(pictures, mix=mix)
        return found
    shares = as_mix(mix, getattr(model, "names", ())) if hasattr(model, "names") else torch.as_tensor(mix)
    if shares.ndim >= 3 and shares.shape[-2:] != (height, width):
        raise UsageError(
            f"the map of mixtures is {tuple(shares.shape[-2:])} pixels, but the pictures are {(height, width)}"
        )
    across, down = -width % STRIDE, -height % STRIDE
    padded = F.pad(pictures, (0, across, 0, down), mode="reflect")
    shares = _padded_map(shares, across, down)
    statistics = _statistics(model, *_thumbnail(padded, shares, tile))
    with fixed_statistics(model, statistics):
        made = _joined(model, padded, shares, core=tile - 2 * margin, margin=margin)
    return made[:, :, :height, :width]


@contextmanager
def fixed_statistics(model: nn.Module, statistics: Statistics) -> Iterator[None]:
    """Instance norms and global averages of a model answer with these statistics, whatever they are given."""

    def norm(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        assert isinstance(module, nn.InstanceNorm2d | nn.GroupNorm)
        mean, variance = statistics[module]
        found = ((_grouped(module, inputs[0]) - mean) * (variance + module.eps).rsqrt()).view_as(inputs[0])
        if module.affine:
            found = found * module.weight.view(-1, 1, 1) + module.bias.view(-1, 1, 1)
        return found

    def pool(module: nn.Module, _inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        return statistics[module][0]

    with _hooked(model, norm, pool):
        yield


@torch.no_grad()
def _statistics(model: nn.Module, pictures: Tensor, mix: Tensor) -> Statistics:
    """What the norms and averages of a model see of pictures."""
    found: Statistics = {}

    def norm(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        variance, mean = torch.var_mean(_grouped(module, inputs[0]), (2, 3, 4), correction=0, keepdim=True)
        found[module] = mean, variance

    def pool(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found[module] = (output,)

    with _hooked(model, norm, pool):
        model(pictures, mix=mix)
    return found


@contextmanager
def _hooked(model: nn.Module, norm: Callable[..., Any], pool: Callable[..., Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.InstanceNorm2d | nn.GroupNorm):
                if isinstance(module, nn.InstanceNorm2d) and module.track_running_stats:
                    raise UsageError("tiles need instance norms without running statistics")
                # before other hooks: a norm may itself be a site of the dial
                stack.callback(module.register_forward_hook(norm, prepend=True).remove)
            elif isinstance(module, GlobalAverage):
                stack.callback(module.register_forward_hook(pool).remove)
        yield


def _grouped(module: nn.Module, features: Tensor) -> Tensor:
    """(N, C, H, W) as (N, groups, C / groups, H, W), the groups that a norm takes together."""
    groups = module.num_groups if isinstance(module, nn.GroupNorm) else features.shape[1]
    return features.contiguous().view(len(features), groups, -1, *features.shape[2:])


def _joined(model: nn.Module, pictures: Tensor, mix: Tensor, *, core: int, margin: int) -> Tensor:
    height, width = pictures.shape[2:]
    made = torch.empty_like(pictures)
    for top in range(0, height, core):
        for left in range(0, width, core):
            # a window ends at the picture's border, where the network's own padding belongs
            rows = slice(max(0, top - margin), min(height, top + core + margin))
            columns = slice(max(0, left - margin), min(width, left + core + margin))
            shares = mix if mix.ndim < 3 else mix[..., rows, columns]
            part: Tensor = model(pictures[:, :, rows, columns], mix=shares)
            bottom, right = min(height, top + core), min(width, left + core)
            inside = slice(top - rows.start, bottom - rows.start), slice(left - columns.start, right - columns.start)
            made[:, :, top:bottom, left:right] = part[:, :, inside[0], inside[1]]
    return made


def _thumbnail(pictures: Tensor, mix: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The pictures, and a map with them, with a longer side of `side` pixels."""
    height, width = pictures.shape[2:]
    scale = side / max(height, width)
    size = (max(16, round(height * scale / STRIDE) * STRIDE), max(16, round(width * scale / STRIDE) * STRIDE))
    small = F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
    if mix.ndim < 3:
        return small, mix
    return small, F.adaptive_avg_pool2d(mix, size)


def _padded_map(mix: Tensor, across: int, down: int) -> Tensor:
    if mix.ndim < 3:
        return mix
    batched = mix if mix.ndim == 4 else mix[None]
    padded = F.pad(batched, (0, across, 0, down), mode="replicate")
    return padded if mix.ndim == 4 else padded[0]


def _reach(model: nn.Module) -> int:
    """How far a pixel's surroundings matter to it, in pixels, rounded up: that of the deepest residual generator inside."""
    depths = [len(part.trunk) for part in model.modules() if isinstance(part, ResidualGenerator)]
    return 24 + 8 * max(depths, default=9)
