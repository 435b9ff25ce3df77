"""`remember`: continual learning in which no old task's output ever changes (StackNet, arXiv:1809.02441).

from tenfold.remember import StackNet
net = StackNet(model, first=0.34)                    # any CNN or MLP, unmodified
net.add_task("mnist", num_classes=10)                # a slice of the channels; the tasks before are finished for good
net.fit_task("mnist", loader)                        # or your own loop over net.task_parameters("mnist")
task, logits = net(images)                           # each image's task inferred; net(images, task="mnist") when known
plain = net.extract("mnist")                         # an ordinary small network for one task
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .autoencoder import AutoencoderIndex
    from .capacity import Capacity
    from .config import PRESETS, Config
    from .demo import load
    from .density import DensityIndex
    from .evaluate import load_run
    from .generator import GeneratorIndex
    from .index import EntropyIndex, GivenIndex, IndexModule
    from .stacknet import StackNet

_HOME = {
    "PRESETS": "config",
    "AutoencoderIndex": "autoencoder",
    "Capacity": "capacity",
    "Config": "config",
    "DensityIndex": "density",
    "EntropyIndex": "index",
    "GeneratorIndex": "generator",
    "GivenIndex": "index",
    "IndexModule": "index",
    "StackNet": "stacknet",
    "load": "demo",
    "load_run": "evaluate",
}
__all__ = [
    "PRESETS",
    "AutoencoderIndex",
    "Capacity",
    "Config",
    "DensityIndex",
    "EntropyIndex",
    "GeneratorIndex",
    "GivenIndex",
    "IndexModule",
    "StackNet",
    "load",
    "load_run",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
