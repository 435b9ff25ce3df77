"""How networks are taken apart: people's networks work unmodified, and what cannot be cut is refused with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.nets import build_net
from tenfold.remember.anatomy import dissect
from tenfold.remember.stacknet import StackNet
from tests.zoo import load_zoo

from .stacks import NETWORKS, a_few_steps, inputs_for, outputs, stack_of


def learns_two_tasks(model: nn.Module, images: Tensor) -> None:
    """Every part of a slice gets a gradient, an old task keeps its bits, and small networks come out."""
    net = stack_of(model)
    net.add_task("a", num_classes=2)
    a_few_steps(net, "a", images, steps=1)
    before = outputs(net.eval(), images)
    net.add_task("b", num_classes=3)
    a_few_steps(net, "b", images, steps=1)
    idle = [name for name, value in net.slices[1].named_parameters() if value.grad is None]
    assert not idle
    assert torch.equal(outputs(net, images)["a"], before["a"])
    assert torch.equal(net.extract("a")(images).detach(), before["a"])
    assert net.extract("b")(images).shape == (len(images), 3)


@pytest.mark.parametrize(
    "name", ["resnet-20", "wrn-10-2", "vgg11", "mobilenet-small", "mobilenetv2-small", "preresnet-20"]
)
def test_the_networks_of_the_house(name: str) -> None:
    torch.manual_seed(0)
    learns_two_tasks(build_net(name, classes=10, width=4), torch.randn(2, 3, 32, 32))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnext50_32x4d",
        "mobilenet_v3_small",
        "densenet121",
        "squeezenet1_0",
        "efficientnet_b0",
        "regnet_y_400mf",
    ],
)
def test_torchvision(name: str) -> None:
    models = load_zoo("torchvision").models
    torch.manual_seed(0)
    learns_two_tasks(getattr(models, name)(weights=None), torch.randn(2, 3, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "seresnet50", "densenet121", "efficientnet_b0", "regnetx_002"])
def test_timm(name: str) -> None:
    timm = load_zoo("timm")
    torch.manual_seed(0)
    learns_two_tasks(timm.create_model(name), torch.randn(2, 3, 64, 64))


def test_the_classifiers_of_alexnet_and_vgg_are_cut_like_the_rest() -> None:
    models = load_zoo("torchvision").models
    for name in ("alexnet", "vgg11_bn"):
        with torch.device("meta"):
            anatomy = dissect(getattr(models, name)(weights=None))
        assert anatomy.head == "classifier.6"
        (places,) = {
            piece.places
            for piece in anatomy.layers["classifier.1" if name == "alexnet" else "classifier.0"].reads.pieces
        }
        assert places is not None
        assert places.count == (36 if name == "alexnet" else 49)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_is_left_as_it_is(name: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    images = inputs_for(model)
    wanted, kept = model(images), {key: value.clone() for key, value in model.state_dict().items()}
    net = stack_of(model)
    net.add_task("a", num_classes=2)
    a_few_steps(net, "a", images)
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
    assert torch.equal(model(images), wanted)


def seq(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


class Written(nn.Module):
    """A convolution, then what is to be refused, then a Linear."""

    def __init__(self, forward: Callable[[Written, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.conv, self.conv2, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 3)
        self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))
        for name, part in parts.items():
            self.add_module(name, part)
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def branching(net: Written, x: Tensor) -> Tensor:
    return net.fc(pooled(net.conv(x) if x.sum() > 0 else net.conv2(x)))


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "data-dependent control flow": (Written(branching), "Written cannot be traced"),
    "a recurrent layer": (seq(nn.Conv2d(3, 8, 3), nn.Flatten(2), nn.LSTM(4, 8)), "2.*only 1 to -1 is understood"),
    "attention": (nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2), nn.Linear(8, 2)), "cannot be"),
    "a transposed convolution": (seq(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 2)), "1 is a ConvTranspose2d"),
    "a softmax inside": (
        seq(nn.Conv2d(3, 8, 3), nn.Softmax(1)),
        "1 is a Softmax, which mixes channels of several tasks",
    ),
    "grouped, to another width": (
        seq(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, groups=2)),
        "convolves 4 channels to 8 in 2 groups",
    ),
    "grouped, of the input": (seq(nn.Conv2d(3, 6, 3, groups=3)), "0 convolves the network's input in 3 groups"),
    "a norm of the input": (
        seq(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3)),
        "0 has weights for the channels of the network's input",
    ),
    "no head": (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "must end in one Linear or convolution"),
    "two heads": (
        Written(lambda net, x: net.fc(pooled(net.conv(x))) + net.other(pooled(net.conv2(x))), other=nn.Linear(8, 3)),
        "that gives the scores, not in fc, other together",
    ),
    "a tensor of its own": (
        Written(lambda net, x: net.fc(pooled(net.conv(x) * net.scale))),
        "scale is a tensor of its own",
    ),
    "padded channels": (
        Written(lambda net, x: net.fc(pooled(F.pad(net.conv(x), (0, 0, 0, 0, 1, 1))))),
        "pads channels with zeros.*use a projection",
    ),
    "channels by number": (Written(lambda net, x: net.fc(pooled(net.conv(x)[:, :4]))), "takes some of the channels"),
    "input beside features": (
        Written(lambda net, x: net.fc(pooled(torch.cat([net.conv(x), x], 1)))),
        "joins the network's input with features",
    ),
    "input plus features": (
        Written(lambda net, x: net.fc(pooled(net.conv(x) + x))),
        "combines the network's input with features",
    ),
    "several outputs": (Written(lambda net, x: (net.fc(pooled(net.conv(x))), x)), "must return one tensor"),
    "an unknown operation": (
        Written(lambda net, x: net.fc(pooled(net.conv(x).roll(1, 1)))),
        "roll.*not known to keep channels",
    ),
    "a sum over channels": (Written(lambda net, x: net.fc(net.conv(x).mean(1).flatten(1))), "not those of the picture"),
    "different widths added": (
        Written(lambda net, x: net.fc(pooled(net.conv(x) + net.one(x))), one=nn.Conv2d(3, 1, 1)),
        "combines tensors of 8 and 1 channels",
    ),
    "a wrong number of features": (
        nn.Sequential(nn.Linear(4, 6), nn.Linear(7, 2)),
        "1 reads 7 features, but 6 channels",
    ),
    "a layer of your own with weights": (
        nn.Sequential(nn.Linear(4, 6), nn.Bilinear(6, 6, 4)),
        "cannot be traced|Bilinear",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_cut_is_refused_with_the_reason(what: str) -> None:
    model, sentence = REFUSED[what]
    with pytest.raises(UsageError, match=sentence):
        StackNet(model)


def test_an_activation_of_ones_own_may_be_vouched_for() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if bool((x > 0).all()) else x * 0.5

    model = nn.Sequential(nn.Linear(4, 6), Odd(), nn.Linear(6, 2))
    with pytest.raises(UsageError, match="cannot be traced"):
        StackNet(model)
    net = StackNet(model, by_channel=[Odd])
    net.add_task("a", num_classes=2)
    assert net(torch.randn(3, 4), task="a").shape == (3, 2)


def test_groups_stay_whole() -> None:
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.GroupNorm(4, 32), nn.Conv2d(32, 32, 1, groups=8), nn.Conv2d(32, 5, 1))
    net = stack_of(model, first=0.3)
    for number in range(3):
        net.add_task(str(number), num_classes=2)
        # 8 channels a group of the norm, 4 a group of the convolution
        assert net.slices[number].get_submodule("0").out_channels % 8 == 0
    plain = net.extract("2")
    # 0.9 of the 32 channels, rounded to whole groups
    assert [plain.get_submodule("1").num_groups, plain.get_submodule("2").groups] == [4, 8]


def test_slices_end_at_multiples_where_the_layers_allow_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 10, 3), nn.Conv2d(10, 5, 1))
    net = stack_of(model, first=0.3, multiple=8)
    for number in range(3):
        net.add_task(str(number), num_classes=2)
    assert [part.get_submodule("0").out_channels for part in net.slices] == [8, 8, 16]
    assert [part.get_submodule("1").out_channels for part in net.slices] == [3, 3, 3]
    with pytest.raises(UsageError, match="multiple is 0"):
        stack_of(model, multiple=0)


def test_a_layer_that_is_called_twice_is_one_layer() -> None:
    torch.manual_seed(0)
    learns_two_tasks(
        Written(lambda net, x: net.fc(pooled(net.conv(x))) + net.fc(pooled(net.conv(x.flip(3))))),
        torch.randn(2, 3, 8, 8),
    )


def test_functional_dropout_follows_the_mode() -> None:
    """Traced as it is, it would drop for ever, or never."""
    model = NETWORKS["dropout"]().train()
    images, net = inputs_for(model, 64), stack_of(model)
    net.add_task("a", num_classes=3)
    net.train()
    assert not torch.equal(net(images, task="a"), net(images, task="a"))
    net.eval()
    assert torch.equal(net(images, task="a"), net(images, task="a"))
    drops = [part for part in net.slices[0].modules() if isinstance(part, nn.Dropout)]
    assert [part.p for part in drops] == [0.3]


def test_dense_heads_and_log_softmax_are_heads_too() -> None:
    dense = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Upsample(scale_factor=2))
    net = stack_of(dense)
    net.add_task("a", num_classes=7)
    assert net(torch.randn(2, 3, 6, 6), task="a").shape == (2, 7, 12, 12)
    digits = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4), nn.LogSoftmax(1))
    net = stack_of(digits)
    net.add_task("a", num_classes=3)
    assert net(torch.randn(2, 3, 2, 2), task="a").exp().sum(1).tolist() == pytest.approx([1, 1])


def test_messages_name_what_was_given() -> None:
    with pytest.raises(UsageError, match=re.escape("first is 1.5, but must be a share")):
        StackNet(nn.Linear(3, 2), first=1.5)
    with pytest.raises(UsageError, match=r"limit is 0\.2"):
        StackNet(nn.Linear(3, 2), first=0.5, limit=0.2)
