"""Which networks a run trains: those with a dial, and rivals that each know one mixture. L losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core.batches import Batch, derive_seed
from .attention import ConditioningName
from .config import Config, NetSettings, TrainSettings
from .generator import ResidualGenerator, SymGenerator
from .mixture import Mix, sample_mixes
from .task import Corners

MIDDLE = "middle"
DIALS: dict[str, ConditioningName] = {"sgn": "attention", "film": "film", "concat": "concat"}


class FixedGenerator(nn.Module):
    """The same generator without a dial: the mixture that it is called with is not looked at."""

    def __init__(self, settings: NetSettings) -> None:
        super().__init__()
        self.network = ResidualGenerator(**_shape(settings))

    def forward(self, pictures: Tensor, *, mix: Mix) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1], H and W from 16 on -> the same."""
        found: Tensor = self.network(pictures)
        return found


@dataclass(frozen=True)
class Stage:
    """One training."""

    name: str
    """sgn, film, concat, "single <corner>", middle"""
    losses: int
    """L"""
    fixed: tuple[float, ...] | None = None
    """the mixture of a network without a dial"""

    @property
    def active(self) -> tuple[bool, ...]:
        """Which losses are needed."""
        return (True,) * self.losses if self.fixed is None else tuple(share > 0 for share in self.fixed)

    def mixes(self, batch: Batch, settings: TrainSettings) -> Tensor:
        """The mixture of each of the batch's samples, (n, L); the same for a sample whatever the process."""
        if self.fixed is not None:
            return torch.tensor(self.fixed).expand(len(batch.images), -1)
        alpha = (settings.alpha,) * self.losses
        return batch.draw(
            lambda generator, size: sample_mixes(size, alpha, generator=generator, vertices=settings.vertices),
            "mixture",
        )


def stages_of(config: Config, corners: Corners) -> list[Stage]:
    """All trainings of a run, in their order."""
    count, found = len(corners.names), []
    for method in config.methods:
        if method in DIALS:
            found.append(Stage(method, count))
        elif method == MIDDLE:
            found.append(Stage(MIDDLE, count, (1 / count,) * count))
        else:
            units = torch.eye(count).tolist()
            found += [Stage(single(name), count, tuple(unit)) for name, unit in zip(corners.names, units, strict=True)]
    return found


def single(corner: str) -> str:
    """The name of the network that knows this corner alone."""
    return f"single {corner}"


def build_generator(stage: Stage, config: Config, corners: Corners) -> nn.Module:
    """An untrained generator; all of a run begin with the same weights, as far as they have the same."""
    net = config.net
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "generator"))
        plain = FixedGenerator(net)
        if stage.fixed is not None:
            return plain
        torch.manual_seed(derive_seed(config.seed, "conditioning"))
        made = SymGenerator(
            corners.names, conditioning=DIALS[stage.name], reduction=net.reduction, last=net.last, **_shape(net)
        )
    # what is kept of the picture begins as the conditioning needs it
    weights = {name: value for name, value in plain.network.state_dict().items() if not name.startswith("keep.")}
    made.network.load_state_dict(weights, strict=False)
    return made


def _shape(net: NetSettings) -> dict[str, Any]:
    return {"width": net.width, "blocks": net.blocks, "skip": net.skip, "doubling": net.doubling, "norm": net.norm}
