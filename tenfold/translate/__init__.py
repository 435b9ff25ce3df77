"""`translate`: train once over every mixture of several losses, turn the mixture at run time (SGN, arXiv:1811.12362).

from tenfold.translate import symmetrize, SymTrainer
model = symmetrize(my_net, losses=3, at=["layer1", "layer3"])     # any network; conditional channel attention
trainer = SymTrainer(model, losses={"recon": f1, "gan": f2, "style": f3})   # each loss gives (B,)
trainer.fit(loader, epochs=10)
y = model(x, mix=[0.5, 0.3, 0.2]); frozen = model.freeze([0.5, 0.3, 0.2])
front = trainer.sweep(loader, grid=21)                            # the trade-off surface, with a picture
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .adversarial import AdversarialLoss, Sampler
    from .attention import Concatenation, ConditionalAttention, FeatureModulation, SqueezeExcitation
    from .config import PRESETS, Config
    from .demo import load
    from .discriminator import PatchDiscriminator
    from .features import FilterBank, Looks
    from .front import Front
    from .generator import ResidualGenerator, SymGenerator
    from .jitter import ColourJitter
    from .learned import load_run
    from .mixture import OffSimplexWarning, sample_mixes, simplex_grid
    from .replay import MixtureReplay
    from .scales import LossScales
    from .symmetrized import Symmetrized, symmetrize
    from .tiles import translate_tiled
    from .trainer import SymTrainer

_HOME = {
    "PRESETS": "config",
    "AdversarialLoss": "adversarial",
    "ColourJitter": "jitter",
    "Concatenation": "attention",
    "ConditionalAttention": "attention",
    "Config": "config",
    "FeatureModulation": "attention",
    "FilterBank": "features",
    "Front": "front",
    "Looks": "features",
    "LossScales": "scales",
    "MixtureReplay": "replay",
    "OffSimplexWarning": "mixture",
    "PatchDiscriminator": "discriminator",
    "ResidualGenerator": "generator",
    "Sampler": "adversarial",
    "SqueezeExcitation": "attention",
    "SymGenerator": "generator",
    "SymTrainer": "trainer",
    "Symmetrized": "symmetrized",
    "load": "demo",
    "load_run": "learned",
    "sample_mixes": "mixture",
    "simplex_grid": "mixture",
    "symmetrize": "symmetrized",
    "translate_tiled": "tiles",
}
__all__ = [
    "PRESETS",
    "AdversarialLoss",
    "ColourJitter",
    "Concatenation",
    "ConditionalAttention",
    "Config",
    "FeatureModulation",
    "FilterBank",
    "Front",
    "Looks",
    "LossScales",
    "MixtureReplay",
    "OffSimplexWarning",
    "PatchDiscriminator",
    "ResidualGenerator",
    "Sampler",
    "SqueezeExcitation",
    "SymGenerator",
    "SymTrainer",
    "Symmetrized",
    "load",
    "load_run",
    "sample_mixes",
    "simplex_grid",
    "symmetrize",
    "translate_tiled",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
