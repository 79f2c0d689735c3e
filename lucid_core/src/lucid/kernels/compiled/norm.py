"""Batch normalization and its frozen form, fused with a residual sum and an activation.

Images are (M, C) rows of channels, M = N * H * W, so that inner loops run over contiguous
channels.  Sums over rows are float64 partial sums whose number depends on M alone: results are
bitwise equal for any number of threads.  Runs of a few rows are summed in the dtype of the
input first, since converting every element would take longer than reading it.

Loops over a few channels would be all overhead, so several rows are one row of as many times the
channels then.

The kernels are memory-bound.  So the mask of ReLU is recomputed from x where that is
possible, instead of reading the output again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.kernels.compiled.activation import CODES, RELU
from lucid.kernels.compiled.jit import Array, dense, float_type, grain_of, nhwc
from lucid.kernels.compiled.norm_loops import (
    affine_gradients,
    apply,
    moments,
    norm_input_gradient,
    norm_sums,
)
from lucid.kernels.memory import empty
from lucid.kernels.threads import parallel_for

_ROWS_PER_PARTIAL = 64
_MAX_PARTIALS = 64
# Channels of a wide row, and least number of wide rows.
_WIDE = 512
_MIN_WIDE_ROWS = 32


def _rows(array: Array, dtype: np.dtype[Any]) -> Array:
    """Reshape (N, C, H, W) to (M, C)."""
    n, c, h, w = array.shape
    return nhwc(array, dtype).reshape(n * h * w, c)


def _image(rows: Array, shape: tuple[int, ...]) -> Array:
    """Reshape (M, C) to (N, C, H, W)."""
    n, c, h, w = shape
    return rows.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _placeholder(dtype: np.dtype[Any]) -> Array:
    """Return an empty array for an absent one, so that the kernel's types do not change."""
    return np.empty((0, 0), dtype)


