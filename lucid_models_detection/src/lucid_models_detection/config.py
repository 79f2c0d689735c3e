"""The keyword arguments of the detectors, checked in one place.

Defaults are torchvision's wherever it has the same argument, but for the anchors
(three sizes a level and not one), the number of proposals in prediction (300, the
paper's) and the size of images, which are taken as they come.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["DetectorConfig"]

_OCTAVE = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
_DEFAULT_SIZES = tuple(tuple(base * s for s in _OCTAVE) for base in (32, 64, 128, 256, 512))

Sizes = tuple[tuple[float, ...], ...]


def _number(name: str, value: Any, low: float, high: float, expected: str) -> float:
    # float() of NumPy scalars too, but not of strings or booleans.
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: expected {expected}, got {value!r}")
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return number


def _fraction(name: str, value: Any) -> float:
    return _number(name, value, 0.0, 1.0, "a number from 0 to 1")


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer of at least 1, got {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
    return int(value)


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__iter__") and not isinstance(value, str)


def _count_or_pair(name: str, value: Any) -> tuple[int, int]:
    if not _is_sequence(value):
        return _count(name, value), _count(name, value)
    pair = tuple(value)
    if len(pair) != 2:
        raise ValueError(
            f"{name}: expected an integer, or two for training and prediction, got {value!r}"
        )
    return _count(f"{name}[0]", pair[0]), _count(f"{name}[1]", pair[1])


def _min_size(name: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    sizes = tuple(value) if _is_sequence(value) else (value,)
    if not sizes:
        raise ValueError(f"{name}: expected None, an integer or several, got {value!r}")
    return tuple(_count(name, size) for size in sizes)


def _max_size(name: str, value: Any) -> int | None:
    return None if value is None else _count(name, value)


def _positive(name: str, value: Any) -> float:
    return _number(name, value, math.ulp(0.0), 1e9, "a number greater than 0")


def _anchors(name: str, value: Any) -> Sizes | tuple[float, ...]:
    """Numbers, or sequences of them, one for each level."""
    if not _is_sequence(value) or len(value) == 0:
        raise ValueError(f"{name}: expected a sequence for each level, got {value!r}")
    if not any(_is_sequence(level) for level in value):
        return tuple(_positive(name, v) for v in value)
    if not all(_is_sequence(level) and len(level) for level in value):
        raise ValueError(f"{name}: expected numbers, or sequences of them, got {value!r}")
    return tuple(tuple(_positive(name, v) for v in level) for level in value)


def _three(name: str, value: Any) -> tuple[float, ...]:
    if not _is_sequence(value) or len(value) != 3:
        raise ValueError(f"{name}: expected three numbers, for red, green and blue, got {value!r}")
    return tuple(_number(name, v, -1e9, 1e9, "finite numbers") for v in value)


def _std(name: str, value: Any) -> tuple[float, ...]:
    return tuple(_positive(name, v) for v in _three(name, value))


#: Turns what was given for an argument into what the field holds, or refuses it.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "anchor_sizes": _anchors,
    "aspect_ratios": _anchors,
    "rpn_pre_nms_top_n": _count_or_pair,
    "rpn_post_nms_top_n": _count_or_pair,
    "rpn_nms_threshold": _fraction,
    "rpn_positive_iou": _fraction,
    "rpn_negative_iou": _fraction,
    "box_score_threshold": _fraction,
    "box_nms_threshold": _fraction,
    "box_detections_per_image": _count,
    "box_positive_iou": _fraction,
    "box_batch_size_per_image": _count,
    "box_positive_fraction": _fraction,
    "min_size": _min_size,
    "max_size": _max_size,
    "image_mean": _three,
    "image_std": _std,
    "hidden_dim": _count,
    "pool_size": _count,
}


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """What a :class:`FasterRCNN` can be told beside its backbone and its classes.

    Parameters
    ----------
    anchor_sizes : sequence
        For each level, square roots of the anchors' areas in pixels; a plain number
        for a level with one size.  Default: three sizes an octave, 32, 40.3 and
        50.8 on P2, doubling with each level up to P6.
    aspect_ratios : sequence, default (0.5, 1.0, 2.0)
        Heights divided by widths, of all levels or one sequence for each.
    rpn_pre_nms_top_n : int or (int, int), default (2000, 1000)
        Best anchors of each level that go into non-maximum suppression, in training
        and in prediction.
    rpn_post_nms_top_n : int or (int, int), default (2000, 300)
        Proposals of an image, in training and in prediction.
    rpn_nms_threshold : float, default 0.7
        IoU above which a proposal suppresses another of its level.
    rpn_positive_iou, rpn_negative_iou : float, default 0.7 and 0.3
        An anchor is foreground from the first on, background below the second.
    box_score_threshold : float, default 0.05
        Detections need a greater score.
    box_nms_threshold : float, default 0.5
        IoU above which a detection suppresses another of its class.
    box_detections_per_image : int, default 100
        Detections of an image at most.
    box_positive_iou : float, default 0.5
        IoU from which on a proposal is an example of its object.
    box_batch_size_per_image : int, default 512
        Proposals of an image that the second stage is trained on.
    box_positive_fraction : float, default 0.25
        Largest share of those that are examples of objects.
    min_size : int or sequence of int, optional
        Length that the shorter side is resized to; of several, training draws one
        for each image and prediction takes the last.  Default: no resizing.
    max_size : int, optional
        Length that the longer side may not exceed after that; by itself it only
        shrinks images.  Default: no limit.
    image_mean, image_std : sequence of float
        Of each colour, subtracted and divided by; ImageNet's by default.
    hidden_dim : int, default 1024
        Width of the two fully connected layers of the second stage.
    pool_size : int, default 7
        Bins of RoIAlign either way.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind, out of range or at odds with another one;
        names the argument, what was expected and what arrived.
    """

    anchor_sizes: Sizes = _DEFAULT_SIZES
    aspect_ratios: Any = (0.5, 1.0, 2.0)
    rpn_pre_nms_top_n: tuple[int, int] = (2000, 1000)
    rpn_post_nms_top_n: tuple[int, int] = (2000, 300)
    rpn_nms_threshold: float = 0.7
    rpn_positive_iou: float = 0.7
    rpn_negative_iou: float = 0.3
    box_score_threshold: float = 0.05
    box_nms_threshold: float = 0.5
    box_detections_per_image: int = 100
    box_positive_iou: float = 0.5
    box_batch_size_per_image: int = 512
    box_positive_fraction: float = 0.25
    min_size: tuple[int, ...] | None = None
    max_size: int | None = None
    image_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    image_std: tuple[float, ...] = (0.229, 0.224, 0.225)
    hidden_dim: int = 1024
    pool_size: int = 7

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        # Every level gets its own tuple of sizes and of ratios.
        sizes = tuple(s if _is_sequence(s) else (s,) for s in self.anchor_sizes)
        ratios = self.aspect_ratios
        if not _is_sequence(ratios[0]):
            ratios = (ratios,) * len(sizes)
        object.__setattr__(self, "anchor_sizes", sizes)
        object.__setattr__(self, "aspect_ratios", ratios)
        if self.rpn_negative_iou > self.rpn_positive_iou:
            raise ValueError(
                f"rpn_negative_iou ({self.rpn_negative_iou:g}) must not be greater than "
                f"rpn_positive_iou ({self.rpn_positive_iou:g})"
            )
        if self.min_size and self.max_size and max(self.min_size) > self.max_size:
            raise ValueError(
                f"min_size ({max(self.min_size)}) must not be greater than "
                f"max_size ({self.max_size})"
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all arguments, in order."""
        return tuple(_CHECKS)
