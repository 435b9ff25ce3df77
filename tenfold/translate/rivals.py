"""Mixtures without a dial: of the outputs, and of the weights, of networks that each know one loss. L losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.errors import UsageError


def mix_outputs(networks: Sequence[nn.Module], pictures: Tensor, mix: Tensor) -> Tensor:
    """sum_n S_n f_n(x), for a mixture (L,): what a person gets by blending pictures.

    Raises:
        UsageError: there are not as many networks as shares.
    """
    _check(networks, mix)
    made = [share * network(pictures, mix=mix) for share, network in zip(mix, networks, strict=True) if share != 0]
    return torch.stack(made).sum(0) if made else torch.zeros_like(pictures)


def mix_weights(networks: Sequence[nn.Module], pictures: Tensor, mix: Tensor) -> Tensor:
    """f(x) with the parameters sum_n S_n theta_n, for a mixture (L,), of networks of one shape.

    Raises:
        UsageError: there are not as many networks as shares.
    """
    _check(networks, mix)
    states = [dict(network.named_parameters()) | dict(network.named_buffers()) for network in networks]
    blended = {
        name: torch.stack([share * state[name] for share, state in zip(mix, states, strict=True)]).sum(0)
        for name in states[0]
    }
    made: Tensor = functional_call(networks[0], blended, (pictures,), {"mix": mix})
    return made


def _check(networks: Sequence[nn.Module], mix: Tensor) -> None:
    if len(networks) != len(mix):
        raise UsageError(f"{len(networks)} networks cannot be mixed by {len(mix)} shares")
