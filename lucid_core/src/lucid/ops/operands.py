"""Argument handling of operations: type promotion, axes, images and pairs."""

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
    """Whether ``x`` is a Python or NumPy scalar or a 0-d array, which never promotes a tensor."""
    if isinstance(x, Variable):
        return False
    return isinstance(x, (bool, int, float, np.generic)) or (
        isinstance(x, np.ndarray) and x.ndim == 0
    )


def operands(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Convert two operands to arrays of their common dtype, safe to save for backward."""
    if isinstance(x, Variable) and isinstance(y, Variable) and x._data.dtype == y._data.dtype:
        return x._data, y._data
    # Fast path: a Python number takes the dtype of the tensor.
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
    """Raise TypeError if an argument without a derivative requires gradients."""
    for name, value in arguments.items():
        if needs_grad(value) and is_grad_enabled():
            raise TypeError(
                f"{operation}() has no gradient with respect to {name}; pass {name}.detach()"
            )


def save_for_backward(array: Array, given: object, *others: object) -> Array:
    """Return ``array``, copied if it is ``given`` by the user as NumPy array and saved.

    It is saved if one of ``others`` requires gradients.  Writes to NumPy arrays between forward
    and backward cannot be tracked.
    """
    if isinstance(given, np.ndarray) and is_grad_enabled() and any(map(needs_grad, others)):
        return array.copy(order="K") if np.may_share_memory(array, given) else array
    return array


def _common(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
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
    """Convert a scalar to the dtype that it takes next to ``array``."""
    if array.dtype.kind == "f":
        return array_of(value, array.dtype)
    scalar = array_of(value)
    if scalar.dtype.kind == "f":
        return scalar.astype(float32)
    if array.dtype.kind == "b":
        return scalar
    return np.asarray(scalar.item(), dtype=array.dtype)


def floating(x: ArrayLike) -> Array:
    """Convert to a floating array; integers and booleans become float32."""
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
    """Return a function that creates zeros like ``a``, without a reference to ``a``."""
    shape, dtype, strides = a.shape, a.dtype, a.strides

    def zeros() -> Array:
        order = sorted(range(len(shape)), key=lambda axis: -abs(strides[axis]))
        return np.zeros([shape[axis] for axis in order], dtype).transpose(np.argsort(order))

    return zeros


def normalize_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Convert ``axis`` to a tuple of nonnegative axes; None means all."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (Variable, np.ndarray)) and array_of(axis).ndim:
        # PyTorch's max(x, y).
        raise TypeError(
            f"expected axis to be an integer or a tuple of integers, got a tensor of shape "
            f"{array_of(axis).shape}; use lucid.maximum or lucid.minimum for two tensors"
        )
    axes = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    result = tuple(normalize_axis(a, ndim) for a in axes)
    if len(set(result)) != len(result):
        raise ValueError(f"expected distinct axes, got axis={axis} (for {ndim} axes)")
    return result


def reduction_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Convert ``axis`` of a reduction; a 0-d tensor allows axis 0 and -1."""
    if ndim == 0 and isinstance(axis, (int, np.integer)) and axis in (0, -1):
        return ()
    return normalize_axes(axis, ndim)


def normalize_axis(axis: int, ndim: int) -> int:
    """Convert one axis to a nonnegative axis."""
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"expected an integer axis, got {axis!r}")
    index = operator.index(axis)
    if not -ndim <= index < ndim:
        raise np.exceptions.AxisError(index, ndim)
    return index % ndim


def pair(value: int | Sequence[int], name: str, minimum: int = 0) -> tuple[int, int]:
    """Convert an option given as one or two integers >= ``minimum`` to (height, width)."""
    values: Any = tuple(value) if isinstance(value, Iterable) else (value, value)
    if len(values) != 2 or not all(isinstance(v, (int, np.integer)) for v in values):
        raise ValueError(f"expected {name} to be an integer or (height, width), got {value!r}")
    if min(values) < minimum:
        raise ValueError(f"expected {name} >= {minimum}, got {value!r}")
    return int(values[0]), int(values[1])
