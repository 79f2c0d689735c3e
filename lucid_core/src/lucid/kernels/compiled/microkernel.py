"""The one inner loop of convolutions and matrix products, written as LLVM IR.

It computes a block of ``rows x NR`` numbers, ``Y[r, j] = sum_k A[r, k] * B[k, j]``,
entirely in registers: each number of A is broadcast and multiplied into NV vectors
of B.  A compiler does not find this form by itself, so it is spelled out here; all
around it is ordinary Numba.

Nothing has to be copied together beforehand.  The sum over k runs in *segments*;
for every segment a table gives the address where each row of A continues, and
where B does.  A window of a convolution is one segment for each of its taps
(implicit im2col; taps that fall outside of the image point to zeros).

Sizes: with 32 vector registers (AVX-512, NEON) 12 rows x 2 vectors of sums, two
vectors of B and one broadcast; with 16 (SSE, AVX2) 6 rows x 2.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lucid.kernels.compiled.simd import (
    ADDRESS,
    FLOAT,
    VL,
    WIDE,
    add_vectors,
    broadcast,
    constant,
    load_address,
    load_vector,
    multiply_add,
    optionally,
    pointer,
    rectified,
    store_vector,
)

__all__ = ["ACCUMULATE", "ADD", "NR", "RELU", "ROWS", "multiply_block"]

_NV = 2
#: Columns of a block: the width of the panels that weights are packed into.
NR = _NV * VL
#: Rows of a block at most.
ROWS = 12 if WIDE else 6
# Which numbers of rows are compiled; fewer rows are made up by repeating one into a dummy.
_SIZES = (1, 4, ROWS)
_UNROLL = 4

# What to do with a block when its sums are complete (or before: ACCUMULATE).
RELU = 1
ADD = 2
ACCUMULATE = 4

_ARGUMENTS = 11


class _Phis:
    """The values that a loop carries, as phi nodes at the head of a block."""

    def __init__(self, b: Any, like: list[Any]) -> None:
        self.nodes = [b.phi(value.type) for value in like]

    def arrive(self, values: list[Any], block: Any) -> None:
        for node, value in zip(self.nodes, values, strict=True):
            node.add_incoming(value, block)


def _steps(
    b: Any, count: int, rows: list[Any], k: Any, bp: Any, bstep: Any, sums: list[Any]
) -> Any:
    """``count`` steps of k: the new sums and where B stands afterwards."""
    offset = b.shl(k, constant(2))
    at = [b.add(row, offset) for row in rows]
    sums = list(sums)
    for step in range(count):
        columns = [load_vector(b, bp, 4 * VL * j) for j in range(_NV)]
        for i in range(len(rows)):
            value = broadcast(b, b.load(pointer(b, at[i], 4 * step), align=4, typ=FLOAT))
            for j in range(_NV):
                n = i * _NV + j
                sums[n] = multiply_add(b, value, columns[j], sums[n])
        bp = b.add(bp, bstep)
    return sums, bp


def _emit(module: Any, size: int) -> Any:
    """The function for blocks of ``size`` rows; see :func:`multiply_block` for its arguments."""
    name = f"lucid_block_{size}x{_NV}x{VL}"
    if name in module.globals:
        return module.globals[name]
    function_type = ir.FunctionType(ir.VoidType(), [ADDRESS] * _ARGUMENTS)
    function = ir.Function(module, function_type, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, segments, length, b_table, bstep, y, y_base, bias, r_base, flags, ld = function.args
    blocks = {
        label: function.append_basic_block(label)
        for label in ("entry", "resume", "fresh", "segment", "main", "rest", "one", "next", "out")
    }
    columns = range(_NV)

    b = ir.IRBuilder(blocks["entry"])
    unrolled = b.and_(length, constant(-_UNROLL))
    wants = b.icmp_unsigned("!=", b.and_(flags, constant(ACCUMULATE)), constant(0))
    b.cbranch(wants, blocks["resume"], blocks["fresh"])

    b = ir.IRBuilder(blocks["resume"])
    resumed = _load_block(b, size, y, y_base)
    b.branch(blocks["segment"])
    b = ir.IRBuilder(blocks["fresh"])
    initial = [load_vector(b, bias, 4 * VL * j) for j in columns] * size
    b.branch(blocks["segment"])

    b = ir.IRBuilder(blocks["segment"])
    outer = _Phis(b, [constant(0), a, *initial])
    index, table, *sums = outer.nodes
    outer.arrive([constant(0), a, *resumed], blocks["resume"])
    outer.arrive([constant(0), a, *initial], blocks["fresh"])
    rows = [load_address(b, table, i) for i in range(size)]
    start = b.load(pointer(b, b.add(b_table, b.shl(index, constant(3)))), typ=ADDRESS)
    b.cbranch(b.icmp_signed(">", unrolled, constant(0)), blocks["main"], blocks["rest"])

    def loop(
        head: str, count: int, limit: Any, done: str, came: list[tuple[list[Any], Any]]
    ) -> Any:
        b = ir.IRBuilder(blocks[head])
        phis = _Phis(b, came[0][0])
        k, bp, *inner = phis.nodes
        inner, bp = _steps(b, count, rows, k, bp, bstep, inner)
        state = [b.add(k, constant(count)), bp, *inner]
        b.cbranch(b.icmp_signed("<", state[0], limit), blocks[head], blocks[done])
        for values, block in [*came, (state, blocks[head])]:
            phis.arrive(values, block)
        return state

    begun = [constant(0), start, *sums]
    state = loop("main", _UNROLL, unrolled, "rest", [(begun, blocks["segment"])])
    b = ir.IRBuilder(blocks["rest"])
    joined = _Phis(b, begun)
    joined.arrive(begun, blocks["segment"])
    joined.arrive(state, blocks["main"])
    b.cbranch(b.icmp_signed("<", joined.nodes[0], length), blocks["one"], blocks["next"])
    state = loop("one", 1, length, "next", [(joined.nodes, blocks["rest"])])

    b = ir.IRBuilder(blocks["next"])
    ended = _Phis(b, begun)
    ended.arrive(joined.nodes, blocks["rest"])
    ended.arrive(state, blocks["one"])
    sums = ended.nodes[2:]
    onward = [b.add(index, constant(1)), b.add(table, b.shl(ld, constant(3))), *sums]
    b.cbranch(b.icmp_signed("<", onward[0], segments), blocks["segment"], blocks["out"])
    outer.arrive(onward, blocks["next"])

    b = ir.IRBuilder(blocks["out"])
    sums = optionally(
        b, flags, ADD, sums, lambda v: add_vectors(b, v, _load_block(b, size, y, r_base))
    )
    sums = optionally(b, flags, RELU, sums, lambda v: [rectified(b, value) for value in v])
    for i in range(size):
        target = b.add(load_address(b, y, i), y_base)
        for j in columns:
            store_vector(b, sums[i * _NV + j], target, 4 * VL * j)
    b.ret_void()
    return function


def _load_block(b: Any, size: int, offsets: Any, base: Any) -> list[Any]:
    """The vectors of ``size`` rows at the given offsets from ``base``."""
    rows = [b.add(load_address(b, offsets, i), base) for i in range(size)]
    return [load_vector(b, row, 4 * VL * j) for row in rows for j in range(_NV)]


def _multiply_block(
    context: Any, size: Any, a: Any, segments: Any, length: Any, b_table: Any, bstep: Any,
    y: Any, y_base: Any, bias: Any, r_base: Any, flags: Any, ld: Any,
) -> Any:  # fmt: skip
    """Add up one block of ``size`` x NR numbers and store it.

    All arguments are int64; addresses are of float32 or of tables of int64, and
    whoever calls keeps their arrays alive.  Two rows may be the same, source and
    target: they are computed and stored alike.

    size
        Rows of the block: 1, 4 or ROWS.
    a
        Table of ``segments`` x ``ld`` addresses: where the rows of A continue in each segment.
    segments, length
        Number of segments, at least 1, and numbers of k in each, 0 or more.
    b_table
        Address of B's first row for each segment.
    bstep
        Bytes from one row of B to the next.
    y, y_base
        Table of ``size`` offsets, in bytes from ``y_base``, where rows of NR results go.
    bias
        Address of NR numbers that the sums start from.
    r_base
        With the flag ADD: rows to be added, at the same offsets from here.
    flags
        RELU, ADD, ACCUMULATE (start from what is at ``y`` and not from the bias).
    ld
        Rows of the table ``a`` have this many addresses.
    """
    signature = types.void(*[types.int64] * (_ARGUMENTS + 1))

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        end = b.append_basic_block("end")
        switch = b.switch(values[0], end)
        for size in _SIZES:
            case = b.append_basic_block(f"rows{size}")
            switch.add_case(constant(size), case)
            with b.goto_block(case):
                b.call(_emit(b.module, size), list(values[1:]))
                b.branch(end)
        b.position_at_end(end)
        return context.get_dummy_value()

    return signature, generate


multiply_block: Any = intrinsic(_multiply_block)
