"""Vector registers of processors of all kinds."""

import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="needs Numba")

from lucid.kernels.compiled import vector_ir
from lucid.kernels.compiled.cpu_target import CpuTarget, VectorRegisters, target, vector_registers

pytestmark = pytest.mark.slow

LINUX = "x86_64-unknown-linux-gnu"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (CpuTarget(LINUX, "x86-64", "+sse,+sse2"), VectorRegisters(4, 16)),
        (CpuTarget(LINUX, "x86-64", ""), VectorRegisters(4, 16)),
        (CpuTarget(LINUX, "sandybridge", "+sse2,+avx,-avx2,-avx512f"), VectorRegisters(8, 16)),
        (CpuTarget("x86_64-pc-windows-msvc", "znver2", "+avx,+avx2,+fma"), VectorRegisters(8, 16)),
        (
            CpuTarget("x86_64-apple-darwin19", "haswell", "-avx512f,+avx2,+avx"),
            VectorRegisters(8, 16),
        ),
        (CpuTarget(LINUX, "skylake-avx512", "+avx,+avx2,+avx512f"), VectorRegisters(16, 32)),
        (
            CpuTarget("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+dotprod"),
            VectorRegisters(4, 32),
        ),
        # macOS reports no features, but NEON is mandatory.
        (CpuTarget("arm64-apple-darwin23", "apple-m2", ""), VectorRegisters(4, 32)),
        (CpuTarget("powerpc64le-unknown-linux-gnu", "pwr9", "+vsx"), VectorRegisters(4, 16)),
    ],
    ids=lambda value: value.cpu if isinstance(value, CpuTarget) else str(value.lanes),
)
def test_vector_registers(chosen, expected):
    assert vector_registers(chosen) == expected


def test_kernels_use_the_registers_of_the_target():
    assert vector_registers(target()) == (vector_ir.VL, vector_ir.NUM_REGISTERS)


@pytest.mark.parametrize(
    ("features", "floats"), [("+sse2", 4), ("+sse2,+avx", 8), ("+sse2,+avx,+avx2,+avx512f", 16)]
)
def test_environment_selects_another_processor(features, floats, monkeypatch):
    if not target().triple.startswith("x86_64"):
        pytest.skip("needs x86-64")
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    code = "from lucid.kernels.compiled import vector_ir; print(vector_ir.VL)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == (f"{floats}\n", "")
