"""Any network with a dial: what its hooks compute, what a person may name and give, copies, threads and compilers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tenfold.translate
from tenfold.core.errors import UsageError
from tenfold.nets import build_net
from tenfold.translate import OffSimplexWarning, SqueezeExcitation, Symmetrized
from tenfold.translate.attention import CONDITIONINGS, ConditioningName
from tenfold.translate.loss import mixed_loss
from tenfold.translate.symmetrized import symmetrize

from .networks import Detector, Sequences, UNet, Windows, mlp, normal, shaken, shares

Case = tuple[Callable[[], nn.Module], tuple[str, ...], int, tuple[int, ...]]
CASES: dict[str, Case] = {
    "mlp": (mlp, ("0", "2"), 1, (5, 4)),
    "sequences": (Sequences, ("first",), 1, (3, 3, 7)),
    "resnet": (lambda: build_net("resnet-8", classes=10), ("layer1", "layer3"), 1, (3, 3, 12, 9)),
    "u-net": (UNet, ("enter", "deep", "up"), 1, (2, 3, 9, 11)),
    "windows": (Windows, ("inner",), 1, (3, 3, 8, 6)),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0),
        ("linear1", "norm1"),
        -1,
        (3, 5, 8),
    ),
}
each_kind = pytest.mark.parametrize("kind", CONDITIONINGS)
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
NAMES = ("recon", "gan", "style")


def dialled(case: Case, kind: ConditioningName = "attention", losses: int | Sequence[str] = 3) -> tuple[Any, Tensor]:
    """A network of this case with random weights everywhere, in evaluation mode, and an input."""
    build, at, channel_dim, shape = case
    x = normal(7, *shape)
    network = build().double()
    # so few channels, divided by 4, would leave one hidden unit, which may be off
    model = symmetrize(
        network, losses=losses, at=at, example=x, conditioning=kind, reduction=1, channel_dim=channel_dim
    )
    return shaken(model).eval(), x


def conditioned_by_hand(model: Any, x: Tensor, mix: Tensor, channel_dim: int) -> Tensor:
    """A copy of the network, with modules that call the conditionings where the hooks did."""
    network = copy.deepcopy(model.network)
    for name, part in zip(model.at, model.conditionings, strict=True):
        module = network.get_submodule(name)
        module._forward_hooks.clear()

        def turn(_module: nn.Module, _inputs: Any, out: Tensor, part: nn.Module = part) -> Tensor:
            every = out.shape[0] // len(mix)
            rows = [part(out[[row]].transpose(1, channel_dim), mix[[row // every]]) for row in range(len(out))]
            return torch.cat(rows).transpose(1, channel_dim)

        module.register_forward_hook(turn)
    return network(x)


# any network


@each_kind
@each_case
def test_the_network_is_conditioned_behind_the_modules_named(case: Case, kind: ConditioningName) -> None:
    model, x = dialled(case, kind)
    mix = shares(1, len(x), 3)
    found = model(x, mix=mix)
    torch.testing.assert_close(found, conditioned_by_hand(model, x, mix, case[2]), rtol=1e-9, atol=1e-9)
    turned = (model(x, mix=mix.roll(1, 1)) - found).detach().abs().flatten(1).amax(1)
    assert float(turned.min()) > 1e-6, "each sample's output depends on its mixture"


@each_kind
@each_case
def test_a_batch_equals_the_loop_over_its_samples(case: Case, kind: ConditioningName) -> None:
    model, x = dialled(case, kind)
    mix = shares(1, len(x), 3)
    looped = torch.cat([model(x[[row]], mix=mix[row]) for row in range(len(x))])
    torch.testing.assert_close(model(x, mix=mix), looped, rtol=1e-9, atol=1e-9)
    one = torch.cat([model(x[[row]], mix=mix[0]) for row in range(len(x))])
    torch.testing.assert_close(model(x, mix=mix[0]), one, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model(x, mix=mix[:1]), one, rtol=1e-9, atol=1e-9)


@each_kind
@each_case
def test_a_frozen_network_is_the_network_at_its_mixture(case: Case, kind: ConditioningName) -> None:
    model, x = dialled(case, kind)
    mix = torch.tensor([0.5, 0.3, 0.2])
    wanted = model.float()(x.float(), mix=mix)
    frozen = model.freeze(mix)
    torch.testing.assert_close(frozen(x.float()), wanted, rtol=1e-4, atol=1e-5)
    assert all(isinstance(block, SqueezeExcitation) for block in frozen.blocks) == (kind == "attention")
    frozen.double()  # its blocks and hooks move with it
    torch.testing.assert_close(frozen(x).float(), wanted, rtol=1e-4, atol=1e-5)


FLOATS = "FixedMix keeps the mixture in the precision given and not in that of its weights"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["attention", pytest.param("film"), "concat"])
def test_a_network_of_any_precision_is_frozen(kind: ConditioningName, dtype: torch.dtype) -> None:
    model, x = dialled(CASES["u-net"], kind)
    model, x = model.to(dtype), x.to(dtype)
    wanted = model(x, mix=[0.5, 0.3, 0.2])
    assert wanted.dtype == dtype
    tolerance = 1e-9 if dtype == torch.float64 else 0.1
    torch.testing.assert_close(model.freeze([0.5, 0.3, 0.2])(x), wanted, rtol=tolerance, atol=tolerance)


@each_kind
def test_mixed_precision_gives_low_precision_and_nearly_the_same(kind: ConditioningName) -> None:
    model, x = dialled(CASES["u-net"], kind)
    model, x = model.float(), x.float()
    for mix in (torch.tensor([0.5, 0.3, 0.2]), shares(1, 3, 9, 11, axis=0)):
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x, mix=mix)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), model(x, mix=mix), rtol=0.1, atol=0.1)


@each_kind
def test_channels_last_and_maps_go_through_a_network(kind: ConditioningName) -> None:
    model, x = dialled(CASES["u-net"], kind)
    mix = shares(1, len(x), 3)
    for given in (mix, mix[:, :, None, None].expand(-1, -1, 9, 11), mix[:, :, None, None]):
        found = model(x.contiguous(memory_format=torch.channels_last), mix=given)
        torch.testing.assert_close(found, model(x, mix=mix), rtol=1e-9, atol=1e-9)
    whole = mix[0, :, None, None].expand(-1, 4, 4)
    torch.testing.assert_close(model(x, mix=whole), model(x, mix=mix[0]), rtol=1e-9, atol=1e-9)


@each_case
def test_evaluation_without_gradients_is_the_same(case: Case) -> None:
    model, x = dialled(case)
    mix = shares(1, len(x), 3)
    wanted = model(x, mix=mix)
    with torch.no_grad():  # torch has transformers of its own for this, that run no hooks
        torch.testing.assert_close(model(x, mix=mix), wanted, rtol=1e-9, atol=1e-9)


def test_batch_norms_in_training_see_the_whole_batch() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    twin = copy.deepcopy(shaken(network))
    before = copy.deepcopy(network.state_dict())
    x, mix = normal(1, 4, 3, 6, 6), shares(2, 4, 3)
    model = symmetrize(network, losses=3, at=["1"], example=x)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), (
        "a look is no training"
    )
    assert all(module.training for module in network.modules())
    found = model(x, mix=mix)
    wanted = twin[3](twin[2](model.conditionings[0](twin[1](twin[0](x)), mix)))
    torch.testing.assert_close(found, wanted)
    assert torch.equal(network[1].running_mean, twin[1].running_mean)
    assert int(network[1].num_batches_tracked) == 1


def test_a_network_may_give_a_dictionary_and_take_keywords() -> None:
    model = symmetrize(Detector().double(), losses=2, at=["body"], example=normal(1, 2, 4))
    x = normal(0, 3, 4)
    one, other = (model(x, mix=mix, scale=2.0) for mix in ([1, 0], [0, 1]))
    assert one.keys() == {"boxes", "memory"}
    assert all(not torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(model(x, mix=[1, 0])["boxes"], one["boxes"])
    assert torch.equal(model(inputs=x, mix=[1, 0], scale=2.0)["boxes"], one["boxes"])
    assert model.freeze([1, 0])(x, scale=2.0)["boxes"].allclose(one["boxes"])


def test_the_network_is_used_and_keeps_its_names() -> None:
    network = mlp()
    names = list(network.state_dict())
    model = symmetrize(network, losses=2, at=["0"])
    assert model.network is network
    assert list(network.state_dict()) == names
    assert {name.split(".")[0] for name in model.state_dict()} == {"network", "conditionings"}


# the mixture


def test_a_loss_without_a_share_gives_exactly_no_gradient() -> None:
    model, x = dialled(CASES["mlp"])
    mix = torch.tensor([[0.4, 0.0, 0.6], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.0, 0.8], [0.5, 0.0, 0.5]]).double()

    def gradients(wrong: float) -> tuple[list[Tensor], Tensor]:
        model.zero_grad()
        y = model(x, mix=mix)
        losses = torch.stack([y.square().mean(1), wrong * y.exp().sum(1), (y - 1).abs().mean(1)], 1)
        losses.retain_grad()
        mixed_loss(losses, mix).backward()
        assert losses.grad is not None
        return [value.grad.clone() for value in model.parameters()], losses.grad

    found, at_losses = gradients(1.0)
    assert torch.equal(at_losses, mix / 5)
    assert all(torch.equal(one, other) for one, other in zip(found, gradients(1e6)[0], strict=True))
    for part in model.conditionings:
        assert (part.embed.weight.grad[:, 1] == 0).all()
        assert part.embed.weight.grad[:, 0].abs().sum() > 0


def test_mixtures_are_given_by_name_in_any_order() -> None:
    model, x = dialled(CASES["mlp"], losses=NAMES)
    assert model.names == NAMES
    wanted = model(x, mix=[0.3, 0.0, 0.7])
    assert torch.equal(model(x, mix={"style": 0.7, "recon": 0.3}), wanted)
    torch.testing.assert_close(model.freeze({"style": 0.7, "recon": 0.3})(x), wanted)
    assert torch.equal(dialled(CASES["mlp"])[0](x, mix={"0": 0.3, "2": 0.7}), wanted)
    with pytest.raises(UsageError, match="mix has 'gam', but the losses are recon, gan, style"):
        model(x, mix={"gam": 1.0})


def test_numbers_off_the_simplex_answer_with_a_warning_and_tensors_without() -> None:
    model, x = dialled(CASES["mlp"])
    with pytest.warns(OffSimplexWarning, match="0 0, 1 1.5, 2 0 is off the simplex"):
        found = model(x, mix=[0, 1.5, 0])
    assert torch.equal(found, model(x, mix=torch.tensor([0, 1.5, 0])))
    with pytest.warns(OffSimplexWarning):
        model.freeze([0, 1.5, 0])
    model(x, mix=[0.33, 0.33, 0.33])


def test_the_warning_is_about_the_callers_line() -> None:
    model, x = dialled(CASES["mlp"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model(x, mix=[0, 1.5, 0])
        model.freeze([0, 1.5, 0])
    assert [one.filename for one in caught] == [__file__] * 2


def test_gradients_reach_the_mixture() -> None:
    model, x = dialled(CASES["u-net"])
    mix = shares(1, len(x), 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda mix: model(x, mix=mix).mean((1, 2, 3)), (mix,))


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ([0.5, 0.5], "mix has 2 shares, but must have 3"),
        (torch.ones(4), r"mix has the shape \(4,\)"),
        (torch.ones(2, 3), "mix has 2 rows, but must have one or as many as there are samples: 5"),
        (torch.ones(3, 4, 4), r"a map of mixtures needs features \(N, C, H, W\)"),
    ],
)
def test_a_mixture_that_does_not_fit_is_refused_and_the_next_is_not(mix: Any, message: str) -> None:
    model, x = dialled(CASES["mlp"])
    with pytest.raises(UsageError, match=message):
        model(x, mix=mix)
    with pytest.raises(UsageError, match="'0' was called without a mixture"):
        model.network(x)
    assert model(x, mix=[1, 0, 0]).shape == (5, 2)


def test_a_mixture_is_needed_also_after_one_was_given() -> None:
    model, x = dialled(CASES["mlp"])
    model(x, mix=[1, 0, 0])
    with pytest.raises(UsageError, match=r"'0' was called without a mixture: call the symmetrized model"):
        model.network(x)
    with pytest.raises(TypeError, match="mix"):
        model(x)
    with pytest.raises(UsageError, match="needs a tensor among its inputs"):
        model([1.0, 2.0], mix=[1, 0, 0])
    for mix in (torch.ones(1, 3), torch.ones(3, 4, 4)):
        with pytest.raises(UsageError, match=r"the mixture to freeze has the shape .* but must be \(3,\)"):
            model.freeze(mix)


def test_rows_that_are_no_parts_of_samples_are_refused() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Flatten(0), nn.Unflatten(0, (-1, 3)), nn.Linear(3, 3)).double()
    model = symmetrize(network, losses=2, at=["3"])
    with pytest.raises(UsageError, match="features have 4 rows, which do not divide among 3 mixtures"):
        model(normal(0, 3, 4), mix=[1, 0])


# names of modules


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (["bodi"], "at has 'bodi', which the network lacks; it has body, memory, boxes, spare"),
        (["body.weight"], "at has 'body.weight', which the network lacks; it has body"),
        ([""], "at has ''"),
        ([], r"at is \[\], but must be a list of module names such as body, memory, boxes, spare"),
        ("body", "at is 'body', but must be a list of module names"),
        (["body", "body"], "names one module twice"),
        (["spare"], "module 'spare' took no part in the network's pass over the example"),
        (["memory"], "module 'memory' gives tuple, but must give one tensor"),
    ],
)
def test_modules_that_cannot_be_conditioned_are_refused_and_the_network_left_alone(at: Any, message: str) -> None:
    network, x = Detector().double(), normal(0, 3, 4)
    with pytest.raises(UsageError, match=message):
        symmetrize(network, losses=2, at=at, example=x)
    assert all(not module._forward_hooks for module in network.modules())
    assert network.training
    assert network(x)["boxes"].shape == (3, 4)


def test_one_module_of_two_names_is_not_named_twice() -> None:
    shared = nn.Linear(4, 4)
    network = nn.Sequential(shared, nn.ReLU(), shared).double()
    with pytest.raises(UsageError, match="names one module twice"):
        symmetrize(network, losses=2, at=["0", "2"])
    model, x = shaken(symmetrize(network, losses=2, at=["2"])), normal(0, 3, 4)
    part, mix = model.conditionings[0], shares(1, 3, 2)  # type: ignore[index]
    wanted = part(shared.forward(part(shared.forward(x), mix).relu()), mix)
    torch.testing.assert_close(model(x, mix=mix), wanted)


def test_a_tuple_is_refused_by_the_pass_where_there_was_no_example() -> None:
    model = Symmetrized(Detector().double(), 2, ["memory"], [8])
    with pytest.raises(UsageError, match=r"module 'memory' gives tuple, but must give one tensor \(N, C, ...\)"):
        model(normal(0, 3, 4), mix=[1, 0])


@pytest.mark.parametrize(
    ("layers", "channels"),
    [
        (nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.MaxPool2d(2)), 7),
        (nn.Sequential(nn.Linear(3, 7), nn.LayerNorm(7), nn.GELU()), 7),
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6)), 6),
        (nn.Sequential(nn.Conv1d(3, 7, 3), nn.BatchNorm1d(7)), 7),
        (build_net("resnet-8", classes=10).layer2, 32),
    ],
)
def test_without_an_example_channels_are_those_of_the_last_layer_that_tells(layers: nn.Module, channels: int) -> None:
    model = symmetrize(nn.Sequential(layers), losses=2, at=["0"])
    assert model.conditionings[0].excite.out_features == channels


def test_channels_that_no_layer_tells_need_an_example() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    with pytest.raises(UsageError, match="the channels of module '1' cannot be told by its layers: give an example"):
        symmetrize(network, losses=2, at=["1"])
    assert (
        symmetrize(network, losses=2, at=["1"], example=(torch.zeros(1, 4),)).conditionings[0].excite.out_features == 6
    )


# names of losses


@pytest.mark.parametrize("losses", [0, [], ["gan", "gan"], ()])
def test_losses_are_at_least_one_each_of_its_name(losses: Any) -> None:
    with pytest.raises(UsageError, match="but must be at least 1, each of another name"):
        symmetrize(mlp(), losses=losses, at=["0"])


def test_one_text_is_no_list_of_losses() -> None:
    with pytest.raises(UsageError):
        symmetrize(mlp(), losses="gan", at=["0"])


def test_a_wrong_conditioning_leaves_the_network_alone() -> None:
    network = mlp()
    for wrong in ({"conditioning": "flim"}, {"reduction": 0}, {"losses": 0}):
        with pytest.raises(UsageError):
            symmetrize(network, **{"losses": 2, "at": ["0"], **wrong})
    assert not network[0]._forward_hooks


def test_another_number_of_channels_than_modules_is_refused() -> None:
    network = mlp()
    with pytest.raises(UsageError):
        Symmetrized(network, 2, ["0", "2"], [8])
    assert not network[0]._forward_hooks


def test_the_package_gives_the_function() -> None:
    assert callable(tenfold.translate.symmetrize)
