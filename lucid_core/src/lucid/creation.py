"""Tensor creation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid import ops
from lucid.autograd import ArrayLike, Variable, array_of, is_grad_enabled
from lucid.autograd.primitive import needs_grad
from lucid.dtypes import DType, DTypeLike, float32, promote, supported_dtype
from lucid.ops.docstrings import add_sections
from lucid.ops.shape import Shape, shape_of
from lucid.tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


_REQUIRES_GRAD = {"requires_grad : bool, default False": "Whether to record operations on it."}
_FLOAT32 = {"dtype : dtype, default float32": "Element type."}
_filled = add_sections(
    {
        "*shape : int or sequence of int": "Shape, as integers or one sequence.",
        **_FLOAT32,
        **_REQUIRES_GRAD,
    },
    "Tensor of that shape.",
)
_X_LIKE = {"x : array-like": "Tensor whose shape, dtype and memory order are used."}
_LIKE = {"dtype : dtype, optional": "Element type; default that of ``x``.", **_REQUIRES_GRAD}
_filled_like = add_sections(_X_LIKE | _LIKE, "Shape of ``x``.")


def tensor(data: ArrayLike, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Create a tensor from a copy of the data.

    Parameters
    ----------
    data : array-like
        Numbers, nested sequences, arrays or tensors.  A tensor is copied and detached, as in
        PyTorch; a sequence of tensors that require gradients is stacked like :func:`lucid.stack`.
    dtype : dtype, optional
        Element type.  Default: that of an array or tensor; float32 for Python floats, int64 for
        Python integers.
    requires_grad : bool, default False
        Whether to record operations on it.

    Raises
    ------
    TypeError
        If the data is not boolean, integer or floating.
    ValueError
        If nested sequences have different lengths.
    """
    result_dtype = None if dtype is None else supported_dtype(dtype)
    if isinstance(data, (list, tuple)) and is_grad_enabled() and _contains(data, needs_grad):
        return _stack(data, result_dtype)
    return Tensor(np.array(_array(data, result_dtype)), requires_grad)


def _stack(data: Any, dtype: DType | None) -> Tensor:
    """Stack nested sequences of tensors and numbers, with gradient."""
    if isinstance(data, (list, tuple)):
        return ops.stack([_stack(item, dtype) for item in data])
    if not isinstance(data, Tensor):
        return Tensor(array_of(data, dtype))
    return data if dtype is None or data.dtype == dtype else ops.astype(data, dtype)


def _array(data: ArrayLike, dtype: DType | None) -> np.ndarray[Any, Any]:
    if isinstance(data, (list, tuple)) and _contains(data, lambda x: isinstance(x, Variable)):
        items = [_array(item, dtype) for item in data]
        return np.asarray(items, functools.reduce(promote, (item.dtype for item in items)))
    return array_of(data, dtype)


def _contains(data: Any, condition: Callable[[object], bool]) -> bool:
    return any(
        _contains(item, condition) if isinstance(item, (list, tuple)) else condition(item)
        for item in data
    )


def as_tensor(data: ArrayLike, dtype: DTypeLike | None = None) -> Tensor:
    """Convert to a tensor, without a copy if possible.

    Parameters
    ----------
    data : array-like
        Numbers, nested sequences, an array or a tensor.
    dtype : dtype, optional
        Element type; another dtype than that of ``data`` makes a differentiable copy.

    Returns
    -------
    Tensor
        ``data`` itself if it is a tensor; shares memory with an array.
    """
    if isinstance(data, Tensor) and (dtype is None or data.dtype == supported_dtype(dtype)):
        return data
    result_dtype = None if dtype is None else supported_dtype(dtype)
    if isinstance(data, Tensor) and result_dtype is not None:
        return ops.astype(data, result_dtype)
    if isinstance(data, (list, tuple)):
        return tensor(data, result_dtype)
    return Tensor(_array(data, result_dtype))


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """Create a tensor that shares memory with a NumPy array.

    Parameters
    ----------
    array : numpy.ndarray
        Booleans, integers or floats.

    Returns
    -------
    Tensor
        Shape and dtype of ``array``; writing to one changes the other.

    Raises
    ------
    TypeError
        If ``array`` is not a NumPy array, or has another dtype.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy expected a numpy.ndarray, got {type(array).__name__}")
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """Create a tensor that shares memory with a CPU array of another library, by DLPack.

    Parameters
    ----------
    source : object
        Object with ``__dlpack__`` and ``__dlpack_device__``, such as a PyTorch tensor.

    Returns
    -------
    Tensor
        Shape and dtype of ``source``.
    """
    return Tensor(np.from_dlpack(source))


@_filled
def zeros(*shape: Shape, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """Create a tensor of zeros."""
    return Tensor(np.zeros(shape_of(shape), supported_dtype(dtype)), requires_grad)


@_filled
def ones(*shape: Shape, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """Create a tensor of ones."""
    return Tensor(np.ones(shape_of(shape), supported_dtype(dtype)), requires_grad)


@_filled
def empty(*shape: Shape, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """Create an uninitialized tensor."""
    return Tensor(np.empty(shape_of(shape), supported_dtype(dtype)), requires_grad)


@add_sections(
    {
        "shape : int or sequence of int": "Shape.",
        "fill_value : float": "Fill value.",
        "dtype : dtype, optional": "Element type; default that of ``fill_value``, float32 for "
        "Python floats.",
    }
    | _REQUIRES_GRAD,
    "Tensor of that shape.",
)
def full(
    shape: Shape,
    fill_value: float,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Create a tensor filled with one value."""
    result_dtype = array_of(fill_value).dtype if dtype is None else supported_dtype(dtype)
    if dtype is None and result_dtype == np.float64:
        result_dtype = float32
    _check_constant("full", fill_value)
    return Tensor(np.full(shape_of((shape,)), fill_value, result_dtype), requires_grad)


