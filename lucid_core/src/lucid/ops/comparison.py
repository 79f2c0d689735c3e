"""Elementwise comparisons, minimum, maximum and clipping."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record, unbroadcast
from lucid.autograd.primitive import Vjp
from lucid.dtypes import promote
from lucid.ops.docstrings import add_sections, binary
from lucid.ops.operands import operands

if TYPE_CHECKING:
    from lucid.tensor import Tensor

_comparison = binary(
    returns="Booleans, broadcast shape.  Integers are compared exactly; if either is floating, "
    "both are converted to their common dtype first (see :func:`lucid.add`)."
)


@_comparison
def equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise ``x == y``; False where either is NaN.

    A float32 0.1 is equal to the Python number 0.1, which is rounded to float32 first.
    """
    return _compare(np.equal, x, y)


@_comparison
def not_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise ``x != y``; True where either is NaN."""
    return _compare(np.not_equal, x, y)


@_comparison
def less(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise ``x < y``; False where either is NaN."""
    return _compare(np.less, x, y)


@_comparison
def less_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise ``x <= y``; False where either is NaN."""
    return _compare(np.less_equal, x, y)


@_comparison
def greater(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise ``x > y``; False where either is NaN."""
    return _compare(np.greater, x, y)


@_comparison
def greater_equal(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise ``x >= y``; False where either is NaN."""
    return _compare(np.greater_equal, x, y)


def _compare(compare: np.ufunc, x: ArrayLike, y: ArrayLike) -> Tensor:
    a, b = array_of(x), array_of(y)
    # Integers are not converted to a common dtype: uint8 cannot represent 300.
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        a, b = operands(x, y)
    return record(compare(a, b))


@binary()
def maximum(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise maximum; NaN if either is NaN.

    Equal elements receive half of the gradient each.
    """
    return _extremum(x, y, np.maximum, np.greater)


@binary()
def minimum(x: ArrayLike, y: ArrayLike) -> Tensor:
    """Elementwise minimum; NaN if either is NaN.

    Equal elements receive half of the gradient each.
    """
    return _extremum(x, y, np.minimum, np.less)


def _extremum(x: ArrayLike, y: ArrayLike, choose: np.ufunc, wins: np.ufunc) -> Tensor:
    a, b = operands(x, y)

    def share(g: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        weight = wins(first, second) + 0.5 * (first == second)
        return unbroadcast(g * weight.astype(g.dtype), first.shape)

    return record(choose(a, b), (x, lambda g: share(g, a, b)), (y, lambda g: share(g, b, a)))


@add_sections(
    {
        "x : array-like": "Any shape.",
        "min, max : array-like, optional": "Bounds, broadcast with ``x``; None for no bound.",
    },
    "A copy of broadcast shape, common dtype (see :func:`lucid.add`).",
    {
        "ValueError": "If the shapes do not broadcast.",
        "OverflowError": "If a Python integer bound does not fit into the integer dtype of ``x``.",
    },
)
def clip(x: ArrayLike, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
    """Clip to the range [``min``, ``max``]; ``max`` where ``min > max``.

    The gradient goes to ``x`` inside the range, bounds included, else to the bound.
    """
    limits = [None if limit is None else operands(x, limit)[1] for limit in (min, max)]
    dtype = reduce(promote, (b.dtype for b in limits if b is not None), array_of(x).dtype)
    a = array_of(x).astype(dtype, copy=False)
    low, high = (None if limit is None else limit.astype(dtype) for limit in limits)
    raised = a if low is None else np.maximum(a, low)
    value = raised if high is None else np.minimum(raised, high)

    def by_x(g: np.ndarray) -> np.ndarray:
        inside = (low is None or a >= low) & (high is None or a <= high)
        return unbroadcast(g * inside, a.shape)

    edges: list[tuple[ArrayLike, Vjp]] = [(x, by_x)]
    if min is not None and low is not None:
        lifted = (a < low) & (high is None or low <= high)
        edges.append((min, lambda g: unbroadcast(g * lifted, low.shape)))
    if max is not None and high is not None:
        edges.append((max, lambda g: unbroadcast(g * (raised > high), high.shape)))
    return record(value.copy() if value is a else value, *edges)
