"""`generate`: an exact density over any model's latents, and autoencoders that generate with it (arXiv:1902.04294).

from tenfold.generate import LatentDensity, GenerativeAutoencoder
density = LatentDensity(dim=64).fit(latents)             # (N, 64) from anywhere; or fit((encoder, loader))
z = density.sample(1000); lp = density.log_prob(z)       # nats a row; density.typicality(z) in [0, 1]
ae = GenerativeAutoencoder(encoder, decoder, density); images = ae.sample(64)
density.save("density.safetensors"); LatentDensity.load("density.safetensors")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .autoencoder import Decoder, Encoder
    from .config import PRESETS, Config, FitSettings
    from .demo import load
    from .density import LatentDensity
    from .generative import GenerativeAutoencoder
    from .incremental import IncrementalLatents
    from .learned import load_run
    from .parzen import parzen_log_likelihood
    from .perceptual import PerceptualLoss

_HOME = {
    "PRESETS": "config",
    "Config": "config",
    "Decoder": "autoencoder",
    "Encoder": "autoencoder",
    "FitSettings": "config",
    "GenerativeAutoencoder": "generative",
    "IncrementalLatents": "incremental",
    "LatentDensity": "density",
    "PerceptualLoss": "perceptual",
    "load": "demo",
    "load_run": "learned",
    "parzen_log_likelihood": "parzen",
}
__all__ = [
    "PRESETS",
    "Config",
    "Decoder",
    "Encoder",
    "FitSettings",
    "GenerativeAutoencoder",
    "IncrementalLatents",
    "LatentDensity",
    "PerceptualLoss",
    "load",
    "load_run",
    "parzen_log_likelihood",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