@_filled_like
def zeros_like(x: ArrayLike, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Create a tensor of zeros like another tensor."""
    return Tensor(np.zeros_like(array_of(x), _dtype(dtype)), requires_grad)


@_filled_like
def ones_like(x: ArrayLike, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Create a tensor of ones like another tensor."""
    return Tensor(np.ones_like(array_of(x), _dtype(dtype)), requires_grad)


@_filled_like
def empty_like(x: ArrayLike, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Create an uninitialized tensor like another tensor."""
    return Tensor(np.empty_like(array_of(x), _dtype(dtype)), requires_grad)


@add_sections(_X_LIKE | {"fill_value : float": "Fill value."} | _LIKE, "Shape of ``x``.")
def full_like(
    x: ArrayLike, fill_value: float, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Create a tensor filled with one value like another tensor."""
    _check_constant("full_like", fill_value)
    return Tensor(np.full_like(array_of(x), fill_value, _dtype(dtype)), requires_grad)


def _check_constant(name: str, fill_value: object) -> None:
    if needs_grad(fill_value) and is_grad_enabled():
        raise TypeError(
            f"{name}() with a fill_value that requires gradients would lose the gradient; use "
            "fill_value.expand(shape), or detach() it"
        )


def _dtype(dtype: DTypeLike | None) -> np.dtype[Any] | None:
    return None if dtype is None else supported_dtype(dtype)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Create evenly spaced numbers in [``start``, ``stop``); ``arange(n)`` starts at 0.

    Parameters
    ----------
    start : float
        First number; ``stop`` if it is the only argument.
    stop : float, optional
        End, exclusive.
    step : float, default 1
        Spacing; may be negative.
    dtype : dtype, optional
        Element type; default int64 if all arguments are integers, else float32.  The numbers
        are converted at the end; to integers they are rounded toward zero.
    requires_grad : bool, default False
        Whether to record operations on it.

    Returns
    -------
    Tensor
        Shape (ceil((stop - start) / step),).

    Raises
    ------
    ValueError
        If ``step`` is 0.
    """
    first, last = (0, start) if stop is None else (start, stop)
    if last is None:
        raise TypeError("arange expected a number to stop at, got None")
    if step == 0:
        raise ValueError("arange expected a nonzero step, got 0")
    array = np.arange(first, last, step)
    if dtype is not None:
        array = array.astype(supported_dtype(dtype))
    elif array.dtype.kind == "f":
        array = array.astype(float32)
    return Tensor(array, requires_grad)


@add_sections(
    {
        "start, stop : float": "First and last number.",
        "num : int": "Number of elements.",
        "dtype : dtype, default float32": "Element type; integers are rounded toward zero as in "
        "PyTorch, not down as in NumPy.",
    }
    | _REQUIRES_GRAD,
    "Shape (num,).",
)
def linspace(
    start: float,
    stop: float,
    num: int,
    dtype: DTypeLike = float32,
    requires_grad: bool = False,
) -> Tensor:
    """Create ``num`` evenly spaced numbers in [``start``, ``stop``]."""
    return Tensor(np.linspace(start, stop, num).astype(supported_dtype(dtype)), requires_grad)


@add_sections(
    {"n : int": "Number of rows.", "m : int, optional": "Number of columns; default ``n``."}
    | _FLOAT32
    | _REQUIRES_GRAD,
    "Shape (n, m).",
)
def eye(
    n: int, m: int | None = None, dtype: DTypeLike = float32, requires_grad: bool = False
) -> Tensor:
    """Create a matrix with ones on the diagonal and zeros elsewhere."""
    return Tensor(np.eye(n, m, dtype=supported_dtype(dtype)), requires_grad)
