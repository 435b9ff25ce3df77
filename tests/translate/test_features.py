"""The filter bank by its definition, and what the perceptual and style losses look at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.nets import VGGFeatures
from tenfold.translate import FilterBank, Looks
from tenfold.translate.features import CONTENT, LAYERS, make_looks

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


class Shown(nn.Module):
    """Gives what it is given, twice, with a norm and a dropout that would show in training."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.drop = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.drop(images), 3 * self.scale * images]


# the filter bank


def test_the_filters_are_the_same_for_ever() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    weight = FilterBank().weight
    assert torch.equal(torch.get_rng_state(), state)  # it takes nothing from the global generator
    torch.manual_seed(6)
    assert torch.equal(FilterBank().weight, weight)
    assert weight.shape == (48, 3, 7, 7)
    assert weight[0, 0, 0, :3].tolist() == pytest.approx([0.1205159, 0.1462428, 0.0148584], abs=1e-6)
    assert weight[47, 2, 6, 4:].tolist() == pytest.approx([-0.0143221, -0.0833573, -0.0539862], abs=1e-6)


def test_another_process_has_the_same_filters() -> None:
    code = "import torch; torch.manual_seed(9); from tenfold.translate import FilterBank as Bank; "
    code += "print(Bank().weight.double().pow(3).sum().item())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == FilterBank().weight.double().pow(3).sum().item()


def test_a_third_of_the_filters_see_colour_and_the_others_change_alone() -> None:
    bank = FilterBank(filters=9)
    torch.testing.assert_close(bank.weight.square().sum((1, 2, 3)), torch.ones(9))
    sums = bank.weight.sum((2, 3)).abs().amax(1)
    assert sums[3:].max() < 1e-5
    assert sums[:3].min() > 0.01
    flat = torch.tensor([0.7, -0.4, 0.2]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    for features in bank(flat):
        assert features[:, 3:].abs().max() < 1e-5
        assert features[:, :3].max() > 0.001


def test_each_scale_is_half_as_large_and_filtered_alike() -> None:
    bank, images = FilterBank(filters=6), pictures(2, 3, 64, 48)
    found = bank(images)
    assert [tuple(features.shape) for features in found] == [(2, 6, 64 >> s, 48 >> s) for s in range(4)]
    small = images
    for features in found:
        padded = F.pad(small, (3, 3, 3, 3), mode="reflect")
        windows = F.unfold(padded, 7)  # (2, 3 x 7 x 7, positions)
        by_hand = (bank.weight.flatten(1) @ windows).clamp_min(0).view_as(features)
        torch.testing.assert_close(features, by_hand, rtol=1e-4, atol=1e-5)
        small = (small[..., ::2, ::2] + small[..., 1::2, ::2] + small[..., ::2, 1::2] + small[..., 1::2, 1::2]) / 4


def test_one_scale_is_that_of_all() -> None:
    bank, images = FilterBank(filters=5, scales=3), pictures(1, 3, 21, 30)
    for scale, features in enumerate(bank(images)):
        assert torch.equal(bank.one(images, scale), features)


@pytest.mark.parametrize(("side", "scales"), [(4, 1), (7, 1), (8, 2), (16, 3), (31, 3), (32, 4), (200, 4)])
def test_a_picture_too_small_to_be_filtered_has_fewer_scales(side: int, scales: int) -> None:
    assert len(FilterBank(filters=2)(pictures(1, 3, side, side + 3))) == scales


@pytest.mark.parametrize(("filters", "scales"), [(0, 4), (48, 0), (-1, 4)])
def test_a_bank_of_nothing_is_refused(filters: int, scales: int) -> None:
    with pytest.raises(UsageError, match=f"filters is {filters} and scales {scales}, but both must be at least 1"):
        FilterBank(filters=filters, scales=scales)


# looks


def test_the_network_sees_pictures_as_imagenets() -> None:
    seen = Looks(Shown())(pictures(2, 3, 5, 6))[0]
    for channel in range(3):
        wanted = ((pictures(2, 3, 5, 6)[:, channel] + 1) / 2 - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(seen[:, channel], wanted)


def test_the_network_is_not_trained_but_gradients_reach_the_pictures() -> None:
    looks, images = Looks(Shown()), pictures(1, 3, 4, 4).requires_grad_()
    assert not looks.network.training
    assert not any(parameter.requires_grad for parameter in looks.parameters())
    looks(images)[1].sum().backward()
    assert images.grad is not None
    for channel in range(3):
        torch.testing.assert_close(images.grad[:, channel], torch.full((1, 4, 4), 3 / 2 / STD[channel]))


@pytest.mark.parametrize(
    "network",
    [
        FilterBank(),
        FilterBank(filters=7, scales=2),
        VGGFeatures(LAYERS),
        VGGFeatures(("relu3_1", "relu1_1", "relu2_1")),
        VGGFeatures(("relu1_1", "relu2_2"), depth=19),
        Shown(),
    ],
    ids=["bank", "two scales", "vgg", "another order", "vgg19", "any"],
)
def test_content_is_the_second_of_all_features(network: nn.Module) -> None:
    looks, images = Looks(network), pictures(2, 3, 20, 24)
    assert CONTENT == 1
    assert torch.equal(looks.content(images), looks(images)[1])
    assert looks.content(images).abs().max() > 0


def test_content_is_found_without_the_deeper_layers() -> None:
    network = VGGFeatures(LAYERS)
    passed: list[int] = []
    for place, part in enumerate(network.features):
        part.register_forward_hook(lambda *_arguments, place=place: passed.append(place))
    looks = Looks(network)
    looks.content(pictures(1, 3, 16, 16))
    assert passed == list(range(9))  # up to relu2_2
    passed.clear()
    looks(pictures(1, 3, 16, 16))
    assert passed == list(range(23))


@pytest.mark.parametrize("layers", [("relu2_2", "relu1_2", "relu3_1"), ("relu3_1", "relu1_1", "relu2_1", "relu1_2")])
def test_the_first_layers_asked_for_need_not_be_the_first_of_the_network(layers: tuple[str, ...]) -> None:
    network, images = VGGFeatures(layers), pictures(1, 3, 16, 16)
    everything = network(images)
    for count in range(1, len(layers) + 1):
        found = network.first(images, count)
        assert len(found) == count
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, everything, strict=False))


# by a person's settings


def test_without_a_file_looks_are_the_filter_bank() -> None:
    looks = make_looks(None)
    assert isinstance(looks.network, FilterBank)
    assert len(looks(pictures(1, 3, 32, 32))) == len(LAYERS)


def test_a_file_gives_the_papers_layers_of_vgg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = VGGFeatures(LAYERS)
    save_file(given.state_dict(), tmp_path / "vgg.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    looks, images = make_looks(Path("~/vgg.safetensors")), pictures(1, 3, 16, 16)
    found = looks(images)
    assert [features.shape[1] for features in found] == [64, 128, 256, 512]
    normalized = ((images + 1) / 2 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    for ours, theirs in zip(found, given(normalized), strict=True):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(UsageError, match=r"nothing\.safetensors does not exist"):
        make_looks(tmp_path / "nothing.safetensors")