def _partials(rows: int, channels: int) -> Array:
    """Allocate partial sums (P, 2, C); P does not depend on the number of threads."""
    count = min(max(rows // _ROWS_PER_PARTIAL, 1), _MAX_PARTIALS)
    return np.empty((count, 2, channels))


def _rows_at_once(rows: int, channels: int) -> int:
    """Return how many rows to join, a power of two that divides their number."""
    count = 1
    while (
        2 * count * channels <= _WIDE
        and rows % (2 * count) == 0
        and rows // (2 * count) >= _MIN_WIDE_ROWS
    ):
        count *= 2
    return count


def _widen(count: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Join ``count`` rows of each array (M, C), and repeat each vector (C,) as often."""

    def wide(arg: Any) -> Any:
        if count == 1 or not isinstance(arg, np.ndarray) or not arg.size:
            return arg
        return np.tile(arg, count) if arg.ndim == 1 else arg.reshape(-1, count * arg.shape[1])

    return tuple(map(wide, args))


def _sum_rows(kernel: Any, shape: tuple[int, int], *args: Any) -> Array:
    """Run a kernel that fills partial sums, passed for None in ``args``; return float64 (2, C)."""
    count = _rows_at_once(*shape)
    rows, channels = shape[0] // count, shape[1] * count
    partial = _partials(rows, channels)
    args = tuple(partial if arg is None else arg for arg in _widen(count, args))
    grain = grain_of(rows * channels // len(partial))
    parallel_for(kernel, len(partial), *args, grain=grain)
    total: Array = partial.sum(0).reshape(2, count, shape[1]).sum(1)
    return total


def _map_rows(kernel: Any, shape: tuple[int, int], *args: Any) -> None:
    """Run a kernel whose items are rows."""
    count = _rows_at_once(*shape)
    rows, channels = shape[0] // count, shape[1] * count
    parallel_for(kernel, rows, *_widen(count, args), grain=grain_of(channels))


def _activate(
    x: Array,
    center: Array,
    scale: Array,
    shift: Array,
    residual: Array | None,
    activation: str | None,
) -> Array:
    dtype = float_type(x)
    rows = _rows(x, dtype)
    y = empty(rows.shape, dtype)
    other = _placeholder(dtype) if residual is None else _rows(residual, dtype)
    vectors = (dense(vector, dtype) for vector in (center, scale, shift))
    work = (rows, *vectors, other, y, CODES[activation], residual is not None)
    _map_rows(apply, rows.shape, *work)
    return _image(y, x.shape)


def affine_act(
    x: Array, scale: Array, shift: Array, residual: Array | None, activation: str | None
) -> Array:
    """See `lucid.kernels.reference.norm.affine_act`."""
    return _activate(x, np.zeros(x.shape[1], x.dtype), scale, shift, residual, activation)


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    residual: Array | None,
    activation: str | None,
) -> tuple[Array, Array, Array, Array, Array]:
    """See `lucid.kernels.reference.norm.batch_norm`."""
    dtype = float_type(x)
    rows = _rows(x, dtype)
    pixels, channels = max(1, len(rows)), rows.shape[1]
    pivot = _choose_pivot(rows) if len(rows) else np.zeros(channels, dtype)
    total, square = _sum_rows(moments, rows.shape, rows, pivot, None)
    shifted = total / pixels
    mean = pivot + shifted
    variance = np.maximum(square / pixels - shifted * shifted, 0)
    inverse_std = 1 / np.sqrt(variance + eps)
    scale = inverse_std if weight is None else weight * inverse_std
    # Subtracting the mean first is exact for x close to it, however far from 0 both are.  The
    # rounding error of the mean goes into the shift.
    center = mean.astype(dtype)
    shift = (center - mean) * scale
    affine = np.stack([scale, shift if bias is None else shift + bias]).astype(dtype)
    y = _activate(x, center, affine[0], affine[1], residual, activation)
    return y, center, variance.astype(dtype), inverse_std.astype(dtype), affine


def _choose_pivot(rows: Array) -> Array:
    """Return a pivot of each channel, the median of three values, for a stable variance.

    Sums of ``x - pivot`` do not cancel if the mean is far from 0; the median ignores an outlier.
    """
    first, middle, last = rows[0], rows[len(rows) // 2], rows[-1]
    low, high = np.minimum(first, last), np.maximum(first, last)
    pivot: Array = np.maximum(low, np.minimum(middle, high))
    return pivot


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def batch_norm_backward(
    g: Array,
    x: Array,
    y: Array | None,
    weight: Array | None,
    mean: Array,
    inverse_std: Array,
    affine: Array,
    activation: str | None,
    with_residual: bool,
    donate: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """See `lucid.kernels.reference.norm.batch_norm_backward`."""
    dtype = float_type(x)
    g_rows, x_rows = _rows(g, dtype), _rows(x, dtype)
    code, donate, with_residual = CODES[activation], bool(donate), bool(with_residual)
    keep, relu = code > RELU or (code == RELU and with_residual), code == RELU
    wanted = code and with_residual and y is not None
    y_rows = _rows(y, dtype) if wanted and y is not None else _placeholder(dtype)
    masked = empty(x_rows.shape, dtype) if keep and not donate else _placeholder(dtype)
    applied = [dense(vector, dtype) for vector in (mean, *affine)]
    arrays = (g_rows, x_rows, y_rows, *applied, masked, None)
    gbias, product = _sum_rows(norm_sums, x_rows.shape, *arrays, code, with_residual, donate)
    if keep:
        g_rows, relu = g_rows if donate else masked, False
    pixels = max(1, len(x_rows))
    g_scale = inverse_std.astype(np.float64) * (1 if weight is None else weight)
    x_scale = g_scale * inverse_std.astype(np.float64) ** 2 * product / pixels
    offset = g_scale * gbias / pixels
    # The gradient of the residual must not be overwritten.
    donate = (donate or keep) and not with_residual
    gx = _placeholder(dtype) if donate else empty(x_rows.shape, dtype)
    factors = (dense(values, dtype) for values in (g_scale, x_scale, offset))
    work = (g_rows, x_rows, *applied, *factors, gx, relu, donate)
    _map_rows(norm_input_gradient, x_rows.shape, *work)
    return (
        _image(g_rows if donate else gx, x.shape),
        (product * inverse_std).astype(dtype),
        gbias.astype(dtype),
        _image(g_rows, x.shape) if with_residual else None,
    )


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def affine_act_backward(
    g: Array,
    x: Array | None,
    y: Array | None,
    scale: Array,
    relu: bool,
    with_residual: bool,
) -> tuple[Array, Array | None, Array, Array | None]:
    """See `lucid.kernels.reference.norm.affine_act_backward`."""
    dtype = float_type(g)
    g_rows = _rows(g, dtype)
    relu = bool(relu)
    x_rows = _placeholder(dtype) if x is None else _rows(x, dtype)
    y_rows = _rows(y, dtype) if relu and y is not None else _placeholder(dtype)
    keep = relu and bool(with_residual)
    masked = empty(g_rows.shape, dtype) if keep else _placeholder(dtype)
    gx = empty(g_rows.shape, dtype)
    arrays = (g_rows, x_rows, y_rows, dense(scale, dtype), gx, masked, None)
    gshift, gscale = _sum_rows(affine_gradients, g_rows.shape, *arrays, relu, keep, x is not None)
    return (
        _image(gx, g.shape),
        None if x is None else gscale.astype(dtype),
        gshift.astype(dtype),
        _image(masked if keep else g_rows, g.shape) if with_residual else None,
    )
