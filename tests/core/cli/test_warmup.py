"""``lucid warmup`` without compiled kernels and without a cache folder.

What it compiles: ``tests/integration/test_warmup.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lucid.cli import main


def test_warmup_without_compiled_kernels(capsys, monkeypatch) -> None:
    monkeypatch.setenv("LUCID_KERNELS", "reference")
    assert main(["warmup"]) == 0
    out, err = capsys.readouterr()
    assert (out.startswith("nothing to compile"), err) == (True, "")
    assert main(["warmup", "--json"]) == 0
    nothing = {"compiled": 0, "loaded": 0, "seconds": 0.0, "folder": None}
    assert json.loads(capsys.readouterr().out) == nothing


@pytest.mark.slow
def test_warmup_cannot_create_the_cache(tmp_path, monkeypatch) -> None:
    pytest.importorskip("numba", reason="nothing is compiled without Numba")
    monkeypatch.setenv("LUCID_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.delenv("LUCID_KERNELS", raising=False)
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "lucid.cli", "warmup"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("lucid: error: compiled kernels cannot be saved: ")
    assert str(tmp_path / "file") in line
    assert line.endswith("; set LUCID_CACHE_DIR to another folder")
