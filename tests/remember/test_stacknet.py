"""What a stack computes, by an implementation from the formula, and how it is used."""

from __future__ import annotations

import io
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.remember.channels import Cuts, Group, Layout, Piece
from tenfold.remember.index import GivenIndex
from tenfold.remember.stacknet import StackNet

from .stacks import NETWORKS, SMALL, Plain, a_few_steps, inputs_for, learned, outputs, stack_of

# the equation


def by_hand(net: StackNet, task: int, images: Tensor) -> Tensor:
    """The logits of one task of a stacked perceptron, unit by unit: each slice reads its own and all earlier features."""
    features = [images]  # the whole input is every slice's
    for layer in ("0", "2"):
        given = []
        for slice_number in range(task + 1):
            part = net.slices[slice_number].get_submodule(layer)
            read = torch.cat(features if layer == "0" else scaled(features[: slice_number + 1], part), 1)
            given.append(torch.tanh(read @ part.weight.T + part.bias))
        features = given
    head = net.slices[task].get_submodule("4")
    return torch.cat(scaled(features, head), 1) @ head.weight.T + head.bias


def scaled(features: list[Tensor], reader: nn.Module) -> list[Tensor]:
    """All but the last, which are earlier tasks', by the factors that the reading slice has for them."""
    if len(features) == 1:
        return features
    older = torch.cat(features[:-1], 1) * reader.older_scale
    return [older, features[-1]]


