"""Max and average pooling over the last two axes of (N, C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.kernels.layout import channels_last

Array = np.ndarray[Any, np.dtype[Any]]
Pair = tuple[int, int]


def output_size(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> Pair:
    """Height and width of what a window of ``kernel`` yields over an image of ``size``.

    With ``ceil_mode`` a last window that sticks out at the bottom or the right
    counts too, as long as it starts inside the image or its upper or left padding.

    Raises
    ------
    ValueError
        If a number is out of range, the padding is more than half the window
        (a window could miss the image), or the window does not fit.
    """
    result = []
    for axis, what in enumerate(("height", "width")):
        n, k, s, p, d = (pair[axis] for pair in (size, kernel, stride, padding, dilation))
        if k < 1 or s < 1 or d < 1:
            raise ValueError(
                f"pooling expects kernel, stride and dilation of at least 1, got {k}, {s} "
                f"and {d} for the {what}"
            )
        reach = d * (k - 1) + 1
        if not 0 <= p <= reach // 2:
            raise ValueError(
                f"pooling expects a padding of 0 to half the window ({reach // 2}), "
                f"got {p} for the {what}"
            )
        free = n + 2 * p - reach
        if n < 1 or (free < 0 and not (ceil_mode and free + s > 0)):
            raise ValueError(
                f"pooling expects an image that holds its window of {reach}, got a {what} "
                f"of {n} with padding {p} on each side"
            )
        out = (free + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1
        result.append(out)
    return result[0], result[1]


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Array, Array]:
    """Largest value under each window, and where it stood.

    Parameters
    ----------
    x : array (N, C, H, W)
    kernel, stride, padding, dilation : pair of int
    ceil_mode : bool
        Whether a window may stick out at the bottom and right; see `output_size`.

    Returns
    -------
    y : array (N, C, OH, OW)
        NaN where the window holds one; -inf where it lies in the padding altogether.
    index : int32 array (N, C, OH, OW)
        ``row * W + column`` of the maximum, the first one of several; -1 where the
        window lies in the padding altogether.
    """
    n, c, height, width = x.shape
    out_h, out_w = output_size((height, width), kernel, stride, padding, dilation, ceil_mode)
    best = np.full((n, c, out_h, out_w), -np.inf, x.dtype)
    index = np.full(best.shape, -1, np.int32)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            rows = np.arange(out_h) * stride[0] - padding[0] + ky * dilation[0]
            columns = np.arange(out_w) * stride[1] - padding[1] + kx * dilation[1]
            inside = np.logical_and.outer(
                (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
            )
            flat = np.where(inside, np.add.outer(rows * width, columns), 0)
            value = x.reshape(n, c, height * width)[:, :, flat]
            # "not <=" is true of NaN, and once best is NaN nothing replaces it
            larger = ~(value <= best) & ~np.isnan(best)
            take = inside & (larger | (index < 0))
            best = np.where(take, value, best)
            index = np.where(take, flat, index).astype(np.int32)
    return channels_last(best), channels_last(index)


def max_pool2d_backward(g: Array, index: Array, input_shape: tuple[int, int, int, int]) -> Array:
    """Gradient of the input of `max_pool2d`: each ``g`` goes to where the maximum stood.

    Parameters
    ----------
    g : array (N, C, OH, OW)
    index : int32 array (N, C, OH, OW)
        From `max_pool2d`.
    input_shape : (N, C, H, W)

    Returns
    -------
    array (N, C, H, W)
    """
    n, c, h, w = input_shape
    gx = np.zeros((n, c, h * w), g.dtype)
    taken = np.nonzero(index >= 0)
    np.add.at(gx, (taken[0], taken[1], index[taken]), g[taken])
    return channels_last(gx.reshape(input_shape))


def window_counts(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Array:
    """By how many values each window's sum is divided: an int64 array (OH, OW).

    Padding counts or not as asked; what ``ceil_mode`` adds beyond it never does.
    A ``divisor`` that is given divides them all.
    """
    counts = []
    out = output_size(size, kernel, stride, padding, (1, 1), ceil_mode)
    if divisor is not None:
        return np.full(out, divisor, np.int64)
    for axis in range(2):
        start = np.arange(out[axis]) * stride[axis] - padding[axis]
        stop = np.minimum(start + kernel[axis], size[axis] + padding[axis])
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, size[axis])
        counts.append(stop - start)
    return np.multiply.outer(counts[0], counts[1])


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go their way in silence
def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Array:
    """Mean of each window.

    Parameters
    ----------
    x : array (N, C, H, W)
    kernel, stride, padding : pair of int
    ceil_mode : bool
        Whether a window may stick out at the bottom and right; see `output_size`.
    count_include_pad : bool
        Whether padding counts as zeros in the mean, or not at all.
    divisor : int, optional
        What every sum is divided by in place of the number of its values.

    Returns
    -------
    array (N, C, OH, OW)
    """
    height, width = x.shape[2:]
    settings = (kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    counts = window_counts((height, width), *settings)
    out_h, out_w = counts.shape
    below, right = out_h * stride[0] + kernel[0], out_w * stride[1] + kernel[1]
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0], below), (padding[1], right)))
    total = np.zeros((*x.shape[:2], out_h, out_w))
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            total += padded[:, :, ky :: stride[0], kx :: stride[1]][:, :, :out_h, :out_w]
    return channels_last((total / counts).astype(x.dtype))


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go their way in silence
def avg_pool2d_backward(
    g: Array,
    input_shape: tuple[int, int, int, int],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Array:
    """Gradient of the input of `avg_pool2d`: every value under a window gets its share.

    Parameters
    ----------
    g : array (N, C, OH, OW)
    input_shape : (N, C, H, W)
    kernel, stride, padding, ceil_mode, count_include_pad, divisor
        As given to `avg_pool2d`.

    Returns
    -------
    array (N, C, H, W)
    """
    n, c, height, width = input_shape
    settings = (kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    counts = window_counts((height, width), *settings)
    out_h, out_w = counts.shape
    below, right = out_h * stride[0] + kernel[0], out_w * stride[1] + kernel[1]
    padded = np.zeros((n, c, height + padding[0] + below, width + padding[1] + right), g.dtype)
    share = g / counts.astype(g.dtype)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            padded[:, :, ky :: stride[0], kx :: stride[1]][:, :, :out_h, :out_w] += share
    gx = padded[:, :, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    return channels_last(gx)
