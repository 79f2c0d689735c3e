"""Convolution on the matrix unit.

The description of a convolution is :mod:`.implicit_gemm`'s: places of a grid, taps, phases.
A thread takes a strip of the grid's lines and splits the pixels that they reach, each
once, into the three parts of its numbers (:mod:`.amx`).  They lie in *planes*: with a step of
s pixels, rows whose numbers leave the same rest when divided by s are one plane, and
so are columns, so that in a plane, places side by side read pixels side by side, for every tap.
All lines of a plane follow each other without a gap; then 16 rows of a tile are
any 16 places in a row, and the few that fall between two lines are computed and dropped.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from lucid.kernels.compiled.activation import RELU, activate
from lucid.kernels.compiled.amx import (
    BLOCK,
    BLOCK_BYTES,
    SIDE,
    configure_tiles,
    multiply_tiles,
    release_tiles,
    split_pairs,
    split_rows,
    store_sums,
)
from lucid.kernels.compiled.implicit_gemm import Grid
from lucid.kernels.compiled.jit import kernel, routine
from lucid.kernels.compiled.microkernel import ADD
from lucid.kernels.layout import Array
from lucid.kernels.threads import get_num_threads, parallel_for

__all__ = ["Plan", "aligned", "convolve_amx", "plan_amx", "run_amx"]

Pair = tuple[int, int]

#: Columns of two tiles side by side, and of the panels that :func:`.implicit_gemm.pack` makes: the
#: unit counts as available only where vectors are of 16 numbers (AVX-512), and NR is two of them.
WIDTH = 2 * SIDE
# Numbers of a block of tiles, in its parts, as an array of float32 counts them.
_NUMBERS = BLOCK_BYTES // 4
_LINE = 64
_TILE = SIDE * _LINE
# Bytes of 32 numbers of a pixel, in their parts.
_PIXEL = 3 * _LINE
# Bytes of pixels in their parts that a thread works on at a time: with two panels of
# weights they should stay in a core's own cache.
_STRIP_BYTES = 3 << 18
# Places of a strip: with fewer, weights come too often; more change nothing.
_FEWEST, _MOST = 256, 512
# Into how many strips at least lines are cut, on one thread too: of larger strips fewer channels
# would fit at a time.
_FEWEST_STRIPS = 4
# Bytes of split weights that may be gone through again for every few places.
_FEW_WEIGHTS = 1 << 18
# How many times a weight costs what splitting a number of a pixel does.
_SPLITTING = 0.6


@routine
def aligned(numbers: int) -> Array:
    """Float32 that begin on a line of the cache."""
    room = np.empty(numbers + _LINE // 4, np.float32)
    begin = -room.ctypes.data % _LINE // 4
    return room[begin : begin + numbers]


class Planes(NamedTuple):
    """How taps read planes of pixels; see the module.

    Attributes
    ----------
    rests : numpy.ndarray
        Of each plane, which rest its rows and its columns leave: (planes, 2).
    taps : numpy.ndarray
        Of each tap: its plane, and how many rows and columns after the first one it reads.
    first : (int, int)
        The plane's row and column that are read for the grid's first place.
    more : int
        How many rows of a plane are laid out beside those of the first tap.
    pitch : int
        From a line of a plane to the next one, in pixels.
    """

    rests: Array
    taps: Array
    first: Pair
    more: int
    pitch: int


@functools.lru_cache(maxsize=1024)
def planes_of(
    rows: tuple[int, ...], columns: tuple[int, ...], step: Pair, count: int, width: int
) -> Planes:
    """For taps at rows x columns, ``count`` places a line, and lines of ``width`` pixels."""
    down, across = [divmod(o, step[0]) for o in rows], [divmod(o, step[1]) for o in columns]
    top, left = min(q for q, _ in down), min(q for q, _ in across)
    rests = sorted({(i, j) for _, i in down for _, j in across})
    taps = [(rests.index((i, j)), y - top, x - left) for y, i in down for x, j in across]
    reach = max(x for _, _, x in taps)
    # Zeros to the right of a line serve as those to the left of the next one too.
    after = [count + left + reach - max(0, -(-(width - j) // step[1])) for _, j in rests]
    shared = max(0, min(-left, reach, *after))
    return Planes(
        np.array(rests, np.int64),
        np.array(taps, np.int64),
        (top, left),
        max(y for _, y, _ in taps) + (1 if shared else 0),
        count + reach - shared,
    )


@routine
def _split_lines(
    x: Array, image: int, first: Pair, count: int, pitch: int, rests: Pair, step: Pair,
    channel: int, length: int, pixel: int, padded: Array, margin: int, target: Array,
) -> None:  # fmt: skip
    """``count`` lines of a plane from a row and column on, for channels from ``channel`` on.

    If ``padded`` is as long as a line, each line is read from there, ``margin`` pixels further on.
    """
    _, h, w, channels = x.shape
    if len(padded):
        w = len(padded) // channels
    left = min(pitch, max(0, -first[1]))
    # Columns of the plane that lie inside of the image.
    begin = max(0, first[1])
    end = min(first[1] + pitch, -(-(w - rests[1]) // step[1]))
    inside = max(0, end - begin)
    line = pitch * pixel // 4
    for i in range(count):
        row = target[i * line : (i + 1) * line]
        sy = (first[0] + i) * step[0] + rests[0]
        if not 0 <= sy < h or not inside:
            row[:] = 0
            continue
        row[: left * pixel // 4] = 0
        source = x[image, sy, 0].ctypes.data
        if len(padded):
            numbers = x.shape[2] * channels
            padded[margin * channels :][:numbers] = x[image, sy].reshape(numbers)
            source = padded.ctypes.data
        source += ((begin * step[1] + rests[1]) * channels + channel) * 4
        split_rows(
            source, step[1] * channels * 4, inside, length,
            row.ctypes.data + left * pixel, pixel, _PIXEL, _LINE,
        )  # fmt: skip
        row[(left + inside) * pixel // 4 :] = 0


@routine
def _find_targets(
    line0: int, line1: int, grid: Pair, pitch: int, rows: int, y: Array, first: Pair, pace: Pair,
    column: int, targets: Array,
) -> int:  # fmt: skip
    """Where results of lines line0..line1-1 of one image go, in bundles; how many these are.

    ``targets`` (bundles, 16) are offsets in bytes; -1 for what is dropped.
    """
    places = (line1 - line0) * pitch - (pitch - grid[1])
    bundles = -(-places // rows)
    image = line0 // grid[0]
    for n in range(bundles * rows):
        t, u = line0 % grid[0] + n // pitch, n % pitch
        if u >= grid[1] or n >= places:
            targets[n // rows, n % rows] = -1
            continue
        pixel = (image * y.shape[1] + first[0] + t * pace[0]) * y.shape[2]
        at = (pixel + first[1] + u * pace[1]) * y.shape[3] + column
        targets[n // rows, n % rows] = at * 4
    return bundles


@routine
def _split_panel(
    panel: Array, segments: int, length: int, c0: int, numbers: int, target: Array
) -> None:
    """Columns of numbers (K, 32) as two panels of tiles, for channels from ``c0`` on."""
    zeros = np.zeros(WIDTH, np.float32)
    table = np.empty(BLOCK, np.int64)
    fill = -(-numbers // BLOCK)
    for n in range(segments * fill):
        first = n % fill * BLOCK
        at = panel[n // fill * length + c0 + first].ctypes.data
        for k in range(BLOCK):
            table[k] = at + k * WIDTH * 4 if first + k < numbers else zeros.ctypes.data
        split_pairs(
            table.ctypes.data, SIDE, WIDTH, target.ctypes.data + n * BLOCK_BYTES, _LINE,
            segments * fill * BLOCK_BYTES, _TILE,
        )  # fmt: skip


@kernel
def _convolve(
    start: int,
    stop: int,
    x: Array,
    panels: Array,
    bias: Array,
    residual: Array,
    y: Array,
    grid: Pair,
    step: Pair,
    rests: Array,
    taps: Array,
    origin: Pair,
    more: int,
    pitch: int,
    first: Pair,
    pace: Pair,
    tasks: Pair,
    groups: int,
    length: int,
    chunk: int,
    margins: Pair,
    flags: int,
) -> None:
    """Items start..stop-1: groups x ``tasks``, which are strips of lines x bands of panels.

    Each tap reads ``length`` numbers from a group's first channel on, ``chunk`` at a time.
    With ``margins`` it does so in lines with as many zero pixels to their left and right.
    """
    strips, bands = tasks
    lines = len(x) * grid[0]
    inputs, outputs = x.shape[3] // groups, y.shape[3] // groups
    segments, pairs = len(taps), len(panels) // groups
    blocks = segments * -(-length // BLOCK)
    most_pairs = -(-pairs // bands)
    # Few weights, split, stay in the cache while line after line of the result is finished; of
    # many, one panel does while all bundles go by.
    by_bundle = most_pairs * 2 * blocks * BLOCK_BYTES <= _FEW_WEIGHTS
    split = aligned((most_pairs if by_bundle else 1) * 2 * blocks * _NUMBERS)
    split_here = (-1, -1)
    # A line of the cache more, so that pixels do not compete for the same places in it.
    pixel = -(-min(chunk, length) // BLOCK) * _PIXEL
    pixel += _LINE if pixel // _LINE % 2 == 0 else 0
    largest = -(-lines // strips)
    images = min(len(x), (largest - 1) // grid[0] + 2)
    room = (largest + images * more) * pitch + SIDE
    plane = room * pixel
    a = aligned(len(rests) * plane // 4)
    most = -(-largest * pitch // SIDE) + images + largest * pitch // SIDE
    bundles_at = np.empty(most, np.int64)
    targets = np.empty((most, SIDE), np.int64)
    offsets, reads = np.empty(segments, np.int64), np.empty((3, segments), np.int64)
    for s in range(segments):
        offsets[s] = taps[s, 0] * plane + (taps[s, 1] * pitch + taps[s, 2]) * pixel
    padded = np.zeros(
        ((margins[0] + margins[1]) + x.shape[2]) * x.shape[3] if (margins[0] + margins[1]) else 0,
        np.float32,
    )
    kept = length > chunk
    square = 2 * SIDE * WIDTH
    sums = aligned(square * ((most + 1) // 2 * -(-pairs // bands) if kept else 1))
    for item in range(start, stop):
        group, strip, band = item // (strips * bands), item // bands % strips, item % bands
        line0, line1 = lines * strip // strips, lines * (strip + 1) // strips
        pair0, pair1 = pairs * band // bands, pairs * (band + 1) // bands
        # The unit's time goes by rows: as few as possible in each bundle of the longest run.
        run = min(line1 - line0, grid[0]) * pitch
        rows = -(-run // -(-run // SIDE))
        configure_tiles(rows)
        bundles = 0
        for c0 in range(0, length, chunk):
            numbers = min(chunk, length - c0)
            # Runs of lines within an image.
            at, begin = 0, line0
            while begin < line1:
                image = begin // grid[0]
                end = min(line1, (image + 1) * grid[0])
                top = begin % grid[0] + origin[0]
                for q in range(len(rests)):
                    there = a[(q * plane + at) // 4 :]
                    _split_lines(
                        x, image, (top, origin[1]), end - begin + more, pitch,
                        (rests[q, 0], rests[q, 1]), step, group * inputs + c0, numbers, pixel,
                        padded, margins[0], there,
                    )  # fmt: skip
                if c0 == 0:
                    count = _find_targets(
                        begin, end, grid, pitch, rows, y, first, pace, group * outputs,
                        targets[bundles:],
                    )  # fmt: skip
                    for n in range(count):
                        bundles_at[bundles + n] = a.ctypes.data + at + n * rows * pixel
                    bundles += count
                at += (end - begin + more) * pitch * pixel
                begin = end
            last = c0 + numbers == length
            wide, halves = pair1 - pair0, (bundles + 1) // 2
            fill = -(-numbers // BLOCK)
            for i in range(wide * halves):
                pair = pair0 + (i % wide if by_bundle else i // halves)
                bundle = 2 * (i // wide if by_bundle else i % halves)
                column = pair * WIDTH
                second = min(bundle + 1, bundles - 1)
                slot = (pair - pair0 if by_bundle else 0) * 2 * blocks
                columns, numbers_at = split.ctypes.data + slot * BLOCK_BYTES, 0
                if bundle == 0 and split_here != (group, band):
                    panel = panels[group * pairs + pair]
                    if numbers % BLOCK:
                        _split_panel(panel, segments, length, c0, numbers, split[slot * _NUMBERS :])
                    else:
                        for s in range(segments):
                            reads[2, s] = panel[s * length + c0].ctypes.data
                        numbers_at = reads[2].ctypes.data
                for s in range(segments):
                    reads[0, s] = bundles_at[bundle] + offsets[s]
                    reads[1, s] = columns + s * fill * BLOCK_BYTES
                n = ((pair - pair0) * ((most + 1) // 2) + bundle // 2) if kept else 0
                here = sums.ctypes.data + n * square * 4
                multiply_tiles(
                    reads[0].ctypes.data, bundles_at[second] - bundles_at[bundle], pixel,
                    _PIXEL, _LINE, reads[1].ctypes.data, segments * fill * BLOCK_BYTES, _LINE,
                    BLOCK_BYTES, _TILE, segments, fill, here, WIDTH * 4, c0, numbers_at,
                )  # fmt: skip
                for half in range(second - bundle + 1 if last else 0):
                    store_sums(
                        here + half * SIDE * WIDTH * 4, rows,
                        targets[bundle + half].ctypes.data, y.ctypes.data + column * 4,
                        bias.ctypes.data + (group * pairs + pair) * WIDTH * 4,
                        residual.ctypes.data + column * 4, min(WIDTH, outputs - column),
                        flags,
                    )  # fmt: skip
        if by_bundle and not kept:
            split_here = (group, band)
    release_tiles()


def convolve_amx(
    x: Array,
    panels: Array,
    bias: Array | None,
    residual: Array | None,
    activation: int,
    y: Array,
    grid: Grid,
    groups: int,
    length: int,
    margins: Pair = (0, 0),
) -> None:
    """Sums over the places of ``grid``, written into ``y``.

    Parameters are those of :func:`lucid.kernels.compiled.implicit_gemm.convolve`, its panels of
    float32 included, but for ``length``: how many numbers each tap reads; and ``margins``:
    pixels of zeros left and right of each line, where a tap reads several pixels.
    """
    plan = plan_amx(x.shape, panels, grid, groups, length, margins)
    run_amx(plan, x, panels, bias, residual, activation, y)


class Plan(NamedTuple):
    """All that shapes decide of a convolution.

    Attributes
    ----------
    items : int
        Into how many the work is cut.
    groups, columns : int
        The shape that a bias is filled up to.
    settings : tuple
        What the kernel is told of it.
    """

    items: int
    groups: int
    columns: int
    settings: tuple[Any, ...]


def plan_amx(
    shape: tuple[int, ...], panels: Array, grid: Grid, groups: int, length: int, margins: Pair
) -> Plan:
    """What :func:`run_amx` needs to know of images of some shape (N, H, W, channels)."""
    pairs = len(panels) // groups
    if not shape[0] or not grid.rows or not grid.columns:
        return Plan(0, groups, pairs * WIDTH, ())
    offsets = tuple(grid.row_offsets.tolist()), tuple(grid.column_offsets.tolist())
    planes, strips, bands, chunk = _partition(
        shape, grid.rows, grid.columns, *offsets, grid.step, sum(margins), pairs, groups, length,
        get_num_threads(),
    )  # fmt: skip
    size = (grid.rows, grid.columns)
    where = (size, grid.step, *planes, grid.first, grid.pace, (strips, bands))
    settings = (*where, groups, length, chunk, margins)
    return Plan(groups * strips * bands, groups, pairs * WIDTH, settings)


def run_amx(
    plan: Plan,
    x: Array,
    panels: Array,
    bias: Array | None,
    residual: Array | None,
    activation: int,
    y: Array,
) -> None:
    """Convolve images of the shape that was planned for; see :func:`convolve_amx`."""
    start = bias
    if bias is None or len(bias) < plan.groups * plan.columns:
        filled = np.zeros((plan.groups, plan.columns), np.float32)
        if bias is not None:
            filled[:, : len(bias) // plan.groups] = bias.reshape(plan.groups, -1)
        start = filled.reshape(-1)
    fused = activation == RELU
    flags = (0 if residual is None else ADD) | (RELU if fused else 0)
    added = y if residual is None else residual
    parallel_for(_convolve, plan.items, x, panels, start, added, y, *plan.settings, flags)
    if not fused:
        activate(y, activation)


@functools.lru_cache(maxsize=1024)
def _partition(
    shape: tuple[int, int, int, int], height: int, count: int, rows: tuple[int, ...],
    columns: tuple[int, ...], step: Pair, margin: int, pairs: int, groups: int, length: int,
    threads: int,
) -> tuple[Planes, int, int, int]:  # fmt: skip
    """Planes, and into how many strips of lines and bands of panels to cut each group's work.

    By lines, every thread reads all weights; by panels, every thread splits all pixels.
    The last number is how many channels to go through at a time.  The order in which a sum is
    added up follows from it, so it is chosen for the largest strips that any number of
    threads would have.
    """
    planes = planes_of(rows, columns, step, count, shape[2] + margin)
    lines = shape[0] * height
    line = len(planes.rests) * planes.pitch
    most = max(1, _STRIP_BYTES // (line * -(-length // BLOCK) * _PIXEL))
    most = min(max(most, -(-_FEWEST // planes.pitch)), -(-_MOST // planes.pitch))
    few = lines * planes.pitch < _SPLITTING * len(planes.taps) * pairs * WIDTH
    at_least = -(-lines // most)
    if groups == 1 and not few:  # an even number, as two threads want it
        at_least = min(lines, max(_FEWEST_STRIPS, at_least + at_least % 2))
    strips, bands = at_least, 1
    if few and threads > 1 and pairs * groups >= threads:
        bands = -(-threads // groups)
    elif groups == 1:  # as many for each
        strips = max(strips, min(threads * 2, lines))
        strips = min(lines, strips + -strips % threads)
    each = -(-lines // at_least)
    each += planes.more * (1 + each // height)
    return planes, strips, bands, max(1, _STRIP_BYTES // (each * line * _PIXEL)) * BLOCK
