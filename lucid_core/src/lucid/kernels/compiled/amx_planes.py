"""Planes of split pixels, one for each phase of the stride; see :mod:`.amx_conv`."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from lucid.kernels.layout import Array

__all__ = ["Planes", "planes_of"]

Pair = tuple[int, int]


class Planes(NamedTuple):
    """Layout of the planes of split pixels; see the module.

    Attributes
    ----------
    phases : numpy.ndarray
        Row and column phase of each plane, (planes, 2).
    taps : numpy.ndarray
        Plane, row offset and column offset of each tap.
    first : (int, int)
        Row and column of a plane that the first position of the grid reads.
    extra_rows : int
        Rows of a plane beyond those of the first tap.
    pitch : int
        Pixels from a line of a plane to the next one.
    """

    phases: Array
    taps: Array
    first: Pair
    extra_rows: int
    pitch: int


@functools.lru_cache(maxsize=1024)
def planes_of(
    rows: tuple[int, ...], columns: tuple[int, ...], in_stride: Pair, count: int, width: int
) -> Planes:
    """Return the planes of taps at rows x columns.

    ``count`` is the number of positions of a line, ``width`` its number of pixels.
    """
    down, across = (
        [divmod(o, in_stride[0]) for o in rows],
        [divmod(o, in_stride[1]) for o in columns],
    )
    top, left = min(q for q, _ in down), min(q for q, _ in across)
    phases = sorted({(i, j) for _, i in down for _, j in across})
    taps = [(phases.index((i, j)), y - top, x - left) for y, i in down for x, j in across]
    reach = max(x for _, _, x in taps)
    # Zeros right of a line are also those left of the next one.
    after = [count + left + reach - max(0, -(-(width - j) // in_stride[1])) for _, j in phases]
    shared = max(0, min(-left, reach, *after))
    return Planes(
        np.array(phases, np.int64),
        np.array(taps, np.int64),
        (top, left),
        max(y for _, y, _ in taps) + (1 if shared else 0),
        count + reach - shared,
    )
