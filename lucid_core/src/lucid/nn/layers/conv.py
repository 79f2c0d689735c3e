"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lucid.autograd import array_of
from lucid.autograd.variable import Array
from lucid.kernels.layout import channels_last
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.layers.argument_checks import check_channels, check_positive
from lucid.nn.layers.folding import Foldable
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter
from lucid.ops.conv import padding_pairs
from lucid.ops.operands import pair
from lucid.tensor import Tensor

__all__ = ["Conv2d", "ConvTranspose2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What the two convolutions share: their settings, weights and initial values."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        dilation: int | Sequence[int],
        groups: int,
        bias: bool,
        transposed: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_positive(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups={groups} must divide in_channels={in_channels} "
                f"and out_channels={out_channels}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = pair(stride, "stride", 1)
        self.dilation = pair(dilation, "dilation", 1)
        self.groups = groups
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(channels_last(np.empty(shape, np.float32)))
        self.bias = Parameter(_empty_vector(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values: even within ``1 / sqrt(fan_in)`` of 0, as in PyTorch."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def _settings(self, **others: object) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}, stride={self.stride}",
        ]
        parts += [f"{name}={value}" for name, value in others.items() if value not in (0, (0, 0))]
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


def _empty_vector(length: int) -> Array:
    return np.empty(length, np.float32)


class Conv2d(_Convolution, Foldable):
    """Two-dimensional convolution (cross-correlation).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), default 1
        Step of the window, in pixels.
    padding : int, (int, int), "same" or "valid", default 0
        Rows and columns added on each side; ``"same"`` keeps the size of the
        image (at stride 1), ``"valid"`` adds nothing.
    dilation : int or (int, int), default 1
        Distance between the taps of a window.
    groups : int, default 1
        Blocks of channels that do not see each other.
    bias : bool, default True
        Whether a learned constant is added to every output channel.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padding holds: zeros, or pixels of the image as
        :func:`lucid.nn.functional.pad` takes them.

    Attributes
    ----------
    weight : Parameter
        Shape (out_channels, in_channels / groups, kH, kW), channels last in memory.
    bias : Parameter or None
        Shape (out_channels,).

    Examples
    --------
    >>> import lucid
    >>> layer = lucid.nn.Conv2d(3, 16, 3, stride=2, padding=1)
    >>> layer(lucid.zeros(1, 3, 32, 32)).shape
    (1, 16, 16, 16)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        self.padding: tuple[int, int] | str
        super().__init__(
            in_channels, out_channels, kernel_size, stride, dilation, groups, bias, False
        )
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Conv2d: padding must be 'same', 'valid' or numbers, got {padding!r}"
                )
            self.padding = padding
        else:
            self.padding = pair(padding, "padding")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"Conv2d: padding_mode must be one of {', '.join(map(repr, _PADDING_MODES))}, "
                f"got {padding_mode!r}"
            )
        self.padding_mode = padding_mode
        padding_pairs(self.padding, self.kernel_size, self.stride, self.dilation)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in_channels, H, W) to (N, out_channels, H', W')."""
        check_channels(self, x, self.in_channels)
        if self.padding_mode != "zeros":
            ends = padding_pairs(self.padding, self.kernel_size, self.stride, self.dilation)
            x = F.pad(x, (*ends[1], *ends[0]), self.padding_mode)
            return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        folded = self._fold(array_of(x))
        if folded is not None:
            return folded.run(array_of(x))
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def _to_fold(self) -> tuple[Conv2d, None, None]:
        return self, None, None

    def extra_repr(self) -> str:
        settings = self._settings(padding=self.padding)
        if self.padding_mode == "zeros":
            return settings
        return f"{settings}, padding_mode={self.padding_mode!r}"


class ConvTranspose2d(_Convolution):
    """Transposed convolution: the way of a gradient through :class:`Conv2d`, as a layer.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), default 1
        Step of the window in the output, in pixels.
    padding : int or (int, int), default 0
        Rows and columns taken off each side of the output.
    output_padding : int or (int, int), default 0
        Rows and columns added at the bottom and the right of the output.
    groups : int, default 1
        Blocks of channels that do not see each other.
    bias : bool, default True
        Whether a learned constant is added to every output channel.
    dilation : int or (int, int), default 1
        Distance between the taps of a window.

    Attributes
    ----------
    weight : Parameter
        Shape (in_channels, out_channels / groups, kH, kW), channels last in memory.
    bias : Parameter or None
        Shape (out_channels,).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, dilation, groups, bias, True
        )
        self.padding = pair(padding, "padding")
        self.output_padding = pair(output_padding, "output_padding")

    def forward(self, x: Tensor) -> Tensor:
        """From (N, in_channels, H, W) to (N, out_channels, H', W')."""
        check_channels(self, x, self.in_channels)
        return F.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )

    def extra_repr(self) -> str:
        return self._settings(padding=self.padding, output_padding=self.output_padding)
