"""Normalization, resizing and batching of images, and the inverse for boxes.

N images; H x W the padded size of the batch, h x w the size of one image in it.  Images are
padded on the right and at the bottom, so boxes have the same coordinates in image and batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid import Tensor, kernels, pad, random, stack
from lucid.autograd import ArrayLike, array_of, record_joint
from lucid.vision import check_range, conversion_hint, shape_hint
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.ground_truth import GroundTruth

__all__ = [
    "GeneralizedRCNNTransform",
    "ImageList",
    "check_images",
    "check_pixels",
    "pad_to_multiple",
    "raw_batch",
]

Array = np.ndarray[Any, np.dtype[Any]]
Size = tuple[int, int]

#: Limit of resized images: enlarging a long strip to min_size would exhaust the memory.
_MAX_PIXELS = 2**27


@dataclass(frozen=True)
class ImageList:
    """Batch of normalized and resized images, padded to a common size.

    Attributes
    ----------
    tensor : Tensor
        (N, 3, H, W), padded with zeros.
    sizes : list of (int, int)
        Height and width of each image in ``tensor``, without padding.
    original_sizes : list of (int, int)
        Height and width of each image as given.
    """

    tensor: Tensor
    sizes: list[Size]
    original_sizes: list[Size]

    @property
    def padded_size(self) -> Size:
        """H and W."""
        height, width = self.tensor.shape[2:]
        return height, width


def check_images(images: Any, channels: int = 3) -> list[Any]:
    """Split a batch into images, and check that each is (channels, h, w) and floating-point.

    ``images`` is (N, channels, H, W), or a list of (channels, h, w).  Errors name the image.
    """
    expected = f"a batch of shape (N, {channels}, H, W) or a list of ({channels}, H, W)"
    if isinstance(images, Tensor | np.ndarray):
        if images.ndim != 4:
            hint = "; put a single image in a list" if images.ndim == 3 else ""
            raise ValueError(f"images: expected {expected}, got shape {tuple(images.shape)}{hint}")
        images = [images[i] for i in range(images.shape[0])]
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        hint = conversion_hint(images)
        raise TypeError(f"images: expected {expected}, got {type(images).__name__}{hint}")
    if not images:
        raise ValueError("images: expected at least one image, got none")
    for i, image in enumerate(images):
        if not isinstance(image, Tensor | np.ndarray):
            raise TypeError(
                f"images[{i}]: expected a tensor or an array, got {type(image).__name__}"
                f"{conversion_hint(image)}"
            )
        if image.ndim != 3 or image.shape[0] != channels or 0 in image.shape:
            raise ValueError(
                f"images[{i}]: expected shape ({channels}, H, W) with at least one pixel, "
                f"got {tuple(image.shape)}{shape_hint(image.shape, channels)}"
            )
        if image.dtype.kind != "f":
            hint = "; divide by 255" if image.dtype == np.uint8 else ""
            raise TypeError(
                f"images[{i}]: expected floating point in [0, 1], got {image.dtype}{hint}"
            )
    return list(images)


def check_pixels(images: Any, channels: int = 3) -> list[Any]:
    """Check images as :func:`check_images` does, and that pixels are in [0, 1]."""
    checked = check_images(images, channels)
    for i, image in enumerate(checked):
        check_range(array_of(image), f"images[{i}]")
    return checked


def pad_to_multiple(size: Size, multiple: int) -> Size:
    """Round height and width up to multiples of ``multiple``."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


def raw_batch(x: Any, size_divisible: int) -> ImageList:
    """Make a batch of ``x`` (N, 3, H, W), only padded to multiples of ``size_divisible``."""
    if isinstance(x, list | tuple):
        raise TypeError(
            f"expected a batch of shape (N, 3, H, W) in model(x), got a {type(x).__name__}; use "
            "model.predict(images), or model(images, targets) for the losses"
        )
    images = check_images(x)
    if not isinstance(x, Tensor):
        x = stack([Tensor(image) for image in images])
    size = (int(x.shape[2]), int(x.shape[3]))
    height, width = pad_to_multiple(size, size_divisible)
    if (height, width) != size:
        x = pad(x, ((0, 0), (0, 0), (0, height - size[0]), (0, width - size[1])))
    return ImageList(x, [size] * len(images), [size] * len(images))


