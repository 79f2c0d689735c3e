"""Whether products may run on the processor's matrix unit (Intel's AMX).

It multiplies tiles of bfloat16 and adds up in float32, sixteen times as fast as vectors
of float32 do.  A float32 is exactly the sum of three bfloat16, so a product of float32
takes six products of its parts (:mod:`.tiles`), as accurate as before and still faster.

The system hands the unit's registers out on request only, to a whole process at once,
and the request is made when this module is imported.  ``LUCID_AMX=0`` in the environment leaves
the unit alone.
"""

from __future__ import annotations

import ctypes
import os
import sys

from lucid.kernels.compiled.target import target

__all__ = ["available"]

# Of Linux on x86-64: system call, its request, and the component that is asked for.
_ARCH_PRCTL = 158
_REQUEST_PERMISSION = 0x1023
_TILE_DATA = 18

_NEEDED = {"amx-tile", "amx-bf16", "avx512f", "avx512bw"}


def _permitted() -> bool:
    """Ask the system; it refuses, for one, if a signal handler's stack is too small for tiles."""
    try:
        system = ctypes.CDLL(None, use_errno=True)
        refused = system.syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)
    except (OSError, AttributeError):
        return False
    return bool(refused == 0)


def _present() -> bool:
    triple, _, features = target()
    present = {name[1:] for name in features.split(",") if name.startswith("+")}
    there = present >= _NEEDED and triple.startswith("x86_64") and sys.platform == "linux"
    return there and _permitted()


_PRESENT = _present()


def available() -> bool:
    """Whether this process may use the unit, and kernels are compiled for a processor with it."""
    return _PRESENT and os.environ.get("LUCID_AMX", "1") != "0"
