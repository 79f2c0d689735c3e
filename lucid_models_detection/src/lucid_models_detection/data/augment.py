"""Data augmentation of images together with their boxes.

Transforms are called as ``transform(image, target)`` and return a new pair; inputs are not
modified.  Target entries other than those of :mod:`lucid_models_detection.data` are passed through.

Random transforms use ``lucid.random.default_generator`` by default.  A
:class:`lucid.data.DataLoader` seeds it for each sample, so that results do not depend on the
number of workers.  A ``generator`` of your own is copied to every worker: all draw the same values.

Shapes: M objects and K ignored objects in an image of H x W pixels.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import lucid
from lucid.vision.arguments import check_number, check_pair, numpy_generator
from lucid.vision.transforms import Resize
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.data.box_formats import MIN_BOX_SIDE
from lucid_models_detection.data.types import Sample, SampleTransform, Target

__all__ = [
    "ColorJitter",
    "Compose",
    "RandomCrop",
    "RandomHorizontalFlip",
    "ScaleJitter",
    "crop",
    "horizontal_flip",
    "resize",
]

Image = NDArray[np.float32]

#: Box entries of a target, with the entries that have one row per box.
ROWS = {"boxes": ("labels", "area"), "ignored_boxes": ("ignored_labels",)}

#: RGB to YIQ, the luma and chroma of ITU-R BT.601 (analog form).
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = np.linalg.inv(_YIQ)


@dataclass(frozen=True)
class Compose:
    """Apply several transforms in sequence.

    Parameters
    ----------
    transforms : sequence of callable
        Each maps (image, target) to (image, target).
    """

    transforms: Sequence[SampleTransform]

    def __call__(self, image: Image, target: Target) -> Sample:
        for transform in self.transforms:
            image, target = transform(image, target)
        return image, target


def horizontal_flip(image: Image, target: Target) -> Sample:
    """Flip an image and its boxes horizontally.

    Parameters
    ----------
    image : (3, H, W) float32 array
        Values in [0, 1].
    target : dict
        Target of a sample, with ``boxes`` (M, 4) xyxy in pixels.

    Returns
    -------
    (image, target)
        In boxes, ``x1, x2`` become ``W - x2, W - x1``.
    """
    flipped = dict(target)
    width = image.shape[-1]
    for key in ROWS.keys() & target.keys():
        boxes = box_ops.as_boxes(target[key], key)
        x1, y1, x2, y2 = boxes.T
        flipped[key] = np.stack([width - x2, y1, width - x1, y2], axis=1)
    return np.ascontiguousarray(image[..., ::-1]), flipped


def resize(image: Image, target: Target, size: tuple[int, int]) -> Sample:
    """Resize an image (bilinear, antialiased) and its boxes.

    Parameters
    ----------
    image : (3, H, W) float32 array
        Values in [0, 1].
    target : dict
        Target of a sample, with ``boxes`` (M, 4) xyxy in pixels.
    size : (int, int)
        New height and width.

    Returns
    -------
    (image, target)
        ``area`` is scaled by the ratio of the image areas.
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
    image: Image,
    target: Target,
    window: tuple[int, int, int, int],
    min_visible: float = 0.0,
) -> Sample:
    """Crop an image, clip its boxes to the window, and remove boxes outside it.

    Parameters
    ----------
    image : (3, H, W) float32 array
        Values in [0, 1].
    target : dict
        Target of a sample, with ``boxes`` (M, 4) xyxy in pixels.
    window : (int, int, int, int)
        Left, top, right and bottom edge in pixels, inside the image.
    min_visible : float, default 0
        Remove objects whose visible fraction of the box is not greater than this; also
        those with a visible side below 0.01 pixels.

    Returns
    -------
    (image, target)
        Boxes in pixels of the window; ``area`` is scaled by the visible fraction.

    Raises
    ------
    ValueError
        If the window is empty or not inside the image.
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
        kept[kept] = (moved[kept, 2:] - moved[kept, :2] >= MIN_BOX_SIDE).all(axis=1)
        result[key] = moved[kept]
        for other in others:
            if other in target:
                result[other] = np.asarray(target[other])[kept]
        if key == "boxes" and "area" in target:
            result["area"] = result["area"] * visible[kept]
    return np.ascontiguousarray(image[:, y1:y2, x1:x2]), result


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Flip image and boxes horizontally with probability ``p``.

    Do not use it for classes that depend on the direction, such as digits or arrows.

    Parameters
    ----------
    p : float, default 0.5
        Probability in [0, 1].
    generator : lucid.random.Generator, optional
        Source of randomness.
    """

    p: float = 0.5
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_number("p", self.p, 0, 1)

    def __call__(self, image: Image, target: Target) -> Sample:
        if numpy_generator(self.generator).random() < self.p:
            return horizontal_flip(image, target)
        return image, target


