"""RoIAlign over (N, H, W, C) memory.

The samples of a bin form a grid, and bilinear weights are separable.  So a bin is a sum over a
few rows and columns, with the weights of samples that share a pixel summed beforehand, and the
inner loop runs over the channels of one pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.kernels.compiled.jit import Array, dense, exact_routine, float_type, kernel, nhwc
from lucid.kernels.memory import empty
from lucid.kernels.reference.roi_align import Pair, Shape, regions_of
from lucid.kernels.threads import parallel_for


@exact_routine
def _taps(origin: Any, bin_size: Any, samples: int, bins: int, size: int, like: Array) -> Any:
    """Return the pixels that each bin reads along one axis, and their weights.

    Returns
    -------
    index, weight : array (bins, most)
    count : array (bins,)
        Number of entries of each row.
    """
    # Whether a sample is outside depends on the last bit: rounds as `_neighbors` of the reference.
    # In ascending order no pixel repeats; a negative size (descending order) may repeat some.
    most = min(2 * samples, size + 1) if bin_size > 0 else 2 * samples
    index = np.empty((bins, most), np.int64)
    weight = np.empty((bins, most), like.dtype)
    count = np.zeros(bins, np.int64)
    for p in range(bins):
        used = 0
        for i in range(samples):
            at = origin + p * bin_size + (i + 0.5) * bin_size / samples
            if not -1.0 <= at <= size:
                continue
            at = min(max(at, 0.0), size - 1.0)
            low = np.int64(at)
            fraction = at - low
            for near in range(2):
                pixel = low + near
                share = (fraction if near else 1.0 - fraction) / samples
                if share == 0.0:
                    continue
                if used > 0 and index[p, used - 1] == pixel:
                    weight[p, used - 1] += share
                elif used > 1 and index[p, used - 2] == pixel:
                    weight[p, used - 2] += share
                else:
                    index[p, used] = pixel
                    weight[p, used] = share
                    used += 1
        count[p] = used
    return index, weight, count


@exact_routine
def _reaches(index: Array, count: Array, low: int, high: int) -> bool:
    """Return whether any pixel of `_taps` is in low..high-1."""
    for p in range(len(count)):
        for a in range(count[p]):
            if low <= index[p, a] < high:
                return True
    return False


@kernel
def _forward(
    start: int,
    stop: int,
    x: Array,
    image: Array,
    origin: Array,
    bin_size: Array,
    samples: Array,
    y: Array,
) -> None:
    """Item = one region."""
    _, height, width, channels = x.shape
    _, ph, pw, _ = y.shape
    for r in range(start, stop):
        if samples[r, 0] < 0:
            y[r] = np.nan
            continue
        n = image[r]
        iy, wy, ny = _taps(origin[r, 0], bin_size[r, 0], samples[r, 0], ph, height, x)
        ix, wx, nx = _taps(origin[r, 1], bin_size[r, 1], samples[r, 1], pw, width, x)
        for p in range(ph):
            for q in range(pw):
                for c in range(channels):
                    y[r, p, q, c] = 0
                for a in range(ny[p]):
                    row = iy[p, a]
                    for b in range(nx[q]):
                        column = ix[q, b]
                        w = wy[p, a] * wx[q, b]
                        for c in range(channels):
                            y[r, p, q, c] += w * x[n, row, column, c]


@kernel
def _backward(
    start: int,
    stop: int,
    g: Array,
    image: Array,
    origin: Array,
    bin_size: Array,
    samples: Array,
    gx: Array,
) -> None:
    """Item = one row of one image, since regions may overlap and rows do not.

    Every pixel sums over the regions in order, independent of the number of threads.
    """
    _, height, width, channels = gx.shape
    regions, ph, pw, _ = g.shape
    for i in range(start, stop):
        gx[i // height, i % height] = 0
    for r in range(regions):
        first = image[r] * height
        if samples[r, 0] < 0 or first + height <= start or first >= stop:
            continue
        iy, wy, ny = _taps(origin[r, 0], bin_size[r, 0], samples[r, 0], ph, height, g)
        if not _reaches(iy, ny, start - first, stop - first):
            continue
        ix, wx, nx = _taps(origin[r, 1], bin_size[r, 1], samples[r, 1], pw, width, g)
        n = image[r]
        for p in range(ph):
            for a in range(ny[p]):
                row = iy[p, a]
                if not start <= first + row < stop:
                    continue
                for q in range(pw):
                    for b in range(nx[q]):
                        column = ix[q, b]
                        w = wy[p, a] * wx[q, b]
                        for c in range(channels):
                            gx[n, row, column, c] += w * g[r, p, q, c]


def roi_align(
    x: Array,
    rois: Array,
    spatial_scale: float,
    output_size: Pair,
    sampling_ratio: int,
    aligned: bool,
) -> Array:
    """See `lucid.kernels.reference.roi_align.roi_align`."""
    dtype = float_type(x)
    regions = regions_of(rois, x.shape, spatial_scale, output_size, sampling_ratio, aligned, dtype)
    y = empty((len(rois), *output_size, x.shape[1]), dtype)
    parallel_for(_forward, len(rois), nhwc(x), *map(dense, regions), y)
    return y.transpose(0, 3, 1, 2)


def roi_align_backward(
    g: Array,
    rois: Array,
    input_shape: Shape,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Array:
    """See `lucid.kernels.reference.roi_align.roi_align_backward`."""
    dtype = float_type(g)
    n, c, h, w = input_shape
    regions = regions_of(
        rois, input_shape, spatial_scale, g.shape[2:], sampling_ratio, aligned, dtype
    )
    gx = empty((n, h, w, c), dtype)
    parallel_for(_backward, n * h, nhwc(g), *map(dense, regions), gx)
    return gx.transpose(0, 3, 1, 2)
