"""Whether the matrix unit is used: it can be left alone, and is not asked for elsewhere."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="there is no target without Numba")

from lucid.kernels.compiled import matrix_unit
from lucid.kernels.compiled.target import Target

LINUX = "x86_64-unknown-linux-gnu"
FEATURES = "+avx512f,+avx512bw,+amx-tile,+amx-bf16"


def test_the_environment_leaves_it_alone(monkeypatch):
    monkeypatch.setenv("LUCID_AMX", "0")
    assert not matrix_unit.available()


@pytest.mark.parametrize(
    ("triple", "features", "platform", "expected"),
    [
        (LINUX, FEATURES, "linux", True),
        (LINUX, FEATURES.replace("+amx-bf16", "-amx-bf16"), "linux", False),
        (LINUX, FEATURES.replace(",+avx512bw", ""), "linux", False),
        (LINUX, "", "linux", False),
        ("aarch64-unknown-linux-gnu", FEATURES, "linux", False),
        ("x86_64-pc-windows-msvc", FEATURES, "win32", False),
        ("x86_64-apple-darwin19", FEATURES, "darwin", False),
    ],
)
def test_only_where_the_processor_and_the_system_have_it(
    triple, features, platform, expected, monkeypatch
):
    monkeypatch.setattr(matrix_unit, "target", lambda: Target(triple, "some", features))
    monkeypatch.setattr(matrix_unit, "_permitted", lambda: True)
    monkeypatch.setattr(sys, "platform", platform)
    assert matrix_unit._present() is expected


def test_a_system_that_refuses_is_believed(monkeypatch):
    monkeypatch.setattr(matrix_unit, "target", lambda: Target(LINUX, "some", FEATURES))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(matrix_unit, "_permitted", lambda: False)
    assert matrix_unit._present() is False


@pytest.mark.slow
def test_kernels_compiled_for_a_lesser_processor_do_without():
    code = "from lucid.kernels.compiled import matrix_unit; print(matrix_unit.available())"
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert result.stdout.strip() == "False", result.stderr
