"""Sums, products, powers and signs, element by element with broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record, unbroadcast
from lucid.ops.operands import floating, operands

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def add(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x + y, element by element."""
    a, b = operands(x, y)
    sa, sb = a.shape, b.shape
    value = kernels.add(a, b)
    return record(value, (x, lambda g: unbroadcast(g, sa)), (y, lambda g: unbroadcast(g, sb)))


def subtract(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x - y, element by element."""
    a, b = operands(x, y)
    sa, sb = a.shape, b.shape
    return record(a - b, (x, lambda g: unbroadcast(g, sa)), (y, lambda g: unbroadcast(-g, sb)))


def multiply(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x * y, element by element."""
    a, b = operands(x, y)
    return record(
        a * b,
        (x, lambda g: unbroadcast(g * b, a.shape)),
        (y, lambda g: unbroadcast(g * a, b.shape)),
    )


def divide(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x / y, element by element; integers are divided as floats."""
    a, b = operands(x, y)
    a, b = floating(a), floating(b)
    return record(
        a / b,
        (x, lambda g: unbroadcast(g / b, a.shape)),
        (y, lambda g: unbroadcast(-g * a / (b * b), b.shape)),
    )


def floor_divide(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Largest integer not above x / y; its derivative is zero."""
    a, b = operands(x, y)
    return record(
        a // b,
        (x, lambda g: np.zeros(a.shape, g.dtype)),
        (y, lambda g: np.zeros(b.shape, g.dtype)),
    )


def remainder(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x - y * floor(x / y): the remainder has the sign of the divisor."""
    a, b = operands(x, y)
    return record(
        np.remainder(a, b),
        (x, lambda g: unbroadcast(g, a.shape)),
        (y, lambda g: unbroadcast(-g * np.floor_divide(a, b), b.shape)),
    )


def power(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x to the power of y, element by element.

    The derivative by the exponent is 0 where x is 0 and y is not negative.
    """
    a, b = operands(x, y)
    value = np.power(a, b)

    def by_base(g: np.ndarray) -> np.ndarray:
        # Where the exponent is 0 the derivative is 0, also at base 0 (not 0 * inf).
        slope = b * np.power(a, np.where(b == 0, 1, b - 1).astype(a.dtype))
        return unbroadcast(g * slope, a.shape)

    def by_exponent(g: np.ndarray) -> np.ndarray:
        safe = np.where((a == 0) & (b >= 0), 1, a).astype(a.dtype)
        return unbroadcast(g * value * np.log(safe), b.shape)

    return record(value, (x, by_base), (y, by_exponent))


def square(x: ArrayLike) -> Tensor:
    """x * x."""
    a = array_of(x)
    return record(a * a, (x, lambda g: g * (2 * a)))


def sqrt(x: ArrayLike) -> Tensor:
    """Square root; NaN below 0."""
    value = np.sqrt(floating(x))
    return record(value, (x, lambda g: g / (2 * value)))


def reciprocal(x: ArrayLike) -> Tensor:
    """1 / x."""
    value = 1 / floating(x)
    return record(value, (x, lambda g: -g * value * value))


def negative(x: ArrayLike) -> Tensor:
    """-x."""
    return record(-array_of(x), (x, lambda g: -g))


def positive(x: ArrayLike) -> Tensor:
    """x itself."""
    return record(array_of(x), (x, lambda g: g))


def abs(x: ArrayLike) -> Tensor:
    """Absolute value; the derivative at 0 is 0."""
    a = array_of(x)
    return record(np.abs(a), (x, lambda g: g * np.sign(a)))


def sign(x: ArrayLike) -> Tensor:
    """-1, 0 or 1; its derivative is zero."""
    a = array_of(x)
    return record(np.sign(a), (x, np.zeros_like))
