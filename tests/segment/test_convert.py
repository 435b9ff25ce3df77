from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from math import isnan
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.segment import ConcentratedConv2d, convert, convert_dilated, fuse, least_squares
from tenfold.segment.convert import Conversion, ConvertedLayer, exchange_dilated, is_convertible
from tenfold.segment.dense import DilatedSegmenter

from ..nets.builders import parameters
from ..zoo import load_zoo
from .builders import randomised


class Special(nn.Conv2d):
    """Does what its author wants."""


def dilated(inputs: int = 4, outputs: int = 4, rate: int = 2, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, **{"padding": rate, "dilation": rate, **options})


@pytest.mark.parametrize(
    "module",
    [
        dilated(),
        dilated(3, 8, 5, bias=False),
        dilated(stride=2),
        dilated(padding="same"),
        dilated(padding=(2, 2), dilation=(2, 2)),
    ],
)
def test_dilated_convolutions_are_found(module: nn.Conv2d) -> None:
    assert is_convertible(module)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 4, 1, dilation=2),
        nn.Conv2d(4, 4, 5, dilation=2, padding=4),
        nn.Conv2d(4, 4, (3, 1), dilation=2, padding=2),
        dilated(groups=2),
        dilated(groups=4),
        dilated(rate=1),
        dilated(padding=1),
        dilated(padding=0),
        dilated(padding="valid"),
        dilated(padding=(2, 1)),
        dilated(dilation=(2, 1), padding=(2, 1)),
        dilated(stride=(1, 2)),
        dilated(padding_mode="circular"),
        Special(4, 4, 3, padding=2, dilation=2),
        nn.ConvTranspose2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv1d(4, 4, 3, padding=2, dilation=2),
        ConcentratedConv2d(4, 4, dilation=2),
        nn.ReLU(),
    ],
)
def test_others_are_not(module: nn.Module) -> None:
    assert not is_convertible(module)
    network = nn.ModuleList([module])
    assert exchange_dilated(network) == 0
    assert network[0] is module


class Handmade(nn.Module):
    """Its layers are called in another order than they were made in; one is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.last = dilated(8, 4, 4)
        self.idle = dilated(4, 4, 2)
        self.inside = nn.ModuleDict({"first": dilated(8, 8, 2, bias=False), "second": dilated(8, 8, 3, stride=2)})
        self.norm = nn.BatchNorm2d(8)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.inside["first"](F.relu(self.stem(x)))))
        return self.last(F.relu(self.inside["second"](self.dropout(x))))


ORDER = ("inside.first", "inside.second", "last")
Seconds = Callable[..., list[float]]


def handmade() -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    return randomised(Handmade()), torch.randn(2, 3, 16, 18)


def names(table: Conversion) -> tuple[str, ...]:
    return tuple(layer.name for layer in table.layers)


@pytest.fixture
def _two_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if concentrated convolutions took less time where they dilate by less than 4."""

    def seconds(functions: Sequence[Any], *inputs: Any, repeats: int) -> list[float]:
        convolution, block = functions
        assert isinstance(convolution, nn.Conv2d)
        assert not isinstance(block, ConcentratedConv2d) or convolution.stride == (2, 2)  # as it is for inference
        torch.testing.assert_close(block(*inputs).shape, convolution(*inputs).shape)
        return [3e-3, 3e-3 if convolution.dilation[0] == 4 else 2e-3]

    monkeypatch.setattr(convert, "alternating_seconds", seconds)


