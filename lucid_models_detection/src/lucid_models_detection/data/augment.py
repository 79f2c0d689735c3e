"""Random changes of an image that take its boxes along.

M objects and K ignored ones of an image of H x W pixels.  Every transform is called
as ``transform(image, target)`` and returns a new pair; what it is given stays as it
is.  Of a target it knows the entries that :mod:`lucid_models_detection.data` lists
and hands any other on.

The random ones draw from ``lucid.random.default_generator`` unless given a generator
of their own.  A :class:`lucid.data.DataLoader` seeds that one for each sample, so
that the same epoch brings the same images whatever the number of its workers; a
generator of a transform's own is copied into every worker, and all would draw alike.

Examples
--------
>>> import numpy as np
>>> from lucid_models_detection.data import Compose, RandomCrop, RandomHorizontalFlip
>>> augment = Compose([RandomHorizontalFlip(p=1.0), RandomCrop(scale=(1.0, 1.0))])
>>> target = {"boxes": np.array([[2, 3, 10, 8.0]]), "labels": np.array([1])}
>>> image, target = augment(np.zeros((3, 20, 33), np.float32), target)
>>> target["boxes"].tolist()
[[23.0, 3.0, 31.0, 8.0]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import lucid
from lucid.vision.arguments import check_number, check_pair, numpy_generator
from lucid.vision.transforms import Resize
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.data.box_formats import LEAST_SIDE
from lucid_models_detection.data.targets import Sample, SampleTransform, Target

__all__ = [
    "Compose",
    "RandomCrop",
    "RandomHorizontalFlip",
    "ScaleJitter",
    "crop",
    "horizontal_flip",
    "resize",
]

#: Entries with one row for each object of theirs: boxes, and what goes with them.
ROWS = {"boxes": ("labels", "area"), "ignored_boxes": ("ignored_labels",)}


@dataclass(frozen=True)
class Compose:
    """Transforms one after the other.

    Parameters
    ----------
    transforms : sequence of callable
        Each from (image, target) to (image, target).
    """

    transforms: Sequence[SampleTransform]

    def __call__(self, image: NDArray[np.float32], target: Target) -> Sample:
        for transform in self.transforms:
            image, target = transform(image, target)
        return image, target


def horizontal_flip(image: NDArray[np.float32], target: Target) -> Sample:
    """Mirror an image and its boxes left and right.

    Parameters
    ----------
    image : (3, H, W) array
        Float32, in [0, 1].
    target : dict
        As the datasets give it: ``boxes`` (M, 4) xyxy in pixels, and one entry of each
        other key for each box.

    Returns
    -------
    (image, target)
        Of a box ``x1, x2`` become ``W - x2, W - x1``.
    """
    mirrored = dict(target)
    width = image.shape[-1]
    for key in ROWS.keys() & target.keys():
        boxes = box_ops.as_boxes(target[key], key)
        x1, y1, x2, y2 = boxes.T
        mirrored[key] = np.stack([width - x2, y1, width - x1, y2], axis=1)
    return np.ascontiguousarray(image[..., ::-1]), mirrored


def resize(image: NDArray[np.float32], target: Target, size: tuple[int, int]) -> Sample:
    """Resample an image bilinearly, with antialiasing, and scale its boxes.

    Parameters
    ----------
    image : (3, H, W) array
        Float32, in [0, 1].
    target : dict
        As the datasets give it: ``boxes`` (M, 4) xyxy in pixels, and one entry of each
        other key for each box.
    size : (int, int)
        New height and width.

    Returns
    -------
    (image, target)
        ``area`` grows as the image's area does.
    """
    old = (int(image.shape[1]), int(image.shape[2]))
    scaled = dict(target)
    for key in ROWS.keys() & target.keys():
        scaled[key] = box_ops.resize(target[key], old, size)
    if "area" in target:
        ratio = np.float32(size[0] * size[1] / (old[0] * old[1]))
        scaled["area"] = np.asarray(target["area"]) * ratio
    return Resize(size)(image), scaled


def crop(
    image: NDArray[np.float32],
    target: Target,
    window: tuple[int, int, int, int],
    min_visible: float = 0.0,
) -> Sample:
    """Cut a window out of an image; cut its boxes there and leave out those outside.

    Parameters
    ----------
    image : (3, H, W) array
        Float32, in [0, 1].
    target : dict
        As the datasets give it: ``boxes`` (M, 4) xyxy in pixels, and one entry of each
        other key for each box.
    window : (int, int, int, int)
        Left, top, right and bottom edge in pixels, inside the image.
    min_visible : float, default 0
        An object of whose box no more than this share is in the window is left out, and
        one of which a sliver of less than 0.01 pixels is.

    Returns
    -------
    (image, target)
        Boxes in pixels of the window; ``area`` is reduced by as much as the box.

    Raises
    ------
    ValueError
        The window is not inside the image, or has no pixels.
    """
    x1, y1, x2, y2 = window
    height, width = image.shape[1:]
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise ValueError(
            f"window: expected left < right and top < bottom inside an image {width} wide and "
            f"{height} high, got {tuple(window)}"
        )
    result = dict(target)
    for key, others in ROWS.items():
        if key not in target:
            continue
        boxes = box_ops.as_boxes(target[key], key)
        moved = box_ops.clip(boxes - np.array([x1, y1, x1, y1], boxes.dtype), (y2 - y1, x2 - x1))
        visible = box_ops.area(moved) / np.maximum(box_ops.area(boxes), np.finfo(np.float32).tiny)
        kept = visible > min_visible
        kept[kept] = (moved[kept, 2:] - moved[kept, :2] >= LEAST_SIDE).all(axis=1)
        result[key] = moved[kept]
        for other in others:
            if other in target:
                result[other] = np.asarray(target[other])[kept]
        if key == "boxes" and "area" in target:
            result["area"] = result["area"] * visible[kept]
    return np.ascontiguousarray(image[:, y1:y2, x1:x2]), result


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror image and boxes with probability ``p``.

    Not for classes that a mirror turns into one another, such as digits or arrows.

    Parameters
    ----------
    p : float, default 0.5
        In [0, 1].
    generator : lucid.random.Generator, optional
        Where the randomness comes from.
    """

    p: float = 0.5
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_number("p", self.p, 0, 1)

    def __call__(self, image: NDArray[np.float32], target: Target) -> Sample:
        if numpy_generator(self.generator).random() < self.p:
            return horizontal_flip(image, target)
        return image, target


