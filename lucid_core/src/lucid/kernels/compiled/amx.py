"""AMX tile products of float32 by bfloat16 decomposition, as intrinsics.

The upper 16 bits of a float32 are a bfloat16; the remainder gives a second one, and its remainder
a third one, exactly: a float32 is the sum of three bfloat16.  Of the nine products of two
elements' parts, the three smallest are below the last bit of a float32 and are dropped; the other
six are accumulated in float32 (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial
Intelligence Datatype For Higher-Precision Computations", ARITH 2019).

A *tile* (Intel SDM, volume 1, chapter 18) is 16 rows of 64 bytes.  A tile of A holds 32 elements of
16 rows; a tile of B holds 16 columns of 32 elements, in 16 rows of pairs.  Matrices are cut into
*blocks* of 32 along k, with each block's three parts after each other: (K / 32, 3, 1024 bytes).

AMX flushes denormals (below 2^-126) to zero, and sums with an infinite element may be NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from lucid.kernels.compiled.amx_ir import (
    BLOCK,
    BLOCK_BYTES,
    SIDE,
    call_llvm,
    emit_configure,
    emit_multiply,
    emit_split_pairs,
    emit_split_rows,
    emit_store_sums,
    tile_function,
)
from lucid.kernels.compiled.vector_ir import call_emitted

__all__ = [
    "BLOCK",
    "BLOCK_BYTES",
    "SIDE",
    "configure_tiles",
    "multiply_tiles",
    "release_tiles",
    "split_pairs",
    "split_rows",
    "store_sums",
]


def _make_intrinsic(name: str, emit: Callable[..., None], count: int) -> Any:
    """Return the signature of an intrinsic of ``count`` int64, and its code generator."""
    return call_emitted(lambda m: tile_function(m, f"lucid_amx_{name}", count, emit), count)


def _configure_tiles(context: Any, rows: Any) -> Any:
    """Configure the tiles of this thread: sums and A have ``rows`` rows, 1 to 16."""
    return _make_intrinsic("configure_tiles", emit_configure, 1)


def _release_tiles(context: Any) -> Any:
    """Release the tiles, so that the system need not save them any more."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        call_llvm(b, "llvm.x86.tilerelease", [], [])
        return context.get_dummy_value()

    return types.void(), generate


def _split_rows(
    context: Any, source: Any, source_step: Any, rows: Any, length: Any, target: Any,
    row_step: Any, block_step: Any, part_step: Any,
) -> Any:  # fmt: skip
    """Split rows of float32 into the three parts, as rows of tiles of A.

    All arguments are int64, steps in bytes.

    source, source_step, rows, length
        First row, step to the next one, number of rows, and float32 per row.
    target, row_step, block_step, part_step
        Target of the first part of the first 32 elements; steps to the next row, to the next 32
        elements (padded with zeros), and to the next part.
    """
    return _make_intrinsic("split_rows", emit_split_rows, 8)


def _split_pairs(
    context: Any, table: Any, pairs: Any, width: Any, target: Any, row_step: Any, panel_step: Any,
    part_step: Any,
) -> Any:  # fmt: skip
    """Split rows of float32 into the three parts, as pairs of rows of tiles of B.

    All arguments are int64, steps in bytes.

    table, pairs, width
        Table of two addresses per pair of rows, number of pairs, and float32 per row.
    target, row_step, panel_step, part_step
        Target of the first part of the first 16 columns; steps to the next pair, to the next 16
        columns (padded with zeros), and to the next part.
    """
    return _make_intrinsic("split_pairs", emit_split_pairs, 7)


def _multiply_tiles(
    context: Any, a_table: Any, a_second: Any, a_row: Any, a_block: Any, a_part: Any,
    b_table: Any, b_second: Any, b_row: Any, b_block: Any, b_part: Any, segments: Any,
    blocks: Any, sums: Any, line: Any, accumulate: Any, unsplit: Any,
) -> Any:  # fmt: skip
    """Multiply two tiles of rows by two tiles of columns.

    All arguments are int64, steps in bytes.

    a_table, a_second, a_row, a_block, a_part
        Table of the address of A's first tile in each segment of k; steps to the second tile, the
        next row, the next block, and the next part.
    b_table, b_second, b_row, b_block, b_part
        The same of B, whose rows are pairs.
    segments, blocks
        Number of segments, and of blocks in each.
    sums, line
        Address of the sums, and step between their lines of 32; the second rows begin at line 16.
    accumulate
        Whether to add to the sums.
    unsplit
        0 if the tiles of B are already split.  Otherwise a table of addresses of float32 rows of 32
        for each segment, which are split one block ahead of the products.
    """
    return _make_intrinsic("multiply", emit_multiply, 16)


def _store_sums(
    context: Any, sums: Any, rows: Any, targets: Any, y: Any, bias: Any, residual: Any,
    width: Any, flags: Any,
) -> Any:  # fmt: skip
    """Store lines of 32 sums, with bias, residual and ReLU.

    sums, rows
        Lines of 32 sums, and their number.
    targets, y
        Table of an offset for each line, in bytes from ``y``; negative lines are dropped.
    bias
        Address of 32 values added to each line.
    residual
        Base address of residual lines at the same offsets, with the flag ADD.
    width
        Number of columns to store.
    flags
        ADD, RELU.
    """
    return _make_intrinsic("finish", emit_store_sums, 8)


configure_tiles: Any = intrinsic(_configure_tiles)
release_tiles: Any = intrinsic(_release_tiles)
split_rows: Any = intrinsic(_split_rows)
split_pairs: Any = intrinsic(_split_pairs)
multiply_tiles: Any = intrinsic(_multiply_tiles)
store_sums: Any = intrinsic(_store_sums)
