"""Tiles against one pass with the same statistics, in double precision, where they must be equal."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.translate import ResidualGenerator, SymGenerator, symmetrize, translate_tiled
from tenfold.translate.tiles import _statistics as statistics_of
from tenfold.translate.tiles import fixed_statistics

TILE = 128
MIX = [0.2, 0.8]
EXACT = 1e-11


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def generator(blocks: int = 1, **settings: Any) -> SymGenerator:
    torch.manual_seed(3)
    return SymGenerator(2, width=4, blocks=blocks, **settings).double()


def pictures(height: int, width: int, count: int = 1) -> Tensor:
    """A shaded noise, so that one part's statistics are not another's."""
    noise = torch.rand(count, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (2 * noise - 1) * torch.linspace(0.1, 1, width) + torch.linspace(-0.3, 0.3, height)[:, None]


def shading(height: int, width: int) -> Tensor:
    """A map from all of the first loss at the left to all of the second at the right, (2, H, W)."""
    right = torch.linspace(0, 1, width, dtype=torch.float64).expand(height, width)
    return torch.stack([1 - right, right])


def one_pass(model: nn.Module, whole: Tensor, mix: Any, *, tile: int = TILE) -> Tensor:
    """The whole picture at once, with the statistics of a version of at most `tile` pixels a side."""
    height, width = whole.shape[2:]
    assert height % 4 == width % 4 == 0
    size = [max(16, round(side * tile / max(height, width) / 4) * 4) for side in (height, width)]
    small = F.interpolate(whole, size, mode="bilinear", antialias=True)
    shares = F.adaptive_avg_pool2d(mix, size) if isinstance(mix, Tensor) and mix.ndim > 2 else mix
    with fixed_statistics(model, statistics_of(model, small, shares)):
        return model(whole, mix=mix)


def hooks_of(model: nn.Module) -> list[int]:
    return [len(part._forward_hooks) for part in model.modules()]


# tiles are one pass


@pytest.mark.parametrize("size", [(256, 200), (132, 260), (128, 132), (64, 300), (20, 192)])
def test_tiles_are_exactly_one_pass_of_the_same_statistics(size: tuple[int, int]) -> None:
    model, whole = generator(), pictures(*size)
    found = translate_tiled(model, whole, mix=MIX, tile=TILE)
    assert found.shape == whole.shape
    assert (found - one_pass(model, whole, MIX)).abs().max() < EXACT
    assert found.std() > 0.01


@pytest.mark.parametrize(
    "settings", [{"blocks": 2}, {"skip": True}, {"doubling": "nearest"}, {"norm": "layer"}, {"conditioning": "film"}]
)
def test_the_margin_is_enough_for_every_generator(settings: dict[str, Any]) -> None:
    model, whole = generator(**settings), pictures(180, 196)
    found = translate_tiled(model, whole, mix=MIX, tile=TILE)
    assert (found - one_pass(model, whole, MIX)).abs().max() < EXACT


@pytest.mark.parametrize(("margin", "enough"), [(4, False), (8, False), (16, False), (24, True), (40, True)])
def test_a_margin_that_is_too_small_shows(margin: int, enough: bool) -> None:
    model, whole = generator(), pictures(140, 196)
    error = (translate_tiled(model, whole, mix=MIX, tile=TILE, margin=margin) - one_pass(model, whole, MIX)).abs()
    if enough:
        assert error.max() < EXACT
    else:
        assert error.max() > 1e-6
        deep = TILE - 2 * margin - 24
        assert error[..., :deep, :deep].max() < EXACT  # deep inside the first tile nothing is wrong


def test_a_generator_inside_another_module_has_its_margin() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(ResidualGenerator(width=4, blocks=2))
    model, whole = symmetrize(network, losses=2, at=["0.trunk"]).double(), pictures(132, 160)
    assert (translate_tiled(model, whole, mix=MIX, tile=TILE) - one_pass(model, whole, MIX)).abs().max() < EXACT


def test_any_network_has_tiles_with_a_margin_of_its_own() -> None:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 6, 3, padding=1),
        nn.InstanceNorm2d(6, affine=True),
        nn.ReLU(),
        nn.Conv2d(6, 3, 3, padding=1),
    ]
    nn.init.normal_(layers[1].weight)
    nn.init.normal_(layers[1].bias)
    model = symmetrize(nn.Sequential(*layers), losses=2, at=["2"], example=torch.zeros(1, 3, 8, 8)).double()
    whole = pictures(60, 72)
    found = translate_tiled(model, whole, mix=MIX, tile=32, margin=4)
    assert (found - one_pass(model, whole, MIX, tile=32)).abs().max() < EXACT


@pytest.mark.parametrize("size", [(131, 150), (133, 129), (135, 201)])
def test_sides_that_are_no_multiples_of_four(size: tuple[int, int]) -> None:
    model, whole = generator(), pictures(*size)
    padded = F.pad(whole, (0, -size[1] % 4, 0, -size[0] % 4), mode="reflect")
    found = translate_tiled(model, whole, mix=MIX, tile=TILE)
    assert found.shape == whole.shape
    assert (found - one_pass(model, padded, MIX)[..., : size[0], : size[1]]).abs().max() < EXACT


def test_each_picture_of_a_batch_has_its_own_statistics_and_mixture() -> None:
    model, both = generator(), pictures(132, 140, count=2)
    both[1] *= 0.3
    mixes = torch.tensor([[1.0, 0.0], [0.3, 0.7]], dtype=torch.float64)
    found = translate_tiled(model, both, mix=mixes, tile=TILE)
    for row in range(2):
        alone = translate_tiled(model, both[row : row + 1], mix=mixes[row], tile=TILE)
        assert (found[row] - alone[0]).abs().max() < EXACT


# maps


@pytest.mark.parametrize("rows", [False, True])
def test_a_map_of_mixtures_goes_with_the_tiles(rows: bool) -> None:
    model, whole = generator(), pictures(140, 200)
    mix = shading(140, 200)[None] if rows else shading(140, 200)
    found = translate_tiled(model, whole, mix=mix, tile=TILE)
    assert (found - one_pass(model, whole, mix)).abs().max() < EXACT
    turned = translate_tiled(model, whole, mix=mix.flip(-1), tile=TILE)
    assert (found - turned).abs().mean() > 1e-3


def test_a_map_of_one_mixture_is_that_mixture() -> None:
    model, whole = generator(), pictures(133, 150)
    mix = torch.tensor(MIX, dtype=torch.float64)
    found = translate_tiled(model, whole, mix=mix[:, None, None].expand(2, 133, 150), tile=TILE)
    assert (found - translate_tiled(model, whole, mix=mix, tile=TILE)).abs().max() < EXACT


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match=r"map of mixtures is \(140, 199\) pixels, but the pictures are \(140, 200\)"):
        translate_tiled(generator(), pictures(140, 200), mix=shading(140, 199), tile=TILE)


# seams


def test_only_the_statistics_differ_from_the_picture_passed_whole() -> None:
    model, whole = generator(), pictures(192, 256)
    found, once = translate_tiled(model, whole, mix=MIX, tile=TILE), model(whole, mix=MIX)
    with fixed_statistics(model, statistics_of(model, whole, MIX)):
        assert (model(whole, mix=MIX) - once).abs().max() < EXACT
    naive = torch.cat([model(whole[..., left : left + 64], mix=MIX) for left in range(0, 256, 64)], 3)

    def jump(made: Tensor) -> float:
        """How much the error changes from one side of the seams to the other, beside how much it does elsewhere."""
        changes = (made - once).diff(dim=3).abs().mean((0, 1, 2))
        seams = torch.zeros(255, dtype=torch.bool)
        seams[[63, 127, 191]] = True
        return float(changes[seams].mean() / changes[~seams].mean())

    assert jump(found) < 1.3
    assert jump(naive) > 1.5


@pytest.mark.parametrize("size", [(128, 128), (64, 100), (17, 30)])
def test_a_picture_that_fits_into_a_tile_is_passed_whole(size: tuple[int, int]) -> None:
    model, whole = generator(), pictures(*size)
    assert torch.equal(translate_tiled(model, whole, mix=MIX, tile=TILE), model(whole, mix=MIX))


def test_a_mixture_may_be_named_in_any_way() -> None:
    model, whole = generator(), pictures(132, 130)
    model.names = ("keep", "paint")
    wanted = translate_tiled(model, whole, mix=torch.tensor(MIX), tile=TILE)
    for mix in (MIX, {"paint": 0.8, "keep": 0.2}):
        assert torch.equal(translate_tiled(model, whole, mix=mix, tile=TILE), wanted)


# hooks


def test_nothing_is_left_of_the_hooks() -> None:
    model, whole = generator(), pictures(132, 140)
    before, small = hooks_of(model), pictures(32, 32)
    untouched = model(small, mix=MIX)
    translate_tiled(model, whole, mix=MIX, tile=TILE)
    assert hooks_of(model) == before
    assert torch.equal(model(small, mix=MIX), untouched)
    with pytest.raises(RuntimeError):
        translate_tiled(model, whole.float(), mix=MIX, tile=TILE)  # of a type that the weights do not have
    with pytest.raises(ZeroDivisionError), fixed_statistics(model, statistics_of(model, small, MIX)):
        raise ZeroDivisionError
    assert hooks_of(model) == before


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(6, affine=True), nn.GroupNorm(1, 6), nn.GroupNorm(3, 6)])
@pytest.mark.parametrize(
    "at",
    [
        "2",
        pytest.param(
            "1",
        ),
    ],
)
def test_statistics_of_the_picture_itself_change_nothing(at: str, norm: nn.Module) -> None:
    torch.manual_seed(0)
    norm = copy.deepcopy(norm)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    layers = [nn.Conv2d(3, 6, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1)]
    model = symmetrize(nn.Sequential(*layers), losses=2, at=[at], example=torch.zeros(1, 3, 8, 8)).double()
    whole, mix = pictures(24, 32, count=2), torch.tensor(MIX, dtype=torch.float64)
    before, other = model(whole, mix=mix), pictures(24, 32, count=2).flip(3) ** 3
    with fixed_statistics(model, statistics_of(model, whole, mix)):
        assert (model(whole, mix=mix) - before).abs().max() < EXACT
        changed = model(other, mix=mix)
    assert (model(other, mix=mix) - changed).abs().max() > 0.01  # of another picture they do


# errors


@pytest.mark.parametrize(
    ("tile", "margin"),
    [(130, 8), (128, 6), (128, 64), (128, 68), (64, 32), (0, 0), (64, None)],
)
def test_tiles_without_a_core_are_refused(tile: int, margin: int | None) -> None:
    shown = 32 if margin is None else margin
    with pytest.raises(UsageError, match=rf"tile is {tile} and margin {shown} pixels, but both must be multiples of 4"):
        translate_tiled(generator(), pictures(140, 140), mix=MIX, tile=tile, margin=margin)


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(UsageError, match="margin"):
        translate_tiled(generator(), pictures(140, 140), mix=MIX, tile=TILE, margin=-4)


def test_norms_with_running_statistics_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.InstanceNorm2d(3, track_running_stats=True))
    model = symmetrize(network, losses=2, at=["0"]).double()
    before = hooks_of(model)
    with pytest.raises(UsageError, match="tiles need instance norms without running statistics"):
        translate_tiled(model, pictures(64, 64), mix=MIX, tile=32, margin=4)
    assert hooks_of(model) == before


@pytest.mark.parametrize("mix", [[1.0], {"dream": 1.0}, torch.ones(3)])
def test_a_mixture_that_does_not_fit_is_refused(mix: Any) -> None:
    with pytest.raises(UsageError, match="mix has"):
        translate_tiled(generator(), pictures(140, 140), mix=mix, tile=TILE)
