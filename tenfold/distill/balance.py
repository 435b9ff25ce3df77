"""How strong the feature loss is beside the task, measured where it matters: by the gradients of the student's parameters.

The right alpha differs by orders of magnitude between tasks and resolutions, and ten times too much can be worse than no
distillation at all (the authors' own table). Measuring, warning and balancing are ours.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

EVERY = 50
"""training steps from one measurement to the next; each costs about two backward passes"""
TARGET = 1.0
"""ratio of the gradients that `auto` keeps to"""
USUAL = (0.03, 30.0)
"""ratios outside of these are warned of"""


class Balance(nn.Module):
    """The weight alpha of the feature loss, given or kept so that its gradient is `TARGET` times the task's.

    alpha_t+1 = alpha_t (TARGET / ratio)^(1/2),   ratio = alpha norm(grad feature) / norm(grad task)

    The square root damps the noise of single batches; the first measurement counts in full.
    """

    def __init__(self, alpha: float | Literal["auto"]) -> None:
        super().__init__()
        self.automatic = alpha == "auto"
        self.alpha = 1.0 if alpha == "auto" else float(alpha)
        self.ratio = math.nan
        self.steps = 0

    def measure(self, task: Tensor, feature: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        """Note the ratio of the gradients, and set alpha where it is automatic; does so once in `EVERY` calls.

        Args:
            task: the scalar that the task adds to the loss.
            feature: the scalar that features would add with an alpha of 1.
        """
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if not trained:  # such as while only the connectors learn
            return
        self.steps += 1
        if (self.steps - 1) % EVERY:
            return
        of_task, of_feature = torch.stack([_gradient_norm(term, trained) for term in (task, feature)]).tolist()
        if not (0 < of_task < math.inf and 0 < of_feature < math.inf):
            return
        first = math.isnan(self.ratio)
        self.ratio = self.alpha * of_feature / of_task
        if self.automatic:
            self.alpha *= (TARGET / self.ratio) ** (1.0 if first else 0.5)
        elif first and not USUAL[0] <= self.ratio <= USUAL[1]:
            advice = "smaller" if self.ratio > 1 else "larger"
            warnings.warn(
                f"the feature loss pulls at the student {self.ratio:.3g} times as hard as the task does; "
                f'an alpha {advice} than {self.alpha:g}, or alpha="auto", is likely to do better',
                stacklevel=3,
            )

    def get_extra_state(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "ratio": self.ratio, "steps": self.steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.alpha, self.ratio, self.steps = float(state["alpha"]), float(state["ratio"]), int(state["steps"])


def _gradient_norm(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """Length of the gradient of the mean of `loss` over all processes."""
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    flat = [gradient.float().flatten() for gradient in gradients if gradient is not None]
    whole = torch.cat(flat) if flat else loss.new_zeros(1)
    if dist.is_initialized():
        dist.all_reduce(whole)
        whole /= dist.get_world_size()
    return whole.norm()