def test_a_task_reads_its_own_and_all_earlier_slices() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 10), nn.Tanh(), nn.Linear(10, 9), nn.Tanh(), nn.Linear(9, 4)).double()
    net, images = stack_of(model, first=0.3), torch.randn(5, 7).double()
    for number in range(4):  # the fourth is new capacity
        net.add_task(str(number), num_classes=2 + number)
        a_few_steps(net, str(number), images)
    for mode in (True, False):
        net.train(mode)
        for number in range(4):
            torch.testing.assert_close(net(images, task=str(number)), by_hand(net, number, images), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_earlier_filters_have_zeros_where_later_channels_are(name: str) -> None:
    """Block triangular, and nothing else is zero: the assembled weight by positions written out here."""
    torch.manual_seed(0)
    model = NETWORKS[name]()
    net = learned(model, inputs_for(model))
    with torch.no_grad():
        for value in net.slices.buffers():  # what is read through dead units is still 0 after a few steps
            if value.is_floating_point():
                value[value == 0] = 0.1
    net.to(torch.float32)  # so that its networks are put together anew
    plain = net.extract("task 2")
    found = 0
    for layer_name, layer in net.anatomy.layers.items():
        if not layer.mixes or layer.reads.is_input or layer_name == net.anatomy.head:
            continue
        weight = plain.get_submodule(layer_name).weight
        owner_in = torch.cat(
            [torch.bucketize(torch.arange(w), torch.tensor(edges), right=True) for w, edges in widths(net, layer.reads)]
        )
        owner_out = torch.cat(
            [torch.bucketize(torch.arange(w), torch.tensor(edges), right=True) for w, edges in widths(net, layer.gives)]
        )
        later = owner_in[None, :] > owner_out[:, None]
        size = weight.abs().flatten(2).sum(2) if weight.ndim > 2 else weight.abs()
        assert torch.equal(size == 0, later), layer_name
        found += int(later.sum())
    assert found > 0


def widths(net: StackNet, layout: Layout) -> list[tuple[int, list[int]]]:
    """For each piece the features at the end, and where each task's but the last end."""
    return [
        (net.cuts.at(p.group, 2) * p.features, [net.cuts.at(p.group, task) * p.features for task in (0, 1)])
        for p in layout.pieces
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_slice_and_the_plain_network_agree(name: str) -> None:
    """Training goes through the slice with the earlier features handed on; evaluation through the assembled weights."""
    torch.manual_seed(0)
    model = NETWORKS[name]().double()
    images, net = inputs_for(model).double(), stack_of(model)
    for number in range(3):
        net.add_task(str(number), num_classes=3)
        a_few_steps(net, str(number), images)
        net.eval()
        assembled = net(images, task=str(number))
        older = net._networks.trunk(number - 1)(images) if number else ()
        torch.testing.assert_close(net.slices[number](images, *older), assembled, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_evaluating_an_unfinished_task_has_the_right_gradients(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().double()
    images, net = inputs_for(model).double(), stack_of(model)
    net.add_task("old", num_classes=3)
    a_few_steps(net, "old", images)
    net.add_task("new", num_classes=3)
    net.eval()
    older = net._networks.trunk(0)(images)
    direct = torch.autograd.grad(net.slices[1](images, *older).square().sum(), list(net.task_parameters("new")))
    through = torch.autograd.grad(net(images, task="new").square().sum(), list(net.task_parameters("new")))
    for first, second in zip(direct, through, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-10)


def test_training_a_task_gives_earlier_slices_nothing() -> None:
    torch.manual_seed(0)
    model = NETWORKS["residual"]()
    images, net = inputs_for(model), stack_of(model)
    net.add_task("old", num_classes=3)
    a_few_steps(net, "old", images)
    net.add_task("new", num_classes=3)
    net.train()
    F.cross_entropy(net(images, task="new"), torch.tensor([0, 1, 2, 0, 1])).backward()
    assert not list(net.slices[0].parameters())
    assert {id(value) for value in net.parameters()} == {id(value) for value in net.task_parameters("new")}
    assert all(value.grad is not None and bool(value.grad.any()) for value in net.task_parameters("new"))


# slices


@settings(max_examples=50, deadline=None)
@given(
    channels=st.integers(1, 200),
    quantum=st.integers(1, 9),
    shares=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6),
)
def test_cuts_are_whole_rising_and_near_the_shares(channels: int, quantum: int, shares: list[float]) -> None:
    group, cuts = Group(channels), Cuts(shares)
    group.whole(quantum)
    ends = [cuts.at(group, task) for task in range(-1, len(shares))]
    assert ends[0] == 0
    assert all(after - before >= quantum and after % quantum == 0 for before, after in pairwise(ends))
    for task, end in enumerate(ends[1:]):
        wanted = channels * math.fsum(shares[: task + 1])
        crowded = any(channels * share < quantum for share in shares)
        assert crowded or abs(end - wanted) <= quantum * (task + 2) / 2 + 1e-9
    together = Layout((Piece(group), Piece(group, 3)))
    last = len(shares) - 1
    places = [cuts.places(together, task, since=task - 1, frame=last) for task in range(len(shares))]
    assert torch.cat(places).sort().values.tolist() == list(range(cuts.width(together, last)))


def test_equal_shares_that_sum_to_one_use_the_model_up() -> None:
    group, cuts = Group(16), Cuts([1 / 3] * 3)
    assert [cuts.at(group, task) for task in range(3)] == [5, 11, 16]


def test_the_first_slice_starts_from_the_models_first_channels() -> None:
    torch.manual_seed(0)
    model = Plain("batch")
    net = stack_of(model, first=0.5)
    net.add_task("a", num_classes=6)
    part = net.slices[0]
    assert torch.equal(part.get_submodule("conv1").weight, model.conv1.weight[:6])
    torch.testing.assert_close(part.get_submodule("conv2").weight, model.conv2.weight[:8, :6] * math.sqrt(2))
    assert torch.equal(part.get_submodule("act").weight, model.act.weight[:8])
    torch.testing.assert_close(part.get_submodule("fc1").weight, model.fc1.weight[:10, : 8 * 16] * math.sqrt(2))


def test_later_slices_spread_as_the_model_does() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 2))
    nn.init.normal_(model[2].weight, std=0.3)
    net = stack_of(model, first=0.25)
    for number in range(3):
        net.add_task(str(number), num_classes=2)
    part = net.slices[2].get_submodule("2")
    assert part.weight.shape == (100, 300)
    assert not part.weight[:, :200].any()
    assert float(part.weight[:, 200:].detach().std()) == pytest.approx(0.3 * math.sqrt(400 / 100), rel=0.03)
    again = stack_of(model, first=0.25)
    again.add_task("0", num_classes=2)
    again.add_task("1", num_classes=2)
    assert not torch.equal(again.slices[1].get_submodule("2").weight, net.slices[1].get_submodule("2").weight)


@pytest.mark.parametrize("name", SMALL)
def test_a_later_task_begins_as_a_network_of_its_own_and_learns_to_read_the_others(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    images, net = inputs_for(model), stack_of(model)
    for task in ("old", "new"):
        net.add_task(task, num_classes=3)
    net.eval().meet_inputs("new", images)
    with torch.no_grad():
        net.slices[1].get_submodule(net.anatomy.head).older_scale.zero_()  # the head reads all from the start
        before = net(images, task="new")
        for value in net.slices[0].buffers():
            if value.is_floating_point():
                value.mul_(1.5)
        net.to(torch.float32)  # so that its networks are put together anew
        assert torch.equal(net(images, task="new"), before)
    a_few_steps(net, "new", images)
    readers = [part for part in net.slices[1].modules() if hasattr(part, "older_scale")]
    assert readers
    assert all(part.weight.grad is not None and bool(part.weight.grad.any()) for part in readers)


def test_a_task_takes_what_is_left_and_then_grows() -> None:
    net = stack_of(nn.Sequential(nn.Linear(4, 100), nn.ReLU(), nn.Linear(100, 2)), first=0.4)
    seen = []
    for number in range(4):
        net.add_task(str(number), num_classes=2)
        seen.append((round(net.shares[-1], 6), round(net.left, 6)))
    assert seen == [(0.4, 0.6), (0.4, 0.2), (0.2, 0.0), (0.4, 0.0)]
    assert [part.get_submodule("0").out_features for part in net.slices] == [40, 40, 20, 40]
    net.add_task("wide", num_classes=2, grow=1.5)
    assert net.extract("wide").get_submodule("0").out_features == 290


def test_a_limit_is_kept() -> None:
    net = stack_of(nn.Sequential(nn.Linear(4, 10), nn.Linear(10, 2)), first=0.5, limit=1.0)
    net.add_task("a", num_classes=2)
    net.add_task("b", num_classes=2)
    with pytest.raises(UsageError, match=r"c wants 0.5 of the width, but 1 of the limit of 1 are taken"):
        net.add_task("c", num_classes=2)
    assert net.tasks == ("a", "b")


# the tasks of a batch


@pytest.mark.parametrize("name", ["residual", "perceptron", "joined"])
def test_a_mixed_batch_equals_the_loop_over_tasks(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    images = inputs_for(model, 9)
    net = learned(model, images)
    numbers = torch.tensor([2, 0, 1, 1, 0, 2, 2, 0, -1])
    logits = net(images, task=numbers)
    assert logits.shape == (9, 5)
    for number, task in enumerate(net.tasks):
        rows = (numbers == number).nonzero()[:, 0]
        assert torch.equal(logits[rows, : 3 + number], net(images[rows], task=task))
        assert bool((logits[rows, 3 + number :] == -torch.inf).all())
        one_by_one = torch.cat([net(images[row : row + 1], task=task) for row in rows])
        torch.testing.assert_close(logits[rows, : 3 + number], one_by_one, rtol=1e-4, atol=1e-5)
    assert bool(logits[8].isnan().all())
    named = [net.tasks[number] for number in numbers[:8]]
    assert torch.equal(net(images[:8], task=named), net(images[:8], task=numbers[:8]))


def test_tasks_are_inferred_for_each_image() -> None:
    torch.manual_seed(0)
    images = torch.randn(6, 30)
    net = learned(NETWORKS["perceptron"](), images, index=GivenIndex(lambda inputs: (inputs[:, 0] > 0).long()), tasks=2)
    with pytest.raises(UsageError, match="has learned no task so far: name the task"):
        net(images)
    for task in net.tasks:
        net.learn_inputs(task, [(images, torch.zeros(6))])
    tasks, logits = net(images)
    assert torch.equal(tasks, (images[:, 0] > 0).long())
    assert torch.equal(logits, net(images, task=tasks))


@pytest.mark.parametrize("name", ["residual", "joined"])
def test_an_empty_batch_and_a_batch_of_one(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    images = inputs_for(model)
    net = learned(model, images)
    assert net(images[:0], task="task 1").shape == (0, 4)
    assert net(images[:0], task=torch.empty(0, dtype=torch.int64)).shape == (0, 5)
    assert net(images[:1], task=["task 2"]).shape == (1, 5)
    assert net(images[:1], task=torch.tensor([-1])).isnan().all()


@pytest.mark.parametrize("sides", [(16, 16), (9, 23), (33, 8)])
def test_odd_sizes(sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = NETWORKS["residual"]()
    net = learned(model, inputs_for(model))
    images = torch.randn(2, 3, *sides)
    assert torch.equal(net(images, task="task 1"), net.extract("task 1")(images).detach())


# use


def test_fitting_learns_tasks_one_after_the_other() -> None:
    torch.manual_seed(0)
    points = torch.randn(400, 30)
    loaders = {}
    for number in range(3):
        labels = (points[:, number] > 0).long()
        loaders[str(number)] = [
            (points[start : start + 50] + number, labels[start : start + 50]) for start in range(0, 400, 50)
        ]
    net = StackNet(NETWORKS["perceptron"]())
    for task, loader in loaders.items():
        net.add_task(task, num_classes=2)
        losses = net.fit_task(task, loader, epochs=12)
        assert losses[-1] < losses[0]
        assert net.is_finished(task)
    for number, (task, loader) in enumerate(loaders.items()):
        images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
        with torch.no_grad():
            assert float((net(images, task=task).argmax(1) == labels).float().mean()) > 0.9, task
            assert float((net(images)[0] == number).float().mean()) > 0.9


def test_another_optimiser_may_be_given() -> None:
    torch.manual_seed(0)
    net, made = stack_of(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))), []

    def adam(parameters: object) -> torch.optim.Optimizer:
        made.append(torch.optim.Adam(parameters, 1e-3))  # type: ignore[arg-type]
        return made[-1]

    net.add_task("a", num_classes=2)
    net.fit_task("a", [(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))], epochs=2, optimizer=adam, finish=False)
    assert len(made) == 1
    assert made[0].param_groups[0]["lr"] == 1e-3
    assert not net.is_finished("a")


def test_a_mistake_is_one_sentence() -> None:
    net = stack_of(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)))
    images, labels = torch.randn(8, 4), torch.zeros(8, dtype=torch.int64)
    with pytest.raises(UsageError, match="there is no task 'a'; the tasks are none yet"):
        net(images, task="a")
    net.add_task("a", num_classes=2)
    for name, count, grow, sentence in (
        ("a", 2, None, "name that is not taken"),
        ("b", 0, None, "num_classes is 0"),
        ("b", 2, 0.0, "grow is 0.0, but must be above 0"),
    ):
        with pytest.raises(UsageError, match=sentence):
            net.add_task(name, num_classes=count, grow=grow)
    with pytest.raises(UsageError, match="labels 0 to 5, but classes 0 to 1"):
        net.fit_task("a", [(images, labels + torch.tensor([0, 5] * 4))])
    with pytest.raises(UsageError, match="gave no batch in epoch 1"):
        net.fit_task("a", [])
    with pytest.raises(UsageError, match="epochs is 0"):
        net.fit_task("a", [(images, labels)], epochs=0)
    net.finish_task("a")
    with pytest.raises(UsageError, match="a is finished"):
        net.fit_task("a", [(images, labels)])
    for task in (torch.tensor([0, 1]), torch.full((8,), 3), ["a"]):
        with pytest.raises(UsageError, match="for each of the 8 images a name or a number"):
            net(images, task=task)
    with pytest.raises(UsageError, match="the first task, at most 1"):
        stack_of(nn.Linear(3, 2)).add_task("a", num_classes=2, grow=1.2)


