"""The concentrated-comprehensive convolution (arXiv:1812.04920): a dilated convolution of few weights and no grid artefacts.

Shape letters: N batch, C input channels, O output channels, H x W pixels, d rate of dilation.
"""

from __future__ import annotations

from torch import Tensor, fx, nn

from ..core.errors import UsageError

KERNEL = 3
"""taps of the dilated convolution along each side"""


@fx.wrap  # a network that is traced keeps the check as one call; a shape has no value there
def _require_channels(x: Tensor, channels: int) -> None:
    if x.ndim != 4 or x.shape[1] != channels:
        raise UsageError(f"the input is {tuple(x.shape)}, but must be (N, {channels}, H, W)")


class ConcentratedConv2d(nn.Module):
    """A 3x3 convolution of dilation d, in two stages: (N, C, H, W) -> (N, O, ceil(H / stride), ceil(W / stride)).

    *Concentration* gathers what lies between the taps of the dilated kernel, which a depthwise dilated convolution alone
    never sees: depthwise (2d-1) x 1, norm, PReLU, depthwise 1 x (2d-1), norm. *Comprehension* is depthwise 3x3 of dilation
    d, then 1x1 over the channels. It takes the place of `nn.Conv2d(C, O, 3, dilation=d, padding=d, stride=stride)`; no
    norm or activation follows inside. With d = 1 nothing lies between the taps and there is no concentration. It has
    (2 (2d-1) + 9) C + C O convolution weights against the 9 C O of the dense kernel.

    Args:
        in_channels: C, at least 1.
        out_channels: O, at least 1.
        dilation: d, at least 1.
        stride: of the dilated convolution; the concentration before it keeps the resolution.
        bias: whether the 1x1 convolution has one.

    Raises:
        UsageError: an argument is out of range, or an input has not C channels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, dilation: int, stride: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        for name, given in (
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("dilation", dilation),
            ("stride", stride),
        ):
            if given < 1:
                raise UsageError(f"{name} is {given}, but must be at least 1")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.dilation = dilation
        self.stride = stride
        self.concentration = Concentration(in_channels, 2 * dilation - 1) if dilation > 1 else None
        self.depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            KERNEL,
            stride=stride,
            padding=dilation,
            dilation=dilation,
            groups=in_channels,
            bias=False,
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        _require_channels(x, self.in_channels)
        if self.concentration is not None:
            x = self.concentration(x)
        return self.pointwise(self.depthwise(x))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, dilation={self.dilation}, stride={self.stride}"


class Concentration(nn.Module):
    """Gathers a window of length x length pixels, depthwise: (N, C, H, W) -> (N, C, H, W). `length` is odd."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        reach = length // 2
        self.vertical = nn.Conv2d(channels, channels, (length, 1), padding=(reach, 0), groups=channels, bias=False)
        self.vertical_norm = nn.BatchNorm2d(channels)
        self.activation = nn.PReLU(channels)
        self.horizontal = nn.Conv2d(channels, channels, (1, length), padding=(0, reach), groups=channels, bias=False)
        self.horizontal_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.vertical_norm(self.vertical(x)))
        # no activation here: all that follows is linear, and the paper keeps it so
        return self.horizontal_norm(self.horizontal(x))
