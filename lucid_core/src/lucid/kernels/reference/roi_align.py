"""RoIAlign: pool features of regions to one size by bilinear sampling.

He et al., "Mask R-CNN", 2017, section 3; borders and sampling as in torchvision.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lucid.kernels.layout import channels_last

Array = np.ndarray[Any, np.dtype[Any]]
Pair = tuple[int, int]
Shape = tuple[int, int, int, int]

# A region with more samples than this along one axis of a bin is invalid.
_MAX_SAMPLES = 1 << 20


class Regions(NamedTuple):
    """Sample grids of R regions in feature pixels; axis 1 of the arrays is (y, x)."""

    image: Array  # (R,) int64: index of the image
    origin: Array  # (R, 2): upper left corner
    bin_size: Array  # (R, 2)
    samples: Array  # (R, 2) int64: samples along each axis of a bin; -1 if invalid


def regions_of(
    rois: Array,
    input_shape: Shape,
    spatial_scale: float,
    output_size: Pair,
    sampling_ratio: int,
    aligned: bool,
    dtype: np.dtype[Any],
) -> Regions:
    """Validate ``rois`` and compute their sample grids.

    Raises
    ------
    ValueError
        If the shape is not (R, 5), an image index is not in 0..N-1, the features have no
        pixels, or ``output_size`` is less than 1.
    """
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(
            "expected rois of shape (R, 5), rows of [image, x1, y1, x2, y2], "
            f"got shape {rois.shape} (roi_align)"
        )
    if min(output_size) < 1:
        raise ValueError(f"expected an output_size of at least 1, got {output_size} (roi_align)")
    if len(rois) and min(input_shape[2:]) < 1:
        raise ValueError(
            f"expected features with pixels, got shape {tuple(input_shape)} (roi_align)"
        )
    image = rois[:, 0]
    wrong = np.flatnonzero(~((image >= 0) & (image < input_shape[0])))
    if wrong.size:
        raise ValueError(
            f"expected image indices of 0 to {input_shape[0] - 1}, "
            f"got {image[wrong[0]]} (roi_align, row {wrong[0]} of rois)"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        corners = rois[:, 1:].astype(dtype) * dtype.type(spatial_scale)
        if aligned:
            corners -= dtype.type(0.5)
        origin = corners[:, 1::-1]
        extent = corners[:, :1:-1] - origin
        if not aligned:
            extent = np.maximum(extent, 1)
        bin_size = extent / np.array(output_size, dtype)
        samples = np.ceil(bin_size) if sampling_ratio <= 0 else np.full_like(extent, sampling_ratio)
        valid = np.isfinite(origin + bin_size) & (samples <= _MAX_SAMPLES)
        samples = np.where(valid.all(1, keepdims=True), np.maximum(samples, 0), -1)
    return Regions(image.astype(np.int64), origin, bin_size, samples.astype(np.int64))


def _neighbors(
    origin: Any, bin_size: Any, samples: int, bins: int, size: int
) -> tuple[Array, Array, Array]:
    """Return source indices and weights of the samples along one axis.

    Returns
    -------
    low, high : int64 array (bins * samples,)
    weights : array (2, bins * samples)
        Weights of ``low`` and ``high``; 0 for samples more than a pixel outside.
    """
    within = (np.arange(samples) + 0.5) * bin_size / max(samples, 1)
    at = (origin + np.arange(bins)[:, None] * bin_size + within).ravel()
    inside = (at >= -1) & (at <= size)
    at = np.clip(at, 0, size - 1)
    low = at.astype(np.int64)
    fraction = at - low
    weights = np.stack([1 - fraction, fraction]) * inside
    return low, np.minimum(low + 1, size - 1), weights


def _corners(regions: Regions, r: int, output_size: Pair, size: Pair) -> Any:
    """Yield rows, columns and weights of all samples, for each of the four neighbors."""
    origin, bin_size, samples = regions.origin[r], regions.bin_size[r], regions.samples[r]
    y0, y1, wy = _neighbors(origin[0], bin_size[0], samples[0], output_size[0], size[0])
    x0, x1, wx = _neighbors(origin[1], bin_size[1], samples[1], output_size[1], size[1])
    for rows, row_weight in ((y0, wy[0]), (y1, wy[1])):
        for columns, column_weight in ((x0, wx[0]), (x1, wx[1])):
            yield rows[:, None], columns, np.multiply.outer(row_weight, column_weight)


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def roi_align(
    x: Array,
    rois: Array,
    spatial_scale: float,
    output_size: Pair,
    sampling_ratio: int,
    aligned: bool,
) -> Array:
    """Average bilinear samples in each bin of each region.

    A sample up to one pixel outside the image takes the value at the edge; samples further out
    count as zero.

    Parameters
    ----------
    x : array (N, C, H, W)
        Features.
    rois : array (R, 5)
        Image index, then x1, y1, x2, y2 in image pixels.
    spatial_scale : float
        Feature pixels per image pixel.
    output_size : (height, width)
        Number of bins.
    sampling_ratio : int
        Samples along each axis of a bin; 0 or less takes one per feature pixel, rounded up.
    aligned : bool
        Whether to shift coordinates by half a pixel, to pixel centers.  If not, regions are
        at least one feature pixel wide and high.

    Returns
    -------
    array (R, C, *output_size)
        NaN for regions with coordinates that are not finite or extremely large.

    Raises
    ------
    ValueError
        If ``rois`` has another shape or an image index out of range, or the features have no
        pixels.
    """
    regions = regions_of(
        rois, x.shape, spatial_scale, output_size, sampling_ratio, aligned, x.dtype
    )
    ph, pw = output_size
    y = np.zeros((len(rois), x.shape[1], ph, pw), x.dtype)
    for r, (sy, sx) in enumerate(regions.samples):
        if sy < 0:
            y[r] = np.nan
        elif sy and sx:
            features = x[regions.image[r]]
            total = np.zeros((x.shape[1], ph * sy, pw * sx))
            for rows, columns, weight in _corners(regions, r, output_size, x.shape[2:]):
                # Do not read elements of weight 0, which may be NaN.
                total += np.where(weight == 0, 0, features[:, rows, columns]) * weight
            y[r] = total.reshape(-1, ph, sy, pw, sx).mean((2, 4))
    return channels_last(y)


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def roi_align_backward(
    g: Array,
    rois: Array,
    input_shape: Shape,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Array:
    """Compute the gradient of the features of `roi_align`.

    Parameters
    ----------
    g : array (R, C, PH, PW)
    rois : array (R, 5)
    input_shape : (N, C, H, W)
    spatial_scale, sampling_ratio, aligned
        See `roi_align`.

    Returns
    -------
    array (N, C, H, W)
    """
    output_size = (g.shape[2], g.shape[3])
    regions = regions_of(
        rois, input_shape, spatial_scale, output_size, sampling_ratio, aligned, g.dtype
    )
    gx = np.zeros(input_shape, g.dtype)
    for r, (sy, sx) in enumerate(regions.samples):
        if sy > 0 and sx > 0:
            share = np.repeat(np.repeat(g[r] / (sy * sx), sy, axis=1), sx, axis=2)
            for rows, columns, weight in _corners(regions, r, output_size, input_shape[2:]):
                index: Any = (slice(None), rows, columns)
                np.add.at(gx[regions.image[r]], index, (share * weight).astype(g.dtype))
    return channels_last(gx)
