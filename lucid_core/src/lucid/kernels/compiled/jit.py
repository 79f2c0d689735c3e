"""Decorators of kernels, and the array layout that kernels take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from lucid.kernels.compiled.njit import njit
from lucid.kernels.compiled.thread_pool import Launcher
from lucid.kernels.memory import empty
from lucid.kernels.threads import parallel_for

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


@routine
def interleave(x: Array, n: int, i: int, columns: int, target: Array) -> None:
    """Copy the first pixels of a row of image n of x (N, C, H, W) to (columns * C,) elements."""
    channels = x.shape[1]
    if channels == 3:  # in vectors
        red, green, blue = x[n, 0, i], x[n, 1, i], x[n, 2, i]
        for j in range(columns):
            target[3 * j] = red[j]
            target[3 * j + 1] = green[j]
            target[3 * j + 2] = blue[j]
    else:
        for c in range(channels):
            for j in range(columns):
                target[j * channels + c] = x[n, c, i, j]


@kernel
def _interleave(start: int, stop: int, x: Array, y: Array) -> None:
    """Item = one row of one image; x (N, C, H, W), y (N, H, W, C)."""
    height, width = x.shape[2:]
    for item in range(start, stop):
        n, i = item // height, item % height
        interleave(x, n, i, width, y[n, i].reshape(-1))


def nhwc(array: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """Return a (N, C, H, W) array as contiguous (N, H, W, C); a view of channels-last memory."""
    image = array.transpose(0, 2, 3, 1)
    rgb = array.dtype == np.float32 and array.shape[1] == 3 and array.flags.carray
    if not rgb or image.flags.carray or dtype not in (None, array.dtype):
        return dense(image, dtype)
    n, h, w, c = image.shape
    y = empty((n, h, w, c), np.float32)
    parallel_for(_interleave, n * h, array, y, grain=grain_of(4 * w * c))
    return y


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
