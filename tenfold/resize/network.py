"""A residual network with a cost dial. N pictures, L gated blocks, K points of the calibrated dial."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ..core.cost import executed_macs
from ..core.errors import UsageError
from .config import GateSettings
from .gate import Dial, Gate, GatedBlock, Mode, make_gated_block
from .loss import relative_cost
from .ready import ReadyGate, ReadyGates, make_ready
from .residual import residual_blocks
from .statistics import POINTS, StatisticsBank, nearest_point, nearest_points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .report import CostReport

MODES: tuple[Mode, ...] = ("sample", "batch")


class Outputs(NamedTuple):
    """What one pass gives beside its logits."""

    logits: Tensor
    """(N, classes)"""
    gates: Tensor
    """(N, L) in [0, 1]; 0 or 1 outside training"""
    cost: Tensor
    """(N,) in [0, 1], relative to the whole network; differentiable in the gates"""


class ResizableNet(nn.Module):
    """A residual network whose blocks are skipped per picture to meet a cost that is asked for at run time.

    Made by `make_resizable`. In `eval` mode skipped blocks are not computed; `train` mode computes all and multiplies by
    gates, so that both gates and network learn. `mode` names who decides, in `eval`:

    * ``"sample"``: every picture for itself (the paper);
    * ``"batch"``: one decision for the batch, by the mean of its gates' logits; the faster one for batches.
    """

    dial_scales: Tensor
    dial_thresholds: Tensor
    block_costs: Tensor
    fixed_cost: Tensor

    def __init__(self, network: nn.Module, blocks: Sequence[str], settings: GateSettings) -> None:
        super().__init__()
        self.settings = settings
        self.network = network
        self.mode: Mode = "sample"
        self.soft_probability = settings.soft_probability
        self._dial = Dial(straight_through=settings.estimator == "straight-through")
        self.blocks: tuple[GatedBlock, ...] = ()  # a tuple, so that parameters are listed once, under `network`
        for index, name in enumerate(blocks):
            gated = make_gated_block(network.get_submodule(name), settings, self._dial, index)
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, gated)
            self.blocks += (gated,)
        self.block_names = tuple(blocks)
        self.statistics = StatisticsBank(network)
        self._ready = ReadyGates()
        _mark_idle_exits(network)
        count = len(blocks)
        self.register_buffer(
            "block_costs", torch.ones(count) if settings.cost == "blocks" else torch.full((count,), torch.nan)
        )
        self.register_buffer("fixed_cost", torch.zeros(()))
        # threshold 0 everywhere until calibrated: the gates' own step
        self.register_buffer("dial_scales", torch.linspace(0, 1, DIAL_POINTS))
        self.register_buffer("dial_thresholds", torch.zeros(len(MODES), DIAL_POINTS))

    def forward(self, images: Tensor, scale: float | Tensor = 1.0, *, mode: Mode | None = None) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) at about `scale` of the whole network's cost.

        Args:
            images: what the wrapped network takes.
            scale: requested cost in (0, 1], one number or one for each picture (N,). 1 is the whole network, exactly.
            mode: ``"sample"`` or ``"batch"``; `self.mode` when not given. Not used in training.

        Raises:
            UsageError: the scale is outside (0, 1] or has a wrong shape, or the mode is unknown.
        """
        return self.outputs(images, scale, mode=mode).logits

    def outputs(
        self, images: Tensor, scale: float | Tensor = 1.0, *, mode: Mode | None = None, soft: Tensor | None = None
    ) -> Outputs:
        """As `forward`, with the gates and the cost of each picture: what a training loss needs.

        Args:
            soft: (L,) bool, in training: gates that answer with their sigmoid. Drawn with `soft_probability` when not given.
        """
        mode = mode or self.mode
        scales, same = self._check(images, scale, mode)
        if self.block_costs.isnan().any():
            self.measure(images)
        if self.training:
            soft = torch.rand(len(self.blocks)) < self.soft_probability if soft is None else soft
            logits, gates = self._pass(images, scales, 0.0, mode, soft=soft)
        elif same is not None:
            logits, gates = self._pass_at(images, scales, same, mode)
        else:
            logits, gates = self._pass_by_point(images, scales, mode)
        return Outputs(logits, gates, relative_cost(gates, self.block_costs, self.fixed_cost))

    def _pass(
        self,
        images: Tensor,
        scales: Tensor | None,
        threshold: Tensor | float,
        mode: Mode,
        *,
        soft: Tensor | None = None,
        ready: Sequence[ReadyGate | None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits and gates of one pass through the network."""
        with self._asking(scales, threshold, mode, soft=soft, ready=ready) as dial:
            logits = self._run(images)
            return logits, self._answers(dial, images)

    def _pass_at(self, images: Tensor, scales: Tensor, scale: float, mode: Mode) -> tuple[Tensor, Tensor]:
        """All pictures at one scale, in `eval`."""
        if self.statistics.in_use:
            self.statistics.select(nearest_point(scale))
        if scale >= 1:
            return self._pass(images, None, 0.0, mode)

        def make() -> tuple[float, list[ReadyGate | None]]:
            threshold = float(self._thresholds(self.dial_thresholds.new_full((1,), scale), mode))
            gates = [block.gate for block in self.blocks]
            return threshold, [make_ready(gate, scale, threshold) if isinstance(gate, Gate) else None for gate in gates]

        threshold, ready = self._ready.get((scale, mode), self._gate_tensors, make)
        return self._pass(images, scales, threshold, mode, ready=ready)

    def _answers(self, dial: Dial, images: Tensor) -> Tensor:
        """The gates of a pass, (N, L) float32."""
        if not dial.gates:
            return torch.ones(len(images), len(self.blocks), device=images.device)
        # by index, not as they came: a network may run its blocks in another order than it registers them
        gates = [dial.gates[index] for index in range(len(self.blocks))]
        if all(isinstance(gate, bool) for gate in gates):
            return torch.tensor(gates, dtype=torch.float32, device=images.device).expand(len(images), -1)
        each = [
            gate if isinstance(gate, Tensor) else torch.full((len(images),), gate, device=images.device)
            for gate in gates
        ]
        return torch.stack(each, 1).float()

    def _pass_by_point(self, images: Tensor, scales: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
        """Each picture at its own scale: groups that share their normalisation statistics pass one after another."""
        points = nearest_points(scales) if self.statistics.in_use else torch.zeros_like(scales, dtype=torch.long)
        rows, parts = [], []
        for point in points.unique().tolist() or [0]:
            if self.statistics.in_use:
                self.statistics.select(point)
            rows.append((points == point).nonzero()[:, 0])
            some = scales[rows[-1]]
            asked = None if bool((some >= 1).all()) else some
            parts.append(self._pass(images[rows[-1]], asked, self._thresholds(some, mode), mode))
        back = torch.cat(rows).argsort()
        return torch.cat([logits for logits, _ in parts])[back], torch.cat([gates for _, gates in parts])[back]

    def full(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of the whole network with every block open and no gate asked, in either mode."""
        if not self.training and self.statistics.in_use:
            self.statistics.select(len(POINTS) - 1)
        with self._asking(None, 0.0, "sample"):
            return self._run(images)

    def _run(self, images: Tensor) -> Tensor:
        """The wrapped network, with one sentence for the commonest mistake."""
        try:
            return self.network(images)
        except RuntimeError as error:
            first = next((module for module in self.network.modules() if isinstance(module, nn.Conv2d)), None)
            if first is not None and images.shape[1] != first.in_channels:
                allowed = f"{type(self.network).__name__} takes {first.in_channels}"
                raise UsageError(f"images have {images.shape[1]} channels, but {allowed}") from error
            raise

    def train(self, mode: bool = True) -> ResizableNet:
        """As of any module; training changes the norms' statistics, so a calibrated dial wants `calibrate` again after it."""
        if mode:
            self.statistics.forget()
            self._ready.forget()
        return super().train(mode)

    def _apply(self, *arguments: Any, **options: Any) -> ResizableNet:
        self._ready.forget()
        return super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        self._ready.forget()
        super()._load_from_state_dict(*arguments, **options)

    def measure(self, images: Tensor) -> None:
        """Measure each block's multiply-accumulates for pictures of this size; the first pass does it by itself.

        Only where the settings count cost in MACs. Kept with the weights. Call it again to move to another picture size.
        """
        if self.settings.cost == "blocks":
            return
        images = images.to(self.block_costs.device) if len(images) else images.new_zeros(1, *images.shape[1:])
        inputs: dict[int, Tensor] = {}
        hooks = [
            block.register_forward_pre_hook(lambda module, args: inputs.__setitem__(module.index, args[0]))
            for block in self.blocks
        ]
        try:
            with self._evaluating():
                with self._asking(None, 0.0, "sample"):
                    total = executed_macs(self._run, images[:1])
                residuals = []
                for index, block in enumerate(self.blocks):
                    with torch.no_grad():
                        _, *carried = block.split.entry(inputs[index])
                    residuals.append(executed_macs(block.split.residual, *carried))
        finally:
            for hook in hooks:
                hook.remove()
        # relative to the whole network: as plain counts, billions would lose digits in float32
        self.block_costs.copy_(torch.tensor(residuals, dtype=torch.float64) / total)
        self.fixed_cost.fill_(1 - sum(residuals) / total)

    def calibrate(self, images: Tensor, *, as_trained: Tensor | None = None, batch_size: int = 64) -> ResizableNet:
        """Set the dial so that the achieved cost is the requested one, on pictures like these; no labels needed. Ours.

        See `tenfold.resize.calibrate.calibrate`.
        """
        from .calibrate import calibrate

        return calibrate(self, images, as_trained=as_trained, batch_size=batch_size)

    def cost_report(
        self,
        images: Tensor,
        *,
        scales: Sequence[float] = (0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0),
        mode: Mode | None = None,
    ) -> CostReport:
        """Requested against achieved cost and the blocks used, for each scale, on images (N, C, H, W). Prints as a table."""
        from .report import cost_report

        return cost_report(self, images, scales=scales, mode=mode or self.mode)

    def freeze(
        self,
        scale: float,
        images: Tensor,
        *,
        as_trained: Tensor | None = None,
        batch_size: int = 64,
        refresh: bool | None = None,
    ) -> nn.Module:
        """An ordinary smaller network for one scale: the blocks these pictures use most, without gates.

        See `tenfold.resize.freeze.freeze`.
        """
        from .freeze import freeze

        return freeze(self, scale, images, as_trained=as_trained, batch_size=batch_size, refresh=refresh)

    def gate_parameters(self) -> Iterator[nn.Parameter]:
        """The gates' own parameters, for a learning rate or weight decay of their own."""
        for block in self.blocks:
            yield from block.gate.parameters()

    def cost_of(self, keep: Sequence[bool]) -> float:
        """Relative cost of computing just the blocks where `keep` (L entries) is true."""
        gates = torch.tensor(keep, dtype=torch.float32, device=self.block_costs.device)
        return float(relative_cost(gates[None], self.block_costs, self.fixed_cost))

    @property
    def calibrated(self) -> bool:
        return bool(self.dial_thresholds.any())

    @property
    def lowest_cost(self) -> float:
        """What is computed even with every gate closed, relative to the whole network."""
        return float(self.fixed_cost / (self.fixed_cost + self.block_costs.sum()))

    def _thresholds(self, scales: Tensor, mode: Mode) -> Tensor:
        """The calibrated threshold of each scale, linear between the dial's points; minus infinity at 1."""
        position = scales * (DIAL_POINTS - 1)
        low = position.floor().clamp(max=DIAL_POINTS - 2).long()
        table = self.dial_thresholds[MODES.index(mode)].to(scales.dtype)
        between = torch.lerp(table[low], table[low + 1], position - low)
        return between.masked_fill(scales >= 1, -torch.inf)

    def _check(self, images: Tensor, scale: float | Tensor, mode: str) -> tuple[Tensor, float | None]:
        """The scales (N,), and the one number where all pictures have the same."""
        if mode not in MODES:
            raise UsageError(f"mode is {mode!r}, but must be one of {', '.join(MODES)}")
        if images.dim() != 4:
            raise UsageError(f"images have shape {tuple(images.shape)}, but must be (N, C, H, W)")
        try:
            scales = torch.as_tensor(scale, dtype=torch.float32, device=images.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"scale is {scale!r}, but must be one number or one for each picture") from error
        if scales.shape not in ((), (len(images),)):
            raise UsageError(
                f"scale has shape {tuple(scales.shape)}, but must be one number or one for each of {len(images)} pictures"
            )
        same = float(scales) if scales.dim() == 0 else None
        outside = [same] if same is not None else scales[~((scales > 0) & (scales <= 1))].tolist()
        if outside and not 0 < outside[0] <= 1:
            raise UsageError(f"scale is {outside[0]:g}, but must be above 0 and at most 1")
        return scales.expand(len(images)), same

    def _gate_tensors(self) -> list[Tensor]:
        """All that a decision follows from, but for the picture and the scale."""
        gates = [block.gate for block in self.blocks]
        own = [tensor for gate in gates for tensor in gate.parameters()]
        # a bank in use rewrites the norms' statistics from scale to scale, with the same ones for the same scale
        running = self.statistics.buffers() if self.statistics.in_use else (b for gate in gates for b in gate.buffers())
        return [*own, *running, self.dial_thresholds]

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """`eval` mode for a while; after it every module is in its own mode again, such as norms that a user froze."""
        before = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for module, training in before:
                module.training = training
            if self.training:
                self.statistics.forget()

    @contextmanager
    def _asking(
        self,
        scale: Tensor | None,
        threshold: Tensor | float,
        mode: Mode,
        *,
        soft: Tensor | None = None,
        ready: Sequence[ReadyGate | None] | None = None,
    ) -> Iterator[Dial]:
        dial = self._dial
        dial.scale, dial.threshold, dial.mode, dial.soft, dial.ready = scale, threshold, mode, soft, ready
        if self.settings.form == "random":
            dial.lowest_cost = self.fixed_cost / (self.fixed_cost + self.block_costs.sum())
        try:
            yield dial
        finally:  # nothing of the pass stays behind: it would keep the graph and its memory alive
            dial.scale, dial.threshold, dial.soft, dial.ready, dial.pooled = None, 0.0, None, None, None
            dial.gates, dial.logits = {}, {}


DIAL_POINTS = 21


def make_resizable(network: nn.Module, settings: GateSettings | None = None) -> ResizableNet:
    """Give a residual network a cost dial: one gate for each residual block. The network itself is copied, not changed.

    Works on any network whose residual blocks add a convolutional branch to a shortcut in their own forward: those of
    `tenfold.nets`, torchvision and timm (basic, bottleneck, pre-activation, ResNeXt, SE, inverted residuals, ConvNeXt).

    Args:
        network: (N, C, H, W) -> logits; pretrained or not.
        settings: form of the gates and of the cost; `GateSettings()` when not given.

    Raises:
        UsageError: the network has no such residual block.
    """
    network = copy.deepcopy(network)
    names = [name for name, _ in residual_blocks(network)]
    if not names:
        raise UsageError(
            f"{type(network).__name__} has no residual blocks to gate, but must have modules whose forward adds a "
            "convolutional branch to a shortcut, as ResNets do"
        )
    return ResizableNet(network, names, settings or GateSettings())


def _mark_idle_exits(network: nn.Module) -> None:
    """A skipped block with an identity shortcut may skip its exit too where the block before it ended in the same one.

    relu(relu(x)) = relu(x). Only directly behind each other in a Sequential is it sure that nothing happens in between.
    """
    for container in network.modules():
        if isinstance(container, nn.Sequential):
            for before, after in pairwise(container):
                if isinstance(before, GatedBlock) and isinstance(after, GatedBlock):
                    after.idle_exit = after.has_identity_shortcut and before.ends_in_relu and after.ends_in_relu
