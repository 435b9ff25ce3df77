"""How a mixture reaches features: conditional channel attention (the paper's CCAM), and its rivals.

N samples, C channels, any number of positions P..., L losses, R = C / r hidden units.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError

ConditioningName = Literal["attention", "film", "concat"]
CONDITIONINGS: tuple[ConditioningName, ...] = get_args(ConditioningName)


class GlobalAverage(nn.Module):
    """The mean over all positions: (N, C, P...) -> (N, C)."""

    def forward(self, features: Tensor) -> Tensor:
        return features.flatten(2).mean(2) if features.ndim > 2 else features


class ConditionalAttention(nn.Module):
    """Conditional channel attention: a squeeze-excitation block whose squeezed vector is joined by the mixture's.

    y = mean of F over positions; c = ReLU(W_s S + b_s); A = sigmoid(W_2 ReLU(W_1 [y; c] + b_1) + b_2); F' = A F.
    The authors' code; a map of mixtures, which gives each position its own A, is ours.

    Args:
        channels: C.
        losses: L.
        reduction: r, by which the hidden layer is narrower than C (paper: 4); at least one unit is kept.

    Raises:
        UsageError: a number is below 1.
    """

    def __init__(self, channels: int, losses: int, *, reduction: int = 4) -> None:
        super().__init__()
        _check(channels, losses, reduction)
        hidden = max(1, channels // reduction)
        self.pool = GlobalAverage()
        self.embed = nn.Linear(losses, channels)
        self.squeeze = nn.Linear(2 * channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, features: Tensor, mix: Tensor) -> Tensor:
        """Features (N, C, P...) and shares (N, L) or, where the features have two dimensions, (N, L, H, W) -> (N, C, P...)."""
        pooled = self.pool(features)
        if mix.ndim == 4:
            return features * self._map(pooled, resized_map(mix, features))
        joined = torch.cat([pooled, F.relu(self.embed(mix))], 1)
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(joined))))
        return features * over_positions(gates, features)

    def _map(self, pooled: Tensor, mix: Tensor) -> Tensor:
        """The gates of every position, (N, C, H, W), for shares (N, L, H, W) of the same size."""
        at_channels = mix.permute(0, 2, 3, 1)
        c = F.relu(self.embed(at_channels))
        y = pooled[:, None, None].expand(*c.shape[:3], -1)
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(torch.cat([y, c], 3)))))
        return gates.permute(0, 3, 1, 2)

    @torch.no_grad()
    def fixed(self, mix: Tensor) -> SqueezeExcitation:
        """The same for a constant mixture (L,): exactly a squeeze-excitation block, because W_1 [y; c] = W_1' y + const."""
        channels = self.excite.out_features
        block = SqueezeExcitation(channels, self.squeeze.out_features).to(self.excite.weight)
        c = F.relu(self.embed(mix.to(self.embed.weight)))
        block.squeeze.weight.copy_(self.squeeze.weight[:, :channels])
        block.squeeze.bias.copy_(self.squeeze.bias + self.squeeze.weight[:, channels:] @ c)
        block.excite.load_state_dict(self.excite.state_dict())
        return block


class SqueezeExcitation(nn.Module):
    """Channel attention (Hu et al., arXiv:1709.01507): what `ConditionalAttention` is when its mixture is constant.

    Args:
        channels: C.
        hidden: units of the hidden layer.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.pool = GlobalAverage()
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, P...) -> (N, C, P...)."""
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(self.pool(features)))))
        return features * over_positions(gates, features)


class FeatureModulation(nn.Module):
    """FiLM (Perez et al., arXiv:1709.07871), which YOTO conditions by: F' = (1 + gamma(S)) F + beta(S).

    gamma and beta are one network's of one hidden layer of C units; it starts as the identity.

    Args:
        channels: C.
        losses: L.
        reduction: not used; the rivals are made alike.
    """

    def __init__(self, channels: int, losses: int, *, reduction: int = 4) -> None:
        super().__init__()
        _check(channels, losses, reduction)
        self.embed = nn.Linear(losses, channels)
        self.modulate = nn.Linear(channels, 2 * channels)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, features: Tensor, mix: Tensor) -> Tensor:
        """As `ConditionalAttention`."""
        if mix.ndim == 4:
            at_channels = resized_map(mix, features).permute(0, 2, 3, 1)
            gamma, beta = self.modulate(F.relu(self.embed(at_channels))).permute(0, 3, 1, 2).chunk(2, 1)
            return (1 + gamma) * features + beta
        gamma, beta = self.modulate(F.relu(self.embed(mix))).chunk(2, 1)
        return (1 + over_positions(gamma, features)) * features + over_positions(beta, features)

    def fixed(self, mix: Tensor) -> FixedMix:
        """The same for a constant mixture (L,)."""
        return FixedMix(self, mix)


