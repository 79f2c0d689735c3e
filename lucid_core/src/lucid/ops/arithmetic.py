"""Elementwise arithmetic with broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record, record_joint, unbroadcast
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array
from lucid.ops.docstrings import FLOAT, binary, unary
from lucid.ops.operands import floating, operands

if TYPE_CHECKING:
    from lucid.tensor import Tensor


@binary(
    raises={
        "OverflowError": "If a Python integer does not fit into the integer dtype of the other."
    }
)
def add(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise sum, ``x + y``.

    Notes
    -----
    The common dtype of two tensors follows NumPy, except that a float keeps its width next to
    integers and booleans: float32 and int64 give float32.  A scalar (a Python or NumPy number,
    or a 0-d NumPy array, but not a tensor) takes the dtype of the other operand, with two
    exceptions: a float next to integers or booleans gives float32, and an integer next to
    booleans gives integers.
    """
    a, b = operands(x, y)
    sa, sb = a.shape, b.shape
    value = kernels.add(a, b)
    return record(value, (x, lambda g: unbroadcast(g, sa)), (y, lambda g: unbroadcast(g, sb)))


@binary(raises={"TypeError": "If both are booleans."})
def subtract(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise difference, ``x - y``."""
    a, b = operands(x, y)
    sa, sb = a.shape, b.shape
    return record(a - b, (x, lambda g: unbroadcast(g, sa)), (y, lambda g: unbroadcast(-g, sb)))


@binary()
def multiply(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise product, ``x * y``."""
    a, b = operands(x, y)
    sa, sb = a.shape, b.shape
    if sb == (*sa[:2], 1, 1) and _trains_factors(x, a, y):
        return _scale_channels(x, a, y, b[:, :, 0, 0])
    return record(
        a * b,
        (x, lambda g: unbroadcast(g * b, sa)),
        (y, lambda g: unbroadcast(g * a, sb)),
    )


def _trains_factors(x: ArrayLike, a: Array, y: ArrayLike) -> bool:
    """Whether kernels compute this product of images and factors of channels."""
    both = needs_grad(x) and needs_grad(y)
    return both and a.ndim == 4 and a.dtype.kind == "f" and kernels.is_channels_last(a)


def _scale_channels(x: ArrayLike, a: Array, y: ArrayLike, factors: Array) -> Tensor:
    """Scale each channel of images, as squeeze-and-excitation does; backward is one pass."""

    def vjp(g: Array) -> list[Array]:
        gx, gy = kernels.scale_channels_backward(g, a, factors)
        return [gx, gy[:, :, None, None]]

    return record_joint(kernels.scale_channels(a, factors), (x, y), vjp)


@binary(
    returns="Broadcast shape; float32 for integers and booleans, else the common dtype (see "
    ":func:`lucid.add`).  Division by 0 gives inf or NaN with a NumPy warning."
)
def divide(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise quotient, ``x / y``; true division for integers."""
    a, b = operands(x, y)
    a, b = floating(a), floating(b)
    sa = a.shape
    return record(
        a / b,
        (x, lambda g: unbroadcast(g / b, sa)),
        (y, lambda g: unbroadcast(-g * a / (b * b), b.shape)),
    )


@binary(
    returns="Broadcast shape, common dtype (see :func:`lucid.add`).  Floats divided by 0 give inf "
    "or NaN with a NumPy warning.",
    raises={"ZeroDivisionError": "If integers or booleans are divided by 0."},
)
def floor_divide(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise ``floor(x / y)``; the gradient is zero."""
    a, b = operands(x, y)
    _check_divisor("floor_divide", b)
    sa, sb = a.shape, b.shape
    return record(
        a // b,
        (x, lambda g: np.zeros(sa, g.dtype)),
        (y, lambda g: np.zeros(sb, g.dtype)),
    )


def _check_divisor(operation: str, b: np.ndarray) -> None:
    """Raise for integer division by zero, which has no inf or NaN to return."""
    if b.dtype.kind != "f" and not b.all():
        index = tuple(int(i) for i in np.argwhere(b == 0)[0])
        where = f" (at index {index})" if index else ""
        raise ZeroDivisionError(
            f"{operation} expected nonzero integer divisors, got 0{where}; convert to floats"
        )


@binary(
    returns="Broadcast shape, common dtype (see :func:`lucid.add`).  Floats modulo 0 give NaN.",
    raises={"ZeroDivisionError": "If integers or booleans are taken modulo 0."},
)
def remainder(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise remainder, ``x - y * floor(x / y)``, with the sign of ``y``.

    The gradient is 1 with respect to x and ``-floor(x / y)`` with respect to y.
    """
    a, b = operands(x, y)
    _check_divisor("remainder", b)
    sa = a.shape
    return record(
        np.remainder(a, b),
        (x, lambda g: unbroadcast(g, sa)),
        (y, lambda g: unbroadcast(-g * np.floor_divide(a, b), b.shape)),
    )


@binary(
    returns="Broadcast shape, common dtype (see :func:`lucid.add`); NaN for a negative base with a "
    "fractional exponent.",
    raises={
        "ValueError": "If the shapes do not broadcast, or an integer exponent of integers is "
        "negative."
    },
)
def power(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise power, ``x ** y``.

    The gradient with respect to x is 0 where ``y == 0``; with respect to y it is 0 where
    ``x == 0`` and ``y >= 0``.
    """
    a, b = operands(x, y)
    value = np.power(a, b)

    def by_base(g: np.ndarray) -> np.ndarray:
        # 0 where the exponent is 0, also at base 0 (not 0 * inf).
        slope = b * np.power(a, np.where(b == 0, 1, b - 1).astype(a.dtype))
        return unbroadcast(g * slope, a.shape)

    def by_exponent(g: np.ndarray) -> np.ndarray:
        safe = np.where((a == 0) & (b >= 0), 1, a).astype(a.dtype)
        return unbroadcast(g * value * np.log(safe), b.shape)

    return record(value, (x, by_base), (y, by_exponent))


@unary(returns="Shape and dtype of ``x``.")
def square(x: ArrayLike) -> Tensor:
    """Elementwise square, ``x * x``."""
    a = array_of(x)
    return record(a * a, (x, lambda g: g * (2 * a)))


@unary(FLOAT, "Shape of ``x``; NaN below 0.")
def sqrt(x: ArrayLike) -> Tensor:
    """Elementwise square root; the gradient at 0 is infinite."""
    value = np.sqrt(floating(x))
    return record(value, (x, lambda g: g / (2 * value)))


@unary(FLOAT, "Shape of ``x``; inf at 0 with a NumPy warning.")
def reciprocal(x: ArrayLike) -> Tensor:
    """Elementwise reciprocal, ``1 / x``."""
    value = 1 / floating(x)
    return record(value, (x, lambda g: -g * value * value))


@unary(
    "Any shape; integers or floats.",
    "Shape and dtype of ``x``.",
    {"TypeError": "If ``x`` is boolean; use :func:`lucid.logical_not`."},
)
def negative(x: ArrayLike) -> Tensor:
    """Elementwise negation, ``-x``."""
    a = array_of(x)
    if a.dtype.kind == "b":
        raise TypeError(
            f"negative (-x) expected integers or floats, got bool of shape {a.shape}; use ~x or "
            "logical_not(x)"
        )
    return record(-a, (x, lambda g: -g))


@unary(returns="Shape, dtype and memory of ``x``.")
def positive(x: ArrayLike) -> Tensor:
    """Return ``x`` unchanged."""
    return record(array_of(x), (x, lambda g: g))


@unary(returns="Shape and dtype of ``x``.")
def abs(x: ArrayLike) -> Tensor:
    """Elementwise absolute value; the gradient at 0 is 0."""
    a = array_of(x)
    return record(np.abs(a), (x, lambda g: g * np.sign(a)))


@unary("Any shape; integers or floats.", "Shape and dtype of ``x``; NaN stays NaN.")
def sign(x: ArrayLike) -> Tensor:
    """Elementwise sign, -1, 0 or 1; the gradient is zero."""
    a = array_of(x)
    return record(np.sign(a), (x, np.zeros_like))
