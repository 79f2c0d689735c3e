"""Time engines in turns.

Each round times every engine once, the order reversed from round to round, so that
whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from harness.cases import Case
from harness.processes import Worker, run_script

BASELINE = "lucid"
# Lets the threads of the previous engine stop spinning.
_PAUSE = 0.2

#: By engine: ``seconds`` and ``apart`` (excluded seconds) of each round, ``peak_bytes``.
Times = dict[str, dict[str, Any]]


def in_turns(turns: dict[str, Callable[[], dict[str, Any]]], rounds: int) -> Times:
    """Run the turns and collect all times and the highest peak."""
    times: Times = {name: {"seconds": [], "apart": [], "peak_bytes": 0} for name in turns}
    for i in range(rounds):
        for name in turns if i % 2 == 0 else reversed(turns):
            time.sleep(_PAUSE)
            answer = turns[name]()
            times[name]["seconds"].append(answer["seconds"])
            times[name]["apart"].append(answer.get("apart", 0.0))
            times[name]["peak_bytes"] = max(times[name]["peak_bytes"], answer["peak_bytes"])
    return times


def time_calls(
    case: Case, engines: Sequence[Path], folder: Path, rounds: int, threads: int
) -> tuple[Times, dict[str, dict[str, str]]]:
    """Time one case in the engines that have it; return times and versions.

    Every engine has processes of its own for it, so that peaks of memory are the case's.
    """
    for engine in engines:
        if engine.stem == BASELINE:
            # Compilation at first use, which later processes skip, is not measured.
            with closing(Worker(engine, case.name, folder, threads)) as first:
                if first.has_case:
                    first.run(2)
    times: Times = {}
    versions: dict[str, dict[str, str]] = {}
    for i in range(case.processes):
        share = rounds * (i + 1) // case.processes - rounds * i // case.processes
        if not share:
            continue
        with ExitStack() as stack:
            workers = [Worker(engine, case.name, folder, threads) for engine in engines]
            for worker in workers:
                stack.callback(worker.close)
            turns = {}
            for worker in workers:
                versions[worker.name] = worker.versions
                if worker.has_case:
                    worker.run(2)  # builds the network, fills caches
                    turns[worker.name] = turn_of(worker, case.calls)
            times = joined(times, in_turns(turns, share))
    return times, versions


def joined(times: Times, more: Times) -> Times:
    """Join the rounds of earlier processes and of later ones."""
    if not times:
        return more
    return {
        name: {
            "seconds": [*times[name]["seconds"], *found["seconds"]],
            "apart": [*times[name]["apart"], *found["apart"]],
            "peak_bytes": max(times[name]["peak_bytes"], found["peak_bytes"]),
        }
        for name, found in more.items()
    }


def turn_of(worker: Worker, calls: int) -> Callable[[], dict[str, Any]]:
    def turn() -> dict[str, Any]:
        answer = worker.run(calls)
        # The median call, with the excluded seconds of the same call.
        order = sorted(range(calls), key=answer["seconds"].__getitem__)
        middle = order[(calls - 1) // 2]
        return {
            "seconds": answer["seconds"][middle],
            "apart": answer["apart"][middle],
            "peak_bytes": answer["peak_bytes"],
        }

    return turn


def time_first_predictions(
    engines: Sequence[Path], folder: Path, rounds: int, threads: int
) -> Times:
    """Time new processes from start to the end of ``first_prediction/ENGINE.py``."""
    scripts = {e.stem: e.parent / "first_prediction" / e.name for e in engines}
    turns = {
        name: lambda script=script: run_script(script, folder, threads)
        for name, script in scripts.items()
        if script.exists()
    }
    in_turns(turns, 1)  # compiles, and brings files into the system's cache
    return in_turns(turns, rounds)


def time_startup(statement: str, rounds: int) -> Times:
    """Time a statement and ``import numpy`` in new processes; see ``import_cost.py``."""
    import_cost = importlib.import_module("import_cost")
    times = import_cost.measure([import_cost.BASELINE, statement], rounds)
    return {
        name: {"seconds": times[timed], "apart": [0.0] * rounds, "peak_bytes": None}
        for name, timed in ((BASELINE, statement), ("numpy", import_cost.BASELINE))
    }


def median_seconds(times: dict[str, Any], *, without_apart: bool = False) -> float:
    return statistics.median(seconds_of(times, without_apart=without_apart))


def seconds_of(times: dict[str, Any], *, without_apart: bool) -> list[float]:
    """Seconds of each round, optionally without the excluded seconds."""
    if not without_apart:
        return list(times["seconds"])
    return [s - a for s, a in zip(times["seconds"], times["apart"], strict=True)]
