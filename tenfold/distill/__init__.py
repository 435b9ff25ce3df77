"""`distill`: feature distillation before the ReLU (A Comprehensive Overhaul of Feature Distillation, arXiv:1904.01866).

from tenfold.distill import FeatureDistiller
distiller = FeatureDistiller(teacher, student, example=images[:2])   # finds the positions before the ReLUs by itself
loss = distiller(images, labels)                                     # .total .task .feature and a term for each position
print(distiller.positions)                                           # module, shape, where the margin comes from, weight
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .config import PRESETS, Config
    from .demo import load
    from .distiller import DistillLoss, FeatureDistiller
    from .evaluate import load_run
    from .loss import attention_distance, hint_distance, logit_distance, partial_l2
    from .margin import normal_margin

_HOME = {
    "PRESETS": "config",
    "Config": "config",
    "DistillLoss": "distiller",
    "FeatureDistiller": "distiller",
    "attention_distance": "loss",
    "hint_distance": "loss",
    "load": "demo",
    "load_run": "evaluate",
    "logit_distance": "loss",
    "normal_margin": "margin",
    "partial_l2": "loss",
}
__all__ = [
    "PRESETS",
    "Config",
    "DistillLoss",
    "FeatureDistiller",
    "attention_distance",
    "hint_distance",
    "load",
    "load_run",
    "logit_distance",
    "normal_margin",
    "partial_l2",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