def test_a_generator_that_ends_is_noticed() -> None:
    net = stack_of(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)))
    net.add_task("a", num_classes=2)
    once = iter([(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))])
    with pytest.raises(UsageError, match="gave no batch in epoch 2; it must be one that starts anew"):
        net.fit_task("a", once, epochs=2)


def test_capacity_is_what_the_tasks_have() -> None:
    torch.manual_seed(0)
    model = NETWORKS["residual"]()
    images = inputs_for(model)
    net = learned(model, images)
    capacity = net.capacity(grow=0.2, example=images)
    numbers = [sum(v.numel() for v in part.state_dict().values() if v.ndim) for part in net.slices]
    assert [use.own for use in capacity.tasks] == numbers
    assert capacity.total == sum(numbers)
    heads = [sum(v.numel() for v in part.get_submodule("fc").state_dict().values()) for part in net.slices]
    assert [use.reads for use in capacity.tasks] == [
        numbers[0], sum(numbers[:2]) - heads[0], sum(numbers) - heads[0] - heads[1]
    ]  # fmt: skip
    for use in capacity.tasks:
        plain = net.extract(use.name)
        assert use.plain == sum(v.numel() for v in plain.state_dict().values() if v.ndim)
    assert capacity.model == sum(v.numel() for v in model.state_dict().values() if v.ndim)
    assert capacity.left == 0
    assert capacity.tasks[0].macs < capacity.tasks[1].macs < capacity.tasks[2].macs < capacity.next.macs  # type: ignore[operator]
    net.add_task("next", num_classes=5, grow=0.2)
    assert net.capacity().tasks[-1].own == capacity.next.own
    lines = str(capacity).splitlines()
    assert [line.split()[0] for line in lines[:7]] == ["task", "task", "task", "task", "all", "next", "copies"]
    assert lines[-1] == "left of the model's width: 0%; the index module keeps 0 numbers"


