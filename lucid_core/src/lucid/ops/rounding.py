"""Rounding, element by element; its derivatives are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def floor(x: ArrayLike) -> Tensor:
    """Largest integer not above x; its derivative is zero.

    Parameters
    ----------
    x : array-like
        Any shape.

    Returns
    -------
    Tensor
        The shape of ``x``; floats in their dtype, and from NumPy 2.1 on integers in theirs.
    """
    return record(np.floor(array_of(x)), (x, np.zeros_like))


def ceil(x: ArrayLike) -> Tensor:
    """Smallest integer not below x; its derivative is zero.

    Parameters
    ----------
    x : array-like
        Any shape.

    Returns
    -------
    Tensor
        The shape of ``x``; floats in their dtype, and from NumPy 2.1 on integers in theirs.
    """
    return record(np.ceil(array_of(x)), (x, np.zeros_like))


def round(x: ArrayLike, decimals: int = 0) -> Tensor:
    """Nearest number of ``decimals`` places, halves to even; its derivative is zero.

    Parameters
    ----------
    x : array-like
        Any shape.
    decimals : int, default 0
        Places after the point; -1 rounds to tens, -2 to hundreds.

    Returns
    -------
    Tensor
        The shape of ``x``; floats and integers in their dtype.
    """
    return record(np.round(array_of(x), decimals), (x, np.zeros_like))