def test_all_layers_are_exchanged_in_the_order_of_their_calls() -> None:
    network, x = handmade()
    old = copy.deepcopy(network)
    table = convert_dilated(network, x, keep="all", repeats=1)
    assert names(table) == table.converted == ORDER
    for layer in table.layers:
        was, block = old.get_submodule(layer.name), network.get_submodule(layer.name)
        assert isinstance(block, ConcentratedConv2d)
        assert layer.channels == (was.in_channels, was.out_channels) == (block.in_channels, block.out_channels)
        assert layer.dilation == was.dilation[0] == block.dilation
        assert block.stride == was.stride[0]
        assert (block.pointwise.bias is None) == (was.bias is None)
        assert layer.parameters == (parameters(was), parameters(block))
        assert 0 < layer.error < 1
        assert layer.kept
        assert min(layer.seconds) > 0
    pixels = 2 * 16 * 18
    first = table.layers[0]
    assert first.macs == (pixels * 9 * 64, pixels * (2 * 3 * 8 + 9 * 8 + 64))
    assert type(network.idle) is nn.Conv2d
    assert network(x).shape == old(x).shape


@pytest.mark.usefixtures("_two_is_faster")
def test_only_the_faster_ones_are_kept() -> None:
    network, x = handmade()
    last = network.last
    table = convert_dilated(network, x)
    assert names(table) == ORDER
    assert table.converted == ORDER[:2]
    assert [layer.kept for layer in table.layers] == [True, True, False]
    assert [layer.seconds for layer in table.layers] == [(3e-3, 2e-3), (3e-3, 2e-3), (3e-3, 3e-3)]
    assert network.last is last


@pytest.mark.usefixtures("_two_is_faster")
def test_only_wanted_ones_are_looked_at() -> None:
    network, x = handmade()
    asked: list[str] = []

    def wanted(name: str, convolution: nn.Conv2d) -> bool:
        assert network.get_submodule(name) is convolution
        asked.append(name)
        return convolution.bias is not None

    table = convert_dilated(network, x, keep="all", wanted=wanted)
    assert set(asked) == {*ORDER, "idle"}
    assert names(table) == ORDER[1:]
    assert convert_dilated(network, x, wanted=lambda *_: False).layers == ()


def read_by(network: nn.Module, name: str, x: Tensor) -> Tensor:
    read: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_pre_hook(lambda _, given: read.append(given[0].clone()))
    network(x)
    handle.remove()
    return read[0]


def test_each_is_fitted_to_what_it_reads_after_the_exchanges_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = handmade()
    old = copy.deepcopy(network)
    read: list[Tensor] = []
    fit = least_squares.fit_concentrated

    def fit_and_note(block: ConcentratedConv2d, convolution: nn.Conv2d, inputs: Tensor) -> float:
        read.append(inputs.clone())
        return fit(block, convolution, inputs)

    monkeypatch.setattr(convert, "fit_concentrated", fit_and_note)
    table = convert_dilated(network, x, keep="all", repeats=1)
    for name, inputs, layer in zip(ORDER, read, table.layers, strict=True):
        torch.testing.assert_close(inputs, read_by(network, name, x))
        was = old.get_submodule(name)
        wanted = was(inputs)
        missing = (network.get_submodule(name)(inputs) - wanted).square().sum()
        energy = (wanted if was.bias is None else wanted - was.bias[:, None, None]).square().sum()
        assert layer.error == pytest.approx(float((missing / energy).detach()), rel=1e-2)


def test_real_activations_are_followed_better_than_by_chance() -> None:
    errors = {}
    for initialise in ("activations", "random"):
        network, x = handmade()
        wanted = network(x)
        table = convert_dilated(network, x, keep="all", initialise=cast(Any, initialise), repeats=1)
        assert all(isnan(layer.error) == (initialise == "random") for layer in table.layers)
        errors[initialise] = float((network(x) - wanted).square().mean().detach())
    assert errors["activations"] < 0.7 * errors["random"]


@pytest.mark.parametrize("training", [False, True])
def test_all_else_stays_as_it_is(training: bool) -> None:
    network, x = handmade()
    network.train(training)
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    given = x.clone()
    convert_dilated(network, x, keep="all", repeats=1)
    assert torch.equal(x, given)
    after = network.state_dict()
    others = [name for name in before if not name.startswith(ORDER)]
    assert len(others) == 9
    assert all(torch.equal(after[name], before[name]) for name in others)
    for name, module in network.named_modules():
        assert module.training == (training and name != "norm"), name
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_exchanged_layers_have_the_mode_of_the_old_ones() -> None:
    network, x = handmade()
    network.train()
    network.inside.eval()  # a frozen part
    convert_dilated(network, x, keep="all", repeats=1)
    assert not any(module.training for module in network.inside.modules())
    assert all(module.training for module in network.last.modules())


