"""mpi4py and MPI are installed in the ``mpi`` session only; otherwise nothing is collected.

That is not a skip: ``tests/core/training`` answers for everything that is not MPI itself.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("mpi4py") else ["test_*.py"]

_HERE = Path(__file__).parent
#: mpiexec of this environment, which belongs to mpi4py's MPI library.
_MPIEXEC = Path(sys.executable).parent / "mpiexec"


class Job:
    """Program started by ``mpiexec``.

    Each rank uses one thread, unless ``environment`` sets ``OMP_NUM_THREADS``; None in it removes
    a variable.
    """

    def __init__(self, ranks, *command, **environment):
        settings = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        self.began = time.monotonic()
        self.lines = []
        self.process = subprocess.Popen(
            [str(_MPIEXEC), "-n", str(ranks), sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={name: value for name, value in settings.items() if value is not None},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line)

    @property
    def output(self):
        return "".join(self.lines)

    def wait_for(self, text, patience=240):
        """Wait until the program prints a text; return the line."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if text in line:
                    return line
            assert self.process.poll() is None, self.output
            time.sleep(0.02)
        raise AssertionError(f"no {text!r} in {patience} s:\n{self.output}")

    def end(self, patience=240):
        """Return the exit code after all ranks have ended."""
        code = self.process.wait(patience)
        self._reader.join(patience)
        return code

    def kill(self):
        """Kill mpiexec and its ranks after a failed test."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.terminate()
        self.end(30)


@pytest.fixture(scope="session")
def start():
    """Return ``start(ranks, script, *arguments)``, which starts a :class:`Job`."""
    jobs = []

    def begin(ranks, *command, **environment):
        first, *rest = command
        program = first if first == "-m" or isinstance(first, Path) else _HERE / first
        jobs.append(Job(ranks, program, *rest, **environment))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.kill()


@pytest.fixture(scope="session")
def run(start):
    """Return a function that runs a program, requires exit code 0 and returns its output."""

    def finished(ranks, *command, **environment):
        job = start(ranks, *command, **environment)
        assert job.end() == 0, job.output
        return job.output

    return finished
