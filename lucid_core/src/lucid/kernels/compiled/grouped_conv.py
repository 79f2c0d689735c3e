"""Grouped convolution with narrow groups, down to one channel, without products by zero.

The micro-kernel multiplies an element by vectors of outputs that all read it.  With four channels
a group, a vector of 16 outputs covers four groups, and only four of its lanes read an element.
So here vectors of inputs and weights are multiplied lane by lane: for every channel c of a group,
each lane takes channel c of its own group (a shuffle; none for depthwise).  Groups stay
independent, for NaN too.

Grid and taps are those of :mod:`.implicit_gemm`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from lucid.kernels.compiled.epilogue import emit_activation
from lucid.kernels.compiled.implicit_gemm import Grid, find_addresses, partition
from lucid.kernels.compiled.jit import kernel
from lucid.kernels.compiled.microkernel import ADD, MR, NR
from lucid.kernels.compiled.vector_ir import (
    FLOAT,
    NUM_REGISTERS,
    VL,
    add_vectors,
    apply_if,
    broadcast,
    call_selected,
    constant,
    load_address,
    load_vector,
    multiply_add,
    new_function,
    pointer,
    shuffle,
    store_vector,
)
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty
from lucid.kernels.threads import parallel_for

__all__ = ["convolve_grouped", "is_supported", "multiply_grouped", "pack_grouped", "rows_at_once"]

Pair = tuple[int, int]

_NV = NR // VL
_WIDTHS = tuple(1 << i for i in range(VL.bit_length()))
_ARGUMENTS = 10
# Bytes of weights that may be read again for every block of MR rows.
_FEW_WEIGHTS = 1 << 14


def is_supported(channels: int, outputs: int, groups: int) -> bool:
    """Return whether these numbers of channels suit the kernel."""
    return channels == outputs and channels // groups in _WIDTHS


def rows_at_once(width: int) -> int:
    """Return how many positions fit the registers, with the weights of a tap; it divides MR."""
    beside = 2 * _NV if width == VL else _NV * (width + 1)
    free = NUM_REGISTERS - beside
    return max(rows for rows in range(1, MR + 1) if MR % rows == 0 and _NV * rows <= free)


def _emit(module: Any, width: int) -> Any:
    """Return the function for groups of ``width`` channels; see :func:`_multiply_grouped`."""
    name = f"lucid_grouped_{width}x{VL}"
    if name in module.globals:
        return module.globals[name]
    size, columns = rows_at_once(width), range(_NV)
    function = new_function(module, name, _ARGUMENTS)
    a, segments, shift, weights, y, y_base, bias, r_base, flags, ld = function.args
    entry, loop, out = (function.append_basic_block(label) for label in ("entry", "loop", "out"))

    b = ir.IRBuilder(entry)
    initial = [load_vector(b, bias, 4 * VL * j) for j in columns] * size
    b.branch(loop)

    b = ir.IRBuilder(loop)
    initial_state = [constant(0), a, weights, *initial]
    phis = [b.phi(value.type) for value in initial_state]
    index, table, w, *sums = phis
    pixels = [b.add(load_address(b, table, i), shift) for i in range(size)]
    sums = _tap(b, width, pixels, w, sums)
    next_state = [
        b.add(index, constant(1)),
        b.add(table, b.shl(ld, constant(3))),
        b.add(w, constant(4 * NR * width)),
        *sums,
    ]
    for phi, first, next_ in zip(phis, initial_state, next_state, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(next_, loop)
    b.cbranch(b.icmp_signed("<", next_state[0], segments), loop, out)

    b = ir.IRBuilder(out)

    def others() -> list[Any]:
        rows = [b.add(load_address(b, y, i), r_base) for i in range(size)]
        return [load_vector(b, row, 4 * VL * j) for row in rows for j in columns]

    sums = apply_if(b, flags, ADD, sums, lambda v: add_vectors(b, v, others()))
    sums = emit_activation(b, flags, sums)
    for i in range(size):
        target = b.add(load_address(b, y, i), y_base)
        for j in columns:
            store_vector(b, sums[i * _NV + j], target, 4 * VL * j)
    b.ret_void()
    return function


def _tap(b: Any, width: int, pixels: list[Any], w: Any, sums: list[Any]) -> list[Any]:
    """Add one tap of all ``pixels`` to ``sums``, a vector for each pixel and column."""
    sums = list(sums)

    def weight(c: int, j: int) -> Any:
        return load_vector(b, w, 4 * (c * NR + j * VL))

    if width == VL:  # a group is a vector: all lanes read all of its channels
        for c in range(width):
            columns = [weight(c, j) for j in range(_NV)]
            for n in range(len(sums)):
                i, j = divmod(n, _NV)
                element = b.load(pointer(b, pixels[i], 4 * (j * VL + c)), align=4, typ=FLOAT)
                sums[n] = multiply_add(b, broadcast(b, element), columns[j], sums[n])
        return sums
    loaded = [[weight(c, j) for j in range(_NV)] for c in range(width)]
    for n in range(len(sums)):
        i, j = divmod(n, _NV)
        values = load_vector(b, pixels[i], 4 * j * VL)
        for c in range(width):
            operand = values
            if width > 1:
                operand = shuffle(
                    b, values, values, [lane // width * width + c for lane in range(VL)]
                )
            sums[n] = multiply_add(b, operand, loaded[c][j], sums[n])
    return sums


def _multiply_grouped(
    context: Any, width: Any, a: Any, segments: Any, shift: Any, weights: Any,
    y: Any, y_base: Any, bias: Any, r_base: Any, flags: Any, ld: Any,
) -> Any:  # fmt: skip
    """Compute NR sums at :func:`rows_at_once` positions, for groups of ``width`` channels.

    All arguments are int64; those not listed are as in :func:`.microkernel.multiply_block`.

    a, segments, ld
        Table of ``segments`` x ``ld`` addresses: the pixels that each tap reads.
    shift
        Bytes from there to the first of the NR channels.
    weights
        Address of (segments, width, NR) elements.
    """
    emitters = {known: partial(_emit, width=known) for known in _WIDTHS}
    return call_selected(emitters, _ARGUMENTS)


multiply_grouped: Any = intrinsic(_multiply_grouped)


@kernel
def _convolve(
    start: int, stop: int, x: Array, panels: Array, bias: Array, residual: Array, y: Array,
    grid: Pair, in_stride: Pair, row_offsets: Array, column_offsets: Array, out_start: Pair,
    out_stride: Pair, tasks: Pair, width: int, size: int, flags: int,
) -> None:  # fmt: skip
    """Items start..stop-1 of ``tasks``: blocks of positions x bands of panels."""
    blocks, bands = tasks
    channels = x.shape[3]
    positions = len(x) * grid[0] * grid[1]
    n_panels, k, _ = panels.shape
    segments = k // width
    zeros = np.zeros(channels, np.float32)
    largest_block = -(-positions // blocks)
    max_row_blocks = -(-largest_block // MR)
    sources = np.empty((max_row_blocks, segments, MR), np.int64)
    targets = np.empty((max_row_blocks, MR), np.int64)
    for item in range(start, stop):
        block, band = item // bands, item % bands
        position0, position1 = positions * block // blocks, positions * (block + 1) // blocks
        find_addresses(
            MR, position0, position1, x, y, zeros, grid, in_stride, row_offsets, column_offsets,
            out_start, out_stride, 0, 0, sources, targets,
        )  # fmt: skip
        panel0, panel1 = n_panels * band // bands, n_panels * (band + 1) // bands
        row_blocks, wide = -(-(position1 - position0) // MR), panel1 - panel0
        # As in :mod:`.implicit_gemm`: what is read repeatedly should stay in the cache.
        rows_outer = wide * k * NR * 4 <= _FEW_WEIGHTS
        for n in range(row_blocks * wide):
            row_block, p = (
                (n // wide, n % wide) if rows_outer else (n % row_blocks, n // row_blocks)
            )
            p += panel0
            filled = min(MR, position1 - position0 - row_block * MR)
            shift = min(p * NR, channels - NR) * 4
            for r in range(0, filled, size):
                multiply_grouped(
                    width, sources[row_block].ctypes.data + r * 8, segments, shift,
                    panels.ctypes.data + p * k * NR * 4, targets[row_block].ctypes.data + r * 8,
                    y.ctypes.data + shift, bias.ctypes.data + shift, residual.ctypes.data + shift,
                    flags, MR,
                )  # fmt: skip


def pack_grouped(
    w: Array, groups: int, rows: Array, columns: Array, transposed: bool = False
) -> Array:
    """Pack weights into panels (P, K, NR), K = taps * channels of a group.

    A last panel with fewer outputs starts earlier and repeats some of the previous one; a single
    panel is padded with zeros.

    Parameters
    ----------
    w : numpy.ndarray
        (O, kH, kW, O / groups).
    groups : int
    rows, columns : numpy.ndarray of int64
        Taps to pack.
    transposed : bool, default False
        Whether to exchange outputs and channels, for input gradients.
    """
    taken = w[:, rows[:, None], columns]
    if transposed:
        parts = taken.reshape(groups, -1, *taken.shape[1:])
        taken = parts.transpose(0, 4, 2, 3, 1).reshape(taken.shape)
    taken = taken.reshape(len(w), -1)
    if len(w) < NR:
        taken = _padded(taken.T, NR).T
    outputs = len(taken)
    first = np.minimum(np.arange(0, outputs, NR), outputs - NR)
    panels = taken[first[:, None] + np.arange(NR)]
    return np.ascontiguousarray(panels.transpose(0, 2, 1))


def convolve_grouped(
    x: Array,
    panels: Array,
    bias: Array | None,
    residual: Array | None,
    activation: int,
    y: Array,
    grid: Grid,
    groups: int,
) -> None:
    """Convolve as :func:`.implicit_gemm.convolve` does, with weights from :func:`pack_grouped`.

    Fewer than NR channels are padded to NR, which costs less than one group at a time.
    """
    positions = len(x) * grid.rows * grid.columns
    if not positions:
        return
    channels = x.shape[3]
    if channels < NR:
        wide = empty((*y.shape[:3], NR), np.float32)
        more = None if bias is None else _padded(bias, NR)
        other = None if residual is None else _padded(residual, NR)
        many = NR * groups // channels
        convolve_grouped(_padded(x, NR), panels, more, other, activation, wide, grid, many)
        rows, columns = (
            slice(first, first + count * out_stride, out_stride)
            for first, count, out_stride in zip(
                grid.out_start, (grid.rows, grid.columns), grid.out_stride, strict=True
            )
        )
        y[:, rows, columns] = wide[:, rows, columns, :channels]
        return
    start = np.zeros(channels, np.float32)
    if bias is not None:
        start[:] = bias
    tasks = partition(positions, x, panels, grid, 1)
    width = channels // groups
    parallel_for(
        _convolve, tasks[0] * tasks[1], x, panels, start, y if residual is None else residual, y,
        (grid.rows, grid.columns), grid.in_stride, grid.row_offsets, grid.column_offsets,
        grid.out_start, grid.out_stride, tasks, width, rows_at_once(width),
        (0 if residual is None else ADD) | activation,
    )  # fmt: skip


def _padded(a: Array, size: int) -> Array:
    """Pad the last axis with zeros to ``size``."""
    padded = empty((*a.shape[:-1], size), np.float32)
    padded[..., : a.shape[-1]] = a
    padded[..., a.shape[-1] :] = 0
    return padded
