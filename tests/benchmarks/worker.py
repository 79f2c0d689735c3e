"""Worker process: runs one case of one engine and times it on request.

    python worker.py ENGINE.py CASE FOLDER
    python worker.py --script SCRIPT.py FOLDER

The engine file's ``CASES`` maps the name of a case to a function that takes the folder of
prepared files and returns the function to time, which may return seconds to exclude.  The worker
first prints its versions and whether the engine has the case; then, for each line
``{"calls": ...}`` on standard input, it prints the seconds of each call.  A script runs once;
then its peak memory is printed.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any


def load_engine(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"engine_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def peak_bytes() -> int:
    """Peak memory of this process, including shared libraries."""
    # Preferred where available: ru_maxrss includes the parent process.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run_script(path: Path, folder: Path) -> dict[str, Any]:
    sys.argv = [str(path), str(folder)]
    runpy.run_path(str(path), run_name="__main__")
    return {"peak_bytes": peak_bytes()}


def run_calls(call: Any, count: int) -> dict[str, Any]:
    seconds, apart = [], []
    for _ in range(count):
        start = time.perf_counter()
        returned = call()
        seconds.append(time.perf_counter() - start)
        # Keep only one output alive, as in a loop over images.
        apart.append(returned if isinstance(returned, float) else 0.0)
        del returned
    return {"seconds": seconds, "apart": apart, "peak_bytes": peak_bytes()}


def main(arguments: list[str]) -> None:
    # Output of engines goes to standard error; standard output is for answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    if arguments[0] == "--script":
        answer(run_script(Path(arguments[1]), Path(arguments[2])))
        return
    path, case, folder = arguments
    engine = load_engine(Path(path))
    has_case = case in engine.CASES
    answer({"versions": engine.VERSIONS, "has_case": has_case})
    if has_case:
        call = engine.CASES[case](Path(folder))
        for line in sys.stdin:
            answer(run_calls(call, json.loads(line)["calls"]))


if __name__ == "__main__":
    main(sys.argv[1:])
