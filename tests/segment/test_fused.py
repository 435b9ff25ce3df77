"""What the fused modules compute, against the layers they stand for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.segment import fused
from tenfold.segment.fused import FoldedBranch, FusedConcentrated, FusedPyramid

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def trained_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    return norm


def trained_prelu(channels: int) -> nn.PReLU:
    prelu = nn.PReLU(channels)
    nn.init.normal_(prelu.weight)  # negative slopes, and slopes above one, too
    return prelu


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


class Branch(nn.Sequential):
    def __init__(self, n: int, out: int, d: int) -> None:
        kernel = 2 * d - 1
        super().__init__(
            nn.Conv2d(n, n, (kernel, 1), padding=(d - 1, 0), groups=n, bias=False),
            trained_norm(n),
            trained_prelu(n),
            nn.Conv2d(n, n, (1, kernel), padding=(0, d - 1), groups=n, bias=False),
            trained_norm(n),
            nn.Conv2d(n, n, 3, padding=d, dilation=d, groups=n, bias=False),
            nn.Conv2d(n, out, 1, bias=False),
        )
        self.dilation = d

    def folded(self, scale: Tensor | None = None) -> FoldedBranch:
        vertical, norm, prelu, horizontal, second, depthwise, pointwise = self
        first_scale, first_shift = scale_and_shift(norm)
        second_scale, second_shift = scale_and_shift(second)
        last = pointwise.weight.detach()[:, :, 0, 0]
        return FoldedBranch(
            dilation=self.dilation,
            vertical=vertical.weight.detach()[:, 0, :, 0] * first_scale[:, None],
            vertical_bias=first_shift,
            slope=prelu.weight.detach(),
            horizontal=horizontal.weight.detach()[:, 0, 0] * second_scale[:, None],
            horizontal_bias=second_shift,
            depthwise=depthwise.weight.detach()[:, 0],
            pointwise=last if scale is None else last * scale[:, None],
        )


class Pyramid(nn.Module):
    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...], *, residual: bool, stride: int = 1) -> None:
        super().__init__()
        n = outputs // len(rates)
        self.residual = residual
        size = 1 if stride == 1 else 3
        self.reduce = nn.Conv2d(inputs, n, size, stride, size // 2, bias=False)
        widths = [outputs - n * (len(rates) - 1)] + [n] * (len(rates) - 1)
        self.branches = nn.ModuleList(Branch(n, out, d) for out, d in zip(widths, rates, strict=True))
        self.norm, self.prelu = trained_norm(outputs), trained_prelu(outputs)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        y = torch.cat([branch(reduced) for branch in self.branches], dim=1)
        return self.prelu(self.norm(y + x if self.residual else y))

    def fused(self) -> FusedPyramid:
        scale, shift = scale_and_shift(self.norm)
        widths = [branch[-1].weight.shape[0] for branch in self.branches]
        branches = [branch.folded(part) for branch, part in zip(self.branches, scale.split(widths), strict=True)]
        residual_scale = scale if self.residual else None
        bias, slope = shift, self.prelu.weight.detach()
        weight, stride = self.reduce.weight.detach(), self.reduce.stride[0]
        return FusedPyramid(
            weight, stride, branches=branches, residual_scale=residual_scale, bias=bias, slope=slope
        ).eval()


def assert_same(given: Tensor, wanted: Tensor) -> None:
    assert given.shape == wanted.shape
    assert given.dtype == wanted.dtype
    if wanted.numel():
        assert (given - wanted).abs().max() <= TOLERANCE[wanted.dtype] * wanted.abs().max()


@pytest.fixture(autouse=True)
def _seed_without_gradients() -> object:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n", [1, 5, 16])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 7, 8, 13, 16])
def test_one_branch_is_its_layers(d: int, n: int, dtype: torch.dtype) -> None:
    branch = Branch(n, n + 3, d).to(dtype).eval()
    module = FusedConcentrated(branch.folded())
    # widths that fold wholly, in part and not at all, and maps smaller than the kernels
    for height, width in [(20, 32), (9, 28), (17, 23), (3, 2), (1, 1)]:
        x = torch.randn(2, n, height, width, dtype=dtype)
        assert_same(module(x), branch(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rates", [(2, 4, 8, 16), (2, 3, 7, 13)])
@pytest.mark.parametrize(
    ("inputs", "outputs", "residual", "stride"),
    [(21, 21, True, 1), (64, 64, True, 1), (11, 22, False, 1), (7, 64, False, 2)],
)
def test_the_pyramid_is_its_layers(
    inputs: int, outputs: int, residual: bool, stride: int, rates: tuple[int, ...], dtype: torch.dtype
) -> None:
    pyramid = Pyramid(inputs, outputs, rates, residual=residual, stride=stride).to(dtype)
    module = pyramid.fused()
    for batch, height, width in [(1, 24, 32), (3, 13, 37), (1, 5, 3), (2, 1, 1)]:
        x = torch.randn(batch, inputs, height, width, dtype=dtype)
        assert_same(module(x), pyramid(x))
        assert_same(module(x.contiguous(memory_format=torch.channels_last)), pyramid(x))
        assert_same(module(x.transpose(2, 3)), pyramid(x.transpose(2, 3)))


@pytest.mark.parametrize("residual", [True, False])
def test_large_maps_are_activated_in_blocks(residual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pyramid = Pyramid(20, 20, (2, 4, 8, 16), residual=residual).double()
    x = torch.randn(2, 20, 11, 19, dtype=torch.float64)
    monkeypatch.setattr(fused, "LARGE", 0)
    monkeypatch.setattr(fused, "BLOCK", 1000)  # 50 pixels: the last block is shorter
    assert_same(pyramid.fused()(x), pyramid(x))


def test_an_empty_batch_has_an_empty_output() -> None:
    pyramid = Pyramid(64, 64, (2, 4, 8, 16), residual=True)
    assert pyramid.fused()(torch.zeros(0, 64, 6, 8)).shape == (0, 64, 6, 8)
    assert FusedConcentrated(Branch(5, 7, 16).folded())(torch.zeros(0, 5, 6, 8)).shape == (0, 7, 6, 8)


def test_the_input_is_left_alone() -> None:
    x = torch.randn(1, 64, 9, 16).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    Pyramid(64, 64, (2, 4, 8, 16), residual=True).fused()(x)
    assert torch.equal(x, before)


def test_a_state_is_all_that_a_module_knows() -> None:
    first = Pyramid(20, 20, (2, 3, 7, 13), residual=True)
    module, other = first.fused(), Pyramid(20, 20, (2, 3, 7, 13), residual=True).fused()
    x = torch.randn(1, 20, 9, 26)
    other(x)  # whatever a first call might have kept is of the wrong weights now
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), module(x))
    assert_same(other(x), first(x))
    assert_same(module.double()(x.double()).float(), first(x))


def test_a_module_shares_no_memory_with_the_network_it_is_from() -> None:
    pyramid = Pyramid(20, 20, (2, 3, 7, 13), residual=True)
    module, x = pyramid.fused(), torch.randn(1, 20, 9, 26)
    before = pyramid(x)
    for value in module.state_dict().values():
        value.zero_()
    assert torch.equal(pyramid(x), before)
    assert not module(x).any()


def test_other_devices_compute_the_layers_as_written() -> None:
    pyramid = Pyramid(20, 20, (2, 4, 8, 16), residual=True)
    module = pyramid.fused().to("meta")
    assert module(torch.empty(2, 20, 9, 16, device="meta")).shape == (2, 20, 9, 16)
    assert FusedConcentrated(Branch(5, 7, 16).folded()).to("meta")(torch.empty(1, 5, 4, 6, device="meta")).shape == (
        1,
        7,
        4,
        6,
    )
    x = torch.randn(2, 20, 9, 16)
    assert_same(pyramid.fused()._as_written(x), pyramid(x))


@pytest.mark.parametrize("width", [16, 17])
def test_a_module_can_be_exported(width: int) -> None:
    pyramid = Pyramid(20, 20, (2, 4, 8, 16), residual=True)
    x = torch.randn(1, 20, 9, width)
    program = torch.export.export(pyramid.fused(), (x,))
    assert_same(program.module()(x), pyramid(x))


def test_a_sentence_for_tensors_that_do_not_fit() -> None:
    branch = Branch(4, 4, 2).folded()
    for wrong in (
        replace(branch, dilation=0),
        replace(branch, dilation=3),
        replace(branch, vertical=branch.vertical[0]),
        replace(branch, slope=branch.slope[:3]),
        replace(branch, depthwise=branch.depthwise[:, :2]),
        replace(branch, pointwise=branch.pointwise[:, :3]),
    ):
        with pytest.raises(UsageError):
            FusedConcentrated(wrong)


def test_a_sentence_for_pyramids_that_do_not_fit() -> None:
    branch, eight = Branch(4, 4, 2).folded(), torch.ones(8)
    weight = torch.ones(4, 8, 1, 1)
    right = {"branches": [branch, branch], "residual_scale": eight, "bias": eight, "slope": eight}
    FusedPyramid(weight, 1, **right)
    for changed in (
        {"branches": []},
        {"branches": [branch]},
        {"bias": eight[:7]},
        {"slope": eight[:7]},
        {"residual_scale": eight[:7]},
    ):
        with pytest.raises(UsageError):
            FusedPyramid(weight, 1, **{**right, **changed})
    for wrong, stride in ((weight, 2), (weight, 0), (weight[:, :7], 1), (weight[:3], 1), (torch.ones(4, 8, 2, 2), 1)):
        with pytest.raises(UsageError):
            FusedPyramid(wrong, stride, **right)
