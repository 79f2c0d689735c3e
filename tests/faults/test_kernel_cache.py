"""Kernel cache on disk, in real processes: correct results for any damage.

Every process computes one error function in two types, which takes a few small kernels.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import lucid

pytest.importorskip("numba", reason="nothing is compiled without Numba")

USE = """
import numpy as np
from lucid import kernels
from lucid.kernels.compiled import numba_cache
assert np.allclose(kernels.erf.compiled(np.array([0.0, 1.0])), [0, 0.8427007929])
assert np.allclose(kernels.erf.compiled(np.ones(1, np.float32)), 0.8427008)
counts = {"compiled": numba_cache.progress.compiled, "loaded": numba_cache.progress.loaded}
print(*(what for what, count in counts.items() if count))
"""
COMPILED, LOADED, BOTH = "compiled", "loaded", "compiled loaded"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LUCID_CACHE_DIR", str(folder))
    return folder


def use(before: str = "") -> tuple[str, str]:
    """Return output and warnings of a new process."""
    code = textwrap.dedent(before) + USE
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip(), result.stderr


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_the_second_process_compiles_nothing(cache):
    assert use() == (COMPILED, "")
    written = {path: path.stat().st_mtime_ns for path in entries(cache)}
    assert written
    assert use() == (LOADED, "")
    assert {path: path.stat().st_mtime_ns for path in entries(cache)} == written


def test_two_processes_at_once(cache):
    with ThreadPoolExecutor(3) as callers:
        for printed, said in callers.map(lambda _: use(), range(3)):
            assert printed in (COMPILED, LOADED, BOTH)
            assert said == ""
    assert use() == (LOADED, "")


def hostile(content: bytes) -> bytes:
    """Return an entry with a valid digest whose content is not a pickle."""
    content = content[::-1]
    return hashlib.sha256(content).digest() + content


PACK = """
import numpy as np
from lucid.kernels.compiled import numba_cache
from lucid.kernels.compiled.implicit_gemm import pack
w, one = np.arange(36 * 40, dtype=np.float32).reshape(36, 1, 1, 40), np.zeros(1, np.int64)
for transposed in {orders}:
    panels = pack(w, 1, one, one, transposed)
    expected = w[:, 0, 0] if transposed else w[:, 0, 0].T  # a row per element of the sum
    found = np.concatenate(list(panels), axis=1)[:, : expected.shape[1]]
    assert np.array_equal(found, expected), (transposed, found)
print(numba_cache.progress.compiled > 0, numba_cache.progress.loaded > 0)
"""


def pack(*orders: bool) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PACK.format(orders=orders)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_kernels_of_two_processes_are_not_confused():
    """Each is the first of its process, with arguments of the same types.

    Numba counts functions in each process, so the two could go by one name in a third.
    """
    assert pack(False) == "True False"
    assert pack(True) == "True False"
    assert pack(False, True) == "False True"
    assert pack(True, False) == "False True"


def test_compiled_functions_have_distinct_names():
    from lucid.kernels.compiled import aot
    from lucid.kernels.compiled.njit import DISPATCHERS

    assert aot
    own = [f.py_func for f in DISPATCHERS if f.py_func.__module__.startswith("lucid.")]
    names = [f"{function.__module__}.{function.__qualname__}" for function in own]
    assert len(names) > 20
    assert [name for name in names if names.count(name) > 1] == []


# Cut at any place, or with any byte changed: tests/core/kernels/test_cache.py.
DAMAGES = {
    "one bit": lambda stored: stored[:5000] + bytes([stored[5000] ^ 1]) + stored[5001:],
    "no pickle": hostile,
    "another pickle": lambda stored: hashlib.sha256(pickle.dumps([1])).digest() + pickle.dumps([1]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_entry_is_recompiled(cache, damage):
    use()
    for path in entries(cache):
        path.write_bytes(damage(path.read_bytes()))
    assert use() == (COMPILED, "")
    assert use() == (LOADED, "")


def test_unwritable_cache_compiles_with_one_warning(cache):
    cache.write_text("not a folder")
    for _ in range(2):
        printed, said = use()
        assert printed == COMPILED
        assert said.count("RuntimeWarning: compiled kernels cannot be saved") == 1
        assert str(cache) in said


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="limits of a process are POSIX's")
def test_full_disk(cache, monkeypatch):
    """Simulated by a file size limit: a write stops in the middle."""
    # Where coverage is measured: what it writes at the end would not fit either, and it says so.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    limit = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    """
    printed, said = use(limit)
    assert printed == COMPILED
    assert said.count("RuntimeWarning: compiled kernels cannot be saved") == 1
    assert entries(cache) == []
    assert use() == (COMPILED, "")
    assert use(limit) == (LOADED, "")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="others have no access on Windows")
def test_cache_writable_by_others_is_not_used(cache, tmp_path):
    use()
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(canary),))

    content = pickle.dumps(Payload())
    (fingerprint,) = (cache / "kernels").iterdir()
    for path in entries(cache):
        path.write_bytes(hashlib.sha256(content).digest() + content)
    fingerprint.chmod(0o777)
    printed, said = use()
    assert printed == COMPILED
    assert said.count("is not trusted with code: others may write to it") == 1
    assert not canary.exists()


def test_process_with_replaced_sources_caches_nothing(cache, tmp_path, monkeypatch):
    """After an upgrade, a running program must not cache old machine code for new sources."""
    folder = tmp_path / "sources"
    shutil.copytree(Path(lucid.__file__).parent, folder / "lucid")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    replaced = """
    import pathlib
    import lucid
    from lucid.kernels.compiled import numba_cache, elementwise
    source = pathlib.Path(elementwise.__file__)
    assert source.is_relative_to(%r)
    source.write_text(source.read_text() + "# changed")
    """
    assert use(replaced % str(folder)) == (COMPILED, "")
    assert not [path for path in entries(cache) if path.stat().st_size]
    assert use() == (COMPILED, "")  # kernels of the new sources
    assert use() == (LOADED, "")


# --- what is said ----------------------------------------------------------------------------


def use_on_a_terminal() -> str:
    """Return the stderr of a new process with a terminal."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on Windows")
    reader, writer = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", USE], stdout=subprocess.DEVNULL, stderr=writer):
        os.close(writer)
        written = b""
        while True:
            try:
                part = os.read(reader, 1000)
            except OSError:  # Linux: the other side is closed
                break
            if not part:
                break
            written += part
    os.close(reader)
    return written.decode()


def test_first_compilation_is_announced_on_a_terminal():
    line = use_on_a_terminal()
    assert "lucid warmup" in line
    assert line.count("\r\n") == 1
    assert use_on_a_terminal() == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
def test_fork_during_compilation():
    """The child inherits a held lock without its thread, and compiles anyway."""
    before = """
    import os, threading, time, warnings
    import numpy as np
    from lucid import kernels
    from numba.core.compiler_lock import global_compiler_lock
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: it is the point

    def compile_slowly():
        with global_compiler_lock:
            compiling.set()
            time.sleep(0.5)
            kernels.erf.compiled(np.ones(1))

    compiling = threading.Event()
    kernels.erf.compiled  # imported
    thread = threading.Thread(target=compile_slowly)
    thread.start()
    compiling.wait()
    child = os.fork()
    if child == 0:
        ok = kernels.erf.compiled(np.ones(1, np.float32))[0] > 0.8
        os._exit(0 if ok else 1)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    """
    printed, said = use(before)
    assert (printed, said) == (BOTH, "")  # it loads the child's kernels
