"""Element-by-element operations with broadcasting; each value and its derivatives side by side."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, overload

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record, unbroadcast
from lucid.autograd.primitive import Vjp
from lucid.dtypes import DTypeLike, promote, supported
from lucid.ops.operands import floating, operands

if TYPE_CHECKING:
    from lucid.tensor import Tensor


# --- arithmetic ---------------------------------------------------------------------------------


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


def negative(x: ArrayLike) -> Tensor:
    """-x."""
    return record(-array_of(x), (x, lambda g: -g))


def positive(x: ArrayLike) -> Tensor:
    """x itself."""
    return record(array_of(x), (x, lambda g: g))


# --- exponentials, roots, angles ----------------------------------------------------------------


def exp(x: ArrayLike) -> Tensor:
    """e to the power of x."""
    value = np.exp(floating(x))
    return record(value, (x, lambda g: g * value))


def log(x: ArrayLike) -> Tensor:
    """Natural logarithm; -inf at 0, NaN below."""
    a = floating(x)
    return record(np.log(a), (x, lambda g: g / a))


def sqrt(x: ArrayLike) -> Tensor:
    """Square root; NaN below 0."""
    value = np.sqrt(floating(x))
    return record(value, (x, lambda g: g / (2 * value)))


def square(x: ArrayLike) -> Tensor:
    """x * x."""
    a = array_of(x)
    return record(a * a, (x, lambda g: g * (2 * a)))


def reciprocal(x: ArrayLike) -> Tensor:
    """1 / x."""
    value = 1 / floating(x)
    return record(value, (x, lambda g: -g * value * value))


def sin(x: ArrayLike) -> Tensor:
    """Sine of x in radians."""
    a = floating(x)
    return record(np.sin(a), (x, lambda g: g * np.cos(a)))


def cos(x: ArrayLike) -> Tensor:
    """Cosine of x in radians."""
    a = floating(x)
    return record(np.cos(a), (x, lambda g: -g * np.sin(a)))


def tan(x: ArrayLike) -> Tensor:
    """Tangent of x in radians."""
    value = np.tan(floating(x))
    return record(value, (x, lambda g: g * (1 + value * value)))


def tanh(x: ArrayLike) -> Tensor:
    """Hyperbolic tangent."""
    value = np.tanh(floating(x))
    return record(value, (x, lambda g: g * (1 - value * value)))


def sigmoid(x: ArrayLike) -> Tensor:
    """1 / (1 + exp(-x)), without overflow at either end."""
    a = floating(x)
    # exp of a negative number only, so that it cannot overflow.
    e = np.exp(-np.abs(a))
    value = np.where(a >= 0, 1, e) / (1 + e)
    return record(value, (x, lambda g: g * value * (1 - value)))


def erf(x: ArrayLike) -> Tensor:
    """Error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    a = floating(x)
    slope = 2 / np.sqrt(np.pi)
    return record(kernels.erf(a), (x, lambda g: g * (np.exp(-a * a) * a.dtype.type(slope))))


# --- sign, rounding, limits ---------------------------------------------------------------------


def abs(x: ArrayLike) -> Tensor:
    """Absolute value; the derivative at 0 is 0."""
    a = array_of(x)
    return record(np.abs(a), (x, lambda g: g * np.sign(a)))


def sign(x: ArrayLike) -> Tensor:
    """-1, 0 or 1; its derivative is zero."""
    a = array_of(x)
    return record(np.sign(a), (x, np.zeros_like))


def floor(x: ArrayLike) -> Tensor:
    """Largest integer not above x; its derivative is zero."""
    return record(np.floor(array_of(x)), (x, np.zeros_like))


def ceil(x: ArrayLike) -> Tensor:
    """Smallest integer not below x; its derivative is zero."""
    return record(np.ceil(array_of(x)), (x, np.zeros_like))


def round(x: ArrayLike, decimals: int = 0) -> Tensor:
    """Nearest number of ``decimals`` places, halves to even; its derivative is zero."""
    return record(np.round(array_of(x), decimals), (x, np.zeros_like))


def maximum(x: ArrayLike, y: ArrayLike) -> Tensor:
    """The larger of x and y, element by element; NaN if either is.

    Where they are equal each receives half of the gradient.
    """
    return _extremum(x, y, np.maximum, np.greater)


def minimum(x: ArrayLike, y: ArrayLike) -> Tensor:
    """The smaller of x and y, element by element; NaN if either is.

    Where they are equal each receives half of the gradient.
    """
    return _extremum(x, y, np.minimum, np.less)