@dataclass(frozen=True)
class ScaleJitter:
    """Resize image and boxes by a random factor that keeps the aspect ratio.

    Parameters
    ----------
    scale : (float, float), default (0.8, 1.25)
        Range of the factor, which is drawn log-uniformly.
    generator : lucid.random.Generator, optional
        Source of randomness.
    """

    scale: tuple[float, float] = (0.8, 1.25)
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_pair("scale", self.scale, math.ulp(0.0), math.inf)

    def __call__(self, image: Image, target: Target) -> Sample:
        low, high = (math.log(value) for value in self.scale)
        factor = math.exp(numpy_generator(self.generator).uniform(low, high))
        height, width = (max(1, round(side * factor)) for side in image.shape[1:])
        return resize(image, target, (height, width))


@dataclass(frozen=True)
class RandomCrop:
    """Crop a random window and keep the objects that are sufficiently visible in it.

    If the image has objects, the window has at least one: up to ten windows are drawn, and if
    none has an object, the image is returned unchanged.

    Parameters
    ----------
    scale : (float, float), default (0.5, 1.0)
        Range of the window sides as fractions of the image sides, drawn for each side.
    min_visible : float, default 0.3
        Remove objects whose visible fraction of the box is not greater than this.
    p : float, default 1.0
        Probability of cropping.
    generator : lucid.random.Generator, optional
        Source of randomness.
    """

    scale: tuple[float, float] = (0.5, 1.0)
    min_visible: float = 0.3
    p: float = 1.0
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_pair("scale", self.scale, math.ulp(0.0), 1.0)
        check_number("min_visible", self.min_visible, 0, 1)
        check_number("p", self.p, 0, 1)

    def __call__(self, image: Image, target: Target) -> Sample:
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


@dataclass(frozen=True)
class ColorJitter:
    """Randomly change brightness, contrast, saturation and hue, in random order.

    Parameters
    ----------
    brightness, contrast, saturation : float, default 0.2
        The factor is drawn from [max(0, 1 - value), 1 + value].  Brightness multiplies the
        image; contrast blends it with the mean of its luma, saturation with its luma per pixel
        (factor 0 leaves only the luma).
    hue : float, default 0.02
        Chroma is rotated by up to this fraction of a full turn in either direction, at most
        0.5; luma is kept.
    generator : lucid.random.Generator, optional
        Where the randomness comes from.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            check_number(name, getattr(self, name), 0, 10)
        check_number("hue", self.hue, 0, 0.5)

    def __call__(self, image: Image, target: Target) -> Sample:
        rng = numpy_generator(self.generator)
        changes: list[tuple[Callable[[Image, float], Image], float]] = [
            (change, rng.uniform(max(0.0, 1 - amount), 1 + amount))
            for change, amount in (
                (_scale_brightness, self.brightness),
                (_scale_contrast, self.contrast),
                (_scale_saturation, self.saturation),
            )
        ]
        changes.append((_rotate_hue, rng.uniform(-self.hue, self.hue)))
        for i in rng.permutation(len(changes)):
            change, amount = changes[i]
            # Clip after each change, because the next one uses the luma.
            image = np.clip(change(image, amount), 0, 1).astype(image.dtype, copy=False)
        return image, target


def _luma(image: Image) -> Image:
    return np.tensordot(_YIQ[0].astype(image.dtype), image, 1)[None]


def _scale_brightness(image: Image, factor: float) -> Image:
    return image * np.float32(factor)


def _scale_contrast(image: Image, factor: float) -> Image:
    gray = _luma(image).mean()
    return np.asarray(gray + (image - gray) * np.float32(factor))


def _scale_saturation(image: Image, factor: float) -> Image:
    gray = _luma(image)
    return gray + (image - gray) * np.float32(factor)


def _rotate_hue(image: Image, turn: float) -> Image:
    """Rotate the chroma of every pixel in the IQ plane."""
    cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.tensordot((_RGB @ rotation @ _YIQ).astype(image.dtype), image, 1)
