"""The processor that kernels are compiled for, and its vector registers.

It is the processor of this machine unless ``NUMBA_CPU_NAME``, ``NUMBA_CPU_FEATURES`` or
``NUMBA_ENABLE_AVX=0`` name a lesser one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.core.registry import cpu_target

__all__ = ["CpuTarget", "VectorRegisters", "target", "vector_registers"]


class CpuTarget(NamedTuple):
    """A processor as LLVM describes it.

    Attributes
    ----------
    triple : str
        Architecture, vendor and system, such as ``x86_64-unknown-linux-gnu``.
    cpu : str
        Name, such as ``skylake``.
    features : str
        Features present and absent, such as ``+avx,-avx512f``; empty if unknown.
    """

    triple: str
    cpu: str
    features: str


class VectorRegisters(NamedTuple):
    """Vector registers of a processor.

    Attributes
    ----------
    lanes : int
        Number of float32 in a register.
    number : int
        Number of registers.
    """

    lanes: int
    number: int


def target() -> CpuTarget:
    """Return the processor that Numba compiles for in this process."""
    codegen: Any = cpu_target.target_context.codegen()
    return CpuTarget(*codegen.magic_tuple())


def vector_registers(chosen: CpuTarget) -> VectorRegisters:
    """Return the widest vector registers of a processor.

    Unknown features count as absent: narrower vectors run everywhere.
    """
    if chosen.triple.partition("-")[0] in ("aarch64", "arm64"):
        return VectorRegisters(4, 32)  # NEON is mandatory there, and not every system lists it
    present = {name[1:] for name in chosen.features.split(",") if name.startswith("+")}
    if "avx512f" in present:
        return VectorRegisters(16, 32)
    return VectorRegisters(8 if "avx" in present else 4, 16)
