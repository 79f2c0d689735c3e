"""LLVM IR of the AMX tile functions, which :mod:`.amx` describes and exposes as intrinsics."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from lucid.kernels.compiled.activation import RELU
from lucid.kernels.compiled.microkernel import ADD
from lucid.kernels.compiled.vector_ir import (
    ADDRESS,
    FLOAT,
    constant,
    load_address,
    new_function,
    pointer,
)

__all__ = [
    "BLOCK",
    "BLOCK_BYTES",
    "SIDE",
    "call_llvm",
    "emit_configure",
    "emit_multiply",
    "emit_split_pairs",
    "emit_split_rows",
    "emit_store_sums",
    "tile_function",
]

#: Rows of a tile, and float32 columns of a tile of sums.
SIDE = 16
#: Elements of k in a tile.
BLOCK = 32
_TILE_BYTES = 1024
_PARTS = 3
#: Bytes of a tile of elements in its three parts.
BLOCK_BYTES = _PARTS * _TILE_BYTES
# Bytes of the float32 that a block of two tiles of B is split from.
_UNSPLIT_BLOCK_BYTES = 2 * SIDE * BLOCK * 4

_BYTE, _HALF, _WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32)
_FLAG = ir.IntType(1)
_VOID, _POINTER = ir.VoidType(), ir.PointerType()
_FLOATS, _WORDS = ir.VectorType(FLOAT, SIDE), ir.VectorType(_WORD, SIDE)
_HALVES = ir.VectorType(_HALF, 2 * SIDE)
_UPPER = 0xFFFF0000
# Tile registers: sums in 0 to 3, A in 4 and 5, B in 6 and 7.
_SUMS, _ROWS, _COLUMNS = 0, 4, 6
# Products of (part of A, part of B), in an order that mostly reloads only one.
_ORDER = ((0, 2), (0, 1), (0, 0), (1, 0), (2, 0), (1, 1))


def _words(value: int) -> Any:
    return ir.Constant(_WORDS, [value] * SIDE)


def call_llvm(b: Any, name: str, kinds: list[Any], values: list[Any], result: Any = _VOID) -> Any:
    function = b.module.globals.get(name)
    if function is None:
        function = ir.Function(b.module, ir.FunctionType(result, kinds), name)
    return b.call(function, values)


def _tile(number: int) -> Any:
    return ir.Constant(_BYTE, number)


def _load_tile(b: Any, number: int, address: Any, step: Any) -> None:
    kinds, name = [_BYTE, _POINTER, ADDRESS], "llvm.x86.tileloadd64"
    call_llvm(b, name, kinds, [_tile(number), pointer(b, address), step])


def _store_tile(b: Any, number: int, address: Any, step: Any) -> None:
    kinds, name = [_BYTE, _POINTER, ADDRESS], "llvm.x86.tilestored64"
    call_llvm(b, name, kinds, [_tile(number), pointer(b, address), step])


def _clear_tile(b: Any, number: int) -> None:
    call_llvm(b, "llvm.x86.tilezero", [_BYTE], [_tile(number)])


def _multiply(b: Any, sums: int, rows: int, columns: int) -> None:
    tiles = [_tile(number) for number in (sums, rows, columns)]
    call_llvm(b, "llvm.x86.tdpbf16ps", [_BYTE] * 3, tiles)


def tile_function(module: Any, name: str, count: int, emit: Callable[..., None]) -> Any:
    """Return the function of ``count`` int64 arguments, emitted once per module."""
    if name not in module.globals:
        function = new_function(module, name, count)
        b = ir.IRBuilder(function.append_basic_block("entry"))
        emit(b, *function.args)
        b.ret_void()
    return module.globals[name]


def _loop(b: Any, count: Any, body: Callable[[Any, Any], None]) -> None:
    """Emit ``body(b, i)`` for i from 0 to ``count - 1``; the builder ends up after the loop."""
    before = b.block
    inside, after = b.append_basic_block("loop"), b.append_basic_block("after")
    b.cbranch(b.icmp_signed(">", count, constant(0)), inside, after)
    b.position_at_end(inside)
    i = b.phi(ADDRESS)
    i.add_incoming(constant(0), before)
    body(b, i)
    next_i = b.add(i, constant(1))
    i.add_incoming(next_i, b.block)
    b.cbranch(b.icmp_signed("<", next_i, count), inside, after)
    b.position_at_end(after)


def _mask(b: Any, count: Any) -> Any:
    """Return the mask of lanes below ``count``, of 16."""
    limit = b.trunc(
        b.select(b.icmp_signed("<", count, constant(SIDE)), count, constant(SIDE)), _WORD
    )
    one = b.insert_element(ir.Constant(_WORDS, ir.Undefined), limit, ir.Constant(_WORD, 0))
    limits = b.shuffle_vector(one, ir.Constant(_WORDS, ir.Undefined), _words(0))
    positions = ir.Constant(_WORDS, list(range(SIDE)))
    return b.icmp_signed("<", positions, limits)


_MASK = ir.VectorType(_FLAG, SIDE)


def _load_some(b: Any, address: Any, mask: Any) -> Any:
    """Load the lanes in ``mask``; the others are 0 and not read."""
    kinds, name = [_POINTER, _WORD, _MASK, _FLOATS], "llvm.masked.load.v16f32.p0"
    zero = ir.Constant(_FLOATS, [0.0] * SIDE)
    values = [pointer(b, address), ir.Constant(_WORD, 4), mask, zero]
    return call_llvm(b, name, kinds, values, _FLOATS)


def _store_some(b: Any, value: Any, address: Any, mask: Any) -> None:
    kinds, name = [_FLOATS, _POINTER, _WORD, _MASK], "llvm.masked.store.v16f32.p0"
    call_llvm(b, name, kinds, [value, pointer(b, address), ir.Constant(_WORD, 4), mask])


def _remainder(b: Any, x: Any) -> Any:
    """Subtract the upper halves from a vector, exactly."""
    upper = b.bitcast(b.and_(b.bitcast(x, _WORDS), _words(_UPPER)), _FLOATS)
    return b.fsub(x, upper)


def _join_halves(b: Any, x: Any, y: Any) -> Any:
    """Concatenate the upper halves of x and y."""
    odd = ir.Constant(ir.VectorType(_WORD, 2 * SIDE), list(range(1, 4 * SIDE, 2)))
    return b.shuffle_vector(b.bitcast(x, _HALVES), b.bitcast(y, _HALVES), odd)


def _join_pairs(b: Any, x: Any, y: Any) -> Any:
    """Interleave the upper halves of x and y, x first."""
    low = b.lshr(b.bitcast(x, _WORDS), _words(16))
    return b.or_(low, b.and_(b.bitcast(y, _WORDS), _words(_UPPER)))


def _store_parts(
    b: Any, x: Any, y: Any, target: Any, step: Any, joined: Callable[..., Any]
) -> None:
    """Store rows of the tiles of three parts of two vectors, joined by ``joined``."""
    for _ in range(_PARTS):
        b.store(joined(b, x, y), pointer(b, target), align=4)
        target = b.add(target, step)
        x, y = _remainder(b, x), _remainder(b, y)


def emit_split_rows(
    b: Any, source: Any, source_step: Any, rows: Any, length: Any, target: Any, row_step: Any,
    block_step: Any, part_step: Any,
) -> None:  # fmt: skip
    whole = b.lshr(length, constant(5))
    left = b.and_(length, constant(BLOCK - 1))
    low, high = _mask(b, left), _mask(b, b.sub(left, constant(SIDE)))

    def row(b: Any, r: Any) -> None:
        begin = b.add(source, b.mul(r, source_step))
        position = b.add(target, b.mul(r, row_step))

        def block(b: Any, i: Any) -> None:
            at = b.add(begin, b.mul(i, constant(4 * BLOCK)))
            x, y = (b.load(pointer(b, at, o), align=4, typ=_FLOATS) for o in (0, 4 * SIDE))
            to = b.add(position, b.mul(i, block_step))
            _store_parts(b, x, y, to, part_step, _join_halves)

        _loop(b, whole, block)
        with b.if_then(b.icmp_signed(">", left, constant(0))):
            at = b.add(begin, b.mul(whole, constant(4 * BLOCK)))
            x = _load_some(b, at, low)
            y = _load_some(b, b.add(at, constant(4 * SIDE)), high)
            to = b.add(position, b.mul(whole, block_step))
            _store_parts(b, x, y, to, part_step, _join_halves)

    _loop(b, rows, row)


def emit_split_pairs(
    b: Any, table: Any, pairs: Any, width: Any, target: Any, row_step: Any, panel_step: Any,
    part_step: Any,
) -> None:  # fmt: skip
    panels = b.lshr(b.add(width, constant(SIDE - 1)), constant(4))

    def pair(b: Any, r: Any) -> None:
        at = b.add(table, b.shl(r, constant(4)))
        sources = [load_address(b, at, i) for i in range(2)]
        position = b.add(target, b.mul(r, row_step))

        def panel(b: Any, p: Any) -> None:
            offset = b.mul(p, constant(4 * SIDE))
            mask = _mask(b, b.sub(width, b.mul(p, constant(SIDE))))
            x, y = (_load_some(b, b.add(source, offset), mask) for source in sources)
            _store_parts(b, x, y, b.add(position, b.mul(p, panel_step)), part_step, _join_pairs)

        _loop(b, panels, panel)

    _loop(b, pairs, pair)


def _split_block(
    b: Any, source: Any, target: Any, row_step: Any, part_step: Any, second: Any
) -> Callable[[Any, int], None]:
    """Return an emitter that splits 32 x 32 float32 into two blocks of B, some rows per call."""
    positions = iter([(r, p) for r in range(SIDE) for p in range(2)])

    def some(b: Any, count: int) -> None:
        for r, p in itertools.islice(positions, count):
            at = 4 * SIDE * (4 * r + p)
            x, y = (b.load(pointer(b, source, at + o), align=4, typ=_FLOATS) for o in (0, 8 * SIDE))
            to = b.add(target, b.mul(row_step, constant(r)))
            _store_parts(b, x, y, b.add(to, second) if p else to, part_step, _join_pairs)

    return some


def emit_multiply(
    b: Any, a_table: Any, a_second: Any, a_row: Any, a_block: Any, a_part: Any, b_table: Any,
    b_second: Any, b_row: Any, b_block: Any, b_part: Any, segments: Any, blocks: Any, sums: Any,
    line: Any, accumulate: Any, unsplit: Any,
) -> None:  # fmt: skip
    squares = [(r, c) for r in range(2) for c in range(2)]

    def position(r: int, c: int) -> Any:
        return b.add(b.add(sums, b.mul(line, constant(SIDE * r))), constant(4 * SIDE * c))

    with b.if_else(b.icmp_signed("!=", accumulate, constant(0))) as (resumed, fresh):
        with resumed:
            for r, c in squares:
                _load_tile(b, _SUMS + 2 * r + c, position(r, c), line)
        with fresh:
            for r, c in squares:
                _clear_tile(b, _SUMS + 2 * r + c)

    def begin(b: Any, table: Any, s: Any) -> Any:
        return b.load(pointer(b, b.add(table, b.shl(s, constant(3)))), typ=ADDRESS)

    def segment(b: Any, s: Any, splitting: bool = False) -> None:
        own, others = begin(b, a_table, s), begin(b, b_table, s)
        if splitting:
            following = b.add(s, constant(1))
            following = b.select(b.icmp_signed("<", following, segments), following, s)
            source = begin(b, unsplit, s)
            source_after, others_after = begin(b, unsplit, following), begin(b, b_table, following)

        def block(b: Any, i: Any) -> None:
            before: tuple[int | None, int | None] = (None, None)
            rows = [b.add(own, b.mul(i, a_block))]
            columns = [b.add(others, b.mul(i, b_block))]
            rows.append(b.add(rows[0], a_second))
            columns.append(b.add(columns[0], b_second))
            split = None
            if splitting:
                # The next block, while this one is multiplied.
                next_block = b.add(i, constant(1))
                inside = b.icmp_signed("<", next_block, blocks)
                there = b.add(source, b.mul(next_block, constant(_UNSPLIT_BLOCK_BYTES)))
                there = b.select(inside, there, source_after)
                target = b.add(others, b.mul(next_block, b_block))
                target = b.select(inside, target, others_after)
                split = _split_block(b, there, target, b_row, b_part, b_second)
            for n, (part, other) in enumerate(_ORDER):
                for j in range(2):
                    if part != before[0]:
                        at = b.add(rows[j], b.mul(a_part, constant(part)))
                        _load_tile(b, _ROWS + j, at, a_row)
                    if other != before[1]:
                        at = b.add(columns[j], b.mul(b_part, constant(other)))
                        _load_tile(b, _COLUMNS + j, at, b_row)
                for m, (r, c) in enumerate(squares):
                    _multiply(b, _SUMS + 2 * r + c, _ROWS + r, _COLUMNS + c)
                    if split:
                        split(b, (4 * n + m + 1) * 32 // 24 - (4 * n + m) * 32 // 24)
                before = (part, other)

        _loop(b, blocks, block)

    with b.if_else(b.icmp_unsigned("==", unsplit, constant(0))) as (there, split):
        with there:
            _loop(b, segments, segment)
        with split:
            first = begin(b, b_table, constant(0))
            _split_block(b, begin(b, unsplit, constant(0)), first, b_row, b_part, b_second)(b, 32)
            _loop(b, segments, functools.partial(segment, splitting=True))
    for r, c in squares:
        _store_tile(b, _SUMS + 2 * r + c, position(r, c), line)


def emit_store_sums(
    b: Any,
    sums: Any,
    rows: Any,
    targets: Any,
    y: Any,
    bias: Any,
    residual: Any,
    width: Any,
    flags: Any,
) -> None:
    halves = range(2)
    masks = [_mask(b, b.sub(width, constant(SIDE * j))) for j in halves]
    zero = ir.Constant(_FLOATS, [0.0] * SIDE)
    starts = [b.load(pointer(b, bias, 4 * SIDE * j), align=4, typ=_FLOATS) for j in halves]
    adds = b.icmp_unsigned("!=", b.and_(flags, constant(ADD)), constant(0))
    cuts = b.icmp_unsigned("!=", b.and_(flags, constant(RELU)), constant(0))
    nothing = ir.Constant(_MASK, [0] * SIDE)
    added = [b.select(adds, mask, nothing) for mask in masks]
    cut = [b.select(cuts, mask, nothing) for mask in masks]

    def row(b: Any, r: Any) -> None:
        at = b.load(pointer(b, b.add(targets, b.shl(r, constant(3)))), typ=ADDRESS)
        with b.if_then(b.icmp_signed(">=", at, constant(0))):
            source = b.add(sums, b.mul(r, constant(2 * 4 * SIDE)))
            for j in halves:
                shift = b.add(at, constant(4 * SIDE * j))
                x = b.load(pointer(b, source, 4 * SIDE * j), align=4, typ=_FLOATS)
                x = b.fadd(x, starts[j])
                x = b.fadd(x, _load_some(b, b.add(residual, shift), added[j]))
                x = b.select(b.and_(b.fcmp_ordered("<", x, zero), cut[j]), zero, x)
                _store_some(b, x, b.add(y, shift), masks[j])

    _loop(b, rows, row)


def emit_configure(b: Any, rows: Any) -> None:
    """Configure tiles of sums and of A with ``rows`` rows, those of B with 16; 64 bytes a row."""
    settings = b.alloca(_BYTE, constant(64))
    settings.align = 64
    begin = b.ptrtoint(settings, ADDRESS)
    for at in range(0, 64, 8):
        b.store(constant(0), pointer(b, begin, at), align=8)
    b.store(_tile(1), pointer(b, begin), align=1)  # the palette
    for number in range(8):
        b.store(ir.Constant(_HALF, 64), pointer(b, begin, 16 + 2 * number), align=2)
        count = b.trunc(rows, _BYTE) if number < _COLUMNS else _tile(SIDE)
        b.store(count, pointer(b, begin, 48 + number), align=1)
    call_llvm(b, "llvm.x86.ldtilecfg", [_POINTER], [settings])
