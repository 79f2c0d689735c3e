"""The vector registers that kernels are laid out for, on processors of all kinds."""

import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="there is no target without Numba")

from lucid.kernels.compiled import simd
from lucid.kernels.compiled.target import Registers, Target, registers, target

pytestmark = pytest.mark.slow

LINUX = "x86_64-unknown-linux-gnu"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Target(LINUX, "x86-64", "+sse,+sse2"), Registers(4, False)),
        (Target(LINUX, "x86-64", ""), Registers(4, False)),
        (Target(LINUX, "sandybridge", "+sse2,+avx,-avx2,-avx512f"), Registers(8, False)),
        (Target("x86_64-pc-windows-msvc", "znver2", "+avx,+avx2,+fma"), Registers(8, False)),
        (Target("x86_64-apple-darwin19", "haswell", "-avx512f,+avx2,+avx"), Registers(8, False)),
        (Target(LINUX, "skylake-avx512", "+avx,+avx2,+avx512f"), Registers(16, True)),
        (Target("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+dotprod"), Registers(4, True)),
        # macOS tells LLVM no features, and NEON is there all the same.
        (Target("arm64-apple-darwin23", "apple-m2", ""), Registers(4, True)),
        (Target("powerpc64le-unknown-linux-gnu", "pwr9", "+vsx"), Registers(4, False)),
    ],
    ids=lambda value: value.cpu if isinstance(value, Target) else str(value.floats),
)
def test_registers(chosen, expected):
    assert registers(chosen) == expected


def test_the_kernels_use_them():
    assert registers(target()) == (simd.VL, simd.WIDE)


@pytest.mark.parametrize(
    ("features", "floats"), [("+sse2", 4), ("+sse2,+avx", 8), ("+sse2,+avx,+avx2,+avx512f", 16)]
)
def test_numba_can_be_told_another_processor(features, floats, monkeypatch):
    if not target().triple.startswith("x86_64"):
        pytest.skip("these are features of x86-64, which this processor is not")
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", features)
    code = "from lucid.kernels.compiled import simd; print(simd.VL)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == (f"{floats}\n", "")
