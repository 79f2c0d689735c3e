"""How the kernels are compiled, and the form their arrays come in.

Machine code is kept on disk (:mod:`lucid.kernels.compiled.disk`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock

from lucid.kernels.compiled.disk import DiskCache

if getattr(numba.config, "DISABLE_JIT", False):
    raise ImportError("Numba's compiler is turned off by NUMBA_DISABLE_JIT")

Array = np.ndarray[Any, np.dtype[Any]]
F = TypeVar("F", bound=Callable[..., Any])

# A range this long (elements of two or three arrays streamed through) takes some 50 microseconds,
# about what it costs to wake a thread for it.
GRAIN = 1 << 18

#: Every kernel that has been defined so far.
DEFINED: list[Any] = []

if hasattr(os, "register_at_fork"):
    # A child of a process in which another thread compiles would wait for that thread forever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def _compile(function: F, **options: Any) -> F:
    compiled = numba.njit(nogil=True, error_model="numpy", **options)(function)
    compiled._cache = DiskCache(function)  # in place of Numba's, which lets every fault out
    DEFINED.append(compiled)
    return cast(F, compiled)


def kernel(function: F) -> F:
    """Compile ``function`` without the GIL, and keep the machine code on disk where that works.

    Division follows NumPy (no ZeroDivisionError), a multiplication and an addition
    may become one fused instruction, and nothing else is relaxed: NaN and infinity
    stay what they are.
    """
    return _compile(function, fastmath={"contract"})


def exact_kernel(function: F) -> F:
    """As `kernel`, but every operation rounds by itself, as NumPy's do.

    For numbers that decide something, where the last bit may matter.
    """
    return _compile(function)


def dense(array: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """``array`` itself, or a copy, as the kernels want it: C-contiguous, aligned, writable.

    Numba compiles a function again for every other layout, so there is only this one.
    """
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
