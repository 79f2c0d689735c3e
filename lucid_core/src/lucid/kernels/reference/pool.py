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
    """Return the output height and width of pooling over an image of ``size``.

    With ``ceil_mode``, a last window that exceeds the image at the bottom or right counts too,
    if it starts inside the image or its upper or left padding.

    Raises
    ------
    ValueError
        If an argument is out of range, the padding exceeds half the window, or the window does
        not fit the image.
    """
    result = []
    for axis, what in enumerate(("height", "width")):
        n, k, s, p, d = (pair[axis] for pair in (size, kernel, stride, padding, dilation))
        if k < 1 or s < 1 or d < 1:
            raise ValueError(
                f"expected kernel, stride and dilation of at least 1, got {k}, {s} "
                f"and {d} (pooling, {what})"
            )
        reach = d * (k - 1) + 1
        if not 0 <= p <= reach // 2:
            raise ValueError(
                f"expected a padding of 0 to half the window, {reach // 2}, "
                f"got {p} (pooling, {what})"
            )
        free = n + 2 * p - reach
        if n < 1 or (free < 0 and not (ceil_mode and free + s > 0)):
            raise ValueError(
                f"expected a {what} that fits the window of {reach}, got {n} with padding {p} on "
                "each side (pooling)"
            )
        out = (free + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1
        result.append(out)
    return result[0], result[1]


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Array, Array]:
    """Compute the maximum of each window, and its index.

    Parameters
    ----------
    x : array (N, C, H, W)
    kernel, stride, padding, dilation : pair of int
    ceil_mode : bool
        Whether a last window may exceed the image; see `output_size`.

    Returns
    -------
    y : array (N, C, OH, OW)
        NaN if the window contains NaN, -inf if it is all padding.
    index : int32 array (N, C, OH, OW)
        ``row * W + column`` of the first maximum; -1 if the window is all padding.
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
            # "not <=" is true for NaN, and nothing replaces a NaN.
            larger = ~(value <= best) & ~np.isnan(best)
            take = inside & (larger | (index < 0))
            best = np.where(take, value, best)
            index = np.where(take, flat, index).astype(np.int32)
    return channels_last(best), channels_last(index)


def max_pool2d_backward(g: Array, index: Array, input_shape: tuple[int, int, int, int]) -> Array:
    """Compute the input gradient of `max_pool2d`: scatter ``g`` to the indices of the maxima.

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
    """Return the divisor of each window's sum, an int64 array (OH, OW).

    It is ``divisor``, or the number of elements; what ``ceil_mode`` adds beyond the padding
    never counts.
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


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None = None,
) -> Array:
    """Compute the mean of each window.

    Parameters
    ----------
    x : array (N, C, H, W)
    kernel, stride, padding : pair of int
    ceil_mode : bool
        Whether a last window may exceed the image; see `output_size`.
    count_include_pad : bool
        Whether the mean includes the zeros of the padding.
    divisor : int, optional
        Divisor of the sums; by default the number of elements.

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


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
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
    """Compute the input gradient of `avg_pool2d`.

    Parameters
    ----------
    g : array (N, C, OH, OW)
    input_shape : (N, C, H, W)
    kernel, stride, padding, ceil_mode, count_include_pad, divisor
        See `avg_pool2d`.

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
