"""Copies: in another element type, or another order in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.dtypes import DTypeLike, supported_dtype

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def astype(x: ArrayLike, dtype: DTypeLike) -> Tensor:
    """A copy in another element type; the gradient returns in the original one.

    Parameters
    ----------
    x : array-like
        Any shape.
    dtype : DTypeLike
        Booleans, integers or floats: a NumPy dtype, its name, or a type like ``float``.

    Returns
    -------
    Tensor
        The shape of ``x``; a copy even where the dtype is the same.

    Raises
    ------
    TypeError
        If tensors cannot have that dtype, as complex numbers.
    """
    a = array_of(x)
    before = a.dtype
    return record(a.astype(supported_dtype(dtype)), (x, lambda g: g.astype(before)))


def clone(x: ArrayLike) -> Tensor:
    """A copy that the gradient passes through.

    Parameters
    ----------
    x : array-like
        Any shape.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``, its axes in the same order in memory.
    """
    return record(array_of(x).copy(order="K"), (x, lambda g: g))


def contiguous(x: ArrayLike) -> Tensor:
    """A copy in C order that the gradient passes through.

    Parameters
    ----------
    x : array-like
        Any shape.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``, a copy even where ``x`` is in C order.
    """
    return record(np.array(array_of(x), order="C"), (x, lambda g: g))
