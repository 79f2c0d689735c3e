"""RoIAlign: the features of each region, from the pyramid level that fits its size.

He et al. 2017, "Mask R-CNN" (arXiv:1703.06870), section 3; Lin et al. 2017,
"Feature Pyramid Networks" (arXiv:1612.03144), section 4.2.

N images, L levels, C channels, R regions of all images together, S bins a side.
Regions are (R, 5): index of the image, then xyxy in pixels of the padded image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid import Tensor, kernels
from lucid.autograd import ArrayLike, array_of, record, record_joint
from lucid_models_detection.boxes import as_boxes

__all__ = ["MultiScaleRoIAlign", "assign_levels", "check_strides", "roi_align", "to_rois"]

Array = np.ndarray[Any, np.dtype[Any]]

#: A region as large as an ImageNet crop belongs to level 4 (stride 16).
_CANONICAL_SIZE = 224
_CANONICAL_LEVEL = 4


def to_rois(boxes: Sequence[ArrayLike]) -> Array:
    """Boxes of each image, [(R_i, 4), ...], as one (R, 5) array with the image's index first."""
    arrays = [as_boxes(b, f"boxes[{i}]") for i, b in enumerate(boxes)]
    index = np.repeat(np.arange(len(arrays)), [len(a) for a in arrays])
    coordinates = np.concatenate(arrays) if arrays else np.zeros((0, 4), np.float32)
    return np.concatenate([index[:, None].astype(coordinates.dtype), coordinates], axis=1)


