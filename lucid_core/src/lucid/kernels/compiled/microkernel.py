"""Register-blocked micro-kernel of convolutions and matrix products, written as LLVM IR.

It computes a block of MR x NR sums, ``Y[r, j] = sum_k A[r, k] * B[k, j]``, in vector registers:
each element of A is broadcast and multiplied by the NV vectors of a row of B, as in Goto and
van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.  Compilers do not find
this form, so it is spelled out here; all around it is ordinary Numba.

A need not be packed.  The sum over k runs in *segments*; tables have the address of each row of
A and of B in each segment.  A window of a convolution is one segment for each of its taps
(implicit GEMM); taps outside of the image point to zeros.

With 32 vector registers (AVX-512, NEON) a block is 12 rows x 2 vectors; with 16 (SSE, AVX2) it
is 6 x 2.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, register_jitable

from lucid.kernels.compiled.epilogue import emit_activation
from lucid.kernels.compiled.vector_ir import (
    ADDRESS,
    FLOAT,
    NUM_REGISTERS,
    VL,
    add_vectors,
    apply_if,
    broadcast,
    constant,
    load_address,
    load_vector,
    multiply_add,
    new_function,
    pointer,
    prefetch,
    store_vector,
)

__all__ = [
    "ACCUMULATE",
    "ADD",
    "MR",
    "NR",
    "block_size",
    "copy_runs",
    "multiply_block",
    "multiply_transposed",
]

_NV = 2
#: Columns of a block, and of a panel of packed weights.
NR = _NV * VL
#: Maximum number of rows of a block.
MR = 12 if NUM_REGISTERS == 32 else 6
# Compiled numbers of rows; a block between two of them repeats one of its rows.
_SIZES = (1, 4, 8, MR) if NUM_REGISTERS == 32 else (1, 4, MR)
_UNROLL = 4
# Bytes of a cache line.
_LINE = 64

# Flags besides the code of an activation: add a residual to the sums; start from the values of Y.
ADD = 2
ACCUMULATE = 4

_ARGUMENTS = 12


class LoopState:
    """Loop-carried values, as phi nodes at the head of a basic block."""

    def __init__(self, b: Any, like: list[Any]) -> None:
        self.nodes = [b.phi(value.type) for value in like]

    def add_incoming(self, values: list[Any], block: Any) -> None:
        for node, value in zip(self.nodes, values, strict=True):
            node.add_incoming(value, block)


def _row_pointers(b: Any, rows: list[Any], k: Any, count: int) -> list[list[Any]]:
    """Return pointers to the elements of A for ``count`` steps from k on, A stored by rows."""
    offset = b.shl(k, constant(2))
    at = [b.add(row, offset) for row in rows]
    return [[pointer(b, row, 4 * step) for row in at] for step in range(count)]


def _column_pointers(
    b: Any, size: int, start: Any, astep: Any, k: Any, count: int
) -> list[list[Any]]:
    """Return the same pointers for A stored by columns."""
    at = b.add(start, b.mul(k, astep))
    pointers = []
    for _ in range(count):
        pointers.append([pointer(b, at, 4 * i) for i in range(size)])
        at = b.add(at, astep)
    return pointers


def _steps(
    b: Any, pointers: list[list[Any]], bp: Any, bstep: Any, prefetch_bytes: Any, sums: list[Any]
) -> Any:
    """Add one step of k for each list of ``pointers``; return the sums and the next row of B."""
    sums = list(sums)
    for elements in pointers:
        if prefetch_bytes is not None:
            prefetched = b.add(bp, prefetch_bytes)
            for j in range(0, 4 * NR, _LINE):
                prefetch(b, prefetched, j)
        columns = [load_vector(b, bp, 4 * VL * j) for j in range(_NV)]
        for i, element in enumerate(elements):
            value = broadcast(b, b.load(element, align=4, typ=FLOAT))
            for j in range(_NV):
                n = i * _NV + j
                sums[n] = multiply_add(b, value, columns[j], sums[n])
        bp = b.add(bp, bstep)
    return sums, bp


def _emit(module: Any, size: int, transposed: bool, with_prefetch: bool) -> Any:
    """Return the function for blocks of ``size`` rows; see :func:`multiply_block`."""
    kind = "transposed" if transposed else "block"
    name = f"lucid_{kind}_{size}x{_NV}x{VL}{'_prefetch' * with_prefetch}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, _ARGUMENTS)
    a, segments, length, b_table, bstep, y, y_base, bias, r_base, flags, ld, prefetch_bytes = (
        function.args
    )
    blocks = {
        label: function.append_basic_block(label)
        for label in ("entry", "resume", "fresh", "segment", "main", "rest", "one", "next", "out")
    }
    columns = range(_NV)

    b = ir.IRBuilder(blocks["entry"])
    unrolled = b.and_(length, constant(-_UNROLL))
    accumulates = b.icmp_unsigned("!=", b.and_(flags, constant(ACCUMULATE)), constant(0))
    b.cbranch(accumulates, blocks["resume"], blocks["fresh"])

    b = ir.IRBuilder(blocks["resume"])
    resumed = _load_block(b, size, y, y_base)
    b.branch(blocks["segment"])
    b = ir.IRBuilder(blocks["fresh"])
    initial = [load_vector(b, bias, 4 * VL * j) for j in columns] * size
    b.branch(blocks["segment"])

    b = ir.IRBuilder(blocks["segment"])
    outer = LoopState(b, [constant(0), a, *initial])
    index, table, *sums = outer.nodes
    outer.add_incoming([constant(0), a, *resumed], blocks["resume"])
    outer.add_incoming([constant(0), a, *initial], blocks["fresh"])
    rows = [load_address(b, table, i) for i in range(1 if transposed else size)]
    start = b.load(pointer(b, b.add(b_table, b.shl(index, constant(3)))), typ=ADDRESS)
    b.cbranch(b.icmp_signed(">", unrolled, constant(0)), blocks["main"], blocks["rest"])

    def loop(
        head: str, count: int, limit: Any, done: str, incoming: list[tuple[list[Any], Any]]
    ) -> Any:
        b = ir.IRBuilder(blocks[head])
        phis = LoopState(b, incoming[0][0])
        k, bp, *inner = phis.nodes
        pointers = (
            _column_pointers(b, size, rows[0], ld, k, count)
            if transposed
            else _row_pointers(b, rows, k, count)
        )
        inner, bp = _steps(b, pointers, bp, bstep, prefetch_bytes if with_prefetch else None, inner)
        state = [b.add(k, constant(count)), bp, *inner]
        b.cbranch(b.icmp_signed("<", state[0], limit), blocks[head], blocks[done])
        for values, block in [*incoming, (state, blocks[head])]:
            phis.add_incoming(values, block)
        return state

    initial_state = [constant(0), start, *sums]
    state = loop("main", _UNROLL, unrolled, "rest", [(initial_state, blocks["segment"])])
    b = ir.IRBuilder(blocks["rest"])
    joined = LoopState(b, initial_state)
    joined.add_incoming(initial_state, blocks["segment"])
    joined.add_incoming(state, blocks["main"])
    b.cbranch(b.icmp_signed("<", joined.nodes[0], length), blocks["one"], blocks["next"])
    state = loop("one", 1, length, "next", [(joined.nodes, blocks["rest"])])

    b = ir.IRBuilder(blocks["next"])
    ended = LoopState(b, initial_state)
    ended.add_incoming(joined.nodes, blocks["rest"])
    ended.add_incoming(state, blocks["one"])
    sums = ended.nodes[2:]
    entry = constant(8) if transposed else b.shl(ld, constant(3))
    next_state = [b.add(index, constant(1)), b.add(table, entry), *sums]
    b.cbranch(b.icmp_signed("<", next_state[0], segments), blocks["segment"], blocks["out"])
    outer.add_incoming(next_state, blocks["next"])

    b = ir.IRBuilder(blocks["out"])
    sums = apply_if(
        b, flags, ADD, sums, lambda v: add_vectors(b, v, _load_block(b, size, y, r_base))
    )
    sums = emit_activation(b, flags, sums)
    for i in range(size):
        target = b.add(load_address(b, y, i), y_base)
        for j in columns:
            store_vector(b, sums[i * _NV + j], target, 4 * VL * j)
    b.ret_void()
    return function


def _load_block(b: Any, size: int, offsets: Any, base: Any) -> list[Any]:
    """Load the vectors of ``size`` rows at the given offsets from ``base``."""
    rows = [b.add(load_address(b, offsets, i), base) for i in range(size)]
    return [load_vector(b, row, 4 * VL * j) for row in rows for j in range(_NV)]


def _generate(transposed: bool, context: Any, b: Any, values: Any) -> Any:
    """Call the function for the number of rows in the first value."""
    end = b.append_basic_block("end")
    switch = b.switch(values[0], end)
    for size in _SIZES:
        case = b.append_basic_block(f"rows{size}")
        switch.add_case(constant(size), case)
        with b.goto_block(case):
            # Only full blocks have others after them, during which B can arrive.
            if size == MR and not transposed:
                prefetches = b.icmp_unsigned("!=", values[-1], constant(0))
                with b.if_else(prefetches) as (then, otherwise):
                    with then:
                        b.call(_emit(b.module, size, transposed, True), list(values[1:]))
                    with otherwise:
                        b.call(_emit(b.module, size, transposed, False), list(values[1:]))
            else:
                b.call(_emit(b.module, size, transposed, False), list(values[1:]))
            b.branch(end)
    b.position_at_end(end)
    return context.get_dummy_value()


def _multiply_block(
    context: Any, size: Any, a: Any, segments: Any, length: Any, b_table: Any, bstep: Any,
    y: Any, y_base: Any, bias: Any, r_base: Any, flags: Any, ld: Any, prefetch_bytes: Any,
) -> Any:  # fmt: skip
    """Compute one block of ``size`` x NR sums and store it.

    All arguments are int64; addresses are of float32 or of tables of int64, and the caller
    keeps their arrays alive.  Rows may repeat, in source and target alike.

    size
        Rows of the block, from :func:`block_size`.
    a, ld
        Table of ``segments`` x ``ld`` addresses: the rows of A in each segment.
    segments, length
        Number of segments, at least 1, and length of the sum over k in each.
    b_table, bstep
        Address of B's first row in each segment, and bytes between its rows.
    y, y_base
        Table of ``size`` offsets of the rows of Y, in bytes from ``y_base``.
    bias
        Address of NR initial values of the sums.
    r_base
        Base address of residual rows at the same offsets, with the flag ADD.
    flags
        Code of an activation, ADD, ACCUMULATE (start from the values of Y, not the bias).
    prefetch_bytes
        Prefetch what is this many bytes after B, the next block's B; 0 for nothing.
    """

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return _generate(False, context, b, values)

    return types.void(*[types.int64] * (_ARGUMENTS + 1)), generate


def _multiply_transposed(
    context: Any, size: Any, a: Any, segments: Any, length: Any, b_table: Any, bstep: Any,
    y: Any, y_base: Any, bias: Any, r_base: Any, flags: Any, astep: Any, prefetch_bytes: Any,
) -> Any:  # fmt: skip
    """Compute as :func:`multiply_block` does, with A stored by columns (transposed).

    a
        Table of ``segments`` addresses: the first column of A in each segment.
    astep
        Bytes between columns of A.
    """

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return _generate(True, context, b, values)

    return types.void(*[types.int64] * (_ARGUMENTS + 1)), generate


def _emit_copy(module: Any, width: int) -> Any:
    """Return the function that copies runs of ``width`` float32; see :func:`copy_runs`."""
    name = f"lucid_copy_{width}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, 5)
    target, source, count, target_step, source_step = function.args
    entry, loop, done = (function.append_basic_block(label) for label in ("entry", "loop", "done"))
    b = ir.IRBuilder(entry)
    b.cbranch(b.icmp_signed(">", count, constant(0)), loop, done)
    b = ir.IRBuilder(loop)
    phis = LoopState(b, [count, target, source])
    left, to, origin = phis.nodes
    run = b.load(pointer(b, origin), align=4, typ=ir.VectorType(FLOAT, width))
    b.store(run, pointer(b, to), align=4)
    next_state = [b.sub(left, constant(1)), b.add(to, target_step), b.add(origin, source_step)]
    phis.add_incoming([count, target, source], entry)
    phis.add_incoming(next_state, loop)
    b.cbranch(b.icmp_signed(">", next_state[0], constant(0)), loop, done)
    ir.IRBuilder(done).ret_void()
    return function


def _copy_runs(
    context: Any, width: Any, target: Any, source: Any, count: Any, target_step: Any,
    source_step: Any,
) -> Any:  # fmt: skip
    """Copy ``count`` runs of ``width`` float32; the width is a literal.

    The other arguments are int64: addresses, and bytes between runs.
    """
    if not isinstance(width, types.IntegerLiteral):
        raise TypingError("the width of runs must be a literal")

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        b.call(_emit_copy(b.module, width.literal_value), list(values[1:]))
        return context.get_dummy_value()

    return types.void(width, *[types.int64] * 5), generate


copy_runs: Any = intrinsic(prefer_literal=True)(_copy_runs)
multiply_block: Any = intrinsic(_multiply_block)
multiply_transposed: Any = intrinsic(_multiply_transposed)


@register_jitable
def block_size(rows: int) -> int:
    """Return the size of the smallest compiled block with at least ``rows`` rows."""
    for size in _SIZES:
        if rows <= size:
            return size
    return MR