def test_capacity_before_the_first_task() -> None:
    capacity = stack_of(NETWORKS["residual"]()).capacity()
    assert (capacity.tasks, capacity.left, capacity.next.share) == ((), 1.0, 0.34)


def test_what_is_saved_up_to_a_task_costs_what_it_uses(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NETWORKS["residual"]()
    images = inputs_for(model)
    net = learned(model, images)
    sizes = []
    for task in net.tasks:
        net.save(tmp_path / task, up_to=task)
        sizes.append(sum(file.stat().st_size for file in (tmp_path / task).glob("*.safetensors")))
        again = stack_of(NETWORKS["residual"]()).restore(tmp_path / task)
        assert again.tasks[-1] == task
        assert all(again.is_finished(name) for name in again.tasks)
        assert torch.equal(outputs(again.eval(), images)[task], outputs(net, images)[task])
    assert sizes[0] < sizes[1] / 2 < sizes[2] / 2


def test_a_stack_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = learned(NETWORKS["residual"](), inputs_for(NETWORKS["residual"]()))
    net.save(tmp_path / "stack")
    with pytest.raises(UsageError, match="holds no stack of this model"):
        stack_of(NETWORKS["vgg"]()).restore(tmp_path / "stack")
    with pytest.raises(UsageError, match="must have none"):
        net.restore(tmp_path / "stack")
    with pytest.raises(UsageError, match="does not exist"):
        stack_of(NETWORKS["residual"]()).restore(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="EntropyIndex was saved, but the index module is a DensityIndex"):
        StackNet(NETWORKS["residual"]()).restore(tmp_path / "stack")


@pytest.mark.parametrize("name", ["residual", "plain, batch norm", "joined"])
def test_an_extracted_network_exports(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    images = inputs_for(model)
    small = learned(model, images).extract("task 1")
    program = torch.export.export(small, (images,))
    torch.testing.assert_close(program.module()(images), small(images))


@pytest.mark.slow
def test_an_extracted_network_runs_in_onnxruntime() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    import warnings

    torch.manual_seed(0)
    model = NETWORKS["residual"]()
    images = inputs_for(model)
    small, data = learned(model, images).extract("task 1"), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making
        torch.onnx.export(small, (images,), dynamo=True, verbose=False).save(data)  # type: ignore[union-attr]
    session = onnxruntime.InferenceSession(data.getvalue())
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), small(images).detach(), rtol=1e-3, atol=1e-4)


