"""Generator and discriminator against the notes' architecture, written here layer by layer, and the papers' counts."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.translate import PatchDiscriminator, ResidualGenerator, SymGenerator
from tenfold.translate.attention import CONDITIONINGS, ConditionalAttention, ConditioningName
from tenfold.translate.discriminator import CriticNorm

from .networks import normal, shaken, shares

Doubling = Literal["transposed", "nearest"]
Norm = Literal["instance", "layer"]
each_kind = pytest.mark.parametrize("kind", CONDITIONINGS)


def size_of(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def pictures(seed: int, count: int, height: int, width: int) -> Tensor:
    return normal(seed, count, 3, height, width).tanh()


def generator(
    kind: ConditioningName = "attention",
    *,
    skip: bool = False,
    doubling: Doubling = "transposed",
    norm: Norm = "instance",
) -> SymGenerator:
    """A small one in double precision, with random weights everywhere."""
    made = SymGenerator(width=4, blocks=2, conditioning=kind, reduction=2, skip=skip, doubling=doubling, norm=norm)
    assert isinstance(shaken(made), SymGenerator)
    return made


def instance_norm(features: Tensor) -> Tensor:
    mean = features.mean((2, 3), keepdim=True)
    variance = (features - mean).square().mean((2, 3), keepdim=True)
    return (features - mean) / (variance + 1e-5).sqrt()


def reflected(features: Tensor, layer: nn.Module, by: int) -> Tensor:
    """A convolution over features padded by their reflection."""
    columns = torch.arange(-by, features.shape[3] + by).abs()
    columns = torch.minimum(columns, 2 * (features.shape[3] - 1) - columns)
    rows = torch.arange(-by, features.shape[2] + by).abs()
    rows = torch.minimum(rows, 2 * (features.shape[2] - 1) - rows)
    return F.conv2d(features[:, :, rows][:, :, :, columns], layer.weight, layer.bias)


def attended(part: nn.Module, features: Tensor, mix: Tensor) -> Tensor:
    assert isinstance(part, ConditionalAttention)
    joined = torch.cat([features.mean((2, 3)), F.linear(mix, part.embed.weight, part.embed.bias).relu()], 1)
    hidden = F.linear(joined, part.squeeze.weight, part.squeeze.bias).relu()
    return features * F.linear(hidden, part.excite.weight, part.excite.bias).sigmoid()[:, :, None, None]


def normed(norm: nn.Module, features: Tensor) -> Tensor:
    """An instance norm, or a norm over channels and positions together with a scale and a shift of each channel."""
    if isinstance(norm, nn.InstanceNorm2d):
        return instance_norm(features)
    mean = features.mean((1, 2, 3), keepdim=True)
    variance = (features - mean).square().mean((1, 2, 3), keepdim=True)
    weight, bias = norm.weight.view(-1, 1, 1), norm.bias.view(-1, 1, 1)  # type: ignore[operator]
    return (features - mean) / (variance + 1e-5).sqrt() * weight + bias


def by_hand(model: SymGenerator, pictures: Tensor, mix: Tensor) -> Tensor:
    """Section 2.4 of the notes, with the attention after stem, down-sampling and trunk, up to the last convolution."""
    net: Any = model.network
    parts = model.conditionings
    x = attended(parts[0], normed(net.stem[1], reflected(pictures, net.stem[0], 3)).relu(), mix)
    for layer in net.down:
        x = normed(layer[1], F.conv2d(x, layer[0].weight, layer[0].bias, stride=2, padding=1)).relu()
    x = attended(parts[1], x, mix)
    for block in net.trunk:
        inner = normed(block.norms[0], reflected(x, block.first, 1)).relu()
        x = x + normed(block.norms[1], reflected(inner, block.second, 1))
    x = attended(parts[2], x, mix)
    for layer in net.up:
        if isinstance(layer[0], nn.ConvTranspose2d):
            x = F.conv_transpose2d(x, layer[0].weight, layer[0].bias, stride=2, padding=1, output_padding=1)
        else:
            x = reflected(x.repeat_interleave(2, 2).repeat_interleave(2, 3), layer[1], 1)
        x = normed(layer[-2], x).relu()
    return reflected(x, net.out, 3)


# the published networks


def test_the_published_sizes() -> None:
    model = SymGenerator()
    assert size_of(model.network) == 11_378_179
    assert size_of(model.conditionings) == 104_400
    assert size_of(model) == 11_378_179 + 104_400
    assert size_of(ResidualGenerator(doubling="nearest", skip=True)) == 11_378_179 + 3
    assert size_of(PatchDiscriminator()) == 2_764_737


@pytest.mark.parametrize("size", [(16, 16), (20, 32)])
@pytest.mark.parametrize("norm", ["instance", "layer"])
@pytest.mark.parametrize("doubling", ["transposed", "nearest"])
def test_the_generator_is_that_of_the_notes(size: tuple[int, int], norm: Norm, doubling: Doubling) -> None:
    model, x, mix = generator(norm=norm, doubling=doubling), pictures(1, 2, *size), shares(2, 2, 3)
    torch.testing.assert_close(model(x, mix=mix), by_hand(model, x, mix).tanh(), rtol=1e-9, atol=1e-9)
    model = generator(norm=norm, doubling=doubling, skip=True)
    kept = attended(model.conditionings[-1], model.network.keep.factors.view(-1, 1, 1) * x, mix)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(model(x, mix=mix), (kept + by_hand(model, x, mix)).clamp(-1, 1), rtol=1e-9, atol=1e-9)


def test_what_the_skip_clips_keeps_its_gradient() -> None:
    net = ResidualGenerator(width=4, blocks=1, skip=True).double()
    for value in net.out.parameters():
        nn.init.zeros_(value)
    x = pictures(1, 2, 16, 16)
    torch.testing.assert_close(net(x), x, rtol=0, atol=0)  # one that has learned nothing gives the picture
    net.out.bias.data.fill_(5.0)
    found = net(x)
    assert (found == 1).all()
    found.sum().backward()
    assert net.out.bias.grad is not None
    assert net.out.bias.grad.tolist() == [2 * 16 * 16] * 3


def test_the_authors_fourth_attention_is_behind_the_doublings() -> None:
    assert size_of(SymGenerator(last=True)) == 11_485_987
    model = shaken(SymGenerator(width=4, blocks=1, reduction=1, last=True))
    seen: list[tuple[int, ...]] = []
    model.conditionings[3].register_forward_hook(lambda _m, ins, _o: seen.append(tuple(ins[0].shape)))  # type: ignore[index]
    model(pictures(1, 2, 16, 20), mix=shares(2, 2, 3))
    assert seen == [(2, 4, 16, 20)]


def test_weights_of_the_generator_start_as_torchs() -> None:
    for layer in SymGenerator(width=32, blocks=1).modules():
        if isinstance(layer, nn.Conv2d):
            bound = (layer.in_channels * layer.kernel_size[0] ** 2) ** -0.5
            assert float(layer.weight.detach().abs().max()) <= bound * (1 + 1e-6)
            assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.1)


def test_the_generator_is_not_the_same_at_another_place_of_its_attention() -> None:
    model, x = generator(), pictures(1, 2, 16, 16)
    assert [name for name, _ in model.network.named_children()] == ["stem", "down", "trunk", "up", "out"]
    reached: list[str] = []
    for number, part in enumerate(model.conditionings):
        part.register_forward_hook(lambda _m, ins, _o, n=number: reached.append(f"{n}: {tuple(ins[0].shape[1:])}"))
    model(x, mix=shares(2, 2, 3))
    assert reached == ["0: (4, 16, 16)", "1: (16, 4, 4)", "2: (16, 4, 4)"]


# pictures of any size


@each_kind
@pytest.mark.parametrize(
    ("doubling", "norm", "skip"),
    [("transposed", "instance", False), ("nearest", "instance", True), ("transposed", "layer", True)],
)
@pytest.mark.parametrize("size", [(16, 16), (17, 16), (18, 19), (23, 31)])
def test_pictures_keep_their_size_and_range(
    kind: ConditioningName, doubling: Doubling, norm: Norm, skip: bool, size: tuple[int, int]
) -> None:
    model = generator(kind, skip=skip, doubling=doubling, norm=norm)
    found = model(pictures(1, 2, *size), mix=[0.5, 0.3, 0.2])
    assert found.shape == (2, 3, *size)
    assert float(found.detach().abs().max()) <= 1


def test_odd_pictures_are_continued_by_their_reflection() -> None:
    model, x, mix = generator(), pictures(1, 1, 17, 18), torch.tensor([0.2, 0.5, 0.3])
    larger = F.pad(x, (0, 2, 0, 3), mode="reflect")
    torch.testing.assert_close(model(x, mix=mix), model(larger, mix=mix)[:, :, :17, :18])


def test_the_map_of_an_odd_picture_lies_on_the_picture() -> None:
    model, x, corners = generator(), pictures(1, 1, 17, 17), torch.eye(3).double()
    mix = corners[0].view(1, 3, 1, 1).repeat(1, 1, 17, 17)
    mix[:, :, :, 8:] = corners[1].view(1, 3, 1, 1)
    seen: list[tuple[Tensor, Tensor]] = []
    model.conditionings[0].register_forward_hook(lambda _m, ins, out: seen.append((ins[0], out)))
    model(x, mix=mix)
    features, found = seen[0]
    left, right = (model.conditionings[0](features, corners[[place]]) for place in (0, 1))
    torch.testing.assert_close(found[:, :, :17, :8], left[:, :, :17, :8])
    torch.testing.assert_close(found[:, :, :17, 8:17], right[:, :, :17, 8:17])


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 4, 16, 16), (1, 3, 15, 16), (1, 3, 16, 8)])
def test_what_are_no_pictures_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as refused:
        generator()(torch.zeros(shape).double(), mix=[1, 0, 0])
    assert str(refused.value) == f"pictures have the shape {shape}, but must be (N, 3, H, W) from 16 x 16 on"


# the mixture


@each_kind
def test_rows_are_independent_and_the_mixture_matters(kind: ConditioningName) -> None:
    model, x, mix = generator(kind), pictures(1, 3, 16, 20), shares(2, 3, 3)
    found = model(x, mix=mix)
    looped = torch.cat([model(x[[row]], mix=mix[row]) for row in range(3)])
    torch.testing.assert_close(found, looped, rtol=1e-9, atol=1e-9)
    turned = model(x, mix=mix.roll(1, 0))
    assert float((turned - found).detach().abs().amax((1, 2, 3)).min()) > 1e-4


@each_kind
def test_a_constant_map_equals_a_vector(kind: ConditioningName) -> None:
    model, x, mix = generator(kind), pictures(1, 2, 18, 17), shares(2, 2, 3)
    for size in ((18, 17), (1, 1), (64, 64)):
        flat = mix[:, :, None, None].expand(-1, -1, *size)
        torch.testing.assert_close(model(x, mix=flat), model(x, mix=mix), rtol=1e-9, atol=1e-9)


@each_kind
@pytest.mark.parametrize("training", [True, False])
def test_a_frozen_generator_is_the_generator_at_its_mixture(kind: ConditioningName, training: bool) -> None:
    torch.manual_seed(0)
    model = SymGenerator(width=4, blocks=1, conditioning=kind, skip=True).train(training)
    for value in model.parameters():
        value.data.add_(0.1 * torch.randn_like(value))
    x = pictures(1, 2, 16, 20).float()
    frozen = model.freeze([0.5, 0.3, 0.2])
    torch.testing.assert_close(frozen(x), model(x, mix=[0.5, 0.3, 0.2]), rtol=1e-4, atol=1e-5)
    assert float((frozen(x) - model(x, mix=[0, 0, 1])).detach().abs().max()) > 1e-4


def test_a_frozen_generator_takes_odd_pictures_too() -> None:
    model, x = generator(), pictures(1, 1, 17, 18)
    torch.testing.assert_close(model.freeze([0.5, 0.3, 0.2])(x), model(x, mix=[0.5, 0.3, 0.2]), rtol=1e-5, atol=1e-5)


def test_a_generator_is_copied_pickled_and_loaded() -> None:
    model, x = generator(), pictures(1, 1, 16, 16)
    wanted = model(x, mix=[0.5, 0.3, 0.2])
    fresh = SymGenerator(["a", "b", "c"], width=4, blocks=2, reduction=2).double()
    assert not torch.equal(fresh(x, mix=[0.5, 0.3, 0.2]), wanted)
    fresh.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), fresh):
        assert torch.equal(twin(x, mix=[0.5, 0.3, 0.2]), wanted)


# compilers


@pytest.mark.parametrize(
    ("kind", "strict"),
    [
        ("attention", False),
        ("attention", True),
        pytest.param(
            "film",
            False,
        ),
        ("concat", True),
    ],
)
def test_a_frozen_generator_is_exported_for_any_number_of_pictures(kind: ConditioningName, strict: bool) -> None:
    frozen = SymGenerator(width=4, blocks=1, conditioning=kind).eval().freeze([0.5, 0.3, 0.2])
    rows = torch.export.Dim("rows", min=2, max=64)
    program = torch.export.export(
        frozen, (pictures(1, 2, 16, 16).float(),), dynamic_shapes=(({0: rows},),), strict=strict
    )
    x = pictures(2, 5, 16, 16).float()
    torch.testing.assert_close(program.module()(x), frozen(x))


# tracing a function with a gradient of its own, which the skip has, dynamo makes an object of it and torch warns of that
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@each_kind
def test_a_generator_is_compiled_whole_for_any_mixture(kind: ConditioningName) -> None:
    torch.compiler.reset()
    model = generator(kind, skip=True)
    compiled, x = torch.compile(model, backend="eager", fullgraph=True), pictures(1, 2, 18, 17)
    for seed in range(3):
        mix = shares(seed, 2, 3)
        torch.testing.assert_close(compiled(x, mix=mix), model(x, mix=mix))


def test_another_mixture_does_not_compile_again() -> None:
    torch.compiler.reset()
    compiled, x = torch.compile(generator(), backend="eager", fullgraph=True), pictures(1, 2, 16, 16)
    compiled(x, mix=shares(0, 2, 3))
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(x, mix=shares(1, 2, 3))


@pytest.mark.parametrize(("width", "blocks"), [(0, 9), (64, 0), (-1, 1)])
def test_sizes_below_1_are_refused(width: int, blocks: int) -> None:
    for kind in (ResidualGenerator, SymGenerator):
        with pytest.raises(UsageError, match=f"width is {width} and blocks {blocks}, but both must be at least 1"):
            kind(width=width, blocks=blocks)


# the discriminator


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize(("layers", "channels"), [(1, [4, 8]), (3, [4, 8, 16, 32]), (5, [4, 8, 16, 32, 32, 32])])
def test_the_discriminator_is_that_of_the_notes(layers: int, channels: list[int], norm: CriticNorm) -> None:
    model = shaken(PatchDiscriminator(width=4, layers=layers, norm=norm))
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert [part.out_channels for part in convolutions] == [*channels, 1]
    x = wanted = pictures(1, 2, 128, 96)
    for number, part in enumerate(convolutions):
        wanted = F.conv2d(wanted, part.weight, part.bias, stride=2 if number < layers else 1, padding=1)
        if 0 < number < len(convolutions) - 1 and norm == "instance":
            wanted = instance_norm(wanted)
        if number < len(convolutions) - 1:
            wanted = torch.where(wanted > 0, wanted, 0.2 * wanted)
    torch.testing.assert_close(model(x), wanted, rtol=1e-9, atol=1e-9)


def test_a_discriminator_with_norms_does_not_see_contrast_and_one_without_does() -> None:
    def scores(norm: CriticNorm, contrast: float) -> Tensor:
        torch.manual_seed(0)
        model = PatchDiscriminator(width=4, layers=2, norm=norm).double()
        for part in model.layers:
            if isinstance(part, nn.Conv2d) and part.bias is not None:
                nn.init.zeros_(part.bias)
            if isinstance(part, nn.InstanceNorm2d):
                part.eps = 0.0
        return model(contrast * pictures(1, 1, 64, 64))

    torch.testing.assert_close(scores("instance", 0.1), scores("instance", 1.0))
    torch.testing.assert_close(scores("none", 0.1), 0.1 * scores("none", 1.0))


@pytest.mark.parametrize(("layers", "patch"), [(2, 34), (3, 70)])
def test_a_score_is_of_a_patch(layers: int, patch: int) -> None:
    model = PatchDiscriminator(width=2, layers=layers).double()
    for place, part in enumerate(model.layers):
        if isinstance(part, nn.InstanceNorm2d):  # its statistics are of the whole picture
            model.layers[place] = nn.Identity()
    x = pictures(1, 1, 128, 128).requires_grad_()
    scores = model(x)
    assert scores.shape[:2] == (1, 1)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert x.grad is not None
    reached = (x.grad != 0).any(1)[0]
    assert (int(reached.any(0).sum()), int(reached.any(1).sum())) == (patch, patch)


def test_weights_of_the_discriminator_start_normal() -> None:
    torch.manual_seed(0)
    for part in PatchDiscriminator().modules():
        if isinstance(part, nn.Conv2d):
            weight = part.weight.detach()
            assert float(weight.std()) == pytest.approx(0.02, rel=0.05)
            assert float(weight.mean()) == pytest.approx(0, abs=0.001)
            assert float(weight.abs().max()) > 0.05, "it has tails"


@pytest.mark.parametrize(("width", "layers"), [(0, 3), (64, 0)])
def test_a_discriminator_of_nothing_is_refused(width: int, layers: int) -> None:
    with pytest.raises(UsageError, match=f"width is {width} and layers {layers}, but both must be at least 1"):
        PatchDiscriminator(width=width, layers=layers)
