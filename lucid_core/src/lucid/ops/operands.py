"""How operations read their arguments: scalars are weak, axes are checked once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from lucid.autograd import ArrayLike, Variable, array_of, is_grad_enabled
from lucid.autograd.primitive import check_attached, needs_grad
from lucid.autograd.variable import Array
from lucid.dtypes import float32, float64, promote

Axis: TypeAlias = "int | Sequence[int] | None"


def is_scalar(x: object) -> bool:
    """Python and NumPy scalars, and arrays of no axes: they never widen a tensor."""
    if isinstance(x, Variable):
        return False
    return isinstance(x, (bool, int, float, np.generic)) or (
        isinstance(x, np.ndarray) and x.ndim == 0
    )


def operands(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """The arrays of a binary operation in their common dtype; a derivative may keep them."""
    if isinstance(x, Variable) and isinstance(y, Variable) and x._data.dtype == y._data.dtype:
        return x._data, y._data
    # Most often a tensor and a number of Python's, which takes the tensor's dtype.
    if type(y) is float and isinstance(x, Variable) and x._data.dtype.kind == "f":
        return x._data, np.asarray(y, x._data.dtype)
    if type(x) is float and isinstance(y, Variable) and y._data.dtype.kind == "f":
        return np.asarray(x, y._data.dtype), y._data
    if not isinstance(x, np.ndarray) and not isinstance(y, np.ndarray):
        return _common(x, y)
    check_attached(x)
    check_attached(y)
    a, b = _common(x, y)
    return save_for_backward(a, x, y), save_for_backward(b, y, x)


def refuse_gradients(operation: str, **arguments: object) -> None:
    """Raise for an argument that requires gradients where there is no derivative by it."""
    for name, value in arguments.items():
        if needs_grad(value) and is_grad_enabled():
            raise TypeError(
                f"{operation}() has no derivative by {name}, which requires gradients: pass "
                f"{name}.detach()"
            )


def save_for_backward(array: Array, given: object, *others: object) -> Array:
    """An array that a derivative by ``others`` may keep: a copy if it is the user's own.

    Nobody notices when an array of NumPy is written between forward and backward.
    """
    if isinstance(given, np.ndarray) and is_grad_enabled() and any(map(needs_grad, others)):
        return array.copy(order="K") if np.may_share_memory(array, given) else array
    return array


def _common(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """The arrays of a binary operation in their common dtype."""
    a, b = array_of(x), array_of(y)
    if is_scalar(x) and not is_scalar(y):
        return _weak(x, b), b if not _widens(a, b) else b.astype(float32)
    if is_scalar(y) and not is_scalar(x):
        return a if not _widens(b, a) else a.astype(float32), _weak(y, a)
    if a.dtype == b.dtype:
        return a, b
    dtype = promote(a.dtype, b.dtype)
    return array_of(x, dtype), array_of(y, dtype)


def _widens(scalar: Array, array: Array) -> bool:
    return scalar.dtype.kind == "f" and array.dtype.kind != "f"


def _weak(value: ArrayLike, array: Array) -> Array:
    """A scalar in the dtype that it takes beside ``array``."""
    if array.dtype.kind == "f":
        return array_of(value, array.dtype)
    scalar = array_of(value)
    if scalar.dtype.kind == "f":
        return scalar.astype(float32)
    if array.dtype.kind == "b":
        return scalar
    return np.asarray(scalar.item(), dtype=array.dtype)


def floating(x: ArrayLike) -> Array:
    """The array behind ``x``; integers and booleans become float32."""
    a = array_of(x)
    return a if a.dtype.kind == "f" else a.astype(float32)


def image_batch(x: ArrayLike, operation: str) -> Array:
    """Convert to a float32 or float64 array and check that it is (N, C, H, W)."""
    a = floating(x)
    if a.ndim != 4:
        raise ValueError(f"{operation} expected an input of shape (N, C, H, W), got {a.shape}")
    if a.dtype not in (float32, float64):
        raise TypeError(f"{operation} expected float32 or float64, got {a.dtype}")
    return a


def zeros_like(a: Array) -> Callable[[], Array]:
    """A function that makes zeros in the shape, dtype and memory order of an array.

    A derivative that keeps it does not keep the array itself.
    """
    shape, dtype, strides = a.shape, a.dtype, a.strides

    def zeros() -> Array:
        order = sorted(range(len(shape)), key=lambda axis: -abs(strides[axis]))
        return np.zeros([shape[axis] for axis in order], dtype).transpose(np.argsort(order))

    return zeros


def normalize_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes as a tuple of numbers from 0 to ``ndim - 1``; None means all.

    Raises
    ------
    numpy.exceptions.AxisError
        For an axis out of range.
    ValueError
        For an axis given twice.
    TypeError
        For an axis that is no integer.
    """
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (Variable, np.ndarray)) and array_of(axis).ndim:
        # max(x, y) of PyTorch: the elements of y are no axes.
        raise TypeError(
            f"axis must be an integer or a tuple of integers, got a tensor of shape "
            f"{array_of(axis).shape}; lucid.maximum and lucid.minimum compare two tensors"
        )
    axes = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    result = tuple(normalize_axis(a, ndim) for a in axes)
    if len(set(result)) != len(result):
        raise ValueError(f"an axis is given twice: axis={axis} for {ndim} axes")
    return result


def reduction_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes as numbers from 0; a scalar, which has none, may yet be asked to lose axis 0 or -1."""
    if ndim == 0 and isinstance(axis, (int, np.integer)) and axis in (0, -1):
        return ()
    return normalize_axes(axis, ndim)


def normalize_axis(axis: int, ndim: int) -> int:
    """One axis as a number from 0 to ``ndim - 1``."""
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"an axis must be an integer, got {axis!r}")
    number = operator.index(axis)
    if not -ndim <= number < ndim:
        raise np.exceptions.AxisError(number, ndim)
    return number % ndim


def pair(value: int | Sequence[int], name: str, least: int = 0) -> tuple[int, int]:
    """An option of two-dimensional layers, (height, width), given as one number or two.

    Raises
    ------
    ValueError
        Naming the option, if it is neither, or smaller than ``least``.
    """
    values: Any = tuple(value) if isinstance(value, Iterable) else (value, value)
    if len(values) != 2 or not all(isinstance(v, (int, np.integer)) for v in values):
        raise ValueError(f"{name} must be one integer or two (height, width), got {value!r}")
    if min(values) < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    return int(values[0]), int(values[1])
