"""Random changes of an image's colors; its boxes stay where they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import lucid
from lucid.vision.arguments import check_number, numpy_generator
from lucid_models_detection.data.targets import Sample, Target

__all__ = ["ColorJitter"]

#: Luma and the two chroma of ITU-R BT.601 (its analogue form, YIQ) from red, green and blue.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = np.linalg.inv(_YIQ)

Image = NDArray[np.float32]


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue, in random order, by random amounts.

    Parameters
    ----------
    brightness, contrast, saturation : float, default 0.2
        The factor is drawn from [max(0, 1 - value), 1 + value].  Brightness
        multiplies the image; contrast blends it with the mean of its luma, and
        saturation with its luma, pixel by pixel (a factor of 0 leaves only those).
    hue : float, default 0.02
        Share of a whole turn, up to 0.5, that colors are turned by around the
        axis of gray, either way; luma stays.
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
                (_multiplied, self.brightness),
                (_contrasted, self.contrast),
                (_saturated, self.saturation),
            )
        ]
        changes.append((_turned, rng.uniform(-self.hue, self.hue)))
        for i in rng.permutation(len(changes)):
            change, amount = changes[i]
            # Each within what can be shown, so that the next measures what would be seen.
            image = np.clip(change(image, amount), 0, 1).astype(image.dtype, copy=False)
        return image, target


def _luma(image: Image) -> Image:
    return np.tensordot(_YIQ[0].astype(image.dtype), image, 1)[None]


def _multiplied(image: Image, factor: float) -> Image:
    return image * np.float32(factor)


def _contrasted(image: Image, factor: float) -> Image:
    gray = _luma(image).mean()
    return np.asarray(gray + (image - gray) * np.float32(factor))


def _saturated(image: Image, factor: float) -> Image:
    gray = _luma(image)
    return gray + (image - gray) * np.float32(factor)


def _turned(image: Image, turn: float) -> Image:
    """Turn the chroma of every pixel: a rotation of two of the three axes of YIQ."""
    cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.tensordot((_RGB @ rotation @ _YIQ).astype(image.dtype), image, 1)
