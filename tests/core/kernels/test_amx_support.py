"""Whether the matrix unit is used: it can be left alone, and is not asked for elsewhere."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="there is no target without Numba")

from lucid.kernels.compiled import amx_support
from lucid.kernels.compiled.cpu_target import CpuTarget

LINUX = "x86_64-unknown-linux-gnu"
FEATURES = "+avx512f,+avx512bw,+amx-tile,+amx-bf16"


def test_the_environment_leaves_it_alone(monkeypatch):
    monkeypatch.setenv("LUCID_AMX", "0")
    assert not amx_support.available()


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
    monkeypatch.setattr(amx_support, "target", lambda: CpuTarget(triple, "some", features))
    monkeypatch.setattr(amx_support, "_request_permission", lambda: True)
    monkeypatch.setattr(sys, "platform", platform)
    assert amx_support._detect() is expected


def test_a_system_that_refuses_is_believed(monkeypatch):
    monkeypatch.setattr(amx_support, "target", lambda: CpuTarget(LINUX, "some", FEATURES))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(amx_support, "_request_permission", lambda: False)
    assert amx_support._detect() is False


@pytest.mark.slow
def test_kernels_compiled_for_a_lesser_processor_do_without():
    code = "from lucid.kernels.compiled import amx_support; print(amx_support.available())"
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert result.stdout.strip() == "False", result.stderr