class GeneralizedRCNNTransform:
    """Normalize, resize and batch images, and scale boxes accordingly.

    Parameters
    ----------
    image_mean, image_std : sequence of float
        Per-channel mean and standard deviation: images become ``(image - image_mean) / image_std``.
    min_size : sequence of int, optional
        Length of the shorter side after resizing.  From several, training draws one per image and
        prediction takes the last.
    max_size : int, optional
        Upper bound of the longer side after resizing; alone, it only shrinks images.
    size_divisible : int, default 32
        Height and width of the batch are padded to multiples of this.

    Raises
    ------
    ValueError
        If ``image_mean`` and ``image_std`` differ in length, or a standard deviation or
        ``size_divisible`` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from lucid_models_detection.parts import GeneralizedRCNNTransform
    >>> transform = GeneralizedRCNNTransform((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), min_size=[16])
    >>> batch = transform([np.zeros((3, 8, 12), np.float32)])
    >>> batch.tensor.shape, batch.sizes
    ((1, 3, 32, 32), [(16, 24)])
    """

    def __init__(
        self,
        image_mean: Sequence[float],
        image_std: Sequence[float],
        min_size: Sequence[int] | None = None,
        max_size: int | None = None,
        size_divisible: int = 32,
    ) -> None:
        if not image_mean or len(image_mean) != len(image_std) or not all(s > 0 for s in image_std):
            raise ValueError(
                "expected one mean and one positive standard deviation per channel, got "
                f"image_mean={tuple(image_mean)} and image_std={tuple(image_std)}"
            )
        if size_divisible < 1:
            raise ValueError(f"size_divisible: expected a positive integer, got {size_divisible}")
        self.image_mean = tuple(image_mean)
        self.image_std = tuple(image_std)
        self.min_size = None if min_size is None else tuple(min_size)
        self.max_size = max_size
        self.size_divisible = size_divisible

    def __call__(
        self, images: Sequence[Tensor | Array], dtype: Any = np.float32, training: bool = False
    ) -> ImageList:
        """Make a batch of checked images (3, h, w) in [0, 1]; gradients flow back to them."""
        original = [(int(image.shape[1]), int(image.shape[2])) for image in images]
        sizes = [self._new_size(size, training) for size in original]
        for i, (size, before) in enumerate(zip(sizes, original, strict=True)):
            if math.prod(size) > max(_MAX_PIXELS, math.prod(before)):
                raise ValueError(
                    f"images[{i}]: expected at most {_MAX_PIXELS} pixels after resizing, got "
                    f"{size[0]} x {size[1]} (from {before[0]} x {before[1]}, min_size="
                    f"{self.min_size}); set max_size, or crop the image"
                )
        tallest, widest = max(h for h, _ in sizes), max(w for _, w in sizes)
        padded = pad_to_multiple((tallest, widest), self.size_divisible)
        channels = len(self.image_mean)
        batch = np.zeros((len(images), *padded, channels), dtype).transpose(0, 3, 1, 2)
        mean = np.asarray(self.image_mean, dtype)[:, None, None]
        std = np.asarray(self.image_std, dtype)[:, None, None]
        for i, (image, size) in enumerate(zip(images, sizes, strict=True)):
            values = array_of(image).astype(dtype, copy=False) - mean
            values /= std
            if size != original[i]:
                values = kernels.resize_bilinear(values[None], size, False)[0]
            batch[i, :, : size[0], : size[1]] = values

        def backward(g: Array) -> list[Array]:
            return [
                self._image_gradient(g[i : i + 1, :, : size[0], : size[1]], original[i], std)
                for i, size in enumerate(sizes)
            ]

        return ImageList(record_joint(batch, images, backward), sizes, original)

    def groups(self, images: Sequence[Tensor | Array]) -> list[list[int]]:
        """Group the indices of images that are padded to the same size.

        A batch of one group pads each image as a batch of its own would, so that predictions do not
        depend on the other images.

        Parameters
        ----------
        images : sequence of Tensor or numpy.ndarray
            Each (3, h, w).

        Returns
        -------
        list of list of int
            Indices of the images of each group.
        """
        members: dict[Size, list[int]] = {}
        for i, image in enumerate(images):
            size = self._new_size((int(image.shape[1]), int(image.shape[2])), training=False)
            members.setdefault(pad_to_multiple(size, self.size_divisible), []).append(i)
        return list(members.values())

    def _image_gradient(self, g: Array, original: Size, std: Array) -> Array:
        if g.shape[2:] != original:
            shape = (1, len(self.image_mean), *original)
            g = kernels.resize_bilinear_backward(np.ascontiguousarray(g), shape, False)
        return np.asarray(g[0] / std)

    def _new_size(self, size: Size, training: bool) -> Size:
        scale = math.inf
        if self.min_size is not None:
            min_size = self.min_size[-1]
            if training and len(self.min_size) > 1:
                min_size = self.min_size[
                    int(random.default_generator.numpy.integers(len(self.min_size)))
                ]
            scale = min_size / min(size)
        if self.max_size is not None:
            # Alone it is a limit and never enlarges.
            limit = self.max_size / max(size)
            scale = min(scale if self.min_size is not None else 1.0, limit)
        if scale in (1.0, math.inf):
            return size
        # Rounded down as in torchvision, to at least one pixel.
        height, width = (max(1, math.floor(side * scale)) for side in size)
        return height, width

    def resize_targets(self, targets: Sequence[GroundTruth], batch: ImageList) -> list[GroundTruth]:
        """Scale targets from pixels of the given images to pixels of the batch."""
        return [
            target
            if size == original
            else target._replace(boxes=box_ops.resize(target.boxes, original, size))
            for target, size, original in zip(
                targets, batch.sizes, batch.original_sizes, strict=True
            )
        ]

    def restore_boxes(self, boxes: ArrayLike, batch: ImageList, i: int) -> Array:
        """Scale boxes of image ``i`` from pixels of the batch to pixels of the given image."""
        size, original = batch.sizes[i], batch.original_sizes[i]
        return (
            box_ops.as_boxes(boxes) if size == original else box_ops.resize(boxes, size, original)
        )

    def __repr__(self) -> str:
        return (
            f"GeneralizedRCNNTransform(image_mean={self.image_mean}, image_std={self.image_std}, "
            f"min_size={self.min_size}, max_size={self.max_size}, "
            f"size_divisible={self.size_divisible})"
        )