def test_the_converted_network_learns() -> None:
    network, x = handmade()
    convert_dilated(network, x, keep="all", repeats=1)
    torch.autograd.backward(network.train()(x).square().sum())
    idle = {"idle.weight", "idle.bias"}
    assert {name for name, parameter in network.named_parameters() if parameter.grad is None} == idle


class Failing(Handmade):
    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def forward(self, x: Tensor) -> Tensor:
        self.calls -= 1
        if self.calls < 0:
            raise ZeroDivisionError
        return super().forward(x)


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_network_that_fails_is_left_in_order(calls: int) -> None:
    network = Failing(calls).train()
    network.norm.eval()
    with pytest.raises((UsageError, ZeroDivisionError)):
        convert_dilated(network, torch.randn(1, 3, 12, 12), keep="all", repeats=1)
    for name, module in network.named_modules():
        assert module.training == (name != "norm")
        assert not module._forward_pre_hooks
    assert [isinstance(network.get_submodule(name), ConcentratedConv2d) for name in ORDER] == [calls == 2, False, False]


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = dilated()
        self.other = self.one
        self.chain = nn.Sequential(self.one, nn.ReLU(), self.one)

    def forward(self, x: Tensor) -> Tensor:
        return self.chain(self.one(x) + self.other(x))


@pytest.mark.parametrize("at_once", [False, True])
def test_layers_that_are_shared_stay_shared(at_once: bool) -> None:
    network, x = Shared(), torch.randn(2, 4, 9, 9)
    if at_once:
        assert exchange_dilated(network) == 1
    else:
        assert convert_dilated(network, x, keep="all", repeats=1).converted == ("one",)
    assert isinstance(network.one, ConcentratedConv2d)
    assert network.other is network.chain[0] is network.chain[2] is network.one
    assert network(x).shape == (2, 4, 9, 9)


def test_a_network_that_is_one_convolution_cannot_be_exchanged_in_place() -> None:
    convolution, x = dilated(), torch.randn(2, 4, 9, 9)
    with pytest.raises(UsageError):
        convert_dilated(convolution, x, keep="all", repeats=1)
    with pytest.raises(UsageError):
        exchange_dilated(convolution)


def test_examples_of_several_arguments() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = dilated()

        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            return {"out": self.layer(x + y)}

    network, x = Two(), torch.randn(2, 4, 9, 9)
    assert convert_dilated(network, (x, x), keep="all", repeats=1).converted == ("layer",)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    network, x = handmade()
    network.to(dtype)
    table = convert_dilated(network, x.to(dtype), keep="all", repeats=1)
    assert table.converted == ORDER
    assert network(x.to(dtype)).dtype == dtype
    assert all(layer.error < 1 for layer in table.layers)


def layer(**changed: Any) -> ConvertedLayer:
    given: dict[str, Any] = {
        "name": "backbone.layer5.0.conv1",
        "channels": (128, 256),
        "dilation": 2,
        "parameters": (294_912, 34_944),
        "macs": (301_989_888, 35_782_656),
        "seconds": (12.5e-3, 5e-3),
        "error": 0.25,
        "kept": True,
    }
    return ConvertedLayer(**{**given, **changed})


