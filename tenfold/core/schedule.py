"""Learning rates over a training. Pure functions of how much of it is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Schedule = Literal["cosine", "steps", "poly", "linear"]


def learning_rate(
    peak: float, schedule: Schedule, share: float, *, steps_at: Sequence[float] = (0.5, 0.75), factor: float = 0.1
) -> float:
    """The learning rate when `share` in [0, 1) of the training is done.

    Args:
        peak: the largest rate.
        schedule: `cosine` warms up linearly over the first tenth, then falls to 0 along half a cosine; `steps` multiplies by
            `factor` at each share of `steps_at`; `poly` falls to 0 as (1 - share) to the power of 0.9;
            `linear` stays for the first half, then falls to 0 along a line.
    """
    if schedule == "steps":
        return peak * factor ** sum(share >= at for at in steps_at)
    if schedule == "poly":
        return peak * (1 - share) ** 0.9
    if schedule == "linear":
        return peak * min(1.0, 2 * (1 - share))
    if share < 0.1:
        return peak * (share + 0.01) / 0.11
    return peak * 0.5 * (1 + math.cos(math.pi * (share - 0.1) / 0.9))
