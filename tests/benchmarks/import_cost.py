"""Time ``import lucid`` and the first listing in new processes, relative to ``import numpy``.

    python tests/benchmarks/import_cost.py [--rounds 31] [--json FILE]

Each statement runs in its own process.  Each round runs every statement once, in an order that
changes between rounds, so that other load affects all alike.  The time excludes the start of
Python, which would only make the ratios smaller.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BASELINE = "import numpy"
#: Each statement and its target relative to the baseline.
LIMITS = {
    BASELINE: None,
    "import lucid": 1.5,
    "import lucid; lucid.models.list_models()": 2.0,
}
TIMED = """
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""


def seconds(statement: str, folder: str) -> float:
    """Run a statement in a new process and return its seconds."""
    # -I ignores environment and current folder; the first run writes the .pyc files.
    command = [sys.executable, "-I", "-c", TIMED.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return float(done.stdout)


def measure(statements: list[str], rounds: int) -> dict[str, list[float]]:
    """Time each statement once per round, in turns."""
    times: dict[str, list[float]] = {statement: [] for statement in statements}
    with tempfile.TemporaryDirectory() as folder:
        for statement in statements:
            seconds(statement, folder)  # writes compiled files, fills the system's cache
        for i in range(rounds):
            turn = i % len(statements)
            for statement in statements[turn:] + statements[:turn]:
                times[statement].append(seconds(statement, folder))
    return times


def report(times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Medians of each statement and of its ratios to the baseline in the same round."""
    rows = []
    for statement, values in times.items():
        ratios = [a / b for a, b in zip(values, times[BASELINE], strict=True)]
        rows.append(
            {
                "statement": statement,
                "median": statistics.median(values),
                "ratio_of_medians": statistics.median(values) / statistics.median(times[BASELINE]),
                "median_ratio": statistics.median(ratios),
                "limit": LIMITS.get(statement),
            }
        )
    return rows


def show(rows: list[dict[str, Any]], rounds: int) -> None:
    width = max(len(row["statement"]) for row in rows)
    print(f"{'statement':{width}}  median   x NumPy  (by rounds)  at most")
    for row in rows:
        limit = "" if row["limit"] is None else f"{row['limit']:.1f}"
        print(
            f"{row['statement']:{width}}  {row['median'] * 1e3:5.1f} ms  "
            f"{row['ratio_of_medians']:7.2f}  {row['median_ratio']:11.2f}  {limit:>7}".rstrip()
        )
    print(f"medians of {rounds} interleaved runs, each in a new process")


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31, help="runs of each statement (31)")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    options = parser.parse_args(arguments)

    times = measure(list(LIMITS), options.rounds)
    rows = report(times)
    show(rows, options.rounds)
    if options.json:
        about = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": platform.platform(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "versions": {
                name: importlib.metadata.version(name) for name in ("numpy", "lucid-core")
            },
            "distributions": len(list(importlib.metadata.distributions())),
        }
        options.json.write_text(json.dumps(about | {"rows": rows, "seconds": times}, indent=1))
    return rows


if __name__ == "__main__":
    main()
