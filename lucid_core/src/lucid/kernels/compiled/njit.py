"""Compile functions with Numba and keep their machine code on disk (:mod:`.numba_cache`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.compiler_lock import global_compiler_lock

from lucid.kernels.compiled.numba_cache import DiskCache

__all__ = ["DISPATCHERS", "njit"]

if getattr(numba.config, "DISABLE_JIT", False):
    raise ImportError("Numba's compiler is turned off by NUMBA_DISABLE_JIT")

F = TypeVar("F", bound=Callable[..., Any])

#: Every function that has been defined so far.
DISPATCHERS: list[Any] = []

if hasattr(os, "register_at_fork"):
    # A child forked while another thread compiles would wait for that thread forever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def njit(function: F, *, kernel: Callable[..., Any] | None = None, **options: Any) -> F:
    """Compile ``function`` at its first call, to run without the GIL.

    Parameters
    ----------
    function : callable
        Function that Numba can compile.
    kernel : callable, optional
        The kernel that ``function`` was generated for; it distinguishes the cache entries of
        functions with the same code.
    **options
        Further options of ``numba.njit``.
    """
    result = numba.njit(nogil=True, error_model="numpy", **options)(function)
    result._cache = DiskCache(function, kernel)  # Numba's own cache raises on every disk error
    DISPATCHERS.append(result)
    return cast(F, result)
