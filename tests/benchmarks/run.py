"""Time Lucid and other libraries in turns; print medians, ratios and peak memory.

    python tests/benchmarks/run.py [--case TEXT ...] [--rounds N] [--json FILE] [--publish]

Every engine runs in its own process with the same number of threads, because two thread pools in
one process disturb each other.  The engines take turns.  Ratios matter; absolute times are
specific to the machine.  ``--publish`` requires an idle machine, runs every case and writes
``docs/benchmarks/`` and the page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.cases import Case, load_cases
from harness.measure import (
    BASELINE,
    Times,
    time_calls,
    time_first_predictions,
    time_startup,
)
from harness.report import all_rows, environment_text, rows_of, summary, table

HERE = Path(__file__).parent
#: Other load distorts the ratios: engines with barriers between threads suffer most.
_QUIET = 0.5
_PATIENCE = 300


def machine() -> dict[str, Any]:
    """Describe the machine."""
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


def wait_until_quiet(patience: float = _PATIENCE) -> None:
    """Wait until the load average has dropped, for example after an installation.

    Raises
    ------
    SystemExit
        If the machine does not become quiet.
    """
    end = time.monotonic() + patience
    while (load := os.getloadavg()[0]) > _QUIET:
        if time.monotonic() > end:
            raise SystemExit(f"load average {load:.1f}: not a quiet machine, nothing is published")
        time.sleep(2)


def prepare(engines: Path, folder: Path, cases: list[Case]) -> None:
    """Write the shared files of the cases in a subprocess, if there are any."""
    script = engines.parent / "prepare.py"
    if script.exists():
        names = [case.name for case in cases]
        subprocess.run([sys.executable, str(script), str(folder), *names], check=True)


def measure(
    cases: list[Case], engines: list[Path], folder: Path, options: argparse.Namespace
) -> tuple[dict[str, Times], dict[str, dict[str, str]]]:
    results: dict[str, Times] = {}
    versions: dict[str, dict[str, str]] = {}
    for case in cases:
        rounds = options.rounds or case.rounds
        if case.kind == "startup":
            times = time_startup(case.name, rounds)
        elif case.kind == "first_prediction":
            times = time_first_predictions(engines, folder, rounds, options.threads)
        else:
            times, found = time_calls(case, engines, folder, rounds, options.threads)
            versions |= found
        results[case.name] = times
        print(f"{table(rows_of(case, times))}\n", file=sys.stderr, flush=True)
    return results, versions


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--case", nargs="+", default=[], help="only cases whose name has one of these texts"
    )
    parser.add_argument("--rounds", type=int, help="turns of each engine (9 in most cases)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each engine (2)")
    parser.add_argument("--engines", type=Path, default=HERE / "engines", help="engine directory")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    parser.add_argument("--publish", action="store_true", help="write docs/benchmarks")
    options = parser.parse_args(arguments)
    if options.publish and options.case:
        parser.error("--publish is of all cases: leave out --case")
    return options


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = parse(arguments)
    cases = load_cases(options.engines / "cases.toml")
    for text in options.case:
        if not any(text in name for name in cases):
            raise SystemExit(f"no case has {text!r} in its name; there are: {', '.join(cases)}")
    texts = options.case or [""]
    chosen = [case for name, case in cases.items() if any(text in name for text in texts)]
    paths = options.engines.glob("*.py")
    engines = sorted(paths, key=lambda path: (path.stem != BASELINE, path))
    with tempfile.TemporaryDirectory(prefix="lucid-bench-") as folder:
        if needy := [case for case in chosen if case.kind != "startup"]:
            prepare(options.engines, Path(folder), needy)
        if options.publish:
            wait_until_quiet()
        before = machine()
        started = time.monotonic()
        results, versions = measure(chosen, engines, Path(folder), options)
    report = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "machine": before,
        "threads": options.threads,
        "versions": versions,
        "results": results,
    }
    rows = all_rows(cases, results)
    print(environment_text(report))
    if before["load_average"][0] > _QUIET:
        print("not a quiet machine: these times are not worth publishing")
    print(f"{table(rows)}\n{summary(rows)}; {report['minutes']} minutes")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.publish:
        from publish import publish

        publish(report)
    return report


if __name__ == "__main__":
    main()