def test_a_nan_stays_in_its_row() -> None:
    torch.manual_seed(0)
    model = NETWORKS["residual"]()
    images = inputs_for(model)
    net = learned(model, images)
    wanted = net(images, task="task 2")
    harmed = images.clone()
    harmed[1] = torch.nan
    found = net(harmed, task="task 2")
    assert found[1].isnan().all()
    keep = [0, 2, 3, 4]
    assert torch.equal(found[keep], wanted[keep])


def test_a_slice_reads_earlier_features_over_their_size_on_its_own_inputs() -> None:
    """A norm that hardly varied in its own task makes a later task's features huge; as they are they cannot be learned from."""
    torch.manual_seed(0)
    model = NETWORKS["residual"]()
    images, net = inputs_for(model, 32), stack_of(model)
    net.add_task("old", num_classes=3)
    a_few_steps(net, "old", images * 1e-3, steps=60)
    net.finish_task("old")
    net.add_task("new", num_classes=3)
    with torch.no_grad():
        untrained = net.eval()(images, task="new")
    older = net._networks.trunk(0)(images)
    assert max(float(tap.square().mean()) for tap in older) > 10
    assert float(untrained.abs().max()) < 100, "nothing of the earlier task is read before it was met"
    net.meet_inputs("new", images)
    for node, tap in zip(net.anatomy.taps, older, strict=True):
        sizes = tap.square().transpose(0, 1).flatten(1).mean(1).sqrt()
        readers = [user for user in node.users if str(user.target) in net.anatomy.layers]
        for reader in [reader for reader in readers if net.anatomy.layers[str(reader.target)].mixes]:
            scale = net.slices[1].get_submodule(str(reader.target)).older_scale
            torch.testing.assert_close(scale, 1 / sizes.clamp(min=1), rtol=1e-4, atol=1e-9)
    kept = [value.clone() for value in net.slices[1].buffers()]
    a_few_steps(net, "new", images * 100, steps=0)
    net.train()(images * 100, task="new")
    scales = [name for name, _ in net.slices[1].named_buffers() if name.endswith("older_scale")]
    assert scales
    for (name, value), before in zip(net.slices[1].named_buffers(), kept, strict=True):
        assert not name.endswith("older_scale") or torch.equal(value, before), "it is met once"


def test_the_first_batch_in_training_mode_is_met() -> None:
    torch.manual_seed(0)
    model = NETWORKS["perceptron"]()
    images, nets = inputs_for(model, 16), []
    for by_hand in (False, True):
        torch.manual_seed(0)
        net = stack_of(model)
        net.add_task("old", num_classes=3)
        a_few_steps(net, "old", images)
        net.add_task("new", num_classes=3)
        if by_hand:
            net.meet_inputs("new", images)
        net.train()(images, task="new")
        nets.append(net)
    first, second = (dict(net.slices[1].named_buffers()) for net in nets)
    assert all(bool(value.any()) for name, value in first.items() if name.endswith("older_scale"))
    assert all(torch.equal(first[name], second[name]) for name in first if name.endswith("older_scale"))
    nets[0].meet_inputs("old", images)  # finished, and met long ago: nothing happens
