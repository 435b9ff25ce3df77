"""`StackNet`: one network that learns task after task, in which no earlier task's output ever changes a bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, fx, nn

from ..core.errors import UsageError
from ..core.pointwise import guard_pointwise
from .anatomy import dissect
from .channels import Cuts
from .networks import Networks
from .slices import OLDER, freeze, initialise, make_slice, meet
from .storage import restore_stack, save_stack

if TYPE_CHECKING:
    from .capacity import Capacity
    from .index import IndexModule

S = TypeVar("S", bound="StackNet")
Loader = Iterable[tuple[Tensor, Tensor]]
UNKNOWN = -1
"""the task of an input that belongs to none"""
_SMALLEST = 1e-9


class StackNet(nn.Module):
    """Slices of one network's channels, a slice for each task (StackNet, arXiv:1809.02441).

    A task computes with its own and all earlier slices. Earlier slices are finished: their weights and statistics are copies
    that no optimiser holds, and their filters never read a later channel, so an earlier task computes the very same numbers,
    to the last bit, whatever is learned afterwards and whatever mode the module is in.

        net = StackNet(model, first=0.34)
        net.add_task("mnist", num_classes=10)
        net.fit_task("mnist", loader)                      # or your own loop over net.task_parameters("mnist")
        task, logits = net(images)                         # each image's task inferred
        logits = net(images, task="mnist")                 # known
        small = net.extract("mnist")                       # an ordinary network
    """

    _where: Tensor
    index: IndexModule

    def __init__(
        self,
        model: nn.Module,
        *,
        first: float = 0.34,
        index: IndexModule | None = None,
        limit: float | None = None,
        multiple: int = 1,
        by_channel: Sequence[type[nn.Module]] = (),
    ) -> None:
        """Take a model apart. It is copied and left as it is.

        Args:
            model: any network of convolutions, Linear and norm layers that maps one tensor, (N, C, ...) or (N, features), to
                scores, (N, classes, ...). Its last layer is replaced for each task.
            first: share of the model's channels for each task whose `add_task` names none, above 0 and at most 1.
            index: tells the tasks of inputs apart (see `index`); None makes a `DensityIndex`.
            limit: most that all shares may sum to, such as 1 for a network that never grows; None lets it grow.
            multiple: slices end at multiples of so many channels, in layers whose channels are one; thin slices of odd
                numbers of channels compute slowly, and 4 or 8 is faster where the network is wide enough for it.
            by_channel: classes of modules of yours without weights that treat every channel by itself.

        Raises:
            UsageError: an argument is out of range, or a part of the model cannot be cut by task; the part is named.
        """
        super().__init__()
        if not 0 < first <= 1:
            raise UsageError(f"first is {first}, but must be a share of the model's width, above 0 and at most 1")
        if limit is not None and limit < first:
            raise UsageError(f"limit is {limit}, but must be none or at least first, {first}")
        if multiple < 1:
            raise UsageError(f"multiple is {multiple}, but must be at least 1")
        if index is None:
            from .density import DensityIndex

            index = DensityIndex()
        self.first = first
        self.limit = limit
        self.anatomy = dissect(model, by_channel=by_channel)
        self.anatomy.keep_whole(multiple)
        self.cuts = Cuts()
        self.index = index
        self.slices = nn.ModuleList()
        self._names: list[str] = []
        self._classes: list[int] = []
        self._finished = 0
        self._met = 0
        self._networks = Networks(self.anatomy, self.cuts, self.slices, self._classes)
        some = next(iter(model.parameters()))
        self.register_buffer("_where", torch.empty(0, device=some.device, dtype=some.dtype), persistent=False)

    @classmethod
    def of_trained(cls: type[S], model: nn.Module, task: str, **options: Any) -> S:
        """A stack whose first, finished task is a trained model of yours, whole: it goes on giving the very same outputs.

        Later tasks grow beside it. `options` are those of `StackNet` but `first`, which is for them.
        """
        first = options.pop("first", 0.34)
        net = cls(model, first=1.0, **options)
        head = net.anatomy.layers[net.anatomy.head].module
        net.add_task(task, num_classes=net.anatomy.classes)
        net.slices[0].get_submodule(net.anatomy.head).load_state_dict(head.state_dict())
        net.finish_task(task)
        net.first = first
        return net

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks, in the order they were added; a task's number is its place here."""
        return tuple(self._names)

    @property
    def classes(self) -> tuple[int, ...]:
        """How many classes each task has."""
        return tuple(self._classes)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of the model's width that each task took."""
        return tuple(self.cuts.shares)

    @property
    def left(self) -> float:
        """Share of the model's width that no task has taken, 0 once the network has grown beyond it."""
        return max(0.0, 1 - sum(self.shares))

    def add_task(self, name: str, num_classes: int, *, grow: float | None = None) -> None:
        """Add a slice and a head for a new task, to be trained next; the task before it is finished with that.

        Args:
            name: of the task, not yet in use.
            num_classes: at least 1.
            grow: share of the model's width for the slice, above 0: of what is left of the model or, once that is used up, of
                new channels. None takes `first`, or what is left where that is less.

        Raises:
            UsageError: an argument is out of range, or `limit` would be passed.
        """
        if not name or name in self.tasks:
            raise UsageError(f"the task is called {name!r}, but must have a name that is not taken: {self.tasks}")
        if num_classes < 1:
            raise UsageError(f"num_classes is {num_classes}, but must be at least 1")
        share = grow if grow is not None else self._usual_share()
        if share <= 0 or (not self._names and share > 1):
            allowed = "above 0 and, for the first task, at most 1" if share > 0 else "above 0"
            raise UsageError(f"grow is {share}, but must be {allowed}")
        if self.limit is not None and sum(self.shares) + share > self.limit + _SMALLEST:
            used = sum(self.shares)
            raise UsageError(
                f"{name} wants {share:g} of the width, but {used:g} of the limit of {self.limit:g} are taken"
            )
        if self._names:
            self.finish_task(self.tasks[-1])
        self._names.append(name)
        self._classes.append(num_classes)
        self.cuts.shares.append(share)
        self.slices.append(self._new_slice(len(self._names) - 1))

    def task_parameters(self, name: str) -> Iterator[nn.Parameter]:
        """What training the task changes: its slice and its head. Empty once the task is finished."""
        return self.slices[self._number(name)].parameters()

    def meet_inputs(self, name: str, images: Tensor) -> None:
        """Let the newest task's slice know how large the earlier tasks' features are on its inputs (see `slices.meet`).

        The first batch in training mode does so by itself. Call this before, with the same images everywhere, where several
        processes train one stack.
        """
        number = self._number(name)
        if number > max(self._met, self._finished - 1):
            with torch.no_grad():
                self._meet(number, self._networks.trunk(number - 1)(images))

    def finish_task(self, name: str) -> None:
        """Fix a task's outputs for ever. Adding another task does so too; a second call changes nothing.

        Raises:
            UsageError: there is no such task.
        """
        number = self._number(name)
        if number >= self._finished:
            freeze(self.slices[number])
            self._finished = number + 1

    def is_finished(self, name: str) -> bool:
        """Whether the task's outputs are fixed."""
        return self._number(name) < self._finished

    def fit_task(
        self,
        name: str,
        loader: Loader,
        *,
        epochs: int = 10,
        learning_rate: float = 0.1,
        weight_decay: float = 5e-4,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
        finish: bool = True,
    ) -> list[float]:
        """Train the newest task with cross-entropy, let the index module learn its inputs, and finish it.

        Args:
            loader: (images, labels) batches, gone through `epochs` times, then a few times by the index module; labels are
                from 0 to the task's classes - 1.
            epochs: at least 1.
            learning_rate: peak of SGD with Nesterov momentum 0.9; warmed up, then a cosine to 0.
            weight_decay: L2 penalty.
            optimizer: makes another optimiser of the parameters, whose rate then stays as it makes it.
            finish: fix the task's outputs afterwards.

        Returns:
            The mean loss of each epoch.

        Raises:
            UsageError: there is no such task, it is finished, or the loader gives nothing or labels that are no classes.
        """
        from .fit import fit_slice

        losses = fit_slice(
            self,
            name,
            loader,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            optimizer=optimizer,
        )
        self.learn_inputs(name, loader)
        if finish:
            self.finish_task(name)
        return losses

    def learn_inputs(self, name: str, loader: Loader) -> None:
        """Let the index module learn to tell the task's inputs from those of all others; `fit_task` does so too.

        Tasks come to it in their order, each once, and no earlier task's data are needed. Afterwards the index module may
        not be asked of tasks that it has not learned.

        Raises:
            UsageError: a task before has not been learned, or this one has been.
        """
        number, known = self._number(name), self.index.tasks
        if number != known:
            missing = self.tasks[known] if known < len(self._names) else "none"
            raise UsageError(f"the index module is to learn {name}, but the next one it must learn is {missing}")
        self.index.learn_task(lambda: (images.to(self._where.device) for images, _ in loader), self)

    def forward(self, images: Tensor, task: str | Sequence[str] | Tensor | None = None) -> Any:
        """The class scores of images (N, C, ...) or (N, features).

        Args:
            task: the name of the one task that all images are of; or a name or number for each of them; or None, where the
                index module tells each image's task.

        Returns:
            With one name: logits (N, classes of the task). With a name or number for each: logits (N, most classes of any
            task), -inf where a task has fewer, NaN for the task -1. With None: the tasks, int64 (N,), numbers into `tasks`
            or -1 where the image is of no known task, and such logits.

        Raises:
            UsageError: there is no such task, or none is given and the index module has not learned all tasks.
        """
        if isinstance(task, str):
            return self._run(self._number(task), images)
        if task is not None:
            return self._by_task(images, self._numbers(task, len(images)))
        found = self.infer_task(images)
        return found, self._by_task(images, found)

    def infer_task(self, images: Tensor) -> Tensor:
        """The task of each image by the index module: int64 (N,), -1 for none."""
        if self.index.tasks == 0 or self.index.tasks < len(self._names):
            learned = ", ".join(self.tasks[: self.index.tasks]) or "no task"
            raise UsageError(
                f"the index module has learned {learned} so far: name the task, or call fit_task or learn_inputs for the others"
            )
        return self.index.infer(images, self)

    def extract(self, name: str) -> nn.Module:
        """An ordinary network for one task: images -> logits, in evaluation mode, its weights copies of its own.

        Its outputs are those of `self(images, task=name)` to the last bit. It is of the model's own class, with layers as wide
        as the task and the ones before it together; or, where the model names its widths in its forward pass, a traced
        network of such layers. It exports like any other.
        """
        return self._networks.extracted(self._number(name))

    def capacity(self, *, grow: float | None = None, example: Tensor | None = None) -> Capacity:
        """What each task uses, what is left, and what a next task of the share `grow` would cost; it prints as a table.

        Args:
            grow: as in `add_task`.
            example: an input of any batch size; with it, multiply-accumulates of one input are counted too.
        """
        from .capacity import measure

        return measure(self, grow=self._usual_share() if grow is None else grow, example=example)

    def save(self, folder: Path | str, *, up_to: str | None = None) -> None:
        """Write the stack and its index module to a folder (safetensors and JSON), replacing what an earlier save left.

        Args:
            up_to: leave out the tasks after this one: what is written then costs what that task uses.
        """
        save_stack(self, Path(folder), tasks=len(self._names) if up_to is None else self._number(up_to) + 1)

    def restore(self: S, folder: Path | str) -> S:
        """Read what `save` wrote into this stack, which must be of the same model and have no task yet; returns itself.

        Raises:
            UsageError: nothing is saved there, it is damaged, or it does not fit the model or the index module.
        """
        restore_stack(self, Path(folder))
        self.index.to(self._where.device)
        self._networks.forget()
        return self

    def train(self: S, mode: bool = True) -> S:
        """Training mode is for the newest slice alone, until it is finished."""
        super().train(mode)
        for part in list(self.slices)[: self._finished]:
            part.eval()
        self.index.eval()
        return self

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """What the layers of the first task read, in their order: (N, channels, ...) each, without gradients.

        They never change once the first task is finished, whatever is learned later.
        """
        trunk = self._networks.trunk(0) if self._finished else self._networks.trunk_now(0)
        with torch.no_grad():
            return tuple(trunk(images))

    def _run(self, number: int, images: Tensor) -> Tensor:
        if number < self._finished:
            return self._networks.finished(number)(images)
        part = self.slices[number]
        if not part.training:
            return self._networks.run_now(number, images)
        if number == 0:
            return part(images)
        with torch.no_grad():  # nothing of an earlier task is trained, not even through what it hands on
            older = self._networks.trunk(number - 1)(images)
        if self._met < number:
            self._meet(number, older)
        return part(images, *older)

    def _meet(self, number: int, older: tuple[Tensor, ...]) -> None:
        part = self.slices[number]
        scales = [value for name, value in part.named_buffers() if name.endswith(OLDER)]
        # a slice that was restored has met its inputs already, and would be another if it met others now
        if scales and not any(bool(scale.any()) for scale in scales):
            meet(self.anatomy, part, older)
        self._met = number

    def _by_task(self, images: Tensor, numbers: Tensor) -> Tensor:
        logits: Tensor | None = None
        for number in numbers.unique().tolist():
            if number == UNKNOWN:
                continue
            rows = (numbers == number).nonzero()[:, 0]
            found = self._run(number, images[rows])
            if logits is None:
                shape = (len(images), max(self.classes), *found.shape[2:])
                logits = found.new_full(shape, -torch.inf)
                logits[numbers == UNKNOWN] = torch.nan
            logits = logits.index_put((rows[:, None], torch.arange(found.shape[1], device=rows.device)), found)
        if logits is None:
            logits = images.new_full((len(images), max(self.classes, default=0)), torch.nan, dtype=self._where.dtype)
        return logits

    def _new_slice(self, number: int) -> fx.GraphModule:
        part = make_slice(self.anatomy, self.cuts, number, self.classes[number])
        for name, layer in self.anatomy.layers.items():
            if name != self.anatomy.head:
                initialise(layer, self.cuts, number, part.get_submodule(name))
        # slices are thin, and who moves a stack to channels-last order should not have to know of this
        return guard_pointwise(part).to(self._where).train(self.training)

    def _usual_share(self) -> float:
        return self.first if self.left < _SMALLEST else min(self.first, self.left)

    def _number(self, name: str) -> int:
        if name not in self.tasks:
            raise UsageError(f"there is no task {name!r}; the tasks are {', '.join(self.tasks) or 'none yet'}")
        return self.tasks.index(name)

    def _numbers(self, task: Sequence[str] | Tensor, count: int) -> Tensor:
        numbers = (
            task if isinstance(task, Tensor) else torch.tensor([self._number(name) for name in task], dtype=torch.int64)
        )
        if numbers.shape != (count,) or (
            count and not UNKNOWN <= int(numbers.min()) <= int(numbers.max()) < len(self._names)
        ):
            raise UsageError(
                f"task must be one name, or for each of the {count} images a name or a number of {self.tasks}"
            )
        return numbers.to(self._where.device)

    def _apply(self: S, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> S:
        self._networks.forget()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of every module; the same tasks must have been added before."""
        self._networks.forget()
        return super().load_state_dict(state_dict, strict, assign)