@dataclass(frozen=True)
class ScaleJitter:
    """Enlarge or shrink image and boxes by a random factor, the same both ways.

    Parameters
    ----------
    scale : (float, float), default (0.8, 1.25)
        Range of the factor, uniform in its logarithm, so that half is as likely as
        double.
    generator : lucid.random.Generator, optional
        Where the randomness comes from.
    """

    scale: tuple[float, float] = (0.8, 1.25)
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_pair("scale", self.scale, math.ulp(0.0), math.inf)

    def __call__(self, image: NDArray[np.float32], target: Target) -> Sample:
        low, high = (math.log(value) for value in self.scale)
        factor = math.exp(numpy_generator(self.generator).uniform(low, high))
        height, width = (max(1, round(side * factor)) for side in image.shape[1:])
        return resize(image, target, (height, width))


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a random window, and with it the objects that are mostly inside.

    Where an image has objects its window has at least one: ten windows are tried,
    and if none has, the image stays whole.

    Parameters
    ----------
    scale : (float, float), default (0.5, 1.0)
        Range of the window's sides as shares of the image's, drawn for each side.
    min_visible : float, default 0.3
        An object of whose box no more than this share is in the window is left out.
    p : float, default 1.0
        Probability of cropping at all.
    generator : lucid.random.Generator, optional
        Where the randomness comes from.
    """

    scale: tuple[float, float] = (0.5, 1.0)
    min_visible: float = 0.3
    p: float = 1.0
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_pair("scale", self.scale, math.ulp(0.0), 1.0)
        check_number("min_visible", self.min_visible, 0, 1)
        check_number("p", self.p, 0, 1)

    def __call__(self, image: NDArray[np.float32], target: Target) -> Sample:
        rng = numpy_generator(self.generator)
        if rng.random() >= self.p:
            return image, target
        for _ in range(10):
            window = self._window(image.shape[1], image.shape[2], rng)
            result = crop(image, target, window, self.min_visible)
            if len(result[1]["boxes"]) or not len(target["boxes"]):
                return result
        return image, target

    def _window(
        self, height: int, width: int, rng: np.random.Generator
    ) -> tuple[int, int, int, int]:
        h, w = (max(1, round(side * rng.uniform(*self.scale))) for side in (height, width))
        top = int(rng.integers(height - h, endpoint=True))
        left = int(rng.integers(width - w, endpoint=True))
        return left, top, left + w, top + h
