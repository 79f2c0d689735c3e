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
    pointer,
    prefetch,
    store_vector,
)

__all__ = [
    "ACCUMULATE",
    "ADD",
    "NR",
    "ROWS",
    "block_size",
    "copy_runs",
    "multiply_block",
    "multiply_transposed",
]

_NV = 2
#: Columns of a block: the width of the panels that weights are packed into.
NR = _NV * VL
#: Rows of a block at most.
ROWS = 12 if NUM_REGISTERS == 32 else 6
# Which numbers of rows are compiled; a block between two of them repeats one of its rows.
_SIZES = (1, 4, 8, ROWS) if NUM_REGISTERS == 32 else (1, 4, ROWS)
_UNROLL = 4
# Bytes of a line of the cache.
_LINE = 64

# What to do with a block when its sums are complete (or before: ACCUMULATE), in addition to the
# code of an activation, which is RELU or above these.
ADD = 2
ACCUMULATE = 4

_ARGUMENTS = 12


class _Phis:
    """The values that a loop carries, as phi nodes at the head of a block."""

    def __init__(self, b: Any, like: list[Any]) -> None:
        self.nodes = [b.phi(value.type) for value in like]

    def arrive(self, values: list[Any], block: Any) -> None:
        for node, value in zip(self.nodes, values, strict=True):
            node.add_incoming(value, block)


def _along_rows(b: Any, rows: list[Any], k: Any, count: int) -> list[list[Any]]:
    """Where the numbers of A for ``count`` steps from k on are, if rows lie side by side."""
    offset = b.shl(k, constant(2))
    at = [b.add(row, offset) for row in rows]
    return [[pointer(b, row, 4 * step) for row in at] for step in range(count)]


def _down_columns(b: Any, size: int, start: Any, astep: Any, k: Any, count: int) -> list[list[Any]]:
    """The same if the ``size`` numbers of one k lie side by side."""
    at = b.add(start, b.mul(k, astep))
    places = []
    for _ in range(count):
        places.append([pointer(b, at, 4 * i) for i in range(size)])
        at = b.add(at, astep)
    return places


def _steps(
    b: Any, places: list[list[Any]], bp: Any, bstep: Any, ahead: Any, sums: list[Any]
) -> Any:
    """One step of k for each list of ``places``: the new sums and where B stands afterwards."""
    sums = list(sums)
    for numbers in places:
        if ahead is not None:
            soon = b.add(bp, ahead)
            for j in range(0, 4 * NR, _LINE):
                prefetch(b, soon, j)
        columns = [load_vector(b, bp, 4 * VL * j) for j in range(_NV)]
        for i, number in enumerate(numbers):
            value = broadcast(b, b.load(number, align=4, typ=FLOAT))
            for j in range(_NV):
                n = i * _NV + j
                sums[n] = multiply_add(b, value, columns[j], sums[n])
        bp = b.add(bp, bstep)
    return sums, bp


