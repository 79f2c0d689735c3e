"""Numba's compile results, kept on disk between processes.

The seam is Numba's own: a dispatcher asks its cache for a signature before it compiles,
and offers what it has compiled afterwards.  Whatever goes wrong with the disk, the answer
is that nothing is there; the kernel is then compiled in memory and the user
warned once in a process, if at all.
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
from lucid.kernels.compiled.target import target

__all__ = ["DiskCache", "Progress", "progress", "store"]

# Numba's own modules carry no types.
_CompileResult: Any = compiler.CompileResult
_dumps: Any = serialize.dumps
# Settings of Numba that change the machine code it makes.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML", "BOUNDSCHECK")


class Progress:
    """What became of the kernels that this process asked for.

    Attributes
    ----------
    loaded, compiled : int
        Specialisations that were on disk, and that had to be compiled.
    fault : OSError, optional
        Why the last one that was compiled could not be kept.
    """

    def __init__(self) -> None:
        self.loaded = 0
        self.compiled = 0
        self.fault: OSError | None = None
        self._quiet = False

    @contextmanager
    def in_silence(self) -> Iterator[None]:
        """Say nothing inside the block: whoever began it reports."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def note_loaded(self) -> None:
        self.loaded += 1

    def note_compiling(self) -> None:
        self.compiled += 1
        if self.compiled == 1 and not self._quiet:
            _say("lucid: compiling kernels for this processor, once (lucid warmup does it ahead)")

    def note_fault(self, fault: OSError) -> None:
        first, self.fault = self.fault is None, fault
        if first and not self._quiet:
            warnings.warn(
                f"compiled kernels cannot be kept, so every process compiles its own: {fault}; "
                "LUCID_CACHE_DIR can name another folder",
                RuntimeWarning,
                stacklevel=2,
            )


#: Of this process.
progress = Progress()


def _say(line: str) -> None:
    """One line on stderr if somebody watches; a progress bar there is moved out of its way."""
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


def edition() -> str:
    """Names all that the machine code depends on, besides a kernel's own types.

    The processor, the versions of Python, NumPy, Numba and llvmlite, Numba's
    settings, and the text of every module of :mod:`lucid.kernels`.
    """
    processor = target()
    versions = (sys.version, np.__version__, numba.__version__, llvmlite.__version__)
    settings = [str(getattr(numba.config, name, None)) for name in _SETTINGS]
    state = hashlib.sha256(repr((processor, versions, settings)).encode())
    for part in _sources(importlib.resources.files("lucid.kernels")):
        state.update(len(part).to_bytes(8, "little") + part)
    return f"{re.sub('[^a-z0-9-]+', '-', processor.cpu.lower())}-{state.hexdigest()[:24]}"


# Of the modules as they are imported now: files may change under a process that runs on.
_EDITION = edition()


@functools.cache
def store() -> Store:
    """The entries that this process may use.

    Raises
    ------
    OSError
        If there is no folder for them.
    """
    return Store(cache_folder(), _EDITION)


class DiskCache:
    """What a Numba dispatcher asks for the machine code of one function.

    ``around`` tells functions apart that were made by one and the same.
    """

    def __init__(
        self, function: Callable[..., Any], around: Callable[..., Any] | None = None
    ) -> None:
        named = around or function
        self._name = f"{named.__module__.rpartition('.')[2]}.{named.__qualname__}"
        if around is not None:
            self._name += f".{function.__name__}"
        codes = [(f.__module__, f.__code__) for f in (function, named)]
        self._state = repr([(m, c.co_names, c.co_consts, c.co_code) for m, c in codes])

    def _entry(self, signature: Any) -> str:
        digest = hashlib.sha256(f"{self._state}{signature}".encode()).hexdigest()
        return f"{re.sub('[^A-Za-z0-9_.]+', '', self._name)}-{digest[:24]}"

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compiled function for types that were met before; None where it is not known."""
        context.refresh()
        found = None
        try:
            content = store().read(self._entry(signature))
            if content is not None:
                found = _CompileResult._rebuild(context, *pickle.loads(content))
        except Exception:  # a pickle that does not load may raise anything; it is written anew
            found = None
        if found is None:
            progress.note_compiling()
        else:
            progress.note_loaded()
        return found

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled, for other processes."""
        if compiled.library.has_dynamic_globals:  # addresses that mean nothing elsewhere
            return
        if progress.fault is not None:  # it has been said
            return
        if edition() != _EDITION:  # what was compiled belongs to sources that are gone
            return
        try:
            store().write(self._entry(signature), _dumps(compiled._reduce()))
        except OSError as fault:
            progress.note_fault(fault)

    @property
    def cache_path(self) -> str:
        """For Numba's statistics."""
        return str(store().folder)

    def enable(self) -> None:
        """For Numba, which may ask for it; it is never off."""

    def disable(self) -> None:
        """Likewise."""

    def flush(self) -> None:
        """For Numba's ``recompile``: entries are overwritten, none is wrong."""
