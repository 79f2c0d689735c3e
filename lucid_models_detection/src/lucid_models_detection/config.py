"""Validated options of detectors, as frozen dataclasses.

:func:`config_field` attaches a check to a field: a function of the field's name and value that
returns the converted value, or raises.
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

#: Anchor scales of a level, three per octave.
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
        raise ValueError(f"{name}: expected an integer, or a pair (train, eval), got {value!r}")
    return positive_int(f"{name}[0]", pair[0]), positive_int(f"{name}[1]", pair[1])


def min_size(name: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    sizes = tuple(value) if is_sequence(value) else (value,)
    if not sizes:
        raise ValueError(f"{name}: expected None, one integer or several, got {value!r}")
    return tuple(positive_int(name, size) for size in sizes)


def max_size(name: str, value: Any) -> int | None:
    return None if value is None else positive_int(name, value)


def positive(name: str, value: Any) -> float:
    return number(name, value, math.ulp(0.0), 1e9, "a number greater than 0")


def per_level(name: str, value: Any) -> Sizes | tuple[float, ...]:
    if not is_sequence(value) or len(value) == 0:
        raise ValueError(f"{name}: expected a sequence with one item per level, got {value!r}")
    if not any(is_sequence(level) for level in value):
        return tuple(positive(name, v) for v in value)
    if not all(is_sequence(level) and len(level) for level in value):
        raise ValueError(f"{name}: expected numbers, or sequences of numbers, got {value!r}")
    return tuple(tuple(positive(name, v) for v in level) for level in value)


def optional_per_level(name: str, value: Any) -> Sizes | tuple[float, ...] | None:
    return None if value is None else per_level(name, value)


def three(name: str, value: Any) -> tuple[float, ...]:
    if not is_sequence(value) or len(value) != 3:
        raise ValueError(f"{name}: expected three numbers (red, green, blue), got {value!r}")
    return tuple(number(name, v, -1e9, 1e9, "finite numbers") for v in value)


def std(name: str, value: Any) -> tuple[float, ...]:
    return tuple(positive(name, v) for v in three(name, value))


def config_field(default: Any, check: Callable[[str, Any], Any]) -> Any:
    """Make a field of :class:`DetectorConfig` whose value passes through ``check(name, value)``."""
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Options that all detectors with a feature pyramid share: anchors and images.

    Parameters
    ----------
    anchor_sizes : sequence, optional
        For each level, the anchor sizes (square roots of their areas) in pixels, or one number.
        Default: three sizes per octave from
        ``anchor_scale`` times the level's stride.
    aspect_ratios : sequence, default (0.5, 1.0, 2.0)
        Height-to-width ratios of all levels, or one sequence per level.
    min_size : int or sequence of int, optional
        Length of the shorter side after resizing.  From several, training draws one per image and
        prediction takes the last.  Default: no resizing.
    max_size : int, optional
        Upper bound of the longer side after resizing; alone, it only shrinks images.
        Default: no limit.
    image_mean, image_std : sequence of float
        Per-channel mean and standard deviation for normalization.  Default: ImageNet's.

    Raises
    ------
    TypeError, ValueError
        If a value is invalid or contradicts another; names the option.
    """

    #: Ratio of the smallest default anchor size to the level's stride.
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
            sizes = tuple(s if is_sequence(s) else (s,) for s in self.anchor_sizes)
            object.__setattr__(self, "anchor_sizes", sizes)
            object.__setattr__(self, "aspect_ratios", self._ratios(len(sizes)))
        if self.min_size and self.max_size and max(self.min_size) > self.max_size:
            raise ValueError(
                f"min_size: expected at most {self.max_size} (max_size), got {max(self.min_size)}"
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options, in order."""
        return tuple(each.name for each in fields(cls))

    def check_order(self, low: str, high: str) -> None:
        """Raise ``ValueError`` if the option ``low`` is greater than the option ``high``."""
        if getattr(self, low) > getattr(self, high):
            raise ValueError(
                f"{low}: expected at most {getattr(self, high):g} ({high}), got "
                f"{getattr(self, low):g}"
            )

    @classmethod
    def default_sizes(cls, stride: int) -> tuple[float, ...]:
        """Return the default anchor sizes of a level, in pixels."""
        return tuple(cls.anchor_scale * stride * scale for scale in OCTAVE)

    def _ratios(self, count: int) -> Sizes:
        ratios: Any = self.aspect_ratios
        return ratios if is_sequence(ratios[0]) else (ratios,) * count

    def for_levels(self, strides: Sequence[int], levels: Sequence[str]) -> Self:
        """Fill in anchor sizes and aspect ratios for each level; raise if their number differs."""
        sizes = self.anchor_sizes or tuple(map(self.default_sizes, strides))
        ratios = self._ratios(len(levels))
        ends = f"{levels[0]} to {levels[-1]}"
        if len(sizes) != len(levels):
            raise ValueError(
                f"anchor_sizes: expected {len(levels)} levels ({ends}), got {len(sizes)}"
            )
        if len(ratios) != len(levels):
            raise ValueError(
                f"aspect_ratios: expected one sequence, or {len(levels)} ({ends}), got "
                f"{len(ratios)}"
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
    """Return the number of classes as an int; raise unless it is at least 2."""
    if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__"):
        raise TypeError(f"num_classes: expected an integer of at least 2, got {num_classes!r}")
    if num_classes < 2:
        raise ValueError(
            "num_classes: expected an integer of at least 2 (class 0 is the background), got "
            f"{num_classes}"
        )
    return int(num_classes)
