"""What a finished run holds: its generators by name, each with what its corners are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..core.device import in_memory_order
from ..core.trained import open_trained
from .config import Config
from .stages import DIALS, build_generator, stages_of
from .task import Corners


@dataclass(frozen=True)
class Learned:
    """Usable without the pictures that it was learned from."""

    config: Config
    corners: Corners
    networks: dict[str, nn.Module]
    """by name, in `eval` mode on the CPU"""

    @property
    def dials(self) -> list[str]:
        """The names of the networks that take any mixture."""
        return [name for name in self.networks if name in DIALS]


def load_run(folder: Path) -> Learned:
    """The settings, the corners and the trained generators of a run folder.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    config, state = open_trained(folder, "translate", Config)
    source, domains, styles = state["corners"]
    corners = Corners(source, tuple(domains), tuple(styles))
    networks: dict[str, nn.Module] = {}
    for stage in stages_of(config, corners):
        network = build_generator(stage, config, corners)
        network.load_state_dict(state["networks"][stage.name])
        # in the order that it was trained and tested in: in the other one sums are rounded otherwise
        networks[stage.name] = in_memory_order(network, config.compute).eval()
    return Learned(config, corners, networks)
