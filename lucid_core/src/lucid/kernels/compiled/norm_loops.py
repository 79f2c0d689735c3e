"""Loops of batch normalization over (M, C) rows; see :mod:`.norm`.

They index the arrays of all threads element by element: a slice would count a reference to their
memory, and threads that count the same references wait for each other.
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.activation import RELU, apply_activation, apply_derivative
from lucid.kernels.compiled.jit import Array, kernel, routine

__all__ = ["affine_gradients", "apply", "moments", "norm_input_gradient", "norm_sums"]

# Rows summed in the dtype of the input, and rows per update of the sums.
_RUN_ROWS = 16
_UNROLL = 4


@routine
def _fold(total: Array, other: Array, sums: Array) -> None:
    """Add two sums over a run of rows to the float64 sums, and reset them."""
    for c in range(len(total)):
        sums[0, c] += total[c]
        sums[1, c] += other[c]
    total[:] = 0
    other[:] = 0


@routine
def _store(sums: Array, partial: Array, i: int) -> None:
    """Store the float64 sums as partial sum ``i``, and reset them."""
    for k in range(2):
        for c in range(sums.shape[1]):
            partial[i, k, c] = sums[k, c]
    sums[:] = 0


@routine
def _add_moments(
    first: int, last: int, x: Array, pivot: Array, total: Array, square: Array
) -> None:
    """Add ``x - pivot`` and its square over some rows."""
    channels = x.shape[1]
    tail = last - (last - first) % _UNROLL
    for r in range(first, tail, _UNROLL):
        for c in range(channels):
            t, s = total[c], square[c]
            for k in range(_UNROLL):
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
    """Add ``g`` and ``g * (x - mean)`` over some rows."""
    channels = x.shape[1]
    tail = last - (last - first) % _UNROLL
    for r in range(first, tail, _UNROLL):
        for c in range(channels):
            t, p = total[c], product[c]
            for k in range(_UNROLL):
                t += g[r + k, c]
                p += g[r + k, c] * (x[r + k, c] - mean[c])
            total[c], product[c] = t, p
    for r in range(tail, last):
        for c in range(channels):
            total[c] += g[r, c]
            product[c] += g[r, c] * (x[r, c] - mean[c])


@routine
def _add_masked_products(
    first: int, last: int, g: Array, x: Array, mean: Array, scale: Array, shift: Array,
    total: Array, product: Array,
) -> None:  # fmt: skip
    """As `_add_products` with ``g`` masked by ReLU, whose input rounds as in `apply`."""
    channels = x.shape[1]
    zero = g.dtype.type(0)
    tail = last - (last - first) % _UNROLL
    for r in range(first, tail, _UNROLL):
        for c in range(channels):
            t, p = total[c], product[c]
            for k in range(_UNROLL):
                centered = x[r + k, c] - mean[c]
                d = zero if centered * scale[c] + shift[c] <= 0 else g[r + k, c]
                t += d
                p += d * centered
            total[c], product[c] = t, p
    for r in range(tail, last):
        for c in range(channels):
            centered = x[r, c] - mean[c]
            d = zero if centered * scale[c] + shift[c] <= 0 else g[r, c]
            total[c] += d
            product[c] += d * centered


@kernel
def moments(start: int, stop: int, x: Array, pivot: Array, partial: Array) -> None:
    """Sum ``x - pivot`` and its square; item = one partial sum."""
    rows, channels = x.shape
    total, square = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
    sums = np.zeros((2, channels))
    for i in range(start, stop):
        end = rows * (i + 1) // len(partial)
        for first in range(rows * i // len(partial), end, _RUN_ROWS):
            _add_moments(first, min(first + _RUN_ROWS, end), x, pivot, total, square)
            _fold(total, square, sums)
        _store(sums, partial, i)


@kernel
def apply(
    start: int, stop: int, x: Array, center: Array, scale: Array, shift: Array, residual: Array,
    y: Array, code: int, with_residual: bool,
) -> None:  # fmt: skip
    """Compute ``act((x - center) * scale + shift + residual)``; item = one row."""
    channels = x.shape[1]
    zero = y.dtype.type(0)  # a plain 0 would promote to float64
    v = np.empty(channels, y.dtype)
    for r in range(start, stop):
        # "0 if v < 0", not "v if v > 0": NaN must propagate
        if code == RELU and with_residual:
            for c in range(channels):
                t = (x[r, c] - center[c]) * scale[c] + shift[c] + residual[r, c]
                y[r, c] = zero if t < 0 else t
        elif code == RELU:
            for c in range(channels):
                t = (x[r, c] - center[c]) * scale[c] + shift[c]
                y[r, c] = zero if t < 0 else t
        elif code == 0 and with_residual:
            for c in range(channels):
                y[r, c] = (x[r, c] - center[c]) * scale[c] + shift[c] + residual[r, c]
        elif code == 0:
            for c in range(channels):
                y[r, c] = (x[r, c] - center[c]) * scale[c] + shift[c]
        else:
            for c in range(channels):
                v[c] = (x[r, c] - center[c]) * scale[c] + shift[c]
            if with_residual:
                for c in range(channels):
                    v[c] += residual[r, c]
            apply_activation(v, code)
            for c in range(channels):
                y[r, c] = v[c]


@routine
def _add_kept_products(
    first: int, last: int, g: Array, x: Array, y: Array, mean: Array, scale: Array, shift: Array,
    code: int, with_residual: bool, inner: Array, d: Array, total: Array, product: Array,
) -> None:  # fmt: skip
    """As `_add_products` with the gradient of the activation's input, written to ``inner``.

    Except for ReLU, the input is recomputed and rounds as in `apply`.  ``inner`` may be ``g``.
    """
    # Loops over few arrays, since compilers give up if too many pairs of arrays may overlap.
    channels = x.shape[1]
    zero = g.dtype.type(0)
    for r in range(first, last):
        if code == RELU:
            for c in range(channels):
                d[c] = zero if y[r, c] <= 0 else g[r, c]
        else:
            for c in range(channels):
                d[c] = (x[r, c] - mean[c]) * scale[c] + shift[c]
            if with_residual:
                for c in range(channels):
                    d[c] += y[r, c]
            apply_derivative(d, code)
            for c in range(channels):
                d[c] *= g[r, c]
        for c in range(channels):
            inner[r, c] = d[c]
        for c in range(channels):
            total[c] += d[c]
            product[c] += d[c] * (x[r, c] - mean[c])


@kernel
def norm_sums(
    start: int, stop: int, g: Array, x: Array, y: Array, mean: Array, scale: Array, shift: Array,
    masked: Array, partial: Array, code: int, with_residual: bool, donate: bool,
) -> None:  # fmt: skip
    """Sum the activation's input gradient and its product with ``x - mean``; item = one sum.

    The gradient is written to ``masked`` (with ``donate``, to ``g``), except without an activation
    or for ReLU without a residual, which `norm_input_gradient` recomputes.
    ``y`` is the output for ReLU after a residual, and the residual for other activations.
    """
    rows, channels = x.shape
    keep = code > RELU or (code == RELU and with_residual)
    inner = g if donate else masked
    d, sums = np.zeros(channels, x.dtype), np.zeros((2, channels))
    total, product = np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
    for i in range(start, stop):
        end = rows * (i + 1) // len(partial)
        for first in range(rows * i // len(partial), end, _RUN_ROWS):
            last = min(first + _RUN_ROWS, end)
            if keep:
                _add_kept_products(
                    first, last, g, x, y, mean, scale, shift, code, with_residual, inner, d, total,
                    product,
                )  # fmt: skip
            elif code == RELU:
                _add_masked_products(first, last, g, x, mean, scale, shift, total, product)
            else:
                _add_products(first, last, g, x, mean, total, product)
            _fold(total, product, sums)
        _store(sums, partial, i)


@kernel
def norm_input_gradient(
    start: int, stop: int, g: Array, x: Array, mean: Array, scale: Array, shift: Array,
    g_scale: Array, x_scale: Array, offset: Array, gx: Array, relu: bool, donate: bool,
) -> None:  # fmt: skip
    """Compute ``g_scale * g - x_scale * (x - mean) - offset``; item = one row.

    With ``donate`` it overwrites ``g``; with ``relu``, ``g`` is masked by ReLU first.
    """
    # Passing g as gx instead would not vectorize, since the compiler must assume any overlap.
    channels = x.shape[1]
    zero = g.dtype.type(0)
    for r in range(start, stop):
        if relu and donate:
            for c in range(channels):
                centered = x[r, c] - mean[c]
                d = zero if centered * scale[c] + shift[c] <= 0 else g[r, c]
                g[r, c] = g_scale[c] * d - x_scale[c] * centered - offset[c]
        elif donate:
            for c in range(channels):
                g[r, c] = g_scale[c] * g[r, c] - x_scale[c] * (x[r, c] - mean[c]) - offset[c]
        elif relu:
            for c in range(channels):
                centered = x[r, c] - mean[c]
                d = zero if centered * scale[c] + shift[c] <= 0 else g[r, c]
                gx[r, c] = g_scale[c] * d - x_scale[c] * centered - offset[c]
        else:
            for c in range(channels):
                gx[r, c] = g_scale[c] * g[r, c] - x_scale[c] * (x[r, c] - mean[c]) - offset[c]


@kernel
def affine_gradients(
    start: int, stop: int, g: Array, x: Array, y: Array, scale: Array, gx: Array, masked: Array,
    partial: Array, relu: bool, keep: bool, with_scale: bool,
) -> None:  # fmt: skip
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
