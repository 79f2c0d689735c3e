"""Ahead-of-time compilation of every kernel for every dtype."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="needs Numba")

from lucid.kernels.compiled import amx_support

pytestmark = pytest.mark.slow

#: Runs the tasks in a process that has called no kernel; prints the types that each of those
#: the pool runs is compiled for then.  Others are compiled into these.
CODE = """
import importlib, json, pkgutil
import lucid.kernels.compiled as package
for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(f"{package.__name__}.{module.name}")
from lucid.kernels.compiled import aot, njit
titles = []
for title, task in aot.tasks():
    titles.append(title)
    task()
print(json.dumps([titles, {
    f"{kernel.py_func.__module__}.{kernel.__name__}": [
        str(types) for types in (kernel.signatures or kernel.launch.drive.signatures)
    ]
    for kernel in njit.DISPATCHERS if hasattr(kernel, "launch")
}]))
"""


def test_tasks_compile_every_kernel_for_few_types():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    titles, compiled = json.loads(result.stdout)
    assert len(set(titles)) == len(titles)
    assert len(compiled) > 20
    for name, types in compiled.items():
        if "amx" in name and not amx_support.available():
            assert not types, name
            continue
        assert len(types) in (1, 2), f"{name} in {types}"  # float32, and perhaps float64
        assert not any("readonly" in each or "'A'" in each for each in types), name
