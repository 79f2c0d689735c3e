"""Decorators of kernels, and the array layout that kernels take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from lucid.kernels.compiled.njit import njit
from lucid.kernels.compiled.thread_pool import Launcher

Array = np.ndarray[Any, np.dtype[Any]]
F = TypeVar("F", bound=Callable[..., Any])

# Streaming this many elements of two or three arrays takes about 50 microseconds, the cost
# of waking a thread.
GRAIN = 1 << 18


def _kernel(function: F, **options: Any) -> F:
    result: Any = njit(function, **options)
    result.launch = Launcher(result)
    return cast(F, result)


def kernel(function: F) -> F:
    """Compile ``function`` without the GIL and cache its machine code on disk.

    Division follows NumPy (no ZeroDivisionError), and a multiplication and an addition may be
    contracted to a fused multiply-add.  Nothing else is relaxed: NaN and infinity propagate.
    """
    return _kernel(function, fastmath={"contract"})


def exact_kernel(function: F) -> F:
    """Compile as `kernel` does, but round every operation, as NumPy does."""
    return _kernel(function)


def routine(function: F) -> F:
    """Compile as `kernel` does, for a function that only kernels call."""
    return njit(function, fastmath={"contract"})


def reordering_routine(function: F) -> F:
    """Compile as `routine` does; sums may be computed in another order, in vectors."""
    return njit(function, fastmath={"contract", "reassoc"})


def exact_routine(function: F) -> F:
    """Compile as `routine` does, but round every operation, as NumPy does.

    For values that decide something, where the last bit may matter.
    """
    return njit(function)


def dense(array: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """Return ``array``, or a copy, C-contiguous, aligned and writable.

    Numba compiles a function again for every other layout, so kernels take only this one.
    """
    if array.flags.carray and array.dtype.isnative and dtype in (None, array.dtype):
        return array
    return np.require(array, dtype or array.dtype.newbyteorder("="), ["C", "A", "W"])


def nhwc(array: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """Return a (N, C, H, W) array as contiguous (N, H, W, C); a view of channels-last memory."""
    return dense(array.transpose(0, 2, 3, 1), dtype)


def float_type(array: Array) -> np.dtype[Any]:
    """Return the dtype, float32 or float64, that a kernel computes ``array`` in.

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
    """Return the ``grain`` of ``parallel_for`` for items of this many elements."""
    return max(1, GRAIN // max(1, elements_per_item))
