"""Detection of AMX, and the environment variable that disables it."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="needs Numba")

from lucid.kernels.compiled import amx_support
from lucid.kernels.compiled.cpu_target import CpuTarget

LINUX = "x86_64-unknown-linux-gnu"
FEATURES = "+avx512f,+avx512bw,+amx-tile,+amx-bf16"


def test_environment_disables_amx(monkeypatch):
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
def test_detection_needs_processor_and_system(triple, features, platform, expected, monkeypatch):
    monkeypatch.setattr(amx_support, "target", lambda: CpuTarget(triple, "some", features))
    monkeypatch.setattr(amx_support, "_request_permission", lambda: True)
    monkeypatch.setattr(sys, "platform", platform)
    assert amx_support._detect() is expected


def test_refused_permission_disables_amx(monkeypatch):
    monkeypatch.setattr(amx_support, "target", lambda: CpuTarget(LINUX, "some", FEATURES))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(amx_support, "_request_permission", lambda: False)
    assert amx_support._detect() is False


@pytest.mark.slow
def test_generic_cpu_target_disables_amx():
    code = "from lucid.kernels.compiled import amx_support; print(amx_support.available())"
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert result.stdout.strip() == "False", result.stderr
