"""Layer normalization of rows, which stay in the first-level cache between their passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.kernels import recording
from lucid.kernels.compiled.jit import Array, dense, grain_of, kernel, reordering_routine
from lucid.kernels.memory import empty
from lucid.kernels.reference import layer_norm as reference
from lucid.kernels.threads import parallel_for

__all__ = ["layer_norm", "layer_norm_backward"]

# Partial sums over rows for the parameters, in float64 after each run of rows.
_PARTS, _RUN_ROWS = 32, 16


@reordering_routine
def _sum(x: Array) -> Any:
    total = x.dtype.type(0)
    for c in range(len(x)):
        total += x[c]
    return total


@reordering_routine
def _sum_of_squares(x: Array, mean: Any) -> Any:
    total = x.dtype.type(0)
    for c in range(len(x)):
        centered = x[c] - mean
        total += centered * centered
    return total


@reordering_routine
def _sums(g: Array, x: Array, weight: Array, mean: Any) -> Any:
    """Return the sums of ``g * weight`` and of ``g * weight * (x - mean)``."""
    total, product = x.dtype.type(0), x.dtype.type(0)
    for c in range(len(x)):
        scaled = g[c] * weight[c]
        total += scaled
        product += scaled * (x[c] - mean)
    return total, product


@kernel
def _layer_norm(
    start: int, stop: int, x: Array, weight: Array, bias: Array, eps: Array, y: Array,
    means: Array, inverse_stds: Array,
) -> None:  # fmt: skip
    """Item = one row."""
    one, count = x.dtype.type(1), x.dtype.type(x.shape[1])
    for r in range(start, stop):
        row, target = x[r], y[r]
        mean = _sum(row) / count
        inverse_std = one / np.sqrt(_sum_of_squares(row, mean) / count + eps[0])
        for c in range(len(row)):
            target[c] = (row[c] - mean) * inverse_std * weight[c] + bias[c]
        means[r], inverse_stds[r] = mean, inverse_std


@kernel
def _layer_norm_backward(
    start: int, stop: int, g: Array, x: Array, weight: Array, means: Array, inverse_stds: Array,
    gx: Array, partial: Array,
) -> None:  # fmt: skip
    """Item = one partial sum for the parameters, ``partial`` is (parts, 2, C)."""
    rows, channels = x.shape
    count = x.dtype.type(channels)
    products, totals = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
    for part in range(start, stop):
        by_weight, by_bias = partial[part, 0], partial[part, 1]
        by_weight[:], by_bias[:] = 0, 0
        first, last = rows * part // len(partial), rows * (part + 1) // len(partial)
        for r in range(first, last):
            row, given, target = x[r], g[r], gx[r]
            mean, inverse_std = means[r], inverse_stds[r]
            total, product = _sums(given, row, weight, mean)
            shift, slope = total / count, product / count * inverse_std * inverse_std
            for c in range(channels):
                centered = row[c] - mean
                target[c] = inverse_std * (given[c] * weight[c] - shift - centered * slope)
                products[c] += given[c] * (centered * inverse_std)
                totals[c] += given[c]
            if r == last - 1 or (r - first) % _RUN_ROWS == _RUN_ROWS - 1:
                for c in range(channels):
                    by_weight[c] += products[c]
                    by_bias[c] += totals[c]
                products[:], totals[:] = 0, 0


def _supported(*arrays: Array | None) -> bool:
    dtypes = {array.dtype for array in arrays if array is not None}
    return len(dtypes) == 1 and dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """See `lucid.kernels.reference.layer_norm.layer_norm`."""
    if not x.size or not _supported(x, weight, bias):
        recording.refuse("layer normalization in NumPy")
        return reference.layer_norm(x, weight, bias, eps)
    if not x.flags.carray:
        recording.refuse("a copy of rows")
    rows, channels = x.shape
    by = np.ones(channels, x.dtype) if weight is None else dense(weight)
    added = np.zeros(channels, x.dtype) if bias is None else dense(bias)
    y = empty(x.shape, x.dtype)
    mean, inverse_std = empty((rows,), x.dtype), empty((rows,), x.dtype)
    parallel_for(
        _layer_norm, rows, dense(x), by, added, np.array([eps], x.dtype), y, mean, inverse_std,
        grain=grain_of(4 * channels),
    )  # fmt: skip
    return y, mean, inverse_std


def layer_norm_backward(
    g: Array, x: Array, weight: Array | None, mean: Array, inverse_std: Array
) -> tuple[Array, Array, Array]:
    """See `lucid.kernels.reference.layer_norm.layer_norm_backward`."""
    if not x.size or not _supported(g, x, weight, mean, inverse_std):
        return reference.layer_norm_backward(g, x, weight, mean, inverse_std)
    rows, channels = x.shape
    by = np.ones(channels, x.dtype) if weight is None else dense(weight)
    gx = empty(x.shape, x.dtype)
    partial = empty((min(_PARTS, -(-rows // _RUN_ROWS)), 2, channels), np.float64)
    parallel_for(
        _layer_norm_backward, len(partial), dense(g), dense(x), by, dense(mean),
        dense(inverse_std), gx, partial, grain=grain_of(8 * x.size // len(partial)),
    )  # fmt: skip
    gweight, gbias = partial.sum(axis=0).astype(x.dtype)
    return gx, gweight, gbias
