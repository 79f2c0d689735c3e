"""Batch normalization and its frozen form, fused with a residual sum and an activation.

Images are seen as (M, C) rows of channels, M = N * H * W, so every inner loop
runs over channels that lie side by side.  Sums over rows are taken in float64 as
partial sums whose number depends on M alone: the result is the same to the bit
for any number of threads.  A short run of rows is summed in the type of the
values first: to convert each of them would take longer than to read them.

All of this waits for memory more than it computes.  So where ReLU's mask can be
had from x, the output is not read again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.kernels.compiled.activation import CODES, RELU, apply_activation, take_derivative
from lucid.kernels.compiled.jit import Array, dense, float_type, grain_of, kernel, nhwc, routine
from lucid.kernels.memory import empty
from lucid.kernels.threads import parallel_for

_ROWS_PER_PARTIAL = 64
_MAX_PARTIALS = 64
# Rows that are summed in the type of the values, and how many of them at each visit to the sums.
_RUN = 16
_VISIT = 4


@routine
def _fold(total: Array, other: Array, sums: Array) -> None:
    """Move two sums over a run of rows on to those in float64."""
    for c in range(len(total)):
        sums[0, c] += total[c]
        sums[1, c] += other[c]
    total[:] = 0
    other[:] = 0


@routine
def _add_moments(
    first: int, last: int, x: Array, pivot: Array, total: Array, square: Array
) -> None:
    """Add rows of ``x - pivot``, and their squares."""
    channels = x.shape[1]
    tail = last - (last - first) % _VISIT
    for r in range(first, tail, _VISIT):
        for c in range(channels):
            t, s = total[c], square[c]
            for k in range(_VISIT):
                d = x[r + k, c] - pivot[c]
                t += d
                s += d * d
            total[c], square[c] = t, s
    for r in range(tail, last):
        for c in range(channels):
            d = x[r, c] - pivot[c]
            total[c] += d
            square[c] += d * d


@routine
def _add_products(
    first: int, last: int, g: Array, x: Array, mean: Array, total: Array, product: Array
) -> None:
    """Add rows of ``g``, and their products with ``x - mean``."""
    channels = x.shape[1]
    tail = last - (last - first) % _VISIT
    for r in range(first, tail, _VISIT):
        for c in range(channels):
            t, p = total[c], product[c]
            for k in range(_VISIT):
                t += g[r + k, c]
                p += g[r + k, c] * (x[r + k, c] - mean[c])
            total[c], product[c] = t, p
    for r in range(tail, last):
        for c in range(channels):
            total[c] += g[r, c]
            product[c] += g[r, c] * (x[r, c] - mean[c])


@routine
def _add_masked_products(
    first: int,
    last: int,
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    total: Array,
    product: Array,
) -> None:
    """As `_add_products`, but of ``g`` only what ReLU let through: `_apply`'s very numbers."""
    channels = x.shape[1]
    zero = g.dtype.type(0)
    tail = last - (last - first) % _VISIT
    for r in range(first, tail, _VISIT):
        for c in range(channels):
            t, p = total[c], product[c]
            for k in range(_VISIT):
                centred = x[r + k, c] - mean[c]
                d = zero if centred * scale[c] + shift[c] <= 0 else g[r + k, c]
                t += d
                p += d * centred
            total[c], product[c] = t, p
    for r in range(tail, last):
        for c in range(channels):
            centred = x[r, c] - mean[c]
            d = zero if centred * scale[c] + shift[c] <= 0 else g[r, c]
            total[c] += d
            product[c] += d * centred


