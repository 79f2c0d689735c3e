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
    """x + y, element by element.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype of both.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    OverflowError
        If a Python integer does not fit into the integer dtype of the other.

    Notes
    -----
    The common dtype of two tensors is NumPy's, except that a float beside integers or
    booleans keeps its width: float32 and int64 give float32.  A scalar (a number of
    Python's or NumPy's, or a NumPy array of no axes, but not a tensor) takes the dtype of
    what stands beside it; only a float beside integers or booleans makes both float32, and
    an integer beside booleans makes them integers.
    """
    a, b = operands(x, y)
    sa, sb = a.shape, b.shape
    value = kernels.add(a, b)
    return record(value, (x, lambda g: unbroadcast(g, sa)), (y, lambda g: unbroadcast(g, sb)))


def subtract(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x - y, element by element.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast; not both booleans.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    TypeError
        If both are booleans.
    """
    a, b = operands(x, y)
    sa, sb = a.shape, b.shape
    return record(a - b, (x, lambda g: unbroadcast(g, sa)), (y, lambda g: unbroadcast(-g, sb)))


def multiply(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x * y, element by element.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    a, b = operands(x, y)
    sa, sb = a.shape, b.shape
    return record(
        a * b,
        (x, lambda g: unbroadcast(g * b, sa)),
        (y, lambda g: unbroadcast(g * a, sb)),
    )


def divide(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x / y, element by element; integers are divided as floats.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape; float32 of integers or booleans, else the common dtype as
        :func:`lucid.add` has it.  Over 0 it is inf or NaN, and NumPy warns.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    a, b = operands(x, y)
    a, b = floating(a), floating(b)
    sa = a.shape
    return record(
        a / b,
        (x, lambda g: unbroadcast(g / b, sa)),
        (y, lambda g: unbroadcast(-g * a / (b * b), b.shape)),
    )


def floor_divide(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Largest integer not above x / y; its derivative is zero.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it, so that integers
        stay integers.  Floats over 0 give inf or NaN, and NumPy warns.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    ZeroDivisionError
        If integers or booleans are divided by 0.
    """
    a, b = operands(x, y)
    _check_divisor("floor_divide", b)
    sa, sb = a.shape, b.shape
    return record(
        a // b,
        (x, lambda g: np.zeros(sa, g.dtype)),
        (y, lambda g: np.zeros(sb, g.dtype)),
    )


def _check_divisor(operation: str, b: np.ndarray) -> None:
    """Refuse zeros among integers, which have no infinity to give."""
    if b.dtype.kind != "f" and not b.all():
        where = tuple(int(i) for i in np.argwhere(b == 0)[0])
        place = f" (at index {where})" if where else ""
        raise ZeroDivisionError(
            f"{operation} of integers by zero{place}: replace the zeros, or convert to floats"
        )


def remainder(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x - y * floor(x / y): the remainder has the sign of the divisor.

    Parameters
    ----------
    x, y : array-like
        Dividend and divisor, of shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it.  Its derivative
        by x is 1 and by y ``-floor(x / y)``, also where it jumps.  Floats modulo 0 give NaN.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    ZeroDivisionError
        If integers or booleans are taken modulo 0.
    """
    a, b = operands(x, y)
    _check_divisor("remainder", b)
    sa = a.shape
    return record(
        np.remainder(a, b),
        (x, lambda g: unbroadcast(g, sa)),
        (y, lambda g: unbroadcast(-g * np.floor_divide(a, b), b.shape)),
    )


def power(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x to the power of y, element by element.

    The derivative by the base is 0 where the exponent is 0; the derivative by the exponent
    is 0 where x is 0 and y is not negative.

    Parameters
    ----------
    x, y : array-like
        Base and exponent, of shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it; NaN for a
        negative base with a fractional exponent.

    Raises
    ------
    ValueError
        If the shapes do not broadcast, or integers have a negative integer as exponent.
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
    """x * x.

    Parameters
    ----------
    x : array-like
        Any shape.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``.
    """
    a = array_of(x)
    return record(a * a, (x, lambda g: g * (2 * a)))


def sqrt(x: ArrayLike) -> Tensor:
    """Square root; NaN below 0.

    The derivative at 0 is infinite.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``.
    """
    value = np.sqrt(floating(x))
    return record(value, (x, lambda g: g / (2 * value)))


def reciprocal(x: ArrayLike) -> Tensor:
    """1 / x.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``; inf where ``x`` is 0, and NumPy warns.
    """
    value = 1 / floating(x)
    return record(value, (x, lambda g: -g * value * value))


def negative(x: ArrayLike) -> Tensor:
    """-x.

    Parameters
    ----------
    x : array-like
        Any shape; no booleans.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``.

    Raises
    ------
    TypeError
        If ``x`` holds booleans, which :func:`lucid.logical_not` negates.
    """
    return record(-array_of(x), (x, lambda g: -g))


def positive(x: ArrayLike) -> Tensor:
    """x itself.

    Parameters
    ----------
    x : array-like
        Any shape.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``, in the same memory.
    """
    return record(array_of(x), (x, lambda g: g))


def abs(x: ArrayLike) -> Tensor:
    """Absolute value; the derivative at 0 is 0.

    Parameters
    ----------
    x : array-like
        Any shape.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``.
    """
    a = array_of(x)
    return record(np.abs(a), (x, lambda g: g * np.sign(a)))


def sign(x: ArrayLike) -> Tensor:
    """-1, 0 or 1; its derivative is zero.

    Parameters
    ----------
    x : array-like
        Any shape; integers or floats.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``; NaN where ``x`` is.
    """
    a = array_of(x)
    return record(np.sign(a), (x, np.zeros_like))
