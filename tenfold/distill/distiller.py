"""Feature distillation before the ReLU, of any teacher into any student (arXiv:1904.01866).

T'  = max(T, m)                        margin ReLU on the teacher
S'  = BN(conv1x1(S))                   connector on the student
L_i = sum of (S' - T')^2 where S' > T' or T' > 0
L   = task(student) + alpha / N  sum_i  w_i L_i,   w_i = 1 / 2^(n-1-i)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from .balance import Balance
from .connector import make_connector, same_size
from .dataflow import main_output
from .loss import partial_l2, plain_l2, position_weights
from .margin import GivenMargin, MarginForm, StreamingMargin, normal_margin
from .pairs import Pair, Pairs, pair_positions
from .positions import Position
from .settled import settled
from .taps import Reading, reading
from .teacher import TeacherNorm, teaching

Form = Literal["margin", "plain"]


class DistillLoss(NamedTuple):
    """The terms of one step; `total` is the one to differentiate."""

    total: Tensor
    task: Tensor
    feature: Tensor
    """alpha / N times the weighted sum over the positions"""
    positions: tuple[Tensor, ...]
    """what each position adds to `feature`"""
    outputs: Any
    """what the student returned"""


class FeatureDistiller(nn.Module):
    """Makes a teacher's features part of a student's loss. Neither network is changed; the student trains, the teacher does not.

    Its parameters are the student's and the connectors'; drop it after training and keep the student.

    Args:
        teacher: (N, C, H, W) -> outputs, trained. Comes out bit-identical, buffers included.
        student: the same, to be trained. A residual network, VGG, MobileNet, segmentation network, ... of any library.
        example: at least two inputs (N, C, H, W), to find positions with; on the networks' device.
        positions: names of modules or ReLUs, one for both networks or pairs (teacher's, student's); found when not given.
        form: `margin` is the paper's; `plain` is the plain L2 distance of named positions, for activations without a threshold.
        margin: `bn` takes each margin from the teacher's batch normalisation and, where there is none, from data; `data` from
            what the teacher computes, over the first training batches; or a tensor (C,) for each position.
        margin_form: see `normal_margin`.
        alpha: weight of the feature loss: the authors' rule is 1e-3 for 32-pixel pictures, 1e-4 for 224, 1e-5 for dense
            prediction; `auto` keeps its gradient in proportion to the task's (see `Balance`).
        weights: of the positions; halved from each to the next shallower one when not given.
        teacher_norm: see `teaching`.
        sizes: `pool` averages the larger of two maps down to the smaller; `strict` refuses maps of different sizes.
        task_loss: (outputs, labels) -> scalar; cross-entropy of (N, classes, ...) when not given.

    Raises:
        UsageError: no positions are found, a named one does not exist, or an argument does not fit.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        *,
        example: Tensor,
        positions: Sequence[str | tuple[str, str]] | None = None,
        form: Form = "margin",
        margin: Literal["bn", "data"] | Sequence[Tensor] = "bn",
        margin_form: MarginForm = "paper",
        alpha: float | Literal["auto"] = 1e-3,
        weights: Sequence[float] | None = None,
        teacher_norm: TeacherNorm = "batch",
        sizes: Literal["pool", "strict"] = "pool",
        task_loss: Callable[[Any, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if example.dim() != 4 or len(example) < 2:
            raise UsageError(f"example has shape {tuple(example.shape)}, but must be (N, C, H, W) with N at least 2")
        _check_words(form=form, margin_form=margin_form, teacher_norm=teacher_norm, sizes=sizes)
        if alpha != "auto" and not (isinstance(alpha, int | float) and 0 < alpha < math.inf):
            raise UsageError(f'alpha is {alpha!r}, but must be above 0 or "auto"')
        if form == "plain" and positions is None:
            raise UsageError('form is "plain", which needs named positions: only those before a ReLU are found')
        self.student = student
        self._teacher = (teacher,)  # in a tuple: its parameters are not to be trained, nor its weights saved
        self.form, self.teacher_norm, self.task_loss = form, teacher_norm, task_loss or _cross_entropy
        found = pair_positions(teacher, student, example, positions)
        _check_fit(found, margin, weights, sizes)
        self.connectors = nn.ModuleList(make_connector(s.shape[0], t.shape[0]) for t, s in found).to(example.device)
        self.balance = Balance(alpha).to(example.device)
        given: Sequence[Tensor | None] = [None] * len(found) if isinstance(margin, str) else margin
        sources = [_margin_source(t, margin, form) for t, _ in found]
        self.margins: Any = nn.ModuleList(
            _make_margin(t, source, own, margin_form) for (t, _), source, own in zip(found, sources, given, strict=True)
        ).to(example.device)
        chosen = weights if weights is not None else position_weights(len(found))
        self.positions = Pairs(
            Pair(t, s, float(weight), source) for (t, s), weight, source in zip(found, chosen, sources, strict=True)
        )
        self._learn_margins(example)

    @property
    def teacher(self) -> nn.Module:
        return self._teacher[0]

    @property
    def alpha(self) -> float:
        """The weight of the feature loss now."""
        return self.balance.alpha

    @property
    def gradient_ratio(self) -> float:
        """How large the feature loss's gradient is beside the task's, when last measured in training; NaN before."""
        return self.balance.ratio

    def forward(self, images: Tensor, labels: Tensor, **options: Any) -> DistillLoss:
        """The loss of one batch.

        Args:
            images: (N, C, H, W).
            labels: what `task_loss` takes: class indices (N,), or (N, H, W) for dense prediction.
            options: passed on to the student, such as the scale of a resizable one.
        """
        # the teacher first: its passing tensors are gone before the student's, which stay for the backward pass, are there
        targets = self._taught(images)
        with self.reading() as seen:
            outputs = self.student(images, **options)
        task = self.task_loss(outputs, labels)
        terms = self._distances(seen.tensors, targets)
        self._measure(task, terms)
        terms = [self.balance.alpha * term for term in terms]
        feature = torch.stack(terms).sum()
        return DistillLoss(task + feature, task, feature, tuple(terms), outputs)

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Read the student's positions in the one pass that it makes in this context, also from inside a larger model."""
        with reading(self.student, [pair.student for pair in self.positions]) as seen:
            yield seen

    def feature_loss(self, seen: Reading, task: Tensor | None = None) -> Tensor:
        """alpha / N times the weighted sum of the distances, of a pass that `reading` saw: for losses and loops of your own.

        Runs the teacher on what the student was given.

        Args:
            task: the scalar that the task adds to the loss; `alpha="auto"` needs it, to balance by.

        Raises:
            UsageError: alpha is "auto" and there is no task.
        """
        if task is None and self.balance.automatic:
            raise UsageError(
                'alpha is "auto", which balances features with the task: feature_loss(seen, task) needs it'
            )
        terms = self._distances(seen.tensors, self._taught(*seen.inputs, **seen.options))
        if task is not None:
            self._measure(task, terms)
        return self.balance.alpha * torch.stack(terms).sum()

    def _measure(self, task: Tensor, terms: list[Tensor]) -> None:
        if self.training and torch.is_grad_enabled():
            self.balance.measure(task, torch.stack(terms).sum(), self.student.parameters())

    def _distances(self, students: list[Tensor], targets: list[Tensor]) -> list[Tensor]:
        """w_i L_i / N of each position, without alpha. Empties `targets`."""
        terms = []
        # one position after another, the smallest first, and nothing of it stays: a teacher's features can be larger than all
        # that the student keeps for its backward pass
        for index in reversed(range(len(self.positions))):
            if self.training:
                self.margins[index].update(targets[-1])
            parameters = list(self.connectors[index].parameters())
            distance = settled(partial(self._distance, index, targets), students[index], parameters)
            terms.append(self.positions[index].weight * distance / len(students[index]))
        return terms[::-1]

    def _distance(self, index: int, targets: list[Tensor], features: Tensor) -> Tensor:
        """L_i of student features (N, C1, H, W) and the last of `targets`, (N, C2, H', W').

        Takes the target out of the list, so that its memory is free again before gradients are taken.
        """
        features, target = same_size(features, targets.pop())
        learned = self.connectors[index](features)
        if self.form == "plain":
            return plain_l2(learned, target)
        return partial_l2(learned, target, self.margins[index].margin.view(1, -1, 1, 1), overwrite=True)

    def _taught(self, *inputs: Any, **options: Any) -> list[Tensor]:
        """The teacher's features of the inputs at its positions."""
        positions = [pair.teacher for pair in self.positions]
        with teaching(self.teacher, self.teacher_norm), reading(self.teacher, positions) as taught:
            self.teacher(*inputs, **options)
        return taught.tensors

    def _learn_margins(self, example: Tensor) -> None:
        """Margins from data begin with the example's, so that there are some from the first step on."""
        for margin, target in zip(self.margins, self._taught(example), strict=True):
            margin.update(target)

    def extra_repr(self) -> str:
        return str(self.positions)

    def _apply(self, *arguments: Any, **options: Any) -> FeatureDistiller:
        self.teacher._apply(*arguments, **options)
        return super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]


def _margin_source(position: Position, margin: str | Sequence[Tensor], form: Form) -> str:
    if form == "plain":
        return "none"
    if not isinstance(margin, str):
        return "given"
    if margin == "data" or position.affine is None:
        return "data"
    return "bn of the residual branch" if position.from_sum else "bn"


def _make_margin(
    position: Position, source: str, given: Tensor | None, form: MarginForm
) -> GivenMargin | StreamingMargin:
    channels = position.shape[0]
    if given is not None:
        return GivenMargin(given)
    if source == "none":
        return GivenMargin(torch.zeros(channels))
    if source == "data" or position.affine is None:
        return StreamingMargin(channels)
    weight, bias = position.affine
    assert weight is not None
    return GivenMargin(normal_margin(torch.zeros_like(weight) if bias is None else bias, weight, form=form))


WORDS = {
    "form": ("margin", "plain"),
    "margin_form": ("paper", "exact"),
    "teacher_norm": ("batch", "running"),
    "sizes": ("pool", "strict"),
}


def _check_words(**given: str) -> None:
    for name, word in given.items():
        if word not in WORDS[name]:
            raise UsageError(f"{name} is {word!r}, but must be one of {', '.join(WORDS[name])}")


def _check_fit(
    found: list[tuple[Position, Position]], margin: str | Sequence[Tensor], weights: Sequence[float] | None, sizes: str
) -> None:
    if weights is not None and len(weights) != len(found):
        raise UsageError(f"weights has {len(weights)} numbers, but there are {len(found)} positions")
    if not isinstance(margin, str):
        expected = [position.shape[0] for position, _ in found]
        given = [tuple(each.shape) for each in margin]
        if given != [(channels,) for channels in expected] or any(bool((each > 0).any()) for each in margin):
            raise UsageError(
                f"margin has tensors of shapes {given}, but must have one for each position, of {expected} values at most 0"
            )
    elif margin not in ("bn", "data"):
        raise UsageError(f"margin is {margin!r}, but must be bn, data or a tensor for each position")
    if sizes == "strict":
        for teacher, student in found:
            if teacher.shape[1:] != student.shape[1:]:
                raise UsageError(
                    f"{teacher.name!r} of the teacher has {teacher.shape[1]} x {teacher.shape[2]} pixels and {student.name!r} "
                    f'of the student {student.shape[1]} x {student.shape[2]}, but sizes is "strict"'
                )


def _cross_entropy(outputs: Any, labels: Tensor) -> Tensor:
    logits = main_output(outputs)
    # 255 marks pixels without a label in every common segmentation set; no classifier has a class of that number beside it
    ignored = 255 if logits.dim() > 2 else -100
    return F.cross_entropy(logits.float(), labels, ignore_index=ignored)