@kernel
def _moments(start: int, stop: int, x: Array, pivot: Array, partial: Array) -> None:
    """Sums of ``x - pivot`` and of its square; item = one partial sum."""
    rows, channels = x.shape
    total, square = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
    for i in range(start, stop):
        partial[i] = 0
        end = rows * (i + 1) // len(partial)
        for first in range(rows * i // len(partial), end, _RUN):
            _add_moments(first, min(first + _RUN, end), x, pivot, total, square)
            _fold(total, square, partial[i])


@kernel
def _apply(
    start: int,
    stop: int,
    x: Array,
    centre: Array,
    scale: Array,
    shift: Array,
    residual: Array,
    y: Array,
    code: int,
    with_residual: bool,
) -> None:
    """``act((x - centre) * scale + shift + residual)``; item = one row."""
    channels = x.shape[1]
    zero = y.dtype.type(0)  # a plain 0 would turn what it meets into float64
    for r in range(start, stop):
        # "0 if v < 0" and not "v if v > 0": NaN must come through
        if code == RELU and with_residual:
            for c in range(channels):
                v = (x[r, c] - centre[c]) * scale[c] + shift[c] + residual[r, c]
                y[r, c] = zero if v < 0 else v
        elif code == RELU:
            for c in range(channels):
                v = (x[r, c] - centre[c]) * scale[c] + shift[c]
                y[r, c] = zero if v < 0 else v
        elif with_residual:
            for c in range(channels):
                y[r, c] = (x[r, c] - centre[c]) * scale[c] + shift[c] + residual[r, c]
        else:
            for c in range(channels):
                y[r, c] = (x[r, c] - centre[c]) * scale[c] + shift[c]
        if code > RELU:
            apply_activation(y[r], code)


@routine
def _add_activated_products(
    first: int,
    last: int,
    g: Array,
    x: Array,
    residual: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    code: int,
    with_residual: bool,
    inner: Array,
    slope: Array,
    total: Array,
    product: Array,
) -> None:
    """As `_add_products`, of ``g`` times the activation's derivative, written to ``inner``.

    The input of the activation is computed again, just as `_apply` did; ``inner`` may be ``g``.
    """
    channels = x.shape[1]
    for r in range(first, last):
        for c in range(channels):
            slope[c] = (x[r, c] - mean[c]) * scale[c] + shift[c]
        if with_residual:
            for c in range(channels):
                slope[c] += residual[r, c]
        take_derivative(slope, code)
        for c in range(channels):
            d = slope[c] * g[r, c]
            inner[r, c] = d
            total[c] += d
            product[c] += d * (x[r, c] - mean[c])


@kernel
def _norm_sums(
    start: int,
    stop: int,
    g: Array,
    x: Array,
    y: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    masked: Array,
    partial: Array,
    code: int,
    with_residual: bool,
    over: bool,
) -> None:
    """Sums of the activation's input gradient and its product with ``x - mean``; item = one sum.

    That gradient is written to ``masked`` (with ``over``, to ``g``), except without an activation
    or for ReLU without a residual, whose input is computed again, just as `_apply` did.
    ``y`` is the output for ReLU after a residual, and the residual for other activations.
    """
    rows, channels = x.shape
    zero = g.dtype.type(0)
    keep = code == RELU and with_residual
    slope = np.zeros(channels, x.dtype)
    inner = g if over else masked
    total, product = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
    for i in range(start, stop):
        partial[i] = 0
        end = rows * (i + 1) // len(partial)
        for first in range(rows * i // len(partial), end, _RUN):
            last = min(first + _RUN, end)
            if code > RELU:
                _add_activated_products(
                    first, last, g, x, y, mean, scale, shift, code, with_residual, inner, slope,
                    total, product,
                )  # fmt: skip
            elif keep and over:
                for r in range(first, last):
                    for c in range(channels):
                        d = zero if y[r, c] <= 0 else g[r, c]
                        g[r, c] = d
                        total[c] += d
                        product[c] += d * (x[r, c] - mean[c])
            elif keep:
                for r in range(first, last):
                    for c in range(channels):
                        d = zero if y[r, c] <= 0 else g[r, c]
                        masked[r, c] = d
                        total[c] += d
                        product[c] += d * (x[r, c] - mean[c])
            elif code == RELU:
                _add_masked_products(first, last, g, x, mean, scale, shift, total, product)
            else:
                _add_products(first, last, g, x, mean, total, product)
            _fold(total, product, partial[i])


@kernel
def _norm_input_gradient(
    start: int,
    stop: int,
    g: Array,
    x: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    slope: Array,
    tilt: Array,
    offset: Array,
    gx: Array,
    relu: bool,
    over: bool,
) -> None:
    """``slope * g - tilt * (x - mean) - offset``, with ``over`` in place of ``g``; item = one row.

    With ``relu``, only what it let through counts of ``g``: `_apply`'s very numbers.
    """
    # To pass g as gx would do the same, but not in vectors: they could overlap in any way.
    channels = x.shape[1]
    zero = g.dtype.type(0)
    for r in range(start, stop):
        if relu and over:
            for c in range(channels):
                centred = x[r, c] - mean[c]
                d = zero if centred * scale[c] + shift[c] <= 0 else g[r, c]
                g[r, c] = slope[c] * d - tilt[c] * centred - offset[c]
        elif over:
            for c in range(channels):
                g[r, c] = slope[c] * g[r, c] - tilt[c] * (x[r, c] - mean[c]) - offset[c]
        elif relu:
            for c in range(channels):
                centred = x[r, c] - mean[c]
                d = zero if centred * scale[c] + shift[c] <= 0 else g[r, c]
                gx[r, c] = slope[c] * d - tilt[c] * centred - offset[c]
        else:
            for c in range(channels):
                gx[r, c] = slope[c] * g[r, c] - tilt[c] * (x[r, c] - mean[c]) - offset[c]


@kernel
def _affine_gradients(
    start: int,
    stop: int,
    g: Array,
    x: Array,
    y: Array,
    scale: Array,
    gx: Array,
    masked: Array,
    partial: Array,
    relu: bool,
    keep: bool,
    with_scale: bool,
) -> None:
    """Input gradient, and sums of the masked gradient and its product with x; item = one sum."""
    rows, channels = g.shape
    zero = g.dtype.type(0)
    for i in range(start, stop):
        for c in range(channels):
            partial[i, 0, c] = 0
            partial[i, 1, c] = 0
        for r in range(rows * i // len(partial), rows * (i + 1) // len(partial)):
            if with_scale:
                for c in range(channels):
                    d = zero if relu and y[r, c] <= 0 else g[r, c]
                    partial[i, 1, c] += d * x[r, c]
            if keep:
                for c in range(channels):
                    masked[r, c] = zero if relu and y[r, c] <= 0 else g[r, c]
            for c in range(channels):
                d = zero if relu and y[r, c] <= 0 else g[r, c]
                partial[i, 0, c] += d
                gx[r, c] = d * scale[c]


def _rows(array: Array, dtype: np.dtype[Any]) -> Array:
    """A (N, C, H, W) array as (M, C)."""
    n, c, h, w = array.shape
    return nhwc(array, dtype).reshape(n * h * w, c)


def _image(rows: Array, shape: tuple[int, ...]) -> Array:
    """The other way round."""
    n, c, h, w = shape
    return rows.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _nothing(dtype: np.dtype[Any]) -> Array:
    """Stands for an array that is not there: the kernel's types stay the same."""
    return np.empty((0, 0), dtype)


def _partials(rows: int, channels: int) -> Array:
    """Room for two sums a channel, in a number of parts that threads have no say in."""
    count = min(max(rows // _ROWS_PER_PARTIAL, 1), _MAX_PARTIALS)
    return np.empty((count, 2, channels))


def _sum_rows(kernel: Any, shape: tuple[int, int], *args: Any) -> Array:
    """Run a kernel that fills partial sums, and add them up: float64 (2, C).

    The partial sums stand where ``args`` holds None.
    """
    rows, channels = shape
    partial = _partials(rows, channels)
    args = tuple(partial if arg is None else arg for arg in args)
    grain = grain_of(rows * channels // len(partial))
    parallel_for(kernel, len(partial), *args, grain=grain)
    total: Array = partial.sum(0)
    return total


def _activate(
    x: Array,
    centre: Array,
    scale: Array,
    shift: Array,
    residual: Array | None,
    activation: str | None,
) -> Array:
    dtype = float_type(x)
    rows = _rows(x, dtype)
    y = empty(rows.shape, dtype)
    other = _nothing(dtype) if residual is None else _rows(residual, dtype)
    vectors = (dense(vector, dtype) for vector in (centre, scale, shift))
    work = (rows, *vectors, other, y, CODES[activation], residual is not None)
    parallel_for(_apply, len(rows), *work, grain=grain_of(rows.shape[1]))
    return _image(y, x.shape)


def affine_act(
    x: Array, scale: Array, shift: Array, residual: Array | None, activation: str | None
) -> Array:
    """See `lucid.kernels.reference.norm.affine_act`."""
    return _activate(x, np.zeros(x.shape[1], x.dtype), scale, shift, residual, activation)


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go their way in silence
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
    pivot = _typical(rows) if len(rows) else np.zeros(channels, dtype)
    total, square = _sum_rows(_moments, rows.shape, rows, pivot, None)
    shifted = total / pixels
    mean = pivot + shifted
    variance = np.maximum(square / pixels - shifted * shifted, 0)
    inverse_std = 1 / np.sqrt(variance + eps)
    scale = inverse_std if weight is None else weight * inverse_std
    # Subtracting the mean first is exact where x is close to it, however far from 0 both are;
    # what rounding took from the mean goes into the shift.
    centre = mean.astype(dtype)
    shift = (centre - mean) * scale
    line = np.stack([scale, shift if bias is None else shift + bias]).astype(dtype)
    y = _activate(x, centre, line[0], line[1], residual, activation)
    return y, centre, variance.astype(dtype), inverse_std.astype(dtype), line


def _typical(rows: Array) -> Array:
    """A value of each channel to take its moments about: the middle one of three.

    Sums about a value among the others lose nothing to a mean far from 0, and of
    three values one may lie far from all others.
    """
    first, middle, last = rows[0], rows[len(rows) // 2], rows[-1]
    low, high = np.minimum(first, last), np.maximum(first, last)
    typical: Array = np.maximum(low, np.minimum(middle, high))
    return typical


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go their way in silence
def batch_norm_backward(
    g: Array,
    x: Array,
    y: Array | None,
    weight: Array | None,
    mean: Array,
    inverse_std: Array,
    line: Array,
    activation: str | None,
    with_residual: bool,
    over: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """See `lucid.kernels.reference.norm.batch_norm_backward`."""
    dtype = float_type(x)
    g_rows, x_rows = _rows(g, dtype), _rows(x, dtype)
    code, over, with_residual = CODES[activation], bool(over), bool(with_residual)
    keep, relu = code > RELU or (code == RELU and with_residual), code == RELU
    wanted = code and with_residual and y is not None
    y_rows = _rows(y, dtype) if wanted and y is not None else _nothing(dtype)
    masked = empty(x_rows.shape, dtype) if keep and not over else _nothing(dtype)
    applied = [dense(vector, dtype) for vector in (mean, *line)]
    arrays = (g_rows, x_rows, y_rows, *applied, masked, None)
    gbias, product = _sum_rows(_norm_sums, x_rows.shape, *arrays, code, with_residual, over)
    if keep:
        g_rows, relu = g_rows if over else masked, False
    pixels, channels = max(1, len(x_rows)), x_rows.shape[1]
    slope = inverse_std.astype(np.float64) * (1 if weight is None else weight)
    tilt = slope * inverse_std.astype(np.float64) ** 2 * product / pixels
    offset = slope * gbias / pixels
    # What the residual gets is not to be written over.
    over = (over or keep) and not with_residual
    gx = _nothing(dtype) if over else empty(x_rows.shape, dtype)
    factors = (dense(values, dtype) for values in (slope, tilt, offset))
    work = (g_rows, x_rows, *applied, *factors, gx, relu, over)
    parallel_for(_norm_input_gradient, len(x_rows), *work, grain=grain_of(channels))
    return (
        _image(g_rows if over else gx, x.shape),
        (product * inverse_std).astype(dtype),
        gbias.astype(dtype),
        _image(g_rows, x.shape) if with_residual else None,
    )


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go their way in silence
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
    x_rows = _nothing(dtype) if x is None else _rows(x, dtype)
    y_rows = _rows(y, dtype) if relu and y is not None else _nothing(dtype)
    keep = relu and bool(with_residual)
    masked = empty(g_rows.shape, dtype) if keep else _nothing(dtype)
    gx = empty(g_rows.shape, dtype)
    arrays = (g_rows, x_rows, y_rows, dense(scale, dtype), gx, masked, None)
    gshift, gscale = _sum_rows(_affine_gradients, g_rows.shape, *arrays, relu, keep, x is not None)
    return (
        _image(gx, g.shape),
        None if x is None else gscale.astype(dtype),
        gshift.astype(dtype),
        _image(masked if keep else g_rows, g.shape) if with_residual else None,
    )
