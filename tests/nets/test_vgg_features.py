from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.nets import VGGFeatures

from ..zoo import load_zoo

WIDTHS = (64, 128, 256, 512, 512)
COUNTS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def weights(depth: int, *, upto: int = 99, seed: int = 0) -> dict[str, Tensor]:
    """Those of the convolutions before a place, under torchvision's names: a pooling and every ReLU have a place too."""
    random = torch.Generator().manual_seed(seed)
    found, place, inputs = {}, 0, 3
    for width, count in zip(WIDTHS, COUNTS[depth], strict=True):
        for _ in range(count):
            if place < upto:
                scale = (2 / (9 * inputs)) ** 0.5
                found[f"features.{place}.weight"] = scale * torch.randn(width, inputs, 3, 3, generator=random)
                found[f"features.{place}.bias"] = 0.1 * torch.randn(width, generator=random)
            place, inputs = place + 2, width
        place += 1
    return found


def written(folder: Path, tensors: dict[str, Tensor]) -> Path:
    path = folder / "vgg.safetensors"
    save_file(tensors, path)
    return path


def by_hand(images: Tensor, given: dict[str, Tensor], depth: int, stage: int, number: int) -> Tensor:
    """The activation of a stage's convolution."""
    place = 0
    for at, count in enumerate(COUNTS[depth], 1):
        for convolution in range(1, count + 1):
            weight, bias = given[f"features.{place}.weight"], given[f"features.{place}.bias"]
            images = nn.functional.conv2d(images, weight.float(), bias.float(), padding=1).clamp_min(0)
            if (at, convolution) == (stage, number):
                return images
            place += 2
        images = nn.functional.max_pool2d(images, 2)
        place += 1
    raise AssertionError


@pytest.mark.parametrize("depth", [16, 19])
def test_every_activation_has_a_name_and_a_shape(depth: Any) -> None:
    names = [f"relu{stage}_{n}" for stage, count in enumerate(COUNTS[depth], 1) for n in range(1, count + 1)]
    found = VGGFeatures(names, depth=depth)(torch.rand(2, 3, 32, 48))
    assert len(found) == len(names) == depth - 3
    for name, features in zip(names, found, strict=True):
        stage = int(name[4])
        assert features.shape == (2, WIDTHS[stage - 1], 32 >> (stage - 1), 48 >> (stage - 1)), name
        assert features.amin() == 0
        assert features.amax() > 0


def test_layers_come_in_the_order_asked_for_and_no_others_are_built() -> None:
    network, images = VGGFeatures(["relu2_1", "relu1_2", "relu2_1"]), torch.rand(1, 3, 8, 8)
    first, second, third = network(images)
    assert (first.shape[1], second.shape[1]) == (128, 64)
    assert torch.equal(first, third)
    assert [*network.state_dict()] == [f"features.{place}.{kind}" for place in (0, 2, 5) for kind in ("weight", "bias")]


@pytest.mark.parametrize("layers", [["relu3_4"], ["relu1_1", "conv1_1"], [], ["relu6_1"], ["relu1_0"]])
def test_layers_that_do_not_exist_are_refused(layers: list[str]) -> None:
    with pytest.raises(
        UsageError, match=r"layers are \(.*\), but must be some of relu1_1, relu1_2, relu2_1, .*relu5_3$"
    ):
        VGGFeatures(layers)


def test_only_the_deeper_network_has_a_fourth_convolution() -> None:
    assert VGGFeatures(["relu3_4"], depth=19)(torch.rand(1, 3, 8, 8))[0].shape == (1, 256, 2, 2)


