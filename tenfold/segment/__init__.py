"""`segment`: concentrated-comprehensive convolution, C3Net, and a converter for dilated networks (arXiv:1812.04920).

from tenfold.segment import ConcentratedConv2d, C3Net, convert_dilated
net = C3Net(num_classes=19)                                   # (N, 3, H, W) -> logits (N, 19, H, W), any H, W
table = convert_dilated(model, example=images, keep="faster") # swaps dilated convolutions of any model, in place
fast = net.fuse()                                             # normalisation folded exactly, for inference
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .concentrated import ConcentratedConv2d
    from .config import PRESETS, Config
    from .convert import Conversion, convert_dilated
    from .demo import load
    from .evaluate import load_run
    from .fold import fuse
    from .loss import class_weights
    from .networks import C3Net, C3NetV2, DepthwiseNet, ESPNet

_HOME = {
    "PRESETS": "config",
    "C3Net": "networks",
    "C3NetV2": "networks",
    "ConcentratedConv2d": "concentrated",
    "Config": "config",
    "Conversion": "convert",
    "DepthwiseNet": "networks",
    "ESPNet": "networks",
    "class_weights": "loss",
    "convert_dilated": "convert",
    "fuse": "fold",
    "load": "demo",
    "load_run": "evaluate",
}
__all__ = [
    "PRESETS",
    "C3Net",
    "C3NetV2",
    "ConcentratedConv2d",
    "Config",
    "Conversion",
    "DepthwiseNet",
    "ESPNet",
    "class_weights",
    "convert_dilated",
    "fuse",
    "load",
    "load_run",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