def _emit(module: Any, size: int, transposed: bool, fetching: bool) -> Any:
    """The function for blocks of ``size`` rows; see :func:`multiply_block` for its arguments."""
    name = f"lucid_{'transposed' if transposed else 'block'}_{size}x{_NV}x{VL}{'_ahead' * fetching}"
    if name in module.globals:
        return module.globals[name]
    function_type = ir.FunctionType(ir.VoidType(), [ADDRESS] * _ARGUMENTS)
    function = ir.Function(module, function_type, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, segments, length, b_table, bstep, y, y_base, bias, r_base, flags, ld, ahead = function.args
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
    rows = [load_address(b, table, i) for i in range(1 if transposed else size)]
    start = b.load(pointer(b, b.add(b_table, b.shl(index, constant(3)))), typ=ADDRESS)
    b.cbranch(b.icmp_signed(">", unrolled, constant(0)), blocks["main"], blocks["rest"])

    def loop(
        head: str, count: int, limit: Any, done: str, came: list[tuple[list[Any], Any]]
    ) -> Any:
        b = ir.IRBuilder(blocks[head])
        phis = _Phis(b, came[0][0])
        k, bp, *inner = phis.nodes
        places = (
            _down_columns(b, size, rows[0], ld, k, count)
            if transposed
            else _along_rows(b, rows, k, count)
        )
        inner, bp = _steps(b, places, bp, bstep, ahead if fetching else None, inner)
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
    entry = constant(8) if transposed else b.shl(ld, constant(3))
    onward = [b.add(index, constant(1)), b.add(table, entry), *sums]
    b.cbranch(b.icmp_signed("<", onward[0], segments), blocks["segment"], blocks["out"])
    outer.arrive(onward, blocks["next"])

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
    """The vectors of ``size`` rows at the given offsets from ``base``."""
    rows = [b.add(load_address(b, offsets, i), base) for i in range(size)]
    return [load_vector(b, row, 4 * VL * j) for row in rows for j in range(_NV)]


def _generate(transposed: bool, context: Any, b: Any, values: Any) -> Any:
    """A call of the function for as many rows as the first value says."""
    end = b.append_basic_block("end")
    switch = b.switch(values[0], end)
    for size in _SIZES:
        case = b.append_basic_block(f"rows{size}")
        switch.add_case(constant(size), case)
        with b.goto_block(case):
            # Only full blocks of rows have others after them while which B can come.
            if size == ROWS and not transposed:
                fetches = b.icmp_unsigned("!=", values[-1], constant(0))
                with b.if_else(fetches) as (then, otherwise):
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
    y: Any, y_base: Any, bias: Any, r_base: Any, flags: Any, ld: Any, ahead: Any,
) -> Any:  # fmt: skip
    """Add up one block of ``size`` x NR numbers and store it.

    All arguments are int64; addresses are of float32 or of tables of int64, and
    whoever calls keeps their arrays alive.  Two rows may be the same, source and
    target: they are computed and stored alike.

    size
        Rows of the block, as :func:`block_size` has it.
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
        The code of an activation, ADD, ACCUMULATE (start from what is at ``y``, not from the bias).
    ld
        Rows of the table ``a`` have this many addresses.
    ahead
        What lies this many bytes after B is fetched into the cache meanwhile: where the
        next block's B will be, or 0.
    """

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return _generate(False, context, b, values)

    return types.void(*[types.int64] * (_ARGUMENTS + 1)), generate


def _multiply_transposed(
    context: Any, size: Any, a: Any, segments: Any, length: Any, b_table: Any, bstep: Any,
    y: Any, y_base: Any, bias: Any, r_base: Any, flags: Any, astep: Any, ahead: Any,
) -> Any:  # fmt: skip
    """The same for an A whose numbers of one k, and not of one row, lie side by side.

    a
        Table of ``segments`` addresses: where A continues in each segment.
    astep
        Bytes from the numbers of one k to those of the next.
    """

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        return _generate(True, context, b, values)

    return types.void(*[types.int64] * (_ARGUMENTS + 1)), generate


def _emit_copy(module: Any, width: int) -> Any:
    """The function that copies runs of ``width`` numbers; see :func:`copy_runs`."""
    name = f"lucid_copy_{width}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ADDRESS] * 5), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    target, source, count, target_step, source_step = function.args
    entry, loop, done = (function.append_basic_block(label) for label in ("entry", "loop", "done"))
    b = ir.IRBuilder(entry)
    b.cbranch(b.icmp_signed(">", count, constant(0)), loop, done)
    b = ir.IRBuilder(loop)
    phis = _Phis(b, [count, target, source])
    left, to, origin = phis.nodes
    run = b.load(pointer(b, origin), align=4, typ=ir.VectorType(FLOAT, width))
    b.store(run, pointer(b, to), align=4)
    onward = [b.sub(left, constant(1)), b.add(to, target_step), b.add(origin, source_step)]
    phis.arrive([count, target, source], entry)
    phis.arrive(onward, loop)
    b.cbranch(b.icmp_signed(">", onward[0], constant(0)), loop, done)
    ir.IRBuilder(done).ret_void()
    return function


def _copy_runs(
    context: Any, width: Any, target: Any, source: Any, count: Any, target_step: Any,
    source_step: Any,
) -> Any:  # fmt: skip
    """Copy ``count`` runs of ``width`` float32: ROWS or NR of them, known when it is compiled.

    The other arguments are int64: addresses, and the bytes from one run to the next.
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
    """The smallest block that is compiled for so many rows."""
    for size in _SIZES:
        if rows <= size:
            return size
    return ROWS
