"""Copies in another dtype or memory order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.dtypes import DTypeLike, supported_dtype
from lucid.ops.docstrings import unary

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def astype(x: ArrayLike, dtype: DTypeLike) -> Tensor:
    """Differentiable copy in another dtype.

    Parameters
    ----------
    x : array-like
        Any shape.
    dtype : DTypeLike
        Boolean, integer or floating: a NumPy dtype, its name, or a type like ``float``.

    Returns
    -------
    Tensor
        Shape of ``x``; a copy even if the dtype is the same.

    Raises
    ------
    TypeError
        If the dtype is not supported, such as complex numbers.
    """
    a = array_of(x)
    before = a.dtype
    return record(a.astype(supported_dtype(dtype)), (x, lambda g: g.astype(before)))


@unary(returns="Shape and dtype of ``x``.")
def clone(x: ArrayLike) -> Tensor:
    """Differentiable copy; the memory order is kept."""
    return record(array_of(x).copy(order="K"), (x, lambda g: g))


@unary(returns="Shape and dtype of ``x``.")
def contiguous(x: ArrayLike) -> Tensor:
    """Differentiable copy in C order, also if ``x`` is in C order."""
    return record(np.array(array_of(x), order="C"), (x, lambda g: g))
