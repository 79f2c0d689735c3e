"""Truth values, what floats may hold beside numbers, and bits; without derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.ops.operands import operands

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def logical_and(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether both x and y are nonzero.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast, of any dtype; NaN counts as nonzero.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return record(np.logical_and(array_of(x), array_of(y)))


def logical_or(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether x or y is nonzero.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast, of any dtype; NaN counts as nonzero.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return record(np.logical_or(array_of(x), array_of(y)))


def logical_xor(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether exactly one of x and y is nonzero.

    Parameters
    ----------
    x, y : array-like
        Shapes that broadcast, of any dtype; NaN counts as nonzero.

    Returns
    -------
    Tensor
        Booleans of the broadcast shape.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.
    """
    return record(np.logical_xor(array_of(x), array_of(y)))


def logical_not(x: ArrayLike) -> Tensor:
    """Whether x is zero.

    Parameters
    ----------
    x : array-like
        Any shape and dtype; NaN counts as nonzero.

    Returns
    -------
    Tensor
        Booleans of the shape of ``x``.
    """
    return record(np.logical_not(array_of(x)))


def isnan(x: ArrayLike) -> Tensor:
    """Whether x is not a number.

    Parameters
    ----------
    x : array-like
        Any shape and dtype.

    Returns
    -------
    Tensor
        Booleans of the shape of ``x``; False of integers.
    """
    return record(np.isnan(array_of(x)))


def isinf(x: ArrayLike) -> Tensor:
    """Whether x is infinite, of either sign.

    Parameters
    ----------
    x : array-like
        Any shape and dtype.

    Returns
    -------
    Tensor
        Booleans of the shape of ``x``; False of integers.
    """
    return record(np.isinf(array_of(x)))


def isfinite(x: ArrayLike) -> Tensor:
    """Whether x is neither infinite nor NaN.

    Parameters
    ----------
    x : array-like
        Any shape and dtype.

    Returns
    -------
    Tensor
        Booleans of the shape of ``x``; True of integers.
    """
    return record(np.isfinite(array_of(x)))


def bitwise_and(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x & y of integers, or of booleans.

    Parameters
    ----------
    x, y : array-like
        Integers or booleans, of shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it.

    Raises
    ------
    TypeError
        If one holds floats.
    ValueError
        If the shapes do not broadcast.
    """
    return record(np.bitwise_and(*operands(x, y)))


def bitwise_or(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x | y of integers, or of booleans.

    Parameters
    ----------
    x, y : array-like
        Integers or booleans, of shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it.

    Raises
    ------
    TypeError
        If one holds floats.
    ValueError
        If the shapes do not broadcast.
    """
    return record(np.bitwise_or(*operands(x, y)))


def bitwise_xor(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x ^ y of integers, or of booleans.

    Parameters
    ----------
    x, y : array-like
        Integers or booleans, of shapes that broadcast.

    Returns
    -------
    Tensor
        The broadcast shape, in the common dtype as :func:`lucid.add` has it.

    Raises
    ------
    TypeError
        If one holds floats.
    ValueError
        If the shapes do not broadcast.
    """
    return record(np.bitwise_xor(*operands(x, y)))


def invert(x: ArrayLike) -> Tensor:
    """Every bit turned over; of booleans, not x.

    Parameters
    ----------
    x : array-like
        Integers or booleans, of any shape.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``; of a signed integer n it is ``-n - 1``.

    Raises
    ------
    TypeError
        If ``x`` holds floats.
    """
    return record(np.invert(array_of(x)))
