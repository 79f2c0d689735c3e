"""Scripts without a main guard."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from lucid.data import DataLoader
from lucid.data.main_guard import NO_GUARD, check_main_guard
from lucid.prediction import predict_files

pytestmark = pytest.mark.slow

SCRIPT = """
from lucid.data.main_guard import check_main_guard, exit_if_importing_main
{guard}
    exit_if_importing_main()
    check_main_guard()
    print("through")
"""


def run(folder: Path, guard: str) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(SCRIPT.format(guard=guard))
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=False
    )


def test_script_without_guard_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "if True:")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("Traceback") == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("RuntimeError: worker processes import ")
    assert "script.py" in last
    assert "if __name__ == '__main__':" in last


def test_script_with_guard(tmp_path: Path) -> None:
    done = run(tmp_path, 'if __name__ == "__main__":')
    assert (done.returncode, done.stdout, done.stderr) == (0, "through\n", "")


def test_processes_that_import_the_script_end_before_they_do_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(SystemExit) as ended:
        predict_files(None, [], tmp_path / "report.json", dask="local")
    assert ended.value.code == NO_GUARD
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit) as ended:
        list(DataLoader([1, 2], workers=1))
    assert ended.value.code == NO_GUARD


def test_guarded_script_passes() -> None:
    check_main_guard()
