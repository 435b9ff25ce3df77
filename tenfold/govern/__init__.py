"""`govern`: an agent whose latents one can name, read and turn: PPO and A2C beside an action-conditional VAE (arXiv:1811.04350).

from tenfold.govern import ActionConditionalVAE, GovernedPPO, Governor, fit_posthoc
model = GovernedPPO("MlpPolicy", "Swimmer-v5", latent=4, aux_weight=1e-2)     # stable-baselines3's PPO with a model beside it; A2C too
model.learn(300_000); model.vae.sensitivity(obs)                              # spread of the next state under each latent: the heat map
agent = Governor(model, set={0: 2.0}); action, _ = agent.predict(obs)         # hold a latent, and the behaviour changes
vae = fit_posthoc(frozen_agent, transitions)                                  # for an agent that was trained elsewhere
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .actions import ActionMap
    from .algorithms import GovernedA2C, GovernedPPO
    from .behaviour import govern_each
    from .config import PRESETS, AuxiliarySettings, Config
    from .demo import load
    from .disentanglement import dci
    from .governor import Governor, latents_of
    from .heart import HeartEnv
    from .policy import governed_policy
    from .posthoc import fit_posthoc
    from .transitions import Transitions, collect_transitions
    from .vae import ActionConditionalVAE

_HOME = {
    "PRESETS": "config",
    "ActionConditionalVAE": "vae",
    "ActionMap": "actions",
    "AuxiliarySettings": "config",
    "Config": "config",
    "GovernedA2C": "algorithms",
    "GovernedPPO": "algorithms",
    "Governor": "governor",
    "HeartEnv": "heart",
    "Transitions": "transitions",
    "collect_transitions": "transitions",
    "dci": "disentanglement",
    "fit_posthoc": "posthoc",
    "govern_each": "behaviour",
    "governed_policy": "policy",
    "latents_of": "governor",
    "load": "demo",
}
__all__ = [
    "PRESETS",
    "ActionConditionalVAE",
    "ActionMap",
    "AuxiliarySettings",
    "Config",
    "GovernedA2C",
    "GovernedPPO",
    "Governor",
    "HeartEnv",
    "Transitions",
    "collect_transitions",
    "dci",
    "fit_posthoc",
    "govern_each",
    "governed_policy",
    "latents_of",
    "load",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
