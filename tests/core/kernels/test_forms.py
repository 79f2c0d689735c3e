"""Selection of the compiled or the reference form of the kernels."""

import subprocess
import sys

import numpy as np
import pytest

from lucid import kernels

SQUARE = "import numpy as np; from lucid import kernels; print(kernels.erf(np.zeros(2)).sum())"


def run(code: str) -> tuple[str, list[str]]:
    """Return the output of a fresh interpreter, and its warnings."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip(), [line for line in result.stderr.splitlines() if "arning" in line]


@pytest.fixture
def broken_numba(tmp_path, monkeypatch):
    """Install a Numba that does not support the installed NumPy."""
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(
        "raise ImportError('Numba needs NumPy 2.3 or less. Got NumPy 2.4.')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_every_kernel_has_both_forms():
    pytest.importorskip("numba", reason="needs Numba")
    for kernel in kernels.KERNELS:
        assert callable(kernel.reference)
        assert callable(kernel.compiled)


@pytest.mark.slow
def test_environment_selects_the_reference(monkeypatch):
    monkeypatch.setenv("LUCID_KERNELS", "reference")
    assert not kernels.compiled_in_use()
    code = f"{SQUARE}; import sys; print('numba' in sys.modules)"
    assert run(code) == ("0.0\nFalse", [])


def test_unknown_form_is_rejected(monkeypatch):
    monkeypatch.setenv("LUCID_KERNELS", "fast")
    with pytest.raises(ValueError, match=r"LUCID_KERNELS.*got 'fast'"):
        kernels.compiled_in_use()


@pytest.mark.slow
def test_without_numba_the_reference_runs(monkeypatch):
    monkeypatch.delenv("LUCID_KERNELS", raising=False)
    code = "import sys; sys.modules['numba'] = None; sys.modules['llvmlite'] = None\n" + SQUARE
    hidden = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'numba' else find(name)\n"
    )
    assert run(hidden + code) == ("0.0", [])


@pytest.mark.slow
def test_broken_numba_warns_and_runs_the_reference(broken_numba, monkeypatch):
    monkeypatch.delenv("LUCID_KERNELS", raising=False)
    printed, (warning,) = run(f"{SQUARE}; kernels.nms(np.zeros((1, 4)), np.zeros(1), 0.5)")
    assert printed == "0.0"
    assert "RuntimeWarning: Numba cannot be used (ImportError: Numba needs NumPy 2.3" in warning


@pytest.mark.slow
def test_disabled_jit_warns_and_runs_the_reference(monkeypatch):
    pytest.importorskip("numba", reason="needs Numba")
    monkeypatch.delenv("LUCID_KERNELS", raising=False)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    printed, (warning,) = run(SQUARE)
    assert printed == "0.0"
    assert "turned off by NUMBA_DISABLE_JIT" in warning


def test_kernel_repr():
    assert repr(kernels.conv2d) == "<kernel conv.conv2d>"
    assert np.allclose(kernels.erf(np.array([0.0, 1.0])), [0, 0.8427007929])
