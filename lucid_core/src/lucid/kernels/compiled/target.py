"""The processor that kernels are compiled for: this one, or the one Numba is told to take.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` (and ``NUMBA_ENABLE_AVX=0``) narrow it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.core.registry import cpu_target

__all__ = ["Registers", "Target", "registers", "target"]


class Target(NamedTuple):
    """A processor in LLVM's words.

    Attributes
    ----------
    triple : str
        Architecture, vendor and system, such as ``x86_64-unknown-linux-gnu``.
    cpu : str
        Its name, such as ``skylake``.
    features : str
        What it has and has not: ``+avx,-avx512f``; empty where that is not known.
    """

    triple: str
    cpu: str
    features: str


class Registers(NamedTuple):
    """The registers that the hand-written kernels are laid out for.

    Attributes
    ----------
    floats : int
        Numbers of float32 in one of them.
    many : bool
        Whether there are 32 of them and not 16.
    """

    floats: int
    many: bool


def target() -> Target:
    """What Numba compiles for in this process."""
    codegen: Any = cpu_target.target_context.codegen()
    return Target(*codegen.magic_tuple())


def registers(chosen: Target) -> Registers:
    """The widest vector registers of a processor.

    Features that are not known count as missing: narrower vectors run everywhere.
    """
    if chosen.triple.partition("-")[0] in ("aarch64", "arm64"):
        return Registers(4, True)  # NEON belongs to the architecture; not every system lists it
    present = {name[1:] for name in chosen.features.split(",") if name.startswith("+")}
    if "avx512f" in present:
        return Registers(16, True)
    return Registers(8 if "avx" in present else 4, False)