def test_weights_are_not_trained_but_gradients_reach_the_pictures() -> None:
    network, images = VGGFeatures(["relu2_1"]), torch.rand(1, 3, 8, 8, requires_grad=True)
    assert not network.training
    network(images)[0].sum().backward()
    assert images.grad is not None
    assert images.grad.any()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("depth", "upto", "stage", "number"),
    [(16, 15, 3, 3), (19, 17, 3, 4), (19, 20, 4, 1), (16, 18, 4, 1), (19, 11, 3, 1)],
)
def test_a_file_is_known_by_its_layers(depth: int, upto: int, stage: int, number: int, tmp_path: Path) -> None:
    given, images = weights(depth, upto=upto), torch.rand(1, 3, 16, 16)
    path = written(tmp_path, given)
    found = VGGFeatures.load(path, ["relu1_1", f"relu{stage}_{number}"])(images)
    torch.testing.assert_close(found[0], by_hand(images, given, depth, 1, 1))
    torch.testing.assert_close(found[1], by_hand(images, given, depth, stage, number))


def test_a_file_may_have_more_than_is_asked_for(tmp_path: Path) -> None:
    given = weights(16, upto=18) | {"classifier.0.weight": torch.zeros(4, 4), "classifier.0.bias": torch.zeros(4)}
    network = VGGFeatures.load(written(tmp_path, given), ["relu2_2"])
    assert [*network.state_dict()][-1] == "features.7.bias"
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_weights_of_half_precision_become_single(tmp_path: Path) -> None:
    given = {name: tensor.half() for name, tensor in weights(16, upto=6).items()}
    network = VGGFeatures.load(written(tmp_path, given), ["relu2_1"])
    images = torch.rand(1, 3, 16, 16)
    assert network.features[0].weight.dtype == torch.float32
    torch.testing.assert_close(network(images)[0], by_hand(images, given, 16, 2, 1))


def test_files_of_nothing_or_of_something_else_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.safetensors"
    with pytest.raises(UsageError, match=r"missing.safetensors does not exist, but must be a .safetensors file of VGG"):
        VGGFeatures.load(missing, ["relu1_1"])
    with pytest.raises(UsageError, match="does not exist"):
        VGGFeatures.load(tmp_path, ["relu1_1"])
    whole = written(tmp_path, weights(16, upto=6)).read_bytes()
    for content in (b"", b"hello", whole[:-100]):
        (damaged := tmp_path / "damaged.safetensors").write_bytes(content)
        with pytest.raises(UsageError, match=r"damaged.safetensors is not a whole safetensors file: .+"):
            VGGFeatures.load(damaged, ["relu1_1"])
    with pytest.raises(UsageError, match=r"has nothing as features.7.weight, but VGG's is \(128, 128, 3, 3\)"):
        VGGFeatures.load(written(tmp_path, weights(16, upto=6)), ["relu2_2"])
    other = weights(16, upto=6) | {"features.2.weight": torch.zeros(128, 64, 3, 3)}
    with pytest.raises(UsageError, match=r"has \(128, 64, 3, 3\) as features.2.weight, but VGG's is \(64, 64, 3, 3\)"):
        VGGFeatures.load(written(tmp_path, other), ["relu2_1"])


@pytest.mark.parametrize("depth", [16, 19])
def test_features_are_torchvisions(depth: int, tmp_path: Path) -> None:
    module = load_zoo("torchvision.models.vgg")
    torch.manual_seed(0)
    # of the whole network, the fully connected layers would be half a gigabyte
    theirs = module.make_layers(module.cfgs["D" if depth == 16 else "E"], batch_norm=False)
    state = {f"features.{name}": tensor for name, tensor in theirs.state_dict().items()}
    layers = ["relu1_2", "relu3_3", "relu5_1"]
    ours = VGGFeatures.load(written(tmp_path, state), layers)
    images, wanted = torch.rand(1, 3, 32, 32), []
    places = {16: (3, 15, 25), 19: (3, 15, 29)}[depth]
    with torch.no_grad():
        passed = images
        for place, part in enumerate(theirs):
            passed = part(passed)
            if place in places:
                wanted.append(passed.clone())  # the next step works in place
    for own, other in zip(ours(images), wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
