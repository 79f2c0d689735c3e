"""One engine in a process of its own, timing what it is told to, one line for one line.

``python worker.py ENGINE.py`` loads the engine file, whose ``CASES`` maps the name
of a case to a function that prepares it and returns the function to be timed.
Then for each line ``{"case": ..., "calls": ...}`` on standard input it answers
with the seconds of each call on standard output.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load_engine(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    # Whatever an engine prints goes to standard error; the answers have the real output alone.
    answers, sys.stdout = sys.stdout, sys.stderr
    engine = load_engine(Path(sys.argv[1]))
    prepared: dict[str, Callable[[], Any]] = {}
    print(json.dumps({"versions": engine.VERSIONS}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        case = order["case"]
        if case not in prepared:
            prepared.clear()  # one case's network at a time
            prepared[case] = engine.CASES[case]()
        seconds = []
        for _ in range(order["calls"]):
            start = time.perf_counter()
            prepared[case]()
            seconds.append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak_bytes": peak}), file=answers, flush=True)


if __name__ == "__main__":
    main()
