"""Anchor generation for feature pyramids.

Ren et al. 2015 (arXiv:1506.01497), section 3.1.1; Lin et al. 2017 (arXiv:1612.03144),
section 4.1.

L levels, A anchors per location, H x W locations per level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["AnchorGenerator"]

Array = np.ndarray[Any, np.dtype[Any]]


class AnchorGenerator:
    """Generate anchors at every location of the levels of a feature pyramid.

    Parameters
    ----------
    sizes : sequence of sequence of float
        For each level, the anchor sizes (square roots of their areas) in pixels.
    aspect_ratios : sequence of sequence of float
        For each level, the height-to-width ratios.

    Attributes
    ----------
    cell_anchors : tuple of numpy.ndarray
        For each level, (A, 4) xyxy anchors around the origin, rounded to whole pixels: all sizes
        for the first aspect ratio, then for the next.

    Raises
    ------
    TypeError
        If ``sizes`` or ``aspect_ratios`` is not a sequence of numbers per level.
    ValueError
        If the numbers of levels differ, levels differ in the number of anchors, a value is not
        positive, or an anchor has no area after rounding.

    Examples
    --------
    >>> from lucid_models_detection.parts import AnchorGenerator
    >>> anchors = AnchorGenerator(sizes=[(8,), (16,)], aspect_ratios=[(1.0,), (1.0,)])
    >>> [level.shape for level in anchors([(4, 4), (2, 2)], image_size=(32, 32))]
    [(16, 4), (4, 4)]
    """

    def __init__(
        self, sizes: Sequence[Sequence[float]], aspect_ratios: Sequence[Sequence[float]]
    ) -> None:
        for name, levels in (("sizes", sizes), ("aspect_ratios", aspect_ratios)):
            _check_nested(name, levels)
        if len(sizes) != len(aspect_ratios) or len(sizes) == 0:
            raise ValueError(
                "expected sizes and aspect_ratios for the same levels, at least one, got "
                f"{len(sizes)} and {len(aspect_ratios)}"
            )
        for name, levels in (("sizes", sizes), ("aspect_ratios", aspect_ratios)):
            for value in (v for level in levels for v in level):
                if not 0 < value < np.inf:
                    raise ValueError(f"{name}: expected positive numbers, got {value:g}")
        counts = [len(s) * len(r) for s, r in zip(sizes, aspect_ratios, strict=True)]
        if len(set(counts)) > 1:
            raise ValueError(
                "expected the same number of anchors per location on every level, got "
                f"{counts} (sizes times aspect_ratios)"
            )
        self.sizes = tuple(tuple(float(v) for v in level) for level in sizes)
        self.aspect_ratios = tuple(tuple(float(v) for v in level) for level in aspect_ratios)
        self.cell_anchors = tuple(map(_cell_anchors, self.sizes, self.aspect_ratios))

    @property
    def num_anchors_per_location(self) -> int:
        """A, the number of anchors per location, the same on all levels."""
        return len(self.cell_anchors[0])

    def __call__(
        self, feature_sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]
    ) -> list[Array]:
        """Generate the anchors of an image.

        Parameters
        ----------
        feature_sizes : sequence of (int, int)
            Height and width of each level's feature map.
        image_size : (int, int)
            Height and width of the padded image.

        Returns
        -------
        list of numpy.ndarray
            For each level (H * W * A, 4) float32 xyxy, row by row and location by location, as the
            heads predict.  Anchors may exceed the image.

        Raises
        ------
        ValueError
            If the number of feature maps differs from the number of levels, or a map is larger than
            the image.
        """
        if len(feature_sizes) != len(self.cell_anchors):
            raise ValueError(
                f"expected one feature map per level ({len(self.cell_anchors)}), got "
                f"{len(feature_sizes)}"
            )
        for height, width in feature_sizes:
            if not (0 < height <= image_size[0] and 0 < width <= image_size[1]):
                raise ValueError(
                    f"expected feature maps no larger than the image {image_size}, got "
                    f"({height}, {width})"
                )
        return [
            _grid_anchors(cell, size, image_size)
            for cell, size in zip(self.cell_anchors, feature_sizes, strict=True)
        ]

    def __repr__(self) -> str:
        return f"AnchorGenerator(sizes={self.sizes}, aspect_ratios={self.aspect_ratios})"


def _check_nested(name: str, levels: Any) -> None:
    example = ((32,), (64,)) if name == "sizes" else ((0.5, 1.0, 2.0),) * 2
    expected = f"{name}: expected a sequence of numbers per level, such as {example}, got "
    if not isinstance(levels, Sequence | np.ndarray) or isinstance(levels, str):
        raise TypeError(f"{expected}{levels!r}")
    for level in levels:
        if not isinstance(level, Sequence | np.ndarray) or isinstance(level, str):
            raise TypeError(f"{expected}{level!r} for a level")
        for value in level:
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise TypeError(f"{expected}{value!r} in {level!r}")


def _cell_anchors(sizes: tuple[float, ...], aspect_ratios: tuple[float, ...]) -> Array:
    root = np.sqrt(np.asarray(aspect_ratios, np.float32))
    scale = np.asarray(sizes, np.float32)
    w = ((1 / root)[:, None] * scale).ravel()
    h = (root[:, None] * scale).ravel()
    # rint rounds halves to even, as torchvision does.
    cell = np.rint(np.stack([-w, -h, w, h], axis=1) / 2)
    empty = np.flatnonzero((cell[:, 2] <= cell[:, 0]) | (cell[:, 3] <= cell[:, 1]))
    if empty.size:
        ratio, size = divmod(int(empty[0]), len(sizes))
        raise ValueError(
            "expected anchors of at least 2 x 2 pixels, got one without area after rounding "
            f"(size {sizes[size]:g}, aspect ratio {aspect_ratios[ratio]:g})"
        )
    return cell


def _grid_anchors(cell: Array, feature_size: tuple[int, int], image_size: tuple[int, int]) -> Array:
    height, width = feature_size
    stride_y, stride_x = image_size[0] // height, image_size[1] // width
    x = np.arange(width, dtype=np.float32) * stride_x
    y = np.arange(height, dtype=np.float32) * stride_y
    anchors = np.empty((height, width, len(cell), 4), np.float32)
    anchors[..., 0::2] = x[:, None, None] + cell[:, 0::2]
    anchors[..., 1::2] = y[:, None, None, None] + cell[:, 1::2]
    return anchors.reshape(-1, 4)
