"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lucid.autograd import array_of
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
    """Base class with the settings and parameters of both convolutions."""

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
                f"{name}: expected channels divisible by groups={groups}, got "
                f"in_channels={in_channels} and out_channels={out_channels}"
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
        self.bias = Parameter(np.empty(out_channels, np.float32)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias from ``U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))``, as PyTorch does."""
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


class Conv2d(_Convolution, Foldable):
    """2D convolution over an image batch.

    Computes the cross-correlation of the input with ``weight``, plus ``bias``, from
    (N, in_channels, H, W) to (N, out_channels, H_out, W_out) with
    ``H_out = (H + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1``, and W_out
    alike.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels of the input and the output.
    kernel_size : int or (int, int)
        Height and width of the kernel.
    stride : int or (int, int), default 1
        Stride of the kernel.
    padding : int, (int, int), "same" or "valid", default 0
        Padding of both sides of height and width; ``"same"`` keeps the image size and needs
        stride 1, ``"valid"`` is no padding.
    dilation : int or (int, int), default 1
        Spacing between kernel elements.
    groups : int, default 1
        Number of blocked connections from input to output channels; divides both.
        ``groups=in_channels`` is a depthwise convolution.
    bias : bool, default True
        Whether to add a learnable bias to the output.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        Padding values; see :func:`lucid.nn.functional.pad`.

    Attributes
    ----------
    weight : Parameter
        Shape (out_channels, in_channels // groups, kH, kW), channels last in memory.
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
                    f"Conv2d: expected padding 'same', 'valid' or integers, got {padding!r}"
                )
            self.padding = padding
        else:
            self.padding = pair(padding, "padding")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"Conv2d: expected padding_mode {', '.join(map(repr, _PADDING_MODES))}, "
                f"got {padding_mode!r}"
            )
        self.padding_mode = padding_mode
        padding_pairs(self.padding, self.kernel_size, self.stride, self.dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H_out, W_out)."""
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
    """2D transposed convolution, the gradient of :class:`Conv2d` with respect to its input.

    Maps (N, in_channels, H, W) to (N, out_channels, H_out, W_out) with ``H_out = (H - 1) * stride
    - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1``, and W_out alike.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels of the input and the output.
    kernel_size : int or (int, int)
        Height and width of the kernel.
    stride : int or (int, int), default 1
        Stride of the kernel in the output.
    padding : int or (int, int), default 0
        Rows and columns removed from both sides of the output.
    output_padding : int or (int, int), default 0
        Rows and columns added to the bottom and the right of the output.
    groups : int, default 1
        Number of blocked connections from input to output channels; divides both.
    bias : bool, default True
        Whether to add a learnable bias to the output.
    dilation : int or (int, int), default 1
        Spacing between kernel elements.

    Attributes
    ----------
    weight : Parameter
        Shape (in_channels, out_channels // groups, kH, kW), channels last in memory.
    bias : Parameter or None
        Shape (out_channels,).

    Examples
    --------
    >>> import lucid
    >>> layer = lucid.nn.ConvTranspose2d(16, 8, 2, stride=2)
    >>> layer(lucid.zeros(1, 16, 7, 7)).shape
    (1, 8, 14, 14)
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
        """Map (N, in_channels, H, W) to (N, out_channels, H_out, W_out)."""
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
