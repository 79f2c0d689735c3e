"""Options of detectors: a dataclass whose fields are checked, and the checks.

A field made by :func:`config_field` has a check, which converts a value to what the field holds or
raises; it gets the field's name, for the message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

__all__ = [
    "DetectorConfig",
    "Sizes",
    "check_num_classes",
    "check_options",
    "config_field",
    "count_or_pair",
    "fraction",
    "per_level",
    "positive_int",
]

Sizes = tuple[tuple[float, ...], ...]

#: Scales of the anchors of a level, three an octave.
OCTAVE = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))


def number(name: str, value: Any, low: float, high: float, expected: str) -> float:
    # float() also takes NumPy scalars; strings and booleans are refused.
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: expected {expected}, got {value!r}")
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return number


def fraction(name: str, value: Any) -> float:
    return number(name, value, 0.0, 1.0, "a number from 0 to 1")


def positive_int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer of at least 1, got {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
    return int(value)


def is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__iter__") and not isinstance(value, str)


def count_or_pair(name: str, value: Any) -> tuple[int, int]:
    if not is_sequence(value):
        return positive_int(name, value), positive_int(name, value)
    pair = tuple(value)
    if len(pair) != 2:
        raise ValueError(
            f"{name}: expected an integer, or two for training and prediction, got {value!r}"
        )
    return positive_int(f"{name}[0]", pair[0]), positive_int(f"{name}[1]", pair[1])


def min_size(name: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    sizes = tuple(value) if is_sequence(value) else (value,)
    if not sizes:
        raise ValueError(f"{name}: expected None, an integer or several, got {value!r}")
    return tuple(positive_int(name, size) for size in sizes)


def max_size(name: str, value: Any) -> int | None:
    return None if value is None else positive_int(name, value)


def positive(name: str, value: Any) -> float:
    return number(name, value, math.ulp(0.0), 1e9, "a number greater than 0")


def per_level(name: str, value: Any) -> Sizes | tuple[float, ...]:
    """Numbers, or sequences of them, one for each level."""
    if not is_sequence(value) or len(value) == 0:
        raise ValueError(f"{name}: expected a sequence for each level, got {value!r}")
    if not any(is_sequence(level) for level in value):
        return tuple(positive(name, v) for v in value)
    if not all(is_sequence(level) and len(level) for level in value):
        raise ValueError(f"{name}: expected numbers, or sequences of them, got {value!r}")
    return tuple(tuple(positive(name, v) for v in level) for level in value)


def optional_per_level(name: str, value: Any) -> Sizes | tuple[float, ...] | None:
    return None if value is None else per_level(name, value)


def three(name: str, value: Any) -> tuple[float, ...]:
    if not is_sequence(value) or len(value) != 3:
        raise ValueError(f"{name}: expected three numbers, for red, green and blue, got {value!r}")
    return tuple(number(name, v, -1e9, 1e9, "finite numbers") for v in value)


def std(name: str, value: Any) -> tuple[float, ...]:
    return tuple(positive(name, v) for v in three(name, value))


def config_field(default: Any, check: Callable[[str, Any], Any]) -> Any:
    """Make a field of :class:`DetectorConfig`.

    Parameters
    ----------
    default : object
        Default value, before the check.
    check : callable
        Called with the name and the value; returns what the field holds or raises.
    """
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Base class of the options of a detector on a feature pyramid: anchors and images.

    Parameters
    ----------
    anchor_sizes : sequence, optional
        For each level, square roots of the anchors' areas in pixels; a number for a level
        with one size.  Default: three sizes an octave, from
        ``anchor_scale`` times the level's stride.
    aspect_ratios : sequence, default (0.5, 1.0, 2.0)
        Heights divided by widths, of all levels or one sequence for each.
    min_size : int or sequence of int, optional
        Length that the shorter side is resized to; of several, training draws one for each
        image and prediction takes the last.  Default: no resizing.
    max_size : int, optional
        Upper bound of the longer side after resizing.  Default: no limit.
    image_mean, image_std : sequence of float
        Of each color, subtracted and divided by; ImageNet's by default.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind, out of range or contradicts another one; names the
        option, what was expected and what was given.
    """

    #: Smallest default anchor of a level, divided by the level's stride.
    anchor_scale: ClassVar[float] = 4.0

    anchor_sizes: Any = config_field(None, optional_per_level)
    aspect_ratios: Any = config_field((0.5, 1.0, 2.0), per_level)
    min_size: tuple[int, ...] | None = config_field(None, min_size)
    max_size: int | None = config_field(None, max_size)
    image_mean: tuple[float, ...] = config_field((0.485, 0.456, 0.406), three)
    image_std: tuple[float, ...] = config_field((0.229, 0.224, 0.225), std)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = each.metadata["check"](each.name, getattr(self, each.name))
            object.__setattr__(self, each.name, value)
        if self.anchor_sizes is not None:
            # Every level gets its own tuple of sizes and of ratios.
            sizes = tuple(s if is_sequence(s) else (s,) for s in self.anchor_sizes)
            object.__setattr__(self, "anchor_sizes", sizes)
            object.__setattr__(self, "aspect_ratios", self._ratios(len(sizes)))
        if self.min_size and self.max_size and max(self.min_size) > self.max_size:
            raise ValueError(
                f"min_size ({max(self.min_size)}) must not be greater than "
                f"max_size ({self.max_size})"
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all options, in order."""
        return tuple(each.name for each in fields(cls))

    def check_order(self, low: str, high: str) -> None:
        """Raise ``ValueError`` if the option ``low`` is greater than the option ``high``."""
        if getattr(self, low) > getattr(self, high):
            raise ValueError(
                f"{low} ({getattr(self, low):g}) must not be greater than "
                f"{high} ({getattr(self, high):g})"
            )

    @classmethod
    def default_sizes(cls, stride: int) -> tuple[float, ...]:
        """Anchor sizes of a level, in pixels, where none are given."""
        return tuple(cls.anchor_scale * stride * scale for scale in OCTAVE)

    def _ratios(self, count: int) -> Sizes:
        ratios: Any = self.aspect_ratios
        return ratios if is_sequence(ratios[0]) else (ratios,) * count

    def for_levels(self, strides: Sequence[int], levels: Sequence[str]) -> Self:
        """Complete the options with anchor sizes and aspect ratios for each level of a pyramid.

        Parameters
        ----------
        strides : sequence of int
            Strides of the levels, finest first.
        levels : sequence of str
            Their names.

        Returns
        -------
        DetectorConfig
            Options of the same class.

        Raises
        ------
        ValueError
            If the anchor sizes or the aspect ratios are given for another number of levels.
        """
        sizes = self.anchor_sizes or tuple(map(self.default_sizes, strides))
        ratios = self._ratios(len(levels))
        ends = f"{levels[0]} to {levels[-1]}"
        if len(sizes) != len(levels):
            raise ValueError(
                f"anchor_sizes: expected sizes for {len(levels)} levels, {ends}, got {len(sizes)}"
            )
        if len(ratios) != len(levels):
            raise ValueError(
                f"aspect_ratios: expected ratios for all levels or for each of {len(levels)}, "
                f"{ends}, got {len(ratios)}"
            )
        return replace(self, anchor_sizes=sizes, aspect_ratios=ratios)


def check_options(options: Mapping[str, Any], valid: Sequence[str], what: str) -> None:
    """Raise ``TypeError`` for unknown options; lists the valid ones."""
    unknown = sorted(set(options) - set(valid))
    if unknown:
        raise TypeError(
            f"{what} got unexpected keyword argument(s) {', '.join(map(repr, unknown))}; "
            f"valid ones are {', '.join(valid)}"
        )


def check_num_classes(num_classes: Any) -> int:
    """Return a number of classes as an int, at least 2 with the background, or raise."""
    if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__"):
        raise TypeError(f"num_classes: expected an integer of at least 2, got {num_classes!r}")
    if num_classes < 2:
        raise ValueError(
            "num_classes: expected an integer of at least 2, since class 0 is the "
            f"background, got {num_classes}"
        )
    return int(num_classes)
