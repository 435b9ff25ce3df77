"""`resize`: one residual network with a cost dial at run time (URNet, arXiv:1901.04687).

from tenfold.resize import make_resizable
net = make_resizable(resnet)               # a residual network, unmodified, pretrained or not
logits = net(images, scale=0.65)           # images (N, 3, H, W); scale a float or an (N,) tensor in (0, 1]
print(net.cost_report(images))             # requested against achieved cost, blocks used, per scale
small = net.freeze(scale=0.65, images=calibration)   # an ordinary smaller nn.Module
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .config import PRESETS, Config, GateSettings
    from .demo import load
    from .evaluate import load_run
    from .loss import relative_cost, scale_loss, self_distillation
    from .network import Outputs, ResizableNet, make_resizable
    from .report import CostReport

_HOME = {
    "PRESETS": "config",
    "Config": "config",
    "CostReport": "report",
    "GateSettings": "config",
    "Outputs": "network",
    "ResizableNet": "network",
    "load": "demo",
    "load_run": "evaluate",
    "make_resizable": "network",
    "relative_cost": "loss",
    "scale_loss": "loss",
    "self_distillation": "loss",
}
__all__ = [
    "PRESETS",
    "Config",
    "CostReport",
    "GateSettings",
    "Outputs",
    "ResizableNet",
    "load",
    "load_run",
    "make_resizable",
    "relative_cost",
    "scale_loss",
    "self_distillation",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
