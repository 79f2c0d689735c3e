"""Elementwise logical and bitwise operations, and tests for NaN and infinity; no gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.ops.docstrings import binary, unary
from lucid.ops.operands import operands

if TYPE_CHECKING:
    from lucid.tensor import Tensor

_logical = binary("Shapes that broadcast; NaN counts as true.", "Booleans, broadcast shape.")
_bitwise = binary(
    "Integers or booleans, shapes that broadcast.", raises={"TypeError": "If one is floating."}
)


@_logical
def logical_and(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Logical AND of ``x != 0`` and ``y != 0``."""
    return record(np.logical_and(array_of(x), array_of(y)))


@_logical
def logical_or(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Logical OR of ``x != 0`` and ``y != 0``."""
    return record(np.logical_or(array_of(x), array_of(y)))


@_logical
def logical_xor(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Logical exclusive OR of ``x != 0`` and ``y != 0``."""
    return record(np.logical_xor(array_of(x), array_of(y)))


@unary("Any shape; NaN counts as true.", "Booleans, shape of ``x``.")
def logical_not(x: ArrayLike) -> Tensor:
    """Logical NOT, ``x == 0``."""
    return record(np.logical_not(array_of(x)))


@unary(returns="Booleans, shape of ``x``; False for integers.")
def isnan(x: ArrayLike) -> Tensor:
    """Test for NaN."""
    return record(np.isnan(array_of(x)))


@unary(returns="Booleans, shape of ``x``; False for integers.")
def isinf(x: ArrayLike) -> Tensor:
    """Test for positive or negative infinity."""
    return record(np.isinf(array_of(x)))


@unary(returns="Booleans, shape of ``x``; True for integers.")
def isfinite(x: ArrayLike) -> Tensor:
    """Test for values that are neither infinite nor NaN."""
    return record(np.isfinite(array_of(x)))


@_bitwise
def bitwise_and(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Bitwise AND, ``x & y``; logical AND of booleans."""
    return record(np.bitwise_and(*operands(x, y)))


@_bitwise
def bitwise_or(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Bitwise OR, ``x | y``; logical OR of booleans."""
    return record(np.bitwise_or(*operands(x, y)))


@_bitwise
def bitwise_xor(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Bitwise exclusive OR, ``x ^ y``; logical exclusive OR of booleans."""
    return record(np.bitwise_xor(*operands(x, y)))


@unary(
    "Integers or booleans, any shape.",
    "Shape and dtype of ``x``.",
    {"TypeError": "If ``x`` is floating."},
)
def invert(x: ArrayLike) -> Tensor:
    """Bitwise NOT, ``-x - 1`` for signed integers; logical NOT of booleans."""
    return record(np.invert(array_of(x)))
