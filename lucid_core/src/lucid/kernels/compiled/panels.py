"""Panels and address tables of the micro-kernel, for batches of matrices with any strides."""

from __future__ import annotations

import numpy as np

from lucid.kernels.compiled.jit import routine
from lucid.kernels.compiled.microkernel import MR, NR, copy_runs
from lucid.kernels.compiled.vector_ir import VL
from lucid.kernels.compiled.winograd_transform import transpose_squares
from lucid.kernels.layout import Array

__all__ = ["find_rows", "flatten_matrices", "pack_rows", "pack_transposed"]


@routine
def pack_transposed(rows: int, step: int, count: int, length: int, panels: Array) -> None:
    """Pack ``count`` rows from an address on, ``step`` bytes apart, into panels (P, length, NR)."""
    square, partial = np.empty((VL, VL), np.float32), np.empty((VL, VL), np.float32)
    for first in range(0, len(panels) * NR, VL):
        filled = min(max(count - first, 0), VL)
        target = panels[first // NR].ctypes.data + first % NR * 4
        for k in range(0, length, VL):
            width = min(VL, length - k)
            source, source_step = rows + first * step + k * 4, step
            if filled < VL or width < VL:
                partial[:] = 0
                for r in range(filled):
                    copy_runs(1, partial[r].ctypes.data, source + r * step, width, 4, 4)
                source, source_step = partial.ctypes.data, VL * 4
            transpose_squares(source, source_step, 0, square.ctypes.data, 0, 1)
            copy_runs(VL, target + k * NR * 4, square.ctypes.data, width, NR * 4, VL * 4)


@routine
def pack_rows(rows: int, step: int, count: int, length: int, panels: Array) -> None:
    """Pack ``count`` rows from an address on into panels (P, count or more, NR) of columns."""
    for p in range(len(panels)):
        panel, width = panels[p], min(NR, length - p * NR)
        source = rows + p * NR * 4
        if width == NR:
            copy_runs(NR, panel.ctypes.data, source, count, NR * 4, step)
        else:
            panel[:] = 0
            for r in range(count):
                copy_runs(1, panel[r].ctypes.data, source + r * step, width, 4, 4)


@routine
def find_rows(first: int, step: int, filled: int, table: Array) -> None:
    """Write the addresses of the rows of a block; rows after ``filled`` repeat the first."""
    for r in range(MR):
        table[r] = first + (r if r < filled else 0) * step


def flatten_matrices(x: Array, lead: tuple[int, ...]) -> tuple[Array, Array, int]:
    """Return a flat array, the index of each head of ``lead`` in it, and the step between rows.

    It is a view if rows are contiguous, else of a copy.
    """
    usable = x.flags.aligned and x.flags.writeable and x.dtype.isnative and min(x.strides) >= 0
    if not usable or x.strides[-1] != 4 or any(step % 4 for step in x.strides):
        x = np.require(x, np.float32, ["C", "A", "W"])
    steps = [step // 4 for step in x.strides]
    extent = 1 + sum((n - 1) * step for n, step in zip(x.shape, steps, strict=True))
    heads = np.zeros((1,) * len(lead), np.int64)
    for axis, (n, step) in enumerate(zip(x.shape[-3::-1], steps[-3::-1], strict=True)):
        heads = heads + (np.arange(n) * step).reshape(-1, *(1,) * axis)
    flat = np.lib.stride_tricks.as_strided(x, (extent,), (4,))
    return flat, np.broadcast_to(heads, lead).reshape(-1), steps[-2] if x.shape[-2] > 1 else 0
