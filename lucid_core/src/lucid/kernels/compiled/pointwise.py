"""Convolution whose windows lie at constant distances: pointwise, and of images of few channels.

The windows of adjacent output pixels are rows of a matrix with a constant distance; a row is one
run of memory (1x1 windows), or some runs with a constant distance (rows of a window in a padded
image).  So the kernel needs no tables of addresses, and one call computes all rows of a panel.

If the outputs are not a multiple of the vector length, the last vector of a panel overlaps the one
before.  Fewer outputs than a vector are left to :mod:`.implicit_gemm`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from lucid.kernels.compiled.epilogue import emit_activation
from lucid.kernels.compiled.jit import Array, kernel, routine
from lucid.kernels.compiled.microkernel import ADD, MR, NR, LoopState
from lucid.kernels.compiled.vector_ir import (
    FLOAT,
    NUM_REGISTERS,
    VL,
    add_vectors,
    apply_if,
    broadcast,
    call_selected,
    constant,
    load_vector,
    multiply_add,
    new_function,
    pointer,
    store_vector,
)
from lucid.kernels.memory import empty
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["convolve_pointwise", "is_supported", "pack_pointwise"]

# Compiled numbers of rows of a block.
_SIZES = (MR, 10, 8, 4, 1) if NUM_REGISTERS == 32 else (MR, 5, 4, 1)
_UNROLL = 4
_ARGUMENTS = 14
# Bytes of rows and results of an item, which fit the second-level cache with a panel.
_ITEM_BYTES = 1 << 18


def _emit(module: Any, size: int, vectors: int) -> Any:
    """Return the function for blocks of some rows and vectors; see :func:`_multiply`."""
    name = f"lucid_rows_{size}x{vectors}x{VL}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, _ARGUMENTS)
    (
        x, x_row, x_segment, segments, length, w, bias, y, y_row, y_vector, residual, count, x_step,
        flags,
    ) = function.args  # fmt: skip
    blocks = {
        label: function.append_basic_block(label)
        for label in ("entry", "block", "segment", "main", "rest", "one", "next", "out", "end")
    }
    starts = range(0, size, 3)

    b = ir.IRBuilder(blocks["entry"])
    unrolled = b.and_(length, constant(-_UNROLL))
    y_step = b.mul(y_row, constant(size))
    b.branch(blocks["block"])

    b = ir.IRBuilder(blocks["block"])
    outer = LoopState(b, [count, x, y])
    left, source, target = outer.nodes
    outer.add_incoming([count, x, y], blocks["entry"])
    places = [b.mul(y_vector, constant(j)) for j in range(vectors)]
    initial = [load_vector(b, b.add(bias, place)) for place in places] * size
    b.branch(blocks["segment"])

    b = ir.IRBuilder(blocks["segment"])
    begin = [segments, source, w, *initial]
    segment = LoopState(b, begin)
    segment.add_incoming(begin, blocks["block"])
    segments_left, run, weights, *sums = segment.nodes
    # Three rows share a base address, so that most addresses need no registers.
    bases = [b.add(run, b.mul(x_row, constant(i))) for i in starts]
    b.cbranch(b.icmp_signed(">", unrolled, constant(0)), blocks["main"], blocks["rest"])

    def loop(head: str, unroll: int, limit: Any, done: str, incoming: list[Any], frm: Any) -> Any:
        b = ir.IRBuilder(blocks[head])
        phis = LoopState(b, incoming)
        phis.add_incoming(incoming, frm)
        k, at, *rest = phis.nodes
        rows, inner = rest[: len(starts)], rest[len(starts) :]
        for step in range(unroll):
            columns = [load_vector(b, at, 4 * VL * (step * vectors + j)) for j in range(vectors)]
            for i in range(size):
                row = rows[i // 3]
                if i % 3:
                    row = b.add(row, b.shl(x_row, constant(i % 3 - 1)))
                element = b.load(pointer(b, row, 4 * step), align=4, typ=FLOAT)
                value = broadcast(b, element)
                for j in range(vectors):
                    n = i * vectors + j
                    inner[n] = multiply_add(b, value, columns[j], inner[n])
        state = [
            b.add(k, constant(unroll)),
            b.add(at, constant(4 * VL * vectors * unroll)),
            *(b.add(row, constant(4 * unroll)) for row in rows),
            *inner,
        ]
        b.cbranch(b.icmp_signed("<", state[0], limit), blocks[head], blocks[done])
        phis.add_incoming(state, blocks[head])
        return state

    first = [constant(0), weights, *bases, *sums]
    state = loop("main", _UNROLL, unrolled, "rest", first, blocks["segment"])
    b = ir.IRBuilder(blocks["rest"])
    joined = LoopState(b, first)
    joined.add_incoming(first, blocks["segment"])
    joined.add_incoming(state, blocks["main"])
    b.cbranch(b.icmp_signed("<", joined.nodes[0], length), blocks["one"], blocks["next"])
    state = loop("one", 1, length, "next", joined.nodes, blocks["rest"])
    b = ir.IRBuilder(blocks["next"])
    ended = LoopState(b, first)
    ended.add_incoming(joined.nodes, blocks["rest"])
    ended.add_incoming(state, blocks["one"])
    sums = ended.nodes[2 + len(starts) :]
    following = [b.sub(segments_left, constant(1)), b.add(run, x_segment), ended.nodes[1], *sums]
    b.cbranch(b.icmp_signed(">", following[0], constant(0)), blocks["segment"], blocks["out"])
    segment.add_incoming(following, blocks["next"])

    b = ir.IRBuilder(blocks["out"])
    rows = [b.add(target, b.mul(y_row, constant(i))) for i in range(size)]
    at = [b.add(row, place) for row in rows for place in places]

    def added(values: list[Any]) -> list[Any]:
        return add_vectors(b, values, [load_vector(b, b.add(a, residual)) for a in at])

    sums = emit_activation(b, flags, apply_if(b, flags, ADD, sums, added))
    for value, address in zip(sums, at, strict=True):
        store_vector(b, value, address)
    again = [b.sub(left, constant(1)), b.add(source, x_step), b.add(target, y_step)]
    b.cbranch(b.icmp_signed(">", again[0], constant(0)), blocks["block"], blocks["end"])
    outer.add_incoming(again, b.block)
    ir.IRBuilder(blocks["end"]).ret_void()
    return function


def _multiply(
    context: Any, block: Any, x: Any, x_row: Any, x_segment: Any, segments: Any, length: Any,
    w: Any, bias: Any, y: Any, y_row: Any, y_vector: Any, residual: Any, count: Any, x_step: Any,
    flags: Any,
) -> Any:  # fmt: skip
    """Compute ``count`` adjacent blocks of some rows and one or two vectors of outputs.

    All arguments are int64; addresses are of float32, distances in bytes.

    block
        Four times the rows of a block, of `_SIZES`, plus its vectors.
    x, x_row, x_step
        Address of the first row, and distance between rows and between blocks of rows.
    segments, length, x_segment
        Number of runs of a row, their elements and distance.
    w
        Packed weights, (segments * length, vectors, VL).
    bias, y, y_vector
        Address of initial values and of the result, and distance between the vectors of both.
    y_row
        Distance between rows of the result.
    residual
        Distance from the result to the residual, with the flag ADD.
    flags
        Code of an activation, ADD.
    """
    emitters = {
        4 * size + vectors: partial(_emit, size=size, vectors=vectors)
        for size in _SIZES
        for vectors in (1, 2)
    }
    return call_selected(emitters, _ARGUMENTS)


multiply_rows: Any = intrinsic(_multiply)


def is_supported(outputs: int) -> bool:
    """Return whether this number of outputs suits the kernel."""
    return outputs >= VL


@kernel
def _pack(start: int, stop: int, w: Array, transposed: int, packed: Array) -> None:
    """Item = one vector of outputs; w is (O, K), or (K, O) if transposed."""
    outputs, k = (w.shape[1], w.shape[0]) if transposed else w.shape
    vectors = -(-outputs // VL)
    for v in range(start, stop):
        wide = min(2, vectors - v // 2 * 2)
        target = packed[v // 2 * NR * k : (v // 2 * NR + wide * VL) * k].reshape(k, wide, VL)
        first = min(v * VL, outputs - VL)
        if transposed:
            for i in range(k):
                row = target[i, v % 2]
                for lane in range(VL):
                    row[lane] = w[i, first + lane]
            continue
        for k0 in range(0, k, 16):  # in small squares, since this transposes
            for lane in range(VL):
                row = w[first + lane]
                for i in range(k0, min(k0 + 16, k)):
                    target[i, v % 2, lane] = row[i]


def pack_pointwise(w: Array, transposed: bool = False) -> Array:
    """Pack a weight (O, K) into panels (K, 2, VL) and, of an odd vector, (K, 1, VL).

    The last vector has the last VL outputs, some of them also in the one before.

    Parameters
    ----------
    w : numpy.ndarray
        Contiguous float32, O at least VL.
    transposed : bool, default False
        Whether ``w`` is (K, O) instead.
    """
    k, outputs = w.shape if transposed else w.shape[::-1]
    vectors = -(-outputs // VL)
    packed = empty((vectors * VL * k,), np.float32)
    parallel_for(_pack, vectors, w, int(transposed), packed, grain=max(1, (1 << 11) // max(1, k)))
    return packed


@routine
def block_of(rows: int) -> tuple[int, int]:
    """Return the size and number of blocks for some rows; the last block may overlap."""
    best, number, least = 1, rows, rows * 5
    for size in _SIZES:
        if size <= rows:
            count = -(-rows // size)
            cost = count * (max(size, 4) + 1)
            if cost < least:
                best, number, least = size, count, cost
    return best, number


@routine
def multiply_panels(
    panels: tuple[Any, Any], rows: int, x: int, layout: tuple[Any, Any, Any, Any], w: int,
    outputs: int, bias: int, y: int, y_row: int, residual: int, flags: int,
) -> None:  # fmt: skip
    """Compute some rows of panels panels[0]..panels[1]-1.

    All are int64 as for :func:`_multiply`; Numba would compile again for a literal.  ``layout`` is
    x_row, x_segment, segments and length.
    """
    x_row, x_segment, segments, length = layout
    size, count = block_of(rows)
    vectors = -(-outputs // VL)
    k = segments * length
    for p in range(*panels):
        wide = min(2, vectors - 2 * p)
        first = min(2 * p * VL, outputs - VL)
        apart = min((2 * p + 1) * VL, outputs - VL) - first
        panel = w + p * k * NR * 4
        whole = count if count * size == rows else count - 1
        if whole:
            multiply_rows(
                4 * size + wide, x, x_row, x_segment, segments, length, panel, bias + first * 4,
                y + first * 4, y_row, apart * 4, residual, whole, size * x_row, flags,
            )  # fmt: skip
        if whole < count:
            row = rows - size
            multiply_rows(
                4 * size + wide, x + row * x_row, x_row, x_segment, segments, length, panel,
                bias + first * 4, y + first * 4 + row * y_row, y_row, apart * 4, residual, 1,
                size * x_row, flags,
            )  # fmt: skip


@kernel
def _convolve(
    start: int, stop: int, x: Array, w: Array, bias: Array, residual: Array, y: Array, blocks: int,
    bands: int, flags: int,
) -> None:  # fmt: skip
    """Item = a block of positions and a band of panels; x (P, K), y (P, O)."""
    positions, k = x.shape
    outputs = y.shape[1]
    panels = -(-outputs // NR)
    apart = residual.ctypes.data - y.ctypes.data
    for item in range(start, stop):
        block, band = item // bands, item % bands
        first, last = positions * block // blocks, positions * (block + 1) // blocks
        multiply_panels(
            (panels * band // bands, panels * (band + 1) // bands), last - first,
            x.ctypes.data + first * k * 4, (k * 4, np.int64(0), np.int64(1), k), w.ctypes.data,
            outputs, bias.ctypes.data, y.ctypes.data + first * outputs * 4, outputs * 4, apart,
            flags,
        )  # fmt: skip


def convolve_pointwise(
    x: Array, w: Array, bias: Array | None, residual: Array | None, activation: int, y: Array
) -> None:
    """Compute ``act(x @ w + bias + residual)``.

    Parameters
    ----------
    x : numpy.ndarray
        (P, K), contiguous float32.
    w : numpy.ndarray
        Weight from :func:`pack_pointwise`.
    bias : numpy.ndarray, optional
        Shape (O,).
    residual : numpy.ndarray, optional
        Contiguous, the shape of ``y``, in memory of its own.
    activation : int
        Code of the activation.
    y : numpy.ndarray
        Result, (P, O), contiguous.
    """
    positions, k = x.shape
    outputs = y.shape[1]
    if not positions:
        return
    given = np.zeros(outputs, np.float32) if bias is None else bias
    blocks, bands = _partition(positions, k, outputs)
    flags = activation | (0 if residual is None else ADD)
    parallel_for(
        _convolve, blocks * bands, x, w, given, y if residual is None else residual, y, blocks,
        bands, flags,
    )  # fmt: skip


def _partition(positions: int, k: int, outputs: int) -> tuple[int, int]:
    """Return the numbers of blocks of positions and of bands of panels."""
    threads = get_num_threads()
    panels = -(-outputs // NR)
    most = max(4 * MR, _ITEM_BYTES // (4 * (k + outputs)))
    if outputs > positions and threads > 1:  # more weights than inputs
        return -(-positions // most), min(panels, 4 * threads)
    blocks = -(-positions // min(most, max(MR, -(-positions // (4 * threads)))))
    return blocks + -blocks % threads if blocks > threads else blocks, 1
