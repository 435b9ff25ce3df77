"""Learning rates over a training. Pure functions of how much of it is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Schedule = Literal["cosine", "steps"]


def learning_rate(peak: float, schedule: Schedule, share: float, *, steps_at: Sequence[float] = (0.5, 0.75)) -> float:
    """The learning rate when `share` in [0, 1) of the training is done.

    Args:
        peak: the largest rate.
        schedule: `cosine` warms up linearly over the first tenth, then falls to 0 along half a cosine; `steps` divides by
            10 at each share of `steps_at`.
    """
    if schedule == "steps":
        return peak * 0.1 ** sum(share >= at for at in steps_at)
    if share < 0.1:
        return peak * (share + 0.01) / 0.11
    return peak * 0.5 * (1 + math.cos(math.pi * (share - 0.1) / 0.9))
