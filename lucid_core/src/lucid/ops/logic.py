"""Truth values, what floats may hold beside numbers, and bits; without derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.ops.operands import operands

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def logical_and(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether both x and y are nonzero."""
    return record(np.logical_and(array_of(x), array_of(y)))


def logical_or(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether x or y is nonzero."""
    return record(np.logical_or(array_of(x), array_of(y)))


def logical_xor(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Whether exactly one of x and y is nonzero."""
    return record(np.logical_xor(array_of(x), array_of(y)))


def logical_not(x: ArrayLike) -> Tensor:
    """Whether x is zero."""
    return record(np.logical_not(array_of(x)))


def isnan(x: ArrayLike) -> Tensor:
    """Whether x is not a number."""
    return record(np.isnan(array_of(x)))


def isinf(x: ArrayLike) -> Tensor:
    """Whether x is infinite, of either sign."""
    return record(np.isinf(array_of(x)))


def isfinite(x: ArrayLike) -> Tensor:
    """Whether x is neither infinite nor NaN."""
    return record(np.isfinite(array_of(x)))


def bitwise_and(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x & y of integers, or of booleans."""
    return record(np.bitwise_and(*operands(x, y)))


def bitwise_or(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x | y of integers, or of booleans."""
    return record(np.bitwise_or(*operands(x, y)))


def bitwise_xor(x: ArrayLike, y: ArrayLike) -> Tensor:
    """x ^ y of integers, or of booleans."""
    return record(np.bitwise_xor(*operands(x, y)))


def invert(x: ArrayLike) -> Tensor:
    """Every bit turned over; of booleans, not x."""
    return record(np.invert(array_of(x)))
