"""What a kernel is, and the form its arrays come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from lucid.kernels.compiled.compiling import compiled
from lucid.kernels.compiled.crew import Share

Array = np.ndarray[Any, np.dtype[Any]]
F = TypeVar("F", bound=Callable[..., Any])

# A range this long (elements of two or three arrays streamed through) takes some 50 microseconds,
# about what it costs to wake a thread for it.
GRAIN = 1 << 18


def _shared(function: F, **options: Any) -> F:
    result: Any = compiled(function, **options)
    result.share = Share(result)
    return cast(F, result)


def kernel(function: F) -> F:
    """Compile ``function`` without the GIL, and keep the machine code on disk where that works.

    Division follows NumPy (no ZeroDivisionError), a multiplication and an addition
    may become one fused instruction, and nothing else is relaxed: NaN and infinity
    stay what they are.
    """
    return _shared(function, fastmath={"contract"})


def exact_kernel(function: F) -> F:
    """As `kernel`, but every operation rounds by itself, as NumPy's do."""
    return _shared(function)


def routine(function: F) -> F:
    """As `kernel`, for a part of kernels that nothing else calls."""
    return compiled(function, fastmath={"contract"})


def exact_routine(function: F) -> F:
    """As `routine`, but every operation rounds by itself, as NumPy's do.

    For numbers that decide something, where the last bit may matter.
    """
    return compiled(function)


def dense(array: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """``array`` itself, or a copy, as the kernels want it: C-contiguous, aligned, writable.

    Numba compiles a function again for every other layout, so there is only this one.
    """
    if array.flags.carray and array.dtype.isnative and dtype in (None, array.dtype):
        return array
    return np.require(array, dtype or array.dtype.newbyteorder("="), ["C", "A", "W"])


def nhwc(array: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """A (N, C, H, W) array as a contiguous (N, H, W, C) one; a view where it lies so already."""
    return dense(array.transpose(0, 2, 3, 1), dtype)


def float_type(array: Array) -> np.dtype[Any]:
    """The floating-point type that a kernel computes ``array`` in.

    Raises
    ------
    TypeError
        If it is neither float32 nor float64.
    """
    dtype = array.dtype.newbyteorder("=")
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"expected an array of float32 or float64, got {array.dtype}")
    return dtype


def grain_of(elements_per_item: int) -> int:
    """How many items of this size are worth a range of their own in ``parallel_for``."""
    return max(1, GRAIN // max(1, elements_per_item))
