"""Time Lucid and its peers side by side, and print medians and ratios.

    python tests/benchmarks/run.py [--rounds 9] [--case TEXT] [--json FILE]

Every engine lives in a process of its own (two thread pools in one process
disturb each other), with the same number of threads, and they take turns: each
round times every engine once, the order reversed from round to round, so that
whatever else the machine does falls on all of them alike.  A ratio counts; an
absolute time says something about this machine only.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BASELINE = "lucid"


class Engine:
    """A worker process for one engine, answering one order at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        self.name = path.stem
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(names, str(threads))},
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"engine {self.name} ended with status {self.process.returncode}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, case: str, calls: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"case": case, "calls": calls}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.communicate()


def compare(
    engines: list[Engine], case: str, rounds: int, *, calls: int = 1, pause: float = 0.2
) -> dict[str, Any]:
    """Time one case in turns.

    Returns
    -------
    dict
        For each engine its ``seconds`` (the median call of each round), their
        ``median`` and ``peak_bytes``; for each but the baseline its ``ratio``: how many
        times its own the baseline takes, as median, lowest and highest over the rounds.
    """
    for engine in engines:
        engine.run(case, 2)  # builds the network, compiles kernels, fills caches
    seconds: dict[str, list[float]] = {engine.name: [] for engine in engines}
    peaks: dict[str, int] = {}
    for i in range(rounds):
        for engine in engines if i % 2 == 0 else reversed(engines):
            time.sleep(pause)  # the pool of the engine before stops spinning
            answer = engine.run(case, calls)
            seconds[engine.name].append(statistics.median(answer["seconds"]))
            peaks[engine.name] = answer["peak_bytes"]
    result: dict[str, Any] = {}
    for name, values in seconds.items():
        result[name] = {
            "seconds": values,
            "median": statistics.median(values),
            "peak_bytes": peaks[name],
        }
        if name != BASELINE and BASELINE in seconds:
            ratios = [a / b for a, b in zip(seconds[BASELINE], values, strict=True)]
            result[name]["ratio"] = [statistics.median(ratios), min(ratios), max(ratios)]
    return result


def table(results: dict[str, dict[str, Any]]) -> str:
    """Results as aligned text: one line for each case and engine."""
    header = ("case", "engine", "median", "peak memory", f"{BASELINE} / engine (range)")
    rows = [header]
    for case, engines in results.items():
        for name, result in engines.items():
            ratio = "1"
            if "ratio" in result:
                middle, low, high = result["ratio"]
                ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
            peak = f"{result['peak_bytes'] / 2**20:.0f} MiB"
            rows.append((case, name, f"{result['median'] * 1e3:.1f} ms", peak, ratio))
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def machine() -> dict[str, Any]:
    """What the numbers belong to."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = models[0].split(":", 1)[1].strip() if models else processor
    return {
        "processor": processor or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load_average": list(os.getloadavg()),
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each engine (9)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each engine (2)")
    parser.add_argument("--case", default="", help="only cases whose name has this text")
    parser.add_argument("--engines", type=Path, default=HERE / "engines", help="their directory")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    options = parser.parse_args(arguments)

    before = machine()
    paths = sorted(options.engines.glob("*.py"), key=lambda path: (path.stem != BASELINE, path))
    engines: list[Engine] = []
    results: dict[str, dict[str, Any]] = {}
    try:
        engines.extend(Engine(path, options.threads) for path in paths)
        # The cases in order, with the calls to a turn: several where one is short.
        for case, calls in json.loads((options.engines / "cases.json").read_text()).items():
            if options.case in case:
                results[case] = compare(engines, case, options.rounds, calls=calls)
    finally:
        for engine in engines:
            engine.close()
    report = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": before,
        "threads": options.threads,
        "versions": {engine.name: engine.versions for engine in engines},
        "results": results,
    }
    print(f"{before['processor']}, {before['cores']} cores, {options.threads} threads each")
    busy = before["load_average"][0]
    if busy > 0.5:
        # An engine whose threads wait for each other suffers most where a core is taken away.
        print(f"load average {busy:.1f} before the start: not a quiet machine, do not publish this")
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


if __name__ == "__main__":
    main()
