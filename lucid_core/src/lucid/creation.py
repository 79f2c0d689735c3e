"""Making tensors: from data, filled, counted, as another tensor is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid import ops
from lucid.autograd import ArrayLike, Variable, array_of, is_grad_enabled
from lucid.autograd.primitive import needs_grad
from lucid.dtypes import DType, DTypeLike, float32, promote, supported_dtype
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


def tensor(data: ArrayLike, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of the data.

    Parameters
    ----------
    data : array-like
        Numbers, nested sequences, arrays or tensors.  A tensor is copied and detached, as in
        PyTorch; sequences that hold tensors which require gradients are stacked, and the
        gradient passes.
    dtype : dtype, optional
        Element type.  Default: that of an array or tensor; float32 for Python
        floats, int64 for Python integers.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Raises
    ------
    TypeError
        If the data are not booleans, integers or floats.
    ValueError
        If nested sequences are of unequal lengths.
    """
    wanted = None if dtype is None else supported_dtype(dtype)
    if isinstance(data, (list, tuple)) and is_grad_enabled() and _holds(data, needs_grad):
        return _stacked(data, wanted)
    return Tensor(np.array(_array(data, wanted)), requires_grad)


def _stacked(data: Any, dtype: DType | None) -> Tensor:
    """Nested sequences of tensors and numbers as one recorded tensor."""
    if isinstance(data, (list, tuple)):
        return ops.stack([_stacked(item, dtype) for item in data])
    if not isinstance(data, Tensor):
        return Tensor(array_of(data, dtype))
    return data if dtype is None or data.dtype == dtype else ops.astype(data, dtype)


def _array(data: ArrayLike, dtype: DType | None) -> np.ndarray[Any, Any]:
    if isinstance(data, (list, tuple)) and _holds(data, lambda x: isinstance(x, Variable)):
        items = [_array(item, dtype) for item in data]
        return np.asarray(items, functools.reduce(promote, (item.dtype for item in items)))
    return array_of(data, dtype)


def _holds(data: Any, wanted: Callable[[object], bool]) -> bool:
    return any(
        _holds(item, wanted) if isinstance(item, (list, tuple)) else wanted(item) for item in data
    )


def as_tensor(data: ArrayLike, dtype: DTypeLike | None = None) -> Tensor:
    """A tensor over the same memory where that is possible; tensors are returned as they are.

    The gradient passes through a change of dtype.

    Parameters
    ----------
    data : array-like
        Numbers, nested sequences, an array or a tensor.
    dtype : dtype, optional
        Element type; another than that of the data makes a copy.

    Returns
    -------
    Tensor
        The data themselves, or a tensor that shares their memory where they are an array.
    """
    if isinstance(data, Tensor) and (dtype is None or data.dtype == supported_dtype(dtype)):
        return data
    wanted = None if dtype is None else supported_dtype(dtype)
    if isinstance(data, Tensor) and wanted is not None:
        return ops.astype(data, wanted)
    if isinstance(data, (list, tuple)):
        return tensor(data, wanted)
    return Tensor(_array(data, wanted))


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor over the memory of a NumPy array.

    Parameters
    ----------
    array : numpy.ndarray
        Booleans, integers or floats.

    Returns
    -------
    Tensor
        Writing into one of the two changes the other.

    Raises
    ------
    TypeError
        If it is no array, or holds something else.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy takes a numpy.ndarray, got {type(array).__name__}")
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor over the memory of another library's CPU array, by the DLPack protocol.

    Parameters
    ----------
    source : object
        With ``__dlpack__`` and ``__dlpack_device__``, such as a tensor of PyTorch.

    Returns
    -------
    Tensor
        Sharing memory with the source.
    """
    return Tensor(np.from_dlpack(source))


def zeros(*shape: Shape, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    Parameters
    ----------
    *shape : int or sequence of int
        Sizes of the axes, separately or as one sequence.
    dtype : dtype, default float32
        Element type.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Of that shape.
    """
    return Tensor(np.zeros(shape_of(shape), supported_dtype(dtype)), requires_grad)


