"""Random changes of an image that take its boxes along."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lucid
from lucid_models_detection.data.targets import Sample, Target

__all__ = ["RandomHorizontalFlip", "horizontal_flip"]

BOX_KEYS = ("boxes", "ignored_boxes")


def horizontal_flip(image: NDArray[np.float32], target: Target) -> Sample:
    """Mirror an image and its boxes left and right; the arguments stay as they are.

    Parameters
    ----------
    image : (3, H, W) array
    target : dict
        See :mod:`lucid_models_detection.data`; all of its boxes are mirrored, the
        rest is handed on.

    Returns
    -------
    (image, target)
        Of a box ``x1, x2`` in an image of width W become ``W - x2, W - x1``.
    """
    mirrored = dict(target)
    width = image.shape[-1]
    for key in BOX_KEYS:
        if key in target:
            mirrored[key] = _mirror(np.asarray(target[key]), width)
    return np.ascontiguousarray(image[..., ::-1]), mirrored


def _mirror(boxes: NDArray[Any], width: int) -> NDArray[Any]:
    boxes = boxes.reshape(-1, 4)
    result = boxes.copy()
    result[:, 0] = width - boxes[:, 2]
    result[:, 2] = width - boxes[:, 0]
    return result


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirror image and boxes with probability ``p``.

    Not for classes that a mirror turns into one another, such as digits or arrows.

    Parameters
    ----------
    p : float, default 0.5
        In [0, 1].
    generator : lucid.random.Generator, optional
        Where the randomness comes from.  Default: ``lucid.random.default_generator``,
        which seeding Lucid, or a worker of its data loader, seeds.
    """

    p: float = 0.5
    generator: lucid.random.Generator | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p: expected a probability in [0, 1], got {self.p}")

    def __call__(self, image: NDArray[np.float32], target: Target) -> Sample:
        generator = self.generator or lucid.random.default_generator
        if generator.numpy.random() < self.p:
            return horizontal_flip(image, target)
        return image, target
