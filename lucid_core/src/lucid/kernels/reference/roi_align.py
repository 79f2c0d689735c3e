"""RoIAlign: features of regions, pooled to one size by bilinear sampling.

He et al., "Mask R-CNN", 2017, section 3; borders and sampling as in torchvision.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lucid.kernels.layout import channels_last

Array = np.ndarray[Any, np.dtype[Any]]
Pair = tuple[int, int]
Shape = tuple[int, int, int, int]

# With more samples than this along one axis of one bin, the region is no sensible one.
_MAX_SAMPLES = 1 << 20


class Regions(NamedTuple):
    """Where the samples of R regions lie, in feature pixels; axis 1 of each array is (y, x)."""

    image: Array  # (R,) int64: which of the N images
    origin: Array  # (R, 2): upper left corner
    bin_size: Array  # (R, 2)
    samples: Array  # (R, 2) int64: samples along each axis of a bin; -1 marks no valid region


def regions_of(
    rois: Array,
    input_shape: Shape,
    spatial_scale: float,
    output_size: Pair,
    sampling_ratio: int,
    aligned: bool,
    dtype: np.dtype[Any],
) -> Regions:
    """Check ``rois`` and lay them over the features.

    Raises
    ------
    ValueError
        If the shape is not (R, 5), an image index is not one of 0..N-1, the features
        have no pixels, or ``output_size`` is less than 1.
    """
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(
            "roi_align expects rois of shape (R, 5), [image, x1, y1, x2, y2] each, "
            f"got shape {rois.shape}"
        )
    if min(output_size) < 1:
        raise ValueError(f"roi_align expects an output size of at least 1, got {output_size}")
    if len(rois) and min(input_shape[2:]) < 1:
        raise ValueError(f"roi_align cannot sample features of shape {tuple(input_shape)}")
    image = rois[:, 0]
    wrong = np.flatnonzero(~((image >= 0) & (image < input_shape[0])))
    if wrong.size:
        raise ValueError(
            f"roi_align expects image indices of 0 to {input_shape[0] - 1}, "
            f"got {image[wrong[0]]} in row {wrong[0]} of the rois"
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
    """Source indices and weights of the samples along one axis.

    Returns
    -------
    low, high : int64 array (bins * samples,)
    weights : array (2, bins * samples)
        Of ``low`` and ``high``; both 0 for a sample more than a pixel outside.
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
    """For each of a sample's four neighbors: rows, columns and weights of all samples."""
    origin, bin_size, samples = regions.origin[r], regions.bin_size[r], regions.samples[r]
    y0, y1, wy = _neighbors(origin[0], bin_size[0], samples[0], output_size[0], size[0])
    x0, x1, wx = _neighbors(origin[1], bin_size[1], samples[1], output_size[1], size[1])
    for rows, row_weight in ((y0, wy[0]), (y1, wy[1])):
        for columns, column_weight in ((x0, wx[0]), (x1, wx[1])):
            yield rows[:, None], columns, np.multiply.outer(row_weight, column_weight)


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go their way in silence
def roi_align(
    x: Array,
    rois: Array,
    spatial_scale: float,
    output_size: Pair,
    sampling_ratio: int,
    aligned: bool,
) -> Array:
    """Mean of bilinear samples in each bin of each region.

    A sample up to one pixel outside the image takes the value at its edge; one
    further out counts as zero.

    Parameters
    ----------
    x : array (N, C, H, W)
        Features.
    rois : array (R, 5)
        Index of the image, then x1, y1, x2, y2 in image pixels.
    spatial_scale : float
        Feature pixels per image pixel.
    output_size : (height, width)
        Bins.
    sampling_ratio : int
        Samples along each axis of a bin; 0 or less: one a feature pixel, rounded up.
    aligned : bool
        Whether pixel centers lie at half coordinates.  If not, nothing is
        shifted and regions are at least one feature pixel wide and high.

    Returns
    -------
    array (R, C, *output_size)
        NaN for a region with a coordinate that is not finite or absurdly large.

    Raises
    ------
    ValueError
        If ``rois`` has another shape or names an image that is not there, or the
        features have no pixels.
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
                # what has no weight is not looked at: a NaN there stays there
                total += np.where(weight == 0, 0, features[:, rows, columns]) * weight
            y[r] = total.reshape(-1, ph, sy, pw, sx).mean((2, 4))
    return channels_last(y)


@np.errstate(over="ignore", invalid="ignore")  # infinity and NaN go their way in silence
def roi_align_backward(
    g: Array,
    rois: Array,
    input_shape: Shape,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Array:
    """Gradient of the features given to `roi_align`; the regions get none.

    Parameters
    ----------
    g : array (R, C, PH, PW)
    rois : array (R, 5)
    input_shape : (N, C, H, W)
    spatial_scale, sampling_ratio, aligned
        As given to `roi_align`.

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
                places: Any = (slice(None), rows, columns)
                np.add.at(gx[regions.image[r]], places, (share * weight).astype(g.dtype))
    return channels_last(gx)
