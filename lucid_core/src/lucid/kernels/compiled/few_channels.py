"""Convolution of images of few channels, such as the first layer of a network.

A row of the window is one run of a padded image.  An item pads the rows that it reads in a buffer
of its own, so that neither the padded image nor, for an image with channels first, its copy with
channels last is ever in memory.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import Array, interleave, kernel
from lucid.kernels.compiled.microkernel import ADD, NR
from lucid.kernels.compiled.pointwise import multiply_panels
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["convolve_few_channels"]

Pair = tuple[int, int]

# Rows of the output of an item; more rows share more rows of the input, and fill the cache.
_ROWS = 8


@kernel
def _convolve(
    start: int, stop: int, x: Array, planar: int, w: Array, bias: Array, residual: Array,
    y: Array, window: Pair, stride: Pair, padding: Pair, dilation: int, rows: int, flags: int,
) -> None:  # fmt: skip
    """Item = ``rows`` rows of an output; x (N, C, H, W) if ``planar``, else (N, H, W, C)."""
    _, out_h, out_w, outputs = y.shape
    _, channels, height, width = x.shape
    if not planar:
        _, height, width, channels = x.shape
    kh, kw = window
    top, left = padding
    most = (rows - 1) * stride[0] + (kh - 1) * dilation + 1
    padded = ((out_w - 1) * stride[1] + kw) * channels
    buffer = np.zeros((most, padded), np.float32)
    begin, columns = left * channels, min(width, padded // channels - left)
    apart = residual.ctypes.data - y.ctypes.data
    blocks = -(-out_h // rows)
    for item in range(start, stop):
        n, oy0 = item // blocks, item % blocks * rows
        count = min(rows, out_h - oy0)
        iy0 = oy0 * stride[0] - top
        for i in range((count - 1) * stride[0] + (kh - 1) * dilation + 1):
            iy = iy0 + i
            row = buffer[i]
            if not 0 <= iy < height:
                row[:] = 0
            elif planar:
                interleave(x, n, iy, columns, row[begin:])
            else:
                values = x[n, iy].reshape(-1)
                for j in range(columns * channels):
                    row[begin + j] = values[j]
        for oy in range(count):
            pixel = (n * out_h + oy0 + oy) * out_w
            multiply_panels(
                (np.int64(0), -(-outputs // NR)), out_w,
                buffer.ctypes.data + oy * stride[0] * padded * 4,
                (stride[1] * channels * 4, dilation * padded * 4, kh, kw * channels),
                w.ctypes.data, outputs, bias.ctypes.data, y.ctypes.data + pixel * outputs * 4,
                outputs * 4, apart, flags,
            )  # fmt: skip


def convolve_few_channels(
    x: Array,
    planar: bool,
    w: Array,
    bias: Array | None,
    residual: Array | None,
    activation: int,
    y: Array,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: int,
) -> None:
    """Convolve over all positions of ``y``.

    Parameters
    ----------
    x : numpy.ndarray
        (N, C, H, W) if ``planar``, else (N, H, W, C); contiguous float32.
    planar : bool
    w : numpy.ndarray
        Weight (O, kH * kW * C) from :func:`.pointwise.pack_pointwise`.
    bias : numpy.ndarray, optional
        Shape (O,).
    residual : numpy.ndarray, optional
        Added to the sums; contiguous, the shape of ``y``.
    activation : int
        Code of the activation.
    y : numpy.ndarray
        Result, (N, Ho, Wo, O), contiguous.
    window, stride, padding : (int, int)
        ``padding`` is that above and to the left.
    dilation : int
        Distance of the rows of a window; that of its columns is 1.
    """
    n, out_h, _, outputs = y.shape
    given = np.zeros(outputs, np.float32) if bias is None else bias
    rows = max(1, min(_ROWS, n * out_h // (2 * get_num_threads())))
    parallel_for(
        _convolve, n * -(-out_h // rows), x, int(planar), w, given,
        y if residual is None else residual, y, window, stride, padding, dilation, rows,
        activation | (0 if residual is None else ADD),
    )  # fmt: skip