class Concatenation(nn.Module):
    """The mixture joined to the features as L constant channels: F' = F + W_2 ReLU(W_1 [F; S]) at each position.

    The hidden layer matters: a constant that is only added to channels is removed whole by the next instance norm.
    W_2 starts at zero.

    Args:
        channels: C.
        losses: L.
        reduction: by which the hidden layer is narrower than C; at least one unit is kept.
    """

    def __init__(self, channels: int, losses: int, *, reduction: int = 4) -> None:
        super().__init__()
        _check(channels, losses, reduction)
        self.join = nn.Linear(channels + losses, max(1, channels // reduction))
        self.spread = nn.Linear(self.join.out_features, channels)
        nn.init.zeros_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)

    def forward(self, features: Tensor, mix: Tensor) -> Tensor:
        """As `ConditionalAttention`."""
        shares = resized_map(mix, features) if mix.ndim == 4 else over_positions(mix, features)
        shares = shares.expand(-1, -1, *features.shape[2:])
        joined = torch.cat([features, shares.to(features.dtype)], 1).movedim(1, -1)
        return features + self.spread(F.relu(self.join(joined))).movedim(-1, 1)

    def fixed(self, mix: Tensor) -> FixedMix:
        """The same for a constant mixture (L,)."""
        return FixedMix(self, mix)


class FixedMix(nn.Module):
    """A conditioning with its mixture built in."""

    mix: Tensor

    def __init__(self, conditioning: nn.Module, mix: Tensor) -> None:
        super().__init__()
        self.conditioning = conditioning
        self.register_buffer("mix", mix.detach().clone())

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, P...) -> (N, C, P...)."""
        found: Tensor = self.conditioning(features, self.mix.to(features.dtype).expand(features.shape[0], -1))
        return found


Conditioning = ConditionalAttention | FeatureModulation | Concatenation


def make_conditioning(name: ConditioningName, channels: int, losses: int, *, reduction: int = 4) -> Conditioning:
    """One of `CONDITIONINGS` by name.

    Raises:
        UsageError: there is no such name, or a number is below 1.
    """
    kinds: dict[str, type[Conditioning]] = {
        "attention": ConditionalAttention,
        "film": FeatureModulation,
        "concat": Concatenation,
    }
    if name not in kinds:
        raise UsageError(f"conditioning is {name!r}, but must be one of {', '.join(kinds)}")
    return kinds[name](channels, losses, reduction=reduction)


def over_positions(values: Tensor, features: Tensor) -> Tensor:
    """(N, K) as (N, K, 1...), to be broadcast over the positions of `features`."""
    return values.view(*values.shape, *[1] * (features.ndim - 2))


def resized_map(mix: Tensor, features: Tensor) -> Tensor:
    """A map of shares (N, L, H, W) at the size of features (N, C, h, w): areas' means, or bilinear where it is smaller.

    Raises:
        UsageError: the features have no two dimensions of positions.
    """
    if features.ndim != 4:
        raise UsageError(
            f"a map of mixtures needs features (N, C, H, W), but these have the shape {tuple(features.shape)}"
        )
    size = (features.shape[2], features.shape[3])
    if mix.shape[2] >= size[0] and mix.shape[3] >= size[1]:
        return F.adaptive_avg_pool2d(mix, size)
    return F.interpolate(mix, size, mode="bilinear", align_corners=False)


def _check(channels: int, losses: int, reduction: int) -> None:
    for name, given in (("channels", channels), ("losses", losses), ("reduction", reduction)):
        if given < 1:
            raise UsageError(f"{name} is {given}, but must be at least 1")
