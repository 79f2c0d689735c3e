"""Worker processes of the engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

WORKER = Path(__file__).parents[1] / "worker.py"


def environment(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads))}


class Worker:
    """One engine with one case in a worker process, one request at a time."""

    def __init__(self, engine: Path, case: str, folder: Path, threads: int) -> None:
        self.name = engine.stem
        self.case = case
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), str(engine), case, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(threads),
        )

    @cached_property
    def _hello(self) -> dict[str, Any]:
        # Read late, so that several engines start at the same time.
        return self._answer()

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the engine and of what it stands on."""
        found: dict[str, str] = self._hello["versions"]
        return found

    @property
    def has_case(self) -> bool:
        """Whether the engine does this at all."""
        found: bool = self._hello["has_case"]
        return found

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(
                f"engine {self.name} ended with status {self.process.returncode} in {self.case!r}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, calls: int) -> dict[str, Any]:
        """Run the case: ``seconds`` and ``apart`` of each call, and ``peak_bytes`` so far."""
        _ = self._hello  # answered first
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; the missing answer is reported
            self.process.stdin.write(json.dumps({"calls": calls}) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.communicate()


def run_script(script: Path, folder: Path, threads: int) -> dict[str, Any]:
    """Run a script in a new process; return ``seconds`` from start to end and ``peak_bytes``.

    The end is that of the script; what Python then takes down is not counted.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(WORKER), "--script", str(script), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(threads),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - start
    process.communicate()
    if not line:
        raise RuntimeError(f"{script} ended with status {process.returncode}")
    return {"seconds": seconds, "peak_bytes": json.loads(line)["peak_bytes"]}