def test_the_table_shows_all_of_it() -> None:
    table = Conversion((layer(), layer(name="head", error=float("nan"), seconds=(1e-3, 2e-3), kept=False)))
    heading, first, second = str(table).splitlines()
    assert heading.split() == ["layer", "channels", "rate", "parameters", "MMACs", "ms", "faster", "error", "kept"]
    assert first.replace(">", " ").split()[:6] == ["backbone.layer5.0.conv1", "128", "256", "2", "294,912", "34,944"]
    assert first.replace(">", " ").split()[6:] == ["302.0", "35.8", "12.50", "5.00", "2.50x", "0.25", "yes"]
    assert second.replace(">", " ").split()[-4:] == ["2.00", "0.50x", "nan", "no"]
    for title, value in (("channels", "256"), ("rate", "2"), ("ms", "5.00"), ("faster", "2.50x"), ("error", "0.25")):
        end = heading.index(title) + len(title)
        assert first[:end].endswith(value)
    assert table.converted == ("backbone.layer5.0.conv1",)


def test_nothing_found_is_said() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    table = convert_dilated(network, torch.randn(1, 3, 8, 8))
    assert table.layers == ()
    assert table.converted == ()
    assert str(table) == "no dilated 3x3 convolution was found"


# blocks of the stages that dilate, times their dilated convolutions; DeepLab's pyramid has three more
@pytest.mark.parametrize(
    ("name", "pyramid", "count"),
    [("drn-d-22", False, 9), ("drn-c-26", False, 10), ("drn-a-50", False, 9), ("drn-a-50", True, 12)],
)
def test_our_dilated_networks(name: str, pyramid: bool, count: int) -> None:
    torch.manual_seed(0)
    network = randomised(DilatedSegmenter(name, 5, width=1, pyramid=pyramid)).double()
    x = torch.randn(2, 3, 32, 40, dtype=torch.float64)
    before = parameters(network)
    table = convert_dilated(network, x, keep="all", repeats=1)
    assert len(table.converted) == count
    assert parameters(network) == before + sum(row.parameters[1] - row.parameters[0] for row in table.layers)
    assert network(x).shape == (2, 5, 32, 40)
    wanted = network(x).detach()
    assert (fuse(network)(x) - wanted).abs().max() <= 1e-10 * wanted.abs().max()
    assert convert_dilated(network, x).layers == ()


def test_exchanging_without_looking() -> None:
    network, x = handmade()
    stem = network.stem
    assert exchange_dilated(network) == 4
    assert [type(network.get_submodule(name)) for name in (*ORDER, "idle")] == [ConcentratedConv2d] * 4
    assert network.stem is stem
    assert network(x).shape == (2, 4, 8, 9)


@pytest.mark.parametrize(("name", "count"), [("fcn_resnet50", 8), ("deeplabv3_resnet50", 11)])
def test_torchvisions_networks(name: str, count: int) -> None:
    models = load_zoo("torchvision.models.segmentation")
    network = getattr(models, name)(weights=None, weights_backbone=None, num_classes=5)
    x = torch.randn(1, 3, 32, 40)
    table = convert_dilated(network, x, keep="all", initialise="random", repeats=1)
    assert len(table.converted) == count
    wanted = randomised(network)(x)["out"].detach()
    assert wanted.shape == (1, 5, 32, 40)
    assert (fuse(network)(x)["out"] - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "none"}, "keep is 'none', but must be one of faster, all"),
        ({"initialise": "svd"}, "initialise is 'svd', but must be one of activations, random"),
        ({"repeats": 0}, "repeats is 0, but must be at least 1"),
    ],
)
def test_a_sentence_for_arguments_out_of_range(options: Any, message: str) -> None:
    network, x = handmade()
    with pytest.raises(UsageError) as caught:
        convert_dilated(network, x, **options)
    assert str(caught.value) == message
    assert type(network.last) is nn.Conv2d


@pytest.mark.parametrize("shape", [(2, 5, 16, 16), (16, 16)])
def test_a_sentence_for_an_example_that_the_network_does_not_take(shape: tuple[int, ...]) -> None:
    network, _ = handmade()
    with pytest.raises(UsageError):
        convert_dilated(network, torch.randn(shape))


def test_a_sentence_for_an_example_without_pictures() -> None:
    network, x = handmade()
    with pytest.raises(UsageError):
        convert_dilated(network, x[:0])
