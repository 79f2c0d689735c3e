"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence

from lucid.nn import functional as F
from lucid.nn.module import Module
from lucid.ops.operands import pair
from lucid.tensor import Tensor

__all__ = ["AdaptiveAvgPool2d", "AvgPool2d", "MaxPool2d"]


class MaxPool2d(Module):
    """2D max pooling: maximum of each window.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Stride of the window.  Default: ``kernel_size``.
    padding : int or (int, int), default 0
        Padding of both sides with -inf, at most half the kernel size.
    dilation : int or (int, int), default 1
        Spacing between window elements.
    return_indices : bool, default False
        Whether to return the index of each maximum too; see
        :func:`lucid.nn.functional.max_pool2d`.
    ceil_mode : bool, default False
        Whether the output size is rounded up instead of down.

    Examples
    --------
    >>> import lucid
    >>> lucid.nn.MaxPool2d(3, stride=2, padding=1)(lucid.zeros(1, 64, 112, 112)).shape
    (1, 64, 56, 56)
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else pair(stride, "stride", 1)
        self.padding = pair(padding, "padding")
        self.dilation = pair(dilation, "dilation", 1)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map (N, C, H, W) to (N, C, H_out, W_out); with ``return_indices``, a pair of them."""
        return F.max_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """2D average pooling: mean of each window.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Stride of the window.  Default: ``kernel_size``.
    padding : int or (int, int), default 0
        Zero padding of both sides, at most half the kernel size.
    ceil_mode : bool, default False
        Whether the output size is rounded up instead of down.
    count_include_pad : bool, default True
        Whether the mean includes the zero padding.
    divisor_override : int, optional
        Divisor of each window's sum, instead of the number of elements.
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else pair(stride, "stride", 1)
        self.padding = pair(padding, "padding")
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H_out, W_out)."""
        return F.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}, count_include_pad={self.count_include_pad}"
        )


class AdaptiveAvgPool2d(Module):
    """2D average pooling to a given output size.

    Parameters
    ----------
    output_size : int or (int, int)
        Height and width of the output; None keeps that of the input.

    Examples
    --------
    >>> import lucid
    >>> lucid.nn.AdaptiveAvgPool2d(1)(lucid.zeros(2, 512, 7, 7)).shape
    (2, 512, 1, 1)
    """

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to ``(N, C, *output_size)``."""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
