"""RoIAlign on one feature map and on the levels of a feature pyramid.

He et al. 2017, "Mask R-CNN" (arXiv:1703.06870), section 3; Lin et al. 2017, "Feature Pyramid
Networks" (arXiv:1612.03144), section 4.2.

N images, L levels, C channels, R regions of interest (RoIs) of all images, S bins per side.
RoIs are (R, 5): index of the image, then xyxy in pixels of the padded image.
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

#: A region of the size of an ImageNet crop is assigned to level 4 (stride 16).
_CANONICAL_SIZE = 224
_CANONICAL_LEVEL = 4


def to_rois(boxes: Sequence[ArrayLike]) -> Array:
    """Concatenate the boxes of each image, [(R_i, 4), ...], to RoIs (R, 5)."""
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
    """Pool a feature map over regions by averaging bilinear samples of each bin.

    Parameters
    ----------
    input : Tensor
        (N, C, H, W) features; receives gradients.
    boxes : array_like or sequence of array_like
        (R, 5) regions [image index, x1, y1, x2, y2], or one (R_i, 4) xyxy array per image.
    output_size : int or (int, int)
        Height and width of the output, in bins.
    spatial_scale : float, default 1.0
        Scale from ``boxes`` to feature pixels: 1 / stride.
    sampling_ratio : int, default -1
        Samples per bin in each direction; 0 or less takes the bin's size in feature pixels,
        rounded up.
    aligned : bool, default False
        Shift by half a pixel, so that the center of pixel (0, 0) is (0.5, 0.5), and allow
        regions smaller than one pixel.

    Returns
    -------
    Tensor
        ``(R, C, *output_size)``, channels-last in memory.

    Raises
    ------
    ValueError
        If a shape is wrong, or an image index is out of range.
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
                f"boxes: expected one array per image ({input.shape[0]}), got {len(boxes)}"
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
            f"boxes[{wrong[0]}]: expected an image index from 0 to {input.shape[0] - 1}, got "
            f"{index[wrong[0]]:g}"
        )
    return np.asarray(rois, input.dtype)


def assign_levels(boxes: Array, finest: int, coarsest: int) -> Array:
    """Assign boxes (R, 4) to pyramid levels by their size (Lin et al. 2017, equation 1).

    Levels are log2 of the stride, clipped to ``finest`` and ``coarsest`` (2 and 5 for P2 to P5):
    (R,) int64 ``floor(4 + log2(sqrt(width * height) / 224))``.
    """
    side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    # Epsilon as in torchvision, against rounding at level boundaries.
    with np.errstate(divide="ignore"):  # a box of area 0 is assigned to the finest level
        level = np.floor(_CANONICAL_LEVEL + np.log2(side / _CANONICAL_SIZE) + side.dtype.type(1e-6))
    return np.asarray(np.clip(level, finest, coarsest), np.int64)


def check_strides(strides: Sequence[int], name: str = "strides") -> None:
    """Raise ``ValueError`` unless strides are a power of two, then each twice the one before."""
    for i, stride in enumerate(strides):
        expected = 2 * strides[i - 1] if i else 0
        if i and stride != expected:
            raise ValueError(
                f"{name}: expected each stride to be twice the one before, got {stride} after "
                f"{strides[i - 1]} in {tuple(strides)}"
            )
        if not i and (stride < 1 or stride & (stride - 1)):
            raise ValueError(
                f"{name}: expected a power of two as the first stride, got {stride} in "
                f"{tuple(strides)}"
            )


class MultiScaleRoIAlign:
    """:func:`roi_align` of each region on the pyramid level that fits its size.

    Parameters
    ----------
    output_size : int, default 7
        S, the number of bins of a region in each direction.
    sampling_ratio : int, default 2
        Samples per bin in each direction.

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
            Stride of each map: a power of two, then each twice the one before.

        Returns
        -------
        Tensor
            (R, C, S, S), channels-last in memory, in the order of ``rois``.

        Raises
        ------
        ValueError
            If the strides are invalid.
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
            # None instead of a map of zeros for a level without regions.
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
