"""Gradients of depthwise convolution: of the input, and of the weight.

**Input.**  A pixel reads the output gradients at every stride-th tap along both axes, so the pixels
of one phase of the stride are a convolution of stride 1, with the blocks of :mod:`.depthwise`.

**Weight.**  For one column of taps, the output pixels of a row whose tap is inside of the image
are a range.  A function sums products over it in registers, for a vector of channels and up to
three rows of taps.  Sums over some rows of the images are private to a thread and are added in the
end; their number depends on the shapes and not on the threads, so results are bitwise equal for
any number of threads.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from lucid.kernels.compiled.depthwise import PIXELS, SINGLE, VECTORS, multiply
from lucid.kernels.compiled.jit import Array, grain_of, kernel, routine
from lucid.kernels.compiled.vector_ir import (
    VL,
    call_selected,
    constant,
    load_vector,
    multiply_add,
    new_function,
    splat,
    store_vector,
)
from lucid.kernels.compiled.weight_gradient import sum_partials
from lucid.kernels.memory import empty
from lucid.kernels.threads import parallel_for

__all__ = ["depthwise_input_gradient", "depthwise_weight_gradient", "sum_products"]

Pair = tuple[int, int]

#: Rows of taps of a function, and pixels that it sums separately to hide the latency.
_TAPS = {1: 4, 2: 4, 3: 2}
_MOST_TAPS = max(_TAPS)
_ARGUMENTS = 8
# Memory of private sums, and their number.
_PART_BYTES = 1 << 21
_MAX_PARTS = 64


def _emit(module: Any, taps: int, pixels: int) -> Any:
    """Return the function for some rows of taps; see :func:`_sum_products`."""
    name = f"lucid_depthwise_sums_{taps}x{VL}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, _ARGUMENTS)
    x, x_row, x_pixel, g, g_pixel, count, sums, sums_row = function.args
    entry, main, middle, rest, out = (
        function.append_basic_block(label) for label in ("entry", "main", "middle", "rest", "out")
    )
    b = ir.IRBuilder(entry)
    several = b.icmp_signed(">=", count, constant(pixels))
    start = [count, x, g, *[splat(0)] * (taps * pixels)]
    b.cbranch(several, main, middle)

    def step(b: Any, state: list[Any], pixels: int) -> list[Any]:
        left, source, gradient, *totals = state
        for i in range(pixels):
            by = load_vector(b, gradient)
            at = source
            for t in range(taps):
                n = i * taps + t
                totals[n] = multiply_add(b, load_vector(b, at), by, totals[n])
                at = b.add(at, x_row)
            source, gradient = b.add(source, x_pixel), b.add(gradient, g_pixel)
        return [b.sub(left, constant(pixels)), source, gradient, *totals]

    b = ir.IRBuilder(main)
    phis = [b.phi(value.type) for value in start]
    after = step(b, phis, pixels)
    b.cbranch(b.icmp_signed(">=", after[0], constant(pixels)), main, middle)
    for phi, first, next_ in zip(phis, start, after, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(next_, main)

    b = ir.IRBuilder(middle)
    joined = [b.phi(value.type) for value in start]
    for phi, first, next_ in zip(joined, start, after, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(next_, main)
    b.cbranch(b.icmp_signed(">", joined[0], constant(0)), rest, out)

    b = ir.IRBuilder(rest)
    phis = [b.phi(value.type) for value in start]
    last = step(b, phis, 1)
    b.cbranch(b.icmp_signed(">", last[0], constant(0)), rest, out)
    for phi, first, next_ in zip(phis, joined, last, strict=True):
        phi.add_incoming(first, middle)
        phi.add_incoming(next_, rest)

    b = ir.IRBuilder(out)
    ended = [b.phi(value.type) for value in start]
    for phi, first, next_ in zip(ended, joined, last, strict=True):
        phi.add_incoming(first, middle)
        phi.add_incoming(next_, rest)
    at = sums
    for t in range(taps):
        total = load_vector(b, at)
        for value in ended[3 + t :: taps]:
            total = b.fadd(total, value)
        store_vector(b, total, at)
        at = b.add(at, sums_row)
    b.ret_void()
    return function


def _sum_products(
    context: Any, taps: Any, x: Any, x_row: Any, x_pixel: Any, g: Any, g_pixel: Any, count: Any,
    sums: Any, sums_row: Any,
) -> Any:  # fmt: skip
    """Add to VL sums of each of some rows of taps the products over ``count`` pixels.

    All arguments are int64: addresses of the first element, and strides in bytes.
    """
    emitters = {taps: partial(_emit, taps=taps, pixels=pixels) for taps, pixels in _TAPS.items()}
    return call_selected(emitters, _ARGUMENTS)


sum_products: Any = intrinsic(_sum_products)


@kernel
def _weight_gradient(
    start: int, stop: int, g: Array, x: Array, parts: Array, stride: Pair, padding: Pair,
    dilation: Pair,
) -> None:  # fmt: skip
    """Item = one private sum; parts is (P, kH, kW, vectors * VL)."""
    images, height, width, channels = x.shape
    _, out_h, out_w, _ = g.shape
    _, kh, kw, padded = parts.shape
    pixel = channels * 4
    for item in range(start, stop):
        sums = parts.ctypes.data + item * kh * kw * padded * 4
        parts[item] = 0
        first_row, end = images * out_h * item // len(parts), images * out_h * (item + 1)
        for row in range(first_row, end // len(parts)):
            n, oy = row // out_h, row % out_h
            iy = oy * stride[0] - padding[0]
            row0 = max(0, -(iy // dilation[0])) if iy < 0 else 0
            row1 = min(kh, -(-(height - iy) // dilation[0]))
            image = x.ctypes.data + (n * height + iy) * width * pixel
            for v in range(0, padded, VL):
                shift = min(v, channels - VL) * 4  # the last vector overlaps the one before
                for j in range(kw):
                    ix = j * dilation[1] - padding[1]
                    u0 = -(ix // stride[1]) if ix < 0 else 0
                    u1 = min(out_w, (width - 1 - ix) // stride[1] + 1)
                    if u1 <= u0:
                        continue
                    for i in range(row0, row1, _MOST_TAPS):
                        sum_products(
                            min(_MOST_TAPS, row1 - i),
                            image + (i * dilation[0] * width + u0 * stride[1] + ix) * pixel + shift,
                            dilation[0] * width * pixel, stride[1] * pixel,
                            g.ctypes.data + (row * out_w + u0) * pixel + shift, pixel, u1 - u0,
                            sums + ((i * kw + j) * padded + v) * 4, kw * padded * 4,
                        )  # fmt: skip


def depthwise_weight_gradient(
    g: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """Compute the gradient of the weight.

    Parameters
    ----------
    g : numpy.ndarray
        Output gradients (N, Ho, Wo, C), contiguous float32.
    x : numpy.ndarray
        Input (N, H, W, C), contiguous.
    kernel, stride, padding, dilation : (int, int)
        ``padding`` is that above and to the left.

    Returns
    -------
    numpy.ndarray
        (C, kH, kW, 1).
    """
    channels = x.shape[3]
    if channels < VL:
        missing = ((0, 0), (0, 0), (0, 0), (0, VL - channels))
        wide = depthwise_weight_gradient(
            np.pad(g, missing), np.pad(x, missing), kernel, stride, padding, dilation
        )
        return wide[:channels]
    rows, padded = len(g) * g.shape[1], -(-channels // VL) * VL
    size = kernel[0] * kernel[1] * padded
    count = max(1, min(_MAX_PARTS, _PART_BYTES // (4 * size), rows))
    parts = empty((count, *kernel, padded), np.float32)
    work = rows * g.shape[2] * kernel[0] * kernel[1] * channels // count
    parallel_for(
        _weight_gradient, count, g, x, parts, stride, padding, dilation, grain=grain_of(work)
    )
    if count > 1:
        parallel_for(sum_partials, size, parts.reshape(count, size), grain=1 << 16)
    # The last vector has the last channels, some of them also in the one before.
    whole = channels // VL * VL
    total = parts[0].reshape(-1, padded).T
    gw = np.empty((channels, len(total.T)), np.float32)
    gw[:whole], gw[whole:] = total[:whole], total[padded - (channels - whole) :]
    return gw.reshape(channels, *kernel, 1)


@routine
def _phase(
    position: int, kernel: int, stride: int, padding: int, dilation: int, step: int
) -> tuple[int, int, int]:
    """Return first and number of a position's taps, ``step`` apart, and what the first one reads.

    ``position`` is along one axis of the input.
    """
    for tap in range(min(kernel, step)):
        reach = position + padding - tap * dilation
        if reach % stride == 0:
            return tap, -(-(kernel - tap) // step), reach // stride
    return 0, 0, 0


@routine
def _inside(first: int, count: int, size: int, back: int) -> Pair:
    """Return the range of ``count`` taps that read 0..size-1: tap k reads ``first - k * back``."""
    return max(0, -((size - 1 - first) // back)), min(count, first // back + 1)


@kernel
def _input_gradient(
    start: int, stop: int, g: Array, w: Array, added: Array, gx: Array, stride: Pair,
    padding: Pair, dilation: Pair, step: Pair, adds: bool,
) -> None:  # fmt: skip
    """Item = one row of the input; w (kH, kW, C), taps of a phase are ``step`` apart."""
    _, height, width, channels = gx.shape
    kh, kw, _ = w.shape
    _, out_h, out_w, _ = g.shape
    back = (dilation[0] * step[0] // stride[0], dilation[1] * step[1] // stride[1])
    pixel = channels * 4
    g_row, g_tap, gx_pixel = -back[0] * out_w * pixel, -back[1] * pixel, stride[1] * pixel
    w_row, w_tap = step[0] * kw * pixel, step[1] * pixel
    zeros = np.zeros(channels, np.float32)
    nothing = zeros.ctypes.data
    for item in range(start, stop):
        n, iy = item // height, item % height
        tap, count, oy = _phase(iy, kh, stride[0], padding[0], dilation[0], step[0])
        row0, row1 = _inside(oy, count, out_h, back[0])
        source = g.ctypes.data + (n * out_h + oy - row0 * back[0]) * out_w * pixel
        weights = w.ctypes.data + (tap + row0 * step[0]) * kw * pixel
        target = gx.ctypes.data + item * width * pixel
        c = 0
        while c < channels:
            if c + VECTORS * VL <= channels:
                widest, following = 0, c + VECTORS * VL
            else:
                widest, following = 1, min(c + VL, channels)
                c = following - VL  # overlaps the vector before, if it is incomplete
            for phase in range(min(stride[1], width)):
                tap, count, ox = _phase(phase, kw, stride[1], padding[1], dilation[1], step[1])
                pixels = -(-(width - phase) // stride[1])
                # Pixels whose taps are all inside of the row.
                inside0 = (count - 1) * back[1] - ox
                inside1 = min(pixels, out_w - ox)
                u = 0
                while u < pixels:
                    column0, column1, block, at_once = 0, count, widest, PIXELS
                    if u < inside0 or u + PIXELS > inside1:
                        block, at_once = widest + SINGLE, 1
                        column0, column1 = _inside(ox + u, count, out_w, back[1])
                    to = target + (phase + u * stride[1]) * pixel + c * 4
                    if row1 > row0 and column1 > column0:
                        multiply(
                            block, source + (ox + u - column0 * back[1]) * pixel + c * 4, g_row,
                            g_tap, pixel, row1 - row0, column1 - column0,
                            weights + (tap + column0 * step[1]) * pixel + c * 4, w_row, w_tap,
                            nothing, to, gx_pixel, 0,
                        )  # fmt: skip
                    else:
                        multiply(
                            widest + SINGLE, nothing, 0, 0, 0, 1, 1, nothing, 0, 0, nothing, to,
                            gx_pixel, 0,
                        )  # fmt: skip
                        at_once = 1
                    u += at_once
            c = following
        if adds:
            row, other = gx[n, iy].reshape(-1), added[n, iy].reshape(-1)
            for i in range(len(row)):
                row[i] += other[i]


def depthwise_input_gradient(
    g: Array,
    w: Array,
    accumulate: Array | None,
    gx: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """Compute the gradient of the input.

    Parameters
    ----------
    g : numpy.ndarray
        Output gradients (N, Ho, Wo, C), contiguous float32; C is at least VL.
    w : numpy.ndarray
        Weight (kH, kW, C) from :func:`.depthwise.pack_depthwise`.
    accumulate : numpy.ndarray, optional
        Added to the result; its shape, contiguous.
    gx : numpy.ndarray
        Result, (N, H, W, C), contiguous.
    stride, padding, dilation : (int, int)
        ``padding`` is that above and to the left.
    """
    n, height, width, channels = gx.shape
    step = tuple(s // math.gcd(s, d) for s, d in zip(stride, dilation, strict=True))
    adds = accumulate is not None
    work = width * channels * -(-w.shape[0] * w.shape[1] // (step[0] * step[1]))
    parallel_for(
        _input_gradient, n * height, g, w, accumulate if adds else gx, gx, stride, padding,
        dilation, step, adds, grain=grain_of(work),
    )  # fmt: skip
