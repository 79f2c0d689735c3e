"""Depthwise convolution: each channel by its own filter, without tables of addresses.

A function computes a block of adjacent output pixels and vectors of channels in registers: for
each tap, a vector of weights is loaded once for all pixels.  Pixels whose window leaves the image
are computed one at a time, without the taps in the padding.  If the channels are not a multiple of
the vector length, the last vector overlaps the one before.

Fewer channels than a vector and residuals are left to :mod:`.grouped_conv`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from lucid.kernels.compiled.epilogue import emit_activation
from lucid.kernels.compiled.jit import Array, dense, grain_of, kernel
from lucid.kernels.compiled.vector_ir import (
    VL,
    call_selected,
    constant,
    load_vector,
    multiply_add,
    new_function,
    store_vector,
)
from lucid.kernels.threads import parallel_for

__all__ = [
    "PIXELS",
    "SINGLE",
    "VECTORS",
    "convolve_depthwise",
    "is_supported",
    "multiply",
    "pack_depthwise",
]

Pair = tuple[int, int]

#: Pixels and vectors of the blocks, by index; index + SINGLE is the block of a single pixel.
_BLOCKS = ((4, 2), (4, 1), (1, 2), (1, 1))
PIXELS, VECTORS = _BLOCKS[0]
SINGLE = 2
_ARGUMENTS = 13


def is_supported(channels: int, outputs: int, groups: int) -> bool:
    """Return whether these numbers of channels suit the kernel."""
    return channels == outputs == groups and channels >= VL


def pack_depthwise(w: Array) -> Array:
    """Rearrange a weight (C, kH, kW, 1) to (kH, kW, C)."""
    return np.ascontiguousarray(w[..., 0].transpose(1, 2, 0))


def _emit(module: Any, pixels: int, vectors: int) -> Any:
    """Return the function for blocks of some pixels and vectors; see :func:`_multiply`."""
    name = f"lucid_depthwise_{pixels}x{vectors}x{VL}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, _ARGUMENTS)
    (
        x, x_row, x_tap, x_pixel, rows, columns, w, w_row, w_tap, bias, y, y_pixel, flags,
    ) = function.args  # fmt: skip
    entry, outer, inner, following, out = (
        function.append_basic_block(label) for label in ("entry", "row", "tap", "next", "out")
    )
    b = ir.IRBuilder(entry)
    initial = [load_vector(b, bias, 4 * VL * j) for j in range(vectors)] * pixels
    b.branch(outer)

    b = ir.IRBuilder(outer)
    outer_phis = [b.phi(value.type) for value in (rows, x, w, *initial)]
    b.branch(inner)

    b = ir.IRBuilder(inner)
    inner_phis = [b.phi(phi.type) for phi in (columns, *outer_phis[1:])]
    left, source, weight, *sums = inner_phis
    by = [load_vector(b, weight, 4 * VL * j) for j in range(vectors)]
    summed = []
    for i in range(pixels):
        at = b.add(source, b.mul(x_pixel, constant(i))) if i else source
        for j in range(vectors):
            value = load_vector(b, at, 4 * VL * j)
            summed.append(multiply_add(b, value, by[j], sums[i * vectors + j]))
    inner_next = [
        b.sub(left, constant(1)), b.add(source, x_tap), b.add(weight, w_tap), *summed,
    ]  # fmt: skip
    b.cbranch(b.icmp_signed(">", inner_next[0], constant(0)), inner, following)

    b = ir.IRBuilder(following)
    outer_next = [
        b.sub(outer_phis[0], constant(1)),
        b.add(outer_phis[1], x_row),
        b.add(outer_phis[2], w_row),
        *summed,
    ]
    b.cbranch(b.icmp_signed(">", outer_next[0], constant(0)), outer, out)

    for phi, first, next_ in zip(outer_phis, (rows, x, w, *initial), outer_next, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(next_, following)
    begins = (columns, *outer_phis[1:])
    for phi, first, next_ in zip(inner_phis, begins, inner_next, strict=True):
        phi.add_incoming(first, outer)
        phi.add_incoming(next_, inner)

    b = ir.IRBuilder(out)
    for n, value in enumerate(emit_activation(b, flags, summed)):
        i, j = divmod(n, vectors)
        at = b.add(y, b.mul(y_pixel, constant(i))) if i else y
        store_vector(b, value, at, 4 * VL * j)
    b.ret_void()
    return function


def _multiply(
    context: Any, block: Any, x: Any, x_row: Any, x_tap: Any, x_pixel: Any, rows: Any,
    columns: Any, w: Any, w_row: Any, w_tap: Any, bias: Any, y: Any, y_pixel: Any, flags: Any,
) -> Any:  # fmt: skip
    """Compute a block of `_BLOCKS`, given by its index, over ``rows`` x ``columns`` taps.

    All arguments are int64: addresses of the first element, and strides in bytes.
    """
    emitters = {n: partial(_emit, pixels=p, vectors=v) for n, (p, v) in enumerate(_BLOCKS)}
    return call_selected(emitters, _ARGUMENTS)


multiply: Any = intrinsic(_multiply)


@kernel
def _convolve(
    start: int, stop: int, x: Array, w: Array, bias: Array, y: Array, stride: Pair,
    padding: Pair, dilation: Pair, flags: int,
) -> None:  # fmt: skip
    """Item = one row of the output; x (N, H, W, C), w (kH, kW, C), y (N, Ho, Wo, C)."""
    _, height, width, channels = x.shape
    kh, kw, _ = w.shape
    _, out_h, out_w, _ = y.shape
    x_tap, x_pixel, y_pixel = dilation[1] * channels * 4, stride[1] * channels * 4, channels * 4
    x_row, w_row, w_tap = dilation[0] * width * channels * 4, kw * channels * 4, channels * 4
    reach = (kw - 1) * dilation[1]
    zeros = np.zeros(channels, np.float32)
    # Pixels whose window is inside of the row.
    inside0 = min(-(-padding[1] // stride[1]), out_w)
    inside1 = max(inside0, min((width - 1 - reach + padding[1]) // stride[1] + 1, out_w))
    for item in range(start, stop):
        n, oy = item // out_h, item % out_h
        iy = oy * stride[0] - padding[0]
        row0 = max(0, -(iy // dilation[0])) if iy < 0 else 0
        row1 = min(kh, -(-(height - iy) // dilation[0]))
        rows = row1 - row0
        image = x.ctypes.data + (n * height + iy + row0 * dilation[0]) * width * y_pixel
        weights = w.ctypes.data + row0 * w_row
        target = y.ctypes.data + item * out_w * y_pixel
        c = 0
        while c < channels:
            if c + VECTORS * VL <= channels:
                widest, following = 0, c + VECTORS * VL
            elif c + VL <= channels:
                widest, following = 1, c + VL
            else:  # overlaps the vector before
                c = channels - VL
                widest, following = 1, channels
            to_bias = bias.ctypes.data + c * 4
            ox = 0
            while ox < out_w:
                ix = ox * stride[1] - padding[1]
                column0, column1, block, count = 0, kw, widest, PIXELS
                if ox < inside0 or ox >= inside1 or ox + PIXELS > inside1:
                    block, count = widest + SINGLE, 1
                    if ix < 0:
                        column0 = -(ix // dilation[1])
                    column1 = min(kw, -(-(width - ix) // dilation[1]))
                if rows > 0 and column1 > column0:
                    multiply(
                        block, image + (ix + column0 * dilation[1]) * y_pixel + c * 4, x_row,
                        x_tap, x_pixel, rows, column1 - column0,
                        weights + column0 * w_tap + c * 4, w_row, w_tap, to_bias,
                        target + ox * y_pixel + c * 4, y_pixel, flags,
                    )  # fmt: skip
                else:  # the window is outside of the image
                    multiply(
                        widest + SINGLE, zeros.ctypes.data + c * 4, 0, 0, 0, 1, 1,
                        zeros.ctypes.data + c * 4, 0, 0, to_bias,
                        target + ox * y_pixel + c * 4, y_pixel, flags,
                    )  # fmt: skip
                    count = 1
                ox += count
            c = following


def convolve_depthwise(
    x: Array,
    w: Array,
    bias: Array | None,
    activation: int,
    y: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """Convolve over all positions of ``y``.

    Parameters
    ----------
    x : numpy.ndarray
        (N, H, W, C), contiguous float32.
    w : numpy.ndarray
        Weight (kH, kW, C) from :func:`pack_depthwise`.
    bias : numpy.ndarray, optional
        Shape (C,).
    activation : int
        Code of the activation.
    y : numpy.ndarray
        Result, (N, Ho, Wo, C), contiguous.
    stride, padding, dilation : (int, int)
        ``padding`` is that above and to the left; it may be negative.
    """
    n, rows, columns, channels = y.shape
    given = np.zeros(channels, np.float32) if bias is None else dense(bias, np.dtype(np.float32))
    work = columns * channels * w.shape[0] * w.shape[1]
    parallel_for(
        _convolve, n * rows, x, w, given, y, stride, padding, dilation, activation,
        grain=grain_of(work),
    )  # fmt: skip
