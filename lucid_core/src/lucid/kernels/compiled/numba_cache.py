"""On-disk cache of Numba's compile results, shared between processes.

:class:`DiskCache` implements the cache interface of Numba's dispatchers, which load a
signature from it before they compile and save to it after.  Any error of the disk counts as
a missing entry: the kernel is compiled in memory, and the process warns at most once.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import compiler, serialize

from lucid.kernels.cache import Store, cache_folder
from lucid.kernels.compiled.cpu_target import target

__all__ = ["DiskCache", "Progress", "progress", "store"]

# Numba's own modules carry no types.
_CompileResult: Any = compiler.CompileResult
_dumps: Any = serialize.dumps
# Numba settings that change the machine code.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML", "BOUNDSCHECK")


class Progress:
    """Counts of the kernels that this process has loaded and compiled.

    Attributes
    ----------
    loaded, compiled : int
        Specializations found on disk, and compiled.
    error : OSError, optional
        Why the last compiled one could not be saved.
    """

    def __init__(self) -> None:
        self.loaded = 0
        self.compiled = 0
        self.error: OSError | None = None
        self._quiet = False

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Print and warn nothing inside the block; the caller reports."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def count_loaded(self) -> None:
        self.loaded += 1

    def count_compiled(self) -> None:
        self.compiled += 1
        if self.compiled == 1 and not self._quiet:
            _print_on_terminal(
                "lucid: compiling kernels for this processor, once "
                "(lucid warmup does this in advance)"
            )

    def report_error(self, error: OSError) -> None:
        first, self.error = self.error is None, error
        if first and not self._quiet:
            warnings.warn(
                f"compiled kernels cannot be saved, so every process compiles its own: {error}; "
                "set LUCID_CACHE_DIR to another folder",
                RuntimeWarning,
                stacklevel=2,
            )


progress = Progress()


def _print_on_terminal(line: str) -> None:
    """Print to stderr if it is a terminal, above a progress bar of tqdm."""
    if sys.stderr is None or not sys.stderr.isatty():
        return
    if (tqdm := sys.modules.get("tqdm")) is not None:
        tqdm.tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


def _sources(folder: Traversable) -> Iterator[bytes]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry)
        elif entry.name.endswith((".py", ".pyc")):
            yield entry.name.encode()
            yield entry.read_bytes()


def fingerprint() -> str:
    """Return the name of the cache folder: a digest of all that machine code depends on.

    These are the processor, the versions of Python, NumPy, Numba and llvmlite, Numba's
    settings, and the text of every module of :mod:`lucid.kernels`.
    """
    processor = target()
    versions = (sys.version, np.__version__, numba.__version__, llvmlite.__version__)
    settings = [str(getattr(numba.config, name, None)) for name in _SETTINGS]
    state = hashlib.sha256(repr((processor, versions, settings)).encode())
    for part in _sources(importlib.resources.files("lucid.kernels")):
        state.update(len(part).to_bytes(8, "little") + part)
    return f"{re.sub('[^a-z0-9-]+', '-', processor.cpu.lower())}-{state.hexdigest()[:24]}"


# Taken at import, since the source files may change under a running process.
_FINGERPRINT = fingerprint()


@functools.cache
def store() -> Store:
    """Return the store of this process's fingerprint.

    Raises
    ------
    OSError
        If the user has no cache folder.
    """
    return Store(cache_folder(), _FINGERPRINT)


class DiskCache:
    """Cache of one function, in the interface of Numba's dispatchers.

    ``kernel`` is the kernel that ``function`` was generated for, if any.
    """

    def __init__(
        self, function: Callable[..., Any], kernel: Callable[..., Any] | None = None
    ) -> None:
        named = kernel or function
        self._name = f"{named.__module__.rpartition('.')[2]}.{named.__qualname__}"
        if kernel is not None:
            self._name += f".{function.__name__}"
        codes = [(f.__module__, f.__code__) for f in (function, named)]
        self._state = repr([(m, c.co_names, c.co_consts, c.co_code) for m, c in codes])

    def _entry(self, signature: Any) -> str:
        digest = hashlib.sha256(f"{self._state}{signature}".encode()).hexdigest()
        return f"{re.sub('[^A-Za-z0-9_.]+', '', self._name)}-{digest[:24]}"

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the compiled function of a signature, or None if there is no entry."""
        context.refresh()
        found = None
        try:
            content = store().read(self._entry(signature))
            if content is not None:
                found = _CompileResult._rebuild(context, *pickle.loads(content))
        except Exception:  # unpickling may raise anything; the entry is then written anew
            found = None
        if found is None:
            progress.count_compiled()
        else:
            progress.count_loaded()
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Write a compiled function for other processes."""
        if compiled.library.has_dynamic_globals:  # addresses that are valid in this process only
            return
        if progress.error is not None:  # already reported
            return
        if fingerprint() != _FINGERPRINT:  # the sources have been replaced since import
            return
        try:
            store().write(self._entry(signature), _dumps(compiled._reduce()))
        except OSError as error:
            progress.report_error(error)

    @property
    def cache_path(self) -> str:
        """Folder of the entries, for Numba's statistics."""
        return str(store().folder)

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Do nothing: ``recompile`` overwrites entries, and none is wrong."""
