"""Elementwise rounding; the gradients are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.autograd import ArrayLike, array_of, record
from lucid.ops.docstrings import add_sections, unary

if TYPE_CHECKING:
    from lucid.tensor import Tensor

_SAME = "Shape of ``x``; floats keep their dtype, integers keep theirs from NumPy 2.1 on."


@unary(returns=_SAME)
def floor(x: ArrayLike) -> Tensor:
    """Round down to an integer; the gradient is zero."""
    return record(np.floor(array_of(x)), (x, np.zeros_like))


@unary(returns=_SAME)
def ceil(x: ArrayLike) -> Tensor:
    """Round up to an integer; the gradient is zero."""
    return record(np.ceil(array_of(x)), (x, np.zeros_like))


@add_sections(
    {
        "x : array-like": "Any shape.",
        "decimals : int, default 0": "Number of decimal places; -1 rounds to tens.",
    },
    "Shape and dtype of ``x``, for floats and integers.",
)
def round(x: ArrayLike, decimals: int = 0) -> Tensor:
    """Round to a number of decimal places, halves to even; the gradient is zero."""
    return record(np.round(array_of(x), decimals), (x, np.zeros_like))