def ones(*shape: Shape, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    Parameters
    ----------
    *shape : int or sequence of int
        Sizes of the axes, separately or as one sequence.
    dtype : dtype, default float32
        Element type.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Of that shape.
    """
    return Tensor(np.ones(shape_of(shape), supported_dtype(dtype)), requires_grad)


def empty(*shape: Shape, dtype: DTypeLike = float32, requires_grad: bool = False) -> Tensor:
    """A tensor of arbitrary values.

    Parameters
    ----------
    *shape : int or sequence of int
        Sizes of the axes, separately or as one sequence.
    dtype : dtype, default float32
        Element type.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Of that shape.
    """
    return Tensor(np.empty(shape_of(shape), supported_dtype(dtype)), requires_grad)


def full(
    shape: Shape,
    fill_value: float,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one value.

    Parameters
    ----------
    shape : int or sequence of int
        Sizes of the axes.
    fill_value : float
        The value.
    dtype : dtype, optional
        Element type.  Default: that of the value, float32 for a Python float.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Of that shape.
    """
    wanted = array_of(fill_value).dtype if dtype is None else supported_dtype(dtype)
    if dtype is None and wanted == np.float64:
        wanted = float32
    _check_constant("full", fill_value)
    return Tensor(np.full(shape_of((shape,)), fill_value, wanted), requires_grad)


def zeros_like(x: ArrayLike, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, dtype and memory order of another tensor.

    Parameters
    ----------
    x : array-like
        Whose shape, dtype and memory order are taken.
    dtype : dtype, optional
        Another element type than that of ``x``.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Of the shape of ``x``.
    """
    return Tensor(np.zeros_like(array_of(x), _dtype(dtype)), requires_grad)


def ones_like(x: ArrayLike, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, dtype and memory order of another tensor.

    Parameters
    ----------
    x : array-like
        Whose shape, dtype and memory order are taken.
    dtype : dtype, optional
        Another element type than that of ``x``.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Of the shape of ``x``.
    """
    return Tensor(np.ones_like(array_of(x), _dtype(dtype)), requires_grad)


def empty_like(x: ArrayLike, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Arbitrary values in the shape, dtype and memory order of another tensor.

    Parameters
    ----------
    x : array-like
        Whose shape, dtype and memory order are taken.
    dtype : dtype, optional
        Another element type than that of ``x``.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Of the shape of ``x``.
    """
    return Tensor(np.empty_like(array_of(x), _dtype(dtype)), requires_grad)


def full_like(
    x: ArrayLike, fill_value: float, dtype: DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """One value in the shape, dtype and memory order of another tensor.

    Parameters
    ----------
    x : array-like
        Whose shape, dtype and memory order are taken.
    fill_value : float
        The value.
    dtype : dtype, optional
        Another element type than that of ``x``.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Of the shape of ``x``.
    """
    _check_constant("full_like", fill_value)
    return Tensor(np.full_like(array_of(x), fill_value, _dtype(dtype)), requires_grad)


def _check_constant(name: str, fill_value: object) -> None:
    if needs_grad(fill_value) and is_grad_enabled():
        raise TypeError(
            f"{name}() with a fill_value that requires gradients would lose the gradient: use "
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
    """Numbers from ``start`` up to but without ``stop``; ``arange(n)`` counts from 0.

    int64 if all arguments are integers, else float32, unless ``dtype`` is given:
    numbers are then counted in full and rounded towards zero if it is an integer's.

    Parameters
    ----------
    start : float
        The first number; alone, where to stop.
    stop : float, optional
        Where to stop, itself left out.
    step : float, default 1
        From one number to the next; may be negative.
    dtype : dtype, optional
        Element type.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

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
        raise TypeError("arange needs a number to stop at, got None")
    if step == 0:
        raise ValueError("arange needs a step that is not 0")
    array = np.arange(first, last, step)
    if dtype is not None:
        array = array.astype(supported_dtype(dtype))
    elif array.dtype.kind == "f":
        array = array.astype(float32)
    return Tensor(array, requires_grad)


def linspace(
    start: float,
    stop: float,
    num: int,
    dtype: DTypeLike = float32,
    requires_grad: bool = False,
) -> Tensor:
    """``num`` evenly spaced numbers from ``start`` to ``stop``, both included.

    Rounded towards zero if ``dtype`` is an integer's, as PyTorch does; NumPy rounds down.

    Parameters
    ----------
    start, stop : float
        The first and the last number.
    num : int
        How many.
    dtype : dtype, default float32
        Element type.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Shape (num,).
    """
    return Tensor(np.linspace(start, stop, num).astype(supported_dtype(dtype)), requires_grad)


def eye(
    n: int, m: int | None = None, dtype: DTypeLike = float32, requires_grad: bool = False
) -> Tensor:
    """A matrix with ones on the diagonal and zeros elsewhere.

    Parameters
    ----------
    n : int
        Number of rows.
    m : int, optional
        Number of columns.  Default: ``n``.
    dtype : dtype, default float32
        Element type.
    requires_grad : bool, default False
        Whether operations on the tensor are recorded.

    Returns
    -------
    Tensor
        Shape (n, m).
    """
    return Tensor(np.eye(n, m, dtype=supported_dtype(dtype)), requires_grad)
