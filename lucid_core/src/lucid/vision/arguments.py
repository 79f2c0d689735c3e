"""Argument checks of transforms: images, sizes, numbers and generators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

import lucid
from lucid.vision.arrays import Array
from lucid.vision.image_hints import conversion_hint, shape_hint

__all__ = [
    "Size",
    "as_image",
    "as_size",
    "check_number",
    "check_numbers",
    "check_pair",
    "numpy_generator",
]

Size = int | tuple[int, int]


def as_image(image: Any) -> Array:
    """Check an image, (3, H, W) or (1, H, W) floats, and return it as an array."""
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[0] not in (1, 3) or 0 in array.shape:
        hint = conversion_hint(image) or shape_hint(array.shape, 3)
        found = f"shape {array.shape}" if array.ndim else type(image).__name__
        raise ValueError(f"expected an image of shape (3, H, W) or (1, H, W), got {found}{hint}")
    if array.dtype.kind != "f":
        raise TypeError(f"expected floats in [0, 1] (divide uint8 by 255), got {array.dtype}")
    return array


def as_size(size: Any) -> Size:
    """Check a size, one positive integer or two, and return it as Python integers."""
    pair = isinstance(size, tuple | list) and len(size) == 2
    values = size if pair else (size,)
    if not all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in values
    ):
        raise ValueError(f"size: expected a positive integer or a tuple of two, got {size!r}")
    return (int(size[0]), int(size[1])) if pair else int(size)


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise unless a value is a number in [low, high]."""
    if not (_is_number(value) and low <= value <= high):  # False for NaN
        raise ValueError(f"{name}: expected a number in [{low:g}, {high:g}], got {value!r}")


def check_numbers(name: str, values: Any) -> None:
    """Raise unless a value is a sequence of finite numbers."""
    is_sequence = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
    if not is_sequence or not all(_is_number(n) and math.isfinite(n) for n in values):
        raise ValueError(f"{name}: expected one finite number per channel, got {values!r}")


def check_pair(name: str, pair: Any, low: float, high: float) -> None:
    """Raise unless a value is a pair of numbers in [low, high]."""
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(map(_is_number, pair)):
        raise ValueError(f"{name}: expected two numbers, low and high, got {pair!r}")
    if not (low <= pair[0] <= pair[1] <= high and math.isfinite(pair[1])):
        least = "0 <" if low > 0 else f"{low:g} <="
        most = f" <= {high:g}" if math.isfinite(high) else ""
        raise ValueError(f"{name}: expected {least} low <= high{most}, got {tuple(pair)}")


def numpy_generator(generator: lucid.random.Generator | None) -> np.random.Generator:
    """Return the NumPy generator of a transform; default that of ``lucid.random``."""
    if generator is None:
        return lucid.random.default_generator.numpy
    if not isinstance(generator, lucid.random.Generator):
        raise TypeError(
            f"generator: expected a lucid.random.Generator, got {generator!r}; "
            "pass lucid.random.Generator(seed)"
        )
    return generator.numpy


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