def roi_align(
    input: Tensor,
    boxes: ArrayLike | Sequence[ArrayLike],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Average bilinear samples of a feature map over the bins of each region.

    Parameters
    ----------
    input : Tensor
        (N, C, H, W) features; receives gradients.
    boxes : array_like or sequence of array_like
        (R, 5) regions [image index, x1, y1, x2, y2], or one (R_i, 4) xyxy array
        for each of the N images.
    output_size : int or (int, int)
        Bins of each region, down and across.
    spatial_scale : float, default 1.0
        Feature pixels to one unit of ``boxes``: one over the stride.
    sampling_ratio : int, default -1
        Samples of a bin either way; 0 or less takes as many as there are feature
        pixels, rounded up.
    aligned : bool, default False
        Shift by half a pixel, so that the center of pixel (0, 0) is (0.5, 0.5),
        and allow regions smaller than one pixel.

    Returns
    -------
    Tensor
        ``(R, C, *output_size)``, channels last in memory.

    Raises
    ------
    ValueError
        If ``input`` or ``boxes`` has another shape, or a region names an image
        that is not in the batch.
    """
    if input.ndim != 4:
        raise ValueError(f"input: expected shape (N, C, H, W), got {input.shape}")
    rois = _check_rois(boxes, input)
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    shape = input.shape
    value = kernels.roi_align(input.data, rois, spatial_scale, size, sampling_ratio, aligned)
    return record(
        value,
        (
            input,
            lambda g: kernels.roi_align_backward(
                g, rois, shape, spatial_scale, sampling_ratio, aligned
            ),
        ),
    )


def _check_rois(boxes: ArrayLike | Sequence[ArrayLike], input: Tensor) -> Array:
    if isinstance(boxes, list | tuple):
        if len(boxes) != input.shape[0]:
            raise ValueError(
                f"boxes: expected one array for each of {input.shape[0]} images, got {len(boxes)}"
            )
        rois = to_rois(boxes)
    else:
        rois = array_of(boxes)
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(
            f"boxes: expected (R, 5) regions [image index, x1, y1, x2, y2], got {rois.shape}"
        )
    index = rois[:, 0]
    wrong = np.flatnonzero(~((index >= 0) & (index < input.shape[0])))
    if wrong.size:
        raise ValueError(
            f"boxes[{wrong[0]}]: image index {index[wrong[0]]:g} in a batch of {input.shape[0]}"
        )
    return np.asarray(rois, input.dtype)


def assign_levels(boxes: Array, finest: int, coarsest: int) -> Array:
    """The pyramid level, as log2 of its stride, of each box: Lin et al. 2017, equation 1.

    Parameters
    ----------
    boxes : numpy.ndarray
        (R, 4) xyxy.
    finest, coarsest : int
        Levels there are, as 2 and 5 for P2 to P5.

    Returns
    -------
    numpy.ndarray
        (R,) int64: ``floor(4 + log2(sqrt(width * height) / 224))``, kept between
        the two.
    """
    side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    # The tiny amount keeps a side that is 112 or 448 but for rounding on its own level.
    with np.errstate(divide="ignore"):  # a box without area goes to the finest
        level = np.floor(_CANONICAL_LEVEL + np.log2(side / _CANONICAL_SIZE) + side.dtype.type(1e-6))
    return np.asarray(np.clip(level, finest, coarsest), np.int64)


def check_strides(strides: Sequence[int], what: str = "strides") -> None:
    """Refuse levels among which regions cannot be distributed by their size.

    Parameters
    ----------
    strides : sequence of int
        Strides of the levels, finest first.
    what : str, default "strides"
        Name of the argument in the error.

    Raises
    ------
    ValueError
        If the first stride is not a power of two, or another is not twice the one before;
        names the stride.
    """
    for i, stride in enumerate(strides):
        expected = 2 * strides[i - 1] if i else 0
        if i and stride != expected:
            raise ValueError(
                f"{what}: expected each stride to be twice the one before, got {stride} after "
                f"{strides[i - 1]} in {tuple(strides)}"
            )
        if not i and (stride < 1 or stride & (stride - 1)):
            raise ValueError(
                f"{what}: expected a power of two as the first stride, got {stride} in "
                f"{tuple(strides)}"
            )


class MultiScaleRoIAlign:
    """:func:`roi_align` of each region on the level of a pyramid that fits its size.

    Parameters
    ----------
    output_size : int, default 7
        S, number of bins of a region, down and across.
    sampling_ratio : int, default 2
        Samples of each bin, down and across.

    Examples
    --------
    >>> import lucid, numpy as np
    >>> from lucid_models_detection.parts import MultiScaleRoIAlign
    >>> levels = [lucid.zeros(1, 8, 64, 64), lucid.zeros(1, 8, 32, 32)]
    >>> regions = np.array([[0, 0, 0, 30, 30], [0, 0, 0, 200, 200]], np.float32)
    >>> MultiScaleRoIAlign(output_size=7)(levels, regions, (4, 8)).shape
    (2, 8, 7, 7)
    """

    def __init__(self, output_size: int = 7, sampling_ratio: int = 2) -> None:
        self.output_size = output_size
        self.sampling_ratio = sampling_ratio

    def __call__(self, features: Sequence[Tensor], rois: Array, strides: Sequence[int]) -> Tensor:
        """Pool the features of each region.

        Parameters
        ----------
        features : sequence of Tensor
            L maps (N, C, H_l, W_l), finest first.
        rois : numpy.ndarray
            (R, 5) finite regions: index of the image, then xyxy in pixels.
        strides : sequence of int
            Stride of each map: the first a power of two, each other twice the one before.

        Returns
        -------
        Tensor
            (R, C, S, S), channels last in memory, in the order of ``rois``.

        Raises
        ------
        ValueError
            If the strides do not fit; names the stride.
        """
        check_strides(strides)
        finest = round(np.log2(strides[0]))
        levels = assign_levels(rois[:, 1:], finest, finest + len(features) - 1) - finest
        members = [np.flatnonzero(levels == level) for level in range(len(features))]
        args = [(1.0 / stride, self.sampling_ratio, False) for stride in strides]
        size = (self.output_size, self.output_size)

        def pool(level: int) -> Array:
            scale, ratio, aligned = args[level]
            chosen = rois[members[level]]
            pooled = kernels.roi_align(features[level].data, chosen, scale, size, ratio, aligned)
            return np.asarray(pooled)

        shapes = [f.shape for f in features]

        def backward(g: Array) -> list[Array | None]:
            # The gradient of a level that no region was on is None, not a map of zeros.
            rows = g.transpose(0, 2, 3, 1)
            return [
                kernels.roi_align_backward(
                    rows[m].transpose(0, 3, 1, 2), rois[m], shape, *arguments
                )
                if m.size
                else None
                for m, shape, arguments in zip(members, shapes, args, strict=True)
            ]

        channels = shapes[0][1]
        pooled = np.empty((len(rois), *size, channels), features[0].dtype)
        for level, chosen in enumerate(members):
            if chosen.size:
                pooled[chosen] = pool(level).transpose(0, 2, 3, 1)
        return record_joint(pooled.transpose(0, 3, 1, 2), features, backward)

    def __repr__(self) -> str:
        return (
            f"MultiScaleRoIAlign(output_size={self.output_size}, "
            f"sampling_ratio={self.sampling_ratio})"
        )
