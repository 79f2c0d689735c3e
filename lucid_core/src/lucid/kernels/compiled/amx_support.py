"""Detection of AMX (Intel Advanced Matrix Extensions) with bfloat16.

AMX multiplies tiles of bfloat16 and accumulates in float32, sixteen times as fast as vectors
of float32.  A float32 is exactly the sum of three bfloat16, so a float32 product takes six
products of these parts (:mod:`.amx`): as accurate as before and still faster.

Linux grants the tile registers on request to a whole process; importing this module makes
the request.  ``LUCID_AMX=0`` in the environment turns AMX off.
"""

from __future__ import annotations

import ctypes
import os
import sys

from lucid.kernels.compiled.cpu_target import target

__all__ = ["available"]

# Linux on x86-64: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
_SYS_ARCH_PRCTL = 158
_ARCH_REQ_XCOMP_PERM = 0x1023
_XFEATURE_XTILEDATA = 18

_REQUIRED = {"amx-tile", "amx-bf16", "avx512f", "avx512bw"}


def _request_permission() -> bool:
    """Request the tile registers; refused, for one, if a signal stack is too small for tiles."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        status = libc.syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)
    except (OSError, AttributeError):
        return False
    return bool(status == 0)


def _detect() -> bool:
    triple, _, features = target()
    present = {name[1:] for name in features.split(",") if name.startswith("+")}
    supported = present >= _REQUIRED and triple.startswith("x86_64") and sys.platform == "linux"
    return supported and _request_permission()


_PRESENT = _detect()


def available() -> bool:
    """Return whether kernels may use AMX in this process."""
    return _PRESENT and os.environ.get("LUCID_AMX", "1") != "0"
