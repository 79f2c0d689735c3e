"""mpi4py and an MPI exist in the ``mpi`` session only; elsewhere nothing here is collected.

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
#: The one of this environment, that mpi4py finds its library beside.
_MPIEXEC = Path(sys.executable).parent / "mpiexec"


class Job:
    """A program that ``mpiexec`` runs on some ranks.

    Each is told to use one thread, unless ``environment`` says otherwise; None in it takes
    a variable away.
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
        """Wait until the program has printed something; gives the line."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if text in line:
                    return line
            assert self.process.poll() is None, self.output
            time.sleep(0.02)
        raise AssertionError(f"no {text!r} in {patience} s:\n{self.output}")

    def end(self, patience=240):
        """The exit code, once all of it has ended."""
        code = self.process.wait(patience)
        self._reader.join(patience)
        return code

    def kill(self):
        """End what is left of a test that has failed; mpiexec takes its ranks along."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.terminate()
        self.end(30)


@pytest.fixture(scope="session")
def start():
    """``start(ranks, script of this folder or -m, *arguments)`` begins a :class:`Job`."""
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
    """Runs a program on some ranks to its end, which must be a good one; gives its output."""

    def finished(ranks, *command, **environment):
        job = start(ranks, *command, **environment)
        assert job.end() == 0, job.output
        return job.output

    return finished
