"""`evolve`: genetic-gated A2C and PPO, a population of policies in one set of weights (arXiv:1903.01886).

from tenfold.evolve import G2PPO, G2A2C                   # stable-baselines3 algorithms: same arguments, callbacks, save and load
model = G2PPO("MlpPolicy", "HalfCheetah-v5", population=8)
model.learn(1_000_000); model.predict(obs)                # predict uses the elite
action, spread = model.predict(obs, vote="population")    # the whole population's choice, and how far it disagrees
model.history                                             # each generation: fitness, diversity, what each phase brought
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from ..core.atari import AtariGames
    from .algorithms import G2A2C, G2PPO
    from .config import PRESETS, Config, GeneticSettings
    from .demo import load
    from .gate import GeneticGate
    from .policy import gated_policy
    from .population import Population

_HOME = {
    "PRESETS": "config",
    "AtariGames": "..core.atari",
    "Config": "config",
    "G2A2C": "algorithms",
    "G2PPO": "algorithms",
    "GeneticGate": "gate",
    "GeneticSettings": "config",
    "Population": "population",
    "gated_policy": "policy",
    "load": "demo",
}
__all__ = [
    "G2A2C",
    "G2PPO",
    "PRESETS",
    "AtariGames",
    "Config",
    "GeneticGate",
    "GeneticSettings",
    "Population",
    "gated_policy",
    "load",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
