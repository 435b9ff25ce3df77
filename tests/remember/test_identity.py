"""An old task's output never changes by a bit: the promise of a stack."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.nets import build_net
from tenfold.remember.index import EntropyIndex
from tenfold.remember.stacknet import StackNet

from .stacks import NETWORKS, OPTIMISERS, SMALL, a_few_steps, inputs_for, learned, outputs, stack_of


def assert_same(now: dict[str, Tensor], before: dict[str, Tensor], where: object = "") -> None:
    for task, logits in before.items():
        assert torch.equal(now[task], logits), (task, where, float((now[task] - logits).abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_later_tasks_change_no_bit_of_earlier_ones(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    images, net = inputs_for(model), stack_of(model)
    before: dict[str, Tensor] = {}
    for number, optimiser in enumerate(["sgd", "adamw", "sgd"]):
        task = f"task {number}"
        net.add_task(task, num_classes=3 + number)
        assert_same(outputs(net, images), before, "added")
        a_few_steps(net, task, images, optimiser=optimiser)
        assert net.training
        assert_same(outputs(net, images), before, "in training mode")
        net.eval()
        now = outputs(net, images)
        assert_same(now, before, "in evaluation mode")
        before = now  # also of the newest task, which is not finished before the next one is added
    net.finish_task("task 2")
    assert_same(outputs(net, images), before, "finished")
    assert_same(outputs(net.train(), images), before, "all finished, in training mode")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    name=st.sampled_from(SMALL),
    optimisers=st.lists(st.sampled_from(list(OPTIMISERS)), min_size=2, max_size=4),
    shares=st.lists(st.floats(0.1, 0.5), min_size=4, max_size=4),
    classes=st.lists(st.integers(1, 7), min_size=4, max_size=4),
    autocast=st.booleans(),
    seed=st.integers(0, 9),
)
def test_identity_over_networks_optimisers_and_orders(
    name: str, optimisers: list[str], shares: list[float], classes: list[int], autocast: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    model = NETWORKS[name]()
    images, net = inputs_for(model, seed=seed), stack_of(model)
    before: dict[str, Tensor] = {}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        for number, optimiser in enumerate(optimisers):
            net.add_task(str(number), num_classes=classes[number], grow=shares[number])
            a_few_steps(net, str(number), images, optimiser=optimiser)
            assert_same(outputs(net, images), before, number)
            before = outputs(net.eval(), images)


def test_an_optimiser_that_still_holds_old_parameters_moves_nothing() -> None:
    torch.manual_seed(0)
    model = NETWORKS["residual"]()
    images, net = inputs_for(model), stack_of(model)
    net.add_task("old", num_classes=3)
    stale = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    net.train()
    F.cross_entropy(net(images, task="old"), torch.tensor([0, 1, 2, 0, 1])).backward()
    stale.step()
    before = outputs(net.eval(), images)
    net.add_task("new", num_classes=3)
    for _ in range(3):
        stale.step()  # momentum and weight decay go on
    assert_same(outputs(net, images), before)
    everything = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    net.train()
    F.cross_entropy(net(images, task="new"), torch.tensor([0, 1, 2, 0, 1])).backward()
    everything.step()
    assert_same(outputs(net, images), before)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_extracted_network_is_the_task_to_the_last_bit(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    images = inputs_for(model)
    net = learned(model, images)
    before = outputs(net, images)
    for task in net.tasks:
        small = net.extract(task)
        assert not small.training
        assert torch.equal(small(images).detach(), before[task]), task
        small.train()
        with torch.no_grad():
            for value in small.parameters():
                value.add_(1.0)  # it is another's now
    assert_same(outputs(net, images), before, "after others changed what was extracted")


@pytest.mark.parametrize("name", SMALL)
def test_a_saved_stack_is_the_same_and_goes_on(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    images = inputs_for(model)
    net = learned(model, images)
    before = outputs(net, images)
    net.save(tmp_path / "stack")
    again = stack_of(NETWORKS[name]()).restore(tmp_path / "stack")
    assert (again.tasks, again.classes, again.shares) == (net.tasks, net.classes, net.shares)
    assert_same(outputs(again.eval(), images), before, "restored")
    again.add_task("another", num_classes=2)
    a_few_steps(again, "another", images)
    assert_same(outputs(again, images), before, "restored, and learned more")


def test_a_state_dict_goes_from_one_stack_to_another() -> None:
    torch.manual_seed(0)
    images = inputs_for(NETWORKS["residual"]())
    net = learned(NETWORKS["residual"](), images)
    other = learned(NETWORKS["residual"](), images)
    outputs(other, images)  # so that its networks are already put together
    other.load_state_dict(net.state_dict())
    assert_same(outputs(other, images), outputs(net, images))
    twin = copy.deepcopy(net)
    assert_same(outputs(twin, images), outputs(net, images), "a deep copy")
    twin.add_task("of the copy", num_classes=2)
    a_few_steps(twin, "of the copy", images)
    assert net.tasks == ("task 0", "task 1", "task 2")
    assert_same(outputs(twin, images), outputs(net, images), "a deep copy that learned more")
    before = outputs(net, images)
    with torch.no_grad():
        for value in [*twin.buffers(), *twin.parameters()]:
            value.zero_()
    twin.to(torch.float32)  # so that its networks are put together anew
    assert_same(outputs(net, images), before, "what happens to a copy")
    assert not twin.eval()(images, task="of the copy").any()


def test_a_trained_model_keeps_its_outputs_and_learns_more() -> None:
    torch.manual_seed(0)
    model = NETWORKS["joined"]()
    images = inputs_for(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        F.cross_entropy(model(images), torch.arange(5)).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        wanted = model(images)
    net = StackNet.of_trained(model, "mine", index=EntropyIndex())
    assert net.classes == (5,)
    assert torch.equal(net(images, task="mine"), wanted)
    net.add_task("more", num_classes=2)
    a_few_steps(net, "more", images, optimiser="adam")
    assert torch.equal(net(images, task="mine"), wanted)
    assert net.shares == (1.0, 0.34)


@pytest.mark.parametrize("layout", ["channels_last", "double", "bfloat16"])
def test_moved_stacks_keep_their_promise(layout: str) -> None:
    torch.manual_seed(0)
    images = inputs_for(NETWORKS["residual"]())
    net = learned(NETWORKS["residual"](), images, tasks=2)
    if layout == "channels_last":
        net, images = net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    else:
        net, images = net.to(getattr(torch, layout)), images.to(getattr(torch, layout))
    before = outputs(net, images)
    assert before["task 0"].dtype == images.dtype
    net.add_task("another", num_classes=2)
    a_few_steps(net, "another", images)
    assert_same(outputs(net, images), before)
    assert torch.equal(net.extract("task 1")(images).detach(), before["task 1"])


def test_a_module_that_changes_in_place_does_not_reach_what_is_handed_on() -> None:
    """`relu_` between two readers of one value: the trunk hands on what the layer read."""

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)
            self.relu, self.last = nn.ReLU(inplace=True), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.last(self.second(x) + self.relu(x.clone()))

    torch.manual_seed(0)
    model, images = InPlace(), torch.randn(4, 6)
    net = learned(model, images, tasks=2)
    before = outputs(net, images)
    net.add_task("new", num_classes=2)
    a_few_steps(net, "new", images)
    assert_same(outputs(net, images), before)
    assert model.relu.inplace, "the model itself is left as it is"


@pytest.mark.parametrize("share", [0.2, 0.34])
def test_thin_slices_train_right_in_channels_last_order(share: float) -> None:
    """A strided 1x1 convolution of few channels, whose weight gradient torch gets wrong on many CPUs."""
    torch.manual_seed(0)
    gradients = []
    for memory in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(1)
        net = stack_of(build_net("resnet-8", classes=6, width=16), first=share)
        net.add_task("a", num_classes=3)
        net = net.to(memory_format=memory).train()
        images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(2)).to(memory_format=memory)
        F.cross_entropy(net(images, task="a"), torch.arange(16) % 3).backward()
        gradients.append({name: value.grad for name, value in net.named_parameters()})
    for name, wanted in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], wanted, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("name", "kept"), [("residual", True), ("vgg", True), ("joined", False), ("dropout", False), ("perceptron", True)]
)
def test_an_extracted_network_is_of_the_models_class_where_it_names_no_width(name: str, kept: bool) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    small = learned(model, inputs_for(model)).extract("task 0")
    assert (type(small) is type(model)) == kept
    assert sorted(small.state_dict()) == sorted(model.state_dict())
    assert sum(value.numel() for value in small.parameters()) < sum(value.numel() for value in model.parameters()) / 3
