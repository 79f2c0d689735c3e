"""Functions compiled by Numba, their machine code kept on disk (:mod:`.disk`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.compiler_lock import global_compiler_lock

from lucid.kernels.compiled.disk import DiskCache

__all__ = ["DEFINED", "compiled"]

if getattr(numba.config, "DISABLE_JIT", False):
    raise ImportError("Numba's compiler is turned off by NUMBA_DISABLE_JIT")

F = TypeVar("F", bound=Callable[..., Any])

#: Every function that has been defined so far.
DEFINED: list[Any] = []

if hasattr(os, "register_at_fork"):
    # A child of a process in which another thread compiles would wait for that thread forever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def compiled(function: F, *, around: Callable[..., Any] | None = None, **options: Any) -> F:
    """Compile ``function`` when it is first called, to run without the GIL.

    Parameters
    ----------
    function : callable
        What Numba can compile.
    around : callable, optional
        The function that ``function`` was made for, if it is one of many that look alike.
    **options
        More of Numba's options.
    """
    result = numba.njit(nogil=True, error_model="numpy", **options)(function)
    result._cache = DiskCache(function, around)  # Numba's own lets every fault out
    DEFINED.append(result)
    return cast(F, result)
