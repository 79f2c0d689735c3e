"""Nearest and bilinear resizing of the last two axes of (N, C, H, W).

Source coordinates are PyTorch's: ``floor(i * step)`` for nearest; ``(i + 0.5) * step - 0.5``
clipped at 0 for bilinear, or ``i * (in - 1) / (out - 1)`` with ``align_corners``.  The step,
in source pixels per target pixel, is given or ``in / out``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.kernels.layout import channels_last

Array = np.ndarray[Any, np.dtype[Any]]
Pair = tuple[int, int]
Shape = tuple[int, int, int, int]
Steps = tuple[float | None, float | None]

#: Steps computed from the two sizes.
BY_SIZE: Steps = (None, None)


def check_sizes(source: Pair, target: Pair) -> None:
    """Raise ValueError unless both images have at least one pixel."""
    if min(*source, *target) < 1:
        raise ValueError(
            "expected a height and a width of at least 1, "
            f"got {tuple(source)} resized to {tuple(target)}"
        )


def nearest_source(source: int, target: int, step: float | None = None) -> Array:
    """Return the source index of each target position along one axis, int64 (target,).

    As in PyTorch, the product with the step is rounded to single precision before the floor,
    unless the length stays or doubles.
    """
    position = np.arange(target)
    if target in (source, 2 * source):
        return position * source // target
    single = np.float32(source) / np.float32(target) if step is None else np.float32(step)
    at: Array = np.floor(position.astype(np.float32) * single).astype(np.int64)
    return np.minimum(at, source - 1)


def bilinear_source(
    source: int, target: int, align_corners: bool, step: float | None = None
) -> tuple[Array, Array, Array]:
    """Return the two source neighbors of each target position along one axis.

    Returns
    -------
    low, high : int64 array (target,)
        Neighboring source indices; equal at the last one.
    fraction : float64 array (target,)
        Weight of ``high``; ``low`` has the weight 1 - fraction.
    """
    position = np.arange(target)
    if align_corners:
        at = position * ((source - 1) / (target - 1) if target > 1 else 0.0)
    else:
        at = np.maximum((position + 0.5) * (source / target if step is None else step) - 0.5, 0)
    low = np.minimum(at.astype(np.int64), source - 1)
    # Past the last pixel both neighbors are that pixel; clip the weight for exact rounding.
    return low, np.minimum(low + 1, source - 1), np.minimum(at - low, 1)


def resize_nearest(x: Array, size: Pair, steps: Steps = BY_SIZE) -> Array:
    """Resize to ``size`` by nearest-neighbor interpolation.

    Parameters
    ----------
    x : array (N, C, H, W)
    size : (height, width)
    steps : (rows, columns)
        Source pixels per target pixel; None computes them from the sizes.

    Returns
    -------
    array (N, C, *size)
    """
    check_sizes(x.shape[2:], size)
    rows = nearest_source(x.shape[2], size[0], steps[0])
    columns = nearest_source(x.shape[3], size[1], steps[1])
    return channels_last(x[:, :, rows[:, None], columns])


def resize_nearest_backward(g: Array, input_shape: Shape, steps: Steps = BY_SIZE) -> Array:
    """Compute the input gradient of `resize_nearest`, a sum over the copies of each pixel.

    Parameters
    ----------
    g : array (N, C, OH, OW)
    input_shape : (N, C, H, W)
    steps : (rows, columns)
        See `resize_nearest`.

    Returns
    -------
    array (N, C, H, W)
    """
    check_sizes(input_shape[2:], g.shape[2:])
    rows = nearest_source(input_shape[2], g.shape[2], steps[0])
    columns = nearest_source(input_shape[3], g.shape[3], steps[1])
    gx = np.zeros(input_shape, g.dtype)
    index: Any = (slice(None), slice(None), rows[:, None], columns)
    np.add.at(gx, index, g)
    return channels_last(gx)


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def resize_bilinear(x: Array, size: Pair, align_corners: bool, steps: Steps = BY_SIZE) -> Array:
    """Resize to ``size`` by bilinear interpolation, without antialiasing.

    Parameters
    ----------
    x : array (N, C, H, W)
    size : (height, width)
    align_corners : bool
        Whether the centers of the corner pixels are aligned, rather than the corners.
    steps : (rows, columns)
        Source pixels per target pixel; None computes them from the sizes.

    Returns
    -------
    array (N, C, *size)
    """
    check_sizes(x.shape[2:], size)
    y0, y1, wy = bilinear_source(x.shape[2], size[0], align_corners, steps[0])
    x0, x1, wx = bilinear_source(x.shape[3], size[1], align_corners, steps[1])
    wy, wx = wy[:, None].astype(x.dtype), wx.astype(x.dtype)
    upper = x[:, :, y0[:, None], x0] * (1 - wx) + x[:, :, y0[:, None], x1] * wx
    lower = x[:, :, y1[:, None], x0] * (1 - wx) + x[:, :, y1[:, None], x1] * wx
    return channels_last(upper * (1 - wy) + lower * wy)


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def resize_bilinear_backward(
    g: Array, input_shape: Shape, align_corners: bool, steps: Steps = BY_SIZE
) -> Array:
    """Compute the input gradient of `resize_bilinear`.

    Parameters
    ----------
    g : array (N, C, OH, OW)
    input_shape : (N, C, H, W)
    align_corners : bool
    steps : (rows, columns)
        See `resize_bilinear`.

    Returns
    -------
    array (N, C, H, W)
    """
    check_sizes(input_shape[2:], g.shape[2:])
    y0, y1, wy = bilinear_source(input_shape[2], g.shape[2], align_corners, steps[0])
    x0, x1, wx = bilinear_source(input_shape[3], g.shape[3], align_corners, steps[1])
    wy, wx = wy[:, None].astype(g.dtype), wx.astype(g.dtype)
    gx = np.zeros(input_shape, g.dtype)
    for rows, row_weight in ((y0, 1 - wy), (y1, wy)):
        for columns, column_weight in ((x0, 1 - wx), (x1, wx)):
            index: Any = (slice(None), slice(None), rows[:, None], columns)
            np.add.at(gx, index, g * row_weight * column_weight)
    return channels_last(gx)
