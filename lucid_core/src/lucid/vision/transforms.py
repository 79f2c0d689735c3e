"""Image transforms: resize, crop, flip, grayscale, normalize.

A transform maps a float array (C, H, W), C = 3 or 1, to another; values are in [0, 1] until
:class:`Normalize`.  :func:`lucid.vision.read_image` returns such arrays.

Random transforms draw from ``lucid.random.default_generator`` unless given a
generator; ``lucid.random.seed`` and the workers of a data loader seed it.

Examples
--------
>>> import numpy as np
>>> from lucid.vision import transforms
>>> train = transforms.Compose(
...     [
...         transforms.RandomResizedCrop(224),
...         transforms.RandomHorizontalFlip(),
...         transforms.Normalize(transforms.IMAGENET_MEAN, transforms.IMAGENET_STD),
...     ]
... )
>>> train(np.zeros((3, 300, 400), np.float32)).shape
(3, 224, 224)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

import lucid
from lucid.hints import add_hints
from lucid.vision.arguments import (
    Size,
    as_image,
    as_size,
    check_number,
    check_numbers,
    check_pair,
    numpy_generator,
)
from lucid.vision.arrays import Array, check_range
from lucid.vision.resample import Interpolation, resample

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "CenterCrop",
    "Compose",
    "Grayscale",
    "Normalize",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "build_transform",
    "preprocessing",
]

#: Per-channel statistics of ImageNet's training images, in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Compose:
    """Apply transforms in order.

    Parameters
    ----------
    transforms : sequence of callable
        Each maps an array to an array.
    """

    transforms: Sequence[Callable[[Array], Array]]

    def __post_init__(self) -> None:
        if not isinstance(self.transforms, Sequence) or not all(map(callable, self.transforms)):
            raise TypeError(
                f"transforms: expected a sequence of callables, got {self.transforms!r}"
            )

    def __call__(self, image: Array) -> Array:
        for transform in self.transforms:
            image = transform(image)
        return image


@dataclass(frozen=True)
class Resize:
    """Resize with antialiasing.

    Parameters
    ----------
    size : int or (int, int)
        Height and width; an int is the length of the shorter side, and the longer side keeps the
        aspect ratio, rounded down.
    interpolation : {"bilinear", "bicubic"}, default "bilinear"
        Bicubic results are clipped to [0, 1].
    """

    size: Size
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size))
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(
                f"interpolation: expected one of {', '.join(get_args(Interpolation))}, got "
                f"{self.interpolation!r}"
            )

    def __call__(self, image: Array) -> Array:
        image = as_image(image)
        return resample(image, self._target(*image.shape[1:]), self.interpolation)

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size
        if height <= width:
            return self.size, int(self.size * width / height)
        return int(self.size * height / width), self.size


@dataclass(frozen=True)
class CenterCrop:
    """Crop the center; a smaller image is padded with zeros on both sides.

    Parameters
    ----------
    size : int or (int, int)
        Height and width; one number for both.
    """

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size))

    def __call__(self, image: Array) -> Array:
        image = as_image(image)
        target = _pair(self.size)
        lack = [max(0, t - n) for t, n in zip(target, image.shape[1:], strict=True)]
        if any(lack):
            image = np.pad(image, ((0, 0), *((n // 2, n - n // 2) for n in lack)))
        # Half a pixel rounds to even, as in torchvision.
        top, left = (round((n - t) / 2) for t, n in zip(target, image.shape[1:], strict=True))
        return _crop(image, top, left, *target)


@dataclass(frozen=True)
class RandomResizedCrop:
    """Crop a rectangle of random area and aspect ratio, and resize it.

    Szegedy et al. 2014, arXiv:1409.4842, section 6.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result; one number for both.
    scale : (float, float), default (0.08, 1.0)
        Range of the area, as a fraction of the area of the image.
    ratio : (float, float), default (3/4, 4/3)
        Range of the aspect ratio, width over height, sampled log-uniformly.
    generator : lucid.random.Generator, optional
        Source of random numbers; default ``lucid.random.default_generator``.
    """

    size: Size
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size))
        check_pair("scale", self.scale, math.ulp(0.0), math.inf)
        check_pair("ratio", self.ratio, math.ulp(0.0), math.inf)

    def __call__(self, image: Array) -> Array:
        image = as_image(image)
        return resample(_crop(image, *self._rectangle(*image.shape[1:])), _pair(self.size))

    def _rectangle(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of a rectangle inside the image."""
        rng = numpy_generator(self.generator)
        low, high = self.ratio
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(low), math.log(high)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top = int(rng.integers(height - h, endpoint=True))
                return top, int(rng.integers(width - w, endpoint=True)), h, w
        # The image is too elongated: use the largest centered rectangle.
        ratio = min(max(width / height, low), high)
        h = max(1, min(height, round(width / ratio)))
        w = max(1, min(width, round(height * ratio)))
        return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Flip left and right with probability ``p``.

    Parameters
    ----------
    p : float, default 0.5
        In [0, 1].
    generator : lucid.random.Generator, optional
        Source of random numbers; default ``lucid.random.default_generator``.
    """

    p: float = 0.5
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_number("p", self.p, 0, 1)

    def __call__(self, image: Array) -> Array:
        image = as_image(image)
        if numpy_generator(self.generator).random() < self.p:
            return np.ascontiguousarray(image[:, :, ::-1])
        return image


@dataclass(frozen=True)
class Grayscale:
    """Convert RGB to one channel by the luma weights of ITU-R BT.601."""

    def __call__(self, image: Array) -> Array:
        image = as_image(image)
        if image.shape[0] == 1:
            return image
        weights = np.asarray([0.299, 0.587, 0.114], image.dtype)
        return np.tensordot(weights, image, 1)[None]


@dataclass(frozen=True)
class Normalize:
    """Per-channel normalization, ``(image - mean) / std``.

    Values outside [0, 1] raise an error: the image may be normalized already.

    Parameters
    ----------
    mean, std : sequence of float
        One value per channel; ``std`` must be positive.
    """

    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        check_numbers("mean", self.mean)
        check_numbers("std", self.std)
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0:
            raise ValueError(
                "expected mean and positive std of equal length, got "
                f"mean={tuple(self.mean)} and std={tuple(self.std)}"
            )

    def __call__(self, image: Array) -> Array:
        image = as_image(image)
        if image.shape[0] != len(self.mean):
            raise ValueError(
                f"expected an image of {len(self.mean)} channels, got shape {image.shape}"
            )
        check_range(image)
        mean = np.asarray(self.mean, image.dtype)[:, None, None]
        std = np.asarray(self.std, image.dtype)[:, None, None]
        return np.asarray((image - mean) / std)


def preprocessing(
    *,
    resize_size: int = 256,
    crop_size: int = 224,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    interpolation: Interpolation = "bilinear",
) -> dict[str, Any]:
    """Describe the preprocessing of a classifier, to save it with the weights.

    Parameters
    ----------
    resize_size : int, default 256
        Length of the shorter side after resizing.
    crop_size : int, default 224
        Side of the square center crop.
    mean, std : sequence of float
        For :class:`Normalize`: three values, or one for a network with one input channel.
    interpolation : {"bilinear", "bicubic"}, default "bilinear"
        For :class:`Resize`.

    Returns
    -------
    dict
        JSON-serializable, for the argument ``preprocessing`` of :func:`lucid.save_model`;
        :func:`build_transform` builds the transform.
    """
    check_numbers("mean", mean)
    check_numbers("std", std)
    description: dict[str, Any] = {
        "resize_size": as_size(resize_size),
        "crop_size": as_size(crop_size),
        "mean": [float(value) for value in mean],
        "std": [float(value) for value in std],
    }
    if interpolation != "bilinear":  # omitted for Lucid 0.1
        description["interpolation"] = interpolation
    build_transform(description)  # raise for invalid values now, not after training
    return description


def build_transform(description: Mapping[str, Any]) -> Compose:
    """Build the transform that :func:`preprocessing` describes.

    Parameters
    ----------
    description : mapping
        The entries of :func:`preprocessing`: ``resize_size`` and ``crop_size`` in pixels,
        ``mean`` and ``std`` of one or three numbers; ``interpolation`` is optional.

    Returns
    -------
    Compose
        Resizes, crops and normalizes a (3, H, W) image of floats in [0, 1]; returns
        (3, crop_size, crop_size), or (1, crop_size, crop_size) if ``mean`` has one value.

    Raises
    ------
    ValueError
        If an entry is missing, unknown, or of the wrong type.
    """
    if not isinstance(description, Mapping):
        raise TypeError(f"preprocessing: expected a mapping, got {type(description).__name__}")
    expected = {"resize_size", "crop_size", "mean", "std"}
    if set(description) - {"interpolation"} != expected:
        raise ValueError(
            f"preprocessing: expected the entries {sorted(expected)}, got {sorted(description)}"
        )
    mean, std = description["mean"], description["std"]
    for name, values in (("mean", mean), ("std", std)):
        is_list = isinstance(values, list | tuple) and len(values) in (1, 3)
        if not is_list or not all(isinstance(value, int | float) for value in values):
            raise ValueError(f"preprocessing: expected 1 or 3 numbers as {name}, got {values!r}")
    steps: list[Callable[[Array], Array]] = [_in_range]
    if len(mean) == 1:
        steps.append(Grayscale())
    interpolation = description.get("interpolation", "bilinear")
    steps += [
        Resize(description["resize_size"], interpolation),
        CenterCrop(description["crop_size"]),
    ]
    return Compose((*steps, Normalize(tuple(mean), tuple(std))))


def _in_range(image: Any) -> Array:
    """Check the range before resampling averages values into [0, 1]."""
    array = as_image(image)
    check_range(array)
    return array


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _crop(image: Array, top: int, left: int, height: int, width: int) -> Array:
    return image[:, top : top + height, left : left + width]


add_hints(globals())