def _extremum(x: ArrayLike, y: ArrayLike, choose: np.ufunc, wins: np.ufunc) -> Tensor:
    a, b = operands(x, y)

    def share(g: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        weight = wins(first, second) + 0.5 * (first == second)
        return unbroadcast(g * weight.astype(g.dtype), first.shape)

    return record(choose(a, b), (x, lambda g: share(g, a, b)), (y, lambda g: share(g, b, a)))


def clip(x: ArrayLike, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
    """x limited to the range from ``min`` to ``max``; None leaves that side open.

    Limits broadcast.  Where ``min`` is above ``max`` the result is ``max``.  The
    gradient passes where x lies in the range, its ends included; elsewhere it
    goes to the limit that took the place of x.
    """
    limits = [None if limit is None else operands(x, limit)[1] for limit in (min, max)]
    dtype = reduce(promote, (b.dtype for b in limits if b is not None), array_of(x).dtype)
    a = array_of(x).astype(dtype, copy=False)
    low, high = (None if limit is None else limit.astype(dtype) for limit in limits)
    raised = a if low is None else np.maximum(a, low)
    value = raised if high is None else np.minimum(raised, high)

    def by_x(g: np.ndarray) -> np.ndarray:
        inside = (low is None or a >= low) & (high is None or a <= high)
        return unbroadcast(g * inside, a.shape)

    edges: list[tuple[ArrayLike, Vjp]] = [(x, by_x)]
    if min is not None and low is not None:
        lifted = (a < low) & (high is None or low <= high)
        edges.append((min, lambda g: unbroadcast(g * lifted, low.shape)))
    if max is not None and high is not None:
        edges.append((max, lambda g: unbroadcast(g * (raised > high), high.shape)))
    return record(value.copy() if value is a else value, *edges)


@overload
def where(condition: ArrayLike) -> tuple[Tensor, ...]: ...
@overload
def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike) -> Tensor: ...
def where(
    condition: ArrayLike, x: ArrayLike | None = None, y: ArrayLike | None = None
) -> Tensor | tuple[Tensor, ...]:
    """x where ``condition`` holds, else y; all three broadcast together.

    Without x and y: where it holds, as :func:`lucid.nonzero` says it.
    """
    chosen = array_of(condition).astype(bool, copy=False)
    if x is None and y is None:
        return tuple(record(places) for places in np.nonzero(chosen))
    if x is None or y is None:
        raise TypeError("where takes both x and y, or neither")
    a, b = operands(x, y)
    zero = a.dtype.type(0)
    return record(
        np.where(chosen, a, b),
        (x, lambda g: unbroadcast(np.where(chosen, g, zero), a.shape)),
        (y, lambda g: unbroadcast(np.where(chosen, zero, g), b.shape)),
    )


# --- types, comparisons, logic: no gradient but through astype ----------------------------------


def astype(x: ArrayLike, dtype: DTypeLike) -> Tensor:
    """A copy in another element type; the gradient returns in the original one."""
    a = array_of(x)
    return record(a.astype(supported(dtype)), (x, lambda g: g.astype(a.dtype)))


def clone(x: ArrayLike) -> Tensor:
    """A copy that the gradient passes through."""
    return record(array_of(x).copy(order="K"), (x, lambda g: g))


def contiguous(x: ArrayLike) -> Tensor:
    """A copy in C order that the gradient passes through."""
    return record(np.array(array_of(x), order="C"), (x, lambda g: g))


def equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x == y, as booleans."""
    return _compared(np.equal, x, y)


def not_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x != y, as booleans."""
    return _compared(np.not_equal, x, y)


def less(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x < y, as booleans."""
    return _compared(np.less, x, y)


def less_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x <= y, as booleans."""
    return _compared(np.less_equal, x, y)


def greater(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x > y, as booleans."""
    return _compared(np.greater, x, y)


def greater_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x >= y, as booleans."""
    return _compared(np.greater_equal, x, y)


def _compared(compare: np.ufunc, x: ArrayLike, y: ArrayLike) -> Tensor:
    a, b = array_of(x), array_of(y)
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        a, b = operands(x, y)
    # Whole numbers as they are: 300 is larger than any uint8, and not one of them.
    return record(compare(a, b))


def logical_and(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether both x and y are nonzero."""
    return record(np.logical_and(array_of(x), array_of(y)))


def logical_or(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether x or y is nonzero."""
    return record(np.logical_or(array_of(x), array_of(y)))


def logical_xor(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether exactly one of x and y is nonzero."""
    return record(np.logical_xor(array_of(x), array_of(y)))


def logical_not(x: ArrayLike) -> Tensor:
    """Whether x is zero."""
    return record(np.logical_not(array_of(x)))


def isnan(x: ArrayLike) -> Tensor:
    """Whether x is not a number."""
    return record(np.isnan(array_of(x)))


def isinf(x: ArrayLike) -> Tensor:
    """Whether x is infinite, of either sign."""
    return record(np.isinf(array_of(x)))


def isfinite(x: ArrayLike) -> Tensor:
    """Whether x is neither infinite nor NaN."""
    return record(np.isfinite(array_of(x)))


# --- bits of integers and booleans --------------------------------------------------------------


def bitwise_and(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x & y of integers, or of booleans."""
    return record(np.bitwise_and(*operands(x, y)))


def bitwise_or(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x | y of integers, or of booleans."""
    return record(np.bitwise_or(*operands(x, y)))


def bitwise_xor(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x ^ y of integers, or of booleans."""
    return record(np.bitwise_xor(*operands(x, y)))


def invert(x: ArrayLike) -> Tensor:
    """Every bit turned over; of booleans, not x."""
    return record(np.invert(array_of(x)))
