"""2-D max pooling and average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, record, record_joint
from lucid.autograd.variable import Array
from lucid.ops.operands import image_batch, pair

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d"]

Size2d: TypeAlias = int | Sequence[int]


@overload
def max_pool2d(
    x: ArrayLike,
    kernel_size: Size2d,
    stride: Size2d | None = None,
    padding: Size2d = 0,
    dilation: Size2d = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...


@overload
def max_pool2d(
    x: ArrayLike,
    kernel_size: Size2d,
    stride: Size2d | None = None,
    padding: Size2d = 0,
    dilation: Size2d = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...


@overload
def max_pool2d(
    x: ArrayLike,
    kernel_size: Size2d,
    stride: Size2d | None = None,
    padding: Size2d = 0,
    dilation: Size2d = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]: ...


def max_pool2d(
    x: ArrayLike,
    kernel_size: Size2d,
    stride: Size2d | None = None,
    padding: Size2d = 0,
    dilation: Size2d = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """2-D max pooling.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Step of the window; default ``kernel_size``.
    padding : int or (int, int), default 0
        Padding with -inf on each side, at most half of the window.
    dilation : int or (int, int), default 1
        Step between the elements of a window.
    ceil_mode : bool, default False
        Keep a last window that extends beyond the image.
    return_indices : bool, default False
        Also return the index of each maximum.

    Returns
    -------
    Tensor
        Shape (N, C, H', W').
    Tensor
        With ``return_indices``: ``row * W + column`` of each maximum in its plane, the first of
        equal ones, int64 of the same shape; -1 for windows of padding only.

    Raises
    ------
    ValueError
        If an option is invalid, or the window is larger than the padded image.
    """
    a = image_batch(x, "max_pool2d")
    kernel = pair(kernel_size, "kernel_size", 1)
    step = kernel if stride is None else pair(stride, "stride", 1)
    pad, spacing = pair(padding, "padding"), pair(dilation, "dilation", 1)
    value, index = kernels.max_pool2d(a, kernel, step, pad, spacing, bool(ceil_mode))
    shape = a.shape
    pooled = record(value, (x, lambda g: kernels.max_pool2d_backward(g, index, shape)))
    return (pooled, record(index.astype(np.int64))) if return_indices else pooled


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Size2d,
    stride: Size2d | None = None,
    padding: Size2d = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """2-D average pooling.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Step of the window; default ``kernel_size``.
    padding : int or (int, int), default 0
        Zero padding on each side, at most half of the window.
    ceil_mode : bool, default False
        Keep a last window that extends beyond the image.
    count_include_pad : bool, default True
        Include the zero padding in the mean.
    divisor_override : int, optional
        Divisor of the sums in place of the window size; not 0.

    Returns
    -------
    Tensor
        Shape (N, C, H', W').

    Raises
    ------
    ValueError
        If an option is invalid, or the window is larger than the padded image.
    """
    a = image_batch(x, "avg_pool2d")
    kernel = pair(kernel_size, "kernel_size", 1)
    step = kernel if stride is None else pair(stride, "stride", 1)
    if divisor_override is not None and int(divisor_override) == 0:
        raise ValueError("avg_pool2d expected a nonzero divisor_override, got 0")
    divisor = None if divisor_override is None else int(divisor_override)
    pad = pair(padding, "padding")
    settings = (kernel, step, pad, bool(ceil_mode), bool(count_include_pad), divisor)
    shape = a.shape
    return record(
        kernels.avg_pool2d(a, *settings),
        (x, lambda g: kernels.avg_pool2d_backward(g, shape, *settings)),
    )


def adaptive_avg_pool2d(x: ArrayLike, output_size: int | Sequence[int | None] | None) -> Tensor:
    """2-D adaptive average pooling to a given output size.

    Output row ``i`` is the mean of rows ``floor(i H / H')`` to ``ceil((i + 1) H / H') - 1``;
    columns likewise.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    output_size : int or (int, int)
        Height H' and width W' of the output; None keeps that of the input.

    Returns
    -------
    Tensor
        Shape (N, C, H', W').

    Raises
    ------
    ValueError
        If the image is empty or the size is not positive.
    """
    a = image_batch(x, "adaptive_avg_pool2d")
    wanted = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * 2
    if len(wanted) != 2:
        raise ValueError(f"expected output_size to be one or two numbers, got {output_size!r}")
    filled = [n if w is None else w for w, n in zip(wanted, a.shape[2:], strict=True)]
    size = pair(filled, "output_size", 1)
    if 0 in a.shape[2:]:
        raise ValueError(f"adaptive_avg_pool2d expected a nonempty image, got shape {a.shape}")
    if size == (1, 1):
        return _global_avg_pool2d(x, a)
    rows = _averaging_matrix(a.shape[2], size[0], a.dtype)
    columns = _averaging_matrix(a.shape[3], size[1], a.dtype)
    return record(_separable(a, rows, columns), (x, lambda g: _separable(g, rows.T, columns.T)))


def _global_avg_pool2d(x: ArrayLike, a: Array) -> Tensor:
    shape = a.shape

    def vjp(g: Array, accumulate: Array | None = None) -> list[Array]:
        return [kernels.channel_means_backward(g[:, :, 0, 0], shape, accumulate)]

    value = kernels.channel_means(a)[:, :, None, None]
    return record_joint(value, (x,), vjp, accumulate=True)


def _averaging_matrix(length: int, bins: int, dtype: np.dtype[Any]) -> Array:
    """Return the (bins, length) matrix that averages bins."""
    matrix = np.zeros((bins, length), dtype)
    for i in range(bins):
        start, stop = i * length // bins, -(-(i + 1) * length // bins)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def _separable(a: Array, rows: Array, columns: Array) -> Array:
    """Compute ``rows @ a @ columns.T`` for each plane, in channels-last memory."""
    n, c, h, w = a.shape
    nhwc = np.ascontiguousarray(a.transpose(0, 2, 3, 1))
    squeezed = rows @ nhwc.reshape(n, h, w * c)
    full: Array = columns @ squeezed.reshape(n, len(rows), w, c)
    return full.transpose(0, 3, 1, 2)
